/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* TCP segments that the daemon makes itself: probes, and acknowledgements after a commit. */
#ifndef HOLDFAST_TAKEOVER_SEGMENT_H
#define HOLDFAST_TAKEOVER_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include <holdfast/guard.h>

#define SEGMENT_MAX 128 /* bytes of the longest one, IP header included */

struct segment {
	const struct guard_facts *facts;
	uint64_t seq;    /* offset in "out" */
	uint64_t ack;    /* offset in "in" */
	uint64_t edge;   /* right edge of the window, offset in "in"; never told as less than `ack` */
	uint32_t tsval;  /* written only where facts->options has GUARD_TS */
	uint32_t tsecr;
	uint8_t octets;  /* 0, or 1: one octet of payload (a probe), of value 0 */
};

/* Writes a whole IP packet with checksums. Returns its length. Pure. */
size_t segment_create(const struct segment *s, uint8_t out[static SEGMENT_MAX]);

struct segment_sender; /* raw sockets for IPv4 and IPv6, with GUARD_MARK */
int segment_open(struct segment_sender **ret);
void segment_close(struct segment_sender *s);
/* 0 or negative errno. Many at once: one sendmmsg(2) where it can be. */
int segment_send(struct segment_sender *s, const struct segment *list, size_t count);

#endif
