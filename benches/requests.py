#!/usr/bin/env python3
"""Counts what one request costs in numbers that no noise changes: system calls (strace -c) and allocations.

A server of one core is warmed up, then one connection repeats the request; counts are differences divided by the
number of requests, so what a connection costs once is in them as a fraction. Calls that wait (epoll_wait,
io_uring_enter) depend on the client's pace; with one connection every request waits for its own.
Not in the figures: kernel workers of io_uring, whose work is no system call.
Needs strace, cc and a release build: cargo build --release.

Example: benches/requests.py get:4KiB:2000 put:4KiB:2000 put:64MiB:16
"""

import argparse
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import run

# verb:size:count; the connection is warm and the objects are resident.
CLIENT = (
    "{ringway} bench {verb} http://{server} --size {size} --connections 1 --count {count} --keys {keys}"
    " --bucket bench --prefix o --no-prepare --json {signing}"
)


def counts(path):
    return struct.unpack("3Q", path.read_bytes()) if path.exists() else (0, 0, 0)


class Server:
    """Ringway on one core and on a directory of its own."""

    def __init__(self, options, engine, preload, directory):
        self.directory, self.allocations = directory, directory / "allocations"
        (directory / "root" / "bench").mkdir(parents=True)
        environment = dict(os.environ, **run.CREDENTIALS)
        if preload:
            environment |= {"LD_PRELOAD": str(preload), "ALLOCATIONS_FILE": str(self.allocations)}
        command = (
            f"{options.ringway} serve {directory}/root --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --cores 1"
            f" --state-dir {directory}/state --access-log off --engine {engine} --durability {options.durability}"
            f" --etag {options.etag}"
        )
        self.process = subprocess.Popen(
            shlex.split(command), stdout=subprocess.PIPE, stderr=open(directory / "log", "w"), env=environment
        )
        line = self.process.stdout.readline().decode()
        ready = re.search(r"ready s3=http://(\S+)", line)
        if not ready:
            sys.exit(f"the server said {line!r}:\n{(directory / 'log').read_text()}")
        self.address = ready[1].rstrip("/")

    def repeat(self, options, verb, size, count):
        keys = count if verb == "put" else 16
        words = {"ringway": options.ringway, "verb": verb, "server": self.address, "size": size, "count": count,
                 "keys": keys, "signing": options.signing}
        done = subprocess.run(shlex.split(CLIENT.format(**words)), capture_output=True, text=True,
                              env=dict(os.environ, **run.CREDENTIALS))
        if done.returncode:
            sys.exit(f"the client failed: {done.stderr}")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def with_strace(options, server, verb, size, count):
    """System calls a request: name -> count."""
    out = server.directory / "strace"
    tracer = subprocess.Popen(
        ["strace", "-f", "-c", "-S", "calls", "-U", "calls,name", "-p", str(server.process.pid), "-o", str(out)],
        stderr=subprocess.PIPE, text=True,
    )
    # It says on standard error that it is attached.
    tracer.stderr.readline()
    time.sleep(0.5)
    server.repeat(options, verb, size, count)
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    rows = re.findall(r"^\s*(\d+)\s+(\w+)$", out.read_text(), re.MULTILINE)
    return {name: int(calls) / count for calls, name in rows if name != "total"}


def measure(options, engine, work, preload):
    verb, size, count = work.split(":")
    count = int(count)
    with tempfile.TemporaryDirectory(prefix="ringway-requests-", dir=options.root) as directory:
        server = Server(options, engine, preload, Path(directory))
        try:
            if verb != "put":
                server.repeat(options, "put", size, 16)
            server.repeat(options, verb, size, count)
            if not preload:
                return with_strace(options, server, verb, size, count)
            before = counts(server.allocations)
            with open(server.allocations, "r+b") as file:
                file.seek(16)
                file.write(struct.pack("Q", 0))
            server.repeat(options, verb, size, count)
            after = counts(server.allocations)
            return (after[0] - before[0]) / count, (after[1] - before[1]) / count, after[2]
        finally:
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="+", help="VERB:SIZE:COUNT with VERB get, stat or put, as put:64MiB:16")
    parser.add_argument("--ringway", default=run.HERE.parent / "target/release/ringway")
    parser.add_argument("--root", default=".", help="directory on the filesystem to measure, for scratch")
    parser.add_argument("--engines", default="io_uring,threads")
    parser.add_argument("--durability", default="none")
    parser.add_argument("--etag", default="md5")
    parser.add_argument("--signing", default="--signing unsigned", help="of `ringway bench`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringway-requests-") as built:
        preload = Path(built, "allocations.so")
        source = run.HERE / "allocations.c"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", preload, source, "-ldl"], check=True)
        for work in options.work:
            for engine in options.engines.split(","):
                calls = measure(options, engine, work, None)
                number, total, largest = measure(options, engine, work, preload)
                listed = ", ".join(f"{name} {calls:.2f}" for name, calls in calls.items() if calls >= 0.005)
                print(f"{work} on {engine}, durability {options.durability}, etag {options.etag}, {options.signing}")
                print(f"  system calls {sum(calls.values()):.2f}: {listed}")
                print(f"  allocations {number:.1f}, {total:.0f} bytes, the largest {largest}", flush=True)


if __name__ == "__main__":
    main()
