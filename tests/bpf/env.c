/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The surroundings of the BPF tests; see env.h. Built with the skeletons of both
 * objects; all of tests/bpf/ is one program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <linux/if_tun.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "tests/bpf/env.h"
#include "bpf/tc.skel.h"
#include "bpf/xdp.skel.h"

#define TEST_CHECKSUM_COMPLETE 4 /* BPF_F_TEST_SKB_CHECKSUM_COMPLETE */

struct env {
	struct tc_bpf *tc;
	struct xdp_bpf *xdp;
	int wan, lan;
	int tun; /* descriptor of hf0, -1 if there is none */
};

bool env_csum_helpers;

static int failed;

static const char *const setup[] = {
	"ip link set lo up; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter; "
	"echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter",
	"ip link add wan address 02:00:00:00:00:01 type veth peer name wanp",
	"ip link add lan address 02:00:00:00:00:02 type veth peer name lanp",
	"ip link set wanp up; ip link set lanp up; ip link set wan up; ip link set lan up",
	"ip addr add 10.1.0.1/24 dev wan; ip addr add 10.2.0.1/24 dev lan",
	"ip addr add fd01::1/64 dev wan nodad; ip addr add fd02::1/64 dev lan nodad",
	"ip neigh add 10.1.0.2 lladdr 02:00:00:00:00:11 dev wan nud permanent",
	"ip neigh add 10.2.0.2 lladdr 02:00:00:00:00:12 dev lan nud permanent",
	"ip neigh add fd01::2 lladdr 02:00:00:00:00:11 dev wan nud permanent",
	"ip neigh add fd02::2 lladdr 02:00:00:00:00:12 dev lan nud permanent",
	"ip route add 192.0.2.0/24 via 10.1.0.2; ip route add 198.51.100.0/24 via 10.1.0.2",
	"ip route add 203.0.113.0/24 via 10.2.0.2; ip route add 10.77.0.0/16 via 10.2.0.2",
	"ip route add 2001:db8:1::/64 via fd01::2; ip route add 2001:db8:2::/64 via fd01::2",
	"ip route add 2001:db8:5::/64 via fd02::2; ip route add fd77::/64 via fd02::2",
	"for i in wan lan; do for f in ipv4 ipv6; do "
	"echo 1 >/proc/sys/net/$f/conf/$i/forwarding; done; done",
};

static const struct {
	int family;
	__u8 proto;
	const char *addr;
	__u16 port, emulator;
} services[] = {
	{4, IPPROTO_TCP, "203.0.113.80", 80, 8080},
	{4, IPPROTO_UDP, "203.0.113.80", 53, 5353},
	{4, IPPROTO_ICMP, "203.0.113.80", 0, 0x4200},
	{6, IPPROTO_TCP, "2001:db8:5::80", 80, 8081},
	{6, IPPROTO_UDP, "2001:db8:5::80", 53, 5354},
	{6, IPPROTO_ICMP, "2001:db8:5::80", 0, 0x4300},
};
#define SERVICES     (sizeof(services) / sizeof(services[0]))
#define SERVICE_BASE 10 /* an index that is not its position */

static struct hf_addr address(const char *text)
{
	struct hf_addr a = {};

	if (strchr(text, ':')) {
		inet_pton(AF_INET6, text, &a);
	} else {
		a.w[2] = htonl(0xffff);
		inet_pton(AF_INET, text, &a.w[3]);
	}
	return a;
}

void env_say(bool good, const char *name, const char *format, ...)
{
	va_list args;

	printf("%s %s%s", good ? "PASS" : "FAIL", name,
	       env_csum_helpers ? ", checksums by helpers" : "");
	if (!good) {
		failed++;
		printf(": ");
		va_start(args, format);
		vprintf(format, args);
		va_end(args);
	}
	printf("\n");
}

