/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Internet checksums by difference (RFC 1624). A difference is the sum of the
 * new words and of the complements of the old ones, folded to 32 bits: what
 * bpf_l4_csum_replace() takes.
 *
 * ::ffff:0:0/96 adds 0xffff, which is zero in this arithmetic; so the
 * difference between two mapped addresses is that of the IPv4 addresses, and
 * between a mapped and an IPv6 one that of the two pseudo headers.
 */
#ifndef HOLDFAST_BPF_CSUM_H
#define HOLDFAST_BPF_CSUM_H

#include "compat.h"

static __always_inline __u32 csum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return sum;
}

static __always_inline __u16 csum_fold16(__u64 sum)
{
	sum = csum_fold32(sum);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline __u64 csum_sum_addr(const struct hf_addr *a)
{
	return (__u64)a->w[0] + a->w[1] + a->w[2] + a->w[3];
}

static __always_inline __u64 csum_diff_addr(const struct hf_addr *from, const struct hf_addr *to)
{
	return csum_sum_addr(to) + (__u32)~from->w[0] + (__u32)~from->w[1] + (__u32)~from->w[2] +
	       (__u32)~from->w[3];
}

static __always_inline __u64 csum_diff16(__u16 from, __u16 to)
{
	return (__u64)to + (__u16)~from;
}

/* The checksum field after the words it covers changed by diff. */
static __always_inline __u16 csum_apply(__u16 check, __u64 diff)
{
	return ~csum_fold16((__u64)(__u16)~check + csum_fold32(diff));
}

#endif
