/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Both ends on one event_base over loopback; strangers are bare sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/addr.h"
#include "control/peer/proto.h"
#include "control/peer/tls.h"

#define PATIENCE_MS 10000
#define SESSIONS 8

static const struct hf_addr localhost = { .b = { [10] = 0xff, [11] = 0xff, 127, 0, 0, 1 } };
static const struct hf_addr localhost6 = { .b = { [15] = 1 } };

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

/* ---- the anchor ---- */

static bool lookup_key(void *arg, const char *identity, uint8_t key[static KEY_LEN])
{
	struct world *w = arg;

	if (strncmp(identity, "mobile", 6))
		return false;
	memcpy(key, w->key, KEY_LEN);
	return true;
}

static void on_request(void *arg, struct tls_session *s, const char *identity,
		       struct connect_request *request, const struct tls_ends *ends,
		       const uint8_t exported[static WIRE_EXPORT_LEN])
{
	struct world *w = arg;

	connect_request_clear(&w->request);
	w->request = *request;
	request->flows = NULL; /* taken over */
	w->ends = *ends;
	snprintf(w->identity, sizeof(w->identity), "%s", identity);
	memcpy(w->exported, exported, WIRE_EXPORT_LEN);
	if (w->hold)
		w->held[w->requests % SESSIONS] = s;
	w->requests++;
	if (!w->hold)
		tls_session_reply(s, &w->answer);
}

static void on_gone(void *arg, struct tls_session *s)
{
	struct world *w = arg;
	bool found = false;

	for (int i = 0; i < SESSIONS; i++) {
		if (w->held[i] == s) {
			w->held[i] = NULL;
			found = true;
		}
	}
	assert_true(found);
	w->gone++;
}

static void on_failed(void *arg, const char *why, const char *identity, const struct tls_ends *ends)
{
	struct world *w = arg;

	(void)ends;
	w->failed++;
	assert_null(strchr(why, '\n'));
	snprintf(w->why, sizeof(w->why), "%s", why);
	snprintf(w->failed_identity, sizeof(w->failed_identity), "%s", identity);
}

static const struct tls_server_ops ops = { lookup_key, on_request, on_gone, on_failed };

static struct tls_counts counts(const struct world *w)
{
	struct tls_counts c;

	tls_server_counts(w->server, &c);
	return c;
}

static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	fail_msg("nothing happened for %d ms", PATIENCE_MS);
}

#define WAIT(w, condition)                                                                      \
	do {                                                                                    \
		struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };                     \
		evtimer_add((w)->alarm, &patience);                                             \
		while (!(condition))                                                            \
			event_base_loop((w)->base, EVLOOP_ONCE);                                \
		evtimer_del((w)->alarm);                                                        \
	} while (0)

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->base = event_base_new();
	w->alarm = evtimer_new(w->base, on_alarm, w);
	memset(w->key, 0x42, KEY_LEN);
	w->answer = (struct connect_reply){ .assoc = 12,
					    .epoch = 34,
					    .inactivity_ms = 5678,
					    .host4 = { .b = { [10] = 0xff, [11] = 0xff, 10, 0, 0, 9 } } };
	*state = w;
	if (tls_server_new(w->base, &ops, w, 0, &w->server) < 0 ||
	    tls_server_listen(w->server, &localhost, 0) < 0)
		return -1;
	w->port = tls_server_port(w->server, 0);
	return w->port ? 0 : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;

	tls_server_free(w->server);
	connect_request_clear(&w->request);
	event_free(w->alarm);
	event_base_loop(w->base, EVLOOP_NONBLOCK);
	event_base_free(w->base);
	free(w);
	return 0;
}

/* ---- a mobile ---- */

static void on_done(void *arg, int error, struct connect_reply *reply, const uint8_t *exported,
		    const char *why)
{
	struct client *c = arg;

	assert_false(c->done);
	c->done = true;
	c->error = error;
	snprintf(c->why, sizeof(c->why), "%s", why);
	if (error == 0) {
		c->reply = *reply;
		reply->services = NULL; /* taken over */
		memcpy(c->exported, exported, WIRE_EXPORT_LEN);
	} else {
		assert_null(reply);
		assert_null(exported);
	}
	if (c->cancel_inside)
		tls_client_cancel(c->tls);
}

static const struct connect_request small_request = {
	.assoc = 7,
	.from = { .b = { [10] = 0xff, [11] = 0xff, 127, 0, 0, 1 } },
};

static struct tls_client_config config_of(struct world *w, struct client *c)
{
	*c = (struct client){ 0 };
	return (struct tls_client_config){ .identity = "mobile-1",
					   .key = w->key,
					   .peer = localhost,
					   .port = w->port,
					   .timeout_ms = PATIENCE_MS / 2,
					   .request = &small_request,
					   .done = on_done,
					   .arg = c };
}

static void start(struct world *w, struct client *c, const struct tls_client_config *config)
{
	assert_int_equal(tls_client_connect(w->base, config, &c->tls), 0);
	assert_false(c->done);
}

static void run(struct world *w, struct client *c, const struct tls_client_config *config)
{
	start(w, c, config);
	WAIT(w, c->done);
}

static void run_well(struct world *w)
{
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	run(w, &c, &config);
	assert_string_equal(c.why, connect_refusal_text(WIRE_REFUSAL_NONE));
	assert_int_equal(c.error, 0);
	connect_reply_clear(&c.reply);
}

