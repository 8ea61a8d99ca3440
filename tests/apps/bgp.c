/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An experiment (docs/experiments/bgp.md): the BGP sessions of an unmodified speaker go on at
 * another node.
 *
 *   bgp [-n INSTANCE] -a ADDRESS [-p PORT] -f FROM -s SPEAKER -P PORT
 *
 * Peers connect to ADDRESS (port 179); for each the speaker of this node is connected to at
 * SPEAKER, from the address FROM, by which it knows its neighbour. Both ends speak whole messages
 * (RFC 4271) to each other.
 *
 * To the peer: what the speaker says is put into a checkpoint, and is written when that is
 * committed; what comes next waits until the peer has acknowledged all of it. So a new node ends a
 * message that was begun. From the peer: a message is committed when the speaker has it. What the
 * dead speaker knew is lost; the new one is told the peer's OPEN, its own OPEN is compared with the
 * one that the peer knows, and swallowed, and the peer is asked to say everything again
 * (ROUTE-REFRESH, RFC 2918). What the peer has of us is put between BoRR and EoRR (RFC 7313) so
 * that it forgets what the new speaker does not say.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <holdfast.h>

#define SESSIONS    16
#define MESSAGE_MAX 4096
#define HEADER_LEN  19
#define RETRY_MS    50
#define RETRIES     100
#define TICK_MS     2

enum message { OPEN = 1, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE_REFRESH };
enum { REFRESH_ASK, REFRESH_BEGIN, REFRESH_END };

enum protocol { THEIR_OPEN = 1, OUR_OPEN, SAID };

struct buffer {
	size_t len;
	uint8_t b[2 * MESSAGE_MAX];
};

struct opened {
	uint32_t up; /* KEEPALIVEs were exchanged */
	uint32_t len;
	uint8_t b[MESSAGE_MAX - 8];
};

struct session {
	int fd; /* the peer; -1: this place is free */
	int local;
	struct hf_conn *conn;
	bool greeting; /* a new speaker has yet to be told what was said */
	bool ours_ok;  /* it has said the same OPEN */
	bool refreshing;
	bool waiting; /* for a commit */
	bool over;    /* a NOTIFICATION was said */
	unsigned int tries;
	struct opened theirs;
	struct opened ours;
	struct buffer in;   /* from the peer */
	struct buffer down; /* from the speaker */
	/* what is described, and goes to the peer */
	uint64_t start;
	size_t out_len;
	uint8_t out[MESSAGE_MAX];
	uint64_t sent;
	uint64_t consumed;
	uint64_t ticket;
};

static struct session sessions[SESSIONS];
static struct hf *hf;
static struct sockaddr_in speaker, from;
static enum hf_role_now role = HF_STANDBY;

static void say(const struct session *s, const char *what)
{
	fprintf(stderr, "bgp: session %d: %s\n", (int)(s - sessions), what);
}

/* ---- messages ------------------------------------------------------------- */

/* Length of the message at the beginning; 0: it is not whole yet; -1: nonsense. */
static int whole(const uint8_t *b, size_t len)
{
	size_t n;

	if (len < HEADER_LEN)
		return 0;
	n = (size_t)b[16] << 8 | b[17];
	if (n < HEADER_LEN || n > MESSAGE_MAX)
		return -1;
	return n <= len ? (int)n : 0;
}

static void eat(struct buffer *b, size_t n)
{
	memmove(b->b, b->b + n, b->len - n);
	b->len -= n;
}

static size_t refresh(uint8_t *b, unsigned int subtype)
{
	memset(b, 0xff, 16);
	b[16] = 0;
	b[17] = 23;
	b[18] = ROUTE_REFRESH;
	b[19] = 0;
	b[20] = 1; /* IPv4 */
	b[21] = subtype;
	b[22] = 1; /* unicast */
	return 23;
}

static bool is_end_of_rib(const uint8_t *b, size_t len)
{
	return b[18] == UPDATE && len == 23;
}

/* ---- life ----------------------------------------------------------------- */

static struct session *session_new(int fd, struct hf_conn *conn)
{
	for (struct session *s = sessions; s < sessions + SESSIONS; s++)
		if (s->fd < 0) {
			memset(s, 0, sizeof(*s));
			s->fd = fd;
			s->local = -1;
			s->conn = conn;
			hf_set_data(conn, s);
			return s;
		}
	return NULL;
}

