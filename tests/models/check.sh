#!/bin/sh
# check.sh - the models: each proof must end without an error, each mutant with
# one, and the C functions that a model stands for must still be where it says.
#
#   check.sh [MODEL...]        LEAT_LONG=1: the larger proofs as well
#
# A model's first comment has the lines "FILE: FUNCTION...", "Proof: FLAGS",
# "Long: FLAGS" and "Mutant: NAME FLAGS".
set -u
cd "${top_srcdir:-$(dirname "$0")/../..}" || exit 1
dir=$PWD/tests/models
if [ "${1:-}" != --one ]; then
	command -v spin >/dev/null && command -v gcc >/dev/null || {
		echo "SKIP: needs spin (package spin) and gcc"
		exit 77
	}
	LEAT_MODELS=$(mktemp -d)
	export LEAT_MODELS
	trap 'rm -rf "$LEAT_MODELS"' EXIT
	[ $# -gt 0 ] || set -- lane ring group doorbell
	bad=0
	for model; do
		sed -n 's/^ \* \(src[^:]*\): \(.*\)/\1 \2/p' "$dir/$model.pml" |
			while read -r file names; do
				for name in $names; do
					grep -q "^\(static \|static inline \|int \|void \|struct \)*\**$name(" \
						"$file" || echo "$model.pml: no $name() in $file"
				done
			done >"$LEAT_MODELS/names"
		cat "$LEAT_MODELS/names"
		[ ! -s "$LEAT_MODELS/names" ] || bad=1
	done
	kinds="Proof Mutant" # what takes longest comes first
	[ -z "${LEAT_LONG:-}" ] || kinds="Long $kinds"
	for kind in $kinds; do
		for model; do
			sed -n "s/^ \* $kind: */$model $kind /p" "$dir/$model.pml"
		done
	done >"$LEAT_MODELS/list"
	[ -s "$LEAT_MODELS/list" ] || exit 1
	xargs -P "${LEAT_JOBS:-$(nproc)}" -n 1 -d '\n' sh "$dir/check.sh" --one \
		<"$LEAT_MODELS/list" || bad=1
	echo "$(grep -c . "$LEAT_MODELS/list") runs, exit status $bad"
	exit $bad
fi

# --one "MODEL KIND FLAGS": one run of spin.
# shellcheck disable=SC2086 # a list of words
set -- $2
model=$1
kind=$2
shift 2
what=$*
[ "$kind" != Mutant ] || {
	what=$1${2:+ }
	mutant=$1
	shift
	what="$mutant $*"
	set -- "-D$mutant" "$@"
}
work=$(mktemp -d "$LEAT_MODELS/run.XXXXXX")
cd "$work" || exit 1
cp "$dir/$model.pml" .
optimize=-O2
[ "$kind" != Mutant ] || optimize=-O0
[ "$kind" != Long ] || optimize="-O2 -DCOLLAPSE" # memory is what is short
if spin -a "$@" "$model.pml" >out 2>&1 &&
	gcc $optimize -w -DSAFETY -DVECTORSZ=2048 -DMEMLIM=8000 -o pan pan.c >>out 2>&1; then
	./pan -E -w22 -m1000000 >out 2>&1
fi
errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' out)
states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out)
first=$(sed -n 's/^pan:1: *//p' out)
complete=1
! grep -q 'not completed\|max search depth too small\|out of memory' out || complete=0
case $kind:$errors:$complete in
Mutant:[1-9]*) result=ok status=0 ;;
Proof:0:1 | Long:0:1) result=ok status=0 ;;
*) result=FAIL status=1 ;;
esac
printf '%-4s %-8s %-6s %-52s %10s states %s\n' "$result" "$model" "$kind" \
	"$what" "${states:-?}" "$first"
[ $status = 0 ] || tail -n 20 out
rm -rf "$work"
exit $status
