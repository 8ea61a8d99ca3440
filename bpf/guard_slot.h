/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Slots of connections: found, opened, and their offsets. Offsets are 64 bits and
 * signed here: what lies before the first byte of data is below 0.
 */
#ifndef HOLDFAST_BPF_GUARD_SLOT_H
#define HOLDFAST_BPF_GUARD_SLOT_H

#include "guard_segment.h"

/* What becomes of a packet: a reason of guard.h, of which the two PASSED let it go on, or this. */
#define OUTCOME_PASS GUARD_REASON_COUNT /* not ours, and not counted */

static __always_inline __s64 larger(__s64 a, __s64 b)
{
	return a > b ? a : b;
}

/* The offset nearest to `near` that has the sequence number `seq`. `first` is offset 0's. */
static __always_inline __s64 offset_of(__u32 seq, __u32 first, __s64 near)
{
	return near + (__s32)(seq - first - (__u32)near);
}

/* RFC 7323 section 5.2 */
static __always_inline bool ts_older(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline bool key_equal(const struct guard_key *a, const struct guard_key *b)
{
	return addr_equal(&a->peer, &b->peer) && addr_equal(&a->local, &b->local) &&
	       a->peer_port == b->peer_port && a->local_port == b->local_port;
}

/* NULL: there is none, or user space is about to take it away. */
static __always_inline struct guard_slot *slot_find(const struct guard_key *key, __u32 *ret_index)
{
	__u32 *index = bpf_map_lookup_elem(&guard_conns, key);
	struct guard_slot *slot;

	if (!index)
		return NULL;
	*ret_index = *index;
	slot = bpf_map_lookup_elem(&guard_slots, ret_index);
	if (!slot || READ_ONCE(slot->mode) == GUARD_FREE || !key_equal(&slot->facts.key, key))
		return NULL;
	return slot;
}

static __always_inline bool addr_guarded(const struct hf_addr *addr)
{
	return bpf_map_lookup_elem(&guard_addrs, addr);
}

static __always_inline bool point_guarded(const struct guard_key *key)
{
	struct guard_point_key point = {.addr = key->local, .port = key->local_port};

	return bpf_map_lookup_elem(&guard_points, &point);
}

static __always_inline bool lease_over(const struct guard_conf *conf, __u64 now)
{
	return now > READ_ONCE(conf->lease_until_ns);
}

/* The group is about to be another node's. */
static __always_inline bool closed(const struct guard_conf *conf, __u64 now)
{
	return unlikely(now < READ_ONCE(conf->closed_until_ns));
}

static __always_inline void slot_fill(struct guard_slot *slot, const struct guard_embryo *embryo,
				      const struct guard_key *key, __u64 now)
{
	__u32 generation = slot->generation + 1;

	__builtin_memset(slot, 0, sizeof(*slot));
	slot->generation = generation;
	slot->facts = embryo->facts;
	slot->facts.key = *key;
	slot->in_fin = ~0ull;
	slot->tsval = embryo->facts.tsval;
	slot->last_ns = now;
	slot->peer_tsval = embryo->facts.peer_tsval;
	WRITE_ONCE(slot->mode,
		   embryo->state == GUARD_EMBRYO_FOREIGN ? GUARD_PROBING : GUARD_ACTIVE);
}

static __always_inline void event_fill(struct guard_event *event, __u32 type, __u32 index,
				       const struct guard_slot *slot, __u64 now)
{
	event->time_ns = now;
	event->type = type;
	event->slot = index;
	event->facts = slot->facts;
	event->out_acked = 0;
}

/*
 * Gives the connection of a complete embryo its slot. The event has its room
 * before anything is taken: user space hears of every slot. Returns
 * OPENED, EVENTS_FULL, or SYN_FULL where every slot is taken.
 */
static __noinline int slot_open(const struct guard_key *key, struct guard_embryo *embryo, __u64 now)
{
	struct guard_event *event = bpf_ringbuf_reserve(&guard_events, sizeof(*event), 0);
	bool foreign = embryo->state == GUARD_EMBRYO_FOREIGN;
	struct guard_slot *slot;
	__u32 index = 0;
	long err;

	if (!event)
		return GUARD_REASON_EVENTS_FULL;
	if (bpf_map_pop_elem(&guard_free, &index))
		goto none;
	slot = bpf_map_lookup_elem(&guard_slots, &index);
	if (!slot)
		goto none;
	slot_fill(slot, embryo, key, now);
	err = bpf_map_update_elem(&guard_conns, key, &index, BPF_NOEXIST);
	if (err) {
		WRITE_ONCE(slot->mode, GUARD_FREE);
		bpf_map_push_elem(&guard_free, &index, 0);
		bpf_ringbuf_discard(event, 0);
		/* another CPU was quicker: the caller finds its slot */
		return err == -EEXIST ? GUARD_REASON_OPENED : GUARD_REASON_SYN_FULL;
	}
	bpf_map_delete_elem(&guard_embryos, key);
	event_fill(event, foreign ? GUARD_EVENT_FRESH : GUARD_EVENT_OPENED, index, slot, now);
	bpf_ringbuf_submit(event, 0);
	count(GUARD_REASON_OPENED);
	return GUARD_REASON_OPENED;
none:
	bpf_ringbuf_discard(event, 0);
	event_full(now);
	return GUARD_REASON_SYN_FULL;
}

#endif
