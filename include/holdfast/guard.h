/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Keys and values of the maps of the guard: the programs on tc that keep the
 * record of each guarded TCP connection (T1), let no acknowledgement out for what
 * is not committed (T7), and hold back FIN and RST of a server that dies.
 * docs/bpffs.md is the specification.
 *
 * Two streams, each with offsets in 64 bits: "in" is what the peer (the client)
 * sends, "out" what the server sends. Offset 0 is the first byte of data: sequence
 * number irs + 1 of "in", iss + 1 of "out". A FIN takes one offset.
 *
 * Byte order, addresses and padding as in layout.h.
 */
#ifndef HOLDFAST_GUARD_H
#define HOLDFAST_GUARD_H

#include <holdfast/layout.h>

#define GUARD_LAYOUT_MAGIC   0x31474c48u /* "HLG1" */
#define GUARD_LAYOUT_VERSION 1

#define GUARD_SLOTS_DEFAULT  65536u
#define GUARD_SLOTS_MAX      (1u << 20)
#define GUARD_EMBRYOS_MAX    65536u
#define GUARD_ADDRS_MAX      256u
#define GUARD_POINTS_MAX     1024u
#define GUARD_EVENTS_BYTES   (1024u * 1024u)

/* SO_MARK of what the daemon sends itself from a guarded address (probes, acknowledgements after
 * a commit): egress lets it out while the lease holds, in any mode and beyond the commit. It may
 * leave later than what our kernel made later, so egress gives it the newest timestamp,
 * acknowledgement and right edge that have left, and drops it if nothing new remains. */
#define GUARD_MARK 0x48464755u

/*
 * map "guard_conf": ARRAY, one element, BPF_F_MMAPABLE. Written by user space.
 * The lease is the fence: after `lease_until_ns` nothing comes in for a guarded
 * address and nothing leaves from one, ARP and neighbour discovery included,
 * whatever user space is doing then.
 */
struct guard_conf {
	__u32 magic;
	__u32 version;
	__u64 lease_until_ns;   /* CLOCK_BOOTTIME; 0: not the owner; ~0: no end */
	__u64 unknown_until_ns; /* CLOCK_BOOTTIME; until then segments of unknown connections to or
				   from a guarded point are dropped; later they go on (and meet a
				   RST) */
	__u32 epoch;            /* of the ownership, for people who read the map */
	__u32 embryo_rate;      /* GUARD_EVENT_EMBRYO events a second at most; 0: none */
	__u32 slots;            /* elements of "guard_slots" */
	__u32 pad0;
	__u64 closed_until_ns; /* CLOCK_BOOTTIME; until then no connection begins: SYNs and SYN-ACKs
				  are dropped, no slot is opened. The next owner would not know of
				  it */
	__u32 pad[4];
};

/* map "guard_addrs": HASH, struct hf_addr -> __u32 (1): the addresses that move (VIPs) */

/* map "guard_points": HASH, guarded listening endpoints */
struct guard_point_key {
	struct hf_addr addr;
	__be16 port;
	__u16 pad;
};
struct guard_point_val {
	__u32 id; /* user space's own */
	__u32 pad;
};

/* map "guard_conns": HASH, preallocated, never LRU: -> __u32 index into "guard_slots" */
struct guard_key {
	struct hf_addr peer;
	struct hf_addr local;
	__be16 peer_port;
	__be16 local_port;
};

#define GUARD_TS     0x01u /* timestamps were negotiated */
#define GUARD_SACK   0x02u
#define GUARD_WSCALE 0x04u

/* What both ends said in the handshake. */
struct guard_facts {
	struct guard_key key;
	__u32 irs;        /* sequence number of the peer's SYN, host order */
	__u32 iss;        /* of ours */
	__u16 peer_mss;   /* of the peer's SYN; 536 (IPv6: 1220) if it had none */
	__u16 our_mss;    /* of our SYN-ACK */
	__u8 peer_wscale; /* 0 where not negotiated */
	__u8 our_wscale;
	__u8 options; /* GUARD_TS | GUARD_SACK | GUARD_WSCALE: negotiated, in both SYNs */
	__u8 pad;
	__u32 tsval;      /* ours, of the SYN-ACK */
	__u32 peer_tsval; /* of the SYN */
	__u32 pad2;
};

