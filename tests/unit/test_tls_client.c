/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The mobile: whom it meets; and where an anchor listens. */
#include "tests/unit/tls_world.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a client's troubles ---- */

static void client_meets_nobody(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);
	int fd = bound_socket(&config.port); /* bound only */

	world_run(w, &c, &config);
	assert_int_equal(c.error, -ECONNREFUSED);
	assert_non_null(strstr(c.why, "refused"));
	close(fd);
}

static void client_meets_silence(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);
	int fd = bound_socket(&config.port);

	assert_int_equal(listen(fd, 1), 0);
	config.timeout_ms = 50;
	world_run(w, &c, &config);
	assert_int_equal(c.error, -ETIMEDOUT);
	assert_string_equal(c.why, "time was over before the TLS handshake was done");
	close(fd);

	w->hold = true;
	config = config_of(w, &c);
	config.timeout_ms = 300;
	config.identity = "mobile-2";
	world_run(w, &c, &config);
	assert_int_equal(c.error, -ETIMEDOUT);
	assert_string_equal(c.why, "time was over before it replied");
}

/* Takes one connection, says `bytes`, closes. */
static void meet(struct world *w, const void *bytes, size_t len, int error)
{
	struct client c;
	struct tls_client_config config = config_of(w, &c);
	int fd = bound_socket(&config.port), other;

	assert_int_equal(listen(fd, 1), 0);
	world_start(w, &c, &config);
	while ((other = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) < 0)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
	/* wait for the greeting, so that the close is no reset */
	uint8_t hello[2048];
	struct timeval soon = {.tv_usec = 1000};
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
	meet(w, "\x15\x03\x03\x00\x02\x02\x2f", 7, -EACCES);         /* illegal_parameter */
	meet(w, "\x15\x03\x03\x00\x02\x02\x28", 7, -EACCES);         /* handshake_failure */
	meet(w, "\x15\x03\x03\x00\x02\x02\x50", 7, -EPROTO);         /* internal_error */
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
	struct impostor i = {.base = w->base, .ctx = SSL_CTX_new(TLS_server_method())};
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
			       bound_socket(&config.port));
	world_run(w, &c, &config);
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

#define REFUSED(error, change)                                                                     \
	do {                                                                                       \
		config = good;                                                                     \
		change;                                                                            \
		assert_int_equal(tls_client_connect(w->base, &config, &tls), error);               \
		assert_ptr_equal(tls, untouched);                                                  \
	} while (0)
	REFUSED(-EINVAL, config.identity = "");
	REFUSED(-EINVAL, config.identity = "two words");
	REFUSED(-EINVAL, config.identity = "one-character-more-than-allowed!");
	REFUSED(-EINVAL, config.timeout_ms = 0);
	REFUSED(-EINVAL, config.port = 0);
	REFUSED(-EINVAL, config.peer = (struct hf_addr){0});
	REFUSED(-EINVAL, config.local = localhost6);
	bad.from = (struct hf_addr){0};
	REFUSED(-EINVAL, config.request = &bad);
	bad = small_request;
	bad.flow_count = WIRE_CONNECT_FLOWS_MAX + 1;
	REFUSED(-EINVAL, config.request = &bad);
	REFUSED(-ENODEV, config.ifindex = 0x7ffffff0);
	REFUSED(-EADDRNOTAVAIL, addr_parse("203.0.113.77", &config.local));
#undef REFUSED
	event_base_loop(w->base, EVLOOP_NONBLOCK);
	assert_false(c.done);
	assert_int_equal(world_counts(w).accepted, 0);
}

static void client_on_an_interface(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	config.ifindex = 1; /* lo */
	config.local = localhost;
	world_run(w, &c, &config);
	assert_int_equal(c.error, 0);
}

static void cancel_at_every_turn(void **state)
{
	struct world *w = *state;

	tls_client_cancel(NULL);
	for (int turns = 0; turns < 12; turns++) {
		struct client c;
		struct tls_client_config config = config_of(w, &c);

		world_start(w, &c, &config);
		for (int i = 0; i < turns && !c.done; i++)
			event_base_loop(w->base, EVLOOP_ONCE);
		if (c.done)
			break;
		tls_client_cancel(c.tls);
		for (int i = 0; i < 20; i++)
			event_base_loop(w->base, EVLOOP_NONBLOCK);
		assert_false(c.done);
	}
	WAIT(w, world_counts(w).open == 0);
	world_run_well(w);
}

static void cancel_within_done_does_nothing(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	c.cancel_inside = true;
	world_run(w, &c, &config);
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
	static const struct hf_addr any4 = {.b = {[10] = 0xff, [11] = 0xff}};
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
		world_run(w, &c, &config);
		assert_int_equal(c.error, 0);
		assert_memory_equal(&w->ends.local, &config.peer, 16);
	}
}

static void listens_on_a_given_descriptor(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	assert_int_equal(tls_server_listen_fd(w->server, bound_socket(&config.port)), 0);
	assert_int_equal(tls_server_port(w->server, 1), config.port);
	world_run(w, &c, &config);
	assert_int_equal(c.error, 0);
	assert_int_equal(tls_server_listen_fd(w->server, open("/dev/null", O_RDONLY)), -ENOTSOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
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

	return cmocka_run_group_tests_name("tls_client", tests, NULL, NULL);
}
