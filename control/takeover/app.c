/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An application is freed in app_end() only, which only the loop's callbacks call:
 * what goes wrong elsewhere marks it `broken` and wakes `sweep`.
 *
 * The way of a commit: one wake-up takes all messages that have come (recvmmsg(2)), and what is to
 * be said about them goes out at the end of it (sendmmsg(2)).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/listener.h>

#include "control/takeover/app_inner.h"

#define BACKLOG 128
/* accept(2) failed (no descriptors left, say): leave it alone for so long */
#define ACCEPT_PAUSE_MS 1000
/* an application that connects and says nothing has a place among APPS_MAX */
#define HELLO_MS 5000
/* doubled by the kernel, which counts 10 000 restored connections as some 9 MB */
#define SOCKET_BYTES (8 << 20)
#define READ_ROUNDS  16 /* batches of one application before others have their turn */
#define GROUPS_MAX   256

void apps_soon(struct apps *s)
{
	if (s->sweeping)
		return;
	s->sweeping = true;
	event_active(s->sweep, EV_TIMEOUT, 0);
}

void app_break(struct app *a, const char *why)
{
	if (!a->broken)
		a->broken = why;
	apps_soon(a->apps);
}

/* ---- reading --------------------------------------------------------------- */

static void passed_read(struct msghdr *h, struct app_passed *ret)
{
	*ret = (struct app_passed){.lost = h->msg_flags & MSG_CTRUNC};
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		ret->count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(ret->fd, CMSG_DATA(c), (size_t)ret->count * sizeof(int));
	}
}

/* Takes what is there. False: no more may be read, `broken` says why. */
static bool read_batch(struct app *a, bool *ret_more)
{
	struct apps *s = a->apps;
	union {
		struct cmsghdr h;
		char b[CMSG_SPACE(sizeof(int))];
	} control[APP_READ_BATCH];
	struct mmsghdr batch[APP_READ_BATCH];
	struct iovec iov[APP_READ_BATCH];
	struct app_passed p;
	int n;

	for (int i = 0; i < APP_READ_BATCH; i++) {
		iov[i] = (struct iovec){s->in[i], APP_MESSAGE_MAX};
		batch[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i],
						   .msg_iovlen = 1,
						   .msg_control = &control[i],
						   .msg_controllen = sizeof(control[i].b)};
	}
	n = recvmmsg(a->fd, batch, APP_READ_BATCH, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
	*ret_more = n == APP_READ_BATCH;
	if (n < 0) {
		/* a peer that died with something unread: what it said is still there */
		*ret_more = errno == EINTR || errno == ECONNRESET;
		if (!*ret_more && errno != EAGAIN)
			a->broken = "its connection broke";
		return !a->broken;
	}
	for (int i = 0; i < n; i++) {
		passed_read(&batch[i].msg_hdr, &p);
		/* an empty packet and the end look alike */
		if (!batch[i].msg_len && !a->broken)
			a->broken = "it closed its connection";
		if (!a->broken && !a->leaving &&
		    (batch[i].msg_hdr.msg_flags & MSG_TRUNC ||
		     !app_consume(a, s->in[i], batch[i].msg_len, &p)))
			a->broken = "what it says is malformed";
		while (p.count)
			close(app_passed_take(&p));
	}
	return !a->broken;
}

static void app_end(struct app *a)
{
	struct apps *s = a->apps;

	TAILQ_REMOVE(&s->list, a, link);
	s->count--;
	if (a->welcome && a->broken)
		s->ops.gone(s->arg, a, a->broken);
	app_queue_clear(a);
	app_owned_clear(a);
	if (a->read)
		event_free(a->read);
	if (a->write)
		event_free(a->write);
	if (a->deadline)
		event_free(a->deadline);
	close(a->fd);
	free(a);
}

/* Sends what can be sent, and ends it if it is to be ended. From the loop's callbacks only. */
static void settle(struct app *a)
{
	app_flush(a);
	if (a->leaving && TAILQ_EMPTY(&a->out) && !a->broken)
		a->broken = "it was refused";
	if (a->broken)
		app_end(a);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	struct app *a = arg;
	bool more = true;

	(void)fd;
	(void)what;
	for (int i = 0; more && i < READ_ROUNDS; i++)
		if (!read_batch(a, &more))
			break;
	settle(a);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	struct app *a = arg;

	(void)fd;
	(void)what;
	a->full = false;
	settle(a);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct app *a = arg;

	(void)fd;
	(void)what;
	a->broken = "it did not say who it is";
	settle(a);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct apps *s = arg;
	struct app *next;

	(void)fd;
	(void)what;
	/* what gone() says to others comes with the next one */
	s->sweeping = false;
	for (struct app *a = TAILQ_FIRST(&s->list); a; a = next) {
		next = TAILQ_NEXT(a, link);
		settle(a);
	}
}

/* ---- accepting ------------------------------------------------------------- */

