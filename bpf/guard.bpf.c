/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The guard of connections that survive their server, on tc of a NIC. Built by
 *   clang -O2 -g -target bpf -mcpu=v3 -Iinclude -I/usr/include/<triplet> -c bpf/guard.bpf.c
 */
#include "guard_in.h"
#include "guard_out.h"

static __always_inline int tc_outcome(int outcome)
{
	if (outcome == OUTCOME_PASS)
		return TC_ACT_UNSPEC;
	count(outcome);
	return outcome == GUARD_REASON_PASSED_IN || outcome == GUARD_REASON_PASSED_OUT
		       ? TC_ACT_UNSPEC
		       : TC_ACT_SHOT;
}

SEC("tc")
int guard_in(ctx_t *ctx)
{
	struct guard_conf *conf = conf_get();
	struct segment s = {};

	return conf ? tc_outcome(in_packet(ctx, &s, conf)) : TC_ACT_SHOT;
}

SEC("tc")
int guard_out(ctx_t *ctx)
{
	struct guard_conf *conf = conf_get();
	struct segment s = {};

	return conf ? tc_outcome(out_packet(ctx, &s, conf)) : TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
