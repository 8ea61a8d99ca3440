/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/ctl.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/clock.h"
#include "control/log.h"

#define CLIENTS_MAX    32
#define LINE_MAX_BYTES 4096
/* a monitor that does not read is dropped */
#define BACKLOG_BYTES (1u << 20)

struct ctl_client {
	struct ctl_client *next;
	struct ctl *ctl;
	struct bufferevent *bev;
	bool monitor;
	bool gone; /* to be dropped once its request was handled */
	bool busy; /* it is being handled */
};

struct ctl {
	struct event_base *base;
	ctl_request_fn *request;
	void *arg;
	struct evconnlistener *listener;
	struct ctl_client *clients;
	int count;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

void ctl_path(const char *run_dir, const char *name, char *buf, size_t len)
{
	snprintf(buf, len, "%s/%s.sock", run_dir, name);
}

static void drop(struct ctl_client *c)
{
	if (c->busy) {
		c->gone = true;
		c->monitor = false;
		return;
	}
	for (struct ctl_client **at = &c->ctl->clients; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			c->ctl->count--;
			break;
		}
	bufferevent_free(c->bev);
	free(c);
}

void ctl_answer(struct ctl_client *c, json_t *j)
{
	char *text = json_dumps(j, JSON_COMPACT);

	if (text) {
		bufferevent_write(c->bev, text, strlen(text));
		bufferevent_write(c->bev, "\n", 1);
	}
	free(text);
	json_decref(j);
}

void ctl_refuse(struct ctl_client *c, const char *why)
{
	ctl_answer(c, json_pack("{s:b,s:s}", "ok", 0, "error", why));
}

static void handle(struct ctl_client *c, const char *line)
{
	json_t *j = json_loads(line, 0, NULL);
	const char *cmd = json_string_value(json_object_get(j, "cmd"));

	if (!cmd) {
		ctl_refuse(c, "the request is not JSON with a \"cmd\"");
	} else if (!strcmp(cmd, "monitor")) {
		c->monitor = true;
		ctl_answer(c, json_pack("{s:b}", "ok", 1));
	} else {
		c->ctl->request(c->ctl->arg, c, cmd, j);
	}
	json_decref(j);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct ctl_client *c = arg;
	char *line;

	/* what a request brings about is told to monitors, of which it may be one that is dropped
	 */
	c->busy = true;
	while (!c->gone && evbuffer_get_length(bufferevent_get_output(bev)) < BACKLOG_BYTES &&
	       (line = evbuffer_readln(bufferevent_get_input(bev), NULL, EVBUFFER_EOL_LF))) {
		handle(c, line);
		free(line);
	}
	c->busy = false;
	if (c->gone || evbuffer_get_length(bufferevent_get_input(bev)) > LINE_MAX_BYTES)
		drop(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	drop(arg);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len,
		      void *arg)
{
	struct ctl *ctl = arg;
	struct ctl_client *c;

	(void)l;
	(void)sa;
	(void)len;
	c = ctl->count < CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->ctl = ctl;
	c->bev = bufferevent_socket_new(ctl->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		close(fd);
		free(c);
		return;
	}
	c->next = ctl->clients;
	ctl->clients = c;
	ctl->count++;
	bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

bool ctl_watched(const struct ctl *c)
{
	return c && c->clients;
}

void ctl_publish(struct ctl *ctl, json_t *j)
{
	struct ctl_client *next;

	for (struct ctl_client *c = ctl ? ctl->clients : NULL; c; c = next) {
		next = c->next;
		if (!c->monitor)
			continue;
		if (evbuffer_get_length(bufferevent_get_output(c->bev)) > BACKLOG_BYTES)
			drop(c);
		else
			ctl_answer(c, json_incref(j));
	}
	json_decref(j);
}

static void on_log(void *arg, enum log_level level, const char *line)
{
	struct ctl *c = arg;

	if (ctl_watched(c))
		ctl_publish(c,
			    json_pack("{s:s,s:I,s:i,s:s}", "event", "log", "time_us",
				      (json_int_t)clock_us(), "level", (int)level, "text", line));
}

/* A socket file that nobody listens on is left from a daemon that was killed. */
int ctl_clear_stale(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd, ret;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	ret = connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) ? -errno : 0;
	close(fd);
	/* another type of socket listens there just as well */
	if (!ret || ret == -EPROTOTYPE)
		return -EADDRINUSE;
	unlink(path);
	return 0;
}

int ctl_open(struct event_base *base, const char *run_dir, const char *name,
	     ctl_request_fn *request, void *arg, struct ctl **ret)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct ctl *c;
	mode_t mask;
	int err;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->base = base;
	c->request = request;
	c->arg = arg;
	if ((size_t)snprintf(c->path, sizeof(c->path), "%s/%s.sock", run_dir, name) >=
	    sizeof(c->path)) {
		free(c);
		return -ENAMETOOLONG;
	}
	strcpy(sa.sun_path, c->path);
	if (mkdir(run_dir, 0755) && errno != EEXIST) {
		err = -errno;
		free(c);
		return err;
	}
	err = ctl_clear_stale(c->path);
	if (err) {
		free(c);
		return err;
	}
	mask = umask(0177);
	c->listener = evconnlistener_new_bind(base, on_accept, c,
					      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16,
					      (struct sockaddr *)&sa, sizeof(sa));
	err = c->listener ? 0 : -errno;
	umask(mask);
	if (err) {
		free(c);
		return err;
	}
	log_set_watch(on_log, c);
	*ret = c;
	return 0;
}

void ctl_close(struct ctl *c)
{
	if (!c)
		return;
	log_set_watch(NULL, NULL);
	while (c->clients) {
		/* what was answered last still wants to go out */
		struct bufferevent *bev = c->clients->bev;
		struct evbuffer *out = bufferevent_get_output(bev);

		evbuffer_unfreeze(out, 1);
		evbuffer_write(out, bufferevent_getfd(bev));
		drop(c->clients);
	}
	evconnlistener_free(c->listener);
	unlink(c->path);
	free(c);
}
