/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast up, down: the daemon's start and end by hand. systemd does the same with
 * holdfast@NAME.service. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/cli/cli.h"
#include "control/clock.h"
#include "control/conf.h"
#include "control/ctl.h"

struct wish {
	unsigned long timeout_s;
	bool verbose;
	bool keep;
};

static int own(void *arg, int opt, const char *value)
{
	struct wish *w = arg;
	char *end;

	switch (opt) {
	case 'v':
		w->verbose = true;
		return 0;
	case 'k':
		w->keep = true;
		return 0;
	default:
		w->timeout_s = strtoul(value, &end, 10);
		return *end || end == value || w->timeout_s > 86400 ? -1 : 0;
	}
}

/* holdfastd beside this program, else on the path. */
static void daemon_path(char *buf, size_t len)
{
	char self[PATH_MAX - 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = 0;
		snprintf(buf, len, "%s/holdfastd", dirname(self));
		if (!access(buf, X_OK))
			return;
		snprintf(buf, len, "%s/../sbin/holdfastd", self);
		if (!access(buf, X_OK))
			return;
	}
	snprintf(buf, len, "holdfastd");
}

static void show_log(const char *log)
{
	char line[1024];
	FILE *f = fopen(log, "r");

	while (f && fgets(line, sizeof(line), f))
		fputs(line, stderr);
	if (f)
		fclose(f);
}

/* The daemon in a session of its own; returns when it says that it is ready, or 1 after it ended.
 */
static int start(struct cli *c, const struct conf *conf, const struct wish *w, const char *log)
{
	char exe[PATH_MAX], fresh[CONF_PATH_LEN + HF_NAME_LEN + 32], fd_arg[32], byte;
	int ready[2], status = 0, out;
	pid_t pid;

	if (mkdir(conf->run_dir, 0755) && errno != EEXIST)
		return cli_fail(c, "%s: %s", conf->run_dir, strerror(errno));
	/* not the log of a daemon that may be running: this one takes its place when it is ready */
	snprintf(fresh, sizeof(fresh), "%s.%d", log, (int)getpid());
	out = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out < 0)
		return cli_fail(c, "%s: %s", fresh, strerror(errno));
	if (pipe(ready))
		return cli_fail(c, "no pipe: %s", strerror(errno));
	daemon_path(exe, sizeof(exe));
	pid = fork();
	if (pid < 0)
		return cli_fail(c, "no process: %s", strerror(errno));
	if (!pid) {
		char *argv[] = {"holdfastd",
				"--name",
				(char *)conf->name,
				"--run-dir",
				(char *)conf->run_dir,
				"--ready-fd",
				fd_arg,
				(char *)conf->file,
				w->verbose ? "--verbose" : NULL,
				NULL};
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		setsid();
		close(ready[0]);
		snprintf(fd_arg, sizeof(fd_arg), "%d", ready[1]);
		dup2(null, 0);
		dup2(null, 1);
		dup2(out, 2);
		/* nothing else of the caller's: the daemon lives long, and so would they */
		for (unsigned int fd = 3; fd <= (unsigned int)ready[1]; fd++)
			if (fd != (unsigned int)ready[1])
				close(fd);
		close_range(ready[1] + 1, ~0u, 0);
		execvp(exe, argv);
		dprintf(2, "%s cannot be started: %s\n", exe, strerror(errno));
		_exit(127);
	}
	close(out);
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1) {
		waitpid(pid, &status, 0);
		close(ready[0]);
		show_log(fresh);
		unlink(fresh);
		return cli_fail(c, "the daemon did not start");
	}
	close(ready[0]);
	if (rename(fresh, log))
		return cli_fail(c, "%s: %s", log, strerror(errno));
	return 0;
}

