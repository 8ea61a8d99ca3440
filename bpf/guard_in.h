/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Ingress: what the peer sends on a guarded connection is noted, and kept from
 * our kernel where that would misunderstand it or is not ready.
 */
#ifndef HOLDFAST_BPF_GUARD_IN_H
#define HOLDFAST_BPF_GUARD_IN_H

#include "guard_slot.h"

/* A segment in the offsets of both streams. */
struct arrival {
	__s64 seq;
	__s64 end; /* FIN counted */
	__s64 ack;
	__s64 commit;
	__s64 edge;  /* highest right edge that the peer may know of */
	bool ours;   /* begins within the window: not a stranger's guess */
	bool beyond; /* ends behind it */
};

static __always_inline void arrival_read(struct arrival *a, const struct segment *s,
					 const struct guard_slot *slot)
{
	bool fin = s->flags & HF_TCP_FIN;

	a->commit = READ_ONCE(slot->in_commit);
	/* the window of our SYN-ACK was not scaled */
	a->edge = larger(READ_ONCE(slot->in_edge), a->commit + GUARD_WINDOW_MIN);
	a->seq =
		offset_of(s->seq, slot->facts.irs + 1, larger(READ_ONCE(slot->in_next), a->commit));
	a->end = a->seq + s->payload + fin;
	a->ack = offset_of(s->ack, slot->facts.iss + 1, slot->out_acked);
	/* What begins within the window is taken by our kernel, too, though it ends behind it: the
	 * peer may have been told of more by the node before, after its last record. */
	a->beyond = a->end - fin > a->edge; /* a FIN may stand there */
	a->ours = a->end >= a->commit && (a->seq < a->edge || !a->beyond);
}

static __always_inline void ended(struct guard_slot *slot, __u32 index, __u32 what, __u64 now)
{
	if (slot->ended & what)
		return;
	if (__sync_fetch_and_or(&slot->ended, what) & what)
		return;
	event_send(GUARD_EVENT_ENDED, index, &slot->facts, slot->out_acked, now);
}

/* Does the peer want an answer? Repeats and what exceeds the window are answered by our kernel,
 * and so are probes, which have the number before what the peer has yet to be told. */
static __always_inline bool in_asks(const struct arrival *a, const struct guard_slot *slot)
{
	if (a->end == a->seq)
		return a->seq < larger(READ_ONCE(slot->in_acked), a->commit);
	return a->seq < (__s64)slot->in_max || !a->ours || a->beyond;
}

static __always_inline void in_note(struct guard_slot *slot, const struct segment *s,
				    const struct arrival *a, __u64 now)
{
	if (in_asks(a, slot))
		WRITE_ONCE(slot->asked, slot->asked + 1);
	WRITE_ONCE(slot->last_in_ns, now);
	if (!a->ours || s->flags & HF_TCP_RST)
		return;
	if (a->end > (__s64)slot->in_max)
		WRITE_ONCE(slot->in_max, a->end);
	if (s->flags & HF_TCP_FIN)
		WRITE_ONCE(slot->in_fin, a->end - 1);
	if (s->options & GUARD_TS && !ts_older(s->tsval, slot->peer_tsval))
		WRITE_ONCE(slot->peer_tsval, s->tsval);
}

/* What comes with an acknowledgement that is believed. */
static __always_inline void in_note_ack(struct guard_slot *slot, const struct segment *s, __s64 ack)
{
	if (ack > (__s64)slot->out_acked)
		WRITE_ONCE(slot->out_acked, ack);
	WRITE_ONCE(slot->peer_window, (__u32)s->window << (slot->facts.peer_wscale & 15));
	if (s->options & GUARD_TS && !ts_older(s->tsecr, slot->peer_tsecr))
		WRITE_ONCE(slot->peer_tsecr, s->tsecr);
}

/* RFC 5961 section 3.2: only then does our kernel believe it. It may have more than it has told. */
static __always_inline bool in_reset(const struct arrival *a, const struct guard_slot *slot)
{
	return a->seq == larger(READ_ONCE(slot->in_next), a->commit) ||
	       (a->ours && a->seq == (__s64)slot->in_max);
}

static __always_inline int in_lower(ctx_t *ctx, const struct segment *s,
				    const struct guard_slot *slot, __s64 ack)
{
	if (segment_rewrite(ctx, s, slot->facts.iss + 1 + (__u32)ack, s->window, s->flags))
		return -1;
	return s->sack_at ? segment_strip_sack(ctx, s) : 0;
}

/* A kernel whose buffer overflowed takes back the window that it gave (since Linux 6.9), but not
 * what the peer was told: its acknowledgements bear numbers that our kernel would not look at, and
 * what they acknowledge may be what the application waits for. */
