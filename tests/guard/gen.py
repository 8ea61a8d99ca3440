#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Rows for tests/guard/rows.c: packets before and after, made by scapy, with the slot before and after.

Built by `/usr/bin/python3 tests/guard/gen.py >build/tests/guard/gen.h`. Nothing in here knows how the
data plane rewrites: what is to come out is built from its own fields, with checksums of scapy's.
"""
import logging

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import (  # noqa: E402
    ARP, ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6ND_NA, ICMPv6ND_NS, IPOption_RR, IPv6, IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, PadN, Raw)

C = {4: "198.51.100.7", 6: "2001:db8:9::7"}  # the client
V = {4: "203.0.113.80", 6: "2001:db8:5::80"}  # the address that moves
R = {4: "198.51.100.9", 6: "2001:db8:9::9"}  # a neighbour
CPORT, VPORT = 40000, 80
OTHER_PORT = 22  # not guarded
IRS, ISS = 0x1000, 0x77000000
WRAP = 0xFFFFFF00  # an ISN with the wrap close behind
BIG = 5 << 32  # offset beyond 4 GiB
TSVAL, PEER_TSVAL = 5000, 9000
SCALE, PEER_SCALE = 7, 8
NONE = 2**64 - 1
NEVER, EVER = "0", "~0ull"
IN, OUT = "guard_in", "guard_out"

rows = []


def data(n):
    return Raw(bytes((i * 7 + 3) & 0xFF for i in range(n)))


def ip(fam, src, dst, **more):
    if fam == 4:
        return IP(src=src, dst=dst, id=0x1234, flags=more.pop("df", "DF"), **more)
    return IPv6(src=src, dst=dst, **more)


def options(ts, sack, nops):
    opts = [("NOP", None), ("NOP", None), ("Timestamp", ts)] if ts else []
    if sack:
        opts += [("NOP", None), ("NOP", None), ("SAck", sack)]
    return opts + [("NOP", None)] * nops


class Conn:
    """One connection; seq and ack of its segments are offsets of the two streams."""

    def __init__(self, fam=4, irs=IRS, iss=ISS, ts=True, sack=True, scale=SCALE, peer_scale=PEER_SCALE):
        self.fam, self.irs, self.iss, self.ts, self.sack = fam, irs, iss, ts, sack
        self.scale, self.peer_scale = scale, peer_scale

    def slot(self, mode="ACTIVE", **more):
        fields = dict(in_next=0, in_acked=0, out_max=0, out_acked=0, in_window=1 << 30, in_promise=1 << 62)
        fields.update(in_fin=NONE, tsval=TSVAL, peer_tsval=PEER_TSVAL, generation=1)
        fields.update(more)
        return dict(conn=self, mode=mode, **fields)

    def up(self, seq=0, ack=0, flags="A", n=0, win=500, ts=None, blocks=(), nops=0, head=None, opts=None, **more):
        """From the client."""
        times = (ts or (PEER_TSVAL + 5, TSVAL)) if self.ts else None
        if opts is None:
            opts = options(times, tuple((self.iss + 1 + b) % 2**32 for b in blocks), nops)
        tcp = TCP(sport=CPORT, dport=VPORT, seq=(self.irs + 1 + seq) % 2**32,
                  ack=(self.iss + 1 + ack) % 2**32 if "A" in flags else 0, flags=flags, window=win,
                  options=opts)
        return (head or ip(self.fam, C[self.fam], V[self.fam], **more)) / tcp / data(n)

    def down(self, seq=0, ack=0, flags="A", n=0, win=500, ts=None, blocks=(), nops=0, head=None, opts=None, **more):
        """From us."""
        times = (ts or (TSVAL + 3, PEER_TSVAL)) if self.ts else None
        if opts is None:
            opts = options(times, tuple((self.irs + 1 + b) % 2**32 for b in blocks), nops)
        tcp = TCP(sport=VPORT, dport=CPORT, seq=(self.iss + 1 + seq) % 2**32,
                  ack=(self.irs + 1 + ack) % 2**32 if "A" in flags else 0, flags=flags, window=win,
                  options=opts)
        return (head or ip(self.fam, V[self.fam], C[self.fam], **more)) / tcp / data(n)

    def syn(self, irs=None, flags="S", n=0):
        opts = [("MSS", 1400)]
        if self.sack:
            opts.append(("SAckOK", b""))
        if self.ts:
            opts.append(("Timestamp", (PEER_TSVAL, 0)))
        if self.peer_scale is not None:
            opts += [("NOP", None), ("WScale", self.peer_scale)]
        tcp = TCP(sport=CPORT, dport=VPORT, seq=self.irs if irs is None else irs, ack=0, flags=flags, window=64240,
                  options=opts)
        return ip(self.fam, C[self.fam], V[self.fam]) / tcp / data(n)

    def synack(self, irs=None, iss=None):
        opts = [("MSS", 1380)]
        if self.sack:
            opts.append(("SAckOK", b""))
        if self.ts:
            opts.append(("Timestamp", (TSVAL, PEER_TSVAL)))
        if self.scale is not None:
            opts += [("NOP", None), ("WScale", self.scale)]
        tcp = TCP(sport=VPORT, dport=CPORT, seq=self.iss if iss is None else iss,
                  ack=((self.irs if irs is None else irs) + 1) % 2**32, flags="SA", window=65160, options=opts)
        return ip(self.fam, V[self.fam], C[self.fam]) / tcp


def frame(packet, tags=()):
    if isinstance(packet, bytes):
        kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    elif isinstance(packet, ARP):
        kind = 0x0806
    else:
        kind = 0x0800 if isinstance(packet, IP) else 0x86DD
    eth = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:11")
    for tag in tags:
        eth /= Dot1Q(vlan=tag)
    eth.lastlayer().type = kind
    return bytes(eth) + bytes(packet)


def row(name, prog, before, reason, after=None, drop=None, slot=None, want=None, events=(), cont=False, mark=0,
        gso=0, lease=EVER, unknown="0", full=False, foreign=None, clamped=False, kept=None, limited=None,
        rate=100, tags=(), facts=None):
    """`reason` None: not counted. after=None: untouched. `want`: fields of the slot afterwards; of slot 0 if
    the row has one, of the one that was opened otherwise. `events`: types. `cont`: goes on where the row
    before it stopped."""
    if drop is None:
        drop = reason not in (None, "PASSED_IN", "PASSED_OUT")
    rows.append(dict(
        name=name, prog=prog, reason="GUARD_REASON_" + reason if reason else "GUARD_REASON_COUNT",
        verdict="TC_ACT_SHOT" if drop else "TC_ACT_UNSPEC", before=frame(before, tags),
        after=frame(after, tags) if after is not None else None, slot=slot, want=want or {}, events=list(events),
        cont=cont, mark=mark, gso=gso, lease=lease, unknown=unknown, full=full, foreign=foreign, clamped=clamped,
        rate=rate, facts=facts, kept=kept, limited=limited))


def handshake_rows():
    for fam in (4, 6):
        for ts in (True, False):
            for sack in (True, False):
                for scale in (SCALE, None):
                    c = Conn(fam, ts=ts, sack=sack, scale=scale)
                    what = f"v{fam}{' TS' if ts else ''}{' SACK' if sack else ''}{' wscale' if scale else ''}"
                    facts = dict(irs=IRS, iss=ISS, peer_mss=1400, our_mss=1380,
                                 peer_wscale=PEER_SCALE if scale else 0, our_wscale=scale or 0,
                                 options=(1 if ts else 0) | (2 if sack else 0) | (4 if scale else 0),
                                 tsval=TSVAL if ts else 0, peer_tsval=PEER_TSVAL if ts else 0)
                    row(f"T1 SYN passes and takes no slot {what}", IN, c.syn(), "PASSED_IN")
                    row(f"T1 SYN-ACK completes the facts {what}", OUT, c.synack(), "SYNACK_HELD", cont=True,
                        events=["EMBRYO"], facts=facts)
                    row(f"T1 ACK of the SYN-ACK opens a slot {what}", IN, c.up(), "PASSED_IN", cont=True,
                        events=["OPENED"], facts=facts,
                        want=dict(mode=1, in_commit=0, in_next=0, in_max=0, out_acked=0, out_max=0,
                                  in_fin=NONE, generation=1, peer_window=500 << (PEER_SCALE if scale else 0),
                                  peer_tsval=PEER_TSVAL + 5 if ts else 0))
                    row(f"T7 first data is not acknowledged before its commit {what}", OUT,
                        c.down(ack=100, win=501), "PASSED_OUT", cont=True, clamped=True,
                        after=c.down(ack=0, win=min(65535, (100 + (501 << (scale or 0))) >> (scale or 0))),
                        want=dict(in_next=100, in_acked=0))
        c = Conn(fam)
        row(f"T1 SYN before data comes with the ACK v{fam}", IN, c.syn(), "PASSED_IN")
        row(f"T1 its SYN-ACK waits for its record v{fam}", OUT, c.synack(), "SYNACK_HELD", cont=True, events=["EMBRYO"])
        row(f"T1 user space's SYN-ACK with another number is void v{fam}", OUT, c.synack(iss=ISS + 1), "UNREADY", cont=True,
            mark="GUARD_MARK")
        row(f"T1 user space's SYN-ACK leaves v{fam}", OUT, c.synack(), "PASSED_OUT", cont=True, mark="GUARD_MARK")
        row(f"T1 and the kernel may repeat it v{fam}", OUT, c.synack(), "PASSED_OUT", cont=True)
        row(f"T1 SYN again after the SYN-ACK keeps the facts v{fam}", IN, c.syn(), "PASSED_IN", cont=True)
        row(f"T1 SYN of a stranger keeps the facts v{fam}", IN, c.syn(irs=IRS + 99), "PASSED_IN", cont=True)
        row(f"T1 ACK with a wrong number opens nothing v{fam}", IN, c.up(ack=1, n=9), None, cont=True)
        row(f"T1 ACK from outside the window opens nothing v{fam}", IN, c.up(seq=(65535 << SCALE) + 1), None, cont=True)
        row(f"T1 RST opens nothing v{fam}", IN, c.up(flags="RA"), None, cont=True)
        row(f"T1 data opens the slot too v{fam}", IN, c.up(seq=0, flags="PA", n=40), "PASSED_IN", cont=True,
            events=["OPENED"], want=dict(in_max=40, in_commit=0))
        row(f"T1 SYN while the connection lives touches nothing v{fam}", IN, c.syn(irs=IRS + 77777), "PASSED_IN",
            cont=True, want=dict(in_max=40, asked=0))
        row(f"T1 SYN-ACK again for a connection that has a slot v{fam}", OUT, c.synack(), "PASSED_OUT", cont=True)
        row(f"T1 SYN-ACK of another connection waits v{fam}", OUT, c.synack(irs=IRS + 77777, iss=9), "UNREADY",
            cont=True)
        row(f"T1 nor with another number of ours v{fam}", OUT, c.synack(iss=ISS + 1), "UNREADY", cont=True)
        row(f"T1 SYN whose SYN-ACK names another v{fam}", IN, c.syn(), "PASSED_IN")
        row(f"T1 SYN-ACK that answers another SYN is held v{fam}", OUT, c.synack(irs=IRS + 9), "UNKNOWN_OUT", cont=True)
        row(f"T1 SYN-ACK without its SYN is held v{fam}", OUT, c.synack(), "UNKNOWN_OUT")
        row(f"T1 SYN with no event rate v{fam}", IN, c.syn(), "PASSED_IN", rate=0)
        row(f"T1 events of embryos are bounded v{fam}", OUT, c.synack(), "PASSED_OUT", cont=True, rate=0)
        row(f"T1 SYN is refused when no slot is free v{fam}", IN, c.syn(), "SYN_FULL", full=True, events=["FULL"])
        row(f"T1 and user space hears of it once a second v{fam}", IN, c.syn(), "SYN_FULL", cont=True)
        row(f"T1 ACK when the last slot is gone v{fam}", IN, c.up(), "SYN_FULL", full=True,
            foreign=c, events=["FULL"])
        row(f"T1 SYN to another port is nobody's v{fam}", IN,
            ip(fam, C[fam], V[fam]) / TCP(sport=1, dport=OTHER_PORT, flags="S"), None)
        row(f"T2 first segment of a handshake that another node answered v{fam}", IN, c.up(flags="PA", n=30),
            "UNREADY", foreign=c, events=["FRESH"], want=dict(mode=3, in_commit=0, out_acked=0))
        row(f"T2 its acknowledgement is taken as a probe's v{fam}", IN, c.up(flags="PA", n=30), "PROBED",
            cont=True, events=["PROBED"], want=dict(in_max=30, out_acked=0, probed=1, peer_window=500 << PEER_SCALE))
    for fam in (4, 6):
        c = Conn(fam)
        row(f"T1 SYN before the answer is slow v{fam}", IN, c.syn(), "PASSED_IN")
        row(f"T1 its SYN-ACK waits long v{fam}", OUT, c.synack(), "SYNACK_HELD", cont=True, events=["EMBRYO"])
        row(f"T1 so long that the kernel repeats it v{fam}", OUT, c.synack(), "SYNACK_HELD", cont=True)
        row(f"T1 then the answer is void v{fam}", OUT, c.synack(), "UNREADY", cont=True, mark="GUARD_MARK")
        row(f"T1 until the kernel answers again v{fam}", OUT, c.synack(iss=ISS + 5), "SYNACK_HELD", cont=True,
            events=["EMBRYO"])
        row(f"T1 SYN before a lease that ends v{fam}", IN, c.syn(), "PASSED_IN")
        row(f"T1 its SYN-ACK waits for its record, too v{fam}", OUT, c.synack(), "SYNACK_HELD", cont=True, events=["EMBRYO"])
        row(f"T1 the kernel repeats it when the lease has ended v{fam}", OUT, c.synack(), "FENCED_OUT", cont=True, lease="1")
        row(f"T1 then the answer is void, too v{fam}", OUT, c.synack(), "UNREADY", cont=True, mark="GUARD_MARK")
    c = Conn(4, irs=2**32 - 1, iss=2**32 - 1)
    row("T1 SYN with the highest number", IN, c.syn(), "PASSED_IN")
    row("T1 its SYN-ACK, highest number too", OUT, c.synack(), "SYNACK_HELD", cont=True, events=["EMBRYO"])
    row("T1 numbers wrap at once", IN, c.up(n=10), "PASSED_IN", cont=True, events=["OPENED"],
        want=dict(in_max=10, out_acked=0))


def layouts():
    """Clamping has to be right for each layout of options."""
    for fam in (4, 6):
        for ts in (True, False):
            for blocks in ((), (200, 300), (200, 300, 400, 500), (200, 300, 400, 500, 600, 700)):
                for n, gso in ((0, 0), (37, 0), (2800, 1400)):
                    yield Conn(fam, ts=ts), blocks, n, gso, "v%d%s %d blocks%s" % (
                        fam, " TS" if ts else "", len(blocks) // 2,
                        " GSO" if gso else " payload" if n else "")


def clamp_rows():
    for c, blocks, n, gso, what in layouts():
        nops = 4 + 4 * len(blocks) if blocks else 0
        row(f"T7 acknowledgement stops at the commit {what}", OUT,
            c.down(seq=10, ack=150, win=1000, n=n, blocks=blocks), "PASSED_OUT", gso=gso, clamped=True,
            slot=c.slot(in_commit=100, out_max=10),
            after=c.down(seq=10, ack=100, win=(50 + (1000 << SCALE)) >> SCALE, n=n, nops=nops),
            want=dict(in_next=150, in_acked=100, in_edge=100 + (((50 + (1000 << SCALE)) >> SCALE) << SCALE),
                      out_max=10 + n, tsval=TSVAL + 3 if c.ts else TSVAL))
        row(f"T7 acknowledgement of what is committed leaves as it is {what}", OUT,
            c.down(seq=10, ack=100, win=1000, n=n, blocks=blocks), "PASSED_OUT", gso=gso,
            slot=c.slot(in_commit=100, out_max=10),
            want=dict(in_next=100, in_acked=100, in_edge=100 + (1000 << SCALE), out_max=10 + n))
        row(f"no gate in mode OPEN {what}", OUT, c.down(ack=150, n=n, blocks=blocks), "PASSED_OUT", gso=gso,
            slot=c.slot("OPEN", in_commit=100), want=dict(in_next=150, in_acked=150))
    odd = [("Timestamp", (TSVAL + 3, PEER_TSVAL)), ("SAck", (0x2000, 0x3000)), ("NOP", None), ("NOP", None)]
    gone = [("Timestamp", (TSVAL + 3, PEER_TSVAL))] + [("NOP", None)] * 12
    shifted = [("NOP", None), ("SAck", (0x2000, 0x3000)), ("EOL", None)]
    flat = [("NOP", None)] * 11 + [("EOL", None)]
    c = Conn(4)
    row("T7 options without NOPs in front", OUT, c.down(ack=150, opts=odd), "PASSED_OUT", clamped=True,
        slot=c.slot(in_commit=100), after=c.down(ack=100, win=500, opts=gone), want=dict(tsval=TSVAL + 3))
    row("T7 SACK at an odd offset", OUT, c.down(ack=150, opts=shifted), "PASSED_OUT", clamped=True,
        slot=c.slot(in_commit=100), after=c.down(ack=100, win=500, opts=flat))
    for scale in (0, 7, 14):
        for commit, base in ((100, IRS), (BIG + 100, IRS), (BIG + 2**32 - 50, IRS), (100, WRAP), (2**31, IRS)):
            c = Conn(4, irs=base, scale=scale)
            what = f"scale {scale}, commit {commit:#x}, ISN {base:#x}"
            told = min(65535, (3000 + (400 << scale)) >> scale)
            row(f"T7 clamp at {what}", OUT, c.down(ack=commit + 3000, win=400), "PASSED_OUT", clamped=True,
                slot=c.slot(in_commit=commit, in_next=commit, in_acked=commit - 10, in_edge=commit + 5),
                after=c.down(ack=commit, win=told),
                want=dict(in_next=commit + 3000, in_acked=commit, in_edge=commit + (told << scale)))
            edge = commit + 3000 + (400 << scale)
            up = -(-(edge - commit) // (1 << scale))
            row(f"T7 edge that has left is not taken back, {what}", OUT, c.down(ack=commit + 3000, win=400, n=5),
                "PASSED_OUT", clamped=True, slot=c.slot(in_commit=commit, in_next=commit, in_acked=commit, in_edge=edge),
                after=c.down(ack=commit, win=up, n=5), want=dict(in_edge=commit + (up << scale)))
    c = Conn(4, scale=0)
    row("T7 window is at most 65535", OUT, c.down(ack=5000, win=65000), "PASSED_OUT", clamped=True,
        slot=c.slot(in_commit=100), after=c.down(ack=100, win=65535), want=dict(in_edge=65635))
    c = Conn(4)
    row("T7 gate far behind an open stream", OUT, c.down(ack=BIG), "PASSED_OUT",
        slot=c.slot("OPEN", in_commit=0, in_next=BIG - 9000), want=dict(in_next=BIG, in_acked=BIG))
    row("T3 acknowledgement that left while no gate was stays", OUT, c.down(ack=600), "PASSED_OUT",
        slot=c.slot(in_commit=500, in_next=600, in_acked=600), want=dict(in_acked=600))
    row("T7 and nothing above it leaves", OUT, c.down(ack=650, win=1000), "PASSED_OUT", cont=True, clamped=True,
        after=c.down(ack=600, win=(50 + (1000 << SCALE)) >> SCALE), want=dict(in_acked=600, in_next=650))
    row("what our kernel would say never goes back", OUT, c.down(ack=90), "PASSED_OUT",
        slot=c.slot(in_commit=500, in_next=500, in_acked=500), want=dict(in_next=500, in_acked=500))
    row("T7 VLAN tag inside the data", OUT, c.down(ack=150), "PASSED_OUT", clamped=True, tags=(5, 6),
        slot=c.slot(in_commit=100), after=c.down(ack=100, win=500))
    head = IP(src=V[4], dst=C[4], id=7, options=[IPOption_RR(length=7, pointer=4, routers=["0.0.0.0"])])
    row("T7 IPv4 options", OUT, c.down(ack=150, head=head), "PASSED_OUT", clamped=True,
        slot=c.slot(in_commit=100), after=c.down(ack=100, win=500, head=head))
    c = Conn(6)
    head = ip(6, V[6], C[6]) / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0\0\0")]) / IPv6ExtHdrDestOpt(
        options=[PadN(optdata=b"\0" * 12)])
    row("T7 IPv6 extension headers", OUT, c.down(ack=150, n=8, head=head), "PASSED_OUT", clamped=True,
        slot=c.slot(in_commit=100), after=c.down(ack=100, win=500, n=8, head=head))


def repeat_rows():
    for fam in (4, 6):
        c = Conn(fam)
        told = (50 + (1000 << SCALE)) >> SCALE
        slot = c.slot(in_commit=100, in_next=150, in_acked=100, in_edge=100 + (told << SCALE))
        again = c.down(ack=150, win=1000)
        row(f"T7 clamped repeat is held v{fam}", OUT, again, "REPEATED", slot=slot)
        row(f"T7 window that opens is told v{fam}", OUT, c.down(ack=160, win=1100), "PASSED_OUT", cont=True,
            clamped=True, after=c.down(ack=100, win=(60 + (1100 << SCALE)) >> SCALE))
        row(f"T7 commit alone is news v{fam}", OUT, again, "PASSED_OUT", slot=dict(slot, in_acked=90), clamped=True,
            after=c.down(ack=100, win=told), want=dict(in_acked=100))
        row(f"T7 payload is never a repeat v{fam}", OUT, c.down(ack=150, n=4, win=1000), "PASSED_OUT", slot=slot,
            clamped=True, after=c.down(ack=100, n=4, win=told))
        slot = c.slot(in_commit=100, in_next=150, in_acked=100, in_edge=100 + (told << SCALE), in_max=150)
        row(f"T7 retransmission asks for an answer v{fam}", IN, c.up(seq=100, n=50), "PASSED_IN", slot=slot,
            want=dict(asked=1, answered=0))
        row(f"T7 and gets one, though a repeat v{fam}", OUT, again, "PASSED_OUT", cont=True, clamped=True,
            after=c.down(ack=100, win=told), want=dict(asked=1, answered=1))
        row(f"T7 but only one v{fam}", OUT, again, "REPEATED", cont=True)
        row(f"T7 new data asks for nothing v{fam}", IN, c.up(seq=150, n=10), "PASSED_IN", cont=True,
            want=dict(asked=1, in_max=160))
        row(f"T7 keep-alive asks for an answer v{fam}", IN, c.up(seq=99), "PASSED_IN", cont=True, want=dict(asked=2))
        row(f"T7 octet beyond the window asks for an answer v{fam}", IN, c.up(seq=100 + (told << SCALE), n=1),
            "PASSED_IN", cont=True, want=dict(asked=3, in_max=160))
        taken_back = c.slot(in_commit=100, in_next=150, in_window=0, in_acked=100, in_edge=5000, in_max=4000, out_max=500)
        row(f"T7 acknowledgement from beyond a window that our kernel took back v{fam}", IN, c.up(seq=4000, ack=500),
            "PASSED_IN", slot=taken_back, after=c.up(seq=150, ack=500), want=dict(out_acked=500, in_max=4000))
        row(f"T7 data from there stays as it is v{fam}", IN, c.up(seq=4000, ack=500, n=7), "PASSED_IN", slot=taken_back,
            want=dict(out_acked=500))
        row(f"duplicates with SACK pass where nothing is clamped v{fam}", OUT,
            c.down(ack=100, win=1000, blocks=(200, 300)), "PASSED_OUT",
            slot=c.slot(in_commit=100, in_next=100, in_acked=100, in_edge=100 + (1000 << SCALE)))
        row(f"T3 and keep their blocks where the window would shrink v{fam}", OUT,
            c.down(ack=100, win=0, blocks=(200, 300)), "PASSED_OUT", kept=True,
            slot=c.slot(in_commit=100, in_next=100, in_acked=100, in_edge=100 + (1000 << SCALE)),
            after=c.down(ack=100, win=1000, blocks=(200, 300)))


def keep_rows():
    """Acknowledgements, right edges and timestamps that left are not taken back, whoever made the segment."""
    for fam, scale, base in ((4, SCALE, IRS), (6, SCALE, IRS), (4, 0, IRS), (4, 14, WRAP)):
        c = Conn(fam, irs=base, scale=scale)
        what = f"v{fam} scale {scale}"
        unit = 1 << scale
        edge = 100 + 900 * unit
        told = dict(in_commit=100, in_next=100, in_acked=100, in_edge=edge, out_max=20, tsval=TSVAL)
        slot = c.slot(**told)
        for n, gso in ((0, 0), (37, 0), (2800, 1400)):
            row(f"T3 window that our kernel takes back stays open {what} {n}", OUT, c.down(seq=20, ack=100, win=0, n=n),
                "PASSED_OUT", gso=gso, slot=slot, kept=True, after=c.down(seq=20, ack=100, win=900, n=n),
                want=dict(in_next=100, in_window=0, in_acked=100, in_edge=edge, out_max=20 + n))
            row(f"T3 timestamp of another processor does not go back {what} {n}", OUT,
                c.down(seq=20, ack=100, win=900, n=n, ts=(TSVAL - 2, PEER_TSVAL)), "PASSED_OUT", gso=gso, slot=slot,
                after=c.down(seq=20, ack=100, win=900, n=n, ts=(TSVAL, PEER_TSVAL)), want=dict(tsval=TSVAL, last_ns=0))
        row(f"T3 edge as it was is no change {what}", OUT, c.down(seq=20, ack=100, win=900), "PASSED_OUT", slot=slot)
        row(f"T3 window stays open in mode OPEN {what}", OUT, c.down(seq=20, ack=150, win=0), "PASSED_OUT", kept=True,
            slot=dict(slot, mode="OPEN"), after=c.down(seq=20, ack=150, win=900 if scale else 850))
        row(f"T3 window that the field cannot tell is told as far as it can {what}", OUT, c.down(seq=20, ack=100, win=7),
            "PASSED_OUT", kept=True, slot=dict(slot, in_edge=100 + 70000 * unit), after=c.down(seq=20, ack=100, win=65535),
            want=dict(in_edge=100 + 70000 * unit))
        if scale:
            row(f"T3 what the scale cannot tell is no step back {what}", OUT, c.down(seq=20, ack=100, win=900), "PASSED_OUT",
                slot=dict(slot, in_edge=edge + unit - 1), want=dict(in_edge=edge + unit - 1))
            row(f"T3 a step back by one unit is {what}", OUT, c.down(seq=20, ack=100, win=900), "PASSED_OUT", kept=True,
                slot=dict(slot, in_edge=edge + unit), after=c.down(seq=20, ack=100, win=901), want=dict(in_edge=edge + unit))
        late = c.down(seq=20, ack=100, win=800, ts=(TSVAL - 2, PEER_TSVAL))
        row(f"T3 daemon's acknowledgement that comes late says nothing new {what}", OUT, late, "REPEATED", slot=slot,
            mark="GUARD_MARK", want=dict(in_edge=edge, tsval=TSVAL))
        row(f"T3 or brings the news with the newest edge and timestamp {what}", OUT, late, "PASSED_OUT", kept=True,
            slot=dict(slot, in_acked=60), mark="GUARD_MARK",
            after=c.down(seq=20, ack=100, win=900, ts=(TSVAL, PEER_TSVAL)),
            want=dict(in_acked=100, in_edge=edge, tsval=TSVAL, last_ns=0))
        row(f"T3 or its edge with the newest acknowledgement {what}", OUT, c.down(seq=20, ack=100, win=1000), "PASSED_OUT",
            kept=True, slot=dict(slot, in_commit=100 + 50 * unit, in_acked=100 + 50 * unit), mark="GUARD_MARK",
            after=c.down(seq=20, ack=100 + 50 * unit, win=950), want=dict(in_acked=100 + 50 * unit, in_edge=100 + 1000 * unit))
        row(f"T3 or an answer that the peer asked for {what}", OUT, late, "PASSED_OUT", kept=True, slot=dict(slot, asked=3),
            mark="GUARD_MARK", after=c.down(seq=20, ack=100, win=900, ts=(TSVAL, PEER_TSVAL)), want=dict(answered=3))
        row(f"T3 held acknowledgement tells our kernel's clock {what}", OUT, c.down(seq=20, ack=150, win=0, ts=(TSVAL + 9, 1)),
            "REPEATED", slot=slot, kept=False, want=dict(tsval=TSVAL + 9, in_acked=100))
        row(f"T3 and the daemon's next one bears it {what}", OUT,
            c.down(seq=20, ack=100, win=1000, ts=(TSVAL, PEER_TSVAL)), "PASSED_OUT", cont=True, mark="GUARD_MARK",
            after=c.down(seq=20, ack=100, win=1000, ts=(TSVAL + 9, PEER_TSVAL)), want=dict(in_edge=100 + 1000 * unit))
        row(f"T3 timestamps do not go back where they wrap {what}", OUT,
            c.down(seq=20, ack=100, win=900, n=5, ts=(2**32 - 1, PEER_TSVAL)), "PASSED_OUT", slot=dict(slot, tsval=1),
            after=c.down(seq=20, ack=100, win=900, n=5, ts=(1, PEER_TSVAL)), want=dict(tsval=1))
        row(f"T3 a restored kernel echoes what the peer has said {what}", OUT,
            c.down(seq=20, ack=100, win=900, n=5, ts=(TSVAL + 3, 0)), "PASSED_OUT", slot=slot,
            after=c.down(seq=20, ack=100, win=900, n=5, ts=(TSVAL + 3, PEER_TSVAL)), want=dict(tsval=TSVAL + 3))
        row(f"T3 what is older by an earlier life is dropped {what}", OUT,
            c.down(seq=20, ack=100, win=900, n=5, ts=(TSVAL - 501, PEER_TSVAL)), "UNREADY", slot=slot)
    late = [("Timestamp", (TSVAL - 2, PEER_TSVAL)), ("NOP", None), ("NOP", None)]
    now = [("Timestamp", (TSVAL, PEER_TSVAL)), ("NOP", None), ("NOP", None)]
    c = Conn(4)
    row("T3 timestamp without NOPs in front", OUT, c.down(ack=100, opts=late), "PASSED_OUT", slot=c.slot(in_commit=100),
        after=c.down(ack=100, opts=now))
    c = Conn(4, ts=False)
    row("T3 window stays open without timestamps", OUT, c.down(ack=100, win=0, n=9), "PASSED_OUT", kept=True,
        slot=c.slot(in_commit=100, in_acked=100, in_edge=100 + (40 << SCALE)), after=c.down(ack=100, win=40, n=9))


def promise_rows():
    """A right edge leaves when the store has it: the next owner would take it back."""
    for fam, scale, base in ((4, SCALE, IRS), (6, SCALE, IRS), (4, 0, IRS), (4, 10, WRAP)):
        c = Conn(fam, irs=base, scale=scale)
        what = f"v{fam} scale {scale}"
        unit = 1 << scale
        least = 65535 // unit
        promise = 100 + 60000 * unit + 65535
        most = (promise - 100) // unit if scale else 65535
        told = dict(in_commit=100, in_next=100, in_acked=100, in_edge=100 + unit, in_promise=promise, out_max=20)
        slot = c.slot(**told)
        row(f"T7 edge that the store has leaves {what}", OUT, c.down(seq=20, ack=100, win=60000), "PASSED_OUT", slot=slot,
            limited=False, want=dict(in_edge=100 + 60000 * unit))
        if scale:
            row(f"T7 and what lies beyond by less than the scale says {what}", OUT, c.down(seq=20, ack=100, win=most + 1),
                "PASSED_OUT", slot=slot, limited=False, want=dict(in_edge=100 + (most + 1) * unit))
            for n, gso in ((0, 0), (37, 0), (2800, 1400)):
                row(f"T7 edge that the store has not is told as far as it has {what} {n}", OUT,
                    c.down(seq=20, ack=100, win=65535, n=n), "PASSED_OUT", gso=gso, slot=slot, limited=True,
                    after=c.down(seq=20, ack=100, win=most, n=n),
                    want=dict(in_next=100, in_window=65535 * unit, in_edge=100 + most * unit, out_max=20 + n))
            row(f"T7 clamped and limited {what}", OUT, c.down(seq=20, ack=5000, win=65535), "PASSED_OUT", slot=slot, clamped=True,
                limited=True, after=c.down(seq=20, ack=100, win=most), want=dict(in_next=5000, in_edge=100 + most * unit))
            row(f"T7 before the first record an edge as of a SYN-ACK leaves {what}", OUT, c.down(seq=20, ack=100, win=65535),
                "PASSED_OUT", slot=dict(slot, in_promise=0), limited=True, after=c.down(seq=20, ack=100, win=least),
                want=dict(in_edge=100 + least * unit))
            full = dict(slot, in_edge=100 + most * unit)
            row(f"T7 and then says nothing new {what}", OUT, c.down(seq=20, ack=100, win=65535), "REPEATED", slot=full)
            row(f"T7 but a loss {what}", OUT, c.down(seq=20, ack=100, win=65535, blocks=(200, 300)), "PASSED_OUT", slot=full,
                limited=True, after=c.down(seq=20, ack=100, win=most, blocks=(200, 300)))
            row(f"T7 or answers {what}", OUT, c.down(seq=20, ack=100, win=65535), "PASSED_OUT", slot=dict(full, asked=1),
                limited=True, after=c.down(seq=20, ack=100, win=most), want=dict(answered=1))
            row(f"T7 the daemon's is limited, too {what}", OUT, c.down(seq=20, ack=100, win=65535), "PASSED_OUT", slot=slot,
                mark="GUARD_MARK", limited=True, after=c.down(seq=20, ack=100, win=most))
            row(f"T7 edge that left while no gate was stays {what}", OUT, c.down(seq=20, ack=100, win=most), "PASSED_OUT",
                slot=dict(slot, in_edge=100 + 65535 * unit), kept=True, after=c.down(seq=20, ack=100, win=65535))
        row(f"T7 no limit in mode OPEN {what}", OUT, c.down(seq=20, ack=100, win=65535), "PASSED_OUT", limited=False,
            slot=dict(slot, mode="OPEN"), want=dict(in_edge=100 + 65535 * unit))
    c = Conn(4, sack=False)
    row("T7 without SACK each repeat may tell of a loss", OUT, c.down(ack=100, win=65535), "PASSED_OUT", limited=True,
        slot=c.slot(in_commit=100, in_next=100, in_acked=100, in_edge=100 + (1000 << SCALE), in_promise=100 + (1000 << SCALE)),
        after=c.down(ack=100, win=1000))


def end_rows():
    for fam in (4, 6):
        c = Conn(fam)
        slot = c.slot(in_commit=100, in_next=100, in_acked=100, in_edge=100 + (500 << SCALE), out_max=20)
        row(f"T1 FIN is held v{fam}", OUT, c.down(seq=20, ack=100, flags="FA"), "END_HELD", slot=slot,
            want=dict(resets=1, out_max=20, out_fin=0))
        row(f"T1 FIN that acknowledges becomes an ACK v{fam}", OUT, c.down(seq=20, ack=100, flags="FA"), "PASSED_OUT",
            slot=c.slot(in_commit=100, in_next=90, in_acked=90, out_max=20), after=c.down(seq=20, ack=100),
            want=dict(resets=1, out_max=20, in_acked=100))
        row(f"T1 T7 and stops at the commit v{fam}", OUT, c.down(seq=20, ack=150, flags="FA"), "PASSED_OUT", clamped=True,
            slot=c.slot(in_commit=100, in_next=90, in_acked=90, out_max=20), after=c.down(seq=20, ack=100, win=500),
            want=dict(resets=1, in_acked=100, in_next=150))
        row(f"T1 FIN with payload loses its flag v{fam}", OUT, c.down(seq=20, ack=100, flags="FPA", n=30), "PASSED_OUT",
            slot=slot, after=c.down(seq=20, ack=100, flags="PA", n=30), want=dict(resets=1, out_max=50, out_fin=0))
        row(f"T1 FIN of a GSO packet v{fam}", OUT, c.down(seq=20, ack=100, flags="FPA", n=2800), "PASSED_OUT", gso=1400,
            slot=slot, after=c.down(seq=20, ack=100, flags="PA", n=2800), want=dict(resets=1, out_max=2820))
        row(f"T1 RST is held v{fam}", OUT, c.down(seq=20, ack=100, flags="RA"), "END_HELD", slot=slot, want=dict(resets=1))
        row(f"T1 RST without ACK is held v{fam}", OUT, c.down(seq=20, flags="R"), "END_HELD", slot=slot, want=dict(resets=1))
        row(f"T1 FIN is held in mode OPEN too v{fam}", OUT, c.down(seq=20, ack=100, flags="FA"), "END_HELD",
            slot=dict(slot, mode="OPEN"), want=dict(resets=1))
        allowed = dict(slot, flags=1)
        row(f"FIN may leave v{fam}", OUT, c.down(seq=20, ack=100, flags="FA"), "PASSED_OUT", slot=allowed,
            want=dict(resets=0, out_max=21, out_fin=21))
        row(f"half-close: data comes on v{fam}", IN, c.up(seq=100, ack=20, n=50), "PASSED_IN", cont=True,
            want=dict(in_max=150, out_acked=20, ended=0))
        row(f"half-close: FIN is acknowledged v{fam}", IN, c.up(seq=150, ack=21, n=5), "PASSED_IN", cont=True,
            events=["ENDED"], want=dict(in_max=155, out_acked=21, ended=2))
        row(f"FIN that the application did not ask for ends nothing v{fam}", IN, c.up(seq=150, ack=21), "PASSED_IN",
            slot=dict(slot, out_max=21, out_fin=21), want=dict(ended=0, out_acked=21))
        row(f"half-close once more v{fam}", IN, c.up(seq=150, ack=21, n=5), "PASSED_IN", events=["ENDED"],
            slot=dict(slot, out_max=21, out_fin=21, flags=1), want=dict(in_max=155, out_acked=21, ended=2))
        row(f"user space hears of it once v{fam}", IN, c.up(seq=155, ack=21, n=5), "PASSED_IN", cont=True,
            want=dict(ended=2))
        row(f"T7 half-close: still clamped v{fam}", OUT, c.down(seq=21, ack=160, win=600), "PASSED_OUT", cont=True,
            clamped=True, after=c.down(seq=21, ack=100, win=600), want=dict(in_acked=100, in_next=160, out_max=21))
        row(f"FIN with payload may leave v{fam}", OUT, c.down(seq=20, ack=100, n=10, flags="FA"), "PASSED_OUT",
            slot=allowed, want=dict(out_max=31, out_fin=31))
        row(f"RST may leave v{fam}", OUT, c.down(seq=20, ack=100, flags="RA"), "PASSED_OUT", slot=allowed)
        row(f"T7 RST may leave, clamped v{fam}", OUT, c.down(seq=20, ack=150, flags="RA", win=0), "PASSED_OUT", clamped=True,
            slot=c.slot(in_commit=100, in_edge=164, flags=1), after=c.down(seq=20, ack=100, flags="RA", win=1))
        row(f"FIN of the peer counts one v{fam}", IN, c.up(seq=100, ack=20, n=10, flags="FA"), "PASSED_IN", slot=slot,
            want=dict(in_max=111, in_fin=110))
        row(f"T7 FIN of the peer is not acknowledged before its commit v{fam}", OUT, c.down(seq=20, ack=111, win=499),
            "PASSED_OUT", slot=c.slot(in_commit=110, in_next=100, in_acked=100), clamped=True,
            after=c.down(seq=20, ack=110, win=499), want=dict(in_next=111, in_acked=110))
        row(f"RST of the peer v{fam}", IN, c.up(seq=100, flags="RA", ack=20), "PASSED_IN", slot=slot, events=["ENDED"],
            want=dict(ended=1))
        row(f"and once more v{fam}", IN, c.up(seq=100, flags="RA", ack=20), "PASSED_IN", cont=True, want=dict(ended=1))
        row(f"RST of a stranger v{fam}", IN, c.up(seq=101, flags="R"), "PASSED_IN", slot=dict(slot, in_max=100),
            want=dict(ended=0))
        row(f"T1 RST to an unknown connection is held for a while v{fam}", OUT, c.down(flags="R"), "UNKNOWN_OUT",
            unknown=EVER)
        row(f"T1 and then leaves v{fam}", OUT, c.down(flags="R"), None)
        row(f"T3 FIN of an unknown connection, of before the takeover, is held v{fam}", OUT, c.down(flags="FPA", n=5),
            "UNKNOWN_OUT", unknown=EVER)
        row(f"T3 segment of an unguarded connection leaves later v{fam}", OUT, c.down(flags="PA", n=5), None)
        row(f"T1 segment of an unknown connection is dropped for a while v{fam}", IN, c.up(n=9), "UNKNOWN_IN", unknown=EVER)
        row(f"T1 and then meets a RST v{fam}", IN, c.up(n=9), None)


def in_rows():
    for fam in (4, 6):
        for base in (ISS, WRAP):
            for off in (0, BIG, BIG + 2**32 - 20):
                c = Conn(fam, iss=base, irs=base)
                slot = c.slot(in_commit=off, in_next=off, in_acked=off, in_edge=off + 60000, in_max=off, out_max=off + 300,
                              out_acked=off)
                what = f"at {off:#x}, ISN {base:#x} v{fam}"
                row(f"acknowledgement and data are noted {what}", IN, c.up(seq=off, ack=off + 300, n=100), "PASSED_IN",
                    slot=slot, want=dict(out_acked=off + 300, in_max=off + 100, peer_tsval=PEER_TSVAL + 5,
                                         peer_window=500 << PEER_SCALE, peer_tsecr=TSVAL, asked=0))
                row(f"older ones change nothing {what}", IN, c.up(seq=off, ack=off + 200, ts=(PEER_TSVAL, TSVAL - 9)),
                    "PASSED_IN", cont=True, want=dict(out_acked=off + 300, in_max=off + 100, peer_tsval=PEER_TSVAL + 5))
                row(f"acknowledgement of what was never sent {what}", IN, c.up(seq=off + 100, ack=off + 301), "ACK_BEYOND",
                    cont=True, want=dict(out_acked=off + 300))
                row(f"T1 stranger's acknowledgement beyond the window {what}", IN,
                    c.up(seq=off + 70000, ack=off + 290, n=5, win=1, ts=(PEER_TSVAL + 999, TSVAL)), "PASSED_IN", slot=slot,
                    want=dict(out_acked=off, in_max=off, peer_tsval=PEER_TSVAL, peer_window=0))
                row(f"T1 stranger's acknowledgement before the window {what}", IN,
                    c.up(seq=off - 70000, ack=off + 290, n=5, win=1, ts=(PEER_TSVAL + 999, TSVAL)), "PASSED_IN", slot=slot,
                    want=dict(out_acked=off, in_max=off, peer_tsval=PEER_TSVAL, peer_window=0))
                row(f"offset of what is sent {what}", OUT, c.down(seq=off + 300, n=1000, ack=off), "PASSED_OUT", slot=slot,
                    want=dict(out_max=off + 1300))
                row(f"retransmission does not move it {what}", OUT, c.down(seq=off + 1, n=1000, ack=off), "PASSED_OUT",
                    cont=True, want=dict(out_max=off + 1300))
        c = Conn(fam)
        row(f"data within a window of more than 64 KiB v{fam}", IN, c.up(seq=200000, ack=7, n=100), "PASSED_IN",
            slot=c.slot(in_commit=100, in_next=100, in_acked=100, in_edge=200100, in_max=100, out_max=9),
            want=dict(in_max=200100, out_acked=7))
        row(f"timestamps wrap v{fam}", IN, c.up(seq=100, ts=(5, TSVAL)), "PASSED_IN",
            slot=c.slot(in_commit=100, peer_tsval=2**32 - 5), want=dict(peer_tsval=5))
        for blocks in ((), (40, 50)):
            for n, gso in ((0, 0), (21, 0), (2800, 1400)):
                row(f"T2 acknowledgement of what another node sent is lowered v{fam} {len(blocks)} {n}", IN,
                    c.up(seq=100, ack=900, n=n, blocks=blocks), "PASSED_IN", gso=gso,
                    slot=c.slot(in_commit=100, out_max=500, out_acked=400, out_foreign=1000),
                    after=c.up(seq=100, ack=500, n=n, nops=4 + 4 * len(blocks) if blocks else 0),
                    want=dict(out_acked=500, in_max=100 + n))
        row(f"T2 but not beyond that v{fam}", IN, c.up(seq=100, ack=1001), "ACK_BEYOND",
            slot=c.slot(in_commit=100, out_max=500, out_acked=400, out_foreign=1000), want=dict(out_acked=400))
        for mode in ("UNREADY", "FROZEN"):
            slot = c.slot(mode, in_commit=100, in_max=100, out_max=500, out_acked=400)
            row(f"T3 {mode}: nothing comes in v{fam}", IN, c.up(seq=100, ack=450, n=10), "UNREADY", slot=slot,
                want=dict(in_max=110, peer_tsval=PEER_TSVAL + 5, out_acked=400))
            row(f"T3 {mode}: no SYN either v{fam}", IN, c.syn(), "UNREADY", slot=slot)
            row(f"T3 {mode}: nothing leaves v{fam}", OUT, c.down(seq=500, ack=100, n=10), "UNREADY", slot=slot,
                want=dict(out_max=500))
            row(f"T3 {mode}: what the daemon sends leaves v{fam}", OUT, c.down(seq=499, ack=100, n=1), "PASSED_OUT",
                slot=slot, mark="GUARD_MARK", want=dict(out_max=500, in_acked=100, tsval=TSVAL + 3))
        row(f"T7 what the daemon sends is not clamped v{fam}", OUT, c.down(seq=500, ack=150), "PASSED_OUT",
            slot=c.slot(in_commit=100, out_max=500, asked=4), mark="GUARD_MARK",
            want=dict(in_acked=150, in_next=0, in_edge=150 + (500 << SCALE), answered=4))
        row(f"slot that is free is none v{fam}", IN, c.up(seq=100, n=10), None, slot=c.slot("FREE"))
        row(f"slot of another connection is none v{fam}", OUT, c.down(ack=10**6), None,
            slot=dict(c.slot(), stale=True))


def probe_rows():
    for fam in (4, 6):
        for base, off in ((ISS, 0), (WRAP, 0), (ISS, BIG)):
            c = Conn(fam, iss=base, irs=base)
            slot = c.slot("PROBING", in_commit=off + 100, in_edge=off + 5000, out_max=off + 700, out_acked=off + 400,
                          out_foreign=off + 9000)
            what = f"v{fam} at {off:#x}, ISN {base:#x}"
            row(f"T2 probe leaves {what}", OUT, c.down(seq=off + 399, ack=off + 100, n=1, ts=(TSVAL + 2000, 1)),
                "PASSED_OUT", slot=slot, mark="GUARD_MARK",
                want=dict(tsval=TSVAL + 2000, out_max=off + 700, in_acked=off + 100))
            row(f"T2 answer tells the exact octet {what}", IN, c.up(seq=off + 150, ack=off + 850, ts=(PEER_TSVAL + 7, TSVAL + 2000)),
                "PROBED", cont=True, events=["PROBED"],
                want=dict(out_acked=off + 850, probed=1, peer_tsval=PEER_TSVAL + 7, peer_tsecr=TSVAL + 2000,
                          peer_window=500 << PEER_SCALE))
            row(f"T2 the same again is no news {what}", IN, c.up(seq=off + 150, ack=off + 850, ts=(PEER_TSVAL + 8, TSVAL)), "PROBED",
                cont=True, want=dict(out_acked=off + 850, probed=2))
            row(f"T2 more is {what}", IN, c.up(seq=off + 150, ack=off + 851), "PROBED", cont=True, events=["PROBED"],
                want=dict(out_acked=off + 851, probed=3))
            row(f"T2 less is no answer {what}", IN, c.up(seq=off + 150, ack=off + 850), "ACK_BEYOND", cont=True)
            row(f"T2 answer of the same octet as known {what}", IN, c.up(seq=off + 100, ack=off + 400), "PROBED", slot=slot,
                events=["PROBED"], want=dict(out_acked=off + 400))
            row(f"T2 stranger's answer: beyond what was sent {what}", IN, c.up(seq=off + 100, ack=off + 9001), "ACK_BEYOND",
                slot=slot, want=dict(out_acked=off + 400, probed=0))
            row(f"T2 stranger's answer: before the window {what}", IN, c.up(seq=off + 99, ack=off + 500), "ACK_BEYOND",
                slot=slot, want=dict(out_acked=off + 400, probed=0))
            row(f"T2 stranger's answer: beyond any window {what}", IN,
                c.up(seq=off + 65636 + (64 << 20), ack=off + 500), "ACK_BEYOND", slot=slot,
                want=dict(out_acked=off + 400, probed=0))
            row(f"T2 stranger's answer: a timestamp that we never sent {what}", IN,
                c.up(seq=off + 100, ack=off + 500, ts=(PEER_TSVAL, TSVAL + 1)), "ACK_BEYOND", slot=slot, want=dict(probed=0))
            row(f"T2 peer has no such connection any more {what}", IN, c.up(seq=off + 100, flags="R"), "UNREADY", slot=slot,
                events=["ENDED"], want=dict(ended=1))
            row(f"T2 RST of a stranger while probing {what}", IN, c.up(seq=off + 101, flags="R"), "UNREADY", slot=slot,
                want=dict(ended=0))
        c = Conn(fam, ts=False)
        row(f"T2 answer without timestamps v{fam}", IN, c.up(seq=100, ack=500), "PROBED", events=["PROBED"],
            slot=c.slot("PROBING", in_commit=100, out_max=700, out_acked=400), want=dict(out_acked=500))


def fence_rows():
    for fam in (4, 6):
        c = Conn(fam)
        slot = c.slot(in_commit=100, out_max=500, in_next=150, in_acked=100)
        for lease in ("0", "1"):
            row(f"fence: segment in, lease {lease} v{fam}", IN, c.up(seq=100, n=9), "FENCED_IN", slot=slot, lease=lease,
                want=dict(in_max=0))
            row(f"fence: segment out, lease {lease} v{fam}", OUT, c.down(seq=500, ack=100, n=9), "FENCED_OUT", slot=slot,
                lease=lease, want=dict(out_max=500))
            row(f"fence: not even the daemon's, lease {lease} v{fam}", OUT, c.down(seq=500, ack=100), "FENCED_OUT", slot=slot,
                lease=lease, mark="GUARD_MARK")
            row(f"fence: SYN, lease {lease} v{fam}", IN, c.syn(), "FENCED_IN", lease=lease)
            row(f"fence: UDP in, lease {lease} v{fam}", IN, ip(fam, C[fam], V[fam]) / UDP(sport=5, dport=53) / data(9),
                "FENCED_IN", lease=lease)
            row(f"fence: UDP out, lease {lease} v{fam}", OUT, ip(fam, V[fam], C[fam]) / UDP(sport=53, dport=5) / data(9),
                "FENCED_OUT", lease=lease)
            row(f"fence: other port, lease {lease} v{fam}", OUT,
                ip(fam, V[fam], C[fam]) / TCP(sport=OTHER_PORT, dport=5, flags="A"), "FENCED_OUT", lease=lease)
            row(f"fence: other addresses pass, lease {lease} v{fam}", OUT,
                ip(fam, R[fam], C[fam]) / TCP(sport=VPORT, dport=5, flags="A"), None, lease=lease)
            row(f"fence: from other addresses to others, lease {lease} v{fam}", IN,
                ip(fam, C[fam], R[fam]) / UDP(sport=5, dport=53), None, lease=lease)
        row(f"owner: UDP passes v{fam}", IN, ip(fam, C[fam], V[fam]) / UDP(sport=5, dport=53) / data(9), None)
        row(f"owner: other port passes v{fam}", OUT,
            ip(fam, V[fam], C[fam]) / TCP(sport=OTHER_PORT, dport=5, flags="RA"), None, unknown=EVER)
    ping = ip(4, C[4], V[4]) / ICMP() / data(20)
    row("fence: ping", IN, ping, "FENCED_IN", lease="1")
    row("owner: ping", IN, ping, None)
    for tags in ((), (7,)):
        ask = ARP(op=1, psrc=R[4], pdst=V[4])
        tell = ARP(op=2, psrc=V[4], pdst=R[4])
        row(f"fence: ARP request {tags}", IN, ask, "FENCED_IN", lease="1", tags=tags)
        row(f"fence: ARP answer {tags}", OUT, tell, "FENCED_OUT", lease="1", tags=tags)
        row(f"fence: gratuitous ARP {tags}", OUT, ARP(op=1, psrc=V[4], pdst=V[4]), "FENCED_OUT", lease="1", tags=tags)
        row(f"owner: ARP request {tags}", IN, ask, None, tags=tags)
        row(f"owner: ARP answer {tags}", OUT, tell, None, tags=tags)
        row(f"ARP for another {tags}", IN, ARP(op=1, psrc=V[4], pdst=R[4]), None, lease="1", tags=tags)
        row(f"ARP of another {tags}", OUT, ARP(op=2, psrc=R[4], pdst=V[4]), None, lease="1", tags=tags)
    ns = ip(6, R[6], "ff02::1:ff00:80") / ICMPv6ND_NS(tgt=V[6])
    na = ip(6, V[6], R[6]) / ICMPv6ND_NA(tgt=V[6])
    row("fence: neighbour solicitation", IN, ns, "FENCED_IN", lease="1")
    row("fence: neighbour advertisement", OUT, na, "FENCED_OUT", lease="1")
    row("fence: advertisement from another address", OUT, ip(6, "fe80::1", R[6]) / ICMPv6ND_NA(tgt=V[6]), "FENCED_OUT",
        lease="1")
    row("fence: duplicate address detection", OUT, ip(6, "::", "ff02::1:ff00:80") / ICMPv6ND_NS(tgt=V[6]), "FENCED_OUT",
        lease="1")
    row("fence: solicitation of another from it", OUT, ip(6, V[6], "ff02::1:ff00:9") / ICMPv6ND_NS(tgt=R[6]), "FENCED_OUT",
        lease="1")
    row("owner: neighbour solicitation", IN, ns, None)
    row("owner: neighbour advertisement", OUT, na, None)
    row("neighbour solicitation for another", IN, ip(6, C[6], "ff02::1:ff00:9") / ICMPv6ND_NS(tgt=R[6]), None, lease="1")


def malformed_rows():
    for fam in (4, 6):
        c = Conn(fam)
        slot = c.slot(in_commit=100, out_max=500)
        for prog, make, way in ((IN, c.up, "in"), (OUT, c.down, "out")):
            short = make(ack=100)
            short[TCP].dataofs = 4
            row(f"TCP header too short {way} v{fam}", prog, short, "MALFORMED", slot=slot)
            long = make(ack=100)
            long[TCP].dataofs = 15
            row(f"TCP header longer than its packet {way} v{fam}", prog, long, "MALFORMED", slot=slot)
            cut = make(ack=100)
            raw = bytearray(bytes(cut))
            if fam == 4:
                raw[2:4] = (30).to_bytes(2, "big")
            else:
                raw[4:6] = (10).to_bytes(2, "big")
            row(f"IP length that ends in the TCP header {way} v{fam}", prog, bytes(raw), "MALFORMED", slot=slot)
            if fam == 4:
                raw[2:4] = (9000).to_bytes(2, "big")
            else:
                raw[4:6] = (9000).to_bytes(2, "big")
            row(f"IP length beyond the packet {way} v{fam}", prog, bytes(raw), "MALFORMED", slot=slot)
        if fam == 4:
            first = IP(src=C[4], dst=V[4], id=3, flags="MF") / TCP(sport=CPORT, dport=VPORT, flags="A") / data(28)
            later = IP(src=C[4], dst=V[4], id=3, frag=6, proto=6) / data(28)
            gone = IP(src=V[4], dst=C[4], id=3, flags="MF") / TCP(sport=VPORT, dport=CPORT, flags="A") / data(28)
            free = IP(src=C[4], dst=V[4], id=3, flags="MF") / TCP(sport=CPORT, dport=OTHER_PORT, flags="A") / data(28)
        else:
            first = IPv6(src=C[6], dst=V[6]) / IPv6ExtHdrFragment(id=3, m=1) / TCP(sport=CPORT, dport=VPORT, flags="A") / data(28)
            later = IPv6(src=C[6], dst=V[6]) / IPv6ExtHdrFragment(id=3, offset=6, nh=6) / data(28)
            gone = IPv6(src=V[6], dst=C[6]) / IPv6ExtHdrFragment(id=3, m=1) / TCP(sport=VPORT, dport=CPORT, flags="A") / data(28)
            free = IPv6(src=C[6], dst=V[6]) / IPv6ExtHdrFragment(id=3, m=1) / TCP(sport=CPORT, dport=OTHER_PORT, flags="A") / data(28)
            atomic = IPv6(src=C[6], dst=V[6]) / IPv6ExtHdrFragment(id=3)
            row("IPv6 fragment that is a whole packet", IN, c.up(seq=100, n=5, head=atomic), "PASSED_IN", slot=slot,
                want=dict(in_max=105))
            chain = IPv6(src=C[6], dst=V[6])
            for _ in range(8):
                chain /= IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
            row("more extension headers than are followed", IN, c.up(seq=100, n=5, head=chain), "MALFORMED", slot=slot)
        row(f"first fragment in v{fam}", IN, first, "FRAGMENT", slot=slot)
        row(f"later fragment in, which is nothing without the first v{fam}", IN, later, None, slot=slot)
        row(f"first fragment out v{fam}", OUT, gone, "FRAGMENT", slot=slot)
        row(f"fragment to another port v{fam}", IN, free, None)
        row(f"fragment while not the owner v{fam}", IN, later, "FENCED_IN", lease="1")
        bad = [(8, b"\x01\x02\x03")]  # a timestamp of length 5
        row(f"T7 malformed option v{fam}", OUT, c.down(ack=150, opts=bad), "PASSED_OUT", clamped=True,
            slot=c.slot(in_commit=100), after=c.down(ack=100, win=500, opts=bad), want=dict(tsval=TSVAL))


def number(value):
    return f"{value % 2**64:#x}ull" if isinstance(value, int) else value


def literal(raw):
    return "NULL, 0" if raw is None else '(const __u8 *)"%s", %d' % ("".join("\\x%02x" % b for b in raw), len(raw))


def addr(fam, text):
    from ipaddress import ip_address
    packed = ip_address(text).packed
    raw = packed if fam == 6 else b"\0" * 10 + b"\xff\xff" + packed
    return "{.b = {%s}}" % ", ".join(str(b) for b in raw)


def facts_of(c):
    options = (1 if c.ts else 0) | (2 if c.sack else 0) | (4 if c.scale is not None else 0)
    return ("{.key = {.peer = %s, .local = %s, .peer_port = __builtin_bswap16(%d), .local_port = "
            "__builtin_bswap16(%d)}, .irs = %#xu, .iss = %#xu, .peer_mss = 1400, .our_mss = 1380, "
            ".peer_wscale = %d, .our_wscale = %d, .options = %d, .tsval = %d, .peer_tsval = %d}") % (
                addr(c.fam, C[c.fam]), addr(c.fam, V[c.fam]), CPORT, VPORT, c.irs, c.iss, c.peer_scale or 0,
                c.scale or 0, options, TSVAL, PEER_TSVAL)


def emit_row(r):
    out = ['.name = "%s"' % r["name"], ".out = %d" % (r["prog"] == OUT), ".verdict = " + r["verdict"],
           ".reason = " + r["reason"], ".cont = %d" % r["cont"], ".full = %d" % r["full"],
           ".clamped = %d" % r["clamped"], ".kept = %d" % (-1 if r["kept"] is None else r["kept"]),
           ".limited = %d" % (-1 if r["limited"] is None else r["limited"]), ".mark = %s" % r["mark"], ".gso = %d" % r["gso"],
           ".lease = %s" % r["lease"], ".unknown = %s" % r["unknown"], ".rate = %d" % r["rate"],
           ".before = {%s}" % literal(r["before"]), ".after = {%s}" % literal(r["after"])]
    if r["slot"]:
        slot = dict(r["slot"])
        conn, mode, stale = slot.pop("conn"), slot.pop("mode"), slot.pop("stale", False)
        fields = "".join(", .%s = %s" % (k, number(v)) for k, v in slot.items())
        out.append(".has_slot = 1, .stale = %d, .slot = {.mode = GUARD_%s%s, .facts = %s}" % (
            stale, mode, fields, facts_of(conn)))
    if r["foreign"]:
        out.append(".foreign = 1, .slot = {.facts = %s}" % facts_of(r["foreign"]))
    if r["want"]:
        out.append(".want = {%s}" % ", ".join(
            '{"%s", offsetof(struct guard_slot, %s), sizeof(((struct guard_slot *)0)->%s), %s}' % (k, k, k, number(v))
            for k, v in r["want"].items()))
    if r["events"]:
        out.append(".events = {%s}" % ", ".join("GUARD_EVENT_" + e for e in r["events"]))
    if r["facts"]:
        f = r["facts"]
        out.append(".has_facts = 1, .facts = {%s}" % ", ".join(".%s = %s" % (k, number(v)) for k, v in f.items()))
    print("\t{ %s },\n" % ",\n\t  ".join(out))


for make_rows in (handshake_rows, clamp_rows, repeat_rows, keep_rows, promise_rows, end_rows, in_rows, probe_rows, fence_rows, malformed_rows):
    make_rows()
print("/* made by tests/guard/gen.py */")
print("static const struct row rows[] = {")
for each in rows:
    emit_row(each)
print("};")
