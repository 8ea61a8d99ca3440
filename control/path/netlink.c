/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "netlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../addr.h"
#include "request.h"

#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>

/* linux/if.h, which does not go together with net/if.h */
#define LINK_LOWER_UP     (1u << 16)
#define LINK_OPER_UNKNOWN 0
#define LINK_OPER_UP      6

#define EVENT_BUFFER      (1024 * 1024) /* bytes of events that may wait */
#define DUMP_TRIES        5             /* a list that changes while it is read is read again */

static int socket_new(struct nl_sock **ret)
{
	struct nl_sock *s = nl_socket_alloc();
	int r;

	if (!s)
		return -ENOMEM;
	r = nl_connect(s, NETLINK_ROUTE);
	if (r < 0) {
		nl_socket_free(s);
		return request_errno(r);
	}
	*ret = s;
	return 0;
}

int netlink_open(struct netlink **ret)
{
	struct netlink *nl = calloc(1, sizeof(*nl));
	int r, strict = 1;

	if (!nl)
		return -ENOMEM;
	r = socket_new(&nl->lists);
	if (r < 0)
		goto out;
	r = socket_new(&nl->requests);
	if (r < 0)
		goto out;
	if (setsockopt(nl_socket_get_fd(nl->requests), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &strict,
		       sizeof(strict)) < 0) {
		r = -errno;
		goto out;
	}
	r = socket_new(&nl->events);
	if (r < 0)
		goto out;
	r = request_errno(nl_socket_add_memberships(nl->events, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
						    RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
						    RTNLGRP_IPV6_ROUTE, 0));
	if (r < 0)
		goto out;
	r = request_errno(nl_socket_set_buffer_size(nl->events, EVENT_BUFFER, 0));
	if (r < 0)
		goto out;
	r = request_errno(nl_socket_set_nonblocking(nl->events));
	if (r < 0)
		goto out;
	*ret = nl;
	return 0;
out:
	netlink_close(nl);
	return r;
}

void netlink_close(struct netlink *nl)
{
	if (!nl)
		return;
	nl_socket_free(nl->events);
	nl_socket_free(nl->lists);
	nl_socket_free(nl->requests);
	free(nl);
}

int netlink_fd(const struct netlink *nl)
{
	return nl_socket_get_fd(nl->events);
}

static int change_of(const struct nlmsghdr *h)
{
	const struct rtmsg *rtm;

	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return NETLINK_LINKS;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return NETLINK_ADDRESSES;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*rtm)))
			return 0;
		rtm = NLMSG_DATA(h);
		if (rtm->rtm_flags & RTM_F_CLONED)
			return 0;
		/* else setting ours again whenever routes change would never end */
		if (h->nlmsg_type == RTM_NEWROUTE && rtm->rtm_protocol == NETLINK_ROUTE_PROTOCOL)
			return 0;
		return NETLINK_ROUTES;
	default:
		return 0;
	}
}

int netlink_dispatch(struct netlink *nl)
{
	union {
		struct nlmsghdr align;
		uint8_t bytes[32768]; /* the kernel's messages are smaller: NLMSG_GOODSIZE */
	} buf;
	struct sockaddr_nl from;
	struct iovec iov = {.iov_base = &buf, .iov_len = sizeof(buf)};
	int mask = 0, fd = netlink_fd(nl);

	for (;;) {
		struct msghdr msg = {
			.msg_name = &from,
			.msg_namelen = sizeof(from),
			.msg_iov = &iov,
			.msg_iovlen = 1,
		};
		ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);
		int left;

		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno == ENOBUFS) {
				mask = NETLINK_ALL;
				continue; /* the error is reported once; what waits is read */
			}
			return errno == EAGAIN ? mask : -errno;
		}
		if (from.nl_pid != 0)
			continue; /* not from the kernel */
		if (msg.msg_flags & MSG_TRUNC)
			mask = NETLINK_ALL;
		left = (int)n;
		for (struct nlmsghdr *h = &buf.align; NLMSG_OK(h, (unsigned int)left);
		     h = NLMSG_NEXT(h, left))
			mask |= change_of(h);
	}
}

static bool link_running(struct rtnl_link *link)
{
	unsigned int flags = rtnl_link_get_flags(link);
	uint8_t state = rtnl_link_get_operstate(link);

	return flags & IFF_UP && flags & LINK_LOWER_UP &&
	       (state == LINK_OPER_UP || state == LINK_OPER_UNKNOWN);
}

int netlink_links(struct netlink *nl, struct netlink_link *list, size_t max)
{
	struct nl_cache *cache;
	size_t n = 0;
	int r, tries = DUMP_TRIES;

	do {
		r = rtnl_link_alloc_cache(nl->lists, AF_UNSPEC, &cache);
	} while (r == -NLE_DUMP_INTR && --tries);
	if (r < 0)
		return request_errno(r);
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o), n++) {
		struct rtnl_link *link = (struct rtnl_link *)o;
		const char *name = rtnl_link_get_name(link);
		unsigned int type = rtnl_link_get_arptype(link);
		struct netlink_link *l = &list[n];

		if (n >= max)
			continue;
		*l = (struct netlink_link){
			.ifindex = (uint32_t)rtnl_link_get_ifindex(link),
			.up = rtnl_link_get_flags(link) & IFF_UP,
			.running = link_running(link),
			.has_mac = type == ARPHRD_ETHER || type == ARPHRD_LOOPBACK,
			.mtu = rtnl_link_get_mtu(link),
		};
		if (name)
			memcpy(l->name, name, strnlen(name, IFNAMSIZ - 1));
	}
	nl_cache_free(cache);
	return (int)n;
}

