/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One timer a session, `deadline`, armed anew for each of HANDSHAKE, REQUEST,
 * WAITING, REPLY and LINGER. A session is freed in session_end() only.
 *
 * What a stranger learns: a claimed identity that is unknown is given a random
 * key, so that its binder fails exactly as a wrong key's does (RFC 8446 section
 * 4.2.11, RFC 9257 section 5.3: no oracle for identities).
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include "control/addr.h"
#include "control/peer/tls_common.h"

#define BACKLOG 128
/* accept(2) failed (no descriptors left, say): leave it alone for so long */
#define ACCEPT_PAUSE_S 1

enum stage {
	STAGE_HANDSHAKE,
	STAGE_REQUEST, /* authenticated from here on */
	STAGE_WAITING, /* for tls_session_reply() */
	STAGE_REPLY,   /* being written */
	STAGE_LINGER,  /* written; the peer closes, so that no RST overtakes the reply */
};

static const char *const stage_names[] = {
	[STAGE_HANDSHAKE] = "its handshake was done",
	[STAGE_REQUEST] = "its request was complete",
	[STAGE_WAITING] = "there was a reply",
	[STAGE_REPLY] = "it took the reply",
	[STAGE_LINGER] = "it closed",
};

struct tls_session {
	TAILQ_ENTRY(tls_session) link; /* oldest first */
	struct tls_server *server;
	struct bufferevent *bev;
	SSL *ssl; /* the bufferevent's */
	struct event *deadline;
	struct tls_ends ends;
	char identity[TLS_IDENTITY_MAX + 1]; /* as claimed until STAGE_REQUEST */
	bool known;
	bool reported; /* counted and told already */
	bool refused;
	enum stage stage;
	size_t announced; /* bytes of the request, counted in server->request_bytes */
};

struct listener {
	TAILQ_ENTRY(listener) link;
	struct tls_server *server;
	struct evconnlistener *socket;
	struct hf_addr addr;
	uint16_t port;
};

struct tls_server {
	struct event_base *base;
	struct tls_server_ops ops;
	void *arg;
	uint32_t flows_max;
	uint32_t step_ms;
	SSL_CTX *ctx;
	struct event *resume;
	uint8_t nobodys_key[KEY_LEN];
	size_t request_bytes;
	struct tls_counts counts;
	TAILQ_HEAD(, tls_session) sessions;
	TAILQ_HEAD(, listener) listeners;
};

/* ---- end ----------------------------------------------------------------- */

static void session_failed(struct tls_session *s, const char *why)
{
	struct tls_server *t = s->server;

	if (s->reported)
		return;
	s->reported = true;
	t->counts.failed++;
	if (t->ops.failed)
		t->ops.failed(t->arg, why, s->identity, &s->ends);
}

/* `why` NULL: nothing to report */
static void session_end(struct tls_session *s, const char *why)
{
	struct tls_server *t = s->server;

	if (s->stage == STAGE_WAITING && t->ops.gone)
		t->ops.gone(t->arg, s);
	if (why)
		session_failed(s, why);
	TAILQ_REMOVE(&t->sessions, s, link);
	t->counts.open--;
	t->request_bytes -= s->announced;
	if (s->deadline)
		event_free(s->deadline);
	if (s->ssl)
		SSL_set_app_data(s->ssl, NULL);
	if (s->bev)
		bufferevent_free(s->bev);
	free(s);
}

static void session_crowded(struct tls_session *s)
{
	if (!s->reported)
		s->server->counts.crowded++;
	session_end(s, "it gave way to a newer connection");
}

__attribute__((format(printf, 2, 3))) static void session_endf(struct tls_session *s,
							       const char *format, ...)
{
	char why[TLS_WHY_LEN];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	session_end(s, why);
}

static void session_stage(struct tls_session *s, enum stage stage)
{
	uint32_t ms = s->server->step_ms;
	struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	s->stage = stage;
	evtimer_add(s->deadline, &limit);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct tls_session *s = arg;

	(void)fd;
	(void)what;
	if (!s->reported)
		s->server->counts.timeouts++;
	session_endf(s, "time was over before %s", stage_names[s->stage]);
}

