"""A disk whose every write is recorded, and the states it may be found in after a power cut.

qemu-storage-daemon exports an image as a file through FUSE and logs what is written to it in the format of
dm-log-writes; a loop device lies on that file, without direct I/O, which returns wrong data over FUSE. A cut may come
just before any flush is done: everything before the flush before it is there, and any part of what came since.
"""

import contextlib
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import mounts

SECTOR_BYTES = 512
MAGIC = 0x6A736677736872
FLUSH, DISCARD = 1, 4
IMAGE_MIB = {"ext4": 96, "xfs": 320, "btrfs": 160}
ENTRY = struct.Struct("<QQQQ")
DAEMON = "qemu-storage-daemon"


def refusal(kind):
    reason = mounts.refusal(kind) or mounts.refusal("tmpfs")
    if reason is None and mounts.tool(DAEMON) is None:
        reason = f"{DAEMON} is not installed"
    return reason or (None if Path("/dev/fuse").exists() else "there is no /dev/fuse")


class Log:
    """The writes so far; an entry is (flags, first byte, place of its bytes in the log, length)."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDONLY)
        self.entries, self.end = [], SECTOR_BYTES

    def read(self):
        """Takes in what was written since; gives the count of entries."""
        while True:
            sector, sectors, flags, _ = ENTRY.unpack(os.pread(self.file, ENTRY.size, self.end).ljust(ENTRY.size, b"\0"))
            if (sector, sectors, flags) == (0, 0, 0):
                return len(self.entries)
            length = 0 if flags & DISCARD else sectors * SECTOR_BYTES
            self.entries.append((flags, sector * SECTOR_BYTES, self.end + SECTOR_BYTES, length))
            self.end += SECTOR_BYTES + length

    def apply(self, image, entries):
        for _, place, start, length in entries:
            os.pwrite(image, os.pread(self.file, length, start), place)

    def close(self):
        os.close(self.file)

    def flushes(self):
        """Where each flush is."""
        return [index for index, entry in enumerate(self.entries) if entry[0] & FLUSH]


@contextlib.contextmanager
def recorded(kind, folder):
    """A fresh filesystem on a recorded disk; gives its mount point and its log."""
    disk, log, export = folder / "disk", folder / "log", folder / "export"
    mounts.make_image(kind, disk, IMAGE_MIB[kind])
    shutil.copyfile(disk, folder / "base")
    log.touch()
    os.truncate(log, 4 << 30)
    export.touch()
    point = folder / "recorded"
    point.mkdir()
    with contextlib.ExitStack() as stack:
        nodes = [
            f"driver=file,node-name=disk,filename={disk}",
            f"driver=file,node-name=log,filename={log}",
            f"driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size={SECTOR_BYTES}",
        ]
        command = [mounts.tool(DAEMON), *[word for node in nodes for word in ("--blockdev", node)]]
        command += ["--export", f"type=fuse,id=logged,node-name=logged,mountpoint={export},writable=on"]
        daemon = subprocess.Popen(command)
        stack.callback(daemon.wait, mounts.SECONDS_MAX)
        stack.callback(daemon.terminate)
        mounts.wait_until(lambda: export.stat().st_size == IMAGE_MIB[kind] << 20, "the disk is exported")
        mounts.run("mount", "-o", "loop", export, point)
        stack.callback(mounts.unmount, point)
        yield point, Log(log)


class Cut:
    """A disk as a power cut may leave it: `acknowledged` entries were on their way when the newest answer was given."""

    def __init__(self, image, limit, what):
        self.image, self.limit, self.what = image, limit, what


def cuts(log, folder, first, seed):
    """Every state from the entry `first` on: at each flush, and with a random part of what no flush covers yet."""
    chance = random.Random(seed)
    state = folder / "state"
    shutil.copyfile(folder / "base", state)
    image = os.open(state, os.O_RDWR)
    done, flushes = 0, [*log.flushes(), len(log.entries)]
    try:
        for flush, following in zip(flushes, flushes[1:], strict=False):
            log.apply(image, log.entries[done : flush + 1])
            done = flush + 1
            if following < first:
                continue
            unflushed = log.entries[done:following]
            yield Cut(state, following, f"at flush {flush}")
            if unflushed:
                part = folder / "part"
                subprocess.run(["cp", "--sparse=always", state, part], check=True, timeout=60)
                torn = os.open(part, os.O_RDWR)
                log.apply(torn, [entry for entry in unflushed if chance.random() < 0.5])
                os.close(torn)
                yield Cut(part, following, f"part of the writes after flush {flush}")
    finally:
        os.close(image)


@contextlib.contextmanager
def mounted(cut, folder):
    """Mounts a copy of the disk, which makes the filesystem recover."""
    image, point = folder / "copy", folder / "copy-mnt"
    point.mkdir(exist_ok=True)
    subprocess.run(["cp", "--sparse=always", cut.image, image], check=True, timeout=60)
    mounts.run("mount", "-o", "loop", image, point)
    try:
        yield point
    finally:
        mounts.unmount(point)
