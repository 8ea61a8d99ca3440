/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The store in Redis, against real servers: what is committed is held there, by the owner alone. */
#include "tests/unit/redis_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/takeover/store_redis_watch.h"

#define SEC       1000000000ull
#define MANY      10000
#define LATENCIES 500

/* ---- the watch ---- */

static void owner_is_parsed(void **state)
{
	static const char *const bad[] = {"",
					  "1",
					  "1 2 3",
					  "1 2 x n",
					  "-1 2 3 n",
					  "1  2 3 n",
					  "4294967295 2 3 n",
					  "1 18446744073709551615 3 n",
					  "1 2 4294967295 n",
					  "1 2 3 a-name-of-more-than-31-characters"};
	struct redis_owner o = {.epoch = 77};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(redis_owner_parse(bad[i], &o), -EBADMSG);
		assert_int_equal(o.epoch, 77);
	}
	assert_int_equal(redis_owner_parse("4294967294 18446744073709551614 3 a b", &o), 0);
	assert_int_equal(o.epoch, 4294967294);
	assert_true(o.beat == 18446744073709551614ull);
	assert_int_equal(o.lease_ms, 3);
	assert_string_equal(o.node, "a b");
	assert_int_equal(redis_owner_parse("1 0 3 ", &o), 0);
	assert_string_equal(o.node, "");
}

/* A lease is 1 s here, who kept the records may need 2 s; connected at 100 s, the key first seen at
 * 110 s, or at 100.5 s. */
static const struct {
	const char *what;
	const char *key;
	bool ours, kept;
	double vacant, early; /* s */
	const char *whole;
} vacancies[] = {
	{"of another", "3 9 1000 b", false, false, 111.05, 104.1, ""},
	{"of another, longer lease", "3 9 2000 b", false, false, 112.1, 106.2, ""},
	{"of another, shorter lease", "3 9 10 b", false, false, 111.05, 104.1, ""},
	{"given back", "3 0 1000 ", false, false, 101.05, 101.05, ""},
	{"given to us", "3 0 1000 a", false, false, 101.05, 101.05, ""},
	{"given to another", "3 0 1000 b", false, false, 111.05, 104.1, ""},
	{"ours, of this life", "3 9 1000 a", true, true, 110, 100.5, ""},
	{"of a former life of ours", "3 9 1000 a", false, false, 111.05, 104.1, ""},
	{"ours, of before Redis lost what came last", "3 9 1000 a", false, true, 111.05, 101.55,
	 ""},
	{"lost, and we have the records", "", false, true, 111.05, 101.55, ""},
	{"lost, and somebody else may have", "", false, false, 114.1, 104.6, ""},
	{"whole", "3 9 1000 b", false, false, 111.05, 101.55, "3 r h"},
	{"whole, longer lease", "3 9 2000 b", false, false, 112.1, 102.6, "3 r h"},
	{"whole, given to us", "3 0 1000 a", false, false, 0, 0, "3 r h"},
	{"whole, of a former life of ours", "3 9 1000 a", false, false, 111.05, 101.55, "3 r h"},
	{"whole, in another run", "3 9 1000 b", false, false, 111.05, 104.1, "3 r g"},
	{"whole, of another epoch", "3 9 1000 b", false, false, 111.05, 104.1, "2 r h"},
	{"whole, but lost", "", false, false, 114.1, 104.6, "0 r h"},
	{"nonsense instead of whole", "3 9 1000 b", false, false, 111.05, 104.1, "3r h"},
};

