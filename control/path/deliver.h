/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* By which interface decoded packets come in: hf0, or the NIC that they came by. */
#ifndef HOLDFAST_DELIVER_H
#define HOLDFAST_DELIVER_H

#include <stdbool.h>
#include <stdint.h>

struct daemon;

/* Whether they go on from this interface (HF_PATH_IN_PLACE). What the kernel's settings say is
 * asked at most once a second. */
bool deliver_in_place(const struct daemon *d, uint32_t ifindex);

#endif
