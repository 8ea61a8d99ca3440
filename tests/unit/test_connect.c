/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>

#include <cmocka.h>

#include "control/peer/connect.h"

#define FLOWS    5
#define SERVICES 3

static struct hf_addr addr(const char *text)
{
	struct hf_addr a = {0};

	if (strchr(text, ':')) {
		assert_int_equal(inet_pton(AF_INET6, text, a.b), 1);
	} else {
		a.b[10] = a.b[11] = 0xff;
		assert_int_equal(inet_pton(AF_INET, text, a.b + 12), 1);
	}
	return a;
}

static struct wire_flow flow(uint8_t proto, uint16_t emulator, uint16_t port)
{
	return (struct wire_flow){.emulator = htons(emulator), .port = htons(port), .proto = proto};
}

static struct wire_service service(const char *where, uint8_t proto, uint16_t port,
				   uint16_t emulator, const char *name)
{
	struct wire_service s = {.addr = addr(where),
				 .port = htons(port),
				 .emulator = htons(emulator),
				 .proto = proto};

	strncpy(s.name, name, sizeof(s.name) - 1);
	return s;
}

static void request_of(struct connect_request *r, struct wire_flow flows[static FLOWS])
{
	flows[0] = flow(IPPROTO_TCP, 20080, 40000);
	flows[0].tcp_up = HF_TCP_SYN | HF_TCP_ACK;
	flows[0].tcp_down = HF_TCP_FIN | HF_TCP_RST;
	flows[1] = flow(IPPROTO_UDP, 20053, 1);
	flows[2] = flow(IPPROTO_ICMP, 0x0100, 0x0100);
	flows[3] = flow(IPPROTO_ICMP, 0xff00, 0xffff);
	flows[4] = flow(IPPROTO_TCP, 65535, 65535);
	*r = (struct connect_request){.assoc = 0xfffffffe,
				      .from = addr("192.0.2.1"),
				      .host4 = addr("10.99.0.2"),
				      .host6 = addr("fd00::2"),
				      .flows = flows,
				      .flow_count = FLOWS};
}

static void reply_of(struct connect_reply *r, struct wire_service services[static SERVICES])
{
	services[0] = service("198.51.100.7", IPPROTO_TCP, 80, 20080, "web");
	services[1] =
		service("2001:db8::7", IPPROTO_UDP, 53, 20053, "a name of thirty-one characters");
	services[2] = service("198.51.100.7", IPPROTO_ICMP, 0, 0x0100, "");
	*r = (struct connect_reply){.assoc = 4095,
				    .epoch = 0xffffffff,
				    .inactivity_ms = 600000,
				    .host4 = addr("10.99.0.2"),
				    .services = services,
				    .service_count = SERVICES,
				    .points = {addr("203.0.113.1"), addr("2001:db8::1")},
				    .point_count = 2};
}

/* Copies of exactly the length, so that ASan watches their end. */
static ssize_t consume_request(const uint8_t *data, size_t len, struct connect_request *ret,
			       size_t *need)
{
	uint8_t *exact = malloc(len ? len : 1);
	ssize_t n;

	memcpy(exact, data, len);
	n = connect_consume_request(len ? exact : NULL, len, WIRE_CONNECT_FLOWS_MAX, ret, need);
	free(exact);
	return n;
}

static ssize_t consume_reply(const uint8_t *data, size_t len, struct connect_reply *ret,
			     size_t *need)
{
	uint8_t *exact = malloc(len ? len : 1);
	ssize_t n;

	memcpy(exact, data, len);
	n = connect_consume_reply(len ? exact : NULL, len, ret, need);
	free(exact);
	return n;
}

/* ---- request ---- */

