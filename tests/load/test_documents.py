"""Documents that many clients send at once and do not finish: what a core holds of them has a bound."""

import asyncio

from conftest import BUCKET
from counts import report
from test_idle_memory import memory
from wire import Connection, expect, once, signed_head

MIB = 1 << 20
BUDGET_BYTES = 8 * MIB
# One document goes beyond the budget, and connections, their signing and the allocator have something of their own.
MORE_BYTES = (4 + 12) * MIB
CLIENTS = 60
# The largest DeleteObjects, all but its end.
DOCUMENT_BYTES = 2 * MIB
# Functional, no measure of speed: who finds no memory is answered in ten seconds.
SECONDS_MAX = 30


def delete_head(endpoint, length):
    return signed_head(endpoint, "POST", BUCKET, length, query="delete=")


async def delete(endpoint, key):
    """A small DeleteObjects on a connection of its own."""
    connection = await Connection.open(endpoint)
    body = f"<Delete><Object><Key>{key}</Key></Object></Delete>".encode()
    connection.writer.write(delete_head(endpoint, len(body)) + body)
    try:
        async with asyncio.timeout(SECONDS_MAX):
            return await connection.answer()
    finally:
        connection.abort()


async def unfinished(endpoint):
    connection = await Connection.open(endpoint)
    connection.writer.write(delete_head(endpoint, DOCUMENT_BYTES) + b"<" * (DOCUMENT_BYTES - 1))
    return connection


def test_unfinished_documents_fill_no_memory(serve):
    # No pace is demanded, so that nobody is closed for being slow.
    server = serve("--cores", "1", "--body-rate-min", "0", "--document-memory", "8MiB")
    report(asyncio.run(grow(server)))


async def grow(server):
    pid = server.process.pid
    await expect(200, once(server.endpoint, "PUT", f"{BUCKET}/there", b"x"))
    await expect(200, delete(server.endpoint, "there"))
    before = most = memory(pid)
    connections = [await unfinished(server.endpoint) for _ in range(CLIENTS)]
    # Those who find no memory are told so; the others hold what they have.
    told = 0
    answers = [asyncio.create_task(connection.answer()) for connection in connections]
    async with asyncio.timeout(SECONDS_MAX):
        while told < CLIENTS - (BUDGET_BYTES + MORE_BYTES) // DOCUMENT_BYTES:
            await asyncio.sleep(0.1)
            most = max(most, memory(pid))
            told = sum(answer.done() for answer in answers)
    for answer in answers:
        if answer.done() and not answer.exception():
            # Who held some and did not go on made room for those who waited.
            told_so = {503: b"<Code>SlowDown</Code>", 400: b"<Code>RequestTimeout</Code>"}
            assert told_so[answer.result().status] in answer.result().body
        answer.cancel()
    for connection in connections:
        connection.abort()
    assert most - before <= BUDGET_BYTES + MORE_BYTES, f"{most - before} bytes"
    # The memory is everybody's again.
    await expect(200, delete(server.endpoint, "there"))
    await expect(200, once(server.endpoint, "GET", BUCKET))
    return f"{CLIENTS} documents of 2 MiB without their end: {most - before} bytes more, {told} clients told to slow down"


def test_a_document_that_moves_slowly_makes_room_for_others(serve):
    # The pace demanded is none, so only those who wait can end it.
    server = serve("--cores", "1", "--body-rate-min", "0", "--document-memory", "8MiB")
    report(asyncio.run(make_room(server)))


async def make_room(server):
    await expect(200, once(server.endpoint, "PUT", f"{BUCKET}/there", b"x"))
    # Together they hold all there is, and one of them what goes beyond it.
    connections = [await unfinished(server.endpoint) for _ in range(8)]
    await asyncio.sleep(1)
    await expect(200, delete(server.endpoint, "there"))
    for connection in connections:
        connection.abort()
    return "8 documents of 2 MiB without their end held 8 MiB, and another was served"


# A key of this is six times as long in the answer.
QUOTES = b"<Delete><Object><Key>" + b'"' * (DOCUMENT_BYTES - 100) + b"</Key></Object></Delete>"


def test_answers_that_nobody_reads_fill_no_memory(serve):
    server = serve("--cores", "1", "--body-rate-min", "0", "--document-memory", "8MiB")
    report(asyncio.run(leave_unread(server)))


async def leave_unread(server):
    pid = server.process.pid
    await expect(200, once(server.endpoint, "PUT", f"{BUCKET}/there", b"x"))
    before = most = memory(pid)
    connections = [await Connection.open(server.endpoint) for _ in range(CLIENTS)]
    for connection in connections:
        connection.writer.write(delete_head(server.endpoint, len(QUOTES)) + QUOTES)
    for _ in range(50):
        await asyncio.sleep(0.1)
        most = max(most, memory(pid))
    for connection in connections:
        connection.abort()
    await expect(200, delete(server.endpoint, "there"))
    # The document, its keys and the answer, each of one that goes beyond the budget.
    limit = BUDGET_BYTES + MORE_BYTES + (2 + 2 + 32) * MIB
    assert most - before <= limit, f"{most - before} bytes"
    return f"{CLIENTS} answers of 12 MiB that nobody reads: {most - before} bytes more"


def test_large_documents_that_come_together_are_all_answered(serve):
    server = serve("--cores", "1", "--document-memory", "8MiB")
    report(asyncio.run(come_together(server)))


async def come_together(server):
    await expect(200, once(server.endpoint, "PUT", f"{BUCKET}/there", b"x"))

    async def ask():
        connection = await Connection.open(server.endpoint)
        connection.writer.write(delete_head(server.endpoint, len(QUOTES)) + QUOTES)
        async with asyncio.timeout(SECONDS_MAX):
            answer = await connection.answer()
        connection.abort()
        return answer.status

    statuses = await asyncio.gather(*[ask() for _ in range(6)])
    assert statuses == [200] * 6, statuses
    return "6 documents of 2 MiB with answers of 12 MiB share 8 MiB, and all are answered"
