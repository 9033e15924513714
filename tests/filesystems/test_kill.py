"""kill -9 at any moment: what was acknowledged is there, what was not is old or new and whole, the rest is swept away."""

import threading

import botocore.exceptions
import pytest

import mounts
import trees
from conftest import LONG, RawPut, client, skip_without, started

MIB = 1 << 20
ROUNDS = 25 if LONG else 3
WRITERS = 4
KEYS = 6


@pytest.fixture
def root(kind, engine, tmp_path):
    skip_without(kind, engine)
    with mounts.mounted(kind, tmp_path / "fs") as point:
        yield point / "root"


def nothing_temporary(server):
    """The sweep at start has removed what the killed server left."""
    assert mounts.temporary_names(server.root) == []


def test_killed_in_the_middle_of_a_body(root, engine, tmp_path, chance):
    old, new = trees.content("old", 5 * MIB + 1), trees.content("new", 6 * MIB + 3)
    with started(root, engine, tmp_path / "log") as server:
        s3 = client(server)
        s3.create_bucket(Bucket="kill")
        s3.put_object(Bucket="kill", Key="a/old", Body=old)
        s3.put_object(Bucket="kill", Key="a/beside", Body=b"")
    before = mounts.free_bytes(root)
    for _ in range(ROUNDS):
        with started(root, engine, tmp_path / "log") as server:
            s3 = client(server)
            with RawPut(s3, "kill", "a/old", len(new)) as over, RawPut(s3, "kill", "a/new/er", len(new)) as fresh:
                for put in [over, fresh]:
                    put.send(new[: chance.randrange(len(new))])
                server.kill()
        with started(root, engine, tmp_path / "log") as server:
            nothing_temporary(server)
            s3 = client(server)
            assert s3.get_object(Bucket="kill", Key="a/old")["Body"].read() == old
            assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="kill")["Contents"]] == ["a/beside", "a/old"]
            mounts.wait_until(lambda: mounts.free_bytes(root) >= before - 4 * MIB, "the space is back")


class Writer(threading.Thread):
    """Puts and deletes its own keys until the server is gone, and remembers what it was told."""

    def __init__(self, server, name, chance):
        super().__init__()
        self.s3, self.name, self.chance = client(server), name, chance
        # What each key has, and what else it may have because an answer never came.
        self.known, self.open = {}, {}
        self.count, self.answer = 0, None

    def run(self):
        while True:
            key = f"{self.name}/{self.chance.randrange(3)}/{self.chance.randrange(KEYS)}"
            is_delete = self.chance.random() < 0.2
            size = self.chance.choice([0, 10, 4096, 70_000, 1_200_000])
            body = None if is_delete else self.chance.randbytes(size)
            try:
                if is_delete:
                    self.s3.delete_object(Bucket="kill", Key=key)
                else:
                    self.s3.put_object(Bucket="kill", Key=key, Body=body)
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
                # No answer is what a killed server gives; an error that it sent would be a bug.
                self.answer = getattr(error, "response", None)
                self.open[key] = body
                return
            self.known[key] = body
            self.count += 1

    def check(self, s3):
        assert self.answer is None, f"{self.name} was told {self.answer}"
        for key, body in self.known.items():
            try:
                found = s3.get_object(Bucket="kill", Key=key)["Body"].read()
            except s3.exceptions.NoSuchKey:
                found = None
            allowed = [body, self.open.get(key, body)]
            assert found in allowed, f"{key}: neither what was acknowledged nor what was being written"


def test_killed_among_many_writes(root, engine, tmp_path, chance):
    with started(root, engine, tmp_path / "log") as server:
        client(server).create_bucket(Bucket="kill")
    for turn in range(ROUNDS):
        with started(root, engine, tmp_path / "log") as server:
            writers = [Writer(server, f"{turn}-{number}", chance) for number in range(WRITERS)]
            for writer in writers:
                writer.start()
            stop_at = chance.randrange(1, 120)
            mounts.wait_until(lambda: sum(writer.count for writer in writers) >= stop_at, f"{stop_at} writes")
            server.kill()
            for writer in writers:
                writer.join()
        with started(root, engine, tmp_path / "log") as server:
            nothing_temporary(server)
            for writer in writers:
                writer.check(client(server))
