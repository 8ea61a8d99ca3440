/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Two or three stores in one loop, over loopback, in a network namespace of the test's own:
 *
 *	a (10.9.0.1) --- b (10.9.0.2) --- c (10.9.0.3)       all on lo
 *	b as a and c see it may be a relay on 10.9.1.2, which forwards until it is told to stop
 *
 * Nodes are named a, b, c; the lower name dials.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <openssl/evp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cmocka.h>

#include "control/addr.h"
#include "control/takeover/frame.h"
#include "control/takeover/shelf.h"
#include "control/takeover/store_private.h"
#include "tests/unit/tls_world.h"

#define NODES    3
#define PORT     7300
#define LEASE_MS 400
#define BEAT_MS  50
#define RECORDS  100 /* that a node of another process puts, if it owns */

struct group;

struct node {
	struct group *w;
	struct store *store;
	int n;
	int changes, leases;
	uint64_t lease_until;
	uint64_t committed; /* the newest ticket */
	struct store_status told;
	char asked[HF_NAME_LEN];
};

struct group {
	struct event_base *base;
	struct event *alarm;
	struct node node[NODES];
	int count;
	bool relayed; /* b is reached through the relay */
	struct relay *relay;
	bool two_owners;
	uint32_t lease_ms;
	pid_t child; /* a node in a process of its own */
	int child_says;
};

/* Runs the loop until it is so. */
#undef WAIT
#define WAIT(w, condition)                                                                         \
	do {                                                                                       \
		struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};                          \
		evtimer_add((w)->alarm, &patience);                                                \
		while (!(condition))                                                               \
			turn(w);                                                                   \
		evtimer_del((w)->alarm);                                                           \
	} while (0)

static const struct store_status *status(const struct group *w, int n)
{
	return store_status(w->node[n].store);
}

static bool is(const struct group *w, int n, enum store_state state)
{
	return w->node[n].store && status(w, n)->state == state;
}

/* What the data plane would say: the lease as the owner was last told. */
static bool fenced_in(const struct node *n)
{
	return n->store && n->told.state == STORE_OWNER && store_now_ns() < n->lease_until;
}

static void turn(struct group *w)
{
	int owners = 0;

	event_base_loop(w->base, EVLOOP_ONCE);
	for (int i = 0; i < w->count; i++)
		owners += fenced_in(&w->node[i]);
	if (owners > 1)
		w->two_owners = true;
}

static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
	struct group *w = arg;

	(void)fd;
	(void)what;
	for (int i = 0; i < w->count; i++)
		if (w->node[i].store)
			print_message(
				"%c: state %d synced %d epoch %u owner '%s' lag %llu why '%s'\n",
				'a' + i, status(w, i)->state, status(w, i)->synced,
				status(w, i)->epoch, status(w, i)->owner,
				(unsigned long long)status(w, i)->lag, status(w, i)->why);
	fail_msg("nothing happened for %d ms", PATIENCE_MS);
}

/* ---- a node ----------------------------------------------------------------- */

static void on_changed(void *arg, const struct store_status *s)
{
	struct node *n = arg;

	n->told = *s;
	n->changes++;
	if (s->state != STORE_OWNER)
		n->lease_until = 0;
}

static void on_lease(void *arg, uint64_t until_ns)
{
	struct node *n = arg;

	n->lease_until = until_ns;
	n->leases++;
}

static void on_committed(void *arg, uint64_t ticket)
{
	struct node *n = arg;

	assert_true(ticket > n->committed);
	n->committed = ticket;
}

static void on_asked(void *arg, const char *to)
{
	struct node *n = arg;

	snprintf(n->asked, sizeof(n->asked), "%s", to);
}

static const struct store_ops ops = {
	.changed = on_changed,
	.lease = on_lease,
	.committed = on_committed,
	.asked = on_asked,
};

static const uint8_t the_key[KEY_LEN] = {1, 2, 3};
static const char *const names[NODES] = {"a", "b", "c"};

static struct hf_addr address(int net, int host)
{
	return (struct hf_addr){
		.b = {[10] = 0xff, [11] = 0xff, 10, 9, (uint8_t)net, (uint8_t)(host + 1)}};
}

static struct store_config config_for(const struct group *w, int n)
{
	struct store_config c = {.group = "g",
				 .node = names[n],
				 .lease_ms = w->lease_ms,
				 .heartbeat_ms = BEAT_MS,
				 .port = PORT,
				 .key = the_key};

