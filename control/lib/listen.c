/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/lib/handle.h"

int identity_of(int fd, struct identity *ret)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*ret = (struct identity){st.st_dev, st.st_ino};
	return 0;
}

int address_of(const struct sockaddr *sa, struct hf_addr *ret, __be16 *ret_port)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	memset(ret, 0, sizeof(*ret));
	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&v4, sa, sizeof(v4));
		ret->b[10] = ret->b[11] = 0xff;
		memcpy(ret->b + 12, &v4.sin_addr, 4);
		*ret_port = v4.sin_port;
		return 0;
	case AF_INET6:
		memcpy(&v6, sa, sizeof(v6));
		memcpy(ret->b, &v6.sin6_addr, 16);
		*ret_port = v6.sin6_port;
		return 0;
	default:
		return -EAFNOSUPPORT;
	}
}

static bool bound_tcp(int fd)
{
	struct sockaddr_storage sa;
	struct hf_addr addr;
	socklen_t len = sizeof(int);
	__be16 port;
	int proto;

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &proto, &len) || proto != IPPROTO_TCP)
		return false;
	len = sizeof(sa);
	return !getsockname(fd, (struct sockaddr *)&sa, &len) &&
	       !address_of((struct sockaddr *)&sa, &addr, &port) && port;
}

static void listener_close(struct hf *h, struct listener *l)
{
	TAILQ_REMOVE(&h->listeners, l, link);
	close(l->fd);
	free(l);
}

int hf_listen(struct hf *h, int fd)
{
	struct app_listen m = {.h = {.type = APP_LISTEN, .len = sizeof(m)}};
	struct listener *l;
	int err;

	if (!bound_tcp(fd))
		return hf_fail(h, -EINVAL, "descriptor %d is not a bound TCP socket", fd);
	l = calloc(1, sizeof(*l));
	if (!l)
		return hf_fail(h, -ENOMEM, "there is no memory");
	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (l->fd < 0) {
		err = hf_fail(h, -errno, "the socket cannot be duplicated: %s", strerror(errno));
		free(l);
		return err;
	}
	err = link_request(h, &m.h, NULL, l->fd, NULL);
	TAILQ_INSERT_TAIL(&h->listeners, l, link);
	if (err)
		listener_close(h, l);
	return err;
}

int hf_unlisten(struct hf *h, int fd)
{
	struct identity mine = {0, 0}, its = {0, 0};
	struct listener *l;
	int err = identity_of(fd, &its);

	if (err)
		return hf_fail(h, err, "descriptor %d: %s", fd, strerror(-err));
	for (l = TAILQ_FIRST(&h->listeners); l; l = TAILQ_NEXT(l, link))
		if (!identity_of(l->fd, &mine) && mine.dev == its.dev && mine.ino == its.ino) {
			if (l->want) {
				l->want = false;
				link_told(h);
			}
			listener_close(h, l);
			return 0;
		}
	return hf_fail(h, -ENOENT, "descriptor %d was not given to hf_listen()", fd);
}

int listeners_flush(struct hf *h)
{
	struct app_listen m = {
		.h = {.type = APP_LISTEN, .len = sizeof(m), .serial = SERIAL_LISTEN}};
	struct listener *l;
	int err;

	for (l = TAILQ_FIRST(&h->listeners); l; l = TAILQ_NEXT(l, link)) {
		if (!l->want)
			continue;
		err = link_send(h, &m, l->fd);
		if (err)
			return err;
		l->want = false;
	}
	return 0;
}

void listeners_again(struct hf *h)
{
	struct listener *l;

	for (l = TAILQ_FIRST(&h->listeners); l; l = TAILQ_NEXT(l, link)) {
		l->want = true;
		h->again++;
	}
}

void listeners_close(struct hf *h)
{
	while (!TAILQ_EMPTY(&h->listeners))
		listener_close(h, TAILQ_FIRST(&h->listeners));
}
