/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What single lines cannot show: what is missing, and what does not go together. */
#include "control/conf_check.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/addr.h"
#include "control/conf_reader.h"

static bool fail(struct conf_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static bool fail(struct conf_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return false;
}

static bool in_pools(const struct conf *c, const struct hf_addr *a)
{
	for (size_t i = 0; i < c->pool_count; i++)
		if (addr_prefix_overlap(a, addr_is_v4(a) ? 32 : 128, &c->pools[i].addr,
					c->pools[i].len))
			return true;
	return false;
}

static bool check_services(const struct conf *c, struct conf_error *err)
{

	for (size_t i = 0; i < c->service_count; i++) {
		const struct conf_service *s = &c->services[i];

		if (addr_is_zero(&s->addr))
			return fail(err, "section [service %s] names no server", s->name);
		if (s->proto == IPPROTO_ICMP && s->port)
			return fail(err, "section [service %s]: protocol icmp has no port",
				    s->name);
		if (s->proto != IPPROTO_ICMP && !s->port)
			return fail(err, "section [service %s]: the server needs a port", s->name);
		if (!s->emulator)
			return fail(err, "section [service %s] names no emulator port", s->name);
		if (s->proto == IPPROTO_ICMP && s->emulator % HF_ECHO_BLOCK)
			return fail(err,
				    "section [service %s]: for icmp the emulator is the first of "
				    "%u identifiers and must be a multiple of %u",
				    s->name, HF_ECHO_BLOCK, HF_ECHO_BLOCK);
		if (s->emulator == c->port && s->proto != IPPROTO_ICMP)
			return fail(err, "section [service %s]: emulator %u is the control port",
				    s->name, s->emulator);
		for (size_t j = 0; j < i; j++) {
			const struct conf_service *o = &c->services[j];

			if (o->proto != s->proto)
				continue;
			if (o->emulator == s->emulator)
				return fail(err, "services '%s' and '%s' have the same emulator %u",
					    o->name, s->name, s->emulator);
			if (o->port == s->port && addr_equal(&o->addr, &s->addr))
				return fail(err, "services '%s' and '%s' name the same server",
					    o->name, s->name);
		}
	}
	return true;
}

static bool check_anchor(const struct conf *c, struct conf_error *err)
{
	bool v4 = false, v6 = false;

	if (c->anchor_count || c->uplink_count)
		return fail(err, "[anchor] and [uplink] sections belong to role mobile");
	if (!c->point_count)
		return fail(err,
			    "an anchor needs 'points', the addresses at which mobiles reach it, "
			    "in [holdfast]");
	if (!c->pool_count)
		return fail(err, "an anchor needs 'pool', the inner addresses of its mobiles, in "
				 "[holdfast]");
	if (!c->mobile_count)
		return fail(
			err,
			"an anchor needs a section [mobile ID] for each mobile that may connect");
	if (!c->service_count)
		return fail(err, "an anchor needs at least one section [service NAME]");
	for (size_t i = 0; i < c->pool_count; i++) {
		if (addr_is_v4(&c->pools[i].addr))
			v4 = true;
		else
			v6 = true;
		for (size_t p = 0; p < c->point_count; p++)
			if (in_pools(c, &c->points[p]))
				return fail(err, "a point lies inside a pool");
		for (size_t s = 0; s < c->service_count; s++)
			if (in_pools(c, &c->services[s].addr))
				return fail(err, "the server of service '%s' lies inside a pool",
					    c->services[s].name);
	}
	if (!check_services(c, err))
		return false;
	for (size_t s = 0; s < c->service_count; s++)
		if (!(addr_is_v4(&c->services[s].addr) ? v4 : v6))
			return fail(err, "service '%s' needs an %s pool", c->services[s].name,
				    addr_is_v4(&c->services[s].addr) ? "IPv4" : "IPv6");
	for (size_t i = 0; i < c->mobile_count; i++) {
		const struct conf_mobile *m = &c->mobiles[i];

		if (!*m->key_file)
			return fail(err, "section [mobile %s] names no key file", m->id);
		if ((!addr_is_zero(&m->host4) && !in_pools(c, &m->host4)) ||
		    (!addr_is_zero(&m->host6) && !in_pools(c, &m->host6)))
			return fail(err, "the address of mobile '%s' lies in no pool", m->id);
		for (size_t j = 0; j < i; j++)
			if ((!addr_is_zero(&m->host4) &&
			     addr_equal(&m->host4, &c->mobiles[j].host4)) ||
			    (!addr_is_zero(&m->host6) &&
			     addr_equal(&m->host6, &c->mobiles[j].host6)))
				return fail(err, "mobiles '%s' and '%s' have the same address",
					    c->mobiles[j].id, m->id);
	}
	return true;
}

static bool check_mobile(const struct conf *c, struct conf_error *err)
{

	if (c->mobile_count || c->service_count || c->pool_count || c->point_count)
		return fail(err, "'points', 'pool', [mobile] and [service] belong to role anchor");
	if (!*c->id)
		return fail(err,
			    "a mobile needs its 'id' in [holdfast], the name of its section at "
			    "the anchor");
	if (!c->anchor_count)
		return fail(err, "a mobile needs a section [anchor NAME]");
	if (!c->uplink_count)
		return fail(err,
			    "a mobile needs a section [uplink INTERFACE] for each interface it "
			    "may use");
	for (size_t i = 0; i < c->anchor_count; i++) {
		if (!*c->anchors[i].key_file)
			return fail(err, "section [anchor %s] names no key file",
				    c->anchors[i].name);
		if (!c->anchors[i].point_count)
			return fail(err, "section [anchor %s] names no 'points'",
				    c->anchors[i].name);
	}
	for (size_t i = 0; i < c->uplink_count; i++)
		if (!c->uplinks[i].optional && !if_nametoindex(c->uplinks[i].ifname))
			return fail(err,
				    "interface '%s' of [uplink %s] does not exist; say 'optional = "
				    "yes' if it may come later",
				    c->uplinks[i].ifname, c->uplinks[i].ifname);
	return true;
}

bool conf_check(const struct conf *c, struct conf_error *err)
{
	if (!c->role)
		return fail(err, "'role' is missing in [holdfast]: mobile, anchor or server");
	if (c->role == HF_ROLE_SERVER)
		return conf_check_server(c, err);
	if (c->takeover.address_count || c->takeover.node_count)
		return fail(err, "[takeover] and [node] sections belong to role server");
	return c->role == HF_ROLE_ANCHOR ? check_anchor(c, err) : check_mobile(c, err);
}
