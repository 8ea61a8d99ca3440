/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a store keeps in memory: the shelf, and the queue of what is not yet held elsewhere. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/takeover/queue.h"
#include "control/takeover/shelf.h"

static struct parcel *parcel(uint64_t id, uint64_t commit)
{
	struct record r = {.id = id, .node = "n", .proto = IPPROTO_TCP, .in_commit = commit};
	struct parcel *p;

	assert_int_equal(parcel_from_record(&r, &p), 0);
	return p;
}

static void put(struct shelf *s, uint64_t id, uint64_t commit)
{
	struct parcel *p = parcel(id, commit);

	assert_int_equal(shelf_put(s, p), 0);
	parcel_unref(p);
}

static void drop(struct shelf *s, uint64_t id)
{
	struct parcel *p;

	assert_int_equal(parcel_deletion(id, &p), 0);
	assert_int_equal(shelf_put(s, p), 0);
	parcel_unref(p);
}

static bool add_up(void *arg, const struct record *r)
{
	uint64_t *sum = arg;

	*sum += r->in_commit;
	return *sum < 1000000000;
}

static void shelf_keeps_the_newest(void **state)
{
	struct shelf *s = shelf_new();
	uint64_t sum = 0;

	(void)state;
	for (uint64_t id = 1; id <= 1000; id++)
		put(s, id, 1);
	for (uint64_t id = 1; id <= 1000; id += 2)
		put(s, id, 3);
	drop(s, 2);
	drop(s, 2);
	drop(s, 5000);
	assert_int_equal(shelf_count(s), 999);
	assert_int_equal(shelf_bytes(s), 999 * shelf_get(s, 1)->len);
	assert_null(shelf_get(s, 2));
	shelf_each(s, add_up, &sum);
	assert_int_equal(sum, 500 * 3 + 499);
	sum = 999999999; /* stops at the first */
	shelf_each(s, add_up, &sum);
	assert_int_equal(sum, 1000000002);
	shelf_clear(s);
	assert_int_equal(shelf_count(s) + shelf_bytes(s), 0);
	shelf_free(s);
	shelf_free(NULL);
}

static void a_walk_bears_changes(void **state)
{
	struct shelf *s = shelf_new();
	struct shelf_walk *w, *second;
	struct parcel *p;
	uint64_t met = 0;

	(void)state;
	for (uint64_t id = 1; id <= 10; id++)
		put(s, id, id);
	w = shelf_walk_new(s);
	second = shelf_walk_new(s);
	assert_int_equal(shelf_walk_next(w)->id, 1);
	drop(s, 1);
	drop(s, 2); /* where it stands */
	drop(s, 3);
	put(s, 5, 500);
	while ((p = shelf_walk_next(w))) {
		assert_true(p->id > 3);
		met++;
		if (p->id == 10)
			drop(s, 10);
	}
	assert_int_equal(met, 7);
	assert_int_equal(shelf_walk_next(second)->id, 4);
	shelf_walk_free(w);
	shelf_walk_free(second);
	shelf_walk_free(NULL);
	shelf_free(s);
}

static void parcels_are_records(void **state)
{
	struct parcel *p = parcel(7, 1), *q;

	(void)state;
	assert_int_equal(parcel_from_bytes(7, p->bytes, p->len, &q), 0);
	assert_int_equal(q->len, p->len);
	parcel_unref(q);
	assert_int_equal(parcel_from_bytes(8, p->bytes, p->len, &q), -EBADMSG);
	assert_int_equal(parcel_from_bytes(7, p->bytes, p->len - 1, &q), -EBADMSG);
	p->bytes[5]++;
	assert_int_equal(parcel_from_bytes(7, p->bytes, p->len, &q), -EPROTONOSUPPORT);
	parcel_unref(p);
	parcel_unref(NULL);
}

static uint64_t enqueue(struct queue *q, uint64_t id, uint64_t commit)
{
	struct parcel *p = parcel(id, commit);
	uint64_t ticket;

	assert_int_equal(queue_put(q, p, 1 << 20, &ticket), 0);
	parcel_unref(p);
	return ticket;
}

static void a_ticket_is_never_done_too_early(void **state)
{
	struct queue q;

	(void)state;
	queue_init(&q);
	assert_int_equal(queue_take(&q, 1), 0);
	assert_int_equal(enqueue(&q, 1, 1), 1);
	assert_int_equal(enqueue(&q, 2, 1), 2);
	assert_int_equal(enqueue(&q, 1, 2), 3); /* takes 1's place, at the front */
	assert_int_equal(q.count, 2);
	assert_int_equal(queue_take(&q, 1), 1); /* at least one */
	assert_int_equal(TAILQ_FIRST(&q.batch)->parcel->id, 1);
	assert_int_equal(enqueue(&q, 1, 3), 4); /* the one under way is not touched */
	assert_int_equal(q.count, 3);
	assert_int_equal(queue_done(&q), 1); /* not 3: 2 still waits */
	assert_int_equal(queue_take(&q, 1 << 20), 2);
	assert_int_equal(queue_done(&q), 4);
	assert_int_equal(q.count + q.bytes, 0);
	queue_fini(&q);
}

static void a_queue_is_bounded(void **state)
{
	struct queue q;
	struct parcel *p = parcel(1, 1);
	uint64_t ticket;

	(void)state;
	queue_init(&q);
	assert_int_equal(queue_put(&q, p, 100, &ticket), -ENOBUFS);
	assert_int_equal(queue_put(&q, p, 1000, &ticket), 0);
	assert_int_equal(queue_put(&q, p, 0, &ticket), 0); /* no more than before */
	p->refs++;
	queue_fini(&q);
	assert_int_equal(p->refs, 2);
	parcel_unref(p);
	parcel_unref(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shelf_keeps_the_newest),
		cmocka_unit_test(a_walk_bears_changes),
		cmocka_unit_test(parcels_are_records),
		cmocka_unit_test(a_ticket_is_never_done_too_early),
		cmocka_unit_test(a_queue_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
