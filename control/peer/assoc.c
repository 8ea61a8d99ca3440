/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Timers: retry (max(2 × RTT, 20 ms), doubling to 1 s), switch timeout (conf.timers.switching),
 * drain (conf.timers.drain), grace of the path left (conf.timers.grace). */
#include "control/peer/assoc.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "control/addr.h"
#include "control/clock.h"
#include "control/command.h"
#include "control/daemon.h"
#include "control/hook.h"
#include "control/log.h"
#include "control/path/pump.h"
#include "control/sweep.h"

#define TICK_MIN_US    1000u
#define TICK_BUSY_US   10000u
#define RETRY_MIN_US   20000u
#define RETRY_BLIND_US 100000u
#define RETRY_MAX_US   1000000u
/* Repeats of a challenge that nothing new was heard for: no more than three times what came from an
 * address goes there before it is validated (RFC 9000 section 8.1). */
#define CHALLENGE_REPEATS 2u

/* ---- life -------------------------------------------------------------- */

struct assoc *assoc_new(struct daemon *d, enum hf_role role, const char *name)
{
	struct assoc_val *v;
	struct assoc *a;
	uint32_t i;

	for (i = 0; i < HF_ASSOCS_MAX && (d->assocs[i] || sweep_holds(d->sweep, i)); i++)
		;
	if (i == HF_ASSOCS_MAX)
		return NULL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->d = d;
	a->index = i;
	a->role = role;
	strcpy(a->name, name);
	switch_init(&a->sm, role);
	v = &d->assoc_map[i];
	memset(v, 0, sizeof(*v));
	v->scope = role == HF_ROLE_MOBILE ? i + 1 : 0;
	v->max_flows = d->conf->max_flows_assoc;
	v->role = role;
	strcpy(v->name, name);
	v->used = 1;
	d->assocs[i] = a;
	if (i >= d->assoc_top)
		d->assoc_top = i + 1;
	/* until CONNECT is done, what applications send is held */
	assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_LOSE});
	return a;
}

struct assoc *assoc_adopt(struct daemon *d, uint32_t index)
{
	struct assoc_val *v = &d->assoc_map[index];
	struct assoc *a = calloc(1, sizeof(*a));
	uint32_t path = HF_ROUTE_PATH(v->route);

	if (!a)
		return NULL;
	a->d = d;
	a->index = index;
	a->role = v->role;
	memcpy(a->name, v->name, sizeof(a->name));
	a->name[sizeof(a->name) - 1] = 0;
	a->epoch = v->epoch;
	a->host4 = v->host4;
	a->host6 = v->host6;
	a->sign_ms = a->data_rx_ms = clock_ms();
	v->max_flows = d->conf->max_flows_assoc;
	switch_init(&a->sm, a->role);
	d->assocs[index] = a;
	if (index >= d->assoc_top)
		d->assoc_top = index + 1;
	for (uint32_t slot = 1; slot < HF_PATHS_MAX; slot++) {
		struct peer_key key;
		struct peer_val val;
		struct path *p;

		if (!d->path_map[slot].used || d->path_map[slot].assoc != index)
			continue;
		key = (struct peer_key){.peer = d->path_map[slot].peer,
					.local = d->path_map[slot].local};
		if (bpf_map_lookup_elem(loader_map_fd(d->loader, LOADER_PEERS), &key, &val) ||
		    val.path != slot) {
			d->path_map[slot].used = 0;
			continue;
		}
		p = path_adopt(a, slot, val.flags & HF_PEER_ACCEPT);
		if (p && slot == path)
			a->current = p;
		else if (p && p->accepted)
			p->grace_ms = clock_ms() + d->conf->timers.grace;
	}
	/* The daemon before us may have died while it held packets: they are lost, those to come
	 * are not. An anchor goes on with the path it has, as the mobile may not notice for a
	 * while; a mobile connects at once, and holds until then what no path would take. */
	if (HF_ROUTE_MODE(v->route) == HF_MODE_PARK && a->current && a->role == HF_ROLE_ANCHOR)
		assoc_route(a, a->current, HF_MODE_ACTIVE);
	else if (HF_ROUTE_MODE(v->route) != HF_MODE_ACTIVE || !a->current)
		assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_LOSE});
	return a;
}

