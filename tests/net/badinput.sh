#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Wrong use by hand. Each must be refused with one sentence and the right exit status (1: it could not be
# done, 2: wrong use), in JSON where that is asked for, and leave nothing behind. Topology: lib.sh.
[ "$(id -u)" -eq 0 ] || {
	echo "SKIP badinput: needs root"
	exit 0
}
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

PORT=4690
PINS=/sys/fs/bpf/holdfast/v1
OUT=$WORK/stdout ERR=$WORK/stderr

# run COMMAND...: stdout, stderr and exit status in OUT, ERR and RC
run() {
	RC=0
	"$@" >"$OUT" 2>"$ERR" </dev/null || RC=$?
}

show() {
	printf 'exit %s, said: %s' "$RC" "$(head -c 600 "$ERR" "$OUT" | tr '\n' ' ')"
}

# refused NAME STATUS PATTERN COMMAND...
refused() {
	local name=$1 status=$2 pattern=$3
	shift 3
	run "$@"
	if [ "$RC" -eq "$status" ] && grep -qE -e "$pattern" "$ERR" && [ ! -s "$OUT" ]; then
		pass "$name"
	else
		fail "$name" "expected $status and /$pattern/: $(show)"
	fi
}

# refused_json NAME STATUS COMMAND...: one JSON object with a sentence
refused_json() {
	local name=$1 status=$2
	shift 2
	run "$@"
	if [ "$RC" -eq "$status" ] && jq -es 'length == 1 and (.[0].error | length > 5)' "$OUT" >/dev/null 2>&1; then
		pass "$name"
	else
		fail "$name" "expected $status and JSON with an error: $(show)"
	fi
}

# good_json NAME FILTER COMMAND...
good_json() {
	local name=$1 filter=$2
	shift 2
	run "$@"
	if [ "$RC" -eq 0 ] && jq -es "length == 1 and (.[0] | $filter)" "$OUT" >/dev/null 2>&1; then
		pass "$name"
	else
		fail "$name" "expected JSON with $filter: $(show)"
	fi
}

check() { # NAME COMMAND...
	local name=$1
	shift
	if "$@" >/dev/null 2>&1; then pass "$name"; else fail "$name" "$*"; fi
}

# What a daemon makes: nothing of it may be there.
remains() { # ns [name]
	local ns=$1 name=${2:-$1}
	ip -n "$ns" link show hf0 2>/dev/null
	tc -n "$ns" qdisc show 2>/dev/null | grep clsact
	ip -n "$ns" link show 2>/dev/null | grep -w xdp
	ls -d "$PINS/$name" 2>/dev/null
	ls "$WORK/$ns/$name.sock" 2>/dev/null
	ip netns pids "$ns" | while read -r pid; do
		grep -z holdfastd "/proc/$pid/cmdline" 2>/dev/null
	done
}

nothing_left() { # NAME ns [name]
	local left
	left=$(remains "$2" "${3:-$2}" | tr '\n\0' '  ')
	if [ -z "$left" ]; then pass "$1: nothing left behind"; else fail "$1: nothing left behind" "$left"; fi
}

in_mobile() { in_ns "$M" "$BIN/holdfast" "$@"; }
state_is() { hf "$M" assocs --json | jq -e --arg s "$1" '.[0].state == $s'; }
current_is() { hf "$M" paths --json | jq -e --arg i "$1" 'any(.[]; .use == "current" and .interface == $i)'; }
usable() { hf "$M" paths --json | jq -e --arg i "$1" 'any(.[]; .interface == $i and .health == "alive")'; }
not_offered() { hf "$M" paths --json | jq -e --arg i "$1" 'all(.[]; .interface != $i)'; }
ping_ok() { in_ns "$M" ping -c 1 -W 1 10.9.0.10; }
listens() { [ -n "$(ip netns exec "$1" ss -Hln "$2" "sport = :$PORT")" ]; }

# ---- the command line ------------------------------------------------------

