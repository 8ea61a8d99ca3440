/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Setting up in order, the loop, who owns, taking down in reverse. */
#include "control/takeover/node.h"

#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <linux/sched/types.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control/clock.h"
#include "control/ctl.h"
#include "control/log.h"
#include "control/path/netlink.h"
#include "control/takeover/announce.h"
#include "control/takeover/commit.h"
#include "control/takeover/embryo.h"
#include "control/takeover/load.h"
#include "control/takeover/node_command.h"
#include "control/takeover/point.h"
#include "control/takeover/restore.h"
#include "control/takeover/segment.h"
#include "control/takeover/vip.h"

#define CLAIM_LATER                                                                                \
	500u /* a node whose application is not there leaves the group to others so long */
#define STALL_MS         1000u
#define ANNOUNCE_LAST_MS 5000u
#define CLOSED_NS        1000000000ull /* a group that is to be handed over, and is not, opens again */
#define OVERLOAD_MS      60000u /* between two gifts, so that two busy nodes do not play ball */
#define EMBRYO_RATE      5000u
#define SLICE_NS         100000u

void node_stop(struct node *n)
{
	n->stopping = true;
	event_base_loopbreak(n->base);
}

/* ---- who owns --------------------------------------------------------------- */

static uint32_t role_of(const struct node *n)
{
	if (n->owner)
		return n->status.synced ? HF_SERVING : HF_ALONE;
	return n->status.state == STORE_AWAY ? HF_LOST : HF_STANDBY;
}

static void tell_role(struct node *n)
{
	static const char *const texts[] = {
		[HF_STANDBY] = "stands by",
		[HF_SERVING] = "serves",
		[HF_ALONE] = "serves alone: no other node could take over",
		[HF_LOST] = "has no contact with the store: it can neither serve nor take over",
	};
	uint32_t role = role_of(n);
	bool fresh;

	if (role == n->role)
		return;
	/* whoever has just begun has nobody behind it for a moment */
	fresh = role == HF_ALONE && n->role != HF_SERVING;
	n->role = role;
	log_line((role == HF_ALONE && !fresh) || role == HF_LOST ? LOG_LEVEL_WARNING
								 : LOG_LEVEL_INFO,
		 "node %s %s%s%s", n->conf->id, texts[role], *n->status.why ? ": " : "",
		 n->status.why);
	apps_role(n->apps, role);
	if (ctl_watched(n->ctl)) {
		json_t *j = node_status(n);

		json_object_set_new(j, "event", json_string("role"));
		json_object_set_new(j, "time_us", json_integer(clock_us()));
		ctl_publish(n->ctl, j);
	}
}

static void lose(struct node *n)
{
	n->owner = false;
	__atomic_store_n(&n->fence->lease_until_ns, 0, __ATOMIC_RELEASE);
	serve_abandon(n);
	n->opened = n->stranded = false;
	n->wanted = 0;
}

static void win(struct node *n)
{
	n->owner = true;
	n->claim_ms = 0;
	n->commit_ms = clock_ms();
	n->fence->epoch = n->status.epoch;
	n->fence->closed_until_ns = 0;
	takeover_fence(n);
	__atomic_store_n(&n->fence->lease_until_ns, n->status.lease_until_ns, __ATOMIC_RELEASE);
	takeover_begin(n);
	node_probe_soon(n);
}

static void try_claim(struct node *n)
{
	uint64_t now = clock_ms();
	int ret;

	if (n->status.state != STORE_VACANT || n->stopping) {
		n->claim_ms = 0;
		return;
	}
	if (!n->claim_ms)
		n->claim_ms = apps_count(n->apps) ? now : now + CLAIM_LATER;
	if (now < n->claim_ms && !apps_count(n->apps))
		return;
	ret = store_claim(n->store);
	if (ret && ret != -EAGAIN && ret != -EALREADY)
		log_debug("the ownership cannot be claimed: %s", strerror(-ret));
	n->claim_ms = now + NODE_TICK_MS;
}

static void on_changed(void *arg, const struct store_status *s)
{
	struct node *n = arg;

	bool owner = s->state == STORE_OWNER && s->held; /* what is restored is acknowledged */

	n->status = *s;
	if (n->owner && !owner)
		lose(n);
	else if (!n->owner && owner)
		win(n);
	try_claim(n);
	tell_role(n);
}