static void vacancy_is_waited_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vacancies) / sizeof(vacancies[0]); i++) {
		const struct redis_claimant c = {.node = "a",
						 .lease_ms = 1000,
						 .ours = vacancies[i].ours,
						 .kept = vacancies[i].kept,
						 .return_ms = 2000};
		const char *whole = vacancies[i].whole;
		struct redis_watch w = {0};
		uint64_t at;

		redis_watch_connected(&w, true, 100 * SEC);
		assert_int_equal(redis_watch_saw(&w, vacancies[i].key, 1005 * SEC / 10), 0);
		redis_watch_saw_whole(&w, whole, "r h");
		at = redis_watch_vacant_ns(&w, &c);
		if (at != (uint64_t)(vacancies[i].early * 1000 + 0.5) * 1000000)
			fail_msg("%s, seen early: %.3f s", vacancies[i].what, at / 1e9);

		w = (struct redis_watch){0};
		redis_watch_connected(&w, true, 100 * SEC);
		assert_true(redis_watch_vacant_ns(&w, &c) == UINT64_MAX);
		assert_int_equal(redis_watch_saw(&w, vacancies[i].key, 110 * SEC), 0);
		assert_int_equal(redis_watch_saw(&w, vacancies[i].key, 111 * SEC), 0);
		redis_watch_saw_whole(&w, whole, "r h");
		at = redis_watch_vacant_ns(&w, &c);
		if (at != (uint64_t)(vacancies[i].vacant * 1000 + 0.5) * 1000000)
			fail_msg("%s: %.3f s", vacancies[i].what, at / 1e9);
		/* renewed */
		assert_int_equal(redis_watch_saw(&w, "3 10 1000 b", 111 * SEC), 0);
		assert_true(redis_watch_vacant_ns(
				    &w, &(struct redis_claimant){.node = "a", .lease_ms = 1000}) ==
			    111 * SEC + SEC / 100 * 105);
		/* the same key over a new connection proves nothing about the time before */
		redis_watch_connected(&w, false, 112 * SEC);
		assert_true(redis_watch_vacant_ns(&w, &c) == UINT64_MAX);
	}
}

/* Who comes from another Redis believes the owner's word when it has seen the owner there. */
static void word_is_believed_of_an_owner_that_is_there(void **state)
{
	struct redis_watch w = {0};

	(void)state;
	redis_watch_connected(&w, true, 100 * SEC);
	redis_watch_saw(&w, "3 9 1000 b", 101 * SEC);
	redis_watch_saw_whole(&w, "3 r h", "r h");
	assert_true(w.whole);
	redis_watch_connected(&w, true, 102 * SEC);
	redis_watch_saw(&w, "3 9 1000 b", 103 * SEC);
	redis_watch_saw_whole(&w, "3 r h", "r h");
	assert_false(w.whole);
	redis_watch_connected(&w, false, 104 * SEC);
	redis_watch_saw(&w, "3 9 1000 b", 105 * SEC);
	redis_watch_saw_whole(&w, "3 r h", "r h");
	assert_false(w.whole);
	redis_watch_saw(&w, "3 10 1000 b", 106 * SEC);
	redis_watch_saw_whole(&w, "3 r h", "r h");
	assert_true(w.whole);
}

static void nodes_are_there_while_they_write(void **state)
{
	struct redis_nodes n = {0};
	char name[16];

	(void)state;
	redis_nodes_saw(&n, "b", "1", 10 * SEC);
	assert_null(redis_nodes_present(&n, "b", 10 * SEC, SEC)); /* it may be long dead */
	redis_nodes_saw(&n, "b", "1", 11 * SEC);
	assert_null(redis_nodes_present(&n, NULL, 11 * SEC, SEC));
	redis_nodes_saw(&n, "b", "2", 12 * SEC);
	assert_non_null(redis_nodes_present(&n, "b", 12 * SEC, SEC));
	assert_string_equal(redis_nodes_present(&n, NULL, 13 * SEC, SEC), "b");
	assert_null(redis_nodes_present(&n, "c", 12 * SEC, SEC));
	assert_null(redis_nodes_able(&n, NULL, 0, ~0ull, 13 * SEC, SEC)); /* it offers nothing */
	assert_string_equal(redis_nodes_able(&n, NULL, 0, 0, 13 * SEC, SEC), "b");
	assert_null(redis_nodes_able(&n, NULL, 1, 0, 13 * SEC, SEC));
	redis_nodes_saw(&n, "b", "3 6", 12 * SEC);
	assert_string_equal(redis_nodes_able(&n, NULL, 2, 4, 13 * SEC, SEC), "b");
	assert_string_equal(redis_nodes_able(&n, "b", 0, ~0ull, 13 * SEC, SEC), "b");
	assert_null(redis_nodes_able(&n, "c", 0, ~0ull, 13 * SEC, SEC));
	assert_null(redis_nodes_able(&n, NULL, 1, 4, 13 * SEC, SEC));
	assert_null(redis_nodes_able(&n, NULL, 2, 8, 13 * SEC, SEC));
	assert_null(redis_nodes_able(&n, NULL, 2, 4, 13 * SEC + 1, SEC));
	assert_null(redis_nodes_present(&n, "b", 13 * SEC + 1, SEC));
	for (int i = 0; i < 2 * REDIS_NODES_MAX; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		redis_nodes_saw(&n, name, "1", 12 * SEC);
	}
	assert_int_equal(n.count, REDIS_NODES_MAX);
}

