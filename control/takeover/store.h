/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the records live beyond this machine, and who owns the group: one
 * interface, two implementations (store_direct.c: the nodes of a group hold each
 * other's records, over TLS 1.3 with a PSK; store_redis.c: Redis, with WAIT where it
 * has replicas).
 *
 * Everything is non-blocking and runs in the given event_base. Callbacks come from the
 * loop, never out of a call of the caller's. All times in ms unless said otherwise; a
 * lease's end is CLOCK_BOOTTIME in ns, so that a machine that slept has lost it.
 *
 * Fencing: an owner has an epoch, higher with each ownership (not by one). A write of an older
 * epoch is refused by whoever holds the records. A lease that is not renewed ends by the owner's
 * own clock before anybody else may claim: the claimant waits until the lease as the granter knows
 * it has ended, and the owner counts from the moment it ASKED. Two owners at one time are
 * impossible as long as clocks run at the same rate within STORE_SKEW.
 */
#ifndef HOLDFAST_TAKEOVER_STORE_H
#define HOLDFAST_TAKEOVER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "control/takeover/record.h"

struct event_base;
struct store;

#define STORE_SKEW_PERCENT 5 /* the granter waits that much longer than the owner counts */

enum store_state {
	STORE_AWAY,    /* no contact */
	STORE_STANDBY, /* another node owns the group; `synced` says whether we have everything */
	STORE_VACANT,  /* nobody owns it, or its lease has ended: store_claim() may succeed */
	STORE_OWNER,   /* we own it */
};

struct store_status {
	enum store_state state;
	bool synced; /* standby: a full copy; owner: some standby has one (commits survive us) */
	/* Owner: what it had when it became one is held as if it had been committed. Until then
	 * nobody may be told of it: a former owner has records that it never committed. */
	bool held;
	uint32_t epoch;          /* of the present ownership */
	char owner[HF_NAME_LEN]; /* "" if none or unknown */
	uint64_t lease_until_ns; /* owner: CLOCK_BOOTTIME; ~0: no end, nobody else can claim */
	uint64_t ready_ns; /* standby: CLOCK_BOOTTIME; not before may it own, whatever the owner
			      does */
	uint64_t lag;      /* owner: records queued and not yet committed */
	uint64_t commits;
	uint64_t resyncs; /* full copies given or taken */
	uint64_t refused; /* direct: connections of who could not prove to belong to the group */
	char why[160];    /* what is wrong, one sentence; "" if nothing is */
};

struct store_ops {
	/* State, owner, epoch, or `synced` changed. */
	void (*changed)(void *arg, const struct store_status *s);
	/* Owner: the lease now ends then. Comes often (each heartbeat). */
	void (*lease)(void *arg, uint64_t until_ns);
	/* Owner: every store_put() and store_delete() up to and including this ticket is held by as
	 * many as the configuration asks for. */
	void (*committed)(void *arg, uint64_t ticket);
	/* Owner: the other node asks to be given the group (operator or overload there), or this
	 * one should give it away. `to` is a node's name. May be NULL. */
	void (*asked)(void *arg, const char *to);
};

struct store_peer {
	char node[HF_NAME_LEN];
	struct hf_addr addr;
	uint16_t port; /* host order */
};

#define STORE_PEERS_MAX 4

struct store_config {
	const char *group; /* name of what is owned, the same on every node */
	const char *node;
	uint32_t lease_ms;     /* how long a grant lasts */
	uint32_t heartbeat_ms; /* how often it is renewed; lease_ms / 4 or less */
	/* direct */
	struct hf_addr listen;
	uint16_t port; /* host order */
	struct store_peer peers[STORE_PEERS_MAX];
	size_t peer_count;
	const uint8_t *key; /* KEY_LEN bytes */
	/* redis */
	const char *redis_host;
	uint16_t redis_port;
	const char *redis_user;     /* may be NULL */
	const char *redis_password; /* may be NULL */
	uint32_t replicas;          /* WAIT for so many; 0: none */
};

/* `ops` and `config` are copied (strings and the key too). 0 or negative errno; `err` then holds
 * one sentence. */
int store_direct_open(struct event_base *base, const struct store_config *config,
		      const struct store_ops *ops, void *arg, struct store **ret, char *err,
		      size_t err_size);
int store_redis_open(struct event_base *base, const struct store_config *config,
		     const struct store_ops *ops, void *arg, struct store **ret, char *err,
		     size_t err_size);
/* A clean end: gives the ownership back first where it can do so at once, so an owner has fenced
 * itself before. No callback. NULL is allowed. */
void store_close(struct store *s);

const struct store_status *store_status(const struct store *s);

/* Owner: writes a record in place of an older one of the same id. Batched: what is put while a
 * batch is under way goes with the next one, and of one id only the newest. The tickets rise.
 * -EPERM: not the owner. -ENOBUFS: the bound of what may wait (STORE_QUEUE_MAX) is reached. */
#define STORE_QUEUE_MAX (64u << 20) /* bytes */
int store_put(struct store *s, const struct record *r, uint64_t *ret_ticket);
int store_delete(struct store *s, uint64_t id, uint64_t *ret_ticket);

/* Asks for the ownership; the answer is ops.changed. Not allowed (-EPERM) without a full copy
 * unless there is nothing to copy; -EAGAIN: the lease of another one lasts. */
int store_claim(struct store *s);
/* Owner: gives it to another node, after everything put is committed: it becomes owner at once,
 * without waiting for the lease to end. -ENOTCONN, -EAGAIN (it is not synced, or has not granted
 * yet). */
int store_hand(struct store *s, const char *to); /* Redis: NULL is any that is there */
/* What this node's applications could serve, a bit for each service (apps_services()): the other
 * nodes are told, now and again. In any state. */
void store_offer(struct store *s, uint64_t services);
/* Owner: a node that could take over now, and offers all of `keep` and something of `gain` (0: that
 * does not matter): `to`, or any where that is NULL. NULL: there is none. Valid until the loop goes
 * on. */
const char *store_able(const struct store *s, const char *to, uint64_t keep, uint64_t gain);
/* Standby: asks the owner to hand over. */
int store_ask(struct store *s);
/* The operator vouches that every other node is dead or isolated: become or stay owner without
 * anybody's grant. Without a full copy it begins with nothing. Direct only; -ENOTSUP for Redis. */
int store_alone(struct store *s);

/* Everything that is held, for a new owner. `each` returns false to stop. The record is the
 * store's. Redis: before the first call the state STORE_OWNER has already waited for the load. */
void store_each(struct store *s, bool (*each)(void *arg, const struct record *r), void *arg);

#endif
