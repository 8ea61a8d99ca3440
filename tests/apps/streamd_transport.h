/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The headers of a request to streamd, and the datagram socket that its Transport asks for. */
#ifndef TESTS_APPS_STREAMD_TRANSPORT_H
#define TESTS_APPS_STREAMD_TRANSPORT_H

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static inline bool header(const char *request, const char *name, char *out, size_t size)
{
	for (const char *line = strstr(request, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, strlen(name)) || line[strlen(name)] != ':')
			continue;
		line += strlen(name) + 1;
		line += strspn(line, " ");
		snprintf(out, size, "%.*s", (int)strcspn(line, "\r"), line);
		return true;
	}
	return false;
}

/* Of "a;name=value;b". */
static inline bool parameter(const char *list, const char *name, char *out, size_t size)
{
	for (const char *at = list; (at = strstr(at, name)); at++) {
		if (at == list || at[-1] != ';' || at[strlen(name)] != '=')
			continue;
		at += strlen(name) + 1;
		snprintf(out, size, "%.*s", (int)strcspn(at, ";"), at);
		return true;
	}
	return false;
}

static inline bool is_multicast(const struct sockaddr_storage *sa)
{
	if (sa->ss_family == AF_INET)
		return IN_MULTICAST(ntohl(((struct sockaddr_in *)sa)->sin_addr.s_addr));
	return IN6_IS_ADDR_MULTICAST(&((struct sockaddr_in6 *)sa)->sin6_addr);
}

/* A listener for both families has IPv4 addresses mapped. */
static inline void unmap(struct sockaddr_storage *sa)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = v6->sin6_port};

	if (sa->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return;
	memcpy(&v4.sin_addr, &v6->sin6_addr.s6_addr[12], 4);
	memcpy(sa, &v4, sizeof(v4));
}

static inline void set_port(struct sockaddr_storage *sa, uint16_t port)
{
	if (sa->ss_family == AF_INET)
		((struct sockaddr_in *)sa)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)sa)->sin6_port = htons(port);
}

static inline bool same_address(const struct sockaddr_storage *a, const struct sockaddr *b)
{
	if (!b || a->ss_family != b->sa_family)
		return false;
	if (b->sa_family == AF_INET)
		return ((struct sockaddr_in *)a)->sin_addr.s_addr ==
		       ((struct sockaddr_in *)b)->sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&((struct sockaddr_in6 *)a)->sin6_addr,
				  &((struct sockaddr_in6 *)b)->sin6_addr);
}

static inline unsigned int interface_of(const struct sockaddr_storage *local)
{
	struct ifaddrs *list, *i;
	unsigned int found = 0;

	if (getifaddrs(&list))
		return 0;
	for (i = list; i && !found; i = i->ifa_next)
		if (same_address(local, i->ifa_addr))
			found = if_nametoindex(i->ifa_name);
	freeifaddrs(list);
	return found;
}

static inline void set_group(int fd, const struct sockaddr_storage *local, int ttl)
{
	struct ip_mreqn where = {.imr_ifindex = (int)interface_of(local)};

	if (local->ss_family == AF_INET) {
		setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &where, sizeof(where));
		setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl));
		return;
	}
	setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &where.imr_ifindex, sizeof(int));
	setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &ttl, sizeof(ttl));
}

/* From the address that the client knows, to `peer`. */
static inline int open_datagram(int control, const struct sockaddr_storage *peer, int ttl,
				uint16_t *ret_port)
{
	struct sockaddr_storage local;
	socklen_t len = sizeof(local);
	int fd;

	if (getsockname(control, (struct sockaddr *)&local, &len))
		return -1;
	unmap(&local);
	if (local.ss_family != peer->ss_family)
		return -1;
	fd = socket(local.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	set_port(&local, 0);
	if (is_multicast(peer))
		set_group(fd, &local, ttl);
	if (bind(fd, (struct sockaddr *)&local, len) ||
	    connect(fd, (const struct sockaddr *)peer, len) ||
	    getsockname(fd, (struct sockaddr *)&local, &len)) {
		close(fd);
		return -1;
	}
	*ret_port = ntohs(local.ss_family == AF_INET ? ((struct sockaddr_in *)&local)->sin_port
						     : ((struct sockaddr_in6 *)&local)->sin6_port);
	return fd;
}

/* Where the packets of that Transport are to go. False: no good one, or TCP. */
static inline bool destination(int control, const char *transport, struct sockaddr_storage *ret)
{
	socklen_t len = sizeof(*ret);
	char value[64];

	if (parameter(transport, "destination", value, sizeof(value))) {
		memset(ret, 0, sizeof(*ret));
		ret->ss_family = strchr(value, ':') ? AF_INET6 : AF_INET;
		if (inet_pton(ret->ss_family, value,
			      ret->ss_family == AF_INET
				      ? (void *)&((struct sockaddr_in *)ret)->sin_addr
				      : &((struct sockaddr_in6 *)ret)->sin6_addr) != 1 ||
		    !is_multicast(ret) || !parameter(transport, "port", value, sizeof(value)))
			return false;
	} else if (getpeername(control, (struct sockaddr *)ret, &len) ||
		   !parameter(transport, "client_port", value, sizeof(value))) {
		return false;
	}
	unmap(ret);
	set_port(ret, strtoul(value, NULL, 10));
	return true;
}

#endif
