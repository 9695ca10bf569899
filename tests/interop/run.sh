#!/bin/bash
# run.sh - runs the cases against a server and prints a line for each.
#
#   run.sh DIR|NAMESRV,BROKER [PATTERN...]
#
# DIR is one where server.sh started a server; with only addresses (host:port) the
# life.* cases, which restart it, are skipped. PATTERN is a case's name with *.
# Exit 1: a case failed.
#
# Lines: case NAME ok|fail|skip ANSWER, in a fixed order. Logs go to DIR/run (or
# a temporary directory), how long each case took, too.
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/interop/common.sh
. "$here/common.sh"
[ $# -ge 1 ] || {
	sed -n '4,8s/^# \{0,1\}//p' "$0" >&2
	exit 2
}
if [ -d "$1" ]; then
	server=$(cd "$1" && pwd)
	read -r namesrv broker <"$server/address" || exit 1
	out=$server/run
else
	server=
	namesrv=${1%,*} broker=${1#*,}
	out=$(mktemp -d)
fi
shift
mkdir -p "$out"
patterns=("$@")

set -f # patterns are for the programs
skips=$("$here/fetch.sh") || {
	echo "$skips" >&2
	exit 1
}
# The parts that are run, with why not.
why_not() { # PART
	local parts=$1
	[ "$1" = java ] && parts='\(java\|five\|four\)'
	echo "$skips" | sed -n "s/^SKIP $parts: //p" | head -n 1
}

# Is a case of that group wanted at all?
any() { # GROUP
	[ ${#patterns[@]} = 0 ] && return 0
	local pattern
	for pattern in "${patterns[@]}"; do
		# shellcheck disable=SC2254 # it is a pattern
		case $1 in ${pattern%%.*}) return 0 ;; esac
	done
	return 1
}

client() { # CLASSES MAIN ARGUMENT...
	local classes=$1 label=$2
	shift
	[ "$label" = Load ] || label=$3
	(cd "$out" && exec java -Dlabel="$label" -XX:-UsePerfData \
		-XX:+UseSerialGC -Xmx512m -Duser.home="$out" \
		-Djava.io.tmpdir="$out" -Drocketmq.client.logRoot="$out" \
		-Dat.once="${at_once:-4}" \
		-cp "$(built "$classes"):$here/java:$cache/$classes/*" "$@")
}

# group NAME PART COMMAND...: in the background, its lines into a file.
group() {
	local name=$1 part=$2 why
	shift 2
	any "$name" || return 0
	groups+=("$name")
	why=$(why_not "$part")
	if [ -n "$why" ]; then
		echo "case $name skip $why" >"$out/$name.txt"
	else
		"$@" >"$out/$name.txt" 2>"$out/$name.log" &
		running+=($!)
	fi
}

finish() {
	local pid
	for pid in "${running[@]}"; do
		wait "$pid" || bad=1
	done
	running=()
	for pid in "${groups[@]}"; do
		# What differs each time: checksums and identities of records.
		sed -E 's/(__CRC32#)=[0-9]+/\1=N/g; s/(LEAT_SEQ)=[0-9A-F]+/\1=ID/g' \
			"$out/$pid.txt"
	done
	groups=()
}

# life CASE COMMANDS: what is done to the server while a producer and a consumer run.
life() {
	local name=$1 line part
	shift
	coproc load { client five Load "$name" "$namesrv" "$broker" 2>>"$out/life.log"; }
	# shellcheck disable=SC2154 # set by coproc
	local from=${load[0]} to=${load[1]} pid=$load_PID
	read -r line <&"$from"
	if [ "$line" = ready ]; then
		while [ $# -gt 0 ]; do
			part=${1#* }
			"$here/server.sh" "${1%% *}" "$server" "$part" || line=failed
			shift
		done
		echo back >&"$to"
		read -r line <&"$from"
	fi
	echo "$line"
	wait "$pid" 2>/dev/null
	[[ $line == *" ok "* ]] || bad=1
}

lives() {
	local case
	for case in restart kill9 front-kill9 namesrv-kill9; do
		[ ${#patterns[@]} = 0 ] || [[ " ${patterns[*]} " == *" life.$case "* ]] ||
			[[ " ${patterns[*]} " == *" life.* "* ]] || continue
		if [ -z "$server" ]; then
			echo "case life.$case skip only addresses are known"
		elif [ -n "$(why_not java)" ]; then
			echo "case life.$case skip $(why_not java)"
		else
			case $case in
			restart) life $case "down broker" "up broker" ;;
			kill9) life $case "kill broker" "up broker" ;;
			front-kill9) life $case "kill front" "up front" ;;
			namesrv-kill9) life $case "kill namesrv" "up namesrv" ;;
			esac
		fi
	done
}

bad=0
groups=()
running=()
group frame java client five Suite frame frame "$namesrv" "$broker" "${patterns[@]}"
group java5 java client five Suite client java5 "$namesrv" "$broker" "${patterns[@]}"
group java4 java client four Suite client java4 "$namesrv" "$broker" "${patterns[@]}"
group go go "$(built go)" "$namesrv" "$broker" "${patterns[@]}"
group node node env NODE_PATH="$cache/node/node_modules" node "$here/node/client.js" \
	"$namesrv" "$broker" "${patterns[@]}"
group cpp cpp env HOME="$out" PYTHONPATH="$cache/cpp" PYTHONDONTWRITEBYTECODE=1 \
	python3 "$here/cpp/client.py" "$namesrv" "$broker" "${patterns[@]}"
finish
at_once=1 group admin java client five Suite admin admin "$namesrv" "$broker" "${patterns[@]}"
finish
lives
exit $bad
