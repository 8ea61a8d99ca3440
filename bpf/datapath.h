/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bodies that tc and XDP share: encode (inner to outer) and decode (outer
 * to inner). Everything is decided before the first write, so whatever is not
 * VERDICT_REDIRECT, _TX, _UP or _BROKEN leaves the packet as it came.
 */
#ifndef HOLDFAST_BPF_DATAPATH_H
#define HOLDFAST_BPF_DATAPATH_H

#include "compat.h"
#include "maps.h"
#include "parse.h"
#include "assoc.h"
#include "flow.h"
#include "hint.h"
#include "echo.h"
#include "frag.h"
#include "icmp.h"
#include "probe.h"
#include "cross.h"
#include "rewrite.h"

static __always_inline enum verdict verdict_for(struct packet *p, enum verdict verdict,
						__u32 reason)
{
	p->reason = reason;
	return verdict;
}

/* The flow of a packet, opened where it may be. NULL: p->reason says why. */
static __always_inline struct flow_val *datapath_flow(struct packet *p, struct flow_key *key,
						      struct assoc_val *assoc, bool up)
{
	struct flow_val *flow = bpf_map_lookup_elem(&flows, key);

	if (likely(flow))
		return flow;
	p->reason = HF_REASON_NO_FLOW;
	if (!up || !flow_may_open(p))
		return NULL;
	p->reason = flow_open(key, assoc);
	if (likely(p->reason == HF_REASON_NONE))
		return bpf_map_lookup_elem(&flows, key);
	if (p->kind == KIND_ECHO)
		echo_forget(key);
	return NULL;
}

/* Stamps the flow of a packet. false: it has none. */
static __always_inline bool datapath_touch(struct packet *p, struct flow_key *key,
					   struct assoc_val *assoc, bool up, struct hint *hint,
					   __u64 now_ns)
{
	__u8 flags = p->tcp_flags & FLOW_TCP_FLAGS;
	struct flow_val *flow;

	if (likely(hint_has_flow(hint, key->port, flags)))
		return true;
	flow = datapath_flow(p, key, assoc, up);
	if (!flow)
		return false;
	flow_touch(flow, flags, up, now_ns);
	hint_set_flow(hint, key->port, flags);
	return true;
}

/* ---- decode -------------------------------------------------------------- */

/*
 * A packet from nowhere to an emulator port of ours: the kernel would answer
 * with a RST, which would kill the connection of a mobile that has just moved.
 * Ports of hosts that we forward to are not ours.
 */
