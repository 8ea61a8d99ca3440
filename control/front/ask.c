/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A request that may be asked again, of this node's server or of another's, and its answer. */
#include "control/front/front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACK_MS    100 /* a request is acknowledged alone after this, sooner than it is sent again */
#define RETRY_MS  50
#define TRIES_MAX 5         /* a server that ends without an answer means it */
#define TURN_MAX  (1 << 20) /* octets, before others are looked after */

static void away(struct front *f)
{
	if (!f->away_ms)
		f->away_ms = front_now();
}

static void ask(struct front *f, struct client *c)
{
	int fd = server_connect(&f->server);

	client_far_close(f, c);
	c->asked = 0;
	c->retry_ms = front_now() + RETRY_MS;
	if (fd < 0)
		away(f);
	else
		c->far.fd = fd;
}

int ask_begin(struct front *f, struct client *c)
{
	if (!c->out)
		c->out = malloc(OUT_MAX);
	if (!c->out)
		return -ENOMEM;
	c->state = ASKING;
	if (c->ack_ms)
		c->ack_ms += ACK_MS;
	client_wait(f, c, true);
	ask(f, c);
	return 1;
}

/* The server went away in the middle: it, or one that comes after it, is asked again. */
static int again(struct front *f, struct client *c, int why)
{
	client_far_close(f, c);
	c->asked = 0;
	if (why == ECONNREFUSED)
		away(f);
	else if (++c->tries > TRIES_MAX) {
		f->counts.lost++;
		front_log("a connection is ended: the server does not answer its request");
		return -EPIPE;
	}
	c->retry_ms = front_now() + (uint64_t)RETRY_MS * (c->tries + 1);
	if (c->state == SENDING) {
		c->resuming = true;
		c->state = ASKING;
		client_wait(f, c, true);
	}
	return 0;
}

int ask_clock(struct front *f, struct client *c, uint64_t now)
{
	if (c->far.fd < 0 && now >= c->retry_ms)
		ask(f, c);
	if (c->state != ASKING || !c->ack_ms || now < c->ack_ms)
		return 0;
	c->ack_ms = 0;
	return client_save(c, KIND_ASKED);
}

static int answered(struct front *f, struct client *c, enum kind kind)
{
	client_wait(f, c, false);
	f->counts.repeatable++;
	c->ack_ms = 0;
	c->state = COMMITTING;
	c->next = SENDING;
	return client_save(c, kind);
}

/* The same answer as before, so it goes on where the client is. */
static int compare(struct front *f, struct client *c, const struct head *now)
{
	uint64_t had = c->sent - c->start;
	const char *differs = "record";
	struct head before;

	if (!head_parse_response(c->record, c->record_len, c->head_only, &before))
		differs = head_differs(&before, now);
	if (!differs && c->body != head_body(now, c->head_only))
		differs = "content-length";
	if (differs) {
		f->counts.refused++;
		front_log("a connection is ended after %llu octets of an answer: the server here "
			  "has another one, by its %s",
			  (unsigned long long)had, differs);
		return -ESTALE;
	}
	f->counts.resumed++;
	c->resuming = false;
	c->skip = had > c->record_len ? had - c->record_len : 0;
	c->out_pos = now->len;
	c->state = SENDING;
	client_wait(f, c, false);
	return 1;
}

/* -EAGAIN: more of it is to be read first. */
static int describe(struct front *f, struct client *c, const struct head *h)
{
	uint64_t body = head_body(h, c->head_only);
	const char *why;

	c->last = c->last || !h->keep_alive;
	/* a short one is recorded as it is */
	if (body != HEAD_NO_LENGTH && body <= RECORD_MAX && h->len + body <= RECORD_MAX) {
		if (c->out_len < h->len + body)
			return -EAGAIN;
		c->record_len = h->len + body;
		c->body = 0;
		memcpy(c->record, c->out, c->record_len);
		client_far_close(f, c);
		return answered(f, c, KIND_AGAIN);
	}
	why = h->len > RECORD_MAX ? "its head is long" : head_why_not(h, c->head_only);
	if (why) {
		if (f->verbose)
			front_log("an answer cannot be made again: %s", why);
		return relay_begin(f, c, true);
	}
	c->record_len = h->len;
	c->body = body;
	memcpy(c->record, c->out, h->len);
	c->out_pos = h->len;
	return answered(f, c, KIND_AGAIN);
}

static int look(struct front *f, struct client *c)
{
	struct head h;
	int ret = head_parse_response(c->out, c->out_len, c->head_only, &h);

	if (ret == -EAGAIN && c->out_len > RECORD_MAX && !c->resuming)
		return relay_begin(f, c, true);
	if (ret)
		return ret == -EAGAIN && c->out_len < OUT_MAX ? -EAGAIN : -EBADMSG;
	return c->resuming ? compare(f, c, &h) : describe(f, c, &h);
}

int ask_step(struct front *f, struct client *c)
{
	ssize_t n;
	int ret;

	if (c->far.fd < 0)
		return 0;
	while (c->asked < c->request_len) {
		n = send(c->far.fd, c->request + c->asked, c->request_len - c->asked, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN ? 0 : again(f, c, errno);
		c->asked += n;
	}
	do {
		n = recv(c->far.fd, c->out + c->out_len, OUT_MAX - c->out_len, 0);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return again(f, c, n ? errno : EPIPE);
		f->away_ms = 0;
		c->out_len += n;
		ret = look(f, c);
	} while (ret == -EAGAIN);
	return ret;
}

/* What the client has is read and thrown away; TCP does so without a copy. */
static ssize_t discard(const struct front *f, struct client *c)
{
	int flags = f->server.sa.ss_family != AF_UNIX ? MSG_TRUNC : 0;
	ssize_t n = recv(c->far.fd, c->out, c->skip < OUT_MAX ? c->skip : OUT_MAX, flags);

	if (n > 0)
		c->skip -= n;
	return n;
}

static ssize_t fill(const struct front *f, struct client *c)
{
	uint64_t left = c->start + c->record_len + c->body - c->sent;
	ssize_t n;

	if (c->skip)
		return discard(f, c);
	n = recv(c->far.fd, c->out, left < OUT_MAX ? left : OUT_MAX, 0);
	if (n > 0) {
		c->out_pos = 0;
		c->out_len = n;
	}
	return n;
}

static void skip_read(struct client *c)
{
	size_t have = c->out_len - c->out_pos;
	size_t n = c->skip < have ? c->skip : have;

	c->skip -= n;
	c->out_pos += n;
}

int ask_send(struct front *f, struct client *c)
{
	uint64_t total = c->record_len + c->body, at;
	size_t turn = 0;

	skip_read(c);
	while ((at = c->sent - c->start) < total && turn < TURN_MAX) {
		const char *from = c->record + at;
		size_t len = c->record_len - at;
		ssize_t n;

		if (at >= c->record_len) {
			if (c->out_pos == c->out_len) {
				n = c->far.fd >= 0 ? fill(f, c) : 0;
				if (n < 0 && errno == EAGAIN)
					return 0;
				if (n <= 0)
					return again(f, c, n ? errno : EPIPE);
				turn += n;
				continue;
			}
			from = c->out + c->out_pos;
			len = c->out_len - c->out_pos;
			if (len > total - at)
				len = total - at;
		}
		n = send(c->near.fd, from, len, MSG_NOSIGNAL | (at + len < total ? MSG_MORE : 0));
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->sent += n;
		if (at >= c->record_len) {
			c->out_pos += n;
			c->tries = 0;
		}
	}
	return c->sent - c->start == total;
}
