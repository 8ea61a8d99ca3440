/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Our filters on the clsact qdisc of an interface: one a direction, in a place of our own. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loader/private.h"

static struct bpf_tc_hook hook_of(enum loader_prog prog, uint32_t ifindex)
{
	return (struct bpf_tc_hook){
		.sz = sizeof(struct bpf_tc_hook),
		.ifindex = (int)ifindex,
		.attach_point = prog_on_egress(prog) ? BPF_TC_EGRESS : BPF_TC_INGRESS,
	};
}

static uint32_t priority_of(enum loader_prog prog)
{
	return prog_in_front(prog) ? TC_PRIORITY_GUARD : TC_PRIORITY;
}

/* Identifier of the program in our place, 0 if there is none. */
static uint32_t in_place(enum loader_prog prog, uint32_t ifindex)
{
	struct bpf_tc_hook hook = hook_of(prog, ifindex);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = priority_of(prog));

	return bpf_tc_query(&hook, &opts) == 0 ? opts.prog_id : 0;
}

bool clsact_live(const struct record *r)
{
	uint32_t id = in_place(r->prog, r->ifindex);

	return id && id == record_prog_id(r->path);
}

bool clsact_settle(const struct place *p, struct record *r)
{
	char path[sizeof(r->path)];

	if (!clsact_live(r)) {
		unlink(r->path);
		return false;
	}
	if (r->fresh) {
		record_path(p, r, false, path, sizeof(path));
		if (rename(r->path, path) == 0) {
			strcpy(r->path, path);
			r->fresh = false;
		}
	}
	return true;
}

/* The names of an unconfirmed change and of what it was to replace may both be there; exactly one
 * of them tells the truth. */
bool clsact_find(const struct place *p, const struct record *hook, struct record *ret)
{
	struct record *list = NULL;
	int n = record_list(p, &list);
	bool found = false;

	for (int i = 0; i < n; i++) {
		if (!record_is_filter(&list[i]) || !record_same_hook(&list[i], hook))
			continue;
		if (clsact_settle(p, &list[i])) {
			*ret = list[i];
			found = true;
		}
	}
	free(list);
	return found;
}

static int complain(struct loader_error *err, int code, const char *what, uint32_t ifindex)
{
	char name[IF_NAMESIZE] = "?";

	if_indextoname(ifindex, name);
	switch (code) {
	case -ENOENT:
		return error_set(err, -ENOTSUP,
				 "cannot %s on %s: this kernel lacks the clsact qdisc or the bpf "
				 "classifier (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF)",
				 what, name);
	case -EPERM:
		return error_set(err, -EPERM, "cannot %s on %s: needs CAP_NET_ADMIN; run as root",
				 what, name);
	default:
		return error_set(err, code, "cannot %s on %s: %s%s%.200s", what, name,
				 strerror(-code), error_heard()[0] ? ": " : "", error_heard());
	}
}

static int taken(struct loader_error *err, enum loader_prog prog, uint32_t ifindex)
{
	char name[IF_NAMESIZE] = "?";

	if_indextoname(ifindex, name);
	return error_set(err, -EBUSY,
			 "cannot attach to %s: a filter that this instance did not put there has "
			 "our place (%s, priority %u, handle 0x%x): another instance works on this "
			 "interface; detach it first",
			 name, prog_on_egress(prog) ? "egress" : "ingress", priority_of(prog),
			 TC_HANDLE);
}

int clsact_free(const struct place *p, const struct record *hook, struct loader_error *err)
{
	struct record ours;

	if (!in_place(hook->prog, hook->ifindex) || clsact_find(p, hook, &ours))
		return 0;
	return taken(err, hook->prog, hook->ifindex);
}

