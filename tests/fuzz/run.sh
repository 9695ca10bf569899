#!/bin/sh
# run.sh [NAME...] - run the libFuzzer programs of this build tree (`make fuzz`),
# all of them or those named, each beginning with its corpus: LEAT_FUZZ_SECONDS
# each (5), or LEAT_FUZZ_RUNS executions. New inputs go to fuzz/corpus-NAME; a
# crash is left in fuzz/ and named. Last line: how many failed.
set -u
src=${top_srcdir:?top_srcdir is not set}
[ $# -gt 0 ] || set -- admit binary channel config cq frame heartbeat json lane names \
	properties record recover sendbatch sniff table wire
runs=${LEAT_FUZZ_RUNS:-}
limit="-max_total_time=${LEAT_FUZZ_SECONDS:-5}"
[ -z "$runs" ] || limit="-runs=$runs"
seed=${LEAT_SEED:-$(date +%s)}
echo "seed $seed, $limit"

# Memory instead of a disk.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then
	TMPDIR=$(mktemp -d /dev/shm/leat-fuzz-XXXXXX)
	trap 'rm -rf "$TMPDIR"' EXIT
	export TMPDIR
fi

# one NAME: worlds that live on from input to input have no leaks to look for
# behind each; the smoke tests under AddressSanitizer look at their end.
one() {
	new=fuzz/corpus-$1
	mkdir -p "$new"
	longest=2048
	# What is freed is soon used again, and inputs have no ranks: fast, and
	# a use after free is still seen in one input.
	export ASAN_OPTIONS=quarantine_size_mb=4:malloc_context_size=4
	[ "$1" != recover ] || longest=6000
	[ "$1" != heartbeat ] || longest=4096
	[ "$1" != channel ] || longest=200 # a hundred steps
	if fuzz/"$1" -seed="$seed" "$limit" -max_len=$longest -detect_leaks=0 \
		-len_control=10 -entropic=0 -print_final_stats=1 \
		-timeout="${LEAT_FUZZ_TIMEOUT:-25}" \
		-artifact_prefix="fuzz/$1-" "$new" "$src/tests/fuzz/corpus/$1" \
		>"fuzz/$1.log" 2>&1; then
		echo "ok $1: $(sed -n 's/^stat::number_of_executed_units: *//p' \
			"fuzz/$1.log") executions, $(sed -n \
			's/.*DONE *cov: *\([0-9]*\).*/\1/p' "fuzz/$1.log") edges"
	else
		echo "FAIL $1: $(grep -e '^SUMMARY' -e 'Test unit written' \
			"fuzz/$1.log" | tr '\n' ' ')"
	fi
}

jobs=$(nproc)
for name; do
	one "$name" &
	jobs=$((jobs - 1))
	[ $jobs -gt 0 ] || {
		wait
		jobs=$(nproc)
	}
done | tee fuzz/results
wait
failed=$(grep -vc '^ok' fuzz/results)
echo "$(grep -c '^ok' fuzz/results) targets passed, $failed failed"
[ "$failed" = 0 ]