static void on_lease(void *arg, uint64_t until_ns)
{
	struct node *n = arg;

	n->status.lease_until_ns = until_ns;
	if (n->owner)
		__atomic_store_n(&n->fence->lease_until_ns, until_ns, __ATOMIC_RELEASE);
}

static void on_committed(void *arg, uint64_t ticket)
{
	serve_committed(arg, ticket);
}

static bool configured(const struct conf_takeover *t, const char *node)
{
	for (size_t i = 0; i < t->node_count; i++)
		if (!strcmp(node, t->nodes[i].node))
			return true;
	return false;
}

int node_hand(struct node *n, const char *to)
{
	const struct conf_takeover *t = &n->conf->takeover;
	uint64_t here = apps_services(n->apps);
	const char *able;
	uint32_t cursor = 0;
	struct conn *c;
	int ret = -ENOTCONN;

	if (!n->owner)
		return -EPERM;
	if (to && !strcmp(to, n->conf->id))
		return -EINVAL;
	if (to && !t->redis && !configured(t, to))
		return -ENOENT;
	able = store_able(n->store, to, here, ~0ull);
	if (able)
		to = able;
	else if (here && store_able(n->store, to, 0, 0))
		return -ENOPKG; /* clients would wait there */
	/* what the next owner is to know is complete, and as new as can be */
	__atomic_store_n(&n->fence->closed_until_ns, clock_boot_ns() + CLOSED_NS, __ATOMIC_RELEASE);
	ring_buffer__consume(n->ring);
	while ((c = conns_next(n->conns, &cursor)))
		serve_put(n, c);
	for (size_t i = 0; i < t->node_count && ret; i++)
		if (!to || !strcmp(to, t->nodes[i].node))
			ret = store_hand(n->store, t->nodes[i].node);
	if (t->redis)
		ret = store_hand(n->store, to);
	if (!ret)
		n->counts.handed++;
	else
		n->fence->closed_until_ns = 0;
	return ret;
}

static void on_asked(void *arg, const char *to)
{
	int ret = node_hand(arg, to);

	if (ret)
		log_warning("node %s asks to serve, but cannot now: %s", to, node_explain(ret, to));
}

void node_fail_over(struct node *n, uint64_t services, const char *why)
{
	const char *to = store_able(n->store, NULL, apps_services(n->apps), services);

	if (to && !node_hand(n, to)) {
		log_info("the group goes to node %s: %s", to, why);
	} else if (!n->stranded) {
		n->stranded = true;
		log_warning("%s, and no other node has one and every record: clients wait for the "
			    "first that comes, here or there",
			    why);
	}
}

void node_applications(struct node *n)
{
	uint64_t here = apps_services(n->apps), missing;

	store_offer(n->store, here);
	if (!n->owner || n->stopping)
		return;
	n->wanted |= here;
	missing = n->wanted ? n->wanted & ~here : ~0ull;
	if (!missing)
		n->stranded = false;
	else if (clock_boot_ns() >= n->fence->closed_until_ns &&
		 (n->wanted || store_able(n->store, NULL, 0, missing)))
		node_fail_over(n, missing, "an application is not here");
}

static void announce(struct node *n, uint64_t now)
{
	const struct conf_takeover *t = &n->conf->takeover;

	for (size_t i = 0; i < t->address_count; i++)
		announce_send(n->announcer, n->ifindex, &t->addresses[i].addr);
	n->announce_ms = now + n->announce_wait_ms;
	n->announce_wait_ms = 2 * n->announce_wait_ms < ANNOUNCE_LAST_MS ? 2 * n->announce_wait_ms
									 : ANNOUNCE_LAST_MS;
}

/* A frame may be lost, and who takes over when it is cut off from everybody has told nobody: no
 * link changes when a switch's port comes back, and neighbours would believe what they heard last
 * for up to a minute. */
void node_announce(struct node *n)
{
	n->announce_wait_ms = NODE_TICK_MS;
	announce(n, clock_ms());
}

/* ---- events ------------------------------------------------------------------ */

static void on_ring(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;

	(void)fd;
	(void)what;
	ring_buffer__consume(n->ring);
}

static void on_probe(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;
	uint32_t next;

	(void)fd;
	(void)what;
	node_applications(n);
	takeover_deliver(n);
	next = takeover_probe(n, clock_ms());
	if (next) {
		struct timeval tv = {.tv_sec = next / 1000, .tv_usec = next % 1000 * 1000};

		event_add(n->probe_event, &tv);
	}
}

