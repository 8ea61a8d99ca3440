/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The lease machine: every state with every event, for two nodes (lease_rows.h), what is different
 * with three, and then thousands of schedules of lease_world.c. TAKEOVER_SCHEDULES sets how many.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/takeover/lease.h"
#include "tests/unit/lease_rows.h"
#include "tests/unit/lease_world.h"

#define LEASE  100u
#define NOW    10000u
#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- two nodes: we are 0, whose epochs are even, the other is 1 ------------------------ */

static const char *const state_names[] = {
	[S_BLANK] = "blank",     [S_VACANT] = "vacant",   [S_KEEPS] = "keeps",
	[S_FOLLOWS] = "follows", [S_GRANTED] = "granted", [S_ENDED] = "ended",
	[S_CLAIMS] = "claims",   [S_SOLE] = "sole",       [S_LEASED] = "leased",
};

static int feed(struct lease *m, struct lease_message in, uint64_t now, struct lease_output *out)
{
	struct lease_output none;

	return lease_step(m, &in, now, out ? out : &none);
}

#define MSG(...) ((struct lease_message){__VA_ARGS__})

static void meet(struct lease *m, uint32_t epoch, uint32_t flags, uint32_t copy_epoch)
{
	feed(m,
	     MSG(.event = LEASE_MET, .node = 1, .epoch = epoch, .flags = flags,
		 .copy = {.epoch = copy_epoch, .seq = copy_epoch ? 5 : 0}),
	     NOW - 1000, NULL);
}

/* By events only, as it comes about. */
static struct lease made(enum state state)
{
	struct lease m;

	lease_init(&m, 2, 0, LEASE);
	switch (state) {
	case S_BLANK:
		break;
	case S_VACANT:
		meet(&m, 0, LEASE_IS_BLANK, 0);
		break;
	case S_KEEPS:
	case S_GRANTED:
	case S_ENDED:
	case S_FOLLOWS:
		meet(&m, 3, LEASE_IS_OWNER | LEASE_IS_SOLE, 3);
		if (state == S_FOLLOWS)
			break;
		feed(&m, MSG(.event = LEASE_COPIED, .copy = {3, 5}), NOW - 900, NULL);
		if (state != S_KEEPS)
			feed(&m,
			     MSG(.event = LEASE_ASK, .node = 1, .epoch = 3, .stamp = 7,
				 .lease_ns = LEASE),
			     state == S_GRANTED ? NOW - 10 : NOW - 800, NULL);
		if (state != S_GRANTED)
			feed(&m, MSG(.event = LEASE_PARTED, .node = 1), NOW - 700, NULL);
		break;
	case S_CLAIMS:
		feed(&m, MSG(.event = LEASE_ALONE), NOW - 1000, NULL);
		meet(&m, 0, LEASE_IS_BLANK, 0);
		feed(&m, MSG(.event = LEASE_SYNCED, .node = 1, .epoch = 2), NOW - 900, NULL);
		feed(&m, MSG(.event = LEASE_WANT), NOW - 10, NULL);
		break;
	case S_SOLE:
	case S_LEASED:
		feed(&m, MSG(.event = LEASE_ALONE), NOW - 1000, NULL);
		meet(&m, 0, LEASE_IS_BLANK, 0);
		if (state == S_SOLE)
			break;
		feed(&m, MSG(.event = LEASE_SYNCED, .node = 1, .epoch = 2), NOW - 20, NULL);
		feed(&m,
		     MSG(.event = LEASE_GRANT, .node = 1, .epoch = 2, .stamp = NOW - 20,
			 .clock = 50),
		     NOW - 15, NULL);
		break;
	case S_COUNT:
		break;
	}
	return m;
}

