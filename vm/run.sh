#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Runs a command on another kernel: boots it in QEMU on the host's own files, gives back output and exit status.

set -euo pipefail

vm=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$vm")
build=$(realpath -m "${HF_BUILD:-$repository/build}")

tries=3
boot_timeout_s=120
timeout_s=300
memory_mb=2048
virtiofsd=/usr/lib/qemu/virtiofsd

usage() {
	cat <<-END
	usage: vm/run.sh [OPTION...] KERNEL -- COMMAND [ARG...]

	Boots the newest Debian 12 kernel of series KERNEL (6.1, 6.12) under software emulation and runs COMMAND
	there as root in the repository's folder. What COMMAND writes below the repository is kept; anything else
	is lost with the guest. There is no network but loopback, and nothing on standard input.

	  --timeout SECONDS  end COMMAND after this time (default $timeout_s; boot not counted)
	  --memory MB        memory of the guest (default $memory_mb)
	  --plain            plain QEMU even where virtme-ng (vng) is installed
	  --help

	The exit status is COMMAND's; 124: COMMAND took too long; 125: no guest could be had, or it died $tries times.
	A guest that dies is started again, at most $((tries - 1)) times, and so COMMAND must be repeatable.
	The kernel's log is kept in build/vm/KERNEL.log. HF_BUILD=FOLDER stands for another folder than build; it is
	shared like the repository.
	END
}

say() { echo "vm/run.sh: $*" >&2; }
die() { say "$*"; exit 125; }

# --- clean-up -----------------------------------------------------------------------------------------------------

children=()
scratch='' log=''

# With its process group if it leads one: vng has QEMU below it.
kill_tree() {
	kill -KILL -- "-$1" 2>/dev/null || true
	kill -KILL "$1" 2>/dev/null || true
}

stop_children() {
	local pid

	for pid in "${children[@]}"; do
		kill_tree "$pid"
	done
	for pid in "${children[@]}"; do
		wait "$pid" 2>/dev/null || true
	done
	children=()
}

