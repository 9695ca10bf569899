#!/bin/sh
# format_test.sh - clang-format has nothing to change, mandoc nothing to say,
# no file is longer than 700 lines (a test: 1000), no mark of unfinished work is left.
set -u
cd "${top_srcdir:-.}" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
skipped=

find src include gateway tests examples -name '*.[ch]' 2>/dev/null | sort \
	>"$work/sources"
[ -s "$work/sources" ] || {
	echo "no sources found below $PWD"
	exit 1
}

# Another version formats differently; 14 is what the tree is written with.
format=
for program in clang-format-14 clang-format; do
	"$program" --version 2>/dev/null | grep -q 'version 14\.' &&
		format=$program && break
done
if [ -n "$format" ]; then
	xargs "$format" --dry-run -Werror <"$work/sources" 2>"$work/format" ||
		bad=1
	grep -oE '^[^:]+:[0-9]+:' "$work/format" | sort -u |
		sed 's/$/ clang-format would change this/' | head -n 40
else
	skipped="clang-format 14"
fi

if command -v mandoc >/dev/null; then
	for page in man/*.[1-8]; do
		[ -e "$page" ] || continue
		mandoc -Tlint -Wwarning "$page" || bad=1
	done
else
	skipped="$skipped mandoc"
fi

{
	cat "$work/sources"
	find src tests gateway examples -name '*.sh' -o -name '*.def' 2>/dev/null
	echo bootstrap
} | xargs awk '
	FNR > (FILENAME ~ /^(\.\/)?tests\// ? 1000 : 700) { long[FILENAME] = FNR }
	/(^|[^A-Za-z_])(TODO|FIXME|XXX|HACK)([^A-Za-z_]|$)/ && FILENAME !~ /format_test/ {
		print FILENAME ":" FNR ": unfinished: " $0
		bad = 1
	}
	END {
		for (f in long) {
			print f ": " long[f] " lines; at most 700, tests 1000"
			bad = 1
		}
		exit bad
	}' || bad=1

[ $bad = 0 ] || exit 1
[ -z "$skipped" ] || {
	echo "not installed: $skipped; the rest is clean"
	exit 77
}
