# jobs.sh - sourced by bench.sh: the cases. run_X measures all cases X-...; each
# round takes the limit, Leat and its peers in turn, on servers made for the
# case. Counts are for full, quick and smoke runs.

all_cases="p1-1 p1-4 p2-1000 p2-5000 p2-10000 p2-100000 p2-ack p2-free
	p3-16 p3-256 p6-active p6-idle p7 p8-idle p8-start p8-recover p10"

pick() { # FULL QUICK SMOKE
	case $scale in
	full) echo "$1" ;;
	quick) echo "$2" ;;
	*) echo "$3" ;;
	esac
}

each_round() {
	seq 1 "$rounds"
}

# value NAME: a number in the JSON on standard input; the first of that name.
value() {
	grep -o "\"$1\": *[0-9.eE+-]*" | head -n 1 | sed 's/.*: *//'
}

# keep CASE ROUND SYSTEM PID: the JSON of a load on standard input, and the CPU
# the server $PID spent since $cpu_before.
keep() {
	local name=$1 round=$2 system=$3 pid=$4 file key v
	file=$out/raw/$name.$system.$round.json
	cat >"$file"
	for key in msgs_per_s p50_us p99_us p999_us max_us late_p99_us; do
		v=$(value "$key" <"$file")
		[ -z "$v" ] || record "$name" "$round" "$system" "$key" "$v"
	done
	[ -z "$pid" ] || record "$name" "$round" "$system" cpu_s_per_million "$(
		awk -v a="$cpu_before" -v b="$(cpu_of "$pid")" \
			-v n="$(value messages <"$file")" \
			'BEGIN { printf "%.4f", (b - a) * 1e6 / n }'
	)"
}

# measure CASE ROUND SYSTEM PID COMMAND...
measure() {
	local name=$1 round=$2 system=$3 pid=$4
	shift 4
	settle
	cpu_before=0
	[ -z "$pid" ] || cpu_before=$(cpu_of "$pid")
	if timeout 300 "$@" >"$work/result" 2>"$work/error"; then
		keep "$name" "$round" "$system" "$pid" <"$work/result"
	else
		echo "$name $system: $*: $(head -n 1 "$work/error")" |
			tee -a "$work/failed" >&2
		missing "$name" "$system" "the run failed: $(head -n 1 "$work/error")"
	fi
}

# limit CASE ROUND PROGRAM OPTION...: with $prefix.
limit() {
	local name=$1 round=$2 program=$3 field
	shift 3
	[ -n "$limits" ] || {
		[ "$round" != 1 ] || missing "$name" limit "no --limits DIR"
		return
	}
	settle
	# shellcheck disable=SC2086
	$prefix "$work/limits/$program" --dir "$work" "$@" >"$work/result" || {
		missing "$name" limit "$program failed"
		return
	}
	for field in msgs_per_s p50_us p99_us p999_us max_us; do
		record "$name" "$round" limit "$field" \
			"$(tr ' ' '\n' <"$work/result" | sed -n "s/^\(ack_\)\{0,1\}$field=//p")"
	done
}

# leat_bench CASE ROUND SYSTEM JOB OPTION...
leat_bench() {
	local name=$1 round=$2 system=$3 job=$4
	shift 4
	# shellcheck disable=SC2086
	measure "$name" "$round" "$system" "$leat_pid" $prefix "$leat" --json \
		bench "$job" --size 128 --detail "$@"
}

redis_load() { # CASE ROUND JOB OPTION...
	[ -n "$redis" ] || return 0
	# shellcheck disable=SC2086
	measure "$1" "$2" redis "$redis" $prefix "$load" redis "$3" \
		--where "$work/redis.sock" --size 128 "${@:4}"
}

nats_load() { # CASE ROUND JOB OPTION...
	[ -n "$nats" ] || return 0
	# shellcheck disable=SC2086
	measure "$1" "$2" nats "$nats" $prefix "$load" nats "$3" \
		--where "$nats_port" --size 128 "${@:4}"
}

prefix=

# Servers just started are still making files: let them finish.
rest() {
	sleep "$(pick 2 0.5 0)"
}

# --- P1: throughput --------------------------------------------------------------

