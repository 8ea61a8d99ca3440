/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Real connections that lose their server, in namespaces of the test's own:
 *
 *   client  br0 10.66.0.1, fd66::1 ─┬─ va ── a0  server A
 *                                   └─ vb ── b0  server B
 *
 * The VIP (10.66.0.10, fd66::10) is A's. va goes down, B restores, the VIP is added there
 * and announced, and both streams go on.
 */
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
#include "../../control/takeover/restore.h"
#include "../../control/takeover/segment.h"
#include "../../control/takeover/vip.h"

#define PORT     8080
#define PATIENCE 20000   /* ms; nothing here takes as long */
#define IN       100000u /* bytes of the client before the crash, and after it */
#define IN_MORE  230000u
#define OUT      150000u /* of the server */
#define OUT_MORE 400000u
#define FAR                                                                                        \
	(3ull << 32) /* as if so much had been carried before: sequence numbers see nothing of it  \
		      */

static const char *no_namespace;
static int home, client, server_a, server_b;
static struct announcer *announce_a, *announce_b;

#define NEED_NAMESPACE()                                                                           \
	do {                                                                                       \
		if (no_namespace) {                                                                \
			print_message("skipped: %s\n", no_namespace);                              \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

/* ---- the world ---------------------------------------------------------------- */

static void enter(int ns)
{
	if (setns(ns, CLONE_NEWNET) < 0)
		fail_msg("setns: %s", strerror(errno));
}

static void run(int ns, const char *format, ...)
{
	char command[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	enter(ns);
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void sysctl(int ns, const char *name, int value)
{
	char path[256];
	FILE *f;

	enter(ns);
	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	f = fopen(path, "w");
	if (!f || fprintf(f, "%d", value) < 0 || fclose(f) != 0)
		fail_msg("%s: %s", path, strerror(errno));
}

static int namespace_new(void)
{
	return unshare(CLONE_NEWNET) < 0 ? -1 : open("/proc/self/ns/net", O_RDONLY);
}

static int build(void **state)
{
	(void)state;
	if (geteuid() != 0)
		no_namespace = "not root";
	else if (system("command -v ip >/dev/null") != 0)
		no_namespace = "no ip command";
	else if ((home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) < 0 ||
		 (server_a = namespace_new()) < 0 || (server_b = namespace_new()) < 0 ||
		 (client = namespace_new()) < 0)
		no_namespace = "no network namespace to be had";
	else if (system("ip link add br0 type bridge 2>/dev/null") != 0)
		no_namespace = "no bridge";
	if (no_namespace)
		return 0;
	for (int i = 0; i < 2; i++)
		run(client,
		    "ip link add v%c type veth peer name %c0 netns /proc/%d/fd/%d && "
		    "ip link set v%c master br0 up",
		    'a' + i, 'a' + i, getpid(), i ? server_b : server_a, 'a' + i);
	run(client, "ip addr add 10.66.0.1/24 dev br0 && ip addr add fd66::1/64 dev br0 nodad && "
		    "ip link set lo up && ip link set br0 up");
	run(server_a, "ip link set lo up && ip link set a0 up && ip addr add 10.66.0.2/24 dev a0 &&"
		      "ip addr add fd66::2/64 dev a0 nodad");
	run(server_b, "ip link set lo up && ip link set b0 up && ip addr add 10.66.0.3/24 dev b0 &&"
		      "ip addr add fd66::3/64 dev b0 nodad");
	enter(server_a);
	if (announce_open(&announce_a) < 0)
		return -1;
	enter(server_b);
	return announce_open(&announce_b);
}

static int demolish(void **state)
{
	(void)state;
	announce_close(announce_a);
	announce_close(announce_b);
	if (!no_namespace)
		enter(home);
	return 0;
}

static struct hf_addr vip_of(int v6)
{
	struct hf_addr a;

	assert_int_equal(addr_parse(v6 ? "fd66::10" : "10.66.0.10", &a), 0);
	return a;
}

static void vip_change(int ns, const char *device, int v6, bool there)
{
	struct hf_addr vip = vip_of(v6);
	struct netlink *nl;
	uint32_t ifindex;

	enter(ns);
	assert_int_equal(netlink_open(&nl), 0);
	ifindex = if_nametoindex(device);
	assert_int_equal(
		there ? vip_add(nl, ifindex, &vip, v6 ? 64 : 24) : vip_del(nl, ifindex, &vip), 0);
	netlink_close(nl);
	/* the kernel makes an IPv6 address' route after the answer to the request */
	if (there && v6)
		run(ns,
		    "for i in $(seq 1000); do ip -6 route get fd66::10 | grep -q ^local && exit 0; "
		    "done; exit 1");
	if (there)
		assert_int_equal(
			announce_send(ns == server_a ? announce_a : announce_b, ifindex, &vip), 0);
}

/* A vanishes, or is back, without anybody having the VIP. What waited there for a neighbour's
 * answer does not come back with it. */
static void link_a(bool up)
{
	if (up)
		run(server_a, "ip neigh flush dev a0 2>/dev/null");
	run(client, "ip link set va %s", up ? "up" : "down");
}

/* ---- sockets ------------------------------------------------------------------- */

static bool await(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, PATIENCE) == 1;
}

static int listen_on(int ns, const struct hf_addr *addr)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int fd, yes = 1;

	enter(ns);
	addr_to_sockaddr(addr, PORT, 0, &sa, &len);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, 16) < 0)
		fail_msg("listener: %s", strerror(errno));
	return fd;
}

