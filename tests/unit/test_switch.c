/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The switch machine: every state with every event at both roles (a cell is
 * either said to be ignored, or has a row), then whole switches between two machines.
 * tests/model/ tries what is not thought of here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/peer/switch.h"
#include "tests/unit/switch_rows.h"

static struct switch_machine machine(int role, enum switch_state state, int flags, uint32_t id)
{
	return (struct switch_machine){
		.role = roles[role],
		.state = state,
		.id = id,
		.parked = flags & PK,
		.mbb = flags & MB,
		.told = flags & TO,
		.fenced = flags & FE,
		.drained = flags & DR,
		.ok = flags & OK,
		.unexpected = flags & UN,
		.done = flags & DN,
	};
}

static bool same(const struct switch_machine *a, const struct switch_machine *b)
{
	return a->role == b->role && a->state == b->state && a->id == b->id &&
	       a->parked == b->parked && a->mbb == b->mbb && a->told == b->told &&
	       a->fenced == b->fenced && a->drained == b->drained && a->ok == b->ok &&
	       a->unexpected == b->unexpected && a->done == b->done;
}

static struct switch_input input(enum switch_event event, int flags, uint32_t id)
{
	return (struct switch_input){.event = event,
				     .id = id,
				     .mbb = flags & WMBB,
				     .usable = flags & USE,
				     .validated = flags & VAL};
}

static void n5_n6_n8_n9_every_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		struct switch_machine m = machine(r->role, r->state, r->flags, 1000);
		struct switch_machine want =
			machine(r->role, r->next, r->left, 1000 + (uint32_t)r->rise);
		struct switch_input in = input(r->event, r->in, 1000 + (uint32_t)r->id);
		uint32_t got = switch_step(&m, &in);

		if (got != r->actions || !same(&m, &want))
			fail_msg("row %zu: %s %s + %s: actions %#x, not %#x; state %s, not %s", i,
				 r->role == MOBILE ? "mobile" : "anchor",
				 switch_state_name(r->state), switch_event_name(r->event), got,
				 r->actions, switch_state_name(m.state),
				 switch_state_name(want.state));
	}
}

/* can these flags be set in this state at all? */
static bool sane(int role, enum switch_state s, int flags)
{
	bool idle = s == SWITCH_DISCONNECTED || s == SWITCH_SETTLED;

	if (role == MOBILE && flags & (UN | DN))
		return false;
	if (role == ANCHOR && flags & (TO | OK))
		return false;
	if (flags & DN && s != SWITCH_SETTLED && s != SWITCH_PEER_LOST)
		return false;
	if (s == SWITCH_SETTLED && flags & PK)
		return false;
	if ((s == SWITCH_PEER_LOST || s == SWITCH_PATH_LOST || s == SWITCH_UNEXPECTED_SENT) &&
	    !(flags & PK))
		return false;
	return !(flags & MB) || !(idle || s == SWITCH_PEER_LOST);
}

static bool has_row(int role, int s, int e)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];

		if (r->role == role && (int)r->state == s && (int)r->event == e &&
		    (r->actions || r->next != r->state || r->left != r->flags))
			return true;
	}
	return false;
}

/* Every cell of role x state x event is decided: by a row, or nothing makes it react. */
static void n5_n6_table_is_complete(void **state)
{
	static const uint32_t ids[] = {999, 1000, 1001};

	(void)state;
	for (int s = 0; s < SWITCH_STATE_COUNT; s++)
		assert_true(cells[MOBILE][s] || cells[ANCHOR][s]);
	for (int role = MOBILE; role <= ANCHOR; role++) {
		for (int s = 0; s < SWITCH_STATE_COUNT; s++) {
			if (!cells[role][s])
				continue;
			assert_int_equal(strlen(cells[role][s]), SWITCH_EVENT_COUNT);
			for (int e = 0; e < SWITCH_EVENT_COUNT; e++) {
				bool reacts = false;

				if ((cells[role][s][e] == 'x') != has_row(role, s, e))
					fail_msg("%d %s + %s: rows and cells differ", role,
						 switch_state_name(s), switch_event_name(e));
				for (int i = 0; i < FLAGS * INPUTS * 3; i++) {
					int flags = i % FLAGS;
					struct switch_machine m = machine(role, s, flags, 1000),
							      was = m;
					struct switch_input in = input(e, i / FLAGS % INPUTS,
								       ids[i / FLAGS / INPUTS]);

					if (!sane(role, s, flags))
						continue;
					if (role == MOBILE && e >= SWITCH_EVENT_RX_STEP1 &&
					    in.id != 1000) {
						assert_int_equal(switch_step(&m, &in), 0);
						assert_true(same(&m, &was));
						continue;
					}
					if (switch_step(&m, &in) || !same(&m, &was))
						reacts = true;
				}
				if (reacts != (cells[role][s][e] == 'x'))
					fail_msg("%d %s + %s: reacts %d", role,
						 switch_state_name(s), switch_event_name(e),
						 reacts);
			}
		}
	}
}

