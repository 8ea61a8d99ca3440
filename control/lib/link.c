/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The timers: one, `deadline_ms`. AWAY: connect then, after BACKOFF_MIN_MS, twice as
 * long each time up to BACKOFF_MAX_MS. HELLO and AGAIN: the daemon answers nothing, drop it;
 * armed anew by every message.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control/lib/handle.h"

#define BACKOFF_MIN_MS 10
#define BACKOFF_MAX_MS 1000
/* messages that one call reads: what comes faster than it is read must not hold the caller for ever
 */
#define READ_MAX 4096

uint64_t link_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- connecting ------------------------------------------------------------ */

static void watch(struct hf *h, int op, bool writing)
{
	struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0u), .data.fd = h->fd};

	epoll_ctl(h->epoll, op, h->fd, &e);
	h->writing = writing;
}

/* The socket is blocking for hf_open() alone: SO_SNDTIMEO bounds connect(2) where the daemon's
 * backlog is full. */
static int reach(struct hf *h, bool block)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = REQUEST_MS / 1000};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (block ? 0 : SOCK_NONBLOCK), 0);
	int err;

	if (fd < 0)
		return hf_fail(h, -errno, "no socket: %s", strerror(errno));
	strcpy(sa.sun_path, h->path);
	if (block)
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		err = errno;
		close(fd);
		if (err == ENOENT || err == ECONNREFUSED)
			return hf_fail(h, -ENOENT, "no daemon listens at %s", h->path);
		if (err == EACCES || err == EPERM)
			return hf_fail(h, -EACCES, "this user may not connect to %s", h->path);
		return hf_fail(h, err == EAGAIN ? -ETIMEDOUT : -err, "%s: %s", h->path,
			       strerror(err));
	}
	h->fd = fd;
	watch(h, EPOLL_CTL_ADD, false);
	h->state = LINK_HELLO;
	h->refusal = 0;
	h->deadline_ms = link_now_ms() + REQUEST_MS;
	return 0;
}

/* A daemon that refuses us may have closed already: then its reason is there to be read. */
static void greet(struct hf *h)
{
	struct app_hello m = {.h = {.type = APP_HELLO, .len = sizeof(m)}, .version = APP_VERSION};

	memcpy(m.service, h->service, sizeof(m.service));
	link_send(h, &m, -1);
}

static void back_off(struct hf *h)
{
	h->deadline_ms = link_now_ms() + h->backoff_ms;
	h->backoff_ms = 2 * h->backoff_ms < BACKOFF_MAX_MS ? 2 * h->backoff_ms : BACKOFF_MAX_MS;
}

void link_drop(struct hf *h, const char *why)
{
	if (h->state == LINK_AWAY)
		return;
	if (why)
		hf_fail(h, -ENOTCONN, "%s", why);
	close(h->fd);
	h->fd = -1;
	if (h->state == LINK_UP)
		h->backoff_ms = BACKOFF_MIN_MS;
	h->state = LINK_AWAY;
	h->there = false;
	h->again = 0;
	conns_unname(h);
	back_off(h);
}

static void reconnect(struct hf *h)
{
	if (reach(h, false)) {
		back_off(h);
		return;
	}
	greet(h);
}

int link_open(struct hf *h)
{
	struct epoll_event e = {.events = EPOLLIN};
	int err;

	h->backoff_ms = BACKOFF_MIN_MS;
	h->epoll = epoll_create1(EPOLL_CLOEXEC);
	h->alarm = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e.data.fd = h->alarm;
	if (h->epoll < 0 || h->alarm < 0 || epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->alarm, &e))
		return hf_fail(h, -errno, "no descriptor to wait on: %s", strerror(errno));
	err = reach(h, true);
	if (err)
		return err;
	greet(h);
	while (h->state == LINK_HELLO)
		link_wait(h, -1);
	if (h->refusal)
		return h->refusal;
	return h->state == LINK_UP ? 0 : -ENOTCONN;
}

void link_close(struct hf *h)
{
	if (h->fd >= 0)
		close(h->fd);
	if (h->alarm >= 0)
		close(h->alarm);
	if (h->epoll >= 0)
		close(h->epoll);
}

void link_told(struct hf *h)
{
	if (!h->again || --h->again)
		return;
	h->state = LINK_UP;
	h->there = true;
}

int link_timeout(const struct hf *h)
{
	uint64_t now = link_now_ms();

	if (h->state == LINK_UP)
		return -1;
	return now >= h->deadline_ms ? 0 : (int)(h->deadline_ms - now);
}

/* ---- sending --------------------------------------------------------------- */

