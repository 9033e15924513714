"""What containers, old kernels and other users' limits refuse: one line names it with the remedy, and Ringway serves.

Where it can't serve it exits with 1 and that one line. The refusals are real: a seccomp filter, a uid, a resource limit.
"""

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import confined
import server as ringway
import trees
from conftest import client

RING = ["io_uring_setup", "io_uring_enter", "io_uring_register"]
# What Ringway does otherwise when it is missing: all of them are newer than the calls that every kernel has.
OPTIONAL = ["cachestat", "copy_file_range", "epoll_pwait2", "fallocate", "preadv2", "renameat2", "sched_setaffinity"]
# What a profile that forbids a call answers, and what a kernel without it does.
ERRNOS = ["EPERM", "ENOSYS"]
RING_REMEDY = "allow the io_uring_* system calls"
MEMLOCK_REMEDY = "raise it (systemd: LimitMEMLOCK=infinity)"
# The limit of locked memory that kernels before 5.16 and many containers give.
MEMLOCK_BYTES = 64 << 10
USER = 1000 if os.geteuid() == 0 else os.geteuid()
# Ends with the errno of opening a ring as a user who may lock no memory.
OPEN_RING = f"""
import ctypes, resource, confined
call = ctypes.CDLL(None, use_errno=True).syscall
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
confined.become({USER})
call(confined.NUMBERS["io_uring_setup"], 16, ctypes.create_string_buffer(120))
exit(ctypes.get_errno())
"""
# So few that no limit on descriptors is a second thing to tell.
FEW = "--connections-max=100"


def refuse(calls, code):
    return [f"--refuse={call}={code}" for call in calls]


@pytest.fixture
def folder():
    """A folder of the user whom some servers run as, in which they find the binary too."""
    probe = [sys.executable, confined.__file__, "--refuse=io_uring_setup=EPERM", "/bin/true"]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        pytest.skip(f"no seccomp filter can be set here: {done.stderr.splitlines()[-1]}")
    with tempfile.TemporaryDirectory(prefix="ringway-refused-") as path:
        os.chown(path, USER, -1)
        yield Path(path)


def command(folder, confinement):
    """What runs Ringway under `confinement`."""
    program = folder / "ringway"
    if not program.exists():
        shutil.copy(ringway.BINARY, program)
    return [sys.executable, confined.__file__, *confinement], program


def check_serves(folder, confinement, engine, *flags):
    """Everything works; gives the lines that are no mere information."""
    under, program = command(folder, confinement)
    log = folder / "log"
    server = ringway.Server(folder / "root", engine, log, ["--access-log=off", FEW, *flags], under, program)
    try:
        check_objects(server, client(server.endpoint))
    finally:
        server.stop()
    assert "panicked" not in log.read_text()
    return re.findall(r"^\S+ +(?:WARN|ERROR) .*$", log.read_text(), re.MULTILINE)


def check_objects(server, s3):
    s3.create_bucket(Bucket="refused")
    for size in [0, 70_000, 3 * trees.MIB + 5]:
        for body in [trees.content("old", size + 1), trees.content("new", size)]:
            s3.put_object(Bucket="refused", Key="a/key", Body=body, Metadata={"colour": "green"})
            assert server.path("refused", "a/key").read_bytes() == body
            assert s3.get_object(Bucket="refused", Key="a/key")["Body"].read() == body
    check_parts(server, s3)
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="refused")["Contents"]] == ["a/key", "parts"]
    s3.delete_object(Bucket="refused", Key="a/key")
    assert not server.path("refused", "a").exists()


