/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Egress: what our kernel sends on a guarded connection. Acknowledgements stop at
 * the commit, FIN and RST stop unless the application ended the connection.
 */
#ifndef HOLDFAST_BPF_GUARD_OUT_H
#define HOLDFAST_BPF_GUARD_OUT_H

#include "guard_slot.h"

#define STALE_MS 500

/* What a segment says of the "in" stream, as it is to leave. */
struct answer {
	__s64 ack;
	__s64 edge; /* of the window */
	__u16 window;
	__u8 flags;
	bool clamped;
	bool limited;
	bool held; /* it was a FIN */
	bool kept; /* other than it was made, lest something goes back */
};

static __always_inline void answer_window(struct answer *a, const struct guard_slot *slot,
					  __s64 units)
{
	a->window = units > 65535 ? 65535 : units;
	a->edge = a->ack + ((__s64)a->window << (slot->facts.our_wscale & 15));
}

/* The window from `commit` on that keeps the right edge. What the scale cannot say is left out: the
 * peer learns of it later. */
static __always_inline void answer_clamp(struct answer *a, const struct guard_slot *slot,
					 __s64 commit)
{
	a->clamped = true;
	a->ack = commit;
	answer_window(a, slot, larger(a->edge - commit, 0) >> (slot->facts.our_wscale & 15));
}

/* An edge that the store does not have yet might be taken back by the next owner. It may lie beyond
 * that by what the scale cannot say. */
static __always_inline void answer_limit(struct answer *a, const struct guard_slot *slot,
					 __s64 commit)
{
	__u32 scale = slot->facts.our_wscale & 15;
	__s64 limit = larger(READ_ONCE(slot->in_promise), commit + GUARD_WINDOW_MIN);

	if (likely(a->edge < limit + (1ll << scale)))
		return;
	answer_window(a, slot, larger(limit - a->ack, 0) >> scale);
	a->limited = true;
}

/*
 * A right edge that left is not taken back (RFC 9293 section 3.8.6). Our kernel takes its own back
 * when it has no memory (since Linux 6.9), and what user space made may leave after what our kernel
 * made later: it was not running in between. What is sent within the edge and finds no memory is
 * dropped and sent again, as it would have been anyway. What a kernel's window lacks because of its
 * scale is no step back (RFC 7323 section 2.4).
 */
static __always_inline void answer_keep(struct answer *a, const struct guard_slot *slot,
					bool marked)
{
	__u32 scale = slot->facts.our_wscale & 15;
	__s64 left = READ_ONCE(slot->in_edge), unit = 1ll << scale;

	if (marked && a->ack < (__s64)READ_ONCE(slot->in_acked)) {
		a->ack = READ_ONCE(slot->in_acked);
		answer_window(a, slot, larger(a->edge - a->ack, 0) >> scale);
		a->kept = true;
	}
	if (likely(a->edge >= left))
		return;
	if (!a->clamped && !a->limited && !a->kept && a->edge + unit > left)
		return;
	answer_window(a, slot, (left - a->ack + unit - 1) >> scale);
	a->kept = true;
}

/* What would have told of a window alone, and must not. With SACK blocks, or where there are none,
 * it may tell of a loss. */
static __always_inline bool answer_idle(const struct answer *a, const struct segment *s,
					const struct guard_slot *slot)
{
	return a->limited && !s->sack_at && slot->facts.options & GUARD_SACK;
}

/* A peer counts repeats as signs of loss, so those that the gate makes, or user space, must not
 * leave; but one who asked by a retransmission or a probe gets his answer. */
static __always_inline bool answer_repeats(const struct answer *a, const struct segment *s,
					   const struct guard_slot *slot, bool marked)
{
	if (!a->clamped && !a->held && !marked && !answer_idle(a, s, slot))
		return false;
	if (s->payload || a->flags & (HF_TCP_SYN | HF_TCP_FIN | HF_TCP_RST))
		return false;
	return a->ack <= (__s64)slot->in_acked && a->edge <= (__s64)slot->in_edge &&
	       READ_ONCE(slot->asked) == slot->answered;
}

static __always_inline void out_note_answer(struct guard_slot *slot, const struct answer *a)
{
	if (!(a->flags & HF_TCP_ACK))
		return;
	if (a->ack > (__s64)slot->in_acked)
		WRITE_ONCE(slot->in_acked, a->ack);
	if (a->edge > (__s64)slot->in_edge)
		WRITE_ONCE(slot->in_edge, a->edge);
	WRITE_ONCE(slot->answered, READ_ONCE(slot->asked));
}

/* What our kernel made in an earlier life of the connection on this node, and only now leaves, from
 * the queue of a neighbour: the owner between us has told newer timestamps. TS_AHEAD_MS of
 * takeover.c lies between the lives. */
