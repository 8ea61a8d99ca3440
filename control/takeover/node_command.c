/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/node_command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/takeover/node.h"

static const char *explain(int error)
{
	switch (-error) {
	case EPERM:
		return "this node does not own the group: ask the one that does";
	case ENOTCONN:
		return "no other node is there to take the group";
	case EAGAIN:
		return "the other node has not got every record yet: try again when 'holdfast "
		       "takeover' says that it is synced";
	case ENOPKG:
		return "the other node lacks an application that is here: start it there first";
	case ENOTSUP:
		return "the store decides who owns the group; 'alone' is for store = direct";
	case ENOENT:
		return "no [node NAME] of the configuration has that name";
	default:
		return strerror(-error);
	}
}

static void answer(struct ctl_client *c, int error)
{
	if (error)
		ctl_refuse(c, explain(error));
	else
		ctl_answer(c, json_pack("{s:b}", "ok", 1));
}

static void take(struct node *n, struct ctl_client *c)
{
	if (n->owner || apps_services(n->apps))
		answer(c, n->owner ? 0 : store_ask(n->store));
	else
		ctl_refuse(c, "this node has no application that could serve: start it first");
}

void node_command(void *arg, struct ctl_client *c, const char *cmd, json_t *request)
{
	const char *to = json_string_value(json_object_get(request, "to"));
	struct node *n = arg;
	json_t *j;

	if (!strcmp(cmd, "status")) {
		j = node_status(n);
		json_object_set_new(j, "ok", json_true());
		ctl_answer(c, j);
	} else if (!strcmp(cmd, "connections")) {
		j = node_connections(n);
		json_object_set_new(j, "ok", json_true());
		ctl_answer(c, j);
	} else if (!strcmp(cmd, "drain")) {
		answer(c, node_hand(n, to));
	} else if (!strcmp(cmd, "take")) {
		take(n, c);
	} else if (!strcmp(cmd, "alone")) {
		answer(c, store_alone(n->store));
	} else if (!strcmp(cmd, "down")) {
		ctl_answer(c, json_pack("{s:b}", "ok", 1));
		node_stop(n);
	} else {
		ctl_refuse(c,
			   "a server's daemon does not know this command; see 'holdfast takeover "
			   "--help'");
	}
}
