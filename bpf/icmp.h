/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP and ICMPv6 errors: translated with the packet that they quote, found by
 * it, whatever router they come from (RFC 5508 sections 4 and 7). Here within one
 * family, cross_error.h between two.
 */
#ifndef HOLDFAST_BPF_ICMP_H
#define HOLDFAST_BPF_ICMP_H

#include "compat.h"
#include "assoc.h"
#include "cross_error.h"
#include "csum.h"
#include "echo.h"
#include "flow.h"
#include "parse.h"
#include "rewrite.h"

/* The packet that an error quotes. */
static __always_inline bool icmp_quoted(ctx_t *ctx, const struct packet *p, struct packet *q)
{
	q->l3 = p->l4 + sizeof(struct icmp_header);
	if (q->l3 > OFFSET_MAX ||
	    !parse_packet(q, ctx, p->family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6),
			  PARSE_QUOTED))
		return false;
	/* the quoted ports must be the packet's, not what lies behind it in the frame */
	return p->frag == FRAG_NONE && q->frag != FRAG_LATER && q->l4 + 8 <= p->l3 + p->len &&
	       (q->kind == KIND_PORTS || q->kind == KIND_ECHO) && addr_equal(&p->dst, &q->src);
}

/* Writes ports or identifier into the quoted packet. `rw` is for the error, its ports are the
 * quoted packet's. Returns what that does to a sum over it, folded to 16 bits, or -1. */
static __noinline long icmp_transport(ctx_t *ctx, const struct packet *p, const struct packet *q,
				      const struct rewrite *rw)
{
	void *l4 = ctx_data(ctx) + bound(q->l4), *end = ctx_data_end(ctx);
	__u64 pseudo =
		csum_fold32(csum_diff_addr(&q->src, &rw->dst) + csum_diff_addr(&q->dst, &rw->src));
	__u64 diff = csum_diff16(q->sport, rw->sport) + csum_diff16(q->dport, rw->dport);
	__u32 at = q->proto == IPPROTO_TCP ? 16 : q->proto == IPPROTO_UDP ? 6 : 2;
	__u16 *check, was;

	if (l4 + 8 > end)
		return -1;
	if (q->kind != KIND_ECHO) {
		((struct udphdr *)l4)->source = rw->sport;
		((struct udphdr *)l4)->dest = rw->dport;
	} else if (q->family != rw->family) {
		diff = cross_echo(l4, q, rw, q->len - (q->l4 - q->l3), &pseudo);
	} else {
		((struct icmp_header *)l4)->id = rw->sport | rw->dport;
		if (q->family == 4)
			pseudo = 0;
	}
	/* RFC 792 quotes eight octets: TCP's checksum may lie beyond */
	check = ctx_data(ctx) + bound(q->l4 + at);
	if ((void *)(check + 1) <= end && q->l4 + at + 2 <= p->l3 + p->len &&
	    (q->proto != IPPROTO_UDP || *check)) {
		was = *check;
		*check = csum_apply(was, csum_fold32(pseudo) + diff);
		if (q->proto == IPPROTO_UDP && !*check)
			*check = 0xffff;
		diff += csum_diff16(was, *check);
	}
	return csum_fold16(diff);
}

/* Both IP headers, within a family. `diff` is icmp_transport()'s. */
static __noinline long icmp_rewrite(ctx_t *ctx, const struct packet *p, const struct packet *q,
				    struct rewrite *rw, __u64 diff)
{
	void *ip = ctx_data(ctx) + bound(p->l3), *end = ctx_data_end(ctx);
	void *quoted = ctx_data(ctx) + bound(q->l3);
	__u64 addrs =
		csum_fold32(csum_diff_addr(&p->src, &rw->src) + csum_diff_addr(&p->dst, &rw->dst));
	__u64 addrs_q =
		csum_fold32(csum_diff_addr(&q->src, &rw->dst) + csum_diff_addr(&q->dst, &rw->src));

