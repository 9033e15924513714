"""A daemon's filesystem that answers nothing, not even what a file is: it stops its own bucket and no core."""

import contextlib
import os
import signal
import socket
import subprocess
from urllib.parse import urlsplit

import pytest

import mounts
import trees
from conftest import client, skip_without, started

BODY = trees.content("hanging", 2 << 20)
# One after the other they meet every way in which a core asks for a bucket and an object.
ASKED = {
    "head_object": ("HEAD", {"Key": "old"}),
    "get_object": ("GET", {"Key": "old"}),
    "put_object": ("PUT", {"Key": "new"}),
    "list_objects_v2": ("GET", {}),
    "create_multipart_upload": ("POST", {"Key": "parts"}),
    "delete_object": ("DELETE", {"Key": "older"}),
    "head_bucket": ("HEAD", {}),
}


@pytest.fixture
def two_buckets(engine, tmp_path):
    """A server on one core whose bucket `icy` is a FUSE filesystem below ROOT that keeps nothing in the kernel."""
    skip_without("fuse", engine)
    with mounts.mounted("ext4", tmp_path / "warm") as root, mounts.mounted("ext4", tmp_path / "icy") as below:
        (root / "icy").mkdir()
        keeps_nothing = "attr_timeout=0,entry_timeout=0,negative_timeout=0"
        daemon = subprocess.Popen([mounts.tool("bindfs"), "-f", "-o", keeps_nothing, below, root / "icy"])
        try:
            mounts.wait_until(lambda: os.path.ismount(root / "icy"), "it is mounted")
            with started(root, engine, tmp_path / "log", ["--cores", "1"]) as server:
                s3 = client(server, read_timeout=30)
                s3.create_bucket(Bucket="warm")
                for bucket in ["warm", "icy"]:
                    for key in ["old", "older"]:
                        s3.put_object(Bucket=bucket, Key=key, Body=BODY)
                yield s3, daemon
        finally:
            daemon.send_signal(signal.SIGCONT)
            mounts.unmount(root / "icy")
            daemon.wait(60)


@contextlib.contextmanager
def stopped(daemon):
    daemon.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.send_signal(signal.SIGCONT)


def ask(s3, operation):
    """Sends a request for the bucket that hangs, and waits for nothing."""
    method, arguments = ASKED[operation]
    url = urlsplit(s3.generate_presigned_url(operation, Params={"Bucket": "icy", **arguments}))
    body = BODY if method == "PUT" else b""
    asking = socket.create_connection((url.hostname, url.port), 60)
    head = f"{method} {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(body)}\r\n"
    asking.sendall(f"{head}Connection: close\r\n\r\n".encode() + body[:100_000])
    return asking, body[100_000:]


def test_a_daemon_that_hangs_stops_no_core(two_buckets):
    s3, daemon = two_buckets
    asked = []
    try:
        with stopped(daemon):
            for operation in ASKED:
                asked.append(ask(s3, operation))
                s3.put_object(Bucket="warm", Key=operation, Body=BODY)
                assert s3.get_object(Bucket="warm", Key=operation)["Body"].read() == BODY, operation
                assert s3.list_objects_v2(Bucket="warm", Prefix=operation)["KeyCount"] == 1
        for (asking, rest), operation in zip(asked, ASKED, strict=True):
            asking.sendall(rest)
            status = int(asking.recv(65536).split(b" ", 2)[1])
            assert status in (200, 204), operation
    finally:
        for asking, _ in asked:
            asking.close()
