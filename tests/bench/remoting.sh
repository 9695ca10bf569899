#!/bin/bash
# remoting.sh - P4: RocketMQ's own benchmark classes, unmodified, against Leat and
# against Apache RocketMQ on this machine, one after the other in each case.
#
#   remoting.sh [--build DIR] [--out DIR] [--quick] [--flush async|sync]
#
# A table on standard output (Markdown); raw output of every run in --out.
# --quick: few messages, which proves that it works. Needs what tests/interop
# needs (a JDK and Maven get RocketMQ's jars once); without them: SKIP, exit 77.
#
# Rates are what RocketMQ's class itself says, mean too: of senders at the end, of
# consumers beside senders the best nine seconds and the mean from store to consumer,
# of a backlog, which leat(1) makes in both, the best two seconds. p50, p99: a probe
# beside it, 100 messages a second one at a time on a connection of its own. Leat is
# one broker with both roles, as it is without configuration; Apache a name server and
# a broker. CPU: of all processes of the server. Memory: their proportional set.
# Files are synced before each run; see ballast.c for what is done at first. Where
# the disk itself stood still for long, a line says so.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=. out="" quick="" flush=async
while [ $# -gt 0 ]; do
	case $1 in
	--build) build=$2 && shift ;;
	--out) out=$2 && shift ;;
	--flush) flush=$2 && shift ;;
	--quick) quick=1 ;;
	*) sed -n '5s/^# *//p' "$0" >&2 && exit 2 ;;
	esac
	shift
done
build=$(cd "$build" && pwd) || exit 2
# shellcheck source=tests/bench/ballast.sh
. "$here/ballast.sh"
out=${out:-$(mktemp -d)}
mkdir -p "$out"
cache=${LEAT_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/leat-interop}
interop=$here/../interop
export top_builddir=$build LEAT_INTEROP_FLUSH=$flush LEAT_INTEROP_POLL=0.01

skip=$("$interop/fetch.sh" five bench) || exit 1
[ -z "$skip" ] || {
	echo "$skip"
	exit 77
}

note() {
	echo "remoting.sh: $*" >&2
}

descendants() { # PID...
	local p
	for p in "$@"; do
		echo "$p"
		# shellcheck disable=SC2046 # a list
		descendants $(pgrep -P "$p")
	done
}

processes() { # KIND
	# shellcheck disable=SC2046 # a list
	descendants $(cat "$out/$1/namesrv.pid" "$out/$1/broker.pid" | sort -u)
}

# All processes' share of memory: Pss, or of it Pss_Anon and Pss_Shmem, which are
# all that mapped files (programs, and the log of both) are not.
pss_kib() { # KIND PATTERN
	local p
	for p in $(processes "$1"); do
		grep -E "^($2):" "/proc/$p/smaps_rollup"
	done | awk '{ n += $2 } END { print n + 0 }'
}

cpu_ticks() { # KIND
	local p
	for p in $(processes "$1"); do
		awk '{ print $14 + $15 }' "/proc/$p/stat"
	done | awk '{ n += $1 } END { print n + 0 }'
}

bench() { # SECONDS CLASS ARGUMENT...: in place of the shell that calls it
	local seconds=$1 class=$2
	shift 2
	cd "$out" && exec timeout "$seconds" java -Xms512m -Xmx512m -XX:+UseSerialGC \
		-XX:-UsePerfData -Duser.home="$out" -cp "$cache/bench/*" \
		"org.apache.rocketmq.example.benchmark.$class" -ri 1000 "$@"
}

field() { # NAME: the last "NAME: value" of what a class printed
	grep -o "$1: *[0-9.]*" | tail -n 1 | grep -o '[0-9.]*$'
}

# The longest time that the disk of $out had a request and completed none, ms, on
# standard output when it is ended: nothing that waits for it is faster.
watch_disk() {
	local from=0 most=0 written flying last=-1 now stat
	stat=/sys/dev/block/$(stat -c %Hd:%Ld "$out")/stat
	exec {never}<> <(:)
	trap 'echo "$most"; exit 0' TERM
	while read -r _ _ _ _ written _ _ _ flying _ <"$stat" 2>/dev/null; do
		now=${EPOCHREALTIME/./}
		if [ "$written" = "$last" ] && [ "$flying" != 0 ]; then
			most=$(((now - from) / 1000 > most ? (now - from) / 1000 : most))
		else
			last=$written from=$now
		fi
		read -r -t 0.02 -u "$never"
	done
	echo 0 # of this disk nothing is known
}

# begin KIND NAME SECONDS: the probe, and where the clock of the CPUs stands.
begin() {
	sync # nobody pays for what was written before
	read -r ns broker <"$out/$1/address"
	watch_disk >"$out/$1-$2.disk" &
	watch=$!
	before=$(cpu_ticks "$1")
	"$build/tests/bench/probe" send "$broker" "probe-$2" 128 100 "$3" \
		>"$out/$1-$2.probe" &
	probe=$!
}

