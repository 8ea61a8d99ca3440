/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast attach, detach: the data plane on an interface, without a daemon. */
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "control/cli/cli.h"
#include "loader/loader.h"

struct wish {
	enum loader_mode mode;
	bool all;
};

static int own(void *arg, int opt, const char *value)
{
	struct wish *w = arg;

	if (opt == 'a') {
		w->all = true;
		return 0;
	}
	for (int m = LOADER_MODE_AUTO; m <= LOADER_MODE_GENERIC; m++)
		if (!strcmp(value, loader_mode_name(m))) {
			w->mode = m;
			return 0;
		}
	return -1;
}

int cli_attach(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = {{"mode", required_argument, NULL, 'm'}, {0}};
	struct wish w = {.mode = LOADER_MODE_AUTO};
	struct loader_options options = {0};
	struct loader_error err;
	struct loader *l;
	unsigned int ifindex;
	int first, ret;

	first = cli_options(c, argc, argv, longs, own, &w, &ret);
	if (first < 0)
		return ret;
	if (argc - first != 1)
		return cli_misuse(c, "one INTERFACE is needed");
	options.name = c->name ? c->name : "default";
	ifindex = if_nametoindex(argv[first]);
	if (!ifindex)
		return cli_fail(c, "interface '%s' does not exist; 'ip link' lists those that do",
				argv[first]);
	/* a guest: what a daemon has pinned works with its own settings, and goes on so */
	ret = loader_open(&options, false, &l, &err);
	if (ret)
		return cli_fail(c, "%s", err.text);
	ret = loader_attach(l, ifindex, LOADER_NIC, w.mode, &w.mode, &err);
	if (ret) {
		struct loader_error ignored;

		if (loader_adopted(l))
			loader_close(l);
		else
			loader_remove(l, &ignored);
		return cli_fail(c, "%s", err.text);
	}
	loader_close(l);
	if (c->json)
		return cli_print_json(json_pack("{s:s,s:s,s:s}", "name", options.name, "interface",
						argv[first], "mode", loader_mode_name(w.mode)));
	printf("attached to %s (%s)\n", argv[first], loader_mode_name(w.mode));
	return 0;
}

int cli_detach(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = {{"all", no_argument, NULL, 'a'}, {0}};
	struct loader_options options = {.adopt_only = true};
	struct loader_attachment left[1];
	struct wish w = {0};
	struct loader_error err;
	struct loader *l;
	unsigned int ifindex = 0;
	int first, ret;

	first = cli_options(c, argc, argv, longs, own, &w, &ret);
	if (first < 0)
		return ret;
	if (argc - first != (w.all ? 0 : 1))
		return cli_misuse(c,
				  w.all ? "--all takes no INTERFACE" : "one INTERFACE is needed");
	options.name = c->name ? c->name : "default";
	if (!w.all) {
		ifindex = if_nametoindex(argv[first]);
		if (!ifindex)
			return cli_fail(
				c, "interface '%s' does not exist; 'ip link' lists those that do",
				argv[first]);
	}
	if (w.all) {
		ret = loader_purge(options.name, NULL, &err);
	} else {
		ret = loader_open(&options, false, &l, &err);
		if (ret == -ENOENT)
			return cli_fail(c, "nothing named '%s' is attached anywhere", options.name);
		if (ret)
			return cli_fail(c, "%s", err.text);
		ret = loader_detach(l, ifindex, &err);
		/* the last one takes the maps with it */
		if (!ret && !loader_attachments(l, left, 1))
			ret = loader_remove(l, &err);
		else
			loader_close(l);
	}
	if (ret)
		return cli_fail(c, "%s", err.text);
	if (c->json)
		return cli_print_json(json_pack("{s:s,s:b}", "name", options.name, "detached", 1));
	if (w.all)
		printf("removed %s\n", options.name);
	else
		printf("detached from %s\n", argv[first]);
	return 0;
}
