#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The guard's loader against a real kernel: tables, pins, attachments; and that no moment of it
# leaves an address unguarded. On tcx where the kernel has it, and on clsact.
#
#   namespace hfg-PID:   a0 10.50.0.1 ──veth── a1 10.50.0.2   namespace hfg-PID-b
#                           10.50.0.9, the address that moves
#
# Not "ip netns exec": that mounts a new /sys and so hides the bpffs.
set -u

build=${HF_BUILD:-build}
tool=$build/tests/net/guard_loader
other=$build/tests/net/loader
ns=hfg-$$
root=/sys/fs/bpf/$ns
base=$root/guard-v1/one
vip=10.50.0.9
pass='1,6 0 0 4294967295,' # a filter of somebody else, in classic BPF
never=0 always=18446744073709551615
out=
held=
pinger=

if [ "$(id -u)" -ne 0 ]; then
	echo "SKIP guard_loader: needs root"
	exit 0
fi

cleanup() {
	[ -z "$held" ] || kill -9 "$held" 2>/dev/null
	[ -z "$pinger" ] || kill "$pinger" 2>/dev/null
	for name in one two; do
		in_ns "$tool" $name "$root" purge >/dev/null 2>&1
		rm -f "/run/holdfast/sys-fs-bpf-$ns:$name".*
	done
	ip netns del "$ns" 2>/dev/null
	ip netns del "$ns-b" 2>/dev/null
	rm -rf "${tmp:?}" "$root"
}
in_ns() { nsenter --net="/run/netns/$ns" "$@"; }
in_b() { nsenter --net="/run/netns/$ns-b" "$@"; }
tmp=$(mktemp -d)
trap cleanup EXIT
trap 'exit 130' INT TERM

ip netns add "$ns" || exit 1
ip netns add "$ns-b" || exit 1
ip -n "$ns" link add a0 type veth peer name a1 netns "$ns-b"
ip -n "$ns" addr add 10.50.0.1/24 dev a0
ip -n "$ns" addr add $vip/24 dev a0
ip -n "$ns-b" addr add 10.50.0.2/24 dev a1
ip -n "$ns" link set a0 up
ip -n "$ns-b" link set a1 up

# Runs the tool; $out has what it said.
one() { out=$(in_ns "$tool" one "$root" "$@" 2>&1); }
said() { [[ $out == *"$1"* ]] || { echo "   said: $out"; return 1; }; }
filters() { in_ns tc filter show dev a0 "$1" 2>/dev/null; }
filter_ours() { filters "$1" | grep -q 'pref 45 .*handle 0x4846'; }
filter_id() { filters "$1" | sed -nE 's/.*pref 45 .*handle 0x4846 .* id ([0-9]+) .*/\1/p'; }
hook() { in_ns "$other" - "$root" hook a0 "$1"; }
# of the first one there
link_id() { hook "$1" | sed -nE '1s/ guard_(in|out)$//p'; }
link_ours() { [ -n "$(link_id "$1")" ]; }
ours() { if [ $way = tcx ]; then link_ours "$1" && ! filter_ours "$1"; else filter_ours "$1"; fi; }
prog_id() { if [ $way = tcx ]; then link_id "$1"; else filter_id "$1"; fi; }
both() { ours ingress && ours egress; }
none() { ! filter_ours ingress && ! filter_ours egress && ! hook ingress 2>/dev/null | grep guard_in &&
	! hook egress 2>/dev/null | grep guard_out; }
# is the program of the other loader there, and behind ours?
nic_ours() {
	if [ $way = tcx ]; then
		hook ingress | sed -n '$p' | grep -q ' tc_nic_ingress$'
	else
		filters ingress | grep -q 'pref 46 '
	fi
}
clsact() { in_ns tc qdisc show dev a0 | grep -q clsact; }
map_id() { bpftool -j map show pinned "$base/maps/$1" | jq .id; }
answers() { in_b ping -q -c 1 -W 0.3 "$1" >/dev/null; }
# A command as if the kernel had the other kind alone.
other_way() {
	local way
	way=$([ "${HOLDFAST_TC:-tcx}" = tcx ] && echo clsact || echo tcx)
	HOLDFAST_TC=$way "$@"
}
# Waits for a condition, 20 s at most: an emulated machine is slow.
wait_for() {
	local end=$((SECONDS + 20))
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.02
	done
}
# ...and the tool that holds the guard open until it is killed
hold() {
	rm -f "$tmp/held"
	nsenter --net="/run/netns/$ns" "$tool" one "$root" "$@" hold >"$tmp/held" 2>&1 &
	held=$!
	wait_for grep -qs holding "$tmp/held"
}
kill_it() {
	kill -9 "$held"
	wait "$held" 2>/dev/null
	held=
}

