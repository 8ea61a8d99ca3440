/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The owner's work: connections come, applications commit, gates rise, connections end. */
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "control/addr.h"
#include "control/clock.h"
#include "control/log.h"
#include "control/takeover/commit.h"
#include "control/takeover/embryo.h"
#include "control/takeover/gate.h"
#include "control/takeover/node.h"
#include "control/takeover/point.h"
#include "control/takeover/restore.h"
#include "control/takeover/segment.h"

#define PUSH_BATCH 64
/* What a first flight needs and every kernel takes; the next segment tells more. */
#define SYN_WINDOW 14600u
#define LEFT_NS                                                                                    \
	150000000000ull  /* longer than an orphan's FIN is sent again (tcp_orphan_retries)         \
			  */
#define ENDING_MS 10000u /* the peer may still send its FIN again */
/* Our last acknowledgement may be lost, with this node: so long the record stays, that whoever
 * takes over can give it again. A peer that lacks it sends its FIN again after 200 ms and more. */
#define CLOSED_NS     1000000000ull
#define TSVAL_STALE   500   /* ms: less than what a new owner adds */
#define REFRESH_BATCH 2000u /* slots looked at in one tick */

static struct guard_slot *slot_of(const struct node *n, const struct conn *c)
{
	return c->slot == CONN_NO_SLOT ? NULL : &n->slots[c->slot];
}

static uint64_t new_id(void)
{
	uint64_t id = 0;

	while (!id)
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			id = 0;
	return id;
}

/* ---- records ------------------------------------------------------------ */

static void stamp(const struct node *n, struct record *r)
{
	memcpy(r->node, n->conf->id, sizeof(r->node));
	r->epoch = n->status.epoch;
	r->time_ms = clock_wall_ms();
}

/* What our kernel's clock of timestamps says: it goes on while nothing is sent, and the next owner
 * counts from the record's time on. The data plane writes the timestamp first and its time after
 * it; read the other way round, the two give no less than the clock. */
uint32_t serve_tsval(const struct guard_slot *s)
{
	uint64_t last = __atomic_load_n(&s->last_ns, __ATOMIC_ACQUIRE), now = clock_boot_ns();
	uint32_t tsval = __atomic_load_n(&s->tsval, __ATOMIC_RELAXED);

	return tsval + (last && now > last ? (uint32_t)((now - last) / 1000000) : 0);
}

uint32_t serve_lag_ms(const struct node *n)
{
	return TSVAL_STALE + NODE_TICK_MS * (n->conf->takeover.max_connections / REFRESH_BATCH + 2);
}

static void gather(const struct node *n, struct conn *c)
{
	const struct guard_slot *s = slot_of(n, c);
	struct record *r = &c->record;

	stamp(n, r);
	if (!s)
		return;
	r->in_acked = s->in_acked;
	r->in_edge = gate_larger(r->in_edge, gate_larger(s->in_edge, gate_kernel_edge(s)));
	r->out_max = s->out_max;
	r->out_acked = s->out_acked;
	r->tsval = serve_tsval(s);
	r->peer_tsval = s->peer_tsval;
	r->peer_window = s->peer_window;
}

static void answer_end(struct node *n, struct conn *c)
{
	struct guard_slot *s = slot_of(n, c);

	c->answer_end = false;
	if (s)
		s->flags |= GUARD_END_ALLOWED;
	if (c->app)
		app_ended(c->app, c->number);
}

void serve_put(struct node *n, struct conn *c)
{
	struct commit q = {
		.app_ticket = c->pending_ticket,
		.in_commit = c->pending_commit,
		.conn = c->number,
		.serial = c->serial,
		.end = c->answer_end,
	};

	gather(n, c);
	q.in_promise = c->record.in_edge;
	c->dirty = store_put(n->store, &c->record, &q.ticket) || !commits_push(n->commits, &q);
}

static void push(struct node *n, const struct segment *list, size_t count)
{
	if (!count)
		return;
	n->counts.pushed += count;
	segment_send(n->sender, list, count);
}

