/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "../../control/addr.h"
#include "../../control/path/reject.h"

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

struct made {
	uint8_t b[2048];
	size_t len;
};

static void be16(uint8_t *p, unsigned int x)
{
	p[0] = (uint8_t)(x >> 8);
	p[1] = (uint8_t)x;
}

static unsigned int get16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* 10.7.0.1 → 203.0.113.9, or fd00:7::1 → 2001:db8::9; `payload` bytes count up */
static struct made packet(int v6, uint8_t proto, size_t payload)
{
	static const uint8_t src4[] = {10, 7, 0, 1}, dst4[] = {203, 0, 113, 9};
	struct hf_addr src6, dst6;
	struct made m = {.len = (v6 ? 40u : 20u) + payload};

	addr_parse("fd00:7::1", &src6);
	addr_parse("2001:db8::9", &dst6);
	if (v6) {
		m.b[0] = 0x60;
		be16(m.b + 4, (unsigned int)payload);
		m.b[6] = proto;
		m.b[7] = 64;
		memcpy(m.b + 8, src6.b, 16);
		memcpy(m.b + 24, dst6.b, 16);
	} else {
		m.b[0] = 0x45;
		be16(m.b + 2, (unsigned int)m.len);
		m.b[8] = 64;
		m.b[9] = proto;
		memcpy(m.b + 12, src4, 4);
		memcpy(m.b + 16, dst4, 4);
	}
	for (size_t i = 0; i < payload; i++)
		m.b[m.len - payload + i] = (uint8_t)(i * 7 + 1);
	return m;
}

static struct made udp(int v6, size_t payload)
{
	return packet(v6, IPPROTO_UDP, 8 + payload);
}

static struct made echo(int v6, uint8_t type)
{
	struct made m = packet(v6, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 8 + 56);

	m.b[v6 ? 40 : 20] = type;
	return m;
}

static struct made tcp(int v6, uint8_t flags, unsigned int options, size_t payload)
{
	struct made m = packet(v6, IPPROTO_TCP, 20 + options + payload);
	uint8_t *t = m.b + (v6 ? 40 : 20);

	be16(t, 40000);
	be16(t + 2, 443);
	t[4] = t[5] = t[6] = 0xff;
	t[7] = 0xf0; /* wraps when the payload is acknowledged */
	t[12] = (uint8_t)((20 + options) / 4 << 4);
	t[13] = flags;
	return m;
}

/* Independent of the code under test: 32-bit words of the whole, carries folded at the end. */
static unsigned int ones_sum(uint64_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += (uint64_t)p[i] << (i % 2 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned int)sum;
}

/* Checks lengths, addresses and sums; returns the transport header. */
static const uint8_t *check_answer(const uint8_t *out, ssize_t len, int v6, const char *from,
				   uint8_t proto)
{
	struct hf_addr src, dst, want_src, want_dst;
	size_t ip = v6 ? 40 : 20;
	uint64_t pseudo = 0;

	addr_parse(from ? from : v6 ? "2001:db8::9" : "203.0.113.9", &want_src);
	addr_parse(v6 ? "fd00:7::1" : "10.7.0.1", &want_dst);
	assert_true(len >= (ssize_t)ip + 8);
	if (v6) {
		assert_int_equal(out[0] >> 4, 6);
		assert_int_equal(get16(out + 4), (size_t)len - ip);
		assert_int_equal(out[6], proto);
		assert_int_equal(out[7], 64);
		src = addr_from_v6(out + 8);
		dst = addr_from_v6(out + 24);
	} else {
		assert_int_equal(out[0], 0x45);
		assert_int_equal(get16(out + 2), len);
		assert_int_equal(out[8], 64);
		assert_int_equal(out[9], proto);
		assert_int_equal(ones_sum(0, out, 20), 0xffff);
		src = addr_from_v4(out + 12);
		dst = addr_from_v4(out + 16);
	}
	assert_true(addr_equal(&src, &want_src));
	assert_true(addr_equal(&dst, &want_dst));
	if (proto != IPPROTO_ICMP)
		pseudo = ones_sum(proto + (uint64_t)((size_t)len - ip), out + (v6 ? 8 : 12),
				  v6 ? 32 : 8);
	assert_int_equal(ones_sum(pseudo, out + ip, (size_t)len - ip), 0xffff);
	return out + ip;
}

