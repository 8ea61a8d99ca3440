/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Datagrams between mobile and anchor: sealing, opening, replay window.
 * Pairs: proto_create_…() makes what proto_consume_…() takes. Pure apart from
 * OpenSSL's AEAD: no sockets, no clock, no log.
 */
#ifndef HOLDFAST_PROTO_H
#define HOLDFAST_PROTO_H

#include <stddef.h>
#include <stdint.h>

#include <holdfast/reason.h>
#include <holdfast/wire.h>

/* Datagrams may overtake each other by so many (RFC 6479 style bitmap): accepted is a counter that
 * is new and less than PROTO_WINDOW below the highest one seen. */
#define PROTO_WINDOW 1024

/* One key seals so many datagrams: RFC 9001 section 6.6 and appendix B.1 ask for an advantage below
 * 2^-57, which is 2^36 blocks; a datagram is 6 blocks (4 sealed, 1 tag, 1 nonce). */
#define PROTO_COUNTER_MAX (UINT64_C(1) << 33)

struct proto_keys; /* one epoch of one association; opaque, wiped when freed */

/* `exported` is the TLS exporter's output (order in wire.h), `role` ours; it decides which key
 * sends. `epoch` and `peer_assoc` (peer's index of the association) go into every header that we
 * send. NULL without memory, or when role is neither MOBILE nor ANCHOR. The caller frees, and wipes
 * `exported`. */
struct proto_keys *proto_keys_new(const uint8_t exported[static WIRE_EXPORT_LEN], enum hf_role role,
				  uint32_t epoch, uint32_t peer_assoc);
void proto_keys_free(struct proto_keys *k); /* NULL is allowed */
uint32_t proto_keys_epoch(const struct proto_keys *k);

/* Counters below `counter` will not be used for sending; a counter never goes back. Tests reach the
 * end of the counters with it. */
void proto_keys_skip(struct proto_keys *k, uint64_t counter);

/* Seals `body` (host sets every field in network order) into `out`. 0 or negative errno:
 * -EOVERFLOW when the counter is used up (PROTO_COUNTER_MAX: connect anew), -EINVAL when its type
 * is none of wire.h's, -EIO when OpenSSL fails. Nonce: IV xor counter (RFC 8446 section 5.3); the
 * header is authenticated. */
int proto_create_datagram(struct proto_keys *k, const struct wire_body *body,
			  struct wire_datagram *out);

/* Length (CTL_SHORT), magic and the header's pad (CTL_MAGIC); on success `ret_assoc` and
 * `ret_epoch` receive the clear header's values, in host order, by which the caller finds the keys.
 * Returns HF_REASON_NONE or why it was refused. */
enum hf_reason proto_peek_datagram(const void *data, size_t len, uint32_t *ret_assoc,
				   uint32_t *ret_epoch);

/* Opens a datagram that proto_peek_datagram() let pass. Order of checks: epoch, authenticity,
 * replay, type (CTL_STATE when it is none of wire.h's: authentic, so the window has moved). Nonzero
 * pads of an authentic body are ignored. The window moves only for authentic datagrams; `ret`, in
 * network order, is untouched on failure. */
enum hf_reason proto_consume_datagram(struct proto_keys *k, const struct wire_datagram *in,
				      struct wire_body *ret);

/* The name in wire.h; "?" for a number out of range. */
const char *wire_type_name(enum wire_type t);

#endif
