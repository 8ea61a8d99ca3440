#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Strangers: what they send is counted by reason, answered by silence, and moves nothing.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

stranger() { in_ns "$R" /usr/bin/python3 "$HERE/stranger.py" "$@"; }
counters() { value "$A" .counters >"$WORK/$1"; }
grown() { # KEY: since counters before
	echo $(($(jq ".$1" "$WORK/after") - $(jq ".$1" "$WORK/before")))
}

topology
write_conf "10.3.0.2" "[timers]
alive = 500ms"
start_nginx
content big 5000000
up "$A" >/dev/null || { fail N4_anchor_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$M" >/dev/null || { fail N4_mobile_connects "$(cat "$WORK/$M"/*.log)" && finish; }
wait_for 5 validated w2

# ---- control datagrams ----
before=$(current_local)
epoch=$(value "$A" '.assocs[0].epoch')
counters before
stranger control 10.1.0.2 10.3.0.2 10.3.0.1 a1 rp >"$WORK/control.json" || fail N4_stranger_runs "see above"
counters after
each=$(jq .each "$WORK/control.json")
for reason in ctl_magic ctl_assoc ctl_epoch ctl_replay; do
	if [ "$(grown $reason)" -ge "$each" ]; then
		pass "N4_control_datagram_counted_$reason"
	else
		fail "N4_control_datagram_counted_$reason" "$(grown $reason) of $each"
	fi
done
for reason in ctl_short ctl_forged; do
	if [ "$(grown $reason)" -ge $((2 * each)) ]; then
		pass "N4_control_datagram_counted_$reason"
	else
		fail "N4_control_datagram_counted_$reason" "$(grown $reason) of $((2 * each))"
	fi
done
if [ "$(grown ctl_address)" -ge 1 ]; then
	pass N4_true_datagram_sent_on_from_elsewhere_is_refused
else
	fail N4_true_datagram_sent_on_from_elsewhere_is_refused "$(cat "$WORK/after")"
fi
if [ "$(jq .answers "$WORK/control.json")" = 0 ]; then
	pass N4_stranger_hears_nothing
else
	fail N4_stranger_hears_nothing "$(cat "$WORK/control.json")"
fi
if [ "$(current_local) $(value "$A" '.assocs[0].epoch')" = "$before $epoch" ] &&
	[ "$(value "$A" '.assocs[0].paths[] | select(.use=="current") | .peer')" = 10.1.0.2 ]; then
	pass N4_stranger_moves_nothing
else
	fail N4_stranger_moves_nothing "$(hf "$A" paths)"
fi

# ---- data packets ----
in_ns "$S" timeout 60 tcpdump -Ulni s0 -w "$WORK/server.pcap" 'tcp or udp' 2>"$WORK/tcpdump.err" &
dump=$!
wait_for 5 grep -q listening "$WORK/tcpdump.err"
for from in "10.3.0.1 peer_unknown stranger" "10.2.0.2 peer_not_current standby_point"; do
	# shellcheck disable=SC2086
	set -- $from
	counters before
	stranger data "$1" 10.3.0.2 tcp 20080 rp >"$WORK/data.json"
	stranger data "$1" 10.3.0.2 udp 29000 rp >"$WORK/data2.json"
	counters after
	if [ "$(grown "$2")" -ge 20 ] && [ "$(jq .answers "$WORK/data.json")$(jq .answers "$WORK/data2.json")" = 00 ]; then
		pass "N4_data_from_${3}_is_dropped_and_counted"
	else
		fail "N4_data_from_${3}_is_dropped_and_counted" "$2 grew by $(grown "$2"), $(cat "$WORK/data.json" "$WORK/data2.json")"
	fi
done
# ---- inner addresses as they are ----
inner=$(value "$M" '.assocs[0].inner4')
ip -n "$R" route add 10.9.0.0/24 via 10.3.0.2
counters before
stranger forged "$inner" 10.9.0.10 80 >"$WORK/forged.json"
counters after
if [ "$(grown peer_unknown)" -ge 20 ]; then
	pass N4_forged_inner_source_is_dropped_at_the_anchor
else
	fail N4_forged_inner_source_is_dropped_at_the_anchor "$(cat "$WORK/after")"
fi
ip -n "$R" route add "$inner" via 10.1.0.2
in_ns "$M" /usr/bin/python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('$inner', 7777)); s.settimeout(60)
open('$WORK/listening', 'w').close()
heard = s.recv(100)
open('$WORK/heard', 'w').write(repr(heard))" &
listener=$!
wait_for 5 test -e "$WORK/listening"
unknown=$(value "$M" .counters.peer_unknown)
stranger forged 10.9.0.10 "$inner" 7777 >"$WORK/forged.json"
all_counted() { [ "$(($(value "$M" .counters.peer_unknown) - unknown))" -ge 20 ]; }
if wait_for 5 all_counted && [ ! -e "$WORK/heard" ]; then
	pass N4_forged_inner_destination_is_dropped_at_the_mobile
else
	fail N4_forged_inner_destination_is_dropped_at_the_mobile "was $unknown, is $(value "$M" .counters.peer_unknown), heard $(cat "$WORK/heard" 2>/dev/null), $(ip -n "$R" route get "$inner"), $(cat "$WORK/forged.json")"
fi
kill $listener
wait $listener 2>/dev/null
kill $dump
wait $dump 2>/dev/null
if [ "$(tcpdump -nr "$WORK/server.pcap" 2>/dev/null | wc -l)" = 0 ]; then
	pass N4_no_data_of_strangers_reaches_the_server
else
	fail N4_no_data_of_strangers_reaches_the_server "$(tcpdump -nr "$WORK/server.pcap" 2>/dev/null | head -5)"
fi

# ---- CONNECT: a wrong key, a crowd of silent connections ----
sed "s|^key = .*|key = $WORK/key2|" "$WORK/$M.conf" >"$WORK/other.conf"
"$BIN/holdfast" genkey "$WORK/key2"
hf "$M" down >/dev/null
mkdir -p "$WORK/x"
in_ns "$M" "$BIN/holdfast" up --timeout 2 --run-dir "$WORK/x" "$WORK/other.conf" >"$WORK/wrong" 2>&1
if [ $? = 1 ] && grep -q "not connected" "$WORK/wrong" && [ "$(value "$A" '.assocs | length')" = 0 ]; then
	pass N4_wrong_key_is_refused
else
	fail N4_wrong_key_is_refused "$(cat "$WORK/wrong")"
fi
in_ns "$M" "$BIN/holdfast" down --run-dir "$WORK/x" >/dev/null
mkfifo "$WORK/hold"
(stranger crowd 10.3.0.2 4690 300 <"$WORK/hold" >"$WORK/crowd") &
exec 9>"$WORK/hold"
wait_for 20 grep -q connections "$WORK/crowd"
if up "$M" >/dev/null && in_ns "$M" curl -s -m 10 -o "$WORK/out" http://10.9.0.10/big && cmp -s "$WORK/out" "$WORK/www/big"; then
	pass N4_silent_crowd_does_not_lock_a_mobile_out
else
	fail N4_silent_crowd_does_not_lock_a_mobile_out "$(cat "$WORK/crowd") $(tail -3 "$WORK/$M"/*.log)"
fi
exec 9>&-

# ---- a second mobile's name with the first one's key is nobody ----
sed "s/^id = .*/id = somebody/" "$WORK/$M.conf" >"$WORK/other.conf"
hf "$M" down >/dev/null
in_ns "$M" "$BIN/holdfast" up --timeout 2 --run-dir "$WORK/x" "$WORK/other.conf" >"$WORK/wrong" 2>&1
if [ $? = 1 ] && [ "$(value "$A" '.assocs | length')" = 0 ]; then
	pass N4_unknown_mobile_is_refused
else
	fail N4_unknown_mobile_is_refused "$(cat "$WORK/wrong")"
fi
in_ns "$M" "$BIN/holdfast" down --run-dir "$WORK/x" >/dev/null
finish