/* Only what is ours: an address that the configuration has fixed for another mobile meanwhile may
 * be that one's already. */
static void drop_host(struct assoc *a, const struct hf_addr *addr)
{
	int fd = loader_map_fd(a->d->loader, LOADER_HOSTS);
	struct host_val val;

	if (!addr_is_zero(addr) && !bpf_map_lookup_elem(fd, addr, &val) && val.assoc == a->index)
		bpf_map_delete_elem(fd, addr);
}

void assoc_free(struct assoc *a)
{
	struct daemon *d = a->d;

	assoc_route(a, NULL, HF_MODE_DOWN);
	drop_host(a, &a->host4);
	drop_host(a, &a->host6);
	while (a->paths)
		path_free(a->paths);
	park_drop(d->park, a->index);
	sweep_vacate(d->sweep, a->index);
	d->assocs[a->index] = NULL;
	while (d->assoc_top && !d->assocs[d->assoc_top - 1])
		d->assoc_top--;
	tls_client_cancel(a->tls);
	proto_keys_free(a->keys);
	free(a);
}

struct assoc *assoc_named(const struct daemon *d, const char *name)
{
	for (uint32_t i = 0; i < d->assoc_top; i++)
		if (d->assocs[i] && !strcmp(d->assocs[i]->name, name))
			return d->assocs[i];
	return NULL;
}

/* ---- the data plane's view --------------------------------------------- */

void assoc_route(struct assoc *a, const struct path *p, enum hf_mode mode)
{
	__u64 *route = &a->d->assoc_map[a->index].route;
	uint64_t old = __atomic_load_n(route, __ATOMIC_RELAXED);

	__atomic_store_n(route, HF_ROUTE(p ? p->slot : 0, mode, HF_ROUTE_GEN(old) + 1),
			 __ATOMIC_RELEASE);
}

static int set_host(struct assoc *a, struct hf_addr *now, struct hf_addr *map,
		    const struct hf_addr *want)
{
	int fd = loader_map_fd(a->d->loader, LOADER_HOSTS);
	struct host_val val = {.assoc = a->index, .role = a->role};

	if (!addr_equal(now, want))
		drop_host(a, now);
	*now = *map = *want;
	if (addr_is_zero(want))
		return 0;
	return bpf_map_update_elem(fd, want, &val, BPF_ANY) ? -errno : 0;
}

int assoc_set_hosts(struct assoc *a, const struct hf_addr *host4, const struct hf_addr *host6)
{
	struct assoc_val *v = &a->d->assoc_map[a->index];
	int ret = set_host(a, &a->host4, &v->host4, host4);

	return ret ? ret : set_host(a, &a->host6, &v->host6, host6);
}

void assoc_connected(struct assoc *a, struct proto_keys *keys, uint32_t peer_index, uint32_t epoch,
		     struct path *p)
{
	uint64_t now = clock_us();

	/* Nothing of the epoch before is opened any more: switch ids start anew, and an old one
	 * would look new. */
	proto_keys_free(a->keys);
	a->keys = keys;
	a->peer_index = peer_index;
	a->epoch = epoch;
	a->d->assoc_map[a->index].epoch = epoch;
	a->due_us = 0;
	a->state = ASSOC_CONNECTED;
	a->connected_ms = a->sign_ms = a->data_rx_ms = a->alive_ms = a->alive_ack_ms = now / 1000;
	a->trouble[0] = 0;
	a->draining = false;

	p->health = PATH_ALIVE;
	p->asked = false;
	p->unanswered = p->refused = 0;
	p->waiting_us = 0;
	/* A TCP handshake went both ways over this pair of addresses: as good as a challenge. */
	p->validated = true;
	p->challenge = 0;
	p->sign_ms = now / 1000;
	p->missing = 0;
	path_heard(p, now);
	a->target = p;
	assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_RESET});
}