int env_failed(void)
{
	return failed;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

int env_ports(struct env *env, __u32 wan, __u32 lan)
{
	int fd = bpf_map__fd(env->xdp->maps.ports);

	/* 0: XDP is not there */
	bpf_map_delete_elem(fd, &env->wan);
	bpf_map_delete_elem(fd, &env->lan);
	return (wan ? bpf_map_update_elem(fd, &env->wan, &wan, BPF_ANY) : 0) |
	       (lan ? bpf_map_update_elem(fd, &env->lan, &lan, BPF_ANY) : 0);
}

static int env_load(struct env *env, __u32 max_flows)
{
	struct bpf_map *map;
	int err;

	env->tc = tc_bpf__open();
	env->xdp = xdp_bpf__open();
	if (!env->tc || !env->xdp)
		return -errno;
	env->tc->rodata->hf_tun_ifindex = env->tun < 0 ? env->lan : (int)if_nametoindex("hf0");
	env->tc->rodata->hf_control_port = WIRE_CONTROL_PORT;
	env->tc->rodata->hf_csum_helpers = env_csum_helpers;
	env->xdp->rodata->hf_tun_ifindex = env->tun < 0 ? env->lan : (int)if_nametoindex("hf0");
	env->xdp->rodata->hf_control_port = WIRE_CONTROL_PORT;
	bpf_map__set_max_entries(env->tc->maps.flows, max_flows);
	err = tc_bpf__load(env->tc);
	if (err)
		return err;
	bpf_object__for_each_map(map, env->xdp->obj)
	{
		struct bpf_map *other;

		/* what only one object has is its own affair */
		if (strchr(bpf_map__name(map), '.'))
			continue;
		other = bpf_object__find_map_by_name(env->tc->obj, bpf_map__name(map));
		err = other ? bpf_map__reuse_fd(map, bpf_map__fd(other)) : 0;
		if (err)
			return err;
	}
	err = xdp_bpf__load(env->xdp);
	return err ? err : env_ports(env, 2, 2);
}

int env_tun(const char *name, bool mac)
{
	struct ifreq ifr = {.ifr_flags = (mac ? IFF_TAP : IFF_TUN) | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	char command[200];

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr)) {
		close(fd);
		return -1;
	}
	snprintf(command, sizeof(command),
		 "ip link set %s arp off addrgenmode none up; "
		 "for f in ipv4 ipv6; do echo 1 >/proc/sys/net/$f/conf/%s/forwarding; done",
		 name, name);
	return system(command) ? -1 : fd;
}

int env_tun_fd(struct env *env)
{
	return env->tun;
}

int env_prog(struct env *env, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(env->tc->obj, name));
}

struct env *env_open(__u32 max_flows)
{
	struct env *env = calloc(1, sizeof(*env));
	int err;

	libbpf_set_print(quiet);
	if (!env || unshare(CLONE_NEWNET)) {
		printf("SKIP bpf rows: no network namespace: %s\n", strerror(errno));
		free(env);
		return NULL;
	}
	for (size_t i = 0; i < sizeof(setup) / sizeof(setup[0]); i++) {
		if (system(setup[i])) {
			printf("FAIL set-up: %s\n", setup[i]);
			env_close(env);
			return NULL;
		}
	}
	env->wan = if_nametoindex("wan");
	env->lan = if_nametoindex("lan");
	env->tun = env_tun("hf0", true);
	err = env_load(env, max_flows);
	if (err) {
		printf("FAIL load of the data plane: %s\n", strerror(-err));
		env_close(env);
		return NULL;
	}
	return env;
}

void env_close(struct env *env)
{
	if (!env)
		return;
	tc_bpf__destroy(env->tc);
	xdp_bpf__destroy(env->xdp);
	if (env->tun >= 0)
		close(env->tun);
	free(env);
}

int env_map(struct env *env, const char *name)
{
	return bpf_object__find_map_fd_by_name(env->tc->obj, name);
}

static void empty(int fd)
{
	__u8 key[64], next[64];
	bool more = !bpf_map_get_next_key(fd, NULL, key);

	/* the next one first: from the start again, a large map would be walked once an element */
	while (more) {
		more = !bpf_map_get_next_key(fd, key, next);
		bpf_map_delete_elem(fd, key);
		memcpy(key, next, sizeof(key));
	}
}

void env_tear_clock(struct env *env, bool xdp)
{
	if (xdp)
		env->xdp->bss->tick.ns = 1;
	else
		env->tc->bss->tick.ns = 1;
}

/* Hints and neighbours serve a tick of the clock, rows come faster. */
static void forget(struct env *env, const char *name, const struct bpf_map *map)
{
	static __u32 keys[2048];
	__u32 count = bpf_map__max_entries(map);
	size_t size = (size_t)bpf_map__value_size(map) * libbpf_num_possible_cpus();
	void *zero = calloc(count, size);
	int err = zero && count <= 2048 ? 0 : -E2BIG;

	for (__u32 i = 0; i < count && !err; i++)
		keys[i] = i;
	if (!err)
		err = bpf_map_update_batch(env_map(env, name), keys, zero, &count, NULL);
	if (err)
		env_say(false, name, "update: %s", strerror(-err));
	free(zero);
}

void env_forget_neighbours(struct env *env)
{
	forget(env, "neighbours", env->tc->maps.neighbours);
}

