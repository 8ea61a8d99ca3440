/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Nanoseconds that the guard takes for a packet of a download, at one connection and at
 * 50 000: segments of 1400 octets out, acknowledgements in. And of an upload while its
 * acknowledgements are clamped. Needs root; makes no interface.
 *
 * BPF_PROG_TEST_RUN repeats a program on the packet that it has changed already. So what is
 * repeated is a few instructions that take the next connection's port, and where the guard
 * rewrites put the header back, and tail-call the guard; what those take alone is subtracted.
 * They write through a helper, for a direct write would have the kernel look at each packet.
 * Prints {"id":…,"value":…} a line.
 */
#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf.h>

#include <holdfast/guard.h>

#include "bpf/guard.skel.h"

#define MANY     50000u
#define PORTS    65536u /* elements of the shuffled list */
#define REPEAT   50000
#define ROUNDS   30
#define IRS      0x1000u
#define ISS      0x2000u
#define L4       (14 + 20)
#define TCP_LEN  32
#define PAYLOAD  1400
#define FRAME    (L4 + TCP_LEN + PAYLOAD)
#define RESTORED 20 /* octets of the TCP header that are put back */

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define MOV(d, s)         INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOVI(d, i)        INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ALU(op, d, s)     INSN(BPF_ALU64 | (op) | BPF_X, d, s, 0, 0)
#define ALUI(op, d, i)    INSN(BPF_ALU64 | (op) | BPF_K, d, 0, 0, i)
#define LOAD(z, d, s, o)  INSN(BPF_LDX | BPF_MEM | (z), d, s, o, 0)
#define STORE(z, d, s, o) INSN(BPF_STX | BPF_MEM | (z), d, s, o, 0)
#define MAP(d, kind, fd)  INSN(BPF_LD | BPF_DW | BPF_IMM, d, kind, 0, fd), INSN(0, 0, 0, 0, 0)

struct headers {
	__u64 next;
	__u8 tcp[24];
};

struct bench {
	struct guard_bpf *obj;
	struct guard_slot *slots; /* shared memory */
	struct guard_conf *conf;
	int headers, ports, jump; /* maps */
	int wrap, nothing;        /* programs */
};

static int load(const struct bpf_insn *insns, size_t count)
{
	static char log[65536];
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .log_buf = log, .log_size = sizeof(log));
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "bench", "GPL", insns, count, &opts);

	if (fd < 0)
		fprintf(stderr, "%s\n", log);
	return fd;
}

static int wrapper(const struct bench *b)
{
	struct bpf_insn insns[] = {
		MOV(6, 1),
		MAP(7, BPF_PSEUDO_MAP_VALUE, b->headers),
		LOAD(BPF_DW, 8, 7, 0),
		MOV(5, 8),
		ALUI(BPF_ADD, 5, 1),
		STORE(BPF_DW, 7, 5, 0),
		ALUI(BPF_AND, 8, PORTS - 1),
		ALUI(BPF_LSH, 8, 2),
		MAP(9, BPF_PSEUDO_MAP_VALUE, b->ports),
		ALU(BPF_ADD, 9, 8),
		LOAD(BPF_W, 5, 9, 0),
		STORE(BPF_W, 7, 5, offsetof(struct headers, tcp)),
		MOV(1, 6),
		MOVI(2, L4),
		MOV(3, 7),
		ALUI(BPF_ADD, 3, offsetof(struct headers, tcp)),
		MOVI(4, RESTORED),
		MOVI(5, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_store_bytes),
		MOV(1, 6),
		MAP(2, BPF_PSEUDO_MAP_FD, b->jump),
		MOVI(3, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call),
		MOVI(0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	return load(insns, sizeof(insns) / sizeof(insns[0]));
}

static int nothing(void)
{
	struct bpf_insn insns[] = {MOVI(0, TC_ACT_UNSPEC), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)};

	return load(insns, 2);
}

/* Best of some rounds: what disturbs makes it longer, never shorter. */
static double measure(const struct bench *b, int prog, const __u8 *packet, __u32 len)
{
	static __u8 out[4096];
	__u32 zero = 0;
	double best = 1e9;

	bpf_map_update_elem(b->jump, &zero, &prog, 0);
	for (int i = 0; i < ROUNDS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = len,
			    .data_out = out, .data_size_out = sizeof(out), .repeat = REPEAT);

		if (bpf_prog_test_run_opts(b->wrap, &opts) || opts.retval != (__u32)TC_ACT_UNSPEC) {
			fprintf(stderr, "guard_ns: verdict %d\n", (int)opts.retval);
			exit(1);
		}
		if (opts.duration < best)
			best = opts.duration;
	}
	return best;
}

static __be16 port_of(__u32 conn)
{
	return htons(1000 + conn);
}

/* `count` connections; the gate of each is at `commit`. */
static void fill(struct bench *b, __u32 count, __u64 commit)
{
	int conns = bpf_map__fd(b->obj->maps.guard_conns);

	for (__u32 i = 0; i < MANY; i++) {
		struct guard_key key = {.peer_port = port_of(i), .local_port = htons(80)};

		key.peer.w[2] = key.local.w[2] = htonl(0xffff);
		inet_pton(AF_INET, "198.51.100.7", &key.peer.w[3]);
		inet_pton(AF_INET, "203.0.113.80", &key.local.w[3]);
		b->slots[i] = (struct guard_slot){
			.in_commit = commit,
			.mode = GUARD_ACTIVE,
			.facts = {.key = key,
				  .irs = IRS,
				  .iss = ISS,
				  .peer_wscale = 7,
				  .our_wscale = 7,
				  .options = GUARD_TS | GUARD_SACK | GUARD_WSCALE},
			.out_max = 100000,
			.in_fin = ~0ull};
		if (i < count)
			bpf_map_update_elem(conns, &key, &i, 0);
		else
			bpf_map_delete_elem(conns, &key);
	}
}

