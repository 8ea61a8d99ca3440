/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The packets of streamd: RTP's header (RFC 3550) and a payload that its number makes. */
#ifndef TESTS_APPS_STREAMD_RTP_H
#define TESTS_APPS_STREAMD_RTP_H

#include <arpa/inet.h>
#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RTP_PAYLOAD 188
#define RTP_HEADER  12
#define RTP_PACKET  (RTP_HEADER + RTP_PAYLOAD)
#define RTP_TICKS   180u /* of 90 kHz, a packet */

static inline void rtp_create(uint64_t id, uint64_t number, uint8_t out[static RTP_PACKET])
{
	const uint32_t stamp = htonl((uint32_t)(number * RTP_TICKS)), source = htonl((uint32_t)id);
	const uint16_t sequence = htons((uint16_t)number);
	uint64_t x = htobe64(number);

	out[0] = 0x80; /* version 2 */
	out[1] = 96;   /* a dynamic payload type */
	memcpy(out + 2, &sequence, 2);
	memcpy(out + 4, &stamp, 4);
	memcpy(out + 8, &source, 4);
	memcpy(out + RTP_HEADER, &x, 8);
	x = number ^ id << 32 ^ 0x9e3779b97f4a7c15u;
	for (size_t i = RTP_HEADER + 8; i < RTP_PACKET; i += 4) {
		uint32_t word;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		word = htonl((uint32_t)x);
		memcpy(out + i, &word, 4);
	}
}
_Static_assert((RTP_PAYLOAD - 8) % 4 == 0, "the payload is made of words");

#endif
