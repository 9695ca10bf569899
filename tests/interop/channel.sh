#!/bin/bash
# channel.sh - the Leat channel between proto/channel (channel/driver.c) and other
# people's Noise: noiseprotocol and dissononce for Python, flynn/noise for Go, each
# as client and as broker, written from leat-channel(7) alone.
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
	sed -n "s/^done: /$2: /p" "$1"
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
	;;
esac
case $skips in
*"SKIP channel-go:"*) ;;
*) meets flynn ;;
esac
[ $bad = 0 ] || exit 1
[ $ran != 0 ] || exit 77