	c.listen = address(0, n);
	for (int i = 0; i < w->count; i++) {
		struct store_peer *p = &c.peers[c.peer_count];

		if (i == n)
			continue;
		snprintf(p->node, sizeof(p->node), "%s", names[i]);
		p->addr = address(i == 1 && w->relayed ? 1 : 0, i);
		p->port = PORT;
		c.peer_count++;
	}
	return c;
}

static void open_with(struct group *w, int n, const struct store_config *c)
{
	char err[200] = "";

	w->node[n] = (struct node){.w = w, .n = n};
	if (store_direct_open(w->base, c, &ops, &w->node[n], &w->node[n].store, err, sizeof(err)))
		fail_msg("store %s: %s", names[n], err);
}

static void open_node(struct group *w, int n)
{
	struct store_config c = config_for(w, n);

	open_with(w, n, &c);
}

static void close_node(struct group *w, int n)
{
	store_close(w->node[n].store);
	w->node[n] = (struct node){.w = w, .n = n};
}

static struct record record_of(uint64_t id, uint64_t commit)
{
	struct record r = {.id = id,
			   .node = "a",
			   .service = "s",
			   .proto = IPPROTO_TCP,
			   .in_commit = commit,
			   .epoch = 1};

	return r;
}

static uint64_t put(struct group *w, int n, uint64_t id, uint64_t commit)
{
	struct record r = record_of(id, commit);
	uint64_t ticket = 0;

	assert_int_equal(store_put(w->node[n].store, &r, &ticket), 0);
	return ticket;
}

struct held {
	size_t count;
	uint64_t id, commit;
};

static bool look(void *arg, const struct record *r)
{
	struct held *h = arg;

	h->count++;
	if (r->id == h->id)
		h->commit = r->in_commit;
	return true;
}

static struct held held(struct group *w, int n, uint64_t id)
{
	struct held h = {.id = id};

	store_each(w->node[n].store, look, &h);
	return h;
}

static bool whole(const struct group *w, int owner)
{
	for (int i = 0; i < w->count; i++)
		if (i != owner && w->node[i].store &&
		    !(is(w, i, STORE_STANDBY) && status(w, i)->synced))
			return false;
	/* leased: the standby has granted and may take over */
	return is(w, owner, STORE_OWNER) && status(w, owner)->synced &&
	       status(w, owner)->lease_until_ns != UINT64_MAX;
}

/* a owns, the others stand by. */
static void begin(struct group *w, int count)
{
	w->count = count;
	for (int i = 0; i < count; i++)
		open_node(w, i);
	WAIT(w, is(w, 0, STORE_VACANT));
	assert_int_equal(store_claim(w->node[0].store), 0);
	WAIT(w, whole(w, 0));
}

static void commit_one(struct group *w, int n, uint64_t id, uint64_t commit)
{
	uint64_t ticket = put(w, n, id, commit);

	WAIT(w, w->node[n].committed >= ticket);
}

/* ---- a node in a process of its own, to be killed -------------------------------- */

static void crash_child(struct group *w)
{
	if (w->child <= 0)
		return;
	kill(w->child, SIGKILL);
	waitpid(w->child, NULL, 0);
	close(w->child_says);
	w->child = 0;
}

/* Claims when it can; as owner puts RECORDS records, and says so when they are committed; as
 * standby says so when it is synced. */
static void child_run(struct group *w, int n, int out)
{
	bool put_all = false, said = false;

	open_node(w, n);
	for (;;) {
		struct node *me = &w->node[n];

		if (is(w, n, STORE_VACANT))
			store_claim(me->store);
		if (whole(w, n) && !put_all) {
			for (uint64_t id = 1; id <= RECORDS; id++)
				put(w, n, id, id * 10);
			put_all = true;
		}
		if (!said && ((put_all && status(w, n)->lag == 0) ||
			      (is(w, n, STORE_STANDBY) && status(w, n)->synced)))
			said = write(out, "y", 1) == 1;
		event_base_loop(w->base, EVLOOP_ONCE);
	}
}

static void start_child(struct group *w, int n)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w->child = fork();
	assert_true(w->child >= 0);
	if (w->child == 0) { /* with nothing of ours */
		struct group mine = {.count = w->count, .lease_ms = w->lease_ms};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		mine.base = event_base_new();
		mine.alarm = evtimer_new(mine.base, on_alarm, &mine);
		child_run(&mine, n, ends[1]);
	}
	close(ends[1]);
	w->child_says = ends[0];
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

static bool child_said(struct group *w)
{
	char c;

	return read(w->child_says, &c, 1) == 1;
}

/* ---- relay -------------------------------------------------------------------- */

struct relay {
	struct group *w;
	struct evconnlistener *listener;
	bool stopped;
	struct bufferevent *ends[32];
	int count;
};