/* ---- ownership ---- */

static void t1_one_claims_the_other_stands_by(void **state)
{
	struct world *w = *state;
	uint64_t began = redis_world_now_ns();

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	/* an empty Redis may have forgotten a lease */
	assert_true(redis_world_now_ns() - began >= 2 * LEASE_MS * 1000000ull);
	assert_int_equal(w->a.status.epoch, 1);
	assert_string_equal(w->a.status.owner, "a");
	assert_string_equal(store_status(w->a.store)->why, "");
	assert_false(w->a.status.synced);
	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
	assert_string_equal(w->b.status.owner, "a");
	assert_int_equal(store_claim(w->b.store), -EAGAIN);
	assert_int_equal(store_alone(w->b.store), -ENOTSUP);
	WAIT(w, w->a.status.synced);
	/* renewed, again and again */
	HOLDS(w, 5 * LEASE_MS, w->a.lease_ns > redis_world_now_ns() && w->a.ownerships == 1);
	redis_node_close(&w->b);
	WAIT(w, !w->a.status.synced);
}

static void t1_owner_cut_off_stops_before_another_begins(void **state)
{
	struct world *w = *state;
	struct proxy *p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	uint64_t lease_end;

	redis_node_own(w, &w->a, "a", A_PROXY);
	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
	w->b.wants = true;
	redis_proxy_hold(p, true);
	lease_end = w->a.lease_ns;
	WAIT(w, w->b.status.state == STORE_OWNER);
	assert_int_equal(w->a.status.state, STORE_AWAY);
	assert_true(w->a.lost_ns < redis_world_now_ns());
	assert_true(redis_world_now_ns() >= lease_end);
	assert_int_equal(w->b.status.epoch, 2);
	assert_int_equal(w->a.ownerships, 1);
	redis_proxy_hold(p, false);
	WAIT(w, w->a.status.state == STORE_STANDBY && w->a.status.epoch == 2);
	assert_string_equal(w->a.status.owner, "b");
	HOLDS(w, 2 * LEASE_MS, w->b.status.state == STORE_OWNER);
	redis_node_close(&w->a);
	redis_proxy_free(p);
}

static void t1_renewal_whose_answer_is_late_extends_nothing(void **state)
{
	struct world *w = *state;
	struct proxy *p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	uint64_t lease_end;

	redis_node_own(w, &w->a, "a", A_PROXY);
	w->a.wants = false;
	lease_end = w->a.lease_ns;
	redis_proxy_hold_answers(p, true);
	WAIT(w, w->a.status.state != STORE_OWNER);
	assert_true(w->a.lost_ns >= lease_end);
	assert_true(w->a.lost_ns < lease_end + LEASE_MS * 1000000ull + HEARTBEAT_MS * 1000000ull);
	redis_proxy_hold_answers(p, false);
	/* it knows that nobody else was: no wait */
	WAIT(w, w->a.status.state == STORE_VACANT);
	w->a.wants = true;
	assert_int_equal(store_claim(w->a.store), 0);
	WAIT(w, w->a.status.state == STORE_OWNER);
	assert_int_equal(w->a.status.epoch, 2);
	redis_node_close(&w->a);
	redis_proxy_free(p);
}

