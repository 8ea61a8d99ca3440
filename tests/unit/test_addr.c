/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "../../control/addr.h"

static struct hf_addr A(const char *text) {
	struct hf_addr a;

	if (addr_parse(text, &a) < 0)
		fail_msg("%s does not parse", text);
	return a;
}

static void
parse_and_format(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"192.0.2.1", "192.0.2.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"2001:db8::1", "2001:db8::1"},
		{"[2001:db8::1]", "2001:db8::1"},
		{"::", "::"},
		{"[::]", "::"},
		{"::ffff:10.1.2.3", "10.1.2.3"},
		{"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
	};
	char buf[INET6_ADDRSTRLEN];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct hf_addr a = A(rows[i].in);

		assert_string_equal(addr_format(&a, buf), rows[i].out);
	}
}

static void parse_refuses(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"x",
		"1.2.3",
		"1.2.3.4.5",
		"1.2.3.256",
		" 1.2.3.4",
		"1.2.3.4 ",
		"01.2.3.4",
		"1.2.3.4/32",
		"[1.2.3.4]",
		"[",
		"]",
		"[]",
		"[::1",
		"::1]",
		"[[::1]]",
		"fe80::1%eth0",
		":::",
		"2001:db8::1::2",
		"12345::",
		"1.2.3.4:80",
		"[::1]:80",
		"localhost",
		"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
	};
	struct hf_addr a, before;

	(void)state;
	memset(&a, 0xa5, sizeof(a));
	before = a;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (addr_parse(bad[i], &a) != -EINVAL)
			fail_msg("\"%s\" parses", bad[i]);
		assert_memory_equal(&a, &before, sizeof(a));
	}
}

static void prefix(void **state)
{
	static const struct {
		const char *text;
		int r;
		unsigned int len;
	} rows[] = {
		{"10.0.0.0/24", 0, 24},
		{"0.0.0.0/0", 0, 0},
		{"10.0.0.1", 0, 32},
		{"10.0.0.1/32", 0, 32},
		{"2001:db8::/32", 0, 32},
		{"::/0", 0, 0},
		{"2001:db8::1", 0, 128},
		{"[2001:db8::]/64", 0, 64},
		{"10.0.0.1/24", -EDOM, 0},
		{"10.0.0.128/24", -EDOM, 0},
		{"2001:db8::1/64", -EDOM, 0},
		{"10.0.0.0/33", -ERANGE, 0},
		{"::/129", -ERANGE, 0},
		{"10.0.0.0/", -EINVAL, 0},
		{"10.0.0.0/-1", -EINVAL, 0},
		{"10.0.0.0/+8", -EINVAL, 0},
		{"10.0.0.0/ 8", -EINVAL, 0},
		{"10.0.0.0/8 ", -EINVAL, 0},
		{"10.0.0.0/08", -EINVAL, 0},
		{"10.0.0.0/8/8", -EINVAL, 0},
		{"10.0.0.0/4294967304", -EINVAL, 0},
		{"/8", -EINVAL, 0},
		{"::ffff:10.0.0.0/104", -EINVAL, 0},
		{"10.0.0/8", -EINVAL, 0},
		{"10.0.0.0/255.0.0.0", -EINVAL, 0},
	};
	struct hf_addr a;
	unsigned int len;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		len = 999;
		if (addr_parse_prefix(rows[i].text, &a, &len) != rows[i].r)
			fail_msg("%s", rows[i].text);
		assert_int_equal(len, rows[i].r == 0 ? rows[i].len : 999);
	}
}

