/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "control/lib/handle.h"

#define PAGE 1024u

/* ---- the table -------------------------------------------------------------- */

static struct hf_conn **place_of(const struct hf *h, uint32_t handle)
{
	uint32_t index = handle & APP_CONN_INDEX;
	struct hf_conn **page = h->table[index / PAGE];

	return page ? &page[index % PAGE] : NULL;
}

struct hf_conn *conn_find(const struct hf *h, uint32_t handle)
{
	struct hf_conn **place = place_of(h, handle);

	return place && *place && (*place)->handle == handle ? *place : NULL;
}

static void unname(struct hf_conn *c)
{
	struct hf_conn **place = c->named ? place_of(c->h, c->handle) : NULL;

	/* the daemon may have given the number to another one meanwhile */
	if (place && *place == c)
		*place = NULL;
	c->named = false;
}

int conn_name(struct hf_conn *c, uint32_t handle)
{
	struct hf_conn ***page = &c->h->table[(handle & APP_CONN_INDEX) / PAGE];

	if (!*page)
		*page = calloc(PAGE, sizeof(**page));
	if (!*page)
		return hf_fail(c->h, -ENOMEM, "there is no memory");
	c->handle = handle;
	c->named = true;
	*place_of(c->h, handle) = c;
	return 0;
}

/* ---- life -------------------------------------------------------------------- */

struct hf_conn *conn_new(struct hf *h)
{
	struct hf_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->h = h;
	c->fd = -1;
	c->proto = IPPROTO_TCP;
	TAILQ_INSERT_TAIL(&h->conns, c, link);
	return c;
}

static void unqueue(struct hf_conn *c)
{
	if (!c->queued)
		return;
	c->queued = false;
	TAILQ_REMOVE(&c->h->out, c, out);
}

/* It has been said, or there is nothing to say any more. */
static void told(struct hf_conn *c)
{
	if (!c->again)
		return;
	c->again = false;
	link_told(c->h);
}

void conn_free(struct hf_conn *c)
{
	unqueue(c);
	if (c->asking)
		TAILQ_REMOVE(&c->h->asked, c, out);
	event_forget(c);
	unname(c);
	TAILQ_REMOVE(&c->h->conns, c, link);
	protocols_clear(c);
	free(c);
}

void conn_release(struct hf_conn *c)
{
	if (!c->forgotten || c->held || c->queued || c->asking)
		return;
	/* its end is still to be told to a daemon that is away */
	if (c->ended && !c->moved && c->h->state == LINK_AWAY && c->wants & WANT_END)
		return;
	told(c);
	conn_free(c);
}

int conn_check(struct hf_conn *c)
{
	if (c->moved)
		return hf_fail(c->h, -EPIPE, "the connection has moved to another node");
	return 0;
}

void conn_moved(struct hf_conn *c)
{
	unname(c);
	unqueue(c);
	c->wants = 0;
	c->moved = true;
	told(c);
	/* who has ended it is not waiting for that */
	if (!c->ended)
		event_conn(c);
	conn_release(c);
}

/* ---- what it has to say --------------------------------------------------------- */

void conn_want(struct hf_conn *c, uint32_t wants)
{
	c->wants |= wants;
	if (c->queued || c->asking || c->h->state < LINK_AGAIN)
		return;
	c->queued = true;
	TAILQ_INSERT_TAIL(&c->h->out, c, out);
	link_watch(c->h);
}

void conn_say(struct hf_conn *c, uint32_t wants)
{
	c->wants |= wants;
	if (c->queued || !c->named || conn_flush(c))
		conn_want(c, 0);
}

static int say_name(struct hf_conn *c)
{
	struct app_guard guard = {
		.h = {.type = APP_GUARD, .len = sizeof(guard), .serial = SERIAL_NAME},
		.key = c->key};
	struct app_datagram datagram = {
		.h = {.type = APP_DATAGRAM, .len = sizeof(datagram), .serial = SERIAL_NAME},
		.peer = c->peer,
		.peer_port = c->peer_port};

	if (c->proto == IPPROTO_UDP)
		return link_send(c->h, &datagram, c->fd);
	return link_send(c->h, &guard, -1);
}

static int say_bundle(struct hf_conn *c)
{
	struct app_bundle m = {.h = {.type = APP_BUNDLE,
				     .len = sizeof(m),
				     .serial = SERIAL_OTHER,
				     .conn = c->handle},
			       .bundle = c->bundle};

	return link_send(c->h, &m, -1);
}

