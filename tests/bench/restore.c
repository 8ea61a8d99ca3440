/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connections that come to a new owner, one after the other.
 *
 *   restore COUNT ROUNDS [6] [ended]   in a network namespace of its own; 6: IPv6; ended: their
 *                                      clients have sent a FIN
 *
 * Each round fills a slot of every connection, publishes it in a map like guard_conns, and makes
 * the socket, from clients of 250 addresses behind a router, to one port of one address where an
 * application listens; then it opens one more listener beside them, and takes them all away again
 * without a word. A line of JSON: times of each round.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>

#include "control/addr.h"
#include "control/takeover/restore.h"

#define CLIENTS 250u
#define ROUNDS  100u
#define PORT    8080

struct bench {
	uint32_t count;
	bool v6;
	bool ended;
	struct restore_tools *tools;
	int conns;
	struct guard_slot *slots;
	int *fds;
	struct hf_addr local, peer; /* the first client */
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "restore: %s: %s\n", what, strerror(err));
	return -1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* As loader/guard.c makes them. */
static int maps(struct bench *b)
{
	LIBBPF_OPTS(bpf_map_create_opts, mmapable, .map_flags = BPF_F_MMAPABLE);
	int slots;

	b->conns = bpf_map_create(BPF_MAP_TYPE_HASH, "conns", sizeof(struct guard_key),
				  sizeof(uint32_t), b->count, NULL);
	slots = bpf_map_create(BPF_MAP_TYPE_ARRAY, "slots", sizeof(uint32_t),
			       sizeof(struct guard_slot), b->count, &mmapable);
	if (b->conns < 0 || slots < 0)
		return fail("map", errno);
	b->slots = mmap(NULL, b->count * sizeof(*b->slots), PROT_READ | PROT_WRITE, MAP_SHARED,
			slots, 0);
	return b->slots == MAP_FAILED ? fail("mmap", errno) : 0;
}

static int world(struct bench *b)
{
	struct rlimit files = {b->count + 64, b->count + 64};

	if (setrlimit(RLIMIT_NOFILE, &files))
		return fail("RLIMIT_NOFILE", errno);
	if (unshare(CLONE_NEWNET))
		return fail("network namespace", errno);
	if (system("ip link set lo up && ip link add n0 type veth peer name n1 && "
		   "ip link set n1 up && ip link set n0 up && ip addr add 10.66.0.10/24 dev n0 && "
		   "ip addr add fd66::10/64 dev n0 nodad && ip route add default via 10.66.0.1 && "
		   "ip -6 route add default via fd66::1"))
		return fail("ip", EINVAL);
	b->fds = calloc(b->count, sizeof(*b->fds));
	b->tools = restore_tools_new();
	if (!b->fds || !b->tools)
		return fail("memory", ENOMEM);
	addr_parse(b->v6 ? "fd66::10" : "10.66.0.10", &b->local);
	addr_parse(b->v6 ? "2001:db8::" : "198.51.100.0", &b->peer);
	return maps(b);
}

static void fill(struct bench *b, uint32_t i)
{
	struct guard_slot *s = &b->slots[i];
	struct hf_addr peer = b->peer;

	peer.b[15] = (uint8_t)(1 + i % CLIENTS);
	*s = (struct guard_slot){
		.in_commit = 1000 + i,
		.mode = GUARD_UNREADY,
		.generation = 1,
		.facts =
			{
				.key = {.peer = peer,
					.local = b->local,
					.peer_port = htons((uint16_t)(1024 + i / CLIENTS)),
					.local_port = htons(PORT)},
				.irs = i * 7919,
				.iss = i * 104729,
				.peer_mss = 1460,
				.our_mss = 1460,
				.peer_wscale = 7,
				.our_wscale = 7,
				.options = GUARD_TS | GUARD_SACK | GUARD_WSCALE,
			},
		.out_max = 100000,
		.in_edge = 1000 + i + 262144,
		.tsval = 1000000,
		.out_acked = 90000,
		.peer_window = 131072,
		.peer_tsval = 500000,
	};
}

