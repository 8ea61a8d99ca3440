/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * As bytes, numbers big-endian, addresses as in layout.h:
 *
 *   0   magic "HFRC", version (2), header length (2), length of it all (4), protocols (4)
 *   16  id, epoch (4), proto (1), flags (1), ttl (1), zero (1)
 *   32  time_ms, bundle, member (2), zero (6)
 *   56  node, service: HF_NAME_LEN each, zeros after the text
 *   120 facts: peer, local, ports (4), irs, iss, both MSS (4), both scales (2), options (1), zero
 * (1), tsval, peer_tsval 180 in_commit, in_acked, in_edge, out_max, out_acked (8 each), tsval,
 * peer_tsval, peer_window (4 each) 232 for each protocol: protocol (4), object_len (2), data_len
 * (2), object_start (8), object, data
 *
 * A record has one spelling: what is unused is zero, so that reading and writing again gives the
 * same bytes.
 */
#include "control/takeover/record.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC        0x48465243u /* "HFRC" */
#define HEADER_LEN   232u
#define PROTOCOL_LEN 16u
#define FLAGS        (RECORD_END_ALLOWED | RECORD_PEER_ENDED | RECORD_CHECKPOINT | RECORD_EMBRYO)
#define OPTIONS      (GUARD_TS | GUARD_SACK | GUARD_WSCALE)
#define WSCALE_MAX   14 /* RFC 7323 section 2.3 */

_Static_assert(HEADER_LEN + HF_PROTOCOLS_MAX * (PROTOCOL_LEN + HF_OBJECT_MAX + HF_DATA_MAX) <=
		       RECORD_BYTES_MAX,
	       "the longest record");

/* ---- bytes ---------------------------------------------------------------- */

static void put8(uint8_t **at, uint8_t x)
{
	*(*at)++ = x;
}

