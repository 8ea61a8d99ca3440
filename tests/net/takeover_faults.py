#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What may go wrong around the servers: cables to the store, the store itself, clients that lie, floods.

    tests/net/takeover_faults.py --bin DIR

In each world connections of all kinds are alive all the time, each byte of them is compared, both nodes' leases are sampled
(never two owners), and what the client's interface sees is judged by takeover_wire.py.
"""
import argparse
import collections
import contextlib
import ctypes
import mmap
import os
import random
import shutil
import signal
import socket
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "demo"))

import signals  # noqa: E402
from takeover_clients import enter  # noqa: E402
from takeover_engine import Engine  # noqa: E402
from takeover_world import VIP, WorldError, wait_until  # noqa: E402

BPF_OBJ_GET = 7
SYS_BPF = {"x86_64": 321, "aarch64": 280}
PINS = "/sys/fs/bpf/holdfast/guard-v1"
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
RECV_QUEUE, SEND_QUEUE = 1, 2
OUTAGE_S = 0.6  # several leases: whatever ends without heartbeats has ended
SAMPLE_S = 0.0005  # between two looks at the leases
BURST, BURST_S = 50, 0.002  # SYNs of a flood at a time, and how often
failed = []


def say(name, good, why=""):
    print("PASS " + name if good else "FAIL %s: %s" % (name, why), flush=True)
    if not good:
        failed.append(name)


# ---- who owns, by what the data planes act on ---------------------------------------------------


class Lease:
    """lease_until_ns of a node, read from the memory that its data plane reads."""

    def __init__(self, node):
        path = ctypes.create_string_buffer(("%s/%s/maps/guard_conf" % (PINS, node.ns)).encode())
        attr = ctypes.create_string_buffer(struct.pack("QII", ctypes.addressof(path), 0, 0), 128)
        fd = ctypes.CDLL(None, use_errno=True).syscall(SYS_BPF[os.uname().machine], BPF_OBJ_GET, attr, 128)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "%s: guard_conf" % node.name)
        self.memory = mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(fd)

    def until(self):
        return struct.unpack_from("Q", self.memory, 8)[0]


class Owners(threading.Thread):
    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.leases = [Lease(n) for n in nodes]
        self.samples = self.two = self.none = 0
        self.ending = False

    def run(self):
        while not self.ending:
            first = [lease.until() for lease in self.leases]
            now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            again = [lease.until() for lease in self.leases]
            owners = sum(1 for a, b in zip(first, again) if min(a, b) > now)
            self.samples += 1
            self.two += owners > 1
            self.none += owners == 0
            time.sleep(SAMPLE_S)

    def end(self):
        self.ending = True
        self.join()


# ---- a world ---------------------------------------------------------------------------------------


class Lab(contextlib.AbstractContextManager):
    def __init__(self, args, name, **world):
        self.name = name
        self.output = os.path.join(args.bin, "faults-" + name)
        self.engine = Engine(args.bin, connections=16, rate=1000000, options=False, pace=1000000, wire=True, **world)
        self.world = self.engine.world

    def __enter__(self):
        try:
            self.engine.start()
            self.load = self.engine.load
            self.owners = Owners(self.world.nodes)
            self.owners.start()
        except BaseException:
            self.engine.close()
            raise
        return self

    def __exit__(self, kind, error, trace):
        if error:
            self.engine.problems.append(str(error))
        try:
            if not error:
                self.engine.finish(60)
            self.owners.end()
            self.report()
        finally:
            self.engine.close()
        return isinstance(error, WorldError)

    def report(self):
        load, n = self.load, self.name
        live = not self.engine.problems and not load.lost and load.finished == load.numbers
        self.engine.judge_wire()
        wire = self.engine.wire
        problems = "; ".join((self.engine.problems + load.problems)[:4])
        if problems:
            self.engine.keep_logs(self.output)
        say("T2_%s_connections_live_on" % n, live, problems or "%d of %d ended" % (load.finished, load.numbers))
        say("T7_%s_no_acknowledged_byte_is_lost" % n, not load.bytes_lost and load.acknowledged_checks, problems)
        say("T2_%s_no_byte_is_wrong" % n, not load.bytes_corrupted, problems)
        say("T6_%s_never_two_owners" % n, not self.owners.two and self.owners.samples > 500,
            "%d of %d samples" % (self.owners.two, self.owners.samples))
        say("T3_%s_no_reset_on_the_wire" % n, not wire["resets"] and not load.resets, wire["resets"][:3])
        say("T3_%s_acknowledgements_never_go_back" % n, not wire["acks"] and not wire["unsent"],
            wire["acks"][:3] + wire["unsent"][:3])
        say("T3_%s_timestamps_never_go_back" % n, not wire["timestamps"] and not wire["echoes"] and not load.paws,
            wire["timestamps"][:3] + wire["echoes"][:3])
        say("T3_%s_window_edges_never_go_back" % n, not wire["edges"], wire["edges"][:3])
        say("T3_%s_clients_send_no_reset" % n, not wire["client_resets"] and wire["packets"] and not wire["dropped"],
            "%s, %d packets, %d not seen" % (wire["client_resets"][:3], wire["packets"], wire["dropped"]))

    # ---- what a scenario looks at

    def total(self):
        return self.load.bytes_down + self.load.bytes_acked

    def moved(self, seconds):
        """Bytes that came in so long, both ways."""
        before = self.total()
        time.sleep(seconds)
        return self.total() - before

    def goes_on(self, seconds=1.0, count=200000):
        """Whether so many come within so long."""
        before, end = self.total(), time.monotonic() + seconds
        while self.total() - before < count:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def uploads(self):
        return {f.name: f.acked for f in list(self.load.by_fd.values()) if f.kind == "upload"}

    def acknowledged(self, before, seconds):
        """Bytes of uploads that were acknowledged in so long, and since they were at `before`."""
        time.sleep(seconds)
        after = self.uploads()
        return sum(after[k] - before[k] for k in after if k in before)

    def still(self):
        """The uploads, when all that Redis took is acknowledged, and nothing more is."""
        wait_until("acknowledgements cease", lambda: not self.acknowledged(self.uploads(), 0.1), 5)
        return self.uploads()

    def strike(self, what):
        self.load.crashed(what)

    def settled(self, seconds=20):
        return wait_until(self.load.crash_what + ": both nodes are there and synced", self.world.settled, seconds)


# ---- clients that lie ---------------------------------------------------------------------------------


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def segment(source, target, sport, dport, seq, ack, flags, window=1000, options=b""):
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xffffffff, ack & 0xffffffff, (5 + len(options) // 4) << 4, flags,
                      window, 0, 0) + options
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, socket.inet_aton(source),
                     socket.inet_aton(target))
    return ip + tcp


def in_client(lab, function):
    """A thread of its own, for it stays in the namespace."""
    out = []

    def run():
        try:
            enter(lab.world.client)
            out.append(function())
        except OSError as e:
            out.append(e)

    t = threading.Thread(target=run)
    t.start()
    t.join()
    if isinstance(out[0], OSError):
        raise WorldError(str(out[0]))
    return out[0]


def raw_socket():
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def sequence(sock, queue):
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
    return sock.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) & 0xffffffff


def ack_of_nothing(lab):
    """A client that has acknowledged what no server ever sent: it is not believed, and may go on."""
    content = lab.engine.load.content

    def run():
        s = socket.create_connection((VIP, 80))
        s.settimeout(10)
        s.sendall(b"GET /d3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = s.recv(65536)
        s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        send, receive = sequence(s, SEND_QUEUE), sequence(s, RECV_QUEUE)
        s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, -1)  # off, without a probe
        raw = raw_socket()
        for beyond in (50 << 20, 400 << 20, 1 << 30):
            raw.sendto(segment("10.5.0.9", VIP, s.getsockname()[1], 80, send, receive + beyond, 0x10), (VIP, 0))
        while True:
            data = s.recv(1 << 20)
            if not data:
                break
            got += data
        return got[got.index(b"\r\n\r\n") + 4:] == content.part(3)

    def unbelieved():  # by both: the group may move on a busy host
        return sum(n.status()["counters"]["ack_beyond"] for n in lab.world.nodes)

    before = unbelieved()
    good = in_client(lab, run)
    counted = unbelieved() - before
    say("T1_acknowledgement_of_what_was_never_sent_is_not_believed", good and counted >= 3, "%s, counted %d" % (good, counted))


def flood(lab):
    """SYNs of hosts that do not exist, and a server that dies meanwhile."""
    owner = lab.settled()
    before = owner.status()
    stop = []

    def run():
        raw, rng, sent = raw_socket(), random.Random(1), 0
        mss = struct.pack("!BBH", 2, 4, 1460)
        while not stop:
            for _ in range(BURST):
                source = "10.5.%d.%d" % (rng.randrange(1, 255), rng.randrange(1, 255))
                raw.sendto(segment(source, VIP, rng.randrange(1024, 65535), 80, rng.randrange(1 << 32), 0, 2, options=mss),
                           (VIP, 0))
            sent += BURST
            time.sleep(BURST_S)
        return sent

    result = []
    t = threading.Thread(target=lambda: result.append(in_client(lab, run)))
    t.start()
    try:
        progress = lab.moved(1.0)
        during = owner.status()
        lab.strike("server killed in a flood")
        lab.engine.strike("server", owner)
        wait_until("the other one serves in spite of the flood", lambda: lab.engine.taken_by_another(owner))
        lab.engine.repair("server", owner)
        lab.settled()
        after = lab.moved(1.0)
    finally:
        stop.append(1)
        t.join()
    more = during["opened"] - before["opened"]
    say("T1_flood_of_SYNs_takes_no_slot", during["connections"] <= before["connections"] + more + 2 and more < 200 and
        during["counters"]["syn_full"] == 0 and result[0] > 5000,
        "%d SYNs, %d connections before, %d during, %d opened" % (result[0], before["connections"], during["connections"], more))
    say("T1_flood_of_SYNs_does_not_stop_live_connections", progress > 1 << 20 and after > 1 << 20, "%d, %d" % (progress, after))


def silent_refusals(lab):
    """A server dies long after the last takeover, with clients at the door: none hears a RST."""
    owner = lab.settled()
    wait_until("30 s since the last takeover", lambda: time.monotonic() - lab.load.crash_at > 31, 40, 0.1)
    outcome = collections.Counter()
    over = threading.Event()

    def knock():
        enter(lab.world.client)
        while not over.is_set():
            s = socket.socket()
            s.settimeout(5)
            try:
                s.connect((VIP, 80))
                s.sendall(b"GET /s1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                while s.recv(4096):
                    pass
                outcome["served"] += 1
            except OSError as e:
                outcome[type(e).__name__] += 1
            s.close()

    def served(count):
        wait_until("%d clients were served" % count, lambda: outcome["served"] >= count)

    threads = [threading.Thread(target=knock) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        served(20)
        lab.strike("server killed with clients at the door")
        lab.engine.strike("server", owner)
        wait_until("the other one serves", lambda: lab.engine.taken_by_another(owner))
        served(outcome["served"] + 100)
    finally:
        over.set()
        for t in threads:
            t.join()
    lab.engine.repair("server", owner)
    lab.settled()
    say("T3_new_clients_meet_no_refusal_while_a_server_dies", set(outcome) == {"served"}, dict(outcome))


# ---- cables, stores ---------------------------------------------------------------------------------------


def partition_owner(lab):
    owner = lab.settled()
    lab.strike("owner cut off from the store")
    lab.world.cut(owner, "k")
    other = wait_until("the other one serves", lambda: lab.engine.taken_by_another(owner))
    say("T6_%s_owner_cut_off_is_replaced" % lab.name, other is not owner and not owner.serves(), owner.status())
    time.sleep(OUTAGE_S)
    lab.world.heal(owner, "k")
    lab.settled()


def partition_standby(lab):
    owner = lab.settled()
    other = next(n for n in lab.world.nodes if n is not owner)
    lab.strike("standby cut off")
    lab.world.cut(other, "k")
    time.sleep(OUTAGE_S)
    progress = lab.moved(0.7)
    if lab.world.store == "redis":
        say("T6_redis_owner_goes_on_without_its_standby", owner.serves() and progress > 200000, progress)
    lab.world.heal(other, "k")
    lab.settled()
    say("T6_%s_it_goes_on_with_both" % lab.name, lab.goes_on(0.5))


def isolated_owner(lab):
    """The standby is cut off from everybody, clients too, and takes over: when it is back, clients have to hear of it."""
    for _ in range(2):  # each knows where clients are, and need not ask
        owner = lab.settled()
        lab.strike("planned")
        lab.engine.strike("drain", owner)
        other, owner = owner, wait_until("the other one serves", lambda: lab.engine.taken_by_another(owner))
        if not lab.goes_on(2.0):
            raise WorldError("nothing moves after a planned takeover")
    lab.settled()
    lab.strike("standby cut off from everybody")
    lab.world.cut(other)
    wait_until("the isolated one owns", other.serves)
    time.sleep(OUTAGE_S)
    lab.world.heal(other)
    wait_until("the network is back", lambda: (other.status() or {}).get("synced"))
    say("T6_direct_owner_that_was_isolated_is_found", lab.goes_on(2.0) and other.serves(), other.status())
    lab.settled()


def store_away(lab, signals):
    """The store hangs, or its cable is cut for everybody: all wait, nothing is told to anybody, and it goes on."""
    world = lab.world

    def serving():
        return [n.name for n in world.nodes if n.serves()]

    lab.settled()
    lab.strike("store away")
    if signals:
        world.redis_server.send_signal(signal.SIGSTOP)
    else:
        for n in world.nodes:
            world.cut(n, "k")
    if world.store == "redis":
        wait_until("nobody serves, and clients have read what their kernels had",
                   lambda: not serving() and lab.moved(0.1) < 10000)
    progress = lab.moved(OUTAGE_S)
    names = serving()
    if signals:
        world.redis_server.send_signal(signal.SIGCONT)
    else:
        for n in world.nodes:
            world.heal(n, "k")
    what = "store_hangs" if signals else "nodes_cut_off"
    if world.store == "redis":
        say("T6_redis_%s_nobody_serves" % what, not names and progress < 100000, "%s, %d bytes" % (names, progress))
    else:  # one of them cannot know that the other lives
        say("T6_direct_%s_one_serves" % what, len(names) == 1, names)
    lab.settled()
    say("T7_%s_%s_and_it_goes_on" % (lab.name, what), lab.goes_on())


def store_restarted(lab):
    """Redis dies and comes back with what it wrote."""
    world = lab.world
    lab.settled()
    lab.strike("store restarted")
    world.redis_server.kill()
    world.redis_server.wait()
    world.ip(world.switch, "addr", "del", "10.6.0.50/24", "dev", "br1")
    world.redis_server = world.redis("10.6.0.50")
    lab.settled(40)
    say("T7_redis_restarted_and_it_goes_on", lab.goes_on())


def store_full(lab, opens):
    """No room in Redis though it answers: acknowledgements wait, or with on-store-loss = open they do not."""
    world = lab.world
    owner = lab.settled()
    lab.strike("store full")
    world.redis_cli("10.6.0.50", "config", "set", "maxmemory", "1")
    if opens:
        wait_until("the gates open", lambda: owner.status()["gates_open"], 3)
    before = lab.uploads() if opens else lab.still()
    moved = lab.acknowledged(before, 2.0)
    status = owner.status()
    world.redis_cli("10.6.0.50", "config", "set", "maxmemory", "0")
    if opens:
        said = "NOTHING IS PROTECTED NOW" in owner.log()
        say("T7_open_store_full_gates_open_and_the_log_says_so", status["gates_open"] and said and moved > 0,
            "open %s, logged %s, %d bytes" % (status["gates_open"], said, moved))
    else:
        say("T7_redis_store_full_gate_holds", before and moved == 0, "%d bytes were acknowledged" % moved)
    lab.settled()
    wait_until("no gate is open", lambda: not world.owner().status()["gates_open"], 2)
    say("T7_%s_store_full_and_it_goes_on" % lab.name, lab.goes_on())


def owner_again(lab):
    """The owner has accounted for what Redis never got, loses its lease, and owns again while Redis still takes nothing: no
    client hears of it, and the other node goes on with what was committed."""
    world = lab.world

    def owned():  # epoch and node
        text = world.redis_cli("10.6.0.50", "get", "holdfast:{web}:owner").stdout.split()
        return (int(text[0]), text[3]) if len(text) == 4 else (0, "")

    owner = lab.settled()
    other = next(n for n in world.nodes if n is not owner)
    lab.strike("owner again")
    world.cut(other, "k")
    world.redis_cli("10.6.0.50", "config", "set", "maxmemory", "1")
    before = lab.still()
    world.cut(owner, "k")
    wait_until("its lease has ended", lambda: not owner.serves())
    epoch = owned()[0]
    world.heal(owner, "k")
    wait_until("it owns again", lambda: owned()[1] == owner.name and owned()[0] > epoch)
    moved = lab.acknowledged(before, OUTAGE_S)
    world.cut(owner, "k")
    world.redis_cli("10.6.0.50", "config", "set", "maxmemory", "0")
    world.heal(other, "k")
    wait_until("the other one serves", other.serves)
    world.heal(owner, "k")
    say("T7_redis_owner_again_tells_nothing_that_redis_lacks", before and moved == 0, "%d bytes were acknowledged" % moved)
    lab.settled()
    say("T7_redis_owner_again_and_it_goes_on", lab.goes_on())


def store_slow(lab):
    """Each command takes long: clients are slowed down, nothing else."""
    world = lab.world
    lab.settled()
    lab.strike("store slow")
    end = time.monotonic() + 2
    while time.monotonic() < end:
        world.redis_cli("10.6.0.50", "client", "pause", "60", "all")
        time.sleep(0.08)  # of which it is away for 60 ms
    lab.settled()
    say("T7_redis_store_slow_and_it_goes_on", lab.goes_on())


def run(args):
    if args.only in (None, "direct"):
        with Lab(args, "direct") as lab:
            partition_owner(lab)
            partition_standby(lab)
            isolated_owner(lab)
            store_away(lab, False)
            ack_of_nothing(lab)
            flood(lab)
            silent_refusals(lab)
    if not shutil.which("redis-server"):
        print("SKIP T7_redis_faults: no redis-server")
        return
    if args.only in (None, "redis"):
        with Lab(args, "redis", store="redis", durable=True) as lab:
            partition_owner(lab)
            partition_standby(lab)
            store_away(lab, True)
            store_away(lab, False)
            store_full(lab, False)
            owner_again(lab)
            store_slow(lab)
            store_restarted(lab)
    if args.only in (None, "open"):
        with Lab(args, "open", store="redis", lines=["on-store-loss = open", "lease = 5s"]) as lab:
            store_full(lab, True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", required=True)
    p.add_argument("--only", help="direct, redis or open")
    args = p.parse_args()
    args.bin = os.path.abspath(args.bin)
    signals.interrupt()
    try:
        run(args)
    except WorldError as e:
        say("T2_there_is_a_world", False, e)
    except KeyboardInterrupt as e:
        return signals.status(e)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
