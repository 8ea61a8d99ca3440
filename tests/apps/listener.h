/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The socket that a server here listens on; nothing of it is the library's. */
#ifndef TESTS_APPS_LISTENER_H
#define TESTS_APPS_LISTENER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Bound to an IPv4 or IPv6 address ("::": of both), and not listening: hf_listen() comes before
 * listen(). What it accepts sends without delay. -1 and errno on failure; the caller closes it.
 */
static inline int listener_open(const char *address, int port)
{
	struct sockaddr_in sa4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 sa6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	bool v4 = inet_pton(AF_INET, address, &sa4.sin_addr) == 1;
	int fd, one = 1;

	if (!v4 && inet_pton(AF_INET6, address, &sa6.sin6_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) &&
	    !setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) &&
	    !bind(fd, v4 ? (struct sockaddr *)&sa4 : (struct sockaddr *)&sa6,
		  v4 ? sizeof(sa4) : sizeof(sa6)))
		return fd;
	close(fd);
	return -1;
}

#endif
