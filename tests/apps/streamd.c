/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A small server of one endless stream, in the manner of RTSP (RFC 2326): SETUP, PLAY, PAUSE,
 * GET_PARAMETER and TEARDOWN over a control connection, RTP-like packets over a second TCP
 * connection, over UDP, or to a multicast group. All of a session is one bundle: it goes on at
 * another node whole or not at all.
 *
 *   streamd [-n INSTANCE] [-f PACKETS] [-k PACKETS] [-w MS] -a ADDRESS -p PORT
 *
 * -f: packets a second. -k: UDP packets that may leave before a checkpoint of their number is
 * committed. -w: after a takeover the protocol of the stream says so much later that it is ready.
 *
 * The control connection has two protocols: RTSP (the session, its state, the last answer) and
 * STREAM (the number of the next packet). A packet is a function of its number, so that any node
 * can make it again. Over TCP the stream goes on at the byte that the client acknowledged. Over UDP
 * it goes on at the checkpoint: every packet before it was sent, of those behind it at most -k
 * were, and they are sent again. So a takeover loses no packet and repeats at most -k; clients
 * throw away what they have, by its number, as RTP's do. The nodes' clocks need not agree for that.
 *
 * A client that wants TCP opens the second connection and says "DATA * RTSP/1.0" with its Session.
 */
#include <endian.h>
#include <errno.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <holdfast.h>

#include "tests/apps/listener.h"
#include "tests/apps/streamd_rtp.h"
#include "tests/apps/streamd_session.h"
#include "tests/apps/streamd_transport.h"

#define RTSP    1u
#define STREAM  2u
#define FRAME   (4 + RTP_PACKET) /* RFC 2326 section 10.12: '$', channel, length */
#define TICK_MS 1

static struct hf *hf;
static int listener;
static unsigned int rate = 500, window = 50, withhold_ms;
static bool waiting; /* a request waits for its turn */

static void step(struct member *m);

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}

/* The client has ended the control connection, or broke it. */
static void session_end(struct session *s)
{
	struct member *data = s->data, *control = s->control;

	/* the session is gone with its last member */
	if (data)
		member_drop(data, true);
	if (control)
		member_drop(control, true);
}

static bool acknowledged(const struct member *m)
{
	int left;

	return ioctl(m->fd, SIOCOUTQ, &left) || !left;
}

/* ---- packets ------------------------------------------------------------------ */

static size_t greeting(const struct session *s, char out[static ANSWER_MAX])
{
	return snprintf(out, ANSWER_MAX, "RTSP/1.0 200 OK\r\nSession: %016llx\r\n\r\n",
			(unsigned long long)s->id);
}

/* The rest of the piece of the out stream that `at` is in. */
static size_t piece(const struct session *s, uint64_t at, uint8_t out[static ANSWER_MAX],
		    size_t *ret_skip)
{
	uint64_t number;

	if (at < s->data->start) {
		*ret_skip = at;
		return greeting(s, (char *)out);
	}
	number = (at - s->data->start) / FRAME;
	*ret_skip = (at - s->data->start) % FRAME;
	memcpy(out, (uint8_t[]){'$', 0, RTP_PACKET >> 8, RTP_PACKET & 0xff}, 4);
	rtp_create(s->id, number, out + 4);
	return FRAME;
}

