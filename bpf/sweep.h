/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Takes idle flows away, inside the kernel: a map of a quarter of a million is
 * not carried to user space and back.
 */
#ifndef HOLDFAST_BPF_SWEEP_H
#define HOLDFAST_BPF_SWEEP_H

#include "compat.h"
#include "maps.h"
#include "flow.h"
#include "assoc.h"
#include "echo.h"

struct sweep_state {
	struct sweep_args
		args; /* a copy: the verifier has the context read at fixed offsets only */
	__u64 now_ns;
	__u32 expired;
	__u32 live;
};

/* RFC 6146 section 3.5.2: half closed is still established. A flow that was announced by the peer
 * has no handshake here, only what the peer says it saw. */
static __always_inline __u32 sweep_tcp_ms(const struct flow_val *flow,
					  const struct sweep_args *args)
{
	__u8 both = flow->tcp_up & flow->tcp_down, any = flow->tcp_up | flow->tcp_down;

	if ((any & HF_TCP_RST) || (both & HF_TCP_FIN))
		return args->tcp_transitory_ms;
	if ((both & HF_TCP_SYN) && (flow->tcp_up & HF_TCP_ACK))
		return args->tcp_established_ms;
	return args->tcp_transitory_ms;
}

static __always_inline __u32 sweep_limit(const struct flow_key *key, const struct flow_val *flow,
					 const struct sweep_args *args)
{
	__u32 index = key->service;
	struct service_val *service = bpf_map_lookup_elem(&service_table, &index);

	/* a service that was taken away leaves flows that nothing finds */
	if (!service || !service->used)
		return 0;
	if (service->proto == IPPROTO_TCP)
		return sweep_tcp_ms(flow, args);
	return service->proto == IPPROTO_UDP ? args->udp_ms : args->icmp_ms;
}

static long sweep_flow(void *map, struct flow_key *key, struct flow_val *flow,
		       struct sweep_state *state)
{
	const struct sweep_args *args = &state->args;
	struct flow_key copy = *key;
	__u32 index = copy.assoc, now = flow_ms(state->now_ns), idle_up, idle_down, idle;
	struct assoc_val *assoc;

	idle_up = now - flow->last_up;
	idle_down = now - flow->last_down;
	/* a packet may have stamped it since `now` was read */
	if ((__s32)idle_up < 0)
		idle_up = 0;
	if ((__s32)idle_down < 0)
		idle_down = 0;
	idle = idle_up < idle_down ? idle_up : idle_down;
	if (args->assoc == ~0u ? idle < sweep_limit(&copy, flow, args)
			       : args->assoc != copy.assoc) {
		state->live++;
		return 0;
	}
	echo_forget(&copy);
	if (bpf_map_delete_elem(&flows, &copy))
		return 0;
	state->expired++;
	flow_event(HF_EVENT_FLOW_EXPIRED, &copy, 0, state->now_ns, BPF_RB_NO_WAKEUP);
	assoc = bpf_map_lookup_elem(&assocs, &index);
	if (assoc && assoc->flows)
		__sync_fetch_and_add(&assoc->flows, -1);
	return 0;
}

static __always_inline int sweep_flows(struct sweep_args *args)
{
	struct sweep_state state = {
		.args = *args,
		.now_ns = bpf_ktime_get_ns(), /* this kind of program has no coarse clock */
	};
	long walked = bpf_for_each_map_elem(&flows, sweep_flow, &state, 0);

	args->expired = state.expired;
	args->live = state.live;
	return walked < 0 ? walked : 0;
}

#endif
