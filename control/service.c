/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/service.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/addr.h"
#include "control/daemon.h"

struct services {
	struct service list[HF_SERVICES_MAX]; /* index 0 is never used */
};

static uint32_t scope_of(const struct daemon *d, const struct service_val *v)
{
	return d->conf->role == HF_ROLE_MOBILE ? v->assoc + 1 : 0;
}

struct services *services_new(struct daemon *d)
{
	struct services *s = calloc(1, sizeof(*s));
	int fd = loader_map_fd(d->loader, LOADER_SERVICE_TABLE);

	if (!s)
		return NULL;
	for (uint32_t i = 1; i < HF_SERVICES_MAX; i++)
		if (bpf_map_lookup_elem(fd, &i, &s->list[i].val))
			memset(&s->list[i], 0, sizeof(s->list[i]));
	return s;
}

void services_free(struct services *s)
{
	free(s);
}

static void keys_of(uint32_t scope, const struct service_val *v, struct service_key *inner,
		    struct emulator_key *outer)
{
	*inner = (struct service_key){.addr = v->addr, .port = v->port, .proto = v->proto};
	*outer = (struct emulator_key){.scope = scope, .port = v->emulator, .proto = v->proto};
}

static void drop(struct daemon *d, uint32_t index)
{
	struct service *s = &d->services->list[index];
	struct emulator_key outer;
	struct service_key inner;

	keys_of(scope_of(d, &s->val), &s->val, &inner, &outer);
	bpf_map_delete_elem(loader_map_fd(d->loader, LOADER_SERVICES), &inner);
	bpf_map_delete_elem(loader_map_fd(d->loader, LOADER_EMULATORS), &outer);
	memset(s, 0, sizeof(*s));
	bpf_map_update_elem(loader_map_fd(d->loader, LOADER_SERVICE_TABLE), &index, &s->val,
			    BPF_ANY);
}

static int add(struct daemon *d, uint32_t scope, uint32_t assoc, const struct wire_service *w)
{
	struct service_val v = {
		.addr = w->addr,
		.port = w->port,
		.emulator = w->emulator,
		.proto = w->proto,
		.used = 1,
		.assoc = assoc,
	};
	struct emulator_key outer;
	struct service_key inner;
	struct service *s;
	uint32_t i;

	for (i = 1; i < HF_SERVICES_MAX && d->services->list[i].val.used; i++)
		;
	if (i == HF_SERVICES_MAX)
		return -ENOSPC;
	s = &d->services->list[i];
	keys_of(scope, &v, &inner, &outer);
	/* the table first: an index must not be found before what it names is there */
	if (bpf_map_update_elem(loader_map_fd(d->loader, LOADER_SERVICE_TABLE), &i, &v, BPF_ANY))
		return -errno;
	if (bpf_map_update_elem(loader_map_fd(d->loader, LOADER_EMULATORS), &outer, &i,
				BPF_NOEXIST))
		return -errno;
	if (bpf_map_update_elem(loader_map_fd(d->loader, LOADER_SERVICES), &inner, &i,
				BPF_NOEXIST)) {
		int ret = -errno;

		bpf_map_delete_elem(loader_map_fd(d->loader, LOADER_EMULATORS), &outer);
		return ret;
	}
	s->val = v;
	memcpy(s->name, w->name, sizeof(s->name));
	return 0;
}

static bool same(const struct service_val *v, const struct wire_service *w)
{
	return v->proto == w->proto && v->port == w->port && v->emulator == w->emulator &&
	       addr_equal(&v->addr, &w->addr);
}

int services_set(struct daemon *d, uint32_t scope, uint32_t assoc, const struct wire_service *list,
		 size_t count)
{
	int failed = 0;

	for (uint32_t i = 1; i < HF_SERVICES_MAX; i++) {
		struct service *s = &d->services->list[i];
		size_t w;

		if (!s->val.used || scope_of(d, &s->val) != scope)
			continue;
		for (w = 0; w < count && !same(&s->val, &list[w]); w++)
			;
		if (w == count)
			drop(d, i);
		else
			memcpy(s->name, list[w].name, sizeof(s->name));
	}
	for (size_t w = 0; w < count; w++) {
		uint32_t i;

		for (i = 1; i < HF_SERVICES_MAX; i++)
			if (d->services->list[i].val.used &&
			    scope_of(d, &d->services->list[i].val) == scope &&
			    same(&d->services->list[i].val, &list[w]))
				break;
		if (i == HF_SERVICES_MAX && add(d, scope, assoc, &list[w]))
			failed++;
	}
	return failed;
}

uint32_t services_find(const struct daemon *d, uint32_t scope, uint8_t proto, __be16 emulator)
{
	struct emulator_key key = {.scope = scope, .port = emulator, .proto = proto};
	uint32_t i;

	/* asked for every flow that is announced: not by going through them all */
	if (bpf_map_lookup_elem(loader_map_fd(d->loader, LOADER_EMULATORS), &key, &i) ||
	    !services_at(d, i))
		return HF_SERVICES_MAX;
	return i;
}

const struct service *services_at(const struct daemon *d, uint32_t index)
{
	if (index >= HF_SERVICES_MAX || !d->services->list[index].val.used)
		return NULL;
	return &d->services->list[index];
}
