/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The gate as it can be made without programs in the kernel: what a server sends goes to a queue of
 * netfilter, and leaves when another host has confirmed what came before. A rival for measurements.
 *
 *   nfqgate peer ADDR PORT         confirms
 *   nfqgate gate QUEUE ADDR PORT   holds
 *
 * It knows neither connections nor commits, which a real one would have to. Both print "ready".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libnetfilter_queue/libnetfilter_queue.h>

#define QUEUE_MAX 65536

struct gate {
	struct nfq_q_handle *queue;
	int peer;
	uint32_t newest; /* packet held; 0: none */
	uint32_t asked;  /* confirmation under way up to here; 0: none */
};

static int fail(const char *what)
{
	fprintf(stderr, "nfqgate: %s: %s\n", what, strerror(errno));
	return 1;
}

static void ready(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	puts("ready");
	fflush(stdout);
}

static int confirm(const struct sockaddr_in *at)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, fd;
	char b[4096];
	ssize_t n;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (const struct sockaddr *)at, sizeof(*at)) || listen(listener, 1))
		return fail("bind");
	ready(listener);
	fd = accept(listener, NULL, NULL);
	while ((n = recv(fd, b, sizeof(b), 0)) > 0)
		if (send(fd, b, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	return 0;
}

static void ask(struct gate *g)
{
	if (g->asked || !g->newest)
		return;
	g->asked = g->newest;
	g->newest = 0;
	if (send(g->peer, &g->asked, sizeof(g->asked), MSG_NOSIGNAL) != sizeof(g->asked))
		exit(fail("peer"));
}

static int on_packet(struct nfq_q_handle *queue, struct nfgenmsg *m, struct nfq_data *data,
		     void *arg)
{
	struct nfqnl_msg_packet_hdr *h = nfq_get_msg_packet_hdr(data);
	struct gate *g = arg;

	(void)queue;
	(void)m;
	if (h)
		g->newest = ntohl(h->packet_id);
	return 0;
}

static void release(struct gate *g)
{
	uint32_t upto;

	if (recv(g->peer, &upto, sizeof(upto), MSG_WAITALL) != sizeof(upto))
		exit(fail("peer"));
	nfq_set_verdict_batch(g->queue, upto, NF_ACCEPT);
	g->asked = 0;
}

static int hold(uint16_t number, const struct sockaddr_in *peer)
{
	struct nfq_handle *h = nfq_open();
	struct gate g = {.peer = socket(AF_INET, SOCK_STREAM, 0)};
	struct pollfd p[2];
	static char b[1 << 20];
	ssize_t n;

	if (!h || connect(g.peer, (const struct sockaddr *)peer, sizeof(*peer)))
		return fail("connect");
	g.queue = nfq_create_queue(h, number, on_packet, &g);
	if (!g.queue || nfq_set_mode(g.queue, NFQNL_COPY_META, 0) < 0 ||
	    nfq_set_queue_maxlen(g.queue, QUEUE_MAX) < 0)
		return fail("queue");
	/* big packets stay whole, like the ones that the other gate sees */
	nfq_set_queue_flags(g.queue, NFQA_CFG_F_GSO, NFQA_CFG_F_GSO);
	nfnl_rcvbufsiz(nfq_nfnlh(h), sizeof(b));
	ready(g.peer);
	p[0] = (struct pollfd){.fd = nfq_fd(h), .events = POLLIN};
	p[1] = (struct pollfd){.fd = g.peer, .events = POLLIN};
	for (;;) {
		poll(p, 2, -1);
		while (p[0].revents && (n = recv(p[0].fd, b, sizeof(b), MSG_DONTWAIT)) > 0)
			nfq_handle_packet(h, b, (int)n);
		if (p[1].revents)
			release(&g);
		ask(&g);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	bool gate = argc == 5 && !strcmp(argv[1], "gate");

	if ((!gate && (argc != 4 || strcmp(argv[1], "peer"))) ||
	    inet_pton(AF_INET, argv[2 + gate], &sa.sin_addr) != 1) {
		fprintf(stderr, "usage: nfqgate peer ADDR PORT | gate QUEUE ADDR PORT\n");
		return 2;
	}
	sa.sin_port = htons((uint16_t)atoi(argv[3 + gate]));
	return gate ? hold((uint16_t)atoi(argv[2]), &sa) : confirm(&sa);
}
