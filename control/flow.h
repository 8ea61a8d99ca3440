/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Flows as user space sees them: to announce them after a reboot of the anchor, and to show them.
 */
#ifndef HOLDFAST_FLOW_H
#define HOLDFAST_FLOW_H

#include <stddef.h>
#include <stdint.h>

#include <holdfast/layout.h>
#include <holdfast/wire.h>

struct assoc;

typedef int flow_fn(void *arg, const struct flow_key *key, const struct flow_val *val);

/* Calls fn for every entry of a flow map (a descriptor) until it returns other than 0, and returns
 * that. Entries that change meanwhile may be missed or seen twice. Negative errno: the map cannot
 * be read. */
int flow_each(int map_fd, flow_fn *fn, void *arg);

/* The flows of an association as a CONNECT announces them; free() the list. 0 or negative errno. */
int flow_announce(const struct assoc *a, struct wire_flow **ret, uint32_t *ret_count);

/* Takes announced flows in; those that are there stay as they are. 0, -ENOSPC (limit or map; what
 * was taken in until then stays and expires by itself). */
int flow_install(struct assoc *a, const struct wire_flow *list, uint32_t count);

#endif