static ssize_t build(struct made m, const char *from, uint8_t out[static REJECT_MAX])
{
	uint8_t *exact = malloc(m.len ? m.len : 1); /* ASan sees every byte read too far */
	struct hf_addr a;
	ssize_t r;

	assert_non_null(exact);
	memcpy(exact, m.b, m.len);
	if (from)
		assert_int_equal(addr_parse(from, &a), 0);
	r = reject_build(exact, m.len, from ? &a : NULL, out, REJECT_MAX);
	free(exact);
	return r;
}

static void icmp_for_datagrams_and_echo(void **state)
{
	uint8_t out[REJECT_MAX];

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		const struct made inputs[] = {udp(v6, 0), udp(v6, 31), echo(v6, v6 ? 128 : 8),
					      packet(v6, IPPROTO_SCTP, 40)};

		for (size_t i = 0; i < 4; i++) {
			const char *from = i == 1 ? v6 ? "fd00:7::ff" : "10.7.0.254" : NULL;
			ssize_t len = build(inputs[i], from, out);
			const uint8_t *icmp = check_answer(out, len, v6, from,
							   v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);

			assert_int_equal(icmp[0], v6 ? 1 : 3);
			assert_int_equal(icmp[1], v6 ? 1 : 13);
			assert_int_equal(get32(icmp + 4), 0);
			assert_int_equal(len, (v6 ? 48 : 28) + inputs[i].len);
			assert_memory_equal(icmp + 8, inputs[i].b, inputs[i].len);
		}
	}
}

static void quotes_as_much_as_fits(void **state)
{
	uint8_t out[REJECT_MAX];

	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t payload = 400; payload < 1500; payload++) {
			struct made m = udp(v6, payload);
			size_t most = v6 ? 1280 : 576, want = (v6 ? 48 : 28) + m.len;
			ssize_t len = build(m, NULL, out);

			assert_int_equal(len, want < most ? want : most);
			check_answer(out, len, v6, NULL, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
			assert_memory_equal(out + (v6 ? 48 : 28), m.b,
					    (size_t)len - (v6 ? 48 : 28));
		}
}

/* RFC 9293 section 3.10.7.1 */
static void reset_for_a_syn(void **state)
{
	uint8_t out[REJECT_MAX];

	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t payload = 0; payload < 40; payload += 13) {
			struct made m = tcp(v6, SYN, 20, payload);
			ssize_t len = build(m, v6 ? "fd00:7::ff" : "10.7.0.254", out);
			/* from the address that was called, whatever `from` says */
			const uint8_t *t = check_answer(out, len, v6, NULL, IPPROTO_TCP);

			assert_int_equal(len, (v6 ? 40 : 20) + 20);
			assert_int_equal(get16(t), 443);
			assert_int_equal(get16(t + 2), 40000);
			assert_int_equal(get32(t + 4), 0);
			assert_int_equal(get32(t + 8), (uint32_t)(0xfffffff0 + 1 + payload));
			assert_int_equal(t[12], 0x50);
			assert_int_equal(t[13], RST | ACK);
			assert_int_equal(get16(t + 14), 0);
		}
}

static void never_for_a_connection(void **state)
{
	static const uint8_t flags[] = {0,         ACK,       FIN,       FIN | ACK, RST,
					RST | ACK, SYN | ACK, SYN | RST, SYN | FIN};
	uint8_t out[REJECT_MAX];

	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t i = 0; i < sizeof(flags); i++)
			assert_int_equal(build(tcp(v6, flags[i], 0, 5), NULL, out), 0);
}

/* RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e) */
static void never_about_these(void **state)
{
	static const uint8_t types4[] = {0, 3, 4, 5, 11, 12, 13};
	static const uint8_t types6[] = {1,   2,   3,   4,   100, 127, 129,
					 130, 133, 134, 135, 136, 137, 143};
	static const char *const src4[] = {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255",
					   "240.0.0.1"};
	static const char *const src6[] = {"::", "::1", "ff02::1", "::ffff:10.0.0.1"};
	uint8_t out[REJECT_MAX];
	struct hf_addr a;
	struct made m;

	(void)state;
	for (size_t i = 0; i < sizeof(types4); i++)
		assert_int_equal(build(echo(0, types4[i]), NULL, out), 0);
	for (size_t i = 0; i < sizeof(types6); i++)
		assert_int_equal(build(echo(1, types6[i]), NULL, out), 0);
	for (size_t i = 0; i < 5; i++)
		for (int dst = 0; dst < 2; dst++) {
			m = udp(0, 20);
			addr_parse(src4[i], &a);
			memcpy(m.b + (dst ? 16 : 12), addr_bytes(&a), 4);
			assert_int_equal(build(m, NULL, out), 0);
		}
	for (size_t i = 0; i < 4; i++)
		for (int dst = 0; dst < 2; dst++) {
			m = udp(1, 20);
			addr_parse(src6[i], &a);
			memcpy(m.b + (dst ? 24 : 8), a.b, 16);
			assert_int_equal(build(m, NULL, out), 0);
		}
	m = udp(0, 20);
	m.b[7] = 1; /* offset 8 */
	assert_int_equal(build(m, NULL, out), 0);
	m.b[6] = 0x20;
	m.b[7] = 0; /* the first: may be answered */
	assert_true(build(m, NULL, out) > 0);
	m = tcp(0, SYN, 0, 0);
	m.b[6] = 0x20; /* how long it is nobody knows */
	assert_int_equal(build(m, NULL, out), 0);
	assert_int_equal(build(packet(1, IPPROTO_NONE, 8), NULL, out), 0);
	/* an ICMP of the other family is no echo request */
	m = packet(0, IPPROTO_ICMPV6, 40);
	m.b[20] = 128;
	assert_int_equal(build(m, NULL, out), 0);
	m = packet(1, IPPROTO_ICMP, 40);
	m.b[40] = 8;
	assert_int_equal(build(m, NULL, out), 0);
}

