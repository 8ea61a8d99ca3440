/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an anchor may send: whatever is taken is the same byte for byte when it is
 * created again, and every name may be printed.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../../control/addr.c"
#include "../../control/peer/connect.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct connect_reply r;
	size_t need = 0;
	ssize_t n = connect_consume_reply(data, len, &r, &need);
	uint8_t *out;

	if (n == -EAGAIN) {
		check(need > len && need <= CONNECT_REPLY_MAX);
		return 0;
	}
	if (n < 0)
		return 0;
	check((size_t)n <= len && n == (ssize_t)connect_reply_size(&r));
	for (uint32_t i = 0; i < r.service_count; i++)
		for (const char *c = r.services[i].name; *c; c++)
			check(isprint((unsigned char)*c));
	out = malloc(n);
	check(connect_create_reply(&r, out, n) == n);
	check(!memcmp(out, data, n));
	free(out);
	connect_reply_clear(&r);
	return 0;
}
