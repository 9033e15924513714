"""A filesystem that hangs under one bucket: the other buckets answer meanwhile, and it goes on where it stopped."""

import contextlib
import subprocess

import pytest

import mounts
import trees
from conftest import RawPut, client, skip_without, started

# More than either engine has threads that may wait in the kernel.
HANGING = 96
BODY = trees.content("hanging", 100_000)


@contextlib.contextmanager
def frozen(point):
    mounts.run("fsfreeze", "--freeze", point)
    try:
        yield
    finally:
        subprocess.run([mounts.tool("fsfreeze"), "--unfreeze", point], capture_output=True, timeout=60, check=False)


@pytest.fixture
def two_buckets(engine, tmp_path):
    """A server whose bucket `icy` is a filesystem of its own below ROOT, and `warm` is not."""
    skip_without("ext4", engine)
    skip_without("xfs", engine)
    with mounts.mounted("ext4", tmp_path / "warm") as root, mounts.mounted("xfs", tmp_path / "icy") as icy:
        (root / "icy").mkdir()
        mounts.run("mount", "--bind", icy, root / "icy")
        try:
            with started(root, engine, tmp_path / "log") as server:
                s3 = client(server, read_timeout=30)
                s3.create_bucket(Bucket="warm")
                for bucket in ["warm", "icy"]:
                    s3.put_object(Bucket=bucket, Key="old", Body=BODY)
                yield s3, icy
        finally:
            mounts.unmount(root / "icy")


def test_the_other_bucket_answers_while_one_hangs(two_buckets):
    s3, icy = two_buckets
    puts = []
    try:
        with frozen(icy):
            for number in range(HANGING):
                put = RawPut(s3, "icy", f"hangs/{number}", len(BODY))
                put.send(BODY)
                puts.append(put)
            for number in range(20):
                assert s3.get_object(Bucket="warm", Key="old")["Body"].read() == BODY
                s3.put_object(Bucket="warm", Key=f"new/{number}", Body=BODY)
                s3.delete_object(Bucket="warm", Key=f"new/{number}")
            assert s3.list_objects_v2(Bucket="warm")["KeyCount"] == 1
            # A frozen filesystem can be read.
            assert s3.get_object(Bucket="icy", Key="old")["Body"].read() == BODY
        assert [put.answer()[0] for put in puts] == [200] * HANGING
    finally:
        for put in puts:
            put.socket.close()
    for number in range(HANGING):
        assert s3.get_object(Bucket="icy", Key=f"hangs/{number}")["Body"].read() == BODY
