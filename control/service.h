/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Services in the maps: which inner destination goes to which emulator port (N2). */
#ifndef HOLDFAST_SERVICE_H
#define HOLDFAST_SERVICE_H

#include <stddef.h>
#include <stdint.h>

#include <holdfast/layout.h>
#include <holdfast/wire.h>

struct daemon;
struct services; /* names, and the table as user space knows it */

struct service {
	struct service_val val; /* val.used 0: free */
	char name[HF_NAME_LEN];
};

/* Takes over what is pinned. NULL without memory. */
struct services *services_new(struct daemon *d);
void services_free(struct services *s); /* NULL is allowed; the maps stay */

/* Makes the services of a scope (0: an anchor's; else association index + 1, `assoc`) exactly
 * these. One that stays keeps its index, as flows name it. Returns how many could not be installed
 * because another association has the same destination or the table is full, or a negative errno.
 */
int services_set(struct daemon *d, uint32_t scope, uint32_t assoc, const struct wire_service *list,
		 size_t count);

/* By outer port at this scope; HF_SERVICES_MAX: none. */
uint32_t services_find(const struct daemon *d, uint32_t scope, uint8_t proto, __be16 emulator);
/* NULL: no such service. */
const struct service *services_at(const struct daemon *d, uint32_t index);

#endif
