/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records as bytes and back (T1, T4), and what must not get in. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/takeover/record.h"

static struct record full(void)
{
	struct record r = {
		.id = 0x0102030405060708u,
		.node = "alpha",
		.service = "files",
		.epoch = 9,
		.time_ms = 1700000000123u,
		.proto = IPPROTO_TCP,
		.flags = RECORD_CHECKPOINT | RECORD_PEER_ENDED,
		.ttl = 3,
		.bundle = 77,
		.member = 2,
		.facts = {.key = {.peer = {.b = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 1}},
				  .local = {.b = {[0] = 0x20, [15] = 1}},
				  .peer_port = htons(40000),
				  .local_port = htons(80)},
			  .irs = 0xfffffff0u,
			  .iss = 5,
			  .peer_mss = 1460,
			  .our_mss = 1440,
			  .peer_wscale = 7,
			  .our_wscale = 14,
			  .options = GUARD_TS | GUARD_SACK | GUARD_WSCALE,
			  .tsval = 10,
			  .peer_tsval = 11},
		.in_commit = 1ull << 40,
		.in_acked = 2,
		.in_edge = 3,
		.out_max = 4,
		.out_acked = 5,
		.tsval = 6,
		.peer_tsval = 7,
		.peer_window = 8,
	};

	assert_int_equal(record_set_protocol(&r, 80, "movie.mp4", 9, 123456789012u, "xyz", 3), 0);
	assert_int_equal(record_set_protocol(&r, 81, NULL, 0, 0, NULL, 0), 0);
	return r;
}

static void same(const struct record *a, const struct record *b)
{
	struct record x = *a, y = *b;

	assert_int_equal(a->protocol_count, b->protocol_count);
	for (uint32_t i = 0; i < a->protocol_count; i++) {
		const struct record_protocol *p = &a->protocols[i], *q = &b->protocols[i];

		assert_int_equal(p->protocol, q->protocol);
		assert_int_equal(p->object_start, q->object_start);
		assert_int_equal(p->object_len, q->object_len);
		assert_int_equal(p->data_len, q->data_len);
		if (p->object_len)
			assert_string_equal(p->object, q->object);
		if (p->data_len)
			assert_memory_equal(p->data, q->data, p->data_len);
	}
	x.protocols = y.protocols = NULL;
	assert_memory_equal(&x, &y, sizeof(x));
}

static uint8_t bytes[RECORD_BYTES_MAX + 1];

static void t1_there_and_back(void **state)
{
	struct record r = full(), got, copy;
	ssize_t len = record_create(&r, bytes, sizeof(bytes));

	(void)state;
	assert_int_equal(len, record_size(&r));
	assert_int_equal(record_consume(bytes, (size_t)len, &got), 0);
	same(&r, &got);
	assert_int_equal(record_copy(&got, &copy), 0);
	record_clear(&got);
	same(&r, &copy);
	record_clear(&copy);
	assert_int_equal(record_create(&r, bytes, (size_t)len - 1), -ENOBUFS);
	record_clear(&r);
	record_clear(NULL);
}

static void t1_the_bytes_are_what_they_were(void **state)
{
	/* a change here is a change of the format: RECORD_VERSION */
	static const uint8_t head[] = {'H', 'F', 'R', 'C', 0, 1, 0, 232, 0, 0, 1, 20, 0, 0, 0, 2,
				       1,   2,   3,   4,   5, 6, 7, 8,   0, 0, 0, 9,  6, 6, 3, 0};
	struct record r = full();

	(void)state;
	assert_int_equal(record_create(&r, bytes, sizeof(bytes)), 232 + 16 + 9 + 3 + 16);
	assert_memory_equal(bytes, head, sizeof(head));
	assert_memory_equal(bytes + 56, "alpha\0", 6);
	assert_memory_equal(bytes + 232 + 16, "movie.mp4xyz", 12);
	record_clear(&r);
}

