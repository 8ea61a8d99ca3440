/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A small server of files over HTTP/1.1 whose downloads and uploads go on at another node when this
 * one dies: GET sends ROOT/PATH, PUT with a Content-Length writes it. The nodes share ROOT.
 *
 *   httpd [-n INSTANCE] [-s BYTES] -a ADDRESS -p PORT -r ROOT
 *
 * -s: no connection is sent more than so many bytes a second.
 *
 * What a standby needs to know of a connection is in one checkpoint: of a GET the path and the
 * header that was sent (it has the time of day), of a PUT the path, where its body begins in the
 * stream and how long it is. A header is committed before its first byte is written; a body's bytes
 * are committed when they are in the file. A checkpoint takes the place of the one before, so of a
 * client that sends requests without waiting for answers the next one is begun when it has
 * acknowledged all of the last answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <holdfast.h>

#include "tests/apps/listener.h"

#define HTTP        1u
#define REQUEST_MAX 8192
#define BLOCK       (256 * 1024)
#define DRAIN_MS    1 /* between looks at what clients have acknowledged: no event tells of it */

enum state {
	READING,    /* a request's head */
	DRAINING,   /* there is one, but the client has yet to acknowledge the last answer */
	COMMITTING, /* the answer is described; its commit is under way */
	SENDING,
	TAKING, /* a PUT's body */
	CLOSING,
};

struct answer {
	uint64_t start; /* offset in the out stream of the header's first byte */
	uint64_t size;  /* of the body */
	uint32_t head_len;
	char head[512];
};

struct upload {
	uint64_t start; /* offset in the in stream of the body's first byte */
	uint64_t size;
};

/* what a checkpoint's data holds */
struct saved {
	uint32_t kind; /* enum state: SENDING or TAKING, READING where nothing is under way */
	uint32_t last; /* the connection ends after this answer */
	uint64_t body_size;
	uint64_t body_start;
	uint32_t head_len;
	char head[512];
};

struct client {
	TAILQ_ENTRY(client) link; /* while DRAINING */
	int fd;
	int file;
	struct hf_conn *conn;
	enum state state;
	bool last;  /* close after the answer */
	bool ended; /* the client's FIN was committed: nothing more comes */
	char path[256];
	struct answer answer;
	struct upload upload;
	uint64_t sent;     /* out stream */
	uint64_t consumed; /* in stream, handled */
	uint64_t ticket;
	size_t len;
	char buf[REQUEST_MAX + 1];
};

static struct hf *hf;
static TAILQ_HEAD(, client) draining = TAILQ_HEAD_INITIALIZER(draining);
static int poller, root, listener;
static unsigned int pace; /* bytes a second a connection; 0: as fast as it goes */
static char block[BLOCK];

static void step(struct client *c);

static void watch(struct client *c, uint32_t events, int op)
{
	struct epoll_event e = {.events = events, .data.ptr = c};

	epoll_ctl(poller, op, c->fd, &e);
}

static void drop(struct client *c, bool end)
{
	if (c->state == DRAINING)
		TAILQ_REMOVE(&draining, c, link);
	if (c->conn && end)
		hf_end(c->conn);
	if (c->conn)
		hf_forget(c->conn);
	close(c->fd);
	if (c->file >= 0)
		close(c->file);
	free(c);
}

static struct client *add(int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fd = fd;
	c->file = -1;
	if (pace)
		setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &pace, sizeof(pace));
	watch(c, EPOLLIN, EPOLL_CTL_ADD);
	return c;
}

/* ---- checkpoints -------------------------------------------------------- */

static int commit(struct client *c, uint64_t *ticket)
{
	return c->ended ? hf_commit_end(c->conn, c->consumed, ticket)
			: hf_commit(c->conn, c->consumed, ticket);
}

static int save(struct client *c, uint32_t kind)
{
	struct saved s = {
		.kind = kind,
		.last = c->last,
		.body_size = kind == TAKING ? c->upload.size : c->answer.size,
		.body_start = c->upload.start,
		.head_len = kind == SENDING ? c->answer.head_len : 0,
	};
	struct hf_checkpoint cp = {
		.protocol = HTTP,
		.object = c->path,
		.object_start = c->answer.start,
		.data = &s,
		.len = sizeof(s),
	};
	int ret;

	memcpy(s.head, c->answer.head, s.head_len);
	ret = hf_checkpoint(c->conn, &cp);
	return ret ? ret : commit(c, &c->ticket);
}

