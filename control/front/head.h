/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The head of an HTTP/1 message: what is needed to know whether an answer can be
 * made again (RFC 9110), and whether two answers are the same. Nothing here does I/O.
 */
#ifndef HOLDFAST_FRONT_HEAD_H
#define HOLDFAST_FRONT_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_NO_LENGTH UINT64_MAX
#define HEAD_VALUE_MAX 192u

enum head_field {
	HEAD_ETAG,
	HEAD_LAST_MODIFIED,
	HEAD_DATE,
	HEAD_CONTENT_RANGE,
	HEAD_CONTENT_ENCODING,
	HEAD_EXPECT,
	HEAD_FIELDS,
};

struct head {
	size_t len; /* octets, the empty line included */
	unsigned int status;
	unsigned int method; /* enum http_method */
	bool keep_alive;
	bool chunked;
	bool upgrade;
	bool odd;                                /* a field twice, or longer than HEAD_VALUE_MAX */
	uint64_t content_length;                 /* HEAD_NO_LENGTH: not said */
	char value[HEAD_FIELDS][HEAD_VALUE_MAX]; /* empty: not there */
};

/* `head`: the request was a HEAD, so that a length is not followed by a body. 0; -EAGAIN: there is
 * more to come; -EBADMSG. */
int head_parse_request(const char *buf, size_t len, struct head *ret);
int head_parse_response(const char *buf, size_t len, bool head, struct head *ret);

bool head_is_get(const struct head *request);  /* GET or HEAD */
bool head_is_head(const struct head *request); /* HEAD */
bool head_is_connect(const struct head *request);

/* Octets that follow the response's head; HEAD_NO_LENGTH: the head does not say. */
uint64_t head_body(const struct head *response, bool head);

/* May it be asked a second time, and is the answer a matter of the request alone? */
bool head_repeatable(const struct head *request);
/* NULL: whoever gives the same validators gives the same octets. Else why this is not so. */
const char *head_why_not(const struct head *response, bool head);
/* NULL: two responses to one request carry the same octets. Else which field differs. */
const char *head_differs(const struct head *a, const struct head *b);

#endif
