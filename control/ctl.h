/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The control socket, RUN_DIR/NAME.sock, mode 0600: one request a line, JSON,
 * {"cmd": "...", ...}; one answer a line, {"ok": true, ...} or {"ok": false, "error": "..."}.
 * "monitor", which is handled here, keeps the connection and sends one event a line.
 */
#ifndef HOLDFAST_CTL_H
#define HOLDFAST_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct ctl;
struct ctl_client;
struct event_base;

/* A request; to be answered with ctl_answer() or ctl_refuse() before it returns. */
typedef void ctl_request_fn(void *arg, struct ctl_client *c, const char *cmd, json_t *request);

/* -EADDRINUSE: a daemon of this name answers there. -ENAMETOOLONG. Makes the folder. */
int ctl_open(struct event_base *base, const char *run_dir, const char *name,
	     ctl_request_fn *request, void *arg, struct ctl **ret);
void ctl_close(struct ctl *c); /* removes the socket; NULL is allowed */

/* `j` is stolen. */
void ctl_answer(struct ctl_client *c, json_t *j);
void ctl_refuse(struct ctl_client *c, const char *why);

/* Sends an event to whoever monitors; `j` is stolen. `c` may be NULL. */
void ctl_publish(struct ctl *c, json_t *j);
/* Whether anybody is connected, so that events are worth making. */
bool ctl_watched(const struct ctl *c);

/* Path of the socket. */
void ctl_path(const char *run_dir, const char *name, char *buf, size_t len);
/* Takes away a socket's file that nobody listens on. -EADDRINUSE: somebody does. */
int ctl_clear_stale(const char *path);

#endif
