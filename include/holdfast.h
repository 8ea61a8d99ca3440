/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * libholdfast: a server's side of takeover. The daemon of the same machine
 * (holdfastd with role = server) does the work; this library speaks to it over a
 * Unix socket and needs no privileges.
 *
 * The order, on the node that serves:
 *
 *   hf_open()             one handle a process
 *   hf_listen(fd)         before listen(2) or at least before the first client: every connection to
 *                         that endpoint is recorded and gated from its handshake on
 *   accept(2), hf_guard() for each connection: names it
 *   hf_checkpoint()       each protocol's state: which object, where it begins in the stream
 *   hf_commit()           "the checkpoints account for N bytes of what the client sent"; only then
 *                         does the client see them acknowledged
 *   hf_end(), close(2)    in this order, or the client never sees the end
 *
 * on the node that stands by (and on one that serves too: it may get more):
 *
 *   hf_open(), hf_listen()
 *   ops.restored          a connection of another node: its new descriptor, checkpoints, offsets
 *   hf_ready()            once for each protocol that had a checkpoint (at least once); until then
 *                         nothing passes in either direction
 *
 * A rule that only the application can keep: what the client may receive must be something that
 * the standby can make again. So describe an object in a checkpoint and wait for hf_commit() of it
 * BEFORE writing its first byte; bytes that cannot be made again (a header with the time of day)
 * go into the checkpoint's data.
 *
 * Errors are negative errno values. Nothing here prints, forks, starts threads or installs signal
 * handlers. A handle may be used by one thread at a time. Where an event is due, hf_fd() becomes
 * readable; callbacks run in hf_dispatch() and in hf_wait(), nowhere else.
 */
#ifndef HOLDFAST_H
#define HOLDFAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_OBJECT_MAX    255u  /* characters of an object's identifier */
#define HF_DATA_MAX      4096u /* application bytes of one checkpoint */
#define HF_PROTOCOLS_MAX 8u    /* protocols of one connection */
#define HF_BUNDLE_MAX    32u   /* members of one bundle */

struct hf;      /* the handle */
struct hf_conn; /* a guarded connection; owned by the handle until hf_forget() */

/* One protocol's state of a connection (T4). Offsets count from 0, the first byte of data of that
 * direction; they are 64 bits wide and never wrap. */
struct hf_checkpoint {
	uint32_t protocol;     /* the application's own number, not 0 */
	const char *object;    /* identifier of the object being sent, may be NULL: none */
	uint64_t object_start; /* offset, in what the server sends, of the object's first byte */
	const void *data;      /* anything else, may be NULL */
	size_t len;            /* at most HF_DATA_MAX */
};

/* A connection that came to this node. Pointers are valid during the callback. */
struct hf_restored {
	struct hf_conn *conn;
	int fd;    /* connected, non-blocking, close-on-exec; belongs to the callee */
	int proto; /* IPPROTO_TCP, or IPPROTO_UDP: a datagram member of a bundle */
	/* Resume sending with this offset of the server's stream: what the client has
	 * acknowledged (T2) */
	uint64_t sent;
	/* The next byte that read(2) gives has this offset: what was committed */
	uint64_t received;
	bool peer_ended; /* the client's FIN was committed: read(2) gives 0 */
	/* hf_end() was said at a node before; here the client sees an end when it is said again.
	 * `sent` may be one more than what there was to send: our FIN, and then all that is left is
	 * hf_ready(), hf_end() and close(2) */
	bool ended;
	bool fresh; /* nothing was ever committed: treat it as accept(2) */
	/* 0: none. Members of a bundle come one after the other, in the order in which they
	 * joined */
	uint64_t bundle;
	unsigned int member;  /* 0 to members - 1 */
	unsigned int members; /* 1 where there is no bundle */
	const struct hf_checkpoint *checkpoints;
	size_t checkpoint_count;
	const char *from; /* node that served it before */
};

enum hf_role_now {
	HF_STANDBY, /* another node serves */
	HF_SERVING, /* this node does */
	HF_ALONE,   /* this node does, and nobody could take over */
	HF_LOST,    /* no contact with the store: the gate holds, nothing is acknowledged */
};

struct hf_ops {
	/* A connection is to go on here. Not called for connections that this process had itself.
	 * Not NULL: who guards connections takes those of others. */
	void (*restored)(void *arg, const struct hf_restored *r);
	/* Everything up to and including `ticket` of that connection is committed. May be NULL. */
	void (*committed)(void *arg, struct hf_conn *c, uint64_t ticket);
	/* The connection goes to another node (operator, overload) or was fenced: close(2) its
	 * descriptor, do not shut it down, and call hf_forget(). Every other call with it gives
	 * -EPIPE. Not NULL. */
	void (*moved)(void *arg, struct hf_conn *c);
	/* What this node is now. May be NULL. Called once soon after hf_open(). */
	void (*role)(void *arg, enum hf_role_now role);
	/* The daemon is gone. Connections live on, nothing is committed meanwhile; the library
	 * connects again by itself in hf_dispatch(), and says what it guards. May be NULL. */
	void (*daemon)(void *arg, bool there);
};

/* Connects to the daemon of `instance` (NULL: "server"), under the service's name: the same name on
 * every node; at most 31 characters. `ops` is copied. -ENOENT: no such daemon. -EACCES: the daemon
 * does not let this user in. -EPROTONOSUPPORT: daemon of another version. */
