/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "tests/unit/lease_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/takeover/lease.h"

#define NODES   LEASE_NODES_MAX
#define LEASE   LEASE_WORLD_LEASE_US
#define BEAT    (LEASE / 4)
#define TROUBLE (60ull * LEASE) /* how long a schedule makes trouble */
#define NONE    UINT64_MAX

/* ---- what a node holds: writes, each on top of an earlier one ---------------- */

struct write {
	const struct write *below;
	struct write *next; /* of the world, to be freed */
	uint32_t depth;
};

static bool holds(const struct write *top, const struct write *w)
{
	while (top && top->depth > w->depth)
		top = top->below;
	return top == w;
}

/* ---- network ----------------------------------------------------------------- */

enum kind { LEASE_KIND, BEGIN_KIND, PUT_KIND, END_KIND, ACK_KIND, BYE_KIND };

struct packet {
	struct packet *next;
	uint64_t at;
	uint32_t from, to, link; /* number of the connection */
	enum kind kind;
	struct lease_message m;
	uint32_t epoch;
	uint64_t seq;
	const struct write *content;
};

struct node {
	struct lease m;
	bool up;
	uint64_t boot;   /* offset of its clock */
	uint64_t beat;   /* next heartbeat */
	uint64_t frozen; /* it sees nothing until then */
	uint64_t want;   /* it will claim then */
	uint64_t write;  /* it will put then */
	const struct write *content;
	uint64_t seq; /* owner: of its writes */
	uint64_t acked[NODES];
	bool streaming[NODES]; /* owner: to that node, since BEGIN */
	bool copying;          /* standby: END is to come */
	uint64_t ended[NODES]; /* owner: seq at END */
	bool was_owner, was_sole;
	uint32_t was_epoch;
};

struct pair {
	bool up;
	bool cut; /* does not come up */
	uint32_t link;
	uint64_t last[2]; /* in order: no packet arrives before the last one of that direction */
};

struct world {
	uint32_t nodes;
	uint64_t now, rng;
	bool calm, verbose;
	struct node node[NODES];
	struct pair pair[NODES][NODES]; /* [lower][higher] */
	struct packet *packets;
	struct write *writes;
	const struct write *durable; /* the newest that another node held when it was committed */
	uint32_t links;
	struct lease_world_result *result;
};

static uint64_t rnd(struct world *w, uint64_t below)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return (w->rng * 0x2545f4914f6cdd1du >> 33) % below;
}

static struct pair *pair_of(struct world *w, uint32_t a, uint32_t b)
{
	return a < b ? &w->pair[a][b] : &w->pair[b][a];
}

static uint64_t clock_of(const struct world *w, uint32_t n)
{
	return w->now + w->node[n].boot;
}

static void violate(struct world *w, const char *what, uint32_t a, uint32_t b)
{
	if (w->result->violation[0] == 0)
		snprintf(w->result->violation, sizeof(w->result->violation),
			 "%s (nodes %u and %u, at %llu us)", what, a, b,
			 (unsigned long long)w->now);
}

static void post(struct world *w, uint32_t from, uint32_t to, const struct packet *what)
{
	struct pair *pair = pair_of(w, from, to);
	struct packet *p;
	uint64_t delay = 50 + rnd(w, 200);

	if (!pair->up)
		return;
	if (!w->calm && rnd(w, 20) == 0)
		delay += rnd(w, LEASE * 2);
	p = calloc(1, sizeof(*p));
	*p = *what;
	p->from = from;
	p->to = to;
	p->link = pair->link;
	p->at = w->now + delay;
	if (p->at <= pair->last[from > to])
		p->at = pair->last[from > to] + 1;
	pair->last[from > to] = p->at;
	p->next = w->packets;
	w->packets = p;
}

static void post_lease(struct world *w, uint32_t from, const struct lease_message *m)
{
	struct packet p = {.kind = LEASE_KIND, .m = *m};
	struct pair *pair = pair_of(w, from, m->node);
	int copies = 1;

	if (!w->calm && m->event <= LEASE_HAND) {
		if (rnd(w, 12) == 0)
			copies = 0;
		else if (rnd(w, 12) == 0)
			copies = 2;
	}
	while (copies-- > 0) {
		uint64_t last = pair->last[from > m->node];

		post(w, from, m->node, &p);
		/* a lease message may be overtaken; HAND keeps its place, for records precede it */
		if (!w->calm && m->event < LEASE_HAND && m->event != LEASE_ASK && rnd(w, 6) == 0)
			pair->last[from > m->node] = last;
	}
}

