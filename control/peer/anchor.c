/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The anchor's side: CONNECT, REFUSED, DISCONNECT, inner addresses, path challenge, inactivity
 * (N4). */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "control/addr.h"
#include "control/clock.h"
#include "control/command.h"
#include "control/daemon.h"
#include "control/flow.h"
#include "control/log.h"
#include "control/peer/assoc.h"
#include "control/service.h"

#define POOL_TRIES 65536u
/* A path that gave no sign for so long, and is not in use, is forgotten. */
#define PATH_IDLE_MS 60000u
/* Sooner where there is no room for another: more often than eagerly greeted (mobile.c). */
#define PATH_QUIET_MS 1000u

/* ---- inner addresses --------------------------------------------------- */

static const struct conf_mobile *mobile_named(const struct daemon *d, const char *id)
{
	for (size_t i = 0; i < d->conf->mobile_count; i++)
		if (!strcmp(d->conf->mobiles[i].id, id))
			return &d->conf->mobiles[i];
	return NULL;
}

static bool address_free(const struct daemon *d, const struct conf_mobile *m,
			 const struct hf_addr *addr)
{
	for (size_t i = 0; i < d->conf->mobile_count; i++) {
		const struct conf_mobile *o = &d->conf->mobiles[i];

		if (o != m && (addr_equal(&o->host4, addr) || addr_equal(&o->host6, addr)))
			return false;
	}
	for (uint32_t i = 0; i < d->assoc_top; i++) {
		const struct assoc *a = d->assocs[i];

		if (a && strcmp(a->name, m->id) &&
		    (addr_equal(&a->host4, addr) || addr_equal(&a->host6, addr)))
			return false;
	}
	return true;
}

static bool in_pools(const struct daemon *d, const struct hf_addr *addr)
{
	for (size_t i = 0; i < d->conf->pool_count; i++)
		if (addr_in_prefix(addr, &d->conf->pools[i].addr, d->conf->pools[i].len))
			return true;
	return false;
}

/* The n-th address of a pool, if it can be given. 0 is the prefix itself; the last of an IPv4 pool
 * is its broadcast address. Negative errno: there is none. */
static int pool_nth(const struct conf_prefix *p, uint64_t n, struct hf_addr *ret)
{
	struct hf_addr next;
	int err = addr_nth(&p->addr, p->len, n, ret);

	if (!err && addr_is_v4(&p->addr))
		err = addr_nth(&p->addr, p->len, n + 1, &next);
	return err;
}

/* The fixed address, else the one it had, else that of its place in the configuration (so that
 * after a reboot nobody takes another's before that one is back), else the next free one. false:
 * none left. A family without a pool gives zero and true. */
static bool give_address(const struct daemon *d, const struct conf_mobile *m, bool v4,
			 const struct hf_addr *had, struct hf_addr *ret)
{
	const struct hf_addr *fixed = v4 ? &m->host4 : &m->host6;
	bool any = false;

	memset(ret, 0, sizeof(*ret));
	if (!addr_is_zero(fixed)) {
		*ret = *fixed;
		return true;
	}
	if (!addr_is_zero(had) && addr_is_v4(had) == v4 && in_pools(d, had) &&
	    address_free(d, m, had)) {
		*ret = *had;
		return true;
	}
	for (size_t i = 0; i < d->conf->pool_count; i++) {
		const struct conf_prefix *p = &d->conf->pools[i];
		struct hf_addr addr;

		if (addr_is_v4(&p->addr) != v4)
			continue;
		any = true;
		if (!pool_nth(p, m - d->conf->mobiles + 1, &addr) && address_free(d, m, &addr)) {
			*ret = addr;
			return true;
		}
		for (uint64_t n = 1; n < POOL_TRIES && !pool_nth(p, n, &addr); n++) {
			if (address_free(d, m, &addr)) {
				*ret = addr;
				return true;
			}
		}
	}
	return !any;
}

/* ---- CONNECT ----------------------------------------------------------- */

