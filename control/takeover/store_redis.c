/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records and ownership in Redis. What runs inside Redis: store_redis_script.c; when one may claim:
 * store_redis_watch.h; the connection: store_redis_link.c.
 *
 * Timer: `tick`, when the next of these is due: a look (nobody, standby), a renewal (owner), the
 * end of our lease, the moment from which we may claim.
 *
 * Guaranteed. One owner: every step of ownership is one script that compares the owner's key; a
 * lease counts from when it was asked for and, with `replicas`, only once that many replicas have
 * it. A write of an old epoch is refused inside Redis. Committed means: Redis has it, and
 * `replicas` of its replicas have it (WAIT). Not guaranteed. What Redis itself loses: without
 * `replicas`, its last writes when it dies (all of them without AOF; the last second with
 * appendfsync everysec). The owner, as long as it lives, sees that Redis has forgotten (another run
 * id, another history, the owner's key gone, another count of records) and writes everything again;
 * it is a loss only if the owner dies as well before that is done. With fewer `replicas` than there
 * are, a fail-over may choose one that WAIT did not hear of, and while two masters live, each may
 * have an owner: `replicas` has to be the number of all replicas that can be promoted. WAIT says
 * that a replica has the write in memory, not on its disk.
 *
 * There is no warm copy: the records are read when we claim, from the one who says that we own
 * them. Only who was the last owner keeps its own: Redis may have lost the newest of them. Among
 * these are some that Redis never had, so they are written before the ownership counts as held.
 * After a restart of Redis the others leave time for that owner to come first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <event2/event.h>

#include "control/takeover/store_redis_private.h"

#define SILENCE_MS_MIN 500
#define RETRY_MS       100

void redis_tick_now(struct redis_store *r)
{
	event_active(r->tick, EV_TIMEOUT, 1);
}

/* ---- what is wrong ---- */

__attribute__((format(printf, 3, 4))) void
redis_trouble(struct redis_store *r, enum redis_trouble kind, const char *format, ...)
{
	char why[REDIS_WHY_LEN];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	r->trouble = kind;
	store_why(&r->s, "%s", why);
}

void redis_trouble_over(struct redis_store *r, enum redis_trouble kind)
{
	if (r->trouble != kind)
		return;
	r->trouble = TROUBLE_NONE;
	store_why(&r->s, "%s", "");
}

void redis_trouble_reply(struct redis_store *r, enum redis_trouble kind, const redisReply *reply)
{
	char why[REDIS_WHY_LEN];

	redis_error_text(reply->type == REDIS_REPLY_ERROR ? reply->str : "an odd answer", why);
	redis_trouble(r, kind, "%s", why);
}

/* ---- state ---- */

static bool owner_is_ours(const struct redis_store *r)
{
	const struct redis_owner *o = &r->watch.owner;

	return o->beat >= r->first_beat && o->beat <= r->beat && !strcmp(o->node, r->s.config.node);
}

static struct redis_claimant claimant(const struct redis_store *r)
{
	return (struct redis_claimant){
		.node = r->s.config.node,
		.lease_ms = r->s.config.lease_ms,
		.ours = owner_is_ours(r) && !strcmp(r->run, r->held_run),
		.kept = r->kept,
		.return_ms = SILENCE_MS_MIN + RETRY_MS,
	};
}

uint64_t redis_vacant_ns(const struct redis_store *r)
{
	const struct redis_claimant c = claimant(r);

	return redis_watch_vacant_ns(&r->watch, &c);
}

const char *redis_whole_run(const struct redis_store *r)
{
	if (r->role == ROLE_OWNER || r->role == ROLE_HANDING)
		return r->refilled && !r->resync_due ? r->run : "";
	return r->watch.whole && !r->kept ? r->run : "";
}

void redis_evaluate(struct redis_store *r, uint64_t now)
{
	struct store_status *st = &r->s.status;
	const struct redis_owner *o = &r->watch.owner;
	const char *owner = o->node;

	st->held = false;
	st->ready_ns = 0;
	if (r->role == ROLE_OWNER) {
		st->state = STORE_OWNER;
		st->epoch = r->epoch;
		st->held = r->refilled;
		owner = r->s.config.node;
		st->synced = r->linked && !r->resync_due &&
			     redis_nodes_present(&r->nodes, NULL, now,
						 2 * REDIS_MS * r->s.config.lease_ms);
	} else if (!r->linked || !r->watch.seen) {
		st->state = STORE_AWAY;
		st->synced = false;
		owner = "";
	} else {
		const struct redis_claimant c = claimant(r);

		st->state = STORE_STANDBY;
		st->epoch = o->epoch;
		st->ready_ns = redis_watch_settled_ns(&r->watch, &c);
		st->synced = st->ready_ns <= now;
		if (r->role == ROLE_HANDING) {
			owner = r->hand_to;
		} else if (r->role != ROLE_NONE || now >= redis_vacant_ns(r)) {
			st->state = STORE_VACANT;
			owner = "";
		}
	}
	snprintf(st->owner, sizeof(st->owner), "%s", owner);
}

void redis_tick_later(struct redis_store *r, uint64_t now)
{
	uint64_t due = UINT64_MAX, ms, vacant;
	struct timeval t;

	if (r->role == ROLE_OWNER)
		due = r->lease_ns;
	if (r->linked && r->role == ROLE_NONE) {
		vacant = redis_vacant_ns(r);
		if (!r->looking)
			due = r->look_ns;
		if (vacant > now && vacant < due)
			due = vacant;
	} else if (r->linked && !r->grant_mark && r->role != ROLE_HANDING && r->renew_ns < due) {
		due = r->renew_ns;
	}
	if (due == UINT64_MAX) {
		evtimer_del(r->tick);
		return;
	}
	ms = due <= now ? 0 : (due - now + REDIS_MS - 1) / REDIS_MS;
	t = (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	evtimer_add(r->tick, &t);
}

void redis_settle(struct redis_store *r)
{
	uint64_t now = clock_boot_ns();

	redis_evaluate(r, now);
	store_changed(&r->s);
	redis_tick_later(r, now);
}

void redis_saw(struct redis_store *r, const char *owner)
{
	bool was_seen = r->watch.seen;

	if (redis_watch_saw(&r->watch, owner, clock_boot_ns()) < 0) {
		redis_link_broken(r->link, "the owner's key in Redis is not one of ours");
		return;
	}
	if (r->watch.owner.epoch > r->highest)
		r->highest = r->watch.owner.epoch;
	if (owner_is_ours(r) && r->watch.owner.epoch > r->epoch)
		r->epoch = r->watch.owner.epoch; /* of a claim whose answer was lost */
	if (r->role != ROLE_OWNER && r->kept &&
	    ((*owner && !owner_is_ours(r)) || r->highest > r->epoch)) {
		r->kept = false;
		shelf_clear(r->s.shelf);
	}
	if (!*owner && !was_seen)
		redis_trouble(r, TROUBLE_DATA,
			      "Redis knows no owner: any lease that it may have "
			      "forgotten has to end first");
	else if (*owner)
		redis_trouble_over(r, TROUBLE_DATA);
}

void redis_become_none(struct redis_store *r)
{
	r->role = ROLE_NONE;
	r->grant_mark = 0;
	r->batch_mark = 0;
	r->resyncing = false;
	r->resync_queued = false;
	*r->hand_to = 0;
	/* What we saw of the owner's key may be what we made of it ourselves. */
	r->watch.seen = false;
	r->look_ns = clock_boot_ns() + REDIS_MS * REDIS_LOOK_MS_MIN;
}

static void lose(struct redis_store *r)
{
	redis_become_none(r);
	redis_evaluate(r, clock_boot_ns());
	store_changed_now(&r->s); /* the gate above falls before anything else is done */
}

/* ---- replicas ---- */

static void check_held(struct redis_store *r);

static void on_wait(void *arg, const redisReply *reply, void *of)
{
	struct redis_store *r = arg;
	uintptr_t mark = (uintptr_t)of;

	r->waits--;
	if (reply->type == REDIS_REPLY_INTEGER && reply->integer >= r->s.config.replicas) {
		if (mark > r->held)
			r->held = mark;
		redis_trouble_over(r, TROUBLE_WAIT);
	} else if (reply->type == REDIS_REPLY_INTEGER) {
		redis_trouble(
			r, TROUBLE_WAIT,
			"only %lld of the %u replicas that are asked for have the newest records",
			reply->integer, r->s.config.replicas);
	} else {
		redis_trouble_reply(r, TROUBLE_WAIT, reply);
	}
	check_held(r);
}

static void send_wait(struct redis_store *r)
{
	char replicas[12], ms[12];

	/* It keeps Redis from answering what comes after it, renewals too. */
	snprintf(replicas, sizeof(replicas), "%u", r->s.config.replicas);
	snprintf(ms, sizeof(ms), "%u", r->s.config.heartbeat_ms);
	if (redis_link_send(r->link, on_wait, (void *)r->mark, 3,
			    (const char *[]){"WAIT", replicas, ms}, NULL) == 0)
		r->waits++;
}

uintptr_t redis_run_marked(struct redis_store *r, enum redis_script script, redis_reply_fn *done,
			   int argc, const char **argv, const size_t *len)
{
	uintptr_t mark = r->mark + 1;

	if (redis_link_run(r->link, script, done, (void *)mark, argc, argv, len) < 0)
		return 0;
	r->mark = mark;
	if (r->s.config.replicas > 0)
		send_wait(r);
	return mark;
}

void redis_answered(struct redis_store *r, uintptr_t mark)
{
	if (r->s.config.replicas == 0 && mark > r->held)
		r->held = mark;
	check_held(r);
}

int redis_outcome(const redisReply *reply, const char **ret_owner)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 ||
	    reply->element[0]->type != REDIS_REPLY_INTEGER)
		return -1;
	if (reply->element[0]->integer == 1)
		return 1;
	if (reply->elements < 2 || reply->element[1]->type != REDIS_REPLY_STRING)
		return -1;
	*ret_owner = reply->element[1]->str;
	return 0;
}