/* Returns ns spent in making sockets, 0: it failed. */
static uint64_t restore_all(struct bench *b)
{
	uint64_t spent = 0;
	char err[160];

	for (uint32_t i = 0; i < b->count; i++) {
		struct guard_slot *s = &b->slots[i];
		struct restore_spec spec;
		uint64_t start;

		fill(b, i);
		if (bpf_map_update_elem(b->conns, &s->facts.key, &i, BPF_NOEXIST)) {
			fail("publishing", errno);
			return 0;
		}
		spec = (struct restore_spec){.facts = &s->facts,
					     .in_next = s->in_commit,
					     .out_next = s->out_acked,
					     .in_edge = s->in_edge,
					     .tsval = s->tsval,
					     .peer_tsval = s->peer_tsval,
					     .peer_window = s->peer_window,
					     .peer_ended = b->ended,
					     .tools = b->tools,
					     .mark = GUARD_MARK};
		start = now_ns();
		if (restore_tcp(&spec, &b->fds[i], err, sizeof(err))) {
			fprintf(stderr, "restore: %s\n", err);
			return 0;
		}
		spent += now_ns() - start;
	}
	return spent;
}

/* ns, 0: it failed. */
static uint64_t listen_beside(const struct bench *b, int *ret_fd)
{
	struct sockaddr_storage sa;
	uint64_t start = now_ns();
	int fd, yes = 1;
	socklen_t len;

	addr_to_sockaddr(&b->local, PORT, 0, &sa, &len);
	fd = socket(sa.ss_family, SOCK_STREAM, 0);
	/* SO_REUSEPORT: several of one application */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) ||
	    bind(fd, (struct sockaddr *)&sa, len) || listen(fd, 128)) {
		fail("listener", errno);
		return 0;
	}
	*ret_fd = fd;
	return now_ns() - start;
}

static void forget_all(struct bench *b)
{
	int on = TCP_REPAIR_ON;

	for (uint32_t i = 0; i < b->count; i++) {
		setsockopt(b->fds[i], IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on));
		close(b->fds[i]);
		bpf_map_delete_elem(b->conns, &b->slots[i].facts.key);
	}
}

static void print(const char *name, const double *list, uint32_t n)
{
	printf(",\"%s\":[", name);
	for (uint32_t i = 0; i < n; i++)
		printf("%s%.2f", i ? "," : "", list[i]);
	printf("]");
}

int main(int argc, char **argv)
{
	struct bench b = {.count = argc > 2 ? (uint32_t)atoi(argv[1]) : 0};
	uint32_t rounds = argc > 2 ? (uint32_t)atoi(argv[2]) : 0;
	double socket_us[ROUNDS], whole_ms[ROUNDS], listen_us[ROUNDS];
	int listener, beside;

	for (int i = 3; i < argc; i++) {
		b.v6 |= !strcmp(argv[i], "6");
		b.ended |= !strcmp(argv[i], "ended");
	}
	if (!b.count || !rounds || rounds > ROUNDS || b.count > CLIENTS * 60000) {
		fprintf(stderr, "usage: restore COUNT ROUNDS [6] [ended]\n");
		return 2;
	}
	if (world(&b) || !listen_beside(&b, &listener))
		return 1;
	for (uint32_t r = 0; r < rounds; r++) {
		uint64_t start = now_ns(), sockets = restore_all(&b), took;

		if (!sockets)
			return 1;
		whole_ms[r] = (double)(now_ns() - start) / 1e6;
		socket_us[r] = (double)sockets / b.count / 1e3;
		took = listen_beside(&b, &beside);
		if (!took)
			return 1;
		listen_us[r] = (double)took / 1e3;
		close(beside);
		forget_all(&b);
	}
	printf("{\"count\":%u,\"family\":%d", b.count, b.v6 ? 6 : 4);
	print("restore_us_per_conn", socket_us, rounds);
	print("restore_ms", whole_ms, rounds);
	print("listen_us", listen_us, rounds);
	printf("}\n");
	return 0;
}
