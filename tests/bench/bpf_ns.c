/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Nanoseconds that the data plane takes for a packet, at one flow and at 100 000.
 *
 * BPF_PROG_TEST_RUN repeats a program on the packet that it has changed already.
 * So what is repeated is a few instructions that put the headers back, take the
 * ports of the next flow from a shuffled list and tail-call the program; what
 * those take alone is subtracted. Beside it what one look-up of the flow takes alone, for with
 * 100 000 flows it is mostly that, and that is the machine's memory. Needs root, makes a network
 * namespace of its own. Prints {"id":…,"value":…,"look_up":…} a line. Left out:
 * bpf_skb_change_head(), for a test run's packet has a MAC header; and on XDP the FIB, which is
 * asked once a tick.
 */
#include "tests/bpf/env.c"

#define HEADERS 72 /* copied back; a multiple of 8 */
#define SLOTS   131072u
#define MANY    100000u
#define REPEAT  50000
#define ROUNDS  40
#define OTHER   77 /* index of the second service */
#define LOOKED  77 /* verdict of a program that found the flow */

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
	__u8 bytes[HEADERS];
};

struct bench {
	struct env *env;
	int headers, ports, jump;                       /* maps */
	int wrap_tc, wrap_xdp, nothing_tc, nothing_xdp; /* programs */
};

static int load(enum bpf_prog_type type, const struct bpf_insn *insns, size_t count)
{
	static char log[65536];
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .log_buf = log, .log_size = sizeof(log),
		    .expected_attach_type = type == BPF_PROG_TYPE_XDP ? BPF_XDP : 0);
	int fd = bpf_prog_load(type, "bench", "GPL", insns, count, &opts);

	if (fd < 0)
		fprintf(stderr, "%s\n", log);
	return fd;
}

static int wrapper(const struct bench *b, enum bpf_prog_type type, int jump)
{
	bool xdp = type == BPF_PROG_TYPE_XDP;
	int data = xdp ? offsetof(struct xdp_md, data) : offsetof(struct __sk_buff, data);
	int end = xdp ? offsetof(struct xdp_md, data_end) : offsetof(struct __sk_buff, data_end);
	struct bpf_insn insns[64];
	size_t n = 0, check;

#define ADD(...)                                                                                   \
	do {                                                                                       \
		struct bpf_insn add[] = {__VA_ARGS__};                                             \
		memcpy(insns + n, add, sizeof(add));                                               \
		n += sizeof(add) / sizeof(add[0]);                                                 \
	} while (0)

	ADD(MOV(6, 1), LOAD(BPF_W, 2, 6, data), LOAD(BPF_W, 3, 6, end), MOV(4, 2),
	    ALUI(BPF_ADD, 4, HEADERS));
	check = n;
	ADD(INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 0, 0));
	ADD(MAP(7, BPF_PSEUDO_MAP_VALUE, b->headers));
	for (int i = 0; i < HEADERS; i += 8)
		ADD(LOAD(BPF_DW, 5, 7, (int)offsetof(struct headers, bytes) + i),
		    STORE(BPF_DW, 2, 5, i));
	ADD(LOAD(BPF_DW, 5, 7, 0), MOV(8, 5), ALUI(BPF_ADD, 5, 1), STORE(BPF_DW, 7, 5, 0),
	    ALUI(BPF_AND, 8, SLOTS - 1), ALUI(BPF_LSH, 8, 2));
	ADD(MAP(9, BPF_PSEUDO_MAP_VALUE, b->ports));
	ADD(ALU(BPF_ADD, 9, 8), LOAD(BPF_W, 5, 9, 0), STORE(BPF_W, 2, 5, 14 + 20));
	ADD(MOV(1, 6), MAP(2, BPF_PSEUDO_MAP_FD, jump));
	ADD(MOVI(3, 0), INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call));
	insns[check].off = n - check - 1;
	ADD(MOVI(0, 0), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
	return load(type, insns, n);
}

static int nothing(enum bpf_prog_type type)
{
	struct bpf_insn insns[] = {MOVI(0, 0), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)};

	return load(type, insns, 2);
}