static int call(const struct hf_addr *addr)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int fd;

	enter(client);
	addr_to_sockaddr(addr, PORT, 0, &sa, &len);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_true(connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS);
	return fd;
}

static int take(int listener)
{
	int fd;

	assert_true(await(listener, POLLIN));
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* One direction: bytes of a pattern that says where in the stream they are. */
struct stream {
	int from, to;
	uint64_t sent, got, until;
	unsigned int salt;
};

static uint8_t octet(const struct stream *s, uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16) + s->salt);
}

static bool push(struct stream *s)
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

static bool pull(struct stream *s)
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

/* Until both have carried all of theirs. */
static void carry(struct stream *in, struct stream *out)
{
	uint64_t end = clock_ms() + PATIENCE;
	struct stream *list[] = {in, out};

	while (in->got < in->until || out->got < out->until) {
		struct pollfd p[4];
		bool moved = false;
		nfds_t n = 0;

		for (int i = 0; i < 2; i++) {
			if (list[i]->sent < list[i]->until) {
				moved |= push(list[i]);
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

static int unacknowledged(int fd)
{
	int n;

	assert_int_equal(ioctl(fd, SIOCOUTQ, &n), 0);
	return n;
}

static void await_acknowledged(int fd)
{
	uint64_t end = clock_ms() + PATIENCE;

	while (unacknowledged(fd) > 0) {
		assert_true(clock_ms() < end);
		poll(NULL, 0, 1);
	}
}

/* ---- facts ---------------------------------------------------------------------- */

static uint32_t queue_seq(int fd, int queue)
{
	uint32_t seq;
	socklen_t len = sizeof(seq);

	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)), 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, &len), 0);
	return seq;
}

static uint32_t timestamp(int fd)
{
	uint32_t t;
	socklen_t len = sizeof(t);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_TIMESTAMP, &t, &len), 0);
	return t;
}

/* What A knows of its socket, which has sent `sent` and was sent `got` bytes. The socket is left
 * under repair: closing it says nothing. */
static struct restore_spec examine(int fd, uint64_t sent, uint64_t got, bool peer_ended,
				   struct guard_facts *f)
{
	struct tcp_repair_window window;
	struct sockaddr_storage sa;
	struct tcp_info info;
	struct restore_spec s = {.facts = f, .peer_ended = peer_ended, .mark = GUARD_MARK};
	int on = TCP_REPAIR_ON, mss;
	socklen_t len = sizeof(info);
	uint16_t port;

