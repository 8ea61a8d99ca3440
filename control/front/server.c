/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/front/server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static int parse_unix(const char *path, struct address *ret)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&ret->sa;

	if (*path != '/' || strlen(path) >= sizeof(sun->sun_path))
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	sun->sun_family = AF_UNIX;
	strcpy(sun->sun_path, path);
	ret->len = sizeof(*sun);
	return 0;
}

int address_parse(const char *text, bool local, struct address *ret)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				 .ai_socktype = SOCK_STREAM},
			*info;
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	char host[INET6_ADDRSTRLEN + 2];

	if (local && !strncmp(text, "unix:", 5))
		return parse_unix(text + 5, ret);
	if (len && *text == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (!len || len >= sizeof(host))
		return -EINVAL;
	snprintf(host, sizeof(host), "%.*s", (int)len, text);
	if (getaddrinfo(host, colon + 1, &hints, &info))
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	memcpy(&ret->sa, info->ai_addr, info->ai_addrlen);
	ret->len = info->ai_addrlen;
	freeaddrinfo(info);
	return 0;
}

int server_connect(const struct address *a)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	int ret;

	if (fd < 0)
		return -errno;
	if (a->sa.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!connect(fd, (const struct sockaddr *)&a->sa, a->len) || errno == EINPROGRESS)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

bool server_answers(const struct address *a, int ms)
{
	int fd = server_connect(a), error = 0;
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(error);
	bool ok;

	if (fd < 0)
		return false;
	ok = poll(&p, 1, ms) == 1 && !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) && !error;
	close(fd);
	return ok;
}
