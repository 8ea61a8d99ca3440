/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* libholdfast: the daemon goes and comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/side.h"

/* ---- the daemon goes and comes -------------------------------------------------- */

static void calls_while_it_is_away(void **state)
{
	struct side *s = *state;
	int listener = side_listener(AF_INET), udp = side_datagram();
	struct side_sockets p = side_pair(listener, AF_INET);
	struct hf_conn *c = side_guarded(s), *other;
	uint64_t bundle = 0;

	appd_kill(s->d);
	side_until(s, s->daemon == 1);
	assert_false(s->there);
	assert_int_equal(hf_dispatch(s->h), -ENOTCONN);
	assert_in_range(hf_timeout(s->h), 0, 1000);
	assert_int_equal(hf_listen(s->h, listener), -ENOTCONN);
	assert_int_equal(hf_guard(s->h, p.server, &other), -ENOTCONN);
	assert_int_equal(hf_datagram(s->h, udp, NULL, 0, &other), -ENOTCONN);
	assert_int_equal(hf_bundle(c, &bundle), -ENOTCONN);
	assert_non_null(strstr(hf_error(s->h), "away"));
	/* wants to be waited for, but not for ever */
	assert_int_equal(hf_commit(c, 1, &bundle), 0);
	assert_int_equal(hf_wait(c, bundle, 50), -ETIMEDOUT);
	assert_int_equal(s->daemon, 1);
	appd_start(s->d);
	side_until(s, s->there);
	assert_int_equal(s->daemon, 2);
	assert_int_equal(hf_guard(s->h, p.server, &other), 0);
	close(listener);
	close(udp);
	side_pair_close(p);
}

/* That connection, by what was accounted for. */
static const struct appd_conn *by_received(const struct appd *d, uint64_t received)
{
	const struct appd_conn *found = NULL;

	for (uint32_t i = 1; i <= d->top; i++)
		if (d->conns[i].received == received) {
			assert_null(found);
			found = &d->conns[i];
		}
	return found;
}

static void t1_daemon_that_returns_hears_everything(void **state)
{
	struct side *s = *state;
	struct record_protocol p[] = {{.protocol = 5}, {.protocol = 6}};
	struct side_gift g = {.first = 100,
			      .count = 1,
			      .protocols = p,
			      .protocol_count = 2,
			      .fd = 0,
			      .m = {.received = 500, .proto = IPPROTO_TCP}};
	struct hf_conn *done, *lost, *under_way, *gone, *ended, *late_end, *first, *second, *udp[2];
	int listener = side_listener(AF_INET), fds[2] = {side_datagram(), side_datagram()};
	struct hf_checkpoint a = side_checkpoint(1, "one", 10), b = side_checkpoint(2, "two", 20);
	const struct appd_conn *c;
	uint64_t ticket, bundle = 0;
	uint32_t four;

	assert_int_equal(hf_listen(s->h, listener), 0);
	close(listener);
	done = side_guarded(s);
	under_way = side_guarded(s);
	lost = side_guarded(s);
	gone = side_guarded(s);
	ended = side_guarded(s);
	late_end = side_guarded(s);
	first = side_guarded(s);
	second = side_guarded(s);
	for (int i = 0; i < 2; i++)
		assert_int_equal(hf_datagram(s->h, fds[i], NULL, 0, &udp[i]), 0);
	assert_int_equal(hf_bundle(second, &bundle), 0);
	assert_int_equal(hf_bundle(first, &bundle), 0);
	appd_do(s->d, side_give, &g);
	side_until(s, s->restored == 1);
	assert_int_equal(hf_ready(s->last, 5), 0);

	hf_checkpoint(done, &a);
	hf_checkpoint(done, &b);
	hf_commit(done, 1001, &ticket);
	assert_int_equal(hf_wait(done, ticket, -1), 0);
	a.object_start = 11; /* not covered by a commit */
	hf_checkpoint(done, &a);
	hf_commit(ended, 1002, NULL);
	assert_int_equal(hf_end(ended), 0);
	four = 4;
	appd_do(s->d, side_move, &four);
	side_until(s, s->moved == 1);
	assert_ptr_equal(s->last_moved, gone);
	appd_do(s->d, side_hold, NULL);
	hf_checkpoint(under_way, &b);
	hf_commit(under_way, 1003, NULL);
	hf_commit(under_way, 1004, &ticket);
	hf_commit(first, 1005, NULL);
	hf_commit(second, 1006, NULL);

	appd_kill(s->d);
	side_until(s, s->daemon == 1);
	s->d->hold = false;
	s->d->listens = s->d->datagrams = 0;
	close(fds[1]);
	assert_int_equal(hf_commit(late_end, 1007, NULL), 0);
	assert_int_equal(hf_end(late_end), -ENOTCONN);
	hf_forget(late_end);
	hf_forget(lost);
	assert_int_equal(hf_ready(s->seen[0].conn, 6), 0);
	appd_start(s->d);
	side_until(s, s->there);

	assert_int_equal(s->d->listens, 1);
	assert_int_equal(s->d->datagrams, 1);
	/* the one whose socket is gone cannot be shown to the daemon */
	assert_int_equal(s->moved, 2);
	assert_ptr_equal(s->last_moved, udp[1]);
	assert_int_equal(hf_wait(under_way, ticket, -1), 0);
	appd_do(s->d, side_sync, NULL);
	c = by_received(s->d, 1001);
	assert_int_equal(c->protocol_count, 2);
	assert_int_equal(c->protocols[0].object_start, 10);
	assert_string_equal(c->protocols[1].object, "two");
	assert_true(by_received(s->d, 1002)->ended);
	c = by_received(s->d, 1004);
	assert_int_equal(c->protocol_count, 1);
	assert_false(c->ended);
	assert_int_equal(by_received(s->d, 1006)->member, 0);
	assert_int_equal(by_received(s->d, 1006)->bundle, bundle);
	assert_int_equal(by_received(s->d, 1005)->member, 1);
	c = by_received(s->d, 1007);
	assert_true(c->ended);
	assert_true(c->forgotten);
	/* done, under way, ended, late end, first, second, a datagram socket, the restored one */
	assert_int_equal(s->d->top, 8);
	for (uint32_t i = 1; i <= s->d->top; i++)
		if (!memcmp(&s->d->conns[i].key, &g.m.key, sizeof(g.m.key)))
			assert_int_equal(s->d->conns[i].readies, 2);
	/* and it goes on */
	hf_commit(done, 2000, &ticket);
	assert_int_equal(hf_wait(done, ticket, -1), 0);
	appd_do(s->d, side_sync, NULL);
	assert_int_equal(by_received(s->d, 2000)->protocols[0].object_start, 11);
	close(fds[0]);
}

