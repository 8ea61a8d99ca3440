#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The loader against a real kernel: what it attaches, and above all what it leaves alone; on tcx
# where the kernel has it, and on clsact.
#
#   namespace hfl-PID:   a0 ──veth── a1
#
# Not "ip netns exec": that mounts a new /sys and so hides the bpffs.
set -u

build=${HF_BUILD:-build}
tool=$build/tests/net/loader
ns=hfl-$$
root=/sys/fs/bpf/$ns
base=$root/v1/one
pass='1,6 0 0 4294967295,' # a filter of somebody else, in classic BPF
out=
held=

if [ "$(id -u)" -ne 0 ]; then
	echo "SKIP loader: needs root"
	exit 0
fi

cleanup() {
	[ -z "$held" ] || kill -9 "$held" 2>/dev/null
	for name in one two; do
		in_ns "$tool" $name "$root" purge >/dev/null 2>&1
		"$tool" $name "$root" purge >/dev/null 2>&1
		rm -f "/run/holdfast/sys-fs-bpf-$ns:$name".* "/run/holdfast/tmp-$ns:$name".*
	done
	ip netns del "$ns" 2>/dev/null
	ip netns del "$ns-b" 2>/dev/null
	rm -rf "${tmp:?}" "$root"
}
in_ns() { nsenter --net="/run/netns/$ns" "$@"; }
tmp=$(mktemp -d)
trap cleanup EXIT

ip netns add "$ns" || exit 1
in_ns ip link add a0 type veth peer name a1
in_ns ip link set a0 up
in_ns ip link set a1 up

# Runs the tool; $out has what it said.
one() { out=$(in_ns "$tool" one "$root" "$@" 2>&1); }
two() { out=$(in_ns "$tool" two "$root" "$@" 2>&1); }
said() { [[ $out == *"$1"* ]] || { echo "   said: $out"; return 1; }; }
filters() { in_ns tc filter show dev "$1" "$2" 2>/dev/null; }
filter_ours() { filters "$1" "$2" | grep -q 'pref 46 .*handle 0x4846'; }
filter_id() { filters "$1" "$2" | sed -nE 's/.*handle 0x4846 .* id ([0-9]+) .*/\1/p'; }
clsact() { in_ns tc qdisc show dev "$1" | grep -q clsact; }
hook() { in_ns "$tool" - "$root" hook "$1" "$2"; }
link_id() { hook "$1" "$2" | sed -nE 's/ tc_(nic|tun)_(in|e)gress$//p'; }
link_ours() { [ -n "$(link_id "$1" "$2")" ]; }
ours() { if [ $way = tcx ]; then link_ours "$@" && ! filter_ours "$@"; else filter_ours "$@"; fi; }
prog_id() { if [ $way = tcx ]; then link_id "$@"; else filter_id "$@"; fi; }
# nothing of ours, of either kind
none() { ! clsact "$1" && ! link_ours "$1" ingress && ! link_ours "$1" egress; }
# the clsact qdisc is there if we need one
clsact_if_needed() { if [ $way = tcx ]; then ! clsact "$1"; else clsact "$1"; fi; }
map_id() { bpftool -j map show pinned "$base/maps/$1" | jq .id; }
xdp_on() { in_ns ip -d link show "$1" | grep -q 'prog/xdp'; }
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

refuses_bad_names() {
	out=$("$tool" "a/b" "$root" own 2>&1) && return 1
	said "own EINVAL" || return 1
	out=$("$tool" a.b "$root" own 2>&1) && return 1
	out=$("$tool" one "/tmp/$ns" own 2>&1) && return 1
	said "not on a bpffs"
}

makes_and_pins() {
	one adopt && return 1
	said "adopt ENOENT" || return 1
	one own sweep reasons || return 1
	said "own made" && said "swept" || return 1
	for m in meta hosts services emulators service_table assocs paths peers flows echoes frags \
		reasons events; do
		bpftool map show pinned "$base/maps/$m" >/dev/null || return 1
	done
	[ "$(bpftool -j map show pinned "$base/maps/flows" | jq .max_entries)" = 1024 ] &&
		[ "$(bpftool -j map dump pinned "$base/maps/meta" |
			jq '.[0].formatted.value.max_flows')" = 1024 ]
}

