/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ownership in Redis: claim, renew, look, hand over. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/takeover/store_redis_private.h"

#define LOOK_MS_MAX 50

/* Redis says that the group is not ours. */
void redis_refused(struct redis_store *r, const char *owner)
{
	bool had = r->role == ROLE_OWNER;

	redis_become_none(r);
	redis_saw(r, owner);
	if (had && r->linked && *r->watch.owner.node)
		redis_trouble(r, TROUBLE_LEASE, "Redis says that '%s' owns the group now",
			      r->watch.owner.node);
	else if (had && r->linked)
		redis_trouble(r, TROUBLE_LEASE, "Redis says that nobody owns the group");
	if (had) {
		redis_evaluate(r, clock_boot_ns());
		store_changed_now(&r->s);
	}
	redis_settle(r);
}

void redis_own(struct redis_store *r)
{
	uint64_t now = clock_boot_ns();

	if (r->role != ROLE_LOADING || !r->loaded || now >= r->lease_ns)
		return;
	r->role = ROLE_OWNER;
	r->s.status.lease_until_ns = r->lease_ns;
	r->full = false;
	redis_trouble_over(r, TROUBLE_LEASE);
	redis_trouble_over(r, TROUBLE_DATA);
	r->resync_due = false;
	r->refilled = !r->kept;
	if (r->kept || r->unreadable)
		redis_resync(r);
	if (r->unreadable)
		redis_trouble(r, TROUBLE_DATA,
			      "%u records in Redis cannot be read: they are dropped",
			      r->unreadable);
	r->kept = true;
	redis_evaluate(r, now);
	store_changed_now(&r->s);
	store_lease(&r->s, r->lease_ns);
	redis_tick_later(r, now);
}

/* ---- claim, renewal ---- */

static void on_claim(void *arg, const redisReply *reply, void *of)
{
	struct redis_store *r = arg;
	const char *owner;
	int rc = redis_outcome(reply, &owner);
	bool whole;

	if (r->role != ROLE_CLAIMING || (uintptr_t)of != r->grant_mark)
		return;
	if (rc == 0) {
		redis_refused(r, owner);
		return;
	}
	if (rc < 0 || reply->elements < 2 || reply->element[1]->type != REDIS_REPLY_STRING) {
		redis_become_none(r);
		redis_trouble_reply(r, TROUBLE_LEASE, reply);
		redis_settle(r);
		return;
	}
	whole = *redis_whole_run(r);
	redis_saw(r, reply->element[1]->str);
	r->watch.whole = whole;
	if (!r->linked)
		return;
	r->epoch = r->watch.owner.epoch;
	r->role = ROLE_LOADING;
	r->granted = r->beaten = true;
	r->lease_ns = 0;
	r->unreadable = 0;
	r->loaded = r->kept;
	r->nodes.count = 0;
	if (!r->kept)
		redis_load(r);
	redis_answered(r, (uintptr_t)of);
}

int redis_ask_for_it(struct redis_store *r)
{
	const char *run = redis_whole_run(r); /* what is loaded is as good as it was */
	char beat[24], lease[12], lowest[12];

	snprintf(beat, sizeof(beat), "%" PRIu64, ++r->beat);
	snprintf(lease, sizeof(lease), "%u", r->s.config.lease_ms);
	snprintf(lowest, sizeof(lowest), "%u", r->highest);
	r->asked_ns = clock_boot_ns();
	r->granted = false;
	r->grant_mark = redis_run_marked(
		r, REDIS_CLAIM, on_claim, 6,
		(const char *[]){r->s.config.node, beat, lease, lowest, r->watch.text, run}, NULL);
	if (!r->grant_mark)
		return -ENOTCONN;
	r->role = ROLE_CLAIMING;
	return 0;
}

int redis_claim(struct store *s)
{
	struct redis_store *r = (struct redis_store *)s;

	if (r->role == ROLE_CLAIMING || r->role == ROLE_LOADING)
		return 0;
	if (!r->linked || !r->watch.seen)
		return -EPERM;
	if (r->role != ROLE_NONE || clock_boot_ns() < redis_vacant_ns(r))
		return -EAGAIN;
	return redis_ask_for_it(r);
}

