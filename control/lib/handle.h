/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of libholdfast share. Nothing here is exported (libholdfast.map).
 *
 * A message that comes changes the state at once (message.c) and leaves a note of what the
 * application is to be told (event.c), so that answers can be waited for in the middle of
 * anything, while callbacks run in hf_dispatch() and hf_wait() alone. What cannot be sent
 * because the socket is full is not queued as bytes: the connection remembers what it wants to
 * say (`wants`) and says the newest when there is room, so memory is bounded by connections.
 */
#ifndef HOLDFAST_LIB_HANDLE_H
#define HOLDFAST_LIB_HANDLE_H

#include <sys/queue.h>

#include <holdfast/app.h>

#pragma GCC visibility push(default)
#include <holdfast.h>
#pragma GCC visibility pop

#define REQUEST_MS 5000 /* how long an answer may take */

/* Serials of requests that nobody waits for; those of others are below. */
#define SERIAL_LISTEN 0x80000001u
#define SERIAL_NAME   0x80000002u /* APP_GUARD, APP_DATAGRAM: answered in order, see `asked` */
#define SERIAL_OTHER  0x80000003u

/* Which file an open descriptor is: numbers are used anew. */
struct identity {
	uint64_t dev;
	uint64_t ino;
};

struct state {
	unsigned int refs;
	uint16_t object_len;
	uint16_t data_len;
	uint64_t object_start;
	char bytes[]; /* object, a zero, data */
};

struct protocol {
	uint32_t number;
	bool dirty; /* `now` differs from what the daemon was told */
	bool ready; /* hf_ready() */
	bool ready_told;
	struct state *now;  /* as of the last hf_commit(); NULL: none */
	struct state *next; /* hf_checkpoint() since then; NULL: none */
};

#define WANT_NAME   0x01u /* APP_GUARD or APP_DATAGRAM again, to a daemon that came back */
#define WANT_BUNDLE 0x02u
#define WANT_COMMIT 0x04u
#define WANT_READY  0x08u
#define WANT_END    0x10u
#define WANT_FORGET 0x20u

struct hf_conn {
	TAILQ_ENTRY(hf_conn) link; /* in h->conns; members of a bundle as they joined */
	TAILQ_ENTRY(hf_conn) out;  /* in h->out while `queued`, in h->asked while `asking` */
	TAILQ_ENTRY(hf_conn) due;  /* in h->due while `noted` */
	struct hf *h;
	void *data;
	uint32_t handle; /* the daemon's; meaningless unless `named` */
	uint32_t wants;
	bool named;
	bool queued;
	bool asking;
	bool noted;
	bool restored; /* it came from another node */
	bool ready_all;
	bool ended; /* hf_end(), answered or not */
	bool moved;
	bool forgotten; /* freed when nothing refers to it */
	bool again;     /* among h->again */
	unsigned int held;
	int error; /* the daemon refused a commit */

	struct guard_key key;
	int proto;
	/* datagrams */
	int fd; /* the application's, of `identity` or no more */
	struct identity identity;
	struct hf_addr peer;
	__be16 peer_port;

	uint64_t bundle;
	uint64_t received;
	bool end;           /* the client's FIN is accounted for */
	uint64_t ticket;    /* of the newest hf_commit() */
	uint64_t sent;      /* under way, or committed */
	uint64_t committed; /* by the daemon */
	uint64_t told;      /* by ops.committed */
	bool told_moved;
	struct protocol protocols[HF_PROTOCOLS_MAX];
	unsigned int protocol_count;
};
TAILQ_HEAD(conns, hf_conn);

struct listener {
	TAILQ_ENTRY(listener) link;
	int fd;    /* a duplicate */
	bool want; /* APP_LISTEN again */
};

struct arrival {
	TAILQ_ENTRY(arrival) link;
	struct hf_conn *conn;
	int fd;
	uint64_t sent;
	uint64_t received;
	uint32_t flags;
	uint32_t member;
	uint32_t members;
	char from[HF_NAME_LEN];
};

enum link_state {
	LINK_AWAY,
	LINK_HELLO, /* connected, not welcome yet */
	LINK_AGAIN, /* being told what there is (`again`) */
	LINK_UP,
};

struct hf {
	struct hf_ops ops;
	void *arg;
	char service[HF_NAME_LEN];
	char path[108];
	char error[256];

	/* link.c */
	enum link_state state;
	int fd;
	int epoll; /* hf_fd(): the same across daemons */
	int alarm; /* an eventfd: something is due although nothing is readable */
	bool alarmed;
	bool writing;         /* EPOLLOUT is asked for */
	uint64_t deadline_ms; /* AWAY: try then; HELLO, AGAIN: give up then */
	uint32_t backoff_ms;
	size_t again; /* listeners and connections that have not been told yet */
	int refusal;  /* what a daemon answered instead of a welcome, or another version */
	uint32_t serial;
	uint32_t awaited; /* serial of the answer that somebody waits for; 0: nobody */
	struct app_done answer;
	bool answered;

