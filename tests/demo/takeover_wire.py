#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a client's interface saw of the servers, read from a capture, and what a TCP peer would find odd in it.

    tcpdump -U -w - ... | takeover_wire.py RESULT

reads while it is captured, and writes RESULT (JSON) at the end; RESULT.pcap has the last packets of connections with findings.
"""
import collections
import json
import struct
import sys

KEPT_PACKETS = 100000  # of all connections, for the way to a finding
KEPT_FLOWS = 12
TAIL = 2000  # packets of a connection after its first finding
ANSWER_S = 0.25  # a repeat that has had no answer then is written down
STUCK_S = 1  # longer than a server that waits for an acknowledgement takes to send again (RTO)
GIVE_UP_S = 60  # a kernel ends by itself no earlier what nobody answers: tcp_orphan_retries, tcp_retries2


def len_of(d, kind, l4, offset):
    """Of the payload, which the capture may have cut off."""
    if kind == 0x800:
        return struct.unpack_from("!H", d, 16)[0] - (l4 - 14) - (offset >> 4) * 4
    return struct.unpack_from("!H", d, 18)[0] - (offset >> 4) * 4


class Wire:
    """Each of these lists should be empty.

    Two processors of a server may send two segments in another order than they made them, within REORDERED_S; one that the
    host takes away meanwhile for STOLEN_MS makes its timestamp as much older, and a new owner's differ by far more. An edge
    may step back by what the window's scale cannot say (RFC 7323 section 2.4). When both ends have closed, a connection
    is over; a new owner that does not know it asks, and is told so. So is who asks for one that its client has given up,
    as nobody had answered it for GIVE_UP_S.

    A client repeats what is not acknowledged, and probes. Whether anybody had to answer is for those to say who know when
    the group was served: takeover_served.py. "silent" has the repeats that no segment answered, "stuck" the times of
    STUCK_S in which a client repeated and got answers that acknowledged nothing and brought nothing new. Of repeats within
    ANSWER_S the first stands for all.
    """
    REORDERED_S = 0.001
    STOLEN_MS = 20
    FINDINGS = ("resets", "client_resets", "acks", "unsent", "timestamps", "echoes", "edges")
    REPEATS = ("repeats", "silent", "stuck")
    NOTES = ("gave_up",) + REPEATS

    def __init__(self):
        self.resets = []  # by a server
        self.client_resets = []  # the client's kernel could make no sense of what came
        self.acks = []  # of less than before
        self.unsent = []  # ... of what the client has not sent
        self.timestamps = []  # older than one before
        self.echoes = []  # ... of a timestamp that the client has not sent
        self.edges = []  # of the window, to the left of what was told
        self.gave_up = []  # resets of clients that gave up by themselves
        self.repeats = []  # [time, kind] of every one
        self.silent = []  # [time, port, kind, ms until an answer or null]
        self.stuck = []  # [from, port, kind, until]
        self.flows = {}
        self.packets = self.found = 0

    def note(self, findings, text):
        self.found += 1
        findings.append(text)

    def read(self, f):
        f.read(24)
        while True:
            head = f.read(16)
            if len(head) < 16:
                return self.end_of_capture()
            seconds, micros, length, _ = struct.unpack("<IIII", head)
            data = f.read(length)
            self.packets += 1
            self.packet("%d.%06d" % (seconds, micros), data)
            self.keep(head, data)

    def keep(self, head, data):
        pass

    def packet(self, when, d):
        if len(d) < 54:
            return
        kind = struct.unpack_from("!H", d, 12)[0]
        l4 = 14 + (d[14] & 15) * 4 if kind == 0x800 else 54
        if len(d) < l4 + 20:
            return
        source, target, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", d, l4)
        options = self.options(d[l4 + 20:l4 + (offset >> 4) * 4])
        origin, goal = (d[26:30], d[30:34]) if kind == 0x800 else (d[22:38], d[38:54])
        end = (seq + len_of(d, kind, l4, offset) + bool(flags & 1) + bool(flags & 2)) & 0xffffffff
        if target == 80:
            self.of_client((origin, source), when, (seq, end), ack, flags, options)
        elif source == 80 and (goal, target) in self.flows:
            flow = self.flows[goal, target]
            self.answer(flow, float(when), end, ack, flags)
            self.of_server(flow, when, target, (seq, ack, flags, window, options))

    def end_of_capture(self):
        for flow in self.flows.values():
            self.give_judgement(flow)

    # ---- repeats

    def repeat(self, flow, port, now, seq, end, flags):
        """The client sends; is it something that it has sent before, or a probe?"""
        if flow.get("over"):
            return
        if seq == end and ("ack" not in flow or not self.before(seq, flow["ack"])):
            return
        if seq != end and not self.before(seq, flow["client_end"]):
            flow.setdefault("unanswered_since", now)
            return
        asked = flow.get("asked")
        if asked and now - asked["at"] <= ANSWER_S:
            return
        self.give_judgement(flow)
        kind = "probe" if seq == end else "SYN" if flags & 2 else "FIN" if flags & 1 and end == (seq + 1) & 0xffffffff else "data"
        self.repeats.append([now, kind])
        flow["asked"] = {"at": now, "port": port, "kind": kind, "any": None}
        if kind == "probe":  # a window may be shut for long
            return
        since = flow.setdefault("stuck_since", now)
        if now - since >= STUCK_S:
            self.stuck.append([since, port, kind, now])
            flow["stuck_since"] = now

    def answer(self, flow, now, end, ack, flags):
        asked = flow.get("asked")
        further = "server_end" not in flow or self.before(flow["server_end"], end)
        if further:
            flow["server_end"] = end
        if flags & 16 and not self.before(ack, flow["client_end"]):
            flow.pop("unanswered_since", None)
        elif flags & 16 and "ack" in flow and self.before(flow["ack"], ack):
            flow["unanswered_since"] = now
            further = True
        if further:
            flow.pop("stuck_since", None)
        if asked and asked["any"] is None:
            asked["any"] = now - asked["at"]

    def give_judgement(self, flow):
        asked = flow.pop("asked", None)
        if asked and (asked["any"] is None or asked["any"] > ANSWER_S):
            late = asked["any"] and round(asked["any"] * 1000, 1)
            self.silent.append([asked["at"], asked["port"], asked["kind"], late])

    # ---- either end

    def of_client(self, key, when, octets, ack, flags, options):
        seq, end = octets
        old = self.flows.get(key)
        if flags & 2 and not flags & 16 and (not old or old["client_end"] != end or "ack" in old):
            if old:
                self.give_judgement(old)
            self.flows[key] = {"offered": options.get(3), "client_ack": 0, "client_end": seq}
        flow = self.flows.get(key)
        if not flow:
            return
        if flags & 4:
            self.of_reset(flow, when, key[1])
            return
        self.repeat(flow, key[1], float(when), seq, end, flags)
        flow["client_ack"] = ack
        if self.before(flow["client_end"], end):
            flow["client_end"] = end
        if flags & 1:
            flow["client_fin"] = end
        stamp = options.get(8)
        if stamp:
            flow["client_ts"] = struct.unpack("!I", stamp[:4])[0]

    def of_reset(self, flow, when, port):
        if flow.get("over"):
            return
        text, waited = "%s port %d" % (when, port), float(when) - flow.get("unanswered_since", float(when))
        if waited < GIVE_UP_S:
            self.note(self.client_resets, text)
            return
        self.gave_up.append("%s: nobody acknowledged what it sent for %d s" % (text, waited))
        self.give_judgement(flow)
        flow["over"] = True

    def of_server(self, flow, when, target, segment):
        seq, ack, flags, window, options = segment
        text, now = "%s port %d" % (when, target), float(when)
        if flow.get("over"):
            return
        if flags & 4:
            self.note(self.resets, text)
            return
        if flags & 2:
            scale = options.get(3)
            flow.update(scale=scale[0] if scale and flow["offered"] else 0)
        self.stamp(flow, text, now, options.get(8), flags)
        if not flags & 16:
            return
        if self.before(flow["client_end"], ack):
            self.note(self.unsent, "%s: %d bytes" % (text, (ack - flow["client_end"]) & 0xffffffff))
        if flags & 2:
            return
        edge = ack + (window << flow.get("scale", 0))
        if "ack" in flow:
            if self.before(ack, flow["ack"]) and now - flow["ack_at"] > self.REORDERED_S:
                self.note(self.acks, "%s: %d bytes" % (text, (flow["ack"] - ack) & 0xffffffff))
            told = edge + (2 << flow.get("scale", 0))
            if "edge" in flow and self.before(told, flow["edge"]) and now - flow["edge_at"] > self.REORDERED_S:
                self.note(self.edges, "%s: %d bytes" % (text, (flow["edge"] - edge) & 0xffffffff))
        if "ack" not in flow or not self.before(ack, flow["ack"]):
            flow["ack"], flow["ack_at"] = ack, now
        if "edge" not in flow or self.before(flow["edge"], edge & 0xffffffff):
            flow["edge"], flow["edge_at"] = edge & 0xffffffff, now
        flow["over"] = flags & 1 and ack == flow.get("client_fin") or flow.get("server_fin") and ack == flow.get("client_fin")
        flow["server_fin"] = flow.get("server_fin") or flags & 1

    def stamp(self, flow, text, now, option, flags):
        if not option:
            return
        value, echo = struct.unpack("!II", option[:8])
        if flags & 16 and "client_ts" in flow and self.before(flow["client_ts"], echo):
            self.note(self.echoes, "%s: %d ms" % (text, (echo - flow["client_ts"]) & 0xffffffff))
        if "ts" in flow and not flags & 2 and self.before(value, flow["ts"]):
            if now - flow["ts_at"] <= self.REORDERED_S and self.before(flow["ts"] - self.STOLEN_MS - 1, value):
                return
            self.note(self.timestamps, "%s: %d ms" % (text, (flow["ts"] - value) & 0xffffffff))
        else:
            flow["ts"], flow["ts_at"] = value, now

    @staticmethod
    def before(a, b):
        return (a - b) & 0xffffffff > 0x7fffffff

    @staticmethod
    def options(data):
        out, i = {}, 0
        while i < len(data) and data[i]:
            if data[i] == 1:
                i += 1
                continue
            if i + 1 >= len(data) or data[i + 1] < 2:
                break
            out[data[i]] = data[i + 2:i + data[i + 1]]
            i += data[i + 1]
        return out


class Watch(Wire):
    """A Wire that keeps the packets which led to its findings."""

    def __init__(self):
        super().__init__()
        self.recent = collections.deque(maxlen=KEPT_PACKETS)
        self.odd = {}  # port -> packets
        self.left = {}  # port -> how many more
        self.seen = 0

    def keep(self, head, data):
        if self.found > self.seen:
            self.seen = self.found
            port = self.port(data)
            if port not in self.odd and len(self.odd) < KEPT_FLOWS:
                self.odd[port] = [p for p in self.recent if self.port(p[1]) == port]
                self.left[port] = TAIL
        if self.odd:
            port = self.port(data)
            if self.left.get(port):
                self.left[port] -= 1
                self.odd[port].append((head, data))
        self.recent.append((head, data))

    @staticmethod
    def port(d):
        if len(d) < 58:
            return 0
        l4 = 14 + (d[14] & 15) * 4 if d[12:14] == b"\x08\x00" else 54
        source, target = struct.unpack_from("!HH", d, l4)
        return source if target == 80 else target

    def write(self, path):
        with open(path, "w") as f:
            json.dump(dict({name: getattr(self, name) for name in self.FINDINGS + self.NOTES}, packets=self.packets), f)
        if not self.odd:
            return
        with open(path + ".pcap", "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
            for head, data in sorted(p for flow in self.odd.values() for p in flow):
                f.write(head + data)


if __name__ == "__main__":
    watch = Watch()
    watch.read(sys.stdin.buffer)
    watch.write(sys.argv[1])
