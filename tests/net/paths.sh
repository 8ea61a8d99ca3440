#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# More addresses one after the other than an association may have paths: the anchor forgets where the
# mobile was, not where it is.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

topology
write_conf 10.3.0.2
up "$A" >/dev/null || { fail N4_anchor_starts "$(cat "$WORK/$A"/*.log)" && finish; }
up "$M" >/dev/null || { fail N4_mobile_connects "$(cat "$WORK/$M"/*.log)" && finish; }
ip -n "$M" link set w2 down
ip -n "$M" addr flush dev w1 scope global
ip -n "$M" addr add 10.1.0.2/24 dev w1
ip -n "$M" route replace default via 10.1.0.1 dev w1 metric 100
old=10.1.0.2 stuck=
for ((i = 10; i < 50; i++)); do
	ip -n "$M" addr del $old/24 dev w1
	ip -n "$M" addr add 10.1.0.$i/24 dev w1
	ip -n "$M" route replace default via 10.1.0.1 dev w1 metric 100
	if ! wait_for 5 is 10.1.0.$i current_local || ! wait_for 5 settled; then
		stuck="at the ${i}th: $(hf "$M" assocs)"
		break
	fi
	old=10.1.0.$i
done
if [ -z "$stuck" ]; then
	pass N7_forty_addresses_one_after_the_other
else
	fail N7_forty_addresses_one_after_the_other "$stuck"
fi
finish
