/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "control/takeover/load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct sample {
	uint64_t busy;
	uint64_t all;
};

struct load {
	struct sample ring[LOAD_SECONDS];
	uint32_t count;
};

struct load *load_new(void)
{
	return calloc(1, sizeof(struct load));
}

void load_free(struct load *l)
{
	free(l);
}

/* proc(5): user nice system idle iowait irq softirq steal, in ticks since the start */
static int read_sample(struct sample *s)
{
	uint64_t v[8] = {0};
	FILE *f = fopen("/proc/stat", "re");
	int n;

	if (!f)
		return -1;
	n = fscanf(f,
		   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		   " %" SCNu64 " %" SCNu64,
		   &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
	fclose(f);
	if (n != 8)
		return -1;
	s->all = 0;
	for (int i = 0; i < 8; i++)
		s->all += v[i];
	s->busy = s->all - v[3] - v[4];
	return 0;
}

uint32_t load_tick(struct load *l)
{
	struct sample *at = &l->ring[l->count % LOAD_SECONDS], old = *at, now;
	uint32_t percent = 0;

	if (read_sample(&now))
		return 0;
	if (l->count >= LOAD_SECONDS && now.all > old.all)
		percent = (now.busy - old.busy) * 100 / (now.all - old.all);
	*at = now;
	l->count++;
	return percent;
}
