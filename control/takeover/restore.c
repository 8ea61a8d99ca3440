/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "restore.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../addr.h"
#include "../clock.h"
#include "../path/request.h"
#include "segment.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#define MSS_MIN        88u /* what TCP_MAXSEG takes */
#define MSS_MAX        32767u
#define WINDOW_DEFAULT 65535u /* bytes, where nothing was told to the peer */
#define LOCAL_MS       10     /* a look-up serves the connections made in that time */
#define FIN_WAIT_MS    1000   /* lo is done with a segment before send(2) returns, or soon after */

/* A socket that is being made. */
struct work {
	int fd;
	char *err;
	size_t err_size;
};

static int failed(const struct work *w, const char *what, int error)
{
	snprintf(w->err, w->err_size, "%s: %s", what, strerror(-error));
	return error;
}

static int set(const struct work *w, int level, int name, const void *value, socklen_t len,
	       const char *what)
{
	return setsockopt(w->fd, level, name, value, len) < 0 ? failed(w, what, -errno) : 0;
}

static int set_int(const struct work *w, int level, int name, int value, const char *what)
{
	return set(w, level, name, &value, sizeof(value), what);
}

/* To bind(2) to an address that is not there, and (IPv4: IP_FREEBIND would not do for that) to
 * look up a route from it. It stays set: the route is looked up again whenever routes change. */
