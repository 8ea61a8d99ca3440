/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Keys and values of every pinned map: the one layout shared by the data
 * plane, the loader, the daemon and the tests. docs/bpffs.md is its
 * specification. From the first release on, any change of a size, an offset or a
 * meaning raises HF_LAYOUT_VERSION.
 *
 * Byte order: fields of type __be16 are as on the wire, all others are the
 * host's. Addresses are 16 bytes; IPv4 is mapped, ::ffff:a.b.c.d (RFC 4291
 * section 2.5.5.2). All padding is explicit and must be zero.
 */
#ifndef HOLDFAST_LAYOUT_H
#define HOLDFAST_LAYOUT_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define HF_LAYOUT_MAGIC   0x31464c48u /* "HLF1" */
#define HF_LAYOUT_VERSION 1

#define HF_ASSOCS_MAX     4096u
#define HF_PATHS_MAX      16384u
#define HF_HOSTS_MAX      8192u
#define HF_SERVICES_MAX   4096u
#define HF_PEERS_MAX      32768u
#define HF_FRAGS_MAX      4096u
#define HF_ECHOES_MAX     8192u
#define HF_FLOWS_DEFAULT  262144u
#define HF_EVENTS_BYTES   (256u * 1024u)
#define HF_NAME_LEN       32

/* skb->tc_index on hf0: what tc programs tell each other about a packet */
#define HF_TC_DECODED 0x4844u /* decode put it into hf0: leave it alone */
#define HF_TC_PUNT    0x4850u /* for the daemon: let it into the TAP */

/* ICMP echo has one identifier where TCP and UDP have two ports: a service of
 * protocol ICMP owns a block of this many outer identifiers, and its "emulator
 * port" is the first of them. */
#define HF_ECHO_BLOCK 256u

struct hf_addr {
	union {
		__u8 b[16];
		__be32 w[4];
	};
};

enum hf_role {
	HF_ROLE_NONE = 0,
	HF_ROLE_MOBILE = 1, /* the inner host is ours, the service is far away */
	HF_ROLE_ANCHOR = 2, /* the service is ours, the inner host is far away */
	HF_ROLE_SERVER = 3, /* takeover: see guard.h; never in a map of this file */
};

/* map "meta": ARRAY, one element; verified before pins are adopted */
struct meta_val {
	__u32 magic;
	__u32 version;
	__u32 flow_key_size;
	__u32 flow_val_size;
	__u32 assoc_val_size;
	__u32 path_val_size;
	__u32 reason_count;
	__u32 max_flows;
};

/* map "hosts": HASH, inner address of a mobile -> its association */
struct host_val {
	__u32 assoc;
	__u8 role; /* enum hf_role: what this node is for that host */
	__u8 pad[3];
};

/* map "services": HASH, inner destination -> index into "service_table" */
struct service_key {
	struct hf_addr addr;
	__be16 port; /* 0 for ICMP echo */
	__u8 proto;  /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP (for ICMPv6 echo too) */
	__u8 pad;
};

/* map "emulators": HASH, outer anchor-side port -> index into "service_table" */
struct emulator_key {
	__u32 scope; /* 0 at an anchor; at a mobile the association's index + 1 */
	__be16 port; /* ICMP echo: identifier with the low 8 bits cleared */
	__u8 proto;
	__u8 pad;
};

/* map "service_table": ARRAY */
struct service_val {
	struct hf_addr addr; /* correspondent */
	__be16 port;
	__be16 emulator; /* port at the anchor's point */
	__u8 proto;
	__u8 used;
	__u16 pad;
	__u32 assoc; /* mobile: association that carries it; anchor: 0, any */
	__u32 pad2;
};

enum hf_mode {
	HF_MODE_DOWN = 0,   /* no path: packets go to the daemon */
	HF_MODE_ACTIVE = 1, /* translated and sent by the fast path */
	HF_MODE_PARK = 2,   /* packets go to the daemon, which holds them */
};

