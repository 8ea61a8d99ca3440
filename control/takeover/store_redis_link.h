/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The connection to Redis: made, made again after a while, given up when nothing is answered. It is
 * up once Redis let us in, is a master that does not evict our keys, and has our scripts. TLS to
 * Redis is not spoken: it belongs on a network of its own or behind a tunnel.
 */
#ifndef HOLDFAST_TAKEOVER_STORE_REDIS_LINK_H
#define HOLDFAST_TAKEOVER_STORE_REDIS_LINK_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/takeover/store_redis_script.h"

#define REDIS_RUN_LEN 96 /* with the zero */
#define REDIS_WHY_LEN 160

struct event_base;
struct redis_link;

struct redis_link_ops {
	/* `run` names what Redis holds: while it is the same, nothing that was written has been
	 * undone by a restart or by another server that took over. */
	void (*up)(void *arg, const char *run);
	/* It is down, or still is; with one sentence. Comes again when the sentence changes. */
	void (*down)(void *arg, const char *why);
};

struct redis_link_config {
	const char *group;
	const char *host;     /* address, or name: looked up anew each time */
	uint16_t port;        /* host order */
	const char *user;     /* may be NULL */
	const char *password; /* may be NULL */
	uint32_t silence_ms;  /* so long without an answer that is due: given up */
	uint32_t retry_ms;    /* the longest time between two attempts */
};

/* From the loop, when the answer came; never when the link went down before. An error that concerns
 * the link as a whole does not come here. */
typedef void redis_reply_fn(void *arg, const redisReply *reply, void *of);

/* Copies `config`; begins to connect at once, calls back from the loop only. 0, -EINVAL or -ENOMEM.
 */
int redis_link_open(struct event_base *base, const struct redis_link_config *config,
		    const struct redis_link_ops *ops, void *arg, struct redis_link **ret);
/* Sends what waits, if the kernel takes it, and closes. NULL is allowed. */
void redis_link_close(struct redis_link *l);

/* 0, -ENOTCONN or -ENOMEM. `of` is handed to `done`; it must outlive the link. */
int redis_link_send(struct redis_link *l, redis_reply_fn *done, void *of, int argc,
		    const char **argv, const size_t *len);
/* EVALSHA; `argv` are the script's, without its keys and the history. */
int redis_link_run(struct redis_link *l, enum redis_script script, redis_reply_fn *done, void *of,
		   int argc, const char **argv, const size_t *len);
const char *redis_link_key(const struct redis_link *l, enum redis_key key);
/* Redis said what it cannot have said: down, and anew. */
void redis_link_broken(struct redis_link *l, const char *why);
/* One sentence about an error that Redis answered. */
void redis_error_text(const char *error, char out[static REDIS_WHY_LEN]);

#endif
