/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast demo: the demonstration is a script, found beside the sources or where it is installed.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/cli.h"

int cli_demo(struct cli *c, int argc, char **argv)
{
	char self[PATH_MAX], script[PATH_MAX + 64];
	ssize_t n;
	int first, ret;

	first = cli_options(c, argc, argv, NULL, NULL, NULL, &ret);
	if (first < 0)
		return ret;
	if (argc != first)
		return cli_misuse(c, "it takes no argument");
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return cli_fail(c, "/proc is not there");
	self[n] = 0;
	dirname(self);
	for (size_t i = 0; i < 2; i++) {
		snprintf(script, sizeof(script),
			 i ? "%s/../share/holdfast/demo/demo.py" : "%s/../tests/demo/demo.py",
			 self);
		if (access(script, R_OK))
			continue;
		execl("/usr/bin/python3", "python3", script, "--bin", self,
		      c->json ? "--json" : (char *)NULL, (char *)NULL);
		return cli_fail(c, "/usr/bin/python3: %s", strerror(errno));
	}
	return cli_fail(c, "the demonstration's script is not installed");
}
