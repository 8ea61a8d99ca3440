# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The two ends of the numbered UDP stream and of the idle TCP connection; one process in the mobile's namespace
("client") and one in the server's ("server").

    ends.py client|server ADDRESS UDP_PORT TCP_PORT RECORD_PREFIX

The stream is what real applications build upon UDP (QUIC, mosh): datagrams are numbered, the receiver tells which ranges it has,
the sender repeats what is not acknowledged. Every transmission has a number of its own, so that what the network lost is known exactly, also
where the application lost nothing. Both directions are alike. At the end each side writes what it sent and what came, with times,
as arrays of doubles: RECORD_PREFIX.sent and .came.

Commands are lines on standard input: "idle N" makes the Nth exchange on the idle connection (client), "stop" ends the stream's
new datagrams, "quit" ends the process. Answers and a line of counters every 200 ms are JSON on standard output.
"""
import array
import collections
import json
import os
import random
import select
import socket
import struct
import sys
import time
import zlib

RATE = 1000  # datagrams a second
TICK = 0.002
REPEAT_AFTER = 0.1  # doubled with each attempt up to REPEAT_MAX
REPEAT_MAX = 0.4
REPEATS_A_TICK = 16  # a path that comes back is not greeted with everything at once
RANGES = 4
HEAD = struct.Struct("!IIHH%dI" % (2 * RANGES))  # transmission, number, attempt, payload's length, ranges
CRC = struct.Struct("!I")
SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32  # Python does not name them
NOISE = random.Random(4690).randbytes(8192)
IDLE_BYTES = 4096
MIRROR = bytes(255 - i for i in range(256))


def payload(number):
    """200 to 1000 bytes that follow from the number alone: the receiver knows them."""
    start = number * 2654435761 % 7168
    return NOISE[start:start + 200 + number * 7919 % 801]


def idle_bytes(n):
    return random.Random(n).randbytes(IDLE_BYTES)


class Ranges:
    """Numbers that came, as ordered [first, after the last) pairs. Loss is rare, so the list is short."""

    def __init__(self):
        self.list = []

    def add(self, n):
        """False if it was there."""
        spans = self.list
        for i in range(len(spans) - 1, -1, -1):
            span = spans[i]
            if n >= span[0]:
                if n < span[1]:
                    return False
                if n == span[1]:
                    span[1] += 1
                    if i + 1 < len(spans) and spans[i + 1][0] == span[1]:
                        span[1] = spans.pop(i + 1)[1]
                else:
                    self.put_before(i + 1, n)
                return True
        self.put_before(0, n)
        return True

    def put_before(self, i, n):
        if i < len(self.list) and self.list[i][0] == n + 1:
            self.list[i][0] = n
        else:
            self.list.insert(i, [n, n + 1])

    def tell(self):
        """The oldest first: what the sender must repeat is between them. The newest is always told."""
        spans = self.list[:RANGES - 1] + self.list[RANGES - 1:][-1:]
        flat = [n for span in spans for n in span]
        return flat + [0] * (2 * RANGES - len(flat))


class Stream:
    def __init__(self, sock, peer):
        self.sock, self.peer = sock, peer
        self.began = self.transmission = self.number = 0
        self.open = collections.OrderedDict()  # number -> [last sent, attempt], by last sent
        self.acked = 0  # all below are acknowledged
        self.have = Ranges()
        self.sent, self.came = array.array("d"), array.array("d")
        self.repeated = self.bad = 0
        self.stopped = False

    def send(self, number, attempt, now):
        body = payload(number)
        head = HEAD.pack(self.transmission, number, attempt, len(body), *self.have.tell())
        self.sent.extend((now, self.transmission, number, attempt, len(body)))
        self.transmission += 1
        try:
            self.sock.sendto(head + body + CRC.pack(zlib.crc32(body, zlib.crc32(head))), self.peer)
        except OSError:
            pass  # no route, a full queue, a refusal: to the stream that is a loss
        self.open[number] = [now, attempt]
        self.open.move_to_end(number)

    def tick(self, now):
        if self.peer is None:
            return
        if not self.began:
            self.began = now
        due = 0 if self.stopped else int((now - self.began) * RATE) - self.number
        for _ in range(min(due, 50)):
            self.send(self.number, 0, now)
            self.number += 1
        if due > 50:  # we were not run for a while: go on at the rate, no burst
            self.began += (due - 50) / RATE
        late = []
        for number, (then, attempt) in self.open.items():
            if now - then < REPEAT_AFTER or len(late) == REPEATS_A_TICK:
                break
            if now - then >= min(REPEAT_AFTER * 2 ** attempt, REPEAT_MAX):
                late.append((number, attempt + 1))
        for number, attempt in late:
            self.repeated += 1
            self.send(number, attempt, now)

    def receive(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about something sent before
            now = time.monotonic()
            if len(data) < HEAD.size + CRC.size:
                self.bad += 1
                self.came.extend((now, -1, -1, len(data), 2))
                continue
            sent, number, _, size, *ranges = HEAD.unpack_from(data)
            body = data[HEAD.size:-CRC.size]
            if (zlib.crc32(data[:-CRC.size]) != CRC.unpack(data[-CRC.size:])[0] or len(body) != size or
                    body != payload(number)):
                self.bad += 1
                self.came.extend((now, -1, -1, len(data), 2))
                continue
            if self.peer is None:
                self.peer = peer
            self.came.extend((now, sent, number, size, 1 if self.have.add(number) else 0))
            self.forget(ranges)

    def forget(self, ranges):
        for first, end in zip(ranges[::2], ranges[1::2]):
            if end <= self.acked:
                continue
            if first <= self.acked:
                for n in range(self.acked, end):
                    self.open.pop(n, None)
                self.acked = end
            elif self.open:
                for n in [n for n in self.open if first <= n < end]:
                    del self.open[n]

    def save(self, prefix):
        for name, data in (("sent", self.sent), ("came", self.came)):
            with open("%s.%s" % (prefix, name), "wb") as f:
                data.tofile(f)


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Idle:
    """Client's end of the connection that is silent but for one exchange a step."""

    def __init__(self, sock):
        self.sock = sock
        self.n = None

    def begin(self, n):
        self.n, self.got, self.t0 = n, b"", time.monotonic()
        try:
            self.sock.send(idle_bytes(n))
        except OSError as e:
            self.end(str(e))

    def read(self):
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return True
        except OSError as e:
            return self.end(str(e))
        if not data:
            return self.end("the server closed the connection")
        if self.n is None:
            return self.end("%d bytes came that nobody asked for" % len(data))
        self.got += data
        if len(self.got) >= IDLE_BYTES:
            self.end(None)
        return True

    def end(self, error):
        wanted = idle_bytes(self.n or 0).translate(MIRROR)
        say(idle=self.n, error=error, began=getattr(self, "t0", None), ended=time.monotonic(),
            lost=IDLE_BYTES - min(len(self.got), IDLE_BYTES) if self.n is not None else 0,
            corrupted=sum(a != b for a, b in zip(self.got, wanted)) if self.n is not None else 0)
        self.n = None
        return not error


