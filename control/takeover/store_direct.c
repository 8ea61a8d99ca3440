/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The nodes of a group hold each other's records. lease.c decides who owns, link.c carries frames,
 * mirror.c brings records to the others; here they meet the callers.
 *
 * Timers: `beat` each heartbeat (renewal, claims, signs of life), `due` when a lease or a promise
 * ends. `act`: what a caller asked for, done from the loop.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <openssl/evp.h>

#include "control/takeover/direct.h"

/* ---- what the machine decides --------------------------------------------------- */

static bool synced(const struct direct *d)
{
	uint32_t count = 0;

	if (!d->owner)
		return !d->staging && d->m.copy.epoch != 0 && d->m.copy.epoch == d->m.epoch;
	for (uint32_t i = 0; i < d->m.nodes; i++)
		count += d->m.peers[i].synced;
	return d->m.nodes > 1 && count >= d->m.nodes / 2;
}

static const char *node_name(const struct direct *d, uint32_t node)
{
	if (node == LEASE_NOBODY)
		return "";
	return node == d->m.self ? d->s.config.node : d->s.config.peers[d->peer_of[node]].node;
}

/* The status as it is now; tells nobody. */
static void refresh(struct direct *d)
{
	struct store_status *st = &d->s.status;
	uint64_t now = clock_boot_ns();

	st->state = lease_state(&d->m, now);
	st->epoch = d->m.epoch;
	snprintf(st->owner, sizeof(st->owner), "%s", node_name(d, lease_owner(&d->m, now)));
	st->synced = synced(d);
	st->held = d->owner && d->held;
	st->why[0] = 0;
	for (uint32_t i = 0; i < d->s.config.peer_count && !st->why[0]; i++)
		store_why(&d->s, "%s", links_why(d->links, i));
}

void direct_say_role(struct direct *d, uint32_t peer)
{
	struct frame f = {.type = FRAME_LEASE};

	lease_introduce(&d->m, clock_boot_ns(), &f.lease);
	f.lease.event = LEASE_SERVES;
	links_send(d->links, peer, &f);
}

/* A new ownership, or the end of one. */
static void turn_over(struct direct *d)
{
	for (uint32_t i = 0; i < d->s.config.peer_count; i++)
		mirror_stop(&d->others[i]);
	d->hand_to = NOBODY;
	if (!d->owner)
		return;
	d->seq = 0;
	d->gave = 0;
	mirror_drop(d);
	if (d->blank) /* what lies there was said to be void */
		shelf_clear(d->s.shelf);
	d->held = false;
}

/* Of three nodes: what an owner brought to us, two had. Of more that may have been too few. Who is
 * sole is asked by nobody else for what it has. */
static bool held(const struct direct *d)
{
	return d->sole || d->giver != NOBODY || synced(d) || shelf_count(d->s.shelf) == 0 ||
	       (d->m.nodes == 3 && !d->mine);
}

/* First above: the fence must stand before anybody else may own. */
static void tell(struct direct *d)
{
	bool owner = direct_owns(d), sole = lease_sole(&d->m);
	bool turned = owner != d->owner || (owner && d->epoch != d->m.epoch);

	d->owner = owner;
	if (turned)
		turn_over(d);
	d->epoch = d->m.epoch;
	d->blank = d->m.copy.epoch == 0;
	if (owner && sole && !d->sole) /* also who had everything has to be told so */
		for (uint32_t i = 0; i < d->s.config.peer_count; i++)
			mirror_stop(&d->others[i]);
	d->sole = owner && sole;
	if (owner)
		d->s.status.lease_until_ns = d->m.until;
	d->held = owner && (d->held || held(d));
	refresh(d);
	store_changed_now(&d->s);
	if (owner && (turned || d->until != d->m.until))
		store_lease(&d->s, d->m.until);
	d->until = d->m.until;
}

static void send_all(struct direct *d, const struct lease_output *out)
{
	for (size_t i = 0; i < out->count; i++) {
		struct frame f = {.type = FRAME_LEASE, .lease = out->sends[i]};

		links_send(d->links, d->peer_of[out->sends[i].node], &f);
	}
}

static void arm(struct direct *d)
{
	uint64_t now = clock_boot_ns(), due = lease_due(&d->m, now);
	struct timeval t;

	if (due == LEASE_FOREVER) {
		evtimer_del(d->due);
		return;
	}
	due = due > now ? (due - now) / 1000 + 1 : 0;
	t = (struct timeval){.tv_sec = due / 1000000, .tv_usec = due % 1000000};
	evtimer_add(d->due, &t);
}

