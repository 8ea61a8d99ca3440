/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/commit.h"

#include <stdlib.h>

struct commits {
	struct commit *ring;
	uint64_t room; /* a power of two */
	uint64_t head; /* oldest */
	uint64_t tail;
};

struct commits *commits_new(void)
{
	struct commits *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->room = 1024;
	q->ring = calloc(q->room, sizeof(*q->ring));
	if (!q->ring) {
		free(q);
		return NULL;
	}
	return q;
}

void commits_free(struct commits *q)
{
	if (!q)
		return;
	free(q->ring);
	free(q);
}

bool commits_push(struct commits *q, const struct commit *c)
{
	if (q->tail - q->head == q->room) {
		struct commit *ring = calloc(2 * q->room, sizeof(*ring));

		if (!ring)
			return false;
		for (uint64_t i = q->head; i != q->tail; i++)
			ring[i & (2 * q->room - 1)] = q->ring[i & (q->room - 1)];
		free(q->ring);
		q->ring = ring;
		q->room *= 2;
	}
	q->ring[q->tail++ & (q->room - 1)] = *c;
	return true;
}

bool commits_pop(struct commits *q, uint64_t ticket, struct commit *ret)
{
	const struct commit *c = &q->ring[q->head & (q->room - 1)];

	if (q->head == q->tail || c->ticket > ticket)
		return false;
	*ret = *c;
	q->head++;
	return true;
}

void commits_clear(struct commits *q)
{
	q->head = q->tail;
}

uint64_t commits_count(const struct commits *q)
{
	return q->tail - q->head;
}
