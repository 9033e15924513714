"""Fixtures: servers with the flags that a test wants, on each engine, stopped and judged at its end."""

import asyncio
import resource
import tempfile
from pathlib import Path

import pytest

import server as ringway
import wire

BUCKET = "/load"

# A thousand connections are more than the soft limit of most shells.
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(params=ringway.ENGINES)
def engine(request):
    refusal = ringway.refusal_of_io_uring() if request.param == "io_uring" else None
    if refusal:
        pytest.skip(f"the kernel refuses io_uring: {refusal}")
    return request.param


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="ringway-load-") as path:
        yield Path(path)


@pytest.fixture
def serve(engine, folder):
    """Starts a server; each has its own log, and all of one test share a root. A drain of each must end well."""
    running = []

    def start(*flags, root=folder / "root"):
        number = len(running)
        quiet = ["--access-log=off"]
        server = ringway.Server(root, engine, folder / f"log-{number}", [*quiet, *flags])
        running.append(server)
        if number == 0:
            asyncio.run(wire.expect(200, wire.once(server.endpoint, "PUT", BUCKET)))
        return server

    yield start
    for server in running:
        if server.process.poll() is None:
            server.stop()
        log = server.log.read_text(errors="replace")
        assert "panicked" not in log, log[-4000:]