static void relay_read(struct bufferevent *bev, void *arg)
{
	struct relay *r = arg;

	for (int i = 0; i < r->count; i++)
		if (r->ends[i] == bev && r->ends[i ^ 1] && !r->stopped)
			bufferevent_write_buffer(r->ends[i ^ 1], bufferevent_get_input(bev));
	if (r->stopped)
		evbuffer_drain(bufferevent_get_input(bev), SIZE_MAX);
}

static void relay_event(struct bufferevent *bev, short what, void *arg)
{
	struct relay *r = arg;

	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
		return;
	for (int i = 0; i < r->count; i++) {
		if (r->ends[i] != bev)
			continue;
		for (int k = 0; k < 2; k++) {
			if (r->ends[i ^ k] && !(k == 1 && r->stopped))
				bufferevent_free(r->ends[i ^ k]);
			if (!(k == 1 && r->stopped))
				r->ends[i ^ k] = NULL;
		}
		return;
	}
}

static void relay_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from,
			 int len, void *arg)
{
	struct relay *r = arg;
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(PORT),
				 .sin_addr.s_addr = htonl(0x0a090002)};
	struct bufferevent *in, *out;

	(void)l;
	(void)from;
	(void)len;
	if (r->stopped || r->count + 2 > 32) {
		close(fd);
		return;
	}
	in = bufferevent_socket_new(r->w->base, fd, BEV_OPT_CLOSE_ON_FREE);
	out = bufferevent_socket_new(r->w->base, -1, BEV_OPT_CLOSE_ON_FREE);
	r->ends[r->count++] = in;
	r->ends[r->count++] = out;
	bufferevent_setcb(in, relay_read, NULL, relay_event, r);
	bufferevent_setcb(out, relay_read, NULL, relay_event, r);
	bufferevent_socket_connect(out, (struct sockaddr *)&to, sizeof(to));
	bufferevent_enable(in, EV_READ | EV_WRITE);
	bufferevent_enable(out, EV_READ | EV_WRITE);
}

static void relay_open(struct group *w)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(PORT),
				 .sin_addr.s_addr = htonl(0x0a090102)};

	w->relayed = true;
	w->relay = calloc(1, sizeof(*w->relay));
	w->relay->w = w;
	w->relay->listener = evconnlistener_new_bind(w->base, relay_accept, w->relay,
						     LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 8,
						     (struct sockaddr *)&at, sizeof(at));
	assert_non_null(w->relay->listener);
}

static void relay_free(struct relay *r)
{
	if (!r)
		return;
	evconnlistener_free(r->listener);
	for (int i = 0; i < r->count; i++)
		if (r->ends[i])
			bufferevent_free(r->ends[i]);
	free(r);
}

/* ---- fixture -------------------------------------------------------------------- */

static int own_network(void **state)
{
	struct ifreq ifr = {.ifr_name = "lo"};
	int fd;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	if (unshare(CLONE_NEWNET) < 0)
		return 0; /* said by each test */
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	ifr.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		return -1;
	for (int net = 0; net < 2; net++) {
		for (int host = 1; host <= NODES; host++) {
			struct sockaddr_in *a = (struct sockaddr_in *)&ifr.ifr_addr;

			snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "lo:%d", net * 10 + host);
			*a = (struct sockaddr_in){
				.sin_family = AF_INET,
				.sin_addr.s_addr =
					htonl(0x0a090000u | (uint32_t)(net << 8) | (uint32_t)host)};
			if (ioctl(fd, SIOCSIFADDR, &ifr) < 0)
				return -1;
		}
	}
	close(fd);
	return 0;
}

static int group_setup(void **state)
{
	struct group *w;

	if (geteuid() != 0) {
		print_message("no network namespace without root: skipped\n");
		skip();
	}
	w = calloc(1, sizeof(*w));
	w->lease_ms = LEASE_MS;
	w->base = event_base_new();
	w->alarm = evtimer_new(w->base, on_alarm, w);
	*state = w;
	return 0;
}

static int group_teardown(void **state)
{
	struct group *w = *state;
	bool two = w->two_owners;

	crash_child(w);
	for (int i = 0; i < NODES; i++)
		store_close(w->node[i].store);
	relay_free(w->relay);
	event_free(w->alarm);
	event_base_loop(w->base, EVLOOP_NONBLOCK);
	event_base_free(w->base);
	free(w);
	if (two)
		print_error("two owners at one time\n");
	return two ? -1 : 0;
}

/* ---- somebody who speaks the protocol by another hand -------------------------------- */

static void voice_read(struct bufferevent *bev, void *arg)
{
	struct speaker *s = arg;

	evbuffer_add_buffer(s->heard, bufferevent_get_input(bev));
}

