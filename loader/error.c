/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/private.h"

static char heard[256];
static libbpf_print_fn_t speaker;

int error_set(struct loader_error *err, int code, const char *format, ...)
{
	va_list args;

	if (!err)
		return code;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return code;
}

static int hear(enum libbpf_print_level level, const char *format, va_list args)
{
	static const char prefix[] = "libbpf: ";
	size_t n;

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(heard, sizeof(heard), format, args);
	n = strcspn(heard, "\n");
	heard[n] = '\0';
	if (!strncmp(heard, prefix, sizeof(prefix) - 1))
		memmove(heard, heard + sizeof(prefix) - 1, n - sizeof(prefix) + 2);
	return 0;
}

void error_listen(void)
{
	heard[0] = '\0';
	speaker = libbpf_set_print(hear);
}

void error_unlisten(void)
{
	libbpf_set_print(speaker);
}

const char *error_heard(void)
{
	return heard;
}
