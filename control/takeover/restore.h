/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Makes a socket of a record, with TCP_REPAIR (CAP_NET_ADMIN). Order of the calls and the traps:
 * tcp(7), and the comments in restore.c. Synchronous; some 20 us a connection.
 */
#ifndef HOLDFAST_TAKEOVER_RESTORE_H
#define HOLDFAST_TAKEOVER_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include <holdfast/guard.h>

struct restore_spec {
	const struct guard_facts *facts;
	uint64_t in_next;     /* offset of the next byte from the peer: the commit. The peer's FIN is
			         not counted here */
	uint64_t out_next;    /* offset of the next byte to the peer: what it acknowledged */
	uint64_t in_edge;     /* right edge that was told to the peer; 0: none, a default */
	uint32_t tsval;       /* lowest timestamp that we may send; 0 where not negotiated */
	uint32_t peer_tsval;  /* newest of the peer */
	uint32_t peer_window; /* bytes */
	bool peer_ended;      /* the peer's FIN follows at in_next */
	uint32_t mark;        /* GUARD_MARK-like mark for a FIN that is injected; see restore.c */
};

/* A connected, non-blocking, close-on-exec socket in `ret_fd`, repair mode off. 0 or negative
 * errno; `err` then holds one sentence. -EADDRINUSE: this machine has such a connection. The local
 * address need not be there yet (IP_FREEBIND/IP_TRANSPARENT). Nothing is sent to the network by it. */
int restore_tcp(const struct restore_spec *spec, int *ret_fd, char *err, size_t err_size);

/* A datagram socket with the same addresses; multicast groups: TTL and the interface by index (0:
 * by the routes). */
int restore_udp(const struct guard_key *key, uint8_t ttl, uint32_t ifindex, int *ret_fd, char *err,
		size_t err_size);

#endif