/* What may come, in the order of the columns of the table. */
static const struct {
	const char *name;
	struct lease_message in;
} events[E_COUNT] = {
	[E_ASK] = {"ask", {.event = LEASE_ASK, .epoch = 3, .stamp = 7, .lease_ns = LEASE}},
	[E_ASK_OLDER] = {"ask of an older epoch",
			 {.event = LEASE_ASK, .epoch = 1, .stamp = 7, .lease_ns = LEASE}},
	[E_ASK_FORGED] = {"ask with an epoch of ours",
			  {.event = LEASE_ASK, .epoch = 8, .stamp = 7, .lease_ns = LEASE}},
	[E_GRANT] = {"grant", {.event = LEASE_GRANT, .epoch = 2, .stamp = NOW - 1, .clock = 60}},
	[E_GRANT_OLDER] = {"grant of an older epoch",
			   {.event = LEASE_GRANT, .epoch = 1, .stamp = NOW - 1, .clock = 60}},
	[E_REFUSE] = {"refuse", {.event = LEASE_REFUSE, .epoch = 7}},
	[E_CLAIM] =
		{"claim with a newer copy",
		 {.event = LEASE_CLAIM, .epoch = 5, .stamp = 7, .lease_ns = LEASE, .copy = {3, 9}}},
	[E_CLAIM_BLANK] = {"claim of a blank node",
			   {.event = LEASE_CLAIM, .epoch = 5, .stamp = 7, .lease_ns = LEASE}},
	[E_VOTE] = {"vote", {.event = LEASE_VOTE, .epoch = 4, .stamp = NOW - 10, .clock = 60}},
	[E_VOTE_OLD] = {"vote for another claim",
			{.event = LEASE_VOTE, .epoch = 2, .stamp = NOW - 10, .clock = 60}},
	[E_HAND] = {"hand", {.event = LEASE_HAND, .epoch = 4, .stamp = NOW - 20}},
	[E_MET_BLANK] = {"met, blank", {.event = LEASE_MET, .flags = LEASE_IS_BLANK}},
	[E_MET_ENTITLED] =
		{"met, has granted in our epoch",
		 {.event = LEASE_MET, .epoch = 2, .flags = LEASE_IS_ENTITLED, .copy = {2, 0}}},
	[E_MET_OWNER] = {"met, owns with a newer epoch",
			 {.event = LEASE_MET,
			  .epoch = 9,
			  .flags = LEASE_IS_OWNER | LEASE_IS_SOLE,
			  .copy = {9, 0}}},
	[E_MET_STALE] = {"met, owns with an older epoch",
			 {.event = LEASE_MET, .epoch = 1, .flags = LEASE_IS_OWNER, .copy = {1, 0}}},
	[E_SERVES] = {"serves",
		      {.event = LEASE_SERVES, .epoch = 9, .flags = LEASE_IS_OWNER | LEASE_IS_SOLE}},
	[E_PARTED] = {"parted", {.event = LEASE_PARTED}},
	[E_GOODBYE] = {"goodbye", {.event = LEASE_GOODBYE, .epoch = 1}},
	[E_SYNCED] = {"synced", {.event = LEASE_SYNCED, .epoch = 2}},
	[E_COPIED] = {"copied", {.event = LEASE_COPIED, .copy = {3, 6}}},
	[E_WANT] = {"want", {.event = LEASE_WANT}},
	[E_ALONE] = {"alone", {.event = LEASE_ALONE}},
	[E_GIVE] = {"give", {.event = LEASE_GIVE}},
	[E_BEAT] = {"beat", {.event = LEASE_BEAT}},
	[E_TIME] = {"time", {.event = LEASE_TIME}},
};

/* "STATE EPOCH [sole] [copy] [entitled] [error] -> messages" */
static void describe(const struct lease *m, uint64_t now, int rc, const struct lease_output *out,
		     char *ret, size_t size)
{
	static const char *const states[] = {"away", "standby", "vacant", "owner"};
	size_t at;

	at = (size_t)snprintf(ret, size, "%s %u%s%s%s%s%s", states[lease_state(m, now)], m->epoch,
			      lease_sole(m) ? " sole" : "", m->copy.epoch ? " copy" : "",
			      m->entitled ? " entitled" : "", rc == -EAGAIN ? " EAGAIN" : "",
			      rc == -EPERM ? " EPERM" : "");
	for (size_t i = 0; i < out->count; i++)
		at += (size_t)snprintf(ret + at, size - at, "%s%s %u", i ? ", " : " -> ",
				       lease_event_name(out->sends[i].event), out->sends[i].epoch);
}

static void every_state_and_event(void **state)
{
	bool seen[S_COUNT][E_COUNT] = {{false}};
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < LEN(lease_rows); i++) {
		const struct lease_row *row = &lease_rows[i];
		struct lease m = made(row->state);
		struct lease_message in = events[row->event].in;
		struct lease_output out;
		char got[160];
		int rc;

		in.node = in.event == LEASE_COPIED ? 0 : 1;
		rc = feed(&m, in, NOW, &out);
		describe(&m, NOW, rc, &out, got, sizeof(got));
		assert_false(seen[row->state][row->event]);
		seen[row->state][row->event] = true;
		if (strcmp(got, row->want)) {
			print_error("%s + %s: \"%s\", not \"%s\"\n", state_names[row->state],
				    events[row->event].name, got, row->want);
			wrong++;
		}
	}
	for (int s = 0; s < S_COUNT; s++)
		for (int e = 0; e < E_COUNT; e++)
			if (!seen[s][e]) {
				print_error("no row for %s + %s\n", state_names[s], events[e].name);
				wrong++;
			}
	assert_int_equal(wrong, 0);
}

/* ---- times ----------------------------------------------------------------------------- */

