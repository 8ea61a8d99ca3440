/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The input is a sequence of datagrams of one association whose keys are known. Each
 * piece of 1 + 104 bytes: a byte that says how it is made, then the datagram as a
 * stranger would send it, or as an authentic mobile would seal it with that header and
 * body. A shadow of all counters accepted says what the replay window must do.
 */
#include <stdlib.h>
#include <string.h>

#include "../../control/peer/proto.c"

#define EPOCH    1
#define SEEN_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static void seal(struct proto_keys *mobile, struct wire_datagram *d)
{
	struct wire_body body = d->body;
	uint8_t nonce[WIRE_IV_LEN];
	int n;

	make_nonce(&mobile->tx, be64toh(d->header.counter), nonce);
	check(EVP_EncryptInit_ex(mobile->tx.ctx, NULL, NULL, NULL, nonce) == 1);
	check(EVP_EncryptUpdate(mobile->tx.ctx, NULL, &n, (uint8_t *)&d->header,
				sizeof(d->header)) == 1);
	check(EVP_EncryptUpdate(mobile->tx.ctx, (uint8_t *)&d->body, &n, (uint8_t *)&body,
				sizeof(body)) == 1);
	check(EVP_EncryptFinal_ex(mobile->tx.ctx, d->tag, &n) == 1);
	check(EVP_CIPHER_CTX_ctrl(mobile->tx.ctx, EVP_CTRL_AEAD_GET_TAG, WIRE_TAG_LEN, d->tag) ==
	      1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t exported[WIRE_EXPORT_LEN] = {1, 2, 3, [40] = 4, [70] = 5, [80] = 6};
	struct proto_keys *mobile = proto_keys_new(exported, HF_ROLE_MOBILE, EPOCH, 2);
	struct proto_keys *anchor = proto_keys_new(exported, HF_ROLE_ANCHOR, EPOCH, 3);
	uint64_t seen[SEEN_MAX], highest = 0;
	size_t seen_count = 0;
	uint32_t assoc, epoch;

	check(mobile && anchor);
	proto_peek_datagram(data, len, &assoc, &epoch);
	for (; len > sizeof(struct wire_datagram) && seen_count < SEEN_MAX;
	     data += 1 + sizeof(struct wire_datagram), len -= 1 + sizeof(struct wire_datagram)) {
		bool authentic = data[0] & 1, old;
		enum hf_reason why, want;
		struct wire_datagram d;
		struct wire_body got;
		uint64_t counter;

		memcpy(&d, data + 1, sizeof(d));
		if (data[0] & 2) { /* come past the first checks */
			d.header.magic = htonl(WIRE_DATAGRAM_MAGIC);
			d.header.epoch = htonl(EPOCH);
			d.header.pad = 0;
		}
		if (data[0] & 4) /* near each other */
			d.header.counter &= htobe64(0xfff);
		if (authentic)
			seal(mobile, &d);
		counter = be64toh(d.header.counter);
		why = proto_peek_datagram(&d, sizeof(d), &assoc, &epoch);
		check(proto_peek_datagram(&d, len % sizeof(d), &assoc, &epoch) ==
		      HF_REASON_CTL_SHORT);
		if (why != HF_REASON_NONE) {
			check(why == HF_REASON_CTL_MAGIC);
			check(proto_consume_datagram(anchor, &d, &got) == why);
			continue;
		}
		old = counter <= highest && highest - counter >= PROTO_WINDOW;
		for (size_t i = 0; i < seen_count; i++)
			old |= seen[i] == counter;
		if (epoch != EPOCH)
			want = HF_REASON_CTL_EPOCH;
		else if (!authentic || counter >= PROTO_COUNTER_MAX)
			want = HF_REASON_CTL_FORGED;
		else
			want = old ? HF_REASON_CTL_REPLAY : HF_REASON_NONE;
		why = proto_consume_datagram(anchor, &d, &got);
		if (want == HF_REASON_NONE) {
			check(why == HF_REASON_NONE || why == HF_REASON_CTL_STATE);
			seen[seen_count++] = counter;
			if (counter > highest)
				highest = counter;
			check(proto_consume_datagram(anchor, &d, &got) == HF_REASON_CTL_REPLAY);
		} else {
			check(why == want);
		}
		if (why == HF_REASON_NONE)
			check(got.type != WIRE_NONE && wire_type_name(got.type)[0] != '?');
		/* reflected to whom it came from */
		check(proto_consume_datagram(mobile, &d, &got) != HF_REASON_NONE);
	}
	proto_keys_free(mobile);
	proto_keys_free(anchor);
	return 0;
}