static void t1_clean_end_gives_it_back(void **state)
{
	struct world *w = *state;
	uint64_t began;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
	HOLDS(w, 2 * LEASE_MS, w->b.status.state == STORE_STANDBY);
	w->b.wants = true;
	began = redis_world_now_ns();
	redis_node_close(&w->a);
	WAIT(w, w->b.status.state == STORE_OWNER);
	assert_true(redis_world_now_ns() - began < LEASE_MS * 1000000ull);
	/* so may who comes anew, as that owner said that it held its lease in this run of Redis */
	redis_node_close(&w->b);
	began = redis_world_now_ns();
	redis_node_own(w, &w->a, "a", REDIS_PORT);
	assert_true(redis_world_now_ns() - began < LEASE_MS * 1000000ull);
	assert_int_equal(w->a.status.epoch, 5);
	/* else it has to wait: Redis may have been started a moment ago */
	redis_node_close(&w->a);
	redis_server_do(&w->master, "DEL holdfast:{g}:whole");
	began = redis_world_now_ns();
	redis_node_own(w, &w->a, "a", REDIS_PORT);
	assert_true(redis_world_now_ns() - began >= LEASE_MS * 1000000ull);
	assert_int_equal(w->a.status.epoch, 7);
}

static uint64_t ms_since(uint64_t began)
{
	return (redis_world_now_ns() - began) / 1000000;
}

/* The owner vanishes a moment after a node was started: that one needs no more than the lease, for
 * Redis knows itself to be whole; and where it does not, says that it may not take over yet. */
static void t1_node_just_started_takes_over(void **state)
{
	const struct store_config b = redis_world_config("b", REDIS_PORT);
	struct world *w = *state;
	struct proxy *p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	uint64_t began;
	char whole[32];

	redis_node_own(w, &w->a, "a", A_PROXY);
	redis_node_commit(w, &w->a, 1, 1);
	w->b.wants = true;
	began = redis_world_now_ns();
	redis_node_open(w, &w->b, &b);
	WAIT(w, w->b.status.state == STORE_STANDBY && w->b.status.synced);
	assert_true(ms_since(began) < LEASE_MS / 2);
	began = redis_world_now_ns();
	redis_proxy_free(p);
	WAIT(w, w->b.status.state == STORE_OWNER);
	assert_in_range(ms_since(began), LEASE_MS / 2, LEASE_MS * 3 / 2);
	assert_int_equal(redis_node_number(&w->b, 1), 1);
	redis_node_close(&w->a);

	/* the same, but the owner's word is of another run of Redis */
	p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	redis_node_close(&w->b);
	redis_node_own(w, &w->a, "a", A_PROXY);
	redis_proxy_free(p);
	snprintf(whole, sizeof(whole), "%u another run", w->a.status.epoch);
	redis_server_do(&w->master, "SET holdfast:{g}:whole %s", whole);
	redis_node_open(w, &w->b, &b);
	WAIT(w, w->b.status.state == STORE_STANDBY);
	began = redis_world_now_ns();
	assert_false(w->b.status.synced);
	assert_true(w->b.status.ready_ns > began + LEASE_MS * 3 / 2 * 1000000ull);
	WAIT(w, w->b.status.state == STORE_OWNER);
	assert_true(ms_since(began) > LEASE_MS * 3 / 2);
}

static void t6_hand_over(void **state)
{
	struct world *w = *state;
	uint64_t began, ticket;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	assert_int_equal(store_hand(w->a.store, "b"), -ENOTCONN);
	assert_int_equal(store_hand(w->a.store, "a"), -EINVAL);
	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
	HOLDS(w, 2 * LEASE_MS, true);
	assert_int_equal(store_hand(w->b.store, "a"), -EPERM);
	assert_int_equal(store_hand(w->a.store, "c"), -ENOTCONN);
	assert_int_equal(store_ask(w->b.store), 0);
	WAIT(w, *w->a.asked);
	assert_string_equal(w->a.asked, "b");
	w->a.wants = false;
	for (uint64_t id = 1; id <= 100; id++)
		ticket = redis_node_put(&w->a, id, id);
	began = redis_world_now_ns();
	assert_int_equal(store_hand(w->a.store, "b"), 0);
	assert_int_equal(w->a.status.state, STORE_OWNER); /* not out of a call */
	WAIT(w, w->b.status.state == STORE_OWNER);
	print_message("[   INFO   ] handed over with 100 records in %.1f ms\n",
		      (redis_world_now_ns() - began) / 1e6);
	assert_true(w->a.committed == ticket);
	assert_true(w->a.lost_ns && w->a.lost_ns < redis_world_now_ns());
	assert_int_equal(redis_node_count(&w->b), 100);
	assert_int_equal(redis_node_number(&w->b, 77), 77);
	WAIT(w, w->a.status.state == STORE_STANDBY && !strcmp(w->a.status.owner, "b"));
	assert_int_equal(redis_node_count(&w->a), 0);
	assert_int_equal(w->b.status.epoch, 3);
}

