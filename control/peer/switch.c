/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The switch machine (N5 planned, N6 unexpected, N8 both make-before-break and
 * break-before-make, N9 timeouts). CNAPT-n and SNAPT-n are the steps of the
 * seed's procedure at the mobile and at the anchor, with * in the unexpected one.
 *
 * Timers, both kept by the caller:
 *  - retry interval. Only the mobile repeats handshake messages, the anchor answers what is
 *    repeated; so a lost answer costs what a lost question costs and two ends never
 *    repeat at each other. The anchor repeats its challenge, which is a question.
 *  - switch timeout Z (N9). Planned: begins anew with every step. Unexpected: one Z for all, from
 *    the loss on; further losses do not prolong it, or a mobile whose paths come and go would
 *    never notice that the anchor has forgotten it. Mobile: a planned switch is tried again as
 *    an unexpected one, which fails, and the association connects anew. Anchor: CLEAN_UP.
 *
 * Crossings are settled by the id: whatever the mobile begins has a higher one, the anchor follows
 * the highest, both ignore the rest. So the mobile's id is never behind the anchor's, and
 * a mobile that has settled `id` knows that the anchor did. CONNECT starts ids anew at both ends:
 * it brings a new epoch, and datagrams of an old epoch cannot be opened.
 */
#include <string.h>

#include "control/peer/switch.h"

/* RFC 1982: ids may wrap. The undefined distance 2^31 counts as older. */
static bool newer(uint32_t a, uint32_t b)
{
	return a != b && a - b < 0x80000000u;
}

static uint32_t park(struct switch_machine *m)
{
	if (m->parked)
		return 0;
	m->parked = true;
	return SWITCH_DO(PARK);
}

static uint32_t unpark(struct switch_machine *m)
{
	if (!m->parked)
		return 0;
	m->parked = false;
	return SWITCH_DO(UNPARK);
}

static bool waits(const struct switch_machine *m)
{
	return m->state != SWITCH_SETTLED && m->state != SWITCH_DISCONNECTED;
}

/* Forgets how far the last switch came; `id` and `parked` outlive it. */
static void begin(struct switch_machine *m, uint32_t id)
{
	m->id = id;
	m->mbb = false;
	m->told = false;
	m->fenced = false;
	m->drained = false;
	m->ok = false;
	m->unexpected = false;
	m->done = false;
}

/* ---- mobile ------------------------------------------------------------ */

static uint32_t send_step2(struct switch_machine *m)
{
	m->state = SWITCH_STEP2_SENT;
	return SWITCH_DO(ACCEPT_NEW) | SWITCH_DO(SEND_STEP2);
}

static uint32_t send_unexpected(struct switch_machine *m)
{
	m->state = SWITCH_UNEXPECTED_SENT;
	m->told = true;
	return SWITCH_DO(ACCEPT_NEW) | SWITCH_DO(SEND_UNEXPECTED);
}

/* CNAPT-1* to -6*: what was under way is overridden by a new attempt of a higher id. */
static uint32_t go_unexpected(struct switch_machine *m, bool usable)
{
	bool told = m->told; /* it stays so: the anchor may have parked or flipped for us */
	uint32_t actions = park(m);

	if (m->state != SWITCH_PATH_LOST && m->state != SWITCH_UNEXPECTED_SENT)
		actions |= SWITCH_DO(START_TIMERS);
	begin(m, m->id + 1);
	m->told = told;
	if (usable)
		return actions | send_unexpected(m);
	m->state = SWITCH_PATH_LOST;
	return actions | SWITCH_DO(CHOOSE);
}

/* CNAPT-13, -14: three things are awaited at once, in any order. */
static uint32_t go_ready(struct switch_machine *m)
{
	if (m->state != SWITCH_FENCE_SENT || !m->drained || !m->ok)
		return 0;
	m->state = SWITCH_CLIENT_READY_SENT; /* CNAPT-18 */
	return SWITCH_DO(SEND_CLIENT_READY) | SWITCH_DO(START_TIMERS);
}

