/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A server for measuring the gate: takes what a client sends and, with -e, answers each request
 * with one octet once its commit is back.
 *
 *   sink [-n INSTANCE] [-e] [-i MS] -a ADDRESS -p PORT
 *
 * Without -n nothing is guarded. -i MS (may be 0.25): commits at most that often (0: with each
 * read).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <holdfast.h>

#define BLOCK (128 << 10)
#define MAX   64

struct client {
	int fd;
	struct hf_conn *conn;
	uint64_t received;
	uint64_t commit_ns; /* not before */
	uint64_t ticket;    /* answered when it is committed; 0: nothing to answer */
	bool due;           /* received, not given to a commit yet */
};

static struct hf *hf;
static struct client clients[MAX];
static bool echo;
static uint64_t interval_ns;
static char block[BLOCK];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void drop(struct client *c)
{
	if (c->conn) {
		hf_end(c->conn);
		hf_forget(c->conn);
	}
	close(c->fd);
	memset(c, 0, sizeof(*c));
	c->fd = -1;
}

static void answer(struct client *c)
{
	if (send(c->fd, "", 1, MSG_NOSIGNAL) != 1)
		drop(c);
}

static void commit(struct client *c)
{
	uint64_t now;

	if (!c->conn) {
		if (echo)
			answer(c);
		return;
	}
	c->due = true;
	if (interval_ns) {
		now = now_ns();
		if (now < c->commit_ns)
			return;
		c->commit_ns = now + interval_ns;
	}
	c->due = false;
	if (hf_commit(c->conn, c->received, echo ? &c->ticket : NULL))
		fprintf(stderr, "sink: %s\n", hf_error(hf));
}

static void take(struct client *c)
{
	ssize_t n = recv(c->fd, block, sizeof(block), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		if (!n && c->conn)
			hf_commit_end(c->conn, c->received, NULL);
		drop(c);
		return;
	}
	c->received += n;
	commit(c);
}

static void on_committed(void *arg, struct hf_conn *conn, uint64_t ticket)
{
	struct client *c = hf_data(conn);

	(void)arg;
	if (c && c->ticket && ticket >= c->ticket) {
		c->ticket = 0;
		answer(c);
	}
}

static void on_moved(void *arg, struct hf_conn *conn)
{
	struct client *c = hf_data(conn);

	(void)arg;
	if (c)
		drop(c);
}

static struct client *room(int fd)
{
	for (int i = 0; i < MAX; i++)
		if (clients[i].fd < 0) {
			clients[i].fd = fd;
			return &clients[i];
		}
	close(fd);
	return NULL;
}

/* What was received is all there is to know. */
static void on_restored(void *arg, const struct hf_restored *r)
{
	struct client *c = room(r->fd);

	(void)arg;
	if (!c) {
		hf_forget(r->conn);
		return;
	}
	c->conn = r->conn;
	c->received = r->received;
	hf_set_data(r->conn, c);
	hf_ready(r->conn, 0);
}

static void add(int fd)
{
	struct client *c = room(fd);
	int one = 1;

	if (!c)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (hf && hf_guard(hf, fd, &c->conn)) {
		fprintf(stderr, "sink: %s\n", hf_error(hf));
		drop(c);
		return;
	}
	if (hf)
		hf_set_data(c->conn, c);
}

/* Until the library, or a commit that waits for its time, needs a turn; NULL: for ever. */
static struct timespec *patience(struct timespec *t)
{
	int ms = hf ? hf_timeout(hf) : -1;
	uint64_t least = ms < 0 ? UINT64_MAX : (uint64_t)ms * 1000000, now = 0, left;

	for (int i = 0; i < MAX; i++) {
		if (clients[i].fd < 0 || !clients[i].due)
			continue;
		if (!now)
			now = now_ns();
		left = clients[i].commit_ns > now ? clients[i].commit_ns - now : 0;
		if (left < least)
			least = left;
	}
	*t = (struct timespec){(time_t)(least / 1000000000), (long)(least % 1000000000)};
	return least == UINT64_MAX ? NULL : t;
}

int main(int argc, char **argv)
{
	static const struct hf_ops ops = {
		.restored = on_restored, .committed = on_committed, .moved = on_moved};
	struct sockaddr_in sa = {.sin_family = AF_INET};
	struct pollfd p[MAX + 2];
	const char *instance = NULL;
	int opt, listener, one = 1, which[MAX + 2];

	while ((opt = getopt(argc, argv, "n:ei:a:p:")) != -1) {
		switch (opt) {
		case 'n':
			instance = optarg;
			break;
		case 'e':
			echo = true;
			break;
		case 'i':
			interval_ns = (uint64_t)(atof(optarg) * 1e6);
			break;
		case 'a':
			if (inet_pton(AF_INET, optarg, &sa.sin_addr) != 1)
				return 2;
			break;
		case 'p':
			sa.sin_port = htons(atoi(optarg));
			break;
		default:
			return 2;
		}
	}
	for (int i = 0; i < MAX; i++)
		clients[i].fd = -1;
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_TIMERSLACK, 1000ul);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa))) {
		perror("sink: bind");
		return 1;
	}
	if (instance && (hf_open(instance, "sink", &ops, NULL, &hf) || hf_listen(hf, listener))) {
		fprintf(stderr, "sink: %s\n", hf_error(hf));
		return 1;
	}
	if (listen(listener, 64))
		return 1;
	for (;;) {
		struct timespec left;
		int n = 0;

		p[n] = (struct pollfd){.fd = listener, .events = POLLIN};
		which[n++] = -1;
		if (hf) {
			p[n] = (struct pollfd){.fd = hf_fd(hf), .events = POLLIN};
			which[n++] = -1;
		}
		for (int i = 0; i < MAX; i++)
			if (clients[i].fd >= 0) {
				p[n] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
				which[n++] = i;
			}
		ppoll(p, (nfds_t)n, patience(&left), NULL);
		if (p[0].revents)
			add(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
		for (int i = 0; i < n; i++)
			if (which[i] >= 0 && p[i].revents && clients[which[i]].fd >= 0)
				take(&clients[which[i]]);
		if (hf)
			hf_dispatch(hf);
		for (int i = 0; i < MAX; i++)
			if (clients[i].fd >= 0 && clients[i].due)
				commit(&clients[i]);
	}
}
