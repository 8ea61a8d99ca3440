#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The judges of takeover (takeover_wire.py, takeover_served.py), on captures and logs that are written here."""
import io
import os
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import takeover_served as served  # noqa: E402
from takeover_wire import Wire  # noqa: E402

SYN, FIN, RST, ACK = 2, 1, 4, 16
AHEAD = 1000.0  # the capture's clock before that of the logs
ISS, IRS = 5000, 0xffffff00  # the client's, about to wrap; the server's
PORT = 40000


class Capture:
    """A connection of a client; times as in the logs."""

    def __init__(self, v6=False):
        self.v6, self.packets = v6, []
        self.client(1.0, 0, 0, SYN)
        self.server(1.001, -1, 1, SYN | ACK)
        self.client(1.002, 1, 0, ACK)

    def add(self, at, ports, seq, ack, flags, octets, stamp=None):
        tcp = struct.pack("!HHIIBBHHH", *ports, seq & 0xffffffff, ack & 0xffffffff, (8 if stamp else 5) << 4, flags, 500, 0, 0)
        if stamp:
            tcp += struct.pack("!HBBII", 0x0101, 8, 10, stamp, 0)
        if self.v6:
            ip = struct.pack("!IHBB", 6 << 28, len(tcp) + octets, 6, 64) + bytes(32)
        else:
            ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp) + octets, 0, 0, 64, 6, 0) + bytes(8)
        self.packets.append((at + AHEAD, bytes(12) + (b"\x86\xdd" if self.v6 else b"\x08\x00") + ip + tcp))

    def client(self, at, seq, ack, flags=ACK, octets=0):
        self.add(at, (PORT, 80), ISS + seq, IRS + 1 + ack, flags, octets)

    def server(self, at, seq, ack, flags=ACK, octets=0, stamp=None):
        self.add(at, (80, PORT), IRS + 1 + seq, ISS + ack, flags, octets, stamp)

    def read(self):
        raw = bytes(24)
        for at, data in sorted(self.packets):
            micros = round(at * 1e6)
            raw += struct.pack("<IIII", micros // 1000000, micros % 1000000, len(data), len(data)) + data
        wire = Wire()
        wire.read(io.BytesIO(raw))
        return {name: getattr(wire, name) for name in wire.FINDINGS + wire.NOTES}


# b serves from 2 s to 5 s, when it dies, and a from 5.2 s on; b is back at 5.3 s, all are well at 5.5 s
LOGS = {
    "a": "     0.500 a: ready as server, node a of group 'web'\n     0.510 node a stands by\n     5.200 node a serves alone: no "
         "other node could take over\n     5.400 node a serves\n",
    "b": "     1.500 node b stands by\n     2.000 owner of 'web', epoch 2: 1 connections to take over\n     2.000 node b serves\n"
         "     5.300 b: ready as server, node b of group 'web'\n     5.310 node b stands by\n",
}
STRIKES = [("b", 5.0, 5.5)]
WELL = served.well(LOGS, STRIKES)


def findings(capture):
    return served.judge(capture.read(), WELL, AHEAD)[1]


def repeated(at, answer=None, **more):
    """A request whose repeat at `at` gets an answer so many s later, or none."""
    c = Capture(**more)
    c.client(1.003, 1, 0, ACK, 100)
    c.client(at, 1, 0, ACK, 100)
    if answer is not None:
        c.server(at + answer, 0, 101)
    return c


def expect(what, have, want):
    if have != want:
        raise AssertionError("%s: %r instead of %r" % (what, have, want))


def T7_times_of_service():
    expect("two of them", [(round(a, 3), b) for a, b in WELL], [(2.25, 4.9), (5.45, float("inf"))])
    expect("died without a word, while it was struck", served.well({"b": "2.0 node b serves\n"}, [("b", 2.1, 9.0), (None, 10.0, 11.0)]),
           [(9.25, 9.9), (11.25, float("inf"))])
    expect("begun anew", served.serving("1.0 node a serves\n2.0 a: ready as server, node a of group 'g'\n"), [(1.0, 2.0)])
    expect("lost the store", served.serving("1.0 node a serves\n2.0 warning: node a has no contact with the store: it can\n"),
           [(1.0, 2.0)])


def T7_unanswered_repeat_is_found():
    for v6 in (False, True):
        expect("nobody answers", len(findings(repeated(3.0, v6=v6))), 1)
        expect("an answer after the next crash", len(findings(repeated(4.8, 1.2, v6=v6))), 1)
        expect("answered", findings(repeated(3.0, 0.01, v6=v6)), [])


def T7_repeat_in_an_outage_is_nobodys_fault():
    for at in (1.8, 2.1, 4.95, 5.1, 5.3):
        expect("at %.2f s" % at, findings(repeated(at)), [])


def T7_every_kind_of_repeat_is_judged():
    c = Capture()
    c.client(1.01, 1, 0, FIN | ACK)
    c.client(3.0, 1, 0, FIN | ACK)
    expect("FIN", ["(FIN)" in f for f in findings(c)], [True])
    c = Capture()
    c.server(1.01, 0, 1, ACK)
    c.client(3.0, 0, 0, ACK)
    expect("probe", ["(probe)" in f for f in findings(c)], [True])
    c = Capture()
    c.packets = []
    c.client(1.0, 0, 0, SYN)
    c.client(3.0, 0, 0, SYN)
    expect("SYN", ["(SYN)" in f for f in findings(c)], [True])
    c = repeated(3.0, 0.01)
    c.server(3.02, 0, 101, FIN | ACK)
    c.client(3.03, 101, 1, FIN | ACK)
    c.server(3.04, 1, 102)
    c.client(3.6, 101, 1, FIN | ACK)
    expect("a connection that is over", findings(c), [])


def stuck(news):
    c = Capture()
    c.client(1.003, 1, 0, ACK, 100)
    for i in range(6):
        at = 2.5 + i * 0.4
        c.client(at, 1, 0, ACK, 100)
        if news:
            c.server(at + 0.001, i * 10, 1, ACK, 10)
        else:
            c.server(at + 0.001, 0, 1)
    return findings(c)


def T7_answers_that_tell_nothing_are_found():
    expect("the same again and again", bool(stuck(False)), True)
    expect("the last answer is still on its way", stuck(True), [])


def T7_client_that_gave_up_is_told_from_one_that_was_reset():
    for at, gave_up, resets in ((1.5, 0, 1), (103.0, 1, 0)):
        c = Capture()
        c.client(1.01, 1, 0, FIN | ACK)
        c.client(1.2, 1, 0, FIN | ACK)
        c.client(at, 2, 0, RST)
        c.client(at + 0.02, 2, 0, RST)
        wire = c.read()
        expect("after %.1f s" % at, (len(wire["gave_up"]), min(1, len(wire["client_resets"]))), (gave_up, resets))


def T7_timestamp_that_goes_back_is_found():
    for later, older, found in ((0.0001, 5, 0), (0.0001, 500, 1), (0.01, 5, 1)):
        c = Capture()
        c.client(1.003, 1, 0, ACK, 100)
        c.server(1.004, 0, 101, stamp=3000)
        c.server(1.004 + later, 0, 101, stamp=3000 - older)
        expect("by %d ms, %.1f ms later" % (older, later * 1000), len(c.read()["timestamps"]), found)


def main():
    failed = 0
    for name, test in sorted(globals().items()):
        if name.startswith("T7_"):
            try:
                test()
                print("PASS " + name)
            except AssertionError as error:
                print("FAIL %s: %s" % (name, error))
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
