/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * holdfast-front: ends guarded connections on behalf of an unmodified server of the
 * same node, and asks that of another node for the rest of an answer after a takeover.
 * One thread, one epoll; what the files share.
 */
#ifndef HOLDFAST_FRONT_FRONT_H
#define HOLDFAST_FRONT_FRONT_H

#include <http_parser.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <holdfast.h>

#include "control/front/head.h"
#include "control/front/server.h"

#define IN_MAX  8192u
#define OUT_MAX 65536u

/* A checkpoint is two protocols: what was asked, octet by octet, and what is answered. */
#define PROTOCOL_REQUEST  1u
#define PROTOCOL_RESPONSE 2u

enum kind {
	KIND_REST,   /* nothing is under way */
	KIND_ASKED,  /* a request that may be asked again; no octet of an answer was sent */
	KIND_AGAIN,  /* the recorded octets, then a body that can be had again */
	KIND_OPAQUE, /* an answer that cannot be made again */
};

struct saved {
	uint32_t kind; /* enum kind */
	uint32_t last; /* the connection ends after this answer */
	uint64_t body; /* octets after those that are recorded */
	uint32_t len;  /* recorded octets, which follow */
	uint32_t pad;
};
#define RECORD_MAX (HF_DATA_MAX - sizeof(struct saved))

enum state {
	READING,    /* a request's head */
	DRAINING,   /* there is one; the client has yet to acknowledge the last answer */
	ASKING,     /* the server is asked; the head of its answer is awaited */
	COMMITTING, /* the answer is described; the commit is under way */
	SENDING,    /* an answer that can be made again */
	RELAYING,   /* one that cannot: whatever comes, both ways */
	SETTLING,   /* that is over; the client has yet to acknowledge all of it */
	DEAD,
};

struct client;

/* One of the two connections. What epoll's data points to. */
struct end {
	struct client *client; /* NULL: not one of a client's */
	int fd;                /* -1: none */
	uint32_t events;       /* asked of epoll */
	bool watched;
};

struct client {
	TAILQ_ENTRY(client) link;    /* in `clients`, the longest at rest first; or in `dead` */
	TAILQ_ENTRY(client) waiting; /* while `waits`: looked after by the clock */
	bool waits;
	struct end near; /* the client */
	struct end far;  /* the server, while a request is under way */
	struct hf_conn *conn;
	enum state state;
	enum state next; /* after COMMITTING */
	bool last;       /* the connection ends after this answer */
	bool ended;      /* the client's FIN was committed */
	bool looked;     /* at an early FIN */
	uint64_t active_ms;
	uint64_t retry_ms; /* ASKING without a server: when to try again */
	uint64_t ack_ms;   /* ASKING: when to acknowledge the request; 0: not any more */
	unsigned int tries;
	uint64_t sent;     /* out stream, written */
	uint64_t consumed; /* in stream, accounted for */
	uint64_t ticket;

	/* the request */
	bool head_only; /* HEAD */
	bool resuming;  /* some of the answer was sent: only the same one will do */
	size_t request_len;
	size_t asked; /* octets that the server has */
	char request[HF_DATA_MAX];

	/* the answer */
	uint64_t start; /* out stream: its first octet */
	uint64_t body;
	uint64_t skip; /* octets of the body that the client has */
	size_t record_len;
	char record[RECORD_MAX];

	/* what was read and is not passed on yet */
	size_t in_len;
	size_t in_checked; /* RELAYING: octets that belong to this request */
	size_t out_pos;
	size_t out_len;
	char *out; /* OUT_MAX, while a request is under way */

	/* RELAYING */
	http_parser up;
	http_parser down;
	bool up_done;
	bool down_done;
	bool tunnel; /* 101: HTTP is over */

	char in[IN_MAX + 1];
};
TAILQ_HEAD(clients, client);

struct counts {
	uint64_t requests;
	uint64_t repeatable; /* answers that another node could go on with */
	uint64_t opaque;     /* answers that it could not */
	uint64_t restored;   /* connections that came from another node */
	uint64_t resumed;    /* answers that went on in the middle */
	uint64_t refused;    /* that were cut short, as the rest would not have been the same */
	uint64_t lost;       /* that were cut short, as they could not be asked for again */
};

struct front {
	struct hf *hf;
	int epoll;
	struct address server;
	struct clients clients;
	struct clients dead;    /* freed when no event can name them */
	struct clients waiting; /* by client.waiting */
	unsigned int client_count;
	uint64_t idle_ms;
	uint64_t away_ms; /* since when the server does not answer; 0: it does */
	bool verbose;
	struct counts counts;
};

uint64_t front_now(void); /* ms, monotonic */
void front_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* client.c: life, and the step from state to state */
struct client *client_new(struct front *f, int fd);
/* `end`: the client is to see it; else another node has the connection, or will. */
void client_drop(struct front *f, struct client *c, bool end);
void client_step(struct front *f, struct client *c);
void client_event(struct front *f, struct end *e, uint32_t events);
void client_restored(struct front *f, const struct hf_restored *r);
void client_committed(struct front *f, struct client *c, uint64_t ticket);
/* Whatever is due; returns in how many ms it is to be called again at the latest. */
int client_clock(struct front *f);
/* Puts what is said of the connection into the store. */
int client_save(struct client *c, enum kind kind);
void client_watch(struct front *f, struct end *e, uint32_t events);
void client_far_close(struct front *f, struct client *c);
void client_wait(struct front *f, struct client *c, bool yes);

/* ask.c: a request that may be asked again, and its answer. 0: wait for an event; 1: the state has
 * changed; negative errno: the connection is over. */
int ask_begin(struct front *f, struct client *c);
int ask_step(struct front *f, struct client *c);
int ask_send(struct front *f, struct client *c);
int ask_clock(struct front *f, struct client *c, uint64_t now);

/* relay.c: any other. `answered`: the request is with the server, its answer begins in c->out. */
int relay_begin(struct front *f, struct client *c, bool answered);
int relay_step(struct front *f, struct client *c);

#endif
