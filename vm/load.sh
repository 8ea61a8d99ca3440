#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# usage: vm/load.sh OBJECT
#
# Does this kernel's verifier take every program of OBJECT? Once as it was built and once with every setting not zero:
# .rodata is known to the verifier, which skips what a setting of zero makes unreachable, and so would see little.

set -euo pipefail

object=$1
scratch=$(mktemp -d)
pins=/sys/fs/bpf/holdfast-load-$$
trap 'rm -rf "$scratch" "$pins"' EXIT

load() {
	echo "$2:"
	if ! bpftool prog loadall "$1" "$pins"; then
		echo "refused: $object, $2"
		exit 1
	fi
	for pin in "$pins"/*; do
		echo "  ${pin##*/}: $(bpftool prog show pinned "$pin" | grep -o 'xlated [^ ]*')"
	done
	rm -rf "$pins"
}

load "$object" "as built"

rodata=$(readelf -SW "$object" | sed -n 's/.* \.rodata  *PROGBITS  *[0-9a-f]* \([0-9a-f]*\) \([0-9a-f]*\) .*/\1 \2/p')
if [[ -n $rodata ]]; then
	read -r offset size <<<"$rodata"
	cp "$object" "$scratch/set.bpf.o"
	head -c "$((16#$size))" /dev/zero | tr '\0' '\1' \
		| dd of="$scratch/set.bpf.o" bs=1 seek="$((16#$offset))" conv=notrunc status=none
	load "$scratch/set.bpf.o" "with every setting set"
fi
