/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A client over TCP that measures; it knows nothing of takeover. Addresses are IPv4.
 *
 *   tcp upload ADDR PORT MS [CC [RATE]]   one stream, under that congestion control; RATE: bytes
 *                                      a second, by the kernel's pacing. What was acknowledged
 *                                      counts
 *   tcp ask ADDR PORT COUNT            100 octets, one octet back, one after the other
 *   tcp get ADDR PORT PATH             HTTP; until the end of the answer or of standard input.
 *                                      Times of arrivals after a gap of more than GAP_NS
 *   tcp hold ADDR PORT COUNT PATH      HTTP; so many connections, a request on each, and all of
 *                                      them once more for each line read. The answers end in
 *                                      "END" and a line feed
 *
 * One line of JSON. Times are CLOCK_BOOTTIME in ns.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLOCK     (1 << 20)
#define REQUEST   100
#define WARM_NS   500000000ull /* slow start is not what is measured */
#define GAP_NS    200000u
#define GAPS_MAX  65536
#define COUNT_MAX 1000000u

static char block[BLOCK];
static struct sockaddr_in server = {.sin_family = AF_INET};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int fail(const char *what)
{
	fprintf(stderr, "tcp: %s: %s\n", what, strerror(errno));
	return 1;
}

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		return -1;
	if (!connect(fd, (struct sockaddr *)&server, sizeof(server)))
		return fd;
	close(fd);
	return -1;
}

/* ---- upload ------------------------------------------------------------------ */

static uint64_t acked(int fd, struct tcp_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len);
	return info->tcpi_bytes_acked;
}

static int upload(unsigned int ms, const char *cc, uint64_t rate)
{
	struct tcp_info before, after;
	uint64_t begin, now, from = 0, until, first = 0, last;
	int fd = dial();

	if (fd < 0)
		return fail("connect");
	if (cc && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cc, strlen(cc)))
		return fail(cc);
	if (rate && setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate)))
		return fail("SO_MAX_PACING_RATE");
	begin = now_ns();
	until = begin + WARM_NS + ms * 1000000ull;
	while ((now = now_ns()) < until) {
		if (!from && now - begin >= WARM_NS) {
			first = acked(fd, &before);
			from = now;
		}
		if (send(fd, block, sizeof(block), MSG_NOSIGNAL) < 0)
			return fail("send");
	}
	last = acked(fd, &after);
	printf("{\"mb_s\":%.1f,\"rtt_us\":%u,\"min_rtt_us\":%u,\"cwnd\":%u,\"retrans\":%u,"
	       "\"rwnd_limited\":%.3f,\"sndbuf_limited\":%.3f}\n",
	       (last - first) * 1e3 / (now - from), after.tcpi_rtt, after.tcpi_min_rtt,
	       after.tcpi_snd_cwnd, after.tcpi_total_retrans,
	       (after.tcpi_rwnd_limited - before.tcpi_rwnd_limited) * 1e3 / (now - from),
	       (after.tcpi_sndbuf_limited - before.tcpi_sndbuf_limited) * 1e3 / (now - from));
	return 0;
}

/* ---- requests ------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int ask_once(int fd)
{
	char c;

	return send(fd, block, REQUEST, MSG_NOSIGNAL) == REQUEST && recv(fd, &c, 1, 0) == 1 ? 0
											    : -1;
}

static int ask(unsigned int count)
{
	uint64_t *took = calloc(count, sizeof(*took)), begin;
	int fd = dial();

	if (!took || fd < 0)
		return fail("connect");
	for (unsigned int i = 0; i < count; i++) {
		begin = now_ns();
		if (ask_once(fd))
			return fail("request");
		took[i] = now_ns() - begin;
	}
	qsort(took, count, sizeof(*took), compare);
	printf("{\"median_us\":%.2f,\"p95_us\":%.2f}\n", took[count / 2] / 1e3,
	       took[count * 95ull / 100] / 1e3);
	free(took);
	close(fd);
	return 0;
}

/* ---- download ------------------------------------------------------------------- */

