/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Runs every row of gen.py through the guard by BPF_PROG_TEST_RUN: verdict, bytes,
 * counter, fields of the slot, events. Then floods and packets cut short. Prints
 * PASS, FAIL or SKIP lines for tests/run.sh; the exit status is 1 if anything failed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <holdfast/guard.h>

#include "bpf/guard.skel.h"

#define PACKET                 4096
#define SLOTS                  16u
#define GIVEN                  0u /* the slot of a row that has one; the others are free */
#define OPENED                 1u /* the slot that is opened first */
#define EVENTS                 8
#define TEST_CHECKSUM_COMPLETE 4 /* BPF_F_TEST_SKB_CHECKSUM_COMPLETE */

struct bytes {
	const __u8 *data;
	__u32 len;
};

struct field {
	const char *name; /* NULL: the end */
	size_t offset;
	size_t size;
	__u64 value;
};

struct row {
	const char *name;
	bool out;
	int verdict;
	int reason; /* GUARD_REASON_COUNT: none */
	bool cont;  /* goes on where the row before it stopped */
	bool full;  /* no slot is free */
	bool clamped;
	int kept; /* whether GUARD_REASON_KEPT is counted; -1: either */
	int limited;
	bool has_slot;
	bool stale;   /* the connection names a slot that another one has */
	bool foreign; /* the facts of `slot` are an embryo of another node */
	bool has_facts;
	__u32 mark;
	__u32 gso;
	__u64 lease;
	__u64 unknown;
	__u32 rate;
	struct bytes before;
	struct bytes after; /* none: as before */
	struct guard_slot slot;
	struct field want[12];
	__u32 events[4];
	struct guard_facts facts; /* of the event; the key is not looked at */
};

#include "tests/guard/gen.h"

#define ROWS (sizeof(rows) / sizeof(rows[0]))

struct bench {
	struct guard_bpf *obj;
	struct ring_buffer *ring;
	struct guard_slot *slots; /* shared memory */
	struct guard_conf *conf;
	struct guard_event events[EVENTS];
	__u32 count; /* of events */
	int failed;
};

struct run {
	int verdict;
	__u32 len;
	__u8 data[PACKET];
};

static void say(struct bench *b, bool good, const char *name, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void say(struct bench *b, bool good, const char *name, const char *format, ...)
{
	va_list args;

	printf("%s %s", good ? "PASS" : "FAIL", name);
	if (!good) {
		b->failed++;
		printf(": ");
		va_start(args, format);
		vprintf(format, args);
		va_end(args);
	}
	printf("\n");
}

static int on_event(void *arg, void *data, size_t size)
{
	struct bench *b = arg;

	if (size == sizeof(struct guard_event) && b->count < EVENTS)
		memcpy(&b->events[b->count], data, size);
	b->count++;
	return 0;
}

static void empty(int fd)
{
	__u8 key[64];

	while (!bpf_map_get_next_key(fd, NULL, key))
		bpf_map_delete_elem(fd, key);
}

static void fill_points(struct bench *b)
{
	static const char *const addrs[] = {"203.0.113.80", "2001:db8:5::80"};
	__u32 one = 1;

	for (int i = 0; i < 2; i++) {
		struct guard_point_key point = {.port = htons(80)};
		struct guard_point_val val = {.id = i};

		if (i) {
			inet_pton(AF_INET6, addrs[i], &point.addr);
		} else {
			point.addr.w[2] = htonl(0xffff);
			inet_pton(AF_INET, addrs[i], &point.addr.w[3]);
		}
		bpf_map_update_elem(bpf_map__fd(b->obj->maps.guard_addrs), &point.addr, &one, 0);
		bpf_map_update_elem(bpf_map__fd(b->obj->maps.guard_points), &point, &val, 0);
	}
}

static void reset(struct bench *b, const struct row *row)
{
	int conns = bpf_map__fd(b->obj->maps.guard_conns);
	int embryos = bpf_map__fd(b->obj->maps.guard_embryos);
	int queue = bpf_map__fd(b->obj->maps.guard_free);
	static const char nothing[64];
	__u32 index = GIVEN, zero = 0;

	empty(conns);
	empty(embryos);
	while (!bpf_map_lookup_and_delete_elem(queue, NULL, &index))
		;
	memset(b->slots, 0, SLOTS * sizeof(*b->slots));
	bpf_map_update_elem(bpf_map__fd(b->obj->maps.guard_rates), &zero, nothing, 0);
	for (index = OPENED; index < SLOTS && !row->full; index++)
		bpf_map_update_elem(queue, NULL, &index, 0);
	index = GIVEN;
	if (row->has_slot) {
		b->slots[GIVEN] = row->slot;
		if (row->stale)
			b->slots[GIVEN].facts.key.peer_port++;
		bpf_map_update_elem(conns, &row->slot.facts.key, &index, 0);
	}
	if (row->foreign) {
		struct guard_embryo embryo = {.facts = row->slot.facts,
					      .state = GUARD_EMBRYO_FOREIGN};

		bpf_map_update_elem(embryos, &row->slot.facts.key, &embryo, 0);
	}
}

static void configure(struct bench *b, const struct row *row)
{
	*b->conf = (struct guard_conf){.magic = GUARD_LAYOUT_MAGIC,
				       .version = GUARD_LAYOUT_VERSION,
				       .lease_until_ns = row->lease,
				       .unknown_until_ns = row->unknown,
				       .embryo_rate = row->rate,
				       .slots = SLOTS};
}

static __u64 counted(struct bench *b, __u32 reason)
{
	int cpus = libbpf_num_possible_cpus();
	__u64 values[cpus], sum = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(b->obj->maps.guard_reasons), &reason, values))
		return 0;
	for (int i = 0; i < cpus; i++)
		sum += values[i];
	return sum;
}

