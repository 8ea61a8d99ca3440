/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Pinned maps and programs: verified before they are used, replaced by one rename. */
#include <assert.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/private.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PIN_SET_MAX   16

static_assert(LOADER_MAP_COUNT <= PIN_SET_MAX && GUARD_MAP_COUNT <= PIN_SET_MAX, "pins of a set");

static const struct map_shape loader_shapes[LOADER_MAP_COUNT] = {
	[LOADER_META] = {"meta", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct meta_val), 1},
	[LOADER_HOSTS] = {"hosts", BPF_MAP_TYPE_HASH, sizeof(struct hf_addr),
			  sizeof(struct host_val), HF_HOSTS_MAX},
	[LOADER_SERVICES] = {"services", BPF_MAP_TYPE_HASH, sizeof(struct service_key), 4,
			     HF_SERVICES_MAX},
	[LOADER_EMULATORS] = {"emulators", BPF_MAP_TYPE_HASH, sizeof(struct emulator_key), 4, 0},
	[LOADER_SERVICE_TABLE] = {"service_table", BPF_MAP_TYPE_ARRAY, 4,
				  sizeof(struct service_val), HF_SERVICES_MAX},
	[LOADER_ASSOCS] = {"assocs", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct assoc_val),
			   HF_ASSOCS_MAX},
	[LOADER_PATHS] = {"paths", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct path_val), HF_PATHS_MAX},
	[LOADER_PEERS] = {"peers", BPF_MAP_TYPE_HASH, sizeof(struct peer_key),
			  sizeof(struct peer_val), HF_PEERS_MAX},
	[LOADER_FLOWS] = {"flows", BPF_MAP_TYPE_HASH, sizeof(struct flow_key),
			  sizeof(struct flow_val), 0},
	[LOADER_ECHOES] = {"echoes", BPF_MAP_TYPE_HASH, sizeof(struct echo_key),
			   sizeof(struct echo_val), 0},
	[LOADER_FRAGS] = {"frags", BPF_MAP_TYPE_LRU_HASH, sizeof(struct frag_key),
			  sizeof(struct frag_val), HF_FRAGS_MAX},
	[LOADER_REASONS] = {"reasons", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, HF_REASON_COUNT},
	[LOADER_EVENTS] = {"events", BPF_MAP_TYPE_RINGBUF, 0, 0, HF_EVENTS_BYTES},
};

const char *loader_map_name(enum loader_map map)
{
	return (unsigned int)map < ARRAY_SIZE(loader_shapes) ? loader_shapes[map].name : NULL;
}

int pin_stale(const struct place *p, struct loader_error *err, const char *what)
{
	return error_set(err, -ESTALE,
			 "the pins in %s are of another layout (%s): stop the daemon that made "
			 "them, then take them away with \"holdfast detach --all\", which ends the "
			 "flows and connections they hold, and start again",
			 p->base, what);
}

static int verify_shape(const struct place *p, const struct map_shape *s, int fd,
			struct loader_error *err)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	char what[128];

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return error_set(err, -errno, "cannot examine the pin %s/%s: %s", p->maps, s->name,
				 strerror(errno));
	if (info.type == s->type && info.key_size == s->key_size &&
	    info.value_size == s->value_size && (!s->entries || info.max_entries == s->entries))
		return 0;
	snprintf(what, sizeof(what),
		 "map %s: type %u, key %u, value %u, entries %u; expected %u, %u, %u, %u", s->name,
		 info.type, info.key_size, info.value_size, info.max_entries, s->type, s->key_size,
		 s->value_size, s->entries);
	return pin_stale(p, err, what);
}

static int verify_meta(const struct place *p, int fd, struct loader_error *err)
{
	struct meta_val m = {0};
	const uint32_t zero = 0;
	char what[96];

	if (bpf_map_lookup_elem(fd, &zero, &m) < 0)
		return error_set(err, -errno, "cannot read %s/meta: %s", p->maps, strerror(errno));
	if (m.magic == HF_LAYOUT_MAGIC && m.version == HF_LAYOUT_VERSION &&
	    m.flow_key_size == sizeof(struct flow_key) &&
	    m.flow_val_size == sizeof(struct flow_val) &&
	    m.assoc_val_size == sizeof(struct assoc_val) &&
	    m.path_val_size == sizeof(struct path_val) && m.reason_count == HF_REASON_COUNT)
		return 0;
	snprintf(what, sizeof(what),
		 "meta: magic %08x, version %u, %u reasons; expected %08x, %u, %u", m.magic,
		 m.version, m.reason_count, HF_LAYOUT_MAGIC, HF_LAYOUT_VERSION, HF_REASON_COUNT);
	return pin_stale(p, err, what);
}

void pin_close_all(int *fd, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
		fd[i] = -1;
	}
}

int pin_share(int fd, size_t bytes, const char *what, void **ret, struct loader_error *err)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return error_set(err, -errno,
				 "cannot map the memory of %s: %s (was it made with "
				 "BPF_F_MMAPABLE?)",
				 what, strerror(errno));
	*ret = p;
	return 0;
}

