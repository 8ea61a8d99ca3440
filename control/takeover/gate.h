/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the gate of a slot held back and may leave after a commit. Pure: reads the slot alone. */
#ifndef HOLDFAST_TAKEOVER_GATE_H
#define HOLDFAST_TAKEOVER_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include <holdfast/guard.h>

#include "control/takeover/segment.h"

uint64_t gate_larger(uint64_t a, uint64_t b);
/* Right edge, offset in "in", of what our kernel would take. */
uint64_t gate_kernel_edge(const struct guard_slot *s);
/* An acknowledgement or a window that the kernel wanted to send and the gate held: nobody sends it
 * now but us. */
bool gate_wants_push(const struct guard_slot *s);
/* That segment. It refers to the slot. */
void gate_fill_push(const struct guard_slot *s, struct segment *g);

#endif
