/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Flows: found, opened within the limits, stamped. A flow that lives is never
 * touched by one that wants to.
 */
#ifndef HOLDFAST_BPF_FLOW_H
#define HOLDFAST_BPF_FLOW_H

#include "compat.h"
#include "maps.h"
#include "parse.h"
#include "tick.h"

#define FLOW_TCP_FLAGS   (HF_TCP_FIN | HF_TCP_SYN | HF_TCP_RST | HF_TCP_ACK)
#define FLOW_REFUSED_GAP 1000000000ull

__u64 flow_refused_ns; /* when FLOW_REFUSED was last said */

static __always_inline __u32 flow_ms(__u64 now_ns)
{
	return now_ns / 1000000;
}

static __always_inline void flow_event(__u32 type, const struct flow_key *key, __u32 reason,
				       __u64 now_ns, __u64 flags)
{
	struct hf_event event = {
		.time_ns = now_ns,
		.type = type,
		.assoc = key->assoc,
		.reason = reason,
		.service = key->service,
		.port = key->port,
	};

	/* a full ring loses the event and nothing else */
	bpf_ringbuf_output(&events, &event, sizeof(event), flags);
}

static __always_inline void flow_refused(const struct flow_key *key, __u32 reason, __u64 now_ns)
{
	__u64 last = flow_refused_ns;

	/* the exchange lets one CPU of several say it */
	if (now_ns - last < FLOW_REFUSED_GAP ||
	    __sync_val_compare_and_swap(&flow_refused_ns, last, now_ns) != last)
		return;
	flow_event(HF_EVENT_FLOW_REFUSED, key, reason, now_ns, 0);
}

/* RFC 5382 REQ-1, RFC 4787 REQ-8, RFC 5508 REQ-1: only these, and only from the mobile's side. */
static __always_inline bool flow_may_open(const struct packet *p)
{
	if (p->frag == FRAG_LATER)
		return false;
	if (p->proto == IPPROTO_TCP)
		return (p->tcp_flags & (FLOW_TCP_FLAGS)) == HF_TCP_SYN;
	return p->proto == IPPROTO_UDP || (p->kind == KIND_ECHO && !p->dport);
}

/* Returns HF_REASON_NONE when the flow is there now. */
static __noinline __u32 flow_open(struct flow_key *key, struct assoc_val *assoc)
{
	__u64 now_ns = tick_ns();
	__u32 now = flow_ms(now_ns), had;
	struct flow_val flow = {
		.last_up = now,
		.last_down = now,
		.created = now,
	};
	__u32 reason = HF_REASON_ASSOC_FLOWS_FULL;
	int err; /* not long: up to 6.2 the upper half of what a map's function returns is undefined
		  */

	had = __sync_fetch_and_add(&assoc->flows, 1);
	if (!assoc->max_flows || had < assoc->max_flows) {
		err = bpf_map_update_elem(&flows, key, &flow, BPF_NOEXIST);
		if (!err) {
			/* not worth waking the daemon for */
			flow_event(HF_EVENT_FLOW_NEW, key, 0, now_ns, BPF_RB_NO_WAKEUP);
			return HF_REASON_NONE;
		}
		if (err == -EEXIST)
			reason = HF_REASON_NONE; /* another CPU was first */
		else
			reason = err == -E2BIG ? HF_REASON_FLOWS_FULL : HF_REASON_HELPER_FAILED;
	}
	__sync_fetch_and_add(&assoc->flows, -1);
	if (reason == HF_REASON_FLOWS_FULL || reason == HF_REASON_ASSOC_FLOWS_FULL)
		flow_refused(key, reason, now_ns);
	return reason;
}

/* Most packets find nothing to write. A store into each would take the element's cache line away
 * from the CPU that carries the other direction, which is why a flow's octets are not counted here
 * but those of its path are. Plain stores: an element that is freed and taken again under our eyes
 * gets a stamp that is not its own, which is harmless.
 */
static __always_inline void flow_touch(struct flow_val *flow, __u8 flags, bool up, __u64 now_ns)
{
	__u32 now = flow_ms(now_ns);

	if (up) {
		/* the mobile uses the port of a finished connection again */
		if (flags == HF_TCP_SYN && (((flow->tcp_up | flow->tcp_down) & HF_TCP_RST) ||
					    (flow->tcp_up & flow->tcp_down & HF_TCP_FIN))) {
			flow->tcp_up = 0;
			flow->tcp_down = 0;
		}
		if (flow->last_up != now)
			flow->last_up = now;
		if (flags & ~flow->tcp_up)
			flow->tcp_up |= flags;
	} else {
		if (flow->last_down != now)
			flow->last_down = now;
		if (flags & ~flow->tcp_down)
			flow->tcp_down |= flags;
	}
}

#endif
