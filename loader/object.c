/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Loads the two objects, tc and XDP, over one set of maps. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <holdfast/wire.h>

#include "bpf/tc.skel.h"
#include "bpf/xdp.skel.h"
#include "loader/private.h"

#define VERIFIER_LOG_BYTES (4u << 20) /* touched only where a program is refused */

static const char *const names[PROG_END] = {
	[PROG_TC_NIC_INGRESS] = "tc_nic_ingress",
	[PROG_TC_TUN_EGRESS] = "tc_tun_egress",
	[PROG_TC_TUN_INGRESS] = "tc_tun_ingress",
	[PROG_FLOW_SWEEP] = "flow_sweep",
	[PROG_XDP_NIC] = "xdp_nic",
	[PROG_GUARD_IN] = "guard_in",
	[PROG_GUARD_OUT] = "guard_out",
};

static int ports = -1;

int object_take_ports(void)
{
	int fd = ports;

	ports = -1;
	return fd;
}

const char *object_prog_name(enum loader_prog prog)
{
	return names[prog];
}

bool prog_on_egress(enum loader_prog prog)
{
	return prog == PROG_TC_TUN_EGRESS || prog == PROG_GUARD_OUT;
}

bool prog_in_front(enum loader_prog prog)
{
	return prog >= PROG_GUARD_IN;
}

int object_privileges(struct loader_error *err)
{
	bool all, bpf, net;

	if (capng_get_caps_process() < 0)
		return 0; /* the kernel will say it */
	all = capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
	bpf = all || (capng_have_capability(CAPNG_EFFECTIVE, CAP_BPF) &&
		      capng_have_capability(CAPNG_EFFECTIVE, CAP_PERFMON));
	net = capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN);
	if (bpf && net)
		return 0;
	return error_set(err, -EPERM,
			 "cannot load the data plane: this process lacks %s%s%s; run as root, or "
			 "give the service these capabilities",
			 bpf ? "" : "CAP_BPF and CAP_PERFMON", !bpf && !net ? " and " : "",
			 net ? "" : "CAP_NET_ADMIN");
}

static bool has_btf(void)
{
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		return false;
	btf__free(btf);
	return true;
}

/* The feature that this kernel lacks, or NULL. Asked only after a failure. */
static const char *lacking(bool xdp)
{
	if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SCHED_CLS, NULL) == 0)
		return "BPF programs on tc (CONFIG_NET_CLS_BPF)";
	if (xdp && libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_XDP, NULL) == 0)
		return "XDP";
	if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SYSCALL, NULL) == 0)
		return "BPF programs of type syscall (Linux 5.14)";
	if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 0)
		return "BPF ring buffers (Linux 5.8)";
	if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_LRU_HASH, NULL) == 0)
		return "BPF hash maps with LRU";
	if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_redirect_neigh, NULL) == 0)
		return "the helper bpf_redirect_neigh (Linux 5.10)";
	if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_loop, NULL) == 0)
		return "the helper bpf_loop (Linux 5.17)";
	if (!has_btf())
		return "BTF, by which programs know its structures (CONFIG_DEBUG_INFO_BTF)";
	return NULL;
}

/* The verifier's last line that says something, cut out of its log. */
static const char *verdict(char *log)
{
	static const char trailer[] = "processed ";
	char *line;

	for (;;) {
		size_t n = strlen(log);

		while (n > 0 && log[n - 1] == '\n')
			log[--n] = '\0';
		line = strrchr(log, '\n');
		if (!line)
			return log;
		if (strncmp(line + 1, trailer, sizeof(trailer) - 1) != 0)
			return line + 1;
		*line = '\0';
	}
}

int object_explain(int code, const char *object, bool xdp, char *log, struct loader_error *err)
{
	const char *feature, *said;

	if (code == -EPERM)
		return error_set(err, -EPERM,
				 "the kernel refuses to load the data plane (%s): needs CAP_BPF, "
				 "CAP_PERFMON and CAP_NET_ADMIN in the initial user namespace, and "
				 "a kernel that is not locked down; run as root",
				 object);
	/* The kernel's reason is taken before the probes speak over it. */
	said = log[0] ? verdict(log) : error_heard();
	feature = code == -ENOSYS ? "the bpf system call (CONFIG_BPF_SYSCALL)" : lacking(xdp);
	if (feature)
		return error_set(err, -ENOTSUP,
				 "this kernel lacks %s, which the data plane needs: use Linux 6.1 "
				 "or later",
				 feature);
	return error_set(err, code, "cannot load the data plane (%s): %s: %.300s", object,
			 strerror(-code), said);
}

static int reuse(struct bpf_object *object, const int map_fd[static LOADER_MAP_COUNT],
		 bool all_needed, struct loader_error *err)
{
	for (int i = 0; i < LOADER_MAP_COUNT; i++) {
		const char *name = loader_map_name(i);
		struct bpf_map *map = bpf_object__find_map_by_name(object, name);
		int ret;

		if (!map && all_needed)
			return error_set(err, -EINVAL, "the data plane has no map \"%s\"", name);
		if (!map || map_fd[i] < 0)
			continue;
		ret = bpf_map__reuse_fd(map, map_fd[i]);
		if (ret < 0)
			return error_set(err, ret, "cannot use the pinned map \"%s\": %s", name,
					 strerror(-ret));
	}
	return 0;
}

