#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Explores control/peer/switch.c, two of it and what surrounds them (switch.pml, world.h, steps.h), with SPIN.
#
#   run.sh             properties, then mutants; PASS or FAIL and the name, exit code 1 if one failed
#   run.sh properties  what is listed below
#   run.sh mutants     a fault at a time is put into a copy of switch.c: the property named must break
#   run.sh deep        safety with one more switch in an epoch (minutes), for a release
#
# Safety, any loss, doubling, reordering, crash, timer and forged source address (N5, N6, N8, N9):
#   unvalidated      the anchor's data never goes to an address that answered no challenge
#   half-switched    a mobile that has settled is on the anchor's path, and the anchor is in no switch
#   parked-at-rest   who has settled holds nothing
#   refused          no data goes out on a path which the peer does not accept
#   left-undrained   planned, break-before-make: the old link is left only when both ends hold and both
#                    fences have drained (or were given up after their time)
# Progress, always at last settled alike with nothing parked (after a dead path, in every order):
#   retry-repairs    three losses, no timeout: retries alone suffice
#   doubles-harmless a loss, and a message doubled or forged
#   timeout-leads-out  a daemon crashes in the middle: Z and CONNECT lead out (N9)
#
# A counterexample: cd $OUTPUT/model/NAME && ./pan -r switch.pml.trail | grep '|'
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${OUTPUT:-$root/build}/model
case $out in /*) ;; *) out=$PWD/$out ;; esac
megabytes=900

safety_names="unvalidated half-switched parked-at-rest refused left-undrained"
declare -A world=(
	[safety]="-DIDS=2 -DSTEPS_MAX=192"
	[safety-deep]="-DIDS=3 -DSTEPS_MAX=192"
	[safety-old-epoch]="-DIDS=2 -DSTEPS_MAX=192 -DOLD_KEYS"
	[retry-repairs]="-DFINITE -DPROGRESS -DIDS=4 -DPLANS=1 -DLOSSES=3 -DDEATHS=1 -DSTEPS_MAX=320"
	[doubles-harmless]="-DFINITE -DPROGRESS -DIDS=4 -DPLANS=1 -DLOSSES=1 -DDEATHS=1 -DDOUBLES=1"
	[timeout-leads-out]="-DFINITE -DPROGRESS -DEXPIRES -DIDS=4 -DPLANS=1 -DLOSSES=0 -DDEATHS=1 -DCRASHES=1 -DSTEPS_MAX=320"
)

# build WORLD: the verifier without the machine, once a run
build()
{
	local dir=$out/$1 search=-DSAFETY
	[ -f "$dir/pan.o" ] && return 0
	case ${world[$1]} in *PROGRESS*) search= ;; esac
	[ "$1" = safety-deep ] && search="-DSAFETY -DHC4"
	mkdir -p "$dir" && cd "$dir" && cp "$here/switch.pml" . || return 1
	# shellcheck disable=SC2086 # lists of flags
	spin -a ${world[$1]} switch.pml >build.out 2>&1 &&
		gcc -std=gnu11 -O2 -w ${world[$1]} $search -DNOREDUCE -DMEMLIM="$megabytes" -I"$root" \
			-I"$root/include" -c -o pan.o pan.c >>build.out 2>&1
}

# explore NAME WORLD SWITCH_C: 0 nothing wrong, 1 an error (its text in $said), 2 not decided
explore()
{
	local dir=$out/$1 flags=-m200000
	said='' figures='no states'
	build "$2" || { said="not built: $out/$2/build.out"; return 2; }
	mkdir -p "$dir" && cd "$dir" && rm -f ./*.trail pan pan.out || return 2
	[ "$1" = "$2" ] || cp "$here/switch.pml" .
	gcc -std=c11 -O2 -w -I"$root" -I"$root/include" -o pan "../$2/pan.o" "$3" >link.out 2>&1 ||
		{ said="not built: $dir/link.out"; return 2; }
	case ${world[$2]} in *PROGRESS*) flags="-a $flags" ;; esac
	# shellcheck disable=SC2086
	timeout "${LIMIT:-80}" ./pan -n $flags >pan.out 2>&1
	said=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' pan.out | head -1)
	figures=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1 states/p' pan.out)
	[ -n "$said" ] && return 1
	grep -q 'errors: 0' pan.out && ! grep -qE 'not completed|max search depth too small' pan.out &&
		return 0
	said="search not completed: $dir/pan.out"
	return 2
}

prove_safety() # WORLD
{
	local name status
	explore "$1" "$1" "$root/control/peer/switch.c"
	status=$?
	for name in $safety_names; do
		if [ $status -eq 0 ]; then
			echo "PASS $name, $figures"
		elif [ "$name" = "$said" ]; then
			echo "FAIL $name: $out/$1"
		else
			echo "FAIL $name: not decided ($said)"
		fi
	done
	return $status
}

prove_progress() # WORLD
{
	if explore "$1" "$1" "$root/control/peer/switch.c"; then
		echo "PASS $1, $figures"
		return 0
	fi
	echo "FAIL $1: $out/$1 ($said)"
	return 1
}

# mutant NAME WORLD PROPERTY SED: the property must be found broken
mutant()
{
	local dir=$out/mutant-$1 want=$3
	mkdir -p "$dir"
	sed -E "$4" "$root/control/peer/switch.c" >"$dir/switch.c"
	if cmp -s "$root/control/peer/switch.c" "$dir/switch.c"; then
		echo "FAIL mutant $1: the line to be changed is not there any more"
		return 1
	fi
	[ "$2" = "$3" ] && want="acceptance cycle" # so SPIN says that progress ends
	explore "mutant-$1" "$2" "$dir/switch.c"
	if [ $? -eq 1 ] && [ "$said" = "$want" ]; then
		echo "PASS mutant $1 breaks $3"
		return 0
	fi
	echo "FAIL mutant $1: expected $want, got ${said:-nothing}"
	return 1
}

# Each process is one thread, so the work goes in two lanes.
properties_1()
{
	prove_safety safety
}
properties_2()
{
	local f=0
	prove_progress retry-repairs || f=1
	prove_progress doubles-harmless || f=1
	prove_progress timeout-leads-out || f=1
	return $f
}
mutants_1()
{
	local f=0
	mutant no-challenge safety unvalidated 's/^\tif \(validated\)$/\tif (true)/' || f=1
	mutant any-id safety half-switched '/^static uint32_t rx_all_redirected/,/^}/s/in->id != m->id/false/' || f=1
	mutant old-unexpected-taken safety half-switched '/^static uint32_t rx_unexpected/,/^}/s/!newer\(in->id, m->id\)/false/' || f=1
	mutant regain-forgets-told safety half-switched 's/ && !m->told\)/)/' || f=1
	mutant reset-keeps-parked safety parked-at-rest '/^static uint32_t reset/,/^}/s/ \| unpark\(m\)//' || f=1
	mutant new-not-accepted safety refused '/^static uint32_t send_unexpected/,/^}/s/SWITCH_DO\(ACCEPT_NEW\) \| //' || f=1
	mutant drain-not-awaited safety left-undrained 's/ \|\| !m->drained \|\| !m->ok\)/ || !m->ok)/' || f=1
	return $f
}
mutants_2()
{
	local f=0
	mutant ack-not-repeated retry-repairs retry-repairs 's/^\t\treturn answers;$/\t\treturn 0;/' || f=1
	mutant redirected-not-repeated retry-repairs retry-repairs 's/return m->done \? SWITCH_DO\(SEND_ALL_REDIRECTED\) : 0;/return 0;/' || f=1
	mutant target-not-moved doubles-harmless doubles-harmless '/^static uint32_t rx_unexpected/,/^}/s/^\t\t\treturn take_target\(m, in->validated\);/\t\t\treturn 0;/' || f=1
	mutant no-failure timeout-leads-out timeout-leads-out 's|^\t/\* CNAPT-18\*, -21\* \*/$|\treturn 0;|' || f=1
	# not a fault of switch.c's (the copy differs in a comment) but of a caller that breaks its promise
	mutant old-epoch-fed safety-old-epoch half-switched '1s/SPDX/spdx/' || f=1
	return $f
}

rm -f "$out"/*/pan.o
failed=0
case ${1:-all} in
all)
	{ properties_1; a=$?; mutants_1 && exit $a; } & lanes=$!
	{ properties_2; a=$?; mutants_2 && exit $a; } & lanes="$lanes $!"
	;;
properties | mutants)
	"$1"_1 & lanes=$!
	"$1"_2 & lanes="$lanes $!"
	;;
deep)
	megabytes=1900 LIMIT=1800
	prove_safety safety-deep & lanes=$!
	;;
*)
	echo "run.sh: properties, mutants, deep, or nothing for the first two" >&2
	exit 2
	;;
esac
for lane in $lanes; do
	wait "$lane" || failed=1
done
exit $failed
