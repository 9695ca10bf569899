#!/bin/sh
# figures.sh - Leat's figures beside the limits of this machine, in one run.
#
#   figures.sh LIMITS_DIR [ROUNDS]
#
# LIMITS_DIR holds the programs pipeline and groupcommit (the least a durable
# broker must do). Rounds alternate limit, Leat, limit, Leat ...; medians are
# printed as a table. Starts a broker of its own in a temporary directory.
set -eu
[ $# -ge 1 ] || { echo "usage: figures.sh LIMITS_DIR [ROUNDS]" >&2; exit 2; }
limits=$1
rounds=${2:-3}
bin=${LEAT_BIN:-${top_builddir:-build}}
work=$(mktemp -d "${FIGURES_DIR:-/var/tmp}/leat-figures-XXXXXX")
pid=
finish() {
	[ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" || true; }
	rm -rf "$work"
}
trap finish EXIT INT TERM
"$bin/leatd" --dir "$work/broker" >"$work/ready" 2>"$work/log" &
pid=$!
until grep -q '^ready' "$work/ready"; do
	kill -0 "$pid" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
	sleep 0.05
done
LEAT_SOCKET=$work/broker/leat.sock
export LEAT_SOCKET

field() { # NAME: value of NAME=value on standard input
	tr ' ' '\n' | sed -n "s/^$1=//p" | tail -n 1
}
json() { # NAME
	sed -n "s/.*\"$1\": *\([0-9.]*\).*/\1/p" | tail -n 1
}
median() {
	sort -n | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'
}
# compare NAME UNIT FIELD-OF-LIMIT LIMIT-COMMAND -- FIELD-OF-LEAT LEAT-COMMAND
compare() {
	name=$1 unit=$2 lf=$3 lcmd=$4 jf=$5 jcmd=$6
	: >"$work/l"; : >"$work/j"
	i=0
	while [ "$i" -lt "$rounds" ]; do
		$lcmd --dir "$work" 2>/dev/null | field "$lf" >>"$work/l"
		$bin/leat --json bench $jcmd 2>>"$work/log" | json "$jf" \
			>>"$work/j"
		i=$((i + 1))
	done
	l=$(median <"$work/l") j=$(median <"$work/j")
	awk -v n="$name" -v u="$unit" -v l="$l" -v j="$j" 'BEGIN {
		printf "| %s | %s | %.4g | %.4g | %.2f |\n", n, u, l, j, j / l }'
}
echo "| figure | unit | limit | Leat | Leat / limit |"
echo "|---|---|---|---|---|"
p="$limits/pipeline" g="$limits/groupcommit"
compare "publish to consume, logged, 1 producer" msg/s \
	msgs_per_s "$p --producers 1" \
	msgs_per_s "consume --size 128 --count 2000000 --producers 1 --consumers 1 --queues 1 --level logged"
compare "publish to consume, logged, 4 producers" msg/s \
	msgs_per_s "$p --producers 4" \
	msgs_per_s "consume --size 128 --count 2000000 --producers 4 --consumers 1 --queues 1 --level logged"
for f in p50_us p99_us; do
	compare "one way at 1,000 msg/s, $f" us \
		$f "$p --rate 1000" \
		$f "latency --size 128 --count 3000 --rate 1000 --level logged"
	compare "one way at 100,000 msg/s, $f" us \
		$f "$p --rate 100000" \
		$f "latency --size 128 --count 300000 --rate 100000 --level logged"
done
compare "synced, 4 producers, window 16" msg/s \
	msgs_per_s "$g --producers 4 --window 16" \
	msgs_per_s "publish --size 128 --count 160000 --producers 4 --window 16 --level synced"
compare "synced, 4 producers, window 256" msg/s \
	msgs_per_s "$g --producers 4 --window 256" \
	msgs_per_s "publish --size 128 --count 1600000 --producers 4 --window 256 --level synced"
compare "logged, 1 in flight, ack p50" us \
	ack_p50_us "$g --no-sync --producers 1 --window 1" \
	p50_us "publish --size 128 --count 20000 --producers 1 --window 1 --level logged"
