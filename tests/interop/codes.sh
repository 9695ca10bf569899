#!/bin/bash
# codes.sh - leat-protocol(7) has every request code that RocketMQ's own classes
# have, under its name: those of each release that fetch.sh got.
#
#   tests/interop/codes.sh      exit 1: one is missing; 77: there is no JDK or jar
set -u
cd "$(dirname "$0")/../.." || exit 1
cache=${LEAT_INTEROP_CACHE:-$HOME/.cache/leat-interop}
class=protocol.RequestCode
said=0 failed=0

if ! type javap >/dev/null 2>&1; then
	echo "SKIP codes: there is no javap"
	exit 77
fi
there=(four five)
[ ! -d "$cache/bench" ] || there+=(bench)
for at in "${there[@]}"; do
	version=$(cd "$cache/$at" 2>/dev/null && ls rocketmq-remoting-*.jar)
	version=${version#rocketmq-remoting-} version=${version%.jar}
	missing=$(for package in common remoting; do
		javap -constants -cp "$cache/$at/*" "org.apache.rocketmq.$package.$class" 2>/dev/null
	done | awk '
		NR == FNR { if ($1 == ".It" && $3 == "Ta") known[$2] = $4; next }
		/static final int/ {
			sub(/;/, "")
			n++
			# 4.x had a slip in it
			sub(/ROUTEINTO/, "ROUTEINFO")
			if (known[$NF] != $(NF - 2))
				print $NF, $(NF - 2)
		}
		END { print n + 0 }' man/leat-protocol.7 -)
	n=${missing##*$'\n'}
	[ "$n" != 0 ] || {
		echo "SKIP codes.$at: no classes of RocketMQ in $cache/$at"
		continue
	}
	said=1
	if [ "$missing" = "$n" ]; then
		echo "case codes.$version ok $n"
	else
		echo "case codes.$version fail not in leat-protocol(7): ${missing%$'\n'*}"
		failed=1
	fi
done
[ $failed = 0 ] || exit 1
[ $said = 1 ] || exit 77
