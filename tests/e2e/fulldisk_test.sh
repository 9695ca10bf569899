#!/bin/bash
# fulldisk_test.sh - D5 with a real broker on real small file systems (tmpfs,
# ext4): fill it, look that all but publishing goes on, also over kills, then
# free space and measure how long publishing takes to resume.
#   LEAT_LONG=1   five rounds on each file system, else one
set -u
if [ "${1:-}" != inside ]; then
	if [ "$(id -u)" != 0 ] || ! unshare -m true 2>/dev/null; then
		echo "SKIP: a full disk needs root and mount namespaces"
		exit 77
	fi
	exec unshare -m "$0" inside
fi
mount --make-rprivate / || exit 1
. "${top_srcdir:-.}/tests/support/broker.sh"

disk=$work/disk
trap 'umount -l "$disk" 2>/dev/null; cleanup' EXIT
dir=$disk/run
LEAT_SOCKET=$dir/leat.sock
sent=0 # messages acknowledged
conf=$work/leat.conf

settings() {
	printf '%s\n' '[store]' 'segment_bytes = 1m' 'max_body_bytes = 64k' \
		'batch_bytes = 128k' 'prefill_bytes = 512k' 'checkpoint_ms = 300' \
		'retain_check_ms = 100' 'disk_full_percent = 100' "$@" \
		'[queue]' 'progress_ms = 100' '[supervisor]' 'restart_ms = 10' >"$conf"
}

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

# publish COUNT BYTES: messages that begin with their number; counts those with
# a receipt, in `sent`. Fails if one was refused.
publish() {
	local got status
	seq -f "%.0f" $((sent + 1)) $((sent + $1)) | awk -v n="$2" '
		{ s = $1 " "; while (length(s) < n) s = s "x"; print s }' |
		leat produce orders --receipts >"$work/receipts" 2>"$work/err"
	status=$?
	got=$(wc -l <"$work/receipts")
	sent=$((sent + got))
	return $status
}

# The whole topic is there: 1 2 3 ... sent, each once. One queue, one producer.
all_there() {
	leat consume orders --from begin --exit-at-end -f '%s\n' >"$work/read" ||
		wrong "$1: cannot read"
	cut -d' ' -f1 "$work/read" | cmp -s - <(seq "$sent") ||
		wrong "$1: read $(wc -l <"$work/read") messages, $sent were acknowledged"
}

lag() {
	leat --json group describe "$1" | json lag
}

fill() {
	# As much as there is, down to the last block.
	cat /dev/zero >"$disk/filler" 2>/dev/null
	local i
	for i in $(seq 40); do
		cat /dev/zero >>"$disk/filler" 2>/dev/null
		publish 400 400 || break
	done
	cat /dev/zero >>"$disk/filler" 2>/dev/null
	like "refused" "$(cat "$work/err")" 'space|full'
	[ "$i" -lt 40 ] || wrong "a full disk was never noticed"
}

child() {
	pgrep -P "$broker" -x "$1"
}

# CPU time of the broker's children, in ms.
cpu_ms() {
	local p sum=0 f
	for p in $(child leat-store) $(child leat-queue); do
		read -r -a f <"/proc/$p/stat"
		sum=$((sum + (f[13] + f[14]) * 10))
	done
	echo $sum
}

revived() { # NAME OLD-PID
	local i
	for i in $(seq 200); do
		[ -n "$(child "$1")" ] && [ "$(child "$1")" != "$2" ] &&
			leat ping >/dev/null 2>&1 && return
		sleep 0.02
	done
	wrong "$1 did not come back on a full disk"
}

