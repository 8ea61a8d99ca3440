# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Sourced by lib.sh and takeover_lib.sh: what does not depend on the namespaces that there are. These
# say where $WORK is, whose files are of this run alone.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
BIN=${BIN:-$TOP/${OUTPUT:-build}}
FAILED=0

# Runs in a namespace with the host's mounts: "ip netns exec" would hide bpffs.
in_ns() {
	local ns=$1
	shift
	nsenter --net="/run/netns/$ns" -- "$@"
}

pass() { echo "PASS $1"; }
fail() {
	echo "FAIL $1: ${2:-}"
	FAILED=1
}
skip() { echo "SKIP $1: $2"; }
finish() { exit $FAILED; }

pause() { read -rt "$1" <> <(:) || :; } # for an outage, or to look how long nothing happens; never to wait for something

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
	local end=$(($(date +%s%N) + $1 * 1000000000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s%N)" -lt "$end" ] || return 1
		pause 0.01
	done
}
is() { [ "$("${@:2}")" = "$1" ]; } # WANTED COMMAND...

# Ends a process at once; on a busy machine its locks and sockets outlive the signal for a while.
slay() { # PID
	kill -9 "$1"
	wait_for 10 gone "$1" || fail slay "process $1 is still there"
}
gone() { ! kill -0 "$1"; }

addr() { # ns dev address...
	local ns=$1 dev=$2 a
	shift 2
	for a in "$@"; do
		case $a in
		*:*) ip -n "$ns" addr add "$a" dev "$dev" nodad ;;
		*) ip -n "$ns" addr add "$a" dev "$dev" ;;
		esac
	done
}

# ---- daemons --------------------------------------------------------------------

up() { # ns
	in_ns "$1" "$BIN/holdfast" up -v --run-dir "$WORK/$1" "$WORK/$1.conf"
}

hf() { # ns verb args...
	local ns=$1 verb=$2
	shift 2
	in_ns "$ns" "$BIN/holdfast" "$verb" --run-dir "$WORK/$ns" "$@"
}
