/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/lib/handle.h"

#define RUN_DIR          "/run/holdfast"
#define INSTANCE_DEFAULT "server"

/* of hf_open(), which leaves no handle when it fails */
static _Thread_local char open_error[sizeof(((struct hf *)0)->error)];

int hf_fail(struct hf *h, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(h->error, sizeof(h->error), format, args);
	va_end(args);
	return error;
}

const char *hf_error(const struct hf *h)
{
	return h ? h->error : open_error;
}

static bool name_good(const char *name)
{
	size_t len = name ? strlen(name) : 0;

	if (!len || len >= HF_NAME_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)name[i]) || name[i] == '/')
			return false;
	return true;
}

static int start(struct hf *h, const char *instance, const char *service)
{
	const char *dir = secure_getenv("HOLDFAST_RUN_DIR");

	if (!name_good(instance) || !name_good(service))
		return hf_fail(h, -EINVAL, "a name has 1 to %u printable characters",
			       HF_NAME_LEN - 1);
	if (!h->ops.restored || !h->ops.moved)
		return hf_fail(h, -EINVAL,
			       "who guards connections must take those of others (ops.restored), "
			       "and let go of its own (ops.moved)");
	strcpy(h->service, service);
	if ((size_t)snprintf(h->path, sizeof(h->path), "%s/%s.app", dir ? dir : RUN_DIR,
			     instance) >= sizeof(h->path))
		return hf_fail(h, -ENAMETOOLONG, "the path of the daemon's socket is too long");
	return link_open(h);
}

int hf_open(const char *instance, const char *service, const struct hf_ops *ops, void *arg,
	    struct hf **ret)
{
	struct hf *h = calloc(1, sizeof(*h));
	int err;

	if (!h) {
		strcpy(open_error, "there is no memory");
		return -ENOMEM;
	}
	if (ops)
		h->ops = *ops;
	h->arg = arg;
	h->fd = h->epoll = h->alarm = -1;
	TAILQ_INIT(&h->conns);
	TAILQ_INIT(&h->out);
	TAILQ_INIT(&h->asked);
	TAILQ_INIT(&h->due);
	TAILQ_INIT(&h->arrivals);
	TAILQ_INIT(&h->listeners);
	strcpy(h->error, "there was no error");
	err = start(h, instance ? instance : INSTANCE_DEFAULT, service);
	if (err) {
		strcpy(open_error, h->error);
		hf_close(h);
		return err;
	}
	h->told_there = h->there;
	*ret = h;
	return 0;
}

void hf_close(struct hf *h)
{
	if (!h)
		return;
	link_close(h);
	events_clear(h);
	listeners_close(h);
	while (!TAILQ_EMPTY(&h->conns))
		conn_free(TAILQ_FIRST(&h->conns));
	for (size_t i = 0; i < sizeof(h->table) / sizeof(*h->table); i++)
		free(h->table[i]);
	free(h);
}

int hf_fd(const struct hf *h)
{
	return h->epoll;
}

int hf_timeout(const struct hf *h)
{
	return events_due(h) || h->trouble ? 0 : link_timeout(h);
}

int hf_dispatch(struct hf *h)
{
	int trouble;

	if (h->running)
		return hf_fail(h, -EBUSY, "hf_dispatch() was called by a callback");
	link_step(h);
	events_run(h);
	trouble = h->trouble;
	h->trouble = 0;
	if (trouble)
		return trouble;
	return h->state < LINK_AGAIN ? -ENOTCONN : 0;
}