static void N4_request_crosses(void **state)
{
	struct wire_flow flows[FLOWS];
	struct connect_request r, got;
	uint8_t bytes[512];
	size_t need = 0;
	ssize_t n;

	(void)state;
	request_of(&r, flows);
	n = connect_create_request(&r, bytes, sizeof(bytes));
	assert_int_equal(n, 64 + FLOWS * 8);
	assert_int_equal(n, connect_request_size(&r));
	/* what follows in the stream is not touched */
	assert_int_equal(consume_request(bytes, n + 9, &got, &need), n);
	assert_int_equal(got.assoc, r.assoc);
	assert_memory_equal(&got.from, &r.from, 16);
	assert_memory_equal(&got.host4, &r.host4, 16);
	assert_memory_equal(&got.host6, &r.host6, 16);
	assert_int_equal(got.flow_count, FLOWS);
	assert_memory_equal(got.flows, flows, sizeof(flows));
	connect_request_clear(&got);
	assert_null(got.flows);
	connect_request_clear(&got);
	connect_request_clear(NULL);
}

static void N4_first_request_has_nothing_before(void **state)
{
	struct connect_request r = {.assoc = 0, .from = addr("127.0.0.1")}, got;
	uint8_t bytes[64];
	size_t need;

	(void)state;
	assert_int_equal(connect_create_request(&r, bytes, sizeof(bytes)), 64);
	assert_int_equal(consume_request(bytes, 64, &got, &need), 64);
	assert_null(got.flows);
	assert_int_equal(got.flow_count, 0);
}

static void request_cut_at_each_length_asks_for_more(void **state)
{
	struct connect_request r, got, untouched;
	struct wire_flow flows[FLOWS];
	uint8_t bytes[512];
	ssize_t n;

	(void)state;
	request_of(&r, flows);
	n = connect_create_request(&r, bytes, sizeof(bytes));
	memset(&got, 0x5a, sizeof(got));
	untouched = got;
	for (size_t len = 0; len < (size_t)n; len++) {
		size_t need = 0;

		assert_int_equal(consume_request(bytes, len, &got, &need), -EAGAIN);
		assert_int_equal(need, len < 64 ? 64 : n);
		assert_memory_equal(&got, &untouched, sizeof(got));
	}
}

static void request_needs_its_room(void **state)
{
	struct wire_flow flows[FLOWS];
	struct connect_request r;
	uint8_t bytes[512];

	(void)state;
	request_of(&r, flows);
	memset(bytes, 0x5a, sizeof(bytes));
	for (size_t size = 0; size < connect_request_size(&r); size++)
		assert_int_equal(connect_create_request(&r, bytes, size), -ENOBUFS);
	assert_int_equal(bytes[0], 0x5a);
}

static void N4_request_over_the_limits(void **state)
{
	struct wire_flow *flows = malloc((WIRE_CONNECT_FLOWS_MAX + 1) * sizeof(*flows));
	struct connect_request r = {.from = addr("192.0.2.1"), .flows = flows}, got;
	uint8_t *bytes = malloc(CONNECT_REQUEST_MAX);
	struct wire_connect w;
	size_t need;

	(void)state;
	for (uint32_t i = 0; i <= WIRE_CONNECT_FLOWS_MAX; i++)
		flows[i] = flow(IPPROTO_UDP, 20053, i % 65535 + 1);
	r.flow_count = WIRE_CONNECT_FLOWS_MAX;
	assert_int_equal(connect_create_request(&r, bytes, CONNECT_REQUEST_MAX),
			 CONNECT_REQUEST_MAX);
	assert_int_equal(consume_request(bytes, CONNECT_REQUEST_MAX, &got, &need),
			 CONNECT_REQUEST_MAX);
	connect_request_clear(&got);
	assert_int_equal(connect_consume_request(bytes, 64, 1000, &got, &need), -E2BIG);

	r.flow_count = WIRE_CONNECT_FLOWS_MAX + 1;
	assert_int_equal(connect_request_size(&r), 0);
	assert_int_equal(connect_create_request(&r, bytes, CONNECT_REQUEST_MAX), -EINVAL);
	/* judged by the fixed part alone */
	memcpy(&w, bytes, sizeof(w));
	w.flows = htonl(WIRE_CONNECT_FLOWS_MAX + 1);
	assert_int_equal(consume_request((uint8_t *)&w, sizeof(w), &got, &need), -E2BIG);
	w.flows = htonl(UINT32_MAX);
	assert_int_equal(consume_request((uint8_t *)&w, sizeof(w), &got, &need), -E2BIG);
	free(bytes);
	free(flows);

	r = (struct connect_request){.from = addr("192.0.2.1"), .flow_count = 1};
	assert_int_equal(connect_create_request(&r, &w, sizeof(w)), -EINVAL);
}

