/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Expected packets come from scapy, IP()/TCP()/Raw() with the fields of the row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "../../control/addr.h"
#include "../../control/takeover/segment.h"

#define IRS 0x11223344u
#define ISS 0x55667788u

static struct guard_facts facts(int v6, uint8_t options, uint32_t irs, uint32_t iss)
{
	struct guard_facts f = {
		.key = {.peer_port = htons(50123), .local_port = htons(443)},
		.irs = irs,
		.iss = iss,
		.peer_wscale = 9,
		.our_wscale = 7,
		.options = options | GUARD_WSCALE,
	};

	assert_int_equal(addr_parse(v6 ? "2001:db8::10" : "192.0.2.10", &f.key.local), 0);
	assert_int_equal(addr_parse(v6 ? "2001:db8:7::7" : "198.51.100.7", &f.key.peer), 0);
	return f;
}

struct row {
	const char *what;
	int v6;
	uint8_t options;
	uint32_t irs, iss;
	struct segment s;
	const char *hex;
};

static const struct row rows[] = {
	{"an acknowledgement, flags=A window=512",
	 0,
	 0,
	 IRS,
	 ISS,
	 {.seq = 1000, .ack = 2000, .edge = 2000 + 65536},
	 "450000280000400040064e8bc000020ac633640701bbc3cb55667b7111223b15"
	 "50100200def90000"},
	{"with timestamps 0x01020304, 0xa0b0c0d0",
	 0,
	 GUARD_TS,
	 IRS,
	 ISS,
	 {.seq = 1000, .ack = 2000, .edge = 2000 + 65536, .tsval = 0x01020304, .tsecr = 0xa0b0c0d0},
	 "450000340000400040064e7fc000020ac633640701bbc3cb55667b7111223b15"
	 "80100200405b00000101080a01020304a0b0c0d0"},
	{"no timestamps where none were negotiated",
	 0,
	 GUARD_SACK,
	 IRS,
	 ISS,
	 {.seq = 1000, .ack = 2000, .edge = 2000 + 65536, .tsval = 0x01020304, .tsecr = 0xa0b0c0d0},
	 "450000280000400040064e8bc000020ac633640701bbc3cb55667b7111223b15"
	 "50100200def90000"},
	{"T2: a probe, Raw(0), timestamps 7, 9",
	 0,
	 GUARD_TS,
	 IRS,
	 ISS,
	 {.seq = 999, .ack = 2000, .edge = 2000 + 65536, .tsval = 7, .tsecr = 9, .octets = 1},
	 "450000350000400040064e7ec000020ac633640701bbc3cb55667b7011223b15"
	 "80100200a5d200000101080a000000070000000900"},
	{"T2: a probe, IPv6",
	 1,
	 0,
	 IRS,
	 ISS,
	 {.seq = 999, .ack = 2000, .edge = 2000 + 65536, .octets = 1},
	 "600000000015064020010db800000000000000000000001020010db800070000"
	 "000000000000000701bbc3cb55667b7011223b15501002006faf000000"},
	{"IPv6, timestamps 0xfffffffe, 1",
	 1,
	 GUARD_TS,
	 IRS,
	 ISS,
	 {.seq = 1000, .ack = 2000, .edge = 2000 + 65536, .tsval = 0xfffffffe, .tsecr = 1},
	 "600000000020064020010db800000000000000000000001020010db800070000"
	 "000000000000000701bbc3cb55667b7111223b1580100200369800000101080a"
	 "fffffffe00000001"},
	{"the peer's end, flags=FA window=ceil(29200/512), timestamps 0xcafe, 0xbeef",
	 0,
	 GUARD_TS,
	 IRS,
	 ISS,
	 {.seq = 2000,
	  .ack = 1000,
	  .edge = 1000 + 29200,
	  .tsval = 0xcafe,
	  .tsecr = 0xbeef,
	  .fin = true,
	  .from_peer = true},
	 "450000340000400040064e7fc6336407c000020ac3cb01bb11223b1555667b71"
	 "8011003a1db900000101080a0000cafe0000beef"},
	{"the peer's end, IPv6",
	 1,
	 0,
	 IRS,
	 ISS,
	 {.seq = 2000, .ack = 1000, .edge = 1000 + 29200, .fin = true, .from_peer = true},
	 "600000000014064020010db800070000000000000000000720010db800000000"
	 "0000000000000010c3cb01bb11223b1555667b715011003a71740000"},
	{"sequence numbers wrap, offsets of more than 4 GiB, window at its most",
	 0,
	 0,
	 0xffffffff,
	 0xfffffff0,
	 {.seq = (5ull << 32) + 100, .ack = (9ull << 32) + 3, .edge = 10ull << 32},
	 "450000280000400040064e8bc000020ac633640701bbc3cb0000005500000003"
	 "5010fffffdb00000"},
};