void node_probe_soon(struct node *n)
{
	event_active(n->probe_event, EV_TIMEOUT, 0);
}

/* The configuration may prefer a service that goes on without protection to one that stands still.
 */
static void watch_store(struct node *n, uint64_t now)
{
	uint32_t cursor = 0, from, to;
	bool stalled = n->owner && commits_count(n->commits) && now - n->commit_ms > STALL_MS;
	struct conn *c;

	if (!commits_count(n->commits))
		n->commit_ms = now;
	if (!n->conf->takeover.open_on_loss || stalled == n->opened)
		return;
	n->opened = stalled;
	if (stalled)
		log_error(
			"NOTHING IS PROTECTED NOW: commits have not come back for %u ms (%s), and "
			"on-store-loss = open lets acknowledgements out all the same",
			STALL_MS, *n->status.why ? n->status.why : "no reason known");
	else
		log_info("commits come back: acknowledgements wait for them again");
	from = stalled ? GUARD_ACTIVE : GUARD_OPEN;
	to = stalled ? GUARD_OPEN : GUARD_ACTIVE;
	while ((c = conns_next(n->conns, &cursor)))
		if (c->slot != CONN_NO_SLOT && n->slots[c->slot].mode == from)
			n->slots[c->slot].mode = to;
}

static void watch_load(struct node *n, uint64_t now)
{
	const struct conf_takeover *t = &n->conf->takeover;
	uint32_t percent = load_tick(n->load), count = conns_count(n->conns);
	const char *to;
	bool cpu = t->give_away_cpu && percent >= t->give_away_cpu;
	bool crowd = t->give_away_connections && count > t->give_away_connections;

	if (!n->owner || now < n->overload_ms || (!cpu && !crowd))
		return;
	n->overload_ms = now + OVERLOAD_MS;
	to = store_able(n->store, NULL, apps_services(n->apps), ~0ull);
	if (!to || node_hand(n, to))
		return;
	log_info("the group goes to another node: %u connections, processors %u %% busy", count,
		 percent);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval tick = {.tv_usec = NODE_TICK_MS * 1000};
	struct node *n = arg;
	uint64_t now = clock_ms();

	(void)fd;
	(void)what;
	node_applications(n);
	if (n->owner)
		serve_tick(n, now);
	if (n->owner && now >= n->announce_ms)
		announce(n, now);
	watch_store(n, now);
	if (now / 1000 != (now - NODE_TICK_MS) / 1000)
		watch_load(n, now);
	try_claim(n);
	event_add(n->tick_event, &tick);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	node_stop(arg);
}

/* ---- setting up ---------------------------------------------------------------- */

static int open_data_plane(struct node *n)
{
	struct guard_options options = {
		.name = n->conf->name,
		.slots = n->conf->takeover.max_connections,
		.embryo_rate = EMBRYO_RATE,
	};
	const struct conf_takeover *t = &n->conf->takeover;
	struct hf_addr addresses[CONF_ADDRESSES_MAX];
	struct loader_error err;
	int ret;

	if (guard_open(&options, &n->guard, &err))
		goto failed;
	n->fence = guard_fence(n->guard);
	n->slots = guard_slots(n->guard);
	/* what another daemon left: its ownership ended with it */
	n->fence->lease_until_ns = 0;
	ret = guard_clear(n->guard);
	if (ret) {
		log_error("what another daemon left in the data plane cannot be cleared: %s",
			  strerror(-ret));
		return ret;
	}
	for (size_t i = 0; i < t->address_count; i++)
		addresses[i] = t->addresses[i].addr;
	ret = guard_addresses(n->guard, addresses, t->address_count);
	if (ret) {
		log_error("the guarded addresses cannot be written into the data plane: %s",
			  strerror(-ret));
		return ret;
	}
	if (guard_attach(n->guard, n->ifindex, &err))
		goto failed;
	n->ring = ring_buffer__new(guard_map_fd(n->guard, GUARD_MAP_EVENTS), serve_event, n, NULL);
	return n->ring ? 0 : -ENOMEM;
failed:
	log_error("%s", err.text);
	return -EINVAL;
}

