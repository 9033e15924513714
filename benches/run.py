#!/usr/bin/env python3
"""Measures servers side by side: one work, all contenders in each round in an order of its own, medians of ratios.

What is compared is the server's CPU, read before and after each turn from its CPU clock: the sum that /proc/PID/stat
rounds to ticks (checked with eight io-wq workers and with tokio's pool: all threads are in it, those that have ended
too), children added. Server and client are pinned to different cores. A round's ratio is a contender's CPU over the
baseline's in the same round, so a machine that slows down slows both.
Not in the figures: kernel threads (writeback, ends of unwritten extents), and on loopback the receiving half of TCP,
which runs on the sender's account. Cache hot: what is read is resident. PUT: the bucket is emptied and the disk synced
between turns, sizes and count of the files are verified after each. Nothing is flushed unless a contender does it.
As root the run has a network namespace of its own with reno on loopback: BBR's pacing timers fire on the server's
account at random and moved the bare loop between 0.34 and 0.60 CPU-s/GiB, reno between 0.15 and 0.22.

Example: benches/run.py put:64MiB:16:32 get:64MiB:1:64 get:4KiB:16:50000 --root /data/bench --json out.json
         benches/run.py put:4KiB:16:20000 --contender 'other=other-server --root {root} --port {port}'
"""

import argparse
import json
import os
import random
import re
import selectors
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
NGINX_CONF = HERE / "baselines" / "nginx.conf"
BUCKET = "bench"
UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
START_S = 20
INSIDE = "RINGWAY_BENCH_OWN_NETWORK"

# name -> (what it serves, command). {bin} is where the baselines were built, {root} the directory of the buckets.
BUILT_IN = {
    "bare-put": ("put", "{bin}/bare-put --root {root} --core {server_core}"),
    "bare-put-full": ("put", "{bin}/bare-put --durability full --root {root} --core {server_core}"),
    "bare-sendfile": ("get head", "{bin}/bare-sendfile --root {root} --core {server_core}"),
    "tokio-uring": ("put get head", "{bin}/tokio-uring-server --root {root} --core {server_core}"),
    "hyper-tokio": ("put get head", "{bin}/hyper-tokio-server --root {root} --core {server_core}"),
    "hyper-std": ("put get head", "{bin}/hyper-tokio-server --files std --root {root} --core {server_core}"),
    "nginx": ("put get head", "nginx -p {run} -c {run}/nginx.conf -e {run}/nginx-error.log"),
    "nginx-cached": ("get head", "nginx -p {run} -c {run}/nginx.conf -e {run}/nginx-error.log"),
}
# Ringway: one core, nothing logged, nothing flushed. What the others do not do either is off unless the name says so:
# `md5` digests the body for the ETag, `signed` verifies its SHA-256, `trailer` takes it as aws-chunked with CRC64NVME.
SERVE = (
    "{ringway} serve {root} --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --cores {server_core}-{server_core}"
    " --durability none --access-log off --state-dir {run}/state --etag "
)
BUILT_IN |= {
    "ringway": ("put get head", SERVE + "opaque"),
    "ringway-threads": ("put get head", SERVE + "opaque --engine threads"),
    "ringway-md5": ("put", SERVE + "md5"),
    "ringway-signed": ("put get head", SERVE + "opaque"),
    "ringway-trailer": ("put", SERVE + "opaque"),
    "ringway-threads-signed": ("put get head", SERVE + "opaque --engine threads"),
    "ringway-threads-trailer": ("put", SERVE + "opaque --engine threads"),
}
# Durable servers are compared with each other, by name.
USUAL = "bare-put,bare-sendfile,tokio-uring,hyper-tokio,nginx,ringway,ringway-threads"
# One client for all: the servers that know no signatures pass over the header.
LOAD = (
    "{ringway} bench {bench_verb} http://{server} --size {size} --connections {connections} --count {count} --keys {keys}"
    " --bucket {bucket} --prefix o --no-prepare --json --cores {client_core}-{client_core} {signing}"
)
SIGNING = {"signed": "--signing header", "trailer": "--signing trailer --checksum crc64nvme"}
CREDENTIALS = {
    "RINGWAY_ROOT_ACCESS_KEY": "AKIABENCHBENCHBENCH0",
    "RINGWAY_ROOT_SECRET_KEY": "a-secret-for-benchmarks-only-0000000000",
    "AWS_ACCESS_KEY_ID": "AKIABENCHBENCHBENCH0",
    "AWS_SECRET_ACCESS_KEY": "a-secret-for-benchmarks-only-0000000000",
}


