/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>

#include "control/peer/tls_common.h"

#define SUITE "TLS_AES_128_GCM_SHA256"
static const unsigned char suite_id[] = {0x13, 0x01}; /* RFC 8446 appendix B.4 */

SSL_CTX *tls_ctx_new(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx)
		return NULL;
	/* A hash of PSK and suite must agree (RFC 8446 section 4.2.11): one suite, one hash.
	 * SSL_OP_ALLOW_NO_DHE_KEX stays off, which leaves psk_dhe_ke alone. */
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(ctx, SUITE) != 1 ||
	    SSL_CTX_set1_groups_list(ctx, "X25519:P-256") != 1 ||
	    SSL_CTX_set_num_tickets(ctx, 0) != 1 || SSL_CTX_set_max_early_data(ctx, 0) != 1) {
		SSL_CTX_free(ctx);
		ERR_clear_error();
		return NULL;
	}
	SSL_CTX_clear_options(ctx, SSL_OP_ALLOW_NO_DHE_KEX);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	return ctx;
}

SSL_SESSION *tls_psk_session(SSL *ssl, const uint8_t key[static KEY_LEN])
{
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite_id);
	SSL_SESSION *session = SSL_SESSION_new();

	if (!cipher || !session || SSL_SESSION_set1_master_key(session, key, KEY_LEN) != 1 ||
	    SSL_SESSION_set_cipher(session, cipher) != 1 ||
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) != 1) {
		SSL_SESSION_free(session);
		return NULL;
	}
	return session;
}

bool tls_identity_ok(const char *identity, size_t len)
{
	if (len == 0 || len > TLS_IDENTITY_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (identity[i] <= 0x20 || identity[i] > 0x7e)
			return false;
	return true;
}

int tls_export(SSL *ssl, uint8_t exported[static WIRE_EXPORT_LEN])
{
	uint8_t out[WIRE_EXPORT_LEN];
	int rc = -EPROTO;

	/* without a certificate nothing but the PSK can have got us here; be sure all the same */
	if (SSL_session_reused(ssl) != 1 || SSL_version(ssl) != TLS1_3_VERSION)
		return -EPROTO;
	if (SSL_export_keying_material(ssl, out, sizeof(out), WIRE_EXPORTER_LABEL,
				       strlen(WIRE_EXPORTER_LABEL), NULL, 0, 0) == 1) {
		memcpy(exported, out, sizeof(out));
		rc = 0;
	}
	OPENSSL_cleanse(out, sizeof(out));
	return rc;
}

unsigned long tls_take_error(struct bufferevent *bev, short what, int *ret_errno)
{
	int error = what & BEV_EVENT_EOF ? 0 : EVUTIL_SOCKET_ERROR();
	unsigned long first = 0, e;

	/* libevent puts SSL_ERROR_SYSCALL among them, which is no code of the error queue */
	while ((e = bufferevent_get_openssl_error(bev)) != 0)
		if (first == 0 && (ERR_SYSTEM_ERROR(e) || ERR_GET_LIB(e) != 0))
			first = e;
	ERR_clear_error();
	if (ERR_SYSTEM_ERROR(first)) {
		error = ERR_GET_REASON(first);
		first = 0;
	}
	if (first == 0) /* what is left of a call that only had to wait is no reason */
		*ret_errno = error == EAGAIN || error == EINPROGRESS ? 0 : error;
	return first;
}

const char *tls_error_text(unsigned long e)
{
	const char *text = ERR_reason_error_string(e);

	return text ? text : "unknown error";
}

void tls_await(struct bufferevent *bev, size_t need)
{
	bufferevent_setwatermark(bev, EV_READ, need, need + 1);
}
