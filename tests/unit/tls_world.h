/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An anchor's tls_server, mobiles, and strangers (bare sockets, or TLS by another hand)
 * on one event_base over loopback.
 */
#ifndef HOLDFAST_TLS_WORLD_H
#define HOLDFAST_TLS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <openssl/ssl.h>

#include <cmocka.h>

#include "control/addr.h"
#include "control/peer/tls.h"

#define PATIENCE_MS 10000
#define SESSIONS    8

struct client {
	struct tls_client *tls;
	bool done;
	int error;
	char why[256];
	struct connect_reply reply;
	uint8_t exported[WIRE_EXPORT_LEN];
	bool cancel_inside;
};

struct world {
	struct event_base *base;
	struct event *alarm;
	struct tls_server *server;
	uint16_t port;
	uint8_t key[KEY_LEN];
	/* how the anchor answers */
	bool hold; /* not at once */
	struct connect_reply answer;
	/* what it saw */
	int requests, gone, failed;
	struct tls_session *held[SESSIONS];
	struct connect_request request;
	struct tls_ends ends;
	char identity[64];
	char why[256];
	char failed_identity[64];
	uint8_t exported[WIRE_EXPORT_LEN];
};

extern const struct hf_addr localhost;
extern const struct hf_addr localhost6;
extern const struct tls_server_ops world_ops;
extern const struct connect_request small_request;

#define WAIT(w, condition)                                                                         \
	do {                                                                                       \
		struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};                          \
		evtimer_add((w)->alarm, &patience);                                                \
		while (!(condition))                                                               \
			event_base_loop((w)->base, EVLOOP_ONCE);                                   \
		evtimer_del((w)->alarm);                                                           \
	} while (0)

/* TLS with our PSK by another hand, to say what the real client would not. */
struct speaker {
	SSL_CTX *ctx;
	struct bufferevent *bev;
	struct evbuffer *heard;
	const char *identity;
	const uint8_t *key;
	bool shaken, closed;
};

struct tls_counts world_counts(const struct world *w);
/* cmocka fixture: *state is a struct world whose server listens on 127.0.0.1, `port`. */
int world_setup(void **state);
int world_teardown(void **state);
/* A client that will do well; resets `c`. */
struct tls_client_config config_of(struct world *w, struct client *c);
void world_start(struct world *w, struct client *c, const struct tls_client_config *config);
/* ... until it is done */
void world_run(struct world *w, struct client *c, const struct tls_client_config *config);
/* An honest mobile gets in. */
void world_run_well(struct world *w);
/* A connected, non-blocking socket from address `source` (host order). */
int stranger(struct world *w, uint32_t source);
/* Did the server close it? Throws away what it said. */
bool stranger_closed(int fd);
/* All that the server says to these bytes until it closes; the length. */
size_t answer_to(struct world *w, const void *bytes, size_t len, uint8_t *ret, size_t size);
SSL *speaker_ssl(struct speaker *s, const char *identity, const uint8_t *key);
void speaker_open(struct world *w, struct speaker *s, const char *identity);
void speaker_close(struct speaker *s);
/* An authenticated peer says `bytes` and hears a refusal. */
void expect_refusal(struct world *w, const void *bytes, size_t len, enum wire_refusal why);
/* A ClientHello as one would send who has this identity and key; its length. */
size_t hello_of(const char *identity, const uint8_t *key, uint8_t *ret, size_t size);
/* A bound socket on 127.0.0.1 that nobody listens on yet. */
int bound_socket(uint16_t *port);

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

#endif
