/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the files of the loader share and nobody else sees. */
#ifndef HOLDFAST_LOADER_PRIVATE_H
#define HOLDFAST_LOADER_PRIVATE_H

#include <limits.h>

#include "loader/guard.h"
#include "loader/loader.h"

struct bpf_object_open_opts;

/* Our filters' place on an interface where the kernel has no tcx. Another filter of the same
 * interface may come before or after; one that is in exactly this place and not ours is left
 * alone. The guard is in front: what it fences in or out nothing of ours may see. */
#define TC_PRIORITY       46u
#define TC_PRIORITY_GUARD 45u
#define TC_HANDLE         0x4846u

/* Environment: "clsact" or "tcx" instead of the choice by what the kernel has. */
#define TC_WISH "HOLDFAST_TC"

enum loader_prog {
	PROG_TC_NIC_INGRESS,
	PROG_TC_TUN_EGRESS,
	PROG_TC_TUN_INGRESS,
	PROG_FLOW_SWEEP,
	PROG_XDP_NIC, /* absent (-1) where the kernel refuses it */
	PROG_COUNT,
	/* of the guard, which has pins and tables of its own */
	PROG_GUARD_IN = PROG_COUNT,
	PROG_GUARD_OUT,
	PROG_END
};
#define GUARD_PROG_COUNT (PROG_END - PROG_GUARD_IN)

#define LOADER_NAME_MAX  32

/* ---- place.c: folders and locks ---- */

struct place {
	char name[LOADER_NAME_MAX];
	char root[128];
	const char *layout; /* "v" or "guard-v" */
	unsigned int version;
	const char *head; /* the map that tells the layout: pinned last, unlinked first */
	char base[192];   /* root/vN/name */
	char maps[208];
	char progs[208];
	char links[208];
};

/* Fills `ret` from name and root (NULL: the default) for one version of the layout. */
int place_set(struct place *ret, const char *name, const char *root, unsigned int version,
	      struct loader_error *err);
/* The same for the pins of the guard: root/guard-vN/name. The locks are those of the name. */
int place_set_guard(struct place *ret, const char *name, const char *root, unsigned int version,
		    struct loader_error *err);
/* Mounts bpffs if need be and makes the folders. */
int place_make(const struct place *p, struct loader_error *err);
/* Removes the folders that are empty, from the inside. */
void place_remove(const struct place *p);

enum lock_kind {
	LOCK_CHANGE, /* held for the time of one change; waits */
	LOCK_OWNER,  /* held by a daemon; -EBUSY if another has it */
};
/* Returns a descriptor to be closed, or a negative errno. */
int lock_take(const struct place *p, enum lock_kind kind, struct loader_error *err);
/* Removes the file of a lock that the caller holds. */
void lock_forget(const struct place *p, enum lock_kind kind);
/* What instances share, folders and the hooks of an interface, is changed by one of them at a time:
 * taken after LOCK_CHANGE, for a moment. Where it cannot be had one goes on without: -1. */
int lock_shared(void);
void unlock_shared(int fd);

/* ---- pin.c: maps and programs by name ---- */

/* What docs/bpffs.md says of a map. entries 0: any. */
struct map_shape {
	const char *name;
	uint32_t type;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t entries;
};
/* Opens and verifies the pins of `count` maps, shapes[0] being the place's head, whose value
 * `verify` judges. -ENOENT: no head, so nothing is complete. -ESTALE: another layout. */
int pin_adopt_set(const struct place *p, const struct map_shape *shapes, size_t count,
		  int (*verify)(const struct place *p, int fd, struct loader_error *err),
		  int *map_fd, struct loader_error *err);
int pin_set(const struct place *p, const struct map_shape *shapes, size_t count, const int *map_fd,
	    struct loader_error *err);
/* The sentence of -ESTALE, with `what` differs. */
int pin_stale(const struct place *p, struct loader_error *err, const char *what);

int pin_replace(int fd, const char *path, struct loader_error *err);
/* Opens every pinned map and verifies the layout. -ENOENT: nothing is pinned. */
int pin_adopt_maps(const struct place *p, int map_fd[static LOADER_MAP_COUNT],
		   struct loader_error *err);
