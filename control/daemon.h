/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The daemon's one object: what the modules of control/ share. Single-threaded. */
#ifndef HOLDFAST_DAEMON_H
#define HOLDFAST_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "control/conf.h"
#include "control/path/hold.h"
#include "control/path/netlink.h"
#include "control/path/park.h"
#include "control/peer/tls.h"
#include "control/peer/udp.h"
#include "loader/loader.h"

struct assoc;
struct ctl;
struct event;
struct event_base;
struct flowevents;
struct path;
struct services;
struct sweep;

struct daemon {
	struct conf *conf;
	struct event_base *base;
	struct loader *loader;
	struct assoc_val *assoc_map; /* shared memory */
	struct path_val *path_map;
	struct netlink *netlink;
	struct udp udp;
	struct park *park;
	struct hold *hold;
	struct ctl *ctl;
	struct tls_server *tls; /* anchor */
	struct services *services;
	struct flowevents *flowevents;
	struct sweep *sweep;
	int tun_fd;
	uint32_t tun_ifindex;
	uint32_t tun_mtu;

	struct assoc *assocs[HF_ASSOCS_MAX]; /* by index; NULL: free */
	uint32_t assoc_top;                  /* one above the highest index in use */
	struct path *paths[HF_PATHS_MAX];    /* by slot */
	uint64_t path_rest_ms[HF_PATHS_MAX]; /* slot is free from then on */
	uint32_t path_next;

	/* what netlink says, read again at every change */
	struct netlink_link *links;
	int link_count;
	struct netlink_address *addresses;
	int address_count;

	int points_due;       /* NETLINK_*: changed, but could not be read yet */
	bool ways_changed;    /* anchor: paths have yet to follow interfaces and routes, */
	uint64_t ways_due_ms; /* not before then */

	uint64_t reasons[HF_REASON_COUNT]; /* counted by the daemon, beside the data plane's */
	uint64_t started_ms;
	bool stopping;
	bool adopted;      /* hf0 was there before us */
	bool keep;         /* leave the data plane running at the end */
	char warning[256]; /* something an operator should mend, "" if none */

	struct event *tick_event;
	struct event *sweep_event;
};

/* Runs until it is told to stop. 0 or negative errno after one line in the log. `ready_fd` (-1:
 * none) gets one byte once everything is set up. */
int daemon_run(struct conf *conf, int ready_fd);

/* Ends the loop; `keep`: hf0, programs and maps stay and go on working. */
void daemon_stop(struct daemon *d, bool keep);

/* Something happened that the next tick must not wait for. */
void daemon_wake(struct daemon *d);

/* Looks an interface up in `links`; NULL if there is none. */
const struct netlink_link *daemon_link(const struct daemon *d, uint32_t ifindex);
const struct netlink_link *daemon_link_named(const struct daemon *d, const char *name);

#endif