run_p1() {
	local name=$1 producers=${1#p1-} round
	start_leat leat
	start_redis "$name" everysec
	start_nats "$name"
	rest
	for round in $(each_round); do
		limit "$name" "$round" pipeline --producers "$producers" \
			--count "$(pick 8000000 4000000 200000)"
		leat_bench "$name" "$round" leat consume --queues 1 \
			--level logged --producers "$producers" \
			--count "$(pick 8000000 2000000 20000)"
		leat_bench "$name" "$round" group consume --queues 1 --group \
			--level logged --producers "$producers" \
			--count "$(pick 4000000 1000000 20000)"
		redis_load "$name" "$round" consume --producers "$producers" \
			--count "$(pick 600000 200000 4000)"
		nats_load "$name" "$round" consume --producers "$producers" \
			--count "$(pick 300000 100000 4000)"
	done
}

# --- P2: latency --------------------------------------------------------------------

one_way() { # CASE RATE
	local name=$1 rate=$2 round count
	count=$(pick $((rate * 3)) $((rate)) $((rate / 5)))
	start_leat leat
	start_redis "$name" everysec
	start_nats "$name"
	rest
	for round in $(each_round); do
		limit "$name" "$round" pipeline --rate "$rate" --count "$count"
		leat_bench "$name" "$round" leat latency --queues 1 \
			--level logged --rate "$rate" --count "$count"
		measure "$name" "$round" pipe "" "$load" pipe latency \
			--size 128 --rate "$rate" --count "$count"
		leat_bench "$name" "$round" group latency --queues 1 --group \
			--level logged --rate "$rate" --count "$count"
		redis_load "$name" "$round" latency --rate "$rate" \
			--count "$count"
		nats_load "$name" "$round" latency --rate "$rate" \
			--count "$count"
	done
}

# One message in flight: all processes on one CPU, or where the kernel puts them.
one_in_flight() {
	local name=$1 round
	prefix=$2
	# shellcheck disable=SC2086
	{
		start_leat leat $prefix
		start_redis "$name" everysec $prefix
		start_nats "$name" $prefix
	}
	rest
	for round in $(each_round); do
		limit "$name" "$round" groupcommit --no-sync --producers 1 \
			--window 1 --count "$(pick 50000 20000 2000)"
		leat_bench "$name" "$round" leat publish --queues 1 --window 1 \
			--level logged --count "$(pick 50000 20000 2000)"
		redis_load "$name" "$round" publish --window 1 \
			--count "$(pick 50000 20000 2000)"
		nats_load "$name" "$round" publish --window 1 \
			--count "$(pick 50000 20000 2000)"
	done
	prefix=
}

run_p2() {
	case $1 in
	p2-ack) one_in_flight "$1" "taskset -c 0" ;;
	p2-free) one_in_flight "$1" "" ;;
	*) one_way "$1" "${1#p2-}" ;;
	esac
}

# --- P3: synced ----------------------------------------------------------------------

