/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What two nodes say to each other, and the limits of it. Everything here is
 * in network byte order. Three things travel between a mobile and an anchor
 * beside the data:
 *
 *  - probes: UDP, in the clear, echoed by the peer's data plane. They say that
 *    a path is alive and how long a round trip takes; nothing else depends on
 *    them.
 *  - datagrams: UDP, of one fixed size, sealed (AES-256-GCM) with keys of the
 *    association's epoch.
 *  - CONNECT: TCP, TLS 1.3 with an external PSK and (EC)DHE. Its exporter gives
 *    the keys of the datagrams.
 *
 * All three use the same port number.
 */
#ifndef HOLDFAST_WIRE_H
#define HOLDFAST_WIRE_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#include <holdfast/layout.h>

#define WIRE_CONTROL_PORT 4690

/* ---- probes ------------------------------------------------------------ */

#define WIRE_PROBE_MAGIC   0x48465031u /* "HFP1" */
#define WIRE_PROBE_REQUEST 1
#define WIRE_PROBE_REPLY   2

/* Answered only between the two addresses of a known path, by swapping
 * addresses and ports and setting kind: reply is as long as request. */
struct wire_probe {
	__be32 magic;
	__u8 kind;
	__u8 pad[3];
	__be32 path; /* sender's path index, echoed */
	__be32 seq;
	__be64 nonce; /* unpredictable, so that only who saw it can answer */
};

/* ---- datagrams --------------------------------------------------------- */

#define WIRE_DATAGRAM_MAGIC 0x48464431u /* "HFD1" */
#define WIRE_TAG_LEN        16

/* Order is part of the wire format: new ones go to the end. N5 and N6 name the
 * switch messages. X(symbol, text) */
#define WIRE_TYPES(X)                                                                              \
	X(ALIVE, "ALIVE")                                                                          \
	X(ALIVE_ACK, "ALIVE_ACK")                                                                  \
	X(PATH_HELLO, "PATH_HELLO")                                                                \
	X(PATH_CHALLENGE, "PATH_CHALLENGE")                                                        \
	X(PATH_RESPONSE, "PATH_RESPONSE")                                                          \
	X(PATH_VALID, "PATH_VALID")                                                                \
	X(SWITCH_STEP1, "SWITCH_STEP1")                                                            \
	X(ACK, "ACK")                                                                              \
	X(LAST_MESSAGE, "LAST_MESSAGE_BEFORE_REDIRECTION")                                         \
	X(OK_TO_REDIRECTION, "OK_TO_REDIRECTION")                                                  \
	X(CLIENT_READY, "CLIENT_SERVICES_READY_FOR_REDIRECTION")                                   \
	X(SERVER_READY, "SERVER_SERVICES_READY_FOR_REDIRECTION")                                   \
	X(SWITCH_STEP2, "SWITCH_STEP2")                                                            \
	X(ALL_REDIRECTED, "ALL_REDIRECTED")                                                        \
	X(SWITCH_UNEXPECTED, "SWITCH_UNEXPECTED")                                                  \
	X(DISCONNECT, "DISCONNECT")                                                                \
	X(DISCONNECT_ACK, "DISCONNECT_ACK")

enum wire_type {
	WIRE_NONE = 0,
#define WIRE_TYPE_ENUM(symbol, text) WIRE_##symbol,
	WIRE_TYPES(WIRE_TYPE_ENUM)
#undef WIRE_TYPE_ENUM
		WIRE_TYPE_COUNT
};

struct wire_header { /* in the clear, authenticated */
	__be32 magic;
	__be32 assoc; /* receiver's index of the association */
	__be32 epoch; /* raised by every CONNECT */
	__be32 pad;
	__be64 counter; /* never used twice with one key; also the AEAD nonce */
};

#define WIRE_FLAG_MBB 0x01u /* make-before-break: both links stay up, nothing is parked */

struct wire_body { /* sealed */
	__u8 type; /* enum wire_type */
	__u8 flags;
	__be16 pad;
	__be32 switch_id;    /* chosen by the mobile, rising */
	__be64 packets;      /* sender's count of data packets sent on its current path */
	__be64 nonce;        /* PATH_CHALLENGE, PATH_RESPONSE */
	struct hf_addr from; /* address the sender believes it sends from */
	__be64 time_us;      /* sender's clock */
	__be64 echo_us;      /* time_us of the message that this one answers, 0 if none */
	__be64 pad2;
};

