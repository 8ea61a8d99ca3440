/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * CONNECT (N4) over TLS 1.3 (RFC 8446) with an external PSK in psk_dhe_ke mode:
 * the mobile is the client, the anchor the server. One connection carries one
 * request and one reply; its exporter (RFC 8446 section 7.5) gives the keys of
 * the datagrams.
 *
 * Everything is non-blocking and runs in the given event_base. No function here
 * calls a callback before it returns, except where it says so. Nothing here logs:
 * `why` is one sentence without newline, valid during the callback. The program
 * ignores SIGPIPE (OpenSSL writes with write(2)). What is freed closes its socket when
 * the event loop next turns, or with event_base_free().
 */
#ifndef HOLDFAST_TLS_H
#define HOLDFAST_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/key.h"
#include "control/peer/connect.h"

struct event_base;

/* Longest PSK identity (a mobile's name), without zero; printable ASCII, no space. */
#define TLS_IDENTITY_MAX (HF_NAME_LEN - 1)

/* Strangers: handshakes under way at once, in all and from one address (IPv6: from one /64). The
 * oldest gives way to a new one, so that silent connections do not lock others out. */
#define TLS_HANDSHAKES_MAX        64
#define TLS_HANDSHAKES_SOURCE_MAX 16
/* Authenticated: connections at once, one for each identity (a newer one replaces the older), and
 * the sum of what their requests announce, in bytes. */
#define TLS_SESSIONS_MAX      64
#define TLS_REQUEST_BYTES_MAX (32u << 20)
/* Each of handshake, request and reply may take so long. */
#define TLS_STEP_TIMEOUT_MS 10000

/* The TCP connection's ends; ports in host order. */
struct tls_ends {
	struct hf_addr peer;
	struct hf_addr local;
	uint16_t peer_port;
	uint16_t local_port;
};

/* ---- server: anchor ---------------------------------------------------- */

struct tls_server;
struct tls_session; /* one authenticated connection, owned by the server */

struct tls_server_ops {
	/* The key of `identity` into `key`; false when there is none. The stranger sees no
	 * difference between false and a wrong key. Should take the same time for every identity.
	 */
	bool (*lookup_key)(void *arg, const char *identity, uint8_t key[static KEY_LEN]);
	/* An authentic mobile asks. The request and everything else is valid during the call only
	 * (the callee may take over request->flows by setting it to NULL). Answer with
	 * tls_session_reply(), in this call or later. */
	void (*request)(void *arg, struct tls_session *s, const char *identity,
			struct connect_request *request, const struct tls_ends *ends,
			const uint8_t exported[static WIRE_EXPORT_LEN]);
	/* The session ended (peer gone, too late, replaced, server freed) before
	 * tls_session_reply(): forget `s`. May be NULL when request() always replies at once. */
	void (*gone)(void *arg, struct tls_session *s);
	/* A connection came to nothing. `identity` is what the peer claimed, "" if nothing
	 * printable: not authentic. May be NULL. Strangers can cause it at any rate: limit what is
	 * logged. */
	void (*failed)(void *arg, const char *why, const char *identity,
		       const struct tls_ends *ends);
};

/* Handshakes since the start, for metrics. */
struct tls_counts {
	uint64_t accepted;  /* TCP connections */
	uint64_t connected; /* replies delivered whole that were no refusal */
	uint64_t refused;   /* refusals delivered whole */
	uint64_t failed;    /* all others; of these: */
	uint64_t auth;      /*   unknown identity or wrong key */
	uint64_t crowded;   /*   gave way to a newer one */
	uint64_t timeouts;  /*   took longer than TLS_STEP_TIMEOUT_MS */
	uint32_t open;      /* now */
};

/* A server without listening sockets. `flows_max`: flows that a request may announce, 0 for
 * WIRE_CONNECT_FLOWS_MAX; requests above are refused with WIRE_REFUSAL_FLOWS without being read.
 * `ops` is copied. 0 or negative errno (-ENOMEM, -EIO: OpenSSL). */
int tls_server_new(struct event_base *base, const struct tls_server_ops *ops, void *arg,
		   uint32_t flows_max, struct tls_server **ret);
/* Closes everything; calls gone() for sessions that wait for a reply. NULL is allowed. */
void tls_server_free(struct tls_server *t);

/* Listens on one address, which need not exist yet (IP_FREEBIND). ::ffff:0.0.0.0 is every IPv4
 * address, :: every IPv6 one. `port` in host order; 0 takes any. 0 or negative errno; -EEXIST when
 * it listens there already. */
int tls_server_listen(struct tls_server *t, const struct hf_addr *addr, uint16_t port);
/* Takes over a bound, non-blocking stream socket, for instance one from the service manager. Calls
 * listen(2). The descriptor belongs to the server from then on, closed by it on failure too. */
int tls_server_listen_fd(struct tls_server *t, int fd);
/* Stops listening there; connections under way go on. 0 or -ENOENT. */
int tls_server_unlisten(struct tls_server *t, const struct hf_addr *addr, uint16_t port);
/* Port in host order of the n-th listening socket, 0 when there are not so many. */
uint16_t tls_server_port(const struct tls_server *t, unsigned int n);

void tls_server_counts(const struct tls_server *t, struct tls_counts *ret);

/* Tests shorten TLS_STEP_TIMEOUT_MS for connections that come from now on. */
void tls_server_set_timeout(struct tls_server *t, uint32_t step_ms);

/* Answers; `s` must not be used afterwards, whatever is returned. 0, -EINVAL when the reply breaks
 * the rules of connect.h (the mobile is told MALFORMED), -ENOMEM. `reply` stays the caller's. */
int tls_session_reply(struct tls_session *s, const struct connect_reply *reply);

/* ---- client: mobile ---------------------------------------------------- */

struct tls_client;

/* `error` 0: `reply` and `exported` are valid during the call (the callee may take over
 * reply->services by setting it to NULL). A refusal is no error: see reply->refusal. Otherwise a
 * negative errno: -ETIMEDOUT, -ECONNREFUSED and other errors of connect(2), -EACCES (the anchor
 * does not know this mobile, or the keys differ), -EPROTO (TLS or the reply broke its rules),
 * -ECONNRESET (closed before the reply). `why` is never NULL. */
typedef void tls_client_fn(void *arg, int error, struct connect_reply *reply,
			   const uint8_t *exported, const char *why);

struct tls_client_config {
	const char *identity; /* this mobile's name: 1 to TLS_IDENTITY_MAX characters */
	const uint8_t *key;   /* KEY_LEN bytes */
	struct hf_addr local; /* address to connect from; zero: the kernel's choice */
	uint32_t ifindex;     /* interface to go out on (SO_BINDTODEVICE); 0: by the routes */
	struct hf_addr peer;
	uint16_t port;       /* host order */
	uint32_t timeout_ms; /* for everything together; 0 is not allowed */
	const struct connect_request *request;
	tls_client_fn *done;
	void *arg;
};

/* Starts; everything in `config` is copied. `done` is called once, later, and the client is freed
 * when it returns. 0 or negative errno (-EINVAL, -ENOMEM, -EIO, or an error of socket, bind or
 * connect such as -ENETUNREACH, -EADDRNOTAVAIL, -ENODEV); then `done` is not called. */
int tls_client_connect(struct event_base *base, const struct tls_client_config *config,
		       struct tls_client **ret);
/* Gives up: `done` will not be called. NULL is allowed. Within `done` it does nothing. */
void tls_client_cancel(struct tls_client *c);

#endif