# Of the last sweep: neither too many flows nor, and that is a matter of landmarks, too many empty
# places in one go, which is half of them here.
slices_within() {
	local flows places

	read -r _ _ flows places < <(grep ^slices <<<"$out" | tail -n 1)
	[ "$flows" -le 512 ] && [ "$places" -le $((1 << 20)) ] || { echo "   said: $out"; return 1; }
}

sweeps_in_slices() {
	one room 1100000 own sweep || return 1
	said "swept 0 0" && slices_within || return 1
	one own fill 1 3 sweep || return 1
	said "swept 0 1" && slices_within || return 1
	one own remove || return 1
	one room 1100000 own fill 200000 3 sweep || return 1
	said "swept 100000 100000" && slices_within || return 1
	one own sweep || return 1
	said "swept 0 100000" && slices_within || return 1
	one own end 3 sweep end 3 || return 1
	said "had 100000" && said "swept 100000 0" && said "had 0" && slices_within || return 1
	one own remove || return 1
}

removes_everything() {
	one own attach a0 nic tc attach a1 tun tc || return 1
	ours a0 ingress && ours a1 egress && ours a1 ingress || return 1
	clsact_if_needed a0 && clsact_if_needed a1 || return 1
	one adopt remove || return 1
	none a0 && none a1 && [ ! -e "$root" ] &&
		! compgen -G "/run/holdfast/sys-fs-bpf-$ns:one.*" >/dev/null
}

leaves_other_filters() {
	in_ns tc qdisc add dev a1 clsact
	in_ns tc filter add dev a1 egress prio 46 handle 7 bpf da bytecode "$pass" || return 1
	one own attach a0 nic tc || return 1
	[ $way = clsact ] || in_ns tc qdisc add dev a0 clsact || return 1
	in_ns tc filter add dev a0 ingress prio 10 protocol ip bpf da bytecode "$pass" || return 1
	one guest detach a0 || return 1
	! ours a0 ingress && clsact a0 && filters a0 ingress | grep -q 'pref 10 ' || return 1
	# there before us, so not ours to remove, even when empty
	one guest attach a1 nic tc detach a1 || return 1
	clsact a1 && filters a1 egress | grep -q 'handle 0x7' || return 1
	in_ns tc filter del dev a1 egress
	one guest attach a1 nic tc detach a1 || return 1
	clsact a1 || return 1
	in_ns tc qdisc del dev a0 clsact
	in_ns tc qdisc del dev a1 clsact
	one guest detach a0 && return 1
	said "detach ENOENT"
}

leaves_our_place_if_taken() {
	local id
	one own attach a0 nic tc || return 1
	id=$(prog_id a0 ingress)
	two own attach a0 nic tc && return 1
	said "attach EBUSY" || return 1
	two adopt detach a0 && return 1
	two adopt remove || return 1
	[ -n "$id" ] && [ "$(prog_id a0 ingress)" = "$id" ] || return 1
	one guest remove && none a0 || return 1
}

# somebody else takes ours away, or puts something into our place: not ours any more
notices_what_went() {
	one own attach a0 nic tc || return 1
	if [ $way = tcx ]; then
		bpftool link detach pinned "$base"/links/tc_nic_ingress-*-tcx || return 1
	else
		in_ns tc filter del dev a0 ingress prio 46
	fi
	one guest list && [ -z "$(grep a0 <<<"$out")" ] || return 1
	one guest detach a0 && return 1
	said "detach ENOENT" && [ -z "$(ls "$base/links")" ] || return 1
	one guest remove
	in_ns tc qdisc del dev a0 clsact 2>/dev/null
	true
}

# another XDP program stays, "xdp" is refused, "auto" takes tc
leaves_other_xdp() {
	bpftool prog load "$build/bpf/xdp.bpf.o" "$root-other" type xdp || return 1
	in_ns bpftool net attach xdp pinned "$root-other" dev a0 || return 1
	rm -f "$root-other"
	one own attach a0 nic xdp && return 1
	said "attach EBUSY" && none a0 || return 1
	one own attach a0 nic auto && said "attached a0 tc" || return 1
	one adopt remove || return 1
	xdp_on a0 || return 1
	in_ns ip link set a0 xdp off
	! xdp_on a0
}

