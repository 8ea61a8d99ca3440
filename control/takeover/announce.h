/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* "That address is here": gratuitous ARP (RFC 5227 section 3), unsolicited neighbour advertisement
 * (RFC 4861 section 7.2.6). */
#ifndef HOLDFAST_TAKEOVER_ANNOUNCE_H
#define HOLDFAST_TAKEOVER_ANNOUNCE_H

#include <stdint.h>

#include <holdfast/layout.h>

struct announcer; /* one packet socket, kept open: to close one costs 10 to 15 ms */
int announce_open(struct announcer **ret); /* 0 or negative errno */
void announce_close(struct announcer *a);  /* NULL is allowed */
/* From the MAC address of that interface; ARP as request and as reply, since hosts differ in what
 * they believe. 0 or negative errno; -EOPNOTSUPP: no Ethernet, nobody to be told. Never blocks. */
int announce_send(struct announcer *a, uint32_t ifindex, const struct hf_addr *addr);

#endif
