/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A hash table of things that have a 64-bit number: the thing embeds a node. Ids are our own nodes'
 * choice, so the hash has no secret. */
#ifndef HOLDFAST_TAKEOVER_IDS_H
#define HOLDFAST_TAKEOVER_IDS_H

#include <stddef.h>
#include <stdint.h>

struct ids_node {
	struct ids_node *next;
	uint64_t id;
};

struct ids { /* zeroed: empty */
	struct ids_node **buckets;
	size_t size; /* a power of two, or 0 */
	size_t count;
};

struct ids_node *ids_find(const struct ids *t, uint64_t id);
/* `id` must not be there. 0 or -ENOMEM. */
int ids_add(struct ids *t, struct ids_node *n, uint64_t id);
void ids_remove(struct ids *t, struct ids_node *n);
void ids_fini(struct ids *t); /* the nodes are the caller's */

#endif