/* The data plane is there: it keeps the addresses silent until this node owns them. */
static int add_addresses(struct node *n)
{
	for (size_t i = 0; i < n->conf->takeover.address_count; i++) {
		const struct conf_address *a = &n->conf->takeover.addresses[i];
		int ret = vip_add(n->netlink, n->ifindex, &a->addr, a->len);

		if (ret) {
			log_error("an address of [takeover] cannot be put on %s: %s",
				  n->conf->takeover.interface, strerror(-ret));
			return ret;
		}
	}
	return 0;
}

/* An interface that went down has lost its IPv6 addresses, and whoever manages the network may have
 * taken others. */
static void on_netlink(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;

	(void)fd;
	(void)what;
	if (netlink_dispatch(n->netlink) & (NETLINK_LINKS | NETLINK_ADDRESSES) &&
	    !add_addresses(n) && n->owner)
		node_announce(n);
}

static int open_store(struct node *n)
{
	static const struct store_ops ops = {
		.changed = on_changed,
		.lease = on_lease,
		.committed = on_committed,
		.asked = on_asked,
	};
	const struct conf_takeover *t = &n->conf->takeover;
	struct store_config c = {
		.group = t->group,
		.node = n->conf->id,
		.lease_ms = t->lease,
		.heartbeat_ms = t->heartbeat ? t->heartbeat : t->lease / 5,
		.port = n->conf->port,
		.key = t->key,
		.peer_count = t->node_count,
		.redis_host = t->redis_host,
		.redis_port = t->redis_port,
		.redis_user = *t->redis_user ? t->redis_user : NULL,
		.redis_password = *t->redis_password ? t->redis_password : NULL,
		.replicas = t->replicas,
	};
	char err[256];
	int ret;

	if (n->conf->point_count)
		c.listen = n->conf->points[0];
	for (size_t i = 0; i < t->node_count; i++) {
		memcpy(c.peers[i].node, t->nodes[i].node, sizeof(c.peers[i].node));
		c.peers[i].addr = t->nodes[i].addr;
		c.peers[i].port = t->nodes[i].port ? t->nodes[i].port : n->conf->port;
	}
	ret = (t->redis ? store_redis_open : store_direct_open)(n->base, &c, &ops, n, &n->store,
								err, sizeof(err));
	if (ret)
		log_error("%s", err);
	return ret;
}

static int open_apps(struct node *n)
{
	char path[CONF_PATH_LEN + HF_NAME_LEN + 8];
	int ret;

	snprintf(path, sizeof(path), "%s/%s.app", n->conf->run_dir, n->conf->name);
	ret = apps_open(n->base, path, n->conf->takeover.gid, n->conf->id, &serve_ops, n, &n->apps);
	if (ret)
		log_error("the applications' socket %s cannot be made: %s", path, strerror(-ret));
	return ret;
}

static int open_senders(struct node *n)
{
	int ret = segment_open(&n->sender);

	if (!ret)
		ret = announce_open(&n->announcer);
	if (ret)
		log_error("raw sockets cannot be opened: %s", strerror(-ret));
	return ret;
}

static int allocate(struct node *n)
{
	n->conns =
		conns_new(n->conf->takeover.max_connections, 2 * n->conf->takeover.max_connections);
	n->commits = commits_new();
	n->embryos = embryos_new();
	n->load = load_new();
	n->points = points_new(n->guard, &n->conf->takeover);
	n->tools = restore_tools_new();
	return n->conns && n->commits && n->embryos && n->load && n->points && n->tools ? 0
											: -ENOMEM;
}

/* What is needed from here on: packets of our own, sockets that are made again (ports below 1024
 * too), maps. */
static int drop_capabilities(void)
{
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN, CAP_NET_RAW,
			  CAP_BPF, CAP_PERFMON, CAP_NET_BIND_SERVICE, -1))
		return -EPERM;
	return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

/* Commits and the lease wait for this process, which is busy for microseconds at a time: on a
 * machine with more to do than it can, an owner that does not get its turn for a lease's time is
 * none any more. A short slice (from Linux 6.12 on) brings the turn sooner, needs no privilege, and
 * unlike a realtime policy leaves it on the CPU where its caller is. */
static void hurry(void)
{
	struct sched_attr a = {
		.size = sizeof(a), .sched_policy = 0, .sched_nice = -20, .sched_runtime = SLICE_NS};

	if (!syscall(SYS_sched_setattr, 0, &a, 0))
		return;
	a.sched_nice = 0;
	if (syscall(SYS_sched_setattr, 0, &a, 0))
		log_debug("no precedence over other processes: %s", strerror(errno));
}

