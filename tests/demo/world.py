# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The demonstration's world: namespaces, links, daemons, and how all of it goes away again.

              w1 10.1.0.2          access          a1 10.1.0.1
    mobile ─┬────────────────── e1 [b1] c1 ───────────┬ router ── 10.3.0.0/24 ── anchor ── 10.9.0.0/24 ── server
            └────────────────── e2 [b2] c2 ───────────┘      rp .1     p0 .2      l0 .1       s0 .10
              w2 10.2.0.2                          a2 10.2.0.1

An access network is a bridge, in a namespace that has no addresses, so that nothing in it can answer or forward by
itself. To cut the network is to take the inner port, c1 or c2, out of the bridge: no carrier is lost
anywhere and nobody sends an ICMP error, frames just vanish. That is the hard case, which only liveness notices.
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

# What is called, and the Debian package that has it.
PROGRAMS = {
    "ip": "iproute2", "nsenter": "util-linux", "sysctl": "procps", "nginx": "nginx-light",
    "curl": "curl", "ssh": "openssh-client", "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
}
PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
SERVER = "10.9.0.10"
ADDRESS = {"w1": "10.1.0.2", "w2": "10.2.0.2"}
OTHER_ADDRESS = "10.1.0.77"  # w1's second one
DELAY = "3ms"  # each way, on each access link


class DemoError(Exception):
    """One sentence for the user."""


def programs():
    """Full paths: sshd insists on one, and sbin may not be on the user's PATH."""
    found = {name: shutil.which(name, path=PATH) for name in PROGRAMS}
    missing = sorted({PROGRAMS[name] for name, path in found.items() if not path})
    if missing:
        raise DemoError("these Debian packages are missing: %s; 'make deps' or 'apt-get install %s'"
                        % (", ".join(missing), " ".join(missing)))
    found["tc"] = shutil.which("tc", path=PATH)
    return found


