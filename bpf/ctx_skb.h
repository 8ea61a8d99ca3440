/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tc side of what datapath.h needs from a context: ctx_xdp.h has the same
 * names. A checksum may be one that the device is still to make, or has made
 * (CHECKSUM_PARTIAL, CHECKSUM_COMPLETE).
 */
#ifndef HOLDFAST_BPF_CTX_SKB_H
#define HOLDFAST_BPF_CTX_SKB_H

#include "skb.h"

/* On tc the stack routes what was translated, and counts the hop. */
#define CTX_FORWARDS 0

const volatile __u32 hf_tun_ifindex;  /* hf0; 0: there is none, nothing is decoded */
const volatile __u16 hf_control_port; /* host order */
const volatile bool hf_csum_helpers;  /* as on a kernel that does not show its structures */

#include "csum.h"
#include "maps.h"

/* What a GSO or GRO packet is on the wire: number of packets, and their bytes. */
static __always_inline __u32 ctx_segments(const ctx_t *ctx, const struct packet *p, __u32 *bytes,
					  __u32 *largest)
{
	__u32 size = ctx->gso_size, headers, segments;

	*bytes = p->len;
	*largest = p->len;
	if (likely(!size))
		return 1;
	headers = p->l4 - p->l3 + (p->proto == IPPROTO_TCP ? p->tcp_len : sizeof(struct udphdr));
	segments = ctx->gso_segs;
	if (!segments && p->len > headers)
		segments = (p->len - headers + size - 1) / size;
	if (!segments)
		segments = 1;
	*bytes += (segments - 1) * headers;
	*largest = size + headers;
	return segments;
}

static __always_inline __sum16 *ctx_check(ctx_t *ctx, __u32 offset)
{
	__sum16 *check = ctx_data(ctx) + bound(offset);

	return (void *)(check + 1) > ctx_data_end(ctx) ? NULL : check;
}

/* <linux/skbuff.h>: of the kernel's own structure, what it knows about a packet's checksum. */
struct sk_buff {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

#define CHECKSUM_COMPLETE 2
#define CHECKSUM_PARTIAL  3

extern int LINUX_KERNEL_VERSION __kconfig;
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak; /* since Linux 6.2; costs nothing */

/* Where the kernel's structure tells what to do, a store does it; false: nothing is done, and the
 * helpers have to. They take as long as half of all the rest. */
static __always_inline bool ctx_csum_store(ctx_t *ctx, const struct packet *p, __u32 offset,
					   __u32 pseudo, __u32 diff)
{
	struct sk_buff *skb;
	__sum16 *check;
	__u8 summed;

	if (hf_csum_helpers || LINUX_KERNEL_VERSION < KERNEL_VERSION(6, 2, 0))
		return false;
	skb = bpf_cast_to_kern_ctx(ctx);
	summed = BPF_CORE_READ_BITFIELD(skb, ip_summed);
	check = ctx_check(ctx, offset);
	if (!check || summed == CHECKSUM_COMPLETE)
		return false;
	if (unlikely(p->unsummed))
		return true;
	if (summed == CHECKSUM_PARTIAL) {
		*check = csum_fold16((__u64)*check + pseudo);
		return true;
	}
	*check = csum_apply(*check, (__u64)pseudo + diff);
	if (p->proto == IPPROTO_UDP && !*check)
		*check = 0xffff;
	return true;
}

/*
 * Corrects the checksum at `offset`: `pseudo` is the difference of what only the
 * pseudo header brings under it, `diff` of all else. `undo`: the addresses
 * changed in an IPv6 header.
 *
 * To a program only a helper knows whether the sum is still to be made by the device
 * (CHECKSUM_PARTIAL), where the field holds the pseudo header's alone. What it made of the field
 * tells: the difference was added to a partial sum, but taken away from a whole one. That saves the
 * second call.
 */
static __always_inline long ctx_csum(ctx_t *ctx, const struct packet *p, __u32 offset, __u64 pseudo,
				     __u64 diff, bool undo)
{
	/* UDP over IPv4 without a checksum stays so, and 0 as a result becomes 0xffff */
	__u64 flags = p->proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 change = csum_fold32(pseudo);
	__u16 partial = 0;
	bool told;
	__sum16 *check;
	long err;

	if (likely(ctx_csum_store(ctx, p, offset, change, csum_fold32(diff))))
		return 0;
	if (change) {
		check = ctx_check(ctx, offset);
		if (!check)
			return -1;
		partial = csum_fold16((__u64)*check + change);
		err = bpf_l4_csum_replace(ctx, offset, 0, change, flags | BPF_F_PSEUDO_HDR);
		if (err)
			return err;
		/* The helper takes the change out of skb->csum (CHECKSUM_COMPLETE), which is right
		 * for IPv4, whose header checksum hides the addresses from it. In IPv6 the
		 * addresses and the checksum cancel out: put it back. The flag that tells the
		 * helper so, BPF_F_IPV6, is unknown to older kernels. An error says that there is
		 * no such sum. */
		if (undo)
			bpf_csum_update(ctx, change);
	}
	told = csum_fold16(change) != 0 && csum_fold16(change) != 0xffff;
	change = csum_fold32(diff);
	if (flags && unlikely(p->unsummed)) { /* the helper would do nothing at all */
		bpf_csum_update(ctx, change);
		return 0;
	}
	if (!change)
		return 0;
	if (!told)
		return bpf_l4_csum_replace(ctx, offset, 0, change, flags);
	check = ctx_check(ctx, offset);
	if (!check)
		return -1;
	if (*check != partial) {
		*check = csum_apply(*check, change);
		if (flags && !*check)
			*check = 0xffff;
	}
	return 0;
}

/* What else changed in the packet, for skb->csum if there is one. */
static __always_inline void ctx_sum_changed(ctx_t *ctx, __u64 diff)
{
	bpf_csum_update(ctx, csum_fold32(diff));
}

/* Makes room for, or takes away, what the headers of the other family are longer; what is left of
 * the old ones has to be written over. */
static __always_inline long ctx_resize(ctx_t *ctx, struct packet *p, __u8 family, int growth)
{
	/* what skb->protocol says cannot be changed without these octets */
	int done = family == 4 ? -HEADER_GROWTH : HEADER_GROWTH;
	long err = bpf_skb_change_proto(
		ctx, family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6), 0);

