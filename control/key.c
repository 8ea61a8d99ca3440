/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "control/key.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* RFC 4648 section 4; -1 for a character that is none of it. */
static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	return -1;
}

int key_decode(const char *text, size_t len, uint8_t key[static KEY_LEN])
{
	uint8_t bytes[KEY_LEN + 1]; /* the last group is 16 bits, padded to 18 */
	uint32_t bits = 0;
	int rc = -EBADMSG;

	if (len > 0 && text[len - 1] == '\n') {
		len--;
		if (len > 0 && text[len - 1] == '\r')
			len--;
	}
	if (len != KEY_TEXT_LEN || text[KEY_TEXT_LEN - 1] != '=')
		return -EBADMSG;
	for (size_t i = 0; i < KEY_TEXT_LEN; i++) {
		int six = i == KEY_TEXT_LEN - 1 ? 0 : sextet(text[i]);

		if (six < 0)
			goto out;
		bits = bits << 6 | (uint32_t)six;
		if (i % 4 == 3) {
			bytes[i / 4 * 3] = bits >> 16;
			bytes[i / 4 * 3 + 1] = bits >> 8;
			bytes[i / 4 * 3 + 2] = bits;
			bits = 0;
		}
	}
	if (bytes[KEY_LEN] != 0)
		goto out;
	memcpy(key, bytes, KEY_LEN);
	rc = 0;
out:
	OPENSSL_cleanse(bytes, sizeof(bytes));
	OPENSSL_cleanse(&bits, sizeof(bits));
	return rc;
}

void key_encode(const uint8_t key[static KEY_LEN], char text[static KEY_TEXT_LEN + 1])
{
	for (size_t i = 0; i < KEY_TEXT_LEN; i += 4) {
		size_t at = i / 4 * 3;
		uint32_t bits = (uint32_t)key[at] << 16 | (uint32_t)key[at + 1] << 8;

		if (at + 2 < KEY_LEN)
			bits |= key[at + 2];
		for (size_t j = 0; j < 4; j++)
			text[i + j] = alphabet[bits >> (18 - 6 * j) & 63];
	}
	text[KEY_TEXT_LEN - 1] = '=';
	text[KEY_TEXT_LEN] = '\0';
}

__attribute__((format(printf, 4, 5))) static int fail(char *err, size_t err_size, int rc,
						      const char *format, ...)
{
	va_list args;

	if (err_size > 0) {
		va_start(args, format);
		vsnprintf(err, err_size, format, args);
		va_end(args);
	}
	return rc;
}

static int open_failed(const char *path, int error, char *err, size_t err_size)
{
	switch (error) {
	case ENOENT:
		return fail(err, err_size, -ENOENT,
			    "key file %s does not exist: make one with "
			    "`(umask 077; holdfast genkey > %s)`",
			    path, path);
	case ELOOP:
		return fail(err, err_size, -ELOOP,
			    "key file %s is a symbolic link: name the file itself", path);
	case EACCES:
		return fail(
			err, err_size, -EACCES,
			"key file %s may not be read: it must belong to the user that reads it, "
			"or run as root",
			path);
	default:
		return fail(err, err_size, -error, "key file %s cannot be opened: %s", path,
			    strerror(error));
	}
}

int key_read(const char *path, uint8_t key[static KEY_LEN], char *err, size_t err_size)
{
	char text[KEY_TEXT_LEN + 3]; /* "\r\n", and one to see that there is more */
	size_t len = 0;
	struct stat st;
	ssize_t n;
	int fd, rc;

	/* O_NONBLOCK: a FIFO must not hold us */
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return open_failed(path, errno, err, err_size);
	if (fstat(fd, &st) < 0) {
		rc = fail(err, err_size, -errno, "key file %s cannot be examined: %s", path,
			  strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		rc = fail(err, err_size, -EINVAL, "key file %s is no regular file", path);
		goto out;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		rc = fail(err, err_size, -EPERM,
			  "key file %s belongs to user %u: do `chown root %s`", path,
			  (unsigned int)st.st_uid, path);
		goto out;
	}
	if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		rc = fail(err, err_size, -EPERM,
			  "key file %s is open to other users (mode %04o): do `chmod 600 %s`", path,
			  (unsigned int)(st.st_mode & 07777), path);
		goto out;
	}
	while (len < sizeof(text)) {
		n = read(fd, text + len, sizeof(text) - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = fail(err, err_size, -errno, "key file %s cannot be read: %s", path,
				  strerror(errno));
			goto out;
		}
		if (n == 0)
			break;
		len += n;
	}
	rc = key_decode(text, len, key);
	if (rc < 0)
		fail(err, err_size, rc,
		     "key file %s holds no key: it must be one line of %d base64 characters, "
		     "as `holdfast genkey` prints",
		     path, KEY_TEXT_LEN);
out:
	OPENSSL_cleanse(text, sizeof(text));
	close(fd);
	return rc;
}

int key_generate(uint8_t key[static KEY_LEN])
{
	uint8_t bytes[KEY_LEN];

	if (RAND_priv_bytes(bytes, sizeof(bytes)) != 1)
		return -EIO;
	memcpy(key, bytes, KEY_LEN);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return 0;
}

int key_write(FILE *f, const uint8_t key[static KEY_LEN])
{
	char text[KEY_TEXT_LEN + 2];
	int rc = 0;

	key_encode(key, text);
	text[KEY_TEXT_LEN] = '\n';
	text[KEY_TEXT_LEN + 1] = '\0';
	errno = 0;
	if (fputs(text, f) == EOF || fflush(f) == EOF)
		rc = errno ? -errno : -EIO;
	OPENSSL_cleanse(text, sizeof(text));
	return rc;
}
