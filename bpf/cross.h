/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet whose inner and outer families differ: its IP header is replaced by
 * the rules of RFC 7915 sections 4.1 and 5.1. TCP, UDP, echo and their fragments;
 * no options of IPv4, and of the extension headers of IPv6 one of eight octets,
 * which goes unless it is a fragment's.
 */
#ifndef HOLDFAST_BPF_CROSS_H
#define HOLDFAST_BPF_CROSS_H

#include "compat.h"
#include "csum.h"
#include "parse.h"

/* RFC 7915 section 5.1: up to here an IPv4 network may cut what an IPv6 sender could not */
#define CROSS_DF_ABOVE 1260

/* A fragment's header with another one before or behind it makes more than there may be. */
static __always_inline bool cross_possible(const struct packet *p, const struct rewrite *rw)
{
	if (likely(p->family == rw->family))
		return true;
	if (p->l4 - p->l3 > (p->family == 4
				     ? sizeof(struct iphdr)
				     : sizeof(struct ipv6hdr) + sizeof(struct fragment_header)))
		return false;
	/* IPv6 has no UDP without a checksum, and to make one the whole packet must be read */
	return !(p->unsummed && rw->family == 6);
}

/*
 * Octets of the packet, NULL: they are not all there. In functions as long as
 * these LLVM keeps the address of ctx->data, which the verifier does not let a
 * register have, and adds a pointer up a second time after it was compared; the
 * assembler statements are what it cannot take apart.
 */
static __always_inline void *cross_at(ctx_t *ctx, __u32 offset, __u32 octets)
{
	void *at, *end;

	asm volatile("%0 = *(u32 *)(%2 + %3)\n"
		     "%1 = *(u32 *)(%2 + %4)"
		     : "=&r"(at), "=r"(end)
		     : "r"(ctx), "i"(offsetof(ctx_t, data)), "i"(offsetof(ctx_t, data_end)));
	at += bound(offset);
	asm volatile("" : "+r"(at));
	return at + octets > end ? NULL : at;
}

/* What of the old header goes into the new one. */
struct cross_head {
	__u8 tos;
	__u8 ttl;
	__u16 where; /* fragment: offset and IP_MF, as in IPv4, host order */
	__u16 rest;  /* octets behind the header */
	__u16 quoted;
};

/* Adds up a part of the packet. */
static __always_inline long cross_sum(ctx_t *ctx, __u32 offset, const unsigned int octets,
				      __u64 *sum)
{
	const __u32 *word = cross_at(ctx, offset, octets);

	if (!word)
		return -1;
#pragma unroll
	for (unsigned int i = 0; i < octets / 4; i++)
		*sum += word[i];
	return 0;
}

static __always_inline long cross_read6(ctx_t *ctx, const struct packet *p, struct cross_head *old)
{
	struct ipv6hdr *ip = cross_at(ctx, p->l3, sizeof(*ip));
	struct fragment_header *fragment;

	if (!ip)
		return -1;
	old->tos = bpf_ntohl(*(__be32 *)ip) >> 20;
	old->ttl = ip->hop_limit;
	if (p->l4 - p->l3 > sizeof(*ip)) {
		fragment = cross_at(ctx, p->l3 + sizeof(*ip), sizeof(*fragment));
		if (!fragment)
			return -1;
		old->where = bpf_ntohs(fragment->where) >> 3;
		if (fragment->where & bpf_htons(IP6_MF))
			old->where |= IP_MF;
	}
	return 0;
}

static __always_inline long cross_read(ctx_t *ctx, const struct packet *p, struct cross_head *old)
{
	struct iphdr *ip;

	old->where = 0;
	old->rest = p->len - (p->l4 - p->l3);
	old->quoted = 0;
	if (p->family == 6)
		return cross_read6(ctx, p, old);
	ip = cross_at(ctx, p->l3, sizeof(*ip));
	if (!ip)
		return -1;
	old->tos = ip->tos;
	old->ttl = ip->ttl;
	old->where = bpf_ntohs(ip->frag_off) & (IP_MF | IP_OFFSET);
	return 0;
}

/* An identifier is needed only where somebody may cut. */
static __always_inline long cross_write4(ctx_t *ctx, const struct packet *p,
					 const struct rewrite *rw, const struct cross_head *old)
{
	struct iphdr *ip = cross_at(ctx, p->l3, sizeof(*ip));
	__u32 len = sizeof(*ip) + old->rest;
	const __u32 *word = (void *)ip;
	__u64 sum = 0;

	if (!ip)
		return -1;
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tos = old->tos;
	ip->tot_len = bpf_htons(len);
	if (p->frag != FRAG_NONE) {
		ip->id = bpf_htons(bpf_ntohl(p->frag_id));
		ip->frag_off = bpf_htons(old->where);
	} else {
		ip->id = old->quoted || len > CROSS_DF_ABOVE ? 0 : bpf_get_prandom_u32();
		ip->frag_off = len > CROSS_DF_ABOVE ? bpf_htons(IP_DF) : 0;
	}
	ip->ttl = old->ttl;
	ip->protocol = p->proto;
	ip->check = 0;
	ip->saddr = rw->src.w[3];
	ip->daddr = rw->dst.w[3];
#pragma unroll
	for (unsigned int i = 0; i < sizeof(*ip) / 4; i++)
		sum += word[i];
	ip->check = ~csum_fold16(sum);
	return 0;
}

