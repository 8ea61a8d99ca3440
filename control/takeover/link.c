/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The life of one node's connection: pause, dial, shake hands, HELLO, frames. What was accepted is
 * a guest first: guest.c. */
#include "control/takeover/link_private.h"

#include <errno.h>
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
#include <openssl/rand.h>

#include "control/addr.h"
#include "control/peer/tls_common.h"
#include "control/takeover/store_private.h"

#define SINGLE_MAX (128 << 10) /* bytes read or written in one go */
#define INPUT_MAX  (2u << 20)  /* a frame at its longest, and then some */

static void on_read(struct bufferevent *bev, void *arg);
static void on_written(struct bufferevent *bev, void *arg);
static void on_event(struct bufferevent *bev, short what, void *arg);

__attribute__((format(printf, 2, 3))) static void because(struct link *k, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(k->why, sizeof(k->why), format, args);
	va_end(args);
}

void link_timer(struct event *timer, unsigned int ms)
{
	struct timeval t = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	evtimer_add(timer, &t);
}

/* ---- one connection -------------------------------------------------------- */

/* Back to where it began; `why` is set. */
static void link_close(struct link *k)
{
	bool met = k->stage == STAGE_MET;

	event_del(k->timer);
	event_del(k->drop);
	if (k->connected) {
		event_free(k->connected);
		k->connected = NULL;
	}
	if (k->fd >= 0) {
		close(k->fd);
		k->fd = -1;
	}
	if (k->bev) {
		SSL_set_app_data(k->ssl, NULL);
		bufferevent_free(k->bev);
		k->bev = NULL;
		k->ssl = NULL;
	}
	k->stage = STAGE_IDLE;
	if (k->dials) {
		k->stage = STAGE_PAUSE;
		link_timer(k->timer, k->retry_ms);
		k->retry_ms *= 2;
		if (k->retry_ms > LINK_RETRY_MS_MAX)
			k->retry_ms = LINK_RETRY_MS_MAX;
	}
	if (met)
		k->links->ops.parted(k->links->arg, k->peer);
}

static void link_met(struct link *k, const struct frame *hello)
{
	event_del(k->timer);
	k->stage = STAGE_MET;
	k->retry_ms = LINK_RETRY_MS_MIN;
	k->heard_ns = clock_boot_ns();
	k->why[0] = 0;
	bufferevent_setwatermark(k->bev, EV_READ, 0, INPUT_MAX);
	bufferevent_setwatermark(k->bev, EV_WRITE, LINK_SEND_LOW, 0);
	k->links->ops.met(k->links->arg, k->peer, hello);
}

static int say_hello(struct links *l, struct bufferevent *bev)
{
	uint8_t bytes[FRAME_FIXED_MAX];
	struct frame f = {0};

	l->ops.hello(l->arg, &f);
	f.type = FRAME_HELLO;
	return bufferevent_write(bev, bytes, frame_create(&f, bytes)) < 0 ? -ENOMEM : 0;
}

/* Takes a frame from the front. 0: there is a whole one, of `ret_len` bytes, which stay there for
 * now. */
int link_front(struct evbuffer *in, struct frame *ret, size_t *ret_len)
{
	size_t len = evbuffer_get_contiguous_space(in), need;
	ssize_t n;

	for (;;) {
		n = frame_consume(evbuffer_pullup(in, (ev_ssize_t)len), len, ret, &need);
		if (n >= 0) {
			*ret_len = (size_t)n;
			return 0;
		}
		if (n != -EAGAIN || need > evbuffer_get_length(in))
			return (int)n;
		len = need;
	}
}

int link_hello_check(struct links *l, uint32_t peer, const struct frame *f)
{
	if (f->type != FRAME_HELLO)
		return -EPROTO;
	if (strcmp(f->hello.node, l->config.peers[peer].node))
		return -EBADE;
	return l->ops.check(l->arg, peer, f);
}

const char *link_hello_text(int rc)
{
	switch (rc) {
	case -EPROTONOSUPPORT:
		return "it runs another version of holdfast";
	case -EBADE:
		return "it has another name than expected";
	case -EBADR:
		return "it belongs to another group, or its list of nodes or its lease differs";
	default:
		return "what it said breaks the protocol";
	}
}

