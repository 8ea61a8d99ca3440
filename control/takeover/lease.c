/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/lease.h"

#include <errno.h>
#include <string.h>

/* a peer may ask for no longer lease than this */
#define LEASE_NS_MAX 3600000000000u

static const char *const names[LEASE_EVENTS] = {
	[LEASE_ASK] = "ask",         [LEASE_GRANT] = "grant",   [LEASE_REFUSE] = "refuse",
	[LEASE_CLAIM] = "claim",     [LEASE_VOTE] = "vote",     [LEASE_HAND] = "hand",
	[LEASE_MET] = "met",         [LEASE_SERVES] = "serves", [LEASE_PARTED] = "parted",
	[LEASE_GOODBYE] = "goodbye", [LEASE_SYNCED] = "synced", [LEASE_COPIED] = "copied",
	[LEASE_WANT] = "want",       [LEASE_ALONE] = "alone",   [LEASE_GIVE] = "give",
	[LEASE_BEAT] = "beat",       [LEASE_TIME] = "time",
};

const char *lease_event_name(enum lease_event e)
{
	return e < LEASE_EVENTS ? names[e] : "?";
}

void lease_init(struct lease *m, uint32_t nodes, uint32_t self, uint64_t lease_ns)
{
	*m = (struct lease){
		.nodes = nodes, .self = self, .lease_ns = lease_ns, .serving = LEASE_NOBODY};
}

/* ---- what follows from the state ------------------------------------------ */

static uint32_t majority(const struct lease *m)
{
	return m->nodes / 2 + 1;
}

static uint32_t holder(const struct lease *m, uint32_t epoch)
{
	return epoch % m->nodes;
}

static bool blank(const struct lease *m)
{
	return m->copy.epoch == 0;
}

/* The lowest epoch of that node above everything known; 0: there is none left. */
static uint32_t next_epoch(const struct lease *m, uint32_t node)
{
	uint64_t e = (uint64_t)(m->epoch > m->seen ? m->epoch : m->seen) + 1;

	while (e % m->nodes != node)
		e++;
	return e > UINT32_MAX ? 0 : (uint32_t)e;
}

static int copy_compare(struct lease_copy a, struct lease_copy b)
{
	if (a.epoch != b.epoch)
		return a.epoch < b.epoch ? -1 : 1;
	return a.seq < b.seq ? -1 : a.seq > b.seq;
}

/* The other one, where there are two. */
static struct lease_peer *other(struct lease *m)
{
	return m->nodes == 2 ? &m->peers[1 - m->self] : NULL;
}

bool lease_sole(const struct lease *m)
{
	return m->owns && m->until == LEASE_FOREVER;
}

static bool owns_now(const struct lease *m, uint64_t now)
{
	return m->owns && now < m->until;
}

/* The owner is there, and is so without our grant. One that has asked us once counts only as long
 * as we promised: it may hang. */
static bool served(const struct lease *m)
{
	return m->serving != LEASE_NOBODY && !m->leased;
}

/* Somebody else owns, or may. */
static bool bound(const struct lease *m, uint64_t now)
{
	return now < m->promised || served(m);
}

/* Without anybody's vote? */
static bool may_claim_alone(const struct lease *m)
{
	if (m->nodes == 1)
		return true;
	return m->nodes == 2 && (m->entitled || m->peers[1 - m->self].gone);
}

/* Would those who are there be enough, going by what they said when we met? They may have learnt
 * since: then the claim is refused. */
static bool claimable(const struct lease *m)
{
	uint32_t there = 1;

	if (may_claim_alone(m))
		return true;
	for (uint32_t i = 0; i < m->nodes; i++) {
		const struct lease_peer *p = &m->peers[i];

		if (i != m->self && p->met && copy_compare(p->copy, m->copy) <= 0)
			there++;
	}
	return there >= (blank(m) ? m->nodes : majority(m));
}

enum store_state lease_state(const struct lease *m, uint64_t now)
{
	if (owns_now(m, now))
		return STORE_OWNER;
	if (bound(m, now))
		return STORE_STANDBY;
	if (claimable(m))
		return STORE_VACANT;
	for (uint32_t i = 0; i < m->nodes; i++)
		if (m->peers[i].met)
			return STORE_STANDBY;
	return STORE_AWAY;
}

uint32_t lease_owner(const struct lease *m, uint64_t now)
{
	if (owns_now(m, now))
		return m->self;
	if (now < m->promised)
		return holder(m, m->epoch);
	return served(m) ? m->serving : LEASE_NOBODY;
}

