/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The routes of netlink.h. */
#include "netlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../addr.h"
#include "request.h"

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#define NOBODY 0xc0000008 /* RFC 7600: the IPv4 dummy address */

struct way { /* what take_way() looks for and finds */
	uint32_t ifindex;
	bool found;
	struct netlink_route route;
};

static bool is_len(const struct rtattr *a, size_t len)
{
	return a && RTA_PAYLOAD(a) >= len;
}

static struct hf_addr gateway_of(struct rtattr *const tb[], int family)
{
	static const struct hf_addr none;
	const struct rtvia *via;

	if (family == AF_INET && is_len(tb[RTA_GATEWAY], 4))
		return addr_from_v4(RTA_DATA(tb[RTA_GATEWAY]));
	if (family == AF_INET6 && is_len(tb[RTA_GATEWAY], 16))
		return addr_from_v6(RTA_DATA(tb[RTA_GATEWAY]));
	if (is_len(tb[RTA_VIA], sizeof(*via) + 16)) { /* IPv4 by way of an IPv6 router */
		via = RTA_DATA(tb[RTA_VIA]);
		if (via->rtvia_family == AF_INET6)
			return addr_from_v6(via->rtvia_addr);
	}
	return none;
}

static void attributes(struct rtattr *tb[static RTA_MAX + 1], struct rtattr *a, int left)
{
	memset(tb, 0, (RTA_MAX + 1) * sizeof(tb[0]));
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) <= RTA_MAX)
			tb[a->rta_type & NLA_TYPE_MASK] = a;
}

static void take_way(void *arg, struct nlmsghdr *h)
{
	struct rtattr *tb[RTA_MAX + 1], *hop_tb[RTA_MAX + 1];
	struct rtmsg *rtm = NLMSG_DATA(h);
	struct way *w = arg;

	if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof(*rtm)) ||
	    rtm->rtm_type != RTN_UNICAST)
		return;
	attributes(tb, RTM_RTA(rtm), (int)RTM_PAYLOAD(h));
	if (is_len(tb[RTA_OIF], 4) && *(uint32_t *)RTA_DATA(tb[RTA_OIF]) == w->ifindex) {
		w->route.gateway = gateway_of(tb, rtm->rtm_family);
		w->found = true;
	} else if (tb[RTA_MULTIPATH]) {
		struct rtnexthop *hop = RTA_DATA(tb[RTA_MULTIPATH]);
		int left = (int)RTA_PAYLOAD(tb[RTA_MULTIPATH]);

		for (; !w->found && RTNH_OK(hop, left);
		     left -= (int)RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
			if ((uint32_t)hop->rtnh_ifindex != w->ifindex)
				continue;
			attributes(hop_tb, RTNH_DATA(hop), hop->rtnh_len - (int)RTNH_LENGTH(0));
			w->route.gateway = gateway_of(hop_tb, rtm->rtm_family);
			w->found = true;
		}
	}
	if (w->found && tb[RTA_METRICS]) {
		struct rtattr *m = RTA_DATA(tb[RTA_METRICS]);
		int left = (int)RTA_PAYLOAD(tb[RTA_METRICS]);

		for (; RTA_OK(m, left); m = RTA_NEXT(m, left))
			if (m->rta_type == RTAX_MTU && is_len(m, 4))
				w->route.mtu = *(uint32_t *)RTA_DATA(m);
	}
}

static int look_up(struct netlink *nl, const struct hf_addr *peer, const struct hf_addr *local,
		   uint32_t ifindex, unsigned int flags, struct way *w)
{
	struct rtmsg rtm = {
		.rtm_family = (uint8_t)addr_family(peer),
		.rtm_dst_len = (uint8_t)addr_bits(peer),
		.rtm_src_len = local ? (uint8_t)addr_bits(peer) : 0,
		.rtm_flags = flags,
	};
	struct nl_msg *msg = request_new(RTM_GETROUTE, 0, &rtm, sizeof(rtm));
	int built = 0, r;

	if (msg) {
		built |= request_put_addr(msg, RTA_DST, peer);
		built |= nla_put_u32(msg, RTA_OIF, ifindex);
		if (local)
			built |= request_put_addr(msg, RTA_SRC, local);
	}
	*w = (struct way){.ifindex = ifindex};
	r = request_ask(nl, msg, built, take_way, w);
	return r < 0 ? r : w->found ? 0 : -EHOSTUNREACH;
}

