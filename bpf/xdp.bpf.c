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

/* Inner and outer addresses have nothing in common, so the order is a matter of speed: an
 * anchor's packets are found by one look-up to either side. */
static __always_inline enum verdict xdp_forward(ctx_t *ctx, struct packet *p)
{
	enum verdict verdict;

	if (unlikely(p->kind == KIND_ERROR)) {
		verdict = icmp_decode(ctx, p);
		return verdict == VERDICT_PASS ? icmp_encode(ctx, p, ORIGIN_NIC) : verdict;
	}
	verdict = encode_down(ctx, p, ORIGIN_NIC);
	if (verdict == VERDICT_PASS)
		verdict = decode_data(ctx, p, ORIGIN_NIC);
	return verdict == VERDICT_PASS ? encode_up(ctx, p, ORIGIN_NIC) : verdict;
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
