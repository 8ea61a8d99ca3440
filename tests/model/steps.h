/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What may happen in the model: a table of guards and atomic steps, and what
 * follows from the world after each.
 */
#include "tests/model/world.h"

static int at_rest(const struct world *w)
{
	return settled(w) && !w->m[MOBILE].parked && !w->m[ANCHOR].parked &&
	       w->route[MOBILE] == w->route[ANCHOR] && usable(w, w->route[MOBILE]);
}

static const char *wrong_name(const struct world *w)
{
	static const char *const names[] = {"unvalidated", "half-switched",  "parked-at-rest",
					    "refused",     "left-undrained", "ids-overrun"};

	for (int i = 0; i < 6; i++) {
		if (w->wrong & 1u << i)
			return names[i];
	}
	return "nothing";
}

/* ---- what may happen: a table of guards and atomic steps ------------------ */

struct step {
	int (*may)(const struct world *w, const struct step *s);
	void (*take)(struct world *w, const struct step *s);
	int a, b, c, d; /* end, path or message, id, path, chosen */
	const char *name;
};

#define MAY(name)  static int may_##name(const struct world *w, const struct step *s)
#define TAKE(name) static void take_##name(struct world *w, const struct step *s)

MAY(plan)
{
	(void)s;
	return w->m[MOBILE].id - BASE_ID < PLANS && can(w, MOBILE, SWITCH_EVENT_PLAN);
}
TAKE(plan)
{
	feed(w, MOBILE, (struct switch_input){.event = SWITCH_EVENT_PLAN, .mbb = s->a}, 0);
}

MAY(lose)
{
	return can_lose(w, s->a, s->b);
}
TAKE(lose)
{
	do_lose(w, s->a, s->b);
}

MAY(expire)
{
	return can_expire(w, s->a, s->b);
}
TAKE(expire)
{
	do_expire(w, s->a, s->b);
}

MAY(retry)
{
	return can_retry(w, s->a);
}
TAKE(retry)
{
	do_retry(w, s->a);
}

MAY(appear)
{
	return usable(w, s->a) && can(w, MOBILE, SWITCH_EVENT_PATH_USABLE);
}
TAKE(appear)
{
	w->target[MOBILE] = (uint8_t)s->a;
	feed(w, MOBILE, event(SWITCH_EVENT_PATH_USABLE), 0);
}

MAY(regain)
{
#ifdef FINITE
	if (!usable(w, w->route[s->a]))
		return 0;
#endif
	return can(w, s->a, SWITCH_EVENT_REGAIN);
}
TAKE(regain)
{
	feed(w, s->a, event(SWITCH_EVENT_REGAIN), 0);
}

MAY(land) /* the data that this end sent before PARK */
{
	return w->flying[s->a];
}
TAKE(land)
{
	w->flying[s->a] = 0;
}

MAY(drain)
{
	return drains(w, s->a);
}
TAKE(drain) /* complete, or given up */
{
	w->cut |= w->flying[!s->a];
	feed(w, s->a, event(SWITCH_EVENT_DRAIN), 0);
}

MAY(crash)
{
	return can_crash(w, s->a);
}
TAKE(crash)
{
	do_crash(w, s->a);
}

MAY(connect)
{
	return can_connect(w, s->a);
}
TAKE(connect)
{
	do_connect(w, s->a);
}

MAY(join)
{
	(void)s;
	return can_join(w);
}
TAKE(join)
{
	(void)s;
	do_join(w);
}

MAY(link_up)
{
	return !usable(w, s->a);
}
TAKE(link_up)
{
	w->up |= (uint8_t)(1u << s->a);
	w->retried[MOBILE] = w->retried[ANCHOR] = 0;
}

MAY(link_down)
{
#ifdef FINITE
	if (w->deaths >= DEATHS)
		return 0;
#endif
	return usable(w, s->a);
}
TAKE(link_down)
{
	w->up &= (uint8_t) ~(1u << s->a);
#ifdef FINITE
	w->deaths++;
#endif
}

MAY(hello) /* a standby path is validated in advance */
{
	return usable(w, s->a) && w->joined && !(w->valid & 1u << s->a);
}
TAKE(hello)
{
	w->valid |= (uint8_t)(1u << s->a);
}

MAY(calm)
{
	(void)s;
	return can_calm(w);
}
TAKE(calm)
{
	(void)s;
	do_calm(w);
}

MAY(deliver)
{
	return deliverable(w, s->a, BASE_ID + (uint32_t)s->b, s->c, s->d);
}
TAKE(deliver)
{
#ifdef FINITE
	deliver(w, s->a, BASE_ID + (uint32_t)s->b, s->c, s->d, 0);
#else
	deliver(w, s->a, BASE_ID + (uint32_t)s->b, s->c, s->d, 1);
#endif
}

MAY(forge) /* somebody on the way copies a message, with another source address */
{
	return w->doubles < DOUBLES && has(w, s->a, BASE_ID + (uint32_t)s->b, s->c) &&
	       !has(w, s->a, BASE_ID + (uint32_t)s->b, FORGED);
}
TAKE(forge)
{
	w->net[s->a] |= (uint16_t)(1u << bit(BASE_ID + (uint32_t)s->b, FORGED));
#ifdef FINITE
	w->doubles++;
#endif
}

