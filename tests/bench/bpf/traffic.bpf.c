/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A generator and a sink of small UDP packets, for tests/bench/flood.c. The
 * generator runs on live frames (BPF_F_TEST_XDP_LIVE_FRAMES), whose pages come
 * back as the last receiver left them: the whole frame is written each time.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "traffic.h"

/* Read and written by flood.c as the maps .bss and .data. */
struct traffic traffic;
unsigned long long traffic_next;
unsigned long long traffic_seen;

SEC("xdp")
int traffic_send(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct udphdr *udp = data + sizeof(struct ethhdr) + sizeof(struct iphdr);
	__u32 sum;
	__u16 port;

	if (data + TRAFFIC_FRAME > end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < TRAFFIC_FRAME; i += 8)
		*(__u64 *)(data + i) = *(__u64 *)(traffic.frame + i);
	port = traffic.first + traffic_next++ % traffic.flows;
	udp->source = bpf_htons(port);
	sum = traffic.sum + udp->source;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	udp->check = ~sum;
	return bpf_redirect(traffic.ifindex, 0);
}

/* One NAPI instance of one queue: nobody else counts. */
SEC("xdp")
int traffic_count(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > end || ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	if (ip->daddr != traffic.expected_addr || udp->dest != traffic.expected_port)
		return XDP_PASS;
	traffic_seen++;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
