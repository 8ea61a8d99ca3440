/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What surrounds the two machines in the model: paths, keys, network and the
 * caller that carries actions out. The machines themselves are not modelled:
 * switch.pml runs control/peer/switch.c.
 *
 * Two networks, chosen by -D:
 *  - (none): everything ever sent may come at any time, any number of times, in any order, or
 * never. Nothing has to be counted, so loss, doubling and swapping are unbounded. For safety.
 *  - FINITE: a message is delivered or lost, at most LOSSES are lost and DOUBLES doubled, order is
 *    any; timers fire only when nothing else can happen. For progress: what is left undone by
 *    a lost message is repaired by a retry or it is not.
 *
 * All of this is one C struct inside SPIN's state vector; every function is one atomic step.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/peer/switch.h"

#ifndef BASE_ID
#define BASE_ID 0xfffffffeu /* ids wrap inside every run */
#endif
#ifndef IDS
#define IDS 3 /* switches begun within one epoch */
#endif
#ifndef PLANS
#define PLANS                                                                                      \
	IDS /* planned switches begin while ids are below this: the rest is for what goes wrong */
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef DOUBLES
#ifdef FINITE
#define DOUBLES 0
#else
#define DOUBLES 1 /* not counted: any number */
#endif
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef CRASHES
#define CRASHES 0
#endif

#ifndef STEPS_MAX
#define STEPS_MAX 512 /* switch.pml has so many choices; less where less will do, for speed */
#endif

enum { MOBILE, ANCHOR };
enum {
	PATHS = 2,
	FORGED = 2
}; /* 0 and 1 are the mobile's; 2 is a victim's address, which answers nothing */

enum message {
	M_STEP1, /* to the anchor */
	M_STEP1_MBB,
	M_LAST,
	M_CLIENT_READY,
	M_STEP2,
	M_UNEXPECTED,
	M_RESPONSE,
	M_ACK, /* to the mobile */
	M_LAST_BACK,
	M_OK,
	M_SERVER_READY,
	M_ALL_REDIRECTED,
	M_CHALLENGE,
	MESSAGES
};

/* what must never become true; one bit each */
enum wrong {
	WRONG_UNVALIDATED = 1, /* anchor's data may go to an address that answered no challenge */
	WRONG_HALF = 2,        /* mobile settled, anchor on another path or inside a switch */
	WRONG_PARKED = 4,      /* somebody settled and holds data */
	WRONG_REFUSED = 8,     /* data goes out on a path which the peer does not accept */
	WRONG_LEFT = 16,       /* old link given up before both fences were drained */
	WRONG_IDS = 32,        /* the model's own bound on ids was overrun */
};

struct world {
	struct switch_machine m[2];
	uint16_t net[MESSAGES]; /* bit id * 3 + path */
	uint8_t route[2];       /* what the data plane does: it survives a crash */
	uint8_t accept[2];
	uint8_t target[2];
	uint8_t up;        /* mobile's links */
	uint8_t valid;     /* addresses validated at the anchor */
	uint8_t joined;    /* both daemons hold keys of the same epoch */
	uint8_t connected; /* CONNECT done at the anchor, not yet at the mobile: path + 1 */
	uint8_t flying[2]; /* data sent before PARK is still on the way */
	uint8_t cut;       /* a drain was given up: its bounded time was over */
	uint8_t wrong;
	uint8_t losses, doubles, deaths, crashes;
	uint8_t retried[2];
	uint8_t rest; /* at_rest(), and */
	uint64_t open[STEPS_MAX /
		      64]; /* which steps may be taken; both follow from the rest of the world */
};

static inline int bit(uint32_t id, int path)
{
	return (int)(id - BASE_ID) * 3 + path;
}

static void post(struct world *w, enum message t, uint32_t id, int path)
{
	if (!w->joined) /* the peer cannot open it */
		return;
	if (t < M_ACK && !(w->up & 1u << path))
		return;
	w->net[t] |= (uint16_t)(1u << bit(id, path));
}