static void see_nodes(struct redis_store *r, const redisReply *list, uint64_t now)
{
	for (size_t i = 0; i + 1 < list->elements; i += 2)
		if (list->element[i]->type == REDIS_REPLY_STRING &&
		    list->element[i + 1]->type == REDIS_REPLY_STRING &&
		    strcmp(list->element[i]->str, r->s.config.node))
			redis_nodes_saw(&r->nodes, list->element[i]->str, list->element[i + 1]->str,
					now);
}

static void on_renew(void *arg, const redisReply *reply, void *of)
{
	struct redis_store *r = arg;
	const char *owner;
	int rc = redis_outcome(reply, &owner);
	uint64_t now = clock_boot_ns();

	if ((uintptr_t)of != r->grant_mark)
		return;
	if (rc == 0) {
		redis_refused(r, owner);
		return;
	}
	if (rc < 0 || reply->elements != 5 || reply->element[1]->type != REDIS_REPLY_INTEGER ||
	    reply->element[2]->type != REDIS_REPLY_INTEGER ||
	    reply->element[3]->type != REDIS_REPLY_STRING ||
	    reply->element[4]->type != REDIS_REPLY_ARRAY) {
		r->grant_mark = 0;
		r->renew_ns = now + REDIS_MS * r->s.config.heartbeat_ms;
		redis_trouble_reply(r, TROUBLE_LEASE, reply);
		redis_settle(r);
		return;
	}
	r->granted = r->beaten = true;
	see_nodes(r, reply->element[4], now);
	if (*reply->element[3]->str && redis_nodes_present(&r->nodes, reply->element[3]->str, now,
							   2 * REDIS_MS * r->s.config.lease_ms))
		store_was_asked(&r->s, reply->element[3]->str);
	if (r->role == ROLE_OWNER) {
		if (reply->element[1]->integer == 1 || (r->resync_due && !r->resyncing) ||
		    (r->count_known && (size_t)reply->element[2]->integer != r->count))
			redis_resync(r);
		redis_send_batch(r);
	}
	redis_answered(r, (uintptr_t)of);
}

void redis_renew(struct redis_store *r, uint64_t now)
{
	char beat[24], lease[12], epoch[12];

	r->count = shelf_count(r->s.shelf);
	r->count_known = r->role == ROLE_OWNER && r->s.queue.count == 0 && !r->resync_due;
	snprintf(beat, sizeof(beat), "%" PRIu64, ++r->beat);
	snprintf(lease, sizeof(lease), "%u", r->s.config.lease_ms);
	snprintf(epoch, sizeof(epoch), "%u", r->epoch);
	r->asked_ns = now;
	r->granted = false;
	r->grant_mark = redis_run_marked(r, REDIS_RENEW, on_renew, 6,
					 (const char *[]){r->s.config.node, beat, lease, epoch,
							  now < r->lease_ns ? "1" : "0",
							  redis_whole_run(r)},
					 NULL);
	if (!r->grant_mark)
		r->renew_ns = now + REDIS_MS * r->s.config.heartbeat_ms;
}

/* ---- looking ---- */

static void on_look(void *arg, const redisReply *reply, void *of)
{
	struct redis_store *r = arg;
	uint32_t ms = r->s.config.heartbeat_ms / 3;
	unsigned long highest;

	(void)of;
	r->looking = false;
	ms = ms < REDIS_LOOK_MS_MIN ? REDIS_LOOK_MS_MIN : ms > LOOK_MS_MAX ? LOOK_MS_MAX : ms;
	r->look_ns = clock_boot_ns() + REDIS_MS * ms;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
	    reply->element[0]->type != REDIS_REPLY_STRING ||
	    reply->element[1]->type != REDIS_REPLY_STRING ||
	    reply->element[2]->type != REDIS_REPLY_STRING) {
		r->watch.seen = false; /* who cannot write cannot claim */
		redis_trouble_reply(r, TROUBLE_LEASE, reply);
		redis_settle(r);
		return;
	}
	highest = strtoul(reply->element[1]->str, NULL, 10);
	if (highest < UINT32_MAX && highest > r->highest)
		r->highest = highest;
	if (r->role == ROLE_NONE) {
		redis_trouble_over(r, TROUBLE_LEASE);
		redis_saw(r, reply->element[0]->str);
		redis_watch_saw_whole(&r->watch, reply->element[2]->str, r->run);
		redis_settle(r);
	}
}

