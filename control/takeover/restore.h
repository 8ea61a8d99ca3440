/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Makes a socket of a record, with TCP_REPAIR (CAP_NET_ADMIN, and CAP_NET_RAW where the peer has
 * ended). Order of the calls and the traps: tcp(7), and the comments in restore.c. Synchronous;
 * some 10 us a connection, 15 us where the peer has ended.
 */
#ifndef HOLDFAST_TAKEOVER_RESTORE_H
#define HOLDFAST_TAKEOVER_RESTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <holdfast/guard.h>

/* What ended connections need to be made: sockets of the network namespace that it was first used
 * in, kept open. For one thread. */
struct restore_tools;
struct restore_tools *restore_tools_new(void);    /* NULL without memory */
void restore_tools_free(struct restore_tools *t); /* NULL is allowed */

struct restore_spec {
	const struct guard_facts *facts;
	struct restore_tools *tools; /* of the caller, for many; NULL: made for this call alone */
	uint64_t in_next;    /* offset of the next byte from the peer: the commit. The peer's FIN is
				not counted here */
	uint64_t out_next;   /* offset of the next byte to the peer: what it acknowledged */
	uint64_t in_edge;    /* right edge that was told to the peer; 0: none, a default */
	uint32_t tsval;      /* lowest timestamp that we may send; 0 where not negotiated */
	uint32_t peer_tsval; /* newest of the peer */
	uint32_t peer_window; /* bytes */
	bool peer_ended;      /* the peer's FIN follows at in_next */
	uint32_t mark;        /* SO_MARK of the peer's FIN on its way to our own stack; 0: none */
};

/* A connected, non-blocking, close-on-exec socket in `ret_fd`, repair mode off. 0 or negative
 * errno; `err` then holds one sentence. -EADDRINUSE: this machine has such a connection, see
 * restore_clear(). Nothing is sent to the network by it, except that some 40 ms after a restored
 * end the kernel acknowledges it. The local address need not be there yet (IP_TRANSPARENT), except
 * where the peer has ended: -EADDRNOTAVAIL, and lo must be up then. Closing the socket later
 * without a word to the guard sends a FIN as any close(2). */
int restore_tcp(const struct restore_spec *spec, int *ret_fd, char *err, size_t err_size);

/* Destroys whatever this machine still has with these ends, listening sockets excepted: the orphan
 * of an application that died here, TIME_WAIT; a socket that a process holds gets ECONNABORTED. The
 * kernel sends a RST for it: the guard must know the connection, or the address be fenced. -ENOENT:
 * there is none. -EOPNOTSUPP: a kernel without CONFIG_INET_DIAG_DESTROY. */
int restore_clear(const struct guard_key *key, char *err, size_t err_size);

/* A datagram socket with the same addresses, connected where there is a peer; non-blocking,
 * close-on-exec. `ttl` 0: the default; with a multicast peer it is that of groups, and `ifindex`
 * their interface (0: by the routes). */
int restore_udp(const struct guard_key *key, uint8_t ttl, uint32_t ifindex, int *ret_fd, char *err,
		size_t err_size);

#endif
