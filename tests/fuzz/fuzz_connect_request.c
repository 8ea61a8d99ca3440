/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an authenticated mobile may send: whatever is taken must come out the same when
 * it is created again, and cut short it must ask for exactly the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "../../control/addr.c"
#include "../../control/peer/connect.c"

#define FLOWS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct connect_request r, again;
	size_t need = 0;
	ssize_t n = connect_consume_request(data, len, FLOWS_MAX, &r, &need);
	uint8_t *out;

	if (n == -EAGAIN) {
		check(need > len && need <= CONNECT_REQUEST_MAX);
		return 0;
	}
	if (n < 0)
		return 0;
	check((size_t)n <= len && n == (ssize_t)connect_request_size(&r));
	check(r.flow_count <= FLOWS_MAX);
	out = malloc(n);
	check(connect_create_request(&r, out, n) == n);
	check(!memcmp(out, data, sizeof(struct wire_connect)));
	check(connect_consume_request(out, n - 1, FLOWS_MAX, &again, &need) == -EAGAIN);
	check(need == (size_t)n);
	check(connect_consume_request(out, n, FLOWS_MAX, &again, &need) == n);
	check(r.flow_count == 0 || !memcmp(r.flows, again.flows, r.flow_count * sizeof(*r.flows)));
	connect_request_clear(&again);
	connect_request_clear(&r);
	free(out);
	return 0;
}
