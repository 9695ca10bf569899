#!/bin/bash
# clock_test.sh - D8 with the whole broker: its wall clock, and that of its
# clients, is wrong before the start, jumps by hours and years and stands still
# while messages flow. Everything passes once and in order, store time never
# goes back, nothing is retired, a lease is no longer and no shorter.
set -u
. "${top_srcdir:-.}/tests/support/broker.sh"

if grep -qs __asan_init "$builddir/leat" "$builddir/.libs/leat"; then
	echo "left out with sanitizers: they must be loaded before the clock"
	exit 77
fi
wall=$builddir/tests/support/.libs/wall.so
command -v "$builddir/leat-store" >/dev/null && [ -e "$wall" ] || {
	echo "no $wall"
	exit 1
}
wall=$(realpath "$wall")
LEAT_WALL=$work/wall
export LEAT_WALL

# clock R|F SECONDS: in place, the file is mapped.
clock() {
	printf '%s%-14s\n' "$1" "$2" 1<>"$LEAT_WALL"
}
printf 'R%-14s\n' 0 >"$LEAT_WALL"

# What leatd starts gets the clock by a script of its name.
mkdir "$work/bin"
for name in leat-store leat-queue leat-gateway; do
	printf '#!/bin/sh\nLEAT_WALL=%s LD_PRELOAD=%s exec %s\n' "$LEAT_WALL" \
		"$wall" "$(realpath "$builddir/$name")" >"$work/bin/$name"
	chmod +x "$work/bin/$name"
done
LEAT_LIBEXEC=$work/bin
export LEAT_LIBEXEC

leat() {
	LD_PRELOAD=$wall timeout 120 "$builddir/leat" "$@"
}

printf '[store]\nsegment_bytes = 64k\nmax_body_bytes = 4k\nprefill_bytes = 1m\nretain_hours = 1\nretain_check_ms = 100\ncheckpoint_ms = 200\n[queue]\nlease_ms = 3600000\n' >"$work/conf"
start() {
	start_broker -c "$work/conf"
}

made=0
# flow WHAT: 100 messages in, the same 100 out, in order, within their time.
flow() {
	local from=$made before=$SECONDS
	made=$((made + 100))
	seq $((from + 1)) $made >"$work/in"
	leat produce flow <"$work/in" || wrong "$1: produce: exit $?"
	leat consume flow --group g --count 100 >"$work/got" ||
		wrong "$1: consume: exit $?"
	cmp -s "$work/in" "$work/got" || wrong "$1: other messages came out"
	[ $((SECONDS - before)) -lt 20 ] || wrong "$1: took $((SECONDS - before)) s"
}

# all WHAT: nothing is gone, and store times never go back.
all() {
	leat consume flow --from begin --exit-at-end -f '%s %T\n' >"$work/all"
	is "$1: messages" "$(cut -d' ' -f1 "$work/all")" "$(seq $made)"
	cut -d' ' -f2 "$work/all" | sort -n -c 2>"$work/err" ||
		wrong "$1: store time goes back: $(cat "$work/err")"
	[ -e "$dir/store/commitlog/00000000000000000000" ] ||
		wrong "$1: the first segment is gone"
}

year=31536000
echo "--- 1999 at the start; then hours and years to and fro, and still"
clock R -800000000
start
leat topic create flow --queues 1 >/dev/null
flow "in 1999"
for step in 0 3600 -3600 $year $((-year)) $((40 * year)) $((-20 * year)); do
	clock R "$step"
	flow "set by $step s"
done
for at in 1700000000 0 4000000000; do
	clock F $at
	flow "standing at $at"
done
clock R 0
flow "right again"
all "stepped"

echo "--- jumps in the flow"
from=$made
made=$((made + 3000))
seq $((from + 1)) $made >"$work/in"
leat consume flow --group g --count 3000 >"$work/got" &
reader=$!
leat produce flow --rate 1000 <"$work/in" &
writer=$!
while kill -0 $writer 2>/dev/null; do
	for step in "R $year" "F 1000000000" "R -7200" "R $((-30 * year))" "R 0"; do
		# shellcheck disable=SC2086 # two words
		clock $step
		sleep 0.05
	done
done
wait $writer || wrong "produce: exit $?"
wait $reader || wrong "consume: exit $?"
cmp -s "$work/in" "$work/got" || wrong "in the flow: other messages came out"
all "jumps in the flow"

echo "--- leases go by the true time"
# Its reader reads nothing: what the pipe does not hold stays unacknowledged.
hold() {
	LD_PRELOAD=$wall "$builddir/leat" consume held --group h >"$work/pipe" &
	holder=$!
	exec 8<"$work/pipe"
	for _ in $(seq 300); do
		[ "$(claimed)" = 0 ] || return
		sleep 0.02
	done
	wrong "nothing is claimed"
}
claimed() {
	leat group describe h --json 2>/dev/null | json claimed | grep . || echo 0
}
let_go() {
	kill -KILL $holder
	wait $holder 2>/dev/null
	exec 8<&-
}
leat topic create held --queues 1 >/dev/null
head -c 1000 /dev/zero | tr '\0' x >"$work/body"
for n in $(seq 300); do echo "$n $(cat "$work/body")"; done | leat produce held
mkfifo "$work/pipe"
hold
before=$(claimed)
for step in $((10 * year)) $((-10 * year)); do
	clock R "$step"
	sleep 0.3
	is "claims of an hour after a jump" "$(claimed)" "$before"
done
let_go
stop_broker
sed -i 's/lease_ms = .*/lease_ms = 500/' "$work/conf"
start
clock F 1700000000
hold
kill -STOP $holder
leat consume held --group h --count "$(claimed)" >"$work/got" ||
	wrong "what a stopped member held did not come: exit $?"
[ -s "$work/got" ] || wrong "nothing came of what a stopped member held"
let_go
clock R 0
stop_broker

echo "--- wrong at a start, and right at the next"
for at in "F 0" "R $((25 * year))" "R $((-year))" "R 0"; do
	# shellcheck disable=SC2086 # two words
	clock $at
	start
	flow "started at $at"
	sleep 0.3
	all "started at $at"
	stop_broker
done
leat store verify "$dir" >"$work/out" || wrong "verify: $(cat "$work/out")"
finish
