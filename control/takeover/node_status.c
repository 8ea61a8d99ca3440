/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The daemon's state as JSON, for the control socket. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "control/addr.h"
#include "control/clock.h"
#include "control/takeover/commit.h"
#include "control/takeover/node.h"

#define CONNECTIONS_MAX 100000u

static const char *const reason_keys[] = {
#define REASON_KEY(symbol, key, text) [GUARD_REASON_##symbol] = key,
	GUARD_REASONS(REASON_KEY)
#undef REASON_KEY
};

static const char *const roles[] = {
	[HF_STANDBY] = "standby",
	[HF_SERVING] = "serving",
	[HF_ALONE] = "alone",
	[HF_LOST] = "lost",
};

static json_t *counters(struct node *n)
{
	uint64_t counts[GUARD_REASON_COUNT] = {0};
	json_t *j = json_object();

	guard_reasons(n->guard, counts);
	for (int i = 0; i < GUARD_REASON_COUNT; i++)
		json_object_set_new(j, reason_keys[i], json_integer(counts[i]));
	return j;
}

static json_int_t us(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
}

static json_t *last_takeover(const struct node *n)
{
	const struct node_takeover *t = &n->last;

	if (!t->began_ns)
		return json_null();
	return json_pack("{s:I,s:i,s:i,s:i,s:i,s:I,s:I,s:I,s:I}", "began_ns",
			 (json_int_t)t->began_ns, "records", t->records, "restored", t->restored,
			 "ready", t->ready, "lost", t->lost, "announced_us",
			 us(t->began_ns, t->announced_ns), "restored_us",
			 us(t->began_ns, t->restored_ns), "ready_us", us(t->began_ns, t->ready_ns),
			 "restoring_us", (json_int_t)(t->restore_ns / 1000));
}

json_t *node_status(struct node *n)
{
	const struct conf_takeover *t = &n->conf->takeover;
	const struct store_status *s = store_status(n->store);
	uint64_t now = clock_boot_ns();
	char text[INET6_ADDRSTRLEN];
	json_t *j = json_object(), *addresses = json_array();

	for (size_t i = 0; i < t->address_count; i++)
		json_array_append_new(addresses,
				      json_string(addr_format(&t->addresses[i].addr, text)));
	json_object_set_new(j, "name", json_string(n->conf->name));
	json_object_set_new(j, "role", json_string("server"));
	json_object_set_new(j, "pid", json_integer(getpid()));
	json_object_set_new(j, "uptime_ms", json_integer(clock_ms() - n->started_ms));
	json_object_set_new(j, "node", json_string(n->conf->id));
	json_object_set_new(j, "group", json_string(t->group));
	json_object_set_new(j, "interface", json_string(t->interface));
	json_object_set_new(j, "addresses", addresses);
	json_object_set_new(j, "store", json_string(t->redis ? "redis" : "direct"));
	json_object_set_new(j, "state", json_string(n->role < 4 ? roles[n->role] : "starting"));
	json_object_set_new(j, "owner", *s->owner ? json_string(s->owner) : json_null());
	json_object_set_new(j, "epoch", json_integer(s->epoch));
	json_object_set_new(j, "synced", json_boolean(s->synced));
	json_object_set_new(j, "ready_ms",
			    s->state == STORE_STANDBY
				    ? json_integer((us(now, s->ready_ns) + 999) / 1000)
				    : json_null());
	json_object_set_new(j, "trouble", *s->why ? json_string(s->why) : json_null());
	json_object_set_new(
		j, "lease_us",
		n->owner
			? json_integer(s->lease_until_ns == ~0ull ? -1 : us(now, s->lease_until_ns))
			: json_null());
	json_object_set_new(j, "gates_open", json_boolean(n->opened));
	json_object_set_new(j, "connections", json_integer(conns_count(n->conns)));
	json_object_set_new(j, "max_connections", json_integer(t->max_connections));
	json_object_set_new(j, "unfinished", json_integer(n->unfinished));
	json_object_set_new(j, "applications", json_integer(apps_count(n->apps)));
	json_object_set_new(j, "waiting_commits", json_integer(commits_count(n->commits)));
	json_object_set_new(j, "opened", json_integer(n->counts.opened));
	json_object_set_new(j, "commits", json_integer(n->counts.commits));
	json_object_set_new(j, "pushed", json_integer(n->counts.pushed));
	json_object_set_new(j, "takeovers", json_integer(n->counts.takeovers));
	json_object_set_new(j, "handed", json_integer(n->counts.handed));
	json_object_set_new(j, "restored", json_integer(n->counts.restored));
	json_object_set_new(j, "lost", json_integer(n->counts.lost));
	json_object_set_new(j, "probes", json_integer(n->counts.probes));
	json_object_set_new(j, "refused_commits", json_integer(n->counts.refused_commits));
	json_object_set_new(j, "resyncs", json_integer(s->resyncs));
	json_object_set_new(j, "last_takeover", last_takeover(n));
	json_object_set_new(j, "counters", counters(n));
	return j;
}

