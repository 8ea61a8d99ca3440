/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An ICMP error whose families differ: RFC 7915 sections 4.2, 4.3, 5.2 and 5.3.
 * Both IP headers are replaced, and the ICMP header between them; what the error
 * quotes behind them stays, all of it.
 */
#ifndef HOLDFAST_BPF_CROSS_ERROR_H
#define HOLDFAST_BPF_CROSS_ERROR_H

#include "compat.h"
#include "cross.h"
#include "csum.h"
#include "parse.h"

#define MTU_MIN4 68
#define MTU_MIN6 1280

/* the first eight octets of an error */
union error_header {
	struct {
		__u8 type;
		__u8 code;
		__u16 check;
		__be16 unused; /* ICMPv6: upper half of the MTU, 0 */
		__be16 mtu;
	};
	__be32 word[2];
	__u64 raw;
};

/* From the quoted packet's new addresses to those of the error about it, or back: an error goes
 * against what it is about. One struct for both, for the stack's sake. */
static __always_inline void error_turn(struct rewrite *rw)
{
	struct hf_addr src = rw->src;

	rw->src = rw->dst;
	rw->dst = src;
}

/* RFC 1191 section 7: what a router's MTU may be that does not tell it. */
static __always_inline __u32 error_plateau(__u32 len)
{
	static const __u16 plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492};

#pragma unroll
	for (unsigned int i = 0; i < sizeof(plateaus) / sizeof(plateaus[0]); i++)
		if (plateaus[i] < len)
			return plateaus[i];
	return MTU_MIN6;
}

static __always_inline bool error_to6(union error_header *h, __u32 len, bool inner)
{
	__u32 mtu = bpf_ntohs(h->mtu);
	__u8 type = h->type, code = h->code;

	h->word[1] = 0;
	if (type == ICMP_TIME_EXCEEDED) {
		h->type = ICMPV6_TIME_EXCEED;
		return true;
	}
	if (type != ICMP_DEST_UNREACH)
		return false;
	h->type = ICMPV6_DEST_UNREACH;
	switch (code) {
	case ICMP_PROT_UNREACH:
		h->type = ICMPV6_PARAMPROB;
		h->code = ICMPV6_UNK_NEXTHDR;
		h->word[1] = bpf_htonl(offsetof(struct ipv6hdr, nexthdr));
		return true;
	case ICMP_PORT_UNREACH:
		h->code = ICMPV6_PORT_UNREACH;
		return true;
	case ICMP_FRAG_NEEDED:
		if (!mtu)
			mtu = error_plateau(len);
		mtu += HEADER_GROWTH;
		/* A host takes no less. The other end of the path does, for a host of IPv4. */
		if (inner && mtu < MTU_MIN6)
			mtu = MTU_MIN6;
		h->type = ICMPV6_PKT_TOOBIG;
		h->code = 0;
		h->word[1] = bpf_htonl(mtu);
		return true;
	case ICMP_NET_ANO:
	case ICMP_HOST_ANO:
	case ICMP_PKT_FILTERED:
	case ICMP_PREC_CUTOFF:
		h->code = ICMPV6_ADM_PROHIBITED;
		return true;
	case ICMP_PREC_VIOLATION:
		return false;
	default:
		h->code = ICMPV6_NOROUTE;
		return code < ICMP_PREC_VIOLATION;
	}
}

static __always_inline bool error_to4(union error_header *h)
{
	__u32 mtu = bpf_ntohl(h->word[1]);
	__u8 type = h->type, code = h->code;

	h->word[1] = 0;
	h->type = ICMP_DEST_UNREACH;
	switch (type) {
	case ICMPV6_TIME_EXCEED:
		h->type = ICMP_TIME_EXCEEDED;
		return true;
	case ICMPV6_PKT_TOOBIG:
		h->code = ICMP_FRAG_NEEDED;
		mtu = mtu < MTU_MIN4 + HEADER_GROWTH ? MTU_MIN4 : mtu - HEADER_GROWTH;
		h->mtu = bpf_htons(mtu > 0xffff ? 0xffff : mtu);
		return true;
	case ICMPV6_PARAMPROB:
		h->code = ICMP_PROT_UNREACH;
		return code == ICMPV6_UNK_NEXTHDR;
	case ICMPV6_DEST_UNREACH:
		h->code = ICMP_HOST_UNREACH;
		if (code == ICMPV6_ADM_PROHIBITED)
			h->code = ICMP_HOST_ANO;
		else if (code == ICMPV6_PORT_UNREACH)
			h->code = ICMP_PORT_UNREACH;
		return code <= ICMPV6_PORT_UNREACH;
	default:
		return false;
	}
}

