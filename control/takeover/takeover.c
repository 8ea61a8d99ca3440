/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Becoming the owner: every record gets a slot that lets nothing through, its peer is asked for the
 * byte that it expects next (T2), the socket is made again, the application gets it, and when all
 * of its protocols have said ready, traffic passes (T3).
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/clock.h"
#include "control/log.h"
#include "control/takeover/embryo.h"
#include "control/takeover/gate.h"
#include "control/takeover/ids.h"
#include "control/takeover/neighbour.h"
#include "control/takeover/node.h"
#include "control/takeover/point.h"
#include "control/takeover/restore.h"
#include "control/takeover/segment.h"

#define PROBE_FIRST_MS 20u
#define PROBE_LAST_MS  1000u
#define PROBE_BATCH    256
/* for connections of which no more than the end is wanting: peers that wait come before them */
#define ENDED_LATER_MS 50u
/* for a peer that does not answer, for a socket that cannot be made */
#define GIVE_UP_NS 120000000000ull
/* How far a peer's acknowledgement may lie beyond what the record says was sent: what could leave
 * between two of a record's refreshments. */
#define FOREIGN_BYTES (256u << 20)
/* Unknown segments after a takeover: a record may still be on its way to its slot, and a RST would
 * end what another node's connection was. */
#define UNKNOWN_NS 30000000000ull
/* Above what may have left: so much lies between the lives of a connection on one node, at least.
 */
#define TS_AHEAD_MS 1000u
#define DAY_MS      86400000u

/* Above whatever left after the record was written. If the nodes' clocks agree, the time that has
 * passed says how much that is; if they do not, then the records' lag, and the lease: so long an
 * owner goes on whose records reach the store no more. The clocks of the kernels themselves differ
 * by far less than the rest. */
static uint32_t timestamp(const struct node *n, const struct record *r)
{
	uint64_t now = clock_wall_ms(), elapsed = now > r->time_ms ? now - r->time_ms : 0;

	/* a jump of a day is harmless, one of 25 is a step back */
	if (elapsed > DAY_MS)
		elapsed = DAY_MS;
	return r->tsval + TS_AHEAD_MS + serve_lag_ms(n) + n->conf->takeover.lease + elapsed;
}

/* ---- slots --------------------------------------------------------------- */

static void fill_slot(const struct node *n, struct guard_slot *s, const struct record *r)
{
	s->in_commit = r->in_commit;
	s->facts = r->facts;
	s->out_foreign = gate_larger(r->out_max, r->out_acked) + FOREIGN_BYTES;
	s->out_max = r->out_acked;
	s->in_next = s->in_acked = r->in_commit;
	/* A kernel that gives no window opens it when something is read: of a restored connection
	 * there is nothing to read. */
	s->in_edge = gate_larger(r->in_edge, r->in_commit + GUARD_WINDOW_MIN);
	s->in_promise = r->in_edge;
	s->tsval = timestamp(n, r);
	s->last_ns = clock_boot_ns();
	s->out_acked = r->out_acked;
	s->in_max = r->in_commit;
	s->in_fin = r->flags & RECORD_PEER_ENDED ? r->in_commit - 1 : ~0ull;
	s->peer_tsval = r->peer_tsval;
	s->peer_window = r->peer_window;
}

static int take_slot(struct node *n, const struct record *r, uint32_t *ret)
{
	int err = guard_take(n->guard, ret);
	struct guard_slot *s;

	if (err)
		return err;
	s = &n->slots[*ret];
	fill_slot(n, s, r);
	__atomic_store_n(&s->mode, GUARD_PROBING, __ATOMIC_RELEASE);
	err = guard_publish(n->guard, *ret);
	if (err)
		guard_release(n->guard, *ret);
	return err;
}

/* ---- bundles ------------------------------------------------------------- */

/* What moves as one: the members of a bundle that are not served yet, or a connection alone. One
 * that is served has moved, or has joined since. */
