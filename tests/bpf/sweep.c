/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_sweep: one row for each idle time and for each state of a TCP connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <bpf/bpf.h>

#include "tests/bpf/env.h"

#define ESTABLISHED (124u * 60 * 1000)
#define TRANSITORY  (240u * 1000)
#define UDP         (300u * 1000)
#define ICMP        (60u * 1000)
#define MARGIN      2000u /* longer than this test takes */

#define OPEN        (HF_TCP_SYN | HF_TCP_ACK)

struct sweep_row {
	const char *name;
	__u8 proto;
	__u8 tcp_up, tcp_down;
	__u32 limit;
};

static const struct sweep_row sweep_rows[] = {
	{"established TCP, RFC 5382 REQ-5", IPPROTO_TCP, OPEN, OPEN, ESTABLISHED},
	{"TCP half closed is established, RFC 6146 section 3.5.2", IPPROTO_TCP, OPEN | HF_TCP_FIN,
	 OPEN, ESTABLISHED},
	{"TCP SYN alone is transitory", IPPROTO_TCP, HF_TCP_SYN, 0, TRANSITORY},
	{"TCP SYN, SYN-ACK is transitory", IPPROTO_TCP, HF_TCP_SYN, OPEN, TRANSITORY},
	{"TCP closed by both is transitory", IPPROTO_TCP, OPEN | HF_TCP_FIN, OPEN | HF_TCP_FIN,
	 TRANSITORY},
	{"TCP reset by the mobile is transitory", IPPROTO_TCP, OPEN | HF_TCP_RST, OPEN, TRANSITORY},
	{"TCP reset by the correspondent is transitory", IPPROTO_TCP, OPEN, OPEN | HF_TCP_RST,
	 TRANSITORY},
	{"UDP, RFC 4787 REQ-5", IPPROTO_UDP, 0, 0, UDP},
	{"ICMP echo, RFC 5508 REQ-2", IPPROTO_ICMP, 0, 0, ICMP},
};

static __u32 now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static struct sweep_args limits(void)
{
	return (struct sweep_args){.limits = {.tcp_established_ms = ESTABLISHED,
					      .tcp_transitory_ms = TRANSITORY,
					      .udp_ms = UDP,
					      .icmp_ms = ICMP}};
}

/* Every flow there is, which must not be more than one call takes. */
static int sweep_all(struct env *env, struct sweep_args *args)
{
	struct flow_key key, *last = NULL;

	while (args->count < HF_SWEEP_KEYS &&
	       !bpf_map_get_next_key(env_map(env, "flows"), last, &key)) {
		args->keys[args->count++] = key;
		last = &key;
	}
	return env_sweep(env, args);
}

static struct flow_key put_flow(struct env *env, const struct sweep_row *row, __be16 port,
				__u32 idle_up, __u32 idle_down)
{
	struct flow_key key = {
		.assoc = ENV_ASSOC, .port = port, .service = env_service(4, row->proto)};
	struct flow_val val = {.last_up = now_ms() - idle_up,
			       .last_down = now_ms() - idle_down,
			       .tcp_up = row->tcp_up,
			       .tcp_down = row->tcp_down};

	bpf_map_update_elem(env_map(env, "flows"), &key, &val, 0);
	return key;
}

static bool there(struct env *env, const struct flow_key *key)
{
	struct flow_val val;

	return !bpf_map_lookup_elem(env_map(env, "flows"), key, &val);
}

static __u32 flows(struct env *env, __s32 set)
{
	struct assoc_val val = {};
	__u32 index = ENV_ASSOC;

	bpf_map_lookup_elem(env_map(env, "assocs"), &index, &val);
	if (set >= 0) {
		val.flows = set;
		bpf_map_update_elem(env_map(env, "assocs"), &index, &val, 0);
	}
	return val.flows;
}

static void test_timeout(struct env *env, const struct sweep_row *row)
{
	struct sweep_args args = limits();
	struct flow_key young, old, half;
	char name[200];
	int err;

	strcpy(name, "N4 sweep: ");
	strcat(name, row->name);
	env_reset(env, HF_ROLE_ANCHOR, 4, 0);
	flows(env, 3);
	young = put_flow(env, row, htons(1), row->limit - MARGIN, row->limit - MARGIN);
	old = put_flow(env, row, htons(2), row->limit + MARGIN, row->limit + MARGIN);
	/* one direction is enough to keep it */
	half = put_flow(env, row, htons(3), row->limit + MARGIN, 10);
	err = sweep_all(env, &args);
	env_say(!err && args.expired == 1 && args.live == 2 && there(env, &young) &&
			!there(env, &old) && there(env, &half) && flows(env, -1) == 2,
		name, "err %d, %u expired, %u live, counter %u", err, args.expired, args.live,
		flows(env, -1));
}