class Work:
    """What a turn does: VERB:SIZE:CONNECTIONS:COUNT."""

    def __init__(self, text):
        verb, size, connections, count = text.split(":")
        number, unit = re.fullmatch(r"(\d+)(\w*)", size).groups()
        self.text, self.verb = text, verb.lower()
        self.size, self.connections, self.count = int(number) * UNITS[unit], int(connections), int(count)
        # Every PUT makes a file of its own; GET and HEAD go round a few resident ones.
        self.keys = self.count if self.verb == "put" else min(self.count, 16)


class Contender:
    """A server under test: started here from a command, or already running (pid and address given)."""

    def __init__(self, name, verbs, command=None, attached=None):
        self.name, self.verbs, self.command, self.attached = name, verbs.split(), command, attached
        self.process, self.pid, self.server, self.log = None, None, None, None

    def start(self, options, root):
        if self.attached:
            pid, self.server = self.attached.split(",")
            self.pid = int(pid)
            return
        run = tempfile.mkdtemp(prefix="ringway-bench-")
        port = free_port()
        words = dict(vars(options), root=root, run=run, port=port)
        if self.name.startswith("nginx"):
            cache = "max=1000 inactive=60s" if self.name == "nginx-cached" else "off"
            conf = NGINX_CONF.read_text()
            for word, value in {"PORT": port, "ROOT": root, "RUN": run, "OPEN_FILE_CACHE": cache}.items():
                conf = conf.replace(f"@{word}@", str(value))
            Path(run, "nginx.conf").write_text(conf)
        announces = "{port}" not in self.command and not self.name.startswith("nginx")
        self.log = open(Path(run, "stderr"), "w+")
        self.process = subprocess.Popen(
            shlex.split(self.command.format(**words)),
            stdout=subprocess.PIPE if announces else subprocess.DEVNULL,
            stderr=self.log,
            preexec_fn=lambda: os.sched_setaffinity(0, {options.server_core}),
        )
        self.pid, self.run = self.process.pid, run
        self.server = f"127.0.0.1:{self.announced() if announces else self.answering(port)}"

    def announced(self):
        """The port of the line `ready PORT` or `ringway ready s3=http://ADDR:PORT ...`."""
        watch = selectors.DefaultSelector()
        watch.register(self.process.stdout, selectors.EVENT_READ)
        line = self.process.stdout.readline().decode() if watch.select(START_S) else ""
        ready = re.search(r"ready (?:s3=\S+:)?(\d+)", line)
        return int(ready[1]) if ready else self.failed(f"said {line!r} instead of ready")

    def answering(self, port):
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return port
            time.sleep(0.05)
        return self.failed(f"does not listen on {port}")

    def failed(self, why):
        self.log.seek(0)
        sys.exit(f"{self.name} {why}\n{self.log.read()}")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.log.close()
            shutil.rmtree(self.run, ignore_errors=True)

    def cpu_s(self):
        """CPU of the process and its children. The clock of a process sums all its threads, those that have ended too."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(time.clock_gettime_ns((~int(pid) << 3) | 2) for pid in [self.pid, *children]) / 1e9


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def busy_s():
    """CPU that the whole machine has used: what is left after server and client went to kernel threads and others."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields[index] for index in (0, 1, 2, 5, 6)) / os.sysconf("SC_CLK_TCK")


