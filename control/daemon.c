/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Setting up in order, the loop, taking down in reverse. */
#include "control/daemon.h"

#include <cap-ng.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "control/addr.h"
#include "control/clock.h"
#include "control/command.h"
#include "control/flowevent.h"
#include "control/log.h"
#include "control/path/deliver.h"
#include "control/path/path.h"
#include "control/path/pump.h"
#include "control/path/tun.h"
#include "control/peer/assoc.h"
#include "control/service.h"
#include "control/sweep.h"

#define TICK_IDLE_US 50000u
#define SWEEP_MS     5000u
#define RECEIVE_MAX  64 /* datagrams before others get their turn */
#define PUMP_MAX     512
#define ENDING_MS    500u
#define POINTS_SPARE 64 /* room for what appears between counting and reading */

const struct netlink_link *daemon_link(const struct daemon *d, uint32_t ifindex)
{
	for (int i = 0; i < d->link_count; i++)
		if (d->links[i].ifindex == ifindex)
			return &d->links[i];
	return NULL;
}

const struct netlink_link *daemon_link_named(const struct daemon *d, const char *name)
{
	for (int i = 0; i < d->link_count; i++)
		if (!strcmp(d->links[i].name, name))
			return &d->links[i];
	return NULL;
}

static void schedule(struct daemon *d, uint64_t us)
{
	struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	event_add(d->tick_event, &tv);
}

void daemon_wake(struct daemon *d)
{
	struct timeval due, now;

	if (!d->tick_event)
		return;
	/* never later than it is due already, or constant waking would put it off for ever */
	if (event_pending(d->tick_event, EV_TIMEOUT, &due) && !gettimeofday(&now, NULL)) {
		struct timeval left;

		timersub(&due, &now, &left);
		if (left.tv_sec < 0 || (!left.tv_sec && left.tv_usec < 1000))
			return;
	}
	schedule(d, 1000);
}

/* ---- events ------------------------------------------------------------ */

/* A look-up in the routing table for every path: where routes change all the time, no more than a
 * tenth of it. */
static void follow_ways(struct daemon *d)
{
	uint64_t began = clock_ms(), now;

	if (!d->ways_changed || began < d->ways_due_ms)
		return;
	d->ways_changed = false;
	anchor_ways_changed(d);
	now = clock_ms();
	d->ways_due_ms = now + 10 * (now - began);
}

static void follow_points(struct daemon *d, int changed);

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	uint64_t now = clock_us(), next = TICK_IDLE_US;
	bool ending = false;
	int held;

	(void)fd;
	(void)what;
	pump_tick(d, now / 1000);
	flowevents_consume(d->flowevents);
	if (d->points_due)
		follow_points(d, 0);
	follow_ways(d);
	for (uint32_t i = 0; i < d->assoc_top; i++) {
		struct assoc *a = d->assocs[i];
		uint64_t us;

		if (!a)
			continue;
		if (!a->doomed)
			assoc_tick(a, now, TICK_IDLE_US);
		if (a->doomed) {
			command_publish_state(d, a);
			assoc_free(a);
			continue;
		}
		if (a->state == ASSOC_ENDING && now / 1000 < a->ending_ms)
			ending = true;
		us = a->due_us > now ? a->due_us - now : 1000;
		if (us < next)
			next = us;
	}
	if (d->stopping && !ending) {
		event_base_loopbreak(d->base);
		return;
	}
	held = hold_next_ms(d->hold, now / 1000);
	if (held >= 0 && held * 1000u < next)
		next = held ? held * 1000u : 1000;
	schedule(d, next);
}

/* The kernel does not tell of a reverse-path filter that becomes strict in a way that netlink.c
 * listens to. */
static void follow_settings(struct daemon *d)
{
	for (uint32_t i = 0; i < d->assoc_top; i++) {
		const struct path *p = d->assocs[i] ? d->assocs[i]->current : NULL;

		if (!p ||
		    !(path_stamps(p)->flags & HF_PATH_IN_PLACE) == !deliver_in_place(d, p->ifindex))
			continue;
		d->points_due = NETLINK_ALL;
		daemon_wake(d);
		return;
	}
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	follow_settings(d);
	sweep_begin(d->sweep);
}

