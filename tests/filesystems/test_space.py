"""A full disk and a client that announces more than it sends: nothing is kept, nothing that was there is harmed."""

import contextlib

import botocore.exceptions
import pytest

import mounts
import trees
from conftest import RawPut, client, skip_without, started

MIB = 1 << 20
# What a filesystem may keep for its own records: nodes of trees, delayed work, the server's in-flight tables.
SLACK_BYTES = 12 * MIB
RESERVED_BYTES_MAX = 64 * MIB
ANNOUNCED_BYTES = 5 << 30
LEFT_BYTES = 160 * MIB
BODY_BYTES = 100 * MIB
OLD = trees.content("old", 3 * MIB)


@pytest.fixture
def s3_on(kind, engine, tmp_path):
    """Starts a server on an empty filesystem of some size; gives a client and the mount point."""
    skip_without(kind, engine)
    with contextlib.ExitStack() as stack:

        def start(size_mib):
            point = stack.enter_context(mounts.mounted(kind, tmp_path / "fs", size_mib))
            server = stack.enter_context(started(point / "root", engine, tmp_path / "log"))
            s3 = client(server)
            s3.create_bucket(Bucket="space")
            s3.put_object(Bucket="space", Key="old", Body=OLD)
            return s3, point

        yield start


def comes_back(point, before):
    mounts.wait_until(
        lambda: mounts.free_bytes(point) >= before - SLACK_BYTES,
        f"free space is {before} again, within {SLACK_BYTES}",
    )


def is_insufficient(status, body):
    assert status == 507 and "<Code>InsufficientStorage</Code>" in body, (status, body)


@pytest.mark.parametrize("key", ["new", "old"])
def test_a_disk_that_fills_in_the_middle_of_a_body(s3_on, key):
    s3, point = s3_on(mounts.IMAGE_MIB)
    first = mounts.fill(point, LEFT_BYTES)
    first.rename(first.with_name("first"))
    before = mounts.free_bytes(point)
    body = trees.content("too much", BODY_BYTES)
    with RawPut(s3, "space", key, len(body)) as put:
        put.send(body[: 8 * MIB])
        mounts.wait_until(lambda: mounts.free_bytes(point) <= before - 4 * MIB, "the server has written")
        filler = mounts.fill(point, 0)
        put.send(body[8 * MIB :])
        is_insufficient(*put.answer())
    # Full as the disk is, what is there can be read, and removed.
    assert s3.get_object(Bucket="space", Key="old")["Body"].read() == OLD
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="space")["Contents"]] == ["old"]
    s3.delete_object(Bucket="space", Key="old")
    filler.unlink()
    comes_back(point, before)
    # The name goes in a task of its own.
    mounts.wait_until(lambda: not mounts.temporary_names(point), "temporary names are gone")
    s3.put_object(Bucket="space", Key=key, Body=OLD)
    assert s3.get_object(Bucket="space", Key=key)["Body"].read() == OLD


def test_a_body_larger_than_the_free_space_is_refused_before_it_is_sent(s3_on):
    s3, point = s3_on(mounts.IMAGE_MIB)
    before = mounts.free_bytes(point)
    with RawPut(s3, "space", "old", before + 64 * MIB) as put:
        is_insufficient(*put.answer())
    comes_back(point, before)


def test_a_body_that_nobody_announced_leaves_space_to_others(s3_on, kind):
    s3, point = s3_on(mounts.IMAGE_MIB)
    # btrfs tells late what is taken, and a daemon is not asked: there the full disk ends the body.
    pieces = LEFT_BYTES // MIB - 8 if kind in ("ext4", "xfs", "tmpfs") else 2 * LEFT_BYTES // MIB
    mounts.fill(point, LEFT_BYTES)
    before = mounts.free_bytes(point)
    piece = trees.content("endless", MIB)
    with RawPut(s3, "space", "old", None) as put:
        for _ in range(pieces):
            put.send(piece)
        is_insufficient(*put.answer())
    comes_back(point, before)
    assert s3.get_object(Bucket="space", Key="old")["Body"].read() == OLD


def test_small_bodies_on_a_full_disk(s3_on):
    s3, point = s3_on(mounts.IMAGE_MIB)
    before = mounts.free_bytes(point)
    filler = mounts.fill(point, 0)
    refused = 0
    for number in range(20):
        try:
            s3.put_object(Bucket="space", Key=f"small/{number}", Body=trees.content(number, 900_000))
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "InsufficientStorage"
            refused += 1
        else:
            assert s3.get_object(Bucket="space", Key=f"small/{number}")["Body"].read() == trees.content(number, 900_000)
    assert refused > 0
    filler.unlink()
    comes_back(point, before - 20 * 900_000)
    # The name goes in a task of its own.
    mounts.wait_until(lambda: not mounts.temporary_names(point), "temporary names are gone")
    s3.put_object(Bucket="space", Key="small/0", Body=OLD)


def test_an_announced_length_reserves_little(s3_on):
    s3, point = s3_on(2 * ANNOUNCED_BYTES // MIB)
    before = mounts.free_bytes(point)
    with RawPut(s3, "space", "promised", ANNOUNCED_BYTES) as put:
        sent = trees.content("some", 2 * MIB)
        put.send(sent)
        mounts.wait_until(lambda: mounts.free_bytes(point) <= before - len(sent) // 2, "the server has written")
        taken = before - mounts.free_bytes(point)
        assert taken <= RESERVED_BYTES_MAX + SLACK_BYTES, f"{taken} bytes of free space are gone"
    comes_back(point, before)
    # The name goes in a task of its own.
    mounts.wait_until(lambda: not mounts.temporary_names(point), "temporary names are gone")