command_line() {
	local verbs verb
	refused "no verb" 2 '^Usage: holdfast' "$BIN/holdfast"
	refused "unknown verb" 2 "unknown verb 'fly'" "$BIN/holdfast" fly
	refused "unknown option before the verb" 2 "unknown verb '--fly'" "$BIN/holdfast" --fly
	refused "holdfastd: no configuration" 2 'one configuration is needed' "$BIN/holdfastd"
	refused "holdfastd: two configurations" 2 'one configuration is needed' "$BIN/holdfastd" a b
	refused "holdfastd: unknown option" 2 "Try 'holdfastd --help'" "$BIN/holdfastd" --fly
	check "holdfast --help" bash -c "'$BIN/holdfast' --help | grep -q '^Usage: holdfast'"
	check "holdfast --version" bash -c "'$BIN/holdfast' --version | grep -q '^holdfast [0-9]'"
	check "holdfastd --help" bash -c "'$BIN/holdfastd' --help | grep -q '^Usage: holdfastd'"
	check "holdfastd --version" bash -c "'$BIN/holdfastd' --version | grep -q '^holdfastd [0-9]'"

	verbs=$("$BIN/holdfast" --help | awk '/^  [a-z]/ { print $1 }')
	[ "$(wc -w <<<"$verbs")" -ge 12 ] || fail "verbs in the help" "$verbs"
	for verb in $verbs; do
		run "$BIN/holdfast" "$verb" --help
		if [ "$RC" -eq 0 ] && head -n 1 "$OUT" | grep -q "^Usage: holdfast $verb " && [ ! -s "$ERR" ]; then
			pass "$verb --help"
		else
			fail "$verb --help" "$(show)"
		fi
		refused "$verb: unknown option" 2 "Try 'holdfast $verb --help'" "$BIN/holdfast" "$verb" --fly
		refused "$verb: too many arguments" 2 "Try 'holdfast $verb --help'" "$BIN/holdfast" "$verb" a b c
		refused_json "$verb --json: too many arguments" 2 "$BIN/holdfast" "$verb" --json a b c
		refused_json "$verb --json: unknown option" 2 "$BIN/holdfast" "$verb" --json --fly
	done
	refused_json "--json behind what is wrong" 2 "$BIN/holdfast" flows --limit=x --json
	refused_json "--json: unknown verb" 2 "$BIN/holdfast" fly --json
	for verb in up attach detach; do
		refused "$verb: no argument" 2 'is needed' "$BIN/holdfast" "$verb"
	done
	refused "flows: a limit that is no number" 2 "'many' does not fit" "$BIN/holdfast" flows --limit=many
	refused "switch: a time that is no number" 2 "'-1' does not fit" "$BIN/holdfast" switch --wait=-1
	refused "up: a time that is no number" 2 "'soon' does not fit" "$BIN/holdfast" up --timeout=soon x

	# nobody there
	for verb in status assocs paths monitor down; do
		refused "$verb: no daemon" 1 'no daemon runs here' "$BIN/holdfast" "$verb" --run-dir "$WORK/none"
		refused "$verb: no such daemon" 1 "no daemon named 'x' runs here" \
			"$BIN/holdfast" "$verb" --run-dir "$WORK/none" x
		refused_json "$verb --json: no daemon" 1 "$BIN/holdfast" "$verb" --json --run-dir "$WORK/none"
	done
	refused "switch: an interface that is no text" 2 'is text, in UTF-8' "$BIN/holdfast" switch --to $'\xff'
	refused_json "switch --json: an association that is no text" 2 "$BIN/holdfast" switch --json --assoc $'\xff'
	refused "switch: no daemon" 1 'no daemon runs here' "$BIN/holdfast" switch --run-dir "$WORK/none"
	refused_json "switch --json: no daemon" 1 "$BIN/holdfast" switch --json --run-dir "$WORK/none"
	refused_json "switch --json --wait=0: no daemon" 1 "$BIN/holdfast" switch -w 0 --json --run-dir "$WORK/none"
	refused "flows: nothing pinned" 1 'nothing is pinned' "$BIN/holdfast" flows "$RUN-none"
	refused_json "flows --json: nothing pinned" 1 "$BIN/holdfast" flows --json "$RUN-none"
	refused_json "up --json: no such file" 1 "$BIN/holdfast" up --json "$WORK/none.conf"

	# keys are never overwritten
	cp "$WORK/key" "$WORK/key.before"
	refused "genkey: the file exists" 1 'File exists' "$BIN/holdfast" genkey "$WORK/key"
	refused_json "genkey --json: the file exists" 1 "$BIN/holdfast" genkey --json "$WORK/key"
	check "genkey: the key is still there" cmp "$WORK/key" "$WORK/key.before"
	refused "genkey: no such folder" 1 'No such file' "$BIN/holdfast" genkey "$WORK/none/key"
	good_json "genkey --json" '.key | length == 44' "$BIN/holdfast" genkey --json
}

