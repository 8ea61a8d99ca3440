#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# In the guest: finishes the set-up and runs the command. Not for the host.
#
#   guest.sh boot FOLDER    first process, after vm/init.sh
#   guest.sh inside FOLDER  started by another init (virtme-ng)
#
# FOLDER is shared with vm/run.sh: repository, command and environment come from there; out, err and status go there.

set -euo pipefail

# Wanted before anybody asks for them by name (/dev/net/tun), or by most commands. The kernel loads the others when they
# are asked for: nft_*, nf_*, act_*, wireguard and the other kinds of links.
modules=(tun veth sch_netem sch_ingress cls_bpf)

# mounted TYPE WHERE [OPTIONS]
mounted() {
	if [[ $(</proc/self/mounts) != *" $2 "* ]]; then
		[[ -d $2 ]] || mkdir -p "$2"
		mount -t "$1" ${3:+-o "$3"} "$1" "$2"
	fi
}

set_up() {
	export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb

	[[ -e /proc/self ]] || mount -t proc proc /proc
	mounted sysfs /sys
	mounted devtmpfs /dev
	mounted devpts /dev/pts gid=5,mode=620,ptmxmode=666
	mounted tmpfs /dev/shm mode=1777
	mounted tmpfs /run mode=755
	mounted tmpfs /tmp mode=1777
	mounted bpf /sys/fs/bpf mode=700
	mounted tracefs /sys/kernel/tracing
	mounted cgroup2 /sys/fs/cgroup
	[[ -e /dev/fd ]] || ln -s /proc/self/fd /dev/fd
	[[ -e /dev/stdin ]] || ln -s /proc/self/fd/0 /dev/stdin
	[[ -e /dev/stdout ]] || ln -s /proc/self/fd/1 /dev/stdout
	[[ -e /dev/stderr ]] || ln -s /proc/self/fd/2 /dev/stderr

	modprobe -qa "${modules[@]}" || true
	ip link set lo up
	echo holdfast-vm >/proc/sys/kernel/hostname
	ulimit -l unlimited
	ulimit -n 65536
}

# command FOLDER: in the repository's folder, with nothing to read.
command() {
	local arguments=() environment=()

	mapfile -d '' -t arguments <"$1/command"
	mapfile -d '' -t environment <"$1/environment"
	cd "$(<"$1/repository")" || exit 125
	exec setsid -w env -- "${environment[@]}" "${arguments[@]}" </dev/null
}

kill_all_but() {
	local process pid

	for process in /proc/[0-9]*; do
		pid=${process#/proc/}
		if [[ " 1 $* " != *" $pid "* ]]; then
			kill -KILL "$pid" 2>/dev/null || true
		fi
	done
}

# run MODE FOLDER
run() {
	local pipes status=0 out_pid err_pid tries=50

	# Pipes in between: the files' first bytes would be lost if the command opened /dev/stdout again. The output goes
	# to shared files and not to virtio ports: a port takes what it only has queued, and a guest that ends drops that.
	pipes=$(mktemp -d)
	mkfifo "$pipes/out" "$pipes/err"
	cat "$pipes/out" >>"$2/out" &
	out_pid=$!
	cat "$pipes/err" >>"$2/err" &
	err_pid=$!
	echo started >>"$2/status"

	# In the foreground: bash starts background commands with SIGINT ignored, and they could not undo that.
	(command "$2") >"$pipes/out" 2>"$pipes/err" || status=$?

	# Whatever the command left behind would keep its output open.
	if [[ $1 == boot ]]; then
		kill_all_but "$out_pid" "$err_pid"
	else
		while kill -0 "$out_pid" "$err_pid" 2>/dev/null && [[ $((tries -= 1)) -gt 0 ]]; do
			sleep 0.1
		done
		kill "$out_pid" "$err_pid" 2>/dev/null || true
	fi
	wait "$out_pid" "$err_pid" || true
	rm -rf "$pipes"
	sync
	echo "exit $status" >>"$2/status"
}

case ${1:-} in
boot)
	[[ $$ -eq 1 ]] || exit 2
	# The first process must not end: the kernel would panic, and the host would take it for the kernel's fault.
	trap 'busybox poweroff -f; sleep 60' EXIT
	;;
inside) ;;
*)
	echo "vm/guest.sh: started by vm/run.sh in the guest only" >&2
	exit 2
	;;
esac
set_up
run "$1" "$2"
