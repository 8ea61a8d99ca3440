/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What applications may do to the daemon that have not read the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/appd.h"

#define STRANGER 65534
#define GROUP    12345

static int setup(void **state)
{
	*state = appd_new();
	return 0;
}

static int teardown(void **state)
{
	appd_free(*state);
	return 0;
}

static int reach(const struct appd *w)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(sa.sun_path, w->path);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/* Bytes, 0: the end. Waits for at most 10 s. */
static ssize_t hear(int fd, void *buf, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, 10000) != 1)
		fail_msg("the daemon says nothing");
	n = recv(fd, buf, size, 0);
	if (n < 0 && errno == ECONNRESET)
		n = recv(fd, buf, size, 0);
	return n;
}

static void tell(int fd, void *m, size_t len, uint32_t type)
{
	struct app_header *h = m;

	h->type = type;
	h->len = (uint32_t)len;
	assert_int_equal(send(fd, m, len, MSG_NOSIGNAL), len);
}

static struct app_done done(int fd)
{
	struct app_done d;

	assert_int_equal(hear(fd, &d, sizeof(d)), sizeof(d));
	assert_int_equal(d.h.type, APP_DONE);
	return d;
}

static int greet(const struct appd *w, const char *service)
{
	struct app_hello m = {.version = APP_VERSION};
	struct app_welcome back;
	int fd = reach(w);

	assert_true(fd >= 0);
	strcpy(m.service, service);
	tell(fd, &m, sizeof(m), APP_HELLO);
	assert_int_equal(hear(fd, &back, sizeof(back)), sizeof(back));
	assert_int_equal(back.h.type, APP_WELCOME);
	assert_int_equal(back.version, APP_VERSION);
	assert_string_equal(back.node, "node-a");
	return fd;
}

static uint32_t guard(int fd, uint8_t which)
{
	struct app_guard m = {.h.serial = 7, .key.peer.b[15] = which};
	struct app_done d;

	tell(fd, &m, sizeof(m), APP_GUARD);
	d = done(fd);
	assert_int_equal(d.error, 0);
	assert_int_equal(d.h.serial, 7);
	assert_int_not_equal(d.h.conn, 0);
	return d.h.conn;
}

static bool alone(struct appd *w, void *arg)
{
	return apps_count(w->apps) == (size_t)(uintptr_t)arg;
}

static void alive(int fd)
{
	guard(fd, 200);
}

/* ---- who may come ------------------------------------------------------------ */

/* As another user, in a child: 0, or what the daemon said, or connect(2). */
static int as_stranger(const struct appd *w, gid_t gid, gid_t extra)
{
	struct app_hello m = {.version = APP_VERSION, .service = "s"};
	struct app_done d;
	int status, fd;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		return -WEXITSTATUS(status);
	}
	if (setgroups(1, &extra) || setgid(gid) || setuid(STRANGER))
		_exit(100);
	fd = reach(w);
	if (fd < 0)
		_exit(-fd);
	m.h = (struct app_header){.type = APP_HELLO, .len = sizeof(m)};
	send(fd, &m, sizeof(m), MSG_NOSIGNAL);
	/* refused before what we said was read: what the daemon said is there all the same */
	if (recv(fd, &d, sizeof(d), 0) < (ssize_t)sizeof(d.h) &&
	    (errno != ECONNRESET || recv(fd, &d, sizeof(d), 0) < (ssize_t)sizeof(d.h)))
		_exit(101);
	_exit(d.h.type == APP_DONE ? -d.error : 0);
}

static void users_who_are_not_let_in(void **state)
{
	struct appd *w = *state;
	struct stat st;

	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	chmod(w->dir, 0755);
	assert_int_equal(as_stranger(w, STRANGER, STRANGER), -EACCES); /* the file's mode */
	chmod(w->path, 0666);
	assert_int_equal(as_stranger(w, STRANGER, STRANGER), -EACCES); /* SO_PEERCRED */
	assert_int_equal(as_stranger(w, GROUP, STRANGER), -EACCES);

	appd_kill(w);
	w->gid = GROUP;
	appd_start(w);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_gid, GROUP);
	assert_int_equal(as_stranger(w, STRANGER, STRANGER), -EACCES);
	assert_int_equal(as_stranger(w, GROUP, STRANGER), 0);
	assert_int_equal(as_stranger(w, STRANGER, GROUP), 0);
	chmod(w->path, 0666);
	assert_int_equal(as_stranger(w, STRANGER, STRANGER), -EACCES);
}

