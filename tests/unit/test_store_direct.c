/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The store between the nodes themselves: who owns, what is committed, what is handed over. */
#include "tests/unit/direct_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/takeover/store_private.h"

static void t7_put_is_committed_when_the_standby_has_it(void **state)
{
	struct group *w = *state;
	uint64_t ticket;

	direct_begin(w, 2);
	assert_string_equal(direct_status(w, 1)->owner, "a");
	ticket = direct_put(w, 0, 7, 100);
	assert_int_equal(w->node[0].committed, 0); /* never out of the call */
	WAIT(w, w->node[0].committed >= ticket);
	assert_int_equal(direct_held(w, 1, 7).commit, 100);
	assert_int_equal(direct_status(w, 0)->commits, 1);
	assert_int_equal(direct_status(w, 0)->lag, 0);
}

static void t7_of_one_id_the_newest_goes(void **state)
{
	struct group *w = *state;
	uint64_t last = 0;

	direct_begin(w, 2);
	for (uint64_t i = 1; i <= 50; i++)
		last = direct_put(w, 0, 7, i);
	WAIT(w, w->node[0].committed >= last);
	assert_int_equal(direct_held(w, 1, 7).commit, 50);
	assert_int_equal(direct_status(w, 0)->commits, 1);
	assert_int_equal(store_delete(w->node[0].store, 7, &last), 0);
	WAIT(w, w->node[0].committed >= last);
	assert_int_equal(direct_held(w, 1, 7).count, 0);
}

static void only_an_owner_writes(void **state)
{
	struct group *w = *state;
	struct record r = direct_record(1, 1);
	uint64_t ticket;

	direct_begin(w, 2);
	assert_int_equal(store_put(w->node[1].store, &r, &ticket), -EPERM);
	assert_int_equal(store_delete(w->node[1].store, 1, &ticket), -EPERM);
	assert_int_equal(store_hand(w->node[1].store, "a"), -EPERM);
	assert_int_equal(store_claim(w->node[1].store), -EAGAIN);
	assert_int_equal(store_hand(w->node[0].store, "nobody"), -ENOTCONN);
}

static void t6_who_could_serve(void **state)
{
	struct group *w = *state;
	struct store *owner;

	direct_begin(w, 2);
	owner = w->node[0].store;
	assert_null(store_able(owner, NULL, 0, ~0ull)); /* it has no application */
	assert_string_equal(store_able(owner, "b", 0, 0), "b");
	assert_null(store_able(owner, NULL, 1, 0));
	store_offer(w->node[1].store, 6);
	WAIT(w, store_able(owner, NULL, 2, 4));
	assert_string_equal(store_able(owner, "b", 0, ~0ull), "b");
	assert_null(store_able(owner, "c", 0, ~0ull));
	assert_null(store_able(owner, NULL, 1, 4)); /* something that is here would be lost */
	assert_null(store_able(owner, NULL, 2, 8)); /* nothing would be won */
	store_offer(w->node[1].store, 2);
	WAIT(w, !store_able(owner, NULL, 0, 4));
	assert_non_null(store_able(owner, NULL, 0, 2));
	assert_null(store_able(w->node[1].store, NULL, 0, ~0ull)); /* it is no owner */
	direct_close(w, 1);
	WAIT(w, !store_able(owner, NULL, 0, 2));
	direct_open(w, 1);
	WAIT(w, direct_whole(w, 0));
	assert_null(store_able(owner, NULL, 0, 2)); /* it starts with nothing */
}

static void two_claim_at_once_and_one_gets_it(void **state)
{
	struct group *w = *state;

	w->count = 2;
	direct_open(w, 0);
	assert_int_equal(store_claim(w->node[0].store), -EPERM); /* alone, and never synced */
	direct_open(w, 1);
	WAIT(w, direct_is(w, 0, STORE_VACANT) && direct_is(w, 1, STORE_VACANT));
	assert_int_equal(store_claim(w->node[1].store), 0);
	assert_int_equal(store_claim(w->node[0].store), 0);
	WAIT(w, direct_whole(w, 0) || direct_whole(w, 1));
}

static void t6_a_node_that_returns_gets_all_of_10000(void **state)
{
	struct group *w = *state;
	uint64_t last = 0;

	direct_begin(w, 2);
	for (uint64_t id = 1; id <= 10000; id++)
		last = direct_put(w, 0, id, id);
	WAIT(w, w->node[0].committed >= last);
	assert_int_equal(direct_held(w, 1, 10000).count, 10000);
	direct_close(w, 1);
	for (uint64_t id = 1; id <= 10; id++)
		assert_int_equal(store_delete(w->node[0].store, id, &last), 0);
	last = direct_put(w, 0, 20000, 5);
	WAIT(w, w->node[0].committed >= last); /* it said goodbye: we may be alone */
	direct_open(w, 1);
	WAIT(w, direct_is(w, 1, STORE_STANDBY));
	last = direct_put(w, 0, 20001, 6); /* while the copy is under way */
	WAIT(w, direct_whole(w, 0) && w->node[0].committed >= last);
	assert_int_equal(direct_held(w, 1, 20000).count, 10000 - 10 + 2);
	assert_int_equal(direct_held(w, 1, 20000).commit, 5);
	assert_int_equal(direct_held(w, 1, 20001).commit, 6);
	assert_true(direct_status(w, 1)->resyncs == 1);
}