	if (err || likely(growth == done))
		return err;
	return bpf_skb_adjust_room(ctx, growth - done, BPF_ADJ_ROOM_MAC, 0);
}

/* Back by the interface that it came from. */
static __always_inline enum verdict ctx_turn(ctx_t *ctx)
{
	return bpf_redirect(ctx->ifindex, 0) == TC_ACT_REDIRECT ? VERDICT_REDIRECT : VERDICT_BROKEN;
}

#include "hop.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOPS);
	__type(key, __u32);
	__type(value, struct hop_val);
} neighbours SEC(".maps");

/*
 * The neighbour's MAC address for the rest of this tick. What is no answer is kept as well: a
 * neighbour that is not resolved, a device without MAC addresses, a next hop that is none by the
 * FIB.
 */
static __noinline void hop_refresh(ctx_t *ctx, const struct packet *p, const struct rewrite *rw,
				   const struct hf_addr *nexthop, struct hop_val *val)
{
	/* A mobile's NIC does not forward, hf0 does. A length of 1: the path's MTU was seen to, and
	 * 0 would mean the packet's. */
	val->good =
		(hop_ask(ctx, p, rw, nexthop, rw->ifindex, BPF_FIB_LOOKUP_OUTPUT, 1, &val->fib) ||
		 hop_ask(ctx, p, rw, nexthop, hf_tun_ifindex, 0, 1, &val->fib)) &&
		val->fib.ifindex == rw->ifindex &&
		(rw->family == 4 ? val->fib.ipv4_dst == nexthop->w[3]
				 : addr_equal((void *)val->fib.ipv6_dst, nexthop)) &&
		(*(__u32 *)val->fib.dmac | *(__u16 *)(val->fib.dmac + 4));
	val->route = rw->route;
	val->tick = tick_ns();
	val->from = rw->ifindex;
	val->nexthop = *nexthop;
}

/* Without a next hop the kernel's FIB would be asked for each packet, and for IPv6 it answers with
 * the best route whatever the device. */
