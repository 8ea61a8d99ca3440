/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What store.c and the implementations share; nobody else includes it. An implementation's own
 * struct begins with a struct store. store.c checks the caller's state, keeps shelf and queue, and
 * sees to it that callbacks come from the loop; an implementation moves the queue's batches, and
 * says what changed.
 */
#ifndef HOLDFAST_TAKEOVER_STORE_PRIVATE_H
#define HOLDFAST_TAKEOVER_STORE_PRIVATE_H

#include "control/clock.h"
#include "control/key.h"
#include "control/takeover/queue.h"
#include "control/takeover/shelf.h"
#include "control/takeover/store.h"

struct event;

struct store_kind {
	void (*close)(struct store *s); /* frees `s`, and calls store_fini() before */
	/* The queue is no longer empty and no batch was under way. Called from the loop, once for
	 * all that was put since; so the first batch holds everything of one turn of the loop. */
	void (*flush)(struct store *s);
	/* As their namesakes in store.h. What is the same for all was checked: hand is asked
	 * only of an owner, ask only of a standby. NULL: -ENOTSUP. */
	int (*claim)(struct store *s);
	int (*hand)(struct store *s, const char *to);
	int (*ask)(struct store *s);
	int (*alone)(struct store *s);
	const char *(*able)(const struct store *s, const char *to, uint64_t keep, uint64_t gain);
	void (*offer)(struct store *s); /* `offer` has changed. NULL: it is told by and by */
};

struct store {
	const struct store_kind *kind;
	struct event_base *base;
	struct store_ops ops;
	void *arg;
	struct store_config config; /* its strings are copies */
	uint8_t key[KEY_LEN];
	struct store_status
		status; /* write it, then store_changed(); `lag` and `commits` are store.c's */
	struct store_status told;
	struct shelf *shelf; /* what we hold; the owner's has every put at once */
	struct queue queue;
	uint64_t done;       /* every ticket up to this one */
	struct event *tell;  /* active: `status` is to be told */
	struct event *turn;  /* active: kind->flush() is due */
	struct event *asked; /* active: ops.asked(asked_by) is due */
	char asked_by[HF_NAME_LEN];
	uint64_t offer; /* our services */
};

/* Fills a zeroed `s`, checks what both need: names, lease_ms, heartbeat_ms. 0 or negative errno;
 * store_fini() is due either way. `err`: one sentence. */
int store_init(struct store *s, const struct store_kind *kind, struct event_base *base,
	       const struct store_config *config, const struct store_ops *ops, void *arg, char *err,
	       size_t err_size);
void store_fini(struct store *s); /* everything but `s` itself */

/* `status` may have changed: told from the loop, if it has. An owner that is no longer one loses
 * its queue. */
void store_changed(struct store *s);
/* The same at once; from the loop only. For what must be known above before something is sent. */
void store_changed_now(struct store *s);
/* The lease now ends then: written to the status and told at once; from the loop only. */
void store_lease(struct store *s, uint64_t until_ns);
/* The batch under way is held: queue_done(), and ops.committed() at once; from the loop only.
 * flush() comes again by itself when something waits. The store still lives afterwards, but may
 * have been told anything by the callback, except that it is closed. */
void store_batch_done(struct store *s);
/* The two halves of that: the batch is held, and nobody is told yet; what is done is told. */
void store_batch_over(struct store *s);
void store_committed(struct store *s);
/* ops.asked(), from the loop. */
void store_was_asked(struct store *s, const char *by);
__attribute__((format(printf, 2, 3))) void store_why(struct store *s, const char *format, ...);

static inline bool store_offers(uint64_t offer, uint64_t keep, uint64_t gain)
{
	return (!gain || offer & gain) && !(keep & ~offer);
}

#endif
