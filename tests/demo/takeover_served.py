# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""When a group was served, from the daemons' own logs and from what was done to the nodes; and the judgement of clients'
repeats (takeover_wire.py): one in a time of service that nobody answers is a finding, whatever happens later.

A client whose repeats all fall into outages waits long, as the time to the next one doubles; that is nobody's fault. One that
a serving node does not answer looks the same at the client: only the wire, and these times, tell the two apart.
"""
import re

SETTLE_S = 0.25  # after a node said that it serves: it makes the connections again, some hundred at most
ANSWER_S = 0.1  # so long before the service ends a repeat has to be there to be judged
SERVES = re.compile(r"\s*(\d+\.\d+) (?:warning: )?node \S+ serves")
SERVES_NOT = re.compile(r"\s*(\d+\.\d+) (?:(?:warning: )?node \S+ (?:stands by|has no contact)|.*: ready as server|.*: stopping)")


def serving(log):
    """[(from, until)] in the log's clock (CLOCK_MONOTONIC, s), of all a node's daemons; the last may have no end."""
    out, since = [], None
    for line in log.splitlines():
        begins, ends = SERVES.match(line), SERVES_NOT.match(line)
        if begins and since is None:
            since = float(begins[1])
        elif ends and since is not None:
            out.append((since, float(ends[1])))
            since = None
    return out + ([(since, float("inf"))] if since is not None else [])


def without(periods, unfit):
    """The parts of `periods` that none of `unfit` touches."""
    out = []
    for begin, end in periods:
        for a, b in sorted(unfit):
            if b <= begin or a >= end:
                continue
            if a > begin:
                out.append((begin, a))
            begin = b
            if begin >= end:
                break
        if begin < end:
            out.append((begin, end))
    return out


def well(logs, strikes):
    """[(from, until)]: a repeat in between has to be answered. logs: node -> log; strikes: (node or None for all of them,
    from, until when it may be unfit to serve)."""
    out = []
    for node, log in logs.items():
        unfit = [(a, b) for n, a, b in strikes if n in (node, None)]
        out += [(a + SETTLE_S, b - ANSWER_S) for a, b in without(serving(log), unfit) if b - a > SETTLE_S + ANSWER_S]
    return sorted(out)


def judge(wire, periods, ahead):
    """What to say of it: ({figure: number}, [finding]). The wire's clock is `ahead` of the logs'."""
    def served(*times):
        return any(all(a <= t - ahead <= b for t in times) for a, b in periods)

    findings = ["%.6f port %d: nobody answered a repeat (%s) of a client%s, though the group was served" % (
        at, port, kind, " before %.0f ms were over" % ms if ms else "")
        for at, port, kind, ms in wire["silent"] if served(at)]
    findings += ["%.6f port %d: what answered a client's repeats (%s) for %.1f s told nothing, though the group was served" % (
        since, port, kind, until - since) for since, port, kind, until in wire["stuck"] if served(since, until)]
    return {"repeats": len(wire["repeats"]), "judged": sum(served(at) for at, _ in wire["repeats"]), "unanswered": len(findings),
            "served_s": round(sum(b - a for a, b in periods if b < float("inf")), 1)}, findings
