/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Parked packets: one queue an association, in order, bounded in bytes for each
 * and for all (N5: held in bounded buffers, released in order). A packet is what
 * a read of hf0 gave: struct virtio_net_hdr (10 bytes) and the IP packet.
 *
 * A TCP segment that retransmits a held one (same tuple, sequence number, payload
 * length, SYN/FIN, and GSO form) is not held twice: one copy remains, in the
 * place of the first. It is the newest as long as nothing of its flow is held behind
 * it, for the sake of the sender's round-trip sample; else the older, because the
 * newer timestamp in front would make the receiver discard what follows (RFC 7323
 * section 5.3, PAWS). Pure ACKs are never merged: their number means something.
 *
 * When a bound is reached the newcomer is refused, never something held. Not
 * thread-safe; no I/O.
 */
#ifndef HOLDFAST_PARK_H
#define HOLDFAST_PARK_H

#include <stddef.h>
#include <stdint.h>

#define PARK_PACKET_MIN (10u + 20u)
#define PARK_PACKET_MAX (10u + 40u + 65535u)

struct park; /* opaque */

enum park_result {
	PARK_HELD,      /* new at the end of its queue */
	PARK_REPLACED,  /* was a retransmission: still one copy (HF_REASON_PARK_REPLACED) */
	PARK_FULL,      /* dropped: bound reached or no memory (HF_REASON_PARK_FULL) */
	PARK_MALFORMED, /* dropped: length out of bounds, or no such association */
};

struct park_counters { /* since park_new(); packets, but for `released_bytes` */
	uint64_t held;
	uint64_t replaced;
	uint64_t full;
	uint64_t malformed;
	uint64_t released;       /* park_pop() */
	uint64_t released_bytes; /* as passed to park_add() */
	uint64_t dropped;        /* park_drop() */
};

/* Bounds in bytes, including the bookkeeping of each packet; an association may use at most
 * `assoc_bytes` of `total_bytes`. The index (32 KiB, and 4 to 16 bytes per KiB of
 * `total_bytes`, at most 512 KiB) comes on top. NULL: no memory. */
struct park *park_new(size_t assoc_bytes, size_t total_bytes);
void park_free(struct park *p); /* NULL is allowed; frees what is held */

/* Copies the packet. `assoc` is below HF_ASSOCS_MAX. */
enum park_result park_add(struct park *p, uint32_t assoc, const void *packet, size_t len);

/* The oldest packet of an association, owned by the park and valid until the next call that
 * changes it; NULL and `*len` untouched if there is none. */
const void *park_peek(const struct park *p, uint32_t assoc, size_t *len);

/* Removes the oldest packet, after it was sent. Nothing happens if there is none. */
void park_pop(struct park *p, uint32_t assoc);

/* Removes all of an association; returns how many there were. */
size_t park_drop(struct park *p, uint32_t assoc);

size_t park_packets(const struct park *p, uint32_t assoc);
size_t park_bytes(const struct park *p, uint32_t assoc); /* as bounded: with bookkeeping */
size_t park_total_bytes(const struct park *p);
const struct park_counters *park_counters(const struct park *p);

#endif
