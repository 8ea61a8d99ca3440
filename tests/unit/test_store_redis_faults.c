/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of the records and of the owner when something becomes of Redis. */
#include "tests/unit/redis_world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define B_PROXY 7004

static int journal(void **state)
{
	return redis_world_setup(state, REDIS_JOURNAL);
}

static void wait_for_replica(struct world *w, const struct server *replica)
{
	redisReply *r;
	bool up = false;

	for (uint64_t end = redis_world_now_ns() + PATIENCE_MS * 1000000ull; !up;) {
		assert_true(redis_world_now_ns() < end);
		r = redis_server_ask(replica, "INFO replication");
		up = strstr(r->str, "master_link_status:up");
		freeReplyObject(r);
		event_base_loop(w->base, EVLOOP_ONCE);
	}
}

static void add_replica(struct world *w)
{
	redis_server_start(&w->replica, REPLICA_PORT, REDIS_PLAIN " --replicaof 127.0.0.1 7001");
	wait_for_replica(w, &w->replica);
}

static void t7_replica_that_stands_still_holds_the_commit(void **state)
{
	struct world *w = *state;
	struct store_config config = redis_world_config("a", REDIS_PORT);
	uint64_t ticket;

	add_replica(w);
	config.replicas = 1;
	config.lease_ms = 1500; /* the lease needs the replica too */
	redis_node_own_with(w, &w->a, &config);
	redis_node_commit(w, &w->a, 1, 1);
	assert_int_equal(redis_server_count(&w->replica), 1);
	redis_server_signal(&w->replica, SIGSTOP);
	ticket = redis_node_put(&w->a, 2, 2);
	HOLDS(w, 500, w->a.committed < ticket);
	assert_int_equal(w->a.status.state, STORE_OWNER);
	assert_int_equal(redis_server_count(&w->master), 2); /* there, but not held */
	assert_string_equal(store_status(w->a.store)->why,
			    "only 0 of the 1 replicas that are asked for have the newest records");
	redis_server_signal(&w->replica, SIGCONT);
	WAIT(w, w->a.committed == ticket);
	assert_int_equal(redis_server_count(&w->replica), 2);
	WAIT(w, !*store_status(w->a.store)->why);
	/* and without it nobody owns for long */
	redis_server_signal(&w->replica, SIGSTOP);
	w->a.wants = false;
	WAIT(w, w->a.status.state != STORE_OWNER);
	redis_server_signal(&w->replica, SIGCONT);
}

static void t7_full_redis_holds_the_commit(void **state)
{
	struct world *w = *state;
	uint64_t ticket, deleted;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	redis_node_commit(w, &w->a, 1, 1);
	redis_server_do(&w->master, "CONFIG SET maxmemory 100kb");
	ticket = redis_node_put(&w->a, 2, 2);
	WAIT(w, !strcmp(store_status(w->a.store)->why,
			"Redis is full (maxmemory): it takes no more records"));
	/* deletions are not kept waiting by puts that find no room; the lease goes on */
	assert_int_equal(store_delete(w->a.store, 1, &deleted), 0);
	WAIT(w, redis_server_count(&w->master) == 0);
	HOLDS(w, 3 * LEASE_MS, w->a.committed < ticket && w->a.lease_ns > redis_world_now_ns());
	redis_server_do(&w->master, "CONFIG SET maxmemory 0");
	WAIT(w, w->a.committed == deleted);
	assert_string_equal(store_status(w->a.store)->why, "");
	assert_int_equal(redis_server_count(&w->master), 1);
	assert_int_equal(w->a.ownerships, 1);
}

static void eviction_is_not_accepted(void **state)
{
	struct world *w = *state;
	const struct store_config config = redis_world_config("a", REDIS_PORT);

	redis_server_do(&w->master, "CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru");
	redis_node_open(w, &w->a, &config);
	WAIT(w, *store_status(w->a.store)->why);
	assert_string_equal(
		store_status(w->a.store)->why,
		"Redis may evict records (maxmemory-policy allkeys-lru): noeviction is needed");
	assert_int_equal(store_claim(w->a.store), -EPERM);
	redis_server_do(&w->master, "CONFIG SET maxmemory-policy volatile-lru");
	WAIT(w, !*w->a.status.owner && w->a.status.state == STORE_STANDBY);
}

