/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an application may say: packets, each as two bytes of length, one of what comes with it, and
 * the packet. Whatever reaches the callee keeps the rules (numbers are the application's, protocols
 * are whole), what is queued is what is counted, and no descriptor is left.
 */
#include <stdlib.h>
#include <string.h>

#include "../../control/takeover/app.c"
#include "../../control/takeover/app_owned.c"
#include "../../control/takeover/app_queue.c"
#include "../../control/takeover/app_request.c"

#define NUMBERS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* of the input, for the callee to behave one way or the other */
static uint8_t mood;
static bool given[NUMBERS + 1];
static uint32_t top;

static void check(bool good)
{
	if (!good)
		abort();
}

static void on_hello(void *arg, struct app *a)
{
	(void)arg;
	check(a->welcome && name_good(a->service));
}

static int on_listen(void *arg, struct app *a, int fd, struct app_why *why)
{
	(void)arg;
	(void)a;
	(void)why;
	close(fd);
	return mood & 1 ? -EADDRINUSE : 0;
}

static int name(uint32_t *ret)
{
	if (mood & 2)
		return -ENOENT;
	if (mood & 4 && top)
		*ret = 1 + mood % top;
	else if (top == NUMBERS)
		return -ENOBUFS;
	else
		*ret = ++top;
	given[*ret] = true;
	return 0;
}

static int on_guard(void *arg, struct app *a, const struct guard_key *key, uint32_t *ret_conn,
		    uint64_t *ret_received, struct app_why *why)
{
	(void)arg;
	(void)a;
	(void)key;
	(void)why;
	*ret_received = 1;
	return name(ret_conn);
}

static int on_datagram(void *arg, struct app *a, int fd, const struct hf_addr *peer,
		       __be16 peer_port, uint32_t *ret_conn, struct app_why *why)
{
	(void)arg;
	(void)a;
	(void)peer;
	(void)peer_port;
	(void)why;
	close(fd);
	return name(ret_conn);
}

/* Takes it away now and then, in the middle of whatever it is about. */
static void about(struct app *a, uint32_t conn)
{
	struct app_restored m = {.members = 1};

	check(conn && conn <= NUMBERS && given[conn] && app_owns(a, conn));
	switch (mood >> 5) {
	case 1:
		app_moved(a, conn);
		break;
	case 2:
		app_drop(a, conn);
		break;
	case 3:
		app_ended(a, conn);
		break;
	case 4:
		app_restored(a, conn, &m, NULL, 0, dup(0));
		break;
	default:
		return;
	}
}

static int on_bundle(void *arg, struct app *a, uint32_t conn, uint64_t *bundle, struct app_why *why)
{
	(void)arg;
	(void)bundle;
	(void)why;
	about(a, conn);
	return mood & 8 ? -ENOSPC : 0;
}

static int on_commit(void *arg, struct app *a, uint32_t conn, uint64_t ticket, uint64_t received,
		     uint32_t flags, const struct record_protocol *p, size_t count)
{
	unsigned int sum = 0;

	(void)arg;
	(void)received;
	check(count <= HF_PROTOCOLS_MAX && !(flags & ~APP_COMMIT_END));
	for (size_t i = 0; i < count; i++) {
		check(p[i].protocol && p[i].object_len <= HF_OBJECT_MAX &&
		      p[i].data_len <= HF_DATA_MAX);
		check(!p[i].object_len == !p[i].object && !p[i].data_len == !p[i].data);
		check(!p[i].object || strlen(p[i].object) == p[i].object_len);
		for (size_t j = 0; j < p[i].data_len; j++)
			sum += p[i].data[j];
	}
	mood ^= (uint8_t)sum;
	about(a, conn);
	if (mood & 16)
		return -ERANGE;
	app_committed(a, conn, ticket);
	return 0;
}

static void on_ready(void *arg, struct app *a, uint32_t conn, uint32_t protocol)
{
	(void)arg;
	(void)protocol;
	about(a, conn);
}

