/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "hold.h"

#include <stdlib.h>
#include <string.h>

#include "../addr.h"

#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <linux/virtio_net.h>

#define VNET_LEN  sizeof(struct virtio_net_hdr)
#define FORGET_MS 2000u /* after it was first seen: an offered one is not known any more */
#define PLACED_MS 100u  /* after it was offered: it did not come back */

struct fragment_key { /* compared as bytes */
	struct hf_addr src;
	struct hf_addr dst;
	uint32_t id;
	uint16_t offset; /* bytes */
	uint8_t proto;
	uint8_t v6;
};
_Static_assert(FORGET_MS > HOLD_LIFE_MS, "an offered one outlives its time");
_Static_assert(sizeof(struct fragment_key) == 40, "no padding: it is compared as bytes");

struct fragment {
	struct fragment_key key;
	uint64_t first_ms;
	uint64_t due_ms; /* to be offered; once it is offered: when it was */
	size_t len;
	uint8_t *packet; /* NULL while it is offered */
	bool placed;     /* counted as placed */
};

struct hold {
	struct fragment list[HOLD_MAX]; /* in the order of first_ms */
	size_t n;
	size_t bytes;
	struct hold_counters count;
};

struct hold *hold_new(void)
{
	return calloc(1, sizeof(struct hold));
}

void hold_free(struct hold *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++)
		free(h->list[i].packet);
	free(h);
}

static bool key_v4(const uint8_t *ip, size_t len, struct fragment_key *ret)
{
	struct iphdr four;

	if (len < sizeof(four))
		return false;
	memcpy(&four, ip, sizeof(four));
	if (four.ihl * 4u < sizeof(four) || ntohs(four.tot_len) > len ||
	    (ntohs(four.frag_off) & IP_OFFMASK) == 0)
		return false;
	ret->src = addr_from_v4(&four.saddr);
	ret->dst = addr_from_v4(&four.daddr);
	ret->id = four.id;
	ret->offset = (uint16_t)((ntohs(four.frag_off) & IP_OFFMASK) * 8u);
	ret->proto = four.protocol;
	ret->v6 = 0;
	return true;
}

static bool key_v6(const uint8_t *ip, size_t len, struct fragment_key *ret)
{
	size_t at = sizeof(struct ip6_hdr);
	struct ip6_hdr six;
	uint8_t next;

	if (len < sizeof(six))
		return false;
	memcpy(&six, ip, sizeof(six));
	if (at + ntohs(six.ip6_plen) > len)
		return false;
	next = six.ip6_nxt;
	/* what may come before the fragment header: RFC 8200 section 4.1 */
	while (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS) {
		if (len - at < 8 || len - at < 8 + ip[at + 1] * 8u)
			return false;
		next = ip[at];
		at += 8 + ip[at + 1] * 8u;
	}
	if (next != IPPROTO_FRAGMENT || len - at < 8)
		return false;
	ret->offset = (uint16_t)((ip[at + 2] << 8 | ip[at + 3]) & ~7);
	if (ret->offset == 0)
		return false;
	ret->src = addr_from_v6(&six.ip6_src);
	ret->dst = addr_from_v6(&six.ip6_dst);
	memcpy(&ret->id, ip + at + 4, 4);
	ret->proto = ip[at];
	ret->v6 = 1;
	return true;
}

static bool key_of(const void *packet, size_t len, struct fragment_key *ret)
{
	const uint8_t *ip = (const uint8_t *)packet + VNET_LEN;

	if (len <= VNET_LEN)
		return false;
	if (ip[0] >> 4 == 4)
		return key_v4(ip, len - VNET_LEN, ret);
	return ip[0] >> 4 == 6 && key_v6(ip, len - VNET_LEN, ret);
}

bool hold_is_fragment(const void *packet, size_t len)
{
	struct fragment_key key;

	return key_of(packet, len, &key);
}

static void release(struct hold *h, struct fragment *f)
{
	if (!f->packet)
		return;
	free(f->packet);
	f->packet = NULL;
	h->bytes -= f->len;
}

