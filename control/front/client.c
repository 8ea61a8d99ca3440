/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A client's connection: its life, its requests one after the other, and what is recorded of it. */
#include "control/front/front.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DRAIN_MS 1 /* between looks at what clients have acknowledged: no event tells of it */
#define CLOCK_MS 20

/* ---- events --------------------------------------------------------------- */

/* What is closed at the other side is reported whatever one asks for, so that a server with nothing
 * to be asked for is not watched at all. */
void client_watch(struct front *f, struct end *e, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = e};
	bool want = e->fd >= 0 && (events || e == &e->client->near);

	if (want == e->watched && events == e->events)
		return;
	if (e->fd >= 0 && (want || e->watched))
		epoll_ctl(f->epoll,
			  !want        ? EPOLL_CTL_DEL
			  : e->watched ? EPOLL_CTL_MOD
				       : EPOLL_CTL_ADD,
			  e->fd, &ev);
	e->watched = want;
	e->events = events;
}

static uint32_t near_events(const struct client *c)
{
	switch (c->state) {
	case READING:
		return EPOLLIN;
	case SENDING:
		return (c->out_pos < c->out_len || c->sent - c->start < c->record_len ? EPOLLOUT
										      : 0) |
		       (c->ended || c->looked ? 0 : EPOLLRDHUP);
	case RELAYING:
		return (!c->up_done && !c->in_checked && c->far.fd >= 0 ? EPOLLIN : 0) |
		       (c->out_pos < c->out_len ? EPOLLOUT : 0);
	default:
		return 0;
	}
}

static uint32_t far_events(const struct client *c)
{
	switch (c->state) {
	case ASKING:
		return c->asked < c->request_len ? EPOLLOUT : EPOLLIN;
	case SENDING:
		return c->out_pos == c->out_len ? EPOLLIN : 0;
	case RELAYING:
		return (c->in_checked ? EPOLLOUT : 0) |
		       (c->out_pos == c->out_len && !c->down_done ? EPOLLIN : 0);
	default:
		return 0;
	}
}

void client_far_close(struct front *f, struct client *c)
{
	if (c->far.fd >= 0) {
		client_watch(f, &c->far, 0);
		close(c->far.fd);
	}
	c->far.fd = -1;
	c->out_pos = c->out_len = 0;
}

void client_wait(struct front *f, struct client *c, bool yes)
{
	if (yes == c->waits)
		return;
	c->waits = yes;
	if (yes)
		TAILQ_INSERT_TAIL(&f->waiting, c, waiting);
	else
		TAILQ_REMOVE(&f->waiting, c, waiting);
}

/* ---- life ----------------------------------------------------------------- */

struct client *client_new(struct front *f, int fd)
{
	struct client *c = calloc(1, sizeof(*c));
	int one = 1;

	if (!c)
		return NULL;
	c->near = (struct end){.client = c, .fd = fd};
	c->far = (struct end){.client = c, .fd = -1};
	c->active_ms = front_now();
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	TAILQ_INSERT_TAIL(&f->clients, c, link);
	f->client_count++;
	return c;
}

void client_drop(struct front *f, struct client *c, bool end)
{
	client_wait(f, c, false);
	client_far_close(f, c);
	if (c->conn && end)
		hf_end(c->conn);
	hf_forget(c->conn);
	c->conn = NULL;
	close(c->near.fd);
	free(c->out);
	c->out = NULL;
	c->state = DEAD;
	TAILQ_REMOVE(&f->clients, c, link);
	TAILQ_INSERT_TAIL(&f->dead, c, link);
	f->client_count--;
}

static void peer_ended(struct client *c)
{
	c->ended = true;
	c->last = true;
	hf_commit_end(c->conn, c->consumed, NULL);
}

/* A client that ends its direction while it is being answered sends its FIN again and again until
 * it is told that we know. Not before all it said is read. */
static void look_for_end(struct client *c)
{
	char octet;

	c->looked = true;
	if (!c->ended && !c->in_len && !recv(c->near.fd, &octet, 1, MSG_PEEK))
		peer_ended(c);
}

static void rest(struct front *f, struct client *c)
{
	free(c->out);
	c->out = NULL;
	c->looked = false;
	c->resuming = false;
	c->state = READING;
	c->active_ms = front_now();
	TAILQ_REMOVE(&f->clients, c, link);
	TAILQ_INSERT_TAIL(&f->clients, c, link);
}

/* ---- what is recorded ------------------------------------------------------- */

