#!/bin/bash
# channel.sh - P5: the same commands to one gateway, plain (rocketmq://) and in the
# Leat channel (leat://), in turn, in one run.
#
#   channel.sh [--build DIR] [--rounds N] [--quick] [--level logged|synced]
#
# A table on standard output (Markdown); medians of the rounds (3). --quick: small
# counts, which proves that it works. One producer, window 1024; p99 is one way, at
# 1,000 messages a second, to a sleeping consumer. CPU: of the gateway, all threads,
# by the scheduler's account. A handshake's is that of a ping by a new process in the
# channel less that of a plain one; of TLS 1.3 that of a connection of
# `openssl s_time` to the plain port (left out without openssl). No client here
# speaks TLS, so its throughput is that of the plain client through a relay (socat,
# or left out) that speaks TLS 1.3 to the gateway, beside the same relay without it.
set -u
build=. rounds=3 count=200000 seconds=3 pings=100 level=logged
while [ $# -gt 0 ]; do
	case $1 in
	--build) build=$2 && shift ;;
	--rounds) rounds=$2 && shift ;;
	--level) level=$2 && shift ;;
	--quick) rounds=1 count=2000 seconds=1 pings=5 ;;
	*) sed -n '5s/^# *//p' "$0" >&2 && exit 2 ;;
	esac
	shift
done
work=$(mktemp -d)
broker='' relay_pid=''
# shellcheck disable=SC2317 # by the trap
cleanup() {
	# shellcheck disable=SC2086 # none, one or both
	[ -z "$relay_pid$broker" ] || {
		kill $relay_pid $broker
		wait $relay_pid $broker
	} 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
unset LEAT_SERVER
export LEAT_SOCKET=$work/run/leat.sock LEAT_KEY=$work/key

free_port() {
	local port
	for port in $(shuf -i 20000-31000 -n 50); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
		echo "$port"
		return
	done
}
listen=$(free_port) names=$(free_port) channel=$(free_port) relay=$(free_port)
own=$("$build/leat" key generate --out "$work/key") || exit 1
tls=off
if command -v openssl >/dev/null && openssl req -x509 -newkey ec -pkeyopt \
	ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 2 \
	-keyout "$work/tls.key" -out "$work/tls.pem" 2>/dev/null; then
	tls=either
fi
# begin PORT: a new broker, which says that PORT is where clients reach it.
begin() {
	local line
	[ -z "$broker" ] || {
		kill "$broker"
		wait "$broker"
	}
	rm -rf "$work/run" "$work/ready"
	cat >"$work/conf" <<-END
		[broker]
		port = $1
		[gateway]
		listen = 127.0.0.1:$listen
		names = 127.0.0.1:$names
		channel = 127.0.0.1:$channel
		tls = $tls
		tls_cert = $work/tls.pem
		tls_key = $work/tls.key
		[access]
		allow = key:$own topic * publish,subscribe,manage
		allow = key:$own group * subscribe,manage
	END
	mkfifo "$work/ready"
	"$build/leatd" --dir "$work/run" -c "$work/conf" >"$work/ready" 2>"$work/log" &
	broker=$!
	read -r -t 60 line <"$work/ready"
	case $line in
	ready*) ;;
	*)
		tail -n 5 "$work/log" >&2
		exit 1
		;;
	esac
	gateway=$(pgrep -P "$broker" -x leat-gateway) || exit 1
}
begin "$listen"
plain=rocketmq://127.0.0.1:$names
sealed=leat://$("$build/leat" key show --broker)@127.0.0.1:$channel

