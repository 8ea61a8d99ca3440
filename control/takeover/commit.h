/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What waits for the store: which gate to raise when which ticket is committed. */
#ifndef HOLDFAST_TAKEOVER_COMMIT_H
#define HOLDFAST_TAKEOVER_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

struct commit {
	uint64_t ticket; /* the store's; rises */
	uint64_t app_ticket;
	uint64_t in_commit;
	uint64_t in_promise; /* as in struct guard_slot */
	uint32_t conn;       /* its number */
	uint32_t serial;
	bool end; /* the application may end the connection */
};

struct commits;
struct commits *commits_new(void);
void commits_free(struct commits *q);                         /* NULL is allowed */
bool commits_push(struct commits *q, const struct commit *c); /* false: no memory */
/* Takes the oldest one whose ticket is at most `ticket`. */
bool commits_pop(struct commits *q, uint64_t ticket, struct commit *ret);
void commits_clear(struct commits *q);
uint64_t commits_count(const struct commits *q);

#endif
