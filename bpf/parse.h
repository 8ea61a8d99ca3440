/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One pass over the headers into one struct. Nothing is written and nothing is
 * looked up here. The shim's ctx_link() has found the IP header before.
 */
#ifndef HOLDFAST_BPF_PARSE_H
#define HOLDFAST_BPF_PARSE_H

#include "compat.h"

#define EXTENSIONS_MAX 6

#define HEADER_GROWTH  ((int)(sizeof(struct ipv6hdr) - sizeof(struct iphdr)))

struct fragment_header { /* of IPv6 */
	__u8 next;
	__u8 reserved;
	__be16 where;
	__be32 id;
};

enum packet_kind {
	KIND_OTHER, /* a protocol that is not carried */
	KIND_BAD,   /* addresses are good, what follows is not */
	KIND_PORTS, /* TCP, UDP */
	KIND_ECHO,  /* ICMP and ICMPv6 echo */
	KIND_ERROR, /* ICMP and ICMPv6 error */
};

enum packet_frag {
	FRAG_NONE,
	FRAG_FIRST,
	FRAG_LATER, /* no transport header inside */
};

struct packet {
	struct hf_addr src; /* src, dst in this order are a struct peer_key */
	struct hf_addr dst;
	__u32 l3; /* offsets from the context's data */
	__u32 l4;
	__u32 len; /* of the IP packet */
	__u32 frag_id;
	/* echo: a request has its identifier in sport, a reply in dport; the other is zero */
	__be16 sport;
	__be16 dport;
	__u8 family; /* 4 or 6 */
	__u8 proto;  /* as in struct service_key: IPPROTO_ICMP for ICMPv6 too */
	__u8 kind;
	__u8 frag;
	__u8 tcp_flags; /* HF_TCP_* */
	__u8 tcp_len;   /* of the TCP header */
	__u8 tags;      /* VLAN tags inside the data */
	__u8 unsummed;  /* UDP without a checksum */
	__u32 reason;   /* enum hf_reason; counted by the entry point unless the packet passes */
};

/* What a packet becomes. */
struct rewrite {
	struct hf_addr src;
	struct hf_addr dst;
	__be16 sport; /* echo: as in struct packet */
	__be16 dport;
	__u8 family;
	__u8 up; /* from the mobile to the correspondent */
	__u8 pad[2];
	__u64 route;   /* what its way out depends on, see rewrite_route_…(); 0: unknown */
	__u32 ifindex; /* of the path; 0: inner packet */
	const struct hf_addr *nexthop; /* of the path; unused where ifindex is 0 */
};

/* How much longer the packet gets: another header for the one, or for each of the two in an error,
 * and no options. */
static __always_inline int rewrite_growth(const struct packet *p, const struct rewrite *rw)
{
	int head = sizeof(struct iphdr);

	if (likely(p->family == rw->family))
		return 0;
	if (rw->family == 6)
		head = p->frag == FRAG_NONE
			       ? sizeof(struct ipv6hdr)
			       : sizeof(struct ipv6hdr) + sizeof(struct fragment_header);
	head -= p->l4 - p->l3;
	if (p->kind == KIND_ERROR)
		head += rw->family == 6 ? HEADER_GROWTH : -HEADER_GROWTH;
	return head;
}

/* The inner addresses of a decoded packet are those of its service and its association's host;
 * the outer ones of an encoded packet are its path's. */
static __always_inline __u64 rewrite_route_inner(const struct flow_key *key)
{
	return 1ull << 63 | (__u64)key->assoc << 16 | key->service;
}

static __always_inline __u64 rewrite_route_outer(__u32 path)
{
	return 1ull << 62 | path;
}

/* Bytes of the packet that is quoted in an ICMP error need not all be there. */
enum parse_what {
	PARSE_WHOLE,
	PARSE_QUOTED,
};

/* false: no IPv4 packet */
static __always_inline bool parse_ip4(struct packet *p, void *data, void *end, __u32 total,
				      enum parse_what what)
{
	struct iphdr *ip = data + bound(p->l3);
	__u32 hlen;

	if ((void *)(ip + 1) > end || ip->version != 4)
		return false;
	hlen = ip->ihl * 4;
	p->len = bpf_ntohs(ip->tot_len);
	if (hlen < sizeof(*ip) || p->len < hlen)
		return false;
	if (what == PARSE_WHOLE && p->l3 + p->len > total)
		return false;
	addr_map(&p->src, ip->saddr);
	addr_map(&p->dst, ip->daddr);
	p->family = 4;
	p->proto = ip->protocol;
	p->l4 = p->l3 + hlen;
	p->frag_id = ip->id;
	if (ip->frag_off & bpf_htons(IP_OFFSET))
		p->frag = FRAG_LATER;
	else if (ip->frag_off & bpf_htons(IP_MF))
		p->frag = FRAG_FIRST;
	else
		p->frag = FRAG_NONE;
	return true;
}

/* Skips extension headers; false: none of those that may stand before what we carry. */
static __noinline bool parse_extensions(struct packet *p, ctx_t *ctx)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	__u64 offset = p->l4;
	__u8 next = p->proto;

	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		__u8 *header;

		if (offset > OFFSET_MAX)
			return false;
		header = data + bound(offset);
		if ((void *)header + 8 > end)
			return false;
		if (next == NEXTHDR_FRAGMENT) {
			__be16 where = *(__be16 *)(header + 2);

			p->frag_id = *(__be32 *)(header + 4);
			if (where & bpf_htons(IP6_OFFSET))
				p->frag = FRAG_LATER;
			else if (where & bpf_htons(IP6_MF))
				p->frag = FRAG_FIRST;
			offset += 8;
		} else if (next == NEXTHDR_HOP || next == NEXTHDR_DEST ||
			   (next == NEXTHDR_ROUTING && !header[3])) {
			offset += (header[1] + 1) * 8;
		} else {
			break;
		}
		next = header[0];
		if (p->frag == FRAG_LATER)
			break;
	}
	if (offset > OFFSET_MAX)
		return false;
	p->proto = next;
	p->l4 = offset;
	return true;
}

