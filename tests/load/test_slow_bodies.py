"""Bodies that come a little at a time on one core: more of them than the arena has blocks, and others are served."""

import asyncio
import os

import pytest

from conftest import BUCKET
from counts import count, report
from wire import Connection, expect, metrics, once, signed_head

# The arena of 64 MiB has 1,024 small blocks.
SLOW = count(1_500, 3_000)
ANNOUNCED_BYTES = 4 << 20
# Functional, no measure of speed: a server that waits for slow clients waits for as long as they like, and a flush of a
# disk that others write to may take many seconds.
SECONDS_MAX = 60
ROUNDS = 5
# What a client sends each second: a byte, which no pace allows for long, and what the default pace just allows.
TRICKLES = {"a byte": 1, "the least pace": 1_100}


async def slow_bodies(server, piece_bytes):
    """Opens them a few at a time; each then sends a piece a second for as long as the returned task runs."""
    turn = asyncio.Semaphore(32)

    async def begin(number):
        async with turn:
            connection = await Connection.open(server.endpoint)
            head = signed_head(server.endpoint, "PUT", f"{BUCKET}/slow-{number}", ANNOUNCED_BYTES)
            await connection.send(head + b"x")
            return connection

    connections = await asyncio.gather(*(begin(number) for number in range(SLOW)))

    async def trickle():
        while True:
            for number, connection in enumerate(connections):
                connection.writer.write(b"x" * piece_bytes)
                # Spread over the second: the server has to look at one of them at almost any time.
                if number % 50 == 0:
                    await asyncio.sleep(50 / SLOW)

    return connections, asyncio.create_task(trickle())


async def still_served(endpoint):
    for number in range(ROUNDS):
        path, body = f"{BUCKET}/served-{number}", os.urandom(4096)
        async with asyncio.timeout(SECONDS_MAX):
            await expect(200, once(endpoint, "PUT", path, body))
        async with asyncio.timeout(SECONDS_MAX):
            assert (await expect(200, once(endpoint, "GET", path))).body == body
        async with asyncio.timeout(SECONDS_MAX):
            assert f"served-{number}".encode() in (await expect(200, once(endpoint, "GET", BUCKET))).body


@pytest.mark.parametrize("trickle", TRICKLES)
def test_slow_bodies_stop_nobody_else(serve, trickle):
    # No pace is demanded, so that no slow body is closed while the others are looked at.
    server = serve("--cores", "1", "--body-rate-min", "0", "--connections-max", "10000")

    async def look():
        connections, trickling = await slow_bodies(server, TRICKLES[trickle])
        try:
            await still_served(server.endpoint)
            seen = await metrics(server)
            assert not trickling.done(), trickling
            return seen
        finally:
            trickling.cancel()
            for connection in connections:
                connection.abort()

    seen = asyncio.run(look())
    assert int(seen["connections_open"]) >= SLOW
    report(
        f"{SLOW} bodies of {trickle} a second on one core: {ROUNDS} PUTs, GETs and listings of 4 KiB served, each "
        f"within {SECONDS_MAX} s; arena free: {seen['arena_free_bytes']} of {seen['arena_bytes']}"
    )