run_p3() {
	local name=$1 window=${1#p3-} round
	start_leat leat
	start_redis "$name" always
	missing "$name" nats "this nats-server cannot sync before it acknowledges"
	rest
	for round in $(each_round); do
		limit "$name" "$round" groupcommit --producers 4 \
			--window "$window" \
			--count $(($(pick 10000 2500 50) * window))
		leat_bench "$name" "$round" leat publish --level synced \
			--producers 4 --window "$window" \
			--count $(($(pick 10000 2500 50) * window))
		redis_load "$name" "$round" publish --producers 4 \
			--window "$window" --count $(($(pick 2000 800 20) * window))
	done
}

# --- P6: queues ------------------------------------------------------------------------

p6_active() {
	local name=$1 round many
	many=$(pick 10000 10000 1000)
	start_leat leat
	"$leat" topic create one --queues 1 >/dev/null || exit 1
	"$leat" topic create many --queues "$many" >/dev/null || exit 1
	"$leat" bench publish --topic many --level logged \
		--count "$(pick 2000000 500000 20000)" >/dev/null || exit 1
	rest
	for round in $(each_round); do
		leat_bench "$name" "$round" one publish --level logged \
			--topic one --count "$(pick 4000000 500000 20000)"
		leat_bench "$name" "$round" many publish --level logged \
			--topic many --count "$(pick 4000000 500000 20000)"
	done
}

# Queues that had a message each, and then nothing to do.
p6_idle() {
	local name=$1 topics queues before i
	queues=$(pick 1000 1000 500)
	topics=$(pick 50 10 2)
	start_leat leat
	before=$(own_memory "$leat_pid")
	for i in $(seq "$topics"); do
		"$leat" topic create "t$i" --queues $queues >/dev/null || exit 1
	done
	record "$name" 1 leat bytes_per_new_queue "$(awk -v a="$before" \
		-v b="$(own_memory "$leat_pid")" -v n=$((topics * queues)) \
		'BEGIN { printf "%.0f", (b - a) / n }')"
	for i in $(seq "$topics"); do
		"$leat" bench publish --topic "t$i" --count $queues \
			--level logged >/dev/null || exit 1
	done
	sleep "$(pick 12 3 0)" # a checkpoint
	record "$name" 1 leat bytes_per_queue "$(awk -v a="$before" \
		-v b="$(own_memory "$leat_pid")" -v n=$((topics * queues)) \
		'BEGIN { printf "%.0f", (b - a) / n }')"
}

run_p6() {
	case $1 in
	p6-active) p6_active "$1" ;;
	p6-idle) p6_idle "$1" ;;
	esac
}

# --- P7: backlog --------------------------------------------------------------------------

# Ask the kernel to forget the pages of a broker's files.
chill() { # NAME
	settle
	find "$work/$1" -type f -size +0 -exec \
		dd if={} iflag=nocache count=0 status=none \;
}

# publish_figures CASE ROUND SYSTEM: rate, and p99 at 50,000 a second.
publish_figures() {
	local rate p99
	leat_bench "$1" "$2" "$3" publish --level logged --queues 1 \
		--count "$(pick 2000000 500000 20000)"
	rate=$("$leat" --json bench publish --level logged --queues 1 \
		--rate 50000 --count "$(pick 150000 50000 5000)")
	p99=$(printf '%s' "$rate" | value p99_us)
	# The p99 of the unbounded run is queueing time: this one replaces it.
	awk -F '\t' -v c="$1" -v r="$2" -v s="$3" \
		'!($1 == c && $2 == r && $3 == s && $4 == "p99_us")' \
		"$records" >"$work/kept"
	cat "$work/kept" >"$records"
	record "$1" "$2" "$3" p99_us "$p99"
}

# cold_reader COMMAND...: run it while a reader drains the backlog, again and
# again, from a cold cache.
cold_reader() {
	local reader
	chill full
	(
		trap 'kill $child 2>/dev/null; exit 0' TERM
		while :; do
			"$leat" --socket "$work/full/leat.sock" consume backlog \
				--from begin --exit-at-end -f '' >/dev/null &
			child=$!
			wait $child || exit 1
		done
	) &
	reader=$!
	"$@"
	kill -0 $reader 2>/dev/null || {
		echo "p7: the cold reader failed" | tee -a "$work/failed" >&2
	}
	kill -TERM $reader 2>/dev/null
	wait $reader 2>/dev/null
}

run_p7() {
	local name=$1 round empty full count
	count=$(pick 10000000 500000 50000)
	start_leat empty
	empty=$leat_pid
	start_leat full
	full=$leat_pid
	"$leat" topic create backlog --queues 4 >/dev/null || exit 1
	"$leat" bench publish --topic backlog --level logged \
		--count "$count" >/dev/null || exit 1
	record "$name" 1 full messages "$count"
	for round in $(each_round); do
		use_leat empty
		leat_pid=$empty publish_figures "$name" "$round" empty
		use_leat full
		leat_pid=$full publish_figures "$name" "$round" behind
		use_leat empty
		leat_pid=$empty cold_reader publish_figures "$name" "$round" elsewhere
		use_leat full
		leat_pid=$full cold_reader publish_figures "$name" "$round" drained
	done
}

# --- P8: idle memory, start-up, recovery ----------------------------------------------------

note_memory() { # CASE SYSTEM PID
	local key field
	for key in pss rss; do
		field=Pss
		[ $key = pss ] || field=Rss
		record "$1" 1 "$2" ${key}_mib "$(memory_of "$3" $field |
			awk '{ printf "%.2f", $1 / 1024 }')"
	done
}

