/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "../../control/addr.h"
#include "../../control/clock.h"
#include "../../control/path/netlink.h"
#include "../../control/takeover/announce.h"
#include "../../control/takeover/vip.h"

const char *site_missing;
int site_client, site_a, site_b;
static int home;
static struct announcer *announce_a, *announce_b;

/* ---- the world ---------------------------------------------------------------- */

void site_enter(int ns)
{
	if (setns(ns, CLONE_NEWNET) < 0)
		fail_msg("setns: %s", strerror(errno));
}

void site_run(int ns, const char *format, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	site_enter(ns);
	if (system(command) != 0)
		fail_msg("%s", command);
}

void site_sysctl(int ns, const char *name, int value)
{
	char path[256];
	FILE *f;

	site_enter(ns);
	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	f = fopen(path, "w");
	if (!f || fprintf(f, "%d", value) < 0 || fclose(f) != 0)
		fail_msg("%s: %s", path, strerror(errno));
}

static int namespace_new(void)
{
	return unshare(CLONE_NEWNET) < 0 ? -1 : open("/proc/self/ns/net", O_RDONLY);
}

int site_build(void **state)
{
	(void)state;
	if (geteuid() != 0)
		site_missing = "not root";
	else if (system("command -v ip >/dev/null") != 0)
		site_missing = "no ip command";
	else if ((home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) < 0 ||
		 (site_a = namespace_new()) < 0 || (site_b = namespace_new()) < 0 ||
		 (site_client = namespace_new()) < 0)
		site_missing = "no network namespace to be had";
	else if (system("ip link add br0 type bridge 2>/dev/null") != 0)
		site_missing = "no bridge";
	if (site_missing)
		return 0;
	for (int i = 0; i < 2; i++)
		site_run(site_client,
			 "ip link add v%c type veth peer name %c0 netns /proc/%d/fd/%d && "
			 "ip link set v%c master br0 up",
			 'a' + i, 'a' + i, getpid(), i ? site_b : site_a, 'a' + i);
	site_run(site_client,
		 "ip addr add 10.66.0.1/24 dev br0 && ip addr add fd66::1/64 dev br0 nodad && "
		 "ip link set lo up && ip link set br0 up");
	site_run(site_a,
		 "ip link set lo up && ip link set a0 up && ip addr add 10.66.0.2/24 dev a0 &&"
		 "ip addr add fd66::2/64 dev a0 nodad");
	site_run(site_b,
		 "ip link set lo up && ip link set b0 up && ip addr add 10.66.0.3/24 dev b0 &&"
		 "ip addr add fd66::3/64 dev b0 nodad");
	site_enter(site_a);
	if (announce_open(&announce_a) < 0)
		return -1;
	site_enter(site_b);
	return announce_open(&announce_b);
}

int site_demolish(void **state)
{
	(void)state;
	announce_close(announce_a);
	announce_close(announce_b);
	if (!site_missing)
		site_enter(home);
	return 0;
}

struct hf_addr site_vip(int v6)
{
	struct hf_addr a;

	assert_int_equal(addr_parse(v6 ? "fd66::10" : "10.66.0.10", &a), 0);
	return a;
}

void site_move(int ns, const char *device, int v6, bool there)
{
	struct hf_addr vip = site_vip(v6);
	struct netlink *nl;
	uint32_t ifindex;

	site_enter(ns);
	assert_int_equal(netlink_open(&nl), 0);
	ifindex = if_nametoindex(device);
	assert_int_equal(
		there ? vip_add(nl, ifindex, &vip, v6 ? 64 : 24) : vip_del(nl, ifindex, &vip), 0);
	netlink_close(nl);
	/* the kernel makes an IPv6 address' route after the answer to the request */
	if (there && v6)
		site_run(ns, "for i in $(seq 1000); do ip -6 route get fd66::10 | grep -q ^local "
			     "&& exit 0; "
			     "done; exit 1");
	if (there)
		assert_int_equal(
			announce_send(ns == site_a ? announce_a : announce_b, ifindex, &vip), 0);
}

void site_link_a(bool up)
{
	if (up)
		site_run(site_a, "ip neigh flush dev a0 2>/dev/null");
	site_run(site_client, "ip link set va %s", up ? "up" : "down");
}

/* ---- sockets ------------------------------------------------------------------- */

bool site_await(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, SITE_PATIENCE) == 1;
}

int site_listen(int ns, const struct hf_addr *addr)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int fd, yes = 1;

	site_enter(ns);
	addr_to_sockaddr(addr, SITE_PORT, 0, &sa, &len);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, 16) < 0)
		fail_msg("listener: %s", strerror(errno));
	return fd;
}

int site_call(const struct hf_addr *addr)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int fd;

	site_enter(site_client);
	addr_to_sockaddr(addr, SITE_PORT, 0, &sa, &len);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_true(connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS);
	return fd;
}

int site_take(int listener)
{
	int fd;

	assert_true(site_await(listener, POLLIN));
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* ---- streams ------------------------------------------------------------------- */

static uint8_t octet(const struct site_stream *s, uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16) + s->salt);
}

bool site_push(struct site_stream *s)
{
	uint8_t buf[16384];
	size_t n = s->until - s->sent < sizeof(buf) ? s->until - s->sent : sizeof(buf);
	ssize_t r;

	for (size_t i = 0; i < n; i++)
		buf[i] = octet(s, s->sent + i);
	r = n ? send(s->from, buf, n, MSG_NOSIGNAL) : 0;
	if (r < 0 && errno != EAGAIN)
		fail_msg("send: %s", strerror(errno));
	s->sent += r > 0 ? (uint64_t)r : 0;
	return r > 0;
}