uint32_t lease_needs(const struct lease *m)
{
	return lease_sole(m) ? 0 : majority(m) - 1;
}

uint64_t lease_due(const struct lease *m, uint64_t now)
{
	if (m->owns)
		return m->until;
	return now < m->promised ? m->promised : LEASE_FOREVER;
}

void lease_introduce(const struct lease *m, uint64_t now, struct lease_message *ret)
{
	*ret = (struct lease_message){.event = LEASE_MET, .epoch = m->epoch, .copy = m->copy};
	if (owns_now(m, now))
		ret->flags |= LEASE_IS_OWNER;
	if (lease_sole(m))
		ret->flags |= LEASE_IS_SOLE;
	if (blank(m))
		ret->flags |= LEASE_IS_BLANK;
	if (m->entitled)
		ret->flags |= LEASE_IS_ENTITLED;
}

/* ---- steps that several events take ---------------------------------------- */

static struct lease_message *say(struct lease *m, struct lease_output *out, enum lease_event event,
				 uint32_t node)
{
	struct lease_message *s = &out->sends[out->count++];

	*s = (struct lease_message){.event = event, .node = node, .epoch = m->epoch};
	return s;
}

static void refuse(struct lease *m, struct lease_output *out, const struct lease_message *in)
{
	struct lease_message *s = say(m, out, LEASE_REFUSE, in->node);

	if (in->event != LEASE_CLAIM)
		return;
	/* hearsay is good enough for the number of the next claim, not to take a lease away */
	s->flags = LEASE_IS_HEARSAY;
	if (m->seen > m->epoch)
		s->epoch = m->seen;
}

static void see(struct lease *m, uint32_t epoch)
{
	if (epoch > m->seen)
		m->seen = epoch;
}

static void drop_claim(struct lease *m)
{
	m->claim = 0;
	for (uint32_t i = 0; i < m->nodes; i++)
		m->peers[i].voted = false;
}

static void promise(struct lease *m, uint64_t now, uint64_t lease_ns)
{
	uint64_t until;

	if (lease_ns > LEASE_NS_MAX)
		lease_ns = LEASE_NS_MAX;
	until = now + lease_ns + lease_ns * STORE_SKEW_PERCENT / 100;
	if (until > m->promised)
		m->promised = until;
}

static void lose(struct lease *m)
{
	m->owns = false;
	m->vouched = false;
	m->until = 0;
	for (uint32_t i = 0; i < m->nodes; i++)
		m->peers[i].holds = m->peers[i].synced = false;
}

/* Somebody else's epoch, not below ours. */
static void take_epoch(struct lease *m, uint32_t epoch)
{
	if (m->owns)
		lose(m);
	drop_claim(m);
	m->wants = false;
	see(m, epoch);
	for (uint32_t i = 0; i < m->nodes; i++)
		m->peers[i].gone = false;
	if (epoch > m->epoch) {
		m->epoch = epoch;
		m->entitled = false;
		m->leased = false;
		m->serving = LEASE_NOBODY;
	}
}

static void own(struct lease *m, uint32_t epoch, uint64_t until)
{
	for (uint32_t i = 0; i < m->nodes; i++) {
		struct lease_peer *p = &m->peers[i];

		p->holds = p->synced = false;
		if (!p->voted) /* a grant of an earlier ownership */
			p->granted = 0;
	}
	drop_claim(m);
	m->wants = false;
	m->epoch = epoch;
	see(m, epoch);
	m->serving = LEASE_NOBODY;
	m->promised = 0;
	m->entitled = false;
	m->copy = (struct lease_copy){.epoch = epoch};
	m->leased = false;
	m->owns = true;
	m->until = until;
	/* It voted for this epoch, handed it over, or its grant was ours to outlive: it has granted
	 * nothing in this epoch, so it cannot claim. */
	if (other(m)) {
		other(m)->harmless = true;
		m->until = LEASE_FOREVER;
	}
}

static void ask(struct lease *m, struct lease_output *out, uint64_t now, uint32_t node)
{
	struct lease_message *s = say(m, out, LEASE_ASK, node);

	s->stamp = now;
	s->lease_ns = m->lease_ns;
	m->peers[node].harmless = m->peers[node].gone = false;
}

/* Two nodes: only one who could take over is asked, for its yes makes it somebody who may. */
static bool to_be_asked(const struct lease *m, uint32_t node)
{
	const struct lease_peer *p = &m->peers[node];

	return node != m->self && p->met && (m->nodes > 2 || p->holds);
}

