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
	if (ctx_untag(ctx, p) ||
	    ctx_to_tun(ctx, p, ctx->protocol, HF_TC_PUNT, 0) != VERDICT_REDIRECT)
		return TC_ACT_SHOT;
	return TC_ACT_REDIRECT;
}

/*
 * The headers of a TCP segment are in the linear part, its payload is not: nothing is pulled then,
 * as a receiver joins segments only where the linear part holds headers alone. Anything else, or
 * what did not parse, gets its first octets pulled.
 */
static __always_inline bool tc_parse(ctx_t *ctx, struct packet *p)
{
	bool ok = false;

	for (int i = 0; i < 2; i++) {
		ok = parse_packet(p, ctx, ctx_link(ctx, p), PARSE_WHOLE);
		if (likely(!ctx_short(ctx)) || (ok && p->proto == IPPROTO_TCP &&
						p->kind == KIND_PORTS && p->frag == FRAG_NONE))
			break;
		ctx_pull(ctx);
	}
	return ok;
}

/*
 * Inner addresses of mobiles live behind hf0. A packet that comes by a NIC and names one as it is,
 * from it at the anchor, to it at the mobile, was made by a stranger: no application may see it.
 */
static __noinline bool decode_forged(struct packet *p)
{
	struct host_val *host = bpf_map_lookup_elem(&hosts, &p->src);

	if (unlikely(host && host->role == HF_ROLE_ANCHOR))
		return true;
	host = bpf_map_lookup_elem(&hosts, &p->dst);
	return unlikely(host && host->role == HF_ROLE_MOBILE);
}

SEC("tc")
int tc_nic_ingress(ctx_t *ctx)
{
	struct packet p;
	enum verdict verdict;

	if (!hf_tun_ifindex || !tc_parse(ctx, &p))
		return TC_ACT_UNSPEC;
	verdict = decode(ctx, &p);
	if (verdict == VERDICT_PASS && decode_forged(&p)) {
		count(HF_REASON_PEER_UNKNOWN);
		return TC_ACT_SHOT;
	}
	if (unlikely(verdict == VERDICT_PUNT)) {
		count(p.reason);
		return tc_punt(ctx, &p);
	}
	return tc_action(&p, verdict, TC_ACT_SHOT);
}

/* What encode does not send goes on into the TAP: the daemon parks it or answers it. */
SEC("tc")
int tc_tun_egress(ctx_t *ctx)
{
	struct packet p;

	if (ctx->tc_index == HF_TC_PUNT)
		return TC_ACT_OK;
	if (!tc_parse(ctx, &p))
		return TC_ACT_UNSPEC;
	return tc_action(&p, encode(ctx, &p, ORIGIN_TUN_OUT), TC_ACT_OK);
}

/* From the daemon: inner packets that it releases, outer fragments that it offers again. */
SEC("tc")
int tc_tun_ingress(ctx_t *ctx)
{
	struct packet p;
	enum verdict verdict;

	/* whatever MAC address it came with, it is for us */
	if (ctx->pkt_type != PACKET_HOST)
		bpf_skb_change_type(ctx, PACKET_HOST);
	if (ctx->tc_index == HF_TC_DECODED) {
		ctx->tc_index = 0;
		return TC_ACT_UNSPEC;
	}
	if (!tc_parse(ctx, &p))
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
