"""A FUSE filesystem of one file that stops answering when it is told to, as a file server does whose machine is gone.

It speaks the protocol itself, so that the kernel may keep names for an hour: programs that mount FUSE filesystems keep
them too short to tell an open that asks nobody for the path from one that does. Source: fuse(4), linux/fuse.h.
"""

import contextlib
import ctypes
import errno
import os
import select
import stat
import struct
import threading

LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE = 1, 2, 3, 14, 15, 18
GETXATTR, FLUSH, INIT, OPENDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 22, 25, 26, 27, 29, 36, 42
UNANSWERED = {FORGET, INTERRUPT, BATCH_FORGET}
ROOT, FILE = 1, 2
VALID_SECONDS = 3600


class Silent:
    """The mounted filesystem; `name` is its one file, with `content`."""

    def __init__(self, point, name, content):
        self.point, self.name, self.content = os.fsencode(point), name.encode(), content
        self.answers = threading.Event()
        self.answers.set()
        self.ended = False
        self.device = os.open("/dev/fuse", os.O_RDWR)
        self.libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if self.libc.mount(b"silent", self.point, b"fuse", 0, options) != 0:
            code = ctypes.get_errno()
            os.close(self.device)
            raise OSError(code, os.strerror(code))
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    @contextlib.contextmanager
    def falls_silent(self):
        """No request is taken from the kernel any more until the block ends."""
        self.answers.clear()
        try:
            yield
        finally:
            self.answers.set()

    def end(self):
        """Ends it for certain: without its daemon's descriptor every request fails."""
        self.ended = True
        self.answers.set()
        self.thread.join()
        os.close(self.device)
        detach = 2
        self.libc.umount2(self.point, detach)

    def serve(self):
        while not self.ended:
            self.answers.wait()
            if select.select([self.device], [], [], 0.02)[0] and self.answers.is_set():
                request = os.read(self.device, 1 << 20)
                _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
                if opcode not in UNANSWERED:
                    self.answer(unique, self.reply(opcode, node, request[40:]))

    def answer(self, unique, reply):
        code, body = (reply, b"") if isinstance(reply, int) else (0, reply)
        os.write(self.device, struct.pack("<IiQ", 16 + len(body), -code, unique) + body)

    def reply(self, opcode, node, arguments):
        """The body of an answer, or an errno."""
        if opcode == INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 1 << 17, 0, 64, 48, 1 << 17, 1, 32, 0, 0)
        if opcode == LOOKUP:
            if arguments.rstrip(b"\0") != self.name:
                return errno.ENOENT
            return struct.pack("<QQQQII", FILE, 0, VALID_SECONDS, VALID_SECONDS, 0, 0) + self.attributes(FILE)
        if opcode == GETATTR:
            return struct.pack("<QII", VALID_SECONDS, 0, 0) + self.attributes(node)
        if opcode in {OPEN, OPENDIR}:
            return struct.pack("<QII", 0, 0, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", arguments)
            return self.content[offset : offset + size]
        if opcode in {FLUSH, RELEASE, RELEASEDIR}:
            return b""
        return errno.ENODATA if opcode == GETXATTR else errno.ENOSYS

    def attributes(self, node):
        mode, size = (stat.S_IFDIR | 0o755, 0) if node == ROOT else (stat.S_IFREG | 0o644, len(self.content))
        return struct.pack("<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
