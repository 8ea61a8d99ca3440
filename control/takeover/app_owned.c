/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A handle is 12 bits of generation and 20 of index. The generation outlives the
 * ownership, so that what an application said about the former connection of a number
 * is not taken for the present one.
 */
#include <errno.h>
#include <stdlib.h>

#include "control/takeover/app_inner.h"

#define STATE_OWNED      0x8000u
#define STATE_ENDING     0x4000u /* `endings` has it */
#define STATE_GENERATION 0x0fffu
#define INDEX_BITS       20
static_assert(APP_CONN_INDEX == (1u << INDEX_BITS) - 1, "and the rest is the generation");

struct app_ending {
	TAILQ_ENTRY(app_ending) link;
	uint32_t conn;
	uint32_t serial;
};

static uint16_t *state_of(const struct app *a, uint32_t conn)
{
	uint16_t *page;

	if (!conn || conn > APP_CONNS_MAX)
		return NULL;
	page = a->pages[(conn - 1) / APP_PAGE_CONNS];
	return page ? &page[(conn - 1) % APP_PAGE_CONNS] : NULL;
}

bool app_owns(const struct app *a, uint32_t conn)
{
	const uint16_t *state = state_of(a, conn);

	return state && *state & STATE_OWNED;
}

int app_own(struct app *a, uint32_t conn)
{
	uint16_t **page, *state, generation;

	if (!conn || conn > APP_CONNS_MAX)
		return -EINVAL;
	page = &a->pages[(conn - 1) / APP_PAGE_CONNS];
	if (!*page)
		*page = calloc(APP_PAGE_CONNS, sizeof(**page));
	if (!*page)
		return -ENOMEM;
	state = &(*page)[(conn - 1) % APP_PAGE_CONNS];
	if (*state & STATE_OWNED)
		return 0;
	/* never 0, so that no handle is 0 */
	generation = *state & STATE_GENERATION;
	generation = generation == STATE_GENERATION ? 1 : generation + 1;
	*state = (uint16_t)(STATE_OWNED | generation);
	return 0;
}

void app_disown(struct app *a, uint32_t conn)
{
	uint16_t *state = state_of(a, conn);
	uint32_t serial;

	app_ending_take(a, conn, &serial);
	if (state)
		*state &= STATE_GENERATION;
}

uint32_t app_handle(const struct app *a, uint32_t conn)
{
	return (uint32_t)(*state_of(a, conn) & STATE_GENERATION) << INDEX_BITS | (conn - 1);
}

uint32_t app_conn(const struct app *a, uint32_t handle)
{
	uint32_t conn = (handle & APP_CONN_INDEX) + 1;

	return app_owns(a, conn) && app_handle(a, conn) == handle ? conn : 0;
}

int app_ending_add(struct app *a, uint32_t conn, uint32_t serial)
{
	uint16_t *state = state_of(a, conn);
	struct app_ending *e;

	if (*state & STATE_ENDING)
		return -EALREADY;
	e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->conn = conn;
	e->serial = serial;
	TAILQ_INSERT_TAIL(&a->endings, e, link);
	*state |= STATE_ENDING;
	return 0;
}

bool app_ending_take(struct app *a, uint32_t conn, uint32_t *ret_serial)
{
	uint16_t *state = state_of(a, conn);
	struct app_ending *e;

	if (!state || !(*state & STATE_ENDING))
		return false;
	/* the store commits in order, so it is most often the first */
	e = TAILQ_FIRST(&a->endings);
	while (e->conn != conn)
		e = TAILQ_NEXT(e, link);
	*ret_serial = e->serial;
	*state &= (uint16_t)~STATE_ENDING;
	TAILQ_REMOVE(&a->endings, e, link);
	free(e);
	return true;
}

void app_owned_clear(struct app *a)
{
	struct app_ending *e;

	while ((e = TAILQ_FIRST(&a->endings))) {
		TAILQ_REMOVE(&a->endings, e, link);
		free(e);
	}
	for (size_t i = 0; i < APP_PAGES; i++)
		free(a->pages[i]);
}
