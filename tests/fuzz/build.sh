#!/bin/sh
# build.sh CC NAME... - tests/fuzz/NAME_fuzz.c as a libFuzzer program, NAME, in
# fuzz/ of the build tree. The sources are compiled once for all of them, with
# sanitizers and counters for the fuzzer. Called by `make fuzz`.
set -eu
cc=$1
shift
src=${top_srcdir:-.}
out=$PWD/fuzz
plain="-std=gnu17 -O2 -g -D_GNU_SOURCE -I$src/src -I$src/gateway -I$src/include -I$PWD"
flags="$plain -O1 -fno-omit-frame-pointer -DLT_LIBFUZZER
	-fsanitize=address,undefined -fno-sanitize-recover=undefined"
mkdir -p "$out"

# compile ARCHIVE SOURCE...: anew if any source of the tree is newer; memfs and
# memfds are no part of what is tested, and slow with counters in them.
compile() {
	archive=$out/$1
	how="$flags -fsanitize=fuzzer-no-link"
	case $1 in mem*) how=$plain ;; esac
	shift
	[ -z "$(find "$src/src" "$src/gateway" "$src/tests" -name '*.[chd]*' -newer \
		"$archive" 2>&1 | head -n 1)" ] && return 0
	printf '%s\n' "$@" | xargs -P "$(nproc)" -I @ sh -c '
		cd "$0" && exec $1 $2 -c @ -o "$3/$(echo @ | tr / -).o"' \
		"$src" "$cc" "$how" "$out"
	rm -f "$archive"
	for file; do
		ar rcs "$archive" "$out/$(echo "$file" | tr / -).o"
	done
}

cd "$src"
library=$(ls src/base/*.c src/proto/*.c src/shm/*.c src/store/*.c \
	gateway/hub/*.c gateway/names/*.c gateway/net/*.c | grep -v _main.c)
queue=$(ls src/queue/*.c tests/queue/play*.c | grep -v -e _main.c -e /key -e /indexfile)
# shellcheck disable=SC2086 # lists of words
compile library.a $library tests/support/faults.c tests/store/rig.c
# shellcheck disable=SC2086
compile queue.a $queue
compile memfs.a tests/support/memfs.c
compile memfds.a tests/support/memfds.c
# The store and the queue manager have names in common; calls of libc are
# replaced only where files or sockets are in memory.
printf '%s\n' "$@" | xargs -P "$(nproc)" -I @ sh -c '
	! grep -q play_ "$2/tests/fuzz/@_fuzz.c" || more=$3/queue.a
	! grep -q memfs_ "$2/tests/fuzz/@_fuzz.c" || more="$more $3/memfs.a"
	! grep -q memfds_ "$2/tests/fuzz/@_fuzz.c" || more="$more $3/memfds.a"
	exec $0 $1 -fsanitize=fuzzer "$2/tests/fuzz/@_fuzz.c" $more \
		"$3/library.a" -lcmocka -ldeflate -linih -ljansson -lsodium \
		-levent_core -lssl -lcrypto -o "$3/@"' \
	"$cc" "$flags" "$src" "$out"
