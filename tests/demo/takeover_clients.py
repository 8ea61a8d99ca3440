# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Clients that know what they must receive: each byte of a download is compared as it arrives, each upload's file at the end.

They all run in one thread inside the client's namespace, and know nothing of takeover: a socket that fails, ends early or
brings a wrong byte is a problem, whatever the servers went through.
"""
import array
import ctypes
import fcntl
import os
import random
import select
import socket
import struct
import termios
import threading
import time

from takeover_world import VIP, VIP6

BASE = 24 << 20  # of the known content; without a period, so that no shift of it looks right
FILES = 16  # each is a part of it that begins elsewhere
FILE_MAX = 8 << 20
TICK_S = 0.003
STALL_S = 20  # so long without progress: it is lost
# ... unless its kernel has sent nothing since servers are well: each repeat fell into another outage, and the time to the next
# one doubles (RFC 6298 section 5.5). Whether it did is judged in the end, by the wire (takeover_served.py); here the next crash
# excuses it. So long after a repeat: TCP_RTO_MAX, and the answer.
PATIENCE_S = 130
ANSWER_S = 3  # to its repeat, and what its server has to do then
BACKOFF, RTO, LAST_DATA_SENT = 4, 8, 44  # of struct tcp_info: doublings; us; ms
CLONE_NEWNET = 0x40000000


def enter(ns):
    """This thread alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open("/run/netns/" + ns, os.O_RDONLY)
    try:
        if libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(fd)


class Resets:
    """Every RST that comes in, which the kernel's counters do not tell from other ends."""
    def __init__(self):
        code = [
            (0x30, 0, 0, 0),      # 0: first byte
            (0x54, 0, 0, 0xf0),   # 1: IP version
            (0x15, 0, 5, 0x40),   # 2: not 4: to 8
            (0x30, 0, 0, 9),      # 3: protocol
            (0x15, 0, 9, 6),      # 4: not TCP: to 14
            (0xb1, 0, 0, 0),      # 5: length of the header
            (0x50, 0, 0, 13),     # 6: flags
            (0x45, 5, 6, 4),      # 7: RST: to 13, else to 14
            (0x15, 0, 5, 0x60),   # 8: not 6: to 14
            (0x30, 0, 0, 6),      # 9: next header
            (0x15, 0, 3, 6),      # 10: not TCP: to 14
            (0x30, 0, 0, 53),     # 11: flags
            (0x45, 0, 1, 4),      # 12: no RST: to 14
            (0x06, 0, 0, 96),     # 13: take it
            (0x06, 0, 0, 0)]      # 14: leave it
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        raw = b"".join(struct.pack("HBBI", *step) for step in code)
        buffer = ctypes.create_string_buffer(raw)
        self.sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(code), ctypes.addressof(buffer)))
        self.sock.setblocking(False)

    def read(self):
        """One text each."""
        out = []
        while True:
            try:
                data, where = self.sock.recvfrom(96)
            except BlockingIOError:
                return out
            if where[2] == socket.PACKET_OUTGOING:
                continue
            at = (data[0] & 15) * 4 if data[0] >> 4 == 4 else 40
            if len(data) >= at + 14 and data[at + 13] & 4:
                sport, dport, seq, ack = struct.unpack_from("!HHII", data, at)
                out.append("RST to port %d, seq %d, ack %d, flags %02x" % (dport, seq, ack, data[at + 13]))


class Content:
    """File k is base[k * STEP:][:FILE_MAX]; an upload sends from any place."""
    STEP = 999983

    def __init__(self, root, seed):
        self.base = memoryview(random.Random(seed).randbytes(BASE))
        self.root = root
        for k in range(FILES):
            with open(os.path.join(root, "d%d" % k), "wb") as f:
                f.write(self.part(k))
        for size in (0, 1, 700, 1500, 40000, 300000):
            with open(os.path.join(root, "s%d" % size), "wb") as f:
                f.write(self.base[size:2 * size])
        os.mkdir(os.path.join(root, "up"))

    def part(self, k):
        return self.base[k * self.STEP:k * self.STEP + FILE_MAX]