	*f = (struct guard_facts){0};
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	s.out_next = sent - (uint64_t)unacknowledged(fd);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
	len = sizeof(mss);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &len), 0);
	len = sizeof(window);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &len), 0);
	f->iss = queue_seq(fd, TCP_SEND_QUEUE) - 1 - (uint32_t)sent;
	f->irs = queue_seq(fd, TCP_RECV_QUEUE) - 1 - (uint32_t)got - peer_ended;
	f->peer_mss = (uint16_t)mss;
	f->options = (info.tcpi_options & TCPI_OPT_TIMESTAMPS ? GUARD_TS : 0) |
		     (info.tcpi_options & TCPI_OPT_SACK ? GUARD_SACK : 0) |
		     (info.tcpi_options & TCPI_OPT_WSCALE ? GUARD_WSCALE : 0);
	f->peer_wscale = info.tcpi_snd_wscale;
	f->our_wscale = info.tcpi_rcv_wscale;
	s.in_next = got;
	/* the kernel's idea of it may be more than the field can say */
	if (window.rcv_wnd > 65535u << f->our_wscale)
		window.rcv_wnd = 65535u << f->our_wscale;
	s.in_edge = got + peer_ended +
		    (uint32_t)(window.rcv_wup + window.rcv_wnd - (f->irs + 1 + (uint32_t)got));
	s.peer_window = window.snd_wnd;
	s.tsval = f->options & GUARD_TS ? timestamp(fd) + 1000 : 0;
	len = sizeof(sa);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	addr_from_sockaddr((struct sockaddr *)&sa, &f->key.local, &port);
	f->key.local_port = htons(port);
	len = sizeof(sa);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&sa, &len), 0);
	addr_from_sockaddr((struct sockaddr *)&sa, &f->key.peer, &port);
	f->key.peer_port = htons(port);
	return s;
}

static int restore(int ns, const struct restore_spec *spec)
{
	char err[128] = "";
	int fd, r;

	enter(ns);
	r = restore_tcp(spec, &fd, err, sizeof(err));
	if (r < 0)
		fail_msg("restore_tcp: %s", err);
	return fd;
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

static void troubles_note(void)
{
	enter(client);
	for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++)
		troubles[i].before = counter_read(troubles[i].file, troubles[i].name);
}

static void troubles_none(void)
{
	enter(client);
	for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++) {
		long now = counter_read(troubles[i].file, troubles[i].name);

		if (now != troubles[i].before)
			fail_msg("the client counts %s: %ld", troubles[i].name,
				 now - troubles[i].before);
	}
}

/* A TCP segment that crossed B's interface. */
struct seen {
	bool out;
	bool fin, rst;
	uint16_t port; /* the client's */
	uint32_t seq, ack;
	uint32_t window; /* not scaled */
};

