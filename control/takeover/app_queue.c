/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "control/takeover/app_inner.h"

/* too many descriptors are in flight, or the kernel has no memory: nothing tells when that is over
 */
#define PAUSE_US 1000

union control {
	struct cmsghdr h;
	char b[CMSG_SPACE(sizeof(int))];
};

static void message_free(struct app *a, struct app_message *m)
{
	TAILQ_REMOVE(&a->out, m, link);
	a->out_count--;
	if (m->counted)
		a->out_bytes -= m->len;
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

void app_queue_clear(struct app *a)
{
	while (!TAILQ_EMPTY(&a->out))
		message_free(a, TAILQ_FIRST(&a->out));
}

static void attach(struct msghdr *h, union control *c, int fd)
{
	memset(c, 0, sizeof(*c));
	c->h.cmsg_level = SOL_SOCKET;
	c->h.cmsg_type = SCM_RIGHTS;
	c->h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&c->h), &fd, sizeof(int));
	h->msg_control = c;
	h->msg_controllen = sizeof(c->b);
}

/* Messages sent, or negative errno. */
static int send_batch(struct app *a)
{
	union control control[APP_SEND_BATCH];
	struct mmsghdr batch[APP_SEND_BATCH];
	struct iovec iov[APP_SEND_BATCH];
	struct app_message *m = TAILQ_FIRST(&a->out);
	unsigned int n;
	int sent;

	for (n = 0; m && n < APP_SEND_BATCH; m = TAILQ_NEXT(m, link), n++) {
		iov[n] = (struct iovec){m->bytes, m->len};
		batch[n].msg_hdr = (struct msghdr){.msg_iov = &iov[n], .msg_iovlen = 1};
		if (m->fd >= 0)
			attach(&batch[n].msg_hdr, &control[n], m->fd);
	}
	do
		sent = sendmmsg(a->fd, batch, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

static void stop(struct app *a, int error)
{
	struct timeval pause = {.tv_usec = PAUSE_US};

	switch (error) {
	case -EAGAIN:
		a->full = true;
		event_add(a->write, NULL);
		break;
	case -ETOOMANYREFS:
	case -ENOBUFS:
	case -ENOMEM:
		a->full = true;
		evtimer_add(a->write, &pause);
		break;
	default:
		/* what it said before its end is read first */
		a->mute = true;
		app_queue_clear(a);
	}
}

void app_flush(struct app *a)
{
	int sent;

	while (!a->full && !TAILQ_EMPTY(&a->out)) {
		sent = send_batch(a);
		if (sent < 0) {
			stop(a, sent);
			return;
		}
		while (sent-- > 0)
			message_free(a, TAILQ_FIRST(&a->out));
	}
}

struct app_message *app_message_new(uint32_t type, uint32_t len)
{
	struct app_message *m = calloc(1, sizeof(*m) + len);

	if (!m)
		return NULL;
	m->fd = -1;
	m->len = len;
	*(struct app_header *)m->bytes = (struct app_header){.type = type, .len = len};
	return m;
}

void app_queue(struct app *a, struct app_message *m)
{
	TAILQ_INSERT_TAIL(&a->out, m, link);
	a->out_count++;
	if (m->counted)
		a->out_bytes += m->len;
	if (a->mute)
		message_free(a, m);
	else if (a->out_bytes > APP_SEND_MAX)
		app_break(a, "it does not read what it is told");
	else
		apps_soon(a->apps);
}

void app_say(struct app *a, uint32_t type, void *m, uint32_t len)
{
	struct app_message *made;

	if (a->broken)
		return;
	made = app_message_new(type, len);
	if (!made) {
		app_break(a, "there is no memory for what it is to be told");
		return;
	}
	((struct app_header *)m)->type = type;
	((struct app_header *)m)->len = len;
	memcpy(made->bytes, m, len);
	made->counted = true;
	app_queue(a, made);
}

void app_answer(struct app *a, uint32_t serial, uint32_t handle, int error, const char *text)
{
	struct app_done d = {.h.serial = serial, .h.conn = handle, .error = error};

	if (error)
		snprintf(d.text, sizeof(d.text), "%s", *text ? text : strerror(-error));
	app_say(a, APP_DONE, &d, sizeof(d));
}