xdp_modes() {
	one own attach a0 nic xdp list && said "attached a0 xdp" && said "a0 nic xdp" || return 1
	xdp_on a0 || return 1
	one own list && said "a0 nic xdp" || return 1 # replaced, still there
	one guest attach a0 nic generic list && said "a0 nic generic" || return 1
	in_ns ip link show a0 | grep -q xdpgeneric || return 1
	one guest attach a0 nic tc list && said "a0 nic tc" || return 1
	! xdp_on a0 && ours a0 ingress || return 1
	one guest attach a0 nic auto && said "attached a0 tc" || return 1
	one guest remove && ! xdp_on a0 && none a0
}

# those who listen hear of a new filter
replaced_once_more() {
	one tun 6 own && grep -q 'pref 46' "$tmp/monitor"
}

adopts_after_close() {
	local map prog
	one own route 77 attach a0 nic tc || return 1
	map=$(map_id flows) prog=$(prog_id a0 ingress)
	nsenter --net="/run/netns/$ns" tc monitor >"$tmp/monitor" 2>/dev/null &
	held=$!
	one tun 5 own route 78 list || return 1
	said "own adopted" && said "route 77" && said "a0 nic tc" || return 1
	# replaced in place: nobody hears of one deleted
	[ $way = tcx ] || wait_for replaced_once_more || return 1
	kill "$held"
	wait "$held" 2>/dev/null
	held=
	[ "$(map_id flows)" = "$map" ] && [ "$(prog_id a0 ingress)" != "$prog" ] || return 1
	! grep -q -i '^deleted.*filter' "$tmp/monitor" || return 1
	# a guest leaves the programs that an owner has put there
	prog=$(prog_id a0 ingress)
	one guest attach a0 nic tc || return 1
	[ "$(prog_id a0 ingress)" = "$prog" ] || return 1
	one guest remove && none a0
}

# a process that dies between attaching and writing the name down
settles_what_a_crash_left() {
	local pin
	one own attach a0 nic tc || return 1
	if [ $way = clsact ]; then
		pin=$(echo "$base"/links/tc_nic_ingress-*)
		mv "$pin" "$pin-new" || return 1
		one own list && said "a0 nic tc" && [ -e "$pin" ] && [ ! -e "$pin-new" ] || return 1
		# and between writing it down and attaching
		bpftool prog pin pinned "$base/progs/tc_tun_egress" "$pin-new" || return 1
		one own list && said "a0 nic tc" && [ ! -e "$pin-new" ] || return 1
	fi
	# and in the middle of making the maps
	one guest remove || return 1
	one own || return 1
	rm "$base/maps/meta"
	one own && said "own made" || return 1
	one guest remove
}

# Who lists does not hold the lock: what it takes for a leftover may be a change under way.
list_changes_nothing() {
	local pin before
	one own attach a0 nic tc || return 1
	pin=$(echo "$base"/links/tc_nic_ingress-*)
	if [ $way = tcx ]; then
		bpftool link detach pinned "$pin" || return 1
	else
		bpftool prog pin pinned "$base/progs/tc_tun_egress" "$pin-new" || return 1
	fi
	before=$(ls "$base/links")
	one guest list && [ "$(ls "$base/links")" = "$before" ] || return 1
	one guest attach a0 nic tc list && said "a0 nic tc" && ours a0 ingress || return 1
	[ "$(ls "$base/links" | wc -l)" = 1 ] || return 1
	one guest remove && none a0
}

# of two that want the same hook at the same moment one has it, and the other is told
one_has_the_hook() {
	local first second
	one own && two own || return 1
	for _ in {1..20}; do
		in_ns "$tool" one "$root" guest attach a0 nic tc >"$tmp/one" 2>&1 &
		first=$!
		in_ns "$tool" two "$root" guest attach a0 nic tc >"$tmp/two" 2>&1 &
		second=$!
		wait $first $second
		out=$(cat "$tmp/one" "$tmp/two")
		said "attached a0 tc" && said "attach EBUSY" && ours a0 ingress || return 1
		one guest detach a0 || two guest detach a0 || return 1
		none a0 || return 1
	done
	one guest remove && two guest remove
}