/* ---- strangers ---- */

static int stranger(struct world *w, uint32_t source)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(w->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(source) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static bool closed(int fd)
{
	uint8_t bytes[256];
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		;
	return n == 0 || errno != EAGAIN;
}

/* All that the server says until it closes. */
static size_t answer_to(struct world *w, const void *bytes, size_t len, uint8_t *ret, size_t size)
{
	int fd = stranger(w, INADDR_LOOPBACK);
	size_t got = 0;
	ssize_t n;

	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
	do {
		event_base_loop(w->base, EVLOOP_NONBLOCK);
		n = recv(fd, ret + got, size - got, 0);
		if (n > 0)
			got += n;
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	close(fd);
	return got;
}

/* TLS with our PSK by another hand, to say what the real client would not. */
struct speaker {
	SSL_CTX *ctx;
	struct bufferevent *bev;
	struct evbuffer *heard;
	const char *identity;
	const uint8_t *key;
	bool shaken, closed;
};

static int speaker_psk(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *len,
		       SSL_SESSION **ret)
{
	static const unsigned char suite[] = { 0x13, 0x01 };
	struct speaker *s = SSL_get_app_data(ssl);

	(void)md;
	*ret = SSL_SESSION_new();
	SSL_SESSION_set1_master_key(*ret, s->key, KEY_LEN);
	SSL_SESSION_set_cipher(*ret, SSL_CIPHER_find(ssl, suite));
	SSL_SESSION_set_protocol_version(*ret, TLS1_3_VERSION);
	*id = (const unsigned char *)s->identity;
	*len = strlen(s->identity);
	return 1;
}

static void speaker_read(struct bufferevent *bev, void *arg)
{
	struct speaker *s = arg;

	evbuffer_add_buffer(s->heard, bufferevent_get_input(bev));
}

static void speaker_event(struct bufferevent *bev, short what, void *arg)
{
	struct speaker *s = arg;

	(void)bev;
	if (what & BEV_EVENT_CONNECTED)
		s->shaken = true;
	else
		s->closed = true;
}

static SSL *speaker_ssl(struct speaker *s, const char *identity, const uint8_t *key)
{
	SSL *ssl;

	*s = (struct speaker){ .identity = identity, .key = key };
	s->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_psk_use_session_callback(s->ctx, speaker_psk);
	SSL_CTX_set_ciphersuites(s->ctx, "TLS_AES_128_GCM_SHA256");
	SSL_CTX_set_min_proto_version(s->ctx, TLS1_3_VERSION);
	ssl = SSL_new(s->ctx);
	SSL_set_app_data(ssl, s);
	return ssl;
}

static void speaker_open(struct world *w, struct speaker *s, const char *identity)
{
	SSL *ssl = speaker_ssl(s, identity, w->key);

	s->heard = evbuffer_new();
	s->bev = bufferevent_openssl_socket_new(w->base, stranger(w, INADDR_LOOPBACK), ssl,
						BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
	assert_non_null(s->bev);
	bufferevent_openssl_set_allow_dirty_shutdown(s->bev, 1);
	bufferevent_setcb(s->bev, speaker_read, NULL, speaker_event, s);
	bufferevent_enable(s->bev, EV_READ);
	WAIT(w, s->shaken);
}

static void speaker_close(struct speaker *s)
{
	bufferevent_free(s->bev);
	evbuffer_free(s->heard);
	SSL_CTX_free(s->ctx);
}

/* Says `bytes` and hears a refusal. */
static void expect_refusal(struct world *w, const void *bytes, size_t len, enum wire_refusal why)
{
	struct connect_reply reply;
	struct speaker s;
	size_t need, n;

	speaker_open(w, &s, "mobile-1");
	bufferevent_write(s.bev, bytes, len);
	WAIT(w, s.closed);
	n = evbuffer_get_length(s.heard);
	assert_int_equal(n, sizeof(struct wire_connected));
	assert_int_equal(connect_consume_reply(evbuffer_pullup(s.heard, -1), n, &reply, &need), n);
	assert_int_equal(reply.refusal, why);
	speaker_close(&s);
	WAIT(w, counts(w).open == 0);
}

/* ---- CONNECT succeeds ---- */

static void N4_connect_over_tls(void **state)
{
	struct wire_flow flows[3] = { { .emulator = htons(20080), .port = htons(40000), .proto = 6 },
				      { .emulator = htons(20053), .port = htons(1), .proto = 17 },
				      { .emulator = htons(256), .port = htons(300), .proto = 1 } };
	struct wire_service services[2] = {
		{ .addr = { .b = { [10] = 0xff, [11] = 0xff, 198, 51, 100, 7 } },
		  .port = htons(80),
		  .emulator = htons(20080),
		  .proto = 6,
		  .name = "web" },
		{ .addr = { .b = { 0x20, 1, 0xd, 0xb8, [15] = 7 } },
		  .port = htons(53),
		  .emulator = htons(20053),
		  .proto = 17 },
	};
	struct connect_request request = small_request;
	struct wire_body body = { .type = WIRE_ALIVE }, got;
	struct proto_keys *mobile, *anchor;
	struct world *w = *state;
	struct wire_datagram d;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	request.flows = flows;
	request.flow_count = 3;
	config.request = &request;
	config.local = localhost;
	w->answer.services = services;
	w->answer.service_count = 2;
	w->answer.points[0] = localhost;
	w->answer.point_count = 1;
	run(w, &c, &config);
	assert_int_equal(c.error, 0);

	assert_int_equal(w->requests, 1);
	assert_string_equal(w->identity, "mobile-1");
	assert_int_equal(w->request.assoc, 7);
	assert_memory_equal(&w->request.from, &localhost, 16);
	assert_int_equal(w->request.flow_count, 3);
	assert_memory_equal(w->request.flows, flows, sizeof(flows));
	assert_memory_equal(&w->ends.peer, &localhost, 16);
	assert_memory_equal(&w->ends.local, &localhost, 16);
	assert_int_equal(w->ends.local_port, w->port);
	assert_int_not_equal(w->ends.peer_port, 0);

	assert_int_equal(c.reply.refusal, WIRE_REFUSAL_NONE);
	assert_int_equal(c.reply.assoc, 12);
	assert_int_equal(c.reply.epoch, 34);
	assert_int_equal(c.reply.inactivity_ms, 5678);
	assert_memory_equal(&c.reply.host4, &w->answer.host4, 16);
	assert_int_equal(c.reply.service_count, 2);
	assert_memory_equal(c.reply.services, services, sizeof(services));
	assert_int_equal(c.reply.point_count, 1);
	connect_reply_clear(&c.reply);

	/* the keys of both ends open what the other seals */
	assert_memory_equal(c.exported, w->exported, WIRE_EXPORT_LEN);
	mobile = proto_keys_new(c.exported, HF_ROLE_MOBILE, 34, 12);
	anchor = proto_keys_new(w->exported, HF_ROLE_ANCHOR, 34, 7);
	assert_int_equal(proto_create_datagram(mobile, &body, &d), 0);
	assert_int_equal(proto_consume_datagram(anchor, &d, &got), HF_REASON_NONE);
	assert_int_equal(proto_create_datagram(anchor, &body, &d), 0);
	assert_int_equal(proto_consume_datagram(mobile, &d, &got), HF_REASON_NONE);
	proto_keys_free(mobile);
	proto_keys_free(anchor);

	WAIT(w, counts(w).open == 0);
	assert_int_equal(counts(w).accepted, 1);
	assert_int_equal(counts(w).connected, 1);
	assert_int_equal(counts(w).failed, 0);
	assert_int_equal(w->failed, 0);
}

static void N4_keys_differ_each_time(void **state)
{
	uint8_t first[WIRE_EXPORT_LEN];
	struct world *w = *state;

	run_well(w);
	memcpy(first, w->exported, sizeof(first));
	run_well(w);
	/* ephemeral Diffie-Hellman: the same PSK, other keys */
	assert_memory_not_equal(first, w->exported, sizeof(first));
	assert_memory_not_equal(w->exported, w->exported + 32, 32);
}

static void N18_connect_over_ipv6(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);
	int rc = tls_server_listen(w->server, &localhost6, 0);

	if (rc < 0) {
		print_message("no IPv6 here (%s): not tested\n", strerror(-rc));
		skip();
	}
	config.peer = config.local = localhost6;
	config.port = tls_server_port(w->server, 1);
	run(w, &c, &config);
	assert_int_equal(c.error, 0);
	assert_memory_equal(&w->ends.peer, &localhost6, 16);
}

static void N19_largest_messages(void **state)
{
	struct world *w = *state;
	struct connect_request request = small_request;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	request.flow_count = WIRE_CONNECT_FLOWS_MAX;
	request.flows = malloc(WIRE_CONNECT_FLOWS_MAX * sizeof(*request.flows));
	for (uint32_t i = 0; i < request.flow_count; i++)
		request.flows[i] = (struct wire_flow){ .emulator = htons(i >> 16 | 1),
						       .port = htons(i % 65535 + 1),
						       .proto = i % 2 ? 6 : 17 };
	w->answer.service_count = WIRE_CONNECT_SERVICES_MAX;
	w->answer.services = calloc(WIRE_CONNECT_SERVICES_MAX, sizeof(*w->answer.services));
	for (uint32_t i = 0; i < w->answer.service_count; i++)
		w->answer.services[i] = (struct wire_service){ .addr = w->answer.host4,
							       .port = htons(i + 1),
							       .emulator = htons(i + 1),
							       .proto = 6 };
	for (int i = 0; i < 16; i++)
		w->answer.points[i] = localhost;
	w->answer.point_count = 16;
	config.request = &request;
	config.timeout_ms = PATIENCE_MS;
	run(w, &c, &config);
	assert_int_equal(c.error, 0);
	assert_int_equal(w->request.flow_count, WIRE_CONNECT_FLOWS_MAX);
	assert_memory_equal(w->request.flows, request.flows,
			    WIRE_CONNECT_FLOWS_MAX * sizeof(*request.flows));
	assert_int_equal(c.reply.service_count, WIRE_CONNECT_SERVICES_MAX);
	assert_memory_equal(c.reply.services, w->answer.services,
			    WIRE_CONNECT_SERVICES_MAX * sizeof(*c.reply.services));
	connect_reply_clear(&c.reply);
	free(w->answer.services);
	free(request.flows);
}

static void N4_refusal_reaches_the_mobile(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	w->answer = (struct connect_reply){ .refusal = WIRE_REFUSAL_POOL };
	run(w, &c, &config);
	assert_int_equal(c.error, 0);
	assert_int_equal(c.reply.refusal, WIRE_REFUSAL_POOL);
	assert_string_equal(c.why, connect_refusal_text(WIRE_REFUSAL_POOL));
	WAIT(w, counts(w).open == 0);
	assert_int_equal(counts(w).refused, 1);
	assert_int_equal(counts(w).connected, 0);
}

static void reply_may_come_later(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	w->hold = true;
	start(w, &c, &config);
	WAIT(w, w->requests == 1);
	for (int i = 0; i < 10; i++)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
	assert_false(c.done);
	assert_int_equal(tls_session_reply(w->held[0], &w->answer), 0);
	WAIT(w, c.done);
	assert_int_equal(c.error, 0);
	assert_int_equal(w->gone, 0);
}

static void reply_against_the_rules_becomes_a_refusal(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	w->hold = true;
	start(w, &c, &config);
	WAIT(w, w->requests == 1);
	w->answer.inactivity_ms = 0;
	assert_int_equal(tls_session_reply(w->held[0], &w->answer), -EINVAL);
	WAIT(w, c.done);
	assert_int_equal(c.error, 0);
	assert_int_equal(c.reply.refusal, WIRE_REFUSAL_MALFORMED);
	assert_int_equal(w->gone, 0);
	assert_int_equal(w->failed, 1);
}

/* ---- who may not ---- */

static void N4_wrong_key_is_refused(void **state)
{
	uint8_t wrong[KEY_LEN] = { 1 };
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	config.key = wrong;
	run(w, &c, &config);
	assert_int_equal(c.error, -EACCES);
	assert_int_equal(w->requests, 0);
	assert_int_equal(w->failed, 1);
	assert_non_null(strstr(w->why, "key"));
	assert_string_equal(w->failed_identity, "mobile-1");
	assert_int_equal(counts(w).auth, 1);
	run_well(w);
}

static void N4_unknown_identity_is_refused(void **state)
{
	static const uint8_t zero[KEY_LEN];
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	config.identity = "stranger";
	run(w, &c, &config);
	assert_int_equal(c.error, -EACCES);
	assert_string_equal(w->why, "no mobile of this name is known");
	assert_string_equal(w->failed_identity, "stranger");
	config = config_of(w, &c);
	config.identity = "stranger";
	config.key = zero; /* "no key" must not be a key */
	run(w, &c, &config);
	assert_int_equal(c.error, -EACCES);
	assert_int_equal(w->requests, 0);
	assert_int_equal(counts(w).auth, 2);
	run_well(w);
}

/* A ClientHello as one would send who does not have the key. */
static size_t hello_of(const char *identity, const uint8_t *key, uint8_t *ret, size_t size)
{
	struct speaker s;
	SSL *ssl = speaker_ssl(&s, identity, key);
	BIO *out = BIO_new(BIO_s_mem());
	int n;

	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	SSL_set_connect_state(ssl);
	SSL_do_handshake(ssl);
	n = BIO_read(out, ret, size);
	assert_true(n > 0);
	SSL_free(ssl);
	SSL_CTX_free(s.ctx);
	return n;
}

static void stranger_cannot_tell_names_from_keys(void **state)
{
	static const char *const names[] = { "mobile-1", "nobody-1", "m", "name with\nnewline",
					     "a name that is far too long for an identity" };
	uint8_t wrong[KEY_LEN] = { 1 }, hello[2048], first[256], got[256];
	struct world *w = *state;
	size_t first_len = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		size_t len = hello_of(names[i], wrong, hello, sizeof(hello));
		size_t n = answer_to(w, hello, len, got, sizeof(got));

		if (i == 0) {
			memcpy(first, got, n);
			first_len = n;
		}
		assert_int_equal(n, 7); /* one fatal alert */
		assert_int_equal(got[0], 21);
		assert_int_equal(n, first_len);
		assert_memory_equal(got, first, n);
	}
	assert_int_equal(counts(w).auth, 5);
	assert_string_equal(w->failed_identity, ""); /* not printable, so not shown */
}

static void other_tls_clients_are_refused(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	uint8_t hello[2048], got[4096];
	struct world *w = *state;

	for (int i = 0; i < 2; i++) {
		SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
		BIO *out = BIO_new(BIO_s_mem());
		SSL *ssl;
		size_t n;
		int len;

		SSL_CTX_set_min_proto_version(ctx, versions[i]);
		SSL_CTX_set_max_proto_version(ctx, versions[i]);
		ssl = SSL_new(ctx);
		SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
		SSL_set_connect_state(ssl);
		SSL_do_handshake(ssl);
		len = BIO_read(out, hello, sizeof(hello));
		n = answer_to(w, hello, len, got, sizeof(got));
		assert_int_equal(n, 7);
		assert_int_equal(got[0], 21);
		SSL_free(ssl);
		SSL_CTX_free(ctx);
	}
	assert_int_equal(w->failed, 2);
	assert_int_equal(w->requests, 0);
}

static void silent_client_times_out(void **state)
{
	struct world *w = *state;
	int fd;

	tls_server_set_timeout(w->server, 50);
	fd = stranger(w, INADDR_LOOPBACK);
	WAIT(w, counts(w).timeouts == 1);
	assert_true(closed(fd) || (event_base_loop(w->base, EVLOOP_NONBLOCK), closed(fd)));
	close(fd);
	assert_int_equal(counts(w).open, 0);
	assert_int_equal(w->failed, 1);
	assert_string_equal(w->why, "time was over before its handshake was done");
}

static void silence_after_the_handshake_times_out(void **state)
{
	struct world *w = *state;
	struct wire_connect half = { .magic = htonl(WIRE_CONNECT_MAGIC) };
	struct speaker s;

	tls_server_set_timeout(w->server, 100);
	speaker_open(w, &s, "mobile-1");
	bufferevent_write(s.bev, &half, sizeof(half) / 2);
	WAIT(w, s.closed);
	assert_string_equal(w->why, "time was over before its request was complete");
	assert_int_equal(counts(w).timeouts, 1);
	speaker_close(&s);
}

static void garbage_is_refused(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	uint8_t random[512], got[256], hello[2048];
	struct world *w = *state;
	size_t len;

	answer_to(w, http, sizeof(http), got, sizeof(got));
	srand(2);
	for (int i = 0; i < 50; i++) {
		for (size_t j = 0; j < sizeof(random); j++)
			random[j] = rand();
		if (i % 2)
			memcpy(random, "\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03", 11);
		answer_to(w, random, sizeof(random), got, sizeof(got));
	}
	/* an honest greeting, spoilt; what still makes sense waits for its second message, so it is cut off */
	len = hello_of("mobile-1", w->key, hello, sizeof(hello));
	tls_server_set_timeout(w->server, 10);
	for (int i = 0; i < 50; i++) {
		size_t at = 5 + rand() % (len - 5);

		hello[at] ^= 0xff;
		answer_to(w, hello, len, got, sizeof(got));
		hello[at] ^= 0xff;
	}
	assert_int_equal(counts(w).open, 0);
	assert_int_equal(w->requests, 0);
	assert_int_equal(w->failed, 101);
	tls_server_set_timeout(w->server, TLS_STEP_TIMEOUT_MS);
	run_well(w);
}

static void too_many_from_one_address(void **state)
{
	enum { MORE = 5, ALL = TLS_HANDSHAKES_SOURCE_MAX + MORE };
	struct world *w = *state;
	int fds[ALL];

	for (int i = 0; i < ALL; i++) {
		fds[i] = stranger(w, INADDR_LOOPBACK + 1);
		WAIT(w, counts(w).accepted == (uint64_t)i + 1);
		assert_true(counts(w).open <= TLS_HANDSHAKES_SOURCE_MAX);
	}
	event_base_loop(w->base, EVLOOP_NONBLOCK);
	assert_int_equal(counts(w).crowded, MORE);
	/* the oldest gave way */
	for (int i = 0; i < ALL; i++) {
		assert_int_equal(closed(fds[i]), i < MORE);
		close(fds[i]);
	}
	run_well(w);
}

static void too_many_at_once(void **state)
{
	enum { MORE = 10, ALL = TLS_HANDSHAKES_MAX + MORE };
	struct world *w = *state;
	int fds[ALL];

	for (int i = 0; i < ALL; i++) {
		fds[i] = stranger(w, INADDR_LOOPBACK + 1 + i % 8);
		WAIT(w, counts(w).accepted == (uint64_t)i + 1);
		assert_true(counts(w).open <= TLS_HANDSHAKES_MAX);
	}
	assert_int_equal(counts(w).open, TLS_HANDSHAKES_MAX);
	assert_int_equal(counts(w).crowded, MORE);
	assert_int_equal(w->failed, MORE);
	/* who has a key still gets in */
	run_well(w);
	for (int i = 0; i < ALL; i++)
		close(fds[i]);
	WAIT(w, counts(w).open == 0);
}

/* ---- authenticated, but wrong ---- */

static void malformed_requests_are_refused(void **state)
{
	struct world *w = *state;
	struct wire_connect c;
	uint8_t bytes[128];

	assert_int_equal(connect_create_request(&small_request, &c, sizeof(c)), sizeof(c));
	memcpy(bytes, &c, sizeof(c));
	bytes[3] ^= 1;
	expect_refusal(w, bytes, sizeof(c), WIRE_REFUSAL_VERSION);
	memcpy(bytes, &c, sizeof(c));
	bytes[4] = WIRE_CONNECTED;
	expect_refusal(w, bytes, sizeof(c), WIRE_REFUSAL_MALFORMED);
	memcpy(bytes, &c, sizeof(c));
	memset(bytes + 12, 0xff, 4);
	expect_refusal(w, bytes, sizeof(c), WIRE_REFUSAL_FLOWS);
	memcpy(bytes, &c, sizeof(c));
	memset(bytes + sizeof(c), 0, sizeof(bytes) - sizeof(c));
	expect_refusal(w, bytes, sizeof(bytes), WIRE_REFUSAL_MALFORMED); /* something behind it */
	bytes[15] = 1; /* a flow of zeros */
	expect_refusal(w, bytes, 72, WIRE_REFUSAL_MALFORMED);
	assert_int_equal(w->requests, 0);
	assert_int_equal(w->failed, 5);
	assert_int_equal(counts(w).failed, 5);
	assert_int_equal(counts(w).refused, 0);
}

static void anchors_own_limit_of_flows(void **state)
{
	struct wire_flow flows[11];
	struct connect_request request = small_request;
	struct tls_server *server;
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	for (int i = 0; i < 11; i++)
		flows[i] = (struct wire_flow){ .emulator = 1, .port = 1, .proto = 6 };
	assert_int_equal(tls_server_new(w->base, &ops, w, 10, &server), 0);
	assert_int_equal(tls_server_listen(server, &localhost, 0), 0);
	request.flows = flows;
	request.flow_count = 11;
	config.request = &request;
	config.port = tls_server_port(server, 0);
	run(w, &c, &config);
	assert_int_equal(c.error, 0);
	assert_int_equal(c.reply.refusal, WIRE_REFUSAL_FLOWS);
	assert_int_equal(w->requests, 0);
	request.flow_count = 10;
	c.done = false;
	run(w, &c, &config);
	assert_int_equal(c.reply.refusal, WIRE_REFUSAL_NONE);
	tls_server_free(server);
}

static void announcements_together_are_bounded(void **state)
{
	struct world *w = *state;
	struct wire_connect c;
	struct speaker s[4];
	char names[4][24];

	assert_int_equal(connect_create_request(&small_request, &c, sizeof(c)), sizeof(c));
	c.flows = htonl(WIRE_CONNECT_FLOWS_MAX); /* 8 MiB each */
	for (int i = 0; i < 4; i++) {
		snprintf(names[i], sizeof(names[i]), "mobile-%d", i);
		speaker_open(w, &s[i], names[i]);
		bufferevent_write(s[i].bev, &c, sizeof(c));
	}
	WAIT(w, s[0].closed || s[1].closed || s[2].closed || s[3].closed);
	assert_int_equal(w->failed, 1);
	assert_int_equal(w->requests, 0);
	for (int i = 0; i < 4; i++)
		speaker_close(&s[i]);
	WAIT(w, counts(w).open == 0);
	run_well(w); /* given back */
}

static void request_byte_by_byte(void **state)
{
	struct wire_flow flow = { .emulator = htons(1), .port = htons(1), .proto = 6 };
	struct connect_request request = small_request;
	struct world *w = *state;
	struct speaker s;
	uint8_t bytes[72];

	request.flows = &flow;
	request.flow_count = 1;
	assert_int_equal(connect_create_request(&request, bytes, sizeof(bytes)), sizeof(bytes));
	speaker_open(w, &s, "mobile-1");
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(w->requests, 0);
		bufferevent_write(s.bev, bytes + i, 1);
		for (int turn = 0; turn < 5; turn++)
			event_base_loop(w->base, EVLOOP_NONBLOCK);
	}
	WAIT(w, w->requests == 1);
	assert_memory_equal(w->request.flows, &flow, sizeof(flow));
	WAIT(w, evbuffer_get_length(s.heard) == 64);
	speaker_close(&s);
}

