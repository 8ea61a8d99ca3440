/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <event2/event.h>

#include "control/takeover/app_inner.h"

static void refuse(struct app *a, uint32_t serial, int error, const char *text)
{
	app_answer(a, serial, 0, error, text);
	a->leaving = true;
}

int app_passed_take(struct app_passed *p)
{
	return p->fd[--p->count];
}

size_t app_padded(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

static bool zero(const void *data, size_t len)
{
	const uint8_t *b = data;

	for (size_t i = 0; i < len; i++)
		if (b[i])
			return false;
	return true;
}

static bool name_good(const char name[static HF_NAME_LEN])
{
	size_t len = strnlen(name, HF_NAME_LEN);

	if (!len || len == HF_NAME_LEN || !zero(name + len, HF_NAME_LEN - len))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)name[i]))
			return false;
	return true;
}

static bool do_hello(struct app *a, const struct app_hello *m, size_t len)
{
	struct app_welcome w = {.version = APP_VERSION, .role = a->apps->role};
	char text[96];

	/* whatever else another version says, it starts so */
	if (len < offsetof(struct app_hello, pad) || m->h.type != APP_HELLO || m->h.len != len ||
	    m->h.conn)
		return false;
	if (m->version != APP_VERSION) {
		snprintf(text, sizeof(text), "the library speaks version %u, the daemon %u",
			 m->version, APP_VERSION);
		refuse(a, m->h.serial, -EPROTONOSUPPORT, text);
		return true;
	}
	if (len != sizeof(*m) || m->pad || !name_good(m->service))
		return false;
	memcpy(a->service, m->service, sizeof(a->service));
	event_del(a->deadline);
	a->welcome = true;
	w.h.serial = m->h.serial;
	memcpy(w.node, a->apps->node, sizeof(w.node));
	app_say(a, APP_WELCOME, &w, sizeof(w));
	app_flush(a);
	a->apps->ops.hello(a->apps->arg, a);
	return true;
}

/* Both the answer and what makes the descriptor the callee's. -1: it did not arrive. */
static int socket_of(struct app *a, const struct app_header *h, struct app_passed *p)
{
	if (p->count == 1)
		return app_passed_take(p);
	app_answer(a, h->serial, 0, -EMFILE, "the daemon has no room for another descriptor");
	return -1;
}

static bool do_listen(struct app *a, const struct app_header *h, struct app_passed *p)
{
	struct app_why why = {""};
	int fd = socket_of(a, h, p), err;

	if (fd < 0)
		return true;
	err = a->apps->ops.listen(a->apps->arg, a, fd, &why);
	if (!err)
		a->listens = true;
	app_answer(a, h->serial, 0, err, why.text);
	return true;
}

static void answer_named(struct app *a, const struct app_header *h, int err, uint32_t conn,
			 uint64_t received, const char *why)
{
	struct app_done d = {.h.serial = h->serial, .received = received};

	if (!err)
		err = app_own(a, conn);
	if (err) {
		app_answer(a, h->serial, 0, err, why);
		return;
	}
	d.h.conn = app_handle(a, conn);
	app_say(a, APP_DONE, &d, sizeof(d));
}

static bool do_guard(struct app *a, const struct app_guard *m)
{
	struct app_why why = {""};
	uint64_t received = 0;
	uint32_t conn = 0;
	int err;

	if (m->pad)
		return false;
	err = a->apps->ops.guard(a->apps->arg, a, &m->key, &conn, &received, &why);
	answer_named(a, &m->h, err, conn, received, why.text);
	return true;
}

static bool do_datagram(struct app *a, const struct app_datagram *m, struct app_passed *p)
{
	struct app_why why = {""};
	uint32_t conn = 0;
	int err, fd;

	if (!zero(m->pad, sizeof(m->pad)))
		return false;
	fd = socket_of(a, &m->h, p);
	if (fd < 0)
		return true;
	err = a->apps->ops.datagram(a->apps->arg, a, fd, &m->peer, m->peer_port, &conn, &why);
	answer_named(a, &m->h, err, conn, 0, why.text);
	return true;
}

static bool do_bundle(struct app *a, const struct app_bundle *m, uint32_t conn)
{
	struct app_done d = {.h = m->h};
	struct app_why why = {""};
	uint64_t bundle = m->bundle;
	int err;

	err = a->apps->ops.bundle(a->apps->arg, a, conn, &bundle, &why);
	d.value = bundle;
	if (err)
		app_answer(a, m->h.serial, m->h.conn, err, why.text);
	else
		app_say(a, APP_DONE, &d, sizeof(d));
	return true;
}