int client_save(struct client *c, enum kind kind)
{
	struct {
		struct saved s;
		char record[RECORD_MAX];
	} data = {.s = {.kind = kind, .last = c->last, .body = c->body, .len = c->record_len}};
	struct hf_checkpoint request = {
		.protocol = PROTOCOL_REQUEST,
		.object_start = c->start,
		.data = c->request,
		.len = kind == KIND_REST ? 0 : c->request_len,
	};
	struct hf_checkpoint response = {
		.protocol = PROTOCOL_RESPONSE,
		.object_start = c->start,
		.data = &data,
		.len = sizeof(data.s) + c->record_len,
	};
	int ret;

	memcpy(data.record, c->record, c->record_len);
	ret = hf_checkpoint(c->conn, &request);
	if (!ret)
		ret = hf_checkpoint(c->conn, &response);
	if (ret)
		return ret;
	return c->ended ? hf_commit_end(c->conn, c->consumed, &c->ticket)
			: hf_commit(c->conn, c->consumed, &c->ticket);
}

void client_committed(struct front *f, struct client *c, uint64_t ticket)
{
	if (c->state != COMMITTING || ticket < c->ticket)
		return;
	c->state = c->next;
	client_step(f, c);
}

/* ---- requests --------------------------------------------------------------- */

static bool acknowledged(const struct client *c)
{
	int left;

	return ioctl(c->near.fd, SIOCOUTQ, &left) || !left;
}

static void consume(struct client *c, size_t len)
{
	memmove(c->in, c->in + len, c->in_len - len);
	c->in_len -= len;
	c->consumed += len;
}