static void speaking_out_of_turn_ends_the_session(void **state)
{
	struct world *w = *state;
	struct wire_connect c;
	struct speaker s;

	w->hold = true;
	assert_int_equal(connect_create_request(&small_request, &c, sizeof(c)), sizeof(c));
	speaker_open(w, &s, "mobile-1");
	bufferevent_write(s.bev, &c, sizeof(c));
	WAIT(w, w->requests == 1);
	bufferevent_write(s.bev, "x", 1);
	WAIT(w, s.closed);
	assert_int_equal(w->gone, 1);
	assert_string_equal(w->why, "it spoke out of turn");
	speaker_close(&s);
}

static void mobile_that_leaves_before_the_reply(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	w->hold = true;
	start(w, &c, &config);
	WAIT(w, w->requests == 1);
	tls_client_cancel(c.tls);
	WAIT(w, w->gone == 1);
	assert_false(c.done);
	assert_int_equal(w->failed, 1);
	assert_int_equal(counts(w).open, 0);
}

static void newer_connection_of_one_mobile_replaces_the_older(void **state)
{
	struct world *w = *state;
	struct client one, two, other;
	struct tls_client_config config = config_of(w, &one);

	w->hold = true;
	start(w, &one, &config);
	WAIT(w, w->requests == 1);
	config = config_of(w, &other);
	config.identity = "mobile-2";
	start(w, &other, &config);
	WAIT(w, w->requests == 2);
	config = config_of(w, &two);
	start(w, &two, &config);
	WAIT(w, w->requests == 3);
	assert_int_equal(w->gone, 1);
	assert_null(w->held[0]);
	WAIT(w, one.done);
	assert_int_equal(one.error, -ECONNRESET);
	assert_int_equal(tls_session_reply(w->held[1], &w->answer), 0);
	assert_int_equal(tls_session_reply(w->held[2], &w->answer), 0);
	WAIT(w, two.done && other.done);
	assert_int_equal(two.error, 0);
	assert_int_equal(other.error, 0);
}

