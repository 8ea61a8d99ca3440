/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What two nodes of a group say to each other, inside TLS. Each frame: length of what follows
 * the header (4), type (1), zeros (3); numbers big-endian. Pure.
 */
#ifndef HOLDFAST_TAKEOVER_FRAME_H
#define HOLDFAST_TAKEOVER_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/takeover/lease.h"
#include "control/takeover/record.h"

#define FRAME_VERSION    2
#define FRAME_HEADER_LEN 8u
#define FRAME_ITEM_LEN   12u        /* before each record: id (8), length (4) */
#define FRAME_BODY_MAX   (1u << 20) /* bytes behind the header */
#define FRAME_HELLO_MAX  512u       /* so much is read before the other side has said HELLO */
#define FRAME_DIGEST_LEN 16u

enum frame_type {
	FRAME_HELLO = 1, /* first of each side; nothing else before it */
	FRAME_LEASE = 2, /* LEASE_ASK to LEASE_HAND, LEASE_SERVES, LEASE_GOODBYE */
	FRAME_BEGIN =
		3, /* a full copy follows, or with `keep`: what you have, up to `seq`, is all */
	FRAME_COPY = 4, /* items of it */
	FRAME_END = 5,  /* that was all of it; it holds everything up to `seq` */
	FRAME_PUT = 6,  /* one batch: items; answered by FRAME_ACK when it is on the shelf */
	FRAME_ACK = 7,  /* everything up to `seq` is */
	FRAME_WISH = 8, /* standby: hand over to me */
	FRAME_BEAT = 9,
};

struct frame_hello {
	char group[HF_NAME_LEN];
	char node[HF_NAME_LEN];
	uint32_t lease_ms;
	uint8_t members[FRAME_DIGEST_LEN]; /* digest of all names: both must mean the same group */
};

struct frame {
	enum frame_type type;
	uint32_t epoch;    /* BEGIN, COPY, END, PUT, ACK */
	uint64_t seq;      /* BEGIN, END, PUT, ACK */
	bool keep;         /* BEGIN */
	uint64_t services; /* BEAT: what the sender's applications could serve */
	struct frame_hello hello;
	struct lease_message lease; /* HELLO (event LEASE_MET), LEASE; `node` is not on the wire */
	const uint8_t *items;       /* COPY, PUT: in the caller's bytes; frame_item() reads them */
	size_t items_len;
};

/* One frame. Returns its bytes, or -EAGAIN (`ret_need`: bytes that must be there to go on),
 * -EPROTONOSUPPORT (HELLO of another version), -EBADMSG. Items are whole, the records in them not
 * looked at. */
ssize_t frame_consume(const void *data, size_t len, struct frame *ret, size_t *ret_need);
/* The next item: false when there is none. `ret_len` 0: a deletion. */
bool frame_item(struct frame *f, uint64_t *ret_id, const uint8_t **ret_bytes, size_t *ret_len);

#define FRAME_FIXED_MAX 192u
/* Everything of a frame but its items, whose sum, with an item header each, is f->items_len.
 * Returns the bytes written. */
size_t frame_create(const struct frame *f, uint8_t out[static FRAME_FIXED_MAX]);
void frame_create_item(uint64_t id, uint32_t len, uint8_t out[static FRAME_ITEM_LEN]);

#endif