/* The peers may hear now that their connections have begun. */
static void answer_embryos(struct node *n, uint64_t ticket)
{
	struct guard_facts facts[PUSH_BATCH];
	struct segment list[PUSH_BATCH];
	size_t count;

	do {
		for (count = 0; count < PUSH_BATCH; count++) {
			struct guard_facts *f = &facts[count];

			if (!embryos_answer(n->embryos, ticket, f))
				break;
			list[count] = (struct segment){
				.facts = f,
				.seq = -1ull,
				.edge = SYN_WINDOW,
				.tsval = f->tsval,
				.tsecr = f->peer_tsval,
				.synack = true,
			};
		}
		if (count)
			segment_send(n->sender, list, count);
	} while (count == PUSH_BATCH);
}

void serve_push(struct node *n, const struct conn *c)
{
	const struct guard_slot *s = slot_of(n, c);
	struct segment g;

	if (!s || !gate_wants_push(s))
		return;
	gate_fill_push(s, &g);
	push(n, &g, 1);
}

/* False: nothing is new. */
static bool raise_gate(struct node *n, struct guard_slot *s, const struct commit *q)
{
	bool further = q->in_promise > s->in_promise, more = q->in_commit > s->in_commit;

	if (further)
		__atomic_store_n(&s->in_promise, q->in_promise, __ATOMIC_RELEASE);
	if (more)
		__atomic_store_n(&s->in_commit, q->in_commit, __ATOMIC_RELEASE);
	n->counts.commits += more;
	return further || more;
}

void serve_committed(struct node *n, uint64_t ticket)
{
	struct segment list[PUSH_BATCH];
	struct commit q;
	size_t count = 0;

	n->commit_ms = clock_ms();
	while (commits_pop(n->commits, ticket, &q)) {
		struct conn *c = conns_by_number(n->conns, q.conn);
		struct guard_slot *s;

		if (!c || c->serial != q.serial)
			continue;
		s = slot_of(n, c);
		if (s && raise_gate(n, s, &q) && gate_wants_push(s)) {
			gate_fill_push(s, &list[count++]);
			if (count == PUSH_BATCH) {
				push(n, list, count);
				count = 0;
			}
		}
		if (q.end && c->answer_end)
			answer_end(n, c);
		if (c->app && q.app_ticket)
			app_committed(c->app, c->number, q.app_ticket);
	}
	push(n, list, count);
	answer_embryos(n, ticket);
}

/* ---- the end of a connection --------------------------------------------- */

void serve_finish(struct node *n, struct conn *c)
{
	uint64_t ticket;

	if (c->state != CONN_SERVING && c->state != CONN_ORPHAN) {
		c->state = CONN_SERVING;
		n->unfinished--;
		/* others of its bundle may have waited for this one alone */
		node_probe_soon(n);
	}
	if (c->slot != CONN_NO_SLOT) {
		guard_release(n->guard, c->slot);
		conns_drop_slot(n->conns, c);
	}
	if (n->owner && c->record.id) {
		store_delete(n->store, c->record.id, &ticket);
		c->record.id = 0;
	}
	conn_close(c);
	if (!c->app)
		conns_remove(n->conns, c);
}

/* ---- what the data plane tells ------------------------------------------- */

static void on_embryo(struct node *n, const struct guard_event *e)
{
	const char *service = points_service(n->points, &e->facts.key);
	struct record r = {
		.id = new_id(),
		.proto = IPPROTO_TCP,
		.flags = RECORD_EMBRYO,
		.facts = e->facts,
		.tsval = e->facts.tsval,
		.peer_tsval = e->facts.peer_tsval,
	};
	uint64_t forgotten, ticket;

	snprintf(r.service, sizeof(r.service), "%s", service ? service : "");
	stamp(n, &r);
	if (store_put(n->store, &r, &ticket))
		return;
	embryos_add(n->embryos, &e->facts, r.id, clock_ms(), &forgotten);
	embryos_wait(n->embryos, &e->facts, ticket);
	if (forgotten)
		store_delete(n->store, forgotten, &ticket);
	if (n->opened)
		answer_embryos(n, ~0ull);
}

void serve_name(struct node *n, struct conn *c, const struct guard_facts *f)
{
	const char *service = points_service(n->points, &f->key);

	c->record.id = embryos_take(n->embryos, f);
	if (!c->record.id)
		c->record.id = new_id();
	c->record.proto = IPPROTO_TCP;
	c->record.facts = *f;
	snprintf(c->record.service, sizeof(c->record.service), "%s", service ? service : "");
}

