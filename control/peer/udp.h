/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The control port's UDP sockets: one for IPv4, one for IPv6, every datagram with
 * the address and interface it came to or leaves from. */
#ifndef HOLDFAST_UDP_H
#define HOLDFAST_UDP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <holdfast/layout.h>

struct udp {
	int fd4;
	int fd6;       /* -1 where the kernel has no IPv6 */
	uint16_t port; /* host order, ours and the peer's */
};

struct udp_ends {
	struct hf_addr local;
	struct hf_addr peer;
	uint32_t ifindex;
	uint16_t peer_port;
};

/* Non-blocking. 0 or negative errno (-EADDRINUSE: another program has the port). */
int udp_open(uint16_t port, struct udp *ret);
void udp_close(struct udp *u);

/* From ends->local out of ends->ifindex to ends->peer. 0 or negative errno; what the kernel says
 * about routes and links (-ENETUNREACH, -EADDRNOTAVAIL, ...) tells that the path is not there. */
int udp_send(const struct udp *u, const struct udp_ends *ends, const void *data, size_t len);

/* One datagram; its whole length is returned even if it was cut to `size`; -EAGAIN when there is
 * none. */
ssize_t udp_receive(int fd, void *data, size_t size, struct udp_ends *ret);

#endif
