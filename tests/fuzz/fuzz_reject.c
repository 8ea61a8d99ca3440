/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Any bytes as an inner packet: no read or write out of bounds (ASan), and what
 * comes out is never answered again: two Holdfasts cannot talk to each other for ever.
 */
#include <stdlib.h>

#include "../../control/addr.c"
#include "../../control/path/reject.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t out[REJECT_MAX], again[REJECT_MAX];
	ssize_t n = reject_build(data, len, NULL, out, sizeof(out));

	if (n < 0 || (size_t)n > sizeof(out))
		abort();
	if (n > 0 && reject_build(out, (size_t)n, NULL, again, sizeof(again)) != 0)
		abort();
	if (n > 0 && reject_build(data, len, NULL, out, (size_t)n - 1) != -ENOSPC)
		abort();
	return 0;
}