static bool pull(struct site_stream *s)
{
	uint8_t buf[16384];
	ssize_t r = read(s->to, buf, sizeof(buf));

	if (r < 0 && errno != EAGAIN)
		fail_msg("read: %s", strerror(errno));
	if (r == 0)
		fail_msg("the stream ends at %llu", (unsigned long long)s->got);
	for (ssize_t i = 0; i < r; i++)
		if (buf[i] != octet(s, s->got + (uint64_t)i))
			fail_msg("byte %llu is wrong", (unsigned long long)s->got + (uint64_t)i);
	s->got += r > 0 ? (uint64_t)r : 0;
	return r > 0;
}

void site_carry(struct site_stream *in, struct site_stream *out)
{
	uint64_t end = clock_ms() + SITE_PATIENCE;
	struct site_stream *list[] = {in, out};

	while (in->got < in->until || out->got < out->until) {
		struct pollfd p[4];
		bool moved = false;
		nfds_t n = 0;

		for (int i = 0; i < 2; i++) {
			if (list[i]->sent < list[i]->until) {
				moved |= site_push(list[i]);
				p[n++] = (struct pollfd){.fd = list[i]->from, .events = POLLOUT};
			}
			if (list[i]->got < list[i]->until) {
				moved |= pull(list[i]);
				p[n++] = (struct pollfd){.fd = list[i]->to, .events = POLLIN};
			}
		}
		if (clock_ms() > end)
			fail_msg("stuck: in %llu of %llu, out %llu of %llu",
				 (unsigned long long)in->got, (unsigned long long)in->until,
				 (unsigned long long)out->got, (unsigned long long)out->until);
		if (!moved)
			poll(p, n, 1000);
	}
}

int site_unacknowledged(int fd)
{
	int n;

	assert_int_equal(ioctl(fd, SIOCOUTQ, &n), 0);
	return n;
}

void site_await_acknowledged(int fd)
{
	uint64_t end = clock_ms() + SITE_PATIENCE;

	while (site_unacknowledged(fd) > 0) {
		assert_true(clock_ms() < end);
		poll(NULL, 0, 1);
	}
}

/* ---- what is seen ---------------------------------------------------------------- */

struct counter {
	const char *file, *name;
	long before;
};

static struct counter troubles[] = {
	{"snmp", "EstabResets", 0},
	{"snmp", "OutRsts", 0},
	{"snmp", "InErrs", 0},
	{"snmp", "InCsumErrors", 0},
	{"netstat", "PAWSEstab", 0},
	{"netstat", "PAWSActive", 0},
	{"netstat", "TSEcrRejected", 0},
	{"netstat", "TCPAbortOnData", 0},
	{"netstat", "TCPChallengeACK", 0},
};

/* /proc/net/{snmp,netstat}: a line of names, then a line of their values; -1: not there */
static long counter_read(const char *file, const char *name)
{
	char path[64], names[8192], values[8192];
	long found = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/net/%s", file);
	f = fopen(path, "r");
	assert_non_null(f);
	while (found < 0 && fgets(names, sizeof(names), f) && fgets(values, sizeof(values), f)) {
		char *n, *v, *save_n, *save_v;

		if (strncmp(names, "Tcp", 3) != 0)
			continue;
		n = strtok_r(names, " \n", &save_n);
		v = strtok_r(values, " \n", &save_v);
		for (; n && v && strcmp(n, name) != 0; v = strtok_r(NULL, " \n", &save_v))
			n = strtok_r(NULL, " \n", &save_n);
		if (n && v && strcmp(n, name) == 0)
			found = atol(v);
	}
	fclose(f);
	return found;
}

void site_troubles_note(void)
{
	site_enter(site_client);
	for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++)
		troubles[i].before = counter_read(troubles[i].file, troubles[i].name);
}

void site_troubles_none(void)
{
	site_enter(site_client);
	for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++) {
		long now = counter_read(troubles[i].file, troubles[i].name);

		if (now != troubles[i].before)
			fail_msg("the client counts %s: %ld", troubles[i].name,
				 now - troubles[i].before);
	}
}

int site_sniffer(void)
{
	struct sockaddr_ll sa = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd, size = 8 << 20;

	site_enter(site_b);
	sa.sll_ifindex = (int)if_nametoindex("b0");
	fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

bool site_seen(int fd, struct site_segment *ret)
{
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	uint8_t p[128];
	ssize_t n;

	while ((n = recvfrom(fd, p, sizeof(p), 0, (struct sockaddr *)&from, &len)) >= 0) {
		size_t ip = p[0] >> 4 == 4 ? (p[0] & 15u) * 4 : 40;
		uint8_t proto = p[0] >> 4 == 4 ? p[9] : p[6];
		struct tcphdr h;

		len = sizeof(from);
		if (proto != IPPROTO_TCP || (size_t)n < ip + sizeof(h))
			continue;
		memcpy(&h, p + ip, sizeof(h));
		ret->out = from.sll_pkttype == PACKET_OUTGOING;
		ret->fin = h.fin;
		ret->rst = h.rst;
		ret->port = ntohs(ret->out ? h.dest : h.source);
		ret->seq = ntohl(h.seq);
		ret->ack = ntohl(h.ack_seq);
		ret->window = ntohs(h.window);
		return true;
	}
	return false;
}