static int set_transparent(const struct work *w, int family)
{
	if (family == AF_INET)
		return set_int(w, IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT");
	return set_int(w, IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT");
}

static int bind_to(const struct work *w, const struct hf_addr *addr, __be16 port)
{
	struct sockaddr_storage sa;
	socklen_t len;

	addr_to_sockaddr(addr, ntohs(port), 0, &sa, &len);
	return bind(w->fd, (struct sockaddr *)&sa, len) < 0 ? failed(w, "bind", -errno) : 0;
}

static int connect_to(const struct work *w, const struct hf_addr *addr, __be16 port)
{
	struct sockaddr_storage sa;
	socklen_t len;

	addr_to_sockaddr(addr, ntohs(port), 0, &sa, &len);
	return connect(w->fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

static int set_queue(const struct work *w, int queue, uint32_t seq)
{
	int r = set_int(w, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue, "TCP_REPAIR_QUEUE");

	return r < 0 ? r : set_int(w, IPPROTO_TCP, TCP_QUEUE_SEQ, (int)seq, "TCP_QUEUE_SEQ");
}

static int set_options(const struct work *w, const struct guard_facts *f)
{
	struct tcp_repair_opt list[4] = {
		{TCPOPT_MAXSEG, f->peer_mss},
		/* always: without it the kernel would keep the scale that it would have asked for
		 */
		{TCPOPT_WINDOW,
		 f->options & GUARD_WSCALE ? f->peer_wscale | (uint32_t)f->our_wscale << 16 : 0},
	};
	socklen_t n = 2;

	if (f->options & GUARD_SACK)
		list[n++].opt_code = TCPOPT_SACK_PERMITTED;
	if (f->options & GUARD_TS)
		list[n++].opt_code = TCPOPT_TIMESTAMP;
	return set(w, IPPROTO_TCP, TCP_REPAIR_OPTIONS, list, n * sizeof(list[0]),
		   "TCP_REPAIR_OPTIONS");
}

static uint32_t window_in(const struct restore_spec *s)
{
	uint32_t most = 65535u << (s->facts->options & GUARD_WSCALE ? s->facts->our_wscale : 0);
	uint64_t told;

	/* after the peer's FIN nothing else comes, but a window of zero would refuse that, too */
	if (s->in_edge == 0 || s->peer_ended)
		return WINDOW_DEFAULT;
	told = s->in_edge > s->in_next ? s->in_edge - s->in_next : 0;
	return told < most ? (uint32_t)told : most;
}

static int set_window(const struct work *w, const struct restore_spec *s)
{
	uint32_t rcv_nxt = s->facts->irs + 1 + (uint32_t)s->in_next;
	struct tcp_repair_window window = {
		.snd_wl1 = rcv_nxt - 1, /* so that the peer's next segment updates its window */
		.snd_wnd = s->peer_window,
		.max_window = s->peer_window,
		.rcv_wnd = window_in(s),
		.rcv_wup = rcv_nxt,
	};

	return set(w, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof(window), "TCP_REPAIR_WINDOW");
}

/* ---- a peer that has ended --------------------------------------------------- */

struct restore_tools {
	struct netlink routes; /* .requests NULL: not open yet */
	struct hf_addr local;  /* was here, and counts as such until then */
	uint64_t local_until_ms;
	int v4, v6; /* raw sockets; -1: not open yet */
};

static void tools_init(struct restore_tools *t)
{
	*t = (struct restore_tools){.v4 = -1, .v6 = -1};
}

static void tools_close(struct restore_tools *t)
{
	if (t->routes.requests)
		nl_socket_free(t->routes.requests);
	if (t->v4 >= 0)
		close(t->v4);
	if (t->v6 >= 0)
		close(t->v6);
}

struct restore_tools *restore_tools_new(void)
{
	struct restore_tools *t = malloc(sizeof(*t));

	if (t)
		tools_init(t);
	return t;
}

void restore_tools_free(struct restore_tools *t)
{
	if (!t)
		return;
	tools_close(t);
	free(t);
}

static int request_open(int protocol, struct netlink *ret)
{
	struct nl_sock *s = nl_socket_alloc();
	int r;

	if (!s)
		return -ENOMEM;
	r = nl_connect(s, protocol);
	if (r < 0) {
		nl_socket_free(s);
		return request_errno(r);
	}
	*ret = (struct netlink){.requests = s};
	return 0;
}

static void take_route(void *arg, struct nlmsghdr *h)
{
	const struct rtmsg *route = NLMSG_DATA(h);

	if (h->nlmsg_type == RTM_NEWROUTE && h->nlmsg_len >= NLMSG_LENGTH(sizeof(*route)))
		*(bool *)arg = route->rtm_type == RTN_LOCAL;
}

/* 0 if what is sent to `addr` stays here. bind(2) does not tell: sysctls let it do anything. */
static int ask_local(struct restore_tools *t, const struct hf_addr *addr)
{
	const struct rtmsg rtm = {.rtm_family = (uint8_t)addr_family(addr),
				  .rtm_dst_len = (uint8_t)addr_bits(addr)};
	struct nl_msg *msg;
	bool local = false;
	int r = t->routes.requests ? 0 : request_open(NETLINK_ROUTE, &t->routes);

	if (r < 0)
		return r;
	msg = request_new(RTM_GETROUTE, 0, &rtm, sizeof(rtm));
	r = request_ask(&t->routes, msg, msg ? request_put_addr(msg, RTA_DST, addr) : 0, take_route,
			&local);
	return local ? 0 : r == -ENOMEM ? r : -EADDRNOTAVAIL;
}

static int check_local(struct restore_tools *t, const struct hf_addr *addr)
{
	uint64_t now = clock_ms();
	int r;

	if (now < t->local_until_ms && addr_equal(&t->local, addr))
		return 0;
	r = ask_local(t, addr);
	if (r == 0) {
		t->local = *addr;
		t->local_until_ms = now + LOCAL_MS;
	}
	return r;
}

static int raw_of(struct restore_tools *t, int family)
{
	int *fd = family == AF_INET ? &t->v4 : &t->v6;

	if (*fd < 0)
		*fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	return *fd < 0 ? -errno : *fd;
}

static int send_fin(const struct work *w, const struct restore_spec *s, struct restore_tools *t)
{
	const struct segment fin = {
		.facts = s->facts,
		.seq = s->in_next,
		.ack = s->out_next,
		.edge = s->out_next + s->peer_window,
		.tsval = s->peer_tsval,
		.tsecr = s->tsval,
		.fin = true,
		.from_peer = true,
	};
	const struct hf_addr *local = &s->facts->key.local;
	uint8_t packet[SEGMENT_MAX];
	size_t len = segment_create(&fin, packet);
	struct sockaddr_storage to;
	socklen_t to_len;
	int fd, r;

	r = check_local(t, local);
	if (r < 0) /* it would leave for the network */
		return failed(w, "the peer's end, to an address that is not here", r);
	fd = raw_of(t, addr_family(local));
	if (fd < 0)
		return failed(w, "raw socket", fd);
	addr_to_sockaddr(local, 0, 0, &to, &to_len);
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &s->mark, sizeof(s->mark)) < 0)
		return failed(w, "SO_MARK", -errno);
	if (sendto(fd, packet, len, 0, (struct sockaddr *)&to, to_len) < 0)
		return failed(w, "the peer's end", -errno);
	return 0;
}

/*
 * CLOSE_WAIT cannot be set, so the stack is sent the FIN, as CRIU does: from a raw socket, to
 * our own address. The packet brings the route with it that it was sent by (local, over lo), so
 * that there is no look-up at its arrival: rp_filter does not see it, nor do programs on the NIC.
 */
static int end_peer(const struct work *w, const struct restore_spec *s)
{
	struct pollfd p = {.fd = w->fd, .events = POLLRDHUP};
	struct restore_tools alone;
	int r;

	tools_init(&alone);
	r = send_fin(w, s, s->tools ? s->tools : &alone);
	tools_close(&alone);
	if (r < 0)
		return r;
	r = poll(&p, 1, FIN_WAIT_MS);
	if (r < 0)
		return failed(w, "poll", -errno);
	return p.revents & POLLRDHUP ? 0 : failed(w, "the peer's end over lo", -ETIMEDOUT);
}

/* ---- TCP --------------------------------------------------------------------- */

/* Up to connect(2): what can be set only while there is no state. */
static int make_connected(const struct work *w, const struct restore_spec *s)
{
	const struct guard_facts *f = s->facts;
	uint32_t mss = f->peer_mss;
	int r;

	mss = mss < MSS_MIN ? MSS_MIN : mss > MSS_MAX ? MSS_MAX : mss;
	r = set_transparent(w, addr_family(&f->key.local));
	/* implies SO_REUSEADDR of its own kind while it lasts: bind(2) then looks at no other
	 * socket */
	if (r == 0)
		r = set_int(w, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON, "TCP_REPAIR");
	if (r == 0)
		r = bind_to(w, &f->key.local, f->key.local_port);
	/* connect(2) computes the segment size; without a word from the peer it is that of RFC
	 * 9293's default, which the option of TCP_REPAIR_OPTIONS does not repair */
	if (r == 0)
		r = set_int(w, IPPROTO_TCP, TCP_MAXSEG, (int)mss, "TCP_MAXSEG");
	if (r == 0)
		r = set_queue(w, TCP_SEND_QUEUE, f->iss + 1 + (uint32_t)s->out_next);
	if (r == 0)
		r = set_queue(w, TCP_RECV_QUEUE, f->irs + 1 + (uint32_t)s->in_next);
	if (r < 0)
		return r;
	r = connect_to(w, &f->key.peer, f->key.peer_port);
	if (r == -EADDRNOTAVAIL) /* the one thing that it says so of here: the 4-tuple is taken */
		r = -EADDRINUSE;
	return r < 0 ? failed(w, "connect", r) : 0;
}

static int make_tcp(const struct work *w, const struct restore_spec *s)
{
	int r = make_connected(w, s);

	if (r == 0)
		r = set_options(w, s->facts);
	/* rounded up to even: the lowest bit would ask for microseconds */
	if (r == 0 && s->facts->options & GUARD_TS)
		r = set_int(w, IPPROTO_TCP, TCP_TIMESTAMP, (int)((s->tsval + 1) & ~1u),
			    "TCP_TIMESTAMP");
	if (r == 0)
		r = set_window(w, s);
	/* still under repair, so that close(2) after an error is silent */
	if (r == 0 && s->peer_ended)
		r = end_peer(w, s);
	if (r == 0)
		r = set_int(w, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP, "TCP_REPAIR off");
	/* gone with repair mode, and a listener that comes later needs it of everybody on its port
	 */
	if (r == 0) {
		r = set_int(w, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
		if (r < 0)
			set_int(w, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON, "TCP_REPAIR");
	}
	return r;
}

static int work_open(struct work *w, int family, int type)
{
	w->fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return w->fd < 0 ? failed(w, "socket", -errno) : 0;
}

static int work_end(struct work *w, int r, int *ret_fd)
{
	if (r < 0)
		close(w->fd);
	else
		*ret_fd = w->fd;
	return r;
}

int restore_tcp(const struct restore_spec *spec, int *ret_fd, char *err, size_t err_size)
{
	const struct guard_key *k = &spec->facts->key;
	struct work w = {.err = err, .err_size = err_size};
	int r;

	if (addr_family(&k->local) != addr_family(&k->peer))
		return failed(&w, "addresses of two families", -EINVAL);
	r = work_open(&w, addr_family(&k->local), SOCK_STREAM);
	return r < 0 ? r : work_end(&w, make_tcp(&w, spec), ret_fd);
}

/* ---- what is left of a connection --------------------------------------------- */

struct remnant {
	bool found;
	struct inet_diag_msg msg;
};

static void take_remnant(void *arg, struct nlmsghdr *h)
{
	struct remnant *r = arg;

	if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY && h->nlmsg_len >= NLMSG_LENGTH(sizeof(r->msg))) {
		memcpy(&r->msg, NLMSG_DATA(h), sizeof(r->msg));
		r->found = true;
	}
}

static int destroy(struct netlink *nl, const struct guard_key *key)
{
	struct inet_diag_req_v2 req = {
		.sdiag_family = (uint8_t)addr_family(&key->local),
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_states = ~0u,
		.id = {.idiag_sport = key->local_port,
		       .idiag_dport = key->peer_port,
		       .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}},
	};
	struct remnant left = {0};
	int r;

	memcpy(req.id.idiag_src, addr_bytes(&key->local), addr_bits(&key->local) / 8);
	memcpy(req.id.idiag_dst, addr_bytes(&key->peer), addr_bits(&key->peer) / 8);
	r = request_ask(nl, request_new(SOCK_DIAG_BY_FAMILY, 0, &req, sizeof(req)), 0, take_remnant,
			&left);
	if (r < 0)
		return r;
	/* where no connection has these ends, the answer is who would take a SYN */
	if (!left.found || left.msg.id.idiag_dport != key->peer_port)
		return -ENOENT;
	memcpy(req.id.idiag_cookie, left.msg.id.idiag_cookie, sizeof(req.id.idiag_cookie));
	r = request_ask(nl, request_new(SOCK_DESTROY, 0, &req, sizeof(req)), 0, NULL, NULL);
	return r == -ESTALE ? -ENOENT : r; /* gone meanwhile */
}

int restore_clear(const struct guard_key *key, char *err, size_t err_size)
{
	const struct work w = {.err = err, .err_size = err_size};
	struct netlink nl;
	int r = request_open(NETLINK_SOCK_DIAG, &nl);

	if (r < 0)
		return failed(&w, "netlink", r);
	r = destroy(&nl, key);
	nl_socket_free(nl.requests);
	return r < 0 ? failed(&w, "SOCK_DESTROY", r) : 0;
}

/* ---- UDP --------------------------------------------------------------------- */

static bool is_multicast(const struct hf_addr *a)
{
	return addr_is_v4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}

static int set_group4(const struct work *w, uint8_t ttl, uint32_t ifindex)
{
	const struct ip_mreqn where = {.imr_ifindex = (int)ifindex};
	int r = 0;

	if (ttl)
		r = set_int(w, IPPROTO_IP, IP_MULTICAST_TTL, ttl, "IP_MULTICAST_TTL");
	if (r == 0 && ifindex)
		r = set(w, IPPROTO_IP, IP_MULTICAST_IF, &where, sizeof(where), "IP_MULTICAST_IF");
	return r;
}

static int set_group6(const struct work *w, uint8_t ttl, uint32_t ifindex)
{
	int r = 0;

	if (ttl)
		r = set_int(w, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ttl, "IPV6_MULTICAST_HOPS");
	if (r == 0 && ifindex)
		r = set_int(w, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)ifindex, "IPV6_MULTICAST_IF");
	return r;
}