p8_idle() {
	start_leat leat
	start_redis "$1" everysec
	start_nats "$1"
	rest
	note_memory "$1" leat "$leat_pid"
	[ -z "$redis" ] || note_memory "$1" redis "$redis"
	[ -z "$nats" ] || note_memory "$1" nats "$nats"
}

# start_time CASE ROUND SYSTEM PATTERN COMMAND...: until it says so.
start_time() {
	local name=$1 round=$2 system=$3 pattern=$4 line= fd pid began
	shift 4
	command -v "$1" >/dev/null || {
		[ "$round" != 1 ] || missing "$name" "$system" "$1 is not installed"
		return
	}
	settle
	began=${EPOCHREALTIME/./}
	exec {fd}< <(exec "$@" 2>&1)
	pid=$!
	while read -r -t 20 line <&"$fd"; do
		case $line in
		*"$pattern"*) break ;;
		esac
	done
	record "$name" "$round" "$system" start_ms \
		"$(((${EPOCHREALTIME/./} - began + 50) / 100))e-1"
	kill -TERM "$pid"
	cat <&"$fd" >/dev/null
	exec {fd}<&-
	wait "$pid" 2>/dev/null
}

p8_start() {
	local round
	mkdir -p "$work/redis"
	for round in $(each_round); do
		rm -rf "$work/leat" "$work/nats"
		start_time "$1" "$round" leat "ready" \
			"$build/leatd" --dir "$work/leat"
		start_time "$1" "$round" redis "eady to accept" redis-server \
			--port 0 --unixsocket "$work/redis.sock" \
			--dir "$work/redis" --save "" --appendonly yes
		start_time "$1" "$round" nats "Server is ready" nats-server \
			-a 127.0.0.1 -p -1 -js -sd "$work/nats"
	done
}

has_recovered() {
	"$leat" --json status | grep -q '"recovering": *false'
}

# Kill everything with 1 GiB and more behind the last checkpoint.
p8_recover() {
	local name=$1 round bytes began us
	for round in $(each_round); do
		printf '[store]\ncheckpoint_bytes = 1099511627776\ncheckpoint_ms = 3600000\n' \
			>"$work/leat.conf"
		start_leat leat
		"$leat" bench publish --level logged --topic "$("$leat" topic \
			create recover >/dev/null && echo recover)" \
			--count "$(pick 4000000 4000000 20000)" >/dev/null || exit 1
		bytes=$("$leat" --json status | value log_max_offset)
		# shellcheck disable=SC2046
		kill -KILL $(family "$leat_pid")
		wait "$leat_pid" 2>/dev/null
		broker=
		settle
		began=${EPOCHREALTIME/./}
		start_leat leat
		wait_for 120 has_recovered
		us=$((${EPOCHREALTIME/./} - began))
		record "$name" "$round" leat s_per_gib "$(awk -v us="$us" \
			-v b="$bytes" 'BEGIN { printf "%.3f", us / 1e6 * 1073741824 / b }')"
		record "$name" "$round" leat log_mib $((bytes / 1048576))
		stop_servers
	done
}

run_p8() {
	case $1 in
	p8-idle) p8_idle "$1" ;;
	p8-start) p8_start "$1" ;;
	p8-recover) p8_recover "$1" ;;
	esac
}

# --- P10: dead clients ------------------------------------------------------------------------

run_p10() {
	local test=$build/tests/crash/client_kill_test round key v
	[ -x "$test" ] || {
		missing "$1" leat "tests/crash/client_kill_test is not built"
		return
	}
	top_builddir=$build "$test" --figure --json \
		--kills "$(pick 300 100 10)" >"$work/result" 2>"$work/error" || {
		missing "$1" leat "client_kill_test failed"
		echo "p10: $(tail -n 1 "$work/error")" >>"$work/failed"
		return
	}
	cp "$work/result" "$out/raw/$1.leat.1.json"
	for key in p10_max_wait_ms baseline_max_wait_ms kills violations; do
		v=$(value $key <"$work/result")
		[ -z "$v" ] || record "$1" 1 leat $key "$v"
	done
}
