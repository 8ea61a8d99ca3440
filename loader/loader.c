/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <holdfast/wire.h>

#include "loader/private.h"

static int write_meta(int fd, uint32_t max_flows, struct loader_error *err)
{
	const struct meta_val m = {
		.magic = HF_LAYOUT_MAGIC,
		.version = HF_LAYOUT_VERSION,
		.flow_key_size = sizeof(struct flow_key),
		.flow_val_size = sizeof(struct flow_val),
		.assoc_val_size = sizeof(struct assoc_val),
		.path_val_size = sizeof(struct path_val),
		.reason_count = HF_REASON_COUNT,
		.max_flows = max_flows,
	};
	const uint32_t zero = 0;

	if (bpf_map_update_elem(fd, &zero, &m, BPF_ANY) < 0)
		return error_set(err, -errno, "cannot write the map meta: %s", strerror(errno));
	return 0;
}

/* Programs: the pinned ones for a guest, new ones for an owner or where there are none. */
static int take_programs(struct loader *l, const struct loader_options *options, bool own,
			 struct loader_error *err)
{
	const struct object_options o = {
		.max_flows = options->max_flows ? options->max_flows : HF_FLOWS_DEFAULT,
		.tun_ifindex = options->tun_ifindex,
		.control_port = options->control_port ? options->control_port : WIRE_CONTROL_PORT,
	};
	int ret;

	if (l->adopted && !own && pin_adopt_progs(&l->place, l->prog_fd) == 0)
		return 0;
	ret = object_load(&o, l->map_fd, l->prog_fd, &l->xdp_err, err);
	if (ret == 0 && !l->adopted)
		ret = write_meta(l->map_fd[LOADER_META], o.max_flows, err);
	if (ret == 0)
		sweep_mark(l->map_fd[LOADER_FLOWS]);
	if (ret == 0 && !l->adopted)
		ret = pin_maps(&l->place, l->map_fd, err);
	if (ret == 0)
		ret = pin_progs(&l->place, l->prog_fd, err);
	if (ret == 0)
		ret = attach_replace_all(l, err);
	return ret;
}

int loader_open(const struct loader_options *options, bool own, struct loader **ret_loader,
		struct loader_error *err)
{
	struct loader *l = calloc(1, sizeof(*l));
	void *memory;
	int lock = -1;
	int ret;

	if (!l)
		return error_set(err, -ENOMEM, "no memory for the loader");
	l->owner_fd = -1;
	for (int i = 0; i < LOADER_MAP_COUNT; i++)
		l->map_fd[i] = -1;
	for (int i = 0; i < PROG_COUNT; i++)
		l->prog_fd[i] = -1;

	ret = place_set(&l->place, options->name, options->pin_root, HF_LAYOUT_VERSION, err);
	if (ret == 0)
		ret = object_privileges(err);
	if (ret < 0)
		goto out;
	if (own) {
		ret = l->owner_fd = lock_take(&l->place, LOCK_OWNER, err);
		if (ret < 0)
			goto out;
	}
	ret = lock = lock_take(&l->place, LOCK_CHANGE, err);
	if (ret < 0)
		goto out;
	ret = pin_check_versions(&l->place, err);
	if (ret < 0)
		goto out;
	ret = pin_adopt_maps(&l->place, l->map_fd, err);
	if (ret < 0 && (ret != -ENOENT || options->adopt_only))
		goto out;
	l->adopted = ret == 0;
	ret = place_make(&l->place, err);
	if (ret == 0)
		ret = take_programs(l, options, own, err);
	if (ret < 0)
		goto out;
	ret = pin_share(l->map_fd[LOADER_ASSOCS], sizeof(struct assoc_val) * HF_ASSOCS_MAX,
			"assocs", &memory, err);
	if (ret < 0)
		goto out;
	l->assocs = memory;
	ret = pin_share(l->map_fd[LOADER_PATHS], sizeof(struct path_val) * HF_PATHS_MAX, "paths",
			&memory, err);
	if (ret < 0)
		goto out;
	l->paths = memory;
	close(lock);
	*ret_loader = l;
	return 0;
out:
	if (lock >= 0 && !l->adopted) {
		place_remove(&l->place); /* folders that stayed empty */
		if (access(l->place.base, F_OK) < 0) {
			if (own)
				lock_forget(&l->place, LOCK_OWNER);
			lock_forget(&l->place, LOCK_CHANGE);
		}
	}
	if (lock >= 0)
		close(lock);
	loader_close(l);
	return ret;
}

bool loader_adopted(const struct loader *l)
{
	return l->adopted;
}

