/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast-front(8): options, the loop, and what the library tells. */
#include "control/front/front.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "control/version.h"

#define LISTENERS_MAX 8
#define CHECK_MS      1000 /* between looks whether the server answers */
#define ANSWER_MS     100  /* how long that may take */

struct options {
	const char *instance;
	const char *service;
	struct address listen[LISTENERS_MAX];
	unsigned int listen_count;
	unsigned int clients_max;
	uint64_t patience_ms;
	bool server;
};

struct loop {
	struct front front;
	struct end listeners[LISTENERS_MAX];
	struct end library;
	unsigned int listener_count;
	unsigned int clients_max;
	bool listening; /* for new connections: there is room */
	uint64_t patience_ms;
	uint64_t check_ms;
	enum hf_role_now role;
};

static volatile sig_atomic_t asked_to_count;

uint64_t front_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void front_log(const char *fmt, ...)
{
	va_list ap;

	fputs("holdfast-front: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void on_signal(int sig)
{
	(void)sig;
	asked_to_count = 1;
}

static void print_counts(const struct front *f)
{
	const struct counts *n = &f->counts;

	fprintf(stderr,
		"{\"connections\": %u, \"requests\": %llu, \"repeatable\": %llu, \"opaque\": %llu, "
		"\"restored\": %llu, \"resumed\": %llu, \"refused\": %llu, \"lost\": %llu}\n",
		f->client_count, (unsigned long long)n->requests, (unsigned long long)n->repeatable,
		(unsigned long long)n->opaque, (unsigned long long)n->restored,
		(unsigned long long)n->resumed, (unsigned long long)n->refused,
		(unsigned long long)n->lost);
}

/* ---- the library's events ----------------------------------------------------- */

static void on_restored(void *arg, const struct hf_restored *r)
{
	struct loop *l = arg;

	client_restored(&l->front, r);
}

static void on_committed(void *arg, struct hf_conn *conn, uint64_t ticket)
{
	struct loop *l = arg;
	struct client *c = hf_data(conn);

	if (c)
		client_committed(&l->front, c, ticket);
}

static void on_moved(void *arg, struct hf_conn *conn)
{
	struct loop *l = arg;
	struct client *c = hf_data(conn);

	if (c)
		client_drop(&l->front, c, false);
	else
		hf_forget(conn);
}

static void on_role(void *arg, enum hf_role_now role)
{
	struct loop *l = arg;

	l->role = role;
}

/* ---- */

static void accept_all(struct loop *l, const struct end *e)
{
	while (l->front.client_count < l->clients_max) {
		int fd = accept4(e->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), ret;
		struct client *c;

		if (fd < 0)
			return;
		c = client_new(&l->front, fd);
		if (!c) {
			close(fd);
			continue;
		}
		ret = hf_guard(l->front.hf, fd, &c->conn);
		if (ret) {
			front_log("a connection is not guarded: %s", hf_error(l->front.hf));
			c->conn = NULL;
			client_drop(&l->front, c, false);
			continue;
		}
		hf_set_data(c->conn, c);
		client_step(&l->front, c);
	}
}

static void watch_listeners(struct loop *l)
{
	bool room = l->front.client_count < l->clients_max;

	if (room == l->listening)
		return;
	for (unsigned int i = 0; i < l->listener_count; i++) {
		struct epoll_event e = {.events = room ? EPOLLIN : 0, .data.ptr = &l->listeners[i]};

		epoll_ctl(l->front.epoll, EPOLL_CTL_MOD, l->listeners[i].fd, &e);
	}
	l->listening = room;
}

/* A node whose server does not answer is not one to serve, nor to stand by: the daemon sees our end
 * and hands over. Alone there is nobody to hand over to, and who waits may yet be answered. */
static bool server_is_gone(struct loop *l)
{
	struct front *f = &l->front;
	uint64_t now = front_now();

	if (now >= l->check_ms) {
		l->check_ms = now + CHECK_MS;
		if (server_answers(&f->server, ANSWER_MS))
			f->away_ms = 0;
		else if (!f->away_ms)
			f->away_ms = now;
	}
	return f->away_ms && now - f->away_ms >= l->patience_ms && l->role != HF_ALONE;
}

static void bury(struct front *f)
{
	struct client *c;

	while ((c = TAILQ_FIRST(&f->dead))) {
		TAILQ_REMOVE(&f->dead, c, link);
		free(c);
	}
}

static int open_listener(struct loop *l, const struct address *a)
{
	struct end *e = &l->listeners[l->listener_count];
	struct epoll_event ev = {.data.ptr = e};
	int fd, one = 1, ret;

	fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* [::] beside 0.0.0.0, and beside a server on 127.0.0.1 */
	if (a->sa.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&a->sa, a->len)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	ret = hf_listen(l->front.hf, fd);
	if (!ret && (listen(fd, 4096) || epoll_ctl(l->front.epoll, EPOLL_CTL_ADD, fd, &ev)))
		ret = -errno;
	if (ret) {
		close(fd);
		return ret;
	}
	e->fd = fd;
	l->listener_count++;
	return 0;
}

static int set_up(struct loop *l, const struct options *o)
{
	static const struct hf_ops ops = {
		.restored = on_restored,
		.committed = on_committed,
		.moved = on_moved,
		.role = on_role,
	};
	struct front *f = &l->front;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = &l->library};
	int ret;

	f->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (f->epoll < 0)
		return -errno;
	ret = hf_open(o->instance, o->service, &ops, l, &f->hf);
	if (ret) {
		front_log("%s", hf_error(NULL));
		return ret;
	}
	epoll_ctl(f->epoll, EPOLL_CTL_ADD, hf_fd(f->hf), &e);
	for (unsigned int i = 0; i < o->listen_count; i++) {
		ret = open_listener(l, &o->listen[i]);
		if (ret) {
			front_log("cannot listen at address %u: %s", i + 1, strerror(-ret));
			return ret;
		}
	}
	watch_listeners(l);
	return 0;
}

static void run(struct loop *l)
{
	struct front *f = &l->front;
	struct epoll_event events[64];

	while (!server_is_gone(l)) {
		int ms = client_clock(f), due = hf_timeout(f->hf), n, ret;

		watch_listeners(l);
		if (due >= 0 && due < ms)
			ms = due;
		n = epoll_wait(f->epoll, events, 64, ms);
		for (int i = 0; i < n; i++) {
			struct end *e = events[i].data.ptr;

			if (e->client)
				client_event(f, e, events[i].events);
			else if (e != &l->library)
				accept_all(l, e);
		}
		ret = hf_dispatch(f->hf);
		if (ret && ret != -ENOTCONN) /* the daemon is away: it will be back */
			front_log("%s", hf_error(f->hf));
		bury(f);
		if (asked_to_count) {
			asked_to_count = 0;
			print_counts(f);
		}
	}
}

/* ---- options ------------------------------------------------------------------ */

static void usage(FILE *out)
{
	fputs("Usage: holdfast-front [OPTION]... --listen=ADDRESS:PORT... --server=WHERE\n"
	      "Let the clients of an unmodified HTTP server outlive it.\n\n"
	      "  -l, --listen=ADDRESS:PORT  where clients connect; its address is one of the\n"
	      "                             daemon's, or all (0.0.0.0, [::]). Up to 8 times\n"
	      "  -s, --server=WHERE         this node's server: ADDRESS:PORT or unix:/PATH\n"
	      "  -n, --instance=NAME        the daemon (default: server)\n"
	      "  -S, --service=NAME         the same on every node (default: front)\n"
	      "  -p, --patience=SECONDS     how long the server may be away before this node "
	      "hands\n"
	      "                             over (default: 2)\n"
	      "  -i, --idle=SECONDS         how long a client may be silent between requests\n"
	      "                             (default: 75)\n"
	      "  -c, --connections=N        at most so many at a time (default: 10000)\n"
	      "  -v, --verbose              say why an answer cannot be made again\n"
	      "      --help, --version\n\n"
	      "SIGUSR1 prints counters. See holdfast-front(8).\n",
	      out);
}

static bool number(const char *text, unsigned long least, unsigned long most, unsigned long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && *ret >= least && *ret <= most;
}

static bool set_option(struct options *o, struct front *f, int opt)
{
	unsigned long n;

	switch (opt) {
	case 'l':
		return o->listen_count < LISTENERS_MAX &&
		       !address_parse(optarg, false, &o->listen[o->listen_count++]);
	case 's':
		o->server = true;
		return !address_parse(optarg, true, &f->server);
	case 'n':
		o->instance = optarg;
		return true;
	case 'S':
		o->service = optarg;
		return true;
	case 'v':
		f->verbose = true;
		return true;
	case 'p':
		if (!number(optarg, 0, 3600, &n))
			return false;
		o->patience_ms = n * 1000;
		return true;
	case 'i':
		if (!number(optarg, 1, 86400, &n))
			return false;
		f->idle_ms = n * 1000;
		return true;
	case 'c':
		if (!number(optarg, 1, 1000000, &n))
			return false;
		o->clients_max = n;
		return true;
	}
	return false;
}

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct options *o, struct front *f)
{
	static const struct option longs[] = {
		{"listen", required_argument, NULL, 'l'},
		{"server", required_argument, NULL, 's'},
		{"instance", required_argument, NULL, 'n'},
		{"service", required_argument, NULL, 'S'},
		{"patience", required_argument, NULL, 'p'},
		{"idle", required_argument, NULL, 'i'},
		{"connections", required_argument, NULL, 'c'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "l:s:n:S:p:i:c:vhV", longs, NULL)) != -1) {
		if (opt == 'h') {
			usage(stdout);
			return 0;
		}
		if (opt == 'V') {
			puts("holdfast-front " HOLDFAST_VERSION);
			return 0;
		}
		if (opt != '?' && !set_option(o, f, opt))
			front_log("bad value for -%c: %s", opt, optarg);
		else if (opt != '?')
			continue;
		usage(stderr);
		return 2;
	}
	if (optind == argc && o->server && o->listen_count)
		return -1;
	usage(stderr);
	return 2;
}

