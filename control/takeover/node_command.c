/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/node_command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/takeover/node.h"

const char *node_explain(int error, const char *to)
{
	switch (-error) {
	case EPERM:
		return "this node does not own the group: ask the one that does";
	case EINVAL:
		return "the group can be given to another node only";
	case ENOENT:
		return "no [node NAME] of the configuration has that name";
	case ENOTCONN:
		return to ? "no node of that name is there to take the group"
			  : "no other node is there to take the group";
	case EAGAIN:
		return "the other node has not got every record yet: try again when 'holdfast "
		       "takeover' says that it is synced";
	case ENOPKG:
		return "the other node lacks an application that is here: start it there first";
	default:
		return strerror(-error);
	}
}

static void done(struct ctl_client *c)
{
	ctl_answer(c, json_pack("{s:b}", "ok", 1));
}

static void drain(struct node *n, struct ctl_client *c, json_t *wish)
{
	const char *to = json_string_value(wish);
	int ret = wish && !to ? -EINVAL : node_hand(n, to);

	if (ret)
		ctl_refuse(c, node_explain(ret, to));
	else
		done(c);
}

static void take(struct node *n, struct ctl_client *c)
{
	if (n->status.state == STORE_OWNER)
		ctl_answer(c, json_pack("{s:b,s:b}", "ok", 1, "owner", 1));
	else if (!apps_services(n->apps))
		ctl_refuse(c, "this node has no application that could serve: start it first");
	else if (store_ask(n->store))
		ctl_refuse(c, "no node that owns the group is there to be asked; 'holdfast "
			      "takeover' shows the state");
	else
		done(c);
}

static void alone(struct node *n, struct ctl_client *c)
{
	int ret = store_alone(n->store);

	if (ret == -ENOTSUP)
		ctl_refuse(c,
			   "the store decides who owns the group; 'alone' is for store = direct");
	else if (ret)
		ctl_refuse(c, strerror(-ret));
	else
		done(c);
}

void node_command(void *arg, struct ctl_client *c, const char *cmd, json_t *request)
{
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
		drain(n, c, json_object_get(request, "to"));
	} else if (!strcmp(cmd, "take")) {
		take(n, c);
	} else if (!strcmp(cmd, "alone")) {
		alone(n, c);
	} else if (!strcmp(cmd, "down")) {
		done(c);
		node_stop(n);
	} else {
		ctl_refuse(c,
			   "a server's daemon does not know this command; see 'holdfast takeover "
			   "--help'");
	}
}