/* ---- a node ------------------------------------------------------------------ */

static void step(struct world *w, uint32_t n, const struct lease_message *in);

static void begin_copy(struct world *w, uint32_t n, uint32_t to)
{
	struct node *me = &w->node[n];
	struct packet p = {.kind = BEGIN_KIND};

	lease_introduce(&me->m, clock_of(w, n), &p.m);
	p.m.event = LEASE_SERVES;
	me->streaming[to] = true;
	me->acked[to] = 0;
	post(w, n, to, &p);
	p = (struct packet){
		.kind = END_KIND, .epoch = me->m.epoch, .seq = me->seq, .content = me->content};
	me->ended[to] = me->seq;
	post(w, n, to, &p);
}

static void resign(struct world *w, uint32_t n, uint32_t to)
{
	struct packet p = {.kind = BEGIN_KIND};

	lease_introduce(&w->node[n].m, clock_of(w, n), &p.m);
	p.m.event = LEASE_SERVES;
	post(w, n, to, &p);
}

static void check(struct world *w, uint32_t n)
{
	for (uint32_t i = 0; i < w->nodes; i++)
		if (i != n && w->node[i].up &&
		    lease_state(&w->node[i].m, clock_of(w, i)) == STORE_OWNER)
			violate(w, "two owners", n, i);
}

/* Whoever became owner must have what was committed, if anybody has. */
static void check_content(struct world *w, uint32_t n)
{
	const struct write *d = w->durable;

	if (!d || holds(w->node[n].content, d))
		return;
	for (uint32_t i = 0; i < w->nodes; i++)
		if (w->node[i].up && w->node[i].m.copy.epoch != 0 && holds(w->node[i].content, d))
			violate(w, "a committed write is lost", n, i);
	w->durable = NULL; /* all who had it have lost their memory */
}

static void settle(struct world *w, uint32_t n)
{
	struct node *me = &w->node[n];
	bool owner = lease_state(&me->m, clock_of(w, n)) == STORE_OWNER;
	bool fresh = owner && (!me->was_owner || me->was_epoch != me->m.epoch);
	bool sole = owner && lease_sole(&me->m);

	if (owner)
		check(w, n);
	if (fresh) {
		if (w->verbose)
			printf("%8llu: node %u owns epoch %u%s\n", (unsigned long long)w->now, n,
			       me->m.epoch, sole ? ", sole" : "");
		w->result->ownerships++;
		check_content(w, n);
		me->seq = 0;
		me->write = w->now + rnd(w, BEAT);
		memset(me->streaming, 0, sizeof(me->streaming));
		memset(me->acked, 0, sizeof(me->acked));
		for (uint32_t i = 0; i < w->nodes; i++) {
			if (i == n || !me->m.peers[i].met)
				continue;
			begin_copy(w, n, i);
		}
	} else if (owner) {
		for (uint32_t i = 0; i < w->nodes; i++)
			if (i != n && me->m.peers[i].met &&
			    (!me->streaming[i] || (sole && !me->was_sole)))
				begin_copy(w, n, i);
	} else if (!owner && me->was_owner) {
		memset(me->streaming, 0, sizeof(me->streaming));
		me->write = NONE;
		for (uint32_t i = 0; i < w->nodes; i++)
			if (i != n && me->m.peers[i].met)
				resign(w, n, i);
	}
	me->was_owner = owner;
	me->was_sole = sole;
	me->was_epoch = me->m.epoch;
	if (lease_state(&me->m, clock_of(w, n)) == STORE_VACANT) {
		if (me->want == NONE && !me->m.wants)
			me->want = w->now + rnd(w, 2000);
	} else {
		me->want = NONE;
	}
}

static void step(struct world *w, uint32_t n, const struct lease_message *in)
{
	struct node *me = &w->node[n];
	struct lease_output out;
	bool owned = me->was_owner;

	lease_step(&me->m, in, clock_of(w, n), &out);
	w->result->steps++;
	if (owned != (lease_state(&me->m, clock_of(w, n)) == STORE_OWNER) || !owned)
		settle(w, n);
	for (size_t i = 0; i < out.count; i++)
		post_lease(w, n, &out.sends[i]);
	settle(w, n);
}

