# broker.sh - sourced by end-to-end tests: a broker in a temporary directory that
# goes when the test ends, and ways to say what is wrong. Sets work, dir,
# LEAT_SOCKET; `failed` counts.
builddir=${top_builddir:-.}
srcdir=${top_srcdir:-.}
work=$(mktemp -d)
dir=$work/run
LEAT_SOCKET=$dir/leat.sock
NO_COLOR=1
export LEAT_SOCKET NO_COLOR
unset LEAT_SERVER
broker=
failed=0
wrongs=

cleanup() {
	if [ -n "$broker" ]; then
		kill -TERM "$broker" 2>/dev/null
		wait "$broker" 2>/dev/null
	fi
	[ -n "${LEAT_KEEP:-}" ] || rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

wrong() {
	echo "WRONG: $*"
	wrongs="$wrongs  $*
"
	failed=$((failed + 1))
}

# start_broker [ARGUMENT...]: until it says that it is ready.
start_broker() {
	mkfifo "$work/ready.$$" || exit 1
	"$builddir/leatd" --dir "$dir" "$@" >"$work/ready.$$" 2>>"$work/log" &
	broker=$!
	local line=
	exec 9<"$work/ready.$$"
	read -r -t 60 line <&9
	rm -f "$work/ready.$$"
	case $line in
	ready*) ;;
	*)
		echo "leatd did not get ready: $line"
		tail -n 20 "$work/log"
		exit 1
		;;
	esac
}

stop_broker() {
	kill -TERM "$broker"
	wait "$broker" || wrong "leatd's exit status is $? after SIGTERM"
	broker=
	exec 9<&-
}

leat() {
	timeout 120 "$builddir/leat" "$@"
}

# is WHAT GOT WANTED
is() {
	[ "$2" = "$3" ] || wrong "$1: got \`$2', not \`$3'"
}

# like WHAT TEXT PATTERN
like() {
	printf '%s\n' "$2" | grep -qE -- "$3" || wrong "$1: \`$2' is not like /$3/"
}

# fails EXIT PATTERN ARGUMENT...: leat fails so, with one line that matches.
fails() {
	local want=$1 pattern=$2 status
	shift 2
	timeout 60 "$builddir/leat" "$@" >"$work/out" 2>"$work/err" </dev/null
	status=$?
	[ $status = "$want" ] || wrong "exit $status, not $want: leat $*"
	is "lines on standard error of leat $*" "$(wc -l <"$work/err")" 1
	like "leat $*" "$(cat "$work/err")" "$pattern"
}

# json NAME: value of a member, from the first object on standard input that
# has it.
json() {
	sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1
}

finish() {
	if [ $failed != 0 ]; then
		echo "--- end of the broker's log"
		tail -n 20 "$work/log" 2>/dev/null
		echo "$failed wrong:"
		printf '%s' "$wrongs" | cut -c1-300
		exit 1
	fi
	exit 0
}