struct group {
	struct conn *list[HF_BUNDLE_MAX];
	size_t count;
};

static void group_of(const struct node *n, struct conn *c, struct group *g)
{
	size_t all = 1;

	g->list[0] = c;
	if (c->record.bundle)
		all = conns_members(n->conns, c->record.bundle, g->list);
	g->count = 0;
	for (size_t i = 0; i < all; i++)
		if (g->list[i]->state != CONN_SERVING)
			g->list[g->count++] = g->list[i];
}

static void start_probe(struct node *n, struct conn *c)
{
	c->state = CONN_PROBING;
	c->asked_ns = clock_boot_ns();
	c->wait_ms = PROBE_FIRST_MS;
	c->due_ms = 0;
	n->unfinished++;
}

/* The application has ended it, and its peer had all but the FIN. */
static bool nearly_over(const struct record *r)
{
	return r->flags & RECORD_END_ALLOWED && !r->bundle && r->out_acked + 1 >= r->out_max;
}

static void wait_for_app(struct conn *c)
{
	c->state = CONN_WAITING;
	c->due_ms = c->asked_ns = 0;
	c->wait_ms = PROBE_FIRST_MS;
}

/* Without a word to its peer, whatever the socket is in the middle of. */
static void give_up_one(struct node *n, struct conn *c)
{
	char why[160];

	if (c->slot != CONN_NO_SLOT) {
		n->slots[c->slot].mode = GUARD_FROZEN;
		restore_clear(&n->slots[c->slot].facts.key, why, sizeof(why));
	}
	if (c->app)
		app_moved(c->app, c->number);
	c->app = NULL;
	n->last.lost++;
	n->counts.lost++;
	serve_finish(n, c);
}

/* And with it the others of its bundle (T5). */
static void give_up(struct node *n, struct conn *c, const char *why)
{
	struct group g;

	group_of(n, c, &g);
	log_warning("connection %016" PRIx64 " of '%s' is lost: %s", c->record.id,
		    c->record.service, why);
	if (g.count > 1)
		log_warning("%zu more of its bundle %016" PRIx64 " are lost with it", g.count - 1,
			    c->record.bundle);
	for (size_t i = 0; i < g.count; i++)
		give_up_one(n, g.list[i]);
}

struct left {
	struct ids_node node; /* first: what the table gives is one of these */
	SLIST_ENTRY(left) link;
};

struct begin {
	struct node *n;
	uint32_t failed;
	struct ids ids; /* bundles of which a member cannot go on here */
	SLIST_HEAD(, left) left;
};

/* A bundle of which there is no room for a member stays in the store whole. */
static void leave_bundle(struct begin *b, uint64_t bundle)
{
	struct left *left = malloc(sizeof(*left));
	struct conn *list[HF_BUNDLE_MAX];
	size_t count = conns_members(b->n->conns, bundle, list);

	if (left && !ids_add(&b->ids, &left->node, bundle))
		SLIST_INSERT_HEAD(&b->left, left, link);
	else
		free(left);
	for (size_t i = 0; i < count; i++) {
		if (list[i]->slot != CONN_NO_SLOT)
			guard_release(b->n->guard, list[i]->slot);
		conns_remove(b->n->conns, list[i]);
		b->n->unfinished--;
		b->failed++;
	}
}

static void begin_fini(struct begin *b)
{
	struct left *left;

	while ((left = SLIST_FIRST(&b->left))) {
		SLIST_REMOVE_HEAD(&b->left, link);
		free(left);
	}
	ids_fini(&b->ids);
}

/* NULL: there is no room. */
static struct conn *adopt_conn(struct node *n, const struct record *r)
{
	uint32_t slot = CONN_NO_SLOT;
	struct conn *c;

	if (r->proto == IPPROTO_TCP && take_slot(n, r, &slot))
		return NULL;
	c = conns_add(n->conns, slot);
	if (c && !record_copy(r, &c->record) && (!r->bundle || !conns_join(n->conns, c)))
		return c;
	if (c)
		conns_remove(n->conns, c);
	if (slot != CONN_NO_SLOT)
		guard_release(n->guard, slot);
	return NULL;
}

