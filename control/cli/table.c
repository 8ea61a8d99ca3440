/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/cli.h"

struct table {
	size_t columns;
	size_t rows;
	char **cells; /* rows × columns, the first row the heads */
};

static bool right(const char *cell)
{
	return cell[0] == '>';
}

static const char *text(const char *cell)
{
	return right(cell) ? cell + 1 : cell;
}

struct table *table_new(const char *const *heads, size_t columns)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->columns = columns;
	table_add(t, heads);
	return t;
}

void table_add(struct table *t, const char *const *cells)
{
	char **grown = realloc(t->cells, (t->rows + 1) * t->columns * sizeof(*grown));

	if (!grown)
		abort();
	t->cells = grown;
	for (size_t i = 0; i < t->columns; i++) {
		grown[t->rows * t->columns + i] = strdup(cells[i] ? cells[i] : "-");
		if (!grown[t->rows * t->columns + i])
			abort();
	}
	t->rows++;
}

void table_print(struct table *t)
{
	for (size_t r = 0; r < t->rows; r++) {
		for (size_t c = 0; c < t->columns; c++) {
			const char *cell = t->cells[r * t->columns + c];
			int width = 0;
			bool last = c == t->columns - 1;

			for (size_t i = 0; i < t->rows; i++) {
				int n = strlen(text(t->cells[i * t->columns + c]));

				width = n > width ? n : width;
			}
			if (right(cell))
				printf("%*s%s", width, text(cell), last ? "" : "  ");
			else
				printf("%-*s%s", last ? 0 : width, text(cell), last ? "" : "  ");
		}
		putchar('\n');
	}
	for (size_t i = 0; i < t->rows * t->columns; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

static char *ring(void)
{
	static char buffers[16][32];
	static unsigned int next;

	return buffers[next++ % 16];
}

const char *text_bytes(json_int_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	char *b = ring();
	double v = bytes;
	int u = 0;

	while (v >= 1000 && u < 4)
		v /= 1000, u++;
	snprintf(b, 32, u ? ">%.1f %s" : ">%.0f %s", v, units[u]);
	return b;
}

const char *text_us(json_int_t us)
{
	char *b = ring();

	if (us < 1000)
		snprintf(b, 32, ">%" JSON_INTEGER_FORMAT " us", us);
	else if (us < 1000000)
		snprintf(b, 32, ">%.1f ms", us / 1e3);
	else if (us < 120000000)
		snprintf(b, 32, ">%.1f s", us / 1e6);
	else
		snprintf(b, 32, ">%.1f min", us / 6e7);
	return b;
}

const char *text_number(json_int_t n)
{
	char *b = ring();

	snprintf(b, 32, ">%" JSON_INTEGER_FORMAT, n);
	return b;
}