/* Puts never end: what was put after the call does not keep it. */
static void t6_hand_over_under_load(void **state)
{
	struct world *w = *state;
	struct record r = redis_world_record(1, 1);
	uint64_t ticket, asked, number = 0;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
	HOLDS(w, 2 * LEASE_MS, true);
	w->a.wants = false;
	asked = redis_node_put(&w->a, 1, ++number);
	assert_int_equal(store_hand(w->a.store, NULL), 0); /* any that is there */
	do {
		r.in_commit = ++number;
		event_base_loop(w->base, EVLOOP_ONCE);
	} while (store_put(w->a.store, &r, &ticket) == 0);
	assert_int_equal(w->a.status.state, STORE_STANDBY);
	WAIT(w, w->b.status.state == STORE_OWNER);
	assert_true(w->a.committed >= asked);
	assert_true(redis_node_number(&w->b, 1) >= w->a.committed);
}

/* ---- records ---- */

static void t1_ten_thousand_records(void **state)
{
	struct world *w = *state;
	uint64_t ticket = 0, began;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
	w->b.wants = true;
	began = redis_world_now_ns();
	for (uint64_t id = 1; id <= MANY; id++)
		ticket = redis_node_put(&w->a, id * 0x9e3779b97f4a7c15u, id);
	assert_true(w->a.committed == 0);
	WAIT(w, w->a.committed == ticket);
	print_message("[   INFO   ] %d records written in %.1f ms\n", MANY,
		      (redis_world_now_ns() - began) / 1e6);
	assert_int_equal(redis_server_count(&w->master), MANY);
	for (uint64_t id = 1; id <= 10; id++)
		assert_int_equal(store_delete(w->a.store, id * 0x9e3779b97f4a7c15u, &ticket), 0);
	redis_node_put(&w->a, 11 * 0x9e3779b97f4a7c15u, 5);
	ticket = redis_node_put(&w->a, 11 * 0x9e3779b97f4a7c15u, 6);
	WAIT(w, w->a.committed == ticket);
	assert_int_equal(store_status(w->a.store)->lag, 0);
	assert_int_equal(redis_server_count(&w->master), MANY - 10);
	HOLDS(w, 2 * LEASE_MS, store_status(w->a.store)->resyncs == 0);
	redis_node_close(&w->a);
	WAIT(w, w->b.status.state == STORE_VACANT);
	began = redis_world_now_ns();
	WAIT(w, w->b.status.state == STORE_OWNER);
	print_message("[   INFO   ] %d records claimed and loaded in %.1f ms\n", MANY,
		      (redis_world_now_ns() - began) / 1e6);
	assert_int_equal(redis_node_count(&w->b), MANY - 10);
	assert_int_equal(redis_node_number(&w->b, 11 * 0x9e3779b97f4a7c15u), 6);
	assert_int_equal(redis_node_number(&w->b, MANY * 0x9e3779b97f4a7c15u), MANY);
	assert_int_equal(store_status(w->b.store)->resyncs, 0);
}

