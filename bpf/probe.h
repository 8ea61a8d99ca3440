/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Path probes are answered here, so that a daemon that is down or busy does not
 * make a path look dead. Between the two addresses of a known path only, and the
 * answer is as long as the question: no reflector, no amplifier.
 */
#ifndef HOLDFAST_BPF_PROBE_H
#define HOLDFAST_BPF_PROBE_H

#include "compat.h"
#include "csum.h"
#include "parse.h"

#define PROBE_TTL 64

struct probe {
	struct udphdr udp;
	struct wire_probe body;
};

static __always_inline bool probe_is(ctx_t *ctx, const struct packet *p)
{
	struct probe *probe = ctx_data(ctx) + bound(p->l4);

	return p->proto == IPPROTO_UDP && p->frag == FRAG_NONE && p->kind == KIND_PORTS &&
	       p->dport == bpf_htons(hf_control_port) && p->l3 + p->len == p->l4 + sizeof(*probe) &&
	       (void *)(probe + 1) <= ctx_data_end(ctx) &&
	       probe->udp.len == bpf_htons(sizeof(*probe)) &&
	       probe->body.magic == bpf_htonl(WIRE_PROBE_MAGIC) &&
	       probe->body.kind == WIRE_PROBE_REQUEST;
}

static __always_inline long probe_swap_ip(ctx_t *ctx, const struct packet *p)
{
	void *ip = ctx_data(ctx) + bound(p->l3);

	if (p->family == 4) {
		struct iphdr *ip4 = ip;
		__u16 *word = (__u16 *)&ip4->ttl, was;

		if ((void *)(ip4 + 1) > ctx_data_end(ctx))
			return -1;
		was = *word;
		ip4->ttl = PROBE_TTL;
		ip4->check = csum_apply(ip4->check, csum_diff16(was, *word));
		ip4->saddr = p->dst.w[3];
		ip4->daddr = p->src.w[3];
	} else {
		struct ipv6hdr *ip6 = ip;
		__u16 *word = (__u16 *)&ip6->nexthdr, was;

		if ((void *)(ip6 + 1) > ctx_data_end(ctx))
			return -1;
		was = *word;
		ip6->hop_limit = PROBE_TTL;
		ctx_sum_changed(ctx, csum_diff16(was, *word));
		__builtin_memcpy(&ip6->saddr, &p->dst, sizeof(p->dst));
		__builtin_memcpy(&ip6->daddr, &p->src, sizeof(p->src));
	}
	return 0;
}

/* XDP sees what a local sender of a virtual device left for the hardware to sum; 32 octets are
 * summed quickly. */
static __always_inline __u16 probe_sum(const struct packet *p, const struct probe *probe)
{
	const __u32 *word = (const __u32 *)probe;
	__u64 sum = csum_sum_addr(&p->src) + csum_sum_addr(&p->dst) + bpf_htons(IPPROTO_UDP) +
		    bpf_htons(sizeof(*probe));
	__u16 check;

#pragma unroll
	for (unsigned int i = 0; i < sizeof(*probe) / 4; i++)
		sum += word[i];
	check = ~csum_fold16(sum);
	return check ? check : 0xffff;
}

static __noinline enum verdict probe_answer(ctx_t *ctx, struct packet *p)
{
	struct ethhdr *eth = ctx_data(ctx);
	struct probe *probe = ctx_data(ctx) + bound(p->l4);
	void *end = ctx_data_end(ctx);
	__u8 mac[ETH_ALEN];
	__u16 was, now;

	p->reason = HF_REASON_HELPER_FAILED;
	if ((void *)(probe + 1) > end || probe_swap_ip(ctx, p))
		return VERDICT_BROKEN;
	if (p->l3) {
		if ((void *)(eth + 1) > end)
			return VERDICT_BROKEN;
		__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
		__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
		__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	}
	probe->udp.source = p->dport;
	probe->udp.dest = p->sport;
	was = *(__u16 *)&probe->body.kind;
	probe->body.kind = WIRE_PROBE_REPLY;
	now = *(__u16 *)&probe->body.kind;
	if (CTX_FORWARDS) {
		probe->udp.check = 0;
		probe->udp.check = probe_sum(p, probe);
	} else if (ctx_csum(ctx, p, p->l4 + 6, 0, csum_diff16(was, now), false)) {
		return VERDICT_BROKEN;
	}
	p->reason = HF_REASON_PROBE_ECHOED;
	return ctx_turn(ctx);
}

#endif
