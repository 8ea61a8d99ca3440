/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Commands of the user's around a switch, for instance to close and open a VPN (N18). */
#ifndef HOLDFAST_HOOK_H
#define HOLDFAST_HOOK_H

struct assoc;
struct path;

/* Starts `command` (a program's path, no shell; "" none) and does not wait. Its environment has
 * HOLDFAST_ASSOC, HOLDFAST_OLD_ADDRESS, HOLDFAST_OLD_INTERFACE, HOLDFAST_NEW_ADDRESS and
 * HOLDFAST_NEW_INTERFACE, empty where there is none. */
void hook_run(const char *command, const struct assoc *a, const struct path *from,
	      const struct path *to);

#endif
