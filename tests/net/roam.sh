#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Real programs over an association that roams: planned and unexpected, make before break and break before
# make, new addresses, both families. Options: --netem "delay 10ms loss 1%" on every access link.
while [ $# -gt 0 ]; do
	case $1 in
	--netem) NETEM=$2 && shift 2 ;;
	*) echo "usage: roam.sh [--netem ARGS]" >&2 && exit 2 ;;
	esac
done
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

lossless() { # NAME FILE: a report of the UDP stream without any loss
	if [ -s "$2" ] && jq -e '[.up, .down] | all(.sent > 100 and .received > 100 and .lost == 0 and .corrupt == 0 and .doubled == 0)' "$2" >/dev/null 2>&1; then
		pass "$1"
	else
		fail "$1" "$(cat "$2")"
	fi
}

# udp_during NAME ADDR COMMAND...: a numbered stream both ways while COMMAND runs
udp_during() {
	local name=$1 address=$2 port=9000 pid
	shift 2
	rm -f "$WORK/stop"
	stream "$M" udp-client "$address" $port 1000 "$WORK/stop" >"$WORK/udp.json" &
	pid=$!
	wait_for 5 flows_to 9000
	"$@" || fail "$name" "'$*' failed"
	pause 0.3
	touch "$WORK/stop"
	wait $pid
}
flows_to() { hf "$M" flows --json | jq -e ".[] | select(.server_port==$1)"; }

# tcp_during NAME URL COMMAND...: a download of known content while COMMAND runs
tcp_during() {
	local name=$1 url=$2 pid
	shift 2
	in_ns "$M" curl -gsS -m 60 --limit-rate 30M -o "$WORK/out" "$url" 2>"$WORK/curl.err" &
	pid=$!
	wait_for 5 test -s "$WORK/out"
	"$@" || fail "$name" "'$*' failed"
	if wait $pid && cmp -s "$WORK/out" "$WORK/www/big"; then
		pass "$name"
	else
		fail "$name" "$(cat "$WORK/curl.err"); $(stat -c %s "$WORK/out") of $(stat -c %s "$WORK/www/big") bytes"
	fi
	rm -f "$WORK/out"
}

