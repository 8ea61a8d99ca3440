/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet whose inner and outer families differ: its IP header is replaced by
 * the rules of RFC 7915 sections 4.1 and 5.1. TCP, UDP and echo without
 * options, extension headers and fragments.
 */
#ifndef HOLDFAST_BPF_CROSS_H
#define HOLDFAST_BPF_CROSS_H

#include "compat.h"
#include "csum.h"
#include "parse.h"

#define CROSS_GROWTH ((int)(sizeof(struct ipv6hdr) - sizeof(struct iphdr)))
/* RFC 7915 section 5.1: up to here an IPv4 network may cut what an IPv6 sender could not */
#define CROSS_DF_ABOVE 1260

/* How much longer the packet gets. */
static __always_inline int cross_growth(const struct packet *p, const struct rewrite *rw)
{
	if (likely(p->family == rw->family))
		return 0;
	return rw->family == 6 ? CROSS_GROWTH : -CROSS_GROWTH;
}

static __always_inline bool cross_possible(const struct packet *p, const struct rewrite *rw)
{
	if (likely(p->family == rw->family))
		return true;
	/* IPv6 has no UDP without a checksum, and to make one the whole packet must be read */
	return p->plain && p->frag == FRAG_NONE && !(p->unsummed && rw->family == 6);
}

struct cross_old {
	__u8 tos;
	__u8 ttl;
	__u64 sum; /* of the old header */
};

static __always_inline __u64 cross_sum6(const struct ipv6hdr *ip)
{
	const __u32 *word = (const __u32 *)ip;
	__u64 sum = 0;

#pragma unroll
	for (unsigned int i = 0; i < sizeof(*ip) / 4; i++)
		sum += word[i];
	return sum;
}

static __always_inline long cross_read(ctx_t *ctx, const struct packet *p, struct cross_old *old)
{
	void *ip = ctx_data(ctx) + bound(p->l3), *end = ctx_data_end(ctx);

	if (p->family == 4) {
		struct iphdr *ip4 = ip;

		if ((void *)(ip4 + 1) > end)
			return -1;
		old->tos = ip4->tos;
		old->ttl = ip4->ttl - CTX_FORWARDS;
		old->sum = 0; /* a good header sums up to nothing */
	} else {
		struct ipv6hdr *ip6 = ip;

		if ((void *)(ip6 + 1) > end)
			return -1;
		old->tos = bpf_ntohl(*(__be32 *)ip6) >> 20;
		old->ttl = ip6->hop_limit - CTX_FORWARDS;
		old->sum = cross_sum6(ip6);
	}
	return 0;
}

static __always_inline void cross_write4(struct iphdr *ip, const struct packet *p,
					 const struct rewrite *rw, const struct cross_old *old)
{
	__u32 len = p->len - CROSS_GROWTH;
	const __u32 *word = (const __u32 *)ip;
	__u64 sum = 0;

	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tos = old->tos;
	ip->tot_len = bpf_htons(len);
	ip->id = len > CROSS_DF_ABOVE ? 0 : bpf_get_prandom_u32();
	ip->frag_off = len > CROSS_DF_ABOVE ? bpf_htons(0x4000) : 0;
	ip->ttl = old->ttl;
	ip->protocol = p->proto;
	ip->check = 0;
	ip->saddr = rw->src.w[3];
	ip->daddr = rw->dst.w[3];
#pragma unroll
	for (unsigned int i = 0; i < sizeof(*ip) / 4; i++)
		sum += word[i];
	ip->check = ~csum_fold16(sum);
}

static __always_inline void cross_write6(struct ipv6hdr *ip, const struct packet *p,
					 const struct rewrite *rw, const struct cross_old *old)
{
	*(__be32 *)ip = bpf_htonl(6u << 28 | (__u32)old->tos << 20);
	ip->payload_len = bpf_htons(p->len - sizeof(struct iphdr));
	ip->nexthdr = p->proto == IPPROTO_ICMP ? IPPROTO_ICMPV6 : p->proto;
	ip->hop_limit = old->ttl;
	__builtin_memcpy(&ip->saddr, &rw->src, sizeof(rw->src));
	__builtin_memcpy(&ip->daddr, &rw->dst, sizeof(rw->dst));
}

/* Echo: another type, and ICMPv6's checksum has the pseudo header that ICMPv4's lacks. */
static __always_inline long cross_echo(ctx_t *ctx, const struct packet *p, const struct rewrite *rw,
				       __u32 rest)
{
	struct icmp_header *icmp = ctx_data(ctx) + bound(p->l4);
	bool request = !p->dport;
	__u64 pseudo, diff;
	__u16 was;

	if ((void *)(icmp + 1) > ctx_data_end(ctx))
		return -1;
	was = *(__u16 *)icmp;
	if (rw->family == 6) {
		icmp->type = request ? ICMPV6_ECHO_REQUEST : ICMPV6_ECHO_REPLY;
		pseudo = csum_sum_addr(&rw->src) + csum_sum_addr(&rw->dst) +
			 bpf_htons(IPPROTO_ICMPV6) + bpf_htons(rest);
	} else {
		icmp->type = request ? ICMP_ECHO : ICMP_ECHOREPLY;
		pseudo = csum_sum_addr(&p->src) + csum_sum_addr(&p->dst) +
			 bpf_htons(IPPROTO_ICMPV6) + bpf_htons(rest);
		pseudo = (__u32)~csum_fold32(pseudo);
	}
	diff = csum_diff16(was, *(__u16 *)icmp) +
	       csum_diff16(p->sport | p->dport, rw->sport | rw->dport);
	icmp->id = rw->sport | rw->dport;
	return ctx_csum(ctx, p, p->l4 + 2, pseudo, diff, false);
}

static __always_inline long cross_ports(ctx_t *ctx, const struct packet *p,
					const struct rewrite *rw)
{
	struct udphdr *udp = ctx_data(ctx) + bound(p->l4);
	__u64 diff = (__u64)csum_fold32(csum_diff_addr(&p->src, &rw->src)) +
		     csum_fold32(csum_diff_addr(&p->dst, &rw->dst));

	if ((void *)(udp + 1) > ctx_data_end(ctx))
		return -1;
	udp->source = rw->sport;
	udp->dest = rw->dport;
	return ctx_csum(ctx, p, p->l4 + (p->proto == IPPROTO_TCP ? 16 : 6), diff,
			csum_diff16(p->sport, rw->sport) + csum_diff16(p->dport, rw->dport), false);
}

static __noinline long cross_packet(ctx_t *ctx, struct packet *p, const struct rewrite *rw)
{
	__u32 rest = p->l3 + p->len - p->l4;
	struct cross_old old;
	__u64 sum = 0;
	void *ip, *end;

	if (cross_read(ctx, p, &old) || ctx_resize(ctx, p, rw->family))
		return -1;
	ip = ctx_data(ctx) + bound(p->l3);
	end = ctx_data_end(ctx);
	if (rw->family == 4) {
		if (ip + sizeof(struct iphdr) > end)
			return -1;
		cross_write4(ip, p, rw, &old);
	} else {
		if (ip + sizeof(struct ipv6hdr) > end)
			return -1;
		cross_write6(ip, p, rw, &old);
		sum = cross_sum6(ip);
	}
	ctx_sum_changed(ctx, sum + (__u32)~csum_fold32(old.sum));
	return p->kind == KIND_ECHO ? cross_echo(ctx, p, rw, rest) : cross_ports(ctx, p, rw);
}

#endif
