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

/* Datagrams may overtake each other by so many (RFC 6479 style bitmap). */
#define PROTO_WINDOW 1024

struct proto_keys; /* one epoch of one association; opaque, wiped when freed */

/* `exported` is the TLS exporter's output, `role` ours. NULL without memory. */
struct proto_keys *proto_keys_new(const uint8_t exported[static WIRE_EXPORT_LEN], enum hf_role role,
				  uint32_t epoch, uint32_t peer_assoc);
void proto_keys_free(struct proto_keys *k); /* NULL is allowed */
uint32_t proto_keys_epoch(const struct proto_keys *k);

/* Seals `body` (host sets every field in network order) into `out`. 0 or negative errno:
 * -EOVERFLOW when the counter is used up, -EIO when OpenSSL fails. */
int proto_create_datagram(struct proto_keys *k, const struct wire_body *body,
			  struct wire_datagram *out);

/* Length and magic; on success `ret_assoc` and `ret_epoch` receive the clear header's values, in
 * host order, by which the caller finds the keys. Returns HF_REASON_NONE or why it was refused. */
enum hf_reason proto_peek_datagram(const void *data, size_t len, uint32_t *ret_assoc,
				   uint32_t *ret_epoch);

/* Opens a datagram that proto_peek_datagram() let pass. Order of checks: epoch, authenticity, replay;
 * the window moves only for authentic datagrams; `ret` is untouched on failure. */
enum hf_reason proto_consume_datagram(struct proto_keys *k, const struct wire_datagram *in,
				      struct wire_body *ret);

const char *wire_type_name(enum wire_type t);

#endif
