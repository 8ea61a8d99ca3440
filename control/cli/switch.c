/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast switch: asks for it and waits for the end, as the monitor tells it. */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/cli.h"
#include "control/clock.h"

struct wish {
	const char *to;
	const char *assoc;
	bool brk;
	unsigned long wait_s;
};

static int own(void *arg, int opt, const char *value)
{
	struct wish *w = arg;
	char *end;

	switch (opt) {
	case 't':
		w->to = value;
		return 0;
	case 'a':
		w->assoc = value;
		return 0;
	case 'b':
		w->brk = true;
		return 0;
	default:
		w->wait_s = strtoul(value, &end, 10);
		return *end || end == value || w->wait_s > 86400 ? -1 : 0;
	}
}

/* Reads events until the association's switch is over. 0, or 1 when the time is up. */
static int await(struct cli *c, FILE *events, const char *assoc, unsigned long wait_s)
{
	uint64_t end = clock_ms() + wait_s * 1000;
	json_t *j;

	for (;;) {
		struct pollfd p = {.fd = fileno(events), .events = POLLIN};
		uint64_t now = clock_ms();
		const char *event, *name;

		if (now >= end || poll(&p, 1, end - now) <= 0)
			return cli_fail(c,
					"%s: the switch is not over after %lu s; 'holdfast status' "
					"shows where it stands",
					assoc, wait_s);
		j = json_loadf(events, JSON_DISABLE_EOF_CHECK, NULL);
		if (!j)
			return cli_fail(c, "the daemon ended");
		event = json_string_value(json_object_get(j, "event"));
		name = json_string_value(json_object_get(j, "name"));
		if (event && name && !strcmp(event, "switch") && !strcmp(name, assoc))
			break;
		json_decref(j);
	}
	if (c->json)
		return cli_print_json(j);
	printf("%s: %s switch done in %s, %d packets parked\n", assoc,
	       json_string_value(json_object_get(j, "last_switch")),
	       text_us(json_integer_value(json_object_get(j, "last_switch_us"))) + 1,
	       (int)json_integer_value(json_object_get(j, "last_switch_parked")));
	json_decref(j);
	return 0;
}

int cli_switch(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{"to", required_argument, NULL, 't'},
		{"break", no_argument, NULL, 'b'},
		{"assoc", required_argument, NULL, 'a'},
		{"wait", required_argument, NULL, 'w'},
		{0},
	};
	struct wish w = {.wait_s = 30};
	json_t *request, *answer;
	FILE *events = NULL;
	int first, ret, fd;

	first = cli_options(c, argc, argv, longs, own, &w, &ret);
	if (first < 0)
		return ret;
	if (argc - first > 1)
		return cli_misuse(c, "one NAME at most; the interface is given with --to");
	if (argc > first)
		c->name = argv[first];
	request = json_pack("{s:s,s:b}", "cmd", "switch", "break", w.brk);
	if ((w.to && json_object_set_new(request, "to", json_string(w.to))) ||
	    (w.assoc && json_object_set_new(request, "assoc", json_string(w.assoc)))) {
		json_decref(request);
		return cli_misuse(c, "what --to and --assoc name is text, in UTF-8");
	}
	if (w.wait_s) {
		fd = cli_connect(c);
		if (fd < 0) {
			json_decref(request);
			return 1;
		}
		events = fdopen(fd, "r+");
		/* unbuffered, so that poll() and the reader agree on what is left */
		setvbuf(events, NULL, _IONBF, 0);
		fputs("{\"cmd\":\"monitor\"}\n", events);
		fflush(events);
		json_decref(json_loadf(events, JSON_DISABLE_EOF_CHECK, NULL));
	}
	answer = cli_request(c, request);
	ret = 1;
	if (answer) {
		if (events)
			ret = await(c, events, json_string_value(json_object_get(answer, "assoc")),
				    w.wait_s);
		else
			ret = c->json ? cli_print_json(json_incref(answer)) : 0;
		json_decref(answer);
	}
	if (events)
		fclose(events);
	return ret;
}
