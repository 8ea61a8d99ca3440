/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* libholdfast: connections that come, move and end. */
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

/* ---- restored ------------------------------------------------------------------ */

static void look_at_checkpoints(struct side *s, const struct hf_restored *r)
{
	struct hf_checkpoint cp = side_checkpoint(5, "of this node", 2000);

	/* what it was given stays valid although it says something new */
	assert_int_equal(hf_checkpoint(r->conn, &cp), 0);
	assert_int_equal(hf_commit(r->conn, r->received, &s->ticket), 0);
	assert_int_equal(hf_wait(r->conn, s->ticket, -1), 0);
	assert_int_equal(r->checkpoint_count, 2);
	assert_int_equal(r->checkpoints[0].protocol, 5);
	assert_string_equal(r->checkpoints[0].object, "of that node");
	assert_int_equal(r->checkpoints[0].object_start, 1000);
	assert_null(r->checkpoints[0].data);
	assert_int_equal(r->checkpoints[1].protocol, 6);
	assert_null(r->checkpoints[1].object);
	assert_int_equal(r->checkpoints[1].len, 3);
	assert_memory_equal(r->checkpoints[1].data, "abc", 3);
	assert_string_equal(r->from, "node-b");
	assert_int_equal(hf_dispatch(s->h), -EBUSY);
}

static void t2_restored_connection(void **state)
{
	struct side *s = *state;
	struct record_protocol p[] = {
		{.protocol = 5, .object_len = 12, .object = "of that node", .object_start = 1000},
		{.protocol = 6, .data_len = 3, .data = (uint8_t *)"abc"},
	};
	struct side_gift g = {.first = 17,
			      .count = 1,
			      .protocols = p,
			      .protocol_count = 2,
			      .m = {.sent = 1234,
				    .received = 5678,
				    .proto = IPPROTO_TCP,
				    .flags = APP_RESTORED_PEER_ENDED | APP_RESTORED_ENDED,
				    .from = "node-b"}};
	int listener = side_listener(AF_INET);
	struct side_sockets pair = side_pair(listener, AF_INET);
	char c;

	g.fd = pair.server;
	s->in_restored = look_at_checkpoints;
	appd_do(s->d, side_give, &g);
	side_until(s, s->restored == 1);
	assert_int_equal(s->seen[0].sent, 1234);
	assert_int_equal(s->seen[0].received, 5678);
	assert_true(s->seen[0].peer_ended);
	assert_false(s->seen[0].fresh);
	assert_true(s->seen[0].ended);
	assert_int_equal(s->seen[0].members, 1);
	assert_int_equal(s->seen[0].proto, IPPROTO_TCP);
	assert_true(fcntl(s->fds[0], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(s->fds[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(pair.client, "x", 1), 1);
	assert_int_equal(recv(s->fds[0], &c, 1, 0), 1);
	/* offsets go on where they were */
	assert_int_equal(hf_commit(s->last, 5677, NULL), -ERANGE);
	assert_int_equal(hf_commit(s->last, 5679, NULL), -ERANGE); /* nothing after a FIN */
	assert_string_equal(s->d->conns[17].protocols[0].object, "of this node");
	close(listener);
	side_pair_close(pair);
}

static void t3_ready(void **state)
{
	struct side *s = *state;
	struct record_protocol p[] = {{.protocol = 5}, {.protocol = 6}};
	struct side_gift g = {.first = 1, .count = 2, .protocols = p, .protocol_count = 2, .fd = 0};
	const struct appd_conn *d = &s->d->conns[1];

	appd_do(s->d, side_give, &g);
	side_until(s, s->restored == 2);
	assert_int_equal(hf_ready(s->seen[0].conn, 7), -ENOENT);
	assert_int_equal(hf_ready(s->seen[0].conn, 6), 0);
	appd_do(s->d, side_sync, NULL);
	assert_int_equal(d[0].readies, 1);
	assert_int_equal(d[0].ready, 6);
	assert_int_equal(hf_ready(s->seen[0].conn, 5), 0);
	assert_int_equal(hf_ready(s->seen[1].conn, 0), 0);
	appd_do(s->d, side_sync, NULL);
	assert_int_equal(d[0].readies, 2);
	assert_int_equal(d[0].ready, 5);
	assert_int_equal(d[1].readies, 1);
	assert_int_equal(d[1].ready, 0);
}

static void t5_bundles_come_in_order(void **state)
{
	struct side *s = *state;
	struct side_gift g = {.first = 10, .count = 5, .bundle = 77, .fd = 0};
	struct side_gift plain = {.first = 30, .count = 3, .fd = 0};

	appd_do(s->d, side_give, &g);
	appd_do(s->d, side_give, &plain);
	side_until(s, s->restored == 8);
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(s->seen[i].bundle, 77);
		assert_int_equal(s->seen[i].member, i);
		assert_int_equal(s->seen[i].members, 5);
	}
	assert_int_equal(s->seen[5].bundle, 0);
}

static void t5_joining(void **state)
{
	struct side *s = *state;
	struct hf_conn *a = side_guarded(s), *b = side_guarded(s);
	uint64_t bundle = 0, none = 0;

	assert_int_equal(hf_bundle(b, &bundle), 0);
	assert_int_not_equal(bundle, 0);
	assert_int_equal(hf_bundle(a, &bundle), 0);
	assert_int_equal(s->d->conns[1].bundle, bundle);
	assert_int_equal(s->d->conns[1].member, 1);
	assert_int_equal(s->d->conns[2].bundle, bundle);
	side_fail(s, -ENOSPC);
	assert_int_equal(hf_bundle(a, &none), -ENOSPC);
	assert_int_equal(none, 0);
}

static void t5_datagrams(void **state)
{
	struct side *s = *state;
	struct sockaddr_in group = {.sin_family = AF_INET,
				    .sin_port = htons(5004),
				    .sin_addr.s_addr = htonl(0xef010203)};
	struct hf_conn *c = NULL;
	int fd = side_datagram(), tcp = side_listener(AF_INET);
	struct hf_checkpoint cp = side_checkpoint(1, "frame", 0);
	uint64_t ticket;

	assert_int_equal(hf_datagram(s->h, tcp, NULL, 0, &c), -EINVAL);
	assert_int_equal(hf_datagram(s->h, fd, (struct sockaddr *)&group, 4, &c), -EINVAL);
	assert_int_equal(hf_datagram(s->h, fd, (struct sockaddr *)&group, sizeof(group), &c), 0);
	assert_int_equal(s->d->peer_port, htons(5004));
	assert_int_equal(s->d->peer.b[10], 0xff);
	assert_int_equal(s->d->peer.b[12], 0xef);
	hf_checkpoint(c, &cp);
	assert_int_equal(hf_commit(c, 0, &ticket), 0);
	assert_int_equal(hf_wait(c, ticket, -1), 0);
	assert_int_equal(hf_end(c), 0);
	hf_forget(c);
	assert_int_equal(hf_datagram(s->h, fd, NULL, 0, &c), 0);
	assert_int_equal(s->d->peer_port, 0);
	close(fd);
	close(tcp);
}

/* ---- moving and ending --------------------------------------------------------- */

static void moved_is_the_end_of_it(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s), *other = side_guarded(s);
	struct hf_checkpoint cp = side_checkpoint(1, "x", 0);
	uint64_t ticket, bundle = 0;
	uint32_t one = 1;

	appd_do(s->d, side_hold, NULL);
	hf_commit(c, 1, &ticket);
	appd_do(s->d, side_move, &one);
	assert_int_equal(hf_wait(c, ticket, -1), -EPIPE);
	side_until(s, s->moved == 1);
	assert_ptr_equal(s->last_moved, c);
	assert_int_equal(hf_checkpoint(c, &cp), -EPIPE);
	assert_int_equal(hf_commit(c, 2, &ticket), -EPIPE);
	assert_int_equal(hf_commit_end(c, 2, &ticket), -EPIPE);
	assert_int_equal(hf_wait(c, 1, 0), -EPIPE);
	assert_int_equal(hf_ready(c, 0), -EPIPE);
	assert_int_equal(hf_bundle(c, &bundle), -EPIPE);
	assert_int_equal(hf_end(c), -EPIPE);
	assert_non_null(strstr(hf_error(s->h), "moved"));
	hf_forget(c);
	appd_release(s->d);
	assert_int_equal(hf_commit(other, 2, &ticket), 0);
	assert_int_equal(hf_wait(other, ticket, -1), 0);
	assert_int_equal(s->moved, 1);
}

/* Told while the application is in the middle of a request about it. */
static void moved_meanwhile(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s);
	uint32_t one = 1;

	appd_do(s->d, side_move, &one);
	assert_int_equal(hf_end(c), -EPIPE);
	assert_int_equal(s->moved, 0); /* callbacks run elsewhere */
	side_until(s, s->moved == 1);
	hf_forget(c);
}

