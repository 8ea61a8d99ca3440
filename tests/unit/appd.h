/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A daemon that only has the applications' socket: control/takeover/app.c in a thread
 * of its own, with ops that write down what they are asked. What it knows may be looked at by
 * appd_do() alone, or after appd_until().
 */
#ifndef TESTS_APPD_H
#define TESTS_APPD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/takeover/app.h"

#define APPD_CONNS 65536u

struct appd_conn {
	bool there;
	struct app *app;
	struct guard_key key;
	uint64_t bundle;
	unsigned int member;
	uint64_t ticket; /* of the last commit, perhaps not answered */
	uint64_t answered;
	uint64_t received;
	uint32_t flags;
	unsigned int commits;
	unsigned int protocols_told; /* in the last commit */
	unsigned int readies;
	uint32_t ready; /* the last protocol that said so */
	bool ended;
	bool forgotten;
	struct record_protocol protocols[HF_PROTOCOLS_MAX]; /* newest; owned */
	unsigned int protocol_count;
};

struct appd {
	pthread_t thread;
	struct event_base *base;
	struct event *jobs_event;
	int jobs[2];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	char dir[64];
	char path[96];
	int gid;
	struct apps *apps; /* NULL: the daemon is dead */

	/* how it behaves */
	int fail;  /* the next listen, guard, datagram, bundle, commit or end says this, once */
	bool hold; /* commits and ends are answered by appd_release() */

	/* what it was told */
	struct appd_conn *conns; /* by number */
	uint32_t top;
	uint64_t bundles;
	unsigned int hellos, listens, guards, datagrams, commits, gone;
	struct app *app;           /* that said hello last */
	struct guard_key listened; /* local */
	struct hf_addr peer;
	__be16 peer_port;
	char why[64];          /* of the last gone() */
	unsigned int overlaps; /* commits that came while one of that connection was under way */
};

/* Own network namespace with loopback; false (and a line that says why): not possible here. */
bool appd_network(void);
struct appd *appd_new(void);
void appd_free(struct appd *w);
/* In the daemon's thread, after everything that applications have said before; returns when it was
 * done. */
void appd_do(struct appd *w, void (*job)(struct appd *w, void *arg), void *arg);
/* The daemon dies, without a word; comes back, knowing nothing. */
void appd_kill(struct appd *w);
void appd_start(struct appd *w);
/* Fails the test when it does not become true within 10 s. */
void appd_until(struct appd *w, bool (*true_now)(struct appd *w, void *arg), void *arg);
/* Answers what was held, and holds no more. */
void appd_release(struct appd *w);
unsigned int appd_fds(void); /* descriptors of this process */

#endif
