/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The sessions of streamd and their members: one bundle each. */
#ifndef TESTS_APPS_STREAMD_SESSION_H
#define TESTS_APPS_STREAMD_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#include <holdfast.h>

#define REQUEST_MAX 2048
#define ANSWER_MAX  512

enum state { INIT, READY, PLAYING };

/* data of the checkpoint of RTSP; its object is the answer */
struct saved {
	uint32_t state;
	uint32_t cseq;
	uint32_t answer_len;
	char answer[ANSWER_MAX];
};

enum role {
	NEW,      /* it has not said yet what it is */
	CONTROL,  /* requests and answers */
	DATA,     /* packets over TCP */
	DATAGRAM, /* packets over UDP */
	DEAD,     /* closed; an event may still name it */
};

struct session;

/* A member of a session, or to become one. */
struct member {
	SLIST_ENTRY(member) link; /* while DEAD */
	enum role role;
	int fd;
	struct hf_conn *conn;
	struct session *session; /* NULL: none */
	bool over;               /* it was ended before the takeover */
	uint64_t sent;           /* out stream */
	uint64_t start;          /* CONTROL: offset of the answer; DATA: of packet 0 */
	uint64_t consumed;       /* in stream, handled */
	uint64_t ticket;         /* CONTROL: the answer waits for that commit; 0: none does */
	struct saved saved;
	size_t len;
	char buf[REQUEST_MAX + 1];
};

struct session {
	TAILQ_ENTRY(session) link;
	uint64_t id; /* the bundle's number */
	unsigned int members;
	struct member *control;
	struct member *data;
	bool live;          /* packets flow */
	uint64_t position;  /* number of the next packet */
	uint64_t committed; /* the checkpoint that a standby would go on with */
	uint64_t pending;   /* the one under way, committed with */
	uint64_t ticket;    /* 0: none is under way */
	uint64_t base;      /* number of the packet that was due at `base_ns` */
	uint64_t base_ns;
	uint64_t ready_ms; /* STREAM will say then that it is ready; 0: it has */
};

static TAILQ_HEAD(, session) sessions = TAILQ_HEAD_INITIALIZER(sessions);
static SLIST_HEAD(, member) dead = SLIST_HEAD_INITIALIZER(dead);

static int poller;

static inline struct session *session_find(uint64_t id)
{
	struct session *s;

	TAILQ_FOREACH(s, &sessions, link)
	if (s->id == id)
		return s;
	return NULL;
}

static inline struct session *session_get(uint64_t id)
{
	struct session *s = session_find(id);

	if (!s)
		s = calloc(1, sizeof(*s));
	if (s && !s->id) {
		s->id = id;
		TAILQ_INSERT_TAIL(&sessions, s, link);
	}
	return s;
}

static inline struct member *member_new(int fd, enum role role)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
	struct member *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->fd = fd;
	m->role = role;
	e.data.ptr = m;
	if (role != DATAGRAM)
		epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
	return m;
}

static inline void member_enter(struct member *m, struct session *s)
{
	m->session = s;
	s->members++;
}

static inline void member_leave(struct member *m)
{
	struct session *s = m->session;

	if (!s)
		return;
	if (s->control == m)
		s->control = NULL;
	if (s->data == m)
		s->data = NULL;
	if (!s->data)
		s->live = false;
	m->session = NULL;
	if (--s->members)
		return;
	TAILQ_REMOVE(&sessions, s, link);
	free(s);
}

/* `end`: its client may see the end. */
static inline void member_drop(struct member *m, bool end)
{
	member_leave(m);
	if (m->conn && end)
		hf_end(m->conn);
	/* the daemon may have it, too, until its bundle is ready: close(2) alone would not do */
	if (m->role != DATAGRAM)
		epoll_ctl(poller, EPOLL_CTL_DEL, m->fd, NULL);
	close(m->fd);
	hf_forget(m->conn);
	m->role = DEAD;
	SLIST_INSERT_HEAD(&dead, m, link);
}

static inline void reap(void)
{
	struct member *m;

	while ((m = SLIST_FIRST(&dead))) {
		SLIST_REMOVE_HEAD(&dead, link);
		free(m);
	}
}

#endif
