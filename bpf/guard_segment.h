/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One packet at a NIC as the guard sees it: whose it is, and if it is TCP what
 * it says. Nothing is looked up here. Rewriting goes through the kernel's
 * helpers, and not into the packet directly: for a program that writes
 * directly the kernel makes a copy of each packet that TCP still holds.
 */
#ifndef HOLDFAST_BPF_GUARD_SEGMENT_H
#define HOLDFAST_BPF_GUARD_SEGMENT_H

#include "guard_maps.h"
#include "skb.h"
#include "csum.h"

#define TCP_HEADER       ((int)sizeof(struct tcphdr))
#define OPTIONS_MAX      40
#define OPTION_END       0
#define OPTION_NOP       1
#define OPTION_MSS       2
#define OPTION_WSCALE    3
#define OPTION_SACK_OK   4
#define OPTION_SACK      5
#define OPTION_TIMESTAMP 8
#define SACK_MAX         34
#define WSCALE_MAX       14 /* RFC 7323 section 2.3 */

#define NDP_SOLICIT      135
#define NDP_ADVERTISE    136
#define NDP_MIN          24

/* Between the two comparisons of a range: LLVM would make one of them, on a register that the
 * helper does not get, and the verifier of 6.1 would not know the lower bound. */
#define one_register(x) asm volatile("" : "+r"(x))

enum way {
	WAY_IN,  /* from the peer */
	WAY_OUT, /* from us */
};

enum found {
	FOUND_OTHER,     /* neither IP nor ARP */
	FOUND_CUT,       /* goes on beyond the linear part */
	FOUND_BAD,       /* addresses are good, what follows is not */
	FOUND_NEIGHBOUR, /* ARP or NDP about `about` */
	FOUND_IP,
	FOUND_FRAGMENT, /* TCP; ports are good in the first one only */
	FOUND_TCP,
};

struct segment {
	struct packet p;
	struct guard_key key;
	struct hf_addr about; /* FOUND_NEIGHBOUR */
	__u32 seq;
	__u32 ack;
	__u32 payload; /* octets, of all segments of a GSO packet */
	__u32 tsval;
	__u32 tsecr;
	__be32 raw_ack;     /* octets 8 to 15 of the header, as they came */
	__be32 raw_control; /* data offset, flags, window */
	__u16 window;       /* not scaled */
	__u16 mss;          /* 0: not told */
	__u8 flags;         /* HF_TCP_* */
	__u8 options;       /* GUARD_TS, GUARD_SACK, GUARD_WSCALE: the segment has the option */
	__u8 wscale;
	__u8 sack_at; /* offset of the option with blocks from the TCP header; 0: there is none */
	__u8 sack_len;
	__u8 ts_at; /* offset of its sender's timestamp from the TCP header; 0: there is none */
	__u8 pad[2];
};

struct option_walk {
	__u8 bytes[64];
	__u32 pos;
	__u32 len;
	__u32 tsval;
	__u32 tsecr;
	__u16 mss;
	__u8 options;
	__u8 wscale;
	__u8 sack_at;
	__u8 sack_len;
	__u8 ts_at;
};

static __always_inline __u8 option_byte(const struct option_walk *w, __u32 at)
{
	return w->bytes[at & 63];
}

static __always_inline __u32 option_word(const struct option_walk *w, __u32 at)
{
	return (__u32)option_byte(w, at) << 24 | (__u32)option_byte(w, at + 1) << 16 |
	       (__u32)option_byte(w, at + 2) << 8 | option_byte(w, at + 3);
}

static __always_inline void option_note(struct option_walk *w, __u32 at, __u8 kind, __u8 len)
{
	if (kind == OPTION_TIMESTAMP && len == 10) {
		w->options |= GUARD_TS;
		w->ts_at = TCP_HEADER + at + 2;
		w->tsval = option_word(w, at + 2);
		w->tsecr = option_word(w, at + 6);
	} else if (kind == OPTION_SACK && len <= SACK_MAX) {
		w->sack_at = TCP_HEADER + at;
		w->sack_len = len;
	} else if (kind == OPTION_MSS && len == 4) {
		w->mss = option_byte(w, at + 2) << 8 | option_byte(w, at + 3);
	} else if (kind == OPTION_WSCALE && len == 3) {
		w->options |= GUARD_WSCALE;
		w->wscale = option_byte(w, at + 2);
		if (w->wscale > WSCALE_MAX)
			w->wscale = WSCALE_MAX;
	} else if (kind == OPTION_SACK_OK && len == 2) {
		w->options |= GUARD_SACK;
	}
}