/* ---- request and reply --------------------------------------------------- */

static void session_flushed(struct tls_session *s)
{
	struct tls_server *t = s->server;

	if (!s->reported) {
		s->reported = true;
		if (s->refused)
			t->counts.refused++;
		else
			t->counts.connected++;
	}
	session_stage(s, STAGE_LINGER);
	SSL_shutdown(s->ssl);
	ERR_clear_error();
	shutdown(bufferevent_getfd(s->bev), SHUT_WR);
}

static int session_send(struct tls_session *s, const struct connect_reply *reply)
{
	size_t size = connect_reply_size(reply);
	uint8_t *bytes;
	ssize_t n;
	int rc;

	if (size == 0)
		return -EINVAL;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	n = connect_create_reply(reply, bytes, size);
	rc = n < 0 ? (int)n : 0;
	if (n > 0) {
		s->refused = reply->refusal != WIRE_REFUSAL_NONE;
		session_stage(s, STAGE_REPLY);
		/* whatever else it says is thrown away */
		bufferevent_setwatermark(s->bev, EV_READ, 0, TLS_READ_AHEAD);
		if (bufferevent_write(s->bev, bytes, n) < 0)
			rc = -ENOMEM;
	}
	free(bytes);
	return rc;
}

/* We say no ourselves: the callee is not asked. */
static void session_refuse(struct tls_session *s, enum wire_refusal refusal, const char *why)
{
	struct connect_reply reply = {.refusal = refusal};
	struct evbuffer *in = bufferevent_get_input(s->bev);

	session_failed(s, why);
	evbuffer_drain(in, evbuffer_get_length(in));
	if (session_send(s, &reply) < 0)
		session_end(s, NULL);
}

int tls_session_reply(struct tls_session *s, const struct connect_reply *reply)
{
	int rc;

	s->stage = STAGE_REPLY; /* gone() is not for who replied */
	rc = session_send(s, reply);
	if (rc == -EINVAL)
		session_refuse(s, WIRE_REFUSAL_MALFORMED, "our reply broke the protocol");
	else if (rc < 0)
		session_end(s, "there was no memory for the reply");
	return rc;
}

static void session_asked(struct tls_session *s, struct connect_request *request)
{
	struct tls_server *t = s->server;
	uint8_t exported[WIRE_EXPORT_LEN];

	if (tls_export(s->ssl, exported) < 0) {
		session_end(s, "TLS gave no keys");
		return;
	}
	session_stage(s, STAGE_WAITING);
	/* one byte more is a peer that speaks out of turn */
	tls_await(s->bev, 1);
	t->ops.request(t->arg, s, s->identity, request, &s->ends, exported);
	OPENSSL_cleanse(exported, sizeof(exported));
}

