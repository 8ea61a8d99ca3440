/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one object of a server's daemon: what the modules of control/takeover/ share.
 * Single-threaded. Offsets, slots, modes: holdfast/guard.h. */
#ifndef HOLDFAST_TAKEOVER_NODE_H
#define HOLDFAST_TAKEOVER_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include <holdfast/guard.h>
#include "control/clock.h"
#include "control/conf.h"
#include "control/takeover/app.h"
#include "control/takeover/conn.h"
#include "control/takeover/store.h"
#include "loader/guard.h"

struct announcer;
struct commits;
struct ctl;
struct embryos;
struct event;
struct event_base;
struct load;
struct netlink;
struct points;
struct restore_tools;
struct ring_buffer;
struct segment_sender;

#define NODE_TICK_MS 100u /* serve_tick() */

/* One takeover of this node's, for status and the bench. Times in ns, CLOCK_BOOTTIME. */
struct node_takeover {
	uint64_t began_ns;
	uint64_t announced_ns;
	uint64_t restored_ns; /* the last connection was made again */
	uint64_t ready_ns;    /* the last one was ready */
	uint64_t restore_ns;  /* sum spent in making sockets */
	uint32_t records;     /* connections found in the store */
	uint32_t restored;
	uint32_t ready;
	uint32_t lost; /* given up: no answer, or no socket could be made */
};

struct node_counts {
	uint64_t opened;
	uint64_t commits; /* gates raised */
	uint64_t pushed;  /* acknowledgements that the daemon sent after a commit */
	uint64_t takeovers;
	uint64_t handed; /* given away in order */
	uint64_t restored;
	uint64_t lost;
	uint64_t probes;
	uint64_t refused_commits;
};

struct node {
	struct conf *conf;
	struct event_base *base;
	struct ctl *ctl;
	struct netlink *netlink;
	struct guard *guard;
	struct guard_conf *fence; /* shared memory */
	struct guard_slot *slots; /* shared memory */
	struct ring_buffer *ring;
	struct store *store;
	struct apps *apps;
	struct segment_sender *sender;
	struct restore_tools *tools;
	struct announcer *announcer;
	struct conns *conns;
	struct commits *commits;
	struct embryos *embryos;
	struct points *points;
	struct load *load;
	uint32_t ifindex;

	struct store_status status; /* as told last */
	bool owner;                 /* we act as one */
	bool opened;                /* the gates are open because commits cannot be made */
	bool stopping;
	uint32_t role;        /* enum hf_role_now */
	uint64_t claim_ms;    /* ask for the ownership then; 0: not */
	uint64_t overload_ms; /* do not give away again before */
	uint64_t commit_ms;   /* the last commit that came back */
	uint64_t announce_ms; /* announce the addresses again then */
	uint64_t announce_wait_ms;
	uint64_t started_ms;
	uint32_t cursor;     /* of the walk that refreshes records */
	uint64_t wanted;     /* services of this ownership: apps_services() */
	bool stranded;       /* one of them is not here, and no other node has it */
	uint32_t unfinished; /* connections PROBING, WAITING or UNREADY */
	struct node_takeover last;
	struct node_counts counts;

	struct event *tick_event;
	struct event *probe_event;
	struct event *netlink_event;
};

/* Runs until it is told to stop. 0 or negative errno after one line in the log. */
int node_run(struct conf *conf, int ready_fd);
void node_stop(struct node *n);

/* What these services have cannot go on here: the group goes to a standby that has everything, an
 * application for one of them and for what is served here; where there is none, clients wait for
 * the next application, here or there. */
void node_fail_over(struct node *n, uint64_t services, const char *why);
/* An application has come or gone: the other nodes are told. If one is missing here that another
 * node has, the group goes there. */
void node_applications(struct node *n);

/* Gives the group to that node (NULL: any that can), in order. 0, -EPERM (not the owner), -EINVAL
 * (it is this node), -ENOENT (there is none of that name), -ENOTCONN, -EAGAIN (it is not synced),
 * -ENOPKG (it lacks an application that is here). */
int node_hand(struct node *n, const char *to);
/* Tells the network where the addresses are: at once, and from then on ever less often. */
void node_announce(struct node *n);
/* Probes are due. */
void node_probe_soon(struct node *n);

/* ---- serve.c: what an owner does for the applications ---- */

extern const struct apps_ops serve_ops; /* arg: struct node */
/* From the ring. */
int serve_event(void *arg, void *data, size_t len);
void serve_committed(struct node *n, uint64_t ticket);
/* Fills the record of a connection that begins: its service, and the id that its handshake had. */
void serve_name(struct node *n, struct conn *c, const struct guard_facts *f);
/* Puts the record of a connection, with what its slot says now; tried again later where it cannot
 * be put. */
void serve_put(struct node *n, struct conn *c);
/* Now and then: records that could not be put, or whose connection has moved on; slots that are
 * over. */
void serve_tick(struct node *n, uint64_t now_ms);
/* Sends the acknowledgement, or tells the window, that is due and that our kernel does not send. */
void serve_push(struct node *n, const struct conn *c);
/* The timestamp that a segment of that connection has now; perhaps more, never less. */
uint32_t serve_tsval(const struct guard_slot *s);
/* ms that a connection's timestamps may be ahead of its record's, while the store takes records. */
uint32_t serve_lag_ms(const struct node *n);
/* Nobody answers for it any more: nothing of its socket may reach the peer, until an application of
 * its service takes it up. */
void serve_freeze(struct node *n, struct conn *c);
/* The slot of a connection that is over goes back; its record too. */
void serve_finish(struct node *n, struct conn *c);
/* Takes all that is guarded out of the data plane and tells the applications. */
void serve_abandon(struct node *n);

/* ---- takeover.c: becoming the owner ---- */

/* Before the lease begins: what is unknown is dropped for a while, not answered with a RST. */
void takeover_fence(struct node *n);
void takeover_begin(struct node *n);
/* The peer of a connection in mode PROBING has answered. */
void takeover_probed(struct node *n, struct conn *c);
/* A connection of another node that carried nothing yet. */
void takeover_fresh(struct node *n, const struct guard_event *e);
/* An application has come, or a member of a bundle is there. */
void takeover_deliver(struct node *n);
void takeover_ready(struct node *n, struct conn *c, uint32_t protocol);
/* Sends the probes that are due; returns ms until the next, 0: none. */
uint32_t takeover_probe(struct node *n, uint64_t now_ms);
/* The application of these connections died here and they go on here. */
void takeover_again(struct node *n, struct conn *c);
/* A member of a bundle that was handed over is not wanted: the others come back, too. */
void takeover_refused(struct node *n, struct conn *c);

/* ---- node_status.c ---- */

#include <jansson.h>
json_t *node_status(struct node *n);
json_t *node_connections(struct node *n);

#endif
