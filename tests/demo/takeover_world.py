# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The world of takeover: a client, two or three servers, what dies in it and how it comes back.

    client c0 10.5.0.9 / fd05::9 ──┐                    the addresses that move:
    node a n0 10.5.0.1 / fd05::1 ──┤ bridge br0         10.5.0.100, fd05::100
    node b n0 10.5.0.2 / fd05::2 ──┘
    node a k0 10.6.0.1 ──┐
    node b k0 10.6.0.2 ──┤ bridge br1: the nodes' own network
    Redis     10.6.0.50 ─┘ (its replica 10.6.0.51, where there is one)

Both bridges are in a namespace x. A cable is cut by taking its port out of the bridge: no carrier is lost, frames vanish.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
VIP, VIP6 = "10.5.0.100", "fd05::100"
LIMIT_S = 30


class WorldError(Exception):
    """One sentence for the user."""


def wait_until(what, condition, seconds=LIMIT_S, every=0.004):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise WorldError("%s: not within %d s" % (what, seconds))
        time.sleep(every)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Node:
    def __init__(self, world, name, number):
        self.world, self.name, self.number = world, name, number
        self.ns = "%s-%s" % (world.run_name, name)
        self.own = "10.6.0.%d" % number
        self.folder = os.path.join(world.work, self.ns)
        self.daemon = None  # pid
        self.server = None  # Popen
        self.stopped = []  # pids that were sent SIGSTOP
        self.cut, self.down = "", ""  # of "nk": which cables are, which interfaces
        self.control = None

    # ---- the daemon's control socket, without a process for each question

    def ask(self, cmd, **more):
        """What the daemon answers, or None where it does not."""
        for fresh in (False, True):
            try:
                if not self.control or fresh:
                    self.hang_up()
                    s = socket.socket(socket.AF_UNIX)
                    s.settimeout(0.5)
                    s.connect(os.path.join(self.folder, self.ns + ".sock"))
                    self.control = s.makefile("rw")
                    s.close()
                self.control.write(json.dumps(dict(more, cmd=cmd)) + "\n")
                self.control.flush()
                line = self.control.readline()
                if line:
                    return json.loads(line)
            except (OSError, ValueError):
                pass
        self.hang_up()
        return None

    def hang_up(self):
        if self.control:
            try:
                self.control.close()
            except OSError:
                pass
            self.control = None

    def status(self):
        return None if self.stopped else self.ask("status")

    def serves(self):
        s = self.status()
        return bool(s and s["state"] in ("serving", "alone"))

    # ---- life and death

    def start_daemon(self):
        w = self.world
        with open(self.folder + ".log", "a") as f:  # a daemon begins its log anew
            f.write(self.log())
        w.run(*w.inside(self.ns, [os.path.join(w.bin, "holdfast"), "up", "-v", "--run-dir", self.folder,
                                  self.folder + ".conf"]))
        self.daemon = wait_until("the daemon of " + self.name, self.status)["pid"]

    def start_server(self):
        w = self.world
        env = dict(os.environ, HOLDFAST_RUN_DIR=self.folder)
        argv = [os.path.join(w.bin, "tests/apps/httpd"), "-n", self.ns, "-a", "::", "-p", "80", "-r", w.root]
        if w.pace:
            argv += ["-s", str(w.pace)]
        with open(self.folder + ".httpd", "a") as log:
            self.server = subprocess.Popen(w.inside(self.ns, argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           start_new_session=True, env=env)

    def kill_server(self):
        if self.server:
            self.server.kill()
            self.server.wait()
            if self.server.pid in self.stopped:
                self.stopped.remove(self.server.pid)
            self.server = None

    def kill_daemon(self):
        self.hang_up()
        if self.daemon:
            try:
                os.kill(self.daemon, signal.SIGKILL)
            except ProcessLookupError:
                pass
            wait_until("the end of the daemon", lambda: not alive(self.daemon))
            if self.daemon in self.stopped:
                self.stopped.remove(self.daemon)
            self.daemon = None

    def pause(self, *pids):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            self.stopped.append(pid)
        self.hang_up()

    def resume(self):
        for pid in self.stopped:
            os.kill(pid, signal.SIGCONT)
        self.stopped = []

    def log(self):
        try:
            with open(os.path.join(self.folder, self.ns + ".log")) as f:
                return f.read()
        except OSError:
            return ""

    def whole_log(self):
        """Of all its daemons."""
        with open(self.folder + ".log") as f:
            return f.read() + self.log()


class World:
    """store: "direct" or "redis"; replica: Redis has one, and commits wait for it; durable: it writes its file before it answers;
    pcap: a capture of what the client's interface sees; wire: it is judged while it runs (takeover_wire.py)."""

    def __init__(self, bin_dir, store="direct", nodes=2, lease=None, pace=0, replica=False, lines=(), pcap=None,
                 durable=False, wire=False):
        self.bin, self.store, self.lease, self.pace, self.replica = bin_dir, store, lease, pace, replica
        self.lines, self.pcap, self.durable, self.wire = list(lines), pcap, durable, wire
        self.capture = self.judge = None
        needed = {"ip": "iproute2", "nsenter": "util-linux", "sysctl": "procps"}
        if store == "redis":
            needed.update({"redis-server": "redis-server", "redis-cli": "redis-tools"})
        if pcap or wire:
            needed["tcpdump"] = "tcpdump"
        self.prog = {name: shutil.which(name, path=PATH) for name in needed}
        missing = sorted({needed[name] for name, path in self.prog.items() if not path})
        if missing:
            raise WorldError("these Debian packages are missing: " + " ".join(missing))
        for name in ("holdfast", "holdfastd", "tests/apps/httpd"):
            if not os.access(os.path.join(bin_dir, name), os.X_OK):
                raise WorldError("no %s in %s" % (name, bin_dir))
        self.run_name = "hft%d" % os.getpid()
        self.work = tempfile.mkdtemp(prefix="hf-takeover-")
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.root = tempfile.mkdtemp(prefix="hf-takeover-", dir=memory)
        self.client = self.run_name + "-c"
        self.switch = self.run_name + "-x"
        self.nodes = [Node(self, "abcde"[i], i + 1) for i in range(nodes)]
        self.made, self.children = [], []

    # ---- running things

    def run(self, *argv, check=True):
        argv = [self.prog.get(argv[0], argv[0])] + list(argv[1:])
        r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           start_new_session=True)
        if check and r.returncode:
            raise WorldError("'%s' failed: %s" % (" ".join(argv), (r.stderr or r.stdout).strip()))
        return r

    def inside(self, ns, argv):
        """In a namespace but with the host's mounts: 'ip netns exec' would hide bpffs."""
        return [self.prog["nsenter"], "--net=/run/netns/" + ns, "--"] + list(argv)

    def ip(self, ns, *args, check=True):
        return self.run("ip", "-n", ns, *args, check=check)

    def sysctl(self, ns, *settings):
        self.run(*self.inside(ns, [self.prog["sysctl"], "-qw"] + list(settings)))

    # ---- building

    def namespace(self, ns):
        self.made.append(ns)
        self.run("ip", "netns", "add", ns)
        self.ip(ns, "link", "set", "lo", "up")
        # an address that moves is no duplicate, and one that a cable's end takes away comes back with it
        self.sysctl(ns, "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
                    "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")

    def keep_order(self, on):
        """Cables that are laid from now on: a veth has a queue for each processor, and where one of them is busy, what the
        other sent later would overtake by many ms, which no cable does. (Linux 6.4; older ones cannot.)"""
        if os.path.exists("/proc/sys/net/core/rps_default_mask"):
            self.sysctl(self.switch, "net.core.rps_default_mask=%d" % on)

    def port(self, ns, dev, bridge, end):
        self.ip(self.switch, "link", "add", end, "type", "veth", "peer", "name", dev, "netns", ns)
        self.ip(self.switch, "link", "set", end, "master", bridge, "up")
        self.ip(ns, "link", "set", dev, "up")

    def address(self, ns, dev, *addresses):
        for a in addresses:
            self.ip(ns, "addr", "add", a, "dev", dev, *(["nodad"] if ":" in a else []))

    def build(self):
        for ns in [self.switch, self.client] + [n.ns for n in self.nodes]:
            self.namespace(ns)
        for bridge in ("br0", "br1"):
            self.ip(self.switch, "link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
            self.ip(self.switch, "link", "set", bridge, "up")
        self.port(self.client, "c0", "br0", "xc")
        self.address(self.client, "c0", "10.5.0.9/24", "fd05::9/64")
        # BBR takes an outage each second for the bandwidth: it was seen to pace 170 kB at 7 kbit/s long after the last one
        self.sysctl(self.client, "net.ipv4.tcp_congestion_control=reno")
        for n in self.nodes:
            self.keep_order(True)
            self.port(n.ns, "n0", "br0", "n" + n.name)
            self.keep_order(False)
            self.port(n.ns, "k0", "br1", "k" + n.name)
            # with so short a way the kernel would send 64 KiB at a time whatever the pace is
            self.sysctl(n.ns, "net.ipv4.tcp_tso_rtt_log=0")
            self.address(n.ns, "n0", "10.5.0.%d/24" % n.number, "fd05::%d/64" % n.number)
            self.address(n.ns, "k0", n.own + "/24")
        if self.pcap:
            self.children.append(self.tcpdump(self.pcap, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            wait_until("tcpdump", lambda: os.path.exists(self.pcap))
        if self.wire:
            self.watch_wire()

    def tcpdump(self, to, **more):
        return subprocess.Popen(
            self.inside(self.client, [self.prog["tcpdump"], "-i", "c0", "-U", "-s", "120", "-B", "131072", "-w", to,
                                      "tcp port 80"]), stdin=subprocess.DEVNULL, start_new_session=True, **more)

    def watch_wire(self):
        said = os.path.join(self.work, "tcpdump")
        with open(said, "w") as f:
            self.capture = self.tcpdump("-", stdout=subprocess.PIPE, stderr=f)
        self.judge = subprocess.Popen(
            [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "takeover_wire.py"),
             os.path.join(self.work, "wire")], stdin=self.capture.stdout, start_new_session=True)
        self.capture.stdout.close()
        self.children += [self.capture, self.judge]

        def begun():
            with open(said) as f:
                return "listening" in f.read()
        wait_until("tcpdump", begun)

    def wire_result(self):
        """Ends the capture. What takeover_wire.py found, and "dropped": packets that it did not get."""
        self.capture.terminate()
        self.capture.wait(10)
        self.judge.wait(60)
        with open(os.path.join(self.work, "wire")) as f:
            result = json.load(f)
        with open(os.path.join(self.work, "tcpdump")) as f:
            dropped = [line.split()[0] for line in f if "dropped by kernel" in line]
        result["dropped"] = int(dropped[0])
        return result

    def redis(self, ip, *more):
        self.ip(self.switch, "addr", "replace", ip + "/24", "dev", "br1")
        folder = os.path.join(self.work, "redis-" + ip)
        os.makedirs(folder, exist_ok=True)
        argv = [self.prog["redis-server"], "--port", "6379", "--bind", ip, "--protected-mode", "no", "--save", "",
                "--appendonly", "yes" if self.durable else "no", "--appendfsync", "no", "--dir", folder, "--logfile", os.path.join(folder, "log")] + list(more)
        p = subprocess.Popen(self.inside(self.switch, argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True)
        self.children.append(p)
        wait_until("redis-server", lambda: self.redis_cli(ip, "ping").stdout.strip() == "PONG", every=0.05)
        return p

    def redis_cli(self, ip, *args):
        return self.run(*self.inside(self.switch, [self.prog["redis-cli"], "-h", ip] + list(args)), check=False)

    def start_store(self):
        if self.store != "redis":
            return
        self.redis_server = self.redis("10.6.0.50")
        if self.replica:
            self.start_replica("10.6.0.51")
            self.wait_for_replica()

    def start_replica(self, ip):
        self.redis_replica = self.redis(ip, "--replicaof", "10.6.0.50", "6379", "--repl-diskless-sync-delay", "0")
        self.replica_at = ip

    def wait_for_replica(self):
        wait_until("the replica", lambda: "master_link_status:up" in
                   self.redis_cli(self.replica_at, "info", "replication").stdout, every=0.05)

    def kill_redis(self):
        self.redis_server.kill()
        self.redis_server.wait()
        self.children.remove(self.redis_server)

    def fail_over_redis(self):
        """The replica becomes master, and gets its address."""
        self.redis_cli(self.replica_at, "replicaof", "no", "one")
        self.redis_cli(self.replica_at, "config", "set", "bind", self.replica_at + " 10.6.0.50")
        self.redis_server = self.redis_replica

    def replace_replica(self):
        """Whoever was master before comes back, empty, as the replica."""
        self.start_replica("10.6.0.52" if self.replica_at == "10.6.0.51" else "10.6.0.51")

    def write_confs(self):
        key = os.path.join(self.work, "key")
        self.run(os.path.join(self.bin, "holdfast"), "genkey", key)
        for n in self.nodes:
            text = ["[holdfast]", "role = server", "id = " + n.name, "points = " + n.own, "[takeover]", "group = web",
                    "address = %s/24, %s/64" % (VIP, VIP6), "interface = n0"]
            if self.lease:
                text.append("lease = %dms" % self.lease)
            if self.store == "redis":
                text += ["store = redis", "redis = 10.6.0.50:6379"]
                if self.replica:
                    text.append("replicas = 1")
            else:
                text.append("key = " + key)
            text += self.lines
            if self.store == "direct":
                for other in self.nodes:
                    if other is not n:
                        text += ["[node %s]" % other.name, "address = " + other.own]
            fd = os.open(n.folder + ".conf", os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(fd, "w") as f:
                f.write("\n".join(text) + "\n")

    def start(self):
        self.build()
        self.start_store()
        self.write_confs()
        for n in self.nodes:
            n.start_daemon()
            n.start_server()
        wait_until("the group to be served and synced", self.settled)

    # ---- who serves

    def owner(self):
        for n in self.nodes:
            if n.serves():
                return n
        return None

    def settled(self):
        """The owner, if one node serves and every other could take over at once."""
        owner = None
        for n in self.nodes:
            s = n.status()
            if not s or not s["synced"] or not s["applications"]:
                return None
            if s["state"] == "serving":
                owner = n
            elif s["state"] != "standby":
                return None
        return owner

    # ---- cables

    def cut(self, node, ports="nk"):
        node.cut += ports
        for p in ports:
            self.ip(self.switch, "link", "set", p + node.name, "nomaster")

    def heal(self, node, ports="nk"):
        node.cut = "".join(p for p in node.cut if p not in ports)
        for p in ports:
            self.ip(self.switch, "link", "set", p + node.name, "master", "br0" if p == "n" else "br1")

    def link(self, node, state, ports="nk"):
        node.down = ports if state == "down" else ""
        for p in ports:
            self.ip(node.ns, "link", "set", p + "0", state)
        if state == "up" and "n" in ports:  # what a network manager would do: the node's own address, not the VIP
            self.ip(node.ns, "addr", "replace", "fd05::%d/64" % node.number, "dev", "n0", "nodad")

    # ---- the end

    def keep_logs(self, folder):
        os.makedirs(folder, exist_ok=True)
        for name in ("wire", "wire.pcap"):
            if os.path.exists(os.path.join(self.work, name)):
                shutil.copyfile(os.path.join(self.work, name), os.path.join(folder, name))
        with open(os.path.join(folder, "client.ss"), "w") as f:
            f.write(self.run(*self.inside(self.client, ["ss", "-tnoiem"]), check=False).stdout)
        for n in self.nodes:
            with open(os.path.join(folder, n.name + ".log"), "w") as f:
                f.write(n.whole_log())
            if os.path.exists(n.folder + ".httpd"):
                shutil.copyfile(n.folder + ".httpd", os.path.join(folder, n.name + ".httpd"))
            for verb, program in (("addr", ["ip", "addr"]), ("ss", ["ss", "-tnoiem"])):
                with open(os.path.join(folder, "%s.%s" % (n.name, verb)), "w") as f:
                    f.write(self.run(*self.inside(n.ns, program), check=False).stdout)
            for verb in ("status", "connections"):
                with open(os.path.join(folder, "%s.%s.json" % (n.name, verb)), "w") as f:
                    json.dump(n.ask(verb), f, indent=1)

    def close(self):
        for n in self.nodes:
            try:
                n.resume()
            except ProcessLookupError:
                pass
            n.kill_server()
        for n in self.nodes:
            if n.daemon and n.status():
                n.ask("down")
                end = time.monotonic() + 3
                while time.monotonic() < end and alive(n.daemon):
                    time.sleep(0.01)
            n.kill_daemon()
        for p in self.children:
            if p.poll() is None:
                p.terminate()
            try:
                p.wait(3)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        for ns in self.made:
            for pid in self.run("ip", "netns", "pids", ns, check=False).stdout.split():
                if int(pid) == os.getpid():  # a thread of ours that has yet to end
                    continue
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for n in self.nodes:
            for version in os.listdir("/sys/fs/bpf/holdfast") if os.path.isdir("/sys/fs/bpf/holdfast") else []:
                shutil.rmtree(os.path.join("/sys/fs/bpf/holdfast", version, n.ns), ignore_errors=True)
        for ns in self.made:
            self.run("ip", "netns", "del", ns, check=False)
        for folder in (self.work, self.root):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit("this is a module")
