#!/bin/bash
# examples_test.sh - the programs in examples/ do what their comments say, and
# the main job (with the store killed on the way) ends without a difference.
set -u
. "${top_srcdir:-.}/tests/support/broker.sh"
examples=$builddir/examples

"$examples/hello" >"$work/out" 2>"$work/err"
is "hello without a broker" $? 1
grep -q connect "$work/err" || wrong "hello without a broker says: $(cat "$work/err")"

start_broker

echo "--- hello"
out=$("$examples/hello") || wrong "hello: exit $?"
id=$(printf '%s\n' "$out" | sed -n 's/^published //p')
like "hello" "$out" '^published [0-9A-F]{32}$'
like "hello reads it back" "$out" "^$id: hello, water\$"

echo "--- batch"
leat topic create numbers --queues 4 >/dev/null
is "batch" "$("$examples/batch" numbers 20000)" "20000 synced"
is "bodies" "$(leat consume numbers -e | sort -u | wc -l)" 20000
is "one of them" "$(leat message get --topic numbers --key number-777 -f %s)" \
	"this is number 777"

echo "--- worker"
leat topic create tasks --queues 2 >/dev/null
{ seq 50; echo fail; } | leat produce tasks
"$examples/worker" tasks crew >"$work/one" 2>&1 &
one=$!
"$examples/worker" tasks crew >"$work/two" 2>&1 &
two=$!
for i in $(seq 200); do
	[ "$(cat "$work/one" "$work/two" | grep -c ': done')" = 51 ] && break
	sleep 0.05
done
kill -TERM $one $two
wait $one || wrong "worker one: exit $?"
wait $two || wrong "worker two: exit $?"
is "done once each" "$(cat "$work/one" "$work/two" | sed -n 's/: done.*//p' | sort | uniq -c | awk '$1 != 1')" ""
is "done" "$(cat "$work/one" "$work/two" | grep -c ': done')" 51
is "given back" "$(cat "$work/one" "$work/two" | grep -c 'fail: given back, attempt 1')" 1
is "and done then" "$(cat "$work/one" "$work/two" | grep -c 'fail: done, attempt 2')" 1
is "nothing left" "$(leat consume tasks --group crew -e)" ""

echo "--- main job"
awk 'BEGIN {
	for (i = 0; i < 20000; i++) {
		printf "Package: p%d\nVersion: %d\n", i % 7000, i
		printf "Description: %0*d\n\n", i % 300, i
	}
}' >"$work/packages"
"$builddir/tests/support/mainjob" --file "$work/packages" --kill-store \
	>"$work/out" 2>&1 || wrong "main job: exit $?"
cat "$work/out"
is "verdict" "$(tail -n 1 "$work/out")" ok
grep -q '^killed' "$work/out" || wrong "the store was not killed"
is "groups" "$(grep -c '20000 records once each' "$work/out")" 2
# Again, on the topic that is there now.
"$builddir/tests/support/mainjob" --file "$work/packages" --limit 5000 --window 1 \
	--level logged >"$work/out" 2>&1 || wrong "main job again: $(cat "$work/out")"
# It must notice when something is wrong: a thief in group G1, so records go
# missing there.
"$builddir/leat" consume packages --group G1 >"$work/stolen" 2>&1 9<&- &
thief=$!
for i in $(seq 200); do
	[ "$(leat --json group list | sed -n 's/.*"group":"G1"[^}]*"members":\([0-9]*\).*/\1/p')" = 1 ] && break
	sleep 0.05
done
"$builddir/tests/support/mainjob" --file "$work/packages" --timeout 3 \
	>"$work/out" 2>&1 && wrong "the main job did not notice a thief"
is "verdict with a thief" "$(tail -n 1 "$work/out")" FAILED
grep -q 'G1.*nothing more comes' "$work/out" || wrong "a thief, but: $(cat "$work/out")"
kill -TERM $thief
wait $thief

stop_broker
leat store verify "$dir" >"$work/out" || wrong "verify: $(cat "$work/out")"
finish
