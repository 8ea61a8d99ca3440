/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <openssl/crypto.h>

#include "control/takeover/store_private.h"

#define LEASE_MS_MIN 20
#define LEASE_MS_MAX 3600000

/* ---- from the loop -------------------------------------------------------- */

static bool status_same(const struct store_status *a, const struct store_status *b)
{
	return a->state == b->state && a->synced == b->synced && a->held == b->held &&
	       a->epoch == b->epoch && !strcmp(a->owner, b->owner);
}

void store_changed_now(struct store *s)
{
	if (s->status.state != STORE_OWNER) {
		uint64_t ticket = s->queue.ticket; /* they rise for ever */

		queue_fini(&s->queue);
		queue_init(&s->queue);
		s->queue.ticket = ticket;
		s->status.lag = 0;
		s->status.lease_until_ns = 0;
		event_del(s->turn);
	}
	if (status_same(&s->status, &s->told))
		return;
	s->told = s->status;
	if (s->ops.changed)
		s->ops.changed(s->arg, &s->status);
}

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	store_changed_now(arg);
}

void store_changed(struct store *s)
{
	event_active(s->tell, EV_TIMEOUT, 1);
}

void store_lease(struct store *s, uint64_t until_ns)
{
	s->status.lease_until_ns = until_ns;
	if (s->ops.lease)
		s->ops.lease(s->arg, until_ns);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct store *s = arg;

	(void)fd;
	(void)what;
	if (s->status.state == STORE_OWNER && TAILQ_EMPTY(&s->queue.batch) &&
	    !TAILQ_EMPTY(&s->queue.waiting))
		s->kind->flush(s);
}

void store_batch_over(struct store *s)
{
	size_t before = s->queue.count;

	s->done = queue_done(&s->queue);
	s->status.commits += before - s->queue.count;
	s->status.lag = s->queue.count;
	if (!TAILQ_EMPTY(&s->queue.waiting))
		event_active(s->turn, EV_TIMEOUT, 1);
}

void store_committed(struct store *s)
{
	if (s->ops.committed)
		s->ops.committed(s->arg, s->done);
}

void store_batch_done(struct store *s)
{
	store_batch_over(s);
	store_committed(s);
}

static void on_asked(evutil_socket_t fd, short what, void *arg)
{
	struct store *s = arg;

	(void)fd;
	(void)what;
	if (s->status.state == STORE_OWNER && s->ops.asked)
		s->ops.asked(s->arg, s->asked_by);
}

void store_was_asked(struct store *s, const char *by)
{
	snprintf(s->asked_by, sizeof(s->asked_by), "%s", by);
	event_active(s->asked, EV_TIMEOUT, 1);
}

void store_why(struct store *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(s->status.why, sizeof(s->status.why), format, args);
	va_end(args);
}

/* ---- life ----------------------------------------------------------------- */

static char *copy_of(const char *text)
{
	return text ? strdup(text) : NULL;
}

static bool name_ok(const char *name)
{
	return name && name[0] && strlen(name) < HF_NAME_LEN;
}

static int config_check(const struct store_config *c, char *err, size_t err_size)
{
	if (!name_ok(c->group) || !name_ok(c->node)) {
		snprintf(err, err_size, "a group and a node have names of 1 to %d characters",
			 HF_NAME_LEN - 1);
		return -EINVAL;
	}
	if (c->lease_ms < LEASE_MS_MIN || c->lease_ms > LEASE_MS_MAX) {
		snprintf(err, err_size, "a lease of %u ms: it must be %d to %d", c->lease_ms,
			 LEASE_MS_MIN, LEASE_MS_MAX);
		return -EINVAL;
	}
	if (c->heartbeat_ms == 0 || c->heartbeat_ms > c->lease_ms / 4) {
		snprintf(err, err_size,
			 "a heartbeat of %u ms: it must be at most a quarter of the lease, %u ms",
			 c->heartbeat_ms, c->lease_ms / 4);
		return -EINVAL;
	}
	if (c->peer_count > STORE_PEERS_MAX) {
		snprintf(err, err_size, "%zu other nodes: at most %d", c->peer_count,
			 STORE_PEERS_MAX);
		return -EINVAL;
	}
	return 0;
}

