/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A guarded address on an interface. What we put there bears our address protocol, so that
 * after a restart, too, it is known as ours; what was there before stays as it was.
 */
#ifndef HOLDFAST_TAKEOVER_VIP_H
#define HOLDFAST_TAKEOVER_VIP_H

#include <stdint.h>

#include <holdfast/layout.h>

#define VIP_PROTOCOL 0x48 /* IFA_PROTO; "ip address" of iproute2 6.3 prints proto 0x48 */

struct netlink;

/* Without a route for its prefix, and an IPv6 address without duplicate address detection and
 * deprecated: of itself this host sends nothing from it. `prefixlen` 0: the address alone (/32,
 * /128). 0 (also if it is there, of whatever length and whoever put it) or negative errno. */
int vip_add(struct netlink *nl, uint32_t ifindex, const struct hf_addr *addr,
	    unsigned int prefixlen);
/* Takes away what vip_add() put there. 0 (also if there is no such thing) or negative errno. */
int vip_del(struct netlink *nl, uint32_t ifindex, const struct hf_addr *addr);

#endif
