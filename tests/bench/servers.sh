# servers.sh - sourced by bench.sh: brokers and servers in directories of their
# own, ended by their pid; what they cost in CPU and memory; records.

broker=
redis=
nats=

note() {
	printf '%s\n' "$*" >&2
}

# --- records: CASE ROUND SYSTEM KEY VALUE, tab separated ---------------------

record() {
	printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$records"
}

forget() { # CASE
	awk -F '\t' -v name="$1" '$1 != name' "$records" >"$work/kept"
	cat "$work/kept" >"$records"
	rm -f "$out"/raw/"$1".*.json
}

# missing CASE SYSTEM WHY...
missing() {
	local name=$1 system=$2
	shift 2
	record "$name" 0 "$system" missing "$*"
	note "  $system: not measured: $*"
}

# Median of each CASE SYSTEM KEY; text is kept as it is.
medians() {
	LC_ALL=C sort -t "$(printf '\t')" -k1,1 -k3,3 -k4,4 -k5,5g "$1" |
		awk -F '\t' -v OFS='\t' '
		function out() {
			if (n)
				print name, who, key, value[int((n + 1) / 2)], n, value[1], value[n]
		}
		$1 != name || $3 != who || $4 != key {
			out()
			n = 0
			name = $1; who = $3; key = $4
		}
		{ value[++n] = $5 }
		END { out() }'
}

# --- environment ---------------------------------------------------------------

note_environment() {
	forget environment
	local key
	while IFS='=' read -r key value; do
		[ -z "$value" ] || record environment 0 all "$key" "$value"
	done <<END
date=$(date -u +%Y-%m-%dT%H:%MZ)
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
cores=$(nproc)
kernel=$(uname -sr)
memory_mib=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
file_system=$(stat -f -c %T "$base")
system=$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)
leat=$("$leat" --version | head -n 1)
redis=$(redis-server --version 2>/dev/null | sed 's/.*v=\([^ ]*\).*/\1/')
nats=$(nats-server --version 2>/dev/null | sed 's/.* v*//')
scale=$scale
rounds=$rounds
settings_all=128-byte bodies; nothing pinned unless said; parties sleep, nobody spins (who was woken within 50 us gives way 30 us); producers and one consumer are processes of their own
settings_leat=defaults; level as said; window 1024 unless said; leat consumes by browsing as the limit does, group acknowledges each message
settings_redis=Unix socket; pipelined XADD, XREADGROUP of up to 1024 with one XACK each; appendonly yes, appendfsync everysec beside logged and always beside synced; save "", no AOF rewrite
settings_nats=loopback TCP; file storage, asynchronous publishing with acknowledgements, push consumer with ack policy all
seed=none: nothing in a run is random, but for p10, which prints its own
END
}

# --- processes -----------------------------------------------------------------

# family PID...: these and their descendants.
family() {
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v roots="$*" '
	BEGIN { n = split(roots, r, " "); for (i = 1; i <= n; i++) in_it[r[i]] = 1 }
	{
		pid = $1
		sub(/.*\) /, "")
		parent[pid] = $2
	}
	END {
		do {
			grown = 0
			for (p in parent)
				if (!(p in in_it) && (parent[p] in in_it))
					in_it[p] = grown = 1
		} while (grown)
		for (p in in_it)
			if (p in parent)
				print p
	}'
}