int pin_maps(const struct place *p, const int map_fd[static LOADER_MAP_COUNT],
	     struct loader_error *err);
int pin_adopt_progs(const struct place *p, int prog_fd[static PROG_COUNT]);
int pin_progs(const struct place *p, const int prog_fd[static PROG_COUNT],
	      struct loader_error *err);
/* Closes those of `n` descriptors that are open; -1 then. */
void pin_close_all(int *fd, size_t n);
/* The memory of a map that has BPF_F_MMAPABLE; the caller unmaps it. `what`: its name. */
int pin_share(int fd, size_t bytes, const char *what, void **ret, struct loader_error *err);
/* Unlinks every entry of a folder that it holds. */
void pin_clear(const char *folder);
/* Looks for pins of another version of the place's layout. -ESTALE: there are some. */
int pin_check_versions(const struct place *p, struct loader_error *err);

/* ---- object.c: the programs ---- */

struct object_options {
	uint32_t max_flows;
	uint32_t tun_ifindex;
	uint16_t control_port;
};

/* Loads the programs. map_fd[]: descriptors to use, or all -1: makes maps and gives
 * their descriptors. prog_fd[PROG_XDP_NIC] is -1 and `xdp_err` filled where XDP is refused. */
int object_load(const struct object_options *options, int map_fd[static LOADER_MAP_COUNT],
		int prog_fd[static PROG_COUNT], struct loader_error *xdp_err,
		struct loader_error *err);
/* The map "ports" of the XDP program that was loaded last, -1 if there is none. The caller closes
 * it. */
int object_take_ports(void);
const char *object_prog_name(enum loader_prog prog);
/* Is its hook egress? Ingress else. Does it come before our others on its hook? */
bool prog_on_egress(enum loader_prog prog);
bool prog_in_front(enum loader_prog prog);
/* What a load needs beside the skeleton, and the sentence for one that failed with `code`. The
 * caller frees opts->kernel_log_buf. -ENOMEM. */
int object_log_make(struct bpf_object_open_opts *opts, struct loader_error *err);
int object_explain(int code, const char *object, bool xdp, char *log, struct loader_error *err);
/* A copy of a descriptor that outlives the skeleton, or a negative errno. */
int object_keep(int fd);
int object_privileges(struct loader_error *err);

/* ---- record.c: what is attached, kept as names in links/ ---- */

struct record {
	enum loader_prog prog;
	uint32_t netns; /* inode of the network namespace */
	uint32_t ifindex;
	enum record_flag {
		RECORD_FOUND,   /* filter on clsact, which was there before */
		RECORD_MADE,    /* filter on clsact, which we made */
		RECORD_TCX,     /* tcx link */
		RECORD_NATIVE,  /* XDP link */
		RECORD_GENERIC, /* XDP link */
	} flag;
	bool fresh; /* not confirmed: the change that it belongs to may not have happened */
	char path[320];
};

int record_netns(uint32_t *ret);
void record_path(const struct place *p, const struct record *r, bool fresh, char *path, size_t n);
/* Reads the folder; the caller frees *ret. Returns the number. */
int record_list(const struct place *p, struct record **ret);
/* On clsact? A link else. */
bool record_is_filter(const struct record *r);
bool record_same_hook(const struct record *a, const struct record *b);
/* Identifier of a pinned program, 0 if there is none. */
uint32_t record_prog_id(const char *path);

/* ---- clsact.c: filters on the clsact qdisc. `hook`: the program, namespace and interface of a
 * record that need not be there ---- */

/* Attaches or replaces ours. */
int clsact_attach(const struct place *p, const struct record *hook, int prog_fd,
		  struct loader_error *err);
/* -EBUSY: in our place is a filter that is not this instance's. */
int clsact_free(const struct place *p, const struct record *hook, struct loader_error *err);
/* Finds the record of a filter that is there. Settles unconfirmed ones. */
bool clsact_find(const struct place *p, const struct record *hook, struct record *ret);
/* Takes ours away; true if it was there. */
bool clsact_detach(const struct record *r);
/* The same, and the qdisc if we made it and nothing is left on it. */
void clsact_yield(const struct place *p, const struct record *r);
/* True if the filter that `r` speaks of is there. */
bool clsact_live(const struct record *r);
/* The same; confirms the record, or takes it away. */
bool clsact_settle(const struct place *p, struct record *r);
/* Removes the qdisc unless a filter of somebody is left on it. */
void clsact_remove(uint32_t ifindex);

