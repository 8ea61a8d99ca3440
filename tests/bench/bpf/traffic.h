/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What tests/bench/flood.c tells the programs in traffic.bpf.c. */
#ifndef HOLDFAST_TESTS_BENCH_TRAFFIC_H
#define HOLDFAST_TESTS_BENCH_TRAFFIC_H

#include <linux/types.h>

#define TRAFFIC_FRAME 64 /* a multiple of 8; 22 octets of payload */

struct traffic {
	__u8 frame[TRAFFIC_FRAME];
	__u32 sum;   /* of the UDP checksum without the source port */
	__u32 flows; /* source ports first, first + 1, ... */
	__u32 ifindex;
	__be32 expected_addr; /* what the sink counts */
	__be16 expected_port;
	__u16 first;
	__u32 pad;
};

#endif