/* What comes after a malformed option is not read, as by the kernel. */
static long option_step(__u32 i, struct option_walk *w)
{
	__u32 at = w->pos;
	__u8 kind, len;

	if (at >= w->len)
		return 1;
	kind = option_byte(w, at);
	if (kind == OPTION_END)
		return 1;
	if (kind == OPTION_NOP) {
		w->pos = at + 1;
		return 0;
	}
	if (at + 1 >= w->len)
		return 1;
	len = option_byte(w, at + 1);
	if (len < 2 || at + len > w->len)
		return 1;
	option_note(w, at, kind, len);
	w->pos = at + len;
	return 0;
}

/* bpf_loop(), for a plain loop is more than the verifier follows */
static __noinline int segment_walk_options(ctx_t *ctx, struct segment *s)
{
	__u32 len = s->p.tcp_len - TCP_HEADER;
	struct option_walk w = {.len = len};

	if (len < 4)
		return 0;
	one_register(len);
	if (len > OPTIONS_MAX)
		return 0;
	if (bpf_skb_load_bytes(ctx, s->p.l4 + TCP_HEADER, w.bytes, len))
		return 0;
	bpf_loop(OPTIONS_MAX, option_step, &w, 0);
	s->tsval = w.tsval;
	s->tsecr = w.tsecr;
	s->mss = w.mss;
	s->options = w.options;
	s->wscale = w.wscale;
	s->sack_at = w.sack_at;
	s->sack_len = w.sack_len;
	s->ts_at = w.ts_at;
	return 0;
}

/* true: these are NOP NOP timestamps, and perhaps NOP NOP SACK */
static __always_inline bool segment_common_options(struct segment *s, const __u8 *options,
						   const void *end, __u32 len)
{
	const __be32 *words = (const __be32 *)options;

	if (len < 12 || (const void *)(words + 3) > end || words[0] != bpf_htonl(0x0101080a))
		return false;
	s->options = GUARD_TS;
	s->ts_at = TCP_HEADER + 4;
	s->tsval = bpf_ntohl(words[1]);
	s->tsecr = bpf_ntohl(words[2]);
	if (len == 12)
		return true;
	if (len < 16 || (const void *)(words + 4) > end || options[12] != OPTION_NOP ||
	    options[13] != OPTION_NOP || options[14] != OPTION_SACK || options[15] != len - 14)
		return false;
	s->sack_at = TCP_HEADER + 14;
	s->sack_len = len - 14;
	return true;
}

static __always_inline enum found segment_tcp(ctx_t *ctx, struct segment *s, __u32 rest)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	void *l4 = data + bound(s->p.l4);
	struct tcphdr *tcp = l4;

	if ((void *)(tcp + 1) > end)
		return rest < sizeof(*tcp) ? FOUND_BAD : FOUND_CUT;
	s->p.tcp_len = tcp->doff * 4;
	if (s->p.tcp_len < TCP_HEADER || s->p.tcp_len > rest)
		return FOUND_BAD;
	s->seq = bpf_ntohl(tcp->seq);
	s->ack = bpf_ntohl(tcp->ack_seq);
	s->window = bpf_ntohs(tcp->window);
	s->flags = ((__u8 *)l4)[TCP_FLAG_BYTE];
	s->raw_ack = ((__be32 *)l4)[2];
	s->raw_control = ((__be32 *)l4)[3];
	s->payload = rest - s->p.tcp_len;
	if (s->p.tcp_len > TCP_HEADER &&
	    !segment_common_options(s, (void *)(tcp + 1), end, s->p.tcp_len - TCP_HEADER))
		segment_walk_options(ctx, s);
	return FOUND_TCP;
}

static __always_inline void segment_ports(struct segment *s, enum way way, __be16 sport,
					  __be16 dport)
{
	s->key.peer_port = way == WAY_IN ? sport : dport;
	s->key.local_port = way == WAY_IN ? dport : sport;
}

static __always_inline enum found segment_ndp(ctx_t *ctx, struct segment *s)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	__u8 *icmp = data + bound(s->p.l4);

	if ((void *)(icmp + NDP_MIN) > end)
		return FOUND_IP;
	if (icmp[0] != NDP_SOLICIT && icmp[0] != NDP_ADVERTISE)
		return FOUND_IP;
	__builtin_memcpy(&s->about, icmp + 8, sizeof(s->about));
	return FOUND_NEIGHBOUR;
}