# ---- configurations --------------------------------------------------------

# bad_conf NAME ns PATTERN TEXT: what is there with TEXT behind it, or instead of it if it begins with [holdfast]
bad_conf() {
	local name=$1 ns=$2 pattern=$3 text=$4 conf=$WORK/$2.bad/$2.conf
	mkdir -p "$WORK/$ns.bad"
	case $text in
	"[holdfast]"*) printf '%b' "$text" >"$conf" ;;
	*) { cat "$WORK/$ns.conf" && printf '%b' "$text"; } >"$conf" ;;
	esac
	refused "up: $name" 1 "^holdfast up: $conf:.*$pattern" in_ns "$ns" "$BIN/holdfast" up --run-dir "$WORK/$ns" "$conf"
	[ "$(wc -l <"$ERR")" -eq 1 ] || fail "up: $name: one sentence" "$(show)"
	refused "holdfastd --test: $name" 1 "^holdfastd: $conf:.*$pattern" in_ns "$ns" "$BIN/holdfastd" --test "$conf"
	nothing_left "up: $name" "$ns"
}

configurations() {
	check "holdfastd --test: a good anchor" "$BIN/holdfastd" --test "$WORK/$A.conf"
	check "holdfastd --test: a good mobile" in_ns "$M" "$BIN/holdfastd" --test "$WORK/$M.conf"
	bad_conf "unknown key" "$M" "[0-9]+: unknown key 'speed'" 'speed = 1\n'
	bad_conf "unknown section" "$A" '[0-9]+: unknown section' '[colour]\nred = 1\n'
	bad_conf "bad address" "$A" "[0-9]+: '10.3.0.999' is not a unicast" '[holdfast]\nrole = anchor\npoints = 10.3.0.999\n'
	bad_conf "overlapping pools" "$A" '[0-9]+: pool .* overlaps' \
		'[holdfast]\nrole = anchor\npool = 10.0.0.0/8 10.77.0.0/24\n'
	bad_conf "no key file" "$A" ' key file .* does not exist' "[mobile b]\nkey = $WORK/none\n"
	(umask 022 && "$BIN/holdfast" genkey >"$WORK/open" 2>/dev/null)
	bad_conf "a key that others can read" "$A" ' key file .* is open to other users' "[mobile b]\nkey = $WORK/open\n"
	bad_conf "no such interface" "$M" " interface 'wwan9' .* does not exist" '[uplink wwan9]\ncost = 1\n'
	bad_conf "two services on one emulator" "$A" 'have the same emulator' '[service b]\nserver = 10.9.0.10:81\nemulator = 20080\n'
	bad_conf "sections of the other role" "$M" 'belong to role anchor' '[service b]\nserver = 10.9.0.10:81\nemulator = 1\n'
	bad_conf "a duration without a unit" "$M" "[0-9]+: alive '5' is no duration" '[timers]\nalive = 5\n'
	bad_conf "a line without '='" "$M" '[0-9]+: neither a' 'hello\n'
	bad_conf "binary garbage" "$M" '' '[holdfast]\n\0001\0377\0376\0200=\0033\n'
	bad_conf "nothing in it" "$M" " 'role' is missing" '[holdfast]\n'
	refused "up: no such file" 1 'none.conf: No such file' in_mobile up "$WORK/none.conf"
	refused "up: no such name" 1 "/etc/holdfast/$RUN-none.conf: No such file" in_mobile up "$RUN-none"
	mkdir "$WORK/folder.conf"
	refused "up: a folder" 1 'not a file' in_mobile up "$WORK/folder.conf"
}

