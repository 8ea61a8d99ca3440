/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast genkey */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/cli/cli.h"
#include "control/key.h"

int cli_genkey(struct cli *c, int argc, char **argv)
{
	uint8_t key[KEY_LEN];
	char text[KEY_TEXT_LEN + 1];
	FILE *f = stdout;
	struct stat st;
	int first, ret, fd;

	first = cli_options(c, argc, argv, NULL, NULL, NULL, &ret);
	if (first < 0)
		return ret;
	if (argc - first > 1)
		return cli_misuse(c, "one FILE at most");
	if (argc > first) {
		/* never over an existing key: somebody may be using it */
		fd = open(argv[first], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return cli_fail(c, "%s: %s", argv[first], strerror(errno));
		f = fdopen(fd, "w");
	} else if (!fstat(STDOUT_FILENO, &st) && S_ISREG(st.st_mode) && (st.st_mode & 077)) {
		fputs("holdfast genkey: warning: this file can be read by others; use 'umask 077' "
		      "or 'holdfast genkey FILE'\n",
		      stderr);
	}
	if (key_generate(key))
		return cli_fail(c, "the system gives no random numbers");
	if (c->json && f == stdout) {
		key_encode(key, text);
		fprintf(f, "{\"key\": \"%s\"}\n", text);
		ret = fflush(f) ? -errno : 0;
		OPENSSL_cleanse(text, sizeof(text));
	} else {
		ret = key_write(f, key);
	}
	OPENSSL_cleanse(key, sizeof(key));
	if (f != stdout && fclose(f) && !ret)
		ret = -errno;
	if (ret)
		return cli_fail(c, "%s: %s", argc > first ? argv[first] : "standard output",
				strerror(-ret));
	if (c->json && argc > first)
		return cli_print_json(json_pack("{s:s}", "file", argv[first]));
	return 0;
}