/* Then to the others. */
static void follow_up(struct direct *d, bool was_owner)
{
	for (uint32_t i = 0; i < d->s.config.peer_count; i++) {
		if (!d->others[i].met)
			continue;
		if (d->owner && !d->others[i].streaming)
			mirror_begin(d, i);
		else if (was_owner && !d->owner)
			direct_say_role(d, i);
	}
	mirror_commit(d); /* alone from now on, maybe */
	arm(d);
}

void direct_step(struct direct *d, const struct lease_message *in)
{
	struct lease_output out;
	bool was_owner = d->owner;
	uint32_t epoch = d->m.epoch, from = d->m.copy.epoch;

	lease_step(&d->m, in, clock_boot_ns(), &out);
	if (d->m.owns && d->m.epoch != epoch) {
		d->giver = in->event == LEASE_HAND ? in->node : NOBODY;
		d->mine = from % d->m.nodes == d->m.self;
	}
	tell(d);
	send_all(d, &out);
	follow_up(d, was_owner);
}

/* ---- hand over -------------------------------------------------------------------- */

static void try_hand(struct direct *d)
{
	uint32_t node;

	if (d->hand_to == NOBODY || !d->owner || d->s.queue.count)
		return;
	node = d->node_of[d->hand_to];
	if (!d->m.peers[node].synced)
		return;
	direct_step(d, &(struct lease_message){.event = LEASE_GIVE, .node = node});
	if (!d->owner)
		d->gave = d->m.epoch;
}

static void on_act(evutil_socket_t fd, short what, void *arg)
{
	struct direct *d = arg;

	(void)fd;
	(void)what;
	if (d->alone) {
		d->alone = d->want = false;
		direct_step(d, &(struct lease_message){.event = LEASE_ALONE});
	}
	if (d->want) {
		d->want = false;
		direct_step(d, &(struct lease_message){.event = LEASE_WANT});
	}
	try_hand(d);
}

/* ---- links --------------------------------------------------------------------------- */

static void on_hello(void *arg, struct frame *ret)
{
	struct direct *d = arg;

	lease_introduce(&d->m, clock_boot_ns(), &ret->lease);
	snprintf(ret->hello.group, HF_NAME_LEN, "%s", d->s.config.group);
	snprintf(ret->hello.node, HF_NAME_LEN, "%s", d->s.config.node);
	ret->hello.lease_ms = d->s.config.lease_ms;
	memcpy(ret->hello.members, d->members, FRAME_DIGEST_LEN);
}

static int on_check(void *arg, uint32_t peer, const struct frame *hello)
{
	struct direct *d = arg;

	(void)peer;
	if (strcmp(hello->hello.group, d->s.config.group) ||
	    hello->hello.lease_ms != d->s.config.lease_ms ||
	    memcmp(hello->hello.members, d->members, FRAME_DIGEST_LEN))
		return -EBADR;
	return 0;
}

static void say_beat(struct direct *d, uint32_t peer)
{
	struct frame f = {.type = FRAME_BEAT, .services = d->s.offer};

	links_send(d->links, peer, &f);
}

static void on_met(void *arg, uint32_t peer, const struct frame *hello)
{
	struct direct *d = arg;
	struct lease_message in = hello->lease;

	say_beat(d, peer);
	d->others[peer].met = true;
	d->others[peer].copy = in.copy;
	in.node = d->node_of[peer];
	direct_step(d, &in);
	/* what our HELLO said may be true no more */
	if (!d->owner)
		direct_say_role(d, peer);
}

static void on_parted(void *arg, uint32_t peer)
{
	struct direct *d = arg;

	mirror_stop(&d->others[peer]);
	d->others[peer].met = false;
	d->others[peer].services = 0;
	if (d->staging_peer == peer)
		mirror_drop(d);
	if (d->hand_to == peer)
		d->hand_to = NOBODY;
	if (d->giver == d->node_of[peer])
		d->giver = NOBODY;
	direct_step(d, &(struct lease_message){.event = LEASE_PARTED, .node = d->node_of[peer]});
}

static int on_frame(void *arg, uint32_t peer, struct frame *f)
{
	struct direct *d = arg;
	struct lease_message in = f->lease;
	int rc;

	switch (f->type) {
	case FRAME_LEASE:
		in.node = d->node_of[peer];
		direct_step(d, &in);
		return 0;
	case FRAME_ACK:
		rc = mirror_ack(d, peer, f);
		try_hand(d);
		return rc;
	case FRAME_WISH:
		store_was_asked(&d->s, d->s.config.peers[peer].node);
		return 0;
	case FRAME_BEAT:
		d->others[peer].services = f->services;
		return 0;
	case FRAME_HELLO:
		return -EPROTO;
	default:
		return mirror_take(d, peer, f);
	}
}