static void t6_hand_over_in_order(void **state)
{
	struct group *w = *state;
	uint64_t resyncs, ticket;
	uint32_t epoch;

	direct_begin(w, 2);
	epoch = direct_status(w, 0)->epoch;
	resyncs = direct_status(w, 0)->resyncs;
	assert_int_equal(store_ask(w->node[1].store), 0);
	WAIT(w, !strcmp(w->node[0].asked, "b"));
	ticket = direct_put(w, 0, 1, 11);
	assert_int_equal(store_hand(w->node[0].store, "b"), 0);
	assert_true(direct_is(w, 0, STORE_OWNER)); /* not out of the call */
	WAIT(w, direct_is(w, 1, STORE_OWNER));
	assert_int_equal(w->node[0].committed, ticket); /* first that */
	assert_true(direct_is(w, 0, STORE_STANDBY));
	assert_true(direct_status(w, 1)->epoch > epoch);
	WAIT(w, direct_whole(w, 1));
	assert_int_equal(direct_status(w, 0)->resyncs, resyncs); /* who gave has everything */
	direct_commit(w, 1, 2, 22);
	assert_int_equal(direct_held(w, 0, 1).commit, 11);
	assert_int_equal(direct_held(w, 0, 2).commit, 22);
	assert_int_equal(store_hand(w->node[1].store, "a"), 0);
	WAIT(w, direct_whole(w, 0));
	direct_commit(w, 0, 3, 33);
	assert_int_equal(direct_held(w, 1, 3).commit, 33);
}

static void operator_says_alone(void **state)
{
	struct group *w = *state;

	w->count = 2;
	direct_open(w, 0);
	assert_int_equal(store_alone(w->node[0].store), 0);
	WAIT(w, direct_is(w, 0, STORE_OWNER));
	assert_int_equal(w->node[0].lease_until, UINT64_MAX);
	assert_false(direct_status(w, 0)->synced);
	direct_commit(w, 0, 1, 1);
	direct_open(w, 1);
	WAIT(w, direct_whole(w, 0));
	assert_int_equal(direct_held(w, 1, 1).commit, 1);
}

static void standby_that_says_goodbye_leaves_the_owner_alone(void **state)
{
	struct group *w = *state;
	uint64_t until;

	direct_begin(w, 2);
	direct_close(w, 1);
	WAIT(w, w->node[0].lease_until == UINT64_MAX);
	until = clock_boot_ns() + 2 * LEASE_MS * 1000000ull;
	while (clock_boot_ns() < until) {
		direct_turn(w);
		assert_true(direct_is(w, 0, STORE_OWNER));
	}
	assert_false(direct_status(w, 0)->synced);
	direct_commit(w, 0, 1, 1);
}

static void t6_owner_that_ends_hands_over(void **state)
{
	struct group *w = *state;
	uint64_t start;

	direct_begin(w, 2);
	direct_commit(w, 0, 1, 1);
	start = clock_boot_ns();
	direct_close(w, 0);
	WAIT(w, direct_is(w, 1, STORE_OWNER));
	assert_true(clock_boot_ns() - start < LEASE_MS * 1000000ull / 2);
	direct_commit(w, 1, 1, 2);
}

static void three_nodes_a_majority_is_enough(void **state)
{
	struct group *w = *state;

	direct_begin(w, 3);
	direct_commit(w, 0, 1, 1);
	direct_close(w, 2);
	direct_commit(w, 0, 2, 2);
	assert_int_equal(direct_held(w, 1, 2).commit, 2);
	direct_open(w, 2);
	WAIT(w, direct_status(w, 2)->synced);
	assert_int_equal(direct_held(w, 2, 2).commit, 2);
	WAIT(w, store_hand(w->node[0].store, "c") == 0); /* once c has granted */
	WAIT(w, direct_whole(w, 2));
	direct_commit(w, 2, 3, 3);
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* No test: a figure. The standby is another process. */
static void how_long_a_commit_takes(void **state)
{
	enum { ROUNDS = 2000 };
	static uint64_t took[ROUNDS];
	struct group *w = *state;

	w->count = 2;
	direct_open(w, 0);
	assert_int_equal(store_alone(w->node[0].store), 0);
	WAIT(w, direct_is(w, 0, STORE_OWNER));
	direct_child_start(w, 1);
	WAIT(w, direct_whole(w, 0));
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = clock_boot_ns();

		direct_commit(w, 0, 1, (uint64_t)i);
		took[i] = clock_boot_ns() - start;
	}
	qsort(took, ROUNDS, sizeof(took[0]), by_value);
	print_message("info: put to committed, %d times between two processes: median %.1f us, "
		      "99 %% %.1f us\n",
		      ROUNDS, (double)took[ROUNDS / 2] / 1000,
		      (double)took[ROUNDS * 99 / 100] / 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(t7_put_is_committed_when_the_standby_has_it),
		TEST(t7_of_one_id_the_newest_goes),
		TEST(only_an_owner_writes),
		TEST(t6_who_could_serve),
		TEST(two_claim_at_once_and_one_gets_it),
		TEST(t6_a_node_that_returns_gets_all_of_10000),
		TEST(t6_hand_over_in_order),
		TEST(operator_says_alone),
		TEST(standby_that_says_goodbye_leaves_the_owner_alone),
		TEST(t6_owner_that_ends_hands_over),
		TEST(three_nodes_a_majority_is_enough),
		TEST(how_long_a_commit_takes),
	};

	return cmocka_run_group_tests(tests, direct_network, NULL);
}