static void on_udp(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)what;
	for (int i = 0; i < RECEIVE_MAX; i++) {
		uint8_t data[2048];
		struct udp_ends ends;
		ssize_t n = udp_receive(fd, data, sizeof(data), &ends);

		if (n < 0)
			return;
		if (n == sizeof(struct wire_probe)) {
			struct wire_probe probe;

			memcpy(&probe, data, sizeof(probe));
			/* requests are the data plane's to answer; one that comes here is from a
			 * stranger */
			if (probe.magic == htonl(WIRE_PROBE_MAGIC)) {
				if (probe.kind != WIRE_PROBE_REPLY ||
				    !path_answer(d, &probe, &ends.local, &ends.peer, clock_us()))
					d->reasons[HF_REASON_CTL_ADDRESS]++;
				continue;
			}
		}
		if (n > (ssize_t)sizeof(data)) {
			d->reasons[HF_REASON_CTL_SHORT]++;
			continue;
		}
		assoc_receive(d, data, n, &ends);
	}
}

static void on_tun(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pump_read(arg, PUMP_MAX);
}

static void on_flowevent(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flowevents_consume(((struct daemon *)arg)->flowevents);
}

static int fill_links(struct netlink *nl, void *list, size_t max)
{
	return netlink_links(nl, list, max);
}

static int fill_addresses(struct netlink *nl, void *list, size_t max)
{
	return netlink_addresses(nl, list, max);
}

/* A host may have any number of both. What is read replaces what was, or nothing changes. Returns
 * the number or a negative errno. */
static int read_list(struct netlink *nl, int (*fill)(struct netlink *, void *, size_t), size_t each,
		     void **list)
{
	void *fresh = NULL;
	int n = 0, size;

	do {
		free(fresh);
		size = n + POINTS_SPARE;
		fresh = calloc(size, each);
		if (!fresh)
			return -ENOMEM;
		n = fill(nl, fresh, size);
	} while (n > size);
	if (n < 0) {
		free(fresh);
		return n;
	}
	free(*list);
	*list = fresh;
	return n;
}

static int read_points(struct daemon *d)
{
	void *links = d->links, *addresses = d->addresses;
	int n = read_list(d->netlink, fill_links, sizeof(*d->links), &links);

	if (n < 0)
		return n;
	d->links = links;
	d->link_count = n;
	n = read_list(d->netlink, fill_addresses, sizeof(*d->addresses), &addresses);
	if (n < 0)
		return n;
	d->addresses = addresses;
	d->address_count = n;
	return 0;
}

static bool attached(const struct daemon *d, uint32_t ifindex)
{
	struct loader_attachment list[64];
	int n = loader_attachments(d->loader, list, 64);

	for (int i = 0; i < n && i < 64; i++)
		if (list[i].ifindex == ifindex)
			return true;
	return false;
}

static void attach_nic(struct daemon *d, const struct netlink_link *l, enum loader_mode mode)
{
	struct loader_error err;
	enum loader_mode used;

	if (attached(d, l->ifindex))
		return;
	if (loader_attach(d->loader, l->ifindex, LOADER_NIC, mode, &used, &err))
		log_error("%s", err.text);
	else
		log_info("attached to %s (%s)", l->name, loader_mode_name(used));
}

/* Interfaces in use that have no program yet: also those that appear later. */
static void attach_all(struct daemon *d)
{
	/* XDP pays where packets are forwarded; for traffic that ends here tc, after GRO, beats it.
	 */
	enum loader_mode mode = d->conf->role == HF_ROLE_MOBILE && d->conf->mode == LOADER_MODE_AUTO
					? LOADER_MODE_TC
					: d->conf->mode;

	for (size_t i = 0; i < d->conf->uplink_count; i++) {
		const struct netlink_link *l = daemon_link_named(d, d->conf->uplinks[i].ifname);

		if (l)
			attach_nic(d, l, mode);
	}
	for (size_t i = 0; i < d->conf->interface_count; i++) {
		const struct netlink_link *l = daemon_link_named(d, d->conf->interfaces[i]);

		if (l)
			attach_nic(d, l, mode);
	}
	for (size_t i = 0; i < d->conf->point_count; i++)
		for (int n = 0; n < d->address_count; n++) {
			const struct netlink_link *l = daemon_link(d, d->addresses[n].ifindex);

			if (l && l->ifindex != d->tun_ifindex &&
			    addr_equal(&d->addresses[n].addr, &d->conf->points[i]))
				attach_nic(d, l, mode);
		}
}

/* ---- hf0's MTU ---------------------------------------------------------- */

static bool any_v6(const struct hf_addr *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!addr_is_v4(&list[i]))
			return true;
	return false;
}

static void lower(uint32_t *mtu, const struct netlink_link *l)
{
	if (l && l->mtu && l->mtu < *mtu)
		*mtu = l->mtu;
}