int clsact_attach(const struct place *p, const struct record *at, int prog_fd,
		  struct loader_error *err)
{
	const enum loader_prog prog = at->prog;
	const uint32_t ifindex = at->ifindex;
	struct bpf_tc_hook hook = hook_of(prog, ifindex);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = priority_of(prog),
		    .prog_fd = prog_fd);
	struct record r = *at;
	char path[sizeof(r.path)], fresh[sizeof(r.path)];
	struct record old;
	const bool ours = clsact_find(p, at, &old);
	bool made;
	int ret;

	ret = bpf_tc_hook_create(&hook);
	if (ret < 0 && ret != -EEXIST)
		return complain(err, ret, "make the clsact qdisc", ifindex);
	made = ret == 0;
	r.flag = made || (ours && old.flag == RECORD_MADE) ? RECORD_MADE : RECORD_FOUND;

	/* The name comes first: what is attached without one would never be taken away. */
	record_path(p, &r, true, fresh, sizeof(fresh));
	record_path(p, &r, false, path, sizeof(path));
	unlink(fresh);
	if (bpf_obj_pin(prog_fd, fresh) < 0) {
		ret = error_set(err, -errno, "cannot pin %s: %s", fresh, strerror(errno));
		goto out;
	}
	opts.flags = ours ? BPF_TC_F_REPLACE : 0;
	ret = bpf_tc_attach(&hook, &opts);
	if (ret < 0) {
		/* what runs no program of the kind that has an identifier shows only now */
		ret = ret == -EEXIST ? taken(err, prog, ifindex)
				     : complain(err, ret, "attach the tc program", ifindex);
		unlink(fresh);
		goto out;
	}
	/* Should one of these fail, the next clsact_settle() does it. */
	rename(fresh, path);
	if (ours && strcmp(old.path, path) != 0)
		unlink(old.path);
	return 0;
out:
	if (made)
		clsact_remove(ifindex);
	return ret;
}

bool clsact_detach(const struct record *r)
{
	struct bpf_tc_hook hook = hook_of(r->prog, r->ifindex);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = priority_of(r->prog));
	bool live = clsact_live(r);

	if (live && bpf_tc_detach(&hook, &opts) < 0)
		return false;
	unlink(r->path);
	return live;
}

/* Is there a filter, of any kind, whoever made it? An error counts as yes. */
static bool filters_left(uint32_t ifindex, uint32_t parent)
{
	struct {
		struct nlmsghdr h;
		struct tcmsg t;
	} request = {
		.h = {.nlmsg_len = sizeof(request),
		      .nlmsg_type = RTM_GETTFILTER,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		      .nlmsg_seq = 1},
		.t = {.tcm_family = AF_UNSPEC, .tcm_ifindex = (int)ifindex, .tcm_parent = parent},
	};
	char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	bool left = true;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return true;
	if (send(fd, &request, sizeof(request), 0) < 0)
		goto out;
	for (;;) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		struct nlmsghdr *h = (struct nlmsghdr *)buffer;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			goto out;
		for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				left = false;
			/* of a filter, or of an error */
			if (h->nlmsg_type != NLMSG_NOOP)
				goto out;
		}
	}
out:
	close(fd);
	return left;
}

void clsact_remove(uint32_t ifindex)
{
	struct bpf_tc_hook hook = {
		.sz = sizeof(hook),
		.ifindex = (int)ifindex,
		.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS,
	};

	if (!filters_left(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) &&
	    !filters_left(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)))
		bpf_tc_hook_destroy(&hook);
}

void clsact_yield(const struct place *p, const struct record *r)
{
	struct record *list = NULL;
	bool left = false;
	int n;

	clsact_detach(r);
	if (r->flag != RECORD_MADE)
		return;
	/* whoever of ours is the last one there has to know that the qdisc is ours */
	n = record_list(p, &list);
	for (int i = 0; i < n && !left; i++) {
		struct record heir = list[i];
		char path[sizeof(heir.path)];

		if (!record_is_filter(&heir) || heir.netns != r->netns ||
		    heir.ifindex != r->ifindex)
			continue;
		heir.flag = RECORD_MADE;
		record_path(p, &heir, heir.fresh, path, sizeof(path));
		left = rename(heir.path, path) == 0;
	}
	free(list);
	if (!left)
		clsact_remove(r->ifindex);
}