static void commit(struct world *w, uint32_t n)
{
	struct node *me = &w->node[n];
	uint32_t need = lease_needs(&me->m), count = 0;

	if (lease_state(&me->m, clock_of(w, n)) != STORE_OWNER || me->seq == 0 || need == 0)
		return;
	for (uint32_t i = 0; i < w->nodes; i++)
		count += i != n && me->acked[i] >= me->seq;
	if (count < need)
		return;
	if (w->durable != me->content) {
		w->durable = me->content;
		w->result->commits++;
	}
}

static void do_write(struct world *w, uint32_t n)
{
	struct node *me = &w->node[n];
	struct write *x = calloc(1, sizeof(*x));

	x->below = me->content;
	x->depth = me->content ? me->content->depth + 1 : 1;
	x->next = w->writes;
	w->writes = x;
	me->content = x;
	me->seq++;
	step(w, n,
	     &(struct lease_message){.event = LEASE_COPIED,
				     .copy = {.epoch = me->m.epoch, .seq = me->seq}});
	for (uint32_t i = 0; i < w->nodes; i++) {
		struct packet p = {
			.kind = PUT_KIND, .epoch = me->m.epoch, .seq = me->seq, .content = x};

		if (me->streaming[i])
			post(w, n, i, &p);
	}
	me->write = w->now + 1000 + rnd(w, BEAT);
}

static void ack(struct world *w, uint32_t n, uint32_t to, uint64_t seq)
{
	struct packet p = {.kind = ACK_KIND, .epoch = w->node[n].m.epoch, .seq = seq};

	post(w, n, to, &p);
}

static void take(struct world *w, uint32_t n, const struct packet *p)
{
	struct node *me = &w->node[n];

	me->content = p->content;
	step(w, n,
	     &(struct lease_message){.event = LEASE_COPIED,
				     .copy = {.epoch = p->epoch, .seq = p->seq}});
	ack(w, n, p->from, p->seq);
}

static void receive(struct world *w, const struct packet *p)
{
	uint32_t n = p->to;
	struct node *me = &w->node[n];
	struct lease_message m = p->m;
	bool of_epoch = p->epoch == me->m.epoch && !me->was_owner;

	m.node = p->from;
	switch (p->kind) {
	case LEASE_KIND:
		step(w, n, &m);
		/* what we said when the connection came up may be true no more */
		if (m.event == LEASE_MET && !me->was_owner)
			resign(w, n, p->from);
		break;
	case BEGIN_KIND:
		if (m.flags & LEASE_IS_OWNER)
			me->copying = true;
		step(w, n, &m);
		break;
	case END_KIND:
		me->copying = false;
		if (of_epoch)
			take(w, n, p);
		break;
	case PUT_KIND:
		/* during a copy it goes into that, and END counts it or it follows END */
		if (of_epoch && me->m.copy.epoch == p->epoch && me->m.copy.seq + 1 == p->seq)
			take(w, n, p);
		break;
	case ACK_KIND:
		if (me->was_owner && p->epoch == me->m.epoch) {
			if (p->seq > me->acked[p->from])
				me->acked[p->from] = p->seq;
			if (p->seq >= me->ended[p->from] && me->streaming[p->from] &&
			    !me->m.peers[p->from].synced)
				step(w, n,
				     &(struct lease_message){.event = LEASE_SYNCED,
							     .node = p->from,
							     .epoch = p->epoch});
			commit(w, n);
		}
		break;
	case BYE_KIND:
		step(w, n, &m);
		break;
	}
}

/* ---- trouble ------------------------------------------------------------------ */

static void part(struct world *w, uint32_t a, uint32_t b)
{
	struct pair *pair = pair_of(w, a, b);
	uint32_t ends[2] = {a, b};

	if (!pair->up)
		return;
	pair->up = false;
	for (int i = 0; i < 2; i++) {
		struct lease_message m = {.event = LEASE_PARTED, .node = ends[1 - i]};

		w->node[ends[i]].streaming[ends[1 - i]] = false;
		w->node[ends[i]].acked[ends[1 - i]] = 0;
		if (w->node[ends[i]].up)
			step(w, ends[i], &m);
	}
}

static void meet(struct world *w, uint32_t a, uint32_t b)
{
	struct pair *pair = pair_of(w, a, b);
	uint32_t ends[2] = {a, b};
	struct lease_message hello[2];

	pair->up = true;
	pair->link = ++w->links;
	pair->last[0] = pair->last[1] = w->now;
	for (int i = 0; i < 2; i++) {
		lease_introduce(&w->node[ends[i]].m, clock_of(w, ends[i]), &hello[i]);
		hello[i].node = ends[1 - i];
	}
	for (int i = 0; i < 2; i++)
		post_lease(w, ends[i], &hello[i]);
}