/* ---- answers -------------------------------------------------------------- */

static int answer(struct client *c, const char *status, uint64_t size)
{
	char date[64];
	time_t now = time(NULL);
	struct tm tm;

	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
	c->answer.start = c->sent;
	c->answer.size = size;
	c->answer.head_len =
		snprintf(c->answer.head, sizeof(c->answer.head),
			 "HTTP/1.1 %s\r\nDate: %s\r\nContent-Length: %llu\r\n%s\r\n", status, date,
			 (unsigned long long)size, c->last ? "Connection: close\r\n" : "");
	c->state = COMMITTING;
	watch(c, 0, EPOLL_CTL_MOD);
	return save(c, SENDING);
}

/* true: all of it is with the kernel */
static int send_some(struct client *c)
{
	uint64_t at = c->sent - c->answer.start;

	while (at < c->answer.head_len + c->answer.size) {
		ssize_t n;

		if (at < c->answer.head_len) {
			n = send(c->fd, c->answer.head + at, c->answer.head_len - at,
				 MSG_NOSIGNAL | (c->answer.size ? MSG_MORE : 0));
		} else {
			off_t off = at - c->answer.head_len;
			uint64_t left = c->answer.size - off;

			n = sendfile(c->fd, c->file, &off, left < (1u << 20) ? left : 1u << 20);
			if (!n) {
				errno = EIO;
				n = -1;
			}
		}
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		at += n;
		c->sent += n;
	}
	return 1;
}

/* ---- requests -------------------------------------------------------------- */

static bool safe(const char *path)
{
	return *path && *path != '.' && !strstr(path, "/.") && path[strlen(path) - 1] != '/';
}

static int begin_get(struct client *c)
{
	struct stat st;

	c->file = safe(c->path) ? openat(root, c->path, O_RDONLY | O_CLOEXEC) : -1;
	if (c->file < 0 || fstat(c->file, &st) || !S_ISREG(st.st_mode)) {
		c->path[0] = 0;
		return answer(c, "404 Not Found", 0);
	}
	return answer(c, "200 OK", st.st_size);
}

/* What it had before is cut off at the end, not here: a server that hung may come to this line when
 * another one has long been writing the file. */
static int begin_put(struct client *c, uint64_t size)
{
	c->file = safe(c->path) ? openat(root, c->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) : -1;
	if (c->file < 0)
		return -EINVAL;
	c->upload.start = c->consumed;
	c->upload.size = size;
	c->answer.start = c->sent;
	c->state = TAKING;
	return save(c, TAKING);
}

static int parse(struct client *c, char *end)
{
	char method[8], path[256], *line, *save_line;
	size_t head = end + 4 - c->buf, rest = c->len - head;
	unsigned long long size = 0;
	int minor;

	*end = 0;
	if (sscanf(c->buf, "%7s /%255s HTTP/1.%d", method, path, &minor) != 3)
		return -EBADMSG;
	c->last = minor == 0;
	for (line = strtok_r(c->buf, "\r\n", &save_line); line;
	     line = strtok_r(NULL, "\r\n", &save_line)) {
		if (!strncasecmp(line, "content-length:", 15))
			size = strtoull(line + 15, NULL, 10);
		if (!strcasecmp(line, "connection: close"))
			c->last = true;
	}
	c->consumed += head;
	memmove(c->buf, c->buf + head, rest);
	c->len = rest;
	snprintf(c->path, sizeof(c->path), "%s", path);
	if (!strcmp(method, "GET"))
		return begin_get(c);
	if (strcmp(method, "PUT"))
		return -EBADMSG;
	/* no "100 Continue": who asks for it goes on by himself after a while */
	return begin_put(c, size);
}

static int write_body(struct client *c, const char *data, size_t len)
{
	uint64_t at = c->consumed - c->upload.start;

	while (len) {
		ssize_t n = pwrite(c->file, data, len, at);

		if (n < 0)
			return -errno;
		data += n;
		len -= n;
		at += n;
		c->consumed += n;
	}
	return 0;
}