static int settled(const struct world *w)
{
	return w->joined && w->m[MOBILE].state == SWITCH_SETTLED &&
	       w->m[ANCHOR].state == SWITCH_SETTLED;
}

static void look(struct world *w)
{
	const struct switch_machine *mob = &w->m[MOBILE], *anc = &w->m[ANCHOR];

	if (!(w->valid & 1u << w->route[ANCHOR]))
		w->wrong |= WRONG_UNVALIDATED;
	if ((mob->state == SWITCH_SETTLED && mob->parked) ||
	    (anc->state == SWITCH_SETTLED && anc->parked))
		w->wrong |= WRONG_PARKED;
	if (!w->joined || mob->state == SWITCH_DISCONNECTED || anc->state == SWITCH_DISCONNECTED)
		return; /* one is gone or a CONNECT follows: nothing is promised until then */
	if (mob->state == SWITCH_SETTLED &&
	    (w->route[MOBILE] != w->route[ANCHOR] ||
	     (anc->state != SWITCH_SETTLED && anc->state != SWITCH_PEER_LOST)))
		w->wrong |= WRONG_HALF;
	if ((!mob->parked && !(w->accept[ANCHOR] & 1u << w->route[MOBILE])) ||
	    (!anc->parked && !(w->accept[MOBILE] & 1u << w->route[ANCHOR])))
		w->wrong |= WRONG_REFUSED;
}

static void leave_old(struct world *w)
{
	const struct switch_machine *anc = &w->m[ANCHOR];

	if (!w->joined || anc->state == SWITCH_DISCONNECTED)
		return;
	if (anc->state != SWITCH_SERVER_READY_SENT || !anc->parked || !w->m[MOBILE].parked ||
	    (!w->cut && (w->flying[MOBILE] || w->flying[ANCHOR])))
		w->wrong |= WRONG_LEFT;
}

/* the caller: actions in the order of their bits */
static uint32_t feed(struct world *w, int end, struct switch_input in, int from)
{
	struct switch_machine *m = &w->m[end];
	enum switch_state was = m->state;
	uint32_t a = switch_step(m, &in);
	int old = w->route[end];

	if ((a & SWITCH_DO(PARK)) && (a & (SWITCH_DO(SEND_STEP1) | SWITCH_DO(SEND_ACK))))
		w->flying[end] = 1; /* matters only for the fences of a planned switch */
	if (a & SWITCH_DO(TARGET))
		w->target[end] = (uint8_t)from;
	if (a & SWITCH_DO(SEND_STEP1)) {
		post(w, m->mbb ? M_STEP1_MBB : M_STEP1, m->id, old);
		w->cut = 0;
	}
	if (a & SWITCH_DO(SEND_ACK))
		post(w, M_ACK, m->id, old);
	if (a & SWITCH_DO(SEND_LAST_MESSAGE))
		post(w, end == MOBILE ? M_LAST : M_LAST_BACK, m->id, old);
	if (a & SWITCH_DO(SEND_OK))
		post(w, M_OK, m->id, old);
	if (a & SWITCH_DO(SEND_CLIENT_READY))
		post(w, M_CLIENT_READY, m->id, old);
	if (a & SWITCH_DO(SEND_SERVER_READY))
		post(w, M_SERVER_READY, m->id, old);
	if (a & SWITCH_DO(LEAVE_OLD))
		leave_old(w);
	if (a & SWITCH_DO(ACCEPT_NEW))
		w->accept[end] |= (uint8_t)(1u << w->target[end]);
	if (a & SWITCH_DO(SEND_STEP2))
		post(w, M_STEP2, m->id, w->target[end]);
	if (a & SWITCH_DO(SEND_UNEXPECTED))
		post(w, M_UNEXPECTED, m->id, w->target[end]);
	if (a & SWITCH_DO(CHALLENGE))
		post(w, M_CHALLENGE, BASE_ID, w->target[end]);
	if (a & SWITCH_DO(FLIP))
		w->route[end] = w->target[end];
	if (a & SWITCH_DO(SEND_ALL_REDIRECTED))
		post(w, M_ALL_REDIRECTED, m->id, w->route[end]);
	/* GRACE_OLD ends in calm(), when both have settled */
	if (a & SWITCH_DO(DROP_OLD))
		w->accept[end] = (uint8_t)(1u << w->route[end]);
	if (a & SWITCH_DO(UNPARK))
		w->flying[end] = 0;
	if (a & SWITCH_DO(CLEAN_UP)) {
		w->joined = 0;
		w->connected = 0;
		w->flying[end] = 0;
		memset(&w->net[M_STEP1], 0, M_ACK * sizeof(w->net[0]));
	}
	if (m->state != was)
		w->retried[end] = 0;
	if (m->state == SWITCH_SETTLED || m->state == SWITCH_DISCONNECTED)
		w->target[end] = w->route[end]; /* means nothing now: fewer states */
	if (m->id - BASE_ID > IDS)
		w->wrong |= WRONG_IDS;
	look(w);
	return a;
}