int object_keep(int fd)
{
	int ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return ret < 0 ? -errno : ret;
}

int object_log_make(struct bpf_object_open_opts *opts, struct loader_error *err)
{
	opts->kernel_log_buf = malloc(VERIFIER_LOG_BYTES);
	opts->kernel_log_size = VERIFIER_LOG_BYTES;
	if (!opts->kernel_log_buf)
		return error_set(err, -ENOMEM, "no memory to load the data plane");
	opts->kernel_log_buf[0] = '\0';
	return 0;
}

static int load_tc(const struct object_options *options, const struct bpf_object_open_opts *opts,
		   int map_fd[static LOADER_MAP_COUNT], int prog_fd[static PROG_COUNT],
		   struct loader_error *err)
{
	struct tc_bpf *skel = tc_bpf__open_opts(opts);
	int ret;

	if (!skel)
		return error_set(err, -errno, "cannot open the data plane (tc): %s", error_heard());
	skel->rodata->hf_tun_ifindex = options->tun_ifindex;
	skel->rodata->hf_control_port = options->control_port;
	ret = reuse(skel->obj, map_fd, true, err);
	if (ret < 0)
		goto out;
	if (map_fd[LOADER_FLOWS] < 0) {
		ret = bpf_map__set_max_entries(skel->maps.flows, options->max_flows);
		if (ret < 0) {
			error_set(err, ret, "cannot make room for %u flows: %s", options->max_flows,
				  strerror(-ret));
			goto out;
		}
	}
	ret = tc_bpf__load(skel);
	if (ret < 0) {
		ret = object_explain(ret, "tc", false, opts->kernel_log_buf, err);
		goto out;
	}
	for (int i = 0; i < LOADER_MAP_COUNT && ret >= 0; i++) {
		if (map_fd[i] >= 0)
			continue;
		ret = object_keep(
			bpf_map__fd(bpf_object__find_map_by_name(skel->obj, loader_map_name(i))));
		map_fd[i] = ret;
	}
	for (int i = 0; i < PROG_XDP_NIC && ret >= 0; i++) {
		struct bpf_program *prog = bpf_object__find_program_by_name(skel->obj, names[i]);

		ret = prog ? object_keep(bpf_program__fd(prog)) : -ENOENT;
		prog_fd[i] = ret;
	}
	ret = ret < 0 ? error_set(err, ret, "cannot keep the data plane: %s", strerror(-ret)) : 0;
out:
	tc_bpf__destroy(skel);
	return ret;
}

static int load_xdp(const struct object_options *options, const struct bpf_object_open_opts *opts,
		    const int map_fd[static LOADER_MAP_COUNT], int prog_fd[static PROG_COUNT],
		    struct loader_error *err)
{
	struct xdp_bpf *skel = xdp_bpf__open_opts(opts);
	int ret;

	if (!skel)
		return error_set(err, -errno, "cannot open the data plane (xdp): %s",
				 error_heard());
	skel->rodata->hf_tun_ifindex = options->tun_ifindex;
	skel->rodata->hf_control_port = options->control_port;
	ret = reuse(skel->obj, map_fd, false, err);
	if (ret < 0)
		goto out;
	ret = xdp_bpf__load(skel);
	if (ret < 0) {
		ret = object_explain(ret, "xdp", true, opts->kernel_log_buf, err);
		goto out;
	}
	ret = object_keep(bpf_map__fd(skel->maps.ports));
	if (ret < 0)
		goto out;
	ports = ret;
	ret = object_keep(bpf_program__fd(skel->progs.xdp_nic));
	if (ret >= 0) {
		prog_fd[PROG_XDP_NIC] = ret;
		ret = 0;
	}
out:
	xdp_bpf__destroy(skel);
	return ret;
}

int object_load(const struct object_options *options, int map_fd[static LOADER_MAP_COUNT],
		int prog_fd[static PROG_COUNT], struct loader_error *xdp_err,
		struct loader_error *err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts);
	int maps[LOADER_MAP_COUNT];
	int progs[PROG_COUNT];
	int ret;

	memcpy(maps, map_fd, sizeof(maps));
	if (ports >= 0)
		close(object_take_ports()); /* of a load after which something failed */
	for (int i = 0; i < PROG_COUNT; i++)
		progs[i] = -1;
	ret = object_log_make(&opts, err);
	if (ret < 0)
		return ret;
	error_listen();
	ret = load_tc(options, &opts, maps, progs, err);
	if (ret == 0) {
		opts.kernel_log_buf[0] = '\0';
		xdp_err->text[0] = '\0';
		load_xdp(options, &opts, maps, progs, xdp_err);
		memcpy(map_fd, maps, sizeof(maps));
		memcpy(prog_fd, progs, sizeof(progs));
	} else {
		for (int i = 0; i < LOADER_MAP_COUNT; i++)
			if (maps[i] >= 0 && map_fd[i] < 0)
				close(maps[i]);
		pin_close_all(progs, PROG_COUNT);
	}
	error_unlisten();
	free(opts.kernel_log_buf);
	return ret;
}