/* Two descriptors a connection, and some for the rest. */
static unsigned int room_for(unsigned int clients)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return clients;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
	return r.rlim_cur < 2ull * clients + 64 ? (unsigned int)(r.rlim_cur - 64) / 2 : clients;
}

int main(int argc, char **argv)
{
	struct options o = {.service = "front", .clients_max = 10000, .patience_ms = 2000};
	static struct loop l;
	struct sigaction count = {.sa_handler = on_signal};
	int ret;

	l.front.idle_ms = 75000;
	ret = parse_options(argc, argv, &o, &l.front);
	if (ret >= 0)
		return ret;
	TAILQ_INIT(&l.front.clients);
	TAILQ_INIT(&l.front.dead);
	TAILQ_INIT(&l.front.waiting);
	l.patience_ms = o.patience_ms;
	l.clients_max = room_for(o.clients_max);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGUSR1, &count, NULL);
	if (!server_answers(&l.front.server, ANSWER_MS))
		front_log("waiting for the server");
	/* who cannot serve does not say that it could */
	while (!server_answers(&l.front.server, ANSWER_MS))
		nanosleep(&(struct timespec){.tv_nsec = ANSWER_MS * 1000000}, NULL);
	if (set_up(&l, &o))
		return 1;
	run(&l);
	front_log("the server does not answer: another node takes over");
	return 1;
}
