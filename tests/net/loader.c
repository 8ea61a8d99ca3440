/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Speaks to the loader for loader.sh.
 *
 * usage: loader NAME ROOT WORD...
 *   tun N                          value for the next loader_open()
 *   own | guest | adopt            loader_open()
 *   attach IFNAME nic|tun MODE     prints the mode in use
 *   room N                         flows, for the next loader_open()
 *   detach IFNAME                  list, reasons, route N, hold, remove, purge
 *   fill N ASSOC                   puts flows in, half of them idle for long
 *   end ASSOC                      it is in use no more; prints how many flows it had
 *   sweep                          in slices: prints what was expired and what lives; the number of
 *                                  slices, and the most flows and places that one looked at
 *   hook IFNAME ingress|egress     prints identifier and name of every program on a tcx hook, in
 *                                  their order
 *
 * What fails prints the name of the errno and the sentence, and ends it with 1.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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

#define IDLE_MS 60000u

static int fill(uint32_t count, uint32_t assoc)
{
	const struct service_val service = {.proto = IPPROTO_UDP, .used = 1};
	struct assoc_val *a = &loader_assocs(l)[assoc];
	struct timespec t;
	uint32_t now;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint32_t)((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000);
	for (uint32_t i = 0; i <= count >> 16; i++)
		if (bpf_map_update_elem(loader_map_fd(l, LOADER_SERVICE_TABLE), &i, &service, 0))
			return -errno;
	a->used = 1;
	a->flows = count;
	for (uint32_t i = 0; i < count; i++) {
		const struct flow_key key = {
			.assoc = assoc, .port = (__be16)i, .service = (__u16)(i >> 16)};
		const struct flow_val val = {.last_up = now - (i & 1 ? 2 * IDLE_MS : 0),
					     .last_down = now - 2 * IDLE_MS};

		if (bpf_map_update_elem(loader_map_fd(l, LOADER_FLOWS), &key, &val, BPF_NOEXIST))
			return -errno;
	}
	return 0;
}

static int sweep(void)
{
	const struct sweep_limits limits = {.udp_ms = IDLE_MS};
	struct loader_sweep s = {0};
	uint32_t slices = 0, seen = 0, walked = 0;
	int ret;

	do {
		ret = loader_sweep(l, &limits, &s);
		slices++;
		seen = s.seen > seen ? s.seen : seen;
		walked = s.walked > walked ? s.walked : walked;
	} while (ret > 0);
	if (ret == 0)
		printf("swept %u %u\nslices %u %u %u\n", s.expired, s.live, slices, seen, walked);
	return ret;
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
			ret = sweep();
		} else if (!strcmp(w, "fill")) {
			ret = fill((uint32_t)atoi(word[1]), (uint32_t)atoi(word[2]));
			word += 2;
		} else if (!strcmp(w, "end")) {
			struct assoc_val *a = &loader_assocs(l)[atoi(*++word)];

			a->used = 0;
			printf("had %u\n", a->flows);
		} else if (!strcmp(w, "room")) {
			options.max_flows = (uint32_t)atoi(*++word);
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
