/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bytes as a sequence of operations on a small park and a hold: bounds hold, counts
 * agree, nothing is lost from the index. One operation: a byte that says which, a
 * byte for the association, a byte for the length, the packet.
 */
#include <stdlib.h>
#include <string.h>

#include "../../control/addr.c"
#include "../../control/path/park.c"
#undef VNET_LEN /* both have their own */
#define find hold_find
#include "../../control/path/hold.c"
#undef find

#define ASSOC_BYTES 2048
#define TOTAL_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int offer_none(void *arg, const void *packet, size_t len)
{
	(void)packet;
	(void)len;
	return *(int *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct park *p = park_new(ASSOC_BYTES, TOTAL_BYTES);
	struct hold *h = hold_new();
	uint64_t now_ms = 0;
	size_t in_park = 0;

	if (!p || !h)
		abort();
	while (len >= 3) {
		uint8_t op = data[0] % 6;
		uint32_t assoc = data[1] % 4;
		size_t n = data[2], got;
		int r = op == 4 ? 0 : -1;

		data += 3;
		len -= 3;
		if (n > len)
			n = len;
		switch (op) {
		case 0:
		case 1:
			if (park_add(p, assoc, data, n) == PARK_HELD)
				in_park++;
			hold_add(h, data, n, now_ms);
			data += n;
			len -= n;
			break;
		case 2:
			if (park_peek(p, assoc, &got))
				in_park--;
			park_pop(p, assoc);
			break;
		case 3:
			in_park -= park_drop(p, assoc);
			break;
		default:
			now_ms += n;
			hold_due(h, now_ms, offer_none, &r);
			break;
		}
		if (park_total_bytes(p) > TOTAL_BYTES || park_bytes(p, assoc) > ASSOC_BYTES)
			abort();
		if (park_packets(p, 0) + park_packets(p, 1) + park_packets(p, 2) +
			    park_packets(p, 3) !=
		    in_park)
			abort();
		if (h->n > HOLD_MAX || h->bytes > HOLD_BYTES_MAX)
			abort();
	}
	for (uint32_t assoc = 0; assoc < 4; assoc++)
		park_drop(p, assoc);
	if (park_total_bytes(p) != 0)
		abort();
	for (size_t i = 0; i < p->bucket_count; i++)
		if (p->buckets[i])
			abort();
	park_free(p);
	hold_free(h);
	return 0;
}
