#!/bin/bash
# fetch.sh - gets and builds what the interop tests run, of pinned versions, by
# the ordinary clients of Maven, Go, npm and PyPI: nothing fetched is in the sources.
#
#   fetch.sh [five|four|bench|go|node|cpp|java|channel-py|channel-go]...
#                                         all but bench when none is named
#
# It goes to $LEAT_INTEROP_CACHE, by default ~/.cache/leat-interop. A part whose
# toolchain is missing, or whose registry cannot be reached, is left out with a
# line "SKIP ..."; exit 1: a part failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/interop/common.sh
. "$here/common.sh"
mkdir -p "$cache" || exit 1
exec 9>"$cache/lock" && flock 9 || exit 1 # one at a time
bad=0

have() { # PART PROGRAM PACKAGE
	command -v "$2" >/dev/null && return 0
	echo "SKIP $1: no $2 (Debian package $3)"
	return 1
}

# fresh PART SOURCE...: true if it was made of the same.
fresh() {
	local part=$1
	shift
	[ -d "$cache/$part" ] &&
		[ "$(cat "$cache/$part.stamp" 2>/dev/null)" = "$(digest "$@")" ]
}

# Nor one that proves itself by a certificate that is not known here.
unreachable() { # PART STATUS
	[ "$2" = 124 ] || grep -qiE 'unknown ?host|no such host|could not resolve|connection (refused|reset)|timed out|unreachable|temporary failure|ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|failed to establish|from versions: none|x509|PKIX|CERTIFICATE_VERIFY|self-signed certificate' \
		"$cache/$1.log"
}

# got PART STATUS SOURCE...: what came of the command whose log is PART.log.
got() {
	local part=$1 status=$2
	shift 2
	if [ "$status" = 0 ]; then
		[ $# = 0 ] || digest "$@" >"$cache/$part.stamp"
	elif unreachable "$part" "$status"; then
		echo "SKIP $part: its registry cannot be reached; see $cache/$part.log"
	else
		echo "fetch.sh: $part failed; see $cache/$part.log"
		bad=1
	fi
	return "$status"
}

get() { # PART COMMAND...
	local part=$1
	shift
	timeout 900 "$@" >"$cache/$part.log" 2>&1 </dev/null
}

# put PART STATUS SOURCE...: PART.new takes the place of PART.
put() {
	got "$@" || return
	rm -rf "${cache:?}/$1"
	mv "$cache/$1.new" "$cache/$1"
}

jars() { # five|four|bench
	have "$1" mvn maven && have "$1" javac default-jdk-headless || return
	fresh "$1" "$here/pom.xml" && return
	rm -rf "${cache:?}/$1.new"
	get "$1" mvn -q -B -f "$here/pom.xml" -P "$1" \
		org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies \
		-DoutputDirectory="$cache/$1.new"
	put "$1" $? "$here/pom.xml"
}

# A build of other sources, unless a tree was at it this week.
forget() { # NAME
	find "$cache" -maxdepth 1 -name "$1-*" -mtime +7 -exec rm -rf {} +
}

# Our own programs, once with each client.
get_java() {
	have java javac default-jdk-headless || return
	local client to files
	for client in five four; do
		to=$(built $client)
		[ -d "$cache/$client" ] && [ ! -d "$to" ] || continue
		forget classes-$client
		rm -rf "$to.new"
		mapfile -t files < <(find "$here/java" -name "*.java" \
			! -name "$([ "$client" = five ] || echo Mqadmin.java)")
		get "java-$client" javac -nowarn -Xlint:-options -d "$to.new" \
			-cp "$cache/$client/*" "${files[@]}"
		got "java-$client" $? && mv "$to.new" "$to"
	done
}

get_go() {
	have go go golang-go || return
	local to
	to=$(built go)
	[ ! -x "$to" ] || return
	forget goclient
	# shellcheck disable=SC2016 # they are of the inner shell
	get go env GOTOOLCHAIN=local GOFLAGS=-mod=readonly \
		sh -c 'cd "$1" && exec go build -o "$2" .' sh "$here/go" "$to"
	got go $?
}

get_node() {
	have node node nodejs && have node npm npm || return
	fresh node "$here/node/package.json" && return
	rm -rf "${cache:?}/node.new"
	mkdir -p "$cache/node.new" && cp "$here/node/package.json" "$cache/node.new/" &&
		get node npm install --prefix "$cache/node.new" --no-audit --no-fund \
			--no-package-lock
	put node $? "$here/node/package.json"
}

# The C++ client's library, as PyPI has it built, with its Python door.
get_cpp() {
	have cpp python3 python3 && have cpp pip3 python3-pip || return
	[ "$(uname -m)" = x86_64 ] || {
		echo "SKIP cpp: the library is there for x86_64 only"
		return
	}
	fresh cpp "$here/cpp/requirements.txt" && return
	rm -rf "${cache:?}/cpp.new"
	get cpp pip3 install --disable-pip-version-check --no-deps --no-compile \
		--require-hashes --target "$cache/cpp.new" -r "$here/cpp/requirements.txt"
	put cpp $? "$here/cpp/requirements.txt"
}

# Noise for Python and for Go.
get_channel_py() {
	have channel-py python3 python3 && have channel-py pip3 python3-pip || return
	fresh channel-py "$here/channel/requirements.txt" && return
	rm -rf "${cache:?}/channel-py.new"
	get channel-py pip3 install --disable-pip-version-check --no-deps \
		--target "$cache/channel-py.new" -r "$here/channel/requirements.txt"
	put channel-py $? "$here/channel/requirements.txt"
}

get_channel_go() {
	have channel-go go golang-go || return
	local to
	to=$(built channel-go)
	[ ! -x "$to" ] || return
	forget channel-go
	# shellcheck disable=SC2016 # they are of the inner shell
	get channel-go env GOTOOLCHAIN=local GOFLAGS=-mod=readonly \
		sh -c 'cd "$1" && exec go build -o "$2" .' sh "$here/channel/go" "$to"
	got channel-go $?
}

[ $# -gt 0 ] || set -- five four java go node cpp channel-py channel-go
for part in "$@"; do
	case $part in
	five | four | bench) jars "$part" ;;
	java) get_java ;;
	go) get_go ;;
	node) get_node ;;
	cpp) get_cpp ;;
	channel-py) get_channel_py ;;
	channel-go) get_channel_go ;;
	*) echo "fetch.sh: what is $part?" >&2 && exit 2 ;;
	esac
done
exit $bad
