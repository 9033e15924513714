"""A filesystem that hangs under one bucket: the other buckets answer meanwhile, and it goes on where it stopped."""

import contextlib
import socket
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import mounts
import trees
from conftest import RawPut, client, skip_without, started

# More than either engine has threads that may wait in the kernel.
HANGING = 96
BODY = trees.content("hanging", 100_000)
# More than the buffers of a socket hold.
LARGE_BYTES = 64 << 20


@contextlib.contextmanager
def frozen(point):
    mounts.run("fsfreeze", "--freeze", point)
    try:
        yield
    finally:
        subprocess.run([mounts.tool("fsfreeze"), "--unfreeze", point], capture_output=True, timeout=60, check=False)


@contextlib.contextmanager
def two_buckets(engine, folder, icy_kind, arguments=()):
    """A server whose bucket `icy` is a filesystem of its own below ROOT, and `warm` is not."""
    skip_without("ext4", engine)
    skip_without(icy_kind, engine)
    with mounts.mounted("ext4", folder / "warm") as root, mounts.mounted(icy_kind, folder / "icy") as icy:
        (root / "icy").mkdir()
        mounts.run("mount", "--bind", icy, root / "icy")
        try:
            with started(root, engine, folder / "log", arguments) as server:
                s3 = client(server, read_timeout=30)
                s3.create_bucket(Bucket="warm")
                for bucket in ["warm", "icy"]:
                    s3.put_object(Bucket=bucket, Key="old", Body=BODY)
                yield s3, icy
        finally:
            mounts.unmount(root / "icy")


def nameless_files(point):
    """How many files without a name processes of this machine have open below a mount point."""
    device = point.stat().st_dev
    found = 0
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            inode = entry.stat()
            found += stat.S_ISREG(inode.st_mode) and inode.st_dev == device and inode.st_nlink == 0
    return found


@pytest.fixture
def frozen_xfs(engine, tmp_path):
    with two_buckets(engine, tmp_path, "xfs") as buckets:
        yield buckets


@pytest.fixture
def frozen_btrfs(engine, tmp_path):
    with two_buckets(engine, tmp_path, "btrfs", ["--cores", "1"]) as buckets:
        yield buckets


def test_the_other_bucket_answers_while_one_hangs(frozen_xfs):
    s3, icy = frozen_xfs
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


def test_the_close_of_a_deleted_object_waits_for_nobody(frozen_btrfs):
    """btrfs frees the space of a file without a name in its last close, which waits while the filesystem is frozen."""
    s3, icy = frozen_btrfs
    (icy / "large").write_bytes(bytes(LARGE_BYTES))
    # Before the freeze, so that only the close has to wait.
    mounts.run("sync", "--file-system", icy)
    url = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": "icy", "Key": "large"}))
    with socket.create_connection((url.hostname, url.port), 30) as reader:
        reader.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        assert reader.recv(1) == b"H"
        (icy / "large").unlink()
        assert nameless_files(icy) == 1
        with frozen(icy):
            reader.close()
            mounts.wait_until(lambda: not nameless_files(icy), "the file is being closed")
            for _ in range(20):
                assert s3.get_object(Bucket="warm", Key="old")["Body"].read() == BODY