	/* conn.c, listen.c */
	struct conns conns;
	struct conns out;
	struct conns asked;
	struct hf_conn **table[APP_CONNS_MAX / 1024]; /* by APP_CONN_INDEX of the handle */
	TAILQ_HEAD(, listener) listeners;

	/* event.c */
	bool running; /* a callback is */
	struct conns due;
	TAILQ_HEAD(, arrival) arrivals;
	uint32_t role;
	bool role_due;
	bool there;
	bool told_there;
	int trouble; /* for hf_dispatch() to return once */

	_Alignas(8) uint8_t in[APP_MESSAGE_MAX];
	_Alignas(8) uint8_t outgoing[APP_MESSAGE_MAX];
};

/* Notes the sentence, returns `error`. */
__attribute__((format(printf, 3, 4))) int hf_fail(struct hf *h, int error, const char *format, ...);

/* ---- link.c: the socket to the daemon ---- */

/* Blocks for REQUEST_MS at most. */
int link_open(struct hf *h);
void link_close(struct hf *h);
/* The daemon is gone, or makes no sense; `why` is a sentence. Connects again after a while. */
void link_drop(struct hf *h, const char *why);
/* Does what can be done without blocking: connects, reads, sends. */
void link_step(struct hf *h);
/* The same after waiting for at most so long (ms, -1: for ever) for something to do. */
void link_wait(struct hf *h, int timeout_ms);
/* Sends one message (`m` starts with struct app_header, type, len, serial and conn filled) and a
 * descriptor (-1: none). 0, -ENOTCONN, -EAGAIN: full; or the daemon is gone, which reading will
 * tell after what it has said. */
int link_send(struct hf *h, const void *m, int fd);
/* Sends after everything that waits to be said, and waits for the answer. The answer's error (with
 * its sentence noted), -ENOTCONN, -ETIMEDOUT, -EPIPE: `c` has moved. `c` (NULL: none) is what it is
 * about; serial and conn of `m` are filled here, `ret` may be NULL. */
int link_request(struct hf *h, struct app_header *m, struct hf_conn *c, int fd,
		 struct app_done *ret);
/* h->out is not empty: there is something to say as soon as the socket takes it. */
void link_watch(struct hf *h);
/* hf_fd() becomes readable if something is due that is not in the socket any more. */
void link_alarm(struct hf *h);
/* One of h->again was told. */
void link_told(struct hf *h);
int link_timeout(const struct hf *h);
uint64_t link_now_ms(void);

/* ---- message.c: what the daemon says ---- */

/* Takes one message. `fd`: -1 none, else it is taken. False: it makes no sense. */
bool message_consume(struct hf *h, const void *data, size_t len, int fd, bool fd_lost);

/* ---- conn.c ---- */

struct hf_conn *conn_new(struct hf *h);
void conn_free(struct hf_conn *c);
/* Frees it if it is forgotten and nothing refers to it. */
void conn_release(struct hf_conn *c);
/* Gives it the daemon's handle. -ENOMEM. */
int conn_name(struct hf_conn *c, uint32_t handle);
struct hf_conn *conn_find(const struct hf *h, uint32_t handle);
/* Says it when there is room. */
void conn_want(struct hf_conn *c, uint32_t wants);
/* Says it now, if there is room. It is freed by that if it is forgotten. */
void conn_say(struct hf_conn *c, uint32_t wants);
/* Says what it wants to, as far as the socket takes it: -EAGAIN. */
int conn_flush(struct hf_conn *c);
/* The daemon is gone: nothing has a name any more. */
void conns_unname(struct hf *h);
/* A daemon came back: everything is to be said again. */
void conns_again(struct hf *h);
/* The answer to an APP_GUARD or APP_DATAGRAM that nobody waits for. */
void conn_named(struct hf_conn *c, const struct app_done *d);
void conn_moved(struct hf_conn *c);
/* 0, or why no call is possible on it (-EPIPE). */
int conn_check(struct hf_conn *c);

/* ---- commit.c ---- */

void state_put(struct state *s);                 /* NULL is allowed */
const char *state_object(const struct state *s); /* NULL: none */
const void *state_data(const struct state *s);   /* NULL: none */
void protocols_clear(struct hf_conn *c);
/* Reads `count` of them into an empty connection. -EBADMSG, -ENOMEM. */
int protocols_consume(struct hf_conn *c, const uint8_t *at, size_t len, uint32_t count);
/* Sends the newest state, even where an older one is under way. */
int commit_send(struct hf_conn *c);
void commit_done(struct hf_conn *c, uint64_t ticket);

/* ---- listen.c ---- */

int identity_of(int fd, struct identity *ret);
/* IPv4 is mapped. `ret_port` is as on the wire. -EAFNOSUPPORT. */
int address_of(const struct sockaddr *sa, struct hf_addr *ret, __be16 *ret_port);
int listeners_flush(struct hf *h);
void listeners_again(struct hf *h);
void listeners_close(struct hf *h);

/* ---- event.c: what the application is to be told ---- */

void event_conn(struct hf_conn *c);
void event_forget(struct hf_conn *c);
bool events_due(const struct hf *h);
void events_run(struct hf *h);
void events_clear(struct hf *h);

#endif