/* Up to that packet, or as much as the kernel takes. */
static void send_stream(struct session *s, uint64_t due)
{
	struct member *m = s->data;
	uint64_t end = m->start + due * FRAME;
	uint8_t out[ANSWER_MAX];

	while (m->sent < end) {
		size_t skip, len = piece(s, m->sent, out, &skip);
		ssize_t n = send(m->fd, out + skip, len - skip, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			break;
		m->sent += n;
	}
	s->position = m->sent < m->start ? 0 : (m->sent - m->start) / FRAME;
}

static void send_datagrams(struct session *s, uint64_t due)
{
	uint8_t out[RTP_PACKET];

	if (due > s->committed + window)
		due = s->committed + window;
	while (s->position < due) {
		rtp_create(s->id, s->position, out);
		/* an error may be that of an earlier one, as ICMP told it */
		if (send(s->data->fd, out, sizeof(out), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
		    send(s->data->fd, out, sizeof(out), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return;
		s->position++;
	}
}

static int checkpoint_stream(struct session *s)
{
	uint64_t position = htobe64(s->position);
	struct hf_checkpoint cp = {.protocol = STREAM, .data = &position, .len = sizeof(position)};

	s->pending = s->position;
	return hf_checkpoint(s->control->conn, &cp);
}

static void play(struct session *s)
{
	s->live = true;
	s->base = s->position;
	s->base_ns = now_ns();
}

static void stream(struct session *s)
{
	uint64_t due = s->base + (now_ns() - s->base_ns) * rate / 1000000000u;

	if (s->data->role == DATAGRAM)
		send_datagrams(s, due);
	else
		send_stream(s, due);
	/* it was held up: it goes on from here, not with a burst */
	if (due > s->position + window)
		play(s);
	/* half-way, so that the next one is committed before the window is used up */
	if (!s->ticket && s->position >= s->committed + window / 2 && !checkpoint_stream(s))
		hf_commit(s->control->conn, s->control->consumed, &s->ticket);
}

/* ---- answers -------------------------------------------------------------------- */

/* What follows from a request; the standby would go on with it, too. */
static void settle(struct member *m)
{
	struct session *s = m->session;

	if (!s)
		return;
	if (m->saved.state == PLAYING && s->data && !s->live)
		play(s);
	else if (m->saved.state == INIT && s->data)
		member_drop(s->data, true);
}

static void send_answer(struct member *m)
{
	uint64_t at = m->sent - m->start;
	ssize_t n;

	if (at >= m->saved.answer_len)
		return;
	/* there is room: everything before was acknowledged */
	n = send(m->fd, m->saved.answer + at, m->saved.answer_len - at, MSG_NOSIGNAL);
	if (n > 0)
		m->sent += n;
}

static int checkpoint_rtsp(struct member *m)
{
	struct hf_checkpoint cp = {
		.protocol = RTSP,
		.object = "answer",
		.object_start = m->start,
		.data = &m->saved,
		.len = offsetof(struct saved, answer) + m->saved.answer_len,
	};

	return hf_checkpoint(m->conn, &cp);
}

/* The answer leaves when the standby, too, knows that it was given. `headers` end in CRLF each. */
static int answer(struct member *m, const char *status, const char *headers)
{
	struct session *s = m->session;
	char session[32] = "";
	int ret, n;

	if (s)
		snprintf(session, sizeof(session), "Session: %016llx\r\n",
			 (unsigned long long)s->id);
	n = snprintf(m->saved.answer, ANSWER_MAX, "RTSP/1.0 %s\r\nCSeq: %u\r\n%s%s\r\n", status,
		     m->saved.cseq, session, headers);
	if (n >= ANSWER_MAX)
		return -EMSGSIZE;
	m->saved.answer_len = n;
	m->start = m->sent;
	ret = checkpoint_rtsp(m);
	if (!ret && s)
		ret = checkpoint_stream(s);
	if (!ret)
		ret = hf_commit(m->conn, m->consumed, &m->ticket);
	if (!ret && s)
		s->ticket = m->ticket;
	return ret;
}

/* ---- requests --------------------------------------------------------------------- */

static int join(struct member *m, struct session *s)
{
	uint64_t bundle = s->id;
	int ret = hf_bundle(m->conn, &bundle);

	if (!ret)
		member_enter(m, s);
	return ret;
}

static int add_datagram(struct session *s, const struct sockaddr_storage *to, int ttl,
			uint16_t *ret_port)
{
	int fd = open_datagram(s->control->fd, to, ttl, ret_port), ret;
	struct member *m;

	if (fd < 0)
		return -EINVAL;
	m = member_new(fd, DATAGRAM);
	if (!m) {
		close(fd);
		return -ENOMEM;
	}
	ret = hf_datagram(hf, fd, (const struct sockaddr *)to, sizeof(*to), &m->conn);
	if (!ret) {
		hf_set_data(m->conn, m);
		ret = join(m, s);
	}
	if (ret) {
		member_drop(m, true);
		return ret;
	}
	s->data = m;
	return 0;
}

/* A session of this connection; there may be one already, of a SETUP that was cut short. */
static int begin(struct member *m)
{
	struct session *s;
	uint64_t bundle = 0;
	int ret;

	if (m->session && m->session->data)
		member_drop(m->session->data, true);
	if (!m->session) {
		ret = hf_bundle(m->conn, &bundle);
		if (ret)
			return ret;
		s = session_get(bundle);
		if (!s)
			return -ENOMEM;
		member_enter(m, s);
	}
	m->role = CONTROL;
	m->session->control = m;
	return 0;
}

static int do_setup(struct member *m, const char *request)
{
	char transport[160], value[16], headers[256];
	struct sockaddr_storage to;
	uint16_t port = 0;
	int ret;

	if (m->saved.state != INIT)
		return answer(m, "455 Method Not Valid in This State", "");
	if (!header(request, "Transport", transport, sizeof(transport)))
		return answer(m, "461 Unsupported Transport", "");
	ret = begin(m);
	if (ret)
		return ret;
	if (strncmp(transport, "RTP/AVP/TCP;", 12)) {
		int ttl = parameter(transport, "ttl", value, sizeof(value)) ? atoi(value) : 1;

		if (!destination(m->fd, transport, &to) ||
		    add_datagram(m->session, &to, ttl, &port) == -EINVAL)
			return answer(m, "461 Unsupported Transport", "");
		if (!m->session->data)
			return -EIO;
	}
	m->saved.state = READY;
	snprintf(headers, sizeof(headers), "Transport: %s;server_port=%u;ssrc=%08X\r\n", transport,
		 port, (uint32_t)m->session->id);
	return answer(m, "200 OK", headers);
}

/* The second connection: after the answer to this it bears packets, and nothing comes in. */
static int do_data(struct member *m, const char *request)
{
	struct hf_checkpoint cp = {.protocol = STREAM, .object = "stream"};
	char value[32], text[ANSWER_MAX];
	struct session *s = NULL;
	int ret;

	if (header(request, "Session", value, sizeof(value)))
		s = session_find(strtoull(value, NULL, 16));
	if (!s || !s->control || s->data || m->role != NEW)
		return -EBADMSG;
	if (!m->session) {
		ret = join(m, s);
		if (ret)
			return ret;
	}
	m->role = DATA;
	m->start = cp.object_start = greeting(s, text);
	s->data = m;
	ret = hf_checkpoint(m->conn, &cp);
	return ret ? ret : hf_commit(m->conn, m->consumed, &m->ticket);
}

static int do_play(struct member *m)
{
	struct session *s = m->session;
	char headers[96];

	if (m->saved.state == INIT || !s->data || s->data->ticket)
		return answer(m, "455 Method Not Valid in This State", "");
	m->saved.state = PLAYING;
	snprintf(headers, sizeof(headers), "RTP-Info: seq=%llu;rtptime=%u\r\n",
		 (unsigned long long)s->position, (uint32_t)(s->position * RTP_TICKS));
	return answer(m, "200 OK", headers);
}

static int do_pause(struct member *m)
{
	if (m->saved.state != PLAYING)
		return answer(m, "455 Method Not Valid in This State", "");
	m->session->live = false;
	m->saved.state = READY;
	return answer(m, "200 OK", "");
}

static int do_teardown(struct member *m)
{
	if (m->saved.state == INIT)
		return answer(m, "455 Method Not Valid in This State", "");
	m->session->live = false;
	m->saved.state = INIT;
	return answer(m, "200 OK", "");
}

static int do_get_parameter(struct member *m)
{
	char headers[64];

	snprintf(headers, sizeof(headers), "Position: %llu\r\n",
		 m->session ? (unsigned long long)m->session->position : 0);
	return answer(m, "200 OK", headers);
}

static int request(struct member *m, const char *text)
{
	char method[16], value[32];

	if (sscanf(text, "%15s %*s RTSP/1.%*1[0]", method) != 1)
		return -EBADMSG;
	if (!strcmp(method, "DATA"))
		return do_data(m, text);
	if (!header(text, "CSeq", value, sizeof(value)))
		return -EBADMSG;
	m->saved.cseq = strtoul(value, NULL, 10);
	if (m->session && header(text, "Session", value, sizeof(value)) &&
	    strtoull(value, NULL, 16) != m->session->id)
		return answer(m, "454 Session Not Found", "");
	if (!strcmp(method, "SETUP"))
		return do_setup(m, text);
	if (!strcmp(method, "PLAY"))
		return do_play(m);
	if (!strcmp(method, "PAUSE"))
		return do_pause(m);
	if (!strcmp(method, "TEARDOWN"))
		return do_teardown(m);
	if (!strcmp(method, "GET_PARAMETER"))
		return do_get_parameter(m);
	return answer(m, "501 Not Implemented", "");
}

/* One request at a time, and only when the last answer was acknowledged: its checkpoint takes the
 * place of the one before. */
static int take(struct member *m)
{
	char text[REQUEST_MAX + 1], *end;
	size_t size;

	m->buf[m->len] = 0;
	end = strstr(m->buf, "\r\n\r\n");
	if (!end)
		return m->len == REQUEST_MAX ? -EMSGSIZE : -EAGAIN;
	if (!acknowledged(m)) {
		waiting = true;
		return -EINPROGRESS;
	}
	size = end + 4 - m->buf;
	memcpy(text, m->buf, size);
	text[size] = 0;
	m->len -= size;
	memmove(m->buf, m->buf + size, m->len);
	m->consumed += size;
	return request(m, text);
}

static void finish(struct member *m, bool clean)
{
	if (clean)
		hf_commit_end(m->conn, m->consumed, NULL);
	if (m->role == CONTROL && m->session)
		session_end(m->session);
	else
		member_drop(m, true);
}

static void step(struct member *m)
{
	ssize_t n;
	int ret;

	while (!m->ticket && m->role != DEAD) {
		ret = m->role == DATA ? -EAGAIN : take(m);
		if (ret == -EINPROGRESS)
			return;
		if (ret && ret != -EAGAIN) {
			finish(m, false);
			return;
		}
		if (!ret)
			continue;
		n = recv(m->fd, m->buf + m->len, REQUEST_MAX - m->len, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || m->role == DATA) {
			finish(m, n == 0);
			return;
		}
		m->len += n;
	}
}

/* ---- the library's events ----------------------------------------------------------- */

static void on_committed(void *arg, struct hf_conn *conn, uint64_t ticket)
{
	struct member *m = hf_data(conn);
	struct session *s = m ? m->session : NULL;

	(void)arg;
	if (!m)
		return;
	if (s && s->control == m && s->ticket && ticket >= s->ticket) {
		s->committed = s->pending;
		s->ticket = 0;
	}
	if (!m->ticket || ticket < m->ticket)
		return;
	m->ticket = 0;
	if (m->role == DATA) {
		send_stream(s, 0);
	} else {
		send_answer(m);
		settle(m);
	}
	step(m);
}

static void on_moved(void *arg, struct hf_conn *conn)
{
	struct member *m = hf_data(conn);

	(void)arg;
	if (m)
		member_drop(m, false);
	else
		hf_forget(conn);
}

static void take_up(struct member *m, const struct hf_checkpoint *cp)
{
	uint64_t position;

	if (m->role == DATAGRAM)
		return;
	if (cp->protocol == RTSP && cp->len <= sizeof(m->saved)) {
		m->role = CONTROL;
		m->start = cp->object_start;
		memcpy(&m->saved, cp->data, cp->len);
	} else if (cp->object) {
		m->role = DATA;
		m->start = cp->object_start;
	} else if (m->session && cp->len == sizeof(position)) {
		memcpy(&position, cp->data, sizeof(position));
		m->session->position = m->session->committed = be64toh(position);
	}
}

static void say(const struct session *s, const char *what)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	fprintf(stderr, "streamd: %lld.%06ld session %016llx %s, packet %llu\n",
		(long long)t.tv_sec, t.tv_nsec / 1000, (unsigned long long)s->id, what,
		(unsigned long long)s->position);
}

/* STREAM of the control connection is ready: packets, and answers, may leave. */
static void stream_ready(struct session *s)
{
	s->ready_ms = 0;
	say(s, "is ready");
	hf_ready(s->control->conn, STREAM);
	settle(s->control);
}

/* Every member is here. */
static void resume(struct session *s)
{
	struct member *data = s->data;

	say(s, "is here");
	if (data)
		hf_ready(data->conn, 0);
	/* the session's end was under way */
	if (!s->control || s->control->over) {
		if (s->control)
			hf_ready(s->control->conn, 0);
		session_end(s);
		return;
	}
	hf_ready(s->control->conn, RTSP);
	send_answer(s->control);
	s->ready_ms = now_ms() + withhold_ms;
	if (data && data->over)
		member_drop(data, true);
	else if (data && data->role == DATA)
		send_stream(s, 0);
	if (!withhold_ms)
		stream_ready(s);
	step(s->control);
}

/* Something of a session that was never answered, or no session at all. */
static void resume_alone(struct member *m)
{
	hf_ready(m->conn, 0);
	if (m->role == DATAGRAM || m->over) {
		member_drop(m, true);
		return;
	}
	send_answer(m);
	step(m);
}

static void on_restored(void *arg, const struct hf_restored *r)
{
	struct member *m = member_new(r->fd, r->proto == IPPROTO_UDP ? DATAGRAM : NEW);
	struct session *s = r->bundle ? session_get(r->bundle) : NULL;

	(void)arg;
	if (!m) {
		close(r->fd);
		hf_forget(r->conn);
		return;
	}
	m->conn = r->conn;
	hf_set_data(m->conn, m);
	if (s)
		member_enter(m, s);
	m->sent = r->sent;
	m->consumed = r->received;
	m->over = r->ended;
	for (size_t i = 0; i < r->checkpoint_count; i++)
		take_up(m, &r->checkpoints[i]);
	if (!s) {
		resume_alone(m);
		return;
	}
	if (m->role == CONTROL)
		s->control = m;
	else if (m->role != NEW)
		s->data = m;
	else
		resume_alone(m); /* it may be over at once, and the session with it */
	s = session_find(r->bundle);
	if (s && r->member + 1 == r->members && (s->control || s->data))
		resume(s);
}

/* ---- */

static void accept_all(void)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct member *m;

		if (fd < 0)
			return;
		m = member_new(fd, NEW);
		if (!m) {
			close(fd);
			continue;
		}
		if (hf_guard(hf, fd, &m->conn)) {
			fprintf(stderr, "streamd: %s\n", hf_error(hf));
			m->conn = NULL;
			member_drop(m, false);
			continue;
		}
		hf_set_data(m->conn, m);
		step(m);
	}
}

/* Milliseconds until something is due. */
static int timeout(void)
{
	int ms = hf_timeout(hf);
	struct session *s;
	bool busy = waiting;

	TAILQ_FOREACH(s, &sessions, link)
	busy |= s->live || s->ready_ms;
	return busy && (ms < 0 || ms > TICK_MS) ? TICK_MS : ms;
}

static void tick(void)
{
	struct session *s, *next;

	waiting = false;
	for (s = TAILQ_FIRST(&sessions); s; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->ready_ms && now_ms() >= s->ready_ms)
			stream_ready(s);
		else if (!s->ready_ms && s->live)
			stream(s);
		if (s->control && s->control->len)
			step(s->control);
	}
}

