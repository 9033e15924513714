"""Conditional writes of many clients at once: one winner of a race, no increment lost."""

import asyncio
import random

from conftest import BUCKET
from counts import count, report
from wire import Connection, expect, once, signed_head

CLIENTS = 32
RACES = count(30, 1_000)
INCREMENTS = count(300, 10_000)
BACKOFF_SECONDS_MAX = 0.02


def test_if_none_match_has_one_winner_over_two_servers(serve, folder):
    """Two processes with a state directory each serve one root; the kernel decides, whoever asks."""
    servers = [serve("--state-dir", str(folder / f"state-{number}")) for number in range(2)]
    report(asyncio.run(race([server.endpoint for server in servers])))


async def race(endpoints):
    connections = [await Connection.open(endpoints[number % 2]) for number in range(CLIENTS)]
    condition = {"if-none-match": "*"}
    winners = [0] * CLIENTS
    for number in range(RACES):
        path = f"{BUCKET}/race/{number}"
        bodies = [f"{number} by {client}".encode() for client in range(CLIENTS)]
        requests = [
            signed_head(connection.endpoint, "PUT", path, len(body), condition) + body
            for connection, body in zip(connections, bodies, strict=True)
        ]
        # Signed before, so that all of them are on their way within a millisecond; each race has another one first.
        for client in range(CLIENTS):
            client = (client + number) % CLIENTS
            connections[client].writer.write(requests[client])
        answers = await asyncio.gather(*(connection.answer() for connection in connections))
        statuses = [answer.status for answer in answers]
        assert sorted(statuses) == [200] + [412] * (CLIENTS - 1), f"race {number}: {statuses}"
        connections = await asyncio.gather(*(connection.after(answer) for connection, answer in zip(connections, answers, strict=True)))
        winner = statuses.index(200)
        winners[winner] += 1
        for endpoint in endpoints:
            assert (await once(endpoint, "GET", path)).body == bodies[winner], f"race {number}"
    for connection in connections:
        connection.abort()
    by_server = [sum(winners[server::2]) for server in range(2)]
    return f"{RACES} races of {CLIENTS} clients: one winner each; servers won {by_server}"


def test_if_match_loses_no_increment(serve):
    report(asyncio.run(count_up(serve().endpoint)))


async def count_up(endpoint):
    path = f"{BUCKET}/counter"
    await expect(200, once(endpoint, "PUT", path, b"0"))
    left, refused = INCREMENTS, 0

    async def client():
        nonlocal left, refused
        connection = await Connection.open(endpoint)
        while left > 0:
            left -= 1
            while True:
                seen = await expect(200, connection.request("GET", path))
                body = str(int(seen.body) + 1).encode()
                answer = await connection.request("PUT", path, body, {"if-match": seen.headers["etag"]})
                if answer.status == 200:
                    break
                assert answer.status == 412, answer.body
                refused += 1
                connection = await connection.after(answer)
                # As SDKs do; without it 31 of 32 requests do nothing but lose.
                await asyncio.sleep(random.random() * BACKOFF_SECONDS_MAX)
        connection.abort()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    end = int((await once(endpoint, "GET", path)).body)
    assert end == INCREMENTS
    return f"{INCREMENTS} increments by {CLIENTS} clients: the counter is {end}; {refused} refused with 412 and repeated"
