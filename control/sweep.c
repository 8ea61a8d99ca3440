/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/sweep.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon.h"
#include "control/log.h"

#define PAUSE_US 1000

/* What becomes of an index. A pass that was under way when its association ended may have been past
 * some of its flows: the next one finds them all. */
enum gone {
	GONE_NONE,
	GONE_WAITS,  /* for a pass to begin */
	GONE_PASSES, /* until this one ends */
};

struct sweep {
	struct daemon *d;
	struct event *event;
	struct loader_sweep at;
	bool passing;
	uint8_t gone[HF_ASSOCS_MAX]; /* enum gone */
};

static void schedule(struct sweep *s)
{
	const struct timeval tv = {.tv_usec = PAUSE_US};

	event_add(s->event, &tv);
}

/* The pass has ended, at the end of the map (`whole`) or before. */
static void end(struct sweep *s, bool whole)
{
	bool waits = false;

	s->passing = false;
	for (uint32_t i = 0; i < HF_ASSOCS_MAX; i++) {
		if (s->gone[i] == GONE_PASSES) {
			s->gone[i] = whole ? GONE_NONE : GONE_WAITS;
			if (whole)
				memset(&s->d->assoc_map[i], 0, sizeof(struct assoc_val));
		} else if (s->gone[i] == GONE_WAITS) {
			waits = true;
		}
	}
	if (whole && waits)
		sweep_begin(s);
}

static void on_slice(evutil_socket_t fd, short what, void *arg)
{
	struct sweep *s = arg;
	const struct conf_timers *t = &s->d->conf->timers;
	const struct sweep_limits limits = {
		.tcp_established_ms = t->tcp_established,
		.tcp_transitory_ms = t->tcp_transitory,
		.udp_ms = t->udp,
		.icmp_ms = t->icmp,
	};
	int ret = loader_sweep(s->d->loader, &limits, &s->at);

	(void)fd;
	(void)what;
	if (ret > 0) {
		schedule(s);
		return;
	}
	if (ret < 0)
		log_warning("idle flows could not be swept: %s", strerror(-ret));
	else if (s->at.expired)
		log_debug("%u flows expired, %u live", s->at.expired, s->at.live);
	end(s, ret == 0);
}

struct sweep *sweep_new(struct daemon *d)
{
	struct sweep *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->d = d;
	s->event = evtimer_new(d->base, on_slice, s);
	if (!s->event) {
		free(s);
		return NULL;
	}
	for (uint32_t i = 0; i < HF_ASSOCS_MAX; i++)
		if (!d->assoc_map[i].used && d->assoc_map[i].flows)
			sweep_vacate(s, i);
	return s;
}

void sweep_free(struct sweep *s)
{
	if (!s)
		return;
	event_free(s->event);
	free(s);
}

void sweep_begin(struct sweep *s)
{
	if (s->passing)
		return;
	s->passing = true;
	s->at = (struct loader_sweep){0};
	for (uint32_t i = 0; i < HF_ASSOCS_MAX; i++)
		if (s->gone[i] == GONE_WAITS)
			s->gone[i] = GONE_PASSES;
	schedule(s);
}

void sweep_vacate(struct sweep *s, uint32_t index)
{
	struct assoc_val *v = &s->d->assoc_map[index];

	if (!__atomic_load_n(&v->flows, __ATOMIC_RELAXED)) {
		memset(v, 0, sizeof(*v));
		return;
	}
	/* the count is the data plane's */
	memset(v, 0, offsetof(struct assoc_val, flows));
	s->gone[index] = GONE_WAITS;
	sweep_begin(s);
}

bool sweep_holds(const struct sweep *s, uint32_t index)
{
	return s->gone[index] != GONE_NONE;
}
