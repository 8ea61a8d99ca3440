/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "park.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <holdfast/layout.h>

#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <linux/virtio_net.h>

#define VNET_LEN      sizeof(struct virtio_net_hdr)
#define HEAP_OVERHEAD 16u /* of one allocation: glibc's header and rounding */
#define BUCKETS_MIN   64u
#define BUCKETS_MAX   65536u
#define LOOK_BEHIND   64 /* packets searched for younger ones of a flow; more count as found */

struct segment { /* what makes two segments copies of each other; compared as bytes */
	struct hf_addr src;
	struct hf_addr dst;
	uint16_t sport, dport;
	uint32_t seq;
	uint32_t assoc;
	uint32_t payload; /* bytes */
	uint16_t gso_size;
	uint8_t gso_type;
	uint8_t flags; /* SYN, FIN; 0 for data alone */
};
_Static_assert(sizeof(struct segment) == 52, "no padding: it is hashed");

struct packet {
	struct packet *prev, *next; /* in the queue */
	struct packet *chain;       /* in the bucket */
	struct segment segment;
	bool keyed; /* is in a bucket */
	size_t len;
	uint8_t data[];
};

struct queue {
	struct packet *first, *last;
	size_t packets;
	size_t bytes;
};

struct park {
	size_t assoc_bytes, total_bytes;
	size_t used;
	uint64_t seed[2];
	size_t bucket_count; /* a power of two */
	struct packet **buckets;
	struct queue *queues[HF_ASSOCS_MAX]; /* allocated while not empty */
	struct park_counters count;
};

static size_t cost(size_t len)
{
	return ((sizeof(struct packet) + len + 15) & ~(size_t)15) + HEAP_OVERHEAD;
}

struct park *park_new(size_t assoc_bytes, size_t total_bytes)
{
	struct park *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->assoc_bytes = assoc_bytes;
	p->total_bytes = total_bytes;
	for (p->bucket_count = BUCKETS_MIN;
	     p->bucket_count < BUCKETS_MAX && p->bucket_count < total_bytes / 1024;
	     p->bucket_count *= 2)
		;
	p->buckets = calloc(p->bucket_count, sizeof(struct packet *));
	if (!p->buckets || getrandom(p->seed, sizeof(p->seed), 0) != sizeof(p->seed)) {
		park_free(p);
		return NULL;
	}
	return p;
}

void park_free(struct park *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < HF_ASSOCS_MAX; i++)
		park_drop(p, i);
	free(p->buckets);
	free(p);
}

/* Keyed, so that whoever chooses addresses and sequence numbers does not choose the bucket. */
static struct packet **bucket_of(const struct park *p, const struct segment *s)
{
	uint64_t hash = p->seed[0];
	uint32_t words[sizeof(*s) / 4];

	memcpy(words, s, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / 4; i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15u + p->seed[1];
		hash ^= hash >> 29;
	}
	return &p->buckets[(hash >> 20) & (p->bucket_count - 1)];
}

