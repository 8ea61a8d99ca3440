/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* holdfast flows: read from the pinned maps, so that it works while the daemon does not. */
#include <bpf/bpf.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/addr.h"
#include "control/cli/cli.h"
#include "control/clock.h"
#include "control/flow.h"
#include "loader/loader.h"

struct printer {
	struct loader *loader;
	struct table *table;
	json_t *list;
	unsigned long limit;
	unsigned long count;
	uint32_t now_ms;
};

/* RFC 9293's names as far as both directions' flags tell them. */
static const char *state_of(uint8_t proto, const struct flow_val *v)
{
	if (proto != IPPROTO_TCP)
		return "-";
	if ((v->tcp_up | v->tcp_down) & HF_TCP_RST)
		return "RESET";
	if (v->tcp_up & v->tcp_down & HF_TCP_FIN)
		return "CLOSED";
	if ((v->tcp_up | v->tcp_down) & HF_TCP_FIN)
		return "CLOSING";
	if (!(v->tcp_down & HF_TCP_SYN))
		return "SYN-SENT";
	return "ESTABLISHED";
}

static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_TCP ? "tcp" : proto == IPPROTO_UDP ? "udp" : "icmp";
}

static int print(void *arg, const struct flow_key *key, const struct flow_val *val)
{
	struct printer *p = arg;
	struct assoc_val assoc = loader_assocs(p->loader)[key->assoc % HF_ASSOCS_MAX];
	char inner[INET6_ADDRSTRLEN], server[INET6_ADDRSTRLEN], from[64], to[64];
	uint32_t idle_up = p->now_ms - val->last_up, idle_down = p->now_ms - val->last_down, idle;
	uint32_t age = p->now_ms - val->created;
	uint32_t index = key->service;
	const struct hf_addr *host;
	struct service_val s;

	if (bpf_map_lookup_elem(loader_map_fd(p->loader, LOADER_SERVICE_TABLE), &index, &s) ||
	    !s.used || !assoc.used)
		return 0;
	if (p->limit && p->count++ >= p->limit)
		return 1;
	idle = val->last_down && idle_down < idle_up ? idle_down : idle_up;
	host = addr_is_v4(&s.addr) ? &assoc.host4 : &assoc.host6;
	addr_format(host, inner);
	addr_format(&s.addr, server);
	if (p->list) {
		json_array_append_new(
			p->list,
			json_pack("{s:s,s:s,s:s,s:i,s:s,s:i,s:s,s:I,s:I,s:i}", "assoc", assoc.name,
				  "protocol", proto_name(s.proto), "inner", inner, "port",
				  ntohs(key->port), "server", server, "server_port", ntohs(s.port),
				  "state", state_of(s.proto, val), "idle_ms", (json_int_t)idle,
				  "age_ms", (json_int_t)age, "emulator", ntohs(s.emulator)));
		return 0;
	}
	snprintf(from, sizeof(from), strchr(inner, ':') ? "[%s]:%u" : "%s:%u", inner,
		 ntohs(key->port));
	snprintf(to, sizeof(to), strchr(server, ':') ? "[%s]:%u" : "%s:%u", server, ntohs(s.port));
	table_add(p->table,
		  (const char *[]){assoc.name, proto_name(s.proto), from, to,
				   state_of(s.proto, val), text_us((json_int_t)idle * 1000),
				   text_us((json_int_t)age * 1000)});
	return 0;
}

static int own(void *arg, int opt, const char *value)
{
	struct printer *p = arg;
	char *end;

	(void)opt;
	p->limit = strtoul(value, &end, 10);
	return *end || end == value ? -1 : 0;
}

int cli_flows(struct cli *c, int argc, char **argv)
{
	static const char *const heads[] = {"ASSOCIATION", "PROTOCOL", "INNER", "SERVER",
					    "STATE",       ">IDLE",    ">AGE"};
	static const struct option longs[] = {{"limit", required_argument, NULL, 'l'}, {0}};
	struct printer p = {.limit = 1000, .now_ms = clock_ms()};
	struct loader_options options = {.adopt_only = true};
	struct loader_error err;
	char name[128];
	int first, ret;

	first = cli_options(c, argc, argv, longs, own, &p, &ret);
	if (first < 0)
		return ret;
	if (argc - first > 1)
		return cli_misuse(c, "one NAME at most");
	if (argc > first)
		c->name = argv[first];
	options.name = cli_instance(c, name, sizeof(name));
	if (!options.name)
		return 1;
	ret = loader_open(&options, false, &p.loader, &err);
	if (ret)
		return cli_fail(c, "%s", err.text);
	if (c->json)
		p.list = json_array();
	else
		p.table = table_new(heads, 7);
	ret = flow_each(loader_map_fd(p.loader, LOADER_FLOWS), print, &p);
	if (p.table)
		table_print(p.table);
	if (p.list)
		cli_print_json(p.list);
	if (ret > 0 && !c->json)
		fprintf(stderr, "holdfast flows: more than %lu; --limit=0 shows all\n", p.limit);
	loader_close(p.loader);
	return ret < 0 ? cli_fail(c, "the flow map cannot be read: %s", strerror(-ret)) : 0;
}