static void owner_counts_from_its_question_the_granter_from_its_answer(void **state)
{
	struct lease owner = made(S_LEASED), standby = made(S_FOLLOWS);
	struct lease_output out;

	(void)state;
	/* asked at NOW - 20 */
	assert_int_equal(owner.until, NOW - 20 + LEASE);
	assert_int_equal(lease_due(&owner, NOW), NOW - 20 + LEASE);
	assert_int_equal(lease_state(&owner, NOW - 20 + LEASE - 1), STORE_OWNER);
	assert_int_not_equal(lease_state(&owner, NOW - 20 + LEASE), STORE_OWNER);
	/* late, the answer counts from the question all the same */
	feed(&owner, MSG(.event = LEASE_GRANT, .node = 1, .epoch = 2, .stamp = NOW - 5), NOW + 40,
	     NULL);
	assert_int_equal(owner.until, NOW - 5 + LEASE);
	/* one that is late and older takes nothing back; one of the future is none */
	feed(&owner, MSG(.event = LEASE_GRANT, .node = 1, .epoch = 2, .stamp = NOW - 9), NOW + 41,
	     NULL);
	feed(&owner, MSG(.event = LEASE_GRANT, .node = 1, .epoch = 2, .stamp = NOW + 999), NOW + 41,
	     NULL);
	assert_int_equal(owner.until, NOW - 5 + LEASE);

	feed(&standby, MSG(.event = LEASE_COPIED, .copy = {3, 5}), NOW, NULL);
	feed(&standby,
	     MSG(.event = LEASE_ASK, .node = 1, .epoch = 3, .stamp = 1, .lease_ns = LEASE),
	     NOW + 30, &out);
	assert_int_equal(out.sends[0].stamp, 1);
	assert_int_equal(lease_due(&standby, NOW + 30),
			 NOW + 30 + LEASE + LEASE * STORE_SKEW_PERCENT / 100);
	assert_int_equal(lease_state(&standby, NOW + 30 + LEASE + 4), STORE_STANDBY);
	assert_int_equal(feed(&standby, MSG(.event = LEASE_WANT), NOW + 30 + LEASE + 4, &out),
			 -EAGAIN);
	assert_int_equal(lease_state(&standby, NOW + 30 + LEASE + 5), STORE_VACANT);
	assert_int_equal(feed(&standby, MSG(.event = LEASE_WANT), NOW + 30 + LEASE + 5, &out), 0);
	assert_int_equal(lease_state(&standby, NOW + 30 + LEASE + 5), STORE_OWNER);
	assert_true(lease_sole(&standby));
}

static void an_absurd_lease_is_cut(void **state)
{
	struct lease m = made(S_FOLLOWS);

	(void)state;
	feed(&m, MSG(.event = LEASE_ASK, .node = 1, .epoch = 3, .stamp = 1, .lease_ns = UINT64_MAX),
	     NOW, NULL);
	assert_true(lease_due(&m, NOW) <= NOW + 3780000000000u);
}

/* Of the last epoch there is none above: nobody can claim, nothing wraps. */
static void epochs_do_not_wrap(void **state)
{
	struct lease m = made(S_ENDED);
	struct lease_output out;

	(void)state;
	feed(&m, MSG(.event = LEASE_MET, .node = 1, .epoch = UINT32_MAX), NOW, NULL);
	feed(&m, MSG(.event = LEASE_WANT), NOW, &out);
	assert_int_not_equal(lease_state(&m, NOW), STORE_OWNER);
	assert_int_equal(feed(&m, MSG(.event = LEASE_ALONE), NOW, &out), -EAGAIN);
}

static void messages_of_nobody_are_refused(void **state)
{
	struct lease m = made(S_SOLE), was = m;
	struct lease_output out;

	(void)state;
	for (int e = 0; e < LEASE_WANT; e++) {
		if (e == LEASE_COPIED)
			continue;
		assert_int_equal(feed(&m, MSG(.event = (enum lease_event)e, .node = 0), NOW, &out),
				 -EINVAL);
		assert_int_equal(feed(&m, MSG(.event = (enum lease_event)e, .node = 9), NOW, &out),
				 -EINVAL);
		assert_int_equal(out.count, 0);
	}
	assert_memory_equal(&m, &was, sizeof(m));
}

/* ---- three nodes ------------------------------------------------------------------------ */

static struct lease three(void)
{
	struct lease m;

	lease_init(&m, 3, 0, LEASE);
	for (uint32_t i = 1; i < 3; i++)
		feed(&m, MSG(.event = LEASE_MET, .node = i, .flags = LEASE_IS_BLANK), NOW, NULL);
	return m;
}