static void session_read_request(struct tls_session *s)
{
	struct evbuffer *in = bufferevent_get_input(s->bev);
	size_t len = evbuffer_get_length(in), need;
	struct tls_server *t = s->server;
	struct connect_request request;
	ssize_t n;

	n = connect_consume_request(evbuffer_pullup(in, -1), len, t->flows_max, &request, &need);
	switch (n) {
	case -EAGAIN:
		t->request_bytes -= s->announced;
		s->announced = need;
		t->request_bytes += need;
		if (t->request_bytes > TLS_REQUEST_BYTES_MAX)
			session_refuse(s, WIRE_REFUSAL_FLOWS,
				       "too much is being announced by others at this moment");
		else
			tls_await(s->bev, need);
		return;
	case -EPROTONOSUPPORT:
		session_refuse(s, WIRE_REFUSAL_VERSION, connect_refusal_text(WIRE_REFUSAL_VERSION));
		return;
	case -E2BIG:
		session_refuse(s, WIRE_REFUSAL_FLOWS, "it announced too many flows");
		return;
	case -ENOMEM:
		session_refuse(s, WIRE_REFUSAL_FLOWS, "there was no memory for its flows");
		return;
	}
	if (n < 0 || (size_t)n != len) {
		if (n >= 0)
			connect_request_clear(&request);
		session_refuse(s, WIRE_REFUSAL_MALFORMED,
			       connect_refusal_text(WIRE_REFUSAL_MALFORMED));
		return;
	}
	evbuffer_drain(in, len);
	session_asked(s, &request);
	connect_request_clear(&request);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct tls_session *s = arg;

	switch (s->stage) {
	case STAGE_REQUEST:
		session_read_request(s);
		break;
	case STAGE_WAITING:
		session_end(s, "it spoke out of turn");
		break;
	default:
		evbuffer_drain(in, evbuffer_get_length(in));
	}
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct tls_session *s = arg;

	if (s->stage == STAGE_REPLY && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		session_flushed(s);
}

/* ---- handshake ----------------------------------------------------------- */

/* Also for an unknown identity we go on, with a key that nobody has. */
static int find_psk(SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **ret)
{
	struct tls_session *s = SSL_get_app_data(ssl);
	uint8_t key[KEY_LEN];

	*ret = NULL;
	if (!s)
		return 0;
	memset(s->identity, 0, sizeof(s->identity));
	s->known = false;
	if (tls_identity_ok((const char *)identity, len)) {
		memcpy(s->identity, identity, len);
		s->known = s->server->ops.lookup_key(s->server->arg, s->identity, key);
	}
	*ret = tls_psk_session(ssl, s->known ? key : s->server->nobodys_key);
	OPENSSL_cleanse(key, sizeof(key));
	return *ret != NULL;
}

/* One session an identity, so many sessions in all. */
static bool make_room_for_session(struct tls_session *s)
{
	struct tls_server *t = s->server;
	struct tls_session *other, *next, *lingers = NULL;
	unsigned int sessions = 0;

	for (other = TAILQ_FIRST(&t->sessions); other; other = next) {
		next = TAILQ_NEXT(other, link);
		if (other == s || other->stage == STAGE_HANDSHAKE)
			continue;
		if (!strcmp(other->identity, s->identity)) {
			session_crowded(other);
			continue;
		}
		if (!lingers && other->stage == STAGE_LINGER)
			lingers = other;
		sessions++;
	}
	if (sessions >= TLS_SESSIONS_MAX && lingers) {
		session_end(lingers, NULL);
		sessions--;
	}
	return sessions < TLS_SESSIONS_MAX;
}

static void session_authentic(struct tls_session *s)
{
	if (!s->known) {
		session_end(s, "TLS let an unknown mobile in");
		return;
	}
	if (!make_room_for_session(s)) {
		session_crowded(s);
		return;
	}
	session_stage(s, STAGE_REQUEST);
	bufferevent_setwatermark(s->bev, EV_READ, sizeof(struct wire_connect), TLS_READ_AHEAD);
	if (bufferevent_enable(s->bev, EV_READ) < 0)
		session_end(s, "there was no memory to read its request");
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct tls_session *s = arg;
	unsigned long e;
	int error = 0;

	if (what & BEV_EVENT_CONNECTED) {
		session_authentic(s);
		return;
	}
	e = tls_take_error(bev, what, &error);
	if (s->stage == STAGE_LINGER) {
		session_end(s, NULL);
	} else if (s->stage == STAGE_HANDSHAKE &&
		   ERR_GET_REASON(e) == SSL_R_BINDER_DOES_NOT_VERIFY) {
		s->server->counts.auth++;
		session_end(s, s->known ? "its key is another one than ours"
					: "no mobile of this name is known");
	} else if (e) {
		session_endf(s, "TLS failed before %s: %s", stage_names[s->stage],
			     tls_error_text(e));
	} else if (error != 0) {
		session_endf(s, "the connection broke before %s: %s", stage_names[s->stage],
			     strerror(error));
	} else {
		session_endf(s, "it closed the connection before %s", stage_names[s->stage]);
	}
}

/* ---- new connections ----------------------------------------------------- */

static bool same_source(const struct hf_addr *a, const struct hf_addr *b)
{
	return !memcmp(a, b, addr_is_v4(a) ? 16 : 8);
}

/* The oldest gives way: who holds all places has to be faster than every honest handshake. */
static void make_room_for_handshake(struct tls_server *t, const struct hf_addr *source)
{
	struct tls_session *s, *oldest = NULL, *oldest_here = NULL;
	unsigned int all = 0, here = 0;

	TAILQ_FOREACH(s, &t->sessions, link)
	{
		if (s->stage != STAGE_HANDSHAKE)
			continue;
		all++;
		if (!oldest)
			oldest = s;
		if (!same_source(&s->ends.peer, source))
			continue;
		here++;
		if (!oldest_here)
			oldest_here = s;
	}
	if (here >= TLS_HANDSHAKES_SOURCE_MAX)
		session_crowded(oldest_here);
	else if (all >= TLS_HANDSHAKES_MAX)
		session_crowded(oldest);
}

static int ends_of(int fd, const struct sockaddr *peer, struct tls_ends *ret)
{
	struct sockaddr_storage local = {0};
	socklen_t len = sizeof(local);
	struct tls_ends ends;

	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		return -errno;
	if (addr_from_sockaddr(peer, &ends.peer, &ends.peer_port) < 0 ||
	    addr_from_sockaddr((struct sockaddr *)&local, &ends.local, &ends.local_port) < 0)
		return -EAFNOSUPPORT;
	*ret = ends;
	return 0;
}

static void on_accept(struct evconnlistener *socket, evutil_socket_t fd, struct sockaddr *peer,
		      int len, void *arg)
{
	struct listener *l = arg;
	struct tls_server *t = l->server;
	struct tls_session *s;
	struct tls_ends ends;
	int one = 1;
	SSL *ssl;

	(void)socket;
	(void)len;
	t->counts.accepted++;
	if (ends_of(fd, peer, &ends) < 0) {
		t->counts.failed++;
		close(fd);
		return;
	}
	make_room_for_handshake(t, &ends.peer);
	s = calloc(1, sizeof(*s));
	if (!s) {
		t->counts.failed++;
		close(fd);
		return;
	}
	s->server = t;
	s->ends = ends;
	TAILQ_INSERT_TAIL(&t->sessions, s, link);
	t->counts.open++;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* only faster */

	ssl = SSL_new(t->ctx);
	if (!ssl)
		goto out;
	SSL_set_app_data(ssl, s);
	s->deadline = evtimer_new(t->base, on_deadline, s);
	if (!s->deadline) {
		SSL_free(ssl);
		goto out;
	}
	/* on failure too the SSL is the bufferevent's, the descriptor is not */
	s->bev = bufferevent_openssl_socket_new(t->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
						BEV_OPT_CLOSE_ON_FREE);
	if (!s->bev)
		goto out;
	s->ssl = ssl;
	bufferevent_openssl_set_allow_dirty_shutdown(s->bev, 1);
	bufferevent_setcb(s->bev, on_read, on_written, on_event, s);
	session_stage(s, STAGE_HANDSHAKE);
	return;
out:
	close(fd);
	ERR_clear_error();
	session_end(s, "there was no memory for its handshake");
}

static void on_accept_error(struct evconnlistener *socket, void *arg)
{
	struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S};
	struct listener *l = arg;

	if (evtimer_add(l->server->resume, &pause) == 0)
		evconnlistener_disable(socket);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct tls_server *t = arg;
	struct listener *l;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(l, &t->listeners, link)
	evconnlistener_enable(l->socket);
}

