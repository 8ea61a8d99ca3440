/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The mobile's side: paths follow interfaces and addresses (N7, N8), CONNECT (N4, M1), which path
 * to take (M3). Timers: ALIVE and PATH_HELLO (conf.timers.alive), CONNECT (500 ms, doubling to 5
 * s). */
#include <errno.h>
#include <stdio.h>
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

#define CONNECT_TIMEOUT_MS   3000u
#define CONNECT_PAUSE_MS     500u
#define CONNECT_PAUSE_MAX_MS 5000u
#define HELLO_EAGER_MS       250u
#define ALIVE_AGAIN_MS       500u
#define SILENT_MS            1900u /* ALIVE sent four times, no answer */
/* A switch that got no answer for so long: the anchor may have forgotten us, so CONNECT beside it.
 */
#define DOUBT_US 1000000u

/* ---- paths ------------------------------------------------------------- */

static void consider(struct assoc *a, const struct conf_uplink *u, uint32_t ifindex,
		     const struct hf_addr *local, size_t rank)
{
	const struct hf_addr *peer = &a->points[rank];
	struct netlink_route route;
	struct path *p;

	if (addr_is_v4(local) != addr_is_v4(peer))
		return;
	if (netlink_route_get(a->d->netlink, peer, local, ifindex, &route))
		return;
	if (addr_is_zero(&route.gateway))
		route.gateway = *peer;
	p = path_find(a, local, peer);
	if (!p) {
		if (a->path_count >= ASSOC_PATHS_MAX) {
			static unsigned long long said_ms;

			if (log_allowed(&said_ms, 60000))
				log_warning("%s: more than %d pairs of addresses: the others are "
					    "not used",
					    a->name, ASSOC_PATHS_MAX);
			return;
		}
		p = path_new(a, local, peer, ifindex, &route.gateway);
		if (!p) {
			log_warning("%s: no room for another path", a->name);
			return;
		}
	}
	if (path_set_way(p, ifindex, &route.gateway)) {
		log_warning("%s: no room for another path", a->name);
		return;
	}
	p->cost = u->cost * CONF_POINTS_MAX + rank;
	p->present = true;
}

static void follow(struct assoc *a)
{
	struct daemon *d = a->d;
	struct path *next;

	for (struct path *p = a->paths; p; p = p->next)
		p->present = false;
	for (size_t i = 0; i < d->conf->uplink_count; i++) {
		const struct conf_uplink *u = &d->conf->uplinks[i];
		const struct netlink_link *l = daemon_link_named(d, u->ifname);

		if (!l || !l->up || !l->running)
			continue;
		for (int n = 0; n < d->address_count; n++) {
			const struct netlink_address *addr = &d->addresses[n];

			if (addr->ifindex != l->ifindex || !addr->usable)
				continue;
			for (size_t rank = 0; rank < a->point_count; rank++)
				consider(a, u, l->ifindex, &addr->addr, rank);
		}
	}
	for (struct path *p = a->paths; p; p = next) {
		next = p->next;
		if (p->present || p == a->current || p == a->target)
			continue;
		if (a->connect_path == p) {
			tls_client_cancel(a->tls);
			a->tls = NULL;
			a->connect_path = NULL;
			a->connect_ms = 0;
		}
		path_free(p);
	}
}

bool mobile_usable(const struct path *p)
{
	return p->present && p->health != PATH_DEAD;
}

/* Lower is better, each line before the next: not the one to avoid, known to work, not tried in
 * vain, not on the interface that has fallen silent (0: none has), cheap. */
static uint64_t rank_of(const struct path *p, const struct path *avoid, uint32_t silent)
{
	uint64_t rank = p == avoid;

	rank = rank << 1 | (p->health != PATH_ALIVE);
	rank = rank << 16 | (p->refused < 65535 ? p->refused : 65535);
	rank = rank << 1 | (p->ifindex == silent);
	return rank << 40 | p->cost;
}

struct path *mobile_choose(struct assoc *a, const struct path *avoid)
{
	const struct netlink_link *wanted = *a->wanted ? daemon_link_named(a->d, a->wanted) : NULL;
	struct path *best = NULL;
	uint32_t silent = 0;

	/* What silenced a path that has its address still is likely to have silenced its interface,
	 * the other family too, even if no probe has missed an answer there yet. */
	if (avoid && avoid->present && a->sm.state != SWITCH_OLD_LEFT)
		silent = avoid->ifindex;

