/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who owns a group, when its nodes decide among themselves (store_direct.c). Pure: (state, event,
 * now) gives (state, messages); no sockets, no clock. Times are ns of this node's own clock.
 *
 * Nodes are numbered by the order of their names. An epoch belongs to the node `epoch % nodes`, so
 * no two nodes can ever own with the same one, and every node knows whose an epoch is. What a node
 * grants or votes is a promise: for the lease and STORE_SKEW_PERCENT more it neither claims nor
 * votes for anybody else. The owner counts the same lease from when it asked.
 *
 * Two nodes. The owner needs the other's grant, and the other, once it has granted, may claim
 * without anybody (it is "entitled") when its promise has ended and it has a copy. The owner needs
 * no grant ("sole") while it knows that the other cannot claim without it: after it claimed as the
 * entitled one, after the other's goodbye, after the other came back without having granted
 * anything in this epoch, or when the operator says so. It is sole no longer from the moment it
 * asks for the first grant, which is when the other has a full copy.
 *
 * Three nodes and more. Grants, votes and commits need a majority of all configured nodes, the node
 * itself counted. A vote goes only to a copy that is not older than the voter's own, so that
 * whoever wins has everything that was committed.
 *
 * Memory. Nothing is on disk: a node that starts is blank. The vote of a blank node counts only
 * when every configured node votes, which is how a group starts, and how it goes on when one of two
 * nodes lost its memory and the other lost its lease. When all nodes have been restarted, nobody
 * has a record left and epochs begin anew.
 *
 * Handing over is a vote that nobody asked for: the giver owns no more when it sends it. Of two or
 * three nodes the receiver then has a majority, and is owner at once; of more it asks the others.
 *
 * Every node counts with the same lease_ns.
 *
 * Messages of one connection come in order, and those of an older connection of the same node not
 * at all after LEASE_MET of the newer one. Lease messages (ASK to HAND) may besides be lost and
 * come twice.
 */
#ifndef HOLDFAST_TAKEOVER_LEASE_H
#define HOLDFAST_TAKEOVER_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/takeover/store.h"

#define LEASE_NODES_MAX (STORE_PEERS_MAX + 1)
#define LEASE_FOREVER   UINT64_MAX
#define LEASE_NOBODY    UINT32_MAX

enum lease_event {
	/* messages: these are sent, too */
	LEASE_ASK,    /* owner: `epoch`, `stamp`, `lease_ns` */
	LEASE_GRANT,  /* `epoch`, `stamp` of the question, `clock` of the granter */
	LEASE_REFUSE, /* `epoch`: the highest that the sender knows */
	LEASE_CLAIM,  /* `epoch`, `stamp`, `lease_ns`, `copy` */
	LEASE_VOTE,   /* `epoch`, `stamp` of the claim; LEASE_IS_BLANK */
	LEASE_HAND,   /* a vote unasked: `epoch`, the receiver's; `stamp`: the receiver's `clock` as
			 the giver heard it last */
	/* what a connection says about its other end */
	LEASE_MET,     /* it is there: `epoch`, flags, `copy` */
	LEASE_SERVES,  /* it has become owner, or is no longer one: `epoch`, flags */
	LEASE_PARTED,  /* the connection broke */
	LEASE_GOODBYE, /* it ends in order: `epoch`, flags; LEASE_PARTED follows */
	LEASE_SYNCED,  /* owner: that node has a full copy of `epoch` */
	LEASE_COPIED,  /* we have one: `copy` */
	/* this node */
	LEASE_WANT,  /* claim, and go on claiming while it may succeed: 0, -EAGAIN, -EPERM */
	LEASE_ALONE, /* the operator vouches: own. 0 or -EAGAIN (no epoch is left) */
	LEASE_GIVE,  /* owner: hand it to `node`, who has everything: 0, -EPERM, -EAGAIN */
	LEASE_BEAT,  /* each heartbeat */
	LEASE_TIME,  /* lease_due() is over */
	LEASE_EVENTS
};

