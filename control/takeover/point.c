/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/point.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/addr.h"
#include "control/conf.h"
#include "loader/guard.h"

struct point {
	struct guard_point_key key;
	char service[HF_NAME_LEN];
};

struct points {
	struct guard *guard;
	const struct conf_takeover *conf;
	struct point list[GUARD_POINTS_MAX];
	size_t count;
};

struct points *points_new(struct guard *g, const struct conf_takeover *conf)
{
	struct points *p = calloc(1, sizeof(*p));

	if (p) {
		p->guard = g;
		p->conf = conf;
	}
	return p;
}

void points_free(struct points *p)
{
	free(p);
}

static struct point *find(struct points *p, const struct hf_addr *addr, __be16 port)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->list[i].key.port == port && addr_equal(&p->list[i].key.addr, addr))
			return &p->list[i];
	return NULL;
}

static int add(struct points *p, const struct hf_addr *addr, __be16 port, const char *service)
{
	struct guard_point_val val = {.id = p->count + 1};
	struct point *old = find(p, addr, port), *new;

	if (old && !*old->service)
		snprintf(old->service, sizeof(old->service), "%s", service);
	if (old)
		return *service && strcmp(old->service, service) ? -EADDRINUSE : 0;
	if (p->count == GUARD_POINTS_MAX)
		return -ENOBUFS;
	new = &p->list[p->count];
	new->key = (struct guard_point_key){.addr = *addr, .port = port};
	snprintf(new->service, sizeof(new->service), "%s", service);
	if (bpf_map_update_elem(guard_map_fd(p->guard, GUARD_MAP_POINTS), &new->key, &val, BPF_ANY))
		return -errno;
	p->count++;
	return 0;
}

static bool wildcard(const struct hf_addr *a)
{
	return addr_is_v4(a) ? !a->w[3] : addr_is_zero(a);
}

int points_add(struct points *p, const struct hf_addr *addr, __be16 port, bool dual,
	       const char *service)
{
	int found = 0;

	for (size_t i = 0; i < p->conf->address_count; i++) {
		const struct hf_addr *ours = &p->conf->addresses[i].addr;
		int ret;

		if (wildcard(addr) ? !dual && addr_is_v4(ours) != addr_is_v4(addr)
				   : !addr_equal(ours, addr))
			continue;
		ret = add(p, ours, port, service);
		if (ret)
			return ret;
		found++;
	}
	return found ? 0 : -EADDRNOTAVAIL;
}

const char *points_service(struct points *p, const struct guard_key *key)
{
	const struct point *found = find(p, &key->local, key->local_port);

	return found ? found->service : NULL;
}
