/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments: the first of a packet leaves its ports for the others. Only
 * packets whose addresses are known come here, so a stranger cannot fill the map.
 */
#ifndef HOLDFAST_BPF_FRAG_H
#define HOLDFAST_BPF_FRAG_H

#include "compat.h"
#include "maps.h"
#include "flow.h"
#include "parse.h"

/* false: this one came before the first */
static __noinline bool frag_ports(struct packet *p)
{
	struct frag_key key = {
		.src = p->src,
		.dst = p->dst,
		.id = p->frag_id,
		.proto = p->proto,
	};
	__u32 now = flow_ms(tick_ns());
	struct frag_val *found;

	if (p->frag == FRAG_FIRST) {
		struct frag_val ports = {
			.sport = p->sport,
			.dport = p->dport,
			.seen_ms = now,
		};

		/* without the entry the others wait at the daemon and are lost there */
		bpf_map_update_elem(&frags, &key, &ports, BPF_ANY);
		return true;
	}
	found = bpf_map_lookup_elem(&frags, &key);
	if (!found || now - found->seen_ms > HF_FRAG_LIFE_MS)
		return false;
	p->sport = found->sport;
	p->dport = found->dport;
	return true;
}

#endif