/* An answer of our own, the last one of the connection. */
static int say(struct client *c, const char *status)
{
	c->record_len =
		snprintf(c->record, sizeof(c->record),
			 "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status);
	c->last = true;
	consume(c, c->in_len);
	c->state = COMMITTING;
	c->next = SENDING;
	return client_save(c, KIND_AGAIN);
}

/* `h` NULL: the head is too long to be recorded. A checkpoint takes the place of the one before, so
 * that nothing begins before the client has all of the last answer. */
static int begin(struct front *f, struct client *c, const struct head *h, bool bad)
{
	if (!acknowledged(c)) {
		c->state = DRAINING;
		client_wait(f, c, true);
		return 0;
	}
	f->counts.requests++;
	c->start = c->sent;
	c->request_len = c->record_len = c->asked = 0;
	c->body = c->skip = 0;
	c->tries = 0;
	c->last = c->ended || (h && !h->keep_alive);
	c->head_only = h && head_is_head(h);
	if (bad)
		return say(c, "400 Bad Request");
	if (h && head_is_connect(h))
		return say(c, "501 Not Implemented");
	if (!h || h->len > HF_DATA_MAX || !head_repeatable(h))
		return relay_begin(f, c, false);
	memcpy(c->request, c->in, h->len);
	c->request_len = h->len;
	consume(c, h->len);
	c->ack_ms = front_now();
	return ask_begin(f, c);
}

static int read_request(struct front *f, struct client *c)
{
	struct head h;
	ssize_t n;
	int ret;

	for (;;) {
		ret = c->in_len ? head_parse_request(c->in, c->in_len, &h) : -EAGAIN;
		if (ret != -EAGAIN)
			return begin(f, c, ret ? NULL : &h, ret);
		if (c->in_len > HF_DATA_MAX)
			return begin(f, c, NULL, false);
		n = recv(c->near.fd, c->in + c->in_len, IN_MAX - c->in_len, 0);
		if (n == 0)
			return c->in_len ? -EPIPE : -ESHUTDOWN;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->in_len += n;
	}
}

static int send_answer(struct front *f, struct client *c)
{
	int ret = ask_send(f, c);

	if (ret != 1 || c->state != SENDING)
		return ret;
	client_far_close(f, c);
	if (c->last) {
		look_for_end(c);
		return -ESHUTDOWN;
	}
	rest(f, c);
	return 1;
}

/* Between two requests a client may hear our end, too. */
static void finish(struct front *f, struct client *c, int why)
{
	if (why == -ESHUTDOWN && c->state == READING && !c->ended)
		peer_ended(c);
	client_drop(f, c, true);
}

void client_step(struct front *f, struct client *c)
{
	int ret;

	do {
		switch (c->state) {
		case READING:
			ret = read_request(f, c);
			break;
		case ASKING:
			ret = ask_step(f, c);
			break;
		case SENDING:
			ret = send_answer(f, c);
			break;
		case RELAYING:
			ret = relay_step(f, c);
			break;
		default:
			ret = 0;
		}
	} while (ret > 0);
	if (ret < 0) {
		finish(f, c, ret);
		return;
	}
	client_watch(f, &c->near, near_events(c));
	client_watch(f, &c->far, far_events(c));
}

void client_event(struct front *f, struct end *e, uint32_t events)
{
	struct client *c = e->client;

	if (c->state == DEAD)
		return;
	if (e == &c->near && events & (EPOLLERR | EPOLLHUP)) {
		client_drop(f, c, true);
		return;
	}
	if (e == &c->near && events & EPOLLRDHUP && c->state == SENDING)
		look_for_end(c);
	client_step(f, c);
}

/* ---- the clock ---------------------------------------------------------------- */

static void settle(struct front *f, struct client *c)
{
	bool relayed = c->state == SETTLING;

	if (!acknowledged(c))
		return;
	client_wait(f, c, false);
	if (relayed) {
		c->start = c->sent;
		c->request_len = c->record_len = 0;
		c->body = 0;
		if (client_save(c, KIND_REST)) {
			client_drop(f, c, true);
			return;
		}
	}
	rest(f, c);
	client_step(f, c);
}

static void end_idle(struct front *f, uint64_t now)
{
	struct client *c;

	while ((c = TAILQ_FIRST(&f->clients)) && c->active_ms + f->idle_ms <= now) {
		if (c->state == READING) {
			client_drop(f, c, true);
			continue;
		}
		c->active_ms = now;
		TAILQ_REMOVE(&f->clients, c, link);
		TAILQ_INSERT_TAIL(&f->clients, c, link);
	}
}

int client_clock(struct front *f)
{
	int ms = TAILQ_EMPTY(&f->waiting) ? 1000 : CLOCK_MS;
	uint64_t now = front_now();
	struct client *c, *next;

	for (c = TAILQ_FIRST(&f->waiting); c; c = next) {
		next = TAILQ_NEXT(c, waiting);
		if (c->state == DRAINING || c->state == SETTLING) {
			ms = DRAIN_MS;
			settle(f, c);
		} else if (ask_clock(f, c, now) < 0) {
			client_drop(f, c, true);
		} else {
			client_step(f, c);
		}
	}
	end_idle(f, now);
	return ms;
}

/* ---- connections of another node ------------------------------------------------ */

static const struct hf_checkpoint *find(const struct hf_restored *r, uint32_t protocol)
{
	for (size_t i = 0; i < r->checkpoint_count; i++)
		if (r->checkpoints[i].protocol == protocol)
			return &r->checkpoints[i];
	return NULL;
}

static const char *refuse(struct front *f, const char *why)
{
	f->counts.refused++;
	return why;
}

/* NULL, or why the client has to hear an end. */
static const char *resume(struct front *f, struct client *c, enum kind kind)
{
	uint64_t had = c->sent - c->start;

	if (c->sent < c->start)
		return refuse(f, "the client has less than it had acknowledged before");
	if (kind == KIND_REST)
		return NULL;
	if (kind == KIND_AGAIN && had >= c->record_len + c->body)
		return had > c->record_len + c->body && !c->last
			       ? refuse(f, "the client has more than there was")
			       : NULL;
	if (kind == KIND_AGAIN && !c->body) {
		c->state = SENDING;
		return NULL;
	}
	if (!c->request_len || (had && kind != KIND_AGAIN)) {
		f->counts.lost++;
		return "its answer cannot be made again";
	}
	/* with nothing delivered, any answer will do */
	c->resuming = had;
	if (!had)
		c->record_len = c->body = 0;
	ask_begin(f, c);
	return NULL;
}

static const char *recall(struct front *f, struct client *c, const struct hf_restored *r)
{
	const struct hf_checkpoint *request = find(r, PROTOCOL_REQUEST);
	const struct hf_checkpoint *response = find(r, PROTOCOL_RESPONSE);
	struct saved s;
	struct head h;

	if (r->fresh || !response)
		return NULL;
	if (response->len < sizeof(s))
		return refuse(f, "its record is of another version");
	memcpy(&s, response->data, sizeof(s));
	if (!request || request->len > sizeof(c->request) || s.len > RECORD_MAX ||
	    response->len != sizeof(s) + s.len)
		return refuse(f, "its record is of another version");
	memcpy(c->record, (const char *)response->data + sizeof(s), s.len);
	if (request->len)
		memcpy(c->request, request->data, request->len);
	c->request_len = request->len;
	c->record_len = s.len;
	c->body = s.body;
	c->last = s.last || c->ended;
	c->start = response->object_start;
	c->head_only = c->request_len && !head_parse_request(c->request, c->request_len, &h) &&
		       head_is_head(&h);
	return resume(f, c, s.kind);
}

void client_restored(struct front *f, const struct hf_restored *r)
{
	struct client *c = client_new(f, r->fd);
	const char *why;

	if (!c) {
		close(r->fd);
		hf_forget(r->conn);
		return;
	}
	f->counts.restored++;
	c->conn = r->conn;
	hf_set_data(c->conn, c);
	c->sent = r->sent;
	c->consumed = r->received;
	c->ended = r->peer_ended;
	why = recall(f, c, r);
	hf_ready(c->conn, 0);
	if (why)
		front_log("a connection of %s is ended: %s", r->from, why);
	if (why || (c->state == READING && (r->ended || c->last)))
		client_drop(f, c, true);
	else
		client_step(f, c);
}
