# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the gate costs a client that sends: one stream of data, and requests with an answer after the commit."""
from lab import median
from takeover_lab import Group, VIP

IDS = ["ackgate_throughput_ratio", "ackgate_throughput_each_ratio", "ackgate_rr_added_us"]
ROUNDS = 7
UPLOAD_MS = 1500
REQUESTS = 3000
KINDS = {"plain": (7000, False, ()), "each": (7001, True, ()), "1 ms": (7002, True, ("-i", "1"))}
ASKED = {"plain": (7003, False, ("-e",)), "each": (7004, True, ("-e",))}


def serve(lab, owner, kinds):
    for port, guard, args in kinds.values():
        lab.serve(owner, "sink", *args, "-a", VIP, "-p", str(port), guard=guard)


def upload(lab, rounds, *more):
    got = {kind: [] for kind in KINDS}
    for i in range(rounds):
        kinds = list(KINDS.items())
        for kind, (port, _, _) in kinds if i % 2 else reversed(kinds):
            got[kind].append(lab.measure("upload", VIP, str(port), str(UPLOAD_MS), *more))
    return got


def figures(got, kind, name):
    return [g[name] for g in got[kind]]


def throughput(report, lab, more="", rounds=ROUNDS):
    got = upload(lab, rounds)
    plain = figures(got, "plain", "mb_s")
    for kind, id_ in (("1 ms", "ackgate_throughput_ratio"), ("each", "ackgate_throughput_each_ratio")):
        mine = figures(got, kind, "mb_s")
        report(id_, "one stream through the gate, %s: %.0f MB/s; unguarded %.0f MB/s%s" % (
            "a commit at most each ms" if kind == "1 ms" else "a commit each read", median(mine), median(plain), more),
               [m / p for m, p in zip(mine, plain)], "ratio", 0.9 if kind == "1 ms" else None, ">=",
               rival="the same server without guard (MB/s)", rival_value=median(plain))
    return got


def requests(report, lab):
    got = {kind: [] for kind in ASKED}
    for _ in range(ROUNDS):
        for kind, (port, _, _) in ASKED.items():
            got[kind].append(lab.measure("ask", VIP, str(port), str(REQUESTS)))
    plain, mine = (figures(got, kind, "median_us") for kind in ("plain", "each"))
    report("ackgate_rr_added_us", "a request of 100 octets, one octet back when its commit is: %.1f us, unguarded %.1f us" % (
        median(mine), median(plain)), [m - p for m, p in zip(mine, plain)], "us", 100, "<=",
           rival="the same server without guard (us)", rival_value=median(plain))


def measure(report, wanted):
    with Group() as lab:
        owner = lab.owner()
        serve(lab, owner, KINDS)
        serve(lab, owner, ASKED)
        if wanted("ackgate_throughput_ratio", "ackgate_throughput_each_ratio"):
            throughput(report, lab)
        if wanted("ackgate_rr_added_us"):
            requests(report, lab)