static void sessions_are_bounded(void **state)
{
	char names[TLS_SESSIONS_MAX][24];
	struct world *w = *state;
	struct client ignored, last;
	struct tls_client_config config = config_of(w, &ignored);
	static struct speaker s[TLS_SESSIONS_MAX];

	for (int i = 0; i < TLS_SESSIONS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "mobile-%d", i);
		speaker_open(w, &s[i], names[i]);
	}
	WAIT(w, counts(w).open == TLS_SESSIONS_MAX);
	config = config_of(w, &last);
	config.identity = "mobile-last";
	run(w, &last, &config);
	assert_int_equal(last.error, -ECONNRESET);
	assert_int_equal(counts(w).crowded, 1);
	for (int i = 0; i < TLS_SESSIONS_MAX; i++)
		speaker_close(&s[i]);
	WAIT(w, counts(w).open == 0);
	run_well(w);
}

static void server_freed_tells_who_waits(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	w->hold = true;
	start(w, &c, &config);
	WAIT(w, w->requests == 1);
	tls_server_free(w->server);
	w->server = NULL;
	assert_int_equal(w->gone, 1);
	WAIT(w, c.done);
	assert_int_equal(c.error, -ECONNRESET);
}

/* ---- a client's troubles ---- */

static int listening(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

static void client_meets_nobody(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);
	int fd = listening(&config.port); /* bound only */

	run(w, &c, &config);
	assert_int_equal(c.error, -ECONNREFUSED);
	assert_non_null(strstr(c.why, "refused"));
	close(fd);
}

