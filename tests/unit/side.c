/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "tests/unit/side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static void on_restored(void *arg, const struct hf_restored *r)
{
	struct side *s = arg;

	if (s->restored < SEEN_MAX) {
		s->seen[s->restored] = *r;
		s->fds[s->restored] = r->fd;
	} else {
		close(r->fd);
	}
	s->restored++;
	s->last = r->conn;
	if (s->in_restored)
		s->in_restored(s, r);
}

static void on_committed(void *arg, struct hf_conn *c, uint64_t ticket)
{
	struct side *s = arg;

	s->committed++;
	s->last = c;
	s->ticket = ticket;
	if (s->in_committed)
		s->in_committed(s, c);
}

static void on_moved(void *arg, struct hf_conn *c)
{
	struct side *s = arg;

	s->moved++;
	s->last_moved = c;
}

static void on_role(void *arg, enum hf_role_now role)
{
	struct side *s = arg;

	s->role++;
	s->role_now = role;
}

static void on_daemon(void *arg, bool there)
{
	struct side *s = arg;

	s->daemon++;
	s->there = there;
}

const struct hf_ops side_ops = {
	.restored = on_restored,
	.committed = on_committed,
	.moved = on_moved,
	.role = on_role,
	.daemon = on_daemon,
};

int side_setup(void **state)
{
	struct side *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->d = appd_new();
	assert_int_equal(hf_open(NULL, "web", &side_ops, s, &s->h), 0);
	*state = s;
	return 0;
}

int side_teardown(void **state)
{
	struct side *s = *state;

	hf_close(s->h);
	for (unsigned int i = 0; i < s->restored && i < SEEN_MAX; i++)
		close(s->fds[i]);
	appd_free(s->d);
	free(s);
	return 0;
}

int side_listener(int family)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(family == AF_INET ? bind(fd, (struct sockaddr *)&v4, sizeof(v4))
					   : bind(fd, (struct sockaddr *)&v6, sizeof(v6)),
			 0);
	assert_int_equal(listen(fd, 128), 0);
	return fd;
}

struct side_sockets side_pair(int listener, int from)
{
	struct sockaddr_storage sa, me;
	socklen_t len = sizeof(sa), me_len = sizeof(me);
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct side_sockets p;

	/* the port is at one place in both families */
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	v4.sin_port = v6.sin6_port = ((struct sockaddr_in *)&sa)->sin_port;
	p.client = socket(from, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(from == AF_INET ? connect(p.client, (struct sockaddr *)&v4, sizeof(v4))
					 : connect(p.client, (struct sockaddr *)&v6, sizeof(v6)),
			 0);
	assert_int_equal(getsockname(p.client, (struct sockaddr *)&me, &me_len), 0);
	p.port = ((struct sockaddr_in *)&me)->sin_port;
	p.server = accept(listener, NULL, NULL);
	assert_true(p.server >= 0);
	return p;
}

void side_pair_close(struct side_sockets p)
{
	close(p.client);
	close(p.server);
}

struct hf_conn *side_guarded(struct side *s)
{
	int listener = side_listener(AF_INET);
	struct side_sockets p = side_pair(listener, AF_INET);
	struct hf_conn *c = NULL;

	assert_int_equal(hf_guard(s->h, p.server, &c), 0);
	assert_non_null(c);
	close(listener);
	side_pair_close(p);
	return c;
}

static void fail_next(struct appd *d, void *arg)
{
	d->fail = *(int *)arg;
}

void side_fail(struct side *s, int error)
{
	appd_do(s->d, fail_next, &error);
}

void side_hold(struct appd *d, void *arg)
{
	(void)arg;
	d->hold = true;
}

void side_sync(struct appd *d, void *arg)
{
	(void)d;
	(void)arg;
}

struct hf_checkpoint side_checkpoint(uint32_t protocol, const char *object, uint64_t start)
{
	return (struct hf_checkpoint){.protocol = protocol,
				      .object = object,
				      .object_start = start,
				      .data = "data",
				      .len = 4};
}

void side_give(struct appd *d, void *arg)
{
	struct side_gift *g = arg;
	struct timespec a, b;
	int *fds = calloc(g->count, sizeof(*fds));

	for (uint32_t i = 0; i < g->count; i++)
		fds[i] = fcntl(g->fd, F_DUPFD_CLOEXEC, 0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (uint32_t i = 0; i < g->count; i++) {
		uint32_t conn = g->first + i;

		g->m.bundle = g->bundle;
		g->m.member = i;
		g->m.members = g->bundle ? g->count : 1;
		g->m.key.peer_port = (__be16)conn;
		d->conns[conn].there = true;
		d->conns[conn].app = d->app;
		d->conns[conn].key = g->m.key;
		if (conn > d->top)
			d->top = conn;
		assert_int_equal(
			app_restored(d->app, conn, &g->m, g->protocols, g->protocol_count, fds[i]),
			0);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	g->us = (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
	free(fds);
}

void side_move(struct appd *d, void *arg)
{
	uint32_t conn = *(uint32_t *)arg;

	app_moved(d->conns[conn].app, conn);
	d->conns[conn].there = false;
}

int side_datagram(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}
