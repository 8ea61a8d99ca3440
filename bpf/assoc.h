/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Associations, services and paths: the look-ups that both directions share.
 */
#ifndef HOLDFAST_BPF_ASSOC_H
#define HOLDFAST_BPF_ASSOC_H

#include "compat.h"
#include "maps.h"
#include "parse.h"

static __always_inline struct assoc_val *assoc_find(__u32 index, __u8 role)
{
	struct assoc_val *assoc = bpf_map_lookup_elem(&assocs, &index);

	return assoc && assoc->used && assoc->role == role ? assoc : NULL;
}

static __always_inline struct service_val *service_find(__u32 index)
{
	struct service_val *service = bpf_map_lookup_elem(&service_table, &index);

	return service && service->used ? service : NULL;
}

/* The service that a packet to, or from, addr:port at the correspondent's side belongs to. */
static __always_inline __u32 *service_of(const struct hf_addr *addr, __be16 port, __u8 proto)
{
	struct service_key key = {
		.addr = *addr,
		.port = proto == IPPROTO_ICMP ? 0 : port,
		.proto = proto,
	};

	return bpf_map_lookup_elem(&services, &key);
}

static __always_inline __be16 echo_block(__be16 id)
{
	return id & bpf_htons(~(HF_ECHO_BLOCK - 1));
}

static __always_inline __u32 *service_of_emulator(__u32 scope, __be16 port, __u8 proto)
{
	struct emulator_key key = {
		.scope = scope,
		.port = proto == IPPROTO_ICMP ? echo_block(port) : port,
		.proto = proto,
	};

	return bpf_map_lookup_elem(&emulators, &key);
}

/* The path that the association's one word names, if it can be used. The word is read once: all
 * that follows belongs to one generation. */
static __always_inline struct path_val *assoc_path(struct assoc_val *assoc, bool released,
						   __u64 *ret_route)
{
	__u64 route = *(volatile __u64 *)&assoc->route;
	__u32 mode = HF_ROUTE_MODE(route), index = HF_ROUTE_PATH(route);
	struct path_val *path;

	if (mode != HF_MODE_ACTIVE && !(released && mode == HF_MODE_PARK))
		return NULL;
	*ret_route = rewrite_route_outer(index);
	path = bpf_map_lookup_elem(&paths, &index);
	return path && path->used && path->ifindex ? path : NULL;
}

/* An association's inner address of a family, or NULL. */
static __always_inline const struct hf_addr *assoc_host(const struct assoc_val *assoc, __u8 family)
{
	const struct hf_addr *host = family == 4 ? &assoc->host4 : &assoc->host6;

	return addr_zero(host) ? NULL : host;
}

static __always_inline bool assoc_is_host(const struct assoc_val *assoc, const struct hf_addr *addr,
					  __u8 family)
{
	return addr_equal(family == 4 ? &assoc->host4 : &assoc->host6, addr);
}

/* The clock of the packets moves once a tick: most packets find the stamp there already and leave
 * the line clean. */
static __always_inline void path_heard(struct path_val *path, __u64 now_ns)
{
	if (path->last_rx_ns != now_ns)
		path->last_rx_ns = now_ns;
}

static __always_inline void path_received(struct path_val *path, __u32 packets, __u32 bytes)
{
	/* A fence compares the packets (N5), so none may be missed; the octets are for people. */
	__sync_fetch_and_add(&path->rx_packets, packets);
	path->rx_bytes += bytes;
}

static __always_inline void path_sent(struct path_val *path, __u32 packets, __u32 bytes,
				      __u64 now_ns)
{
	__sync_fetch_and_add(&path->tx_packets, packets);
	path->tx_bytes += bytes;
	if (path->last_tx_ns != now_ns)
		path->last_tx_ns = now_ns;
}

#endif