static void boot(struct world *w, uint32_t n)
{
	struct node *me = &w->node[n];

	*me = (struct node){
		.up = true, .boot = rnd(w, 1u << 30) + LEASE, .want = NONE, .write = NONE};
	lease_init(&me->m, w->nodes, n, LEASE);
	me->beat = w->now + rnd(w, BEAT);
}

static void crash(struct world *w, uint32_t n)
{
	if (w->verbose)
		printf("%8llu: node %u crashes\n", (unsigned long long)w->now, n);
	w->node[n].up = false;
	w->node[n].was_owner = false;
	for (uint32_t i = 0; i < w->nodes; i++)
		if (i != n)
			part(w, n, i);
}

/* Says goodbye where it can, and ends. */
static void leave(struct world *w, uint32_t n)
{
	struct packet p = {.kind = BYE_KIND};

	lease_introduce(&w->node[n].m, clock_of(w, n), &p.m);
	p.m.event = LEASE_GOODBYE;
	for (uint32_t i = 0; i < w->nodes; i++) {
		struct pair *pair = pair_of(w, n, i);

		if (i == n || !pair->up || w->node[i].frozen > w->now || rnd(w, 4) == 0)
			continue;
		/* all that was said before, then this; nothing is left in the network */
		struct lease_message m = p.m;

		m.node = n;
		if (pair->last[n > i] <= w->now && w->node[i].m.peers[n].met)
			step(w, i, &m);
	}
	crash(w, n);
}

static void give(struct world *w, uint32_t n)
{
	struct node *me = &w->node[n];
	struct lease_message m = {.event = LEASE_GIVE, .node = (uint32_t)rnd(w, w->nodes)};

	/* everything committed */
	if (m.node == n || me->acked[m.node] < me->seq || !me->m.peers[m.node].synced)
		return;
	step(w, n, &m);
}

static void alone(struct world *w, uint32_t n)
{
	for (uint32_t i = 0; i < w->nodes; i++)
		if (i != n && w->node[i].up)
			return; /* the operator would lie */
	step(w, n, &(struct lease_message){.event = LEASE_ALONE});
}

static void trouble(struct world *w)
{
	uint32_t a = (uint32_t)rnd(w, w->nodes), b = (uint32_t)rnd(w, w->nodes);
	struct node *me = &w->node[a];

	switch (rnd(w, 16)) {
	case 0:
	case 1:
		if (me->up)
			crash(w, a);
		break;
	case 2:
		if (me->up)
			leave(w, a);
		break;
	case 3:
	case 4:
	case 5:
		if (!me->up)
			boot(w, a);
		break;
	case 6:
	case 7:
		if (a != b) {
			pair_of(w, a, b)->cut = true;
			part(w, a, b);
		}
		break;
	case 8:
	case 9:
	case 10:
		if (a != b)
			pair_of(w, a, b)->cut = false;
		break;
	case 11: /* the connection breaks and may come back at once */
		if (a != b)
			part(w, a, b);
		break;
	case 12:
		me->frozen = w->now + rnd(w, LEASE * 3);
		break;
	case 13:
	case 14:
		if (me->up && me->was_owner && me->frozen <= w->now)
			give(w, a);
		break;
	default:
		if (me->up && me->frozen <= w->now)
			alone(w, a);
		break;
	}
}

/* ---- the loop ----------------------------------------------------------------- */

static struct packet **next_packet(struct world *w)
{
	struct packet **best = NULL;

	for (struct packet **p = &w->packets; *p; p = &(*p)->next) {
		if (w->node[(*p)->to].frozen > (*p)->at)
			(*p)->at = w->node[(*p)->to].frozen + ((*p)->at & 63);
		if (!best || (*p)->at < (*best)->at)
			best = p;
	}
	return best;
}

static void deliver(struct world *w, struct packet **at)
{
	struct packet *p = *at;
	struct pair *pair = pair_of(w, p->from, p->to);

	*at = p->next;
	if (pair->up && pair->link == p->link && w->node[p->to].up)
		receive(w, p);
	free(p);
}