class World:
    def __init__(self, bin_dir):
        self.bin = bin_dir
        self.prog = programs()
        self.run_name = "hfd%d" % os.getpid()
        self.mobile, self.access, self.router, self.anchor, self.server = (
            "%s-%s" % (self.run_name, part) for part in ("mobile", "access", "router", "anchor", "server"))
        self.work = tempfile.mkdtemp(prefix="holdfast-demo.")
        self.children = []
        self.made = []  # namespaces
        self.started = []  # daemons
        self.delay = None

    # ---- running things ----------------------------------------------------

    def run(self, *argv, check=True):
        argv = [self.prog.get(argv[0], argv[0])] + list(argv[1:])
        r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, start_new_session=True)
        if check and r.returncode:
            said = (r.stderr or r.stdout).strip()
            try:
                said = json.loads(said)["error"]  # holdfast --json
            except (ValueError, KeyError, TypeError):
                pass
            raise DemoError("'%s' failed: %s" % (" ".join(argv), said))
        return r

    def inside(self, ns, argv):
        """In a namespace but with the host's mounts: 'ip netns exec' would hide bpffs."""
        return [self.prog["nsenter"], "--net=/run/netns/" + ns, "--"] + list(argv)

    def spawn(self, ns, argv, **more):
        """A child in a session of its own, so that Ctrl-C reaches only us and we end it in order."""
        p = subprocess.Popen(self.inside(ns, argv), start_new_session=True, **more)
        self.children.append(p)
        return p

    def holdfast(self, ns, verb, *args, check=True):
        argv = [os.path.join(self.bin, "holdfast"), verb, "--run-dir", os.path.join(self.work, ns)]
        return self.run(*self.inside(ns, argv + list(args)), check=check)

    def status(self, ns):
        return json.loads(self.holdfast(ns, "status", "--json").stdout)

    def assoc(self, ns):
        """The one association of a node, or an empty one while the anchor has none."""
        assocs = self.status(ns)["assocs"]
        return assocs[0] if assocs else {"connected": False, "state": "none", "paths": [],
                                         "parked_total": 0, "inner4": None}

    # ---- building ----------------------------------------------------------

    def link(self, ns1, dev1, ns2, dev2):
        self.run("ip", "-n", ns1, "link", "add", dev1, "type", "veth", "peer", "name", dev2,
                 "netns", ns2)
        self.run("ip", "-n", ns1, "link", "set", dev1, "up")
        self.run("ip", "-n", ns2, "link", "set", dev2, "up")

    def address(self, ns, dev, addr):
        self.run("ip", "-n", ns, "addr", "add", addr, "dev", dev)

    def sysctl(self, ns, *settings):
        self.run(*self.inside(ns, [self.prog["sysctl"], "-qw"] + list(settings)))

    def build(self):
        m, x, r, a, s = self.mobile, self.access, self.router, self.anchor, self.server
        for ns in (m, x, r, a, s):
            self.made.append(ns)
            self.run("ip", "netns", "add", ns)
            self.run("ip", "-n", ns, "link", "set", "lo", "up")
            # What the host set for itself is inherited; strict checks know nothing of two uplinks.
            self.sysctl(ns, "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
                        "net.ipv6.conf.default.disable_ipv6=1")
        self.sysctl(r, "net.ipv4.ip_forward=1")
        self.sysctl(a, "net.ipv4.ip_forward=1")
        for n in ("1", "2"):
            self.run("ip", "-n", x, "link", "add", "b" + n, "type", "bridge")
            self.run("ip", "-n", x, "link", "set", "b" + n, "up")
            self.link(m, "w" + n, x, "e" + n)
            self.link(x, "c" + n, r, "a" + n)
            for port in ("e", "c"):
                self.run("ip", "-n", x, "link", "set", port + n, "master", "b" + n)
            self.address(m, "w" + n, "10.%s.0.2/24" % n)
            self.address(r, "a" + n, "10.%s.0.1/24" % n)
        self.link(r, "rp", a, "p0")
        self.link(a, "l0", s, "s0")
        self.address(r, "rp", "10.3.0.1/24")
        self.address(a, "p0", "10.3.0.2/24")
        self.address(a, "l0", "10.9.0.1/24")
        self.address(s, "s0", SERVER + "/24")
        self.default_route(m, "10.1.0.1", "w1", 100)
        self.default_route(m, "10.2.0.1", "w2", 200)
        self.default_route(a, "10.3.0.1", "p0")
        self.default_route(s, "10.9.0.1", "s0")
        self.add_delay()

    def default_route(self, ns, via, dev, metric=0):
        self.run("ip", "-n", ns, "route", "add", "default", "via", via, "dev", dev,
                 "metric", str(metric))

    def add_delay(self):
        """netem is a module that not every kernel has: then the links have no delay, and we say so."""
        if not self.prog["tc"]:
            return
        for ns, dev in ((self.mobile, "w1"), (self.mobile, "w2"), (self.router, "a1"),
                        (self.router, "a2")):
            if self.run("tc", "-n", ns, "qdisc", "add", "dev", dev, "root", "netem", "delay",
                        DELAY, "limit", "20000", check=False).returncode:
                return
        self.delay = DELAY

    def write(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def start_daemons(self, services):
        """`services`: (name, protocol, port, emulator)"""
        key = os.path.join(self.work, "key")
        self.run(os.path.join(self.bin, "holdfast"), "genkey", key)
        self.write(self.anchor + ".conf", "\n".join([
            "[holdfast]", "role = anchor", "points = 10.3.0.2", "pool = 10.77.0.0/24",
            "interfaces = p0, l0", "mode = tc", "[mobile laptop]", "key = " + key] + [
            "[service %s]\nprotocol = %s\nserver = %s:%d\nemulator = %d"
            % (name, proto, SERVER, port, emulator) for name, proto, port, emulator in services]) + "\n")
        self.write(self.mobile + ".conf", "\n".join([
            "[holdfast]", "role = mobile", "id = laptop", "[anchor home]", "key = " + key,
            "points = 10.3.0.2", "[uplink w1]", "cost = 10", "[uplink w2]", "cost = 20"]) + "\n")
        for ns in (self.anchor, self.mobile):
            self.started.append(ns)
            self.holdfast(ns, "up", "-v", os.path.join(self.work, ns + ".conf"))

    # ---- what happens to the links -------------------------------------------

    def cut(self, n):
        self.run("ip", "-n", self.access, "link", "set", "c%d" % n, "nomaster")

    def heal(self, n):
        self.run("ip", "-n", self.access, "link", "set", "c%d" % n, "master", "b%d" % n)

    def take_address(self, dev):
        """With its last address an interface loses its routes, too."""
        self.run("ip", "-n", self.mobile, "addr", "del", ADDRESS[dev] + "/24", "dev", dev)

    def give_address(self, dev, addr, via, metric):
        self.address(self.mobile, dev, addr + "/24")
        self.default_route(self.mobile, via, dev, metric)

    # ---- the end -------------------------------------------------------------

    def keep_logs(self, folder):
        for ns, name in ((self.mobile, "mobile.log"), (self.anchor, "anchor.log")):
            try:
                shutil.copyfile(os.path.join(self.work, ns, ns + ".log"),
                                os.path.join(folder, name))
            except OSError:
                pass

    def close(self):
        for p in self.children:
            if p.poll() is None:
                p.terminate()
        end = time.monotonic() + 2
        for p in self.children:
            try:
                p.wait(max(0.05, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        for ns in reversed(self.started):  # the mobile first: it says good-bye
            if os.path.exists(os.path.join(self.work, ns, ns + ".sock")):
                self.holdfast(ns, "down", check=False)
        for ns in self.made:
            for pid in self.run("ip", "netns", "pids", ns, check=False).stdout.split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for ns in self.started:
            if os.path.isdir("/sys/fs/bpf/holdfast/v1/" + ns):  # a daemon that died left its data plane
                self.holdfast(ns, "detach", "--all", "--name", ns, check=False)
        for ns in self.made:
            self.run("ip", "netns", "del", ns, check=False)
        shutil.rmtree(self.work, ignore_errors=True)
