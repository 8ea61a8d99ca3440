/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The anchor: whom it lets in, whom not, and what it can be made to hold. */
#include "tests/unit/tls_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/peer/proto.h"

/* ---- CONNECT succeeds ---- */

static void N4_connect_over_tls(void **state)
{
	struct wire_flow flows[3] = {{.emulator = htons(20080), .port = htons(40000), .proto = 6},
				     {.emulator = htons(20053), .port = htons(1), .proto = 17},
				     {.emulator = htons(256), .port = htons(300), .proto = 1}};
	struct wire_service services[2] = {
		{.addr = {.b = {[10] = 0xff, [11] = 0xff, 198, 51, 100, 7}},
		 .port = htons(80),
		 .emulator = htons(20080),
		 .proto = 6,
		 .name = "web"},
		{.addr = {.b = {0x20, 1, 0xd, 0xb8, [15] = 7}},
		 .port = htons(53),
		 .emulator = htons(20053),
		 .proto = 17},
	};
	struct connect_request request = small_request;
	struct wire_body body = {.type = WIRE_ALIVE}, got;
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
	world_run(w, &c, &config);
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

	WAIT(w, world_counts(w).open == 0);
	assert_int_equal(world_counts(w).accepted, 1);
	assert_int_equal(world_counts(w).connected, 1);
	assert_int_equal(world_counts(w).failed, 0);
	assert_int_equal(w->failed, 0);
}

static void N4_keys_differ_each_time(void **state)
{
	uint8_t first[WIRE_EXPORT_LEN];
	struct world *w = *state;

	world_run_well(w);
	memcpy(first, w->exported, sizeof(first));
	world_run_well(w);
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
	world_run(w, &c, &config);
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
		request.flows[i] = (struct wire_flow){.emulator = htons(i >> 16 | 1),
						      .port = htons(i % 65535 + 1),
						      .proto = i % 2 ? 6 : 17};
	w->answer.service_count = WIRE_CONNECT_SERVICES_MAX;
	w->answer.services = calloc(WIRE_CONNECT_SERVICES_MAX, sizeof(*w->answer.services));
	for (uint32_t i = 0; i < w->answer.service_count; i++)
		w->answer.services[i] = (struct wire_service){.addr = w->answer.host4,
							      .port = htons(i + 1),
							      .emulator = htons(i + 1),
							      .proto = 6};
	for (int i = 0; i < 16; i++)
		w->answer.points[i] = localhost;
	w->answer.point_count = 16;
	config.request = &request;
	config.timeout_ms = PATIENCE_MS;
	world_run(w, &c, &config);
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

	w->answer = (struct connect_reply){.refusal = WIRE_REFUSAL_POOL};
	world_run(w, &c, &config);
	assert_int_equal(c.error, 0);
	assert_int_equal(c.reply.refusal, WIRE_REFUSAL_POOL);
	assert_string_equal(c.why, connect_refusal_text(WIRE_REFUSAL_POOL));
	WAIT(w, world_counts(w).open == 0);
	assert_int_equal(world_counts(w).refused, 1);
	assert_int_equal(world_counts(w).connected, 0);
}

static void reply_may_come_later(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	w->hold = true;
	world_start(w, &c, &config);
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
	world_start(w, &c, &config);
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
	uint8_t wrong[KEY_LEN] = {1};
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	config.key = wrong;
	world_run(w, &c, &config);
	assert_int_equal(c.error, -EACCES);
	assert_int_equal(w->requests, 0);
	assert_int_equal(w->failed, 1);
	assert_non_null(strstr(w->why, "key"));
	assert_string_equal(w->failed_identity, "mobile-1");
	assert_int_equal(world_counts(w).auth, 1);
	world_run_well(w);
}

static void N4_unknown_identity_is_refused(void **state)
{
	static const uint8_t zero[KEY_LEN];
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	config.identity = "stranger";
	world_run(w, &c, &config);
	assert_int_equal(c.error, -EACCES);
	assert_string_equal(w->why, "no mobile of this name is known");
	assert_string_equal(w->failed_identity, "stranger");
	config = config_of(w, &c);
	config.identity = "stranger";
	config.key = zero; /* "no key" must not be a key */
	world_run(w, &c, &config);
	assert_int_equal(c.error, -EACCES);
	assert_int_equal(w->requests, 0);
	assert_int_equal(world_counts(w).auth, 2);
	world_run_well(w);
}

static void stranger_cannot_tell_names_from_keys(void **state)
{
	static const char *const names[] = {"mobile-1", "nobody-1", "m", "name with\nnewline",
					    "a name that is far too long for an identity"};
	uint8_t wrong[KEY_LEN] = {1}, hello[2048], first[256], got[256];
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
	assert_int_equal(world_counts(w).auth, 5);
	assert_string_equal(w->failed_identity, ""); /* not printable, so not shown */
}

static void other_tls_clients_are_refused(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
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
	WAIT(w, world_counts(w).timeouts == 1);
	assert_true(stranger_closed(fd) ||
		    (event_base_loop(w->base, EVLOOP_NONBLOCK), stranger_closed(fd)));
	close(fd);
	assert_int_equal(world_counts(w).open, 0);
	assert_int_equal(w->failed, 1);
	assert_string_equal(w->why, "time was over before its handshake was done");
}

