/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records in Redis: write what is queued, load, make Redis the same as the shelf. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "control/takeover/store_redis_private.h"

#define BATCH_MAX  (1u << 20) /* bytes: more would keep a renewal waiting */
#define LOAD_COUNT "500"      /* records that one HSCAN is to give */

/* ---- the batch ---- */

struct words {
	const char **text;
	size_t *len;
	char (*ids)[17];
	int count;
	int id_count;
};

static bool words_init(struct words *w, size_t max)
{
	*w = (struct words){
		.text = calloc(max, sizeof(*w->text)),
		.len = calloc(max, sizeof(*w->len)),
		.ids = calloc(max, sizeof(*w->ids)),
	};
	return w->text && w->len && w->ids;
}

static void words_free(struct words *w)
{
	free(w->text);
	free(w->len);
	free(w->ids);
}

static void words_add(struct words *w, const void *text, size_t len)
{
	w->text[w->count] = text;
	w->len[w->count++] = len;
}

static void words_add_id(struct words *w, uint64_t id)
{
	char *text = w->ids[w->id_count++];

	snprintf(text, sizeof(*w->ids), "%016" PRIx64, id);
	words_add(w, text, 16);
}

static size_t add_puts(struct words *w, const struct queue_list *list)
{
	const struct queue_entry *e;
	size_t puts = 0;

	for (e = TAILQ_FIRST(list); e; e = TAILQ_NEXT(e, link)) {
		if (e->parcel->len == 0)
			continue;
		words_add_id(w, e->parcel->id);
		words_add(w, e->parcel->bytes, e->parcel->len);
		puts++;
	}
	return puts;
}

static void add_deletions(struct words *w, const struct queue_list *list)
{
	const struct queue_entry *e;

	for (e = TAILQ_FIRST(list); e; e = TAILQ_NEXT(e, link))
		if (e->parcel->len == 0)
			words_add_id(w, e->parcel->id);
}

static void on_written(void *arg, const redisReply *reply, void *of)
{
	struct redis_store *r = arg;
	uintptr_t mark = (uintptr_t)of;
	const char *owner;
	int rc = redis_outcome(reply, &owner);

	if (mark != r->batch_mark)
		return;
	if (rc == 1) {
		r->written = true;
		r->full = false;
		redis_trouble_over(r, TROUBLE_WRITE);
		redis_answered(r, mark);
		return;
	}
	r->batch_mark = 0; /* again after the next renewal */
	if (rc < 0) {
		r->full = true;
		redis_trouble_reply(r, TROUBLE_WRITE, reply);
	} else if (*owner) {
		redis_refused(r, owner);
	} else {
		r->renew_ns = 0; /* it tells whether we may go on */
		redis_settle(r);
	}
}

static void ignore(void *arg, const redisReply *reply, void *of)
{
	(void)arg;
	(void)reply;
	(void)of;
}

/* `deletions` alone: of what waits as well. They give room, and must not wait for puts that find
 * none. */
static void run_write(struct redis_store *r, bool deletions)
{
	const struct queue *q = &r->s.queue;
	char epoch[12], beat[24], puts[24];
	struct words w;

	snprintf(epoch, sizeof(epoch), "%u", r->epoch);
	snprintf(beat, sizeof(beat), "%" PRIu64, r->beat);
	if (!words_init(&w, 4 + 2 * q->count))
		goto out;
	words_add(&w, r->s.config.node, strlen(r->s.config.node));
	words_add(&w, epoch, strlen(epoch));
	words_add(&w, beat, strlen(beat));
	words_add(&w, puts, 0);
	snprintf(puts, sizeof(puts), "%zu", deletions ? 0 : add_puts(&w, &q->batch));
	w.len[3] = strlen(puts);
	add_deletions(&w, &q->batch);
	if (deletions) {
		add_deletions(&w, &q->waiting);
		if (w.id_count)
			redis_link_run(r->link, REDIS_WRITE, ignore, NULL, w.count, w.text, w.len);
		goto out;
	}
	r->written = false;
	r->batch_mark = redis_run_marked(r, REDIS_WRITE, on_written, w.count, w.text, w.len);
out:
	words_free(&w); /* without memory: again after the next renewal */
}

void redis_send_batch(struct redis_store *r)
{
	if (r->role != ROLE_OWNER || !r->beaten || r->batch_mark || TAILQ_EMPTY(&r->s.queue.batch))
		return;
	if (r->full)
		run_write(r, true);
	run_write(r, false);
}

void redis_flush(struct store *s)
{
	struct redis_store *r = (struct redis_store *)s;

	if (queue_take(&s->queue, BATCH_MAX) && r->linked)
		redis_send_batch(r);
}

/* ---- everything again ---- */

void redis_resync_check(struct redis_store *r)
{
	const struct queue_entry *e = TAILQ_FIRST(&r->s.queue.waiting);

	if (!r->resyncing || !r->resync_queued || !TAILQ_EMPTY(&r->s.queue.batch) ||
	    (e && e->ticket <= r->resync_ticket))
		return;
	r->resyncing = r->resync_due = r->resync_queued = false;
	r->refilled = true;
	redis_trouble_over(r, TROUBLE_DATA);
	redis_settle(r);
	store_committed(&r->s);
}