static void more_than_may_be(void **state)
{
	struct appd *w = *state;
	int fds[APPS_MAX], fd;
	struct app_done d;

	for (int i = 0; i < APPS_MAX; i++)
		fds[i] = greet(w, "s");
	fd = reach(w);
	assert_true(fd >= 0);
	d = done(fd);
	assert_int_equal(d.error, -EUSERS);
	assert_true(strlen(d.text) > 0);
	assert_int_equal(hear(fd, &d, sizeof(d)), 0);
	close(fd);
	close(fds[0]);
	appd_until(w, alone, (void *)(uintptr_t)(APPS_MAX - 1));
	fds[0] = greet(w, "s");
	for (int i = 0; i < APPS_MAX; i++)
		close(fds[i]);
	appd_until(w, alone, (void *)0);
}

static void one_that_says_nothing_is_not_kept(void **state)
{
	struct appd *w = *state;
	char c;
	int fd = reach(w);

	assert_int_equal(hear(fd, &c, 1), 0);
	close(fd);
	appd_until(w, alone, (void *)0);
	assert_int_equal(w->gone, 0); /* nobody had heard of it */
}

static void another_version(void **state)
{
	struct appd *w = *state;
	struct {
		struct app_hello m;
		char more[100];
	} m = {.m = {.h.serial = 3, .version = APP_VERSION + 1}};
	struct app_done d;
	int fd = reach(w);

	tell(fd, &m, sizeof(m), APP_HELLO);
	d = done(fd);
	assert_int_equal(d.error, -EPROTONOSUPPORT);
	assert_int_equal(d.h.serial, 3);
	assert_non_null(strstr(d.text, "version"));
	assert_int_equal(hear(fd, &d, sizeof(d)), 0);
	close(fd);
}

