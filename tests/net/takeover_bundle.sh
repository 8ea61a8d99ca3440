#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Connections that belong together move together or not at all (T5), and only when every protocol of
# each is ready (T3, T4): a server in the manner of RTSP, its packets over TCP, UDP and multicast.
# shellcheck source=tests/net/takeover_lib.sh
. "$(dirname "$0")/takeover_lib.sh"

RATE=500 # packets a second
EVERY=50 # UDP packets that may leave before their checkpoint is committed
ROUNDS=${ROUNDS:-6}
KINDS=(tcp4 udp4 group4 tcp6 udp6 group6)

streamd() { # ns [options]
	local ns=$1
	shift
	HOLDFAST_RUN_DIR=$WORK/$ns nsenter --net="/run/netns/$ns" -- \
		"$APPS/streamd" -n "$ns" -a :: -p 554 -f $RATE -k $EVERY "$@" >>"$WORK/$ns.streamd" 2>&1 &
	SERVER[$ns]=$!
	disown $!
}

declare -A CLIENT
play() { # NAME ADDRESS tcp|udp|GROUP [SESSIONS]: in the background; its files are in $WORK/NAME
	mkdir "$WORK/$1"
	in_ns "$C" "${PYTHON:-/usr/bin/python3}" "$HERE/takeover_bundle.py" "$WORK/$1" "$2" 554 "${@:3}" \
		>"$WORK/$1/report" 2>"$WORK/$1/errors" &
	CLIENT[$1]=$!
}
progress() { cat "$WORK/$1/progress" 2>/dev/null || echo 0; }
plays() { # NAME PACKETS
	[ "$(progress "$1")" -ge "$2" ]
}
goes_on() { # NAME: a second's packets more than now
	wait_for 20 plays "$1" $(($(progress "$1") + RATE))
}
stop() { # NAME
	touch "$WORK/$1/stop"
	wait "${CLIENT[$1]}"
	[ -s "$WORK/$1/report" ] || echo '{"error": "no report"}' >"$WORK/$1/report"
}
of() { # NAME jq-expression
	jq -r "$2" <"$WORK/$1/report"
}

served() { wait_for 10 state_is "$1" serving; }
back() { # ns: its server is there again, and the other node synced
	streamd "$@"
	wait_for 5 is 1 value "$1" .applications
	served "$(other "$1")"
}
connections() { hf "$1" takeover connections --json | jq -c ".connections[] | [.peer, .state, .bundle]"; }
states() { # ns: "COUNT STATE" a line
	hf "$1" takeover connections --json | jq -r ".connections[].state" | sort | uniq -c | sed 's/^ *//'
}

topology
if [ "${STORE:-direct}" = redis ]; then
	start_redis && write_redis_confs
else
	write_confs
fi
up "$A" >/dev/null || { fail T5_first_node_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$B" >/dev/null || { fail T5_second_node_starts "$(cat "$WORK/$B"/*.log)" && finish; }
streamd "$A"
streamd "$B"
wait_for 10 owner || { fail T5_somebody_serves "$(hf "$A" takeover)$(hf "$B" takeover)" && finish; }
served "$(owner)" || fail T5_standby_is_synced "$(hf "$(owner)" takeover)"

# ---- forth and back ---------------------------------------------------------

play tcp4 $VIP tcp
play udp4 $VIP udp
play group4 $VIP 239.5.0.1
play tcp6 $VIP6 tcp
play udp6 $VIP6 udp
play group6 $VIP6 ff05::5:1
for name in "${KINDS[@]}"; do
	wait_for 10 plays "$name" 100 || fail "T5_${name}_plays" "$(cat "$WORK/$name/errors" "$WORK/$name/report")"
done
for ((i = 0; i < ROUNDS; i++)); do
	at=$(owner)
	pause "0.$(printf %03d $((RANDOM % 500)))"
	echo "     $at dies at $(cut -d" " -f1 /proc/uptime)"
	kill -9 "${SERVER[$at]}"
	served "$(other "$at")" || wait_for 5 state_is "$(other "$at")" alone
	for name in "${KINDS[@]}"; do
		goes_on "$name" || fail "T5_${name}_goes_on" "after kill $((i + 1)): $(connections "$(other "$at")")"
	done
	back "$at" || fail T5_node_comes_back "$(hf "$at" takeover)"
done
for name in "${KINDS[@]}"; do
	stop "$name"
	echo "     $name, $ROUNDS kills: $(cat "$WORK/$name/report")"
	if [ "$(of "$name" '.error == null and .wrong == 0 and .missing == 0')" = true ] &&
		[ "$(of "$name" .back)" -le "$([ "${name%[46]}" = tcp ] && echo 0 || echo $EVERY)" ]; then
		pass "T5_${name}_goes_on_after_each_kill"
	else
		fail "T5_${name}_goes_on_after_each_kill" "$(cat "$WORK/$name/errors" "$WORK/$name/report")"
	fi
done
[ "$(resets)" = 0 ] && pass T3_client_sees_no_reset || fail T3_client_sees_no_reset "$(in_ns "$C" nstat -as)"
wait_for 5 is 0 value "$(owner)" .connections && pass T5_nothing_is_left_of_ended_sessions ||
	fail T5_nothing_is_left_of_ended_sessions "$(connections "$(owner)")"
finish