/* ---- messages ---------------------------------------------------------- */

void assoc_send(struct assoc *a, struct path *p, enum wire_type type, uint64_t nonce,
		uint64_t echo_us)
{
	struct wire_datagram out;
	struct wire_body body = {
		.type = type,
		.flags = a->sm.mbb ? WIRE_FLAG_MBB : 0,
		.switch_id = htonl(a->sm.id),
		.nonce = nonce,
		.time_us = htobe64(clock_us()),
		.echo_us = htobe64(echo_us),
	};
	struct udp_ends ends;
	int ret;

	if (!a->keys || !p)
		return;
	body.from = p->local;
	body.packets = htobe64(__atomic_load_n(&path_stamps(p)->tx_packets, __ATOMIC_RELAXED));
	ends = (struct udp_ends){.local = p->local, .peer = p->peer, .ifindex = p->ifindex};
	ret = proto_create_datagram(a->keys, &body, &out);
	if (!ret)
		ret = udp_send(&a->d->udp, &ends, &out, sizeof(out));
	if (ret)
		log_debug("%s: %s not sent: %s", a->name, wire_type_name(type), strerror(-ret));
}

static uint64_t retry_interval(const struct assoc *a)
{
	const struct path *p = a->target ? a->target : a->current;
	uint64_t us = p && p->rtt_us ? 2ull * p->rtt_us : RETRY_BLIND_US;

	if (us < RETRY_MIN_US)
		us = RETRY_MIN_US;
	us <<= a->retry_count < 6 ? a->retry_count : 6;
	return us < RETRY_MAX_US ? us : RETRY_MAX_US;
}

static void start_retry(struct assoc *a, enum switch_event cause, uint64_t now_us)
{
	a->retry_count = cause == SWITCH_EVENT_RETRY ? a->retry_count + 1 : 0;
	a->retry_us = now_us + retry_interval(a);
}

static void report_done(struct assoc *a)
{
	char local[INET6_ADDRSTRLEN], peer[INET6_ADDRSTRLEN];

	a->switches++;
	a->last_switch_us = clock_us() - a->switch_began_us;
	for (struct path *p = a->paths; p; p = p->next)
		p->refused = 0;
	if (!a->current)
		return;
	log_info("%s: %s switch to %s - %s done in %u.%03u ms, %" PRIu64 " packets parked", a->name,
		 a->last_switch, addr_format(&a->current->local, local),
		 addr_format(&a->current->peer, peer), a->last_switch_us / 1000,
		 a->last_switch_us % 1000, a->switch_parked);
	command_publish_switch(a->d, a);
	if (a->role == HF_ROLE_MOBILE)
		hook_run(a->d->conf->hook_arrive, a, a->left, a->current);
}

static void start_drain(struct assoc *a)
{
	a->draining = true;
	a->fence = a->rx_count;
	a->drain_us = clock_us() + a->d->conf->timers.drain * 1000ull;
	daemon_wake(a->d);
}

static bool drained(const struct assoc *a)
{
	const struct path *p = a->current;
	int64_t behind;

	if (!p)
		return true;
	behind = (int64_t)(a->fence -
			   __atomic_load_n(&path_stamps(p)->rx_packets, __ATOMIC_RELAXED));
	return behind <= p->missing;
}

/* Paths that are accepted but not in use: for a while yet, or no more. */
static void end_others(struct assoc *a, uint64_t grace_ms)
{
	for (struct path *p = a->paths; p; p = p->next) {
		if (p == a->current || !p->accepted)
			continue;
		if (grace_ms)
			p->grace_ms = grace_ms;
		else
			path_accept(p, false);
	}
}