static void second_daemon_and_stale_socket(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct apps_ops none = {.gone = NULL};
	struct appd *w = *state;
	struct apps *second;
	int fd;

	assert_int_equal(apps_open(w->base, w->path, -1, "b", &none, w, &second), -EADDRINUSE);
	appd_kill(w);
	fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	strcpy(sa.sun_path, w->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	appd_start(w);
	close(greet(w, "s"));
}

/* ---- rules ------------------------------------------------------------------- */

union any {
	struct app_header h;
	struct app_hello hello;
	struct app_guard guard;
	struct app_datagram datagram;
	struct app_bundle bundle;
	struct app_ready ready;
	struct app_end end;
	struct {
		struct app_commit m;
		struct app_protocol p[9];
		uint8_t tail[64];
	} commit;
	uint8_t b[APP_MESSAGE_MAX];
};

struct bad {
	const char *name;
	uint32_t type;
	size_t len;
	void (*spoil)(union any *m, uint32_t conn);
};

static void wrong_len(union any *m, uint32_t conn)
{
	(void)conn;
	m->h.len--;
}

static void guard_pad(union any *m, uint32_t conn)
{
	(void)conn;
	m->guard.pad = 1;
}

static void guard_conn(union any *m, uint32_t conn)
{
	m->h.conn = conn;
}

static void ready_pad(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->ready.pad = 1;
}

static void commit_flags(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->commit.m.flags = 2;
}

static void commit_count(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->commit.m.count = 1;
}

static void commit_nine(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->commit.m.count = 9;
	for (uint32_t i = 0; i < 9; i++)
		m->commit.p[i].protocol = i + 1;
}

static void commit_twice(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->commit.m.count = 2;
	m->commit.p[0].protocol = m->commit.p[1].protocol = 5;
}

static void commit_zero(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->commit.m.count = 1;
}

static void commit_long_object(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->commit.m.count = 1;
	m->commit.p[0].protocol = 1;
	m->commit.p[0].object_len = HF_OBJECT_MAX + 1;
	memset(&m->commit.p[1], 'x', HF_OBJECT_MAX + 1);
}

static void commit_long_data(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->commit.m.count = 1;
	m->commit.p[0].protocol = 1;
	m->commit.p[0].data_len = HF_DATA_MAX + 8;
}

static void commit_nul(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->commit.m.count = 1;
	m->commit.p[0].protocol = 1;
	m->commit.p[0].object_len = 8;
	memcpy(&m->commit.p[1], "abc\0defg", 8);
}

static void commit_padding(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->commit.m.count = 1;
	m->commit.p[0].protocol = 1;
	m->commit.p[0].object_len = 3;
	memcpy(&m->commit.p[1], "abc\0\0\0\0x", 8);
}

static void commit_rest(union any *m, uint32_t conn)
{
	m->h.conn = conn;
	m->commit.m.count = 0;
}

#define P sizeof(struct app_protocol)
static const struct bad bads[] = {
	{"one byte", APP_GUARD, 1, NULL},
	{"no type", 0, sizeof(struct app_header), NULL},
	{"unknown type", APP_ROLE + 1, sizeof(struct app_header), NULL},
	{"huge type", 0xffffffff, sizeof(struct app_header), NULL},
	{"the daemon's type", APP_COMMITTED, sizeof(struct app_committed), NULL},
	{"hello twice", APP_HELLO, sizeof(struct app_hello), NULL},
	{"length says less", APP_GUARD, sizeof(struct app_guard), wrong_len},
	{"too long", APP_GUARD, sizeof(struct app_guard) + 8, NULL},
	{"too short", APP_GUARD, sizeof(struct app_guard) - 8, NULL},
	{"padding of a guard", APP_GUARD, sizeof(struct app_guard), guard_pad},
	{"a guard that has a connection", APP_GUARD, sizeof(struct app_guard), guard_conn},
	{"padding of a ready", APP_READY, sizeof(struct app_ready), ready_pad},
	{"listen without a descriptor", APP_LISTEN, sizeof(struct app_listen), NULL},
	{"datagram without a descriptor", APP_DATAGRAM, sizeof(struct app_datagram), NULL},
	{"unknown flag", APP_COMMIT, sizeof(struct app_commit), commit_flags},
	{"fewer protocols than it says", APP_COMMIT, sizeof(struct app_commit), commit_count},
	{"nine protocols", APP_COMMIT, sizeof(struct app_commit) + 9 * P, commit_nine},
	{"a protocol twice", APP_COMMIT, sizeof(struct app_commit) + 2 * P, commit_twice},
	{"protocol 0", APP_COMMIT, sizeof(struct app_commit) + P, commit_zero},
	{"object too long", APP_COMMIT, sizeof(struct app_commit) + P + 256, commit_long_object},
	{"data too long", APP_COMMIT, sizeof(struct app_commit) + P + HF_DATA_MAX + 8,
	 commit_long_data},
	{"data cut short", APP_COMMIT, sizeof(struct app_commit) + P + 8, commit_long_data},
	{"a zero in an object", APP_COMMIT, sizeof(struct app_commit) + P + 8, commit_nul},
	{"padding of a protocol", APP_COMMIT, sizeof(struct app_commit) + P + 8, commit_padding},
	{"something behind", APP_COMMIT, sizeof(struct app_commit) + 8, commit_rest},
};

static void garbage_ends_its_sender_alone(void **state)
{
	static union any m;
	struct appd *w = *state;
	int other = greet(w, "good"), fd;
	uint32_t conn;
	char c;

	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		fd = greet(w, "bad");
		conn = guard(fd, (uint8_t)i);
		memset(&m, 0, sizeof(m));
		m.h = (struct app_header){.type = bads[i].type, .len = (uint32_t)bads[i].len};
		if (bads[i].spoil)
			bads[i].spoil(&m, conn);
		assert_int_equal(send(fd, &m, bads[i].len, MSG_NOSIGNAL), bads[i].len);
		if (hear(fd, &c, 1) != 0)
			fail_msg("%s was taken", bads[i].name);
		close(fd);
		appd_until(w, alone, (void *)1);
		assert_int_equal(w->gone, i + 1);
		assert_string_equal(w->why, "what it says is malformed");
		alive(other);
	}
	assert_int_equal(w->commits, 0);
	close(other);
}

