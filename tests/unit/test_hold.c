/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "../../control/path/hold.h"

struct made {
	uint8_t b[4200];
	size_t len;
};

static struct made v4(uint16_t id, uint16_t offset, size_t payload)
{
	struct made m = {.len = 10 + 20 + payload};
	uint8_t *ip = m.b + 10;

	ip[0] = 0x45;
	ip[2] = (uint8_t)((20 + payload) >> 8);
	ip[3] = (uint8_t)(20 + payload);
	ip[4] = (uint8_t)(id >> 8);
	ip[5] = (uint8_t)id;
	ip[6] = (uint8_t)(0x20 | offset >> 11);
	ip[7] = (uint8_t)(offset >> 3);
	ip[9] = 17;
	ip[15] = 1;
	ip[19] = 2;
	return m;
}

/* `before`: extension headers of 8 bytes in front of the fragment header. */
static struct made v6(uint32_t id, uint16_t offset, int before)
{
	struct made m = {.len = 10 + 40 + (size_t)before * 8 + 8 + 16};
	uint8_t *ip = m.b + 10, *h = ip + 40;

	ip[0] = 0x60;
	ip[5] = (uint8_t)(before * 8 + 8 + 16);
	ip[6] = before ? 0 : 44;
	ip[23] = 1;
	ip[39] = 2;
	for (int i = 0; i < before; i++, h += 8)
		h[0] = i + 1 < before ? 60 : 44;
	h[0] = 17;
	h[2] = (uint8_t)(offset >> 8);
	h[3] = (uint8_t)(offset | 1);
	h[7] = (uint8_t)id;
	return m;
}

static enum hold_result add(struct hold *h, struct made m, uint64_t now_ms)
{
	return hold_add(h, m.b, m.len, now_ms);
}

struct sink {
	size_t n;
	int r;
	struct made last;
	uint8_t ids[HOLD_MAX];
};

static int offer(void *arg, const void *packet, size_t len)
{
	struct sink *s = arg;

	if (s->r)
		return s->r;
	memcpy(s->last.b, packet, len);
	s->last.len = len;
	s->ids[s->n % HOLD_MAX] = s->last.b[10 + 5];
	s->n++;
	return 0;
}

static void recognises_fragments(void **state)
{
	struct made m;

	(void)state;
	m = v4(1, 1480, 64);
	assert_true(hold_is_fragment(m.b, m.len));
	assert_false(hold_is_fragment(m.b, m.len - 1));
	m = v4(1, 0, 64);
	assert_false(hold_is_fragment(m.b, m.len)); /* the first */
	for (int before = 0; before < 4; before++) {
		m = v6(1, 1448, before);
		assert_true(hold_is_fragment(m.b, m.len));
		for (size_t len = 0; len < m.len; len++)
			assert_false(hold_is_fragment(m.b, len));
		m = v6(1, 0, before);
		assert_false(hold_is_fragment(m.b, m.len));
	}
	memset(&m, 0, sizeof(m));
	assert_false(hold_is_fragment(m.b, 64));
	m.b[10] = 0x60;
	assert_false(hold_is_fragment(m.b, 64));
}

static void offered_every_5_ms_until_placed(void **state)
{
	struct hold *h = hold_new();
	struct sink s = {0};
	struct made m = v4(7, 1480, 100);

	(void)state;
	assert_int_equal(hold_next_ms(h, 1000), -1);
	assert_int_equal(add(h, m, 1000), HOLD_HELD);
	assert_int_equal(hold_next_ms(h, 1000), 5);
	assert_int_equal(hold_due(h, 1004, offer, &s), 0);
	assert_int_equal(hold_next_ms(h, 1004), 1);
	assert_int_equal(hold_due(h, 1005, offer, &s), 1);
	assert_int_equal(s.last.len, m.len);
	assert_memory_equal(s.last.b, m.b, m.len);
	/* it came back */
	assert_int_equal(add(h, m, 1006), HOLD_HELD);
	assert_int_equal(hold_next_ms(h, 1006), 5);
	assert_int_equal(hold_due(h, 1011, offer, &s), 1);
	/* it did not */
	for (uint64_t now = 1012; now < 4000; now++)
		assert_int_equal(hold_due(h, now, offer, &s), 0);
	assert_int_equal(hold_next_ms(h, 4000), -1);
	assert_int_equal(hold_counters(h)->held, 1);
	assert_int_equal(hold_counters(h)->offered, 2);
	assert_int_equal(hold_counters(h)->placed, 1);
	assert_int_equal(hold_counters(h)->expired, 0);
	hold_free(h);
}

