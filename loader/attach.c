/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which programs go on which interface, and taking away what is ours. */
#include <errno.h>
#include <glob.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/private.h"

static const enum loader_prog nic_progs[] = {PROG_TC_NIC_INGRESS};
static const enum loader_prog tun_progs[] = {PROG_TC_TUN_EGRESS, PROG_TC_TUN_INGRESS};

const char *loader_mode_name(enum loader_mode mode)
{
	switch (mode) {
	case LOADER_MODE_AUTO:
		return "auto";
	case LOADER_MODE_TC:
		return "tc";
	case LOADER_MODE_XDP:
		return "xdp";
	case LOADER_MODE_GENERIC:
		return "generic";
	}
	return NULL;
}

static void detach_link(const struct record *r)
{
	if (r->flag == RECORD_TCX)
		tcx_detach(r);
	else
		xdp_detach(r);
}

static bool live(const struct record *r)
{
	if (record_is_filter(r))
		return clsact_live(r);
	return r->flag == RECORD_TCX ? tcx_live(r) : xdp_live(r);
}

static bool settle(const struct place *p, struct record *r)
{
	if (record_is_filter(r))
		return clsact_settle(p, r);
	if (live(r))
		return true;
	/* the record, and what the XDP program knows of the interface */
	detach_link(r);
	return false;
}

/* Live records of this network namespace; without the lock they are only looked at. */
static int list_live(const struct place *p, bool locked, struct record **ret)
{
	struct record *list = NULL;
	uint32_t netns;
	int n, kept = 0;

	n = record_netns(&netns);
	if (n == 0)
		n = record_list(p, &list);
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++)
		if (list[i].netns == netns && (locked ? settle(p, &list[i]) : live(&list[i])))
			list[kept++] = list[i];
	*ret = list;
	return kept;
}

int attach_list(const struct place *p, struct record **ret)
{
	return list_live(p, true, ret);
}

int attach_detach_one(const struct record *list, int n, uint32_t ifindex)
{
	bool made = false, was_there = false;
	int lock = lock_shared(), taken = 0;

	for (int i = 0; i < n; i++) {
		if (list[i].ifindex != ifindex)
			continue;
		taken++;
		if (!record_is_filter(&list[i])) {
			detach_link(&list[i]);
			continue;
		}
		made |= list[i].flag == RECORD_MADE;
		was_there |= clsact_detach(&list[i]);
	}
	if (made && was_there)
		clsact_remove(ifindex);
	unlock_shared(lock);
	return taken;
}

/* -EBUSY: another instance's program is there. */
static int hook_free(const struct place *p, const struct record *hook, struct loader_error *err)
{
	char name[IF_NAMESIZE] = "?";
	int ret = clsact_free(p, hook, err);

	if (ret < 0 || !tcx_taken(p, hook))
		return ret;
	if_indextoname(hook->ifindex, name);
	return error_set(err, -EBUSY,
			 "cannot attach to %s: %s of another instance works on this "
			 "interface; detach it first",
			 name, object_prog_name(hook->prog));
}

static int put(const struct place *p, struct record *hook, bool tcx, int prog_fd,
	       struct loader_error *err)
{
	int ret;

	if (tcx)
		return tcx_attach(p, hook, prog_fd, err);
	ret = clsact_attach(p, hook, prog_fd, err);
	record_path(p, hook, false, hook->path, sizeof(hook->path));
	if (ret == 0)
		tcx_detach(hook);
	return ret;
}

int attach_tc(const struct place *p, enum loader_prog prog, int prog_fd, uint32_t ifindex,
	      struct loader_error *err)
{
	struct record hook = {.prog = prog, .ifindex = ifindex, .flag = RECORD_TCX};
	int tcx, lock, ret;

	ret = record_netns(&hook.netns);
	if (ret < 0)
		return error_set(err, ret, "cannot tell the network namespace: %s", strerror(-ret));
	tcx = tcx_chosen(ifindex, err);
	if (tcx < 0)
		return tcx;
	/* from the look at the hook until the record is there, by which another instance knows */
	lock = lock_shared();
	ret = hook_free(p, &hook, err);
	if (ret == 0)
		ret = put(p, &hook, tcx, prog_fd, err);
	unlock_shared(lock);
	return ret;
}

/* Frames redirected to a veth vanish unless its other end has an XDP program, too, and native XDP
 * on it takes packets apart that came whole: not to be chosen by itself. */
