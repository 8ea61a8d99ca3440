#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A connection that its application has ended, with much left in the kernel's buffer, goes to another node, whose kernel
# takes less at a time: should the application die there, too, the client must not see an end before the last byte.
# shellcheck source=tests/net/takeover_lib.sh
. "$(dirname "$0")/takeover_lib.sh"

topology
write_confs
content big 8000000
{ up "$A" && up "$B"; } >/dev/null || { fail T3_nodes_start "$(cat "$WORK"/*/*.log)" && finish; }
for node in "$A" "$B"; do
	in_ns "$node" sysctl -qw net.ipv4.tcp_wmem="4096 16000000 32000000"
	serve "$node"
done
wait_for 10 owner || { fail T3_somebody_serves "$(hf "$A" takeover)" && finish; }
FIRST=$(owner)
NEXT=$(other "$FIRST")
wait_for 5 state_is "$FIRST" serving
# all of the rest fits into the kernel's buffer of this one, but not of the next
in_ns "$NEXT" sysctl -qw net.ipv4.tcp_wmem="4096 16384 65536"

mkfifo "$WORK/go"
in_ns "$C" python3 - "$VIP" "$WORK/go" "$WORK/root/big" >"$WORK/client" 2>&1 <<-'END' &
	import socket, sys
	s = socket.socket()
	s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
	s.settimeout(30)
	s.connect((sys.argv[1], 80))
	s.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	data = s.recv(65536)
	print("begun", flush=True)
	open(sys.argv[2]).read()
	while True:
	    more = s.recv(1 << 20)
	    if not more:
	        break
	    data += more
	body = data[data.index(b"\r\n\r\n") + 4:]
	print("whole" if body == open(sys.argv[3], "rb").read() else "ended after %d bytes" % len(body), flush=True)
END
CLIENT=$!
ended_at() { in_ns "$1" ss -Htn state fin-wait-1 | grep -q "$VIP"; }
wait_for 10 ended_at "$FIRST" || fail T3_first_application_ends_it "$(in_ns "$FIRST" ss -tn) $(cat "$WORK/client")"
ready_at() { is "0 1" value "$1" '"\(.unfinished) \(.last_takeover.ready)"'; }
drain "$FIRST" || fail T3_drain "$(hf "$FIRST" takeover)"
wait_for 5 ready_at "$NEXT" || fail T3_next_goes_on "$(hf "$NEXT" takeover)"
# nobody else takes it: it has to wait here, where the kernel would like to say FIN
hf "$FIRST" down --name "$FIRST" >/dev/null
wait_for 5 state_is "$NEXT" alone || fail T3_next_is_alone "$(hf "$NEXT" takeover)"
kill -9 "${SERVER[$NEXT]}"
wait_for 5 is 0 value "$NEXT" .applications || fail T3_next_application_dies "$(hf "$NEXT" takeover)"
echo go >"$WORK/go"
# what its kernel has goes nowhere, and no FIN behind it: so long nothing may happen
pause 0.5
grep -q ended "$WORK/client" && fail T3_no_end_before_the_last_byte "$(cat "$WORK/client")" || pass T3_no_end_before_the_last_byte
serve "$NEXT"
wait "$CLIENT"
grep -q whole "$WORK/client" && pass T2_the_next_application_sends_the_rest_and_ends_it ||
	fail T2_the_next_application_sends_the_rest_and_ends_it "$(cat "$WORK/client")"

# the client has had all, and the end, and ends it itself at the next node: it hears that this one knows
up "$FIRST" >/dev/null
serve "$FIRST"
wait_for 10 state_is "$NEXT" serving || fail T3_both_are_back "$(hf "$NEXT" takeover)"
in_ns "$C" python3 - "$VIP" "$WORK/go" >"$WORK/last" 2>&1 <<-'END' &
	import socket, sys
	s = socket.create_connection((sys.argv[1], 80), timeout=30)
	s.sendall(b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	while s.recv(65536):
	    pass
	print("ended", flush=True)
	open(sys.argv[2]).read()
	s.close()
END
CLIENT=$!
wait_for 10 grep -q ended "$WORK/last" || fail T3_client_hears_the_end "$(cat "$WORK/last")"
drain "$NEXT" || fail T3_drain "$(hf "$NEXT" takeover)"
wait_for 5 ready_at "$FIRST" || fail T3_first_goes_on "$(hf "$FIRST" takeover)"
echo go >"$WORK/go"
wait "$CLIENT"
not_waiting() { ! in_ns "$C" ss -Htn state last-ack state close-wait | grep -q .; }
wait_for 5 not_waiting && pass T3_client_hears_that_its_own_end_is_known ||
	fail T3_client_hears_that_its_own_end_is_known "$(in_ns "$C" ss -tno) $(hf "$FIRST" takeover)"
[ "$(resets)" = 0 ] && pass T3_client_sees_no_reset || fail T3_client_sees_no_reset "$(in_ns "$C" nstat -as)"
finish
