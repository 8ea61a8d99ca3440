/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/ctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/clock.h"
#include "control/daemon.h"
#include "control/log.h"
#include "control/peer/assoc.h"
#include "control/status.h"

#define CLIENTS_MAX    32
#define LINE_MAX_BYTES 4096
/* a monitor that does not read is dropped */
#define BACKLOG_BYTES (1u << 20)

struct client {
	struct client *next;
	struct ctl *ctl;
	struct bufferevent *bev;
	bool monitor;
	bool gone; /* to be dropped once its request was handled */
	bool busy; /* it is being handled */
};

struct ctl {
	struct daemon *d;
	struct evconnlistener *listener;
	struct client *clients;
	int count;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

void ctl_path(const char *run_dir, const char *name, char *buf, size_t len)
{
	snprintf(buf, len, "%s/%s.sock", run_dir, name);
}

static void drop(struct client *c)
{
	if (c->busy) {
		c->gone = true;
		c->monitor = false;
		return;
	}
	for (struct client **at = &c->ctl->clients; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			c->ctl->count--;
			break;
		}
	bufferevent_free(c->bev);
	free(c);
}

static void answer(struct client *c, json_t *j)
{
	char *text = json_dumps(j, JSON_COMPACT);

	if (text) {
		bufferevent_write(c->bev, text, strlen(text));
		bufferevent_write(c->bev, "\n", 1);
	}
	free(text);
	json_decref(j);
}

static void refuse(struct client *c, const char *why)
{
	answer(c, json_pack("{s:b,s:s}", "ok", 0, "error", why));
}

static struct assoc *assoc_of(struct client *c, json_t *j)
{
	const char *name = json_string_value(json_object_get(j, "assoc"));
	struct daemon *d = c->ctl->d;
	struct assoc *found = NULL;
	char text[128];

