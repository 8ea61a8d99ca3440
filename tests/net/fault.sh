#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Faults: links cut at random times, daemons killed, the anchor's host rebooted, a flood of flows.
# Every byte is compared. CUTS=n changes the number of cuts (200).
CUTS=${CUTS:-200}
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

FLOWS=4096

start_anchor() {
	in_ns "$A" "$BIN/holdfast" up -v --run-dir "$WORK/$A" "$WORK/$A.conf" >/dev/null
}

mirror_start() { # N: so many TCP connections that carry known content both ways
	local i
	rm -f "$WORK"/mirror.*
	for ((i = 0; i < $1; i++)); do
		(stream "$M" tcp-mirror 10.9.0.10 7 "$WORK/mirror.stop") >"$WORK/mirror.$i" &
		MIRRORS[i]=$!
	done
}
mirror_end() { # NAME
	touch "$WORK/mirror.stop"
	wait "${MIRRORS[@]}"
	if [ "$(cat "$WORK"/mirror.[0-9]* | jq -s 'length > 0 and all(.ok)')" = true ]; then
		pass "$1"
		echo "     $(cat "$WORK"/mirror.[0-9]* | jq -s -c '{connections: length, bytes: (map(.bytes) | add)}')"
	else
		fail "$1" "$(cat "$WORK"/mirror.[0-9]*)"
	fi
}