/* ---- anchor ------------------------------------------------------------ */

/* SNAPT-9*, SNAPT-21 to -23. Reached only with a validated address. */
static uint32_t redirect(struct switch_machine *m)
{
	uint32_t actions = SWITCH_DO(ACCEPT_NEW) | SWITCH_DO(FLIP) |
			   SWITCH_DO(SEND_ALL_REDIRECTED) | SWITCH_DO(DONE);

	/* a path left in order may still deliver; a lost address may be somebody else's soon */
	actions |= m->unexpected ? SWITCH_DO(DROP_OLD) : SWITCH_DO(GRACE_OLD);
	if (waits(m))
		actions |= SWITCH_DO(STOP_TIMERS);
	m->mbb = false;
	m->done = true;
	m->state = SWITCH_SETTLED;
	return actions | unpark(m);
}

/* STEP2 or UNEXPECTED came from somewhere: no data goes there before a challenge was
 * answered (RFC 9000, 8.2). A repeated one takes the target along. */
static uint32_t take_target(struct switch_machine *m, bool validated)
{
	uint32_t actions = SWITCH_DO(TARGET);

	if (validated)
		return actions | redirect(m);
	if (m->unexpected)
		actions |= park(m); /* SNAPT-2* to -5* */
	if (m->state != SWITCH_CHALLENGE_SENT)
		actions |= SWITCH_DO(START_TIMERS);
	m->state = SWITCH_CHALLENGE_SENT;
	return actions | SWITCH_DO(CHALLENGE);
}

/* The mobile repeats what was done: only the answer was lost. It goes where the data goes,
 * so that a copy from another address moves nothing. */
static uint32_t repeat_redirected(const struct switch_machine *m)
{
	return m->done ? SWITCH_DO(SEND_ALL_REDIRECTED) : 0;
}

/* ---- events, one function each ------------------------------------------ */

static uint32_t plan(struct switch_machine *m, const struct switch_input *in)
{
	if (m->role != HF_ROLE_MOBILE || m->state != SWITCH_SETTLED)
		return 0;
	begin(m, m->id + 1);
	m->mbb = in->mbb;
	m->told = true;
	m->state = SWITCH_STEP1_SENT; /* CNAPT-10 */
	return (m->mbb ? 0 : park(m)) | SWITCH_DO(SEND_STEP1) | SWITCH_DO(START_TIMERS);
}

static uint32_t lose(struct switch_machine *m, const struct switch_input *in)
{
	if (m->state == SWITCH_DISCONNECTED) /* CONNECT is under way: hold, it will release */
		return park(m);
	if (m->role == HF_ROLE_ANCHOR) {
		uint32_t actions = park(m); /* a make-before-break switch under way goes on */

		if (m->state == SWITCH_SETTLED) {
			m->state = SWITCH_PEER_LOST;
			actions |= SWITCH_DO(START_TIMERS);
		}
		return actions;
	}
	if (m->state == SWITCH_PATH_LOST)
		return 0;
	if (m->state == SWITCH_OLD_LEFT && !m->mbb) /* the old link was left on purpose */
		return 0;
	return go_unexpected(m, in->usable);
}

static uint32_t regain(struct switch_machine *m, const struct switch_input *in)
{
	(void)in;
	if (m->state == SWITCH_PEER_LOST || (m->state == SWITCH_PATH_LOST && !m->told)) {
		m->state = SWITCH_SETTLED;
		return unpark(m) | SWITCH_DO(STOP_TIMERS);
	}
	/* The anchor was told: it may have parked or flipped, and only UNEXPECTED (the
	 * caller offers this path by PATH_USABLE) brings both ends together again. */
	if (m->role == HF_ROLE_ANCHOR && m->mbb)
		return unpark(m);
	return 0;
}

