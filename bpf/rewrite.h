/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes the new addresses and ports into a packet, whatever its families.
 * From here on a failure is VERDICT_BROKEN.
 */
#ifndef HOLDFAST_BPF_REWRITE_H
#define HOLDFAST_BPF_REWRITE_H

#include "compat.h"
#include "cross.h"
#include "csum.h"
#include "parse.h"

static __always_inline long rewrite_ip4(struct iphdr *ip, void *end, const struct rewrite *rw,
					__u64 diff)
{
	if ((void *)(ip + 1) > end)
		return -1;
	ip->saddr = rw->src.w[3];
	ip->daddr = rw->dst.w[3];
	if (CTX_FORWARDS) {
		/* RFC 1812 section 5.3.1: who forwards takes one away; a hop more or less is one in
		 * the high octet of its word */
		diff += csum_diff16(bpf_htons(0x0100), 0);
		ip->ttl--;
	}
	ip->check = csum_apply(ip->check, diff);
	return 0;
}

static __always_inline long rewrite_ip6(struct ipv6hdr *ip, void *end, const struct rewrite *rw)
{
	if ((void *)(ip + 1) > end)
		return -1;
	__builtin_memcpy(&ip->saddr, &rw->src, sizeof(rw->src));
	__builtin_memcpy(&ip->daddr, &rw->dst, sizeof(rw->dst));
	if (CTX_FORWARDS)
		ip->hop_limit--;
	return 0;
}

/* Ports or identifier, and the checksum that covers them. `diff` is the addresses'. */
static __always_inline long rewrite_transport(ctx_t *ctx, const struct packet *p,
					      const struct rewrite *rw, __u64 diff)
{
	void *l4 = ctx_data(ctx) + bound(p->l4);

	if (l4 + 8 > ctx_data_end(ctx))
		return -1;
	if (p->kind == KIND_ECHO) {
		struct icmp_header *icmp = l4;
		__be16 was = p->sport | p->dport, id = rw->sport | rw->dport;

		icmp->id = id;
		/* ICMPv4's checksum covers no pseudo header */
		return ctx_csum(ctx, p, p->l4 + 2, p->family == 6 ? diff : 0, csum_diff16(was, id),
				p->family == 6);
	}
	((struct udphdr *)l4)->source = rw->sport;
	((struct udphdr *)l4)->dest = rw->dport;
	return ctx_csum(ctx, p, p->l4 + (p->proto == IPPROTO_TCP ? 16 : 6), diff,
			csum_diff16(p->sport, rw->sport) + csum_diff16(p->dport, rw->dport),
			p->family == 6);
}

static __always_inline long rewrite_packet(ctx_t *ctx, struct packet *p, const struct rewrite *rw)
{
	__u64 diff =
		csum_fold32(csum_diff_addr(&p->src, &rw->src) + csum_diff_addr(&p->dst, &rw->dst));
	void *ip = ctx_data(ctx) + bound(p->l3), *end = ctx_data_end(ctx);
	long err;

	if (unlikely(p->family != rw->family))
		return cross_packet(ctx, p, rw);
	if (p->family == 4)
		err = rewrite_ip4(ip, end, rw, diff);
	else
		err = rewrite_ip6(ip, end, rw);
	if (err)
		return err;
	if (p->frag == FRAG_LATER) {
		/* nothing in this piece cancels out the addresses of IPv6 */
		if (p->family == 6)
			ctx_sum_changed(ctx, diff);
		return 0;
	}
	return rewrite_transport(ctx, p, rw, diff);
}

#endif
