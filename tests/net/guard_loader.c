/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Speaks to the guard's loader for guard_loader.sh.
 *
 * usage: guard_loader NAME ROOT WORD...
 *   open SLOTS                      guard_open(); prints how many slots there are
 *   attach IFNAME, detach IFNAME, clear, remove, purge, hold
 *   guard ADDRESS, only ADDRESS     guard_address(), guard_addresses()
 *   lease N, show                   the end of the lease in ns; "show" prints it, and what is there
 *   connect N                       N connections of the port 1, 2, ...
 *   speed N                         prints the time for N connections, and for guard_clear()
 *   folders N                       makes and takes away its folders N times
 *   cover                           mounts a second bpffs, for itself alone, over the one with the
 * pins full, twice, back, stranger, clean, embryos, reasons checks of the tables
 *
 * What fails prints the name of the errno and the sentence, or the line, and ends it with 1.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "loader/guard.h"
#include "loader/loader.h"
#include "loader/private.h"

static struct guard *g;
static struct loader_error err;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("line %d: not so: %s\n", __LINE__, #condition);                     \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static struct hf_addr mapped(const char *text)
{
	struct hf_addr a = {.b = {[10] = 0xff, [11] = 0xff}};

	if (inet_pton(AF_INET, text, &a.w[3]) != 1)
		exit(2);
	return a;
}

static uint32_t entries(enum guard_map map)
{
	uint8_t key[64], next[64];
	uint32_t n = 0;

	while (bpf_map_get_next_key(guard_map_fd(g, map), n ? key : NULL, next) == 0) {
		memcpy(key, next, sizeof(key));
		n++;
	}
	return n;
}

static struct guard_key key_of(uint32_t i)
{
	return (struct guard_key){
		.peer = mapped("10.50.0.2"),
		.local = mapped("10.50.0.9"),
		.peer_port = htons((uint16_t)i),
		.local_port = htons((uint16_t)(80 + (i >> 16))),
	};
}

/* Taken, filled with the i-th connection, published. */
static int connect_one(uint32_t i, uint32_t *slot)
{
	int ret = guard_take(g, slot);

	if (ret < 0)
		return ret;
	guard_slots(g)[*slot].facts.key = key_of(i);
	guard_slots(g)[*slot].mode = GUARD_OPEN;
	return guard_publish(g, *slot);
}

static uint32_t free_slots(void)
{
	uint32_t *taken = calloc(guard_slot_count(g) + 1, sizeof(*taken));
	uint32_t n = 0;

	while (taken && n <= guard_slot_count(g) && guard_take(g, &taken[n]) == 0)
		n++;
	for (uint32_t i = 0; i < n && i < guard_slot_count(g); i++)
		guard_release(g, taken[i]);
	free(taken);
	return n;
}

static double us_since(const struct timespec *from)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - from->tv_sec) * 1e6 +
	       (double)(now.tv_nsec - from->tv_nsec) / 1e3;
}

/* ---- checks --------------------------------------------------------------- */

/* Every slot is given once, in a clean state, and one more is refused. */
static int full(void)
{
	const uint32_t n = guard_slot_count(g);
	uint8_t *seen = calloc(n, 1);
	uint32_t slot;

	CHECK(seen);
	for (uint32_t i = 0; i < n; i++)
		guard_slots(g)[i].out_max = guard_slots(g)[i].in_commit = 77;
	for (uint32_t i = 0; i < n; i++) {
		CHECK(guard_take(g, &slot) == 0 && slot < n && !seen[slot]);
		seen[slot] = 1;
		CHECK(guard_slots(g)[slot].mode == GUARD_FREE);
		CHECK(!guard_slots(g)[slot].out_max && !guard_slots(g)[slot].in_commit);
		CHECK(guard_slots(g)[slot].generation > 0);
	}
	slot = 4711;
	CHECK(guard_take(g, &slot) == -ENOBUFS && slot == 4711);
	free(seen);
	for (uint32_t i = 0; i < n; i++)
		guard_release(g, i);
	CHECK(free_slots() == n);
	return 0;
}

static int twice(void)
{
	uint32_t a, b, found = 4711;
	struct guard_key key = key_of(1), other = key_of(2);

	CHECK(connect_one(1, &a) == 0);
	CHECK(connect_one(1, &b) == -EEXIST);
	CHECK(a != b);
	CHECK(guard_find(g, &key, &found) == 0 && found == a);
	guard_release(g, b); /* of the same key: the other stays */
	CHECK(guard_find(g, &key, &found) == 0 && found == a);
	CHECK(guard_slots(g)[a].mode == GUARD_OPEN && guard_slots(g)[b].mode == GUARD_FREE);
	found = 4711;
	CHECK(guard_find(g, &other, &found) == -ENOENT && found == 4711);
	guard_release(g, a);
	CHECK(guard_find(g, &key, &found) == -ENOENT);
	CHECK(connect_one(1, &b) == 0);
	guard_release(g, b);
	CHECK(guard_publish(g, guard_slot_count(g)) == -ERANGE);
	guard_release(g, guard_slot_count(g));
	CHECK(free_slots() == guard_slot_count(g));
	return 0;
}

