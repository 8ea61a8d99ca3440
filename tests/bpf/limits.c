/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Limits, counters, stamps and events: what a packet leaves in the maps.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "tests/bpf/env.h"

#define SYN             "N1 N2 SYN of the mobile opens a flow at the anchor v4"
#define UP              "N1 N18 decode anchor tcp v4 64 octets"
#define DOWN            "N1 N18 encode anchor tcp v4 64 octets"
#define BULK            "N1 N18 encode mobile tcp v4 1200 octets"
#define BULK_IN         "N1 N18 decode mobile tcp v4 1200 octets"
#define CROSS           "N18 encode mobile tcp v4 in v6 1300 octets"
#define REPLY           "M3 a reply goes to the daemon anchor v4"
#define PING            "N1 N18 echo v4 request opens a flow at the mobile, 0 octets"
#define SEGMENT_HEADERS 52 /* IPv4, TCP with time stamps */

/* what was found once serves so long */
static const struct timespec tick = {.tv_nsec = 30000000};

struct seen {
	int fresh, refused;
	struct hf_event last;
};

static int see(void *ctx, void *data, size_t len)
{
	struct seen *seen = ctx;

	if (len < sizeof(seen->last))
		return 0;
	memcpy(&seen->last, data, sizeof(seen->last));
	seen->fresh += seen->last.type == HF_EVENT_FLOW_NEW;
	seen->refused += seen->last.type == HF_EVENT_FLOW_REFUSED;
	return 0;
}

/* Events since the last call. */
static struct seen events(struct env *env)
{
	struct seen seen = {};
	struct ring_buffer *ring = ring_buffer__new(env_map(env, "events"), see, &seen, NULL);

	if (ring)
		ring_buffer__consume(ring);
	ring_buffer__free(ring);
	return seen;
}

static struct assoc_val assoc(struct env *env)
{
	struct assoc_val val = {};
	__u32 index = ENV_ASSOC;

	bpf_map_lookup_elem(env_map(env, "assocs"), &index, &val);
	return val;
}

static struct path_val path(struct env *env)
{
	struct path_val val = {};
	__u32 index = ENV_PATH;

	bpf_map_lookup_elem(env_map(env, "paths"), &index, &val);
	return val;
}

static struct flow_val flow(struct env *env, __be16 port)
{
	struct flow_key key = {
		.assoc = ENV_ASSOC, .port = port, .service = env_service(4, IPPROTO_TCP)};
	struct flow_val val = {};

	bpf_map_lookup_elem(env_map(env, "flows"), &key, &val);
	return val;
}

static int pass(struct env *env, enum row_hook hook, bool xdp, struct sample packet)
{
	struct run run;

	if (!env_run(env, hook, xdp, env_ifindex(env, hook, 0), packet.data, packet.len, &run))
		return -2;
	return run.verdict;
}

/* The packet of a row with another source port; UDP and TCP have no checksum to be checked here. */
static struct sample from_port(const char *row, __u16 port)
{
	static __u8 copy[ENV_PACKET];
	struct sample packet = row_packet(row);
	__be16 wire = htons(port);

	memcpy(copy, packet.data, packet.len);
	memcpy(copy + 14 + 20, &wire, 2);
	packet.data = copy;
	return packet;
}

static void test_full(struct env *env, bool xdp)
{
	const char *name = xdp ? "N19 full map refuses new flows, touches none (XDP)"
			       : "N19 full map refuses new flows, touches none (tc)";
	struct flow_val val = {.created = 5};
	int fd = env_map(env, "flows"), verdict, live = 0;
	struct sample syn = row_packet(SYN);
	__u32 before;
	struct flow_key key;

	env_reset(env, HF_ROLE_ANCHOR, 4, 0);
	for (__u32 i = 0; i < ENV_FLOWS; i++) {
		key = (struct flow_key){.assoc = 99, .port = i, .service = 1};
		bpf_map_update_elem(fd, &key, &val, BPF_NOEXIST);
	}
	before = env_count(env, HF_REASON_FLOWS_FULL);
	verdict = pass(env, ROW_DECODE, xdp, syn);
	for (__u32 i = 0; i < ENV_FLOWS; i++) {
		key = (struct flow_key){.assoc = 99, .port = i, .service = 1};
		live += !bpf_map_lookup_elem(fd, &key, &val) && val.created == 5;
	}
	env_say(verdict == (xdp ? XDP_PASS : TC_ACT_SHOT) && live == ENV_FLOWS &&
			assoc(env).flows == 0 &&
			env_count(env, HF_REASON_FLOWS_FULL) - before == !xdp,
		name, "verdict %d, %d live, counter %u", verdict, live, assoc(env).flows);
}

