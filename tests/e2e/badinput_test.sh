#!/bin/bash
# badinput_test.sh - whatever is wrong, there is one clear line that names the
# fix, and the broker goes on for everybody else.
set -u
builddir=${top_builddir:-.}
work=$(mktemp -d)
dir=$work/run
bad=0
skipped=()
pids=()

cleanup() {
	local pid
	for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null; done
	wait 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

wrong() {
	echo "WRONG: $*"
	bad=1
}

leat() {
	"$builddir/leat" --socket "$dir/leat.sock" "$@"
}

# broker DIR ARGUMENT...: start and wait for the ready line.
broker() {
	local where=$1
	shift
	"$builddir/leatd" --dir "$where" "$@" >"$work/out" 2>>"$work/leatd.log" &
	broker=$!
	pids+=("$broker")
	local tries
	for tries in $(seq 300); do
		grep -q ready "$work/out" && return 0
		kill -0 "$broker" 2>/dev/null || break
		sleep 0.05
	done
	return 1
}

stop() {
	kill -TERM "$broker"
	wait "$broker"
}

# refused EXIT PATTERN COMMAND...: it fails with this status ("-": any but 0),
# one line on standard error matches; the broker is there afterwards.
refused() {
	local want=$1 pattern=$2 status
	shift 2
	timeout 30 "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
	status=$?
	if [ "$want" = - ]; then
		[ $status != 0 ] && [ $status -lt 124 ] ||
			wrong "exit status $status from: $*"
	else
		[ $status = "$want" ] || wrong "exit status $status, not $want: $*"
	fi
	[ "$(wc -l <"$work/stderr")" = 1 ] || {
		wrong "not one line on standard error: $*"
		cat "$work/stderr"
	}
	grep -qiE "$pattern" "$work/stderr" || {
		wrong "nothing like /$pattern/ said by: $*"
		cat "$work/stderr"
	}
}

works() {
	leat ping >/dev/null || wrong "the broker does not answer after: $1"
	echo "still here" | leat produce orders >/dev/null ||
		wrong "publishing does not work after: $1"
}

refuses() { # the same through the tool
	refused "$1" "$2" "$builddir/leat" --socket "$dir/leat.sock" "${@:3}"
	works "${*:3}"
}

echo "--- bodies, names, queues"
broker "$dir" || {
	tail -n 20 "$work/leatd.log"
	echo "leatd does not start"
	exit 1
}
leat topic create orders --queues 2 >/dev/null || wrong "no topic"
head -c 5000000 /dev/zero >"$work/large"
refuses - 'big|large|max_body|limit' produce orders --file "$work/large"
refuses - 'name' topic create 'bad name!'
refuses - 'name' topic create "$(printf 'x%.0s' $(seq 300))"
echo x >"$work/x"
refuses - 'queue' produce orders --queue 99 --file "$work/x"
refuses 5 'not found|no such|no topic' topic describe nothing-of-that-name
refuses 2 'usage|help|command|verb' topic frobnicate
refuses 2 'option' produce orders --no-such-option

echo "--- second broker, unreachable broker"
refused - 'in use|running|another|lock' "$builddir/leatd" --dir "$dir"
works "a second leatd"
refused 3 'leatd|running|socket' "$builddir/leat" --socket "$work/no.sock" ping

echo "--- configuration"
config() { # PATTERN TEXT
	printf '%b' "$2" >"$work/bad.conf"
	refused - "$1" "$builddir/leatd" --dir "$work/other" -c "$work/bad.conf" --check
}
config 'line 2|:2' "[store]\nsegment_bites = 1m\n"
config 'segment_bites' "[store]\nsegment_bites = 1m\n"
config 'line 3|:3' "[store]\nlevel = synced\nsegment_bytes = 12\n"
config '65536|64k|range|between|least' "[store]\nsegment_bytes = 12\n"
config 'line 2|:2' "[broker]\nname = $(printf 'x%.0s' $(seq 400))\n"
config 'level|accepted' "[store]\nlevel = sometimes\n"
config 'line 1|:1' "what is this\n"
config 'nohost.*HOST:PORT' '[gateway]\nlisten = nohost\n'
config 'gateway.names.*70000' '[gateway]\nnames = 127.0.0.1:70000\n'
config 'tls_cert.*PEM' "[gateway]\ntls = either\ntls_cert = $work/no.pem\ntls_key = $work/no.pem\n"
config 'gateway.accounts.*none' "[gateway]\naccounts = $work/none\n"
printf 'key secret-of-it\n' >"$work/accounts"
chmod 600 "$work/accounts"
config 'sign_as.*nobody' "[gateway]\naccounts = $work/accounts\nsign_as = nobody\n"
refused - 'no.conf' "$builddir/leatd" --dir "$work/other" -c "$work/no.conf" --check
[ ! -e "$work/other" ] || wrong "--check made a directory"

echo "--- directories"
refused - 'directory|/dev/null' "$builddir/leatd" --dir /dev/null/leat
: >"$work/file"
refused - 'directory|file' "$builddir/leatd" --dir "$work/file"

echo "--- damaged segments"
for i in $(seq 2000); do echo "message number $i of a log that will be cut"; done |
	leat produce orders --level logged >/dev/null
held=$(leat consume orders --from begin --exit-at-end 2>/dev/null | wc -l)
stop || wrong "leatd did not stop cleanly"
echo "not a segment" >"$dir/store/commitlog/notes.txt"
if broker "$dir"; then
	works "a foreign file among the segments"
	stop
else
	grep -q notes.txt "$work/leatd.log" || wrong "foreign file: no start, not named"
fi
rm -f "$dir/store/commitlog/notes.txt"
segment=$(ls "$dir/store/commitlog" | head -n 1)
used=$(tr -d '\0' <"$dir/store/commitlog/$segment" | wc -c)
truncate -s $((used / 2)) "$dir/store/commitlog/$segment"
if broker "$dir"; then
	works "a truncated segment"
	now=$(leat consume orders --from begin --exit-at-end 2>/dev/null | wc -l)
	[ "$now" -gt $((held / 4)) ] ||
		wrong "of $held messages only $now outlived half a segment"
	stop
else
	grep -q "$segment" "$work/leatd.log" || wrong "truncated segment: no start, not named"
fi
foreign=$work/foreign
mkdir -p "$foreign/store/commitlog"
head -c 300000 /dev/urandom >"$foreign/store/commitlog/00000000000000000000"
if broker "$foreign"; then
	dir=$foreign works "a segment of noise"
	stop
else
	grep -qE '00000000000000000000|segment' "$work/leatd.log" ||
		wrong "segment of noise: no start, not named"
fi

echo "--- no permission"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	nobody=$work/nobody
	mkdir -p "$nobody"
	libtool=$builddir/.libs
	cp "$libtool/leat" "$builddir/leatd" "$builddir/leat-store" "$builddir/leat-queue" \
		"$nobody/" && cp -P "$libtool"/libleat.so* "$nobody/"
	chmod 755 "$work" "$nobody"
	as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups
		env "LD_LIBRARY_PATH=$nobody")
	dir=$work/run
	broker "$dir" || wrong "leatd does not start again"
	chmod 755 "$dir"
	refused 4 'grant' "${as_nobody[@]}" "$nobody/leat" --socket "$dir/leat.sock" ping
	works "a user without rights"
	mkdir -m 700 "$work/private"
	refused - 'permi|denied|allow' "${as_nobody[@]}" "$nobody/leatd" --dir "$work/private/run"
	stop
