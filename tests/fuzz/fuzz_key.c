/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A key has one spelling: whatever is decoded encodes to the same text; and every key comes back.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../../control/key.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t key[KEY_LEN], back[KEY_LEN];
	char text[KEY_TEXT_LEN + 1];

	if (key_decode((const char *)data, len, key) == 0) {
		key_encode(key, text);
		check(len >= KEY_TEXT_LEN && !memcmp(data, text, KEY_TEXT_LEN));
	}
	if (len >= KEY_LEN) {
		memcpy(key, data, KEY_LEN);
		key_encode(key, text);
		check(strlen(text) == KEY_TEXT_LEN);
		check(key_decode(text, KEY_TEXT_LEN, back) == 0);
		check(!memcmp(key, back, KEY_LEN));
	}
	return 0;
}
