#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Both ends change at once: a mobile that switches its uplink downloads, through an anchor, from an
# address that moves from a dying server to another. One TCP connection.
#
#   mobile ─ w1 10.1.0.2 ─┐
#          ─ w2 10.2.0.2 ─┴─ anchor (namespace c) ─ c0 10.5.0.9 ─ bridge ─ nodes A, B
# shellcheck source=tests/net/takeover_lib.sh
. "$(dirname "$0")/takeover_lib.sh"

M=$RUN-m
more_cleanup() {
	local ns
	for ns in "$M" "$C"; do
		[ -S "$WORK/$ns/$ns.sock" ] && in_ns "$ns" "$BIN/holdfast" down --run-dir "$WORK/$ns" >/dev/null 2>&1
		in_ns "$ns" "$BIN/holdfast" detach --all --name "$ns" >/dev/null 2>&1
	done
	ip netns pids "$M" 2>/dev/null | xargs -r kill -9 2>/dev/null
	ip netns del "$M" 2>/dev/null
	cleanup
}
trap more_cleanup EXIT

mobile_side() {
	local i
	ip netns add "$M"
	ip -n "$M" link set lo up
	for i in 1 2; do
		ip -n "$M" link add "w$i" type veth peer name "a$i" netns "$C"
		ip -n "$M" link set "w$i" up
		ip -n "$C" link set "a$i" up
		addr "$M" "w$i" "10.$i.0.2/24"
		addr "$C" "a$i" "10.$i.0.1/24"
		ip -n "$M" route add default via "10.$i.0.1" dev "w$i" metric "${i}00"
	done
	in_ns "$C" sysctl -qw net.ipv4.ip_forward=1
	ip -n "$A" route add 10.77.0.0/24 via 10.5.0.9
	ip -n "$B" route add 10.77.0.0/24 via 10.5.0.9
	umask 077
	"$BIN/holdfast" genkey "$WORK/mobile.key"
	cat >"$WORK/$C.conf" <<-END
		[holdfast]
		role = anchor
		points = 10.1.0.1, 10.2.0.1
		pool = 10.77.0.0/24
		interfaces = c0
		mode = tc
		[mobile laptop]
		key = $WORK/mobile.key
		[service web]
		server = $VIP:80
		emulator = 20080
	END
	cat >"$WORK/$M.conf" <<-END
		[holdfast]
		role = mobile
		id = laptop
		[anchor home]
		key = $WORK/mobile.key
		points = 10.1.0.1, 10.2.0.1
		[uplink w1]
		cost = 10
		[uplink w2]
		cost = 20
	END
	umask 022
	up "$C" >/dev/null && up "$M" >/dev/null
}

topology
write_confs
content big 300000000
SUM=$(sha256sum <"$WORK/root/big")
if ! { up "$A" && up "$B" && serve "$A" && serve "$B" && mobile_side; } >/dev/null; then
	fail T2_N6_everything_starts "$(cat "$WORK"/*/*.log)" && finish
fi
wait_for 10 owner || { fail T2_N6_somebody_serves "$(hf "$A" takeover)" && finish; }
wait_for 5 state_is "$(owner)" serving

uplink() { hf "$M" status --json | jq -r '.assocs[0].paths[] | select(.use=="current") | .interface'; }
progress() { [ "$(stat -c %s "$WORK/out" 2>/dev/null || echo 0)" -gt "$1" ]; }
moves() { # N: the other uplink by a planned switch, by a cut; the other server
	local at
	at=$(owner)
	case $1 in
	1 | 3) hf "$M" switch >/dev/null || fail T2_N6_switch "$(hf "$M" assocs)" ;;
	2) ip -n "$C" link set "a$(uplink | tr -d w)" down ;;
	esac
	kill -9 "${SERVER[$at]}"
	wait_for 5 state_is "$(other "$at")" serving
	serve "$at"
	wait_for 5 is 1 value "$at" .applications
	wait_for 5 state_is "$(other "$at")" serving
	[ "$1" = 2 ] && { ip -n "$C" link set a1 up && ip -n "$C" link set a2 up; }
}

in_ns "$M" curl -sS --max-time 90 --limit-rate 40M -o "$WORK/out" "http://$VIP/big" 2>"$WORK/out.err" &
CURL=$!
for i in 1 2 3; do
	wait_for 20 progress $((i * 60000000)) || fail T2_N6_progress "step $i: $(cat "$WORK/out.err")"
	moves "$i"
done
if wait "$CURL" && [ "$(sha256sum <"$WORK/out")" = "$SUM" ]; then
	pass T2_N6_roaming_client_and_dying_servers
	echo "     $(value "$(owner)" '{takeovers, restored, lost}' | tr -d '\n')"
else
	fail T2_N6_roaming_client_and_dying_servers "$(cat "$WORK/out.err"), $(stat -c %s "$WORK/out") bytes"
fi
finish
