# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Numbered UDP datagrams in both directions, and a TCP echo, for the tests in namespaces.

  stream.py udp-server ADDR PORT              answers every datagram of a client with a numbered one
  stream.py udp-client ADDR PORT PPS STOPFILE sends PPS datagrams a second until STOPFILE exists, then
                                              prints one line of JSON: what was sent, what came back, the
                                              longest pause, what is missing, doubled, swapped or corrupt
  stream.py tcp-echo ADDR PORT                echoes on every connection
  stream.py tcp-hold ADDR PORT COUNT READY STOP
                                              opens COUNT connections, touches READY, and when STOP exists
                                              exchanges known bytes on each; prints JSON {"ok": n, "bad": n}
  stream.py tcp-mirror ADDR PORT STOP         sends content of a known sequence to an echo server without end
                                              until STOP exists and compares what comes back, byte by byte;
                                              prints JSON {"bytes": n, "ok": bool}
  stream.py udp-flood ADDR PORT COUNT         one datagram from each of COUNT source ports
"""
import json
import os
import socket
import struct
import sys
import threading
import time
import zlib

SO_RCVBUFFORCE = 33  # Python does not name it
HEAD = struct.Struct("!QII")  # number, length, CRC of the rest


def family(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


def pack(number, size):
    body = (number.to_bytes(8, "big") * (size // 8 + 1))[:size]
    return HEAD.pack(number, size, zlib.crc32(body)) + body


def unpack(data):
    """The number, or None where a byte is wrong."""
    if len(data) < HEAD.size:
        return None
    number, size, crc = HEAD.unpack_from(data)
    body = data[HEAD.size:]
    if len(body) != size or zlib.crc32(body) != crc or data != pack(number, size):
        return None
    return number


class Tally:
    def __init__(self):
        self.seen = set()
        self.highest = -1
        self.doubled = self.swapped = self.corrupt = 0
        self.last = None
        self.pause = 0.0

    def take(self, data):
        now = time.monotonic()
        if self.last is not None:
            self.pause = max(self.pause, now - self.last)
        self.last = now
        number = unpack(data)
        if number is None:
            self.corrupt += 1
        elif number in self.seen:
            self.doubled += 1
        else:
            self.seen.add(number)
            if number < self.highest:
                self.swapped += 1
            self.highest = max(self.highest, number)
        return number

    def report(self, sent):
        return {"sent": sent, "received": len(self.seen), "lost": sent - len(self.seen),
                "doubled": self.doubled, "swapped": self.swapped, "corrupt": self.corrupt,
                "pause_ms": round(self.pause * 1000, 2)}


def udp_server(addr, port):
    s = socket.socket(family(addr), socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    s.bind((addr, int(port)))
    tallies = {}
    while True:
        data, peer = s.recvfrom(65535)
        if data == b"report":
            t = tallies.pop(peer, Tally())
            s.sendto(b"report" + json.dumps(t.report(t.highest + 1)).encode(), peer)
            continue
        t = tallies.setdefault(peer, Tally())
        number = t.take(data)
        if number is not None:
            s.sendto(pack(number, 100 + number % 900), peer)


def udp_client(addr, port, pps, stop):
    s = socket.socket(family(addr), socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    s.connect((addr, int(port)))
    down, sent = Tally(), 0
    interval = 1 / float(pps)
    report = []

    def receive():
        while True:
            try:
                data = s.recv(65535)
            except ConnectionRefusedError:
                continue
            except OSError:
                return
            if data.startswith(b"report"):
                report.append(json.loads(data[6:]))
                return
            down.take(data)

    reader = threading.Thread(target=receive, daemon=True)
    reader.start()
    start = time.monotonic()
    while not os.path.exists(stop):
        try:
            s.send(pack(sent, 100 + sent % 900))
        except OSError:
            pass
        sent += 1
        wait = start + sent * interval - time.monotonic()
        if wait > 0:
            time.sleep(wait)
    end = time.monotonic() + 10
    while len(down.seen) < sent and time.monotonic() < end and time.monotonic() - (down.last or 0) < 1.0:
        time.sleep(0.01)
    while not report and time.monotonic() < end:
        s.send(b"report")
        reader.join(0.2)
    print(json.dumps({"up": report[0] if report else None, "down": down.report(sent)}))


def tcp_echo(addr, port):
    def serve(c):
        try:
            while True:
                data = c.recv(1 << 20)
                if not data:
                    break
                c.sendall(data)
        except OSError:
            pass
        c.close()

    l = socket.socket(family(addr), socket.SOCK_STREAM)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind((addr, int(port)))
    l.listen(4096)
    threading.stack_size(256 << 10)
    while True:
        c, _ = l.accept()
        threading.Thread(target=serve, args=(c,), daemon=True).start()


def tcp_hold(addr, port, count, ready, stop):
    conns, ok = [], 0
    for _ in range(int(count)):
        conns.append(socket.create_connection((addr, int(port)), timeout=20))
    for n, c in enumerate(conns):
        c.sendall(b"first %d\n" % n)
        ok += c.makefile("rb").readline() == b"first %d\n" % n
    assert ok == len(conns), "not even at the beginning"
    open(ready, "w").close()
    while not os.path.exists(stop):
        time.sleep(0.02)
    ok = 0
    for n, c in enumerate(conns):
        try:
            c.sendall(b"last %d\n" % n)
            ok += c.makefile("rb").readline() == b"last %d\n" % n
        except OSError:
            pass
    print(json.dumps({"ok": ok, "bad": len(conns) - ok}))


def sequence(seed):
    """Content that no two places share, without keeping it: blocks of a counter's hash."""
    import hashlib
    n = 0
    while True:
        yield hashlib.blake2b(b"%s %d" % (seed, n)).digest() * 64
        n += 1


