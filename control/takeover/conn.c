/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/takeover/ids.h"

struct bundle {
	struct ids_node node; /* first: what the table gives is a bundle */
	TAILQ_HEAD(, conn) members;
	size_t count;
};

struct conns {
	struct conn **all;   /* by number - 1 */
	uint32_t *free;      /* numbers that were used before */
	struct conn **slots; /* by slot */
	uint32_t slot_count;
	uint32_t limit;
	uint32_t room; /* of `all` and `free` */
	uint32_t top;  /* numbers ever used */
	uint32_t free_count;
	uint32_t count;
	uint32_t serial;
	struct ids bundles;
};

struct conns *conns_new(uint32_t slots, uint32_t limit)
{
	struct conns *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->slots = calloc(slots, sizeof(*t->slots));
	if (!t->slots) {
		free(t);
		return NULL;
	}
	t->slot_count = slots;
	t->limit = limit;
	return t;
}

void conns_free(struct conns *t)
{
	uint32_t cursor = 0;
	struct conn *c;

	if (!t)
		return;
	while ((c = conns_next(t, &cursor)))
		conns_remove(t, c);
	ids_fini(&t->bundles);
	free(t->all);
	free(t->free);
	free(t->slots);
	free(t);
}

static bool grow(struct conns *t)
{
	uint32_t room = t->room ? 2 * t->room : 64;
	struct conn **all = realloc(t->all, room * sizeof(struct conn *));
	uint32_t *unused;

	if (!all)
		return false;
	t->all = all;
	unused = realloc(t->free, room * sizeof(*unused));
	if (!unused)
		return false;
	t->free = unused;
	t->room = room;
	return true;
}

struct conn *conns_add(struct conns *t, uint32_t slot)
{
	struct conn *c;

	if (t->count >= t->limit || (!t->free_count && t->top == t->room && !grow(t)))
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->number = t->free_count ? t->free[--t->free_count] : ++t->top;
	c->serial = ++t->serial;
	c->slot = slot;
	c->fd = -1;
	t->all[c->number - 1] = c;
	if (slot != CONN_NO_SLOT)
		t->slots[slot] = c;
	t->count++;
	return c;
}

void conns_drop_slot(struct conns *t, struct conn *c)
{
	if (c->slot != CONN_NO_SLOT)
		t->slots[c->slot] = NULL;
	c->slot = CONN_NO_SLOT;
}

/* ---- bundles ------------------------------------------------------------- */

static struct bundle *find(const struct conns *t, uint64_t bundle)
{
	return (struct bundle *)ids_find(&t->bundles, bundle);
}

static struct bundle *make(struct conns *t, uint64_t bundle)
{
	struct bundle *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	TAILQ_INIT(&b->members);
	if (ids_add(&t->bundles, &b->node, bundle)) {
		free(b);
		return NULL;
	}
	return b;
}

int conns_join(struct conns *t, struct conn *c)
{
	struct bundle *b = find(t, c->record.bundle);
	struct conn *o;

	if (!b)
		b = make(t, c->record.bundle);
	if (!b)
		return -ENOMEM;
	if (b->count == HF_BUNDLE_MAX)
		return -ENOSPC;
	for (o = TAILQ_FIRST(&b->members); o && o->record.member <= c->record.member;)
		o = TAILQ_NEXT(o, link);
	if (o)
		TAILQ_INSERT_BEFORE(o, c, link);
	else
		TAILQ_INSERT_TAIL(&b->members, c, link);
	b->count++;
	c->bundle = b;
	return 0;
}

static void leave(struct conns *t, struct conn *c)
{
	struct bundle *b = c->bundle;

	if (!b)
		return;
	c->bundle = NULL;
	TAILQ_REMOVE(&b->members, c, link);
	if (--b->count)
		return;
	ids_remove(&t->bundles, &b->node);
	free(b);
}

size_t conns_members(const struct conns *t, uint64_t bundle,
		     struct conn *list[static HF_BUNDLE_MAX])
{
	const struct bundle *b = find(t, bundle);
	size_t count = 0;
	struct conn *c;

	if (!b)
		return 0;
	TAILQ_FOREACH(c, &b->members, link)
	list[count++] = c;
	return count;
}

/* ---- */

void conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

void conns_remove(struct conns *t, struct conn *c)
{
	conns_drop_slot(t, c);
	leave(t, c);
	t->all[c->number - 1] = NULL;
	t->free[t->free_count++] = c->number;
	t->count--;
	conn_close(c);
	record_clear(&c->record);
	free(c);
}

struct conn *conns_by_number(const struct conns *t, uint32_t number)
{
	return number && number <= t->top ? t->all[number - 1] : NULL;
}

struct conn *conns_by_slot(const struct conns *t, uint32_t slot)
{
	return slot < t->slot_count ? t->slots[slot] : NULL;
}

struct conn *conns_next(const struct conns *t, uint32_t *cursor)
{
	while (*cursor < t->top) {
		struct conn *c = t->all[(*cursor)++];

		if (c)
			return c;
	}
	return NULL;
}

uint32_t conns_count(const struct conns *t)
{
	return t->count;
}