/* True if `packet` is a whole TCP segment that occupies sequence space. */
static bool segment_parse(uint32_t assoc, const uint8_t *packet, size_t len, struct segment *ret)
{
	const uint8_t *ip = packet + VNET_LEN;
	size_t ip_len, at;
	struct virtio_net_hdr vnet;
	struct tcphdr tcp;

	memcpy(&vnet, packet, sizeof(vnet));
	memset(ret, 0, sizeof(*ret));
	len -= VNET_LEN;
	if (ip[0] >> 4 == 4) {
		struct iphdr four;

		memcpy(&four, ip, sizeof(four));
		at = four.ihl * 4u;
		ip_len = ntohs(four.tot_len);
		if (at < sizeof(four) || four.protocol != IPPROTO_TCP ||
		    ntohs(four.frag_off) & (IP_MF | IP_OFFMASK))
			return false;
		memcpy(ret->src.b, &four.saddr, 4); /* a key, no address: not mapped */
		memcpy(ret->dst.b, &four.daddr, 4);
	} else if (ip[0] >> 4 == 6 && len >= sizeof(struct ip6_hdr)) {
		struct ip6_hdr six;

		memcpy(&six, ip, sizeof(six));
		at = sizeof(six);
		ip_len = at + ntohs(six.ip6_plen);
		if (six.ip6_nxt != IPPROTO_TCP)
			return false;
		memcpy(ret->src.b, &six.ip6_src, 16);
		memcpy(ret->dst.b, &six.ip6_dst, 16);
	} else {
		return false;
	}
	if (ip_len > len || ip_len < at + sizeof(tcp))
		return false;
	memcpy(&tcp, ip + at, sizeof(tcp));
	at += tcp.doff * 4u;
	if (tcp.doff * 4u < sizeof(tcp) || at > ip_len || tcp.rst)
		return false;
	if (at == ip_len && !tcp.syn && !tcp.fin)
		return false;
	ret->sport = tcp.source;
	ret->dport = tcp.dest;
	ret->seq = tcp.seq;
	ret->assoc = assoc;
	ret->payload = (uint32_t)(ip_len - at);
	ret->gso_size = vnet.gso_size;
	ret->gso_type = vnet.gso_type;
	ret->flags = (uint8_t)(tcp.syn << 1 | tcp.fin);
	return true;
}

static struct packet *find(const struct park *p, const struct segment *s)
{
	struct packet *k = *bucket_of(p, s);

	while (k && memcmp(&k->segment, s, sizeof(*s)) != 0)
		k = k->chain;
	return k;
}

static void bucket_remove(struct park *p, struct packet *k)
{
	struct packet **at;

	if (!k->keyed)
		return;
	for (at = bucket_of(p, &k->segment); *at != k; at = &(*at)->chain)
		;
	*at = k->chain;
}

static void bucket_insert(struct park *p, struct packet *k)
{
	struct packet **at;

	if (!k->keyed)
		return;
	at = bucket_of(p, &k->segment);
	k->chain = *at;
	*at = k;
}

/* Whether a segment of the same flow is held behind `k` (or may be, far behind). Measured on
 * Linux 6.18: of two segments whose first has the newer timestamp the second is not taken. */
static bool has_younger(const struct packet *k)
{
	const struct segment *a = &k->segment;
	int left = LOOK_BEHIND;

	for (const struct packet *y = k->next; y; y = y->next) {
		const struct segment *b = &y->segment;

		if (left-- == 0)
			return true;
		if (y->keyed && a->sport == b->sport && a->dport == b->dport &&
		    memcmp(&a->src, &b->src, 2 * sizeof(a->src)) == 0)
			return true;
	}
	return false;
}

static struct packet *packet_new(const void *data, size_t len, const struct segment *s)
{
	struct packet *k = malloc(sizeof(*k) + len);

	if (!k)
		return NULL;
	k->prev = k->next = k->chain = NULL;
	k->keyed = s != NULL;
	if (s)
		k->segment = *s;
	k->len = len;
	memcpy(k->data, data, len);
	return k;
}

static void link_in(struct queue *q, struct packet *k, struct packet *prev, struct packet *next)
{
	k->prev = prev;
	k->next = next;
	*(prev ? &prev->next : &q->first) = k;
	*(next ? &next->prev : &q->last) = k;
}

static bool fits(const struct park *p, const struct queue *q, size_t more, size_t less)
{
	return q->bytes - less + more <= p->assoc_bytes && p->used - less + more <= p->total_bytes;
}