/*
 * The header `raw` of an error in the family `to`, 0: there is none. `len` is the quoted packet's,
 * `inner` is not 0 where a host gets it and not the other end of the path. Extensions (RFC 4884)
 * are no longer said to be some. Not static: the verifier looks at it once and forgets which way it
 * went, else it follows every one of them through all that comes later.
 */
__noinline __u64 error_translate(__u64 raw, __u32 to, __u32 len, __u32 inner)
{
	union error_header h = {.raw = raw};

	h.check = 0;
	return (to == 4 ? error_to4(&h) : error_to6(&h, len, inner)) ? h.raw : 0;
}

static __always_inline __u64 error_header(ctx_t *ctx, const struct packet *p,
					  const struct packet *q, const struct rewrite *rw)
{
	union error_header *h = ctx_data(ctx) + bound(p->l4);

	if ((void *)(h + 1) > ctx_data_end(ctx) || !cross_possible(p, rw) || !cross_possible(q, rw))
		return 0;
	return error_translate(h->raw, rw->family, q->len, !rw->ifindex);
}

/* The sum of both headers that are replaced behind the IP header, folded to 32 bits, or -1. */
static __noinline long error_sum(ctx_t *ctx, const struct packet *p, const struct packet *q)
{
	__u32 head = q->l4 - q->l3;
	__u64 sum = 0;

	if (cross_sum(ctx, p->l4, sizeof(union error_header), &sum) ||
	    cross_sum(ctx, q->l3, sizeof(struct iphdr), &sum))
		return -1;
	if (head > sizeof(struct iphdr) &&
	    cross_sum(ctx, q->l3 + sizeof(struct iphdr), HEADER_GROWTH, &sum))
		return -1;
	if (head > sizeof(struct ipv6hdr) &&
	    cross_sum(ctx, q->l3 + sizeof(struct ipv6hdr), sizeof(struct fragment_header), &sum))
		return -1;
	return csum_fold32(sum);
}

/* `rw` is for the error. `h` is error_header()'s, with the difference that the quoted transport
 * header makes in the place of the checksum. */
static __noinline long cross_error(ctx_t *ctx, struct packet *p, struct packet *q,
				   struct rewrite *rw, union error_header *h)
{
	__u32 head = rw->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	struct cross_head old, old_q;
	__u64 sum, whole; /* of what ICMP's checksum covers, of the packet */
	struct icmp_header *icmp;
	long part;

	if (cross_read(ctx, p, &old) || cross_read(ctx, q, &old_q))
		return -1;
	part = error_sum(ctx, p, q);
	if (part < 0)
		return -1;
	sum = part;
	whole = part; /* what is to be written over, see cross_packet() */
	if (p->family == 6)
		sum += csum_fold32(cross_pseudo(&p->src, &p->dst, old.rest));
	sum = (__u64)(__u32)~csum_fold32(sum) + h->check;
	old.rest += head - (q->l4 - q->l3);
	if (ctx_resize(ctx, p, rw->family, 2 * head - (p->l4 - p->l3) - (q->l4 - q->l3)))
		return -1;
	if (rw->family == 4) {
		whole = 0;
		if (cross_sum(ctx, p->l3, 2 * sizeof(struct iphdr) + sizeof(*h), &whole))
			return -1;
	}
	whole = (__u64)(__u32)~csum_fold32(whole) + h->check;
	h->check = 0;
	old.ttl -= CTX_FORWARDS;
	old_q.quoted = 1;
	p->l4 = p->l3 + head;
	q->l3 = p->l4 + sizeof(*h);
	q->l4 = q->l3 + head;
	part = cross_write(ctx, p, rw, &old);
	if (part < 0)
		return -1;
	whole += part;
	if (rw->family == 6)
		sum += csum_fold32(cross_pseudo(&rw->src, &rw->dst, old.rest));
	icmp = cross_at(ctx, p->l4, sizeof(*h));
	if (!icmp)
		return -1;
	*(__u64 *)icmp = h->raw;
	error_turn(rw);
	if (cross_write(ctx, q, rw, &old_q) < 0)
		return -1;
	part = error_sum(ctx, p, q);
	icmp = cross_at(ctx, p->l4, sizeof(*h));
	if (part < 0 || !icmp)
		return -1;
	icmp->check = ~csum_fold16(sum + part);
	ctx_sum_changed(ctx, whole + part + icmp->check);
	return 0;
}

#endif
