/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every file of the data plane needs before anything else: the uapi
 * headers (not vmlinux.h, so that the build needs no BTF of the machine it
 * runs on), verdicts, and the few lines that answer habits of LLVM and of the
 * verifier.
 */
#ifndef HOLDFAST_BPF_COMPAT_H
#define HOLDFAST_BPF_COMPAT_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/version.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/icmpv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#include <holdfast/layout.h>
#include <holdfast/reason.h>
#include <holdfast/wire.h>

/* the two shims share their signatures, and not every one needs all */
#pragma clang diagnostic ignored "-Wunused-parameter"

#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define AF_INET     2
#define AF_INET6    10

#define PACKET_HOST 0 /* of <linux/if_packet.h>, which draws in the C library too */

/* uapi has these only for the kernel itself */
#define IP_DF            0x4000
#define IP_MF            0x2000
#define IP_OFFSET        0x1fff
#define IP6_MF           0x0001
#define IP6_OFFSET       0xfff8
#define NEXTHDR_HOP      0
#define NEXTHDR_ROUTING  43
#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_DEST     60

/* <linux/icmp.h> draws in the C library's socket.h, which has no place here */
#define ICMP_ECHOREPLY     0
#define ICMP_DEST_UNREACH  3
#define ICMP_ECHO          8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12

/* codes of ICMP_DEST_UNREACH; those in between are more ways to have no route */
#define ICMP_HOST_UNREACH   1
#define ICMP_PROT_UNREACH   2
#define ICMP_PORT_UNREACH   3
#define ICMP_FRAG_NEEDED    4
#define ICMP_NET_ANO        9
#define ICMP_HOST_ANO       10
#define ICMP_PKT_FILTERED   13
#define ICMP_PREC_VIOLATION 14
#define ICMP_PREC_CUTOFF    15

/* ICMP and ICMPv6 alike */
struct icmp_header {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be16 id; /* echo */
	__be16 sequence;
};

/* linux/tcp.h has these only as big-endian words */
#define TCP_FLAG_BYTE 13

#define EEXIST        17
#define E2BIG         7

/* What becomes of a packet. Only the entry points turn it into TC_ACT_ or XDP_. */
enum verdict {
	VERDICT_PASS,     /* not ours; untouched */
	VERDICT_PUNT,     /* ours, for the daemon; untouched */
	VERDICT_REFUSE,   /* ours, and nobody may have it; untouched */
	VERDICT_BROKEN,   /* a helper failed after the first write */
	VERDICT_REDIRECT, /* rewritten, leaves by another interface */
	VERDICT_TX,       /* rewritten, leaves by the interface it came from */
	VERDICT_UP,       /* rewritten, goes on where it is */
};

/* where a packet is */
enum origin {
	ORIGIN_NIC,     /* ingress of a NIC */
	ORIGIN_TUN_OUT, /* egress of hf0: an application's, or forwarded */
	ORIGIN_TUN_IN,  /* ingress of hf0: released or offered again by the daemon */
};

/* Highest offset of a transport header that is parsed; 2^n - 1. */
#define OFFSET_MAX 511

/*
 * The verifier forgets the range of an offset that LLVM keeps in a stack slot
 * of less than eight bytes, and LLVM removes a mask that it can prove to be
 * redundant; the assembler statement is one that it cannot.
 */
static __always_inline __u64 bound(__u64 offset)
{
	asm volatile("%0 &= 511" : "+r"(offset));
	return offset;
}

static __always_inline bool addr_equal(const struct hf_addr *a, const struct hf_addr *b)
{
	return !((a->w[0] ^ b->w[0]) | (a->w[1] ^ b->w[1]) | (a->w[2] ^ b->w[2]) |
		 (a->w[3] ^ b->w[3]));
}

static __always_inline bool addr_zero(const struct hf_addr *a)
{
	return !(a->w[0] | a->w[1] | a->w[2] | a->w[3]);
}

static __always_inline __u8 addr_family(const struct hf_addr *a)
{
	return !(a->w[0] | a->w[1]) && a->w[2] == bpf_htonl(0xffff) ? 4 : 6;
}

static __always_inline void addr_map(struct hf_addr *a, __be32 ip)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = ip;
}

#endif