static __always_inline const struct hf_addr *hop_next(const struct rewrite *rw)
{
	return addr_zero(rw->nexthop) ? &rw->dst : rw->nexthop;
}

/*
 * Inner packets are left to the stack's routing. Outer ones find their neighbour in the kernel's
 * table, which keeps the entry alive, but only once a tick: the rest take its address from here.
 */
static __always_inline bool hop_find(ctx_t *ctx, const struct packet *p, const struct rewrite *rw,
				     struct hop *hop, __u64 now_ns)
{
	struct hop_val *val;

	hop->val = NULL;
	if (!rw->ifindex || !now_ns)
		return true;
	val = hop_slot(&neighbours, rw->route);
	if (!val)
		return true;
	if (unlikely(val->tick != now_ns || val->route != rw->route || val->from != rw->ifindex ||
		     !addr_equal(&val->nexthop, hop_next(rw))))
		hop_refresh(ctx, p, rw, hop_next(rw), val);
	else if (val->good)
		hop->val = val;
	return true;
}

/* Takes VLAN tags away, inside the data or beside it: hf0 has none. */
static __always_inline long ctx_untag(ctx_t *ctx, struct packet *p)
{
	__u32 tags = p->tags + !!ctx->vlan_present;

	if (likely(!tags))
		return 0;
#pragma unroll
	for (__u32 i = 0; i < 3; i++) {
		if (i < tags && bpf_skb_vlan_pop(ctx))
			return -1;
	}
	p->l3 -= p->tags * 4;
	p->l4 -= p->tags * 4;
	p->tags = 0;
	return 0;
}

/* Into hf0, where the MAC header, which a NIC may not have, says the protocol. */
static __always_inline enum verdict ctx_to_tun(ctx_t *ctx, const struct packet *p, __be16 proto,
					       __u16 mark, __u64 flags)
{
	struct ethhdr *eth;

	if (unlikely(!p->l3) && bpf_skb_change_head(ctx, sizeof(*eth), 0))
		return VERDICT_BROKEN;
	eth = ctx_data(ctx);
	if ((void *)(eth + 1) > ctx_data_end(ctx))
		return VERDICT_BROKEN;
	eth->h_proto = proto;
	ctx->tc_index = mark;
	return bpf_redirect(hf_tun_ifindex, flags) == TC_ACT_REDIRECT ? VERDICT_REDIRECT
								      : VERDICT_BROKEN;
}

/* Outer packet, rewritten to an inner one at a NIC. */
static __always_inline enum verdict hop_take_inner(ctx_t *ctx, const struct packet *p,
						   const struct rewrite *rw, const struct hop *hop)
{
	return ctx_to_tun(ctx, p, rw->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6),
			  HF_TC_DECODED, BPF_F_INGRESS);
}

/* Inner packet, rewritten to an outer one on hf0. */
static __always_inline enum verdict hop_take_outer(ctx_t *ctx, const struct packet *p,
						   const struct rewrite *rw, const struct hop *hop)
{
	const struct hf_addr *nexthop = hop_next(rw);
	struct bpf_redir_neigh neigh = {};
	struct ethhdr *eth = ctx_data(ctx);

	if (hop->val && p->l3 == sizeof(*eth)) {
		if ((void *)(eth + 1) > ctx_data_end(ctx))
			return VERDICT_BROKEN;
		hop_write(eth, hop->val, rw->family);
		return bpf_redirect(rw->ifindex, 0) == TC_ACT_REDIRECT ? VERDICT_REDIRECT
								       : VERDICT_BROKEN;
	}
	if (rw->family == 4) {
		neigh.nh_family = AF_INET;
		neigh.ipv4_nh = nexthop->w[3];
	} else {
		neigh.nh_family = AF_INET6;
		__builtin_memcpy(neigh.ipv6_nh, nexthop, sizeof(neigh.ipv6_nh));
	}
	return bpf_redirect_neigh(rw->ifindex, &neigh, sizeof(neigh), 0) == TC_ACT_REDIRECT
		       ? VERDICT_REDIRECT
		       : VERDICT_BROKEN;
}

#endif