static bool lookup_key(void *arg, const char *identity, uint8_t key[static KEY_LEN])
{
	const struct daemon *d = arg;
	bool found = false;

	/* all of them, so that the time does not tell which names exist */
	for (size_t i = 0; i < d->conf->mobile_count; i++) {
		char id[HF_NAME_LEN] = {0}, want[HF_NAME_LEN] = {0};

		memcpy(id, d->conf->mobiles[i].id, strlen(d->conf->mobiles[i].id));
		memcpy(want, identity, strnlen(identity, sizeof(want) - 1));
		if (!CRYPTO_memcmp(id, want, sizeof(id)) && strlen(identity) < sizeof(want)) {
			memcpy(key, d->conf->mobiles[i].key, KEY_LEN);
			found = true;
		}
	}
	return found;
}

static struct wire_service *service_list(const struct daemon *d)
{
	struct wire_service *list = calloc(d->conf->service_count, sizeof(*list));

	for (size_t i = 0; list && i < d->conf->service_count; i++) {
		const struct conf_service *s = &d->conf->services[i];

		list[i].addr = s->addr;
		list[i].port = htons(s->port);
		list[i].emulator = htons(s->emulator);
		list[i].proto = s->proto;
		strcpy(list[i].name, s->name);
	}
	return list;
}

/* ---- paths ------------------------------------------------------------- */

/* Interface that holds one of our addresses; 0: none. */
static uint32_t interface_of(const struct daemon *d, const struct hf_addr *local)
{
	for (int i = 0; i < d->address_count; i++)
		if (addr_equal(&d->addresses[i].addr, local))
			return d->addresses[i].ifindex;
	return 0;
}

static bool holds(const struct daemon *d, uint32_t ifindex, const struct hf_addr *local)
{
	for (int i = 0; i < d->address_count; i++)
		if (d->addresses[i].ifindex == ifindex && addr_equal(&d->addresses[i].addr, local))
			return true;
	return false;
}

/* Zero where there is no route now: the peer may be a neighbour. */
static struct hf_addr nexthop_of(const struct daemon *d, const struct hf_addr *local,
				 const struct hf_addr *peer, uint32_t ifindex)
{
	struct netlink_route route = {0};

	if (netlink_route_get(d->netlink, peer, local, ifindex, &route))
		memset(&route, 0, sizeof(route));
	else if (addr_is_zero(&route.gateway))
		route.gateway = *peer;
	return route.gateway;
}

/* A mobile that has moved on must not be locked out by where it was: the path that was silent for
 * longest gives way, but none that is in use or gave a sign a moment ago. */
static bool make_room(struct assoc *a)
{
	static unsigned long long said_ms;
	struct path *oldest = NULL;

	for (struct path *p = a->paths; p; p = p->next)
		if (p != a->current && p != a->target && !p->accepted &&
		    (!oldest || p->sign_ms < oldest->sign_ms))
			oldest = p;
	if (oldest && clock_ms() - oldest->sign_ms > PATH_QUIET_MS) {
		path_free(oldest);
		return true;
	}
	if (log_allowed(&said_ms, 1000))
		log_warning("%s: more than %d paths at a time: another is not taken", a->name,
			    ASSOC_PATHS_MAX);
	return false;
}

struct path *anchor_path(struct assoc *a, const struct hf_addr *local, const struct hf_addr *peer,
			 uint32_t ifindex)
{
	struct path *p = path_find(a, local, peer);
	struct hf_addr nexthop;

	if (p || (a->path_count >= ASSOC_PATHS_MAX && !make_room(a)))
		return p;
	if (!ifindex)
		ifindex = interface_of(a->d, local);
	if (!ifindex)
		return NULL;
	nexthop = nexthop_of(a->d, local, peer, ifindex);
	return path_new(a, local, peer, ifindex, &nexthop);
}

void anchor_ways_changed(struct daemon *d)
{
	for (uint32_t i = 0; i < d->assoc_top; i++) {
		for (struct path *p = d->assocs[i] ? d->assocs[i]->paths : NULL; p; p = p->next) {
			uint32_t ifindex = p->ifindex;
			struct hf_addr nexthop;

			/* it went away and came back as another one, or its address moved */
			if (!holds(d, ifindex, &p->local))
				ifindex = interface_of(d, &p->local);
			if (!ifindex)
				continue;
			nexthop = nexthop_of(d, &p->local, &p->peer, ifindex);
			if (path_set_way(p, ifindex, &nexthop))
				log_warning("%s: no room for another path", p->assoc->name);
		}
	}
}