/* ports of `count` connections, in random order */
static void shuffle(struct bench *b, __u32 count, bool out)
{
	static __u32 ports[PORTS];
	__u32 zero = 0;

	srandom(1);
	for (__u32 i = 0; i < PORTS; i++) {
		__u32 conn = (i < count ? i : (__u32)random()) % count;

		ports[i] = out ? htons(80) | (__u32)port_of(conn) << 16
			       : port_of(conn) | (__u32)htons(80) << 16;
	}
	for (__u32 i = PORTS - 1; i; i--) {
		__u32 j = random() % (i + 1), t = ports[i];

		ports[i] = ports[j];
		ports[j] = t;
	}
	bpf_map_update_elem(b->ports, &zero, ports, 0);
}

static void put32(__u8 *at, __u32 value)
{
	value = htonl(value);
	memcpy(at, &value, 4);
}

static __u32 build(__u8 packet[static FRAME], bool out, __u32 payload, __u32 ack)
{
	__u8 *ip = packet + 14, *tcp = packet + L4;

	memset(packet, 0, FRAME);
	packet[0] = 2;
	packet[12] = 8;
	ip[0] = 0x45;
	ip[2] = (20 + TCP_LEN + payload) >> 8;
	ip[3] = 20 + TCP_LEN + payload;
	ip[8] = 64;
	ip[9] = IPPROTO_TCP;
	inet_pton(AF_INET, out ? "203.0.113.80" : "198.51.100.7", ip + 12);
	inet_pton(AF_INET, out ? "198.51.100.7" : "203.0.113.80", ip + 16);
	put32(tcp + 4, (out ? ISS : IRS) + 1);
	put32(tcp + 8, (out ? IRS : ISS) + 1 + ack);
	tcp[12] = TCP_LEN / 4 << 4;
	tcp[13] = 0x10;
	tcp[14] = 2;
	put32(tcp + 20, 0x0101080a);
	put32(tcp + 24, 77);
	put32(tcp + 28, 0);
	return L4 + TCP_LEN + payload;
}

/* One direction; what the harness takes is subtracted. */
static double bench(struct bench *b, bool out, __u32 payload, __u32 ack, __u32 count)
{
	int prog = bpf_program__fd(out ? b->obj->progs.guard_out : b->obj->progs.guard_in);
	struct headers h = {};
	__u8 packet[FRAME];
	__u32 len = build(packet, out, payload, ack), zero = 0;
	double base;

	shuffle(b, count, out);
	memcpy(h.tcp, packet + L4, RESTORED);
	bpf_map_update_elem(b->headers, &zero, &h, 0);
	base = measure(b, b->nothing, packet, len);
	return measure(b, prog, packet, len) - base;
}

static void report(struct bench *b, __u32 count, const char *suffix)
{
	double in, out;

	fill(b, count, 0);
	out = bench(b, true, PAYLOAD, 0, count);
	in = bench(b, false, 0, 1400, count);
	printf("{\"id\":\"track_out_ns_%s\",\"value\":%.0f}\n", suffix, out);
	printf("{\"id\":\"track_in_ns_%s\",\"value\":%.0f}\n", suffix, in);
	printf("{\"id\":\"track_ns_%s\",\"value\":%.0f}\n", suffix, (in + out) / 2);
	/* with payload, for an acknowledgement alone that repeats is dropped */
	out = bench(b, true, PAYLOAD, 1000, count);
	printf("{\"id\":\"clamp_out_ns_%s\",\"value\":%.0f}\n", suffix, out);
}

static int open_maps(struct bench *b)
{
	size_t page = sysconf(_SC_PAGESIZE), size = MANY * sizeof(struct guard_slot);

	b->obj = guard_bpf__open_and_load();
	if (!b->obj)
		return -1;
	b->slots = mmap(NULL, (size + page - 1) & ~(page - 1), PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(b->obj->maps.guard_slots), 0);
	b->conf = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(b->obj->maps.guard_conf), 0);
	b->headers = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bench_headers", 4, sizeof(struct headers),
				    1, NULL);
	b->ports = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bench_ports", 4, PORTS * 4, 1, NULL);
	b->jump = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "bench_jump", 4, 4, 1, NULL);
	if (b->slots == MAP_FAILED || b->conf == MAP_FAILED)
		return -1;
	b->wrap = wrapper(b);
	b->nothing = nothing();
	return b->wrap < 0 || b->nothing < 0 ? -1 : 0;
}

int main(void)
{
	struct bench b = {};

	if (open_maps(&b)) {
		fprintf(stderr, "guard_ns: cannot load the guard\n");
		return 1;
	}
	b.conf->lease_until_ns = ~0ull;
	report(&b, 1, "1");
	report(&b, MANY, "50k");
	guard_bpf__destroy(b.obj);
	return 0;
}
