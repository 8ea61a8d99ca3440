/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Real redis-servers in a network namespace and a folder of their own, a proxy before them that can
 * be cut, and nodes whose store is there.
 */
#ifndef HOLDFAST_REDIS_WORLD_H
#define HOLDFAST_REDIS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>

#include "control/takeover/store.h"

#define REDIS_PORT   7001
#define REPLICA_PORT 7002
#define LEASE_MS     400
#define HEARTBEAT_MS 40
#define PATIENCE_MS  20000
#define PROXY_PAIRS  32
#define A_PROXY      7003 /* of a, before whichever Redis */

/* options of a server: nothing on disk; all on disk before it answers */
#define REDIS_PLAIN   "--save ''"
#define REDIS_JOURNAL "--save '' --appendonly yes --appendfsync always"

/* A network of our own, with loopback; SIGPIPE is ignored. False: why is printed. */
bool redis_world_net(void);
/* A folder of our own; both go with the process's end, as do the servers. */
void redis_world_folder(void);
void redis_world_clean(void);

struct server {
	pid_t pid; /* 0: not running */
	uint16_t port;
	char options[512]; /* of the last start */
};
/* Starts it with redis.conf options ("--save '' ..."), words parted by one space, and waits until
 * it answers. Its files stay when it is killed. */
void redis_server_start(struct server *s, uint16_t port, const char *options);
void redis_server_kill(struct server *s); /* SIGKILL, and waited for */
void redis_server_signal(struct server *s, int signal);
/* A command on a connection of its own; the reply is the caller's. */
__attribute__((format(printf, 2, 3))) redisReply *redis_server_ask(const struct server *s,
								   const char *format, ...);
__attribute__((format(printf, 2, 3))) void
redis_server_do(const struct server *s, const char *format, ...); /* must not be an error */
long long redis_server_count(const struct server *s);             /* records of the group */

struct proxy; /* 127.0.0.1:`port` -> 127.0.0.1:`to` */
struct proxy *redis_proxy_new(struct event_base *base, uint16_t port, uint16_t to);
void redis_proxy_free(struct proxy *p);
void redis_proxy_hold(struct proxy *p,
		      bool hold); /* nothing passes; what waits goes on afterwards */
void redis_proxy_hold_answers(struct proxy *p, bool hold); /* what Redis says does not pass */
void redis_proxy_reset(struct proxy *p);                   /* breaks its connections */
/* Of one that holds: breaks its connections on the nodes' side, and holds no longer. What came over
 * them goes to Redis with redis_proxy_late(), which returns when Redis has done it all. */
void redis_proxy_break_late(struct proxy *p);
void redis_proxy_late(struct proxy *p);

struct node {
	struct store *store;
	char name[HF_NAME_LEN];
	bool wants; /* claims when it may */
	/* what it was told */
	struct store_status status;
	int ownerships;
	uint64_t committed;
	uint64_t lease_ns; /* 0: not the owner */
	uint64_t lost_ns;  /* when it was told that it is none */
	char asked[HF_NAME_LEN];
	int claim_rc;
};

struct world {
	struct event_base *base;
	struct event *alarm;
	struct server master;
	struct server replica;
	struct node a, b;
};

void redis_world_open(struct world *w, const char *options); /* with a master */
void redis_world_close(struct world *w);
/* cmocka's fixtures: *state is an open world, its master with those options, or REDIS_PLAIN. */
int redis_world_setup(void **state, const char *options);
int redis_world_plain(void **state);
int redis_world_teardown(void **state);
#define IN(world, test) cmocka_unit_test_setup_teardown(test, world, redis_world_teardown)
struct store_config redis_world_config(const char *node, uint16_t port);
void redis_node_open(struct world *w, struct node *n, const struct store_config *config);
void redis_node_close(struct node *n);
/* Opens it and waits until it owns; it will want to again. */
void redis_node_own_with(struct world *w, struct node *n, const struct store_config *config);
void redis_node_own(struct world *w, struct node *n, const char *name, uint16_t port);
/* ... until it stands by and has all records; it does not want to own */
void redis_node_stand_by(struct world *w, struct node *n, const char *name, uint16_t port);
uint64_t redis_world_now_ns(void);

/* The id, and a number that is to be found again. */
struct record redis_world_record(uint64_t id, uint64_t number);
uint64_t redis_node_put(struct node *n, uint64_t id, uint64_t number); /* the ticket */
/* The same, and waits until it is committed; records 1 to `count`, each with its id as number. */
void redis_node_commit(struct world *w, struct node *n, uint64_t id, uint64_t number);
void redis_node_commit_up_to(struct world *w, struct node *n, uint64_t count);
size_t redis_node_count(struct node *n);
uint64_t redis_node_number(struct node *n, uint64_t id); /* 0: no such record */

#define WAIT(w, cond)                                                                              \
	do {                                                                                       \
		uint64_t world_end = redis_world_now_ns() + PATIENCE_MS * 1000000ull;              \
		while (!(cond)) {                                                                  \
			if (redis_world_now_ns() > world_end)                                      \
				fail_msg("never came: %s", #cond);                                 \
			event_base_loop((w)->base, EVLOOP_ONCE);                                   \
		}                                                                                  \
	} while (0)
/* For so long the world goes on, and `cond` holds. */
#define HOLDS(w, ms, cond)                                                                         \
	do {                                                                                       \
		uint64_t world_end = redis_world_now_ns() + (ms)*1000000ull;                       \
		while (redis_world_now_ns() < world_end) {                                         \
			event_base_loop((w)->base, EVLOOP_ONCE);                                   \
			if (!(cond))                                                               \
				fail_msg("did not last: %s", #cond);                               \
		}                                                                                  \
	} while (0)

#endif
