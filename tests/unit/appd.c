/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "tests/unit/appd.h"

#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

struct job {
	void (*run)(struct appd *w, void *arg);
	void *arg;
	bool done;
};

/* ---- ops ------------------------------------------------------------------ */

static int failing(struct appd *w, struct app_why *why)
{
	int err = w->fail;

	w->fail = 0;
	if (err && why)
		snprintf(why->text, sizeof(why->text), "the test wants error %d", -err);
	return err;
}

static void on_hello(void *arg, struct app *a)
{
	struct appd *w = arg;

	w->hellos++;
	w->app = a;
}

static int on_listen(void *arg, struct app *a, int fd, struct app_why *why)
{
	struct appd *w = arg;
	struct sockaddr_in sa;
	socklen_t len = sizeof(sa);
	int err = failing(w, why);

	(void)a;
	if (!err && getsockname(fd, (struct sockaddr *)&sa, &len))
		err = -errno;
	close(fd);
	if (err)
		return err;
	w->listened.local_port = sa.sin_port;
	w->listens++;
	return 0;
}

static struct appd_conn *add(struct appd *w, struct app *a, uint32_t *ret)
{
	struct appd_conn *c = &w->conns[++w->top];

	c->there = true;
	c->app = a;
	*ret = w->top;
	return c;
}

static int on_guard(void *arg, struct app *a, const struct guard_key *key, uint32_t *ret_conn,
		    uint64_t *ret_received, struct app_why *why)
{
	struct appd *w = arg;
	int err = failing(w, why);

	if (err)
		return err;
	w->guards++;
	for (uint32_t i = 1; i <= w->top; i++)
		if (w->conns[i].there && !memcmp(&w->conns[i].key, key, sizeof(*key))) {
			*ret_conn = i;
			*ret_received = w->conns[i].received;
			return 0;
		}
	add(w, a, ret_conn)->key = *key;
	return 0;
}

static int on_datagram(void *arg, struct app *a, int fd, const struct hf_addr *peer,
		       __be16 peer_port, uint32_t *ret_conn, struct app_why *why)
{
	struct appd *w = arg;
	int err = failing(w, why);

	close(fd);
	if (err)
		return err;
	w->datagrams++;
	w->peer = *peer;
	w->peer_port = peer_port;
	add(w, a, ret_conn);
	return 0;
}

static int on_bundle(void *arg, struct app *a, uint32_t conn, uint64_t *bundle, struct app_why *why)
{
	struct appd *w = arg;
	int err = failing(w, why);

	(void)a;
	if (err)
		return err;
	if (!*bundle)
		*bundle = 0x100000000u + ++w->bundles;
	w->conns[conn].bundle = *bundle;
	for (uint32_t i = 1; i <= w->top; i++)
		if (i != conn && w->conns[i].there && w->conns[i].bundle == *bundle)
			w->conns[conn].member++;
	return 0;
}

static void keep(struct appd_conn *c, const struct record_protocol *p)
{
	struct record_protocol *to = NULL;

	for (unsigned int i = 0; i < c->protocol_count && !to; i++)
		if (c->protocols[i].protocol == p->protocol)
			to = &c->protocols[i];
	if (!to)
		to = &c->protocols[c->protocol_count++];
	free(to->object);
	free(to->data);
	*to = *p;
	to->object = p->object ? strdup(p->object) : NULL;
	to->data = NULL;
	if (p->data_len) {
		to->data = malloc(p->data_len);
		memcpy(to->data, p->data, p->data_len);
	}
}

static int on_commit(void *arg, struct app *a, uint32_t conn, uint64_t ticket, uint64_t received,
		     uint32_t flags, const struct record_protocol *p, size_t count)
{
	struct appd *w = arg;
	struct appd_conn *c = &w->conns[conn];
	int err = failing(w, NULL);

	if (err)
		return err;
	if (c->ticket > c->answered)
		w->overlaps++;
	c->ticket = ticket;
	c->received = received;
	c->flags = flags;
	c->commits++;
	c->protocols_told = (unsigned int)count;
	for (size_t i = 0; i < count; i++)
		keep(c, &p[i]);
	w->commits++;
	if (!w->hold) {
		c->answered = ticket;
		app_committed(a, conn, ticket);
	}
	return 0;
}

static void on_ready(void *arg, struct app *a, uint32_t conn, uint32_t protocol)
{
	struct appd_conn *c = &((struct appd *)arg)->conns[conn];

	(void)a;
	c->readies++;
	c->ready = protocol;
}

static int on_end(void *arg, struct app *a, uint32_t conn, struct app_why *why)
{
	struct appd *w = arg;
	int err = failing(w, why);

	(void)a;
	if (err)
		return err;
	w->conns[conn].ended = true;
	return w->hold ? -EINPROGRESS : 0;
}

static void on_forget(void *arg, struct app *a, uint32_t conn)
{
	struct appd_conn *c = &((struct appd *)arg)->conns[conn];

	(void)a;
	c->forgotten = true;
	c->there = false;
}

static void on_gone(void *arg, struct app *a, const char *why)
{
	struct appd *w = arg;

	w->gone++;
	snprintf(w->why, sizeof(w->why), "%s", why);
	if (w->app == a)
		w->app = NULL;
}

