#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A server dies, its TCP connections do not: curl through an address that moves.
# shellcheck source=tests/net/takeover_lib.sh
. "$(dirname "$0")/takeover_lib.sh"

topology
if [ "${STORE:-direct}" = redis ]; then
	start_redis && write_redis_confs
else
	write_confs
fi
content big 400000000
SUM=$(sha256sum <"$WORK/root/big")
up "$A" >/dev/null || { fail T1_first_node_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$B" >/dev/null || { fail T1_second_node_starts "$(cat "$WORK/$B"/*.log)" && finish; }
serve "$A"
serve "$B"
wait_for 10 owner || { fail T6_somebody_serves "$(hf "$A" takeover)$(hf "$B" takeover)" && finish; }
wait_for 5 state_is "$(owner)" serving || fail T7_standby_is_synced "$(hf "$(owner)" takeover)"

got() { # FILE URL: in the background
	in_ns "$C" curl -sS --max-time 60 --limit-rate 40M -o "$WORK/$1" "$2" 2>"$WORK/$1.err" &
	CURL=$!
}
progress() { [ "$(stat -c %s "$WORK/$1" 2>/dev/null || echo 0)" -gt "$2" ]; }

crash() { # NAME URL
	local at
	at=$(owner)
	rm -f "$WORK/out"
	got out "$2"
	wait_for 10 progress out 20000000 || { fail "$1" "no download: $(cat "$WORK/out.err")" && return; }
	kill -9 "${SERVER[$at]}"
	wait_for 5 state_is "$(other "$at")" serving || wait_for 5 state_is "$(other "$at")" alone ||
		fail "$1" "nobody took over: $(hf "$(other "$at")" takeover)"
	if wait "$CURL" && [ "$(sha256sum <"$WORK/out")" = "$SUM" ]; then
		pass "$1"
	else
		fail "$1" "$(cat "$WORK/out.err") $(stat -c %s "$WORK/out") bytes"
	fi
	serve "$at"
	wait_for 5 is 1 value "$at" .applications
	wait_for 5 state_is "$(other "$at")" serving || fail "$1" "the node that came back is not synced"
}

crash T2_download_goes_on_after_kill "http://$VIP/big"
crash T2_download_goes_back_to_the_first_node "http://$VIP/big"
crash T2_download_ipv6 "http://[$VIP6]/big"
[ "$(resets)" = 0 ] && pass T3_client_sees_no_reset || fail T3_client_sees_no_reset "$(in_ns "$C" nstat -as)"
finish
