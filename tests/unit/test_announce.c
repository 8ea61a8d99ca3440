/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Announcements and addresses that move, in a namespace of the test's own:
 *
 *   e0 (02:00:00:00:00:e0) ─ p0 (02:00:00:00:00:b0), veth, seen at p0
 *
 * Expected frames come from scapy: Ether()/ARP(), Ether()/IPv6()/ICMPv6ND_NA(R=0,S=0,O=1)/
 * ICMPv6NDOptDstLLAddr().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "../../control/addr.h"
#include "../../control/path/netlink.h"
#include "../../control/takeover/announce.h"
#include "../../control/takeover/vip.h"

#define PATIENCE 10000 /* ms */

static const char *no_namespace;
static struct netlink *nl;
static uint32_t e0;

#define NEED_NAMESPACE()                                                                           \
	do {                                                                                       \
		if (no_namespace) {                                                                \
			print_message("skipped: %s\n", no_namespace);                              \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

static int enter(void **state)
{
	(void)state;
	if (geteuid() != 0)
		no_namespace = "not root";
	else if (system("command -v ip >/dev/null") != 0)
		no_namespace = "no ip command";
	else if (unshare(CLONE_NEWNET) < 0)
		no_namespace = "no network namespace to be had";
	else if (system("ip link add e0 address 02:00:00:00:00:e0 type veth peer name p0 address "
			"02:00:00:00:00:b0") != 0)
		no_namespace = "no veth";
	if (no_namespace)
		return 0;
	if (system("ip link set lo up; ip link set e0 up && ip link set p0 up"))
		return -1;
	e0 = if_nametoindex("e0");
	return netlink_open(&nl);
}

static int leave(void **state)
{
	(void)state;
	netlink_close(nl);
	return 0;
}

static struct hf_addr A(const char *text) {
	struct hf_addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* ---- announcements ------------------------------------------------------------ */

static const char *const arp_request = "ffffffffffff0200000000e00806000108000604000102"
				       "00000000e0c000020a000000000000c000020a";
static const char *const arp_reply = "ffffffffffff0200000000e00806000108000604000202"
				     "00000000e0c000020a0200000000e0c000020a";
static const char *const advertisement =
	"3333000000010200000000e086dd6000000000203aff20010db8000000000000000000000010ff020000000000"
	"00"
	"00000000000000018800f82d2000000020010db800000000000000000000001002010200000000e0";

static int ear_open(void)
{
	struct sockaddr_ll sa = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

	assert_true(fd >= 0);
	sa.sll_ifindex = (int)if_nametoindex("p0");
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* Until that very frame comes; others, of the kernel's own, may come before it. */
static void expect(int ear, const char *want)
{
	struct pollfd p = {.fd = ear, .events = POLLIN};

	for (;;) {
		uint8_t frame[256];
		char hex[2 * sizeof(frame) + 1] = "";
		ssize_t n;

		if (poll(&p, 1, PATIENCE) != 1)
			fail_msg("never seen: %s", want);
		n = recv(ear, frame, sizeof(frame), 0);
		for (ssize_t i = 0; i < n; i++)
			snprintf(hex + 2 * i, 3, "%02x", frame[i]);
		if (strcmp(hex, want) == 0)
			return;
	}
}

static void frames(void **state)
{
	struct hf_addr v4 = A("192.0.2.10"), v6 = A("2001:db8::10");
	struct announcer *a;
	int ear;

	(void)state;
	NEED_NAMESPACE();
	ear = ear_open();
	assert_int_equal(announce_open(&a), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(announce_send(a, e0, &v4), 0);
		expect(ear, arp_request);
		expect(ear, arp_reply);
		assert_int_equal(announce_send(a, e0, &v6), 0);
		expect(ear, advertisement);
	}
	assert_int_equal(announce_send(a, 4711, &v4), -ENODEV);
	assert_int_equal(announce_send(a, if_nametoindex("lo"), &v4), -EOPNOTSUPP);
	announce_close(a);
	announce_close(NULL);
	close(ear);
}

/* ---- addresses ---------------------------------------------------------------- */

/* True if a line of "ip" has all of that in this order. */
static bool shows(const char *command, const char *pattern)
{
	char line[512];

	snprintf(line, sizeof(line), "%s | grep -q -- '%s'", command, pattern);
	return system(line) == 0;
}

static void what_is_added_is_taken_away(void **state)
{
	struct hf_addr v4 = A("192.0.2.10"), v6 = A("2001:db8::10");

	(void)state;
	NEED_NAMESPACE();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vip_add(nl, e0, &v4, 0), 0);
		assert_int_equal(vip_add(nl, e0, &v4, 0), 0);
		assert_int_equal(vip_add(nl, e0, &v6, i ? 64 : 0), 0);
		assert_int_equal(vip_add(nl, e0, &v6, i ? 64 : 0), 0);
		assert_true(shows("ip -4 -o addr show e0", "192.0.2.10/32 .*noprefixroute"));
		assert_true(shows("ip -6 -o addr show e0",
				  i ? "2001:db8::10/64 .*nodad deprecated noprefixroute"
				    : "2001:db8::10/128 .*nodad deprecated noprefixroute"));
		assert_false(shows("ip -4 route", "192"));
		assert_false(shows("ip -6 route", "2001"));
		/* also after a restart: nothing is remembered */
		netlink_close(nl);
		assert_int_equal(netlink_open(&nl), 0);
		assert_int_equal(vip_del(nl, e0, &v4), 0);
		assert_int_equal(vip_del(nl, e0, &v4), 0);
		assert_int_equal(vip_del(nl, e0, &v6), 0);
		assert_int_equal(vip_del(nl, e0, &v6), 0);
		assert_false(shows("ip addr show e0", "192.0.2.10"));
		assert_false(shows("ip addr show e0", "2001:db8"));
	}
}

static void what_was_there_stays(void **state)
{
	struct hf_addr v4 = A("192.0.2.20"), v6 = A("2001:db8::20"), next = A("192.0.2.21");

	(void)state;
	NEED_NAMESPACE();
	assert_int_equal(system("ip addr add 192.0.2.20/24 dev e0 && "
				"ip addr add 2001:db8::20/64 dev e0 nodad"),
			 0);
	assert_int_equal(vip_add(nl, e0, &v4, 32), 0);
	assert_int_equal(vip_add(nl, e0, &v6, 128), 0);
	assert_int_equal(vip_add(nl, e0, &next, 24), 0);
	assert_false(shows("ip addr show e0", "192.0.2.20/32"));
	assert_int_equal(vip_del(nl, e0, &v4), 0);
	assert_int_equal(vip_del(nl, e0, &v6), 0);
	assert_true(shows("ip addr show e0", "192.0.2.20/24"));
	assert_true(shows("ip addr show e0", "2001:db8::20/64"));
	assert_true(shows("ip addr show e0", "192.0.2.21/24"));
	assert_int_equal(vip_del(nl, e0, &next), 0);
	assert_false(shows("ip addr show e0", "192.0.2.21"));
	assert_true(shows("ip route", "192.0.2.0/24"));
	assert_int_equal(system("ip addr flush dev e0"), 0);
}

/* The host's own connections do not leave from a guarded address: it is fenced on a standby. */
static void no_source_of_its_own(void **state)
{
	struct hf_addr v4 = A("192.0.2.10"), v6 = A("2001:db8::10");

	(void)state;
	NEED_NAMESPACE();
	assert_int_equal(system("ip addr add 192.0.2.200/24 dev e0 && "
				"ip addr add 2001:db8::200/64 dev e0 nodad"),
			 0);
	assert_int_equal(vip_add(nl, e0, &v4, 24), 0);
	assert_int_equal(vip_add(nl, e0, &v6, 64), 0);
	assert_true(shows("ip route get 192.0.2.1", "src 192.0.2.200"));
	assert_true(shows("ip route get 2001:db8::11", "src 2001:db8::200"));
	assert_int_equal(system("ip addr flush dev e0"), 0);
}

static void errors_of_addresses(void **state)
{
	struct hf_addr v4 = A("192.0.2.10"), v6 = A("2001:db8::10");

	(void)state;
	NEED_NAMESPACE();
	assert_int_equal(vip_add(nl, e0, &v4, 33), -EINVAL);
	assert_int_equal(vip_add(nl, e0, &v6, 129), -EINVAL);
	assert_int_equal(vip_add(nl, 4711, &v4, 32), -ENODEV);
	assert_int_equal(vip_add(nl, 4711, &v6, 128), -ENODEV);
	assert_int_equal(vip_del(nl, 4711, &v4), 0);
	assert_int_equal(vip_del(nl, 4711, &v6), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames),
		cmocka_unit_test(what_is_added_is_taken_away),
		cmocka_unit_test(what_was_there_stays),
		cmocka_unit_test(no_source_of_its_own),
		cmocka_unit_test(errors_of_addresses),
	};

	return cmocka_run_group_tests_name("announce", tests, enter, leave);
}