static void voice_event(struct bufferevent *bev, short what, void *arg)
{
	struct speaker *s = arg;

	(void)bev;
	if (what & BEV_EVENT_CONNECTED)
		s->shaken = true;
	else
		s->closed = true;
}

/* To node n, with that identity and key. */
static void voice_open(struct group *w, struct speaker *s, int n, const char *identity,
		       const uint8_t *key)
{
	SSL *ssl = speaker_ssl(s, identity, key);
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(PORT),
				 .sin_addr.s_addr = htonl(0x0a090001u + (uint32_t)n)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	s->heard = evbuffer_new();
	s->bev = bufferevent_openssl_socket_new(w->base, fd, ssl, BUFFEREVENT_SSL_CONNECTING,
						BEV_OPT_CLOSE_ON_FREE);
	bufferevent_openssl_set_allow_dirty_shutdown(s->bev, 1);
	bufferevent_setcb(s->bev, voice_read, NULL, voice_event, s);
	bufferevent_enable(s->bev, EV_READ | EV_WRITE);
	WAIT(w, s->shaken || s->closed);
}

static void voice_say(struct speaker *s, const struct frame *f)
{
	uint8_t bytes[FRAME_FIXED_MAX];

	bufferevent_write(s->bev, bytes, frame_create(f, bytes));
}

/* The next frame of that type, others are passed over; false: it has not come. */
static bool voice_hears(struct speaker *s, enum frame_type type, struct frame *ret)
{
	size_t len, need;
	ssize_t n;

	while ((len = evbuffer_get_length(s->heard)) > 0) {
		n = frame_consume(evbuffer_pullup(s->heard, -1), len, ret, &need);
		if (n == -EAGAIN)
			return false;
		assert_true(n > 0);
		evbuffer_drain(s->heard, (size_t)n);
		if (ret->type == type)
			return true;
	}
	return false;
}

/* ---- tests ------------------------------------------------------------------------ */

static void t7_put_is_committed_when_the_standby_has_it(void **state)
{
	struct group *w = *state;
	uint64_t ticket;

	begin(w, 2);
	assert_string_equal(status(w, 1)->owner, "a");
	ticket = put(w, 0, 7, 100);
	assert_int_equal(w->node[0].committed, 0); /* never out of the call */
	WAIT(w, w->node[0].committed >= ticket);
	assert_int_equal(held(w, 1, 7).commit, 100);
	assert_int_equal(status(w, 0)->commits, 1);
	assert_int_equal(status(w, 0)->lag, 0);
}

static void t7_of_one_id_the_newest_goes(void **state)
{
	struct group *w = *state;
	uint64_t last = 0;

	begin(w, 2);
	for (uint64_t i = 1; i <= 50; i++)
		last = put(w, 0, 7, i);
	WAIT(w, w->node[0].committed >= last);
	assert_int_equal(held(w, 1, 7).commit, 50);
	assert_int_equal(status(w, 0)->commits, 1);
	assert_int_equal(store_delete(w->node[0].store, 7, &last), 0);
	WAIT(w, w->node[0].committed >= last);
	assert_int_equal(held(w, 1, 7).count, 0);
}

static void only_an_owner_writes(void **state)
{
	struct group *w = *state;
	struct record r = record_of(1, 1);
	uint64_t ticket;

	begin(w, 2);
	assert_int_equal(store_put(w->node[1].store, &r, &ticket), -EPERM);
	assert_int_equal(store_delete(w->node[1].store, 1, &ticket), -EPERM);
	assert_int_equal(store_hand(w->node[1].store, "a"), -EPERM);
	assert_int_equal(store_claim(w->node[1].store), -EAGAIN);
	assert_int_equal(store_hand(w->node[0].store, "nobody"), -ENOTCONN);
}

static void two_claim_at_once_and_one_gets_it(void **state)
{
	struct group *w = *state;

	w->count = 2;
	open_node(w, 0);
	assert_int_equal(store_claim(w->node[0].store), -EPERM); /* alone, and never synced */
	open_node(w, 1);
	WAIT(w, is(w, 0, STORE_VACANT) && is(w, 1, STORE_VACANT));
	assert_int_equal(store_claim(w->node[1].store), 0);
	assert_int_equal(store_claim(w->node[0].store), 0);
	WAIT(w, whole(w, 0) || whole(w, 1));
}