/* The protocols behind a commit. `objects` holds what `ret` points to. */
static bool protocols_consume(const uint8_t *at, size_t len, uint32_t count,
			      struct record_protocol ret[static HF_PROTOCOLS_MAX],
			      char objects[static HF_PROTOCOLS_MAX][HF_OBJECT_MAX + 1])
{
	if (count > HF_PROTOCOLS_MAX)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const struct app_protocol *p = (const struct app_protocol *)at;
		size_t tail, room;

		if (len < sizeof(*p))
			return false;
		tail = (size_t)p->object_len + p->data_len;
		room = app_padded(tail);
		if (!p->protocol || p->object_len > HF_OBJECT_MAX || p->data_len > HF_DATA_MAX ||
		    len - sizeof(*p) < room)
			return false;
		at += sizeof(*p);
		if (memchr(at, 0, p->object_len) || !zero(at + tail, room - tail))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (ret[j].protocol == p->protocol)
				return false;
		memcpy(objects[i], at, p->object_len);
		objects[i][p->object_len] = 0;
		ret[i] = (struct record_protocol){
			.protocol = p->protocol,
			.object_len = p->object_len,
			.data_len = p->data_len,
			.object_start = p->object_start,
			.object = p->object_len ? objects[i] : NULL,
			.data = p->data_len ? (uint8_t *)at + p->object_len : NULL,
		};
		at += room;
		len -= sizeof(*p) + room;
	}
	return len == 0;
}

static bool do_commit(struct app *a, const struct app_commit *m, size_t len, uint32_t conn)
{
	char objects[HF_PROTOCOLS_MAX][HF_OBJECT_MAX + 1];
	struct record_protocol p[HF_PROTOCOLS_MAX];
	int err;

	if (m->flags & ~APP_COMMIT_END || m->h.serial ||
	    !protocols_consume((const uint8_t *)(m + 1), len - sizeof(*m), m->count, p, objects))
		return false;
	if (!conn)
		return true;
	err = a->apps->ops.commit(a->apps->arg, a, conn, m->ticket, m->received, m->flags, p,
				  m->count);
	/* it may have been taken away in there */
	if (err && app_owns(a, conn))
		app_answer(a, 0, m->h.conn, err, "");
	return true;
}

static bool do_end(struct app *a, const struct app_header *h, uint32_t conn)
{
	int err = app_ending_add(a, conn, h->serial);
	struct app_why why = {""};
	uint32_t serial;

	if (err) {
		app_answer(a, h->serial, h->conn, err, "");
		return true;
	}
	err = a->apps->ops.end(a->apps->arg, a, conn, &why);
	/* it may be answered already, or the connection be taken away */
	if (err != -EINPROGRESS && app_ending_take(a, conn, &serial))
		app_answer(a, serial, h->conn, err, why.text);
	return true;
}

/* Exact lengths; what has a tail checks it itself. */
static const struct {
	size_t len;
	bool tail;
	bool conn; /* it is about a connection */
	bool asks; /* and wants an answer */
	bool fd;
} shapes[] = {
	[APP_LISTEN] = {sizeof(struct app_listen), false, false, true, true},
	[APP_GUARD] = {sizeof(struct app_guard), false, false, true, false},
	[APP_DATAGRAM] = {sizeof(struct app_datagram), false, false, true, true},
	[APP_BUNDLE] = {sizeof(struct app_bundle), false, true, true, false},
	[APP_COMMIT] = {sizeof(struct app_commit), true, true, false, false},
	[APP_READY] = {sizeof(struct app_ready), false, true, false, false},
	[APP_END] = {sizeof(struct app_end), false, true, true, false},
	[APP_FORGET] = {sizeof(struct app_end), false, true, false, false},
};

/* False: it broke the rules. */
bool app_consume(struct app *a, const void *data, size_t len, struct app_passed *p)
{
	const struct app_header *h = data;
	uint32_t conn = 0;

	if (len < sizeof(*h))
		return false;
	if (!a->welcome)
		return !p->count && do_hello(a, data, len);
	if (h->type >= sizeof(shapes) / sizeof(*shapes) || !shapes[h->type].len || h->len != len ||
	    (shapes[h->type].tail ? len < shapes[h->type].len : len != shapes[h->type].len))
		return false;
	if (p->count + p->lost != shapes[h->type].fd)
		return false;
	if (shapes[h->type].conn) {
		conn = app_conn(a, h->conn);
		if (!conn && shapes[h->type].asks) {
			app_answer(a, h->serial, h->conn, -EPIPE,
				   "the connection is not here any more");
			return true;
		}
	} else if (h->conn) {
		return false;
	}
	switch (h->type) {
	case APP_LISTEN:
		return do_listen(a, h, p);
	case APP_GUARD:
		return do_guard(a, data);
	case APP_DATAGRAM:
		return do_datagram(a, data, p);
	case APP_BUNDLE:
		return do_bundle(a, data, conn);
	case APP_COMMIT:
		return do_commit(a, data, len, conn);
	case APP_READY:
		if (((const struct app_ready *)data)->pad)
			return false;
		if (conn)
			a->apps->ops.ready(a->apps->arg, a, conn,
					   ((const struct app_ready *)data)->protocol);
		return true;
	case APP_END:
		return do_end(a, h, conn);
	default: /* APP_FORGET */
		if (conn) {
			app_disown(a, conn);
			a->apps->ops.forget(a->apps->arg, a, conn);
		}
		return true;
	}
}