static void client_meets_silence(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);
	int fd = listening(&config.port);

	assert_int_equal(listen(fd, 1), 0);
	config.timeout_ms = 50;
	run(w, &c, &config);
	assert_int_equal(c.error, -ETIMEDOUT);
	assert_string_equal(c.why, "time was over before the TLS handshake was done");
	close(fd);

	w->hold = true;
	config = config_of(w, &c);
	config.timeout_ms = 300;
	config.identity = "mobile-2";
	run(w, &c, &config);
	assert_int_equal(c.error, -ETIMEDOUT);
	assert_string_equal(c.why, "time was over before it replied");
}

/* Takes one connection, says `bytes`, closes. */
static void meet(struct world *w, const void *bytes, size_t len, int error)
{
	struct client c;
	struct tls_client_config config = config_of(w, &c);
	int fd = listening(&config.port), other;

	assert_int_equal(listen(fd, 1), 0);
	start(w, &c, &config);
	while ((other = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) < 0)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
	/* wait for the greeting, so that the close is no reset */
	uint8_t hello[2048];
	struct timeval soon = { .tv_usec = 1000 };
	setsockopt(other, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	while (recv(other, hello, sizeof(hello), 0) <= 0)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
	assert_int_equal(send(other, bytes, len, MSG_NOSIGNAL), len);
	close(other);
	WAIT(w, c.done);
	assert_int_equal(c.error, error);
	close(fd);
}

static void client_meets_garbage(void **state)
{
	struct world *w = *state;

	meet(w, "", 0, -ECONNRESET);
	meet(w, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, -EPROTO);
	meet(w, "\x15\x03\x03\x00\x02\x02\x2f", 7, -EACCES);  /* illegal_parameter */
	meet(w, "\x15\x03\x03\x00\x02\x02\x28", 7, -EACCES);  /* handshake_failure */
	meet(w, "\x15\x03\x03\x00\x02\x02\x50", 7, -EPROTO);  /* internal_error */
	meet(w, "\x16\x03\x03\x00\x04\x02\x00\x00\x00", 9, -EPROTO); /* empty ServerHello */
}

/* A man in the middle without the key, but with a certificate. */
struct impostor {
	struct event_base *base;
	SSL_CTX *ctx;
	struct bufferevent *bev;
};

static void impostor_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)arg;
	assert_false(what & BEV_EVENT_CONNECTED);
}

