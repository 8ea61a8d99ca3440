/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Speaks to the loader for loader.sh.
 *
 * usage: loader NAME ROOT WORD...
 *   tun N                          value for the next loader_open()
 *   own | guest | adopt            loader_open()
 *   attach IFNAME nic|tun MODE     prints the mode in use
 *   detach IFNAME                  list, sweep, reasons, route N, hold, remove, purge
 *   hook IFNAME ingress|egress     prints identifier and name of every program on a tcx hook, in
 *                                  their order
 *
 * What fails prints the name of the errno and the sentence, and ends it with 1.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/loader.h"

static struct loader *l;
static struct loader_error err;

static int failed(const char *word, int code)
{
	printf("%s %s: %s\n", word, strerrorname_np(-code), err.text);
	loader_close(l);
	return 1;
}

static enum loader_mode mode_of(const char *name)
{
	enum loader_mode m = LOADER_MODE_AUTO;

	while (m < LOADER_MODE_GENERIC && strcmp(name, loader_mode_name(m)) != 0)
		m++;
	return m;
}

/* Asks the kernel, whatever the loader says. */
static int show_hook(const char *ifname, bool egress)
{
	const enum bpf_attach_type type = egress ? 47 : 46; /* BPF_TCX_EGRESS, BPF_TCX_INGRESS */
	__u32 id[64], n = 64, flags;

	if (bpf_prog_query((int)if_nametoindex(ifname), type, 0, &flags, id, &n) < 0)
		return -errno;
	for (__u32 i = 0; i < n; i++) {
		struct bpf_prog_info info = {0};
		__u32 len = sizeof(info);
		int fd = bpf_prog_get_fd_by_id(id[i]);

		if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
			return -errno;
		close(fd);
		printf("%u %s\n", id[i], info.name);
	}
	return 0;
}

static int run(const char *name, const char *root, char **word)
{
	struct loader_options options = {.name = name, .pin_root = root, .max_flows = 1024};
	struct loader_attachment list[16];
	enum loader_mode mode;
	int ret = 0;

	for (; *word; word++) {
		const char *w = *word;

		err.text[0] = '\0';
		if (!strcmp(w, "tun")) {
			options.tun_ifindex = (uint32_t)atoi(*++word);
		} else if (!strcmp(w, "own") || !strcmp(w, "guest") || !strcmp(w, "adopt")) {
			loader_close(l);
			l = NULL;
			options.adopt_only = w[0] == 'a';
			ret = loader_open(&options, w[0] == 'o', &l, &err);
			if (ret == 0)
				printf("%s %s\n", w, loader_adopted(l) ? "adopted" : "made");
		} else if (!strcmp(w, "attach")) {
			uint32_t ifindex = if_nametoindex(word[1]);

			ret = loader_attach(l, ifindex,
					    strcmp(word[2], "tun") ? LOADER_NIC : LOADER_TUN,
					    mode_of(word[3]), &mode, &err);
			if (ret == 0)
				printf("attached %s %s\n", word[1], loader_mode_name(mode));
			word += 3;
		} else if (!strcmp(w, "detach")) {
			ret = loader_detach(l, if_nametoindex(*++word), &err);
		} else if (!strcmp(w, "hook")) {
			ret = show_hook(word[1], !strcmp(word[2], "egress"));
			word += 2;
		} else if (!strcmp(w, "list")) {
			int n = loader_attachments(l, list, 16);

			for (int i = 0; i < n; i++)
				printf("%s %s %s\n", list[i].ifname,
				       list[i].kind == LOADER_TUN ? "tun" : "nic",
				       loader_mode_name(list[i].mode));
		} else if (!strcmp(w, "sweep")) {
			struct sweep_args args = {.assoc = ~0u, .expired = ~0u, .live = ~0u};

			ret = loader_sweep(l, &args);
			if (ret == 0)
				printf("swept %u %u\n", args.expired, args.live);
		} else if (!strcmp(w, "reasons")) {
			uint64_t counts[HF_REASON_COUNT];

			ret = loader_reasons(l, counts);
		} else if (!strcmp(w, "route")) {
			/* shared memory: prints what was there, then writes */
			printf("route %llu\n", (unsigned long long)loader_assocs(l)[7].route);
			loader_assocs(l)[7].route = strtoull(*++word, NULL, 0);
		} else if (!strcmp(w, "hold")) {
			puts("holding");
			fflush(stdout);
			pause();
		} else if (!strcmp(w, "remove")) {
			struct loader *gone = l;

			l = NULL;
			ret = loader_remove(gone, &err);
		} else if (!strcmp(w, "purge")) {
			ret = loader_purge(name, root, &err);
		} else {
			printf("word? %s\n", w);
			return 2;
		}
		if (ret < 0)
			return failed(w, ret);
	}
	loader_close(l);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	return run(argv[1], argv[2], argv + 3);
}
