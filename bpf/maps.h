/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map of the data plane, under the names that layout.h gives them. Both
 * objects declare all of them; the loader makes them once, shares them and
 * pins them (so no LIBBPF_PIN_BY_NAME here).
 */
#ifndef HOLDFAST_BPF_MAPS_H
#define HOLDFAST_BPF_MAPS_H

#include "compat.h"

/* who made the maps, with which layout */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct meta_val);
} meta SEC(".maps");

/* inner address of a mobile -> its association and our role in it */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HF_HOSTS_MAX);
	__type(key, struct hf_addr);
	__type(value, struct host_val);
} hosts SEC(".maps");

/* inner destination -> index into service_table */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HF_SERVICES_MAX);
	__type(key, struct service_key);
	__type(value, __u32);
} services SEC(".maps");

/* outer anchor-side port -> index into service_table */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HF_SERVICES_MAX);
	__type(key, struct emulator_key);
	__type(value, __u32);
} emulators SEC(".maps");

/* the services themselves */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HF_SERVICES_MAX);
	__type(key, __u32);
	__type(value, struct service_val);
} service_table SEC(".maps");

/* associations; the daemon switches by one store into this memory */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HF_ASSOCS_MAX);
	__type(key, __u32);
	__type(value, struct assoc_val);
} assocs SEC(".maps");

/* pairs of outer addresses, their stamps and counts */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HF_PATHS_MAX);
	__type(key, __u32);
	__type(value, struct path_val);
} paths SEC(".maps");

/* (peer's, our) outer address -> path */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HF_PEERS_MAX);
	__type(key, struct peer_key);
	__type(value, struct peer_val);
} peers SEC(".maps");

/* live flows: preallocated and never LRU, so that a new one cannot evict a live one */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HF_FLOWS_DEFAULT);
	__type(key, struct flow_key);
	__type(value, struct flow_val);
} flows SEC(".maps");

/* at the mobile: inner <-> outer ICMP echo identifiers */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HF_ECHOES_MAX);
	__type(key, struct echo_key);
	__type(value, struct echo_val);
} echoes SEC(".maps");

/* ports of fragmented packets; LRU, for a lost entry costs one packet only */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, HF_FRAGS_MAX);
	__type(key, struct frag_key);
	__type(value, struct frag_val);
} frags SEC(".maps");

/* counters by enum hf_reason */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HF_REASON_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} reasons SEC(".maps");

/* struct hf_event for the daemon; when it is full events are lost, packets are not */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, HF_EVENTS_BYTES);
} events SEC(".maps");

static __always_inline void count(__u32 reason)
{
	__u64 *counter = bpf_map_lookup_elem(&reasons, &reason);

	if (counter)
		(*counter)++;
}

#endif
