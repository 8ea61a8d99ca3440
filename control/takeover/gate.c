/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/gate.h"

uint64_t gate_larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t gate_kernel_edge(const struct guard_slot *s)
{
	return s->in_next + s->in_window;
}

/* What our kernel would take, as far as the store knows of it: more than the peer knows where it
 * was held, or the clamp had no room to say it. */
static uint64_t edge_of(const struct guard_slot *s)
{
	uint64_t edge = gate_kernel_edge(s);
	uint64_t limit = gate_larger(s->in_promise, s->in_commit + GUARD_WINDOW_MIN);

	return gate_larger(edge < limit ? edge : limit, s->in_edge);
}

bool gate_wants_push(const struct guard_slot *s)
{
	uint64_t ack = s->in_next < s->in_commit ? s->in_next : s->in_commit;

	if (s->mode != GUARD_ACTIVE)
		return false;
	return ack > s->in_acked ||
	       (ack == s->in_next && edge_of(s) >= s->in_edge + (1ull << s->facts.our_wscale));
}

void gate_fill_push(const struct guard_slot *s, struct segment *g)
{
	*g = (struct segment){
		.facts = &s->facts,
		.seq = s->out_max,
		.ack = s->in_next < s->in_commit ? s->in_next : s->in_commit,
		.edge = edge_of(s),
		/* not what the clock may say by now: our kernel's next segment must not lie behind
		 */
		.tsval = s->tsval,
		.tsecr = s->peer_tsval,
	};
}
