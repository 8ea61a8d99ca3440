/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include <holdfast/layout.h>

#include "../../control/path/park.h"

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

struct made {
	uint8_t b[256];
	size_t len;
};

static void be16(uint8_t *p, unsigned int x)
{
	p[0] = (uint8_t)(x >> 8);
	p[1] = (uint8_t)x;
}

static void be32(uint8_t *p, uint32_t x)
{
	be16(p, x >> 16);
	be16(p + 2, x & 0xffff);
}

/* `mark` is written where it makes no difference to the park: TCP's window, or UDP's payload. */
static struct made tcp(int v6, uint16_t sport, uint32_t seq, uint8_t flags, size_t payload,
		       uint8_t mark)
{
	struct made m = {.len = 10 + (v6 ? 40u : 20u) + 20 + payload};
	uint8_t *ip = m.b + 10, *t = ip + (v6 ? 40 : 20);

	if (v6) {
		ip[0] = 0x60;
		be16(ip + 4, (unsigned int)(20 + payload));
		ip[6] = 6;
		ip[8 + 15] = 1;
		ip[24 + 15] = 2;
	} else {
		ip[0] = 0x45;
		be16(ip + 2, (unsigned int)(40 + payload));
		be16(ip + 4, mark);
		ip[9] = 6;
		be32(ip + 12, 0x0a000001);
		be32(ip + 16, 0x0a000002);
	}
	be16(t, sport);
	be16(t + 2, 80);
	be32(t + 4, seq);
	t[12] = 0x50;
	t[13] = flags;
	t[15] = mark;
	return m;
}

static struct made udp(uint32_t number)
{
	struct made m = {.len = 10 + 20 + 8 + 4};
	uint8_t *ip = m.b + 10;

	ip[0] = 0x45;
	be16(ip + 2, 32);
	ip[9] = 17;
	be32(ip + 28, number);
	return m;
}

static uint32_t number_of(const uint8_t *packet)
{
	uint32_t n;

	memcpy(&n, packet + 10 + 28, 4);
	return ntohl(n);
}

static enum park_result put(struct park *p, uint32_t assoc, struct made m)
{
	return park_add(p, assoc, m.b, m.len);
}

/* Takes the oldest and compares it. */
static void take(struct park *p, uint32_t assoc, struct made want)
{
	size_t len;
	const void *got = park_peek(p, assoc, &len);

	assert_non_null(got);
	assert_int_equal(len, want.len);
	assert_memory_equal(got, want.b, len);
	park_pop(p, assoc);
}

static void n5_released_in_order(void **state)
{
	struct park *p = park_new(1 << 20, 1 << 20);
	size_t len;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		for (uint32_t assoc = 0; assoc < 3; assoc++)
			assert_int_equal(put(p, assoc, udp(i)), PARK_HELD);
	assert_int_equal(park_packets(p, 1), 1000);
	assert_int_equal(park_total_bytes(p), 3 * park_bytes(p, 1));
	for (uint32_t i = 0; i < 1000; i++) {
		const void *got = park_peek(p, 1, &len);

		assert_non_null(got);
		assert_int_equal(number_of(got), i);
		park_pop(p, 1);
	}
	len = 77;
	assert_null(park_peek(p, 1, &len));
	assert_int_equal(len, 77);
	park_pop(p, 1);
	assert_int_equal(park_bytes(p, 1), 0);
	assert_int_equal(park_drop(p, 0), 1000);
	assert_int_equal(park_drop(p, 0), 0);
	assert_int_equal(park_drop(p, 2), 1000);
	assert_int_equal(park_total_bytes(p), 0);
	assert_int_equal(park_counters(p)->held, 3000);
	assert_int_equal(park_counters(p)->released, 1000);
	assert_int_equal(park_counters(p)->released_bytes, 1000 * udp(0).len);
	assert_int_equal(park_counters(p)->dropped, 2000);
	park_free(p);
}

static void n5_bounded_per_association_and_in_all(void **state)
{
	struct park *p = park_new(64 << 10, 100 << 10);
	size_t first = 0, second = 0;

	(void)state;
	while (put(p, 1, udp((uint32_t)first)) == PARK_HELD)
		first++;
	assert_true(park_bytes(p, 1) <= 64 << 10);
	assert_true(park_bytes(p, 1) > (64 << 10) - 512);
	assert_int_equal(park_packets(p, 1), first);
	while (put(p, 2, udp((uint32_t)second)) == PARK_HELD)
		second++;
	assert_true(second > 0 && second < first);
	assert_true(park_total_bytes(p) <= 100 << 10);
	assert_int_equal(park_counters(p)->full, 2);
	assert_int_equal(park_counters(p)->held, first + second);
	/* what is held is never given up for a newcomer, and room that is made is used */
	take(p, 1, udp(0));
	assert_int_equal(put(p, 2, udp(7)), PARK_HELD);
	assert_int_equal(put(p, 1, udp(7)), PARK_FULL);
	park_free(p);

	p = park_new(0, 0);
	assert_int_equal(put(p, 0, udp(0)), PARK_FULL);
	assert_int_equal(park_total_bytes(p), 0);
	park_free(p);
}

