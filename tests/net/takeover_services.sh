#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Three services, each a process of its own, whose connections are one bundle: they move together or
# not at all (T5), only to a node that has all three (T6), and pass nothing before all are ready (T3).
# shellcheck source=tests/net/takeover_lib.sh
. "$(dirname "$0")/takeover_lib.sh"

SERVICES=(one two three)
declare -A PID

member() { # ns SERVICE [options]
	local ns=$1 name=$2 i
	shift 2
	for i in 0 1 2; do [ "${SERVICES[$i]}" = "$name" ] && break; done
	HOLDFAST_RUN_DIR=$WORK/$ns nsenter --net="/run/netns/$ns" -- "$APPS/member" -n "$ns" -s "$name" -a :: -p $((9001 + i)) \
		-b "$WORK/bundle" "$@" >>"$WORK/$ns.$name" 2>&1 &
	PID[$ns.$name]=$!
	disown $!
}
kill_member() { slay "${PID[$1.$2]}"; } # ns SERVICE: its port is free afterwards

topology
if [ "${STORE:-direct}" = redis ]; then
	start_redis && write_redis_confs "lease = 2s"
else
	write_confs "lease = 2s"
fi
{ up "$A" && up "$B"; } >/dev/null || { fail T5_nodes_start "$(cat "$WORK"/*/*.log)" && finish; }
for name in "${SERVICES[@]}"; do
	member "$A" "$name"
	member "$B" "$name"
done
wait_for 10 owner || { fail T5_somebody_serves "$(hf "$A" takeover)" && finish; }
for ns in "$A" "$B"; do wait_for 5 is 3 value "$ns" .applications; done
wait_for 5 state_is "$(owner)" serving

# One connection to each, a request every 5 ms; each answer is compared. Of each the number goes to a file.
in_ns "$C" python3 - "$WORK" "$VIP" "$VIP6" >"$WORK/client" 2>&1 <<-'END' &
	import os, select, socket, sys, time
	work, names = sys.argv[1], ["one", "two", "three"]
	s = []
	for i, (name, host) in enumerate(zip(names, [sys.argv[2], sys.argv[3], sys.argv[2]])):
	    s.append(socket.create_connection((host, 9001 + i), timeout=30))
	    s[i].sendall(b"request\n")
	    assert s[i].recv(32, socket.MSG_WAITALL) == b"%-22s%9d\n" % (name.encode(), 0), name
	    s[i].setblocking(False)
	asked, got, rest = [1] * 3, [1] * 3, [b""] * 3
	while not os.path.exists(work + "/stop") or got != asked:
	    for i in range(3):
	        if asked[i] - got[i] < 50 and not os.path.exists(work + "/stop"):
	            s[i].sendall(b"request\n")
	            asked[i] += 1
	    for c in select.select(s, [], [], 0.005)[0]:
	        i = s.index(c)
	        data = c.recv(4096)
	        assert data, "the connection of %s ended" % names[i]
	        rest[i] += data
	        while len(rest[i]) >= 32:
	            want = b"%-22s%9d\n" % (names[i].encode(), got[i])
	            assert rest[i][:32] == want, (rest[i][:32], want)
	            rest[i], got[i] = rest[i][32:], got[i] + 1
	    with open(work + "/new", "w") as f:
	        print(*got, file=f)
	    os.rename(work + "/new", work + "/progress")
	    time.sleep(0.005)
	print("all right", sum(got))
END
CLIENT=$!
progress() { awk -v n="$1" '{ print $n }' "$WORK/progress"; }
beyond() { # three numbers
	[ "$(progress 1)" -gt "$1" ] && [ "$(progress 2)" -gt "$2" ] && [ "$(progress 3)" -gt "$3" ]
}
# all three have answered at least 20 more than now
go_on() { wait_for 10 beyond $(($(progress 1) + 20)) $(($(progress 2) + 20)) $(($(progress 3) + 20)); }
report() { cat "$WORK/client" "$WORK"/*.one "$WORK"/*.two "$WORK"/*.three && hf "$A" takeover && hf "$B" takeover && hf "$(owner)" takeover connections; }

wait_for 10 test -s "$WORK/progress" && go_on && pass T5_three_services_answer || { fail T5_three_services_answer "$(report)" && finish; }
[ "$(hf "$(owner)" takeover connections --json | jq -r '.connections[].bundle' | sort -u | grep -cv null)" = 1 ] &&
	hf "$(owner)" takeover connections | grep -q "BUNDLE" && pass T5_one_bundle || fail T5_one_bundle "$(report)"

# ---- one of three dies: all move ----
at=$(owner)
kill_member "$at" two
wait_for 5 state_is "$(other "$at")" serving && go_on && pass T5_one_dies_and_all_move || fail T5_one_dies_and_all_move "$(report)"

# ---- back is no node that lacks one: the group stays, and moves when it has all ----
now=$(other "$at")
kill_member "$now" three
wait_for 2 grep -q "clients wait for the first" "$WORK/$now/$now.log" && [ "$(owner)" = "$now" ] && pass T6_not_where_one_is_missing ||
	fail T6_not_where_one_is_missing "$(report)"
member "$at" two
wait_for 5 state_is "$at" serving && go_on && pass T6_moves_when_all_are_there || fail T6_moves_when_all_are_there "$(report)"

# ---- one withholds its word: nothing passes of any ----
kill_member "$now" one
wait_for 5 is 1 value "$now" .applications
member "$now" one -w "$WORK/word"
member "$now" three
wait_for 5 is 3 value "$now" .applications
before=$(grep -c . "$WORK/$now.three")
kill_member "$at" three
wait_for 5 eval "[ \$(grep -c . '$WORK/$now.three') -gt $before ]"
wait_for 5 eval "hf '$now' takeover connections --json | jq -e '[.connections[].state] == [\"unready\", \"unready\", \"unready\"]'"
still=$(cat "$WORK/progress")
! wait_for 1 eval "[ '$still' != \"\$(cat '$WORK/progress')\" ]" && pass T3_nothing_before_all_are_ready ||
	fail T3_nothing_before_all_are_ready "$still, then $(cat "$WORK/progress")"
touch "$WORK/word"
go_on && pass T3_all_at_once_when_they_are || fail T3_all_at_once_when_they_are "$(report)"
touch "$WORK/stop"
wait "$CLIENT" && grep -q "all right" "$WORK/client" && pass T5_each_answer_is_right || fail T5_each_answer_is_right "$(report)"
[ "$(resets)" = 0 ] && pass T3_client_sees_no_reset || fail T3_client_sees_no_reset "$(in_ns "$C" nstat -as)"
finish