int loader_map_fd(const struct loader *l, enum loader_map map)
{
	return (unsigned int)map < LOADER_MAP_COUNT ? l->map_fd[map] : -EINVAL;
}

struct assoc_val *loader_assocs(const struct loader *l)
{
	return l->assocs;
}

struct path_val *loader_paths(const struct loader *l)
{
	return l->paths;
}

int reasons_sum(int fd, uint32_t n, uint64_t *counts)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *values, *sums;
	int ret = 0;

	if (cpus < 0)
		return cpus;
	values = calloc((size_t)cpus, sizeof(*values));
	sums = calloc(n, sizeof(*sums));
	if (!values || !sums)
		ret = -ENOMEM;
	for (uint32_t reason = 0; reason < n && ret == 0; reason++) {
		if (bpf_map_lookup_elem(fd, &reason, values) < 0)
			ret = -errno;
		for (int cpu = 0; cpu < cpus && ret == 0; cpu++)
			sums[reason] += values[cpu];
	}
	if (ret == 0)
		memcpy(counts, sums, n * sizeof(*sums));
	free(values);
	free(sums);
	return ret;
}

int loader_reasons(const struct loader *l, uint64_t counts[static HF_REASON_COUNT])
{
	return reasons_sum(l->map_fd[LOADER_REASONS], HF_REASON_COUNT, counts);
}

void loader_close(struct loader *l)
{
	if (!l)
		return;
	if (l->assocs)
		munmap(l->assocs, sizeof(struct assoc_val) * HF_ASSOCS_MAX);
	if (l->paths)
		munmap(l->paths, sizeof(struct path_val) * HF_PATHS_MAX);
	pin_close_all(l->map_fd, LOADER_MAP_COUNT);
	pin_close_all(l->prog_fd, PROG_COUNT);
	if (l->owner_fd >= 0)
		close(l->owner_fd);
	free(l);
}

int instance_remove(const struct place *p, struct loader_error *err)
{
	char head[sizeof(p->maps) + 16];
	int ret = attach_remove_all(p, err);

	if (ret < 0)
		return ret;
	/* Without its head the rest counts as unfinished and is never adopted. */
	snprintf(head, sizeof(head), "%s/%s", p->maps, p->head);
	unlink(head);
	pin_clear(p->maps);
	pin_clear(p->progs);
	place_remove(p);
	return 0;
}

int loader_remove(struct loader *l, struct loader_error *err)
{
	int owner = -1, lock = -1;
	int ret = 0;

	if (!l)
		return 0;
	if (l->owner_fd < 0)
		ret = owner = lock_take(&l->place, LOCK_OWNER, err);
	if (ret >= 0)
		ret = lock = lock_take(&l->place, LOCK_CHANGE, err);
	if (ret >= 0)
		ret = instance_remove(&l->place, err);
	if (ret == 0) {
		lock_forget(&l->place, LOCK_OWNER);
		lock_forget(&l->place, LOCK_CHANGE);
	}
	if (lock >= 0)
		close(lock);
	if (owner >= 0)
		close(owner);
	loader_close(l);
	return ret;
}

int loader_purge(const char *name, const char *pin_root, struct loader_error *err)
{
	struct place p, v;
	struct dirent *e;
	unsigned int version;
	int owner = -1, lock = -1;
	int ret, found = 0;
	DIR *d;
	char end;

	ret = place_set(&p, name, pin_root, HF_LAYOUT_VERSION, err);
	if (ret == 0)
		ret = object_privileges(err);
	if (ret == 0)
		ret = owner = lock_take(&p, LOCK_OWNER, err);
	if (ret >= 0)
		ret = lock = lock_take(&p, LOCK_CHANGE, err);
	if (ret < 0)
		goto out;
	ret = 0;
	d = opendir(p.root);
	while (d && ret == 0 && (e = readdir(d))) {
		if (sscanf(e->d_name, "v%u%c", &version, &end) == 1)
			ret = place_set(&v, name, p.root, version, err);
		else if (sscanf(e->d_name, "guard-v%u%c", &version, &end) == 1)
			ret = place_set_guard(&v, name, p.root, version, err);
		else
			continue;
		if (ret < 0 || access(v.base, F_OK) < 0)
			continue;
		ret = instance_remove(&v, err);
		found++;
	}
	if (d)
		closedir(d);
	if (ret == 0 && !found)
		ret = error_set(err, -ENOENT, "nothing is pinned for the instance \"%s\" in %s",
				name, p.root);
	if (ret == 0 || !found) {
		lock_forget(&p, LOCK_OWNER);
		lock_forget(&p, LOCK_CHANGE);
	}
out:
	if (lock >= 0)
		close(lock);
	if (owner >= 0)
		close(owner);
	return ret;
}
