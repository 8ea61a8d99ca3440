/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Two or three stores in one loop, over loopback, in a network namespace of the test's own:
 *
 *	a (10.9.0.1) --- b (10.9.0.2) --- c (10.9.0.3)       all on lo
 *	b as a and c see it may be a relay on 10.9.1.2, which forwards until it is told to stop
 *
 * Nodes are named a, b, c, and numbered from 0; the lower name dials.
 */
#ifndef HOLDFAST_DIRECT_WORLD_H
#define HOLDFAST_DIRECT_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/takeover/frame.h"
#include "control/takeover/store.h"
#include "tests/unit/tls_world.h"

#define NODES    3
#define PORT     7300
#define LEASE_MS 400
#define BEAT_MS  50
#define RECORDS  100 /* that a node of another process puts, if it owns */

struct group;
struct relay;

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

extern const uint8_t direct_key[KEY_LEN];

/* Runs the loop until it is so. */
#undef WAIT
#define WAIT(w, condition)                                                                         \
	do {                                                                                       \
		struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};                          \
		evtimer_add((w)->alarm, &patience);                                                \
		while (!(condition))                                                               \
			direct_turn(w);                                                            \
		evtimer_del((w)->alarm);                                                           \
	} while (0)

/* cmocka's fixture of the group of tests: the namespace and its addresses. */
int direct_network(void **state);
/* ... and of a test: *state is a struct group without stores. Two owners at one time fail it. */
int direct_setup(void **state);
int direct_teardown(void **state);
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, direct_setup, direct_teardown)

/* Waits for one event, then looks whether there are two owners. */
void direct_turn(struct group *w);

/* Node n, of w->count; what it was told before is forgotten. */
struct store_config direct_config(const struct group *w, int n);
void direct_open_with(struct group *w, int n, const struct store_config *c);
void direct_open(struct group *w, int n);
void direct_close(struct group *w, int n);
const struct store_status *direct_status(const struct group *w, int n);
bool direct_is(const struct group *w, int n, enum store_state state); /* no: it is closed */
/* `owner` owns for the time of a lease, all others that are open stand by and are synced. */
bool direct_whole(const struct group *w, int owner);
/* Opens `count` nodes: a owns, the others stand by. */
void direct_begin(struct group *w, int count);

struct record direct_record(uint64_t id, uint64_t commit);
uint64_t direct_put(struct group *w, int n, uint64_t id, uint64_t commit); /* the ticket */
/* ... and waits until it is committed */
void direct_commit(struct group *w, int n, uint64_t id, uint64_t commit);

struct held {
	size_t count; /* of all records */
	uint64_t id, commit;
};
struct held direct_held(struct group *w, int n, uint64_t id);

/* Node n in a process of its own, to be killed. It claims when it can; as owner puts RECORDS
 * records, and says so when they are committed; as standby says so when it is synced. */
void direct_child_start(struct group *w, int n);
bool direct_child_said(struct group *w);
void direct_child_crash(struct group *w); /* SIGKILL, and waited for; nothing without one */

/* Before the nodes are opened. */
void direct_relay_open(struct group *w);
/* Stopped, it swallows what comes, accepts nobody and lets neither side know. */
void direct_relay_stop(struct group *w, bool stopped);

/* Somebody who speaks the protocol by another hand, to node n, with that identity and key; returns
 * when TLS is done or refused. speaker_close() ends it. */
void direct_voice_open(struct group *w, struct speaker *s, int n, const char *identity,
		       const uint8_t *key);
void direct_voice_say(struct speaker *s, const struct frame *f);
/* The next frame of that type, others are passed over; false: it has not come. */
bool direct_voice_hears(struct speaker *s, enum frame_type type, struct frame *ret);

#endif