static bool all_connected(json_t *status, const char **ret_name, const char **ret_why)
{
	json_t *a;
	size_t i;

	json_array_foreach(json_object_get(status, "assocs"), i, a)
	{
		if (json_is_true(json_object_get(a, "connected")))
			continue;
		*ret_name = json_string_value(json_object_get(a, "name"));
		*ret_why = json_string_value(json_object_get(a, "trouble"));
		return false;
	}
	return true;
}

/* A mobile is up when its associations are; meanwhile it says what it waits for. */
static int await(struct cli *c, const struct wish *w)
{
	uint64_t end = clock_ms() + w->timeout_s * 1000;
	char said[256] = "";

	for (;;) {
		const char *name = NULL, *why = NULL;
		json_t *j = cli_request(c, json_pack("{s:s}", "cmd", "status"));
		int ret;

		if (!j)
			return 1;
		if (all_connected(j, &name, &why)) {
			if (c->json)
				return cli_print_json(j);
			json_decref(j);
			return 0;
		}
		if (clock_ms() >= end) {
			ret = cli_fail(c,
				       "%s is not connected after %lu s: %s; the daemon keeps "
				       "trying, 'holdfast status %s' shows it",
				       name, w->timeout_s, why ? why : "no answer yet", c->name);
			json_decref(j);
			return ret;
		}
		if (why && strcmp(why, said) && !c->json) {
			snprintf(said, sizeof(said), "%s", why);
			fprintf(stderr, "%s: %s; trying on\n", name, why);
		}
		json_decref(j);
		poll(NULL, 0, 20);
	}
}

int cli_up(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{"timeout", required_argument, NULL, 't'},
		{"verbose", no_argument, NULL, 'v'},
		{0},
	};
	struct wish w = {.timeout_s = 10};
	char file[CONF_PATH_LEN], log[CONF_PATH_LEN + HF_NAME_LEN + 8];
	struct conf_error err;
	struct conf *conf;
	int first, ret;

	first = cli_options(c, argc, argv, longs, own, &w, &ret);
	if (first < 0)
		return ret;
	if (argc - first != 1)
		return cli_misuse(c, "one NAME or FILE is needed");
	conf_file_of(argv[first], file, sizeof(file));
	if (conf_read(file, c->name, c->run_dir, &conf, &err))
		return cli_fail(c, "%s", err.text);
	if (geteuid()) {
		conf_free(conf);
		return cli_fail(c, "needs root");
	}
	snprintf(log, sizeof(log), "%s/%s.log", conf->run_dir, conf->name);
	c->name = conf->name;
	ret = start(c, conf, &w, log);
	if (!ret && conf->role == HF_ROLE_MOBILE)
		ret = await(c, &w);
	if (!ret && !c->json)
		printf("%s is up\n", conf->name);
	conf_free(conf);
	return ret;
}

int cli_down(struct cli *c, int argc, char **argv)
{
	static const struct option longs[] = {{"keep", no_argument, NULL, 'k'}, {0}};
	char name[128], path[512];
	struct wish w = {0};
	uint64_t end;
	json_t *j;
	int first, ret;

	first = cli_options(c, argc, argv, longs, own, &w, &ret);
	if (first < 0)
		return ret;
	if (argc - first > 1)
		return cli_misuse(c, "one NAME at most");
	if (argc > first)
		c->name = argv[first];
	c->name = cli_instance(c, name, sizeof(name));
	if (!c->name)
		return 1;
	j = cli_request(c, json_pack("{s:s,s:b}", "cmd", "down", "keep", w.keep));
	if (!j)
		return 1;
	json_decref(j);
	/* the socket goes last */
	ctl_path(c->run_dir, c->name, path, sizeof(path));
	for (end = clock_ms() + 10000; !access(path, F_OK); poll(NULL, 0, 5))
		if (clock_ms() > end)
			return cli_fail(c, "the daemon has not ended after 10 s");
	if (c->json)
		return cli_print_json(json_pack("{s:s,s:b}", "name", c->name, "kept", w.keep));
	printf("%s is down%s\n", c->name, w.keep ? ", its data plane works on" : "");
	return 0;
}
