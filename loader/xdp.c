/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The XDP program of an interface, held by a pinned bpf_link. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/private.h"

/* Tells the program pinned beside the record whether it may send by the record's interface.
 * Where that fails packets take the way by tc. */
static void port_set(const struct record *r, bool attached)
{
	const __u32 how = r->flag == RECORD_NATIVE ? 2 : 1; /* enum port */
	const char *name = strrchr(r->path, '/');
	char path[sizeof(r->path) + 16];
	int fd;

	snprintf(path, sizeof(path), "%.*s/../progs/ports", (int)(name - r->path), r->path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	if (attached)
		bpf_map_update_elem(fd, &r->ifindex, &how, BPF_ANY);
	else
		bpf_map_delete_elem(fd, &r->ifindex);
	close(fd);
}

bool xdp_live(const struct record *r)
{
	struct bpf_link_info info = {0};
	__u32 len = sizeof(info);
	int fd = bpf_obj_get(r->path);
	bool live;

	if (fd < 0)
		return false;
	/* A link whose device is gone, or that was detached, has no ifindex. */
	live = bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == BPF_LINK_TYPE_XDP &&
	       info.xdp.ifindex == r->ifindex;
	close(fd);
	return live;
}

int xdp_replace(const struct record *r, int prog_fd, struct loader_error *err)
{
	int fd = bpf_obj_get(r->path);
	int ret = 0;

	if (fd < 0)
		return error_set(err, -errno, "cannot open the link %s: %s", r->path,
				 strerror(errno));
	if (bpf_link_update(fd, prog_fd, NULL) < 0)
		ret = error_set(err, -errno, "cannot replace the XDP program of %s: %s", r->path,
				strerror(errno));
	else
		port_set(r, true);
	close(fd);
	return ret;
}

void xdp_detach(const struct record *r)
{
	int fd = bpf_obj_get(r->path);

	port_set(r, false);
	/* At once, even if somebody else looks at the link at this moment. */
	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	unlink(r->path);
}

static int complain(struct loader_error *err, int code, bool generic, uint32_t ifindex)
{
	char name[IF_NAMESIZE] = "?";

	if_indextoname(ifindex, name);
	switch (code) {
	case -EBUSY:
	case -EEXIST:
		return error_set(
			err, -EBUSY,
			"cannot attach XDP to %s: another XDP program is there; take it away "
			"(see \"ip link show %s\"), or use mode tc",
			name, name);
	case -EOPNOTSUPP:
		return error_set(err, -EOPNOTSUPP,
				 "cannot attach XDP to %s: its driver has no native XDP; use mode "
				 "auto, tc or generic",
				 name);
	case -EPERM:
		return error_set(err, -EPERM,
				 "cannot attach XDP to %s: needs CAP_NET_ADMIN; run as root", name);
	default:
		return error_set(
			err, code,
			"cannot attach %s XDP to %s: %s; often the MTU is too large for it; "
			"use mode auto or tc",
			generic ? "generic" : "native", name, strerror(-code));
	}
}

int xdp_attach(const struct place *p, int prog_fd, uint32_t ifindex, bool generic,
	       struct loader_error *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	struct record r = {
		.prog = PROG_XDP_NIC,
		.ifindex = ifindex,
		.flag = generic ? RECORD_GENERIC : RECORD_NATIVE,
	};
	struct record *list = NULL;
	int n, fd, ret;

	ret = record_netns(&r.netns);
	if (ret < 0)
		return error_set(err, ret, "cannot tell the network namespace: %s", strerror(-ret));
	record_path(p, &r, false, r.path, sizeof(r.path));
	n = record_list(p, &list);
	for (int i = 0; i < n; i++) {
		const struct record *old = &list[i];

		if (old->prog != PROG_XDP_NIC || old->netns != r.netns || old->ifindex != ifindex)
			continue;
		if (old->flag == r.flag && !old->fresh && xdp_live(old)) {
			ret = xdp_replace(old, prog_fd, err);
			free(list);
			return ret;
		}
		/* of the other mode, or of an interface that had this index */
		xdp_detach(old);
	}
	free(list);

	fd = bpf_link_create(prog_fd, (int)ifindex, BPF_XDP, &opts);
	if (fd < 0)
		return complain(err, -errno, generic, ifindex);
	/* A crash between the two closes the link and so detaches. */
	if (bpf_obj_pin(fd, r.path) < 0)
		ret = error_set(err, -errno, "cannot pin %s: %s", r.path, strerror(errno));
	else
		port_set(&r, true);
	close(fd);
	return ret;
}
