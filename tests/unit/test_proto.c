/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>

#include <cmocka.h>

#include "control/peer/proto.h"

#define EPOCH        7
#define MOBILE_INDEX 3
#define ANCHOR_INDEX 4000

struct ends {
	uint8_t exported[WIRE_EXPORT_LEN];
	struct proto_keys *mobile;
	struct proto_keys *anchor;
};

static int setup(void **state)
{
	struct ends *e = calloc(1, sizeof(*e));

	for (size_t i = 0; i < sizeof(e->exported); i++)
		e->exported[i] = (uint8_t)(i * 7 + 1);
	e->mobile = proto_keys_new(e->exported, HF_ROLE_MOBILE, EPOCH, ANCHOR_INDEX);
	e->anchor = proto_keys_new(e->exported, HF_ROLE_ANCHOR, EPOCH, MOBILE_INDEX);
	*state = e;
	return e->mobile && e->anchor ? 0 : -1;
}

static int teardown(void **state)
{
	struct ends *e = *state;

	proto_keys_free(e->mobile);
	proto_keys_free(e->anchor);
	free(e);
	return 0;
}

static struct wire_body body_of(enum wire_type type)
{
	return (struct wire_body){
		.type = type,
		.flags = WIRE_FLAG_MBB,
		.switch_id = htonl(99),
		.packets = htobe64(123456789),
		.nonce = htobe64(0x1122334455667788),
		.from = {.b = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1}},
		.time_us = htobe64(1000000),
		.echo_us = htobe64(999999),
	};
}

/* The format once more, by another hand: a datagram of any counter, type and pad, as the mobile or
 * the anchor would seal it. */
static struct wire_datagram seal(const struct ends *e, enum hf_role role, struct wire_header h,
				 const struct wire_body *body)
{
	const uint8_t *key = e->exported + (role == HF_ROLE_MOBILE ? 0 : 32);
	const uint8_t *iv = e->exported + 64 + (role == HF_ROLE_MOBILE ? 0 : 12);
	struct wire_datagram d = {.header = h};
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint64_t counter = be64toh(h.counter);
	uint8_t nonce[12];
	int n;

	memcpy(nonce, iv, 12);
	for (int i = 0; i < 8; i++)
		nonce[11 - i] ^= (uint8_t)(counter >> (8 * i));
	assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce), 1);
	assert_int_equal(EVP_EncryptUpdate(c, NULL, &n, (uint8_t *)&d, 24), 1);
	assert_int_equal(EVP_EncryptUpdate(c, (uint8_t *)&d + 24, &n, (const uint8_t *)body, 64),
			 1);
	assert_int_equal(EVP_EncryptFinal_ex(c, (uint8_t *)&d + 88, &n), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, (uint8_t *)&d + 88), 1);
	EVP_CIPHER_CTX_free(c);
	return d;
}

static struct wire_header header_of(uint32_t assoc, uint64_t counter)
{
	return (struct wire_header){.magic = htonl(WIRE_DATAGRAM_MAGIC),
				    .assoc = htonl(assoc),
				    .epoch = htonl(EPOCH),
				    .counter = htobe64(counter)};
}

static enum hf_reason from_mobile(struct ends *e, uint64_t counter)
{
	struct wire_body body = body_of(WIRE_ALIVE), got;
	struct wire_datagram d = seal(e, HF_ROLE_MOBILE, header_of(ANCHOR_INDEX, counter), &body);

	return proto_consume_datagram(e->anchor, &d, &got);
}