static void oversize(void **state)
{
	static uint8_t big[2 * APP_MESSAGE_MAX];
	struct appd *w = *state;
	int fd = greet(w, "s");
	char c;

	assert_int_equal(send(fd, big, sizeof(big), MSG_NOSIGNAL), sizeof(big));
	assert_int_equal(hear(fd, &c, 1), 0);
	close(fd);
}

static void hello_of_all_kinds(void **state)
{
	struct appd *w = *state;
	struct app_hello m;
	char c;
	int fd;

	for (int kind = 0; kind < 6; kind++) {
		m = (struct app_hello){.version = APP_VERSION, .service = "web"};
		if (kind == 0)
			memset(m.service, 0, sizeof(m.service));
		else if (kind == 1)
			memset(m.service, 'x', sizeof(m.service));
		else if (kind == 2)
			m.service[1] = '\n';
		else if (kind == 3)
			m.service[10] = 'x';
		else if (kind == 4)
			m.pad = 1;
		else
			m.h.conn = 1;
		fd = reach(w);
		tell(fd, &m, sizeof(m), APP_HELLO);
		assert_int_equal(hear(fd, &c, 1), 0);
		close(fd);
	}
	assert_int_equal(w->hellos, 0);
}

static void send_fds(int fd, void *m, size_t len, uint32_t type, int count)
{
	union {
		struct cmsghdr h;
		char b[CMSG_SPACE(8 * sizeof(int))];
	} control = {.h = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {m, len};
	struct msghdr h = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int))};
	int fds[8] = {0};

	*(struct app_header *)m = (struct app_header){.type = type, .len = (uint32_t)len};
	control.h.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
	memcpy(CMSG_DATA(&control.h), fds, (size_t)count * sizeof(int));
	assert_int_equal(sendmsg(fd, &h, MSG_NOSIGNAL), len);
}

static void descriptors_where_none_belong(void **state)
{
	struct appd *w = *state;
	struct app_guard g = {.key.peer.b[0] = 1};
	struct app_listen l;
	unsigned int before;
	char c;
	int fd;

	close(greet(w, "s"));
	appd_until(w, alone, (void *)0);
	before = appd_fds();
	for (int count = 1; count <= 8; count++) {
		fd = greet(w, "s");
		send_fds(fd, &g, sizeof(g), APP_GUARD, count);
		assert_int_equal(hear(fd, &c, 1), 0);
		close(fd);
		if (count == 1)
			continue;
		fd = greet(w, "s");
		send_fds(fd, &l, sizeof(l), APP_LISTEN, count);
		assert_int_equal(hear(fd, &c, 1), 0);
		close(fd);
	}
	appd_until(w, alone, (void *)0);
	assert_int_equal(appd_fds(), before);
}

/* ---- whose is what ----------------------------------------------------------- */

static void do_moved(struct appd *w, void *arg)
{
	uint32_t conn = *(uint32_t *)arg;

	app_moved(w->conns[conn].app, conn);
	w->conns[conn].there = false;
}

struct hand {
	uint32_t conn;
	int fd;
	int error;
};

static void do_restored(struct appd *w, void *arg)
{
	struct app_restored m = {.sent = 1, .members = 1};
	struct hand *h = arg;

	h->error = app_restored(w->app, h->conn, &m, NULL, 0, h->fd);
}

