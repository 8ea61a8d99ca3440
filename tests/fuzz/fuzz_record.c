/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A record of any bytes: refused, or written again as the very same bytes. */
#include <stdlib.h>
#include <string.h>

#include "../../control/takeover/record.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);

/* Length and magic are put right: else nearly everything ends there. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	uint8_t *at = data;

	size = LLVMFuzzerMutate(data, size, max);
	if (size < 16 || seed % 8 == 0)
		return size;
	put32(&at, MAGIC);
	put16(&at, RECORD_VERSION);
	put16(&at, HEADER_LEN);
	put32(&at, (uint32_t)size);
	if (seed % 4 == 0)
		put32(&at, seed / 4 % (HF_PROTOCOLS_MAX + 1));
	return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct record r, copy;
	uint8_t *again;

	if (record_consume(data, len, &r) < 0)
		return 0;
	again = malloc(len);
	if (!again || record_size(&r) != len || record_copy(&r, &copy) < 0)
		abort();
	record_clear(&r);
	if (record_create(&copy, again, len) != (ssize_t)len || memcmp(again, data, len))
		abort();
	record_clear(&copy);
	free(again);
	return 0;
}
