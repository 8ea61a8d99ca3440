/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records in memory, by id, as the bytes that record_create() made: a parcel. A parcel never
 * changes and is counted, so that the shelf, the queue and what is being sent share one copy.
 */
#ifndef HOLDFAST_TAKEOVER_SHELF_H
#define HOLDFAST_TAKEOVER_SHELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/takeover/record.h"

struct parcel {
	uint64_t id;
	uint32_t refs;
	uint32_t len; /* 0: "that record is deleted" */
	uint8_t bytes[];
};

/* Each returns a parcel with one reference, which is the caller's. */
/* 0, -EINVAL (record_create() refuses it), -ENOMEM. */
int parcel_from_record(const struct record *r, struct parcel **ret);
/* From another node or a database: 0, -ENOMEM, or what record_consume() says; -EBADMSG too when it
 * is a record of another id than `id`. */
int parcel_from_bytes(uint64_t id, const void *bytes, size_t len, struct parcel **ret);
int parcel_deletion(uint64_t id, struct parcel **ret); /* 0, -ENOMEM */

struct parcel *parcel_ref(struct parcel *p);
void parcel_unref(struct parcel *p); /* NULL is allowed */

struct shelf;

struct shelf *shelf_new(void);    /* NULL: no memory */
void shelf_free(struct shelf *s); /* NULL is allowed */
void shelf_clear(struct shelf *s);

/* Puts it in place of an older one of its id; a deletion takes that away. The shelf takes its own
 * reference. 0 or -ENOMEM; then nothing has changed. */
int shelf_put(struct shelf *s, struct parcel *p);
const struct parcel *shelf_get(const struct shelf *s, uint64_t id); /* NULL: not there */
size_t shelf_count(const struct shelf *s);
size_t shelf_bytes(const struct shelf *s); /* of the records */

/* Each record, as a struct that lives during the call; `each` returns false to stop, and changes
 * nothing on the shelf. */
void shelf_each(const struct shelf *s, bool (*each)(void *arg, const struct record *r), void *arg);

/* A walk that may take its time: what is put or deleted meanwhile does not disturb it, what is put
 * anew may or may not be met. */
struct shelf_walk;
struct shelf_walk *shelf_walk_new(struct shelf *s); /* NULL: no memory */
void shelf_walk_free(struct shelf_walk *w);         /* NULL is allowed; before the shelf is freed */
struct parcel *
shelf_walk_next(struct shelf_walk *w); /* the shelf's reference; NULL: all were met */

#endif