static json_t *endpoint(const struct hf_addr *a, __be16 port)
{
	char text[INET6_ADDRSTRLEN], both[INET6_ADDRSTRLEN + 10];

	addr_format(a, text);
	snprintf(both, sizeof(both), addr_is_v4(a) ? "%s:%u" : "[%s]:%u", text, ntohs(port));
	return json_string(both);
}

static json_t *connection(const struct node *n, const struct conn *c)
{
	static const char *const states[] = {"serving", "probing", "waiting", "unready", "orphan"};
	const struct guard_slot *s = c->slot == CONN_NO_SLOT ? NULL : &n->slots[c->slot];
	const struct record *r = &c->record;
	json_t *j = json_object(), *protocols = json_array();
	char id[17], bundle[17];

	snprintf(id, sizeof(id), "%016" PRIx64, r->id);
	snprintf(bundle, sizeof(bundle), "%016" PRIx64, r->bundle);
	json_object_set_new(j, "id", json_string(id));
	json_object_set_new(j, "service", json_string(r->service));
	json_object_set_new(j, "protocol", json_string(r->proto == IPPROTO_TCP ? "tcp" : "udp"));
	json_object_set_new(j, "peer", endpoint(&r->facts.key.peer, r->facts.key.peer_port));
	json_object_set_new(j, "local", endpoint(&r->facts.key.local, r->facts.key.local_port));
	json_object_set_new(j, "state", json_string(c->ending ? "ending" : states[c->state]));
	json_object_set_new(j, "bundle", r->bundle ? json_string(bundle) : json_null());
	json_object_set_new(j, "received", json_integer(s ? s->in_max : 0));
	json_object_set_new(j, "committed", json_integer(r->in_commit));
	json_object_set_new(j, "acknowledged", json_integer(s ? s->in_acked : 0));
	json_object_set_new(j, "sent", json_integer(s ? s->out_max : 0));
	json_object_set_new(j, "peer_acknowledged", json_integer(s ? s->out_acked : 0));
	for (uint32_t i = 0; i < r->protocol_count; i++)
		json_array_append_new(protocols, json_pack("{s:i,s:s?,s:I,s:i}", "protocol",
							   r->protocols[i].protocol, "object",
							   r->protocols[i].object, "object_start",
							   (json_int_t)r->protocols[i].object_start,
							   "bytes", r->protocols[i].data_len));
	json_object_set_new(j, "protocols", protocols);
	return j;
}

json_t *node_connections(struct node *n)
{
	json_t *list = json_array();
	uint32_t cursor = 0, count = 0;
	struct conn *c;

	while (count++ < CONNECTIONS_MAX && (c = conns_next(n->conns, &cursor)))
		json_array_append_new(list, connection(n, c));
	return json_pack("{s:o}", "connections", list);
}
