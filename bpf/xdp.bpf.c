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

SEC("xdp")
int xdp_nic(ctx_t *ctx)
{
	struct packet p;
	enum verdict verdict;

	if (!parse_packet(&p, ctx, ctx_link(ctx, &p), PARSE_WHOLE))
		return XDP_PASS;
	verdict = decode(ctx, &p, ORIGIN_NIC);
	if (verdict == VERDICT_PASS)
		verdict = encode(ctx, &p, ORIGIN_NIC);
	return xdp_action(&p, verdict);
}

char _license[] SEC("license") = "Dual BSD/GPL";
