/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map of the guard, under the names that guard.h gives them, and what is
 * sent to user space and counted. The loader sets the sizes.
 */
#ifndef HOLDFAST_BPF_GUARD_MAPS_H
#define HOLDFAST_BPF_GUARD_MAPS_H

#include "compat.h"

#include <holdfast/guard.h>

#define SECOND_NS        1000000000ull

#define READ_ONCE(x)     (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

/* the lease, and other settings */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct guard_conf);
} guard_conf SEC(".maps");

/* the addresses that move */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GUARD_ADDRS_MAX);
	__type(key, struct hf_addr);
	__type(value, __u32);
} guard_addrs SEC(".maps");

/* listening endpoints */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GUARD_POINTS_MAX);
	__type(key, struct guard_point_key);
	__type(value, struct guard_point_val);
} guard_points SEC(".maps");

/* connections: preallocated and never LRU, so that a new one cannot evict a live one */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GUARD_SLOTS_DEFAULT);
	__type(key, struct guard_key);
	__type(value, __u32);
} guard_conns SEC(".maps");

/* their records; a commit is one store into this memory */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, GUARD_SLOTS_DEFAULT);
	__type(key, __u32);
	__type(value, struct guard_slot);
} guard_slots SEC(".maps");

/* slots that nobody has */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, GUARD_SLOTS_DEFAULT);
	__type(value, __u32);
} guard_free SEC(".maps");

/* handshakes; LRU, for a flood of SYNs may cost a handshake and never a connection */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, GUARD_EMBRYOS_MAX);
	__type(key, struct guard_key);
	__type(value, struct guard_embryo);
} guard_embryos SEC(".maps");

/* struct guard_event for the daemon */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, GUARD_EVENTS_BYTES);
} guard_events SEC(".maps");

/* counters by enum guard_reason */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GUARD_REASON_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} guard_reasons SEC(".maps");

/* how many events of the bounded kinds there were: the data plane's own */
struct guard_rate {
	__u64 second; /* CLOCK_BOOTTIME, of `embryos` */
	__u64 embryos;
	__u64 full_ns; /* of the last GUARD_EVENT_FULL */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct guard_rate);
} guard_rates SEC(".maps");

static __always_inline void count(__u32 reason)
{
	__u64 *counter = bpf_map_lookup_elem(&guard_reasons, &reason);

	if (counter)
		(*counter)++;
}

static __always_inline struct guard_conf *conf_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&guard_conf, &zero);
}

static __always_inline struct guard_rate *rate_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&guard_rates, &zero);
}

/* A full ring loses it. */
static __noinline int event_send(__u32 type, __u32 slot, const struct guard_facts *facts,
				 __u64 out_acked, __u64 now)
{
	struct guard_event *event = bpf_ringbuf_reserve(&guard_events, sizeof(*event), 0);

	if (!event)
		return -1;
	event->time_ns = now;
	event->type = type;
	event->slot = slot;
	if (facts)
		event->facts = *facts;
	else
		__builtin_memset(&event->facts, 0, sizeof(event->facts));
	event->out_acked = out_acked;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* Two CPUs at the turn of a second may let a few more through, which does no harm. */
static __always_inline bool embryo_allowed(const struct guard_conf *conf, __u64 now)
{
	struct guard_rate *rate = rate_get();
	__u64 second = now / SECOND_NS;

	if (!rate)
		return false;
	if (READ_ONCE(rate->second) != second) {
		WRITE_ONCE(rate->second, second);
		WRITE_ONCE(rate->embryos, 0);
	}
	return __sync_fetch_and_add(&rate->embryos, 1) < READ_ONCE(conf->embryo_rate);
}

static __noinline int event_full(__u64 now)
{
	struct guard_rate *rate = rate_get();
	__u64 last;

	if (!rate)
		return -1;
	last = READ_ONCE(rate->full_ns);
	if (now - last < SECOND_NS ||
	    __sync_val_compare_and_swap(&rate->full_ns, last, now) != last)
		return 0;
	return event_send(GUARD_EVENT_FULL, ~0u, NULL, 0, now);
}

#endif