static int sniffer_open(void)
{
	struct sockaddr_ll sa = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd, size = 8 << 20;

	enter(server_b);
	sa.sll_ifindex = (int)if_nametoindex("b0");
	fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static bool sniffer_next(int fd, struct seen *ret)
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

/* T2, T7: what B sends of the connection starts where it should, resets nothing and takes no part
 * of the window back. */
static void check_sent(int sniffer, const struct restore_spec *s)
{
	const struct guard_facts *f = s->facts;
	uint32_t edge = f->irs + 1 + (uint32_t)s->in_edge;
	uint32_t first = f->iss + 1 + (uint32_t)s->out_next;
	struct seen seen;

	while (sniffer_next(sniffer, &seen)) {
		if (!seen.out || seen.port != ntohs(f->key.peer_port))
			continue;
		assert_false(seen.rst);
		assert_true((int32_t)(seen.seq - first) >= 0);
		if (!s->peer_ended)
			assert_true((int32_t)(seen.ack + (seen.window << f->our_wscale) - edge) >=
				    0);
	}
}

/* ---- a crash ------------------------------------------------------------------------ */

struct crash {
	const char *what;
	bool v6;
	bool no_ts, no_sack, no_wscale; /* at the client */
	bool client_ended;
	bool wrap;            /* both sequence numbers pass 2^32 after the crash */
	bool listener_before; /* else after */
	int rp_filter;
	bool lossy; /* A's last bytes are lost, and the client's, on the way */
};

static void settings(const struct crash *c)
{
	sysctl(client, "ipv4/tcp_timestamps", !c->no_ts);
	sysctl(client, "ipv4/tcp_sack", !c->no_sack);
	sysctl(client, "ipv4/tcp_window_scaling", !c->no_wscale);
	sysctl(server_b, "ipv4/conf/all/rp_filter", c->rp_filter);
	sysctl(server_b, "ipv4/conf/lo/rp_filter", c->rp_filter);
	sysctl(server_b, "ipv4/conf/b0/rp_filter", c->rp_filter);
}

/* The same connection from its other end. */
static struct guard_facts mirror(const struct guard_facts *f)
{
	struct guard_facts m = *f;

	m.key = (struct guard_key){f->key.local, f->key.peer, f->key.local_port, f->key.peer_port};
	m.irs = f->iss;
	m.iss = f->irs;
	m.peer_mss = f->our_mss;
	m.our_mss = f->peer_mss;
	m.peer_wscale = f->our_wscale;
	m.our_wscale = f->peer_wscale;
	return m;
}

/* Both ends of a connection whose sequence numbers are about to wrap. */
static void forge(const struct crash *c, const struct hf_addr *vip, int *ret_client,
		  int *ret_server)
{
	struct guard_facts ours = {
		.key = {.local = *vip, .peer_port = htons(40000), .local_port = htons(PORT)},
		.irs = -(IN + 10000),
		.iss = -(OUT + 50000),
		.peer_mss = 1460,
		.our_mss = 1460,
		.peer_wscale = 7,
		.our_wscale = 8,
		.options = GUARD_TS | GUARD_SACK | GUARD_WSCALE,
	};
	struct guard_facts theirs;
	struct restore_spec s = {.facts = &ours, .peer_window = 65535, .tsval = 0xfffffff1};

	assert_int_equal(addr_parse(c->v6 ? "fd66::1" : "10.66.0.1", &ours.key.peer), 0);
	theirs = mirror(&ours);
	*ret_server = restore(server_a, &s);
	s.facts = &theirs;
	*ret_client = restore(client, &s);
}

static void crash(const struct crash *c)
{
	struct hf_addr vip = vip_of(c->v6);
	struct stream in = {.until = IN, .salt = 1}, out = {.until = OUT, .salt = 2};
	int listener, sniffer, at_client, at_a, at_b, again;
	struct restore_spec spec;
	struct guard_facts facts;
	struct seen seen;
	char end;

	print_message("%s\n", c->what);
	settings(c);
	vip_change(server_a, "a0", c->v6, true);
	listener = listen_on(server_a, &vip);
	troubles_note();
	if (c->wrap) {
		forge(c, &vip, &at_client, &at_a);
	} else {
		at_client = call(&vip);
		at_a = take(listener);
	}
	in.from = out.to = at_client;
	in.to = out.from = at_a;
	carry(&in, &out);
	if (c->client_ended) {
		shutdown(at_client, SHUT_WR);
		assert_true(await(at_a, POLLRDHUP));
	} else {
		await_acknowledged(at_client);
	}
	await_acknowledged(at_a);

	link_a(false);
	if (c->lossy) {
		out.until += 20000;
		push(&out);
		in.until += c->client_ended ? 0 : 30000;
		push(&in);
	}
	enter(server_a);
	spec = examine(at_a, out.sent, in.got, c->client_ended, &facts);
	assert_int_equal(spec.out_next, out.got);
	spec.peer_tsval = facts.options & GUARD_TS ? timestamp(at_client) : 0;
	assert_int_equal(!!(facts.options & GUARD_TS), !c->no_ts);
	assert_int_equal(!!(facts.options & GUARD_SACK), !c->no_sack);
	assert_int_equal(!!(facts.options & GUARD_WSCALE), !c->no_wscale);
	if (c->wrap) {
		spec.in_next += FAR;
		spec.in_edge += FAR;
		spec.out_next += FAR;
	}
	close(at_a);
	close(listener);
	vip_change(server_a, "a0", c->v6, false);

	sniffer = sniffer_open();
	if (c->listener_before)
		listener = listen_on(server_b, &vip);
	if (c->client_ended)
		vip_change(server_b, "b0", c->v6, true);
	at_b = restore(server_b, &spec);
	while (sniffer_next(sniffer, &seen))
		fail_msg("restoring sent or needed a segment on the network");
	if (!c->client_ended)
		vip_change(server_b, "b0", c->v6, true);
	if (!c->listener_before)
		listener = listen_on(server_b, &vip);

	in.to = out.from = at_b;
	out.sent = spec.out_next - (c->wrap ? FAR : 0);
	out.until = OUT_MORE;
	if (c->client_ended) {
		assert_int_equal(read(at_b, &end, 1), 0);
		in.until = in.got;
	} else {
		in.until = IN_MORE;
	}
	carry(&in, &out);
	check_sent(sniffer, &spec);

	shutdown(at_b, SHUT_WR);
	assert_true(await(at_client, POLLIN));
	assert_int_equal(read(at_client, &end, 1), 0);
	close(at_client);
	assert_true(await(at_b, POLLIN));
	assert_int_equal(read(at_b, &end, 1), 0);
	close(at_b);
	again = call(&vip);
	close(take(listener));
	assert_true(await(again, POLLIN));
	assert_int_equal(read(again, &end, 1), 0);
	close(again);
	troubles_none();
	close(listener);
	close(sniffer);
	vip_change(server_b, "b0", c->v6, false);
	link_a(true);
}

static void a_server_dies(void **state)
{
	static const struct crash list[] = {
		{.what = "IPv4, all options"},
		{.what = "IPv4, bytes lost on the way", .lossy = true, .listener_before = true},
		{.what = "IPv4, no timestamps", .no_ts = true, .lossy = true},
		{.what = "IPv4, no SACK", .no_sack = true, .lossy = true},
		{.what = "IPv4, no window scaling", .no_wscale = true, .lossy = true},
		{.what = "IPv4, no options at all",
		 .no_ts = true,
		 .no_sack = true,
		 .no_wscale = true,
		 .lossy = true},
		{.what = "IPv4, sequence numbers wrap", .wrap = true, .lossy = true},
		{.what = "IPv6, all options", .v6 = true, .listener_before = true},
		{.what = "IPv6, bytes lost on the way", .v6 = true, .lossy = true},
		{.what = "IPv6, no options at all",
		 .v6 = true,
		 .no_ts = true,
		 .no_sack = true,
		 .no_wscale = true,
		 .lossy = true},
		{.what = "IPv6, sequence numbers wrap", .v6 = true, .wrap = true, .lossy = true},
	};

	(void)state;
	NEED_NAMESPACE();
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		crash(&list[i]);
}

static void a_server_dies_after_the_client_has_ended(void **state)
{
	static const struct crash list[] = {
		{.what = "IPv4", .client_ended = true, .lossy = true},
		{.what = "IPv4, rp_filter 1", .client_ended = true, .lossy = true, .rp_filter = 1},
		{.what = "IPv4, rp_filter 2",
		 .client_ended = true,
		 .listener_before = true,
		 .rp_filter = 2},
		{.what = "IPv4, no timestamps", .client_ended = true, .no_ts = true},
		{.what = "IPv4, no options at all",
		 .client_ended = true,
		 .no_ts = true,
		 .no_sack = true,
		 .no_wscale = true},
		{.what = "IPv6", .client_ended = true, .v6 = true, .lossy = true},
		{.what = "IPv6, no timestamps", .client_ended = true, .v6 = true, .no_ts = true},
	};

	(void)state;
	NEED_NAMESPACE();
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		crash(&list[i]);
}

/* ---- one at a time -------------------------------------------------------------- */

/* A connection that only B knows. */
static struct guard_facts facts_of(int v6, uint16_t peer_port)
{
	struct guard_facts f = {
		.key = {.local = vip_of(v6),
			.peer_port = htons(peer_port),
			.local_port = htons(PORT)},
		.irs = 1000,
		.iss = 2000,
		.peer_mss = 1460,
		.peer_wscale = 7,
		.our_wscale = 7,
		.options = GUARD_TS | GUARD_SACK | GUARD_WSCALE,
	};

	assert_int_equal(addr_parse(v6 ? "fd66::1" : "10.66.0.1", &f.key.peer), 0);
	return f;
}

/* Closes without a word. */
static void forget(int fd)
{
	int on = TCP_REPAIR_ON;

	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
	close(fd);
}

static void what_the_socket_is_like(void **state)
{
	(void)state;
	NEED_NAMESPACE();
	for (int v6 = 0; v6 <= 1; v6++) {
		struct guard_facts f = facts_of(v6, 40001);
		struct restore_spec s = {.facts = &f,
					 .in_next = 77,
					 .out_next = 88,
					 .in_edge = 77 + 300001,
					 .peer_window = 29200,
					 .tsval = 12345};
		int fd = restore(server_b, &s), on = TCP_REPAIR_ON, mss, yes;
		struct tcp_repair_window w;
		struct tcp_info info;
		socklen_t len = sizeof(info);

		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
		assert_int_equal(info.tcpi_state, TCP_ESTABLISHED);
		assert_int_equal(info.tcpi_snd_wscale, 7);
		assert_int_equal(info.tcpi_rcv_wscale, 7);
		/* timestamps take 12 bytes of each segment */
		assert_int_equal(info.tcpi_snd_mss, v6 ? 1428 : 1448);
		assert_in_range(timestamp(fd), 12346, 12346 + PATIENCE);
		assert_int_equal(timestamp(fd) - 12346 < PATIENCE, 1);
		len = sizeof(yes);
		assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, &len), 0);
		assert_int_equal(yes, 1);
		assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
		assert_int_equal(queue_seq(fd, TCP_SEND_QUEUE), 2000 + 1 + 88);
		assert_int_equal(queue_seq(fd, TCP_RECV_QUEUE), 1000 + 1 + 77);
		len = sizeof(w);
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &w, &len), 0);
		assert_int_equal(w.rcv_wup + w.rcv_wnd, 1000 + 1 + 77 + 300001);
		assert_int_equal(w.snd_wnd, 29200);
		len = sizeof(mss);
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &len), 0);
		assert_int_equal(mss, 1460);
		close(fd);
	}
}

