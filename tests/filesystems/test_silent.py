"""A server or a daemon behind a mount that does not answer: its bucket waits, the other one does not."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import mounts
import trees
from conftest import client, skip_without, started
from silent import Silent

# More than either engine has threads that may wait in the kernel.
HANGING = 96
BODY = trees.content("silent", 100_000)


@pytest.fixture
def two_buckets(engine, tmp_path):
    """A server of one core whose bucket `far` is such a mount, and `near` lies on ROOT's own filesystem."""
    skip_without("tmpfs", engine)
    if not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse")
    with mounts.mounted("tmpfs", tmp_path) as root, started(root, engine, tmp_path / "log", ["--cores", "1"]) as server:
        s3 = client(server, read_timeout=30)
        s3.create_bucket(Bucket="near")
        s3.put_object(Bucket="near", Key="old", Body=BODY)
        (root / "far").mkdir()
        silent = Silent(root / "far", "old", BODY)
        try:
            yield s3, silent
        finally:
            silent.end()


def get(s3, bucket, key):
    """A GET whose answer nobody has read yet."""
    url = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}))
    connection = socket.create_connection((url.hostname, url.port), 30)
    connection.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n".encode())
    return connection


def whole(connection):
    with connection, connection.makefile("rb") as stream:
        return stream.read()


def test_the_other_bucket_answers_while_a_mount_is_silent(two_buckets):
    s3, silent = two_buckets
    # From here on the kernel knows the names, and an open asks for nothing but the file.
    assert s3.get_object(Bucket="far", Key="old")["Body"].read() == BODY
    gets = []
    try:
        with silent.falls_silent():
            gets = [get(s3, "far", "old") for _ in range(HANGING)]
            for number in range(20):
                assert s3.get_object(Bucket="near", Key="old")["Body"].read() == BODY
                s3.put_object(Bucket="near", Key=f"new/{number}", Body=BODY)
                s3.delete_object(Bucket="near", Key=f"new/{number}")
            assert s3.list_objects_v2(Bucket="near")["KeyCount"] == 1
        assert all(whole(connection).endswith(BODY) for connection in gets)
    finally:
        for connection in gets:
            connection.close()


def test_reads_of_a_silent_mount_leave_threads_to_others(two_buckets):
    """The files are open already, so that what waits is nothing but the content."""
    s3, silent = two_buckets
    silent.content = trees.content("larger", 8 << 20)
    gets = [get(s3, "far", "old") for _ in range(HANGING)]
    try:
        for connection in gets:
            assert connection.recv(1) == b"H"
        with silent.falls_silent():
            # Drained, so that each of them wants more of its file.
            for connection in gets:
                connection.settimeout(0.02)
                try:
                    while connection.recv(1 << 20):
                        pass
                except TimeoutError:
                    pass
            for number in range(20):
                s3.put_object(Bucket="near", Key=f"new/{number}", Body=b"small")
    finally:
        for connection in gets:
            connection.close()
