"""Fixtures: each kind of filesystem, a server on it for each engine, a client, a presigned raw connection."""

import contextlib
import itertools
import os
import random
import shutil
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import botocore.config
import pytest

import mounts
import server as ringway

LONG = os.environ.get("RINGWAY_TESTS_LONG") == "1"
_bucket_numbers = itertools.count(1)


def skip_without(kind, engine):
    reason = mounts.refusal(kind)
    if reason is None and engine == "io_uring":
        refused = ringway.refusal_of_io_uring()
        reason = refused and f"the kernel refuses io_uring: {refused}"
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session", params=ringway.ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="session", params=mounts.KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="session")
def folder():
    path = Path(tempfile.mkdtemp(prefix="ringway-filesystems-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def served(kind, engine, folder):
    """A server on a filesystem of its own; tests take a bucket each."""
    skip_without(kind, engine)
    own = folder / f"served-{kind}-{engine}"
    with mounts.mounted(kind, own) as point:
        running = ringway.Server(point / "root", engine, own / "log")
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
def s3(served):
    return client(served)


@pytest.fixture
def bucket(s3):
    name = f"filesystems-{next(_bucket_numbers)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def chance(request):
    """Random choices that are the same in every run of a test, and others in each run of the long form."""
    seed = random.randrange(1 << 32) if LONG else request.node.name
    print(f"seed {seed}")
    return random.Random(seed)


def client(server, **settings):
    """A boto3 client that tries once: an error that a retry would hide is the test's business."""
    settings = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, **settings}
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=ringway.REGION,
        aws_access_key_id=ringway.ACCESS_KEY,
        aws_secret_access_key=ringway.SECRET_KEY,
        config=botocore.config.Config(signature_version="s3v4", max_pool_connections=64, **settings),
    )


@contextlib.contextmanager
def started(root, engine, log, arguments=()):
    """A server that is killed at the end if it still runs."""
    running = ringway.Server(root, engine, log, arguments)
    try:
        yield running
    finally:
        running.kill()


class RawPut:
    """A PutObject whose body is sent piece by piece."""

    def __init__(self, s3, bucket, key, length, seconds_max=60):
        """A length of None is not announced: each piece is a chunk."""
        url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key})
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), seconds_max)
        self.is_chunked = length is None
        framing = "Transfer-Encoding: chunked" if self.is_chunked else f"Content-Length: {length}"
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n{framing}\r\n\r\n"
        self.socket.sendall(head.encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, piece):
        """Sends, or finds out that the server has closed."""
        if self.is_chunked:
            piece = b"%x\r\n%s\r\n" % (len(piece), piece)
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(piece)

    def answer(self):
        """Status and body of the response."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := self.socket.recv(65536):
                received += piece
                head, found, body = received.partition(b"\r\n\r\n")
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if found and lengths and len(body) >= int(lengths[0].split(b":")[1]):
                    break
        status = received.split(b" ", 2)[1] if b" " in received else b"0"
        return int(status), received.partition(b"\r\n\r\n")[2].decode()