static void put(struct env *env, const char *map, const void *key, const void *val)
{
	int err = bpf_map_update_elem(env_map(env, map), key, val, BPF_ANY);

	if (err)
		env_say(false, map, "update: %s", strerror(-err));
}

static void fill_services(struct env *env, enum hf_role role, __u32 assoc)
{
	for (__u32 i = 0; i < SERVICES; i++) {
		__u32 index = SERVICE_BASE + i;
		struct service_key sk = {.addr = address(services[i].addr),
					 .port = htons(services[i].port),
					 .proto = services[i].proto};
		struct emulator_key ek = {.scope = role == HF_ROLE_MOBILE ? ENV_ASSOC + 1 : 0,
					  .port = htons(services[i].emulator),
					  .proto = services[i].proto};
		struct service_val val = {.addr = sk.addr,
					  .port = sk.port,
					  .emulator = ek.port,
					  .proto = sk.proto,
					  .used = 1,
					  .assoc = role == HF_ROLE_MOBILE ? assoc : 0};

		put(env, "services", &sk, &index);
		put(env, "emulators", &ek, &index);
		put(env, "service_table", &index, &val);
	}
}

__u16 env_service(int family, __u8 proto)
{
	for (__u32 i = 0; i < SERVICES; i++)
		if (services[i].family == family && services[i].proto == proto)
			return SERVICE_BASE + i;
	return 0;
}

__be16 env_port(int family, __u8 proto)
{
	if (proto != IPPROTO_ICMP)
		return htons(40001);
	return htons((family == 4 ? 0x4200 : 0x4300) | 0x77);
}

static void fill_flows(struct env *env, enum hf_role role)
{
	struct flow_val val = {.last_up = 1, .last_down = 1};

	for (__u32 i = 0; i < SERVICES; i++) {
		struct flow_key key = {.assoc = ENV_ASSOC,
				       .port = env_port(services[i].family, services[i].proto),
				       .service = SERVICE_BASE + i};
		struct echo_key out = {
			.assoc = ENV_ASSOC, .id = key.port, .service = key.service, .outer = 1};
		struct echo_key in = {
			.assoc = ENV_ASSOC, .id = htons(0x1277), .service = key.service};
		struct echo_val to_in = {.id = in.id}, to_out = {.id = out.id};

		put(env, "flows", &key, &val);
		if (services[i].proto != IPPROTO_ICMP)
			continue;
		if (role == HF_ROLE_MOBILE) {
			put(env, "echoes", &out, &to_in);
			put(env, "echoes", &in, &to_out);
		}
		/* a second one, of the echo that an error quotes */
		key.port = htons(services[i].emulator | 9);
		put(env, "flows", &key, &val);
	}
}

static void fill_path(struct env *env, __u32 index, const char *local, const char *peer, int family,
		      __u32 flags, bool misled)
{
	struct path_val path = {.local = address(local),
				.peer = address(peer),
				.ifindex = env->wan,
				.assoc = ENV_ASSOC,
				.mtu = ENV_MTU,
				.family = family,
				.used = 1,
				.nexthop = address(family == 4 ? "10.1.0.2" : "fd01::2")};
	struct peer_key key = {.peer = path.peer, .local = path.local};
	struct peer_val val = {
		.assoc = ENV_ASSOC, .path = misled ? ENV_OLD : index, .flags = flags};

	put(env, "paths", &index, &path);
	put(env, "peers", &key, &val);
}

void env_reset(struct env *env, enum hf_role role, int outer, unsigned int flags)
{
	static const char *const maps[] = {"hosts", "services", "emulators", "peers",
					   "flows", "echoes",   "frags"};
	struct assoc_val assoc = {.role = role, .used = !(flags & ROW_UNUSED), .max_flows = 1000};
	struct host_val host = {.assoc = ENV_ASSOC, .role = role};
	bool mobile = role == HF_ROLE_MOBILE;
	const char *m = outer == 4 ? "192.0.2.10" : "2001:db8:1::10";
	const char *a = outer == 4 ? "198.51.100.1" : "2001:db8:2::1";
	__u32 index = ENV_ASSOC, path = ENV_PATH;
	int mode = flags & ROW_PARK   ? HF_MODE_PARK
		   : flags & ROW_DOWN ? HF_MODE_DOWN
				      : HF_MODE_ACTIVE;

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
		empty(env_map(env, maps[i]));
	forget(env, "hints", env->tc->maps.hints);
	env_forget_neighbours(env);
	if (flags & ROW_LIMIT)
		assoc.max_flows = assoc.flows = 7;
	assoc.route = HF_ROUTE(path, mode, 1);
	assoc.scope = mobile ? ENV_ASSOC + 1 : 0;
	assoc.host4 = address("10.77.0.5");
	assoc.host6 = address("fd77::5");
	put(env, "hosts", &assoc.host4, &host);
	put(env, "hosts", &assoc.host6, &host);
	put(env, "assocs", &index, &assoc);
	fill_path(env, ENV_PATH, mobile ? m : a, mobile ? a : m, outer, HF_PEER_ACCEPT,
		  flags & ROW_MISLED);
	if (!mobile)
		fill_path(env, ENV_OLD, a, outer == 4 ? "192.0.2.11" : "2001:db8:1::11", outer, 0,
			  false);
	fill_services(env, role, flags & ROW_OTHER ? ENV_ASSOC + 1 : ENV_ASSOC);
	if (flags & ROW_FLOW)
		fill_flows(env, role);
}

