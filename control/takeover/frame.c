/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 *   HELLO  magic (4), version (2), RECORD_VERSION (2), lease_ms (4), group, node (HF_NAME_LEN
 * each), members (16), epoch (4), flags (4), copy: epoch (4), seq (8) LEASE  event (4), epoch (4),
 * flags (4), stamp, clock, lease_ns (8 each), copy: epoch (4), seq (8) BEGIN  epoch (4), keep (4),
 * seq (8) COPY   epoch (4), items END, ACK  epoch (4), seq (8) PUT    epoch (4), seq (8), items
 *   WISH  nothing    BEAT  services (8)
 */
#include "control/takeover/frame.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* who cannot read our records is no standby */
#define HELLO_VERSION ((uint32_t)FRAME_VERSION << 16 | RECORD_VERSION)
#define MAGIC         0x48464453u /* "HFDS" */
#define HELLO_LEN     (12u + 2 * HF_NAME_LEN + FRAME_DIGEST_LEN + 20u)
#define LEASE_LEN     48u
#define BEGIN_LEN     16u
#define COPY_LEN      4u
#define END_LEN       12u
#define PUT_LEN       12u
#define BEAT_LEN      8u

_Static_assert(FRAME_HEADER_LEN + HELLO_LEN <= FRAME_FIXED_MAX, "the longest without items");
_Static_assert(FRAME_HEADER_LEN + HELLO_LEN <= FRAME_HELLO_MAX, "read before HELLO");
_Static_assert(PUT_LEN + FRAME_ITEM_LEN + RECORD_BYTES_MAX <= FRAME_BODY_MAX, "any record fits");

struct rule {
	uint32_t body; /* bytes without items */
	bool items;
};

static const struct rule rules[] = {
	[FRAME_HELLO] = {HELLO_LEN, false}, [FRAME_LEASE] = {LEASE_LEN, false},
	[FRAME_BEGIN] = {BEGIN_LEN, false}, [FRAME_COPY] = {COPY_LEN, true},
	[FRAME_END] = {END_LEN, false},     [FRAME_PUT] = {PUT_LEN, true},
	[FRAME_ACK] = {END_LEN, false},     [FRAME_WISH] = {0, false},
	[FRAME_BEAT] = {BEAT_LEN, false},
};
#define TYPES (sizeof(rules) / sizeof(rules[0]))

/* ---- bytes ---------------------------------------------------------------- */

static uint32_t get32(const uint8_t **at)
{
	uint32_t x;

	memcpy(&x, *at, sizeof(x));
	*at += sizeof(x);
	return be32toh(x);
}

static uint64_t get64(const uint8_t **at)
{
	uint64_t x;

	memcpy(&x, *at, sizeof(x));
	*at += sizeof(x);
	return be64toh(x);
}

static void put32(uint8_t **at, uint32_t x)
{
	x = htobe32(x);
	memcpy(*at, &x, sizeof(x));
	*at += sizeof(x);
}

static void put64(uint8_t **at, uint64_t x)
{
	x = htobe64(x);
	memcpy(*at, &x, sizeof(x));
	*at += sizeof(x);
}

static bool get_name(const uint8_t **at, char ret[static HF_NAME_LEN])
{
	size_t len = strnlen((const char *)*at, HF_NAME_LEN);

	if (len == 0 || len == HF_NAME_LEN)
		return false;
	for (size_t i = len; i < HF_NAME_LEN; i++)
		if ((*at)[i] != 0)
			return false;
	memcpy(ret, *at, HF_NAME_LEN);
	*at += HF_NAME_LEN;
	return true;
}

static void put_name(uint8_t **at, const char name[static HF_NAME_LEN])
{
	memset(*at, 0, HF_NAME_LEN);
	memcpy(*at, name, strnlen(name, HF_NAME_LEN - 1));
	*at += HF_NAME_LEN;
}

/* ---- reading -------------------------------------------------------------- */

static bool copy_ok(const struct lease_copy *c)
{
	return c->epoch != 0 || c->seq == 0;
}

static int get_hello(const uint8_t *at, const uint8_t *end, struct frame *ret)
{
	uint32_t version;

	if (end - at < 8 || get32(&at) != MAGIC)
		return -EBADMSG;
	version = get32(&at);
	if (version != HELLO_VERSION)
		return -EPROTONOSUPPORT;
	if ((size_t)(end - at) != HELLO_LEN - 8)
		return -EBADMSG;
	ret->hello.lease_ms = get32(&at);
	if (!get_name(&at, ret->hello.group) || !get_name(&at, ret->hello.node))
		return -EBADMSG;
	memcpy(ret->hello.members, at, FRAME_DIGEST_LEN);
	at += FRAME_DIGEST_LEN;
	ret->lease.event = LEASE_MET;
	ret->lease.epoch = get32(&at);
	ret->lease.flags = get32(&at);
	ret->lease.copy.epoch = get32(&at);
	ret->lease.copy.seq = get64(&at);
	if (ret->lease.flags & ~LEASE_IS_ALL || !copy_ok(&ret->lease.copy))
		return -EBADMSG;
	return 0;
}

static int get_lease(const uint8_t *at, struct lease_message *ret)
{
	uint32_t event = get32(&at);

	if (event > LEASE_HAND && event != LEASE_SERVES && event != LEASE_GOODBYE)
		return -EBADMSG;
	ret->event = event;
	ret->epoch = get32(&at);
	ret->flags = get32(&at);
	ret->stamp = get64(&at);
	ret->clock = get64(&at);
	ret->lease_ns = get64(&at);
	ret->copy.epoch = get32(&at);
	ret->copy.seq = get64(&at);
	return ret->flags & ~LEASE_IS_ALL || !copy_ok(&ret->copy) ? -EBADMSG : 0;
}

