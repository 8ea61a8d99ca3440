/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* libholdfast: checkpoints and commits. */
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

/* ---- checkpoints and commits --------------------------------------------------- */

static void t4_what_is_no_checkpoint_changes_nothing(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s);
	static char object[HF_OBJECT_MAX + 2], data[HF_DATA_MAX + 1];
	struct hf_checkpoint good = side_checkpoint(1, "first", 100), bad;
	const struct appd_conn *d = &s->d->conns[1];
	uint64_t ticket;

	memset(object, 'o', sizeof(object) - 1);
	assert_int_equal(hf_checkpoint(c, &good), 0);
	bad = side_checkpoint(0, "x", 200);
	assert_int_equal(hf_checkpoint(c, &bad), -EINVAL);
	bad = side_checkpoint(1, object, 200);
	assert_int_equal(hf_checkpoint(c, &bad), -ENAMETOOLONG);
	bad = side_checkpoint(1, "x", 200);
	bad.data = data;
	bad.len = sizeof(data);
	assert_int_equal(hf_checkpoint(c, &bad), -EMSGSIZE);
	bad.data = NULL;
	bad.len = 1;
	assert_int_equal(hf_checkpoint(c, &bad), -EINVAL);
	bad = side_checkpoint(1, "x", 99);
	assert_int_equal(hf_checkpoint(c, &bad), -ERANGE);
	bad = side_checkpoint(1, "x", UINT64_MAX);
	assert_int_equal(hf_checkpoint(c, &bad), -ERANGE);
	assert_int_equal(s->d->commits, 0);
	assert_int_equal(hf_commit(c, 10, &ticket), 0);
	assert_int_equal(hf_wait(c, ticket, -1), 0);
	assert_int_equal(d->protocol_count, 1);
	assert_string_equal(d->protocols[0].object, "first");
	assert_int_equal(d->protocols[0].object_start, 100);
	assert_memory_equal(d->protocols[0].data, "data", 4);

	/* the longest there may be */
	object[HF_OBJECT_MAX] = 0;
	for (uint32_t p = 1; p <= HF_PROTOCOLS_MAX; p++) {
		bad = side_checkpoint(p, object, 100);
		bad.data = data;
		bad.len = HF_DATA_MAX;
		assert_int_equal(hf_checkpoint(c, &bad), 0);
	}
	bad = side_checkpoint(HF_PROTOCOLS_MAX + 1, "x", 0);
	assert_int_equal(hf_checkpoint(c, &bad), -ENOSPC);
	assert_int_equal(hf_commit(c, 10, &ticket), 0);
	assert_int_equal(hf_wait(c, ticket, -1), 0);
	assert_int_equal(d->protocol_count, HF_PROTOCOLS_MAX);
	assert_string_equal(d->protocols[7].object, object);
	assert_int_equal(d->protocols[7].data_len, HF_DATA_MAX);
}

static void t4_protocols_are_told_when_they_change(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s);
	struct hf_checkpoint a = side_checkpoint(7, "a", 0), b = side_checkpoint(9, NULL, 0);
	const struct appd_conn *d = &s->d->conns[1];
	uint64_t ticket;

	b.data = NULL;
	b.len = 0;
	hf_checkpoint(c, &a);
	hf_checkpoint(c, &b);
	hf_commit(c, 1, &ticket);
	assert_int_equal(hf_wait(c, ticket, -1), 0);
	assert_int_equal(d->protocols_told, 2);
	assert_null(d->protocols[1].object);
	hf_commit(c, 2, &ticket);
	assert_int_equal(hf_wait(c, ticket, -1), 0);
	assert_int_equal(d->protocols_told, 0);
	a.object_start = 50;
	hf_checkpoint(c, &a);
	hf_commit(c, 3, &ticket);
	assert_int_equal(hf_wait(c, ticket, -1), 0);
	assert_int_equal(d->protocols_told, 1);
	assert_int_equal(d->protocols[0].object_start, 50);
	assert_int_equal(d->received, 3);
}