static bool run(struct bench *b, const struct row *row, __u32 len, struct run *ret)
{
	struct bpf_program *prog = row->out ? b->obj->progs.guard_out : b->obj->progs.guard_in;
	struct __sk_buff skb = {.mark = row->mark, .gso_size = row->gso};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = row->before.data, .data_size_in = len,
		    .data_out = ret->data, .data_size_out = sizeof(ret->data), .ctx_in = &skb,
		    .ctx_size_in = sizeof(skb), .repeat = 1);
	int err;

	if (row->gso)
		skb.gso_segs = (len + row->gso - 1) / row->gso;
	else
		opts.flags = TEST_CHECKSUM_COMPLETE; /* the kernel looks from 6.17 on */
	err = bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
	if (err == -EINVAL) {
		opts.flags = 0;
		opts.data_size_out = sizeof(ret->data);
		err = bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
	}
	b->count = 0;
	ring_buffer__consume(b->ring);
	ret->verdict = opts.retval;
	ret->len = opts.data_size_out;
	return !err;
}

static void dump(const char *what, const __u8 *data, __u32 len)
{
	printf("  %s", what);
	for (__u32 i = 0; i < len && i < 160; i++)
		printf("%s%02x", i % 2 ? "" : " ", data[i]);
	printf("\n");
}

static bool same_bytes(const struct row *row, const struct run *r)
{
	const struct bytes *want = row->after.data ? &row->after : &row->before;

	if (r->len == want->len && !memcmp(r->data, want->data, want->len))
		return true;
	dump("want", want->data, want->len);
	dump("got ", r->data, r->len);
	return false;
}

/* NULL: as the row wants it */
static const struct field *wrong_field(const struct bench *b, const struct row *row, __u32 slot,
				       __u64 *ret_value)
{
	for (const struct field *f = row->want; f->name; f++) {
		*ret_value = 0;
		memcpy(ret_value, (const char *)&b->slots[slot] + f->offset, f->size);
		/* ~0 of a narrower field */
		if (memcmp(ret_value, &f->value, f->size))
			return f;
	}
	return NULL;
}

static bool same_events(const struct bench *b, const struct row *row)
{
	for (__u32 i = 0; i < EVENTS; i++) {
		__u32 want = i < 4 ? row->events[i] : 0;

		if (!want && i == b->count)
			return true;
		if (i >= b->count || b->events[i].type != want || !b->events[i].time_ns)
			return false;
	}
	return false;
}

static __u32 elements(int fd, size_t key_size)
{
	__u8 key[64], next[64];
	__u32 n = 0;

	for (void *at = NULL; !bpf_map_get_next_key(fd, at, next); n++) {
		memcpy(key, next, key_size);
		at = key;
	}
	return n;
}