/* Everything read so far goes into the file; then the client may know that it is there. */
static int take(struct client *c)
{
	uint64_t end = c->upload.start + c->upload.size;
	size_t n = c->len < end - c->consumed ? c->len : end - c->consumed;
	int ret = write_body(c, c->buf, n);

	if (!ret && n && c->consumed < end)
		ret = commit(c, NULL);
	if (ret)
		return ret;
	memmove(c->buf, c->buf + n, c->len - n);
	c->len -= n;
	while (c->consumed < end) {
		size_t want = end - c->consumed < sizeof(block) ? end - c->consumed : sizeof(block);
		ssize_t got = recv(c->fd, block, want, 0);

		if (got == 0)
			return -EPIPE;
		if (got < 0)
			return errno == EAGAIN ? 0 : -errno;
		ret = write_body(c, block, got);
		if (!ret && c->consumed < end)
			ret = commit(c, NULL);
		if (ret)
			return ret;
	}
	if (ftruncate(c->file, c->upload.size))
		return -errno;
	close(c->file);
	c->file = -1;
	c->path[0] = 0;
	return answer(c, "201 Created", 0);
}

static bool acknowledged(const struct client *c)
{
	int left;

	return ioctl(c->fd, SIOCOUTQ, &left) || !left;
}

static int drain(struct client *c)
{
	c->state = DRAINING;
	TAILQ_INSERT_TAIL(&draining, c, link);
	watch(c, 0, EPOLL_CTL_MOD);
	return 0;
}

static int read_head(struct client *c)
{
	char *end;
	ssize_t n;

	for (;;) {
		c->buf[c->len] = 0;
		end = strstr(c->buf, "\r\n\r\n");
		if (end)
			return acknowledged(c) ? parse(c, end) : drain(c);
		if (c->len == REQUEST_MAX)
			return -EMSGSIZE;
		n = recv(c->fd, c->buf + c->len, REQUEST_MAX - c->len, 0);
		if (n == 0)
			return c->len ? -EPIPE : -ESHUTDOWN;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->len += n;
	}
}

static void peer_ended(struct client *c)
{
	c->ended = true;
	c->last = true;
	commit(c, NULL);
}

/* The client ended it between two requests: it may hear our end, too. */
static void finish(struct client *c, int why)
{
	if (why == -ESHUTDOWN && !c->ended)
		peer_ended(c);
	drop(c, true);
}

/* A client that ends its direction while it is being answered: it sends its FIN again and again
 * until it is told that we know. */
static void look_for_end(struct client *c)
{
	char byte;

	if (!c->ended && !c->len && !recv(c->fd, &byte, 1, MSG_PEEK))
		peer_ended(c);
}

static void answered(struct client *c)
{
	if (c->file >= 0)
		close(c->file);
	c->file = -1;
	if (c->last) {
		look_for_end(c);
		drop(c, true);
		return;
	}
	c->state = READING;
	watch(c, EPOLLIN, EPOLL_CTL_MOD);
	step(c);
}

static void step(struct client *c)
{
	enum state before;
	int ret = 0;

	do {
		before = c->state;
		if (c->state == READING)
			ret = read_head(c);
		if (!ret && c->state == TAKING)
			ret = take(c);
		if (!ret && c->state == SENDING) {
			ret = send_some(c);
			if (ret == 1) {
				answered(c);
				return;
			}
			watch(c, EPOLLOUT | (c->ended ? 0 : EPOLLRDHUP | EPOLLET), EPOLL_CTL_MOD);
		}
	} while (!ret && c->state != before && c->state != COMMITTING);
	if (ret)
		finish(c, ret);
}

static void on_socket(struct client *c, uint32_t events)
{
	if ((c->state == COMMITTING || c->state == DRAINING) && events & (EPOLLERR | EPOLLHUP)) {
		drop(c, true);
		return;
	}
	if (c->state == SENDING && events & EPOLLRDHUP)
		look_for_end(c);
	step(c);
}

static void drain_all(void)
{
	struct client *c, *next;

	for (c = TAILQ_FIRST(&draining); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (!acknowledged(c))
			continue;
		TAILQ_REMOVE(&draining, c, link);
		c->state = READING;
		watch(c, EPOLLIN, EPOLL_CTL_MOD);
		step(c);
	}
}

static int timeout(void)
{
	int ms = hf_timeout(hf);

	return TAILQ_EMPTY(&draining) || (ms >= 0 && ms < DRAIN_MS) ? ms : DRAIN_MS;
}

/* ---- the library's events ----------------------------------------------------- */

static void on_committed(void *arg, struct hf_conn *conn, uint64_t ticket)
{
	struct client *c = hf_data(conn);

	(void)arg;
	if (c && c->state == COMMITTING && ticket >= c->ticket) {
		c->state = SENDING;
		step(c);
	}
}

