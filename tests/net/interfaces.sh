#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Interfaces that go and come back as others: the same name and addresses, another index. What is in
# the data plane must follow, at either end.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

get() { in_ns "$M" curl -gsS -f -m 1 -o /dev/null http://10.9.0.10/small; }

# The mobile's only uplink, unplugged and plugged in again.
replug_mobile() {
	ip -n "$M" link del w1
	pause 0.3
	# indices are not given twice: the new one is another
	link "$M" w1 "$R" a1
	addr "$R" a1 10.1.0.1/24 fd01::1/64
	addr "$M" w1 10.1.0.2/24 fd01::2/64
	ip -n "$M" route add default via 10.1.0.1 dev w1 metric 100
	ip -n "$M" route add default via fd01::1 dev w1 metric 100
}

replug_anchor() {
	ip -n "$A" link del p0
	pause 0.3
	link "$R" rp "$A" p0
	addr "$R" rp 10.3.0.1/24 fd03::1/64
	addr "$A" p0 10.3.0.2/24 fd03::2/64
	ip -n "$A" route replace default via 10.3.0.1
	ip -n "$A" route replace default via fd03::1
}

topology
write_conf 10.3.0.2
start_nginx
content small 1000
ip -n "$M" link set w2 down
up "$A" >/dev/null || { fail N4_anchor_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$M" >/dev/null || { fail N4_mobile_connects "$(cat "$WORK/$M"/*.log)" && finish; }
get || fail N7_before "no answer"

replug_mobile
wait_for 10 settled
if wait_for 15 get; then
	pass N7_uplink_comes_back_with_another_index
else
	fail N7_uplink_comes_back_with_another_index "$(hf "$M" paths; hf "$A" paths)"
fi

wait_for 10 settled
replug_anchor
if wait_for 30 get; then
	pass N7_anchors_interface_comes_back_with_another_index
else
	fail N7_anchors_interface_comes_back_with_another_index "$(hf "$M" paths; hf "$A" paths)"
fi

# An address that moves to another uplink.
wait_for 10 settled
ip -n "$M" link set w2 up
ip -n "$M" addr del 10.1.0.2/24 dev w1
ip -n "$R" addr del 10.1.0.1/24 dev a1
ip -n "$R" addr add 10.1.0.1/24 dev a2
ip -n "$M" addr flush dev w2 scope global
ip -n "$M" addr add 10.1.0.2/24 dev w2
ip -n "$M" route add default via 10.1.0.1 dev w2 metric 200
if wait_for 15 get; then
	pass N7_address_moves_to_another_uplink
else
	fail N7_address_moves_to_another_uplink "$(hf "$M" paths; hf "$A" paths)"
fi
finish