static void twice_is_refused_and_an_error_leaves_nothing(void **state)
{
	struct guard_facts f = facts_of(0, 40002);
	struct restore_spec s = {.facts = &f, .peer_window = 29200};
	char err[128] = "";
	int fd, other = -1;

	(void)state;
	NEED_NAMESPACE();
	fd = restore(server_b, &s);
	assert_int_equal(restore_tcp(&s, &other, err, sizeof(err)), -EADDRINUSE);
	assert_int_equal(other, -1);
	assert_true(err[0]);
	forget(fd);
	/* the VIP is not here, so the peer's end would go out to the network */
	s.peer_ended = true;
	err[0] = '\0';
	assert_int_equal(restore_tcp(&s, &other, err, sizeof(err)), -EADDRNOTAVAIL);
	assert_true(err[0]);
	assert_int_equal(other, -1);
	s.peer_ended = false;
	forget(restore(server_b, &s));
	f.key.peer = vip_of(1);
	assert_int_equal(restore_tcp(&s, &other, err, sizeof(err)), -EINVAL);
}

/* The application died where the connection comes back to: its socket is still there, and
 * retransmits what nobody hears. */
static void an_orphan_makes_room(void **state)
{
	(void)state;
	NEED_NAMESPACE();
	for (int v6 = 0; v6 <= 1; v6++) {
		struct stream in = {.until = IN, .salt = 1}, out = {.until = OUT, .salt = 2};
		const struct crash plain = {.v6 = v6};
		struct hf_addr vip = vip_of(v6);
		struct restore_spec spec;
		struct guard_facts facts;
		struct guard_key other;
		char err[128] = "";
		int listener, off = TCP_REPAIR_OFF_NO_WP, again;

		settings(&plain);
		vip_change(server_a, "a0", v6, true);
		listener = listen_on(server_a, &vip);
		troubles_note();
		in.from = out.to = call(&vip);
		in.to = out.from = take(listener);
		carry(&in, &out);
		await_acknowledged(in.from);
		await_acknowledged(out.from);
		link_a(false);
		enter(server_a);
		spec = examine(in.to, out.sent, in.got, false, &facts);
		assert_int_equal(setsockopt(in.to, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)), 0);
		out.until = OUT + 5000;
		push(&out);
		close(in.to);

		assert_int_equal(restore_tcp(&spec, &again, err, sizeof(err)), -EADDRINUSE);
		assert_int_equal(restore_clear(&facts.key, err, sizeof(err)), 0);
		assert_int_equal(restore_clear(&facts.key, err, sizeof(err)), -ENOENT);
		/* nobody but the listener has these ends */
		other = facts.key;
		other.peer_port = htons(1);
		assert_int_equal(restore_clear(&other, err, sizeof(err)), -ENOENT);

		in.to = out.from = restore(server_a, &spec);
		link_a(true);
		out.sent = spec.out_next;
		in.until = IN_MORE;
		out.until = OUT_MORE;
		carry(&in, &out);
		close(in.to);
		assert_true(await(in.from, POLLIN));
		assert_int_equal(read(in.from, err, 1), 0);
		close(in.from);
		again = call(&vip);
		close(take(listener));
		close(again);
		troubles_none();
		close(listener);
		vip_change(server_a, "a0", v6, false);
	}
}

