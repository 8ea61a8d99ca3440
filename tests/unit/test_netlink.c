/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Real devices, in a network namespace of the test's own:
 *
 *   hf0 (TAP, the code under test)      e0 ─ p0 (veth)      e1 ─ p1 (veth)
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../control/addr.h"
#include "../../control/path/netlink.h"
#include "../../control/path/tun.h"

static const char *no_namespace;
static struct netlink *nl;

#define NEED_NAMESPACE()                                                                           \
	do {                                                                                       \
		if (no_namespace) {                                                                \
			print_message("skipped: %s\n", no_namespace);                              \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static int enter(void **state)
{
	(void)state;
	if (geteuid() != 0)
		no_namespace = "not root";
	else if (access("/dev/net/tun", R_OK | W_OK) < 0)
		no_namespace = "no /dev/net/tun";
	else if (system("command -v ip >/dev/null") != 0)
		no_namespace = "no ip command";
	else if (unshare(CLONE_NEWNET) < 0)
		no_namespace = "no network namespace to be had";
	else if (system("ip link add e0 type veth peer name p0 && ip link add e1 type veth peer "
			"name p1") != 0)
		no_namespace = "no veth";
	if (no_namespace)
		return 0;
	return system("ip link set lo up; ip link set p0 up; ip link set p1 up;"
		      "ip link set e0 up; ip link set e1 up") ||
	       netlink_open(&nl);
}

static int leave(void **state)
{
	(void)state;
	netlink_close(nl);
	return 0;
}

static struct hf_addr A(const char *text) {
	struct hf_addr a;

	if (addr_parse(text, &a) < 0)
		fail_msg("%s does not parse", text);
	return a;
}

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Reads events until all of `want` have come, or for two seconds; returns all that came. */
static int events(int want)
{
	struct pollfd p = {.fd = netlink_fd(nl), .events = POLLIN};
	uint64_t end = now_ms() + 2000;
	int mask = 0;

	while ((mask & want) != want && now_ms() < end) {
		int r;

		poll(&p, 1, 100);
		r = netlink_dispatch(nl);
		assert_true(r >= 0);
		mask |= r;
	}
	return mask;
}

/* Until nothing comes for a while. */
static void quiet(void)
{
	struct pollfd p = {.fd = netlink_fd(nl), .events = POLLIN};

	while (poll(&p, 1, 100) > 0)
		netlink_dispatch(nl);
}

static struct netlink_link link_of(const char *name)
{
	struct netlink_link list[32];
	int n = netlink_links(nl, list, 32);

	assert_in_range(n, 1, 32);
	for (int i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return list[i];
	fail_msg("no link %s", name);
	return list[0];
}

/* -1: not there; else whether it is usable */
static int usable(uint32_t ifindex, const char *text, unsigned int prefixlen)
{
	struct netlink_address list[64];
	struct hf_addr a = A(text);
	int n = netlink_addresses(nl, list, 64);

	assert_in_range(n, 0, 64);
	for (int i = 0; i < n; i++)
		if (list[i].ifindex == ifindex && addr_equal(&list[i].addr, &a)) {
			assert_int_equal(list[i].prefixlen, prefixlen);
			return list[i].usable;
		}
	return -1;
}

static void wait_running(const char *name, bool want)
{
	for (int i = 0; link_of(name).running != want; i++) {
		assert_true(i < 200);
		usleep(10000);
	}
}

static void links(void **state)
{
	struct netlink_link l, one;
	int n;

	(void)state;
	NEED_NAMESPACE();
	n = netlink_links(nl, NULL, 0);
	assert_true(n >= 5);
	assert_int_equal(netlink_links(nl, &one, 1), n);
	wait_running("e0", true);
	l = link_of("e0");
	assert_true(l.up && l.has_mac);
	assert_int_equal(l.mtu, 1500);
	assert_int_equal(netlink_link_index("e0"), l.ifindex);
	assert_int_equal(netlink_link_index("nonesuch"), -ENODEV);
}

static void n7_n8_events(void **state)
{
	(void)state;
	NEED_NAMESPACE();
	quiet();
	assert_int_equal(netlink_dispatch(nl), 0);
	assert_true(poll(&(struct pollfd){.fd = netlink_fd(nl), .events = POLLIN}, 1, 0) == 0);

	run("ip addr add 192.0.2.2/24 dev e0");
	assert_int_equal(events(NETLINK_ADDRESSES) & NETLINK_ADDRESSES, NETLINK_ADDRESSES);
	assert_int_equal(usable(link_of("e0").ifindex, "192.0.2.2", 24), 1);

	run("ip link set e0 down");
	assert_int_equal(events(NETLINK_LINKS) & NETLINK_LINKS, NETLINK_LINKS);
	assert_false(link_of("e0").up);
	assert_false(link_of("e0").running);
	quiet();
	run("ip link set e0 up");
	assert_int_equal(events(NETLINK_LINKS) & NETLINK_LINKS, NETLINK_LINKS);
	wait_running("e0", true);
	quiet();

	/* the carrier goes: up, but not running */
	run("ip link set p0 down");
	assert_int_equal(events(NETLINK_LINKS) & NETLINK_LINKS, NETLINK_LINKS);
	wait_running("e0", false);
	assert_true(link_of("e0").up);
	run("ip link set p0 up");
	wait_running("e0", true);
	quiet();

	run("ip addr del 192.0.2.2/24 dev e0");
	assert_int_equal(events(NETLINK_ADDRESSES) & NETLINK_ADDRESSES, NETLINK_ADDRESSES);
	assert_int_equal(usable(link_of("e0").ifindex, "192.0.2.2", 24), -1);
	quiet();
	run("ip route add 198.51.100.0/24 dev e0");
	assert_int_equal(events(NETLINK_ROUTES), NETLINK_ROUTES);
	run("ip route del 198.51.100.0/24 dev e0");
	assert_int_equal(events(NETLINK_ROUTES), NETLINK_ROUTES);
}

static void usable_addresses(void **state)
{
	uint32_t lo, e0;

	(void)state;
	NEED_NAMESPACE();
	lo = link_of("lo").ifindex;
	e0 = link_of("e0").ifindex;
	assert_int_equal(usable(lo, "127.0.0.1", 8), 0);
	assert_int_equal(usable(lo, "::1", 128), 0);
	run("ip addr add 169.254.3.3/16 dev e0");
	assert_int_equal(usable(e0, "169.254.3.3", 16), 0);
	run("ip addr add 2001:db8:1::2/64 dev e0 nodad");
	assert_int_equal(usable(e0, "2001:db8:1::2", 64), 1);
	run("ip addr change 2001:db8:1::2/64 dev e0 preferred_lft 0");
	assert_int_equal(usable(e0, "2001:db8:1::2", 64), 0);
	run("ip addr add 2001:db8:1::3/64 dev e0"); /* being checked for a second or more */
	assert_int_equal(usable(e0, "2001:db8:1::3", 64), 0);
	run("ip addr add 198.51.100.1 peer 198.51.100.9/32 dev e0");
	assert_int_equal(usable(e0, "198.51.100.1", 32), 1);
	run("ip addr flush dev e0");
}

/* More events than the socket's buffer takes: nothing is read meanwhile. */
static void n7_lost_events_mean_all(void **state)
{
	FILE *f;
	int mask;

	(void)state;
	NEED_NAMESPACE();
	quiet();
	f = popen("ip -batch -", "w");
	assert_non_null(f);
	for (int i = 0; i < 20000; i++) {
		fprintf(f, "addr add 10.%d.%d.1/32 dev e1\n", i / 250, i % 250);
		fprintf(f, "addr del 10.%d.%d.1/32 dev e1\n", i / 250, i % 250);
	}
	assert_int_equal(pclose(f), 0);
	mask = netlink_dispatch(nl);
	assert_int_equal(mask, NETLINK_ALL);
	quiet();
	run("ip addr add 192.0.2.77/32 dev e1");
	assert_int_equal(events(NETLINK_ADDRESSES) & NETLINK_ADDRESSES, NETLINK_ADDRESSES);
	run("ip addr del 192.0.2.77/32 dev e1");
}

static bool shows(const char *command, const char *text)
{
	char line[512];
	bool found = false;
	FILE *f = popen(command, "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		found |= strstr(line, text) != NULL;
	pclose(f);
	return found;
}

static void hf0_is_configured(void **state)
{
	struct hf_addr four = A("10.7.0.1"), six = A("fd00:7::1");
	struct hf_addr net4 = A("203.0.113.0"), net6 = A("2001:db8:9::"), none = {0};
	char err[256] = "";
	struct netlink_link l;
	uint32_t hf0;
	bool adopted;
	int fd;

	(void)state;
	NEED_NAMESPACE();
	assert_int_equal(tun_open("hf0", &fd, &hf0, &adopted, err, sizeof(err)), 0);
	assert_int_equal(netlink_set_link(nl, hf0, true, 1480), 0);
	l = link_of("hf0");
	assert_true(l.up && l.running && l.has_mac);
	assert_int_equal(l.mtu, 1480);
	assert_int_equal(netlink_set_link(nl, hf0, true, 0), 0);
	assert_int_equal(link_of("hf0").mtu, 1480);
	assert_int_equal(netlink_set_link(nl, 9999, true, 0), -ENODEV);
	assert_int_equal(netlink_set_link(nl, hf0, true, 100000), -EINVAL);

	for (int again = 0; again < 2; again++) {
		assert_int_equal(netlink_add_address(nl, hf0, &four, 32), 0);
		assert_int_equal(netlink_add_address(nl, hf0, &six, 128), 0);
		assert_int_equal(usable(hf0, "10.7.0.1", 32), 1);
		assert_int_equal(usable(hf0, "fd00:7::1", 128), 1); /* at once: no DAD */
		quiet();
		assert_int_equal(netlink_add_route(nl, &net4, 24, hf0, &four, 1400), 0);
		assert_int_equal(netlink_add_route(nl, &net6, 64, hf0, &six, 0), 0);
		quiet();
	}
	assert_true(shows("ip route show 203.0.113.0/24",
			  "via 192.0.0.8 dev hf0 proto 72 src 10.7.0.1 onlink mtu 1400"));
	assert_true(shows("ip -6 route show 2001:db8:9::/64", "dev hf0 proto 72 src fd00:7::1"));
	assert_int_equal(netlink_add_route(nl, &net4, 24, hf0, NULL, 0), 0); /* replaced */
	assert_true(shows("ip route show 203.0.113.0/24", "via 192.0.0.8 dev hf0 proto 72 onlink"));
	assert_false(shows("ip route show 203.0.113.0/24", "mtu"));
	assert_int_equal(netlink_add_route(nl, &net4, 24, hf0, &none, 0), 0);

	/* the daemon was killed: addresses and routes stay, and are found as ours by the next one
	 */
	close(fd);
	assert_true(shows("ip route show 203.0.113.0/24", "dev hf0"));
	assert_true(shows("ip -6 route show 2001:db8:9::/64", "dev hf0"));
	assert_int_equal(tun_open("hf0", &fd, &hf0, &adopted, err, sizeof(err)), 0);
	assert_true(adopted);

	quiet();
	assert_int_equal(netlink_del_route(nl, &net6, 64, hf0), 0);
	assert_int_equal(events(NETLINK_ROUTES), NETLINK_ROUTES);
	assert_int_equal(netlink_del_route(nl, &net6, 64, hf0), 0);
	assert_int_equal(netlink_del_address(nl, hf0, &six, 128), 0);
	assert_int_equal(netlink_del_address(nl, hf0, &six, 128), 0);
	assert_int_equal(usable(hf0, "fd00:7::1", 128), -1);
	assert_int_equal(netlink_add_address(nl, hf0, &four, 33), -EINVAL);
	assert_int_equal(netlink_add_route(nl, &net4, 33, hf0, NULL, 0), -EINVAL);
	assert_int_equal(netlink_add_route(nl, &net4, 24, hf0, &six, 0), -EINVAL);
	assert_int_equal(tun_remove(fd), 0);
	assert_int_equal(netlink_del_address(nl, hf0, &four, 32), 0); /* went with the device */
	assert_int_equal(netlink_del_route(nl, &net4, 24, hf0), 0);
}

static void only_our_routes_are_touched(void **state)
{
	struct hf_addr mine = A("203.0.113.0"), theirs = A("198.51.100.0"), six = A("2001:db8:9::");
	struct hf_addr other = A("192.0.2.0"), any4 = A("0.0.0.0");
	uint32_t e0, e1;

	(void)state;
	NEED_NAMESPACE();
	e0 = link_of("e0").ifindex;
	e1 = link_of("e1").ifindex;
	run("ip route add 198.51.100.0/24 dev e0 proto static");
	run("ip -6 route add 2001:db8:77::/64 dev e0 proto static");
	assert_int_equal(netlink_add_route(nl, &theirs, 24, e1, NULL, 0), -EEXIST);
	assert_int_equal(netlink_add_route(nl, &theirs, 24, e0, NULL, 0), -EEXIST);
	assert_int_equal(netlink_del_route(nl, &theirs, 24, e0), 0);
	assert_int_equal(netlink_add_route(nl, &mine, 24, e0, NULL, 0), 0);
	assert_int_equal(netlink_add_route(nl, &any4, 0, e0, NULL, 0), 0);
	assert_int_equal(netlink_add_route(nl, &any4, 0, e0, NULL, 0), 0);
	assert_int_equal(netlink_add_route(nl, &six, 64, e0, NULL, 0), 0);
	assert_int_equal(netlink_add_route(nl, &other, 24, e1, NULL, 0), 0);
	assert_int_equal(netlink_flush_routes(nl, e0), 3);
	assert_int_equal(netlink_flush_routes(nl, e0), 0);
	assert_true(shows("ip route show dev e0", "198.51.100.0/24"));
	assert_true(shows("ip -6 route show dev e0", "2001:db8:77::/64"));
	assert_false(shows("ip route show dev e0", "203.0.113.0/24"));
	assert_false(shows("ip -6 route show dev e0", "2001:db8:9::/64"));
	assert_true(shows("ip route show dev e1", "192.0.2.0/24"));
	assert_int_equal(netlink_flush_routes(nl, e1), 1);
	run("ip route del 198.51.100.0/24 dev e0; ip -6 route del 2001:db8:77::/64 dev e0");
}

static void n8_route_out_of_a_device(void **state)
{
	struct hf_addr peer = A("203.0.113.9"), a0 = A("10.0.0.2"), a1 = A("10.1.0.2"), gw;
	struct hf_addr peer6 = A("2001:db8:f::9"), b0 = A("2001:db8:a::2"), b1 = A("2001:db8:b::2");
	struct hf_addr none = {0};
	struct netlink_route r;
	uint32_t e0, e1;

	(void)state;
	NEED_NAMESPACE();
	e0 = link_of("e0").ifindex;
	e1 = link_of("e1").ifindex;
	run("ip addr add 10.0.0.2/24 dev e0; ip addr add 10.1.0.2/24 dev e1;"
	    "ip addr add 2001:db8:a::2/64 dev e0 nodad; ip addr add 2001:db8:b::2/64 dev e1 nodad");

	assert_false(netlink_route_ok(nl, &peer, &a0, e0));
	assert_int_equal(netlink_route_get(nl, &peer, &a0, e0, &r), -EHOSTUNREACH);
	assert_int_equal(netlink_route_get(nl, &peer6, &b0, e0, &r), -ENETUNREACH);
	run("ip route add default via 10.0.0.1 dev e0 metric 100");
	assert_true(netlink_route_ok(nl, &peer, &a0, e0));
	assert_false(netlink_route_ok(nl, &peer, &a1, e1));
	run("ip route add default via 10.1.0.1 dev e1 metric 200 mtu 1300");
	assert_true(netlink_route_ok(nl, &peer, &a0, e0));
	assert_true(netlink_route_ok(nl, &peer, &a1, e1)); /* the worse route will do */
	assert_int_equal(netlink_route_get(nl, &peer, &a1, e1, &r), 0);
	gw = A("10.1.0.1");
	assert_true(addr_equal(&r.gateway, &gw));
	assert_int_equal(r.mtu, 1300);
	assert_true(r.plain);
	gw = A("10.0.0.7"); /* on link */
	assert_int_equal(netlink_route_get(nl, &gw, &a0, e0, &r), 0);
	assert_true(addr_is_zero(&r.gateway));
	assert_int_equal(r.mtu, 0);
	assert_int_equal(netlink_route_get(nl, &gw, &none, e0, &r), 0);
	assert_int_equal(netlink_route_get(nl, &gw, NULL, e0, &r), 0);
	assert_int_equal(netlink_route_get(nl, &peer, &b0, e0, &r), -EINVAL);

	run("ip -6 route add default via 2001:db8:a::1 dev e0 metric 100");
	assert_true(netlink_route_ok(nl, &peer6, &b0, e0));
	assert_false(netlink_route_ok(nl, &peer6, &b1, e1));
	assert_int_equal(netlink_route_get(nl, &peer6, &b1, e1, &r), -ENETUNREACH);
	/* a worse IPv6 route is a way only for what is bound to the device ... */
	run("ip -6 route add default via fe80::77 dev e1 metric 200");
	assert_false(netlink_route_ok(nl, &peer6, &b1, e1));
	assert_int_equal(netlink_route_get(nl, &peer6, &b1, e1, &r), 0);
	assert_false(r.plain);
	gw = A("fe80::77");
	assert_true(addr_equal(&r.gateway, &gw));
	/* ... or with a rule for its source */
	run("ip -6 route add default via 2001:db8:b::1 dev e1 table 77;"
	    "ip -6 rule add from 2001:db8:b::2 table 77");
	assert_true(netlink_route_ok(nl, &peer6, &b1, e1));
	run("ip -6 rule del from 2001:db8:b::2 table 77");

	run("ip link set e1 down");
	assert_false(netlink_route_ok(nl, &peer, &a1, e1));
	assert_false(netlink_route_ok(nl, &peer6, &b1, e1));
	run("ip link set e1 up");

	/* several routers at once */
	run("ip route replace default metric 100 nexthop via 10.0.0.1 dev e0 nexthop via 10.1.0.1 "
	    "dev e1");
	run("ip route del default metric 200 2>/dev/null || true");
	assert_int_equal(netlink_route_get(nl, &peer, &a1, e1, &r), 0);
	gw = A("10.1.0.1");
	assert_true(addr_equal(&r.gateway, &gw));
	assert_int_equal(netlink_route_get(nl, &peer, &a0, e0, &r), 0);
	gw = A("10.0.0.1");
	assert_true(addr_equal(&r.gateway, &gw));
	run("ip route replace unreachable 203.0.113.0/24");
	assert_false(netlink_route_ok(nl, &peer, &a0, e0));
}

/* A segment that waits in a dead next hop's entry would not be retransmitted (N6). */
static void n6_neighbours_are_forgotten(void **state)
{
	struct hf_addr dead = A("10.98.0.2"), dead6 = A("fd98::2"), kept = A("10.98.0.3"),
		       shared = A("10.98.0.4");
	uint32_t e1 = (uint32_t)netlink_link_index("e1");

	(void)state;
	NEED_NAMESPACE();
	run("ip neigh add 10.98.0.2 dev e1 nud incomplete");
	run("ip neigh add fd98::2 dev e1 nud incomplete");
	run("ip neigh add 10.98.0.4 lladdr 02:00:00:00:00:04 dev e1 nud reachable");
	run("ip neigh add 10.98.0.3 lladdr 02:00:00:00:00:03 dev e1 nud permanent");
	assert_int_equal(netlink_forget_neighbour(nl, e1, &dead), 0);
	assert_int_equal(netlink_forget_neighbour(nl, e1, &dead6), 0);
	assert_int_equal(netlink_forget_neighbour(nl, e1, &kept), 0);
	assert_int_equal(netlink_forget_neighbour(nl, e1, &shared), 0);
	run("! ip neigh show dev e1 | grep -q '98[.]0[.]2\\|fd98::2'");
	run("ip neigh show dev e1 | grep -q 10.98.0.4");               /* nothing waits there */
	run("ip neigh show dev e1 nud permanent | grep -q 10.98.0.3"); /* somebody's own */
	assert_int_equal(netlink_forget_neighbour(nl, e1, &dead), 0);  /* none there */
	assert_int_equal(netlink_forget_neighbour(nl, 4711, &dead), 0);
}

static void null_is_closed(void **state)
{
	(void)state;
	netlink_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links),
		cmocka_unit_test(n7_n8_events),
		cmocka_unit_test(usable_addresses),
		cmocka_unit_test(n7_lost_events_mean_all),
		cmocka_unit_test(hf0_is_configured),
		cmocka_unit_test(only_our_routes_are_touched),
		cmocka_unit_test(n8_route_out_of_a_device),
		cmocka_unit_test(n6_neighbours_are_forgotten),
		cmocka_unit_test(null_is_closed),
	};

	return cmocka_run_group_tests_name("netlink", tests, enter, leave);
}
