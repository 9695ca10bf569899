#!/bin/bash
# readme_test.sh - what README.md tells a newcomer to type works, and its C
# program compiles without warnings and publishes.
set -u
srcdir=${top_srcdir:-.}
builddir=${top_builddir:-.}
work=$(mktemp -d)
leatd=
cleanup() {
	[ -z "$leatd" ] || kill -TERM "$leatd" 2>/dev/null
	wait 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
fail() {
	echo "FAIL: $*"
	exit 1
}

# The indented block below a heading.
block() {
	sed -n "/^## $1/,/^\(## \|Now break\)/p" "$srcdir/README.md" |
		sed -n 's/^    //p'
}

export LEAT_SOCKET=$work/run/leat.sock
PATH=$builddir:$PATH
"$builddir/leatd" --dir "$work/run" >"$work/out" 2>"$work/log" &
leatd=$!
for _ in $(seq 300); do
	grep -q ready "$work/out" && break
	sleep 0.05
done
leat ping >/dev/null || fail "no broker: $(tail -n 3 "$work/log")"

block "The story" | grep -v '^leatd\|^export' >"$work/story.sh"
[ "$(grep -c leat "$work/story.sh")" -ge 6 ] || fail "the story is not found"
bash -e "$work/story.sh" >"$work/said" 2>&1 ||
	fail "the story stops: $(tail -n 3 "$work/said")"
[ "$(grep -cx 'one\|two\|three' "$work/said")" = 6 ] ||
	fail "three messages read twice were expected: $(cat "$work/said")"
grep -q order-17 "$work/said" || fail "nothing found by its key"

# A sanitized library wants a sanitized program.
sanitize=
nm -D "$builddir/.libs/libleat.so" | grep -q __asan_ &&
	sanitize=-fsanitize=address,undefined
block "From C" | sed '/^cc /,$d' >"$work/hello.c"
${CC:-cc} -Wall -Wextra -Werror $sanitize -I"$srcdir/include" "$work/hello.c" \
	-o "$work/hello" -L"$builddir/.libs" -lleat \
	-Wl,-rpath,"$builddir/.libs" || fail "the C program does not compile"
"$work/hello" | grep -qE '^[0-9A-F]{32} at queue [0-9]+ offset [0-9]+$' ||
	fail "the C program does not publish"
