/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Real connections that lose their server: A vanishes, B restores, the VIP is added there and
 * announced, and both streams go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "../../control/addr.h"
#include "../../control/clock.h"
#include "../../control/takeover/restore.h"
#include "../../control/takeover/segment.h"
#include "site.h"

#define IN       100000u /* bytes of the client before the crash, and after it */
#define IN_MORE  230000u
#define OUT      150000u /* of the server */
#define OUT_MORE 400000u
/* As if so much had been carried before: sequence numbers see nothing of it. */
#define FAR (3ull << 32)

#define NEED_NAMESPACE()                                                                           \
	do {                                                                                       \
		if (site_missing) {                                                                \
			print_message("skipped: %s\n", site_missing);                              \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

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
	s.out_next = sent - (uint64_t)site_unacknowledged(fd);
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

static struct restore_tools *tools_of_b; /* for all that B restores; others go without */

static int restore(int ns, const struct restore_spec *spec)
{
	struct restore_spec s = *spec;
	char err[128] = "";
	int fd, r;

	site_enter(ns);
	s.tools = ns == site_b ? tools_of_b : NULL;
	r = restore_tcp(&s, &fd, err, sizeof(err));
	if (r < 0)
		fail_msg("restore_tcp: %s", err);
	return fd;
}

/* T2, T7: what B sends of the connection starts where it should, resets nothing and takes no part
 * of the window back. */
static void check_sent(int sniffer, const struct restore_spec *s)
{
	const struct guard_facts *f = s->facts;
	uint32_t edge = f->irs + 1 + (uint32_t)s->in_edge;
	uint32_t first = f->iss + 1 + (uint32_t)s->out_next;
	struct site_segment seen;

	while (site_seen(sniffer, &seen)) {
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
	site_sysctl(site_client, "ipv4/tcp_timestamps", !c->no_ts);
	site_sysctl(site_client, "ipv4/tcp_sack", !c->no_sack);
	site_sysctl(site_client, "ipv4/tcp_window_scaling", !c->no_wscale);
	site_sysctl(site_b, "ipv4/conf/all/rp_filter", c->rp_filter);
	site_sysctl(site_b, "ipv4/conf/lo/rp_filter", c->rp_filter);
	site_sysctl(site_b, "ipv4/conf/b0/rp_filter", c->rp_filter);
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
		.key = {.local = *vip, .peer_port = htons(40000), .local_port = htons(SITE_PORT)},
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
	*ret_server = restore(site_a, &s);
	s.facts = &theirs;
	*ret_client = restore(site_client, &s);
}

static void crash(const struct crash *c)
{
	struct hf_addr vip = site_vip(c->v6);
	struct site_stream in = {.until = IN, .salt = 1}, out = {.until = OUT, .salt = 2};
	int listener, sniffer, at_client, at_a, at_b, again;
	struct restore_spec spec;
	struct guard_facts facts;
	struct site_segment seen;
	char end;

	print_message("%s\n", c->what);
	settings(c);
	site_move(site_a, "a0", c->v6, true);
	listener = site_listen(site_a, &vip);
	site_troubles_note();
	if (c->wrap) {
		forge(c, &vip, &at_client, &at_a);
	} else {
		at_client = site_call(&vip);
		at_a = site_take(listener);
	}
	in.from = out.to = at_client;
	in.to = out.from = at_a;
	site_carry(&in, &out);
	if (c->client_ended) {
		shutdown(at_client, SHUT_WR);
		assert_true(site_await(at_a, POLLRDHUP));
	}
	site_await_acknowledged(at_client); /* its FIN as well: B would refuse it sent again */
	site_await_acknowledged(at_a);

	site_link_a(false);
	if (c->lossy) {
		out.until += 20000;
		site_push(&out);
		in.until += c->client_ended ? 0 : 30000;
		site_push(&in);
	}
	site_enter(site_a);
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
	site_move(site_a, "a0", c->v6, false);

	sniffer = site_sniffer();
	if (c->listener_before)
		listener = site_listen(site_b, &vip);
	if (c->client_ended)
		site_move(site_b, "b0", c->v6, true);
	at_b = restore(site_b, &spec);
	/* a client that sends again what was lost does so in its own time, and as A's port is gone
	 * its switch brings that to B as well */
	while (site_seen(sniffer, &seen))
		if (seen.out)
			fail_msg("restoring sent a segment");
	if (!c->client_ended)
		site_move(site_b, "b0", c->v6, true);
	if (!c->listener_before)
		listener = site_listen(site_b, &vip);

	in.to = out.from = at_b;
	out.sent = spec.out_next - (c->wrap ? FAR : 0);
	out.until = OUT_MORE;
	if (c->client_ended) {
		assert_int_equal(read(at_b, &end, 1), 0);
		in.until = in.got;
	} else {
		in.until = IN_MORE;
	}
	site_carry(&in, &out);
	check_sent(sniffer, &spec);

	shutdown(at_b, SHUT_WR);
	assert_true(site_await(at_client, POLLIN));
	assert_int_equal(read(at_client, &end, 1), 0);
	close(at_client);
	assert_true(site_await(at_b, POLLIN));
	assert_int_equal(read(at_b, &end, 1), 0);
	close(at_b);
	again = site_call(&vip);
	close(site_take(listener));
	assert_true(site_await(again, POLLIN));
	assert_int_equal(read(again, &end, 1), 0);
	close(again);
	site_troubles_none();
	close(listener);
	close(sniffer);
	site_move(site_b, "b0", c->v6, false);
	site_link_a(true);
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
		.key = {.local = site_vip(v6),
			.peer_port = htons(peer_port),
			.local_port = htons(SITE_PORT)},
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
		int fd = restore(site_b, &s), on = TCP_REPAIR_ON, mss, yes;
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
		assert_in_range(timestamp(fd), 12346, 12346 + SITE_PATIENCE);
		assert_int_equal(timestamp(fd) - 12346 < SITE_PATIENCE, 1);
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
	fd = restore(site_b, &s);
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
	forget(restore(site_b, &s));
	f.key.peer = site_vip(1);
	assert_int_equal(restore_tcp(&s, &other, err, sizeof(err)), -EINVAL);
}

/* The application died where the connection comes back to: its socket is still there, and
 * retransmits what nobody hears. */
static void an_orphan_makes_room(void **state)
{
	(void)state;
	NEED_NAMESPACE();
	for (int v6 = 0; v6 <= 1; v6++) {
		struct site_stream in = {.until = IN, .salt = 1}, out = {.until = OUT, .salt = 2};
		const struct crash plain = {.v6 = v6};
		struct hf_addr vip = site_vip(v6);
		struct restore_spec spec;
		struct guard_facts facts;
		struct guard_key other;
		char err[128] = "";
		int listener, off = TCP_REPAIR_OFF_NO_WP, again;

		settings(&plain);
		site_move(site_a, "a0", v6, true);
		listener = site_listen(site_a, &vip);
		site_troubles_note();
		in.from = out.to = site_call(&vip);
		in.to = out.from = site_take(listener);
		site_carry(&in, &out);
		site_await_acknowledged(in.from);
		site_await_acknowledged(out.from);
		site_link_a(false);
		site_enter(site_a);
		spec = examine(in.to, out.sent, in.got, false, &facts);
		assert_int_equal(setsockopt(in.to, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)), 0);
		out.until = OUT + 5000;
		site_push(&out);
		close(in.to);

		assert_int_equal(restore_tcp(&spec, &again, err, sizeof(err)), -EADDRINUSE);
		assert_int_equal(restore_clear(&facts.key, err, sizeof(err)), 0);
		assert_int_equal(restore_clear(&facts.key, err, sizeof(err)), -ENOENT);
		/* nobody but the listener has these ends */
		other = facts.key;
		other.peer_port = htons(1);
		assert_int_equal(restore_clear(&other, err, sizeof(err)), -ENOENT);

		in.to = out.from = restore(site_a, &spec);
		site_link_a(true);
		out.sent = spec.out_next;
		in.until = IN_MORE;
		out.until = OUT_MORE;
		site_carry(&in, &out);
		close(in.to);
		assert_true(site_await(in.from, POLLIN));
		assert_int_equal(read(in.from, err, 1), 0);
		close(in.from);
		again = site_call(&vip);
		close(site_take(listener));
		close(again);
		site_troubles_none();
		close(listener);
		site_move(site_a, "a0", v6, false);
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
		uint64_t end = clock_ms() + SITE_PATIENCE;
		struct segment_sender *sender;
		struct site_segment seen = {.out = true};
		int at_client, sniffer;

		theirs.peer_mss = 1460;
		at_client = restore(site_client, &s);
		sniffer = site_sniffer();
		assert_int_equal(segment_open(&sender), 0);
		/* the VIP is not B's: the source has to be believed, and nobody resets the client
		 */
		site_run(site_client,
			 "ip neigh replace %s dev br0 lladdr $(nsenter --net=/proc/%d/fd/%d ip -br "
			 "link "
			 "show b0 | awk '{print $3}')",
			 v6 ? "fd66::10" : "10.66.0.10", getpid(), site_b);
		site_enter(site_b);
		assert_int_equal(segment_send(sender, &probe, 1), 0);
		while (seen.out || seen.port != 40003) {
			assert_true(clock_ms() < end);
			if (!site_seen(sniffer, &seen))
				site_await(sniffer, POLLIN);
		}
		assert_int_equal(seen.ack, ours.iss + 1 + 5000);
		assert_int_equal(seen.seq, ours.irs + 1 + 700);
		segment_close(sender);
		close(sniffer);
		site_enter(site_client);
		forget(at_client);
		site_run(site_client, "ip neigh del %s dev br0", v6 ? "fd66::10" : "10.66.0.10");
	}
}

/* Both families at once, more than a batch, some that cannot be sent. */
static void many_segments(void **state)
{
	static const struct hf_addr nowhere = {.b = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
	enum { COUNT = 500 };
	static struct guard_facts facts[COUNT];
	static struct segment list[COUNT];
	uint64_t end = clock_ms() + SITE_PATIENCE;
	struct segment_sender *sender;
	unsigned int count = 0, lost = 0;
	bool here[COUNT] = {false};
	int sniffer;

	(void)state;
	NEED_NAMESPACE();
	sniffer = site_sniffer();
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
		struct site_segment seen;

		assert_true(clock_ms() < end);
		if (!site_seen(sniffer, &seen)) {
			site_await(sniffer, POLLIN);
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
	site_enter(site_b);
	for (int v6 = 0; v6 <= 1; v6++) {
		uint32_t b0 = if_nametoindex("b0");
		socklen_t len = sizeof(sa);
		uint16_t port;

		key.local = site_vip(v6); /* not there */
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

static int build(void **state)
{
	tools_of_b = restore_tools_new();
	return tools_of_b ? site_build(state) : -1;
}

static int demolish(void **state)
{
	restore_tools_free(tools_of_b);
	return site_demolish(state);
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