static void perform(struct assoc *a, uint32_t actions, enum switch_event cause)
{
	static const struct {
		enum switch_action action;
		enum wire_type type;
		bool on_target;
	} sends[] = {
		{SWITCH_ACTION_BIT_SEND_STEP1, WIRE_SWITCH_STEP1, false},
		{SWITCH_ACTION_BIT_SEND_ACK, WIRE_ACK, false},
		{SWITCH_ACTION_BIT_SEND_LAST_MESSAGE, WIRE_LAST_MESSAGE, false},
		{SWITCH_ACTION_BIT_SEND_OK, WIRE_OK_TO_REDIRECTION, false},
		{SWITCH_ACTION_BIT_SEND_CLIENT_READY, WIRE_CLIENT_READY, false},
		{SWITCH_ACTION_BIT_SEND_SERVER_READY, WIRE_SERVER_READY, false},
		{SWITCH_ACTION_BIT_SEND_STEP2, WIRE_SWITCH_STEP2, true},
		{SWITCH_ACTION_BIT_SEND_UNEXPECTED, WIRE_SWITCH_UNEXPECTED, true},
		{SWITCH_ACTION_BIT_SEND_ALL_REDIRECTED, WIRE_ALL_REDIRECTED, false},
	};
	uint64_t now = clock_us();

	for (enum switch_action i = 0; i < SWITCH_ACTION_COUNT; i++) {
		if (!(actions & (1u << i)))
			continue;
		for (size_t s = 0; s < sizeof(sends) / sizeof(sends[0]); s++) {
			if (sends[s].action != i)
				continue;
			assoc_send(a, sends[s].on_target ? a->target : a->current, sends[s].type, 0,
				   0);
			start_retry(a, cause, now);
		}
		switch (i) {
		case SWITCH_ACTION_BIT_PARK:
			assoc_route(a, a->current, HF_MODE_PARK);
			/* nothing more goes that way now; what got stuck there must be sent again
			 */
			if (cause == SWITCH_EVENT_LOSE && a->current)
				path_let_go(a->current);
			break;
		case SWITCH_ACTION_BIT_TARGET:
			a->target = a->rx_path;
			break;
		case SWITCH_ACTION_BIT_START_DRAIN:
			start_drain(a);
			break;
		case SWITCH_ACTION_BIT_LEAVE_OLD:
			hook_run(a->d->conf->hook_leave, a, a->current, a->target);
			break;
		case SWITCH_ACTION_BIT_CHOOSE:
			a->target = mobile_choose(a, a->current);
			a->feed_usable = a->target != NULL;
			break;
		case SWITCH_ACTION_BIT_ACCEPT_NEW:
			if (a->target)
				path_accept(a->target, true);
			break;
		case SWITCH_ACTION_BIT_CHALLENGE:
			if (a->target)
				anchor_challenge(a, a->target);
			start_retry(a, cause, now);
			break;
		case SWITCH_ACTION_BIT_FLIP:
			if (!a->target)
				break;
			if (a->current != a->target)
				a->left = a->current;
			a->current = a->target;
			a->target = NULL;
			a->wanted[0] = 0;
			/* What is parked goes first: UNPARK makes it active. */
			assoc_route(a, a->current,
				    actions & SWITCH_DO(UNPARK) ? HF_MODE_PARK : HF_MODE_ACTIVE);
			break;
		case SWITCH_ACTION_BIT_GRACE_OLD:
			end_others(a, now / 1000 + a->d->conf->timers.grace);
			break;
		case SWITCH_ACTION_BIT_DROP_OLD:
			end_others(a, 0);
			if (a->left && a->left != a->current)
				path_let_go(a->left);
			break;
		case SWITCH_ACTION_BIT_UNPARK:
			pump_release(a);
			break;
		case SWITCH_ACTION_BIT_START_TIMERS:
			a->expire_us = now + a->d->conf->timers.switching * 1000ull;
			break;
		case SWITCH_ACTION_BIT_STOP_TIMERS:
			a->retry_us = a->expire_us = 0;
			a->draining = false;
			break;
		case SWITCH_ACTION_BIT_DONE:
			report_done(a);
			break;
		case SWITCH_ACTION_BIT_FAIL:
			log_warning("%s: the switch failed: no answer on any path; connecting anew",
				    a->name);
			a->state = ASSOC_APART;
			a->target = NULL;
			mobile_connect(a);
			break;
		case SWITCH_ACTION_BIT_CLEAN_UP:
			log_warning("%s: gone for longer than the switch timeout: disconnected, "
				    "its resources are freed",
				    a->name);
			a->doomed = true;
			break;
		default:
			break;
		}
	}
}

