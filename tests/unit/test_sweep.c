/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Passes, and which index is free when; the kernel's part is in tests/net/loader.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <cmocka.h>

#define loader_sweep one_slice
#include "../../control/sweep.c"

#define ENDED 7u
#define LATER 9u

static struct assoc_val map[HF_ASSOCS_MAX];
static struct conf conf;
static struct daemon d = {.assoc_map = map, .conf = &conf};
static int slices, passes; /* since set_up(); a slice with `at` zero begins a pass */
static int more;           /* slices that are not the last of their pass */
static int failure;

int loader_sweep(const struct loader *l, const struct sweep_limits *limits, struct loader_sweep *at)
{
	(void)l;
	(void)limits;
	slices++;
	if (!at->next++)
		passes++;
	if (failure)
		return failure;
	return more && more-- ? 1 : 0;
}

static int set_up(void **state)
{
	(void)state;
	memset(map, 0, sizeof(map));
	slices = passes = more = failure = 0;
	d.base = event_base_new();
	d.sweep = d.base ? sweep_new(&d) : NULL;
	return !d.sweep;
}

static int tear_down(void **state)
{
	(void)state;
	sweep_free(d.sweep);
	event_base_free(d.base);
	return 0;
}

/* One event, of which there must be one. */
static void turn(void)
{
	int before = slices;

	assert_int_equal(event_base_loop(d.base, EVLOOP_ONCE), 0);
	assert_int_equal(slices, before + 1);
}

static bool idle(void)
{
	return event_base_loop(d.base, EVLOOP_ONCE) == 1; /* no event is pending */
}

static void end_assoc(uint32_t index, uint32_t flows)
{
	map[index] = (struct assoc_val){.used = 1, .scope = 8, .flows = flows};
	sweep_vacate(d.sweep, index);
}

static void test_N4_pass_is_sliced(void **state)
{
	(void)state;
	assert_true(idle());
	more = 3;
	sweep_begin(d.sweep);
	for (int i = 0; i < 4; i++)
		turn();
	assert_true(idle());
	assert_int_equal(passes, 1);
}

static void test_N4_no_second_pass_beside_the_first(void **state)
{
	(void)state;
	more = 1;
	sweep_begin(d.sweep);
	turn();
	sweep_begin(d.sweep);
	turn();
	assert_true(idle());
	assert_int_equal(passes, 1);
}

static void test_N4_without_flows_free_at_once(void **state)
{
	(void)state;
	end_assoc(ENDED, 0);
	assert_false(sweep_holds(d.sweep, ENDED));
	assert_int_equal(map[ENDED].used, 0);
	assert_int_equal(map[ENDED].scope, 0);
	assert_true(idle());
}

static void test_N4_index_is_held_until_the_flows_are_gone(void **state)
{
	(void)state;
	more = 1;
	end_assoc(ENDED, 5);
	assert_int_equal(map[ENDED].used, 0);
	assert_int_equal(map[ENDED].flows, 5); /* the data plane counts them off */
	turn();
	assert_true(sweep_holds(d.sweep, ENDED));
	map[ENDED].flows = 1; /* a count that was wrong must not stay for the next owner */
	turn();
	assert_false(sweep_holds(d.sweep, ENDED));
	assert_int_equal(map[ENDED].flows, 0);
	assert_false(sweep_holds(d.sweep, LATER));
	assert_true(idle());
}

/* The pass under way may have been past its flows. */
static void test_N4_ended_during_a_pass_waits_for_the_next(void **state)
{
	(void)state;
	more = 1;
	end_assoc(ENDED, 5);
	turn();
	end_assoc(LATER, 5);
	more = 0;
	turn();
	assert_false(sweep_holds(d.sweep, ENDED));
	assert_true(sweep_holds(d.sweep, LATER));
	turn();
	assert_false(sweep_holds(d.sweep, LATER));
	assert_int_equal(passes, 2);
	assert_true(idle());
}

static void test_N4_held_where_the_pass_fails(void **state)
{
	(void)state;
	failure = -ENOSPC;
	end_assoc(ENDED, 5);
	turn();
	assert_true(sweep_holds(d.sweep, ENDED));
	assert_true(idle());
	failure = 0;
	sweep_begin(d.sweep);
	turn();
	assert_false(sweep_holds(d.sweep, ENDED));
}

static void test_N4_a_daemon_goes_on_where_another_ended(void **state)
{
	(void)state;
	sweep_free(d.sweep);
	map[ENDED].flows = 3;
	map[LATER] = (struct assoc_val){.used = 1, .flows = 3};
	d.sweep = sweep_new(&d);
	assert_non_null(d.sweep);
	assert_true(sweep_holds(d.sweep, ENDED));
	assert_false(sweep_holds(d.sweep, LATER));
	turn();
	assert_false(sweep_holds(d.sweep, ENDED));
	assert_int_equal(map[LATER].flows, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_N4_pass_is_sliced),
		TEST(test_N4_no_second_pass_beside_the_first),
		TEST(test_N4_without_flows_free_at_once),
		TEST(test_N4_index_is_held_until_the_flows_are_gone),
		TEST(test_N4_ended_during_a_pass_waits_for_the_next),
		TEST(test_N4_held_where_the_pass_fails),
		TEST(test_N4_a_daemon_goes_on_where_another_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
