/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Runs every row of gen.py on tc and on XDP: verdict, bytes, counter. Then the
 * packets of all rows that are translated, cut short at every length.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include "tests/bpf/env.h"

#define ANY -1 /* no XDP form */

struct row {
	const char *name;
	enum row_hook hook;
	enum hf_role role;
	int outer;
	int tc, xdp; /* verdicts */
	enum hf_reason reason;
	unsigned int flags;
	const __u8 *before;
	__u32 before_len;
	const __u8 *tc_after; /* NULL: as before */
	__u32 tc_len;
	const __u8 *xdp_after;
	__u32 xdp_len;
};

#include "tests/bpf/gen.h"

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static const struct row *find(const char *name)
{
	for (size_t i = 0; i < ROWS; i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	printf("FAIL no row is called %s\n", name);
	abort();
}

struct sample row_packet(const char *name)
{
	return (struct sample){find(name)->before, find(name)->before_len};
}

struct sample row_result(const char *name)
{
	return (struct sample){find(name)->tc_after, find(name)->tc_len};
}

/* Two IPv4 packets whose identifiers may differ, with what that does to the header checksum. */
static bool same_but_id(__u8 *got, const __u8 *want)
{
	__u32 sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += got[i] << 8 | got[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	if (sum != 0xffff)
		return false;
	memcpy(got + 4, want + 4, 2);
	memcpy(got + 10, want + 10, 2);
	return true;
}

static void dump(const char *what, const __u8 *data, __u32 len)
{
	printf("  %s", what);
	for (__u32 i = 0; i < len && i < 160; i++)
		printf("%s%02x", i % 2 ? "" : " ", data[i]);
	printf("\n");
}

static bool same_bytes(const struct row *row, bool xdp, struct run *run)
{
	const __u8 *after = xdp ? row->xdp_after : row->tc_after;
	__u32 len = xdp ? row->xdp_len : row->tc_len;

	if (!after) {
		after = row->before;
		len = row->before_len;
	}
	if (run->len == len && row->flags & ROW_MASK_ID && !same_but_id(run->data + 14, after + 14))
		return false;
	/* tc redirects to devices that make a MAC header of their own, or have none */
	if (!xdp && row->tc_after)
		memcpy(run->data + 12, after + 12, 2);
	if (run->len == len && !memcmp(run->data, after, len))
		return true;
	dump("want", after, len);
	dump("got ", run->data, run->len);
	return false;
}

static void run_row(struct env *env, const struct row *row, bool xdp)
{
	int verdict = xdp ? row->xdp : row->tc, ifindex = env_ifindex(env, row->hook, row->flags);
	bool counted = !xdp || row->xdp_after;
	char name[256];
	struct run run;
	__u64 count;

	snprintf(name, sizeof(name), "%s (%s)", row->name, xdp ? "XDP" : "tc");
	if (!(row->flags & ROW_CONT))
		env_reset(env, row->role, row->outer, row->flags);
	if (xdp && row->xdp == ANY)
		return;
	env_forget_neighbours(env);
	count = env_count(env, row->reason);
	if (!env_run(env, row->hook, xdp, ifindex, row->before, row->before_len, &run))
		env_say(false, name, "did not run");
	else if (run.verdict != verdict)
		env_say(false, name, "verdict %d, not %d", run.verdict, verdict);
	else if (!same_bytes(row, xdp, &run))
		env_say(false, name, "other bytes");
	else if (env_count(env, row->reason) - count != (counted && row->reason))
		env_say(false, name, "counted %llu times",
			(unsigned long long)(env_count(env, row->reason) - count));
	else
		env_say(true, name, "%s", "");
}

/*
 * What follows a packet the same way within a tick of the clock goes by what was learnt of the next
 * hop: as the other, and with the MAC addresses of its neighbour and of its device.
 */
static void run_again(struct env *env, const struct row *row)
{
	static const __u8 wan[] = {2, 0, 0, 0, 0, 0x11, 2, 0, 0, 0, 0, 1};
	int ifindex = env_ifindex(env, row->hook, row->flags);
	char name[256];
	struct run run;
	bool hit = false;

	snprintf(name, sizeof(name), "%s, again (tc)", row->name);
	for (int tries = 0; tries < 20 && !hit; tries++) {
		env_reset(env, row->role, row->outer, row->flags);
		if (!env_run(env, row->hook, false, ifindex, row->before, row->before_len, &run) ||
		    !env_run(env, row->hook, false, ifindex, row->before, row->before_len, &run)) {
			env_say(false, name, "did not run");
			return;
		}
		hit = !memcmp(run.data, wan, sizeof(wan)); /* else the clock ticked in between */
	}
	if (!hit) {
		env_say(false, name, "not with the neighbour's MAC address");
		return;
	}
	memcpy(run.data, row->tc_after, sizeof(wan));
	env_say(run.verdict == TC_ACT_REDIRECT && same_bytes(row, false, &run), name,
		"verdict %d, or other bytes", run.verdict);
}

static bool row_is_error(const struct row *row)
{
	const __u8 *ip = row->before + 14;
	bool four = *ip >> 4 == 4;
	const __u8 *icmp = ip + (four ? (*ip & 15) * 4 : 40);

	return four ? ip[9] == IPPROTO_ICMP && *icmp != ICMP_ECHO && *icmp != ICMP_ECHOREPLY
		    : ip[6] == IPPROTO_ICMPV6 && *icmp < ICMP6_ECHO_REQUEST;
}

/* Errors come too seldom for it to be worth anything. */
static bool row_repeats(const struct row *row)
{
	return row->hook == ROW_ENCODE && row->tc == TC_ACT_REDIRECT && row->tc_after &&
	       !(row->flags & ROW_CONT) && row->reason == HF_REASON_ENCODED && !row_is_error(row);
}

/* A packet of which the end is missing is never translated, and what passes is as it came. */
static void run_cut(struct env *env, const struct row *row, bool xdp)
{
	int ifindex = env_ifindex(env, row->hook, row->flags);
	char name[256];
	struct run run;

	snprintf(name, sizeof(name), "cut short: %s (%s)", row->name, xdp ? "XDP" : "tc");
	env_reset(env, row->role, row->outer, row->flags);
	for (__u32 len = 15; len < row->before_len; len++) {
		if (!env_run(env, row->hook, xdp, ifindex, row->before, len, &run))
			continue; /* some kernels refuse to run what has no network header */
		if (run.verdict == (xdp ? XDP_REDIRECT : TC_ACT_REDIRECT) ||
		    (xdp && run.verdict == XDP_TX)) {
			env_say(false, name, "translated at %u octets", len);
			return;
		}
		if (run.len != len || memcmp(run.data, row->before, len)) {
			env_say(false, name, "written to at %u octets", len);
			return;
		}
	}
	env_say(true, name, "%s", "");
}

void test_rows(struct env *env)
{
	/* XDP has no such helpers */
	for (int xdp = 0; xdp < (env_csum_helpers ? 1 : 2); xdp++) {
		for (size_t i = 0; i < ROWS; i++)
			run_row(env, &rows[i], xdp);
		for (size_t i = 0; i < ROWS; i++)
			if (xdp ? rows[i].xdp_after && rows[i].xdp != ANY
				: rows[i].tc_after != NULL)
				if (!(rows[i].flags & (ROW_CONT | ROW_PADDED)) &&
				    rows[i].before_len < 400)
					run_cut(env, &rows[i], xdp);
	}
	for (size_t i = 0; i < ROWS; i++)
		if (row_repeats(&rows[i]))
			run_again(env, &rows[i]);
}