static void extension_headers(void **state)
{
	uint8_t out[REJECT_MAX];
	struct made m = packet(1, 0, 16 + 8 + 8 + 4);
	uint8_t *h = m.b + 40;

	(void)state;
	h[0] = 44; /* hop-by-hop, 16 bytes */
	h[1] = 1;
	h[16] = IPPROTO_UDP; /* fragment */
	be16(h + 18, 1);
	assert_true(build(m, NULL, out) > 0);
	be16(h + 18, 9); /* offset 8 */
	assert_int_equal(build(m, NULL, out), 0);
	be16(h + 18, 0);
	h[1] = 200; /* longer than the packet */
	assert_int_equal(build(m, NULL, out), 0);
}

static void cut_short(void **state)
{
	uint8_t out[REJECT_MAX];

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		struct made inputs[] = {udp(v6, 30), tcp(v6, SYN, 20, 3), echo(v6, v6 ? 128 : 8)};

		for (size_t i = 0; i < 3; i++) {
			struct made whole = inputs[i];

			for (size_t len = 0; len < whole.len; len++) {
				inputs[i].len = len;
				assert_int_equal(build(inputs[i], NULL, out), 0);
				if (len < (v6 ? 40u : 20u))
					continue;
				/* lengths that agree */
				if (v6)
					be16(inputs[i].b + 4, (unsigned int)len - 40);
				else
					be16(inputs[i].b + 2, (unsigned int)len);
				build(inputs[i], NULL, out);
				inputs[i] = whole;
			}
		}
		inputs[1].b[(v6 ? 40 : 20) + 12] = 0xf0; /* data offset behind the end */
		assert_int_equal(build(inputs[1], NULL, out), 0);
	}
}

static void capacity(void **state)
{
	uint8_t out[REJECT_MAX];
	struct made m = udp(0, 10), syn = tcp(1, SYN, 0, 0);

	(void)state;
	assert_int_equal(reject_build(m.b, m.len, NULL, out, 28 + m.len - 1), -ENOSPC);
	assert_int_equal(reject_build(m.b, m.len, NULL, out, 28 + m.len), 28 + m.len);
	assert_int_equal(reject_build(syn.b, syn.len, NULL, out, 59), -ENOSPC);
	assert_int_equal(reject_build(syn.b, syn.len, NULL, out, 60), 60);
}

static void source_of_another_family_is_not_used(void **state)
{
	uint8_t out[REJECT_MAX];
	struct hf_addr zero = {0};
	struct made m = udp(0, 10);

	(void)state;
	check_answer(out, build(m, "2001:db8::1", out), 0, NULL, IPPROTO_ICMP);
	check_answer(out, reject_build(m.b, m.len, &zero, out, sizeof(out)), 0, NULL, IPPROTO_ICMP);
	check_answer(out, build(udp(1, 10), "10.7.0.254", out), 1, NULL, IPPROTO_ICMPV6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(icmp_for_datagrams_and_echo),
		cmocka_unit_test(quotes_as_much_as_fits),
		cmocka_unit_test(reset_for_a_syn),
		cmocka_unit_test(never_for_a_connection),
		cmocka_unit_test(never_about_these),
		cmocka_unit_test(extension_headers),
		cmocka_unit_test(cut_short),
		cmocka_unit_test(capacity),
		cmocka_unit_test(source_of_another_family_is_not_used),
	};

	return cmocka_run_group_tests_name("reject", tests, NULL, NULL);
}