static int get_items(const uint8_t *at, const uint8_t *end, struct frame *ret)
{
	struct frame walk;
	const uint8_t *bytes;
	uint64_t id;
	size_t len;

	ret->items = at;
	ret->items_len = (size_t)(end - at);
	walk = *ret;
	while (frame_item(&walk, &id, &bytes, &len))
		if (len > RECORD_BYTES_MAX)
			return -EBADMSG;
	return walk.items_len == 0 ? 0 : -EBADMSG;
}

static int get_body(const uint8_t *at, const uint8_t *end, struct frame *ret)
{
	uint32_t keep;

	switch (ret->type) {
	case FRAME_HELLO:
		return get_hello(at, end, ret);
	case FRAME_LEASE:
		return get_lease(at, &ret->lease);
	case FRAME_BEGIN:
		ret->epoch = get32(&at);
		keep = get32(&at);
		ret->seq = get64(&at);
		ret->keep = keep == 1;
		return keep <= 1 ? 0 : -EBADMSG;
	case FRAME_COPY:
		ret->epoch = get32(&at);
		return get_items(at, end, ret);
	case FRAME_PUT:
		ret->epoch = get32(&at);
		ret->seq = get64(&at);
		return get_items(at, end, ret);
	case FRAME_END:
	case FRAME_ACK:
		ret->epoch = get32(&at);
		ret->seq = get64(&at);
		return 0;
	case FRAME_BEAT:
		ret->services = get64(&at);
		return 0;
	case FRAME_WISH:
		return 0;
	}
	return -EBADMSG;
}

ssize_t frame_consume(const void *data, size_t len, struct frame *ret, size_t *ret_need)
{
	const uint8_t *at = data;
	struct frame f = {0};
	uint32_t body, type;
	int rc;

	if (len < FRAME_HEADER_LEN) {
		*ret_need = FRAME_HEADER_LEN;
		return -EAGAIN;
	}
	body = get32(&at);
	type = get32(&at);
	if (type & 0xffffff || type >> 24 == 0 || type >> 24 >= TYPES)
		return -EBADMSG;
	f.type = type >> 24;
	/* another version's HELLO may have another length */
	if (f.type == FRAME_HELLO && body > FRAME_HELLO_MAX - FRAME_HEADER_LEN)
		return -EBADMSG;
	if (f.type != FRAME_HELLO && (body < rules[f.type].body || body > FRAME_BODY_MAX ||
				      (!rules[f.type].items && body != rules[f.type].body)))
		return -EBADMSG;
	if (len < FRAME_HEADER_LEN + body) {
		*ret_need = FRAME_HEADER_LEN + body;
		return -EAGAIN;
	}
	rc = get_body(at, at + body, &f);
	if (rc < 0)
		return rc;
	*ret = f;
	return FRAME_HEADER_LEN + body;
}

bool frame_item(struct frame *f, uint64_t *ret_id, const uint8_t **ret_bytes, size_t *ret_len)
{
	const uint8_t *at = f->items;
	size_t len;

	if (f->items_len < FRAME_ITEM_LEN)
		return false;
	*ret_id = get64(&at);
	len = get32(&at);
	if (len > f->items_len - FRAME_ITEM_LEN)
		return false;
	*ret_bytes = at;
	*ret_len = len;
	f->items = at + len;
	f->items_len -= FRAME_ITEM_LEN + len;
	return true;
}

/* ---- writing -------------------------------------------------------------- */

static void put_hello(uint8_t **at, const struct frame *f)
{
	put32(at, MAGIC);
	put32(at, HELLO_VERSION);
	put32(at, f->hello.lease_ms);
	put_name(at, f->hello.group);
	put_name(at, f->hello.node);
	memcpy(*at, f->hello.members, FRAME_DIGEST_LEN);
	*at += FRAME_DIGEST_LEN;
	put32(at, f->lease.epoch);
	put32(at, f->lease.flags);
	put32(at, f->lease.copy.epoch);
	put64(at, f->lease.copy.seq);
}

static void put_lease(uint8_t **at, const struct lease_message *m)
{
	put32(at, m->event);
	put32(at, m->epoch);
	put32(at, m->flags);
	put64(at, m->stamp);
	put64(at, m->clock);
	put64(at, m->lease_ns);
	put32(at, m->copy.epoch);
	put64(at, m->copy.seq);
}

size_t frame_create(const struct frame *f, uint8_t out[static FRAME_FIXED_MAX])
{
	uint8_t *at = out;

	put32(&at, rules[f->type].body + (rules[f->type].items ? (uint32_t)f->items_len : 0));
	put32(&at, (uint32_t)f->type << 24);
	switch (f->type) {
	case FRAME_HELLO:
		put_hello(&at, f);
		break;
	case FRAME_LEASE:
		put_lease(&at, &f->lease);
		break;
	case FRAME_BEGIN:
		put32(&at, f->epoch);
		put32(&at, f->keep);
		put64(&at, f->seq);
		break;
	case FRAME_COPY:
		put32(&at, f->epoch);
		break;
	case FRAME_END:
	case FRAME_PUT:
	case FRAME_ACK:
		put32(&at, f->epoch);
		put64(&at, f->seq);
		break;
	case FRAME_BEAT:
		put64(&at, f->services);
		break;
	case FRAME_WISH:
		break;
	}
	return (size_t)(at - out);
}

void frame_create_item(uint64_t id, uint32_t len, uint8_t out[static FRAME_ITEM_LEN])
{
	put64(&out, id);
	put32(&out, len);
}
