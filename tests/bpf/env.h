/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF tests run in: a network namespace of their own with two
 * interfaces, both objects loaded over one set of maps, and one association
 * that can be either end.
 *
 *   wan (routes to points) ─┐
 *                           ├─ FIB of the namespace, permanent neighbours
 *   lan (routes to servers, ┘                           hf0: a TAP, as the daemon makes it
 *        to mobiles)
 *
 * The addresses are those of tests/bpf/gen.py.
 */
#ifndef HOLDFAST_TESTS_BPF_ENV_H
#define HOLDFAST_TESTS_BPF_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <holdfast/layout.h>
#include <holdfast/reason.h>
#include <holdfast/wire.h>

#define ENV_ASSOC  3u
#define ENV_PATH   5u
#define ENV_OLD    6u /* known, not accepted */
#define ENV_MTU    1400
#define ENV_FLOWS  256u /* room of the map "flows" in the rows */
#define ENV_PACKET 4096

enum row_hook {
	ROW_ENCODE,
	ROW_DECODE,
	ROW_RELEASE, /* tc ingress of hf0; has no XDP form */
};

/* how a row wants things to be */
#define ROW_FLOW     0x001u /* the flows of the row's packets are there */
#define ROW_CONT     0x002u /* goes on where the row before it stopped */
#define ROW_MASK_ID  0x004u /* the IPv4 identifier may be anything */
#define ROW_PARK     0x008u
#define ROW_DOWN     0x010u
#define ROW_UNUSED   0x020u
#define ROW_LIMIT    0x040u /* association at its limit of flows */
#define ROW_MISLED   0x080u /* `peers` names a path with other addresses */
#define ROW_ONE_ARM  0x100u /* comes in where it has to go out */
#define ROW_LOOPBACK 0x200u /* comes in by a device that forwards nothing */
#define ROW_PADDED   0x800u /* the frame goes on behind the packet */
#define ROW_OTHER    0x400u /* the services belong to another association */

struct run {
	int verdict;
	__u32 len;
	__u8 data[ENV_PACKET];
};

struct env;

/* The next env_open(): checksums on tc as on kernels before 6.2, and its lines say so. */
extern bool env_csum_helpers;

/* NULL: said why on stdout, as a line of tests/run.sh. */
struct env *env_open(__u32 max_flows);
void env_close(struct env *env);

/* Empties every map and fills them for one end: role, outer family, ROW_ flags. */
void env_reset(struct env *env, enum hf_role role, int outer, unsigned int flags);

/* What tc knows of next hops' MAC addresses. */
void env_forget_neighbours(struct env *env);

/* Leaves the clock of the packets as a CPU does that is half through writing it. */
void env_tear_clock(struct env *env, bool xdp);

/* A TAP, or a TUN device, which has no MAC header, up; its descriptor does not block. -1: there is
 * no such driver here. */
int env_tun(const char *name, bool mac);
int env_tun_fd(struct env *env); /* hf0's */

int env_map(struct env *env, const char *name);
int env_prog(struct env *env, const char *name); /* of the tc object */
__u64 env_count(struct env *env, enum hf_reason reason);
int env_ifindex(struct env *env, enum row_hook hook, unsigned int flags);

/* true: ran. The packet and its verdict are in `ret`. */
bool env_run(struct env *env, enum row_hook hook, bool xdp, int ifindex, const __u8 *packet,
	     __u32 len, struct run *ret);
/* The same on tc, for a packet that stands for several. */
bool env_run_gso(struct env *env, enum row_hook hook, const __u8 *packet, __u32 len, __u32 gso_size,
		 __u32 gso_segs, struct run *ret);
/* How XDP is attached to the two interfaces: 0 not, 1 generic, 2 native, which they are at the
 * start. */
int env_ports(struct env *env, __u32 wan, __u32 lan);
int env_sweep(struct env *env, struct sweep_args *args);

/* Flows that ROW_FLOW installs: services by family and protocol. */
__u16 env_service(int family, __u8 proto);
__be16 env_port(int family, __u8 proto);

/* One line of result, for tests/run.sh. */
void env_say(bool good, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int env_failed(void);

/* The packet of a row of gen.py, by its name. */
struct sample {
	const __u8 *data;
	__u32 len;
};
struct sample row_packet(const char *name);
struct sample row_result(const char *name); /* what tc makes of it */

/* the tests, a file each */
void test_rows(struct env *env);
void test_limits(struct env *env);
void test_sweep(struct env *env);
void test_live(struct env *env);

#endif
