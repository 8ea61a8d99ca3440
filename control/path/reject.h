/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The answer to an inner packet that cannot be carried (no service, no
 * association, flows full), so that an application fails at once instead of
 * after its time-out: a TCP SYN is reset, anything else that may be answered
 * gets ICMP "communication administratively prohibited". Segments of a
 * connection are never answered: that would kill it. Pure.
 */
#ifndef HOLDFAST_REJECT_H
#define HOLDFAST_REJECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <holdfast/layout.h>

#define REJECT_MAX 1280u /* bytes of the largest answer (RFC 4443 section 3.1) */

/* `packet` is an IP packet without virtio_net_hdr, its transport checksum may be missing. `from`
 * is the source of an ICMP answer; NULL, zero or of the other family: the packet's destination.
 * Returns the length of the IP packet in `out`, 0 if there must be no answer (RFC 1122 section
 * 3.2.2, RFC 4443 section 2.4), -ENOSPC if `cap` is too small (never with REJECT_MAX). */
ssize_t reject_build(const void *packet, size_t len, const struct hf_addr *from, uint8_t *out,
		     size_t cap);

#endif