/* ---- listening sockets --------------------------------------------------- */

static void listener_free(struct listener *l)
{
	TAILQ_REMOVE(&l->server->listeners, l, link);
	evconnlistener_free(l->socket);
	free(l);
}

static struct listener *find_listener(const struct tls_server *t, const struct hf_addr *addr,
				      uint16_t port)
{
	struct listener *l;

	TAILQ_FOREACH(l, &t->listeners, link)
	if (addr_equal(&l->addr, addr) && l->port == port)
		return l;
	return NULL;
}

int tls_server_listen_fd(struct tls_server *t, int fd)
{
	struct sockaddr_storage local = {0};
	socklen_t len = sizeof(local);
	struct listener *l;
	int rc;

	l = calloc(1, sizeof(*l));
	if (!l) {
		rc = -ENOMEM;
		goto out;
	}
	l->server = t;
	if (getsockname(fd, (struct sockaddr *)&local, &len) < 0) {
		rc = -errno;
		goto out;
	}
	rc = addr_from_sockaddr((struct sockaddr *)&local, &l->addr, &l->port);
	if (rc < 0)
		goto out;
	if (listen(fd, BACKLOG) < 0) {
		rc = -errno;
		goto out;
	}
	/* backlog 0: libevent leaves listen(2) to us, whose errno is the one to report */
	l->socket = evconnlistener_new(t->base, on_accept, l,
				       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!l->socket) {
		rc = -ENOMEM;
		goto out;
	}
	evconnlistener_set_error_cb(l->socket, on_accept_error);
	TAILQ_INSERT_TAIL(&t->listeners, l, link);
	return 0;
out:
	free(l);
	close(fd);
	return rc;
}

