/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Small UDP datagrams as fast as one sender makes them.
 *
 *   blast recv ADDR PORT        prints "ready", then, when nothing has come for 300 ms, what came
 *   blast send ADDR PORT SIZE MS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define SIZE  2048

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static char data[BATCH][SIZE];
static struct iovec vecs[BATCH];
static struct mmsghdr messages[BATCH];

static void prepare(size_t size)
{
	for (int i = 0; i < BATCH; i++) {
		vecs[i] = (struct iovec){.iov_base = data[i], .iov_len = size};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vecs[i], .msg_iovlen = 1};
	}
}

static int receive(int s)
{
	struct timeval idle = {.tv_usec = 300000};
	unsigned long long count = 0;
	double first = 0, last = 0;
	int size = 16 << 20, n;

	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle));
	prepare(SIZE);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		n = recvmmsg(s, messages, BATCH, MSG_WAITFORONE, NULL);
		if (n <= 0) {
			if (n < 0 && errno != EAGAIN && errno != EINTR)
				return 1;
			if (count)
				break;
			continue;
		}
		last = now();
		if (!count)
			first = last;
		count += n;
	}
	printf("{\"received\":%llu,\"seconds\":%.6f}\n", count, last - first);
	return 0;
}

static int send_all(int s, size_t size, int ms)
{
	double start = now(), end = start + ms / 1e3;
	unsigned long long count = 0;
	int n;

	prepare(size);
	do {
		n = sendmmsg(s, messages, BATCH, 0);
		if (n > 0)
			count += n;
		else if (errno != ENOBUFS && errno != ECONNREFUSED && errno != EAGAIN)
			return 1;
	} while (now() < end);
	printf("{\"sent\":%llu,\"seconds\":%.6f}\n", count, now() - start);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc < 4 || inet_pton(AF_INET, argv[2], &addr.sin_addr) != 1)
		goto usage;
	addr.sin_port = htons(atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "recv")) {
		if (!bind(s, (void *)&addr, sizeof(addr)))
			return receive(s);
	} else if (argc == 6 && !strcmp(argv[1], "send")) {
		if (!connect(s, (void *)&addr, sizeof(addr)))
			return send_all(s, atoi(argv[4]), atoi(argv[5]));
	} else {
		goto usage;
	}
	perror("blast");
	return 1;
usage:
	fprintf(stderr, "usage: blast recv ADDR PORT\n       blast send ADDR PORT SIZE MS\n");
	return 2;
}