static uint32_t path_usable(struct switch_machine *m, const struct switch_input *in)
{
	(void)in;
	if (m->state == SWITCH_OLD_LEFT)
		return send_step2(m);
	if (m->state == SWITCH_PATH_LOST)
		return send_unexpected(m); /* CNAPT-17* */
	return 0;
}

static uint32_t drain(struct switch_machine *m, const struct switch_input *in)
{
	(void)in;
	if (!m->fenced || m->drained)
		return 0;
	if (m->state == SWITCH_STEP1_TAKEN) { /* SNAPT-11 */
		m->drained = true;
		m->state = SWITCH_OK_SENT;
		return SWITCH_DO(SEND_OK) | SWITCH_DO(START_TIMERS);
	}
	if (m->state == SWITCH_STEP1_SENT || m->state == SWITCH_FENCE_SENT) {
		m->drained = true;
		return go_ready(m);
	}
	return 0;
}

static uint32_t validate(struct switch_machine *m, const struct switch_input *in)
{
	(void)in;
	return m->state == SWITCH_CHALLENGE_SENT ? redirect(m) : 0;
}

static uint32_t retry(struct switch_machine *m, const struct switch_input *in)
{
	static const uint32_t again[SWITCH_STATE_COUNT] = {
		[SWITCH_STEP1_SENT] = SWITCH_DO(SEND_STEP1),
		[SWITCH_FENCE_SENT] = SWITCH_DO(SEND_LAST_MESSAGE),
		[SWITCH_CLIENT_READY_SENT] = SWITCH_DO(SEND_CLIENT_READY),
		[SWITCH_STEP2_SENT] = SWITCH_DO(SEND_STEP2),
		[SWITCH_UNEXPECTED_SENT] = SWITCH_DO(SEND_UNEXPECTED),
		[SWITCH_CHALLENGE_SENT] = SWITCH_DO(CHALLENGE),
	};

	(void)in;
	return again[m->state];
}

static uint32_t expire(struct switch_machine *m, const struct switch_input *in)
{
	if (!waits(m))
		return 0;
	if (m->role == HF_ROLE_ANCHOR) { /* SNAPT-10, -12, -16, -20, and waiting for UNEXPECTED */
		begin(m, m->id);
		m->parked = false;
		m->state = SWITCH_DISCONNECTED;
		return SWITCH_DO(STOP_TIMERS) | SWITCH_DO(CLEAN_UP);
	}
	if (m->state != SWITCH_PATH_LOST && m->state != SWITCH_UNEXPECTED_SENT)
		return go_unexpected(m, in->usable); /* CNAPT-11, -13, -14, -19, -30, -33 */
	/* CNAPT-18*, -21* */
	begin(m, m->id);
	m->state = SWITCH_DISCONNECTED;
	return SWITCH_DO(STOP_TIMERS) | SWITCH_DO(FAIL);
}

/* TCP has validated the path of CONNECT, and both ends mean the same one. */
static uint32_t reset(struct switch_machine *m, const struct switch_input *in)
{
	uint32_t actions =
		SWITCH_DO(ACCEPT_NEW) | SWITCH_DO(FLIP) | SWITCH_DO(GRACE_OLD) | unpark(m);

	if (waits(m))
		actions |= SWITCH_DO(STOP_TIMERS);
	begin(m, in->id);
	m->state = SWITCH_SETTLED;
	return actions;
}

static uint32_t rx_step1(struct switch_machine *m, const struct switch_input *in)
{
	uint32_t answers = SWITCH_DO(SEND_ACK) | SWITCH_DO(SEND_LAST_MESSAGE); /* SNAPT-8, -9 */

	if (m->role != HF_ROLE_ANCHOR || m->state == SWITCH_DISCONNECTED)
		return 0;
	if (in->id == m->id && m->state == SWITCH_STEP1_TAKEN)
		return answers;
	if (!newer(in->id, m->id))
		return 0;
	begin(m, in->id);
	m->mbb = in->mbb;
	m->state = SWITCH_STEP1_TAKEN;
	/* SNAPT-2 to -5. To ask for make-before-break is to show that the path is alive. */
	return answers | (m->mbb ? unpark(m) : park(m)) | SWITCH_DO(START_TIMERS);
}