static void ask_all(struct lease *m, struct lease_output *out, uint64_t now)
{
	for (uint32_t i = 0; i < m->nodes; i++)
		if (to_be_asked(m, i))
			ask(m, out, now, i);
}

/* From sole to leased, when enough others have everything. The first question is what ends it, so
 * the lease is counted from now on. */
static void share(struct lease *m, struct lease_output *out, uint64_t now)
{
	uint32_t synced = 0;

	for (uint32_t i = 0; i < m->nodes; i++)
		synced += m->peers[i].synced;
	if (!lease_sole(m) || m->nodes == 1 || synced + 1 < majority(m))
		return;
	m->vouched = false;
	m->until = now + m->lease_ns;
	ask_all(m, out, now);
}

/* The end of the lease that enough others agree to: 0 if not enough have. */
static uint64_t agreed(const struct lease *m, bool votes)
{
	uint64_t stamps[LEASE_NODES_MAX] = {0};
	uint32_t count = 0, counted = blank(m) ? 0 : 1;
	uint32_t need = majority(m) - 1;

	for (uint32_t i = 0; i < m->nodes; i++) {
		const struct lease_peer *p = &m->peers[i];
		uint32_t at = count;

		if (i == m->self || p->granted == 0 || (votes && !p->voted))
			continue;
		for (; at > 0 && stamps[at - 1] < p->granted; at--)
			stamps[at] = stamps[at - 1];
		stamps[at] = p->granted;
		count++;
		counted += !p->blank;
	}
	if (votes && counted < majority(m)) /* the word of the blank: all or nothing */
		need = m->nodes - 1;
	if (count < need)
		return 0;
	return need == 0 ? LEASE_FOREVER : stamps[need - 1] + m->lease_ns;
}

/* For votes. */
static void call(struct lease *m, struct lease_output *out, uint64_t now, uint32_t flags)
{
	for (uint32_t i = 0; i < m->nodes; i++) {
		struct lease_message *s;

		if (i == m->self || !m->peers[i].met)
			continue;
		s = say(m, out, LEASE_CLAIM, i);
		s->epoch = m->claim;
		s->flags = flags;
		s->stamp = now;
		s->lease_ns = m->lease_ns;
		s->copy = m->copy;
	}
}

static void claim(struct lease *m, struct lease_output *out, uint64_t now)
{
	uint32_t epoch = next_epoch(m, m->self);

	if (epoch == 0)
		return;
	if (may_claim_alone(m)) {
		own(m, epoch, LEASE_FOREVER);
		return;
	}
	if (epoch != m->claim) {
		drop_claim(m);
		m->claim = epoch;
	}
	call(m, out, now, 0);
}

/* The other one of two cannot claim without us: nobody's grant is needed. */
static void harmless(struct lease *m)
{
	if (!other(m))
		return;
	other(m)->harmless = true;
	if (m->owns)
		m->until = LEASE_FOREVER;
}

/* That node is there and owns `epoch`. */
static void follow(struct lease *m, const struct lease_message *in)
{
	if (in->epoch < m->epoch || holder(m, in->epoch) != in->node || in->epoch == 0)
		return;
	take_epoch(m, in->epoch);
	m->serving = in->node;
	if (in->flags & LEASE_IS_SOLE) { /* it may have committed what we do not have */
		m->copy = (struct lease_copy){0};
		m->entitled = false;
		m->leased = false;
	}
}

/* ---- events ------------------------------------------------------------------ */

static void on_ask(struct lease *m, const struct lease_message *in, uint64_t now,
		   struct lease_output *out)
{
	struct lease_message *s;

	if (in->epoch < m->epoch || holder(m, in->epoch) != in->node) {
		refuse(m, out, in);
		return;
	}
	take_epoch(m, in->epoch);
	promise(m, now, in->lease_ns);
	m->leased = true;
	m->entitled = m->nodes == 2 && m->copy.epoch == m->epoch;
	s = say(m, out, LEASE_GRANT, in->node);
	s->stamp = in->stamp;
	s->clock = now;
}

static void on_grant(struct lease *m, const struct lease_message *in, uint64_t now)
{
	struct lease_peer *p = &m->peers[in->node];
	uint64_t until;

	if (!m->owns || in->epoch != m->epoch || in->stamp > now)
		return;
	if (in->clock > p->heard_clock) {
		p->heard_clock = in->clock;
	}
	if (in->stamp > p->granted)
		p->granted = in->stamp;
	until = agreed(m, false);
	if (!lease_sole(m) && until > m->until)
		m->until = until;
}

