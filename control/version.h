/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef HOLDFAST_VERSION_H
#define HOLDFAST_VERSION_H

#define HOLDFAST_VERSION "0.1.0"

#endif