/* The node that answered the SYN may have repeated its answer, and have said more since. */
static void adopt_embryo(struct node *n, const struct record *r)
{
	struct guard_facts facts = r->facts;
	uint64_t forgotten, ticket;

	facts.tsval = timestamp(n, r) + EMBRYO_LIFE_MS;
	guard_embryo(n->guard, &facts);
	embryos_add(n->embryos, &r->facts, r->id, clock_ms(), &forgotten);
	if (forgotten)
		store_delete(n->store, forgotten, &ticket);
}

static bool adopt(void *arg, const struct record *r)
{
	const struct guard_key *key = &r->facts.key;
	struct begin *b = arg;
	struct node *n = b->n;
	struct conn *c;

	/* before its application listens here, too: an unguarded port would answer with a RST */
	if (r->proto == IPPROTO_TCP && *r->service)
		n->wanted |= apps_service_bit(r->service);
	if (r->proto == IPPROTO_TCP)
		points_add(n->points, &key->local, key->local_port, false, r->service);
	if (r->flags & RECORD_EMBRYO) {
		adopt_embryo(n, r);
		return true;
	}
	n->last.records++;
	c = r->bundle && ids_find(&b->ids, r->bundle) ? NULL : adopt_conn(n, r);
	if (!c) {
		b->failed++;
		if (r->bundle && !ids_find(&b->ids, r->bundle))
			leave_bundle(b, r->bundle);
		return true;
	}
	if (r->proto == IPPROTO_TCP) {
		start_probe(n, c);
		if (nearly_over(r))
			c->due_ms = clock_ms() + ENDED_LATER_MS;
	} else {
		wait_for_app(c);
		n->unfinished++;
	}
	return true;
}

void takeover_fence(struct node *n)
{
	__atomic_store_n(&n->fence->unknown_until_ns, clock_boot_ns() + UNKNOWN_NS,
			 __ATOMIC_RELEASE);
}

void takeover_begin(struct node *n)
{
	const struct conf_takeover *t = &n->conf->takeover;
	struct begin b = {.n = n};

	memset(&n->last, 0, sizeof(n->last));
	n->last.began_ns = clock_boot_ns();
	store_each(n->store, adopt, &b);
	begin_fini(&b);
	if (n->last.records)
		n->counts.takeovers++;
	n->last.lost += b.failed;
	n->counts.lost += b.failed;
	if (b.failed)
		log_error("%u connections cannot go on here: no slot or no memory for them; raise "
			  "max-connections",
			  b.failed);
	if (neighbours_ask_again(n->netlink, n->ifindex))
		log_debug("neighbours cannot be listed");
	node_announce(n);
	n->last.announced_ns = clock_boot_ns();
	log_info("owner of '%s', epoch %u: %u connections to take over", t->group, n->status.epoch,
		 n->last.records);
	takeover_probe(n, clock_ms());
	takeover_deliver(n);
}

/* ---- probes ---------------------------------------------------------------- */

static void fill_probe(struct node *n, struct conn *c, struct segment *g)
{
	struct guard_slot *s = &n->slots[c->slot];

	s->tsval++;
	*g = (struct segment){
		.facts = &s->facts,
		.seq = s->out_acked -
		       1, /* an old octet: it is answered with what is expected next */
		.ack = s->in_commit,
		.edge = s->in_edge,
		.tsval = s->tsval,
		.tsecr = s->peer_tsval,
		.octets = 1,
	};
}

static void put_off(struct conn *c, uint64_t now_ms)
{
	c->due_ms = now_ms + c->wait_ms;
	c->wait_ms = 2 * c->wait_ms < PROBE_LAST_MS ? 2 * c->wait_ms : PROBE_LAST_MS;
}

