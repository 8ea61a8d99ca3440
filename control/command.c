/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/command.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "control/clock.h"
#include "control/daemon.h"
#include "control/peer/assoc.h"
#include "control/status.h"

static struct assoc *assoc_of(struct daemon *d, struct ctl_client *c, json_t *j)
{
	const char *name = json_string_value(json_object_get(j, "assoc"));
	struct assoc *found = NULL;
	char text[128];

	if (name) {
		found = assoc_named(d, name);
		if (!found) {
			snprintf(text, sizeof(text), "there is no association '%.64s'", name);
			ctl_refuse(c, text);
		}
		return found;
	}
	for (uint32_t i = 0; i < d->assoc_top; i++) {
		if (!d->assocs[i])
			continue;
		if (found) {
			ctl_refuse(c, "there are several associations: name one with --assoc");
			return NULL;
		}
		found = d->assocs[i];
	}
	if (!found)
		ctl_refuse(c, "there is no association");
	return found;
}

static void do_switch(struct daemon *d, struct ctl_client *c, json_t *j)
{
	bool brk = json_is_true(json_object_get(j, "break"));
	char err[256];
	struct assoc *a;

	if (d->conf->role != HF_ROLE_MOBILE) {
		ctl_refuse(c, "a switch is asked for at the mobile; this daemon is an anchor");
		return;
	}
	a = assoc_of(d, c, j);
	if (!a)
		return;
	if (mobile_switch(a, json_string_value(json_object_get(j, "to")), !brk, err, sizeof(err))) {
		ctl_refuse(c, err);
		return;
	}
	ctl_answer(c, json_pack("{s:b,s:s,s:i}", "ok", 1, "assoc", a->name, "switches",
				(int)a->switches));
}

static bool switching(const struct daemon *d)
{
	for (uint32_t i = 0; i < d->assoc_top; i++)
		if (d->assocs[i] && d->assocs[i]->sm.state > SWITCH_SETTLED)
			return true;
	return false;
}

void command_request(void *arg, struct ctl_client *c, const char *cmd, json_t *j)
{
	struct daemon *d = arg;

	if (!strcmp(cmd, "status")) {
		json_t *s = status_daemon(d);

		json_object_set_new(s, "ok", json_true());
		ctl_answer(c, s);
	} else if (!strcmp(cmd, "switch")) {
		do_switch(d, c, j);
	} else if (!strcmp(cmd, "down")) {
		bool keep = json_is_true(json_object_get(j, "keep"));

		/* what is parked is in the daemon's memory */
		if (keep && switching(d)) {
			ctl_refuse(c,
				   "a switch is under way and packets may be held: try again when "
				   "it is over");
		} else {
			ctl_answer(c, json_pack("{s:b}", "ok", 1));
			daemon_stop(d, keep);
		}
	} else {
		ctl_refuse(c, "a mobile and an anchor do not know this command");
	}
}

void command_publish_switch(struct daemon *d, const struct assoc *a)
{
	json_t *j;

	if (!ctl_watched(d->ctl))
		return;
	j = status_assoc(a);
	json_object_set_new(j, "event", json_string("switch"));
	json_object_set_new(j, "time_us", json_integer(clock_us()));
	ctl_publish(d->ctl, j);
}

void command_publish_state(struct daemon *d, const struct assoc *a)
{
	json_t *j;

	if (!ctl_watched(d->ctl) || !a)
		return;
	j = status_assoc(a);
	json_object_set_new(j, "event", json_string("state"));
	json_object_set_new(j, "time_us", json_integer(clock_us()));
	ctl_publish(d->ctl, j);
}

void command_publish_flow(struct daemon *d, const struct hf_event *e, const char *assoc,
			  const char *service)
{
	static const char *const whats[] = {[HF_EVENT_FLOW_NEW] = "new",
					    [HF_EVENT_FLOW_REFUSED] = "refused",
					    [HF_EVENT_FLOW_EXPIRED] = "expired"};

	if (!ctl_watched(d->ctl) || e->type < HF_EVENT_FLOW_NEW || e->type > HF_EVENT_FLOW_EXPIRED)
		return;
	ctl_publish(d->ctl, json_pack("{s:s,s:I,s:s,s:s,s:s,s:i}", "event", "flow", "time_us",
				      (json_int_t)(e->time_ns / 1000), "what", whats[e->type],
				      "assoc", assoc, "service", service, "port", ntohs(e->port)));
}
