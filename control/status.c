/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/status.h"

#include <string.h>
#include <unistd.h>

#include "control/addr.h"
#include "control/clock.h"
#include "control/daemon.h"
#include "control/peer/assoc.h"
#include "control/service.h"

static const char *const reason_keys[] = {
#define REASON_KEY(symbol, key, text) [HF_REASON_##symbol] = key,
	HF_REASONS(REASON_KEY)
#undef REASON_KEY
};

static json_t *address(const struct hf_addr *a)
{
	char text[INET6_ADDRSTRLEN];

	return addr_is_zero(a) ? json_null() : json_string(addr_format(a, text));
}

static const char *health_name(const struct path *p)
{
	switch (p->health) {
	case PATH_ALIVE:
		return "alive";
	case PATH_DEAD:
		return "dead";
	default:
		return "unknown";
	}
}

static const char *use_name(const struct assoc *a, const struct path *p)
{
	if (p == a->current)
		return "current";
	if (p == a->target)
		return "target";
	if (p->accepted)
		return "graced";
	return "standby";
}

static json_t *status_path(const struct assoc *a, const struct path *p)
{
	const struct path_val *v = path_stamps(p);
	const struct netlink_link *l = daemon_link(a->d, p->ifindex);
	json_t *j = json_object();

	json_object_set_new(j, "interface", l ? json_string(l->name) : json_null());
	json_object_set_new(j, "local", address(&p->local));
	json_object_set_new(j, "peer", address(&p->peer));
	json_object_set_new(j, "use", json_string(use_name(a, p)));
	json_object_set_new(j, "health", json_string(health_name(p)));
	json_object_set_new(j, "validated", json_boolean(p->validated));
	json_object_set_new(j, "rtt_us", p->rtt_us ? json_integer(p->rtt_us) : json_null());
	json_object_set_new(j, "cost", json_integer(p->cost / CONF_POINTS_MAX));
	json_object_set_new(j, "tx_packets", json_integer(v->tx_packets));
	json_object_set_new(j, "tx_bytes", json_integer(v->tx_bytes));
	json_object_set_new(j, "rx_packets", json_integer(v->rx_packets));
	json_object_set_new(j, "rx_bytes", json_integer(v->rx_bytes));
	return j;
}

static const char *state_name(const struct assoc *a)
{
	static const char *const modes[] = {"down", "active", "parked"};
	uint16_t mode = HF_ROUTE_MODE(a->d->assoc_map[a->index].route);

	if (a->role == HF_ROLE_MOBILE && a->state != ASSOC_CONNECTED)
		return a->tls ? "connecting" : "apart";
	if (a->sm.state != SWITCH_SETTLED)
		return switch_state_name(a->sm.state);
	return mode == HF_MODE_ACTIVE ? "connected" : modes[mode % 3];
}

json_t *status_assoc(const struct assoc *a)
{
	const struct daemon *d = a->d;
	json_t *j = json_object(), *paths = json_array();

	json_object_set_new(j, "name", json_string(a->name));
	json_object_set_new(j, "index", json_integer(a->index));
	json_object_set_new(j, "role",
			    json_string(a->role == HF_ROLE_MOBILE ? "mobile" : "anchor"));
	json_object_set_new(j, "state", json_string(state_name(a)));
	json_object_set_new(j, "connected", json_boolean(a->state == ASSOC_CONNECTED && a->keys));
	json_object_set_new(j, "trouble", *a->trouble ? json_string(a->trouble) : json_null());
	json_object_set_new(j, "epoch", json_integer(a->epoch));
	json_object_set_new(j, "inner4", address(&a->host4));
	json_object_set_new(j, "inner6", address(&a->host6));
	json_object_set_new(j, "flows", json_integer(d->assoc_map[a->index].flows));
	json_object_set_new(j, "max_flows", json_integer(d->assoc_map[a->index].max_flows));
	json_object_set_new(j, "switches", json_integer(a->switches));
	json_object_set_new(j, "last_switch",
			    *a->last_switch ? json_string(a->last_switch) : json_null());
	json_object_set_new(j, "last_switch_us", json_integer(a->last_switch_us));
	json_object_set_new(j, "last_switch_parked", json_integer(a->switch_parked));
	json_object_set_new(j, "parked_packets", json_integer(park_packets(d->park, a->index)));
	json_object_set_new(j, "parked_total", json_integer(a->parked_total));
	for (const struct path *p = a->paths; p; p = p->next) {
		if (a->role == HF_ROLE_MOBILE && !p->present && p != a->current)
			continue;
		json_array_append_new(paths, status_path(a, p));
	}
	json_object_set_new(j, "paths", paths);
	return j;
}

json_t *status_reasons(struct daemon *d)
{
	uint64_t counts[HF_REASON_COUNT] = {0};
	json_t *j = json_object();

	loader_reasons(d->loader, counts);
	for (int i = 1; i < HF_REASON_COUNT; i++)
		json_object_set_new(j, reason_keys[i], json_integer(counts[i] + d->reasons[i]));
	return j;
}

json_t *status_daemon(struct daemon *d)
{
	static const char *const protos[] = {[1] = "icmp", [6] = "tcp", [17] = "udp"};
	struct loader_attachment list[32];
	json_t *j = json_object(), *assocs = json_array(), *services = json_array(),
	       *nics = json_array();
	int n;

	json_object_set_new(j, "name", json_string(d->conf->name));
	json_object_set_new(j, "role",
			    json_string(d->conf->role == HF_ROLE_MOBILE ? "mobile" : "anchor"));
	json_object_set_new(j, "device", json_string(d->conf->device));
	json_object_set_new(j, "port", json_integer(d->conf->port));
	json_object_set_new(j, "pid", json_integer(getpid()));
	json_object_set_new(j, "uptime_ms", json_integer(clock_ms() - d->started_ms));
	json_object_set_new(j, "warning", *d->warning ? json_string(d->warning) : json_null());
	json_object_set_new(j, "max_flows", json_integer(d->conf->max_flows));
	json_object_set_new(j, "parked_bytes", json_integer(park_total_bytes(d->park)));
	n = loader_attachments(d->loader, list, sizeof(list) / sizeof(list[0]));
	for (int i = 0; i < n && i < 32; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "interface", json_string(list[i].ifname));
		json_object_set_new(o, "mode", json_string(loader_mode_name(list[i].mode)));
		json_array_append_new(nics, o);
	}
	json_object_set_new(j, "attached", nics);
	for (uint32_t i = 0; i < d->assoc_top; i++)
		if (d->assocs[i])
			json_array_append_new(assocs, status_assoc(d->assocs[i]));
	json_object_set_new(j, "assocs", assocs);
	for (uint32_t i = 1; i < HF_SERVICES_MAX; i++) {
		const struct service *s = services_at(d, i);
		json_t *o;

		if (!s)
			continue;
		o = json_object();
		json_object_set_new(o, "index", json_integer(i));
		json_object_set_new(o, "name", json_string(s->name));
		json_object_set_new(o, "protocol",
				    json_string(s->val.proto < 18 && protos[s->val.proto]
							? protos[s->val.proto]
							: "?"));
		json_object_set_new(o, "server", address(&s->val.addr));
		json_object_set_new(o, "port", json_integer(ntohs(s->val.port)));
		json_object_set_new(o, "emulator", json_integer(ntohs(s->val.emulator)));
		json_array_append_new(services, o);
	}
	json_object_set_new(j, "services", services);
	json_object_set_new(j, "counters", status_reasons(d));
	return j;
}