static void on_room(void *arg, uint32_t peer)
{
	mirror_feed(arg, peer);
}

static void on_refused(void *arg, const char *why)
{
	struct direct *d = arg;

	d->s.status.refused++;
	store_why(&d->s, "%s", why);
}

static const struct links_ops links_ops = {
	.hello = on_hello,
	.check = on_check,
	.met = on_met,
	.frame = on_frame,
	.parted = on_parted,
	.room = on_room,
	.refused = on_refused,
};

/* ---- timers ---------------------------------------------------------------------------- */

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct direct *d = arg;

	(void)fd;
	(void)what;
	direct_step(d, &(struct lease_message){.event = LEASE_BEAT});
	for (uint32_t i = 0; i < d->s.config.peer_count; i++)
		say_beat(d, i);
	links_check(d->links, d->m.lease_ns);
	if (d->owner && TAILQ_EMPTY(&d->s.queue.batch) && !TAILQ_EMPTY(&d->s.queue.waiting))
		mirror_flush(&d->s);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	direct_step(arg, &(struct lease_message){.event = LEASE_TIME});
}

/* ---- calls -------------------------------------------------------------------------------- */

/* What would come of it, without doing it. */
static int would(const struct direct *d, enum lease_event event)
{
	struct lease copy = d->m;
	struct lease_output out;

	return lease_step(&copy, &(struct lease_message){.event = event}, clock_boot_ns(), &out);
}

static int direct_claim(struct store *s)
{
	struct direct *d = direct_of(s);
	int rc = would(d, LEASE_WANT);

	if (rc == 0) {
		d->want = true;
		event_active(d->act, EV_TIMEOUT, 1);
	}
	return rc;
}

static int direct_alone(struct store *s)
{
	struct direct *d = direct_of(s);
	int rc = would(d, LEASE_ALONE);

	if (rc == 0) {
		d->alone = true;
		event_active(d->act, EV_TIMEOUT, 1);
	}
	return rc;
}

static int direct_hand(struct store *s, const char *to)
{
	struct direct *d = direct_of(s);

	for (uint32_t i = 0; i < s->config.peer_count; i++) {
		struct lease copy = d->m;
		struct lease_output out;
		int rc;

		if (strcmp(s->config.peers[i].node, to))
			continue;
		if (!d->others[i].met)
			return -ENOTCONN;
		rc = lease_step(&copy,
				&(struct lease_message){.event = LEASE_GIVE, .node = d->node_of[i]},
				clock_boot_ns(), &out);
		if (rc == 0) {
			d->hand_to = i;
			event_active(d->act, EV_TIMEOUT, 1);
		}
		return rc;
	}
	return -ENOTCONN;
}

static const char *direct_able(const struct store *s, const char *to, uint64_t keep, uint64_t gain)
{
	const struct direct *d = (const struct direct *)s;

	for (uint32_t i = 0; i < s->config.peer_count; i++)
		if ((!to || !strcmp(to, s->config.peers[i].node)) && d->others[i].met &&
		    d->m.peers[d->node_of[i]].synced &&
		    store_offers(d->others[i].services, keep, gain))
			return s->config.peers[i].node;
	return NULL;
}

static void direct_offer(struct store *s)
{
	for (uint32_t i = 0; i < s->config.peer_count; i++)
		say_beat(direct_of(s), i);
}

static int direct_ask(struct store *s)
{
	struct direct *d = direct_of(s);
	uint32_t owner = lease_owner(&d->m, clock_boot_ns());
	struct frame f = {.type = FRAME_WISH};

	if (owner == LEASE_NOBODY || owner == d->m.self)
		return -ENOTCONN;
	return links_send(d->links, d->peer_of[owner], &f);
}

/* The last words: the group to who has everything, or else that nobody need wait for us. */
static void say_goodbye(struct direct *d)
{
	struct frame f = {.type = FRAME_LEASE};
	struct lease_output out;

	for (uint32_t i = 0; i < d->s.config.peer_count && direct_owns(d) && !d->s.queue.count;
	     i++) {
		struct lease_message give = {.event = LEASE_GIVE, .node = d->node_of[i]};

		if (d->others[i].met && lease_step(&d->m, &give, clock_boot_ns(), &out) == 0)
			send_all(d, &out);
	}
	lease_introduce(&d->m, clock_boot_ns(), &f.lease);
	f.lease.event = LEASE_GOODBYE;
	for (uint32_t i = 0; i < d->s.config.peer_count; i++) {
		links_send(d->links, i, &f);
		links_push(d->links, i);
	}
}

