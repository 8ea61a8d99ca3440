/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Early fragments: those, outer or inner, that the data plane handed up because
 * the first fragment of their packet had not come (HF_REASON_FRAGMENT_EARLY). Each
 * is offered to the data plane again every HOLD_RETRY_MS until HOLD_LIFE_MS after
 * it was first seen. The one that still cannot be placed comes back by hf0 and
 * hold_add(), which knows it by (source, destination, identification, protocol,
 * offset) and keeps its age; the one that does not come back was placed.
 *
 * Bounded by HOLD_MAX fragments and HOLD_BYTES_MAX bytes, so a flood of fragments
 * costs no more than that. A packet is struct virtio_net_hdr (10 bytes) and the IP
 * packet. Times are ms of one monotonic clock. Not thread-safe; no I/O.
 */
#ifndef HOLDFAST_HOLD_H
#define HOLDFAST_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOLD_MAX       256u
#define HOLD_BYTES_MAX (1024u * 1024u)
#define HOLD_RETRY_MS  5u
#define HOLD_LIFE_MS   1000u

struct hold; /* opaque */

enum hold_result {
	HOLD_HELD,         /* will be offered again */
	HOLD_EXPIRED,      /* dropped: too old (HF_REASON_FRAGMENT_EXPIRED) */
	HOLD_FULL,         /* dropped: bound reached or no memory */
	HOLD_NOT_FRAGMENT, /* not taken: no non-first fragment */
};

struct hold_counters {    /* fragments, since hold_new() */
	uint64_t held;    /* first time seen */
	uint64_t offered; /* times */
	uint64_t placed;  /* did not come back */
	uint64_t expired;
	uint64_t full;
};

/* Offers one packet to the data plane, by writing it to hf0. 0, or a negative errno: it is
 * offered again later. Must not call this module. */
typedef int (*hold_offer)(void *arg, const void *packet, size_t len);

struct hold *hold_new(void);    /* NULL: no memory */
void hold_free(struct hold *h); /* NULL is allowed */

/* True for a non-first IPv4 or IPv6 fragment; `packet` as for hold_add(). */
bool hold_is_fragment(const void *packet, size_t len);

/* Copies the packet. A fragment that is held already is not held twice (HOLD_HELD). */
enum hold_result hold_add(struct hold *h, const void *packet, size_t len, uint64_t now_ms);

/* Offers what is due, oldest first, and drops what is too old; returns the number offered. */
size_t hold_due(struct hold *h, uint64_t now_ms, hold_offer offer, void *arg);

/* ms until hold_due() has something to do, 0 if it has now, -1 if nothing is held. */
int hold_next_ms(const struct hold *h, uint64_t now_ms);

const struct hold_counters *hold_counters(const struct hold *h);

#endif
