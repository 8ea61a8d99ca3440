# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A forwarding anchor on XDP against nftables' masquerade and plain forwarding, on veth pairs laid out alike.

    generator g0 ─ p0 anchor l0 ─ s0 sink

The generator writes UDP frames of 64 octets from a counter and puts them into the veth as XDP frames; the sink counts and drops in XDP.
Each contestant has namespaces of its own; they take turns.
"""
import json
import os

from lab import BUILD, HERE, Failed, Lab, helper, median, run

ROUNDS = 5
PACKETS = 500000
COUNTS = (("1", 1), ("1k", 1000), ("50k", 50000))
FIRST = 2000  # source ports from here on
GOAL = 4

ANCHOR = """[holdfast]
role = anchor
points = 10.1.0.1
pool = 10.77.0.0/24
interfaces = p0, l0
mode = xdp
[mobile laptop]
key = @KEY@
[service udp]
protocol = udp
server = 10.9.0.10:9000
emulator = 29000
"""
MOBILE = """[holdfast]
role = mobile
id = laptop
[anchor home]
key = @KEY@
points = 10.1.0.1
[uplink g0]
cost = 10
"""
MASQUERADE = """table ip bench {
	chain post {
		type nat hook postrouting priority srcnat;
		oifname "l0" masquerade
	}
}
"""


def program():
    """The generator and the sink, compiled for this machine."""
    out = os.path.join(BUILD, "bench/traffic.bpf.o")
    os.makedirs(os.path.dirname(out), exist_ok=True)
    triplet = run("cc", "-print-multiarch").strip()
    run(os.environ.get("CLANG", "clang"), "-std=gnu11", "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall",
        "-idirafter", "/usr/include/" + triplet, "-c", os.path.join(HERE, "bpf/traffic.bpf.c"), "-o", out)
    return out


class Contestant:
    """Three namespaces in a row; `holdfast`: daemons at both ends, else the kernel forwards."""

    def __init__(self, holdfast):
        self.holdfast = holdfast
        self.object = program()
        self.lab = lab = Lab("g", "a", "s")
        lab.__enter__()
        try:
            self.build()
        except BaseException:
            lab.close()
            raise

    def build(self):
        lab = self.lab
        lab.link("g", "g0", "a", "p0")
        lab.link("a", "l0", "s", "s0")
        lab.addr("g", "g0", "10.1.0.2/24")
        lab.addr("a", "p0", "10.1.0.1/24")
        lab.addr("a", "l0", "10.9.0.1/24")
        lab.addr("s", "s0", "10.9.0.10/24")
        lab.ip("g", "route", "add", "default", "via", "10.1.0.1")
        lab.ip("s", "route", "add", "default", "via", "10.9.0.1")
        # XDP frames enter a veth only where it, and its other end, are ready for them
        for ns, dev in (("g", "g0"), ("a", "p0"), ("a", "l0")):
            if not self.holdfast or ns == "g":
                lab.cmd(ns, "ethtool", "-K", dev, "gro", "on")
        # and those that begin as socket buffers must have whole checksums
        for ns, dev in (("g", "g0"), ("s", "s0"), ("a", "p0"), ("a", "l0")):
            lab.cmd(ns, "ethtool", "-K", dev, "tx-checksumming", "off")
        lab.forward("a")
        if self.holdfast:
            lab.start("a", ANCHOR)
            lab.start("g", MOBILE)
            lab.connected("g")
            self.target = "10.1.0.1:29000"
        else:
            self.target = "10.9.0.10:9000"
        self.sink = lab.spawn("s", helper("flood"), "sink", self.object, "s0", "10.9.0.10", "9000", stdin=-1, stdout=-1)
        if self.sink.stdout.readline() != "ready\n":
            raise Failed("the sink does not start")
        # neighbours known before the first packet
        lab.cmd("a", "ping", "-qc", "1", "-W", "2", "10.9.0.10")
        lab.cmd("a", "ping", "-qc", "1", "-W", "2", "10.1.0.2")
        self.mac = json.loads(lab.cmd("a", "ip", "-j", "link", "show", "p0"))[0]["address"]

    def masquerade(self, on):
        if on:
            self.lab.cmd("a", "nft", "-f", "-", input=MASQUERADE)
        else:
            self.lab.cmd("a", "nft", "flush", "ruleset")

    def seen(self):
        self.sink.stdin.write("\n")
        self.sink.stdin.flush()
        return json.loads(self.sink.stdout.readline())["seen"]

    def flood(self, flows, packets):
        """Mpps that reach the sink."""
        before = self.seen()
        sent = json.loads(self.lab.cmd("g", helper("flood"), "send", self.object, "g0", self.mac, "10.1.0.2:%d" % FIRST,
                                       self.target, str(flows), str(packets)))
        came = self.seen() - before
        if not came:
            raise Failed("nothing comes through")
        return came / sent["seconds"] / 1e6


def measure(report, wanted):
    ours = Contestant(True)
    try:
        theirs = Contestant(False)
        try:
            race(report, wanted, ours, theirs)
        finally:
            theirs.lab.close()
    finally:
        ours.lab.close()


def race(report, wanted, ours, theirs):
    for name, flows in COUNTS:
        if not wanted("xdp_vs_nft_" + name):
            continue
        rates = {"xdp": [], "nft": [], "plain": []}
        for i in range(ROUNDS + 1):
            for who in ("xdp", "nft", "plain") if i % 2 else ("plain", "nft", "xdp"):
                if who != "xdp":
                    theirs.masquerade(who == "nft")
                # all flows are there before it counts
                contestant = ours if who == "xdp" else theirs
                if who == "nft" or not i:
                    contestant.flood(flows, flows)
                rate = contestant.flood(flows, PACKETS)
                if i:
                    rates[who].append(rate)
        theirs.masquerade(False)
        ratios = [a / b for a, b in zip(rates["xdp"], rates["nft"])]
        mid = {who: median(r) for who, r in rates.items()}
        report("xdp_vs_nft_" + name,
               "forwarding anchor on XDP (native, veth, one CPU makes, forwards and counts), %d flow%s: %.2f Mpps; masquerade %.2f; "
               "plain forwarding %.2f, which is %.2f times less" % (flows, "s"[:flows > 1], mid["xdp"], mid["nft"],
                                                                   mid["plain"], mid["xdp"] / mid["plain"]),
               ratios, "times", GOAL, ">=", rival="nftables masquerade on the same topology (Mpps)", rival_value=mid["nft"],
               digits=2)


IDS = ["xdp_vs_nft_" + name for name, _ in COUNTS]