makes_and_pins() {
	one open 64 show || return 1
	said "open 64" && said "slots 64 lease 0 connections 0 addresses 0 points 0" || return 1
	for m in conf addrs points conns slots free embryos events reasons; do
		bpftool map show pinned "$base/maps/guard_$m" >/dev/null || return 1
	done
	for p in guard_in guard_out; do
		bpftool prog show pinned "$base/progs/$p" >/dev/null || return 1
	done
	for m in conns slots free; do
		[ "$(bpftool -j map show pinned "$base/maps/guard_$m" | jq .max_entries)" = 64 ] ||
			return 1
	done
	one open 1048577 && return 1
	said "open EINVAL" && said 1048576 || return 1
	one open 0 remove && said "open 64" && [ ! -e "$root" ] || return 1
	one open 0 remove && said "open 65536" && [ ! -e "$root" ] &&
		! compgen -G "/run/holdfast/sys-fs-bpf-$ns:one.*" >/dev/null
}

# 37 slots fill no page
keeps_tables() {
	one open 37 full twice back clean embryos reasons stranger full clean remove || return 1
	one open 5000 full twice back clean stranger clean embryos full remove
}

# what another daemon left is there, and the programs are replaced in place
adopts() {
	local map in
	one open 64 attach a0 guard $vip connect 10 lease 77 || return 1
	both || return 1
	map=$(map_id guard_conns) in=$(prog_id ingress)
	one open 64 show || return 1
	said "slots 64 lease 77 connections 10 addresses 1 points 0" || return 1
	[ "$(map_id guard_conns)" = "$map" ] && [ "$(prog_id ingress)" != "$in" ] && both || return 1
	one open 0 clear show && said "slots 64 lease 77 connections 0 addresses 1" || return 1
	one open 64 only 10.50.0.7 only $vip guard 10.50.0.7 only $vip show && said "addresses 1" || return 1
	one open 64 remove && none && ! clsact
}

# no answer of a guarded address leaves while the lease is over, whatever happens (T7)
stays_fenced() {
	local n=0
	one open 64 guard $vip attach a0 lease $always || return 1
	answers $vip && answers 10.50.0.1 || return 1 # and the neighbour's address is known now
	in_b ip neigh replace $vip lladdr "$(ip -n "$ns" -j link show a0 | jq -r '.[0].address')" dev a1
	one open 64 lease $never || return 1
	! answers $vip && answers 10.50.0.1 || return 1
	hold open 64 || return 1
	nsenter --net="/run/netns/$ns-b" ping -i 0.002 $vip >"$tmp/pings" &
	pinger=$!
	kill_it
	while [ $((n++)) -lt 5 ]; do
		one open 64 clear attach a0 && one open 100 && said "open 100" || return 1
		one open 64 only $vip show && said "lease 0 connections 0 addresses 1" || return 1
		# nor when it moves over and back
		[ $tcx = 0 ] || { other_way one open 64 && other_way both; } || return 1
	done
	kill -INT "$pinger"
	wait "$pinger"
	pinger=
	grep -q ' 0 received' "$tmp/pings" || { tail -n 3 "$tmp/pings"; return 1; }
	one open 64 lease $always && answers $vip || return 1
	one open 64 remove
}

another_size_makes_new_tables() {
	local in
	one open 64 attach a0 guard $vip guard 10.50.0.7 connect 10 lease 77 || return 1
	in=$(prog_id ingress)
	one open 32 show || return 1
	said "slots 32 lease 0 connections 0 addresses 2 points 0" || return 1
	both && [ "$(prog_id ingress)" != "$in" ] || return 1
	[ "$(bpftool -j prog show id "$(prog_id ingress)" | jq ".map_ids | index($(map_id guard_conns))")" != null ] ||
		return 1
	one open 32 only $vip full clean remove
}