static void test_limit(struct env *env)
{
	__u32 index = ENV_ASSOC;
	int opened = 0, refused = 0, verdict;
	struct assoc_val val;

	env_reset(env, HF_ROLE_ANCHOR, 4, 0);
	val = assoc(env);
	val.max_flows = 5;
	bpf_map_update_elem(env_map(env, "assocs"), &index, &val, 0);
	for (int twice = 0; twice < 2; twice++) {
		for (int port = 1000; port < 1020; port++) {
			verdict = pass(env, ROW_DECODE, false, from_port(SYN, port));
			opened += verdict == TC_ACT_REDIRECT;
			refused += verdict == TC_ACT_SHOT;
		}
	}
	env_say(opened == 10 && refused == 30 && assoc(env).flows == 5,
		"N19 limit of an association holds, repeated SYNs do not count twice",
		"%d opened, %d refused, counter %u", opened, refused, assoc(env).flows);
}

static void test_events(struct env *env)
{
	struct sample syn = from_port(SYN, 1234);
	struct seen seen;

	env_reset(env, HF_ROLE_ANCHOR, 4, 0);
	events(env);
	pass(env, ROW_DECODE, false, syn);
	seen = events(env);
	env_say(seen.fresh == 1 && seen.last.assoc == ENV_ASSOC && seen.last.port == htons(1234) &&
			seen.last.service == env_service(4, IPPROTO_TCP) && seen.last.time_ns,
		"N19 a new flow is announced to the daemon", "%d events", seen.fresh);

	env_reset(env, HF_ROLE_ANCHOR, 4, ROW_LIMIT);
	for (int i = 0; i < 50; i++)
		pass(env, ROW_DECODE, false, syn);
	seen = events(env);
	/* at most one a second: an earlier test may have used this one's, or a second may end in
	 * between */
	env_say(seen.refused <= 2 && assoc(env).flows == 7,
		"N19 refusals are announced at most once a second", "%d events", seen.refused);
}

static void test_counters(struct env *env)
{
	struct path_val was, is;
	struct sample packet = row_packet(BULK);
	struct run run;

	env_reset(env, HF_ROLE_MOBILE, 4, ROW_FLOW);
	was = path(env);
	pass(env, ROW_ENCODE, false, packet);
	is = path(env);
	env_say(is.tx_packets - was.tx_packets == 1 &&
			is.tx_bytes - was.tx_bytes == packet.len - 14 && is.last_tx_ns &&
			!is.rx_packets && !is.last_rx_ns,
		"M3 N5 one packet is counted and stamped when it is sent", "%llu packets",
		(unsigned long long)is.tx_packets);

	/* 1200 octets in segments of 500: 3 of them, two more headers */
	for (int known = 0; known < 2; known++) {
		was = path(env);
		env_run_gso(env, ROW_ENCODE, packet.data, packet.len, 500, known ? 3 : 0, &run);
		is = path(env);
		env_say(run.verdict == TC_ACT_REDIRECT && is.tx_packets - was.tx_packets == 3 &&
				is.tx_bytes - was.tx_bytes == packet.len - 14 + 2 * SEGMENT_HEADERS,
			known ? "N5 GSO packet is counted by its segments"
			      : "N5 GSO packet is counted by its segments, which it does not tell",
			"%llu packets, %llu octets",
			(unsigned long long)(is.tx_packets - was.tx_packets),
			(unsigned long long)(is.tx_bytes - was.tx_bytes));
	}
	packet = row_packet(BULK_IN);
	was = path(env);
	env_run_gso(env, ROW_DECODE, packet.data, packet.len, 500, 3, &run);
	is = path(env);
	env_say(is.rx_packets - was.rx_packets == 3 &&
			is.rx_bytes - was.rx_bytes == packet.len - 14 + 2 * SEGMENT_HEADERS &&
			is.last_rx_ns,
		"N5 what GRO put together is counted by its segments", "%llu packets",
		(unsigned long long)(is.rx_packets - was.rx_packets));

	env_reset(env, HF_ROLE_MOBILE, 6, ROW_FLOW);
	packet = row_packet(CROSS);
	was = path(env);
	pass(env, ROW_ENCODE, false, packet);
	is = path(env);
	env_say(is.tx_bytes - was.tx_bytes == packet.len - 14 + 20,
		"N5 N18 octets are counted as on the wire where families differ", "%llu octets",
		(unsigned long long)(is.tx_bytes - was.tx_bytes));

	env_reset(env, HF_ROLE_ANCHOR, 4, ROW_FLOW);
	packet = row_packet(REPLY);
	pass(env, ROW_DECODE, false, packet);
	is = path(env);
	env_say(is.last_rx_ns && !is.rx_packets && !is.rx_bytes,
		"M3 control packets stamp a path and are not counted", "%llu packets",
		(unsigned long long)is.rx_packets);
}

