/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "control/peer/proto.h"

#define WORD_BITS 64
/* Twice the window: a word that is being cleared is never one that still counts (RFC 6479). */
#define WINDOW_WORDS (2 * PROTO_WINDOW / WORD_BITS)

static_assert((WINDOW_WORDS & (WINDOW_WORDS - 1)) == 0, "power of two");

struct direction {
	EVP_CIPHER_CTX *ctx; /* holds the key */
	uint8_t iv[WIRE_IV_LEN];
};

struct proto_keys {
	struct direction tx;
	struct direction rx;
	uint32_t epoch;
	uint32_t peer_assoc;
	uint64_t next;    /* counter of the next datagram that we send */
	uint64_t highest; /* counter accepted */
	uint64_t window[WINDOW_WORDS];
};

static int direction_init(struct direction *d, const uint8_t *key, const uint8_t *iv, bool seal)
{
	memcpy(d->iv, iv, WIRE_IV_LEN);
	d->ctx = EVP_CIPHER_CTX_new();
	if (!d->ctx)
		return -ENOMEM;
	/* 12 bytes of IV and 16 of tag are GCM's defaults */
	if (EVP_CipherInit_ex(d->ctx, EVP_aes_256_gcm(), NULL, key, NULL, seal) != 1)
		return -EIO;
	return 0;
}

struct proto_keys *proto_keys_new(const uint8_t exported[static WIRE_EXPORT_LEN], enum hf_role role,
				  uint32_t epoch, uint32_t peer_assoc)
{
	const uint8_t *mobile_key = exported;
	const uint8_t *anchor_key = mobile_key + WIRE_KEY_LEN;
	const uint8_t *mobile_iv = anchor_key + WIRE_KEY_LEN;
	const uint8_t *anchor_iv = mobile_iv + WIRE_IV_LEN;
	bool mobile = role == HF_ROLE_MOBILE;
	struct proto_keys *k;

	if (role != HF_ROLE_MOBILE && role != HF_ROLE_ANCHOR)
		return NULL;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->epoch = epoch;
	k->peer_assoc = peer_assoc;
	if (direction_init(&k->tx, mobile ? mobile_key : anchor_key, mobile ? mobile_iv : anchor_iv,
			   true) < 0 ||
	    direction_init(&k->rx, mobile ? anchor_key : mobile_key, mobile ? anchor_iv : mobile_iv,
			   false) < 0) {
		proto_keys_free(k);
		return NULL;
	}
	return k;
}

void proto_keys_free(struct proto_keys *k)
{
	if (!k)
		return;
	/* EVP_CIPHER_CTX_free() wipes the key schedule */
	EVP_CIPHER_CTX_free(k->tx.ctx);
	EVP_CIPHER_CTX_free(k->rx.ctx);
	OPENSSL_cleanse(k, sizeof(*k));
	free(k);
}

uint32_t proto_keys_epoch(const struct proto_keys *k)
{
	return k->epoch;
}

void proto_keys_skip(struct proto_keys *k, uint64_t counter)
{
	if (counter > k->next)
		k->next = counter;
}

static void make_nonce(const struct direction *d, uint64_t counter, uint8_t nonce[WIRE_IV_LEN])
{
	uint64_t be = htobe64(counter);
	uint8_t bytes[sizeof(be)];

	memcpy(bytes, &be, sizeof(be));
	memcpy(nonce, d->iv, WIRE_IV_LEN);
	for (size_t i = 0; i < sizeof(bytes); i++)
		nonce[WIRE_IV_LEN - sizeof(bytes) + i] ^= bytes[i];
}

int proto_create_datagram(struct proto_keys *k, const struct wire_body *body,
			  struct wire_datagram *out)
{
	struct wire_datagram d = {0};
	uint8_t nonce[WIRE_IV_LEN];
	int n;

	if (body->type == WIRE_NONE || body->type >= WIRE_TYPE_COUNT)
		return -EINVAL;
	if (k->next >= PROTO_COUNTER_MAX)
		return -EOVERFLOW;
	d.header.magic = htonl(WIRE_DATAGRAM_MAGIC);
	d.header.assoc = htonl(k->peer_assoc);
	d.header.epoch = htonl(k->epoch);
	d.header.counter = htobe64(k->next);
	make_nonce(&k->tx, k->next, nonce);
	k->next++; /* used up even if sealing fails half-way */

