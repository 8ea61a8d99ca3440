# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The demonstration of takeover: curl downloads and uploads through one address while its servers die.

    /usr/bin/python3 tests/demo/takeover.py --bin DIR [--json] [--output DIR] [--store direct|redis] [--seconds N]

Results go to DIR/demo: takeover.json, takeover.svg, takeover-logs after a failure. Exit status 0 only if each byte of each
transfer was compared with what it must be, and none was lost or wrong.
"""
import argparse
import bisect
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import screen  # noqa: E402
import signals  # noqa: E402
import takeover_picture  # noqa: E402
from takeover_clients import quantiles  # noqa: E402
from takeover_engine import WHAT, Engine  # noqa: E402
from takeover_world import VIP, VIP6, WorldError  # noqa: E402

KINDS = {"server": 30, "host": 20, "cable": 10, "hung": 10, "daemon": 8, "link": 6, "drain": 16}
RATE = 6000000  # bytes a second a transfer
PART = 65536
LOOK_S = 0.002  # between looks at what of an upload is stored: the error of its pauses


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
        self.samples = []  # (time, bytes so far)
        self.known = (None, b"")  # the part that was made last
        self.sum = hashlib.sha256()

    def part(self, i):
        """Of the known content: no part of it is like another."""
        if self.known[0] != i:
            self.known = i, hashlib.shake_128(self.seed + b"/%d" % i).digest(max(0, min(PART, self.size - i * PART)))
        return self.known[1]

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
        self.done += count
        self.samples.append((now, self.done))

    def pauses(self, since, until):
        """(when, how long) of each time without progress that overlaps."""
        first = max(1, bisect.bisect_left(self.samples, (since,)))
        for (t0, _), (t1, _) in zip(self.samples[first - 1:], self.samples[first:]):
            if t0 >= until:
                return
            yield t0, t1 - t0

    def longest(self, since, until):
        """None where nothing was under way then."""
        if not self.samples or not self.samples[0][0] < since < self.samples[-1][0]:
            return None
        # the pause of the next crash begins a moment before it, with the last byte
        return max((length for at, length in self.pauses(since, until) if since <= at + length / 2 < until), default=0.0)

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
        # paced by the server: with --limit-rate the pauses would hide in what waits in the client's kernel
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
            time.sleep(LOOK_S)
        self.end(p)
        code = p.stdout.read()
        if not self.problem and code != b"201":
            self.problem = "the server said %s" % code.decode()

    def check_stored(self):
        """When all transfers are over: the work would hold up those that are not."""
        target = os.path.join(self.demo.engine.world.root, self.path)
        if not self.upload or self.problem:
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
        self.progress = Progress(self)
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
        self.progress.start()
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
        self.show.phase("comparing what was stored")
        for t in self.transfers:
            t.check_stored()
        self.show.phase("letting the other connections end")
        self.engine.finish(30)

    def over(self):
        return not any(t.is_alive() for t in self.transfers)

    def crash(self, kind):
        c = self.engine.crash(kind)
        self.show.line("  %5.1f s  %-30s of %s: %s serves after %3.0f ms" % (
            c.at - self.t0, WHAT[c.kind], c.node, c.to, (c.taken - c.at) * 1000))

    def close(self):
        self.progress.stop = True
        if self.progress.is_alive():
            self.progress.join()
        self.engine.close()

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.over():
            time.sleep(0.02)

    def serving(self):
        last = self.engine.crashes[-1] if self.engine.crashes else None
        return (last.to or "nobody") if last else self.first_owner

    # ---- figures

    def crashes(self, planned):
        return [c for c in self.engine.crashes if (c.kind == "drain") == planned]

    def gaps_of(self, t, which=None):
        """The longest pause of that transfer in each crash (of these), until the next one, in ms."""
        crashes = self.engine.crashes
        ends = [c.at for c in crashes[1:]] + [self.t1]
        gaps = [t.longest(c.at, end) for c, end in zip(crashes, ends) if which is None or c in which]
        return [g * 1000 for g in gaps if g is not None]

    def kinds(self):
        out = {}
        for kind in KINDS:
            which = [c for c in self.engine.crashes if c.kind == kind]
            if which:
                out[kind] = {"times": len(which),
                             "served_ms": quantiles(sorted((c.taken - c.at) * 1000 for c in which if c.taken))}
                for way, upload in (("download", False), ("upload", True)):
                    out[kind][way + "_gap_ms"] = quantiles(sorted(
                        g for t in self.transfers if t.upload == upload for g in self.gaps_of(t, which)))
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
        crashes = len(self.crashes(False))
        if not crashes:
            self.problems.append("nothing has crashed")
        ok = not self.problems and others["ok"]
        return {
            "ok": ok, "crashes": crashes, "planned": len(self.crashes(True)),
            "connections": len(self.transfers) + others["connections"],
            "bytes": sum(t["bytes"] for t in transfers) + others["bytes"],
            "bytes_lost": sum(t["bytes_lost"] for t in transfers) + others["bytes_lost"],
            "bytes_corrupted": sum(t["bytes_corrupted"] for t in transfers) + others["bytes_corrupted"],
            "gap_ms": quantiles(sorted(g for t in self.transfers for g in self.gaps_of(t))),
            "resets": others["resets"], "paws": others["paws"], "connections_lost": others["connections_lost"],
            "transfers": transfers, "other_connections": others["connections"], "other_requests": others["requests"],
            "kinds": self.kinds(), "store": self.args.store,
            "seed": self.engine.seed, "problems": self.problems, "duration_s": round(time.monotonic() - self.began, 1),
        }


class Progress(threading.Thread):
    """The moving line, also while a crash is under way."""

    def __init__(self, demo):
        super().__init__(daemon=True)
        self.demo = demo
        self.stop = False

    def run(self):
        d, seen = self.demo, []
        while not d.over() and not self.stop:
            now = time.monotonic()
            seen = seen[-6:] + [(now, sum(t.done for t in d.transfers))]
            speed = (seen[-1][1] - seen[0][1]) / max(now - seen[0][0], 0.1)
            ways = ["".join("%4d %%" % (t.done * 100 / t.size) for t in d.transfers if t.upload == up) for up in (0, 1)]
            d.show.move("  %5.1f s  %-6s serves   down%s   up%s   %5.1f MB/s" % (
                now - d.t0, d.serving(), ways[0], ways[1], speed / 1e6))
            time.sleep(0.1)


def show_table(show, heads, rows):
    widths = [max(len(r[i]) for r in rows + [heads]) for i in range(len(heads))]

    def put(cells):
        return "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))).rstrip()

    show.line()
    show.line(show.paint(put(heads), screen.BOLD))
    show.line(show.paint("  ".join("-" * w for w in widths), screen.DIM))
    for row in rows:
        show.line(put(row))


def figure(value):
    return "-" if value is None else "%.0f" % value if value >= 10 else "%.1f" % value


def show_tables(show, record):
    show_table(show, ["transfer", "MB", "bytes lost", "corrupted", "gap ms: median", "95 %", "longest"],
               [[t["name"], "%.0f" % (t["bytes"] / 1e6), str(t["bytes_lost"]), str(t["bytes_corrupted"])] +
                [figure(t["gap_ms"][q]) for q in ("median", "p95", "max")] for t in record["transfers"]])
    show_table(show, ["what happened, medians in ms", "times", "other serves", "gap down", "gap up", "longest gap"],
               [[WHAT[kind], str(k["times"]), figure(k["served_ms"]["median"]), figure(k["download_gap_ms"]["median"]),
                 figure(k["upload_gap_ms"]["median"]),
                 figure(max(k["download_gap_ms"]["max"] or 0, k["upload_gap_ms"]["max"] or 0))]
                for kind, k in record["kinds"].items()])
    show.line()
    show.line("Beside curl %d connections of other kinds with %d requests: each byte compared." % (
        record["other_connections"], record["other_requests"]))
    show.line("The client's kernel counted %d RST and %d segments with an old timestamp." % (
        record["resets"], record["paws"]))


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


def main():
    args = options()
    show = screen.Screen(args.json)
    if os.geteuid():
        return show.fail("needs root: it makes network namespaces")
    if not shutil.which("curl"):
        return show.fail("this Debian package is missing: curl; 'make deps' or 'apt-get install curl'")
    signals.interrupt()
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
        return signals.status(e)
    except (OSError, WorldError) as e:
        return show.fail(str(e))
    finally:
        signals.ignore()
        if demo:
            show.phase("taking everything away")
            demo.close()
            show.clear()
    if not record:
        return show.fail("; ".join(demo.problems))
    if args.json:
        print(json.dumps(record, indent=2))
    else:
        show_tables(show, record)
        show.line("Picture: " + os.path.join(args.output, "takeover.svg"))
        show.line("Record:  " + os.path.join(args.output, "takeover.json"))
        show.line()
        for p in record["problems"]:
            show.line(show.paint("problem: ", screen.RED) + p)
        show.line(show.paint("%d crashes, planned moves: %d. No byte lost, none wrong." % (
            record["crashes"], record["planned"]), screen.BOLD, screen.GREEN) if record["ok"] else
                  show.paint("Not everything survived.", screen.BOLD, screen.RED))
    return 0 if record["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
