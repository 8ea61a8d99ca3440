#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Takeover without a failure (T6): by an operator, by overload, by a node that ends; and what is refused.
# shellcheck source=tests/net/takeover_lib.sh
. "$(dirname "$0")/takeover_lib.sh"

topology
if [ "${STORE:-direct}" = redis ]; then
	start_redis && write_redis_confs "give-away-connections = 5"
else
	write_confs "give-away-connections = 5"
fi
content big 300000000
SUM=$(sha256sum <"$WORK/root/big")
{ up "$A" && up "$B"; } >/dev/null || { fail T6_nodes_start "$(cat "$WORK"/*/*.log)" && finish; }
serve "$A"
serve "$B"
wait_for 10 owner || { fail T6_somebody_serves "$(hf "$A" takeover)" && finish; }
wait_for 5 state_is "$(owner)" serving

got() { # NAME
	in_ns "$C" curl -sS --max-time 60 --limit-rate 30M -o "$WORK/$1" "http://$VIP/big" 2>"$WORK/$1.err" &
	CURL=$!
}
progress() { [ "$(stat -c %s "$WORK/$1" 2>/dev/null || echo 0)" -gt "$2" ]; }
whole() { wait "$CURL" && [ "$(sha256sum <"$WORK/$1")" = "$SUM" ]; }

# ---- an operator drains; another asks for it ----
got out
wait_for 10 progress out 10000000
first=$(owner)
drain "$first" || fail T6_drain "$(hf "$first" takeover)"
wait_for 2 state_is "$(other "$first")" serving || fail T6_drain "nobody took it"
wait_for 10 progress out 60000000
hf "$first" takeover take >/dev/null || fail T6_take "$(hf "$first" takeover)"
wait_for 2 state_is "$first" serving || fail T6_take "not given back"
whole out && pass T6_drain_and_take_under_a_download || fail T6_drain_and_take_under_a_download "$(cat "$WORK/out.err")"
[ "$(value "$first" .handed) $(value "$first" .lost)" = "1 0" ] && pass T6_nothing_lost || fail T6_nothing_lost "$(hf "$first" takeover)"

# ---- what is refused ----
refused() { # NAME WANTED COMMAND...
	local name=$1 want=$2 text
	shift 2
	text=$("$@" 2>&1) && fail "$name" "accepted" && return
	grep -qF -e "$want" <<<"$text" && pass "$name" || fail "$name" "$text"
}
refused T6_drain_at_the_standby "does not own the group" hf "$(other "$first")" takeover drain
refused T6_unknown_action "'fly' is none of status" hf "$first" takeover fly now
refused T6_unknown_action_or_daemon "nor the name of a daemon" hf "$first" takeover fly
refused T6_one_name "one NAME at most" hf "$first" takeover drain x y
refused T6_unknown_daemon "no daemon named 'x' runs here" hf "$first" takeover status x
unknown="no [node NAME]"
[ "${STORE:-direct}" = redis ] && unknown="no node of that name is there"
refused T6_drain_to_unknown "$unknown" hf "$first" takeover drain --to x
refused T6_drain_to_itself "to another node only" hf "$first" takeover drain --to "$(value "$first" .node)"
for odd in "" $'\xff' "$(printf 'x%.0s' {1..32})"; do
	refused T6_drain_to_no_name "is no node's name" hf "$first" takeover drain --to "$odd"
	hf "$first" takeover --json drain --to "$odd" | jq -e '.error | test("is no node")' >"$WORK/said" &&
		pass T6_drain_to_no_name_json || fail T6_drain_to_no_name_json "$(cat "$WORK/said")"
done
for odd in 5 null '["b"]'; do # who speaks to the daemon without our program
	in_ns "$first" python3 - "$WORK/$first/$first.sock" "$odd" >"$WORK/said" <<-'END'
		import socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		s.sendall(b'{"cmd": "drain", "to": %s}\n' % sys.argv[2].encode())
		print(s.makefile().readline())
	END
	jq -e '.ok == false and (.error | test("another node only"))' <"$WORK/said" >/dev/null &&
		pass T6_drain_to_no_text || fail T6_drain_to_no_text "$(cat "$WORK/said")"
done
is true value "$first" '.handed == 1 and .owner == .node' && pass T6_refused_changes_nothing ||
	fail T6_refused_changes_nothing "$(hf "$first" takeover)"