/* map "guard_embryos": LRU_HASH, struct guard_key -> struct guard_embryo. A SYN alone makes only
 * this; the slot comes with the segment that proves that the peer has seen our SYN-ACK. */
#define GUARD_EMBRYO_SYN     1u /* the SYN was seen */
#define GUARD_EMBRYO_SYNACK  2u /* and our answer: the facts are complete */
#define GUARD_EMBRYO_FOREIGN 3u /* brought by user space: another node answered the SYN */
struct guard_embryo {
	struct guard_facts facts;
	__u32 state;
	__u32 told; /* user space has sent our answer: the kernel may repeat it */
};

enum guard_mode {
	GUARD_FREE = 0,
	GUARD_ACTIVE = 1,  /* the gate is at in_commit */
	GUARD_OPEN = 2,    /* no gate: acknowledgements go as the kernel makes them; FIN and RST are
			      still held */
	GUARD_PROBING = 3, /* no socket yet: what the peer says is noted and dropped */
	GUARD_UNREADY =
		4,        /* restored, but its protocols have not said ready: nothing passes (T3) */
	GUARD_FROZEN = 5, /* the server is gone or gives it away: nothing passes */
};

/* Bytes that every owner grants beyond the commit: what a SYN-ACK may say, and a restored
 * connection has. */
#define GUARD_WINDOW_MIN  65535u

#define GUARD_END_ALLOWED 0x01u /* the application ends it: FIN and RST may leave */

/*
 * map "guard_slots": ARRAY, BPF_F_MMAPABLE. A commit is one 64-bit store into
 * `in_commit`. Each cache line has one writer.
 */
struct guard_slot {
	/* user space */
	__u64 in_commit; /* acknowledgements up to here may leave; never goes back. The peer's FIN
			    is committed when this counts it */
	__u32 mode;  /* enum guard_mode. The data plane makes FREE into ACTIVE when it opens a slot
		      */
	__u32 flags; /* GUARD_END_ALLOWED */
	__u32 generation; /* raised each time the slot is taken */
	__u32 pad0;
	__u64 out_foreign; /* another node may have sent the peer up to here; 0: only this one did
			    */
	__u64 in_promise;  /* right edges up to here may leave, and up to GUARD_WINDOW_MIN beyond
			      in_commit: the next owner knows of them. Never goes back */
	__u64 pad1[3];
	/* written once: by the data plane when it opens the slot, by user space before a restored
	 * connection is published in "guard_conns" */
	struct guard_facts facts;
	/* egress */
	__u64 out_max;   /* end of what was ever sent (FIN counted) */
	__u64 in_next;   /* what our kernel would acknowledge */
	__u64 in_acked;  /* what was acknowledged: the highest that left */
	__u64 in_edge;   /* right edge of the window, the highest that left */
	__u64 last_ns;   /* CLOCK_BOOTTIME of the last segment that our kernel made */
	__u32 tsval;     /* newest that our kernel made, or that left; at `last_ns` */
	__u32 answered;  /* value of `asked` when the last answer left */
	__u32 resets;    /* FIN and RST held back */
	__u32 in_window; /* bytes that our kernel would take beyond in_next */
	__u64 out_fin;   /* `out_max` when our FIN left; 0: it has not */
	/* ingress */
	__u64 out_acked; /* the peer has acknowledged so much */
	__u64 in_max;    /* end of what the peer ever sent (FIN counted) */
	__u64 in_fin;    /* offset of the peer's FIN, ~0 if none was seen */
	__u64 last_in_ns;
	__u32 peer_tsval;  /* newest of the peer, for our answers' tsecr */
	__u32 peer_window; /* bytes, scaled */
	__u32 asked;       /* retransmissions and probes that the peer expects an answer to */
	__u32 ended;       /* GUARD_ENDED_*: what was seen of the end */
	__u32 peer_tsecr;  /* newest timestamp of ours that the peer echoed */
	__u32 probed;      /* mode PROBING: answers taken */
	__u64 pad6;
};
#define GUARD_ENDED_PEER_RST  0x01u /* a RST of the peer, its sequence number exact */
#define GUARD_ENDED_OUT_ACKED 0x02u /* our FIN was acknowledged */

/* map "guard_free": QUEUE of __u32: slots that are free. User space fills it, and gives a slot back
 * after it took the connection out of "guard_conns". */