def tcp_mirror(addr, port, stop):
    # TCP doubles its timer with each retransmission that a cut takes: a cut must be noticed without one
    c = socket.create_connection((addr, int(port)), timeout=30)
    seed = b"%d" % os.getpid()
    counts = [0, 0]
    problem = []
    start = time.monotonic()

    def send():
        try:
            for block in sequence(seed):
                if os.path.exists(stop):
                    break
                c.sendall(block)
                counts[0] += len(block)
                # in flight all the time, but not so fast that the machine does nothing else
                while (counts[0] - counts[1] > 4 << 20 or
                       counts[0] > 5e6 * (time.monotonic() - start)) and not problem:
                    time.sleep(0.001)
            c.shutdown(socket.SHUT_WR)
        except OSError as e:
            problem.append("sending: %s" % e)

    writer = threading.Thread(target=send, daemon=True)
    writer.start()
    want, expected = b"", sequence(seed)
    try:
        while not problem:
            data = c.recv(1 << 20)
            if not data:
                break
            while len(want) < len(data):
                want += next(expected)
            if want[:len(data)] != data:
                problem.append("bytes differ after %d" % counts[1])
            want = want[len(data):]
            counts[1] += len(data)
    except OSError as e:
        problem.append("receiving: %s" % e)
    writer.join(1)
    if not problem and counts[0] != counts[1]:
        problem.append("%d sent, %d came back" % tuple(counts))
    print(json.dumps({"bytes": counts[1], "ok": not problem and counts[1] > 0, "problem": problem}))


def udp_flood(addr, port, count):
    done = 0
    for source in range(1024, 65536):
        if done == int(count):
            break
        s = socket.socket(family(addr), socket.SOCK_DGRAM)
        try:
            s.bind(("::" if ":" in addr else "0.0.0.0", source))
            s.sendto(b"flood", (addr, int(port)))
            done += 1
        except OSError:
            pass
        s.close()
    print(json.dumps({"sent": done}))


if __name__ == "__main__":
    verb = {"tcp-mirror": tcp_mirror, "udp-flood": udp_flood, "udp-server": udp_server,
            "udp-client": udp_client, "tcp-echo": tcp_echo, "tcp-hold": tcp_hold}
    if len(sys.argv) < 2 or sys.argv[1] not in verb:
        sys.exit(__doc__)
    verb[sys.argv[1]](*sys.argv[2:])