static bool in_group(int fd, gid_t gid)
{
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

/* The file's mode says the same, but a descriptor can be handed on. */
static bool allowed(const struct apps *s, int fd, uint32_t *ret_pid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	*ret_pid = (uint32_t)cred.pid;
	return cred.uid == 0 ||
	       (s->gid != (gid_t)-1 && (cred.gid == s->gid || in_group(fd, s->gid)));
}

static struct app *app_new(struct apps *s, int fd)
{
	struct timeval limit = {.tv_sec = HELLO_MS / 1000};
	struct app *a = calloc(1, sizeof(*a));
	int bytes = SOCKET_BYTES;

	if (!a)
		return NULL;
	a->apps = s;
	a->fd = fd;
	TAILQ_INIT(&a->out);
	TAILQ_INIT(&a->endings);
	TAILQ_INSERT_TAIL(&s->list, a, link);
	s->count++;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	a->read = event_new(s->base, fd, EV_READ | EV_PERSIST, on_read, a);
	a->write = event_new(s->base, fd, EV_WRITE, on_write, a);
	a->deadline = evtimer_new(s->base, on_deadline, a);
	if (!a->read || !a->write || !a->deadline || event_add(a->read, NULL) ||
	    evtimer_add(a->deadline, &limit)) {
		app_end(a);
		return NULL;
	}
	return a;
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len,
		      void *arg)
{
	struct apps *s = arg;
	struct app *a;
	uint32_t pid = 0;
	int error = 0;

	(void)l;
	(void)sa;
	(void)len;
	if (!allowed(s, fd, &pid))
		error = -EACCES;
	else if (s->count >= APPS_MAX)
		error = -EUSERS;
	if (error) {
		struct app_done d = {.h = {.type = APP_DONE, .len = sizeof(d)}, .error = error};

		strcpy(d.text, error == -EACCES ? "this user is neither root nor in the group"
						: "as many applications as may be are there");
		send(fd, &d, sizeof(d), MSG_DONTWAIT | MSG_NOSIGNAL);
		close(fd);
		return;
	}
	a = app_new(s, fd);
	if (a)
		a->pid = pid;
}

static void on_accept_error(struct evconnlistener *l, void *arg)
{
	struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS % 1000 * 1000,
				.tv_sec = ACCEPT_PAUSE_MS / 1000};
	struct apps *s = arg;

	evconnlistener_disable(l);
	evtimer_add(s->resume, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	evconnlistener_enable(((struct apps *)arg)->listener);
}

/* A socket file that nobody listens on is left from a daemon that was killed. */
static int clear_stale(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret;

	if (fd < 0)
		return -errno;
	ret = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) ? errno : 0;
	close(fd);
	/* EAGAIN: its backlog is full */
	if (!ret || ret == EAGAIN)
		return -EADDRINUSE;
	unlink(sa->sun_path);
	return 0;
}