/* would this event do anything? Guards must not change the state. */
static int takes(const struct world *w, int end, struct switch_input in)
{
	struct switch_machine m = w->m[end];

	return switch_step(&m, &in) != 0;
}

static struct switch_input event(enum switch_event e)
{
	return (struct switch_input){.event = e};
}

static int can(const struct world *w, int end, enum switch_event e)
{
	return takes(w, end, event(e));
}

/* ids are finite in the model */
static int id_left(const struct world *w)
{
	return w->m[MOBILE].id - BASE_ID < IDS;
}

static int usable(const struct world *w, int path)
{
	return path < PATHS && (w->up & 1u << path);
}

/* ---- network ----------------------------------------------------------- */

static int has(const struct world *w, enum message t, uint32_t id, int path)
{
	return w->net[t] & 1u << bit(id, path);
}

static void take_out(struct world *w, enum message t, uint32_t id, int path)
{
	w->net[t] &= (uint16_t) ~(1u << bit(id, path));
}

/* `chosen`: the path that the mobile's caller has at hand when SERVER_READY comes, PATHS if none */
static void deliver(struct world *w, enum message t, uint32_t id, int path, int chosen, int keep)
{
	static const enum switch_event events[MESSAGES] = {
		[M_STEP1] = SWITCH_EVENT_RX_STEP1,
		[M_STEP1_MBB] = SWITCH_EVENT_RX_STEP1,
		[M_LAST] = SWITCH_EVENT_RX_LAST_MESSAGE,
		[M_CLIENT_READY] = SWITCH_EVENT_RX_CLIENT_READY,
		[M_STEP2] = SWITCH_EVENT_RX_STEP2,
		[M_UNEXPECTED] = SWITCH_EVENT_RX_UNEXPECTED,
		[M_ACK] = SWITCH_EVENT_RX_ACK,
		[M_LAST_BACK] = SWITCH_EVENT_RX_LAST_MESSAGE,
		[M_OK] = SWITCH_EVENT_RX_OK,
		[M_SERVER_READY] = SWITCH_EVENT_RX_SERVER_READY,
		[M_ALL_REDIRECTED] = SWITCH_EVENT_RX_ALL_REDIRECTED,
	};
	struct switch_input in = {.event = events[t], .id = id, .mbb = t == M_STEP1_MBB};

	if (!keep)
		take_out(w, t, id, path);
	if (t >= M_ACK && !usable(w, path)) /* the mobile is not there */
		return;
	switch (t) {
	case M_CHALLENGE:
		post(w, M_RESPONSE, BASE_ID, path);
		return;
	case M_RESPONSE:
		w->valid |= (uint8_t)(1u << path);
		if (w->m[ANCHOR].state == SWITCH_CHALLENGE_SENT && w->target[ANCHOR] == path)
			feed(w, ANCHOR, event(SWITCH_EVENT_VALIDATE), path);
		return;
	case M_STEP2:
	case M_UNEXPECTED:
		in.validated = w->valid & 1u << path;
		break;
	case M_SERVER_READY:
		in.usable = chosen < PATHS;
		if (in.usable && takes(w, MOBILE, in))
			w->target[MOBILE] = (uint8_t)chosen;
		break;
	default:
		break;
	}
	feed(w, t < M_ACK ? ANCHOR : MOBILE, in, path);
}

