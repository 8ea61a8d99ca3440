/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which connections are one bundle, and in which order. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/takeover/conn.h"

static struct conn *member(struct conns *t, uint64_t bundle, uint16_t number)
{
	struct conn *c = conns_add(t, CONN_NO_SLOT);

	c->record.bundle = bundle;
	c->record.member = number;
	assert_int_equal(conns_join(t, c), 0);
	return c;
}

static void T5_members_are_found_in_their_order(void **state)
{
	struct conns *t = conns_new(16, 100);
	struct conn *third = member(t, 7, 9), *first = member(t, 7, 0), *other = member(t, 8, 0),
		    *second = member(t, 7, 4), *alone = conns_add(t, 1), *list[HF_BUNDLE_MAX];

	(void)state;
	assert_int_equal(conns_members(t, 7, list), 3);
	assert_ptr_equal(list[0], first);
	assert_ptr_equal(list[1], second);
	assert_ptr_equal(list[2], third);
	assert_int_equal(conns_members(t, 8, list), 1);
	assert_ptr_equal(list[0], other);
	assert_int_equal(conns_members(t, 9, list), 0);
	assert_int_equal(conns_members(t, alone->record.bundle, list), 0);
	conns_free(t);
}

static void T5_a_bundle_is_over_with_its_last_member(void **state)
{
	struct conns *t = conns_new(16, 100);
	struct conn *a = member(t, 7, 0), *b = member(t, 7, 1), *list[HF_BUNDLE_MAX];

	(void)state;
	conns_remove(t, a);
	assert_int_equal(conns_members(t, 7, list), 1);
	assert_ptr_equal(list[0], b);
	conns_remove(t, b);
	assert_int_equal(conns_members(t, 7, list), 0);
	member(t, 7, 0);
	assert_int_equal(conns_members(t, 7, list), 1);
	conns_free(t);
}

static void T5_a_bundle_has_a_bound(void **state)
{
	struct conns *t = conns_new(16, 100);
	struct conn *late, *list[HF_BUNDLE_MAX];

	(void)state;
	for (unsigned int i = 0; i < HF_BUNDLE_MAX; i++)
		member(t, 7, i);
	late = conns_add(t, CONN_NO_SLOT);
	late->record.bundle = 7;
	late->record.member = HF_BUNDLE_MAX;
	assert_int_equal(conns_join(t, late), -ENOSPC);
	conns_remove(t, late);
	assert_int_equal(conns_members(t, 7, list), HF_BUNDLE_MAX);
	conns_remove(t, list[3]);
	member(t, 7, HF_BUNDLE_MAX);
	assert_int_equal(conns_members(t, 7, list), HF_BUNDLE_MAX);
	assert_int_equal(list[HF_BUNDLE_MAX - 1]->record.member, HF_BUNDLE_MAX);
	conns_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(T5_members_are_found_in_their_order),
		cmocka_unit_test(T5_a_bundle_is_over_with_its_last_member),
		cmocka_unit_test(T5_a_bundle_has_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
