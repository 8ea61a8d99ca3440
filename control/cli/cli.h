/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the verbs of holdfast(8) share. */
#ifndef HOLDFAST_CLI_H
#define HOLDFAST_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct cli {
	const char *verb;
	const char *name; /* of the instance, NULL: the only one there is */
	const char *run_dir;
	bool json;
};

struct cli_verb {
	const char *name;
	const char *arguments; /* for the usage line */
	const char *summary;
	const char *help; /* options of its own, one a line; "" if none */
	int (*run)(struct cli *c, int argc, char **argv);
};

int cli_up(struct cli *c, int argc, char **argv);
int cli_down(struct cli *c, int argc, char **argv);
int cli_status(struct cli *c, int argc, char **argv);
int cli_assocs(struct cli *c, int argc, char **argv);
int cli_paths(struct cli *c, int argc, char **argv);
int cli_flows(struct cli *c, int argc, char **argv);
int cli_switch(struct cli *c, int argc, char **argv);
int cli_monitor(struct cli *c, int argc, char **argv);
int cli_genkey(struct cli *c, int argc, char **argv);
int cli_attach(struct cli *c, int argc, char **argv);
int cli_detach(struct cli *c, int argc, char **argv);
int cli_takeover(struct cli *c, int argc, char **argv);
int cli_demo(struct cli *c, int argc, char **argv);

/* Options every verb has (--name, --run-dir, --json, --help) and those in `extra`, a getopt string
 * with long names in `longs` (terminated by a zeroed one; NULL: none). Calls `own` for each of the
 * latter. Returns the index of the first argument left, or -1 after it printed what is wrong or the
 * help; *ret_exit is set then. */
struct option;
int cli_options(struct cli *c, int argc, char **argv, const struct option *longs,
		int (*own)(void *arg, int opt, const char *value), void *arg, int *ret_exit);

/* Prints "holdfast VERB: ..." or {"error": ...} and returns 1. */
int cli_fail(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Wrong use: the same with a hint at --help; returns 2. */
int cli_misuse(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Name of the instance: c->name, else the only socket in the run folder. NULL after it said why
 * not. */
const char *cli_instance(struct cli *c, char *buf, size_t len);

/* Sends a request (stolen) and returns the answer, a new reference; NULL after an error was
 * printed, the daemon's own "ok": false included. */
json_t *cli_request(struct cli *c, json_t *request);
/* The same, and the connection stays open for more lines. */
int cli_connect(struct cli *c);
/* Is there a socket of that name? Where that may not be looked at: yes. */
bool cli_runs(const struct cli *c, const char *name);

void cli_print_server(json_t *status); /* a server's, as a text */
int cli_print_json(json_t *j);         /* steals, returns 0 */

/* A table with aligned columns. Cells are copied; a cell that starts with '>' is aligned to the
 * right. */
struct table;
struct table *table_new(const char *const *heads, size_t columns);
void table_add(struct table *t, const char *const *cells);
void table_print(struct table *t); /* and frees it */

/* "1.2 MB", "350 us", ... into a static ring of buffers */
const char *text_bytes(json_int_t bytes);
const char *text_us(json_int_t us);
const char *text_number(json_int_t n);

#endif