int netlink_route_get(struct netlink *nl, const struct hf_addr *peer, const struct hf_addr *local,
		      uint32_t ifindex, struct netlink_route *ret)
{
	bool plain = true;
	struct way w;
	int r;

	if (local && addr_is_zero(local))
		local = NULL;
	if (local && addr_family(local) != addr_family(peer))
		return -EINVAL;
	if (addr_is_v4(peer)) {
		/* without FIB_MATCH IPv4 takes a peer to be on link where there is no route */
		r = look_up(nl, peer, local, ifindex, RTM_F_FIB_MATCH, &w);
	} else {
		/* with a source IPv6 only prefers the device, without one it must be it */
		r = look_up(nl, peer, local, ifindex, 0, &w);
		if (r < 0 && local) {
			plain = false;
			r = look_up(nl, peer, NULL, ifindex, 0, &w);
		}
	}
	if (r < 0)
		return r;
	*ret = w.route;
	ret->plain = plain;
	return 0;
}

bool netlink_route_ok(struct netlink *nl, const struct hf_addr *peer, const struct hf_addr *local,
		      uint32_t ifindex)
{
	struct netlink_route route;

	return netlink_route_get(nl, peer, local, ifindex, &route) == 0 && route.plain;
}

struct own { /* what take_own() collects: our routes on a device */
	uint32_t ifindex;
	struct own_route {
		struct hf_addr dst;
		uint8_t len;
	} * list;
	size_t n, cap;
	int error;
};

static void take_own(void *arg, struct nlmsghdr *h)
{
	static const uint8_t any[16];
	struct rtattr *tb[RTA_MAX + 1];
	struct rtmsg *rtm = NLMSG_DATA(h);
	struct own *own = arg;
	struct own_route route;
	const void *dst = any;

	if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof(*rtm)))
		return;
	attributes(tb, RTM_RTA(rtm), (int)RTM_PAYLOAD(h));
	/* asked for, but a kernel that does not filter is no reason to remove what is not ours */
	if (rtm->rtm_protocol != NETLINK_ROUTE_PROTOCOL || rtm->rtm_table != RT_TABLE_MAIN ||
	    !is_len(tb[RTA_OIF], 4) || *(uint32_t *)RTA_DATA(tb[RTA_OIF]) != own->ifindex)
		return;
	if (is_len(tb[RTA_DST], rtm->rtm_family == AF_INET ? 4 : 16))
		dst = RTA_DATA(tb[RTA_DST]);
	route.dst = rtm->rtm_family == AF_INET ? addr_from_v4(dst) : addr_from_v6(dst);
	route.len = rtm->rtm_dst_len;
	if (own->n == own->cap) {
		size_t cap = own->cap ? own->cap * 2 : 16;
		void *list = realloc(own->list, cap * sizeof(*own->list));

		if (!list) {
			own->error = -ENOMEM;
			return;
		}
		own->list = list;
		own->cap = cap;
	}
	own->list[own->n++] = route;
}

/* Adds our routes of one family on a device to `own`, whose list the caller frees. */
static int list_own(struct netlink *nl, int family, struct own *own)
{
	struct rtmsg rtm = {
		.rtm_family = (uint8_t)family,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = NETLINK_ROUTE_PROTOCOL,
	};
	size_t before = own->n;
	int r, tries = 5;

	do {
		struct nl_msg *msg = request_new(RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));

		own->n = before;
		own->error = 0;
		r = request_ask(nl, msg, msg ? nla_put_u32(msg, RTA_OIF, own->ifindex) : 0,
				take_own, own);
	} while (r == -EAGAIN && --tries);
	if (r == -ENOENT)
		return 0; /* the table does not exist before its first route */
	return r < 0 ? r : own->error;
}

