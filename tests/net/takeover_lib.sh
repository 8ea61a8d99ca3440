# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Sourced by the tests of takeover. Names are unique to the run; everything is taken away at the end,
# also after a failure.
#
#   client c0 10.5.0.9 / fd05::9 ──┐
#   node A n0 10.5.0.1 / fd05::1 ──┤ bridge (namespace x)     the addresses that move:
#   node B n0 10.5.0.2 / fd05::2 ──┘                          10.5.0.100, fd05::100
#   between A and B alone: k0 10.6.0.1, 10.6.0.2
set -u
# shellcheck source=tests/net/base.sh
. "$(dirname "${BASH_SOURCE[0]}")/base.sh"

RUN=ht$$
APPS=${APPS:-$BIN/tests/apps}
WORK=$(mktemp -d /tmp/holdfast-takeover.XXXXXX)
VIP=10.5.0.100 VIP6=fd05::100
C=$RUN-c X=$RUN-x A=$RUN-a B=$RUN-b

cleanup() {
	local ns pids
	set +e
	for ns in "$C" "$A" "$B" "$X"; do
		[ -e "/run/netns/$ns" ] || continue
		pids=$(ip netns pids "$ns" 2>/dev/null)
		# shellcheck disable=SC2086
		[ -n "$pids" ] && kill -9 $pids 2>/dev/null
	done
	for ns in "$A" "$B"; do
		rm -rf "/sys/fs/bpf/holdfast/"*"/$ns"
	done
	for ns in "$C" "$A" "$B" "$X"; do
		ip netns del "$ns" 2>/dev/null
	done
	[ "${KEEP:-}" ] || rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

port() { # ns dev bridge-port
	ip -n "$X" link add "$3" type veth peer name "$2" netns "$1"
	ip -n "$X" link set "$3" master br0 up
	ip -n "$1" link set "$2" up
}

topology() {
	local ns
	for ns in "$C" "$X" "$A" "$B"; do
		ip netns add "$ns"
		ip -n "$ns" link set lo up
		in_ns "$ns" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
	done
	ip -n "$X" link add br0 type bridge mcast_snooping 0
	ip -n "$X" link set br0 up
	port "$C" c0 xc
	port "$A" n0 xa
	port "$B" n0 xb
	ip -n "$A" link add k0 type veth peer name k0 netns "$B"
	ip -n "$A" link set k0 up
	ip -n "$B" link set k0 up
	addr "$C" c0 10.5.0.9/24 fd05::9/64
	addr "$A" n0 10.5.0.1/24 fd05::1/64
	addr "$B" n0 10.5.0.2/24 fd05::2/64
	addr "$A" k0 10.6.0.1/24
	addr "$B" k0 10.6.0.2/24
}

# write_confs [LINES of [takeover]]. A busy machine is not a dead one: the lease is longer than the default
write_confs() {
	umask 077
	"$BIN/holdfast" genkey "$WORK/key"
	write_conf "$A" a 10.6.0.1 b 10.6.0.2 "${1:-}"
	write_conf "$B" b 10.6.0.2 a 10.6.0.1 "${1:-}"
	umask 022
}
# start_redis: a store for both, in the namespace of the bridge
start_redis() {
	addr "$X" br0 10.5.0.50/24
	in_ns "$X" redis-server --port 6379 --bind 10.5.0.50 --protected-mode no --save '' --appendonly no \
		--dir "$WORK" --daemonize no >"$WORK/redis.log" 2>&1 &
	wait_for 10 in_ns "$X" redis-cli -h 10.5.0.50 ping
}
write_redis_confs() { # [LINES of [takeover]]
	write_redis_conf "$A" a "${1:-}"
	write_redis_conf "$B" b "${1:-}"
}
write_redis_conf() { # ns id lines
	cat >"$WORK/$1.conf" <<-END
		[holdfast]
		role = server
		id = $2
		[takeover]
		group = web
		address = $VIP/24, $VIP6/64
		interface = n0
		lease = 800ms
		store = redis
		redis = 10.5.0.50:6379
		$3
	END
}
write_conf() { # ns id own other otheraddress lines
	cat >"$WORK/$1.conf" <<-END
		[holdfast]
		role = server
		id = $2
		points = $3
		[takeover]
		group = web
		address = $VIP/24, $VIP6/64
		interface = n0
		lease = 800ms
		key = $WORK/key
		$6
		[node $4]
		address = $5
	END
}

value() { # ns jq-expression
	hf "$1" takeover --json | jq -r "$2"
}

state_is() { # ns STATE
	is "$2" value "$1" .state
}

owner() { # prints the namespace that serves
	local ns
	for ns in "$A" "$B"; do
		case $(value "$ns" .state 2>/dev/null) in serving | alone) echo "$ns" && return ;; esac
	done
	return 1
}
other() { [ "$1" = "$A" ] && echo "$B" || echo "$A"; }

declare -A SERVER
serve() { # ns [address port]: the server of files of $WORK/root
	local ns=$1
	HOLDFAST_RUN_DIR=$WORK/$ns nsenter --net="/run/netns/$ns" -- \
		"$APPS/httpd" -n "$ns" -a "${2:-::}" -p "${3:-80}" -r "$WORK/root" >>"$WORK/$ns.httpd" 2>&1 &
	SERVER[$ns]=$!
	disown $! # without bash's word about its end
}

# Gives the group away. The owner refuses until a heartbeat has said that the other node has all applications.
drain() { wait_for 5 hf "$1" takeover drain; } # ns

content() { # FILE BYTES
	mkdir -p "$WORK/root"
	openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv "$(printf '%032x' "$2")" -in /dev/zero 2>/dev/null |
		head -c "$2" >"$WORK/root/$1"
}

resets() { # what the client's kernel counted that a TCP peer would find odd
	in_ns "$C" nstat -asz TcpEstabResets TcpExtPAWSEstab TcpInErrs TcpExtTCPAbortOnData 2>/dev/null |
		awk 'NR > 1 { s += $2 } END { print s + 0 }'
}
