/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "tests/unit/redis_world.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

static char folder[64];

uint64_t redis_world_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* ---- where ---- */

bool redis_world_net(void)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd;

	signal(SIGPIPE,
	       SIG_IGN); /* as holdfastd does: hiredis writes to connections that are gone */
	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		printf("no network namespace of our own: %s\n", strerror(errno));
		return false;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r)) {
		printf("no loopback: %s\n", strerror(errno));
		return false;
	}
	close(fd);
	if (access("/usr/bin/redis-server", X_OK)) {
		printf("no redis-server\n");
		return false;
	}
	return true;
}

void redis_world_folder(void)
{
	snprintf(folder, sizeof(folder), "/tmp/holdfast-redis.XXXXXX");
	assert_non_null(mkdtemp(folder));
}

void redis_world_clean(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
}

/* ---- servers ---- */

static void server_exec(const struct server *s)
{
	char port[8], dir[96], options[sizeof(s->options)], *words[64], *save;
	int count = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(port, sizeof(port), "%u", s->port);
	snprintf(dir, sizeof(dir), "%s/%u", folder, s->port);
	words[count++] = "redis-server";
	words[count++] = "--port";
	words[count++] = port;
	words[count++] = "--dir";
	words[count++] = dir;
	words[count++] = "--logfile";
	words[count++] = "log";
	words[count++] = "--repl-diskless-sync-delay";
	words[count++] = "0";
	words[count++] = "--enable-debug-command";
	words[count++] = "local";
	strcpy(options, s->options);
	for (char *word = strtok_r(options, " ", &save); word; word = strtok_r(NULL, " ", &save))
		words[count++] = strcmp(word, "''") ? word : "";
	words[count] = NULL;
	execv("/usr/bin/redis-server", words);
	_exit(127);
}

static redisContext *server_connect(const struct server *s)
{
	redisContext *c = redisConnectWithTimeout("127.0.0.1", s->port, (struct timeval){2, 0});

	if (c && !c->err)
		redisSetTimeout(c, (struct timeval){5, 0});
	return c;
}

static bool server_answers(const struct server *s)
{
	redisContext *c = server_connect(s);
	redisReply *r = c && !c->err ? redisCommand(c, "PING") : NULL;
	bool good = r && (r->type == REDIS_REPLY_STATUS || !strncmp(r->str, "NOAUTH", 6));

	if (r)
		freeReplyObject(r);
	if (c)
		redisFree(c);
	return good;
}

void redis_server_start(struct server *s, uint16_t port, const char *options)
{
	uint64_t end = redis_world_now_ns() + PATIENCE_MS * 1000000ull;
	char dir[96];

	assert_int_equal(s->pid, 0);
	s->port = port;
	snprintf(s->options, sizeof(s->options), "%s", options);
	snprintf(dir, sizeof(dir), "%s/%u", folder, port);
	mkdir(dir, 0700);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0)
		server_exec(s);
	while (!server_answers(s)) {
		assert_int_equal(waitpid(s->pid, NULL, WNOHANG), 0);
		assert_true(redis_world_now_ns() < end);
		nap();
	}
}

void redis_server_kill(struct server *s)
{
	if (!s->pid)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

void redis_server_signal(struct server *s, int signal)
{
	int status;

	assert_int_equal(kill(s->pid, signal), 0);
	if (signal == SIGSTOP)
		assert_int_equal(waitpid(s->pid, &status, WUNTRACED), s->pid);
}

static redisReply *server_ask_list(const struct server *s, const char *format, va_list args)
{
	redisContext *c = server_connect(s);
	redisReply *r;

	assert_non_null(c);
	r = redisvCommand(c, format, args);
	assert_non_null(r);
	redisFree(c);
	return r;
}

redisReply *redis_server_ask(const struct server *s, const char *format, ...)
{
	va_list args;
	redisReply *r;

	va_start(args, format);
	r = server_ask_list(s, format, args);
	va_end(args);
	return r;
}

void redis_server_do(const struct server *s, const char *format, ...)
{
	va_list args;
	redisReply *r;

	va_start(args, format);
	r = server_ask_list(s, format, args);
	va_end(args);
	if (r->type == REDIS_REPLY_ERROR)
		fail_msg("%s", r->str);
	freeReplyObject(r);
}

long long redis_server_count(const struct server *s)
{
	redisReply *r = redis_server_ask(s, "HLEN holdfast:{g}:records");
	long long count = r->integer;

	freeReplyObject(r);
	return count;
}

/* ---- proxy ---- */

struct pair {
	struct proxy *proxy;
	struct bufferevent *client, *redis;
	struct evbuffer *late; /* what the client sent before it was cut off */
};

struct proxy {
	struct event_base *base;
	struct evconnlistener *listener;
	uint16_t to;
	bool hold;
	bool hold_answers;
	struct pair pairs[PROXY_PAIRS];
};

static void pair_free(struct pair *p)
{
	if (p->client)
		bufferevent_free(p->client);
	if (p->redis)
		bufferevent_free(p->redis);
	if (p->late)
		evbuffer_free(p->late);
	p->client = p->redis = NULL;
	p->late = NULL;
}

static void pair_read(struct bufferevent *from, void *arg)
{
	struct pair *p = arg;

	bufferevent_write_buffer(from == p->client ? p->redis : p->client,
				 bufferevent_get_input(from));
}

static void pair_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		pair_free(arg);
}

