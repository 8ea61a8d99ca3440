/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/lib/handle.h"

static bool do_welcome(struct hf *h, const struct app_welcome *m)
{
	if (h->state != LINK_HELLO)
		return false;
	if (m->version != APP_VERSION) {
		h->refusal =
			hf_fail(h, -EPROTONOSUPPORT, "the daemon speaks version %u, the library %u",
				m->version, APP_VERSION);
		link_drop(h, NULL);
		return true;
	}
	if (m->role != h->role || !h->there)
		h->role_due = true;
	h->role = m->role;
	h->state = LINK_AGAIN;
	/* one more, so that it does not reach 0 in between, or never begin */
	h->again = 1;
	listeners_again(h);
	conns_again(h);
	link_told(h);
	return true;
}

static bool do_done(struct hf *h, const struct app_done *m)
{
	struct hf_conn *c;

	if (h->state == LINK_HELLO) {
		if (!m->error)
			return false;
		h->refusal = hf_fail(h, m->error, "%.*s", (int)sizeof(m->text), m->text);
		link_drop(h, NULL);
		return true;
	}
	if (h->awaited && m->h.serial == h->awaited) {
		h->answer = *m;
		h->answered = true;
		return true;
	}
	switch (m->h.serial) {
	case SERIAL_NAME:
		c = TAILQ_FIRST(&h->asked);
		if (!c)
			return false;
		conn_named(c, m);
		return true;
	case SERIAL_LISTEN:
		if (m->error)
			h->trouble = hf_fail(h, m->error, "%.*s", (int)sizeof(m->text), m->text);
		link_told(h);
		return true;
	case 0:
		c = conn_find(h, m->h.conn);
		if (c && m->error) {
			c->error = h->trouble = hf_fail(h, m->error, "a commit was refused: %.*s",
							(int)sizeof(m->text), m->text);
		}
		return true;
	default:
		/* of a request that was given up, or whose answer does not matter */
		return true;
	}
}

static bool do_restored(struct hf *h, const struct app_restored *m, size_t len, int fd,
			bool fd_lost)
{
	struct app_end forget = {
		.h = {.type = APP_FORGET, .len = sizeof(forget), .conn = m->h.conn}};
	struct arrival *a;
	struct hf_conn *c;
	int flags;

	if (fd < 0) {
		if (!fd_lost)
			return false;
		/* the record stays: it goes on wherever there is room */
		h->trouble = hf_fail(h, -EMFILE, "no room for the descriptor of a connection");
		link_send(h, &forget, -1);
		return true;
	}
	if (m->count > HF_PROTOCOLS_MAX || conn_find(h, m->h.conn))
		return false;
	a = calloc(1, sizeof(*a));
	c = a ? conn_new(h) : NULL;
	if (!c || conn_name(c, m->h.conn) ||
	    protocols_consume(c, (const uint8_t *)(m + 1), len - sizeof(*m), m->count)) {
		if (c)
			conn_free(c);
		free(a);
		return false;
	}
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && !(flags & O_NONBLOCK))
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	c->restored = true;
	c->key = m->key;
	c->proto = (int)m->proto;
	c->bundle = m->bundle;
	c->received = m->received;
	c->end = m->flags & APP_RESTORED_PEER_ENDED;
	if (c->proto == IPPROTO_UDP) {
		c->fd = fd;
		identity_of(fd, &c->identity);
		c->peer = m->key.peer;
		c->peer_port = m->key.peer_port;
	}
	a->conn = c;
	a->fd = fd;
	a->sent = m->sent;
	a->received = m->received;
	a->flags = m->flags;
	a->member = m->member;
	a->members = m->members;
	memcpy(a->from, m->from, sizeof(a->from) - 1);
	TAILQ_INSERT_TAIL(&h->arrivals, a, link);
	return true;
}

static const struct {
	size_t len;
	bool tail;
} shapes[] = {
	[APP_WELCOME] = {sizeof(struct app_welcome), false},
	[APP_DONE] = {sizeof(struct app_done), false},
	[APP_COMMITTED] = {sizeof(struct app_committed), false},
	[APP_RESTORED] = {sizeof(struct app_restored), true},
	[APP_MOVED] = {sizeof(struct app_end), false},
	[APP_ROLE] = {sizeof(struct app_role), false},
};

static bool consume(struct hf *h, const struct app_header *m, size_t len, int *fd, bool fd_lost)
{
	struct hf_conn *c;

	if (len < sizeof(*m) || m->type >= sizeof(shapes) / sizeof(*shapes) ||
	    !shapes[m->type].len || m->len != len ||
	    (shapes[m->type].tail ? len < shapes[m->type].len : len != shapes[m->type].len))
		return false;
	if (m->type == APP_WELCOME)
		return do_welcome(h, (const struct app_welcome *)m);
	if (m->type == APP_DONE)
		return do_done(h, (const struct app_done *)m);
	if (h->state == LINK_HELLO)
		return false;
	switch (m->type) {
	case APP_COMMITTED:
		c = conn_find(h, m->conn);
		if (c)
			commit_done(c, ((const struct app_committed *)m)->ticket);
		return true;
	case APP_RESTORED:
		if (!do_restored(h, (const struct app_restored *)m, len, *fd, fd_lost))
			return false;
		*fd = -1;
		return true;
	case APP_MOVED:
		c = conn_find(h, m->conn);
		if (c)
			conn_moved(c);
		return true;
	default: /* APP_ROLE */
		h->role = ((const struct app_role *)m)->role;
		h->role_due = true;
		return true;
	}
}

bool message_consume(struct hf *h, const void *data, size_t len, int fd, bool fd_lost)
{
	bool good = consume(h, data, len, &fd, fd_lost);

	if (fd >= 0)
		close(fd);
	return good;
}
