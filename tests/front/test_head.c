/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "control/front/head.h"

#define OK   "HTTP/1.1 200 OK\r\n"
#define MON  "Date: Mon, 06 Jan 2025 10:00:00 GMT\r\n"
#define OLD  "Last-Modified: Mon, 06 Jan 2025 09:59:59 GMT\r\n"
#define NEW  "Last-Modified: Mon, 06 Jan 2025 10:00:00 GMT\r\n"
#define TAG  "ETag: \"1-2\"\r\n"
#define LEN  "Content-Length: 10\r\n"
#define SOME "Content-Range: bytes 0-9/20\r\n"

static void repeatable_requests(void **state)
{
	static const struct {
		const char *request;
		bool yes;
	} rows[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"GET / HTTP/1.0\r\n\r\n", true},
		{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nRange: bytes=1-\r\nIf-Range: \"x\"\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", false},
		{"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		{"GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", false},
		{"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false},
		{"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", false},
		{"DELETE / HTTP/1.1\r\n\r\n", false},
		{"CONNECT a:1 HTTP/1.1\r\n\r\n", false},
	};
	struct head h;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(head_parse_request(rows[i].request, strlen(rows[i].request), &h),
				 0);
		if (head_repeatable(&h) != rows[i].yes)
			fail_msg("%s", rows[i].request);
	}
}

static void repeatable_responses(void **state)
{
	static const struct {
		const char *response;
		bool head;
		const char *why; /* how it begins; NULL: repeatable */
	} rows[] = {
		{OK LEN TAG "\r\n", false, NULL},
		{OK LEN MON OLD "\r\n", false, NULL},
		{OK LEN "ETag: W/\"1-2\"\r\n\r\n", false, "no strong"},
		{OK LEN MON NEW "\r\n", false, "no strong"},
		{OK LEN OLD "\r\n", false, "no strong"},
		{OK LEN MON "Last-Modified: yesterday\r\n\r\n", false, "no strong"},
		{OK LEN "\r\n", false, "no strong"},
		{OK TAG "\r\n", false, "its length"},
		{OK TAG "\r\n", true, NULL},
		{OK TAG "Transfer-Encoding: chunked\r\n\r\n", false, "its length"},
		{OK TAG "Transfer-Encoding: gzip\r\n\r\n", false, "its head"},
		{OK LEN TAG TAG "\r\n", false, "its head"},
		{OK LEN "ETag:\r\n\r\n", false, "its head"},
		{"HTTP/1.1 206 Partial\r\n" LEN TAG SOME "\r\n", false, NULL},
		{"HTTP/1.1 206 Partial\r\n" LEN TAG
		 "Content-Type: multipart/byteranges; boundary=1\r\n\r\n",
		 false, "several ranges"},
		{"HTTP/1.1 304 Not Modified\r\n" TAG "\r\n", false, NULL},
		{"HTTP/1.1 404 Not Found\r\n" LEN TAG "\r\n", false, "its status"},
		{"HTTP/1.1 302 Found\r\n" LEN TAG "\r\n", false, "its status"},
	};
	struct head h;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *why;

		assert_int_equal(head_parse_response(rows[i].response, strlen(rows[i].response),
						     rows[i].head, &h),
				 0);
		assert_int_equal(h.len, strlen(rows[i].response));
		why = head_why_not(&h, rows[i].head);
		if (!why != !rows[i].why || (why && strncmp(why, rows[i].why, strlen(rows[i].why))))
			fail_msg("%s: %s", rows[i].response, why ? why : "repeatable");
	}
}