else
	skipped+=("no permission (needs root and setpriv)")
fi

# In a mount namespace of its own, so nothing is left behind.
full_disk() {
	mkdir -p "$work/small"
	mount -t tmpfs -o size=24m tmpfs "$work/small" || return 77
	printf '[store]\nsegment_bytes = 1m\nmax_body_bytes = 64k\nprefill_bytes = 1m\nretain_check_ms = 100\n' >"$work/small.conf"
	dir=$work/small/run
	broker "$dir" -c "$work/small.conf" || wrong "no start on a small disk"
	leat topic create orders >/dev/null
	works "start on a small disk"
	echo first | leat produce orders >/dev/null
	leat consume orders --from begin --exit-at-end | grep -q first ||
		wrong "no consuming on a small disk"
	head -c 24m /dev/zero >"$work/small/filler" 2>/dev/null
	head -c 60000 /dev/zero >"$work/body"
	local i
	for i in $(seq 100); do # the segment at hand may still have room
		timeout 30 "$builddir/leat" --socket "$dir/leat.sock" produce orders \
			--file "$work/body" >/dev/null 2>"$work/stderr" || break
	done
	[ "$i" -lt 100 ] || wrong "a full disk was never noticed"
	grep -qiE 'space|full|disk' "$work/stderr" || {
		wrong "full disk: said $(cat "$work/stderr")"
	}
	leat ping >/dev/null || wrong "no answer while the disk is full"
	leat consume orders --from begin --exit-at-end --count 1 -f '%o\n' |
		grep -q . || wrong "no consuming while the disk is full"
	rm -f "$work/small/filler"
	for i in $(seq 200); do
		echo again | leat produce orders >/dev/null 2>&1 && break
		sleep 0.05
	done
	[ "$i" -lt 200 ] || wrong "publishing did not resume when there was space again"
	stop
}

# Segments are memfds; nothing may depend on /dev/shm.
full_shm() {
	mount -t tmpfs -o size=4k tmpfs /dev/shm || return 77
	head -c 64k /dev/zero >/dev/shm/filler 2>/dev/null
	dir=$work/shm
	broker "$dir" || wrong "no start with a full /dev/shm"
	works "start with a full /dev/shm"
	stop
}

for part in full_disk full_shm; do
	echo "--- $part"
	if [ "$(id -u)" != 0 ] || ! unshare -m true 2>/dev/null; then
		skipped+=("$part (needs root and mount namespaces)")
		continue
	fi
	export builddir work
	export -f broker stop wrong works leat "$part"
	unshare -m bash -c '
		set -u
		bad=0; pids=(); dir=; broker=
		trap "[ -z \"\$broker\" ] || kill -TERM \$broker 2>/dev/null; wait" EXIT
		mount --make-rprivate /
		'"$part"' || exit $?
		exit $bad'
	case $? in
	0) ;;
	77) skipped+=("$part (mount is not permitted)") ;;
	*) bad=1 ;;
	esac
done

[ $bad = 0 ] || {
	echo "--- end of leatd's log"
	tail -n 20 "$work/leatd.log"
}
[ ${#skipped[@]} = 0 ] || printf 'skipped: %s\n' "${skipped[@]}"
exit $bad