static void impostor_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *peer,
			    int len, void *arg)
{
	struct impostor *i = arg;

	(void)l;
	(void)peer;
	(void)len;
	i->bev = bufferevent_openssl_socket_new(i->base, fd, SSL_new(i->ctx),
						BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(i->bev, NULL, NULL, impostor_event, i);
}

static void client_meets_a_certificate(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);
	struct impostor i = { .base = w->base, .ctx = SSL_CTX_new(TLS_server_method()) };
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	struct evconnlistener *l;

	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				   (const unsigned char *)"anchor", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(i.ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(i.ctx, key), 1);
	l = evconnlistener_new(w->base, impostor_accept, &i, LEV_OPT_CLOSE_ON_FREE, 1,
			       listening(&config.port));
	run(w, &c, &config);
	assert_int_equal(c.error, -EPROTO);
	assert_non_null(strstr(c.why, "certificate"));
	evconnlistener_free(l);
	bufferevent_free(i.bev);
	X509_free(cert);
	EVP_PKEY_free(key);
	SSL_CTX_free(i.ctx);
}

static void client_refuses_bad_arguments(void **state)
{
	struct world *w = *state;
	struct connect_request bad = small_request;
	struct client c;
	const struct tls_client_config good = config_of(w, &c);
	struct tls_client_config config;
	struct tls_client *untouched = (void *)&c, *tls = untouched;

#define REFUSED(error, change)                                                          \
	do {                                                                            \
		config = good;                                                          \
		change;                                                                 \
		assert_int_equal(tls_client_connect(w->base, &config, &tls), error);    \
		assert_ptr_equal(tls, untouched);                                       \
	} while (0)
	REFUSED(-EINVAL, config.identity = "");
	REFUSED(-EINVAL, config.identity = "two words");
	REFUSED(-EINVAL, config.identity = "one-character-more-than-allowed!");
	REFUSED(-EINVAL, config.timeout_ms = 0);
	REFUSED(-EINVAL, config.port = 0);
	REFUSED(-EINVAL, config.peer = (struct hf_addr){ 0 });
	REFUSED(-EINVAL, config.local = localhost6);
	bad.from = (struct hf_addr){ 0 };
	REFUSED(-EINVAL, config.request = &bad);
	bad = small_request;
	bad.flow_count = WIRE_CONNECT_FLOWS_MAX + 1;
	REFUSED(-EINVAL, config.request = &bad);
	REFUSED(-ENODEV, config.ifindex = 0x7ffffff0);
	REFUSED(-EADDRNOTAVAIL, addr_parse("203.0.113.77", &config.local));
#undef REFUSED
	event_base_loop(w->base, EVLOOP_NONBLOCK);
	assert_false(c.done);
	assert_int_equal(counts(w).accepted, 0);
}

