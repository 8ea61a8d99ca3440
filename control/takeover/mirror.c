/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Owner, for each node that is there: LEASE_SERVES and BEGIN, the shelf as COPY frames, END; PUT
 * with each batch from BEGIN on, so that what changes behind the walk is not missed. Standby: the
 * copy grows beside the shelf and takes its place at END, so that half a copy never replaces a
 * whole one. One batch is under way at a time; nothing on its way waits for a timer.
 */
#include "control/takeover/direct.h"

#include <errno.h>
#include <stdlib.h>

#include <event2/buffer.h>

#define BATCH_MAX (256u << 10) /* bytes of one batch, about */
#define COPY_MAX  (64u << 10)  /* of one COPY frame */

_Static_assert(BATCH_MAX + 2 * RECORD_BYTES_MAX <= FRAME_BODY_MAX, "a batch fits a frame");

/* ---- owner: records to the others ------------------------------------------- */

void mirror_stop(struct other *o)
{
	shelf_walk_free(o->walk);
	o->walk = NULL;
	o->streaming = o->ended = false;
	o->acked = o->end_seq = 0;
}

/* A frame with items, in one piece where it is short: one TLS record. */
static void send_items(struct direct *d, uint32_t peer, struct frame *f,
		       struct parcel *const *items, size_t count)
{
	struct evbuffer *out = links_out(d->links, peer);
	uint8_t fixed[FRAME_FIXED_MAX];

	if (!out)
		return;
	f->items_len = 0;
	for (size_t i = 0; i < count; i++)
		f->items_len += FRAME_ITEM_LEN + items[i]->len;
	/* out of memory shows as a broken frame there, and a new connection */
	evbuffer_expand(out, FRAME_FIXED_MAX + f->items_len);
	evbuffer_add(out, fixed, frame_create(f, fixed));
	for (size_t i = 0; i < count; i++) {
		frame_create_item(items[i]->id, items[i]->len, fixed);
		evbuffer_add(out, fixed, FRAME_ITEM_LEN);
		evbuffer_add(out, items[i]->bytes, items[i]->len);
	}
	links_sent(d->links, peer);
}

/* More of the copy, as long as not much waits to be sent. */
void mirror_feed(struct direct *d, uint32_t peer)
{
	struct frame f = {.type = FRAME_COPY, .epoch = d->m.epoch};
	struct other *o = &d->others[peer];
	struct parcel *items[COPY_MAX / 256];
	struct parcel *p = NULL;

	while (o->walk && links_waiting(d->links, peer) < LINK_SEND_LOW) {
		size_t count = 0, bytes = 0;

		while (count < sizeof(items) / sizeof(items[0]) && bytes < COPY_MAX &&
		       (p = shelf_walk_next(o->walk))) {
			items[count++] = p;
			bytes += p->len;
		}
		if (count)
			send_items(d, peer, &f, items, count);
		if (p)
			continue;
		shelf_walk_free(o->walk);
		o->walk = NULL;
		o->ended = true;
		o->end_seq = d->seq;
		f = (struct frame){.type = FRAME_END, .epoch = d->m.epoch, .seq = d->seq};
		links_send(d->links, peer, &f);
	}
}

void mirror_begin(struct direct *d, uint32_t peer)
{
	struct frame f = {.type = FRAME_BEGIN, .epoch = d->m.epoch, .seq = d->seq};
	struct other *o = &d->others[peer];
	bool same = o->copy.epoch == d->m.epoch && o->copy.seq == d->seq;

	mirror_stop(o);
	direct_say_role(d, peer);
	/* who handed over, or missed nothing, needs no copy; but SOLE made it forget its own */
	f.keep = (d->giver == d->node_of[peer] && d->seq == 0) || (same && !lease_sole(&d->m));
	o->copy = (struct lease_copy){0}; /* true once */
	o->streaming = true;
	if (f.keep) {
		o->ended = true;
		o->end_seq = d->seq;
	} else {
		o->walk = shelf_walk_new(d->s.shelf);
		if (!o->walk) {
			links_drop(d->links, peer, "no memory for a copy");
			return;
		}
		d->s.status.resyncs++;
	}
	links_send(d->links, peer, &f);
	mirror_feed(d, peer);
}

/* Is the batch under way held by as many as it must be? */
void mirror_commit(struct direct *d)
{
	uint32_t count = 0;

	if (TAILQ_EMPTY(&d->s.queue.batch) || !direct_owns(d))
		return;
	for (uint32_t i = 0; i < d->s.config.peer_count; i++)
		count += d->others[i].acked >= d->seq && d->m.peers[d->node_of[i]].synced;
	if (count >= lease_needs(&d->m))
		store_batch_done(&d->s);
}