static void kinds(void **state)
{
	static const struct {
		const char *text;
		int unicast, v4, zero;
	} rows[] = {
		{"192.0.2.1", 1, 1, 0},
		{"10.0.0.0", 1, 1, 0},
		{"223.255.255.255", 1, 1, 0},
		{"0.0.0.0", 0, 1, 0},
		{"0.1.2.3", 0, 1, 0},
		{"127.0.0.1", 0, 1, 0},
		{"169.254.1.1", 0, 1, 0},
		{"224.0.0.1", 0, 1, 0},
		{"240.0.0.1", 0, 1, 0},
		{"255.255.255.255", 0, 1, 0},
		{"2001:db8::1", 1, 0, 0},
		{"fd00::1", 1, 0, 0},
		{"::", 0, 0, 1},
		{"::1", 0, 0, 0},
		{"fe80::1", 0, 0, 0},
		{"febf::1", 0, 0, 0},
		{"fec0::1", 1, 0, 0},
		{"ff02::1", 0, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct hf_addr a = A(rows[i].text);

		if (addr_is_unicast(&a) != rows[i].unicast || addr_is_v4(&a) != rows[i].v4 ||
		    addr_is_zero(&a) != rows[i].zero)
			fail_msg("%s", rows[i].text);
		assert_int_equal(addr_bits(&a), rows[i].v4 ? 32 : 128);
		assert_int_equal(addr_family(&a), rows[i].v4 ? AF_INET : AF_INET6);
	}
}

static void overlap(void **state)
{
	static const struct {
		const char *a, *b;
		int yes;
	} rows[] = {
		{"10.0.0.0/8", "10.1.0.0/16", 1},
		{"10.0.0.0/9", "10.128.0.0/9", 0},
		{"10.0.0.0/24", "10.0.1.0/24", 0},
		{"0.0.0.0/0", "10.0.0.0/24", 1},
		{"10.0.0.4/30", "10.0.0.7", 1},
		{"10.0.0.4/30", "10.0.0.8", 0},
		{"2001:db8::/32", "2001:db8:1::/48", 1},
		{"2001:db8::/48", "2001:db8:1::/48", 0},
		{"::/0", "10.0.0.0/8", 0},
		{"2001:db8::/33", "2001:db8:8000::/33", 0},
	};
	struct hf_addr a, b;
	unsigned int alen, blen;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(addr_parse_prefix(rows[i].a, &a, &alen), 0);
		assert_int_equal(addr_parse_prefix(rows[i].b, &b, &blen), 0);
		if (addr_prefix_overlap(&a, alen, &b, blen) != rows[i].yes ||
		    addr_prefix_overlap(&b, blen, &a, alen) != rows[i].yes)
			fail_msg("%s %s", rows[i].a, rows[i].b);
	}
}

static void nth(void **state)
{
	static const struct {
		const char *prefix;
		uint64_t n;
		int r;
		const char *out;
	} rows[] = {
		{"10.0.0.0/24", 0, 0, "10.0.0.0"},
		{"10.0.0.0/24", 255, 0, "10.0.0.255"},
		{"10.0.0.0/24", 256, -ERANGE, NULL},
		{"10.0.0.0/8", 0x10203, 0, "10.1.2.3"},
		{"10.0.0.7/32", 0, 0, "10.0.0.7"},
		{"10.0.0.7/32", 1, -ERANGE, NULL},
		{"0.0.0.0/0", 0xffffffff, 0, "255.255.255.255"},
		{"0.0.0.0/0", 0x100000000, -ERANGE, NULL},
		{"2001:db8::/64", UINT64_MAX, 0, "2001:db8::ffff:ffff:ffff:ffff"},
		{"2001:db8::/65", UINT64_MAX, -ERANGE, NULL},
		{"::/0", 1, 0, "::1"},
	};
	char buf[INET6_ADDRSTRLEN];
	struct hf_addr a, out;
	unsigned int len;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(addr_parse_prefix(rows[i].prefix, &a, &len), 0);
		assert_int_equal(addr_nth(&a, len, rows[i].n, &out), rows[i].r);
		if (rows[i].r == 0)
			assert_string_equal(addr_format(&out, buf), rows[i].out);
	}
	a = A("10.0.0.200");
	assert_int_equal(addr_nth(&a, 24, 100, &out), -ERANGE);
	assert_int_equal(addr_nth(&a, 33, 0, &out), -EINVAL);
}

static void sockaddrs(void **state)
{
	static const char *const texts[] = {"192.0.2.1", "2001:db8::1", "fe80::7"};
	struct sockaddr_storage ss;
	struct hf_addr back;
	socklen_t len;
	uint16_t port;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct hf_addr a = A(texts[i]);

		addr_to_sockaddr(&a, 4711, 9, &ss, &len);
		assert_int_equal(ss.ss_family, i == 0 ? AF_INET : AF_INET6);
		assert_int_equal(len,
				 i == 0 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
		if (i > 0)
			assert_int_equal(((struct sockaddr_in6 *)&ss)->sin6_scope_id,
					 i == 2 ? 9 : 0);
		assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, &back, &port), 0);
		assert_true(addr_equal(&a, &back));
		assert_int_equal(port, 4711);
		assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, &back, NULL), 0);
	}
	ss.ss_family = AF_UNIX;
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, &back, &port), -EAFNOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_and_format), cmocka_unit_test(parse_refuses),
		cmocka_unit_test(prefix),           cmocka_unit_test(kinds),
		cmocka_unit_test(overlap),          cmocka_unit_test(nth),
		cmocka_unit_test(sockaddrs),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