static void client_on_an_interface(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	config.ifindex = 1; /* lo */
	config.local = localhost;
	run(w, &c, &config);
	assert_int_equal(c.error, 0);
}

static void cancel_at_every_turn(void **state)
{
	struct world *w = *state;

	tls_client_cancel(NULL);
	for (int turns = 0; turns < 12; turns++) {
		struct client c;
		struct tls_client_config config = config_of(w, &c);

		start(w, &c, &config);
		for (int i = 0; i < turns && !c.done; i++)
			event_base_loop(w->base, EVLOOP_ONCE);
		if (c.done)
			break;
		tls_client_cancel(c.tls);
		for (int i = 0; i < 20; i++)
			event_base_loop(w->base, EVLOOP_NONBLOCK);
		assert_false(c.done);
	}
	WAIT(w, counts(w).open == 0);
	run_well(w);
}

static void cancel_within_done_does_nothing(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	c.cancel_inside = true;
	run(w, &c, &config);
	assert_int_equal(c.error, 0);
}

/* ---- listening ---- */

static void M2_listens_before_the_address_is_there(void **state)
{
	struct world *w = *state;
	struct hf_addr absent;

	assert_int_equal(addr_parse("203.0.113.77", &absent), 0);
	assert_int_equal(tls_server_listen(w->server, &absent, 0), 0);
	assert_int_equal(tls_server_listen(w->server, &absent, tls_server_port(w->server, 1)),
			 -EEXIST);
	assert_int_equal(tls_server_unlisten(w->server, &absent, 1), -ENOENT);
	assert_int_equal(tls_server_unlisten(w->server, &absent, tls_server_port(w->server, 1)), 0);
	assert_int_equal(tls_server_port(w->server, 1), 0);
	if (addr_parse("2001:db8::77", &absent) == 0)
		assert_int_equal(tls_server_listen(w->server, &absent, w->port), 0);
}