static void test_flow_state(struct env *env)
{
	__be16 port = env_port(4, IPPROTO_TCP);
	struct sample up = row_packet(UP), down = row_packet(DOWN);
	struct flow_val val;

	env_reset(env, HF_ROLE_ANCHOR, 4, ROW_FLOW);
	pass(env, ROW_DECODE, false, up);
	pass(env, ROW_ENCODE, false, down);
	val = flow(env, port);
	env_say(val.tcp_up == HF_TCP_ACK && val.tcp_down == HF_TCP_ACK && val.last_up > 1 &&
			val.last_down > 1,
		"N1 a flow keeps flags and times of both directions", "%u up, %u down", val.last_up,
		val.last_down);

	/* RFC 5382: the mobile may use a port again at once when both have said FIN */
	val.tcp_up = val.tcp_down = HF_TCP_SYN | HF_TCP_ACK | HF_TCP_FIN;
	bpf_map_update_elem(env_map(env, "flows"),
			    &(struct flow_key){.assoc = ENV_ASSOC,
					       .port = port,
					       .service = env_service(4, IPPROTO_TCP)},
			    &val, 0);
	pass(env, ROW_DECODE, false, row_packet(SYN));
	val = flow(env, port);
	env_say(val.tcp_up == HF_TCP_SYN && !val.tcp_down,
		"N1 SYN on a finished flow starts it anew", "flags %x, %x", val.tcp_up,
		val.tcp_down);
}

static void test_echo(struct env *env)
{
	int sent = 0, refused = 0, verdict;
	__u8 ping[ENV_PACKET], used[256] = {};
	struct sample packet = row_packet(PING);
	__u32 different = 0;
	struct run run;

	env_reset(env, HF_ROLE_MOBILE, 4, 0);
	memcpy(ping, packet.data, packet.len);
	/* inner identifiers that all want the same place in the block of 256; the map of flows is
	 * as large */
	for (int i = 0; i < 257; i++) {
		ping[14 + 24] = i >> 1;
		ping[14 + 25] = i & 1 ? 0x10 : 0x11;
		if (i == 256)
			ping[14 + 25] = 0x12;
		if (!env_run(env, ROW_ENCODE, false, env_ifindex(env, ROW_ENCODE, 0), ping,
			     packet.len, &run))
			continue;
		verdict = run.verdict;
		sent += verdict == TC_ACT_REDIRECT;
		refused += verdict == TC_ACT_OK;
		if (verdict == TC_ACT_REDIRECT)
			different += !used[run.data[14 + 25]]++ && run.data[14 + 24] == 0x42;
	}
	env_say(sent == 256 && refused == 1 && different == 256 && assoc(env).flows == 256,
		"N1 256 echo identifiers a service, no two alike, then refused",
		"%d sent, %d refused, %u different, %u flows", sent, refused, different,
		assoc(env).flows);
}

