# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Both ends are end hosts: mobile and anchor on one veth pair, the server on the anchor itself. The rival is a second veth pair
between the same two namespaces, with nothing attached.

    mobile w1 ─ p0 anchor (10.9.0.10 on lo)      x1 ─ x0
"""
import json

from lab import Lab, helper, median, wait_for

SERVICE, PLAIN = "10.9.0.10", "10.4.0.1"
ROUNDS = 15  # wake-ups, and what the congestion control makes of them, let single rounds differ by a fifth
WARM = 1

ANCHOR = """[holdfast]
role = anchor
points = 10.1.0.1
pool = 10.77.0.0/24
interfaces = p0
mode = tc
[mobile laptop]
key = @KEY@
[service tcp]
server = 10.9.0.10:5201
emulator = 25201
[service iperf]
protocol = udp
server = 10.9.0.10:5201
emulator = 25201
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
[uplink w1]
cost = 10
"""


def world():
    lab = Lab("m", "a")
    lab.__enter__()
    try:
        lab.link("m", "w1", "a", "p0")
        lab.link("m", "x1", "a", "x0")
        lab.addr("m", "w1", "10.1.0.2/24")
        lab.addr("a", "p0", "10.1.0.1/24")
        lab.addr("m", "x1", "10.4.0.2/24")
        lab.addr("a", "x0", "10.4.0.1/24")
        lab.addr("a", "lo", "10.9.0.10/32")
        lab.ip("m", "route", "add", "default", "via", "10.1.0.1")
        lab.forward("a")
        lab.start("a", ANCHOR)
        lab.start("m", MOBILE)
        lab.connected("m")
    except BaseException:
        lab.close()
        raise
    return lab


def iperf(lab, address, *args):
    server = lab.spawn("a", "iperf3", "-s", "-1", "-p", "5201")
    wait_for(5, "iperf3", lambda: "5201" in lab.cmd("a", "ss", "-Hltn", "sport = :5201"))
    out = json.loads(lab.cmd("m", "iperf3", "-J", "-c", address, "-p", "5201", *args, timeout=30))
    server.wait(5)
    return out["end"]


def tcp_once(lab, address, seconds):
    return iperf(lab, address, "-t", str(seconds))["sum_received"]["bits_per_second"] / 1e9


def iperf_udp_once(lab, address, seconds):
    got = iperf(lab, address, "-t", str(seconds), "-u", "-l", "64", "-b", "0")["sum"]
    return (got["packets"] - got["lost_packets"]) / got["seconds"] / 1e6


def udp_once(lab, address, ms):
    receiver = lab.spawn("a", helper("blast"), "recv", address, "9000", stdout=-1)
    receiver.stdout.readline()
    lab.cmd("m", helper("blast"), "send", address, "9000", "64", str(ms))
    got = json.loads(receiver.communicate(timeout=10)[0])
    return got["received"] / got["seconds"] / 1e6


def alternate(once, lab, amount, rounds=ROUNDS):
    """The two paths in turn, each round in the other order; lists of (ours, theirs)."""
    pairs = []
    for i in range(rounds + WARM):
        order = (SERVICE, PLAIN) if i % 2 else (PLAIN, SERVICE)
        got = {address: once(lab, address, amount) for address in order}
        if i >= WARM:
            pairs.append((got[SERVICE], got[PLAIN]))
    return pairs


def ratio(report, id_, what, goal, unit, pairs):
    ratios = [a / b for a, b in pairs]
    report(id_, "%s: %.2f %s through Holdfast, %.2f without; each round's ratio, worst %.2f, best %.2f" % (
        what, median([a for a, _ in pairs]), unit, median([b for _, b in pairs]), min(ratios), max(ratios)),
        ratios, "ratio", goal, ">=", rival="the same namespaces, another veth pair, nothing attached (%s)" % unit,
        rival_value=median([b for _, b in pairs]), digits=3)


def measure(report, wanted):
    lab = world()
    try:
        if wanted("endhost_tcp_ratio"):
            ratio(report, "endhost_tcp_ratio", "one TCP stream (iperf3, %s), mobile to anchor" % lab.cmd(
                "m", "sysctl", "-n", "net.ipv4.tcp_congestion_control").strip(), 0.95, "Gbit/s",
                  alternate(tcp_once, lab, 1))
        if wanted("endhost_udp_ratio"):
            ratio(report, "endhost_udp_ratio", "UDP, 64 octets, one flow, sendmmsg and recvmmsg, received", 0.8, "Mpps",
                  alternate(udp_once, lab, 400))
        if wanted("endhost_udp_iperf_ratio"):
            ratio(report, "endhost_udp_iperf_ratio", "the same by iperf3, which sends and receives one at a time and loses what "
                  "it is too slow for, received", 0.8, "Mpps", alternate(iperf_udp_once, lab, 1, 5))
    finally:
        lab.close()


IDS = ["endhost_tcp_ratio", "endhost_udp_ratio", "endhost_udp_iperf_ratio"]
