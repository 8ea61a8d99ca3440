/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets as fast as one CPU makes them, into a veth, and a sink that counts.
 *
 *   flood send OBJECT DEV DST_MAC SRC:PORT DST:PORT FLOWS COUNT   FLOWS source ports from PORT on
 *   flood sink OBJECT DEV ADDR PORT   prints "ready", then, for each line read, how many have come
 *
 * Both ends of a veth must be ready for XDP: DEV of `send` needs generic
 * receive offload or an XDP program, and so does its other end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "tests/bench/bpf/traffic.h"

#define BATCH 64 /* packets a flush, as a NIC's NAPI budget */

static int fail(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	return 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

/* The programs' variables: their places are found by BTF. */
struct shared {
	struct bpf_object *obj;
	char *bss;
};

static void *variable(const struct shared *s, const char *name)
{
	const struct btf *btf = bpf_object__btf(s->obj);
	int sec = btf__find_by_name_kind(btf, ".bss", BTF_KIND_DATASEC);
	const struct btf_type *t = sec > 0 ? btf__type_by_id(btf, sec) : NULL;

	for (int i = 0; t && i < btf_vlen(t); i++) {
		const struct btf_var_secinfo *v = btf_var_secinfos(t) + i;
		const struct btf_type *var = btf__type_by_id(btf, v->type);

		if (!strcmp(btf__name_by_offset(btf, var->name_off), name))
			return s->bss + v->offset;
	}
	fprintf(stderr, "flood: the object has no '%s'\n", name);
	exit(1);
}

static bool open_object(struct shared *s, const char *path)
{
	struct bpf_map *map;

	libbpf_set_print(quiet);
	s->obj = bpf_object__open_file(path, NULL);
	if (!s->obj || bpf_object__load(s->obj))
		return false;
	map = bpf_object__find_map_by_name(s->obj, ".bss");
	if (!map)
		return false;
	/* libbpf makes it a map that can be mapped */
	s->bss = mmap(NULL, bpf_map__value_size(map), PROT_READ | PROT_WRITE, MAP_SHARED,
		      bpf_map__fd(map), 0);
	return s->bss != MAP_FAILED;
}

static bool split(const char *text, __be32 *addr, __u16 *port)
{
	char host[64];
	const char *colon = strchr(text, ':');

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return false;
	memcpy(host, text, colon - text);
	host[colon - text] = 0;
	*port = atoi(colon + 1);
	return inet_pton(AF_INET, host, addr) == 1;
}

static bool mac_of(const char *dev, __u8 *mac)
{
	struct ifreq ifr = {0};
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	int err;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
	err = ioctl(s, SIOCGIFHWADDR, &ifr);
	memcpy(mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	close(s);
	return !err;
}

static __u32 add(__u32 sum, const void *data, size_t len)
{
	const __u16 *w = data;

	for (size_t i = 0; i < len / 2; i++)
		sum += w[i];
	return (sum & 0xffff) + (sum >> 16);
}

static void compose(struct traffic *t, __be32 src, __be32 dst, __u16 dport)
{
	struct iphdr *ip = (void *)(t->frame + ETH_HLEN);
	struct udphdr *udp = (void *)(ip + 1);
	__u32 sum;

	((struct ethhdr *)t->frame)->h_proto = htons(ETH_P_IP);
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = htons(TRAFFIC_FRAME - ETH_HLEN);
	ip->frag_off = htons(0x4000);
	ip->ttl = 64;
	ip->protocol = IPPROTO_UDP;
	ip->saddr = src;
	ip->daddr = dst;
	sum = add(0, ip, sizeof(*ip));
	ip->check = ~((sum & 0xffff) + (sum >> 16));
	udp->dest = htons(dport);
	udp->len = htons(TRAFFIC_FRAME - ETH_HLEN - sizeof(*ip));
	sum = add(htons(IPPROTO_UDP) + udp->len, &ip->saddr, 8);
	t->sum = add(sum, udp, sizeof(*udp));
}

static int flood(char **argv)
{
	struct shared s = {0};
	struct traffic *t;
	__u8 packet[TRAFFIC_FRAME] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);
	__be32 src, dst;
	__u16 dport;
	int prog;

	if (!open_object(&s, argv[0]))
		return fail(argv[0]);
	t = variable(&s, "traffic");
	if (!split(argv[3], &src, &t->first) || !split(argv[4], &dst, &dport))
		return fail("an address");
	compose(t, src, dst, dport);
	if (sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", t->frame, t->frame + 1, t->frame + 2,
		   t->frame + 3, t->frame + 4, t->frame + 5) != 6 ||
	    !mac_of(argv[1], t->frame + ETH_ALEN))
		return fail("a MAC address");
	t->ifindex = if_nametoindex(argv[1]);
	t->flows = atoi(argv[5]);
	prog = bpf_program__fd(bpf_object__find_program_by_name(s.obj, "traffic_send"));
	opts.repeat = strtoul(argv[6], NULL, 10);
	if (bpf_prog_test_run_opts(prog, &opts))
		return fail("live frames");
	/* The kernel stops its clock where it lets others run, and so does not count the machine's
	 * other work; it does not stop it for the soft interrupts that forward what was made. */
	printf("{\"sent\":%d,\"seconds\":%.6f}\n", opts.repeat,
	       (double)opts.duration * opts.repeat / 1e9);
	return 0;
}

static int sink(char **argv)
{
	struct shared s = {0};
	unsigned long long *seen;
	struct traffic *t;
	char line[16];

	if (!open_object(&s, argv[0]))
		return fail(argv[0]);
	t = variable(&s, "traffic");
	seen = variable(&s, "traffic_seen");
	t->expected_port = htons(atoi(argv[3]));
	if (inet_pton(AF_INET, argv[2], &t->expected_addr) != 1)
		return fail(argv[2]);
	if (bpf_xdp_attach(
		    if_nametoindex(argv[1]),
		    bpf_program__fd(bpf_object__find_program_by_name(s.obj, "traffic_count")),
		    XDP_FLAGS_DRV_MODE, NULL))
		return fail(argv[1]);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		printf("{\"seen\":%llu,\"time\":%.6f}\n", __atomic_load_n(seen, __ATOMIC_RELAXED),
		       now());
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 9 && !strcmp(argv[1], "send"))
		return flood(argv + 2);
	if (argc == 6 && !strcmp(argv[1], "sink"))
		return sink(argv + 2);
	fprintf(stderr, "usage: flood send OBJECT DEV DST_MAC SRC:PORT DST:PORT FLOWS COUNT\n"
			"       flood sink OBJECT DEV ADDR PORT\n");
	return 2;
}