leaves_other_filters() {
	in_ns tc qdisc add dev a0 clsact
	in_ns tc filter add dev a0 egress prio 46 handle 0x4846 bpf da bytecode "$pass" || return 1
	in_ns tc filter add dev a0 ingress prio 10 protocol ip bpf da bytecode "$pass" || return 1
	one open 64 attach a0 && both || return 1
	one open 64 detach a0 && none || return 1
	filters egress | grep -q 'pref 46 ' && filters ingress | grep -q 'pref 10 ' || return 1
	one open 64 detach a0 && return 1
	said "detach ENOENT" || return 1
	in_ns tc filter del dev a0 egress
	in_ns tc filter del dev a0 ingress
	# there before us, so not ours to remove, even when empty
	one open 64 attach a0 detach a0 && clsact || return 1
	in_ns tc qdisc del dev a0 clsact
	one open 64 remove
}

leaves_our_place_if_taken() {
	if [ $way = clsact ]; then
		in_ns tc qdisc add dev a0 clsact
		in_ns tc filter add dev a0 ingress prio 45 handle 0x4846 bpf da bytecode "$pass" || return 1
		one open 64 attach a0 && return 1
		said "attach EBUSY" && said "priority 45" || return 1
		# neither the half that would have gone
		! ours egress && filters ingress | grep -q 'pref 45 ' || return 1
		one open 64 detach a0 && return 1
		one open 64 remove && filters ingress | grep -q 'pref 45 ' || return 1
		in_ns tc qdisc del dev a0 clsact
	fi
	# two guards on one interface
	one open 64 attach a0 || return 1
	out=$(in_ns "$tool" two "$root" open 64 attach a0 2>&1) && return 1
	said "attach EBUSY" && both || return 1
	in_ns "$tool" two "$root" open 64 remove >/dev/null && both || return 1
	one open 64 attach nowhere && return 1
	said "attach ENODEV" || return 1
	one open 64 remove
}

stands_beside_the_others() {
	one open 64 attach a0 || return 1
	in_ns "$other" one "$root" own attach a0 nic tc >/dev/null || return 1
	both && nic_ours || return 1
	one open 64 remove || return 1
	none && nic_ours && [ -e "$root/v1/one/maps/meta" ] || return 1
	# in front, though it came later
	one open 64 attach a0 && both && nic_ours || return 1
	in_ns "$other" one "$root" adopt remove >/dev/null || return 1
	both && ! nic_ours && [ ! -e "$root/v1" ] || return 1
	one open 64 show remove && [ ! -e "$root" ] || return 1
	# the one that made clsact went first, so nobody has taken it away
	[ $way = tcx ] || in_ns tc qdisc del dev a0 clsact
}

outlives_its_opener() {
	hold open 64 guard $vip attach a0 connect 3 lease $always || return 1
	one open 64 && return 1
	said "open EBUSY" || return 1
	in_ns "$other" one "$root" own >"$tmp/other" 2>&1 && return 1
	grep -q 'own EBUSY' "$tmp/other" || return 1
	one purge && return 1
	said "purge EBUSY" || return 1
	kill_it
	both && answers $vip || return 1
	one open 64 show && said "lease $always connections 3 addresses 1" || return 1
	one open 64 remove
}

refuses_other_layout() {
	local rest
	one open 64 attach a0 || return 1
	in_ns "$tool" one "$root" open 64 show >/dev/null || return 1
	mapfile -t rest < <(printf '00\n%.0s' {1..59})
	bpftool map update pinned "$base/maps/guard_conf" key 0 0 0 0 value hex 48 4c 47 31 02 \
		"${rest[@]}" || return 1
	one open 64 && return 1
	said "open ESTALE" && said "version 2" && said "detach --all" && both || return 1
	one purge || return 1
	none && ! clsact && [ ! -e "$root" ] || return 1
	one open 64 && rm "$base/maps/guard_slots" && bpftool map create "$base/maps/guard_slots" \
		type array key 4 value 128 entries 64 name guard_slots || return 1
	one open 64 && return 1
	said "open ESTALE" && said "guard_slots" && said "128" || return 1
	rm "$base/maps/guard_slots"
	one open 64 && return 1
	said "missing" || return 1
	one purge || return 1
	one open 64 && mv "$root/guard-v1" "$root/guard-v2" || return 1
	one open 64 && return 1
	said "version 2" || return 1
	one purge && [ ! -e "$root" ] || return 1
	one purge && return 1
	said "purge ENOENT"
}

