# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The applications of the demonstration. Each keeps a record of what happened when (CLOCK_MONOTONIC, which all processes share);
measure.py makes figures of it. None of them knows anything of Holdfast."""
import array
import fcntl
import hashlib
import json
import mmap
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import tty

from world import SERVER, DemoError

HTTP, SSH, IDLE, UDP = 80, 22, 7, 9000
SERVICES = (("web", "tcp", HTTP, 20080), ("ssh", "tcp", SSH, 20022), ("idle", "tcp", IDLE, 20007),
            ("udp", "udp", UDP, 29000))
CHUNK = 256 << 10  # nginx sends so much at a time, so that its rate is even
TYPE_EVERY = 0.02


def wait_until(what, condition, seconds, child=None):
    end = time.monotonic() + seconds
    while not condition():
        if child and child.poll() is not None:
            raise DemoError("%s: the program ended with status %s" % (what, child.returncode))
        if time.monotonic() > end:
            raise DemoError("%s: not within %g s" % (what, seconds))
        time.sleep(0.02)


def listens(pid, port):
    """As the kernel tells it for the process' own namespace."""
    want = "%04X" % port
    try:
        with open("/proc/%d/net/tcp" % pid) as f:
            return any(line.split()[1].endswith(":" + want) and line.split()[3] == "0A"
                       for line in list(f)[1:])
    except OSError:
        return False


def tail(path):
    try:
        with open(path, errors="replace") as f:
            return f.read().strip()[-400:]
    except OSError:
        return ""