static void check_held(struct redis_store *r)
{
	if (r->grant_mark && r->granted && r->grant_mark <= r->held) {
		r->grant_mark = 0;
		r->lease_ns = r->asked_ns + REDIS_MS * r->s.config.lease_ms;
		r->renew_ns = r->asked_ns + REDIS_MS * r->s.config.heartbeat_ms;
		strcpy(r->held_run, r->run);
		if (r->role == ROLE_OWNER && clock_boot_ns() < r->lease_ns) {
			store_lease(&r->s, r->lease_ns);
			redis_trouble_over(r, TROUBLE_LEASE);
		}
		redis_own(r);
		redis_settle(r);
	}
	if (r->batch_mark && r->written && r->batch_mark <= r->held) {
		r->batch_mark = 0;
		store_batch_over(&r->s);
		if (r->resync_due)
			redis_resync_check(r);
		else
			store_committed(&r->s);
		redis_hand_if_due(r);
	}
	if (r->waits == 0 && r->s.config.replicas > 0 && r->held < r->mark &&
	    ((r->grant_mark && r->granted) || (r->batch_mark && r->written)))
		send_wait(r);
}

/* ---- the loop ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct redis_store *r = arg;
	uint64_t now = clock_boot_ns();

	(void)fd;
	(void)what;
	if (r->role == ROLE_OWNER && now >= r->lease_ns) {
		if (r->trouble == TROUBLE_NONE)
			redis_trouble(r, TROUBLE_LEASE, "Redis did not renew the lease in time");
		lose(r);
	}
	redis_hand_if_due(r);
	if (!r->linked) {
		redis_settle(r);
		return;
	}
	if (r->role == ROLE_NONE) {
		if (r->watch.seen && *r->watch.text && r->watch.owner.beat == 0 &&
		    !strcmp(r->watch.owner.node, r->s.config.node) && now >= redis_vacant_ns(r))
			redis_ask_for_it(r); /* we were given it */
		else if (!r->looking && now >= r->look_ns)
			redis_look(r);
	} else if (r->role != ROLE_HANDING && !r->grant_mark && now >= r->renew_ns) {
		redis_renew(r, now);
	}
	redis_settle(r);
}

