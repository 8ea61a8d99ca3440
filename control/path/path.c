/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Timers: ask (max(3 × RTT, 30 ms) of silence), probe (max(1.5 × RTT, 10 ms) each; 500 ms once
 * dead). */
#include "control/path/path.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "control/addr.h"
#include "control/clock.h"
#include "control/daemon.h"
#include "control/path/deliver.h"
#include "control/peer/assoc.h"

#define ASK_MIN_US     30000u
#define PROBE_MIN_US   10000u
#define PROBE_BLIND_US 100000u /* RTT not known yet */
#define PROBE_DEAD_US  200000u
/*
 * A path that carried data within the longest time that TCP waits before it sends again (120 s),
 * and fell silent, is asked now and then. Otherwise a cut is noticed by the very retransmission
 * that it swallows, TCP doubles its timer, and one cut a timer keeps a connection still for ever.
 */
#define LIVELY_US 130000000u
#define QUIET_US  250000u
/* The data plane's clock moves once a kernel tick. */
#define STAMP_GRAIN_US 4000u

struct path_val *path_stamps(const struct path *p)
{
	return &p->assoc->d->path_map[p->slot];
}

static int write_peer(const struct path *p)
{
	struct peer_key key = {.peer = p->peer, .local = p->local};
	struct peer_val val = {
		.assoc = p->assoc->index,
		.path = p->slot,
		.flags = p->accepted ? HF_PEER_ACCEPT : 0,
	};

	return bpf_map_update_elem(loader_map_fd(p->assoc->d->loader, LOADER_PEERS), &key, &val,
				   BPF_ANY);
}

static uint16_t mtu_of(const struct daemon *d, uint32_t ifindex)
{
	const struct netlink_link *l = daemon_link(d, ifindex);

	return l && l->mtu < 65535 ? l->mtu : 65535;
}

static uint8_t flags_of(const struct daemon *d, uint32_t ifindex)
{
	return deliver_in_place(d, ifindex) ? HF_PATH_IN_PLACE : 0;
}

static struct path *enlist(struct assoc *a, struct path *p)
{
	p->assoc = a;
	p->next = a->paths;
	a->paths = p;
	a->path_count++;
	a->d->paths[p->slot] = p;
	return p;
}

/* Slot 0 stays unused, so that an index that was never set names nothing. 0: none free. */
static uint32_t free_slot(struct daemon *d)
{
	uint64_t now = clock_ms();

	/* A slot rests after use: a program that read its index a moment ago may still look at it.
	 */
	for (uint32_t i = 0; i < HF_PATHS_MAX; i++) {
		uint32_t slot = (d->path_next + i) % HF_PATHS_MAX;

		if (slot && !d->paths[slot] && d->path_rest_ms[slot] <= now) {
			d->path_next = slot + 1;
			return slot;
		}
	}
	return 0;
}

static void fill_slot(struct path *p)
{
	struct path_val *val = &p->assoc->d->path_map[p->slot];

	memset(val, 0, sizeof(*val));
	val->local = p->local;
	val->peer = p->peer;
	val->nexthop = p->nexthop;
	val->ifindex = p->ifindex;
	val->assoc = p->assoc->index;
	val->mtu = mtu_of(p->assoc->d, p->ifindex);
	val->family = addr_is_v4(&p->local) ? 4 : 6;
	val->flags = flags_of(p->assoc->d, p->ifindex);
	__atomic_store_n(&val->used, 1, __ATOMIC_RELEASE);
}

static void rest_slot(struct daemon *d, uint32_t slot)
{
	d->path_map[slot].used = 0;
	d->path_rest_ms[slot] = clock_ms() + HF_PATH_REST_MS;
	d->paths[slot] = NULL;
}

struct path *path_new(struct assoc *a, const struct hf_addr *local, const struct hf_addr *peer,
		      uint32_t ifindex, const struct hf_addr *nexthop)
{
	struct daemon *d = a->d;
	uint32_t slot = free_slot(d);
	struct path *p;

	if (!slot)
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->slot = slot;
	p->local = *local;
	p->peer = *peer;
	p->ifindex = ifindex;
	p->nexthop = *nexthop;
	enlist(a, p);
	fill_slot(p);
	if (write_peer(p)) {
		path_free(p);
		return NULL;
	}
	return p;
}