static bool addr_of(struct nl_addr *from, struct hf_addr *ret)
{
	if (!from)
		return false;
	if (nl_addr_get_family(from) == AF_INET && nl_addr_get_len(from) == 4)
		*ret = addr_from_v4(nl_addr_get_binary_addr(from));
	else if (nl_addr_get_family(from) == AF_INET6 && nl_addr_get_len(from) == 16)
		*ret = addr_from_v6(nl_addr_get_binary_addr(from));
	else
		return false;
	return true;
}

int netlink_addresses(struct netlink *nl, struct netlink_address *list, size_t max)
{
	const unsigned int unusable = IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED;
	struct nl_cache *cache;
	size_t n = 0;
	int r, tries = DUMP_TRIES;

	do {
		r = rtnl_addr_alloc_cache(nl->lists, &cache);
	} while (r == -NLE_DUMP_INTR && --tries);
	if (r < 0)
		return request_errno(r);
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o)) {
		struct rtnl_addr *from = (struct rtnl_addr *)o;
		unsigned int flags = rtnl_addr_get_flags(from);
		struct netlink_address a = {0};

		if (!addr_of(rtnl_addr_get_local(from), &a.addr))
			continue;
		a.ifindex = (uint32_t)rtnl_addr_get_ifindex(from);
		a.prefixlen = (uint8_t)rtnl_addr_get_prefixlen(from);
		/* an optimistic address (RFC 4429) may be used before its check is over */
		if (flags & IFA_F_OPTIMISTIC && !(flags & IFA_F_DADFAILED))
			flags &= ~(unsigned int)IFA_F_TENTATIVE;
		a.usable = !(flags & unusable) && addr_is_unicast(&a.addr);
		if (n < max)
			list[n] = a;
		n++;
	}
	nl_cache_free(cache);
	return (int)n;
}

int netlink_link_index(const char *name)
{
	unsigned int ifindex = if_nametoindex(name);

	return ifindex ? (int)ifindex : -ENODEV;
}

int netlink_set_link(struct netlink *nl, uint32_t ifindex, bool up, uint32_t mtu)
{
	struct ifinfomsg info = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = (int)ifindex,
		.ifi_flags = up ? IFF_UP : 0,
		.ifi_change = IFF_UP,
	};
	struct nl_msg *msg = request_new(RTM_NEWLINK, 0, &info, sizeof(info));
	int built = 0;

	if (msg && mtu)
		built = nla_put_u32(msg, IFLA_MTU, mtu);
	return request_ask(nl, msg, built, NULL, NULL);
}

static int change_address(struct netlink *nl, int type, int flags, uint32_t ifindex,
			  const struct hf_addr *addr, unsigned int prefixlen)
{
	struct ifaddrmsg info = {
		.ifa_family = (uint8_t)addr_family(addr),
		.ifa_prefixlen = (uint8_t)prefixlen,
		.ifa_flags = addr_is_v4(addr) ? 0 : IFA_F_NODAD,
		.ifa_index = ifindex,
	};
	struct nl_msg *msg;
	int built = 0;

	if (prefixlen > addr_bits(addr))
		return -EINVAL;
	msg = request_new(type, flags, &info, sizeof(info));
	if (msg) {
		built |= request_put_addr(msg, IFA_LOCAL, addr);
		built |= request_put_addr(msg, IFA_ADDRESS, addr);
	}
	return request_ask(nl, msg, built, NULL, NULL);
}

int netlink_add_address(struct netlink *nl, uint32_t ifindex, const struct hf_addr *addr,
			unsigned int prefixlen)
{
	int r = change_address(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, ifindex, addr,
			       prefixlen);

	return r == -EEXIST ? 0 : r;
}

int netlink_del_address(struct netlink *nl, uint32_t ifindex, const struct hf_addr *addr,
			unsigned int prefixlen)
{
	int r = change_address(nl, RTM_DELADDR, 0, ifindex, addr, prefixlen);

	return r == -EADDRNOTAVAIL || r == -ENODEV ? 0 : r;
}

static void take_state(void *arg, struct nlmsghdr *h)
{
	const struct ndmsg *ndm = NLMSG_DATA(h);

	if (h->nlmsg_type == RTM_NEWNEIGH && h->nlmsg_len >= NLMSG_LENGTH(sizeof(*ndm)))
		*(uint16_t *)arg = ndm->ndm_state;
}

int netlink_forget_neighbour(struct netlink *nl, uint32_t ifindex, const struct hf_addr *addr)
{
	struct ndmsg ndm = {.ndm_family = addr_family(addr), .ndm_ifindex = ifindex};
	uint16_t state = NUD_NONE;
	struct nl_msg *msg;
	int r;

	msg = request_new(RTM_GETNEIGH, 0, &ndm, sizeof(ndm));
	r = request_ask(nl, msg, msg ? request_put_addr(msg, NDA_DST, addr) : 0, take_state,
			&state);
	/* Only there do packets wait. One that is resolved serves others too, at an anchor every
	 * mobile: theirs must not have to wait for it. */
	if (r == 0 && state & NUD_INCOMPLETE) {
		msg = request_new(RTM_DELNEIGH, 0, &ndm, sizeof(ndm));
		r = request_ask(nl, msg, msg ? request_put_addr(msg, NDA_DST, addr) : 0, NULL,
				NULL);
	}
	return r == -ENOENT || r == -ENODEV || r == -ENETDOWN ? 0 : r;
}
