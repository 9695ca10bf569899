#!/bin/bash
# apache_test.sh - Leat's name server beside Apache RocketMQ's: the same requests,
# the same answers (names_twin.c). Needs Java and the jars of RocketMQ 5.3 in
# $LEAT_INTEROP_CACHE/five (by default ~/.cache/leat-interop), else it is left out.
set -u
twin=${top_builddir:-.}/tests/gateway/names_twin
jars=${LEAT_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/leat-interop}/five
skip() {
	echo "SKIP apache_test: $*"
	exit 77
}
command -v java >/dev/null || skip "no java (Debian package default-jre-headless)"
ls "$jars"/rocketmq-namesrv-*.jar >/dev/null 2>&1 || skip "no RocketMQ in $jars"

dir=$(mktemp -d)
pid=
finish() {
	[ -z "$pid" ] || kill -KILL "$pid"
	rm -rf "$dir"
}
trap finish EXIT

listens() { # PORT
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

for _ in $(seq 50); do
	port=$((20000 + RANDOM % 10000))
	listens $port || break
done
cat >"$dir/namesrv.conf" <<END
listenPort=$port
kvConfigPath=$dir/kvConfig.json
configStorePath=$dir/namesrv.properties
END
java -Xmx256m -XX:+UseSerialGC -XX:-UsePerfData -Duser.home="$dir" \
	-Drocketmq.home.dir="$dir" -cp "$jars/*" \
	org.apache.rocketmq.namesrv.NamesrvStartup -c "$dir/namesrv.conf" \
	>"$dir/log" 2>&1 </dev/null &
pid=$!
end=$((SECONDS + 120))
until listens $port; do
	if [ $SECONDS -ge $end ] || ! kill -0 $pid 2>/dev/null; then
		tail -n 20 "$dir/log"
		echo "apache_test: the name server did not start"
		exit 1
	fi
	sleep 0.1
done
"$twin" $port
