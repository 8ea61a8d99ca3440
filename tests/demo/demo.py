# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The demonstration: four applications live through four changes of the network under them.

    /usr/bin/python3 tests/demo/demo.py --bin DIR [--json] [--output DIR]

DIR holds holdfast and holdfastd. Results go to DIR/demo: report.json, timeline.svg, the daemons' logs. Exit status 0 only if
every step was done, no application died and every byte is right.
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import apps  # noqa: E402
import ends  # noqa: E402
import measure  # noqa: E402
import screen  # noqa: E402
import signals  # noqa: E402
import timeline  # noqa: E402
from world import OTHER_ADDRESS, ADDRESS, DemoError, World  # noqa: E402

RATE = 25 << 20  # of the download, bytes a second
CALM_S = 3.0  # undisturbed, to compare with
AFTER_S = 4.0  # how long a step is watched after its change is over
WITHOUT_ADDRESS_S = 0.7
EXPECTED_S = 23  # until the last step ends; the download is a little longer
LIMIT_S = 15  # for any one change


class Demo:
    def __init__(self, args, show):
        self.bin, self.out, self.show = args.bin, args.output, show
        self.world = None
        self.steps, self.problems, self.marks, self.route = [], [], [], []
        self.shell = None

    # ---- set up ----------------------------------------------------------------

    def set_up(self):
        self.show.phase("building the network")
        w = self.world = World(self.bin)
        w.build()
        self.download = apps.Download(w, RATE, int(RATE * EXPECTED_S))
        self.shell = apps.Shell(w)
        self.ends = apps.Ends(w)
        self.show.phase("starting nginx, sshd and the daemons")
        self.download.make_file()
        self.download.start_server()
        self.shell.start_server()
        w.start_daemons(apps.SERVICES)
        apps.wait_until("the association", lambda: self.on("w1") and self.validated("w2"), LIMIT_S)
        self.follow()
        self.show.phase("starting curl, ssh, the UDP stream and the idle connection")
        self.ends.start("server")
        self.ends.start("client")
        self.shell.start()
        self.download.start()
        apps.wait_until("the first bytes", lambda: self.download.received > 0 and
                        self.ends.counters["client"].get("came"), LIMIT_S)

    def follow(self):
        """Notes which path carries the association, as the mobile's daemon tells."""
        w = self.world
        self.note(w.assoc(w.mobile), time.monotonic())
        argv = [os.path.join(self.bin, "holdfast"), "monitor", "--json", "--run-dir",
                os.path.join(w.work, w.mobile)]
        p = w.spawn(w.mobile, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, text=True)

        def read():
            for line in p.stdout:
                event = json.loads(line)
                if event.get("event") == "switch":
                    self.note(event, event["time_us"] / 1e6)

        threading.Thread(target=read, daemon=True).start()

    def note(self, assoc, when):
        for path in assoc["paths"]:
            if path["use"] == "current":
                self.route.append((when, path["interface"], path["local"]))
                self.show.path = path["interface"]

    def current(self):
        a = self.world.assoc(self.world.mobile)
        if a["state"] != "connected" or not a["connected"]:
            return None
        return next((p for p in a["paths"] if p["use"] == "current" and p["health"] != "dead"), None)

    def on(self, interface, local=None):
        p = self.current()
        return bool(p and p["interface"] == interface and local in (None, p["local"]))

    def validated(self, interface):
        a = self.world.assoc(self.world.mobile)
        return any(p["interface"] == interface and p["validated"] and p["health"] != "dead"
                   for p in a["paths"])

    # ---- the four changes ------------------------------------------------------

    def mark(self, text, kind="event"):
        """For the picture. A "loss" is where the path in use ceases to carry anything."""
        self.marks.append((time.monotonic(), text, kind))

    def planned_switch(self):
        self.mark("switch to w2")
        return self.switch("--to", "w2")

    def switch(self, *args):
        w = self.world
        done = json.loads(w.holdfast(w.mobile, "switch", "--json", *args).stdout)
        apps.wait_until("the switch", lambda: self.on("w2"), LIMIT_S)
        return done["last_switch_us"] / 1e6

    def cut_link(self):
        t = time.monotonic()
        self.world.cut(2)
        self.mark("w2 cut", "loss")
        return self.recovered("the way over w1", t, "w1")

    def other_address(self):
        w, t = self.world, time.monotonic()
        w.take_address("w1")
        self.mark("address gone", "loss")
        self.watch(WITHOUT_ADDRESS_S - (time.monotonic() - t))
        w.give_address("w1", OTHER_ADDRESS, "10.1.0.1", 100)
        self.mark("another address")
        return self.recovered("the new address", t, "w1", OTHER_ADDRESS)

    def return_(self):
        self.world.heal(2)
        self.mark("w2 healed")
        apps.wait_until("w2", lambda: self.validated("w2"), LIMIT_S)
        self.watch(1.5)  # so that the picture shows both apart
        self.mark("switch, break first")
        return self.switch("--to", "w2", "--break")

    def recovered(self, what, since, *on):
        """How long it took from the event until the daemon had the association on its new path."""
        end = time.monotonic() + LIMIT_S
        while not self.on(*on):
            if time.monotonic() > end:
                raise DemoError("%s was not taken within %d s" % (what, LIMIT_S))
            self.watch(0.05)
        for _ in range(50):
            if self.route[-1][0] > since:
                return self.route[-1][0] - since
            time.sleep(0.01)
        return time.monotonic() - since

    STEPS = (
        ("planned switch", "planned", "w1 to w2, make before break", planned_switch),
        ("cut link", "unexpected", "w2 goes silent, back to w1", cut_link),
        ("other address", "unexpected", "w1 loses %s and comes back with %s, w2 still dead"
         % (ADDRESS["w1"], OTHER_ADDRESS), other_address),
        ("return", "planned", "w2 is healed, break before make", return_),
    )

    # ---- running ---------------------------------------------------------------

    def watch(self, seconds):
        end = time.monotonic() + seconds
        while True:
            for app in (self.download, self.shell, self.ends):
                if not app.alive():
                    raise DemoError("%s died" % getattr(app, "name", "the UDP stream"))
            self.show.tick(self)
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(0.1, left))

    def parked(self):
        return [self.world.assoc(ns)["parked_total"] for ns in (self.world.mobile, self.world.anchor)]

    def step(self, n, name, kind, text, change):
        """A window: the change, what it does to the applications, and one exchange on the idle connection."""
        self.show.begin(n, name, text)
        before = self.parked() if change else None
        step = {"name": name, "kind": kind, "text": text, "t0": time.monotonic()}
        self.steps.append(step)
        try:
            if change:
                step["took"] = change(self)
            self.watch(AFTER_S if change else CALM_S)
        except DemoError:
            step["broken"] = time.monotonic()
            raise
        began = time.monotonic()
        step["idle"] = self.ends.exchange(n, 5)
        step["waited"] = time.monotonic() - began
        step["t1"] = time.monotonic()
        if change:
            # An anchor that freed the association in between counts from 0 again.
            step["parked"] = sum(max(0, b - a) for a, b in zip(before, self.parked()))
        step["path"] = self.route[-1][1]
        self.show.end(self, step)

    def run(self):
        self.began = time.monotonic()
        self.set_up()
        self.t0 = time.monotonic()
        self.step(0, "undisturbed", "reference", "to compare with", None)
        for n, (name, kind, text, change) in enumerate(self.STEPS):
            self.step(n + 1, name, kind, text, change)

    def finish(self):
        """Lets the applications end and collects what they say."""
        self.show.phase("waiting for the end of the download")
        if self.download.curl and self.download.received < self.download.size:
            self.download.thread.join(20)
        for app, seconds in ((self.download, 0.1), (self.shell, 5), (self.ends, 5)):
            problem = app.finish(seconds)
            if problem:
                self.problems.append(problem)
        self.problems += self.ends.problems
        self.stream = measure.Stream(self.ends)

    def record(self):
        now = time.monotonic()
        steps = []
        for i, s in enumerate(self.steps):
            t0, t1 = s["t0"], s.get("t1") or s.get("broken", now)
            last = self.steps[i + 1]["t0"] if i + 1 < len(self.steps) else now
            curl, curl_at = measure.of_download(self.download, t0, t1, last)
            ssh, ssh_at = measure.of_shell(self.shell, t0, t1, now)
            udp, udp_at = self.stream.of(t0, t1)
            s["apps"] = [curl, ssh, udp, measure.of_idle(s.get("idle"), ends.IDLE_BYTES, s.get("waited"))]
            # for the picture, which has a lane for each direction of the stream
            s["gaps"] = [(curl["gap_ms"], curl_at), (ssh["gap_ms"], ssh_at),
                         (udp["gap_up_ms"], udp_at[0]), (udp["gap_down_ms"], udp_at[1])]
            for app in s["apps"]:
                for what in ("lost", "corrupted"):
                    if app["bytes_" + what]:
                        self.problems.append("%s: %s: %d bytes %s" % (
                            s["name"], app["name"], app["bytes_" + what], what))
            if s["kind"] == "planned" and udp["datagrams_lost_in_network"]:
                self.problems.append("%s: the network lost %d datagrams in a planned switch" % (
                    s["name"], udp["datagrams_lost_in_network"]))
            if "t1" not in s:
                self.problems.append("%s: not finished" % s["name"])
            steps.append({"name": s["name"], "kind": s["kind"], "apps": s["apps"],
                          "packets_parked": s.get("parked", 0), "took_ms": measure.ms(s.get("took", 0)),
                          "path_after": s.get("path"), "start_s": round(t0 - self.t0, 3),
                          "end_s": round(t1 - self.t0, 3)})
        if len(steps) != len(self.STEPS) + 1:
            self.problems.append("only %d of %d steps were begun" % (len(steps) - 1, len(self.STEPS)))
        if not self.problems:
            # Outside the steps, too, nothing may be missing.
            whole, _ = self.stream.of(0, now)
            if whole["bytes_lost"] or whole["bytes_corrupted"] or self.shell.wrong or self.download.corrupted:
                self.problems.append("bytes are missing or wrong outside of the steps")
        return {
            "ok": not self.problems, "steps": steps[1:], "reference": steps[0] if steps else None,
            "problems": self.problems, "download_bytes": self.download.received,
            "download_sha256": self.download.sum.hexdigest(), "links_delay": self.world.delay,
            "kernel": platform.release(), "duration_s": round(now - self.began, 1),
        }


