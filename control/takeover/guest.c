/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A connection that was accepted is a guest until its HELLO; then it takes the place of the node's
 * former connection. The order matters to the lease machine: the old connection is closed before we
 * describe ourselves on the new one, so nothing of the old one can come after that.
 *
 * As in tls_server.c, an unknown identity is given a random key: it fails as a wrong key does.
 */
#include "control/takeover/link_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <openssl/err.h>

#include "control/addr.h"
#include "control/peer/tls_common.h"

#define BACKLOG 16
/* accept(2) failed (no descriptors left, say): leave it alone for so long */
#define ACCEPT_PAUSE_S 1

static void guest_free(struct guest *g)
{
	TAILQ_REMOVE(&g->links->guests, g, link);
	g->links->guest_count--;
	if (g->timer)
		event_free(g->timer);
	if (g->ssl)
		SSL_set_app_data(g->ssl, NULL);
	if (g->bev)
		bufferevent_free(g->bev);
	free(g);
}

static void guest_refuse(struct guest *g, const char *why)
{
	struct links *l = g->links;
	char text[200];

	snprintf(text, sizeof(text), "%s: %s",
		 g->peer == STRANGER ? "a stranger" : l->config.peers[g->peer].node, why);
	guest_free(g);
	l->ops.refused(l->arg, text);
}

int guests_psk(SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **ret)
{
	struct guest *g = SSL_get_app_data(ssl);
	const uint8_t *key;

	*ret = NULL;
	if (!g)
		return 0;
	key = g->links->nobodys_key;
	g->peer = STRANGER;
	for (uint32_t i = 0; i < g->links->count; i++) {
		const char *node = g->links->config.peers[i].node;

		/* who should be dialled by us has no business here */
		if (!g->links->links[i].dials && strlen(node) == len &&
		    !memcmp(node, identity, len)) {
			g->peer = i;
			key = g->links->config.key;
		}
	}
	*ret = tls_psk_session(ssl, key);
	return *ret != NULL;
}

/* Its HELLO is good: it is the node's connection from now on. */
static void guest_in(struct guest *g, const struct frame *hello)
{
	struct link *k = &g->links->links[g->peer];
	struct bufferevent *bev = g->bev;
	SSL *ssl = g->ssl;

	g->bev = NULL;
	g->ssl = NULL;
	guest_free(g);
	link_take(k, bev, ssl, hello);
}

static void on_guest_read(struct bufferevent *bev, void *arg)
{
	struct guest *g = arg;
	struct links *l = g->links;
	struct evbuffer *in = bufferevent_get_input(bev);
	uint32_t peer = g->peer;
	struct frame f;
	size_t len;
	int rc = link_front(in, &f, &len);

	if (rc == -EAGAIN)
		return;
	if (rc == 0)
		rc = link_hello_check(l, peer, &f);
	if (rc < 0) {
		guest_refuse(g, link_hello_text(rc));
		return;
	}
	evbuffer_drain(in, len);
	guest_in(g, &f);
}

static void on_guest_event(struct bufferevent *bev, short what, void *arg)
{
	struct guest *g = arg;
	uint8_t exported[WIRE_EXPORT_LEN];
	int error = 0;
	unsigned long e;

	if (what & BEV_EVENT_CONNECTED) {
		if (g->peer == STRANGER || tls_export(g->ssl, exported) < 0) {
			guest_refuse(g, "it did not use the key");
			return;
		}
		OPENSSL_cleanse(exported, sizeof(exported));
		bufferevent_enable(bev, EV_READ);
		return;
	}
	e = tls_take_error(bev, what, &error);
	guest_refuse(g, e       ? tls_error_text(e)
			: error ? strerror(error)
				: "it left before it said who it is");
}

static void on_guest_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	guest_refuse(arg, "it took too long to say who it is");
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
		      int len, void *arg)
{
	struct links *l = arg;
	struct guest *g = calloc(1, sizeof(*g));
	int one = 1;
	SSL *ssl;

	(void)listener;
	(void)from;
	(void)len;
	if (!g) {
		close(fd);
		return;
	}
	if (l->guest_count >= LINK_GUESTS_MAX)
		guest_refuse(TAILQ_FIRST(&l->guests), "it gave way to a newer connection");
	g->links = l;
	g->peer = STRANGER;
	TAILQ_INSERT_TAIL(&l->guests, g, link);
	l->guest_count++;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* only faster */
	g->timer = evtimer_new(l->base, on_guest_timer, g);
	ssl = g->timer ? SSL_new(l->server) : NULL;
	if (!ssl) {
		close(fd);
		guest_refuse(g, "no memory");
		return;
	}
	SSL_set_app_data(ssl, g);
	g->bev = bufferevent_openssl_socket_new(l->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
						BEV_OPT_CLOSE_ON_FREE);
	if (!g->bev) {
		close(fd);
		guest_refuse(g, "no memory");
		return;
	}
	g->ssl = ssl;
	if (link_prepare(g->bev) < 0) {
		guest_refuse(g, "no memory");
		return;
	}
	bufferevent_setcb(g->bev, on_guest_read, NULL, on_guest_event, g);
	bufferevent_setwatermark(g->bev, EV_READ, 0, FRAME_HELLO_MAX);
	link_timer(g->timer, LINK_SHAKE_MS);
}

static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S};
	struct links *l = arg;

	if (evtimer_add(l->resume, &pause) == 0)
		evconnlistener_disable(listener);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct links *l = arg;

	(void)fd;
	(void)what;
	evconnlistener_enable(l->listener);
}

int guests_listen(struct links *l, char *err, size_t err_size)
{
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_storage at;
	socklen_t len;
	int fd, one = 1, rc;

	addr_to_sockaddr(&l->config.listen, l->config.port, 0, &at, &len);
	fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		goto out;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, at.ss_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
		       at.ss_family == AF_INET6 ? IPV6_FREEBIND : IP_FREEBIND, &one,
		       sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, BACKLOG) < 0)
		goto out;
	l->listener = evconnlistener_new(l->base, on_accept, l,
					 LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	l->resume = evtimer_new(l->base, on_resume, l);
	if (l->listener && l->resume) {
		evconnlistener_set_error_cb(l->listener, on_accept_error);
		return 0;
	}
	if (l->listener)
		fd = -1; /* the listener's */
	errno = ENOMEM;
out:
	rc = -errno;
	snprintf(err, err_size, "cannot listen on %s port %u: %s",
		 addr_format(&l->config.listen, text), l->config.port, strerror(-rc));
	if (fd >= 0)
		close(fd);
	return rc;
}

void guests_close(struct links *l)
{
	struct guest *g;

	while ((g = TAILQ_FIRST(&l->guests)))
		guest_free(g);
	if (l->listener)
		evconnlistener_free(l->listener);
	if (l->resume)
		event_free(l->resume);
}
