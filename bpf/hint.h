/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Two look-ups in hash maps are a third of what a packet costs on XDP. So what
 * they said of two addresses and a service's port serves all packets of the same
 * tick (at most 10 ms) that have these: so long at most may `peers`, `hosts`,
 * `services` and `emulators` be believed after a change. A hint
 * is two indices into arrays, and what is there is compared with the packet: one
 * of another packet costs the look-ups that it was to save, and nothing else.
 * What was not found, or not accepted, leaves none and is asked for each time.
 *
 * A hint names the last flow, too: one packet of a tick finds it and stamps it, and
 * those that follow with the same TCP flags would write nothing into it.
 */
#ifndef HOLDFAST_BPF_HINT_H
#define HOLDFAST_BPF_HINT_H

#include "compat.h"
#include "parse.h"

#define HINT_BITS    10 /* of each direction */
#define HINT_NO_FLOW 0xff

struct hint {
	__u64 tick;
	__u32 owner; /* decode: the path, and it is accepted; encode: the association */
	__u32 service;
	__be16 port; /* of the flow's key */
	__u8 flags;  /* TCP flags that every packet of the flow has, or HINT_NO_FLOW */
	__u8 pad;
	__u32 pad2;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 << HINT_BITS);
	__type(key, __u32);
	__type(value, struct hint);
} hints SEC(".maps");

static __always_inline struct hint *hint_find(const struct packet *p, __be16 port, bool encode)
{
	__u32 mix = p->src.w[1] ^ p->src.w[3] ^ p->dst.w[1] ^ p->dst.w[3] ^ port;
	__u32 slot = (mix * 0x9e3779b1u) >> (32 - HINT_BITS) | (__u32)encode << HINT_BITS;

	return bpf_map_lookup_elem(&hints, &slot);
}

static __always_inline void hint_set(struct hint *hint, __u32 owner, __u32 service, __u64 now_ns)
{
	hint->owner = owner;
	hint->service = service;
	hint->flags = HINT_NO_FLOW;
	hint->tick = now_ns;
}

/* `flags`: the packet's, of those that a flow keeps. */
static __always_inline bool hint_has_flow(const struct hint *hint, __be16 port, __u8 flags)
{
	return hint->port == port && hint->flags == flags;
}

/* A packet with any other flag than ACK changes what its flow is. */
static __always_inline void hint_set_flow(struct hint *hint, __be16 port, __u8 flags)
{
	hint->port = port;
	hint->flags = flags & ~HF_TCP_ACK ? HINT_NO_FLOW : flags;
}

#endif