static void send_probes(struct node *n, const struct segment *list, size_t *count)
{
	if (*count)
		segment_send(n->sender, list, *count);
	n->counts.probes += *count;
	*count = 0;
}

uint32_t takeover_probe(struct node *n, uint64_t now_ms)
{
	struct segment list[PROBE_BATCH];
	uint64_t now_ns = clock_boot_ns();
	uint32_t cursor = 0, next = 0;
	size_t count = 0;
	struct conn *c;

	while ((c = conns_next(n->conns, &cursor))) {
		if (c->state == CONN_PROBING && now_ns - c->asked_ns > GIVE_UP_NS) {
			send_probes(n, list, &count); /* their slots may be given up with it */
			give_up(n, c, "its peer did not answer");
			continue;
		}
		if (c->state == CONN_PROBING && now_ms >= c->due_ms) {
			fill_probe(n, c, &list[count++]);
			put_off(c, now_ms);
		}
		/* a delivery that is to be tried again is due then, too */
		if (c->state != CONN_SERVING && c->due_ms) {
			uint32_t wait = c->due_ms > now_ms ? c->due_ms - now_ms : 1;

			if (!next || wait < next)
				next = wait;
		}
		if (count == PROBE_BATCH)
			send_probes(n, list, &count);
	}
	send_probes(n, list, &count);
	return next;
}

/* ---- sockets ---------------------------------------------------------------- */

static void deliver(struct node *n, struct conn *c);

static int make(struct node *n, struct conn *c, char *why, size_t len)
{
	struct guard_slot *s = &n->slots[c->slot];
	bool ended = c->record.flags & RECORD_PEER_ENDED;
	struct restore_spec spec = {
		.facts = &s->facts,
		.tools = n->tools,
		.in_next = s->in_commit - (ended ? 1 : 0),
		.out_next = s->out_acked,
		.in_edge = gate_larger(s->in_edge, s->in_commit + GUARD_WINDOW_MIN),
		.tsval = s->tsval,
		.peer_tsval = s->peer_tsval,
		.peer_window = s->peer_window,
		.peer_ended = ended,
	};
	int ret = restore_tcp(&spec, &c->fd, why, len);

	/* its orphan of an earlier life on this node */
	if (ret == -EADDRINUSE && !restore_clear(&s->facts.key, why, len))
		ret = restore_tcp(&spec, &c->fd, why, len);
	return ret;
}

void takeover_probed(struct node *n, struct conn *c)
{
	struct guard_slot *s;
	uint64_t began = clock_boot_ns();
	char why[160];

	if (c->state != CONN_PROBING)
		return;
	s = &n->slots[c->slot];
	s->out_max = s->out_acked;
	s->in_window = GUARD_WINDOW_MIN;
	/* what we send and what the kernel sends from here on is of one clock */
	s->tsval = serve_tsval(s) + 1;
	if (make(n, c, why, sizeof(why))) {
		give_up(n, c, why);
		return;
	}
	s->last_ns =
		clock_boot_ns(); /* not before the kernel's clock was set: it must not lie behind */
	__atomic_store_n(&s->mode, GUARD_UNREADY, __ATOMIC_RELEASE);
	c->record.out_acked = c->record.out_max = s->out_acked;
	wait_for_app(c);
	n->last.restored++;
	n->counts.restored++;
	n->last.restored_ns = clock_boot_ns();
	n->last.restore_ns += n->last.restored_ns - began;
	deliver(n, c);
}

/* Its peer has sent what the handshake allows: it was seen, so there is nothing to ask. */
void takeover_fresh(struct node *n, const struct guard_event *e)
{
	struct conn *c = conns_add(n->conns, e->slot);

	if (!c) {
		guard_release(n->guard, e->slot);
		return;
	}
	n->counts.opened++;
	serve_name(n, c, &e->facts);
	start_probe(n, c);
	serve_put(n, c);
	takeover_probed(n, c);
}

/* ---- applications ------------------------------------------------------------ */

/* It ended before its bundle could go on: there is nothing to hand over, but its FIN has to leave
 * with the others. */
