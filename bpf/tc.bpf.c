/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The data plane on tc. Built by
 *   clang -O2 -g -target bpf -mcpu=v3 -Iinclude -I/usr/include/<triplet> -c bpf/tc.bpf.c
 */
#include "compat.h"
#include "ctx_skb.h"
#include "datapath.h"
#include "sweep.h"

static __always_inline int tc_action(const struct packet *p, enum verdict verdict, int punt)
{
	if (verdict == VERDICT_PASS)
		return TC_ACT_UNSPEC;
	count(p->reason);
	if (verdict == VERDICT_REDIRECT)
		return TC_ACT_REDIRECT;
	if (verdict == VERDICT_PUNT)
		return punt;
	return verdict == VERDICT_UP ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

/* An early fragment goes out by hf0, whose reader is the daemon. */
static __always_inline int tc_punt(ctx_t *ctx, struct packet *p)
{
	if (ctx_untag(ctx, p))
		return TC_ACT_SHOT;
	ctx->tc_index = HF_TC_PUNT;
	return bpf_redirect(hf_tun_ifindex, 0);
}

SEC("tc")
int tc_nic_ingress(ctx_t *ctx)
{
	struct packet p;
	enum verdict verdict;

	ctx_pull(ctx);
	if (!hf_tun_ifindex || !parse_packet(&p, ctx, ctx_link(ctx, &p), PARSE_WHOLE))
		return TC_ACT_UNSPEC;
	verdict = decode(ctx, &p);
	if (unlikely(verdict == VERDICT_PUNT)) {
		count(p.reason);
		return tc_punt(ctx, &p);
	}
	return tc_action(&p, verdict, TC_ACT_SHOT);
}

/* What encode does not send goes on into the TUN: the daemon parks it or answers it. */
SEC("tc")
int tc_tun_egress(ctx_t *ctx)
{
	struct packet p;

	if (ctx->tc_index == HF_TC_PUNT)
		return TC_ACT_OK;
	ctx_pull(ctx);
	if (!parse_packet(&p, ctx, ctx_link_tun(ctx, &p), PARSE_WHOLE))
		return TC_ACT_UNSPEC;
	return tc_action(&p, encode(ctx, &p, ORIGIN_TUN_OUT), TC_ACT_OK);
}

/* From the daemon: inner packets that it releases, outer fragments that it offers again. */
SEC("tc")
int tc_tun_ingress(ctx_t *ctx)
{
	struct packet p;
	enum verdict verdict;

	if (ctx->tc_index == HF_TC_DECODED) {
		ctx->tc_index = 0;
		return TC_ACT_UNSPEC;
	}
	ctx_pull(ctx);
	if (!parse_packet(&p, ctx, ctx_link_tun(ctx, &p), PARSE_WHOLE))
		return TC_ACT_UNSPEC;
	verdict = encode(ctx, &p, ORIGIN_TUN_IN);
	if (verdict == VERDICT_PASS && p.frag == FRAG_LATER)
		verdict = decode_data(ctx, &p, ORIGIN_TUN_IN);
	/* still too early: the daemon offers it again until its time is over */
	if (verdict == VERDICT_PUNT && p.reason == HF_REASON_FRAGMENT_EARLY)
		return tc_punt(ctx, &p);
	return tc_action(&p, verdict, TC_ACT_SHOT);
}

/* Run by the daemon now and then, not by packets. */
SEC("syscall")
int flow_sweep(struct sweep_args *args)
{
	return sweep_flows(args);
}

char _license[] SEC("license") = "Dual BSD/GPL";