static void on_opened(struct node *n, const struct guard_event *e)
{
	struct conn *c;

	if (conns_by_slot(n->conns, e->slot))
		return;
	c = conns_add(n->conns, e->slot);
	if (!c) {
		log_error("a connection cannot be recorded: out of memory");
		guard_release(n->guard, e->slot);
		return;
	}
	n->counts.opened++;
	serve_name(n, c, &e->facts);
	serve_put(n, c);
}

/* Our FIN has arrived and nobody reads here any more: what the peer still sends, its FIN above all,
 * is acknowledged as the kernel sees fit. */
static void wind_up(struct node *n, struct conn *c)
{
	struct guard_slot *s = slot_of(n, c);
	struct segment last;

	if (c->ending)
		return;
	c->ending = true;
	c->due_ms = clock_ms() + ENDING_MS;
	s->mode = GUARD_OPEN;
	if (s->in_next > s->in_acked) {
		gate_fill_push(s, &last);
		last.ack = s->in_next;
		push(n, &last, 1);
	}
}

static void on_ended(struct node *n, struct conn *c)
{
	const struct guard_slot *s = slot_of(n, c);

	if (!s)
		return;
	if (s->ended & GUARD_ENDED_PEER_RST) {
		serve_finish(n, c);
	} else if ((s->ended & GUARD_ENDED_OUT_ACKED) && !c->app) {
		wind_up(n, c);
	}
}

int serve_event(void *arg, void *data, size_t len)
{
	const struct guard_event *e = data;
	struct node *n = arg;
	struct conn *c;

	if (len < sizeof(*e) || !n->owner)
		return 0;
	c = conns_by_slot(n->conns, e->slot);
	switch (e->type) {
	case GUARD_EVENT_EMBRYO:
		on_embryo(n, e);
		break;
	case GUARD_EVENT_OPENED:
		on_opened(n, e);
		break;
	case GUARD_EVENT_FRESH:
		takeover_fresh(n, e);
		break;
	case GUARD_EVENT_PROBED:
		if (c)
			takeover_probed(n, c);
		break;
	case GUARD_EVENT_ENDED:
		if (c)
			on_ended(n, c);
		break;
	case GUARD_EVENT_FULL:
		log_warning("every slot is taken: new connections are refused; raise "
			    "max-connections, or see 'holdfast takeover connections'");
		break;
	}
	return 0;
}

/* ---- what applications ask ------------------------------------------------ */

static void say(struct app_why *why, const char *text)
{
	snprintf(why->text, sizeof(why->text), "%s", text);
}

static void on_hello(void *arg, struct app *a)
{
	(void)a;
	node_probe_soon(arg);
}

static int name_of(int fd, struct hf_addr *addr, __be16 *port)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	uint16_t host_port;

	if (getsockname(fd, (struct sockaddr *)&sa, &len))
		return -errno;
	if (addr_from_sockaddr((struct sockaddr *)&sa, addr, &host_port) || !host_port)
		return -EINVAL;
	*port = htons(host_port);
	return 0;
}

static int on_listen(void *arg, struct app *a, int fd, struct app_why *why)
{
	struct node *n = arg;
	struct hf_addr addr;
	__be16 port;
	int type = 0, only = 1, early = 0, ret;
	socklen_t len = sizeof(type), early_len = sizeof(early);

	ret = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ? -errno : name_of(fd, &addr, &port);
	if (!ret && !addr_is_v4(&addr) && getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len))
		only = 1;
	if (!ret && getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &early, &early_len))
		early = 0;
	close(fd);
	if (ret || type != SOCK_STREAM) {
		say(why, "the socket is no bound TCP socket");
		return -EINVAL;
	}
	if (early) { /* the kernel acknowledges data in a SYN before anybody has seen it */
		say(why, "TCP Fast Open is on for the socket and cannot be guarded: set "
			 "TCP_FASTOPEN to 0");
		return -EOPNOTSUPP;
	}
	ret = points_add(n->points, &addr, port, !only, app_service(a));
	if (ret == -EADDRNOTAVAIL)
		say(why, "the socket's address is none of 'address' in [takeover]");
	else if (ret == -EADDRINUSE)
		say(why, "another service guards it");
	else if (ret)
		say(why, strerror(-ret));
	else
		node_probe_soon(n); /* connections may wait for this application */
	return ret;
}

