/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the fast path hands to the daemon through hf0: parked packets, early
 * fragments, and what cannot be carried (N5). */
#ifndef HOLDFAST_PUMP_H
#define HOLDFAST_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct assoc;
struct daemon;

/* Reads hf0 until it is empty, or `max` packets. true: there may be more. */
bool pump_read(struct daemon *d, size_t max);

/* Sends in order what is parked for an association whose route names a path, then lets the fast
 * path have it: HF_MODE_ACTIVE. Returns the packets released. */
size_t pump_release(struct assoc *a);

/* Early fragments that are due. */
void pump_tick(struct daemon *d, uint64_t now_ms);

#endif
