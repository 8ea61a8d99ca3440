/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a node sees in Redis: who owns the group, who stands by. Pure; every "now" is CLOCK_BOOTTIME
 * in ns, when the answer was read.
 *
 * When may one claim? The owner counts its lease from when it asked, and each renewal changes the
 * owner's key. So a lease has surely ended when that key has been the same for a whole lease since
 * we first saw it, plus STORE_SKEW_PERCENT. What Redis held before a restart or before another
 * server took over proves nothing: it may have forgotten renewals, even claims, and records. So
 * after that, nobody claims for a whole lease either, whatever the key says; and who has kept the
 * records goes first, since those in Redis may be older than what peers were told. All this is for
 * a Redis of which we know no more than that we have just found it. Where the owner has written
 * that it holds its lease in this very run, and that all its records are there ("whole"), nothing
 * can have been forgotten: every renewal since was this key's. Unless the owner went elsewhere
 * meanwhile: a master that another one replaced, and that was never told, keeps the word of before.
 * So a node that was at another Redis believes it once it has seen the owner renew its lease here.
 */
#ifndef HOLDFAST_TAKEOVER_STORE_REDIS_WATCH_H
#define HOLDFAST_TAKEOVER_STORE_REDIS_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <holdfast/layout.h>

#define REDIS_OWNER_LEN (10 + 1 + 20 + 1 + 10 + 1 + HF_NAME_LEN)
#define REDIS_NODES_MAX 16 /* that are remembered */

struct redis_owner { /* the owner's key */
	uint32_t epoch;
	uint64_t beat;
	uint32_t lease_ms;
	char node[HF_NAME_LEN]; /* "": nobody */
};

/* 0 or -EBADMSG; `ret` is untouched then. */
int redis_owner_parse(const char *text, struct redis_owner *ret);

struct redis_watch {
	char text[REDIS_OWNER_LEN]; /* as it was seen; "": there was no such key */
	struct redis_owner owner;   /* zero if there was none */
	bool seen;                  /* since the connection was made */
	bool moved;                 /* from another run, and the key has not changed since */
	bool whole;                 /* that owner has said so, of this run */
	uint64_t seen_ns;           /* `text` is the same since then */
	uint64_t run_ns;            /* Redis is in this run since then, as far as we know */
};

/* How the claimant relates to what it sees. */
struct redis_claimant {
	const char *node;
	uint32_t lease_ms;
	bool ours; /* that ownership was ours, and Redis has forgotten nothing since: it is the last
		      one */
	bool kept; /* we were the last owner and hold every record still */
	uint32_t return_ms; /* so long, and a lease, who has kept them may need to find Redis again
			     */
};

void redis_watch_connected(struct redis_watch *w, bool new_run, uint64_t now_ns);
/* What the key says now. 0, or -EBADMSG. */
int redis_watch_saw(struct redis_watch *w, const char *text, uint64_t now_ns);
/* What the key of that name says of the owner that was seen, and of the run that we are in. */
void redis_watch_saw_whole(struct redis_watch *w, const char *text, const char *run);
/* From when on we may claim; UINT64_MAX: nothing has been seen. */
uint64_t redis_watch_vacant_ns(const struct redis_watch *w, const struct redis_claimant *c);
/* Not before then, were the owner's lease to end now: 0, UINT64_MAX, or the end of what a Redis
 * that was just found demands. */
uint64_t redis_watch_settled_ns(const struct redis_watch *w, const struct redis_claimant *c);

struct redis_nodes {
	struct {
		char name[HF_NAME_LEN];
		char beat[44]; /* and, in hex behind a space, what its applications could serve */
		uint64_t services;
		uint64_t changed_ns; /* 0: not since we look */
	} list[REDIS_NODES_MAX];
	size_t count;
};

void redis_nodes_saw(struct redis_nodes *n, const char *name, const char *beat, uint64_t now_ns);
/* The name of a node that wrote within `age_ns`, NULL if none did; `name` NULL: of any. */
const char *redis_nodes_present(const struct redis_nodes *n, const char *name, uint64_t now_ns,
				uint64_t age_ns);
/* The same of one that offers all of `keep` and something of `gain` (0: that does not matter). */
const char *redis_nodes_able(const struct redis_nodes *n, const char *name, uint64_t keep,
			     uint64_t gain, uint64_t now_ns, uint64_t age_ns);

#endif