int store_init(struct store *s, const struct store_kind *kind, struct event_base *base,
	       const struct store_config *config, const struct store_ops *ops, void *arg, char *err,
	       size_t err_size)
{
	int rc;

	s->kind = kind;
	s->base = base;
	s->ops = *ops;
	s->arg = arg;
	queue_init(&s->queue);
	rc = config_check(config, err, err_size);
	if (rc < 0)
		return rc;
	s->config = *config;
	s->config.group = copy_of(config->group);
	s->config.node = copy_of(config->node);
	s->config.redis_host = copy_of(config->redis_host);
	s->config.redis_user = copy_of(config->redis_user);
	s->config.redis_password = copy_of(config->redis_password);
	s->config.key = NULL;
	if (config->key) {
		memcpy(s->key, config->key, KEY_LEN);
		s->config.key = s->key;
	}
	s->shelf = shelf_new();
	s->tell = event_new(base, -1, 0, on_tell, s);
	s->turn = event_new(base, -1, 0, on_turn, s);
	s->asked = event_new(base, -1, 0, on_asked, s);
	if (!s->config.group || !s->config.node || !s->shelf || !s->tell || !s->turn || !s->asked) {
		snprintf(err, err_size, "no memory for the store");
		return -ENOMEM;
	}
	return 0;
}

static void event_free_if(struct event *e)
{
	if (e)
		event_free(e);
}

void store_fini(struct store *s)
{
	event_free_if(s->tell);
	event_free_if(s->turn);
	event_free_if(s->asked);
	queue_fini(&s->queue);
	shelf_free(s->shelf);
	free((char *)s->config.group);
	free((char *)s->config.node);
	free((char *)s->config.redis_host);
	free((char *)s->config.redis_user);
	if (s->config.redis_password)
		OPENSSL_cleanse((char *)s->config.redis_password, strlen(s->config.redis_password));
	free((char *)s->config.redis_password);
	OPENSSL_cleanse(s->key, sizeof(s->key));
}

void store_close(struct store *s)
{
	if (s)
		s->kind->close(s);
}

/* ---- calls ---------------------------------------------------------------- */

const struct store_status *store_status(const struct store *s)
{
	return &s->status;
}

static int store_parcel(struct store *s, struct parcel *p, uint64_t *ret_ticket)
{
	int rc = queue_put(&s->queue, p, STORE_QUEUE_MAX, ret_ticket);

	if (rc < 0)
		return rc;
	s->status.lag = s->queue.count;
	if (TAILQ_EMPTY(&s->queue.batch))
		event_active(s->turn, EV_TIMEOUT, 1);
	/* The shelf is what a later copy is made of. Where there is no memory for it, the queue has
	 * the record and the caller is told, who ends or retries. */
	return shelf_put(s->shelf, p);
}

int store_put(struct store *s, const struct record *r, uint64_t *ret_ticket)
{
	struct parcel *p;
	int rc;

	if (s->status.state != STORE_OWNER)
		return -EPERM;
	rc = parcel_from_record(r, &p);
	if (rc < 0)
		return rc;
	rc = store_parcel(s, p, ret_ticket);
	parcel_unref(p);
	return rc;
}

int store_delete(struct store *s, uint64_t id, uint64_t *ret_ticket)
{
	struct parcel *p;
	int rc;

	if (s->status.state != STORE_OWNER)
		return -EPERM;
	rc = parcel_deletion(id, &p);
	if (rc < 0)
		return rc;
	rc = store_parcel(s, p, ret_ticket);
	parcel_unref(p);
	return rc;
}

int store_claim(struct store *s)
{
	return s->status.state == STORE_OWNER ? 0 : s->kind->claim(s);
}

int store_hand(struct store *s, const char *to)
{
	if (s->status.state != STORE_OWNER)
		return -EPERM;
	return s->kind->hand ? s->kind->hand(s, to) : -ENOTSUP;
}

void store_offer(struct store *s, uint64_t services)
{
	bool changed = s->offer != services;

	s->offer = services;
	if (changed && s->kind->offer)
		s->kind->offer(s);
}

const char *store_able(const struct store *s, const char *to, uint64_t keep, uint64_t gain)
{
	return s->status.state == STORE_OWNER ? s->kind->able(s, to, keep, gain) : NULL;
}

int store_ask(struct store *s)
{
	if (s->status.state != STORE_STANDBY)
		return -EPERM;
	return s->kind->ask ? s->kind->ask(s) : -ENOTSUP;
}

int store_alone(struct store *s)
{
	return s->kind->alone ? s->kind->alone(s) : -ENOTSUP;
}

void store_each(struct store *s, bool (*each)(void *arg, const struct record *r), void *arg)
{
	shelf_each(s->shelf, each, arg);
}
