/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The daemon's state as JSON, for the control socket. Every function returns a new reference. */
#ifndef HOLDFAST_STATUS_H
#define HOLDFAST_STATUS_H

#include <jansson.h>

struct assoc;
struct daemon;

json_t *status_daemon(struct daemon *d);
json_t *status_assoc(const struct assoc *a);
json_t *status_reasons(struct daemon *d);

#endif
