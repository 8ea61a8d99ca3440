# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Sourced by the tests in network namespaces. Names are unique to the run; everything is taken away
# at the end, also after a failure.
#
#              w1 (10.1.0.2 / fd01::2)      a1 (10.1.0.1 / fd01::1)
#   mobile ─┬──────────────────────────── r ┐
#           └──────────────────────────── r ┴─ 10.3.0.0/24 ─ anchor ─ 10.9.0.0/24 ─ server
#              w2 (10.2.0.2 / fd02::2)          p0 .1→.2      l0 .1→.10
#
# r is a router: both access networks lead through it to the anchor's one point, 10.3.0.2 / fd03::2.
set -u
# shellcheck source=tests/net/base.sh
. "$(dirname "${BASH_SOURCE[0]}")/base.sh"

RUN=hf$$
WORK=$(mktemp -d /tmp/holdfast-test.XXXXXX)
NETEM=${NETEM:-}

M=$RUN-m R=$RUN-r A=$RUN-a S=$RUN-s

cleanup() {
	local ns pids
	set +e
	for ns in "$M" "$A"; do
		[ -S "$WORK/$ns/$ns.sock" ] && in_ns "$ns" "$BIN/holdfast" down --run-dir "$WORK/$ns" >/dev/null 2>&1
	done
	for ns in "$M" "$R" "$A" "$S"; do
		[ -e "/run/netns/$ns" ] || continue
		pids=$(ip netns pids "$ns" 2>/dev/null)
		# shellcheck disable=SC2086
		[ -n "$pids" ] && kill -9 $pids 2>/dev/null
	done
	for ns in "$M" "$A"; do
		[ -d "/sys/fs/bpf/holdfast/v1/$ns" ] &&
			in_ns "$ns" "$BIN/holdfast" detach --all --name "$ns" >/dev/null 2>&1
	done
	for ns in "$M" "$R" "$A" "$S"; do
		ip netns del "$ns" 2>/dev/null
	done
	[ "${KEEP:-}" ] || rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

link() { # ns1 dev1 ns2 dev2
	ip -n "$1" link add "$2" type veth peer name "$4" netns "$3"
	ip -n "$1" link set "$2" up
	ip -n "$3" link set "$4" up
}

topology() {
	local ns
	for ns in "$M" "$R" "$A" "$S"; do
		ip netns add "$ns"
		ip -n "$ns" link set lo up
	done
	for ns in "$R" "$A"; do
		in_ns "$ns" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	done
	link "$M" w1 "$R" a1
	link "$M" w2 "$R" a2
	link "$R" rp "$A" p0
	link "$A" l0 "$S" s0
	addr "$M" w1 10.1.0.2/24 fd01::2/64
	addr "$R" a1 10.1.0.1/24 fd01::1/64
	addr "$M" w2 10.2.0.2/24 fd02::2/64
	addr "$R" a2 10.2.0.1/24 fd02::1/64
	addr "$R" rp 10.3.0.1/24 fd03::1/64
	addr "$A" p0 10.3.0.2/24 fd03::2/64
	addr "$A" l0 10.9.0.1/24 fd09::1/64
	addr "$S" s0 10.9.0.10/24 fd09::10/64
	ip -n "$M" route add default via 10.1.0.1 dev w1 metric 100
	ip -n "$M" route add default via 10.2.0.1 dev w2 metric 200
	ip -n "$M" route add default via fd01::1 dev w1 metric 100
	ip -n "$M" route add default via fd02::1 dev w2 metric 200
	ip -n "$A" route add default via 10.3.0.1
	ip -n "$A" route add default via fd03::1
	ip -n "$S" route add default via 10.9.0.1
	ip -n "$S" route add default via fd09::1
	if [ -n "$NETEM" ]; then
		# shellcheck disable=SC2086
		for ns in "$R a1" "$R a2" "$M w1" "$M w2"; do
			set -- $ns
			tc -n "$1" qdisc add dev "$2" root netem $NETEM
		done
	fi
}

# write_conf [MOBILE_POINTS]: keys and both configurations
write_conf() {
	local points=${1:-10.3.0.2} extra_m=${2:-} extra_a=${3:-}
	umask 077
	"$BIN/holdfast" genkey "$WORK/key"
	cat >"$WORK/$A.conf" <<-END
		[holdfast]
		role = anchor
		points = 10.3.0.2, fd03::2
		pool = 10.77.0.0/24, fd77::/64
		interfaces = p0, l0
		mode = tc
		$extra_a
		[mobile laptop]
		key = $WORK/key
		[service web]
		server = 10.9.0.10:80
		emulator = 20080
		[service web6]
		server = [fd09::10]:80
		emulator = 20081
		[service ssh]
		server = 10.9.0.10:22
		emulator = 20022
		[service echo]
		server = 10.9.0.10:7
		emulator = 20007
		[service echo6]
		server = [fd09::10]:7
		emulator = 20008
		[service udp]
		protocol = udp
		server = 10.9.0.10:9000
		emulator = 29000
		[service udp6]
		protocol = udp
		server = [fd09::10]:9000
		emulator = 29001
		[service ping]
		protocol = icmp
		server = 10.9.0.10
		emulator = 4096
		[service ping6]
		protocol = icmp
		server = fd09::10
		emulator = 8192
	END
	cat >"$WORK/$M.conf" <<-END
		[holdfast]
		role = mobile
		id = laptop
		$extra_m
		[anchor home]
		key = $WORK/key
		points = $points
		[uplink w1]
		cost = 10
		[uplink w2]
		cost = 20
	END
}

# ---- links that die ---------------------------------------------------------

# cut DEV: what crosses r by that access link vanishes without a trace; heal: no longer
cut() {
	in_ns "$R" nft -f - <<-END
		table inet cut_$1 {
			chain c {
				type filter hook forward priority 0; policy accept;
				iifname "$1" drop
				oifname "$1" drop
			}
		}
	END
}
heal() { in_ns "$R" nft delete table inet "cut_$1"; }

# ---- programs ---------------------------------------------------------------

# nginx in the server's namespace: $WORK/www on port 80, IPv4 and IPv6
start_nginx() {
	mkdir -p "$WORK/www" "$WORK/nginx"
	chmod 755 "$WORK" "$WORK/www" "$WORK/nginx"
	cat >"$WORK/nginx/nginx.conf" <<-END
		daemon off; pid $WORK/nginx/pid; error_log $WORK/nginx/error.log; user root;
		worker_processes 1;
		events { worker_connections 4096; }
		http {
			access_log off; sendfile on; client_body_temp_path $WORK/nginx/b; proxy_temp_path $WORK/nginx/p;
			fastcgi_temp_path $WORK/nginx/f; uwsgi_temp_path $WORK/nginx/u; scgi_temp_path $WORK/nginx/s;
			server { listen 80; listen [::]:80; root $WORK/www; }
		}
	END
	in_ns "$S" nginx -c "$WORK/nginx/nginx.conf" >/dev/null 2>&1 &
	disown
	wait_for 10 in_ns "$S" curl -sf -o /dev/null -m 1 http://127.0.0.1:80/ || wait_for 5 test -s "$WORK/nginx/pid"
}

# content NAME BYTES: a file of random content for the server
content() {
	head -c "$2" /dev/urandom >"$WORK/www/$1"
}

# value NS FILTER: of the status, by jq
value() { hf "$1" status --json | jq -r "$2"; }
current_if() { value "$M" '.assocs[0].paths[] | select(.use=="current") | .interface'; }
current_local() { value "$M" '.assocs[0].paths[] | select(.use=="current") | .local'; }
settled() { [ "$(value "$M" '.assocs[0].state')" = connected ] && [ "$(value "$A" '.assocs[0].state')" = connected ]; }
validated() { value "$M" ".assocs[0].paths[] | select(.interface==\"$1\") | .validated" | grep -q true; }

# stream NS ARGS...: tests/net/stream.py with Debian's Python
stream() {
	local ns=$1
	shift
	exec nsenter --net="/run/netns/$ns" -- /usr/bin/python3 "$HERE/stream.py" "$@"
}
# the same in the background and without bash's word about its end
serve() {
	(stream "$@" >/dev/null 2>"$WORK/serve.err") &
	disown
}
