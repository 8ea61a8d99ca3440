/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Real devices, in a network namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <cmocka.h>

#include "../../control/path/tun.h"

static const char *no_namespace;

static int enter(void **state)
{
	(void)state;
	if (geteuid() != 0)
		no_namespace = "not root";
	else if (unshare(CLONE_NEWNET) < 0)
		no_namespace = "no network namespace to be had";
	else if (access("/dev/net/tun", R_OK | W_OK) < 0)
		no_namespace = "no /dev/net/tun";
	return 0;
}

#define NEED_NAMESPACE()                                                                           \
	do {                                                                                       \
		if (no_namespace) {                                                                \
			print_message("skipped: %s\n", no_namespace);                              \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

static void set_up(const char *name, const char *addr)
{
	struct ifreq ifr = {0};
	struct sockaddr_in *in = (struct sockaddr_in *)&ifr.ifr_addr;
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(s >= 0);
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	if (addr) {
		in->sin_family = AF_INET;
		assert_int_equal(inet_pton(AF_INET, addr, &in->sin_addr), 1);
		assert_int_equal(ioctl(s, SIOCSIFADDR, &ifr), 0);
	}
	assert_int_equal(ioctl(s, SIOCGIFFLAGS, &ifr), 0);
	assert_true(ifr.ifr_flags & IFF_NOARP);
	ifr.ifr_flags |= IFF_UP;
	assert_int_equal(ioctl(s, SIOCSIFFLAGS, &ifr), 0);
	close(s);
}

static void created_adopted_removed(void **state)
{
	struct ifreq ifr = {.ifr_name = "hf0"};
	char err[256] = "";
	uint32_t first, second;
	bool adopted = true;
	int fd, s;

	(void)state;
	NEED_NAMESPACE();
	if (tun_open("hf0", &fd, &first, &adopted, err, sizeof(err)) != 0)
		fail_msg("%s", err);
	assert_false(adopted);
	assert_int_equal(first, if_nametoindex("hf0"));
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	s = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(ioctl(s, SIOCGIFTXQLEN, &ifr), 0);
	assert_int_equal(ifr.ifr_qlen, TUN_QUEUE_LEN);
	close(s);

	close(fd); /* as kill -9 does */
	assert_int_equal(if_nametoindex("hf0"), first);

	if (tun_open("hf0", &fd, &second, &adopted, err, sizeof(err)) != 0)
		fail_msg("%s", err);
	assert_true(adopted);
	assert_int_equal(second, first);
	assert_int_equal(tun_remove(fd), 0);
	assert_int_equal(if_nametoindex("hf0"), 0);
}

static void refuses(void **state)
{
	static const char *const bad[] = {"",  "a/b", "hf%d", "sixteen-letters-x",
					  ".", "..",  "a b",  "a:1"};
	char err[256] = "";
	uint32_t ifindex = 77;
	bool adopted;
	int fd, other = -2;

	(void)state;
	NEED_NAMESPACE();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(tun_open(bad[i], &other, &ifindex, &adopted, err, sizeof(err)),
				 -EINVAL);

	assert_int_equal(tun_open("lo", &other, &ifindex, &adopted, err, sizeof(err)), -EEXIST);
	assert_non_null(strstr(err, "lo"));

	assert_int_equal(tun_open("hf0", &fd, &ifindex, &adopted, err, sizeof(err)), 0);
	ifindex = 77;
	assert_int_equal(tun_open("hf0", &other, &ifindex, &adopted, err, sizeof(err)), -EBUSY);
	assert_non_null(strstr(err, "another process"));
	assert_int_equal(other, -2);
	assert_int_equal(ifindex, 77);
	assert_int_equal(tun_remove(fd), 0);
}

static void refuses_a_tun(void **state)
{
	struct ifreq ifr = {.ifr_name = "tun7", .ifr_flags = IFF_TUN | IFF_NO_PI};
	char err[256] = "";
	uint32_t ifindex;
	bool adopted;
	int fd, tun;

	(void)state;
	NEED_NAMESPACE();
	tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_true(tun >= 0);
	assert_int_equal(ioctl(tun, TUNSETIFF, &ifr), 0);
	assert_int_equal(tun_open("tun7", &fd, &ifindex, &adopted, err, sizeof(err)), -EEXIST);
	close(tun);
}

/* What an application sends is read, with its header; what is written arrives, though without our
 * programs no further: they say that it is for this host, whatever its MAC address. */
static void packets_pass(void **state)
{
	static uint8_t buf[TUN_PACKET_MAX];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct sockaddr_in from = {.sin_family = AF_INET};
	socklen_t len = sizeof(from);
	struct sockaddr_ll all = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
	uint8_t got[64];
	char err[256] = "";
	struct pollfd p = {.events = POLLIN};
	uint32_t ifindex;
	bool adopted;
	ssize_t n;
	int fd, s, seen;

	(void)state;
	NEED_NAMESPACE();
	assert_int_equal(tun_open("hf0", &fd, &ifindex, &adopted, err, sizeof(err)), 0);
	assert_true(tun_read(fd, buf, sizeof(buf)) < 0);
	buf[TUN_VNET_LEN] = 0x45;
	assert_int_equal(tun_write(fd, buf, 40), -EIO); /* down */
	set_up("hf0", "10.9.0.1");
	s = socket(AF_INET, SOCK_DGRAM, 0);
	inet_pton(AF_INET, "10.9.0.1", &from.sin_addr);
	inet_pton(AF_INET, "10.9.0.2", &to.sin_addr);
	assert_int_equal(setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, "hf0", 4), 0);
	assert_int_equal(bind(s, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(getsockname(s, (struct sockaddr *)&from, &len), 0);
	assert_int_equal(sendto(s, "ping", 4, 0, (struct sockaddr *)&to, sizeof(to)), 4);
	p.fd = fd;
	for (;;) { /* the kernel's own multicast may come first */
		assert_int_equal(poll(&p, 1, 2000), 1);
		n = tun_read(fd, buf, sizeof(buf));
		assert_true(n > 0);
		if (buf[TUN_VNET_LEN] == 0x45 && buf[TUN_VNET_LEN + 9] == IPPROTO_UDP)
			break;
	}
	assert_int_equal(n, TUN_VNET_LEN + 20 + 8 + 4);
	assert_memory_equal(buf + TUN_VNET_LEN + 28, "ping", 4);

	/* back with source and destination exchanged: the IP sum stays, UDP's is left out */
	uint8_t swap[4];

	memcpy(swap, buf + TUN_VNET_LEN + 12, 4);
	memcpy(buf + TUN_VNET_LEN + 12, buf + TUN_VNET_LEN + 16, 4);
	memcpy(buf + TUN_VNET_LEN + 16, swap, 4);
	memcpy(swap, buf + TUN_VNET_LEN + 20, 2);
	memcpy(buf + TUN_VNET_LEN + 20, buf + TUN_VNET_LEN + 22, 2);
	memcpy(buf + TUN_VNET_LEN + 22, swap, 2);
	memset(buf, 0, TUN_VNET_LEN);
	memset(buf + TUN_VNET_LEN + 26, 0, 2);
	all.sll_ifindex = (int)ifindex;
	seen = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
	assert_int_equal(bind(seen, (struct sockaddr *)&all, sizeof(all)), 0);
	assert_int_equal(tun_write(fd, buf, TUN_VNET_LEN), -EINVAL);
	assert_int_equal(tun_write(fd, buf, (size_t)n), 0);
	p.fd = seen;
	assert_int_equal(poll(&p, 1, 2000), 1);
	assert_int_equal(recv(seen, got, sizeof(got), 0), n - (ssize_t)TUN_VNET_LEN);
	assert_memory_equal(got, buf + TUN_VNET_LEN, n - (ssize_t)TUN_VNET_LEN);
	close(seen);
	close(s);
	assert_int_equal(tun_remove(fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(created_adopted_removed),
		cmocka_unit_test(refuses),
		cmocka_unit_test(refuses_a_tun),
		cmocka_unit_test(packets_pass),
	};

	return cmocka_run_group_tests_name("tun", tests, enter, NULL);
}
