/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The clock of the packets: it moves once a tick (4 ms with HZ=250, at most 10 ms), and what was
 * learnt is believed until it moves. The verifier turns bpf_jiffies64() into a load, so only the
 * first packet of a tick calls a function for the time.
 */
#ifndef HOLDFAST_BPF_TICK_H
#define HOLDFAST_BPF_TICK_H

#include "compat.h"

/* Two CPUs that see a new tick at once both write: some nanoseconds apart, which only costs those
 * who learnt something in between to learn it again. Neither LLVM nor every CPU keeps the order of
 * two stores or loads, and the time before may be hours ago: so one word belongs to the other, and
 * who sees them of two writes takes neither. */
struct {
	__u64 ns;
	__u64 ns_xor_jiffies;
} tick __attribute__((aligned(64)));

/* ns of CLOCK_MONOTONIC at about the beginning of this tick. */
static __always_inline __u64 tick_ns(void)
{
	__u64 jiffies = bpf_jiffies64(), ns = *(volatile __u64 *)&tick.ns;

	if (unlikely((tick.ns_xor_jiffies ^ ns) != jiffies)) {
		ns = bpf_ktime_get_ns();
		tick.ns = ns;
		tick.ns_xor_jiffies = ns ^ jiffies;
	}
	return ns;
}

#endif