static void numbers_of_others(void **state)
{
	struct appd *w = *state;
	struct app_commit commit = {.ticket = 1, .received = 100};
	struct app_bundle bundle = {.bundle = 0};
	struct app_ready ready = {.protocol = 0};
	struct app_end end = {.h.conn = 0};
	int a = greet(w, "a"), b = greet(w, "b");
	uint32_t conn = guard(a, 1);

	for (uint32_t other = 0; other < 3; other++) {
		uint32_t handle = other == 0 ? conn : other == 1 ? 0 : conn + 1;

		commit.h.conn = bundle.h.conn = ready.h.conn = end.h.conn = handle;
		tell(b, &commit, sizeof(commit), APP_COMMIT);
		tell(b, &ready, sizeof(ready), APP_READY);
		tell(b, &end, sizeof(end), APP_FORGET);
		tell(b, &bundle, sizeof(bundle), APP_BUNDLE);
		assert_int_equal(done(b).error, -EPIPE);
		tell(b, &end, sizeof(end), APP_END);
		assert_int_equal(done(b).error, -EPIPE);
	}
	assert_int_equal(w->commits, 0);
	assert_false(w->conns[1].ended || w->conns[1].forgotten || w->conns[1].readies);
	close(a);
	close(b);
}

/* What was said about the former connection of a number is not taken for the present one. */
static void t7_number_that_is_used_anew(void **state)
{
	struct appd *w = *state;
	struct app_commit commit = {.ticket = 1, .received = 100};
	struct hand hand = {.conn = 1};
	struct app_restored r;
	struct app_end end;
	int a = greet(w, "a");
	uint32_t old = guard(a, 1), one = 1;

	appd_do(w, do_moved, &one);
	hand.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	appd_do(w, do_restored, &hand);
	assert_int_equal(hand.error, 0);
	assert_int_equal(hear(a, &end, sizeof(end)), sizeof(end));
	assert_int_equal(end.h.type, APP_MOVED);
	assert_int_equal(end.h.conn, old);
	assert_int_equal(hear(a, &r, sizeof(r)), sizeof(r));
	assert_int_equal(r.h.type, APP_RESTORED);
	assert_int_not_equal(r.h.conn, old);
	assert_int_equal(r.h.conn & APP_CONN_INDEX, old & APP_CONN_INDEX);

	commit.h.conn = old;
	tell(a, &commit, sizeof(commit), APP_COMMIT);
	commit.h.conn = r.h.conn;
	commit.ticket = 9;
	tell(a, &commit, sizeof(commit), APP_COMMIT);
	assert_int_equal(hear(a, &end, sizeof(end)),
			 sizeof(struct app_end)); /* cut: app_committed */
	assert_int_equal(end.h.type, APP_COMMITTED);
	assert_int_equal(end.h.conn, r.h.conn);
	assert_int_equal(w->commits, 1);
	close(a);
}

static void numbers_beyond_the_table(void **state)
{
	struct appd *w = *state;
	struct hand hand = {.conn = 0};

	close(greet(w, "s"));
	appd_until(w, alone, (void *)0);
	int a = greet(w, "a");

	for (int i = 0; i < 2; i++) {
		hand.conn = i ? APP_CONNS_MAX + 1 : 0;
		hand.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		appd_do(w, do_restored, &hand);
		assert_int_equal(hand.error, -EINVAL);
		assert_int_equal(fcntl(hand.fd, F_GETFD), -1);
	}
	close(a);
}

static void do_find(struct appd *w, void *arg)
{
	*(struct app **)arg = apps_find(w->apps, "web");
}

static void who_listens_is_found(void **state)
{
	struct appd *w = *state;
	struct app *found, *first;
	struct app_listen l;
	int a = greet(w, "web"), b;

	appd_do(w, do_find, &found);
	assert_null(found);
	first = w->app;
	b = greet(w, "web");
	/* descriptor 0 is no socket */
	send_fds(a, &l, sizeof(l), APP_LISTEN, 1);
	assert_int_equal(done(a).error, -ENOTSOCK);
	appd_do(w, do_find, &found);
	assert_null(found);
	assert_string_equal(app_service(first), "web");
	assert_int_equal(app_pid(first), getpid());
	close(a);
	close(b);
}

/* ---- bounds ------------------------------------------------------------------ */

static void do_roles(struct appd *w, void *arg)
{
	for (uint32_t i = 0; i < *(uint32_t *)arg; i++)
		apps_role(w->apps, i % 4);
}

