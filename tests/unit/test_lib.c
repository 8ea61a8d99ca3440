/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* libholdfast against the daemon's end of its socket, in a network namespace of its own. */
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

/* ---- opening ----------------------------------------------------------------- */

static void role_is_told(void **state)
{
	struct side *s = *state;

	assert_int_equal(s->role, 0);
	side_until(s, s->role == 1);
	assert_int_equal(s->role_now, HF_STANDBY);
	assert_int_equal(hf_dispatch(s->h), 0);
	assert_int_equal(hf_timeout(s->h), -1);
	assert_int_equal(s->role, 1);
	assert_int_equal(s->daemon, 0);
	assert_true(strlen(hf_error(s->h)) > 0);
}

static void do_role(struct appd *d, void *arg)
{
	apps_role(d->apps, *(uint32_t *)arg);
}

static void role_changes(void **state)
{
	struct side *s = *state;
	uint32_t role = HF_SERVING;

	appd_do(s->d, do_role, &role);
	side_until(s, s->role_now == HF_SERVING);
}

static void opening_fails(void **state)
{
	struct side *s = *state;
	struct hf_ops half = side_ops;
	struct hf *none = NULL;

	assert_int_equal(hf_open("nobody", "web", &side_ops, s, &none), -ENOENT);
	assert_non_null(strstr(hf_error(NULL), "nobody.app"));
	assert_int_equal(hf_open("../x", "web", &side_ops, s, &none), -EINVAL);
	assert_int_equal(hf_open("", "web", &side_ops, s, &none), -EINVAL);
	assert_int_equal(hf_open(NULL, "", &side_ops, s, &none), -EINVAL);
	assert_int_equal(hf_open(NULL, NULL, &side_ops, s, &none), -EINVAL);
	assert_int_equal(hf_open(NULL, "a name with spaces", &side_ops, s, &none), -EINVAL);
	assert_int_equal(hf_open(NULL, "12345678901234567890123456789012", &side_ops, s, &none),
			 -EINVAL);
	assert_int_equal(hf_open(NULL, "web", NULL, s, &none), -EINVAL);
	half.restored = NULL;
	assert_int_equal(hf_open(NULL, "web", &half, s, &none), -EINVAL);
	half = side_ops;
	half.moved = NULL;
	assert_int_equal(hf_open(NULL, "web", &half, s, &none), -EINVAL);
	assert_non_null(strstr(hf_error(NULL), "ops.moved"));
	assert_null(none);
	hf_close(NULL);
	hf_forget(NULL);
}

/* A daemon by hand. */
static int strange_daemon(const char *dir)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/strange.app", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

struct strange {
	int listener;
	const void *answer;
	size_t len;
};

static void *answer_one(void *arg)
{
	struct strange *s = arg;
	char hello[128];
	int fd = accept(s->listener, NULL, NULL);

	if (recv(fd, hello, sizeof(hello), 0) != sizeof(struct app_hello))
		abort();
	if (s->len)
		send(fd, s->answer, s->len, MSG_NOSIGNAL);
	/* silent ones are waited for */
	if (!s->answer)
		recv(fd, hello, sizeof(hello), 0);
	close(fd);
	return NULL;
}

static int open_at(struct side *s, int listener, const void *answer, size_t len)
{
	struct strange strange = {listener, answer, len};
	struct hf *h = NULL;
	pthread_t thread;
	int err;

	pthread_create(&thread, NULL, answer_one, &strange);
	err = hf_open("strange", "web", &side_ops, s, &h);
	assert_null(h);
	pthread_join(thread, NULL);
	return err;
}