static void on_moved(void *arg, struct hf_conn *conn)
{
	struct client *c = hf_data(conn);

	(void)arg;
	if (c)
		drop(c, false);
}

static void on_restored(void *arg, const struct hf_restored *r)
{
	struct client *c = add(r->fd);
	struct saved s;

	(void)arg;
	if (!c) {
		close(r->fd);
		return;
	}
	c->conn = r->conn;
	hf_set_data(c->conn, c);
	c->sent = r->sent;
	c->consumed = r->received;
	c->ended = r->peer_ended;
	if (r->checkpoint_count == 1 && r->checkpoints[0].len == sizeof(s)) {
		const struct hf_checkpoint *cp = &r->checkpoints[0];

		memcpy(&s, cp->data, sizeof(s));
		snprintf(c->path, sizeof(c->path), "%s", cp->object ? cp->object : "");
		c->last = s.last;
		c->answer.start = cp->object_start;
		c->answer.size = s.body_size;
		c->answer.head_len = s.head_len;
		memcpy(c->answer.head, s.head, sizeof(s.head));
		c->upload.start = s.body_start;
		c->upload.size = s.body_size;
		c->state = s.kind;
		if (s.kind == SENDING && r->ended &&
		    r->sent > cp->object_start + s.head_len + s.body_size) {
			hf_ready(c->conn, 0);
			drop(c, true);
			return;
		}
		if (s.kind == SENDING && r->sent > cp->object_start + s.head_len + s.body_size) {
			fprintf(stderr, "httpd: the client has more of '%s' than there is\n",
				c->path);
			drop(c, false);
			return;
		}
		if (*c->path)
			c->file = openat(root, c->path,
					 (s.kind == TAKING ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	}
	hf_ready(c->conn, 0);
	step(c);
}

/* ---- */

static void accept_all(void)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), ret;
		struct client *c;

		if (fd < 0)
			return;
		c = add(fd);
		if (!c) {
			close(fd);
			continue;
		}
		ret = hf_guard(hf, fd, &c->conn);
		if (ret) {
			fprintf(stderr, "httpd: %s\n", hf_error(hf));
			c->conn = NULL;
			drop(c, false);
			continue;
		}
		hf_set_data(c->conn, c);
		step(c);
	}
}

int main(int argc, char **argv)
{
	static const struct hf_ops ops = {
		.restored = on_restored,
		.committed = on_committed,
		.moved = on_moved,
	};
	const char *instance = NULL, *address = NULL, *dir = NULL;
	struct epoll_event events[64], e = {.events = EPOLLIN};
	int opt, port = 0;

	while ((opt = getopt(argc, argv, "n:s:a:p:r:")) != -1) {
		switch (opt) {
		case 'n':
			instance = optarg;
			break;
		case 's':
			pace = strtoul(optarg, NULL, 10);
			break;
		case 'a':
			address = optarg;
			break;
		case 'p':
			port = atoi(optarg);
			break;
		case 'r':
			dir = optarg;
			break;
		default:
			return 2;
		}
	}
	if (!address || !port || !dir) {
		fputs("usage: httpd [-n INSTANCE] [-s BYTES] -a ADDRESS -p PORT -r ROOT\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	poller = epoll_create1(EPOLL_CLOEXEC);
	listener = listener_open(address, port);
	if (root < 0 || poller < 0 || listener < 0) {
		fprintf(stderr, "httpd: %s\n", strerror(errno));
		return 1;
	}
	if (hf_open(instance, "httpd", &ops, NULL, &hf)) {
		fprintf(stderr, "httpd: %s\n", hf_error(hf));
		return 1;
	}
	if (hf_listen(hf, listener) || listen(listener, 4096)) {
		fprintf(stderr, "httpd: %s\n", hf_error(hf));
		return 1;
	}
	e.data.ptr = &listener;
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
	e.data.ptr = &hf;
	epoll_ctl(poller, EPOLL_CTL_ADD, hf_fd(hf), &e);
	for (;;) {
		int n = epoll_wait(poller, events, 64, timeout()), ret;
		bool library = n <= 0;

		/* connections first: what the library tells may free them */
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == &listener)
				accept_all();
			else if (events[i].data.ptr == &hf)
				library = true;
			else
				on_socket(events[i].data.ptr, events[i].events);
		}
		ret = library ? hf_dispatch(hf) : 0;
		if (ret && ret != -ENOTCONN)
			fprintf(stderr, "httpd: %s\n", hf_error(hf));
		drain_all();
	}
}
