/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/key.h"

#define TEXT "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" /* 0, 1, ... 31 */

static char folder[] = "/tmp/test_key.XXXXXX";
static char path[128];

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/key", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(folder);
}

static int forget(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static void put_bytes(const void *bytes, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void put(const char *text)
{
	put_bytes(text, strlen(text), 0600);
}

static void expect(int rc, const char *says)
{
	uint8_t key[KEY_LEN], untouched[KEY_LEN];
	char err[KEY_ERR_LEN] = "";

	memset(key, 0x5a, sizeof(key));
	memset(untouched, 0x5a, sizeof(untouched));
	assert_int_equal(key_read(path, key, err, sizeof(err)), rc);
	assert_memory_equal(key, untouched, sizeof(key));
	assert_non_null(strstr(err, path));
	assert_non_null(strstr(err, says));
	assert_null(strchr(err, '\n'));
	assert_int_equal(key_read(path, key, NULL, 0), rc);
}

static void key_is_read(void **state)
{
	static const char *const texts[] = {TEXT, TEXT "\n", TEXT "\r\n"};
	uint8_t key[KEY_LEN];
	char err[KEY_ERR_LEN] = "";

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		memset(key, 0, sizeof(key));
		put(texts[i]);
		assert_int_equal(key_read(path, key, err, sizeof(err)), 0);
		for (int j = 0; j < KEY_LEN; j++)
			assert_int_equal(key[j], j);
	}
	put_bytes(TEXT, 44, 0400);
	assert_int_equal(key_read(path, key, err, sizeof(err)), 0);
	assert_string_equal(err, "");
}

static void missing_file(void **state)
{
	(void)state;
	expect(-ENOENT, "holdfast genkey");
}

static void file_open_to_others(void **state)
{
	static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644, 0666};

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		put_bytes(TEXT, 44, modes[i]);
		expect(-EPERM, "chmod 600");
		unlink(path);
	}
}

static void file_of_another_user(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("needs root: not tested\n");
		skip();
	}
	put(TEXT);
	assert_int_equal(chown(path, 12345, 0), 0);
	expect(-EPERM, "chown");
}

static void symbolic_link(void **state)
{
	char target[160];

	(void)state;
	put(TEXT);
	snprintf(target, sizeof(target), "%s.target", path);
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(symlink(target, path), 0);
	expect(-ELOOP, "symbolic link");
	unlink(target);
	expect(-ELOOP, "symbolic link"); /* dangling */
}

static void no_regular_file(void **state)
{
	char file[sizeof(path)];

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	expect(-EINVAL, "regular");
	strcpy(file, path);
	strcpy(path, folder);
	expect(-EINVAL, "regular");
	strcpy(path, file);
}

static void wrong_length(void **state)
{
	char text[256];

	(void)state;
	for (size_t len = 0; len < 200; len++) {
		if (len == 44)
			continue;
		memset(text, 'A', sizeof(text));
		if (len > 0)
			text[len - 1] = '=';
		put_bytes(text, len, 0600);
		expect(-EBADMSG, "44 base64");
	}
	put(TEXT "\n\n");
	expect(-EBADMSG, "44 base64");
	put(TEXT "\r");
	expect(-EBADMSG, "44 base64");
	put(TEXT TEXT);
	expect(-EBADMSG, "44 base64");
	put(TEXT "\n#");
	expect(-EBADMSG, "44 base64");
}

static void bad_characters(void **state)
{
	uint8_t key[KEY_LEN];
	char text[] = TEXT;

	(void)state;
	for (size_t at = 0; at < 44; at++) {
		for (int c = 0; c < 256; c++) {
			const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					     "0123456789+/";
			char old = text[at];
			bool good = at == 43 ? c == '=' : c != 0 && strchr(digits, c);

			if (at == 42) /* two bits that must be zero */
				good = c != 0 && strchr("AEIMQUYcgkosw048", c);
			text[at] = (char)c;
			assert_int_equal(key_decode(text, 44, key), good ? 0 : -EBADMSG);
			text[at] = old;
		}
	}
	put("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 ");
	expect(-EBADMSG, "44 base64");
}

static void text_agrees_with_openssl(void **state)
{
	uint8_t key[KEY_LEN], back[KEY_LEN];
	char ours[KEY_TEXT_LEN + 1];
	unsigned char theirs[KEY_TEXT_LEN + 1];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(key_generate(key), 0);
		key_encode(key, ours);
		EVP_EncodeBlock(theirs, key, KEY_LEN);
		assert_string_equal(ours, (char *)theirs);
		assert_int_equal(key_decode(ours, strlen(ours), back), 0);
		assert_memory_equal(key, back, KEY_LEN);
	}
}

static void generated_keys_differ_and_are_written(void **state)
{
	uint8_t one[KEY_LEN] = {0}, two[KEY_LEN] = {0}, back[KEY_LEN];
	char err[KEY_ERR_LEN];
	struct stat st;
	FILE *f;

	(void)state;
	assert_int_equal(key_generate(one), 0);
	assert_int_equal(key_generate(two), 0);
	assert_memory_not_equal(one, two, KEY_LEN);
	put("");
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(key_write(f, one), 0);
	fclose(f);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, KEY_TEXT_LEN + 1);
	assert_int_equal(key_read(path, back, err, sizeof(err)), 0);
	assert_memory_equal(one, back, KEY_LEN);

	f = fopen("/dev/full", "w");
	assert_non_null(f);
	assert_int_equal(key_write(f, one), -ENOSPC);
	fclose(f);
}

#define TEST(name) cmocka_unit_test_teardown(name, forget)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(key_is_read),
		TEST(missing_file),
		TEST(file_open_to_others),
		TEST(file_of_another_user),
		TEST(symbolic_link),
		TEST(no_regular_file),
		TEST(wrong_length),
		TEST(bad_characters),
		TEST(text_agrees_with_openssl),
		TEST(generated_keys_differ_and_are_written),
	};

	return cmocka_run_group_tests_name("key", tests, setup, teardown);
}
