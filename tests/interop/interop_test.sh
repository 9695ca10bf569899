#!/bin/bash
# interop_test.sh - other people's clients and tools against a server, and its
# answers beside those that Apache RocketMQ gave.
#
#   interop_test.sh [--record] [KIND]... [-- PATTERN...]   default: apache leat
#
# KIND is one of server.sh. Each is started in a directory of its own, all cases
# are run, or those that a PATTERN matches, and the lines compared with expected/:
# a difference, or a case that says nothing, fails the test. --record: the answers
# of Apache become expected/, unless they failed. LEAT_KEEP=1 keeps the directories. Exit 77: no case
# can be run here.
set -u
here=$(cd "$(dirname "$0")" && pwd)
record=
[ "${1:-}" != --record ] || { record=1 && shift; }
kinds=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	kinds+=("$1")
	shift
done
[ $# = 0 ] || shift
patterns=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(apache leat)
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

# What that kind is expected to answer; a name server of another kind than the
# broker's hardly matters.
declare -A want apache said
expect() {
	local dir name rest
	want=()
	for dir in "$here/expected" "$here/expected/${kind#*+}" "$here/expected/$kind"; do
		[ -d "$dir" ] || continue
		while read -r _ name rest; do
			want[$name]=$rest
			[ "$dir" != "$here/expected" ] || apache[$name]=$rest
		done < <(cat "$dir"/*.txt)
	done
}

chosen() { # NAME
	local pattern
	[ ${#patterns[@]} -gt 0 ] || return 0
	for pattern in "${patterns[@]}"; do
		# shellcheck disable=SC2053 # it is a pattern
		[[ $1 != $pattern ]] || return 0
	done
	return 1
}

passed=0 failed=0 known=0 skipped=0

# What an answer is: ok, known, better, skip or bad.
verdict() { # NAME ANSWER
	if [[ $2 == skip* ]]; then
		echo skip
	elif [ "$2" = "${want[$1]:-}" ]; then
		[[ $2 == fail* ]] && echo known || echo ok
	elif [ "$2" = "${apache[$1]:-}" ]; then
		echo better
	else
		echo bad
	fi
}

# The answers, by name; a case that was chosen and said nothing: "none".
read_answers() { # ANSWERS
	local name rest
	said=()
	while read -r _ name rest; do
		said[$name]=$rest
	done <"$1"
	for name in "${!want[@]}"; do
		! chosen "$name" || [ -n "${said[${name%%.*}]:-}" ] ||
			said[$name]=${said[$name]:-none}
	done
}

# A client that starves on a loaded machine answers otherwise. What is not as
# expected is asked once more, alone; both answers are shown.
ask_again() { # ANSWERS
	local name odd=() again=()
	for name in "${!said[@]}"; do
		[ "$(verdict "$name" "${said[$name]}")" != bad ] || odd+=("$name")
	done
	for name in "${odd[@]}"; do
		case $name in # commands build on one another
		admin.*) [[ ${again[*]} == *admin* ]] || again+=('admin.*') ;;
		*) again+=("$name") ;;
		esac
	done
	[ ${#again[@]} -gt 0 ] && [ ${#again[@]} -le 20 ] || return 0
	for name in "${odd[@]}"; do
		printf -- '%s: asked again: %s\n- %s\n+ %s\n' "$kind" "$name" \
			"${want[$name]:-}" "${said[$name]}"
	done
	mv "$work/$kind/run" "$work/$kind/run.first"
	"$here/run.sh" "$work/$kind" "${again[@]}" >"$1.again"
	for name in "${odd[@]}"; do
		said[$name]=$(sed -n "s/^case $name //p" "$1.again")
	done
}

judge() {
	local name
	for name in $(printf '%s\n' "${!said[@]}" | sort); do
		case $(verdict "$name" "${said[$name]}") in
		ok) passed=$((passed + 1)) ;;
		skip)
			skipped=$((skipped + 1))
			echo "$kind: $name ${said[$name]}"
			;;
		known)
			known=$((known + 1))
			echo "$kind: known not to pass: $name"
			;;
		better)
			passed=$((passed + 1))
			echo "$kind: $name is as with Apache now: expected/ need not tell them apart"
			;;
		*)
			failed=$((failed + 1))
			printf -- '%s: FAIL %s\n- %s\n+ %s\n' "$kind" "$name" \
				"${want[$name]:-}" "${said[$name]}"
			;;
		esac
	done
}

for kind in "${kinds[@]}"; do
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
	"$here/run.sh" "$work/$kind" "${patterns[@]}" >"$answers"
	if [ -n "$record" ] && [ "$kind" = apache ]; then
		for group in frame java5 java4 go cpp node admin life; do
			! grep -q "^case $group\." "$answers" ||
				grep "^case $group\.[^ ]* [os]" "$answers" \
					>"$here/expected/$group.txt"
		done
	fi
	expect
	read_answers "$answers"
	ask_again "$answers"
	"$here/server.sh" stop "$work/$kind"
	judge
done
kind=
echo "$passed passed, $failed failed, $known known not to pass, $skipped skipped"
[ $failed = 0 ] || exit 1
[ $((passed + known)) != 0 ] || exit 77