static uint32_t rx_ack(struct switch_machine *m, const struct switch_input *in)
{
	if (m->state != SWITCH_STEP1_SENT || in->id != m->id)
		return 0;
	m->state = SWITCH_FENCE_SENT; /* CNAPT-12 */
	return SWITCH_DO(SEND_LAST_MESSAGE) | SWITCH_DO(START_TIMERS);
}

static uint32_t rx_last_message(struct switch_machine *m, const struct switch_input *in)
{
	if (in->id != m->id)
		return 0;
	switch (m->state) {
	case SWITCH_STEP1_SENT: /* it has overtaken ACK */
	case SWITCH_FENCE_SENT:
		if (m->fenced)
			return 0;
		m->fenced = true;
		if (!m->mbb)
			return SWITCH_DO(START_DRAIN);
		m->drained = true; /* nothing ends on the old path: nothing to wait for */
		return go_ready(m);
	case SWITCH_STEP1_TAKEN:
		if (m->fenced) /* repeated: our fence was lost, or it is only slow to drain */
			return SWITCH_DO(SEND_LAST_MESSAGE);
		m->fenced = true;
		return m->mbb ? drain(m, in) : SWITCH_DO(START_DRAIN);
	case SWITCH_OK_SENT: /* repeated: the mobile lacks our fence or our OK */
		return SWITCH_DO(SEND_LAST_MESSAGE) | SWITCH_DO(SEND_OK);
	default:
		return 0;
	}
}

static uint32_t rx_ok(struct switch_machine *m, const struct switch_input *in)
{
	if (m->state != SWITCH_FENCE_SENT || in->id != m->id || m->ok)
		return 0;
	m->ok = true;
	return go_ready(m);
}

static uint32_t rx_client_ready(struct switch_machine *m, const struct switch_input *in)
{
	if (in->id != m->id)
		return 0;
	if (m->state == SWITCH_SERVER_READY_SENT)
		return SWITCH_DO(SEND_SERVER_READY);
	if (m->state != SWITCH_OK_SENT)
		return 0;
	m->state = SWITCH_SERVER_READY_SENT; /* SNAPT-15 */
	return SWITCH_DO(SEND_SERVER_READY) | SWITCH_DO(START_TIMERS);
}

static uint32_t rx_server_ready(struct switch_machine *m, const struct switch_input *in)
{
	uint32_t actions = SWITCH_DO(START_TIMERS);

	if (m->state != SWITCH_CLIENT_READY_SENT || in->id != m->id)
		return 0;
	if (!m->mbb)
		actions |= SWITCH_DO(LEAVE_OLD);
	if (in->usable)
		return actions | send_step2(m);
	m->state = SWITCH_OLD_LEFT;
	return actions | SWITCH_DO(CHOOSE);
}

static uint32_t rx_step2(struct switch_machine *m, const struct switch_input *in)
{
	if (in->id != m->id || m->unexpected)
		return 0;
	if (m->state == SWITCH_SERVER_READY_SENT || m->state == SWITCH_CHALLENGE_SENT)
		return take_target(m, in->validated);
	return repeat_redirected(m);
}

static uint32_t rx_all_redirected(struct switch_machine *m, const struct switch_input *in)
{
	uint32_t actions = SWITCH_DO(FLIP) | SWITCH_DO(STOP_TIMERS) | SWITCH_DO(DONE);

	if (in->id != m->id)
		return 0;
	if (m->state == SWITCH_STEP2_SENT)
		actions |= SWITCH_DO(GRACE_OLD);
	else if (m->state == SWITCH_UNEXPECTED_SENT)
		actions |= SWITCH_DO(DROP_OLD);
	else
		return 0;
	begin(m, m->id);
	m->state = SWITCH_SETTLED;
	return actions | unpark(m); /* CNAPT-34, CNAPT-22*, -23* */
}

