/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A numbered message every so often and when its echo came: what an interactive
 * application feels of a switch.
 *
 *   ticker echo PROTO ADDR PORT
 *   ticker send PROTO ADDR PORT INTERVAL_US   until standard input ends; waits for stragglers, then
 *                                             prints JSON: {"sent": [ns...], "came": [[number,
 * ns]...]}
 *
 * PROTO is udp, tcp or mptcp. Times are CLOCK_MONOTONIC.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define SIZE     64
#define MESSAGES 1000000u
/* ms that an answer may take after the last message: a stream sends again what was lost */
#define STRAGGLE_UDP    300
#define STRAGGLE_STREAM 4000

struct came {
	uint64_t number;
	int64_t ns;
};

static int64_t *sent;
static struct came *came;
static uint32_t sent_count, came_count;
static volatile bool over;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void *receive(void *arg)
{
	int s = *(int *)arg;
	char buf[65536];
	size_t have = 0;
	int64_t now;
	ssize_t n;

	while (!over) {
		n = recv(s, buf + have, sizeof(buf) - have, 0);
		now = now_ns();
		if (n == 0)
			break;
		if (n < 0) {
			if (errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED)
				continue;
			break;
		}
		have += n;
		n = 0;
		for (; have - n >= SIZE; n += SIZE) {
			if (came_count < MESSAGES) {
				memcpy(&came[came_count].number, buf + n, 8);
				came[came_count++].ns = now;
			}
		}
		have -= n;
		memmove(buf, buf + n, have);
	}
	return NULL;
}

static bool asked_to_stop(void)
{
	struct pollfd p = {.fd = 0, .events = POLLIN};
	char c;

	return poll(&p, 1, 0) > 0 && read(0, &c, 1) <= 0;
}

static void tick(int s, int64_t interval)
{
	int64_t next = now_ns();

	while (!asked_to_stop() && sent_count < MESSAGES) {
		struct timespec until = {next / 1000000000, next % 1000000000};
		char message[SIZE] = {0};
		uint64_t number = sent_count;

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		memcpy(message, &number, 8);
		sent[sent_count++] = now_ns();
		/* an error is a message that does not come back */
		if (send(s, message, SIZE, MSG_NOSIGNAL) < 0 && errno == EPIPE)
			break;
		next += interval;
	}
}

static int report(void)
{
	printf("{\"sent\":[");
	for (uint32_t i = 0; i < sent_count; i++)
		printf("%s%lld", i ? "," : "", (long long)sent[i]);
	printf("],\"came\":[");
	for (uint32_t i = 0; i < came_count; i++)
		printf("%s[%llu,%lld]", i ? "," : "", (unsigned long long)came[i].number,
		       (long long)came[i].ns);
	printf("]}\n");
	return 0;
}

static int client(int s, bool stream, int64_t interval_us)
{
	struct timeval idle = {.tv_usec = 50000};
	struct sched_param urgent = {.sched_priority = 10};
	pthread_t reader;
	int64_t end;
	int one = 1;

	sent = calloc(MESSAGES, sizeof(*sent));
	came = calloc(MESSAGES, sizeof(*came));
	if (!sent || !came)
		return 1;
	sched_setscheduler(0, SCHED_FIFO, &urgent);
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle));
	if (pthread_create(&reader, NULL, receive, &s))
		return 1;
	tick(s, interval_us * 1000);
	end = now_ns() + (stream ? STRAGGLE_STREAM : STRAGGLE_UDP) * 1000000ll;
	while (came_count < sent_count && now_ns() < end)
		usleep(10000);
	over = true;
	pthread_join(reader, NULL);
	return report();
}

static int server(int s, bool stream)
{
	struct sched_param urgent = {.sched_priority = 10};
	struct sockaddr_storage peer;
	char buf[65536];
	int one = 1;

	sched_setscheduler(0, SCHED_FIFO, &urgent);
	if (stream && listen(s, 16))
		return 1;
	for (;;) {
		socklen_t len = sizeof(peer);
		int c = stream ? accept(s, NULL, NULL) : s;
		ssize_t n;

		if (stream)
			setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while ((n = recvfrom(c, buf, sizeof(buf), 0, stream ? NULL : (void *)&peer,
				     stream ? NULL : &len)) > 0) {
			if (sendto(c, buf, n, MSG_NOSIGNAL, stream ? NULL : (void *)&peer,
				   stream ? 0 : len) < 0 &&
			    stream)
				break;
		}
		if (stream)
			close(c);
	}
}

int main(int argc, char **argv)
{
	bool echo = argc == 5 && !strcmp(argv[1], "echo");
	struct sockaddr_in addr = {.sin_family = AF_INET};
	bool stream;
	int s, one = 1;

	if ((!echo && (argc != 6 || strcmp(argv[1], "send"))) ||
	    inet_pton(AF_INET, argv[3], &addr.sin_addr) != 1) {
		fprintf(stderr, "usage: ticker echo PROTO ADDR PORT\n"
				"       ticker send PROTO ADDR PORT INTERVAL_US\n");
		return 2;
	}
	stream = strcmp(argv[2], "udp");
	addr.sin_port = htons(atoi(argv[4]));
	s = socket(AF_INET, stream ? SOCK_STREAM : SOCK_DGRAM,
		   strcmp(argv[2], "mptcp") ? 0 : IPPROTO_MPTCP);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (s < 0 || (echo ? bind : connect)(s, (void *)&addr, sizeof(addr))) {
		perror("ticker");
		return 1;
	}
	return echo ? server(s, stream) : client(s, stream, atoll(argv[5]));
}
