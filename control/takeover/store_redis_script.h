/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What runs inside Redis. Each script is one atomic step; all of them get the same keys. The
 * group's name is the hash tag, so that they lie in one slot. The last argument of each is the
 * history that Redis had when the connection was made: in another one it does nothing. A server
 * that becomes a replica, and a master again, keeps its clients.
 *
 * holdfast:{GROUP}:owner: "EPOCH BEAT LEASE NODE". BEAT is new with each claim and renewal; LEASE
 * is in ms; NODE is empty when the group was given back. BEAT 0: given to NODE, which has not taken
 * it yet.
 *
 * holdfast:{GROUP}:epoch: the highest epoch that ever was.
 *
 * holdfast:{GROUP}:records: hash, id in hex -> the record's bytes.
 *
 * holdfast:{GROUP}:nodes: hash, node that stands by -> "BEAT SERVICES". SERVICES, in hex: what its
 * applications could serve.
 *
 * holdfast:{GROUP}:ask: a node that asks to be given the group.
 *
 * holdfast:{GROUP}:whole: "EPOCH RUN". The owner of EPOCH held its lease in this run of Redis,
 * which had every record of it; RUN is the id of a run and of its history (store_redis_link.h). So
 * a Redis that was restarted, or took over, says nothing with what it has kept of this key.
 *
 * None of them has an expiry, on purpose. Redis counts an expiry by its wall clock, which may be
 * set forward; it may evict what has one when memory is short; and after a crash it may come back
 * with an older state. So a claimant watches BEAT by its own CLOCK_BOOTTIME instead, and from anew
 * after each connection: see store_redis.c.
 */
#ifndef HOLDFAST_TAKEOVER_STORE_REDIS_SCRIPT_H
#define HOLDFAST_TAKEOVER_STORE_REDIS_SCRIPT_H

#define REDIS_SHA_LEN 40

enum redis_script {
	/* node, beat and services, highest epoch that it knows -> owner, highest epoch, whole */
	REDIS_LOOK,
	/* node, beat, lease, lowest epoch - 1, what owner must be, run or "" -> 1 or 0, owner. The
	 * run, here and below: Redis has every record in this one */
	REDIS_CLAIM,
	/* node, beat, lease, epoch, 1 if the lease lasts, run or "" -> 1, 1 if the owner's key was
	 * lost, count of records, who asks, nodes (flat); or 0, owner */
	REDIS_RENEW,
	/* node, epoch, beat, count of puts, that many times id and bytes, ids to delete -> 1 or 0,
	 * owner. The beat is the newest that the node had when it sent this */
	REDIS_WRITE,
	/* node, epoch, lease, to, run or "" -> 1 or 0, owner. `to` empty: back to nobody */
	REDIS_HAND,
	/* node -> 1 */
	REDIS_ASK,
	REDIS_SCRIPTS,
};

enum redis_key {
	REDIS_KEY_OWNER,
	REDIS_KEY_EPOCH,
	REDIS_KEY_RECORDS,
	REDIS_KEY_NODES,
	REDIS_KEY_ASK,
	REDIS_KEY_WHOLE,
	REDIS_KEYS,
};

extern const char *const redis_script_text[REDIS_SCRIPTS];
extern const char *const redis_key_name[REDIS_KEYS]; /* the part after the group */

#endif
