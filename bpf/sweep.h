/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Takes flows away that are idle or belong to nothing any more. User space finds them, some at a
 * time, as no helper walks a part of a map; they are judged here, where a packet that has stamped
 * one since is seen.
 */
#ifndef HOLDFAST_BPF_SWEEP_H
#define HOLDFAST_BPF_SWEEP_H

#include "compat.h"
#include "maps.h"
#include "flow.h"
#include "assoc.h"
#include "echo.h"

/* With copies of the arguments: the verifier has the context read at fixed offsets only. */
struct sweep_state {
	struct sweep_limits limits;
	struct flow_key keys[HF_SWEEP_KEYS];
	__u64 now_ns;
	__u32 expired;
	__u32 live;
};

/* RFC 6146 section 3.5.2: half closed is still established. A flow that was announced by the peer
 * has no handshake here, only what the peer says it saw. */
static __always_inline __u32 sweep_tcp_ms(const struct flow_val *flow,
					  const struct sweep_limits *limits)
{
	__u8 both = flow->tcp_up & flow->tcp_down, any = flow->tcp_up | flow->tcp_down;

	if ((any & HF_TCP_RST) || (both & HF_TCP_FIN))
		return limits->tcp_transitory_ms;
	if ((both & HF_TCP_SYN) && (flow->tcp_up & HF_TCP_ACK))
		return limits->tcp_established_ms;
	return limits->tcp_transitory_ms;
}

static __always_inline __u32 sweep_limit(const struct flow_key *key, const struct flow_val *flow,
					 const struct sweep_limits *limits)
{
	__u32 index = key->service;
	struct service_val *service = bpf_map_lookup_elem(&service_table, &index);

	/* a service that was taken away leaves flows that nothing finds */
	if (!service || !service->used)
		return 0;
	if (service->proto == IPPROTO_TCP)
		return sweep_tcp_ms(flow, limits);
	return service->proto == IPPROTO_UDP ? limits->udp_ms : limits->icmp_ms;
}

static __always_inline __u32 sweep_idle(const struct flow_val *flow, __u32 now)
{
	__u32 up = now - flow->last_up, down = now - flow->last_down;

	/* a packet may have stamped it since `now` was read */
	if ((__s32)up < 0)
		up = 0;
	if ((__s32)down < 0)
		down = 0;
	return up < down ? up : down;
}

static long sweep_flow(__u32 i, struct sweep_state *state)
{
	const struct sweep_limits *limits = &state->limits;
	struct flow_key key = state->keys[i & (HF_SWEEP_KEYS - 1)];
	__u32 index = key.assoc;
	struct assoc_val *assoc = bpf_map_lookup_elem(&assocs, &index);
	struct flow_val *flow = bpf_map_lookup_elem(&flows, &key);

	if (!assoc || !flow)
		return 0;
	/* the flows of an association that has ended go before its index is given to another */
	if (assoc->used &&
	    sweep_idle(flow, flow_ms(state->now_ns)) < sweep_limit(&key, flow, limits)) {
		state->live++;
		return 0;
	}
	echo_forget(&key);
	if (bpf_map_delete_elem(&flows, &key))
		return 0;
	state->expired++;
	flow_event(HF_EVENT_FLOW_EXPIRED, &key, 0, state->now_ns, BPF_RB_NO_WAKEUP);
	if (assoc->flows)
		__sync_fetch_and_add(&assoc->flows, -1);
	return 0;
}

static __always_inline int sweep_flows(struct sweep_args *args)
{
	struct sweep_state state = {
		.limits = args->limits,
		.now_ns = bpf_ktime_get_ns(), /* this kind of program has no coarse clock */
	};
	__u32 n = args->count;

	if (n > HF_SWEEP_KEYS)
		return -E2BIG;
#pragma clang loop unroll(full)
	for (int i = 0; i < (int)HF_SWEEP_KEYS; i++) {
		state.keys[i] = args->keys[i];
		barrier(); /* LLVM loads them all before it stores one, and has no room for that */
	}
	bpf_loop(n, sweep_flow, &state, 0);
	args->expired = state.expired;
	args->live = state.live;
	return 0;
}

#endif
