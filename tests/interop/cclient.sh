#!/bin/bash
# cclient.sh - libleat as a client of another host: the same `leat` commands
# against Apache RocketMQ and against Leat's gateway.
#
#   cclient.sh [apache|leat|NAMESRV]...    default: apache leat
#
# One line a case: case NAME ok|fail. LEAT_MESSAGES: how many go each way
# (10,000); LEAT_CASES: only these cases. A server that cannot run here is a line
# SKIP and why; 77 if none can.
set -u
here=$(cd "$(dirname "$0")" && pwd)
builddir=${top_builddir:-$here/../..}
count=${LEAT_MESSAGES:-10000}
work=$(mktemp -d)
bad=0 ran=0
cases="topics each_way made_by_sending positions tags finding group group_admin
	two_members order sent_back broadcast bench not_there restart killed"
dir=

leat() {
	timeout "${limit:-120}" "$builddir/leat" --server "rocketmq://$names" "$@"
}

stop() {
	[ -z "$dir" ] || "$here/server.sh" stop "$dir"
	dir=
}
trap 'stop; rm -rf "$work"' EXIT

case_is() { # NAME STATUS: 0 is ok
	if [ "$2" = 0 ]; then
		echo "case $1 ok"
	else
		echo "case $1 fail"
		bad=1
	fi
}

# The same lines in any order, each once.
same_lines() { # WANT GOT
	sort "$2" | cmp -s - <(sort "$1") || {
		echo "  $(wc -l <"$1") wanted, $(wc -l <"$2") there," \
			"$(sort -u "$2" | wc -l) different" >&2
		return 1
	}
}

# Every line at least once.
all_lines() { # WANT GOT
	sort -u "$2" | cmp -s - <(sort "$1") || {
		echo "  $(wc -l <"$1") wanted, $(sort -u "$2" | wc -l) there" >&2
		return 1
	}
}

# Lines "KEY NUMBER": the numbers of each key grow, repeats of old ones apart.
in_order() { # FILE
	awk '$2 <= top[$1] { next } $2 != top[$1] + 1 { bad++ } { top[$1] = $2 }
		END { exit bad != 0 }' "$1"
}

topics() {
	leat topic create c-topic --queues 4 >/dev/null &&
		leat topic describe c-topic --json | grep -q '"read_queues": *4' &&
		leat topic list | grep -q c-topic &&
		leat topic update c-topic --write 2 | grep -q 'WRITE *2' &&
		! leat topic create c-topic 2>"$work/err" &&
		grep -q 'already exists' "$work/err" &&
		leat topic delete c-topic --yes &&
		! leat topic describe c-topic >/dev/null 2>&1 || return 1
	leat status >"$work/status" && # what is not told over the network is not there
		grep -q '^log ends' "$work/status" && ! grep -q '^sessions' "$work/status"
}

each_way() {
	leat topic create c-way --queues 4 >/dev/null || return 1
	seq -f 'message %.0f' "$count" >"$work/want"
	leat produce c-way -t some <"$work/want" || return 1
	leat consume c-way --exit-at-end >"$work/got" || return 1
	same_lines "$work/want" "$work/got"
}

# The topic is made by its first message.
made_by_sending() {
	echo hello | leat produce "c-made" &&
		[ "$(leat consume c-made --exit-at-end)" = hello ]
}

positions() {
	leat topic create c-positions --queues 1 >/dev/null || return 1
	seq 10 | leat produce c-positions || return 1
	for _ in $(seq 20); do # a queue is made behind the log
		[ "$(leat consume c-positions --from begin --exit-at-end | wc -l)" \
			!= 10 ] || break
		sleep 0.5
	done
	[ "$(leat consume c-positions --from -3 --exit-at-end | tr '\n' ' ')" = "8 9 10 " ] &&
		[ "$(leat consume c-positions --from 4 -n 2 | tr '\n' ' ')" = "5 6 " ] &&
		[ "$(leat consume c-positions --from 1h --exit-at-end | wc -l)" = 10 ]
}

tags() {
	leat topic create c-tags --queues 2 >/dev/null || return 1
	for tag in red green blue; do
		seq -f "$tag %.0f" 20 | leat produce c-tags -t $tag || return 1
	done
	leat consume c-tags --tag 'red || blue' --exit-at-end >"$work/got" &&
		[ "$(grep -c red "$work/got")" = 20 ] &&
		[ "$(grep -c blue "$work/got")" = 20 ] &&
		! grep -q green "$work/got"
}

finding() {
	local id
	leat topic create c-find --queues 2 >/dev/null || return 1
	id=$(echo found | leat produce c-find -k needle -p colour=red --receipts |
		awk '{ print $1 }')
	sleep 1 # an index is made behind the log
	leat message get --id "$id" --topic c-find | grep -q 'colour=red' &&
		leat message find --key needle --topic c-find | grep -q "$id" &&
		leat message get --offset c-find/0/0 | grep -q found
}

group() {
	leat topic create c-group --queues 4 >/dev/null || return 1
	seq 100 | leat produce c-group || return 1
	[ "$(leat consume c-group -g c-g --exit-at-end | sort -n | tr '\n' ' ')" = \
		"$(seq 100 | tr '\n' ' ')" ] || return 1
	# What was acknowledged does not come again.
	seq 101 110 | leat produce c-group || return 1
	[ "$(leat consume c-group -g c-g --exit-at-end | sort -n | head -1)" = 101 ]
}