static void session_drop(struct session *s, bool end)
{
	if (end)
		hf_end(s->conn);
	hf_forget(s->conn);
	close(s->fd);
	if (s->local >= 0)
		close(s->local);
	s->fd = -1;
}

/* A speaker that goes without a NOTIFICATION has died: another node's goes on. */
static void speaker_lost(struct session *s)
{
	say(s, "the speaker of this node is gone");
	if (role != HF_ALONE)
		exit(1);
	session_drop(s, true);
}

static bool connect_speaker(struct session *s)
{
	int one = 1;

	s->local = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->local < 0)
		return false;
	setsockopt(s->local, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(s->local, (struct sockaddr *)&from, sizeof(from)) ||
	    connect(s->local, (struct sockaddr *)&speaker, sizeof(speaker))) {
		close(s->local);
		s->local = -1;
		return false;
	}
	return true;
}

/* ---- checkpoints ------------------------------------------------------------ */

static void checkpoint(struct session *s, uint32_t protocol, const void *data, size_t len)
{
	struct hf_checkpoint cp = {
		.protocol = protocol, .object_start = s->start, .data = data, .len = len};

	hf_checkpoint(s->conn, &cp);
}

static bool commit_said(struct session *s)
{
	checkpoint(s, SAID, s->out, s->out_len);
	checkpoint(s, OUR_OPEN, &s->ours, sizeof(s->ours));
	checkpoint(s, THEIR_OPEN, &s->theirs, sizeof(s->theirs));
	s->waiting = true;
	return !hf_commit(s->conn, s->consumed, &s->ticket);
}

/* ---- from the peer ------------------------------------------------------------ */

static bool hear_peer(struct session *s)
{
	uint64_t before = s->consumed;
	ssize_t n = recv(s->fd, s->in.b + s->in.len, sizeof(s->in.b) - s->in.len, MSG_DONTWAIT);
	int len;

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		say(s, "the peer ended");
		session_drop(s, true);
		return false;
	}
	s->in.len += n > 0 ? (size_t)n : 0;
	while ((len = whole(s->in.b, s->in.len)) > 0) {
		if (s->in.b[18] == OPEN && len <= (int)sizeof(s->theirs.b)) {
			s->theirs.len = len;
			memcpy(s->theirs.b, s->in.b, len);
		}
		if (s->in.b[18] == KEEPALIVE)
			s->theirs.up = 1;
		if (send(s->local, s->in.b, len, MSG_NOSIGNAL) != len) {
			speaker_lost(s);
			return false;
		}
		eat(&s->in, len);
		s->consumed += len;
	}
	if (s->consumed > before) {
		checkpoint(s, THEIR_OPEN, &s->theirs, sizeof(s->theirs));
		hf_commit(s->conn, s->consumed, NULL);
	}
	return true;
}

/* ---- to the peer ---------------------------------------------------------------- */

/* The speaker's messages that fit, with what we have to add. */
static void take_messages(struct session *s)
{
	int len;

	s->start = s->sent;
	s->out_len = 0;
	while ((len = whole(s->down.b, s->down.len)) > 0 &&
	       s->out_len + len + 23 <= sizeof(s->out)) {
		uint8_t type = s->down.b[18];

		if (type == OPEN && len <= (int)sizeof(s->ours.b)) {
			s->ours.len = len;
			memcpy(s->ours.b, s->down.b, len);
		}
		if (type == KEEPALIVE)
			s->ours.up = 1;
		if (type == NOTIFICATION)
			s->over = true;
		memcpy(s->out + s->out_len, s->down.b, len);
		s->out_len += len;
		if (s->refreshing && is_end_of_rib(s->down.b, len)) {
			s->out_len += refresh(s->out + s->out_len, REFRESH_END);
			s->refreshing = false;
			say(s, "all is said again");
		}
		eat(&s->down, len);
	}
}

