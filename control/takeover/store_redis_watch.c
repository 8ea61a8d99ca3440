/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/store_redis_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/takeover/store_private.h"

/* Digits and one space; UINT64_MAX is refused, so that one more is still a number. */
static bool take_number(const char **at, uint64_t max, uint64_t *ret)
{
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*ret = strtoull(*at, &end, 10);
	if (errno || *ret >= max || *end != ' ')
		return false;
	*at = end + 1;
	return true;
}

int redis_owner_parse(const char *text, struct redis_owner *ret)
{
	uint64_t epoch, beat, lease;

	if (!take_number(&text, UINT32_MAX, &epoch) || !take_number(&text, UINT64_MAX, &beat) ||
	    !take_number(&text, UINT32_MAX, &lease) || strlen(text) >= HF_NAME_LEN)
		return -EBADMSG;
	*ret = (struct redis_owner){.epoch = epoch, .beat = beat, .lease_ms = lease};
	strcpy(ret->node, text);
	return 0;
}

void redis_watch_connected(struct redis_watch *w, bool new_run, uint64_t now_ns)
{
	w->seen = w->whole = false;
	if (!new_run)
		return;
	w->moved = w->run_ns != 0;
	w->run_ns = now_ns;
}

int redis_watch_saw(struct redis_watch *w, const char *text, uint64_t now_ns)
{
	struct redis_owner owner = {0};
	int rc = 0;

	if (w->seen && !strcmp(w->text, text))
		return 0;
	if (*text)
		rc = redis_owner_parse(text, &owner);
	if (rc < 0 || strlen(text) >= sizeof(w->text))
		return -EBADMSG;
	if (w->seen)
		w->moved = false;
	strcpy(w->text, text);
	w->owner = owner;
	w->whole = false;
	w->seen = true;
	w->seen_ns = now_ns;
	return 0;
}

void redis_watch_saw_whole(struct redis_watch *w, const char *text, const char *run)
{
	uint64_t epoch;

	w->whole = w->seen && !w->moved && *w->text && take_number(&text, UINT32_MAX, &epoch) &&
		   epoch == w->owner.epoch && !strcmp(text, run);
}

static uint64_t lease_of(const struct redis_watch *w, const struct redis_claimant *c)
{
	uint32_t lease_ms = w->owner.lease_ms > c->lease_ms ? w->owner.lease_ms : c->lease_ms;

	return (uint64_t)lease_ms * 10000 * (100 + STORE_SKEW_PERCENT);
}

/* Handed over, in order: to nobody, or to us. */
static bool given(const struct redis_watch *w, const struct redis_claimant *c)
{
	return *w->text &&
	       (!*w->owner.node || (w->owner.beat == 0 && !strcmp(w->owner.node, c->node)));
}

uint64_t redis_watch_settled_ns(const struct redis_watch *w, const struct redis_claimant *c)
{
	uint64_t lease_ns = lease_of(w, c), settled_ns = w->run_ns + lease_ns;

	if (!w->seen)
		return UINT64_MAX;
	if (c->ours || w->whole)
		return 0;
	if (c->kept || given(w, c))
		return settled_ns;
	settled_ns += lease_ns + (uint64_t)c->return_ms * 1000000;
	if (!*w->text && w->seen_ns > w->run_ns) /* it may have been lost since */
		settled_ns += w->seen_ns - w->run_ns;
	return settled_ns;
}

uint64_t redis_watch_vacant_ns(const struct redis_watch *w, const struct redis_claimant *c)
{
	uint64_t settled_ns = redis_watch_settled_ns(w, c), ended_ns;

	if (!w->seen || given(w, c))
		return settled_ns;
	ended_ns = w->seen_ns + (c->ours ? 0 : lease_of(w, c));
	return ended_ns > settled_ns ? ended_ns : settled_ns;
}

void redis_nodes_saw(struct redis_nodes *n, const char *name, const char *beat, uint64_t now_ns)
{
	size_t i;

	for (i = 0; i < n->count && strcmp(n->list[i].name, name); i++)
		;
	if (i == REDIS_NODES_MAX || strlen(name) >= HF_NAME_LEN ||
	    strlen(beat) >= sizeof(n->list[i].beat))
		return;
	if (i == n->count) {
		n->count++;
		strcpy(n->list[i].name, name);
		n->list[i].changed_ns = 0;
	} else if (strcmp(n->list[i].beat, beat)) {
		n->list[i].changed_ns = now_ns;
	}
	strcpy(n->list[i].beat, beat);
	beat = strchr(beat, ' ');
	n->list[i].services = beat ? strtoull(beat, NULL, 16) : 0;
}

static bool present(const struct redis_nodes *n, size_t i, uint64_t now_ns, uint64_t age_ns)
{
	return n->list[i].changed_ns && now_ns <= n->list[i].changed_ns + age_ns;
}

const char *redis_nodes_present(const struct redis_nodes *n, const char *name, uint64_t now_ns,
				uint64_t age_ns)
{
	for (size_t i = 0; i < n->count; i++)
		if ((!name || !strcmp(n->list[i].name, name)) && present(n, i, now_ns, age_ns))
			return n->list[i].name;
	return NULL;
}

const char *redis_nodes_able(const struct redis_nodes *n, const char *name, uint64_t keep,
			     uint64_t gain, uint64_t now_ns, uint64_t age_ns)
{
	for (size_t i = 0; i < n->count; i++)
		if ((!name || !strcmp(n->list[i].name, name)) && present(n, i, now_ns, age_ns) &&
		    store_offers(n->list[i].services, keep, gain))
			return n->list[i].name;
	return NULL;
}
