"""The README's first command in an empty folder, and the session that it prints pasted into a shell.

The session is every line on standard error that begins with a command of it. The build is the tests' own profile,
so nothing is compiled twice, and the ports are free ones; the command itself is taken from the README.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import server as ringway

# The first command compiles when nothing else has.
COMPILE_SECONDS_MAX = 1200


def readme_commands():
    """The commands of the README's shell blocks, in order."""
    readme = (ringway.PROJECT / "README.md").read_text()
    return [block.strip() for block in re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)]


def session_of(lines):
    return [line.strip() for line in lines if line.strip().startswith(("export ", "aws ", "echo "))]


class Served:
    """The first command while it runs; `session` is what it printed to paste."""

    def __init__(self, folder):
        free_ports = {"RINGWAY_LISTEN": "127.0.0.1:0", "RINGWAY_ADMIN_LISTEN": "127.0.0.1:0"}
        environment = {**ringway.plain_environment(), **free_ports, "RINGWAY_BUILD_PROFILE": "dev"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # `exec`, so that the signal at the end reaches the server and not a shell around it.
        command = ["bash", "-c", f"exec {readme_commands()[0]}"]
        self.process = subprocess.Popen(command, cwd=folder, env=environment, **pipes)
        self.lines = []
        self.reader = threading.Thread(target=self._read_stderr, daemon=True)
        self.reader.start()

    def _read_stderr(self):
        self.lines.extend(line.decode(errors="replace") for line in self.process.stderr)

    def session(self):
        ready = ringway.read_line(self.process.stdout, COMPILE_SECONDS_MAX)
        assert ringway.READY.match(ready), f"not ready but `{ready}`:\n{''.join(self.lines)}"
        # The banner is written before the ready line; it may still be on its way through its own pipe.
        deadline = time.monotonic() + ringway.START_SECONDS_MAX
        while not any(line.startswith("aws s3 cp ") for line in session_of(self.lines)):
            assert time.monotonic() < deadline and self.reader.is_alive(), "".join(self.lines)
            time.sleep(0.05)
        return session_of(self.lines)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(ringway.STOP_SECONDS_MAX) == 0, "".join(self.lines)
        finally:
            self.process.kill()


def paste(session, folder):
    """Runs the session as a person would: in a shell of its own, in the folder of the first command."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = {**ringway.plain_environment(), "PATH": path}
    command = ["bash", "-euo", "pipefail", "-c", "\n".join(session)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{session}\n{done.stdout}{done.stderr}"


def test_the_printed_session_works(tmp_path):
    assert readme_commands()[1] == "scripts/test"
    (tmp_path / "scripts").symlink_to(ringway.PROJECT / "scripts")
    shutil.copy(ringway.PROJECT / "README.md", tmp_path)
    served = Served(tmp_path)
    try:
        session = served.session()
        paste(session, tmp_path)
        copies = [shlex.split(line)[3:] for line in session if line.startswith("aws s3 cp ")]
        assert copies, session
        for source, url in copies:
            stored = tmp_path / "data" / url.removeprefix("s3://")
            stored = stored / os.path.basename(source) if url.endswith("/") else stored
            assert stored.read_bytes() == (tmp_path / source).read_bytes()
    finally:
        served.stop()