topology
write_conf "10.3.0.2" "" "max-flows = $FLOWS"
serve "$S" tcp-echo 10.9.0.10 7
serve "$S" udp-server 10.9.0.10 9000
start_anchor || { fail N4_anchor_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$M" >/dev/null || { fail N4_mobile_connects "$(cat "$WORK/$M"/*.log)" && finish; }
wait_for 5 validated w2

# ---- N6 M3: cuts at random times, silent or with the link going down ----
random_cuts() {
	local i cur other side way
	mirror_start 4
	wait_for 10 test "$(value "$M" '.assocs[0].flows')" -ge 4
	for ((i = 0; i < CUTS; i++)); do
		cur=$(current_if)
		[ "$cur" = w1 ] && other=w2 side=a1 || other=w1 side=a2
		pause "0.$((RANDOM % 3))$((RANDOM % 10))"
		way=$((RANDOM % 2))
		if [ $way = 0 ]; then cut $side; else ip -n "$R" link set $side down; fi
		if ! wait_for 15 is "$other" current_if; then
			fail N6_M3_random_cuts "cut $i of $cur ($way): not on $other after 15 s: $(hf "$M" assocs)"
			return
		fi
		if [ $way = 0 ]; then heal $side; else ip -n "$R" link set $side up; fi
		# the next cut takes the other one away: this one must work by then, as for any redundancy
		if ! wait_for 15 usable "$cur"; then
			fail N6_M3_random_cuts "cut $i: $cur did not come back: $(hf "$M" paths)"
			return
		fi
		if [ $((i % 50)) = 49 ]; then echo "     $((i + 1)) cuts"; fi
	done
	wait_for 10 settled
	mirror_end N6_M3_random_cuts_every_byte_equal
}
usable() { value "$M" ".assocs[0].paths[] | select(.interface==\"$1\") | \"\(.health) \(.validated)\"" | grep -q "alive true"; }
random_cuts
# the router's side lost its neighbour entries and nothing else: as it was
ip -n "$M" route replace default via 10.1.0.1 dev w1 metric 100
ip -n "$M" route replace default via 10.2.0.1 dev w2 metric 200

# ---- kill -9 of either daemon: no packet lost, no flow lost ----
pid_of() { value "$1" .pid; }
kill_during() { # NAME NS
	local name=$1 ns=$2 udp
	rm -f "$WORK/stop"
	mirror_start 2
	(stream "$M" udp-client 10.9.0.10 9000 1000 "$WORK/stop") >"$WORK/udp.json" &
	udp=$!
	pause 0.3
	kill -9 "$(pid_of "$ns")"
	pause 1
	in_ns "$ns" "$BIN/holdfast" up -v --run-dir "$WORK/$ns" "$WORK/$ns.conf" >/dev/null ||
		fail "$name" "does not start again: $(tail -5 "$WORK/$ns"/*.log)"
	pause 0.5
	touch "$WORK/stop"
	wait $udp
	if [ -s "$WORK/udp.json" ] && jq -e '[.up, .down] | all(.sent > 500 and .lost == 0 and .corrupt == 0)' "$WORK/udp.json" >/dev/null; then
		pass "${name}_no_datagram_lost"
	else
		fail "${name}_no_datagram_lost" "$(cat "$WORK/udp.json")"
	fi
	mirror_end "${name}_tcp"
	# and the association is a whole one again
	if wait_for 25 is true value "$M" '.assocs[0].connected' && wait_for 25 is true value "$A" '.assocs[0].connected' &&
		wait_for 5 usable w1 && wait_for 5 usable w2 && hf "$M" switch >/dev/null; then
		pass "${name}_switch_afterwards"
	else
		fail "${name}_switch_afterwards" "$(hf "$M" assocs; hf "$A" assocs)"
	fi
}
kill_during N4_mobile_killed "$M"
kill_during N4_anchor_killed "$A"

# ---- the anchor's host reboots: it forgets everything; the mobile announces its flows again ----
rm -f "$WORK/hold.stop"
(stream "$M" tcp-hold 10.9.0.10 7 200 "$WORK/hold.ready" "$WORK/hold.stop") >"$WORK/hold.json" &
hold=$!
wait_for 20 test -e "$WORK/hold.ready"
mirror_start 2
pause 0.3
ip -n "$A" link set p0 down
slay "$(pid_of "$A")"
in_ns "$A" "$BIN/holdfast" detach --all --name "$A" >/dev/null || fail N4_anchor_reboots "detach failed"
ip -n "$A" link del hf0
rm -rf "${WORK:?}/$A"
start_anchor || fail N4_anchor_reboots "does not start: $(cat "$WORK/$A"/*.log)"
ip -n "$A" link set p0 up
ip -n "$A" addr add fd03::2/64 dev p0 nodad 2>/dev/null
ip -n "$A" route replace default via 10.3.0.1
wait_for 20 is true value "$A" '.assocs[0].connected' || fail N4_anchor_reboots "the mobile did not connect anew: $(hf "$M" assocs)"
pause 0.3
mirror_end N4_anchor_reboots_tcp_goes_on
touch "$WORK/hold.stop"
wait $hold
if [ "$(cat "$WORK/hold.json")" = '{"ok": 200, "bad": 0}' ]; then
	pass N4_anchor_reboots_idle_connections_announced
else
	fail N4_anchor_reboots_idle_connections_announced "$(cat "$WORK/hold.json")"
fi

# ---- a full map refuses, counts and reports; live flows go on ----
rm -f "$WORK/hold.stop" "$WORK/hold.ready"
(stream "$M" tcp-hold 10.9.0.10 7 1000 "$WORK/hold.ready" "$WORK/hold.stop") >"$WORK/hold.json" &
hold=$!
wait_for 30 test -e "$WORK/hold.ready" || fail N2_full_map "1000 connections could not be opened"
stream "$M" udp-flood 10.9.0.10 9000 20000 >/dev/null &
wait $!
full=$(value "$A" '.counters.flows_full + .counters.assoc_flows_full')
live=$(value "$A" '.assocs[0].flows')
touch "$WORK/hold.stop"
wait $hold
if [ "$full" -gt 1000 ] && [ "$live" -le $FLOWS ] && [ "$(cat "$WORK/hold.json")" = '{"ok": 1000, "bad": 0}' ]; then
	pass N2_full_map_refuses_and_live_flows_go_on
	grep -q "refused: the flow map is full\|refused: the association is at its limit" "$WORK/$A"/*.log "$WORK/$M"/*.log &&
		pass N2_full_map_is_reported || fail N2_full_map_is_reported "no word in the log"
	echo "     $full refused, $live flows live, 1000 connections unharmed"
else
	fail N2_full_map_refuses_and_live_flows_go_on "refused $full, live $live, $(cat "$WORK/hold.json")"
fi
finish
