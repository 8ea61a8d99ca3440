/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Slices of a sweep. BPF_MAP_LOOKUP_BATCH is the one walk through a hash map that stops and goes on
 * where user space says. It stops at a number of flows and knows no limit for empty places, two
 * million of which take it a millisecond: so a slice asks for as many flows as lie in SLICE_PLACES,
 * which those before it tell. Where few are, landmarks see to it that the next is never far: keys
 * of no association and no service, which the hash spreads over a large map.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "loader/private.h"

#define SLICE_PLACES  (1u << 17)
#define MARKED_PLACES (1u << 19) /* a smaller map is walked in some tenths of a millisecond */
#define MARK_PLACES   (1u << 13)

void sweep_mark(int flows_fd)
{
	struct flow_key key = {.assoc = ~0u, .service = UINT16_MAX};
	struct bpf_map_info info = {0};
	const struct flow_val val = {0};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(flows_fd, &info, &len) < 0 || info.max_entries <= MARKED_PLACES)
		return;
	for (uint32_t i = 0; i < info.max_entries / MARK_PLACES; i++) {
		key.port = (__be16)i;
		/* one that finds no place is missed by nobody: the map is full of others */
		bpf_map_update_elem(flows_fd, &key, &val, BPF_ANY);
	}
}

static int judge(int prog_fd, struct sweep_args *args, struct loader_sweep *s)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = args, .ctx_size_in = sizeof(*args));

	if (!args->count)
		return 0;
	if (bpf_prog_test_run_opts(prog_fd, &opts) < 0)
		return -errno;
	s->expired += args->expired;
	s->live += args->live;
	args->count = 0;
	return (int32_t)opts.retval;
}

/* Twice or half as many: by how much more, one slice alone does not tell, as flows lie unevenly. */
static void adapt(struct loader_sweep *s)
{
	if (s->walked > SLICE_PLACES && s->size > 1)
		s->size /= 2;
	else if (s->walked <= SLICE_PLACES / 2 && s->size < LOADER_SLICE_FLOWS)
		s->size *= 2;
}

int loader_sweep(const struct loader *l, const struct sweep_limits *limits, struct loader_sweep *s)
{
	struct sweep_args args = {.limits = *limits};
	struct flow_key keys[LOADER_SLICE_FLOWS];
	struct flow_val vals[LOADER_SLICE_FLOWS];
	uint32_t from = s->next, *in = s->size ? &from : NULL;
	int err, ret = 0;

	if (!in)
		s->size = 1;
	s->seen = s->size;
	err = bpf_map_lookup_batch(l->map_fd[LOADER_FLOWS], in, &s->next, keys, vals, &s->seen,
				   NULL);
	err = err < 0 ? errno : 0;
	/* more flows in one place than were asked for */
	if (err == ENOSPC && s->size < LOADER_SLICE_FLOWS) {
		s->walked = s->next - from;
		s->size *= 2;
		return 1;
	}
	if (err && err != ENOENT)
		return -err;
	s->walked = s->next - from;
	for (uint32_t i = 0; i < s->seen && ret == 0; i++) {
		if (keys[i].assoc < HF_ASSOCS_MAX)
			args.keys[args.count++] = keys[i];
		if (args.count == HF_SWEEP_KEYS)
			ret = judge(l->prog_fd[PROG_FLOW_SWEEP], &args, s);
	}
	if (ret == 0)
		ret = judge(l->prog_fd[PROG_FLOW_SWEEP], &args, s);
	if (ret < 0)
		return ret;
	adapt(s);
	return err != ENOENT;
}
