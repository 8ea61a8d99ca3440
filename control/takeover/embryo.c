/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/embryo.h"

#include <stdlib.h>
#include <string.h>

/* A ring in the order of time, and a table by hash whose chains run through it. */
struct entry {
	struct guard_key key;
	uint32_t irs;
	uint64_t id; /* 0: taken out */
	uint64_t time_ms;
	uint64_t ticket;          /* of its record; 0: there is nothing to answer */
	struct guard_facts facts; /* where there is */
	uint32_t next;            /* in the chain: position + 1, 0 is the end */
};

struct embryos {
	struct entry ring[EMBRYOS_MAX];
	uint32_t heads[EMBRYOS_MAX];
	uint64_t head; /* oldest */
	uint64_t tail;
	uint64_t answer; /* before it everything is answered */
};

struct embryos *embryos_new(void)
{
	return calloc(1, sizeof(struct embryos));
}

void embryos_free(struct embryos *e)
{
	free(e);
}

/* The initial sequence number is all the randomness that is needed: a stranger who fills one chain
 * only makes EMBRYOS_MAX steps of it. */
static uint32_t *head_of(struct embryos *e, const struct guard_key *key, uint32_t irs)
{
	uint32_t h = irs * 2654435761u ^ key->peer.w[3] ^ ((uint32_t)key->peer_port << 16);

	return &e->heads[(h ^ h >> 16) & (EMBRYOS_MAX - 1)];
}

static void unchain(struct embryos *e, struct entry *n)
{
	uint32_t *at = head_of(e, &n->key, n->irs), self = n - e->ring + 1;

	while (*at && *at != self)
		at = &e->ring[*at - 1].next;
	if (*at)
		*at = n->next;
}

static uint64_t drop_oldest(struct embryos *e)
{
	struct entry *n = &e->ring[e->head++ & (EMBRYOS_MAX - 1)];

	if (n->id)
		unchain(e, n);
	return n->id;
}

void embryos_add(struct embryos *e, const struct guard_facts *f, uint64_t id, uint64_t now_ms,
		 uint64_t *ret_forgotten)
{
	struct entry *n;
	uint32_t *head;

	*ret_forgotten = e->tail - e->head == EMBRYOS_MAX ? drop_oldest(e) : 0;
	n = &e->ring[e->tail & (EMBRYOS_MAX - 1)];
	head = head_of(e, &f->key, f->irs);
	*n = (struct entry){
		.key = f->key, .irs = f->irs, .id = id, .time_ms = now_ms, .next = *head};
	*head = (e->tail++ & (EMBRYOS_MAX - 1)) + 1;
}

void embryos_wait(struct embryos *e, const struct guard_facts *f, uint64_t ticket)
{
	struct entry *n = &e->ring[(e->tail - 1) & (EMBRYOS_MAX - 1)];

	n->facts = *f;
	n->ticket = ticket;
}

bool embryos_answer(struct embryos *e, uint64_t ticket, struct guard_facts *ret)
{
	if (e->answer < e->head)
		e->answer = e->head;
	while (e->answer != e->tail) {
		const struct entry *n = &e->ring[e->answer & (EMBRYOS_MAX - 1)];

		if (n->ticket > ticket)
			return false;
		e->answer++;
		if (n->ticket && n->id) {
			*ret = n->facts;
			return true;
		}
	}
	return false;
}

uint64_t embryos_take(struct embryos *e, const struct guard_facts *f)
{
	for (uint32_t i = *head_of(e, &f->key, f->irs); i; i = e->ring[i - 1].next) {
		struct entry *n = &e->ring[i - 1];
		uint64_t id = n->id;

		if (n->irs != f->irs || memcmp(&n->key, &f->key, sizeof(n->key)))
			continue;
		unchain(e, n);
		n->id = 0;
		return id;
	}
	return 0;
}

uint64_t embryos_expire(struct embryos *e, uint64_t now_ms)
{
	while (e->head != e->tail) {
		const struct entry *n = &e->ring[e->head & (EMBRYOS_MAX - 1)];
		uint64_t id;

		if (n->id && now_ms < n->time_ms + EMBRYO_LIFE_MS)
			return 0;
		id = drop_oldest(e);
		if (id)
			return id;
	}
	return 0;
}

void embryos_clear(struct embryos *e)
{
	memset(e, 0, sizeof(*e));
}
