/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a test run cannot show: programs attached to devices and packets that
 * really go from one to the other. `bare` stands for a NIC without MAC header.
 *
 *   wanp ══ wan ─ tc_nic_ingress ─▶ hf0 ─ tc_tun_ingress ─▶ stack ─▶ lan ══ lanp
 *   lanp ══ lan ─▶ stack ─▶ hf0 ─ tc_tun_egress ─▶ wan ══ wanp
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "tests/bpf/env.h"

#define WAIT_MS 2000
#define MAC     14

struct live {
	struct env *env;
	int wanp, lanp; /* packet sockets at the far ends */
	int tun, bare;
};

static int far_end(const char *name)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));

	return fd >= 0 && !bind(fd, (void *)&to, sizeof(to)) ? fd : -1;
}

static bool attach(struct env *env, const char *device, enum bpf_tc_attach_point point,
		   const char *prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = if_nametoindex(device), .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = env_prog(env, prog), .handle = 1, .priority = 1);

	return !bpf_tc_attach(&hook, &opts);
}

static bool clsact(const char *device)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = if_nametoindex(device),
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	return !bpf_tc_hook_create(&hook);
}

/* Reads until this IP packet comes, `skip` octets into what is read, but for the hop limit and the
 * IPv4 header's checksum. */
static bool comes(int fd, int skip, const __u8 *want, __u32 len)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int v4 = want[0] >> 4 == 4;
	__u8 got[ENV_PACKET];

	while (poll(&p, 1, WAIT_MS) > 0) {
		ssize_t n = read(fd, got, sizeof(got)) - skip;
		__u8 *ip = got + skip;

		if (n != (ssize_t)len || ip[0] >> 4 != want[0] >> 4)
			continue;
		if (v4)
			memcpy(ip + 10, want + 10, 2);
		ip[v4 ? 8 : 7] = want[v4 ? 8 : 7];
		if (!memcmp(ip, want, len))
			return true;
	}
	return false;
}

static bool put_in(int fd, const __u8 *data, __u32 len)
{
	return write(fd, data, len) == (ssize_t)len;
}

/* A row's packet into one end; its result has to come out of another. */
static void live_row(const struct live *l, const char *row, const char *how, int in, int in_skip,
		     int out, int out_skip, bool translated)
{
	struct sample before = row_packet(row), after = translated ? row_result(row) : before;
	char name[256];
	bool sent, came;

	snprintf(name, sizeof(name), "live %s: %s", how, row);
	sent = put_in(in, before.data + in_skip, before.len - in_skip);
	came = sent && comes(out, out_skip, after.data + MAC, after.len - MAC);
	env_say(came, name, "%s", sent ? "nothing came" : strerror(errno));
	(void)l;
}

static void live_family(const struct live *l, int fam)
{
	char decode[64], encode[64], fragment[4][64], mobile[64];
	struct env *env = l->env;

	snprintf(decode, sizeof(decode), "N1 N18 decode anchor tcp v%d 64 octets", fam);
	snprintf(encode, sizeof(encode), "N1 N18 encode anchor tcp v%d 64 octets", fam);
	snprintf(mobile, sizeof(mobile), "N1 N18 encode mobile udp v%d 1200 octets", fam);
	snprintf(fragment[0], sizeof(fragment[0]), "N18 decode v%d the first after it", fam);
	snprintf(fragment[1], sizeof(fragment[1]), "N18 decode v%d the early one again", fam);

	env_reset(env, HF_ROLE_ANCHOR, fam, ROW_FLOW);
	live_row(l, decode, "through hf0 to the server", l->wanp, 0, l->lanp, MAC, true);
	live_row(l, encode, "from the server through hf0", l->lanp, 0, l->wanp, MAC, true);
	live_row(l, decode, "NIC without MAC header", l->bare, MAC, l->lanp, MAC, true);

	/* early: to the daemon; the daemon offers it when the first has come */
	live_row(l, fragment[1], "early fragment to the daemon", l->wanp, 0, l->tun, MAC, false);
	live_row(l, fragment[1], "early fragment by a NIC without MAC header", l->bare, MAC, l->tun,
		 MAC, false);
	live_row(l, fragment[0], "first fragment", l->wanp, 0, l->lanp, MAC, true);
	live_row(l, fragment[1], "offered again by the daemon", l->tun, 0, l->lanp, MAC, true);

	env_reset(env, HF_ROLE_ANCHOR, fam, ROW_FLOW | ROW_PARK);
	live_row(l, encode, "parked packet to the daemon", l->lanp, 0, l->tun, MAC, false);
	live_row(l, encode, "released by the daemon", l->tun, 0, l->wanp, MAC, true);

	env_reset(env, HF_ROLE_MOBILE, fam, ROW_FLOW);
	live_row(l, mobile, "released by the daemon", l->tun, 0, l->wanp, MAC, true);
}

