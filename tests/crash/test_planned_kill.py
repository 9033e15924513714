"""The server dies before each operation of a write in turn: the key is old or new and whole, and nothing else stays.

The plan counts every operation that a core gives its engine, so no moment between two steps of the recipe is missed.
"""

import itertools
import os

import boto3
import botocore.config
import botocore.exceptions
import pytest

import mounts
import server as ringway
import trees

PLANNED = ringway.BINARY.parent / "examples/planned_server"
# More operations than any write has: a plan that never comes to its end is a fault of the test.
OPERATIONS_MAX = 80
OLD, NEW = trees.content("old", 70_000), trees.content("new", 80_001)


def client(server):
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=ringway.REGION,
        aws_access_key_id=ringway.ACCESS_KEY,
        aws_secret_access_key=ringway.SECRET_KEY,
        config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def found(s3, key):
    try:
        return s3.get_object(Bucket="doomed", Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None


def put(s3, key):
    s3.put_object(Bucket="doomed", Key=key, Body=NEW, Metadata={"colour": "green"})


def delete(s3, key):
    s3.delete_object(Bucket="doomed", Key=key)


def restarted(root, engine, folder):
    return ringway.Server(root, engine, folder / "log", program=PLANNED)


def doomed(server, s3, nth, write, key):
    """Whether the write was over before its Nth operation."""
    server.process.stdin.write(f"kill any {nth}\n".encode())
    server.process.stdin.flush()
    assert ringway.read_line(server.process.stdout, 30) == "planned"
    try:
        write(s3, key)
    # The second when it died before it had taken the connection in.
    except (botocore.exceptions.HTTPClientError, botocore.exceptions.EndpointConnectionError):
        server.process.wait(30)
        return False
    return True


NEW_KEY, OVERWRITE, DELETE = (put, None, NEW), (put, OLD, NEW), (delete, OLD, None)
LONG = os.environ.get("RINGWAY_TESTS_LONG") == "1"
# Each of these kinds publishes in its own way; the engines share the recipe.
WAYS = [
    *[("ext4", "io_uring", *NEW_KEY), ("ext4", "threads", *OVERWRITE), ("ext4", "io_uring", *DELETE)],
    *[("btrfs", "io_uring", *OVERWRITE), ("fuse", "threads", *OVERWRITE)],
]
ALL = list(itertools.product(mounts.KINDS, ringway.ENGINES, [NEW_KEY, OVERWRITE, DELETE]))


@pytest.mark.parametrize(
    ("kind", "engine", "write", "before", "after"),
    [(kind, engine, *what) for kind, engine, what in ALL] if LONG else WAYS,
)
def test_the_server_dies_before_each_operation(kind, engine, write, before, after, tmp_path):
    reason = mounts.refusal(kind) or (engine == "io_uring" and ringway.refusal_of_io_uring())
    if reason:
        pytest.skip(reason)
    with mounts.mounted(kind, tmp_path / "fs") as point:
        root, server, ended = point / "root", None, False
        try:
            server = restarted(root, engine, tmp_path)
            client(server).create_bucket(Bucket="doomed")
            for nth in itertools.count(1):
                assert nth < OPERATIONS_MAX
                s3, key = client(server), f"a{nth}/key"
                if before is not None:
                    s3.put_object(Bucket="doomed", Key=key, Body=before)
                ended = doomed(server, s3, nth, write, key)
                # A write that was over before its turn leaves a plan behind that would end the next request.
                server.kill()
                server = restarted(root, engine, tmp_path)
                assert mounts.temporary_names(root) == []
                assert found(client(server), key) in ([after] if ended else [before, after])
                write(client(server), key)
                assert found(client(server), key) == after
                if ended:
                    break
            # A write of any kind has its receive, its open, its change of names and its flush.
            assert nth > 5
        finally:
            if server:
                server.kill()