/* An embryo that has got its slot is gone. */
static bool embryo_left(struct bench *b)
{
	bool opened = b->count && (b->events[0].type == GUARD_EVENT_OPENED ||
				   b->events[0].type == GUARD_EVENT_FRESH);

	return opened &&
	       elements(bpf_map__fd(b->obj->maps.guard_embryos), sizeof(struct guard_key));
}

static bool same_facts(const struct bench *b, const struct row *row)
{
	struct guard_facts got = b->events[0].facts, want = row->facts;

	if (!row->has_facts)
		return true;
	want.key = got.key;
	return b->count == 1 && got.key.local_port == htons(80) &&
	       got.key.peer_port == htons(40000) && !memcmp(&got, &want, sizeof(got));
}

static void run_row(struct bench *b, const struct row *row)
{
	static __u32 slot;
	const struct field *f;
	__u64 before, clamped, kept, limited, value;
	struct run r;

	if (!row->cont) {
		reset(b, row);
		slot = row->has_slot ? GIVEN : OPENED;
	}
	configure(b, row);
	before = counted(b, row->reason);
	clamped = counted(b, GUARD_REASON_CLAMPED);
	kept = counted(b, GUARD_REASON_KEPT);
	limited = counted(b, GUARD_REASON_LIMITED);
	if (!run(b, row, row->before.len, &r))
		say(b, false, row->name, "did not run");
	else if (r.verdict != row->verdict)
		say(b, false, row->name, "verdict %d, not %d", r.verdict, row->verdict);
	else if (!same_bytes(row, &r))
		say(b, false, row->name, "other bytes");
	else if (counted(b, row->reason) - before != (row->reason != GUARD_REASON_COUNT))
		say(b, false, row->name, "its reason was not counted");
	else if (counted(b, GUARD_REASON_CLAMPED) - clamped != row->clamped)
		say(b, false, row->name, "clamped or not");
	else if (row->kept >= 0 && counted(b, GUARD_REASON_KEPT) - kept != (__u64)row->kept)
		say(b, false, row->name, "kept or not");
	else if (row->limited >= 0 &&
		 counted(b, GUARD_REASON_LIMITED) - limited != (__u64)row->limited)
		say(b, false, row->name, "limited or not");
	else if (!same_events(b, row))
		say(b, false, row->name, "%u events, first of type %u", b->count,
		    b->events[0].type);
	else if (embryo_left(b))
		say(b, false, row->name, "the embryo is still there");
	else if (!same_facts(b, row))
		say(b, false, row->name, "other facts");
	else if ((f = wrong_field(b, row, slot, &value)))
		say(b, false, row->name, "%s is %#llx, not %#llx", f->name,
		    (unsigned long long)value, (unsigned long long)f->value);
	else
		say(b, true, row->name, "%s", "");
}

/* A packet of which the end is missing is dropped if it is of a guarded address, and never
 * written to. */
static void run_cut(struct bench *b, const struct row *row)
{
	char name[256];
	struct run r;

	snprintf(name, sizeof(name), "cut short: %s", row->name);
	reset(b, row);
	configure(b, row);
	for (__u32 len = 15; len < row->before.len; len++) {
		if (!run(b, row, len, &r))
			continue; /* some kernels refuse to run what has no network header */
		if (r.len != len || memcmp(r.data, row->before.data, len)) {
			say(b, false, name, "written to at %u octets", len);
			return;
		}
		/* where the addresses are there */
		if (r.verdict != TC_ACT_SHOT && len >= 14 + 40) {
			say(b, false, name, "passed at %u octets", len);
			return;
		}
	}
	if (memcmp(&b->slots[GIVEN], &row->slot, sizeof(row->slot)))
		say(b, false, name, "the slot changed");
	else
		say(b, true, name, "%s", "");
}

