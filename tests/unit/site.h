/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A client and two servers, in namespaces of the test's own:
 *
 *   client  br0 10.66.0.1, fd66::1 ─┬─ va ── a0  server A 10.66.0.2, fd66::2
 *                                   └─ vb ── b0  server B 10.66.0.3, fd66::3
 *
 * The VIP is 10.66.0.10 or fd66::10. What goes wrong fails the test that runs.
 */
#ifndef HOLDFAST_SITE_H
#define HOLDFAST_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include <holdfast/layout.h>

#define SITE_PORT     8080
#define SITE_PATIENCE 20000 /* ms; nothing here takes as long */

extern const char *site_missing;        /* why there is no site; NULL: there is one */
extern int site_client, site_a, site_b; /* network namespaces */

int site_build(void **state);
int site_demolish(void **state);

void site_enter(int ns); /* what is opened from now on is opened there */
__attribute__((format(printf, 2, 3))) void site_run(int ns, const char *format, ...);
void site_sysctl(int ns, const char *name, int value); /* below net/ */
struct hf_addr site_vip(int v6);
/* Puts the VIP on a device and announces it, or takes it away. */
void site_move(int ns, const char *device, int v6, bool there);
/* A vanishes, or is back, without anybody having the VIP. What waited there for a neighbour's
 * answer does not come back with it. */
void site_link_a(bool up);

bool site_await(int fd, short events);
int site_listen(int ns, const struct hf_addr *addr); /* it need not be there yet */
int site_call(const struct hf_addr *addr);           /* the client's; non-blocking */
int site_take(int listener);

/* One direction: bytes of a pattern that says where in the stream they are. */
struct site_stream {
	int from, to;
	uint64_t sent, got, until;
	unsigned int salt;
};

bool site_push(struct site_stream *s); /* what fits into the socket; false: nothing does */
/* Until both have carried all of theirs. */
void site_carry(struct site_stream *in, struct site_stream *out);
int site_unacknowledged(int fd); /* bytes */
void site_await_acknowledged(int fd);

/* A TCP segment that crossed B's interface. */
struct site_segment {
	bool out;
	bool fin, rst;
	uint16_t port; /* the client's */
	uint32_t seq, ack;
	uint32_t window; /* not scaled */
};

int site_sniffer(void);
bool site_seen(int sniffer, struct site_segment *ret); /* false: no more for now */

/* The client's counters of resets, drops by PAWS and errors. */
void site_troubles_note(void);
void site_troubles_none(void); /* since then */

#endif
