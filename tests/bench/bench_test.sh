#!/bin/bash
# bench_test.sh - bench.sh works: a run with tiny counts gives every figure of
# rows.txt, above zero, as JSON, and pictures. Says nothing about speed. The
# limits are not there, so nothing that stands beside them is asked for.
set -u
srcdir=${top_srcdir:-.}
build=${top_builddir:-.}
command -v jq >/dev/null || {
	echo "needs jq"
	exit 77
}
if grep -qs __asan_init "$build/leat" "$build/.libs/leat"; then
	echo "left out with sanitizers: it would measure them"
	exit 77
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$srcdir/tests/bench/bench.sh" --build "$build" --smoke --out "$out" \
	--json "$out/json" >"$out/text" 2>"$out/log" || {
	cat "$out/log"
	exit 1
}
bad=0
wrong() {
	echo "WRONG: $*"
	bad=1
}
jq -e . "$out/json" >/dev/null || wrong "not JSON"

rows=$(grep -c '^P' "$srcdir/tests/bench/rows.txt")
figures=$(jq '.figures | length' "$out/json")
# Two rows of a program that may not be there.
p10=$(jq '2 * ([.not_measured[] | select(startswith("p10 "))] | length)' "$out/json")
[ "$((figures + p10))" = "$rows" ] || {
	jq -r '.figures[].title' "$out/json"
	wrong "$figures figures, not $rows ($p10 of them said to be missing)"
}
bare=$(jq -r '.figures[] | select((.leat // 0) <= 0) | .title' "$out/json")
[ -z "$bare" ] || wrong "without a value: $bare"
for fact in cpu cores kernel file_system leat settings_leat seed; do
	jq -e ".environment.$fact | length > 0" "$out/json" >/dev/null ||
		wrong "the environment lacks $fact"
done
[ "$(grep -c '^| P' "$out/table.md")" = "$figures" ] ||
	wrong "table.md has other rows than the JSON"
for rate in 1000 5000 10000 100000; do
	grep -q '<polyline.*0072b2.*points="[0-9]' "$out/latency-$rate.svg" ||
		wrong "latency-$rate.svg lacks Leat"
	tail -n 1 "$out/latency-$rate.svg" | grep -qx '</svg>' ||
		wrong "latency-$rate.svg is not whole"
done
"$srcdir/tests/bench/channel.sh" --build "$build" --quick >"$out/channel" 2>&1 ||
	wrong "channel.sh: $(cat "$out/channel")"
rows=11
if command -v socat >/dev/null && command -v openssl >/dev/null; then
	rows=21 # with TLS
fi
[ "$(grep -cE '^\| [a-z].* \| [1-9][0-9]* \| [1-9][0-9]* \|' "$out/channel")" = $rows ] ||
	wrong "channel.sh lacks figures: $(cat "$out/channel")"
echo "$figures figures; not measured:"
jq -r '.not_measured[]' "$out/json"
exit $bad