# shellcheck disable=SC2317
keep_log() {
	# Ended in the middle of a boot: that part too.
	if [[ ${#children[@]} -gt 0 && -e $scratch/boot.log ]]; then
		cat "$scratch/boot.log" >>"$scratch/log"
	fi
	if [[ -e $scratch/log ]]; then
		mv -f "$scratch/log" "$log.$$"
		mv -f "$log.$$" "$log"
	fi
}

# shellcheck disable=SC2317
clean_up() {
	if [[ -n $scratch ]]; then
		keep_log
		stop_children
		rm -rf "$scratch"
	fi
}

# child COMMAND...: in the background; ends with this script even if that is killed.
child() {
	setpriv --pdeathsig KILL "$@" &
	children+=($!)
}

# --- plain QEMU ---------------------------------------------------------------------------------------------------

# Before 8.1 QEMU with a thread per CPU keeps stale code after the kernel has patched itself (static keys).
threads() {
	local version

	version=$(qemu-system-x86_64 --version | sed -n '1s/.*version \([0-9]*\.[0-9]*\).*/\1/p')
	if [[ $(printf '%s\n' 8.1 "$version" | sort -V | head -n 1) == 8.1 ]]; then
		echo multi
	else
		echo single
	fi
}

# share NAME SOURCE CACHE
share() {
	local waited=0

	child "$virtiofsd" "--socket-path=$scratch/$1.socket" -o "source=$2,cache=$3,sandbox=chroot,log_level=warn" \
		</dev/null >"$scratch/$1.err" 2>&1
	until [[ -S $scratch/$1.socket ]]; do
		if ! kill -0 "${children[-1]}" 2>/dev/null || [[ $((waited += 1)) -gt 100 ]]; then
			die "virtiofsd does not serve $2: $(<"$scratch/$1.err")"
		fi
		sleep 0.05
	done
}

# Why the guest died: what the kernel said from the first bad line on, or last; without a kernel, what QEMU said.
obituary() {
	local bad='BUG:|Oops|Kernel panic|general protection|^init: '

	if grep -qE "$bad" "$scratch/boot.log"; then
		grep -m 1 -A 40 -E "$bad" "$scratch/boot.log"
	else
		tail -n 20 "$scratch/boot.log"
	fi
	[[ -n $started ]] || cat "$scratch"/*.err
}

# The guest of one boot: sets guest_pid.
start_qemu() {
	local name
	local -a options

	rm -f "$scratch"/{*.socket,serial}
	share root / always
	share repository "$repository" auto
	share build "$build" auto
	share run "$scratch/run" auto

	# shellcheck disable=SC2054 # the commas are QEMU's
	options=(
		-nodefaults -no-user-config -no-reboot -display none
		-machine q35,memory-backend=memory -accel "tcg,thread=$(threads)"
		# -cpu max would copy bytewise; without AVX nothing may be built with -march=native.
		-cpu Nehalem -smp 2 -m "$memory_mb"
		-object "memory-backend-memfd,id=memory,size=${memory_mb}M,share=on"
		-kernel "$folder/boot/vmlinuz-$release" -initrd "$folder/initramfs.cpio"
		-append "console=ttyS0 loglevel=7 panic=-1 oops=panic mitigations=off tsc=reliable"
		-device virtio-rng-pci
		-chardev "file,id=serial,path=$scratch/serial" -serial chardev:serial
	)
	for name in root repository build run; do
		options+=(
			-chardev "socket,id=$name,path=$scratch/$name.socket"
			-device "vhost-user-fs-pci,queue-size=1024,chardev=$name,tag=$name"
		)
	done
	# A pipe: QEMU would wait for the disk.
	mkfifo "$scratch/serial"
	child cat "$scratch/serial" >"$scratch/boot.log"
	child qemu-system-x86_64 "${options[@]}" </dev/null >"$scratch/qemu.err" 2>&1
	guest_pid=${children[-1]}
}

# --- virtme-ng ----------------------------------------------------------------------------------------------------

start_vng() {
	child setsid "$vng" --run "$folder/boot/vmlinuz-$release" --disable-kvm --cpus 2 --memory "${memory_mb}M" \
		--rwdir "$repository" --rwdir "$build" --rwdir "$scratch/run" --qemu-opts="-cpu Nehalem" \
		--qemu-opts="-accel tcg,thread=$(threads)" --verbose \
		--exec "bash $vm/guest.sh inside $scratch/run" </dev/null >"$scratch/boot.log" 2>&1
	guest_pid=${children[-1]}
}

# --- one boot -----------------------------------------------------------------------------------------------------

# Sets status to the command's, to 124, or to nothing when the guest died, and started when it was up.
boot() {
	local guest_pid out_pid err_pid line fd deadline=$((SECONDS + boot_timeout_s))

	status='' started=''
	for line in out err status; do
		: >"$scratch/run/$line"
	done
	if [[ -n $vng ]]; then
		start_vng
	else
		start_qemu
	fi
	child tail -f -s 0.1 -c +1 --pid="$guest_pid" "$scratch/run/out"
	out_pid=${children[-1]}
	child tail -f -s 0.1 -c +1 --pid="$guest_pid" "$scratch/run/err" >&2
	err_pid=${children[-1]}

	exec {fd}<"$scratch/run/status"
	while [[ -z $status ]]; do
		if read -r -u "$fd" line; then
			case $line in
			started) started=1; deadline=$((SECONDS + timeout_s)) ;;
			exit\ *) status=${line#exit } ;;
			esac
			continue
		fi
		kill -0 "$guest_pid" 2>/dev/null || break
		if [[ $SECONDS -ge $deadline ]]; then
			if [[ -n $started ]]; then
				say "the command did not end within $timeout_s s"
				status=124
			else
				say "the guest did not boot within $boot_timeout_s s"
			fi
			break
		fi
		sleep 0.1
	done
	exec {fd}<&-

	# The guest says "exit" after its last byte of output and a sync.
	kill_tree "$guest_pid"
	wait "$guest_pid" 2>/dev/null || true
	wait "$out_pid" "$err_pid" 2>/dev/null || true
	stop_children
	cat "$scratch/boot.log" >>"$scratch/log"
}

# --- main ---------------------------------------------------------------------------------------------------------

number() {
	[[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "$1 needs a number"
	echo "$2"
}

kernel='' plain=''
while [[ $# -gt 0 ]]; do
	case $1 in
	--help) usage; exit 0 ;;
	--timeout) timeout_s=$(number "$@"); shift ;;
	--memory) memory_mb=$(number "$@"); shift ;;
	--plain) plain=1 ;;
	--) shift; break ;;
	-*) die "unknown option $1 (--help)" ;;
	*) [[ -z $kernel ]] || die "-- is missing before the command (--help)"; kernel=$1 ;;
	esac
	shift
done
[[ -n $kernel && $# -gt 0 ]] || die "usage: vm/run.sh [OPTION...] KERNEL -- COMMAND [ARG...] (--help)"
[[ $EUID -eq 0 ]] || die "needs root: the guest gets the host's files"

folder=$(HF_BUILD=$build "$vm/fetch.sh" "$kernel")
release=$(<"$folder/release")

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
scratch=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-vm.XXXXXX")
log=$build/vm/$kernel.log

mkdir "$scratch/run"
echo "$repository" >"$scratch/run/repository"
echo "$build" >"$scratch/run/build"
echo "$folder" >"$scratch/run/kernel"
printf '%s\0' "$@" >"$scratch/run/command"
printf '%s\0' "HOLDFAST_VM=$kernel" "HF_BUILD=$build" >"$scratch/run/environment"

vng=''
if [[ -z $plain ]]; then
	vng=$(command -v vng || true)
fi
for ((attempt = 1; attempt <= tries; attempt++)); do
	boot
	[[ -z $status ]] || exit "$status"
	say "the guest died (boot $attempt of $tries):"
	obituary | sed 's/^/    /' >&2
done
exit 125
