/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One of several services whose connections are of no use without each other: each is a process of
 * its own, and the connections of all of them are one bundle.
 *
 *   member [-n INSTANCE] -s SERVICE -a ADDRESS -p PORT -b FILE [-w FILE]
 *
 * -b: the bundle's number; the first that accepts a connection makes it and writes it there.
 * -w: a connection of another node is ready when this file is there.
 *
 * A request has REQUEST octets, its answer ANSWER: the service's name and the request's number. So
 * the offsets are all there is of a connection's state.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <holdfast.h>

#include "tests/apps/listener.h"

#define REQUEST  8u
#define ANSWER   32u
#define CLIENTS  16
#define PROTOCOL 1u
#define LOOK_MS  20 /* between looks for the file of -w */

struct client {
	int fd; /* -1: free */
	struct hf_conn *conn;
	bool waits; /* to be ready */
	uint64_t got;
	uint64_t sent;
};

static struct client clients[CLIENTS];
static const char *service, *bundle_file, *ready_file;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "member %s: %s: %s\n", service, what, why);
	exit(1);
}

static struct client *take(int fd, struct hf_conn *conn)
{
	for (size_t i = 0; i < CLIENTS; i++)
		if (clients[i].fd < 0) {
			clients[i] = (struct client){.fd = fd, .conn = conn};
			hf_set_data(conn, &clients[i]);
			return &clients[i];
		}
	die("a client", "there are too many");
	return NULL;
}

static void let_go(struct client *c)
{
	close(c->fd);
	hf_forget(c->conn);
	c->fd = -1;
}

static void join(struct hf_conn *conn)
{
	uint64_t bundle = 0;
	FILE *f = fopen(bundle_file, "r");

	if (f && fscanf(f, "%" SCNu64, &bundle) != 1)
		die(bundle_file, "no number");
	if (hf_bundle(conn, &bundle))
		die("the bundle", "it cannot be joined");
	if (f) {
		fclose(f);
		return;
	}
	f = fopen(bundle_file, "w");
	if (!f || fprintf(f, "%" PRIu64 "\n", bundle) < 0 || fclose(f))
		die(bundle_file, strerror(errno));
}

static void say_ready(struct client *c)
{
	c->waits = ready_file && access(ready_file, F_OK);
	if (!c->waits)
		hf_ready(c->conn, 0);
}

/* What the client lacks of the answers to `got` octets of requests. */
static int answer(struct client *c)
{
	char text[64];

	while (c->sent < c->got / REQUEST * ANSWER) {
		size_t at = c->sent % ANSWER;
		ssize_t n;

		snprintf(text, sizeof(text), "%-22.22s%9" PRIu64 "\n", service,
			 c->sent / ANSWER % 1000000000);
		n = send(c->fd, text + at, ANSWER - at, MSG_NOSIGNAL);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		c->sent += n;
	}
	return 0;
}

static void serve(struct client *c)
{
	struct hf_checkpoint cp = {.protocol = PROTOCOL, .object = "answers"};
	uint64_t ticket;
	char buf[4096];
	ssize_t n = read(c->fd, buf, sizeof(buf));

	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0) {
		c->got += n;
		if (!hf_checkpoint(c->conn, &cp) && !hf_commit(c->conn, c->got, &ticket) &&
		    !hf_wait(c->conn, ticket, -1) && c->fd >= 0)
			n = answer(c) ? -1 : n;
	}
	if (n <= 0 && c->fd >= 0) {
		hf_end(c->conn);
		let_go(c);
	}
}

static void restored(void *arg, const struct hf_restored *r)
{
	struct client *c = take(r->fd, r->conn);

	(void)arg;
	c->got = r->received;
	c->sent = r->sent;
	printf("%s: member %u of %u\n", service, r->member, r->members);
	fflush(stdout);
	say_ready(c);
	if (answer(c))
		die("an answer", strerror(errno));
}

static void moved(void *arg, struct hf_conn *conn)
{
	(void)arg;
	let_go(hf_data(conn));
}

static void accept_client(struct hf *hf, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct hf_conn *conn;

	if (fd < 0)
		return;
	if (hf_guard(hf, fd, &conn)) {
		close(fd);
		return;
	}
	take(fd, conn);
	join(conn);
}

static void run(struct hf *hf, int listener)
{
	struct pollfd p[CLIENTS + 2];
	int timeout;

	for (;;) {
		timeout = hf_timeout(hf);
		p[0] = (struct pollfd){.fd = hf_fd(hf), .events = POLLIN};
		p[1] = (struct pollfd){.fd = listener, .events = POLLIN};
		for (size_t i = 0; i < CLIENTS; i++) {
			p[i + 2] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
			if (clients[i].fd >= 0 && clients[i].waits)
				timeout = LOOK_MS;
		}
		poll(p, CLIENTS + 2, timeout);
		for (size_t i = 0; i < CLIENTS; i++) {
			if (clients[i].fd >= 0 && clients[i].waits)
				say_ready(&clients[i]);
			if (clients[i].fd >= 0 && p[i + 2].revents)
				serve(&clients[i]);
		}
		if (p[1].revents)
			accept_client(hf, listener);
		hf_dispatch(hf);
	}
}

int main(int argc, char **argv)
{
	static const struct hf_ops ops = {.restored = restored, .moved = moved};
	const char *instance = NULL, *address = NULL;
	int opt, port = 0, listener;
	struct hf *hf;

	while ((opt = getopt(argc, argv, "n:s:a:p:b:w:")) != -1) {
		switch (opt) {
		case 'n':
			instance = optarg;
			break;
		case 's':
			service = optarg;
			break;
		case 'a':
			address = optarg;
			break;
		case 'p':
			port = atoi(optarg);
			break;
		case 'b':
			bundle_file = optarg;
			break;
		case 'w':
			ready_file = optarg;
			break;
		default:
			return 2;
		}
	}
	if (!service || !address || !port || !bundle_file) {
		fputs("usage: member [-n INSTANCE] -s SERVICE -a ADDRESS -p PORT -b FILE [-w "
		      "FILE]\n",
		      stderr);
		return 2;
	}
	for (size_t i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	signal(SIGPIPE, SIG_IGN);
	listener = listener_open(address, port);
	if (listener < 0)
		die(address, strerror(errno));
	if (hf_open(instance, service, &ops, NULL, &hf))
		die("hf_open", hf_error(NULL));
	if (hf_listen(hf, listener) || listen(listener, 16))
		die("hf_listen", hf_error(hf));
	run(hf, listener);
}
