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
	nsenter --net="/run/netns/$C" -- "${PYTHON:-/usr/bin/python3}" "$HERE/takeover_bundle.py" "$WORK/$1" "$2" 554 "${@:3}" \
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
# Only what is done here moves anything: a busy machine must not
if [ "${STORE:-direct}" = redis ]; then
	start_redis && write_redis_confs "lease = 2s"
else
	write_confs "lease = 2s"
fi
sed -i '/^group/a max-connections = 16' "$WORK/$B.conf"
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
is_over() { # NAME: nothing of its sessions is recorded any more
	! hf "$(owner)" takeover connections --json | grep -qFf "$WORK/$1/sessions"
}
good() { # NAME BACK: ends it, looks at its report
	stop "$1"
	wait_for 5 is_over "$1" || fail "T5_${1}_is_over" "$(connections "$(owner)")"
	echo "     $1: $(cat "$WORK/$1/report")"
	if [ "$(of "$1" '.error == null and .wrong == 0 and .missing == 0')" = true ] &&
		[ "$(of "$1" .back)" -le "$2" ]; then
		pass "T5_${1}_every_packet_is_right"
	else
		fail "T5_${1}_every_packet_is_right" "$(cat "$WORK/$1/errors")"
	fi
}
for name in "${KINDS[@]}"; do
	good "$name" "$([ "${name%[46]}" = tcp ] && echo 0 || echo $EVERY)"
done

# ---- until the last protocol is ready ------------------------------------------

watch() { # what of the addresses that move reaches the client, with the time of day
	nsenter --net="/run/netns/$C" -- tcpdump -i c0 -nn -tt -l "(src host $VIP or src host $VIP6) and (tcp or udp)" \
		>"$WORK/seen" 2>"$WORK/watch" &
	WATCH=$!
	disown $WATCH
	wait_for 10 grep -q listening "$WORK/watch"
}
all_are() { # ns COUNT STATE
	is "$2 $3" states "$1"
}

at=$(owner)
late=$(other "$at")
kill -9 "${SERVER[$late]}"
wait_for 5 is 0 value "$late" .applications
: >"$WORK/$late.streamd"
back "$late" -w 300 || fail T3_standby_comes_back "$(hf "$at" takeover)"
play wtcp4 $VIP tcp
play wudp6 $VIP6 udp
play wgroup4 $VIP 239.5.0.2
for name in wtcp4 wudp6 wgroup4; do
	wait_for 10 plays $name 100 || fail "T3_${name}_plays" "$(cat "$WORK/$name/errors" "$WORK/$name/report")"
done
watch
kill -9 "${SERVER[$at]}"
if wait_for 5 all_are "$late" 6 unready; then
	pass T4_each_protocol_is_waited_for
else
	fail T4_each_protocol_is_waited_for "$(states "$late")"
fi
for name in wtcp4 wudp6 wgroup4; do
	goes_on $name || fail "T3_${name}_goes_on" "$(connections "$late")"
done
kill "$WATCH"
read -r HERE_AT READY_AT < <(awk '/is ready/ { print t, $2; exit } /is here/ { t = $2 }' "$WORK/$late.streamd")
SEEN=$(awk -v a="$HERE_AT" -v b="$READY_AT" '$1 > a && $1 < b' "$WORK/seen")
AFTER=$(awk -v b="$READY_AT" '$1 > b' "$WORK/seen" | wc -l)
WITHHELD=$(awk -v a="$HERE_AT" -v b="$READY_AT" 'BEGIN { printf "%d", 1000 * (b - a) }')
echo "     one of two protocols withheld its word for $WITHHELD ms: $(printf %s "$SEEN" | grep -c .) packets reached the client, $AFTER after it"
if [ "$WITHHELD" -ge 280 ] && [ -z "$SEEN" ] && [ "$AFTER" -gt 100 ]; then
	pass T3_nothing_passes_until_the_last_protocol_is_ready
else
	fail T3_nothing_passes_until_the_last_protocol_is_ready "$SEEN"
fi
back "$at"
for name in wtcp4 wudp6 wgroup4; do
	good $name $EVERY
done

# ---- whole or not at all -------------------------------------------------------

bundle_of() { # ns NAME: states of its session, one a line
	hf "$1" takeover connections --json |
		jq -r --arg b "$(cat "$WORK/$2/sessions")" '.connections[] | select(.bundle == $b) | .state'
}
only() { # STATE NUMBER: every line of the input, so many lines
	awk -v s="$1" -v n="$2" '$0 != s { bad = 1 } END { exit bad || NR != n }'
}
stays() { # NAME TEST COMMAND...: it holds for a second, and nothing reaches that client
	local name=$1 test=$2 i before
	shift 2
	before=$(progress "$name")
	for ((i = 0; i < 20; i++)); do
		"$@" || { fail "$test" "$(connections "$at")" && return 1; }
		pause 0.05
	done
	[ "$(progress "$name")" = "$before" ] || { fail "$test" "the client got something" && return 1; }
}