/* Looks up the flow of a packet from or to a mobile and reads it, no more. `up`: from it. */
static int look(const struct bench *b, enum bpf_prog_type type, bool up, __u32 service)
{
	bool xdp = type == BPF_PROG_TYPE_XDP;
	int data = xdp ? offsetof(struct xdp_md, data) : offsetof(struct __sk_buff, data);
	int end = xdp ? offsetof(struct xdp_md, data_end) : offsetof(struct __sk_buff, data_end);
	int near = 14 + 20 + (up ? 0 : 2), far = 14 + 20 + (up ? 2 : 0);
	struct bpf_insn insns[] = {
		MOVI(0, 0),
		LOAD(BPF_W, 2, 1, data),
		LOAD(BPF_W, 3, 1, end),
		MOV(4, 2),
		ALUI(BPF_ADD, 4, 14 + 20 + 4),
		INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 17, 0),
		LOAD(BPF_H, 5, 2, near),
		STORE(BPF_H, 10, 5, -4),
		LOAD(BPF_H, 5, 2, far),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 5, 0, 3, htons(81)),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 5, 0, 2, htons(8090)),
		INSN(BPF_ST | BPF_MEM | BPF_H, 10, 0, -2, (int)service),
		INSN(BPF_JMP | BPF_JA, 0, 0, 1, 0),
		INSN(BPF_ST | BPF_MEM | BPF_H, 10, 0, -2, OTHER),
		INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -8, ENV_ASSOC),
		MOV(2, 10),
		ALUI(BPF_ADD, 2, -8),
		MAP(1, BPF_PSEUDO_MAP_FD, env_map(b->env, "flows")),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2, 0),
		LOAD(BPF_DW, 0, 0, 0),
		MOVI(0, LOOKED),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	return load(type, insns, sizeof(insns) / sizeof(insns[0]));
}

static int one_value(const char *name, __u32 size)
{
	return bpf_map_create(BPF_MAP_TYPE_ARRAY, name, 4, size, 1, NULL);
}

/* Best of some rounds: what disturbs makes it longer, never shorter. */
static double measure(const struct bench *b, bool xdp, int prog, int jump, int wrap, __u32 len,
		      const __u8 *packet, int ifindex, int *ret_verdict)
{
	__u8 out[ENV_PACKET];
	struct __sk_buff skb = {.ifindex = ifindex};
	struct xdp_md md = {.ingress_ifindex = ifindex, .data_end = len};
	__u32 zero = 0;
	double best = 1e9;

	(void)b;
	bpf_map_update_elem(jump, &zero, &prog, 0);
	for (int i = 0; i < ROUNDS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = len,
			    .data_out = out, .data_size_out = sizeof(out), .repeat = REPEAT,
			    .ctx_in = xdp ? (void *)&md : (void *)&skb,
			    .ctx_size_in = xdp ? sizeof(md) : sizeof(skb));

		if (bpf_prog_test_run_opts(wrap, &opts))
			return -1;
		*ret_verdict = opts.retval;
		if (opts.duration < best)
			best = opts.duration;
	}
	return best;
}

/* `count` flows over two services, and their ports in random order. Returns the first service. */
static __u32 fill(struct bench *b, enum hf_role role, bool encode, __u32 count)
{
	static __u32 ports[SLOTS];
	__u32 zero = 0, other = OTHER, index;
	struct service_val service;
	struct service_key sk;
	struct emulator_key ek;
	struct flow_val val = {};
	bool up = (role == HF_ROLE_MOBILE) == encode;

	env_reset(b->env, role, 4, 0);
	index = env_service(4, IPPROTO_TCP);
	bpf_map_lookup_elem(env_map(b->env, "service_table"), &index, &service);
	service.port = htons(81);
	service.emulator = htons(8090);
	sk = (struct service_key){.addr = service.addr, .port = service.port, .proto = IPPROTO_TCP};
	ek = (struct emulator_key){.scope = role == HF_ROLE_MOBILE ? ENV_ASSOC + 1 : 0,
				   .port = service.emulator,
				   .proto = IPPROTO_TCP};
	put(b->env, "service_table", &other, &service);
	put(b->env, "services", &sk, &other);
	put(b->env, "emulators", &ek, &other);
	srandom(1);
	for (__u32 i = 0; i < count; i++) {
		struct flow_key key = {.assoc = ENV_ASSOC,
				       .port = htons(1 + i / 2),
				       .service = i % 2 ? other : index};

		put(b->env, "flows", &key, &val);
	}
	for (__u32 i = 0; i < SLOTS; i++) {
		__u32 flow = (i < count ? i : (__u32)random()) % count;
		__be16 far = htons(encode ? (flow % 2 ? 81 : 80) : (flow % 2 ? 8090 : 8080));
		__be16 near = htons(1 + flow / 2);

		ports[i] = up ? near | (__u32)far << 16 : far | (__u32)near << 16;
	}
	for (__u32 i = SLOTS - 1; i; i--) {
		__u32 j = random() % (i + 1), t = ports[i];

		ports[i] = ports[j];
		ports[j] = t;
	}
	bpf_map_update_elem(b->ports, &zero, ports, 0);
	return index;
}