static __always_inline bool out_stale(const struct segment *s, const struct guard_slot *slot)
{
	return s->options & GUARD_TS && slot->facts.options & GUARD_TS &&
	       (__s32)(slot->tsval - s->tsval) > STALE_MS;
}

/* Both ends have acknowledged each other's FIN: a RST, of a kernel that has forgotten the
 * connection, would answer a repeat and tell nothing. */
static __always_inline bool out_over(const struct guard_slot *slot)
{
	return READ_ONCE(slot->ended) & GUARD_ENDED_OUT_ACKED &&
	       slot->in_next > READ_ONCE(slot->in_fin);
}

/* What our kernel's clock of timestamps says, also by what is then held. What user space made tells
 * nothing of it, but a probe may be ahead of what a former node's kernel said. */
static __always_inline void out_note_clock(struct guard_slot *slot, const struct segment *s,
					   bool marked, __u64 now)
{
	__s32 ahead = s->options & GUARD_TS ? s->tsval - slot->tsval : 0;

	if (ahead < 0 || (marked && !ahead))
		return;
	if (ahead)
		WRITE_ONCE(slot->tsval, s->tsval);
	WRITE_ONCE(slot->last_ns, now);
}

/* The peer drops what is older than what it has had (PAWS, RFC 7323 section 5): so is what was made
 * before another segment, on another processor or by user space, and leaves after it. A kernel
 * that has made a connection again echoes 0 until the peer says something: a time that it never
 * told. */
static __always_inline int out_restamp(ctx_t *ctx, const struct segment *s,
				       const struct guard_slot *slot)
{
	__u32 newest = READ_ONCE(slot->tsval);
	bool older = ts_older(s->tsval, newest);

	if (likely(!(s->options & GUARD_TS) || (!older && s->tsecr)))
		return 0;
	return segment_restamp(ctx, s, older ? newest : s->tsval,
			       s->tsecr ? s->tsecr : READ_ONCE(slot->peer_tsval));
}

static __always_inline void out_note_data(struct guard_slot *slot, const struct segment *s,
					  __u8 flags)
{
	__s64 end = offset_of(s->seq, slot->facts.iss + 1, slot->out_max) + s->payload;

	if (flags & HF_TCP_FIN) {
		end++;
		WRITE_ONCE(slot->out_fin, end);
	}
	if (end > (__s64)slot->out_max)
		WRITE_ONCE(slot->out_max, end);
}

/* Our SYN-ACK once more. One of another connection has to wait until user space has taken this one
 * away. */
static __always_inline int out_synack(const struct segment *s, const struct guard_slot *slot)
{
	return s->flags & HF_TCP_ACK && s->seq == slot->facts.iss && s->ack == slot->facts.irs + 1
		       ? GUARD_REASON_PASSED_OUT
		       : GUARD_REASON_UNREADY;
}

static __always_inline void answer_read(struct answer *a, struct guard_slot *slot,
					const struct segment *s, __s64 commit, bool marked)
{
	/* a commit may lie behind by more than 32 bits can tell where the gate is open */
	a->ack = offset_of(s->ack, slot->facts.irs + 1, larger(slot->in_next, commit));
	a->edge = a->ack + ((__s64)s->window << (slot->facts.our_wscale & 15));
	if (!marked && a->ack >= (__s64)slot->in_next) {
		WRITE_ONCE(slot->in_next, a->ack);
		WRITE_ONCE(slot->in_window, (__u32)(a->edge - a->ack));
	}
}

static __always_inline int out_rewrite(ctx_t *ctx, const struct segment *s,
				       const struct guard_slot *slot, const struct answer *a)
{
	__u32 ack = a->flags & HF_TCP_ACK ? slot->facts.irs + 1 + (__u32)a->ack : s->ack;

	if (segment_rewrite(ctx, s, ack, a->window, a->flags))
		return -1;
	if (a->limited)
		count(GUARD_REASON_LIMITED);
	if (a->kept)
		count(GUARD_REASON_KEPT);
	if (!a->clamped)
		return 0;
	count(GUARD_REASON_CLAMPED);
	/* all of its blocks lie above */
	return s->sack_at ? segment_strip_sack(ctx, s) : 0;
}