# end KIND NAME MESSAGES: sets p50, p99 (us), cpu (s per million messages), stood.
end() {
	cpu=$(awk -v t=$(($(cpu_ticks "$1") - before)) -v n="$3" \
		'BEGIN { printf "%.1f", (n > 0 ? t / 100 / n * 1e6 : 0) }')
	wait "$probe"
	kill "$watch" 2>/dev/null
	wait "$watch"
	read -r _ p50 p99 _ <"$out/$1-$2.probe"
	read -r stood <"$out/$1-$2.disk"
}

# send KIND NAME CLASS MESSAGES SECONDS ARGUMENT...
# Sets rate, mean (ms), and what end() sets.
send() {
	local kind=$1 name=$2 class=$3 messages=$4 seconds=$5 sent
	shift 5
	begin "$kind" "$name" $((seconds > 3 ? seconds - 2 : 1))
	(bench $((seconds + 5)) "$class" -n "$ns" "$@" >"$out/$kind-$name.txt" 2>&1)
	rate=$(field "TPS" <"$out/$kind-$name.txt")
	[ "$class" != BatchProducer ] || rate=$(field "MPS" <"$out/$kind-$name.txt")
	mean=$(field "Average RT(ms)" <"$out/$kind-$name.txt")
	sent=$(grep -o "Send Total: [0-9]*" "$out/$kind-$name.txt" | tail -n 1 |
		grep -o '[0-9]*$')
	sent=${sent:-$(awk -v r="${rate:-0}" -v s="$seconds" 'BEGIN { print r * s }')}
	end "$kind" "$name" "$sent"
	[ "$messages" = 0 ] || grep -q "Send Failed: 0 " "$out/$kind-$name.txt" ||
		note "$kind $name: messages failed"
}

# A consumer's reports are of the last nine seconds: the best one's rate, and its
# mean from store to consumer.
best() { # FILE
	sed -n 's/.*Consume TPS: *\([0-9]*\) .*AVG(S2C) RT(ms): *\([0-9.]*\).*/\1 \2/p' "$1" |
		sort -n | tail -n 1
}

# The rate of its best two seconds in a row, after which there are reports of 0: a
# report says what came in nine seconds, and the next one's are one later.
drained() { # FILE
	sed -n 's/.*Consume TPS: *\([0-9]*\) .*/\1/p' "$1" | awk '
		{ sum[NR] = $1 * 9 }
		END {
			for (k = NR; k > 1; k--)
				n[k - 9] = sum[k - 1] - sum[k] + n[k]
			for (k = -8; k < NR; k++)
				if (n[k] + n[k + 1] > 2 * best)
					best = (n[k] + n[k + 1]) / 2
			printf "%.0f\n", best
		}'
}

# drain KIND NAME MESSAGES SECONDS ARGUMENT...: until all are consumed, at most
# SECONDS.
drain() {
	local kind=$1 name=$2 messages=$3 seconds=$4 consumer until
	shift 4
	begin "$kind" "$name" 8
	until=$((SECONDS + seconds))
	bench "$seconds" Consumer -n "$ns" -g "g-$name" "$@" >"$out/$kind-$name.txt" 2>&1 &
	consumer=$!
	while ! awk '/Consume TPS: [1-9]/ { n++ } /Consume TPS: 0 / && n { z++ }
		END { exit !z }' "$out/$kind-$name.txt" 2>/dev/null && [ $SECONDS -lt $until ]; do
		sleep 0.2
	done
	end "$kind" "$name" "$messages"
	[ $SECONDS -lt $until ] ||
		note "$kind $name: not all in $seconds s"
	kill "$consumer" 2>/dev/null
	wait "$consumer" 2>/dev/null
	rate=$(drained "$out/$kind-$name.txt")
}

# live KIND NAME MESSAGES SECONDS TOPIC ARGUMENT...: 64 threads send, 64 consume.
live() {
	local kind=$1 name=$2 messages=$3 seconds=$4 topic=$5 consumer
	shift 5
	begin "$kind" "$name" "$seconds"
	"$build/leat" --server "rocketmq://$ns" topic create "$topic" --queues 4 >/dev/null
	bench $((seconds + 20)) Consumer -n "$ns" -g "g-$name" -t "$topic" -w 64 \
		>"$out/$kind-$name.txt" 2>&1 &
	consumer=$!
	(bench $((seconds + 15)) Producer -n "$ns" -t "$topic" -w 64 -q "$messages" "$@" \
		>"$out/$kind-$name-send.txt" 2>&1)
	sleep 2 # a report that has the last of them
	end "$kind" "$name" "$messages"
	kill "$consumer" 2>/dev/null
	wait "$consumer" 2>/dev/null
	read -r rate mean <<<"$(best "$out/$kind-$name.txt")"
}

ratio() {
	awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }'
}

line() { # WHAT UNIT LEAT APACHE
	echo "| $1 | $2 | $3 | $4 | $(ratio "$3" "$4") |"
}