static void retransmission_keeps_its_place(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		struct park *p = park_new(1 << 20, 1 << 20);

		assert_int_equal(put(p, 5, tcp(v6, 1000, 1, ACK, 10, 1)), PARK_HELD);
		assert_int_equal(put(p, 5, tcp(v6, 2000, 1, ACK, 10, 1)), PARK_HELD);
		assert_int_equal(put(p, 5, tcp(v6, 1000, 1, ACK, 10, 2)), PARK_REPLACED);
		assert_int_equal(put(p, 5, tcp(v6, 1000, 1, ACK, 10, 3)), PARK_REPLACED);
		assert_int_equal(park_packets(p, 5), 2);
		take(p, 5, tcp(v6, 1000, 1, ACK, 10, 3)); /* the newest, where the first was */
		take(p, 5, tcp(v6, 2000, 1, ACK, 10, 1));
		assert_int_equal(park_counters(p)->replaced, 2);
		assert_int_equal(park_total_bytes(p), 0);
		park_free(p);
	}
}

/* A newer timestamp in front of older ones would make the receiver drop those (PAWS). */
static void older_copy_stays_before_younger_segments(void **state)
{
	struct park *p = park_new(1 << 20, 1 << 20);

	(void)state;
	put(p, 5, tcp(0, 1000, 1, ACK, 10, 1));
	put(p, 5, tcp(0, 1000, 11, ACK, 10, 1));
	put(p, 5, tcp(0, 2000, 1, ACK, 10, 1));
	assert_int_equal(put(p, 5, tcp(0, 1000, 1, ACK, 10, 2)), PARK_REPLACED);
	assert_int_equal(put(p, 5, tcp(0, 1000, 11, ACK, 10, 2)), PARK_REPLACED);
	take(p, 5, tcp(0, 1000, 1, ACK, 10, 1));
	take(p, 5, tcp(0, 1000, 11, ACK, 10, 2));
	take(p, 5, tcp(0, 2000, 1, ACK, 10, 1));
	park_free(p);
}

static void only_copies_are_merged(void **state)
{
	struct park *p = park_new(1 << 20, 1 << 20);
	struct made gso, fragment, cut;

	(void)state;
	put(p, 5, tcp(0, 1000, 1, ACK, 10, 1));
	assert_int_equal(put(p, 6, tcp(0, 1000, 1, ACK, 10, 1)), PARK_HELD); /* association */
	assert_int_equal(put(p, 5, tcp(0, 1001, 1, ACK, 10, 1)), PARK_HELD); /* port */
	assert_int_equal(put(p, 5, tcp(0, 1000, 2, ACK, 10, 1)), PARK_HELD); /* sequence number */
	assert_int_equal(put(p, 5, tcp(0, 1000, 1, ACK, 11, 1)), PARK_HELD); /* length */
	assert_int_equal(put(p, 5, tcp(0, 1000, 1, ACK | FIN, 10, 1)), PARK_HELD);
	gso = tcp(0, 1000, 1, ACK, 10, 1);
	gso.b[1] = 1; /* VIRTIO_NET_HDR_GSO_TCPV4 */
	gso.b[4] = 5; /* gso_size */
	assert_int_equal(put(p, 5, gso), PARK_HELD);
	assert_int_equal(put(p, 5, gso), PARK_REPLACED);
	gso.b[4] = 6;
	assert_int_equal(put(p, 5, gso), PARK_HELD);

	fragment = tcp(0, 1000, 1, ACK, 10, 1);
	fragment.b[10 + 6] = 0x20; /* more fragments */
	assert_int_equal(put(p, 5, fragment), PARK_HELD);
	assert_int_equal(put(p, 5, fragment), PARK_HELD);
	cut = tcp(0, 1000, 1, ACK, 10, 1);
	cut.len--;
	assert_int_equal(put(p, 5, cut), PARK_HELD);
	assert_int_equal(put(p, 5, cut), PARK_HELD);

	/* their number means something, or they mean something else */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(put(p, 5, tcp(0, 3000, 1, ACK, 0, 1)), PARK_HELD);
		assert_int_equal(put(p, 5, tcp(0, 3000, 1, RST, 0, 1)), PARK_HELD);
		assert_int_equal(put(p, 5, udp(1)), PARK_HELD);
	}
	assert_int_equal(put(p, 5, tcp(0, 4000, 1, SYN, 0, 1)), PARK_HELD);
	assert_int_equal(put(p, 5, tcp(0, 4000, 1, SYN, 0, 2)), PARK_REPLACED);
	assert_int_equal(put(p, 5, tcp(0, 5000, 1, FIN | ACK, 0, 1)), PARK_HELD);
	assert_int_equal(put(p, 5, tcp(0, 5000, 1, FIN | ACK, 0, 2)), PARK_REPLACED);
	park_free(p);
}

