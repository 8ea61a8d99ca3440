# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Crashes at random, while clients download and upload; afterwards each node must be back and have everything."""
import os
import random
import signal
import time

from takeover_clients import Content, Load, quantiles
from takeover_world import World, WorldError, wait_until

# How a node fails, and how often among 100 crashes.
KINDS = {
    "server": 30,  # kill -9 of the application
    "host": 20,    # kill -9 of application and daemon, nothing is said to anybody
    "cable": 12,   # frames vanish
    "link": 8,     # the interfaces go down
    "daemon": 8,   # kill -9 of the daemon; the application lives
    "hung": 8,     # the daemon stops, and goes on later: it must stand down
    "frozen": 4,   # so does the application
    "drain": 8,    # planned
    "standby": 2,  # the other one dies
}
WHAT = {
    "server": "kill -9 of the server", "host": "kill -9 of server and daemon", "cable": "the node's cables are cut",
    "link": "the node's links go down", "daemon": "kill -9 of the daemon", "hung": "the daemon hangs (SIGSTOP)",
    "frozen": "server and daemon hang", "drain": "planned: drain", "standby": "kill -9 of the standby",
}


class Crash:
    def __init__(self, number, kind, node):
        self.number, self.kind, self.node = number, kind, node.name
        self.at, self.date = time.monotonic(), time.time()
        self.to = None
        self.taken = self.healed = self.settled = None  # times


