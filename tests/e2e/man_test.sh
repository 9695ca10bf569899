#!/bin/sh
# man_test.sh - the manual has every command and option of the command table,
# every function and status function of the library; the program's own help
# has every command.
set -u
srcdir=${top_srcdir:-.}
builddir=${top_builddir:-.}
bad=0
wrong() {
	echo "WRONG: $*"
	bad=1
}

table=$srcdir/src/tools/commands.def
page=$srcdir/man/leat.1
help=$("$builddir/leat" --help) || wrong "leat --help fails"
commands=$(sed -n 's/^COMMAND([a-z_]*, "\([a-z]*\)", "\([a-z]*\)".*/\1 \2/p' "$table" |
	sed 's/ $//')
[ "$(printf '%s\n' "$commands" | wc -l)" -ge 20 ] || wrong "table not understood"
printf '%s\n' "$commands" >"${TMPDIR:-/tmp}/man_test.$$"
while read -r command; do
	grep -qE "^\.It Ic $command( |\$)" "$page" || wrong "leat.1 lacks: $command"
	printf '%s\n' "$help" | grep -qE "^  $command( |\$)" ||
		wrong "leat --help lacks: $command"
	# shellcheck disable=SC2086
	"$builddir/leat" $command --help | grep -q -- '--socket' ||
		wrong "leat $command --help fails"
done <"${TMPDIR:-/tmp}/man_test.$$"
rm -f "${TMPDIR:-/tmp}/man_test.$$"

options=$(sed -n 's/^OPT([^"]*"\([a-z-]*\)".*/\1/p' "$table" | sort -u)
[ "$(printf '%s\n' "$options" | wc -l)" -ge 30 ] || wrong "options not understood"
for option in $options; do
	grep -qE -- "Fl -$option( |\$)|[|,] Fl -$option|, -$option( |\$)|\| -$option( |\$)" "$page" ||
		wrong "leat.1 lacks: --$option"
done

for header in leat status; do
	for name in $(grep -v '^ \*\|^/\*\|^#' "$srcdir/include/leat/$header.h" |
		grep -oE '\bleat_[a-z_]+\(' | tr -d '(' | sort -u); do
		grep -q "^\.Fn $name " "$srcdir/man/libleat.3" ||
			wrong "libleat.3 lacks: $name"
	done
done
exit $bad