static bool is_veth(uint32_t ifindex)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq req = {.ifr_data = (void *)&info};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool veth = false;

	if (fd < 0)
		return false;
	if (if_indextoname(ifindex, req.ifr_name) && ioctl(fd, SIOCETHTOOL, &req) == 0)
		veth = strcmp(info.driver, "veth") == 0;
	close(fd);
	return veth;
}

static int use_xdp(struct loader *l, uint32_t ifindex, enum loader_mode mode,
		   enum loader_mode *ret_mode, struct loader_error *err)
{
	struct loader_error ignored;
	struct record *list = NULL;
	int n, ret;

	if (mode == LOADER_MODE_AUTO && is_veth(ifindex))
		mode = LOADER_MODE_TC;
	if (mode == LOADER_MODE_TC) {
		n = attach_list(&l->place, &list);
		for (int i = 0; i < n; i++)
			if (list[i].prog == PROG_XDP_NIC && list[i].ifindex == ifindex)
				xdp_detach(&list[i]);
		free(list);
		*ret_mode = LOADER_MODE_TC;
		return 0;
	}
	if (l->prog_fd[PROG_XDP_NIC] < 0)
		ret = error_set(
			mode == LOADER_MODE_AUTO ? &ignored : err, -ENOTSUP, "no XDP here: %.480s",
			l->xdp_err.text[0] ? l->xdp_err.text : "the kernel refused the program");
	else
		ret = xdp_attach(&l->place, l->prog_fd[PROG_XDP_NIC], ifindex,
				 mode == LOADER_MODE_GENERIC,
				 mode == LOADER_MODE_AUTO ? &ignored : err);
	if (ret < 0 && mode != LOADER_MODE_AUTO)
		return ret;
	if (ret < 0)
		*ret_mode = LOADER_MODE_TC;
	else
		*ret_mode = mode == LOADER_MODE_GENERIC ? LOADER_MODE_GENERIC : LOADER_MODE_XDP;
	return 0;
}

bool attach_has(const struct record *list, int n, uint32_t ifindex)
{
	for (int i = 0; i < n; i++)
		if (list[i].ifindex == ifindex)
			return true;
	return false;
}

int loader_attach(struct loader *l, uint32_t ifindex, enum loader_kind kind, enum loader_mode mode,
		  enum loader_mode *ret_mode, struct loader_error *err)
{
	const enum loader_prog *progs = kind == LOADER_TUN ? tun_progs : nic_progs;
	size_t count = kind == LOADER_TUN ? 2 : 1;
	enum loader_mode used = LOADER_MODE_TC;
	struct record *list = NULL;
	char name[IF_NAMESIZE];
	int lock, n = 0, ret = 0;
	bool before;

	if (!if_indextoname(ifindex, name))
		return error_set(err, -ENODEV, "cannot attach: no interface has the index %u",
				 ifindex);
	lock = lock_take(&l->place, LOCK_CHANGE, err);
	if (lock < 0)
		return lock;
	error_listen();
	n = attach_list(&l->place, &list);
	before = attach_has(list, n, ifindex);
	free(list);
	list = NULL;

	for (size_t i = 0; i < count && ret == 0; i++)
		ret = attach_tc(&l->place, progs[i], l->prog_fd[progs[i]], ifindex, err);
	if (ret == 0 && kind == LOADER_NIC)
		ret = use_xdp(l, ifindex, mode, &used, err);
	if (ret < 0 && !before) {
		n = attach_list(&l->place, &list);
		attach_detach_one(list, n, ifindex);
		free(list);
	}
	if (ret == 0 && ret_mode)
		*ret_mode = used;
	error_unlisten();
	close(lock);
	return ret;
}

int attach_detach(const struct place *p, uint32_t ifindex, struct loader_error *err)
{
	struct record *list = NULL;
	int lock, n, ret = 0;

	lock = lock_take(p, LOCK_CHANGE, err);
	if (lock < 0)
		return lock;
	error_listen();
	n = attach_list(p, &list);
	if (n < 0) {
		ret = error_set(err, n, "cannot read %s: %s", p->links, strerror(-n));
	} else if (attach_detach_one(list, n, ifindex) == 0) {
		char name[IF_NAMESIZE] = "?";

		if_indextoname(ifindex, name);
		ret = error_set(err, -ENOENT,
				"cannot detach from %s (%u): the instance \"%s\" has nothing there",
				name, ifindex, p->name);
	} else {
		struct record *left = NULL;
		int n_left = attach_list(p, &left);

		if (attach_has(left, n_left, ifindex))
			ret = error_set(err, -EPERM,
					"cannot take the tc filter away from interface %u: %.200s",
					ifindex, error_heard());
		free(left);
	}
	error_unlisten();
	free(list);
	close(lock);
	return ret;
}

