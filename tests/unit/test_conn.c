/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tables of a node: connections, commits under way, embryos. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/takeover/commit.h"
#include "control/takeover/conn.h"
#include "control/takeover/embryo.h"

static void numbers_are_used_again_and_told_apart(void **state)
{
	struct conns *t = conns_new(16, 100);
	struct conn *a = conns_add(t, 3), *b = conns_add(t, CONN_NO_SLOT), *c;
	uint32_t number = a->number, serial = a->serial;

	(void)state;
	assert_ptr_equal(conns_by_slot(t, 3), a);
	assert_null(conns_by_slot(t, 4));
	assert_null(conns_by_slot(t, CONN_NO_SLOT));
	assert_ptr_equal(conns_by_number(t, b->number), b);
	assert_null(conns_by_number(t, 0));
	assert_null(conns_by_number(t, 99));
	conns_remove(t, a);
	assert_null(conns_by_slot(t, 3));
	assert_null(conns_by_number(t, number));
	c = conns_add(t, 5);
	assert_int_equal(c->number, number);
	assert_int_not_equal(c->serial, serial);
	conns_drop_slot(t, c);
	assert_null(conns_by_slot(t, 5));
	assert_int_equal(conns_count(t), 2);
	conns_free(t);
}

static void the_limit_holds_and_all_are_found(void **state)
{
	struct conns *t = conns_new(1000, 700);
	uint32_t cursor = 0, seen = 0;
	struct conn *c;

	(void)state;
	for (uint32_t i = 0; i < 700; i++)
		assert_non_null(conns_add(t, i));
	assert_null(conns_add(t, 700));
	/* every other one goes while they are walked */
	while ((c = conns_next(t, &cursor)))
		if (seen++ % 2)
			conns_remove(t, c);
	assert_int_equal(seen, 700);
	assert_int_equal(conns_count(t), 350);
	conns_free(t);
}

static void what_was_not_handed_over_is_closed(void **state)
{
	struct conns *t = conns_new(4, 4);
	int fds[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	conns_add(t, 0)->fd = fds[1];
	conns_free(t);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
}

static void commits_come_in_order_up_to_a_ticket(void **state)
{
	struct commits *q = commits_new();
	struct commit c;

	(void)state;
	assert_false(commits_pop(q, ~0ull, &c));
	for (uint64_t i = 1; i <= 5000; i++) { /* beyond the first room */
		c = (struct commit){.ticket = i, .conn = i};
		assert_true(commits_push(q, &c));
		if (i % 3 == 0) { /* so that the ring turns */
			assert_true(commits_pop(q, ~0ull, &c));
			assert_int_equal(c.ticket, i / 3);
		}
	}
	assert_int_equal(commits_count(q), 5000 - 1666);
	assert_false(commits_pop(q, 1666, &c));
	assert_true(commits_pop(q, 1667, &c));
	assert_int_equal(c.conn, 1667);
	assert_false(commits_pop(q, 1667, &c));
	commits_clear(q);
	assert_int_equal(commits_count(q), 0);
	assert_false(commits_pop(q, ~0ull, &c));
	commits_free(q);
}

static struct guard_facts facts_of(uint32_t i)
{
	return (struct guard_facts){.key = {.peer_port = i & 0xffff, .local_port = 80},
				    .irs = i * 7919};
}

static void T1_embryos_are_bounded_and_the_oldest_goes(void **state)
{
	struct embryos *e = embryos_new();
	struct guard_facts f;
	uint64_t forgotten;

	(void)state;
	for (uint32_t i = 1; i <= EMBRYOS_MAX + 10; i++) {
		f = facts_of(i);
		embryos_add(e, &f, i, 1000, &forgotten);
		assert_int_equal(forgotten, i > EMBRYOS_MAX ? i - EMBRYOS_MAX : 0);
	}
	f = facts_of(10);
	assert_int_equal(embryos_take(e, &f), 0);
	f = facts_of(11);
	assert_int_equal(embryos_take(e, &f), 11);
	assert_int_equal(embryos_take(e, &f), 0);
	f = facts_of(EMBRYOS_MAX + 10);
	f.irs++; /* the same ends, another handshake */
	assert_int_equal(embryos_take(e, &f), 0);
	embryos_free(e);
}

static void T1_embryos_expire(void **state)
{
	struct embryos *e = embryos_new();
	struct guard_facts f = facts_of(1), g = facts_of(2), h = facts_of(3);
	uint64_t forgotten;

	(void)state;
	embryos_add(e, &f, 1, 1000, &forgotten);
	embryos_add(e, &g, 2, 1001, &forgotten);
	embryos_add(e, &h, 3, 1002, &forgotten);
	assert_int_equal(embryos_take(e, &g), 2);
	assert_int_equal(embryos_expire(e, 1000 + EMBRYO_LIFE_MS - 1), 0);
	assert_int_equal(embryos_expire(e, 1000 + EMBRYO_LIFE_MS), 1);
	assert_int_equal(embryos_expire(e, 1000 + EMBRYO_LIFE_MS), 0);
	assert_int_equal(embryos_expire(e, 1002 + EMBRYO_LIFE_MS), 3);
	assert_int_equal(embryos_expire(e, ~0ull), 0);
	embryos_clear(e);
	assert_int_equal(embryos_take(e, &f), 0);
	embryos_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_used_again_and_told_apart),
		cmocka_unit_test(the_limit_holds_and_all_are_found),
		cmocka_unit_test(what_was_not_handed_over_is_closed),
		cmocka_unit_test(commits_come_in_order_up_to_a_ticket),
		cmocka_unit_test(T1_embryos_are_bounded_and_the_oldest_goes),
		cmocka_unit_test(T1_embryos_expire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
