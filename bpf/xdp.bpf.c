/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The data plane on XDP, for anchors that forward. Built by
 *   clang -O2 -g -target bpf -mcpu=v3 -Iinclude -I/usr/include/<triplet> -c bpf/xdp.bpf.c
 */
#include "compat.h"
#include "ctx_xdp.h"
#include "datapath.h"

/* What is not forwarded goes up as it came and meets tc, which counts it. */
static __always_inline int xdp_action(const struct packet *p, enum verdict verdict)
{
	if (verdict == VERDICT_PASS || verdict == VERDICT_PUNT || verdict == VERDICT_REFUSE)
		return XDP_PASS;
	count(p->reason);
	if (verdict == VERDICT_REDIRECT)
		return XDP_REDIRECT;
	return verdict == VERDICT_TX ? XDP_TX : XDP_DROP;
}

/*
 * Inner and outer addresses have nothing in common, so the order is a matter of speed. An interface
 * looks to the mobiles or to the servers: what its last packet was is tried first, and so
 * a packet of either side is found by one look-up.
 */
#define SIDES 256

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SIDES);
	__type(key, __u32);
	__type(value, __u32); /* 1: to the mobiles */
} sides SEC(".maps");

static __always_inline enum verdict xdp_forward(ctx_t *ctx, struct packet *p)
{
	__u32 slot = ctx->ingress_ifindex & (SIDES - 1);
	enum verdict verdict;
	__u32 *side;
	bool outer;

	if (unlikely(p->kind == KIND_ERROR)) {
		verdict = icmp_decode(ctx, p);
		return verdict == VERDICT_PASS ? icmp_encode(ctx, p, ORIGIN_NIC) : verdict;
	}
	side = bpf_map_lookup_elem(&sides, &slot);
	if (!side)
		return VERDICT_PASS;
	outer = *side;
	if (!outer) {
		verdict = encode_data(ctx, p, false, ORIGIN_NIC);
		if (verdict != VERDICT_PASS)
			return verdict;
	}
	verdict = decode_data(ctx, p, ORIGIN_NIC);
	if (verdict != VERDICT_PASS) {
		if (!outer)
			*side = 1;
		return verdict;
	}
	if (outer) {
		verdict = encode_data(ctx, p, false, ORIGIN_NIC);
		if (verdict != VERDICT_PASS) {
			*side = 0;
			return verdict;
		}
	}
	return encode_data(ctx, p, true, ORIGIN_NIC);
}

SEC("xdp")
int xdp_nic(ctx_t *ctx)
{
	struct packet p;

	if (!parse_packet(&p, ctx, ctx_link(ctx, &p), PARSE_WHOLE))
		return XDP_PASS;
	return xdp_action(&p, xdp_forward(ctx, &p));
}

char _license[] SEC("license") = "Dual BSD/GPL";
