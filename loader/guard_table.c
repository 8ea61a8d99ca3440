/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is in the guard's tables: addresses, connections and their slots, embryos. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/membarrier.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loader/private.h"

#define BATCH 1024u /* elements taken out of a hash map at once */
#define PIECE 4096u /* slots that a program takes out of guard_free, or puts there, in one run */

static int write_elem(int fd, const void *key, const void *value, uint64_t flags)
{
	if (bpf_map_update_elem(fd, key, value, flags) == 0)
		return 0;
	return errno == E2BIG ? -ENOBUFS : -errno; /* how a map says that it is full */
}

/* Takes every element out of a hash map. What comes in at the same time may stay. */
static int empty(int fd, size_t key_size, size_t value_size)
{
	void *keys = malloc(BATCH * key_size);
	void *values = malloc(BATCH * value_size);
	uint32_t at, count;
	bool begun = false;
	int ret = keys && values ? 0 : -ENOMEM;

	while (ret == 0) {
		count = BATCH;
		if (bpf_map_lookup_and_delete_batch(fd, begun ? &at : NULL, &at, keys, values,
						    &count, NULL) < 0)
			ret = -errno;
		begun = true;
	}
	free(keys);
	free(values);
	return ret == -ENOENT ? 0 : ret; /* the end of the table */
}

static int drop(void *arg, void *data, size_t size)
{
	(void)arg;
	(void)data;
	(void)size;
	return 0;
}

static int drop_events(int fd)
{
	struct ring_buffer *ring = ring_buffer__new(fd, drop, NULL, NULL);
	int ret;

	if (!ring)
		return -errno;
	ret = ring_buffer__consume(ring);
	ring_buffer__free(ring);
	return ret < 0 ? ret : 0;
}

/* Waits until every program that is under way has come to its end: there is no other call for
 * it, and this one is a grace period of RCU, which they run under. */
static void wait_for_programs(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

/* Runs a program of guard_free.bpf.c on `count` slots from `first` on; how many it did. */
static int run_piece(int prog_fd, uint32_t first, uint32_t count)
{
	struct __sk_buff skb = {.cb = {count, first}};
	char packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb));

	return bpf_prog_test_run_opts(prog_fd, &opts) < 0 ? -errno : (int)opts.retval;
}

static int drain(const struct guard *g)
{
	int n;

	do {
		n = run_piece(g->drain_fd, 0, PIECE);
	} while (n == (int)PIECE);
	return n < 0 ? n : 0;
}

int guard_fill(const struct guard *g)
{
	uint32_t count;
	int n;

	for (uint32_t i = 0; i < g->slot_count; i += count) {
		count = g->slot_count - i < PIECE ? g->slot_count - i : PIECE;
		n = run_piece(g->fill_fd, i, count);
		if (n < 0)
			return n;
		if ((uint32_t)n != count)
			return -ENOBUFS;
	}
	return 0;
}

static void zero(struct guard_slot *s)
{
	const uint32_t generation = s->generation;

	memset(s, 0, sizeof(*s));
	s->generation = generation;
}

int guard_clear(struct guard *g)
{
	int ret;

	/* Without points no embryo is made, without embryos and free slots no connection. */
	ret = empty(g->map_fd[GUARD_MAP_POINTS], sizeof(struct guard_point_key),
		    sizeof(struct guard_point_val));
	if (ret < 0)
		return ret;
	ret = drain(g);
	if (ret < 0)
		return ret;
	wait_for_programs();
	ret = empty(g->map_fd[GUARD_MAP_EMBRYOS], sizeof(struct guard_key),
		    sizeof(struct guard_embryo));
	if (ret == 0)
		ret = empty(g->map_fd[GUARD_MAP_CONNS], sizeof(struct guard_key), sizeof(uint32_t));
	if (ret == 0)
		ret = drop_events(g->map_fd[GUARD_MAP_EVENTS]);
	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < g->slot_count; i++)
		zero(&g->slots[i]);
	return guard_fill(g);
}