static void bytes_of_segments(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct guard_facts f = facts(rows[i].v6, rows[i].options, rows[i].irs, rows[i].iss);
		uint8_t out[SEGMENT_MAX];
		char hex[2 * SEGMENT_MAX + 1];
		struct segment s = rows[i].s;
		size_t len;

		s.facts = &f;
		len = segment_create(&s, out);
		for (size_t b = 0; b < len; b++)
			snprintf(hex + 2 * b, 3, "%02x", out[b]);
		if (strcmp(hex, rows[i].hex) != 0)
			fail_msg("%s:\nmade %s\nwant %s", rows[i].what, hex, rows[i].hex);
	}
}

static unsigned int get16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

/* T7: what was once told to the peer stays: the window that is written never ends below `edge`. */
static void edge_never_shrinks(void **state)
{
	(void)state;
	for (uint8_t scale = 0; scale <= 14; scale++) {
		for (int i = 0; i < 2000; i++) {
			struct guard_facts f = facts(0, 0, IRS, ISS);
			uint64_t most = 65535ull << scale;
			struct segment s = {.facts = &f, .ack = (uint64_t)rand() << 4};
			uint64_t bytes = (uint64_t)rand() % (most + 1), told;
			uint8_t out[SEGMENT_MAX];

			f.our_wscale = scale;
			s.edge = s.ack + bytes;
			segment_create(&s, out);
			told = (uint64_t)get16(out + 20 + 14) << scale;
			assert_true(told >= bytes && told < bytes + (1ull << scale));
			s.edge = s.ack + most + 1 + (uint64_t)rand();
			segment_create(&s, out);
			assert_int_equal(get16(out + 20 + 14), 65535);
			s.edge = s.ack - (uint64_t)rand() % (s.ack + 1);
			segment_create(&s, out);
			assert_int_equal(get16(out + 20 + 14), 0);
		}
	}
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

static void checksums_of_any_segment(void **state)
{
	(void)state;
	for (int i = 0; i < 20000; i++) {
		int v6 = i & 1;
		size_t ip = v6 ? 40 : 20, len;
		struct guard_facts f =
			facts(v6, i & 2 ? GUARD_TS : 0, (uint32_t)rand() * 2, (uint32_t)rand() * 2);
		struct segment s = {
			.facts = &f,
			.seq = (uint64_t)rand() << 8,
			.ack = (uint64_t)rand() << 8,
			.tsval = (uint32_t)rand() * 2,
			.tsecr = (uint32_t)rand(),
			.octets = !!(i & 4),
			.fin = i & 8,
			.from_peer = i & 16,
		};
		uint8_t out[SEGMENT_MAX];
		uint64_t pseudo;

		s.edge = s.ack + (uint64_t)rand() % (1u << 20);
		f.key.peer.w[3] = htonl((uint32_t)rand());
		f.key.peer_port = htons((uint16_t)rand());
		len = segment_create(&s, out);
		assert_in_range(len, ip + 20, SEGMENT_MAX);
		pseudo = ones_sum(IPPROTO_TCP + len - ip, out + (v6 ? 8 : 12), v6 ? 32 : 8);
		assert_int_equal(ones_sum(pseudo, out + ip, len - ip), 0xffff);
		if (!v6)
			assert_int_equal(ones_sum(0, out, ip), 0xffff);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_of_segments),
		cmocka_unit_test(edge_never_shrinks),
		cmocka_unit_test(checksums_of_any_segment),
	};

	srand(1);
	return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