# Right in form, but this machine cannot: the daemon says so, and `up` shows it.
cannot_start() {
	local holder dots=$WORK/a.b.conf
	sed 's/^id = laptop/&\ndevice = w1/' "$WORK/$M.conf" >"$WORK/device.conf"
	refused "up: the device exists and is no TAP" 1 'device w1 exists and is no' \
		in_mobile up --name "$M" --run-dir "$WORK/$M" "$WORK/device.conf"
	nothing_left "up: the device exists and is no TAP" "$M"

	cp "$WORK/$M.conf" "$dots"
	refused "up: a name with a dot" 1 'letters, digits' in_mobile up --run-dir "$WORK/$M" "$dots"
	nothing_left "up: a name with a dot" "$M" a.b

	nsenter --net="/run/netns/$M" -- python3 -c "
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', $PORT)); time.sleep(600)" &
	holder=$!
	wait_for 5 listens "$M" -u || fail "UDP port in use" "the holder of the port did not start"
	refused "up: UDP port in use" 1 "UDP port $PORT cannot be opened: Address already in use" up "$M"
	nothing_left "up: UDP port in use" "$M"
	refused_json "up --json: UDP port in use" 1 in_mobile up --json --run-dir "$WORK/$M" "$WORK/$M.conf"
	kill "$holder" && wait "$holder" 2>/dev/null

	nsenter --net="/run/netns/$A" -- python3 -c "
import socket, time
s = socket.socket(); s.bind(('10.3.0.2', $PORT)); s.listen(); time.sleep(600)" &
	holder=$!
	wait_for 5 listens "$A" -t || fail "TCP port in use" "the holder of the port did not start"
	refused "up: TCP port in use at the anchor" 1 "cannot listen on 10.3.0.2 port $PORT: Address already in use" up "$A"
	nothing_left "up: TCP port in use at the anchor" "$A"
	kill "$holder" && wait "$holder" 2>/dev/null
}

# ---- without privileges ----------------------------------------------------

privileges() {
	local bin=$WORK/bin pub=$WORK/pub
	chmod 711 "$WORK"
	mkdir -m 755 "$bin" "$pub"
	install -m 755 "$BIN/holdfast" "$BIN/holdfastd" "$bin"
	sed "s|$WORK/key|$pub/key|" "$WORK/$M.conf" >"$pub/$M.conf"
	cp "$WORK/key" "$pub/key"
	chmod 644 "$pub/$M.conf"
	refused "nobody: the key is root's" 1 'key file .* may not be read' in_ns "$M" as_nobody "$bin/holdfast" up "$pub/$M.conf"
	chown 65534 "$pub/key"
	refused "nobody: up" 1 'needs root' in_ns "$M" as_nobody "$bin/holdfast" up "$pub/$M.conf"
	refused_json "nobody: up --json" 1 in_ns "$M" as_nobody "$bin/holdfast" up --json "$pub/$M.conf"
	refused "nobody: holdfastd" 1 'needs root' in_ns "$M" as_nobody "$bin/holdfastd" "$pub/$M.conf"
	run in_ns "$M" as_nobody "$bin/holdfastd" --test "$pub/$M.conf"
	if [ "$RC" -eq 0 ]; then pass "nobody: --test"; else fail "nobody: --test" "$(show)"; fi
	refused "nobody: attach" 1 'lacks CAP_BPF and CAP_PERFMON and CAP_NET_ADMIN' in_ns "$M" as_nobody "$bin/holdfast" attach w1
	refused "nobody: detach" 1 'lacks CAP_BPF' in_ns "$M" as_nobody "$bin/holdfast" detach --all
	refused "nobody: flows" 1 'lacks CAP_BPF' in_ns "$M" as_nobody "$bin/holdfast" flows "$M"
	refused_json "nobody: attach --json" 1 in_ns "$M" as_nobody "$bin/holdfast" attach --json w1
	nothing_left "nobody" "$M"
	refused "root without capabilities: up" 1 'not permitted|lacks CAP' in_ns "$M" \
		setpriv --bounding-set=-all --inh-caps=-all -- "$bin/holdfast" up --run-dir "$WORK/$M" "$WORK/$M.conf"
	refused "root without capabilities: attach" 1 'lacks CAP_BPF' in_ns "$M" \
		setpriv --bounding-set=-all --inh-caps=-all -- "$bin/holdfast" attach w1
	nothing_left "root without capabilities" "$M"
}

