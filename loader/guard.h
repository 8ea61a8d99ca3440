/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loads the guard of takeover, pins it, attaches it to interfaces, and keeps its tables.
 *
 * It has pins of its own, which need no other program of ours and stand beside them. Order:
 * guard_open(), guard_addresses(), guard_attach(), and only then the addresses may be put on the
 * interface: an address that is in no table is not fenced. Every function returns 0 or a negative
 * errno; where there is a struct loader_error, a failure leaves one sentence in it. Nothing here
 * logs. Not thread-safe; the data plane works at the same time.
 */
#ifndef HOLDFAST_LOADER_GUARD_H
#define HOLDFAST_LOADER_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include <holdfast/guard.h>

struct guard;
struct loader_error;

struct guard_options {
	const char *name;     /* instance */
	const char *pin_root; /* NULL: LOADER_PIN_ROOT */
	uint32_t slots;       /* connections at most, up to GUARD_SLOTS_MAX; 0: what is pinned, or
				 GUARD_SLOTS_DEFAULT */
	uint32_t embryo_rate; /* guard_conf.embryo_rate */
};

enum guard_map {
	GUARD_MAP_CONF,
	GUARD_MAP_ADDRS,
	GUARD_MAP_POINTS,
	GUARD_MAP_CONNS,
	GUARD_MAP_SLOTS,
	GUARD_MAP_FREE,
	GUARD_MAP_EMBRYOS,
	GUARD_MAP_EVENTS,
	GUARD_MAP_REASONS,
	GUARD_MAP_COUNT
};

/* Opens the guard of options->name as its one owner, until guard_close(): adopts what is pinned,
 * else makes and pins it. Loads the programs and puts them, atomically, in the place of those that
 * are attached in this network namespace. Lease, connections, points and addresses that are pinned
 * stay. But where options->slots asks for another size than the pinned tables have, these are made
 * anew: addresses stay guarded, the lease is over, connections and points are gone. -EBUSY: another
 * daemon owns the name. -ESTALE: pins of another layout (loader_purge() takes them away). -EINVAL,
 * -EPERM, -ENOTSUP: as loader_open(). */
int guard_open(const struct guard_options *options, struct guard **ret, struct loader_error *err);

/* Shared memory, as long as the guard is open. */
struct guard_conf *guard_fence(const struct guard *g);
struct guard_slot *guard_slots(const struct guard *g);
uint32_t guard_slot_count(const struct guard *g);

/* Descriptor of a map, owned by the guard. */
int guard_map_fd(const struct guard *g, enum guard_map map);

/* Attaches both programs to an interface, or replaces them. -EBUSY: our place there is taken by a
 * filter that is not ours; it is left alone. Where it fails, nothing new is left attached. */
int guard_attach(struct guard *g, uint32_t ifindex, struct loader_error *err);

/* Takes away what guard_attach() of this name put there. -ENOENT: nothing there. */
int guard_detach(struct guard *g, uint32_t ifindex, struct loader_error *err);

/* No connection, point, embryo or event is left; every slot is zero but for its generation, and
 * free. Addresses stay, because without them nothing would be fenced: guard_addresses(). The caller
 * has ended the lease. */
int guard_clear(struct guard *g);

/* Guards exactly these addresses; there is no moment at which one that stays is not. -ENOBUFS: more
 * than GUARD_ADDRS_MAX. */
int guard_addresses(struct guard *g, const struct hf_addr *list, size_t count);
/* Guards one more. -ENOBUFS: full. */
int guard_address(struct guard *g, const struct hf_addr *addr);

/* Takes a free slot for the caller to fill: zero, mode GUARD_FREE, its generation raised. -ENOBUFS:
 * none is free. */
int guard_take(struct guard *g, uint32_t *ret_slot);
/* Lets the data plane find a filled slot by its facts.key. -EEXIST: the connection has one.
 * -ENOBUFS: full. */
int guard_publish(struct guard *g, uint32_t slot);
/* Gives a taken slot back, once, whoever took it; published or not. A connection of the same key in
 * another slot stays. */
void guard_release(struct guard *g, uint32_t slot);
/* -ENOENT: the connection has no slot. */
int guard_find(const struct guard *g, const struct guard_key *key, uint32_t *ret_slot);

/* Brings an embryo of another node (GUARD_EMBRYO_FOREIGN), in the place of one of this key. */
int guard_embryo(struct guard *g, const struct guard_facts *facts);
void guard_embryos_clear(struct guard *g);

/* Sums the per-CPU counters over the CPUs. */
int guard_reasons(const struct guard *g, uint64_t counts[static GUARD_REASON_COUNT]);

/* Lets go and leaves everything running. NULL is allowed. */
void guard_close(struct guard *g);

/* Detaches, takes every pin of this guard away, closes (also where it fails). NULL is allowed.
 * -EBUSY: attached in another network namespace too. */
int guard_remove(struct guard *g, struct loader_error *err);

#endif