static void note_start(struct assoc *a, const struct switch_input *in)
{
	if (a->sm.state != SWITCH_SETTLED)
		return;
	switch (in->event) {
	case SWITCH_EVENT_PLAN:
	case SWITCH_EVENT_RX_STEP1:
		strcpy(a->last_switch, "planned");
		break;
	case SWITCH_EVENT_LOSE:
	case SWITCH_EVENT_RX_UNEXPECTED:
		strcpy(a->last_switch, "unexpected");
		break;
	default:
		return;
	}
	a->switch_began_us = clock_us();
	a->switch_parked = 0;
}

void assoc_feed(struct assoc *a, struct switch_input in)
{
	enum switch_state before = a->sm.state;
	uint32_t actions;

	if (a->doomed)
		return;
	a->due_us = 0;
	note_start(a, &in);
	actions = switch_step(&a->sm, &in);
	if (actions || a->sm.state != before)
		log_debug("%s: %s: %s -> %s (id %u)", a->name, switch_event_name(in.event),
			  switch_state_name(before), switch_state_name(a->sm.state), a->sm.id);
	if (in.event == SWITCH_EVENT_LOSE && a->sm.state == SWITCH_UNEXPECTED_SENT)
		strcpy(a->last_switch, "unexpected");
	perform(a, actions, in.event);
	if (a->feed_usable) {
		a->feed_usable = false;
		assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_PATH_USABLE,
						    .usable = true});
	}
	daemon_wake(a->d);
}

static enum switch_event event_of(enum wire_type type)
{
	switch (type) {
	case WIRE_SWITCH_STEP1:
		return SWITCH_EVENT_RX_STEP1;
	case WIRE_ACK:
		return SWITCH_EVENT_RX_ACK;
	case WIRE_LAST_MESSAGE:
		return SWITCH_EVENT_RX_LAST_MESSAGE;
	case WIRE_OK_TO_REDIRECTION:
		return SWITCH_EVENT_RX_OK;
	case WIRE_CLIENT_READY:
		return SWITCH_EVENT_RX_CLIENT_READY;
	case WIRE_SERVER_READY:
		return SWITCH_EVENT_RX_SERVER_READY;
	case WIRE_SWITCH_STEP2:
		return SWITCH_EVENT_RX_STEP2;
	case WIRE_ALL_REDIRECTED:
		return SWITCH_EVENT_RX_ALL_REDIRECTED;
	case WIRE_SWITCH_UNEXPECTED:
		return SWITCH_EVENT_RX_UNEXPECTED;
	default:
		return SWITCH_EVENT_COUNT;
	}
}

/* The peer's count rides behind its data: what it counted and we did not see is lost, or late. */
static void note_count(struct path *p, uint64_t packets)
{
	uint64_t rx = __atomic_load_n(&path_stamps(p)->rx_packets, __ATOMIC_RELAXED);

	p->missing = packets > rx ? (int64_t)(packets - rx) : 0;
}

