/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the files of the applications' socket share; for nobody else. */
#ifndef HOLDFAST_TAKEOVER_APP_INNER_H
#define HOLDFAST_TAKEOVER_APP_INNER_H

#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "control/takeover/app.h"

struct event;
struct evconnlistener;

#define APP_READ_BATCH 16 /* messages that one recvmmsg(2) takes */
#define APP_SEND_BATCH 64

/* Connections of an application, by number - 1, in pages on demand. */
#define APP_PAGE_CONNS 1024u
#define APP_PAGES      (APP_CONNS_MAX / APP_PAGE_CONNS)

struct app_message {
	TAILQ_ENTRY(app_message) link;
	int fd;       /* goes with it and is closed then; -1: none */
	bool counted; /* among APP_SEND_MAX */
	uint32_t len;
	_Alignas(8) uint8_t bytes[];
};

struct app_ending;

struct app {
	TAILQ_ENTRY(app) link; /* oldest first */
	struct apps *apps;
	int fd;
	struct event *read;
	struct event *write; /* the socket was full; or a timer, where descriptors were too many */
	struct event *deadline;
	TAILQ_HEAD(, app_message) out;
	size_t out_bytes; /* of those that are counted */
	size_t out_count;
	uint16_t *pages[APP_PAGES];
	TAILQ_HEAD(, app_ending) endings;
	uint32_t pid;
	char service[HF_NAME_LEN];
	void *data;
	bool welcome; /* it said hello */
	bool listens;
	bool full;    /* `write` will tell when there is room */
	bool mute;    /* it hears nothing any more: its end is about to be read */
	bool leaving; /* to be closed when everything was sent */
	const char *broken;
};

struct apps {
	struct event_base *base;
	struct evconnlistener *listener;
	struct event *resume; /* accept again */
	struct event *sweep;  /* something is to be sent, or somebody is broken */
	struct apps_ops ops;
	void *arg;
	gid_t gid;
	uint32_t role;
	char node[HF_NAME_LEN];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	TAILQ_HEAD(, app) list;
	size_t count;
	bool sweeping; /* `sweep` is active */
	_Alignas(8) uint8_t in[APP_READ_BATCH][APP_MESSAGE_MAX];
};

/* It is ended by the loop, soon. `why` is a literal. */
void app_break(struct app *a, const char *why);
/* What is queued goes out at the end of this round of the loop. */
void apps_soon(struct apps *s);

/* ---- app_owned.c: which connections are whose ---- */

bool app_owns(const struct app *a, uint32_t conn);
/* -EINVAL, -ENOMEM. Nothing changes where it is the application's already. */
int app_own(struct app *a, uint32_t conn);
void app_disown(struct app *a, uint32_t conn);
/* Of a connection that is its. */
uint32_t app_handle(const struct app *a, uint32_t conn);
/* 0 where the handle is not (or no longer) one of this application. */
uint32_t app_conn(const struct app *a, uint32_t handle);
/* An APP_END with that serial waits for its answer. -EALREADY: another does; -ENOMEM. */
int app_ending_add(struct app *a, uint32_t conn, uint32_t serial);
/* False: none did. */
bool app_ending_take(struct app *a, uint32_t conn, uint32_t *ret_serial);
void app_owned_clear(struct app *a);

/* ---- app_queue.c: what waits to be sent ---- */

/* Zeroed but for type and length; NULL without memory. */
struct app_message *app_message_new(uint32_t type, uint32_t len);
void app_queue(struct app *a, struct app_message *m);
/* `m` starts with struct app_header, whose serial and conn the caller has set. */
void app_say(struct app *a, uint32_t type, void *m, uint32_t len);
/* APP_DONE; `text` may be "": that of the error. */
void app_answer(struct app *a, uint32_t serial, uint32_t handle, int error, const char *text);
/* Sends what the socket takes. Never frees it. */
void app_flush(struct app *a);
void app_queue_clear(struct app *a);

/* ---- app_request.c: what an application says ---- */

/* Descriptors that came with a message; the caller closes what is left in it. */
struct app_passed {
	int fd[2]; /* a control buffer for one has room for so many */
	int count;
	bool lost; /* there were some, but this process has no room for them */
};
int app_passed_take(struct app_passed *p);
size_t app_padded(size_t len);
/* False: it broke the rules. */
bool app_consume(struct app *a, const void *data, size_t len, struct app_passed *p);

#endif