/*
 * map "assocs": ARRAY, BPF_F_MMAPABLE.
 * `route` is the switch: one aligned 64-bit store moves every flow of the
 * association. Low 32 bits: index into "paths"; next 16: enum hf_mode; high
 * 16: generation, raised by one at every store.
 */
struct assoc_val {
	/* written by user space */
	__u64 route;
	__u32 scope;     /* key of "emulators" */
	__u32 max_flows; /* 0: no limit but the map's */
	__u32 epoch;
	__u8 role; /* enum hf_role */
	__u8 used;
	__u16 pad;
	struct hf_addr host4; /* the mobile's inner addresses, zero if none */
	struct hf_addr host6;
	char name[HF_NAME_LEN]; /* peer: at a mobile the anchor, at an anchor the mobile */
	__u8 pad2[40];
	/* written by the data plane */
	__u32 flows; /* entries of "flows" that name this association */
	__u32 pad3;
	__u8 pad4[56];
};

#define HF_ROUTE(path, mode, gen)                                                                  \
	((__u64)(__u32)(path) | ((__u64)(__u16)(mode) << 32) | ((__u64)(__u16)(gen) << 48))
#define HF_ROUTE_PATH(route) ((__u32)(route))
#define HF_ROUTE_MODE(route) ((__u16)((route) >> 32))
#define HF_ROUTE_GEN(route)  ((__u16)((route) >> 48))

/*
 * map "paths": ARRAY, BPF_F_MMAPABLE. The first line is written before the
 * path is published and never while it is in use; a slot is used again only
 * after HF_PATH_REST_MS.
 */
#define HF_PATH_REST_MS 1000
/* Decoded packets go on from the NIC, which saves a turn through hf0's receive queue. Not where a
 * strict reverse-path filter would drop them: their source's route leads to hf0. */
#define HF_PATH_IN_PLACE 0x01u
struct path_val {
	/* written by user space */
	struct hf_addr local; /* our outer address */
	struct hf_addr peer;
	__u32 ifindex;
	__u32 assoc;
	__u16 mtu;
	__u8 family; /* 4 or 6 */
	__u8 used;
	__u8 flags; /* HF_PATH_* */
	__u8 pad[3];
	struct hf_addr nexthop; /* of the path's family; zero: the peer is the neighbour */
	/* written by the data plane when it sends; packets as on the wire (GSO counted whole) */
	__u64 tx_packets;
	__u64 tx_bytes;   /* of the IP packets */
	__u64 last_tx_ns; /* CLOCK_MONOTONIC, coarse */
	__u8 pad2[40];
	/* written by the data plane when it receives */
	__u64 rx_packets;
	__u64 rx_bytes;
	__u64 last_rx_ns;
	__u8 pad3[40];
};

/* map "peers": HASH, a pair of outer addresses -> path */
struct peer_key {
	struct hf_addr peer;
	struct hf_addr local;
};

#define HF_PEER_ACCEPT 0x01u /* current or graced point: data is accepted */
struct peer_val {
	__u32 assoc;
	__u32 path;
	__u32 flags;
};

/*
 * map "flows": HASH, preallocated, never LRU. The mobile's port is the same on
 * the wire and inside, so one entry serves both directions.
 */
struct flow_key {
	__u32 assoc;
	__be16 port;   /* mobile's port; ICMP echo: outer identifier */
	__u16 service; /* index into "service_table" */
};

#define HF_TCP_FIN 0x01u
#define HF_TCP_SYN 0x02u
#define HF_TCP_RST 0x04u
#define HF_TCP_ACK 0x10u

struct flow_val {
	__u32 last_up; /* mobile to correspondent; ms, CLOCK_MONOTONIC, coarse, modulo 2^32 */
	__u32 last_down;
	__u32 created;
	__u8 tcp_up; /* HF_TCP_* seen in that direction, ever */
	__u8 tcp_down;
	__u8 flags;
	__u8 pad;
};
#define HF_FLOW_ANNOUNCED 0x01u /* installed from an announcement, not from a packet */