cpu_ns() { # of the gateway, so far
	cat /proc/"$gateway"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f\n", n }'
}
number() { # NAME <JSON
	sed -n "s/.*\"$1\": *\([0-9.]*\).*/\1/p" | head -n 1
}
# once KIND SERVER SIZE: one line for each figure
once() {
	local before out
	before=$(cpu_ns)
	out=$("$build/leat" --json --server "$2" bench publish --size "$3" \
		--count "$count" --level "$level") || exit 1
	echo "publish $1 $3 $(number msgs_per_s <<<"$out")"
	echo "publishcpu $1 $3 $((($(cpu_ns) - before) / count))"
	out=$("$build/leat" --json --server "$2" bench consume --size "$3" \
		--count "$count" --level "$level") || exit 1
	echo "consume $1 $3 $(number msgs_per_s <<<"$out")"
	out=$("$build/leat" --json --server "$2" bench latency --size "$3" \
		--rate 1000 --count $((1000 * seconds)) --level "$level") || exit 1
	echo "p50 $1 $3 $(number p50_us <<<"$out")"
	echo "p99 $1 $3 $(number p99_us <<<"$out")"
}
handshakes() { # KIND SERVER
	local before
	before=$(cpu_ns)
	for _ in $(seq "$pings"); do
		"$build/leat" --server "$2" ping >/dev/null || exit 1
	done
	echo "ping $1 0 $((($(cpu_ns) - before) / pings))"
}
tls_handshakes() {
	local before n
	before=$(cpu_ns)
	n=$(openssl s_time -connect "127.0.0.1:$listen" -new -time "$seconds" \
		2>/dev/null | sed -n 's/^\([0-9]*\) connections in .* real.*/\1/p')
	[ "${n:-0}" -gt 0 ] && echo "tls tls 0 $((($(cpu_ns) - before) / n))"
}
# relayed KIND ADDRESS: through a relay to there, in front of the broker's port.
relayed() {
	socat -b 65536 "TCP-LISTEN:$relay,bind=127.0.0.1,fork,reuseaddr,nodelay" \
		"$2,nodelay" 2>>"$work/relay.log" &
	relay_pid=$!
	until (exec 3<>"/dev/tcp/127.0.0.1/$relay") 2>/dev/null; do
		kill -0 $relay_pid || exit 1
		sleep 0.05
	done
	for size in 128 1024; do
		once "$1" "$plain" $size
	done
	kill $relay_pid
	wait $relay_pid 2>/dev/null
	relay_pid=
}
for _ in $(seq "$rounds"); do
	for size in 128 1024; do
		once plain "$plain" $size
		once channel "$sealed" $size
	done
	handshakes plain "$plain"
	handshakes channel "$sealed"
	[ $tls = off ] || tls_handshakes
done >"$work/figures" || exit 1
has_relay=
if [ $tls != off ] && command -v socat >/dev/null; then
	has_relay=1
	begin "$relay"
	for _ in $(seq "$rounds"); do
		relayed relayed "TCP:127.0.0.1:$listen"
		relayed tls "OPENSSL:127.0.0.1:$listen,verify=0"
	done >>"$work/figures" || exit 1
fi

median() { # FIGURE KIND SIZE
	awk -v f="$1" -v k="$2" -v s="$3" '$1 == f && $2 == k && $3 == s { print $4 }' \
		"$work/figures" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
row() { # TITLE FIGURE SIZE [KIND KIND]
	local a b
	a=$(median "$2" "${4:-plain}" "$3") b=$(median "$2" "${5:-channel}" "$3")
	awk -v t="$1" -v a="$a" -v b="$b" 'BEGIN {
		printf "| %s | %.0f | %.0f | %.2f |\n", t, a, b, (a > 0 ? b / a : 0) }'
}
rows() { # [KIND KIND]
	local size
	for size in 128 1024; do
		row "publish, $size B, msg/s" publish $size "$@"
		row "publish and consume, $size B, msg/s" consume $size "$@"
		row "one way p50, $size B, us" p50 $size "$@"
		row "one way p99, $size B, us" p99 $size "$@"
		row "gateway's CPU, publish, $size B, ns/msg" publishcpu $size "$@"
	done
}
echo "Level $level, $count messages, $rounds rounds, $(nproc) CPUs."
echo
echo "| | plain | channel | channel / plain |"
echo "|---|---:|---:|---:|"
rows
row "gateway's CPU, a ping by a new process, ns" ping 0
echo
echo "Handshake: $((($(median ping channel 0) - $(median ping plain 0)) / 1000)) us" \
	"of the gateway's CPU; TLS 1.3 (P-256), with its connection:" \
	"$(median tls tls 0 | awk '{ print ($1 > 0 ? int($1 / 1000) " us" : "not measured") }')."
[ -z "$has_relay" ] || {
	echo
	echo "| through a relay | plain | TLS 1.3 | TLS / plain |"
	echo "|---|---:|---:|---:|"
	rows relayed tls
}
