#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A client of tests/apps/streamd.c: plain sockets, every packet checked.

    takeover_bundle.py DIR ADDRESS PORT tcp|udp|GROUP [SESSIONS]

Plays until DIR/stop exists, asking for the position on the control connection all the time, then
PAUSE, PLAY, TEARDOWN. DIR/progress has the number of packets that are known; the last line of the
output is a report in JSON. GROUP is joined on c0. SESSIONS (tcp): so many at once, one of them checked
at a time.
"""
import json
import os
import re
import socket
import struct
import sys
import threading
import time

PACKET = 200
PAUSED_S = 0.1  # in which nothing may come of a session that pauses
SO_RCVBUFFORCE = 33  # not in Python's module
MASK = (1 << 64) - 1


def packet(session, number):
    x = (number ^ session << 32 ^ 0x9e3779b97f4a7c15) & MASK
    words = []
    for _ in range((PACKET - 20) // 4):
        x ^= x << 13 & MASK
        x ^= x >> 7
        x ^= x << 17 & MASK
        words.append(x & 0xffffffff)
    return (struct.pack(">BBHIIQ", 0x80, 96, number & 0xffff, number * 180 & 0xffffffff,
                        session & 0xffffffff, number) + struct.pack(">%dI" % len(words), *words))


class Control:
    def __init__(self, address, port):
        self.s = socket.create_connection((address, port), timeout=60)
        self.session, self.cseq, self.longest, self.answers = None, 0, 0.0, 0
        self.buffer = b""

    def ask(self, method, headers=""):
        self.cseq += 1
        began = time.monotonic()
        session = "Session: %s\r\n" % self.session if self.session else ""
        self.s.sendall(("%s rtsp://server/stream RTSP/1.0\r\nCSeq: %d\r\n%s%s\r\n" %
                        (method, self.cseq, session, headers)).encode())
        while b"\r\n\r\n" not in self.buffer:
            data = self.s.recv(4096)
            if not data:
                raise EOFError("the control connection ended")
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        answer = dict(line.split(": ", 1) for line in lines[1:])
        if answer.get("CSeq") != str(self.cseq) or self.buffer:
            raise ValueError("an answer to %s, %d: %r" % (method, self.cseq, head))
        if self.session and answer.get("Session") != self.session:
            raise ValueError("an answer of another session: %r" % head)
        self.longest = max(self.longest, time.monotonic() - began)
        self.answers += 1
        return lines[0].split(" ", 1)[1], answer

    def good(self, method, headers=""):
        status, answer = self.ask(method, headers)
        if status != "200 OK":
            raise ValueError("%s: %s" % (method, status))
        return answer


class Packets:
    """What has come, by number."""

    def __init__(self):
        self.session = None
        self.seen = set()
        self.highest, self.repeated, self.back, self.wrong, self.gap = -1, 0, 0, 0, 0.0
        self.last, self.gaps = None, []
        self.count = 0
        self.error = None
        self.ended = False

    def take(self, data):
        now = time.monotonic()
        if self.last and now - self.last > 0.1:
            self.gaps.append("%d ms at %.3f" % (1000 * (now - self.last), self.last))
        if self.last:
            self.gap = max(self.gap, now - self.last)
        self.last = now
        number = struct.unpack(">Q", data[12:20])[0] if len(data) == PACKET else -1
        if number < 0 or data != packet(self.session, number):
            self.wrong += 1
            return
        self.back = max(self.back, self.highest + 1 - number)
        self.repeated += number in self.seen
        self.seen.add(number)
        self.highest = max(self.highest, number)
        self.count = len(self.seen)

    def holes(self):
        holes, at = [], None
        for n in range(self.highest + 1):
            if n in self.seen:
                if at is not None:
                    holes.append("%d-%d" % (at, n - 1))
                at = None
            elif at is None:
                at = n
        return holes

    def report(self):
        return {"packets": len(self.seen), "missing": self.highest + 1 - len(self.seen),
                "repeated": self.repeated, "back": self.back, "wrong": self.wrong,
                "gap_ms": round(1000 * self.gap), "gaps": self.gaps + self.holes(), "error": self.error}


class Tcp(Packets):
    transport = "RTP/AVP/TCP;unicast"

    def open(self, address, port, session):
        self.session = int(session, 16)
        self.s = socket.create_connection((address, port), timeout=60)
        self.s.sendall(("DATA * RTSP/1.0\r\nSession: %s\r\n\r\n" % session).encode())
        want = b"RTSP/1.0 200 OK\r\nSession: %s\r\n\r\n" % session.encode()
        got = self.read(len(want))
        if got != want:
            raise ValueError("an answer to DATA: %r" % got)

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.s.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def run(self):
        try:
            while True:
                frame = self.read(4 + PACKET)
                number = self.highest + 1
                if frame[:4] != b"$\0" + struct.pack(">H", PACKET):
                    self.wrong += 1
                self.take(frame[4:])
                if self.highest != number:
                    raise ValueError("packet %d is not next" % number)
        except EOFError:
            self.ended = True
        except (OSError, ValueError) as e:
            self.error = str(e)


class Udp(Packets):
    def __init__(self, address, group=None):
        super().__init__()
        v6 = ":" in address
        self.address = address
        self.s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
        self.s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        self.s.bind((group or ("::" if v6 else "0.0.0.0"), 0))
        port = self.s.getsockname()[1]
        self.transport = "RTP/AVP;unicast;client_port=%d" % port
        if not group:
            return
        self.transport = "RTP/AVP;multicast;destination=%s;port=%d;ttl=3" % (group, port)
        where = socket.if_nametoindex("c0")
        if v6:
            self.s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                              socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", where))
        else:
            self.s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) +
                              struct.pack("@4si", b"", where))

    def open(self, address, port, session):
        self.session = int(session, 16)

    def run(self):
        try:
            while True:
                data, peer = self.s.recvfrom(2048)
                if peer[0] != self.address:
                    raise ValueError("a packet of %s" % peer[0])
                self.take(data)
        except (OSError, ValueError) as e:
            self.error = str(e)


class Session:
    def __init__(self, address, port, kind):
        self.control = Control(address, port)
        self.data = Tcp() if kind == "tcp" else Udp(address, None if kind == "udp" else kind)
        answer = self.control.good("SETUP", "Transport: %s\r\n" % self.data.transport)
        self.control.session = answer["Session"]
        self.data.open(address, port, answer["Session"])
        threading.Thread(target=self.data.run, daemon=True).start()
        self.control.good("PLAY")

    def wait(self, what, condition):
        end = time.monotonic() + 30
        while not condition():
            if self.data.error or time.monotonic() > end:
                raise ValueError("%s: %s" % (what, self.data.error))
            time.sleep(0.005)

    def finish(self):
        self.control.good("PAUSE")
        position = int(self.control.good("GET_PARAMETER")["Position"])
        self.wait("packets before the pause", lambda: self.data.highest + 1 >= position)
        time.sleep(PAUSED_S)
        at = self.data.count
        if position != self.data.highest + 1:
            raise ValueError("%d packets, the server says %d" % (self.data.highest + 1, position))
        info = self.control.good("PLAY")["RTP-Info"]
        if info.split(";")[0] != "seq=%d" % position:
            raise ValueError("PLAY at %s, not %d" % (info, position))
        self.wait("packets after it", lambda: self.data.count >= at + 50)
        self.control.good("TEARDOWN")
        if isinstance(self.data, Tcp):
            self.wait("the data connection's end", lambda: self.data.ended)


def write(path, text):
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def main(where, address, port, kind, count="1"):
    sessions, error = [], None
    try:
        for _ in range(int(count)):
            sessions.append(Session(address, int(port), kind))
        write(where + "/sessions", "\n".join(s.control.session for s in sessions))
        while not os.path.exists(where + "/stop"):
            for s in sessions:
                s.control.good("GET_PARAMETER")
            write(where + "/progress", str(min(s.data.count for s in sessions)))
            time.sleep(0.02)
        for s in sessions:
            s.finish()
    except (OSError, ValueError, EOFError, KeyError) as e:
        error = "%s: %s" % (type(e).__name__, e)
    reports = [s.data.report() for s in sessions]
    total = {k: sum(r[k] for r in reports) for k in ("packets", "missing", "repeated", "wrong")}
    total.update({k: max([r[k] for r in reports] or [0]) for k in ("back", "gap_ms")})
    total["answers"] = sum(s.control.answers for s in sessions)
    total["answer_ms"] = round(1000 * max([s.control.longest for s in sessions] or [0]))
    total["error"] = error or next((r["error"] for r in reports if r["error"]), None)
    total["gaps"] = [r["gaps"] for r in reports][0] if reports else []
    print(json.dumps(total))


if __name__ == "__main__":
    if len(sys.argv) < 5 or not re.match(r"tcp$|udp$|[0-9a-f.:]+$", sys.argv[4]):
        sys.exit(__doc__)
    main(*sys.argv[1:])
