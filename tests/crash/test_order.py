"""The commit recipe step by step, as the kernel sees it: nothing is left out, nothing is early, the answer is last.

One test an operation and filesystem. The threads engine runs every step as a plain system call, which strace records;
both engines run the same recipe. A step that is dropped or moved changes the list and fails the test of its operation.
"""

import re
from pathlib import Path

import boto3
import botocore.config
import pytest

import mounts
import server as ringway

TRACED = "fsetxattr,fdatasync,fsync,syncfs,linkat,renameat,renameat2,mkdirat,unlinkat,pwrite64,pwritev2,sendto,sendmsg,writev"
STRACE = ["strace", "--daemonize=grandchild", "--follow-forks", "--decode-fds=path", "--trace=" + TRACED]
CALL = re.compile(r"^(\d+) +(\w+)\((.*?)(?:\) += (-?\d+)( E\w+)?.*|( <unfinished \.\.\.>))$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>.*\) += (-?\d+)( E\w+)?.*$")
DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")
NAME = re.compile(r'"([^"]*)"')
FLUSHES_NAMED = ["btrfs"]
NAMES_FIRST = ["fuse"]


class Trace:
    """The steps that were recorded since the last look."""

    def __init__(self, path, root):
        self.path, self.root, self.seen = path, str(root), 0

    def steps(self):
        """Each call up to the newest answer as a few words."""
        found = []

        def is_answered():
            # The client may have the answer before strace has written that it was sent.
            found[:] = self.parse(self.path.read_bytes()[self.seen :])
            return found[-1:] == ["answer"]

        mounts.wait_until(is_answered, "the answer is on record")
        self.seen = self.path.stat().st_size
        return found

    def parse(self, record):
        """Calls of one request never overlap: an overlap is a step that no list of this file has."""
        found, open_calls = [], {}
        for line in record.decode(errors="replace").splitlines():
            if resumed := RESUMED.match(line):
                step = open_calls.pop(resumed[1], None)
                found += [step + (resumed[4] or "")] if step else []
            elif call := CALL.match(line):
                step = self.words(call[2], call[3])
                if step is None:
                    continue
                if open_calls:
                    found.append(f"{step} while {list(open_calls.values())}")
                if call[6]:
                    open_calls[call[1]] = step
                else:
                    found.append(step + (call[5] or ""))
        return found

    def words(self, call, arguments):
        if call in ("sendto", "sendmsg", "writev"):
            return "answer" if "HTTP/1.1 " in arguments and "HTTP/1.1 100 " not in arguments else None
        place = self.place(DESCRIPTOR.match(arguments)[1])
        names = NAME.findall(arguments)
        if call in ("fdatasync", "fsync", "syncfs"):
            return f"{call} {place}"
        if call == "fsetxattr":
            return f"attribute {names[0]} of {place}"
        if call in ("pwrite64", "pwritev2"):
            return f"write {place}"
        return f"{call.rstrip('2')} {self.leaf(names[-1])} in {self.place(re.findall(r'[0-9]+<([^>]*)>', arguments)[-1])}"

    def place(self, path):
        if path.startswith("socket:") or path.startswith("anon_inode"):
            return path
        if "/overflow" in path:
            return "sidecar"
        if "/.ringway/b/" in path:
            return "note"
        if "#" in path or ".ringway-tmp-" in path or "(deleted)" in path:
            return "file"
        return path.removeprefix(f"{self.root}/")

    def leaf(self, name):
        return "temporary" if name.startswith(".ringway-tmp-") else name


@pytest.fixture(params=mounts.KINDS)
def traced(request, tmp_path):
    """A client of a server that is recorded, and its record."""
    reason = mounts.refusal(request.param) or (mounts.tool("strace") is None and "strace is not installed")
    if reason:
        pytest.skip(reason)
    with mounts.mounted(request.param, tmp_path / "fs") as point:
        record = tmp_path / "trace"
        under = [*STRACE, f"--output={record}"]
        server = ringway.Server(point / "root", "threads", tmp_path / "log", ["--cores", "1"], under)
        try:
            s3 = boto3.client(
                "s3",
                endpoint_url=server.endpoint,
                region_name=ringway.REGION,
                aws_access_key_id=ringway.ACCESS_KEY,
                aws_secret_access_key=ringway.SECRET_KEY,
                config=botocore.config.Config(s3={"addressing_style": "path"}),
            )
            s3.create_bucket(Bucket="order")
            # The first write makes the directories of the server's own.
            s3.put_object(Bucket="order", Key="first", Body=b"1")
            s3.put_object(Bucket="order", Key="first", Body=b"2")
            trace = Trace(record, server.root)
            trace.steps()
            yield request.param, s3, trace
        finally:
            server.kill()


def filled(kind):
    """What comes before the name: bytes, both attributes, and the flush that covers them."""
    # Where bytes are written late, the time that the record vouches for is known when they are flushed.
    first = ["write note", "write file", "fdatasync file"] if kind in NAMES_FIRST else ["write file"]
    return [*first, "attribute user.s3.meta of file", "attribute user.s3 of file", "fdatasync file"]