/* The path's way out is a device without MAC header. */
static void live_bare_out(const struct live *l)
{
	__u32 index = ENV_PATH;
	struct path_val path;

	env_reset(l->env, HF_ROLE_ANCHOR, 4, ROW_FLOW);
	bpf_map_lookup_elem(env_map(l->env, "paths"), &index, &path);
	path.ifindex = if_nametoindex("bare");
	bpf_map_update_elem(env_map(l->env, "paths"), &index, &path, 0);
	live_row(l, "N1 N18 encode anchor tcp v4 64 octets", "out of a NIC without MAC header",
		 l->lanp, 0, l->bare, 0, true);
}

static void live_cross(const struct live *l)
{
	env_reset(l->env, HF_ROLE_ANCHOR, 6, ROW_FLOW);
	live_row(l, "N18 decode anchor tcp v4 in v6 1300 octets", "through hf0", l->wanp, 0,
		 l->lanp, MAC, true);
	live_row(l, "N18 encode anchor tcp v4 in v6 1300 octets", "through hf0", l->lanp, 0,
		 l->wanp, MAC, true);
	env_reset(l->env, HF_ROLE_ANCHOR, 4, ROW_FLOW);
	live_row(l, "N18 decode anchor udp v6 in v4 1300 octets", "through hf0", l->wanp, 0,
		 l->lanp, MAC, true);
	live_row(l, "N18 encode anchor udp v6 in v4 1300 octets", "through hf0", l->lanp, 0,
		 l->wanp, MAC, true);
}

/* The same for fragments, those that go round by the daemon too, and for an error. */
static void live_cross_rest(const struct live *l, int inner, int outer)
{
	static const char *const late[] = {"decode anchor", "encode anchor"};
	char name[2][96], error[96];

	for (int i = 0; i < 2; i++) {
		int in = i ? l->lanp : l->wanp, out = i ? l->wanp : l->lanp;

		snprintf(name[0], sizeof(name[0]), "N18 %s udp v%d in v%d the first after it",
			 late[i], inner, outer);
		snprintf(name[1], sizeof(name[1]), "N18 %s udp v%d in v%d the early one again",
			 late[i], inner, outer);
		env_reset(l->env, HF_ROLE_ANCHOR, outer, ROW_FLOW);
		live_row(l, name[1], "early fragment to the daemon", in, 0, l->tun, MAC, false);
		live_row(l, name[0], "first fragment", in, 0, out, MAC, true);
		live_row(l, name[1], "offered again by the daemon", l->tun, 0, out, MAC, true);
		live_row(l, name[1], "fragment in its order", in, 0, out, MAC, true);
	}
	/* IPv4's is not made here: its identifier is chance */
	if (inner == 4)
		return;
	snprintf(error, sizeof(error), "N1 N18 decode v%d in v%d anchor MTU 1320 udp", inner,
		 outer);
	env_reset(l->env, HF_ROLE_ANCHOR, outer, ROW_FLOW);
	live_row(l, error, "through hf0", l->wanp, 0, l->lanp, MAC, true);
}

void test_live(struct env *env)
{
	struct live l = {.env = env, .tun = env_tun_fd(env)};

	if (l.tun < 0 || (l.bare = env_tun("bare", false)) < 0) {
		printf("SKIP live packets: no TUN device: %s\n", strerror(errno));
		return;
	}
	l.wanp = far_end("wanp");
	l.lanp = far_end("lanp");
	/* mobiles are behind hf0 now; what comes from a far end has our MAC address as gen.py gives
	 * it */
	if (l.wanp < 0 || l.lanp < 0 ||
	    system("ip route replace 10.77.0.0/16 dev hf0; ip route replace fd77::/64 dev hf0; "
		   "ip route add 192.0.2.0/24 dev bare metric 9; "
		   "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding") ||
	    !clsact("wan") || !clsact("bare") || !clsact("hf0") ||
	    !attach(env, "wan", BPF_TC_INGRESS, "tc_nic_ingress") ||
	    !attach(env, "bare", BPF_TC_INGRESS, "tc_nic_ingress") ||
	    !attach(env, "hf0", BPF_TC_EGRESS, "tc_tun_egress") ||
	    !attach(env, "hf0", BPF_TC_INGRESS, "tc_tun_ingress")) {
		env_say(false, "live packets", "set-up: %s", strerror(errno));
		return;
	}
	live_family(&l, 4);
	live_family(&l, 6);
	live_bare_out(&l);
	live_cross(&l);
	live_cross_rest(&l, 4, 6);
	live_cross_rest(&l, 6, 4);
	close(l.wanp);
	close(l.lanp);
	close(l.bare);
}
