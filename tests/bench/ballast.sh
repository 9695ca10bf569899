# shellcheck shell=bash
# ballast.sh - part of bench.sh and remoting.sh: memory as fast as it was a minute ago.

# Six tenths of the memory that can be had, see ballast.c. Sets ballast, its pid.
start_ballast() {
	local mib line=
	mib=$(awk '/^MemAvailable/ { printf "%d", $2 * 0.6 / 1024 }' /proc/meminfo)
	note "touching $mib MiB of memory"
	# shellcheck disable=SC2154 # set by who reads this
	exec {ballast_fd}< <(exec "$build/tests/bench/ballast" "$mib")
	ballast=$!
	echo 1000 >"/proc/$ballast/oom_score_adj"
	read -r -t 300 line <&"$ballast_fd"
	[ "$line" = ready ] || note "ballast does not get ready: figures will vary"
}
