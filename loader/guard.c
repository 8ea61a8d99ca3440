/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Opens, attaches and removes the guard. What is in its tables: guard_table.c. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf/guard.skel.h"
#include "bpf/guard_free.skel.h"
#include "loader/private.h"

static const struct map_shape shapes[GUARD_MAP_COUNT] = {
	[GUARD_MAP_CONF] = {"guard_conf", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct guard_conf), 1},
	[GUARD_MAP_ADDRS] = {"guard_addrs", BPF_MAP_TYPE_HASH, sizeof(struct hf_addr), 4,
			     GUARD_ADDRS_MAX},
	[GUARD_MAP_POINTS] = {"guard_points", BPF_MAP_TYPE_HASH, sizeof(struct guard_point_key),
			      sizeof(struct guard_point_val), GUARD_POINTS_MAX},
	[GUARD_MAP_CONNS] = {"guard_conns", BPF_MAP_TYPE_HASH, sizeof(struct guard_key), 4, 0},
	[GUARD_MAP_SLOTS] = {"guard_slots", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct guard_slot), 0},
	[GUARD_MAP_FREE] = {"guard_free", BPF_MAP_TYPE_QUEUE, 0, 4, 0},
	[GUARD_MAP_EMBRYOS] = {"guard_embryos", BPF_MAP_TYPE_LRU_HASH, sizeof(struct guard_key),
			       sizeof(struct guard_embryo), GUARD_EMBRYOS_MAX},
	[GUARD_MAP_EVENTS] = {"guard_events", BPF_MAP_TYPE_RINGBUF, 0, 0, GUARD_EVENTS_BYTES},
	[GUARD_MAP_REASONS] = {"guard_reasons", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8,
			       GUARD_REASON_COUNT},
};

/* These have as many entries as there are slots. */
static const enum guard_map sized[] = {GUARD_MAP_SLOTS, GUARD_MAP_CONNS, GUARD_MAP_FREE};
#define SIZED_COUNT (sizeof(sized) / sizeof(sized[0]))

/* Egress first: what answers must be fenced before anything can ask. */
static const enum loader_prog progs[GUARD_PROG_COUNT] = {PROG_GUARD_OUT, PROG_GUARD_IN};

static int prog_fd(const struct guard *g, enum loader_prog prog)
{
	return g->prog_fd[prog - PROG_GUARD_IN];
}

/* ---- adopting ------------------------------------------------------------ */

static int verify_conf(const struct place *p, int fd, struct loader_error *err)
{
	struct guard_conf c = {0};
	const uint32_t zero = 0;
	char what[96];

	if (bpf_map_lookup_elem(fd, &zero, &c) < 0)
		return error_set(err, -errno, "cannot read %s/guard_conf: %s", p->maps,
				 strerror(errno));
	if (c.magic == GUARD_LAYOUT_MAGIC && c.version == GUARD_LAYOUT_VERSION)
		return 0;
	snprintf(what, sizeof(what), "guard_conf: magic %08x, version %u; expected %08x, %u",
		 c.magic, c.version, GUARD_LAYOUT_MAGIC, GUARD_LAYOUT_VERSION);
	return pin_stale(p, err, what);
}

static int entries(int fd, uint32_t *ret)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	*ret = info.max_entries;
	return 0;
}

/* Finds how many slots the adopted tables have. */
static int count_slots(struct guard *g, struct loader_error *err)
{
	uint32_t found[SIZED_COUNT];
	int ret = 0;

	for (size_t i = 0; i < SIZED_COUNT && ret == 0; i++)
		ret = entries(g->map_fd[sized[i]], &found[i]);
	if (ret < 0)
		return error_set(err, ret, "cannot examine the pins in %s: %s", g->place.maps,
				 strerror(-ret));
	for (size_t i = 1; i < SIZED_COUNT; i++)
		if (found[i] != found[0])
			return pin_stale(&g->place, err, "its tables differ in size");
	g->slot_count = found[0];
	return 0;
}

/* Opens what is pinned. Of tables that are to have another size only the addresses are of use:
 * *ret_addrs, to be closed by the caller, else -1. -ENOENT: maps are to be made. */
