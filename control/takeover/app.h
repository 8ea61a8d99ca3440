/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The daemon's end of libholdfast's socket (include/holdfast/app.h): who is there, what they
 * ask, what they are told. Checks everything that comes (length, version, that a connection is
 * this application's), bounds what waits to be sent, and decides nothing.
 */
#ifndef HOLDFAST_TAKEOVER_APP_H
#define HOLDFAST_TAKEOVER_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <holdfast/app.h>
#include "control/takeover/record.h"

#define APPS_MAX 64 /* applications at once */
/* Bytes that wait for one application; reached: it is closed. Restored connections do not count:
 * how many there are is the daemon's own doing. */
#define APP_SEND_MAX (16u << 20)

struct event_base;
struct apps;
struct app; /* one connected application */

struct app_why {
	char text[128];
};

/* Where a function returns int: 0 or negative errno, with one sentence in `why`; the answer goes
 * out when it returns. `conn` (1 to APP_CONNS_MAX) is what guard() or datagram() gave, or
 * app_restored() was told, for this very application; others are refused before they come here. A
 * number may be used anew at once after app_moved(), app_drop() or forget().
 *
 * All of them are called by the loop, never out of a function of this header: `a` stays valid until
 * gone(), and gone() comes when nobody is in the middle of something. */
struct apps_ops {
	void (*hello)(void *arg, struct app *a); /* after APP_WELCOME went out */
	int (*listen)(void *arg, struct app *a, int fd, struct app_why *why); /* fd: the callee's */
	int (*guard)(void *arg, struct app *a, const struct guard_key *key, uint32_t *ret_conn,
		     uint64_t *ret_received, struct app_why *why);
	int (*datagram)(void *arg, struct app *a, int fd, const struct hf_addr *peer,
			__be16 peer_port, uint32_t *ret_conn, struct app_why *why);
	int (*bundle)(void *arg, struct app *a, uint32_t conn, uint64_t *bundle,
		      struct app_why *why);
	/* `p` is valid during the call (the callee copies). Answered later, by app_committed(). An
	 * error is told to the application: its hf_commit() and hf_wait() of this connection fail
	 * from then on. (It is not closed for that: it would be the death of a server.) */
	int (*commit)(void *arg, struct app *a, uint32_t conn, uint64_t ticket, uint64_t received,
		      uint32_t flags, const struct record_protocol *p, size_t count);
	void (*ready)(void *arg, struct app *a, uint32_t conn, uint32_t protocol);
	/* -EINPROGRESS: answered later, by app_ended(). Forget follows, or gone. */
	int (*end)(void *arg, struct app *a, uint32_t conn, struct app_why *why);
	void (*forget)(void *arg, struct app *a, uint32_t conn);
	/* It is gone (closed, died, broke the rules); `a` is invalid afterwards. */
	void (*gone)(void *arg, struct app *a, const char *why);
};

/* Listens on `path` (mode 0660, group `gid` or -1: only root). `node` is told in APP_WELCOME. 0 or
 * negative errno; -EADDRINUSE: another daemon listens there. `ops` is copied. */
int apps_open(struct event_base *base, const char *path, int gid, const char *node,
	      const struct apps_ops *ops, void *arg, struct apps **ret);
/* Removes the socket's file; gone() is not called. NULL is allowed. Not out of one of the ops. */
void apps_close(struct apps *s);

/* enum hf_role_now: tells everybody, and who comes later */
void apps_role(struct apps *s, uint32_t role);
size_t apps_count(const struct apps *s);
/* Of which services there is an application that listens: each is one of 64 bits, by its name. Two
 * names may share a bit. */
uint64_t apps_services(const struct apps *s);
uint64_t apps_service_bit(const char *service);
/* The application of that service that listens first, NULL if there is none. */
struct app *apps_find(struct apps *s, const char *service);

const char *app_service(const struct app *a);
uint32_t app_pid(const struct app *a); /* SO_PEERCRED */
void app_set_data(struct app *a, void *data);
void *app_data(const struct app *a);

/* Hands over a restored connection; `fd` is closed here when it has been sent or cannot be. `m` as
 * in struct app_restored (h and count are filled here). The connection is this application's from
 * now on. 0, -EINVAL (a limit is broken), -ENOMEM, -EPIPE (it is about to be gone). */
int app_restored(struct app *a, uint32_t conn, const struct app_restored *m,
		 const struct record_protocol *p, size_t count, int fd);
/* Answers end(); no effect where none is under way. */
void app_ended(struct app *a, uint32_t conn);
void app_committed(struct app *a, uint32_t conn, uint64_t ticket);
void app_moved(struct app *a, uint32_t conn); /* and it is this application's no more */
void app_drop(struct app *a, uint32_t conn);  /* no longer this application's; nothing is said */

#endif