struct wire_datagram {
	struct wire_header header;
	struct wire_body body;
	__u8 tag[WIRE_TAG_LEN];
};

/* ---- CONNECT over TLS -------------------------------------------------- */

#define WIRE_EXPORTER_LABEL "EXPORTER-holdfast-datagram-1"
#define WIRE_KEY_LEN        32
#define WIRE_IV_LEN         12
/* exporter output: mobile's key, anchor's key, mobile's IV, anchor's IV */
#define WIRE_EXPORT_LEN           (2 * WIRE_KEY_LEN + 2 * WIRE_IV_LEN)

#define WIRE_CONNECT_MAGIC        0x48464331u /* "HFC1" */
#define WIRE_CONNECT_FLOWS_MAX    1048576u
#define WIRE_CONNECT_SERVICES_MAX 4096u
#define WIRE_CONNECT_POINTS_MAX   16u

enum wire_connect_type {
	WIRE_CONNECT = 1,
	WIRE_CONNECTED = 2,
	WIRE_REFUSED = 3,
};

/* X(symbol, text): why a CONNECT was refused */
#define WIRE_REFUSALS(X)                                                                           \
	X(NONE, "not refused")                                                                     \
	X(VERSION, "the two ends speak different versions")                                        \
	X(FULL, "the anchor has no association left")                                              \
	X(POOL, "the anchor has no inner address left")                                            \
	X(FLOWS, "the anchor has no room for the flows announced")                                 \
	X(TRANSLATED, "a device on the path changes addresses (NAT): not carried yet")             \
	X(MALFORMED, "the request was malformed")

enum wire_refusal {
#define WIRE_REFUSAL_ENUM(symbol, text) WIRE_REFUSAL_##symbol,
	WIRE_REFUSALS(WIRE_REFUSAL_ENUM)
#undef WIRE_REFUSAL_ENUM
		WIRE_REFUSAL_COUNT
};

/* mobile -> anchor; followed by `flows` records. The mobile's id is the TLS PSK identity. */
struct wire_connect {
	__be32 magic;
	__u8 type; /* WIRE_CONNECT */
	__u8 pad[3];
	__be32 assoc;         /* mobile's index */
	__be32 flows;         /* number of wire_flow records that follow */
	struct hf_addr from;  /* address the mobile connects from */
	struct hf_addr host4; /* inner addresses it had before, zero if none: kept if free */
	struct hf_addr host6;
};

struct wire_flow {
	__be16 emulator;
	__be16 port;
	__u8 proto;
	__u8 tcp_up;
	__u8 tcp_down;
	__u8 pad;
};

/* anchor -> mobile; followed by `services` wire_service records, then `points` struct hf_addr */
struct wire_connected {
	__be32 magic;
	__u8 type;    /* WIRE_CONNECTED or WIRE_REFUSED */
	__u8 refusal; /* enum wire_refusal */
	__u8 pad[2];
	__be32 assoc; /* anchor's index */
	__be32 epoch;
	__be32 services;
	__be32 points;
	__be32 inactivity_ms; /* the anchor forgets the association after so long without a sign */
	__be32 pad2;
	struct hf_addr host4; /* inner addresses of the mobile, zero if none */
	struct hf_addr host6;
};

struct wire_service {
	struct hf_addr addr; /* correspondent */
	__be16 port;
	__be16 emulator;
	__u8 proto;
	__u8 pad[3];
	char name[HF_NAME_LEN]; /* zero-terminated */
};

#ifndef __bpf__
#include <assert.h>
static_assert(sizeof(struct wire_probe) == 24, "wire");
static_assert(sizeof(struct wire_header) == 24, "wire");
static_assert(sizeof(struct wire_body) == 64, "wire");
static_assert(sizeof(struct wire_datagram) == 104, "wire");
static_assert(sizeof(struct wire_connect) == 64, "wire");
static_assert(sizeof(struct wire_flow) == 8, "wire");
static_assert(sizeof(struct wire_connected) == 64, "wire");
static_assert(sizeof(struct wire_service) == 56, "wire");
#endif

#endif
