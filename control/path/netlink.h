/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Links, addresses and routes of the current network namespace: what there is,
 * that it changed, and what we add. An event only says which list changed; the
 * caller reads that list again, so a lost event cannot mislead it (N7, N8).
 *
 * Requests wait for the kernel's answer (no network is involved). Functions
 * return 0 (or a number) or a negative errno. Not thread-safe.
 */
#ifndef HOLDFAST_NETLINK_H
#define HOLDFAST_NETLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <holdfast/layout.h>

/* rtm_protocol of our routes, so that they are known as ours; "ip route" prints proto 72. */
#define NETLINK_ROUTE_PROTOCOL 0x48

struct netlink; /* opaque */

enum netlink_change {
	NETLINK_LINKS = 1 << 0,
	NETLINK_ADDRESSES = 1 << 1,
	NETLINK_ROUTES = 1 << 2, /* not for routes that we add; for ours, too, when one goes */
	NETLINK_ALL = NETLINK_LINKS | NETLINK_ADDRESSES | NETLINK_ROUTES,
};

struct netlink_link {
	uint32_t ifindex;
	char name[IFNAMSIZ];
	bool up;      /* administratively */
	bool running; /* and has a carrier and is operational (RFC 2863) */
	bool has_mac; /* frames have an Ethernet header */
	uint32_t mtu; /* bytes */
};

struct netlink_address {
	uint32_t ifindex;
	struct hf_addr addr;
	uint8_t prefixlen; /* in the family's own terms */
	bool usable;       /* not tentative, duplicate, deprecated, link-local or loopback */
};

struct netlink_route {
	struct hf_addr gateway; /* zero: on link */
	uint32_t mtu;           /* of the route; 0: the device's */
	bool plain; /* the kernel takes this device by itself for a packet from `local`; if not,
		     * only for one bound to the device (IPv6 with a better route elsewhere) */
};

int netlink_open(struct netlink **ret);
void netlink_close(struct netlink *nl); /* NULL is allowed */

/* Descriptor to be polled for reading, nonblocking, owned by `nl`. */
int netlink_fd(const struct netlink *nl);

/* Reads all events waiting; returns NETLINK_* bits, 0 for none. When the kernel had to
 * drop events (ENOBUFS) it says NETLINK_ALL. */
int netlink_dispatch(struct netlink *nl);

/* Fill up to `max` entries and return how many there are in all, which may be more. */
int netlink_links(struct netlink *nl, struct netlink_link *list, size_t max);
int netlink_addresses(struct netlink *nl, struct netlink_address *list, size_t max);

/* Index of a device: positive, or -ENODEV. */
int netlink_link_index(const char *name);

/* The way to `peer` out of that device, for packets from `local` (zero: any). -ENETUNREACH,
 * -EHOSTUNREACH: there is none. An IPv4 device without a route is no way, though the kernel would
 * assume the peer on link. */
int netlink_route_get(struct netlink *nl, const struct hf_addr *peer, const struct hf_addr *local,
		      uint32_t ifindex, struct netlink_route *ret);

/* True if netlink_route_get() finds a plain way: one that bpf_redirect_neigh() takes, too. */
bool netlink_route_ok(struct netlink *nl, const struct hf_addr *peer, const struct hf_addr *local,
		      uint32_t ifindex);

/* `mtu` 0: leave it. */
int netlink_set_link(struct netlink *nl, uint32_t ifindex, bool up, uint32_t mtu);

/* Adding what is there and removing what is not there succeed. IPv6 without duplicate
 * address detection: the addresses of hf0 are ours alone. */
int netlink_add_address(struct netlink *nl, uint32_t ifindex, const struct hf_addr *addr,
			unsigned int prefixlen);
int netlink_del_address(struct netlink *nl, uint32_t ifindex, const struct hf_addr *addr,
			unsigned int prefixlen);

/* Drops a neighbour entry that is not resolved and the packets that wait in it: a TCP segment that
 * does is not retransmitted, as its sender sees that it has not left the host yet. None there: 0.
 */
int netlink_forget_neighbour(struct netlink *nl, uint32_t ifindex, const struct hf_addr *addr);

/* A route of our protocol to a device in the main table. `prefsrc` may be zero or NULL, `mtu` 0:
 * the device's. The same destination and device again: replaced. -EEXIST: the destination has a
 * route of somebody else's with the same metric, which stays. */
int netlink_add_route(struct netlink *nl, const struct hf_addr *dst, unsigned int len,
		      uint32_t ifindex, const struct hf_addr *prefsrc, uint32_t mtu);
int netlink_del_route(struct netlink *nl, const struct hf_addr *dst, unsigned int len,
		      uint32_t ifindex);

/* Removes all routes of our protocol on that device; returns how many. */
int netlink_flush_routes(struct netlink *nl, uint32_t ifindex);

#endif