static __always_inline bool in_outside(const struct arrival *a, const struct guard_slot *slot)
{
	return a->ours && a->end == a->seq &&
	       a->seq > (__s64)(READ_ONCE(slot->in_next) + READ_ONCE(slot->in_window));
}

static __noinline int in_ready(ctx_t *ctx, const struct segment *s, struct guard_slot *slot,
			       struct arrival *a, __u64 now)
{
	__s64 sent = READ_ONCE(slot->out_max), fin = READ_ONCE(slot->out_fin);

	if (unlikely(a->ack > sent)) {
		if (a->ack > (__s64)READ_ONCE(slot->out_foreign))
			return GUARD_REASON_ACK_BEYOND;
		/* What another node sent, ours has yet to send. Our kernel would silently drop it,
		 * and with it all that the segment brings. */
		a->ack = sent;
		if (in_lower(ctx, s, slot, a->ack))
			return GUARD_REASON_HELPER_FAILED;
		count(GUARD_REASON_ACK_LOWERED);
	}
	if (a->ours)
		in_note_ack(slot, s, a->ack);
	if (unlikely(in_outside(a, slot))) {
		if (segment_renumber(ctx, s, slot->facts.irs + 1 + (__u32)READ_ONCE(slot->in_next)))
			return GUARD_REASON_HELPER_FAILED;
		count(GUARD_REASON_RENUMBERED);
	}
	if (unlikely(fin) && a->ours && a->ack >= fin && READ_ONCE(slot->flags) & GUARD_END_ALLOWED)
		return -1;
	return GUARD_REASON_PASSED_IN;
}

/* The window that the peer was told of after the last record, as large as it may have become. */
#define FOREIGN_WINDOW (64 << 20)

/* The first answer, and each that tells more. */
static __always_inline int in_probing(const struct segment *s, struct guard_slot *slot,
				      const struct arrival *a, __u32 index, __u64 now)
{
	__s64 sent = larger(READ_ONCE(slot->out_max), READ_ONCE(slot->out_foreign));
	bool news = !slot->probed || a->ack > (__s64)slot->out_acked;

	if (!(s->flags & HF_TCP_ACK))
		return GUARD_REASON_UNREADY;
	if (a->ack < (__s64)slot->out_acked || a->ack > sent || a->seq < a->commit ||
	    a->seq > a->edge + FOREIGN_WINDOW)
		return GUARD_REASON_ACK_BEYOND;
	if (s->options & GUARD_TS && ts_older(READ_ONCE(slot->tsval), s->tsecr))
		return GUARD_REASON_ACK_BEYOND;
	in_note_ack(slot, s, a->ack);
	WRITE_ONCE(slot->probed, slot->probed + 1);
	if (news)
		event_send(GUARD_EVENT_PROBED, index, &slot->facts, a->ack, now);
	return GUARD_REASON_PROBED;
}

static __noinline int in_slot(ctx_t *ctx, const struct segment *s, struct guard_slot *slot,
			      __u32 index, __u64 now)
{
	__u32 mode = READ_ONCE(slot->mode);
	bool ready = mode == GUARD_ACTIVE || mode == GUARD_OPEN;
	struct arrival a;
	int outcome;

	/* TIME-WAIT and challenges are our kernel's affair */
	if (unlikely(s->flags & HF_TCP_SYN))
		return ready ? GUARD_REASON_PASSED_IN : GUARD_REASON_UNREADY;
	arrival_read(&a, s, slot);
	in_note(slot, s, &a, now);
	if (unlikely(s->flags & HF_TCP_RST)) {
		if (in_reset(&a, slot))
			ended(slot, index, GUARD_ENDED_PEER_RST, now);
		return ready ? GUARD_REASON_PASSED_IN : GUARD_REASON_UNREADY;
	}
	if (mode == GUARD_PROBING)
		return in_probing(s, slot, &a, index, now);
	if (!ready)
		return GUARD_REASON_UNREADY;
	if (!(s->flags & HF_TCP_ACK))
		return GUARD_REASON_PASSED_IN;
	outcome = in_ready(ctx, s, slot, &a, now);
	if (outcome >= 0)
		return outcome;
	ended(slot, index, GUARD_ENDED_OUT_ACKED, now);
	return GUARD_REASON_PASSED_IN;
}

/* A SYN is worth an entry that the next ones may push out, and no more. What a peer was answered
 * stays while it may still come back to it; out_embryo() finds out if it does not. */