/* T2: one octet below what the peer has acknowledged, and its answer says how far it is. */
static void probes_are_answered(void **state)
{
	(void)state;
	NEED_NAMESPACE();
	for (int v6 = 0; v6 <= 1; v6++) {
		struct guard_facts ours = facts_of(v6, 40003), theirs = mirror(&ours);
		struct restore_spec s = {
			.facts = &theirs, .in_next = 5000, .out_next = 700, .peer_window = 65535};
		struct segment probe = {.facts = &ours,
					.seq = 1999,
					.ack = 700,
					.edge = 700 + 65536,
					.tsval = 1,
					.octets = 1};
		uint64_t end = clock_ms() + PATIENCE;
		struct segment_sender *sender;
		struct seen seen = {.out = true};
		int at_client, sniffer;

		theirs.peer_mss = 1460;
		at_client = restore(client, &s);
		sniffer = sniffer_open();
		assert_int_equal(segment_open(&sender), 0);
		/* the VIP is not B's: the source has to be believed, and nobody resets the client
		 */
		run(client,
		    "ip neigh replace %s dev br0 lladdr $(nsenter --net=/proc/%d/fd/%d ip -br link "
		    "show b0 | awk '{print $3}')",
		    v6 ? "fd66::10" : "10.66.0.10", getpid(), server_b);
		enter(server_b);
		assert_int_equal(segment_send(sender, &probe, 1), 0);
		while (seen.out || seen.port != 40003) {
			assert_true(clock_ms() < end);
			if (!sniffer_next(sniffer, &seen))
				await(sniffer, POLLIN);
		}
		assert_int_equal(seen.ack, ours.iss + 1 + 5000);
		assert_int_equal(seen.seq, ours.irs + 1 + 700);
		segment_close(sender);
		close(sniffer);
		enter(client);
		forget(at_client);
		run(client, "ip neigh del %s dev br0", v6 ? "fd66::10" : "10.66.0.10");
	}
}