static int set_up(struct node *n)
{
	int ret = ctl_open(n->base, n->conf->run_dir, n->conf->name, node_command, n, &n->ctl);

	if (ret) {
		if (ret == -EADDRINUSE)
			log_error("a daemon named '%s' runs already; `holdfast status %s` shows it",
				  n->conf->name, n->conf->name);
		else
			log_error("the control socket %s/%s.sock cannot be made: %s",
				  n->conf->run_dir, n->conf->name, strerror(-ret));
		return ret;
	}
	n->ifindex = if_nametoindex(n->conf->takeover.interface);
	ret = open_data_plane(n);
	if (!ret)
		ret = allocate(n);
	if (!ret)
		ret = netlink_open(&n->netlink);
	if (!ret)
		ret = add_addresses(n);
	if (!ret)
		ret = open_senders(n);
	if (!ret)
		ret = open_apps(n);
	n->tick_event = evtimer_new(n->base, on_tick, n);
	n->probe_event = evtimer_new(n->base, on_probe, n);
	if (!ret)
		n->netlink_event = event_new(n->base, netlink_fd(n->netlink), EV_READ | EV_PERSIST,
					     on_netlink, n);
	if (!ret && (!n->tick_event || !n->probe_event || !n->netlink_event ||
		     event_add(n->netlink_event, NULL)))
		ret = -ENOMEM;
	if (!ret)
		ret = open_store(n);
	hurry();
	if (!ret && drop_capabilities()) {
		log_error("capabilities cannot be dropped");
		ret = -EPERM;
	}
	return ret;
}

static void tear_down(struct node *n)
{
	struct loader_error err;

	n->stopping = true;
	if (n->owner)
		lose(n); /* applications hear it before the store tells the others */
	store_close(n->store);
	apps_close(n->apps);
	if (n->ring)
		ring_buffer__free(n->ring);
	for (size_t i = 0; n->fence && n->netlink && i < n->conf->takeover.address_count; i++)
		vip_del(n->netlink, n->ifindex, &n->conf->takeover.addresses[i].addr);
	conns_free(n->conns);
	commits_free(n->commits);
	embryos_free(n->embryos);
	load_free(n->load);
	points_free(n->points);
	if (n->guard && guard_remove(n->guard, &err))
		log_error("%s", err.text);
	segment_close(n->sender);
	restore_tools_free(n->tools);
	announce_close(n->announcer);
	if (n->netlink_event)
		event_free(n->netlink_event);
	netlink_close(n->netlink);
	ctl_close(n->ctl);
	if (n->tick_event)
		event_free(n->tick_event);
	if (n->probe_event)
		event_free(n->probe_event);
}

int node_run(struct conf *conf, int ready_fd)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGQUIT};
	struct event *events[4] = {0};
	struct node *n = calloc(1, sizeof(*n));
	int ret;

	if (!n)
		return -ENOMEM;
	n->conf = conf;
	n->role = ~0u;
	n->started_ms = clock_ms();
	signal(SIGPIPE, SIG_IGN);
	n->base = event_base_new();
	ret = n->base ? set_up(n) : -ENOMEM;
	if (ret)
		goto out;
	for (int i = 0; i < 3; i++) {
		events[i] = evsignal_new(n->base, signals[i], on_signal, n);
		event_add(events[i], NULL);
	}
	events[3] = event_new(n->base, ring_buffer__epoll_fd(n->ring), EV_READ | EV_PERSIST,
			      on_ring, n);
	event_add(events[3], NULL);
	on_tick(-1, 0, n);
	log_info("%s: ready as server, node %s of group '%s'", conf->name, conf->id,
		 conf->takeover.group);
	if (ready_fd >= 0) {
		if (write(ready_fd, "\n", 1) < 0)
			log_debug("nobody waits for this daemon to be ready");
		close(ready_fd);
	}
	event_base_dispatch(n->base);
	log_info("%s: stopping", conf->name);
out:
	for (int i = 0; i < 4; i++)
		if (events[i])
			event_free(events[i]);
	tear_down(n);
	if (n->base)
		event_base_free(n->base);
	free(n);
	return ret;
}