static struct conn *owned(struct node *n, uint32_t number)
{
	return n->owner ? conns_by_number(n->conns, number) : NULL;
}

static int on_guard(void *arg, struct app *a, const struct guard_key *key, uint32_t *ret_conn,
		    uint64_t *ret_received, struct app_why *why)
{
	struct node *n = arg;
	struct conn *c;
	uint32_t slot;

	if (!n->owner) {
		say(why, "this node does not serve now");
		return -EPIPE;
	}
	/* the event of its opening may still be in the ring */
	ring_buffer__consume(n->ring);
	c = guard_find(n->guard, key, &slot) ? NULL : conns_by_slot(n->conns, slot);
	if (!c) {
		say(why,
		    "there is no record of it: it was accepted before hf_listen(), or has ended");
		return -ENOENT;
	}
	if (c->app && c->app != a) {
		say(why, "another application has it");
		return -EADDRINUSE;
	}
	c->app = a;
	if (c->state == CONN_ORPHAN)
		c->state = CONN_SERVING;
	*ret_conn = c->number;
	*ret_received = n->slots[slot].in_commit;
	snprintf(c->record.service, sizeof(c->record.service), "%s", app_service(a));
	return 0;
}

static bool is_multicast(const struct hf_addr *a)
{
	return addr_is_v4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}

static int on_datagram(void *arg, struct app *a, int fd, const struct hf_addr *peer,
		       __be16 peer_port, uint32_t *ret_conn, struct app_why *why)
{
	struct node *n = arg;
	struct guard_key key = {.peer = *peer, .peer_port = peer_port};
	int ret = name_of(fd, &key.local, &key.local_port), ttl = 0;
	socklen_t len = sizeof(ttl);
	bool multicast = is_multicast(peer), v4 = addr_is_v4(peer);
	struct conn *c;

	if (getsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6,
		       v4 ? (multicast ? IP_MULTICAST_TTL : IP_TTL)
			  : (multicast ? IPV6_MULTICAST_HOPS : IPV6_UNICAST_HOPS),
		       &ttl, &len))
		ttl = 0;
	close(fd);
	if (ret) {
		say(why, "the socket is not bound to an address and a port");
		return ret;
	}
	if (!n->owner) {
		say(why, "this node does not serve now");
		return -EPIPE;
	}
	c = conns_add(n->conns, CONN_NO_SLOT);
	if (!c) {
		say(why, "no room for another connection");
		return -ENOBUFS;
	}
	c->app = a;
	c->record.id = new_id();
	c->record.proto = IPPROTO_UDP;
	c->record.flags = RECORD_CHECKPOINT;
	c->record.facts.key = key;
	c->record.ttl = ttl > 0 && ttl < 256 ? ttl : 0;
	snprintf(c->record.service, sizeof(c->record.service), "%s", app_service(a));
	serve_put(n, c);
	*ret_conn = c->number;
	return 0;
}

/* Behind the others. Members come and go, so the numbers may run out. */
static uint16_t next_member(struct node *n, uint64_t bundle)
{
	struct conn *list[HF_BUNDLE_MAX];
	size_t count = conns_members(n->conns, bundle, list);

	if (!count || list[count - 1]->record.member < UINT16_MAX)
		return count ? list[count - 1]->record.member + 1u : 0;
	for (size_t i = 0; i < count; i++) {
		list[i]->record.member = i;
		serve_put(n, list[i]);
	}
	return count;
}

static int on_bundle(void *arg, struct app *a, uint32_t conn, uint64_t *bundle, struct app_why *why)
{
	struct node *n = arg;
	struct conn *c = owned(n, conn);
	int ret;

	(void)a;
	if (!c) {
		say(why, "the connection has moved or is over");
		return -EPIPE;
	}
	if (c->record.bundle) {
		say(why, "it is in a bundle already");
		return -EALREADY;
	}
	if (!*bundle)
		*bundle = new_id();
	c->record.bundle = *bundle;
	c->record.member = next_member(n, *bundle);
	ret = conns_join(n->conns, c);
	if (ret) {
		c->record.bundle = 0;
		say(why, ret == -ENOSPC ? "the bundle is full" : strerror(-ret));
		return ret;
	}
	serve_put(n, c);
	return 0;
}