static void dispatch(struct assoc *a, struct path *p, const struct wire_body *b)
{
	struct daemon *d = a->d;
	uint64_t now = clock_us(), echo = be64toh(b->echo_us), time = be64toh(b->time_us);
	enum switch_event e;
	bool mobile = a->role == HF_ROLE_MOBILE;

	if (echo && echo <= now && now - echo < 10000000)
		path_measured(p, now - echo);
	switch (b->type) {
	case WIRE_ALIVE:
		note_count(p, be64toh(b->packets));
		assoc_send(a, p, WIRE_ALIVE_ACK, 0, time);
		return;
	case WIRE_ALIVE_ACK:
		note_count(p, be64toh(b->packets));
		a->alive_ack_ms = now / 1000;
		return;
	case WIRE_PATH_HELLO:
		if (!mobile)
			anchor_hello(a, p, time);
		return;
	case WIRE_PATH_CHALLENGE:
		if (mobile)
			assoc_send(a, p, WIRE_PATH_RESPONSE, b->nonce, time);
		return;
	case WIRE_PATH_RESPONSE:
		if (!mobile)
			anchor_response(a, p, b->nonce, time);
		return;
	case WIRE_PATH_VALID:
		if (mobile)
			p->validated = true;
		return;
	case WIRE_DISCONNECT:
		assoc_send(a, p, WIRE_DISCONNECT_ACK, 0, time);
		if (!mobile) {
			log_info("%s: disconnected by the mobile", a->name);
			a->doomed = true;
		} else if (a->state == ASSOC_CONNECTED) {
			log_warning("%s: disconnected by the anchor", a->name);
			a->state = ASSOC_APART;
			a->connect_ms = now / 1000 + 1000;
		}
		return;
	case WIRE_DISCONNECT_ACK:
		if (a->state == ASSOC_ENDING) {
			a->state = ASSOC_APART;
			daemon_wake(d);
		}
		return;
	default:
		break;
	}
	e = event_of(b->type);
	if (e == SWITCH_EVENT_COUNT) {
		d->reasons[HF_REASON_CTL_STATE]++;
		return;
	}
	if (e == SWITCH_EVENT_RX_ALL_REDIRECTED && p != a->target)
		return; /* an answer that came another way says nothing about the new path */
	a->rx_count = be64toh(b->packets);
	a->alive_ack_ms = now / 1000;
	a->rx_path = p;
	assoc_feed(a, (struct switch_input){
			      .event = e,
			      .id = ntohl(b->switch_id),
			      .mbb = b->flags & WIRE_FLAG_MBB,
			      .usable = a->target && mobile && mobile_usable(a->target),
			      .validated = p->validated,
		      });
	a->rx_path = NULL;
}

void assoc_receive(struct daemon *d, const void *data, size_t len, const struct udp_ends *ends)
{
	enum hf_reason reason;
	struct wire_body body;
	uint32_t index, epoch;
	struct assoc *a;
	struct path *p;

	reason = proto_peek_datagram(data, len, &index, &epoch);
	if (reason)
		goto refuse;
	a = index < HF_ASSOCS_MAX ? d->assocs[index] : NULL;
	if (!a || a->doomed) {
		reason = HF_REASON_CTL_ASSOC;
		goto refuse;
	}
	if (!a->keys || proto_keys_epoch(a->keys) != epoch) {
		reason = HF_REASON_CTL_EPOCH;
		goto refuse;
	}
	reason = proto_consume_datagram(a->keys, data, &body);
	if (reason)
		goto refuse;
	/* A datagram that somebody took and sent on from elsewhere must not move the association.
	 */
	if (!addr_equal(&body.from, &ends->peer)) {
		reason = HF_REASON_CTL_ADDRESS;
		goto refuse;
	}
	p = a->role == HF_ROLE_ANCHOR ? anchor_path(a, &ends->local, &ends->peer, ends->ifindex)
				      : path_find(a, &ends->local, &ends->peer);
	if (!p) {
		reason = HF_REASON_CTL_ADDRESS;
		goto refuse;
	}
	a->sign_ms = p->sign_ms = clock_ms();
	path_heard(p, clock_us());
	dispatch(a, p, &body);
	return;
refuse:
	d->reasons[reason]++;
}

/* ---- time -------------------------------------------------------------- */

static void path_died(struct assoc *a, struct path *p)
{
	const struct netlink_link *l = daemon_link(a->d, p->ifindex);
	bool sent = a->sm.state == SWITCH_STEP2_SENT || a->sm.state == SWITCH_UNEXPECTED_SENT;

	/* once a target was told of, its death counts; until then that of the path in use */
	if (p != (sent ? a->target : a->current) || !a->keys)
		return;
	log_info("%s: the path over %s does not answer", a->name,
		 l ? l->name : "an interface that is gone");
	if (a->role == HF_ROLE_ANCHOR) {
		assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_LOSE});
		return;
	}
	p->refused++;
	mobile_lose(a, p);
}