/* map "echoes": HASH, at the mobile: inner <-> outer ICMP echo identifiers */
struct echo_key {
	__u32 assoc;
	__be16 id;
	__u16 service;
	__u8 outer; /* 0: id is the inner one; 1: id is the outer one */
	__u8 pad[3];
};
struct echo_val {
	__be16 id; /* on the other side */
	__u16 pad;
};

/* map "frags": LRU_HASH, ports of a fragmented packet by its first fragment */
struct frag_key {
	struct hf_addr src;
	struct hf_addr dst;
	__u32 id; /* as on the wire */
	__u8 proto;
	__u8 pad[3];
};
struct frag_val {
	__be16 sport;
	__be16 dport;
	__u32 seen_ms;
};
#define HF_FRAG_LIFE_MS 30000u

/* map "reasons": PERCPU_ARRAY of __u64, index enum hf_reason */

/* map "events": RINGBUF of struct hf_event */
enum hf_event_type {
	HF_EVENT_FLOW_NEW = 1,
	HF_EVENT_FLOW_REFUSED = 2, /* reason FLOWS_FULL or ASSOC_FLOWS_FULL; at most one a second */
	HF_EVENT_FLOW_EXPIRED = 3,
};
struct hf_event {
	__u64 time_ns;
	__u32 type;
	__u32 assoc;
	__u32 reason;
	__u16 service;
	__be16 port;
};

/* idle times */
struct sweep_limits {
	__u32 tcp_established_ms; /* RFC 5382 REQ-5: at least 2 h 4 min */
	__u32 tcp_transitory_ms;  /* RFC 5382 REQ-5, RFC 7857 section 2: 4 min */
	__u32 udp_ms;             /* RFC 4787 REQ-5: 5 min */
	__u32 icmp_ms;            /* RFC 5508 REQ-2: 60 s */
};

/* Argument of the program "flow_sweep" (BPF_PROG_TYPE_SYSCALL): of these flows it takes away those
 * that are idle, or whose service or association is not in use. */
#define HF_SWEEP_KEYS 32u
struct sweep_args {
	struct sweep_limits limits;
	__u32 count;   /* of `keys`, at most HF_SWEEP_KEYS */
	__u32 expired; /* out */
	__u32 live;    /* out; what is not there is neither */
	__u32 pad;
	struct flow_key keys[HF_SWEEP_KEYS];
};

#ifndef __bpf__
#include <assert.h>
static_assert(sizeof(struct hf_addr) == 16, "layout");
static_assert(sizeof(struct meta_val) == 32, "layout");
static_assert(sizeof(struct host_val) == 8, "layout");
static_assert(sizeof(struct service_key) == 20, "layout");
static_assert(sizeof(struct emulator_key) == 8, "layout");
static_assert(sizeof(struct service_val) == 32, "layout");
static_assert(sizeof(struct assoc_val) == 192, "layout");
static_assert(__builtin_offsetof(struct assoc_val, flows) == 128, "layout");
static_assert(sizeof(struct path_val) == 192, "layout");
static_assert(__builtin_offsetof(struct path_val, tx_packets) == 64, "layout");
static_assert(__builtin_offsetof(struct path_val, rx_packets) == 128, "layout");
static_assert(sizeof(struct peer_key) == 32, "layout");
static_assert(sizeof(struct peer_val) == 12, "layout");
static_assert(sizeof(struct flow_key) == 8, "layout");
static_assert(sizeof(struct flow_val) == 16, "layout");
static_assert(sizeof(struct echo_key) == 12, "layout");
static_assert(sizeof(struct frag_key) == 40, "layout");
static_assert(sizeof(struct frag_val) == 8, "layout");
static_assert(sizeof(struct hf_event) == 24, "layout");
static_assert(sizeof(struct sweep_args) == 288, "layout");
#endif

#endif