static void run(void)
{
	struct epoll_event events[64];

	for (;;) {
		int n = epoll_wait(poller, events, 64, timeout());
		bool library = n <= 0;

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == &listener)
				accept_all();
			else if (events[i].data.ptr == &hf)
				library = true;
			else
				step(events[i].data.ptr);
		}
		if (library)
			hf_dispatch(hf);
		tick();
		reap();
	}
}

int main(int argc, char **argv)
{
	static const struct hf_ops ops = {
		.restored = on_restored,
		.committed = on_committed,
		.moved = on_moved,
	};
	const char *instance = NULL, *address = NULL;
	struct epoll_event e = {.events = EPOLLIN};
	int opt, port = 0;

	while ((opt = getopt(argc, argv, "n:f:k:w:a:p:")) != -1) {
		if (opt == 'n')
			instance = optarg;
		else if (opt == 'f')
			rate = strtoul(optarg, NULL, 10);
		else if (opt == 'k')
			window = strtoul(optarg, NULL, 10);
		else if (opt == 'w')
			withhold_ms = strtoul(optarg, NULL, 10);
		else if (opt == 'a')
			address = optarg;
		else if (opt == 'p')
			port = atoi(optarg);
		else
			return 2;
	}
	if (!address || !port || !rate || !window) {
		fputs("usage: streamd [-n INSTANCE] [-f PACKETS] [-k PACKETS] [-w MS] -a ADDRESS "
		      "-p PORT\n",
		      stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	poller = epoll_create1(EPOLL_CLOEXEC);
	listener = listener_open(address, port);
	if (poller < 0 || listener < 0) {
		fprintf(stderr, "streamd: %s\n", strerror(errno));
		return 1;
	}
	if (hf_open(instance, "streamd", &ops, NULL, &hf)) {
		fprintf(stderr, "streamd: %s\n", hf_error(hf));
		return 1;
	}
	if (hf_listen(hf, listener) || listen(listener, 4096)) {
		fprintf(stderr, "streamd: %s\n", hf_error(hf));
		return 1;
	}
	e.data.ptr = &listener;
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
	e.data.ptr = &hf;
	epoll_ctl(poller, EPOLL_CTL_ADD, hf_fd(hf), &e);
	run();
}
