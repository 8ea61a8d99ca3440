/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One rtnetlink request and its answer. libnl frames the messages; the error
 * is the kernel's own, which libnl's functions would fold into a few numbers.
 * For netlink.c and route.c alone.
 */
#ifndef HOLDFAST_REQUEST_H
#define HOLDFAST_REQUEST_H

#include <stddef.h>

#include <netlink/netlink.h>

#include <holdfast/layout.h>

struct netlink {
	struct nl_sock *events;
	struct nl_sock *lists;    /* libnl's caches */
	struct nl_sock *requests; /* ours, with strict checking: the kernel filters what it lists */
};

/* A message with its fixed header. NULL: no memory. */
struct nl_msg *request_new(int type, int flags, const void *header, size_t len);

/* Appends an address in its family's form; 0, or negative if it does not fit. */
int request_put_addr(struct nl_msg *msg, int type, const struct hf_addr *a);

/* Sends, waits for the end and frees `msg`, which may be NULL: -ENOMEM. `built` is negative if an
 * attribute did not fit. `take`, which may be NULL, gets each message of the answer. Returns
 * the kernel's negative errno or 0. -EAGAIN: a list changed while it was read. */
int request_ask(struct netlink *nl, struct nl_msg *msg, int built,
		void (*take)(void *arg, struct nlmsghdr *h), void *arg);

/* A negative errno for libnl's negative error; 0 for anything else. */
int request_errno(int r);

#endif
