#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Rows for tests/bpf/rows.c: packets before and after, made by scapy.

Built by `/usr/bin/python3 tests/bpf/gen.py >build/tests/bpf/gen.h`. Nothing in here knows how the
data plane translates: both packets of a row are built from their own fields, with checksums of
scapy's, so what rows.c compares comes from two independent hands.

A row's packet has a MAC header on tc too, for BPF_PROG_TEST_RUN wants one.
"""
import logging

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import (  # noqa: E402
    IP, TCP, UDP, ICMP, Dot1Q, Ether, ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest,
    ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded, IPOption_NOP, IPOption_RR, IPv6, IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, PadN, Raw, checksum, fragment, fragment6)

V = {4: "10.77.0.5", 6: "fd77::5"}  # the mobile's virtual addresses
M = {4: "192.0.2.10", 6: "2001:db8:1::10"}  # its point
A = {4: "198.51.100.1", 6: "2001:db8:2::1"}  # the anchor's
S = {4: "203.0.113.80", 6: "2001:db8:5::80"}  # the correspondent
R = {4: "192.0.2.99", 6: "2001:db8:1::99"}  # a router under way
X = {4: "192.0.2.66", 6: "2001:db8:1::66"}  # a stranger
# A second point of the mobile: known, but neither current nor graced.
OLD = {4: "192.0.2.11", 6: "2001:db8:1::11"}

PORT = {"tcp": 80, "udp": 53}
EMULATOR = {(4, "tcp"): 8080, (4, "udp"): 5353, (4, "icmp"): 0x4200,
            (6, "tcp"): 8081, (6, "udp"): 5354, (6, "icmp"): 0x4300}
MPORT = 40001  # the mobile's, the same inside and outside
CONTROL = 4690

WAN, LAN = "02:00:00:00:00:01", "02:00:00:00:00:02"  # our interfaces
WAN_PEER, LAN_PEER = "02:00:00:00:00:11", "02:00:00:00:00:12"  # permanent neighbours behind them

PASS, DROP, OK, REDIRECT = "TC_ACT_UNSPEC", "TC_ACT_SHOT", "TC_ACT_OK", "TC_ACT_REDIRECT"
XPASS, XREDIRECT, XTX = "XDP_PASS", "XDP_REDIRECT", "XDP_TX"
NOBODY = "-1"

rows = []


def data(n):
    return Raw(bytes((i * 7 + 3) & 0xFF for i in range(n)))


def ip(fam, src, dst, ttl=64, **more):
    if fam == 4:
        return IP(src=src, dst=dst, ttl=ttl, id=more.pop("id", 0x1234), flags=more.pop("df", "DF"),
                  tos=more.pop("tos", 0), **more)
    return IPv6(src=src, dst=dst, hlim=ttl, tc=more.pop("tos", 0), **more)


def l4(proto, sport, dport, flags="A"):
    if proto == "tcp":
        return TCP(sport=sport, dport=dport, seq=0x01020304, ack=0x0A0B0C0D, flags=flags,
                   options=[("NOP", None), ("NOP", None), ("Timestamp", (77, 99))])
    return UDP(sport=sport, dport=dport)


def echo(fam, reply, ident, n=56):
    if fam == 4:
        return ICMP(type=0 if reply else 8, id=ident, seq=7) / data(n)
    kind = ICMPv6EchoReply if reply else ICMPv6EchoRequest
    return kind(id=ident, seq=7, data=bytes(data(n)))


def inner(fam, proto, up, payload, flags="A", ttl=64, **more):
    src, dst = (V, S) if up else (S, V)
    sport, dport = (MPORT, PORT[proto]) if up else (PORT[proto], MPORT)
    return ip(fam, src[fam], dst[fam], ttl, **more) / l4(proto, sport, dport, flags) / payload


def outer(fam, proto, up, payload, flags="A", ttl=64, service=None, point=M, **more):
    src, dst = (point, A) if up else (A, point)
    emulator = EMULATOR[(service or fam, proto)]
    sport, dport = (MPORT, emulator) if up else (emulator, MPORT)
    return ip(fam, src[fam], dst[fam], ttl, **more) / l4(proto, sport, dport, flags) / payload


def mac(hook, tagged=()):
    """Header that a packet comes with."""
    eth = Ether(dst=LAN, src=LAN_PEER) if hook == "ENCODE" else Ether(dst=WAN, src=WAN_PEER)
    for tag in tagged:
        eth /= Dot1Q(vlan=tag)
    return eth


def frame(eth, packet):
    eth = eth.copy()
    last = eth.lastlayer()
    last.type = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return bytes(eth) + packet


def row(name, hook, before, after=None, role="ANCHOR", outer_fam=4, tc=None, xdp=None, reason=None,
        tags=(), after_xdp=None, flow=True, cont=False, mask_id=False, setup="0", pad=b""):
    """`before` and `after` are IP packets; `after_xdp` the same with one hop less; `pad` is behind
    all of them. after=None: untouched."""
    assert (after is None) == (after_xdp is None) or xdp == NOBODY or after_xdp is None
    packet = bytes(before)
    tc = tc or (REDIRECT if after is not None else PASS)
    if xdp is None:
        xdp = XREDIRECT if after_xdp is not None else XPASS
    back = Ether(dst=WAN_PEER, src=WAN) if hook == "ENCODE" else Ether(dst=LAN_PEER, src=LAN)
    rows.append(dict(
        name=name, hook=hook, role=role, outer=outer_fam, tc=tc, xdp=xdp,
        reason="HF_REASON_" + (reason or ("NONE" if after is None else
                                          "DECODED" if hook == "DECODE" else "ENCODED")),
        before=frame(mac(hook, tags), packet) + pad,
        tc_after=frame(mac(hook), bytes(after)) + pad if after is not None else None,
        xdp_after=frame(back, bytes(after_xdp)) + pad if after_xdp is not None else None,
        flow=flow, cont=cont, mask_id=mask_id, setup=setup))


def translated(name, hook, build_before, build_after, **more):
    """Both are functions of the TTL."""
    row(name, hook, build_before(64), build_after(64), after_xdp=build_after(63), **more)


def side(role, hook):
    """Does the packet go up, from the mobile to the correspondent?"""
    return (role == "MOBILE") == (hook == "ENCODE")


def plain_rows():
    for fam in (4, 6):
        for proto in ("tcp", "udp"):
            for role in ("MOBILE", "ANCHOR"):
                for hook in ("ENCODE", "DECODE"):
                    up = side(role, hook)
                    for n in (0, 1, 9, 64, 1200):
                        p = data(n)
                        tos = 0x2A if n == 64 else 0

                        def i(ttl, fam=fam, proto=proto, up=up, p=p, tos=tos):
                            return inner(fam, proto, up, p, ttl=ttl, tos=tos)

                        def o(ttl, fam=fam, proto=proto, up=up, p=p, tos=tos):
                            return outer(fam, proto, up, p, ttl=ttl, tos=tos)

                        before, after = (i, o) if hook == "ENCODE" else (o, i)
                        translated(f"N1 N18 {hook.lower()} {role.lower()} {proto} v{fam} {n} octets",
                                   hook, before, after, role=role, outer_fam=fam)


def flow_rows():
    """Who may open a flow: RFC 5382 REQ-1, RFC 4787 REQ-8."""
    for fam in (4, 6):
        def i(up, proto, flags):
            return lambda ttl: inner(fam, proto, up, data(0), flags, ttl)

        def o(up, proto, flags):
            return lambda ttl: outer(fam, proto, up, data(0), flags, ttl)

        translated(f"N1 N2 SYN of the mobile opens a flow at the mobile v{fam}", "ENCODE",
                   i(True, "tcp", "S"), o(True, "tcp", "S"), role="MOBILE", outer_fam=fam, flow=False)
        translated(f"N1 N2 SYN of the mobile opens a flow at the anchor v{fam}", "DECODE",
                   o(True, "tcp", "S"), i(True, "tcp", "S"), outer_fam=fam, flow=False)
        translated(f"N1 N2 datagram of the mobile opens a flow at the mobile v{fam}", "ENCODE",
                   i(True, "udp", ""), o(True, "udp", ""), role="MOBILE", outer_fam=fam, flow=False)
        translated(f"N1 N2 datagram of the mobile opens a flow at the anchor v{fam}", "DECODE",
                   o(True, "udp", ""), i(True, "udp", ""), outer_fam=fam, flow=False)
        for flags in ("A", "SA", "FA", "R"):
            row(f"N1 segment {flags} without a flow at the mobile v{fam}", "ENCODE",
                i(True, "tcp", flags)(64), role="MOBILE", outer_fam=fam, flow=False, tc=OK,
                reason="NO_FLOW")
            row(f"N1 segment {flags} without a flow at the anchor v{fam}", "DECODE",
                o(True, "tcp", flags)(64), outer_fam=fam, flow=False, tc=DROP, reason="NO_FLOW")
        for proto in ("tcp", "udp"):
            row(f"N1 the correspondent opens no {proto} flow v{fam}", "ENCODE",
                i(False, proto, "S")(64), outer_fam=fam, flow=False, tc=OK, reason="NO_FLOW")
            row(f"N1 the anchor opens no {proto} flow at the mobile v{fam}", "DECODE",
                o(False, proto, "S")(64), role="MOBILE", outer_fam=fam, flow=False, tc=DROP,
                reason="NO_FLOW")


def header_rows():
    for hook in ("ENCODE", "DECODE"):
        up = side("ANCHOR", hook)
        low = hook.lower()

        def pair(fam, i, o, name, **more):
            before, after = (i, o) if hook == "ENCODE" else (o, i)
            translated(name, hook, before, after, outer_fam=fam, **more)

        def nosum(kind):
            def build(ttl):
                p = kind(4, "udp", up, data(11), ttl=ttl)
                p[UDP].chksum = 0
                return p
            return build

        pair(4, nosum(inner), nosum(outer), f"N1 {low} UDP without checksum stays without")

        options = [IPOption_NOP(), IPOption_RR(length=11, pointer=4, routers=["0.0.0.0", "0.0.0.0"])]
        pair(4, lambda t: inner(4, "tcp", up, data(33), ttl=t, options=options),
             lambda t: outer(4, "tcp", up, data(33), ttl=t, options=options),
             f"N18 {low} IPv4 options are kept")

        def extended(kind):
            def build(ttl):
                p = kind(6, "tcp", up, data(21), ttl=ttl)
                head, body = p.copy(), p[TCP].copy()
                head.remove_payload()
                return (head / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) /
                        IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)]) / body)
            return build

        pair(6, extended(inner), extended(outer), f"N18 {low} IPv6 extension headers are kept")
        for fam in (4, 6):
            for tags in ((100,), (100, 200)):
                pair(fam, lambda t: inner(fam, "tcp", up, data(40), ttl=t),
                     lambda t: outer(fam, "tcp", up, data(40), ttl=t),
                     f"N18 {low} {len(tags)} VLAN tags v{fam}",
                     tags=tags if hook == "DECODE" else ())
            i, o = inner(fam, "tcp", up, data(8), ttl=1), outer(fam, "tcp", up, data(8), ttl=1)
            row(f"N18 {low} hop limit 1 is left to the stack by XDP v{fam}", hook,
                i if hook == "ENCODE" else o, o if hook == "ENCODE" else i, outer_fam=fam,
                xdp=XPASS)


def echo_rows():
    for fam in (4, 6):
        base = EMULATOR[(fam, "icmp")]
        # At the mobile the inner identifier 0x1277 gets the same low octet in the service's block.
        low, inner_id, outer_id = "echo v%d" % fam, 0x1277, base | 0x77
        for n in (0, 1, 56):
            translated(f"N1 N18 {low} request opens a flow at the mobile, {n} octets", "ENCODE",
                       lambda t: ip(fam, V[fam], S[fam], t) / echo(fam, False, inner_id, n),
                       lambda t: ip(fam, M[fam], A[fam], t) / echo(fam, False, outer_id, n),
                       role="MOBILE", outer_fam=fam, flow=False)
            translated(f"N1 N18 {low} its reply at the mobile, {n} octets", "DECODE",
                       lambda t: ip(fam, A[fam], M[fam], t) / echo(fam, True, outer_id, n),
                       lambda t: ip(fam, S[fam], V[fam], t) / echo(fam, True, inner_id, n),
                       role="MOBILE", outer_fam=fam, cont=True)
            translated(f"N1 N18 {low} request opens a flow at the anchor, {n} octets", "DECODE",
                       lambda t: ip(fam, M[fam], A[fam], t) / echo(fam, False, outer_id, n),
                       lambda t: ip(fam, V[fam], S[fam], t) / echo(fam, False, outer_id, n),
                       outer_fam=fam, flow=False)
            translated(f"N1 N18 {low} its reply at the anchor, {n} octets", "ENCODE",
                       lambda t: ip(fam, S[fam], V[fam], t) / echo(fam, True, outer_id, n),
                       lambda t: ip(fam, A[fam], M[fam], t) / echo(fam, True, outer_id, n),
                       outer_fam=fam, cont=True)
        row(f"N1 {low} reply that nobody asked for passes at the mobile", "DECODE",
            ip(fam, A[fam], M[fam]) / echo(fam, True, outer_id), role="MOBILE", outer_fam=fam,
            flow=False)
        row(f"N1 {low} request of the correspondent opens nothing", "ENCODE",
            ip(fam, S[fam], V[fam]) / echo(fam, False, 0x4277), outer_fam=fam, flow=False,
            tc=OK, reason="NO_FLOW")


def errors(fam):
    """(name, function of the quoted packet, quoted length)"""
    if fam == 4:
        return [("time exceeded", lambda q: ICMP(type=11, code=0) / Raw(q)),
                ("port unreachable", lambda q: ICMP(type=3, code=3) / Raw(q)),
                ("fragmentation needed", lambda q: ICMP(type=3, code=4, nexthopmtu=1380) / Raw(q))]
    return [("time exceeded", lambda q: ICMPv6TimeExceeded(code=0) / Raw(q)),
            ("port unreachable", lambda q: ICMPv6DestUnreach(code=4) / Raw(q)),
            ("packet too big", lambda q: ICMPv6PacketTooBig(mtu=1380) / Raw(q))]


def error_rows():
    for fam in (4, 6):
        head = 20 if fam == 4 else 40
        for name, error in errors(fam):
            for proto in ("tcp", "udp"):
                for role in ("MOBILE", "ANCHOR"):
                    for what, cut in (("8 octets quoted", head + 8), ("all quoted", 2000)):
                        up = role == "MOBILE"
                        # about a packet that we sent: from a router on the way
                        sent_i = bytes(inner(fam, proto, up, data(60)))[:cut]
                        sent_o = bytes(outer(fam, proto, up, data(60)))[:cut]
                        us, them = (M, A) if up else (A, M)
                        app, other = (V, S) if up else (S, V)
                        translated(f"N1 N18 decode v{fam} {name} {role.lower()} {proto} {what}", "DECODE",
                                   lambda t: ip(fam, R[fam], us[fam], t) / error(sent_o),
                                   lambda t: ip(fam, other[fam], app[fam], t) / error(sent_i),
                                   role=role, outer_fam=fam)
                        # about a packet that came to our side: from the host there
                        came_i = bytes(inner(fam, proto, not up, data(60)))[:cut]
                        came_o = bytes(outer(fam, proto, not up, data(60)))[:cut]
                        translated(f"N1 N18 encode v{fam} {name} {role.lower()} {proto} {what}", "ENCODE",
                                   lambda t: ip(fam, app[fam], other[fam], t) / error(came_i),
                                   lambda t: ip(fam, us[fam], them[fam], t) / error(came_o),
                                   role=role, outer_fam=fam)
        quoted_i = bytes(ip(fam, S[fam], V[fam]) / echo(fam, True, EMULATOR[(fam, "icmp")] | 9))
        quoted_o = bytes(ip(fam, A[fam], M[fam]) / echo(fam, True, EMULATOR[(fam, "icmp")] | 9))
        name, error = errors(fam)[0]
        translated(f"N1 N18 decode v{fam} {name} anchor echo", "DECODE",
                   lambda t: ip(fam, R[fam], A[fam], t) / error(quoted_o),
                   lambda t: ip(fam, V[fam], S[fam], t) / error(quoted_i), outer_fam=fam)
        # what follows the packet in its frame is no part of the quoted one
        short_i, short_o = (bytes(build(fam, "tcp", False, data(60)))[:head + 8] for build in (inner, outer))
        translated(f"N18 decode v{fam} {name} with octets behind it", "DECODE",
                   lambda t: ip(fam, R[fam], A[fam], t) / error(short_o),
                   lambda t: ip(fam, V[fam], S[fam], t) / error(short_i), outer_fam=fam,
                   pad=bytes(range(1, 33)), setup="ROW_PADDED")
        stranger = bytes(ip(fam, A[fam], X[fam]) / l4("tcp", 8080, 5) / data(9))
        row(f"N1 error about somebody else's packet passes v{fam}", "DECODE",
            ip(fam, R[fam], A[fam]) / error(stranger), outer_fam=fam)


def fragment_rows():
    for fam in (4, 6):
        for hook in ("ENCODE", "DECODE"):
            up = side("ANCHOR", hook)

            def pieces(kind, ttl):
                whole = kind(fam, "udp", up, data(1800), ttl=ttl, **({"df": 0} if fam == 4 else {}))
                if fam == 4:
                    return fragment(whole, fragsize=800)
                head, body = whole.copy(), whole[UDP].copy()
                head.remove_payload()
                return fragment6(head / IPv6ExtHdrFragment(id=0x0BADCAFE) / body, 900)

            b, a = (inner, outer) if hook == "ENCODE" else (outer, inner)
            before, after, hop = pieces(b, 64), pieces(a, 64), pieces(a, 63)
            assert len(before) == len(after) >= 3
            for n, (x, y, z) in enumerate(zip(before, after, hop)):
                row(f"N18 {hook.lower()} v{fam} fragment {n} in order", hook, x, y, after_xdp=z,
                    outer_fam=fam, cont=n > 0)
            # the daemon gets it: by redirection to hf0 at a NIC, by letting it pass on hf0
            row(f"N18 {hook.lower()} v{fam} fragment before the first", hook, before[1], outer_fam=fam,
                tc=OK if hook == "ENCODE" else REDIRECT, reason="FRAGMENT_EARLY")
            row(f"N18 {hook.lower()} v{fam} the first after it", hook, before[0], after[0],
                after_xdp=hop[0], outer_fam=fam, cont=True)
            row(f"N18 {hook.lower()} v{fam} the early one again", hook, before[1], after[1],
                after_xdp=hop[1], outer_fam=fam, cont=True)


def cross_rows():
    for inner_fam, outer_fam in ((4, 6), (6, 4)):
        for role in ("MOBILE", "ANCHOR"):
            for hook in ("ENCODE", "DECODE"):
                up = side(role, hook)
                for proto in ("tcp", "udp", "icmp"):
                    for n in (1300, 47):
                        # IPv4 made from IPv6: DF and no identifier above 1260 octets, else neither
                        made4 = dict(id=0, df="DF" if n == 1300 else 0)
                        to4 = (outer_fam if hook == "ENCODE" else inner_fam) == 4

                        def i(ttl):
                            more = made4 if to4 and hook == "DECODE" else {}
                            more = dict(more, tos=0x28)
                            if proto != "icmp":
                                return inner(inner_fam, proto, up, data(n), ttl=ttl, **more)
                            src, dst = (V, S) if up else (S, V)
                            return (ip(inner_fam, src[inner_fam], dst[inner_fam], ttl, **more) /
                                    echo(inner_fam, not up, ident_i, n))

                        def o(ttl):
                            more = made4 if to4 and hook == "ENCODE" else {}
                            more = dict(more, tos=0x28)
                            if proto != "icmp":
                                return outer(outer_fam, proto, up, data(n), ttl=ttl,
                                             service=inner_fam, **more)
                            src, dst = (M, A) if up else (A, M)
                            return (ip(outer_fam, src[outer_fam], dst[outer_fam], ttl, **more) /
                                    echo(outer_fam, not up, ident_o, n))

                        ident_o = EMULATOR[(inner_fam, "icmp")] | 0x77
                        ident_i = 0x1277 if role == "MOBILE" else ident_o
                        before, after = (i, o) if hook == "ENCODE" else (o, i)
                        translated(f"N18 {hook.lower()} {role.lower()} {proto} v{inner_fam} in v{outer_fam} "
                                   f"{n} octets", hook, before, after, role=role, outer_fam=outer_fam,
                                   mask_id=to4 and n != 1300)


def unreachable(fam, code):
    return lambda q: (ICMP(type=3, code=code) if fam == 4 else ICMPv6DestUnreach(code=code)) / Raw(q)


def too_big(fam, mtu):
    return lambda q: (ICMP(type=3, code=4, nexthopmtu=mtu) if fam == 4
                      else ICMPv6PacketTooBig(mtu=mtu)) / Raw(q)


def crossed_errors(to, decode):
    """(name, error in the other family, error in this one): RFC 7915 sections 4.2 and 5.2."""
    late = {4: lambda q: ICMP(type=11, code=0) / Raw(q), 6: lambda q: ICMPv6TimeExceeded(code=0) / Raw(q)}
    proto = {4: unreachable(4, 2), 6: lambda q: ICMPv6ParamProblem(code=1, ptr=6) / Raw(q)}
    fam = 10 - to
    same = [("time exceeded", late[fam], late[to]), ("protocol unreachable", proto[fam], proto[to])]
    if to == 6:
        codes = {0: 0, 1: 0, 3: 4, 5: 0, 6: 0, 9: 1, 10: 1, 11: 0, 12: 0, 13: 1, 15: 1}
        # a host takes nothing below 1280, the other end of the path does; 0: the plateau below the quoted length
        mtus = {1320: 1340, 1000: 1280 if decode else 1020, 0: 1300}
    else:
        codes = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}
        mtus = {1380: 1360, 1300: 1280, 1280: 1260, 70000: 65535, 50: 68}
    return (same + [(f"unreachable {a}", unreachable(fam, a), unreachable(to, b)) for a, b in codes.items()] +
            [(f"MTU {a}", too_big(fam, a), too_big(to, b)) for a, b in mtus.items()])


def crossed_error_rows():
    for inner_fam, outer_fam in ((4, 6), (6, 4)):
        for hook in ("ENCODE", "DECODE"):
            decode = hook == "DECODE"
            fam, to = (outer_fam, inner_fam) if decode else (inner_fam, outer_fam)
            made4 = dict(id=0, df=0) if to == 4 else {}
            label = f"{hook.lower()} v{inner_fam} in v{outer_fam}"
            for role in ("MOBILE", "ANCHOR"):
                up = role == "MOBILE"
                us, them = (M, A) if up else (A, M)
                app, other = (V, S) if up else (S, V)

                def quotes(proto, n):
                    """The quoted packet before and after."""
                    way = up if decode else not up
                    i = inner(inner_fam, proto, way, data(n), **(made4 if decode else {}))
                    o = outer(outer_fam, proto, way, data(n), service=inner_fam,
                              **({} if decode else made4))
                    return (bytes(o), bytes(i)) if decode else (bytes(i), bytes(o))

                def pair(name, before, after, **more):
                    if decode:
                        b = lambda t: ip(fam, R[fam], us[fam], t) / before
                        a = lambda t: ip(to, other[to], app[to], t, **made4) / after
                    else:
                        b = lambda t: ip(fam, app[fam], other[fam], t) / before
                        a = lambda t: ip(to, us[to], them[to], t, **made4) / after
                    translated(f"N1 N18 {label} {role.lower()} {name}", hook, b, a, role=role,
                               outer_fam=outer_fam, mask_id=to == 4, **more)

                for name, error, expected in crossed_errors(to, decode):
                    q, r = quotes("udp", 61)
                    pair(f"{name} udp", error(q), expected(r))
                name, error, expected = crossed_errors(to, decode)[-1]
                for proto in ("tcp", "udp"):
                    for keep in (8, 9, 16, 18, 33):
                        q, r = quotes(proto, 60)
                        q, r = q[:(20 if fam == 4 else 40) + keep], r[:(20 if to == 4 else 40) + keep]
                        pair(f"{name} {proto} {keep} octets quoted", error(q), expected(r))
                # what is too long for a network that may cut is quoted with DF
                q, r = quotes("udp", 1300)
                if to == 4:
                    head = IP(r[:20])
                    head.flags, head.chksum = "DF", None
                    r = bytes(head) + r[20:]
                cut = 400
                pair(f"{name} of a large packet", error(q[:cut]), expected(r[:cut + (20 if to == 6 else -20)]))
                # echo: its identifier, its type and its sum, too
                ident_o = EMULATOR[(inner_fam, "icmp")] | (0x77 if up else 9)
                ident_i = 0x1277 if up else ident_o
                reply = decode != up
                src_i, dst_i = (app, other) if decode else (other, app)
                src_o, dst_o = (us, them) if decode else (them, us)
                i = (ip(inner_fam, src_i[inner_fam], dst_i[inner_fam], **(made4 if decode else {})) /
                     echo(inner_fam, reply, ident_i))
                o = (ip(outer_fam, src_o[outer_fam], dst_o[outer_fam], **({} if decode else made4)) /
                     echo(outer_fam, reply, ident_o))
                q, r = (o, i) if decode else (i, o)
                pair(f"{name} echo", error(bytes(q)), expected(bytes(r)))
                # the first fragment of a packet, of which the error has no fragment header in IPv6
                i, o = (build(f, "udp", up if decode else not up, data(900), service=inner_fam)
                        if build is outer else build(f, "udp", up if decode else not up, data(900))
                        for build, f in ((inner, inner_fam), (outer, outer_fam)))
                whole_q, whole_r = (o, i) if decode else (i, o)
                q = bytes(cut_up(whole_q, 448, 0x12345678 & (0xFFFF if fam == 4 else ~0), 17)[0])
                r = (bytes(cut_up(whole_r, 448, 0x5678, 17)[0]) if to == 4 else
                     bytes(whole_r)[:4] + (448).to_bytes(2, "big") + bytes(whole_r)[6:40 + 448])
                pair(f"{name} first fragment", error(q), expected(r))
                # nothing to be said in the other family
                q = quotes("udp", 9)[0]
                bad = (ICMP(type=12, code=0, ptr=1) if fam == 4 else ICMPv6ParamProblem(code=0, ptr=1)) / Raw(q)
                b = (ip(fam, R[fam], us[fam]) if decode else ip(fam, app[fam], other[fam])) / bad
                row(f"N18 {label} {role.lower()} parameter problem is dropped", hook, b, role=role,
                    outer_fam=outer_fam, tc=DROP, reason="UNSUPPORTED")
                if fam == 4:
                    b = ((ip(fam, R[fam], us[fam]) if decode else ip(fam, app[fam], other[fam])) /
                         unreachable(4, 14)(q))
                    row(f"N18 {label} {role.lower()} precedence violation is dropped", hook, b, role=role,
                        outer_fam=outer_fam, tc=DROP, reason="UNSUPPORTED")
                if not decode and to == 6:
                    q = quotes("udp", 1400)[0][:1340]
                    row(f"N18 {label} {role.lower()} error that gets too large is dropped", hook,
                        ip(fam, app[fam], other[fam]) / unreachable(4, 3)(q), role=role,
                        outer_fam=outer_fam, tc=DROP, reason="TOO_BIG")


def cut_up(whole, size, ident, proto):
    """Fragments with `size` octets each, whatever the family."""
    head = whole.copy()
    head.remove_payload()
    four = head.version == 4
    body = bytes(whole)[20 if four else 40:]
    pieces = []
    for at in range(0, len(body), size):
        more, part = at + size < len(body), Raw(body[at:at + size])
        h = head.copy()
        if four:
            h.id, h.frag, h.flags, h.proto = ident & 0xFFFF, at // 8, "MF" if more else 0, proto
            pieces.append(h / part)
        else:
            h.nh = 44
            pieces.append(h / IPv6ExtHdrFragment(id=ident, m=more, offset=at // 8, nh=proto) / part)
    return pieces


def crossed_fragment_rows():
    for inner_fam, outer_fam in ((4, 6), (6, 4)):
        for role in ("MOBILE", "ANCHOR"):
            for hook in ("ENCODE", "DECODE"):
                for proto in ("udp", "tcp", "icmp"):
                    up, decode = side(role, hook), hook == "DECODE"
                    fam, to = (outer_fam, inner_fam) if decode else (inner_fam, outer_fam)
                    ident = 0x1234 if fam == 4 else 0x0BADCAFE
                    n = 1800

                    def whole(f, ttl, is_outer):
                        if proto != "icmp":
                            if is_outer:
                                return outer(f, proto, up, data(n), ttl=ttl, service=inner_fam)
                            return inner(f, proto, up, data(n), ttl=ttl)
                        i = EMULATOR[(inner_fam, "icmp")] | 0x77
                        if not is_outer:
                            src, dst = (V, S) if up else (S, V)
                            i = 0x1277 if role == "MOBILE" else i
                            return ip(f, src[f], dst[f], ttl) / echo(f, not up, i, n)
                        # no fragment tells ICMPv6's checksum the length: outside it is without in IPv6,
                        # with in IPv4
                        src, dst = (M, A) if up else (A, M)
                        head, body = ip(f, src[f], dst[f], ttl), echo(f, not up, i, n)
                        raw = bytearray(bytes(head / body)[20 if f == 4 else 40:])
                        raw[2:4] = b"\0\0"
                        if f == 4:
                            pseudo = len(raw).to_bytes(4, "big")
                        else:
                            pseudo = bytes(head)[8:40] + b"\0\0\0\x3a"
                        raw[2:4] = checksum(pseudo + bytes(raw)).to_bytes(2, "big")
                        return head / Raw(bytes(raw))

                    def pieces(f, ttl, is_outer):
                        number = {"udp": 17, "tcp": 6, "icmp": 1 if f == 4 else 58}[proto]
                        return cut_up(whole(f, ttl, is_outer), 800,
                                      ident if f == fam else ident & 0xFFFF, number)

                    before = pieces(fam, 64, decode)
                    after, hop = pieces(to, 64, not decode), pieces(to, 63, not decode)
                    assert len(before) == len(after) == 3
                    common = dict(role=role, outer_fam=outer_fam)
                    label = f"N18 {hook.lower()} {role.lower()} {proto} v{inner_fam} in v{outer_fam}"
                    for k in range(3):
                        row(f"{label} fragment {k} in order", hook, before[k], after[k],
                            after_xdp=hop[k], cont=k > 0, **common)
                    row(f"{label} fragment before the first", hook, before[2],
                        tc=REDIRECT if decode else OK, reason="FRAGMENT_EARLY", **common)
                    row(f"{label} the first after it", hook, before[0], after[0], after_xdp=hop[0],
                        cont=True, **common)
                    row(f"{label} the early one again", hook, before[2], after[2], after_xdp=hop[2],
                        cont=True, **common)
                    if decode:
                        row(f"{label} the daemon offers the early one again", "RELEASE", before[2],
                            after[2], tc=PASS, xdp=NOBODY, reason="DECODED", cont=True, **common)
                    if proto == "udp" and fam == 4:
                        w = whole(fam, 64, decode)
                        w[UDP].chksum = 0
                        row(f"{label} fragment without checksum cannot become IPv6", hook,
                            cut_up(w, 800, ident, 17)[0], tc=DROP if decode else OK,
                            reason="UNSUPPORTED", **common)
    extended = inner(6, "tcp", True, data(21))
    head, body = extended.copy(), extended[TCP].copy()
    head.remove_payload()
    options = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    small = lambda t: outer(4, "tcp", True, data(21), ttl=t, service=6, id=0, df=0)
    translated("N18 encode mobile v6 in v4 a short extension header goes", "ENCODE",
               lambda t: ip(6, V[6], S[6], t) / options / body, small, role="MOBILE", mask_id=True)
    fragment_id = IPv6ExtHdrFragment(id=7)
    for name, chain in (("two extension headers", options / options),
                        ("options behind a fragment header", IPv6ExtHdrFragment(id=7, m=1) / options)):
        row(f"N18 encode mobile v6 in v4 {name} are not carried", "ENCODE", head / chain / body,
            role="MOBILE", tc=OK, reason="UNSUPPORTED")
    translated("N18 encode mobile v6 in v4 atomic fragment", "ENCODE",
               lambda t: ip(6, V[6], S[6], t) / fragment_id / body, small, role="MOBILE", mask_id=True)


def probe_rows():
    for fam in (4, 6):
        for role in ("MOBILE", "ANCHOR"):
            us, peer = (M, A) if role == "MOBILE" else (A, M)
            body = bytes.fromhex("48465031 01 000000 00000007 00000009 1122334455667788")
            answer = body[:4] + b"\x02" + body[5:]

            def probe(src, dst, sport, dport, what, ttl):
                return ip(fam, src[fam], dst[fam], ttl) / UDP(sport=sport, dport=dport) / Raw(what)

            before = probe(peer, us, 50123, CONTROL, body, 57)
            after = probe(us, peer, CONTROL, 50123, answer, 64)
            row(f"M3 probe is answered by the data plane {role.lower()} v{fam}", "DECODE", before, after,
                after_xdp=after, role=role, outer_fam=fam, xdp=XTX, reason="PROBE_ECHOED")
            # it goes back to where it came from
            rows[-1]["tc_after"] = rows[-1]["xdp_after"] = frame(Ether(dst=WAN_PEER, src=WAN),
                                                                 bytes(after))
            row(f"M3 a reply goes to the daemon {role.lower()} v{fam}", "DECODE",
                probe(peer, us, 50123, CONTROL, answer, 64), role=role, outer_fam=fam)
            row(f"M3 probe of another length is not answered {role.lower()} v{fam}", "DECODE",
                probe(peer, us, 50123, CONTROL, body + b"\0", 64), role=role, outer_fam=fam)
            row(f"M3 probe of a stranger is not answered {role.lower()} v{fam}", "DECODE",
                probe(X, us, 50123, CONTROL, body, 64), role=role, outer_fam=fam)
            row(f"M3 probe to another port is not answered {role.lower()} v{fam}", "DECODE",
                probe(peer, us, 50123, CONTROL + 1, body, 64), role=role, outer_fam=fam)
        standby = ip(fam, OLD[fam], A[fam]) / UDP(sport=50123, dport=CONTROL) / Raw(body)
        after = ip(fam, A[fam], OLD[fam]) / UDP(sport=CONTROL, dport=50123) / Raw(answer)
        row(f"M3 probe of a standby path is answered v{fam}", "DECODE", standby, after, after_xdp=after,
            outer_fam=fam, xdp=XTX, reason="PROBE_ECHOED")
        rows[-1]["tc_after"] = rows[-1]["xdp_after"] = frame(Ether(dst=WAN_PEER, src=WAN), bytes(after))


def refusal_rows():
    for fam in (4, 6):
        for proto in ("tcp", "udp"):
            row(f"N4 unknown address at an emulator port is dropped {proto} v{fam}", "DECODE",
                outer(fam, proto, True, data(5), "S", point=X), outer_fam=fam, tc=DROP,
                reason="PEER_UNKNOWN", setup="ROW_LOOPBACK")
            row(f"N18 {proto} to that port of a host that we forward to passes v{fam}", "DECODE",
                ip(fam, X[fam], S[fam]) / l4(proto, 9, EMULATOR[(fam, proto)]), outer_fam=fam)
            row(f"N5 point that is neither current nor graced is dropped {proto} v{fam}", "DECODE",
                outer(fam, proto, True, data(5), point=OLD), outer_fam=fam, tc=DROP,
                reason="PEER_NOT_CURRENT")
            row(f"N5 element of peers that does not fit its path {proto} v{fam}", "DECODE",
                outer(fam, proto, True, data(5)), outer_fam=fam, tc=DROP, reason="PEER_UNKNOWN",
                setup="ROW_MISLED | ROW_LOOPBACK")
            row(f"N2 no service {proto} v{fam}", "ENCODE",
                ip(fam, V[fam], S[fam]) / l4(proto, MPORT, 81, "S"), role="MOBILE", outer_fam=fam,
                tc=OK, reason="NO_SERVICE")
            row(f"N2 service of another association {proto} v{fam}", "ENCODE",
                inner(fam, proto, True, data(5)), role="MOBILE", outer_fam=fam, tc=OK,
                reason="NO_SERVICE", setup="ROW_OTHER")
            row(f"N5 parked packet goes to the daemon {proto} v{fam}", "ENCODE",
                inner(fam, proto, True, data(5)), role="MOBILE", outer_fam=fam, tc=OK,
                reason="PARKED", setup="ROW_PARK")
            row(f"N6 packet goes to the daemon while there is no path {proto} v{fam}", "ENCODE",
                inner(fam, proto, True, data(5)), role="MOBILE", outer_fam=fam, tc=OK,
                reason="PARKED", setup="ROW_DOWN")
            row(f"N5 the daemon's release goes out while parked {proto} v{fam}", "RELEASE",
                inner(fam, proto, True, data(5)), outer(fam, proto, True, data(5)), role="MOBILE",
                outer_fam=fam, xdp=NOBODY, reason="ENCODED", setup="ROW_PARK")
            row(f"N6 a release without a path is dropped {proto} v{fam}", "RELEASE",
                inner(fam, proto, True, data(5)), role="MOBILE", outer_fam=fam, xdp=NOBODY, tc=DROP,
                reason="PARKED", setup="ROW_DOWN")
            row(f"N18 larger than the path's MTU {proto} v{fam}", "ENCODE",
                inner(fam, proto, True, data(1450)), role="MOBILE", outer_fam=fam, tc=OK,
                reason="TOO_BIG")
            row(f"N4 association that is not connected {proto} v{fam}", "ENCODE",
                inner(fam, proto, True, data(5)), role="MOBILE", outer_fam=fam, tc=OK,
                reason="NO_ASSOC", setup="ROW_UNUSED")
            row(f"N19 association at its limit refuses a new flow {proto} v{fam}", "DECODE",
                outer(fam, proto, True, data(5), "S"), outer_fam=fam, flow=False, tc=DROP,
                reason="ASSOC_FLOWS_FULL", setup="ROW_LIMIT")
            row(f"N1 somebody else's packet passes encode {proto} v{fam}", "ENCODE",
                ip(fam, X[fam], S[fam]) / l4(proto, 9, PORT[proto]), outer_fam=fam)
            row(f"N1 somebody else's packet passes decode {proto} v{fam}", "DECODE",
                ip(fam, X[fam], A[fam]) / l4(proto, 9, 22), outer_fam=fam)
            row(f"N1 other port of a peer passes {proto} v{fam}", "DECODE",
                ip(fam, M[fam], A[fam]) / l4(proto, 9, 22), outer_fam=fam)
        small = [inner(fam, "tcp", True, data(5), ttl=t) for t in (64, 63)]
        row(f"N18 XDP finds a way for a small packet v{fam}", "DECODE", outer(fam, "tcp", True, data(5)),
            small[0], after_xdp=small[1], outer_fam=fam)
        row(f"N18 XDP leaves a packet to the stack that is too large for it v{fam}", "DECODE",
            outer(fam, "tcp", True, data(1500)), inner(fam, "tcp", True, data(1500)), outer_fam=fam,
            cont=True)
        short = outer(fam, "tcp", True, data(0))
        short[TCP].dataofs = 15
        row(f"N18 TCP header longer than its packet v{fam}", "DECODE", short, outer_fam=fam, tc=DROP,
            reason="MALFORMED")
        long = outer(fam, "udp", True, data(3))
        long[UDP].len = 300
        row(f"N18 UDP length beyond its packet v{fam}", "DECODE", long, outer_fam=fam, tc=DROP,
            reason="MALFORMED")
    row("N18 other protocol of a host goes to the daemon", "ENCODE",
        ip(4, V[4], S[4], proto=47) / data(20), role="MOBILE", tc=OK, reason="UNSUPPORTED")
    row("N18 UDP without checksum cannot become IPv6", "ENCODE",
        ip(4, V[4], S[4]) / UDP(sport=MPORT, dport=53, chksum=0) / data(9), role="MOBILE", outer_fam=6,
        tc=OK, reason="UNSUPPORTED")
    row("N1 decode turns around on XDP when the server is behind the same interface", "DECODE",
        outer(4, "tcp", True, data(9)), inner(4, "tcp", True, data(9)),
        after_xdp=inner(4, "tcp", True, data(9), ttl=63), xdp=XTX, setup="ROW_ONE_ARM")


def literal(raw):
    return "NULL, 0" if raw is None else '(const __u8 *)"%s", %d' % (
        "".join("\\x%02x" % b for b in raw), len(raw))


def emit():
    print("/* made by tests/bpf/gen.py */")
    print("static const struct row rows[] = {")
    for r in rows:
        print('\t{ "%s", ROW_%s, HF_ROLE_%s, %d, %s, %s, %s, (%s)%s%s%s,\n\t  %s,\n\t  %s,\n\t  %s },' % (
            r["name"], r["hook"], r["role"], r["outer"], r["tc"], r["xdp"], r["reason"], r["setup"],
            " | ROW_FLOW" if r["flow"] else "", " | ROW_CONT" if r["cont"] else "",
            " | ROW_MASK_ID" if r["mask_id"] else "",
            literal(r["before"]), literal(r["tc_after"]), literal(r["xdp_after"])))
    print("};")


for make in (plain_rows, flow_rows, header_rows, echo_rows, error_rows, fragment_rows, cross_rows,
             crossed_error_rows, crossed_fragment_rows, probe_rows, refusal_rows):
    make()
emit()
