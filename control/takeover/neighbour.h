/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef HOLDFAST_TAKEOVER_NEIGHBOUR_H
#define HOLDFAST_TAKEOVER_NEIGHBOUR_H

#include <stdint.h>

struct netlink;

/* Forgets the neighbours on that interface that were asked for their MAC address and have not
 * answered: the next packet to them asks anew, at once. 0 or negative errno. */
int neighbours_ask_again(struct netlink *nl, uint32_t ifindex);

#endif