def make_objects(directory, work):
    """The files that are read, written through the page cache, so that they are resident."""
    block = os.urandom(min(work.size, 1 << 20))
    for key in range(work.keys):
        with open(directory / f"o{key}", "wb") as file:
            left = work.size
            while left:
                left -= file.write(block[: min(left, len(block))])


def verify(directory, work, name):
    sizes = [entry.stat().st_size for entry in os.scandir(directory)]
    if len(sizes) != work.keys or any(size != work.size for size in sizes):
        sys.exit(f"{name}: {len(sizes)} files of {set(sizes)} bytes instead of {work.keys} of {work.size}")


def empty(directory):
    for entry in os.scandir(directory):
        os.unlink(entry)


def turn(contender, work, options, directory):
    """One contender does the work once."""
    words = dict(vars(options), **vars(work), server=contender.server, bucket=BUCKET)
    words["bench_verb"] = "stat" if work.verb == "head" else work.verb
    words["signing"] = SIGNING.get(contender.name.rsplit("-", 1)[-1], "--signing unsigned")
    busy, cpu = busy_s(), contender.cpu_s()
    load = subprocess.run(
        shlex.split(options.load.format(**words)),
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {options.client_core}),
    )
    if load.returncode:
        sys.exit(f"{contender.name}: the client failed: {load.stderr}{load.stdout}")
    cpu, busy = contender.cpu_s() - cpu, busy_s() - busy
    said = json.loads(load.stdout.strip().splitlines()[-1])
    if said["requests"] != work.count:
        sys.exit(f"{contender.name}: {said['requests']} requests instead of {work.count}")
    if work.verb == "put":
        verify(directory, work, contender.name)
        empty(directory)
        subprocess.run(["sync", "-f", directory], check=True)
    if "client_cpu" in said:
        said |= {"client_cpu_s": said["client_cpu"]["seconds"], "p50_us": said["latency_us"]["p50"],
                 "p99_us": said["latency_us"]["p99"]}
    return dict(said, server_cpu_s=cpu, elsewhere_cpu_s=busy - cpu - said["client_cpu_s"])


def measure(work, contenders, options):
    """All rounds of one work; round 0 warms up and is thrown away."""
    root = Path(tempfile.mkdtemp(prefix="baselines-", dir=options.root)).resolve()
    directory = root / BUCKET
    directory.mkdir()
    turns = {contender.name: [] for contender in contenders}
    try:
        if work.verb != "put":
            make_objects(directory, work)
            subprocess.run(["sync", "-f", directory], check=True)
        for contender in contenders:
            contender.start(options, root)
        for number in range(options.rounds + 1):
            # What one leaves behind, dirty pages or a cold cache, must not always meet the same other one.
            for contender in random.Random(number).sample(contenders, len(contenders)):
                result = turn(contender, work, options, directory)
                if number:
                    turns[contender.name].append(result)
    finally:
        for contender in contenders:
            contender.stop()
        shutil.rmtree(root)
    return turns


def summarise(work, turns, baseline):
    """One row a contender: medians over the rounds, and the ratio's median, least and greatest."""
    rows = []
    for name, results in turns.items():
        middle = lambda value: statistics.median(map(value, results))
        ratios = [mine["server_cpu_s"] / base["server_cpu_s"] for mine, base in zip(results, turns[baseline])]
        moved = work.count * work.size if work.verb != "head" else 0
        rows.append(
            {
                "contender": name,
                "ratio": statistics.median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "cpu_s_per_gib": middle(lambda r: r["server_cpu_s"]) * 2**30 / moved if moved else None,
                "cpu_us_per_request": middle(lambda r: r["server_cpu_s"]) / work.count * 1e6,
                "requests_per_s": middle(lambda r: work.count / r["seconds"]),
                "mib_per_s": middle(lambda r: moved / r["seconds"] / 2**20),
                "p50_us": middle(lambda r: r.get("p50_us", 0)),
                "p99_us": middle(lambda r: r.get("p99_us", 0)),
                "server_busy": middle(lambda r: r["server_cpu_s"] / r["seconds"]),
                "client_busy": middle(lambda r: r["client_cpu_s"] / r["seconds"]),
            }
        )
    return rows


