#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Clients of an nginx that knows nothing of takeover: nginx, what stands in front of it, or the whole
# node dies in the middle of a download, and every byte is right, or the download is cut short.
# shellcheck source=tests/net/takeover_lib.sh
. "$(dirname "$0")/takeover_lib.sh"

if ! command -v nginx >/dev/null; then
	skip T1_unmodified_server "no nginx"
	finish
fi
ROUNDS=${ROUNDS:-4} # of random crashes
declare -A NGINX FRONT
fail() {
	echo "FAIL $1: ${2:-}"
	FAILED=$((FAILED + 1))
}
PID=0 AT=

# ---- the two servers ---------------------------------------------------------

nginx_conf() { # ns
	mkdir -p "$WORK/$1.nginx"
	cat >"$WORK/$1.nginx/conf" <<-END
		daemon off;
		master_process off;
		pid $WORK/$1.nginx/pid;
		error_log $WORK/$1.nginx/error.log;
		events { worker_connections 512; }
		http {
			access_log off;
			sendfile on;
			client_body_temp_path $WORK/$1.nginx/body;
			proxy_temp_path $WORK/$1.nginx/proxy;
			fastcgi_temp_path $WORK/$1.nginx/fastcgi;
			uwsgi_temp_path $WORK/$1.nginx/uwsgi;
			scgi_temp_path $WORK/$1.nginx/scgi;
			server {
				listen 127.0.0.1:8080;
				root $WORK/$1.root;
				location /packed { gzip on; gzip_types *; gzip_min_length 1; gzip_comp_level 1; }
				location /late { proxy_pass http://127.0.0.1:8081; proxy_http_version 1.1; }
				location /upload { client_max_body_size 100m; return 201; }
			}
		}
	END
}

start_nginx() { # ns
	nsenter --net="/run/netns/$1" -- nginx -c "$WORK/$1.nginx/conf" -p "$WORK/$1.nginx" >>"$WORK/$1.nginx/out" 2>&1 &
	NGINX[$1]=$!
	disown $!
	wait_for 5 in_ns "$1" curl -sf -o /dev/null http://127.0.0.1:8080/small
}

# An answer in chunks, of which nothing comes while the file `withheld` is there
start_late() { # ns
	nsenter --net="/run/netns/$1" -- python3 - "$WORK/withheld" >>"$WORK/$1.late" 2>&1 <<-'END' &
		import http.server, os, sys, time
		class Late(http.server.BaseHTTPRequestHandler):
		    protocol_version = "HTTP/1.1"
		    def do_GET(self):
		        print("asked", flush=True)
		        while os.path.exists(sys.argv[1]):
		            time.sleep(0.01)
		        self.send_response(200)
		        self.send_header("Transfer-Encoding", "chunked")
		        self.end_headers()
		        self.wfile.write(b"4\r\nlate\r\n0\r\n\r\n")
		    do_POST = do_GET
		http.server.ThreadingHTTPServer(("127.0.0.1", 8081), Late).serve_forever()
	END
	disown $!
}

start_front() { # ns
	HOLDFAST_RUN_DIR=$WORK/$1 nsenter --net="/run/netns/$1" -- "$BIN/holdfast-front" -v -n "$1" \
		-l 0.0.0.0:80 -l '[::]:80' -s 127.0.0.1:8080 >>"$WORK/$1.front" 2>&1 &
	FRONT[$1]=$!
	disown $!
}

start_node() { # ns
	up "$1" >"$WORK/$1.up" 2>&1 || { fail T1_unmodified_node "$1: $(cat "$WORK/$1.up" "$WORK/$1"/*.log)" && finish; }
	start_nginx "$1" || { fail T1_unmodified_nginx "$1: $(cat "$WORK/$1.nginx/"*)" && finish; }
	start_late "$1"
	start_front "$1"
}

# what a power cut leaves: nothing
kill_node() { # ns
	ip -n "$1" link set n0 down
	ip -n "$1" link set k0 down
	# shellcheck disable=SC2046
	kill -9 $(ip netns pids "$1") 2>/dev/null
	wait_for 5 no_process "$1"
}
no_process() { [ -z "$(ip netns pids "$1")" ]; }
revive_node() { # ns: an interface without addresses of old
	rm -rf "/sys/fs/bpf/holdfast/"*"/$1"
	tc -n "$1" qdisc del dev n0 clsact 2>/dev/null # which newer kernels do without
	ip -n "$1" addr flush dev n0
	ip -n "$1" link set k0 up
	ip -n "$1" link set n0 up
	if [ "$1" = "$A" ]; then addr "$1" n0 10.5.0.1/24 fd05::1/64; else addr "$1" n0 10.5.0.2/24 fd05::2/64; fi
	start_node "$1"
}

standby_ready() { # AT is the node that serves, and it has a second one behind it
	AT=$(owner) && state_is "$AT" serving && is 1 value "$(other "$AT")" .applications &&
		is 1 value "$AT" .applications
}

counter() { # ns NAME: of the front
	local before
	before=$(wc -l <"$WORK/$1.front")
	kill -USR1 "${FRONT[$1]}"
	wait_for 2 more_lines "$1" "$before" || return 1
	tail -n +$((before + 1)) "$WORK/$1.front" | grep '^{' | tail -n 1 | jq ".$2"
}
more_lines() { [ "$(tail -n +$(($2 + 1)) "$WORK/$1.front" | grep -c '^{')" -gt 0 ]; }

# ---- clients -------------------------------------------------------------------

got() { # FILE URL [curl's options]: in the background
	local file=$1 url=$2
	shift 2
	rm -f "$WORK/$file"
	nsenter --net="/run/netns/$C" -- curl -sS --max-time 60 --limit-rate 40M -o "$WORK/$file" "$@" "$url" \
		2>"$WORK/$file.err" &
	PID=$!
}
size() { stat -c %s "$WORK/$1" 2>/dev/null || echo 0; }
progress() { [ "$(size "$1")" -gt "$2" ]; }

is_whole() { # FILE NAME: it is NAME, byte by byte
	cmp -s "$WORK/$1" "$WORK/$A.root/$2"
}
# FILE ROOT NAME: no byte of it is wrong
is_beginning() {
	cmp -s -n "$(size "$1")" "$WORK/$1" "$WORK/$2.root/$3"
}

settled() { # NAME
	wait_for 20 standby_ready && return
	fail "$1" "no standby: $(hf "$A" takeover)$(hf "$B" takeover)$(tail -qn 3 "$WORK"/*.front)"
	return 1
}

# ---- the tests -----------------------------------------------------------------

topology
if [ "${STORE:-direct}" = redis ]; then
	start_redis && write_redis_confs 'lease = 1s'
else
	write_confs 'lease = 1s' # a busy machine is not a dead one
fi
content big 300000000
content small 3000
content middle 100000
content packed 60000000
mv "$WORK/root" "$WORK/$A.root"
content differs 60000000
mv "$WORK/root/differs" "$WORK/$A.root/differs"
cp -a "$WORK/$A.root" "$WORK/$B.root"
head -c 60000000 /dev/urandom >"$WORK/$B.root/differs" # as long, but another one
touch -d '2 hours ago' "$WORK/$A.root/"*
touch -r "$WORK/$A.root/big" "$WORK/$B.root/"*
touch -d '1 hour ago' "$WORK/$B.root/differs"
nginx_conf "$A"
nginx_conf "$B"
start_node "$A"
start_node "$B"
wait_for 10 owner || { fail T6_somebody_serves "$(hf "$A" takeover)$(hf "$B" takeover)" && finish; }
settled T7_standby_is_synced || finish

url=http://$VIP

plain() { # what an HTTP client may do, without any crash
	local name=T1_unmodified_plain before=$FAILED
	in_ns "$C" curl -sS --max-time 20 -o "$WORK/out1" -o "$WORK/out2" -o "$WORK/out3" \
		"$url/small" "$url/middle" "$url/big" 2>"$WORK/err" || fail $name "$(cat "$WORK/err")"
	is_whole out1 small && is_whole out2 middle && is_whole out3 big || fail $name "wrong bytes"
	is '200 0' in_ns "$C" curl -sS --max-time 5 -I -o /dev/null -w '%{http_code} %{size_download}' "$url/big" ||
		fail $name "HEAD"
	is '206 1000' in_ns "$C" curl -sS --max-time 5 -r 5000-5999 -o /dev/null -w '%{http_code} %{size_download}' "$url/big" ||
		fail $name "a range"
	is '206' in_ns "$C" curl -sS --max-time 5 -r 5000-5999,7000-19999 -o /dev/null -w '%{http_code}' "$url/big" ||
		fail $name "two ranges"
	is '304' in_ns "$C" curl -sS --max-time 5 -z "$(date -R)" -o /dev/null -w '%{http_code}' "$url/big" ||
		fail $name "not modified"
	is '404' in_ns "$C" curl -sS --max-time 5 -o /dev/null -w '%{http_code}' "$url/none" || fail $name "not found"
	is '201' in_ns "$C" curl -sS --max-time 20 -T "$WORK/$A.root/differs" -o /dev/null -w '%{http_code}' "$url/upload" ||
		fail $name "an upload"
	in_ns "$C" curl -sS --max-time 20 --compressed -o "$WORK/out1" -o "$WORK/out2" "$url/packed" "$url/small" &&
		is_whole out1 packed && is_whole out2 small || fail $name "chunks"
	is '400' in_ns "$C" bash -c "exec 3<>/dev/tcp/$VIP/80; printf 'no request\r\n\r\n' >&3; head -n 1 <&3 | cut -d' ' -f2" ||
		fail $name "a bad request"
	is '2' in_ns "$C" bash -c "exec 3<>/dev/tcp/$VIP/80
		printf 'GET /small HTTP/1.1\r\nHost: a\r\n\r\nGET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >&3
		grep -ao 'HTTP/1.1 200' <&3 | wc -l" || fail $name "pipelining"
	[ "$FAILED" = "$before" ] && pass $name
}
plain
RESETS=$(resets) # of clients that were ended before they had read all


die() { # ns nginx|front|node
	case $2 in
	nginx) kill -9 "${NGINX[$1]}" ;;
	front) kill -9 "${FRONT[$1]}" ;;
	node) kill_node "$1" ;;
	esac
}
back() { # ns nginx|front|node
	case $2 in
	nginx)
		wait_for 10 gone "${FRONT[$1]}" # hands over by its end
		start_nginx "$1"
		start_front "$1"
		;;
	front) start_front "$1" ;;
	node) revive_node "$1" ;;
	esac
}