static void t6_a_node_that_returns_gets_all_of_10000(void **state)
{
	struct group *w = *state;
	uint64_t last = 0;

	begin(w, 2);
	for (uint64_t id = 1; id <= 10000; id++)
		last = put(w, 0, id, id);
	WAIT(w, w->node[0].committed >= last);
	assert_int_equal(held(w, 1, 10000).count, 10000);
	close_node(w, 1);
	for (uint64_t id = 1; id <= 10; id++)
		assert_int_equal(store_delete(w->node[0].store, id, &last), 0);
	last = put(w, 0, 20000, 5);
	WAIT(w, w->node[0].committed >= last); /* it said goodbye: we may be alone */
	open_node(w, 1);
	WAIT(w, is(w, 1, STORE_STANDBY));
	last = put(w, 0, 20001, 6); /* while the copy is under way */
	WAIT(w, whole(w, 0) && w->node[0].committed >= last);
	assert_int_equal(held(w, 1, 20000).count, 10000 - 10 + 2);
	assert_int_equal(held(w, 1, 20000).commit, 5);
	assert_int_equal(held(w, 1, 20001).commit, 6);
	assert_true(status(w, 1)->resyncs == 1);
}

static void t6_hand_over_in_order(void **state)
{
	struct group *w = *state;
	uint64_t resyncs, ticket;
	uint32_t epoch;

	begin(w, 2);
	epoch = status(w, 0)->epoch;
	resyncs = status(w, 0)->resyncs;
	assert_int_equal(store_ask(w->node[1].store), 0);
	WAIT(w, !strcmp(w->node[0].asked, "b"));
	ticket = put(w, 0, 1, 11);
	assert_int_equal(store_hand(w->node[0].store, "b"), 0);
	assert_true(is(w, 0, STORE_OWNER)); /* not out of the call */
	WAIT(w, is(w, 1, STORE_OWNER));
	assert_int_equal(w->node[0].committed, ticket); /* first that */
	assert_true(is(w, 0, STORE_STANDBY));
	assert_true(status(w, 1)->epoch > epoch);
	WAIT(w, whole(w, 1));
	assert_int_equal(status(w, 0)->resyncs, resyncs); /* who gave has everything */
	commit_one(w, 1, 2, 22);
	assert_int_equal(held(w, 0, 1).commit, 11);
	assert_int_equal(held(w, 0, 2).commit, 22);
	assert_int_equal(store_hand(w->node[1].store, "a"), 0);
	WAIT(w, whole(w, 0));
	commit_one(w, 0, 3, 33);
	assert_int_equal(held(w, 1, 3).commit, 33);
}

static void t6_crash_of_the_owner(void **state)
{
	struct group *w = *state;
	uint64_t died;
	uint32_t epoch;

	w->count = 2;
	start_child(w, 0);
	open_node(w, 1);
	WAIT(w, child_said(w));
	assert_true(is(w, 1, STORE_STANDBY));
	epoch = status(w, 1)->epoch;
	assert_int_equal(store_claim(w->node[1].store), -EAGAIN);
	died = store_now_ns();
	crash_child(w);
	WAIT(w, is(w, 1, STORE_VACANT));
	/* the last grant was at most a heartbeat old, and some ms */
	assert_true(store_now_ns() - died > (LEASE_MS - 2 * BEAT_MS) * 1000000ull);
	print_message("info: vacant %llu ms after the crash, lease %u ms\n",
		      (unsigned long long)(store_now_ns() - died) / 1000000, LEASE_MS);
	assert_int_equal(store_claim(w->node[1].store), 0);
	WAIT(w, is(w, 1, STORE_OWNER));
	assert_true(status(w, 1)->epoch > epoch);
	assert_int_equal(held(w, 1, RECORDS).count, RECORDS);
	assert_int_equal(held(w, 1, RECORDS).commit, RECORDS * 10);
	assert_int_equal(w->node[1].lease_until, UINT64_MAX); /* nobody else could */
	commit_one(w, 1, 1000, 1);
	/* it comes back, and is standby only after the full copy */
	open_node(w, 0);
	WAIT(w, whole(w, 1));
	assert_int_equal(held(w, 0, 1000).count, RECORDS + 1);
	assert_true(w->node[1].lease_until != UINT64_MAX);
}

