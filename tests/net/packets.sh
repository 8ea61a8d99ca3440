#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What the network does to packets, end to end through real stacks: path MTU discovery, fragments, ICMP errors,
# resets, VLANs, services that do not exist (N1, N18).
# Everything twice: the path in use is IPv4, then IPv6; what is inside is always both.
if [ -z "${POINTS:-}" ]; then
	POINTS="10.3.0.2, fd03::2" OVER=_over_ipv4 "$0"
	first=$?
	POINTS="fd03::2, 10.3.0.2" OVER=_over_ipv6 "$0" && exit $first
	exit 1
fi
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
pass() { echo "PASS $1$OVER"; }
skip() { echo "SKIP $1$OVER: $2"; }
fail() {
	echo "FAIL $1$OVER: ${2:-}"
	FAILED=1
}

topology
write_conf "$POINTS"
start_nginx
content big 5000000
serve "$S" udp-server 10.9.0.10 9000
serve "$S" udp-server fd09::10 9000
up "$A" >/dev/null || { fail N4_anchor_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$M" >/dev/null || { fail N4_mobile_connects "$(cat "$WORK/$M"/*.log)" && finish; }

py() { in_ns "$M" timeout 20 /usr/bin/python3 -c "$1"; }
get() { in_ns "$M" curl -gsS -m 30 -o "$WORK/out" "$1" && cmp -s "$WORK/out" "$WORK/www/big"; }

# a datagram of SIZE bytes to ADDR port 9000 and its (small) answer
datagram() {
	py "
import socket, sys
sys.path.insert(0, '$HERE')
import stream
s = socket.socket(stream.family('$1'), socket.SOCK_DGRAM); s.settimeout(5)
s.sendto(stream.pack(7, $2), ('$1', 9000))
assert stream.unpack(s.recv(65535)) == 7"
}

# ---- fragments ----
for a in 10.9.0.10 fd09::10; do
	for size in 1400 1452 1473 3000 20000 60000; do
		datagram $a $size || fail N1_fragments "$a, datagram of $size bytes"
	done
	in_ns "$M" ping -qc 2 -i 0.1 -W 3 -s 5000 $a >/dev/null || fail N1_fragments "$a, echo of 5000 bytes"
done
[ $FAILED = 0 ] && pass N1_N18_fragmented_datagrams_and_echoes

# the fragments of a datagram in reverse order: the daemon holds what comes before the first
in_ns "$M" /usr/bin/python3 - <<-END && pass N1_fragments_in_reverse_order || fail N1_fragments_in_reverse_order "$(hf "$M" status | tail -8)"
	import socket, sys
	from scapy.all import IP, UDP, Raw, fragment, raw
	sys.path.insert(0, "$HERE")
	import stream
	src = "$(value "$M" '.assocs[0].inner4')"
	u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	u.bind((src, 0)); u.settimeout(5)
	s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
	for n in range(20):
	    parts = fragment(IP(src=src, dst="10.9.0.10", id=1000 + n) /
	                     UDP(sport=u.getsockname()[1], dport=9000) / Raw(stream.pack(n, 4000)), fragsize=1200)
	    for p in reversed(parts):
	        s.sendto(raw(p), ("10.9.0.10", 0))
	    assert stream.unpack(u.recv(65535)) == n
END
early=$(value "$M" .counters.fragment_early)
[ "$early" -ge 40 ] && pass N1_early_fragments_were_held || fail N1_early_fragments_were_held "$early"

# ---- path MTU discovery: the outer path narrows; then the inner one ----
ip -n "$R" link set rp mtu 1320
ip -n "$A" link set p0 mtu 1320
in_ns "$M" ping -c 2 -i 0.2 -W 2 -M 'do' -s 1400 10.9.0.10 >"$WORK/ping" 2>&1
grep -qE "Frag needed|Message too long|message too long" "$WORK/ping" && pass N18_pmtu_error_ipv4 || fail N18_pmtu_error_ipv4 "$(cat "$WORK/ping")"
get http://10.9.0.10/big && pass N18_pmtu_tcp_ipv4_narrow_access || fail N18_pmtu_tcp_ipv4_narrow_access "no download"
get "http://[fd09::10]/big" && pass N18_pmtu_tcp_ipv6_narrow_access || fail N18_pmtu_tcp_ipv6_narrow_access "no download"
py "
import socket
s = socket.create_connection(('10.9.0.10', 80)); s.sendall(b'GET /big HTTP/1.0\r\nX: ' + b'y' * 6000 + b'\r\n\r\n')
assert b'200 OK' in s.recv(4096)" && pass N18_pmtu_tcp_upload || fail N18_pmtu_tcp_upload "no answer"
ip -n "$R" link set rp mtu 1500
ip -n "$A" link set p0 mtu 1500
ip -n "$A" link set l0 mtu 1300
ip -n "$S" link set s0 mtu 1300
in_ns "$M" ip route flush cache
in_ns "$M" ip -6 route flush cache
py "
import socket
for a in ('10.9.0.10', 'fd09::10'):
    s = socket.create_connection((a, 80)); s.sendall(b'GET /big HTTP/1.0\r\nX: ' + b'y' * 6000 + b'\r\n\r\n')
    assert b'200 OK' in s.recv(4096)" && pass N18_pmtu_tcp_narrow_behind_the_anchor || fail N18_pmtu_tcp_narrow_behind_the_anchor "no answer"
ip -n "$A" link set l0 mtu 1500
ip -n "$S" link set s0 mtu 1500

# ---- ICMP errors and resets reach the application as from the server ----
py "
import socket
for a in ('10.9.0.10', 'fd09::10'):
    f = socket.AF_INET6 if ':' in a else socket.AF_INET
    try:
        socket.create_connection((a, 7), timeout=5)
        raise SystemExit('connected to a closed port')
    except ConnectionRefusedError:
        pass" && pass N1_reset_of_a_closed_port || fail N1_reset_of_a_closed_port "see above"
for pid in $(ip netns pids "$S"); do
	grep -qa udp-server "/proc/$pid/cmdline" && slay "$pid"
done
wait_for 5 sh -c "! nsenter --net=/run/netns/$S ss -ulnH | grep -q :9000"
py "
import socket, time
for a in ('10.9.0.10', 'fd09::10'):
    s = socket.socket(socket.AF_INET6 if ':' in a else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
    s.connect((a, 9000)); s.send(b'x')
    try:
        s.recv(100)
        raise SystemExit('an answer from nobody')
    except ConnectionRefusedError:
        pass" && pass N1_icmp_port_unreachable_is_translated || fail N1_icmp_port_unreachable_is_translated "see above"

# ---- no such service: said at once, nothing leaves ----
py "
import socket, time
t = time.monotonic()
try:
    socket.create_connection(('10.9.0.10', 8081), timeout=5)
    raise SystemExit('connected')
except OSError as e:
    assert time.monotonic() - t < 2, 'slow'
    assert not isinstance(e, TimeoutError), e" && pass N2_no_service_is_said_at_once || fail N2_no_service_is_said_at_once "see above"

# ---- VLAN: the uplink is a VLAN device ----
ip -n "$M" link add link w2 name w2.7 type vlan id 7 2>/dev/null && vlan=1 || vlan=0
if [ $vlan = 1 ]; then
	hf "$M" down >/dev/null
	ip -n "$R" link add link a2 name a2.7 type vlan id 7
	ip -n "$R" link set a2.7 up
	ip -n "$M" link set w2.7 up
	addr "$R" a2.7 10.7.0.1/24
	addr "$M" w2.7 10.7.0.2/24
	ip -n "$A" route add 10.7.0.0/24 via 10.3.0.1
	ip -n "$M" route add 10.3.0.0/24 via 10.7.0.1 dev w2.7 metric 50
	sed -i 's/^\(\s*\)\[uplink w2\]/\1[uplink w2.7]/;/uplink w1/,+1d' "$WORK/$M.conf"
	up "$M" >/dev/null || fail N18_vlan_uplink "$(tail -3 "$WORK/$M"/*.log)"
	get http://10.9.0.10/big && [ "$(current_if)" = w2.7 ] && pass N18_vlan_uplink || fail N18_vlan_uplink "$(hf "$M" paths)"
else
	skip N18_vlan_uplink "this kernel has no VLAN devices"
fi
finish
