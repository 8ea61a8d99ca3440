#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# usage: fuzz.sh FUZZER SECONDS WORK_DIR
# Runs one fuzzer over its seeds in tests/fuzz/seeds/NAME of fuzz_NAME and then for so many
# seconds; crashes and what it finds beyond the seeds stay in WORK_DIR.
set -u
fuzzer=$1 seconds=$2 work=$3
name=$(basename "$fuzzer")
seeds=tests/fuzz/seeds/${name#fuzz_}

mkdir -p "$work/corpus/$name" "$work/crashes"
dirs=("$work/corpus/$name")
[ -d "$seeds" ] && dirs+=("$seeds")

log=$work/$name.log
if "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	-artifact_prefix="$work/crashes/$name-" "${dirs[@]}" >"$log" 2>&1; then
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	echo "PASS $name: ${runs:-?} inputs in $seconds s"
else
	tail -n 40 "$log"
	echo "FAIL $name: see $log"
	exit 1
fi