	if (p->family == 4) {
		struct iphdr *ip4 = quoted;
		__u16 was;

		if ((void *)(ip4 + 1) > end || rewrite_ip4(ip, end, rw, addrs))
			return -1;
		ip4->saddr = rw->dst.w[3];
		ip4->daddr = rw->src.w[3];
		was = ip4->check;
		ip4->check = csum_apply(was, addrs_q);
		diff += csum_diff16(was, ip4->check);
		addrs = 0; /* no pseudo header */
	} else {
		struct ipv6hdr *ip6 = quoted;

		if ((void *)(ip6 + 1) > end || rewrite_ip6(ip, end, rw))
			return -1;
		__builtin_memcpy(&ip6->saddr, &rw->dst, sizeof(rw->dst));
		__builtin_memcpy(&ip6->daddr, &rw->src, sizeof(rw->src));
	}
	/* never left to hardware, and all changes cancel out in a sum over the packet */
	return ctx_csum(ctx, p, p->l4 + 2, 0, diff + addrs + addrs_q, false);
}

/* `h` is error_header()'s where the families differ, else 0. */
static __always_inline long icmp_write(ctx_t *ctx, struct packet *p, struct packet *q,
				       struct rewrite *rw, union error_header *h)
{
	long diff = icmp_transport(ctx, p, q, rw);

	if (diff < 0)
		return -1;
	if (p->family == rw->family)
		return icmp_rewrite(ctx, p, q, rw, diff);
	h->check = diff;
	return cross_error(ctx, p, q, rw, h);
}

/* What a packet that we sent was before: its inner source and destination. */
static __always_inline bool icmp_inner(const struct packet *q, const struct assoc_val *assoc,
				       const struct service_val *service,
				       const struct flow_key *key, struct rewrite *rw)
{
	const struct hf_addr *host;
	__s32 id;

	rw->family = addr_family(&service->addr);
	host = assoc_host(assoc, rw->family);
	if (!host)
		return false;
	rw->sport = q->sport;
	rw->dport = q->dport;
	if (assoc->role == HF_ROLE_ANCHOR) {
		rw->src = service->addr;
		rw->dst = *host;
		if (q->proto != IPPROTO_ICMP)
			rw->sport = service->port;
		return true;
	}
	rw->src = *host;
	rw->dst = service->addr;
	if (q->proto != IPPROTO_ICMP) {
		rw->dport = service->port;
		return true;
	}
	id = echo_find(key, key->port, true);
	rw->sport = id;
	return id >= 0;
}

/* An error about an outer packet of ours, at a NIC. */
static __noinline enum verdict icmp_decode(ctx_t *ctx, struct packet *p)
{
	struct rewrite rw = {};
	struct service_val *service;
	struct flow_key key = {};
	struct assoc_val *assoc;
	struct peer_val *peer;
	struct path_val *path;
	struct packet q = {};
	union error_header h;
	struct hop hop;
	__u32 tags, *index;
	__be16 port;

	if (!icmp_quoted(ctx, p, &q))
		return VERDICT_PASS;
	/* a struct peer_key, for the stack's sake */
	rw.src = q.dst;
	rw.dst = q.src;
	peer = bpf_map_lookup_elem(&peers, &rw.src);
	if (!peer)
		return VERDICT_PASS;
	path = bpf_map_lookup_elem(&paths, &peer->path);
	if (!path || !path->used || !addr_equal(&path->peer, &q.dst) ||
	    !addr_equal(&path->local, &q.src))
		return VERDICT_PASS;
	key.assoc = peer->assoc;
	assoc = bpf_map_lookup_elem(&assocs, &key.assoc);
	if (!assoc || !assoc->used)
		return VERDICT_PASS;
	port = assoc->role == HF_ROLE_ANCHOR ? q.sport : q.dport;
	key.port = assoc->role == HF_ROLE_ANCHOR ? q.dport : q.sport;
	index = service_of_emulator(assoc->scope, q.kind == KIND_ECHO ? key.port : port, q.proto);
	if (!index)
		return VERDICT_PASS;
	key.service = *index;
	service = service_find(*index);
	if (!service || !bpf_map_lookup_elem(&flows, &key))
		return VERDICT_PASS;
	p->reason = HF_REASON_PEER_NOT_CURRENT;
	if (!(peer->flags & HF_PEER_ACCEPT))
		return VERDICT_REFUSE;
	p->reason = HF_REASON_UNSUPPORTED;
	if (!icmp_inner(&q, assoc, service, &key, &rw))
		return VERDICT_REFUSE;
	if (rw.family != p->family) {
		h.raw = error_header(ctx, p, &q, &rw);
		if (!h.raw)
			return VERDICT_REFUSE;
	}
	error_turn(&rw);
	if (!hop_find(ctx, p, &rw, &hop, 0))
		return VERDICT_PASS;
	p->reason = HF_REASON_HELPER_FAILED;
	tags = p->tags;
	if (ctx_untag(ctx, p))
		return VERDICT_BROKEN;
	tags -= p->tags;
	q.l3 -= tags * 4;
	q.l4 -= tags * 4;
	if (icmp_write(ctx, p, &q, &rw, &h))
		return VERDICT_BROKEN;
	p->reason = HF_REASON_DECODED;
	return hop_take_inner(ctx, p, &rw, &hop);
}