static void N5_N6_every_type_crosses_both_ways(void **state)
{
	struct ends *e = *state;

	for (int type = 1; type < WIRE_TYPE_COUNT; type++) {
		for (int up = 0; up < 2; up++) {
			struct proto_keys *from = up ? e->mobile : e->anchor;
			struct proto_keys *to = up ? e->anchor : e->mobile;
			struct wire_body body = body_of(type), got;
			struct wire_datagram d;
			uint32_t assoc, epoch;

			assert_int_equal(proto_create_datagram(from, &body, &d), 0);
			assert_int_equal(proto_peek_datagram(&d, sizeof(d), &assoc, &epoch),
					 HF_REASON_NONE);
			assert_int_equal(assoc, up ? ANCHOR_INDEX : MOBILE_INDEX);
			assert_int_equal(epoch, EPOCH);
			/* nothing of the body can be seen */
			assert_memory_not_equal(&d.body, &body, sizeof(body));
			assert_int_equal(proto_consume_datagram(to, &d, &got), HF_REASON_NONE);
			assert_memory_equal(&got, &body, sizeof(body));
		}
	}
	assert_int_equal(proto_keys_epoch(e->mobile), EPOCH);
}

static void format_is_what_wire_h_says(void **state)
{
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_SWITCH_STEP1);
	struct wire_datagram ours, other;

	for (uint64_t counter = 0; counter < 3; counter++) {
		other = seal(e, HF_ROLE_MOBILE, header_of(ANCHOR_INDEX, counter), &body);
		assert_int_equal(proto_create_datagram(e->mobile, &body, &ours), 0);
		assert_memory_equal(&ours, &other, sizeof(ours));
		other = seal(e, HF_ROLE_ANCHOR, header_of(MOBILE_INDEX, counter), &body);
		assert_int_equal(proto_create_datagram(e->anchor, &body, &ours), 0);
		assert_memory_equal(&ours, &other, sizeof(ours));
	}
}

static void every_flipped_bit_is_refused(void **state)
{
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_ALIVE), got, untouched;
	struct wire_datagram d, bad;

	memset(&got, 0x5a, sizeof(got));
	untouched = got;
	assert_int_equal(proto_create_datagram(e->mobile, &body, &d), 0);
	for (size_t bit = 0; bit < sizeof(d) * 8; bit++) {
		enum hf_reason why, want = HF_REASON_CTL_FORGED;

		bad = d;
		((uint8_t *)&bad)[bit / 8] ^= 1u << (bit % 8);
		if (bit / 8 < 4 || (bit / 8 >= 12 && bit / 8 < 16))
			want = HF_REASON_CTL_MAGIC;
		else if (bit / 8 >= 8 && bit / 8 < 12)
			want = HF_REASON_CTL_EPOCH;
		why = proto_consume_datagram(e->anchor, &bad, &got);
		assert_int_equal(why, want);
		assert_memory_equal(&got, &untouched, sizeof(got));
	}
	/* none of them moved the window */
	assert_int_equal(proto_consume_datagram(e->anchor, &d, &got), HF_REASON_NONE);
}

static void every_other_length_is_refused(void **state)
{
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_ALIVE);
	uint32_t assoc = 0xdead, epoch = 0xbeef;
	struct wire_datagram d;
	uint8_t *exact, large[4 * sizeof(d)] = {0};

	assert_int_equal(proto_create_datagram(e->mobile, &body, &d), 0);
	memcpy(large, &d, sizeof(d));
	for (size_t len = 0; len <= sizeof(large); len++) {
		if (len == sizeof(d))
			continue;
		exact = malloc(len + 1); /* ASan watches its end */
		memcpy(exact, large, len);
		exact = realloc(exact, len ? len : 1);
		assert_int_equal(proto_peek_datagram(exact, len, &assoc, &epoch),
				 HF_REASON_CTL_SHORT);
		free(exact);
	}
	d.header.magic ^= htonl(1);
	assert_int_equal(proto_peek_datagram(&d, sizeof(d), &assoc, &epoch), HF_REASON_CTL_MAGIC);
	d.header.magic ^= htonl(1);
	d.header.pad = htonl(1);
	assert_int_equal(proto_peek_datagram(&d, sizeof(d), &assoc, &epoch), HF_REASON_CTL_MAGIC);
	assert_int_equal(assoc, 0xdead);
	assert_int_equal(epoch, 0xbeef);
}