def published(kind, leaf, place, existed):
    """How a filled file gets its name."""
    rename = f"renameat {leaf} in {place}"
    if kind in NAMES_FIRST:
        return [rename]
    named = ["write note", f"linkat temporary in {place}"]
    if kind in FLUSHES_NAMED:
        return [*named, "fsync file", rename]
    return [f"linkat {leaf} in {place} EEXIST", *named, rename] if existed else [f"linkat {leaf} in {place}"]


def put(s3, key):
    s3.put_object(Bucket="order", Key=key, Body=b"some bytes", Metadata={"colour": "green"})


def test_create_bucket(traced):
    _, s3, trace = traced
    s3.create_bucket(Bucket="order-too")
    assert trace.steps() == [f"mkdirat order-too in {trace.root}", f"fsync {trace.root}", "answer"]


def test_put_of_a_new_key(traced):
    kind, s3, trace = traced
    put(s3, "key")
    assert trace.steps() == [*filled(kind), *published(kind, "key", "order", False), "fsync order", "answer"]


def test_put_of_a_new_key_in_new_directories(traced):
    kind, s3, trace = traced
    put(s3, "a/b/key")
    made = [
        *("mkdirat a in order", "attribute user.s3.parent of order/a"),
        *("mkdirat b in order/a", "attribute user.s3.parent of order/a/b"),
    ]
    settled = ["fsync order/a/b", "fsync order/a", "fsync order"]
    assert trace.steps() == [*filled(kind), *made, *published(kind, "key", "order/a/b", False), *settled, "answer"]


def test_put_with_metadata_that_no_attribute_holds(traced):
    """The sidecar is whole and durable before the file refers to it, and so before the object has its name."""
    kind, s3, trace = traced
    if kind != "ext4":
        pytest.skip("it holds more in an attribute than a request may say")
    described = {"ContentDisposition": "x" * 5000}
    # The first one makes the directory of sidecars.
    s3.put_object(Bucket="order", Key="before", Body=b"some bytes", **described)
    trace.steps()
    s3.put_object(Bucket="order", Key="key", Body=b"some bytes", **described)
    steps = [step for step in trace.steps() if not step.endswith("EEXIST")]
    above = ["fsync note", "fsync .ringway/b", "fsync .ringway", f"fsync {trace.root}"]
    assert steps == [
        *("write file", "attribute user.s3.meta of file ENOSPC"),
        *("write sidecar", "fdatasync sidecar", "fsync sidecar", *above),
        *filled(kind)[1:],
        *published(kind, "key", "order", False),
        *("fsync order", "answer"),
    ]


def test_put_over_an_object(traced):
    kind, s3, trace = traced
    put(s3, "key")
    trace.steps()
    put(s3, "key")
    assert trace.steps() == [*filled(kind), *published(kind, "key", "order", True), "fsync order", "answer"]


def test_put_of_a_directory(traced):
    _, s3, trace = traced
    s3.put_object(Bucket="order", Key="a/d/", Metadata={"colour": "green"})
    steps = trace.steps()
    assert steps[:4:2] == ["mkdirat a in order", "mkdirat d in order/a"]
    assert steps[-6:] == [
        *("attribute user.s3.meta of order/a/d", "attribute user.s3 of order/a/d"),
        *("fsync order/a/d", "fsync order/a", "fsync order", "answer"),
    ]


def test_delete(traced):
    _, s3, trace = traced
    for key in ["a/b/key", "a/beside"]:
        put(s3, key)
    trace.steps()
    s3.delete_object(Bucket="order", Key="a/b/key")
    pruned = ["unlinkat b in order/a", "unlinkat a in order ENOTEMPTY"]
    assert trace.steps() == ["unlinkat key in order/a/b", "fsync order/a/b", *pruned, "answer"]


def test_delete_of_a_directory(traced):
    _, s3, trace = traced
    s3.put_object(Bucket="order", Key="d/")
    trace.steps()
    s3.delete_object(Bucket="order", Key="d/")
    steps = ["attribute user.s3 of order/d", "unlinkat d in order", "fsync order", "answer"]
    assert trace.steps() == steps


@pytest.mark.parametrize("traced", ["ext4"], indirect=True)
def test_a_mount_inside_of_a_bucket_is_trusted_with_nothing(traced, tmp_path):
    """Its bucket's mount flushes nameless files well; of this one nobody knows."""
    _, s3, trace = traced
    if reason := mounts.refusal("btrfs"):
        pytest.skip(reason)
    with mounts.mounted("btrfs", tmp_path / "other") as other:
        inner = Path(trace.root) / "order" / "inner"
        inner.mkdir()
        mounts.run("mount", "--bind", other, inner)
        try:
            s3.put_object(Bucket="order", Key="inner/k", Body=b"1")
            steps = trace.steps()
        finally:
            mounts.unmount(inner)
    rename = steps.index("renameat k in order/inner")
    assert steps[rename - 1] == "fsync file" and "linkat temporary in order/inner" in steps[:rename]