goes_on() { # WHAT
	local from=$sent
	publish 1 100 && wrong "$1: published on a full disk"
	[ "$sent" = "$from" ] || wrong "$1: a refused message has a receipt"
	all_there "$1"
	leat topic create "made-$1" --queues 2 >/dev/null || wrong "$1: topic create"
	leat topic list | grep -q "made-$1" || wrong "$1: topic list"
	leat topic delete "old-$1" --yes >/dev/null || wrong "$1: topic delete"
	leat topic describe "old-$1" >/dev/null 2>&1 && wrong "$1: the topic is still there"
	leat consume orders --group "g-$1" --exit-at-end -f '%s\n' >"$work/read" ||
		wrong "$1: group consumes"
	is "$1: messages the group got" "$(wc -l <"$work/read")" "$sent"
	leat group seek seeker --to 5 --yes >/dev/null || wrong "$1: group seek"
	leat status >/dev/null || wrong "$1: status"
	leat group list >/dev/null || wrong "$1: group list"
	is "$1: lag" "$(lag "g-$1")" 0
}

crashes() {
	local pid before
	sleep 0.5 # progress_ms, and a sync
	pid=$(child leat-store)
	kill -9 "$pid"
	revived leat-store "$pid"
	all_there "after a kill of the store"
	pid=$(child leat-queue)
	kill -9 "$pid"
	revived leat-queue "$pid"
	all_there "after a kill of the queue manager"
	kill -9 "$broker" $(child leat-store) $(child leat-queue)
	wait "$broker" 2>/dev/null
	start_broker -c "$conf"
	all_there "after a kill of all"
	is "lag after a kill of all: progress is durable" "$(lag g-full)" 0
	is "sought progress" "$(leat --json group describe seeker | json progress)" 5
	leat topic list | grep -q made-full || wrong "a topic made on the full disk is gone"
	leat topic describe old-full >/dev/null 2>&1 && wrong "a deleted topic is back"
	before=$(cpu_ms)
	timeout 2 "$builddir/leat" consume orders --from end >/dev/null 2>&1
	is "CPU time in 2 s below 200 ms" "$(($(cpu_ms) - before < 200))" 1
}

# resumes HOW: publishing goes on by itself; prints how long it took.
resumes() {
	local began took store
	store=$(child leat-store)
	began=$(now_ms)
	until publish 1 100; do
		[ $(($(now_ms) - began)) -lt 5000 ] || break
	done
	took=$(($(now_ms) - began))
	echo "$fs: publishing resumed $took ms after $1"
	[ "$took" -le 1000 ] || {
		wrong "$fs: publishing took $took ms to resume"
		df "$disk"
		du -ak "$disk" | sort -n | tail -n 20
	}
	is "the store is the same process" "$(child leat-store)" "$store"
}

story() {
	sent=0
	settings 'retain_hours = 0'
	start_broker -c "$conf"
	leat topic create orders --queues 1 >/dev/null
	leat topic create old-full --queues 1 >/dev/null
	echo gone | leat produce old-full >/dev/null
	publish 300 1000 || wrong "publishing on a small disk"
	leat consume orders --group seeker --count 10 >/dev/null
	fill
	goes_on full
	crashes
	rm "$disk/filler"
	resumes "space was freed"
	all_there "with space again"
	# Retention frees space on a full disk, asked to: of three segments.
	publish 5000 400 || wrong "publishing with space again"
	fill
	all_there "full again"
	settings 'retain_hours = 0' 'retain_bytes = 1m'
	kill -HUP "$broker"
	resumes "retention was allowed to delete"
	rm "$disk/filler"
	stop_broker
	leat store verify "$dir" >"$work/verify" || wrong "verify: $(tail -n 3 "$work/verify")"
}

mkdir "$disk"
for round in $(seq $([ -n "${LEAT_LONG:-}" ] && echo 5 || echo 1)); do
	for fs in ${LEAT_FS:-tmpfs ext4}; do
		if [ $fs = tmpfs ]; then
			mount -t tmpfs -o size=16m tmpfs "$disk"
		else
			truncate -s 32m "$work/image" && mkfs.ext4 -qF "$work/image" 2>/dev/null &&
				mount -o loop "$work/image" "$disk" 2>/dev/null
		fi || {
			echo "SKIP: no $fs: mount is not permitted here"
			continue
		}
		story
		umount "$disk"
		echo "$fs, round $round: $sent messages acknowledged, $failed wrong"
	done
done
finish