/* The smallest MTU of the interfaces that carry outer packets, so that the kernel itself tells
 * senders on both sides what fits; less where the families may differ, as an IPv6 header is 20
 * bytes longer than an IPv4 one and a fragment's takes 8 more (RFC 7915 section 4.1). Never below
 * IPv6's minimum: the kernel would take IPv6 off the device. */
#define FAMILY_GROWTH (20 + 8)

static uint32_t tun_mtu(const struct daemon *d)
{
	bool v6 = any_v6(d->conf->points, d->conf->point_count);
	uint32_t mtu = 65535;

	for (size_t i = 0; i < d->conf->uplink_count; i++)
		lower(&mtu, daemon_link_named(d, d->conf->uplinks[i].ifname));
	for (size_t i = 0; i < d->conf->point_count; i++)
		for (int n = 0; n < d->address_count; n++)
			if (addr_equal(&d->addresses[n].addr, &d->conf->points[i]))
				lower(&mtu, daemon_link(d, d->addresses[n].ifindex));
	for (size_t a = 0; a < d->conf->anchor_count; a++)
		v6 |= any_v6(d->conf->anchors[a].points, d->conf->anchors[a].point_count);
	if (mtu == 65535)
		mtu = 1500;
	if (v6)
		mtu -= FAMILY_GROWTH;
	return mtu > 1280 ? mtu : 1280;
}

static void follow_mtu(struct daemon *d)
{
	uint32_t mtu = tun_mtu(d);

	if (mtu == d->tun_mtu)
		return;
	if (netlink_set_link(d->netlink, d->tun_ifindex, true, mtu))
		log_warning("the MTU of %s cannot be set to %u", d->conf->device, mtu);
	d->tun_mtu = mtu;
}

static void follow_points(struct daemon *d, int changed)
{
	static unsigned long long said_ms;

	/* A list that changes faster than it is read: the next tick tries again. */
	d->points_due |= changed;
	if (read_points(d)) {
		if (log_allowed(&said_ms, 1000))
			log_warning("links and addresses could not be read; trying on");
		return;
	}
	d->points_due = 0;
	attach_all(d);
	follow_mtu(d);
	if (d->conf->role == HF_ROLE_MOBILE) {
		mobile_points_changed(d);
	} else {
		d->ways_changed = true;
		follow_ways(d);
	}
}

static void on_netlink(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	int changed = netlink_dispatch(d->netlink);

	(void)fd;
	(void)what;
	if (changed > 0)
		follow_points(d, changed);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)what;
	daemon_stop(arg, sig == SIGQUIT);
}

void daemon_stop(struct daemon *d, bool keep)
{
	uint64_t now = clock_ms();

	if (d->stopping)
		return;
	d->stopping = true;
	d->keep = keep;
	/* A CONNECT under way would bring to life what is about to end. */
	for (uint32_t i = 0; i < d->assoc_top; i++) {
		if (!d->assocs[i])
			continue;
		tls_client_cancel(d->assocs[i]->tls);
		d->assocs[i]->tls = NULL;
	}
	if (!keep && d->conf->role == HF_ROLE_MOBILE) {
		for (uint32_t i = 0; i < d->assoc_top; i++) {
			struct assoc *a = d->assocs[i];

			if (!a || a->state != ASSOC_CONNECTED)
				continue;
			a->state = ASSOC_ENDING;
			a->ending_ms = now + ENDING_MS;
			assoc_send(a, a->current, WIRE_DISCONNECT, 0, 0);
		}
	}
	daemon_wake(d);
}

/* ---- up and down ------------------------------------------------------- */

static int write_sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static bool sysctl_is(const char *path, char want)
{
	char c = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, &c, 1) != 1)
		c = 0;
	close(fd);
	return c == want;
}

static void set_device(const struct daemon *d, const char *family, const char *key,
		       const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, d->conf->device, key);
	write_sysctl(path, value);
}

/* hf0 forwards: to servers on other hosts; and the kernel tells the data plane a neighbour's MAC
 * address only for a device that does (bpf/hop.h), a mobile's too. */
static void prepare_device(const struct daemon *d)
{
	set_device(d, "ipv4", "forwarding", "1");
	set_device(d, "ipv6", "forwarding", "1");
	if (d->conf->role == HF_ROLE_ANCHOR)
		set_device(d, "ipv4", "rp_filter", "0");
}

