/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast takeover: a server's group, its connections, and who serves. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <holdfast/guard.h>
#include "control/cli/cli.h"
#include "control/conf.h"

static const char *const actions[] = {"status", "connections", "drain", "take", "alone"};

static const char *str(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static json_int_t num(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static int own(void *arg, int opt, const char *value)
{
	(void)opt;
	*(const char **)arg = value;
	return 0;
}

static void print_last(json_t *last)
{
	if (!json_is_object(last) || !num(last, "records"))
		return;
	printf("last takeover: %d connections, %d restored after %s, %d ready after %s, %d lost\n",
	       (int)num(last, "records"), (int)num(last, "restored"),
	       text_us(num(last, "restored_us")) + 1, (int)num(last, "ready"),
	       text_us(num(last, "ready_us")) + 1, (int)num(last, "lost"));
}

static void print_counters(json_t *counters)
{
	static const struct {
		const char *key;
		const char *text;
	} reasons[] = {
#define REASON_TEXT(symbol, key, text) {key, text},
		GUARD_REASONS(REASON_TEXT)
#undef REASON_TEXT
	};
	static const char *const heads[] = {">COUNT", "WHAT"};
	struct table *t = NULL;

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		json_int_t n = num(counters, reasons[i].key);

		if (n && !t)
			t = table_new(heads, 2);
		if (n)
			table_add(t, (const char *[]){text_number(n), reasons[i].text});
	}
	if (!t)
		return;
	putchar('\n');
	table_print(t);
}

void cli_print_server(json_t *j)
{
	json_t *a;
	size_t i;

	printf("%s: node %s of group '%s' on %s, store %s, pid %d\n", str(j, "name"),
	       str(j, "node"), str(j, "group"), str(j, "interface"), str(j, "store"),
	       (int)num(j, "pid"));
	printf("state: %s; owner: %s, epoch %d, %s\n", str(j, "state"),
	       str(j, "owner") ? str(j, "owner") : "nobody", (int)num(j, "epoch"),
	       json_is_true(json_object_get(j, "synced")) ? "synced" : "NOT synced");
	if (num(j, "ready_ms"))
		printf("may take over in %d ms at the earliest: Redis was found a moment ago\n",
		       (int)num(j, "ready_ms"));
	if (str(j, "trouble"))
		printf("trouble: %s\n", str(j, "trouble"));
	if (json_is_true(json_object_get(j, "gates_open")))
		puts("WARNING: the gates are open: what is acknowledged is not committed");
	printf("addresses:");
	json_array_foreach(json_object_get(j, "addresses"), i, a)
		printf(" %s", json_string_value(a));
	printf("\nconnections: %d of %d, %d unfinished; applications: %d\n",
	       (int)num(j, "connections"), (int)num(j, "max_connections"),
	       (int)num(j, "unfinished"), (int)num(j, "applications"));
	print_last(json_object_get(j, "last_takeover"));
	print_counters(json_object_get(j, "counters"));
}

/* Most servers have no bundles: the column is there only when one is. */
static void print_connections(json_t *list)
{
	static const char *const heads[] = {
		"SERVICE",   "PEER",      "LOCAL", "STATE",  ">COMMITTED",
		">RECEIVED", ">PEER HAS", ">SENT", "OBJECT", "BUNDLE",
	};
	bool bundles = false;
	struct table *t;
	json_t *c;
	size_t i;

	json_array_foreach(list, i, c) bundles |= str(c, "bundle") != NULL;
	t = table_new(heads, bundles ? 10 : 9);
	json_array_foreach(list, i, c)
	{
		json_t *p = json_array_get(json_object_get(c, "protocols"), 0);

		table_add(t, (const char *[]){
				     str(c, "service"),
				     str(c, "peer"),
				     str(c, "local"),
				     str(c, "state"),
				     text_bytes(num(c, "committed")),
				     text_bytes(num(c, "received")),
				     text_bytes(num(c, "peer_acknowledged")),
				     text_bytes(num(c, "sent")),
				     p ? str(p, "object") : NULL,
				     str(c, "bundle"),
			     });
	}
	table_print(t);
}

static int print(const struct cli *c, const char *action, json_t *j)
{
	if (c->json)
		return cli_print_json(json_incref(j));
	if (!strcmp(action, "status"))
		cli_print_server(j);
	else if (!strcmp(action, "connections"))
		print_connections(json_object_get(j, "connections"));
	else if (!strcmp(action, "drain"))
		puts("handed over: the other node serves from now on");
	else if (!strcmp(action, "alone"))
		puts("this node serves alone");
	else
		puts(json_is_true(json_object_get(j, "owner"))
			     ? "this node owns the group already"
			     : "asked: this node serves as soon as the other lets go");
	return 0;
}

int cli_takeover(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = {{"to", required_argument, NULL, 't'}, {0}};
	const char *to = NULL, *action = "status";
	json_t *request, *j;
	bool named = false; /* the action was */
	int first, ret;

	first = cli_options(c, argc, argv, longs, own, &to, &ret);
	if (first < 0)
		return ret;
	for (size_t i = 0; first < argc && i < sizeof(actions) / sizeof(actions[0]); i++)
		if (!strcmp(argv[first], actions[i])) {
			action = actions[i];
			named = true;
			first++;
			break;
		}
	if (argc - first > 1 && named)
		return cli_misuse(c, "one NAME at most");
	if (argc - first > 1)
		return cli_misuse(c, "'%s' is none of status, connections, drain, take, alone",
				  argv[first]);
	if (argc > first && !named && !cli_runs(c, argv[first]))
		return cli_misuse(
			c,
			"'%s' is none of status, connections, drain, take, alone, nor the "
			"name of a daemon that runs here",
			argv[first]);
	if (argc > first)
		c->name = argv[first];
	if (to && strcmp(action, "drain"))
		return cli_misuse(c, "--to belongs to 'drain'");
	if (to && !conf_name_ok(to))
		return cli_misuse(
			c, "'%s' is no node's name: 1 to %d letters, digits, '-', '_' or '.'", to,
			HF_NAME_LEN - 1);
	request = json_pack("{s:s}", "cmd", action);
	if (to)
		json_object_set_new(request, "to", json_string(to));
	j = cli_request(c, request);
	if (!j)
		return 1;
	if (!strcmp(action, "status") && !str(j, "node"))
		ret = cli_fail(c, "'%s' is no server; 'holdfast status' shows it", str(j, "name"));
	else
		ret = print(c, action, j);
	json_decref(j);
	return ret;
}