refuses_other_layout() {
	one own attach a0 nic tc || return 1
	bpftool map update pinned "$base/maps/meta" key 0 0 0 0 value hex \
		48 4c 46 31 02 00 00 00 08 00 00 00 20 00 00 00 c0 00 00 00 c0 00 00 00 1e 00 00 00 \
		00 04 00 00 || return 1
	one own && return 1
	said "own ESTALE" && ours a0 ingress || return 1
	one purge || return 1
	none a0 && [ ! -e "$root" ] || return 1
	one own && mv "$root/v1" "$root/v2" || return 1
	one own && return 1
	said "version 2" || return 1
	one purge && [ ! -e "$root" ] || return 1
	one purge && return 1
	said "purge ENOENT"
}

refuses_two_owners() {
	nsenter --net="/run/netns/$ns" "$tool" one "$root" own hold >"$tmp/held" 2>&1 &
	held=$!
	wait_for grep -q holding "$tmp/held" || return 1
	one own && return 1
	said "own EBUSY" || return 1
	one guest remove && return 1
	said "remove EBUSY" || return 1
	one guest attach a0 nic tc list && said "a0 nic tc" || return 1
	kill -9 "$held"
	wait "$held" 2>/dev/null
	held=
	ours a0 ingress || return 1
	one own list && said "own adopted" && said "a0 nic tc" || return 1
	one guest remove
}