/* It comes back at once and knows nothing: the owner goes on, and writes everything again. */
static void t7_redis_comes_back_empty(void **state)
{
	struct world *w = *state;
	struct store_config config = redis_world_config("a", REDIS_PORT);
	uint64_t ticket;

	config.lease_ms = 1500;
	redis_node_own_with(w, &w->a, &config);
	redis_node_commit_up_to(w, &w->a, 1000);
	redis_server_kill(&w->master);
	ticket = redis_node_put(&w->a, 1001, 1);
	HOLDS(w, 100, w->a.committed < ticket);
	assert_non_null(strstr(store_status(w->a.store)->why, "cannot be reached"));
	redis_server_start(&w->master, REDIS_PORT, REDIS_PLAIN);
	WAIT(w, w->a.committed >= ticket);
	WAIT(w, redis_server_count(&w->master) == 1001);
	WAIT(w, !*store_status(w->a.store)->why);
	assert_int_equal(w->a.ownerships, 1);
	assert_int_equal(w->a.status.epoch, 1);
	assert_int_equal(store_status(w->a.store)->resyncs, 1);
	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
}

/* The same, later than the lease lasts: it was the last owner and has all records; it goes first.
 */
static void t7_redis_comes_back_empty_and_late(void **state)
{
	struct world *w = *state;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
	redis_node_commit_up_to(w, &w->a, 1000);
	w->b.wants = true;
	redis_server_kill(&w->master);
	WAIT(w, w->a.status.state == STORE_AWAY && w->b.status.state == STORE_AWAY);
	redis_server_start(&w->master, REDIS_PORT, REDIS_PLAIN);
	WAIT(w, w->a.status.state == STORE_OWNER);
	assert_int_equal(w->b.ownerships, 0);
	assert_int_equal(w->a.status.epoch, 2);
	WAIT(w, redis_server_count(&w->master) == 1000);
	assert_int_equal(redis_node_count(&w->a), 1000);
	assert_true(store_status(w->a.store)->resyncs >= 1);
}

/* a owns, and its first record is committed. */
static struct proxy *own_behind_proxy(struct world *w)
{
	struct proxy *p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);

	redis_node_own(w, &w->a, "a", A_PROXY);
	redis_node_commit(w, &w->a, 1, 1);
	return p;
}

/* It has put what never came to Redis, lost its lease, and owns again: nobody may be told of that
 * record before Redis has it, for the next owner would know nothing of it. */
static void t7_owner_again_is_held_when_redis_has_its_records(void **state)
{
	struct world *w = *state;
	struct proxy *p = own_behind_proxy(w);

	WAIT(w, w->a.status.held);
	redis_proxy_free(p);
	redis_node_put(&w->a, 1, 2);
	WAIT(w, w->a.status.state != STORE_OWNER);
	assert_false(w->a.status.held);
	redis_server_do(&w->master, "CONFIG SET maxmemory 100kb");
	p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	WAIT(w, w->a.ownerships == 2);
	HOLDS(w, 3 * LEASE_MS, w->a.status.state == STORE_OWNER && !w->a.status.held);
	assert_int_equal(redis_node_number(&w->a, 1), 2);
	/* the next owner goes on with what was committed */
	w->a.wants = false;
	redis_proxy_free(p);
	redis_node_own(w, &w->b, "b", REDIS_PORT);
	assert_int_equal(redis_node_number(&w->b, 1), 1);
	assert_true(w->b.status.held);
	redis_node_close(&w->a);
}

/* The same, and then there is room. */
static void t7_owner_again_brings_what_redis_lacks(void **state)
{
	struct world *w = *state;
	struct proxy *p = own_behind_proxy(w);

	redis_proxy_free(p);
	redis_node_put(&w->a, 1, 2);
	redis_node_put(&w->a, 2, 3);
	WAIT(w, w->a.status.state != STORE_OWNER);
	redis_server_do(&w->master, "CONFIG SET maxmemory 100kb");
	p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	WAIT(w, w->a.ownerships == 2);
	assert_false(w->a.status.held);
	redis_server_do(&w->master, "CONFIG SET maxmemory 0");
	WAIT(w, w->a.status.held);
	assert_int_equal(redis_server_count(&w->master), 2);
	w->a.wants = false;
	redis_proxy_free(p);
	redis_node_own(w, &w->b, "b", REDIS_PORT);
	assert_int_equal(redis_node_number(&w->b, 1), 2);
	assert_int_equal(redis_node_number(&w->b, 2), 3);
	redis_node_close(&w->a);
}

