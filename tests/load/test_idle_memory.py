"""What a connection costs that has done its work and waits."""

import asyncio
from pathlib import Path

from conftest import BUCKET
from counts import count, report
from wire import Connection, expect

CONNECTIONS = count(1_000, 10_000)
BYTES_EACH_MAX = 4096
# How many work at once: what those need is not kept a connection, and must not hide what is.
AT_ONCE = 16


def memory(pid, name="VmRSS"):
    """Bytes of a process's resident memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{name}:"))


def test_an_idle_connection_costs_at_most_4_kib(serve):
    server = serve("--connections-max", "20000", "--idle-timeout", "1h")
    report(asyncio.run(grow(server)))


async def work(endpoint, number):
    connection = await Connection.open(endpoint)
    path = f"{BUCKET}/idle-{number % AT_ONCE}"
    body = b"x" * 4096
    await expect(200, connection.request("PUT", path, body))
    assert (await expect(200, connection.request("GET", path))).body == body
    return connection


async def grow(server):
    pid = server.process.pid
    turn = asyncio.Semaphore(AT_ONCE)

    async def in_turn(number):
        async with turn:
            return await work(server.endpoint, number)

    # The first few touch code, arena and caches that any number of connections shares.
    first = [await in_turn(number) for number in range(4 * AT_ONCE)]
    before = memory(pid)
    connections = await asyncio.gather(*(in_turn(number) for number in range(CONNECTIONS)))
    # One more request each way, so that the server has come back to every other connection.
    await expect(200, first[0].request("GET", f"{BUCKET}/idle-0"))
    each = (memory(pid) - before) / CONNECTIONS
    for connection in [*connections, *first]:
        connection.abort()
    assert each <= BYTES_EACH_MAX, f"{each:.0f} bytes a connection"
    return f"{CONNECTIONS} idle connections: {each:.0f} bytes of resident memory each (VmRSS {before} before)"
