/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Addresses as the layout keeps them: 16 bytes, IPv4 mapped as ::ffff:a.b.c.d
 * (RFC 4291 section 2.5.5.2). Sixteen zero bytes mean "none", which is not
 * 0.0.0.0. Prefix lengths are in the family's own terms: 0–32 or 0–128. Ports
 * are in host order. Functions return 0 or a negative errno; outputs are
 * untouched on failure. Pure.
 */
#ifndef HOLDFAST_ADDR_H
#define HOLDFAST_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <holdfast/layout.h>

/* "192.0.2.1", "2001:db8::1" or "[2001:db8::1]"; no scope, no space around.
 * -EINVAL: anything else. */
int addr_parse(const char *text, struct hf_addr *ret);

/* "10.0.0.0/24", "2001:db8::/64"; without a slash: the one address (/32, /128).
 * -EINVAL: not a prefix, or IPv6 text that means IPv4. -ERANGE: length too large.
 * -EDOM: bits are set behind the prefix. */
int addr_parse_prefix(const char *text, struct hf_addr *ret, unsigned int *ret_len);

/* Writes the text of an address (IPv4 for a mapped one, "::" for none); returns buf. */
const char *addr_format(const struct hf_addr *a, char buf[static INET6_ADDRSTRLEN]);

bool addr_is_v4(const struct hf_addr *a);
bool addr_is_zero(const struct hf_addr *a); /* "none" */
bool addr_equal(const struct hf_addr *a, const struct hf_addr *b);
int addr_family(const struct hf_addr *a);        /* AF_INET or AF_INET6 */
unsigned int addr_bits(const struct hf_addr *a); /* 32 or 128 */

/* Global or private unicast: not none, unspecified, loopback, multicast, broadcast,
 * link-local, 0.0.0.0/8 or 240.0.0.0/4. What a point, a service or an inner address must be. */
bool addr_is_unicast(const struct hf_addr *a);
bool addr_is_loopback(const struct hf_addr *a);
bool addr_is_link_local(const struct hf_addr *a);

/* `len` above the family's is taken as the family's. Families never mix: false. */
bool addr_in_prefix(const struct hf_addr *a, const struct hf_addr *prefix, unsigned int len);
bool addr_prefix_overlap(const struct hf_addr *a, unsigned int alen, const struct hf_addr *b,
			 unsigned int blen);

/* The n-th address of a prefix; 0 is the prefix itself, and the IPv4 broadcast address
 * counts like any other. -ERANGE: the prefix has no so many. -EINVAL: bad length. */
int addr_nth(const struct hf_addr *prefix, unsigned int len, uint64_t n, struct hf_addr *ret);

/* AF_INET for IPv4, else AF_INET6 with `ifindex` as scope if the address is link-local. */
void addr_to_sockaddr(const struct hf_addr *a, uint16_t port, uint32_t ifindex,
		      struct sockaddr_storage *ret, socklen_t *ret_len);

/* `ret_port` may be NULL. -EAFNOSUPPORT: neither AF_INET nor AF_INET6. */
int addr_from_sockaddr(const struct sockaddr *sa, struct hf_addr *ret, uint16_t *ret_port);

/* From raw bytes as in a packet or a netlink message. */
struct hf_addr addr_from_v4(const void *bytes4);
struct hf_addr addr_from_v6(const void *bytes16);

/* The 4 bytes of an IPv4 address, or the 16 of an IPv6 one. */
const void *addr_bytes(const struct hf_addr *a);

#endif