__u64 env_count(struct env *env, enum hf_reason reason)
{
	int cpus = libbpf_num_possible_cpus();
	__u64 values[cpus], sum = 0;
	__u32 key = reason;

	if (bpf_map_lookup_elem(env_map(env, "reasons"), &key, values))
		return 0;
	for (int i = 0; i < cpus; i++)
		sum += values[i];
	return sum;
}

int env_ifindex(struct env *env, enum row_hook hook, unsigned int flags)
{
	if (flags & ROW_LOOPBACK)
		return 1;
	return hook != ROW_DECODE || flags & ROW_ONE_ARM ? env->lan : env->wan;
}

static bool run_tc(struct env *env, enum row_hook hook, struct __sk_buff *skb, const __u8 *packet,
		   __u32 len, struct run *ret)
{
	struct bpf_program *const progs[] = {env->tc->progs.tc_tun_egress,
					     env->tc->progs.tc_nic_ingress,
					     env->tc->progs.tc_tun_ingress};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = len,
		    .data_out = ret->data, .data_size_out = sizeof(ret->data), .ctx_in = skb,
		    .ctx_size_in = sizeof(*skb), .repeat = 1);
	int err;

	/* The sum over the packet, as a NIC gives it, has to be right afterwards; the kernel looks
	 * from 6.17 on. Not where VLAN tags are popped: whose the difference there is, is not
	 * known. */
	if (!skb->gso_size && packet[12] != 0x81)
		opts.flags = TEST_CHECKSUM_COMPLETE;
	err = bpf_prog_test_run_opts(bpf_program__fd(progs[hook]), &opts);
	if (err == -EINVAL) {
		opts.flags = 0;
		opts.data_size_out = sizeof(ret->data);
		err = bpf_prog_test_run_opts(bpf_program__fd(progs[hook]), &opts);
	}
	ret->verdict = opts.retval;
	ret->len = opts.data_size_out;
	return !err;
}

static bool run_xdp(struct env *env, int ifindex, const __u8 *packet, __u32 len, struct run *ret)
{
	struct xdp_md md = {.ingress_ifindex = ifindex, .data_end = len};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = len,
		    .data_out = ret->data, .data_size_out = sizeof(ret->data), .ctx_in = &md,
		    .ctx_size_in = sizeof(md), .repeat = 1);
	int err = bpf_prog_test_run_opts(bpf_program__fd(env->xdp->progs.xdp_nic), &opts);

	ret->verdict = opts.retval;
	ret->len = opts.data_size_out;
	return !err;
}

bool env_run(struct env *env, enum row_hook hook, bool xdp, int ifindex, const __u8 *packet,
	     __u32 len, struct run *ret)
{
	struct __sk_buff skb = {.ifindex = ifindex};

	return xdp ? run_xdp(env, ifindex, packet, len, ret)
		   : run_tc(env, hook, &skb, packet, len, ret);
}

bool env_run_gso(struct env *env, enum row_hook hook, const __u8 *packet, __u32 len, __u32 gso_size,
		 __u32 gso_segs, struct run *ret)
{
	struct __sk_buff skb = {
		.ifindex = env_ifindex(env, hook, 0), .gso_size = gso_size, .gso_segs = gso_segs};

	return run_tc(env, hook, &skb, packet, len, ret);
}

int env_sweep(struct env *env, struct sweep_args *args)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = args, .ctx_size_in = sizeof(*args));
	int err = bpf_prog_test_run_opts(bpf_program__fd(env->tc->progs.flow_sweep), &opts);

	return err ? err : (int)opts.retval;
}