static struct assoc_val assoc(struct env *env, __u32 index, int used)
{
	struct assoc_val val = {};

	bpf_map_lookup_elem(env_map(env, "assocs"), &index, &val);
	if (used >= 0) {
		val.used = used;
		bpf_map_update_elem(env_map(env, "assocs"), &index, &val, 0);
	}
	return val;
}

static void test_assoc(struct env *env)
{
	struct sweep_args args = limits();
	struct flow_key other = {.assoc = 99, .port = 1, .service = env_service(4, IPPROTO_TCP)};
	struct flow_val val = {.last_up = now_ms(), .last_down = now_ms()};
	int err;

	env_reset(env, HF_ROLE_MOBILE, 4, ROW_FLOW);
	flows(env, 8);
	assoc(env, ENV_ASSOC, 0);
	assoc(env, other.assoc, 1);
	bpf_map_update_elem(env_map(env, "flows"), &other, &val, 0);
	err = sweep_all(env, &args);
	env_say(!err && args.expired == 8 && args.live == 1 && there(env, &other) &&
			!flows(env, -1),
		"N4 sweep takes the flows of an association that has ended and no other",
		"err %d, %u expired, %u live, counter %u", err, args.expired, args.live,
		flows(env, -1));
	assoc(env, other.assoc, 0);
}

/* Named by who read the map a moment ago. */
static void test_named(struct env *env)
{
	struct sweep_args args = limits();
	const struct sweep_row *row = &sweep_rows[0];
	struct flow_key named, unnamed;
	int err;

	env_reset(env, HF_ROLE_ANCHOR, 4, 0);
	flows(env, 2);
	named = put_flow(env, row, htons(1), row->limit + MARGIN, row->limit + MARGIN);
	unnamed = put_flow(env, row, htons(2), row->limit + MARGIN, row->limit + MARGIN);
	args.keys[0] = (struct flow_key){.assoc = ENV_ASSOC, .port = 9}; /* gone meanwhile */
	args.keys[1] = named;
	args.keys[2] = named;
	args.count = 3;
	err = env_sweep(env, &args);
	env_say(!err && args.expired == 1 && !args.live && !there(env, &named) &&
			there(env, &unnamed) && flows(env, -1) == 1,
		"N4 sweep of named flows takes each once, and no other",
		"err %d, %u expired, %u live, counter %u", err, args.expired, args.live,
		flows(env, -1));
	args.count = HF_SWEEP_KEYS + 1;
	err = env_sweep(env, &args);
	env_say(err == -E2BIG, "N4 sweep refuses more flows than it has room for", "err %d", err);
}

/* An entry of no association is none of ours to take: the loader's landmarks. */
static void test_landmark(struct env *env)
{
	struct sweep_args args = limits();
	struct flow_key mark = {.assoc = ~0u, .port = 1, .service = 0xffff};
	struct flow_val val = {};
	int err;

	env_reset(env, HF_ROLE_ANCHOR, 4, 0);
	bpf_map_update_elem(env_map(env, "flows"), &mark, &val, 0);
	err = sweep_all(env, &args);
	env_say(!err && !args.expired && !args.live && there(env, &mark),
		"N4 sweep leaves landmarks", "err %d, %u expired, %u live", err, args.expired,
		args.live);
}

static void test_echoes(struct env *env)
{
	struct sweep_args args = limits();
	__u8 key[64];
	int left;

	env_reset(env, HF_ROLE_MOBILE, 4, ROW_FLOW); /* stamped 1 ms after boot */
	args.limits.icmp_ms = 1;
	sweep_all(env, &args);
	left = !bpf_map_get_next_key(env_map(env, "echoes"), NULL, key);
	env_say(!left, "N1 sweep of an echo flow frees both identifiers", "%d left", left);
}

static void test_orphan(struct env *env)
{
	struct sweep_args args = limits();
	struct flow_key key = {.assoc = ENV_ASSOC, .port = 7, .service = 4000};
	struct flow_val val = {.last_up = now_ms(), .last_down = now_ms()};

	env_reset(env, HF_ROLE_ANCHOR, 4, 0);
	bpf_map_update_elem(env_map(env, "flows"), &key, &val, 0);
	sweep_all(env, &args);
	env_say(!there(env, &key), "N2 sweep takes flows of a service that is gone", "%s",
		"still there");
}

void test_sweep(struct env *env)
{
	for (size_t i = 0; i < sizeof(sweep_rows) / sizeof(sweep_rows[0]); i++)
		test_timeout(env, &sweep_rows[i]);
	test_assoc(env);
	test_named(env);
	test_landmark(env);
	test_echoes(env);
	test_orphan(env);
}
