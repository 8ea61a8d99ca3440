/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * CONNECT and its answer (N4): structs of the host to bytes of the wire and
 * back. Pure: no sockets, no clock, no log. Pairs: connect_create_…() makes
 * what connect_consume_…() takes, and both hold the same values to the same
 * rules. Numbers in the structs are in host order except fields of type __be16
 * of the wire's own records (struct wire_flow, struct wire_service), which stay as
 * on the wire.
 *
 * Rules, beside the limits of wire.h:
 *  - padding is zero (a change of meaning raises the magic);
 *  - a protocol is TCP, UDP or ICMP (ICMPv6 echo too is written as ICMP);
 *  - emulator ports are not zero; those of ICMP have the low 8 bits clear;
 *  - a flow's port is not zero; one of ICMP lies in its emulator's block;
 *  - of a flow's tcp_up and tcp_down only HF_TCP_* of TCP are carried, the rest is
 *    dropped on both sides;
 *  - a service's port is zero exactly for ICMP;
 *  - service addresses are unicast (addr_is_unicast()), `from` and points unicast or
 *    loopback (both ends on one machine);
 *  - host4 is zero or an IPv4 address, host6 zero or an IPv6 one, both unicast; an
 *    answer that does not refuse has at least one of them;
 *  - names are printable ASCII, zero-terminated, zero to their end; they may be empty;
 *  - a refusal has no services, no points, and no addresses.
 * `assoc` and `epoch` are the sender's own and may be anything.
 */
#ifndef HOLDFAST_CONNECT_H
#define HOLDFAST_CONNECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <holdfast/wire.h>

#define CONNECT_REQUEST_MAX                                                                        \
	(sizeof(struct wire_connect) + WIRE_CONNECT_FLOWS_MAX * sizeof(struct wire_flow))
#define CONNECT_REPLY_MAX                                                                          \
	(sizeof(struct wire_connected) + WIRE_CONNECT_SERVICES_MAX * sizeof(struct wire_service) + \
	 WIRE_CONNECT_POINTS_MAX * sizeof(struct hf_addr))

struct connect_request {
	uint32_t assoc;       /* mobile's index */
	struct hf_addr from;  /* address the mobile connects from */
	struct hf_addr host4; /* inner addresses it had before, zero if none */
	struct hf_addr host6;
	struct wire_flow *flows; /* flow_count of them; NULL when 0 */
	uint32_t flow_count;
};

struct connect_reply {
	enum wire_refusal refusal; /* NONE: connected */
	uint32_t assoc;            /* anchor's index */
	uint32_t epoch;
	uint32_t inactivity_ms; /* not 0 unless refused */
	struct hf_addr host4;   /* inner addresses of the mobile, zero if none */
	struct hf_addr host6;
	struct wire_service *services; /* service_count of them; NULL when 0 */
	uint32_t service_count;
	struct hf_addr points[WIRE_CONNECT_POINTS_MAX];
	uint32_t point_count;
};

/* Bytes that the message takes on the wire; 0 when it has more records than wire.h allows. */
size_t connect_request_size(const struct connect_request *r);
size_t connect_reply_size(const struct connect_reply *r);

/* Writes the message. Returns its bytes, -EINVAL when a value breaks a rule above, -ENOBUFS when
 * `size` is too small; `out` is untouched on failure. */
ssize_t connect_create_request(const struct connect_request *r, void *out, size_t size);
ssize_t connect_create_reply(const struct connect_reply *r, void *out, size_t size);

/*
 * Reads a message from the first `len` bytes of a stream. Returns the bytes it took; or, with `ret`
 * untouched:
 *  -EAGAIN           more must come; `ret_need` receives the length to wait for (the fixed part
 * first, then the whole message), always greater than `len` -EPROTONOSUPPORT  the magic is another
 * version's -E2BIG            more records than wire.h, or than `flows_max`, allow -EBADMSG a rule
 * above is broken -ENOMEM The fixed part is judged as soon as it is complete. `ret_need` is written
 * only with -EAGAIN. The caller owns what `ret` points to and calls connect_…_clear().
 */
ssize_t connect_consume_request(const void *data, size_t len, uint32_t flows_max,
				struct connect_request *ret, size_t *ret_need);
ssize_t connect_consume_reply(const void *data, size_t len, struct connect_reply *ret,
			      size_t *ret_need);

/* Frees the records and zeroes the struct; NULL is allowed. */
void connect_request_clear(struct connect_request *r);
void connect_reply_clear(struct connect_reply *r);

/* "FULL" and the sentence of wire.h; "?" for a number out of range. */
const char *connect_refusal_name(enum wire_refusal r);
const char *connect_refusal_text(enum wire_refusal r);

#endif
