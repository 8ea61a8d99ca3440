/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The unmodified server of this node: where it is, and whether it answers. */
#ifndef HOLDFAST_FRONT_SERVER_H
#define HOLDFAST_FRONT_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* ADDRESS:PORT, [ADDRESS]:PORT or, where `local`, unix:/PATH; numbers only. -EINVAL. */
int address_parse(const char *text, bool local, struct address *ret);

/* A non-blocking descriptor that is connected or is about to be (it becomes writable; then
 * SO_ERROR says more); negative errno. */
int server_connect(const struct address *a);
/* Connects and closes, in at most `ms`. */
bool server_answers(const struct address *a, int ms);

#endif