class Download:
    """nginx, and a curl whose every byte is compared with the file as it arrives."""
    name = "curl"

    def __init__(self, world, rate, size):
        self.world, self.rate, self.size = world, rate, size
        self.times, self.counts = array.array("d"), array.array("q")
        self.corrupted = []  # (when, how many bytes)
        self.received = 0
        self.sum = hashlib.sha256()
        self.thread = self.curl = None

    def make_file(self):
        """Random, so that no byte in the wrong place looks right."""
        www = os.path.join(self.world.work, "www")
        os.mkdir(www)
        stat = os.statvfs(www)
        if stat.f_bavail * stat.f_frsize < self.size * 1.1:
            raise DemoError("%s has no room for a file of %d MB; set TMPDIR"
                            % (self.world.work, self.size >> 20))
        digest = hashlib.sha256()
        self.path = os.path.join(www, "file")
        with open(self.path, "wb") as f:
            for at in range(0, self.size, 4 << 20):
                block = os.urandom(min(4 << 20, self.size - at))
                digest.update(block)
                f.write(block)
        self.wanted = digest.hexdigest()

    def start_server(self):
        w = self.world
        temps = "\n".join("\t%s_temp_path %s/nginx-%s;" % (t, w.work, t)
                          for t in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi"))
        conf = w.write("nginx.conf", """daemon off;
master_process off;
user root;
pid %(work)s/nginx.pid;
error_log %(work)s/nginx.log;
events { worker_connections 64; }
http {
	access_log off;
%(temps)s
	sendfile on;
	sendfile_max_chunk %(chunk)d;
	server {
		listen %(server)s:%(port)d;
		root %(work)s/www;
		limit_rate %(rate)d;
		default_type application/octet-stream;
	}
}
""" % {"work": w.work, "temps": temps, "chunk": CHUNK, "server": SERVER, "port": HTTP, "rate": self.rate})
        log = os.path.join(w.work, "nginx.log")
        p = w.spawn(w.server, [w.prog["nginx"], "-p", w.work, "-e", log, "-c", conf],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until("nginx", lambda: listens(p.pid, HTTP), 10, p)
        except DemoError as e:
            raise DemoError("%s: %s" % (e, tail(log)))

    def start(self):
        w = self.world
        with open(os.path.join(w.work, "curl.log"), "wb") as err:
            self.curl = w.spawn(w.mobile, [w.prog["curl"], "-q", "-sS", "-f", "-N", "--noproxy", "*",
                                           "http://%s:%d/file" % (SERVER, HTTP)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err)
        try:
            fcntl.fcntl(self.curl.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)
        except OSError:
            pass
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        fd = self.curl.stdout.fileno()
        with open(self.path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as truth:
            while True:
                data = os.read(fd, 256 << 10)
                if not data:
                    break
                now = time.monotonic()
                at = self.received
                # Equal slices are the rule; only unequal ones are counted byte by byte.
                wanted = truth[at:at + len(data)]
                if data != wanted:
                    wrong = sum(a != b for a, b in zip(data, wanted)) + len(data) - len(wanted)
                    self.corrupted.append((now, wrong))
                self.sum.update(data)
                self.received = at + len(data)
                self.times.append(now)
                self.counts.append(len(data))

    def alive(self):
        return self.curl.poll() is None or self.received == self.size

    def finish(self, seconds):
        """Waits for the rest. A reason why it is not right, or None."""
        self.thread.join(seconds)
        if self.thread.is_alive():
            self.curl.kill()
            self.thread.join(5)
            return "curl had %d of %d bytes when the time was up" % (self.received, self.size)
        if self.curl.wait():
            return "curl ended with status %d: %s" % (
                self.curl.returncode, tail(os.path.join(self.world.work, "curl.log")))
        if self.received != self.size:
            return "curl got %d of %d bytes" % (self.received, self.size)
        if self.sum.hexdigest() != self.wanted:
            return "the hash of what curl got is wrong"
        return None


class Shell:
    """sshd, and an interactive session in which somebody types fast: each line asks for a sum, each answer must come in order."""
    name = "ssh"

    def __init__(self, world):
        self.world = world
        self.typed = {}  # number -> when
        self.answers = []  # (when, number, time since it was typed)
        self.wrong = []  # (when, bytes)
        self.next = self.expected = 0
        self.stop = threading.Event()
        self.threads = []
        self.made_run = False

    @staticmethod
    def result(n):
        return n * 7 + 3

    def start_server(self):
        w = self.world
        for name in ("hostkey", "userkey"):
            w.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", os.path.join(w.work, name))
        os.rename(os.path.join(w.work, "userkey.pub"), os.path.join(w.work, "authorized"))
        with open(os.path.join(w.work, "hostkey.pub")) as f:
            w.write("known", "%s %s" % (SERVER, f.read()))
        try:
            os.mkdir("/run/sshd", 0o755)  # sshd insists; systemd makes it only for the system's own
            self.made_run = True
        except FileExistsError:
            pass
        with open("/etc/shadow") as f:
            locked = any(line.startswith("root:!") for line in f)
        # Without PAM sshd refuses an account that is locked, even with a key.
        conf = w.write("sshd_config", "\n".join([
            "ListenAddress %s:%d" % (SERVER, SSH), "HostKey %s/hostkey" % w.work, "PidFile none",
            "AuthorizedKeysFile %s/authorized" % w.work, "StrictModes no", "PermitRootLogin prohibit-password",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PubkeyAuthentication yes",
            "UsePAM " + ("yes" if locked else "no"), "UseDNS no", "PrintMotd no", "PrintLastLog no", ""]))
        log = os.path.join(w.work, "sshd.log")
        p = w.spawn(w.server, [w.prog["sshd"], "-D", "-f", conf, "-E", log],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until("sshd", lambda: listens(p.pid, SSH), 10, p)
        except DemoError as e:
            raise DemoError("%s: %s" % (e, tail(log)))

    def start(self):
        w = self.world
        self.fd, tty_end = pty.openpty()
        tty.setraw(tty_end)
        log = os.path.join(w.work, "ssh.log")
        with open(log, "wb") as err:
            self.ssh = w.spawn(w.mobile, [
                w.prog["ssh"], "-tt", "-F", "/dev/null", "-i", os.path.join(w.work, "userkey"),
                "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=%s/known" % w.work,
                "-o", "StrictHostKeyChecking=yes", "-o", "EscapeChar=none", "root@" + SERVER,
                "exec env PS1= PS2= ENV= /bin/sh -i"], stdin=tty_end, stdout=tty_end, stderr=err)
        os.close(tty_end)
        self.threads = [threading.Thread(target=t, daemon=True) for t in (self.read, self.type)]
        self.threads[0].start()
        self.send(0)
        self.next = 1
        try:
            wait_until("the ssh session", lambda: self.answers, 15, self.ssh)
        except DemoError as e:
            raise DemoError("%s: %s" % (e, tail(log)))
        self.threads[1].start()

    def send(self, n):
        self.typed[n] = time.monotonic()
        os.write(self.fd, b"echo =$((%d*7+3))\n" % n)

    def type(self):
        due = time.monotonic()
        while not self.stop.is_set() and self.ssh.poll() is None:
            try:
                self.send(self.next)
            except OSError:
                return
            self.next += 1
            due = max(due + TYPE_EVERY, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))

    def read(self):
        rest = b""
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return
            if not data:
                return
            now = time.monotonic()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                # The echo of what was typed holds "echo =$((": only a sum of its own counts.
                found = re.search(rb"=(?!\$)(.*?)\r*$", line)
                if found:
                    self.take(found.group(1), now)

    def take(self, text, now):
        try:
            n, left = divmod(int(text) - 3, 7)
        except ValueError:
            n, left = -1, 1
        if left or n not in self.typed:
            self.wrong.append((now, len(text)))
        elif n < self.expected:  # doubled, or overtaken
            self.wrong.append((now, len(text)))
        else:
            # One that is skipped is missing, which is counted at the end.
            self.expected = n + 1
            self.answers.append((now, n, now - self.typed[n]))

    def alive(self):
        return self.ssh.poll() is None

    def finish(self, seconds):
        died = not self.alive()
        self.stop.set()
        if self.threads[1].is_alive():
            self.threads[1].join(5)
        end = time.monotonic() + seconds
        while self.expected < self.next and time.monotonic() < end and self.alive():
            time.sleep(0.02)
        if not died and self.alive():
            os.write(self.fd, b"exit\n")
            try:
                self.ssh.wait(5)
            except subprocess.TimeoutExpired:
                pass
        if died:
            return "ssh died: " + tail(os.path.join(self.world.work, "ssh.log"))
        return None

    def close(self):
        if self.made_run:
            try:
                os.rmdir("/run/sshd")
            except OSError:
                pass


class Ends:
    """ends.py on both sides: the UDP stream and the idle connection."""

    def __init__(self, world):
        self.world = world
        self.counters = {"client": {}, "server": {}}
        self.idle = {}  # exchange -> what came of it
        self.problems = []
        self.children = {}
        self.files = {}
        self.stopping = False

    def start(self, role):
        w = self.world
        self.files[role] = os.path.join(w.work, "ends-" + role)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ends.py")
        err = open(self.files[role] + ".log", "wb")
        p = w.spawn(w.mobile if role == "client" else w.server,
                    [sys.executable, "-B", script, role, SERVER, str(UDP), str(IDLE), self.files[role]],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True)
        err.close()
        self.children[role] = p
        threading.Thread(target=self.read, args=(role, p), daemon=True).start()
        wait_until("the UDP stream's " + role, lambda: self.counters[role].get("ready"), 15, p)

    def read(self, role, p):
        for line in p.stdout:
            try:
                what = json.loads(line)
            except ValueError:
                continue
            if "idle" in what:
                if what["idle"] is None:
                    self.problems.append("the idle connection: " + what["error"])
                else:
                    self.idle[what["idle"]] = what
            else:
                self.counters[role].update(what)

    def command(self, role, text):
        try:
            self.children[role].stdin.write(text + "\n")
            self.children[role].stdin.flush()
        except OSError:
            pass

    def exchange(self, n, seconds):
        """On the idle connection. None if nothing came back."""
        self.command("client", "idle %d" % n)
        end = time.monotonic() + seconds
        while n not in self.idle and time.monotonic() < end:
            time.sleep(0.005)
        return self.idle.get(n)

    def alive(self):
        return all(p.poll() is None for p in self.children.values())

    def streams(self, role):
        """Whether it sends, or waits for answers."""
        counters = self.counters[role]
        return self.children[role].poll() is None and (not counters.get("stopped") or counters.get("open"))

    def finish(self, seconds):
        died = [role for role, p in self.children.items() if p.poll() is not None]
        for role in self.children:
            self.command(role, "stop")
        end = time.monotonic() + seconds
        while any(self.streams(r) for r in self.children) and time.monotonic() < end:
            time.sleep(0.05)
        for role in ("client", "server"):  # in this order: a server that closes first is a connection that died
            p = self.children[role]
            self.command(role, "quit")
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.send_signal(signal.SIGKILL)
        if died:
            return "the UDP stream's %s died: %s" % (died[0], tail(self.files[died[0]] + ".log"))
        return None

    def records(self, role, kind):
        """Rows of five numbers, see ends.py."""
        data = array.array("d")
        path = "%s.%s" % (self.files[role], kind)
        try:
            with open(path, "rb") as f:
                data.frombytes(f.read())
        except OSError:
            return []
        return list(zip(*[iter(data)] * 5))