static void listens_on_every_address_of_both_families(void **state)
{
	static const struct hf_addr any4 = { .b = { [10] = 0xff, [11] = 0xff } };
	static const struct hf_addr any6;
	struct world *w = *state;
	struct client c;
	struct tls_client_config config;
	uint16_t port;

	assert_int_equal(tls_server_listen(w->server, &any4, 0), 0);
	port = tls_server_port(w->server, 1);
	assert_int_equal(tls_server_listen(w->server, &any6, port), 0);
	assert_int_equal(tls_server_listen(w->server, &any6, port), -EEXIST);
	for (int i = 0; i < 2; i++) {
		config = config_of(w, &c);
		config.peer = i ? localhost6 : localhost;
		config.port = port;
		run(w, &c, &config);
		assert_int_equal(c.error, 0);
		assert_memory_equal(&w->ends.local, &config.peer, 16);
	}
}

static void listens_on_a_given_descriptor(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	assert_int_equal(tls_server_listen_fd(w->server, listening(&config.port)), 0);
	assert_int_equal(tls_server_port(w->server, 1), config.port);
	run(w, &c, &config);
	assert_int_equal(c.error, 0);
	assert_int_equal(tls_server_listen_fd(w->server, open("/dev/null", O_RDONLY)), -ENOTSOCK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(N4_connect_over_tls),
		TEST(N4_keys_differ_each_time),
		TEST(N18_connect_over_ipv6),
		TEST(N19_largest_messages),
		TEST(N4_refusal_reaches_the_mobile),
		TEST(reply_may_come_later),
		TEST(reply_against_the_rules_becomes_a_refusal),
		TEST(N4_wrong_key_is_refused),
		TEST(N4_unknown_identity_is_refused),
		TEST(stranger_cannot_tell_names_from_keys),
		TEST(other_tls_clients_are_refused),
		TEST(silent_client_times_out),
		TEST(silence_after_the_handshake_times_out),
		TEST(garbage_is_refused),
		TEST(too_many_from_one_address),
		TEST(too_many_at_once),
		TEST(malformed_requests_are_refused),
		TEST(anchors_own_limit_of_flows),
		TEST(announcements_together_are_bounded),
		TEST(request_byte_by_byte),
		TEST(speaking_out_of_turn_ends_the_session),
		TEST(mobile_that_leaves_before_the_reply),
		TEST(newer_connection_of_one_mobile_replaces_the_older),
		TEST(sessions_are_bounded),
		TEST(server_freed_tells_who_waits),
		TEST(client_meets_nobody),
		TEST(client_meets_silence),
		TEST(client_meets_garbage),
		TEST(client_meets_a_certificate),
		TEST(client_refuses_bad_arguments),
		TEST(client_on_an_interface),
		TEST(cancel_at_every_turn),
		TEST(cancel_within_done_does_nothing),
		TEST(M2_listens_before_the_address_is_there),
		TEST(listens_on_every_address_of_both_families),
		TEST(listens_on_a_given_descriptor),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