/* What a new speaker says first is known to the peer. */
static bool greet(struct session *s)
{
	int len;

	while (s->greeting && (len = whole(s->down.b, s->down.len)) > 0) {
		if (s->down.b[18] == OPEN) {
			s->ours_ok = len == (int)s->ours.len && !memcmp(s->down.b, s->ours.b, len);
			if (!s->ours_ok)
				break;
		} else if (s->down.b[18] == KEEPALIVE && s->ours_ok) {
			s->greeting = false;
		} else {
			break;
		}
		eat(&s->down, len);
	}
	if (s->greeting && whole(s->down.b, s->down.len)) {
		say(s, "refused: the speaker here opens in another way");
		session_drop(s, true);
		return false;
	}
	if (s->greeting)
		return true;
	say(s, "goes on with the speaker of this node");
	s->refreshing = true;
	return true;
}

static bool hear_speaker(struct session *s)
{
	ssize_t n = recv(s->local, s->down.b + s->down.len, sizeof(s->down.b) - s->down.len,
			 MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		if (s->over)
			return true;
		if (s->greeting && s->tries < RETRIES) { /* it is not ready for a neighbour yet */
			close(s->local);
			s->local = -1;
			s->down.len = 0;
			return true;
		}
		speaker_lost(s);
		return false;
	}
	s->down.len += n > 0 ? (size_t)n : 0;
	return !s->greeting || greet(s);
}

static bool acknowledged(const struct session *s)
{
	int left;

	return ioctl(s->fd, SIOCOUTQ, &left) || !left;
}

static bool tell_peer(struct session *s)
{
	uint64_t at = s->sent - s->start;
	bool begin = false;
	ssize_t n;

	if (s->waiting)
		return true;
	if (at < s->out_len) {
		n = send(s->fd, s->out + at, s->out_len - at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN) {
			session_drop(s, true);
			return false;
		}
		s->sent += n > 0 ? n : 0;
		return true;
	}
	if (s->greeting || !acknowledged(s))
		return true;
	if (s->over) {
		session_drop(s, true);
		return false;
	}
	if (s->refreshing && s->ours_ok) { /* the first after a takeover */
		s->start = s->sent;
		s->out_len = refresh(s->out, REFRESH_ASK);
		s->out_len += refresh(s->out + s->out_len, REFRESH_BEGIN);
		s->ours_ok = false;
		begin = true;
	} else {
		if (!whole(s->down.b, s->down.len))
			return true;
		take_messages(s);
	}
	if (!begin && !s->out_len) {
		say(s, "the speaker's message is too long");
		session_drop(s, true);
		return false;
	}
	return commit_said(s);
}

/* ---- the library's events ----------------------------------------------------- */

static void on_committed(void *arg, struct hf_conn *conn, uint64_t ticket)
{
	struct session *s = hf_data(conn);

	(void)arg;
	if (s && ticket >= s->ticket)
		s->waiting = false;
}

static void on_moved(void *arg, struct hf_conn *conn)
{
	struct session *s = hf_data(conn);

	(void)arg;
	if (s)
		session_drop(s, false);
}

static void on_role(void *arg, enum hf_role_now now)
{
	(void)arg;
	role = now;
}

static void recall(struct session *s, const struct hf_checkpoint *cp)
{
	if (cp->protocol == THEIR_OPEN && cp->len == sizeof(s->theirs))
		memcpy(&s->theirs, cp->data, cp->len);
	if (cp->protocol == OUR_OPEN && cp->len == sizeof(s->ours))
		memcpy(&s->ours, cp->data, cp->len);
	if (cp->protocol == SAID) {
		memcpy(s->out, cp->data, cp->len);
		s->out_len = cp->len;
		s->start = cp->object_start;
	}
}

static void on_restored(void *arg, const struct hf_restored *r)
{
	struct session *s = session_new(r->fd, r->conn);

	(void)arg;
	if (!s) {
		hf_ready(r->conn, 0);
		hf_end(r->conn);
		hf_forget(r->conn);
		close(r->fd);
		return;
	}
	s->sent = r->sent;
	s->consumed = r->received;
	for (size_t i = 0; i < r->checkpoint_count; i++)
		recall(s, &r->checkpoints[i]);
	hf_ready(s->conn, 0);
	if (r->fresh || !r->checkpoint_count)
		return;
	if (!s->theirs.up || !s->ours.up || r->ended || s->sent < s->start ||
	    s->sent > s->start + s->out_len) {
		say(s, "ended: it was not established");
		session_drop(s, true);
		return;
	}
	s->greeting = true;
}

