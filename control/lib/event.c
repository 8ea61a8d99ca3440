/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stdlib.h>
#include <unistd.h>

#include "control/lib/handle.h"

void event_conn(struct hf_conn *c)
{
	if (c->noted || c->forgotten)
		return;
	c->noted = true;
	TAILQ_INSERT_TAIL(&c->h->due, c, due);
}

void event_forget(struct hf_conn *c)
{
	if (!c->noted)
		return;
	c->noted = false;
	TAILQ_REMOVE(&c->h->due, c, due);
}

bool events_due(const struct hf *h)
{
	return !TAILQ_EMPTY(&h->due) || !TAILQ_EMPTY(&h->arrivals) || h->role_due ||
	       h->there != h->told_there;
}

static void tell_arrival(struct hf *h, struct arrival *a)
{
	struct hf_checkpoint checkpoints[HF_PROTOCOLS_MAX];
	struct state *states[HF_PROTOCOLS_MAX];
	struct hf_conn *c = a->conn;
	struct hf_restored r = {
		.conn = c,
		.fd = a->fd,
		.proto = c->proto,
		.sent = a->sent,
		.received = a->received,
		.peer_ended = a->flags & APP_RESTORED_PEER_ENDED,
		.fresh = a->flags & APP_RESTORED_FRESH,
		.ended = a->flags & APP_RESTORED_ENDED,
		.bundle = c->bundle,
		.member = a->member,
		.members = a->members,
		.checkpoints = checkpoints,
		.checkpoint_count = c->protocol_count,
		.from = a->from,
	};

	for (size_t i = 0; i < r.checkpoint_count; i++) {
		/* new ones may take its place while this one is looked at */
		states[i] = c->protocols[i].now;
		states[i]->refs++;
		checkpoints[i] = (struct hf_checkpoint){
			.protocol = c->protocols[i].number,
			.object = state_object(states[i]),
			.object_start = states[i]->object_start,
			.data = state_data(states[i]),
			.len = states[i]->data_len,
		};
	}
	c->held++;
	h->ops.restored(h->arg, &r);
	c->held--;
	for (size_t i = 0; i < r.checkpoint_count; i++)
		state_put(states[i]);
	conn_release(c);
}

static void tell_conn(struct hf *h, struct hf_conn *c)
{
	event_forget(c);
	c->held++;
	if (c->committed > c->told) {
		c->told = c->committed;
		if (h->ops.committed)
			h->ops.committed(h->arg, c, c->told);
	}
	if (c->moved && !c->told_moved && !c->forgotten) {
		c->told_moved = true;
		h->ops.moved(h->arg, c);
	}
	c->held--;
	conn_release(c);
}

static void run_once(struct hf *h)
{
	struct arrival *a;
	struct hf_conn *c;

	if (h->there != h->told_there) {
		h->told_there = h->there;
		if (h->ops.daemon)
			h->ops.daemon(h->arg, h->there);
	}
	if (h->role_due) {
		h->role_due = false;
		if (h->ops.role)
			h->ops.role(h->arg, (enum hf_role_now)h->role);
	}
	while ((a = TAILQ_FIRST(&h->arrivals))) {
		TAILQ_REMOVE(&h->arrivals, a, link);
		tell_arrival(h, a);
		free(a);
	}
	while ((c = TAILQ_FIRST(&h->due)))
		tell_conn(h, c);
}

void events_run(struct hf *h)
{
	h->running = true;
	while (events_due(h))
		run_once(h);
	h->running = false;
}

void events_clear(struct hf *h)
{
	struct arrival *a;

	while ((a = TAILQ_FIRST(&h->arrivals))) {
		TAILQ_REMOVE(&h->arrivals, a, link);
		close(a->fd);
		free(a);
	}
}