/* Each row breaks one rule; the sender will not say it and the receiver will not hear it. */
static void request_rules_hold_on_both_sides(void **state)
{
	struct wire_flow good[FLOWS], bad[FLOWS];
	struct connect_request r, b, got;
	uint8_t bytes[512], out[512];
	struct wire_connect w;
	size_t need;
	ssize_t n;
	const struct {
		const char *from, *host4, *host6;
	} addrs[] = {
		{"0.0.0.0", NULL, NULL},
		{"224.0.0.1", NULL, NULL},
		{"255.255.255.255", NULL, NULL},
		{"::", NULL, NULL},
		{"ff02::1", NULL, NULL},
		{NULL, "fd00::1", NULL},
		{NULL, "0.0.0.0", NULL},
		{NULL, "127.0.0.1", NULL},
		{NULL, "239.1.1.1", NULL},
		{NULL, NULL, "10.0.0.1"},
		{NULL, NULL, "::1"},
		{NULL, NULL, "ff0e::1"},
	};
	const struct wire_flow flows[] = {
		flow(IPPROTO_TCP, 0, 1),
		flow(IPPROTO_TCP, 1, 0),
		flow(IPPROTO_UDP, 0, 1),
		flow(IPPROTO_UDP, 1, 0),
		flow(IPPROTO_ICMP, 0x0101, 0x0101),
		flow(IPPROTO_ICMP, 0x0100, 0x0200),
		flow(IPPROTO_ICMP, 0x0100, 0x00ff),
		flow(IPPROTO_ICMP, 0, 1),
		flow(IPPROTO_ICMPV6, 0x0100, 0x0100),
		flow(0, 1, 1),
		flow(IPPROTO_SCTP, 1, 1),
		{.emulator = 1, .port = 1, .proto = 6, .pad = 1},
	};

	(void)state;
	request_of(&r, good);
	n = connect_create_request(&r, bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(addrs) / sizeof(*addrs); i++) {
		b = r;
		memcpy(&w, bytes, sizeof(w));
		if (addrs[i].from)
			w.from = b.from = addr(addrs[i].from);
		if (addrs[i].host4)
			w.host4 = b.host4 = addr(addrs[i].host4);
		if (addrs[i].host6)
			w.host6 = b.host6 = addr(addrs[i].host6);
		assert_int_equal(connect_create_request(&b, out, sizeof(out)), -EINVAL);
		assert_int_equal(consume_request((uint8_t *)&w, sizeof(w), &got, &need), -EBADMSG);
	}
	for (size_t i = 0; i < sizeof(flows) / sizeof(*flows); i++) {
		memcpy(bad, good, sizeof(bad));
		bad[FLOWS - 1] = flows[i];
		b = r;
		b.flows = bad;
		assert_int_equal(connect_create_request(&b, out, sizeof(out)), -EINVAL);
		memcpy(out, bytes, n);
		memcpy(out + n - 8, &flows[i], 8);
		assert_int_equal(consume_request(out, n, &got, &need), -EBADMSG);
	}
	for (size_t i = 0; i < 8; i++) {
		memcpy(out, bytes, n);
		out[i] ^= 0x80;
		assert_int_equal(consume_request(out, 64, &got, &need),
				 i < 4 ? -EPROTONOSUPPORT : -EBADMSG);
	}
}

