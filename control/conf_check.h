/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef HOLDFAST_CONF_CHECK_H
#define HOLDFAST_CONF_CHECK_H

#include "control/conf.h"

/* Whether a configuration is whole and free of contradictions; if not, one sentence in `err`. */
bool conf_check(const struct conf *c, struct conf_error *err);

#endif