# No BTF in the kernel's place, nor in a file that libbpf would look for.
names_missing_btf() {
	out=$(in_ns unshare --mount sh -c 'for d in /sys/kernel/btf /boot /lib/modules /usr/lib/debug; do
		[ ! -d $d ] || mount -t tmpfs none $d || exit; done; exec "$@"' sh \
		"$tool" one "$root" own 2>&1) && return 1
	said "own EOPNOTSUPP" && said "this kernel lacks BTF" && said "CONFIG_DEBUG_INFO_BTF"
}

refuses_without_privileges() {
	out=$(in_ns setpriv --bounding-set=-all --inh-caps=-all "$tool" one "$root" own 2>&1) &&
		return 1
	said "own EPERM" && said "CAP_BPF" && said "CAP_NET_ADMIN" || return 1
	out=$(in_ns setpriv --bounding-set=-net_admin --inh-caps=-all "$tool" one "$root" own 2>&1) &&
		return 1
	said "own EPERM" && said "CAP_NET_ADMIN"
}

forgets_interfaces_that_go() {
	in_ns ip link add b0 type veth peer name b1
	one own attach b0 nic xdp attach b1 nic generic || return 1
	in_ns ip link del b0
	one own list && [ -z "$(grep '^b' <<<"$out")" ] || return 1
	[ -z "$(ls "$base/links")" ] || return 1
	one guest remove
}

stays_in_its_namespace() {
	ip netns add "$ns-b" || return 1
	one own attach a0 nic tc || return 1
	out=$(nsenter --net="/run/netns/$ns-b" "$tool" one "$root" own list remove 2>&1) && return 1
	said "remove EBUSY" && ours a0 ingress || return 1
	out=$(nsenter --net="/run/netns/$ns-b" "$tool" one "$root" own list 2>&1) || return 1
	[ -z "$(grep a0 <<<"$out")" ] || return 1
	one own list && said "a0 nic tc" || return 1
	one guest remove || return 1
	# a namespace that has died is no reason to refuse
	nsenter --net="/run/netns/$ns-b" ip link add c0 type veth peer name c1
	nsenter --net="/run/netns/$ns-b" "$tool" one "$root" own attach c0 nic tc >/dev/null || return 1
	ip netns del "$ns-b"
	one guest remove && [ ! -e "$root" ]
}

# an interface that goes into another namespace goes without us
leaves_interfaces_that_move() {
	ip netns add "$ns-b" || return 1
	in_ns ip link add d0 type veth peer name d1
	one own attach d0 nic tc list && said "d0 nic tc" || return 1
	in_ns ip link set d0 netns "$ns-b"
	one own list && [ -z "$(grep '^d' <<<"$out")" ] || return 1
	[ -z "$(ls "$base/links")" ] || return 1
	! nsenter --net="/run/netns/$ns-b" "$tool" - "$root" hook d0 ingress | grep tc_nic || return 1
	in_ns ip link del d1
	ip netns del "$ns-b"
	one guest remove
}

# an instance that an older daemon, or one told so, has put on the other hook
moves_over() {
	local map
	one own route 77 attach a0 nic tc attach a1 tun tc || return 1
	map=$(map_id flows)
	[ "$way" != clsact ] || filter_ours a0 ingress || return 1
	other_way one own route 78 list || return 1
	said "own adopted" && said "route 77" && said "a0 nic tc" && said "a1 tun tc" || return 1
	[ "$(map_id flows)" = "$map" ] || return 1
	! ours a0 ingress && other_way ours a0 ingress && other_way ours a1 ingress &&
		other_way ours a1 egress && other_way clsact_if_needed a0 &&
		other_way clsact_if_needed a1 || return 1
	[ "$(ls "$base/links" | wc -l)" = 3 ] || return 1
	# a guest, too, by attaching; the other interface stays
	one guest attach a1 tun tc && ours a1 egress && ours a1 ingress && clsact_if_needed a1 &&
		other_way ours a0 ingress || return 1
	one guest remove && none a0 && none a1 || return 1
	# the place is taken, whichever the hook
	one own attach a0 nic tc || return 1
	other_way two own attach a0 nic tc && return 1
	said "attach EBUSY" && ours a0 ingress || return 1
	two adopt remove && one guest remove
}

# the daemon died when the one was there and the other had not gone yet
moves_over_after_a_crash() {
	local link
	HOLDFAST_TC=tcx one own attach a0 nic tc || return 1
	link=$(echo "$base"/links/tc_nic_ingress-*-tcx)
	mv "$link" "$base/links/hidden" || return 1
	HOLDFAST_TC=clsact one own attach a0 nic tc || return 1
	mv "$base/links/hidden" "$link" || return 1
	link_ours a0 ingress && filter_ours a0 ingress || return 1
	one own list && [ "$(grep -c a0 <<<"$out")" = 1 ] || return 1
	ours a0 ingress && ! other_way ours a0 ingress && clsact_if_needed a0 || return 1
	[ "$(ls "$base/links" | wc -l)" = 1 ] || return 1
	one guest remove && none a0
}

refuses_unknown_wish() {
	HOLDFAST_TC=tc one own attach a0 nic tc && return 1
	said "attach EINVAL" && said HOLDFAST_TC || return 1
	none a0 || return 1
	if [ $tcx = 0 ]; then
		HOLDFAST_TC=tcx one own attach a0 nic tc && return 1
		said "attach EOPNOTSUPP" && said "Linux 6.6" && none a0 || return 1
	fi
	one guest remove
}

tests="refuses_bad_names makes_and_pins removes_everything sweeps_in_slices leaves_other_filters
	leaves_our_place_if_taken notices_what_went leaves_other_xdp xdp_modes adopts_after_close
	settles_what_a_crash_left list_changes_nothing one_has_the_hook refuses_other_layout
	refuses_two_owners refuses_without_privileges names_missing_btf forgets_interfaces_that_go
	stays_in_its_namespace leaves_interfaces_that_move refuses_unknown_wish"
both="moves_over moves_over_after_a_crash"

failed=0
run() {
	for t in "$@"; do
		if $t; then
			echo "PASS loader_$t ($way)"
			continue
		fi
		echo "FAIL loader_$t ($way; last said: $out)"
		failed=1
		[ -z "$held" ] || kill -9 "$held"
		held=
		in_ns "$tool" one "$root" purge >/dev/null 2>&1
		in_ns "$tool" two "$root" purge >/dev/null 2>&1
		ip netns del "$ns-b" 2>/dev/null
		in_ns tc qdisc del dev a0 clsact 2>/dev/null
		in_ns tc qdisc del dev a1 clsact 2>/dev/null
		in_ns ip link set a0 xdp off 2>/dev/null
	done
}

unset HOLDFAST_TC
if hook a0 ingress >/dev/null; then
	tcx=1 way=tcx
	run $tests $both
	way=clsact
	export HOLDFAST_TC=clsact
	run $tests $both
else
	tcx=0 way=clsact
	for t in $tests $both; do
		echo "SKIP loader_$t (tcx): this kernel has none"
	done
	run $tests
fi
exit $failed
