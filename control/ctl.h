/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The control socket, RUN_DIR/NAME.sock, mode 0600: one request a line, JSON,
 * {"cmd": "...", ...}; one answer a line, {"ok": true, ...} or {"ok": false, "error": "..."}.
 * "monitor" keeps the connection and sends one event a line.
 */
#ifndef HOLDFAST_CTL_H
#define HOLDFAST_CTL_H

#include <stddef.h>

struct assoc;
struct ctl;
struct daemon;

/* -EADDRINUSE: a daemon of this name answers there. */
int ctl_open(struct daemon *d, struct ctl **ret);
void ctl_close(struct ctl *c); /* removes the socket; NULL is allowed */

void ctl_publish_switch(struct daemon *d, const struct assoc *a);
void ctl_publish_state(struct daemon *d, const struct assoc *a);

struct hf_event;
void ctl_publish_flow(struct daemon *d, const struct hf_event *e, const char *assoc,
		      const char *service);

/* Path of the socket. */
void ctl_path(const char *run_dir, const char *name, char *buf, size_t len);

#endif