static void unaligned_datagram_can_be_peeked(void **state)
{
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_ALIVE);
	struct wire_datagram d;
	uint8_t raw[sizeof(d) + 1];
	uint32_t assoc, epoch;

	assert_int_equal(proto_create_datagram(e->mobile, &body, &d), 0);
	memcpy(raw + 1, &d, sizeof(d));
	assert_int_equal(proto_peek_datagram(raw + 1, sizeof(d), &assoc, &epoch), HF_REASON_NONE);
	assert_int_equal(assoc, ANCHOR_INDEX);
}

static void replay_is_refused(void **state)
{
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_ALIVE), got;
	struct wire_datagram d[3];

	for (int i = 0; i < 3; i++)
		assert_int_equal(proto_create_datagram(e->mobile, &body, &d[i]), 0);
	/* the first counter is 0; overtaking is allowed, twice is not */
	assert_int_equal(proto_consume_datagram(e->anchor, &d[2], &got), HF_REASON_NONE);
	assert_int_equal(proto_consume_datagram(e->anchor, &d[0], &got), HF_REASON_NONE);
	memset(&got, 0x5a, sizeof(got));
	assert_int_equal(proto_consume_datagram(e->anchor, &d[0], &got), HF_REASON_CTL_REPLAY);
	assert_int_equal(proto_consume_datagram(e->anchor, &d[2], &got), HF_REASON_CTL_REPLAY);
	assert_int_equal(got.type, 0x5a);
	assert_int_equal(proto_consume_datagram(e->anchor, &d[1], &got), HF_REASON_NONE);
	assert_int_equal(proto_consume_datagram(e->anchor, &d[1], &got), HF_REASON_CTL_REPLAY);
}

static void window_has_exactly_its_places(void **state)
{
	struct ends *e = *state;
	const uint64_t top = 5000;

	assert_int_equal(from_mobile(e, top), HF_REASON_NONE);
	assert_int_equal(from_mobile(e, top - PROTO_WINDOW), HF_REASON_CTL_REPLAY);
	assert_int_equal(from_mobile(e, 0), HF_REASON_CTL_REPLAY);
	for (uint64_t back = PROTO_WINDOW - 1; back > 0; back--)
		assert_int_equal(from_mobile(e, top - back), HF_REASON_NONE);
	for (uint64_t back = 0; back <= PROTO_WINDOW; back++)
		assert_int_equal(from_mobile(e, top - back), HF_REASON_CTL_REPLAY);
	assert_int_equal(from_mobile(e, top + 1), HF_REASON_NONE);
}

static void window_follows_jumps_of_every_size(void **state)
{
	/* around words and the whole bitmap */
	static const uint64_t jumps[] = {1,    63,   64,   65,   127,  1023,      1024,
					 1025, 2047, 2048, 2049, 4096, 100000000, 3};
	struct ends *e = *state;
	uint64_t at = 10;

	assert_int_equal(from_mobile(e, at), HF_REASON_NONE);
	for (size_t i = 0; i < sizeof(jumps) / sizeof(*jumps); i++) {
		at += jumps[i];
		assert_int_equal(from_mobile(e, at), HF_REASON_NONE);
		assert_int_equal(from_mobile(e, at), HF_REASON_CTL_REPLAY);
		/* what was jumped over is still new, unless it is too old */
		if (jumps[i] > 1)
			assert_int_equal(from_mobile(e, at - 1), HF_REASON_NONE);
		assert_int_equal(from_mobile(e, at - jumps[i]), HF_REASON_CTL_REPLAY);
	}
}

