#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Random crashes of servers under load, each byte verified.

    tests/soak/takeover.py --bin DIR [--crashes 1000] [--store direct|redis] [--nodes 2] [--replica] [--seed N] [--only KIND]

Exit status 0 only if no connection was lost, no byte lost or wrong, no reset and no PAWS seen by the clients. What the
daemons logged is kept in DIR/soak after a failure.
"""
import argparse
import json
import os
import shutil
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "demo"))

import signals  # noqa: E402
import takeover_engine as engine  # noqa: E402
from takeover_world import WorldError  # noqa: E402


def options():
    p = argparse.ArgumentParser(prog="takeover.py", description="Crash servers at random under load.")
    p.add_argument("--bin", required=True, help="the folder of holdfast and holdfastd")
    p.add_argument("--crashes", type=int, default=1000)
    p.add_argument("--seconds", type=float, help="begin no crash later than this: fewer crashes, and no failure")
    p.add_argument("--limit", type=float, help="seconds after which it is a failure not to be done (default: 60 and 5 a crash)")
    p.add_argument("--store", choices=("direct", "redis"), default="direct")
    p.add_argument("--nodes", type=int, default=2)
    p.add_argument("--replica", action="store_true", help="Redis has a replica, and commits wait for it")
    p.add_argument("--lease", type=int, help="ms")
    p.add_argument("--connections", type=int, default=30)
    p.add_argument("--rate", type=int, default=1500000, help="bytes a second a connection")
    p.add_argument("--seed", type=int)
    p.add_argument("--only", action="append", choices=list(engine.KINDS), help="crashes of this kind; repeat for more")
    p.add_argument("--no-options", action="store_true", help="all clients have timestamps, SACK and window scaling")
    p.add_argument("--pcap", help="tcpdump at the client writes there")
    p.add_argument("--no-wire", action="store_true", help="do not judge what the client's interface sees")
    p.add_argument("--json", action="store_true", help="print the record and nothing else")
    p.add_argument("--output", help="where a failure's logs go (default: BIN/soak)")
    p.add_argument("--keep", action="store_true", help="keep them after a success, too")
    args = p.parse_args()
    args.bin = os.path.abspath(args.bin)
    args.output = args.output or os.path.join(args.bin, "soak")
    return args


def table(record):
    heads = ("crash", "number", "taken over ms", "gap down ms", "gap up ms")

    def cell(q):
        return "-" if q["median"] is None else "%.0f / %.0f / %.0f" % (q["median"], q["p95"], q["max"])

    rows = [heads] + [(engine.WHAT[k], str(v["crashes"]), cell(v["taken_ms"]), cell(v["gap_down_ms"]),
                       cell(v["gap_up_ms"])) for k, v in record["kinds"].items()]
    widths = [max(len(r[i]) for r in rows) for i in range(len(heads))]
    for r in rows:
        print("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths))).rstrip())
    print("(median / 95 % / max; a gap is a connection's longest wait in one crash)")


def report(record, args):
    if args.json:
        print(json.dumps(record, indent=1))
        return
    table(record)
    print("%d crashes (seed %d), %d connections, %d requests, %.1f GB; lost %d connections, %d bytes, corrupted %d bytes; "
          "%d RST, %d PAWS; %d times compared what was acknowledged with what was stored; %.0f s" % (
              record["crashes"], record["seed"], record["connections"], record["requests"], record["bytes"] / 1e9,
              record["connections_lost"], record["bytes_lost"], record["bytes_corrupted"], record["resets"],
              record["paws"], record["acknowledged_checks"], record["duration_s"]))
    if record["slow_connects"]:
        print("%d connections needed more than one SYN; the longest %.1f s" % (
            record["slow_connects"], record["connect_max_ms"] / 1000))
    if record["patient"]:
        print("%d connections waited longer than 20 s for the next repeat of their own TCP" % record["patient"])
    gap = record["gap_ms"]
    print("gap of a transfer in a crash: median %s, 95 %% %s, longest %s ms" % (gap["median"], gap["p95"], gap["max"]))
    for ms, kind, crash in record["longest_gaps"]:
        print("    %d ms, %s, %s" % (ms, kind, crash))
    if record["wire"]:
        a = record["answers"]
        print("%d repeats of clients, %d of them while the group was served (%.0f s): %d unanswered" % (
            a["repeats"], a["judged"], a["served_s"], a["unanswered"]))
        print("on the wire: " + ", ".join("%d %s" % (v, k.replace("_", " ")) for k, v in record["wire"].items()))
    print("%d strikes; left out, as docs/takeover.md says that it is not survived: %s" % (
        record["strikes"], "; ".join("%s (%d times)" % (k, v) for k, v in sorted(record["left_out"].items())) or "nothing"))
    for p in record["problems"][:20]:
        print("problem: " + p)


def main():
    args = options()
    if os.geteuid():
        print("needs root: it makes network namespaces", file=sys.stderr)
        return 2
    signals.interrupt()
    kinds = {k: engine.KINDS[k] for k in args.only} if args.only else None
    began, e, record = time.monotonic(), None, None

    def note(c):
        if args.json or not (sys.stdout.isatty() or c.number % 25 == 24):
            return
        load = e.load
        line = "%4d/%d  %4.0f s  %-11s %s>%s  %4.0f ms, back %4.0f ms  %d connections  %.1f GB  lost %d" % (
            c.number + 1, args.crashes, time.monotonic() - began, c.kind, c.node, c.to or "-", ((c.taken or c.at) - c.at) * 1000,
            (c.settled - c.at) * 1000, load.connections, (load.bytes_down + load.bytes_up) / 1e9, load.lost)
        print(line + ("\033[K\r" if sys.stdout.isatty() else ""), end="" if sys.stdout.isatty() else "\n", flush=True)

    try:
        e = engine.Engine(args.bin, seed=args.seed, connections=args.connections, kinds=kinds, rate=args.rate,
                          options=not args.no_options, store=args.store, nodes=args.nodes, lease=args.lease,
                          pace=args.rate, replica=args.replica, pcap=args.pcap, wire=not args.no_wire)
        try:
            e.start()
            e.run(args.crashes, note, deadline=began + args.seconds if args.seconds else None,
                  limit=began + (args.limit or 60 + 5 * args.crashes))
        except WorldError as error:
            e.problems.append(str(error))
        if e.load:
            if not e.problems and not e.load.problems:
                e.finish()
            e.judge_wire()
            record = e.record()
        if args.keep or e.problems or not record or not record["ok"]:
            shutil.rmtree(args.output, ignore_errors=True)
            e.keep_logs(args.output)
    except WorldError as error:
        print("soak: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print("soak: interrupted", file=sys.stderr)
        return signals.status(error)
    finally:
        signals.ignore()
        if e:
            e.close()
    if not record:
        print("soak: " + "; ".join(e.problems), file=sys.stderr)
        return 1
    report(record, args)
    return 0 if record["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
