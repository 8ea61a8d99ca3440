/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/shelf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "control/takeover/ids.h"

struct item {
	struct ids_node node; /* first: what the table gives is an item */
	TAILQ_ENTRY(item) link;
	struct parcel *parcel;
};

struct shelf_walk {
	LIST_ENTRY(shelf_walk) link;
	struct shelf *shelf;
	struct item *next;
};

struct shelf {
	struct ids ids;
	TAILQ_HEAD(, item) items; /* oldest first */
	LIST_HEAD(, shelf_walk) walks;
	size_t bytes;
};

/* ---- parcels -------------------------------------------------------------- */

static struct parcel *parcel_alloc(uint64_t id, size_t len)
{
	struct parcel *p = malloc(sizeof(*p) + len);

	if (p)
		*p = (struct parcel){.id = id, .refs = 1, .len = (uint32_t)len};
	return p;
}

int parcel_from_record(const struct record *r, struct parcel **ret)
{
	size_t len = record_size(r);
	struct parcel *p;

	if (len == 0)
		return -EINVAL;
	p = parcel_alloc(r->id, len);
	if (!p)
		return -ENOMEM;
	if (record_create(r, p->bytes, len) != (ssize_t)len) {
		free(p);
		return -EINVAL;
	}
	*ret = p;
	return 0;
}

int parcel_from_bytes(uint64_t id, const void *bytes, size_t len, struct parcel **ret)
{
	struct record r;
	struct parcel *p;
	int rc;

	rc = record_consume(bytes, len, &r);
	if (rc < 0)
		return rc;
	rc = r.id == id ? 0 : -EBADMSG;
	record_clear(&r);
	if (rc < 0)
		return rc;
	p = parcel_alloc(id, len);
	if (!p)
		return -ENOMEM;
	memcpy(p->bytes, bytes, len);
	*ret = p;
	return 0;
}

int parcel_deletion(uint64_t id, struct parcel **ret)
{
	struct parcel *p = parcel_alloc(id, 0);

	if (!p)
		return -ENOMEM;
	*ret = p;
	return 0;
}

struct parcel *parcel_ref(struct parcel *p)
{
	p->refs++;
	return p;
}

void parcel_unref(struct parcel *p)
{
	if (p && --p->refs == 0)
		free(p);
}

/* ---- shelf ---------------------------------------------------------------- */

struct shelf *shelf_new(void)
{
	struct shelf *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	TAILQ_INIT(&s->items);
	LIST_INIT(&s->walks);
	return s;
}

static struct item *find(const struct shelf *s, uint64_t id)
{
	return (struct item *)ids_find(&s->ids, id);
}

static void item_remove(struct shelf *s, struct item *i)
{
	struct shelf_walk *w;

	LIST_FOREACH(w, &s->walks, link)
	if (w->next == i)
		w->next = TAILQ_NEXT(i, link);
	TAILQ_REMOVE(&s->items, i, link);
	ids_remove(&s->ids, &i->node);
	s->bytes -= i->parcel->len;
	parcel_unref(i->parcel);
	free(i);
}

void shelf_clear(struct shelf *s)
{
	struct item *i;

	while ((i = TAILQ_FIRST(&s->items)))
		item_remove(s, i);
}

void shelf_free(struct shelf *s)
{
	if (!s)
		return;
	shelf_clear(s);
	ids_fini(&s->ids);
	free(s);
}

int shelf_put(struct shelf *s, struct parcel *p)
{
	struct item *i = find(s, p->id);

	if (p->len == 0) {
		if (i)
			item_remove(s, i);
		return 0;
	}
	if (i) {
		s->bytes -= i->parcel->len;
		parcel_ref(p);
		parcel_unref(i->parcel);
	} else {
		i = calloc(1, sizeof(*i));
		if (!i || ids_add(&s->ids, &i->node, p->id) < 0) {
			free(i);
			return -ENOMEM;
		}
		TAILQ_INSERT_TAIL(&s->items, i, link);
		parcel_ref(p);
	}
	i->parcel = p;
	s->bytes += p->len;
	return 0;
}

const struct parcel *shelf_get(const struct shelf *s, uint64_t id)
{
	const struct item *i = find(s, id);

	return i ? i->parcel : NULL;
}

size_t shelf_count(const struct shelf *s)
{
	return s->ids.count;
}

size_t shelf_bytes(const struct shelf *s)
{
	return s->bytes;
}

void shelf_each(const struct shelf *s, bool (*each)(void *arg, const struct record *r), void *arg)
{
	struct item *i;
	bool more = true;

	TAILQ_FOREACH(i, &s->items, link)
	{
		struct record r;

		/* every parcel was read or made by us once: only memory can be short */
		if (record_consume(i->parcel->bytes, i->parcel->len, &r) < 0)
			continue;
		more = each(arg, &r);
		record_clear(&r);
		if (!more)
			return;
	}
}

struct shelf_walk *shelf_walk_new(struct shelf *s)
{
	struct shelf_walk *w = malloc(sizeof(*w));

	if (!w)
		return NULL;
	w->shelf = s;
	w->next = TAILQ_FIRST(&s->items);
	LIST_INSERT_HEAD(&s->walks, w, link);
	return w;
}

void shelf_walk_free(struct shelf_walk *w)
{
	if (!w)
		return;
	LIST_REMOVE(w, link);
	free(w);
}

struct parcel *shelf_walk_next(struct shelf_walk *w)
{
	struct item *i = w->next;

	if (!i)
		return NULL;
	w->next = TAILQ_NEXT(i, link);
	return i->parcel;
}