static __always_inline bool parse_ip6(struct packet *p, ctx_t *ctx, __u32 total,
				      enum parse_what what)
{
	void *data = ctx_data(ctx), *end = ctx_data_end(ctx);
	struct ipv6hdr *ip = data + bound(p->l3);

	if ((void *)(ip + 1) > end || ip->version != 6)
		return false;
	p->len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	if (what == PARSE_WHOLE && p->l3 + p->len > total)
		return false;
	__builtin_memcpy(&p->src, &ip->saddr, sizeof(p->src));
	__builtin_memcpy(&p->dst, &ip->daddr, sizeof(p->dst));
	p->family = 6;
	p->proto = ip->nexthdr;
	p->frag = FRAG_NONE;
	p->l4 = p->l3 + sizeof(*ip);
	if (likely(p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP))
		return true;
	if (p->proto != IPPROTO_ICMPV6 && !parse_extensions(p, ctx))
		return false;
	/* ICMPv4 in IPv6 is nothing, and ICMPv6 is named as the services are */
	if (p->proto == IPPROTO_ICMP)
		p->proto = IPPROTO_RAW;
	else if (p->proto == IPPROTO_ICMPV6)
		p->proto = IPPROTO_ICMP;
	return true;
}

static __always_inline __u8 parse_icmp4(struct packet *p, const struct icmp_header *icmp)
{
	switch (icmp->type) {
	case ICMP_ECHO:
		p->sport = icmp->id;
		return KIND_ECHO;
	case ICMP_ECHOREPLY:
		p->dport = icmp->id;
		return KIND_ECHO;
	case ICMP_DEST_UNREACH:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETERPROB:
		return KIND_ERROR;
	default:
		return KIND_OTHER;
	}
}

static __always_inline __u8 parse_icmp6(struct packet *p, const struct icmp_header *icmp)
{
	switch (icmp->type) {
	case ICMPV6_ECHO_REQUEST:
		p->sport = icmp->id;
		return KIND_ECHO;
	case ICMPV6_ECHO_REPLY:
		p->dport = icmp->id;
		return KIND_ECHO;
	case ICMPV6_DEST_UNREACH:
	case ICMPV6_PKT_TOOBIG:
	case ICMPV6_TIME_EXCEED:
	case ICMPV6_PARAMPROB:
		return KIND_ERROR;
	default:
		return KIND_OTHER;
	}
}

/* Ports or identifier, and whether the transport header is all there. `rest` is what the IP
 * header leaves for it. */
static __always_inline __u8 parse_transport(struct packet *p, void *data, void *end, __u32 rest,
					    enum parse_what what)
{
	void *l4 = data + bound(p->l4);
	__u32 have = what == PARSE_QUOTED ? 8 : rest;

	p->sport = 0;
	p->dport = 0;
	p->tcp_flags = 0;
	p->tcp_len = 0;
	p->unsummed = 0;
	if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP && p->proto != IPPROTO_ICMP)
		return KIND_OTHER;
	if (p->frag == FRAG_LATER)
		return p->proto == IPPROTO_ICMP ? KIND_ECHO : KIND_PORTS;
	if (have < 8 || l4 + 8 > end)
		return KIND_BAD;
	if (p->proto == IPPROTO_ICMP)
		return p->family == 4 ? parse_icmp4(p, l4) : parse_icmp6(p, l4);
	p->sport = ((struct udphdr *)l4)->source;
	p->dport = ((struct udphdr *)l4)->dest;
	if (what == PARSE_QUOTED)
		return KIND_PORTS;
	if (p->proto == IPPROTO_UDP) {
		__u32 len = bpf_ntohs(((struct udphdr *)l4)->len);

		p->unsummed = !((struct udphdr *)l4)->check;
		/* a GSO packet's or a first fragment's field need not fit this piece */
		if (len < 8 || (len > rest && p->frag == FRAG_NONE))
			return KIND_BAD;
		return KIND_PORTS;
	}
	if (l4 + sizeof(struct tcphdr) > end)
		return KIND_BAD;
	p->tcp_len = ((struct tcphdr *)l4)->doff * 4;
	p->tcp_flags = ((__u8 *)l4)[TCP_FLAG_BYTE];
	return p->tcp_len < sizeof(struct tcphdr) || p->tcp_len > rest ? KIND_BAD : KIND_PORTS;
}

/* The IP packet at p->l3; false: nothing that could be ours. */
static __always_inline bool parse_packet(struct packet *p, ctx_t *ctx, __be16 proto,
					 enum parse_what what)
{
	__u32 total = ctx_len(ctx);

	if (proto == bpf_htons(ETH_P_IP)) {
		if (!parse_ip4(p, ctx_data(ctx), ctx_data_end(ctx), total, what))
			return false;
	} else if (proto == bpf_htons(ETH_P_IPV6)) {
		if (!parse_ip6(p, ctx, total, what))
			return false;
	} else {
		return false;
	}
	if (p->l3 + p->len < p->l4) {
		p->kind = KIND_BAD;
		return true;
	}
	p->kind =
		parse_transport(p, ctx_data(ctx), ctx_data_end(ctx), p->l3 + p->len - p->l4, what);
	return true;
}

#endif