static void request_carries_only_known_tcp_flags(void **state)
{
	struct wire_flow flows[2] = {flow(IPPROTO_TCP, 1, 1), flow(IPPROTO_UDP, 1, 1)};
	struct connect_request r = {.from = addr("192.0.2.1"), .flows = flows, .flow_count = 2},
			       got;
	struct wire_flow sent[2];
	uint8_t bytes[80];
	size_t need;

	(void)state;
	flows[0].tcp_up = flows[0].tcp_down = flows[1].tcp_up = flows[1].tcp_down = 0xff;
	assert_int_equal(connect_create_request(&r, bytes, sizeof(bytes)), 80);
	memcpy(sent, bytes + 64, sizeof(sent));
	assert_int_equal(sent[0].tcp_up, 0x17);
	assert_int_equal(sent[0].tcp_down, 0x17);
	assert_int_equal(sent[1].tcp_up | sent[1].tcp_down, 0);
	memcpy(bytes + 64, flows, sizeof(flows));
	assert_int_equal(consume_request(bytes, 80, &got, &need), 80);
	assert_memory_equal(got.flows, sent, sizeof(sent));
	connect_request_clear(&got);
}

/* ---- reply ---- */

static void N4_reply_crosses(void **state)
{
	struct wire_service services[SERVICES];
	struct connect_reply r, got;
	uint8_t bytes[512];
	size_t need;
	ssize_t n;

	(void)state;
	reply_of(&r, services);
	n = connect_create_reply(&r, bytes, sizeof(bytes));
	assert_int_equal(n, 64 + SERVICES * 56 + 2 * 16);
	assert_int_equal(n, connect_reply_size(&r));
	assert_int_equal(consume_reply(bytes, n + 9, &got, &need), n);
	assert_int_equal(got.refusal, WIRE_REFUSAL_NONE);
	assert_int_equal(got.assoc, r.assoc);
	assert_int_equal(got.epoch, r.epoch);
	assert_int_equal(got.inactivity_ms, r.inactivity_ms);
	assert_memory_equal(&got.host4, &r.host4, 16);
	assert_memory_equal(&got.host6, &r.host6, 16);
	assert_int_equal(got.service_count, SERVICES);
	assert_memory_equal(got.services, services, sizeof(services));
	assert_int_equal(got.point_count, 2);
	assert_memory_equal(got.points, r.points, sizeof(r.points));
	connect_reply_clear(&got);
	connect_reply_clear(&got);
	connect_reply_clear(NULL);
}

static void N4_every_refusal_crosses(void **state)
{
	(void)state;
	for (int why = 1; why < WIRE_REFUSAL_COUNT; why++) {
		struct connect_reply r = {.refusal = why}, got;
		uint8_t bytes[64];
		size_t need;

		assert_int_equal(connect_create_reply(&r, bytes, sizeof(bytes)), 64);
		assert_int_equal(bytes[4], WIRE_REFUSED);
		assert_int_equal(consume_reply(bytes, 64, &got, &need), 64);
		assert_int_equal(got.refusal, why);
		assert_string_not_equal(connect_refusal_text(why), "?");
	}
	assert_string_equal(connect_refusal_name(WIRE_REFUSAL_FULL), "FULL");
	assert_string_equal(connect_refusal_name(WIRE_REFUSAL_COUNT), "?");
	assert_string_equal(connect_refusal_text(-1), "?");
}

static void reply_cut_at_each_length_asks_for_more(void **state)
{
	struct connect_reply r, got, untouched;
	struct wire_service services[SERVICES];
	uint8_t bytes[512];
	ssize_t n;

	(void)state;
	reply_of(&r, services);
	n = connect_create_reply(&r, bytes, sizeof(bytes));
	memset(&got, 0x5a, sizeof(got));
	untouched = got;
	for (size_t len = 0; len < (size_t)n; len++) {
		size_t need = 0;

		assert_int_equal(consume_reply(bytes, len, &got, &need), -EAGAIN);
		assert_int_equal(need, len < 64 ? 64 : n);
		assert_memory_equal(&got, &untouched, sizeof(got));
		assert_int_equal(connect_create_reply(&r, bytes, len), -ENOBUFS);
	}
}

