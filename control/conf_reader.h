/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the files that read configurations share; nobody else includes it. Functions that return int
 * give 1, or 0 after conf_fail(). */
#ifndef HOLDFAST_CONF_READER_H
#define HOLDFAST_CONF_READER_H

#include <stdio.h>

#include "control/conf.h"

struct reader {
	struct conf *c;
	struct conf_error *err;
	bool failed;
	FILE *f;
	int line; /* read last */
};

struct point_list {
	struct hf_addr *points;
	size_t *count;
};

/* Keeps the first sentence. Returns 0. */
int conf_fail(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

bool conf_copy(char *dst, size_t len, const char *src);
bool conf_number(const char *s, unsigned long min, unsigned long max, unsigned long *ret);
bool conf_duration(const char *s, uint32_t *ret_ms);
bool conf_endpoint(const char *s, struct hf_addr *addr, uint16_t *port);
int conf_each(struct reader *r, const char *value, int (*fn)(struct reader *, void *, const char *),
	      void *arg);
int conf_add_point(struct reader *r, void *arg, const char *s);
int conf_set_name(struct reader *r, char *dst, const char *value);
int conf_set_text(struct reader *r, char *dst, size_t len, const char *value);

/* ---- conf_takeover.c ---- */

void conf_takeover_defaults(struct conf_takeover *t);
int conf_read_takeover(struct reader *r, const char *key, const char *value);
int conf_read_node(struct reader *r, const char *key, const char *value);
int conf_read_password(struct reader *r);
/* Whether a server's configuration is whole. */
bool conf_check_server(const struct conf *c, struct conf_error *err);

#endif
