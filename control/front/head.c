/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/front/head.h"

#include <errno.h>
#include <http_parser.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define NO_FIELD HEAD_FIELDS

static const char *const names[HEAD_FIELDS] = {
	[HEAD_ETAG] = "etag",
	[HEAD_LAST_MODIFIED] = "last-modified",
	[HEAD_DATE] = "date",
	[HEAD_CONTENT_RANGE] = "content-range",
	[HEAD_CONTENT_ENCODING] = "content-encoding",
	[HEAD_EXPECT] = "expect",
};

struct parsing {
	struct head *head;
	bool no_body;
	bool complete;
	unsigned int field; /* enum head_field whose value is due, or NO_FIELD */
};

static int on_field(http_parser *p, const char *at, size_t len)
{
	struct parsing *s = p->data;

	s->field = NO_FIELD;
	for (unsigned int i = 0; i < HEAD_FIELDS; i++)
		if (strlen(names[i]) == len && !strncasecmp(names[i], at, len))
			s->field = i;
	return 0;
}

/* A folded line (RFC 9112 section 5.2) comes in pieces, and so do two lines of one name: both odd.
 */
static int on_value(http_parser *p, const char *at, size_t len)
{
	struct parsing *s = p->data;
	char *value;

	if (s->field == NO_FIELD)
		return 0;
	value = s->head->value[s->field];
	if (*value || !len || len >= HEAD_VALUE_MAX) {
		s->head->odd = true;
		return 0;
	}
	memcpy(value, at, len);
	value[len] = 0;
	return 0;
}

static int on_complete(http_parser *p)
{
	struct parsing *s = p->data;

	s->complete = true;
	http_parser_pause(p, 1);
	return s->no_body;
}

static int parse(enum http_parser_type type, const char *buf, size_t len, bool no_body,
		 struct head *ret)
{
	static const http_parser_settings settings = {
		.on_header_field = on_field,
		.on_header_value = on_value,
		.on_headers_complete = on_complete,
	};
	struct parsing s = {.head = ret, .no_body = no_body, .field = NO_FIELD};
	http_parser p;
	size_t n;

	memset(ret, 0, sizeof(*ret));
	http_parser_init(&p, type);
	p.data = &s;
	n = http_parser_execute(&p, &settings, buf, len);
	if (!s.complete)
		return p.http_errno == HPE_OK ? -EAGAIN : -EBADMSG;
	/* paused before the last line feed */
	ret->len = n + 1;
	ret->status = p.status_code;
	ret->method = p.method;
	ret->keep_alive = http_should_keep_alive(&p);
	ret->chunked = p.flags & F_CHUNKED;
	ret->upgrade = p.upgrade;
	ret->content_length = p.flags & F_CONTENTLENGTH ? p.content_length : HEAD_NO_LENGTH;
	if (p.uses_transfer_encoding && !ret->chunked)
		ret->odd = true;
	return 0;
}

int head_parse_request(const char *buf, size_t len, struct head *ret)
{
	return parse(HTTP_REQUEST, buf, len, false, ret);
}

int head_parse_response(const char *buf, size_t len, bool head, struct head *ret)
{
	return parse(HTTP_RESPONSE, buf, len, head, ret);
}

bool head_is_head(const struct head *request)
{
	return request->method == HTTP_HEAD;
}

bool head_is_get(const struct head *request)
{
	return request->method == HTTP_GET || head_is_head(request);
}

bool head_is_connect(const struct head *request)
{
	return request->method == HTTP_CONNECT;
}

uint64_t head_body(const struct head *r, bool head)
{
	if (r->status < 200)
		return HEAD_NO_LENGTH;
	if (head || r->status == 204 || r->status == 304)
		return 0;
	return r->chunked || r->odd ? HEAD_NO_LENGTH : r->content_length;
}

bool head_repeatable(const struct head *r)
{
	return head_is_get(r) && !r->chunked && !r->upgrade && !r->odd &&
	       (r->content_length == HEAD_NO_LENGTH || !r->content_length) &&
	       !*r->value[HEAD_EXPECT];
}

static bool when(const char *text, time_t *ret)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);

	if (!end || *end)
		return false;
	*ret = timegm(&tm);
	return true;
}

/* RFC 9110 section 8.8.2.2: a date is strong if the object was at rest for a second when it was
 * given. */
static bool strong(const struct head *r)
{
	const char *etag = r->value[HEAD_ETAG];
	time_t modified, date;

	if (*etag)
		return *etag == '"';
	return when(r->value[HEAD_LAST_MODIFIED], &modified) && when(r->value[HEAD_DATE], &date) &&
	       date > modified;
}

const char *head_why_not(const struct head *r, bool head)
{
	if (r->odd)
		return "its head is odd";
	if (r->status != 200 && r->status != 206 && r->status != 304)
		return "its status";
	if (head_body(r, head) == HEAD_NO_LENGTH)
		return "its length is not known";
	/* the boundaries between several ranges are the server's own */
	if (r->status == 206 && !*r->value[HEAD_CONTENT_RANGE])
		return "several ranges";
	if (!strong(r))
		return "no strong validator";
	return NULL;
}

const char *head_differs(const struct head *a, const struct head *b)
{
	static const enum head_field same[] = {HEAD_ETAG, HEAD_LAST_MODIFIED, HEAD_CONTENT_RANGE,
					       HEAD_CONTENT_ENCODING};

	if (a->status != b->status)
		return "status";
	if (a->content_length != b->content_length || a->chunked != b->chunked)
		return "content-length";
	if (a->odd || b->odd)
		return "odd head";
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (strcmp(a->value[same[i]], b->value[same[i]]))
			return names[same[i]];
	return NULL;
}