static void N4_reply_over_the_limits(void **state)
{
	struct wire_service *services = malloc(WIRE_CONNECT_SERVICES_MAX * sizeof(*services));
	struct connect_reply r = {.inactivity_ms = 1,
				  .host4 = addr("10.0.0.1"),
				  .services = services,
				  .service_count = WIRE_CONNECT_SERVICES_MAX,
				  .point_count = WIRE_CONNECT_POINTS_MAX},
			     got;
	uint8_t *bytes = malloc(CONNECT_REPLY_MAX);
	struct wire_connected w;
	size_t need;

	(void)state;
	for (uint32_t i = 0; i < WIRE_CONNECT_SERVICES_MAX; i++)
		services[i] = service("198.51.100.7", IPPROTO_UDP, 53, i + 1, "dns");
	for (uint32_t i = 0; i < WIRE_CONNECT_POINTS_MAX; i++)
		r.points[i] = addr("203.0.113.1");
	assert_int_equal(connect_create_reply(&r, bytes, CONNECT_REPLY_MAX), CONNECT_REPLY_MAX);
	assert_int_equal(consume_reply(bytes, CONNECT_REPLY_MAX, &got, &need), CONNECT_REPLY_MAX);
	assert_int_equal(got.service_count, WIRE_CONNECT_SERVICES_MAX);
	connect_reply_clear(&got);

	memcpy(&w, bytes, sizeof(w));
	w.services = htonl(WIRE_CONNECT_SERVICES_MAX + 1);
	assert_int_equal(consume_reply((uint8_t *)&w, sizeof(w), &got, &need), -E2BIG);
	w.services = 0;
	w.points = htonl(WIRE_CONNECT_POINTS_MAX + 1);
	assert_int_equal(consume_reply((uint8_t *)&w, sizeof(w), &got, &need), -E2BIG);
	w.points = htonl(UINT32_MAX);
	assert_int_equal(consume_reply((uint8_t *)&w, sizeof(w), &got, &need), -E2BIG);
	r.point_count++;
	assert_int_equal(connect_create_reply(&r, bytes, CONNECT_REPLY_MAX), -EINVAL);
	r.point_count--;
	r.service_count++;
	assert_int_equal(connect_create_reply(&r, bytes, CONNECT_REPLY_MAX), -EINVAL);
	r.service_count--;
	r.services = NULL;
	assert_int_equal(connect_create_reply(&r, bytes, CONNECT_REPLY_MAX), -EINVAL);
	free(bytes);
	free(services);
}

static void bad_reply(const struct connect_reply *r, const uint8_t *bytes, size_t n)
{
	struct connect_reply got;
	uint8_t out[512];
	size_t need;

	if (r)
		assert_int_equal(connect_create_reply(r, out, sizeof(out)), -EINVAL);
	assert_int_equal(consume_reply(bytes, n, &got, &need), -EBADMSG);
}