static void event_free_if(struct event *e)
{
	if (e)
		event_free(e);
}

static void direct_close(struct store *s)
{
	struct direct *d = direct_of(s);

	if (d->links)
		say_goodbye(d);
	for (uint32_t i = 0; i < s->config.peer_count; i++)
		mirror_stop(&d->others[i]);
	links_close(d->links);
	event_free_if(d->beat);
	event_free_if(d->due);
	event_free_if(d->act);
	mirror_drop(d);
	store_fini(s);
	free(d);
}

static const struct store_kind direct_kind = {
	.close = direct_close,
	.flush = mirror_flush,
	.claim = direct_claim,
	.hand = direct_hand,
	.ask = direct_ask,
	.alone = direct_alone,
	.able = direct_able,
	.offer = direct_offer,
};

/* ---- opening ---------------------------------------------------------------------------- */

/* Numbers by the order of names. -EINVAL: two of one name. */
static int number_nodes(struct direct *d)
{
	const char *names[LEASE_NODES_MAX] = {d->s.config.node};
	uint32_t count = 1 + (uint32_t)d->s.config.peer_count, rank[LEASE_NODES_MAX] = {0};

	for (uint32_t i = 1; i < count; i++)
		names[i] = d->s.config.peers[i - 1].node;
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t k = 0; k < count; k++) {
			if (i != k && !strcmp(names[i], names[k]))
				return -EINVAL;
			rank[i] += strcmp(names[k], names[i]) < 0;
		}
		if (i > 0) {
			d->node_of[i - 1] = rank[i];
			d->peer_of[rank[i]] = i - 1;
		}
	}
	lease_init(&d->m, count, rank[0], d->s.config.lease_ms * 1000000ull);
	return 0;
}

static int digest_members(struct direct *d)
{
	uint8_t names[LEASE_NODES_MAX][HF_NAME_LEN] = {0}, sum[EVP_MAX_MD_SIZE];

	for (uint32_t n = 0; n < d->m.nodes; n++)
		snprintf((char *)names[n], HF_NAME_LEN, "%s", node_name(d, n));
	if (EVP_Digest(names, sizeof(names), sum, NULL, EVP_sha256(), NULL) != 1)
		return -EIO;
	memcpy(d->members, sum, FRAME_DIGEST_LEN);
	return 0;
}

static int peers_check(const struct store_config *c, char *err, size_t err_size)
{
	if (!c->key) {
		snprintf(err, err_size, "a key is needed");
		return -EINVAL;
	}
	for (size_t i = 0; i < c->peer_count; i++) {
		size_t len = strnlen(c->peers[i].node, HF_NAME_LEN);

		if (len == 0 || len == HF_NAME_LEN || c->peers[i].port == 0) {
			snprintf(err, err_size, "another node needs a name and a port");
			return -EINVAL;
		}
	}
	return 0;
}

int store_direct_open(struct event_base *base, const struct store_config *config,
		      const struct store_ops *ops, void *arg, struct store **ret, char *err,
		      size_t err_size)
{
	struct direct *d = calloc(1, sizeof(*d));
	struct timeval heartbeat = {.tv_sec = config->heartbeat_ms / 1000,
				    .tv_usec = config->heartbeat_ms % 1000 * 1000};
	int rc = -ENOMEM;

	if (!d) {
		snprintf(err, err_size, "no memory for the store");
		return -ENOMEM;
	}
	d->staging_peer = d->hand_to = d->giver = NOBODY;
	d->blank = true;
	rc = store_init(&d->s, &direct_kind, base, config, ops, arg, err, err_size);
	if (rc == 0)
		rc = peers_check(&d->s.config, err, err_size);
	if (rc < 0)
		goto out;
	rc = number_nodes(d);
	if (rc == 0)
		rc = digest_members(d);
	if (rc < 0) {
		snprintf(err, err_size, "two nodes of one name");
		goto out;
	}
	rc = -ENOMEM;
	snprintf(err, err_size, "no memory for the store");
	d->beat = event_new(base, -1, EV_PERSIST, on_beat, d);
	d->due = evtimer_new(base, on_due, d);
	d->act = event_new(base, -1, 0, on_act, d);
	if (!d->beat || !d->due || !d->act || evtimer_add(d->beat, &heartbeat) < 0)
		goto out;
	rc = links_open(base, &d->s.config, &links_ops, d, &d->links, err, err_size);
	if (rc < 0)
		goto out;
	refresh(d);
	d->s.told = d->s.status;
	*ret = &d->s;
	return 0;
out:
	direct_close(&d->s);
	return rc;
}
