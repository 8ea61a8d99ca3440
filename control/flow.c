/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/flow.h"

#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "control/clock.h"
#include "control/daemon.h"
#include "control/peer/assoc.h"
#include "control/service.h"

#define BATCH 4096

int flow_each(int map_fd, flow_fn *fn, void *arg)
{
	struct flow_key *keys = calloc(BATCH, sizeof(*keys));
	struct flow_val *vals = calloc(BATCH, sizeof(*vals));
	uint32_t next = 0;
	bool first = true;
	int ret = 0;

	if (!keys || !vals) {
		ret = -ENOMEM;
		goto out;
	}
	for (;;) {
		uint32_t n = BATCH;
		int err = bpf_map_lookup_batch(map_fd, first ? NULL : &next, &next, keys, vals, &n,
					       NULL);

		err = err ? errno : 0;
		if (err && err != ENOENT) {
			ret = -err;
			break;
		}
		for (uint32_t i = 0; i < n && !ret; i++)
			ret = fn(arg, &keys[i], &vals[i]);
		if (err || ret)
			break;
		first = false;
	}
out:
	free(keys);
	free(vals);
	return ret;
}

struct gather {
	const struct assoc *a;
	struct wire_flow *list;
	uint32_t count;
	uint32_t size;
};

static int gather(void *arg, const struct flow_key *key, const struct flow_val *val)
{
	struct gather *g = arg;
	const struct service *s;

	if (key->assoc != g->a->index || !(s = services_at(g->a->d, key->service)))
		return 0;
	if (g->count == WIRE_CONNECT_FLOWS_MAX)
		return 1;
	if (g->count == g->size) {
		uint32_t size = g->size ? 2 * g->size : 64;
		struct wire_flow *list = realloc(g->list, size * sizeof(*list));

		if (!list)
			return -ENOMEM;
		g->list = list;
		g->size = size;
	}
	g->list[g->count++] = (struct wire_flow){
		.emulator = s->val.emulator,
		.port = key->port,
		.proto = s->val.proto,
		.tcp_up = val->tcp_up,
		.tcp_down = val->tcp_down,
	};
	return 0;
}

int flow_announce(const struct assoc *a, struct wire_flow **ret, uint32_t *ret_count)
{
	struct gather g = {.a = a};
	int err = 0;

	if (__atomic_load_n(&a->d->assoc_map[a->index].flows, __ATOMIC_RELAXED))
		err = flow_each(loader_map_fd(a->d->loader, LOADER_FLOWS), gather, &g);
	if (err < 0) {
		free(g.list);
		return err;
	}
	*ret = g.list;
	*ret_count = g.count;
	return 0;
}

int flow_install(struct assoc *a, const struct wire_flow *list, uint32_t count)
{
	struct daemon *d = a->d;
	int fd = loader_map_fd(d->loader, LOADER_FLOWS);
	struct assoc_val *v = &d->assoc_map[a->index];
	uint32_t now = clock_ms();

	for (uint32_t i = 0; i < count; i++) {
		struct flow_key key = {.assoc = a->index, .port = list[i].port};
		struct flow_val val = {
			.last_up = now,
			.last_down = now,
			.created = now,
			.tcp_up = list[i].tcp_up,
			.tcp_down = list[i].tcp_down,
			.flags = HF_FLOW_ANNOUNCED,
		};
		__be16 emulator = list[i].emulator;
		uint32_t service;

		if (list[i].proto == IPPROTO_ICMP)
			emulator = htons(ntohs(emulator) & ~(HF_ECHO_BLOCK - 1));
		service = services_find(d, v->scope, list[i].proto, emulator);
		if (service == HF_SERVICES_MAX) /* no longer offered */
			continue;
		key.service = service;
		if (__atomic_add_fetch(&v->flows, 1, __ATOMIC_RELAXED) > v->max_flows) {
			__atomic_sub_fetch(&v->flows, 1, __ATOMIC_RELAXED);
			return -ENOSPC;
		}
		if (bpf_map_update_elem(fd, &key, &val, BPF_NOEXIST)) {
			int err = errno;

			__atomic_sub_fetch(&v->flows, 1, __ATOMIC_RELAXED);
			if (err != EEXIST)
				return -ENOSPC;
		}
	}
	return 0;
}
