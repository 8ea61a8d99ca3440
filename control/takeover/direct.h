/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What store_direct.c and mirror.c share; nobody else includes it. */
#ifndef HOLDFAST_TAKEOVER_DIRECT_H
#define HOLDFAST_TAKEOVER_DIRECT_H

#include "control/takeover/lease.h"
#include "control/takeover/link.h"
#include "control/takeover/store_private.h"

#define NOBODY UINT32_MAX

/* What we know of another node. As owner: what it has of ours. */
struct other {
	bool met;
	bool streaming;          /* BEGIN was sent */
	bool ended;              /* END, too */
	struct shelf_walk *walk; /* between them */
	uint64_t end_seq;
	uint64_t acked;
	struct lease_copy copy; /* when we met */
	uint64_t services;      /* that its applications could serve */
};

struct direct {
	struct store s;
	struct links *links;
	struct lease m;
	uint32_t node_of[STORE_PEERS_MAX]; /* peer to the machine's number */
	uint32_t peer_of[LEASE_NODES_MAX];
	uint8_t members[FRAME_DIGEST_LEN];
	struct other others[STORE_PEERS_MAX];
	uint64_t seq;          /* owner: of the last batch */
	struct shelf *staging; /* standby: the copy that is under way */
	uint32_t staging_peer;
	uint32_t gave; /* epoch that we gave away: our shelf is what it began with; 0 */
	uint32_t
		giver; /* owner: the node that gave us this epoch, so it has what we have; NOBODY */
	bool held;     /* owner: as in the status */
	bool mine; /* what we had when we became owner was our own as one, maybe ahead of others */
	struct event *beat, *due, *act;
	bool want, alone;
	uint32_t hand_to; /* peer; NOBODY */
	/* as it was told last */
	bool owner, sole, blank;
	uint32_t epoch;
	uint64_t until;
};

static inline struct direct *direct_of(struct store *s)
{
	return (struct direct *)s;
}

static inline bool direct_owns(const struct direct *d)
{
	return lease_state(&d->m, clock_boot_ns()) == STORE_OWNER;
}

/* ---- store_direct.c ---- */

/* Feeds the machine, and does what comes of it: tell, send, begin copies. */
void direct_step(struct direct *d, const struct lease_message *in);
void direct_say_role(struct direct *d, uint32_t peer); /* LEASE_SERVES */

/* ---- mirror.c: records from node to node ---- */

/* Owner. */
void mirror_begin(struct direct *d,
		  uint32_t peer); /* all that we have, and what comes from now on */
void mirror_feed(struct direct *d, uint32_t peer); /* more of it: there is room */
void mirror_stop(struct other *o);
void mirror_flush(struct store *s);   /* the next batch */
void mirror_commit(struct direct *d); /* is the one under way held by as many as it must be? */
int mirror_ack(struct direct *d, uint32_t peer, const struct frame *f);
/* Standby: BEGIN, COPY, END, PUT. 0, or negative errno: the connection ends. */
int mirror_take(struct direct *d, uint32_t peer, struct frame *f);
void mirror_drop(struct direct *d); /* the copy under way is no use any more */

#endif