static void put16(uint8_t **at, uint16_t x)
{
	x = htobe16(x);
	memcpy(*at, &x, sizeof(x));
	*at += sizeof(x);
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

static void put_bytes(uint8_t **at, const void *bytes, size_t len)
{
	if (len)
		memcpy(*at, bytes, len);
	*at += len;
}

/* Zeros after the text, whatever the caller's array holds there. */
static void put_name(uint8_t **at, const char name[static HF_NAME_LEN])
{
	memset(*at, 0, HF_NAME_LEN);
	memcpy(*at, name, strnlen(name, HF_NAME_LEN - 1));
	*at += HF_NAME_LEN;
}

static uint8_t get8(const uint8_t **at)
{
	return *(*at)++;
}

static uint16_t get16(const uint8_t **at)
{
	uint16_t x;

	memcpy(&x, *at, sizeof(x));
	*at += sizeof(x);
	return be16toh(x);
}

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

static void get_bytes(const uint8_t **at, void *ret, size_t len)
{
	memcpy(ret, *at, len);
	*at += len;
}

static bool is_zero(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	while (len && *b == 0)
		b++, len--;
	return len == 0;
}

/* ---- rules ---------------------------------------------------------------- */

/* Text, then zeros to the end. */
static bool name_ok(const char name[static HF_NAME_LEN], bool may_be_empty)
{
	size_t len = strnlen(name, HF_NAME_LEN);

	if (len == HF_NAME_LEN || (len == 0 && !may_be_empty))
		return false;
	return is_zero(name + len, HF_NAME_LEN - len);
}

static bool facts_ok(const struct guard_facts *f, uint8_t proto)
{
	struct guard_facts only_key = {.key = f->key};

	if (f->pad || f->pad2 || f->options & ~OPTIONS || f->peer_wscale > WSCALE_MAX ||
	    f->our_wscale > WSCALE_MAX)
		return false;
	return proto == IPPROTO_TCP || memcmp(&only_key, f, sizeof(*f)) == 0;
}

static bool fields_ok(const struct record *r)
{
	if (r->proto != IPPROTO_TCP && r->proto != IPPROTO_UDP)
		return false;
	if (r->flags & ~FLAGS || r->protocol_count > HF_PROTOCOLS_MAX)
		return false;
	if (r->member >= HF_BUNDLE_MAX || (r->bundle == 0 && r->member != 0))
		return false;
	return facts_ok(&r->facts, r->proto);
}

static bool protocols_ok(const struct record *r)
{
	if (r->protocol_count && !r->protocols)
		return false;
	for (uint32_t i = 0; i < r->protocol_count; i++) {
		const struct record_protocol *p = &r->protocols[i];

		if (p->protocol == 0 || p->object_len > HF_OBJECT_MAX || p->data_len > HF_DATA_MAX)
			return false;
		if ((p->object_len && !p->object) || (p->data_len && !p->data))
			return false;
		/* a text: its length is where its zero is */
		if (p->object_len && memchr(p->object, 0, p->object_len))
			return false;
		for (uint32_t k = 0; k < i; k++)
			if (r->protocols[k].protocol == p->protocol)
				return false;
	}
	return true;
}

/* ---- writing -------------------------------------------------------------- */

size_t record_size(const struct record *r)
{
	size_t size = HEADER_LEN;

	if (!fields_ok(r) || !protocols_ok(r) || strnlen(r->node, HF_NAME_LEN) == HF_NAME_LEN ||
	    strnlen(r->service, HF_NAME_LEN) == HF_NAME_LEN || r->node[0] == 0)
		return 0;
	for (uint32_t i = 0; i < r->protocol_count; i++)
		size += PROTOCOL_LEN + r->protocols[i].object_len + r->protocols[i].data_len;
	return size;
}

static void put_facts(uint8_t **at, const struct guard_facts *f)
{
	put_bytes(at, &f->key.peer, sizeof(f->key.peer));
	put_bytes(at, &f->key.local, sizeof(f->key.local));
	put_bytes(at, &f->key.peer_port, 2);
	put_bytes(at, &f->key.local_port, 2);
	put32(at, f->irs);
	put32(at, f->iss);
	put16(at, f->peer_mss);
	put16(at, f->our_mss);
	put8(at, f->peer_wscale);
	put8(at, f->our_wscale);
	put8(at, f->options);
	put8(at, 0);
	put32(at, f->tsval);
	put32(at, f->peer_tsval);
}

static void put_protocol(uint8_t **at, const struct record_protocol *p)
{
	put32(at, p->protocol);
	put16(at, p->object_len);
	put16(at, p->data_len);
	put64(at, p->object_start);
	put_bytes(at, p->object, p->object_len);
	put_bytes(at, p->data, p->data_len);
}

ssize_t record_create(const struct record *r, void *out, size_t size)
{
	static const uint8_t zeros[6];
	size_t need = record_size(r);
	uint8_t *at = out;

	if (need == 0)
		return -EINVAL;
	if (size < need)
		return -ENOBUFS;
	put32(&at, MAGIC);
	put16(&at, RECORD_VERSION);
	put16(&at, HEADER_LEN);
	put32(&at, (uint32_t)need);
	put32(&at, r->protocol_count);
	put64(&at, r->id);
	put32(&at, r->epoch);
	put8(&at, r->proto);
	put8(&at, r->flags);
	put8(&at, r->ttl);
	put8(&at, 0);
	put64(&at, r->time_ms);
	put64(&at, r->bundle);
	put16(&at, r->member);
	put_bytes(&at, zeros, sizeof(zeros));
	put_name(&at, r->node);
	put_name(&at, r->service);
	put_facts(&at, &r->facts);
	put64(&at, r->in_commit);
	put64(&at, r->in_acked);
	put64(&at, r->in_edge);
	put64(&at, r->out_max);
	put64(&at, r->out_acked);
	put32(&at, r->tsval);
	put32(&at, r->peer_tsval);
	put32(&at, r->peer_window);
	for (uint32_t i = 0; i < r->protocol_count; i++)
		put_protocol(&at, &r->protocols[i]);
	return at - (uint8_t *)out;
}

/* ---- reading -------------------------------------------------------------- */

static void get_facts(const uint8_t **at, struct guard_facts *ret)
{
	get_bytes(at, &ret->key.peer, sizeof(ret->key.peer));
	get_bytes(at, &ret->key.local, sizeof(ret->key.local));
	get_bytes(at, &ret->key.peer_port, 2);
	get_bytes(at, &ret->key.local_port, 2);
	ret->irs = get32(at);
	ret->iss = get32(at);
	ret->peer_mss = get16(at);
	ret->our_mss = get16(at);
	ret->peer_wscale = get8(at);
	ret->our_wscale = get8(at);
	ret->options = get8(at);
	ret->pad = get8(at);
	ret->tsval = get32(at);
	ret->peer_tsval = get32(at);
}

/* Everything but the protocols. False: a rule is broken. */
static bool get_header(const uint8_t **at, struct record *ret)
{
	uint8_t zero[6];

	ret->protocol_count = get32(at);
	ret->id = get64(at);
	ret->epoch = get32(at);
	ret->proto = get8(at);
	ret->flags = get8(at);
	ret->ttl = get8(at);
	if (get8(at) != 0)
		return false;
	ret->time_ms = get64(at);
	ret->bundle = get64(at);
	ret->member = get16(at);
	get_bytes(at, zero, sizeof(zero));
	get_bytes(at, ret->node, HF_NAME_LEN);
	get_bytes(at, ret->service, HF_NAME_LEN);
	get_facts(at, &ret->facts);
	ret->in_commit = get64(at);
	ret->in_acked = get64(at);
	ret->in_edge = get64(at);
	ret->out_max = get64(at);
	ret->out_acked = get64(at);
	ret->tsval = get32(at);
	ret->peer_tsval = get32(at);
	ret->peer_window = get32(at);
	return is_zero(zero, sizeof(zero)) && name_ok(ret->node, false) &&
	       name_ok(ret->service, true) && fields_ok(ret);
}

static int protocol_set(struct record_protocol *p, const char *object, size_t object_len,
			const void *data, size_t data_len)
{
	char *new_object = NULL;
	uint8_t *new_data = NULL;

	if (object_len) {
		new_object = malloc(object_len + 1);
		if (!new_object)
			return -ENOMEM;
		memcpy(new_object, object, object_len);
		new_object[object_len] = 0;
	}
	if (data_len) {
		new_data = malloc(data_len);
		if (!new_data) {
			free(new_object);
			return -ENOMEM;
		}
		memcpy(new_data, data, data_len);
	}
	free(p->object);
	free(p->data);
	p->object = new_object;
	p->object_len = (uint16_t)object_len;
	p->data = new_data;
	p->data_len = (uint16_t)data_len;
	return 0;
}

static int get_protocol(const uint8_t **at, const uint8_t *end, struct record_protocol *ret)
{
	size_t object_len, data_len;
	const char *object;
	int rc;

	if ((size_t)(end - *at) < PROTOCOL_LEN)
		return -EBADMSG;
	ret->protocol = get32(at);
	object_len = get16(at);
	data_len = get16(at);
	ret->object_start = get64(at);
	if (object_len > HF_OBJECT_MAX || data_len > HF_DATA_MAX ||
	    (size_t)(end - *at) < object_len + data_len)
		return -EBADMSG;
	object = (const char *)*at;
	rc = protocol_set(ret, object, object_len, *at + object_len, data_len);
	*at += object_len + data_len;
	return rc;
}

int record_consume(const void *data, size_t len, struct record *ret)
{
	const uint8_t *at = data, *end = at + len;
	struct record r = {0};
	uint16_t version;
	int rc = -EBADMSG;

	if (len < 8 || get32(&at) != MAGIC)
		return -EBADMSG;
	version = get16(&at);
	if (version != RECORD_VERSION)
		return -EPROTONOSUPPORT;
	if (len < HEADER_LEN || get16(&at) != HEADER_LEN || get32(&at) != len)
		return -EBADMSG;
	if (!get_header(&at, &r))
		return -EBADMSG;
	if (r.protocol_count) {
		r.protocols = calloc(r.protocol_count, sizeof(*r.protocols));
		if (!r.protocols)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < r.protocol_count; i++) {
		rc = get_protocol(&at, end, &r.protocols[i]);
		if (rc < 0)
			goto out;
	}
	rc = -EBADMSG;
	if (at != end || !protocols_ok(&r))
		goto out;
	*ret = r;
	return 0;
out:
	record_clear(&r);
	return rc;
}

/* ---- the struct ----------------------------------------------------------- */

void record_clear(struct record *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; r->protocols && i < r->protocol_count; i++) {
		free(r->protocols[i].object);
		free(r->protocols[i].data);
	}
	free(r->protocols);
	*r = (struct record){0};
}