	if (EVP_EncryptInit_ex(k->tx.ctx, NULL, NULL, NULL, nonce) != 1 ||
	    EVP_EncryptUpdate(k->tx.ctx, NULL, &n, (const uint8_t *)&d.header, sizeof(d.header)) !=
		    1 ||
	    EVP_EncryptUpdate(k->tx.ctx, (uint8_t *)&d.body, &n, (const uint8_t *)body,
			      sizeof(*body)) != 1 ||
	    n != (int)sizeof(*body) || EVP_EncryptFinal_ex(k->tx.ctx, d.tag, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(k->tx.ctx, EVP_CTRL_AEAD_GET_TAG, WIRE_TAG_LEN, d.tag) != 1)
		return -EIO;
	*out = d;
	return 0;
}

/* In the clear, so only what tells versions apart. */
static enum hf_reason check_header(const struct wire_header *h)
{
	if (h->magic != htonl(WIRE_DATAGRAM_MAGIC) || h->pad != 0)
		return HF_REASON_CTL_MAGIC;
	return HF_REASON_NONE;
}

enum hf_reason proto_peek_datagram(const void *data, size_t len, uint32_t *ret_assoc,
				   uint32_t *ret_epoch)
{
	struct wire_header h; /* `data` need not be aligned */
	enum hf_reason why;

	if (len != sizeof(struct wire_datagram))
		return HF_REASON_CTL_SHORT;
	memcpy(&h, data, sizeof(h));
	why = check_header(&h);
	if (why != HF_REASON_NONE)
		return why;
	*ret_assoc = ntohl(h.assoc);
	*ret_epoch = ntohl(h.epoch);
	return HF_REASON_NONE;
}

static bool window_has(const struct proto_keys *k, uint64_t counter)
{
	if (counter > k->highest)
		return false;
	if (k->highest - counter >= PROTO_WINDOW)
		return true;
	return k->window[counter / WORD_BITS % WINDOW_WORDS] >> (counter % WORD_BITS) & 1;
}

static void window_add(struct proto_keys *k, uint64_t counter)
{
	uint64_t from = k->highest / WORD_BITS, to = counter / WORD_BITS;

	if (counter > k->highest) {
		if (to - from > WINDOW_WORDS)
			from = to - WINDOW_WORDS;
		while (from < to)
			k->window[++from % WINDOW_WORDS] = 0;
		k->highest = counter;
	}
	k->window[to % WINDOW_WORDS] |= UINT64_C(1) << (counter % WORD_BITS);
}

enum hf_reason proto_consume_datagram(struct proto_keys *k, const struct wire_datagram *in,
				      struct wire_body *ret)
{
	uint64_t counter;
	struct wire_datagram d;
	struct wire_body body;
	uint8_t nonce[WIRE_IV_LEN];
	enum hf_reason why;
	bool opened;
	int n;

	memcpy(&d, in, sizeof(d));
	why = check_header(&d.header);
	if (why != HF_REASON_NONE)
		return why;
	if (ntohl(d.header.epoch) != k->epoch)
		return HF_REASON_CTL_EPOCH;
	/* no honest peer seals with such a counter */
	counter = be64toh(d.header.counter);
	if (counter >= PROTO_COUNTER_MAX)
		return HF_REASON_CTL_FORGED;

	make_nonce(&k->rx, counter, nonce);
	opened = EVP_DecryptInit_ex(k->rx.ctx, NULL, NULL, NULL, nonce) == 1 &&
		 EVP_DecryptUpdate(k->rx.ctx, NULL, &n, (const uint8_t *)&d.header,
				   sizeof(d.header)) == 1 &&
		 EVP_DecryptUpdate(k->rx.ctx, (uint8_t *)&body, &n, (const uint8_t *)&d.body,
				   sizeof(d.body)) == 1 &&
		 n == (int)sizeof(body) &&
		 EVP_CIPHER_CTX_ctrl(k->rx.ctx, EVP_CTRL_AEAD_SET_TAG, WIRE_TAG_LEN, d.tag) == 1 &&
		 EVP_DecryptFinal_ex(k->rx.ctx, d.tag, &n) == 1;
	if (!opened)
		return HF_REASON_CTL_FORGED;
	if (window_has(k, counter))
		return HF_REASON_CTL_REPLAY;
	window_add(k, counter);
	if (body.type == WIRE_NONE || body.type >= WIRE_TYPE_COUNT)
		return HF_REASON_CTL_STATE;
	*ret = body;
	return HF_REASON_NONE;
}

const char *wire_type_name(enum wire_type t)
{
	static const char *const names[WIRE_TYPE_COUNT] = {[WIRE_NONE] = "NONE",
#define WIRE_TYPE_NAME(symbol, text) [WIRE_##symbol] = text,
							   WIRE_TYPES(WIRE_TYPE_NAME)
#undef WIRE_TYPE_NAME
	};

	if ((unsigned int)t >= WIRE_TYPE_COUNT)
		return "?";
	return names[t];
}