static void strange_daemons(void **state)
{
	struct side *s = *state;
	struct app_welcome newer = {.h = {.type = APP_WELCOME, .len = sizeof(newer)},
				    .version = APP_VERSION + 1};
	struct app_done no = {.h = {.type = APP_DONE, .len = sizeof(no)},
			      .error = -EUSERS,
			      .text = "as many as may be"};
	struct app_committed early = {.h = {.type = APP_COMMITTED, .len = sizeof(early)}};
	int listener = strange_daemon(s->d->dir);
	struct timespec before, after;
	char path[128];

	assert_int_equal(open_at(s, listener, &newer, sizeof(newer)), -EPROTONOSUPPORT);
	assert_non_null(strstr(hf_error(NULL), "version 2"));
	assert_int_equal(open_at(s, listener, &no, sizeof(no)), -EUSERS);
	assert_string_equal(hf_error(NULL), "as many as may be");
	assert_int_equal(open_at(s, listener, &early, sizeof(early)), -ENOTCONN);
	assert_int_equal(open_at(s, listener, &newer, 3), -ENOTCONN);
	assert_int_equal(open_at(s, listener, "", 0), -ENOTCONN);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(open_at(s, listener, NULL, 0), -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_in_range(after.tv_sec - before.tv_sec, 4, 8);
	close(listener);
	snprintf(path, sizeof(path), "%s/strange.app", s->d->dir);
	unlink(path);
}

/* ---- naming ------------------------------------------------------------------ */

static void listening(void **state)
{
	struct side *s = *state;
	int fd = side_listener(AF_INET), udp = socket(AF_INET, SOCK_DGRAM, 0),
	    unbound = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in sa;
	socklen_t len = sizeof(sa);
	unsigned int before = appd_fds();

	assert_int_equal(hf_listen(s->h, udp), -EINVAL);
	assert_int_equal(hf_listen(s->h, unbound), -EINVAL);
	assert_int_equal(hf_listen(s->h, -1), -EINVAL);
	side_fail(s, -EADDRNOTAVAIL);
	assert_int_equal(hf_listen(s->h, fd), -EADDRNOTAVAIL);
	assert_non_null(strstr(hf_error(s->h), "the test wants error"));
	assert_int_equal(appd_fds(), before);
	assert_int_equal(hf_listen(s->h, fd), 0);
	assert_int_equal(s->d->listens, 1);
	getsockname(fd, (struct sockaddr *)&sa, &len);
	assert_int_equal(s->d->listened.local_port, sa.sin_port);
	assert_int_equal(hf_unlisten(s->h, udp), -ENOENT);
	assert_int_equal(hf_unlisten(s->h, fd), 0);
	assert_int_equal(hf_unlisten(s->h, fd), -ENOENT);
	assert_int_equal(appd_fds(), before);
	close(fd);
	close(udp);
	close(unbound);
}

static void keys_of_connections(void **state)
{
	struct side *s = *state;
	const int families[][2] = {{AF_INET, AF_INET}, {AF_INET6, AF_INET6}, {AF_INET6, AF_INET}};
	static const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};

	for (uint32_t i = 0; i < 3; i++) {
		int listener = side_listener(families[i][0]);
		struct side_sockets p = side_pair(listener, families[i][1]);
		const struct guard_key *key = &s->d->conns[i + 1].key;
		struct hf_conn *c = NULL, *again = NULL;

		assert_int_equal(hf_guard(s->h, p.server, &c), 0);
		assert_int_equal(key->peer_port, p.port);
		assert_memory_equal(&key->peer,
				    families[i][1] == AF_INET ? (const void *)mapped
							      : (const void *)&in6addr_loopback,
				    16);
		assert_memory_equal(&key->local, &key->peer, 16);
		assert_int_not_equal(key->local_port, 0);
		/* once more gives the same */
		assert_int_equal(hf_guard(s->h, p.server, &again), 0);
		assert_ptr_equal(again, c);
		hf_set_data(c, &i);
		assert_ptr_equal(hf_data(c), &i);
		close(listener);
		side_pair_close(p);
	}
}

