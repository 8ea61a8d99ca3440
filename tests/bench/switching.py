# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a switch costs an application: a numbered message every millisecond, its echo, and what is missing.

             w1 10.1.0.2      a1
    mobile ─┬──────────────── r ┐
            └──────────────── r ┴─ anchor ─ server 10.9.0.10
             w2 10.2.0.2      a2
"""
import fcntl
import json
import socket
import struct
import sys
import threading
import time

from lab import Failed, Lab, helper, median, p95, wait_for

SERVER = "10.9.0.10"
INTERVAL_US = 1000
SWITCHES = 12
CUTS = 10
TCP_ROUNDS = 5  # of cuts; MPTCP too
TCP_DOWNS = 12
FLOWS = 1000000
MILLION_ROUNDS = 20
MPTCP_WAIT = 1.5  # s for it to find the other path
BEFORE = 0.4  # s of a stream, undisturbed, before anything happens to it
RTT_S = 0.5  # of messages whose round trips are measured
WINDOW = 0.25  # s after a switch
PROBES = ("udp", "tcp")

ANCHOR = """[holdfast]
role = anchor
points = 10.3.0.2
pool = 10.77.0.0/24
interfaces = p0, l0
mode = tc
max-flows = 1100000
max-flows-per-association = 1100000
[mobile laptop]
key = @KEY@
[service udp]
protocol = udp
server = 10.9.0.10:9000
emulator = 29000
[service tcp]
server = 10.9.0.10:9000
emulator = 29000
"""
MOBILE = """[holdfast]
role = mobile
id = laptop
max-flows = 1100000
max-flows-per-association = 1100000
[anchor home]
key = @KEY@
points = 10.3.0.2
[uplink w1]
cost = 10
[uplink w2]
cost = 20
"""
SIDE = {"w1": "a1", "w2": "a2"}
OTHER = {"w1": "w2", "w2": "w1"}


class Roaming(Lab):
    """`holdfast` is False for the rivals: the same network alone."""

    def __init__(self, holdfast=True):
        super().__init__("m", "r", "a", "s")
        self.holdfast = holdfast

    def __enter__(self):
        super().__enter__()
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def build(self):
        for a, da, b, db in (("m", "w1", "r", "a1"), ("m", "w2", "r", "a2"), ("r", "rp", "a", "p0"), ("a", "l0", "s", "s0")):
            self.link(a, da, b, db)
        for ns, dev, address in (("m", "w1", "10.1.0.2/24"), ("r", "a1", "10.1.0.1/24"), ("m", "w2", "10.2.0.2/24"),
                                 ("r", "a2", "10.2.0.1/24"), ("r", "rp", "10.3.0.1/24"), ("a", "p0", "10.3.0.2/24"),
                                 ("a", "l0", "10.9.0.1/24"), ("s", "s0", "10.9.0.10/24")):
            self.addr(ns, dev, address)
        self.forward("r", "a")
        self.routes()
        self.ip("a", "route", "add", "default", "via", "10.3.0.1")
        self.ip("s", "route", "add", "default", "via", "10.9.0.1")
        if not self.holdfast:
            self.ip("r", "route", "add", "10.9.0.0/24", "via", "10.3.0.2")
        for proto in ("udp", "tcp") if self.holdfast else ("mptcp",):
            self.spawn("s", helper("ticker"), "echo", proto, SERVER, "9000")
        if self.holdfast:
            self.start("a", ANCHOR)
            self.start("m", MOBILE)
            self.connected("m", "a")
            self.ready()

    def routes(self):
        """A link that was down has lost its own."""
        for dev, via, metric in (("w1", "10.1.0.1", "100"), ("w2", "10.2.0.1", "200")):
            self.ip("m", "route", "replace", "default", "via", via, "dev", dev, "metric", metric)

    def ready(self):
        for dev in SIDE:
            wait_for(10, "standby path over %s" % dev, lambda dev=dev: self.usable("m", dev))

    def rtt(self):
        """Median round trip of the messages in ms."""
        with Ticker(self, "udp") as t:
            time.sleep(RTT_S)
        return t.rtt

    def switch(self):
        """Planned, to the other link; what the daemon says of it."""
        done = json.loads(self.hf("m", "switch", "--json", "--to", OTHER[self.current("m")]))
        self.connected("m", "a")
        return done

    def cut(self, dev):
        side = SIDE[dev]
        self.cmd("r", "nft", "-f", "-", input='table inet cut_%s { chain c { type filter hook forward priority 0; '
                 'iifname "%s" drop; oifname "%s" drop; }; }' % (side, side, side))

    def heal(self, dev):
        self.cmd("r", "nft", "delete", "table", "inet", "cut_" + SIDE[dev], check=False)


class Ticker:
    """A stream of numbered messages while the block runs."""

    def __init__(self, lab, proto, interval=INTERVAL_US):
        self.child = lab.spawn("m", helper("ticker"), "send", proto, SERVER, "9000", str(interval), stdin=-1, stdout=-1)
        self.out = []
        # its report is longer than a pipe
        self.reader = threading.Thread(target=lambda: self.out.append(self.child.stdout.read()))
        self.reader.start()
        time.sleep(BEFORE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.reader.join(10)
        if not self.out or not self.out[0]:
            raise Failed("the stream broke off")
        got = json.loads(self.out[0])
        self.sent = got["sent"]
        self.times = [t / 1e9 for _, t in got["came"]]
        self.numbers = {n for n, _ in got["came"]}
        self.rtt = median([(ns - self.sent[n]) / 1e6 for n, ns in got["came"]])
        self.lost = len(self.sent) - len(self.numbers)

    def pause(self, start, end):
        """The longest time without an arrival that begins or ends in the window, in ms."""
        inside = [b - a for a, b in zip(self.times, self.times[1:]) if b > start and a < end]
        return max(inside, default=end - start) * 1000

    def after(self, moment):
        """ms until the next arrival."""
        return min((t - moment for t in self.times if t > moment), default=float("inf")) * 1000


class Told:
    """When the kernel of a namespace says that something about its links or addresses has changed."""

    def __init__(self, lab, ns):
        def listen():
            lab.enter(ns)()
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self.socket.bind((0, 0x1 | 0x10))  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR
            # the same thread takes links down, for namespaces belong to threads
            self.ioctl = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.within(listen)

    @staticmethod
    def within(what):
        t = threading.Thread(target=what)
        t.start()
        t.join()

    def down(self, dev):
        """Takes the link down; returns when that began and when it was told."""
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(65536)
        except BlockingIOError:
            pass
        moments = []

        def listen():
            self.socket.settimeout(2)
            self.socket.recv(65536)
            moments.append(time.monotonic())

        listener = threading.Thread(target=listen)
        listener.start()
        began = time.monotonic()
        name = struct.pack("16sh14x", dev.encode(), 0)
        flags = struct.unpack_from("16xh", fcntl.ioctl(self.ioctl, 0x8913, name))[0]  # SIOCGIFFLAGS
        fcntl.ioctl(self.ioctl, 0x8914, struct.pack("16sh14x", dev.encode(), flags & ~1))  # SIOCSIFFLAGS
        listener.join()
        return began, moments[0]


def planned(report, lab, proto, rtt):
    baseline, pauses, lost, took = [], [], 0, []
    for _ in range(2):
        with Ticker(lab, proto) as t:
            spans = []
            for _ in range(SWITCHES // 2):
                quiet = time.monotonic()
                time.sleep(WINDOW)
                start = time.monotonic()
                took.append(lab.switch()["last_switch_us"] / 1000)
                time.sleep(WINDOW)
                spans.append((quiet, start, time.monotonic()))
        lost += t.lost
        baseline += [t.pause(q, q + WINDOW) for q, _, _ in spans]
        pauses += [t.pause(s, e) for _, s, e in spans]
    usual = median(baseline)
    extra = [max(0.0, p - usual) for p in pauses]
    what = "%d make-before-break switches, both links up, %s, a message every %g ms, RTT %.1f ms; " % (
        len(pauses), proto.upper(), INTERVAL_US / 1000, rtt)
    if proto == "udp":
        report("planned_lost_packets", what + "messages without an echo", [lost / len(pauses)] * len(pauses), "packets", 0, "<=",
               value=lost, digits=0)
    report("planned_gap_ms" if proto == "udp" else "planned_gap_tcp_ms",
           what + "longest pause %.2f ms, less that of as long a time without a switch, %.2f ms; the switch itself took %.1f ms" % (
               median(pauses), usual, median(took)), extra, "ms", round(rtt + 2, 1), "<=")


def rival(proto, value):
    return {} if proto == "udp" or value is None else {
        "rival": "MPTCP (in-kernel path manager, second address as backup) on the same links (ms)", "rival_value": value}


def unexpected(report, lab, proto, rtt, told, rivals):
    gaps, pauses = [], []
    for _ in range(CUTS if proto == "udp" else TCP_DOWNS):
        dev = lab.current("m")
        with Ticker(lab, proto) as t:
            began, moment = told.down(dev)
            wait_for(10, "the other link", lambda: lab.current("m") == OTHER[dev])
            time.sleep(WINDOW)
        gaps.append(t.after(moment))
        pauses.append(t.pause(began, moment + WINDOW))
        lab.ip("m", "link", "set", dev, "up")
        lab.routes()
        lab.connected("m", "a")
        lab.ready()
    report("unexpected_gap_ms" if proto == "udp" else "unexpected_gap_tcp_ms",
           "the link in use goes down at the mobile, the other is up: from the kernel's word to the first echo over the other path, "
           "%s, RTT %.1f ms; the whole pause, with the command's own time, %.1f ms; %d of %d took more than 100 ms, the longest %.0f" % (
               proto.upper(), rtt, median(pauses), sum(g > 100 for g in gaps), len(gaps), max(gaps)),
           gaps, "ms", round(rtt + 10, 1), "<=", **rival(proto, rivals.get("down")))


def silent(report, lab, proto, rtt, rivals):
    pauses = []
    for _ in range(CUTS if proto == "udp" else TCP_ROUNDS):
        dev = lab.current("m")
        with Ticker(lab, proto) as t:
            start = time.monotonic()
            lab.cut(dev)
            wait_for(10, "the other link", lambda: lab.current("m") == OTHER[dev])
            time.sleep(WINDOW)
            end = time.monotonic()
        pauses.append(t.pause(start, end))
        lab.heal(dev)
        lab.connected("m", "a")
        lab.ready()
    report("silent_death_ms" if proto == "udp" else "silent_death_tcp_ms",
           "packets vanish in the network, nothing is told: last echo over the old path to the first over the other, %s, RTT %.1f ms%s" % (
               proto.upper(), rtt, "" if proto == "udp" else "; no goal of its own: nothing but TCP's own timer, 200 ms at least, sends again "
               "what the dead path took"), pauses, "ms", *((100, "<=") if proto == "udp" else (None, None)), **rival(proto, rivals.get("silent")))


def million(report, few, many):
    """Two associations alike, one with next to no flows, one with a million in the maps of both ends; they take turns."""
    for ns in ("a", "m"):
        got = json.loads(many.cmd(ns, helper("million"), "fill", many.pin(ns, "maps"), str(many.assoc(ns)["index"]),
                                  str(FLOWS), timeout=60))
        if got["flows"] < FLOWS:
            raise Failed("only %d flows fitted" % got["flows"])
    took = {few: [], many: []}
    for i in range(MILLION_ROUNDS + 1):
        for lab in (few, many) if i % 2 else (many, few):
            us = lab.switch()["last_switch_us"]
            if i:
                took[lab].append(us / 1000)
    if not all(1 <= n <= 100 for n in (few.assoc("a")["flows"],)) or many.assoc("a")["flows"] < FLOWS:
        raise Failed("the flows are not what they should be")
    report("switch_1m_vs_1_ratio", "a planned switch with %d flows at both ends, %.2f ms (p95 %.2f), against one with %d, "
           "%.2f ms (p95 %.2f), as the daemon reports it; p95 is that of each round's ratio" % (
               many.assoc("a")["flows"], median(took[many]), p95(took[many]), few.assoc("a")["flows"], median(took[few]),
               p95(took[few])),
           [m / f for m, f in zip(took[many], took[few])], "ratio", 1.2, "<=",
           rival="an association with hardly any flows (ms)", rival_value=median(took[few]),
           value=median(took[many]) / median(took[few]))


def multipath(report):
    """MPTCP between the same hosts over the same links, the second address a backup: what TCP's own way of roaming costs."""
    with Roaming(False) as lab:
        lab.cmd("m", "ip", "mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2")
        lab.cmd("s", "ip", "mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2")
        lab.cmd("m", "ip", "mptcp", "endpoint", "add", "10.2.0.2", "dev", "w2", "subflow", "backup")
        # an address has to leave by its own link
        lab.ip("m", "rule", "add", "from", "10.2.0.2", "lookup", "102")
        lab.ip("m", "route", "add", "default", "via", "10.2.0.1", "dev", "w2", "table", "102")
        told = Told(lab, "m")
        gaps = {"down": [], "silent": []}
        for way in gaps:
            for _ in range(TCP_ROUNDS):
                with Ticker(lab, "mptcp") as t:
                    start = time.monotonic()
                    if way == "down":
                        _, start = told.down("w1")
                    else:
                        lab.cut("w1")
                    time.sleep(MPTCP_WAIT)
                    end = time.monotonic()
                gaps[way].append(t.after(start) if way == "down" else t.pause(start, end))
                lab.ip("m", "link", "set", "w1", "up")
                lab.heal("w1")
                lab.routes()
        return {way: median(g) for way, g in gaps.items()}


def measure(report, wanted):
    rivals = {}
    if wanted("unexpected_gap_tcp_ms", "silent_death_tcp_ms"):
        try:
            rivals = multipath(report)
        except (Failed, OSError) as e:
            print("MPTCP could not be measured: %s" % e, file=sys.stderr)
    with Roaming() as lab:
        rtt = lab.rtt()
        told = Told(lab, "m")
        for proto in PROBES:
            tcp = "_tcp" if proto == "tcp" else ""
            if wanted(*["planned_lost_packets"][:not tcp], "planned_gap%s_ms" % tcp):
                planned(report, lab, proto, rtt)
            if wanted("unexpected_gap%s_ms" % tcp):
                unexpected(report, lab, proto, rtt, told, rivals)
            if wanted("silent_death%s_ms" % tcp):
                silent(report, lab, proto, rtt, rivals)
        if wanted("switch_1m_vs_1_ratio"):
            with Roaming() as other:
                million(report, lab, other)


IDS = ["planned_lost_packets", "planned_gap_ms", "planned_gap_tcp_ms", "unexpected_gap_ms", "unexpected_gap_tcp_ms",
       "silent_death_ms", "silent_death_tcp_ms", "switch_1m_vs_1_ratio"]