# Another process has the UDP port on the standby.
play pudp4 $VIP udp
play ptcp4 $VIP tcp
wait_for 10 plays pudp4 100 && wait_for 10 plays ptcp4 100 || fail T5_plays "$(cat "$WORK"/p*/report)"
gone=$(owner)
at=$(other "$gone")
PORT=$(hf "$gone" takeover connections --json | jq -r '.connections[] | select(.protocol == "udp") | .local' | sed 's/.*://')
nsenter --net="/run/netns/$at" -- "${PYTHON:-/usr/bin/python3}" -c "import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', $PORT))
print('bound', flush=True)
time.sleep(600)" >"$WORK/thief" 2>&1 &
THIEF=$!
disown $THIEF
wait_for 5 grep -q bound "$WORK/thief" || fail T5_port_is_taken "$(cat "$WORK/thief")"
waits() { bundle_of "$at" pudp4 | only waiting 2; }
kill -9 "${SERVER[$gone]}"
wait_for 10 waits || fail T5_bundle_waits_whole "$(connections "$at")"
goes_on ptcp4 || fail T5_another_bundle_goes_on "$(connections "$at")"
if stays pudp4 T5_bundle_waits_whole waits; then
	pass T5_bundle_waits_whole
	echo "     $(grep 'waits' "$WORK/$at"/*.log | tail -n 1)"
	hf "$at" takeover connections | sed 's/^/     /'
fi
kill -9 "$THIEF"
goes_on pudp4 && pass T5_bundle_goes_on_when_it_can || fail T5_bundle_goes_on_when_it_can "$(connections "$at")"
back "$gone"

# The standby's application has no descriptor left for the second member.
gone=$(owner)
at=$(other "$gone")
good pudp4 $EVERY
room=0 # the lowest number that is free
while [ -e "/proc/${SERVER[$at]}/fd/$room" ]; do room=$((room + 1)); done
prlimit --pid "${SERVER[$at]}" --nofile=$((room + 1)):1024
nobody_serves() { ! bundle_of "$at" ptcp4 | grep -qx serving; }
kill -9 "${SERVER[$gone]}"
wait_for 10 grep -q 'does not take' "$WORK/$at"/*.log || fail T5_bundle_is_taken_back "$(connections "$at")"
if stays ptcp4 T5_bundle_is_taken_back nobody_serves; then
	pass T5_bundle_is_taken_back
	echo "     $(grep 'does not take' "$WORK/$at"/*.log | tail -n 1)"
fi
prlimit --pid "${SERVER[$at]}" --nofile=1024:1024
goes_on ptcp4 && pass T5_bundle_goes_on_with_room || fail T5_bundle_goes_on_with_room "$(connections "$at")"
back "$gone"
good ptcp4 0

# The standby has slots for a part only: 17 TCP connections, one bundle of two does not fit.
serving_at() { # ns: so that node A, which has the slots, serves
	[ "$(owner)" = "$1" ] && return
	drain "$(owner)"
	wait_for 10 state_is "$1" serving
}
sizes() { # ns: members of each bundle
	hf "$1" takeover connections --json |
		jq -r '[.connections[] | select(.state == "serving")] | group_by(.bundle)[] | "\(.[0].bundle) \(length)"'
}
serving_at "$A" || fail T5_node_with_slots_serves "$(hf "$A" takeover)"
play sudp4 $VIP udp
play stcp4 $VIP tcp 8
wait_for 10 plays sudp4 100 && wait_for 10 plays stcp4 100 || fail T5_plays "$(cat "$WORK"/s*/report)"
kill -9 "${SERVER[$A]}"
sizes_are() { [ "$(sizes "$B" | wc -l)" = 8 ] && ! sizes "$B" | grep -qv ' 2$'; }
if wait_for 10 sizes_are; then
	pass T5_bundle_without_room_stays_whole
	echo "     $(value "$B" '"\(.connections) of 18 connections went on, \(.last_takeover.lost) did not"'); $(grep 'cannot go on' "$WORK/$B"/*.log | tail -n 1)"
else
	fail T5_bundle_without_room_stays_whole "$(sizes "$B")"
fi
back "$A"
serving_at "$A" || fail T5_node_with_slots_serves "$(hf "$A" takeover)"
goes_on stcp4 && goes_on sudp4 || fail T5_bundle_goes_on_where_there_is_room "$(sizes "$A")"
good stcp4 0
good sudp4 $EVERY

[ "$(resets)" = 0 ] && pass T3_client_sees_no_reset || fail T3_client_sees_no_reset "$(in_ns "$C" nstat -as)"
wait_for 5 is 0 value "$(owner)" .connections && pass T5_nothing_is_left_of_ended_sessions ||
	fail T5_nothing_is_left_of_ended_sessions "$(connections "$(owner)")"
finish
