#!/bin/sh
# include_test.sh - who may include whom (src/README.md), one door per library,
# and every header compiles alone.
set -u
cd "${top_srcdir:-.}" || exit 1
builddir=${top_builddir:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Rooms above base take the numbers of levels and modes from <leat/leat.h>.
# One line per quoted or <leat/...> include: file, its room, what it includes.
find src gateway -name '*.[ch]' 2>/dev/null | sort | xargs awk '
	/^#[ \t]*include/ {
		name = $0
		sub(/^#[ \t]*include[ \t]*[<"]/, "", name)
		sub(/[>"].*/, "", name)
		if ($0 ~ /"/ || name ~ /^leat\//)
			print FILENAME, name
	}' >"$work/includes"
[ -s "$work/includes" ] || {
	echo "no includes found below $PWD/src"
	exit 1
}

awk '
function allow(room, what) { allowed[room] = allowed[room] " " what }
BEGIN {
	allow("base", "leat/status.h")
	allow("proto", "base/ leat/")
	allow("shm", "base/ proto/ leat/")
	allow("store", "base/ proto/ shm/ leat/ supervisor/sandbox.h")
	allow("queue", "base/ proto/ shm/ leat/ store/reader.h store/consumequeue.h supervisor/sandbox.h")
	allow("client", "base/ proto/ shm/ leat/")
	allow("supervisor", "base/ proto/ shm/ leat/")
	allow("tools", "base/ proto/ leat/")
	allow("net", "base/ proto/ leat/status.h")
	allow("tail", "base/ proto/ leat/ store/reader.h store/consumequeue.h")
	allow("remoting", "net/ tail/ names/ hub/ base/ proto/ shm/ leat/ client/relay.h store/reader.h store/consumequeue.h")
	allow("names", "net/ base/ proto/ leat/")
	allow("hub", "net/ base/ proto/ leat/")
	allow("http", "net/ base/ proto/ leat/ store/reader.h store/consumequeue.h")
	allow("replica", "net/ base/ proto/ shm/ leat/status.h store/reader.h")
	# The program puts the rooms of the gateway together.
	file_allowed["gateway/gateway_main.c"] = "net/ tail/ names/ hub/ remoting/ base/ proto/ shm/ leat/ supervisor/sandbox.h"
	# The offline store commands.
	file_allowed["src/tools/store.c"] = "store/reader.h store/recover.h"
}
{
	n = split($1, part, "/")
	room = part[2]
	if ($2 == "config.h" || $2 ~ "^" room "/" || $2 !~ /\//)
		next
	checked++
	list = allowed[room] " " file_allowed[$1]
	m = split(list, a, " ")
	for (i = 1; i <= m; i++)
		if ($2 == a[i] || (a[i] ~ /\/$/ && index($2, a[i]) == 1))
			next
	print $1 ": may not include \"" $2 "\""
	bad++
}
END {
	if (!checked) { print "nothing checked"; bad++ }
	exit bad != 0
}' "$work/includes" || exit 1

# Includes without a room must be config.h: every header names its room.
awk '$2 !~ /\// && $2 != "config.h" { print $1 ": \"" $2 "\" names no room"; bad = 1 }
	END { exit bad }' "$work/includes" || exit 1

# door HEADER FILE...: only these may include a library.
bad=0
set -f # doors may be patterns
while read -r header files; do
	for f in $(grep -rlE "include *[<\"]$header" src gateway include 2>/dev/null); do
		known=0
		for door in $files; do
			# shellcheck disable=SC2254 # a pattern
			case $f in $door) known=1 ;; esac
		done
		[ $known = 1 ] || {
			echo "$f: only $files may include $header"
			bad=1
		}
	done
done <<'END'
sodium src/base/secret.c
ini\.h> src/base/ini.c
libdeflate src/base/crc32.c src/base/deflate.c
jemalloc src/base/mem.c
seccomp\.h> src/supervisor/sandbox.c
jansson src/tools/output.c gateway/hub/heartbeat.c gateway/names/namesjson.c gateway/remoting/adminjson.c
event2/ gateway/net/*
openssl/ gateway/net/*
END
set +f
if grep -rn 'config\.h' include; then
	echo "public headers never see config.h"
	bad=1
fi

cc=${CC:-cc}
for header in $(find include src gateway -name '*.h' 2>/dev/null); do
	name=${header#include/}
	name=${name#src/}
	name=${name#gateway/}
	printf '#include "%s"\n' "$name" >"$work/alone.c"
	$cc -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only \
		-Iinclude -Isrc -Igateway -I"$builddir" "$work/alone.c" || {
		echo "$header does not compile alone"
		bad=1
	}
done
if command -v c++ >/dev/null; then
	for header in include/leat/*.h; do
		printf '#include <leat/%s>\n' "${header##*/}" >"$work/alone.cc"
		c++ -Wall -Wextra -Werror -fsyntax-only -Iinclude \
			"$work/alone.cc" || {
			echo "$header is not C++"
			bad=1
		}
	done
fi
exit $bad
