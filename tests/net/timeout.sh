#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# REFUSED, inactivity, and the switch timeout on both sides with its clean-up (N4, N9).
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

log_says() { grep -q "$2" "$WORK/$1/$1.log"; }
entries() { bpftool -j map dump pinned "/sys/fs/bpf/holdfast/v1/$A/maps/$1" | jq length; }
mute() { # sealed datagrams between the two vanish, probes and data do not
	in_ns "$R" nft -f - <<-END
		table inet mute {
			chain c {
				type filter hook forward priority 0; policy accept;
				udp dport 4690 udp length 112 drop
			}
		}
	END
}
unmute() { in_ns "$R" nft delete table inet mute; }

topology
write_conf "10.3.0.2" "[timers]
switch = 1500ms
alive = 500ms"
serve "$S" tcp-echo 10.9.0.10 7

# ---- REFUSED: no resources ----
sed 's|^\(\s*\)pool = .*|\1pool = 10.77.0.0/31, fd77::/64|' "$WORK/$A.conf" >"$WORK/small.conf"
mkdir -p "$WORK/x"
in_ns "$A" "$BIN/holdfast" up --run-dir "$WORK/x" --name "$A" "$WORK/small.conf" >/dev/null || fail N4_refused "anchor does not start"
in_ns "$M" "$BIN/holdfast" up --timeout 2 --run-dir "$WORK/$M" "$WORK/$M.conf" >"$WORK/refused" 2>&1
if [ $? = 1 ] && grep -q "refused: the anchor has no inner address left" "$WORK/refused"; then
	pass N4_refused_without_resources
else
	fail N4_refused_without_resources "$(cat "$WORK/refused")"
fi
hf "$M" down >/dev/null
in_ns "$A" "$BIN/holdfast" down --run-dir "$WORK/x" >/dev/null

# ---- N9 at the mobile: nothing it says is answered ----
sed -i 's/^\[mobile laptop\]/[timers]\ninactivity = 4s\nswitch = 60s\n&/;s/^\s*\[mobile laptop\]/[timers]\ninactivity = 4s\nswitch = 60s\n&/' "$WORK/$A.conf"
up "$A" >/dev/null || { fail N4_anchor_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$M" >/dev/null || { fail N4_mobile_connects "$(cat "$WORK/$M"/*.log)" && finish; }
wait_for 5 validated w2
(stream "$M" tcp-hold 10.9.0.10 7 20 "$WORK/ready" "$WORK/stop") >"$WORK/hold.json" &
hold=$!
wait_for 10 test -e "$WORK/ready"
mute
hf "$M" switch --wait 0 --to w2 || fail N9_mobile_times_out "switch refused"
wait_for 10 log_says "$M" "expire: step1-sent -> unexpected-sent" || fail N9_mobile_times_out_planned "$(tail -5 "$WORK/$M"/*.log)"
pass N9_mobile_planned_times_out_to_unexpected
# CONNECT runs over TCP and is not muted: it leads out before or after the second timeout
if wait_for 20 is w1 current_if && wait_for 20 is connected value "$M" '.assocs[0].state'; then
	pass N9_mobile_connects_anew
else
	fail N9_mobile_connects_anew "$(hf "$M" assocs; tail -5 "$WORK/$M"/*.log)"
fi
unmute
wait_for 10 settled

# ---- N9 at the mobile: the anchor is not there at all, and comes back ----
pid=$(value "$A" .pid)
kill -STOP "$pid"
cut a1
cut a2
hf "$M" switch --wait 0 --to w2 >/dev/null 2>&1
if wait_for 20 log_says "$M" "the switch failed"; then
	pass N9_mobile_unexpected_times_out
else
	fail N9_mobile_unexpected_times_out "$(tail -5 "$WORK/$M"/*.log)"
fi
kill -CONT "$pid"
heal a1
heal a2
wait_for 30 is connected value "$M" '.assocs[0].state' && wait_for 10 settled || fail N9_mobile_recovers "$(hf "$M" assocs)"
touch "$WORK/stop"
wait $hold
if [ "$(cat "$WORK/hold.json")" = '{"ok": 20, "bad": 0}' ]; then
	pass N9_connections_survive_both_timeouts
else
	fail N9_connections_survive_both_timeouts "$(cat "$WORK/hold.json")"
fi

# ---- N4: inactivity frees everything at the anchor ----
slay "$(value "$M" .pid)"
in_ns "$M" "$BIN/holdfast" detach --all --name "$M" >/dev/null
ip -n "$M" link del hf0
rm -rf "${WORK:?}/$M"
# the flows go after the association, in a pass of their own
if wait_for 20 is 0 value "$A" '.assocs | length' && log_says "$A" "inactivity" &&
	wait_for 2 is 0 entries flows &&
	[ "$(entries peers)" = 0 ] && [ "$(entries hosts)" = 0 ]; then
	pass N4_inactivity_frees_everything
else
	fail N4_inactivity_frees_everything "$(hf "$A" status)"
fi
hf "$A" down >/dev/null

# ---- N9 at the anchor: the mobile begins a switch and is never heard of again ----
sed -i 's/^switch = 60s/switch = 1500ms/;s/^inactivity = 4s/inactivity = 1h/' "$WORK/$A.conf"
sed -i 's/^switch = 1500ms/switch = 20s/' "$WORK/$M.conf"
rm -f "$WORK/ready" "$WORK/stop"
up "$A" >/dev/null || fail N9_anchor_times_out "$(cat "$WORK/$A"/*.log)"
up "$M" >/dev/null || fail N9_anchor_times_out "$(cat "$WORK/$M"/*.log)"
wait_for 5 validated w2
(stream "$M" tcp-hold 10.9.0.10 7 20 "$WORK/ready" "$WORK/stop") >"$WORK/hold.json" &
hold=$!
wait_for 10 test -e "$WORK/ready"
# STEP1 arrives, every answer is lost
in_ns "$R" nft -f - <<-END
	table inet mute {
		chain c {
			type filter hook forward priority 0; policy accept;
			iifname rp udp dport 4690 udp length 112 drop
		}
	}
END
hf "$M" switch --wait 0 --break --to w2
if wait_for 10 log_says "$A" "gone for longer than the switch timeout" && wait_for 5 is 0 value "$A" '.assocs | length'; then
	pass N9_anchor_times_out_and_frees_everything
else
	fail N9_anchor_times_out_and_frees_everything "$(tail -5 "$WORK/$A"/*.log)"
fi
unmute
wait_for 40 is connected value "$M" '.assocs[0].state' && wait_for 10 settled || fail N9_mobile_comes_back "$(hf "$M" assocs)"
touch "$WORK/stop"
wait $hold
if [ "$(cat "$WORK/hold.json")" = '{"ok": 20, "bad": 0}' ]; then
	pass N9_connections_go_on_after_the_anchor_gave_up
else
	fail N9_connections_go_on_after_the_anchor_gave_up "$(cat "$WORK/hold.json")"
fi
finish