int path_set_way(struct path *p, uint32_t ifindex, const struct hf_addr *nexthop)
{
	struct assoc *a = p->assoc;
	struct daemon *d = a->d;
	uint32_t old = p->slot, slot;
	struct path_val *now, *was;

	if (p->ifindex == ifindex && addr_equal(&p->nexthop, nexthop) &&
	    path_stamps(p)->mtu == mtu_of(d, ifindex) &&
	    path_stamps(p)->flags == flags_of(d, ifindex))
		return 0;
	slot = free_slot(d);
	if (!slot)
		return -ENOSPC;
	p->slot = slot;
	p->ifindex = ifindex;
	p->nexthop = *nexthop;
	d->paths[slot] = p;
	fill_slot(p);
	/* The counts go on: the peer compares them with its own. What another CPU counts on the old
	 * slot in this moment is lost to them, and the fence's bounded wait covers it. */
	now = &d->path_map[slot];
	was = &d->path_map[old];
	now->tx_packets = was->tx_packets;
	now->rx_packets = was->rx_packets;
	now->last_tx_ns = was->last_tx_ns;
	now->last_rx_ns = was->last_rx_ns;
	write_peer(p);
	if (a->current == p)
		assoc_route(a, p, HF_ROUTE_MODE(d->assoc_map[a->index].route));
	rest_slot(d, old);
	/* the answer to a probe under way would name the old slot */
	if (p->asked)
		path_ask(p, clock_us());
	return 0;
}

struct path *path_adopt(struct assoc *a, uint32_t slot, bool accepted)
{
	struct path_val *val = &a->d->path_map[slot];
	struct path *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->slot = slot;
	p->local = val->local;
	p->peer = val->peer;
	p->ifindex = val->ifindex;
	p->nexthop = val->nexthop;
	p->accepted = accepted;
	p->sign_ms = clock_ms();
	return enlist(a, p);
}

void path_free(struct path *p)
{
	struct peer_key key;
	struct daemon *d;

	if (!p)
		return;
	d = p->assoc->d;
	key = (struct peer_key){.peer = p->peer, .local = p->local};
	bpf_map_delete_elem(loader_map_fd(d->loader, LOADER_PEERS), &key);
	rest_slot(d, p->slot);
	for (struct path **at = &p->assoc->paths; *at; at = &(*at)->next) {
		if (*at != p)
			continue;
		*at = p->next;
		p->assoc->path_count--;
		break;
	}
	if (p->assoc->current == p)
		p->assoc->current = NULL;
	if (p->assoc->target == p)
		p->assoc->target = NULL;
	if (p->assoc->left == p)
		p->assoc->left = NULL;
	if (p->assoc->rx_path == p)
		p->assoc->rx_path = NULL;
	free(p);
}

struct path *path_find(const struct assoc *a, const struct hf_addr *local,
		       const struct hf_addr *peer)
{
	for (struct path *p = a->paths; p; p = p->next)
		if (addr_equal(&p->local, local) && addr_equal(&p->peer, peer))
			return p;
	return NULL;
}

void path_accept(struct path *p, bool accept)
{
	p->grace_ms = 0;
	if (p->accepted == accept)
		return;
	p->accepted = accept;
	write_peer(p);
}

void path_heard(struct path *p, uint64_t now_us)
{
	p->heard_us = now_us;
}

void path_measured(struct path *p, uint32_t rtt_us)
{
	if (!rtt_us)
		rtt_us = 1;
	p->rtt_us = p->rtt_us ? (7ull * p->rtt_us + rtt_us) / 8 : rtt_us;
}

void path_let_go(const struct path *p)
{
	netlink_forget_neighbour(p->assoc->d->netlink, p->ifindex,
				 addr_is_zero(&p->nexthop) ? &p->peer : &p->nexthop);
}

void path_ask(struct path *p, uint64_t now_us)
{
	struct daemon *d = p->assoc->d;
	struct udp_ends ends = {.local = p->local, .peer = p->peer, .ifindex = p->ifindex};
	struct wire_probe probe = {
		.magic = htonl(WIRE_PROBE_MAGIC),
		.kind = WIRE_PROBE_REQUEST,
		.path = htonl(p->slot),
	};

	/* Without randomness a stranger could answer for the peer: then rather no probe. */
	if (RAND_bytes((unsigned char *)&p->probe_nonce, sizeof(p->probe_nonce)) != 1)
		return;
	p->probe_seq++;
	p->probe_us = now_us;
	p->asked = true;
	probe.seq = htonl(p->probe_seq);
	probe.nonce = p->probe_nonce;
	/* What the kernel refuses counts as unanswered. */
	udp_send(&d->udp, &ends, &probe, sizeof(probe));
}