/* What a former owner sent, and what comes to Redis only when another one owns the group. */
static void t7_stale_write_is_refused(void **state)
{
	struct world *w = *state;
	struct proxy *p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	uint64_t ticket;

	redis_node_own(w, &w->a, "a", A_PROXY);
	ticket = redis_node_put(&w->a, 1, 100);
	WAIT(w, w->a.committed == ticket);
	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
	w->b.wants = true;
	redis_proxy_hold(p, true);
	redis_node_put(&w->a, 1, 999);
	redis_node_put(&w->a, 2, 999);
	WAIT(w, w->b.status.state == STORE_OWNER);
	assert_int_equal(redis_node_number(&w->b, 1), 100);
	redis_proxy_hold(p, false);
	WAIT(w, w->a.status.state == STORE_STANDBY);
	assert_true(w->a.committed == ticket);
	assert_int_equal(redis_server_count(&w->master), 1);
	redis_node_close(&w->b);
	WAIT(w, w->a.status.state == STORE_OWNER);
	assert_int_equal(redis_node_number(&w->a, 1), 100);
	assert_int_equal(redis_node_count(&w->a), 1);
	redis_node_close(&w->a);
	redis_proxy_free(p);
}

/* The same owner's, over a connection that it has left: newer records are there meanwhile. */
static void t7_write_of_an_older_connection_is_refused(void **state)
{
	struct store_config config = redis_world_config("a", A_PROXY);
	struct world *w = *state;
	struct proxy *p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	uint64_t ticket;

	config.lease_ms = 2000;
	redis_node_own_with(w, &w->a, &config);
	redis_node_commit(w, &w->a, 1, 1);
	redis_proxy_hold(p, true);
	ticket = redis_node_put(&w->a, 1, 2);
	HOLDS(w, 3 * HEARTBEAT_MS, w->a.committed < ticket);
	redis_proxy_break_late(p);
	WAIT(w, w->a.committed >= ticket);
	redis_node_commit(w, &w->a, 1, 3);
	redis_proxy_late(p);
	HOLDS(w, 3 * HEARTBEAT_MS, w->a.status.state == STORE_OWNER);
	assert_int_equal(w->a.status.epoch, 1);
	redis_node_close(&w->a);
	redis_node_own(w, &w->b, "b", REDIS_PORT);
	assert_int_equal(redis_node_number(&w->b, 1), 3);
	redis_proxy_free(p);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void commit_latency(void **state)
{
	static double us[LATENCIES];
	struct world *w = *state;
	uint64_t ticket, began;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	for (size_t i = 0; i < LATENCIES; i++) {
		began = redis_world_now_ns();
		ticket = redis_node_put(&w->a, i % 100, i);
		WAIT(w, w->a.committed == ticket);
		us[i] = (redis_world_now_ns() - began) / 1e3;
	}
	qsort(us, LATENCIES, sizeof(us[0]), by_size);
	print_message("[   INFO   ] put to committed: median %.0f us, 99 of 100 below %.0f us\n",
		      us[LATENCIES / 2], us[LATENCIES * 99 / 100]);
}

static void unreadable_records_are_dropped(void **state)
{
	struct world *w = *state;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	redis_node_commit(w, &w->a, 1, 100);
	redis_node_close(&w->a);
	redis_server_do(&w->master,
			"HSET holdfast:{g}:records 0000000000000002 garbage name other");
	redis_node_own(w, &w->b, "b", REDIS_PORT);
	assert_string_equal(store_status(w->b.store)->why,
			    "2 records in Redis cannot be read: they are dropped");
	assert_int_equal(redis_node_count(&w->b), 1);
	WAIT(w, redis_server_count(&w->master) == 1);
	WAIT(w, !*store_status(w->b.store)->why);
}

/* ---- being let in ---- */

static int secret(void **state)
{
	return redis_world_setup(state, REDIS_PLAIN " --requirepass right");
}

static void expect_why(struct world *w, const struct store_config *config, const char *why)
{
	uint64_t ticket;
	struct record r = redis_world_record(1, 1);

	redis_node_open(w, &w->a, config);
	WAIT(w, *store_status(w->a.store)->why);
	if (!strstr(store_status(w->a.store)->why, why))
		fail_msg("%s", store_status(w->a.store)->why);
	assert_int_equal(w->a.status.state, STORE_AWAY);
	assert_int_equal(store_claim(w->a.store), -EPERM);
	assert_int_equal(store_put(w->a.store, &r, &ticket), -EPERM);
	redis_node_close(&w->a);
}

static void password(void **state)
{
	struct world *w = *state;
	struct store_config config = redis_world_config("a", REDIS_PORT);

	expect_why(w, &config, "Redis wants a password");
	config.redis_password = "wrong";
	expect_why(w, &config, "Redis refuses the password");
	config.redis_user = "nobody";
	expect_why(w, &config, "Redis refuses the password");
	config.redis_user = "default";
	config.redis_password = "right";
	redis_node_own_with(w, &w->a, &config);
	redis_node_close(&w->a);
	config.redis_user = NULL;
	redis_node_own_with(w, &w->a, &config);
}

static void rights(void **state)
{
	struct world *w = *state;
	struct store_config config = redis_world_config("a", REDIS_PORT);

	redis_server_do(&w->master, "ACL SETUSER poor on >x ~other:* +@all");
	redis_server_do(&w->master,
			"ACL SETUSER rich on >x ~holdfast:{g}:* +@hash +@string +@scripting "
			"+del +hscan +hkeys +info +wait +auth");
	config.redis_password = "x";
	expect_why(w, &config, "Redis has no password, but one is configured");
	config.redis_user = "poor";
	expect_why(w, &config, "Redis does not permit this user");
	config.redis_user = "rich";
	redis_node_own_with(w, &w->a, &config);
}

static void hosts(void **state)
{
	struct world *w = *state;
	struct store_config config = redis_world_config("a", 9);

	expect_why(w, &config, "Redis at 127.0.0.1 port 9 cannot be reached: Connection refused");
	config.redis_host = "[::1]";
	expect_why(w, &config, "Redis at ::1 port 9 cannot be reached");
	config.redis_host = "no-such-host.invalid";
	redis_node_open(w, &w->a, &config);
	redis_node_close(&w->a); /* while it is looked up */
	config.redis_host = "localhost";
	config.redis_port = REDIS_PORT;
	redis_node_own_with(w, &w->a, &config);
}

static void bad_configuration(void **state)
{
	static const struct store_ops ops = {0};
	struct world *w = *state;
	struct store_config config = redis_world_config("a", REDIS_PORT);
	struct store *s = NULL;
	char err[160];

	config.redis_host = NULL;
	assert_int_equal(store_redis_open(w->base, &config, &ops, NULL, &s, err, sizeof(err)),
			 -EINVAL);
	assert_string_equal(err, "the store needs the host and the port of Redis");
	config = redis_world_config("", REDIS_PORT);
	assert_int_equal(store_redis_open(w->base, &config, &ops, NULL, &s, err, sizeof(err)),
			 -EINVAL);
	assert_null(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(owner_is_parsed),
		cmocka_unit_test(vacancy_is_waited_for),
		cmocka_unit_test(word_is_believed_of_an_owner_that_is_there),
		cmocka_unit_test(nodes_are_there_while_they_write),
		IN(redis_world_plain, t1_one_claims_the_other_stands_by),
		IN(redis_world_plain, t1_owner_cut_off_stops_before_another_begins),
		IN(redis_world_plain, t1_renewal_whose_answer_is_late_extends_nothing),
		IN(redis_world_plain, t1_clean_end_gives_it_back),
		IN(redis_world_plain, t1_node_just_started_takes_over),
		IN(redis_world_plain, t6_hand_over),
		IN(redis_world_plain, t6_hand_over_under_load),
		IN(redis_world_plain, t1_ten_thousand_records),
		IN(redis_world_plain, t7_stale_write_is_refused),
		IN(redis_world_plain, t7_write_of_an_older_connection_is_refused),
		IN(redis_world_plain, commit_latency),
		IN(redis_world_plain, unreadable_records_are_dropped),
		IN(secret, password),
		IN(redis_world_plain, rights),
		IN(redis_world_plain, hosts),
		IN(redis_world_plain, bad_configuration),
	};

	if (!redis_world_net()) {
		puts("SKIP store_redis: see above");
		return 77;
	}
	return cmocka_run_group_tests_name("store_redis", tests, NULL, NULL);
}