/* It has never put anything: there is nothing to write again, and that is soon done. */
static void t7_owner_without_records_is_held_again(void **state)
{
	struct world *w = *state;
	struct proxy *p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);

	redis_node_own(w, &w->a, "a", A_PROXY);
	redis_proxy_free(p);
	WAIT(w, w->a.status.state != STORE_OWNER);
	p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	WAIT(w, w->a.ownerships == 2);
	WAIT(w, w->a.status.held);
	redis_node_commit(w, &w->a, 1, 1);
	redis_node_close(&w->a);
	redis_proxy_free(p);
}

/* The owner lives, Redis has lost a part: what is written then is no commit before all is there. */
static void t7_nothing_is_committed_before_redis_is_filled_again(void **state)
{
	struct world *w = *state;
	struct store_config config = redis_world_config("a", A_PROXY);
	struct proxy *p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	uint64_t ticket;

	config.lease_ms = 2000;
	redis_node_own_with(w, &w->a, &config);
	redis_node_commit_up_to(w, &w->a, 10000); /* more than goes into one batch */
	redis_proxy_free(p);
	redis_server_kill(&w->master);
	ticket = redis_node_put(&w->a, 10001, 1);
	redis_server_start(&w->master, REDIS_PORT, REDIS_PLAIN);
	p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	WAIT(w, w->a.committed >= ticket);
	assert_int_equal(redis_server_count(&w->master), 10001);
	assert_int_equal(w->a.ownerships, 1);
	redis_node_close(&w->a);
	redis_proxy_free(p);
}

/* Both have lost their lease while Redis was away, and it has forgotten the newest commit, and who
 * owned last: it is who has them that goes first, though it finds Redis later than the other. */
static void t7_last_owner_goes_before_a_redis_that_lost_its_end(void **state)
{
	struct world *w = *state;
	struct proxy *p = own_behind_proxy(w);
	redisReply *owner, *whole;

	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
	w->b.wants = true;
	owner = redis_server_ask(&w->master, "GET holdfast:{g}:owner");
	whole = redis_server_ask(&w->master, "GET holdfast:{g}:whole");
	redis_node_commit(w, &w->a, 1, 2);
	redis_proxy_free(p);
	redis_server_kill(&w->master);
	WAIT(w, w->a.status.state == STORE_AWAY && w->b.status.state == STORE_AWAY);
	redis_server_start(&w->master, REDIS_PORT, REDIS_PLAIN);
	redis_server_do(&w->master, "SET holdfast:{g}:owner %s", owner->str);
	redis_server_do(&w->master, "SET holdfast:{g}:whole %s", whole->str);
	freeReplyObject(owner);
	freeReplyObject(whole);
	WAIT(w, w->b.status.state != STORE_AWAY);
	HOLDS(w, LEASE_MS * 3 / 2, w->b.ownerships == 0);
	p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	WAIT(w, w->a.ownerships == 2 && w->a.status.held);
	assert_int_equal(w->b.ownerships, 0);
	assert_int_equal(redis_node_number(&w->a, 1), 2);
	redis_node_close(&w->a);
	redis_proxy_free(p);
	WAIT(w, w->b.status.state == STORE_OWNER);
	assert_int_equal(redis_node_number(&w->b, 1), 2);
}

/* A master that was out of reach, while another one took its place, comes back under the address:
 * it was never told that it is none, and has kept the owner's word of then. b finds it first. */