static int set_hops(const struct work *w, const struct guard_key *key, int family, uint8_t ttl,
		    uint32_t ifindex)
{
	if (is_multicast(&key->peer))
		return family == AF_INET ? set_group4(w, ttl, ifindex)
					 : set_group6(w, ttl, ifindex);
	if (!ttl)
		return 0;
	return family == AF_INET
		       ? set_int(w, IPPROTO_IP, IP_TTL, ttl, "IP_TTL")
		       : set_int(w, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl, "IPV6_UNICAST_HOPS");
}

static int make_udp(const struct work *w, const struct guard_key *key, int family, uint8_t ttl,
		    uint32_t ifindex)
{
	int r = set_transparent(w, family);

	if (r == 0)
		r = set_int(w, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
	if (r == 0)
		r = bind_to(w, &key->local, key->local_port);
	if (r == 0)
		r = set_hops(w, key, family, ttl, ifindex);
	if (r == 0 && !addr_is_zero(&key->peer)) {
		r = connect_to(w, &key->peer, key->peer_port);
		if (r < 0)
			r = failed(w, "connect", r);
	}
	return r;
}

int restore_udp(const struct guard_key *key, uint8_t ttl, uint32_t ifindex, int *ret_fd, char *err,
		size_t err_size)
{
	struct work w = {.err = err, .err_size = err_size};
	int family = addr_family(&key->local);
	int r;

	if (!addr_is_zero(&key->peer) && addr_family(&key->peer) != family)
		return failed(&w, "addresses of two families", -EINVAL);
	r = work_open(&w, family, SOCK_DGRAM);
	return r < 0 ? r : work_end(&w, make_udp(&w, key, family, ttl, ifindex), ret_fd);
}