both() { # HOW NAME TITLE ARGUMENT...: send, drain or live
	local how=$1 name=$2 title=$3
	shift 3
	declare -A got
	for kind in apache leat; do
		"$how" $kind "$name" "$@"
		got[$kind]="${rate:-0} ${mean:-0} ${p50:-0} ${p99:-0} $cpu ${stood:-0}"
	done
	local l a i=0
	read -r -a l <<<"${got[leat]}"
	read -r -a a <<<"${got[apache]}"
	for what in "rate,msg/s" "mean,ms" "probe p50,us" "probe p99,us" \
		"CPU,s/million"; do
		[ "$how $i" = "drain 1" ] ||
			line "$title: ${what%,*}" "${what#*,}" "${l[i]}" "${a[i]}"
		i=$((i + 1))
	done
	if [ "${l[5]}" -ge $STOOD ] || [ "${a[5]}" -ge $STOOD ]; then
		line "$title: the disk stood still" ms "${l[5]}" "${a[5]}"
	fi
}

threads() { # N
	[ "$1" = 1 ] && echo "1 thread" || echo "$1 threads"
}

finish() {
	for kind in apache leat; do
		"$interop/server.sh" stop "$out/$kind" >/dev/null 2>&1
	done
	[ -z "$ballast" ] || kill "$ballast"
}
STOOD=80 # ms; shorter is not told
ballast=
trap finish EXIT
[ -n "$quick" ] || start_ballast

echo "| flush $flush | unit | Leat | Apache 5.3.3 | ratio |"
echo "|---|---|---:|---:|---:|"
declare -A started idle own
for kind in apache leat; do
	rm -rf "${out:?}/$kind"
	"$interop/server.sh" start "$out/$kind" ${kind/leat/leat1} \
		>"$out/$kind.start" || {
		cat "$out/$kind.start"
		exit 1
	}
	started[$kind]=$(cat "$out/$kind/started_ms")
	idle[$kind]=$(pss_kib $kind Pss)
done
line "start of name server and broker" ms "${started[leat]}" "${started[apache]}"
line "memory, idle" KiB "${idle[leat]}" "${idle[apache]}"
one=10000 many=250000 backlog=2000000 seconds=12
[ -z "$quick" ] || one=500 many=5000 backlog=20000 seconds=4
for bytes in 128 1024; do
	both send "send1-$bytes" "send, 1 thread, $bytes B" Producer $one $seconds \
		-t "s1-$bytes" -w 1 -s $bytes -q $one
	both send "send64-$bytes" "send, 64 threads, $bytes B" Producer $many $seconds \
		-t "s64-$bytes" -w 64 -s $bytes -q $many
done
for bytes in 128 1024; do
	for threads in 1 64; do
		both send "batch$threads-$bytes" \
			"batches of 16, $(threads $threads), $bytes B" \
			BatchProducer 0 $seconds -t "b$threads-$bytes" -w $threads -s $bytes -b 16
	done
done
for bytes in 128 1024; do
	both live "live-$bytes" "64 threads send, 64 consume, $bytes B" $many $seconds \
		"live-$bytes" -s $bytes
done
for bytes in 128 1024; do
	for kind in apache leat; do
		read -r ns _ <"$out/$kind/address"
		"$build/leat" --server "rocketmq://$ns" topic create "drain-$bytes" --queues 4 \
			>/dev/null
		"$build/leat" --server "rocketmq://$ns" bench publish --topic "drain-$bytes" \
			--count $backlog --size $bytes >"$out/$kind-drain-$bytes.made" || exit 1
	done
	for threads in 1 64; do
		both drain "drain$threads-$bytes" "consume a backlog, $(threads $threads), $bytes B" \
			$backlog 90 -t "drain-$bytes" -w $threads
	done
	backlog=$((backlog / 2))
done
for kind in apache leat; do
	idle[$kind]=$(pss_kib $kind Pss)
	own[$kind]=$(pss_kib $kind 'Pss_Anon|Pss_Shmem')
done
line "memory, after that" KiB "${own[leat]}" "${own[apache]}"
line "the same and mapped files" KiB "${idle[leat]}" "${idle[apache]}"
# What 10,000 connections cost that have asked once.
declare -A each
for kind in apache leat; do
	read -r _ broker <"$out/$kind/address"
	count=10000
	[ -z "$quick" ] || count=200
	before=$(pss_kib $kind Pss)
	coproc holder { "$build/tests/bench/probe" idle "$broker" $count; }
	# shellcheck disable=SC2154 # set by coproc
	read -r word <&"${holder[0]}"
	if [ "$word" = ready ]; then
		each[$kind]=$((($(pss_kib $kind Pss) - before) * 1024 / count))
	fi
	eval "exec ${holder[1]}>&-"
	wait "$holder_PID" 2>/dev/null
done
line "an idle connection (of $count)" bytes "${each[leat]:-0}" "${each[apache]:-0}"
cat <<END

Leat $("$build/leat" --version | grep -o '[0-9.]*$'), Apache RocketMQ 5.3.3 (heap 1 GiB, $(java -version 2>&1 | head -n 1)), benchmark classes 5.5.0,
$(nproc) CPUs, Linux $(uname -r), $(date +%F). Ratio: Leat / Apache; of times and memory less is better.
END