# NAME WHAT URL [curl's options]: in the middle of a download of "big"
crash() {
	local name=$1 what=$2 at before
	shift 2
	settled "$name" || return
	at=$AT
	before=$(counter "$(other "$at")" resumed)
	got out "$@"
	wait_for 10 progress out 20000000 || { fail "$name" "no download: $(cat "$WORK/out.err")" && return; }
	die "$at" "$what"
	if wait $PID && is_whole out big && [ "$(counter "$(other "$at")" resumed)" -gt "$before" ]; then
		pass "$name"
	else
		fail "$name" "$(cat "$WORK/out.err") $(size out) bytes; $(hf "$(other "$at")" takeover); $(tail -qn 3 "$WORK"/*.front)"
	fi
	back "$at" "$what"
}
crash T2_front_dies front "$url/big"
crash T2_front_of_the_other_node_dies front "$url/big"
crash T2_nginx_dies nginx "$url/big"
crash T2_node_dies node "$url/big"
crash T2_node_dies_ipv6 node "http://[$VIP6]/big"

# NAME URL ROOT COUNTER: an answer that another node has not
short() {
	local name=$1 at from before
	settled "$name" || return
	at=$AT
	from=$(counter "$(other "$at")" "$4")
	before=$FAILED
	got out "$2" "${@:5}"
	wait_for 10 progress out 5000000 || { fail "$name" "no download: $(cat "$WORK/out.err")" && return; }
	die "$at" front
	wait $PID && fail "$name" "the client believes that it has all: $(size out) bytes"
	is_beginning out "$at" "$3" || fail "$name" "wrong bytes among $(size out)"
	[ "$(counter "$(other "$at")" "$4")" = $((from + 1)) ] || fail "$name" "not counted as $4"
	back "$at" front
	[ "$FAILED" = "$before" ] && pass "$name"
}
short T2_another_object_is_refused "$url/differs" differs refused --limit-rate 10M
short T2_chunks_are_not_repeated "$url/packed" packed lost --limit-rate 10M -H 'Accept-Encoding: gzip' --compressed