static void n5_unknown_event_is_ignored(void **state)
{
	struct switch_machine m = machine(MOBILE, SWITCH_SETTLED, 0, 1);
	struct switch_input in = {.event = SWITCH_EVENT_COUNT};

	(void)state;
	assert_int_equal(switch_step(&m, &in), 0);
	assert_string_equal(switch_state_name(SWITCH_STATE_COUNT), "unknown");
	assert_string_equal(switch_event_name(SWITCH_EVENT_COUNT), "unknown");
	assert_string_equal(switch_action_name(SWITCH_ACTION_COUNT), "unknown");
	for (int i = 0; i < SWITCH_STATE_COUNT; i++)
		assert_true(strlen(switch_state_name(i)) > 0);
	for (int i = 0; i < SWITCH_EVENT_COUNT; i++)
		assert_true(strlen(switch_event_name(i)) > 0);
	for (int i = 0; i < SWITCH_ACTION_COUNT; i++)
		assert_true(strlen(switch_action_name(i)) > 0);
}

/* RFC 1982: newer and older across the wrap, and at the distance that it leaves undefined */
static void n6_ids_wrap(void **state)
{
	static const struct {
		uint32_t have, came;
		bool newer;
	} pairs[] = {
		{0xffffffff, 0, true},  {0, 0xffffffff, false}, {0xfffffff0, 5, true},
		{5, 0xfffffff0, false}, {7, 7, false},          {0, 0x7fffffff, true},
		{0, 0x80000000, false}, {0x80000000, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct switch_machine m = machine(ANCHOR, SWITCH_SETTLED, 0, pairs[i].have);
		struct switch_input in = input(SWITCH_EVENT_RX_UNEXPECTED, VAL, pairs[i].came);

		assert_int_equal(switch_step(&m, &in) != 0, pairs[i].newer);
		assert_int_equal(m.id, pairs[i].newer ? pairs[i].came : pairs[i].have);
	}
}

/* ---- two machines -------------------------------------------------------- */

enum { QUEUE = 256, CHALLENGED = SWITCH_EVENT_COUNT, RESPONDED };

struct letter {
	int to, event, path;
	uint32_t id;
	bool mbb;
};

struct pair {
	struct switch_machine m[2];
	int route[2], target[2];
	bool valid[2]; /* paths, at the anchor */
	bool draining[2];
	int chosen;      /* what the mobile's caller has at hand; -1: nothing */
	uint32_t did[2]; /* all actions so far */
	struct letter queue[QUEUE];
	int head, tail;
	int drop[2], twice; /* letters by number, -1 none */
};

static void post(struct pair *p, int from, int event, int path)
{
	assert_in_range(p->tail, 0, QUEUE - 1);
	p->queue[p->tail++] = (struct letter){!from, event, path, p->m[from].id, p->m[from].mbb};
}

static uint32_t feed(struct pair *p, int end, struct switch_input in, int path)
{
	static const struct {
		uint32_t action;
		int event;
		bool on_new;
	} sends[] = {
		{DO(SEND_STEP1), SWITCH_EVENT_RX_STEP1, false},
		{DO(SEND_ACK), SWITCH_EVENT_RX_ACK, false},
		{DO(SEND_LAST_MESSAGE), SWITCH_EVENT_RX_LAST_MESSAGE, false},
		{DO(SEND_OK), SWITCH_EVENT_RX_OK, false},
		{DO(SEND_CLIENT_READY), SWITCH_EVENT_RX_CLIENT_READY, false},
		{DO(SEND_SERVER_READY), SWITCH_EVENT_RX_SERVER_READY, false},
		{DO(SEND_STEP2), SWITCH_EVENT_RX_STEP2, true},
		{DO(SEND_UNEXPECTED), SWITCH_EVENT_RX_UNEXPECTED, true},
		{DO(CHALLENGE), CHALLENGED, true},
	};
	uint32_t a = switch_step(&p->m[end], &in);

	p->did[end] |= a;
	if (a & DO(TARGET))
		p->target[end] = path;
	if (a & DO(START_DRAIN))
		p->draining[end] = true;
	for (size_t i = 0; i < ARRAY_SIZE(sends); i++) {
		if (a & sends[i].action)
			post(p, end, sends[i].event,
			     sends[i].on_new ? p->target[end] : p->route[end]);
	}
	if (a & DO(FLIP)) {
		if (end == ANCHOR)
			assert_true(p->valid[p->target[end]]);
		p->route[end] = p->target[end];
	}
	if (a & DO(SEND_ALL_REDIRECTED))
		post(p, end, SWITCH_EVENT_RX_ALL_REDIRECTED, p->route[end]);
	return a;
}

static uint32_t event(struct pair *p, int end, enum switch_event e)
{
	struct switch_input in = {.event = e};

	if (end == MOBILE && p->chosen >= 0) {
		p->target[MOBILE] = p->chosen;
		in.usable = true;
	}
	return feed(p, end, in, 0);
}

static void deliver(struct pair *p, const struct letter *l)
{
	struct switch_input in = {.event = l->event, .id = l->id, .mbb = l->mbb};

	if (l->event == CHALLENGED) {
		post(p, MOBILE, RESPONDED, l->path);
		return;
	}
	if (l->event == RESPONDED) {
		p->valid[l->path] = true;
		if (l->path == p->target[ANCHOR])
			event(p, ANCHOR, SWITCH_EVENT_VALIDATE);
		return;
	}
	in.validated = p->valid[l->path];
	if (l->event == SWITCH_EVENT_RX_SERVER_READY && p->chosen >= 0) {
		p->target[MOBILE] = p->chosen;
		in.usable = true;
	}
	feed(p, l->to, in, l->path);
}

/* until nothing is on the way and nothing drains */
static void flow(struct pair *p)
{
	for (;;) {
		if (p->head < p->tail) {
			struct letter l = p->queue[p->head];
			int n = p->head++;

			if (n == p->drop[0] || n == p->drop[1])
				continue;
			deliver(p, &l);
			if (n == p->twice)
				deliver(p, &l);
		} else if (p->draining[MOBILE] || p->draining[ANCHOR]) {
			int end = p->draining[MOBILE] ? MOBILE : ANCHOR;

			p->draining[end] = false;
			event(p, end, SWITCH_EVENT_DRAIN);
		} else {
			return;
		}
	}
}

static bool settled(const struct pair *p)
{
	return p->m[MOBILE].state == SWITCH_SETTLED && p->m[ANCHOR].state == SWITCH_SETTLED;
}

static void flow_and_retry(struct pair *p)
{
	flow(p);
	for (int i = 0; i < 8 && !settled(p); i++) {
		event(p, MOBILE, SWITCH_EVENT_RETRY);
		event(p, ANCHOR, SWITCH_EVENT_RETRY);
		flow(p);
	}
}

static struct pair connected(uint32_t id)
{
	struct pair p = {.valid = {true, false}, .chosen = -1, .drop = {-1, -1}, .twice = -1};

	for (int end = MOBILE; end <= ANCHOR; end++) {
		switch_init(&p.m[end], roles[end]);
		feed(&p, end, input(SWITCH_EVENT_RESET, 0, id), 0);
		p.did[end] = 0;
	}
	return p;
}

static void assert_both_on(const struct pair *p, int path)
{
	assert_true(settled(p));
	assert_int_equal(p->route[MOBILE], path);
	assert_int_equal(p->route[ANCHOR], path);
	assert_false(p->m[MOBILE].parked);
	assert_false(p->m[ANCHOR].parked);
	assert_int_equal(p->m[MOBILE].id, p->m[ANCHOR].id);
}

static void plan(struct pair *p, bool mbb)
{
	feed(p, MOBILE, input(SWITCH_EVENT_PLAN, mbb ? WMBB : 0, 0), 0);
}

static void n5_planned_break_before_make(void **state)
{
	struct pair p = connected(0);

	(void)state;
	plan(&p, false);
	flow(&p);
	assert_int_equal(p.m[MOBILE].state, SWITCH_OLD_LEFT);
	assert_true(p.did[MOBILE] & DO(LEAVE_OLD));
	assert_true(p.m[MOBILE].parked && p.m[ANCHOR].parked);
	p.target[MOBILE] = 1;
	feed(&p, MOBILE, input(SWITCH_EVENT_PATH_USABLE, 0, 0), 0);
	flow(&p);
	assert_both_on(&p, 1);
	assert_true(p.valid[1]);
	for (int end = MOBILE; end <= ANCHOR; end++)
		assert_int_equal(p.did[end] & (DO(PARK) | DO(UNPARK) | DO(DONE) | DO(GRACE_OLD)),
				 DO(PARK) | DO(UNPARK) | DO(DONE) | DO(GRACE_OLD));
}

static void n8_planned_make_before_break_parks_nothing(void **state)
{
	struct pair p = connected(0);

	(void)state;
	p.valid[1] = true;
	p.chosen = 1;
	plan(&p, true);
	flow(&p);
	assert_both_on(&p, 1);
	for (int end = MOBILE; end <= ANCHOR; end++)
		assert_int_equal(
			p.did[end] & (DO(PARK) | DO(LEAVE_OLD) | DO(CHALLENGE) | DO(START_DRAIN)),
			0);
}

static void n6_unexpected(void **state)
{
	(void)state;
	for (int valid = 0; valid < 2; valid++) {
		struct pair p = connected(0);

		p.valid[1] = valid;
		p.chosen = 1;
		event(&p, MOBILE, SWITCH_EVENT_LOSE);
		flow(&p);
		assert_both_on(&p, 1);
		assert_int_equal(!(p.did[ANCHOR] & DO(CHALLENGE)), valid);
		assert_int_equal(!(p.did[ANCHOR] & DO(PARK)),
				 valid); /* one round trip needs no parking */
		assert_true(p.did[MOBILE] & p.did[ANCHOR] & DO(DROP_OLD));
	}
}

/* 0 planned, 1 make-before-break, 2 unexpected */
static void begin(struct pair *p, int kind)
{
	p->chosen = 1;
	if (kind == 2)
		event(p, MOBILE, SWITCH_EVENT_LOSE);
	else
		plan(p, kind == 1);
}

static void n5_n6_loss_of_any_two_messages(void **state)
{
	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		struct pair whole = connected(0);

		begin(&whole, kind);
		flow(&whole);
		for (int i = 0; i < whole.tail + 3; i++) {
			for (int j = i; j < whole.tail + 3; j++) {
				struct pair p = connected(0);

				p.drop[0] = i;
				p.drop[1] = j;
				begin(&p, kind);
				flow_and_retry(&p);
				assert_both_on(&p, 1);
			}
		}
	}
}

