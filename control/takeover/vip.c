/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "vip.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "../addr.h"
#include "../path/netlink.h"
#include "../path/request.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#define DUMP_TRIES 5           /* a list that changes while it is read is read again */
#define FOREVER    0xffffffffu /* ifa_valid */

struct found {
	uint32_t ifindex;
	const struct hf_addr *addr;
	bool there;
	bool ours;
	uint8_t prefixlen; /* of ours */
};

static void take(void *arg, struct nlmsghdr *h)
{
	const struct ifaddrmsg *info = NLMSG_DATA(h);
	const struct rtattr *own = NULL;
	struct found *f = arg;
	uint8_t proto = 0;
	struct rtattr *a;
	int left;

	if (h->nlmsg_type != RTM_NEWADDR || h->nlmsg_len < NLMSG_LENGTH(sizeof(*info)) ||
	    info->ifa_index != f->ifindex || info->ifa_family != addr_family(f->addr))
		return;
	left = (int)IFA_PAYLOAD(h);
	for (a = IFA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		/* with a peer address (point to point) IFA_ADDRESS is that one */
		if (a->rta_type == IFA_LOCAL || (a->rta_type == IFA_ADDRESS && !own))
			own = a;
		else if (a->rta_type == IFA_PROTO && RTA_PAYLOAD(a) == 1)
			proto = *(uint8_t *)RTA_DATA(a);
	}
	if (!own || RTA_PAYLOAD(own) != addr_bits(f->addr) / 8 ||
	    memcmp(RTA_DATA(own), addr_bytes(f->addr), RTA_PAYLOAD(own)) != 0)
		return;
	f->there = true;
	if (proto == VIP_PROTOCOL) {
		f->ours = true;
		f->prefixlen = info->ifa_prefixlen;
	}
}

static int look(struct netlink *nl, struct found *f)
{
	const struct ifaddrmsg info = {.ifa_family = (uint8_t)addr_family(f->addr),
				       .ifa_index = f->ifindex};
	int r, tries = DUMP_TRIES;

	do {
		f->there = f->ours = false;
		r = request_ask(nl, request_new(RTM_GETADDR, NLM_F_DUMP, &info, sizeof(info)), 0,
				take, f);
	} while (r == -EAGAIN && --tries);
	return r;
}

static int change(struct netlink *nl, int type, int flags, const struct ifaddrmsg *info,
		  const struct hf_addr *addr, bool whole)
{
	struct nl_msg *msg = request_new(type, flags, info, sizeof(*info));
	struct ifa_cacheinfo life = {.ifa_prefered = 0, .ifa_valid = FOREVER};
	bool v4 = addr_is_v4(addr);
	int built = 0;

	if (msg) {
		built |= request_put_addr(msg, IFA_LOCAL, addr);
		built |= request_put_addr(msg, IFA_ADDRESS, addr);
		if (whole) {
			built |= nla_put_u32(msg, IFA_FLAGS,
					     IFA_F_NOPREFIXROUTE | (v4 ? 0 : IFA_F_NODAD));
			built |= nla_put_u8(msg, IFA_PROTO, VIP_PROTOCOL);
			/* IPv4 takes no source because of its age */
			if (!v4)
				built |= nla_put(msg, IFA_CACHEINFO, sizeof(life), &life);
		}
	}
	return request_ask(nl, msg, built, NULL, NULL);
}

int vip_add(struct netlink *nl, uint32_t ifindex, const struct hf_addr *addr,
	    unsigned int prefixlen)
{
	struct found f = {.ifindex = ifindex, .addr = addr};
	struct ifaddrmsg info = {
		.ifa_family = (uint8_t)addr_family(addr),
		.ifa_prefixlen = (uint8_t)(prefixlen ? prefixlen : addr_bits(addr)),
		.ifa_index = ifindex,
	};
	int r;

	if (prefixlen > addr_bits(addr))
		return -EINVAL;
	r = look(nl, &f);
	if (r < 0 || f.there)
		return r;
	r = change(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &info, addr, true);
	return r == -EEXIST ? 0 : r;
}

int vip_del(struct netlink *nl, uint32_t ifindex, const struct hf_addr *addr)
{
	struct found f = {.ifindex = ifindex, .addr = addr};
	struct ifaddrmsg info = {.ifa_family = (uint8_t)addr_family(addr), .ifa_index = ifindex};
	int r;

	r = look(nl, &f);
	if (r == -ENODEV || (r == 0 && !f.ours))
		return 0;
	if (r < 0)
		return r;
	info.ifa_prefixlen = f.prefixlen;
	r = change(nl, RTM_DELADDR, 0, &info, addr, false);
	return r == -EADDRNOTAVAIL || r == -ENODEV ? 0 : r;
}