settles_what_a_crash_left() {
	local pin
	one open 64 attach a0 connect 5 || return 1
	if [ $way = clsact ]; then
		pin=$(echo "$base"/links/guard_out-*)
		mv "$pin" "$pin-new" || return 1
		one open 64 && [ -e "$pin" ] && [ ! -e "$pin-new" ] && both || return 1
	fi
	# in the middle of pinning: what is attached is replaced all the same
	rm "$base/maps/guard_conf"
	one open 64 show && said "connections 0" && both || return 1
	[ "$(bpftool -j prog show id "$(prog_id egress)" | jq ".map_ids | index($(map_id guard_conf))")" != null ] ||
		return 1
	one open 64 remove && none && [ ! -e "$root" ]
}

stays_in_its_namespace() {
	one open 64 attach a0 || return 1
	out=$(in_b "$tool" one "$root" open 64 remove 2>&1) && return 1
	said "remove EBUSY" && both || return 1
	one open 64 remove
}

# a machine that has mounted none; the mount is in a namespace of the test's own
mounts_a_bpffs() {
	out=$(in_ns unshare -m sh -c 'umount -R /sys/fs/bpf && ! mountpoint -q /sys/fs/bpf &&
		"$0" one "$1" open 64 attach a0 remove && mountpoint /sys/fs/bpf' "$tool" "$root" 2>&1) ||
		return 1
	said "is a mountpoint" && none
}

# What is attached then has no record to be found by: it stays, and nothing is attached beside it.
tells_of_hidden_pins() {
	one open 64 attach a0 || return 1
	one open 64 cover attach a0 && return 1
	if [ $way = tcx ]; then
		said "attach EEXIST" && said "guard_out" && said "second bpffs" || return 1
	else
		said "attach EBUSY" || return 1
	fi
	both && one open 64 attach a0 remove && none
}

# Instances share the folders above their own, and who goes takes away what is empty.
comes_and_goes_beside_others() {
	local name mounts pids=() bad=0
	mounts=$(grep -c ' /sys/fs/bpf bpf ' /proc/mounts)
	for name in one two three; do
		"$tool" $name "$root" folders 2000 >"$tmp/$name" 2>&1 &
		pids+=($!)
	done
	for name in "${pids[@]}"; do wait "$name" || bad=1; done
	out=$(cat "$tmp/one" "$tmp/two" "$tmp/three")
	[ $bad = 0 ] && [ "$(grep -c ' /sys/fs/bpf bpf ' /proc/mounts)" = "$mounts" ]
}

refuses_without_privileges() {
	out=$(in_ns setpriv --bounding-set=-all --inh-caps=-all "$tool" one "$root" open 64 2>&1) &&
		return 1
	said "open EPERM" && said "CAP_BPF" && said "CAP_NET_ADMIN"
}

tests="makes_and_pins keeps_tables adopts stays_fenced another_size_makes_new_tables
	leaves_other_filters leaves_our_place_if_taken stands_beside_the_others outlives_its_opener
	refuses_other_layout settles_what_a_crash_left stays_in_its_namespace mounts_a_bpffs
	tells_of_hidden_pins comes_and_goes_beside_others refuses_without_privileges"

failed=0
run() {
	for t in "$@"; do
		if $t; then
			echo "PASS guard_loader_$t ($way)"
			continue
		fi
		echo "FAIL guard_loader_$t ($way; last said: $out)"
		failed=1
		[ -z "$held" ] || kill_it
		[ -z "$pinger" ] || { kill "$pinger"; pinger=; }
		in_ns "$tool" one "$root" purge >/dev/null 2>&1
		in_ns "$tool" two "$root" purge >/dev/null 2>&1
		in_ns tc qdisc del dev a0 clsact 2>/dev/null
	done
}

unset HOLDFAST_TC
if hook ingress >/dev/null; then
	tcx=1 way=tcx
	run $tests
	way=clsact
	export HOLDFAST_TC=clsact
	run $tests
else
	tcx=0 way=clsact
	for t in $tests; do
		echo "SKIP guard_loader_$t (tcx): this kernel has none"
	done
	run $tests
fi
exit $failed