/* The next time at which that node does something by itself. */
static uint64_t node_time(const struct world *w, uint32_t n)
{
	const struct node *me = &w->node[n];
	uint64_t due = lease_due(&me->m, clock_of(w, n)), t = me->beat;

	if (!me->up)
		return NONE;
	if (due != LEASE_FOREVER && (me->was_owner || due > clock_of(w, n)) && due - me->boot < t)
		t = due - me->boot;
	if (me->want < t)
		t = me->want;
	if (me->write < t)
		t = me->write;
	if (t < w->now)
		t = w->now;
	return t < me->frozen ? me->frozen : t;
}

static void node_act(struct world *w, uint32_t n)
{
	struct node *me = &w->node[n];

	step(w, n, &(struct lease_message){.event = LEASE_TIME});
	if (me->want <= w->now) {
		me->want = NONE;
		step(w, n, &(struct lease_message){.event = LEASE_WANT});
	}
	if (me->write <= w->now) {
		if (me->was_owner)
			do_write(w, n);
		else
			me->write = NONE;
	}
	if (me->beat <= w->now) {
		me->beat = w->now + BEAT;
		step(w, n, &(struct lease_message){.event = LEASE_BEAT});
	}
}

static bool healed(struct world *w)
{
	uint32_t owners = 0, synced = 0;

	for (uint32_t n = 0; n < w->nodes; n++) {
		if (lease_state(&w->node[n].m, clock_of(w, n)) != STORE_OWNER)
			continue;
		owners++;
		for (uint32_t i = 0; i < w->nodes; i++)
			synced += w->node[n].m.peers[i].synced;
	}
	return owners == 1 && synced == w->nodes - 1;
}

static void calm_down(struct world *w)
{
	w->calm = true;
	for (uint32_t a = 0; a < w->nodes; a++) {
		w->node[a].frozen = 0;
		if (!w->node[a].up)
			boot(w, a);
		for (uint32_t b = a + 1; b < w->nodes; b++) {
			part(w, a, b); /* what was under way is lost: else it may take long */
			w->pair[a][b].cut = false;
		}
	}
}

void lease_world_run(uint32_t nodes, uint64_t seed, bool verbose, struct lease_world_result *ret)
{
	struct world *w = calloc(1, sizeof(*w));
	uint64_t next_trouble = LEASE / 2;

	*ret = (struct lease_world_result){.heal_us = NONE};
	w->nodes = nodes;
	w->rng = seed * 0x9e3779b97f4a7c15u + 0x1234567;
	w->verbose = verbose;
	w->result = ret;
	for (uint32_t n = 0; n < nodes; n++)
		boot(w, n);
	while (!ret->violation[0]) {
		struct packet **p = next_packet(w);
		uint64_t t = p ? (*p)->at : NONE;
		uint32_t who = nodes;

		for (uint32_t n = 0; n < nodes; n++) {
			if (node_time(w, n) < t) {
				t = node_time(w, n);
				who = n;
			}
		}
		if (!w->calm && next_trouble < t) {
			w->now = next_trouble;
			next_trouble = w->now + rnd(w, LEASE * 2);
			trouble(w);
		} else if (t == NONE) {
			w->now += BEAT;
		} else {
			w->now = t > w->now ? t : w->now;
			if (who < nodes)
				node_act(w, who);
			else
				deliver(w, p);
		}
		for (uint32_t a = 0; a < nodes; a++)
			for (uint32_t b = a + 1; b < nodes; b++)
				if (!w->pair[a][b].up && !w->pair[a][b].cut && w->node[a].up &&
				    w->node[b].up && rnd(w, 4) == 0)
					meet(w, a, b);
		if (!w->calm && w->now > TROUBLE)
			calm_down(w);
		if (w->calm && healed(w)) {
			ret->heal_us = w->now - TROUBLE;
			break;
		}
		if (w->now > TROUBLE + LEASE_WORLD_HEAL_MAX)
			break;
	}
	for (uint32_t n = 0; verbose && n < nodes; n++) {
		const struct lease *m = &w->node[n].m;

		printf("node %u: state %d epoch %u seen %u copy %u/%llu claim %u wants %d entitled "
		       "%d "
		       "leased %d serving %d promised %lld\n",
		       n, lease_state(m, clock_of(w, n)), m->epoch, m->seen, m->copy.epoch,
		       (unsigned long long)m->copy.seq, m->claim, m->wants, m->entitled, m->leased,
		       (int)m->serving, (long long)(m->promised - clock_of(w, n)));
	}
	while (w->packets) {
		struct packet *p = w->packets;

		w->packets = p->next;
		free(p);
	}
	while (w->writes) {
		struct write *x = w->writes;

		w->writes = x->next;
		free(x);
	}
	free(w);
}