static int on_commit(void *arg, struct app *a, uint32_t conn, uint64_t ticket, uint64_t received,
		     uint32_t flags, const struct record_protocol *p, size_t count)
{
	struct node *n = arg;
	struct conn *c = owned(n, conn);
	const struct guard_slot *s;
	uint64_t in_commit = received + (flags & APP_COMMIT_END ? 1 : 0);

	(void)a;
	if (!c)
		return 0; /* it has moved, and the application will hear so */
	s = slot_of(n, c);
	if (s && (in_commit < c->record.in_commit || in_commit > s->in_max)) {
		n->counts.refused_commits++;
		log_warning(
			"%s: a commit of %llu bytes is refused: %llu are committed, %llu have come",
			c->record.service, (unsigned long long)in_commit,
			(unsigned long long)c->record.in_commit, (unsigned long long)s->in_max);
		return -ERANGE;
	}
	for (size_t i = 0; i < count; i++)
		if (record_set_protocol(&c->record, p[i].protocol, p[i].object, p[i].object_len,
					p[i].object_start, p[i].data, p[i].data_len))
			return -ENOBUFS;
	c->record.flags |= RECORD_CHECKPOINT;
	if (flags & APP_COMMIT_END)
		c->record.flags |= RECORD_PEER_ENDED;
	c->record.in_commit = in_commit;
	c->pending_ticket = ticket;
	c->pending_commit = in_commit;
	serve_put(n, c);
	return 0;
}

static void on_ready(void *arg, struct app *a, uint32_t conn, uint32_t protocol)
{
	struct node *n = arg;
	struct conn *c = owned(n, conn);

	(void)a;
	if (c)
		takeover_ready(n, c, protocol);
}

/* Answered when the record that says so is committed: a standby that does not know of the end would
 * take our FIN for a byte of data. */
static int on_end(void *arg, struct app *a, uint32_t conn, struct app_why *why)
{
	struct node *n = arg;
	struct conn *c = owned(n, conn);

	(void)a;
	(void)why;
	if (!c || (c->slot == CONN_NO_SLOT && c->record.proto == IPPROTO_TCP))
		return 0; /* moved, or the peer has ended it: nothing to allow */
	conn_close(c);    /* or the application's close(2) would not be the last one */
	c->record.flags |= RECORD_END_ALLOWED;
	c->end_said = c->answer_end = true;
	serve_put(n, c);
	return -EINPROGRESS;
}

void serve_freeze(struct node *n, struct conn *c)
{
	if (c->slot != CONN_NO_SLOT)
		n->slots[c->slot].mode = GUARD_FROZEN;
	if (c->state != CONN_SERVING && c->state != CONN_ORPHAN)
		n->unfinished--;
	c->state = CONN_ORPHAN;
	c->due_ms = 0;
	conn_close(c);
}

/* The application has it no more. True: it did not end it, and nobody answers for it now. */
static bool let_go(struct node *n, struct conn *c)
{
	c->app = NULL;
	if (c->slot == CONN_NO_SLOT && (c->record.proto == IPPROTO_TCP || c->end_said)) {
		serve_finish(n, c);
	} else if (!c->end_said) {
		serve_freeze(n, c);
		return true;
	} else if (n->slots[c->slot].ended & GUARD_ENDED_OUT_ACKED) {
		wind_up(n, c);
	}
	return false;
}

static void on_forget(void *arg, struct app *a, uint32_t conn)
{
	struct node *n = arg;
	struct conn *c = conns_by_number(n->conns, conn);

	(void)a;
	if (!c)
		return;
	if (c->state == CONN_UNREADY && c->record.bundle && !c->end_said) {
		c->app = NULL;
		takeover_refused(n, c);
	} else {
		let_go(n, c);
	}
}

static void on_gone(void *arg, struct app *a, const char *why)
{
	struct node *n = arg;
	uint32_t cursor = 0, live = 0;
	struct conn *c;

	while ((c = conns_next(n->conns, &cursor)))
		live += c->app == a && let_go(n, c);
	node_probe_soon(n);
	if (!n->owner || n->stopping)
		return;
	if (live)
		log_warning("application '%s' (pid %u) is gone with %u connections: %s",
			    app_service(a), app_pid(a), live, why);
	if (live)
		node_fail_over(n, apps_service_bit(app_service(a)), "an application is gone");
}

