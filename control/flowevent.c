/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/flowevent.h"

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <stdlib.h>

#include "control/command.h"
#include "control/daemon.h"
#include "control/log.h"
#include "control/peer/assoc.h"
#include "control/service.h"

struct flowevents {
	struct daemon *d;
	struct ring_buffer *ring;
	unsigned long long said_ms; /* the data plane says it once a second: so do we */
};

static int take(void *arg, void *data, size_t len)
{
	struct flowevents *f = arg;
	const struct hf_event *e = data;
	const struct service *s;
	const struct assoc *a;

	if (len < sizeof(*e))
		return 0;
	a = e->assoc < HF_ASSOCS_MAX ? f->d->assocs[e->assoc] : NULL;
	s = services_at(f->d, e->service);
	if (e->type == HF_EVENT_FLOW_REFUSED && log_allowed(&f->said_ms, 1000))
		log_warning("%s: new flow to %s refused: %s; raise max-flows, or see 'holdfast "
			    "flows' for who has them",
			    a ? a->name : "?", s ? s->name : "?",
			    e->reason == HF_REASON_FLOWS_FULL ? "the flow map is full"
							      : "the association is at its limit");
	command_publish_flow(f->d, e, a ? a->name : "?", s ? s->name : "?");
	return 0;
}

struct flowevents *flowevents_new(struct daemon *d)
{
	struct flowevents *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->d = d;
	f->ring = ring_buffer__new(loader_map_fd(d->loader, LOADER_EVENTS), take, f, NULL);
	if (!f->ring) {
		free(f);
		return NULL;
	}
	return f;
}

void flowevents_free(struct flowevents *f)
{
	if (!f)
		return;
	ring_buffer__free(f->ring);
	free(f);
}

int flowevents_fd(const struct flowevents *f)
{
	return ring_buffer__epoll_fd(f->ring);
}

void flowevents_consume(struct flowevents *f)
{
	ring_buffer__consume(f->ring);
}