/* XDP sends only where it is attached, too, and natively only what came so; the rest is for tc. */
static void test_ports(struct env *env)
{
	static const struct {
		__u32 wan, lan;
		int decode;
	} ports[] = {
		{2, 2, XDP_REDIRECT}, {2, 0, XDP_PASS},     {0, 2, XDP_PASS}, {0, 0, XDP_PASS},
		{2, 1, XDP_PASS},     {1, 2, XDP_REDIRECT}, {1, 0, XDP_PASS}, {1, 1, XDP_REDIRECT},
	};
	struct sample up = row_packet(UP);
	__u64 count;
	struct run run;

	env_reset(env, HF_ROLE_ANCHOR, 4, ROW_FLOW);
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		char name[80];
		bool same;

		snprintf(name, sizeof(name), "N2 XDP from a port of kind %u to one of kind %u",
			 ports[i].wan, ports[i].lan);
		env_ports(env, ports[i].wan, ports[i].lan);
		nanosleep(&tick, NULL);
		count = env_count(env, HF_REASON_DECODED);
		env_run(env, ROW_DECODE, true, env_ifindex(env, ROW_DECODE, 0), up.data, up.len,
			&run);
		same = run.len == up.len && !memcmp(run.data, up.data, up.len);
		env_say(run.verdict == ports[i].decode && same == (run.verdict == XDP_PASS) &&
				env_count(env, HF_REASON_DECODED) - count ==
					(run.verdict == XDP_REDIRECT),
			name, "verdict %d", run.verdict);
	}
	env_ports(env, 2, 2);
}

/* A path that moves to another slot is followed at once, one that is not accepted any more is
 * refused after a tick of the clock at the latest. */
static void test_hints(struct env *env, bool xdp)
{
	const char *name = xdp ? "N5 what was known of a peer is not believed for ever (XDP)"
			       : "N5 what was known of a peer is not believed for ever (tc)";
	int redirected = xdp ? XDP_REDIRECT : TC_ACT_REDIRECT, first, moved, refused;
	struct sample up = row_packet(UP);
	__u32 old = ENV_PATH, slot = ENV_PATH + 10;
	struct path_val was, now;
	struct peer_key key;
	struct peer_val peer = {.assoc = ENV_ASSOC, .path = slot, .flags = HF_PEER_ACCEPT};

	env_reset(env, HF_ROLE_ANCHOR, 4, ROW_FLOW);
	was = path(env);
	key = (struct peer_key){.peer = was.peer, .local = was.local};
	first = pass(env, ROW_DECODE, xdp, up);
	bpf_map_update_elem(env_map(env, "paths"), &slot, &was, 0);
	bpf_map_update_elem(env_map(env, "peers"), &key, &peer, 0);
	was.used = 0;
	bpf_map_update_elem(env_map(env, "paths"), &old, &was, 0);
	moved = pass(env, ROW_DECODE, xdp, up);
	bpf_map_lookup_elem(env_map(env, "paths"), &slot, &now);
	peer.flags = 0;
	bpf_map_update_elem(env_map(env, "peers"), &key, &peer, 0);
	nanosleep(&tick, NULL);
	refused = pass(env, ROW_DECODE, xdp, up);
	env_say(first == redirected && moved == redirected && now.rx_packets == 1 &&
			refused == (xdp ? XDP_PASS : TC_ACT_SHOT),
		name, "verdicts %d, %d, %d, %llu packets by the new slot", first, moved, refused,
		now.rx_packets);
}

/* A flow that was found is known for a tick; what ends a connection is noted nevertheless, and once
 * the flow is gone no segment but a SYN comes through. */
