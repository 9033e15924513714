"""Power cuts at every flush of the disk: nothing that was acknowledged is lost, nothing is ever torn.

And the same with one step of the recipe left out, where the cut must show a loss: a test of this kind that cannot fail
would say nothing. What a cut leaves is compared as POSIX sees it: bytes and the attributes of the object.
"""

import contextlib
import os
import tempfile
from pathlib import Path

import boto3
import botocore.config
import pytest

import blocklog
import mounts
import server as ringway
import trees

LONG = os.environ.get("RINGWAY_TESTS_LONG") == "1"
ROUNDS = 12 if LONG else 1
PLANNED = ringway.BINARY.parent / "examples/planned_server"
ATTRIBUTES = ["user.s3", "user.s3.meta"]
GONE = None
# The smallest that another part may follow, and a last one.
PART_BYTES = (5 << 20, 70_001)
# The step that is left out of each write: the flush of its bytes, or that of its name. On btrfs a file is flushed once
# more under its temporary name, so there the first flush alone loses nothing when it is missing.
SYNC_OF_BYTES, SYNC_OF_NAME, SYNC_OF_NAME_ON_BTRFS = "skip sync 1", "skip sync 2", "skip sync 3"


class Writes:
    """What was done to each key in order, and how far the log was when it was acknowledged."""

    def __init__(self, root, log):
        self.root, self.log, self.of_key = root, log, {}

    def is_there(self, key, body):
        """A key that was written before anything was looked at."""
        self.begin(key, body)
        self.acknowledge(key)

    def begin(self, key, body):
        """From now on a cut may find `body`, or GONE."""
        self.of_key.setdefault(key, [(0, GONE, None)]).append([None, body, None])

    def acknowledge(self, key):
        write = self.of_key[key][-1]
        write[0] = self.log.read()
        if write[1] is not GONE:
            write[2] = attributes(self.root / key)

    def check(self, root, limit):
        """What is wrong with a tree after a cut that came when `limit` entries were logged."""
        wrong = []
        for key, writes in self.of_key.items():
            acknowledged = max(index for index, write in enumerate(writes) if write[0] is not None and write[0] <= limit)
            path = root / key
            found = path.read_bytes() if path.exists() else GONE
            allowed = writes[acknowledged:]
            if all(found != write[1] for write in allowed):
                kind = "is lost" if found is GONE else "is torn or old"
                wrong.append(f"{key} {kind}")
            elif found is not GONE and all(attributes(path) != write[2] for write in allowed if write[1] == found):
                wrong.append(f"{key} has lost its attributes")
        return wrong


def attributes(path):
    names = os.listxattr(path)
    return {name: os.getxattr(path, name) for name in ATTRIBUTES if name in names}


@pytest.fixture
def memory():
    """Images live in memory: a flush of the recorded disk costs nothing then."""
    reason = mounts.refusal("tmpfs")
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="ringway-cut-") as folder:
        with mounts.mounted("tmpfs", Path(folder) / "memory", 4096) as point:
            yield point


@contextlib.contextmanager
def written(kind, engine, folder, step):
    """Writes with a step left out of each; gives what a look at each cut has found wrong, one list a cut."""
    reason = blocklog.refusal(kind) or (engine == "io_uring" and ringway.refusal_of_io_uring())
    if reason:
        pytest.skip(reason)
    with blocklog.recorded(kind, folder) as (point, log):
        server = ringway.Server(point / "root", engine, folder / "server.log", program=PLANNED)
        try:
            s3 = client(server)
            s3.create_bucket(Bucket="cut")
            # The first overwrite makes the table of temporary names, which has flushes of its own.
            s3.put_object(Bucket="cut", Key="over", Body=b"before")
            for number in range(ROUNDS):
                s3.put_object(Bucket="cut", Key="over", Body=b"first")
                s3.put_object(Bucket="cut", Key=f"gone-{number}", Body=b"first")
            writes, first = Writes(point / "root/cut", log), log.read()
            for number in range(ROUNDS):
                writes.is_there(f"gone-{number}", b"first")
            writes.is_there("over", b"first")
            for turn in range(ROUNDS):
                write_some(server, s3, writes, turn, step)
        finally:
            server.kill()
    log.read()
    with contextlib.closing(log), contextlib.closing(blocklog.cuts(log, folder, first, f"{kind}{step}")) as cuts:
        yield (look(cut, writes, folder) for cut in cuts)