static void three_blank_nodes_need_all(void **state)
{
	struct lease m = three();
	struct lease_output out;

	(void)state;
	assert_int_equal(feed(&m, MSG(.event = LEASE_WANT), NOW, &out), 0);
	assert_int_equal(out.count, 2);
	for (uint32_t i = 1; i < 3; i++) {
		assert_int_not_equal(lease_state(&m, NOW), STORE_OWNER);
		feed(&m,
		     MSG(.event = LEASE_VOTE, .node = i, .epoch = m.claim, .stamp = NOW,
			 .flags = LEASE_IS_BLANK),
		     NOW + 1, NULL);
	}
	assert_int_equal(lease_state(&m, NOW + 1), STORE_OWNER);
	assert_int_equal(m.until, NOW + LEASE); /* three: never without a lease */
	assert_int_equal(lease_needs(&m), 1);
}

static void three_nodes_with_memory_need_a_majority(void **state)
{
	struct lease m = three();
	struct lease_output out;

	(void)state;
	feed(&m, MSG(.event = LEASE_SERVES, .node = 1, .epoch = 4, .flags = LEASE_IS_OWNER), NOW,
	     NULL);
	feed(&m, MSG(.event = LEASE_COPIED, .copy = {4, 9}), NOW, NULL);
	feed(&m, MSG(.event = LEASE_ASK, .node = 1, .epoch = 4, .stamp = 1, .lease_ns = LEASE), NOW,
	     NULL);
	feed(&m, MSG(.event = LEASE_PARTED, .node = 1), NOW, NULL);
	assert_int_equal(feed(&m, MSG(.event = LEASE_WANT), NOW + 50, &out), -EAGAIN);
	assert_int_equal(lease_state(&m, NOW + 106), STORE_VACANT);
	assert_int_equal(feed(&m, MSG(.event = LEASE_WANT), NOW + 106, &out), 0);
	/* the word of a blank one is not enough */
	feed(&m,
	     MSG(.event = LEASE_VOTE, .node = 2, .epoch = m.claim, .stamp = NOW + 106,
		 .flags = LEASE_IS_BLANK),
	     NOW + 107, NULL);
	assert_int_not_equal(lease_state(&m, NOW + 107), STORE_OWNER);
	feed(&m, MSG(.event = LEASE_VOTE, .node = 2, .epoch = m.claim, .stamp = NOW + 106),
	     NOW + 107, NULL);
	assert_int_equal(lease_state(&m, NOW + 107), STORE_OWNER);
}

/* ---- schedules -------------------------------------------------------------------------- */

static void schedules(uint32_t nodes, uint64_t count)
{
	struct lease_world_result r;
	uint64_t owners = 0, commits = 0, heal = 0;

	for (uint64_t seed = 1; seed <= count; seed++) {
		lease_world_run(nodes, seed, false, &r);
		if (r.violation[0] || r.heal_us == UINT64_MAX) {
			lease_world_run(nodes, seed, true, &r);
			fail_msg("%u nodes, seed %llu: %s", nodes, (unsigned long long)seed,
				 r.violation[0] ? r.violation : "no owner after the trouble");
		}
		owners += r.ownerships;
		commits += r.commits;
		if (r.heal_us > heal)
			heal = r.heal_us;
	}
	/* a world in which nothing happens proves nothing */
	assert_true(owners > 2 * count && commits > 5 * count);
	print_message(
		"info: %u nodes, %llu schedules: %llu ownerships, %llu commits, healed within %llu "
		"leases\n",
		nodes, (unsigned long long)count, (unsigned long long)owners,
		(unsigned long long)commits, (unsigned long long)(heal / LEASE_WORLD_LEASE_US + 1));
}

static uint64_t wanted(uint64_t otherwise)
{
	const char *text = getenv("TAKEOVER_SCHEDULES");

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void t7_two_nodes_never_two_owners(void **state)
{
	(void)state;
	schedules(2, wanted(4000));
}

static void t7_three_nodes_never_two_owners(void **state)
{
	(void)state;
	schedules(3, wanted(3000));
}

static void t7_five_nodes_never_two_owners(void **state)
{
	(void)state;
	schedules(4, wanted(1000));
	schedules(5, wanted(1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_and_event),
		cmocka_unit_test(owner_counts_from_its_question_the_granter_from_its_answer),
		cmocka_unit_test(an_absurd_lease_is_cut),
		cmocka_unit_test(epochs_do_not_wrap),
		cmocka_unit_test(messages_of_nobody_are_refused),
		cmocka_unit_test(three_blank_nodes_need_all),
		cmocka_unit_test(three_nodes_with_memory_need_a_majority),
		cmocka_unit_test(t7_two_nodes_never_two_owners),
		cmocka_unit_test(t7_three_nodes_never_two_owners),
		cmocka_unit_test(t7_five_nodes_never_two_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