int hf_open(const char *instance, const char *service, const struct hf_ops *ops, void *arg,
	    struct hf **ret);
/* Ends without moving anything: guarded connections that were not ended stay guarded, and are taken
 * over (as after a crash). NULL is allowed. */
void hf_close(struct hf *h);

int hf_fd(const struct hf *h); /* for poll(2), POLLIN */
/* Milliseconds until hf_dispatch() must be called even if nothing is readable; -1: never. */
int hf_timeout(const struct hf *h);
/* Reads what has come and calls the callbacks; never blocks. -ENOTCONN while the daemon is away.
 * -EBUSY: called by a callback. -EMFILE: there was no descriptor left for a connection that was to
 * go on here; its record stays. Else the error of a commit, or of an endpoint that a restarted
 * daemon does not guard any more; hf_error() says which. */
int hf_dispatch(struct hf *h);

/* Guards a bound TCP socket: its address must be one of the daemon's. The library keeps a duplicate
 * of it (of listening sockets only), to show it to a daemon that was restarted: so call
 * hf_unlisten() before close(2), or the kernel goes on listening. -EADDRNOTAVAIL: not a guarded
 * address. -EADDRINUSE: guarded by another process. -EINVAL: not a bound TCP socket.
 * -EOPNOTSUPP: TCP Fast Open is on for it (data in a SYN is acknowledged before any commit). */
int hf_listen(struct hf *h, int fd);
/* Closes that duplicate. Connections to the endpoint stay guarded. -ENOENT: not given to
 * hf_listen(). */
int hf_unlisten(struct hf *h, int fd);

/* Names an accepted connection of a guarded endpoint. -ENOENT: it has no record: it was accepted
 * before hf_listen(). -ENOBUFS: no room. The descriptor stays the caller's. Like every call that
 * waits for an answer (hf_listen, hf_datagram, hf_bundle, hf_end): -ENOTCONN while the daemon is
 * away, -ETIMEDOUT when it says nothing for 5 s. */
int hf_guard(struct hf *h, int fd, struct hf_conn **ret);

/* A datagram socket (bound, and connected or not) as a member of a bundle. `peer` (may be NULL) is
 * where it sends, a multicast group too; the standby makes a socket with the same addresses, TTL
 * and multicast interface. The checkpoints are all there is of its state. The descriptor stays the
 * caller's; a daemon that was restarted is shown it again, so it has to stay open at its number
 * until hf_end(). */
int hf_datagram(struct hf *h, int fd, const struct sockaddr *peer, socklen_t len,
		struct hf_conn **ret);

/* They move together or not at all (T5): `ret_bundle` 0 makes a new one, else joins. -ENOSPC: more
 * than HF_BUNDLE_MAX. */
int hf_bundle(struct hf_conn *c, uint64_t *ret_bundle);

/* Puts one protocol's state in place of its former one; goes out with the next hf_commit(), and not
 * before. Everything is copied; nothing changes where it fails. -EINVAL: protocol 0.
 * -ENAMETOOLONG: object. -EMSGSIZE: data. -ENOSPC: more than HF_PROTOCOLS_MAX. -ERANGE:
 * object_start goes back, or is 2^63 or more. */
int hf_checkpoint(struct hf_conn *c, const struct hf_checkpoint *cp);

/* The checkpoints account for the first `received` bytes of the client's stream. Does not block:
 * while an earlier commit of this connection is under way, or the daemon is away, only the newest
 * state is kept and goes out when that is over. `ret_ticket` may be NULL. -ERANGE: less than
 * before. More than the client has sent is found out later: then this connection is committed no
 * further, and hf_commit(), hf_wait() and, once, hf_dispatch() say why. */
int hf_commit(struct hf_conn *c, uint64_t received, uint64_t *ret_ticket);
/* The client's FIN, too, is accounted for (read(2) gave 0). */
int hf_commit_end(struct hf_conn *c, uint64_t received, uint64_t *ret_ticket);
/* Waits until `ticket` is committed; callbacks run meanwhile, unless it is called by one.
 * timeout_ms < 0: for ever. -ETIMEDOUT, -EPIPE (moved, or a callback forgot it). */
int hf_wait(struct hf_conn *c, uint64_t ticket, int timeout_ms);

/* This protocol (0: all of them) is ready to go on with a restored connection (T3). -ENOENT: the
 * connection has no such protocol. */
int hf_ready(struct hf_conn *c, uint32_t protocol);

/* From now on the client may see the connection end. Call it before close(2) or shutdown(2). Where
 * the daemon is away (-ENOTCONN) it is told when it is back: close(2) and hf_forget() all the same.
 */
int hf_end(struct hf_conn *c);
/* Lets go of the handle's memory: after hf_end(), after `moved`, or to leave the record as it is.
 * NULL is allowed. */
void hf_forget(struct hf_conn *c);

void hf_set_data(struct hf_conn *c, void *data);
void *hf_data(const struct hf_conn *c);

/* One sentence about the last error of this handle, or (NULL) of this thread's last hf_open() that
 * failed; never NULL, valid until the next call. */
const char *hf_error(const struct hf *h);

#ifdef __cplusplus
}
#endif

#endif