static void t7_owner_stops_when_its_standby_is_gone(void **state)
{
	struct group *w = *state;
	struct record r = record_of(1, 1);
	uint64_t ticket;

	w->count = 2;
	start_child(w, 1);
	open_node(w, 0);
	WAIT(w, is(w, 0, STORE_VACANT) || is(w, 0, STORE_STANDBY));
	store_claim(w->node[0].store); /* or the child was quicker: then it has it */
	WAIT(w, is(w, 0, STORE_OWNER) || is(w, 0, STORE_STANDBY));
	if (is(w, 0, STORE_STANDBY)) {
		WAIT(w, status(w, 0)->synced && child_said(w));
		assert_int_equal(store_ask(w->node[0].store), 0);
		crash_child(w);
		WAIT(w, is(w, 0, STORE_VACANT));
		return; /* the other way round is another test */
	}
	WAIT(w, child_said(w));
	WAIT(w, whole(w, 0));
	crash_child(w);
	put(w, 0, 1, 1);
	WAIT(w, !is(w, 0, STORE_OWNER));
	assert_int_equal(w->node[0].committed, 0);
	assert_int_equal(store_put(w->node[0].store, &r, &ticket), -EPERM);
	assert_true(is(w, 0, STORE_AWAY));
	/* a new standby, without memory: it cannot own, so we may */
	open_node(w, 1);
	WAIT(w, is(w, 0, STORE_VACANT));
	assert_int_equal(store_claim(w->node[0].store), 0);
	WAIT(w, whole(w, 0));
	commit_one(w, 0, 2, 2);
}

static void operator_says_alone(void **state)
{
	struct group *w = *state;

	w->count = 2;
	open_node(w, 0);
	assert_int_equal(store_alone(w->node[0].store), 0);
	WAIT(w, is(w, 0, STORE_OWNER));
	assert_int_equal(w->node[0].lease_until, UINT64_MAX);
	assert_false(status(w, 0)->synced);
	commit_one(w, 0, 1, 1);
	open_node(w, 1);
	WAIT(w, whole(w, 0));
	assert_int_equal(held(w, 1, 1).commit, 1);
}

static void partition_never_makes_two_owners(void **state)
{
	struct group *w = *state;
	uint64_t ticket;
	int leases;

	w->count = 2;
	relay_open(w);
	begin(w, 2);
	commit_one(w, 0, 1, 1);
	w->relay->stopped = true;
	ticket = put(w, 0, 1, 2);
	WAIT(w, !is(w, 0, STORE_OWNER));
	leases = w->node[0].leases;
	assert_true(w->node[0].committed < ticket); /* nobody else has it */
	WAIT(w, is(w, 1, STORE_VACANT));
	assert_int_equal(store_claim(w->node[1].store), 0);
	WAIT(w, is(w, 1, STORE_OWNER));
	commit_one(w, 1, 1, 3);
	assert_int_equal(w->node[0].leases, leases);
	assert_false(is(w, 0, STORE_OWNER));
	store_claim(
		w->node[0].store); /* whatever it says, until it finds out that nobody answers */
	commit_one(w, 1, 1, 3);
	assert_false(is(w, 0, STORE_OWNER));
	w->relay->stopped = false;
	WAIT(w, whole(w, 1));
	assert_int_equal(held(w, 0, 1).commit, 3);
}

static void standby_that_says_goodbye_leaves_the_owner_alone(void **state)
{
	struct group *w = *state;
	uint64_t until;

	begin(w, 2);
	close_node(w, 1);
	WAIT(w, w->node[0].lease_until == UINT64_MAX);
	until = store_now_ns() + 2 * LEASE_MS * 1000000ull;
	while (store_now_ns() < until) {
		turn(w);
		assert_true(is(w, 0, STORE_OWNER));
	}
	assert_false(status(w, 0)->synced);
	commit_one(w, 0, 1, 1);
}

static void t6_owner_that_ends_hands_over(void **state)
{
	struct group *w = *state;
	uint64_t start;

	begin(w, 2);
	commit_one(w, 0, 1, 1);
	start = store_now_ns();
	close_node(w, 0);
	WAIT(w, is(w, 1, STORE_OWNER));
	assert_true(store_now_ns() - start < LEASE_MS * 1000000ull / 2);
	commit_one(w, 1, 1, 2);
}

static void three_nodes_a_majority_is_enough(void **state)
{
	struct group *w = *state;

	begin(w, 3);
	commit_one(w, 0, 1, 1);
	close_node(w, 2);
	commit_one(w, 0, 2, 2);
	assert_int_equal(held(w, 1, 2).commit, 2);
	open_node(w, 2);
	WAIT(w, status(w, 2)->synced);
	assert_int_equal(held(w, 2, 2).commit, 2);
	WAIT(w, store_hand(w->node[0].store, "c") == 0); /* once c has granted */
	WAIT(w, whole(w, 2));
	commit_one(w, 2, 3, 3);
}

