"""What /metrics says about the way that bodies take to the disk."""

import re
import time
import urllib.request

import pytest

import server as ringway
import trees

BODY_BYTES = 64 * trees.MIB
# No block is larger.
BLOCK_BYTES_MAX = 1024 * 1024


def page(server, family):
    """One family, a number a core."""
    with urllib.request.urlopen(f"{server.admin}/metrics", timeout=60) as answer:
        lines = answer.read().decode()
    return [int(value) for value in re.findall(rf'^ringway_{family}{{core="\d+"}} (\d+)$', lines, re.MULTILINE)]


def settled(server):
    """Waits until each core has shown its numbers once more: they are then younger than this call."""
    turns = page(server, "core_turns_total")
    deadline = time.monotonic() + ringway.START_SECONDS_MAX
    while any(before == now for before, now in zip(turns, page(server, "core_turns_total"), strict=True)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def writes(server):
    settled(server)
    return [sum(page(server, f"writes_{way}_total")) for way in ("fixed_direct", "other")]


def test_a_large_body_is_written_past_the_page_cache(s3, server, bucket):
    log = server.log.read_text()
    has_ring = all(page(server, "ring_entries"))
    if has_ring and "O_DIRECT no" in log:
        pytest.skip("this filesystem has no O_DIRECT")
    if has_ring and "arenas are not registered" in log:
        pytest.skip("RLIMIT_MEMLOCK refuses to register the arena")
    before = writes(server)
    s3.put_object(Bucket=bucket, Key="large", Body=trees.content("large", BODY_BYTES))
    direct, other = (now - then for now, then in zip(writes(server), before, strict=True))
    if has_ring:
        assert other == 0 and direct >= BODY_BYTES // BLOCK_BYTES_MAX
    else:
        assert direct == 0 and other >= BODY_BYTES // BLOCK_BYTES_MAX


def test_the_engine_shows_its_work(s3, server, bucket):
    has_ring = all(page(server, "ring_entries"))
    family, idle = ("completions_total", None) if has_ring else ("pool_calls_total", "completions_total")
    settled(server)
    before = sum(page(server, family))
    s3.put_object(Bucket=bucket, Key="small", Body=b"small")
    settled(server)
    assert sum(page(server, family)) > before
    assert idle is None or not any(page(server, idle))
    assert all(page(server, "enters_total"))