/* T2: another object is not taken for the rest of the one that a client has the beginning of. */
static void T2_another_object_differs(void **state)
{
	static const char base[] = OK LEN TAG MON OLD "\r\n";
	static const struct {
		const char *other;
		const char *field; /* NULL: the same */
	} rows[] = {
		{base, NULL},
		{OK "Server: b\r\nX: y\r\n" LEN TAG "Date: Tue, 07 Jan 2025 10:00:00 GMT\r\n" OLD
		    "\r\n",
		 NULL},
		{"HTTP/1.1 206 OK\r\n" LEN TAG MON OLD "\r\n", "status"},
		{OK "Content-Length: 11\r\n" TAG MON OLD "\r\n", "content-length"},
		{OK TAG MON OLD "\r\n", "content-length"},
		{OK LEN "ETag: \"1-3\"\r\n" MON OLD "\r\n", "etag"},
		{OK LEN "ETag: W/\"1-2\"\r\n" MON OLD "\r\n", "etag"},
		{OK LEN MON OLD "\r\n", "etag"},
		{OK LEN TAG MON NEW "\r\n", "last-modified"},
		{OK LEN TAG MON OLD SOME "\r\n", "content-range"},
		{OK LEN TAG MON OLD "Content-Encoding: gzip\r\n\r\n", "content-encoding"},
		{OK LEN TAG TAG MON OLD "\r\n", "odd head"},
	};
	struct head a, b;

	(void)state;
	assert_int_equal(head_parse_response(base, strlen(base), false, &a), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *field;

		assert_int_equal(
			head_parse_response(rows[i].other, strlen(rows[i].other), false, &b), 0);
		field = head_differs(&a, &b);
		if (!field != !rows[i].field || (field && strcmp(field, rows[i].field)))
			fail_msg("%s: %s", rows[i].other, field ? field : "the same");
	}
}

static void body_lengths(void **state)
{
	static const struct {
		const char *response;
		bool head;
		uint64_t body;
	} rows[] = {
		{OK LEN "\r\n", false, 10},
		{OK LEN "\r\n", true, 0},
		{OK "\r\n", false, HEAD_NO_LENGTH},
		{"HTTP/1.1 204 No Content\r\n\r\n", false, 0},
		{"HTTP/1.1 304 Not Modified\r\n" LEN "\r\n", false, 0},
		{"HTTP/1.1 103 Early Hints\r\n\r\n", false, HEAD_NO_LENGTH},
		{"HTTP/1.1 101 Switching Protocols\r\n\r\n", false, HEAD_NO_LENGTH},
	};
	struct head h;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(head_parse_response(rows[i].response, strlen(rows[i].response),
						     rows[i].head, &h),
				 0);
		assert_true(head_body(&h, rows[i].head) == rows[i].body);
	}
}

/* A head in pieces is not a head yet; what follows it does not count. */
static void heads_in_pieces(void **state)
{
	static const char text[] = OK LEN TAG "\r\n0123456789HTTP/1.1 200 OK\r\n";
	size_t len = strstr(text, "0123") - text;
	struct head h;

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		assert_int_equal(head_parse_response(text, n, false, &h), n < len ? -EAGAIN : 0);
		if (n >= len)
			assert_int_equal(h.len, len);
	}
}

static void bad_heads(void **state)
{
	static const char *const rows[] = {
		"nonsense\r\n\r\n",
		"GET  HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET / HTTP/1.1\r\nA\001: 1\r\n\r\n",
	};
	struct head h;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (head_parse_request(rows[i], strlen(rows[i]), &h) != -EBADMSG)
			fail_msg("%s", rows[i]);
}

static void long_values_are_odd(void **state)
{
	char text[1024], tag[HEAD_VALUE_MAX + 1];
	struct head h;

	(void)state;
	memset(tag, 'x', sizeof(tag));
	tag[HEAD_VALUE_MAX] = 0;
	snprintf(text, sizeof(text), OK LEN "ETag: %s\r\n\r\n", tag);
	assert_int_equal(head_parse_response(text, strlen(text), false, &h), 0);
	assert_true(h.odd);
	assert_non_null(head_why_not(&h, false));
	snprintf(text, sizeof(text), OK LEN "ETag: \"a\"\r\n b\r\n\r\n");
	assert_int_equal(head_parse_response(text, strlen(text), false, &h), 0);
	assert_non_null(head_why_not(&h, false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(repeatable_requests),       cmocka_unit_test(repeatable_responses),
		cmocka_unit_test(T2_another_object_differs), cmocka_unit_test(body_lengths),
		cmocka_unit_test(heads_in_pieces),           cmocka_unit_test(bad_heads),
		cmocka_unit_test(long_values_are_odd),
	};

	return cmocka_run_group_tests_name("head", tests, NULL, NULL);
}
