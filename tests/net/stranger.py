# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What somebody on the way can send to an anchor. Runs in the router's namespace.

  stranger.py control MOBILE ANCHOR STRANGER IN OUT  control datagrams: short, long, of another version, for no
                                                     association, of another epoch, forged, replayed, and a true
                                                     one that was held back and sent on from STRANGER's address;
                                                     IN sees the mobile's datagrams first, OUT leads to the anchor
  stranger.py data FROM ANCHOR tcp|udp PORT OUT      SYNs or UDP datagrams to an emulator port from FROM
  stranger.py forged FROM TO PORT                    SYNs and UDP datagrams with inner addresses as they are
  stranger.py crowd ANCHOR PORT N                    N silent TCP connections, and one with garbage
Prints JSON: what was sent, and how many packets came back to STRANGER or FROM.
"""
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

from scapy.all import IP, TCP, UDP, Raw, conf, raw

conf.verb = 0
PORT = 4690
SIZE = 104  # struct wire_datagram


def sender():
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def sniffer(dev):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
    s.bind((dev, 0x0003))
    return s


def next_datagram(s, src, dst, timeout=20):
    """The next sealed datagram from src to dst that a sniffing socket sees."""
    s.settimeout(timeout)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        p = IP(s.recv(65535))
        if p.src == src and p.dst == dst and UDP in p and p[UDP].dport == PORT and len(raw(p[UDP].payload)) == SIZE:
            return raw(p[UDP].payload)
    sys.exit("no datagram from %s to %s in %d s" % (src, dst, timeout))


class Answers:
    """Counts what comes back from a port to an address by an interface."""

    def __init__(self, dev, address, port):
        self.count = 0
        self.port = int(port)
        self.stop = False
        self.s = sniffer(dev)
        self.s.settimeout(0.05)
        self.address = address
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop:
            try:
                p = IP(self.s.recv(65535))
            except OSError:
                continue
            if p.version == 4 and p.dst == self.address and (TCP in p or UDP in p) and p.payload.sport == self.port:
                self.count += 1

    def end(self):
        time.sleep(0.3)  # silence cannot be waited for
        self.stop = True
        self.thread.join()
        return self.count


def control(mobile, anchor, stranger, dev_in, dev_out):
    s = sender()
    answers = Answers(dev_out, stranger, PORT)

    def send(src, payload):
        s.sendto(raw(IP(src=src, dst=anchor) / UDP(sport=PORT, dport=PORT) / Raw(payload)), (anchor, 0))

    sniff = sniffer(dev_out)
    true = next_datagram(sniff, mobile, anchor)
    magic, assoc, epoch, pad, counter = struct.unpack("!IIIIQ", true[:24])

    def head(magic=magic, assoc=assoc, epoch=epoch, counter=counter):
        return struct.pack("!IIIIQ", magic, assoc, epoch, 0, counter)

    n = 10
    for i in range(n):
        for src in (mobile, stranger):
            send(src, os.urandom(10 + i))
            send(src, os.urandom(900 + i))
            send(src, head(magic=magic ^ 1) + true[24:])
            send(src, head(assoc=assoc + 1000) + true[24:])
            send(src, head(epoch=epoch + 1 + i) + true[24:])
            send(src, head(counter=counter + 1000 + i) + true[24:])
            send(src, true[:-1 - i] + bytes([true[-1 - i] ^ 1]) + true[len(true) - i:])
            send(src, true)
    # a true one that does not arrive, and is then sent on from elsewhere; nothing else is wrong with it
    subprocess.run(["nft", "add", "table", "inet", "held"], check=True)
    subprocess.run(["nft", "add chain inet held c { type filter hook forward priority 0; policy accept; }"], check=True)
    subprocess.run(["nft", "add rule inet held c iifname %s udp dport %d udp length %d drop" % (dev_in, PORT, SIZE + 8)],
                   check=True)
    held = next_datagram(sniffer(dev_in), mobile, anchor)
    send(stranger, held)
    subprocess.run(["nft", "delete", "table", "inet", "held"], check=True)
    return {"each": 2 * n, "answers": answers.end()}


def data(src, anchor, proto, port, dev_out):
    s = sender()
    answers = Answers(dev_out, src, port)
    for i in range(10):
        l4 = (TCP(sport=5000 + i, dport=int(port), flags="S", seq=1) if proto == "tcp" else
              UDP(sport=5000 + i, dport=int(port)) / Raw(b"x"))
        s.sendto(raw(IP(src=src, dst=anchor) / l4), (anchor, 0))
    return {"each": 10, "answers": answers.end()}


def forged(src, dst, port):
    s = sender()
    for i in range(10):
        for l4 in (TCP(sport=6000 + i, dport=int(port), flags="S", seq=1), UDP(sport=6000 + i, dport=int(port)) / Raw(b"x")):
            s.sendto(raw(IP(src=src, dst=dst) / l4), (dst, 0))
    return {"each": 10}


def crowd(anchor, port, n):
    keep = []
    for _ in range(int(n)):
        c = socket.socket()
        c.settimeout(2)
        try:
            c.connect((anchor, int(port)))
            keep.append(c)
        except OSError:
            pass
    if keep:
        keep[-1].sendall(os.urandom(4096))
    print(json.dumps({"connections": len(keep)}), flush=True)
    sys.stdin.read()
    return {}


if __name__ == "__main__":
    verb = {"control": control, "data": data, "forged": forged, "crowd": crowd}
    print(json.dumps(verb[sys.argv[1]](*sys.argv[2:])))
