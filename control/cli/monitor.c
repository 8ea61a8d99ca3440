/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast monitor */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/cli.h"

static void print(json_t *j)
{
	const char *event = json_string_value(json_object_get(j, "event"));
	double t = json_integer_value(json_object_get(j, "time_us")) / 1e6;

	if (!event)
		return;
	if (!strcmp(event, "log"))
		printf("%12.6f  %s\n", t, json_string_value(json_object_get(j, "text")));
	else if (!strcmp(event, "flow"))
		printf("%12.6f  %s: flow to %s from port %d: %s\n", t,
		       json_string_value(json_object_get(j, "assoc")),
		       json_string_value(json_object_get(j, "service")),
		       (int)json_integer_value(json_object_get(j, "port")),
		       json_string_value(json_object_get(j, "what")));
	else if (!strcmp(event, "state"))
		printf("%12.6f  %s is %s\n", t, json_string_value(json_object_get(j, "name")),
		       json_string_value(json_object_get(j, "state")));
}

int cli_monitor(struct cli *c, int argc, char **argv)
{
	int first, ret, fd;
	char *line = NULL;
	size_t size = 0;
	FILE *f;

	first = cli_options(c, argc, argv, NULL, NULL, NULL, &ret);
	if (first < 0)
		return ret;
	if (argc - first > 1)
		return cli_misuse(c, "one NAME at most");
	if (argc > first)
		c->name = argv[first];
	fd = cli_connect(c);
	if (fd < 0)
		return 1;
	f = fdopen(fd, "r+");
	fputs("{\"cmd\":\"monitor\"}\n", f);
	fflush(f);
	while (getline(&line, &size, f) > 0) {
		json_t *j = json_loads(line, 0, NULL);

		if (c->json && json_object_get(j, "event"))
			fputs(line, stdout);
		else if (!c->json)
			print(j);
		fflush(stdout);
		json_decref(j);
	}
	free(line);
	fclose(f);
	return cli_fail(c, "the daemon ended");
}
