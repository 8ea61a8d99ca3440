#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A forwarding anchor on native XDP: the same traffic, the same switch, and the counters prove that the
# stack saw none of it. A veth gives and takes XDP frames only if its other end has a program, too: "holdfast
# attach" puts one there, which passes on what is not its own. XDP sees checksums that are not there yet
# where a veth offloads them: so they are made in software.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

undo() {
	in_ns "$R" "$BIN/holdfast" detach --all --name "$R" >/dev/null 2>&1
	in_ns "$S" "$BIN/holdfast" detach --all --name "$S" >/dev/null 2>&1
	cleanup
}
trap undo EXIT

topology
write_conf "10.3.0.2, fd03::2"
sed -i 's/^\s*mode = tc/mode = xdp/' "$WORK/$A.conf"
start_nginx
content big 20000000
serve "$S" udp-server 10.9.0.10 9000
for dev in "$M w1" "$M w2" "$R a1" "$R a2" "$R rp" "$A p0" "$A l0" "$S s0"; do
	# shellcheck disable=SC2086
	set -- $dev
	in_ns "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null 2>&1
done
in_ns "$R" "$BIN/holdfast" attach rp --mode xdp --name "$R" >/dev/null || fail N2_attach_alone_xdp "attach failed"
in_ns "$S" "$BIN/holdfast" attach s0 --mode xdp --name "$S" >/dev/null || fail N2_attach_alone_xdp "attach failed"
up "$A" >/dev/null || { fail N4_anchor_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$M" >/dev/null || { fail N4_mobile_connects "$(cat "$WORK/$M"/*.log)" && finish; }
if [ "$(value "$A" '[.attached[] | select(.interface!="hf0") | .mode] | unique | join(",")')" = xdp ]; then
	pass N2_xdp_native_attached
else
	fail N2_xdp_native_attached "$(value "$A" .attached)"
fi

transfer() { # NAME URL
	if in_ns "$M" curl -gsS -m 30 -o "$WORK/out" "$2" && cmp -s "$WORK/out" "$WORK/www/big"; then
		pass "$1"
	else
		fail "$1" "$(hf "$A" status | tail -20)"
	fi
}
# packets that went through hf0 of the anchor: those the stack had to carry
through_stack() { ip -n "$A" -s -j link show hf0 | jq '.[0].stats64 | .rx.packets + .tx.packets'; }

transfer N2_tcp_ipv4_forwarded_by_xdp http://10.9.0.10/big
transfer N18_tcp_ipv6_forwarded_by_xdp "http://[fd09::10]/big"
before=$(value "$A" '.counters.encoded + .counters.decoded')
slow=$(through_stack)
transfer N2_tcp_ipv4_forwarded_by_xdp_again http://10.9.0.10/big
fast=$(($(value "$A" '.counters.encoded + .counters.decoded') - before))
slow=$(($(through_stack) - slow))
if [ "$fast" -gt 1000 ] && [ "$slow" -lt $((fast / 50)) ]; then
	pass N2_xdp_carries_the_traffic
	echo "     $fast packets translated, $slow of them by the stack"
else
	fail N2_xdp_carries_the_traffic "$fast translated, $slow by the stack"
fi
in_ns "$M" ping -qc 3 -i 0.1 -W 2 10.9.0.10 >/dev/null && pass N2_icmp_echo_xdp || fail N2_icmp_echo_xdp "no answer"
in_ns "$M" ping -qc 3 -i 0.1 -W 2 fd09::10 >/dev/null && pass N18_icmpv6_echo_xdp || fail N18_icmpv6_echo_xdp "no answer"

wait_for 5 validated w2
rm -f "$WORK/stop"
(stream "$M" udp-client 10.9.0.10 9000 500 "$WORK/stop") >"$WORK/udp.json" &
udp=$!
in_ns "$M" curl -gsS -m 60 --limit-rate 10M -o "$WORK/out" http://10.9.0.10/big &
get=$!
wait_for 5 test -s "$WORK/out"
pause 0.2
hf "$M" switch --to w2 >/dev/null || fail N5_switch_xdp "make before break"
hf "$M" switch --to w1 --break >/dev/null || fail N5_switch_xdp "break before make"
pause 0.2
touch "$WORK/stop"
wait $udp
if wait $get && cmp -s "$WORK/out" "$WORK/www/big"; then pass N5_switch_xdp_tcp; else fail N5_switch_xdp_tcp "bytes differ"; fi
if [ -s "$WORK/udp.json" ] && jq -e '[.up, .down] | all(.sent > 20 and .lost == 0 and .corrupt == 0)' "$WORK/udp.json" >/dev/null; then
	pass N5_switch_xdp_udp_lossless
else
	fail N5_switch_xdp_udp_lossless "$(cat "$WORK/udp.json")"
fi
in_ns "$R" "$BIN/holdfast" detach rp --name "$R" >/dev/null && ! in_ns "$R" ip link show rp | grep -q xdp &&
	[ ! -e "/sys/fs/bpf/holdfast/v1/$R" ] && pass N2_detach_alone || fail N2_detach_alone "something is left"
finish