static void link_hello(struct link *k, struct evbuffer *in)
{
	struct frame f;
	size_t len;
	int rc = link_front(in, &f, &len);

	if (rc == -EAGAIN)
		return;
	if (rc == 0)
		rc = link_hello_check(k->links, k->peer, &f);
	if (rc < 0) {
		because(k, "%s: %s", k->links->config.peers[k->peer].node, link_hello_text(rc));
		k->links->ops.refused(k->links->arg, k->why);
		link_close(k);
		return;
	}
	evbuffer_drain(in, len);
	link_met(k, &f);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct link *k = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct frame f;
	size_t len;
	int rc = 0;

	if (k->stage != STAGE_MET) {
		link_hello(k, in);
		/* frames may have come with it */
		if (k->bev != bev || k->stage != STAGE_MET)
			return;
	}
	k->heard_ns = clock_boot_ns();
	while (evbuffer_get_length(in) > 0) {
		rc = link_front(in, &f, &len);
		if (rc == -EAGAIN)
			return;
		if (rc == 0)
			rc = f.type == FRAME_HELLO
				     ? -EPROTO
				     : k->links->ops.frame(k->links->arg, k->peer, &f);
		if (k->bev != bev) /* dropped by that */
			return;
		if (rc < 0)
			break;
		evbuffer_drain(in, len);
	}
	if (rc < 0) {
		because(k, "%s: what it said breaks the protocol",
			k->links->config.peers[k->peer].node);
		link_close(k);
	}
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct link *k = arg;

	(void)bev;
	if (k->stage == STAGE_MET)
		k->links->ops.room(k->links->arg, k->peer);
}

static void on_drop(evutil_socket_t fd, short what, void *arg)
{
	struct link *k = arg;

	(void)fd;
	(void)what;
	because(k, "%s: it does not read what it is sent", k->links->config.peers[k->peer].node);
	link_close(k);
}

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

static void link_broken(struct link *k, short what)
{
	const char *node = k->links->config.peers[k->peer].node;
	int error = 0;
	unsigned long e = tls_take_error(k->bev, what, &error);

	if (e && k->stage == STAGE_SHAKE && is_key_alert(e))
		because(k, "%s: the keys differ, or it does not know this node", node);
	else if (e)
		because(k, "%s: TLS failed: %s", node, tls_error_text(e));
	else if (error)
		because(k, "%s: %s", node, strerror(error));
	else
		because(k, "%s: it closed the connection", node);
	link_close(k);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct link *k = arg;
	uint8_t exported[WIRE_EXPORT_LEN];

	if (!(what & BEV_EVENT_CONNECTED)) {
		link_broken(k, what);
		return;
	}
	if (tls_export(k->ssl, exported) < 0 || say_hello(k->links, bev) < 0 ||
	    bufferevent_enable(bev, EV_READ) < 0) {
		because(k, "%s: TLS failed", k->links->config.peers[k->peer].node);
		link_close(k);
	}
	OPENSSL_cleanse(exported, sizeof(exported));
}

/* A guest's connection in place of what there was. */
void link_take(struct link *k, struct bufferevent *bev, SSL *ssl, const struct frame *hello)
{
	if (k->bev) {
		because(k, "%s: it came anew", k->links->config.peers[k->peer].node);
		link_close(k);
	}
	k->bev = bev;
	k->ssl = ssl;
	SSL_set_app_data(ssl, k);
	bufferevent_setcb(bev, on_read, on_written, on_event, k);
	if (say_hello(k->links, bev) < 0) {
		because(k, "no memory");
		link_close(k);
		return;
	}
	link_met(k, hello);
	if (k->bev == bev && evbuffer_get_length(bufferevent_get_input(bev)) > 0)
		on_read(bev, k);
}

/* ---- dialling --------------------------------------------------------------- */

