/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "announce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <netpacket/packet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define ND_HOP_LIMIT 255 /* RFC 4861 section 7.1.2: others are not valid */

struct announcer {
	int fd;
};

int announce_open(struct announcer **ret)
{
	struct announcer *a = malloc(sizeof(*a));

	if (!a)
		return -ENOMEM;
	/* protocol 0: nothing is to be received */
	a->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0) {
		int r = -errno;

		free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void announce_close(struct announcer *a)
{
	if (!a)
		return;
	close(a->fd);
	free(a);
}

static int mac_of(int fd, uint32_t ifindex, uint8_t ret[static ETH_ALEN])
{
	struct ifreq ifr = {.ifr_ifindex = (int)ifindex};

	if (ioctl(fd, SIOCGIFNAME, &ifr) < 0 || ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		return -errno;
	if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -EOPNOTSUPP;
	memcpy(ret, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	return 0;
}

static int put_out(int fd, uint32_t ifindex, const void *frame, size_t len)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)ifindex};

	return sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static struct ether_header ethernet(const uint8_t to[static ETH_ALEN],
				    const uint8_t from[static ETH_ALEN], uint16_t type)
{
	struct ether_header h = {.ether_type = htons(type)};

	memcpy(h.ether_dhost, to, ETH_ALEN);
	memcpy(h.ether_shost, from, ETH_ALEN);
	return h;
}

static int send_arp(int fd, uint32_t ifindex, const uint8_t mac[static ETH_ALEN],
		    const struct hf_addr *addr, uint16_t op)
{
	static const uint8_t everybody[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct {
		struct ether_header eth;
		struct ether_arp arp;
	} __attribute__((packed)) frame = {
		.eth = ethernet(everybody, mac, ETHERTYPE_ARP),
		.arp.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
			       .ar_pro = htons(ETHERTYPE_IP),
			       .ar_hln = ETH_ALEN,
			       .ar_pln = 4,
			       .ar_op = htons(op)},
	};

	memcpy(frame.arp.arp_sha, mac, ETH_ALEN);
	memcpy(frame.arp.arp_spa, addr_bytes(addr), 4);
	memcpy(frame.arp.arp_tpa, addr_bytes(addr), 4);
	if (op == ARPOP_REPLY) /* RFC 5944 section 4.6 */
		memcpy(frame.arp.arp_tha, mac, ETH_ALEN);
	return put_out(fd, ifindex, &frame, sizeof(frame));
}

static uint16_t icmp6_sum(const struct ip6_hdr *ip, const void *payload, size_t len)
{
	struct {
		struct in6_addr src, dst;
		__be32 len;
		__be32 next;
	} pseudo = {ip->ip6_src, ip->ip6_dst, htonl((uint32_t)len), htonl(IPPROTO_ICMPV6)};
	const uint8_t *part[] = {(const uint8_t *)&pseudo, payload};
	const size_t size[] = {sizeof(pseudo), len};
	uint32_t sum = 0;

	for (size_t p = 0; p < 2; p++)
		for (size_t i = 0; i + 1 < size[p]; i += 2) /* both are even */
			sum += (uint32_t)part[p][i] << 8 | part[p][i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static int send_advertisement(int fd, uint32_t ifindex, const uint8_t mac[static ETH_ALEN],
			      const struct hf_addr *addr)
{
	static const uint8_t all_nodes_mac[ETH_ALEN] = {0x33, 0x33, 0, 0, 0, 1};
	static const struct in6_addr all_nodes = {{{0xff, 2, [15] = 1}}};
	struct advertisement {
		struct nd_neighbor_advert na;
		uint8_t option, units;
		uint8_t mac[ETH_ALEN];
	} na = {
		.na = {.nd_na_type = ND_NEIGHBOR_ADVERT,
		       .nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE},
		.option = ND_OPT_TARGET_LINKADDR,
		.units = 1, /* of 8 bytes */
	};
	struct {
		struct ether_header eth;
		struct ip6_hdr ip;
		struct advertisement na;
	} __attribute__((packed)) frame = {.eth = ethernet(all_nodes_mac, mac, ETHERTYPE_IPV6)};
	struct ip6_hdr ip = {
		.ip6_flow = htonl(6u << 28),
		.ip6_plen = htons(sizeof(na)),
		.ip6_nxt = IPPROTO_ICMPV6,
		.ip6_hlim = ND_HOP_LIMIT,
		.ip6_dst = all_nodes,
	};

	memcpy(&ip.ip6_src, addr->b, 16);
	memcpy(&na.na.nd_na_target, addr->b, 16);
	memcpy(na.mac, mac, ETH_ALEN);
	na.na.nd_na_cksum = icmp6_sum(&ip, &na, sizeof(na));
	frame.ip = ip;
	frame.na = na;
	return put_out(fd, ifindex, &frame, sizeof(frame));
}

int announce_send(struct announcer *a, uint32_t ifindex, const struct hf_addr *addr)
{
	uint8_t mac[ETH_ALEN];
	int r, second;

	r = mac_of(a->fd, ifindex, mac);
	if (r < 0)
		return r;
	if (!addr_is_v4(addr))
		return send_advertisement(a->fd, ifindex, mac, addr);
	r = send_arp(a->fd, ifindex, mac, addr, ARPOP_REQUEST);
	second = send_arp(a->fd, ifindex, mac, addr, ARPOP_REPLY);
	return r < 0 ? r : second;
}
