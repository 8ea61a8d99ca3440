# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The demonstration of takeover: curl downloads and uploads through one address while its servers die.

    /usr/bin/python3 tests/demo/takeover.py --bin DIR [--json] [--output DIR] [--store direct|redis] [--seconds N]

Results go to DIR/demo: takeover.json, takeover.svg, takeover-logs after a failure. Exit status 0 only if each byte of each
transfer was compared with what it must be, and none was lost or wrong.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import screen  # noqa: E402
import takeover_picture  # noqa: E402
from takeover_clients import quantiles  # noqa: E402
from takeover_engine import WHAT, Engine  # noqa: E402
from takeover_world import VIP, VIP6, WorldError  # noqa: E402

KINDS = {"server": 30, "host": 20, "cable": 10, "hung": 10, "daemon": 8, "link": 6, "drain": 16}
RATE = 6000000  # bytes a second a transfer
PART = 65536


class Transfer(threading.Thread):
    """One curl; what it has received, or what of it has been stored, is compared as it comes."""

    def __init__(self, demo, number, upload, family):
        super().__init__(daemon=True)
        self.demo, self.upload = demo, upload
        self.title = "%s IPv%d" % ("upload" if upload else "download", family)
        self.path = "big%d" % number
        self.size = demo.size
        self.seed = b"%d/%d" % (demo.engine.seed, number)
        self.url = "http://%s/%s" % (VIP if family == 4 else "[%s]" % VIP6, self.path)
        self.done = 0
        self.wrong = 0
        self.problem = None
        self.samples, self.gaps = [], []
        self.gap = (0.0, 0.0)  # the longest, and when
        self.last = 0.0
        self.began = threading.Event()
        self.sum = hashlib.sha256()

    def part(self, i):
        """Of the known content: no part of it is like another."""
        return hashlib.shake_128(self.seed + b"/%d" % i).digest(min(PART, self.size - i * PART))

    def prepare(self):
        content = hashlib.sha256()
        target = os.path.join(self.demo.engine.world.root if not self.upload else self.demo.engine.world.work, self.path)
        with open(target, "wb") as f:
            for i in range((self.size + PART - 1) // PART):
                part = self.part(i)
                content.update(part)
                f.write(part)
        self.want = content.hexdigest()

    def note(self, count, now):
        if self.last:
            wait = now - self.last
            if wait > self.gap[0]:
                self.gap = (wait, self.last)
            if wait > 0.01:
                self.gaps.append((self.last, wait))
        self.last = now
        self.done += count
        self.samples.append((now, self.done))

    def spawn(self, argv, **more):
        w = self.demo.engine.world
        p = subprocess.Popen(w.inside(w.client, ["curl", "-sS", "--max-time", "120"] + argv), start_new_session=True,
                             stderr=subprocess.PIPE, **more)
        w.children.append(p)
        return p

    def run(self):
        try:
            (self.put if self.upload else self.get)()
        except (OSError, ValueError) as e:
            self.problem = str(e)

    def compare(self, data, index, at):
        """`at`: where `data` lies in part `index`."""
        want = self.part(index)[at:at + len(data)]
        if data != want:
            self.wrong += sum(a != b for a, b in zip(data, want)) + max(0, len(data) - len(want))

    def get(self):
        p = self.spawn(["--no-buffer", self.url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0)
        index = at = 0
        while True:
            data = os.read(p.stdout.fileno(), PART - at)
            if not data:
                break
            self.note(len(data), time.monotonic())
            self.compare(data, index, at)
            self.sum.update(data)
            at += len(data)
            if at == PART:
                index, at = index + 1, 0
        self.end(p)
        if not self.problem and self.sum.hexdigest() != self.want:
            self.problem = "the sum is not that of what was sent"

    def put(self):
        source = os.path.join(self.demo.engine.world.work, self.path)
        target = os.path.join(self.demo.engine.world.root, self.path)
        p = self.spawn(["-H", "Expect:", "--limit-rate", str(RATE), "-o", os.devnull, "-w", "%{http_code}", "-T", source,
                        self.url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        # what the servers have stored is what they may acknowledge
        while p.poll() is None:
            try:
                size = os.stat(target).st_size
            except OSError:
                size = 0
            if size > self.done:
                self.note(size - self.done, time.monotonic())
            time.sleep(0.002)
        self.end(p)
        code = p.stdout.read()
        if not self.problem and code != b"201":
            self.problem = "the server said %s" % code.decode()
        if self.problem:
            return
        with open(target, "rb") as f:
            for i in range((self.size + PART - 1) // PART):
                data = f.read(PART)
                self.compare(data, i, 0)
                self.sum.update(data)
            if f.read(1):
                self.problem = "the file is too long"
        self.done = os.stat(target).st_size
        if self.sum.hexdigest() != self.want:
            self.problem = "the sum of the stored file is not that of what was sent"

    def end(self, p):
        error = p.stderr.read().decode(errors="replace").strip()
        status = p.wait()
        if status:
            self.problem = "curl: %s (%d)" % (error, status)


class Demo:
    def __init__(self, args, show):
        self.args, self.show = args, show
        self.rate, self.size = RATE, int(RATE * args.seconds)
        self.problems = []
        self.t0 = self.t1 = 0.0
        self.began = time.monotonic()
        self.first_owner = None
        # beside curl some connections of other kinds: keep-alive, pipelined, half-closed
        self.engine = Engine(args.bin, seed=args.seed, connections=10, kinds=KINDS, rate=400000, store=args.store,
                             pace=RATE)
        self.transfers = [Transfer(self, i, i % 2 == 1, 4 if i < 2 else 6) for i in range(4)]

    def run(self):
        self.show.phase("building the network, starting the servers")
        self.engine.start()
        self.show.phase("making what will be sent")
        for t in self.transfers:
            t.prepare()
        self.first_owner = self.engine.world.owner().name
        self.t0 = time.monotonic()
        self.show.line("curl downloads and uploads %.0f MB each through %s and %s, while servers die:" % (
            self.size / 1e6, VIP, VIP6))
        for t in self.transfers:
            t.start()
        self.wait(0.7)
        rng = random.Random(self.engine.seed)
        while not self.over() and time.monotonic() - self.t0 < self.args.seconds * 0.9:
            self.crash(self.engine.pick())
            self.wait(0.2 + rng.random() * 0.5)
        while not self.over() and time.monotonic() - self.t0 < self.args.seconds * 2:
            self.wait(0.1)
        self.t1 = time.monotonic()
        for t in self.transfers:
            t.join(10)
        self.show.phase("letting the other connections end")
        self.engine.finish(30)

    def over(self):
        return not any(t.is_alive() for t in self.transfers)

    def crash(self, kind):
        c = self.engine.crash(kind)
        self.show.line("  %5.1f s  %-30s of %s: %s serves after %.0f ms" % (
            c.at - self.t0, WHAT[c.kind], c.node, c.to, (c.taken - c.at) * 1000))

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done = sum(t.done for t in self.transfers)
            self.show.move("  %d crashes, %.0f of %.0f MB, %d other connections" % (
                len(self.engine.crashes), done / 1e6, self.size * len(self.transfers) / 1e6,
                self.engine.load.connections))
            time.sleep(min(0.05, max(0.0, end - time.monotonic())))

    # ---- figures

    def gaps_of(self, t):
        """The longest pause of that transfer in each crash, in ms."""
        crashes = self.engine.crashes
        out = []
        for i, c in enumerate(crashes):
            until = crashes[i + 1].at if i + 1 < len(crashes) else self.t1
            if not t.samples or not t.samples[0][0] < c.at < t.samples[-1][0]:
                continue
            longest = max((n for at, n in t.gaps if at + n >= c.at and at < until), default=0.01)
            out.append(longest * 1000)
        return out

    def record(self):
        others = self.engine.record()
        transfers = []
        for t in self.transfers:
            if t.is_alive():
                t.problem = "not finished"
            missing = max(0, t.size - t.done)
            if t.problem:
                self.problems.append("%s: %s" % (t.title, t.problem))
            if t.wrong or missing:
                self.problems.append("%s: %d bytes are missing, %d are wrong" % (t.title, missing, t.wrong))
            transfers.append({"name": t.title, "bytes": t.done, "bytes_lost": missing, "bytes_corrupted": t.wrong,
                              "sha256": t.sum.hexdigest(), "gap_ms": quantiles(sorted(self.gaps_of(t)))})
        self.problems += others["problems"]
        if not self.engine.crashes:
            self.problems.append("nothing has crashed")
        ok = not self.problems and others["ok"]
        return {
            "ok": ok, "crashes": len(self.engine.crashes),
            "connections": len(self.transfers) + others["connections"],
            "bytes": sum(t["bytes"] for t in transfers) + others["bytes"],
            "bytes_lost": sum(t["bytes_lost"] for t in transfers) + others["bytes_lost"],
            "bytes_corrupted": sum(t["bytes_corrupted"] for t in transfers) + others["bytes_corrupted"],
            "gap_ms": quantiles(sorted(g for t in self.transfers for g in self.gaps_of(t))),
            "resets": others["resets"], "paws": others["paws"], "connections_lost": others["connections_lost"],
            "transfers": transfers, "other_connections": others["connections"], "other_requests": others["requests"],
            "kinds": {k: v["crashes"] for k, v in others["kinds"].items()}, "store": self.args.store,
            "seed": self.engine.seed, "problems": self.problems, "duration_s": round(time.monotonic() - self.began, 1),
        }


def show_table(show, record):
    heads = ["transfer", "MB", "bytes lost", "corrupted", "gap ms: median", "95 %", "longest"]
    rows = [[t["name"], "%.0f" % (t["bytes"] / 1e6), str(t["bytes_lost"]), str(t["bytes_corrupted"])] +
            [str(t["gap_ms"][q] if t["gap_ms"][q] is not None else "-") for q in ("median", "p95", "max")]
            for t in record["transfers"]]
    widths = [max(len(r[i]) for r in rows + [heads]) for i in range(len(heads))]

    def put(cells):
        return "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))).rstrip()

    show.line()
    show.line(show.paint(put(heads), screen.BOLD))
    show.line(show.paint("  ".join("-" * w for w in widths), screen.DIM))
    for row in rows:
        show.line(put(row))
    show.line()
    show.line("Crashes: " + ", ".join("%s %d" % (WHAT[k], n) for k, n in record["kinds"].items()))
    show.line("Beside curl: %d connections of other kinds, %d requests, each byte compared; %d RST and %d PAWS at the client" % (
        record["other_connections"], record["other_requests"], record["resets"], record["paws"]))


def options():
    p = argparse.ArgumentParser(prog="takeover.py", description="Show servers that die and connections that do not.")
    p.add_argument("--bin", required=True, help="the folder of holdfast, holdfastd and tests/apps/httpd")
    p.add_argument("--json", action="store_true", help="print the record and nothing else")
    p.add_argument("--output", help="where results go (default: BIN/demo)")
    p.add_argument("--store", choices=("direct", "redis"), default="direct")
    p.add_argument("--seconds", type=float, default=20, help="how long the transfers would take undisturbed")
    p.add_argument("--seed", type=int)
    args = p.parse_args()
    args.bin = os.path.abspath(args.bin)
    args.output = os.path.abspath(args.output or os.path.join(args.bin, "demo"))
    return args


def interrupt(number, _frame):
    raise KeyboardInterrupt(number)


def main():
    args = options()
    show = screen.Screen(args.json)
    if os.geteuid():
        return show.fail("needs root: it makes network namespaces")
    if not shutil.which("curl"):
        return show.fail("this Debian package is missing: curl; 'make deps' or 'apt-get install curl'")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, interrupt)
    demo = record = None
    try:
        os.makedirs(args.output, exist_ok=True)
        demo = Demo(args, show)
        try:
            demo.run()
        except WorldError as e:
            demo.problems.append(str(e))
            demo.t1 = time.monotonic()
        if demo.t0:
            record = demo.record()
            with open(os.path.join(args.output, "takeover.json"), "w") as f:
                json.dump(record, f, indent=2)
                f.write("\n")
            with open(os.path.join(args.output, "takeover.svg"), "w") as f:
                f.write(takeover_picture.draw(demo, record))
            if not record["ok"]:
                demo.engine.keep_logs(os.path.join(args.output, "takeover-logs"))
    except KeyboardInterrupt as e:
        show.fail("interrupted")
        return 128 + (e.args[0] if e.args else signal.SIGINT)
    except (OSError, WorldError) as e:
        return show.fail(str(e))
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if demo:
            show.phase("taking everything away")
            demo.engine.close()
    if not record:
        return show.fail("; ".join(demo.problems))
    if args.json:
        print(json.dumps(record, indent=2))
    else:
        show_table(show, record)
        show.line("Picture: " + os.path.join(args.output, "takeover.svg"))
        show.line("Record:  " + os.path.join(args.output, "takeover.json"))
        show.line()
        for p in record["problems"]:
            show.line(show.paint("problem: ", screen.RED) + p)
        show.line(show.paint("%d servers died, no byte was lost, none was wrong." % record["crashes"], screen.BOLD,
                             screen.GREEN) if record["ok"] else
                  show.paint("Not everything survived.", screen.BOLD, screen.RED))
    return 0 if record["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