static void bench(struct bench *b, bool xdp, bool encode, __u32 count)
{
	/* XDP forwards at an anchor; on tc encode is measured where it begins, at a mobile */
	enum hf_role role = encode && !xdp ? HF_ROLE_MOBILE : HF_ROLE_ANCHOR;
	const char *const from[] = {"198.51.100.1", "192.0.2.10", "203.0.113.80", "10.77.0.5"};
	const char *src = encode ? (role == HF_ROLE_MOBILE ? from[3] : from[2]) : from[1];
	const char *dst = encode ? (role == HF_ROLE_MOBILE ? from[2] : from[3]) : from[0];
	struct headers h = {.bytes = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0, 0x45}};
	__u32 len = 14 + 20 + 20 + 64, zero = 0, sum = 0;
	int wrap = xdp ? b->wrap_xdp : b->wrap_tc, ifindex = encode ? b->env->lan : b->env->wan;
	int jump = xdp ? b->jump + 1 : b->jump, verdict, looked;
	__u8 packet[14 + 20 + 20 + 64];
	struct bpf_program *prog = xdp      ? b->env->xdp->progs.xdp_nic
				   : encode ? b->env->tc->progs.tc_tun_egress
					    : b->env->tc->progs.tc_nic_ingress;
	double base, full, alone;
	int looker;

	looker = look(b, xdp ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS,
		      (role == HF_ROLE_MOBILE) == encode, fill(b, role, encode, count));
	h.bytes[17] = len - 14;
	h.bytes[22] = 64;
	h.bytes[23] = IPPROTO_TCP;
	inet_pton(AF_INET, src, h.bytes + 26);
	inet_pton(AF_INET, dst, h.bytes + 30);
	for (int i = 14; i < 34; i += 2)
		sum += h.bytes[i] << 8 | h.bytes[i + 1];
	sum = ~((sum & 0xffff) + (sum >> 16));
	h.bytes[24] = sum >> 8;
	h.bytes[25] = sum;
	h.bytes[14 + 20 + 12] = 0x50;
	h.bytes[14 + 20 + 13] = HF_TCP_ACK;
	memset(packet, 0, sizeof(packet));
	memcpy(packet, h.bytes, HEADERS);
	bpf_map_update_elem(b->headers, &zero, &h, 0);
	base = measure(b, xdp, xdp ? b->nothing_xdp : b->nothing_tc, jump, wrap, len, packet,
		       ifindex, &verdict);
	full = measure(b, xdp, bpf_program__fd(prog), jump, wrap, len, packet, ifindex, &verdict);
	alone = measure(b, xdp, looker, jump, wrap, len, packet, ifindex, &looked);
	close(looker);
	if (base < 0 || full < 0 || alone < 0 || looked != LOOKED ||
	    verdict != (xdp ? XDP_REDIRECT : TC_ACT_REDIRECT)) {
		fprintf(stderr, "bpf_ns: verdicts %d and %d instead of a redirect and %d\n",
			verdict, looked, LOOKED);
		exit(1);
	}
	printf("{\"id\":\"%s_ns_%s%s\",\"value\":%.0f,\"look_up\":%.0f}\n",
	       encode ? "encode" : "decode", count == 1 ? "1" : "100k", xdp ? "_xdp" : "",
	       full - base, alone - base);
}

int main(void)
{
	struct bench b = {.env = env_open(HF_FLOWS_DEFAULT)};

	if (!b.env)
		return 1;
	b.headers = one_value("bench_headers", sizeof(struct headers));
	b.ports = one_value("bench_ports", SLOTS * 4);
	b.jump = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "bench_tc", 4, 4, 1, NULL);
	/* one for each type of program: b.jump and the next descriptor */
	if (bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "bench_xdp", 4, 4, 1, NULL) != b.jump + 1)
		return 1;
	b.wrap_tc = wrapper(&b, BPF_PROG_TYPE_SCHED_CLS, b.jump);
	b.wrap_xdp = wrapper(&b, BPF_PROG_TYPE_XDP, b.jump + 1);
	b.nothing_tc = nothing(BPF_PROG_TYPE_SCHED_CLS);
	b.nothing_xdp = nothing(BPF_PROG_TYPE_XDP);
	if (b.wrap_tc < 0 || b.wrap_xdp < 0 || b.nothing_tc < 0 || b.nothing_xdp < 0)
		return 1;
	for (int xdp = 0; xdp < 2; xdp++) {
		for (int encode = 1; encode >= 0; encode--) {
			bench(&b, xdp, encode, 1);
			bench(&b, xdp, encode, MANY);
		}
	}
	env_close(b.env);
	return 0;
}