is "this node owns the group already" hf "$first" takeover take && pass T6_take_at_the_owner ||
	fail T6_take_at_the_owner "$(hf "$first" takeover)"
refused T6_no_privilege "root may use it" in_ns "$first" setpriv --reuid 65534 --regid 65534 --clear-groups \
	"$BIN/holdfast" takeover --run-dir "$WORK/$first"
refused T6_to_belongs_to_drain "--to belongs to 'drain'" hf "$first" takeover take --to x

# data in a SYN would be acknowledged before its commit
in_ns "$first" env HOLDFAST_RUN_DIR="$WORK/$first" python3 - "$BIN" "$first" "$VIP" >"$WORK/tfo" 2>&1 <<-'END'
	import ctypes, socket, sys
	lib = ctypes.CDLL(sys.argv[1] + "/libholdfast.so")
	lib.hf_error.restype = ctypes.c_char_p
	none = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: None)
	ops = (ctypes.c_void_p * 5)(ctypes.cast(none, ctypes.c_void_p), None, ctypes.cast(none, ctypes.c_void_p), None, None)
	hf = ctypes.c_void_p()
	print("open", lib.hf_open(sys.argv[2].encode(), b"early", ops, None, ctypes.byref(hf)))
	for early in (5, 0):
	    s = socket.create_server((sys.argv[3], 8100 + early))
	    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, early)
	    print(early, lib.hf_listen(hf, s.fileno()), lib.hf_error(hf).decode())
END
grep -q "^5 -95 .*set TCP_FASTOPEN to 0" "$WORK/tfo" && grep -q "^0 0" "$WORK/tfo" && pass T7_no_early_data ||
	fail T7_no_early_data "$(cat "$WORK/tfo")"
wait_for 2 is 1 value "$first" .applications

# a datagram socket that its application ended and never forgot
in_ns "$first" env HOLDFAST_RUN_DIR="$WORK/$first" python3 - "$BIN" "$first" "$VIP" >"$WORK/udp" 2>&1 <<-'END'
	import ctypes, socket, sys
	lib = ctypes.CDLL(sys.argv[1] + "/libholdfast.so")
	none = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: None)
	ops = (ctypes.c_void_p * 5)(ctypes.cast(none, ctypes.c_void_p), None, ctypes.cast(none, ctypes.c_void_p), None, None)
	hf, conn = ctypes.c_void_p(), ctypes.c_void_p()
	print("open", lib.hf_open(sys.argv[2].encode(), b"udp", ops, None, ctypes.byref(hf)))
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	s.bind((sys.argv[3], 8200))
	print("datagram", lib.hf_datagram(hf, s.fileno(), None, 0, ctypes.byref(conn)))
	print("end", lib.hf_end(conn))
END
grep -q "^datagram 0" "$WORK/udp" && grep -q "^end 0" "$WORK/udp" || fail T5_datagram_ends "$(cat "$WORK/udp")"
wait_for 2 is 1 value "$first" .applications
left_of_udp() { hf "$first" takeover connections --json | jq '[.connections[] | select(.service == "udp")] | length'; }
wait_for 5 is 0 left_of_udp && pass T5_ended_datagram_goes_with_its_application ||
	fail T5_ended_datagram_goes_with_its_application "$(hf "$first" takeover connections)"

# ---- an application dies that serves nobody: the next clients find another ----
fetch() { is "$SUM" eval "in_ns $C curl -sS --max-time 20 http://$VIP/big | sha256sum"; }
log_of() { cat "$WORK/$1/$1.log"; }
idle=$(owner)
now=$(other "$idle")
kill -9 "${SERVER[$idle]}"
wait_for 2 state_is "$now" serving && pass T6_idle_application_dies || fail T6_idle_application_dies "$(log_of "$idle")"
grep -q "is gone with" <<<"$(log_of "$idle")" && fail T6_it_had_no_client "$(log_of "$idle")"
fetch && pass T6_new_clients_are_served || fail T6_new_clients_are_served "$(hf "$now" takeover)"
refused T6_drain_needs_an_application "lacks an application" hf "$now" takeover drain
refused T6_take_needs_an_application "has no application" hf "$idle" takeover take

