"""Fixtures: one server per engine for the whole session, a bucket of its own per test, the clients' programs."""

import itertools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
import botocore.config
import pytest

import server as ringway
import trees

_bucket_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=ringway.ENGINES)
def server(request):
    refusal = ringway.refusal_of_io_uring() if request.param == "io_uring" else None
    if refusal:
        pytest.skip(f"the kernel refuses io_uring: {refusal}")
    with tempfile.TemporaryDirectory(prefix="ringway-clients-") as folder:
        running = ringway.Server(Path(folder) / "root", request.param, Path(folder) / "log")
        try:
            yield running
        finally:
            running.stop()


def client(endpoint, access_key=ringway.ACCESS_KEY, secret_key=ringway.SECRET_KEY, **settings):
    """A boto3 client of any server; further arguments are settings of botocore."""
    # One attempt: an error that a retry would hide is the test's business.
    settings = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, **settings}
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=ringway.REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=botocore.config.Config(**{"signature_version": "s3v4", **settings}),
    )


@pytest.fixture(scope="session")
def connect(server):
    """Makes a boto3 client; arguments replace the usual ones."""

    def connected(endpoint=server.endpoint, **arguments):
        return client(endpoint, **arguments)

    return connected


@pytest.fixture(scope="session")
def s3(connect):
    return connect()


@pytest.fixture
def new_bucket_name():
    return f"clients-{next(_bucket_numbers)}"


@pytest.fixture
def bucket(s3, new_bucket_name):
    s3.create_bucket(Bucket=new_bucket_name)
    return new_bucket_name


@pytest.fixture(scope="session")
def small_files():
    """A thousand small files, the same for every client."""
    with tempfile.TemporaryDirectory(prefix="ringway-small-") as folder:
        yield trees.make_small_files(Path(folder))


@pytest.fixture(scope="session")
def large_file():
    """A file of a little over 100 MiB."""
    with tempfile.TemporaryDirectory(prefix="ringway-large-") as folder:
        yield trees.write(Path(folder) / "large.bin", trees.content("large", trees.LARGE_BYTES))


@pytest.fixture(scope="session")
def program(server):
    """Finds a client's program beside this Python or in PATH; calling it gives the standard output."""

    def find(name):
        path = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed")

        def run(*arguments, environment=()):
            command = [path, *map(str, arguments)]
            environment = {**server.environment(), **dict(environment)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
            assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            return done.stdout

        return run

    return find
