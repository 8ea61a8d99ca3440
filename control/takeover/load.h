/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How busy this machine's processors are. */
#ifndef HOLDFAST_TAKEOVER_LOAD_H
#define HOLDFAST_TAKEOVER_LOAD_H

#include <stdint.h>

struct load;
struct load *load_new(void);
void load_free(struct load *l); /* NULL is allowed */

/* To be called once a second: percent of all processors' time that was not idle, as a mean over the
 * last LOAD_SECONDS; 0 until there are so many. */
#define LOAD_SECONDS 5u
uint32_t load_tick(struct load *l);

#endif