static int adopt(struct guard *g, uint32_t slots, int *ret_addrs, struct loader_error *err)
{
	int ret = pin_check_versions(&g->place, err);

	if (ret == 0)
		ret = pin_adopt_set(&g->place, shapes, GUARD_MAP_COUNT, verify_conf, g->map_fd,
				    err);
	if (ret == 0)
		ret = count_slots(g, err);
	if (ret < 0 || !slots || slots == g->slot_count)
		return ret;
	*ret_addrs = g->map_fd[GUARD_MAP_ADDRS];
	g->map_fd[GUARD_MAP_ADDRS] = -1;
	pin_close_all(g->map_fd, GUARD_MAP_COUNT);
	return -ENOENT;
}

/* ---- loading ------------------------------------------------------------- */

static int set_maps(struct guard_bpf *skel, const struct guard *g, struct loader_error *err)
{
	for (int i = 0; i < GUARD_MAP_COUNT; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(skel->obj, shapes[i].name);
		int ret = 0;

		if (!map)
			return error_set(err, -EINVAL, "the guard has no map \"%s\"",
					 shapes[i].name);
		if (g->map_fd[i] >= 0)
			ret = bpf_map__reuse_fd(map, g->map_fd[i]);
		for (size_t k = 0; k < SIZED_COUNT && g->map_fd[i] < 0 && ret == 0; k++)
			if (sized[k] == (enum guard_map)i)
				ret = bpf_map__set_max_entries(map, g->slot_count);
		if (ret < 0)
			return error_set(err, ret, "cannot use the map \"%s\": %s", shapes[i].name,
					 strerror(-ret));
	}
	return 0;
}

static int keep_all(struct guard_bpf *skel, struct guard *g)
{
	for (int i = 0; i < GUARD_MAP_COUNT; i++) {
		if (g->map_fd[i] >= 0)
			continue;
		g->map_fd[i] = object_keep(
			bpf_map__fd(bpf_object__find_map_by_name(skel->obj, shapes[i].name)));
		if (g->map_fd[i] < 0)
			return g->map_fd[i];
	}
	for (int i = 0; i < GUARD_PROG_COUNT; i++) {
		const char *name = object_prog_name(PROG_GUARD_IN + i);
		struct bpf_program *prog = bpf_object__find_program_by_name(skel->obj, name);

		g->prog_fd[i] = prog ? object_keep(bpf_program__fd(prog)) : -ENOENT;
		if (g->prog_fd[i] < 0)
			return g->prog_fd[i];
	}
	return 0;
}

/* The programs that empty and fill guard_free, which has been made. */
static int load_free(struct guard *g, const struct bpf_object_open_opts *opts,
		     struct loader_error *err)
{
	struct guard_free_bpf *skel = guard_free_bpf__open_opts(opts);
	int ret;

	if (!skel)
		return error_set(err, -errno, "cannot open the data plane (guard_free): %s",
				 error_heard());
	ret = bpf_map__reuse_fd(skel->maps.guard_free, g->map_fd[GUARD_MAP_FREE]);
	if (ret == 0)
		ret = guard_free_bpf__load(skel);
	if (ret < 0) {
		ret = object_explain(ret, "guard_free", false, opts->kernel_log_buf, err);
		goto out;
	}
	g->drain_fd = object_keep(bpf_program__fd(skel->progs.guard_drain));
	g->fill_fd = object_keep(bpf_program__fd(skel->progs.guard_fill));
	ret = g->drain_fd < 0 ? g->drain_fd : g->fill_fd < 0 ? g->fill_fd : 0;
	if (ret < 0)
		error_set(err, ret, "cannot keep the data plane (guard_free): %s", strerror(-ret));
out:
	guard_free_bpf__destroy(skel);
	return ret;
}

static int load(struct guard *g, struct loader_error *err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts);
	struct guard_bpf *skel = NULL;
	int ret = object_log_make(&opts, err);

	if (ret < 0)
		return ret;
	error_listen();
	skel = guard_bpf__open_opts(&opts);
	if (!skel)
		ret = error_set(err, -errno, "cannot open the data plane (guard): %s",
				error_heard());
	else
		ret = set_maps(skel, g, err);
	if (ret < 0)
		goto out;
	ret = guard_bpf__load(skel);
	if (ret < 0) {
		ret = object_explain(ret, "guard", false, opts.kernel_log_buf, err);
		goto out;
	}
	ret = keep_all(skel, g);
	if (ret < 0) {
		error_set(err, ret, "cannot keep the data plane (guard): %s", strerror(-ret));
		goto out;
	}
	opts.kernel_log_buf[0] = '\0';
	ret = load_free(g, &opts, err);