# nobody has one: it stays where it is, and goes where the first one comes
hf "$now" monitor >"$WORK/monitor" &
MONITOR=$!
wait_for 2 eval "ss -Hx state connected | grep -q $now.sock"
kill -9 "${SERVER[$now]}"
wait_for 2 grep -q "clients wait for the first" "$WORK/monitor" && pass T6_nobody_has_an_application ||
	fail T6_nobody_has_an_application "$(cat "$WORK/monitor")"
kill "$MONITOR"
fetch &
FETCH=$!
wait_for 5 eval "in_ns $C ss -Htn state syn-sent dport = 80 | grep -q ."
[ "$(owner)" = "$now" ] || fail T6_nobody_has_an_application "it moved to where there is none, either"
serve "$idle"
wait_for 2 state_is "$idle" serving && wait "$FETCH" && pass T6_first_application_serves ||
	fail T6_first_application_serves "$(hf "$idle" takeover)"
serve "$now"
wait_for 2 is 1 value "$now" .applications

# ---- overload: more connections than the configuration wants here ----
serving=$(owner)
in_ns "$C" python3 - "$VIP" "$WORK/moved" >"$WORK/crowd" <<-'END' &
	import os, socket, sys, time
	s = [socket.create_connection((sys.argv[1], 80), timeout=30) for _ in range(8)]
	print("open", flush=True)
	for c in s:
	    c.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
	for c in s:
	    assert c.recv(12) == b"HTTP/1.1 404", "no answer"
	while not os.path.exists(sys.argv[2]):
	    time.sleep(0.01)
	for c in s:
	    c.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
	    data = b""
	    while data.count(b"HTTP/1.1 404") < 1:
	        more = c.recv(4096)
	        assert more, "closed"
	        data += more
	print("all answered", flush=True)
END
CROWD=$!
wait_for 5 state_is "$(other "$serving")" serving || fail T6_overload "still at the crowded node: $(hf "$serving" takeover)"
touch "$WORK/moved"
wait "$CROWD" && grep -q "all answered" "$WORK/crowd" && pass T6_overload_moves_connections ||
	fail T6_overload_moves_connections "$(cat "$WORK/crowd")"

# ---- a node that ends gives the group away first ----
got out
wait_for 10 progress out 10000000
last=$(owner)
hf "$last" down --name "$last" >/dev/null
wait_for 2 owner && [ "$(owner)" != "$last" ] || fail T6_down "nobody serves"
whole out && pass T6_down_under_a_download || fail T6_down_under_a_download "$(cat "$WORK/out.err")"
ip -n "$last" addr show n0 | grep -q "$VIP" && fail T6_down_leaves_nothing "the address is still there" || pass T6_down_leaves_nothing
is alone value "$(owner)" .state && pass T6_the_last_node_serves_alone || fail T6_the_last_node_serves_alone "$(hf "$(owner)" takeover)"
[ "$(resets)" = 0 ] && pass T3_client_sees_no_reset || fail T3_client_sees_no_reset "$(in_ns "$C" nstat -as)"

# ---- a daemon that comes back without an address of before: the application is told, and says so ----
left=$(owner)
up "$last" >/dev/null
serve "$last" "$VIP" 81
wait_for 10 is 2 value "$last" .applications || fail T6_node_comes_back "$(hf "$last" takeover)"
hf "$last" down --name "$last" >/dev/null
sed "s|$VIP/24, ||" "$WORK/$last.conf" >"$WORK/less.conf"
in_ns "$last" "$BIN/holdfast" up -v --run-dir "$WORK/$last" --name "$last" "$WORK/less.conf" >/dev/null
wait_for 10 grep -q "none of 'address'" "$WORK/$last.httpd" && pass T7_a_lost_endpoint_is_told || fail T7_a_lost_endpoint_is_told "$(cat "$WORK/$last.httpd")"

# ---- nobody owns the group, nobody can be asked ----
if [ "${STORE:-direct}" = redis ]; then
	in_ns "$X" redis-cli -h 10.5.0.50 shutdown nosave >/dev/null 2>&1
else
	wait_for 10 state_is "$left" serving || fail T6_node_comes_back "$(hf "$left" takeover)"
	kill -9 "$(value "$last" .pid)"
fi
wait_for 10 state_is "$left" lost || fail T6_nobody_owns "$(hf "$left" takeover)"
refused T6_take_from_nobody "no node that owns the group is there" hf "$left" takeover take
finish