static const struct row *find(const char *name)
{
	for (size_t i = 0; i < ROWS; i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	printf("FAIL no row is called %s\n", name);
	abort();
}

/* SYNs from everywhere: handshakes come and go, slots stay free. */
static void test_flood(struct bench *b)
{
	static const char name[] = "T1 a flood of 200000 SYNs takes no slot";
	struct row row = *find("T1 SYN passes and takes no slot v4 TS SACK wscale");
	__u32 conns, embryos, passed = 0;
	__u8 packet[256];
	struct run r;

	memcpy(packet, row.before.data, row.before.len);
	row.before.data = packet;
	reset(b, &row);
	configure(b, &row);
	for (__u32 i = 0; i < 200000; i++) {
		memcpy(packet + 14 + 12, &i, 4);
		passed += run(b, &row, row.before.len, &r) && r.verdict == TC_ACT_UNSPEC;
	}
	conns = elements(bpf_map__fd(b->obj->maps.guard_conns), sizeof(struct guard_key));
	embryos = elements(bpf_map__fd(b->obj->maps.guard_embryos), sizeof(struct guard_key));
	say(b, passed == 200000 && !conns && embryos && embryos <= GUARD_EMBRYOS_MAX, name,
	    "%u passed, %u connections, %u embryos", passed, conns, embryos);
}

/* A whole table is opened, no slot twice, and none is lost. */
static void test_table(struct bench *b)
{
	static const char name[] = "T1 every slot is taken once, and the next SYN is refused";
	const struct row *steps[] = {find("T1 SYN passes and takes no slot v4 TS SACK wscale"),
				     find("T1 SYN-ACK completes the facts v4 TS SACK wscale"),
				     find("T1 ACK of the SYN-ACK opens a slot v4 TS SACK wscale")};
	__u32 opened = 0, twice = 0, refused = 0;
	bool seen[SLOTS] = {};
	struct run r;

	reset(b, steps[0]);
	configure(b, steps[0]);
	for (__u32 i = 0; i < SLOTS + 4; i++) {
		for (int k = 0; k < 3; k++) {
			struct row row = *steps[k];
			__u8 packet[256];

			/* another address of the peer; what changes in the checksums nobody asks */
			memcpy(packet, row.before.data, row.before.len);
			packet[14 + (row.out ? 16 : 12)] = i;
			row.before.data = packet;
			if (!run(b, &row, row.before.len, &r))
				break;
			refused += !k && r.verdict == TC_ACT_SHOT;
			if (k == 2 && b->count && b->events[0].type == GUARD_EVENT_OPENED) {
				opened++;
				twice += seen[b->events[0].slot % SLOTS];
				seen[b->events[0].slot % SLOTS] = true;
			}
		}
	}
	say(b, opened == SLOTS - 1 && !twice && refused == 5, name,
	    "%u opened, %u twice, %u refused", opened, twice, refused);
}

static int verdict(struct bench *b, const struct row *row, __u8 number)
{
	__u8 packet[256];
	struct row other = *row;
	struct run r;

	memcpy(packet, row->before.data, row->before.len);
	packet[14 + 20 + 4] ^= number; /* of its sequence number */
	other.before.data = packet;
	return run(b, &other, row->before.len, &r) ? r.verdict : -1;
}

/* Our kernel, which has forgotten a handshake, answers the same SYN with another number after the
 * first one was told; or this node owned before, and its kernel repeats what it said then. The peer
 * goes on with what it was told first. */
static void test_answers(struct bench *b)
{
	struct row syn = *find("T1 SYN passes and takes no slot v4 TS SACK wscale");
	const struct row *synack = find("T1 SYN-ACK completes the facts v4 TS SACK wscale"),
			 *ack = find("T1 ACK of the SYN-ACK opens a slot v4 TS SACK wscale");
	static const struct {
		const char *name;
		bool foreign; /* the first one is of an ownership before this one */
		__u8 number;  /* by which the second one differs */
		int verdict;
		__u32 event;
	} cases[] = {
		{"T1 told answer stays when our kernel makes another one", false, 1, TC_ACT_SHOT,
		 GUARD_EVENT_FRESH},
		{"T1 told answer of before stays when our kernel makes another one", true, 1,
		 TC_ACT_SHOT, GUARD_EVENT_FRESH},
		{"T1 recorded answer is repeated by the kernel that made it", true, 0,
		 TC_ACT_UNSPEC, GUARD_EVENT_OPENED},
		{"T1 told answer is repeated", false, 0, TC_ACT_UNSPEC, GUARD_EVENT_OPENED},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int embryos = bpf_map__fd(b->obj->maps.guard_embryos), first, second;
		struct guard_embryo embryo;
		struct guard_key key;
		struct run r;
		bool found;

		syn.rate = 0; /* no handshake is recorded: its answer leaves at once */
		reset(b, &syn);
		configure(b, &syn);
		run(b, &syn, syn.before.len, &r);
		first = verdict(b, synack, 0);
		found = !bpf_map_get_next_key(embryos, NULL, &key) &&
			!bpf_map_lookup_elem(embryos, &key, &embryo);
		if (found && cases[i].foreign) {
			embryo.state = GUARD_EMBRYO_FOREIGN;
			embryo.told = 0;
			bpf_map_update_elem(embryos, &key, &embryo, 0);
		}
		syn.rate = ~0u;
		configure(b, &syn);
		second = verdict(b, synack, cases[i].number);
		run(b, ack, ack->before.len, &r);
		say(b,
		    found && first == TC_ACT_UNSPEC && second == cases[i].verdict &&
			    b->count == 1 && b->events[0].type == cases[i].event,
		    cases[i].name, "first %d, second %d, %u events, of type %u", first, second,
		    b->count, b->events[0].type);
	}
}

/* User space that reads no events holds connections off; it misses none. Every second SYN-ACK is
 * told, and the last. */
static void test_events_full(struct bench *b)
{
	static const char name[] = "T1 connection waits while the ring of events is full";
	const struct row *open = find("T1 ACK of the SYN-ACK opens a slot v4 TS SACK wscale");
	struct row syn = *find("T1 SYN passes and takes no slot v4 TS SACK wscale");
	struct row synack = *find("T1 SYN-ACK completes the facts v4 TS SACK wscale");
	struct ring_buffer *ring = b->ring;
	struct run r;
	__u64 before;
	bool good;

	reset(b, &syn);
	syn.rate = ~0u;
	configure(b, &syn);
	run(b, &syn, syn.before.len, &r);
	b->ring = NULL;
	{
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = synack.before.data,
			    .data_size_in = synack.before.len, .repeat = 40001);

		bpf_prog_test_run_opts(bpf_program__fd(b->obj->progs.guard_out), &opts);
	}
	before = counted(b, GUARD_REASON_EVENTS_FULL);
	{
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = open->before.data,
			    .data_size_in = open->before.len, .repeat = 1);

		bpf_prog_test_run_opts(bpf_program__fd(b->obj->progs.guard_in), &opts);
		good = opts.retval == TC_ACT_SHOT;
	}
	good = good && counted(b, GUARD_REASON_EVENTS_FULL) == before + 1 &&
	       !elements(bpf_map__fd(b->obj->maps.guard_conns), sizeof(struct guard_key));
	b->ring = ring;
	ring_buffer__consume(ring);
	good = good && run(b, open, open->before.len, &r) && r.verdict == TC_ACT_UNSPEC &&
	       b->count == 1 && b->events[0].slot == OPENED;
	say(b, good, name, "verdict %d, %u events", r.verdict, b->count);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static int bench_open(struct bench *b)
{
	__u32 slots = SLOTS;
	size_t page = sysconf(_SC_PAGESIZE), size = SLOTS * sizeof(struct guard_slot);

	libbpf_set_print(quiet);
	b->obj = guard_bpf__open();
	if (!b->obj)
		return -errno;
	bpf_map__set_max_entries(b->obj->maps.guard_conns, slots);
	bpf_map__set_max_entries(b->obj->maps.guard_slots, slots);
	bpf_map__set_max_entries(b->obj->maps.guard_free, slots);
	if (guard_bpf__load(b->obj))
		return -errno;
	b->slots = mmap(NULL, (size + page - 1) & ~(page - 1), PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(b->obj->maps.guard_slots), 0);
	b->conf = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(b->obj->maps.guard_conf), 0);
	b->ring = ring_buffer__new(bpf_map__fd(b->obj->maps.guard_events), on_event, b, NULL);
	if (b->slots == MAP_FAILED || b->conf == MAP_FAILED || !b->ring)
		return -errno;
	fill_points(b);
	return 0;
}

int main(void)
{
	struct bench b = {};
	int err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	err = bench_open(&b);
	if (err) {
		printf("FAIL load of the guard: %s\n", strerror(-err));
		return 1;
	}
	for (size_t i = 0; i < ROWS; i++)
		run_row(&b, &rows[i]);
	for (size_t i = 0; i < ROWS; i++)
		if (rows[i].has_slot && rows[i].clamped && !rows[i].cont && !rows[i].gso)
			run_cut(&b, &rows[i]);
	test_table(&b);
	test_answers(&b);
	test_events_full(&b);
	test_flood(&b);
	ring_buffer__free(b.ring);
	guard_bpf__destroy(b.obj);
	return b.failed != 0;
}