static void three_nodes_crash_of_the_owner(void **state)
{
	struct group *w = *state;

	w->count = 3;
	start_child(w, 0);
	open_node(w, 1);
	open_node(w, 2);
	WAIT(w, child_said(w));
	WAIT(w, status(w, 1)->synced && status(w, 2)->synced);
	crash_child(w);
	WAIT(w, is(w, 1, STORE_VACANT) && is(w, 2, STORE_VACANT));
	assert_int_equal(store_claim(w->node[2].store), 0);
	assert_int_equal(store_claim(w->node[1].store), 0);
	WAIT(w, whole(w, 1) || whole(w, 2));
	assert_int_equal(held(w, 1, RECORDS).count, RECORDS);
	assert_int_equal(held(w, 2, RECORDS).count, RECORDS);
	commit_one(w, is(w, 1, STORE_OWNER) ? 1 : 2, 1000, 1);
}

static void another_key_is_refused(void **state)
{
	static const uint8_t other_key[KEY_LEN] = {9};
	struct group *w = *state;
	struct store_config c;

	w->count = 2;
	c = config_for(w, 0);
	c.key = other_key;
	open_with(w, 0, &c);
	open_node(w, 1);
	WAIT(w, status(w, 1)->refused >= 2);
	WAIT(w, strstr(status(w, 0)->why, "keys differ") != NULL);
	assert_true(is(w, 0, STORE_AWAY) && is(w, 1, STORE_AWAY));
}

static void another_group_or_lease_is_refused(void **state)
{
	struct group *w = *state;
	struct store_config c;

	w->count = 2;
	c = config_for(w, 0);
	c.group = "other";
	open_with(w, 0, &c);
	open_node(w, 1);
	WAIT(w, status(w, 1)->refused >= 1);
	close_node(w, 0);
	c.group = "g";
	c.lease_ms *= 2;
	open_with(w, 0, &c);
	WAIT(w, status(w, 1)->refused >= 3);
	assert_true(is(w, 1, STORE_AWAY));
}

static void another_version_is_refused_and_hears_nothing(void **state)
{
	struct group *w = *state;
	struct frame f = {.type = FRAME_HELLO};
	uint8_t bytes[FRAME_FIXED_MAX];
	struct speaker s;
	size_t len;

	w->count = 2;
	open_node(w, 1);
	voice_open(w, &s, 1, "a", the_key);
	assert_true(s.shaken);
	snprintf(f.hello.group, HF_NAME_LEN, "g");
	snprintf(f.hello.node, HF_NAME_LEN, "a");
	len = frame_create(&f, bytes);
	bytes[FRAME_HEADER_LEN + 5]++; /* the version */
	bufferevent_write(s.bev, bytes, len);
	WAIT(w, s.closed);
	assert_int_equal(evbuffer_get_length(s.heard), 0);
	assert_int_equal(status(w, 1)->refused, 1);
	speaker_close(&s);
}

static void garbage_changes_nothing(void **state)
{
	struct group *w = *state;
	static const uint8_t wrong[KEY_LEN] = {5};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(PORT),
				 .sin_addr.s_addr = htonl(0x0a090002)};
	uint64_t refused;
	struct speaker s;

	begin(w, 2);
	refused = status(w, 1)->refused;
	for (int i = 0; i < 2 * 16; i++) { /* more than may be guests at once */
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
		assert_int_equal(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
		WAIT(w, status(w, 1)->refused > refused + (uint64_t)i);
		close(fd);
	}
	voice_open(w, &s, 1, "a", wrong); /* the right name */
	assert_false(s.shaken);
	speaker_close(&s);
	voice_open(w, &s, 1, "nobody", the_key);
	assert_false(s.shaken);
	speaker_close(&s);
	commit_one(w, 0, 1, 1);
	assert_true(whole(w, 0));
}

/* Takes a's place at b, by another hand. */
static void pose_as_a(struct group *w, struct speaker *s, struct frame *ret_hello)
{
	struct frame f = {.type = FRAME_HELLO};
	static const char members[5][HF_NAME_LEN] = {"a", "b"};
	uint8_t sum[EVP_MAX_MD_SIZE];

	EVP_Digest(members, sizeof(members), sum, NULL, EVP_sha256(), NULL);
	memcpy(f.hello.members, sum, FRAME_DIGEST_LEN);
	snprintf(f.hello.group, HF_NAME_LEN, "g");
	snprintf(f.hello.node, HF_NAME_LEN, "a");
	f.hello.lease_ms = w->lease_ms;
	voice_open(w, s, 1, "a", the_key);
	assert_true(s->shaken);
	voice_say(s, &f);
	WAIT(w, voice_hears(s, FRAME_HELLO, ret_hello));
}

