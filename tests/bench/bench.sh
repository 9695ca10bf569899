#!/bin/bash
# bench.sh - Leat's figures beside the limits of this machine and beside what else
# does the job, in one run: a table, JSON, pictures. README.md here explains.
#
#   bench.sh [OPTION ...] [CASE ...]
#
#   --limits DIR     sources of the limits programs (pipeline, groupcommit)
#   --out DIR        results: records, raw/, table.md, figures.json, *.svg
#                    (a directory used before is continued: cases are replaced)
#   --dir DIR        where brokers and servers keep their data (/var/tmp)
#   --build DIR      build tree with leat, leatd, tests/bench/load (.)
#   --rounds N       limit, Leat, peers, limit, Leat, peers ... (3)
#   --quick          one short round, about a minute
#   --smoke          as little as can be: seconds; the figures mean nothing
#   --json FILE      the figures as JSON, too; - for standard output
#   --markdown       the table as Markdown (also in OUT/table.md)
#   --list           name the cases
#
# CASE is a case or the beginning of its name (p2, p2-5000); none: all;
# "report": only report what --out holds.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/servers.sh"
. "$here/ballast.sh"
. "$here/jobs.sh"

usage() {
	sed -n '5,21s/^# \{0,1\}//p' "$0"
	exit "$1"
}

complain() {
	printf 'bench.sh: %s\n' "$*" >&2
	exit 2
}

limits=
out=
base=/var/tmp
build=${top_builddir:-.}
rounds=
scale=full
json=
markdown=
wanted=
while [ $# -gt 0 ]; do
	case $1 in
	--limits | --out | --dir | --build | --rounds | --json)
		[ $# -ge 2 ] || complain "$1 needs a value"
		case $1 in
		--limits) limits=$2 ;;
		--out) out=$2 ;;
		--dir) base=$2 ;;
		--build) build=$2 ;;
		--rounds) rounds=$2 ;;
		--json) json=$2 ;;
		esac
		shift
		;;
	--quick) scale=quick ;;
	--smoke) scale=smoke ;;
	--markdown) markdown=1 ;;
	--list)
		printf '%s\n' $all_cases
		exit 0
		;;
	--help) usage 0 ;;
	-*) complain "no such option: $1; try --help" ;;
	*) wanted="$wanted $1" ;;
	esac
	shift
done
case $scale in
full) : "${rounds:=3}" ;;
*) : "${rounds:=1}" ;;
esac
build=$(cd "$build" && pwd) || exit 2
for program in leat leatd tests/bench/load tests/bench/ballast; do
	[ -x "$build/$program" ] ||
		complain "$build/$program is missing; make leat leatd tests/bench/load tests/bench/ballast"
done
leat=$build/leat
load=$build/tests/bench/load

chosen=
for word in ${wanted:-$all_cases}; do
	found=
	for name in $all_cases; do
		case $name in
		"$word" | "$word"-*) found="$found $name" ;;
		esac
	done
	[ -n "$found" ] || [ "$word" = report ] ||
		complain "no such case: $word; try --list"
	chosen="$chosen$found"
done

work=$(mktemp -d "$base/leat-bench-XXXXXX") || exit 1
ballast=
trap 'stop_servers; rm -rf "$work"; [ -z "$ballast" ] || kill "$ballast"' EXIT
trap 'exit 1' INT TERM HUP
[ -n "$out" ] || out=$work/out
mkdir -p "$out/raw" || exit 1
records=$out/records
touch "$records"

if [ -n "$limits" ]; then
	make -s -C "$limits" B="$work/limits" >"$work/limits.log" 2>&1 || {
		cat "$work/limits.log" >&2
		complain "--limits $limits: does not build"
	}
fi

[ -z "$chosen" ] || {
	note_environment
	[ $scale != full ] || start_ballast
}
for name in $chosen; do
	note "$name"
	forget "$name"
	began=$SECONDS
	"run_${name%%-*}" "$name"
	stop_servers
	note "$name: $((SECONDS - began)) s"
done

medians "$records" >"$work/medians"
report() { # FORMAT
	awk -v format="$1" -f "$here/report.awk" \
		"$here/rows.txt" "$work/medians"
}
report markdown >"$out/table.md"
report json >"$out/figures.json"
# draw KIND FILE CASE TITLE
draw() {
	ls "$out/raw/$3".*.json >/dev/null 2>&1 || return 0
	awk -v kind="$1" -v title="$4" -f "$here/draw.awk" \
		"$out/raw/$3".*.json >"$out/$2.svg"
	[ -s "$out/$2.svg" ] || rm -f "$out/$2.svg"
}
for rate in 1000 5000 10000 100000; do
	draw histogram latency-$rate p2-$rate \
		"One way at $rate messages a second, 128 bytes, sleeping processes"
done
for n in 1 4; do
	draw slices throughput-$n p1-$n \
		"Publish to consume, 128 bytes, producers: $n"
done
if [ -n "$json" ]; then
	if [ "$json" = - ]; then
		cat "$out/figures.json"
	else
		cp "$out/figures.json" "$json"
	fi
fi
if [ -n "$markdown" ]; then
	cat "$out/table.md"
elif [ "$json" != - ]; then
	report text
fi
[ ! -s "$work/failed" ] || {
	echo "bench.sh: $(wc -l <"$work/failed") runs failed:" >&2
	cat "$work/failed" >&2
	exit 1
}
