/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Nodes with a lease machine each, a network that delays, loses, doubles and cuts, and a
 * schedule made of a seed. Time is virtual: us, of a clock that each node reads with its own
 * offset.
 */
#ifndef HOLDFAST_LEASE_WORLD_H
#define HOLDFAST_LEASE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

struct lease_world_result {
	char violation[200]; /* "" if none */
	uint64_t ownerships; /* how often a node became owner */
	uint64_t commits;    /* writes that another node held */
	uint64_t heal_us; /* from the end of all trouble until one owner had every standby synced */
	uint64_t steps;
};

/* `nodes` 2 to 5. */
void lease_world_run(uint32_t nodes, uint64_t seed, bool verbose, struct lease_world_result *ret);

#define LEASE_WORLD_LEASE_US 100000u
#define LEASE_WORLD_HEAL_MAX (20u * LEASE_WORLD_LEASE_US)

#endif
