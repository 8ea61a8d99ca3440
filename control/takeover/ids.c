/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/ids.h"

#include <errno.h>
#include <stdlib.h>

#define SIZE_MIN 64

static struct ids_node **bucket_of(const struct ids *t, uint64_t id)
{
	return &t->buckets[(id * 0x9e3779b97f4a7c15u >> 32) & (t->size - 1)];
}

struct ids_node *ids_find(const struct ids *t, uint64_t id)
{
	struct ids_node *n;

	if (t->size == 0)
		return NULL;
	for (n = *bucket_of(t, id); n && n->id != id; n = n->next)
		;
	return n;
}

static int ids_grow(struct ids *t)
{
	struct ids bigger = {.size = t->size ? t->size * 2 : SIZE_MIN, .count = t->count};

	bigger.buckets = calloc(bigger.size, sizeof(struct ids_node *));
	if (!bigger.buckets)
		return -ENOMEM;
	for (size_t i = 0; i < t->size; i++) {
		struct ids_node *n, *next;

		for (n = t->buckets[i]; n; n = next) {
			struct ids_node **b = bucket_of(&bigger, n->id);

			next = n->next;
			n->next = *b;
			*b = n;
		}
	}
	free(t->buckets);
	*t = bigger;
	return 0;
}

int ids_add(struct ids *t, struct ids_node *n, uint64_t id)
{
	struct ids_node **b;

	/* a table that could not grow is slower, nothing else */
	if (t->count >= t->size && ids_grow(t) < 0 && t->size == 0)
		return -ENOMEM;
	n->id = id;
	b = bucket_of(t, id);
	n->next = *b;
	*b = n;
	t->count++;
	return 0;
}

void ids_remove(struct ids *t, struct ids_node *n)
{
	struct ids_node **at = bucket_of(t, n->id);

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->count--;
}

void ids_fini(struct ids *t)
{
	free(t->buckets);
	*t = (struct ids){0};
}