/* ---- tcx.c: links on the tcx hooks ---- */

/* 1: tc programs go on tcx here, 0: on clsact. -EINVAL, -ENOTSUP: TC_WISH cannot be met. */
int tcx_chosen(uint32_t ifindex, struct loader_error *err);
/* Attaches ours or replaces it; a filter of ours on clsact makes way. */
int tcx_attach(const struct place *p, const struct record *hook, int prog_fd,
	       struct loader_error *err);
/* Does another instance under the same pin root have a link of this program there? */
bool tcx_taken(const struct place *p, const struct record *hook);
void tcx_detach(const struct record *r);
bool tcx_live(const struct record *r);

/* ---- xdp.c ---- */

int xdp_attach(const struct place *p, int prog_fd, uint32_t ifindex, bool generic,
	       struct loader_error *err);
int xdp_replace(const struct record *r, int prog_fd, struct loader_error *err);
void xdp_detach(const struct record *r);
bool xdp_live(const struct record *r);

/* ---- attach.c ---- */

/* Puts a tc program on its hook of an interface, or in the place of ours that is there: on tcx if
 * the kernel has it, else on clsact. -EBUSY: another instance's is there. */
int attach_tc(const struct place *p, enum loader_prog prog, int prog_fd, uint32_t ifindex,
	      struct loader_error *err);
/* Live records of this network namespace, settled: under the lock. The caller frees *ret. Their
 * number. Between error_listen() and error_unlisten(), as the next two. */
int attach_list(const struct place *p, struct record **ret);
/* Takes away what `list` has on one interface; the number of things taken. */
int attach_detach_one(const struct record *list, int n, uint32_t ifindex);
bool attach_has(const struct record *list, int n, uint32_t ifindex);
/* What loader_detach() and guard_detach() do. */
int attach_detach(const struct place *p, uint32_t ifindex, struct loader_error *err);
/* Puts the loader's programs in the place of those attached in this namespace. */
int attach_replace_all(struct loader *l, struct loader_error *err);
/* Takes away everything that is recorded in this namespace. -EBUSY: there is some in
 * another one that is alive. */
int attach_remove_all(const struct place *p, struct loader_error *err);

/* ---- loader.c ---- */

/* Detaches and unpins what a place holds. -EBUSY: attached in another namespace too. */
int instance_remove(const struct place *p, struct loader_error *err);
/* Sums `n` counters of a per-CPU array over the CPUs. */
int reasons_sum(int fd, uint32_t n, uint64_t *counts);

/* ---- error.c ---- */

/* Fills *err (may be NULL) and returns `code`, so that a failure is one line. */
int error_set(struct loader_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* libbpf speaks to stderr unless it is told not to; what it says last is kept for
 * error_heard(). Calls may not be nested. */
void error_listen(void);
void error_unlisten(void);
const char *error_heard(void);

struct loader {
	struct place place;
	int map_fd[LOADER_MAP_COUNT];
	int prog_fd[PROG_COUNT];
	int owner_fd;
	bool adopted;
	struct assoc_val *assocs;
	struct path_val *paths;
	struct loader_error xdp_err;
};

/* ---- sweep.c ---- */

/* Puts landmarks into a large map "flows", see there; once more does no harm. */
void sweep_mark(int flows_fd);

/* ---- guard.c, guard_table.c ---- */

struct guard {
	struct place place;
	int map_fd[GUARD_MAP_COUNT];
	int prog_fd[GUARD_PROG_COUNT];
	int drain_fd, fill_fd; /* programs on guard_free */
	int owner_fd;
	uint32_t slot_count;
	struct guard_conf *conf;
	struct guard_slot *slots;
};

/* Puts every slot of a new guard into guard_free. */
int guard_fill(const struct guard *g);

#endif