# ---- a running daemon ------------------------------------------------------

second_daemon() {
	local pid before
	pid=$(hf "$M" status --json | jq .pid)
	before=$(wc -c <"$WORK/$M/$M.log")
	refused "two daemons for one name" 1 "a daemon named '$M' runs already" up "$M"
	refused "two daemons for one name, without 'up'" 1 "a daemon named '$M' runs already" \
		in_ns "$M" "$BIN/holdfastd" --run-dir "$WORK/$M" "$WORK/$M.conf"
	check "the first one is undisturbed" [ "$(hf "$M" status --json | jq .pid)" = "$pid" ]
	check "the first one keeps its log" [ "$(head -c "$before" "$WORK/$M/$M.log" | grep -c 'ready as mobile')" -eq 1 ]
	refused "the same name from another run folder" 1 'UDP port|owns the instance' \
		in_mobile up --run-dir "$WORK/elsewhere" "$WORK/$M.conf"
	sed "s/^id = laptop/&\nport = 4691/" "$WORK/$M.conf" >"$WORK/second.conf"
	refused "another name on the same device" 1 'device hf0 is held by another process' \
		in_mobile up --name "$RUN-second" --run-dir "$WORK/$M" "$WORK/second.conf"
	check "another name: no pins, no socket" [ ! -e "$PINS/$RUN-second" ] && [ ! -e "$WORK/$M/$RUN-second.sock" ]
	sed 's/^id = laptop/&\ndevice = hf1/' "$WORK/$M.conf" >"$WORK/second.conf"
	refused "another name on the same port" 1 "UDP port $PORT cannot be opened" \
		in_mobile up --name "$RUN-second" --run-dir "$WORK/$M" "$WORK/second.conf"
	check "the first one still carries" ping_ok
	refused "nobody: the control socket" 1 'Permission denied' \
		as_nobody "$WORK/bin/holdfast" status --run-dir "$WORK/$M" "$M"

	# a second socket that nobody listens on makes the choice ambiguous
	python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('$WORK/$M/other.sock')"
	refused "which daemon?" 1 '2 daemons run here: name one with --name' hf "$M" status
	refused "a socket without a daemon" 1 "no daemon named 'other' runs here" hf "$M" status other
	rm "$WORK/$M/other.sock"
}

