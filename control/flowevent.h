/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The data plane's event ring: flows that open, expire or are refused. */
#ifndef HOLDFAST_FLOWEVENT_H
#define HOLDFAST_FLOWEVENT_H

struct daemon;
struct flowevents;

struct flowevents *flowevents_new(struct daemon *d); /* NULL: no ring, no memory */
void flowevents_free(struct flowevents *f);          /* NULL is allowed */
/* Readable when a flow was refused; the other events wait for the next look. */
int flowevents_fd(const struct flowevents *f);
/* Takes what is there: refusals go to the log, everything to those who monitor. */
void flowevents_consume(struct flowevents *f);

#endif