/* Against a plain memory of everything seen. */
static void window_agrees_with_a_list(void **state)
{
	enum { SPAN = 20000 };
	struct ends *e = *state;
	uint8_t *seen = calloc(SPAN + 4096, 1);
	uint64_t highest = 0;

	srand(1);
	for (int i = 0; i < SPAN; i++) {
		uint64_t counter = i / 4 + rand() % (i % 100 == 0 ? 3000 : 40);
		bool old = counter + PROTO_WINDOW <= highest;
		enum hf_reason want = old || seen[counter] ? HF_REASON_CTL_REPLAY : HF_REASON_NONE;

		assert_int_equal(from_mobile(e, counter), want);
		seen[counter] = 1;
		if (counter > highest)
			highest = counter;
	}
	free(seen);
}

static void forged_counter_does_not_move_the_window(void **state)
{
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_ALIVE), got;
	struct wire_datagram d, far;

	assert_int_equal(proto_create_datagram(e->mobile, &body, &d), 0);
	far = d;
	far.header.counter = htobe64(PROTO_COUNTER_MAX - 1);
	assert_int_equal(proto_consume_datagram(e->anchor, &far, &got), HF_REASON_CTL_FORGED);
	far.header.counter = htobe64(UINT64_MAX);
	assert_int_equal(proto_consume_datagram(e->anchor, &far, &got), HF_REASON_CTL_FORGED);
	assert_int_equal(proto_consume_datagram(e->anchor, &d, &got), HF_REASON_NONE);
}

static void N4_wrong_epoch_is_refused(void **state)
{
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_ALIVE), got;
	struct proto_keys *later =
		proto_keys_new(e->exported, HF_ROLE_ANCHOR, EPOCH + 1, MOBILE_INDEX);
	struct wire_datagram d;

	assert_non_null(later);
	assert_int_equal(proto_create_datagram(e->mobile, &body, &d), 0);
	assert_int_equal(proto_consume_datagram(later, &d, &got), HF_REASON_CTL_EPOCH);
	/* the epoch is authentic: rewriting it does not help */
	d.header.epoch = htonl(EPOCH + 1);
	assert_int_equal(proto_consume_datagram(later, &d, &got), HF_REASON_CTL_FORGED);
	proto_keys_free(later);
}

static void own_datagram_reflected_is_refused(void **state)
{
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_ALIVE), got;
	struct wire_datagram d;

	assert_int_equal(proto_create_datagram(e->mobile, &body, &d), 0);
	assert_int_equal(proto_consume_datagram(e->mobile, &d, &got), HF_REASON_CTL_FORGED);
	assert_int_equal(proto_create_datagram(e->anchor, &body, &d), 0);
	assert_int_equal(proto_consume_datagram(e->anchor, &d, &got), HF_REASON_CTL_FORGED);
}

static void other_associations_datagram_is_refused(void **state)
{
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_ALIVE), got;
	uint8_t exported[WIRE_EXPORT_LEN];
	struct proto_keys *other;
	struct wire_datagram d;

	memcpy(exported, e->exported, sizeof(exported));
	exported[0] ^= 1;
	other = proto_keys_new(exported, HF_ROLE_MOBILE, EPOCH, ANCHOR_INDEX);
	assert_non_null(other);
	assert_int_equal(proto_create_datagram(other, &body, &d), 0);
	assert_int_equal(proto_consume_datagram(e->anchor, &d, &got), HF_REASON_CTL_FORGED);
	proto_keys_free(other);
}

static void counter_ends(void **state)
{
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_ALIVE), got;
	struct wire_datagram d, untouched;

	proto_keys_skip(e->mobile, PROTO_COUNTER_MAX - 1);
	proto_keys_skip(e->mobile, 0); /* never back */
	assert_int_equal(proto_create_datagram(e->mobile, &body, &d), 0);
	assert_int_equal(be64toh(d.header.counter), PROTO_COUNTER_MAX - 1);
	assert_int_equal(proto_consume_datagram(e->anchor, &d, &got), HF_REASON_NONE);
	untouched = d;
	assert_int_equal(proto_create_datagram(e->mobile, &body, &d), -EOVERFLOW);
	assert_int_equal(proto_create_datagram(e->mobile, &body, &d), -EOVERFLOW);
	assert_memory_equal(&d, &untouched, sizeof(d));
	assert_int_equal(from_mobile(e, PROTO_COUNTER_MAX), HF_REASON_CTL_FORGED);
	/* the other direction has its own */
	assert_int_equal(proto_create_datagram(e->anchor, &body, &d), 0);
}

