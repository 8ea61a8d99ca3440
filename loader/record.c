/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is attached is remembered in names of bpffs, so that memory and fact die
 * together at a reboot and no file can contradict the kernel:
 *
 *   links/PROGRAM-NETNS-IFINDEX-FLAG
 *
 * For XDP and tcx the pin is the bpf_link itself. For clsact it is the program
 * that was attached: the filter is ours if it runs that very program, and a name
 * that ends in "-new" belongs to a change that may not have come to its end.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/private.h"

static const char *const flags[] = {
	[RECORD_FOUND] = "found",   [RECORD_MADE] = "made",       [RECORD_TCX] = "tcx",
	[RECORD_NATIVE] = "native", [RECORD_GENERIC] = "generic",
};

int record_netns(uint32_t *ret)
{
	struct stat st;

	if (stat("/proc/thread-self/ns/net", &st) < 0)
		return -errno;
	*ret = (uint32_t)st.st_ino;
	return 0;
}

void record_path(const struct place *p, const struct record *r, bool fresh, char *path, size_t n)
{
	snprintf(path, n, "%s/%s-%u-%u-%s%s", p->links, object_prog_name(r->prog), r->netns,
		 r->ifindex, flags[r->flag], fresh ? "-new" : "");
}

static bool parse(const char *name, struct record *ret)
{
	char prog[32], flag[16];
	struct record r = {0};
	int end = 0;
	unsigned int i;

	if (sscanf(name, "%31[a-z_]-%u-%u-%15[a-z]%n", prog, &r.netns, &r.ifindex, flag, &end) != 4)
		return false;
	r.fresh = !strcmp(name + end, "-new");
	if (name[end] && !r.fresh)
		return false;
	for (i = 0; i < PROG_END && strcmp(prog, object_prog_name(i)) != 0; i++)
		;
	r.prog = i;
	for (i = 0; i <= RECORD_GENERIC && strcmp(flag, flags[i]) != 0; i++)
		;
	r.flag = i;
	if (r.prog == PROG_END || i > RECORD_GENERIC ||
	    (r.prog == PROG_XDP_NIC) != (r.flag >= RECORD_NATIVE))
		return false;
	*ret = r;
	return true;
}

int record_list(const struct place *p, struct record **ret)
{
	struct record *list = NULL, *more;
	struct dirent *e;
	DIR *d = opendir(p->links);
	int n = 0;

	if (!d && errno == ENOENT) {
		*ret = NULL;
		return 0;
	}
	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		struct record r;

		if (!parse(e->d_name, &r))
			continue;
		more = reallocarray(list, n + 1, sizeof(*list));
		if (!more) {
			free(list);
			closedir(d);
			return -ENOMEM;
		}
		list = more;
		snprintf(r.path, sizeof(r.path), "%s/%.90s", p->links, e->d_name);
		list[n++] = r;
	}
	closedir(d);
	*ret = list;
	return n;
}

bool record_is_filter(const struct record *r)
{
	return r->flag == RECORD_FOUND || r->flag == RECORD_MADE;
}

bool record_same_hook(const struct record *a, const struct record *b)
{
	return a->prog == b->prog && a->netns == b->netns && a->ifindex == b->ifindex;
}

uint32_t record_prog_id(const char *path)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	int fd = bpf_obj_get(path);

	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		info.id = 0;
	close(fd);
	return info.id;
}
