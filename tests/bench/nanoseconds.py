# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the data plane takes for a packet: bpf_ns.c, several times."""
import json

from lab import helper, median, run

RUNS = 5
IDS = ["%s_ns_%s%s" % (way, flows, hook) for hook in ("", "_xdp") for way in ("encode", "decode") for flows in ("1", "100k")]


def measure(report, wanted):
    values, alone = {i: [] for i in IDS}, {i: [] for i in IDS}
    for _ in range(RUNS):
        for line in run(helper("bpf_ns")).splitlines():
            row = json.loads(line)
            values[row["id"]].append(row["value"])
            alone[row["id"]].append(row["look_up"])
    for id_ in IDS:
        way, _, flows, *hook = id_.split("_")
        report(id_, "%s of one packet on %s, %s flows in the map (BPF_PROG_TEST_RUN; harness subtracted)" % (
            way, "XDP" if hook else "tc", {"1": "1", "100k": "100 000"}[flows]), values[id_], "ns",
            200 if hook else 300, "<=", digits=0, rival="a program that looks up the flow and no more (ns)",
            rival_value=median(alone[id_]))