static __noinline int in_syn(const struct segment *s, const struct guard_conf *conf, __u64 now)
{
	struct guard_embryo *old = bpf_map_lookup_elem(&guard_embryos, &s->key);
	struct guard_embryo embryo = {.state = GUARD_EMBRYO_SYN};
	struct guard_facts *f = &embryo.facts;
	__u32 index;

	if (closed(conf, now))
		return GUARD_REASON_UNREADY;
	if (bpf_map_peek_elem(&guard_free, &index)) {
		event_full(now);
		return GUARD_REASON_SYN_FULL;
	}
	if (old && READ_ONCE(old->state) == GUARD_EMBRYO_SYNACK)
		return GUARD_REASON_PASSED_IN;
	f->key = s->key;
	f->irs = s->seq;
	f->peer_mss = s->mss ? s->mss : s->p.family == 4 ? 536 : 1220;
	f->peer_wscale = s->wscale;
	f->options = s->options;
	f->peer_tsval = s->tsval;
	bpf_map_update_elem(&guard_embryos, &s->key, &embryo, BPF_ANY);
	return GUARD_REASON_PASSED_IN;
}

/* Has the peer of this segment seen our SYN-ACK? */
static __always_inline bool embryo_proven(const struct guard_embryo *embryo,
					  const struct segment *s)
{
	const struct guard_facts *f = &embryo->facts;
	__u32 window = 65535u << (f->our_wscale & 15);

	if (embryo->state != GUARD_EMBRYO_SYNACK && embryo->state != GUARD_EMBRYO_FOREIGN)
		return false;
	return (s->flags & (HF_TCP_ACK | HF_TCP_RST | HF_TCP_SYN)) == HF_TCP_ACK &&
	       s->ack == f->iss + 1 && s->seq - (f->irs + 1) <= window &&
	       key_equal(&f->key, &s->key);
}

static __noinline int in_unknown(ctx_t *ctx, const struct segment *s, const struct guard_conf *conf,
				 __u64 now)
{
	struct guard_embryo *embryo = bpf_map_lookup_elem(&guard_embryos, &s->key);
	struct guard_slot *slot;
	__u32 index;
	int outcome;

	if (!embryo || !embryo_proven(embryo, s))
		return now < READ_ONCE(conf->unknown_until_ns) ? GUARD_REASON_UNKNOWN_IN
							       : OUTCOME_PASS;
	if (closed(conf, now))
		return GUARD_REASON_UNREADY;
	outcome = slot_open(&s->key, embryo, now);
	if (outcome != GUARD_REASON_OPENED)
		return outcome;
	slot = slot_find(&s->key, &index);
	if (!slot)
		return GUARD_REASON_SYN_FULL;
	/* the peer will send it again, when user space has made the connection */
	if (slot->mode == GUARD_PROBING)
		return GUARD_REASON_UNREADY;
	return in_slot(ctx, s, slot, index, now);
}

static __always_inline int in_other(ctx_t *ctx, const struct segment *s, enum found found,
				    const struct guard_conf *conf, __u64 now)
{
	if (found == FOUND_NEIGHBOUR && addr_guarded(&s->about) && lease_over(conf, now))
		return GUARD_REASON_FENCED_IN;
	if (addr_zero(&s->key.local) || !addr_guarded(&s->key.local))
		return OUTCOME_PASS;
	if (lease_over(conf, now))
		return GUARD_REASON_FENCED_IN;
	if (found == FOUND_BAD || found == FOUND_CUT)
		return GUARD_REASON_MALFORMED;
	if (found == FOUND_FRAGMENT && s->p.frag == FRAG_FIRST && point_guarded(&s->key))
		return GUARD_REASON_FRAGMENT;
	if (found != FOUND_TCP || !point_guarded(&s->key))
		return OUTCOME_PASS;
	if ((s->flags & (HF_TCP_SYN | HF_TCP_ACK | HF_TCP_RST)) == HF_TCP_SYN)
		return in_syn(s, conf, now);
	return in_unknown(ctx, s, conf, now);
}

static __always_inline int in_packet(ctx_t *ctx, struct segment *s, const struct guard_conf *conf)
{
	enum found found = segment_find(ctx, s, WAY_IN);
	struct guard_slot *slot;
	__u32 index;
	__u64 now;

	if (found == FOUND_OTHER)
		return OUTCOME_PASS;
	now = bpf_ktime_get_boot_ns();
	if (likely(found == FOUND_TCP)) {
		slot = slot_find(&s->key, &index);
		if (slot)
			return lease_over(conf, now) ? GUARD_REASON_FENCED_IN
						     : in_slot(ctx, s, slot, index, now);
	}
	return in_other(ctx, s, found, conf, now);
}

#endif