def check_parts(server, s3):
    """Parts of unlike sizes, which have to be copied."""
    about = {"Bucket": "refused", "Key": "parts"}
    about["UploadId"] = s3.create_multipart_upload(**about)["UploadId"]
    bodies = [trees.content(size, size) for size in [5 * trees.MIB + 7, 6 * trees.MIB, 3]]
    parts = []
    for number, body in enumerate(bodies, 1):
        etag = s3.upload_part(**about, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    s3.complete_multipart_upload(**about, MultipartUpload={"Parts": parts})
    assert server.path("refused", "parts").read_bytes() == b"".join(bodies)


def check_exits(folder, confinement, engine, *flags):
    """It does not serve: exit code 1 and one line, which is given."""
    under, program = command(folder, confinement)
    addresses = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    asked = [*under, program, "serve", folder / "root", "--engine", engine, FEW, *addresses, *flags]
    done = subprocess.run(
        asked, env=ringway.plain_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (1, "", 1), done
    return lines[0]


def skip_without_io_uring():
    refusal = ringway.refusal_of_io_uring()
    if refusal:
        pytest.skip(f"the kernel refuses io_uring: {refusal}")


@pytest.mark.parametrize("code", ERRNOS)
@pytest.mark.parametrize("calls", [RING, *([call] for call in RING)], ids="+".join)
def test_io_uring_is_refused(folder, calls, code):
    (line,) = check_serves(folder, refuse(calls, code), "auto")
    assert "io_uring is refused here" in line and RING_REMEDY in line
    assert line.endswith("serving with the threads engine")


@pytest.mark.parametrize("code", ERRNOS)
@pytest.mark.parametrize("calls", [RING, *([call] for call in RING)], ids="+".join)
def test_io_uring_is_refused_and_nothing_else_will_do(folder, calls, code):
    line = check_exits(folder, refuse(calls, code), "io_uring")
    assert "io_uring is refused here" in line and RING_REMEDY in line


@pytest.mark.parametrize("code", ERRNOS)
def test_io_uring_is_refused_to_a_user(folder, code):
    (line,) = check_serves(folder, [*refuse(RING, code), f"--user={USER}", f"--memlock={MEMLOCK_BYTES}"], "auto")
    assert "io_uring is refused here" in line and RING_REMEDY in line


@pytest.mark.parametrize("cores", ["auto", "8"])
@pytest.mark.parametrize("memlock", [MEMLOCK_BYTES, 0])
def test_little_memory_may_be_locked(folder, memlock, cores):
    skip_without_io_uring()
    confinement = [f"--user={USER}", f"--memlock={memlock}"]
    (line,) = check_serves(folder, confinement, "auto", "--cores", cores)
    assert "RLIMIT_MEMLOCK" in line and MEMLOCK_REMEDY in line


def skip_unless_rings_are_locked_memory():
    skip_without_io_uring()
    done = subprocess.run([sys.executable, "-c", OPEN_RING], cwd=Path(confined.__file__).parent, timeout=60, check=False)
    if done.returncode != errno.ENOMEM:
        # Linux 5.12 to 6.13.
        pytest.skip(f"this kernel does not count a ring as locked memory: {done.returncode}")


def test_no_memory_may_be_locked_and_only_io_uring_will_do(folder):
    skip_unless_rings_are_locked_memory()
    line = check_exits(folder, [f"--user={USER}", "--memlock=0"], "io_uring")
    assert "RLIMIT_MEMLOCK" in line and MEMLOCK_REMEDY in line


def test_too_little_memory_for_that_many_rings(folder):
    skip_unless_rings_are_locked_memory()
    line = check_exits(folder, [f"--user={USER}", f"--memlock={MEMLOCK_BYTES}"], "io_uring", "--cores", "8")
    assert "RLIMIT_MEMLOCK" in line and MEMLOCK_REMEDY in line


@pytest.mark.parametrize("code", ERRNOS)
@pytest.mark.parametrize("engine", ringway.ENGINES)
def test_newer_calls_are_done_without(folder, engine, code):
    if engine == "io_uring":
        skip_without_io_uring()
    (line,) = check_serves(folder, refuse(OPTIONAL, code), engine)
    assert "not pinned" in line


@pytest.mark.parametrize("code", ERRNOS)
def test_only_the_ring_does_without_openat2(folder, code):
    if not ringway.refusal_of_io_uring():
        assert check_serves(folder, refuse(["openat2"], code), "auto") == []
    for engine, calls in [("threads", ["openat2"]), ("auto", ["openat2", *RING])]:
        line = check_exits(folder, refuse(calls, code), engine)
        assert "openat2 is refused here" in line and "Linux 5.6" in line and "seccomp" in line


def test_no_thread_is_to_be_had(folder):
    # Without clone3 the C library takes clone; a profile older than clone3 forbids it, and that is final.
    line = check_exits(folder, refuse(["clone3"], "EPERM"), "auto")
    assert "no thread can be started" in line and "seccomp" in line


@pytest.mark.parametrize("code", ERRNOS)
@pytest.mark.parametrize("engine", ["auto", "threads"])
def test_nothing_does_without_statx(folder, engine, code):
    line = check_exits(folder, refuse(["statx"], code), engine)
    assert "statx is refused here" in line and "Linux 5.8" in line and "seccomp" in line