def show(work, rows, baseline, rounds):
    print(f"\n{work.text}  against {baseline}, server CPU, medians of {rounds} rounds, cache hot")
    print(f"{'contender':<24}{'ratio':>7}{'min..max':>14}{'CPU s/GiB':>11}{'us/request':>12}"
          f"{'requests/s':>12}{'MiB/s':>8}{'p99 us':>9}{'server':>8}{'client':>8}")
    for row in rows:
        spread = f"{row['ratio_min']:.2f}..{row['ratio_max']:.2f}"
        gib = f"{row['cpu_s_per_gib']:.3f}" if row["cpu_s_per_gib"] is not None and work.size >= 1 << 20 else "-"
        print(f"{row['contender']:<24}{row['ratio']:>7.2f}{spread:>14}{gib:>11}{row['cpu_us_per_request']:>12.1f}"
              f"{row['requests_per_s']:>12.0f}{row['mib_per_s']:>8.0f}{row['p99_us']:>9.0f}"
              f"{row['server_busy']:>8.0%}{row['client_busy']:>8.0%}", flush=True)


def enter_own_network():
    """Starts this program again behind a loopback of its own, where the congestion control is ours to choose."""
    script = 'ip link set lo up && sysctl -qw net.ipv4.tcp_congestion_control=reno && exec "$@"'
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", "sh", "-c", script, "sh", sys.executable, *sys.argv])


def parse():
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("work", nargs="+", type=Work, help="VERB:SIZE:CONNECTIONS:COUNT, as put:64MiB:16:32")
    parser.add_argument("--root", default=".", help="directory on the filesystem to measure, for scratch")
    parser.add_argument("--bin", default=HERE / "baselines/target/release", help="where the baselines were built")
    parser.add_argument("--ringway", default=HERE.parent / "target/release/ringway", help="the binary of Ringway")
    parser.add_argument("--built-in", default=USUAL, help="which of these run, by name; empty for none")
    parser.add_argument("--contender", action="append", default=[], metavar="NAME=COMMAND",
                        help="another server; {root} {server_core} {port} {run} are filled in;"
                        " prints ready PORT unless {port} is used")
    parser.add_argument("--attach", action="append", default=[], metavar="NAME=PID,ADDR:PORT",
                        help="a server that runs already; GET and HEAD only, on objects bench/o0.. of its own")
    parser.add_argument("--against", help="baseline of the ratios (default: bare-put for put, else bare-sendfile)")
    parser.add_argument("--load", default=LOAD, help="client; its last line is JSON: requests, seconds, client_cpu_s")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--net", choices=["own", "host"], default="own" if os.geteuid() == 0 else "host")
    parser.add_argument("--json", help="file for every turn of every contender")
    return parser.parse_args()


def main():
    options = parse()
    os.environ.update(CREDENTIALS)
    if options.net == "own" and not options.attach and INSIDE not in os.environ:
        enter_own_network()
    chosen = [name for name in options.built_in.split(",") if name]
    described = [Contender(name, *BUILT_IN[name]) for name in chosen]
    described += [Contender(name, "put get head", command) for name, command in (c.split("=", 1) for c in options.contender)]
    described += [Contender(name, "get head", attached=where) for name, where in (a.split("=", 1) for a in options.attach)]
    report = []
    for work in options.work:
        contenders = [contender for contender in described if work.verb in contender.verbs]
        baseline = options.against or ("bare-put" if work.verb == "put" else "bare-sendfile")
        if baseline not in [contender.name for contender in contenders]:
            sys.exit(f"{work.text}: no contender {baseline} to compare with (--built-in, --against)")
        turns = measure(work, contenders, options)
        rows = summarise(work, turns, baseline)
        show(work, rows, baseline, options.rounds)
        report.append({"work": work.text, "against": baseline, "kernel": os.uname().release, "rows": rows, "turns": turns})
        if options.json:
            Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