static const struct apps_ops ops = {
	.hello = on_hello,
	.listen = on_listen,
	.guard = on_guard,
	.datagram = on_datagram,
	.bundle = on_bundle,
	.commit = on_commit,
	.ready = on_ready,
	.end = on_end,
	.forget = on_forget,
	.gone = on_gone,
};

/* ---- thread ---------------------------------------------------------------- */

static void on_job(evutil_socket_t fd, short what, void *arg)
{
	struct appd *w = arg;
	struct job *job;

	(void)what;
	if (read(fd, &job, sizeof(job)) != sizeof(job))
		return;
	if (!job) {
		event_base_loopbreak(w->base);
		return;
	}
	job->run(w, job->arg);
	pthread_mutex_lock(&w->lock);
	job->done = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void *run(void *arg)
{
	event_base_dispatch(((struct appd *)arg)->base);
	return NULL;
}

static void post(struct appd *w, void (*run)(struct appd *w, void *arg), void *arg)
{
	struct job j = {run, arg, false}, *at = &j;

	assert_int_equal(write(w->jobs[1], &at, sizeof(at)), sizeof(at));
	pthread_mutex_lock(&w->lock);
	while (!j.done)
		pthread_cond_wait(&w->changed, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static void nothing(struct appd *w, void *arg)
{
	(void)w;
	(void)arg;
}

void appd_do(struct appd *w, void (*job)(struct appd *w, void *arg), void *arg)
{
	/* within one round of the loop a job may overtake messages; not across two */
	post(w, nothing, NULL);
	post(w, job, arg);
}

struct question {
	bool (*true_now)(struct appd *w, void *arg);
	void *arg;
	bool answer;
};

static void ask(struct appd *w, void *arg)
{
	struct question *q = arg;

	q->answer = q->true_now(w, q->arg);
}

void appd_until(struct appd *w, bool (*true_now)(struct appd *w, void *arg), void *arg)
{
	struct question q = {true_now, arg, false};
	time_t end = time(NULL) + 10;

	for (;;) {
		appd_do(w, ask, &q);
		if (q.answer)
			return;
		if (time(NULL) > end)
			fail_msg("what was waited for did not happen");
		usleep(200);
	}
}

static void forget_all(struct appd *w)
{
	for (uint32_t i = 1; i <= w->top; i++) {
		struct appd_conn *c = &w->conns[i];

		for (unsigned int j = 0; j < c->protocol_count; j++) {
			free(c->protocols[j].object);
			free(c->protocols[j].data);
		}
		memset(c, 0, sizeof(*c));
	}
	w->top = 0;
}

static void do_kill(struct appd *w, void *arg)
{
	(void)arg;
	apps_close(w->apps);
	w->apps = NULL;
	w->app = NULL;
	forget_all(w);
}

static void do_start(struct appd *w, void *arg)
{
	(void)arg;
	assert_int_equal(apps_open(w->base, w->path, w->gid, "node-a", &ops, w, &w->apps), 0);
}

void appd_kill(struct appd *w)
{
	appd_do(w, do_kill, NULL);
}

void appd_start(struct appd *w)
{
	appd_do(w, do_start, NULL);
}

static void do_release(struct appd *w, void *arg)
{
	(void)arg;
	w->hold = false;
	for (uint32_t i = 1; i <= w->top; i++) {
		struct appd_conn *c = &w->conns[i];

		if (c->ticket > c->answered) {
			c->answered = c->ticket;
			app_committed(c->app, i, c->ticket);
		}
		if (c->ended)
			app_ended(c->app, i);
	}
}

void appd_release(struct appd *w)
{
	appd_do(w, do_release, NULL);
}

struct appd *appd_new(void)
{
	struct appd *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->gid = -1;
	w->conns = calloc(APPD_CONNS, sizeof(*w->conns));
	assert_non_null(w->conns);
	strcpy(w->dir, "/tmp/holdfast-lib-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/server.app", w->dir);
	setenv("HOLDFAST_RUN_DIR", w->dir, 1);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	assert_int_equal(pipe(w->jobs), 0);
	w->base = event_base_new();
	assert_non_null(w->base);
	w->jobs_event = event_new(w->base, w->jobs[0], EV_READ | EV_PERSIST, on_job, w);
	assert_int_equal(event_add(w->jobs_event, NULL), 0);
	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
	appd_start(w);
	return w;
}

void appd_free(struct appd *w)
{
	struct job *none = NULL;

	appd_kill(w);
	assert_int_equal(write(w->jobs[1], &none, sizeof(none)), sizeof(none));
	pthread_join(w->thread, NULL);
	event_free(w->jobs_event);
	event_base_free(w->base);
	close(w->jobs[0]);
	close(w->jobs[1]);
	/* only where the daemon took its socket away is the folder empty */
	assert_int_equal(rmdir(w->dir), 0);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->changed);
	free(w->conns);
	free(w);
}

bool appd_network(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd;

	if (unshare(CLONE_NEWNET)) {
		printf("SKIP %s: no network namespace of its own: %s\n",
		       program_invocation_short_name, strerror(errno));
		return false;
	}
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
	return true;
}

unsigned int appd_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