static void reply_rules_hold_on_both_sides(void **state)
{
	struct wire_service good[SERVICES], bad[SERVICES];
	struct connect_reply r, b;
	struct wire_connected w, *at;
	uint8_t bytes[512], out[512] __attribute__((aligned(8)));
	ssize_t n;
	struct wire_service rows[] = {
		service("0.0.0.0", IPPROTO_TCP, 80, 1, "x"),
		service("::", IPPROTO_TCP, 80, 1, "x"),
		service("127.0.0.1", IPPROTO_TCP, 80, 1, "x"),
		service("::1", IPPROTO_TCP, 80, 1, "x"),
		service("224.0.0.1", IPPROTO_TCP, 80, 1, "x"),
		service("ff02::1", IPPROTO_TCP, 80, 1, "x"),
		service("198.51.100.7", IPPROTO_TCP, 0, 1, "x"),
		service("198.51.100.7", IPPROTO_TCP, 80, 0, "x"),
		service("198.51.100.7", IPPROTO_UDP, 0, 1, "x"),
		service("198.51.100.7", IPPROTO_ICMP, 1, 0x0100, "x"),
		service("198.51.100.7", IPPROTO_ICMP, 0, 0x0101, "x"),
		service("198.51.100.7", IPPROTO_ICMP, 0, 0, "x"),
		service("2001:db8::7", IPPROTO_ICMPV6, 0, 0x0100, "x"),
		service("198.51.100.7", 132, 80, 1, "x"),
		service("198.51.100.7", IPPROTO_TCP, 80, 1, "a\nb"),
		service("198.51.100.7", IPPROTO_TCP, 80, 1, "a\x1b[2J"),
		service("198.51.100.7", IPPROTO_TCP, 80, 1, "\x7f"),
		service("198.51.100.7", IPPROTO_TCP, 80, 1, "\xc3\xa4"),
		service("198.51.100.7", IPPROTO_TCP, 80, 1, "unterminated"),
		service("198.51.100.7", IPPROTO_TCP, 80, 1, "behind"),
		service("198.51.100.7", IPPROTO_TCP, 80, 1, "pad"),
	};
	size_t count = sizeof(rows) / sizeof(*rows);

	(void)state;
	memset(rows[count - 3].name, 'a', HF_NAME_LEN);
	rows[count - 2].name[HF_NAME_LEN - 1] = 'x';
	rows[count - 1].pad[1] = 1;
	reply_of(&r, good);
	n = connect_create_reply(&r, bytes, sizeof(bytes));
	memcpy(&w, bytes, sizeof(w));
	for (size_t i = 0; i < count; i++) {
		memcpy(bad, good, sizeof(bad));
		bad[1] = rows[i];
		b = r;
		b.services = bad;
		memcpy(out, bytes, n);
		memcpy(out + 64 + 56, &rows[i], 56);
		bad_reply(&b, out, n);
	}
	at = (struct wire_connected *)out;
#define ROW(change_struct, change_wire)                                                            \
	do {                                                                                       \
		b = r;                                                                             \
		memcpy(out, bytes, n);                                                             \
		change_struct;                                                                     \
		change_wire;                                                                       \
		bad_reply(&b, out, n);                                                             \
	} while (0)
	ROW(b.inactivity_ms = 0, at->inactivity_ms = 0);
	ROW(b.host4 = (struct hf_addr){0}, at->host4 = b.host4); /* none at all */
	ROW(b.host4 = addr("fd00::1"), at->host4 = b.host4);
	ROW(b.host6 = addr("10.0.0.1"), at->host6 = b.host6);
	ROW(b.refusal = WIRE_REFUSAL_FULL,
	    (at->refusal = WIRE_REFUSAL_FULL, at->type = WIRE_REFUSED));
	ROW(b.refusal = WIRE_REFUSAL_COUNT,
	    (at->refusal = WIRE_REFUSAL_COUNT, at->type = WIRE_REFUSED));
	ROW(b.points[1] = addr("ff02::1"), memcpy(out + n - 16, &b.points[1], 16));
	ROW(b.points[1] = addr("0.0.0.0"), memcpy(out + n - 16, &b.points[1], 16));
#undef ROW
#define ROW(change_wire)                                                                           \
	do {                                                                                       \
		memcpy(out, bytes, n);                                                             \
		change_wire;                                                                       \
		bad_reply(NULL, out, n);                                                           \
	} while (0)
	ROW(at->refusal = WIRE_REFUSAL_FULL);
	ROW(at->type = WIRE_REFUSED);
	ROW(at->type = WIRE_CONNECT);
	ROW(at->type = 0);
	ROW(at->pad[0] = 1);
	ROW(at->pad[1] = 1);
	ROW(at->pad2 = htonl(1));
#undef ROW
	w.magic ^= htonl(3);
	memcpy(out, &w, sizeof(w));
	size_t need;
	assert_int_equal(consume_reply(out, n, &b, &need), -EPROTONOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(N4_request_crosses),
		cmocka_unit_test(N4_first_request_has_nothing_before),
		cmocka_unit_test(request_cut_at_each_length_asks_for_more),
		cmocka_unit_test(request_needs_its_room),
		cmocka_unit_test(N4_request_over_the_limits),
		cmocka_unit_test(request_rules_hold_on_both_sides),
		cmocka_unit_test(request_carries_only_known_tcp_flags),
		cmocka_unit_test(N4_reply_crosses),
		cmocka_unit_test(N4_every_refusal_crosses),
		cmocka_unit_test(reply_cut_at_each_length_asks_for_more),
		cmocka_unit_test(N4_reply_over_the_limits),
		cmocka_unit_test(reply_rules_hold_on_both_sides),
	};

	return cmocka_run_group_tests_name("connect", tests, NULL, NULL);
}
