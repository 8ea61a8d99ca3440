/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A million flows in the map.
 *
 *   million measure NAME FLOWS ROUNDS   maps of its own, made by the loader under that name and
 * removed at the end: time of the store that moves them all, whether the next packet takes the new
 * path, memory of the map million fill PINS ASSOC FLOWS       into the flows of a daemon that runs,
 * PINS: the folder of its maps
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf.h>

#include "loader/loader.h"

#define BATCH    4096u
#define SERVICES 16u
#define SPARE    65536u

static int fail(const char *what, int err)
{
	fprintf(stderr, "million: %s: %s\n", what, strerror(err));
	return -1;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* Flows of services first..first+15, each with the ports from 1 on. Returns how many fitted. */
static uint32_t fill(int map, uint32_t assoc, uint16_t first, uint32_t count)
{
	static struct flow_key keys[BATCH];
	static struct flow_val vals[BATCH];
	uint32_t now = now_ns() / 1000000, done = 0, n, stored;

	while (done < count) {
		LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = BPF_ANY);

		for (n = 0; n < BATCH && done + n < count; n++) {
			keys[n] = (struct flow_key){.assoc = assoc,
						    .port = htons(1 + (done + n) / SERVICES),
						    .service = first + (done + n) % SERVICES};
			vals[n] =
				(struct flow_val){.last_up = now, .last_down = now, .created = now};
		}
		stored = n;
		if (bpf_map_update_batch(map, keys, vals, &stored, &opts))
			return done + stored;
		done += n;
	}
	return done;
}

static long memlock(int fd)
{
	char path[64], line[128];
	long bytes = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "memlock: %ld", &bytes);
	if (f)
		fclose(f);
	return bytes;
}

static struct hf_addr addr4(const char *text)
{
	struct hf_addr a = {.w = {0, 0, htonl(0xffff), 0}};

	inet_pton(AF_INET, text, &a.w[3]);
	return a;
}

/* One association of the mobile's side with two paths over the loopback device. */
static int world(struct loader *l)
{
	struct assoc_val *assoc = loader_assocs(l) + 1;
	struct path_val *paths = loader_paths(l);
	struct service_val service = {.addr = addr4("203.0.113.80"),
				      .port = htons(53),
				      .emulator = htons(5353),
				      .proto = IPPROTO_UDP,
				      .used = 1,
				      .assoc = 1};
	struct service_key sk = {.addr = service.addr, .port = service.port, .proto = IPPROTO_UDP};
	struct host_val host = {.assoc = 1, .role = HF_ROLE_MOBILE};
	struct hf_addr inner = addr4("10.77.0.5");
	uint32_t index = 0;

	*assoc = (struct assoc_val){.scope = 2, .role = HF_ROLE_MOBILE, .used = 1, .host4 = inner};
	paths[1] = (struct path_val){.local = addr4("192.0.2.10"),
				     .peer = addr4("198.51.100.1"),
				     .ifindex = 1,
				     .assoc = 1,
				     .family = 4,
				     .used = 1};
	paths[2] = paths[1];
	paths[2].local = addr4("192.0.2.20");
	assoc->route = HF_ROUTE(1, HF_MODE_ACTIVE, 1);
	if (bpf_map_update_elem(loader_map_fd(l, LOADER_SERVICE_TABLE), &index, &service, 0) ||
	    bpf_map_update_elem(loader_map_fd(l, LOADER_SERVICES), &sk, &index, 0) ||
	    bpf_map_update_elem(loader_map_fd(l, LOADER_HOSTS), &inner, &host, 0))
		return fail("filling the maps", errno);
	return 0;
}

