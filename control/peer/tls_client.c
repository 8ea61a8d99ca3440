/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages: the TCP connection opens (event `writable`), TLS shakes hands, the
 * request is written, the reply is read. One timer, `deadline`, over them all.
 */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>

#include "control/addr.h"
#include "control/peer/tls_common.h"

struct tls_client {
	struct event_base *base;
	int fd; /* until the bufferevent has it */
	struct event *writable;
	struct event *deadline;
	SSL_CTX *ctx;
	SSL *ssl; /* the bufferevent's */
	struct bufferevent *bev;
	char identity[TLS_IDENTITY_MAX + 1];
	uint8_t key[KEY_LEN];
	uint8_t exported[WIRE_EXPORT_LEN];
	uint8_t *request; /* as on the wire */
	size_t request_len;
	const char *stage; /* what did not happen, when time is over */
	bool shaken;
	bool over; /* done() runs */
	tls_client_fn *done;
	void *arg;
};

static void client_free(struct tls_client *c)
{
	if (!c)
		return;
	if (c->writable)
		event_free(c->writable);
	if (c->deadline)
		event_free(c->deadline);
	if (c->ssl)
		SSL_set_app_data(c->ssl, NULL);
	if (c->bev)
		bufferevent_free(c->bev);
	if (c->fd >= 0)
		close(c->fd);
	SSL_CTX_free(c->ctx);
	free(c->request);
	OPENSSL_cleanse(c, sizeof(*c));
	free(c);
}

static void client_finish(struct tls_client *c, int error, struct connect_reply *reply,
			  const char *why)
{
	c->over = true;
	event_del(c->deadline);
	c->done(c->arg, error, error ? NULL : reply, error ? NULL : c->exported, why);
	client_free(c);
}

__attribute__((format(printf, 3, 4))) static void client_fail(struct tls_client *c, int error,
							      const char *format, ...)
{
	char why[TLS_WHY_LEN];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	client_finish(c, error, NULL, why);
}

/* The anchor tells a stranger one thing only; see tls_server.c. */
static bool is_key_alert(unsigned long e)
{
	switch (ERR_GET_REASON(e)) {
	case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER:
	case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
	case SSL_R_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY:
		return ERR_GET_LIB(e) == ERR_LIB_SSL;
	default:
		return false;
	}
}

static void client_broken(struct tls_client *c, short what)
{
	int error = 0;
	unsigned long e = tls_take_error(c->bev, what, &error);

	if (e && !c->shaken && is_key_alert(e))
		client_fail(c, -EACCES,
			    "the anchor does not know this mobile, or their keys differ");
	else if (e)
		client_fail(c, -EPROTO, "TLS failed: %s", tls_error_text(e));
	else if (error != 0)
		client_fail(c, -error, "the connection broke before %s: %s", c->stage,
			    strerror(error));
	else
		client_fail(c, -ECONNRESET, "the anchor closed the connection before %s", c->stage);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct tls_client *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct connect_reply reply;
	size_t need;
	ssize_t n;

	n = connect_consume_reply(evbuffer_pullup(in, -1), evbuffer_get_length(in), &reply, &need);
	if (n == -EAGAIN) {
		tls_await(bev, need);
		return;
	}
	if (n == -EPROTONOSUPPORT) {
		client_fail(c, -EPROTO, "%s", connect_refusal_text(WIRE_REFUSAL_VERSION));
		return;
	}
	if (n == -ENOMEM) {
		client_fail(c, -ENOMEM, "no memory for the anchor's reply");
		return;
	}
	if (n < 0) {
		client_fail(c, -EPROTO, "the anchor's reply breaks the protocol");
		return;
	}
	SSL_shutdown(c->ssl); /* polite; the anchor does not need it */
	ERR_clear_error();
	client_finish(c, 0, &reply, connect_refusal_text(reply.refusal));
	connect_reply_clear(&reply);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct tls_client *c = arg;

	if (!(what & BEV_EVENT_CONNECTED)) {
		client_broken(c, what);
		return;
	}
	c->shaken = true;
	c->stage = "it replied";
	if (tls_export(c->ssl, c->exported) < 0) {
		client_fail(c, -EPROTO, "the other side is not the anchor: it did not use the key");
		return;
	}
	bufferevent_setwatermark(bev, EV_READ, sizeof(struct wire_connected), TLS_READ_AHEAD);
	if (bufferevent_write(bev, c->request, c->request_len) < 0 ||
	    bufferevent_enable(bev, EV_READ) < 0)
		client_fail(c, -ENOMEM, "no memory for the request");
}

