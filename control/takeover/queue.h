/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an owner has put and the store does not hold yet: parcels that wait, of one id only the
 * newest, and one batch that is under way. A ticket is done when everything put up to it has been
 * in a batch that is done (or was superseded by what has).
 */
#ifndef HOLDFAST_TAKEOVER_QUEUE_H
#define HOLDFAST_TAKEOVER_QUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "control/takeover/ids.h"
#include "control/takeover/shelf.h"

struct queue_entry {
	TAILQ_ENTRY(queue_entry) link;
	struct ids_node node; /* while it waits */
	uint64_t ticket;      /* the oldest that it stands for */
	struct parcel *parcel;
};
TAILQ_HEAD(queue_list, queue_entry);

struct queue {
	struct queue_list waiting; /* oldest ticket first */
	struct queue_list batch;   /* under way; empty: none is */
	struct ids ids;            /* of those that wait */
	size_t count;              /* waiting and under way */
	size_t bytes;              /* of both, overhead included */
	uint64_t ticket;           /* the last that was given */
	uint64_t batch_ticket;     /* done when the batch is */
};

void queue_init(struct queue *q);
void queue_fini(struct queue *q); /* forgets everything; may be used again after queue_init() */

/* Takes its own reference. 0, -ENOBUFS (`bytes` would exceed `max`; what supersedes and is no
 * longer may come in all the same), -ENOMEM. */
int queue_put(struct queue *q, struct parcel *p, size_t max, uint64_t *ret_ticket);

/* Makes a batch of the oldest that wait, at least one, at most `max` bytes. None may be under way.
 * Returns how many; 0: nothing waits. Read q->batch; it stays as it is until queue_done(), so that
 * it can be sent again. */
size_t queue_take(struct queue *q, size_t max);
/* The store holds the batch: returns the ticket that is done by that. */
uint64_t queue_done(struct queue *q);

#endif
