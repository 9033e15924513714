"""The real `ringway serve` as a child process, and where its tree and its S3 endpoint are.

The binary is the one that RINGWAY_BIN names, or the one that `cargo build` leaves in target/debug.
"""

import ctypes
import errno
import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("RINGWAY_BIN", PROJECT / "target/debug/ringway")).resolve()
ENGINES = ["io_uring", "threads"]
REGION = "us-east-1"
ACCESS_KEY = "RINGWAYCLIENTTESTS00"
SECRET_KEY = "client/tests+secret/key0000000000000000"
# Requests for `BUCKET.DOMAIN` are virtual-hosted-style.
DOMAIN = "s3.ringway.test"
READY = re.compile(r"^ringway ready s3=(http://\S+) admin=(http://\S+)$")
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60


def refusal_of_io_uring():
    """Asks the kernel itself, so that a fault of Ringway can't pass for a refusal; None where io_uring works."""
    io_uring_setup = 425
    ctypes.CDLL(None, use_errno=True).syscall(io_uring_setup, 0, None)
    code = ctypes.get_errno()
    # Zero entries and no parameters are EFAULT or EINVAL where the call is allowed at all.
    return os.strerror(code) if code in (errno.EPERM, errno.ENOSYS, errno.EACCES) else None


class Server:
    """A running server; `root` is the tree that it serves.

    `arguments` are further ones of `ringway serve`; `under` is a command that starts the server and becomes it.
    """

    def __init__(self, root, engine, log, arguments=(), under=()):
        self.root = Path(root)
        self.log = Path(log)
        command = [*under, BINARY, "serve", self.root, "--engine", engine, "--domain", DOMAIN]
        command += ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", *arguments]
        credentials = {"RINGWAY_ROOT_ACCESS_KEY": ACCESS_KEY, "RINGWAY_ROOT_SECRET_KEY": SECRET_KEY}
        environment = {**plain_environment(), **credentials}
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr)
        self.endpoint, self.admin = self._wait_until_ready()

    def _wait_until_ready(self):
        found = READY.match(read_line(self.process.stdout, START_SECONDS_MAX))
        if not found:
            self.process.kill()
            raise RuntimeError(f"{BINARY} did not say that it is ready:\n{self.log.read_text(errors='replace')}")
        return found.groups()

    def stop(self):
        """Drains the server; its exit code must be 0."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS_MAX)
        finally:
            self.process.kill()
        assert code == 0, f"exit code {code} after SIGTERM:\n{self.log.read_text(errors='replace')[-4000:]}"

    def kill(self):
        """Ends the server as a power cut of the process would."""
        self.process.kill()
        self.process.wait(STOP_SECONDS_MAX)

    def path(self, bucket, key=""):
        """The file or directory of a key."""
        return self.root / bucket / key

    def environment(self):
        """What the command-line clients need to reach the server."""
        return {
            **plain_environment(),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "S3_ENDPOINT_URL": self.endpoint,
        }


def plain_environment():
    """The caller's environment without settings that would steer a client or the server."""
    prefixes = ("AWS_", "RINGWAY_", "RCLONE_", "S3_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**environment, **nowhere, "AWS_EC2_METADATA_DISABLED": "true", "RCLONE_CONFIG": os.devnull}


def read_line(stream, seconds_max):
    """One line of a pipe, or what came of it before the time was over or the pipe closed."""
    deadline = time.monotonic() + seconds_max
    line = b""
    while not line.endswith(b"\n") and select.select([stream], [], [], max(0, deadline - time.monotonic()))[0]:
        byte = os.read(stream.fileno(), 1)
        if not byte:
            break
        line += byte
    return line.decode().rstrip("\n")