const struct apps_ops serve_ops = {
	.hello = on_hello,
	.listen = on_listen,
	.guard = on_guard,
	.datagram = on_datagram,
	.bundle = on_bundle,
	.commit = on_commit,
	.ready = on_ready,
	.end = on_end,
	.forget = on_forget,
	.gone = on_gone,
};

/* ---- now and then ---------------------------------------------------------- */

/* The standby needs to know roughly how much was sent, to tell a plausible acknowledgement from
 * another, and must not go back behind our timestamps; and a window opens only as far as it knows.
 */
static bool moved_on(const struct conn *c, const struct guard_slot *s)
{
	return c->state == CONN_SERVING &&
	       (s->out_max != c->record.out_max || gate_kernel_edge(s) > c->record.in_edge ||
		(int32_t)(s->tsval - c->record.tsval) > TSVAL_STALE);
}

/* The application ended it, and its peer is silent: gone, or in TIME-WAIT at another sequence
 * number. The kernel has given up on its FIN by now. */
static bool left(const struct conn *c, const struct guard_slot *s, uint64_t now_ns)
{
	uint64_t last = s->last_ns > s->last_in_ns ? s->last_ns : s->last_in_ns;

	return c->state == CONN_SERVING && !c->app && c->end_said && now_ns > last + LEFT_NS;
}

/* The peer had our FIN before the takeover: the one that our kernel sends now is of no number that
 * it looks at. All that it waits for is the acknowledgement of its own. */
static bool closes(const struct conn *c, const struct guard_slot *s)
{
	return !c->app && c->end_said && !c->ending && s->out_fin &&
	       s->out_acked + 1 >= s->out_fin && s->in_fin != ~0ull && s->in_next > s->in_fin;
}

static bool closed(const struct conn *c, const struct guard_slot *s, uint64_t now_ms,
		   uint64_t now_ns)
{
	return c->ending && (now_ms >= c->due_ms ||
			     (s && s->ended & GUARD_ENDED_OUT_ACKED && s->in_fin != ~0ull &&
			      s->in_next > s->in_fin && now_ns > s->last_in_ns + CLOSED_NS));
}

/* What our kernel still has of it, and sends again and again, would meet the peer's next connection
 * from the same port, and answer its SYN. */
static void end_of(struct node *n, struct conn *c, const struct guard_slot *s)
{
	char why[160];

	if (s && !(s->ended & GUARD_ENDED_OUT_ACKED)) {
		n->slots[c->slot].mode = GUARD_FROZEN;
		restore_clear(&s->facts.key, why, sizeof(why));
	}
	serve_finish(n, c);
}

void serve_tick(struct node *n, uint64_t now_ms)
{
	uint64_t id, ticket, now_ns = clock_boot_ns();
	struct conn *c;

	while ((id = embryos_expire(n->embryos, now_ms)))
		store_delete(n->store, id, &ticket);
	for (unsigned int i = 0; i < REFRESH_BATCH; i++) {
		const struct guard_slot *s;

		c = conns_next(n->conns, &n->cursor);
		if (!c) {
			n->cursor = 0;
			break;
		}
		s = slot_of(n, c);
		if (closed(c, s, now_ms, now_ns))
			end_of(n, c, s);
		else if (s && closes(c, s))
			wind_up(n, c);
		else if (s && left(c, s, now_ns))
			end_of(n, c, s);
		else if (c->dirty || (s && moved_on(c, s)))
			serve_put(n, c);
	}
}

void serve_abandon(struct node *n)
{
	uint32_t cursor = 0;
	char why[160];
	struct conn *c;

	while ((c = conns_next(n->conns, &cursor))) {
		if (c->app)
			app_moved(c->app, c->number);
		c->app = NULL;
		if (c->slot != CONN_NO_SLOT) {
			/* what the application leaves open, or its orphan, must not speak again
			 * should this node own the address later */
			restore_clear(&n->slots[c->slot].facts.key, why, sizeof(why));
			guard_release(n->guard, c->slot);
			conns_drop_slot(n->conns, c);
		}
		conns_remove(n->conns, c);
	}
	guard_embryos_clear(n->guard);
	commits_clear(n->commits);
	embryos_clear(n->embryos);
	n->unfinished = 0;
}
