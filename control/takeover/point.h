/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Guarded endpoints, and which service each of them is. */
#ifndef HOLDFAST_TAKEOVER_POINT_H
#define HOLDFAST_TAKEOVER_POINT_H

#include <stdbool.h>

#include <holdfast/guard.h>

struct conf_takeover;
struct guard;
struct points;

struct points *points_new(struct guard *g, const struct conf_takeover *conf);
void points_free(struct points *p); /* NULL is allowed */

/* Guards an endpoint, in the data plane too; a wildcard address stands for every one of its family
 * that moves (:: with `dual` for those of both). -EADDRNOTAVAIL: none of ours. -EADDRINUSE: another
 * service's. -ENOBUFS. Again by the same service: 0. "": not known yet, the next one's. */
int points_add(struct points *p, const struct hf_addr *addr, __be16 port, bool dual,
	       const char *service);
/* The service of a connection's local end; NULL if it is no guarded endpoint. */
const char *points_service(struct points *p, const struct guard_key *key);

#endif