	if (name) {
		found = assoc_named(d, name);
		if (!found) {
			snprintf(text, sizeof(text), "there is no association '%.64s'", name);
			refuse(c, text);
		}
		return found;
	}
	for (uint32_t i = 0; i < d->assoc_top; i++) {
		if (!d->assocs[i])
			continue;
		if (found) {
			refuse(c, "there are several associations: name one with --assoc");
			return NULL;
		}
		found = d->assocs[i];
	}
	if (!found)
		refuse(c, "there is no association");
	return found;
}

static void do_switch(struct client *c, json_t *j)
{
	bool brk = json_is_true(json_object_get(j, "break"));
	char err[256];
	struct assoc *a;

	if (c->ctl->d->conf->role != HF_ROLE_MOBILE) {
		refuse(c, "a switch is asked for at the mobile; this daemon is an anchor");
		return;
	}
	a = assoc_of(c, j);
	if (!a)
		return;
	if (mobile_switch(a, json_string_value(json_object_get(j, "to")), !brk, err, sizeof(err))) {
		refuse(c, err);
		return;
	}
	answer(c,
	       json_pack("{s:b,s:s,s:i}", "ok", 1, "assoc", a->name, "switches", (int)a->switches));
}

static bool switching(const struct daemon *d)
{
	for (uint32_t i = 0; i < d->assoc_top; i++)
		if (d->assocs[i] && d->assocs[i]->sm.state > SWITCH_SETTLED)
			return true;
	return false;
}

static void handle(struct client *c, const char *line)
{
	struct daemon *d = c->ctl->d;
	json_t *j = json_loads(line, 0, NULL);
	const char *cmd = json_string_value(json_object_get(j, "cmd"));

	if (!cmd) {
		refuse(c, "the request is not JSON with a \"cmd\"");
	} else if (!strcmp(cmd, "status")) {
		json_t *s = status_daemon(d);

		json_object_set_new(s, "ok", json_true());
		answer(c, s);
	} else if (!strcmp(cmd, "switch")) {
		do_switch(c, j);
	} else if (!strcmp(cmd, "monitor")) {
		c->monitor = true;
		answer(c, json_pack("{s:b}", "ok", 1));
	} else if (!strcmp(cmd, "down")) {
		bool keep = json_is_true(json_object_get(j, "keep"));

		/* what is parked is in the daemon's memory */
		if (keep && switching(d)) {
			refuse(c, "a switch is under way and packets may be held: try again when "
				  "it is over");
		} else {
			answer(c, json_pack("{s:b}", "ok", 1));
			daemon_stop(d, keep);
		}
	} else {
		refuse(c, "unknown command");
	}
	json_decref(j);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;
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
	struct client *c;

	(void)l;
	(void)sa;
	(void)len;
	c = ctl->count < CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->ctl = ctl;
	c->bev = bufferevent_socket_new(ctl->d->base, fd, BEV_OPT_CLOSE_ON_FREE);
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

static void publish(struct daemon *d, json_t *j)
{
	struct client *next;

	for (struct client *c = d->ctl ? d->ctl->clients : NULL; c; c = next) {
		next = c->next;
		if (!c->monitor)
			continue;
		if (evbuffer_get_length(bufferevent_get_output(c->bev)) > BACKLOG_BYTES)
			drop(c);
		else
			answer(c, json_incref(j));
	}
	json_decref(j);
}

static void on_log(void *arg, enum log_level level, const char *line)
{
	struct daemon *d = arg;

	if (!d->ctl || !d->ctl->clients)
		return;
	publish(d, json_pack("{s:s,s:I,s:i,s:s}", "event", "log", "time_us", (json_int_t)clock_us(),
			     "level", (int)level, "text", line));
}

void ctl_publish_switch(struct daemon *d, const struct assoc *a)
{
	json_t *j;

	if (!d->ctl || !d->ctl->clients)
		return;
	j = status_assoc(a);
	json_object_set_new(j, "event", json_string("switch"));
	json_object_set_new(j, "time_us", json_integer(clock_us()));
	publish(d, j);
}

void ctl_publish_state(struct daemon *d, const struct assoc *a)
{
	json_t *j;

	if (!d->ctl || !d->ctl->clients || !a)
		return;
	j = status_assoc(a);
	json_object_set_new(j, "event", json_string("state"));
	json_object_set_new(j, "time_us", json_integer(clock_us()));
	publish(d, j);
}

void ctl_publish_flow(struct daemon *d, const struct hf_event *e, const char *assoc,
		      const char *service)
{
	static const char *const whats[] = {[HF_EVENT_FLOW_NEW] = "new",
					    [HF_EVENT_FLOW_REFUSED] = "refused",
					    [HF_EVENT_FLOW_EXPIRED] = "expired"};

	if (!d->ctl || !d->ctl->clients || e->type < HF_EVENT_FLOW_NEW ||
	    e->type > HF_EVENT_FLOW_EXPIRED)
		return;
	publish(d, json_pack("{s:s,s:I,s:s,s:s,s:s,s:i}", "event", "flow", "time_us",
			     (json_int_t)(e->time_ns / 1000), "what", whats[e->type], "assoc",
			     assoc, "service", service, "port", ntohs(e->port)));
}

/* A socket file that nobody listens on is left from a daemon that was killed. */
static int clear_stale(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	ret = connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
	close(fd);
	if (!ret)
		return -EADDRINUSE;
	unlink(sa->sun_path);
	return 0;
}

int ctl_open(struct daemon *d, struct ctl **ret)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct ctl *c;
	mode_t mask;
	int err;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->d = d;
	if ((size_t)snprintf(c->path, sizeof(c->path), "%s/%s.sock", d->conf->run_dir,
			     d->conf->name) >= sizeof(c->path)) {
		free(c);
		return -ENAMETOOLONG;
	}
	strcpy(sa.sun_path, c->path);
	if (mkdir(d->conf->run_dir, 0755) && errno != EEXIST) {
		err = -errno;
		free(c);
		return err;
	}
	err = clear_stale(&sa);
	if (err) {
		free(c);
		return err;
	}
	mask = umask(0177);
	c->listener = evconnlistener_new_bind(d->base, on_accept, c,
					      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16,
					      (struct sockaddr *)&sa, sizeof(sa));
	err = c->listener ? 0 : -errno;
	umask(mask);
	if (err) {
		free(c);
		return err;
	}
	log_set_watch(on_log, d);
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

		evbuffer_write(out, bufferevent_getfd(bev));
		drop(c->clients);
	}
	evconnlistener_free(c->listener);
	unlink(c->path);
	free(c);
}
