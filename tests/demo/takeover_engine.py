# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Crashes at random, while clients download and upload; afterwards each node must be back and have everything."""
import os
import random
import signal
import time

import takeover_served as served
from takeover_clients import Content, Load, quantiles
from takeover_wire import Wire
from takeover_world import World, WorldError, wait_until

# How a node fails, and how often among 100 crashes.
KINDS = {
    "server": 18,  # kill -9 of the application
    "host": 12,    # kill -9 of application and daemon, nothing is said to anybody
    "cable": 8,    # frames vanish
    "link": 6,     # the interfaces go down
    "daemon": 6,   # kill -9 of the daemon; the application lives
    "hung": 5,     # the daemon stops, and goes on later: it must stand down
    "frozen": 4,   # so does the application
    "drain": 6,    # planned
    "standby": 2,  # the other one dies
    "cut off": 4,     # the nodes' own network fails at the owner, its clients' does not
    "uncommitted": 6,  # ... and before its lease ends it dies: with puts that nobody will ever confirm
    "restart": 4,     # the daemon dies and is back before anybody took over
    "restoring": 6,   # a second strike, at the next owner while it makes the connections again
    "relay": 5,       # ... as soon as it has somebody to take over from it
    "resync": 4,      # ... at one of the two while the one that was away gets its copy
    "both": 2,        # both nodes' servers at once
    "store": 2,       # Redis fails over to its replica in a crash
}
WHAT = {
    "server": "kill -9 of the server", "host": "kill -9 of server and daemon", "cable": "the node's cables are cut",
    "link": "the node's links go down", "daemon": "kill -9 of the daemon", "hung": "the daemon hangs (SIGSTOP)",
    "frozen": "server and daemon hang", "drain": "planned: drain", "standby": "kill -9 of the standby",
    "cut off": "cut off from the other and the store", "uncommitted": "cut off, then killed in its lease",
    "restart": "kill -9 of the daemon, back at once", "restoring": "and the next one while it restores",
    "relay": "and the next one when it is synced", "resync": "and one of them during a resync",
    "both": "kill -9 of both servers", "store": "with a fail-over of Redis",
}
ALONE = "the daemon that serves alone, or is being copied"
BOTH = "both nodes' daemons at once"
NO_REPLICA = "Redis without a replica, and the owner with it"


REST_S = 2