static __always_inline enum found segment_transport(ctx_t *ctx, struct segment *s, enum way way)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	struct tcphdr *tcp = data + bound(s->p.l4);
	__u32 rest = s->p.l3 + s->p.len - s->p.l4;

	if (s->p.proto != IPPROTO_TCP)
		return s->p.family == 6 && s->p.proto == IPPROTO_ICMPV6 && s->p.frag == FRAG_NONE
			       ? segment_ndp(ctx, s)
			       : FOUND_IP;
	if (s->p.frag == FRAG_LATER)
		return FOUND_FRAGMENT;
	if ((void *)tcp + 8 > end)
		return rest < 8 ? FOUND_BAD : FOUND_CUT;
	segment_ports(s, way, tcp->source, tcp->dest);
	return s->p.frag == FRAG_FIRST ? FOUND_FRAGMENT : segment_tcp(ctx, s, rest);
}

static __always_inline void segment_addrs(struct segment *s, enum way way)
{
	s->key.peer = way == WAY_IN ? s->p.src : s->p.dst;
	s->key.local = way == WAY_IN ? s->p.dst : s->p.src;
}

/* A GSO packet of more than 64 KiB has no length in its header. */
static __always_inline bool segment_huge(const ctx_t *ctx, __be16 len)
{
	return unlikely(!len && ctx->gso_size);
}

static __always_inline enum found segment_ip4(ctx_t *ctx, struct segment *s, enum way way)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	struct iphdr *ip = data + bound(s->p.l3);
	__u32 hlen;

	if ((void *)(ip + 1) > end)
		return FOUND_CUT;
	if (ip->version != 4)
		return FOUND_OTHER;
	hlen = ip->ihl * 4;
	s->p.len = segment_huge(ctx, ip->tot_len) ? ctx->len - s->p.l3 : bpf_ntohs(ip->tot_len);
	addr_map(&s->p.src, ip->saddr);
	addr_map(&s->p.dst, ip->daddr);
	segment_addrs(s, way);
	s->p.family = 4;
	s->p.proto = ip->protocol;
	s->p.l4 = s->p.l3 + hlen;
	s->p.frag = ip->frag_off & bpf_htons(IP_OFFSET) ? FRAG_LATER
		    : ip->frag_off & bpf_htons(IP_MF)   ? FRAG_FIRST
							: FRAG_NONE;
	if (hlen < sizeof(*ip) || s->p.len < hlen || s->p.l3 + s->p.len > ctx->len)
		return FOUND_BAD;
	return segment_transport(ctx, s, way);
}

static __always_inline enum found segment_ip6(ctx_t *ctx, struct segment *s, enum way way)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	struct ipv6hdr *ip = data + bound(s->p.l3);

	if ((void *)(ip + 1) > end)
		return FOUND_CUT;
	if (ip->version != 6)
		return FOUND_OTHER;
	__builtin_memcpy(&s->p.src, &ip->saddr, sizeof(s->p.src));
	__builtin_memcpy(&s->p.dst, &ip->daddr, sizeof(s->p.dst));
	segment_addrs(s, way);
	s->p.len = segment_huge(ctx, ip->payload_len) ? ctx->len - s->p.l3
						      : bpf_ntohs(ip->payload_len) + sizeof(*ip);
	s->p.family = 6;
	s->p.proto = ip->nexthdr;
	s->p.frag = FRAG_NONE;
	s->p.l4 = s->p.l3 + sizeof(*ip);
	if (s->p.l3 + s->p.len > ctx->len)
		return FOUND_BAD;
	if (s->p.proto != IPPROTO_TCP && s->p.proto != IPPROTO_ICMPV6) {
		if (!parse_extensions(&s->p, ctx))
			return FOUND_CUT;
		/* more of them than are followed: what is behind them is not known */
		if (s->p.l3 + s->p.len < s->p.l4 || s->p.proto == NEXTHDR_HOP ||
		    s->p.proto == NEXTHDR_DEST || s->p.proto == NEXTHDR_ROUTING)
			return FOUND_BAD;
	}
	return segment_transport(ctx, s, way);
}

static __always_inline enum found segment_arp(ctx_t *ctx, struct segment *s, enum way way)
{
	/* ctx_link() finds no IP version and takes it for a packet without a MAC header */
	__u32 offset = s->p.tags ? s->p.l3 : sizeof(struct ethhdr);
	__u8 *arp = ctx_data(ctx) + bound(offset);

	if ((void *)(arp + 28) > ctx_data_end(ctx))
		return FOUND_CUT;
	if (*(__be16 *)(arp + 2) != bpf_htons(ETH_P_IP) || arp[4] != 6 || arp[5] != 4)
		return FOUND_OTHER;
	if (way == WAY_OUT)
		__builtin_memcpy(&s->about.w[3], arp + 14, 4);
	else
		__builtin_memcpy(&s->about.w[3], arp + 24, 4);
	s->about.w[2] = bpf_htonl(0xffff);
	return FOUND_NEIGHBOUR;
}