static void t7_newest_state_replaces_what_waits(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s);
	const struct appd_conn *d = &s->d->conns[1];
	struct hf_checkpoint cp = side_checkpoint(1, "x", 0);
	uint64_t first, last, ticket;

	appd_do(s->d, side_hold, NULL);
	assert_int_equal(hf_commit(c, 10, &first), 0);
	for (uint64_t i = 1; i <= 50; i++) {
		cp.object_start = i;
		hf_checkpoint(c, &cp);
		assert_int_equal(hf_commit(c, 10 + i, &last), 0);
	}
	/* not covered by a commit: stays here */
	cp.object_start = 1000;
	hf_checkpoint(c, &cp);
	assert_int_equal(hf_wait(c, first, 20), -ETIMEDOUT);
	appd_do(s->d, side_sync, NULL);
	assert_int_equal(d->commits, 1);
	assert_int_equal(d->received, 10);
	appd_release(s->d);
	assert_int_equal(hf_wait(c, last, -1), 0);
	assert_int_equal(d->commits, 2);
	assert_int_equal(d->received, 60);
	assert_int_equal(d->protocols[0].object_start, 50);
	assert_int_equal(s->d->overlaps, 0);
	assert_in_range(s->committed, 1, 2); /* one call may tell of several */
	assert_int_equal(s->ticket, last);
	assert_int_equal(hf_commit(c, 60, &ticket), 0);
	assert_int_equal(hf_wait(c, ticket, -1), 0);
	assert_int_equal(d->protocols[0].object_start, 1000);
	assert_int_equal(hf_wait(c, ticket + 1, 0), -EINVAL);
	assert_int_equal(hf_wait(c, first, 0), 0);
}

static void t7_offsets(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s);
	const struct appd_conn *d = &s->d->conns[1];
	uint64_t ticket;

	assert_int_equal(hf_commit(c, 5000000000, &ticket), 0);
	assert_int_equal(hf_commit(c, 4999999999, NULL), -ERANGE);
	assert_int_equal(hf_commit(c, UINT64_MAX, NULL), -ERANGE);
	assert_int_equal(hf_commit_end(c, 5000000001, &ticket), 0);
	assert_int_equal(hf_wait(c, ticket, -1), 0);
	assert_int_equal(d->received, 5000000001);
	assert_int_equal(d->flags, APP_COMMIT_END);
	/* nothing comes after a FIN, and it stays */
	assert_int_equal(hf_commit(c, 5000000002, NULL), -ERANGE);
	assert_int_equal(hf_commit(c, 5000000001, &ticket), 0);
	assert_int_equal(hf_wait(c, ticket, -1), 0);
	assert_int_equal(d->flags, APP_COMMIT_END);
}

static void t7_refused_commit(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s), *other;
	uint64_t ticket;

	side_fail(s, -ERANGE);
	assert_int_equal(hf_commit(c, 10, &ticket), 0);
	assert_int_equal(hf_wait(c, ticket, -1), -ERANGE);
	assert_int_equal(hf_commit(c, 11, &ticket), -ERANGE);
	assert_non_null(strstr(hf_error(s->h), "refused"));
	assert_int_equal(hf_timeout(s->h), 0);
	assert_int_equal(hf_dispatch(s->h), -ERANGE);
	assert_int_equal(hf_dispatch(s->h), 0);
	assert_int_equal(s->committed, 0);
	/* nothing else is harmed, and it can be ended */
	other = side_guarded(s);
	assert_int_equal(hf_commit(other, 10, &ticket), 0);
	assert_int_equal(hf_wait(other, ticket, -1), 0);
	assert_int_equal(hf_end(c), 0);
	assert_int_equal(s->d->gone, 0);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void round_trip(void **state)
{
	struct side *s = *state;
	struct hf_conn *c = side_guarded(s);
	enum { COUNT = 5000 };
	static double us[COUNT];
	struct hf_checkpoint cp = side_checkpoint(1, "object", 0);

	for (unsigned int i = 0; i < COUNT; i++) {
		struct timespec a, b;
		uint64_t ticket;

		cp.object_start = i;
		clock_gettime(CLOCK_MONOTONIC, &a);
		hf_checkpoint(c, &cp);
		hf_commit(c, i, &ticket);
		assert_int_equal(hf_wait(c, ticket, 5000), 0);
		clock_gettime(CLOCK_MONOTONIC, &b);
		us[i] = (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
	}
	qsort(us, COUNT, sizeof(*us), compare);
	printf("info: commit and its answer over the socket, sanitized, without a store: "
	       "median %.1f us, 99 %% %.1f us\n",
	       us[COUNT / 2], us[COUNT * 99 / 100]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, side_setup, side_teardown)
		TEST(t4_what_is_no_checkpoint_changes_nothing),
		TEST(t4_protocols_are_told_when_they_change),
		TEST(t7_newest_state_replaces_what_waits),
		TEST(t7_offsets),
		TEST(t7_refused_commit),
		TEST(round_trip),
	};

	if (!appd_network())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