def options():
    p = argparse.ArgumentParser(prog="demo.py", description="Show a roaming mobile in network namespaces.")
    p.add_argument("--bin", required=True, help="the folder of holdfast and holdfastd")
    p.add_argument("--json", action="store_true", help="print the record and nothing else")
    p.add_argument("--output", help="where results go (default: BIN/demo)")
    args = p.parse_args()
    args.bin = os.path.abspath(args.bin)
    if not args.output:
        # Beside the programs in a tree; an installed demo leaves the programs' folder alone.
        built = os.access(os.path.join(args.bin, "holdfastd"), os.X_OK)
        args.output = os.path.join(args.bin, "demo") if built else os.path.abspath("holdfast-demo")
    return args


def main():
    args = options()
    show = screen.Screen(args.json)
    if os.geteuid():
        return show.fail("needs root: it makes network namespaces")
    if not os.access(os.path.join(args.bin, "holdfast"), os.X_OK):
        return show.fail("no holdfast in %s" % args.bin)
    signals.interrupt()
    demo = Demo(args, show)
    record = None
    try:
        os.makedirs(args.output, exist_ok=True)
        try:
            demo.run()
        except DemoError as e:
            demo.problems.append(str(e))
        if demo.steps:
            demo.finish()
            record = demo.record()
            with open(os.path.join(args.output, "report.json"), "w") as f:
                json.dump(record, f, indent=2)
                f.write("\n")
            picture = os.path.join(args.output, "timeline.svg")
            with open(picture, "w") as f:
                f.write(timeline.draw(demo, record))
    except KeyboardInterrupt as e:
        demo.problems.append("interrupted")
        record = None
        show.fail("interrupted")
        return signals.status(e)
    except OSError as e:
        demo.problems.append(str(e))
    finally:
        signals.ignore()
        if demo.world:
            show.phase("taking everything away")
            demo.world.keep_logs(args.output)
            demo.world.close()
        if demo.shell:
            demo.shell.close()
    if not record:
        return show.fail("; ".join(demo.problems))
    show.result(demo, record, args.output)
    return 0 if record["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
