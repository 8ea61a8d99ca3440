/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One line an event on stderr, with the priority that journald understands
 * (sd-daemon(3): "<6>…"), and the same to whoever watches (`holdfast monitor`). */
#ifndef HOLDFAST_LOG_H
#define HOLDFAST_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

typedef void log_watch_fn(void *arg, enum log_level level, const char *line);

void log_set_level(enum log_level level);
void log_set_watch(log_watch_fn *fn, void *arg); /* fn NULL: none */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* true at most once in `interval_ms` for each `*last_ms`, for lines that strangers can cause. */
bool log_allowed(unsigned long long *last_ms, unsigned int interval_ms);

#endif