static void *release_later(void *arg)
{
	usleep(20000);
	appd_release(arg);
	return NULL;
}

static void end_waits_for_the_store(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s);
	pthread_t thread;
	uint64_t ticket;

	appd_do(s->d, side_hold, NULL);
	hf_commit(c, 1, NULL);
	hf_commit(c, 2, &ticket);
	pthread_create(&thread, NULL, release_later, s->d);
	assert_int_equal(hf_end(c), 0);
	pthread_join(thread, NULL);
	/* what waited went before it */
	assert_true(s->d->conns[1].ended);
	assert_int_equal(s->d->conns[1].received, 2);
	assert_int_equal(hf_wait(c, ticket, -1), 0);
	hf_forget(c);
	appd_do(s->d, side_sync, NULL);
	assert_true(s->d->conns[1].forgotten);
}

static void forgetting(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s), *other = side_guarded(s);
	uint64_t ticket;

	appd_do(s->d, side_hold, NULL);
	hf_commit(c, 1, NULL);
	hf_commit(c, 2, NULL);
	hf_forget(c);
	appd_do(s->d, side_sync, NULL);
	assert_true(s->d->conns[1].forgotten);
	assert_false(s->d->conns[1].ended);
	appd_release(s->d);
	hf_commit(other, 1, &ticket);
	assert_int_equal(hf_wait(other, ticket, -1), 0);
	assert_int_equal(s->committed, 1); /* not of the one that is forgotten */
}

static void forget_it(struct side *s, struct hf_conn *c)
{
	(void)s;
	hf_forget(c);
}

static void forgetting_in_a_callback(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s);
	uint64_t ticket;

	s->in_committed = forget_it;
	hf_commit(c, 1, &ticket);
	/* while it is waited for, even */
	assert_int_equal(hf_wait(c, ticket, -1), -EPIPE);
	assert_int_equal(s->committed, 1);
	c = side_guarded(s);
	hf_commit(c, 1, &ticket);
	side_until(s, s->committed == 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, side_setup, side_teardown)
		TEST(t2_restored_connection),
		TEST(t3_ready),
		TEST(t5_bundles_come_in_order),
		TEST(t5_joining),
		TEST(t5_datagrams),
		TEST(moved_is_the_end_of_it),
		TEST(moved_meanwhile),
		TEST(end_waits_for_the_store),
		TEST(forgetting),
		TEST(forgetting_in_a_callback),
	};

	if (!appd_network())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