static void pair_set(struct pair *p)
{
	(p->proxy->hold ? bufferevent_disable : bufferevent_enable)(p->client, EV_READ);
	(p->proxy->hold || p->proxy->hold_answers ? bufferevent_disable
						  : bufferevent_enable)(p->redis, EV_READ);
}

static void on_proxy(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *peer, int len,
		     void *arg)
{
	struct proxy *proxy = arg;
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(proxy->to)};
	struct pair *p = proxy->pairs;

	(void)l;
	(void)peer;
	(void)len;
	while (p < proxy->pairs + PROXY_PAIRS && p->redis)
		p++;
	if (p == proxy->pairs + PROXY_PAIRS) {
		close(fd);
		return;
	}
	p->proxy = proxy;
	p->client = bufferevent_socket_new(proxy->base, fd, BEV_OPT_CLOSE_ON_FREE);
	p->redis = bufferevent_socket_new(proxy->base, -1, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(p->client, pair_read, NULL, pair_event, p);
	bufferevent_setcb(p->redis, pair_read, NULL, pair_event, p);
	if (bufferevent_socket_connect(p->redis, (struct sockaddr *)&to, sizeof(to)) < 0)
		pair_free(p);
	else
		pair_set(p);
}

struct proxy *redis_proxy_new(struct event_base *base, uint16_t port, uint16_t to)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(port)};
	struct proxy *p = calloc(1, sizeof(*p));

	p->base = base;
	p->to = to;
	p->listener = evconnlistener_new_bind(base, on_proxy, p,
					      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE |
						      LEV_OPT_CLOSE_ON_EXEC,
					      16, (struct sockaddr *)&at, sizeof(at));
	assert_non_null(p->listener);
	return p;
}

void redis_proxy_reset(struct proxy *p)
{
	for (size_t i = 0; i < PROXY_PAIRS; i++)
		pair_free(&p->pairs[i]);
}

void redis_proxy_break_late(struct proxy *p)
{
	struct pair *pair;

	assert_true(p->hold);
	for (pair = p->pairs; pair < p->pairs + PROXY_PAIRS; pair++) {
		if (!pair->client)
			continue;
		pair->late = evbuffer_new();
		while (evbuffer_read(pair->late, bufferevent_getfd(pair->client), -1) > 0)
			;
		bufferevent_free(pair->client);
		pair->client = NULL;
	}
	p->hold = false;
}

void redis_proxy_late(struct proxy *p)
{
	struct pair *pair;
	char answers[4096];
	int fd;

	for (pair = p->pairs; pair < p->pairs + PROXY_PAIRS; pair++) {
		if (!pair->late)
			continue;
		fd = bufferevent_getfd(pair->redis);
		assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
		while (evbuffer_get_length(pair->late))
			assert_true(evbuffer_write(pair->late, fd) > 0);
		shutdown(fd, SHUT_WR);
		while (read(fd, answers, sizeof(answers)) > 0)
			;
		pair_free(pair);
	}
}

void redis_proxy_free(struct proxy *p)
{
	redis_proxy_reset(p);
	evconnlistener_free(p->listener);
	free(p);
}

static void proxy_set(struct proxy *p)
{
	for (size_t i = 0; i < PROXY_PAIRS; i++)
		if (p->pairs[i].client)
			pair_set(&p->pairs[i]);
}

void redis_proxy_hold(struct proxy *p, bool hold)
{
	p->hold = hold;
	proxy_set(p);
}

void redis_proxy_hold_answers(struct proxy *p, bool hold)
{
	p->hold_answers = hold;
	proxy_set(p);
}

/* ---- nodes ---- */

static void on_changed(void *arg, const struct store_status *s)
{
	struct node *n = arg;

	if (s->state == STORE_OWNER && n->status.state != STORE_OWNER)
		n->ownerships++;
	if (s->state != STORE_OWNER && n->status.state == STORE_OWNER) {
		n->lease_ns = 0;
		n->lost_ns = redis_world_now_ns();
	}
	n->status = *s;
	if (n->wants && s->state == STORE_VACANT)
		n->claim_rc = store_claim(n->store);
}