static enum wire_refusal admit(struct daemon *d, const struct conf_mobile *m,
			       const struct connect_request *q, const struct tls_ends *ends,
			       const uint8_t *exported, struct connect_reply *r)
{
	struct hf_addr host4, host6;
	struct proto_keys *keys;
	struct assoc *a = assoc_named(d, m->id);
	struct path *p;
	bool fresh;

	if (!addr_equal(&q->from, &ends->peer))
		return WIRE_REFUSAL_TRANSLATED;
	/* disconnected a moment ago: not one to hand out again */
	if (a && a->doomed) {
		assoc_free(a);
		a = NULL;
	}
	fresh = !a;
	if (!give_address(d, m, true, a ? &a->host4 : &q->host4, &host4) ||
	    !give_address(d, m, false, a ? &a->host6 : &q->host6, &host6))
		return WIRE_REFUSAL_POOL;
	if (fresh)
		a = assoc_new(d, HF_ROLE_ANCHOR, m->id);
	if (!a)
		return WIRE_REFUSAL_FULL;
	p = anchor_path(a, &ends->local, &ends->peer, 0);
	keys = proto_keys_new(exported, HF_ROLE_ANCHOR, a->epoch + 1, q->assoc);
	if (!p || !keys || assoc_set_hosts(a, &host4, &host6)) {
		proto_keys_free(keys);
		if (fresh)
			assoc_free(a);
		return WIRE_REFUSAL_FULL;
	}
	if (flow_install(a, q->flows, q->flow_count)) {
		proto_keys_free(keys);
		if (fresh)
			assoc_free(a);
		return WIRE_REFUSAL_FLOWS;
	}
	assoc_connected(a, keys, q->assoc, a->epoch + 1, p);
	r->assoc = a->index;
	r->epoch = a->epoch;
	r->inactivity_ms = d->conf->timers.inactivity;
	r->host4 = host4;
	r->host6 = host6;
	memcpy(r->points, d->conf->points, sizeof(r->points));
	r->point_count = d->conf->point_count;
	return WIRE_REFUSAL_NONE;
}

static void request(void *arg, struct tls_session *s, const char *identity,
		    struct connect_request *q, const struct tls_ends *ends,
		    const uint8_t exported[static WIRE_EXPORT_LEN])
{
	struct daemon *d = arg;
	struct connect_reply r = {0};
	char peer[INET6_ADDRSTRLEN];
	const struct conf_mobile *m = mobile_named(d, identity);

	r.refusal = m ? admit(d, m, q, ends, exported, &r) : WIRE_REFUSAL_MALFORMED;
	if (r.refusal) {
		enum wire_refusal why = r.refusal;

		memset(&r, 0, sizeof(r));
		r.refusal = why;
		log_warning("%s: refused from %s: %s", identity, addr_format(&ends->peer, peer),
			    connect_refusal_text(r.refusal));
	} else {
		r.services = service_list(d);
		r.service_count = r.services ? d->conf->service_count : 0;
		log_info("%s: connected from %s, epoch %u, %u flows announced", identity,
			 addr_format(&ends->peer, peer), r.epoch, q->flow_count);
		command_publish_state(d, assoc_named(d, identity));
	}
	if (tls_session_reply(s, &r))
		log_warning("%s: the answer could not be sent", identity);
	free(r.services);
	daemon_wake(d);
}

static void failed(void *arg, const char *why, const char *identity, const struct tls_ends *ends)
{
	static unsigned long long last;
	char peer[INET6_ADDRSTRLEN];

	(void)arg;
	if (log_allowed(&last, 1000))
		log_warning("no connection from %s (says it is '%s'): %s",
			    addr_format(&ends->peer, peer), identity, why);
}

/* ---- challenge (RFC 9000 section 8.2) ---------------------------------- */