/* A slot that comes back has another generation each time. */
static int back(void)
{
	const uint32_t n = guard_slot_count(g);
	uint32_t slot, before, first;

	CHECK(connect_one(1, &first) == 0);
	before = guard_slots(g)[first].generation;
	guard_release(g, first);
	for (uint32_t i = 0; i < n; i++) {
		CHECK(guard_take(g, &slot) == 0);
		guard_release(g, slot);
	}
	CHECK(slot == first && guard_slots(g)[first].generation == before + 1);
	CHECK(guard_clear(g) == 0);
	CHECK(guard_slots(g)[first].generation == before + 1);
	return 0;
}

/* A queue that holds what is no slot: refused, not believed. */
static int stranger(void)
{
	uint32_t slot, wrong = guard_slot_count(g);

	CHECK(guard_take(g, &slot) == 0);
	CHECK(bpf_map_update_elem(guard_map_fd(g, GUARD_MAP_FREE), NULL, &wrong, 0) == 0);
	for (uint32_t i = 1; i < guard_slot_count(g); i++)
		CHECK(guard_take(g, &slot) == 0);
	CHECK(guard_take(g, &slot) == -ERANGE);
	return guard_clear(g);
}

static int clean(void)
{
	static const struct guard_slot nothing;
	const struct hf_addr address = mapped("10.50.0.9");
	const struct guard_point_key point = {.addr = address, .port = htons(80)};
	const struct guard_point_val val = {.id = 1};
	struct guard_facts facts = {.key = key_of(7)};
	const uint32_t n = guard_slot_count(g);
	uint32_t slot, lost;

	CHECK(guard_address(g, &address) == 0);
	CHECK(bpf_map_update_elem(guard_map_fd(g, GUARD_MAP_POINTS), &point, &val, 0) == 0);
	CHECK(guard_embryo(g, &facts) == 0);
	for (uint32_t i = 1; i < n; i++)
		CHECK(connect_one(i, &slot) == 0);
	CHECK(guard_take(g, &lost) == 0); /* whoever took it died */
	CHECK(guard_take(g, &slot) == -ENOBUFS);
	CHECK(entries(GUARD_MAP_CONNS) == n - 1);
	CHECK(guard_clear(g) == 0);
	CHECK(entries(GUARD_MAP_CONNS) == 0 && entries(GUARD_MAP_POINTS) == 0);
	CHECK(entries(GUARD_MAP_EMBRYOS) == 0);
	CHECK(entries(GUARD_MAP_ADDRS) == 1);
	for (uint32_t i = 0; i < n; i++) {
		struct guard_slot s = guard_slots(g)[i];

		CHECK(s.generation > 0);
		s.generation = 0;
		CHECK(!memcmp(&s, &nothing, sizeof(s)));
	}
	CHECK(free_slots() == n);
	return 0;
}

static int embryos(void)
{
	struct guard_facts facts = {.irs = 5};
	struct guard_embryo e;

	for (uint32_t i = 0; i < 5000; i++) {
		facts.key = key_of(i);
		CHECK(guard_embryo(g, &facts) == 0);
	}
	facts.irs = 6;
	CHECK(guard_embryo(g, &facts) == 0); /* replaces */
	CHECK(bpf_map_lookup_elem(guard_map_fd(g, GUARD_MAP_EMBRYOS), &facts.key, &e) == 0);
	CHECK(e.state == GUARD_EMBRYO_FOREIGN && e.facts.irs == 6);
	CHECK(entries(GUARD_MAP_EMBRYOS) == 5000);
	guard_embryos_clear(g);
	CHECK(entries(GUARD_MAP_EMBRYOS) == 0);
	return 0;
}

static int reasons(void)
{
	uint64_t counts[GUARD_REASON_COUNT] = {[GUARD_REASON_OPENED] = 4711};
	uint64_t values[1024] = {3, 4};
	uint32_t reason = GUARD_REASON_FRAGMENT;

	CHECK(bpf_map_update_elem(guard_map_fd(g, GUARD_MAP_REASONS), &reason, values, 0) == 0);
	CHECK(guard_reasons(g, counts) == 0);
	CHECK(counts[GUARD_REASON_FRAGMENT] == 7 || counts[GUARD_REASON_FRAGMENT] == 3);
	CHECK(counts[GUARD_REASON_OPENED] == 0);
	return 0;
}