int pin_adopt_set(const struct place *p, const struct map_shape *shapes, size_t count,
		  int (*verify)(const struct place *p, int fd, struct loader_error *err),
		  int *map_fd, struct loader_error *err)
{
	int fds[PIN_SET_MAX];
	char path[sizeof(p->maps) + 32];
	int ret = 0;

	for (size_t i = 0; i < count; i++)
		fds[i] = -1;
	for (size_t i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", p->maps, shapes[i].name);
		fds[i] = bpf_obj_get(path);
		if (fds[i] >= 0)
			ret = verify_shape(p, &shapes[i], fds[i], err);
		else if (errno == ENOENT && i == 0)
			ret = error_set(err, -ENOENT, "nothing is pinned in %s", p->base);
		else if (errno == ENOENT)
			ret = pin_stale(p, err, "a map is missing");
		else
			ret = error_set(err, errno == EACCES ? -EPERM : -errno,
					"cannot open the pin %s: %s", path, strerror(errno));
		if (ret == 0 && i == 0)
			ret = verify(p, fds[0], err);
		if (ret < 0)
			goto out;
	}
	memcpy(map_fd, fds, count * sizeof(*fds));
	return 0;
out:
	pin_close_all(fds, count);
	return ret;
}

int pin_adopt_maps(const struct place *p, int map_fd[static LOADER_MAP_COUNT],
		   struct loader_error *err)
{
	return pin_adopt_set(p, loader_shapes, LOADER_MAP_COUNT, verify_meta, map_fd, err);
}

static int pin_one(int fd, const char *path, struct loader_error *err)
{
	if (bpf_obj_pin(fd, path) == 0)
		return 0;
	return error_set(err, -errno, "cannot pin %s: %s", path, strerror(errno));
}

int pin_set(const struct place *p, const struct map_shape *shapes, size_t count, const int *map_fd,
	    struct loader_error *err)
{
	char path[sizeof(p->maps) + 32];
	int ret;

	pin_clear(p->maps); /* of a creation that did not come to its end */
	for (size_t i = count; i-- > 0;) {
		snprintf(path, sizeof(path), "%s/%s", p->maps, shapes[i].name);
		ret = pin_one(map_fd[i], path, err);
		if (ret < 0) {
			pin_clear(p->maps);
			return ret;
		}
	}
	return 0;
}

int pin_maps(const struct place *p, const int map_fd[static LOADER_MAP_COUNT],
	     struct loader_error *err)
{
	return pin_set(p, loader_shapes, LOADER_MAP_COUNT, map_fd, err);
}

int pin_replace(int fd, const char *path, struct loader_error *err)
{
	char fresh[PATH_MAX];
	int ret;

	snprintf(fresh, sizeof(fresh), "%s-new", path);
	unlink(fresh);
	ret = pin_one(fd, fresh, err);
	if (ret < 0)
		return ret;
	if (rename(fresh, path) == 0)
		return 0;
	ret = error_set(err, -errno, "cannot replace the pin %s: %s", path, strerror(errno));
	unlink(fresh);
	return ret;
}

int pin_adopt_progs(const struct place *p, int prog_fd[static PROG_COUNT])
{
	int fds[PROG_COUNT];
	char path[sizeof(p->progs) + 32];

	for (int i = 0; i < PROG_COUNT; i++) {
		snprintf(path, sizeof(path), "%s/%s", p->progs, object_prog_name(i));
		fds[i] = bpf_obj_get(path);
	}
	for (int i = 0; i < PROG_COUNT; i++) {
		if (fds[i] < 0 && i != PROG_XDP_NIC) {
			pin_close_all(fds, ARRAY_SIZE(fds));
			return -ENOENT;
		}
	}
	memcpy(prog_fd, fds, sizeof(fds));
	return 0;
}

int pin_progs(const struct place *p, const int prog_fd[static PROG_COUNT], struct loader_error *err)
{
	char path[sizeof(p->progs) + 32];
	int ports = object_take_ports();
	int ret = 0;

	for (int i = 0; i < PROG_COUNT && ret == 0; i++) {
		snprintf(path, sizeof(path), "%s/%s", p->progs, object_prog_name(i));
		if (prog_fd[i] >= 0)
			ret = pin_replace(prog_fd[i], path, err);
		else
			unlink(path);
	}
	/* beside the program that reads it, not among the maps: it is new with every load */
	snprintf(path, sizeof(path), "%s/ports", p->progs);
	if (ports < 0)
		unlink(path);
	else if (ret == 0)
		ret = pin_replace(ports, path, err);
	if (ports >= 0)
		close(ports);
	return ret;
}

void pin_clear(const char *folder)
{
	struct dirent *e;
	DIR *d = opendir(folder);

	if (!d)
		return;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

int pin_check_versions(const struct place *p, struct loader_error *err)
{
	const size_t prefix = strlen(p->layout);
	char path[sizeof(p->base) + NAME_MAX];
	unsigned int version;
	char what[64], end;
	struct dirent *e;
	DIR *d = opendir(p->root);
	int ret = 0;

	if (!d)
		return 0;
	while ((e = readdir(d)) && ret == 0) {
		struct place other = *p;

		if (strncmp(e->d_name, p->layout, prefix) != 0 ||
		    sscanf(e->d_name + prefix, "%u%c", &version, &end) != 1 ||
		    version == p->version)
			continue;
		snprintf(path, sizeof(path), "%s/%s/%s/maps/%s", p->root, e->d_name, p->name,
			 p->head);
		if (access(path, F_OK) < 0)
			continue;
		snprintf(other.base, sizeof(other.base), "%s/%s%u/%s", p->root, p->layout, version,
			 p->name);
		snprintf(what, sizeof(what), "version %u; this program has version %u", version,
			 p->version);
		ret = pin_stale(&other, err, what);
	}
	closedir(d);
	return ret;
}