def look(cut, writes, folder):
    with blocklog.mounted(cut, folder) as point:
        return [f"{what} {cut.what}" for what in writes.check(point / "root/cut", cut.limit)]


def client(server):
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=ringway.REGION,
        aws_access_key_id=ringway.ACCESS_KEY,
        aws_secret_access_key=ringway.SECRET_KEY,
        config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def complete_some(server, s3, writes, turn, step):
    """Uploads in parts: one whose file becomes the object, and one that a new file is made for, over an object."""
    for key, numbers in {f"parts-{turn}": (1, 2), "over": (1, 3)}.items():
        bodies = [trees.content(f"{key}{turn}-{number}", size) for number, size in zip(numbers, PART_BYTES, strict=True)]
        named = {"Bucket": "cut", "Key": key}
        named["UploadId"] = s3.create_multipart_upload(**named, Metadata={"turn": str(turn)})["UploadId"]
        parts = []
        for number, body in zip(numbers, bodies, strict=True):
            put = s3.upload_part(**named, PartNumber=number, Body=body)
            parts.append({"PartNumber": number, "ETag": put["ETag"]})
        writes.begin(key, b"".join(bodies))
        plan(server, step)
        s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
        writes.acknowledge(key)
        plan(server, None)


def write_some(server, s3, writes, turn, step):
    """New keys, an overwritten key, a key in new directories, a large one, a delete."""
    sizes = {f"new-{turn}": 65_537, "over": 49_000 + turn, f"a{turn}/b/c": 8192, f"large-{turn}": (1 << 20) + 77}
    for key, size in sizes.items():
        body = trees.content(f"{key}{turn}", size)
        writes.begin(key, body)
        plan(server, step)
        s3.put_object(Bucket="cut", Key=key, Body=body, Metadata={"turn": str(turn)})
        writes.acknowledge(key)
    complete_some(server, s3, writes, turn, step)
    key = f"gone-{turn}"
    writes.begin(key, GONE)
    # A delete has one flush, that of the directory.
    plan(server, "skip sync 1" if step not in (None, SYNC_OF_BYTES) else None)
    s3.delete_object(Bucket="cut", Key=key)
    writes.acknowledge(key)


def plan(server, step):
    server.process.stdin.write(f"{step or 'none'}\n".encode())
    server.process.stdin.flush()
    assert ringway.read_line(server.process.stdout, 30) == "planned"


# Each engine on each filesystem in the long form; the recipe is one, so in the short form each is there once.
SHORT = [("ext4", "io_uring"), ("xfs", "threads"), ("btrfs", "io_uring")]
ALL = [(kind, engine) for kind in mounts.ON_DISK for engine in ringway.ENGINES]


@pytest.mark.parametrize(("kind", "engine"), ALL if LONG else SHORT)
def test_nothing_acknowledged_is_lost(kind, engine, memory):
    with written(kind, engine, memory, None) as looks:
        found = list(looks)
    assert len(found) > 10 * ROUNDS
    assert sum(found, []) == []


STEPS_SHORT = [("ext4", SYNC_OF_BYTES), ("xfs", SYNC_OF_NAME)]
STEPS_ALL = [(kind, step) for kind in ["ext4", "xfs"] for step in [SYNC_OF_BYTES, SYNC_OF_NAME]]
STEPS_ALL += [("btrfs", SYNC_OF_NAME_ON_BTRFS)]


@pytest.mark.parametrize(("kind", "step"), STEPS_ALL if LONG else STEPS_SHORT)
def test_a_step_that_is_left_out_shows(kind, step, memory):
    with written(kind, "threads", memory, step) as looks:
        assert any(looks), "no cut shows that the step is missing"
