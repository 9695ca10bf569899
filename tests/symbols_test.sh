#!/bin/sh
# symbols_test.sh - libleat.so exports what <leat/*.h> declares: only leat_*,
# all of it, nothing else.
set -u
library=${top_builddir:-.}/.libs/libleat.so
[ -e "$library" ] || {
	echo "$library is not built"
	exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Version tags (type A) are not symbols.
nm -D --defined-only "$library" |
	awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u >"$work/exported"
cat "${top_srcdir:-.}"/include/leat/*.h |
	${CC:-cc} -fpreprocessed -dD -E -P -x c - 2>/dev/null |
	grep -oE '\bleat_[a-z_]+ *\(' | tr -d ' (' | sort -u >"$work/declared"
[ -s "$work/declared" ] && [ -s "$work/exported" ] || {
	echo "nothing to compare"
	exit 1
}
# AddressSanitizer adds symbols of its own.
grep -vE '^(leat_|__asan_|__odr_asan|_ZN)' "$work/exported" >"$work/foreign"
bad=0
[ ! -s "$work/foreign" ] || {
	echo "exported although not leat_*:"
	cat "$work/foreign"
	bad=1
}
grep '^leat_' "$work/exported" | comm -13 - "$work/declared" >"$work/lacking"
[ ! -s "$work/lacking" ] || {
	echo "declared in a public header, not exported:"
	cat "$work/lacking"
	bad=1
}
grep '^leat_' "$work/exported" | comm -23 - "$work/declared" >"$work/hidden"
[ ! -s "$work/hidden" ] || {
	echo "exported, but in no public header:"
	cat "$work/hidden"
	bad=1
}
exit $bad