	for (struct path *p = a->paths; p; p = p->next) {
		if (!mobile_usable(p) || (*a->wanted && (!wanted || p->ifindex != wanted->ifindex)))
			continue;
		/* a planned switch has left it for good, whatever it looks like */
		if (a->sm.state == SWITCH_OLD_LEFT && p == a->current)
			continue;
		if (!best || rank_of(p, avoid, silent) < rank_of(best, avoid, silent))
			best = p;
	}
	if (!best && *a->wanted && a->sm.state != SWITCH_OLD_LEFT) {
		/* the user's choice failed: rather any than none */
		a->wanted[0] = 0;
		return mobile_choose(a, avoid);
	}
	return best;
}

void mobile_lose(struct assoc *a, const struct path *lost)
{
	a->target = mobile_choose(a, lost);
	if (a->target == lost && a->target && a->target->health == PATH_DEAD)
		a->target = NULL;
	assoc_feed(a,
		   (struct switch_input){.event = SWITCH_EVENT_LOSE, .usable = a->target != NULL});
}

static void points_changed(struct assoc *a)
{
	bool was = a->current && a->current->present, target_was = a->target && a->target->present;

	follow(a);
	if (a->state == ASSOC_CONNECTED) {
		if (was && a->current && !a->current->present &&
		    !(a->sm.state >= SWITCH_OLD_LEFT && a->sm.state <= SWITCH_UNEXPECTED_SENT)) {
			a->current->health = PATH_DEAD;
			log_info("%s: the address in use is gone", a->name);
			mobile_lose(a, a->current);
		} else if (target_was && a->target && !a->target->present &&
			   (a->sm.state == SWITCH_STEP2_SENT ||
			    a->sm.state == SWITCH_UNEXPECTED_SENT)) {
			mobile_lose(a, a->target);
		}
		if (a->sm.state == SWITCH_OLD_LEFT || a->sm.state == SWITCH_PATH_LOST) {
			a->target = mobile_choose(a, a->current);
			if (a->target)
				assoc_feed(a,
					   (struct switch_input){.event = SWITCH_EVENT_PATH_USABLE,
								 .usable = true});
		}
	} else if (!a->tls) {
		a->connect_ms = 0;
	}
	assoc_wake(a);
}

void mobile_points_changed(struct daemon *d)
{
	for (uint32_t i = 0; i < d->assoc_top; i++)
		if (d->assocs[i])
			points_changed(d->assocs[i]);
}

/* ---- CONNECT ----------------------------------------------------------- */

static void pause_connect(struct assoc *a)
{
	uint32_t present = 0, rounds, ms = CONNECT_PAUSE_MS;

	for (struct path *p = a->paths; p; p = p->next)
		present += p->present;
	a->connect_tries++;
	rounds = present ? a->connect_tries / present : a->connect_tries;
	/* every path once without a pause, then rounds with one */
	if (present && a->connect_tries % present)
		ms = 0;
	else
		ms <<= rounds < 5 ? rounds : 5;
	a->connect_ms = clock_ms() + (ms < CONNECT_PAUSE_MAX_MS ? ms : CONNECT_PAUSE_MAX_MS);
}

static void trouble(struct assoc *a, const char *text)
{
	if (!strncmp(a->trouble, text, sizeof(a->trouble) - 1))
		return;
	snprintf(a->trouble, sizeof(a->trouble), "%s", text);
	log_warning("%s: not connected: %s", a->name, text);
}

static int take_hosts(struct assoc *a, const struct connect_reply *r)
{
	struct netlink *nl = a->d->netlink;
	uint32_t ifindex = a->d->tun_ifindex;
	int ret;

	if (!addr_is_zero(&a->host4) && !addr_equal(&a->host4, &r->host4))
		netlink_del_address(nl, ifindex, &a->host4, 32);
	if (!addr_is_zero(&a->host6) && !addr_equal(&a->host6, &r->host6))
		netlink_del_address(nl, ifindex, &a->host6, 128);
	ret = assoc_set_hosts(a, &r->host4, &r->host6);
	if (!ret && !addr_is_zero(&r->host4))
		ret = netlink_add_address(nl, ifindex, &r->host4, 32);
	if (!ret && !addr_is_zero(&r->host6))
		ret = netlink_add_address(nl, ifindex, &r->host6, 128);
	return ret;
}