static void silence_after_the_handshake_times_out(void **state)
{
	struct world *w = *state;
	struct wire_connect half = {.magic = htonl(WIRE_CONNECT_MAGIC)};
	struct speaker s;

	tls_server_set_timeout(w->server, 100);
	speaker_open(w, &s, "mobile-1");
	bufferevent_write(s.bev, &half, sizeof(half) / 2);
	WAIT(w, s.closed);
	assert_string_equal(w->why, "time was over before its request was complete");
	assert_int_equal(world_counts(w).timeouts, 1);
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
	/* an honest greeting, spoilt; what still makes sense waits for its second message, so it is
	 * cut off */
	len = hello_of("mobile-1", w->key, hello, sizeof(hello));
	tls_server_set_timeout(w->server, 10);
	for (int i = 0; i < 50; i++) {
		size_t at = 5 + rand() % (len - 5);

		hello[at] ^= 0xff;
		answer_to(w, hello, len, got, sizeof(got));
		hello[at] ^= 0xff;
	}
	assert_int_equal(world_counts(w).open, 0);
	assert_int_equal(w->requests, 0);
	assert_int_equal(w->failed, 101);
	tls_server_set_timeout(w->server, TLS_STEP_TIMEOUT_MS);
	world_run_well(w);
}

static void too_many_from_one_address(void **state)
{
	enum { MORE = 5, ALL = TLS_HANDSHAKES_SOURCE_MAX + MORE };
	struct world *w = *state;
	int fds[ALL];

	for (int i = 0; i < ALL; i++) {
		fds[i] = stranger(w, INADDR_LOOPBACK + 1);
		WAIT(w, world_counts(w).accepted == (uint64_t)i + 1);
		assert_true(world_counts(w).open <= TLS_HANDSHAKES_SOURCE_MAX);
	}
	event_base_loop(w->base, EVLOOP_NONBLOCK);
	assert_int_equal(world_counts(w).crowded, MORE);
	/* the oldest gave way */
	for (int i = 0; i < ALL; i++) {
		assert_int_equal(stranger_closed(fds[i]), i < MORE);
		close(fds[i]);
	}
	world_run_well(w);
}

static void too_many_at_once(void **state)
{
	enum { MORE = 10, ALL = TLS_HANDSHAKES_MAX + MORE };
	struct world *w = *state;
	int fds[ALL];

	for (int i = 0; i < ALL; i++) {
		fds[i] = stranger(w, INADDR_LOOPBACK + 1 + i % 8);
		WAIT(w, world_counts(w).accepted == (uint64_t)i + 1);
		assert_true(world_counts(w).open <= TLS_HANDSHAKES_MAX);
	}
	assert_int_equal(world_counts(w).open, TLS_HANDSHAKES_MAX);
	assert_int_equal(world_counts(w).crowded, MORE);
	assert_int_equal(w->failed, MORE);
	/* who has a key still gets in */
	world_run_well(w);
	for (int i = 0; i < ALL; i++)
		close(fds[i]);
	WAIT(w, world_counts(w).open == 0);
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
	bytes[15] = 1;                                                   /* a flow of zeros */
	expect_refusal(w, bytes, 72, WIRE_REFUSAL_MALFORMED);
	assert_int_equal(w->requests, 0);
	assert_int_equal(w->failed, 5);
	assert_int_equal(world_counts(w).failed, 5);
	assert_int_equal(world_counts(w).refused, 0);
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
		flows[i] = (struct wire_flow){.emulator = 1, .port = 1, .proto = 6};
	assert_int_equal(tls_server_new(w->base, &world_ops, w, 10, &server), 0);
	assert_int_equal(tls_server_listen(server, &localhost, 0), 0);
	request.flows = flows;
	request.flow_count = 11;
	config.request = &request;
	config.port = tls_server_port(server, 0);
	world_run(w, &c, &config);
	assert_int_equal(c.error, 0);
	assert_int_equal(c.reply.refusal, WIRE_REFUSAL_FLOWS);
	assert_int_equal(w->requests, 0);
	request.flow_count = 10;
	c.done = false;
	world_run(w, &c, &config);
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
	WAIT(w, world_counts(w).open == 0);
	world_run_well(w); /* given back */
}

static void request_byte_by_byte(void **state)
{
	struct wire_flow flow = {.emulator = htons(1), .port = htons(1), .proto = 6};
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
	world_start(w, &c, &config);
	WAIT(w, w->requests == 1);
	tls_client_cancel(c.tls);
	WAIT(w, w->gone == 1);
	assert_false(c.done);
	assert_int_equal(w->failed, 1);
	assert_int_equal(world_counts(w).open, 0);
}

static void newer_connection_of_one_mobile_replaces_the_older(void **state)
{
	struct world *w = *state;
	struct client one, two, other;
	struct tls_client_config config = config_of(w, &one);

	w->hold = true;
	world_start(w, &one, &config);
	WAIT(w, w->requests == 1);
	config = config_of(w, &other);
	config.identity = "mobile-2";
	world_start(w, &other, &config);
	WAIT(w, w->requests == 2);
	config = config_of(w, &two);
	world_start(w, &two, &config);
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
	WAIT(w, world_counts(w).open == TLS_SESSIONS_MAX);
	config = config_of(w, &last);
	config.identity = "mobile-last";
	world_run(w, &last, &config);
	assert_int_equal(last.error, -ECONNRESET);
	assert_int_equal(world_counts(w).crowded, 1);
	for (int i = 0; i < TLS_SESSIONS_MAX; i++)
		speaker_close(&s[i]);
	WAIT(w, world_counts(w).open == 0);
	world_run_well(w);
}

static void server_freed_tells_who_waits(void **state)
{
	struct world *w = *state;
	struct client c;
	struct tls_client_config config = config_of(w, &c);

	w->hold = true;
	world_start(w, &c, &config);
	WAIT(w, w->requests == 1);
	tls_server_free(w->server);
	w->server = NULL;
	assert_int_equal(w->gone, 1);
	WAIT(w, c.done);
	assert_int_equal(c.error, -ECONNRESET);
}

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
	};

	return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
