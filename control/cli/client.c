/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The control socket's other end. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/cli/cli.h"
#include "control/ctl.h"

#define ANSWER_S 10

const char *cli_instance(struct cli *c, char *buf, size_t len)
{
	struct dirent *e;
	int found = 0;
	DIR *d;

	if (c->name) {
		snprintf(buf, len, "%s", c->name);
		return buf;
	}
	d = opendir(c->run_dir);
	if (!d && errno != ENOENT) {
		cli_fail(c, "%s, where daemons have their sockets: %s%s", c->run_dir,
			 strerror(errno), errno == EACCES ? "; root may use it" : "");
		return NULL;
	}
	while (d && (e = readdir(d))) {
		size_t n = strlen(e->d_name);

		if (n <= 5 || strcmp(e->d_name + n - 5, ".sock"))
			continue;
		if (found++ == 0)
			snprintf(buf, len, "%.*s", (int)(n - 5), e->d_name);
	}
	if (d)
		closedir(d);
	if (found == 1)
		return buf;
	if (!found)
		cli_fail(c, "no daemon runs here (nothing in %s); start one with 'holdfast up'",
			 c->run_dir);
	else
		cli_misuse(c, "%d daemons run here: name one with --name", found);
	return NULL;
}

bool cli_runs(const struct cli *c, const char *name)
{
	char path[256];

	ctl_path(c->run_dir, name, path, sizeof(path));
	return !access(path, F_OK) || errno == EACCES;
}

int cli_connect(struct cli *c)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char name[128], path[256];
	int fd;

	if (!cli_instance(c, name, sizeof(name)))
		return -1;
	ctl_path(c->run_dir, name, path, sizeof(path));
	if (strlen(path) >= sizeof(sa.sun_path)) {
		cli_fail(c, "the path %s is too long for a socket", path);
		return -1;
	}
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			cli_fail(c,
				 "no daemon named '%s' runs here; start it with 'holdfast up %s'",
				 name, name);
		else
			cli_fail(c, "the socket of daemon '%s', %s: %s%s", name, path,
				 strerror(errno), errno == EACCES ? "; root may use it" : "");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

json_t *cli_request(struct cli *c, json_t *request)
{
	/* an answer is made at once, and a daemon is never busy for so long */
	static const struct timeval limit = {.tv_sec = ANSWER_S};
	json_t *answer = NULL;
	json_error_t err;
	const char *why;
	int fd = cli_connect(c);
	bool late;
	FILE *f;

	if (fd < 0) {
		json_decref(request);
		return NULL;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	f = fdopen(fd, "r+");
	if (f && !json_dumpf(request, f, JSON_COMPACT) && fputc('\n', f) != EOF && !fflush(f))
		answer = json_loadf(f, JSON_DISABLE_EOF_CHECK, &err);
	late = !answer && f && ferror(f) && errno == EAGAIN;
	json_decref(request);
	if (f)
		fclose(f);
	else
		close(fd);
	if (late)
		cli_fail(c, "the daemon has not answered within %d s: it runs, and stands still",
			 ANSWER_S);
	else if (!answer)
		cli_fail(c, "the daemon ended before it answered");
	if (!answer)
		return NULL;
	if (!json_is_true(json_object_get(answer, "ok"))) {
		why = json_string_value(json_object_get(answer, "error"));
		cli_fail(c, "%s", why ? why : "the daemon refused");
		json_decref(answer);
		return NULL;
	}
	json_object_del(answer, "ok");
	return answer;
}
