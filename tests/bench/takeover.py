# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a client sees of its download while a server dies: the server's process, its whole node, or in order. And what restoring
costs, one by one and ten thousand at once."""
import json
import os
import resource
import subprocess
import sys
import time

import takeover_rivals
from lab import Failed, helper, median, run, wait_for
from takeover_lab import BULK, Group, VIP, now_ns, other

IDS = ["takeover_download_ms", "takeover_host_death_ms", "takeover_no_detect_ms", "restore_us_per_conn", "restore_ended_us_per_conn",
       "restore_10k_ms", "track_ns"]
CRASHES = 12
RATE = 20000000  # bytes a second of one download: short gaps between its segments
BEFORE = 0.3  # s of download, undisturbed, before a crash
AFTER = 0.5   # s of download from it on. Nobody asks the nodes meanwhile, for that would take a processor
MANY = 10000
MANY_ROUNDS = 5
MANY_AFTER = 2  # s in which nobody asks, as AFTER
RESTORE_ROUNDS = 7
TRACK_ROUNDS = 5


class Files(Group):
    """Servers of files on both nodes."""

    def build(self):
        super().build()
        self.root = self.folder()
        with open(os.path.join(self.root, "small"), "w") as f:
            f.write("x" * 60 + "END\n")
        self.servers = {ns: self.files(ns) for ns in "ab"}

    def files(self, ns):
        return self.serve(ns, "httpd", "-a", VIP, "-p", "80", "-r", self.root, "-s", str(RATE))

    def settled(self):
        """Who serves, when the other could take over."""
        def good():
            at = self.owner()
            return at and self.state(at) == "serving" and all(self.takeover(ns)["applications"] == 1 for ns in "ab") and \
                not self.takeover(at)["unfinished"]
        wait_for(10, "both nodes ready", good)
        return self.owner()

    def died(self, ns):
        self.end(self.servers[ns])
        self.servers[ns] = self.files(ns)


def download(lab, harm):
    """harm(owner) while a download runs: ms from its beginning to the first new byte, and from the new ownership to it."""
    at = lab.settled()
    client = lab.client("get", VIP, "80", BULK, stdin=subprocess.PIPE)
    time.sleep(BEFORE)
    began = now_ns()
    harm(at)
    time.sleep(AFTER)
    wait_for(10, "a new owner", lambda: lab.state(other(at)) in ("serving", "alone"))
    got = json.loads(client.communicate(timeout=10)[0])
    owned = lab.takeover(other(at))["last_takeover"]["began_ns"]
    # the old owner is silent from then on, so whatever comes is new
    first = next((to for _, to, _ in got["gaps"] if to > owned), None)
    if got["end"] != "reader" or not first:
        raise Failed("the download did not go on: %s" % got["end"])
    return (first - began) / 1e6, (first - owned) / 1e6


def killed(lab):
    def harm(at):
        lab.servers[at].kill()
    took = []
    for _ in range(CRASHES):
        at = lab.settled()
        took.append(download(lab, harm))
        lab.died(at)
    return took


def silenced(lab):
    took = []
    for _ in range(CRASHES):
        at = lab.settled()
        took.append(download(lab, lab.cut))
        lab.heal(at)
    return took


def drained(lab):
    return [download(lab, lambda at: lab.hf(at, "takeover", "drain")) for _ in range(CRASHES)]


def rival(which):
    try:
        text, value = getattr(takeover_rivals, which)()
        return {"rival": text, "rival_value": value}
    except (Failed, OSError, subprocess.SubprocessError) as e:
        print("SKIP keepalived and conntrackd: %s" % e, file=sys.stderr)
        return {"rival": "keepalived and conntrackd: skipped, %s" % e}


def crashes(report, wanted):
    rivals = {id_: rival(which) for id_, which in (("takeover_download_ms", "killed"), ("takeover_host_death_ms", "silenced"))
              if wanted(id_)}
    with Files() as lab:
        got = {}
        for id_, way in (("takeover_download_ms", killed), ("takeover_host_death_ms", silenced), ("drain", drained)):
            if wanted(id_, "takeover_no_detect_ms"):
                got[id_] = way(lab)
        for id_, what in (("takeover_download_ms", "kill -9 of the server"),
                          ("takeover_host_death_ms", "its whole node goes silent (every packet from and to it vanishes, lease 120 ms)")):
            if id_ in got:
                report(id_, "%s under a download: to the first new byte at the client, detection included" % what,
                       [t for t, _ in got[id_]], "ms", 300, "<=", **rivals.get(id_, {}))
        if "drain" in got:
            both = [t for _, t in got["drain"]]
            report("takeover_no_detect_ms", "handed over in order under a download: from the moment the new owner may begin to the first new "
                   "byte at the client; after kill -9 %.2f ms, after a silent death %.2f ms" % tuple(
                       median([t for _, t in got[i]]) for i in ("takeover_download_ms", "takeover_host_death_ms")), both, "ms", 5, "<=")


def ten_thousand(report):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files[1] < MANY + 1000:
        raise Failed("no more than %d descriptors a process are allowed" % files[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    with Files(2 * MANY) as lab:
        at = lab.settled()
        client = lab.client("hold", VIP, "80", str(MANY), "/small", stdin=subprocess.PIPE)
        if json.loads(client.stdout.readline())["good"] != MANY:
            raise Failed("not every connection could be made")
        times, each = [], []
        for _ in range(MANY_ROUNDS):
            at = lab.settled()
            lab.servers[at].kill()
            time.sleep(MANY_AFTER)
            wait_for(30, "a new owner", lambda: lab.state(other(at)) in ("serving", "alone"))
            wait_for(30, "all of them", lambda: lab.takeover(other(at))["unfinished"] == 0)
            last = lab.takeover(other(at))["last_takeover"]
            client.stdin.write("\n")
            client.stdin.flush()
            good = json.loads(client.stdout.readline())["good"]
            if last["ready"] != MANY or good != MANY:
                raise Failed("%d of %d connections came over, %d answer" % (last["ready"], MANY, good))
            times.append(last["ready_us"] / 1000)
            each.append(last["restoring_us"] / MANY)
            lab.died(at)
        report("restore_10k_ms", "%d idle connections, their server killed: from ownership until the last one is ready (%.1f us each in making "
               "its socket); each then answered its client" % (MANY, median(each)), times, "ms", 500, "<=", digits=0)


def sockets(report):
    """What one connection takes, without the network. With the slots and their entries in the map it is restore_ms."""
    for id_, args, what in (("restore_us_per_conn", (), ""), ("restore_ended_us_per_conn", ("ended",), " whose clients have sent their FIN")):
        got = json.loads(run(helper("restore"), str(MANY), str(RESTORE_ROUNDS), *args))
        report(id_, "the socket of one connection, of %d in a row%s; with the slots and their publication %.0f ms for all" % (
            MANY, what, median(got["restore_ms"])), got["restore_us_per_conn"], "us", 25, "<=")


def tracking(report):
    values = {}
    for _ in range(TRACK_ROUNDS):
        for line in run(helper("guard_ns")).splitlines():
            row = json.loads(line)
            values.setdefault(row["id"], []).append(row["value"])
    worst = max((i for i in values if i.startswith("track_ns")), key=lambda i: median(values[i]))
    report("track_ns", "what the guard takes for a packet of a download, mean of both ways (BPF_PROG_TEST_RUN; harness subtracted); %s "
           "of %s" % (worst, ", ".join("%s %.0f" % (i, median(v)) for i, v in values.items())), values[worst], "ns", 300, "<=", digits=0)


def measure(report, wanted):
    if wanted("takeover_download_ms", "takeover_host_death_ms", "takeover_no_detect_ms"):
        crashes(report, wanted)
    if wanted("track_ns"):
        tracking(report)
    if wanted("restore_us_per_conn", "restore_ended_us_per_conn"):
        sockets(report)
    if wanted("restore_10k_ms"):
        ten_thousand(report)