static __noinline int out_slot(ctx_t *ctx, const struct segment *s, struct guard_slot *slot,
			       __u64 now)
{
	struct answer a = {.flags = s->flags, .window = s->window};
	bool marked = ctx->mark == GUARD_MARK;
	__u32 mode = READ_ONCE(slot->mode);
	/* what left while there was no gate is not taken back */
	__s64 commit = larger(READ_ONCE(slot->in_commit), READ_ONCE(slot->in_acked));
	bool ends = marked || READ_ONCE(slot->flags) & GUARD_END_ALLOWED;

	if (!marked && mode != GUARD_ACTIVE && mode != GUARD_OPEN)
		return GUARD_REASON_UNREADY;
	if (unlikely(s->flags & HF_TCP_SYN))
		return out_synack(s, slot);
	if (unlikely(out_stale(s, slot)))
		return GUARD_REASON_UNREADY;
	out_note_clock(slot, s, marked, now);
	if (unlikely(s->flags & HF_TCP_RST && out_over(slot)))
		return GUARD_REASON_END_HELD;
	if (unlikely(s->flags & (HF_TCP_FIN | HF_TCP_RST) && !ends)) {
		slot->resets++;
		if (s->flags & HF_TCP_RST)
			return GUARD_REASON_END_HELD;
		a.flags &= ~HF_TCP_FIN;
		a.held = true;
	}
	if (likely(s->flags & HF_TCP_ACK)) {
		answer_read(&a, slot, s, commit, marked);
		if (mode == GUARD_ACTIVE && !marked && a.ack > commit)
			answer_clamp(&a, slot, commit);
		if (mode == GUARD_ACTIVE)
			answer_limit(&a, slot, commit);
		answer_keep(&a, slot, marked);
		if (answer_repeats(&a, s, slot, marked))
			return a.held ? GUARD_REASON_END_HELD : GUARD_REASON_REPEATED;
	} else if (a.held && !s->payload) {
		return GUARD_REASON_END_HELD;
	}
	if ((a.clamped || a.limited || a.held || a.kept) && out_rewrite(ctx, s, slot, &a))
		return GUARD_REASON_HELPER_FAILED;
	if (out_restamp(ctx, s, slot))
		return GUARD_REASON_HELPER_FAILED;
	out_note_answer(slot, &a);
	out_note_data(slot, s, a.flags);
	return GUARD_REASON_PASSED_OUT;
}

static __always_inline void embryo_complete(struct guard_embryo *embryo, const struct segment *s)
{
	struct guard_facts *f = &embryo->facts;

	f->iss = s->seq;
	f->our_mss = s->mss ? s->mss : s->p.family == 4 ? 536 : 1220;
	f->tsval = s->tsval;
	f->options &= s->options;
	f->our_wscale = f->options & GUARD_WSCALE ? s->wscale : 0;
	if (!(f->options & GUARD_WSCALE))
		f->peer_wscale = 0;
	WRITE_ONCE(embryo->state, GUARD_EMBRYO_SYNACK);
}

static __always_inline bool embryo_again(const struct guard_embryo *embryo, const struct segment *s)
{
	return READ_ONCE(embryo->state) == GUARD_EMBRYO_SYNACK && embryo->facts.iss == s->seq;
}

/* Our kernel forgets a handshake whose repeated answer is refused, and will answer the next SYN
 * with another number: the answer that is under way is void. */
static __noinline void embryo_refused(const struct segment *s)
{
	struct guard_embryo *embryo = bpf_map_lookup_elem(&guard_embryos, &s->key);

	if ((s->flags & (HF_TCP_SYN | HF_TCP_ACK)) == (HF_TCP_SYN | HF_TCP_ACK) && embryo &&
	    embryo_again(embryo, s))
		WRITE_ONCE(embryo->state, GUARD_EMBRYO_SYN);
}

/*
 * The peer may have been told another number than our kernel would tell it now, or will have been
 * when what is under way arrives: by this node, after which our kernel forgot the handshake, or by
 * a node before. The connection is made again from what was told when the peer goes on with it.
 * Only a SYN that comes later makes that void.
 */
static __always_inline bool embryo_bound(struct guard_embryo *embryo, const struct segment *s)
{
	__u32 state = READ_ONCE(embryo->state);

	if (embryo->facts.iss == s->seq)
		return false;
	if (state == GUARD_EMBRYO_SYNACK && READ_ONCE(embryo->told)) {
		WRITE_ONCE(embryo->state, GUARD_EMBRYO_FOREIGN);
		return true;
	}
	return state == GUARD_EMBRYO_FOREIGN;
}

/* What another owner took over from us came back, and our kernel, which has kept the handshake,
 * repeats its answer: that is recorded, or it would not be here. Were it held, our kernel would
 * forget the handshake, and not know what the peer answers. */
static __always_inline bool embryo_ours(const struct guard_embryo *embryo, const struct segment *s)
{
	return READ_ONCE(embryo->state) == GUARD_EMBRYO_FOREIGN && embryo->facts.iss == s->seq;
}

/* Without the facts of its SYN a connection could never get a slot, and would not be guarded: the
 * peer will try again. What the peer is told must be known beyond this machine: user space records
 * the handshake and sends the answer (marked); where there are too many of them to be recorded, it
 * leaves at once. */