static void t7_word_of_a_master_that_was_replaced_is_old(void **state)
{
	struct world *w = *state;
	struct proxy *p = own_behind_proxy(w), *q;
	uint64_t resyncs;

	add_replica(w);
	WAIT(w, store_status(w->a.store)->resyncs == 1 && !*store_status(w->a.store)->why);
	q = redis_proxy_new(w->base, B_PROXY, REDIS_PORT);
	redis_node_stand_by(w, &w->b, "b", B_PROXY);
	WAIT(w, redis_server_count(&w->replica) == 1);
	redis_server_do(&w->replica, "REPLICAOF NO ONE");
	redis_proxy_free(p);
	redis_proxy_free(q);
	p = redis_proxy_new(w->base, A_PROXY, REPLICA_PORT);
	q = redis_proxy_new(w->base, B_PROXY, REPLICA_PORT);
	resyncs = store_status(w->a.store)->resyncs;
	WAIT(w, store_status(w->a.store)->resyncs > resyncs && !*store_status(w->a.store)->why);
	redis_node_commit(w, &w->a, 1, 2);
	WAIT(w, w->b.status.state == STORE_STANDBY && w->b.status.synced);
	w->b.wants = true;
	redis_proxy_free(p);
	redis_proxy_free(q);
	q = redis_proxy_new(w->base, B_PROXY, REDIS_PORT);
	WAIT(w, w->b.status.state == STORE_AWAY);
	WAIT(w, w->b.status.state != STORE_AWAY);
	HOLDS(w, LEASE_MS * 3 / 2, w->b.ownerships == 0);
	p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	WAIT(w, w->a.status.state == STORE_OWNER && w->a.status.held);
	assert_int_equal(w->b.ownerships, 0);
	assert_int_equal(redis_node_number(&w->a, 1), 2);
	redis_node_close(&w->a);
	redis_node_close(&w->b);
	redis_proxy_free(p);
	redis_proxy_free(q);
}

/* An owner of before the last one, whose records are old, meets an empty Redis first. */
static void t7_owner_of_before_is_not_the_last_one(void **state)
{
	struct world *w = *state;
	struct proxy *p = own_behind_proxy(w);

	redis_proxy_free(p); /* from here on it knows nothing */
	redis_node_own(w, &w->b, "b", REDIS_PORT);
	redis_node_commit(w, &w->b, 1, 2);
	redis_server_kill(&w->master);
	WAIT(w, w->b.status.state == STORE_AWAY);
	redis_server_start(&w->master, REDIS_PORT, REDIS_PLAIN);
	p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	WAIT(w, w->a.status.state == STORE_OWNER || w->b.status.state == STORE_OWNER);
	assert_int_equal(w->b.status.state, STORE_OWNER);
	assert_int_equal(redis_node_number(&w->b, 1), 2);
	redis_node_close(&w->a);
	redis_proxy_free(p);
}

static void t7_redis_comes_back_with_its_journal(void **state)
{
	struct world *w = *state;
	struct store_config config = redis_world_config("a", REDIS_PORT);

	config.lease_ms = 1500;
	redis_node_own_with(w, &w->a, &config);
	redis_node_commit_up_to(w, &w->a, 1000);
	redis_server_kill(&w->master);
	redis_server_start(&w->master, REDIS_PORT, REDIS_JOURNAL);
	assert_int_equal(redis_server_count(&w->master), 1000);
	/* what it lost of its end, it cannot know */
	redis_server_do(&w->master, "HSET holdfast:{g}:records 0000000000000007 old");
	redis_server_do(&w->master, "HSET holdfast:{g}:records 00000000000007ff deleted");
	WAIT(w, store_status(w->a.store)->resyncs == 1 && !*store_status(w->a.store)->why);
	assert_int_equal(redis_server_count(&w->master), 1000);
	w->a.wants = false;
	redis_node_close(&w->a);
	redis_node_own(w, &w->b, "b", REDIS_PORT);
	assert_int_equal(redis_node_count(&w->b), 1000);
	assert_int_equal(redis_node_number(&w->b, 7), 7);
	assert_int_equal(w->b.status.epoch, 3);
}

static void t7_somebody_deletes_behind_its_back(void **state)
{
	struct world *w = *state;
	uint64_t ticket;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	redis_node_stand_by(w, &w->b, "b", REDIS_PORT);
	w->b.wants = true;
	redis_node_commit_up_to(w, &w->a, 1000);
	redis_server_do(&w->master, "DEL holdfast:{g}:records");
	WAIT(w, store_status(w->a.store)->resyncs == 1 && redis_server_count(&w->master) == 1000);
	redis_server_do(&w->master, "FLUSHALL");
	WAIT(w, store_status(w->a.store)->resyncs >= 2 && redis_server_count(&w->master) == 1000);
	assert_int_equal(w->a.ownerships, 1);
	assert_int_equal(w->b.ownerships, 0);
	redis_server_do(&w->master, "SCRIPT FLUSH");
	ticket = redis_node_put(&w->a, 1, 2);
	WAIT(w, w->a.committed >= ticket);
	HOLDS(w, 2 * LEASE_MS, w->a.status.state == STORE_OWNER);
	assert_int_equal(w->b.ownerships, 0);
	redis_server_do(&w->master, "SET holdfast:{g}:owner nonsense");
	WAIT(w, w->a.status.state == STORE_AWAY);
	assert_string_equal(store_status(w->a.store)->why,
			    "the owner's key in Redis is not one of ours");
}

