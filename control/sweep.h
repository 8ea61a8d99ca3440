/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Takes flows away that are idle, or whose association has ended: a pass through the whole map,
 * slice by slice from the event loop, so that whatever comes meanwhile is served between two of
 * them.
 */
#ifndef HOLDFAST_SWEEP_H
#define HOLDFAST_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

struct daemon;
struct sweep;

/* Needs the loop and the maps. What a daemon before us did not come to the end of is gone on with.
 * NULL: no memory. */
struct sweep *sweep_new(struct daemon *d);
/* NULL is allowed. */
void sweep_free(struct sweep *s);

/* Begins a pass, unless one is under way. */
void sweep_begin(struct sweep *s);

/* Gives back the element of an association that has ended: at once, or if it has flows, when they
 * are gone. */
void sweep_vacate(struct sweep *s, uint32_t index);

/* Are flows of an association that has ended in the way of another with this index? */
bool sweep_holds(const struct sweep *s, uint32_t index);

#endif