out:
	guard_bpf__destroy(skel);
	error_unlisten();
	free(opts.kernel_log_buf);
	return ret;
}

/* ---- setting up ---------------------------------------------------------- */

static int copy_addresses(struct guard *g, int from)
{
	struct hf_addr addr;
	const struct hf_addr *last = NULL;
	int ret = 0;

	while (ret == 0 && bpf_map_get_next_key(from, last, &addr) == 0) {
		ret = guard_address(g, &addr);
		last = &addr;
	}
	return ret;
}

/* Fills maps that were made just now. */
static int set_up(struct guard *g, int old_addrs, struct loader_error *err)
{
	const struct guard_conf c = {
		.magic = GUARD_LAYOUT_MAGIC,
		.version = GUARD_LAYOUT_VERSION,
		.slots = g->slot_count,
	};
	const uint32_t zero = 0;
	int ret = 0;

	if (bpf_map_update_elem(g->map_fd[GUARD_MAP_CONF], &zero, &c, BPF_ANY) < 0)
		ret = -errno;
	if (ret == 0)
		ret = guard_fill(g);
	if (ret == 0 && old_addrs >= 0)
		ret = copy_addresses(g, old_addrs);
	return ret < 0 ? error_set(err, ret, "cannot fill the guard's maps: %s", strerror(-ret))
		       : 0;
}

static int replace_attached(struct guard *g, struct loader_error *err)
{
	struct record *list = NULL;
	int n, ret = 0;

	error_listen();
	n = attach_list(&g->place, &list);
	if (n < 0)
		ret = error_set(err, n, "cannot read %s: %s", g->place.links, strerror(-n));
	for (int i = 0; i < n && ret == 0; i++)
		if (list[i].prog >= PROG_GUARD_IN)
			ret = attach_tc(&g->place, list[i].prog, prog_fd(g, list[i].prog),
					list[i].ifindex, err);
	error_unlisten();
	free(list);
	return ret;
}

static int pin_programs(const struct guard *g, struct loader_error *err)
{
	char path[sizeof(g->place.progs) + 32];
	int ret = 0;

	for (size_t i = 0; i < GUARD_PROG_COUNT && ret == 0; i++) {
		snprintf(path, sizeof(path), "%s/%s", g->place.progs, object_prog_name(progs[i]));
		ret = pin_replace(prog_fd(g, progs[i]), path, err);
	}
	return ret;
}

static int share_all(struct guard *g, struct loader_error *err)
{
	void *memory = NULL;
	int ret;

	ret = pin_share(g->map_fd[GUARD_MAP_CONF], sizeof(struct guard_conf), "guard_conf", &memory,
			err);
	if (ret < 0)
		return ret;
	g->conf = memory;
	ret = pin_share(g->map_fd[GUARD_MAP_SLOTS], sizeof(struct guard_slot) * g->slot_count,
			"guard_slots", &memory, err);
	if (ret == 0)
		g->slots = memory;
	return ret;
}

/* Under the lock. New maps are pinned after the programs that use them stand where the old ones
 * stood: whatever dies in between, the addresses are guarded by the one or the other. */
static int open_locked(struct guard *g, const struct guard_options *options,
		       struct loader_error *err)
{
	int old_addrs = -1;
	int ret = adopt(g, options->slots, &old_addrs, err);
	const bool made = ret == -ENOENT;

	if (ret < 0 && !made)
		return ret;
	if (made)
		g->slot_count = options->slots ? options->slots : GUARD_SLOTS_DEFAULT;
	ret = place_make(&g->place, err);
	if (ret == 0)
		ret = load(g, err);
	if (ret == 0 && made)
		ret = set_up(g, old_addrs, err);
	if (ret == 0)
		ret = share_all(g, err);
	if (ret < 0)
		goto out;
	g->conf->embryo_rate = options->embryo_rate;
	ret = replace_attached(g, err);
	if (ret == 0 && made)
		ret = pin_set(&g->place, shapes, GUARD_MAP_COUNT, g->map_fd, err);
	if (ret == 0)
		ret = pin_programs(g, err);
out:
	if (old_addrs >= 0)
		close(old_addrs);
	return ret;
}

/* After a failure: folders that stayed empty, and locks that nobody needs. */
static void tidy(const struct place *p)
{
	place_remove(p);
	if (access(p->base, F_OK) < 0) {
		lock_forget(p, LOCK_OWNER);
		lock_forget(p, LOCK_CHANGE);
	}
}