static void guarding_fails(void **state)
{
	struct side *s = *state;
	int fd = side_listener(AF_INET), udp = socket(AF_INET, SOCK_DGRAM, 0);
	struct side_sockets p = side_pair(fd, AF_INET);
	struct hf_conn *c = NULL;

	assert_int_equal(hf_guard(s->h, fd, &c), -ENOTCONN);
	assert_int_equal(hf_guard(s->h, udp, &c), -EPROTOTYPE);
	assert_int_equal(hf_guard(s->h, -1, &c), -EBADF);
	side_fail(s, -ENOENT);
	assert_int_equal(hf_guard(s->h, p.server, &c), -ENOENT);
	assert_true(strlen(hf_error(s->h)) > 0);
	assert_null(c);
	close(fd);
	close(udp);
	side_pair_close(p);
}

/* ---- callbacks run where they may ---------------------------------------------- */

static void callbacks_do_not_run_in_other_calls(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s), *d;
	struct side_gift g = {.first = 40, .count = 3, .fd = 0};
	struct pollfd p = {.fd = hf_fd(s->h), .events = POLLIN};

	side_until(s, s->role == 1);
	hf_commit(c, 1, NULL);
	appd_do(s->d, side_give, &g);
	appd_do(s->d, side_sync, NULL);
	d = side_guarded(s); /* its answer comes behind all that */
	assert_non_null(d);
	assert_int_equal(s->restored, 0);
	assert_int_equal(s->committed, 0);
	/* nothing is left in the socket, and yet: */
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(hf_timeout(s->h), 0);
	assert_int_equal(hf_dispatch(s->h), 0);
	assert_int_equal(s->restored, 3);
	assert_int_equal(s->committed, 1);
	hf_dispatch(s->h);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(hf_timeout(s->h), -1);
}

/* Keeps the daemon's thread busy until it is told to go on. */
struct stall {
	struct appd *d;
	pthread_t thread;
	int began[2];
	int end[2];
};

static void do_stall(struct appd *d, void *arg)
{
	struct stall *s = arg;
	char c;

	(void)d;
	assert_int_equal(write(s->began[1], "x", 1), 1);
	assert_int_equal(read(s->end[0], &c, 1), 1);
}

static void *stall_run(void *arg)
{
	struct stall *s = arg;

	appd_do(s->d, do_stall, s);
	return NULL;
}

static void stall_begin(struct stall *s, struct appd *d)
{
	char c;

	s->d = d;
	assert_int_equal(pipe(s->began), 0);
	assert_int_equal(pipe(s->end), 0);
	pthread_create(&s->thread, NULL, stall_run, s);
	assert_int_equal(read(s->began[0], &c, 1), 1);
}

static void stall_end(struct stall *s)
{
	assert_int_equal(write(s->end[1], "x", 1), 1);
	pthread_join(s->thread, NULL);
	for (int i = 0; i < 2; i++) {
		close(s->began[i]);
		close(s->end[i]);
	}
}

#define CROWD 5000u
/* A commit of each while the daemon is busy: more than the socket holds. */
static void t7_nothing_is_lost_when_the_socket_is_full(void **state)
{
	struct side *s = *state;
	struct side_gift g = {.first = 1, .count = CROWD, .fd = 0};
	struct pollfd p = {.fd = hf_fd(s->h), .events = POLLIN};
	struct stall stall;

	appd_do(s->d, side_give, &g);
	side_until(s, s->restored == CROWD);
	hf_dispatch(s->h);
	stall_begin(&stall, s->d);
	for (uint32_t round = 1; round <= 3; round++)
		for (uint32_t i = 0; i < CROWD; i++) {
			assert_int_equal(hf_commit(s->seen[i].conn, i + round, NULL), 0);
			if (round == 1)
				assert_int_equal(hf_ready(s->seen[i].conn, 0), 0);
		}
	assert_int_equal(poll(&p, 1, 0), 0);
	for (uint32_t i = 0; i < CROWD; i += 2)
		hf_forget(s->seen[i].conn);
	stall_end(&stall);
	for (uint32_t i = 1; i < CROWD; i += 2)
		assert_int_equal(hf_wait(s->seen[i].conn, 3, 5000), 0);
	appd_do(s->d, side_sync, NULL);
	for (uint32_t i = 0; i < CROWD; i++) {
		const struct appd_conn *c = &s->d->conns[i + 1];

		assert_int_equal(c->forgotten, i % 2 == 0);
		assert_int_equal(c->readies, 1);
		assert_true(c->forgotten || c->received == i + 3);
		assert_in_range(c->commits, 1, 3);
	}
	assert_int_equal(s->d->overlaps, 0);
}

