/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A path: a pair of points of one association, its slot in the maps, and its
 * liveness (M3): sent to and not heard from for max(3 × RTT, 30 ms), it is probed;
 * after conf.timers.attempts unanswered probes it is dead. The peer's data plane answers
 * probes, so a dead path is a dead path and not a busy daemon.
 */
#ifndef HOLDFAST_PATH_H
#define HOLDFAST_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include <holdfast/layout.h>
#include <holdfast/wire.h>

struct assoc;
struct daemon;

enum path_health {
	PATH_UNKNOWN, /* never heard from */
	PATH_ALIVE,
	PATH_DEAD,
};

enum path_news { /* of path_tick() */
		 PATH_NO_NEWS,
		 PATH_DIED,
		 PATH_CAME_BACK,
};

struct path {
	struct path *next; /* of the same association */
	struct assoc *assoc;
	uint32_t slot;
	struct hf_addr local;
	struct hf_addr peer;
	uint32_t ifindex;
	uint32_t cost; /* mobile: of the uplink and the point's rank; lower is better */
	bool present;  /* mobile: link, address and route are there */
	struct hf_addr nexthop;
	bool accepted;      /* current, target or graced: data is taken from it */
	uint64_t grace_ms;  /* accepted until then; 0: not in grace */
	bool validated;     /* anchor: a challenge came back; mobile: the anchor said so */
	uint64_t sign_ms;   /* last authentic datagram on it */
	uint64_t hello_ms;  /* mobile: last PATH_HELLO sent */
	uint64_t challenge; /* anchor: nonce under way, 0 if none */
	int64_t missing;    /* packets the peer counted that never came, as of its last count */
	uint32_t refused;   /* mobile: times it was a target in vain since it last worked */

	enum path_health health;
	uint32_t rtt_us; /* smoothed, RFC 6298 section 2; 0: not measured */
	bool asked;      /* a probe is under way */
	uint32_t probe_seq;
	uint64_t probe_nonce;
	uint64_t probe_us; /* sent at */
	uint32_t unanswered;
	uint64_t waiting_us; /* sent to and not heard from since; 0: no */
	uint64_t data_us;    /* when `data_count`, packets of data both ways, last changed */
	uint64_t data_count;
	uint64_t heard_us; /* by the daemon itself */
};

/* A new path with its slot, known to the data plane but not accepted. NULL: no slot, no memory, or
 * the map refused it. `nexthop` zero: the peer is the neighbour. */
struct path *path_new(struct assoc *a, const struct hf_addr *local, const struct hf_addr *peer,
		      uint32_t ifindex, const struct hf_addr *nexthop);
/* Another interface (the same addresses on a device that came back, or on another one), next hop or
 * MTU: a new slot, as one in use is never written. 0 or negative errno. */
int path_set_way(struct path *p, uint32_t ifindex, const struct hf_addr *nexthop);
/* Takes over a slot that was pinned. */
struct path *path_adopt(struct assoc *a, uint32_t slot, bool accepted);
void path_free(struct path *p); /* NULL is allowed; also leaves the association's list */

struct path *path_find(const struct assoc *a, const struct hf_addr *local,
		       const struct hf_addr *peer);

void path_accept(struct path *p, bool accept);

/* Something authentic came on it: it lives. */
void path_heard(struct path *p, uint64_t now_us);
void path_measured(struct path *p, uint32_t rtt_us);

/* Lets go of packets that wait for the next hop's link-layer address, once no more are sent that
 * way. */
void path_let_go(const struct path *p);

/* Sends a probe now. */
void path_ask(struct path *p, uint64_t now_us);
/* Takes a reply. false: not ours, or no probe under way. */
bool path_answer(struct daemon *d, const struct wire_probe *reply, const struct hf_addr *local,
		 const struct hf_addr *peer, uint64_t now_us);

/* Looks at stamps and timers. */
enum path_news path_tick(struct path *p, uint64_t now_us);

/* When path_tick() has something to do for its timers, in us of its clock; UINT64_MAX: nothing is
 * timed. */
uint64_t path_due_us(const struct path *p);

/* Busy: data was sent or received in the last second. */
bool path_busy(const struct path *p, uint64_t now_us);

struct path_val *path_stamps(const struct path *p);

#endif
