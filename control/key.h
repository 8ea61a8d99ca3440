/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Key files: one 32-byte key, written as one line of 44 base64 characters
 * (RFC 4648 section 4, with padding). Keys come from files, never from argv.
 */
#ifndef HOLDFAST_KEY_H
#define HOLDFAST_KEY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define KEY_LEN      32  /* bytes */
#define KEY_TEXT_LEN 44  /* base64 characters, without newline and zero */
#define KEY_ERR_LEN  512 /* enough for every sentence about a path of usual length */

/* Text to key: exactly 44 characters, at most one "\n" or "\r\n" after them, no spaces; the two
 * unused bits must be zero, so that a key has one spelling. 0 or -EBADMSG; `key` is untouched then.
 */
int key_decode(const char *text, size_t len, uint8_t key[static KEY_LEN]);

/* `text` receives 44 characters and a zero. The caller wipes it. */
void key_encode(const uint8_t key[static KEY_LEN], char text[static KEY_TEXT_LEN + 1]);

/* Reads a key file. It must be a regular file (no symbolic link) that belongs to root or to the
 * effective user and that nobody else may read or write. 0 or negative errno (-ENOENT, -EACCES,
 * -ELOOP for a link, -EPERM for owner or mode, -EINVAL for another kind of file, -EBADMSG for what
 * is in it, ...); then `key` is untouched and `err` holds one sentence without newline that names
 * the file, the reason and what to do. `err` may be NULL when err_size is 0. */
int key_read(const char *path, uint8_t key[static KEY_LEN], char *err, size_t err_size);

/* A new random key. 0 or -EIO; `key` is untouched then. */
int key_generate(uint8_t key[static KEY_LEN]);

/* Writes the key as one line and flushes. 0 or negative errno. The caller sees to the file's mode.
 */
int key_write(FILE *f, const uint8_t key[static KEY_LEN]);

#endif