/* us until something of it is due, at most `max` */
static uint64_t sooner(uint64_t next, uint64_t due_us, uint64_t now_us)
{
	if (due_us <= now_us)
		return TICK_MIN_US;
	return due_us - now_us < next ? due_us - now_us : next;
}

/* us until something of it is due, at most `max` */
static uint64_t next_us(const struct assoc *a, uint64_t now_us, uint64_t max)
{
	uint64_t next = max;

	if (a->draining)
		return TICK_MIN_US;
	if (a->sm.state > SWITCH_SETTLED || (a->current && path_busy(a->current, now_us)))
		next = TICK_BUSY_US;
	if (a->current)
		next = sooner(next, path_due_us(a->current), now_us);
	if (a->target)
		next = sooner(next, path_due_us(a->target), now_us);
	if (a->retry_us)
		next = sooner(next, a->retry_us, now_us);
	if (next < TICK_MIN_US)
		next = TICK_MIN_US;
	return next < max ? next : max;
}

void assoc_wake(struct assoc *a)
{
	a->due_us = 0;
	daemon_wake(a->d);
}

/* One association that is busy, or is woken, must not cost a look at thousands that are not. */
void assoc_tick(struct assoc *a, uint64_t now_us, uint64_t max)
{
	struct path *next;

	if (now_us < a->due_us)
		return;

	for (struct path *p = a->paths; p; p = next) {
		enum path_news news = path_tick(p, now_us);

		next = p->next;
		if (p->grace_ms && p->grace_ms <= now_us / 1000)
			path_accept(p, p == a->current || p == a->target);
		if (news == PATH_DIED) {
			path_died(a, p);
		} else if (news == PATH_CAME_BACK) {
			if (p == a->current)
				assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_REGAIN});
			if (a->role == HF_ROLE_MOBILE && a->sm.state == SWITCH_PATH_LOST &&
			    p->present) {
				a->target = p;
				assoc_feed(a,
					   (struct switch_input){.event = SWITCH_EVENT_PATH_USABLE,
								 .usable = true});
			}
		}
	}
	if (a->draining && (drained(a) || now_us >= a->drain_us)) {
		if (!drained(a))
			log_debug("%s: fence: %" PRIu64 " counted, %" PRIu64 " came, going on",
				  a->name, a->fence,
				  a->current ? (uint64_t)path_stamps(a->current)->rx_packets : 0);
		a->draining = false;
		assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_DRAIN});
	}
	if (a->retry_us && now_us >= a->retry_us) {
		a->retry_us = 0; /* what is sent sets it again */
		if (a->role == HF_ROLE_MOBILE && a->sm.state == SWITCH_UNEXPECTED_SENT &&
		    a->retry_count >= a->d->conf->timers.attempts) {
			if (a->target)
				a->target->refused++;
			mobile_lose(a, a->target);
		} else if (a->sm.state != SWITCH_CHALLENGE_SENT ||
			   a->retry_count < CHALLENGE_REPEATS) {
			assoc_feed(a, (struct switch_input){.event = SWITCH_EVENT_RETRY});
		}
	}
	if (a->expire_us && now_us >= a->expire_us) {
		a->expire_us = 0;
		if (a->role == HF_ROLE_MOBILE)
			a->target = mobile_choose(a, NULL);
		assoc_feed(a,
			   (struct switch_input){.event = SWITCH_EVENT_EXPIRE,
						 .usable = a->role == HF_ROLE_MOBILE && a->target});
	}
	if (a->role == HF_ROLE_MOBILE)
		mobile_tick(a, now_us);
	else
		anchor_tick(a, now_us);
	a->due_us = now_us + next_us(a, now_us, max);
}