static int use_psk(SSL *ssl, const EVP_MD *md, const unsigned char **ret_id, size_t *ret_len,
		   SSL_SESSION **ret_session)
{
	struct link *k = SSL_get_app_data(ssl);

	*ret_session = NULL;
	if (!k || (md && !EVP_MD_is_a(md, "SHA256")))
		return 0;
	*ret_session = tls_psk_session(ssl, k->links->config.key);
	if (!*ret_session)
		return 0;
	*ret_id = (const unsigned char *)k->links->config.node;
	*ret_len = strlen(k->links->config.node);
	return 1;
}

int link_prepare(struct bufferevent *bev)
{
	bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	return bufferevent_set_max_single_read(bev, SINGLE_MAX) < 0 ||
			       bufferevent_set_max_single_write(bev, SINGLE_MAX) < 0
		       ? -ENOMEM
		       : 0;
}

static int link_shake(struct link *k)
{
	SSL *ssl = SSL_new(k->links->client);

	if (!ssl)
		return -ENOMEM;
	SSL_set_app_data(ssl, k);
	/* on failure too the SSL is the bufferevent's, the descriptor is not */
	k->bev = bufferevent_openssl_socket_new(k->links->base, k->fd, ssl,
						BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
	if (!k->bev)
		return -ENOMEM;
	k->ssl = ssl;
	k->fd = -1;
	k->stage = STAGE_SHAKE;
	bufferevent_setcb(k->bev, on_read, on_written, on_event, k);
	bufferevent_setwatermark(k->bev, EV_READ, 0, FRAME_HELLO_MAX);
	return link_prepare(k->bev);
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct link *k = arg;
	socklen_t len = sizeof(int);
	int error = 0, rc;

	(void)what;
	event_free(k->connected);
	k->connected = NULL;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	rc = error ? -error : link_shake(k);
	if (rc < 0) {
		because(k, "%s: %s", k->links->config.peers[k->peer].node, strerror(-rc));
		link_close(k);
	}
}

static int link_dial(struct link *k)
{
	const struct store_peer *p = &k->links->config.peers[k->peer];
	struct sockaddr_storage to;
	socklen_t len;
	int one = 1;

	addr_to_sockaddr(&p->addr, p->port, 0, &to, &len);
	k->fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (k->fd < 0)
		return -errno;
	k->stage = STAGE_DIAL;
	link_timer(k->timer, LINK_SHAKE_MS);
	if (setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		return -errno;
	if (connect(k->fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS)
		return -errno;
	k->connected = event_new(k->links->base, k->fd, EV_WRITE, on_connected, k);
	if (!k->connected || event_add(k->connected, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct link *k = arg;
	const char *node = k->links->config.peers[k->peer].node;
	int rc;

	(void)fd;
	(void)what;
	if (k->stage != STAGE_PAUSE) {
		because(k, "%s: no answer within %d ms", node, LINK_SHAKE_MS);
		link_close(k);
		return;
	}
	rc = link_dial(k);
	if (rc < 0) {
		because(k, "%s: %s", node, strerror(-rc));
		link_close(k);
	}
}

/* ---- all of them ------------------------------------------------------------- */

static int link_open(struct links *l, uint32_t peer)
{
	struct link *k = &l->links[peer];

	*k = (struct link){.links = l, .peer = peer, .fd = -1, .retry_ms = LINK_RETRY_MS_MIN};
	k->dials = strcmp(l->config.node, l->config.peers[peer].node) < 0;
	k->timer = evtimer_new(l->base, on_timer, k);
	k->drop = event_new(l->base, -1, 0, on_drop, k);
	l->count++;
	if (!k->timer || !k->drop)
		return -ENOMEM;
	because(k, "%s: not connected yet", l->config.peers[peer].node);
	if (k->dials) {
		k->stage = STAGE_PAUSE;
		link_timer(k->timer, 0);
	}
	return 0;
}

int links_open(struct event_base *base, const struct store_config *config,
	       const struct links_ops *ops, void *arg, struct links **ret, char *err,
	       size_t err_size)
{
	struct links *l = calloc(1, sizeof(*l));
	int rc = -ENOMEM;

	if (!l)
		return -ENOMEM;
	TAILQ_INIT(&l->guests);
	l->base = base;
	l->config = *config;
	l->ops = *ops;
	l->arg = arg;
	snprintf(err, err_size, "no memory for TLS");
	l->server = tls_ctx_new(TLS_server_method());
	l->client = tls_ctx_new(TLS_client_method());
	if (!l->server || !l->client || RAND_priv_bytes(l->nobodys_key, KEY_LEN) != 1)
		goto out;
	SSL_CTX_set_psk_find_session_callback(l->server, guests_psk);
	SSL_CTX_set_psk_use_session_callback(l->client, use_psk);
	/* they live long and speak often: buffers stay */
	SSL_CTX_clear_mode(l->server, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_clear_mode(l->client, SSL_MODE_RELEASE_BUFFERS);
	for (uint32_t i = 0; i < config->peer_count; i++)
		if (link_open(l, i) < 0)
			goto out;
	rc = guests_listen(l, err, err_size);
	if (rc < 0)
		goto out;
	*ret = l;
	return 0;
out:
	links_close(l);
	return rc;
}

static void ignore_parted(void *arg, uint32_t peer)
{
	(void)arg;
	(void)peer;
}

void links_close(struct links *l)
{
	if (!l)
		return;
	l->ops.parted = ignore_parted;
	guests_close(l);
	for (uint32_t i = 0; i < l->count; i++) {
		struct link *k = &l->links[i];

		if (k->timer && k->drop)
			link_close(k);
		if (k->timer)
			event_free(k->timer);
		if (k->drop)
			event_free(k->drop);
	}
	SSL_CTX_free(l->server);
	SSL_CTX_free(l->client);
	OPENSSL_cleanse(l, sizeof(*l));
	free(l);
}

struct evbuffer *links_out(struct links *l, uint32_t peer)
{
	struct link *k = &l->links[peer];

	return k->stage == STAGE_MET ? bufferevent_get_output(k->bev) : NULL;
}

size_t links_waiting(const struct links *l, uint32_t peer)
{
	const struct link *k = &l->links[peer];

	return k->stage == STAGE_MET ? evbuffer_get_length(bufferevent_get_output(k->bev)) : 0;
}

void links_sent(struct links *l, uint32_t peer)
{
	if (links_waiting(l, peer) > LINK_SEND_MAX)
		event_active(l->links[peer].drop, EV_TIMEOUT, 1);
}

int links_send(struct links *l, uint32_t peer, const struct frame *f)
{
	struct evbuffer *out = links_out(l, peer);
	uint8_t bytes[FRAME_FIXED_MAX];

	if (!out)
		return -ENOTCONN;
	if (evbuffer_add(out, bytes, frame_create(f, bytes)) < 0)
		return -ENOMEM;
	links_sent(l, peer);
	return 0;
}

void links_push(struct links *l, uint32_t peer)
{
	struct evbuffer *out = links_out(l, peer);
	struct link *k = &l->links[peer];
	size_t len;
	int n = 1;

	if (!out)
		return;
	while ((len = evbuffer_get_length(out)) > 0 && n > 0) {
		if (len > SINGLE_MAX)
			len = SINGLE_MAX;
		n = SSL_write(k->ssl, evbuffer_pullup(out, (ev_ssize_t)len), (int)len);
		if (n > 0)
			evbuffer_drain(out, (size_t)n);
	}
	ERR_clear_error();
	/* what was not read when a socket is closed makes a RST of its end */
	shutdown(bufferevent_getfd(k->bev), SHUT_WR);
	while (recv(bufferevent_getfd(k->bev), &len, sizeof(len), MSG_DONTWAIT) > 0)
		;
}

void links_drop(struct links *l, uint32_t peer, const char *why)
{
	struct link *k = &l->links[peer];

	if (!k->bev)
		return;
	because(k, "%s: %s", l->config.peers[peer].node, why);
	link_close(k);
}

void links_check(struct links *l, uint64_t silent_ns)
{
	uint64_t now = clock_boot_ns();

	for (uint32_t i = 0; i < l->count; i++)
		if (l->links[i].stage == STAGE_MET && now - l->links[i].heard_ns > silent_ns)
			links_drop(l, i, "it has gone silent");
}

const char *links_why(const struct links *l, uint32_t peer)
{
	return l->links[peer].stage == STAGE_MET ? "" : l->links[peer].why;
}
