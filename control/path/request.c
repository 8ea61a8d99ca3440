/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "request.h"

#include <errno.h>
#include <stdbool.h>

#include "../addr.h"

#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/socket.h>

int request_errno(int r)
{
	if (r >= 0)
		return 0;
	switch (-r) {
	case NLE_BAD_SOCK:
		return -EBADF;
	case NLE_AGAIN:
		return -EAGAIN;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_OPNOTSUPP:
		return -EOPNOTSUPP;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_INVAL:
		return -EINVAL;
	case NLE_DUMP_INTR:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

/* One request and its answers. */
struct answer {
	int error;
	bool done;
	void (*take)(void *arg, struct nlmsghdr *h); /* NULL: only success matters */
	void *arg;
};

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;

	if (a->take)
		a->take(a->arg, nlmsg_hdr(msg));
	return NL_OK;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;

	struct nlmsghdr *h = nlmsg_hdr(msg);

	/* a list may end with an error, which libnl does not look at */
	if (h->nlmsg_type == NLMSG_DONE && nlmsg_datalen(h) >= (int)sizeof(int))
		a->error = *(int *)nlmsg_data(h);
	a->done = true;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
	struct answer *a = arg;

	(void)from;
	a->error = e->error;
	a->done = true;
	return NL_STOP;
}

int request_ask(struct netlink *nl, struct nl_msg *msg, int built,
		void (*take)(void *arg, struct nlmsghdr *h), void *arg)
{
	struct answer a = {.take = take, .arg = arg};
	struct nl_cb *cb = NULL;
	int r = -ENOMEM;

	if (!msg || built < 0)
		goto out;
	cb = nl_cb_alloc(NL_CB_DEFAULT);
	if (!cb)
		goto out;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &a);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, &a);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, &a);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, &a);
	r = nl_send_auto(nl->requests, msg);
	while (r >= 0 && !a.done)
		r = nl_recvmsgs(nl->requests, cb);
	r = a.error ? a.error : request_errno(r);
out:
	nl_cb_put(cb);
	nlmsg_free(msg);
	return r;
}

struct nl_msg *request_new(int type, int flags, const void *header, size_t len)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);

	if (msg && nlmsg_append(msg, (void *)header, len, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

int request_put_addr(struct nl_msg *msg, int type, const struct hf_addr *a)
{
	return nla_put(msg, type, (int)addr_bits(a) / 8, addr_bytes(a));
}