/* From the moment that Redis has lost them until all are there again. */
static void t7_redis_is_not_called_whole_before_it_is(void **state)
{
	static const char look[] = "return {redis.call('GET', KEYS[1]) and 1 or 0, "
				   "redis.call('GET', KEYS[2]) and 1 or 0, "
				   "redis.call('HLEN', KEYS[3])}";
	struct world *w = *state;
	bool whole = false;
	redisReply *r;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	redis_node_commit_up_to(w, &w->a, 1000);
	redis_server_do(&w->master, "FLUSHALL");
	for (uint64_t end = redis_world_now_ns() + PATIENCE_MS * 1000000ull; !whole;) {
		assert_true(redis_world_now_ns() < end);
		r = redis_server_ask(&w->master, "EVAL %s 3 %s %s %s", look, "holdfast:{g}:owner",
				     "holdfast:{g}:whole", "holdfast:{g}:records");
		assert_int_equal(r->elements, 3);
		whole = r->element[1]->integer;
		if (whole)
			assert_int_equal(r->element[2]->integer, 1000);
		freeReplyObject(r);
		event_base_loop(w->base, EVLOOP_ONCE);
	}
	assert_int_equal(w->a.ownerships, 1);
}

/* A fail-over: the replica has all, another history, and is found under the same address. */
static void t7_replica_takes_over(void **state)
{
	struct world *w = *state;
	struct store_config config = redis_world_config("a", A_PROXY);
	struct proxy *p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);
	uint64_t ticket;

	add_replica(w);
	config.replicas = 1;
	config.lease_ms = 1500;
	redis_node_own_with(w, &w->a, &config);
	redis_node_commit(w, &w->a, 1, 1);
	/* the former master becomes a replica: it may still be asked, and says no */
	redis_server_do(&w->replica, "REPLICAOF NO ONE");
	redis_server_do(&w->master, "REPLICAOF 127.0.0.1 7002");
	ticket = redis_node_put(&w->a, 2, 2);
	WAIT(w, strstr(store_status(w->a.store)->why, "replica"));
	HOLDS(w, 200, w->a.committed < ticket);
	redis_proxy_free(p);
	p = redis_proxy_new(w->base, A_PROXY, REPLICA_PORT);
	WAIT(w, w->a.committed >= ticket);
	assert_int_equal(w->a.ownerships, 1);
	assert_int_equal(store_status(w->a.store)->resyncs, 1);
	redis_node_close(&w->a);
	redis_proxy_free(p);
}

/* The first replica gives the master's history another name; the owner has been connected before.
 */
static void t1_owner_calls_redis_whole_by_its_newest_history(void **state)
{
	const struct store_config b = redis_world_config("b", REDIS_PORT);
	struct world *w = *state;
	uint64_t began;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	redis_node_commit(w, &w->a, 1, 1);
	add_replica(w);
	WAIT(w, store_status(w->a.store)->resyncs == 1 && !*store_status(w->a.store)->why);
	assert_int_equal(w->a.ownerships, 1);
	began = redis_world_now_ns();
	redis_node_open(w, &w->b, &b);
	WAIT(w, w->b.status.state == STORE_STANDBY && w->b.status.synced);
	assert_true(redis_world_now_ns() - began < LEASE_MS * 1000000ull);
}

/* Redis becomes a replica of one that lags, and a master again, while the owner says nothing: its
 * connection lasts, and the owner's key is its own. */