/* Host routes to the servers, with the inner address as preferred source; those of servers that are
 * no longer served go. */
static void set_routes(struct assoc *a)
{
	struct daemon *d = a->d;
	char text[INET6_ADDRSTRLEN];
	const struct service *s;
	int ret;

	for (uint32_t i = 1; i < HF_SERVICES_MAX; i++) {
		const struct hf_addr *src;

		s = services_at(d, i);
		if (!s || s->val.assoc != a->index)
			continue;
		src = addr_is_v4(&s->val.addr) ? &a->host4 : &a->host6;
		if (addr_is_zero(src))
			continue;
		ret = netlink_add_route(d->netlink, &s->val.addr, addr_bits(&s->val.addr),
					d->tun_ifindex, src, 0);
		if (ret)
			log_warning("%s: no route to %s by %s: %s", a->name,
				    addr_format(&s->val.addr, text), d->conf->device,
				    strerror(-ret));
	}
}

static bool served(const struct daemon *d, const struct hf_addr *addr)
{
	for (uint32_t i = 1; i < HF_SERVICES_MAX; i++) {
		const struct service *s = services_at(d, i);

		if (s && addr_equal(&s->val.addr, addr))
			return true;
	}
	return false;
}

/* Services of associations that have ended are in the way of others with the same servers: an
 * association that comes after one does not get its index while that one's flows are there. */
static void drop_orphans(struct daemon *d)
{
	for (uint32_t i = 1; i < HF_SERVICES_MAX; i++) {
		const struct service *s = services_at(d, i);

		if (s && !d->assocs[s->val.assoc])
			services_set(d, s->val.assoc + 1, s->val.assoc, NULL, 0);
	}
}

static void take_services(struct assoc *a, const struct connect_reply *r)
{
	struct daemon *d = a->d;
	struct hf_addr *before = calloc(HF_SERVICES_MAX, sizeof(*before));
	size_t count = 0;
	int ret;

	for (uint32_t i = 1; before && i < HF_SERVICES_MAX; i++) {
		const struct service *s = services_at(d, i);

		if (s && (s->val.assoc == a->index || !d->assocs[s->val.assoc]))
			before[count++] = s->val.addr;
	}
	drop_orphans(d);
	ret = services_set(d, a->index + 1, a->index, r->services, r->service_count);
	if (ret)
		log_warning("%s: %d of its services are not used: another association has the same "
			    "server",
			    a->name, ret);
	set_routes(a);
	for (size_t i = 0; i < count; i++)
		if (!served(d, &before[i]))
			netlink_del_route(d->netlink, &before[i], addr_bits(&before[i]),
					  d->tun_ifindex);
	free(before);
}

static void add_points(struct assoc *a, const struct connect_reply *r)
{
	for (uint32_t i = 0; i < r->point_count; i++) {
		size_t n;

		for (n = 0; n < a->point_count && !addr_equal(&a->points[n], &r->points[i]); n++)
			;
		if (n == a->point_count && n < CONF_POINTS_MAX)
			a->points[a->point_count++] = r->points[i];
	}
}

static void connected(void *arg, int error, struct connect_reply *r, const uint8_t *exported,
		      const char *why)
{
	struct assoc *a = arg;
	struct path *p = a->connect_path;
	char host4[INET6_ADDRSTRLEN], host6[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN];
	struct proto_keys *keys;
	size_t points = a->point_count;
	int ret;

	a->tls = NULL;
	a->connect_path = NULL;
	if (error || r->refusal) {
		char text[256];

		if (error)
			snprintf(text, sizeof(text), "%s", why);
		else
			snprintf(text, sizeof(text), "refused: %s",
				 connect_refusal_text(r->refusal));
		trouble(a, text);
		if (p)
			p->refused++;
		pause_connect(a);
		return;
	}
	if (!p || !p->present) {
		pause_connect(a);
		return;
	}
	ret = take_hosts(a, r);
	if (ret) {
		log_error("%s: the inner address cannot be set on %s: %s", a->name,
			  a->d->conf->device, strerror(-ret));
		pause_connect(a);
		return;
	}
	take_services(a, r);
	keys = proto_keys_new(exported, HF_ROLE_MOBILE, r->epoch, r->assoc);
	if (!keys) {
		trouble(a, "out of memory");
		pause_connect(a);
		return;
	}
	a->connect_tries = 0;
	add_points(a, r);
	assoc_connected(a, keys, r->assoc, r->epoch, p);
	log_info("%s: connected from %s, inner address %s%s%s, %u services", a->name,
		 addr_format(&p->local, local),
		 addr_is_zero(&r->host4) ? "" : addr_format(&r->host4, host4),
		 addr_is_zero(&r->host4) || addr_is_zero(&r->host6) ? "" : " ",
		 addr_is_zero(&r->host6) ? "" : addr_format(&r->host6, host6), r->service_count);
	if (a->point_count != points)
		points_changed(a);
	command_publish_state(a->d, a);
	daemon_wake(a->d);
}

