/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast status, assocs, paths */
#include <stdio.h>
#include <string.h>

#include "control/cli/cli.h"
#include <holdfast/reason.h>

static const char *str(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static json_int_t num(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static json_t *ask(struct cli *c, int argc, char **argv, int *ret_exit)
{
	int first = cli_options(c, argc, argv, NULL, NULL, NULL, ret_exit);
	json_t *j;

	if (first < 0)
		return NULL;
	if (argc - first > 1) {
		*ret_exit = cli_misuse(c, "one NAME at most");
		return NULL;
	}
	if (argc > first)
		c->name = argv[first];
	j = cli_request(c, json_pack("{s:s}", "cmd", "status"));
	*ret_exit = 1;
	return j;
}

static void print_assocs(json_t *assocs)
{
	static const char *const heads[] = {"ASSOCIATION", "STATE",  "INNER",     "FROM", "TO",
					    ">RTT",        ">FLOWS", ">SWITCHES", "LAST", ">TOOK"};
	struct table *t = table_new(heads, 10);
	json_t *a, *p;
	size_t i, k;

	json_array_foreach(assocs, i, a)
	{
		json_t *current = NULL;
		const char *inner = str(a, "inner4") ? str(a, "inner4") : str(a, "inner6");

		json_array_foreach(json_object_get(a, "paths"), k,
				   p) if (!strcmp(str(p, "use"), "current")) current = p;
		table_add(t, (const char *[]){
				     str(a, "name"),
				     str(a, "state"),
				     inner,
				     current ? str(current, "local") : NULL,
				     current ? str(current, "peer") : NULL,
				     current && num(current, "rtt_us")
					     ? text_us(num(current, "rtt_us"))
					     : ">-",
				     text_number(num(a, "flows")),
				     text_number(num(a, "switches")),
				     str(a, "last_switch"),
				     num(a, "switches") ? text_us(num(a, "last_switch_us")) : ">-",
			     });
	}
	table_print(t);
	json_array_foreach(assocs, i, a) if (str(a, "trouble"))
		printf("%s: not connected: %s\n", str(a, "name"), str(a, "trouble"));
}

static void print_paths(json_t *assocs)
{
	static const char *const heads[] = {"ASSOCIATION", "USE",  "HEALTH", "INTERFACE", "LOCAL",
					    "PEER",        ">RTT", ">SENT",  ">RECEIVED"};
	struct table *t = table_new(heads, 9);
	json_t *a, *p;
	size_t i, k;

	json_array_foreach(assocs, i, a) json_array_foreach(json_object_get(a, "paths"), k, p)
		table_add(t, (const char *[]){
				     str(a, "name"),
				     str(p, "use"),
				     str(p, "health"),
				     str(p, "interface"),
				     str(p, "local"),
				     str(p, "peer"),
				     num(p, "rtt_us") ? text_us(num(p, "rtt_us")) : ">-",
				     text_bytes(num(p, "tx_bytes")),
				     text_bytes(num(p, "rx_bytes")),
			     });
	table_print(t);
}

static void print_services(json_t *services)
{
	static const char *const heads[] = {"SERVICE", "PROTOCOL", "SERVER", ">PORT", ">EMULATOR"};
	struct table *t = table_new(heads, 5);
	json_t *s;
	size_t i;

	json_array_foreach(services, i, s)
		table_add(t, (const char *[]){
				     str(s, "name") && *str(s, "name") ? str(s, "name") : NULL,
				     str(s, "protocol"),
				     str(s, "server"),
				     num(s, "port") ? text_number(num(s, "port")) : ">-",
				     text_number(num(s, "emulator")),
			     });
	table_print(t);
}

static void print_counters(json_t *counters)
{
	static const struct {
		const char *key;
		const char *text;
	} reasons[] = {
#define REASON_TEXT(symbol, key, text) {key, text},
		HF_REASONS(REASON_TEXT)
#undef REASON_TEXT
	};
	static const char *const heads[] = {">COUNT", "WHAT"};
	struct table *t = table_new(heads, 2);

	for (size_t i = 1; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		json_int_t n = num(counters, reasons[i].key);

		if (n)
			table_add(t, (const char *[]){text_number(n), reasons[i].text});
	}
	table_print(t);
}

int cli_status(struct cli *c, int argc, char **argv)
{
	int ret;
	json_t *j = ask(c, argc, argv, &ret), *n;
	size_t i;

	if (!j)
		return ret;
	if (c->json)
		return cli_print_json(j);
	if (str(j, "node")) {
		cli_print_server(j);
		json_decref(j);
		return 0;
	}
	printf("%s: %s on %s, port %d, pid %d, attached to", str(j, "name"), str(j, "role"),
	       str(j, "device"), (int)num(j, "port"), (int)num(j, "pid"));
	json_array_foreach(json_object_get(j, "attached"), i, n)
		printf(" %s (%s)", str(n, "interface"), str(n, "mode"));
	putchar('\n');
	if (str(j, "warning"))
		printf("warning: %s\n", str(j, "warning"));
	putchar('\n');
	print_assocs(json_object_get(j, "assocs"));
	putchar('\n');
	print_paths(json_object_get(j, "assocs"));
	putchar('\n');
	print_services(json_object_get(j, "services"));
	putchar('\n');
	print_counters(json_object_get(j, "counters"));
	json_decref(j);
	return 0;
}

int cli_assocs(struct cli *c, int argc, char **argv)
{
	int ret;
	json_t *j = ask(c, argc, argv, &ret);

	if (!j)
		return ret;
	if (c->json)
		cli_print_json(json_incref(json_object_get(j, "assocs")));
	else
		print_assocs(json_object_get(j, "assocs"));
	json_decref(j);
	return 0;
}

int cli_paths(struct cli *c, int argc, char **argv)
{
	int ret;
	json_t *j = ask(c, argc, argv, &ret), *all, *a, *p;
	size_t i, k;

	if (!j)
		return ret;
	if (c->json) {
		all = json_array();
		json_array_foreach(json_object_get(j, "assocs"), i, a)
			json_array_foreach(json_object_get(a, "paths"), k, p)
		{
			json_object_set(p, "assoc", json_object_get(a, "name"));
			json_array_append(all, p);
		}
		cli_print_json(all);
	} else {
		print_paths(json_object_get(j, "assocs"));
	}
	json_decref(j);
	return 0;
}
