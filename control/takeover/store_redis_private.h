/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the parts of the Redis store share: store_redis.c (state, replicas, loop), store_redis_own.c
 * (claim, renew, hand over), store_redis_records.c (write, load, write everything again). Nobody
 * else includes it.
 */
#ifndef HOLDFAST_TAKEOVER_STORE_REDIS_PRIVATE_H
#define HOLDFAST_TAKEOVER_STORE_REDIS_PRIVATE_H

#include "control/takeover/store_private.h"
#include "control/takeover/store_redis_link.h"
#include "control/takeover/store_redis_watch.h"

#define REDIS_MS          1000000ull /* ns */
#define REDIS_LOOK_MS_MIN 5

enum redis_role {
	ROLE_NONE,
	ROLE_CLAIMING, /* the script is on its way */
	ROLE_LOADING,  /* ours in Redis; records are read, or replicas waited for */
	ROLE_OWNER,
	ROLE_HANDING, /* not ours any more, but Redis does not know yet */
};

enum redis_trouble {
	TROUBLE_NONE,
	TROUBLE_LINK,
	TROUBLE_LEASE,
	TROUBLE_WAIT,
	TROUBLE_WRITE,
	TROUBLE_DATA
};

struct redis_store {
	struct store s;
	struct redis_link *link;
	struct event *tick;
	enum redis_role role;
	enum redis_trouble trouble;
	bool linked;
	char run[REDIS_RUN_LEN]; /* of Redis, now */
	struct redis_watch watch;
	struct redis_nodes nodes;

	uint64_t first_beat; /* beats are ours from this one to `beat` */
	uint64_t beat;
	bool beaten;    /* with one of this connection, so that what an older one carries is late */
	uint32_t epoch; /* of our ownership */
	uint32_t highest; /* epoch that was seen */
	bool kept;        /* the shelf is what we own, or owned last, and nobody since */
	char held_run[REDIS_RUN_LEN]; /* in which our lease was granted last */

	bool looking;
	uint64_t look_ns; /* the next */

	/* Each script that writes gets a mark; what is marked up to `held` is where it is to be. */
	uintptr_t mark;
	uintptr_t held;
	uint32_t waits; /* under way */

	uintptr_t grant_mark; /* of the claim or renewal under way; 0: none */
	bool granted;         /* it was answered well */
	uint64_t asked_ns;
	uint64_t lease_ns; /* until when it lasts */
	uint64_t renew_ns; /* the next */
	bool count_known;  /* `count` is what Redis should have when it renews */
	size_t count;

	uintptr_t batch_mark; /* of the batch under way; 0: none is */
	bool written;         /* it was answered well */
	bool full;            /* it was refused, perhaps for want of memory */

	bool loaded;
	uint32_t unreadable; /* records that were loaded */

	bool resync_due; /* Redis may lack records: what is written is not told to be committed */
	bool resyncing;
	bool resync_queued; /* all that is to be written again is, up to the ticket */
	uint64_t resync_ticket;
	bool refilled; /* since we own: Redis has all that we had */

	char hand_to[HF_NAME_LEN]; /* "": not asked for */
	uint64_t hand_ticket;
};

/* ---- store_redis.c ---- */

/* What is wrong now, for status.why; a kind is over when what it hindered has succeeded. */
__attribute__((format(printf, 3, 4))) void
redis_trouble(struct redis_store *r, enum redis_trouble kind, const char *format, ...);
void redis_trouble_reply(struct redis_store *r, enum redis_trouble kind, const redisReply *reply);
void redis_trouble_over(struct redis_store *r, enum redis_trouble kind);

void redis_evaluate(struct redis_store *r, uint64_t now); /* the status, of what we are and see */
void redis_settle(struct redis_store *r); /* the same; it is told, and the timer set */
void redis_tick_now(struct redis_store *r);
void redis_tick_later(struct redis_store *r, uint64_t now);
uint64_t redis_vacant_ns(const struct redis_store *r);
/* The run of Redis if that has every record of ours, "" if it may lack some. */
const char *redis_whole_run(const struct redis_store *r);
void redis_saw(struct redis_store *r, const char *owner); /* the owner's key */
/* Whatever we were; what is on its way is no longer waited for. */
void redis_become_none(struct redis_store *r);

/* A script that writes what has to be held. Returns its mark, or 0. */
uintptr_t redis_run_marked(struct redis_store *r, enum redis_script script, redis_reply_fn *done,
			   int argc, const char **argv, const size_t *len);
void redis_answered(struct redis_store *r, uintptr_t mark); /* and well */
/* Of a script: 1: done; 0: refused, the owner's key is in `ret_owner`; -1: an error */
int redis_outcome(const redisReply *reply, const char **ret_owner);

/* ---- store_redis_own.c ---- */

int redis_claim(struct store *s);
int redis_hand(struct store *s, const char *to);
int redis_ask(struct store *s);
const char *redis_able(const struct store *s, const char *to, uint64_t keep, uint64_t gain);
int redis_ask_for_it(struct redis_store *r);
void redis_renew(struct redis_store *r, uint64_t now);
void redis_look(struct redis_store *r);
void redis_hand_if_due(struct redis_store *r);
int redis_run_hand(struct redis_store *r, const char *to);    /* "": to nobody */
void redis_refused(struct redis_store *r, const char *owner); /* Redis says: not ours */
void redis_own(struct redis_store *r); /* if it is granted, and all is loaded */

/* ---- store_redis_records.c ---- */

void redis_flush(struct store *s);
void redis_send_batch(struct redis_store *r);
void redis_load(struct redis_store *r);
/* Redis may lack some of what the shelf has, or have more: makes it the same. */
void redis_resync(struct redis_store *r);
void redis_resync_check(struct redis_store *r);

#endif