static void test_known_flow(struct env *env, bool xdp)
{
	const char *name = xdp ? "N1 a flow that is known for a tick is no other flow (XDP)"
			       : "N1 a flow that is known for a tick is no other flow (tc)";
	int redirected = xdp ? XDP_REDIRECT : TC_ACT_REDIRECT, first, known, reset, other, gone;
	struct sample up = row_packet(UP), end = from_port(UP, ntohs(env_port(4, IPPROTO_TCP)));
	struct flow_key key = {.assoc = ENV_ASSOC,
			       .port = env_port(4, IPPROTO_TCP),
			       .service = env_service(4, IPPROTO_TCP)};
	int refused = xdp ? XDP_PASS : TC_ACT_SHOT;
	struct flow_val noted;

	env_reset(env, HF_ROLE_ANCHOR, 4, ROW_FLOW);
	first = pass(env, ROW_DECODE, xdp, up);
	known = pass(env, ROW_DECODE, xdp, up);
	((__u8 *)end.data)[14 + 20 + 13] = HF_TCP_RST | HF_TCP_ACK;
	reset = pass(env, ROW_DECODE, xdp, end);
	noted = flow(env, key.port);
	pass(env, ROW_DECODE, xdp, up);
	other = pass(env, ROW_DECODE, xdp, from_port(UP, 4));
	bpf_map_delete_elem(env_map(env, "flows"), &key);
	nanosleep(&tick, NULL);
	gone = pass(env, ROW_DECODE, xdp, up);
	env_say(first == redirected && known == redirected && reset == redirected &&
			noted.tcp_up & HF_TCP_RST && other == refused && gone == refused,
		name, "verdicts %d, %d, %d, %d, %d, flags %#x", first, known, reset, other, gone,
		noted.tcp_up);
}

/* One CPU writes the clock while another reads it, after hours without a packet: who sees half of
 * it reads the time anew, or a flow would be stamped with what was hours ago and be swept. Within
 * one of the tries both packets meet in a tick. */
static void test_torn_clock(struct env *env, bool xdp)
{
	const char *name = xdp ? "N4 a clock that is being written stamps no flow (XDP)"
			       : "N4 a clock that is being written stamps no flow (tc)";
	struct sample up = row_packet(UP);
	__u32 first = 0, then = 0, back = 0;

	env_reset(env, HF_ROLE_ANCHOR, 4, ROW_FLOW);
	for (int i = 0; i < 20; i++) {
		pass(env, ROW_DECODE, xdp, up);
		first = flow(env, env_port(4, IPPROTO_TCP)).last_up;
		env_tear_clock(env, xdp);
		pass(env, ROW_DECODE, xdp, up);
		then = flow(env, env_port(4, IPPROTO_TCP)).last_up;
		back += (__s32)(then - first) < 0;
	}
	env_say(first && !back, name, "%u of 20 went back, last from %u to %u", back, first, then);
}

/* The last octet of the MAC address that an encoded packet leaves with; 0x02: it still has its own,
 * and the kernel asks for the neighbour's. */
static int leaves_to(struct env *env)
{
	struct sample down = row_packet(DOWN);
	struct run run;

	if (!env_run(env, ROW_ENCODE, false, env_ifindex(env, ROW_ENCODE, 0), down.data, down.len,
		     &run))
		return -1;
	return run.verdict == TC_ACT_REDIRECT ? run.data[5] : -2;
}

/* The first packet of a tick asks, another next hop is never taken for the one that was asked for.
 */
static void test_neighbours(struct env *env)
{
	int first, known, moved, unknown, later;
	__u32 slot = ENV_PATH;
	struct path_val val;

	env_reset(env, HF_ROLE_ANCHOR, 4, ROW_FLOW);
	nanosleep(&tick, NULL);
	first = leaves_to(env);
	known = leaves_to(env);
	val = path(env);
	val.nexthop.w[3] = htonl(0x0a010003);
	bpf_map_update_elem(env_map(env, "paths"), &slot, &val, 0);
	moved = leaves_to(env);
	unknown = leaves_to(env);
	val.nexthop.w[3] = htonl(0x0a010002);
	bpf_map_update_elem(env_map(env, "paths"), &slot, &val, 0);
	leaves_to(env);
	nanosleep(&tick, NULL);
	later = leaves_to(env);
	env_say(first == 2 && known == 0x11 && moved == 2 && unknown == 2 && later == 2,
		"N1 a next hop's MAC address serves a tick of the clock, and that next hop alone",
		"to %x, %x, %x, %x, %x", first, known, moved, unknown, later);
}

void test_limits(struct env *env)
{
	test_neighbours(env);
	test_hints(env, false);
	test_hints(env, true);
	test_known_flow(env, false);
	test_known_flow(env, true);
	test_torn_clock(env, false);
	test_torn_clock(env, true);
	test_ports(env);
	test_full(env, false);
	test_full(env, true);
	test_limit(env);
	test_events(env);
	test_counters(env);
	test_flow_state(env);
	test_echo(env);
}