static bool listed(const struct hf_addr *addr, const struct hf_addr *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!memcmp(addr, &list[i], sizeof(*addr)))
			return true;
	return false;
}

int guard_addresses(struct guard *g, const struct hf_addr *list, size_t count)
{
	struct hf_addr old[GUARD_ADDRS_MAX];
	const int fd = g->map_fd[GUARD_MAP_ADDRS];
	size_t old_count = 0;
	int ret = 0;

	if (count > GUARD_ADDRS_MAX)
		return -ENOBUFS;
	while (old_count < GUARD_ADDRS_MAX &&
	       bpf_map_get_next_key(fd, old_count ? &old[old_count - 1] : NULL, &old[old_count]) ==
		       0)
		old_count++;
	for (size_t i = 0; i < old_count; i++)
		if (!listed(&old[i], list, count))
			bpf_map_delete_elem(fd, &old[i]);
	for (size_t i = 0; i < count && ret == 0; i++)
		ret = guard_address(g, &list[i]);
	return ret;
}

int guard_address(struct guard *g, const struct hf_addr *addr)
{
	const uint32_t one = 1;

	return write_elem(g->map_fd[GUARD_MAP_ADDRS], addr, &one, BPF_ANY);
}

int guard_take(struct guard *g, uint32_t *ret_slot)
{
	uint32_t slot;

	if (bpf_map_lookup_and_delete_elem(g->map_fd[GUARD_MAP_FREE], NULL, &slot) < 0)
		return errno == ENOENT ? -ENOBUFS : -errno;
	if (slot >= g->slot_count)
		return -ERANGE;
	zero(&g->slots[slot]);
	g->slots[slot].generation++;
	*ret_slot = slot;
	return 0;
}

int guard_publish(struct guard *g, uint32_t slot)
{
	if (slot >= g->slot_count)
		return -ERANGE;
	/* the system call orders the stores into the slot before it */
	return write_elem(g->map_fd[GUARD_MAP_CONNS], &g->slots[slot].facts.key, &slot,
			  BPF_NOEXIST);
}

/* The queue is first in, first out: a program that has found the slot just before this has long
 * come to its end when the slot is taken again, unless nearly all are in use. */
void guard_release(struct guard *g, uint32_t slot)
{
	struct guard_key key;
	uint32_t found;

	if (slot >= g->slot_count)
		return;
	key = g->slots[slot].facts.key;
	if (bpf_map_lookup_elem(g->map_fd[GUARD_MAP_CONNS], &key, &found) == 0 && found == slot)
		bpf_map_delete_elem(g->map_fd[GUARD_MAP_CONNS], &key);
	__atomic_store_n(&g->slots[slot].mode, GUARD_FREE, __ATOMIC_RELEASE);
	write_elem(g->map_fd[GUARD_MAP_FREE], NULL, &slot, 0);
}

int guard_find(const struct guard *g, const struct guard_key *key, uint32_t *ret_slot)
{
	uint32_t slot;

	if (bpf_map_lookup_elem(g->map_fd[GUARD_MAP_CONNS], key, &slot) < 0)
		return -errno;
	*ret_slot = slot;
	return 0;
}

int guard_embryo(struct guard *g, const struct guard_facts *facts)
{
	const struct guard_embryo e = {.facts = *facts, .state = GUARD_EMBRYO_FOREIGN};

	return write_elem(g->map_fd[GUARD_MAP_EMBRYOS], &facts->key, &e, BPF_ANY);
}

void guard_embryos_clear(struct guard *g)
{
	empty(g->map_fd[GUARD_MAP_EMBRYOS], sizeof(struct guard_key), sizeof(struct guard_embryo));
}

int guard_reasons(const struct guard *g, uint64_t counts[static GUARD_REASON_COUNT])
{
	return reasons_sum(g->map_fd[GUARD_MAP_REASONS], GUARD_REASON_COUNT, counts);
}