static void t7_an_older_epoch_is_refused(void **state)
{
	struct group *w = *state;
	struct frame f, got;
	struct speaker s;

	w->count = 2;
	open_node(w, 1);
	pose_as_a(w, &s, &got);
	assert_string_equal(got.hello.node, "b");
	for (uint32_t epoch = 2; epoch <= 4; epoch += 2) { /* of two nodes a's are even */
		f = (struct frame){.type = FRAME_LEASE,
				   .lease = {.event = LEASE_SERVES,
					     .epoch = epoch,
					     .flags = LEASE_IS_OWNER | LEASE_IS_SOLE}};
		voice_say(&s, &f);
		f = (struct frame){.type = FRAME_BEGIN, .epoch = epoch};
		voice_say(&s, &f);
		f.type = FRAME_END;
		voice_say(&s, &f);
		WAIT(w, voice_hears(&s, FRAME_ACK, &got));
		assert_int_equal(got.epoch, epoch);
	}
	f = (struct frame){.type = FRAME_PUT, .epoch = 2, .seq = 1};
	voice_say(&s, &f);
	do
		WAIT(w, voice_hears(&s, FRAME_LEASE, &got));
	while (got.lease.event != LEASE_REFUSE);
	assert_int_equal(got.lease.epoch, 4);
	/* of the present one it is taken; out of turn it is not */
	f.epoch = 4;
	voice_say(&s, &f);
	WAIT(w, voice_hears(&s, FRAME_ACK, &got));
	f.seq = 3;
	voice_say(&s, &f);
	WAIT(w, s.closed);
	speaker_close(&s);
}

static void t7_what_waits_is_bounded(void **state)
{
	static uint8_t data[HF_DATA_MAX];
	struct group *w = *state;
	struct record r = {.node = "a", .proto = IPPROTO_TCP};
	uint64_t ticket;
	int rc = 0;

	w->count = 2;
	w->lease_ms = 20000;
	relay_open(w);
	begin(w, 2);
	for (uint32_t p = 1; p <= HF_PROTOCOLS_MAX; p++)
		assert_int_equal(record_set_protocol(&r, p, NULL, 0, 0, data, sizeof(data)), 0);
	w->relay->stopped = true;
	for (r.id = 1; rc == 0 && r.id < 10000; r.id++)
		rc = store_put(w->node[0].store, &r, &ticket);
	assert_int_equal(rc, -ENOBUFS);
	assert_true(r.id > STORE_QUEUE_MAX / 40000);
	r.id = 1; /* no more than before */
	assert_int_equal(store_put(w->node[0].store, &r, &ticket), 0);
	record_clear(&r);
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* No test: a figure. The standby is another process. */
static void how_long_a_commit_takes(void **state)
{
	enum { ROUNDS = 2000 };
	static uint64_t took[ROUNDS];
	struct group *w = *state;

	w->count = 2;
	open_node(w, 0);
	assert_int_equal(store_alone(w->node[0].store), 0);
	WAIT(w, is(w, 0, STORE_OWNER));
	start_child(w, 1);
	WAIT(w, whole(w, 0));
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = store_now_ns();

		commit_one(w, 0, 1, (uint64_t)i);
		took[i] = store_now_ns() - start;
	}
	qsort(took, ROUNDS, sizeof(took[0]), by_value);
	print_message("info: put to committed, %d times between two processes: median %.1f us, "
		      "99 %% %.1f us\n",
		      ROUNDS, (double)took[ROUNDS / 2] / 1000,
		      (double)took[ROUNDS * 99 / 100] / 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, group_setup, group_teardown)
		TEST(t7_put_is_committed_when_the_standby_has_it),
		TEST(t7_of_one_id_the_newest_goes),
		TEST(only_an_owner_writes),
		TEST(two_claim_at_once_and_one_gets_it),
		TEST(t6_a_node_that_returns_gets_all_of_10000),
		TEST(t6_hand_over_in_order),
		TEST(t6_crash_of_the_owner),
		TEST(t7_owner_stops_when_its_standby_is_gone),
		TEST(operator_says_alone),
		TEST(partition_never_makes_two_owners),
		TEST(standby_that_says_goodbye_leaves_the_owner_alone),
		TEST(t6_owner_that_ends_hands_over),
		TEST(three_nodes_a_majority_is_enough),
		TEST(three_nodes_crash_of_the_owner),
		TEST(another_key_is_refused),
		TEST(another_group_or_lease_is_refused),
		TEST(another_version_is_refused_and_hears_nothing),
		TEST(garbage_changes_nothing),
		TEST(t7_an_older_epoch_is_refused),
		TEST(t7_what_waits_is_bounded),
		TEST(how_long_a_commit_takes),
	};

	return cmocka_run_group_tests(tests, own_network, NULL);
}