/* One that does not read is closed at the bound, others hear everything. */
static void one_that_does_not_read(void **state)
{
	struct appd *w = *state;
	int deaf = greet(w, "deaf"), other;
	uint32_t many = APP_SEND_MAX / sizeof(struct app_role) + 100000, few = 10;
	struct app_role m;

	appd_do(w, do_roles, &many);
	appd_until(w, alone, (void *)0);
	assert_string_equal(w->why, "it does not read what it is told");
	other = greet(w, "s");
	appd_do(w, do_roles, &few);
	for (uint32_t i = 0; i < few; i++) {
		assert_int_equal(hear(other, &m, sizeof(m)), sizeof(m));
		assert_int_equal(m.role, i % 4);
	}
	close(deaf);
	close(other);
}

#define PILE 3000u
static void do_pile(struct appd *w, void *arg)
{
	static uint8_t data[HF_DATA_MAX];
	struct record_protocol p[HF_PROTOCOLS_MAX];
	struct app_restored m = {.members = 1};

	for (uint32_t i = 0; i < HF_PROTOCOLS_MAX; i++)
		p[i] = (struct record_protocol){
			.protocol = i + 1, .data_len = sizeof(data), .data = data};
	for (uint32_t i = 1; i <= PILE; i++) {
		m.sent = i;
		assert_int_equal(app_restored(w->app, i, &m, p, HF_PROTOCOLS_MAX,
					      fcntl(*(int *)arg, F_DUPFD_CLOEXEC, 0)),
				 0);
	}
}

/* 100 MB of checkpoints: far beyond the bound for what an application can bring about. */
static void restored_connections_pile_up(void **state)
{
	static uint8_t buf[APP_MESSAGE_MAX];
	struct appd *w = *state;
	int a = greet(w, "a"), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	unsigned int before = appd_fds();
	union {
		struct cmsghdr h;
		char b[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {buf, sizeof(buf)};
	int fd;

	appd_do(w, do_pile, &null);
	for (uint32_t i = 1; i <= PILE; i++) {
		struct msghdr h = {.msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = &control,
				   .msg_controllen = sizeof(control.b)};

		assert_true(recvmsg(a, &h, 0) > HF_PROTOCOLS_MAX * HF_DATA_MAX);
		assert_int_equal(((struct app_restored *)buf)->sent, i);
		memcpy(&fd, CMSG_DATA(&control.h), sizeof(int));
		close(fd);
	}
	/* when the daemon has closed those that it sent last */
	appd_until(w, alone, (void *)1);
	assert_int_equal(appd_fds(), before);

	/* and what is never fetched leaves nothing behind */
	appd_do(w, do_pile, &null);
	close(a);
	appd_until(w, alone, (void *)0);
	assert_int_equal(appd_fds(), before - 2);
	close(null);
}

static bool commits_are(struct appd *w, void *arg)
{
	return w->commits == (unsigned int)(uintptr_t)arg;
}

/* What an application said before it was killed is heard, though it has not read its answers. */
static void t7_last_words(void **state)
{
	struct appd *w = *state;
	struct app_commit m = {.received = 1};
	int a = greet(w, "a");

	m.h.conn = guard(a, 1);
	for (uint64_t i = 1; i <= 100; i++) {
		m.ticket = i;
		tell(a, &m, sizeof(m), APP_COMMIT);
	}
	close(a);
	appd_until(w, alone, (void *)0);
	assert_true(commits_are(w, (void *)100));
	assert_int_equal(w->gone, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(users_who_are_not_let_in),
		TEST(more_than_may_be),
		TEST(one_that_says_nothing_is_not_kept),
		TEST(another_version),
		TEST(second_daemon_and_stale_socket),
		TEST(garbage_ends_its_sender_alone),
		TEST(oversize),
		TEST(hello_of_all_kinds),
		TEST(descriptors_where_none_belong),
		TEST(numbers_of_others),
		TEST(t7_number_that_is_used_anew),
		TEST(numbers_beyond_the_table),
		TEST(who_listens_is_found),
		TEST(one_that_does_not_read),
		TEST(restored_connections_pile_up),
		TEST(t7_last_words),
	};

	if (getuid() != 0) {
		printf("SKIP test_app: only root is let in without a group\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
