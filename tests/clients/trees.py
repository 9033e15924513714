"""Directory trees to send, and the comparison of two trees byte by byte."""

import hashlib
import os
import random
from pathlib import Path

MIB = 1024 * 1024
SMALL_FILES = 1000
# No multiple of any part size or block.
LARGE_BYTES = 100 * MIB + 4097
# Older than any object the tests make.
OLD_UNIX_S = 1_600_000_000


def content(seed, size):
    """Bytes that are the same for the same seed and repeat nowhere."""
    return random.Random(seed).randbytes(size)


def write(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    # S3 shows whole seconds: a file as young as its object would look newer to a client that compares times.
    os.utime(path, (OLD_UNIX_S, OLD_UNIX_S))
    return path


def make_small_files(folder):
    """A thousand files of 1 to 8192 bytes in nested folders, some with names that need escaping."""
    chance = random.Random(1000)
    for index in range(SMALL_FILES):
        name = ["plain-{}.txt", "with space {}.bin", "plus+and&amp={}.dat", "grüße-{}.txt", "100%-{}"][index % 5]
        path = folder / f"d{index % 7}" / f"e{index % 11}" / name.format(index)
        write(path, chance.randbytes(chance.randint(1, 8192)))
    return folder


def files(folder):
    """Relative path to MD5 and size of every regular file; Ringway's own reserved names are no objects."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".ringway")]
        for name in names:
            path = Path(parent, name)
            body = path.read_bytes()
            found[str(path.relative_to(folder))] = (hashlib.md5(body).hexdigest(), len(body))
    return found


def assert_same(left, right):
    """Both trees hold the same files with the same bytes, and neither is empty."""
    left_files, right_files = files(left), files(right)
    assert left_files, f"no file in {left}"
    assert left_files == right_files
