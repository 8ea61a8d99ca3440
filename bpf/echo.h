/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP echo at the mobile: its inner identifiers, which several hosts may
 * share, become identifiers out of the service's block (RFC 5508 REQ-1). At the
 * anchor the outer identifier is the inner one.
 */
#ifndef HOLDFAST_BPF_ECHO_H
#define HOLDFAST_BPF_ECHO_H

#include "compat.h"
#include "maps.h"
#include "flow.h"
#include "parse.h"

struct echo_search {
	struct echo_key key; /* of the outer identifier that is tried */
	struct echo_val inner;
	__be16 block;
	__u16 start;
	int err; /* see flow_open() */
};

/* Identifier on the other side, or -1. */
static __always_inline __s32 echo_find(const struct flow_key *key, __be16 id, bool outer)
{
	struct echo_key echo = {
		.assoc = key->assoc,
		.id = id,
		.service = key->service,
		.outer = outer,
	};
	struct echo_val *other = bpf_map_lookup_elem(&echoes, &echo);

	return other ? other->id : -1;
}

/* Takes away the pair of the flow's outer identifier. */
static __noinline void echo_forget(struct flow_key *key)
{
	struct echo_key echo = {
		.assoc = key->assoc,
		.id = key->port,
		.service = key->service,
		.outer = 1,
	};
	__s32 inner = echo_find(key, key->port, true);

	if (inner < 0)
		return;
	bpf_map_delete_elem(&echoes, &echo);
	echo.id = inner;
	echo.outer = 0;
	bpf_map_delete_elem(&echoes, &echo);
}

static long echo_try(__u32 i, struct echo_search *search)
{
	__u16 low = (search->start + i) & (HF_ECHO_BLOCK - 1);

	search->key.id = search->block | bpf_htons(low);
	search->err = bpf_map_update_elem(&echoes, &search->key, &search->inner, BPF_NOEXIST);
	return search->err != -EEXIST;
}

/* A free outer identifier for a new inner one, or -1. The outer entry comes first: who has it owns
 * the identifier. */
static __noinline __s32 echo_open(struct flow_key *key, __be16 inner, __be16 block)
{
	struct echo_search search = {
		.key = {.assoc = key->assoc, .service = key->service, .outer = 1},
		.inner = {.id = inner},
		.block = block,
		.start = bpf_ntohs(inner),
		.err = -EEXIST,
	};
	struct echo_key forward = {
		.assoc = key->assoc,
		.id = inner,
		.service = key->service,
	};
	struct echo_val outer = {};

	bpf_loop(HF_ECHO_BLOCK, echo_try, &search, 0);
	if (search.err)
		return -1;
	outer.id = search.key.id;
	if (bpf_map_update_elem(&echoes, &forward, &outer, BPF_NOEXIST)) {
		bpf_map_delete_elem(&echoes, &search.key);
		return echo_find(key, inner, false); /* another CPU was first, or the map is full */
	}
	return outer.id;
}

#endif
