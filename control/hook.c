/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/hook.h"

#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>

#include "control/addr.h"
#include "control/log.h"
#include "control/path/path.h"
#include "control/peer/assoc.h"

static void describe(const struct path *p, char address[static 96], const char *address_key,
		     char ifname[static 96], const char *ifname_key)
{
	char text[INET6_ADDRSTRLEN] = "", name[IF_NAMESIZE] = "";

	if (p) {
		addr_format(&p->local, text);
		if (!if_indextoname(p->ifindex, name))
			name[0] = 0;
	}
	snprintf(address, 96, "%s=%s", address_key, text);
	snprintf(ifname, 96, "%s=%s", ifname_key, name);
}

void hook_run(const char *command, const struct assoc *a, const struct path *from,
	      const struct path *to)
{
	char name[96], old_addr[96], old_if[96], new_addr[96], new_if[96];
	char *argv[] = {(char *)command, NULL};
	char *env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		       name,
		       old_addr,
		       old_if,
		       new_addr,
		       new_if,
		       NULL};
	posix_spawnattr_t attr;
	sigset_t ignored;
	pid_t pid;
	int ret;

	if (!*command)
		return;
	snprintf(name, sizeof(name), "HOLDFAST_ASSOC=%s", a->name);
	describe(from, old_addr, "HOLDFAST_OLD_ADDRESS", old_if, "HOLDFAST_OLD_INTERFACE");
	describe(to, new_addr, "HOLDFAST_NEW_ADDRESS", new_if, "HOLDFAST_NEW_INTERFACE");
	/* The daemon ignores SIGCHLD, so nobody has to wait for it; the hook must not inherit that.
	 */
	sigemptyset(&ignored);
	sigaddset(&ignored, SIGCHLD);
	sigaddset(&ignored, SIGPIPE);
	ret = posix_spawnattr_init(&attr);
	if (!ret) {
		posix_spawnattr_setsigdefault(&attr, &ignored);
		posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
		ret = posix_spawn(&pid, command, NULL, &attr, argv, env);
		posix_spawnattr_destroy(&attr);
	}
	if (ret)
		log_warning("%s: hook %s not started: %s", a->name, command, strerror(ret));
}