class Crash:
    def __init__(self, number, kind, node):
        self.number, self.kind, self.node = number, kind, node.name
        self.at, self.date = time.monotonic(), time.time()
        self.strikes = []
        self.struck = []  # (node or None: all, when)
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
        self.strikes = 0
        self.left_out = {}  # what cannot be survived -> how often it was not done
        self.wire = None
        self.answers = None  # what served.judge() counted
        self.load = None
        self.problems = []
        self.began = time.monotonic()

    def start(self):
        content = Content(self.world.root, self.seed)
        self.world.start()
        self.load = Load(self.world.client, content, self.connections, self.seed, rate=self.rate, options=self.options)
        self.load.start()
        wait_until("the first bytes", lambda: self.load.bytes_down > 1 << 20)

    # ---- one strike

    def strike(self, kind, node):
        w = self.world
        if kind == "server":
            node.kill_server()
        elif kind in ("host", "standby"):
            for p in (node.server.pid if node.server else 0, node.daemon):  # in one breath: neither can say a thing
                if p:
                    os.kill(p, signal.SIGKILL)
            node.kill_server()
            node.kill_daemon()
        elif kind == "cable":
            w.cut(node)
        elif kind == "cut off":
            w.cut(node, "k")
        elif kind == "link":
            w.link(node, "down")
        elif kind == "daemon":
            node.kill_daemon()
        elif kind == "hung":
            node.pause(node.daemon)
        elif kind == "frozen":
            node.pause(node.daemon, node.server.pid)
        elif kind == "drain":
            wait_until("drain", lambda: self.drained(node), 2)

    @staticmethod
    def drained(node):
        """The owner hears with the next heartbeat which applications the other one has."""
        answer = node.ask("drain")
        if answer and not answer["ok"] and "lacks an application" not in answer["error"]:
            raise WorldError("drain: " + answer["error"])
        return answer and answer["ok"]

    def repair(self, _kind, node):
        """Whatever happened to it."""
        if node.cut:
            self.world.heal(node, node.cut)
        if node.down:
            self.world.link(node, "up", node.down)
        node.resume()
        if not node.daemon:
            node.start_daemon()
        self.supervise(node)

    @staticmethod
    def supervise(node):
        if node.server and node.server.poll() is not None:  # it came while its daemon was dying
            node.kill_server()
        if not node.server:
            node.start_server()

    def all_back(self):
        for node in self.world.nodes:
            self.supervise(node)
        return self.world.settled()

    def hit(self, c, kind, node):
        """A strike of a crash."""
        c.strikes.append("%s of %s at %.1f ms" % (kind, node.name, (time.monotonic() - c.at) * 1000))
        c.struck.append((node.name, time.monotonic()))
        self.strikes += 1
        self.load.crash_what = "; ".join(c.strikes)
        self.strike(kind, node)
        self.load.check_now = True

    def nap(self, most):
        time.sleep(self.random.random() * most)

    def choose(self, *kinds):
        return self.random.choice(kinds)

    def leave_out(self, why):
        self.left_out[why] = self.left_out.get(why, 0) + 1

    def survivable(self, kind, node):
        """The kind, or one in its place where the documentation says that the connections would be lost."""
        if kind not in ("host", "daemon", "cable") or self.world.store == "redis":
            return kind
        s = node.status()
        if s and s["state"] == "serving" and s["synced"]:
            return kind
        self.leave_out(ALONE)
        return "server"

    def others(self, node):
        return [n for n in self.world.nodes if n is not node]

    def taken_by_another(self, node):
        for n in self.others(node):
            if n.serves():
                return n
        return None

    def wait_taken(self, c, node):
        other = wait_until("%s: somebody takes over" % self.name_of(c), lambda: self.taken_by_another(node), every=0.001)
        if not c.to:
            c.to, c.taken = other.name, time.monotonic()
        return other

    @staticmethod
    def name_of(c):
        return "crash %d (%s)" % (c.number, "; ".join(c.strikes))

    # ---- crashes of more than one strike

    def uncommitted(self, c, owner):
        self.hit(c, "cut off", owner)
        self.nap(0.1)
        self.hit(c, self.choose("host", "host", "daemon", "server"), owner)
        self.wait_taken(c, owner)
        self.nap(0.15)

    def restart(self, c, owner):
        self.hit(c, "daemon", owner)
        owner.start_daemon()

    def restoring(self, c, owner):
        self.hit(c, self.choose("server", "host", "daemon", "cable", "drain"), owner)
        other = self.wait_taken(c, owner)
        self.nap(0.02)
        if self.random.random() < 0.3:  # the first is on its way back meanwhile
            self.repair("", owner)
        self.hit(c, self.survivable(self.choose("server", "host", "daemon"), other), other)
        self.nap(0.1)

    def relay(self, c, owner):
        self.hit(c, self.choose("server", "host", "daemon", "hung"), owner)
        other = self.wait_taken(c, owner)
        self.repair("", owner)
        wait_until("%s: the next owner has somebody" % self.name_of(c),
                   lambda: (other.status() or {}).get("synced"), every=0.001)
        self.nap(0.05)
        self.hit(c, self.survivable(self.choose("server", "host", "daemon", "cable"), other), other)
        self.nap(0.1)

    def resync(self, c, owner):
        other = self.random.choice(self.others(owner))
        self.hit(c, self.choose("standby", "cable"), other)
        self.nap(0.6)
        self.repair("", other)
        self.nap(0.03)
        victim = self.random.choice((owner, other))
        kind = self.choose("server", "host", "daemon")
        self.hit(c, self.survivable(kind, victim) if victim is owner else kind, victim)
        self.nap(0.15)

    def both(self, c, owner):
        kind = self.choose("server", "host")
        if kind == "host" and self.world.store == "direct":
            self.leave_out(BOTH)
            kind = "server"
        for node in self.world.nodes:
            self.hit(c, kind, node)
            self.nap(0.03)
        self.nap(0.3)

    def store(self, c, owner):
        w = self.world
        kind = self.choose("host", "server", "cable", "none")
        if not w.replica and kind != "none":
            self.leave_out(NO_REPLICA)
            kind = "none"
        first = self.random.random() < 0.5
        if kind != "none" and not first:
            self.hit(c, kind, owner)
            self.nap(0.2)
        c.strikes.append("Redis at %.1f ms" % ((time.monotonic() - c.at) * 1000))
        c.struck.append((None, time.monotonic()))
        w.kill_redis()
        self.nap(0.1)
        if kind != "none" and first:
            self.hit(c, kind, owner)
            self.nap(0.1)
        if w.replica:
            w.fail_over_redis()
            self.nap(0.3)
            w.replace_replica()
        else:
            w.redis_server = w.redis("10.6.0.50")

    def simple(self, c, owner):
        node = owner
        if c.kind == "standby":
            node = self.random.choice(self.others(owner))
        self.hit(c, c.kind, node)
        if node is not owner:
            self.nap(0.2)
            return
        self.wait_taken(c, node)
        self.nap(0.15)

    # ---- one crash

    def crash(self, kind):
        owner = wait_until("somebody serves", self.world.settled)
        if self.random.random() < 0.5:  # clients at the door
            self.load.knock(self.random.randrange(1, 10))
            self.nap(0.006)
        self.load.crashed("%s of %s" % (kind, owner.name))
        c = Crash(len(self.crashes), kind, owner)
        self.crashes.append(c)
        several = {"uncommitted": self.uncommitted, "restart": self.restart, "restoring": self.restoring,
                   "relay": self.relay, "resync": self.resync, "both": self.both, "store": self.store}
        several.get(kind, self.simple)(c, owner)
        for node in self.random.sample(self.world.nodes, len(self.world.nodes)):
            self.repair("", node)
        c.healed = time.monotonic()
        wait_until("%s: all are there and synced" % self.name_of(c), self.all_back)
        c.settled = time.monotonic()
        self.load.settled(c.settled)
        return c

    def pick(self):
        kinds = [k for k in self.kinds if k != "store" or self.world.store == "redis"]
        return self.random.choices(kinds, [self.kinds[k] for k in kinds])[0]

    def run(self, count, on_crash=None, pause=0.25, deadline=None, limit=None):
        """deadline: no crash is begun later; limit: it is a problem not to be done by then."""
        for number in range(count):
            if limit and time.monotonic() > limit:
                self.problems.append("only %d of %d crashes in the time allowed" % (number, count))
            if self.problems or deadline and time.monotonic() > deadline:
                return
            # now and then it is left alone for longer: who repeats but seldom must be heard, too
            time.sleep(self.random.random() * (pause if self.random.random() < 0.9 else REST_S))
            c = self.crash(self.pick())
            if on_crash:
                on_crash(c)
            if self.load.problems or not self.load.is_alive():
                return

    def finish(self, seconds=150):
        """Lets the connections end."""
        self.load.stop()
        self.load.join(seconds)
        if self.load.is_alive():
            self.problems.append("%d connections have not ended within %d s: %s" % (
                len(self.load.by_fd), seconds, "; ".join(f.name for f in list(self.load.by_fd.values())[:8])))

    def judge_wire(self):
        """Ends the capture."""
        if not self.world.capture:
            return
        wire = self.wire = self.world.wire_result()
        for name in Wire.FINDINGS:
            if wire[name]:
                self.problems.append("%d of '%s' on the wire: %s" % (len(wire[name]), name, "; ".join(wire[name][:3])))
        logs = {n.name: n.whole_log() for n in self.world.nodes}
        strikes = [(node, at, c.settled or float("inf")) for c in self.crashes for node, at in c.struck]
        self.answers, findings = served.judge(wire, served.well(logs, strikes), time.time() - time.monotonic())
        self.problems += findings
        if wire["dropped"]:
            self.problems.append("the capture lacks %d packets" % wire["dropped"])
        if not wire["packets"]:
            self.problems.append("the capture is empty")

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
            "crashes": len(self.crashes), "strikes": self.strikes, "left_out": self.left_out,
            "wire": self.wire and {k: len(v) if isinstance(v, list) else v for k, v in self.wire.items() if k not in Wire.REPEATS},
            "answers": self.answers, "kinds": per_kind, "connections": load.connections,
            "requests": load.requests, "bytes": load.bytes_down + load.bytes_up, "bytes_down": load.bytes_down,
            "bytes_up": load.bytes_up, "connections_lost": load.lost, "bytes_lost": load.bytes_lost,
            "bytes_corrupted": load.bytes_corrupted, "resets": load.resets, "paws": kernel["TcpExtPAWSEstab"],
            "acknowledged_checks": load.acknowledged_checks, "kernel": kernel,
            "gap_ms": quantiles(sorted(down + up)), "gap_down_ms": quantiles(down), "gap_up_ms": quantiles(up),
            "patient": len(load.patient), "slow_connects": sum(1 for t, _ in load.connect_times if t > 0.9),
            "connect_max_ms": round(max((t for t, _ in load.connect_times), default=0) * 1000),
            "longest_gaps": self.longest_gaps(), "duration_s": round(time.monotonic() - self.began, 1), "problems": problems,
        }

    def longest_gaps(self, count=5):
        """(ms, "download/4 ..."'s kind, what the crash was), the longest first."""
        every = [(max(g) * 1000, kind, self.name_of(self.crashes[n])) for n, flows in self.load.gaps.items()
                 for kind, g in flows if n < len(self.crashes)]
        return [(round(ms), kind, name) for ms, kind, name in sorted(every, reverse=True)[:count]]

    def keep_logs(self, folder):
        self.world.keep_logs(folder)
        with open(os.path.join(folder, "crashes"), "w") as f:
            for c in self.crashes:
                f.write("%4d  %.6f  %-8s of %s (%s), taken by %s after %s ms, repaired %s, settled %s\n" % (
                    c.number, c.date, c.kind, c.node, "; ".join(c.strikes), c.to,
                    *("%.1f" % ((t - c.at) * 1000) if t else "-" for t in (c.taken, c.healed, c.settled))))

    def close(self):
        if self.load:
            self.load.stop()
        self.world.close()
