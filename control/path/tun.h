/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hf0, the device between applications and the data plane: a persistent TAP with
 * offloads. It outlives the process that opened it, with its addresses, routes
 * and tc programs; traffic that the fast path carries goes on without a reader.
 *
 * A packet is struct virtio_net_hdr (TUN_VNET_LEN bytes, host's byte order) and an IP
 * packet of up to 64 KiB (GSO); the MAC header in between stays in here, though the offsets in
 * virtio_net_hdr count it. Acts in the current network namespace.
 */
#ifndef HOLDFAST_TUN_H
#define HOLDFAST_TUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TUN_VNET_LEN   10u
#define TUN_PACKET_MAX (TUN_VNET_LEN + 40u + 65535u) /* bytes a buffer for tun_read() needs */
#define TUN_QUEUE_LEN  4096                          /* packets waiting for the daemon */

/* Creates or adopts the device `name` and makes it persistent. `ret_fd` is nonblocking and
 * close-on-exec, owned by the caller: close(2) leaves the device, tun_remove() takes it away.
 * `ret_adopted` says that the device was there before. The device is not set up: see
 * netlink_set_link(). On failure nothing new is left and `err` has one sentence: -EBUSY: another
 * process holds it, -EEXIST: the name belongs to a device that is no such TAP, -EINVAL: no valid
 * name, -EPERM: not root, -ENOENT or -ENODEV: no TUN driver, -EOPNOTSUPP: it lacks offloads. */
int tun_open(const char *name, int *ret_fd, uint32_t *ret_ifindex, bool *ret_adopted, char err[],
	     size_t errlen);

/* Takes the device away and closes `fd`, whatever is returned. */
int tun_remove(int fd);

/* One packet. Bytes read, or a negative errno: -EAGAIN when there is none, -EIO while the device is
 * down. `cap` below TUN_PACKET_MAX may cut a packet short. */
ssize_t tun_read(int fd, void *buf, size_t cap);

/* One packet, through the device's ingress as if it came from a network. 0 or a negative errno:
 * -EIO while the device is down, -EINVAL when the header does not fit the packet. */
int tun_write(int fd, const void *packet, size_t len);

#endif
