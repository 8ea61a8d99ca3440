/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Our programs on the tcx hooks of an interface (Linux 6.6), each held by a pinned bpf_link. A
 * packet meets them before any filter on clsact, and for less.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <glob.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/private.h"

/* Headers older than Linux 6.6 lack these. */
#define ATTACH_TCX_INGRESS 46       /* BPF_TCX_INGRESS */
#define ATTACH_TCX_EGRESS  47       /* BPF_TCX_EGRESS */
#define LINK_TCX           11       /* BPF_LINK_TYPE_TCX */
#define FLAG_BEFORE        (1 << 3) /* BPF_F_BEFORE; relative to nothing: in front of all */
#define HOOK_PROGS_MAX     64       /* BPF_MPROG_MAX */

/* The head of struct bpf_link_info, with its member tcx. */
struct tcx_info {
	__u32 type;
	__u32 id;
	__u32 prog_id;
	__u32 pad;
	__u32 ifindex;
	__u32 attach_type;
};

static enum bpf_attach_type hook_of(enum loader_prog prog)
{
	return (enum bpf_attach_type)(prog_on_egress(prog) ? ATTACH_TCX_EGRESS
							   : ATTACH_TCX_INGRESS);
}

/* Identifiers of the programs of a hook; their number, or a negative errno. */
static int hook_progs(enum loader_prog prog, uint32_t ifindex, __u32 id[static HOOK_PROGS_MAX])
{
	__u32 count = HOOK_PROGS_MAX, flags;

	if (bpf_prog_query((int)ifindex, hook_of(prog), 0, &flags, id, &count) < 0)
		return -errno;
	return (int)count;
}

int tcx_chosen(uint32_t ifindex, struct loader_error *err)
{
	const char *wish = secure_getenv(TC_WISH);
	__u32 id[HOOK_PROGS_MAX];
	bool known;

	if (wish && !strcmp(wish, "clsact"))
		return 0;
	if (wish && strcmp(wish, "tcx") != 0)
		return error_set(err, -EINVAL, TC_WISH " is \"%.32s\": neither clsact nor tcx",
				 wish);
	/* what the kernel does not know is no hook to ask about */
	known = hook_progs(PROG_TC_NIC_INGRESS, ifindex, id) != -EINVAL;
	if (!known && wish)
		return error_set(err, -ENOTSUP,
				 "this kernel lacks tcx (Linux 6.6), which " TC_WISH " asks for");
	return known;
}

/* The link pinned at `path` if it is on this very hook, else -1. An interface that went into
 * another namespace took its link with it: the hook has to have the link's program. */
static int link_open(const char *path, enum loader_prog prog, uint32_t ifindex)
{
	struct tcx_info info = {0};
	__u32 len = sizeof(info), id[HOOK_PROGS_MAX];
	int fd = bpf_obj_get(path);
	int n = 0;

	if (fd < 0)
		return -1;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == LINK_TCX &&
	    info.ifindex == ifindex && info.attach_type == (__u32)hook_of(prog))
		n = hook_progs(prog, ifindex, id);
	for (int i = 0; i < n; i++)
		if (id[i] == info.prog_id)
			return fd;
	close(fd);
	return -1;
}

bool tcx_live(const struct record *r)
{
	int fd = link_open(r->path, r->prog, r->ifindex);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

void tcx_detach(const struct record *r)
{
	int fd = bpf_obj_get(r->path);

	/* At once, even if somebody else looks at the link at this moment. */
	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	unlink(r->path);
}

bool tcx_taken(const struct place *p, const struct record *r)
{
	const size_t base = strlen(p->base);
	char pattern[sizeof(r->path)];
	bool taken = false;
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/*/*/links/%s-%u-%u-tcx", p->root,
		 object_prog_name(r->prog), r->netns, r->ifindex);
	if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
		return false;
	for (size_t i = 0; i < found.gl_pathc && !taken; i++) {
		const char *path = found.gl_pathv[i];
		int fd = -1;

		if (strncmp(path, p->base, base) != 0 || path[base] != '/')
			fd = link_open(path, r->prog, r->ifindex);
		taken = fd >= 0;
		if (taken)
			close(fd);
	}
	globfree(&found);
	return taken;
}

/* A program that lets every packet go on: its descriptor. */
static int load_idle(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = TC_ACT_UNSPEC},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "holdfast_idle", "Dual BSD/GPL", insns,
			     sizeof(insns) / sizeof(insns[0]), NULL);
}

/* Makes a link and pins it; its descriptor, or a negative errno. */
static int link_make(const struct record *r, int prog_fd)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = prog_in_front(r->prog) ? FLAG_BEFORE : 0);
	int fd = bpf_link_create(prog_fd, (int)r->ifindex, hook_of(r->prog), &opts);
	int ret;

	if (fd < 0)
		return -errno;
	/* A crash between the two closes the link and so detaches. */
	unlink(r->path);
	if (bpf_obj_pin(fd, r->path) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/*
 * The kernel takes its time to make a link (a grace period), but none to replace its program. So
 * where our filter on clsact has to go, the link is made with a program that does nothing; the
 * two that work are both there only from one system call to the next.
 */
static int link_make_beside(const struct record *r, int prog_fd)
{
	int idle = load_idle();
	int fd = idle < 0 ? -errno : link_make(r, idle);
	int ret;

	if (idle >= 0)
		close(idle);
	if (fd < 0 || bpf_link_update(fd, prog_fd, NULL) == 0)
		return fd;
	ret = -errno;
	close(fd);
	tcx_detach(r);
	return ret;
}

/* A hook takes a program once, and nobody else has this one: our own link holds it there. */
static const char *hint(int code)
{
	return code == -EEXIST ? ": it is there already, but its pin is not; is a second bpffs on "
				 "top of that with the pins (/proc/mounts)?"
			       : "";
}

int tcx_attach(const struct place *p, const struct record *hook, int prog_fd,
	       struct loader_error *err)
{
	struct record r = *hook, old;
	const bool moves = clsact_find(p, hook, &old);
	char name[IF_NAMESIZE] = "?";
	int fd, ret = 0;

	r.flag = RECORD_TCX;
	record_path(p, &r, false, r.path, sizeof(r.path));
	fd = link_open(r.path, r.prog, r.ifindex);
	if (fd >= 0)
		ret = bpf_link_update(fd, prog_fd, NULL) < 0 ? -errno : 0;
	else
		ret = fd = moves ? link_make_beside(&r, prog_fd) : link_make(&r, prog_fd);
	if (fd >= 0)
		close(fd);
	if (ret < 0) {
		if_indextoname(r.ifindex, name);
		return error_set(err, ret, "cannot attach %s to %s (tcx): %s%s",
				 object_prog_name(r.prog), name, strerror(-ret), hint(ret));
	}
	if (moves)
		clsact_yield(p, &old);
	return 0;
}
