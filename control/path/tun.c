/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "tun.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <arpa/inet.h>

#include <net/ethernet.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

/* Linux 6.2 and later; not in the headers of Debian 12. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

_Static_assert(sizeof(struct virtio_net_hdr) == TUN_VNET_LEN, "header of hf0's packets");

__attribute__((format(printf, 3, 4))) static void say(char err[], size_t errlen, const char *format,
						      ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err, errlen, format, args);
	va_end(args);
}

static bool name_valid(const char *name)
{
	size_t len = strlen(name);

	/* '%' would be a pattern for the kernel, '/' and ':' it refuses */
	return len > 0 && len < IFNAMSIZ && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       strcspn(name, "%/: \t\n\v\f\r") == len;
}

/* By ioctl, so that this module needs no netlink. Nobody is asked for MAC addresses on hf0. */
static int set_up(const char *name)
{
	struct ifreq ifr = {.ifr_qlen = TUN_QUEUE_LEN};
	int s, r = 0;

	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return -errno;
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	if (ioctl(s, SIOCSIFTXQLEN, &ifr) < 0 || ioctl(s, SIOCGIFFLAGS, &ifr) < 0) {
		r = -errno;
	} else if (!(ifr.ifr_flags & IFF_NOARP)) {
		ifr.ifr_flags |= IFF_NOARP;
		if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0)
			r = -errno;
	}
	close(s);
	return r;
}

static int set_offloads(int fd)
{
	const unsigned long base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	if (ioctl(fd, TUNSETOFFLOAD, base | TUN_F_USO4 | TUN_F_USO6) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	return ioctl(fd, TUNSETOFFLOAD, base) < 0 ? -errno : 0;
}

int tun_open(const char *name, int *ret_fd, uint32_t *ret_ifindex, bool *ret_adopted, char err[],
	     size_t errlen)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd, r, vnet_len = TUN_VNET_LEN;
	unsigned int ifindex;
	bool adopted;

	if (!name_valid(name)) {
		say(err, errlen, "\"%s\" is no valid device name", name);
		return -EINVAL;
	}
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		say(err, errlen, "cannot open /dev/net/tun: %s (%s)", strerror(-r),
		    r == -EPERM || r == -EACCES ? "run as root" : "try: modprobe tun");
		return r;
	}
	adopted = if_nametoindex(name) != 0;
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		r = -errno;
		if (r == -EBUSY) {
			say(err, errlen, "device %s is held by another process", name);
		} else if (r == -EINVAL && adopted) {
			r = -EEXIST;
			say(err, errlen,
			    "device %s exists and is no single-queue TAP: remove it or choose "
			    "another name",
			    name);
		} else {
			say(err, errlen, "cannot make device %s: %s", name, strerror(-r));
		}
		goto out;
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &vnet_len) < 0) {
		r = -errno;
		say(err, errlen, "cannot set the packet header of %s: %s", name, strerror(-r));
		goto out;
	}
	r = set_offloads(fd);
	if (r < 0) {
		say(err, errlen, "cannot turn on segmentation offload on %s: %s", name,
		    strerror(-r));
		if (r == -EINVAL)
			r = -EOPNOTSUPP;
		goto out;
	}
	r = set_up(name);
	if (r < 0) {
		say(err, errlen, "cannot set the queue length and flags of %s: %s", name,
		    strerror(-r));
		goto out;
	}
	ifindex = if_nametoindex(name);
	if (ifindex == 0) {
		r = -ENODEV;
		say(err, errlen, "device %s went away while it was opened", name);
		goto out;
	}
	/* last, so that a device that we made goes with `fd` when anything before fails */
	if (ioctl(fd, TUNSETPERSIST, 1) < 0) {
		r = -errno;
		say(err, errlen, "cannot make %s persistent: %s", name, strerror(-r));
		goto out;
	}
	*ret_fd = fd;
	*ret_ifindex = ifindex;
	*ret_adopted = adopted;
	return 0;
out:
	close(fd);
	return r;
}

int tun_remove(int fd)
{
	int r = ioctl(fd, TUNSETPERSIST, 0) < 0 ? -errno : 0;

	close(fd);
	return r;
}

ssize_t tun_read(int fd, void *buf, size_t cap)
{
	struct ether_header eth;
	struct iovec v[] = {
		{.iov_base = buf, .iov_len = TUN_VNET_LEN},
		{.iov_base = &eth, .iov_len = sizeof(eth)},
		{.iov_base = (uint8_t *)buf + TUN_VNET_LEN, .iov_len = cap - TUN_VNET_LEN},
	};
	ssize_t n;

	do {
		n = readv(fd, v, 3);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n < sizeof(eth) ? 0 : n - (ssize_t)sizeof(eth);
}

int tun_write(int fd, const void *packet, size_t len)
{
	const uint8_t *ip = (const uint8_t *)packet + TUN_VNET_LEN;
	struct ether_header eth = {0};
	struct iovec v[] = {
		{.iov_base = (void *)packet, .iov_len = TUN_VNET_LEN},
		{.iov_base = &eth, .iov_len = sizeof(eth)},
		{.iov_base = (void *)ip, .iov_len = len - TUN_VNET_LEN},
	};
	ssize_t n;

	if (len <= TUN_VNET_LEN)
		return -EINVAL;
	eth.ether_type = htons(ip[0] >> 4 == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
	do {
		n = writev(fd, v, 3);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len + sizeof(eth) ? 0 : -EIO;
}