static uint32_t rx_unexpected(struct switch_machine *m, const struct switch_input *in)
{
	if (m->role != HF_ROLE_ANCHOR || m->state == SWITCH_DISCONNECTED)
		return 0;
	if (in->id == m->id && m->unexpected) {
		if (m->state == SWITCH_CHALLENGE_SENT)
			return take_target(m, in->validated);
		return repeat_redirected(m);
	}
	if (!newer(in->id, m->id))
		return 0;
	begin(m, in->id);
	m->unexpected = true;
	/* a challenge of an older switch does not lend its time to this one */
	return take_target(m, in->validated) | (in->validated ? 0 : SWITCH_DO(START_TIMERS));
}

uint32_t switch_step(struct switch_machine *m, const struct switch_input *in)
{
	static uint32_t (*const takes[SWITCH_EVENT_COUNT])(struct switch_machine *,
							   const struct switch_input *) = {
		[SWITCH_EVENT_PLAN] = plan,
		[SWITCH_EVENT_LOSE] = lose,
		[SWITCH_EVENT_REGAIN] = regain,
		[SWITCH_EVENT_PATH_USABLE] = path_usable,
		[SWITCH_EVENT_DRAIN] = drain,
		[SWITCH_EVENT_VALIDATE] = validate,
		[SWITCH_EVENT_RETRY] = retry,
		[SWITCH_EVENT_EXPIRE] = expire,
		[SWITCH_EVENT_RESET] = reset,
		[SWITCH_EVENT_RX_STEP1] = rx_step1,
		[SWITCH_EVENT_RX_ACK] = rx_ack,
		[SWITCH_EVENT_RX_LAST_MESSAGE] = rx_last_message,
		[SWITCH_EVENT_RX_OK] = rx_ok,
		[SWITCH_EVENT_RX_CLIENT_READY] = rx_client_ready,
		[SWITCH_EVENT_RX_SERVER_READY] = rx_server_ready,
		[SWITCH_EVENT_RX_STEP2] = rx_step2,
		[SWITCH_EVENT_RX_ALL_REDIRECTED] = rx_all_redirected,
		[SWITCH_EVENT_RX_UNEXPECTED] = rx_unexpected,
	};

	if ((unsigned int)in->event >= SWITCH_EVENT_COUNT || !takes[in->event])
		return 0;
	return takes[in->event](m, in);
}

void switch_init(struct switch_machine *m, enum hf_role role)
{
	memset(m, 0, sizeof(*m));
	m->role = role;
	m->state = SWITCH_DISCONNECTED;
}

const char *switch_state_name(enum switch_state s)
{
	static const char *const names[SWITCH_STATE_COUNT] = {
#define SWITCH_NAME(symbol, text) [SWITCH_##symbol] = text,
		SWITCH_STATES(SWITCH_NAME)
#undef SWITCH_NAME
	};

	return (unsigned int)s < SWITCH_STATE_COUNT ? names[s] : "unknown";
}

const char *switch_event_name(enum switch_event e)
{
	static const char *const names[SWITCH_EVENT_COUNT] = {
#define SWITCH_NAME(symbol, text) [SWITCH_EVENT_##symbol] = text,
		SWITCH_EVENTS(SWITCH_NAME)
#undef SWITCH_NAME
	};

	return (unsigned int)e < SWITCH_EVENT_COUNT ? names[e] : "unknown";
}

const char *switch_action_name(enum switch_action a)
{
	static const char *const names[SWITCH_ACTION_COUNT] = {
#define SWITCH_NAME(symbol, text) [SWITCH_ACTION_BIT_##symbol] = text,
		SWITCH_ACTIONS(SWITCH_NAME)
#undef SWITCH_NAME
	};

	return (unsigned int)a < SWITCH_ACTION_COUNT ? names[a] : "unknown";
}
