/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A node that is not the owner may not ask who has an address from one that is guarded, but its
 * kernel tries to, for sockets of an earlier ownership. The question is dropped, and repeated after
 * a second: as long would the first packets of the next ownership wait for the answer.
 */
#include "neighbour.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "../path/request.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#define BATCH 64

struct waiting {
	size_t count;
	struct {
		uint8_t family;
		uint8_t len;
		uint8_t bytes[16];
	} list[BATCH];
};

static void take(void *arg, struct nlmsghdr *h)
{
	const struct ndmsg *info = NLMSG_DATA(h);
	struct waiting *w = arg;
	struct nlattr *dst;
	int len;

	if (h->nlmsg_type != RTM_NEWNEIGH || h->nlmsg_len < NLMSG_LENGTH(sizeof(*info)) ||
	    !(info->ndm_state & (NUD_INCOMPLETE | NUD_FAILED)) || w->count == BATCH)
		return;
	dst = nlmsg_find_attr(h, sizeof(*info), NDA_DST);
	len = dst ? nla_len(dst) : 0;
	if (len != 4 && len != 16)
		return;
	w->list[w->count].family = info->ndm_family;
	w->list[w->count].len = (uint8_t)len;
	memcpy(w->list[w->count++].bytes, nla_data(dst), (size_t)len);
}

static int forget(struct netlink *nl, uint32_t ifindex, const struct waiting *w, size_t i)
{
	const struct ndmsg info = {.ndm_family = w->list[i].family, .ndm_ifindex = (int)ifindex};
	struct nl_msg *msg = request_new(RTM_DELNEIGH, 0, &info, sizeof(info));

	return request_ask(nl, msg,
			   msg ? nla_put(msg, NDA_DST, w->list[i].len, w->list[i].bytes) : 0, NULL,
			   NULL);
}

int neighbours_ask_again(struct netlink *nl, uint32_t ifindex)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct waiting w = {0};
	struct nl_msg *msg;
	int r = 0;

	for (size_t i = 0; i < 2 && !r; i++) {
		const struct ndmsg info = {.ndm_family = families[i]};

		msg = request_new(RTM_GETNEIGH, NLM_F_DUMP, &info, sizeof(info));
		r = request_ask(nl, msg, msg ? nla_put_u32(msg, NDA_IFINDEX, ifindex) : 0, take,
				&w);
	}
	for (size_t i = 0; i < w.count; i++)
		forget(nl, ifindex, &w, i); /* it may have answered meanwhile */
	return r == -EAGAIN ? 0 : r;
}