static void on_up(void *arg, const char *run)
{
	struct redis_store *r = arg;
	bool new_run = strcmp(run, r->run);

	snprintf(r->run, sizeof(r->run), "%s", run);
	redis_watch_connected(&r->watch, new_run, clock_boot_ns());
	r->linked = true;
	r->beaten = false;
	r->look_ns = r->renew_ns = 0;
	if (r->role == ROLE_OWNER && strcmp(run, r->held_run))
		r->resync_due = true;
	redis_trouble_over(r, TROUBLE_LINK);
	redis_tick_now(r);
}

static void on_down(void *arg, const char *why)
{
	struct redis_store *r = arg;

	r->linked = r->looking = r->resyncing = false;
	r->watch.seen = false;
	r->resync_queued = false;
	r->grant_mark = r->batch_mark = 0;
	r->waits = 0;
	redis_trouble(r, TROUBLE_LINK, "%s", why);
	if (r->role != ROLE_OWNER)
		redis_become_none(r);
	redis_settle(r);
}

/* ---- open, close ---- */

static void redis_close(struct store *s)
{
	struct redis_store *r = (struct redis_store *)s;

	if (r->role == ROLE_OWNER && r->linked)
		redis_run_hand(r, "");
	redis_link_close(r->link);
	if (r->tick)
		event_free(r->tick);
	store_fini(s);
	free(r);
}

