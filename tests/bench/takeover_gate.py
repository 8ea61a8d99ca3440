# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the gate costs a client that sends: one stream of data, and requests with an answer after the commit.

A gate that is raised each ms makes the path a ms longer, whoever makes it: what a sender has under way, divided by that, is the most
that it can send. Linux lets no more than 4 MB of a stream wait for an acknowledgement unless told otherwise (tcp_wmem), which is
4 GB/s, less than this machine copies. So the ratio is measured where the client's limit is 16 MB, guarded and unguarded, on a path
without a limit of its own; what a client with the default sees is another figure, and has no goal. (tcp_rmem is 32 MB from 6.17 on;
older kernels limit what the server offers to 6 MB.) On paths of 1 and 10 Gbit/s the default does.

The client's congestion control is Reno, with the guard and without, whatever this machine's is: CUBIC's HyStart ends slow start
early where a commit takes longer than the path (here 0.02 ms, told by the handshake), and grows by a MB a second from there on; BBR
sends at the rate that it has seen. Client, server and both nodes share the processors here, and what the gate takes is taken from
them.
"""
import subprocess
import sys

import takeover_rivals
from lab import Failed, median, undisturbed
from takeover_lab import Group, VIP

IDS = ["ackgate_throughput_ratio", "ackgate_throughput_4mb_ratio", "ackgate_throughput_each_ratio", "ackgate_throughput_cubic_ratio",
       "ackgate_throughput_1g_ratio", "ackgate_throughput_10g_ratio", "ackgate_rr_added_us"]
STREAMS = IDS[:4]
ROUNDS = 7
PACED_ROUNDS = 5
UPLOAD_MS = 1000
REQUESTS = 3000
RENO, CUBIC = "reno", "cubic"
# tcp_wmem of the client: what Linux sets, and four times as much
USUAL, WIDE = "4096 16384 4194304", "4096 16384 16777216"
KINDS = {"plain": (7000, False, ()), "each": (7001, True, ()), "1 ms": (7002, True, ("-i", "1"))}
ASKED = {"plain": (7003, False, ("-e",)), "each": (7004, True, ("-e",))}
QUEUED = {"queue": (7005, ()), "queue, asked": (7006, ("-e",))}


def serve(lab, owner, kinds):
    for port, guard, args in kinds.values():
        lab.serve(owner, "sink", *args, "-a", VIP, "-p", str(port), guard=guard)


def one(lab, kind, control=RENO, *more):
    port = QUEUED[kind][0] if kind in QUEUED else KINDS[kind][0]
    return lab.measure("upload", VIP, str(port), str(UPLOAD_MS), control, *more)["mb_s"]


def upload(lab, rounds, kinds):
    """MB/s by (kind, buffer, congestion control)."""
    got = {kind: [] for kind in kinds}
    for i in range(rounds):
        for kind in kinds if i % 2 else reversed(kinds):
            lab.sysctl("c", tcp_wmem=kind[1])
            got[kind].append(undisturbed(lambda: one(lab, kind[0], kind[2])))
    lab.sysctl("c", tcp_wmem=USUAL)
    return got


def tell(report, id_, what, mine, plain, goal):
    report(id_, "one stream, %s: %.0f MB/s; unguarded %.0f MB/s" % (what, median(mine), median(plain)),
           [m / p for m, p in zip(mine, plain)], "ratio", goal, ">=", rival="the same server without guard (MB/s)",
           rival_value=median(plain), value=median(mine) / median(plain))


def throughput(report, lab, queued):
    kinds = [("plain", USUAL, RENO), ("1 ms", USUAL, RENO), ("plain", WIDE, RENO), ("1 ms", WIDE, RENO), ("each", WIDE, RENO),
             ("plain", WIDE, CUBIC), ("1 ms", WIDE, CUBIC)] + [("queue", WIDE, RENO)] * queued
    got = upload(lab, ROUNDS, kinds)
    usual, wide = got["plain", USUAL, RENO], got["plain", WIDE, RENO]
    queue = "; a gate made of a queue of netfilter %.0f MB/s" % median(got["queue", WIDE, RENO]) if queued else ""
    tell(report, "ackgate_throughput_ratio", "a commit at most each ms, no limit of rate; the client lets 16 MB wait for an acknowledgement, "
         "guarded and unguarded (%.0f MB/s), and the rival is the better of that and of 4 MB unguarded (%.0f MB/s)%s" % (
             median(wide), median(usual), queue), got["1 ms", WIDE, RENO], max(wide, usual, key=median), 0.9)
    tell(report, "ackgate_throughput_4mb_ratio", "a commit at most each ms, no limit of rate; the client lets 4 MB wait for an acknowledgement, "
         "guarded and unguarded: its own limit is 4194 MB/s at an acknowledgement each ms", got["1 ms", USUAL, RENO], usual, None)
    tell(report, "ackgate_throughput_each_ratio", "a commit each read, 16 MB", got["each", WIDE, RENO], wide, None)
    tell(report, "ackgate_throughput_cubic_ratio", "a commit at most each ms, 16 MB, CUBIC, its first second and a half",
         got["1 ms", WIDE, CUBIC], got["plain", WIDE, CUBIC], None)


def paced(report, lab):
    """A path of that rate: the client's kernel paces what it sends."""
    for id_, rate in (("ackgate_throughput_1g_ratio", 1), ("ackgate_throughput_10g_ratio", 10)):
        got = {kind: [] for kind in ("plain", "1 ms")}
        for _ in range(PACED_ROUNDS):
            for kind, values in got.items():
                values.append(undisturbed(lambda: one(lab, kind, RENO, str(rate * 125000000))))
        tell(report, id_, "%d Gbit/s paced by its sender, a commit at most each ms" % rate, got["1 ms"], got["plain"], 0.9)


def requests(report, lab, queued):
    ports = {kind: port for kind, (port, _, _) in ASKED.items()}
    if queued:
        ports["queue"] = QUEUED["queue, asked"][0]
    got = {kind: [] for kind in ports}
    for _ in range(ROUNDS):
        for kind, port in ports.items():
            got[kind].append(undisturbed(lambda: lab.measure("ask", VIP, str(port), str(REQUESTS)))["median_us"])
    plain, mine = got["plain"], got["each"]
    report("ackgate_rr_added_us", "a request of 100 octets, one octet back when its commit is: %.1f us, unguarded %.1f us%s" % (
        median(mine), median(plain), "; a gate made of a queue of netfilter %.1f us" % median(got["queue"]) if queued else ""),
           [m - p for m, p in zip(mine, plain)], "us", 100, "<=", rival="the same server without guard (us)", rival_value=median(plain))


def queue(lab, owner):
    try:
        takeover_rivals.queue(lab, owner, QUEUED)
        return True
    except (Failed, OSError, subprocess.SubprocessError) as e:
        print("SKIP a gate made of a queue of netfilter: %s" % e, file=sys.stderr)
        return False


def measure(report, wanted):
    with Group() as lab:
        owner = lab.owner()
        serve(lab, owner, KINDS)
        serve(lab, owner, ASKED)
        queued = wanted("ackgate_throughput_ratio", "ackgate_rr_added_us") and queue(lab, owner)
        if wanted(*STREAMS):
            throughput(report, lab, queued)
        if wanted("ackgate_throughput_1g_ratio", "ackgate_throughput_10g_ratio"):
            paced(report, lab)
        if wanted("ackgate_rr_added_us"):
            requests(report, lab, queued)
