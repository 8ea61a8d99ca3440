/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What link.c and guest.c share; nobody else includes it. */
#ifndef HOLDFAST_TAKEOVER_LINK_PRIVATE_H
#define HOLDFAST_TAKEOVER_LINK_PRIVATE_H

#include <sys/queue.h>

#include <openssl/ssl.h>

#include "control/takeover/link.h"

struct bufferevent;
struct evconnlistener;
struct event;

#define STRANGER UINT32_MAX

enum stage {
	STAGE_IDLE,  /* the other node dials */
	STAGE_PAUSE, /* we dial when `timer` is over */
	STAGE_DIAL,  /* TCP */
	STAGE_SHAKE, /* TLS; then HELLO was sent and theirs is awaited */
	STAGE_MET,
};

struct link {
	struct links *links;
	uint32_t peer;
	enum stage stage;
	bool dials;
	unsigned int retry_ms;
	int fd; /* STAGE_DIAL */
	struct event *connected;
	struct event *timer; /* pause, or the end of our patience */
	struct event *drop;  /* active: too much waits */
	struct bufferevent *bev;
	SSL *ssl; /* the bufferevent's */
	uint64_t heard_ns;
	char why[160];
};

struct guest {
	TAILQ_ENTRY(guest) link; /* oldest first */
	struct links *links;
	uint32_t peer; /* as claimed; STRANGER */
	struct bufferevent *bev;
	SSL *ssl;
	struct event *timer;
};

struct links {
	struct event_base *base;
	struct store_config config;
	struct links_ops ops;
	void *arg;
	uint8_t nobodys_key[KEY_LEN];
	SSL_CTX *server;
	SSL_CTX *client;
	struct evconnlistener *listener;
	struct event *resume;
	TAILQ_HEAD(, guest) guests;
	size_t guest_count;
	struct link links[STORE_PEERS_MAX];
	size_t count;
};

/* ---- link.c ---- */

void link_timer(struct event *timer, unsigned int ms);
int link_prepare(struct bufferevent *bev); /* 0 or -ENOMEM */
/* The frame at the front: 0, with its `ret_len` bytes still there; -EAGAIN: not whole yet; others
 * as frame_consume(). */
int link_front(struct evbuffer *in, struct frame *ret, size_t *ret_len);
/* Is this that node's HELLO? 0, or an error for link_hello_text(). */
int link_hello_check(struct links *l, uint32_t peer, const struct frame *f);
const char *link_hello_text(int rc);
/* An authentic connection, with its HELLO, in place of the former one. Owns `bev` from now on. */
void link_take(struct link *k, struct bufferevent *bev, SSL *ssl, const struct frame *hello);

/* ---- guest.c ---- */

int guests_psk(SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **ret);
int guests_listen(struct links *l, char *err, size_t err_size); /* 0 or negative errno */
void guests_close(struct links *l);                             /* and what listens */

#endif