/* Low octet of the source that encode gives the next packet; < 0: it was not sent. */
static int encoded(int prog)
{
	uint8_t in[14 + 20 + 8 + 22] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0, 0x45}, out[256];
	struct hf_addr src = addr4("10.77.0.5"), dst = addr4("203.0.113.80");
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = sizeof(in),
		    .data_out = out, .data_size_out = sizeof(out), .repeat = 1);
	uint16_t port = htons(1), service = htons(53), len = htons(30);

	in[17] = sizeof(in) - 14;
	in[22] = 64;
	in[23] = IPPROTO_UDP;
	memcpy(in + 26, &src.w[3], 4);
	memcpy(in + 30, &dst.w[3], 4);
	memcpy(in + 34, &port, 2);
	memcpy(in + 36, &service, 2);
	memcpy(in + 38, &len, 2);
	if (bpf_prog_test_run_opts(prog, &opts) || opts.retval != TC_ACT_REDIRECT)
		return -1;
	return out[29];
}

static int times(struct loader *l, const char *name, uint32_t rounds)
{
	_Atomic uint64_t *route = (_Atomic uint64_t *)&loader_assocs(l)[1].route;
	uint32_t wrong = 0;
	char path[256];
	int prog;

	snprintf(path, sizeof(path), LOADER_PIN_ROOT "/v%d/%s/progs/tc_tun_egress",
		 HF_LAYOUT_VERSION, name);
	prog = bpf_obj_get(path);
	if (prog < 0)
		return fail(path, errno);
	printf(",\"write_ns\":[");
	for (uint32_t i = 0; i < rounds; i++) {
		uint32_t to = 1 + (i + 1) % 2;
		int64_t start = now_ns(), took;

		*route = HF_ROUTE(to, HF_MODE_ACTIVE, i + 2);
		took = now_ns() - start;
		if (encoded(prog) != (to == 1 ? 10 : 20))
			wrong++;
		printf("%s%lld", i ? "," : "", (long long)took);
	}
	printf("],\"wrong\":%u", wrong);
	close(prog);
	return 0;
}

static int measure(const char *name, uint32_t flows, uint32_t rounds)
{
	struct loader_options options = {.name = name, .max_flows = flows + SPARE};
	struct loader_error err = {.text = ""};
	struct loader *l;
	uint32_t filled;
	int ret = 1, fd;

	if (unshare(CLONE_NEWNET))
		return -fail("network namespace", errno);
	if (loader_open(&options, true, &l, &err)) {
		fprintf(stderr, "million: %s\n", err.text);
		return 1;
	}
	fd = loader_map_fd(l, LOADER_FLOWS);
	if (!world(l)) {
		filled = fill(fd, 1, 0, flows);
		printf("{\"flows\":%u,\"room\":%u,\"memlock\":%ld", filled, options.max_flows,
		       memlock(fd));
		ret = filled == flows ? -times(l, name, rounds) : 1;
		printf("}\n");
	}
	if (loader_remove(l, &err))
		fprintf(stderr, "million: %s\n", err.text);
	return ret;
}

static int fill_running(const char *pins, uint32_t assoc, uint32_t flows)
{
	uint32_t filled, first = 0;
	struct assoc_val *assocs;
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/flows", pins);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -fail(path, errno);
	filled = fill(fd, assoc, first, flows);
	snprintf(path, sizeof(path), "%s/assocs", pins);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -fail(path, errno);
	assocs = mmap(NULL, HF_ASSOCS_MAX * sizeof(*assocs), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		      0);
	if (assocs == MAP_FAILED)
		return -fail(path, errno);
	__atomic_fetch_add(&assocs[assoc].flows, filled, __ATOMIC_RELAXED);
	printf("{\"flows\":%u}\n", filled);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "measure"))
		return measure(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
	if (argc == 5 && !strcmp(argv[1], "fill"))
		return fill_running(argv[2], strtoul(argv[3], NULL, 10),
				    strtoul(argv[4], NULL, 10));
	fprintf(stderr,
		"usage: million measure NAME FLOWS ROUNDS\n       million fill PINS ASSOC FLOWS\n");
	return 2;
}
