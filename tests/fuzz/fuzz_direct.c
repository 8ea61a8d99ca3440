/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Frames of any bytes, one after the other as they come off a connection, then what they mean to a
 * lease machine and a shelf: nothing crashes, frames without items are written again as the same
 * bytes, and no sequence of another node's words makes an owner out of a node that nobody gave
 * anything.
 */
#include <stdlib.h>
#include <string.h>

#include "../../control/takeover/frame.c"
#include "control/takeover/shelf.h"

#define NODES 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);

/* A frame as it should be, with a record where it has items. Its length. */
static size_t good_frame(unsigned int seed, uint8_t out[static 1024])
{
	struct record r = {.id = 5, .node = "n", .proto = 6};
	struct frame f = {.type = FRAME_HELLO + seed % (TYPES - 1), .epoch = 2, .seq = seed / 16};
	struct parcel *p;
	size_t len;

	memcpy(f.hello.group, "g", 2);
	memcpy(f.hello.node, "n", 2);
	f.lease.event = f.type == FRAME_HELLO ? LEASE_MET : seed / 16 % (LEASE_HAND + 1);
	f.lease.epoch = seed / 64 % 8;
	if (parcel_from_record(&r, &p) < 0)
		abort();
	if (rules[f.type].items)
		f.items_len = FRAME_ITEM_LEN + p->len;
	len = frame_create(&f, out);
	if (rules[f.type].items) {
		frame_create_item(p->id, p->len, out + len);
		memcpy(out + len + FRAME_ITEM_LEN, p->bytes, p->len);
	}
	parcel_unref(p);
	return len + f.items_len;
}

/* Good frames among the bad: else hardly anything gets past the first length. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	uint8_t good[1024];
	size_t len;

	if (seed % 4 != 0)
		return LLVMFuzzerMutate(data, size, max);
	len = good_frame(seed / 4, good);
	if (size + len > max)
		return LLVMFuzzerMutate(data, size, max);
	memmove(data + len, data, size);
	memcpy(data, good, len);
	return size + len;
}

static void written_again(const struct frame *f, const uint8_t *data, size_t len)
{
	uint8_t fixed[FRAME_FIXED_MAX];
	size_t n = frame_create(f, fixed);

	if (n + f->items_len != len || memcmp(fixed, data, n))
		abort();
}

static void take_items(struct shelf *shelf, struct frame *f)
{
	const uint8_t *bytes;
	struct parcel *p;
	uint64_t id;
	size_t len;

	while (frame_item(f, &id, &bytes, &len)) {
		if ((len ? parcel_from_bytes(id, bytes, len, &p) : parcel_deletion(id, &p)) < 0)
			break;
		if (shelf_put(shelf, p) < 0)
			abort();
		parcel_unref(p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct shelf *shelf = shelf_new();
	struct lease_output out;
	struct lease m;
	struct frame f;
	uint64_t now = 1000;
	size_t need = 0;
	ssize_t n;

	if (!shelf)
		abort();
	lease_init(&m, NODES, 0, 100);
	while ((n = frame_consume(data, len, &f, &need)) > 0) {
		written_again(&f, data, (size_t)n);
		if (f.type == FRAME_PUT || f.type == FRAME_COPY)
			take_items(shelf, &f);
		if (f.type == FRAME_LEASE || f.type == FRAME_HELLO) {
			f.lease.node = f.lease.stamp % NODES;
			lease_step(&m, &f.lease, now++, &out);
			if (out.count > LEASE_SENDS_MAX)
				abort();
			/* it never claimed and has no copy */
			if (lease_state(&m, now) == STORE_OWNER)
				abort();
		}
		data += n;
		len -= (size_t)n;
	}
	if (n == -EAGAIN && (need <= len || need > FRAME_HEADER_LEN + FRAME_BODY_MAX))
		abort();
	shelf_free(shelf);
	return 0;
}