static void expires_a_second_after_it_was_first_seen(void **state)
{
	struct hold *h = hold_new();
	struct sink s = {0};
	struct made m = v6(7, 1448, 0);
	uint64_t now = 50;
	enum hold_result r = add(h, m, now);
	size_t turns = 0;

	(void)state;
	while (r == HOLD_HELD && turns++ < 1000) {
		size_t before = s.n;

		now += (uint64_t)hold_next_ms(h, now);
		hold_due(h, now, offer, &s);
		if (s.n == before) /* dropped at its time, while it was held */
			break;
		r = add(h, m, now);
	}
	assert_int_equal(now, 50 + HOLD_LIFE_MS);
	assert_int_equal(s.n, HOLD_LIFE_MS / HOLD_RETRY_MS - 1);
	assert_int_equal(hold_counters(h)->expired, 1);
	assert_int_equal(hold_next_ms(h, now), -1);

	/* one that is on its way when its time is over */
	assert_int_equal(add(h, m, 10000), HOLD_HELD);
	assert_int_equal(hold_due(h, 10995, offer, &s), 1);
	assert_int_equal(add(h, m, 11000), HOLD_EXPIRED);
	assert_int_equal(hold_counters(h)->expired, 2);
	assert_int_equal(hold_next_ms(h, 11000), -1);
	/* and the same identification later is another packet */
	assert_int_equal(add(h, m, 12000), HOLD_HELD);
	hold_free(h);
}

static void refused_offers_are_repeated(void **state)
{
	struct hold *h = hold_new();
	struct sink s = {.r = -EAGAIN};

	(void)state;
	add(h, v4(1, 8, 8), 0);
	assert_int_equal(hold_due(h, 5, offer, &s), 0);
	assert_int_equal(hold_next_ms(h, 5), 5);
	s.r = 0;
	assert_int_equal(hold_due(h, 10, offer, &s), 1);
	hold_free(h);
}

static void keys_differ(void **state)
{
	struct hold *h = hold_new();
	struct sink s = {0};
	struct made m = v4(1, 8, 8);

	(void)state;
	assert_int_equal(add(h, m, 0), HOLD_HELD);
	assert_int_equal(add(h, m, 1), HOLD_HELD); /* a duplicate: held once */
	assert_int_equal(add(h, v4(2, 8, 8), 1), HOLD_HELD);
	assert_int_equal(add(h, v4(3, 16, 8), 1), HOLD_HELD);
	m.b[10 + 5] = 4;
	m.b[10 + 9] = 6;
	assert_int_equal(add(h, m, 1), HOLD_HELD);
	m.b[10 + 5] = 5;
	m.b[10 + 12] = 9;
	assert_int_equal(add(h, m, 1), HOLD_HELD);
	assert_int_equal(hold_counters(h)->held, 5);
	assert_int_equal(hold_due(h, 6, offer, &s), 5);
	for (uint8_t i = 0; i < 5; i++) /* oldest first */
		assert_int_equal(s.ids[i], i + 1);
	hold_free(h);
}

static void bounded(void **state)
{
	struct hold *h = hold_new();
	struct sink s = {0};
	uint16_t n = 0;

	(void)state;
	for (; n < HOLD_MAX; n++)
		assert_int_equal(add(h, v4(n, 8, 8), 0), HOLD_HELD);
	assert_int_equal(add(h, v4(n, 8, 8), 1), HOLD_FULL);
	assert_int_equal(add(h, v4(0, 8, 8), 1), HOLD_HELD);
	assert_int_equal(hold_due(h, 5, offer, &s), HOLD_MAX);
	/* what is only remembered makes room */
	assert_int_equal(add(h, v4(n, 8, 8), 6), HOLD_HELD);
	assert_int_equal(hold_counters(h)->placed, 1);
	assert_int_equal(hold_counters(h)->full, 1);
	hold_free(h);

	h = hold_new();
	for (n = 0; add(h, v4(n, 8, 4160), 0) == HOLD_HELD; n++)
		assert_true(n < HOLD_MAX);
	assert_int_equal(n, HOLD_BYTES_MAX / (4160 + 30));
	hold_due(h, 5, offer, &s);
	assert_int_equal(add(h, v4(n, 8, 4160), 6), HOLD_HELD);
	hold_free(h);
	hold_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recognises_fragments),
		cmocka_unit_test(offered_every_5_ms_until_placed),
		cmocka_unit_test(expires_a_second_after_it_was_first_seen),
		cmocka_unit_test(refused_offers_are_repeated),
		cmocka_unit_test(keys_differ),
		cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests_name("hold", tests, NULL, NULL);
}