static int deliverable(const struct world *w, enum message t, uint32_t id, int path, int chosen)
{
	if (!has(w, t, id, path) || (chosen < PATHS && !usable(w, chosen)))
		return 0;
#ifndef FINITE
	if (t >= M_ACK && !usable(w, path))
		return 0;
#endif
	return 1;
}

static int net_empty(const struct world *w)
{
	for (int t = 0; t < MESSAGES; t++) {
		if (w->net[t])
			return 0;
	}
	return 1;
}

/* ---- events from inside ------------------------------------------------- */

static int drains(const struct world *w, int end)
{
	const struct switch_machine *m = &w->m[end];

	return m->fenced && !m->drained && can(w, end, SWITCH_EVENT_DRAIN);
}

static int lost(const struct world *w, int end)
{
	const struct switch_machine *m = &w->m[end];
	int path = w->route[end];

	if (end == MOBILE && (m->state == SWITCH_STEP2_SENT || m->state == SWITCH_UNEXPECTED_SENT))
		path = w->target[end];
	return !usable(w, path);
}

static int can_lose(const struct world *w, int end, int chosen)
{
	struct switch_input in = {.event = SWITCH_EVENT_LOSE, .usable = chosen < PATHS};

	if (end == MOBILE && w->m[MOBILE].state != SWITCH_DISCONNECTED && !id_left(w))
		return 0;
	if (chosen < PATHS && !usable(w, chosen))
		return 0;
#ifdef FINITE
	if (!lost(w, end))
		return 0;
#endif
	return takes(w, end, in);
}

static void aim(struct world *w, int end, int chosen)
{
	if (chosen < PATHS)
		w->target[end] = (uint8_t)chosen;
}

static void do_lose(struct world *w, int end, int chosen)
{
	aim(w, end, chosen);
	feed(w, end, (struct switch_input){.event = SWITCH_EVENT_LOSE, .usable = chosen < PATHS},
	     0);
}

/* ---- timers ------------------------------------------------------------- */

/* FINITE: every delay of the network is shorter than any timer */
static int quiet(const struct world *w)
{
#ifdef FINITE
	if (!net_empty(w) || drains(w, MOBILE) || drains(w, ANCHOR) || w->connected ||
	    can_lose(w, MOBILE, PATHS) || can_lose(w, ANCHOR, PATHS))
		return 0;
#ifndef EXPIRES
	if (can(w, MOBILE, SWITCH_EVENT_PATH_USABLE)) /* a link comes up in the end */
		return 0;
#endif
#endif
	(void)w;
	return 1;
}

/* EXPIRES: one retry, then Z is over; else the two ends take turns, no timer runs ahead of another
 */
static int can_retry(const struct world *w, int end)
{
	if (!quiet(w) || !can(w, end, SWITCH_EVENT_RETRY))
		return 0;
#if defined(EXPIRES)
	return !w->retried[end];
#elif defined(FINITE)
	return !w->retried[end] || !can(w, !end, SWITCH_EVENT_RETRY);
#endif
	return 1;
}

static void do_retry(struct world *w, int end)
{
	feed(w, end, event(SWITCH_EVENT_RETRY), 0);
#ifdef FINITE
	w->retried[end] = 1;
#ifndef EXPIRES
	if (w->retried[!end])
		w->retried[end] = w->retried[!end] = 0;
#endif
#endif
}

static int can_expire(const struct world *w, int end, int chosen)
{
	enum switch_state s = w->m[end].state;

#if defined(FINITE) && !defined(EXPIRES)
	return 0;
#endif
	if (chosen < PATHS && (end == ANCHOR || !usable(w, chosen)))
		return 0;
	if (end == MOBILE && !id_left(w) && s != SWITCH_PATH_LOST && s != SWITCH_UNEXPECTED_SENT)
		return 0;
#ifdef FINITE
	if (!quiet(w) || can_retry(w, end))
		return 0;
#endif
	return can(w, end, SWITCH_EVENT_EXPIRE);
}

