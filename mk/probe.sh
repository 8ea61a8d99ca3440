#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Prints what the build found, one line a probe; fails if something is missing.
missing=0

probe() { # name, version or empty
	if [ -n "$2" ]; then
		printf '  PROBE   %-16s %s\n' "$1" "$2"
	else
		printf '  PROBE   %-16s missing\n' "$1"
		missing=1
	fi
}

tool() { # name, command that prints a version
	probe "$1" "$($2 2>/dev/null | head -n 1)"
}

tool "${CC:-cc}" "${CC:-cc} -dumpfullversion"
tool "${CLANG:-clang}" "${CLANG:-clang} -dumpversion"
tool bpftool "${BPFTOOL:-bpftool} version"
for lib in "$@"; do
	probe "$lib" "$(pkg-config --modversion "$lib" 2>/dev/null)"
done

if [ $missing -ne 0 ]; then
	echo "something is missing: run \"make deps\" as root" >&2
	exit 1
fi
