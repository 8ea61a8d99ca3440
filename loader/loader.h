/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loads the data plane, pins it and attaches it to interfaces.
 *
 * Order: loader_open(), then loader_attach() for each interface, loader_close()
 * to leave everything running, or loader_remove() to take away what this name
 * owns. Every function returns 0 or a negative errno and, on failure, leaves
 * one sentence in the struct loader_error (what, where, why, what to do).
 * Nothing here logs. Not thread-safe.
 */
#ifndef HOLDFAST_LOADER_H
#define HOLDFAST_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <holdfast/layout.h>
#include <holdfast/reason.h>

#define LOADER_PIN_ROOT "/sys/fs/bpf/holdfast"

struct loader;

struct loader_error {
	char text[512];
};

enum loader_map {
	LOADER_META,
	LOADER_HOSTS,
	LOADER_SERVICES,
	LOADER_EMULATORS,
	LOADER_SERVICE_TABLE,
	LOADER_ASSOCS,
	LOADER_PATHS,
	LOADER_PEERS,
	LOADER_FLOWS,
	LOADER_ECHOES,
	LOADER_FRAGS,
	LOADER_REASONS,
	LOADER_EVENTS,
	LOADER_MAP_COUNT
};

enum loader_mode {
	LOADER_MODE_AUTO,    /* native XDP + tc if the driver has it and is not veth, else tc */
	LOADER_MODE_TC,      /* tc alone */
	LOADER_MODE_XDP,     /* native XDP + tc; fails where the driver has none */
	LOADER_MODE_GENERIC, /* generic XDP + tc */
};

enum loader_kind {
	LOADER_NIC, /* decode at ingress (tc, and XDP by mode) */
	LOADER_TUN, /* hf0: encode at egress and ingress (tc alone) */
};

struct loader_options {
	const char *name;      /* instance; a folder of that name under the pin root */
	const char *pin_root;  /* NULL: LOADER_PIN_ROOT */
	uint32_t max_flows;    /* 0: HF_FLOWS_DEFAULT, or what is pinned */
	uint32_t tun_ifindex;  /* hf0, 0 if there is none (attach/detach alone) */
	uint16_t control_port; /* host order; 0: WIRE_CONTROL_PORT */
	bool adopt_only;       /* do not create: -ENOENT where nothing is pinned */
};

struct loader_attachment {
	uint32_t ifindex;
	char ifname[16];
	enum loader_kind kind;
	enum loader_mode mode; /* in use: TC, XDP or GENERIC */
};

/* Opens the data plane of options->name: adopts its pinned maps if their layout
 * matches, else makes and pins them. Where `own` is set, or no programs are pinned, it
 * loads the programs with the options' values and replaces, atomically, those that are
 * attached in this network namespace already; a guest (`own` not set) works with the programs
 * that are pinned, whatever its options say. Pinned maps keep their size.
 * Holds a lock (flock, /run/holdfast) while it changes something, and with `own` until
 * loader_close() an exclusive one that says that a daemon owns this name: -EBUSY when
 * another has it. -ESTALE: pins of another layout (loader_purge() takes them away).
 * -EPERM: no privileges. -ENOTSUP: kernel lacks something needed; the sentence names it. */
int loader_open(const struct loader_options *options, bool own, struct loader **ret,
		struct loader_error *err);

/* true if the maps were there before this loader_open(). */
bool loader_adopted(const struct loader *l);

/* Descriptor of a map, owned by the loader. */
int loader_map_fd(const struct loader *l, enum loader_map map);

/* The shared memory of "assocs" (HF_ASSOCS_MAX elements) and "paths" (HF_PATHS_MAX). */
struct assoc_val *loader_assocs(const struct loader *l);
struct path_val *loader_paths(const struct loader *l);

/* Attaches to an interface; again on one that is attached: replaces. `ret_mode`, which
 * may be NULL, receives the mode in use. */
int loader_attach(struct loader *l, uint32_t ifindex, enum loader_kind kind, enum loader_mode mode,
		  enum loader_mode *ret_mode, struct loader_error *err);

/* Takes away only what loader_attach() of this name put there. -ENOENT: nothing there. */
int loader_detach(struct loader *l, uint32_t ifindex, struct loader_error *err);

/* Fills up to `max` entries with what is attached in this network namespace; returns their number.
 * Changes nothing, and so waits for nobody. */
int loader_attachments(const struct loader *l, struct loader_attachment *list, size_t max);

/* A sweep of "flows" under way; all zero: about to begin. */
struct loader_sweep {
	uint32_t next;   /* where the map is gone on with */
	uint32_t size;   /* flows that the next slice looks at, at most LOADER_SLICE_FLOWS */
	uint32_t walked; /* places of the map, empty ones too, that the last slice looked at */
	uint32_t seen;   /* flows, by the last slice */
	uint32_t expired;
	uint32_t live; /* both: by all so far */
};
#define LOADER_SLICE_FLOWS 512u

/* One slice of a sweep: flows that are idle for longer than `limits`, or whose service or
 * association is not in use, are taken away, and counted off in assoc_val.flows. Each flow that is
 * there all the time from the first slice to the last is looked at. No system call of it takes
 * longer than some tenths of a millisecond, whatever the size of the map and however few flows are
 * in it: the kernel runs nobody else on this CPU meanwhile, unless it was built to preempt.
 * 1: there is more, 0: that was the last slice, or a negative errno. */
int loader_sweep(const struct loader *l, const struct sweep_limits *limits, struct loader_sweep *s);

/* Sums a per-CPU counter over the CPUs into counts[reason]. */
int loader_reasons(const struct loader *l, uint64_t counts[static HF_REASON_COUNT]);

/* Lets go and leaves maps, pins and programs as they are. NULL is allowed. */
void loader_close(struct loader *l);

/* Detaches everything of this name, removes its pins, closes (also where it fails). NULL is
 * allowed. -EBUSY: a daemon owns this name, or it is attached in another network namespace. */
int loader_remove(struct loader *l, struct loader_error *err);

/* The same without opening: takes away whatever is pinned for a name, of any layout. The way
 * out of -ESTALE. -ENOENT: nothing is pinned. */
int loader_purge(const char *name, const char *pin_root, struct loader_error *err);

const char *loader_map_name(enum loader_map map);
const char *loader_mode_name(enum loader_mode mode);

#endif
