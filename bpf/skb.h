/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet on tc: its octets, and where its IP header begins. What every object
 * for tc needs, whatever its maps are.
 */
#ifndef HOLDFAST_BPF_SKB_H
#define HOLDFAST_BPF_SKB_H

#include "compat.h"

#define ctx_t struct __sk_buff

/* what is made linear before parsing; headers beyond it are not understood */
#define CTX_LINEAR 192

static __always_inline void *ctx_data(const ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_data_end(const ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

static __always_inline __u32 ctx_len(const ctx_t *ctx)
{
	return ctx->len;
}

static __always_inline __u32 ctx_ifindex(const ctx_t *ctx)
{
	return ctx->ifindex;
}

#include "parse.h"

/* The headers may lie outside the linear part of a packet. */
static __always_inline bool ctx_short(const ctx_t *ctx)
{
	__u32 linear = ctx->data_end - ctx->data;

	return linear < CTX_LINEAR && linear < ctx->len;
}

static __always_inline void ctx_pull(ctx_t *ctx)
{
	/* a failure shows as headers cut short */
	bpf_skb_pull_data(ctx, ctx->len < CTX_LINEAR ? ctx->len : CTX_LINEAR);
}

/* Finds the IP header; 0: none. */
static __always_inline __be16 ctx_link(ctx_t *ctx, struct packet *p)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	__be16 proto = ctx->protocol;
	struct ethhdr *eth = data;
	__u8 version;

	p->tags = 0;
	p->l3 = sizeof(*eth);
	if ((void *)(eth + 1) + 1 > end)
		goto bare;
	/* A program is not told whether its device has MAC headers. Where the two octets and the
	 * version that follow them fit, it has; on a device without, that would take a source out
	 * of 8.0.64.0/18, and what such a packet could be taken for is refused by its lengths. */
	if (eth->h_proto != proto)
		goto bare;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		__be16 *tag = data + p->l3;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 2) > end)
			return 0;
		proto = tag[1];
		p->l3 += 4;
		p->tags++;
	}
	if (data + p->l3 + 1 > end)
		return 0;
	version = *(__u8 *)(data + p->l3) >> 4;
	if (p->tags || (version == 4 && proto == bpf_htons(ETH_P_IP)) ||
	    (version == 6 && proto == bpf_htons(ETH_P_IPV6)))
		return proto;
bare:
	p->l3 = 0;
	return ctx->protocol;
}

#endif