MAY(vanish)
{
	return w->losses < LOSSES && has(w, s->a, BASE_ID + (uint32_t)s->b, s->c);
}
TAKE(vanish)
{
	take_out(w, s->a, BASE_ID + (uint32_t)s->b, s->c);
	w->losses++;
}

MAY(redouble)
{
	return w->doubles < DOUBLES && deliverable(w, s->a, BASE_ID + (uint32_t)s->b, s->c, PATHS);
}
TAKE(redouble)
{
	deliver(w, s->a, BASE_ID + (uint32_t)s->b, s->c, PATHS, 1);
	w->doubles++;
}

static struct step steps[STEPS_MAX];
static int steps_used;

static void add(struct step s)
{
	if (steps_used == STEPS_MAX)
		abort();
	steps[steps_used++] = s;
}

#define ADD(name, ...) add((struct step){may_##name, take_##name, __VA_ARGS__, #name})

static void list_message(int t, int id)
{
	for (int path = 0; path <= FORGED; path++) {
		if (path == FORGED && t != M_STEP2 && t != M_UNEXPECTED && t != M_CHALLENGE)
			continue;
		for (int chosen = t == M_SERVER_READY ? 0 : PATHS; chosen <= PATHS; chosen++)
			ADD(deliver, t, id, path, chosen);
#ifdef FINITE
		if (LOSSES > 0)
			ADD(vanish, t, id, path, 0);
		if (DOUBLES > 0)
			ADD(redouble, t, id, path, 0);
#endif
		if (path != FORGED && (t == M_STEP2 || t == M_UNEXPECTED) && DOUBLES > 0)
			ADD(forge, t, id, path, 0);
	}
}

static void list_steps(void)
{
	ADD(plan, 0, 0, 0, 0);
	ADD(plan, 1, 0, 0, 0);
	for (int end = MOBILE; end <= ANCHOR; end++) {
		for (int chosen = end == MOBILE ? 0 : PATHS; chosen <= PATHS; chosen++) {
			ADD(lose, end, chosen, 0, 0);
			ADD(expire, end, chosen, 0, 0);
		}
		ADD(regain, end, 0, 0, 0);
		ADD(retry, end, 0, 0, 0);
		ADD(land, end, 0, 0, 0);
		ADD(drain, end, 0, 0, 0);
		ADD(crash, end, 0, 0, 0);
	}
	for (int path = 0; path < PATHS; path++) {
		ADD(appear, path, 0, 0, 0);
		ADD(connect, path, 0, 0, 0);
		ADD(link_up, path, 0, 0, 0);
		ADD(link_down, path, 0, 0, 0);
		ADD(hello, path, 0, 0, 0);
	}
	ADD(join, 0, 0, 0, 0);
	ADD(calm, 0, 0, 0, 0);
	for (int t = 0; t < MESSAGES; t++) {
		int nonce = t == M_CHALLENGE || t == M_RESPONSE; /* these carry no id */

		for (int id = nonce ? 0 : 1; id <= (nonce ? 0 : IDS); id++)
			list_message(t, id);
	}
}

/* after every step: what follows from the world */
static void derive(struct world *w)
{
	w->rest = (uint8_t)at_rest(w);
	memset(w->open, 0, sizeof(w->open));
	for (int i = 0; i < steps_used; i++) {
		if (steps[i].may(w, &steps[i]))
			w->open[i / 64] |= 1ull << i % 64;
	}
}

static void begin(struct world *w)
{
	if (!steps_used) /* SPIN may begin again */
		list_steps();
	start(w);
	derive(w);
}

static void step(struct world *w, int i)
{
	steps[i].take(w, &steps[i]);
	derive(w);
}

/* a line of a counterexample, when pan replays one */
static void tell(const struct world *w, int i)
{
	static const char *const messages[MESSAGES] = {
		"STEP1",        "STEP1+mbb",      "LAST",      "CLIENT_READY", "STEP2",
		"UNEXPECTED",   "RESPONSE",       "ACK",       "LAST back",    "OK",
		"SERVER_READY", "ALL_REDIRECTED", "CHALLENGE",
	};
	const struct step *s = &steps[i];

	if (s->may == may_deliver || s->may == may_forge || s->may == may_vanish ||
	    s->may == may_redouble)
		printf("%s %s id %d path %d", s->name, messages[s->a], s->b, s->c);
	else
		printf("%s %d %d", s->name, s->a, s->b);
	for (int end = MOBILE; end <= ANCHOR; end++) {
		const struct switch_machine *m = &w->m[end];

		printf("%s%s%s id %d route %d target %d accepts %d", end == MOBILE ? "\t| " : " | ",
		       switch_state_name(m->state), m->parked ? " parked" : "",
		       (int)(m->id - BASE_ID), w->route[end], w->target[end], w->accept[end]);
	}
	printf(" | up %d valid %d%s\n", w->up, w->valid, w->joined ? "" : " apart");
}