/* Released and parked again: the index must not remember. */
static void index_forgets_what_left(void **state)
{
	struct park *p = park_new(1 << 20, 1 << 20);

	(void)state;
	put(p, 5, tcp(0, 1000, 1, ACK, 10, 1));
	park_pop(p, 5);
	assert_int_equal(put(p, 5, tcp(0, 1000, 1, ACK, 10, 2)), PARK_HELD);
	park_drop(p, 5);
	assert_int_equal(put(p, 5, tcp(0, 1000, 1, ACK, 10, 3)), PARK_HELD);
	take(p, 5, tcp(0, 1000, 1, ACK, 10, 3));
	park_free(p);
}

/* At the bound a retransmission that grew (SACK options) costs nothing: the older copy stays. */
static void replacement_respects_the_bound(void **state)
{
	struct made a = tcp(0, 1000, 1, ACK, 100, 1), grown = tcp(0, 1000, 1, ACK, 132, 2);
	struct park *p;
	size_t one;

	(void)state;
	grown.b[10 + 20 + 12] = 0xd0; /* 32 bytes of options: payload is the same */
	p = park_new(1 << 20, 1 << 20);
	put(p, 5, a);
	one = park_bytes(p, 5);
	assert_int_equal(put(p, 5, grown), PARK_REPLACED);
	assert_true(park_bytes(p, 5) > one);
	take(p, 5, grown);
	assert_int_equal(park_total_bytes(p), 0);
	park_free(p);

	p = park_new(one, one);
	assert_int_equal(put(p, 5, a), PARK_HELD);
	assert_int_equal(put(p, 5, grown), PARK_REPLACED);
	assert_int_equal(park_bytes(p, 5), one);
	take(p, 5, a);
	park_free(p);
}

static void many_associations(void **state)
{
	struct park *p = park_new(64 << 10, 64 << 20);

	(void)state;
	assert_int_equal(park_total_bytes(p), 0);
	for (uint32_t n = 0; n < 4; n++)
		for (uint32_t assoc = 0; assoc < HF_ASSOCS_MAX; assoc++)
			assert_int_equal(put(p, assoc, tcp(0, 1000, n * 10, ACK, 10, 1)),
					 PARK_HELD);
	for (uint32_t assoc = 0; assoc < HF_ASSOCS_MAX; assoc++)
		assert_int_equal(put(p, assoc, tcp(0, 1000, 30, ACK, 10, 2)), PARK_REPLACED);
	for (uint32_t assoc = 0; assoc < HF_ASSOCS_MAX; assoc += 2)
		assert_int_equal(park_drop(p, assoc), 4);
	for (uint32_t assoc = 1; assoc < HF_ASSOCS_MAX; assoc += 2)
		for (uint32_t n = 0; n < 4; n++)
			take(p, assoc, tcp(0, 1000, n * 10, ACK, 10, n == 3 ? 2 : 1));
	assert_int_equal(park_total_bytes(p), 0);
	park_free(p);
}

static void malformed(void **state)
{
	static uint8_t big[PARK_PACKET_MAX + 1];
	struct park *p = park_new(1 << 20, 1 << 20);
	struct made m = udp(1);

	(void)state;
	assert_int_equal(park_add(p, HF_ASSOCS_MAX, m.b, m.len), PARK_MALFORMED);
	assert_int_equal(park_add(p, UINT32_MAX, m.b, m.len), PARK_MALFORMED);
	assert_int_equal(park_add(p, 1, m.b, PARK_PACKET_MIN - 1), PARK_MALFORMED);
	assert_int_equal(park_add(p, 1, m.b, 0), PARK_MALFORMED);
	assert_int_equal(park_add(p, 1, big, sizeof(big)), PARK_MALFORMED);
	assert_int_equal(park_add(p, 1, big, sizeof(big) - 1), PARK_HELD);
	assert_int_equal(park_counters(p)->malformed, 5);
	assert_int_equal(park_packets(p, UINT32_MAX), 0);
	assert_int_equal(park_drop(p, UINT32_MAX), 0);
	/* every length of a segment: nothing is read behind it (ASan) */
	for (int v6 = 0; v6 < 2; v6++) {
		m = tcp(v6, 1, 1, ACK, 10, 1);
		for (size_t len = PARK_PACKET_MIN; len <= m.len; len++) {
			uint8_t exact[256];
			uint8_t *at = exact + sizeof(exact) - len;

			memcpy(at, m.b, len);
			assert_int_equal(park_add(p, 1, at, len), PARK_HELD);
		}
	}
	park_free(p);
	park_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(n5_released_in_order),
		cmocka_unit_test(n5_bounded_per_association_and_in_all),
		cmocka_unit_test(retransmission_keeps_its_place),
		cmocka_unit_test(older_copy_stays_before_younger_segments),
		cmocka_unit_test(only_copies_are_merged),
		cmocka_unit_test(index_forgets_what_left),
		cmocka_unit_test(replacement_respects_the_bound),
		cmocka_unit_test(many_associations),
		cmocka_unit_test(malformed),
	};

	return cmocka_run_group_tests_name("park", tests, NULL, NULL);
}