static void n5_n6_any_message_doubled(void **state)
{
	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		for (int i = 0; i < 12; i++) {
			struct pair p = connected(0);

			p.twice = i;
			begin(&p, kind);
			flow_and_retry(&p);
			assert_both_on(&p, 1);
		}
	}
}

/* All that was ever said comes once more, after the end, from another address: nothing moves. */
static void n6_late_copies_redirect_nothing(void **state)
{
	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		struct pair p = connected(0);
		int said;

		begin(&p, kind);
		flow(&p);
		said = p.tail;
		for (int i = 0; i < said; i++) {
			struct letter l = p.queue[i];

			l.path = 0; /* valid, but not the one in use */
			deliver(&p, &l);
			assert_both_on(&p, 1);
		}
	}
}

/* A planned switch may be cut by a loss after any number of messages; its rest comes late. */
static void n6_unexpected_overrides_planned(void **state)
{
	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		for (int n = 0; n < 12; n++) {
			struct pair p = connected(0);

			begin(&p, kind);
			for (int i = 0; i < n && p.head < p.tail; i++) {
				struct letter l = p.queue[p.head++];

				deliver(&p, &l);
				for (int end = MOBILE; end <= ANCHOR; end++) {
					if (p.draining[end])
						event(&p, end, SWITCH_EVENT_DRAIN);
					p.draining[end] = false;
				}
			}
			if (p.m[MOBILE].state == SWITCH_SETTLED)
				continue;
			p.chosen = 0; /* the target died, the old path lives */
			if (p.m[MOBILE].state == SWITCH_OLD_LEFT)
				continue;
			event(&p, MOBILE, SWITCH_EVENT_LOSE);
			flow_and_retry(&p);
			assert_both_on(&p, 0);
		}
	}
}

