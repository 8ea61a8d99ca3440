# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Network namespaces, daemons and helpers of the measurements. Everything has a name of its own and is
taken away at the end, also after a failure."""
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("HF_BUILD") or os.path.join(TOP, os.environ.get("OUTPUT") or "build"))
CLONE_NEWNET = 0x40000000
IDLE, IDLE_S = 0.9, 0.1  # of the processors, for so long: nobody else works

patience = 120.0  # s left to wait for that, in all
disturbed = 0     # measurements that could not
LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A figure cannot be measured; the text says why."""


def run(*args, check=True, **more):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if check and done.returncode:
        raise Failed("'%s' failed: %s" % (" ".join(args), (done.stderr or done.stdout).strip().splitlines()[-1:]))
    return done.stdout


def helper(name):
    path = os.path.join(BUILD, "tests/bench", name)
    if not os.path.exists(path):
        raise Failed("%s was not built" % path)
    return path


def wait_for(seconds, what, true):
    """Until true() is, or Failed; an answer that is not there yet counts as no."""
    end = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except (Failed, KeyError, IndexError, ValueError):
            pass
        if time.monotonic() > end:
            raise Failed("%s: not within %g s" % (what, seconds))
        time.sleep(0.01)


def idle():
    """Share of the processors' time in which nobody works."""
    def ticks():
        with open("/proc/stat") as f:
            return [int(t) for t in f.readline().split()[1:9]]
    before = ticks()
    time.sleep(IDLE_S)
    took = [b - a for a, b in zip(before, ticks())]
    return (took[3] + took[4]) / max(1, sum(took))


def undisturbed(measure):
    """What measure() returns when nobody else used the processors before and after it. Where somebody does again and again, his share
    is in the figure, and `disturbed` counts it."""
    global patience, disturbed
    while True:
        while idle() < IDLE and patience > 0:
            patience -= IDLE_S
        began = time.monotonic()
        got = measure()
        if idle() >= IDLE:
            return got
        if patience <= 0:
            disturbed += 1
            return got
        patience -= time.monotonic() - began


def median(values):
    return statistics.median(values)


def p95(values, low=False):
    """The bad end: 95 of 100 are better."""
    return sorted(values, reverse=low)[min(len(values) - 1, int(len(values) * 0.95))]


class Lab:
    """A handful of namespaces. `with Lab(...)` ends what runs in them and removes them."""
    count = 0

    def __init__(self, *short):
        Lab.count += 1
        self.prefix = "hfb%d-%d" % (os.getpid(), Lab.count)
        self.names = ["%s-%s" % (self.prefix, s) for s in short]
        self.short = dict(zip(short, self.names))
        self.work = tempfile.mkdtemp(prefix="holdfast-bench.")
        self.children = []
        self.up_names = []

    def __enter__(self):
        try:
            for ns in self.names:
                run("ip", "netns", "add", ns)
                run("ip", "-n", ns, "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
        for child in self.children:
            child.wait()
        for ns in self.up_names:
            self.hf(ns, "down", check=False)
        for ns in self.names:
            for pid in run("ip", "netns", "pids", ns, check=False).split():
                try:
                    os.kill(int(pid), 9)
                except ProcessLookupError:
                    pass
        for ns in self.up_names:
            self.cmd(ns, os.path.join(BUILD, "holdfast"), "detach", "--all", "--name", ns, check=False)
        for ns in self.names:
            run("ip", "netns", "del", ns, check=False)
        shutil.rmtree(self.work, ignore_errors=True)

    # ---- commands ----

    def enter(self, ns):
        path = "/run/netns/" + self.short.get(ns, ns)

        def move():
            fd = os.open(path, os.O_RDONLY)
            if LIBC.setns(fd, CLONE_NEWNET):
                os._exit(127)
            os.close(fd)
        return move

    def cmd(self, ns, *args, check=True, **more):
        return run(*args, check=check, preexec_fn=self.enter(ns), **more)

    def spawn(self, ns, *args, **more):
        more.setdefault("stdout", subprocess.DEVNULL)
        child = subprocess.Popen(args, stderr=subprocess.DEVNULL, text=True, preexec_fn=self.enter(ns), **more)
        self.children.append(child)
        return child

    def ip(self, ns, *args, check=True):
        return run("ip", "-n", self.short[ns], *args, check=check)

    def link(self, a, dev_a, b, dev_b):
        self.ip(a, "link", "add", dev_a, "type", "veth", "peer", "name", dev_b, "netns", self.short[b])
        self.ip(a, "link", "set", dev_a, "up")
        self.ip(b, "link", "set", dev_b, "up")

    def addr(self, ns, dev, *addresses):
        for a in addresses:
            self.ip(ns, "addr", "add", a, "dev", dev)

    def forward(self, *names):
        for ns in names:
            self.cmd(ns, "sysctl", "-qw", "net.ipv4.ip_forward=1")

    # ---- Holdfast ----

    def conf(self, ns, text):
        path = os.path.join(self.work, self.short[ns] + ".conf")
        with open(path, "w") as f:
            f.write(text)
        key = os.path.join(self.work, "key")
        if not os.path.exists(key):
            run(os.path.join(BUILD, "holdfast"), "genkey", key, umask=0o77)
        return path

    def start(self, ns, text):
        name = self.short[ns]
        path = self.conf(ns, text.replace("@KEY@", os.path.join(self.work, "key")))
        directory = os.path.join(self.work, name)
        os.makedirs(directory, exist_ok=True)
        self.up_names.append(name)
        self.cmd(name, os.path.join(BUILD, "holdfast"), "up", "--run-dir", directory, path, timeout=30,
                 stdin=subprocess.DEVNULL)

    def hf(self, ns, verb, *args, check=True):
        name = self.short.get(ns, ns)
        return self.cmd(name, os.path.join(BUILD, "holdfast"), verb, "--run-dir", os.path.join(self.work, name), *args,
                        check=check, timeout=60)

    def status(self, ns):
        return json.loads(self.hf(ns, "status", "--json"))

    def assoc(self, ns):
        return self.status(ns)["assocs"][0]

    def current(self, ns):
        return next(p["interface"] for p in self.assoc(ns)["paths"] if p["use"] == "current")

    def usable(self, ns, interface):
        return any(p["interface"] == interface and p["health"] == "alive" and p["validated"]
                   for p in self.assoc(ns)["paths"])

    def connected(self, *names):
        for ns in names:
            wait_for(10, "association of %s" % ns, lambda ns=ns: self.assoc(ns)["state"] == "connected")

    def pin(self, ns, what):
        return "/sys/fs/bpf/holdfast/v1/%s/%s" % (self.short[ns], what)
