"""Filesystems made for a test: images on loop devices, tmpfs, and a FUSE filesystem without nameless files.

Whatever is mounted is unmounted when its `with` block ends, however it ends; a loop device goes with its mount.
"""

import contextlib
import errno
import functools
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

KINDS = ["ext4", "xfs", "btrfs", "tmpfs", "fuse"]
ON_DISK = ["ext4", "xfs", "btrfs"]
IMAGE_MIB = 512
SECONDS_MAX = 30

_MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-b", "4096"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-b", "size=4096"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def tool(name):
    """Where a program is; those that make filesystems live where only root looks."""
    return shutil.which(name, path=_PATH)


def run(*command):
    """Runs a program that must succeed and gives its standard output."""
    command = [tool(str(command[0])) or str(command[0]), *map(str, command[1:])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


@functools.cache
def refusal(kind):
    """Why a filesystem of this kind can't be mounted on this machine; None where it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    with tempfile.TemporaryDirectory(prefix="ringway-probe-") as folder:
        probe = subprocess.run(
            ["mount", "-t", "tmpfs", "none", folder], capture_output=True, text=True, timeout=60, check=False
        )
        if probe.returncode != 0:
            return f"mounting is refused: {probe.stderr.strip()}"
        run("umount", folder)
    needed = {"tmpfs": [], "fuse": ["bindfs", "mkfs.ext4"]}.get(kind, [f"mkfs.{kind}"])
    missing = [name for name in needed if tool(name) is None]
    if missing:
        return f"{missing[0]} is not installed"
    if kind != "tmpfs" and not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    if kind == "fuse" and not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    if kind in ON_DISK and kind not in Path("/proc/filesystems").read_text().split():
        return f"the kernel has no {kind}"
    return None


@contextlib.contextmanager
def mounted(kind, folder, size_mib=IMAGE_MIB):
    """A fresh filesystem; gives its mount point. Images are sparse, so a large one costs no more than a small one."""
    point = Path(folder) / "mnt"
    point.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        if kind == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "none", point)
        elif kind == "fuse":
            below = stack.enter_context(mounted("ext4", Path(folder) / "below", size_mib))
            # bindfs has no tmpfile operation: the kernel answers EOPNOTSUPP to O_TMPFILE.
            run("bindfs", below, point)
        else:
            image = Path(folder) / "image"
            make_image(kind, image, size_mib)
            run("mount", "-o", "loop", image, point)
        stack.callback(unmount, point)
        yield point


def make_image(kind, image, size_mib):
    """A file that holds an empty filesystem."""
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    run(*_MAKE[kind], image)


def unmount(point):
    """Unmounts for certain: what is still busy after a while is detached."""
    deadline = time.monotonic() + SECONDS_MAX
    while subprocess.run(["umount", point], capture_output=True, timeout=120, check=False).returncode != 0:
        if time.monotonic() > deadline:
            run("umount", "--lazy", point)
            return
        time.sleep(0.1)


def free_bytes(point):
    """Free space once the filesystem has settled what was deleted."""
    # btrfs gives space back with the transaction that frees it, XFS when its background work is done.
    subprocess.run(["sync", "--file-system", point], timeout=120, check=False)
    space = os.statvfs(point)
    return space.f_bavail * space.f_frsize


def wait_until(holds, what):
    """Waits for a condition that has to come true by itself."""
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.02)


def fill(point, leave_bytes):
    """Takes free space away until `leave_bytes` are left, or nothing can be had any more; gives the file that holds it."""
    # Below FUSE there is fallocate; through it a byte would be written for every block.
    below = Path(point).parent / "below/mnt"
    filler = (below if below.exists() else Path(point)) / "filler"
    wanted = max(free_bytes(point) - leave_bytes, 0) if leave_bytes else 1 << 62
    step, end = 64 << 20, 0
    with filler.open("wb") as file:
        while step >= 4096 and end < wanted:
            length = min(step, wanted - end)
            try:
                os.posix_fallocate(file.fileno(), end, length)
                end += length
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2
    return filler


def temporary_names(root):
    """What a server keeps for itself while it writes; nothing of it may stay."""
    found = []
    for folder, folders, files in os.walk(root):
        found += [str(Path(folder) / name) for name in [*folders, *files] if name.startswith(".ringway-tmp-")]
    return found