int guard_open(const struct guard_options *options, struct guard **ret_guard,
	       struct loader_error *err)
{
	struct guard *g;
	int lock = -1;
	int ret;

	if (options->slots > GUARD_SLOTS_MAX)
		return error_set(err, -EINVAL,
				 "%u connections are more than the guard can have: %u",
				 options->slots, GUARD_SLOTS_MAX);
	g = calloc(1, sizeof(*g));
	if (!g)
		return error_set(err, -ENOMEM, "no memory for the guard");
	g->owner_fd = g->drain_fd = g->fill_fd = -1;
	memset(g->map_fd, -1, sizeof(g->map_fd));
	memset(g->prog_fd, -1, sizeof(g->prog_fd));

	ret = place_set_guard(&g->place, options->name, options->pin_root, GUARD_LAYOUT_VERSION,
			      err);
	if (ret == 0)
		ret = object_privileges(err);
	if (ret == 0)
		ret = g->owner_fd = lock_take(&g->place, LOCK_OWNER, err);
	if (ret >= 0)
		ret = lock = lock_take(&g->place, LOCK_CHANGE, err);
	if (ret >= 0)
		ret = open_locked(g, options, err);
	if (ret < 0 && lock >= 0)
		tidy(&g->place);
	if (lock >= 0)
		close(lock);
	if (ret < 0) {
		guard_close(g);
		return ret;
	}
	*ret_guard = g;
	return 0;
}

struct guard_conf *guard_fence(const struct guard *g)
{
	return g->conf;
}

struct guard_slot *guard_slots(const struct guard *g)
{
	return g->slots;
}

uint32_t guard_slot_count(const struct guard *g)
{
	return g->slot_count;
}

int guard_map_fd(const struct guard *g, enum guard_map map)
{
	return (unsigned int)map < GUARD_MAP_COUNT ? g->map_fd[map] : -EINVAL;
}

/* ---- attaching ----------------------------------------------------------- */

int guard_attach(struct guard *g, uint32_t ifindex, struct loader_error *err)
{
	struct record *list = NULL;
	char name[IF_NAMESIZE];
	int lock, n, ret = 0;
	bool before;

	if (!if_indextoname(ifindex, name))
		return error_set(err, -ENODEV, "cannot attach: no interface has the index %u",
				 ifindex);
	lock = lock_take(&g->place, LOCK_CHANGE, err);
	if (lock < 0)
		return lock;
	error_listen();
	n = attach_list(&g->place, &list);
	before = attach_has(list, n, ifindex);
	free(list);
	list = NULL;
	for (size_t i = 0; i < GUARD_PROG_COUNT && ret == 0; i++)
		ret = attach_tc(&g->place, progs[i], prog_fd(g, progs[i]), ifindex, err);
	if (ret < 0 && !before) {
		n = attach_list(&g->place, &list);
		attach_detach_one(list, n, ifindex);
		free(list);
	}
	error_unlisten();
	close(lock);
	return ret;
}

int guard_detach(struct guard *g, uint32_t ifindex, struct loader_error *err)
{
	return attach_detach(&g->place, ifindex, err);
}

/* ---- the end ------------------------------------------------------------- */

void guard_close(struct guard *g)
{
	if (!g)
		return;
	if (g->conf)
		munmap(g->conf, sizeof(struct guard_conf));
	if (g->slots)
		munmap(g->slots, sizeof(struct guard_slot) * g->slot_count);
	pin_close_all(g->map_fd, GUARD_MAP_COUNT);
	pin_close_all(g->prog_fd, GUARD_PROG_COUNT);
	pin_close_all(&g->drain_fd, 1);
	pin_close_all(&g->fill_fd, 1);
	if (g->owner_fd >= 0)
		close(g->owner_fd);
	free(g);
}

int guard_remove(struct guard *g, struct loader_error *err)
{
	int lock, ret;

	if (!g)
		return 0;
	ret = lock = lock_take(&g->place, LOCK_CHANGE, err);
	if (ret >= 0)
		ret = instance_remove(&g->place, err);
	if (ret == 0) {
		lock_forget(&g->place, LOCK_OWNER);
		lock_forget(&g->place, LOCK_CHANGE);
	}
	if (lock >= 0)
		close(lock);
	guard_close(g);
	return ret;
}