static void connection_that_ended_meanwhile(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s), *other = side_guarded(s);
	uint64_t ticket;

	appd_kill(s->d);
	side_until(s, s->daemon == 1);
	s->d->fail = -ENOENT;
	appd_start(s->d);
	side_until(s, s->there);
	side_until(s, s->moved == 1);
	assert_ptr_equal(s->last_moved, c);
	assert_int_equal(hf_commit(c, 1, NULL), -EPIPE);
	assert_int_equal(hf_commit(other, 1, &ticket), 0);
	assert_int_equal(hf_wait(other, ticket, -1), 0);
}

static void endpoint_that_is_not_guarded_any_more(void **state)
{
	struct side *s = *state;
	int fd = side_listener(AF_INET), err = 0;

	assert_int_equal(hf_listen(s->h, fd), 0);
	appd_kill(s->d);
	side_until(s, s->daemon == 1);
	s->d->fail = -EADDRNOTAVAIL;
	appd_start(s->d);
	while (err == 0 || err == -ENOTCONN) {
		struct pollfd p = {.fd = hf_fd(s->h), .events = POLLIN};

		poll(&p, 1, hf_timeout(s->h));
		err = hf_dispatch(s->h);
	}
	assert_int_equal(err, -EADDRNOTAVAIL);
	assert_true(s->there);
	assert_int_equal(hf_unlisten(s->h, fd), 0);
	close(fd);
}

static void *kill_and_start(void *arg)
{
	struct appd *d = arg;

	usleep(20000);
	appd_kill(d);
	d->hold = false;
	usleep(20000);
	appd_start(d);
	return NULL;
}

static void t7_wait_outlives_the_daemon(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s);
	pthread_t thread;
	uint64_t ticket;

	appd_do(s->d, side_hold, NULL);
	hf_commit(c, 77, &ticket);
	pthread_create(&thread, NULL, kill_and_start, s->d);
	assert_int_equal(hf_wait(c, ticket, 9000), 0);
	pthread_join(thread, NULL);
	assert_int_equal(s->daemon, 2);
	assert_non_null(by_received(s->d, 77));
}

/* Over and over, in the middle of being told, too. */
static void t7_many_deaths(void **state)
{
	struct side *s = *state;
	static struct hf_conn *all[200];
	struct hf_checkpoint cp = side_checkpoint(3, "x", 0);
	uint64_t tickets[200], n = 1000;

	for (int i = 0; i < 200; i++)
		all[i] = side_guarded(s);
	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < 200; i++) {
			cp.object_start = n;
			assert_int_equal(hf_checkpoint(all[i], &cp), 0);
			assert_int_equal(hf_commit(all[i], n++, &tickets[i]), 0);
		}
		if (round % 3)
			hf_dispatch(s->h);
		appd_kill(s->d);
		hf_dispatch(s->h);
		appd_start(s->d);
		for (int i = 0; i < round % 7; i++) {
			struct pollfd p = {.fd = hf_fd(s->h), .events = POLLIN};

			poll(&p, 1, 10);
			hf_dispatch(s->h);
		}
	}
	for (int i = 0; i < 200; i++)
		assert_int_equal(hf_wait(all[i], tickets[i], 5000), 0);
	appd_do(s->d, side_sync, NULL);
	assert_int_equal(s->d->top, 200);
	for (int i = 0; i < 200; i++) {
		const struct appd_conn *c = by_received(s->d, n - 200 + (uint64_t)i);

		assert_non_null(c);
		assert_int_equal(c->protocols[0].object_start, c->received);
	}
	assert_int_equal(s->moved, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, side_setup, side_teardown)
		TEST(calls_while_it_is_away),
		TEST(t1_daemon_that_returns_hears_everything),
		TEST(connection_that_ended_meanwhile),
		TEST(endpoint_that_is_not_guarded_any_more),
		TEST(t7_wait_outlives_the_daemon),
		TEST(t7_many_deaths),
	};

	if (!appd_network())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