static int say_ready(struct hf_conn *c)
{
	struct app_ready m = {.h = {.type = APP_READY, .len = sizeof(m), .conn = c->handle}};
	int err;

	if (c->ready_all)
		return link_send(c->h, &m, -1);
	for (unsigned int i = 0; i < c->protocol_count; i++) {
		struct protocol *p = &c->protocols[i];

		if (!p->ready || p->ready_told)
			continue;
		m.protocol = p->number;
		err = link_send(c->h, &m, -1);
		if (err)
			return err;
		p->ready_told = true;
	}
	return 0;
}

static int say_end(struct hf_conn *c)
{
	struct app_end m = {.h = {.type = APP_END,
				  .len = sizeof(m),
				  .serial = SERIAL_OTHER,
				  .conn = c->handle}};

	return link_send(c->h, &m, -1);
}

static int say_forget(struct hf_conn *c)
{
	struct app_end m = {.h = {.type = APP_FORGET, .len = sizeof(m), .conn = c->handle}};

	return link_send(c->h, &m, -1);
}

/* In this order. A daemon that came back has to give a name first. */
static const struct {
	uint32_t want;
	int (*say)(struct hf_conn *c);
} sayings[] = {
	{WANT_BUNDLE, say_bundle}, {WANT_COMMIT, commit_send}, {WANT_READY, say_ready},
	{WANT_END, say_end},       {WANT_FORGET, say_forget},
};

int conn_flush(struct hf_conn *c)
{
	int err;

	if (c->wants & WANT_NAME) {
		err = say_name(c);
		if (err)
			return err;
		c->wants &= ~WANT_NAME;
		unqueue(c);
		c->asking = true;
		TAILQ_INSERT_TAIL(&c->h->asked, c, out);
		return 0;
	}
	for (size_t i = 0; i < sizeof(sayings) / sizeof(*sayings); i++) {
		if (!(c->wants & sayings[i].want))
			continue;
		err = sayings[i].say(c);
		if (err)
			return err;
		c->wants &= ~sayings[i].want;
	}
	unqueue(c);
	told(c);
	conn_release(c);
	return 0;
}

void conn_named(struct hf_conn *c, const struct app_done *d)
{
	c->asking = false;
	TAILQ_REMOVE(&c->h->asked, c, out);
	/* it ended or moved while the daemon was away */
	if (d->error || conn_name(c, d->h.conn)) {
		conn_moved(c);
		return;
	}
	conn_want(c, 0);
}

/* ---- the daemon goes and comes -------------------------------------------------- */

void conns_unname(struct hf *h)
{
	struct hf_conn *next;

	for (struct hf_conn *c = TAILQ_FIRST(&h->conns); c; c = next) {
		next = TAILQ_NEXT(c, link);
		unname(c);
		unqueue(c);
		if (c->asking)
			TAILQ_REMOVE(&h->asked, c, out);
		c->asking = c->again = false;
		c->wants &= WANT_END;
		conn_release(c);
	}
}

/* Closed without hf_end(): there is nothing to show to the daemon. */
static bool lost(const struct hf_conn *c)
{
	struct identity now = {0, 0};

	return c->proto == IPPROTO_UDP && (identity_of(c->fd, &now) || now.dev != c->identity.dev ||
					   now.ino != c->identity.ino);
}

static void protocols_again(struct hf_conn *c)
{
	for (unsigned int i = 0; i < c->protocol_count; i++) {
		c->protocols[i].dirty = c->protocols[i].now;
		c->protocols[i].ready_told = false;
	}
}

void conns_again(struct hf *h)
{
	struct hf_conn *next;

	for (struct hf_conn *c = TAILQ_FIRST(&h->conns); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->moved)
			continue;
		if (lost(c)) {
			conn_moved(c);
			continue;
		}
		c->again = true;
		h->again++;
		protocols_again(c);
		conn_want(c, WANT_NAME | (c->bundle ? WANT_BUNDLE : 0) |
				     (c->ticket ? WANT_COMMIT : 0) |
				     (c->restored ? WANT_READY : 0) | (c->ended ? WANT_END : 0) |
				     (c->forgotten ? WANT_FORGET : 0));
	}
}

/* ---- what the application asks --------------------------------------------------- */

static int key_of(int fd, struct guard_key *ret)
{
	struct sockaddr_storage local, peer;
	socklen_t local_len = sizeof(local), peer_len = sizeof(peer), len = sizeof(int);
	int proto;

	memset(ret, 0, sizeof(*ret));
	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &proto, &len))
		return -errno;
	if (proto != IPPROTO_TCP)
		return -EPROTOTYPE;
	if (getsockname(fd, (struct sockaddr *)&local, &local_len) ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_len))
		return -errno;
	if (address_of((struct sockaddr *)&local, &ret->local, &ret->local_port) ||
	    address_of((struct sockaddr *)&peer, &ret->peer, &ret->peer_port))
		return -EAFNOSUPPORT;
	return 0;
}

