#!/bin/bash
# channel.sh - the Leat channel between proto/channel (channel/driver.c) and other
# people's Noise: noiseprotocol and dissononce for Python, flynn/noise for Go, each
# as client and as broker, written from leat-channel(7) alone; those for Python are
# clients of a real broker, too.
#
#   top_builddir=BUILD channel.sh       LEAT_MESSAGES: how many each way (10,000)
#
# One line a case: case NAME ok|fail, and what both counted. A library that cannot be had is a line SKIP
# and why; 77 if none can.
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/interop/common.sh
. "$here/common.sh"
builddir=${top_builddir:-$here/../..}
count=${LEAT_MESSAGES:-10000}
work=$(mktemp -d)
broker=
trap 'rm -rf "$work"' EXIT
trap '[ -z "$broker" ] || kill "$broker"; exit 1' INT TERM
bad=0 ran=0

leat() {
	exec "$builddir/tests/interop/channel/driver" "$@"
}

flynn() {
	exec "$(built channel-go)" "$@"
}

python() {
	PYTHONPATH=$cache/channel-py exec python3 "$here/channel/peer.py" "$@"
}

noiseprotocol() {
	python noiseprotocol "$@"
}

dissononce() {
	python dissononce "$@"
}

# two CLIENT BROKER [FAULT]: what both say of each other, in $client_end, $broker_end.
two() {
	local client=$1 port tries=0
	: >"$work/port"
	("$2" broker "$count") >"$work/port" 2>"$work/broker" &
	broker=$!
	until port=$(sed -n 's/^port //p' "$work/port") && [ -n "$port" ]; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] && kill -0 $broker 2>/dev/null || break
		sleep 0.05
	done
	shift 2
	("$client" client "$count" "${port:-1}" "$@") >"$work/client.out" 2>"$work/client"
	client_end=$?
	[ -n "$port" ] || kill $broker 2>/dev/null
	wait $broker
	broker_end=$?
	broker=
}

counted() { # FILE WHO
	sed -n "s/^done: /$2: /p" "$1" 2>/dev/null
}

case_is() { # NAME CLIENT-STATUS BROKER-STATUS
	ran=$((ran + 1))
	if [ "$client_end" = "$2" ] && [ "$broker_end" = "$3" ]; then
		echo "case $1 ok $(counted "$work/client.out" client) $(counted "$work/port" broker)"
	else
		echo "case $1 fail: the client exits with $client_end, the broker with $broker_end"
		cat "$work/client" "$work/broker" >&2
		bad=1
	fi
}

meets() { # LIBRARY
	local fault
	two leat "$1"
	case_is "channel.$1-broker" 0 0
	two "$1" leat
	case_is "channel.$1-client" 0 0
	# Each side refuses the same of the other.
	for fault in wrong spoil again cut; do
		two leat "$1" $fault
		case_is "channel.$1-broker-$fault" 3 3
		two "$1" leat $fault
		case_is "channel.$1-client-$fault" 3 3
	done
}

start_leat() {
	local public
	take_ports || return 1
	# The public half of the client's key, the bytes 1 to 32.
	public=B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9_AsrhtHHw
	cat >"$work/leat.conf" <<-END
		[broker]
		port = $((base + 5))
		[store]
		segment_bytes = 64m
		level = logged
		[gateway]
		listen = none
		names = none
		channel = 127.0.0.1:$((base + 7))
		[access]
		allow = any topic * publish,subscribe
		allow = key:$public topic o* publish
	END
	: >"$work/ready"
	LEAT_LIBEXEC=$builddir "$builddir/leatd" --dir "$work/real" \
		-c "$work/leat.conf" >"$work/ready" 2>"$work/log" </dev/null &
	broker=$!
	until grep -q ^ready "$work/ready"; do
		kill -0 "$broker" 2>/dev/null || return 1
		sleep 0.1
	done
}

# A real broker takes what they send, and has each message once; another topic is
# refused, and a client that means another broker is not heard.
real_broker() { # LIBRARY...
	local library key tool
	tool="$builddir/leat --socket $work/real/leat.sock"
	start_leat || {
		echo "case channel.real fail: it does not start"
		tail -n 20 "$work/log" >&2
		bad=1
		return
	}
	key=$(cat "$work/real/broker.pub")
	for library; do
		client_end=0 broker_end=0
		($tool topic create "o-$library" --queues 4 &&
			$tool topic create "p-$library" --queues 4) >/dev/null 2>"$work/client"
		("$library" send "$count" $((base + 7)) "$key" "o-$library") \
			>"$work/sent" 2>>"$work/client" || client_end=$?
		$tool consume "o-$library" --exit-at-end 2>>"$work/client" | sort |
			cmp -s - <(sort "$work/sent") || broker_end=1
		[ "$(wc -l <"$work/sent")" = "$count" ] || client_end=1
		case_is "channel.$library-leat" 0 0
		("$library" send 1 $((base + 7)) "$key" "p-$library") >/dev/null 2>"$work/client"
		client_end=$?
		case_is "channel.$library-leat-other-topic" 1 0
		("$library" send 1 $((base + 7)) B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9_AsrhtHHw \
			"o-$library") >/dev/null 2>"$work/client"
		client_end=$?
		case_is "channel.$library-leat-wrong" 3 0
	done
	kill "$broker"
	wait "$broker"
	broker=
}

skips=$("$here/fetch.sh" channel-py channel-go) || {
	echo "$skips" >&2
	exit 1
}
[ -z "$skips" ] || echo "$skips"
case $skips in
*"SKIP channel-py:"*) ;;
*)
	meets noiseprotocol
	meets dissononce
	real_broker noiseprotocol dissononce
	;;
esac
case $skips in
*"SKIP channel-go:"*) ;;
*) meets flynn ;;
esac
[ $bad = 0 ] || exit 1
[ $ran != 0 ] || exit 77
