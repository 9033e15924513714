"""Clients that announce, dawdle or say nothing: they hold little, and not for ever."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess

import pytest

import server as ringway
from conftest import BUCKET
from counts import report
from wire import Connection, expect, metrics, once, signed_head

CLAIM_BYTES = 5 << 30
HELD_BYTES_MAX = 64 << 20
# What may be held for a claim: a first MiB, later four times what has come; and blocks of the filesystem's own.
FIRST_BYTES, RATIO, OWN_BYTES = 1 << 20, 4, 1 << 20
# Longer than any of the server's times here, so that a test that waits for it fails instead of hanging.
SECONDS_MAX = 60


@pytest.fixture
def filesystem(folder):
    """An ext4 of its own, so that nobody else moves its free space."""
    if os.geteuid() != 0:
        pytest.skip("mounting a filesystem needs root")
    mkfs = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if mkfs is None:
        pytest.skip("mkfs.ext4 is not installed")
    image, mount = folder / "image", folder / "mount"
    with image.open("wb") as file:
        file.truncate(8 << 30)
    mount.mkdir()
    subprocess.run([mkfs, "-q", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, mount], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a loop device cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)


def free_bytes(path):
    space = os.statvfs(path)
    return space.f_bavail * space.f_frsize


@pytest.mark.parametrize("sent_bytes", [0, 20 << 10, 2 << 20, 40 << 20])
def test_an_announced_length_is_a_claim(filesystem, serve, sent_bytes):
    server = serve(root=filesystem / "root")

    async def claim():
        before = free_bytes(filesystem)
        connection = await Connection.open(server.endpoint)
        connection.send_head("PUT", f"{BUCKET}/claimed", CLAIM_BYTES)
        await connection.send(b"x" * sent_bytes)
        # The others' requests are answered behind what the server does with this one.
        lowest = before
        for _ in range(20):
            await expect(200, once(server.endpoint, "GET", f"{BUCKET}"))
            lowest = min(lowest, free_bytes(filesystem))
            await asyncio.sleep(0.05)
        connection.abort()
        return before - lowest

    moved = asyncio.run(claim())
    ahead = min(HELD_BYTES_MAX, max(FIRST_BYTES, RATIO * sent_bytes))
    assert moved <= sent_bytes + ahead + OWN_BYTES, f"{moved} bytes"
    report(f"5 GiB announced, {sent_bytes} bytes sent, silence: free space moved by {moved} bytes")


async def until_closed(connection):
    """Everything the server still says, until it closes."""
    async with asyncio.timeout(SECONDS_MAX):
        return await connection.reader.read()


async def slow_body(endpoint):
    """A byte every quarter of a second: never silent, and always under a KiB a second."""
    connection = await Connection.open(endpoint)
    connection.send_head("PUT", f"{BUCKET}/slow", 1 << 20)

    async def dawdle():
        while True:
            await connection.send(b"x")
            await asyncio.sleep(0.25)

    dawdling = asyncio.create_task(dawdle())
    try:
        return await until_closed(connection)
    finally:
        dawdling.cancel()


async def silent_body(endpoint):
    connection = await Connection.open(endpoint)
    connection.send_head("PUT", f"{BUCKET}/silent", 1 << 20)
    return await until_closed(connection)


async def unread_body(endpoint):
    """A GET whose client reads the head and then nothing."""
    connection = await Connection.open(endpoint)
    connection.send_head("GET", f"{BUCKET}/large")
    await connection.reader.readuntil(b"\r\n\r\n")
    connection.writer.transport.pause_reading()
    return connection


async def half_a_head(endpoint):
    connection = await Connection.open(endpoint)
    connection.writer.write(signed_head(endpoint, "GET", f"{BUCKET}/any")[:-2])
    return await until_closed(connection)


async def nothing(endpoint):
    return await until_closed(await Connection.open(endpoint))


async def nothing_more(endpoint):
    connection = await Connection.open(endpoint)
    await expect(200, connection.request("PUT", f"{BUCKET}/kept", b"x"))
    return await until_closed(connection)


def test_times_out(serve):
    server = serve("--header-timeout", "1s", "--idle-timeout", "2s")

    async def all_at_once():
        cases = [slow_body, silent_body, half_a_head, nothing, nothing_more]
        return dict(zip(cases, await asyncio.gather(*(case(server.endpoint) for case in cases)), strict=True))

    said = asyncio.run(all_at_once())
    for case in (slow_body, silent_body, half_a_head):
        assert said[case].startswith(b"HTTP/1.1 400 ") and b"<Code>RequestTimeout</Code>" in said[case], case
        assert b"connection: close" in said[case].lower(), case
    assert said[nothing] == said[nothing_more] == b""
    assert not server.path("load", "slow").exists() and not server.path("load", "silent").exists()
    report("a body under 1 KiB/s, a silent body, half a head, an idle connection: each closed in its time")


def test_a_client_that_does_not_read_is_closed(serve):
    server = serve("--cores", "1")
    with server.path("load", "large").open("wb") as file:
        file.truncate(64 << 20)

    async def stall():
        connection = await unread_body(server.endpoint)
        for open_count in ("1", "0"):
            await until(server, "connections_open", open_count)
        connection.abort()

    asyncio.run(stall())


async def until(server, name, value):
    async with asyncio.timeout(SECONDS_MAX):
        while (await metrics(server))[name] != value:
            await asyncio.sleep(0.1)


def test_bench_has_descriptors_for_its_connections(serve):
    """Under the soft limit of a shell, which is no limit but a default: the hard one is."""
    server = serve("--cores", "1")
    limits = ["prlimit", "--nofile=64:4096"]
    bench = [ringway.BINARY, "bench", "put", server.endpoint, "--bucket", "load", "--size", "4KiB", "--json"]
    bench += ["--connections", "200", "--count", "400"]
    pair = {"AWS_ACCESS_KEY_ID": ringway.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": ringway.SECRET_KEY}
    environment = {**os.environ, **pair}
    done = subprocess.run([*limits, *bench], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["errors"] == {}, done.stdout


@pytest.mark.parametrize("arguments", [[], ["--connections-max", "16384"]])
def test_too_few_descriptors_are_said(engine, folder, arguments):
    """A number that was asked for is a warning, the default is what there is room for."""
    under = ["prlimit", "--nofile=256:512"]
    server = ringway.Server(folder / "root", engine, folder / "log", arguments, under)
    try:
        asyncio.run(expect(200, once(server.endpoint, "PUT", BUCKET)))
    finally:
        server.stop()
    said = (folder / "log").read_text()
    assert "may have 512 file descriptors, and --connections-max 16384 may need" in said, said
    assert ("--connections-max is " in said) == (not arguments) == (" WARN " not in said), said


def connections_of(server):
    """Connections that the process has accepted, whether it serves them or not."""
    local = {f"0100007F:{int(address.rsplit(':', 1)[1]):04X}" for address in (server.endpoint,)}
    found = 0
    inodes = inodes_of(server.process.pid)
    with open("/proc/net/tcp") as table:
        for fields in map(str.split, table):
            found += fields[1] in local and fields[3] == "01" and int(fields[9]) in inodes
    return found


def inodes_of(pid):
    """What the process has open; a descriptor may be closed between the list and the look at it."""
    folder, found = f"/proc/{pid}/fd", set()
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.stat(f"{folder}/{name}").st_ino)
    return found


def test_no_connection_is_taken_that_there_is_no_room_for(serve):
    server = serve("--cores", "1", "--connections-max", "8")

    async def crowd():
        connections = [await Connection.open(server.endpoint) for _ in range(100)]
        await until(server, "connections_open", "8")
        assert connections_of(server) == 8
        # Each that leaves makes room for the next, and none is lost.
        for index, connection in enumerate(connections):
            await expect(200, connection.request("GET", BUCKET))
            assert connections_of(server) <= 8, index
            connection.abort()

    asyncio.run(crowd())