/* Both families at once, more than a batch, some that cannot be sent. */
static void many_segments(void **state)
{
	static const struct hf_addr nowhere = {.b = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
	enum { COUNT = 500 };
	static struct guard_facts facts[COUNT];
	static struct segment list[COUNT];
	uint64_t end = clock_ms() + PATIENCE;
	struct segment_sender *sender;
	unsigned int count = 0, lost = 0;
	bool here[COUNT] = {false};
	int sniffer;

	(void)state;
	NEED_NAMESPACE();
	sniffer = sniffer_open();
	assert_int_equal(segment_open(&sender), 0);
	for (unsigned int i = 0; i < COUNT; i++) {
		facts[i] = facts_of(i % 3 == 0, (uint16_t)(1000 + i));
		if (i % 51 == 0) {
			facts[i].key.peer = nowhere;
			lost++;
		}
		list[i].facts = &facts[i];
	}
	assert_int_equal(segment_send(sender, list, COUNT), -ENETUNREACH);
	while (count < COUNT - lost) {
		struct seen seen;

		assert_true(clock_ms() < end);
		if (!sniffer_next(sniffer, &seen)) {
			await(sniffer, POLLIN);
		} else if (seen.out && seen.port >= 1000 && seen.port < 1000 + COUNT) {
			assert_false(here[seen.port - 1000]);
			here[seen.port - 1000] = true;
			count++;
		}
	}
	segment_close(sender);
	close(sniffer);
}

/* ---- datagrams ------------------------------------------------------------------- */

static int get_int(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void datagram_sockets(void **state)
{
	struct guard_key key = {.local_port = htons(5004), .peer_port = htons(6004)};
	struct sockaddr_storage sa;
	struct hf_addr a;
	char err[128];
	int fd;

	(void)state;
	NEED_NAMESPACE();
	enter(server_b);
	for (int v6 = 0; v6 <= 1; v6++) {
		uint32_t b0 = if_nametoindex("b0");
		socklen_t len = sizeof(sa);
		uint16_t port;

		key.local = vip_of(v6); /* not there */
		assert_int_equal(addr_parse(v6 ? "fd66::1" : "10.66.0.1", &key.peer), 0);
		assert_int_equal(restore_udp(&key, 9, 0, &fd, err, sizeof(err)), 0);
		assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
		addr_from_sockaddr((struct sockaddr *)&sa, &a, &port);
		assert_true(addr_equal(&a, &key.local) && port == 5004);
		len = sizeof(sa);
		assert_int_equal(getpeername(fd, (struct sockaddr *)&sa, &len), 0);
		addr_from_sockaddr((struct sockaddr *)&sa, &a, &port);
		assert_true(addr_equal(&a, &key.peer) && port == 6004);
		assert_int_equal(get_int(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
					 v6 ? IPV6_UNICAST_HOPS : IP_TTL),
				 9);
		close(fd);

		assert_int_equal(addr_parse(v6 ? "ff15::7" : "239.1.2.3", &key.peer), 0);
		assert_int_equal(restore_udp(&key, 3, b0, &fd, err, sizeof(err)), 0);
		assert_int_equal(get_int(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
					 v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL),
				 3);
		assert_int_equal(send(fd, "x", 1, 0), 1);
		close(fd);

		key.peer = (struct hf_addr){0};
		assert_int_equal(restore_udp(&key, 0, 0, &fd, err, sizeof(err)), 0);
		len = sizeof(sa);
		assert_int_equal(getpeername(fd, (struct sockaddr *)&sa, &len), -1);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_socket_is_like),
		cmocka_unit_test(a_server_dies),
		cmocka_unit_test(a_server_dies_after_the_client_has_ended),
		cmocka_unit_test(twice_is_refused_and_an_error_leaves_nothing),
		cmocka_unit_test(an_orphan_makes_room),
		cmocka_unit_test(probes_are_answered),
		cmocka_unit_test(many_segments),
		cmocka_unit_test(datagram_sockets),
	};

	return cmocka_run_group_tests_name("restore", tests, build, demolish);
}
