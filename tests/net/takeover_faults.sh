#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Partitions, a store that fails, clients that lie, floods.
HERE=$(cd "$(dirname "$0")" && pwd)
exec /usr/bin/python3 "$HERE/takeover_faults.py" --bin "${BIN:-$HERE/../../${OUTPUT:-build}}" "$@"