/* Servers on other hosts are reached by forwarding. The host's setting is not ours: say so. */
static void check_forwarding(struct daemon *d)
{
	bool remote4 = false, remote6 = false;

	for (size_t i = 0; i < d->conf->service_count; i++) {
		const struct hf_addr *addr = &d->conf->services[i].addr;
		bool here = false;

		for (int n = 0; n < d->address_count; n++)
			here |= addr_equal(&d->addresses[n].addr, addr);
		if (!here)
			*(addr_is_v4(addr) ? &remote4 : &remote6) = true;
	}
	if (remote4 && !sysctl_is("/proc/sys/net/ipv4/ip_forward", '1'))
		snprintf(d->warning, sizeof(d->warning),
			 "IPv4 forwarding is off, servers on other hosts are not reached: sysctl "
			 "net.ipv4.ip_forward=1");
	else if (remote6 && !sysctl_is("/proc/sys/net/ipv6/conf/all/forwarding", '1'))
		snprintf(d->warning, sizeof(d->warning),
			 "IPv6 forwarding is off, servers on other hosts are not reached: sysctl "
			 "net.ipv6.conf.all.forwarding=1");
	if (*d->warning)
		log_warning("%s", d->warning);
}

static int adopt(struct daemon *d)
{
	for (uint32_t i = 0; i < HF_ASSOCS_MAX; i++) {
		struct assoc *a;

		if (!d->assoc_map[i].used)
			continue;
		a = assoc_adopt(d, i);
		if (!a)
			return -ENOMEM;
		if (a->role != d->conf->role) {
			log_warning("%s: pinned by a daemon of another role: removed", a->name);
			assoc_free(a);
		}
	}
	return 0;
}

static int open_device(struct daemon *d)
{
	char why[256];
	int ret;

	ret = tun_open(d->conf->device, &d->tun_fd, &d->tun_ifindex, &d->adopted, why, sizeof(why));
	if (ret) {
		log_error("%s", why);
		d->tun_fd = -1;
		return ret;
	}
	d->tun_mtu = tun_mtu(d);
	ret = netlink_set_link(d->netlink, d->tun_ifindex, true, d->tun_mtu);
	if (ret)
		log_error("%s cannot be set up: %s", d->conf->device, strerror(-ret));
	return ret;
}

static int open_data_plane(struct daemon *d)
{
	struct loader_options options = {
		.name = d->conf->name,
		.max_flows = d->conf->max_flows,
		.tun_ifindex = d->tun_ifindex,
		.control_port = d->conf->port,
	};
	struct loader_error err;
	int ret;

	ret = loader_open(&options, true, &d->loader, &err);
	if (ret) {
		log_error("%s", err.text);
		return ret;
	}
	d->assoc_map = loader_assocs(d->loader);
	d->path_map = loader_paths(d->loader);
	d->services = services_new(d);
	d->park = park_new(d->conf->park_bytes, d->conf->park_total_bytes);
	d->hold = hold_new();
	d->flowevents = flowevents_new(d);
	d->sweep = sweep_new(d);
	if (!d->services || !d->park || !d->hold || !d->flowevents || !d->sweep)
		return -ENOMEM;
	ret = adopt(d);
	if (ret)
		return ret;
	/* The programs before the address and the associations: from the first packet on the
	 * kernel's own stack answers nothing on emulator ports. */
	ret = loader_attach(d->loader, d->tun_ifindex, LOADER_TUN, LOADER_MODE_TC, NULL, &err);
	if (ret) {
		log_error("%s", err.text);
		return ret;
	}
	attach_all(d);
	return 0;
}

/* What is needed from here on: packets of our own (NET_ADMIN, NET_RAW), maps and programs (BPF,
 * PERFMON). */
static int drop_capabilities(void)
{
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN, CAP_NET_RAW,
			  CAP_BPF, CAP_PERFMON, -1))
		return -EPERM;
	return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

static struct event *watch(struct daemon *d, int fd, short what, event_callback_fn fn)
{
	struct event *e = fd < 0 ? NULL : event_new(d->base, fd, what, fn, d);

	if (e)
		event_add(e, NULL);
	return e;
}