void mirror_flush(struct store *s)
{
	struct direct *d = direct_of(s);
	struct frame f = {.type = FRAME_PUT};
	struct parcel **items;
	struct queue_entry *e;
	size_t count = 0;

	if (!direct_owns(d))
		return;
	items = calloc(s->queue.count, sizeof(struct parcel *));
	if (!items)
		return; /* tried again with the next put or heartbeat */
	queue_take(&s->queue, BATCH_MAX);
	TAILQ_FOREACH(e, &s->queue.batch, link)
	items[count++] = e->parcel;
	d->seq++;
	f.epoch = d->m.epoch;
	f.seq = d->seq;
	d->m.copy.seq = d->seq;
	for (uint32_t i = 0; i < s->config.peer_count; i++)
		if (d->others[i].streaming)
			send_items(d, i, &f, items, count);
	free(items);
	mirror_commit(d);
}

int mirror_ack(struct direct *d, uint32_t peer, const struct frame *f)
{
	struct other *o = &d->others[peer];
	uint32_t node = d->node_of[peer];

	if (!d->owner || f->epoch != d->m.epoch)
		return 0; /* of what was before */
	if (!o->streaming || f->seq > d->seq)
		return -EPROTO;
	if (f->seq > o->acked)
		o->acked = f->seq;
	if (o->ended && o->acked >= o->end_seq && !d->m.peers[node].synced)
		direct_step(d, &(struct lease_message){
				       .event = LEASE_SYNCED, .node = node, .epoch = d->m.epoch});
	mirror_commit(d);
	return 0;
}

/* ---- standby: records from the owner ------------------------------------------ */

void mirror_drop(struct direct *d)
{
	shelf_free(d->staging);
	d->staging = NULL;
	d->staging_peer = NOBODY;
}

/* 1: go on. 0: it is no longer the owner, and was told. */
static int of_owner(struct direct *d, uint32_t peer, uint32_t epoch)
{
	struct frame f = {.type = FRAME_LEASE};

	if (epoch == d->m.epoch && epoch != 0 && epoch % d->m.nodes == d->node_of[peer])
		return 1;
	f.lease.event = LEASE_REFUSE;
	f.lease.epoch = d->m.epoch;
	if (epoch > d->m.epoch)
		return -EPROTO; /* it did not say that it serves */
	links_send(d->links, peer, &f);
	return 0;
}

static void send_ack(struct direct *d, uint32_t peer, const struct frame *of)
{
	struct frame f = {.type = FRAME_ACK, .epoch = of->epoch, .seq = of->seq};

	links_send(d->links, peer, &f);
}

/* We have everything up to there. */
static void copied(struct direct *d, uint32_t peer, const struct frame *f)
{
	direct_step(d, &(struct lease_message){.event = LEASE_COPIED,
					       .copy = {.epoch = f->epoch, .seq = f->seq}});
	send_ack(d, peer, f);
}

static int on_begin(struct direct *d, uint32_t peer, const struct frame *f)
{
	const struct lease_copy *c = &d->m.copy;

	mirror_drop(d);
	if (f->keep) {
		if (d->gave != f->epoch && (c->epoch != f->epoch || c->seq != f->seq))
			return -EPROTO;
		copied(d, peer, f);
		return 0;
	}
	d->staging = shelf_new();
	d->staging_peer = peer;
	store_changed(&d->s);
	return d->staging ? 0 : -ENOMEM;
}

static int take_items(struct shelf *shelf, struct frame *f)
{
	const uint8_t *bytes;
	struct parcel *p;
	uint64_t id;
	size_t len;
	int rc;

	while (frame_item(f, &id, &bytes, &len)) {
		rc = len ? parcel_from_bytes(id, bytes, len, &p) : parcel_deletion(id, &p);
		if (rc < 0)
			return rc;
		rc = shelf_put(shelf, p);
		parcel_unref(p);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int on_copy(struct direct *d, uint32_t peer, struct frame *f)
{
	if (!d->staging || d->staging_peer != peer)
		return -EPROTO;
	return take_items(d->staging, f);
}

static int on_end(struct direct *d, uint32_t peer, const struct frame *f)
{
	if (!d->staging || d->staging_peer != peer)
		return -EPROTO;
	shelf_free(d->s.shelf);
	d->s.shelf = d->staging;
	d->staging = NULL;
	d->gave = 0;
	d->s.status.resyncs++;
	copied(d, peer, f);
	return 0;
}

static int on_put(struct direct *d, uint32_t peer, struct frame *f)
{
	int rc;

	if (d->staging) /* it goes with the copy: END counts it */
		return d->staging_peer == peer ? take_items(d->staging, f) : -EPROTO;
	if (d->m.copy.epoch != f->epoch || d->m.copy.seq + 1 != f->seq)
		return -EPROTO;
	d->gave = 0;
	rc = take_items(d->s.shelf, f);
	if (rc < 0)
		return rc;
	d->m.copy.seq = f->seq;
	send_ack(d, peer, f);
	return 0;
}

int mirror_take(struct direct *d, uint32_t peer, struct frame *f)
{
	int rc = of_owner(d, peer, f->epoch);

	if (rc <= 0)
		return rc;
	switch (f->type) {
	case FRAME_BEGIN:
		return on_begin(d, peer, f);
	case FRAME_COPY:
		return on_copy(d, peer, f);
	case FRAME_END:
		return on_end(d, peer, f);
	default:
		return on_put(d, peer, f);
	}
}
