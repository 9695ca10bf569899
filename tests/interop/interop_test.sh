#!/bin/bash
# interop_test.sh - other people's clients and tools against a server, and its
# answers beside those that Apache RocketMQ gave.
#
#   interop_test.sh [--quick] [--record] [apache|leat]...   default: apache leat
#
# Each kind is started in a directory of its own, all cases are run, and the lines
# compared with expected/: a difference is shown and fails the test. --record: the
# answers of Apache become expected/. LEAT_KEEP=1 keeps the directories.
set -u
here=$(cd "$(dirname "$0")" && pwd)
quick=()
record=
while :; do
	case ${1:-} in
	--quick) quick=(--quick) ;;
	--record) record=1 ;;
	*) break ;;
	esac
	shift
done
[ $# -gt 0 ] || set -- apache leat
work=$(mktemp -d)
kind=

end() {
	[ -z "$kind" ] || "$here/server.sh" stop "$work/$kind" 2>/dev/null
	if [ -n "${LEAT_KEEP:-}" ]; then
		echo "kept: $work"
	else
		rm -rf "$work"
	fi
}
trap end EXIT
trap 'exit 1' INT TERM

passed=0 failed=0 skipped=0
for kind; do
	"$here/server.sh" start "$work/$kind" "$kind"
	case $? in
	0) ;;
	77)
		skipped=$((skipped + 1))
		continue
		;;
	*) exit 1 ;;
	esac
	answers=$work/$kind.txt
	"$here/run.sh" "${quick[@]}" "$work/$kind" | tee "$answers" | grep -v ' ok '
	"$here/server.sh" stop "$work/$kind"
	passed=$((passed + $(grep -c '^case [^ ]* ok' "$answers")))
	skipped=$((skipped + $(grep -c '^case [^ ]* skip' "$answers")))
	bad=$(grep -c '^case [^ ]* fail' "$answers") known=0
	if [ -n "$record" ] && [ "$kind" = apache ]; then
		for group in frame java5 java4 go admin node life; do
			grep "^case $group\." "$answers" >"$here/expected/$group.txt"
		done
	else
		# Only the cases that were run.
		while read -r word name rest; do
			line=
			[ "$kind" = apache ] ||
				line=$(grep -hF "$word $name " "$here/expected/$kind/"*.txt)
			[ -n "$line" ] ||
				line=$(grep -hF "$word $name " "$here"/expected/*.txt)
			[ "$line" = "$word $name $rest" ] || [[ $rest == skip* ]] || {
				printf -- '- %s\n+ %s\n' "$line" "$word $name $rest"
				[[ $rest == fail* ]] || bad=$((bad + 1))
				continue
			}
			# As its table of differences says it: not done, or on purpose.
			[[ $rest != fail* ]] || known=$((known + 1))
		done <"$answers"
	fi
	failed=$((failed + bad - known))
	[ $known = 0 ] || echo "$kind: $known known not to pass: expected/$kind/"
done
kind=
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
