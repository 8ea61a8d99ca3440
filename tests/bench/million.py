# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A million flows in the map: memory, and the one write that moves them."""
import json
import os

from lab import Failed, helper, median, run

FLOWS = 1000000
IDS = ["bytes_per_flow", "switch_map_write_us_1m"]


def measure(report, wanted):
    runs = [json.loads(run(helper("million"), "measure", "hfb%d-m%d" % (os.getpid(), i), str(FLOWS), "21"))
            for i in range(5)]
    if any(r["flows"] != FLOWS for r in runs):
        raise Failed("only %d flows fitted" % min(r["flows"] for r in runs))
    if any(r["wrong"] for r in runs):
        raise Failed("packets took the old path after the write")
    report("bytes_per_flow", "memory of the flows map (memlock in fdinfo) with %d flows in it and room for %d, per flow" % (
        FLOWS, runs[0]["room"]), [r["memlock"] / FLOWS for r in runs], "B", 192, "<=", digits=1)
    first = [r["write_ns"][0] / 1000 for r in runs]
    writes = [ns / 1000 for r in runs for ns in r["write_ns"]]
    report("switch_map_write_us_1m", "the store that moves an association with %d flows; the first of a process, which brings "
           "the page in, takes %.2f us; the next packet took the new path every time (%d writes)" % (
               FLOWS, median(first), len(writes)), writes, "us", 50, "<=", digits=3)
