/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An application that uses libholdfast, and writes down what it is told; its daemon is
 * that of appd.h. What such a test knows is in a struct side.
 */
#ifndef TESTS_SIDE_H
#define TESTS_SIDE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <holdfast.h>

#include "tests/unit/appd.h"

#define SEEN_MAX 10240u

struct side {
	struct appd *d;
	struct hf *h;
	unsigned int restored, committed, moved, role, daemon;
	enum hf_role_now role_now;
	bool there;
	struct hf_conn *last; /* of the last `restored` or `committed` */
	struct hf_conn *last_moved;
	uint64_t ticket;
	struct hf_restored seen[SEEN_MAX]; /* pointers in it are gone */
	int fds[SEEN_MAX];
	void (*in_restored)(struct side *s, const struct hf_restored *r);
	void (*in_committed)(struct side *s, struct hf_conn *c);
};

extern const struct hf_ops side_ops;
int side_setup(void **state);
int side_teardown(void **state);

/* Waits as an application does. */
#define side_until(s, condition)                                                                   \
	do {                                                                                       \
		time_t end_ = time(NULL) + 10;                                                     \
		while (!(condition)) {                                                             \
			struct pollfd p_ = {.fd = hf_fd((s)->h), .events = POLLIN};                \
			int ms_ = hf_timeout((s)->h);                                              \
			if (time(NULL) > end_)                                                     \
				fail_msg("%s did not become true", #condition);                    \
			poll(&p_, 1, ms_<0 || ms_> 1000 ? 1000 : ms_);                             \
			hf_dispatch((s)->h);                                                       \
		}                                                                                  \
	} while (0)

int side_listener(int family); /* at any port of the loopback; AF_INET6: of both families */
struct side_sockets {
	int client;
	int server;
	uint16_t port; /* the client's */
};

/* `from`: family of the client. */
struct side_sockets side_pair(int listener, int from);
void side_pair_close(struct side_sockets p);
int side_datagram(void);
/* One guarded connection whose sockets are closed: the library has no need of them. */
struct hf_conn *side_guarded(struct side *s);
struct hf_checkpoint side_checkpoint(uint32_t protocol, const char *object, uint64_t start);
/* The daemon's next answer. */
void side_fail(struct side *s, int error);

/* For appd_do() */
void side_hold(struct appd *d, void *arg); /* NULL */
void side_sync(struct appd *d, void *arg); /* NULL: nothing, once everything before is done */
void side_move(struct appd *d, void *arg); /* uint32_t: number of the connection */
struct side_gift {
	uint32_t first;
	uint32_t count;
	uint64_t bundle;
	struct app_restored m;
	const struct record_protocol *protocols;
	size_t protocol_count;
	int fd;    /* a duplicate is given away each time */
	double us; /* that the daemon spent */
};

void side_give(struct appd *d, void *arg); /* struct side_gift */

#endif
