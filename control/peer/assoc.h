/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An association: its keys, its paths, its switch. assoc.c carries out what the
 * switch machine decides and is the same for both roles; mobile.c and anchor.c
 * hold what differs.
 */
#ifndef HOLDFAST_ASSOC_H
#define HOLDFAST_ASSOC_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/conf.h"
#include "control/path/path.h"
#include "control/peer/proto.h"
#include "control/peer/switch.h"

#define ASSOC_PATHS_MAX 32

struct daemon;
struct tls_client;
struct udp_ends;

enum assoc_state {
	ASSOC_APART, /* mobile: no keys; CONNECT under way or waited for */
	ASSOC_CONNECTED,
	ASSOC_ENDING, /* DISCONNECT sent */
};

struct assoc {
	struct daemon *d;
	uint32_t index;
	uint32_t peer_index;
	enum hf_role role;
	enum assoc_state state;
	char name[HF_NAME_LEN];
	uint32_t epoch;
	struct hf_addr host4; /* inner addresses of the mobile, zero if none */
	struct hf_addr host6;

	struct proto_keys *keys;
	struct switch_machine sm;
	struct path *paths;
	uint32_t path_count;
	struct path *current;  /* our outgoing data takes it */
	struct path *target;   /* of the switch under way */
	struct path *left;     /* current until the last switch */
	char wanted[IFNAMSIZ]; /* mobile: uplink that the user asked for, which may not be there
				  yet; "" any */

	uint64_t retry_us; /* 0: no timer */
	uint32_t retry_count;
	uint64_t expire_us;
	bool draining;
	uint64_t fence;    /* the peer's count of packets */
	uint64_t rx_count; /* count in the message being handled */
	uint64_t drain_us; /* at the latest */

	uint64_t alive_ms;     /* mobile: ALIVE sent */
	uint64_t alive_ack_ms; /* mobile: last sign of the anchor's daemon */
	uint64_t silent_ms; /* mobile: since when ALIVE is not answered; older than alive_ack_ms: it
			       is */
	uint64_t sign_ms;   /* last authentic datagram */
	uint64_t data_rx;   /* anchor: for the inactivity timeout */
	uint64_t data_rx_ms;
	uint64_t due_us;  /* ticks before that pass it by; 0: the next one does not */
	bool doomed;      /* to be freed at the next tick */
	bool feed_usable; /* events that an action brought about */
	bool feed_drain;
	struct path *rx_path; /* on which the message being handled came */

	/* mobile */
	const struct conf_anchor *anchor;
	struct hf_addr points[CONF_POINTS_MAX]; /* configured, then those the anchor told */
	size_t point_count;
	struct tls_client *tls;
	struct path *connect_path;
	uint64_t connect_ms; /* next CONNECT not before */
	uint32_t connect_tries;
	uint64_t ending_ms;
	char trouble[256]; /* why it is not connected, "" if it is */

	/* figures for people */
	uint64_t connected_ms;
	uint64_t switch_began_us;
	uint64_t switch_parked;
	uint64_t parked_total;
	uint32_t switches;
	uint32_t last_switch_us;
	char last_switch[24]; /* "planned", "unexpected", "" */
};

/* A free index with everything zero but what is given, its scope written. NULL: none free. */
struct assoc *assoc_new(struct daemon *d, enum hf_role role, const char *name);
/* Takes over a pinned association with its paths. */
struct assoc *assoc_adopt(struct daemon *d, uint32_t index);
/* Gives back everything, in the maps too. Its flows go after it, and its index is taken until then.
 */
void assoc_free(struct assoc *a);
struct assoc *assoc_named(const struct daemon *d, const char *name);

/* The one write. `p` may be NULL with HF_MODE_DOWN or HF_MODE_PARK. */
void assoc_route(struct assoc *a, const struct path *p, enum hf_mode mode);

/* Makes the inner addresses known to the data plane, and forgets others it had. */
int assoc_set_hosts(struct assoc *a, const struct hf_addr *host4, const struct hf_addr *host6);

/* New keys, as CONNECT gives them: the switch begins anew and `p` is current. */
void assoc_connected(struct assoc *a, struct proto_keys *keys, uint32_t peer_index, uint32_t epoch,
		     struct path *p);

void assoc_send(struct assoc *a, struct path *p, enum wire_type type, uint64_t nonce,
		uint64_t echo_us);
void assoc_feed(struct assoc *a, struct switch_input in);
void assoc_receive(struct daemon *d, const void *data, size_t len, const struct udp_ends *ends);
/* Something happened to it that the next tick must not pass by. */
void assoc_wake(struct assoc *a);
/* Does what is due; at the latest `max` us later it is due again. */
void assoc_tick(struct assoc *a, uint64_t now_us, uint64_t max);

/* ---- mobile.c ---- */
int mobile_start(struct daemon *d);
/* Interfaces or addresses changed: paths follow. */
void mobile_points_changed(struct daemon *d);
/* Best path to go to, NULL if there is none. `avoid` (NULL: none) only when nothing else is there.
 */
struct path *mobile_choose(struct assoc *a, const struct path *avoid);
/* `lost` is dead: the machine is told, with another path to go to if there is one. */
void mobile_lose(struct assoc *a, const struct path *lost);
void mobile_tick(struct assoc *a, uint64_t now_us);
void mobile_connect(struct assoc *a);
/* 0, or negative errno and one sentence. */
int mobile_switch(struct assoc *a, const char *ifname, bool make_before_break, char *err,
		  size_t len);
bool mobile_usable(const struct path *p);

/* ---- anchor.c ---- */
int anchor_start(struct daemon *d);
void anchor_stop(struct daemon *d);
/* The path of these two addresses, made if it is new. `ifindex` 0: where the local address is.
 * NULL: no room. */
struct path *anchor_path(struct assoc *a, const struct hf_addr *local, const struct hf_addr *peer,
			 uint32_t ifindex);
/* Interfaces, addresses or routes changed: paths follow. */
void anchor_ways_changed(struct daemon *d);
void anchor_tick(struct assoc *a, uint64_t now_us);
void anchor_hello(struct assoc *a, struct path *p, uint64_t time_us);
void anchor_challenge(struct assoc *a, struct path *p);
void anchor_response(struct assoc *a, struct path *p, uint64_t nonce, uint64_t echo_us);

#endif
