# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the user sees: a moving line on a terminal, plain lines elsewhere, the table at the end. With --json only the record."""
import json
import os
import shutil
import sys
import threading
import time

BOLD, DIM, RED, GREEN, YELLOW, BLUE = "1", "2", "31", "32", "33", "36"


class Screen:
    def __init__(self, as_json):
        self.json = as_json
        self.live = sys.stdout.isatty() and not as_json and os.environ.get("TERM") != "dumb"
        self.colour = self.live and "NO_COLOR" not in os.environ
        self.path = "-"
        self.moving = False
        self.lock = threading.RLock()
        self.seen = (0.0, 0)
        self.speed = 0.0

    def paint(self, text, *codes):
        return "\033[%sm%s\033[0m" % (";".join(codes), text) if self.colour else text

    def line(self, text=""):
        if self.json:
            return
        with self.lock:
            self.clear()
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def clear(self):
        """Takes the moving line away."""
        with self.lock:
            if self.moving:
                sys.stdout.write("\r\033[K")
                sys.stdout.flush()
                self.moving = False

    def move(self, text):
        if not self.live:
            return
        width = shutil.get_terminal_size().columns - 1
        with self.lock:
            sys.stdout.write("\r\033[K" + text[:width])
            sys.stdout.flush()
            self.moving = True

    def phase(self, text):
        if self.live:
            self.move("  " + text + " ...")
        else:
            self.line("demo: " + text)

    def fail(self, why):
        if self.json:
            print(json.dumps({"ok": False, "error": why}))
        else:
            self.clear()
            sys.stderr.write("holdfast demo: %s\n" % why)
        return 1

    # ---- steps -----------------------------------------------------------------

    def begin(self, n, name, text):
        self.title = "%d/4  %-15s" % (n, name) if n else "     %-15s" % name
        self.text = text
        if not self.live:
            self.line("demo: %s %s" % (self.title, text))

    def tick(self, demo):
        if not self.live:
            return
        now, got = time.monotonic(), demo.download.received
        if now - self.seen[0] > 0.3:
            self.speed = (got - self.seen[1]) / (now - self.seen[0]) / 1e6
            self.seen = (now, got)
        answers = demo.shell.answers
        came = [demo.ends.counters[r].get("came", 0) * 5 for r in ("server", "client")]
        self.move("%s  on %s  curl %.0f MB/s  ssh line %d  udp %d+%d/s" % (
            self.title, self.path, self.speed, answers[-1][1] if answers else 0, came[0], came[1]))

    def end(self, demo, step):
        text = "%s  %s" % (self.paint(self.title, BOLD), self.text)
        if "took" in step:
            text += self.paint("  (%.1f ms, %d packets parked)" % (step["took"] * 1000, step["parked"]), DIM)
        if self.live:
            self.line(text)
        elif "took" in step:
            self.line("demo: %s done in %.1f ms, %d packets parked" % (
                self.title, step["took"] * 1000, step["parked"]))

    # ---- the end ---------------------------------------------------------------

    def result(self, demo, record, folder):
        if self.json:
            print(json.dumps(record, indent=2))
            return
        self.line()
        self.table(record)
        self.line()
        if not demo.world.delay:
            self.line("The links have no delay: this kernel has no netem.")
        self.line("Picture: " + os.path.join(folder, "timeline.svg"))
        self.line("Record:  " + os.path.join(folder, "report.json"))
        self.line()
        if record["ok"]:
            self.line(self.paint("All four applications lived through all four changes: no byte lost, none wrong.",
                                 BOLD, GREEN))
        else:
            for p in record["problems"]:
                self.line(self.paint("problem: ", RED) + p)
            self.line(self.paint("Not everything survived.", BOLD, RED))

    def table(self, record):
        heads = ["step", "app", "gap ms", "bytes lost", "corrupted", "parked", "network lost", "resent"]
        rows = []
        for step in [record["reference"]] + record["steps"]:
            for i, app in enumerate(step["apps"]):
                first = i == 0
                rows.append([
                    step["name"] if first else "", app["name"], "%.1f" % app["gap_ms"], str(app["bytes_lost"]),
                    str(app["bytes_corrupted"]),
                    str(step["packets_parked"]) if first and step["kind"] != "reference" else "",
                    str(app.get("datagrams_lost_in_network", "")), str(app.get("datagrams_resent", ""))])
        widths = [max(len(r[i]) for r in rows + [heads]) for i in range(len(heads))]

        def put(cells):
            return "  ".join(c.ljust(w) if i < 2 else c.rjust(w)
                             for i, (c, w) in enumerate(zip(cells, widths))).rstrip()

        self.line(self.paint(put(heads), BOLD))
        rule = "  ".join("-" * w for w in widths)
        for i, row in enumerate(rows):
            if row[0]:
                self.line(self.paint(rule, DIM))
            bad = row[3] != "0" or row[4] != "0"
            self.line(self.paint(put(row), RED) if bad else put(row))
