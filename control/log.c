/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/clock.h"

static enum log_level max_level = LOG_LEVEL_INFO;
static log_watch_fn *watch;
static void *watch_arg;

void log_set_level(enum log_level level)
{
	max_level = level;
}

void log_set_watch(log_watch_fn *fn, void *arg)
{
	watch = fn;
	watch_arg = arg;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error: ",
		[LOG_LEVEL_WARNING] = "warning: ",
		[LOG_LEVEL_INFO] = "",
		[LOG_LEVEL_DEBUG] = "debug: ",
	};
	char line[1024];
	va_list ap;

	if (level > max_level)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* The service manager sets this and reads the priority; a person reads the word. */
	if (getenv("JOURNAL_STREAM"))
		fprintf(stderr, "<%d>%s\n", level, line);
	else
		fprintf(stderr, "%10.3f %s%s\n", (double)clock_us() / 1e6, names[level], line);
	if (watch)
		watch(watch_arg, level, line);
}

bool log_allowed(unsigned long long *last_ms, unsigned int interval_ms)
{
	unsigned long long now = clock_ms();

	if (*last_ms && now - *last_ms < interval_ms)
		return false;
	*last_ms = now;
	return true;
}