static int listen_at(const char *path, int gid, int *ret_fd)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	mode_t mask;
	int err, fd;

	strcpy(sa.sun_path, path);
	err = clear_stale(&sa);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	err = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) ? -errno : 0;
	umask(mask);
	/* the group has its right before anybody can connect */
	if (!err && ((gid >= 0 && chown(path, (uid_t)-1, (gid_t)gid)) || chmod(path, 0660) ||
		     listen(fd, BACKLOG))) {
		err = -errno;
		unlink(path);
	}
	if (err) {
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int apps_open(struct event_base *base, const char *path, int gid, const char *node,
	      const struct apps_ops *ops, void *arg, struct apps **ret)
{
	struct apps *s;
	int err, fd = -1;

	if (strlen(path) >= sizeof(s->path) || strlen(node) >= HF_NAME_LEN)
		return -ENAMETOOLONG;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	TAILQ_INIT(&s->list);
	s->base = base;
	s->ops = *ops;
	s->arg = arg;
	s->gid = (gid_t)gid;
	s->role = HF_STANDBY;
	strcpy(s->node, node);
	s->resume = evtimer_new(base, on_resume, s);
	s->sweep = event_new(base, -1, 0, on_sweep, s);
	err = s->resume && s->sweep ? listen_at(path, gid, &fd) : -ENOMEM;
	if (!err) {
		strcpy(s->path, path);
		s->listener = evconnlistener_new(
			base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
		if (!s->listener) {
			close(fd);
			err = -ENOMEM;
		}
	}
	if (err) {
		apps_close(s);
		return err;
	}
	evconnlistener_set_error_cb(s->listener, on_accept_error);
	*ret = s;
	return 0;
}

void apps_close(struct apps *s)
{
	struct app *a;

	if (!s)
		return;
	while ((a = TAILQ_FIRST(&s->list))) {
		/* what was answered last still wants to go out */
		app_flush(a);
		a->broken = NULL;
		app_end(a);
	}
	if (s->listener)
		evconnlistener_free(s->listener);
	if (s->resume)
		event_free(s->resume);
	if (s->sweep)
		event_free(s->sweep);
	if (*s->path)
		unlink(s->path);
	free(s);
}

/* ---- what they are told ---------------------------------------------------- */

void apps_role(struct apps *s, uint32_t role)
{
	struct app_role m = {.role = role};
	struct app *a;

	s->role = role;
	for (a = TAILQ_FIRST(&s->list); a; a = TAILQ_NEXT(a, link))
		if (a->welcome)
			app_say(a, APP_ROLE, &m, sizeof(m));
}

size_t apps_count(const struct apps *s)
{
	return s->count;
}

struct app *apps_find(struct apps *s, const char *service)
{
	struct app *a;

	for (a = TAILQ_FIRST(&s->list); a; a = TAILQ_NEXT(a, link))
		if (a->listens && !a->broken && !strcmp(a->service, service))
			return a;
	return NULL;
}

/* FNV-1a: the same on every node. */
uint64_t apps_service_bit(const char *service)
{
	uint64_t sum = 0xcbf29ce484222325u;

	for (; *service; service++)
		sum = (sum ^ (uint8_t)*service) * 0x100000001b3u;
	return 1ull << (sum >> 58);
}

uint64_t apps_services(const struct apps *s)
{
	const struct app *a;
	uint64_t all = 0;

	TAILQ_FOREACH(a, &s->list, link)
	if (a->listens && !a->broken)
		all |= apps_service_bit(a->service);
	return all;
}

const char *app_service(const struct app *a)
{
	return a->service;
}

uint32_t app_pid(const struct app *a)
{
	return a->pid;
}

void app_set_data(struct app *a, void *data)
{
	a->data = data;
}

void *app_data(const struct app *a)
{
	return a->data;
}

/* Length of a protocol list on the wire; 0 where a limit is broken. */
static size_t protocols_size(const struct record_protocol *p, size_t count)
{
	size_t len = sizeof(struct app_restored);

	if (count > HF_PROTOCOLS_MAX)
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (p[i].object_len > HF_OBJECT_MAX || p[i].data_len > HF_DATA_MAX)
			return 0;
		len += sizeof(struct app_protocol) +
		       app_padded((size_t)p[i].object_len + p[i].data_len);
	}
	return len;
}

static void protocols_create(const struct record_protocol *p, size_t count, uint8_t *out)
{
	for (size_t i = 0; i < count; i++) {
		struct app_protocol *w = (struct app_protocol *)out;

		*w = (struct app_protocol){.protocol = p[i].protocol,
					   .object_len = p[i].object_len,
					   .data_len = p[i].data_len,
					   .object_start = p[i].object_start};
		out += sizeof(*w);
		if (p[i].object_len)
			memcpy(out, p[i].object, p[i].object_len);
		if (p[i].data_len)
			memcpy(out + p[i].object_len, p[i].data, p[i].data_len);
		out += app_padded((size_t)p[i].object_len + p[i].data_len);
	}
}

static int restored(struct app *a, uint32_t conn, const struct app_restored *m,
		    const struct record_protocol *p, size_t count, int fd)
{
	size_t len = protocols_size(p, count);
	struct app_restored *out;
	struct app_message *made;
	int err;

	if (a->broken)
		return -EPIPE;
	if (!len)
		return -EINVAL;
	made = app_message_new(APP_RESTORED, (uint32_t)len);
	if (!made)
		return -ENOMEM;
	/* always as a new one, whatever it had under that number before */
	app_disown(a, conn);
	err = app_own(a, conn);
	if (err) {
		free(made);
		return err;
	}
	out = (struct app_restored *)made->bytes;
	*out = *m;
	out->h = (struct app_header){
		.type = APP_RESTORED, .len = (uint32_t)len, .conn = app_handle(a, conn)};
	out->count = (uint32_t)count;
	protocols_create(p, count, (uint8_t *)(out + 1));
	made->fd = fd;
	app_queue(a, made);
	/* it can begin with these while we restore the others */
	if (a->out_count >= APP_SEND_BATCH)
		app_flush(a);
	return 0;
}

int app_restored(struct app *a, uint32_t conn, const struct app_restored *m,
		 const struct record_protocol *p, size_t count, int fd)
{
	int err = restored(a, conn, m, p, count, fd);

	if (err)
		close(fd);
	return err;
}

void app_ended(struct app *a, uint32_t conn)
{
	uint32_t serial;

	if (app_ending_take(a, conn, &serial))
		app_answer(a, serial, app_handle(a, conn), 0, "");
}

void app_committed(struct app *a, uint32_t conn, uint64_t ticket)
{
	struct app_committed m = {.ticket = ticket};

	if (!app_owns(a, conn))
		return;
	m.h.conn = app_handle(a, conn);
	app_say(a, APP_COMMITTED, &m, sizeof(m));
}

void app_moved(struct app *a, uint32_t conn)
{
	struct app_end m = {.h.conn = 0};
	uint32_t serial;

	if (!app_owns(a, conn))
		return;
	m.h.conn = app_handle(a, conn);
	app_say(a, APP_MOVED, &m, sizeof(m));
	if (app_ending_take(a, conn, &serial))
		app_answer(a, serial, m.h.conn, -EPIPE, "the connection has moved");
	app_disown(a, conn);
}

void app_drop(struct app *a, uint32_t conn)
{
	/* whoever waits for an answer gets one */
	app_ended(a, conn);
	app_disown(a, conn);
}
