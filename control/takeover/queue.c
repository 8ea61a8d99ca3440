/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/queue.h"

#include <errno.h>
#include <stdlib.h>

void queue_init(struct queue *q)
{
	*q = (struct queue){0};
	TAILQ_INIT(&q->waiting);
	TAILQ_INIT(&q->batch);
}

static size_t cost(const struct parcel *p)
{
	return sizeof(struct queue_entry) + sizeof(*p) + p->len;
}

static struct queue_entry *find(const struct queue *q, uint64_t id)
{
	struct ids_node *n = ids_find(&q->ids, id);

	return n ? (struct queue_entry *)((char *)n - offsetof(struct queue_entry, node)) : NULL;
}

static void entry_free(struct queue *q, struct queue_entry *e)
{
	q->count--;
	q->bytes -= cost(e->parcel);
	parcel_unref(e->parcel);
	free(e);
}

static void list_free(struct queue *q, struct queue_list *list)
{
	struct queue_entry *e;

	while ((e = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, e, link);
		entry_free(q, e);
	}
}

void queue_fini(struct queue *q)
{
	list_free(q, &q->waiting);
	list_free(q, &q->batch);
	ids_fini(&q->ids);
}

int queue_put(struct queue *q, struct parcel *p, size_t max, uint64_t *ret_ticket)
{
	struct queue_entry *e = find(q, p->id);

	if (q->bytes + cost(p) > max && (!e || cost(p) > cost(e->parcel)))
		return -ENOBUFS;
	if (e) { /* keeps its place: nothing may be done before what it stood for */
		q->bytes += cost(p);
		q->bytes -= cost(e->parcel);
		parcel_ref(p);
		parcel_unref(e->parcel);
		e->parcel = p;
		*ret_ticket = ++q->ticket;
		return 0;
	}
	e = calloc(1, sizeof(*e));
	if (!e || ids_add(&q->ids, &e->node, p->id) < 0) {
		free(e);
		return -ENOMEM;
	}
	e->parcel = parcel_ref(p);
	e->ticket = *ret_ticket = ++q->ticket;
	TAILQ_INSERT_TAIL(&q->waiting, e, link);
	q->count++;
	q->bytes += cost(p);
	return 0;
}

size_t queue_take(struct queue *q, size_t max)
{
	struct queue_entry *e;
	size_t count = 0, bytes = 0;

	while ((e = TAILQ_FIRST(&q->waiting))) {
		bytes += cost(e->parcel);
		if (count && bytes > max)
			break;
		TAILQ_REMOVE(&q->waiting, e, link);
		ids_remove(&q->ids, &e->node);
		TAILQ_INSERT_TAIL(&q->batch, e, link);
		count++;
	}
	e = TAILQ_FIRST(&q->waiting);
	q->batch_ticket = e ? e->ticket - 1 : q->ticket;
	return count;
}

uint64_t queue_done(struct queue *q)
{
	list_free(q, &q->batch);
	return q->batch_ticket;
}
