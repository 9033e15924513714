"""Clients that stall on one core: those who only hold what the server gave them must not stop the others."""

import asyncio
import os
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from conftest import BUCKET
from counts import count, report
from wire import expect, metrics, once, signed_head

OBJECT_BYTES = 64 << 20
STALLED = count(200, 500)
STALLED_LARGE = count(40, 100)
# Functional, no measure of speed: a server that waits for a stalled client waits for as long as that likes, and a flush
# of a disk that others write to may take many seconds.
SECONDS_MAX = 60
ROUNDS = 5


def stalled(endpoint, head, body=b""):
    """A connection that sent this and will neither send nor read another byte."""
    address = urlsplit(endpoint)
    connection = socket.socket()
    # Small, so that a few MiB of the kernel's memory hold what hundreds of clients do not read.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    connection.connect((address.hostname, address.port))
    connection.sendall(head + body)
    return connection


def large_objects(server, names):
    """Objects of 64 MiB, put by POSIX; all of their pages are holes that nobody has read yet."""
    for name in names:
        with server.path("load", name).open("wb") as file:
            file.truncate(OBJECT_BYTES)


def read_once(server, name):
    """Brings an object into the page cache."""
    server.path("load", name).read_bytes()


async def still_served(endpoint):
    """A 4 KiB GET, a durable PUT of 4 KiB and one of 2 MiB, each on a connection of its own."""
    for number in range(ROUNDS):
        for size_bytes in (4096, 2 << 20):
            path, body = f"{BUCKET}/served-{number}", os.urandom(size_bytes)
            async with asyncio.timeout(SECONDS_MAX):
                await expect(200, once(endpoint, "PUT", path, body))
            async with asyncio.timeout(SECONDS_MAX):
                assert (await expect(200, once(endpoint, "GET", path))).body == body


def stalled_gets(server, cache):
    """Heads of GETs: of one object in the page cache, or each of an object that has to be read, which takes blocks."""
    names = ["large"] if cache == "resident" else [f"large-{number}" for number in range(STALLED)]
    large_objects(server, names)
    if cache == "resident":
        read_once(server, "large")
    for number in range(STALLED):
        yield signed_head(server.endpoint, "GET", f"{BUCKET}/{names[number % len(names)]}")


@pytest.mark.parametrize("cache", ["resident", "cold"])
def test_stalled_clients_stop_nobody_else(serve, cache):
    # No pace is demanded, so that no stalled client is closed while the others are looked at.
    server = serve("--cores", "1", "--body-rate-min", "0", "--connections-max", "10000")
    with ExitStack() as stack:
        for number, get in enumerate(stalled_gets(server, cache)):
            put = signed_head(server.endpoint, "PUT", f"{BUCKET}/stalled-{number}", OBJECT_BYTES)
            stack.enter_context(stalled(server.endpoint, put, b"x" * (20 << 10)))
            stack.enter_context(stalled(server.endpoint, get))
        asyncio.run(still_served(server.endpoint))
        for number in range(STALLED_LARGE):
            put = signed_head(server.endpoint, "PUT", f"{BUCKET}/stalled-large-{number}", OBJECT_BYTES)
            stack.enter_context(stalled(server.endpoint, put, b"x" * (1 << 20)))
        asyncio.run(still_served(server.endpoint))
        free = asyncio.run(metrics(server))["arena_free_bytes"]
    report(
        f"{STALLED} stalled PUTs, {STALLED} GETs that do not read ({cache}), {STALLED_LARGE} PUTs stalled behind 1 MiB: "
        f"{2 * ROUNDS} GETs and {4 * ROUNDS} durable PUTs served, each within {SECONDS_MAX} s; arena free: {free}"
    )


def test_clients_that_do_not_read_hold_no_block(serve):
    """On the copying path too: what a block holds can be read again, and the arena is everybody's."""
    server = serve("--cores", "1", "--body-rate-min", "0")
    with ExitStack() as stack:
        for get in stalled_gets(server, "cold"):
            stack.enter_context(stalled(server.endpoint, get))
        asyncio.run(until_arena_is_free(server))


async def until_arena_is_free(server):
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            seen = await metrics(server)
            if int(seen["connections_open"]) == STALLED and seen["arena_free_bytes"] == seen["arena_bytes"]:
                return
            await asyncio.sleep(0.2)