/* By way of a router that does not exist: without one each destination, and at an anchor each
 * mobile is one, would take an entry of the neighbour table, which real neighbours need. */
static int change_route(struct netlink *nl, int type, int flags, const struct hf_addr *dst,
			unsigned int len, uint32_t ifindex, const struct hf_addr *prefsrc,
			uint32_t mtu)
{
	struct rtmsg rtm = {
		.rtm_family = (uint8_t)addr_family(dst),
		.rtm_dst_len = (uint8_t)len,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = NETLINK_ROUTE_PROTOCOL,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
		.rtm_flags = addr_is_v4(dst) ? RTNH_F_ONLINK : 0,
	};
	struct nl_msg *msg = request_new(type, flags, &rtm, sizeof(rtm));
	int built = 0;

	if (msg) {
		built |= request_put_addr(msg, RTA_DST, dst);
		built |= nla_put_u32(msg, RTA_OIF, ifindex);
		if (addr_is_v4(dst))
			built |= nla_put_u32(msg, RTA_GATEWAY, htonl(NOBODY));
		if (prefsrc && !addr_is_zero(prefsrc))
			built |= request_put_addr(msg, RTA_PREFSRC, prefsrc);
		if (mtu) {
			struct nlattr *metrics = nla_nest_start(msg, RTA_METRICS);

			built |= metrics ? nla_put_u32(msg, RTAX_MTU, mtu) : -ENOMEM;
			if (metrics)
				nla_nest_end(msg, metrics);
		}
	}
	return request_ask(nl, msg, built, NULL, NULL);
}

int netlink_add_route(struct netlink *nl, const struct hf_addr *dst, unsigned int len,
		      uint32_t ifindex, const struct hf_addr *prefsrc, uint32_t mtu)
{
	struct own own = {.ifindex = ifindex};
	bool ours = false;
	int r;

	if (len > addr_bits(dst) ||
	    (prefsrc && !addr_is_zero(prefsrc) && addr_family(prefsrc) != addr_family(dst)))
		return -EINVAL;
	r = change_route(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, dst, len, ifindex, prefsrc,
			 mtu);
	if (r != -EEXIST)
		return r;
	/* NLM_F_REPLACE alone would take away whatever has this destination, on any device */
	r = list_own(nl, addr_family(dst), &own);
	for (size_t i = 0; r == 0 && i < own.n; i++)
		ours |= own.list[i].len == len && addr_equal(&own.list[i].dst, dst);
	free(own.list);
	if (r < 0)
		return r;
	if (!ours)
		return -EEXIST;
	return change_route(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, dst, len, ifindex,
			    prefsrc, mtu);
}

int netlink_del_route(struct netlink *nl, const struct hf_addr *dst, unsigned int len,
		      uint32_t ifindex)
{
	int r;

	if (len > addr_bits(dst))
		return -EINVAL;
	r = change_route(nl, RTM_DELROUTE, 0, dst, len, ifindex, NULL, 0);
	return r == -ESRCH || r == -ENODEV ? 0 : r;
}

int netlink_flush_routes(struct netlink *nl, uint32_t ifindex)
{
	struct own own = {.ifindex = ifindex};
	int r;

	r = list_own(nl, AF_INET, &own);
	if (r == 0)
		r = list_own(nl, AF_INET6, &own);
	for (size_t i = 0; r == 0 && i < own.n; i++)
		r = netlink_del_route(nl, &own.list[i].dst, own.list[i].len, ifindex);
	free(own.list);
	return r < 0 ? r : (int)own.n;
}