topology
write_conf "10.3.0.2, fd03::2"
start_nginx
content big 20000000
serve "$S" udp-server 10.9.0.10 9000
serve "$S" udp-server fd09::10 9000
up "$A" >/dev/null || { fail N4_anchor_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$M" >/dev/null || { fail N4_mobile_connects "$(cat "$WORK/$M"/*.log)" && finish; }
pass N4_connect

tcp_during N1_N2_tcp_ipv4 http://10.9.0.10/big true
tcp_during N18_tcp_ipv6 "http://[fd09::10]/big" true
# The kernel tells of a neighbour where a device forwards, and a mobile's NICs do not (bpf/hop.h).
neighbour_known() {
	local id
	for id in $(bpftool -j prog show pinned "/sys/fs/bpf/holdfast/v1/$M/progs/tc_tun_egress" | jq '.map_ids[]'); do
		bpftool -j map show id "$id" | jq -e '.name == "neighbours"' >/dev/null || continue
		bpftool -j map dump id "$id" | jq -e 'any(.[].formatted.values[].value; .good == 1)' >/dev/null
		return
	done
	return 1
}
if [ "$(in_ns "$M" sysctl -n net.ipv4.ip_forward)" = 0 ] && neighbour_known; then
	pass N1_mobile_that_does_not_forward_keeps_its_next_hop
else
	fail N1_mobile_that_does_not_forward_keeps_its_next_hop "no packet left by bpf_redirect()"
fi
in_ns "$M" ping -qc 3 -i 0.1 -W 2 10.9.0.10 >/dev/null && pass N2_icmp_echo || fail N2_icmp_echo "no answer"
in_ns "$M" ping -qc 3 -i 0.1 -W 2 fd09::10 >/dev/null && pass N18_icmpv6_echo || fail N18_icmpv6_echo "no answer"
wait_for 5 validated w2 || fail N13_standby_validated "w2 was not validated"

# ---- N5 N8: planned, both links up ----
mbb() { hf "$M" switch --to "$1" >/dev/null && [ "$(current_if)" = "$1" ] && wait_for 5 settled; }
tcp_during N5_N8_tcp_make_before_break http://10.9.0.10/big mbb w2
if [ "$(value "$M" '.assocs[0].last_switch_parked')$(value "$A" '.assocs[0].last_switch_parked')" = 00 ]; then
	pass N8_make_before_break_parks_nothing
else
	fail N8_make_before_break_parks_nothing "$(hf "$M" assocs)"
fi
if [ "$NETEM" ]; then
	skip N5_N8_udp_make_before_break_lossless "netem drops datagrams by itself here"
	skip N5_N8_udp_break_before_make_lossless "netem drops datagrams by itself here"
else
	udp_during N5_N8_udp_make_before_break_lossless 10.9.0.10 mbb w1
	lossless N5_N8_udp_make_before_break_lossless "$WORK/udp.json"
	# ---- N5 N8: planned, break before make; nothing is lost because it is parked ----
	bbm() { hf "$M" switch --break --to "$1" >/dev/null && [ "$(current_if)" = "$1" ] && wait_for 5 settled; }
	udp_during N5_N8_udp_break_before_make_lossless 10.9.0.10 bbm w2
	lossless N5_N8_udp_break_before_make_lossless "$WORK/udp.json"
	udp_during N18_udp_ipv6_break_before_make_lossless fd09::10 bbm w1
	lossless N18_udp_ipv6_break_before_make_lossless "$WORK/udp.json"
fi
[ "$(current_if)" = w1 ] || mbb w1 || fail N15_switch_back "w1 is not current"

# ---- N8: one adapter; the new address comes only after the old one has gone ----
ip -n "$R" link set a2 down
wait_for 5 is "" value "$M" '.assocs[0].paths[] | select(.interface=="w2" and .use!="current") | .interface'
one_adapter() {
	hf "$M" switch --break --wait 0 || return 1
	wait_for 5 is old-left value "$M" '.assocs[0].state' || return 1
	ip -n "$M" addr del 10.1.0.2/24 dev w1
	ip -n "$M" addr add 10.1.0.3/24 dev w1
	ip -n "$M" route add default via 10.1.0.1 dev w1 metric 100
	wait_for 10 is 10.1.0.3 current_local && wait_for 10 settled
}
ip -n "$M" addr del fd01::2/64 dev w1
tcp_during N8_one_adapter_break_before_make http://10.9.0.10/big one_adapter

# ---- N7: the same network, another address, nothing said before ----
renumber() {
	ip -n "$M" addr del 10.1.0.3/24 dev w1
	ip -n "$M" addr add 10.1.0.4/24 dev w1
	ip -n "$M" route add default via 10.1.0.1 dev w1 metric 100
	wait_for 10 is 10.1.0.4 current_local && wait_for 10 settled
}
tcp_during N7_same_network_other_address http://10.9.0.10/big renumber
ip -n "$R" link set a2 up
ip -n "$M" addr add fd01::2/64 dev w1 nodad
ip -n "$M" addr add fd02::2/64 dev w2 nodad 2>/dev/null
ip -n "$M" route replace default via fd01::1 dev w1 metric 100
ip -n "$M" route replace default via fd02::1 dev w2 metric 200
ip -n "$M" route replace default via 10.2.0.1 dev w2 metric 200
wait_for 5 validated w2

# ---- N6 M3: the path dies silently ----
# the other family's path over the dead interface is no way out, though it seemed alive a moment ago
alive() { is alive value "$M" ".assocs[0].paths[] | select(.local==\"$1\") | .health"; }
wait_for 5 alive fd01::2 && wait_for 5 alive 10.2.0.2 || fail N6_both_families_over_w1 "$(hf "$M" paths)"
silent() {
	cut a1
	wait_for 10 is w2 current_if && wait_for 10 settled
}
epoch=$(value "$M" '.assocs[0].epoch')
tcp_during N6_M3_silent_death http://10.9.0.10/big silent
# one message each way is enough: a new CONNECT would mean that the switch was doubted at once
if [ "$NETEM" ] || [ "$(value "$M" '.assocs[0].epoch')" = "$epoch" ]; then
	pass N6_silent_death_needs_no_connect
else
	fail N6_silent_death_needs_no_connect "epoch $epoch, then $(value "$M" '.assocs[0].epoch')"
fi
took=$(value "$M" '.assocs[0].last_switch_us')
if [ "$took" -lt 300000 ]; then
	pass N6_silent_death_takes_the_other_link_at_once
else
	fail N6_silent_death_takes_the_other_link_at_once "from the loss to the end of the switch $took us"
fi
heal a1
wait_for 5 is alive value "$M" '.assocs[0].paths[] | select(.interface=="w1" and .local=="10.1.0.4") | .health'

# ---- N6: the link goes down under it ----
unplug() {
	ip -n "$M" link set w2 down
	wait_for 10 is w1 current_if && wait_for 10 settled
}
tcp_during N6_link_down http://10.9.0.10/big unplug
ip -n "$M" link set w2 up
ip -n "$M" addr add fd02::2/64 dev w2 nodad 2>/dev/null
ip -n "$M" route replace default via 10.2.0.1 dev w2 metric 200
ip -n "$M" route replace default via fd02::1 dev w2 metric 200
wait_for 5 validated w2

# ---- N6: no path at all for a while, then one ----
darkness() {
	cut a1
	cut a2
	wait_for 10 is path-lost value "$M" '.assocs[0].state' ||
		wait_for 10 is unexpected-sent value "$M" '.assocs[0].state' || return 1
	pause 2
	heal a2
	wait_for 20 settled
	heal a1
}
tcp_during N6_all_paths_dead_then_back http://10.9.0.10/big darkness

# ---- N18: outer IPv6 under inner IPv4, and the reverse ----
only6() {
	wait_for 5 settled
	ip -n "$M" addr flush dev w1 scope global
	ip -n "$M" addr flush dev w2 scope global
	ip -n "$M" addr add fd01::7/64 dev w1 nodad
	ip -n "$M" route replace default via fd01::1 dev w1 metric 100
	wait_for 10 is fd01::7 current_local && wait_for 10 settled
}
tcp_during N18_ipv4_over_ipv6 http://10.9.0.10/big only6
only4() {
	ip -n "$M" addr flush dev w1 scope global
	ip -n "$M" addr add 10.1.0.9/24 dev w1
	ip -n "$M" route replace default via 10.1.0.1 dev w1 metric 100
	wait_for 10 is 10.1.0.9 current_local && wait_for 10 settled
}
tcp_during N18_ipv6_over_ipv4 "http://[fd09::10]/big" only4

# ---- N4: DISCONNECT frees everything at both ends ----
hf "$M" down >/dev/null || fail N4_disconnect "down failed"
if wait_for 5 is 0 value "$A" '.assocs | length' && ! ip -n "$M" link show hf0 >/dev/null 2>&1 &&
	! tc -n "$M" qdisc show | grep -q clsact && [ ! -d "/sys/fs/bpf/holdfast/v1/$M" ]; then
	pass N4_disconnect_frees_everything
else
	fail N4_disconnect_frees_everything "$(ip -n "$M" link; hf "$A" assocs)"
fi
finish