switching() {
	local holder
	refused "switch: at the anchor" 1 'asked for at the mobile; this daemon is an anchor' hf "$A" switch
	refused_json "switch --json: at the anchor" 1 hf "$A" switch --json
	refused "switch: unknown interface" 1 "'eth9' is no uplink" hf "$M" switch --to eth9
	refused "switch --break: unknown interface" 1 "'eth9' is no uplink" hf "$M" switch --break --to eth9
	refused_json "switch --json: unknown interface" 1 hf "$M" switch --json --to eth9
	refused "switch: unknown association" 1 "no association 'work'" hf "$M" switch --assoc work
	refused "switch: where it is" 1 'uses w1 already' hf "$M" switch --to w1
	refused "switch: to an uplink that is not there" 1 'no other path is usable now over nope9' hf "$M" switch --to nope9

	# to w2, so that w1 can be the one that is awaited
	wait_for 10 usable w2
	check "switch: to w2" hf "$M" switch --to w2
	ip -n "$M" link set w1 down
	wait_for 5 not_offered w1 || fail "w1 is gone" "still offered"
	refused "switch: no other path" 1 'no other path is usable now' hf "$M" switch
	check "switch --break --wait=0" hf "$M" switch --break --wait=0 --to w1
	check "switch: it is under way" wait_for 5 state_is old-left
	refused "switch: another is under way" 1 'a switch is under way \(old-left\)' hf "$M" switch
	refused "switch --break: another is under way" 1 'a switch is under way' hf "$M" switch --break --to w2
	refused_json "switch --json: another is under way" 1 hf "$M" switch --json
	ip -n "$M" link set w1 up
	ip -n "$M" route replace default via 10.1.0.1 dev w1 metric 100
	check "switch: it ends when w1 is there" wait_for 10 current_is w1
	check "switch: connected" wait_for 5 state_is connected

	# An optional uplink that is not there yet: break-before-make waits for it, and moves nowhere else.
	wait_for 10 usable w2
	nsenter --net="/run/netns/$M" -- "$BIN/holdfast" switch --run-dir "$WORK/$M" --break --to nope9 >/dev/null 2>&1 &
	holder=$!
	check "switch --break: waits for an uplink that is not there" wait_for 3 state_is old-left
	kill "$holder" 2>/dev/null
	wait "$holder" 2>/dev/null
	# out of it again, by a timeout of a second
	check "switch --break: which ends" wait_for 20 state_is connected
}

json_of_all() {
	local verb monitor
	for verb in assocs paths flows; do
		good_json "$verb --json" 'type == "array"' hf "$M" "$verb" --json --name "$M"
	done
	good_json "status --json" '.name and .pid and .counters and (.ok | not)' hf "$M" status --json
	good_json "status --json at the anchor" '.role == "anchor" and (.services | length == 9)' hf "$A" status --json
	nsenter --net="/run/netns/$M" -- "$BIN/holdfast" monitor --json --run-dir "$WORK/$M" >"$WORK/monitor" 2>/dev/null &
	monitor=$!
	# until the monitor has been heard, more switches
	one_more() {
		hf "$M" switch >/dev/null 2>&1
		[ -s "$WORK/monitor" ]
	}
	wait_for 10 one_more
	kill "$monitor" 2>/dev/null
	wait "$monitor" 2>/dev/null
	check "monitor --json" jq -es 'length > 0 and all(.[]; .event and .time_us)' "$WORK/monitor"
	wait_for 5 state_is connected
	good_json "switch --json" '.event == "switch" and .last_switch == "planned"' hf "$M" switch --json
	wait_for 5 state_is connected
	good_json "switch --json --wait=0" '.assoc == "home"' hf "$M" switch --json --wait=0
	wait_for 5 state_is connected
}

# ---- by hand on the data plane ---------------------------------------------

by_hand() {
	local hand=$RUN-hand
	ip -n "$M" link add v0 type veth peer name v1
	ip -n "$M" link set v0 up
	ip -n "$M" link set v1 up
	refused "attach: unknown interface" 1 "interface 'eth9' does not exist" in_mobile attach --name "$hand" eth9
	refused_json "attach --json: unknown interface" 1 in_mobile attach --json --name "$hand" eth9
	refused "attach: bad mode" 2 "'fast' does not fit option -m" in_mobile attach --name "$hand" --mode fast v0
	refused "attach: bad name" 1 'instance name "a/b" is not usable' in_mobile attach --name a/b v0
	refused "detach: nothing there" 1 "nothing named '$hand'" in_mobile detach --name "$hand" v0
	refused "detach --all: nothing there" 1 "nothing (named|is pinned).*$hand" in_mobile detach --name "$hand" --all
	refused "detach --all: with an interface" 2 'takes no INTERFACE' in_mobile detach --name "$hand" --all v0
	refused_json "detach --json: nothing there" 1 in_mobile detach --json --name "$hand" v0
	check "attach: nothing of that stays" [ ! -e "$PINS/$hand" ]
	good_json "attach --json" '.interface == "v0" and .mode == "tc"' in_mobile attach --json --name "$hand" --mode tc v0
	refused "detach: another interface" 1 '.' in_mobile detach --name "$hand" v1
	good_json "detach --json" '.detached' in_mobile detach --json --name "$hand" v0
	check "detach: the last one takes all" [ ! -e "$PINS/$hand" ]
	refused "detach --all: a daemon owns it" 1 'a daemon owns the instance' in_mobile detach --all --name "$M"
	check "the daemon still carries" ping_ok
}

