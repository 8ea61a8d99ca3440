/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "reject.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "../addr.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>

#define HOP_LIMIT    64
#define ICMP_LEN     8
#define QUOTE_MAX_V4 576  /* whole answer: RFC 1812 section 4.3.2.3 */
#define TOS_CONTROL  0xc0 /* precedence of ICMP errors: RFC 1812 section 4.3.2.5 */

struct inner {
	bool v4;
	bool more_fragments;
	struct hf_addr src;
	struct hf_addr dst;
	uint8_t proto;
	const uint8_t *transport;
	size_t transport_len; /* by the IP header, all of it present */
};

static uint32_t sum_add(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len > 1; p += 2, len -= 2)
		sum += (uint32_t)p[0] << 8 | p[1];
	if (len)
		sum += (uint32_t)p[0] << 8;
	return sum; /* 1280 bytes cannot overflow it */
}

static uint16_t sum_end(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static bool parse_v4(const uint8_t *packet, size_t len, struct inner *ret)
{
	struct iphdr ip;
	size_t ihl, total;

	if (len < sizeof(ip))
		return false;
	memcpy(&ip, packet, sizeof(ip));
	ihl = ip.ihl * 4u;
	total = ntohs(ip.tot_len);
	if (ihl < sizeof(ip) || total < ihl || total > len || ntohs(ip.frag_off) & IP_OFFMASK)
		return false;
	ret->v4 = true;
	ret->more_fragments = ntohs(ip.frag_off) & IP_MF;
	ret->src = addr_from_v4(&ip.saddr);
	ret->dst = addr_from_v4(&ip.daddr);
	ret->proto = ip.protocol;
	ret->transport = packet + ihl;
	ret->transport_len = total - ihl;
	return true;
}

static bool parse_v6(const uint8_t *packet, size_t len, struct inner *ret)
{
	struct ip6_hdr ip;
	size_t at = sizeof(ip), end;
	uint8_t next;

	if (len < sizeof(ip))
		return false;
	memcpy(&ip, packet, sizeof(ip));
	end = at + ntohs(ip.ip6_plen);
	if (end > len)
		return false;
	ret->v4 = false;
	ret->more_fragments = false;
	ret->src = addr_from_v6(&ip.ip6_src);
	ret->dst = addr_from_v6(&ip.ip6_dst);
	next = ip.ip6_nxt;
	for (;;) {
		const uint8_t *h = packet + at;
		size_t size;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			break;
		if (end - at < 8)
			return false;
		size = 8;
		if (next == IPPROTO_FRAGMENT) {
			if ((h[2] << 8 | h[3]) & ~7)
				return false;
			ret->more_fragments = h[3] & 1;
		} else {
			size += h[1] * 8u;
		}
		if (end - at < size)
			return false;
		next = h[0];
		at += size;
	}
	ret->proto = next;
	ret->transport = packet + at;
	ret->transport_len = end - at;
	return true;
}

/* Writes the IP header and returns its length. */
static size_t put_ip(uint8_t *out, bool v4, const struct hf_addr *src, const struct hf_addr *dst,
		     uint8_t proto, uint8_t tos, size_t payload)
{
	if (v4) {
		struct iphdr ip = {
			.version = 4,
			.ihl = sizeof(ip) / 4,
			.tos = tos,
			.tot_len = htons((uint16_t)(sizeof(ip) + payload)),
			.frag_off = htons(IP_DF),
			.ttl = HOP_LIMIT,
			.protocol = proto,
		};

		memcpy(&ip.saddr, addr_bytes(src), 4);
		memcpy(&ip.daddr, addr_bytes(dst), 4);
		ip.check = sum_end(sum_add(0, &ip, sizeof(ip)));
		memcpy(out, &ip, sizeof(ip));
		return sizeof(ip);
	}
	struct ip6_hdr ip = {
		.ip6_flow = htonl(6u << 28 | (uint32_t)tos << 20),
		.ip6_plen = htons((uint16_t)payload),
		.ip6_nxt = proto,
		.ip6_hlim = HOP_LIMIT,
	};

	memcpy(&ip.ip6_src, src->b, 16);
	memcpy(&ip.ip6_dst, dst->b, 16);
	memcpy(out, &ip, sizeof(ip));
	return sizeof(ip);
}

/* RFC 9293 section 3.1, RFC 8200 section 8.1; both sum up alike. */
static uint32_t pseudo(const struct hf_addr *src, const struct hf_addr *dst, uint8_t proto,
		       size_t len)
{
	size_t size = addr_is_v4(src) ? 4 : 16;

	return sum_add(sum_add((uint32_t)proto + (uint32_t)len, addr_bytes(src), size),
		       addr_bytes(dst), size);
}

/* RFC 9293 section 3.10.7.1: sequence 0, acknowledging all that the SYN takes. */
static ssize_t build_reset(const struct inner *in, uint8_t *out, size_t cap)
{
	struct tcphdr syn, rst = {0};
	size_t at;

	if (in->more_fragments || in->transport_len < sizeof(syn))
		return 0;
	memcpy(&syn, in->transport, sizeof(syn));
	if (syn.doff * 4u < sizeof(syn) || syn.doff * 4u > in->transport_len)
		return 0;
	if (!syn.syn || syn.ack || syn.rst || syn.fin)
		return 0;
	if (cap < (in->v4 ? sizeof(struct iphdr) : sizeof(struct ip6_hdr)) + sizeof(rst))
		return -ENOSPC;
	rst.source = syn.dest;
	rst.dest = syn.source;
	rst.ack_seq = htonl(ntohl(syn.seq) + 1 + (uint32_t)(in->transport_len - syn.doff * 4u));
	rst.doff = sizeof(rst) / 4;
	rst.rst = 1;
	rst.ack = 1;
	rst.check = sum_end(
		sum_add(pseudo(&in->dst, &in->src, IPPROTO_TCP, sizeof(rst)), &rst, sizeof(rst)));
	at = put_ip(out, in->v4, &in->dst, &in->src, IPPROTO_TCP, 0, sizeof(rst));
	memcpy(out + at, &rst, sizeof(rst));
	return (ssize_t)(at + sizeof(rst));
}

static ssize_t build_icmp(const struct inner *in, const struct hf_addr *from, const uint8_t *packet,
			  uint8_t *out, size_t cap)
{
	size_t ip_len = in->v4 ? sizeof(struct iphdr) : sizeof(struct ip6_hdr);
	size_t whole = (size_t)(in->transport - packet) + in->transport_len;
	size_t quote = (in->v4 ? QUOTE_MAX_V4 : REJECT_MAX) - ip_len - ICMP_LEN;
	uint8_t icmp[ICMP_LEN] = {0};
	uint16_t check;
	uint32_t sum;

	if (quote > whole)
		quote = whole;
	if (cap < ip_len + ICMP_LEN + quote)
		return -ENOSPC;
	icmp[0] = in->v4 ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH;
	icmp[1] = in->v4 ? ICMP_PKT_FILTERED : ICMP6_DST_UNREACH_ADMIN;
	sum = in->v4 ? 0 : pseudo(from, &in->src, IPPROTO_ICMPV6, ICMP_LEN + quote);
	check = sum_end(sum_add(sum_add(sum, icmp, ICMP_LEN), packet, quote));
	memcpy(icmp + 2, &check, 2);
	put_ip(out, in->v4, from, &in->src, in->v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, TOS_CONTROL,
	       ICMP_LEN + quote);
	memcpy(out + ip_len, icmp, ICMP_LEN);
	memcpy(out + ip_len + ICMP_LEN, packet, quote);
	return (ssize_t)(ip_len + ICMP_LEN + quote);
}

ssize_t reject_build(const void *packet, size_t len, const struct hf_addr *from, uint8_t *out,
		     size_t cap)
{
	const uint8_t *p = packet;
	struct inner in;

	if (len == 0 || (p[0] >> 4 != 4 && p[0] >> 4 != 6))
		return 0;
	if (p[0] >> 4 == 4 ? !parse_v4(p, len, &in) : !parse_v6(p, len, &in))
		return 0;
	if (!addr_is_unicast(&in.src) || !addr_is_unicast(&in.dst) ||
	    addr_is_v4(&in.src) != in.v4 || addr_is_v4(&in.dst) != in.v4)
		return 0;

	switch (in.proto) {
	case IPPROTO_TCP:
		return build_reset(&in, out, cap);
	case IPPROTO_ICMP:
		if (!in.v4 || in.transport_len < ICMP_LEN || in.transport[0] != ICMP_ECHO)
			return 0; /* errors above all */
		break;
	case IPPROTO_ICMPV6:
		if (in.v4 || in.transport_len < ICMP_LEN || in.transport[0] != ICMP6_ECHO_REQUEST)
			return 0;
		break;
	case IPPROTO_NONE:
		return 0;
	default:
		break;
	}
	if (!from || addr_is_v4(from) != in.v4 || !addr_is_unicast(from))
		from = &in.dst;
	return build_icmp(&in, from, p, out, cap);
}