static void unknown_type_is_refused(void **state)
{
	static const uint8_t types[] = {WIRE_NONE, WIRE_TYPE_COUNT, 255};
	struct ends *e = *state;
	struct wire_body body = body_of(WIRE_ALIVE), got;
	struct wire_datagram d;

	for (size_t i = 0; i < sizeof(types); i++) {
		body.type = types[i];
		assert_int_equal(proto_create_datagram(e->mobile, &body, &d), -EINVAL);
		d = seal(e, HF_ROLE_MOBILE, header_of(ANCHOR_INDEX, i), &body);
		memset(&got, 0x5a, sizeof(got));
		assert_int_equal(proto_consume_datagram(e->anchor, &d, &got), HF_REASON_CTL_STATE);
		assert_int_equal(got.type, 0x5a);
		/* authentic, so it counts as seen */
		assert_int_equal(proto_consume_datagram(e->anchor, &d, &got), HF_REASON_CTL_REPLAY);
	}
}

static void pads_of_an_authentic_peer(void **state)
{
	struct ends *e = *state;
	struct wire_header h = header_of(ANCHOR_INDEX, 0);
	struct wire_body body = body_of(WIRE_ALIVE), got;
	struct wire_datagram d;

	h.pad = htonl(1);
	d = seal(e, HF_ROLE_MOBILE, h, &body);
	assert_int_equal(proto_consume_datagram(e->anchor, &d, &got), HF_REASON_CTL_MAGIC);
	body.pad = htons(1);
	body.pad2 = htobe64(1);
	d = seal(e, HF_ROLE_MOBILE, header_of(ANCHOR_INDEX, 0), &body);
	assert_int_equal(proto_consume_datagram(e->anchor, &d, &got), HF_REASON_NONE);
}

static void keys_need_a_role(void **state)
{
	struct ends *e = *state;

	assert_null(proto_keys_new(e->exported, HF_ROLE_NONE, 1, 1));
	assert_null(proto_keys_new(e->exported, 3, 1, 1));
	proto_keys_free(NULL);
}

static void types_have_the_seeds_names(void **state)
{
	(void)state;
	assert_string_equal(wire_type_name(WIRE_NONE), "NONE");
	assert_string_equal(wire_type_name(WIRE_LAST_MESSAGE), "LAST_MESSAGE_BEFORE_REDIRECTION");
	assert_string_equal(wire_type_name(WIRE_DISCONNECT_ACK), "DISCONNECT_ACK");
	assert_string_equal(wire_type_name(WIRE_TYPE_COUNT), "?");
	assert_string_equal(wire_type_name(-1), "?");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(N5_N6_every_type_crosses_both_ways),
		TEST(format_is_what_wire_h_says),
		TEST(every_flipped_bit_is_refused),
		TEST(every_other_length_is_refused),
		TEST(unaligned_datagram_can_be_peeked),
		TEST(replay_is_refused),
		TEST(window_has_exactly_its_places),
		TEST(window_follows_jumps_of_every_size),
		TEST(window_agrees_with_a_list),
		TEST(forged_counter_does_not_move_the_window),
		TEST(N4_wrong_epoch_is_refused),
		TEST(own_datagram_reflected_is_refused),
		TEST(other_associations_datagram_is_refused),
		TEST(counter_ends),
		TEST(unknown_type_is_refused),
		TEST(pads_of_an_authentic_peer),
		TEST(keys_need_a_role),
		TEST(types_have_the_seeds_names),
	};

	return cmocka_run_group_tests_name("proto", tests, NULL, NULL);
}