static void on_lease(void *arg, uint64_t until_ns)
{
	struct node *n = arg;

	assert_int_equal(n->status.state, STORE_OWNER);
	n->lease_ns = until_ns;
}

static void on_committed(void *arg, uint64_t ticket)
{
	struct node *n = arg;

	assert_true(ticket >= n->committed);
	n->committed = ticket;
}

static void on_asked(void *arg, const char *to)
{
	struct node *n = arg;

	snprintf(n->asked, sizeof(n->asked), "%s", to);
}

struct store_config redis_world_config(const char *node, uint16_t port)
{
	return (struct store_config){
		.group = "g",
		.node = node,
		.lease_ms = LEASE_MS,
		.heartbeat_ms = HEARTBEAT_MS,
		.redis_host = "127.0.0.1",
		.redis_port = port,
	};
}

void redis_node_open(struct world *w, struct node *n, const struct store_config *config)
{
	static const struct store_ops ops = {.changed = on_changed,
					     .lease = on_lease,
					     .committed = on_committed,
					     .asked = on_asked};
	char err[160] = "";

	n->committed = 0;
	n->status = (struct store_status){0};
	snprintf(n->name, sizeof(n->name), "%s", config->node);
	if (store_redis_open(w->base, config, &ops, n, &n->store, err, sizeof(err)))
		fail_msg("%s", err);
}

void redis_node_close(struct node *n)
{
	store_close(n->store);
	n->store = NULL;
	n->status = (struct store_status){0};
}

void redis_node_own_with(struct world *w, struct node *n, const struct store_config *config)
{
	n->wants = true;
	redis_node_open(w, n, config);
	WAIT(w, n->status.state == STORE_OWNER && n->lease_ns);
}

void redis_node_own(struct world *w, struct node *n, const char *name, uint16_t port)
{
	const struct store_config config = redis_world_config(name, port);

	redis_node_own_with(w, n, &config);
}

void redis_node_stand_by(struct world *w, struct node *n, const char *name, uint16_t port)
{
	const struct store_config config = redis_world_config(name, port);

	n->wants = false;
	redis_node_open(w, n, &config);
	WAIT(w, n->status.state == STORE_STANDBY && n->status.synced);
}

static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

void redis_world_open(struct world *w, const char *options)
{
	const struct timeval often = {.tv_usec = 2000};

	*w = (struct world){0};
	redis_world_folder();
	w->base = event_base_new();
	w->alarm = event_new(w->base, -1, EV_PERSIST, on_alarm, NULL);
	event_add(w->alarm, &often);
	redis_server_start(&w->master, REDIS_PORT, options);
}

void redis_world_close(struct world *w)
{
	redis_node_close(&w->a);
	redis_node_close(&w->b);
	redis_server_kill(&w->replica);
	redis_server_kill(&w->master);
	event_free(w->alarm);
	event_base_free(w->base);
	redis_world_clean();
}

int redis_world_setup(void **state, const char *options)
{
	struct world *w = malloc(sizeof(*w));

	redis_world_open(w, options);
	*state = w;
	return 0;
}

int redis_world_plain(void **state)
{
	return redis_world_setup(state, REDIS_PLAIN);
}

int redis_world_teardown(void **state)
{
	redis_world_close(*state);
	free(*state);
	return 0;
}

/* ---- records ---- */

struct record redis_world_record(uint64_t id, uint64_t number)
{
	return (struct record){.id = id,
			       .node = "x",
			       .service = "s",
			       .proto = IPPROTO_TCP,
			       .in_commit = number,
			       .in_acked = number};
}

uint64_t redis_node_put(struct node *n, uint64_t id, uint64_t number)
{
	struct record r = redis_world_record(id, number);
	uint64_t ticket = 0;

	assert_int_equal(store_put(n->store, &r, &ticket), 0);
	return ticket;
}

void redis_node_commit(struct world *w, struct node *n, uint64_t id, uint64_t number)
{
	uint64_t ticket = redis_node_put(n, id, number);

	WAIT(w, n->committed == ticket);
}

void redis_node_commit_up_to(struct world *w, struct node *n, uint64_t count)
{
	uint64_t ticket = 0;

	for (uint64_t id = 1; id <= count; id++)
		ticket = redis_node_put(n, id, id);
	WAIT(w, n->committed == ticket);
}

struct search {
	uint64_t id, number;
	size_t count;
};

static bool search_one(void *arg, const struct record *r)
{
	struct search *s = arg;

	s->count++;
	if (r->id == s->id)
		s->number = r->in_commit;
	return true;
}

size_t redis_node_count(struct node *n)
{
	struct search s = {0};

	store_each(n->store, search_one, &s);
	return s.count;
}

uint64_t redis_node_number(struct node *n, uint64_t id)
{
	struct search s = {.id = id};

	store_each(n->store, search_one, &s);
	return s.number;
}