static struct path *connect_choice(struct assoc *a)
{
	struct path *best = NULL;

	/* The path in use first: a CONNECT that only renews keys moves nothing. */
	if (a->current && mobile_usable(a->current) && !a->connect_tries)
		return a->current;
	for (struct path *p = a->paths; p; p = p->next) {
		uint64_t rank = (uint64_t)p->refused << 40 | p->cost;

		if (p->present && (!best || rank < ((uint64_t)best->refused << 40 | best->cost)))
			best = p;
	}
	return best;
}

void mobile_connect(struct assoc *a)
{
	struct connect_request request = {.assoc = a->index, .host4 = a->host4, .host6 = a->host6};
	struct path *p = connect_choice(a);
	struct tls_client_config config;
	int ret;

	if (a->tls)
		return;
	if (!p) {
		trouble(a, "no uplink has an address and a route to the anchor");
		a->connect_ms =
			clock_ms() + CONNECT_PAUSE_MAX_MS; /* or as soon as netlink says so */
		return;
	}
	request.from = p->local;
	ret = flow_announce(a, &request.flows, &request.flow_count);
	if (ret) {
		trouble(a, "the flow map cannot be read");
		pause_connect(a);
		return;
	}
	config = (struct tls_client_config){
		.identity = a->d->conf->id,
		.key = a->anchor->key,
		.local = p->local,
		.ifindex = p->ifindex,
		.peer = p->peer,
		.port = a->d->conf->port,
		.timeout_ms = CONNECT_TIMEOUT_MS,
		.request = &request,
		.done = connected,
		.arg = a,
	};
	ret = tls_client_connect(a->d->base, &config, &a->tls);
	free(request.flows);
	if (ret) {
		p->refused++;
		trouble(a, strerror(-ret));
		pause_connect(a);
		return;
	}
	a->connect_path = p;
}

/* ---- time -------------------------------------------------------------- */

static void greet(struct assoc *a, struct path *p, uint64_t now_us)
{
	uint32_t interval = p->validated ? a->d->conf->timers.alive : HELLO_EAGER_MS;

	if (!p->present || (p->hello_ms && now_us / 1000 - p->hello_ms < interval))
		return;
	p->hello_ms = now_us / 1000;
	assoc_send(a, p, WIRE_PATH_HELLO, 0, 0);
	if (!p->asked)
		path_ask(p, now_us);
}

void mobile_tick(struct assoc *a, uint64_t now_us)
{
	uint64_t now = now_us / 1000;
	uint32_t alive = a->d->conf->timers.alive;

	if (a->state == ASSOC_APART) {
		if (!a->tls && now >= a->connect_ms && !a->d->stopping)
			mobile_connect(a);
		return;
	}
	if (a->state != ASSOC_CONNECTED)
		return;
	for (struct path *p = a->paths; p; p = p->next)
		if (p != a->current)
			greet(a, p, now_us);
	/* once a period; more often while it is not answered */
	if (a->current && a->current->present &&
	    now - a->alive_ms >= (a->alive_ack_ms < a->alive_ms && alive > ALIVE_AGAIN_MS
					  ? ALIVE_AGAIN_MS
					  : alive)) {
		if (a->alive_ack_ms >= a->alive_ms)
			a->silent_ms = now;
		a->alive_ms = now;
		assoc_send(a, a->current, WIRE_ALIVE, 0, 0);
		if (!a->current->asked)
			path_ask(a->current, now_us);
	}
	/* Probes are answered, sealed datagrams are not: the anchor's daemon has lost our keys. */
	if (!a->tls && now >= a->connect_ms && a->sm.state == SWITCH_SETTLED &&
	    a->alive_ack_ms < a->silent_ms && now - a->silent_ms > SILENT_MS && a->current &&
	    a->current->health == PATH_ALIVE)
		mobile_connect(a);
	if (!a->tls && now >= a->connect_ms &&
	    (a->sm.state == SWITCH_PATH_LOST || a->sm.state == SWITCH_UNEXPECTED_SENT) &&
	    now_us > a->switch_began_us + DOUBT_US)
		mobile_connect(a);
	/* A planned switch whose messages nobody answers: its daemon has lost our keys, and all
	 * that is parked waits. */
	if (!a->tls && now >= a->connect_ms && a->sm.state >= SWITCH_STEP1_SENT &&
	    a->sm.state <= SWITCH_STEP2_SENT && a->sm.state != SWITCH_OLD_LEFT &&
	    a->retry_count >= a->d->conf->timers.attempts && now > a->alive_ack_ms + SILENT_MS &&
	    now_us > a->switch_began_us + DOUBT_US)
		mobile_connect(a);
}