static void t7_fail_over_and_back_behind_one_connection(void **state)
{
	struct world *w = *state;
	struct store_config config = redis_world_config("a", A_PROXY);
	struct proxy *p = redis_proxy_new(w->base, A_PROXY, REDIS_PORT);

	add_replica(w);
	redis_server_do(&w->replica, "CONFIG SET repl-diskless-sync-delay 0");
	config.lease_ms = 4000;
	redis_node_own_with(w, &w->a, &config);
	redis_node_commit(w, &w->a, 1, 1);
	WAIT(w, redis_server_count(&w->replica) == 1);
	redis_server_do(&w->replica, "REPLICAOF NO ONE");
	redis_node_commit(w, &w->a, 1, 2);
	redis_proxy_hold(p, true);
	redis_server_do(&w->master, "REPLICAOF 127.0.0.1 7002");
	wait_for_replica(w, &w->master);
	redis_server_do(&w->master, "REPLICAOF NO ONE");
	redis_proxy_hold(p, false);
	HOLDS(w, 3 * HEARTBEAT_MS, w->a.status.state == STORE_OWNER);
	WAIT(w, !*store_status(w->a.store)->why);
	assert_int_equal(w->a.ownerships, 1);
	redis_node_close(&w->a);
	redis_node_own(w, &w->b, "b", REDIS_PORT);
	assert_int_equal(redis_node_number(&w->b, 1), 2);
	redis_proxy_free(p);
}

static void replica_is_not_accepted(void **state)
{
	struct world *w = *state;
	const struct store_config config = redis_world_config("a", REPLICA_PORT);

	add_replica(w);
	redis_node_open(w, &w->a, &config);
	WAIT(w, *store_status(w->a.store)->why);
	assert_string_equal(store_status(w->a.store)->why,
			    "Redis is a replica: it takes no writes");
	redis_server_do(&w->replica, "REPLICAOF NO ONE");
	WAIT(w, w->a.status.state != STORE_AWAY);
}

static void redis_does_not_answer(void **state)
{
	struct world *w = *state;
	uint64_t ticket;

	redis_node_own(w, &w->a, "a", REDIS_PORT);
	w->a.wants = false;
	redis_server_signal(&w->master, SIGSTOP);
	ticket = redis_node_put(&w->a, 1, 1);
	WAIT(w, w->a.status.state == STORE_AWAY);
	WAIT(w, strstr(store_status(w->a.store)->why, "does not answer"));
	assert_true(w->a.committed < ticket);
	redis_server_signal(&w->master, SIGCONT);
	WAIT(w, w->a.status.state == STORE_VACANT);
	assert_int_equal(store_claim(w->a.store), 0);
	WAIT(w, w->a.status.state == STORE_OWNER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN(redis_world_plain, t7_replica_that_stands_still_holds_the_commit),
		IN(redis_world_plain, t7_full_redis_holds_the_commit),
		IN(redis_world_plain, eviction_is_not_accepted),
		IN(redis_world_plain, t7_redis_comes_back_empty),
		IN(redis_world_plain, t7_redis_comes_back_empty_and_late),
		IN(redis_world_plain, t7_owner_again_is_held_when_redis_has_its_records),
		IN(redis_world_plain, t7_owner_again_brings_what_redis_lacks),
		IN(redis_world_plain, t7_owner_without_records_is_held_again),
		IN(redis_world_plain, t7_nothing_is_committed_before_redis_is_filled_again),
		IN(redis_world_plain, t7_last_owner_goes_before_a_redis_that_lost_its_end),
		IN(redis_world_plain, t7_word_of_a_master_that_was_replaced_is_old),
		IN(redis_world_plain, t7_owner_of_before_is_not_the_last_one),
		IN(journal, t7_redis_comes_back_with_its_journal),
		IN(redis_world_plain, t7_somebody_deletes_behind_its_back),
		IN(redis_world_plain, t7_redis_is_not_called_whole_before_it_is),
		IN(redis_world_plain, t7_replica_takes_over),
		IN(redis_world_plain, t1_owner_calls_redis_whole_by_its_newest_history),
		IN(redis_world_plain, t7_fail_over_and_back_behind_one_connection),
		IN(redis_world_plain, replica_is_not_accepted),
		IN(redis_world_plain, redis_does_not_answer),
	};

	if (!redis_world_net()) {
		puts("SKIP store_redis_faults: see above");
		return 77;
	}
	return cmocka_run_group_tests_name("store_redis_faults", tests, NULL, NULL);
}