static void n6_challenge_follows_the_mobile(void **state)
{
	struct pair p = connected(0);
	struct letter copy;

	(void)state;
	p.chosen = 1;
	event(&p, MOBILE, SWITCH_EVENT_LOSE);
	copy = p.queue[p.head];
	copy.path = 0; /* as if it came from elsewhere first, an address that does not answer */
	p.valid[0] = false;
	deliver(&p, &copy);
	assert_int_equal(p.m[ANCHOR].state, SWITCH_CHALLENGE_SENT);
	p.head = p.tail; /* its challenge is lost, and so was the mobile's first message */
	flow_and_retry(&p);
	assert_both_on(&p, 1);
}

static void n7_path_returns_before_anything_was_said(void **state)
{
	struct pair p = connected(0);

	(void)state;
	event(&p, MOBILE, SWITCH_EVENT_LOSE);
	event(&p, ANCHOR, SWITCH_EVENT_LOSE);
	assert_true(p.m[MOBILE].parked && p.m[ANCHOR].parked);
	event(&p, MOBILE, SWITCH_EVENT_REGAIN);
	event(&p, ANCHOR, SWITCH_EVENT_REGAIN);
	assert_true(settled(&p));
	assert_false(p.m[MOBILE].parked || p.m[ANCHOR].parked);
	p.chosen = 1; /* the id that was used up and not said is no trouble */
	event(&p, MOBILE, SWITCH_EVENT_LOSE);
	flow(&p);
	assert_both_on(&p, 1);
}

