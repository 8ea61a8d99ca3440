/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/path/deliver.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "control/clock.h"
#include "control/daemon.h"

#define KNOWN_MS 1000u

/* First character of a setting below /proc/sys/net, 0 if it cannot be read. */
static char setting(const char *family, const char *ifname, const char *name)
{
	char path[128], c = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, ifname, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, &c, 1) != 1)
		c = 0;
	close(fd);
	return c;
}

static bool read_in_place(const struct daemon *d, uint32_t ifindex)
{
	const struct netlink_link *l = daemon_link(d, ifindex);
	char all, own;

	if (d->conf->deliver != CONF_DELIVER_AUTO || !l)
		return d->conf->deliver == CONF_DELIVER_NIC;
	/* the greater of the two counts; 1 is strict, 2 loose (ip-sysctl) */
	all = setting("ipv4", "all", "rp_filter");
	own = setting("ipv4", l->name, "rp_filter");
	if ((all > own ? all : own) == '1')
		return false;
	return d->conf->role == HF_ROLE_MOBILE || setting("ipv4", l->name, "forwarding") == '1';
}

bool deliver_in_place(const struct daemon *d, uint32_t ifindex)
{
	/* asked for every path, of which an anchor has thousands on one interface */
	static struct {
		uint32_t ifindex;
		bool in_place;
		uint64_t until_ms;
	} known[16];
	uint64_t now = clock_ms();
	size_t i = ifindex % (sizeof(known) / sizeof(known[0]));

	if (known[i].ifindex != ifindex || known[i].until_ms <= now) {
		known[i].ifindex = ifindex;
		known[i].in_place = read_in_place(d, ifindex);
		known[i].until_ms = now + KNOWN_MS;
	}
	return known[i].in_place;
}