static __noinline int out_embryo(const struct segment *s, const struct guard_conf *conf,
				 bool marked, __u64 now)
{
	struct guard_embryo *embryo = bpf_map_lookup_elem(&guard_embryos, &s->key);
	bool again;

	if (!embryo || !key_equal(&embryo->facts.key, &s->key))
		return GUARD_REASON_UNKNOWN_OUT;
	if (closed(conf, now)) {
		if (!marked)
			embryo_refused(s);
		return GUARD_REASON_UNREADY;
	}
	if (s->ack != embryo->facts.irs + 1) {
		bpf_map_delete_elem(&guard_embryos, &s->key);
		return GUARD_REASON_UNKNOWN_OUT;
	}
	again = embryo_again(embryo, s);
	if (marked) {
		if (!again)
			return GUARD_REASON_UNREADY;
		WRITE_ONCE(embryo->told, 1);
		return GUARD_REASON_PASSED_OUT;
	}
	if (embryo_bound(embryo, s))
		return GUARD_REASON_SYNACK_HELD;
	if (embryo_ours(embryo, s)) {
		WRITE_ONCE(embryo->told, 1);
		WRITE_ONCE(embryo->state, GUARD_EMBRYO_SYNACK);
		return GUARD_REASON_PASSED_OUT;
	}
	if (again && READ_ONCE(embryo->told))
		return GUARD_REASON_PASSED_OUT;
	if (again) {
		embryo_refused(s);
		return GUARD_REASON_SYNACK_HELD;
	}
	embryo_complete(embryo, s);
	WRITE_ONCE(embryo->told, 0);
	if (embryo_allowed(conf, now) &&
	    !event_send(GUARD_EVENT_EMBRYO, ~0u, &embryo->facts, 0, now))
		return GUARD_REASON_SYNACK_HELD;
	WRITE_ONCE(embryo->told, 1);
	return GUARD_REASON_PASSED_OUT;
}

/* The answer to a SYN that nobody listens for: its server died, and another one will listen. */
static __noinline bool out_refuses(const struct segment *s)
{
	struct guard_embryo *embryo = bpf_map_lookup_elem(&guard_embryos, &s->key);

	return embryo && s->ack == embryo->facts.irs + 1;
}

/* From a guarded point, while the lease holds; no slot. After a takeover that may be the orphan of
 * a connection that has ended at another node since: its FIN, sent again and again, would be of the
 * past. */
static __always_inline int out_unknown(const struct segment *s, const struct guard_conf *conf,
				       bool marked, __u64 now)
{
	if ((s->flags & (HF_TCP_SYN | HF_TCP_ACK | HF_TCP_RST)) == (HF_TCP_SYN | HF_TCP_ACK))
		return out_embryo(s, conf, marked, now);
	if (now < READ_ONCE(conf->unknown_until_ns) || (s->flags & HF_TCP_RST && out_refuses(s)))
		return GUARD_REASON_UNKNOWN_OUT;
	return OUTCOME_PASS;
}

static __always_inline int out_other(const struct segment *s, enum found found,
				     const struct guard_conf *conf, bool marked, __u64 now)
{
	if (found == FOUND_NEIGHBOUR && addr_guarded(&s->about) && lease_over(conf, now))
		return GUARD_REASON_FENCED_OUT;
	if (addr_zero(&s->key.local) || !addr_guarded(&s->key.local))
		return OUTCOME_PASS;
	if (lease_over(conf, now)) {
		if (found == FOUND_TCP && !marked)
			embryo_refused(s);
		return GUARD_REASON_FENCED_OUT;
	}
	if (found == FOUND_BAD || found == FOUND_CUT)
		return GUARD_REASON_MALFORMED;
	if (found == FOUND_FRAGMENT && s->p.frag == FRAG_FIRST && point_guarded(&s->key))
		return GUARD_REASON_FRAGMENT;
	if (found == FOUND_TCP && point_guarded(&s->key))
		return out_unknown(s, conf, marked, now);
	return OUTCOME_PASS;
}

static __always_inline int out_packet(ctx_t *ctx, struct segment *s, const struct guard_conf *conf)
{
	enum found found = segment_find(ctx, s, WAY_OUT);
	struct guard_slot *slot;
	__u32 index;
	__u64 now;

	if (found == FOUND_OTHER)
		return OUTCOME_PASS;
	now = bpf_ktime_get_boot_ns();
	if (likely(found == FOUND_TCP)) {
		/* first, for it is what nearly all of the traffic is; its address is a guarded one
		 */
		slot = slot_find(&s->key, &index);
		if (slot)
			return lease_over(conf, now) ? GUARD_REASON_FENCED_OUT
						     : out_slot(ctx, s, slot, now);
	}
	return out_other(s, found, conf, ctx->mark == GUARD_MARK, now);
}

#endif