/* map "guard_events": RINGBUF */
enum guard_event_type {
	/* Our SYN-ACK: the facts are complete. It was held: user space sends one when the facts are
	 * known elsewhere. At most embryo_rate a second; what is more leaves unheld, untold. */
	GUARD_EVENT_EMBRYO = 1,
	GUARD_EVENT_OPENED = 2, /* a connection has its slot */
	GUARD_EVENT_FRESH =
		3, /* a segment for a FOREIGN embryo: a slot was taken, mode PROBING, in_commit
		      0, out_acked 0: to be restored as a connection that carried nothing */
	GUARD_EVENT_PROBED = 4, /* mode PROBING: the peer's acknowledgement is in out_acked */
	GUARD_EVENT_ENDED = 5,  /* `ended` of the slot changed */
	GUARD_EVENT_FULL = 6,   /* no slot is free: a SYN was refused; at most one a second */
};
struct guard_event {
	__u64 time_ns; /* CLOCK_BOOTTIME */
	__u32 type;
	__u32 slot; /* ~0 if none */
	struct guard_facts facts;
	__u64 out_acked;
};

/* map "guard_reasons": PERCPU_ARRAY of __u64. X(symbol, json_key, text) */
#define GUARD_REASONS(X)                                                                           \
	X(PASSED_IN, "passed_in", "segments of guarded connections let in")                        \
	X(PASSED_OUT, "passed_out", "segments of guarded connections let out")                     \
	X(CLAMPED, "clamped", "acknowledgements brought down to the commit")                       \
	X(LIMITED, "limited", "right edges brought down to what the next owner knows of")          \
	X(KEPT, "kept", "segments whose acknowledgement or right edge would have gone back")       \
	X(REPEATED, "repeated", "acknowledgements held because they said nothing new")             \
	X(END_HELD, "end_held", "FIN and RST held back: the application did not end it")           \
	X(FENCED_IN, "fenced_in", "packets to a guarded address while not its owner")              \
	X(FENCED_OUT, "fenced_out", "packets from a guarded address while not its owner")          \
	X(UNKNOWN_IN, "unknown_in", "segments of unknown connections dropped")                     \
	X(UNKNOWN_OUT, "unknown_out", "RST and more to unknown connections held back")             \
	X(UNREADY, "unready", "segments of connections that are not ready yet, dropped")           \
	X(PROBED, "probed", "answers to probes taken")                                             \
	X(ACK_LOWERED, "ack_lowered", "acknowledgements for what this node has not sent yet")      \
	X(RENUMBERED, "renumbered", "acknowledgements from beyond a window that was taken back")   \
	X(ACK_BEYOND, "ack_beyond", "acknowledgements for what was never sent, dropped")           \
	X(SYNACK_HELD, "synack_held", "SYN-ACK held until its handshake is recorded")              \
	X(SYN_FULL, "syn_full", "SYN refused: every slot is taken")                                \
	X(OPENED, "opened", "connections that got a slot")                                         \
	X(EVENTS_FULL, "events_full", "connection put off: the event ring is full")                \
	X(MALFORMED, "guard_malformed", "header cut short or inconsistent")                        \
	X(FRAGMENT, "guard_fragment", "fragments of TCP to a guarded point")                       \
	X(HELPER_FAILED, "guard_helper_failed", "a kernel helper refused to change the packet")

enum guard_reason {
#define GUARD_REASON_ENUM(symbol, key, text) GUARD_REASON_##symbol,
	GUARD_REASONS(GUARD_REASON_ENUM)
#undef GUARD_REASON_ENUM
		GUARD_REASON_COUNT
};

#ifndef __bpf__
static_assert(sizeof(struct guard_conf) == 64, "layout");
static_assert(sizeof(struct guard_point_key) == 20, "layout");
static_assert(sizeof(struct guard_key) == 36, "layout");
static_assert(sizeof(struct guard_facts) == 64, "layout");
static_assert(sizeof(struct guard_embryo) == 72, "layout");
static_assert(sizeof(struct guard_slot) == 256, "layout");
static_assert(__builtin_offsetof(struct guard_slot, facts) == 64, "layout");
static_assert(__builtin_offsetof(struct guard_slot, out_max) == 128, "layout");
static_assert(__builtin_offsetof(struct guard_slot, out_acked) == 192, "layout");
static_assert(sizeof(struct guard_event) == 88, "layout");
#endif

#endif