# Nothing of the answer was sent: a GET is asked again, and a POST is not.
late() { # NAME WANTED TIMES [curl's options]
	local name=$1 want=$2 times=$3 at before
	settled "$name" || return
	at=$AT
	before=$(asked)
	touch "$WORK/withheld"
	got out "$url/late" "${@:4}"
	wait_for 5 is $((before + 1)) asked || fail "$name" "not asked"
	die "$at" front
	rm "$WORK/withheld"
	wait $PID
	if [ "$(cat "$WORK/out" 2>/dev/null)" = "$want" ] && is $((before + times)) asked; then
		pass "$name"
	else
		fail "$name" "$(cat "$WORK/out" "$WORK/out.err") asked $(($(asked) - before)) times"
	fi
	back "$at" front
}
asked() { cat "$WORK"/*.late | grep -c asked; } # how often
for ns in "$A" "$B"; do wait_for 10 in_ns "$ns" curl -sf -o /dev/null http://127.0.0.1:8080/late; done
late T2_get_is_asked_again late 2
late T2_post_is_not_asked_again "" 1 -d x=y

# Requests one after the other of one connection, until told to end: prints how many; fails if one is
# answered wrong, or the connection ends.
requests() { # PATH PAUSE
	in_ns "$C" timeout 60 python3 - "$VIP" "$1" "$WORK/$A.root/$1" "$2" "$WORK/begun" "$WORK/enough" <<-'END'
		import http.client, os, sys, time
		vip, path, file, pause, begun, enough = sys.argv[1:]
		want = open(file, "rb").read()
		c = http.client.HTTPConnection(vip, 80, timeout=30)
		c.connect()
		c.auto_open = 0
		n = 0
		while not os.path.exists(enough):
		    c.request("GET", "/" + path)
		    if c.getresponse().read() != want:
		        sys.exit("answer %d is wrong" % n)
		    n += 1
		    if n == 1:
		        open(begun, "w").close()
		    time.sleep(float(pause))
		print(n)
	END
}
keepalive() { # NAME PATH PAUSE
	local name=$1 at before=$FAILED n i pid
	rm -f "$WORK/begun" "$WORK/enough"
	requests "$2" "$3" >"$WORK/requests" 2>"$WORK/requests.err" &
	pid=$!
	wait_for 10 test -e "$WORK/begun"
	for ((i = 0; i < ROUNDS; i++)); do
		settled "$name" || break
		at=$AT
		pause "0.0$((RANDOM % 90 + 10))"
		die "$at" front
		wait_for 5 is "$(other "$at")" owner || fail "$name" "nobody took over: $(hf "$at" takeover)"
		back "$at" front
	done
	touch "$WORK/enough"
	wait $pid || fail "$name" "$(cat "$WORK/requests.err")"
	n=$(cat "$WORK/requests")
	[ "${n:-0}" -gt "$ROUNDS" ] || fail "$name" "only ${n:-0} requests"
	[ "$FAILED" = "$before" ] && pass "$name"
}
keepalive T2_small_answers_in_a_row_go_on small 0
keepalive T2_requests_in_a_row_go_on middle 0.003

# Many at once, and what dies is a matter of chance.
chance() {
	local name=T2_random_crashes at what i n pids before=$FAILED any=(front nginx node)
	for ((i = 0; i < ROUNDS; i++)); do
		settled "$name" || return
		at=$AT
		what=${any[RANDOM % 3]}
		pids=()
		for n in 1 2 3 4 5 6 7 8; do
			got "many$n" "$url/big" --limit-rate 12M -r $((n * 1000))-60000000
			pids+=("$PID")
		done
		pause "$((RANDOM % 2)).$((RANDOM % 900 + 100))"
		die "$at" "$what"
		for n in 1 2 3 4 5 6 7 8; do
			wait "${pids[n - 1]}" ||
				fail "$name" "$what of ${at##*-}: $(cat "$WORK/many$n.err") $(hf "$(other "$at")" takeover | head -n 4)"
			cmp -s -i "0:$((n * 1000))" -n $((60000001 - n * 1000)) "$WORK/many$n" "$WORK/$A.root/big" ||
				fail "$name" "$what: $(size "many$n") bytes, which are not those of the file"
		done
		back "$at" "$what"
	done
	[ "$FAILED" = "$before" ] && pass "$name"
}
chance
[ "$(resets)" = "$RESETS" ] && pass T3_client_sees_no_reset || fail T3_client_sees_no_reset "$(in_ns "$C" nstat -as)"
finish
