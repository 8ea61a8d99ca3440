#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# A host with many interfaces and addresses, as one with containers has: those that count are found
# among them, first and last.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

topology
# made before the uplink, so that they come first in every list
ip -n "$M" link del w2
for ((i = 0; i < 40; i++)); do
	echo "link add d$i type veth peer name e$i"
	for ((n = 1; n < 9; n++)); do echo "addr add 10.200.$i.$n/32 dev d$i"; done
done | ip -n "$M" -b -
link "$M" w2 "$R" a2
addr "$M" w2 10.2.0.2/24 fd02::2/64
addr "$R" a2 10.2.0.1/24 fd02::1/64
ip -n "$M" route add default via 10.2.0.1 dev w2 metric 200
write_conf 10.3.0.2
up "$A" >/dev/null || { fail N4_anchor_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$M" >/dev/null || { fail N4_mobile_connects "$(cat "$WORK/$M"/*.log)" && finish; }
if wait_for 5 validated w2; then
	pass N7_uplink_among_eighty_interfaces
else
	fail N7_uplink_among_eighty_interfaces "$(hf "$M" paths)"
fi
finish