static void on_refuse(struct lease *m, const struct lease_message *in)
{
	see(m, in->epoch);
	/* a promise above us exists: whose it is we do not know, so it may be an owner's */
	if (m->owns && in->epoch > m->epoch && !(in->flags & LEASE_IS_HEARSAY))
		lose(m);
}

/* Of two who claim at once: the newer copy, then the lower name. */
static bool claims_better(const struct lease *m, const struct lease_message *in)
{
	int c = copy_compare(m->copy, in->copy);

	return m->claim != 0 && (c > 0 || (c == 0 && m->self < in->node));
}

static void on_claim(struct lease *m, const struct lease_message *in, uint64_t now,
		     struct lease_output *out)
{
	bool ours = in->epoch == 0 || holder(m, in->epoch) != in->node;
	bool older = in->epoch < m->epoch || copy_compare(in->copy, m->copy) < 0;
	/* to the claimant itself we may have promised: an owner that lost its lease, or its own
	 * claim */
	bool promised = now < m->promised && holder(m, m->epoch) != in->node;
	bool other_serves = served(m) && m->serving != in->node;
	/* or to an owner that has given it to the claimant */
	bool handed = in->flags & LEASE_IS_HANDED && in->copy.epoch == m->epoch;
	struct lease_message *s;

	if (ours || older || (!handed && (promised || other_serves)) || m->owns ||
	    claims_better(m, in)) {
		refuse(m, out, in);
		return;
	}
	take_epoch(m, in->epoch);
	promise(m, now, in->lease_ns);
	s = say(m, out, LEASE_VOTE, in->node);
	s->stamp = in->stamp;
	s->clock = now;
	s->flags = blank(m) ? LEASE_IS_BLANK : 0;
}

static void on_vote(struct lease *m, const struct lease_message *in, uint64_t now)
{
	struct lease_peer *p = &m->peers[in->node];
	uint64_t until;

	if (m->claim == 0 || in->epoch != m->claim || in->stamp > now || bound(m, now))
		return;
	if (!p->voted || in->stamp > p->granted)
		p->granted = in->stamp;
	p->voted = true;
	p->blank = in->flags & LEASE_IS_BLANK;
	p->heard_clock = in->clock;
	until = agreed(m, true);
	if (until > now)
		own(m, m->claim, until);
}

/* The giver's vote, and its word that its lease is over. */
static void on_hand(struct lease *m, const struct lease_message *in, uint64_t now,
		    struct lease_output *out)
{
	bool whole = m->copy.epoch == m->epoch && holder(m, m->epoch) == in->node && !blank(m);
	struct lease_peer *giver = &m->peers[in->node];
	uint64_t until;

	if (m->owns || in->epoch <= m->epoch || holder(m, in->epoch) != m->self || !whole ||
	    in->stamp > now) {
		refuse(m, out, in);
		return;
	}
	m->promised = 0;
	m->serving = LEASE_NOBODY;
	m->leased = m->entitled = false;
	drop_claim(m);
	m->claim = in->epoch;
	giver->voted = true;
	giver->blank = false;
	giver->granted = in->stamp;
	until = agreed(m, true);
	if (m->nodes == 2 || until > now)
		own(m, in->epoch, until);
	else
		call(m, out, now, LEASE_IS_HANDED);
}

static void on_met(struct lease *m, const struct lease_message *in)
{
	struct lease_peer *p = &m->peers[in->node];

	p->met = true;
	p->holds = p->synced = false;
	p->copy = in->copy;
	p->heard_clock = 0;
	if (m->serving == in->node)
		m->serving = LEASE_NOBODY;
	see(m, in->epoch);
	if (in->flags & LEASE_IS_OWNER)
		follow(m, in);
	if (!m->owns)
		return;
	if (in->epoch > m->epoch) {
		lose(m);
		return;
	}
	/* It may have granted what never reached us. If not, it came on a new connection, and no
	 * question of the old one can reach it any more. */
	if (!(in->flags & LEASE_IS_ENTITLED) || in->epoch < m->epoch)
		harmless(m);
	p->holds = !lease_sole(m) && in->copy.epoch == m->epoch;
}

static void on_goodbye(struct lease *m, const struct lease_message *in)
{
	see(m, in->epoch);
	if (in->flags & LEASE_IS_OWNER)
		follow(m, in);
	if (m->nodes != 2 || in->epoch > m->epoch || in->flags & LEASE_IS_OWNER)
		return;
	other(m)->gone = true;
	harmless(m);
}