/* Ids are written in one way only; what is not is no record of ours. */
static bool id_parse(const char *text, uint64_t *ret)
{
	char again[17];

	*ret = strtoull(text, NULL, 16);
	snprintf(again, sizeof(again), "%016" PRIx64, *ret);
	return !strcmp(again, text);
}

static int drop_stray(struct redis_store *r, const redisReply *field)
{
	uint64_t id, ticket;
	struct parcel *p;
	int rc;

	if (!id_parse(field->str, &id))
		return redis_link_send(
			r->link, ignore, NULL, 3,
			(const char *[]){"HDEL", redis_link_key(r->link, REDIS_KEY_RECORDS),
					 field->str},
			(const size_t[]){4, strlen(redis_link_key(r->link, REDIS_KEY_RECORDS)),
					 field->len});
	if (shelf_get(r->s.shelf, id))
		return 0;
	rc = parcel_deletion(id, &p);
	if (rc < 0)
		return rc;
	rc = queue_put(&r->s.queue, p, SIZE_MAX, &ticket);
	parcel_unref(p);
	return rc;
}

static int queue_everything(struct redis_store *r)
{
	struct shelf_walk *walk = shelf_walk_new(r->s.shelf);
	struct parcel *p;
	uint64_t ticket;
	int rc = walk ? 0 : -ENOMEM;

	while (rc == 0 && (p = shelf_walk_next(walk)))
		rc = queue_put(&r->s.queue, p, SIZE_MAX, &ticket);
	shelf_walk_free(walk);
	return rc;
}

static void on_ids(void *arg, const redisReply *reply, void *of)
{
	struct redis_store *r = arg;
	int rc = 0;

	(void)of;
	if (r->role != ROLE_OWNER || !r->resyncing)
		return;
	if (reply->type != REDIS_REPLY_ARRAY) {
		r->resyncing = false;
		redis_trouble_reply(r, TROUBLE_DATA, reply);
		return;
	}
	for (size_t i = 0; rc == 0 && i < reply->elements; i++)
		rc = drop_stray(r, reply->element[i]);
	if (rc == 0)
		rc = queue_everything(r);
	if (rc < 0) { /* again after the next renewal */
		r->resyncing = false;
		redis_trouble(r, TROUBLE_DATA, "no memory to write the records to Redis again");
		return;
	}
	r->resync_queued = true;
	r->resync_ticket = r->s.queue.ticket;
	r->s.status.lag = r->s.queue.count;
	if (TAILQ_EMPTY(&r->s.queue.batch))
		event_active(r->s.turn, EV_TIMEOUT, 1);
	redis_resync_check(r);
}

void redis_resync(struct redis_store *r)
{
	r->resync_due = true;
	r->resync_queued = false;
	r->s.status.resyncs++;
	redis_trouble(r, TROUBLE_DATA, "Redis may have lost records: all are being written again");
	r->resyncing = redis_link_send(r->link, on_ids, NULL, 2,
				       (const char *[]){"HKEYS",
							redis_link_key(r->link, REDIS_KEY_RECORDS)},
				       NULL) == 0;
}

/* ---- loading ---- */

static void load_from(struct redis_store *r, const char *cursor);

/* 0, or -ENOMEM; what cannot be read is counted. */
static int load_one(struct redis_store *r, const redisReply *field, const redisReply *bytes)
{
	struct parcel *p;
	uint64_t id;
	int rc = -EBADMSG;

	if (id_parse(field->str, &id))
		rc = parcel_from_bytes(id, bytes->str, bytes->len, &p);
	if (rc == 0) {
		rc = shelf_put(r->s.shelf, p);
		parcel_unref(p);
	} else if (rc != -ENOMEM) {
		r->unreadable++;
		rc = 0;
	}
	return rc;
}

static void load_failed(struct redis_store *r)
{
	redis_become_none(r);
	redis_settle(r);
}

static void on_load(void *arg, const redisReply *reply, void *of)
{
	struct redis_store *r = arg;
	const redisReply *list;
	int rc = 0;

	if (r->role != ROLE_LOADING || (uintptr_t)of != r->epoch || r->loaded)
		return;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_STRING ||
	    reply->element[1]->type != REDIS_REPLY_ARRAY) {
		redis_trouble_reply(r, TROUBLE_DATA, reply);
		load_failed(r);
		return;
	}
	list = reply->element[1];
	for (size_t i = 0; rc == 0 && i + 1 < list->elements; i += 2)
		rc = load_one(r, list->element[i], list->element[i + 1]);
	if (rc < 0) {
		redis_trouble(r, TROUBLE_DATA, "no memory for the records that Redis holds");
		load_failed(r);
		return;
	}
	if (strcmp(reply->element[0]->str, "0")) {
		load_from(r, reply->element[0]->str);
		return;
	}
	r->loaded = true;
	redis_own(r);
}

static void load_from(struct redis_store *r, const char *cursor)
{
	redis_link_send(r->link, on_load, (void *)(uintptr_t)r->epoch, 5,
			(const char *[]){"HSCAN", redis_link_key(r->link, REDIS_KEY_RECORDS),
					 cursor, "COUNT", LOAD_COUNT},
			NULL);
}

void redis_load(struct redis_store *r)
{
	shelf_clear(r->s.shelf);
	load_from(r, "0");
}