static bool over(const struct conn *c)
{
	return c->state == CONN_UNREADY && !c->app && c->end_said;
}

/* All of them are there, and an application for each. */
static bool complete(const struct node *n, const struct group *g,
		     struct app *apps[static HF_BUNDLE_MAX])
{
	uint64_t now = clock_ms();

	for (size_t i = 0; i < g->count; i++) {
		struct conn *c = g->list[i];

		apps[i] = over(c) ? NULL : apps_find(n->apps, c->record.service);
		if (!over(c) && (c->state != CONN_WAITING || now < c->due_ms || !apps[i]))
			return false;
	}
	return true;
}

/* It is tried again after a while; what goes with it waits, too. */
static void fail_delivery(struct node *n, struct conn *c, const char *why)
{
	uint64_t now = clock_boot_ns();

	if (!c->asked_ns) {
		log_warning("connection %016" PRIx64 " of '%s' waits%s: %s", c->record.id,
			    c->record.service, c->record.bundle ? ", its whole bundle with it" : "",
			    why);
		c->asked_ns = now;
	}
	if (now - c->asked_ns > GIVE_UP_NS)
		give_up(n, c, why);
	else
		put_off(c, clock_ms());
}

/* Before anything is handed over: it may fail, as other processes use UDP ports. */
static bool make_datagrams(struct node *n, const struct group *g)
{
	char why[160];

	for (size_t i = 0; i < g->count; i++) {
		struct conn *c = g->list[i];

		if (c->record.proto != IPPROTO_UDP || c->fd >= 0 || over(c) ||
		    !restore_udp(&c->record.facts.key, c->record.ttl, n->ifindex, &c->fd, why,
				 sizeof(why)))
			continue;
		fail_delivery(n, c, why);
		return false;
	}
	return true;
}

static int give(struct app *a, struct conn *c, unsigned int member, unsigned int members)
{
	bool ended = c->record.flags & RECORD_PEER_ENDED;
	struct app_restored m = {
		.sent = c->record.out_acked,
		.received = c->record.in_commit - (ended ? 1 : 0),
		.bundle = c->record.bundle,
		.member = member,
		.members = members,
		.flags = (c->record.flags & RECORD_CHECKPOINT ? 0 : APP_RESTORED_FRESH) |
			 (ended ? APP_RESTORED_PEER_ENDED : 0) |
			 (c->record.flags & RECORD_END_ALLOWED ? APP_RESTORED_ENDED : 0),
		.proto = c->record.proto,
		.key = c->record.facts.key,
	};
	/* app_restored() closes the one it gets; ours stays for wake() */
	int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	memcpy(m.from, c->record.node, sizeof(m.from));
	ret = app_restored(a, c->number, &m, c->record.protocols, c->record.protocol_count, fd);
	if (ret)
		return ret;
	c->app = a;
	c->ready = 0;
	c->state = CONN_UNREADY;
	return 0;
}

/* What was handed over already; the application may have used the sockets, so they are made anew.
 */
static void take_back(struct node *n, const struct group *g)
{
	for (size_t i = 0; i < g->count; i++) {
		struct conn *c = g->list[i];

		if (c->state != CONN_UNREADY || over(c))
			continue;
		if (c->app)
			app_moved(c->app, c->number);
		c->app = NULL;
		c->end_said = c->answer_end = false;
		serve_freeze(n, c);
	}
}

/* To its application, and with it the others of its bundle in their order: all or none. */
static void deliver(struct node *n, struct conn *c)
{
	struct app *apps[HF_BUNDLE_MAX];
	unsigned int member = 0, members = 0;
	struct group g;
	int ret;

	group_of(n, c, &g);
	if (!complete(n, &g, apps) || !make_datagrams(n, &g))
		return;
	for (size_t i = 0; i < g.count; i++)
		members += apps[i] != NULL;
	for (size_t i = 0; i < g.count; i++) {
		ret = apps[i] ? give(apps[i], g.list[i], member++, members) : 0;
		if (ret) {
			take_back(n, &g);
			fail_delivery(n, g.list[i], strerror(-ret));
			return;
		}
	}
}

