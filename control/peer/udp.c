/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/peer/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/addr.h"

static int open_one(int family, uint16_t port)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int one = 1, fd, ret;

	fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (family == AF_INET)
		ret = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	else
		ret = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)) ||
		      setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (!ret)
		ret = family == AF_INET ? bind(fd, (struct sockaddr *)&a4, sizeof(a4))
					: bind(fd, (struct sockaddr *)&a6, sizeof(a6));
	if (ret) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

int udp_open(uint16_t port, struct udp *ret)
{
	struct udp u = {.port = port};

	u.fd4 = open_one(AF_INET, port);
	if (u.fd4 < 0)
		return u.fd4;
	u.fd6 = open_one(AF_INET6, port);
	if (u.fd6 == -EADDRINUSE) {
		close(u.fd4);
		return u.fd6;
	}
	if (u.fd6 < 0)
		u.fd6 = -1;
	*ret = u;
	return 0;
}

void udp_close(struct udp *u)
{
	if (u->fd4 >= 0)
		close(u->fd4);
	if (u->fd6 >= 0)
		close(u->fd6);
	u->fd4 = u->fd6 = -1;
}

int udp_send(const struct udp *u, const struct udp_ends *ends, const void *data, size_t len)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control = {0};
	struct iovec iov = {(void *)data, len};
	struct sockaddr_storage to;
	socklen_t to_len;
	struct msghdr m = {
		.msg_name = &to, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf};
	struct cmsghdr *c;
	bool v4 = addr_is_v4(&ends->peer);
	int fd = v4 ? u->fd4 : u->fd6;

	if (fd < 0)
		return -EAFNOSUPPORT;
	addr_to_sockaddr(&ends->peer, u->port, 0, &to, &to_len);
	m.msg_namelen = to_len;
	if (v4) {
		struct in_pktinfo info = {.ipi_ifindex = ends->ifindex};

		memcpy(&info.ipi_spec_dst, ends->local.b + 12, 4);
		m.msg_controllen = CMSG_SPACE(sizeof(info));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	} else {
		struct in6_pktinfo info = {.ipi6_ifindex = ends->ifindex};

		memcpy(&info.ipi6_addr, ends->local.b, 16);
		m.msg_controllen = CMSG_SPACE(sizeof(info));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	}
	if (sendmsg(fd, &m, 0) < 0)
		return -errno;
	return 0;
}

ssize_t udp_receive(int fd, void *data, size_t size, struct udp_ends *ret)
{
	char control[256];
	struct iovec iov = {data, size};
	struct sockaddr_storage from;
	struct msghdr m = {.msg_name = &from,
			   .msg_namelen = sizeof(from),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct udp_ends ends = {0};
	ssize_t n;

	/* MSG_TRUNC: the length as sent, so that a datagram that is too long is seen to be */
	n = recvmsg(fd, &m, MSG_TRUNC);
	if (n < 0)
		return -errno;
	addr_from_sockaddr((struct sockaddr *)&from, &ends.peer, &ends.peer_port);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			ends.ifindex = info.ipi_ifindex;
			ends.local.b[10] = ends.local.b[11] = 0xff;
			memcpy(ends.local.b + 12, &info.ipi_addr, 4);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			ends.ifindex = info.ipi6_ifindex;
			memcpy(ends.local.b, &info.ipi6_addr, 16);
		}
	}
	*ret = ends;
	return n;
}
