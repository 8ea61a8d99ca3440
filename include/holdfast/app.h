/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What libholdfast and the daemon say to each other: a Unix socket of type
 * SOCK_SEQPACKET, RUN_DIR/NAME.app, a message a packet, the host's byte order.
 * Every message starts with struct app_header; its length is exactly what the
 * type says (tails included), padding is zero, or the daemon closes the connection.
 *
 * Requests are answered in the order in which they came, except APP_END, which may take
 * until the store knows. What is said about a connection that is not (or no longer) the
 * application's is ignored, or answered with -EPIPE: APP_MOVED may be on its way.
 */
#ifndef HOLDFAST_APP_H
#define HOLDFAST_APP_H

#include <holdfast/guard.h>

#define APP_VERSION     1u
#define APP_MESSAGE_MAX (48u * 1024u)
#define APP_CONNS_MAX   GUARD_SLOTS_MAX

enum app_type {
	/* application to daemon */
	APP_HELLO = 1, /* app_hello; answered by APP_WELCOME; or APP_DONE with an error, and EOF */
	APP_LISTEN,    /* app_listen + SCM_RIGHTS: the socket; answered by APP_DONE */
	APP_GUARD,     /* app_guard; answered by APP_DONE, `conn` is the daemon's number */
	APP_DATAGRAM,  /* app_datagram + SCM_RIGHTS: the socket; answered by APP_DONE */
	APP_BUNDLE,    /* app_bundle; answered by APP_DONE, `value` is the bundle */
	APP_COMMIT,    /* app_commit + protocols; answered by APP_COMMITTED */
	APP_READY,     /* app_ready; no answer */
	APP_END,       /* app_end; answered by APP_DONE, so that close(2) comes after it */
	APP_FORGET,    /* app_end; no answer */
	/* daemon to application */
	APP_WELCOME, /* app_welcome */
	APP_DONE,    /* app_done; unasked, serial 0: a commit of `conn` was refused, with `error` */
	APP_COMMITTED, /* app_committed */
	APP_RESTORED,  /* app_restored + protocols, + SCM_RIGHTS: the descriptor */
	APP_MOVED,     /* app_end */
	APP_ROLE,      /* app_role */
};

struct app_header {
	__u32 type;   /* enum app_type */
	__u32 len;    /* of the whole message, this header included */
	__u32 serial; /* of a request; its answer repeats it */
	__u32 conn;   /* daemon's handle of a connection, 0: none */
};

/* The low bits of a handle are its index, of which an application has one connection at a time; the
 * others tell it from earlier ones of that index, about which messages may still be on their way.
 */
#define APP_CONN_INDEX (APP_CONNS_MAX - 1)

struct app_hello {
	struct app_header h;
	__u32 version;
	__u32 pad;
	char service[HF_NAME_LEN];
};

struct app_welcome {
	struct app_header h;
	__u32 version;
	__u32 role; /* enum hf_role_now */
	char node[HF_NAME_LEN];
};

struct app_listen {
	struct app_header h;
};

struct app_guard {
	struct app_header h;
	struct guard_key key;
	__u32 pad;
};

struct app_datagram {
	struct app_header h;
	struct hf_addr peer; /* zero: none */
	__be16 peer_port;
	__u16 pad[3];
};

struct app_bundle {
	struct app_header h;
	__u64 bundle; /* 0: a new one */
};

/* `count` times struct app_protocol, each followed by its object and data, padded to 8 bytes */
#define APP_COMMIT_END 0x01u /* the peer's FIN is accounted for */
struct app_commit {
	struct app_header h;
	__u64 ticket;
	__u64 received;
	__u32 flags;
	__u32 count; /* protocols whose state changed */
};
struct app_protocol {
	__u32 protocol;
	__u16 object_len;
	__u16 data_len;
	__u64 object_start;
};

struct app_ready {
	struct app_header h;
	__u32 protocol; /* 0: all */
	__u32 pad;
};

struct app_end {
	struct app_header h;
};

struct app_done {
	struct app_header h;
	__s32 error; /* 0 or negative errno */
	__u32 pad;
	__u64 value;
	__u64 received; /* APP_GUARD: committed so far (0 for a new one) */
	char text[128]; /* one sentence where error is not 0 */
};

struct app_committed {
	struct app_header h;
	__u64 ticket;
};

#define APP_RESTORED_FRESH      0x01u
#define APP_RESTORED_PEER_ENDED 0x02u
#define APP_RESTORED_ENDED      0x04u
struct app_restored {
	struct app_header h;
	__u64 sent;
	__u64 received;
	__u64 bundle;
	__u32 member;
	__u32 members;
	__u32 flags;
	__u32 proto; /* IPPROTO_* */
	struct guard_key key;
	__u32 count; /* protocols */
	char from[HF_NAME_LEN];
};

struct app_role {
	struct app_header h;
	__u32 role;
	__u32 pad;
};

static_assert(sizeof(struct app_header) == 16, "layout");
static_assert(sizeof(struct app_hello) == 56, "layout");
static_assert(sizeof(struct app_welcome) == 56, "layout");
static_assert(sizeof(struct app_guard) == 56, "layout");
static_assert(sizeof(struct app_datagram) == 40, "layout");
static_assert(sizeof(struct app_bundle) == 24, "layout");
static_assert(sizeof(struct app_commit) == 40, "layout");
static_assert(sizeof(struct app_protocol) == 16, "layout");
static_assert(sizeof(struct app_ready) == 24, "layout");
static_assert(sizeof(struct app_done) == 168, "layout");
static_assert(sizeof(struct app_committed) == 24, "layout");
static_assert(sizeof(struct app_restored) == 128, "layout");
static_assert(sizeof(struct app_role) == 24, "layout");

#endif