class Request:
    """What is sent, and what must come back."""

    def __init__(self, content, method, path, body, expect, last):
        self.method, self.path, self.last = method, path, last
        head = "%s /%s HTTP/1.1\r\nHost: x\r\n" % (method, path)
        if method == "PUT":
            head += "Content-Length: %d\r\n" % len(body)
        if last:
            head += "Connection: close\r\n"
        self.head = (head + "\r\n").encode()
        self.body = body
        self.expect = expect  # body of the answer
        self.status = b"HTTP/1.1 201 " if method == "PUT" else b"HTTP/1.1 200 "
        self.content = content


def get(content, path, expect, last=False):
    return Request(content, "GET", path, b"", expect, last)


class Flow:
    """One connection. `plan` gives lists of requests: those of a list are sent without waiting for answers."""

    def __init__(self, load, kind, family, plan, rate_down=0, rate_up=0, half_close=False, receive_buffer=0):
        self.load, self.kind, self.family, self.plan = load, kind, family, plan
        self.rate = {"down": rate_down, "up": rate_up}
        self.budget_at = {"down": 0.0, "up": 0.0}
        self.half_close = half_close
        self.out = []  # memoryviews to be sent
        self.waiting = []  # requests whose answers have not come
        self.head = b""
        self.in_body = False
        self.got = 0  # of the body of the first of `waiting`
        self.received = self.sent = self.acked = 0
        self.upload = None  # (request, offset in what we send of its body's first byte)
        self.pause_until = 0.0
        self.ended_own = False
        self.ended_at = 0.0
        self.done = False
        self.gaps = {}  # crash number -> [longest wait for data, for acknowledgements] in s
        self.born = self.progress_at = self.acked_at = time.monotonic()
        self.connected = False
        self.mask = None
        s = self.sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        s.setblocking(False)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.connect_ex((VIP, 80) if family == 4 else (VIP6, 80))
        load.poller.register(s, 0)
        load.by_fd[s.fileno()] = self
        self.name = "%s/%d #%d" % (kind, family, load.numbers)
        load.numbers += 1

    # ---- what it wants of the poller

    def interest(self, now):
        mask = 0
        if not self.connected:
            return select.EPOLLOUT
        if now >= self.pause_until:
            if (self.waiting or self.ended_own) and now >= self.budget_at["down"]:
                mask |= select.EPOLLIN
            if self.out and now >= self.budget_at["up"]:
                mask |= select.EPOLLOUT
        return mask

    def arm(self, now):
        mask = self.interest(now)
        if mask != self.mask:
            self.load.poller.modify(self.sock, mask)
            self.mask = mask
            if mask & select.EPOLLIN and not self.waits_since:
                self.waits_since = now
        if not mask & select.EPOLLIN:
            self.waits_since = 0.0

    waits_since = 0.0

    def spend(self, way, n, now):
        if self.rate[way]:
            self.budget_at[way] = max(self.budget_at[way], now - 0.02) + n / self.rate[way]

    # ---- what happens

    def fail(self, why):
        if self.done:
            return
        missing = sum(len(r.expect) for r in self.waiting) - self.got + sum(len(o) for o in self.out)
        try:
            at = self.sock.getsockname()[1]
        except OSError:
            at = 0
        self.load.problem("%s: %s (port %d, %.1f s old, %d bytes received, %d sent, %d acknowledged, answer to '%s %s' at %d "
                          "of %d)" % (
                              self.name, why, at, time.monotonic() - self.born, self.received, self.sent, self.acked,
                              self.waiting[0].method if self.waiting else "-", self.waiting[0].path if self.waiting else "-",
                              self.got, len(self.waiting[0].expect) if self.waiting else 0))
        self.load.lost += 1
        self.load.bytes_lost += max(missing, 1)
        self.load.failed.append(self.sock)  # stays open: what the kernels know of it goes into the logs
        self.close(False)

    def close(self, completely=True):
        if self.done:
            return
        self.done = True
        self.load.by_fd.pop(self.sock.fileno(), None)
        self.load.poller.unregister(self.sock)
        if completely:
            self.sock.close()
        for crash, gaps in self.gaps.items():
            self.load.gaps.setdefault(crash, []).append((self.kind, gaps))

    def gap(self, index, began, now):
        if began and self.load.crash >= 0:
            g = self.gaps.setdefault(self.load.crash, [0.0, 0.0])
            # what began long before the crash is not the crash's doing, but what reaches into it is
            g[index] = max(g[index], now - began)

    def shut(self):
        self.sock.shutdown(socket.SHUT_WR)
        self.ended_own, self.ended_at = True, time.monotonic()

    def next(self, now):
        batch = next(self.plan, None)
        if batch is None:
            return False
        if isinstance(batch, float):
            self.pause_until = now + batch
            return True
        for r in batch:
            self.out.append(memoryview(r.head))
            if len(r.body):
                self.upload = (r, self.sent + sum(len(o) for o in self.out))
                self.out.append(memoryview(r.body))
            self.waiting.append(r)
        return True

    def writable(self, now):
        if not self.connected:
            error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                return self.fail("connect: " + os.strerror(error))
            self.connected = True
            self.load.connect_times.append((now - self.born, self.name))
            self.load.connections += 1
            self.progress_at = self.acked_at = now
            self.next(now)
        n = 0
        while self.out:
            limit = 16384 if self.rate["up"] else 262144
            try:
                n = self.sock.send(self.out[0][:limit])
            except BlockingIOError:
                break
            except OSError as e:
                return self.fail("send: %s" % e.strerror)
            if self.sent == self.acked:
                self.acked_at = now
            self.sent += n
            self.load.bytes_up += n
            self.out[0] = self.out[0][n:]
            if not len(self.out[0]):
                self.out.pop(0)
            if self.rate["up"]:
                break
        self.spend("up", n, now)
        if not self.out and self.half_close and not self.ended_own and self.waiting and self.waiting[-1].last:
            self.shut()

    def readable(self, now):
        limit = 16384 if self.rate["down"] else 262144
        try:
            data = self.sock.recv(limit)
        except BlockingIOError:
            return
        except OSError as e:
            return self.fail("recv: %s" % e.strerror)
        self.gap(0, self.waits_since, now)
        self.waits_since = now
        self.progress_at = now
        if not data:
            if self.waiting or self.out:
                return self.fail("the server ended it too early")
            self.load.finished += 1
            return self.close()
        self.received += len(data)
        self.load.bytes_down += len(data)
        self.spend("down", len(data), now)
        self.take(data, now)

    def take(self, data, now):
        while data and not self.done:
            if not self.waiting:
                return self.fail("%d bytes that nobody asked for" % len(data))
            r = self.waiting[0]
            if not self.in_body:
                self.head += data
                at = self.head.find(b"\r\n\r\n")
                if at < 0:
                    if len(self.head) > 2000:
                        return self.wrong("an endless head", len(self.head))
                    return
                head, data = self.head[:at], self.head[at + 4:]
                self.head = b""
                want = b"Content-Length: %d" % len(r.expect)
                if not head.startswith(r.status) or want not in head.split(b"\r\n"):
                    return self.wrong("a wrong head: %r" % head[:200], len(head))
                self.in_body, self.got = True, 0
            n = min(len(data), len(r.expect) - self.got)
            if data[:n] != r.expect[self.got:self.got + n]:
                bad = sum(a != b for a, b in zip(data[:n], r.expect[self.got:self.got + n]))
                return self.wrong("%d wrong bytes from offset %d on" % (bad, self.got), bad)
            self.got += n
            data = data[n:]
            if self.got == len(r.expect):
                self.answered(r, now)

    def wrong(self, what, count):
        self.load.bytes_corrupted += count
        self.fail(what)

    def answered(self, r, now):
        self.in_body, self.got = False, 0
        self.waiting.pop(0)
        self.load.requests += 1
        if r.method == "PUT":
            if self.upload and self.upload[0] is r:
                self.upload = None
            self.check_file(r)
        if self.done:
            return
        if not self.waiting and not self.next(now) and not r.last:
            self.shut()  # and the server ends it, too
        if r.last:
            self.ended_own = True  # wait for the server's end

    def check_file(self, r):
        path = os.path.join(r.content.root, r.path)
        try:
            with open(path, "rb") as f:
                stored = f.read()
            os.unlink(path)
        except OSError as e:
            return self.fail("upload: " + str(e))
        if stored != r.body:
            if len(stored) != len(r.body):
                self.load.bytes_lost += abs(len(stored) - len(r.body))
            bad = sum(a != b for a, b in zip(stored, r.body))
            return self.wrong("upload: the file has %d bytes instead of %d, %d of them wrong" % (
                len(stored), len(r.body), bad), bad)

    def queued(self):
        """What its kernel has of it that is not acknowledged, the FIN, too."""
        count = array.array("i", [0])
        fcntl.ioctl(self.sock, termios.TIOCOUTQ, count)
        return count[0]

    def tick(self, now):
        """Acknowledgements, which only the kernel sees."""
        if not self.connected:
            if now - self.born > STALL_S:
                self.fail("no connection within %d s" % STALL_S)
            return
        acked = self.sent - self.queued()
        if acked > self.acked:
            if self.kind.startswith("upload"):
                self.gap(1, self.acked_at, now)
            self.load.bytes_acked += acked - self.acked
            self.acked, self.acked_at = acked, now
            self.progress_at = now
        if acked == self.sent:
            self.acked_at = now
        if now < self.pause_until or not (self.waiting or self.out or self.ended_own):
            self.progress_at = now
            if now >= self.pause_until and not self.waiting and not self.out and not self.ended_own:
                self.resume(now)
        elif now - self.progress_at > STALL_S and not self.unlucky(now):
            self.fail("no progress for %d s" % (now - self.progress_at))

    def last_sent(self, now):
        """When its kernel sent, or sent again, what is not acknowledged; None: all of it is."""
        queued = self.queued()
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA_SENT + 4)
        if queued > bool(self.ended_at):
            return now - struct.unpack_from("I", info, LAST_DATA_SENT)[0] / 1000
        rto = struct.unpack_from("I", info, RTO)[0] / 1e6
        # a FIN alone is not noted: the waits from it to its last repeat are all but the present one, each twice the one before
        return self.ended_at + rto - rto / 2 ** info[BACKOFF] if queued else None

    def unlucky(self, now):
        sent_at = self.last_sent(now)
        if sent_at is None or now - sent_at > PATIENCE_S:
            return False
        if sent_at > self.load.well_since and now - sent_at > ANSWER_S:
            return False
        self.load.patient.add(self.name)
        return True

    def resume(self, now):
        if not self.next(now):
            self.shut()

    def check_acknowledged(self):
        """T7: what this kernel was told is safe must be in the file, whoever died."""
        if not self.upload:
            return
        r, start = self.upload
        acked = min(self.sent - self.queued() - start, len(r.body))
        if acked <= 0:
            return
        try:
            stored = os.stat(os.path.join(r.content.root, r.path)).st_size
        except OSError:
            stored = 0
        self.load.acknowledged_checks += 1
        if stored < acked:
            self.load.bytes_lost += acked - stored
            self.load.problem("%s: %d bytes are acknowledged, but only %d are stored" % (self.name, acked, stored))


