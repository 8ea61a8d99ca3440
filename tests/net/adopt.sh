#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A mobile's daemon that is killed while it has no path, and another one started: what applications
# send from then on is held and reaches the server once there is a path again. (What they send while
# there is no daemon has no reader: a TAP that nobody holds drops it.)
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_sink() {
	(
		exec nsenter --net="/run/netns/$S" -- /usr/bin/python3 -u -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.9.0.10", 9000))
while True:
    print(s.recv(100).decode())' >"$WORK/sink"
	) &
	disown
}
sent() { # FIRST LAST
	in_ns "$M" /usr/bin/python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 30000))
for i in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
    s.sendto(str(i).encode(), ("10.9.0.10", 9000))' "$1" "$2"
}
came() { [ "$(sort -n "$WORK/sink" | uniq | tr '\n' ' ')" = "$(seq 1 "$1" | tr '\n' ' ')" ]; }
lost() { [ "$(value "$M" '.assocs[0].state')" != connected ]; }
# without waiting for it to be connected
again() {
	(in_ns "$M" "$BIN/holdfastd" -v --name "$M" --run-dir "$WORK/$M" "$WORK/$M.conf" 2>>"$WORK/$M/again.log") &
	disown
	wait_for 10 hf "$M" status
}
killed() {
	slay "$(value "$M" .pid)"
}

topology
write_conf 10.3.0.2
start_sink
up "$A" >/dev/null || { fail N4_anchor_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$M" >/dev/null || { fail N4_mobile_connects "$(cat "$WORK/$M"/*.log)" && finish; }
wait_for 5 validated w2
sent 1 10
wait_for 5 came 10 || fail N4_before "$(cat "$WORK/sink")"

# parked when it is killed: the path in use is still there, but dead
cut a1
cut a2
sent 11 11
wait_for 10 lost || fail N4_both_paths_dead "$(hf "$M" assocs)"
killed
again
sent 21 30
heal a1
heal a2
wait_for 20 settled
sent 31 40
if wait_for 5 eval '[ "$(tail -n 1 "$WORK/sink")" = 40 ]' && [ "$(sort -n "$WORK/sink" | uniq | sed -n '/^21$/,$p' | wc -l)" = 20 ]; then
	pass N4_killed_while_parked_nothing_sent_afterwards_is_lost
else
	fail N4_killed_while_parked_nothing_sent_afterwards_is_lost "$(sort -n "$WORK/sink" | uniq | tr '\n' ' ')"
fi

# the address in use goes while no daemon watches
killed
for w in w1 w2; do
	ip -n "$M" addr flush dev $w scope global
	ip -n "$M" link set $w down
done
again
sent 51 60
ip -n "$M" link set w2 up
addr "$M" w2 10.2.0.7/24
ip -n "$M" route replace default via 10.2.0.1 dev w2 metric 200
wait_for 20 settled
sent 61 70
if wait_for 5 eval '[ "$(tail -n 1 "$WORK/sink")" = 70 ]' && [ "$(sort -n "$WORK/sink" | uniq | sed -n '/^51$/,$p' | wc -l)" = 20 ]; then
	pass N4_address_gone_without_daemon_nothing_sent_afterwards_is_lost
else
	fail N4_address_gone_without_daemon_nothing_sent_afterwards_is_lost "$(sort -n "$WORK/sink" | uniq | tr '\n' ' ')"
fi
[ "$(value "$M" '.assocs[0].parked_packets')" = 0 ] && pass N4_nothing_stays_parked || fail N4_nothing_stays_parked "$(hf "$M" assocs)"

# The anchor of the association that is adopted has another name: that one ends, with its flow and
# its services, which are those of the one that begins.
killed
sed -i 's/^\[anchor home\]/[anchor house]/' "$WORK/$M.conf"
again
wait_for 20 settled
sent 71 80
if [ "$(value "$M" '.assocs[0].name')" = house ] && wait_for 5 eval '[ "$(tail -n 1 "$WORK/sink")" = 80 ]'; then
	pass N4_renamed_anchor_has_its_services
else
	fail N4_renamed_anchor_has_its_services "$(hf "$M" assocs; cat "$WORK/$M/again.log")"
fi
finish