static void on_parted(struct lease *m, uint32_t node)
{
	struct lease_peer *p = &m->peers[node];

	p->met = p->holds = p->synced = p->voted = false;
	if (m->serving == node)
		m->serving = LEASE_NOBODY;
}

static void on_synced(struct lease *m, const struct lease_message *in, uint64_t now,
		      struct lease_output *out)
{
	struct lease_peer *p = &m->peers[in->node];

	if (!m->owns || in->epoch != m->epoch || !p->met)
		return;
	p->holds = p->synced = true;
	p->copy = m->copy;
	if (lease_sole(m))
		share(m, out, now);
	else
		ask(m, out, now, in->node);
}

static int on_want(struct lease *m, uint64_t now, struct lease_output *out)
{
	if (bound(m, now))
		return -EAGAIN;
	if (!claimable(m))
		return blank(m) ? -EPERM : -EAGAIN;
	m->wants = true;
	claim(m, out, now);
	return 0;
}

static int on_alone(struct lease *m)
{
	uint32_t epoch = next_epoch(m, m->self);

	if (!m->owns) {
		if (epoch == 0)
			return -EAGAIN;
		own(m, epoch, LEASE_FOREVER);
	}
	for (uint32_t i = 0; i < m->nodes; i++) /* the others are told that they may not claim */
		m->peers[i].holds = m->peers[i].synced = false;
	harmless(m);
	m->vouched = m->nodes > 2;
	m->until = LEASE_FOREVER;
	return 0;
}

static int on_give(struct lease *m, uint32_t node, uint64_t now, struct lease_output *out)
{
	struct lease_peer *p = &m->peers[node];
	uint32_t epoch = next_epoch(m, node);

	if (!m->owns)
		return -EPERM;
	if (node == m->self || !p->synced || lease_sole(m) || epoch == 0)
		return -EAGAIN;
	if (p->heard_clock == 0) /* nothing to count its lease from */
		return -EAGAIN;
	take_epoch(m, epoch);
	promise(m, now, m->lease_ns);
	p->harmless = false;
	say(m, out, LEASE_HAND, node)->stamp = p->heard_clock;
	return 0;
}

static void on_beat(struct lease *m, uint64_t now, struct lease_output *out)
{
	if (m->owns && !lease_sole(m)) {
		ask_all(m, out, now);
	} else if (m->wants) {
		if (bound(m, now) || !claimable(m)) {
			m->wants = false;
			drop_claim(m);
		} else {
			claim(m, out, now);
		}
	}
}

int lease_step(struct lease *m, const struct lease_message *in, uint64_t now,
	       struct lease_output *out)
{
	out->count = 0;
	if (m->owns && !owns_now(m, now))
		lose(m);
	if (in->event < LEASE_WANT && in->event != LEASE_COPIED &&
	    (in->node >= m->nodes || in->node == m->self))
		return -EINVAL;
	switch (in->event) {
	case LEASE_ASK:
		on_ask(m, in, now, out);
		break;
	case LEASE_GRANT:
		on_grant(m, in, now);
		break;
	case LEASE_REFUSE:
		on_refuse(m, in);
		break;
	case LEASE_CLAIM:
		on_claim(m, in, now, out);
		break;
	case LEASE_VOTE:
		on_vote(m, in, now);
		break;
	case LEASE_HAND:
		on_hand(m, in, now, out);
		break;
	case LEASE_MET:
		on_met(m, in);
		break;
	case LEASE_SERVES:
		see(m, in->epoch);
		if (in->flags & LEASE_IS_OWNER)
			follow(m, in);
		else if (m->serving == in->node)
			m->serving = LEASE_NOBODY;
		break;
	case LEASE_PARTED:
		on_parted(m, in->node);
		break;
	case LEASE_GOODBYE:
		on_goodbye(m, in);
		break;
	case LEASE_SYNCED:
		on_synced(m, in, now, out);
		break;
	case LEASE_COPIED:
		if (in->copy.epoch == m->epoch)
			m->copy = in->copy;
		break;
	case LEASE_WANT:
		return m->owns ? 0 : on_want(m, now, out);
	case LEASE_ALONE:
		return on_alone(m);
	case LEASE_GIVE:
		return in->node < m->nodes ? on_give(m, in->node, now, out) : -EINVAL;
	case LEASE_BEAT:
		on_beat(m, now, out);
		break;
	case LEASE_TIME:
	case LEASE_EVENTS:
		break;
	}
	return 0;
}
