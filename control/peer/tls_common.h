/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What tls_server.c and tls_client.c share; nobody else includes it. */
#ifndef HOLDFAST_TLS_COMMON_H
#define HOLDFAST_TLS_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "control/peer/tls.h"

struct bufferevent;

#define TLS_WHY_LEN 256
/* Read at most so much before the length of a message is known, bytes. */
#define TLS_READ_AHEAD 16384

/* TLS 1.3 only, one cipher suite, psk_dhe_ke only, no certificates, tickets, early data. NULL when
 * OpenSSL fails; the caller frees. */
SSL_CTX *tls_ctx_new(const SSL_METHOD *method);

/* The external PSK as OpenSSL wants it. NULL when it fails; the caller owns it. */
SSL_SESSION *tls_psk_session(SSL *ssl, const uint8_t key[static KEY_LEN]);

/* Printable ASCII without space, 1 to TLS_IDENTITY_MAX characters. */
bool tls_identity_ok(const char *identity, size_t len);

/* The handshake is done: was it our PSK, and what does it export? 0 or -EPROTO; `exported` is
 * untouched then. */
int tls_export(SSL *ssl, uint8_t exported[static WIRE_EXPORT_LEN]);

/* Why the bufferevent broke: the first error of OpenSSL, or 0; then `ret_errno` receives the
 * system's, or 0 when the peer closed. To be called first in the event callback, because errno
 * counts. */
unsigned long tls_take_error(struct bufferevent *bev, short what, int *ret_errno);

/* The text of such an error; never NULL. */
const char *tls_error_text(unsigned long e);

/* Wait for `need` bytes, of a peer that should send no more than that; one more is let in so that
 * more, or the end, is seen. */
void tls_await(struct bufferevent *bev, size_t need);

#endif