class Engine:
    def __init__(self, bin_dir, seed=None, connections=30, kinds=None, rate=1500000, options=True, **world):
        self.seed = seed if seed is not None else random.randrange(1 << 30)
        self.random = random.Random(self.seed)
        self.kinds = kinds or KINDS
        self.world = World(bin_dir, **world)
        self.connections, self.rate, self.options = connections, rate, options
        self.crashes = []
        self.load = None
        self.problems = []
        self.began = time.monotonic()

    def start(self):
        content = Content(self.world.root, self.seed)
        self.world.start()
        self.load = Load(self.world.client, content, self.connections, self.seed, rate=self.rate, options=self.options)
        self.load.start()
        wait_until("the first bytes", lambda: self.load.bytes_down > 1 << 20)

    # ---- one crash

    def strike(self, kind, node):
        w = self.world
        if kind == "server":
            node.kill_server()
        elif kind in ("host", "standby"):
            for p in (node.server.pid, node.daemon):  # in one breath: neither can say anything about the other
                os.kill(p, signal.SIGKILL)
            node.kill_server()
            node.kill_daemon()
        elif kind == "cable":
            w.cut(node)
        elif kind == "link":
            w.link(node, "down")
        elif kind == "daemon":
            node.kill_daemon()
        elif kind == "hung":
            node.pause(node.daemon)
        elif kind == "frozen":
            node.pause(node.daemon, node.server.pid)
        elif kind == "drain":
            answer = node.ask("drain")
            if not answer or not answer["ok"]:
                raise WorldError("drain: %s" % (answer and answer.get("error")))

    def repair(self, kind, node):
        w = self.world
        if kind == "cable":
            w.heal(node)
        elif kind == "link":
            w.link(node, "up")
        elif kind in ("hung", "frozen"):
            node.resume()
        if kind in ("host", "standby", "daemon"):
            node.start_daemon()
        if kind in ("server", "host", "standby"):
            node.start_server()

    def taken_by_another(self, node):
        for n in self.world.nodes:
            if n is not node and n.serves():
                return n
        return None

    def crash(self, kind):
        owner = wait_until("somebody serves", self.world.settled)
        node = owner
        if kind == "standby":
            node = self.random.choice([n for n in self.world.nodes if n is not owner])
        self.load.crashed("%s of %s" % (kind, node.name))
        c = Crash(len(self.crashes), kind, node)
        self.crashes.append(c)
        self.strike(kind, node)
        self.load.check_now = True
        if kind == "standby":
            time.sleep(self.random.random() * 0.2)
        else:
            c.to = wait_until("crash %d (%s of %s): somebody takes over" % (c.number, kind, node.name),
                              lambda: self.taken_by_another(node)).name
            c.taken = time.monotonic()
            time.sleep(self.random.random() * 0.15)
        self.repair(kind, node)
        c.healed = time.monotonic()
        wait_until("crash %d (%s of %s): both are there and synced" % (c.number, kind, node.name), self.world.settled)
        c.settled = time.monotonic()
        return c

    def pick(self):
        kinds = list(self.kinds)
        return self.random.choices(kinds, [self.kinds[k] for k in kinds])[0]

    def run(self, count, on_crash=None, pause=0.25, deadline=None):
        for _ in range(count):
            if deadline and time.monotonic() > deadline:
                return
            time.sleep(self.random.random() * pause)
            c = self.crash(self.pick())
            if on_crash:
                on_crash(c)
            if self.load.problems or not self.load.is_alive():
                return

    def finish(self, seconds=90):
        """Lets the connections end."""
        self.load.stop()
        self.load.join(seconds)
        if self.load.is_alive():
            self.problems.append("%d connections have not ended within %d s: %s" % (
                len(self.load.by_fd), seconds, "; ".join(f.name for f in list(self.load.by_fd.values())[:8])))

    # ---- figures

    def record(self):
        load = self.load
        down, up = load.waits(0, ("download",)), load.waits(1, ("upload",))
        kernel = load.kernel_saw("TcpExtPAWSEstab", "TcpEstabResets", "TcpInErrs", "TcpExtTCPAbortOnTimeout")
        problems = self.problems + load.problems
        if load.kernel_after is None and not problems:
            problems.append("the clients did not end")
        if load.finished != load.numbers and not problems:
            problems.append("%d connections were opened, %d came to their end" % (load.numbers, load.finished))
        kinds = {}
        for c in self.crashes:
            kinds[c.kind] = kinds.get(c.kind, 0) + 1
        per_kind = {}
        for kind in kinds:
            numbers = {c.number for c in self.crashes if c.kind == kind}
            gaps = {n: v for n, v in load.gaps.items() if n in numbers}
            per_kind[kind] = {
                "crashes": kinds[kind],
                "taken_ms": quantiles(sorted((c.taken - c.at) * 1000 for c in self.crashes
                                             if c.kind == kind and c.taken)),
                "gap_down_ms": quantiles(sorted(g[0] * 1000 for v in gaps.values() for k, g in v
                                                if k == "download" and g[0])),
                "gap_up_ms": quantiles(sorted(g[1] * 1000 for v in gaps.values() for k, g in v
                                              if k == "upload" and g[1])),
            }
        return {
            "ok": not problems and load.lost == 0 and load.bytes_lost == 0 and load.bytes_corrupted == 0
            and load.resets == 0 and bool(self.crashes),
            "seed": self.seed, "store": self.world.store, "nodes": len(self.world.nodes),
            "crashes": len(self.crashes), "kinds": per_kind, "connections": load.connections,
            "requests": load.requests, "bytes": load.bytes_down + load.bytes_up, "bytes_down": load.bytes_down,
            "bytes_up": load.bytes_up, "connections_lost": load.lost, "bytes_lost": load.bytes_lost,
            "bytes_corrupted": load.bytes_corrupted, "resets": load.resets, "paws": kernel["TcpExtPAWSEstab"],
            "acknowledged_checks": load.acknowledged_checks, "kernel": kernel,
            "gap_ms": quantiles(sorted(down + up)), "gap_down_ms": quantiles(down), "gap_up_ms": quantiles(up),
            "slow_connects": sum(1 for t, _ in load.connect_times if t > 0.9),
            "connect_max_ms": round(max((t for t, _ in load.connect_times), default=0) * 1000),
            "duration_s": round(time.monotonic() - self.began, 1), "problems": problems,
        }

    def keep_logs(self, folder):
        self.world.keep_logs(folder)
        with open(os.path.join(folder, "crashes"), "w") as f:
            for c in self.crashes:
                f.write("%4d  %.6f  %-8s of %s, taken by %s after %s ms, repaired %s, settled %s\n" % (
                    c.number, c.date, c.kind, c.node, c.to,
                    *("%.1f" % ((t - c.at) * 1000) if t else "-" for t in (c.taken, c.healed, c.settled))))

    def close(self):
        if self.load:
            self.load.stop()
        self.world.close()