def udp_socket(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Wide enough for a second in which nobody reads: a loss here would not be the network's.
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    s.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20)
    s.setblocking(False)
    if address:
        s.bind(address)
    return s


def main():
    role, address, udp_port, tcp_port, prefix = sys.argv[1:6]
    client = role == "client"
    server_at = (address, int(udp_port))
    stream = Stream(udp_socket(None if client else server_at), server_at if client else None)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(stream.sock, select.POLLIN)
    echoes, idle, listener = {}, None, None
    if client:
        tcp = socket.create_connection((address, int(tcp_port)), 10)
        tcp.setblocking(False)
        idle = Idle(tcp)
        poll.register(tcp, select.POLLIN)
    else:
        listener = socket.create_server((address, int(tcp_port)))
        poll.register(listener, select.POLLIN)
    say(ready=True)
    next_tick = time.monotonic()
    next_say = next_tick
    last = [0, 0]
    commands = b""
    while True:
        now = time.monotonic()
        if now >= next_tick:
            stream.tick(now)
            next_tick = max(next_tick + TICK, now)
        if now >= next_say:
            next_say = now + 0.2
            counts = [len(stream.sent) // 5, len(stream.came) // 5]
            say(t=now, sent=counts[0] - last[0], came=counts[1] - last[1], open=len(stream.open), stopped=stream.stopped,
                repeated=stream.repeated, bad=stream.bad)
            last = counts
        for fd, _ in poll.poll(max(0, (next_tick - time.monotonic()) * 1000)):
            if fd == stream.sock.fileno():
                stream.receive()
            elif fd == 0:
                data = os.read(0, 4096)
                commands += data
                *lines, commands = commands.split(b"\n")
                for line in lines:
                    word, *rest = line.decode().split()
                    if word == "idle":
                        idle.begin(int(rest[0]))
                    elif word == "stop":
                        stream.stopped = True
                    elif word == "quit":
                        stream.save(prefix)
                        say(saved=True)
                        return
                if not data:
                    return
            elif idle and fd == idle.sock.fileno():
                if not idle.read():
                    poll.unregister(fd)
            elif listener and fd == listener.fileno():
                c, _ = listener.accept()
                echoes[c.fileno()] = c
                poll.register(c, select.POLLIN)
            elif fd in echoes:
                try:
                    data = echoes[fd].recv(65536)
                    echoes[fd].sendall(data.translate(MIRROR))
                except OSError:
                    data = b""
                if not data:
                    poll.unregister(fd)
                    echoes.pop(fd).close()


if __name__ == "__main__":
    main()