int loader_detach(struct loader *l, uint32_t ifindex, struct loader_error *err)
{
	return attach_detach(&l->place, ifindex, err);
}

int loader_attachments(const struct loader *l, struct loader_attachment *out, size_t max)
{
	struct record *list = NULL;
	size_t count = 0;
	int n;

	error_listen();
	n = list_live(&l->place, false, &list);
	error_unlisten();
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		const struct record *r = &list[i];
		struct loader_attachment *a;
		size_t k;

		for (k = 0; k < count && out[k].ifindex != r->ifindex; k++)
			;
		if (k == count && count == max)
			continue;
		a = &out[k];
		if (k == count) {
			*a = (struct loader_attachment){
				.ifindex = r->ifindex, .kind = LOADER_NIC, .mode = LOADER_MODE_TC};
			if (!if_indextoname(r->ifindex, a->ifname))
				continue;
			count++;
		}
		if (r->prog == PROG_TC_TUN_EGRESS || r->prog == PROG_TC_TUN_INGRESS)
			a->kind = LOADER_TUN;
		if (r->flag == RECORD_NATIVE)
			a->mode = LOADER_MODE_XDP;
		if (r->flag == RECORD_GENERIC)
			a->mode = LOADER_MODE_GENERIC;
	}
	free(list);
	return (int)count;
}

int attach_replace_all(struct loader *l, struct loader_error *err)
{
	struct record *list = NULL;
	int n, ret = 0;

	error_listen();
	n = attach_list(&l->place, &list);
	if (n < 0)
		ret = error_set(err, n, "cannot read %s: %s", l->place.links, strerror(-n));
	for (int i = 0; i < n && ret == 0; i++) {
		const struct record *r = &list[i];

		if (r->prog >= PROG_COUNT)
			continue;
		if (r->prog != PROG_XDP_NIC)
			ret = attach_tc(&l->place, r->prog, l->prog_fd[r->prog], r->ifindex, err);
		else if (l->prog_fd[PROG_XDP_NIC] >= 0)
			ret = xdp_replace(r, l->prog_fd[PROG_XDP_NIC], err);
		else
			xdp_detach(r); /* an old program has old values; tc does its work */
	}
	error_unlisten();
	free(list);
	return ret;
}

/* Does anybody live in the namespace with this inode? */
static bool netns_alive(uint32_t netns)
{
	static const char *const patterns[] = {"/run/netns/*", "/proc/[0-9]*/ns/net"};
	bool alive = false;

	for (size_t i = 0; i < 2 && !alive; i++) {
		glob_t found;
		struct stat st;

		if (glob(patterns[i], GLOB_NOSORT, NULL, &found) != 0)
			continue;
		for (size_t k = 0; k < found.gl_pathc && !alive; k++)
			alive = stat(found.gl_pathv[k], &st) == 0 && (uint32_t)st.st_ino == netns;
		globfree(&found);
	}
	return alive;
}

int attach_remove_all(const struct place *p, struct loader_error *err)
{
	struct record *list = NULL, *here = NULL;
	uint32_t netns;
	int n, n_here = 0, ret;

	ret = record_netns(&netns);
	n = ret < 0 ? ret : record_list(p, &list);
	if (n < 0)
		return error_set(err, n, "cannot read %s: %s", p->links, strerror(-n));
	for (int i = 0; i < n; i++) {
		if (list[i].netns == netns || !netns_alive(list[i].netns))
			continue;
		ret = error_set(err, -EBUSY,
				"the instance \"%s\" is attached in another network namespace (%u) "
				"too: remove it there",
				p->name, list[i].netns);
		goto out;
	}
	error_listen();
	n_here = attach_list(p, &here);
	for (int i = 0; i < n_here; i++)
		attach_detach_one(here, n_here, here[i].ifindex);
	free(here);
	here = NULL;
	n_here = attach_list(p, &here);
	if (n_here > 0)
		ret = error_set(err, -EPERM,
				"cannot take the tc filter away from interface %u: %.200s",
				here[0].ifindex, error_heard());
	else
		pin_clear(p->links);
	error_unlisten();
out:
	free(here);
	free(list);
	return ret;
}