/* [from, to, bytes until then] of each gap. */
static void get_loop(int fd)
{
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
	static uint64_t gaps[GAPS_MAX][3];
	uint64_t last = now_ns(), now, total = 0;
	const char *end = "reader";
	unsigned int count = 0;
	ssize_t n;

	for (;;) {
		poll(p, 2, -1);
		if (p[0].revents) {
			n = recv(fd, block, sizeof(block), MSG_DONTWAIT);
			now = now_ns();
			if (n <= 0) {
				end = n ? strerror(errno) : "end of file";
				break;
			}
			if (now - last > GAP_NS && count < GAPS_MAX) {
				gaps[count][0] = last;
				gaps[count][1] = now;
				gaps[count++][2] = total;
			}
			last = now;
			total += (uint64_t)n;
		}
		if (p[1].revents && read(0, block, 1) <= 0)
			break;
	}
	printf("{\"bytes\":%" PRIu64 ",\"end\":\"%s\",\"end_ns\":%" PRIu64 ",\"last_ns\":%" PRIu64
	       ",\"gaps\":[",
	       total, end, now_ns(), last);
	for (unsigned int i = 0; i < count; i++)
		printf("%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", i ? "," : "", gaps[i][0],
		       gaps[i][1], gaps[i][2]);
	printf("]}\n");
}

static size_t request(const char *path)
{
	return (size_t)snprintf(block, sizeof(block), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
}

static int get(const char *path)
{
	size_t len = request(path);
	int fd = dial();

	if (fd < 0)
		return fail("connect");
	if (send(fd, block, len, MSG_NOSIGNAL) != (ssize_t)len)
		return fail("request");
	get_loop(fd);
	return 0;
}

/* ---- many ------------------------------------------------------------------------- */

static bool answered(int fd)
{
	char in[4096];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(in)) {
		n = recv(fd, in + len, sizeof(in) - len, 0);
		if (n <= 0)
			return false;
		len += (size_t)n;
		if (len >= 4 && !memcmp(in + len - 4, "END\n", 4))
			return true;
	}
	return false;
}

static unsigned int round_of(const int *fds, unsigned int count, size_t len)
{
	unsigned int good = 0;

	for (unsigned int i = 0; i < count; i++)
		if (send(fds[i], block, len, MSG_NOSIGNAL) != (ssize_t)len)
			return 0;
	for (unsigned int i = 0; i < count; i++)
		good += answered(fds[i]);
	return good;
}

static int hold(unsigned int count, const char *path)
{
	struct rlimit files = {count + 64, count + 64};
	int *fds = calloc(count, sizeof(*fds));
	size_t len = request(path);
	char line[16];

	if (!fds || setrlimit(RLIMIT_NOFILE, &files))
		return fail("RLIMIT_NOFILE");
	for (unsigned int i = 0; i < count; i++) {
		fds[i] = dial();
		if (fds[i] < 0)
			return fail("connect");
	}
	do {
		printf("{\"good\":%u}\n", round_of(fds, count, len));
		fflush(stdout);
	} while (fgets(line, sizeof(line), stdin));
	free(fds);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long count;

	if (argc < 5 || argc > 7 || inet_pton(AF_INET, argv[2], &server.sin_addr) != 1)
		goto usage;
	server.sin_port = htons((uint16_t)atoi(argv[3]));
	if (!strcmp(argv[1], "get"))
		return get(argv[4]);
	count = strtoul(argv[4], NULL, 10);
	if (!count || count > COUNT_MAX)
		goto usage;
	if (!strcmp(argv[1], "upload"))
		return upload((unsigned int)count, argc > 5 ? argv[5] : NULL,
			      argc > 6 ? strtoull(argv[6], NULL, 10) : 0);
	if (!strcmp(argv[1], "ask"))
		return ask((unsigned int)count);
	if (!strcmp(argv[1], "hold") && argc == 6)
		return hold((unsigned int)count, argv[5]);
usage:
	fprintf(stderr, "usage: tcp upload|ask|get|hold ADDR PORT ARG [CC [RATE]]\n");
	return 2;
}