group_admin() {
	leat group list | grep -q c-g &&
		leat group describe c-g | grep -q c-group &&
		leat group seek c-g --to begin --yes >/dev/null &&
		[ "$(leat consume c-group -g c-g --exit-at-end | wc -l)" = 110 ] &&
		leat group delete c-g --yes &&
		! leat group describe c-g >/dev/null 2>&1
}

# Two members have everything between them, and each has some.
two_members() {
	leat topic create c-share --queues 8 >/dev/null || return 1
	limit=60 leat consume c-share -g c-two >"$work/one" 2>"$work/err1" &
	local one=$!
	limit=60 leat consume c-share -g c-two >"$work/two" 2>"$work/err2" &
	local two=$!
	sleep 5 # the queues are shared out
	seq "$count" >"$work/want"
	leat produce c-share <"$work/want"
	for _ in $(seq 300); do
		[ "$(cat "$work/one" "$work/two" | sort -u | wc -l)" -ge "$count" ] &&
			break
		sleep 0.1
	done
	pkill -INT -P $one
	pkill -INT -P $two
	wait $one $two
	cat "$work/one" "$work/two" >"$work/got"
	[ -s "$work/one" ] && [ -s "$work/two" ] &&
		all_lines "$work/want" "$work/got"
}

# Ten keys, their numbers in order.
order() {
	leat topic create c-order --queues 4 >/dev/null || return 1
	seq "$count" | awk '{
		k = $1 % 10
		printf "{\"body\":\"k%d %d\",\"group_key\":\"k%d\"}\n", k, ++n[k], k
	}' >"$work/lines"
	leat produce c-order --jsonl <"$work/lines" &&
		leat consume c-order --exit-at-end >"$work/got" &&
		[ "$(wc -l <"$work/got")" = "$count" ] && in_order "$work/got"
}

# A reader whose output is gone gives back what it got: it comes again.
sent_back() {
	leat topic create c-back --queues 1 >/dev/null || return 1
	seq 5 | leat produce c-back || return 1
	leat consume c-back -g c-b --exit-at-end 2>/dev/null >/dev/full &&
		return 1
	leat consume c-back -g c-b -n 5 -f '%s %a\n' >"$work/got" || return 1
	[ "$(sort -n "$work/got" | tr '\n' ' ')" = "1 2 2 2 3 2 4 2 5 2 " ]
}

broadcast() {
	leat topic create c-cast --queues 2 >/dev/null || return 1
	seq 20 | leat produce c-cast || return 1
	[ "$(leat consume c-cast -g c-c --broadcast one --from begin --exit-at-end | wc -l)" = 20 ] &&
		[ "$(leat consume c-cast -g c-c --broadcast two --from begin --exit-at-end | wc -l)" = 20 ]
}

# Publishing and consuming go on while the broker is away for a moment.
away() { # down|kill
	[ -n "$dir" ] || return 0
	leat topic create c-restart --queues 4 >/dev/null || return 1
	seq "$count" | awk '{ k = $1 % 10; printf "{\"body\":\"k%d %d\",\"group_key\":\"k%d\"}\n",
		k, ++n[k], k }' >"$work/lines"
	limit=200 leat consume c-restart -g c-r >"$work/got" 2>"$work/err" &
	local reader=$!
	limit=200 leat produce c-restart --jsonl --rate $((count / 10)) \
		--timeout 100 <"$work/lines" 2>"$work/err2" &
	local writer=$!
	sleep 3
	"$here/server.sh" "$1" "$dir" broker
	"$here/server.sh" up "$dir" broker
	wait $writer || { cat "$work/err2" >&2; return 1; }
	sed 's/.*"body":"\([^"]*\)".*/\1/' "$work/lines" >"$work/want"
	for _ in $(seq 600); do
		[ "$(sort -u "$work/got" | wc -l)" -ge "$count" ] && break
		sleep 0.1
	done
	pkill -INT -P $reader
	wait $reader
	leat consume c-restart --exit-at-end >"$work/all" || return 1
	leat topic delete c-restart --yes
	leat group delete c-r --yes
	all_lines "$work/want" "$work/got" && all_lines "$work/want" "$work/all" &&
		in_order "$work/all"
}

bench() {
	leat bench publish --count "$count" --json | grep -q msgs_per_s &&
		leat bench consume --count "$count" --json | grep -q msgs_per_s
}

restart() {
	away down
}

killed() {
	away kill
}

not_there() {
	names=127.0.0.1:1 leat ping 2>"$work/err"
	[ $? = 3 ] && grep -q 'name server' "$work/err"
}

run() { # WHAT
	local what=$1 c
	for c in ${LEAT_CASES:-$cases}; do
		$c
		case_is "$what.$c" $?
	done
}

[ $# -gt 0 ] || set -- apache leat
for what in "$@"; do
	names=$what
	case $what in apache | leat)
		dir=$work/$what
		if ! "$here/server.sh" start "$dir" "$what" >"$work/start" 2>&1; then
			echo "SKIP $what: $(cat "$work/start" "$dir"/fetch.log 2>/dev/null | head -1)"
			dir=
			continue
		fi
		names=$(cut -d ' ' -f 1 "$dir/address")
		;;
	esac
	ran=1
	run "$what"
	stop
done
[ $ran = 1 ] || exit 77
exit $bad