int tls_server_listen(struct tls_server *t, const struct hf_addr *addr, uint16_t port)
{
	struct sockaddr_storage local;
	socklen_t len;
	int fd, rc, one = 1;

	if (port != 0 && find_listener(t, addr, port))
		return -EEXIST;
	addr_to_sockaddr(addr, port, 0, &local, &len);
	fd = socket(local.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		goto out;
	if (local.ss_family == AF_INET6) {
		if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0 ||
		    setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one)) < 0)
			goto out;
	} else if (setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) < 0) {
		goto out;
	}
	if (bind(fd, (struct sockaddr *)&local, len) < 0)
		goto out;
	return tls_server_listen_fd(t, fd);
out:
	rc = -errno;
	close(fd);
	return rc;
}

int tls_server_unlisten(struct tls_server *t, const struct hf_addr *addr, uint16_t port)
{
	struct listener *l = find_listener(t, addr, port);

	if (!l)
		return -ENOENT;
	listener_free(l);
	return 0;
}

uint16_t tls_server_port(const struct tls_server *t, unsigned int n)
{
	struct listener *l;

	TAILQ_FOREACH(l, &t->listeners, link)
	if (n-- == 0)
		return l->port;
	return 0;
}

/* ---- server -------------------------------------------------------------- */

int tls_server_new(struct event_base *base, const struct tls_server_ops *ops, void *arg,
		   uint32_t flows_max, struct tls_server **ret)
{
	struct tls_server *t;
	int rc = -EIO;

	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	TAILQ_INIT(&t->sessions);
	TAILQ_INIT(&t->listeners);
	t->base = base;
	t->ops = *ops;
	t->arg = arg;
	t->flows_max = flows_max ? flows_max : WIRE_CONNECT_FLOWS_MAX;
	t->step_ms = TLS_STEP_TIMEOUT_MS;
	t->ctx = tls_ctx_new(TLS_server_method());
	if (!t->ctx || RAND_priv_bytes(t->nobodys_key, KEY_LEN) != 1)
		goto out;
	SSL_CTX_set_psk_find_session_callback(t->ctx, find_psk);
	rc = -ENOMEM;
	t->resume = evtimer_new(base, on_resume, t);
	if (!t->resume)
		goto out;
	*ret = t;
	return 0;
out:
	tls_server_free(t);
	return rc;
}

void tls_server_free(struct tls_server *t)
{
	struct tls_session *s;
	struct listener *l;

	if (!t)
		return;
	while ((l = TAILQ_FIRST(&t->listeners)))
		listener_free(l);
	while ((s = TAILQ_FIRST(&t->sessions)))
		session_end(s, NULL);
	if (t->resume)
		event_free(t->resume);
	SSL_CTX_free(t->ctx);
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
}

void tls_server_counts(const struct tls_server *t, struct tls_counts *ret)
{
	*ret = t->counts;
}

void tls_server_set_timeout(struct tls_server *t, uint32_t step_ms)
{
	t->step_ms = step_ms;
}