static __noinline int segment_parse(ctx_t *ctx, struct segment *s, enum way way)
{
	__be16 proto = ctx_link(ctx, &s->p);

	if (likely(proto == bpf_htons(ETH_P_IP)))
		return segment_ip4(ctx, s, way);
	if (proto == bpf_htons(ETH_P_IPV6))
		return segment_ip6(ctx, s, way);
	return proto == bpf_htons(ETH_P_ARP) ? segment_arp(ctx, s, way) : FOUND_OTHER;
}

/* Only what is cut is made linear: the payload of a segment stays where it is, as a receiver joins
 * segments only where the linear part holds headers alone. */
static __always_inline enum found segment_find(ctx_t *ctx, struct segment *s, enum way way)
{
	enum found found = segment_parse(ctx, s, way);

	if (likely(found != FOUND_CUT && found != FOUND_IP))
		return found;
	if (found == FOUND_IP && (s->p.family != 6 || s->p.proto != IPPROTO_ICMPV6))
		return found;
	if (ctx_short(ctx)) {
		ctx_pull(ctx);
		found = segment_parse(ctx, s, way);
	}
	return found;
}

static const __u8 nops[SACK_MAX + 2] = {
	1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
};

static __always_inline long segment_sum(ctx_t *ctx, const struct segment *s, __u64 diff)
{
	__u32 change = csum_fold32(diff);

	/* The sum in the packet and what it sums change together, whoever is to complete it. */
	return change ? bpf_l4_csum_replace(ctx, s->p.l4 + 16, 0, change, 0) : 0;
}

/* NOPs where the SACK option is. All options are summed, for it may lie at an odd offset. */
static __noinline int segment_strip_sack(ctx_t *ctx, const struct segment *s)
{
	__u32 offset = s->p.l4 + TCP_HEADER, len = s->p.tcp_len - TCP_HEADER, size = s->sack_len;
	__u8 before[OPTIONS_MAX] = {}, after[OPTIONS_MAX] = {};
	__s64 diff;

	if (len < 4 || size < 2)
		return -1;
	one_register(len);
	one_register(size);
	if (len > OPTIONS_MAX || size > SACK_MAX)
		return -1;
	if (bpf_skb_load_bytes(ctx, offset, before, len) ||
	    bpf_skb_store_bytes(ctx, s->p.l4 + s->sack_at, nops, size, 0) ||
	    bpf_skb_load_bytes(ctx, offset, after, len))
		return -1;
	diff = bpf_csum_diff((void *)before, OPTIONS_MAX, (void *)after, OPTIONS_MAX, 0);
	return diff < 0 ? -1 : segment_sum(ctx, s, (__u32)diff);
}

/* Gives the segment another sequence number. */
static __noinline int segment_renumber(ctx_t *ctx, const struct segment *s, __u32 seq)
{
	__be32 word = bpf_htonl(seq);
	__u64 diff = (__u64)word + (__u32)~bpf_htonl(s->seq);

	if (bpf_skb_store_bytes(ctx, s->p.l4 + 4, &word, sizeof(word), 0))
		return -1;
	return segment_sum(ctx, s, diff);
}

/* Gives the segment other timestamps. Those at an odd offset stay as they are: no stack that sends
 * through here lays them there. */
static __noinline int segment_restamp(ctx_t *ctx, const struct segment *s, __u32 tsval, __u32 tsecr)
{
	__be32 words[2] = {bpf_htonl(tsval), bpf_htonl(tsecr)};
	__u64 diff = (__u64)words[0] + words[1] + (__u32)~bpf_htonl(s->tsval) +
		     (__u32)~bpf_htonl(s->tsecr);

	if (s->ts_at & 1)
		return 0;
	if (bpf_skb_store_bytes(ctx, s->p.l4 + s->ts_at, words, sizeof(words), 0))
		return -1;
	return segment_sum(ctx, s, diff);
}

/* Gives the segment another acknowledgement, window (not scaled) and flags. */
static __noinline int segment_rewrite(ctx_t *ctx, const struct segment *s, __u32 ack, __u16 window,
				      __u8 flags)
{
	__be32 words[2] = {bpf_htonl(ack), 0};
	__u64 diff;

	words[1] = s->raw_control & bpf_htonl(0xff000000);
	words[1] |= bpf_htonl((__u32)flags << 16 | window);
	diff = (__u64)words[0] + words[1] + (__u32)~s->raw_ack + (__u32)~s->raw_control;
	if (bpf_skb_store_bytes(ctx, s->p.l4 + 8, words, sizeof(words), 0))
		return -1;
	return segment_sum(ctx, s, diff);
}

#endif
