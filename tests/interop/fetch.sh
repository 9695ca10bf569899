#!/bin/bash
# fetch.sh - gets and builds what the interop tests run, of pinned versions, by
# the ordinary clients of Maven, Go and npm: nothing fetched is in the sources.
#
#   fetch.sh [five|four|bench|go|node|java]...   all but bench when none is named
#
# It goes to $LEAT_INTEROP_CACHE, by default ~/.cache/leat-interop. A part whose
# toolchain is missing is left out with a line "SKIP ..."; exit 1: a part failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cache=${LEAT_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/leat-interop}
mkdir -p "$cache" || exit 1
bad=0

have() { # PART PROGRAM PACKAGE
	command -v "$2" >/dev/null && return 0
	echo "SKIP $1: no $2 (Debian package $3)"
	return 1
}

# fresh PART STAMP-FILE SOURCE...: true if nothing changed since it was made.
fresh() {
	local stamp=$cache/$1.stamp
	shift
	[ -f "$stamp" ] && [ -z "$(find "$@" -newer "$stamp" -type f)" ]
}

made() { # PART STATUS
	if [ "$2" = 0 ]; then
		touch "$cache/$1.stamp"
	else
		echo "fetch.sh: $1 failed; see $cache/$1.log"
		bad=1
	fi
}

jars() { # five|four|bench
	have "$1" mvn maven && have "$1" javac default-jdk-headless || return
	fresh "$1" "$here/pom.xml" && return
	rm -rf "${cache:?}/$1"
	mvn -q -B -f "$here/pom.xml" -P "$1" dependency:copy-dependencies \
		-DoutputDirectory="$cache/$1" >"$cache/$1.log" 2>&1
	made "$1" $?
}

# Our own programs, once with each client.
get_java() {
	have java javac default-jdk-headless || return
	local client
	for client in five four; do
		[ -d "$cache/$client" ] || continue
		fresh "java-$client" "$here/java" "$cache/$client.stamp" && continue
		rm -rf "$cache/classes-$client"
		local files
		mapfile -t files < <(find "$here/java" -name "*.java" \
			! -name "$([ "$client" = five ] || echo Mqadmin.java)")
		javac -nowarn -Xlint:-options -d "$cache/classes-$client" \
			-cp "$cache/$client/*" "${files[@]}" >"$cache/java-$client.log" 2>&1
		made "java-$client" $?
	done
}

get_go() {
	have go go golang-go || return
	fresh go "$here/go" && return
	(cd "$here/go" && GOTOOLCHAIN=local GOFLAGS=-mod=readonly \
		go build -o "$cache/goclient" .) >"$cache/go.log" 2>&1
	made go $?
}

get_node() {
	have node node nodejs && have node npm npm || return
	fresh node "$here/node/package.json" && return
	mkdir -p "$cache/node" && cp "$here/node/package.json" "$cache/node/" &&
		(cd "$cache/node" && npm install --no-audit --no-fund \
			--no-package-lock) >"$cache/node.log" 2>&1
	made node $?
}

[ $# -gt 0 ] || set -- five four java go node
for part in "$@"; do
	case $part in
	five | four | bench) jars "$part" ;;
	java) get_java ;;
	go) get_go ;;
	node) get_node ;;
	*) echo "fetch.sh: what is $part?" >&2 && exit 2 ;;
	esac
done
exit $bad