int link_send(struct hf *h, const void *m, int fd)
{
	union {
		struct cmsghdr h;
		char b[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {(void *)m, ((const struct app_header *)m)->len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (h->state == LINK_AWAY)
		return -ENOTCONN;
	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		control.h.cmsg_level = SOL_SOCKET;
		control.h.cmsg_type = SCM_RIGHTS;
		control.h.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.h), &fd, sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.b);
	}
	do
		n = fd < 0 ? send(h->fd, iov.iov_base, iov.iov_len, MSG_DONTWAIT | MSG_NOSIGNAL)
			   : sendmsg(h->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -EAGAIN : 0;
}

void link_watch(struct hf *h)
{
	if (!h->writing)
		watch(h, EPOLL_CTL_MOD, true);
}

/* What could not be said yet. */
static void flush(struct hf *h)
{
	struct hf_conn *c;
	int err;

	if (h->state < LINK_AGAIN)
		return;
	err = listeners_flush(h);
	while (!err && (c = TAILQ_FIRST(&h->out)))
		err = conn_flush(c);
	if (err)
		link_watch(h);
	else if (h->writing)
		watch(h, EPOLL_CTL_MOD, false);
}

/* ---- reading --------------------------------------------------------------- */

static int passed_fd(struct msghdr *m)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len >= CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

/* False: there is no more. */
static bool read_one(struct hf *h)
{
	union {
		struct cmsghdr h;
		char b[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {h->in, sizeof(h->in)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control.b)};
	ssize_t n = recvmsg(h->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd;

	if (n < 0) {
		/* it died with something of ours unread: what it said before is still there */
		if (errno == EINTR || errno == ECONNRESET)
			return true;
		if (errno != EAGAIN)
			link_drop(h, strerror(errno));
		return false;
	}
	fd = passed_fd(&m);
	if (!n) {
		if (fd >= 0)
			close(fd);
		link_drop(h, "the daemon closed the connection");
		return false;
	}
	if (h->state != LINK_UP)
		h->deadline_ms = link_now_ms() + REQUEST_MS;
	if (!message_consume(h, h->in, (size_t)n, fd, m.msg_flags & MSG_CTRUNC))
		link_drop(h, "the daemon said something that makes no sense");
	return h->state != LINK_AWAY;
}

static void silence(struct hf *h)
{
	uint64_t count;

	if (!h->alarmed)
		return;
	h->alarmed = false;
	(void)!read(h->alarm, &count, sizeof(count));
}

void link_alarm(struct hf *h)
{
	uint64_t one = 1;

	if (h->alarmed || h->running || (!events_due(h) && !h->trouble))
		return;
	h->alarmed = true;
	(void)!write(h->alarm, &one, sizeof(one));
}

void link_step(struct hf *h)
{
	silence(h);
	if (h->state != LINK_UP && link_now_ms() >= h->deadline_ms) {
		if (h->state == LINK_AWAY) {
			reconnect(h);
		} else {
			h->refusal = -ETIMEDOUT;
			link_drop(h, "the daemon does not answer");
		}
	}
	if (h->state == LINK_AWAY)
		return;
	for (int i = 0; i < READ_MAX; i++)
		if (!read_one(h))
			break;
	flush(h);
}

void link_wait(struct hf *h, int timeout_ms)
{
	struct pollfd p = {.fd = h->fd, .events = POLLIN | (TAILQ_EMPTY(&h->out) ? 0 : POLLOUT)};
	int limit = link_timeout(h);

	if (limit >= 0 && (timeout_ms < 0 || limit < timeout_ms))
		timeout_ms = limit;
	poll(&p, h->fd >= 0, timeout_ms);
	link_step(h);
}

/* ---- asking ---------------------------------------------------------------- */

/* Waits until `done` or the deadline. */
static int await(struct hf *h, uint64_t deadline, bool (*done)(const struct hf *h))
{
	uint64_t now;

	while (h->state != LINK_AWAY && !done(h)) {
		now = link_now_ms();
		if (now >= deadline)
			return hf_fail(h, -ETIMEDOUT, "the daemon does not answer");
		link_wait(h, (int)(deadline - now));
	}
	if (h->state == LINK_AWAY && !h->answered)
		return hf_fail(h, -ENOTCONN, "the daemon is away");
	return 0;
}

/* A daemon that came back hears of what there is, and any daemon of what was said before, before it
 * hears of anything new. */
static bool clear(const struct hf *h)
{
	return h->state == LINK_UP && TAILQ_EMPTY(&h->out);
}

static bool answered(const struct hf *h)
{
	return h->answered;
}

static int ask(struct hf *h, struct app_header *m, struct hf_conn *c, int fd, uint64_t deadline)
{
	struct pollfd p = {.events = POLLOUT | POLLIN};
	uint64_t now;
	int err;

	err = await(h, deadline, clear);
	if (!err && c)
		err = conn_check(c);
	if (err)
		return err;
	m->conn = c ? c->handle : 0;
	h->serial = h->serial == SERIAL_LISTEN - 1 ? 1 : h->serial + 1;
	m->serial = h->awaited = h->serial;
	while ((err = link_send(h, m, fd)) == -EAGAIN) {
		now = link_now_ms();
		if (now >= deadline)
			return hf_fail(h, -ETIMEDOUT, "the daemon does not read");
		p.fd = h->fd;
		poll(&p, 1, (int)(deadline - now));
		link_step(h);
	}
	if (err)
		return hf_fail(h, err, "the daemon is away");
	return await(h, deadline, answered);
}

int link_request(struct hf *h, struct app_header *m, struct hf_conn *c, int fd,
		 struct app_done *ret)
{
	int err;

	h->answered = false;
	err = ask(h, m, c, fd, link_now_ms() + REQUEST_MS);
	h->awaited = 0;
	link_alarm(h);
	if (err)
		return err;
	if (h->answer.error) {
		h->answer.text[sizeof(h->answer.text) - 1] = 0;
		return hf_fail(h, h->answer.error, "%s", h->answer.text);
	}
	if (ret)
		*ret = h->answer;
	return 0;
}
