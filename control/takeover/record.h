/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shared state of one connection (T1), as structs and as the bytes that go to
 * the store. Pure: no sockets, no clock, no log. Numbers on the wire are big-endian;
 * a change of the format raises RECORD_VERSION, and a reader refuses another version.
 */
#ifndef HOLDFAST_TAKEOVER_RECORD_H
#define HOLDFAST_TAKEOVER_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <holdfast.h>
#include <holdfast/guard.h>

#define RECORD_VERSION 1
/* header, and every protocol at its longest */
#define RECORD_BYTES_MAX   (512u + HF_PROTOCOLS_MAX * (24u + HF_OBJECT_MAX + HF_DATA_MAX))

#define RECORD_END_ALLOWED 0x01u /* the application said hf_end() */
#define RECORD_PEER_ENDED  0x02u /* in_commit counts the peer's FIN */
#define RECORD_CHECKPOINT  0x04u /* the application has named it: not fresh */
#define RECORD_EMBRYO      0x08u /* the handshake is not over: facts alone */

struct record_protocol {
	uint32_t protocol;
	uint16_t object_len;
	uint16_t data_len;
	uint64_t object_start;
	char *object;  /* object_len characters and a zero; NULL if none */
	uint8_t *data; /* data_len bytes; NULL if none */
};

struct record {
	uint64_t id;            /* of the connection: unique in the group, the store's key */
	char node[HF_NAME_LEN]; /* who wrote it */
	char service[HF_NAME_LEN];
	uint32_t epoch;   /* of the ownership under which it was written */
	uint64_t time_ms; /* CLOCK_REALTIME when the state was gathered */
	uint8_t proto;    /* IPPROTO_TCP or IPPROTO_UDP */
	uint8_t flags;    /* RECORD_* */
	uint8_t ttl;      /* UDP: of datagrams, unicast or multicast */
	uint64_t bundle;  /* 0: none */
	uint16_t member;
	struct guard_facts facts; /* UDP: only facts.key; peer zero where not connected */
	uint64_t in_commit;       /* as in struct guard_slot */
	uint64_t in_acked;
	uint64_t in_edge; /* the furthest that the peer may be told, never less than before */
	uint64_t out_max;
	uint64_t out_acked;
	uint32_t tsval; /* of the last segment out, at `time_ms` */
	uint32_t peer_tsval;
	uint32_t peer_window;
	struct record_protocol *protocols; /* protocol_count of them; NULL if 0 */
	uint32_t protocol_count;
};

/* Bytes that record_create() writes; 0 when a limit is broken. */
size_t record_size(const struct record *r);
/* Returns the bytes written, -EINVAL (a rule is broken), -ENOBUFS (`size` too small). */
ssize_t record_create(const struct record *r, void *out, size_t size);
/* Reads exactly `len` bytes. 0, or -EPROTONOSUPPORT (another version), -EBADMSG, -ENOMEM; `ret` is
 * untouched then. The caller owns what it points to: record_clear(). */
int record_consume(const void *data, size_t len, struct record *ret);
/* Frees what it points to and zeroes it; NULL is allowed. */
void record_clear(struct record *r);
/* A deep copy. 0 or -ENOMEM. */
int record_copy(const struct record *r, struct record *ret);
/* Puts one protocol's state in place of its former one, or appends it. 0, -ENOSPC, -ENOMEM,
 * -EMSGSIZE, -ENAMETOOLONG. */
int record_set_protocol(struct record *r, uint32_t protocol, const char *object, size_t object_len,
			uint64_t object_start, const void *data, size_t data_len);

#endif