/* An error about an inner packet that came to our side. */
static __noinline enum verdict icmp_encode(ctx_t *ctx, struct packet *p, enum origin origin)
{
	struct rewrite rw = {};
	struct service_val *service;
	struct flow_key key = {};
	struct assoc_val *assoc;
	struct host_val *host;
	struct path_val *path;
	struct packet q = {};
	union error_header h;
	__u64 route;
	struct hop hop;
	bool up = true; /* the error goes from the mobile to the anchor */
	__u32 *index;
	__s32 id;

	if (!icmp_quoted(ctx, p, &q))
		return VERDICT_PASS;
	host = bpf_map_lookup_elem(&hosts, &q.dst);
	if (!host || host->role != HF_ROLE_MOBILE) {
		up = false;
		host = bpf_map_lookup_elem(&hosts, &q.src);
		if (!host || host->role != HF_ROLE_ANCHOR)
			return VERDICT_PASS;
	}
	key.assoc = host->assoc;
	p->reason = HF_REASON_NO_ASSOC;
	assoc = assoc_find(key.assoc, up ? HF_ROLE_MOBILE : HF_ROLE_ANCHOR);
	if (!assoc)
		return VERDICT_PUNT;
	p->reason = HF_REASON_NO_SERVICE;
	index = up ? service_of(&q.src, q.sport, q.proto) : service_of(&q.dst, q.dport, q.proto);
	if (!index)
		return VERDICT_PUNT;
	service = service_find(*index);
	if (!service || (up && service->assoc != key.assoc))
		return VERDICT_PUNT;
	key.service = *index;
	key.port = up ? q.dport : q.sport;
	rw.sport = q.sport;
	rw.dport = q.dport;
	p->reason = HF_REASON_NO_FLOW;
	if (q.kind == KIND_ECHO && up) {
		id = echo_find(&key, q.dport, false);
		if (id < 0)
			return VERDICT_PUNT;
		key.port = id;
		rw.dport = id;
	} else if (q.kind != KIND_ECHO && up) {
		rw.sport = service->emulator;
	} else if (q.kind != KIND_ECHO) {
		rw.dport = service->emulator;
	}
	if (!bpf_map_lookup_elem(&flows, &key))
		return VERDICT_PUNT;
	p->reason = HF_REASON_PARKED;
	path = assoc_path(assoc, origin == ORIGIN_TUN_IN, &route);
	if (!path)
		return VERDICT_PUNT;
	rw.src = path->local;
	rw.dst = path->peer;
	rw.family = path->family;
	rw.ifindex = path->ifindex;
	rw.nexthop = &path->nexthop;
	if (rw.family != p->family) {
		p->reason = HF_REASON_TOO_BIG;
		if (path->mtu && (int)p->len + rewrite_growth(p, &rw) > path->mtu)
			return VERDICT_REFUSE;
		p->reason = HF_REASON_UNSUPPORTED;
		h.raw = error_header(ctx, p, &q, &rw);
		if (!h.raw)
			return VERDICT_REFUSE;
	}
	if (!hop_find(ctx, p, &rw, &hop, 0))
		return VERDICT_PASS;
	p->reason = HF_REASON_HELPER_FAILED;
	if (icmp_write(ctx, p, &q, &rw, &h))
		return VERDICT_BROKEN;
	p->reason = HF_REASON_ENCODED;
	return hop_take_outer(ctx, p, &rw, &hop);
}

#endif
