/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* usage: takeover-server FOLDER ADDRESS PORT: sends the file that a client names in its first line
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <holdfast.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS 1000
static struct client {
	int fd;       /* -1: this place is free */
	short events; /* POLLIN: its line is read; 0: the store is waited for; POLLOUT: it is sent
			 to */
	int file;
	off_t offset; /* in the file */
	char line[HF_OBJECT_MAX + 1];
	size_t len;
	struct hf_conn *conn;
} clients[CLIENTS];
static struct hf *hf;

static struct client *client_new(int fd, struct hf_conn *conn)
{
	for (struct client *c = clients; c < clients + CLIENTS; c++)
		if (c->fd < 0) {
			*c = (struct client){.fd = fd, .events = POLLIN, .file = -1, .conn = conn};
			hf_set_data(conn, c);
			fcntl(fd, F_SETFL, O_NONBLOCK);
			return c;
		}
	close(fd);
	hf_forget(conn); /* its record stays */
	return NULL;
}

static void client_close(struct client *c, int end)
{
	if (end)
		hf_end(c->conn); /* before close(2), or the client never sees the end */
	close(c->fd);
	close(c->file);
	hf_forget(c->conn);
	c->fd = -1;
}

static void client_read(struct client *c)
{
	struct hf_checkpoint cp = {.protocol = 1, .object = c->line}; /* begins at offset 0 */
	ssize_t n = read(c->fd, c->line + c->len, sizeof(c->line) - c->len);
	char *end = memchr(c->line, '\n', c->len += n > 0 ? (size_t)n : 0);

	if (!end && n > 0 && c->len < sizeof(c->line))
		return;
	if (end && !memchr(c->line, '/', c->len)) {
		*end = 0;
		c->file = open(c->line, O_RDONLY);
	}
	/* the store has to know what is sent before its first byte leaves */
	c->events = 0;
	if (c->file < 0 || hf_checkpoint(c->conn, &cp) || hf_commit(c->conn, c->len, NULL))
		client_close(c, 1);
}

static void committed(void *arg, struct hf_conn *conn, uint64_t ticket)
{
	((struct client *)hf_data(conn))->events = POLLOUT;
	(void)arg;
	(void)ticket;
}

static void client_write(struct client *c)
{
	char buf[65536];
	ssize_t n = pread(c->file, buf, sizeof(buf), c->offset);

	if (n <= 0 || (n = send(c->fd, buf, (size_t)n, MSG_NOSIGNAL)) < 0)
		client_close(c, 1);
	else
		c->offset += n;
}

static void restored(void *arg, const struct hf_restored *r)
{
	struct client *c = client_new(r->fd, r->conn);

	(void)arg;
	if (c && r->checkpoint_count) { /* else its line is still to be read */
		c->file = open(r->checkpoints[0].object, O_RDONLY);
		c->offset = (off_t)(r->sent - r->checkpoints[0].object_start);
		c->events = POLLOUT;
	}
	if (c)
		hf_ready(r->conn, 0);
}

static void moved(void *arg, struct hf_conn *conn)
{
	(void)arg;
	client_close(hf_data(conn), 0);
}

int main(int argc, char **argv)
{
	const struct hf_ops ops = {.restored = restored, .committed = committed, .moved = moved};
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, fd, err;
	struct sockaddr_in sa = {.sin_family = AF_INET};
	static struct pollfd p[CLIENTS + 2];
	struct hf_conn *conn;

	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (argc == 4)
		sa.sin_port = htons((uint16_t)atoi(argv[3]));
	if (argc != 4 || chdir(argv[1]) || inet_pton(AF_INET, argv[2], &sa.sin_addr) != 1 ||
	    bind(listener, (struct sockaddr *)&sa, sizeof(sa)))
		return 2;
	if (hf_open(NULL, "files", &ops, NULL, &hf) ||
	    hf_listen(hf, listener) || /* first: no connection escapes its record */
	    listen(listener, 128)) {
		fprintf(stderr, "takeover-server: %s\n", hf_error(hf));
		return 1;
	}
	fcntl(listener, F_SETFL, O_NONBLOCK);
	for (;;) {
		p[0] = (struct pollfd){.fd = hf_fd(hf), .events = POLLIN};
		p[1] = (struct pollfd){.fd = listener, .events = POLLIN};
		for (int i = 0; i < CLIENTS; i++)
			p[i + 2] = (struct pollfd){.fd = clients[i].events ? clients[i].fd : -1,
						   .events = clients[i].events};
		poll(p, CLIENTS + 2, hf_timeout(hf));
		for (int i = 0; i < CLIENTS; i++)
			if (p[i + 2].revents)
				(clients[i].events == POLLIN ? client_read
							     : client_write)(&clients[i]);
		if (p[1].revents && (fd = accept(listener, NULL, NULL)) >= 0) {
			if (hf_guard(hf, fd, &conn))
				close(fd);
			else
				client_new(fd, conn);
		}
		err = hf_dispatch(hf); /* the callbacks run here */
		if (err && err != -ENOTCONN)
			fprintf(stderr, "takeover-server: %s\n", hf_error(hf));
	}
}