int daemon_run(struct conf *conf, int ready_fd)
{
	struct event *events[8] = {0};
	const struct timeval sweep = {.tv_sec = SWEEP_MS / 1000};
	struct loader_error err;
	struct daemon *d;
	int ret;

	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->conf = conf;
	d->tun_fd = -1;
	d->udp.fd4 = d->udp.fd6 = -1;
	d->started_ms = clock_ms();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	d->base = event_base_new();
	if (!d->base) {
		ret = -ENOMEM;
		goto out;
	}
	/* The socket first: it says that another daemon has the name before anything is touched. */
	ret = ctl_open(d->base, conf->run_dir, conf->name, command_request, d, &d->ctl);
	if (ret) {
		if (ret == -EADDRINUSE)
			log_error("a daemon named '%s' runs already; `holdfast status %s` shows it",
				  conf->name, conf->name);
		else
			log_error("the control socket %s/%s.sock cannot be made: %s", conf->run_dir,
				  conf->name, strerror(-ret));
		goto out;
	}
	ret = netlink_open(&d->netlink);
	if (!ret)
		ret = read_points(d);
	if (ret) {
		log_error("netlink does not work here: %s", strerror(-ret));
		goto out;
	}
	ret = udp_open(conf->port, &d->udp);
	if (ret) {
		log_error("UDP port %u cannot be opened: %s; choose another with 'port' in "
			  "[holdfast] at both ends",
			  conf->port, strerror(-ret));
		goto out;
	}
	ret = open_device(d);
	if (ret)
		goto out;
	ret = open_data_plane(d);
	if (ret)
		goto out;
	ret = conf->role == HF_ROLE_MOBILE ? mobile_start(d) : anchor_start(d);
	if (ret)
		goto out;
	prepare_device(d);
	if (conf->role == HF_ROLE_ANCHOR)
		check_forwarding(d);
	ret = drop_capabilities();
	if (ret) {
		log_error("capabilities cannot be dropped");
		goto out;
	}

	d->tick_event = evtimer_new(d->base, on_tick, d);
	d->sweep_event = event_new(d->base, -1, EV_PERSIST, on_sweep, d);
	events[0] = watch(d, d->udp.fd4, EV_READ | EV_PERSIST, on_udp);
	events[1] = watch(d, d->udp.fd6, EV_READ | EV_PERSIST, on_udp);
	events[2] = watch(d, d->tun_fd, EV_READ | EV_PERSIST, on_tun);
	events[3] = watch(d, netlink_fd(d->netlink), EV_READ | EV_PERSIST, on_netlink);
	events[4] = watch(d, SIGTERM, EV_SIGNAL | EV_PERSIST, on_signal);
	events[5] = watch(d, SIGINT, EV_SIGNAL | EV_PERSIST, on_signal);
	events[6] = watch(d, SIGQUIT, EV_SIGNAL | EV_PERSIST, on_signal);
	events[7] = watch(d, flowevents_fd(d->flowevents), EV_READ | EV_PERSIST, on_flowevent);
	event_add(d->sweep_event, &sweep);
	schedule(d, 1000);
	log_info("%s: ready as %s, port %u", conf->name,
		 conf->role == HF_ROLE_MOBILE ? "mobile" : "anchor", conf->port);
	if (ready_fd >= 0) {
		if (write(ready_fd, "\n", 1) < 0)
			log_debug("nobody waits for this daemon to be ready");
		close(ready_fd); /* hooks would inherit it */
	}
	event_base_dispatch(d->base);
	log_info("%s: stopping%s", conf->name, d->keep ? ", the data plane stays" : "");
out:
	/* A start that fails must not take away what a daemon before left working. */
	if (ret && d->adopted)
		d->keep = true;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]);
	anchor_stop(d);
	for (uint32_t i = 0; i < HF_ASSOCS_MAX; i++) {
		struct assoc *a = d->assocs[i];

		if (!a)
			continue;
		if (!d->keep && d->loader) {
			assoc_free(a);
			continue;
		}
		/* the maps stay: only our memory goes */
		tls_client_cancel(a->tls);
		proto_keys_free(a->keys);
		while (a->paths) {
			struct path *p = a->paths;

			a->paths = p->next;
			free(p);
		}
		free(a);
	}
	if (d->tick_event)
		event_free(d->tick_event);
	if (d->sweep_event)
		event_free(d->sweep_event);
	if (d->keep)
		loader_close(d->loader);
	else if (d->loader && loader_remove(d->loader, &err))
		log_error("%s", err.text);
	if (d->tun_fd >= 0) {
		if (d->keep)
			close(d->tun_fd);
		else
			tun_remove(d->tun_fd);
	}
	flowevents_free(d->flowevents);
	sweep_free(d->sweep);
	services_free(d->services);
	park_free(d->park);
	hold_free(d->hold);
	udp_close(&d->udp);
	netlink_close(d->netlink);
	ctl_close(d->ctl);
	if (d->base)
		event_base_free(d->base);
	free(d->links);
	free(d->addresses);
	free(d);
	return ret;
}