/* The anchor parked for the planned switch: only a new attempt may release both. */
static void n7_path_returns_in_the_middle(void **state)
{
	struct pair p = connected(0);

	(void)state;
	plan(&p, false);
	deliver(&p, &p.queue[p.head++]);
	p.head = p.tail;
	event(&p, MOBILE, SWITCH_EVENT_LOSE);
	assert_int_equal(event(&p, MOBILE, SWITCH_EVENT_REGAIN), 0);
	p.target[MOBILE] = 0;
	event(&p, MOBILE, SWITCH_EVENT_PATH_USABLE);
	flow(&p);
	assert_both_on(&p, 0);
}

/* Silence after any message: the mobile tries once more as unexpected, then fails; the anchor
 * cleans up; CONNECT brings both back. */
static void n9_expiry_at_every_step(void **state)
{
	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		for (int n = 0; n < 12; n++) {
			struct pair p = connected(0);
			bool unsettled;

			begin(&p, kind);
			for (int i = 0; i < n && p.head < p.tail; i++) {
				struct letter l = p.queue[p.head++];

				deliver(&p, &l);
				for (int end = MOBILE; end <= ANCHOR; end++) {
					if (p.draining[end])
						event(&p, end, SWITCH_EVENT_DRAIN);
					p.draining[end] = false;
				}
			}
			if (p.m[MOBILE].state == SWITCH_SETTLED)
				continue;
			unsettled = p.m[ANCHOR].state != SWITCH_SETTLED;
			if (kind != 2) {
				assert_true(event(&p, MOBILE, SWITCH_EVENT_EXPIRE) &
					    DO(SEND_UNEXPECTED));
				assert_true(p.m[MOBILE].parked);
			}
			assert_true(event(&p, MOBILE, SWITCH_EVENT_EXPIRE) & DO(FAIL));
			assert_int_equal(p.m[MOBILE].state, SWITCH_DISCONNECTED);
			assert_true(p.m[MOBILE].parked);
			assert_int_equal(event(&p, MOBILE, SWITCH_EVENT_EXPIRE), 0);
			if (unsettled) {
				assert_true(event(&p, ANCHOR, SWITCH_EVENT_EXPIRE) & DO(CLEAN_UP));
				assert_int_equal(p.m[ANCHOR].state, SWITCH_DISCONNECTED);
			}
			assert_int_equal(event(&p, ANCHOR, SWITCH_EVENT_EXPIRE), 0);
			for (int end = MOBILE; end <= ANCHOR; end++) {
				p.target[end] = 0;
				feed(&p, end, input(SWITCH_EVENT_RESET, 0, 0), 0);
			}
			assert_both_on(&p, 0);
		}
	}
}

