/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a server's daemon answers on its control socket. */
#ifndef HOLDFAST_TAKEOVER_NODE_COMMAND_H
#define HOLDFAST_TAKEOVER_NODE_COMMAND_H

#include "control/ctl.h"

ctl_request_fn node_command; /* arg: struct node */
/* Why node_hand() did not give the group to `to`, in words. */
const char *node_explain(int error, const char *to);

#endif
