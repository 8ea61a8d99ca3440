/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/lib/handle.h"

#define OFFSET_MAX (UINT64_MAX / 2)

static size_t padded(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

void state_put(struct state *s)
{
	if (s && !--s->refs)
		free(s);
}

const char *state_object(const struct state *s)
{
	return s->object_len ? s->bytes : NULL;
}

const void *state_data(const struct state *s)
{
	return s->data_len ? s->bytes + s->object_len + 1 : NULL;
}

static struct state *state_new(const char *object, size_t object_len, uint64_t start,
			       const void *data, size_t data_len)
{
	struct state *s = malloc(sizeof(*s) + object_len + 1 + data_len);

	if (!s)
		return NULL;
	*s = (struct state){.refs = 1,
			    .object_start = start,
			    .object_len = (uint16_t)object_len,
			    .data_len = (uint16_t)data_len};
	if (object_len)
		memcpy(s->bytes, object, object_len);
	s->bytes[object_len] = 0;
	if (data_len)
		memcpy(s->bytes + object_len + 1, data, data_len);
	return s;
}

void protocols_clear(struct hf_conn *c)
{
	while (c->protocol_count) {
		struct protocol *p = &c->protocols[--c->protocol_count];

		state_put(p->now);
		state_put(p->next);
		*p = (struct protocol){.number = 0};
	}
}

int protocols_consume(struct hf_conn *c, const uint8_t *at, size_t len, uint32_t count)
{
	struct app_protocol p;
	struct state *s;
	size_t room;

	for (uint32_t i = 0; i < count; i++) {
		if (len < sizeof(p))
			return -EBADMSG;
		memcpy(&p, at, sizeof(p));
		at += sizeof(p);
		len -= sizeof(p);
		room = padded((size_t)p.object_len + p.data_len);
		if (!p.protocol || p.object_len > HF_OBJECT_MAX || p.data_len > HF_DATA_MAX ||
		    room > len || memchr(at, 0, p.object_len))
			return -EBADMSG;
		s = state_new((const char *)at, p.object_len, p.object_start, at + p.object_len,
			      p.data_len);
		if (!s)
			return -ENOMEM;
		c->protocols[c->protocol_count++] =
			(struct protocol){.number = p.protocol, .now = s};
		at += room;
		len -= room;
	}
	return len ? -EBADMSG : 0;
}

/* 0, or what is wrong with it; `ret` is its place, perhaps behind the last one. */
static int checkpoint_check(struct hf_conn *c, const struct hf_checkpoint *cp, size_t object_len,
			    unsigned int *ret)
{
	const struct state *former;
	unsigned int i = 0;

	if (!cp->protocol || (cp->len && !cp->data))
		return hf_fail(c->h, -EINVAL,
			       "a checkpoint has a protocol that is not 0, and data where it has a "
			       "length");
	if (object_len > HF_OBJECT_MAX)
		return hf_fail(c->h, -ENAMETOOLONG, "an object has at most %u characters",
			       HF_OBJECT_MAX);
	if (cp->len > HF_DATA_MAX)
		return hf_fail(c->h, -EMSGSIZE, "a checkpoint has at most %u bytes of data",
			       HF_DATA_MAX);
	while (i < c->protocol_count && c->protocols[i].number != cp->protocol)
		i++;
	if (i == HF_PROTOCOLS_MAX)
		return hf_fail(c->h, -ENOSPC, "a connection has at most %u protocols",
			       HF_PROTOCOLS_MAX);
	former = c->protocols[i].next ? c->protocols[i].next : c->protocols[i].now;
	if (cp->object_start > OFFSET_MAX || (former && cp->object_start < former->object_start))
		return hf_fail(c->h, -ERANGE, "an object cannot begin before the one before it");
	*ret = i;
	return 0;
}

int hf_checkpoint(struct hf_conn *c, const struct hf_checkpoint *cp)
{
	size_t object_len = cp->object ? strnlen(cp->object, HF_OBJECT_MAX + 1) : 0;
	int err = conn_check(c);
	struct state *s;
	unsigned int i = 0;

	if (!err)
		err = checkpoint_check(c, cp, object_len, &i);
	if (err)
		return err;
	s = state_new(cp->object, object_len, cp->object_start, cp->data, cp->len);
	if (!s)
		return hf_fail(c->h, -ENOMEM, "there is no memory");
	if (i == c->protocol_count) {
		c->protocol_count++;
		c->protocols[i].number = cp->protocol;
	}
	state_put(c->protocols[i].next);
	c->protocols[i].next = s;
	return 0;
}

/* Length of the message. */
static uint32_t commit_create(const struct hf_conn *c, uint8_t *out)
{
	struct app_commit *m = (struct app_commit *)out;
	uint8_t *at = (uint8_t *)(m + 1);

	*m = (struct app_commit){.h = {.type = APP_COMMIT, .conn = c->handle},
				 .ticket = c->ticket,
				 .received = c->received,
				 .flags = c->end ? APP_COMMIT_END : 0};
	for (unsigned int i = 0; i < c->protocol_count; i++) {
		const struct state *p = c->protocols[i].now;
		struct app_protocol head;
		size_t len;

		if (!c->protocols[i].dirty)
			continue;
		head = (struct app_protocol){.protocol = c->protocols[i].number,
					     .object_len = p->object_len,
					     .data_len = p->data_len,
					     .object_start = p->object_start};
		memcpy(at, &head, sizeof(head));
		at += sizeof(head);
		memcpy(at, p->bytes, p->object_len);
		memcpy(at + p->object_len, p->bytes + p->object_len + 1, p->data_len);
		len = (size_t)p->object_len + p->data_len;
		memset(at + len, 0, padded(len) - len);
		at += padded(len);
		m->count++;
	}
	m->h.len = (uint32_t)(at - out);
	return m->h.len;
}

int commit_send(struct hf_conn *c)
{
	int err;

	commit_create(c, c->h->outgoing);
	err = link_send(c->h, c->h->outgoing, -1);
	if (err)
		return err;
	c->sent = c->ticket;
	for (unsigned int i = 0; i < c->protocol_count; i++)
		c->protocols[i].dirty = false;
	return 0;
}

/* Now if nothing of it is under way, else when that is done. */
static void commit_begin(struct hf_conn *c)
{
	if (c->ticket != c->sent && c->committed == c->sent)
		conn_say(c, WANT_COMMIT);
}

void commit_done(struct hf_conn *c, uint64_t ticket)
{
	if (ticket <= c->committed || ticket > c->sent)
		return;
	c->committed = ticket;
	event_conn(c);
	commit_begin(c); /* the last thing: it may free it */
}

/* What hf_checkpoint() said counts from now on. */
static void protocols_take(struct hf_conn *c)
{
	for (unsigned int i = 0; i < c->protocol_count; i++) {
		struct protocol *p = &c->protocols[i];

		if (!p->next)
			continue;
		state_put(p->now);
		p->now = p->next;
		p->next = NULL;
		p->dirty = true;
	}
}

static int refused(struct hf_conn *c)
{
	int err = conn_check(c);

	if (!err && c->error)
		err = hf_fail(c->h, c->error, "a commit of the connection was refused");
	return err;
}

static int commit(struct hf_conn *c, uint64_t received, bool end, uint64_t *ret_ticket)
{
	int err = refused(c);

	if (err)
		return err;
	if (received < c->received || received > OFFSET_MAX || (c->end && received > c->received))
		return hf_fail(c->h, -ERANGE,
			       "the client's stream is accounted for up to %llu, so it cannot be "
			       "up to %llu",
			       (unsigned long long)c->received, (unsigned long long)received);
	c->received = received;
	c->end |= end;
	c->ticket++;
	if (ret_ticket)
		*ret_ticket = c->ticket;
	protocols_take(c);
	commit_begin(c);
	return 0;
}

int hf_commit(struct hf_conn *c, uint64_t received, uint64_t *ret_ticket)
{
	return commit(c, received, false, ret_ticket);
}

int hf_commit_end(struct hf_conn *c, uint64_t received, uint64_t *ret_ticket)
{
	return commit(c, received, true, ret_ticket);
}

static int wait_for(struct hf_conn *c, uint64_t ticket, int timeout_ms)
{
	uint64_t deadline = link_now_ms() + (timeout_ms < 0 ? 0 : (uint64_t)timeout_ms), now;
	struct hf *h = c->h;
	int err, left = -1;

	for (;;) {
		if (c->forgotten)
			return -EPIPE;
		err = refused(c);
		if (err)
			return err;
		if (c->committed >= ticket)
			return 0;
		if (timeout_ms >= 0) {
			now = link_now_ms();
			if (now >= deadline)
				return hf_fail(h, -ETIMEDOUT, "not committed within %d ms",
					       timeout_ms);
			left = (int)(deadline - now);
		}
		link_wait(h, left);
		if (!h->running)
			events_run(h);
	}
}

int hf_wait(struct hf_conn *c, uint64_t ticket, int timeout_ms)
{
	int err;

	if (ticket > c->ticket)
		return hf_fail(c->h, -EINVAL, "there is no such ticket yet");
	c->held++;
	err = wait_for(c, ticket, timeout_ms);
	c->held--;
	link_alarm(c->h);
	conn_release(c);
	return err;
}