static const struct {
	const char *word;
	int (*run)(void);
} checks[] = {
	{"full", full},   {"twice", twice},     {"back", back},       {"stranger", stranger},
	{"clean", clean}, {"embryos", embryos}, {"reasons", reasons},
};

/* ---- words ----------------------------------------------------------------- */

static int show(void)
{
	printf("slots %u lease %llu connections %u addresses %u points %u\n", guard_slot_count(g),
	       (unsigned long long)guard_fence(g)->lease_until_ns, entries(GUARD_MAP_CONNS),
	       entries(GUARD_MAP_ADDRS), entries(GUARD_MAP_POINTS));
	return 0;
}

static int connect_some(uint32_t n)
{
	uint32_t slot;
	int ret = 0;

	for (uint32_t i = 1; i <= n && ret == 0; i++)
		ret = connect_one(i, &slot);
	return ret;
}

static int speed(uint32_t n)
{
	uint32_t *slots = calloc(n, sizeof(*slots));
	struct timespec from;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (uint32_t i = 0; slots && i < n && ret == 0; i++)
		ret = connect_one(i, &slots[i]);
	printf("taken and published %.0f us\n", us_since(&from));
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (uint32_t i = 0; slots && i < n && ret == 0; i++)
		guard_release(g, slots[i]);
	printf("released %.0f us\n", us_since(&from));
	for (uint32_t i = 0; slots && i < n && ret == 0; i++)
		ret = connect_one(i, &slots[i]);
	free(slots);
	clock_gettime(CLOCK_MONOTONIC, &from);
	if (ret == 0)
		ret = guard_clear(g);
	printf("cleared %.0f us\n", us_since(&from));
	return ret;
}

static int folders(const char *name, const char *root, unsigned long count)
{
	struct place p;
	int ret = place_set_guard(&p, name, root, GUARD_LAYOUT_VERSION, &err);

	for (unsigned long i = 0; i < count && ret == 0; i++) {
		ret = place_make(&p, &err);
		place_remove(&p);
	}
	return ret;
}

static int cover(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=700") < 0)
		return -errno;
	return 0;
}

static int run_word(const char *name, const char *root, char ***word)
{
	struct guard_options options = {.name = name, .pin_root = root, .embryo_rate = 10};
	const char *w = **word;
	struct hf_addr addr;
	int ret;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		if (!strcmp(w, checks[i].word))
			return checks[i].run();
	if (!strcmp(w, "clear"))
		return guard_clear(g);
	if (!strcmp(w, "show"))
		return show();
	if (!strcmp(w, "cover"))
		return cover();
	if (!strcmp(w, "purge"))
		return loader_purge(name, root, &err);
	if (!strcmp(w, "remove")) {
		struct guard *gone = g;

		g = NULL;
		return guard_remove(gone, &err);
	}
	if (!strcmp(w, "hold")) {
		printf("holding\n");
		pause();
		return 0;
	}
	if (!*++*word)
		return -EINVAL;
	if (!strcmp(w, "open")) {
		guard_close(g);
		g = NULL;
		options.slots = (uint32_t)strtoul(**word, NULL, 0);
		ret = guard_open(&options, &g, &err);
		if (ret == 0)
			printf("open %u\n", guard_slot_count(g));
		return ret;
	}
	if (!strcmp(w, "attach"))
		return guard_attach(g, if_nametoindex(**word), &err);
	if (!strcmp(w, "detach"))
		return guard_detach(g, if_nametoindex(**word), &err);
	if (!strcmp(w, "connect"))
		return connect_some((uint32_t)strtoul(**word, NULL, 0));
	if (!strcmp(w, "folders"))
		return folders(name, root, strtoul(**word, NULL, 0));
	if (!strcmp(w, "speed"))
		return speed((uint32_t)strtoul(**word, NULL, 0));
	if (!strcmp(w, "lease")) {
		guard_fence(g)->lease_until_ns = strtoull(**word, NULL, 0);
		return 0;
	}
	addr = mapped(**word);
	if (!strcmp(w, "guard"))
		return guard_address(g, &addr);
	if (!strcmp(w, "only"))
		return guard_addresses(g, &addr, 1);
	printf("word? %s\n", w);
	return 2;
}

int main(int argc, char **argv)
{
	int ret = 0;

	if (argc < 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (char **word = argv + 3; *word && ret == 0; word++) {
		const char *w = *word;

		ret = run_word(argv[1], argv[2], &word);
		if (ret < 0)
			printf("%s %s: %s\n", w, strerrorname_np(-ret), err.text);
	}
	guard_close(g);
	return ret ? 1 : 0;
}
