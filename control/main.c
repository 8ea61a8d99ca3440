/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfastd(8) */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/conf.h"
#include "control/daemon.h"
#include "control/log.h"
#include "control/takeover/node.h"
#include "control/version.h"

static const char usage[] =
	"Usage: holdfastd [OPTION]... NAME|FILE\n"
	"Keep the associations of a configuration, /etc/holdfast/NAME.conf or FILE.\n"
	"\n"
	"  -n, --name=NAME      name of this instance (default: the file's)\n"
	"  -r, --run-dir=DIR    where its control socket is (default: " CONF_RUN_DIR ")\n"
	"  -t, --test           read and check the configuration, then exit\n"
	"  -v, --verbose        log every step\n"
	"      --ready-fd=FD    write a byte there when everything is set up\n"
	"  -h, --help           show this\n"
	"  -V, --version        show the version\n"
	"\n"
	"SIGTERM and SIGINT: disconnect and take everything away. SIGQUIT: exit and leave\n"
	"the data plane working, for a restart or an upgrade. See holdfastd(8).\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"name", required_argument, NULL, 'n'},
		{"run-dir", required_argument, NULL, 'r'},
		{"test", no_argument, NULL, 't'},
		{"verbose", no_argument, NULL, 'v'},
		{"ready-fd", required_argument, NULL, 'R'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	const char *name = NULL, *run_dir = NULL;
	char file[CONF_PATH_LEN];
	struct conf_error err;
	struct conf *conf;
	int opt, ready_fd = -1, ret;
	bool test = false;

	while ((opt = getopt_long(argc, argv, "n:r:tvhV", options, NULL)) != -1) {
		switch (opt) {
		case 'n':
			name = optarg;
			break;
		case 'r':
			run_dir = optarg;
			break;
		case 't':
			test = true;
			break;
		case 'v':
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case 'R':
			ready_fd = atoi(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts("holdfastd " HOLDFAST_VERSION);
			return 0;
		default:
			fputs("Try 'holdfastd --help'.\n", stderr);
			return 2;
		}
	}
	if (optind != argc - 1) {
		fputs("holdfastd: one configuration is needed, a NAME or a FILE\nTry 'holdfastd "
		      "--help'.\n",
		      stderr);
		return 2;
	}
	conf_file_of(argv[optind], file, sizeof(file));
	if (conf_read(file, name, run_dir, &conf, &err)) {
		fprintf(stderr, "holdfastd: %s\n", err.text);
		return 1;
	}
	if (test) {
		printf("%s: good\n", file);
		conf_free(conf);
		return 0;
	}
	if (geteuid()) {
		fputs("holdfastd: needs root: it loads BPF programs and makes a network device\n",
		      stderr);
		conf_free(conf);
		return 1;
	}
	ret = conf->role == HF_ROLE_SERVER ? node_run(conf, ready_fd) : daemon_run(conf, ready_fd);
	conf_free(conf);
	return ret ? 1 : 0;
}