static const struct store_kind redis_kind = {
	.close = redis_close,
	.flush = redis_flush,
	.claim = redis_claim,
	.hand = redis_hand,
	.ask = redis_ask,
	.able = redis_able,
};

int store_redis_open(struct event_base *base, const struct store_config *config,
		     const struct store_ops *ops, void *arg, struct store **ret, char *err,
		     size_t err_size)
{
	static const struct redis_link_ops link_ops = {.up = on_up, .down = on_down};
	struct redis_link_config link = {
		.group = config->group,
		.host = config->redis_host,
		.port = config->redis_port,
		.user = config->redis_user,
		.password = config->redis_password,
		.silence_ms = config->lease_ms > SILENCE_MS_MIN ? config->lease_ms : SILENCE_MS_MIN,
		.retry_ms = RETRY_MS,
	};
	struct redis_store *r = calloc(1, sizeof(*r));
	int rc;

	if (!r) {
		snprintf(err, err_size, "no memory for the store");
		return -ENOMEM;
	}
	rc = store_init(&r->s, &redis_kind, base, config, ops, arg, err, err_size);
	if (rc < 0)
		goto out;
	/* Not those of a former life of this node: what that one owned may still be in use. */
	if (getrandom(&r->first_beat, sizeof(r->first_beat), 0) != sizeof(r->first_beat)) {
		rc = -errno;
		snprintf(err, err_size, "no random numbers: %s", strerror(errno));
		goto out;
	}
	r->first_beat = r->first_beat >> 2 | 1;
	r->beat = r->first_beat - 1;
	r->tick = evtimer_new(base, on_tick, r);
	rc = r->tick ? redis_link_open(base, &link, &link_ops, r, &r->link) : -ENOMEM;
	if (rc < 0) {
		snprintf(err, err_size,
			 rc == -EINVAL ? "the store needs the host and the port of Redis"
				       : "no memory for the store");
		goto out;
	}
	*ret = &r->s;
	return 0;
out:
	redis_close(&r->s);
	return rc;
}
