#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# House rules that a machine can see: SPDX lines, format, length, shell scripts.
set -u
bad=0
mapfile -t files < <(git ls-files -co --exclude-standard)

complain() {
	echo "lint: $*"
	bad=1
}

for f in "${files[@]}"; do
	[ -f "$f" ] || continue
	case $f in
	*.c | *.h | *.sh | *.py | *.pml | */run | Makefile | mk/*)
		head -n 3 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause' ||
			complain "$f: no SPDX line"
		;;
	esac
	case $f in
	*.c | *.h)
		clang-format --dry-run -Werror "$f" >/dev/null 2>&1 || complain "$f: not formatted"
		lines=$(wc -l <"$f")
		[ "$lines" -le 800 ] || complain "$f: $lines lines: more than one noun?"
		;;
	esac
	if head -n 1 "$f" | grep -aqE '^#!/bin/(ba)?sh'; then
		shellcheck -x -S warning "$f" || bad=1
		[ -x "$f" ] || complain "$f: not executable"
	fi
done
exit $bad
