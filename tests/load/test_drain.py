"""SIGTERM under load: what was acknowledged stays, what is under way ends, and the server leaves in time."""

import asyncio
import os
import signal

from conftest import BUCKET
from counts import count, report
from wire import Connection, expect, once

WRITERS = 16
READERS = 8
SLOW = 4
# SIGTERM comes when this many puts are acknowledged and every slow transfer has begun.
ACKNOWLEDGED_MIN = count(200, 5_000)
LARGE_BYTES = 16 << 20
PIECES = 64
# The drain has 25 s.
SECONDS_MAX = 40
DRAINS = count(1, 10)


class Load:
    """Clients of all kinds and what became of their requests."""

    def __init__(self, endpoint, large):
        self.endpoint, self.large = endpoint, large
        self.acknowledged, self.read, self.cut = {}, 0, 0
        self.slow_begun = 0

    async def writer(self, number):
        serial = 0
        async for connection in self.connections():
            path, body = f"{BUCKET}/drain/{number}/{serial}", os.urandom(serial % 40_000)
            serial += 1
            answer = await self.exchange(connection, "PUT", path, body)
            if answer is None:
                return
            assert answer.status == 200, answer
            self.acknowledged[path] = body
            if answer.headers.get("connection") == "close":
                return

    async def reader(self):
        async for connection in self.connections():
            answer = await self.exchange(connection, "GET", f"{BUCKET}/large")
            if answer is None:
                return
            assert answer.body == self.large
            self.read += 1
            if answer.headers.get("connection") == "close":
                return

    async def connections(self):
        """The same connection again and again; the caller leaves."""
        connection = await Connection.open(self.endpoint)
        while True:
            yield connection

    async def exchange(self, connection, *request):
        """A whole answer, or `None` when the connection was closed before a byte of one; half an answer is an error."""
        try:
            return await connection.request(*request)
        except asyncio.IncompleteReadError as error:
            assert not error.partial and error.expected is None, "half an answer"
        except ConnectionResetError:
            pass
        self.cut += 1
        return None

    async def slow_writer(self, number):
        path = f"{BUCKET}/drain/slow-{number}"
        connection = await Connection.open(self.endpoint)
        connection.send_head("PUT", path, LARGE_BYTES)
        piece = LARGE_BYTES // PIECES
        for index in range(PIECES):
            await connection.send(self.large[index * piece : (index + 1) * piece])
            if index == PIECES // 8:
                self.slow_begun += 1
            await asyncio.sleep(0.03)
        answer = await connection.answer()
        assert answer.status == 200, answer
        self.acknowledged[path] = self.large

    async def slow_reader(self):
        connection = await Connection.open(self.endpoint)
        connection.send_head("GET", f"{BUCKET}/large")
        await connection.reader.readuntil(b"\r\n\r\n")
        body = b""
        self.slow_begun += 1
        while len(body) < LARGE_BYTES:
            body += await connection.reader.readexactly(LARGE_BYTES // PIECES)
            await asyncio.sleep(0.03)
        assert body == self.large

    async def run(self, process):
        clients = [self.writer(number) for number in range(WRITERS)] + [self.reader() for _ in range(READERS)]
        clients = [asyncio.create_task(client) for client in clients]
        while len(self.acknowledged) < ACKNOWLEDGED_MIN:
            await asyncio.sleep(0.01)
        slow = [self.slow_writer(number) for number in range(SLOW)] + [self.slow_reader() for _ in range(SLOW)]
        clients += [asyncio.create_task(client) for client in slow]
        while self.slow_begun < 2 * SLOW:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS_MAX):
            await asyncio.gather(*clients)


def test_sigterm_breaks_nothing(serve):
    for _ in range(DRAINS):
        server = serve()
        large = os.urandom(LARGE_BYTES)
        asyncio.run(expect(200, once(server.endpoint, "PUT", f"{BUCKET}/large", large)))
        load = Load(server.endpoint, large)
        asyncio.run(load.run(server.process))
        assert server.process.wait(SECONDS_MAX) == 0
        for path, body in load.acknowledged.items():
            assert (server.root / path.lstrip("/")).read_bytes() == body, path
        report(
            f"SIGTERM after {len(load.acknowledged)} acknowledged PUTs and {load.read} GETs: all there, {2 * SLOW} slow "
            f"transfers finished, {load.cut} connections closed before an answer began, exit 0"
        )