static void do_expire(struct world *w, int end, int chosen)
{
	aim(w, end, chosen);
	feed(w, end, (struct switch_input){.event = SWITCH_EVENT_EXPIRE, .usable = chosen < PATHS},
	     0);
}

/* ---- crash and CONNECT -------------------------------------------------- */

static int can_crash(const struct world *w, int end)
{
#ifdef FINITE
	if (w->crashes >= CRASHES)
		return 0;
#endif
	return w->joined && w->m[end].state != SWITCH_DISCONNECTED;
}

/* machine, keys and what was parked are gone; the data plane goes on as it was */
static void do_crash(struct world *w, int end)
{
	int held = w->m[end].parked;

	switch_init(&w->m[end], end == MOBILE ? HF_ROLE_MOBILE : HF_ROLE_ANCHOR);
	w->m[end].id = BASE_ID; /* means nothing while DISCONNECTED, but net[] is indexed by it */
	w->joined = 0;
	w->connected = 0;
	w->flying[end] = 0;
	w->target[end] = w->route[end];
	w->retried[end] = 0;
	if (end == MOBILE)
		memset(&w->net[M_ACK], 0, (MESSAGES - M_ACK) * sizeof(w->net[0]));
	else
		memset(&w->net[M_STEP1], 0, M_ACK * sizeof(w->net[0]));
	if (held)
		feed(w, end, event(SWITCH_EVENT_LOSE), 0);
#ifdef FINITE
	w->crashes++;
#endif
	look(w);
}

/* the mobile connects when it has given up, or notices that sealed datagrams are not answered */
static int can_connect(const struct world *w, int path)
{
#ifdef FINITE
	/* in the middle of a switch Z has to lead out (N9) */
	if (w->connected ||
	    (w->m[MOBILE].state != SWITCH_SETTLED && w->m[MOBILE].state != SWITCH_DISCONNECTED))
		return 0;
#endif
	return usable(w, path) && w->connected != path + 1 &&
	       (!w->joined || w->m[MOBILE].state == SWITCH_DISCONNECTED);
}

static void do_connect(struct world *w, int path)
{
#ifndef OLD_KEYS /* a fault of the caller's: messages of an epoch that is over are opened and fed  \
		  */
	memset(&w->net[M_STEP1], 0, M_ACK * sizeof(w->net[0]));
#endif
	w->joined = 0;
	w->connected = (uint8_t)(path + 1);
	w->target[ANCHOR] = (uint8_t)path;
	w->valid = (uint8_t)(1u << path);
	feed(w, ANCHOR, (struct switch_input){.event = SWITCH_EVENT_RESET, .id = BASE_ID}, path);
}

static int can_join(const struct world *w)
{
	return w->connected && usable(w, w->connected - 1);
}

static void do_join(struct world *w)
{
	int path = w->connected - 1;

	memset(&w->net[M_ACK], 0, (MESSAGES - M_ACK) * sizeof(w->net[0]));
	w->connected = 0;
	w->joined = 1;
	w->target[MOBILE] = (uint8_t)path;
	feed(w, MOBILE, (struct switch_input){.event = SWITCH_EVENT_RESET, .id = BASE_ID}, path);
}

static void start(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->up = 1;
	w->valid = 1;
	switch_init(&w->m[MOBILE], HF_ROLE_MOBILE);
	switch_init(&w->m[ANCHOR], HF_ROLE_ANCHOR);
	w->m[MOBILE].id = w->m[ANCHOR].id = BASE_ID;
	do_connect(w, 0);
	do_join(w);
}

/* the grace period of both is over */
static int can_calm(const struct world *w)
{
	return settled(w) && (w->accept[MOBILE] != 1u << w->route[MOBILE] ||
			      w->accept[ANCHOR] != 1u << w->route[ANCHOR]);
}

static void do_calm(struct world *w)
{
	w->accept[MOBILE] = (uint8_t)(1u << w->route[MOBILE]);
	w->accept[ANCHOR] = (uint8_t)(1u << w->route[ANCHOR]);
	w->flying[MOBILE] = w->flying[ANCHOR] = 0;
	w->cut = 0;
}