int mobile_switch(struct assoc *a, const char *ifname, bool make_before_break, char *err,
		  size_t len)
{
	const struct netlink_link *l = NULL;
	struct path *best = NULL;

	if (a->state != ASSOC_CONNECTED) {
		snprintf(err, len, "%s is not connected: %s", a->name, a->trouble);
		return -ENOTCONN;
	}
	if (a->sm.state != SWITCH_SETTLED) {
		snprintf(err, len, "%s: a switch is under way (%s)", a->name,
			 switch_state_name(a->sm.state));
		return -EBUSY;
	}
	if (ifname) {
		size_t i;

		for (i = 0;
		     i < a->d->conf->uplink_count && strcmp(a->d->conf->uplinks[i].ifname, ifname);
		     i++)
			;
		if (i == a->d->conf->uplink_count) {
			snprintf(err, len,
				 "'%s' is no uplink: the configuration has no section [uplink %s]",
				 ifname, ifname);
			return -EINVAL;
		}
		l = daemon_link_named(a->d, ifname);
	}
	for (struct path *p = a->paths; p; p = p->next) {
		if (!mobile_usable(p) || p == a->current ||
		    (ifname && (!l || p->ifindex != l->ifindex)))
			continue;
		if (!best || rank_of(p, NULL, 0) < rank_of(best, NULL, 0))
			best = p;
	}
	if (!best && make_before_break) {
		if (ifname && a->current && l && a->current->ifindex == l->ifindex)
			snprintf(err, len, "%s uses %s already and it has no other address",
				 a->name, ifname);
		else
			snprintf(err, len,
				 "no other path is usable now%s%s; with --break the switch waits "
				 "for one to appear",
				 ifname ? " over " : "", ifname ? ifname : "");
		return -ENETUNREACH;
	}
	a->target = best;
	snprintf(a->wanted, sizeof(a->wanted), "%s", ifname ? ifname : "");
	assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_PLAN,
					    .mbb = make_before_break,
					    .usable = best != NULL});
	return 0;
}

int mobile_start(struct daemon *d)
{
	/* associations with anchors that are no longer configured */
	for (uint32_t i = 0; i < d->assoc_top; i++) {
		size_t n;

		for (n = 0; d->assocs[i] && n < d->conf->anchor_count; n++)
			if (!strcmp(d->conf->anchors[n].name, d->assocs[i]->name))
				break;
		if (d->assocs[i] && n == d->conf->anchor_count)
			assoc_free(d->assocs[i]);
	}
	for (size_t i = 0; i < d->conf->anchor_count; i++) {
		const struct conf_anchor *c = &d->conf->anchors[i];
		struct assoc *a = assoc_named(d, c->name);

		if (!a)
			a = assoc_new(d, HF_ROLE_MOBILE, c->name);
		if (!a)
			return -ENOMEM;
		a->anchor = c;
		memcpy(a->points, c->points, sizeof(a->points));
		a->point_count = c->point_count;
		follow(a);
		/* The address went away while no daemon watched: nothing to keep on that path. */
		if (a->current && !a->current->present) {
			a->current->health = PATH_DEAD;
			assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_LOSE});
		}
	}
	return 0;
}