static void forget(struct hold *h, struct fragment *f)
{
	release(h, f);
	h->n--;
	memmove(f, f + 1, (size_t)(h->list + h->n - f) * sizeof(*f));
}

static struct fragment *find(struct hold *h, const struct fragment_key *key)
{
	for (size_t i = 0; i < h->n; i++)
		if (memcmp(&h->list[i].key, key, sizeof(*key)) == 0)
			return &h->list[i];
	return NULL;
}

static void count_placed(struct hold *h, struct fragment *f)
{
	if (f->packet || f->placed)
		return;
	f->placed = true;
	h->count.placed++;
}

/* A record of an offered one may go for the sake of a new one; the oldest first. */
static bool make_room(struct hold *h)
{
	if (h->n < HOLD_MAX)
		return true;
	for (size_t i = 0; i < h->n; i++) {
		if (h->list[i].packet)
			continue;
		count_placed(h, &h->list[i]);
		forget(h, &h->list[i]);
		return true;
	}
	return false;
}

enum hold_result hold_add(struct hold *h, const void *packet, size_t len, uint64_t now_ms)
{
	struct fragment_key key;
	struct fragment *f;
	uint8_t *copy;

	if (!key_of(packet, len, &key))
		return HOLD_NOT_FRAGMENT;
	f = find(h, &key);
	if (f && now_ms - f->first_ms >= HOLD_LIFE_MS) {
		/* came back too late, or is another packet with the same identification */
		bool ours = !f->packet && !f->placed;

		if (f->packet || ours)
			h->count.expired++;
		forget(h, f);
		if (ours)
			return HOLD_EXPIRED;
		f = NULL;
	}
	if (f && f->packet)
		return HOLD_HELD;
	if (h->bytes + len > HOLD_BYTES_MAX || (!f && !make_room(h)))
		goto full;
	copy = malloc(len);
	if (!copy)
		goto full;
	memcpy(copy, packet, len);
	if (!f) {
		f = &h->list[h->n++];
		*f = (struct fragment){.key = key, .first_ms = now_ms};
		h->count.held++;
	} else if (f->placed) {
		f->placed = false; /* it was slow on its way through hf0 */
		h->count.placed--;
	}
	f->packet = copy;
	f->len = len;
	f->due_ms = now_ms + HOLD_RETRY_MS;
	h->bytes += len;
	return HOLD_HELD;
full:
	h->count.full++;
	return HOLD_FULL;
}

size_t hold_due(struct hold *h, uint64_t now_ms, hold_offer offer, void *arg)
{
	size_t n = 0, i = 0;

	while (i < h->n) {
		struct fragment *f = &h->list[i];
		uint64_t age_ms = now_ms - f->first_ms;

		if (f->packet && age_ms >= HOLD_LIFE_MS) {
			h->count.expired++;
			forget(h, f);
			continue;
		}
		if (!f->packet && now_ms - f->due_ms >= PLACED_MS)
			count_placed(h, f);
		if (!f->packet && age_ms >= FORGET_MS) {
			count_placed(h, f);
			forget(h, f);
			continue;
		}
		if (f->packet && now_ms >= f->due_ms) {
			if (offer(arg, f->packet, f->len) == 0) {
				release(h, f);
				f->due_ms = now_ms;
				h->count.offered++;
				n++;
			} else {
				f->due_ms = now_ms + HOLD_RETRY_MS;
			}
		}
		i++;
	}
	return n;
}

int hold_next_ms(const struct hold *h, uint64_t now_ms)
{
	uint64_t next_ms = UINT64_MAX;

	for (size_t i = 0; i < h->n; i++) {
		const struct fragment *f = &h->list[i];
		uint64_t at_ms = f->packet ? f->due_ms : f->first_ms + FORGET_MS;

		if (f->packet && f->first_ms + HOLD_LIFE_MS < at_ms)
			at_ms = f->first_ms + HOLD_LIFE_MS;
		if (at_ms < next_ms)
			next_ms = at_ms;
	}
	if (h->n == 0)
		return -1;
	return next_ms <= now_ms ? 0 : (int)(next_ms - now_ms);
}

const struct hold_counters *hold_counters(const struct hold *h)
{
	return &h->count;
}
