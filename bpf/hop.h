/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A FIB look-up costs as much as all the rest of a packet. One serves for all packets of the same
 * tick (at most 10 ms) that go the same way: so long at most does a
 * change of routes or neighbours wait. Neither the address of the application nor its port
 * has a say in a cached one, only what rewrite_route_…() names.
 */
#ifndef HOLDFAST_BPF_HOP_H
#define HOLDFAST_BPF_HOP_H

#include "compat.h"
#include "parse.h"
#include "tick.h"

#define HOPS 1024

struct hop_val {
	__u64 route;
	__u64 tick; /* 0: serves one packet */
	__u32 from; /* XDP: interface that the packet came by; tc: that it goes out by */
	__u32 good; /* tc: what follows is an answer */
	struct hf_addr nexthop;    /* tc: asked for */
	struct bpf_fib_lookup fib; /* here, for it is too large for the stack */
};

struct hop {
	struct hop_val *val;
};

/* `map`: one of HOPS elements */
static __always_inline struct hop_val *hop_slot(void *map, __u64 route)
{
	__u32 slot = (route ^ route >> 16) & (HOPS - 1);

	return bpf_map_lookup_elem(map, &slot);
}

/* Asks for the way of what the packet becomes, to `dst`: as if it had come by `ifindex`, or, with
 * BPF_FIB_LOOKUP_OUTPUT, were to leave by it. The kernel answers only where that device forwards.
 */
static __always_inline bool hop_ask(ctx_t *ctx, const struct packet *p, const struct rewrite *rw,
				    const struct hf_addr *dst, __u32 ifindex, __u32 flags,
				    __u32 len, struct bpf_fib_lookup *fib)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->l4_protocol = p->proto;
	fib->sport = rw->sport;
	fib->dport = rw->dport;
	fib->tot_len = len;
	fib->ifindex = ifindex;
	if (rw->family == 4) {
		fib->family = AF_INET;
		fib->ipv4_src = rw->src.w[3];
		fib->ipv4_dst = dst->w[3];
	} else {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, &rw->src, sizeof(rw->src));
		__builtin_memcpy(fib->ipv6_dst, dst, sizeof(*dst));
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), flags) == BPF_FIB_LKUP_RET_SUCCESS;
}

/* `eth` in front of what the packet became. */
static __always_inline void hop_write(struct ethhdr *eth, const struct hop_val *val, __u8 family)
{
	__builtin_memcpy(eth->h_dest, val->fib.dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, val->fib.smac, ETH_ALEN);
	eth->h_proto = family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
}

#endif
