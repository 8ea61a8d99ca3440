/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Empties and fills the guard's queue of free slots inside the kernel: queues have no batch
 * operations, and a system call for each element of a large one is the longest part of a start.
 *
 * The loader runs these by BPF_PROG_TEST_RUN on a packet of nobody, on a piece of the queue at a
 * time, for the CPU does nothing else meanwhile. (Programs of type syscall, which need no packet,
 * may not use queues before Linux 6.4.) Both give back how many elements they did.
 */
#include "compat.h"

/* as in guard.bpf.c; the loader has them share it and sets the size */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, __u32);
} guard_free SEC(".maps");

struct fill_state {
	__u32 next;
	__u32 done;
};

static long drain_one(__u32 i, struct fill_state *state)
{
	__u32 slot;

	if (bpf_map_pop_elem(&guard_free, &slot))
		return 1;
	state->done++;
	return 0;
}

static long fill_one(__u32 i, struct fill_state *state)
{
	__u32 slot = state->next++;

	if (bpf_map_push_elem(&guard_free, &slot, 0))
		return 1;
	state->done++;
	return 0;
}

/* cb[0]: how many at most */
SEC("tc")
int guard_drain(struct __sk_buff *skb)
{
	struct fill_state state = {0};

	bpf_loop(skb->cb[0], drain_one, &state, 0);
	return state.done;
}

/* cb[0]: how many, cb[1]: the first slot */
SEC("tc")
int guard_fill(struct __sk_buff *skb)
{
	struct fill_state state = {.next = skb->cb[1]};

	bpf_loop(skb->cb[0], fill_one, &state, 0);
	return state.done;
}

char _license[] SEC("license") = "Dual BSD/GPL";