#define MANY 10000u
static void t2_ten_thousand_at_once(void **state)
{
	struct side *s = *state;
	static uint8_t data[100];
	struct record_protocol p = {.protocol = 1,
				    .object_len = 20,
				    .object = "/films/of-that-name/",
				    .data_len = sizeof(data),
				    .data = data};
	struct side_gift g = {.first = 1, .count = MANY, .protocols = &p, .protocol_count = 1};
	struct timespec a, b;

	g.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	appd_do(s->d, side_give, &g);
	clock_gettime(CLOCK_MONOTONIC, &a);
	side_until(s, s->restored == MANY);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("info: %u restored connections handed over, sanitized: %.1f ms of the daemon, then "
	       "%.1f ms of the application\n",
	       MANY, g.us / 1e3,
	       (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
	close(g.fd);
}

static void no_room_for_a_descriptor(void **state)
{
	struct side *s = *state;
	struct side_gift g = {.first = 1, .count = 1, .fd = 0};
	struct pollfd p = {.fd = hf_fd(s->h), .events = POLLIN};
	struct rlimit old, low;

	side_until(s, s->role == 1);
	appd_do(s->d, side_give, &g);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(hf_dispatch(s->h), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(s->restored, 0);
	appd_do(s->d, side_sync, NULL);
	assert_true(s->d->conns[1].forgotten); /* the daemon knows that nobody has it */
	assert_int_equal(hf_dispatch(s->h), 0);
}

/* ---- what comes with it ----------------------------------------------------------- */

static void descriptors_and_memory_come_back(void **state)
{
	struct side *s = *state;
	unsigned int before;
	struct hf *h = NULL;
	struct side other = {.d = s->d};
	struct side_gift g = {.first = 100, .count = 50, .fd = 0};
	int listener = side_listener(AF_INET);

	appd_do(s->d, side_sync, NULL);
	before = appd_fds();
	assert_int_equal(hf_open(NULL, "web", &side_ops, &other, &h), 0);
	assert_int_equal(hf_listen(h, listener), 0);
	other.h = h;
	side_guarded(&other);
	/* restored ones that were read but not told */
	appd_do(s->d, side_give, &g);
	side_guarded(&other);
	assert_int_equal(other.restored, 0);
	hf_close(h);
	close(listener);
	while (s->d->gone == 0)
		appd_do(s->d, side_sync, NULL);
	appd_do(s->d, side_sync, NULL);
	assert_int_equal(appd_fds(), before - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, side_setup, side_teardown)
		TEST(role_is_told),
		TEST(role_changes),
		TEST(opening_fails),
		TEST(strange_daemons),
		TEST(listening),
		TEST(keys_of_connections),
		TEST(guarding_fails),
		TEST(callbacks_do_not_run_in_other_calls),
		TEST(t7_nothing_is_lost_when_the_socket_is_full),
		TEST(t2_ten_thousand_at_once),
		TEST(no_room_for_a_descriptor),
		TEST(descriptors_and_memory_come_back),
	};

	struct rlimit files;

	if (!appd_network())
		return 77;
	/* both ends of 10 000 connections are in this process */
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max < 3 * MANY / 2)
		printf("info: RLIMIT_NOFILE is %lu: too low perhaps\n",
		       (unsigned long)files.rlim_max);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