/* ---- */

static void accept_peer(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
	struct hf_conn *conn;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (hf_guard(hf, fd, &conn)) {
		fprintf(stderr, "bgp: %s\n", hf_error(hf));
		close(fd);
	} else if (!session_new(fd, conn)) {
		hf_end(conn);
		hf_forget(conn);
		close(fd);
	}
}

/* A speaker is asked for a neighbour again and again: it may not be ready for one. */
static bool reach_speaker(struct session *s)
{
	if (s->local >= 0)
		return true;
	if (!connect_speaker(s)) {
		if (++s->tries > RETRIES)
			speaker_lost(s);
		return false;
	}
	s->tries++;
	if (!s->greeting)
		return true;
	send(s->local, s->theirs.b, s->theirs.len, MSG_NOSIGNAL);
	memset(s->in.b, 0xff, 16);
	memcpy(s->in.b + 16, (const uint8_t[]){0, HEADER_LEN, KEEPALIVE}, 3);
	send(s->local, s->in.b, HEADER_LEN, MSG_NOSIGNAL);
	return true;
}

static void step(struct session *s)
{
	if (!reach_speaker(s) || !hear_speaker(s) || !tell_peer(s))
		return;
	if (!s->greeting && s->local >= 0)
		hear_peer(s);
}

static void loop(int listener)
{
	struct pollfd p[2 + 2 * SESSIONS];

	for (;;) {
		int ms = hf_timeout(hf);

		p[0] = (struct pollfd){.fd = hf_fd(hf), .events = POLLIN};
		p[1] = (struct pollfd){.fd = listener, .events = POLLIN};
		for (int i = 0; i < SESSIONS; i++) {
			const struct session *s = &sessions[i];
			bool live = s->fd >= 0, full = s->down.len > sizeof(s->down.b) / 2;

			p[2 + 2 * i] = (struct pollfd){.fd = live && !s->greeting ? s->fd : -1,
						       .events = POLLIN};
			p[3 + 2 * i] = (struct pollfd){.fd = live && !full ? s->local : -1,
						       .events = POLLIN};
			/* nothing tells of an acknowledgement */
			if (live && (s->local < 0 || s->greeting))
				ms = ms < 0 || ms > RETRY_MS ? RETRY_MS : ms;
			else if (live && (s->down.len || s->out_len || s->refreshing))
				ms = ms < 0 || ms > TICK_MS ? TICK_MS : ms;
		}
		poll(p, 2 + 2 * SESSIONS, ms);
		if (p[1].revents)
			accept_peer(listener);
		for (int i = 0; i < SESSIONS; i++)
			if (sessions[i].fd >= 0)
				step(&sessions[i]);
		hf_dispatch(hf);
	}
}

int main(int argc, char **argv)
{
	static const struct hf_ops ops = {.restored = on_restored,
					  .committed = on_committed,
					  .moved = on_moved,
					  .role = on_role};
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(179)};
	const char *instance = NULL;
	int opt, listener, one = 1;

	from.sin_family = speaker.sin_family = AF_INET;
	while ((opt = getopt(argc, argv, "n:a:p:f:s:P:")) != -1) {
		if (opt == 'n')
			instance = optarg;
		else if (opt == 'p')
			sa.sin_port = htons(atoi(optarg));
		else if (opt == 'P')
			speaker.sin_port = htons(atoi(optarg));
		else if (opt == '?' || inet_pton(AF_INET, optarg,
						 opt == 'a'   ? &sa.sin_addr
						 : opt == 'f' ? &from.sin_addr
							      : &speaker.sin_addr) != 1)
			return 2;
	}
	if (!sa.sin_addr.s_addr || !from.sin_addr.s_addr || !speaker.sin_port) {
		fputs("usage: bgp [-n INSTANCE] -a ADDRESS [-p PORT] -f FROM -s SPEAKER -P PORT\n",
		      stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < SESSIONS; i++)
		sessions[i].fd = -1;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa)) ||
	    hf_open(instance, "bgp", &ops, NULL, &hf) || hf_listen(hf, listener) ||
	    listen(listener, SESSIONS)) {
		fprintf(stderr, "bgp: cannot begin: %s; %s\n", strerror(errno), hf_error(hf));
		return 1;
	}
	loop(listener);
}