void anchor_challenge(struct assoc *a, struct path *p)
{
	if (!p->challenge &&
	    (RAND_bytes((unsigned char *)&p->challenge, sizeof(p->challenge)) != 1 ||
	     !p->challenge))
		return;
	assoc_send(a, p, WIRE_PATH_CHALLENGE, p->challenge, 0);
}

void anchor_hello(struct assoc *a, struct path *p, uint64_t time_us)
{
	if (p->validated)
		assoc_send(a, p, WIRE_PATH_VALID, 0, time_us);
	else
		anchor_challenge(a, p);
}

void anchor_response(struct assoc *a, struct path *p, uint64_t nonce, uint64_t time_us)
{
	if (!p->challenge || nonce != p->challenge) {
		if (!p->validated)
			a->d->reasons[HF_REASON_CTL_STATE]++;
		return;
	}
	p->challenge = 0;
	p->validated = true;
	assoc_send(a, p, WIRE_PATH_VALID, 0, time_us);
	if (p == a->target)
		assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_VALIDATE,
						    .validated = true});
}

/* ---- time -------------------------------------------------------------- */

void anchor_tick(struct assoc *a, uint64_t now_us)
{
	uint64_t rx = 0, now = now_us / 1000;
	struct path *next;

	for (struct path *p = a->paths; p; p = next) {
		uint64_t stamp = path_stamps(p)->last_rx_ns / 1000000;

		next = p->next;
		rx += path_stamps(p)->rx_packets;
		if (p != a->current && p != a->target && !p->accepted &&
		    now > p->sign_ms + PATH_IDLE_MS && now > stamp + PATH_IDLE_MS)
			path_free(p);
	}
	if (rx != a->data_rx) {
		a->data_rx = rx;
		a->data_rx_ms = now;
	}
	if (now - a->sign_ms > a->d->conf->timers.inactivity &&
	    now - a->data_rx_ms > a->d->conf->timers.inactivity) {
		log_info("%s: no sign for the inactivity time: its resources are freed", a->name);
		a->doomed = true;
	}
}

int anchor_start(struct daemon *d)
{
	static const struct tls_server_ops ops = {
		.lookup_key = lookup_key,
		.request = request,
		.failed = failed,
	};
	char text[INET6_ADDRSTRLEN];
	struct wire_service *list;
	int ret;

	for (uint32_t i = 0; i < d->assoc_top; i++) {
		if (!d->assocs[i])
			continue;
		if (!mobile_named(d, d->assocs[i]->name)) {
			log_info("%s: no longer configured: its resources are freed",
				 d->assocs[i]->name);
			assoc_free(d->assocs[i]);
			continue;
		}
		/* It has no keys until the mobile connects anew; its traffic goes on. */
		d->assocs[i]->state = ASSOC_CONNECTED;
	}
	/* interfaces may have come back as others while no daemon watched */
	anchor_ways_changed(d);
	list = service_list(d);
	if (!list)
		return -ENOMEM;
	ret = services_set(d, 0, 0, list, d->conf->service_count);
	free(list);
	if (ret) {
		log_error("%d services could not be installed", ret);
		return -ENOSPC;
	}
	for (size_t i = 0; i < d->conf->pool_count; i++) {
		const struct conf_prefix *p = &d->conf->pools[i];

		ret = netlink_add_route(d->netlink, &p->addr, p->len, d->tun_ifindex, NULL, 0);
		if (ret) {
			log_error("no route for pool %s/%u to %s: %s", addr_format(&p->addr, text),
				  p->len, d->conf->device, strerror(-ret));
			return ret;
		}
	}
	ret = tls_server_new(d->base, &ops, d, d->conf->max_flows_assoc, &d->tls);
	for (size_t i = 0; !ret && i < d->conf->point_count; i++) {
		ret = tls_server_listen(d->tls, &d->conf->points[i], d->conf->port);
		if (ret)
			log_error("cannot listen on %s port %u: %s",
				  addr_format(&d->conf->points[i], text), d->conf->port,
				  strerror(-ret));
	}
	return ret;
}

void anchor_stop(struct daemon *d)
{
	tls_server_free(d->tls);
	d->tls = NULL;
}
