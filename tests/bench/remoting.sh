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
# Rates are what RocketMQ's class itself says at its end, mean too. p50, p99: a
# probe beside it, 100 messages a second one at a time on a connection of its
# own. Leat is one broker with both roles, as it is without configuration; Apache
# a name server and a broker. CPU: of all processes of the server. Memory: their
# proportional set.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=. out= quick= flush=async
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

pss_kib() { # KIND
	local p
	for p in $(processes "$1"); do
		sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' "/proc/$p/smaps_rollup"
	done | awk '{ n += $1 } END { print n + 0 }'
}

cpu_ticks() { # KIND
	local p
	for p in $(processes "$1"); do
		awk '{ print $14 + $15 }' "/proc/$p/stat"
	done | awk '{ n += $1 } END { print n + 0 }'
}

bench() { # CLASS ARGUMENT...
	local class=$1
	shift
	java -Xms512m -Xmx512m -XX:+UseSerialGC -XX:-UsePerfData \
		-Duser.home="$out" -cp "$cache/bench/*" \
		"org.apache.rocketmq.example.benchmark.$class" "$@"
}

field() { # NAME: the last "NAME: value" of what a class printed
	grep -o "$1: *[0-9.]*" | tail -n 1 | grep -o '[0-9.]*$'
}

# run KIND NAME CLASS MESSAGES SECONDS ARGUMENT...
# Sets rate, mean (ms), p50, p99 (us), cpu (s per million messages).
run() {
	local kind=$1 name=$2 class=$3 messages=$4 seconds=$5 ns broker before sent
	shift 5
	read -r ns broker <"$out/$kind/address"
	before=$(cpu_ticks "$kind")
	"$build/tests/bench/probe" send "$broker" "probe-$name" 128 100 \
		$((seconds > 3 ? seconds - 2 : 1)) >"$out/$kind-$name.probe" &
	local probe=$!
	(cd "$out" && timeout "$((seconds + 5))" bash -c "$(declare -f bench)
		out=$out cache=$cache; bench $class -n $ns -ri 1000 $*" \
		>"$out/$kind-$name.txt" 2>&1)
	wait "$probe"
	read -r _ p50 p99 _ <"$out/$kind-$name.probe"
	rate=$(field "TPS" <"$out/$kind-$name.txt")
	mean=$(field "Average RT(ms)" <"$out/$kind-$name.txt")
	sent=$(grep -o "Send Total: [0-9]*" "$out/$kind-$name.txt" | tail -n 1 |
		grep -o '[0-9]*$')
	sent=${sent:-$(awk -v r="${rate:-0}" -v s="$seconds" 'BEGIN { print r * s }')}
	cpu=$(awk -v t=$(($(cpu_ticks "$kind") - before)) -v n="$sent" \
		'BEGIN { printf "%.1f", (n > 0 ? t / 100 / n * 1e6 : 0) }')
	[ "$messages" = 0 ] || grep -q "Send Failed: 0 " "$out/$kind-$name.txt" ||
		echo "remoting.sh: $kind $name: messages failed" >&2
}

ratio() {
	awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }'
}

line() { # WHAT UNIT LEAT APACHE
	echo "| $1 | $2 | $3 | $4 | $(ratio "$3" "$4") |"
}

both() { # NAME TITLE CLASS MESSAGES SECONDS ARGUMENT...
	local name=$1 title=$2
	shift 2
	declare -A got
	for kind in apache leat; do
		run $kind "$name" "$@"
		got[$kind]="${rate:-0} ${mean:-0} ${p50:-0} ${p99:-0} $cpu"
	done
	local l a i=0
	read -r -a l <<<"${got[leat]}"
	read -r -a a <<<"${got[apache]}"
	for what in "rate,msg/s" "mean,ms" "probe p50,us" "probe p99,us" \
		"CPU,s/million"; do
		line "$title: ${what%,*}" "${what#*,}" "${l[i]}" "${a[i]}"
		i=$((i + 1))
	done
}

finish() {
	for kind in apache leat; do
		"$interop/server.sh" stop "$out/$kind" >/dev/null 2>&1
	done
}
trap finish EXIT

echo "| flush $flush | unit | Leat | Apache 5.3.3 | ratio |"
echo "|---|---|---:|---:|---:|"
declare -A started idle
for kind in apache leat; do
	rm -rf "${out:?}/$kind"
	"$interop/server.sh" start "$out/$kind" ${kind/leat/leat1} \
		>"$out/$kind.start" || {
		cat "$out/$kind.start"
		exit 1
	}
	started[$kind]=$(cat "$out/$kind/started_ms")
	idle[$kind]=$(pss_kib $kind)
done
line "start of name server and broker" ms "${started[leat]}" "${started[apache]}"
line "memory, idle" KiB "${idle[leat]}" "${idle[apache]}"
one=10000 many=250000 seconds=12
[ -z "$quick" ] || one=500 many=5000 seconds=4
for bytes in 128 1024; do
	both "send1-$bytes" "send, 1 thread, $bytes B" Producer $one $seconds \
		-t "s1-$bytes" -w 1 -s $bytes -q $one
	both "send64-$bytes" "send, 64 threads, $bytes B" Producer $many $seconds \
		-t "s64-$bytes" -w 64 -s $bytes -q $many
done
both "batch-128" "batches of 16, 64 threads, 128 B" BatchProducer 0 $seconds \
	-t batch-128 -w 64 -s 128 -b 16
for kind in apache leat; do
	idle[$kind]=$(pss_kib $kind)
done
line "memory, after that" KiB "${idle[leat]}" "${idle[apache]}"
# What 10,000 connections cost that have asked once.
declare -A each
for kind in apache leat; do
	read -r _ broker <"$out/$kind/address"
	count=10000
	[ -z "$quick" ] || count=200
	before=$(pss_kib $kind)
	coproc holder { "$build/tests/bench/probe" idle "$broker" $count; }
	# shellcheck disable=SC2154 # set by coproc
	read -r word <&"${holder[0]}"
	if [ "$word" = ready ]; then
		each[$kind]=$((($(pss_kib $kind) - before) * 1024 / count))
	fi
	eval "exec ${holder[1]}>&-"
	wait "$holder_PID" 2>/dev/null
done
line "an idle connection (of $count)" bytes "${each[leat]:-0}" "${each[apache]:-0}"
cat <<END

Leat $("$build/leat" --version | grep -o '[0-9.]*$'), Apache RocketMQ 5.3.3 (heap 1 GiB, $(java -version 2>&1 | head -n 1)), benchmark classes 5.5.0,
$(nproc) CPUs, Linux $(uname -r), $(date +%F). Ratio: Leat / Apache; of times and memory less is better.
END