kept() {
	local value meta=$PINS/$M/maps/meta
	good_json "down --keep --json" '.kept == true' hf "$M" down --keep --json
	check "kept: carries" ping_ok
	check "kept: flows" hf "$M" flows "$M"
	run in_mobile attach --name "$M" v0
	check "kept: carries after attach" ping_ok
	run in_mobile detach --name "$M" v0
	check "kept: carries after detach" ping_ok
	up "$M" >/dev/null 2>&1
	check "kept: carries after 'up'" ping_ok

	# another layout: the pinned record of the version says so
	hf "$M" down --keep >/dev/null
	value=$(bpftool -j map dump pinned "$meta" | jq -r '.[0].value | join(" ")')
	# shellcheck disable=SC2086
	set -- $value
	# shellcheck disable=SC2086
	bpftool map update pinned "$meta" key 0 0 0 0 value "${@:1:4}" 0x63 "${@:6}"
	refused "another layout: up" 1 'of another layout \(.*version 99' up "$M"
	refused_json "another layout: up --json" 1 in_mobile up --json --run-dir "$WORK/$M" "$WORK/$M.conf"
	refused "another layout: flows" 1 'of another layout' hf "$M" flows "$M"
	check "another layout: nothing was touched" [ -e "$meta" ]
	run in_mobile detach --all --name "$M"
	if [ "$RC" -eq 0 ] && [ ! -e "$PINS/$M" ]; then
		pass "another layout: detach --all takes it away"
	else
		fail "another layout: detach --all takes it away" "$(show)"
		bpftool map update pinned "$meta" key 0 0 0 0 value "$@"
		in_mobile detach --all --name "$M" >/dev/null
	fi
	good_json "up --json" '.assocs[0].connected' in_mobile up --json --run-dir "$WORK/$M" "$WORK/$M.conf"
	check "up again: carries" ping_ok
}

# in_ns runs programs, not functions of this shell.
nobody_program() {
	cat >"$WORK/as_nobody" <<-'END'
		#!/bin/sh
		exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
	END
	chmod 755 "$WORK/as_nobody"
	PATH=$WORK:$PATH
}

nobody_program
topology
write_conf 10.3.0.2
# one path for each uplink, and an uplink that never comes
sed -i 's/^points = .*/points = 10.3.0.2/' "$WORK/$A.conf"
printf '[uplink nope9]\noptional = yes\n[timers]\nswitch = 5s\n' >>"$WORK/$M.conf"
command_line
configurations
cannot_start
privileges
if up "$A" >/dev/null && up "$M" >/dev/null; then
	pass "up: both, after all that"
	second_daemon
	by_hand
	switching
	json_of_all
	kept
	stopped=$(hf "$M" status --json | jq .pid)
	kill -STOP "$stopped"
	refused "a daemon that stands still" 1 'not answered within 10 s' hf "$M" status
	kill -CONT "$stopped"
	good_json "down --json" '.kept == false' hf "$M" down --json
	hf "$A" down >/dev/null
	nothing_left "down at the mobile" "$M"
	nothing_left "down at the anchor" "$A"
else
	fail "up: both, after all that" "$(cat "$WORK/$M/$M.log" "$WORK/$A/$A.log")"
fi
rm -f "/run/holdfast/"*":$RUN-"*
finish
