/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connections between the nodes of a group: TLS 1.3 with the group's key as external PSK, a node's
 * name as identity. One a pair; the node with the lower name dials, again and again while there is
 * none. Frames in order, or the connection ends. Who cannot prove that it has the key hears
 * nothing.
 */
#ifndef HOLDFAST_TAKEOVER_LINK_H
#define HOLDFAST_TAKEOVER_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/key.h"
#include "control/takeover/frame.h"
#include "control/takeover/store.h"

#define LINK_RETRY_MS_MIN 50
#define LINK_RETRY_MS_MAX 1000
#define LINK_SHAKE_MS     2000        /* from TCP's connection to the other's HELLO */
#define LINK_GUESTS_MAX   16          /* who have not said HELLO; the oldest gives way */
#define LINK_SEND_MAX     (16u << 20) /* bytes that wait for one node; reached: the connection ends */
#define LINK_SEND_LOW     (128u << 10) /* fewer: ops.room() */

struct event_base;
struct evbuffer;
struct links;

/* `peer` is an index into config.peers. Where a function returns int, a negative errno ends the
 * connection, with the sentence in links_why(). */
struct links_ops {
	void (*hello)(void *arg, struct frame *ret); /* our HELLO, as things are now */
	/* Theirs: may it be? `hello->hello.node` has been checked. */
	int (*check)(void *arg, uint32_t peer, const struct frame *hello);
	void (*met)(void *arg, uint32_t peer, const struct frame *hello);
	int (*frame)(void *arg, uint32_t peer, struct frame *f);
	void (*parted)(void *arg, uint32_t peer);    /* after met() only */
	void (*room)(void *arg, uint32_t peer);      /* little is left to be sent */
	void (*refused)(void *arg, const char *why); /* somebody did not get in */
};

/* `config` and `ops` are copied, its strings not. 0 or negative errno, `err` a sentence. */
int links_open(struct event_base *base, const struct store_config *config,
	       const struct links_ops *ops, void *arg, struct links **ret, char *err,
	       size_t err_size);
/* Calls nothing. NULL is allowed. */
void links_close(struct links *l);

/* Where frames to that node are appended; NULL while there is no connection. Follow it up with
 * links_sent(). */
struct evbuffer *links_out(struct links *l, uint32_t peer);
/* Ends the connection, later, if too much waits. */
void links_sent(struct links *l, uint32_t peer);
size_t links_waiting(const struct links *l, uint32_t peer);            /* bytes not yet written */
int links_send(struct links *l, uint32_t peer, const struct frame *f); /* 0, -ENOTCONN, -ENOMEM */
/* Writes what waits now, without the loop, as far as the socket takes it. For the last words. */
void links_push(struct links *l, uint32_t peer);
/* Ends it now and calls parted(). A new one is dialled as usual. */
void links_drop(struct links *l, uint32_t peer, const char *why);
/* Ends those from which nothing came for so long. */
void links_check(struct links *l, uint64_t silent_ns);
/* Why there is no connection to that node: one sentence, "" if there is one. */
const char *links_why(const struct links *l, uint32_t peer);

#endif
