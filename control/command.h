/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a mobile's or an anchor's daemon answers on its control socket, and what it publishes there.
 */
#ifndef HOLDFAST_COMMAND_H
#define HOLDFAST_COMMAND_H

#include "control/ctl.h"

struct assoc;
struct daemon;
struct hf_event;

ctl_request_fn command_request; /* arg: struct daemon */

void command_publish_switch(struct daemon *d, const struct assoc *a);
void command_publish_state(struct daemon *d, const struct assoc *a);
void command_publish_flow(struct daemon *d, const struct hf_event *e, const char *assoc,
			  const char *service);

#endif
