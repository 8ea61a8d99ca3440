/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The connections of a group that this node owns: their records, slots and applications. */
#ifndef HOLDFAST_TAKEOVER_CONN_H
#define HOLDFAST_TAKEOVER_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "control/takeover/record.h"

#define CONN_NO_SLOT (~0u)

struct app;
struct bundle;

enum conn_state {
	CONN_SERVING, /* its socket is an application's, or waits to be accepted */
	CONN_PROBING, /* its peer was asked what it has received */
	CONN_WAITING, /* that is known; the application, or others of its bundle, are missing */
	CONN_UNREADY, /* the application has it, its protocols have not said ready */
	CONN_ORPHAN,  /* its application died here */
};

struct conn {
	uint32_t number; /* what applications call it; not 0 */
	uint32_t slot;   /* in "guard_slots", CONN_NO_SLOT: a datagram socket, or over */
	uint32_t serial; /* differs from that of a conn that had this number before */
	enum conn_state state;
	struct app *app;      /* NULL: none */
	struct record record; /* as it went to the store last */

	uint64_t pending_ticket; /* newest commit of the application */
	uint64_t pending_commit; /* and what the gate will be raised to */
	bool dirty;              /* the record has yet to be put */
	/* hf_end() was said here. Of what the record says that may not be true: an application of
	 * another node said it, and ours may have more to send than its kernel has taken */
	bool end_said;
	bool answer_end; /* ... and our kernel's FIN may not leave yet */
	bool ending;     /* our FIN was acknowledged; the slot goes at `due_ms` */
	uint32_t ready;  /* protocols that said so, a bit each */

	int fd;          /* restored: until traffic passes; -1 */
	uint64_t due_ms; /* PROBING: the next probe; ending: the end; WAITING, ORPHAN: not before */
	uint32_t wait_ms;  /* until the one after that */
	uint64_t asked_ns; /* since when: PROBING; WAITING, but it cannot be handed over, or 0 */

	struct bundle *bundle; /* conns_join(); NULL: none */
	TAILQ_ENTRY(conn) link;
};

struct conns; /* the table */

/* For slots 0 to slots - 1 and at most `limit` connections. NULL without memory. */
struct conns *conns_new(uint32_t slots, uint32_t limit);
void conns_free(struct conns *t); /* closes what was not handed over; NULL is allowed */

/* A new one, its record zeroed. NULL: no memory, or the limit. */
struct conn *conns_add(struct conns *t, uint32_t slot);
void conns_remove(struct conns *t, struct conn *c);
/* Its record says which bundle it is in, and its place there. 0, -ENOMEM, -ENOSPC (there are
 * HF_BUNDLE_MAX). */
int conns_join(struct conns *t, struct conn *c);
/* The members of a bundle in their order, whatever their state; how many there are. */
size_t conns_members(const struct conns *t, uint64_t bundle,
		     struct conn *list[static HF_BUNDLE_MAX]);
/* Closes our descriptor of its socket, if there is one. */
void conn_close(struct conn *c);
/* It has no slot any more. */
void conns_drop_slot(struct conns *t, struct conn *c);

struct conn *conns_by_number(const struct conns *t, uint32_t number);
struct conn *conns_by_slot(const struct conns *t, uint32_t slot);
/* All of them in the order of their numbers: start with 0; NULL at the end. Removing the one that
 * was returned last is allowed. */
struct conn *conns_next(const struct conns *t, uint32_t *cursor);
uint32_t conns_count(const struct conns *t);

#endif
