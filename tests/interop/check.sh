#!/bin/bash
# check.sh - the interop tests as `./bootstrap check` runs them: in a few minutes,
# a part of all cases against Leat, some of the same against a real Apache
# RocketMQ, mixed clusters, libleat as the client of both, signed requests, the
# Leat channel with other Noise, and the table of request codes.
#
#   top_builddir=BUILD tests/interop/check.sh      LEAT_LONG=1: all cases of each
#
# Prints what did not pass, or is known not to, and why what was left out. Exit 1:
# something failed; 77: nothing could be run. LEAT_KEEP=1 keeps the directories;
# LEAT_INTEROP_JOBS: so many servers at a time (2; the long version: 1).
set -u
here=$(cd "$(dirname "$0")" && pwd)
jobs=${LEAT_INTEROP_JOBS:-$([ -n "${LEAT_LONG:-}" ] && echo 1 || echo 2)}
work=$(mktemp -d)
export TMPDIR=$work
running=()

end() {
	local pid
	for pid in "${running[@]}"; do # each part is a process group
		kill -TERM -- "-$pid" 2>/dev/null && wait "$pid"
	done
	if [ -n "${LEAT_KEEP:-}" ]; then
		echo "kept: $work"
	else
		rm -rf "$work"
	fi
}
trap end EXIT
trap 'exit 1' INT TERM

# The short version. Each kind of client is there, and what a broker's own answers
# are made of; what takes long (a hundred thousand messages apart), is not.
leat=('frame.*' 'java5.send-*' 'java5.consume-100k' 'java5.consume-tags'
	'java5.consume-retried' 'java5.consume-dead-letter' 'java5.consume-orderly'
	'java5.group-join-leave' 'java5.group-broadcast' 'java5.group-reset-by-time'
	'java5.group-status' 'java5.pop-consume' 'java5.pull-states' 'java5.lite-seek'
	'java5.transaction' 'java5.request-reply'
	'java4.send-sync' 'java4.send-batch' 'java4.consume-concurrently'
	'java4.consume-dead-letter-at-once' 'java4.lite-subscribe'
	'go.send-*' 'go.consume-orderly' 'go.consume-retried' 'go.transaction'
	'node.send' 'node.consume-tags' 'node.consume-broadcast'
	'cpp.send-*' 'cpp.consume-orderly' 'cpp.consume-tags' 'cpp.pull'
	'admin.*' 'life.kill9' 'life.front-kill9')
apache=('frame.send-*' 'frame.pull-*' 'frame.offset-*' 'java5.send-sync'
	'java5.consume-tags' 'java5.consume-dead-letter' 'go.send-sync' 'node.send'
	'cpp.send-sync' 'admin.updateTopic*' 'admin.topicStatus' 'admin.deleteTopic')
mixed=('frame.ns-*' 'java5.send-sync' 'java5.send-unknown-topic'
	'java5.consume-concurrently' 'java5.group-shares' 'go.consume-tags'
	'node.consume' 'cpp.consume' 'admin.topicRoute' 'admin.clusterList'
	'admin.deleteTopic' 'admin.wipeWritePerm' 'life.namesrv-kill9')
if [ -n "${LEAT_LONG:-}" ]; then
	leat=() apache=() mixed=()
else
	export LEAT_MESSAGES="${LEAT_MESSAGES:-2000}"
fi

part() { # NAME COMMAND...
	local name=$1
	shift
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
		wait -n
	done
	# shellcheck disable=SC2016 # of the inner shell, which waits for the end
	setsid bash -c 'trap : TERM; "$@"; echo $? $SECONDS >"$0"' \
		"$work/$name.end" "$@" >"$work/$name.out" 2>&1 </dev/null &
	running+=($!)
	names+=("$name")
}

interop() { # KIND PATTERN...
	local kind=$1
	shift
	part "$kind" "$here/interop_test.sh" "$kind" -- "$@"
}

passed=0 failed=0 known=0 skipped=0

# What a part said of itself in its last line, or by a line for each case.
count() { # NAME
	local out=$work/$1.out line status seconds ok bad
	read -r status seconds <"$work/$1.end" || status=none seconds="?"
	line=$(grep '^[0-9]* passed, ' "$out" | tail -n 1)
	if [ -n "$line" ]; then
		# shellcheck disable=SC2086 # its words
		set -- "$1" $line
		ok=$2 bad=$4
		known=$((known + $6)) skipped=$((skipped + ${11}))
	else
		ok=$(grep -c '^case [^ ]* ok' "$out")
		bad=$(grep -c '^case [^ ]* fail' "$out")
		skipped=$((skipped + $(grep -c '^SKIP ' "$out")))
	fi
	case $status in
	0 | 77) ;;
	*) [ "$bad" != 0 ] || bad=1 ;;
	esac
	passed=$((passed + ok)) failed=$((failed + bad))
	grep -v '^case [^ ]* ok\|^[0-9]* passed, \|^127.0.0.1:' "$out"
	echo "$1: $ok cases passed, $bad failed, $seconds s"
}

"$here/fetch.sh" || exit 1
began=$SECONDS
names=()
interop leat "${leat[@]}" # the longest first
part cclient-apache "$here/cclient.sh" apache
interop apache "${apache[@]}"
interop apache+leat "${mixed[@]}"
interop leat+apache "${mixed[@]}"
part signed "$here/signed.sh"
part cclient-leat "$here/cclient.sh" leat
part channel "$here/channel.sh"
part codes "$here/codes.sh"
wait
running=()
for name in "${names[@]}"; do
	count "$name"
done
left=$(pgrep -f "$work")
[ -z "$left" ] || {
	echo "FAIL: processes are left: ${left//$'\n'/ }"
	failed=$((failed + 1))
}
echo "$passed passed, $failed failed, $known known not to pass, $skipped skipped, $((SECONDS - began)) s"
[ $failed = 0 ] || exit 1
[ $((passed + known)) != 0 ] || exit 77
