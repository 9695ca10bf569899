# shellcheck shell=bash
# common.sh - what the scripts here share; sourced, with $here set.

# Where fetch.sh puts what it gets and builds. Our own programs are in one place
# for each content of their sources, so that several trees can use it at once.
cache=${LEAT_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/leat-interop}

digest() { # SOURCE...
	find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat |
		sha256sum | cut -c 1-12
}

# built five|four|go|channel-go: the directory of our Java programs, or our Go
# program.
built() {
	case $1 in
	go) echo "$cache/goclient-$(digest "$here/go")" ;;
	channel-go) echo "$cache/channel-go-$(digest "$here/channel/go")" ;;
	*) echo "$cache/classes-$1-$(digest "$here/java" "$here/pom.xml")" ;;
	esac
}

listens() { # PORT
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Ten free ports from $base on. The lock is this process's and its children's, so
# that no other script takes them before they listen, whatever its cache is.
take_ports() {
	local port locks=${XDG_CACHE_HOME:-$HOME/.cache}/leat-interop/ports
	mkdir -p "$locks"
	for _ in $(seq 50); do
		base=$((20000 + RANDOM % 1000 * 10))
		exec 8>"$locks/$base" && flock -n 8 || continue
		for port in $(seq $base $((base + 9))); do
			! listens "$port" || continue 2
		done
		return 0
	done
	echo "$0: no free ports" >&2
	return 1
}
