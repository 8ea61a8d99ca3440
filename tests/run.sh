#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# usage: run.sh SUITE: COMMAND ... [SUITE: COMMAND ...] ...
#
# Runs every command (one word each, run by bash), shows its output, and counts
#   PASS name, FAIL name, SKIP name: why      at the start of a line
#   [  PASSED  ] N test(s)                    and the like, of cmocka
# A command that ends badly without having said FAIL counts as one failure, one
# that ends well and counted nothing as one pass; exit status 77 as one skip. The
# last line says the totals; the exit status is 1 if anything failed.
#
# TEST_TIMEOUT: seconds that one command may take, 600 unless set.
set -u

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0
suite=tests
order=()
declare -A counts
failures=()
skips=()

count() { # regular expression whose first group is a number, or which has none
	sed -nE "s/$1/\\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'
}

run() {
	local status p f s
	timeout -k 10 "${TEST_TIMEOUT:-600}" bash -c "$1" </dev/null 2>&1 | tee "$log"
	status=${PIPESTATUS[0]}
	p=$(($(grep -c -E '^PASS ' "$log") +
		$(count '^\[  PASSED  \] .*\<([0-9]+) test\(s\).*')))
	f=$(($(grep -c -E '^FAIL ' "$log") +
		$(count '^\[  FAILED  \] .*\<([0-9]+) test\(s\).*')))
	s=$(($(grep -c -E '^SKIP ' "$log") +
		$(count '^\[  SKIPPED \] .*\<([0-9]+) test\(s\).*')))
	if [ "$status" -eq 77 ] && [ $((p + f + s)) -eq 0 ]; then
		s=1
		skips+=("$1")
	elif [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
		f=1
		[ "$status" -eq 124 ] && status="124, timeout"
		echo "FAIL $1: exit status $status"
		failures+=("$suite: $1: exit status $status")
	elif [ "$status" -eq 0 ] && [ $((p + f + s)) -eq 0 ]; then
		p=1
	fi
	while read -r line; do
		failures+=("$suite: $1: $line")
	done < <(grep -E -e '^FAIL ' -e '^\[  FAILED  \] ' "$log" | grep -v 'test(s)' | sort -u)
	while read -r line; do
		skips+=("$suite: $1: $line")
	done < <(grep -E -e '^SKIP ' -e '^\[  SKIPPED \] ' "$log" | grep -v 'test(s)' | sort -u)
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	local sp sf ss
	read -r sp sf ss <<<"${counts[$suite]:-0 0 0}"
	counts[$suite]="$((sp + p)) $((sf + f)) $((ss + s))"
}

for word in "$@"; do
	if [[ $word == *: ]]; then
		suite=${word%:}
		order+=("$suite")
		counts[$suite]="0 0 0"
		echo "== $suite"
	else
		[ ${#order[@]} -gt 0 ] || order+=("$suite")
		echo "-- $word"
		run "$word"
	fi
done

echo "== totals"
for line in ${skips[@]+"${skips[@]}"}; do
	echo "   skipped: $line"
done
for line in ${failures[@]+"${failures[@]}"}; do
	echo "   failed: $line"
done
for suite in ${order[@]+"${order[@]}"}; do
	read -r p f s <<<"${counts[$suite]}"
	printf '   %-8s %s passed, %s failed, %s skipped\n' "$suite" "$p" "$f" "$s"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