/* Paths that come and go do not prolong the unexpected switch. */
static void n9_flapping_does_not_prolong(void **state)
{
	struct pair p = connected(0);

	(void)state;
	p.chosen = 1;
	assert_true(event(&p, MOBILE, SWITCH_EVENT_LOSE) & DO(START_TIMERS));
	for (int i = 0; i < 5; i++) {
		p.chosen = i % 2 ? 1 : -1;
		assert_false(event(&p, MOBILE, SWITCH_EVENT_LOSE) & DO(START_TIMERS));
		assert_false(event(&p, MOBILE, SWITCH_EVENT_PATH_USABLE) & DO(START_TIMERS));
	}
	assert_true(event(&p, MOBILE, SWITCH_EVENT_EXPIRE) & DO(FAIL));
}

static void n5_n6_many_switches_across_the_wrap(void **state)
{
	struct pair p = connected(0xfffffff9u);

	(void)state;
	for (int i = 0; i < 12; i++) {
		p.head = p.tail = 0;
		begin(&p, i % 3);
		p.chosen = i % 2; /* where SERVER_READY and LOSE find it */
		if (i % 3 == 2) {
			p.head = p.tail = 0;
			event(&p, MOBILE, SWITCH_EVENT_LOSE);
		}
		flow(&p);
		assert_both_on(&p, i % 2);
	}
	assert_in_range(p.m[ANCHOR].id, 0, 100);
}

/* A new daemon finds the data plane parking: LOSE says so, CONNECT releases. */
static void n9_adopted_parking_is_released(void **state)
{
	struct switch_machine m;
	struct switch_input in = input(SWITCH_EVENT_LOSE, 0, 0);

	(void)state;
	switch_init(&m, HF_ROLE_ANCHOR);
	assert_int_equal(switch_step(&m, &in), DO(PARK));
	in.event = SWITCH_EVENT_RESET;
	assert_true(switch_step(&m, &in) & DO(UNPARK));
	assert_int_equal(m.state, SWITCH_SETTLED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(n5_n6_n8_n9_every_row),
		cmocka_unit_test(n5_n6_table_is_complete),
		cmocka_unit_test(n5_unknown_event_is_ignored),
		cmocka_unit_test(n6_ids_wrap),
		cmocka_unit_test(n5_planned_break_before_make),
		cmocka_unit_test(n8_planned_make_before_break_parks_nothing),
		cmocka_unit_test(n6_unexpected),
		cmocka_unit_test(n5_n6_loss_of_any_two_messages),
		cmocka_unit_test(n5_n6_any_message_doubled),
		cmocka_unit_test(n6_late_copies_redirect_nothing),
		cmocka_unit_test(n6_unexpected_overrides_planned),
		cmocka_unit_test(n6_challenge_follows_the_mobile),
		cmocka_unit_test(n7_path_returns_before_anything_was_said),
		cmocka_unit_test(n7_path_returns_in_the_middle),
		cmocka_unit_test(n9_expiry_at_every_step),
		cmocka_unit_test(n9_flapping_does_not_prolong),
		cmocka_unit_test(n5_n6_many_switches_across_the_wrap),
		cmocka_unit_test(n9_adopted_parking_is_released),
	};

	return cmocka_run_group_tests_name("switch", tests, NULL, NULL);
}
