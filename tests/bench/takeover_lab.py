# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Two nodes of a group and a client, on one bridge.

    client c0 10.5.0.9 ──┐
    node A n0 10.5.0.1 ──┤ bridge (namespace x)     the address that moves: 10.5.0.100
    node B n0 10.5.0.2 ──┘
    between A and B alone: k0 10.6.0.1, 10.6.0.2
"""
import json
import os
import signal
import subprocess
import time

from lab import BUILD, Failed, Lab, helper, wait_for

VIP = "10.5.0.100"
NODES = "ab"
BULK = "/bulk"
BULK_BYTES = 1 << 40  # sparse

CONF = """[holdfast]
role = server
id = %(id)s
points = %(own)s
[takeover]
group = web
address = 10.5.0.100/24
interface = n0
key = @KEY@
max-connections = %(slots)d
%(more)s
[node %(peer)s]
address = %(other)s
"""


def app(name):
    path = os.path.join(BUILD, "tests/apps", name)
    if not os.path.exists(path):
        raise Failed("%s was not built" % path)
    return path


class Network(Lab):
    def __init__(self):
        super().__init__("c", "x", "a", "b")

    def __enter__(self):
        super().__enter__()
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def build(self):
        self.ip("x", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.ip("x", "link", "set", "br0", "up")
        for ns, dev, port in (("c", "c0", "xc"), ("a", "n0", "xa"), ("b", "n0", "xb")):
            self.link(ns, dev, "x", port)
            self.ip("x", "link", "set", port, "master", "br0")
        self.link("a", "k0", "b", "k0")
        for ns, dev, address in (("c", "c0", "10.5.0.9/24"), ("a", "n0", "10.5.0.1/24"), ("b", "n0", "10.5.0.2/24"),
                                 ("a", "k0", "10.6.0.1/24"), ("b", "k0", "10.6.0.2/24")):
            self.addr(ns, dev, address)

    def sysctl(self, ns, **values):
        for key, value in values.items():
            self.cmd(ns, "sysctl", "-qw", "net.ipv4.%s=%s" % (key, value))

    def cut(self, ns):
        """Not a packet comes to the node or leaves it, and nobody is told."""
        self.cmd(ns, "nft", "-f", "-", input="table inet cut { chain i { type filter hook prerouting priority -500; drop; }; "
                 "chain o { type filter hook postrouting priority 500; drop; }; }")

    def heal(self, ns):
        self.cmd(ns, "nft", "delete", "table", "inet", "cut", check=False)

    def client(self, *args, **more):
        return self.spawn("c", helper("tcp"), *args, stdout=subprocess.PIPE, **more)

    def folder(self):
        """Of files to serve: BULK."""
        path = os.path.join(self.work, "root")
        os.makedirs(path)
        with open(path + BULK, "wb") as f:
            f.truncate(BULK_BYTES)
        return path

    def measure(self, *args):
        return json.loads(self.cmd("c", helper("tcp"), *args, timeout=60))


class Group(Network):
    def __init__(self, slots=1024, more=""):
        super().__init__()
        self.slots, self.more = slots, more

    def build(self):
        super().build()
        for i, ns in enumerate(NODES):
            self.up(ns)
        wait_for(10, "an owner", self.owner)
        wait_for(10, "a standby", lambda: self.state(self.owner()) == "serving")

    def up(self, ns):
        i = NODES.index(ns)
        self.start(ns, CONF % {"id": ns, "own": "10.6.0.%d" % (i + 1), "peer": NODES[1 - i], "other": "10.6.0.%d" % (2 - i),
                               "slots": self.slots, "more": self.more})

    def takeover(self, ns):
        return json.loads(self.hf(ns, "takeover", "--json"))

    def state(self, ns):
        return self.takeover(ns)["state"]

    def owner(self):
        """"a" or "b"; None."""
        return next((ns for ns in NODES if self.state(ns) in ("serving", "alone")), None)

    def serve(self, ns, name, *args, guard=True, **more):
        """An application. It is ready when its port listens."""
        env = dict(os.environ, HOLDFAST_RUN_DIR=os.path.join(self.work, self.short[ns]))
        guarded = ("-n", self.short[ns]) if guard else ()
        child = self.spawn(ns, app(name), *guarded, *args, env=env, **more)
        port = args[args.index("-p") + 1]
        wait_for(5, "%s listens" % name, lambda: port in self.cmd(ns, "ss", "-Hltn", "sport = :" + port) or child.poll())
        if child.poll() is not None:
            raise Failed("%s did not start" % name)
        return child

    def end(self, child):
        child.send_signal(signal.SIGKILL)
        child.wait()


def other(ns):
    return NODES[1 - NODES.index(ns)]


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
