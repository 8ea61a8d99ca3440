/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* TCP segments that the daemon makes itself: probes, acknowledgements after a commit, and a peer's
 * FIN that a restored socket is told of. */
#ifndef HOLDFAST_TAKEOVER_SEGMENT_H
#define HOLDFAST_TAKEOVER_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <holdfast/guard.h>

#define SEGMENT_MAX 128 /* bytes of the longest one, IP header included */

struct segment {
	const struct guard_facts *facts;
	uint64_t seq;   /* offset in "out" */
	uint64_t ack;   /* offset in "in" */
	uint64_t edge;  /* right edge of the window, offset in "in"; never told as less than `ack`,
			   and rounded up to what the scale can say: an edge once told stays */
	uint32_t tsval; /* written only where facts->options has GUARD_TS */
	uint32_t tsecr;
	uint8_t octets; /* 0, or 1: one octet of payload (a probe), of value 0 */
	bool fin;
	bool synack; /* our answer to a SYN, with the options that were negotiated; `seq` is -1, and
			the window is not scaled */
	bool from_peer; /* as if the peer sent it: the ends, "in" and "out" above change places, and
			   so do the window scales */
};

/* Writes a whole IP packet with checksums. Returns its length in bytes. Pure. */
size_t segment_create(const struct segment *s, uint8_t out[static SEGMENT_MAX]);

struct segment_sender;                         /* raw sockets for IPv4 and IPv6, with GUARD_MARK */
int segment_open(struct segment_sender **ret); /* 0 or negative errno */
void segment_close(struct segment_sender *s);  /* NULL is allowed */
/* Sends as many at a time as sendmmsg(2) takes, by the route that their source has (it need not be
 * an address of this host). Never blocks. One that cannot be sent does not keep back the rest: 0,
 * or the first negative errno. */
int segment_send(struct segment_sender *s, const struct segment *list, size_t count);

#endif
