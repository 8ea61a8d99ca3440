/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What cannot be asked again, or whose answer cannot be made again: passed on both ways as it
 * comes, until the answer is over. The record says that a connection in this state has to end.
 */
#include "control/front/front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RETRY_MS 50
#define TURN_MAX (1 << 20)

static int up_complete(http_parser *p)
{
	struct client *c = p->data;

	c->up_done = true;
	http_parser_pause(p, 1);
	return 0;
}

static int down_head(http_parser *p)
{
	const struct client *c = p->data;

	return c->head_only || c->up.method == HTTP_HEAD;
}

static int down_complete(http_parser *p)
{
	struct client *c = p->data;

	if (p->status_code / 100 == 1 && p->status_code != 101)
		return 0;
	if (p->status_code == 101) {
		c->tunnel = true;
	} else {
		c->down_done = true;
		c->last = c->last || !http_should_keep_alive(p);
	}
	http_parser_pause(p, 1);
	return 0;
}

static int parse_up(struct client *c)
{
	static const http_parser_settings settings = {.on_message_complete = up_complete};

	c->in_checked =
		c->tunnel ? c->in_len : http_parser_execute(&c->up, &settings, c->in, c->in_len);
	return c->in_checked || c->up_done ? 0 : -EBADMSG;
}

/* The octets of c->out from `at` on are new. */
static int parse_down(struct client *c, size_t at)
{
	static const http_parser_settings settings = {.on_headers_complete = down_head,
						      .on_message_complete = down_complete};
	size_t n;

	if (c->tunnel)
		return 0;
	n = http_parser_execute(&c->down, &settings, c->out + at, c->out_len - at);
	if (c->tunnel)
		c->up_done = false;
	else if (c->down_done)
		c->out_len = at + n;
	else if (c->down.http_errno != HPE_OK)
		return -EBADMSG;
	return 0;
}

int relay_begin(struct front *f, struct client *c, bool answered)
{
	f->counts.opaque++;
	if (!c->out)
		c->out = malloc(OUT_MAX);
	if (!c->out)
		return -ENOMEM;
	client_wait(f, c, false);
	http_parser_init(&c->up, HTTP_REQUEST);
	http_parser_init(&c->down, HTTP_RESPONSE);
	c->up.data = c->down.data = c;
	c->up_done = answered;
	c->down_done = c->tunnel = false;
	c->in_checked = 0;
	c->record_len = c->body = 0;
	c->ack_ms = 0;
	if (answered) {
		c->out_pos = 0;
		if (parse_down(c, 0))
			return -EBADMSG;
	}
	c->state = COMMITTING;
	c->next = RELAYING;
	return client_save(c, KIND_OPAQUE);
}

/* Nothing was asked yet, so that there is no haste: the server may come back. */
static int reach(struct front *f, struct client *c, int error)
{
	if (error) {
		client_far_close(f, c);
		if (!f->away_ms)
			f->away_ms = front_now();
	} else {
		c->far.fd = server_connect(&f->server);
	}
	client_wait(f, c, c->far.fd < 0);
	if (c->far.fd >= 0)
		return 1;
	if (!f->away_ms)
		f->away_ms = front_now();
	c->far.fd = -1;
	c->retry_ms = front_now() + RETRY_MS;
	return 0;
}

static int lost(struct front *f)
{
	f->counts.lost++;
	front_log("a connection is ended: the server went away, and its answer cannot be asked for "
		  "again");
	return -EPIPE;
}

static int pass_up(struct front *f, struct client *c)
{
	uint64_t before = c->consumed;
	ssize_t n;

	for (;;) {
		while (c->in_checked) {
			n = send(c->far.fd, c->in, c->in_checked, MSG_NOSIGNAL);
			if (n < 0 && errno == EAGAIN)
				goto out;
			if (n < 0 && c->down_done)
				return -ESHUTDOWN;
			if (n < 0)
				return c->asked ? lost(f) : reach(f, c, errno);
			memmove(c->in, c->in + n, c->in_len - n);
			c->in_len -= n;
			c->in_checked -= n;
			c->consumed += n;
			c->asked = 1;
		}
		if (c->up_done || c->consumed - before > TURN_MAX)
			break;
		if (c->in_len) {
			if (parse_up(c))
				return -EBADMSG;
			continue;
		}
		n = recv(c->near.fd, c->in, IN_MAX, 0);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		c->in_len = n;
	}
out:
	return c->consumed > before ? hf_commit(c->conn, c->consumed, NULL) : 0;
}

static int pass_down(struct front *f, struct client *c)
{
	size_t turn = 0;
	ssize_t n;

	while (turn < TURN_MAX) {
		while (c->out_pos < c->out_len) {
			n = send(c->near.fd, c->out + c->out_pos, c->out_len - c->out_pos,
				 MSG_NOSIGNAL);
			if (n < 0)
				return errno == EAGAIN ? 0 : -errno;
			c->out_pos += n;
			c->sent += n;
		}
		if (c->down_done)
			return 0;
		c->out_pos = c->out_len = 0;
		n = recv(c->far.fd, c->out, OUT_MAX, 0);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n > 0) {
			turn += n;
			f->away_ms = 0;
			c->out_len = n;
			if (parse_down(c, 0))
				return -EBADMSG;
			continue;
		}
		/* an answer may last until the server ends, or the tunnel is over */
		if (c->tunnel)
			return -ESHUTDOWN;
		if (n < 0 || parse_down(c, 0) || !c->down_done)
			return lost(f);
	}
	return 0;
}

int relay_step(struct front *f, struct client *c)
{
	int ret = c->far.fd < 0 ? reach(f, c, 0) : 0;

	if (c->far.fd < 0)
		return ret;
	ret = pass_up(f, c);
	if (ret || c->far.fd < 0)
		return ret < 0 ? ret : 0;
	ret = pass_down(f, c);
	if (ret || !c->down_done || c->out_pos < c->out_len)
		return ret;
	/* some are answered before they have said all */
	if (!c->up_done || c->in_checked)
		return 0;
	if (c->last)
		return -ESHUTDOWN;
	client_far_close(f, c);
	c->state = SETTLING;
	client_wait(f, c, true);
	return 0;
}
