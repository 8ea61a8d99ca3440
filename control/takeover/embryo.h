/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Handshakes of which our answer has left and the peer's has not come: bounded, the oldest goes
 * first. */
#ifndef HOLDFAST_TAKEOVER_EMBRYO_H
#define HOLDFAST_TAKEOVER_EMBRYO_H

#include <stdbool.h>
#include <stdint.h>

#include <holdfast/guard.h>

#define EMBRYOS_MAX    4096u /* a power of two */
#define EMBRYO_LIFE_MS 10000u

struct embryos;
struct embryos *embryos_new(void);
void embryos_free(struct embryos *e); /* NULL is allowed */

/* Notes one; `ret_forgotten` is the record's id of one that had to go for it, 0 if none. */
void embryos_add(struct embryos *e, const struct guard_facts *f, uint64_t id, uint64_t now_ms,
		 uint64_t *ret_forgotten);
/* The newest one is to be answered when that ticket is committed. */
void embryos_wait(struct embryos *e, const struct guard_facts *f, uint64_t ticket);
/* The next one, in the order of their tickets, that waits for `ticket` or an earlier one. */
bool embryos_answer(struct embryos *e, uint64_t ticket, struct guard_facts *ret);
/* Takes out the one of this handshake: its record's id, 0 if there is none. */
uint64_t embryos_take(struct embryos *e, const struct guard_facts *f);
/* Takes out one that is older than EMBRYO_LIFE_MS: its record's id, 0 if there is none. */
uint64_t embryos_expire(struct embryos *e, uint64_t now_ms);
void embryos_clear(struct embryos *e);

#endif
