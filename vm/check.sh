#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# What must hold on other kernels than the host's. Builds nothing: "make all tests" comes before.

set -euo pipefail

vm=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$vm")
build=$(realpath -m "${HF_BUILD:-$repository/build}")
kernels=(6.1 6.12)

usage() {
	cat <<-END
	usage: vm/check.sh [KERNEL...]

	On each kernel (default: ${kernels[*]}), each in a guest of its own:
	  load tc, load xdp  the verifier takes every program of the data plane
	  rows               the rows of packets (build/tests/bpf/rows)
	  roam               a switch over links with 20 ms of round trip and 1 % of loss each way (tests/net/roam.sh)

	Says PASS, FAIL or SKIP for each; the last line has the totals. A test that exits with 77 was skipped. All output
	is kept in build/vm/check-KERNEL-ITEM.log, the kernel's log in build/vm/KERNEL.log; HF_BUILD=FOLDER stands for
	another folder than build.
	END
}

passed=0 failed=0 skipped=0
guest=''

# shellcheck disable=SC2317 # called by trap
clean_up() {
	if [[ -n $guest ]]; then
		kill -TERM "$guest" 2>/dev/null || true
		wait "$guest" 2>/dev/null || true
	fi
}

pass() { echo "PASS $1"; passed=$((passed + 1)); }
fail() { echo "FAIL $1"; failed=$((failed + 1)); }
skip() { echo "SKIP $1: $2"; skipped=$((skipped + 1)); }

# item KERNEL NAME FILES COMMAND...: skipped where one of FILES, which it is about, is missing.
item() {
	local kernel=$1 name=$2 file log status=0

	for file in $3; do
		if [[ ! -e $file ]]; then
			skip "$kernel $name" "there is no ${file#"$repository"/}"
			return
		fi
	done
	shift 3
	log=$build/vm/check-$kernel-${name// /-}.log
	mkdir -p "$build/vm"
	# In the background, so that a signal need not wait for it.
	"$vm/run.sh" --timeout 600 "$kernel" -- "$@" >"$log" 2>&1 &
	guest=$!
	wait "$guest" || status=$?
	guest=''
	case $status in
	0)
		if grep -q '^SKIP ' "$log" && ! grep -q '^PASS ' "$log"; then
			skip "$kernel $name" "$(grep -m 1 '^SKIP ' "$log")"
		else
			pass "$kernel $name"
		fi
		;;
	77) skip "$kernel $name" "$(grep -v '^ *$' "$log" | tail -n 1)" ;;
	*)
		# A refused program's log is long and ends with what matters.
		tail -n 100 "$log" | sed 's/^/    /'
		echo "    exit status $status; all of it: ${log#"$repository"/}"
		fail "$kernel $name"
		;;
	esac
}

if [[ ${1:-} == --help ]]; then
	usage
	exit 0
fi
[[ $# -eq 0 ]] || kernels=("$@")

cd "$repository"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for kernel in "${kernels[@]}"; do
	for object in tc xdp guard guard_free; do
		item "$kernel" "load $object" "$build/bpf/$object.bpf.o" \
			"$vm/load.sh" "$build/bpf/$object.bpf.o"
	done
	item "$kernel" rows "$build/tests/bpf/rows" "$build/tests/bpf/rows"
	item "$kernel" guard-rows "$build/tests/guard/rows" "$build/tests/guard/rows"
	item "$kernel" roam "tests/net/roam.sh $build/holdfastd $build/holdfast" \
		env BIN="$build" tests/net/roam.sh --netem "delay 10ms loss 1%"
done
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
