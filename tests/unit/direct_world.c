/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "tests/unit/direct_world.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <netinet/in.h>

#include "control/takeover/store_private.h"

const struct store_status *direct_status(const struct group *w, int n)
{
	return store_status(w->node[n].store);
}

bool direct_is(const struct group *w, int n, enum store_state state)
{
	return w->node[n].store && direct_status(w, n)->state == state;
}

/* What the data plane would say: the lease as the owner was last told. */
static bool fenced_in(const struct node *n)
{
	return n->store && n->told.state == STORE_OWNER && clock_boot_ns() < n->lease_until;
}

void direct_turn(struct group *w)
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
				'a' + i, direct_status(w, i)->state, direct_status(w, i)->synced,
				direct_status(w, i)->epoch, direct_status(w, i)->owner,
				(unsigned long long)direct_status(w, i)->lag,
				direct_status(w, i)->why);
	fail_msg("nothing happened for %d ms", PATIENCE_MS);
}

/* ---- a node ---- */

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

const uint8_t direct_key[KEY_LEN] = {1, 2, 3};
static const char *const names[NODES] = {"a", "b", "c"};

static struct hf_addr address(int net, int host)
{
	return (struct hf_addr){
		.b = {[10] = 0xff, [11] = 0xff, 10, 9, (uint8_t)net, (uint8_t)(host + 1)}};
}

struct store_config direct_config(const struct group *w, int n)
{
	struct store_config c = {.group = "g",
				 .node = names[n],
				 .lease_ms = w->lease_ms,
				 .heartbeat_ms = BEAT_MS,
				 .port = PORT,
				 .key = direct_key};

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

void direct_open_with(struct group *w, int n, const struct store_config *c)
{
	char err[200] = "";

	w->node[n] = (struct node){.w = w, .n = n};
	if (store_direct_open(w->base, c, &ops, &w->node[n], &w->node[n].store, err, sizeof(err)))
		fail_msg("store %s: %s", names[n], err);
}

void direct_open(struct group *w, int n)
{
	struct store_config c = direct_config(w, n);

	direct_open_with(w, n, &c);
}

void direct_close(struct group *w, int n)
{
	store_close(w->node[n].store);
	w->node[n] = (struct node){.w = w, .n = n};
}

struct record direct_record(uint64_t id, uint64_t commit)
{
	struct record r = {.id = id,
			   .node = "a",
			   .service = "s",
			   .proto = IPPROTO_TCP,
			   .in_commit = commit,
			   .epoch = 1};

	return r;
}

uint64_t direct_put(struct group *w, int n, uint64_t id, uint64_t commit)
{
	struct record r = direct_record(id, commit);
	uint64_t ticket = 0;

	assert_int_equal(store_put(w->node[n].store, &r, &ticket), 0);
	return ticket;
}

static bool look(void *arg, const struct record *r)
{
	struct held *h = arg;

	h->count++;
	if (r->id == h->id)
		h->commit = r->in_commit;
	return true;
}

struct held direct_held(struct group *w, int n, uint64_t id)
{
	struct held h = {.id = id};

	store_each(w->node[n].store, look, &h);
	return h;
}

bool direct_whole(const struct group *w, int owner)
{
	for (int i = 0; i < w->count; i++)
		if (i != owner && w->node[i].store &&
		    !(direct_is(w, i, STORE_STANDBY) && direct_status(w, i)->synced))
			return false;
	/* leased: the standby has granted and may take over */
	return direct_is(w, owner, STORE_OWNER) && direct_status(w, owner)->synced &&
	       direct_status(w, owner)->lease_until_ns != UINT64_MAX;
}

void direct_begin(struct group *w, int count)
{
	w->count = count;
	for (int i = 0; i < count; i++)
		direct_open(w, i);
	WAIT(w, direct_is(w, 0, STORE_VACANT));
	assert_int_equal(store_claim(w->node[0].store), 0);
	WAIT(w, direct_whole(w, 0));
}

void direct_commit(struct group *w, int n, uint64_t id, uint64_t commit)
{
	uint64_t ticket = direct_put(w, n, id, commit);

	WAIT(w, w->node[n].committed >= ticket);
}

/* ---- a node in a process of its own, to be killed ---- */

void direct_child_crash(struct group *w)
{
	if (w->child <= 0)
		return;
	kill(w->child, SIGKILL);
	waitpid(w->child, NULL, 0);
	close(w->child_says);
	w->child = 0;
}

static void child_run(struct group *w, int n, int out)
{
	bool put_all = false, said = false;

	direct_open(w, n);
	for (;;) {
		struct node *me = &w->node[n];

		if (direct_is(w, n, STORE_VACANT))
			store_claim(me->store);
		if (direct_whole(w, n) && !put_all) {
			for (uint64_t id = 1; id <= RECORDS; id++)
				direct_put(w, n, id, id * 10);
			put_all = true;
		}
		if (!said && ((put_all && direct_status(w, n)->lag == 0) ||
			      (direct_is(w, n, STORE_STANDBY) && direct_status(w, n)->synced)))
			said = write(out, "y", 1) == 1;
		event_base_loop(w->base, EVLOOP_ONCE);
	}
}

void direct_child_start(struct group *w, int n)
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

bool direct_child_said(struct group *w)
{
	char c;

	return read(w->child_says, &c, 1) == 1;
}

/* ---- relay ---- */

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

void direct_relay_open(struct group *w)
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

void direct_relay_stop(struct group *w, bool stopped)
{
	w->relay->stopped = stopped;
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

/* ---- fixture ---- */

int direct_network(void **state)
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

int direct_setup(void **state)
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

int direct_teardown(void **state)
{
	struct group *w = *state;
	bool two = w->two_owners;

	direct_child_crash(w);
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

/* ---- somebody who speaks the protocol by another hand ---- */

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

void direct_voice_open(struct group *w, struct speaker *s, int n, const char *identity,
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

void direct_voice_say(struct speaker *s, const struct frame *f)
{
	uint8_t bytes[FRAME_FIXED_MAX];

	bufferevent_write(s->bev, bytes, frame_create(f, bytes));
}

bool direct_voice_hears(struct speaker *s, enum frame_type type, struct frame *ret)
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
