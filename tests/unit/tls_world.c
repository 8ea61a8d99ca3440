/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "tests/unit/tls_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

const struct hf_addr localhost = {.b = {[10] = 0xff, [11] = 0xff, 127, 0, 0, 1}};
const struct hf_addr localhost6 = {.b = {[15] = 1}};

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

const struct tls_server_ops world_ops = {lookup_key, on_request, on_gone, on_failed};

struct tls_counts world_counts(const struct world *w)
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

int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	signal(SIGPIPE, SIG_IGN);
	w->base = event_base_new();
	w->alarm = evtimer_new(w->base, on_alarm, w);
	memset(w->key, 0x42, KEY_LEN);
	w->answer = (struct connect_reply){.assoc = 12,
					   .epoch = 34,
					   .inactivity_ms = 5678,
					   .host4 = {.b = {[10] = 0xff, [11] = 0xff, 10, 0, 0, 9}}};
	*state = w;
	if (tls_server_new(w->base, &world_ops, w, 0, &w->server) < 0 ||
	    tls_server_listen(w->server, &localhost, 0) < 0)
		return -1;
	w->port = tls_server_port(w->server, 0);
	return w->port ? 0 : -1;
}

int world_teardown(void **state)
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

const struct connect_request small_request = {
	.assoc = 7,
	.from = {.b = {[10] = 0xff, [11] = 0xff, 127, 0, 0, 1}},
};

struct tls_client_config config_of(struct world *w, struct client *c)
{
	*c = (struct client){0};
	return (struct tls_client_config){.identity = "mobile-1",
					  .key = w->key,
					  .peer = localhost,
					  .port = w->port,
					  .timeout_ms = PATIENCE_MS / 2,
					  .request = &small_request,
					  .done = on_done,
					  .arg = c};
}

void world_start(struct world *w, struct client *c, const struct tls_client_config *config)
{
	assert_int_equal(tls_client_connect(w->base, config, &c->tls), 0);
	assert_false(c->done);
}

void world_run(struct world *w, struct client *c, const struct tls_client_config *config)
{
	world_start(w, c, config);
	WAIT(w, c->done);
}

void world_run_well(struct world *w)
{
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	world_run(w, &c, &config);
	assert_string_equal(c.why, connect_refusal_text(WIRE_REFUSAL_NONE));
	assert_int_equal(c.error, 0);
	connect_reply_clear(&c.reply);
}

/* ---- strangers ---- */

int stranger(struct world *w, uint32_t source)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(w->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

bool stranger_closed(int fd)
{
	uint8_t bytes[256];
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		;
	return n == 0 || errno != EAGAIN;
}

size_t answer_to(struct world *w, const void *bytes, size_t len, uint8_t *ret, size_t size)
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

static int speaker_psk(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *len,
		       SSL_SESSION **ret)
{
	static const unsigned char suite[] = {0x13, 0x01};
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

SSL *speaker_ssl(struct speaker *s, const char *identity, const uint8_t *key)
{
	SSL *ssl;

	*s = (struct speaker){.identity = identity, .key = key};
	s->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_psk_use_session_callback(s->ctx, speaker_psk);
	SSL_CTX_set_ciphersuites(s->ctx, "TLS_AES_128_GCM_SHA256");
	SSL_CTX_set_min_proto_version(s->ctx, TLS1_3_VERSION);
	ssl = SSL_new(s->ctx);
	SSL_set_app_data(ssl, s);
	return ssl;
}

void speaker_open(struct world *w, struct speaker *s, const char *identity)
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

void speaker_close(struct speaker *s)
{
	bufferevent_free(s->bev);
	evbuffer_free(s->heard);
	SSL_CTX_free(s->ctx);
}

/* Says `bytes` and hears a refusal. */
void expect_refusal(struct world *w, const void *bytes, size_t len, enum wire_refusal why)
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
	WAIT(w, world_counts(w).open == 0);
}

size_t hello_of(const char *identity, const uint8_t *key, uint8_t *ret, size_t size)
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

int bound_socket(uint16_t *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*port = ntohs(at.sin_port);
	return fd;
}