static void t4_the_longest(void **state)
{
	static char object[HF_OBJECT_MAX + 1];
	static uint8_t data[HF_DATA_MAX + 1];
	struct record r = {.id = 1, .node = "n", .proto = IPPROTO_TCP}, got;
	ssize_t len;

	(void)state;
	memset(object, 'o', sizeof(object));
	for (uint32_t p = 1; p <= HF_PROTOCOLS_MAX; p++)
		assert_int_equal(
			record_set_protocol(&r, p, object, HF_OBJECT_MAX, p, data, HF_DATA_MAX), 0);
	assert_int_equal(record_set_protocol(&r, 99, NULL, 0, 0, NULL, 0), -ENOSPC);
	assert_int_equal(record_set_protocol(&r, 1, object, HF_OBJECT_MAX + 1, 0, NULL, 0),
			 -ENAMETOOLONG);
	assert_int_equal(record_set_protocol(&r, 1, NULL, 0, 0, data, HF_DATA_MAX + 1), -EMSGSIZE);
	len = record_create(&r, bytes, sizeof(bytes));
	assert_true(len > 0 && (size_t)len <= RECORD_BYTES_MAX);
	assert_int_equal(record_consume(bytes, (size_t)len, &got), 0);
	same(&r, &got);
	/* in place of its former state */
	assert_int_equal(record_set_protocol(&r, 3, "x", 1, 9, NULL, 0), 0);
	assert_int_equal(r.protocol_count, HF_PROTOCOLS_MAX);
	assert_string_equal(r.protocols[2].object, "x");
	assert_null(r.protocols[2].data);
	record_clear(&r);
	record_clear(&got);
}

static void udp_has_addresses_only(void **state)
{
	struct record r = {.id = 1, .node = "n", .proto = IPPROTO_UDP}, got;
	ssize_t len;

	(void)state;
	r.facts.key.local_port = htons(5004);
	len = record_create(&r, bytes, sizeof(bytes));
	assert_true(len > 0);
	assert_int_equal(record_consume(bytes, (size_t)len, &got), 0);
	same(&r, &got);
	record_clear(&got);
	r.facts.iss = 1;
	assert_int_equal(record_size(&r), 0);
}

static void refused(struct record *r)
{
	assert_int_equal(record_size(r), 0);
	assert_int_equal(record_create(r, bytes, sizeof(bytes)), -EINVAL);
}

static void what_breaks_a_rule_is_not_written(void **state)
{
	struct record r = full(), bad;

	(void)state;
#define BAD(change)                                                                                \
	do {                                                                                       \
		bad = r;                                                                           \
		bad.change;                                                                        \
		refused(&bad);                                                                     \
	} while (0)
	BAD(proto = 0);
	BAD(flags = 0x80);
	BAD(node[0] = 0);
	BAD(member = HF_BUNDLE_MAX);
	BAD(bundle = 0); /* and a member of it */
	BAD(facts.options = 0x80);
	BAD(facts.our_wscale = 15);
	BAD(facts.pad = 1);
	BAD(protocol_count = HF_PROTOCOLS_MAX + 1);
	bad = r;
	memset(bad.node, 'n', HF_NAME_LEN); /* no end */
	refused(&bad);
	record_clear(&r);
}

/* Every byte on its own changed to every value: what is still taken reads as that, byte for byte.
 */
static void a_record_has_one_spelling(void **state)
{
	static uint8_t again[RECORD_BYTES_MAX];
	struct record r = full(), got;
	ssize_t len = record_create(&r, bytes, sizeof(bytes));
	size_t taken = 0;

	(void)state;
	for (ssize_t i = 0; i < len; i++) {
		uint8_t was = bytes[i];

		for (int v = 0; v < 256; v++) {
			bytes[i] = (uint8_t)v;
			if (record_consume(bytes, (size_t)len, &got) < 0)
				continue;
			taken++;
			assert_int_equal(record_create(&got, again, sizeof(again)), len);
			assert_memory_equal(again, bytes, (size_t)len);
			record_clear(&got);
		}
		bytes[i] = was;
	}
	assert_true(taken > 1000);
	record_clear(&r);
}

static void cut_short_or_with_more_behind(void **state)
{
	struct record r = full(), got = {.id = 4711};
	ssize_t len = record_create(&r, bytes, sizeof(bytes));

	(void)state;
	for (size_t n = 0; n < (size_t)len; n++) {
		uint8_t *exact = malloc(n ? n : 1);

		memcpy(exact, bytes, n);
		assert_int_equal(record_consume(exact, n, &got), -EBADMSG);
		free(exact);
	}
	assert_int_equal(record_consume(bytes, (size_t)len + 1, &got), -EBADMSG);
	bytes[5] = RECORD_VERSION + 1;
	assert_int_equal(record_consume(bytes, (size_t)len, &got), -EPROTONOSUPPORT);
	assert_int_equal(got.id, 4711); /* untouched */
	record_clear(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t1_there_and_back),
		cmocka_unit_test(t1_the_bytes_are_what_they_were),
		cmocka_unit_test(t4_the_longest),
		cmocka_unit_test(udp_has_addresses_only),
		cmocka_unit_test(what_breaks_a_rule_is_not_written),
		cmocka_unit_test(a_record_has_one_spelling),
		cmocka_unit_test(cut_short_or_with_more_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
