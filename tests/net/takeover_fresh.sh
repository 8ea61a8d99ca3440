#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Connections that carried nothing yet when their server died: accepted or not, or so young that the
# server has not heard of its client's third segment.
# shellcheck source=tests/net/takeover_lib.sh
. "$(dirname "$0")/takeover_lib.sh"

topology
write_confs
content small 5000
{ up "$A" && up "$B"; } >/dev/null || { fail T1_nodes_start "$(cat "$WORK"/*/*.log)" && finish; }
serve "$A"
serve "$B"
wait_for 10 owner || { fail T1_somebody_serves "$(hf "$A" takeover)" && finish; }
wait_for 5 state_is "$(owner)" serving

# one connection each for IPv4 and IPv6; sends its request only when the file `go` is there
client() {
	in_ns "$C" python3 - "$WORK" "$VIP" "$VIP6" <<-'END' &
		import os, socket, sys, time
		work = sys.argv[1]
		s = [socket.create_connection((a, 80), timeout=30) for a in sys.argv[2:]]
		open(work + "/connected", "w").close()
		while not os.path.exists(work + "/go"):
		    time.sleep(0.01)
		want = open(work + "/root/small", "rb").read()
		for c in s:
		    c.sendall(b"GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		for c in s:
		    data = b""
		    while True:
		        more = c.recv(65536)
		        if not more:
		            break
		        data += more
		    assert data.endswith(want), "%d bytes" % len(data)
		print("all right")
	END
	CLIENT=$!
	wait_for 5 test -e "$WORK/connected"
}
host_dies() {
	DEAD=$(owner)
	kill -9 "$(value "$DEAD" .pid)" "${SERVER[$DEAD]}"
	wait_for 5 state_is "$(other "$DEAD")" alone || wait_for 1 state_is "$(other "$DEAD")" serving
}
returns() {
	up "$DEAD" >/dev/null
	serve "$DEAD"
	wait_for 5 state_is "$(other "$DEAD")" serving || fail "$1" "$(hf "$DEAD" takeover)"
}
check() { # NAME
	touch "$WORK/go"
	if wait "$CLIENT"; then pass "$1"; else fail "$1" "$(hf "$(owner)" takeover)"; fi
	rm -f "$WORK/go" "$WORK/connected"
}

# the client's ACK does not get out, so its server knows of a SYN alone
lose_acks() {
	in_ns "$C" nft -f - <<-END
		table inet holdfast_test {
			chain out {
				type filter hook output priority 0;
				tcp dport 80 tcp flags & (syn | ack) == ack drop
			}
		}
	END
}
heal() { in_ns "$C" nft delete table inet holdfast_test; }

client >"$WORK/1.out"
host_dies || fail T1_idle_connection_goes_on "nobody took over"
check T1_idle_connection_goes_on
returns T1_idle_connection_goes_on

lose_acks
client >"$WORK/2.out"
host_dies || fail T1_embryo_goes_on "nobody took over"
heal
check T1_embryo_goes_on
[ "$(value "$(owner)" .opened)" -ge 2 ] && pass T1_embryos_were_opened_at_the_new_owner ||
	fail T1_embryos_were_opened_at_the_new_owner "$(hf "$(owner)" takeover)"
[ "$(resets)" = 0 ] && pass T3_client_sees_no_reset || fail T3_client_sees_no_reset "$(in_ns "$C" nstat -as)"
returns T1_embryo_goes_on

# the node that takes it over has no application yet: its daemon alone has come back
LATE=$(other "$(owner)")
slay "$(value "$LATE" .pid)"
slay "${SERVER[$LATE]}"
up "$LATE" >/dev/null
wait_for 5 is true value "$LATE" .synced
wait_for 5 state_is "$(other "$LATE")" serving || fail T1_embryo_waits_for_an_application "$(hf "$(other "$LATE")" takeover)"
lose_acks
client >"$WORK/3.out"
host_dies || fail T1_embryo_waits_for_an_application "nobody took over"
serve "$LATE"
heal
check T1_embryo_waits_for_an_application
finish
