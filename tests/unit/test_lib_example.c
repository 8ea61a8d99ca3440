/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* docs/examples/takeover-server.c does what libholdfast(3) says of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/side.h"

#define BYTES 300000u
#define PORT  8080

static char program[512];

struct scene {
	struct appd *d;
	pid_t pid;
	char folder[64];
	uint8_t bytes[BYTES];
};

static bool listens(struct appd *d, void *arg)
{
	(void)arg;
	return d->listens == 1;
}

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	char path[128];
	int fd;

	assert_non_null(s);
	strcpy(s->folder, "/tmp/holdfast-files-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(path, sizeof(path), "%s/film", s->folder);
	for (size_t i = 0; i < BYTES; i++)
		s->bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, s->bytes, BYTES), BYTES);
	close(fd);
	s->d = appd_new();
	s->pid = fork();
	if (!s->pid) {
		execl(program, program, s->folder, "127.0.0.1", "8080", (char *)NULL);
		_exit(127);
	}
	appd_until(s->d, listens, NULL);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;
	char path[128];

	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	appd_free(s->d);
	snprintf(path, sizeof(path), "%s/film", s->folder);
	unlink(path);
	rmdir(s->folder);
	free(s);
	return 0;
}

static int reach(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons(PORT),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	time_t end = time(NULL) + 10;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* listen(2) comes after hf_listen() */
	while (connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		assert_int_equal(errno, ECONNREFUSED);
		assert_true(time(NULL) < end);
		usleep(1000);
	}
	return fd;
}

/* Everything up to the end, which has to come. */
static size_t drain(int fd, uint8_t *buf, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	ssize_t n;

	for (;;) {
		if (poll(&p, 1, 10000) != 1)
			fail_msg("the server says nothing");
		n = recv(fd, buf + len, size - len, 0);
		assert_true(n >= 0);
		if (!n)
			return len;
		len += (size_t)n;
	}
}

static bool forgotten(struct appd *d, void *arg)
{
	return d->conns[*(uint32_t *)arg].forgotten;
}

static bool committed(struct appd *d, void *arg)
{
	(void)arg;
	return d->conns[1].commits == 1;
}

static void do_answer(struct appd *d, void *arg)
{
	(void)arg;
	app_committed(d->conns[1].app, 1, d->conns[1].ticket);
}

static void t7_nothing_leaves_before_the_store_knows(void **state)
{
	struct scene *s = *state;
	static uint8_t got[BYTES + 1];
	struct pollfd p;
	uint32_t one = 1;
	int fd;

	appd_do(s->d, side_hold, NULL);
	fd = reach();
	p = (struct pollfd){.fd = fd, .events = POLLIN};
	/* in two parts: a request that is cut is not accounted for */
	assert_int_equal(write(fd, "fi", 2), 2);
	assert_int_equal(write(fd, "lm\n", 3), 3);
	appd_until(s->d, committed, NULL);
	assert_int_equal(s->d->conns[1].received, 5);
	assert_string_equal(s->d->conns[1].protocols[0].object, "film");
	assert_int_equal(poll(&p, 1, 100), 0);
	appd_do(s->d, do_answer, NULL);
	s->d->hold = false;
	assert_int_equal(drain(fd, got, sizeof(got)), BYTES);
	assert_memory_equal(got, s->bytes, BYTES);
	appd_until(s->d, forgotten, &one);
	assert_true(s->d->conns[1].ended);
	close(fd);
}

static void t2_goes_on_with_the_next_byte(void **state)
{
	struct scene *s = *state;
	static uint8_t got[BYTES + 1];
	struct record_protocol film = {.protocol = 1, .object_len = 4, .object = "film"};
	struct side_gift g = {.first = 1,
			      .count = 1,
			      .protocols = &film,
			      .protocol_count = 1,
			      .m = {.sent = 123456, .received = 5, .proto = IPPROTO_TCP}};
	int listener = side_listener(AF_INET);
	struct side_sockets pair = side_pair(listener, AF_INET);
	uint32_t one = 1;

	g.fd = pair.server;
	appd_do(s->d, side_give, &g);
	close(pair.server);
	close(listener);
	assert_int_equal(drain(pair.client, got, sizeof(got)), BYTES - 123456);
	assert_memory_equal(got, s->bytes + 123456, BYTES - 123456);
	appd_until(s->d, forgotten, &one);
	assert_int_equal(s->d->conns[1].readies, 1);
	assert_true(s->d->conns[1].ended);
	close(pair.client);
}

static void fresh_connection_and_bad_names(void **state)
{
	struct scene *s = *state;
	static uint8_t got[BYTES + 1];
	struct side_gift g = {.first = 1, .count = 1, .m = {.flags = APP_RESTORED_FRESH}};
	int listener = side_listener(AF_INET);
	struct side_sockets pair = side_pair(listener, AF_INET);
	int fd;

	g.fd = pair.server;
	appd_do(s->d, side_give, &g);
	close(pair.server);
	close(listener);
	assert_int_equal(write(pair.client, "film\n", 5), 5);
	assert_int_equal(drain(pair.client, got, sizeof(got)), BYTES);
	close(pair.client);
	fd = reach();
	assert_int_equal(write(fd, "../film\n", 8), 8);
	assert_int_equal(drain(fd, got, sizeof(got)), 0);
	close(fd);
	fd = reach();
	assert_int_equal(write(fd, "none\n", 5), 5);
	assert_int_equal(drain(fd, got, sizeof(got)), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(t7_nothing_leaves_before_the_store_knows),
		TEST(t2_goes_on_with_the_next_byte),
		TEST(fresh_connection_and_bad_names),
	};
	const char *build = getenv("HF_BUILD");

	snprintf(program, sizeof(program), "%s/examples/takeover-server", build ? build : "build");
	if (access(program, X_OK)) {
		printf("SKIP test_lib_example: %s is not there\n", program);
		return 77;
	}
	if (!appd_network())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