static bool all_ready(const struct conn *c)
{
	uint32_t all = c->record.protocol_count ? (1u << c->record.protocol_count) - 1 : 1;

	return c->state == CONN_UNREADY && ((c->ready & all) == all || over(c));
}

/* What the application wrote until now was dropped on its way out; the kernel would try again after
 * a timeout, or at any word about Nagle's algorithm. */
static void wake(struct conn *c)
{
	int on = 1, before = 1;
	socklen_t len = sizeof(before);

	if (c->fd >= 0 && c->record.proto == IPPROTO_TCP) {
		getsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &before, &len);
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (!before)
			setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &before, sizeof(before));
	}
	conn_close(c);
}

static void go(struct node *n, struct conn *c)
{
	struct guard_slot *s;

	c->state = CONN_SERVING;
	n->unfinished--;
	n->last.ready++;
	n->last.ready_ns = clock_boot_ns();
	if (c->slot != CONN_NO_SLOT) {
		s = &n->slots[c->slot];
		__atomic_store_n(&s->mode, GUARD_ACTIVE, __ATOMIC_RELEASE);
	}
	wake(c);
	serve_push(n, c);
	serve_put(n, c); /* under this ownership's epoch, from this node */
}

/* If all that move with it are ready. */
static void go_together(struct node *n, struct conn *c)
{
	struct group g;

	group_of(n, c, &g);
	for (size_t i = 0; i < g.count; i++)
		if (!all_ready(g.list[i]))
			return;
	for (size_t i = 0; i < g.count; i++)
		go(n, g.list[i]);
}

void takeover_ready(struct node *n, struct conn *c, uint32_t protocol)
{
	if (c->state != CONN_UNREADY)
		return;
	if (!protocol || !c->record.protocol_count)
		c->ready = ~0u;
	for (uint32_t i = 0; i < c->record.protocol_count; i++)
		if (c->record.protocols[i].protocol == protocol)
			c->ready |= 1u << i;
	if (all_ready(c))
		go_together(n, c);
}

void takeover_deliver(struct node *n)
{
	uint64_t now = clock_ms();
	uint32_t cursor = 0;
	struct conn *c;

	while (n->owner && (c = conns_next(n->conns, &cursor))) {
		if (c->state == CONN_UNREADY && c->record.bundle)
			go_together(n, c); /* one that was not ready may have ended */
		if ((c->state != CONN_WAITING && c->state != CONN_ORPHAN) || now < c->due_ms)
			continue;
		c->due_ms = 0;
		if (c->state == CONN_WAITING)
			deliver(n, c);
		else if (apps_find(n->apps, c->record.service))
			takeover_again(n, c);
	}
}

void takeover_refused(struct node *n, struct conn *c)
{
	struct group g;

	group_of(n, c, &g);
	log_warning("'%s' does not take connection %016" PRIx64
		    ": the others of its bundle wait with it",
		    c->record.service, c->record.id);
	take_back(n, &g);
	c->due_ms = clock_ms() + PROBE_LAST_MS;
	node_probe_soon(n);
}

void takeover_again(struct node *n, struct conn *c)
{
	char why[160];

	if (c->slot == CONN_NO_SLOT) {
		wait_for_app(c);
		n->unfinished++;
		deliver(n, c);
		return;
	}
	restore_clear(&n->slots[c->slot].facts.key, why, sizeof(why));
	n->slots[c->slot].out_foreign = n->slots[c->slot].out_max;
	n->slots[c->slot].in_next = n->slots[c->slot].in_acked;
	n->slots[c->slot].probed = 0;
	__atomic_store_n(&n->slots[c->slot].mode, GUARD_PROBING, __ATOMIC_RELEASE);
	start_probe(n, c);
	node_probe_soon(n);
}