/* One copy remains, whatever happens: where the newest cannot be kept the older one is as good. */
static enum park_result replace(struct park *p, struct queue *q, struct packet *old,
				const void *data, size_t len, const struct segment *s)
{
	struct packet *k;

	p->count.replaced++;
	if (has_younger(old) || !fits(p, q, cost(len), cost(old->len)))
		return PARK_REPLACED;
	k = packet_new(data, len, s);
	if (!k)
		return PARK_REPLACED;
	bucket_remove(p, old);
	link_in(q, k, old->prev, old->next);
	bucket_insert(p, k);
	q->bytes = q->bytes - cost(old->len) + cost(len);
	p->used = p->used - cost(old->len) + cost(len);
	free(old);
	return PARK_REPLACED;
}

enum park_result park_add(struct park *p, uint32_t assoc, const void *packet, size_t len)
{
	struct queue empty = {.bytes = 0}, *q = &empty;
	struct segment s;
	struct packet *k, *old;
	size_t more;
	bool keyed;

	if (assoc >= HF_ASSOCS_MAX || len < PARK_PACKET_MIN || len > PARK_PACKET_MAX) {
		p->count.malformed++;
		return PARK_MALFORMED;
	}
	if (p->queues[assoc])
		q = p->queues[assoc];
	keyed = segment_parse(assoc, packet, len, &s);
	old = keyed ? find(p, &s) : NULL;
	if (old)
		return replace(p, q, old, packet, len, &s);

	more = cost(len);
	if (!p->queues[assoc])
		more += sizeof(struct queue) + HEAP_OVERHEAD;
	if (!fits(p, q, more, 0))
		goto full;
	k = packet_new(packet, len, keyed ? &s : NULL);
	if (!k)
		goto full;
	if (!p->queues[assoc]) {
		q = calloc(1, sizeof(*q));
		if (!q) {
			free(k);
			goto full;
		}
		p->queues[assoc] = q;
	}
	link_in(q, k, q->last, NULL);
	bucket_insert(p, k);
	q->packets++;
	q->bytes += more;
	p->used += more;
	p->count.held++;
	return PARK_HELD;
full:
	p->count.full++;
	return PARK_FULL;
}

static struct queue *queue_of(const struct park *p, uint32_t assoc)
{
	return assoc < HF_ASSOCS_MAX ? p->queues[assoc] : NULL;
}

/* The queue, which is not empty, goes with its last packet. */
static void remove_first(struct park *p, uint32_t assoc)
{
	struct queue *q = p->queues[assoc];
	struct packet *k = q->first;
	size_t less = cost(k->len);

	bucket_remove(p, k);
	q->first = k->next;
	*(k->next ? &k->next->prev : &q->last) = NULL;
	free(k);
	q->packets--;
	q->bytes -= less;
	p->used -= less;
	if (q->packets == 0) {
		p->used -= q->bytes; /* what is left is the queue's own */
		free(q);
		p->queues[assoc] = NULL;
	}
}

const void *park_peek(const struct park *p, uint32_t assoc, size_t *len)
{
	const struct queue *q = queue_of(p, assoc);

	if (!q)
		return NULL;
	*len = q->first->len;
	return q->first->data;
}

void park_pop(struct park *p, uint32_t assoc)
{
	const struct queue *q = queue_of(p, assoc);

	if (!q)
		return;
	p->count.released++;
	p->count.released_bytes += q->first->len;
	remove_first(p, assoc);
}

size_t park_drop(struct park *p, uint32_t assoc)
{
	size_t n = 0;

	for (; queue_of(p, assoc); n++)
		remove_first(p, assoc);
	p->count.dropped += n;
	return n;
}

size_t park_packets(const struct park *p, uint32_t assoc)
{
	const struct queue *q = queue_of(p, assoc);

	return q ? q->packets : 0;
}

size_t park_bytes(const struct park *p, uint32_t assoc)
{
	const struct queue *q = queue_of(p, assoc);

	return q ? q->bytes : 0;
}

size_t park_total_bytes(const struct park *p)
{
	return p->used;
}

const struct park_counters *park_counters(const struct park *p)
{
	return &p->count;
}