static int on_end(void *arg, struct app *a, uint32_t conn, struct app_why *why)
{
	(void)arg;
	(void)why;
	about(a, conn);
	return mood & 1 ? -EINPROGRESS : mood & 2 ? -EPIPE : 0;
}

static void on_forget(void *arg, struct app *a, uint32_t conn)
{
	(void)arg;
	check(conn && conn <= NUMBERS && given[conn] && !app_owns(a, conn));
}

static struct apps *world(void)
{
	static struct apps *s;

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	check(s);
	s->base = event_base_new();
	s->sweep = event_new(s->base, -1, 0, on_sweep, s);
	s->ops = (struct apps_ops){.hello = on_hello,
				   .listen = on_listen,
				   .guard = on_guard,
				   .datagram = on_datagram,
				   .bundle = on_bundle,
				   .commit = on_commit,
				   .ready = on_ready,
				   .end = on_end,
				   .forget = on_forget};
	TAILQ_INIT(&s->list);
	return s;
}

/* A header that is right, which chance would seldom make. */
static void help(struct app *a, uint8_t *packet, size_t len)
{
	struct app_header *h = (struct app_header *)packet;

	if (len < sizeof(*h))
		return;
	h->len = (uint32_t)len;
	h->type %= APP_FORGET + 1;
	if (h->type <= APP_DATAGRAM)
		h->conn = 0;
	else if (top && app_owns(a, 1 + h->conn % top))
		h->conn = app_handle(a, 1 + h->conn % top);
}

static void greet(struct app *a)
{
	struct app_hello m = {.h = {.type = APP_HELLO, .len = sizeof(m)},
			      .version = APP_VERSION,
			      .service = "fuzz"};
	struct app_guard g = {.h = {.type = APP_GUARD, .len = sizeof(g)}};
	struct app_passed none = {.count = 0};

	mood = 0;
	check(app_consume(a, &m, sizeof(m), &none));
	for (int i = 0; i < 3; i++)
		check(app_consume(a, &g, sizeof(g), &none));
}

/* Everything but what goes to the socket. */
static void one(struct app *a, const uint8_t *data, size_t len)
{
	static _Alignas(8) uint8_t packet[APP_MESSAGE_MAX];
	struct app_passed p;
	uint8_t with;
	size_t n;

	while (len >= 3 && !a->broken && !a->leaving) {
		n = (size_t)(data[0] | data[1] << 8) % (APP_MESSAGE_MAX + 1);
		with = data[2];
		data += 3;
		len -= 3;
		n = n < len ? n : len;
		memcpy(packet, data, n);
		data += n;
		len -= n;
		if (with & 8)
			help(a, packet, n);
		mood = with;
		p = (struct app_passed){.lost = with & 4};
		while (p.count < (with & 3) && p.count < 2)
			p.fd[p.count++] = dup(0);
		if (!app_consume(a, packet, n, &p))
			app_break(a, "malformed");
		while (p.count)
			close(app_passed_take(&p));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct apps *s = world();
	const struct app_message *m;
	size_t bytes = 0, count = 0;
	struct app *a;
	int fds[2];

	memset(given, 0, sizeof(given));
	top = 0;
	check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
	a = app_new(s, fds[0]);
	check(a);
	if (len && data[0] & 1)
		greet(a);
	one(a, data, len);
	for (m = TAILQ_FIRST(&a->out); m; m = TAILQ_NEXT(m, link)) {
		check(((const struct app_header *)m->bytes)->len == m->len);
		bytes += m->counted ? m->len : 0;
		count++;
	}
	check(bytes == a->out_bytes && count == a->out_count);
	a->broken = NULL;
	app_end(a);
	check(TAILQ_EMPTY(&s->list) && !s->count);
	close(fds[1]);
	/* every descriptor was closed: the lowest that is free stays the same */
	check(fds[0] < 64);
	return 0;
}
