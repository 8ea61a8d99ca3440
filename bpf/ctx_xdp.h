/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The XDP side of what datapath.h needs from a context: ctx_skb.h has the same
 * names. Every packet has a MAC header and is as on the wire, so checksums are
 * arithmetic; the way out is found by the FIB before anything is written.
 */
#ifndef HOLDFAST_BPF_CTX_XDP_H
#define HOLDFAST_BPF_CTX_XDP_H

#include "compat.h"

#define ctx_t struct xdp_md

/* This is a hop: it takes one from the TTL. */
#define CTX_FORWARDS 1

const volatile __u32 hf_tun_ifindex;  /* hf0; XDP itself never sends there */
const volatile __u16 hf_control_port; /* host order */

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
	return ctx_data_end(ctx) - ctx_data(ctx);
}

static __always_inline __u32 ctx_ifindex(const ctx_t *ctx)
{
	return ctx->ingress_ifindex;
}

#include "parse.h"
#include "csum.h"
#include "maps.h"

/* Finds the IP header; 0: none. */
static __always_inline __be16 ctx_link(ctx_t *ctx, struct packet *p)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	struct ethhdr *eth = data;
	__be16 proto;

	p->tags = 0;
	p->l3 = sizeof(*eth);
	if ((void *)(eth + 1) > end)
		return 0;
	proto = eth->h_proto;
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
	return proto;
}

static __always_inline __u32 ctx_segments(const ctx_t *ctx, const struct packet *p, __u32 *bytes,
					  __u32 *largest)
{
	*bytes = p->len;
	*largest = p->len;
	return 1;
}

static __always_inline long ctx_untag(ctx_t *ctx, struct packet *p)
{
	return 0; /* hop_take_…() leaves the tags behind */
}

/* As in ctx_skb.h; here both differences are the same thing. */
static __always_inline long ctx_csum(ctx_t *ctx, const struct packet *p, __u32 offset, __u64 pseudo,
				     __u64 diff, bool undo)
{
	__u16 *check = ctx_data(ctx) + bound(offset);

	if ((void *)(check + 1) > ctx_data_end(ctx))
		return -1;
	if (p->proto == IPPROTO_UDP && !*check)
		return 0;
	*check = csum_apply(*check, (__u64)csum_fold32(pseudo) + diff);
	if (p->proto == IPPROTO_UDP && !*check)
		*check = 0xffff;
	return 0;
}

static __always_inline void ctx_sum_changed(ctx_t *ctx, __u64 diff)
{
}

/* As in ctx_skb.h; VLAN tags go on this occasion, the MAC header is written later. */
static __always_inline long ctx_resize(ctx_t *ctx, struct packet *p, __u8 family, int growth)
{
	long err = bpf_xdp_adjust_head(ctx, p->tags * 4 - growth);

	p->tags = 0;
	p->l3 = sizeof(struct ethhdr);
	return err;
}

static __always_inline enum verdict ctx_turn(ctx_t *ctx)
{
	return VERDICT_TX;
}

#include "hop.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOPS);
	__type(key, __u32);
	__type(value, struct hop_val);
} hops SEC(".maps");

/*
 * Interfaces that the loader has attached this program to -> enum port. What is redirected to
 * another one (a VLAN device, a bridge, a driver that takes no frames) may be lost, and nobody is
 * told.
 */
#define PORTS 1024

enum port {
	PORT_GENERIC = 1, /* behind the driver: sends by any interface */
	PORT_NATIVE = 2,  /* in the driver: sends by its like alone */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PORTS);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

static __always_inline bool hop_possible(__u32 from, __u32 to)
{
	__u32 *in = bpf_map_lookup_elem(&ports, &from), *out = bpf_map_lookup_elem(&ports, &to);

	return in && out && *out >= *in;
}

static __noinline bool hop_look_up(ctx_t *ctx, const struct packet *p, const struct rewrite *rw,
				   struct hop_val *val, __u32 len)
{
	__u32 ifindex = rw->ifindex ? rw->ifindex : ctx->ingress_ifindex;

	val->route = 0;
	if (!hop_ask(ctx, p, rw, &rw->dst, ifindex, rw->ifindex ? BPF_FIB_LOOKUP_OUTPUT : 0, len,
		     &val->fib))
		return false;
	if (!hop_possible(ctx->ingress_ifindex, val->fib.ifindex))
		return false;
	val->route = rw->route;
	val->tick = rw->route ? tick_ns() : 0;
	val->from = ctx->ingress_ifindex;
	return true;
}

/* The way out of what the packet becomes. false: not ours to forward now. */
static __always_inline bool hop_find(ctx_t *ctx, const struct packet *p, const struct rewrite *rw,
				     struct hop *hop, __u64 now_ns)
{
	__u32 len = p->len;
	void *ip = ctx_data(ctx) + bound(p->l3);

	if (ip + sizeof(struct iphdr) > ctx_data_end(ctx))
		return false;
	if ((p->family == 4 ? ((struct iphdr *)ip)->ttl : ((struct ipv6hdr *)ip)->hop_limit) <= 1)
		return false;
	len += rewrite_growth(p, rw);
	hop->val = hop_slot(&hops, rw->route);
	if (!hop->val)
		return false;
	if (likely(hop->val->tick == now_ns && hop->val->route == rw->route &&
		   hop->val->from == ctx->ingress_ifindex && len <= hop->val->fib.mtu_result))
		return true;
	return hop_look_up(ctx, p, rw, hop->val, len);
}

static __always_inline enum verdict hop_take(ctx_t *ctx, const struct packet *p,
					     const struct rewrite *rw, const struct hop *hop)
{
	struct ethhdr *eth;

	/* drops VLAN tags: the way out has its own */
	if (p->tags && bpf_xdp_adjust_head(ctx, p->tags * 4))
		return VERDICT_BROKEN;
	eth = ctx_data(ctx);
	if ((void *)(eth + 1) > ctx_data_end(ctx))
		return VERDICT_BROKEN;
	hop_write(eth, hop->val, rw->family);
	if (hop->val->fib.ifindex == ctx->ingress_ifindex)
		return VERDICT_TX;
	return bpf_redirect(hop->val->fib.ifindex, 0) == XDP_REDIRECT ? VERDICT_REDIRECT
								      : VERDICT_BROKEN;
}

static __always_inline enum verdict hop_take_inner(ctx_t *ctx, const struct packet *p,
						   const struct rewrite *rw, const struct hop *hop)
{
	return hop_take(ctx, p, rw, hop);
}

static __always_inline enum verdict hop_take_outer(ctx_t *ctx, const struct packet *p,
						   const struct rewrite *rw, const struct hop *hop)
{
	return hop_take(ctx, p, rw, hop);
}

#endif
