/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast(8): a table of verbs. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/cli.h"
#include "control/conf.h"
#include "control/version.h"

static const struct cli_verb verbs[] = {
	{"up", "NAME|FILE", "start the daemon of a configuration and wait until it works",
	 "  -t, --timeout=SECONDS  how long to wait for the association (default: 10)\n"
	 "  -v, --verbose          let the daemon log every step\n",
	 cli_up},
	{"down", "[NAME]", "disconnect and take everything away",
	 "  -k, --keep             stop the daemon alone: traffic goes on without it\n", cli_down},
	{"status", "[NAME]", "show the daemon, its associations, paths, services and counters", "",
	 cli_status},
	{"assocs", "[NAME]", "list the associations", "", cli_assocs},
	{"paths", "[NAME]", "list the paths of the associations", "", cli_paths},
	{"flows", "[NAME]", "list the flows (works without the daemon, too)",
	 "  -l, --limit=N          at most so many (default: 1000; 0: all)\n", cli_flows},
	{"switch", "[NAME]", "move an association to another path",
	 "  -t, --to=INTERFACE     the uplink to move to (default: the best other one)\n"
	 "  -b, --break            break before make: traffic is held until the new path is there\n"
	 "  -a, --assoc=ASSOC      which association, where there are several\n"
	 "  -w, --wait=SECONDS     wait for the end (default: 30; 0: do not)\n",
	 cli_switch},
	{"monitor", "[NAME]", "print what happens, until interrupted", "", cli_monitor},
	{"genkey", "[FILE]",
	 "make a key for a mobile and its anchor, on standard output or in a new FILE of mode 0600",
	 "", cli_genkey},
	{"attach", "INTERFACE",
	 "load the data plane and attach it to an interface, without a daemon",
	 "  -m, --mode=MODE        auto, tc, xdp (native) or generic (default: auto)\n",
	 cli_attach},
	{"detach", "INTERFACE", "take away what attach put there",
	 "  -a, --all              and remove the data plane of this name altogether (no "
	 "INTERFACE)\n",
	 cli_detach},
	{"takeover", "[ACTION] [NAME]", "show a server's group, or say who serves it",
	 "  ACTION is one of\n"
	 "    status               who serves, what happened (default)\n"
	 "    connections          list what is guarded here\n"
	 "    drain                give the group to another node, without a stall\n"
	 "    take                 ask the owner for it\n"
	 "    alone                serve without any other node: say so only if all others are "
	 "down\n"
	 "  -t, --to=NODE          drain: which node\n",
	 cli_takeover},
	{"demo", "", "show a roaming mobile in network namespaces", "", cli_demo},
};

static void print_usage(FILE *f)
{
	fputs("Usage: holdfast VERB [OPTION]... [ARGUMENT]\n"
	      "Keep TCP and UDP connections alive while the addresses under them change.\n\n",
	      f);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(f, "  %-8s %-15s %s\n", verbs[i].name, verbs[i].arguments,
			verbs[i].summary);
	fputs("\nEvery verb takes --json, --name=NAME, --run-dir=DIR and --help. See "
	      "holdfast(8).\n",
	      f);
}

static const struct cli_verb *find(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static void fail(const struct cli *c, const char *fmt, va_list ap)
{
	char text[1024];
	json_t *error;

	vsnprintf(text, sizeof(text), fmt, ap);
	if (!c->json) {
		fprintf(stderr, "holdfast %s: %s\n", c->verb, text);
		return;
	}
	error = json_string(text);
	for (char *p = text; !error && *p; p++) /* an argument that is no UTF-8 */
		if (*p & 0x80)
			*p = '?';
	cli_print_json(json_pack("{s:o}", "error", error ? error : json_string(text)));
}

int cli_fail(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail(c, fmt, ap);
	va_end(ap);
	return 1;
}

int cli_misuse(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail(c, fmt, ap);
	va_end(ap);
	if (!c->json)
		fprintf(stderr, "Try 'holdfast %s --help'.\n", c->verb);
	return 2;
}

int cli_print_json(json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
	return 0;
}

int cli_options(struct cli *c, int argc, char **argv, const struct option *longs,
		int (*own)(void *arg, int opt, const char *value), void *arg, int *ret_exit)
{
	struct option all[16] = {
		{"json", no_argument, NULL, 'j'},
		{"name", required_argument, NULL, 'n'},
		{"run-dir", required_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
	};
	char shorts[64] = "jn:r:h";
	const struct cli_verb *v = find(c->verb);
	size_t count = 4;
	int opt;

	opterr = 0; /* said here, in JSON where it is asked for */

	for (; longs && longs->name && count < 15; longs++) {
		char s[3] = {longs->val, longs->has_arg ? ':' : 0, 0};

		all[count++] = *longs;
		strcat(shorts, s);
	}
	while ((opt = getopt_long(argc, argv, shorts, all, NULL)) != -1) {
		switch (opt) {
		case 'j':
			c->json = true;
			break;
		case 'n':
			c->name = optarg;
			break;
		case 'r':
			c->run_dir = optarg;
			break;
		case 'h':
			printf("Usage: holdfast %s [OPTION]... %s\n%c%s.\n\n", v->name,
			       v->arguments, v->summary[0] - 'a' + 'A', v->summary + 1);
			fputs(v->help, stdout);
			fputs("  -j, --json             print JSON\n"
			      "  -n, --name=NAME        which instance (default: the only one)\n"
			      "  -r, --run-dir=DIR      where control sockets are "
			      "(default: " CONF_RUN_DIR ")\n"
			      "  -h, --help             show this\n",
			      stdout);
			*ret_exit = 0;
			return -1;
		case '?':
			*ret_exit = cli_misuse(c, "'%s' is no option, or lacks its value",
					       argv[optind - 1]);
			return -1;
		default:
			if (own(arg, opt, optarg)) {
				*ret_exit =
					cli_misuse(c, "'%s' does not fit option -%c", optarg, opt);
				return -1;
			}
		}
	}
	return optind;
}

int main(int argc, char **argv)
{
	struct cli c = {.run_dir = CONF_RUN_DIR};
	const struct cli_verb *v;

	if (argc < 2) {
		print_usage(stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_usage(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("holdfast " HOLDFAST_VERSION);
		return 0;
	}
	/* before anything can be wrong */
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		c.json |= !strcmp(argv[i], "--json") || !strcmp(argv[i], "-j");
	v = find(argv[1]);
	if (!v && c.json) {
		cli_print_json(json_pack("{s:s}", "error", "unknown verb"));
		return 2;
	}
	if (!v) {
		fprintf(stderr, "holdfast: unknown verb '%s'\nTry 'holdfast --help'.\n", argv[1]);
		return 2;
	}
	c.verb = v->name;
	return v->run(&c, argc - 1, argv + 1);
}