static __always_inline long cross_write6(ctx_t *ctx, const struct packet *p,
					 const struct rewrite *rw, const struct cross_head *old)
{
	struct ipv6hdr *ip = cross_at(ctx, p->l3, sizeof(*ip));
	struct fragment_header *fragment;
	__u8 next = p->proto == IPPROTO_ICMP ? IPPROTO_ICMPV6 : p->proto;
	__u64 sum = 0;

	if (!ip)
		return -1;
	*(__be32 *)ip = bpf_htonl(6u << 28 | (__u32)old->tos << 20);
	ip->payload_len = bpf_htons(old->rest);
	ip->nexthdr = next;
	ip->hop_limit = old->ttl;
	__builtin_memcpy(&ip->saddr, &rw->src, sizeof(rw->src));
	__builtin_memcpy(&ip->daddr, &rw->dst, sizeof(rw->dst));
	/* who reads an error finds the transport header more easily without one */
	if (p->frag != FRAG_NONE && !old->quoted) {
		ip->payload_len = bpf_htons(old->rest + sizeof(*fragment));
		ip->nexthdr = NEXTHDR_FRAGMENT;
		fragment = cross_at(ctx, p->l3 + sizeof(*ip), sizeof(*fragment));
		if (!fragment)
			return -1;
		fragment->next = next;
		fragment->reserved = 0;
		fragment->where = bpf_htons((__u16)(old->where << 3) | !!(old->where & IP_MF));
		fragment->id = bpf_htonl(bpf_ntohs(p->frag_id));
		if (cross_sum(ctx, p->l3 + sizeof(*ip), sizeof(*fragment), &sum))
			return -1;
	}
	if (cross_sum(ctx, p->l3, sizeof(*ip), &sum))
		return -1;
	return csum_fold32(sum);
}

/* Returns the sum of what is written, folded to 32 bits, or -1. A function of its own, for the
 * stack's sake. */
static __noinline long cross_write(ctx_t *ctx, const struct packet *p, const struct rewrite *rw,
				   const struct cross_head *old)
{
	return rw->family == 4 ? cross_write4(ctx, p, rw, old) : cross_write6(ctx, p, rw, old);
}

/* What ICMPv6's checksum covers and ICMPv4's does not. */
static __always_inline __u64 cross_pseudo(const struct hf_addr *src, const struct hf_addr *dst,
					  __u32 len)
{
	return csum_sum_addr(src) + csum_sum_addr(dst) + bpf_htons(IPPROTO_ICMPV6) + bpf_htons(len);
}

/* Echo: another type and identifier. Returns the difference, and that of the pseudo header. */
static __always_inline __u64 cross_echo(struct icmp_header *icmp, const struct packet *p,
					const struct rewrite *rw, __u32 len, __u64 *ret_pseudo)
{
	bool request = !p->dport;
	__u16 was = *(__u16 *)icmp;

	/* The length of the whole is in no fragment. It is left out at both ends of the path, so
	 * that what the hosts see is right; between them nobody has the whole. */
	if (p->frag != FRAG_NONE)
		len = 0;
	if (rw->family == 6) {
		icmp->type = request ? ICMPV6_ECHO_REQUEST : ICMPV6_ECHO_REPLY;
		*ret_pseudo = cross_pseudo(&rw->src, &rw->dst, len);
	} else {
		icmp->type = request ? ICMP_ECHO : ICMP_ECHOREPLY;
		*ret_pseudo = (__u32)~csum_fold32(cross_pseudo(&p->src, &p->dst, len));
	}
	icmp->id = rw->sport | rw->dport;
	return csum_diff16(was, *(__u16 *)icmp) +
	       csum_diff16(p->sport | p->dport, rw->sport | rw->dport);
}

static __always_inline long cross_transport(ctx_t *ctx, const struct packet *p,
					    const struct rewrite *rw, __u32 rest)
{
	struct udphdr *udp = cross_at(ctx, p->l4, sizeof(*udp));
	__u64 pseudo, diff;

	if (!udp)
		return -1;
	if (p->kind == KIND_ECHO) {
		diff = cross_echo((void *)udp, p, rw, rest, &pseudo);
		return ctx_csum(ctx, p, p->l4 + 2, pseudo, diff, false);
	}
	pseudo = (__u64)csum_fold32(csum_diff_addr(&p->src, &rw->src)) +
		 csum_fold32(csum_diff_addr(&p->dst, &rw->dst));
	diff = csum_diff16(p->sport, rw->sport) + csum_diff16(p->dport, rw->dport);
	udp->source = rw->sport;
	udp->dest = rw->dport;
	return ctx_csum(ctx, p, p->l4 + (p->proto == IPPROTO_TCP ? 16 : 6), pseudo, diff, false);
}

static __noinline long cross_packet(ctx_t *ctx, struct packet *p, const struct rewrite *rw)
{
	int growth = rewrite_growth(p, rw);
	struct cross_head old;
	__u64 left = 0;
	long sum;

	if (cross_read(ctx, p, &old) || ctx_resize(ctx, p, rw->family, growth))
		return -1;
	/* A good header of IPv4 sums up to nothing, old or new; what is written over is the end of
	 * IPv6's, for the kernel has seen the rest go. */
	if (rw->family == 4 && cross_sum(ctx, p->l3, sizeof(struct iphdr), &left))
		return -1;
	old.ttl -= CTX_FORWARDS;
	p->l4 = p->l3 + p->len - old.rest + growth;
	sum = cross_write(ctx, p, rw, &old);
	if (sum < 0)
		return -1;
	ctx_sum_changed(ctx, (__u64)sum + (__u32)~csum_fold32(left));
	return p->frag == FRAG_LATER ? 0 : cross_transport(ctx, p, rw, old.rest);
}

#endif