bool path_answer(struct daemon *d, const struct wire_probe *reply, const struct hf_addr *local,
		 const struct hf_addr *peer, uint64_t now_us)
{
	uint32_t slot = ntohl(reply->path);
	struct path *p;

	if (slot >= HF_PATHS_MAX || !(p = d->paths[slot]))
		return false;
	if (!p->asked || reply->nonce != p->probe_nonce || ntohl(reply->seq) != p->probe_seq ||
	    !addr_equal(&p->local, local) || !addr_equal(&p->peer, peer))
		return false;
	path_measured(p, now_us - p->probe_us);
	path_heard(p, now_us);
	return true;
}

static uint64_t heard_at(const struct path *p)
{
	uint64_t stamp = __atomic_load_n(&path_stamps(p)->last_rx_ns, __ATOMIC_RELAXED) / 1000;

	return stamp > p->heard_us ? stamp : p->heard_us;
}

static uint32_t probe_interval(const struct path *p)
{
	uint32_t us;

	if (p->health == PATH_DEAD)
		return PROBE_DEAD_US;
	if (!p->rtt_us)
		return PROBE_BLIND_US;
	us = p->rtt_us + p->rtt_us / 2;
	return us > PROBE_MIN_US ? us : PROBE_MIN_US;
}

static uint32_t ask_interval(const struct path *p)
{
	return 3 * p->rtt_us > ASK_MIN_US ? 3 * p->rtt_us : ASK_MIN_US;
}

uint64_t path_due_us(const struct path *p)
{
	if (p->assoc->role == HF_ROLE_MOBILE && !p->present)
		return UINT64_MAX;
	if (p->asked)
		return p->probe_us + probe_interval(p);
	return p->waiting_us ? p->waiting_us + ask_interval(p) : UINT64_MAX;
}

/* Data of either direction, which says that TCP may be waiting for its timer. */
static bool lively(struct path *p, uint64_t now_us)
{
	const struct path_val *v = path_stamps(p);
	uint64_t count = v->tx_packets + v->rx_packets;

	if (count != p->data_count) {
		p->data_count = count;
		p->data_us = now_us;
	}
	return p->data_us && now_us - p->data_us < LIVELY_US;
}

enum path_news path_tick(struct path *p, uint64_t now_us)
{
	uint64_t heard = heard_at(p), sent;

	/* Packets may still come to an address that is gone, but none can leave from it. */
	if (p->assoc->role == HF_ROLE_MOBILE && !p->present)
		return PATH_NO_NEWS;
	if (heard && (!p->asked || heard + STAMP_GRAIN_US >= p->probe_us)) {
		enum path_health before = p->health;
		bool fresh = p->asked || now_us < heard + 1000000;

		if (p->asked) {
			p->asked = false;
			p->unanswered = 0;
			p->waiting_us = 0;
		}
		if (fresh && before != PATH_ALIVE) {
			p->health = PATH_ALIVE;
			return before == PATH_DEAD ? PATH_CAME_BACK : PATH_NO_NEWS;
		}
	}
	if (p->asked) {
		if (now_us - p->probe_us < probe_interval(p))
			return PATH_NO_NEWS;
		if (p->health != PATH_DEAD &&
		    ++p->unanswered >= p->assoc->d->conf->timers.attempts) {
			p->health = PATH_DEAD;
			path_ask(p, now_us);
			return PATH_DIED;
		}
		path_ask(p, now_us);
		return PATH_NO_NEWS;
	}
	sent = __atomic_load_n(&path_stamps(p)->last_tx_ns, __ATOMIC_RELAXED) / 1000;
	if (sent > heard) {
		if (!p->waiting_us)
			p->waiting_us = now_us;
		else if (now_us - p->waiting_us >= ask_interval(p))
			path_ask(p, now_us);
	} else {
		p->waiting_us = 0;
		if (p->assoc->role == HF_ROLE_MOBILE && p == p->assoc->current &&
		    lively(p, now_us) && now_us > heard + QUIET_US)
			path_ask(p, now_us);
	}
	return PATH_NO_NEWS;
}

bool path_busy(const struct path *p, uint64_t now_us)
{
	const struct path_val *v = path_stamps(p);
	uint64_t tx = v->last_tx_ns / 1000, rx = v->last_rx_ns / 1000;

	/* the stamps may be younger than the tick */
	return (tx && now_us < tx + 1000000) || (rx && now_us < rx + 1000000);
}
