"""Clients that stall on one core: those who only hold what the server gave them must not stop the others."""

import asyncio
import os
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from conftest import BUCKET
from counts import count, report
from wire import expect, once, signed_head

OBJECT_BYTES = 64 << 20
STALLED = count(200, 500)
STALLED_LARGE = count(40, 100)
# Functional, no measure of speed: a server that waits for a stalled client waits for as long as that likes.
SECONDS_MAX = 10
ROUNDS = 5


def stalled(endpoint, head, body=b""):
    """A connection that sent this and will neither send nor read another byte."""
    address = urlsplit(endpoint)
    connection = socket.create_connection((address.hostname, address.port))
    connection.sendall(head + body)
    return connection


def large_object(server, name):
    """An object of 64 MiB, put by POSIX, resident in the page cache."""
    path = server.path("load", name)
    with path.open("wb") as file:
        for _ in range(OBJECT_BYTES >> 20):
            file.write(os.urandom(1 << 20))
        os.fsync(file.fileno())
    return path


def evict(path):
    """Takes a file out of the page cache: what is read next comes from the disk."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def still_served(endpoint):
    """A 4 KiB GET, a durable PUT of 4 KiB and one of 2 MiB, each on a connection of its own."""
    for number in range(ROUNDS):
        for size_bytes in (4096, 2 << 20):
            path, body = f"{BUCKET}/served-{number}", os.urandom(size_bytes)
            async with asyncio.timeout(SECONDS_MAX):
                await expect(200, once(endpoint, "PUT", path, body))
            async with asyncio.timeout(SECONDS_MAX):
                assert (await expect(200, once(endpoint, "GET", path))).body == body


@pytest.mark.parametrize("cache", ["resident", "cold"])
def test_stalled_clients_stop_nobody_else(serve, cache):
    # No pace is demanded, so that no stalled client is closed while the others are looked at.
    server = serve("--cores", "1", "--body-rate-min", "0", "--connections-max", "10000")
    source = large_object(server, "large")
    if cache == "cold":
        evict(source)
    with ExitStack() as stack:
        for number in range(STALLED):
            head = signed_head(server.endpoint, "PUT", f"{BUCKET}/stalled-{number}", OBJECT_BYTES)
            stack.enter_context(stalled(server.endpoint, head, b"x" * (20 << 10)))
            stack.enter_context(stalled(server.endpoint, signed_head(server.endpoint, "GET", f"{BUCKET}/large")))
        asyncio.run(still_served(server.endpoint))
        for number in range(STALLED_LARGE):
            head = signed_head(server.endpoint, "PUT", f"{BUCKET}/stalled-large-{number}", OBJECT_BYTES)
            stack.enter_context(stalled(server.endpoint, head, b"x" * (1 << 20)))
        asyncio.run(still_served(server.endpoint))
    report(
        f"{STALLED} stalled PUTs, {STALLED} GETs that do not read ({cache}), {STALLED_LARGE} PUTs stalled behind 1 MiB: "
        f"{2 * ROUNDS} GETs and {4 * ROUNDS} durable PUTs served, each within {SECONDS_MAX} s"
    )
