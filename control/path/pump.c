/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/path/pump.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>

#include "control/addr.h"
#include "control/clock.h"
#include "control/daemon.h"
#include "control/log.h"
#include "control/path/reject.h"
#include "control/path/tun.h"
#include "control/peer/assoc.h"

#define RELEASE_ROUNDS    64
#define RELEASE_US        50000u /* then the fast path opens even if more keeps coming */
#define REFUSE_PER_SECOND 1000

static uint8_t buffer[TUN_PACKET_MAX];

struct head {
	struct hf_addr src;
	struct hf_addr dst;
	uint8_t proto;
	uint16_t dport; /* network order; 0 if there is none */
	bool fragment;  /* not the first */
};

static bool read_head(const uint8_t *packet, size_t len, struct head *ret)
{
	const uint8_t *ip = packet + TUN_VNET_LEN, *l4;
	struct head h = {0};

	if (len < TUN_VNET_LEN + 20)
		return false;
	len -= TUN_VNET_LEN;
	if (ip[0] >> 4 == 4) {
		size_t hl = (ip[0] & 15) * 4u;

		h.src = addr_from_v4(ip + 12);
		h.dst = addr_from_v4(ip + 16);
		h.proto = ip[9];
		h.fragment = ((ip[6] << 8 | ip[7]) & 0x1fff) != 0;
		if (hl < 20 || len < hl)
			return false;
		l4 = ip + hl;
		len -= hl;
	} else if (ip[0] >> 4 == 6 && len >= 40) {
		h.src = addr_from_v6(ip + 8);
		h.dst = addr_from_v6(ip + 24);
		h.proto = ip[6];
		l4 = ip + 40;
		len -= 40;
	} else {
		return false;
	}
	if ((h.proto == IPPROTO_TCP || h.proto == IPPROTO_UDP) && !h.fragment && len >= 4)
		memcpy(&h.dport, l4 + 2, 2);
	*ret = h;
	return true;
}

static struct assoc *find_assoc(struct daemon *d, const struct head *h)
{
	int fd = loader_map_fd(d->loader, LOADER_HOSTS);
	struct host_val v;

	if (!bpf_map_lookup_elem(fd, &h->src, &v) && v.role == HF_ROLE_MOBILE)
		return v.assoc < HF_ASSOCS_MAX ? d->assocs[v.assoc] : NULL;
	if (!bpf_map_lookup_elem(fd, &h->dst, &v) && v.role == HF_ROLE_ANCHOR)
		return v.assoc < HF_ASSOCS_MAX ? d->assocs[v.assoc] : NULL;
	return NULL;
}

static bool has_service(struct daemon *d, const struct assoc *a, const struct head *h)
{
	bool mobile = a->role == HF_ROLE_MOBILE;
	struct service_key key = {
		.addr = mobile ? h->dst : h->src,
		.port = mobile ? h->dport : 0,
		.proto = h->proto == IPPROTO_ICMPV6 ? IPPROTO_ICMP : h->proto,
	};
	uint32_t id;

	if (!mobile) /* what comes from a server is never refused with an answer */
		return true;
	return !bpf_map_lookup_elem(loader_map_fd(d->loader, LOADER_SERVICES), &key, &id);
}

static void refuse(struct daemon *d, const uint8_t *packet, size_t len)
{
	static uint8_t answer[TUN_VNET_LEN + REJECT_MAX];
	static uint64_t second;
	static unsigned int sent;
	uint64_t now = clock_ms() / 1000;
	ssize_t n;

	/* RFC 4443 section 2.4 (f), RFC 1812 section 4.3.2.8 */
	if (now != second) {
		second = now;
		sent = 0;
	}
	if (sent++ >= REFUSE_PER_SECOND)
		return;
	n = reject_build(packet + TUN_VNET_LEN, len - TUN_VNET_LEN, NULL, answer + TUN_VNET_LEN,
			 REJECT_MAX);
	if (n <= 0)
		return;
	memset(answer, 0, TUN_VNET_LEN);
	tun_write(d->tun_fd, answer, TUN_VNET_LEN + n);
}

static void take(struct daemon *d, const uint8_t *packet, size_t len)
{
	struct head h;
	struct assoc *a;

	if (hold_is_fragment(packet, len) &&
	    hold_add(d->hold, packet, len, clock_ms()) != HOLD_NOT_FRAGMENT) {
		daemon_wake(d);
		return;
	}
	if (!read_head(packet, len, &h))
		return;
	a = find_assoc(d, &h);
	if (!a) {
		refuse(d, packet, len);
		return;
	}
	switch (HF_ROUTE_MODE(d->assoc_map[a->index].route)) {
	case HF_MODE_ACTIVE:
		/* It was on its way here while the route became active; or the data plane refused
		 * it. */
		if (has_service(d, a, &h))
			tun_write(d->tun_fd, packet, len);
		else
			refuse(d, packet, len);
		return;
	default:
		if (!has_service(d, a, &h)) {
			refuse(d, packet, len);
			return;
		}
		a->switch_parked++;
		a->parked_total++;
		switch (park_add(d->park, a->index, packet, len)) {
		case PARK_FULL:
			d->reasons[HF_REASON_PARK_FULL]++;
			break;
		case PARK_REPLACED:
			d->reasons[HF_REASON_PARK_REPLACED]++;
			break;
		default:
			break;
		}
	}
}

bool pump_read(struct daemon *d, size_t max)
{
	for (size_t i = 0; i < max; i++) {
		ssize_t n = tun_read(d->tun_fd, buffer, sizeof(buffer));

		if (n < 0)
			return false;
		take(d, buffer, n);
	}
	return true;
}

/* What waits now and, at most, what comes while that is read: whoever sends faster than we read
 * must not keep us here. */
static void read_waiting(struct daemon *d)
{
	pump_read(d, TUN_QUEUE_LEN);
}

static size_t release_all(struct assoc *a)
{
	struct daemon *d = a->d;
	size_t len, n = 0;
	const void *packet;

	while ((packet = park_peek(d->park, a->index, &len))) {
		tun_write(d->tun_fd, packet, len);
		park_pop(d->park, a->index);
		n++;
	}
	return n;
}

size_t pump_release(struct assoc *a)
{
	uint64_t until = clock_us() + RELEASE_US;
	size_t n = 0;

	/* What arrives meanwhile queues up behind: go on until nothing does, and only then open the
	 * fast path, so that order is kept. */
	for (int i = 0; i < RELEASE_ROUNDS && clock_us() < until; i++) {
		size_t now;

		read_waiting(a->d);
		now = release_all(a);
		n += now;
		if (!now)
			break;
	}
	assoc_route(a, a->current, HF_MODE_ACTIVE);
	/* What slipped in between: take() sends it on, as the route is active now. */
	read_waiting(a->d);
	return n;
}

static int offer(void *arg, const void *packet, size_t len)
{
	struct daemon *d = arg;

	return tun_write(d->tun_fd, packet, len);
}

void pump_tick(struct daemon *d, uint64_t now_ms)
{
	uint64_t before = hold_counters(d->hold)->expired;

	hold_due(d->hold, now_ms, offer, d);
	d->reasons[HF_REASON_FRAGMENT_EXPIRED] += hold_counters(d->hold)->expired - before;
}