static int use_psk(SSL *ssl, const EVP_MD *md, const unsigned char **ret_id, size_t *ret_len,
		   SSL_SESSION **ret_session)
{
	struct tls_client *c = SSL_get_app_data(ssl);

	*ret_session = NULL;
	if (!c || (md && !EVP_MD_is_a(md, "SHA256")))
		return 0;
	*ret_session = tls_psk_session(ssl, c->key);
	if (!*ret_session)
		return 0;
	*ret_id = (const unsigned char *)c->identity;
	*ret_len = strlen(c->identity);
	return 1;
}

static int client_start_tls(struct tls_client *c)
{
	SSL *ssl = SSL_new(c->ctx);

	if (!ssl)
		return -ENOMEM;
	SSL_set_app_data(ssl, c);
	/* on failure too the SSL is the bufferevent's, the descriptor is not */
	c->bev = bufferevent_openssl_socket_new(c->base, c->fd, ssl, BUFFEREVENT_SSL_CONNECTING,
						BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev)
		return -ENOMEM;
	c->ssl = ssl;
	c->fd = -1;
	bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1);
	bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
	return 0;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct tls_client *c = arg;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		client_fail(c, -error, "the anchor cannot be reached: %s", strerror(error));
		return;
	}
	c->stage = "the TLS handshake was done";
	if (client_start_tls(c) < 0)
		client_fail(c, -ENOMEM, "no memory for TLS");
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct tls_client *c = arg;

	(void)fd;
	(void)what;
	client_fail(c, -ETIMEDOUT, "time was over before %s", c->stage);
}

static int client_socket(const struct tls_client_config *config)
{
	struct sockaddr_storage peer, local;
	socklen_t peer_len, local_len;
	char name[IF_NAMESIZE];
	int fd, rc, one = 1;

	addr_to_sockaddr(&config->peer, config->port, config->ifindex, &peer, &peer_len);
	fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	if (config->ifindex != 0) {
		if (!if_indextoname(config->ifindex, name)) {
			rc = -ENODEV;
			goto out;
		}
		if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, strlen(name)) < 0) {
			rc = -errno;
			goto out;
		}
	}
	if (!addr_is_zero(&config->local)) {
		addr_to_sockaddr(&config->local, 0, config->ifindex, &local, &local_len);
		if (bind(fd, (struct sockaddr *)&local, local_len) < 0) {
			rc = -errno;
			goto out;
		}
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* only faster */
	if (connect(fd, (struct sockaddr *)&peer, peer_len) < 0 && errno != EINPROGRESS) {
		rc = -errno;
		goto out;
	}
	return fd;
out:
	close(fd);
	return rc;
}

int tls_client_connect(struct event_base *base, const struct tls_client_config *config,
		       struct tls_client **ret)
{
	struct timeval timeout = {.tv_sec = config->timeout_ms / 1000,
				  .tv_usec = config->timeout_ms % 1000 * 1000};
	size_t identity_len = strlen(config->identity);
	struct tls_client *c;
	ssize_t len;
	int rc;

	if (!tls_identity_ok(config->identity, identity_len) || config->timeout_ms == 0 ||
	    config->port == 0 || addr_is_zero(&config->peer) ||
	    (!addr_is_zero(&config->local) &&
	     addr_is_v4(&config->local) != addr_is_v4(&config->peer)))
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->fd = -1;
	c->base = base;
	c->done = config->done;
	c->arg = config->arg;
	c->stage = "the anchor answered";
	memcpy(c->identity, config->identity, identity_len);
	memcpy(c->key, config->key, KEY_LEN);

	rc = -EINVAL;
	c->request_len = connect_request_size(config->request);
	if (c->request_len == 0)
		goto out;
	rc = -ENOMEM;
	c->request = malloc(c->request_len);
	if (!c->request)
		goto out;
	len = connect_create_request(config->request, c->request, c->request_len);
	if (len < 0) {
		rc = len;
		goto out;
	}
	rc = -EIO;
	c->ctx = tls_ctx_new(TLS_client_method());
	if (!c->ctx)
		goto out;
	SSL_CTX_set_psk_use_session_callback(c->ctx, use_psk);
	/* The trust store is empty: a certificate in place of the PSK fails. */
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);

	c->fd = client_socket(config);
	if (c->fd < 0) {
		rc = c->fd;
		goto out;
	}
	rc = -ENOMEM;
	c->writable = event_new(base, c->fd, EV_WRITE, on_writable, c);
	c->deadline = evtimer_new(base, on_deadline, c);
	if (!c->writable || !c->deadline || event_add(c->writable, NULL) < 0 ||
	    evtimer_add(c->deadline, &timeout) < 0)
		goto out;
	*ret = c;
	return 0;
out:
	client_free(c);
	return rc;
}

void tls_client_cancel(struct tls_client *c)
{
	if (c && !c->over)
		client_free(c);
}
