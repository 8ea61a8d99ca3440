# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The same crashes, and the same stream, with what there is for it elsewhere: an address that moves by VRRP (keepalived) with the
states of connections copied by conntrackd; a gate made of a queue of netfilter."""
import json
import os
import shutil
import subprocess
import time

from lab import BUILD, Failed, median, wait_for
from takeover_lab import BULK, VIP, Network, now_ns

CRASHES = 3
WATCH = 5  # s after which a client that hears nothing has heard enough
QUEUE = 5
CONFIRM = "10.6.0.%d"
PORT = 7007

KEEPALIVED = """global_defs {
  vrrp_version 3
  router_id %(id)s
  script_user root
  enable_script_security
}
vrrp_script server {
  script "/usr/bin/pgrep -x %(server)s"
  interval 1
}
vrrp_instance web {
  state BACKUP
  interface n0
  virtual_router_id 51
  priority %(priority)d
  advert_int 0.1
  virtual_ipaddress {
    10.5.0.100/24 dev n0
  }
  track_script {
    server
  }
  notify_master "/usr/sbin/conntrackd -C %(sync)s -c"
}
"""
NGINX = """daemon off;
master_process off;
pid %(work)s/%(id)s.nginx.pid;
error_log %(work)s/%(id)s.nginx.log;
events {
}
http {
  access_log off;
  server {
    listen 10.5.0.100:80;
    root %(root)s;
    limit_rate 20m;
  }
}
"""
CONNTRACKD = """Sync {
  Mode FTFW {
  }
  UDP {
    IPv4_address %(own)s
    IPv4_Destination_Address %(other)s
    Port 3780
    Interface k0
    Checksum on
  }
}
General {
  HashSize 8192
  HashLimit 65536
  LockFile %(work)s/%(id)s.lock
  UNIX {
    Path %(work)s/%(id)s.ctl
  }
  Filter From Userspace {
    Protocol Accept {
      TCP
    }
  }
}
"""


class Vrrp(Network):
    """Servers without guard on both nodes, A the master."""

    def build(self):
        super().build()
        for program in ("keepalived", "conntrackd", "nginx"):
            if not shutil.which(program):
                raise Failed("%s is not installed" % program)
        self.root = self.folder()
        self.servers = {ns: self.node(ns, i) for i, ns in enumerate("ab")}
        wait_for(10, "the address at its master", lambda: self.has("a"))

    def node(self, ns, i):
        self.sysctl(ns, ip_nonlocal_bind=1)
        # states are only kept where a rule asks for them
        self.cmd(ns, "nft", "-f", "-", input="table inet keep { chain c { type filter hook input priority 0; ct state established accept; }; }")
        # a name of its own, by which keepalived can look for it; no more than 15 octets of it count
        path = os.path.join(self.work, "hfb-%d-%s" % (os.getpid(), ns))
        os.symlink(shutil.which("nginx"), path)
        conf = self.file(ns + ".nginx", NGINX % {"id": ns, "work": self.work, "root": self.root})
        server = self.spawn(ns, path, "-c", conf)
        wait_for(5, "nginx", lambda: ":80" in self.cmd(ns, "ss", "-Hltn", "sport = :80"))
        sync = self.file(ns + ".sync", CONNTRACKD % {"id": ns, "own": CONFIRM % (i + 1), "other": CONFIRM % (2 - i), "work": self.work})
        vrrp = self.file(ns + ".vrrp", KEEPALIVED % {"id": ns, "server": os.path.basename(path), "priority": 150 - 50 * i, "sync": sync})
        copier = self.spawn(ns, "conntrackd", "-C", sync)
        wait_for(5, "conntrackd", lambda: copier.poll() is not None or os.path.exists(os.path.join(self.work, ns + ".ctl")))
        if copier.poll() is not None:
            raise Failed("conntrackd does not start: %s" % self.cmd(ns, "conntrackd", "-C", sync, check=False))
        self.spawn(ns, "keepalived", "-n", "-P", "-f", vrrp, "-p", os.path.join(self.work, ns + ".pid"), "-r",
                   os.path.join(self.work, ns + ".pid2"))
        return server

    def file(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def has(self, ns):
        return VIP in self.ip(ns, "-4", "addr", "show", "dev", "n0")

    def knows(self, ns):
        """Whether the other node's conntrackd has told of the connection."""
        return "dport=80" in self.cmd(ns, "conntrackd", "-C", os.path.join(self.work, ns + ".sync"), "-e")


def crash(harm):
    """ms until the client's connection broke (None: it hears nothing and waits), and until the address had moved."""
    with Vrrp() as lab:
        client = lab.client("get", VIP, "80", BULK, stdin=subprocess.PIPE)
        wait_for(10, "the connection's state at the other node", lambda: lab.knows("b"))
        began = now_ns()
        harm(lab)
        wait_for(10, "the address at the other node", lambda: lab.has("b"))
        moved = now_ns()
        time.sleep(WATCH)
        got = json.loads(client.communicate(timeout=10)[0])
        if got["end"] == "reader" and any(to > moved for _, to, _ in got["gaps"]):
            raise Failed("the rival's download went on, which it cannot")
        return None if got["end"] == "reader" else (got["end_ns"] - began) / 1e6, (moved - began) / 1e6


def vrrp(harm):
    """A sentence, and the number of it."""
    got = [crash(harm) for _ in range(CRASHES)]
    broke = [b for b, _ in got if b is not None]
    moved = median([m for _, m in got])
    if len(broke) == CRASHES:
        return "keepalived and conntrackd: the address moves in %.0f ms, the connection is dead; ms until its client is told" % moved, median(broke)
    return "keepalived and conntrackd: the address moves in %.0f ms, the connection is dead; its client waits, nothing came in %d s (ms)" % (
        moved, WATCH), WATCH * 1000.0


def killed():
    def harm(lab):
        lab.servers["a"].kill()
        lab.servers["a"].wait()
    return vrrp(harm)


def silenced():
    return vrrp(lambda lab: lab.cut("a"))


def queue(lab, owner, kinds):
    """Servers without guard, what they send held by a queue of netfilter until the other node has confirmed. `kinds`: name to port
    and arguments."""
    gate = os.path.join(BUILD, "tests/bench/rival/nfqgate")
    if not os.path.exists(gate):
        raise Failed("%s was not built" % gate)
    if not shutil.which("iptables"):
        raise Failed("iptables is not installed")
    there = 2 if owner == "a" else 1
    peer = lab.spawn("b" if owner == "a" else "a", gate, "peer", CONFIRM % there, str(PORT), stdout=subprocess.PIPE)
    peer.stdout.readline()
    for port, args in kinds.values():
        lab.serve(owner, "sink", *args, "-a", VIP, "-p", str(port), guard=False)
        lab.cmd(owner, "iptables", "-t", "mangle", "-A", "POSTROUTING", "-p", "tcp", "--sport", str(port), "-j", "NFQUEUE", "--queue-num",
                str(QUEUE))
    holder = lab.spawn(owner, gate, "gate", str(QUEUE), CONFIRM % there, str(PORT), stdout=subprocess.PIPE)
    if holder.stdout.readline() != "ready\n":
        raise Failed("the queue of netfilter cannot be used here")