int record_copy(const struct record *r, struct record *ret)
{
	struct record copy = *r;
	int rc = 0;

	copy.protocols = NULL;
	if (r->protocol_count) {
		copy.protocols = calloc(r->protocol_count, sizeof(*copy.protocols));
		if (!copy.protocols)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < r->protocol_count && rc == 0; i++) {
		const struct record_protocol *from = &r->protocols[i];

		copy.protocols[i].protocol = from->protocol;
		copy.protocols[i].object_start = from->object_start;
		rc = protocol_set(&copy.protocols[i], from->object, from->object_len, from->data,
				  from->data_len);
	}
	if (rc < 0) {
		record_clear(&copy);
		return rc;
	}
	*ret = copy;
	return 0;
}

int record_set_protocol(struct record *r, uint32_t protocol, const char *object, size_t object_len,
			uint64_t object_start, const void *data, size_t data_len)
{
	struct record_protocol *p = NULL, *list;
	struct record_protocol fresh = {.protocol = protocol};
	int rc;

	if (object_len > HF_OBJECT_MAX)
		return -ENAMETOOLONG;
	if (data_len > HF_DATA_MAX)
		return -EMSGSIZE;
	for (uint32_t i = 0; i < r->protocol_count; i++)
		if (r->protocols[i].protocol == protocol)
			p = &r->protocols[i];
	if (!p && r->protocol_count == HF_PROTOCOLS_MAX)
		return -ENOSPC;
	rc = protocol_set(p ? p : &fresh, object, object_len, data, data_len);
	if (rc < 0)
		return rc;
	if (!p) {
		list = realloc(r->protocols, (r->protocol_count + 1) * sizeof(*list));
		if (!list) {
			free(fresh.object);
			free(fresh.data);
			return -ENOMEM;
		}
		r->protocols = list;
		p = &list[r->protocol_count++];
		*p = fresh;
	}
	p->object_start = object_start;
	return 0;
}