void redis_look(struct redis_store *r)
{
	char beat[44], highest[12];

	snprintf(beat, sizeof(beat), "%" PRIu64 " %" PRIx64, ++r->beat, r->s.offer);
	snprintf(highest, sizeof(highest), "%u", r->highest);
	r->looking = redis_link_run(r->link, REDIS_LOOK, on_look, NULL, 3,
				    (const char *[]){r->s.config.node, beat, highest}, NULL) == 0;
}

/* ---- handing over ---- */

static void on_hand(void *arg, const redisReply *reply, void *of)
{
	struct redis_store *r = arg;
	const char *owner;

	(void)of;
	if (r->role != ROLE_HANDING)
		return;
	if (redis_outcome(reply, &owner) != 1) {
		redis_trouble_reply(r, TROUBLE_LEASE, reply);
	} else {
		r->kept = false;
		shelf_clear(r->s.shelf);
	}
	redis_become_none(r);
	redis_look(r);
	redis_tick_later(r, clock_boot_ns());
}

int redis_run_hand(struct redis_store *r, const char *to)
{
	char epoch[12], lease[12];

	snprintf(epoch, sizeof(epoch), "%u", r->epoch);
	snprintf(lease, sizeof(lease), "%u", r->s.config.lease_ms);
	return redis_link_run(
		r->link, REDIS_HAND, on_hand, NULL, 5,
		(const char *[]){r->s.config.node, epoch, lease, to, redis_whole_run(r)}, NULL);
}

void redis_hand_if_due(struct redis_store *r)
{
	const struct queue_entry *e = TAILQ_FIRST(&r->s.queue.waiting);

	if (r->role != ROLE_OWNER || !*r->hand_to || !r->linked || r->resync_due ||
	    !TAILQ_EMPTY(&r->s.queue.batch) || (e && e->ticket <= r->hand_ticket))
		return;
	/* We stop before Redis lets the other one begin. */
	r->role = ROLE_HANDING;
	r->grant_mark = 0;
	redis_evaluate(r, clock_boot_ns());
	store_changed_now(&r->s);
	if (redis_run_hand(r, r->hand_to) < 0)
		redis_become_none(r);
}

int redis_hand(struct store *s, const char *to)
{
	struct redis_store *r = (struct redis_store *)s;

	if (to && (!*to || strlen(to) >= HF_NAME_LEN || !strcmp(to, s->config.node)))
		return -EINVAL;
	to = redis_nodes_present(&r->nodes, to, clock_boot_ns(), 2 * REDIS_MS * s->config.lease_ms);
	if (!r->linked || !to)
		return -ENOTCONN;
	if (r->resync_due)
		return -EAGAIN;
	snprintf(r->hand_to, sizeof(r->hand_to), "%s", to);
	r->hand_ticket = s->queue.ticket;
	redis_tick_now(r);
	return 0;
}

const char *redis_able(const struct store *s, const char *to, uint64_t keep, uint64_t gain)
{
	const struct redis_store *r = (const struct redis_store *)s;

	if (!r->linked || r->resync_due)
		return NULL;
	return redis_nodes_able(&r->nodes, to, keep, gain, clock_boot_ns(),
				2 * REDIS_MS * s->config.lease_ms);
}

static void on_ask(void *arg, const redisReply *reply, void *of)
{
	(void)of;
	if (reply->type == REDIS_REPLY_ERROR)
		redis_trouble_reply(arg, TROUBLE_LEASE, reply);
}

int redis_ask(struct store *s)
{
	struct redis_store *r = (struct redis_store *)s;

	return redis_link_run(r->link, REDIS_ASK, on_ask, NULL, 1, (const char *[]){s->config.node},
			      NULL);
}