/* A new one of the answer, or the one that has that name already. -ENOMEM. */
static int take(struct hf *h, const struct app_done *d, struct hf_conn **ret)
{
	struct app_end forget = {
		.h = {.type = APP_FORGET, .len = sizeof(forget), .conn = d->h.conn}};
	struct hf_conn *c = conn_find(h, d->h.conn);

	if (!c) {
		c = conn_new(h);
		if (!c || conn_name(c, d->h.conn)) {
			if (c)
				conn_free(c);
			link_send(h, &forget, -1);
			return hf_fail(h, -ENOMEM, "there is no memory");
		}
		c->received = d->received;
	}
	*ret = c;
	return 0;
}

int hf_guard(struct hf *h, int fd, struct hf_conn **ret)
{
	struct app_guard m = {.h = {.type = APP_GUARD, .len = sizeof(m)}};
	int err = key_of(fd, &m.key);
	struct app_done d;

	if (err)
		return hf_fail(h, err, "descriptor %d is not a connected TCP socket: %s", fd,
			       strerror(-err));
	err = link_request(h, &m.h, NULL, -1, &d);
	if (!err)
		err = take(h, &d, ret);
	if (!err)
		(*ret)->key = m.key;
	return err;
}

int hf_datagram(struct hf *h, int fd, const struct sockaddr *peer, socklen_t len,
		struct hf_conn **ret)
{
	struct app_datagram m = {.h = {.type = APP_DATAGRAM, .len = sizeof(m)}};
	socklen_t size = sizeof(int);
	struct identity identity = {0, 0};
	struct app_done d;
	int err, proto;

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &proto, &size) || proto != IPPROTO_UDP ||
	    identity_of(fd, &identity))
		return hf_fail(h, -EINVAL, "descriptor %d is not a UDP socket", fd);
	if (peer && (len < (peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
							: sizeof(struct sockaddr_in)) ||
		     address_of(peer, &m.peer, &m.peer_port)))
		return hf_fail(h, -EINVAL, "that is not an IPv4 or IPv6 address");
	err = link_request(h, &m.h, NULL, fd, &d);
	if (!err)
		err = take(h, &d, ret);
	if (err)
		return err;
	(*ret)->proto = IPPROTO_UDP;
	(*ret)->fd = fd;
	(*ret)->identity = identity;
	(*ret)->peer = m.peer;
	(*ret)->peer_port = m.peer_port;
	return 0;
}

int hf_bundle(struct hf_conn *c, uint64_t *ret_bundle)
{
	struct app_bundle m = {.h = {.type = APP_BUNDLE, .len = sizeof(m)}, .bundle = *ret_bundle};
	int err = conn_check(c);
	struct app_done d;

	if (!err)
		err = link_request(c->h, &m.h, c, -1, &d);
	if (err)
		return err;
	c->bundle = *ret_bundle = d.value;
	/* a daemon that comes back hears of the members in the order in which they joined */
	TAILQ_REMOVE(&c->h->conns, c, link);
	TAILQ_INSERT_TAIL(&c->h->conns, c, link);
	return 0;
}

int hf_ready(struct hf_conn *c, uint32_t protocol)
{
	int err = conn_check(c);
	unsigned int i = 0;

	if (err || !c->restored)
		return err;
	while (i < c->protocol_count && c->protocols[i].number != protocol)
		i++;
	if (i < c->protocol_count)
		c->protocols[i].ready = true;
	else if (protocol && c->protocol_count)
		return hf_fail(c->h, -ENOENT, "the connection has no protocol %u", protocol);
	else
		c->ready_all = true;
	conn_say(c, WANT_READY);
	return 0;
}

int hf_end(struct hf_conn *c)
{
	struct app_end m = {.h = {.type = APP_END, .len = sizeof(m)}};
	int err = conn_check(c);

	if (err)
		return err;
	/* the last of what it has accounted for goes before */
	if (c->ticket != c->sent)
		conn_want(c, WANT_COMMIT);
	err = link_request(c->h, &m.h, c, -1, NULL);
	if (err == -ENOTCONN || err == -ETIMEDOUT)
		c->wants |= WANT_END;
	c->ended = !err || c->wants & WANT_END;
	return err;
}

void hf_forget(struct hf_conn *c)
{
	if (!c)
		return;
	c->forgotten = true;
	event_forget(c);
	if (c->named || c->queued || c->asking)
		conn_say(c, WANT_FORGET);
	else
		conn_release(c);
}

void hf_set_data(struct hf_conn *c, void *data)
{
	c->data = data;
}

void *hf_data(const struct hf_conn *c)
{
	return c->data;
}