# CPU seconds so far of a server and its children; not in ticks, of which a short
# run may have none.
cpu_of() {
	local pid
	for pid in $(family "$1"); do
		cat "/proc/$pid"/task/*/schedstat 2>/dev/null
	done | awk '{ t += $1 } END { printf "%.6f\n", t / 1e9 }'
}

# memory_of PID FIELD: sum over the family, in KiB, of a line of smaps_rollup.
memory_of() {
	local pid
	for pid in $(family "$1"); do
		cat "/proc/$pid/smaps_rollup" 2>/dev/null
	done | awk -v field="$2:" '$1 == field { sum += $2 } END { print sum + 0 }'
}

# own_memory PID: bytes that are the family's own: anonymous, and every shared
# segment once, mapped or not.
own_memory() {
	local pid fd
	for pid in $(family "$1"); do
		awk '/^RssAnon:/ { print "anon", pid, $2 * 1024 }' pid="$pid" \
			"/proc/$pid/status"
		for fd in /proc/"$pid"/fd/*; do
			case $(readlink "$fd") in
			/memfd:*) stat -L -c 'memfd %d.%i %b' "$fd" ;;
			esac
		done 2>/dev/null
	done | awk '
	$1 == "anon" { sum += $3 }
	$1 == "memfd" && !seen[$2]++ { sum += $3 * 512 }
	END { printf "%.0f\n", sum }'
}

# wait_for SECONDS COMMAND...
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" 2>/dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.02
	done
}

stop_pid() { # PID
	[ -n "$1" ] || return 0
	kill -TERM "$1" 2>/dev/null
	wait_for 40 eval "! kill -0 $1" || kill -KILL "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

stop_servers() {
	local pid
	for pid in $broker $redis $nats; do
		stop_pid "$pid"
	done
	broker=
	redis=
	nats=
	rm -rf "$work"/leat* "$work"/redis* "$work"/nats*
}

# What one run leaves for the disk to write must not slow down the next.
settle() {
	[ $scale = smoke ] || sync -f "$work"
}

# start_leat NAME [COMMAND PREFIX...]: a broker in $work/NAME, its settings from
# $work/NAME.conf if there. Its pid is added to $broker and is in $leat_pid;
# $leat_start_ms is how long it took.
start_leat() {
	local name=$1 line= conf= began=${EPOCHREALTIME/./}
	shift
	[ ! -f "$work/$name.conf" ] || conf="-c $work/$name.conf"
	# shellcheck disable=SC2086 # two words or none
	exec {leat_fd}< <(exec "$@" "$build/leatd" --dir "$work/$name" $conf \
		2>>"$work/$name.log")
	leat_pid=$!
	read -r -t 120 line <&"$leat_fd"
	leat_start_ms=$(((${EPOCHREALTIME/./} - began + 500) / 1000))
	broker="$broker $leat_pid"
	case $line in
	ready*) ;;
	*)
		tail -n 5 "$work/$name.log" >&2
		note "leatd does not get ready"
		exit 1
		;;
	esac
	use_leat "$name"
}

use_leat() { # NAME
	LEAT_SOCKET=$work/$1/leat.sock
	export LEAT_SOCKET
}

# A smoke run asks the peers once for each job.
has_peers() { # CASE
	case $scale.$1 in
	smoke.p1-1 | smoke.p2-5000 | smoke.p3-16 | smoke.p8-*) ;;
	smoke.*) return 1 ;;
	esac
}

redis_answers() {
	[ -S "$work/redis.sock" ] &&
		"$load" redis publish --where "$work/redis.sock" --count 1
}

# start_redis CASE everysec|always [COMMAND PREFIX...]
start_redis() {
	local name=$1 fsync=$2
	shift 2
	has_peers "$name" || {
		missing "$name" redis "left out of a smoke run"
		return 1
	}
	command -v redis-server >/dev/null || {
		missing "$name" redis "redis-server is not installed"
		return 1
	}
	mkdir -p "$work/redis"
	"$@" redis-server --port 0 --unixsocket "$work/redis.sock" \
		--dir "$work/redis" --save "" --appendonly yes \
		--appendfsync "$fsync" --auto-aof-rewrite-percentage 0 \
		>"$work/redis.log" 2>&1 &
	redis=$!
	wait_for 20 redis_answers >/dev/null || {
		missing "$name" redis "it does not start"
		stop_pid $redis
		redis=
		return 1
	}
}

nats_answers() {
	nats_port=$(sed -n 's/.*client connections on 127.0.0.1:\([0-9]*\).*/\1/p' \
		"$work/nats.log")
	[ -n "$nats_port" ] && grep -q 'Server is ready' "$work/nats.log"
}

# start_nats CASE [COMMAND PREFIX...]
start_nats() {
	local name=$1
	shift
	has_peers "$name" || {
		missing "$name" nats "left out of a smoke run"
		return 1
	}
	command -v nats-server >/dev/null || {
		missing "$name" nats "nats-server is not installed"
		return 1
	}
	printf 'listen: "127.0.0.1:-1"\njetstream { store_dir: "%s" }\n' \
		"$work/nats" >"$work/nats.conf"
	"$@" nats-server -c "$work/nats.conf" >"$work/nats.log" 2>&1 &
	nats=$!
	wait_for 20 nats_answers || {
		missing "$name" nats "it does not start"
		stop_pid $nats
		nats=
		return 1
	}
}