#define LEASE_IS_OWNER    0x01u
#define LEASE_IS_SOLE     0x02u /* and holds what nobody else may hold */
#define LEASE_IS_BLANK    0x04u
#define LEASE_IS_ENTITLED 0x08u /* has granted in `epoch` and may claim when that has ended */
#define LEASE_IS_HEARSAY  0x10u /* a refused claim: `epoch` may be nobody's */
#define LEASE_IS_HANDED   0x20u /* a claim: given by the owner of `copy.epoch` */
#define LEASE_IS_ALL      0x3fu

/* How much of an ownership's writes a node has: compared by epoch, then by seq. Epoch 0: blank. */
struct lease_copy {
	uint32_t epoch;
	uint64_t seq;
};

struct lease_message {
	enum lease_event event;
	uint32_t node; /* of the sender (in), of the receiver (out) */
	uint32_t epoch;
	uint32_t flags;
	uint64_t stamp;
	uint64_t clock;
	uint64_t lease_ns;
	struct lease_copy copy;
};

struct lease_peer {
	bool met;
	bool holds;    /* we own: it has a copy of our epoch, maybe not the newest */
	bool synced;   /* we own: it has everything */
	bool harmless; /* two nodes, we own: it cannot claim without our consent */
	bool gone;     /* two nodes: it said goodbye and has had no consent of ours since */
	bool voted;    /* for our claim */
	bool blank;
	struct lease_copy copy; /* when we met */
	uint64_t granted;       /* stamp of our newest question that it said yes to; 0: none */
	uint64_t heard_clock;   /* its clock in its newest grant */
};

struct lease {
	uint32_t nodes;
	uint32_t self;
	uint64_t lease_ns;
	uint32_t epoch;    /* the highest that we granted, voted for, followed or owned; 0: none */
	uint32_t seen;     /* the highest heard of */
	uint32_t serving;  /* who is there and says that it owns `epoch`; LEASE_NOBODY */
	uint64_t promised; /* until then to the owner of `epoch` */
	bool leased; /* the owner of `epoch` has asked us: our promise alone tells whether it lasts
		      */
	bool entitled; /* two nodes: granted in `epoch` with a copy of it */
	struct lease_copy copy;
	bool owns;
	bool vouched;   /* three or more: sole by the operator's word */
	uint64_t until; /* we own: end of the lease; LEASE_FOREVER: sole */
	bool wants;
	uint32_t claim; /* epoch of our claim; 0: none */
	struct lease_peer peers[LEASE_NODES_MAX];
};

#define LEASE_SENDS_MAX (2 * LEASE_NODES_MAX)
/* What is to be done, in this order: tell ownership and the lease's end, then send. */
struct lease_output {
	size_t count;
	struct lease_message sends[LEASE_SENDS_MAX];
};

void lease_init(struct lease *m, uint32_t nodes, uint32_t self, uint64_t lease_ns);
/* `out` is written anew. 0, or what the event's comment says. */
int lease_step(struct lease *m, const struct lease_message *in, uint64_t now_ns,
	       struct lease_output *out);
/* LEASE_TIME is to come then; LEASE_FOREVER: never. */
uint64_t lease_due(const struct lease *m, uint64_t now_ns);

/* As of `now_ns`: an owner whose lease has ended is none, whether or not it was told. */
enum store_state lease_state(const struct lease *m, uint64_t now_ns);
bool lease_sole(const struct lease *m);
/* Whose the group is: LEASE_NOBODY if unknown or nobody's. */
uint32_t lease_owner(const struct lease *m, uint64_t now_ns);
/* Other nodes that must hold a write before it is committed; 0: none. */
uint32_t lease_needs(const struct lease *m);
/* What LEASE_MET (and SERVES, GOODBYE) of this node says elsewhere. */
void lease_introduce(const struct lease *m, uint64_t now_ns, struct lease_message *ret);
const char *lease_event_name(enum lease_event e);

#endif