class Load(threading.Thread):
    """Keeps `count` connections of many kinds alive until stop(); then lets them finish."""

    def __init__(self, ns, content, count, seed, rate=1500000, kinds=None, options=True):
        super().__init__(daemon=True)
        self.ns, self.content, self.target, self.rate, self.options = ns, content, count, rate, options
        self.kinds = kinds or ("download", "download", "slow download", "upload", "upload", "keep-alive", "pipeline",
                               "half-closed download", "half-closed upload", "idle")
        self.random = random.Random(seed)
        self.poller = None
        self.by_fd = {}
        self.crash = -1  # number of the last one
        self.check_now = False
        self.stopping = False
        self.problems = []
        self.patient = set()
        self.failed = []
        self.connect_times = []
        self.gaps = {}  # crash -> [(kind, (down, up))]
        self.lost = self.bytes_lost = self.bytes_corrupted = 0
        self.connections = self.finished = self.requests = self.acknowledged_checks = 0
        self.bytes_down = self.bytes_up = self.bytes_acked = self.resets = 0
        self.numbers = self.uploads = self.turn = 0
        self.knocks = 0  # connections to be opened at once
        self.paws = 0
        self.kernel_before = self.kernel_after = None

    def problem(self, text):
        self.problems.append("[%.3f s after crash %d, %s] %s" % (
            time.monotonic() - self.crash_at, self.crash, self.crash_what, text))

    crash_at, crash_what = 0.0, "none"
    well_since = 0.0

    def settled(self, when):
        """Called by another thread: all are well since then."""
        self.well_since = when

    def crashed(self, what):
        """Called by another thread when a server is about to die."""
        self.crash_what = what
        self.crash_at = time.monotonic()
        self.crash += 1
        self.well_since = float("inf")
        self.check_now = True

    def knock(self, count):
        """Called by another thread: so many clients come at the same moment, want little, and end."""
        self.knocks = count

    def stop(self):
        self.stopping = True

    # ---- plans

    def upload_request(self, size, last=False):
        c, at = self.content, self.random.randrange(BASE - size)
        self.uploads += 1
        return Request(c, "PUT", "up/u%d" % self.uploads, c.base[at:at + size], b"", last)

    def small(self, last=False):
        c = self.content
        size = self.random.choice((0, 1, 700, 1500, 40000, 300000))
        if self.random.random() < 0.4:
            return self.upload_request(size, last)
        return get(c, "s%d" % size, c.base[size:2 * size], last)

    def big(self, last=False):
        k = self.random.randrange(FILES)
        return get(self.content, "d%d" % k, self.content.part(k), last)

    def plan_downloads(self):
        for i in range(self.random.choice((1, 1, 2))):
            yield [self.big()]

    def plan_big(self, last):
        yield [self.big(last)]

    def plan_upload(self, last=False):
        yield [self.upload_request(self.random.randrange(1 << 20, 6 << 20), last)]

    def plan_keep_alive(self):
        for i in range(self.random.randrange(10, 60)):
            yield [self.small()]
            if self.random.random() < 0.5:
                yield self.random.random() * 0.2

    def plan_pipeline(self):
        for i in range(self.random.randrange(5, 20)):
            yield [self.small() for _ in range(self.random.randrange(2, 6))]

    def plan_idle(self):
        for i in range(self.random.randrange(2, 5)):
            yield [self.small()]
            yield 1.0 + self.random.random() * 4

    def option(self, name, value):
        try:
            with open("/proc/sys/net/ipv4/" + name, "w") as f:
                f.write(value)
        except OSError:
            pass

    def plan_knock(self):
        yield [self.small(True)]

    def open(self, kind=None):
        if not kind:
            kind = self.kinds[self.turn % len(self.kinds)]
            self.turn += 1
        family = self.random.choice((4, 6))
        # A client of another make now and then. A kernel looks at these again when the SYN-ACK comes.
        if self.options and all(f.connected for f in self.by_fd.values()):
            for name in ("tcp_timestamps", "tcp_sack", "tcp_window_scaling"):
                self.option(name, "0" if self.random.random() < 0.12 else "1")
        if kind == "download":
            f = Flow(self, kind, family, self.plan_downloads())
        elif kind == "slow download":
            f = Flow(self, kind, family, self.plan_big(False), rate_down=self.rate * (0.3 + self.random.random()),
                     receive_buffer=self.random.choice((0, 8192, 65536)))
        elif kind == "upload":
            f = Flow(self, kind, family, self.plan_upload(), rate_up=self.rate)
        elif kind == "keep-alive":
            f = Flow(self, kind, family, self.plan_keep_alive())
        elif kind == "pipeline":
            f = Flow(self, kind, family, self.plan_pipeline())
        elif kind == "half-closed download":
            f = Flow(self, kind, family, self.plan_big(True), half_close=True)
        elif kind == "half-closed upload":
            f = Flow(self, kind, family, self.plan_upload(True), rate_up=self.rate, half_close=True)
        elif kind == "knock":
            f = Flow(self, kind, family, self.plan_knock(), half_close=self.random.random() < 0.5)
        else:
            f = Flow(self, kind, family, self.plan_idle())
        f.arm(time.monotonic())

    # ---- the loop

    def kernel(self):
        counts = {}
        for path in ("/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"):
            with open(path) as f:
                lines = f.read().splitlines()
            for names, values in zip(lines[::2], lines[1::2]):
                prefix = names.split(":")[0]
                for name, value in zip(names.split()[1:], values.split()[1:]):
                    counts[prefix + name] = int(value)
        return counts

    def run(self):
        try:
            enter(self.ns)
            self.poller = select.epoll()
            self.kernel_before = self.kernel()
            self.listener = Resets()
            self.loop()
            self.kernel_after = self.kernel()
        except Exception as e:  # whatever it is, the run is worth nothing then
            self.problems.append("the clients broke: %s: %s" % (type(e).__name__, e))
            raise

    def loop(self):
        next_tick = next_note = 0.0
        while True:
            for fd, events in self.poller.poll(TICK_S):
                flow = self.by_fd.get(fd)
                now = time.monotonic()
                if not flow:
                    continue
                if not flow.connected or events & select.EPOLLOUT:
                    flow.writable(now)
                if not flow.done and flow.connected and events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                    flow.readable(now)
                if not flow.done:
                    flow.arm(now)
            now = time.monotonic()
            for text in self.listener.read():
                self.resets += 1
                self.problem(text)
            if self.check_now:
                self.check_now = False
                for flow in list(self.by_fd.values()):
                    flow.check_acknowledged()
            while self.knocks and not self.stopping:
                self.knocks -= 1
                self.open("knock")
            if now < next_tick:
                continue
            next_tick = now + TICK_S
            for flow in list(self.by_fd.values()):
                flow.tick(now)
                if not flow.done:
                    flow.arm(now)
            if now >= next_note:
                next_note = now + 0.1
                self.look_for_paws()
            if not self.stopping:
                for _ in range(3):  # a few a round, not all at once
                    if len(self.by_fd) < self.target:
                        self.open()
            elif not self.by_fd:
                return
            else:
                for flow in self.by_fd.values():  # as fast as it goes
                    flow.rate = {"down": 0, "up": 0}

    def look_for_paws(self):
        count = self.kernel()["TcpExtPAWSEstab"] - self.kernel_before["TcpExtPAWSEstab"]
        if count > self.paws:
            self.problem("%d segments were refused for their timestamps (PAWS)" % (count - self.paws))
        self.paws = count

    # ---- figures

    def kernel_saw(self, *names):
        after = self.kernel_after or {}
        return {n: after.get(n, 0) - (self.kernel_before or {}).get(n, 0) for n in names}

    def waits(self, index, kinds=None):
        """The longest wait of each connection in each crash, in ms, sorted."""
        return sorted(g[index] * 1000 for flows in self.gaps.values() for kind, g in flows
                      if g[index] and (not kinds or kind in kinds))


def quantiles(values):
    if not values:
        return {"median": None, "p95": None, "max": None}

    def at(q):
        return round(values[min(len(values) - 1, int(q * len(values)))], 1)

    return {"median": at(0.5), "p95": at(0.95), "max": round(values[-1], 1)}