static __noinline bool decode_stranger(ctx_t *ctx, struct packet *p)
{
	struct bpf_fib_lookup fib = {};
	long found;

	if (p->kind != KIND_PORTS || p->frag == FRAG_LATER ||
	    !service_of_emulator(0, p->dport, p->proto))
		return false;
	fib.family = p->family == 4 ? AF_INET : AF_INET6;
	fib.ifindex = ctx_ifindex(ctx);
	__builtin_memcpy(fib.ipv6_src, &p->src, sizeof(p->src));
	__builtin_memcpy(fib.ipv6_dst, &p->dst, sizeof(p->dst));
	if (p->family == 4) {
		fib.ipv4_src = p->src.w[3];
		fib.ipv4_dst = p->dst.w[3];
	}
	found = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	return found < 0 || found == BPF_FIB_LKUP_RET_NOT_FWDED ||
	       found == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

static __always_inline enum verdict decode_unknown(ctx_t *ctx, struct packet *p)
{
	/* XDP leaves it to tc */
	if (!CTX_FORWARDS && decode_stranger(ctx, p))
		return verdict_for(p, VERDICT_REFUSE, HF_REASON_PEER_UNKNOWN);
	return VERDICT_PASS;
}

/* The path that a packet came by; NULL: not this one. Compared with the path's own addresses, for
 * an element of `peers` may be replaced while we read it. */
static __always_inline struct path_val *decode_path(const struct packet *p, __u32 index)
{
	struct path_val *path = bpf_map_lookup_elem(&paths, &index);

	if (!path || !path->used || !addr_equal(&path->peer, &p->src) ||
	    !addr_equal(&path->local, &p->dst))
		return NULL;
	return path;
}

static __always_inline bool decode_control(const struct packet *p)
{
	__be16 port = bpf_htons(hf_control_port);

	return (p->proto == IPPROTO_UDP || p->proto == IPPROTO_TCP) &&
	       (p->sport == port || p->dport == port);
}

/* Fills `rw` with the inner side. false: the association has no address of that family. */
static __always_inline bool decode_inner(const struct packet *p, const struct assoc_val *assoc,
					 const struct service_val *service, struct rewrite *rw)
{
	const struct hf_addr *host;

	rw->family = addr_family(&service->addr);
	rw->ifindex = 0;
	host = assoc_host(assoc, rw->family);
	if (!host)
		return false;
	rw->sport = p->sport;
	rw->dport = p->dport;
	if (rw->up) {
		rw->src = *host;
		rw->dst = service->addr;
		if (p->proto != IPPROTO_ICMP)
			rw->dport = service->port;
	} else {
		rw->src = service->addr;
		rw->dst = *host;
		if (p->proto != IPPROTO_ICMP)
			rw->sport = service->port;
	}
	return true;
}

static __always_inline enum verdict decode_send(ctx_t *ctx, struct packet *p, struct rewrite *rw,
						struct path_val *path, __u64 now_ns,
						enum origin origin)
{
	__u32 bytes, largest, packets = ctx_segments(ctx, p, &bytes, &largest);
	struct hop hop;

	if (origin == ORIGIN_NIC && !hop_find(ctx, p, rw, &hop, now_ns))
		return VERDICT_PASS;
	path_received(path, packets, bytes);
	if ((origin == ORIGIN_NIC && ctx_untag(ctx, p)) || rewrite_packet(ctx, p, rw))
		return verdict_for(p, VERDICT_BROKEN, HF_REASON_HELPER_FAILED);
	p->reason = HF_REASON_DECODED;
	if (origin != ORIGIN_NIC || (!CTX_FORWARDS && path->flags & HF_PATH_IN_PLACE))
		return VERDICT_UP;
	return hop_take_inner(ctx, p, rw, &hop);
}

static __noinline enum verdict decode_data(ctx_t *ctx, struct packet *p, enum origin origin)
{
	struct peer_val *peer = NULL; /* stays so where a hint did */
	struct flow_key key = {};
	struct service_val *service;
	struct assoc_val *assoc;
	struct path_val *path;
	struct rewrite rw;
	struct hint *hint;
	__u32 *found, index;
	__u64 now_ns = tick_ns();
	__be16 port;
	bool anchor;
	__s32 id;

	hint = hint_find(p, p->dport, false);
	if (!hint)
		return VERDICT_PASS;
	index = hint->owner;
	path = hint->tick == now_ns ? decode_path(p, index) : NULL;
	if (unlikely(!path)) {
		peer = bpf_map_lookup_elem(&peers, &p->src);
		if (!peer)
			return decode_unknown(ctx, p);
		index = peer->path;
		path = decode_path(p, index);
		if (!path)
			return decode_unknown(ctx, p);
	}
	path_heard(path, now_ns);
	if (decode_control(p))
		return probe_is(ctx, p) ? probe_answer(ctx, p) : VERDICT_PASS;
	if (p->kind == KIND_BAD)
		return verdict_for(p, VERDICT_REFUSE, HF_REASON_MALFORMED);
	if (p->kind != KIND_PORTS && p->kind != KIND_ECHO)
		return VERDICT_PASS;
	if (p->frag != FRAG_NONE && !frag_ports(p))
		return verdict_for(p, VERDICT_PUNT, HF_REASON_FRAGMENT_EARLY);

	key.assoc = path->assoc;
	assoc = bpf_map_lookup_elem(&assocs, &key.assoc);
	if (!assoc || !assoc->used)
		return VERDICT_PASS;
	anchor = assoc->role == HF_ROLE_ANCHOR;
	rw.up = anchor;
	key.port = anchor ? p->sport : p->dport;
	port = anchor ? p->dport : p->sport;
	if (p->proto == IPPROTO_ICMP) {
		/* requests come from the mobile, replies from the anchor */
		if (port)
			return VERDICT_PASS;
		port = key.port;
	}
	service = peer ? NULL : service_find(hint->service);
	key.service = hint->service;
	if (unlikely(!service || service->emulator != port || service->proto != p->proto)) {
		found = service_of_emulator(assoc->scope, port, p->proto);
		if (!found)
			return VERDICT_PASS;
		service = service_find(*found);
		if (!service)
			return VERDICT_PASS;
		if (peer && !(peer->flags & HF_PEER_ACCEPT))
			return verdict_for(p, VERDICT_REFUSE, HF_REASON_PEER_NOT_CURRENT);
		key.service = *found;
		hint_set(hint, index, *found, now_ns);
	}
	rw.route = rewrite_route_inner(&key);
	if (!decode_inner(p, assoc, service, &rw) || !cross_possible(p, &rw))
		return verdict_for(p, VERDICT_REFUSE, HF_REASON_UNSUPPORTED);
	if (p->proto == IPPROTO_ICMP && !anchor) {
		id = echo_find(&key, key.port, true);
		if (id < 0)
			return VERDICT_PASS;
		rw.dport = id;
	}
	if (!datapath_touch(p, &key, assoc, anchor, hint, now_ns))
		return verdict_for(p, VERDICT_REFUSE, p->reason);
	return decode_send(ctx, p, &rw, path, now_ns, origin);
}

/* ---- encode -------------------------------------------------------------- */

bool encode_down; /* the last packet was one to a mobile */

static __always_inline enum verdict encode_send(ctx_t *ctx, struct packet *p, struct rewrite *rw,
						struct path_val *path, __u64 now_ns)
{
	__u32 bytes, largest, packets = ctx_segments(ctx, p, &bytes, &largest);
	int growth = rewrite_growth(p, rw);
	struct hop hop;

	if (path->mtu && largest + growth > path->mtu)
		return verdict_for(p, VERDICT_PUNT, HF_REASON_TOO_BIG);
	if (!hop_find(ctx, p, rw, &hop, now_ns))
		return VERDICT_PASS;
	path_sent(path, packets, bytes + growth * packets, now_ns);
	if (rewrite_packet(ctx, p, rw))
		return verdict_for(p, VERDICT_BROKEN, HF_REASON_HELPER_FAILED);
	p->reason = HF_REASON_ENCODED;
	return hop_take_outer(ctx, p, rw, &hop);
}

/* Identifiers of an echo packet: requests go from the mobile, replies to it. */
static __always_inline bool encode_echo(struct packet *p, struct flow_key *key,
					const struct service_val *service, struct rewrite *rw)
{
	__s32 id;

	p->reason = HF_REASON_NO_FLOW;
	if (!rw->up)
		return !p->sport;
	if (p->dport)
		return false;
	id = echo_find(key, p->sport, false);
	if (id < 0) {
		if (p->frag == FRAG_LATER)
			return false;
		p->reason = HF_REASON_ECHO_FULL;
		id = echo_open(key, p->sport, service->emulator);
		if (id < 0)
			return false;
	}
	key->port = id;
	rw->sport = id;
	return true;
}

/* `up`: for a mobile that we are, else for one whose anchor we are. */
static __noinline enum verdict encode_data(ctx_t *ctx, struct packet *p, bool up,
					   enum origin origin)
{
	const struct hf_addr *inner = up ? &p->src : &p->dst, *far = up ? &p->dst : &p->src;
	__u64 now_ns = tick_ns();
	__u8 role = up ? HF_ROLE_MOBILE : HF_ROLE_ANCHOR;
	struct host_val *host = NULL; /* stays so where a hint did */
	struct service_val *service;
	struct flow_key key = {};
	struct assoc_val *assoc;
	struct path_val *path;
	struct rewrite rw;
	struct hint *hint;
	__u32 *found;
	__be16 port;

	hint = hint_find(p, up ? p->dport : p->sport, true);
	if (!hint)
		return VERDICT_PASS;
	key.assoc = hint->owner;
	assoc = hint->tick == now_ns ? assoc_find(key.assoc, role) : NULL;
	if (unlikely(!assoc || !assoc_is_host(assoc, inner, p->family))) {
		host = bpf_map_lookup_elem(&hosts, inner);
		if (!host || host->role != role)
			return VERDICT_PASS;
		key.assoc = host->assoc;
		assoc = assoc_find(key.assoc, role);
	}
	if (p->kind == KIND_BAD)
		return verdict_for(p, VERDICT_REFUSE, HF_REASON_MALFORMED);
	if (p->kind != KIND_PORTS && p->kind != KIND_ECHO)
		return verdict_for(p, VERDICT_PUNT, HF_REASON_UNSUPPORTED);
	if (p->frag != FRAG_NONE && !frag_ports(p))
		return verdict_for(p, VERDICT_PUNT, HF_REASON_FRAGMENT_EARLY);

	if (!assoc)
		return verdict_for(p, VERDICT_PUNT, HF_REASON_NO_ASSOC);
	port = up ? p->dport : p->sport;
	service = host ? NULL : service_find(hint->service);
	key.service = hint->service;
	if (unlikely(!service || service->port != port || service->proto != p->proto ||
		     !addr_equal(&service->addr, far))) {
		found = service_of(far, port, p->proto);
		if (!found)
			return verdict_for(p, VERDICT_PUNT, HF_REASON_NO_SERVICE);
		service = service_find(*found);
		if (!service || (up && service->assoc != key.assoc))
			return verdict_for(p, VERDICT_PUNT, HF_REASON_NO_SERVICE);
		key.service = *found;
		hint_set(hint, key.assoc, *found, now_ns);
	}
	key.port = up ? p->sport : p->dport;
	rw.up = up;
	rw.sport = p->sport;
	rw.dport = p->dport;
	if (unlikely(p->proto == IPPROTO_ICMP)) {
		if (!encode_echo(p, &key, service, &rw))
			return verdict_for(p, VERDICT_PUNT, p->reason);
	} else if (up) {
		rw.dport = service->emulator;
	} else {
		rw.sport = service->emulator;
	}
	if (!datapath_touch(p, &key, assoc, up, hint, now_ns))
		return verdict_for(p, VERDICT_PUNT, p->reason);
	path = assoc_path(assoc, origin == ORIGIN_TUN_IN, &rw.route);
	if (!path)
		return verdict_for(p, VERDICT_PUNT, HF_REASON_PARKED);
	rw.src = path->local;
	rw.dst = path->peer;
	rw.family = path->family;
	rw.ifindex = path->ifindex;
	rw.nexthop = &path->nexthop;
	if (!cross_possible(p, &rw))
		return verdict_for(p, VERDICT_PUNT, HF_REASON_UNSUPPORTED);
	return encode_send(ctx, p, &rw, path, now_ns);
}

/* ---- both ----------------------------------------------------------------- */

/* Functions of their own beside each other, not below each other: the stack is 512 octets. */
static __always_inline enum verdict decode(ctx_t *ctx, struct packet *p)
{
	return unlikely(p->kind == KIND_ERROR) ? icmp_decode(ctx, p)
					       : decode_data(ctx, p, ORIGIN_NIC);
}

/*
 * What the last packet was is tried first: a host is a mobile or an anchor, and that a packet
 * belongs to no host of the other role costs a look-up.
 */
static __always_inline enum verdict encode(ctx_t *ctx, struct packet *p, enum origin origin)
{
	bool down = encode_down;
	enum verdict verdict;

	if (unlikely(p->kind == KIND_ERROR))
		return icmp_encode(ctx, p, origin);
	verdict = encode_data(ctx, p, !down, origin);
	if (likely(verdict != VERDICT_PASS))
		return verdict;
	verdict = encode_data(ctx, p, down, origin);
	if (verdict != VERDICT_PASS)
		encode_down = !down;
	return verdict;
}

#endif
