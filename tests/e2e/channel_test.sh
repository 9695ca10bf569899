#!/bin/bash
# channel_test.sh - the tool on another host, as far as one host goes: leat://
# addresses and keys, the whole API through one connection, members of a group
# here and there, and what becomes of messages when gateway, connections, store
# or everything dies under load: each is there once. LEAT_MESSAGES (10000) a
# round.
set -u
. "${top_srcdir:-.}/tests/support/broker.sh"
builddir=$(cd "$builddir" && pwd)
export LEAT_SANDBOX_STRICT=1
export XDG_CONFIG_HOME=$work/config
messages=${LEAT_MESSAGES:-10000}

free_port() {
	local port
	for port in $(shuf -i 20000-31000 -n 50); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
		echo "$port"
		return
	done
}

port=$(free_port)
conf=$work/leat.conf
leat key generate --out "$work/key" >"$work/key.pub" || wrong "key generate"
leat key generate --out "$work/stranger" >/dev/null || wrong "key generate"
own=$(cat "$work/key.pub")
cat >"$conf" <<-END
	[gateway]
	listen = none
	names = none
	channel = 127.0.0.1:$port
	[access]
	allow = key:$own topic * publish,subscribe,manage
	allow = key:$own group * subscribe,manage
	[supervisor]
	restart_ms = 10
	give_up_deaths = 100
END
start_broker -c "$conf"
address=leat://$(leat key show --broker)@127.0.0.1:$port
remote() {
	timeout 120 "$builddir/leat" --server "$address" --key "$work/key" "$@"
}
gateway() {
	pgrep -P "$broker" -x leat-gateway
}

echo "--- keys"
is "a key's public half" "$(leat key show "$work/key")" "$own"
is "one fingerprint" "$(leat key fingerprint "$work/key")" \
	"$(leat key fingerprint "key:$own")"
like "fingerprint" "$(leat key fingerprint "$own")" \
	'^[0-9a-f]{4}(-[0-9a-f]{4}){4}$'
fails 1 'is not overwritten' key generate --out "$work/key"
is "mode of a key" "$(stat -c %a "$work/key")" 600
fails 4 'leat key generate' --server "$address" topic list
fails 4 'leat grant add key:' --server "$address" --key "$work/stranger" topic list
fails 4 'leat key show --broker' \
	--server "leat://$own@127.0.0.1:$port" --key "$work/key" topic list
fails 3 'cannot connect' --server "leat://$own@127.0.0.1:1" --key "$work/key" \
	--timeout 1 topic list
fails 2 'leat://BROKERKEY@HOST:PORT' --server leat://nokey@h topic list

stranger=$(leat key show "$work/stranger")
leat grant add "key:$stranger" topic 'shop*' publish,subscribe,manage ||
	wrong "grant add"
# In force over there, too, when the command returns.
timeout 60 "$builddir/leat" --server "$address" --key "$work/stranger" \
	topic create shop >/dev/null || wrong "a granted key may not"
fails 4 'not allowed' --server "$address" --key "$work/stranger" \
	topic create others
leat grant remove "key:$stranger" topic 'shop*' publish,subscribe,manage ||
	wrong "grant remove"
fails 4 'leat grant add key:' --server "$address" --key "$work/stranger" topic list

echo "--- contexts"
(
	unset LEAT_SOCKET
	cd "$work" || exit 1
	fails 3 'start it with' topic list
	leat context add here --server "$address" --key key || wrong "context add"
	leat context add far --server leat://$own@h || wrong "context add"
	leat ping >/dev/null || wrong "the first context is not the current one"
	leat context use far || wrong "context use"
	is "contexts" "$(leat --json context list | grep -cF "$address")" 1
	leat context use here && leat context remove far || wrong "context remove"
	leat topic list >/dev/null || wrong "by context"
	fails 1 'remove it first' context add here --server "$address"
	fails 5 'leat context list' context use far
	is "mode of contexts" "$(stat -c %a "$XDG_CONFIG_HOME/leat/contexts")" 600
	exit $failed
) || wrong "contexts, as said above"

echo "--- everything"
remote ping >/dev/null || wrong "ping"
like "status" "$(remote status)" 'log'
remote topic create orders --queues 4 >/dev/null || wrong "topic create"
like "topic list" "$(remote topic list)" '^orders'
seq 3000 | remote produce orders || wrong "produce"
is "read on this host" "$(leat consume orders --from begin --exit-at-end |
	sort -n | cmp - <(seq 3000) && echo all)" all
is "read over there" "$(remote consume orders --from begin --exit-at-end |
	sort -n | cmp - <(seq 3000) && echo all)" all
head -c 3000000 /dev/urandom >"$work/large"
remote produce orders --file "$work/large" -k large || wrong "a large body"
remote message get --key large --topic orders -f %s | cmp - "$work/large" ||
	wrong "a large body is another"
# With the grants of the README's example, no more.
leat grant add "key:$stranger" topic 'orders*' publish,subscribe &&
	leat grant add "key:$stranger" group 'billing*' subscribe ||
	wrong "grant add"
narrow() {
	timeout 60 "$builddir/leat" --server "$address" --key "$work/stranger" "$@"
}
is "read without a group" "$(narrow consume orders --from begin --exit-at-end |
	grep -aFxf <(seq 3000) | sort -u | wc -l)" 3000
is "found by its place" "$(narrow message get --offset orders/0/0 -f %s | grep -acE '^[0-9]+$')" 1
narrow consume orders --group billing --count 1 >/dev/null || wrong "a granted group"
fails 4 'not allowed' --server "$address" --key "$work/stranger" \
	consume orders --group other --count 1
fails 2 "on the broker's own host" --server "$address" --key "$work/stranger" grant list
fails 2 'one right at a time' grant test "key:$stranger" topic orders publish,manage
leat grant remove "key:$stranger" topic 'orders*' publish,subscribe &&
	leat grant remove "key:$stranger" group 'billing*' subscribe ||
	wrong "grant remove"
fails 2 'HOST:PORT' --server "leat://$own@127.0.0.1:99999" --key "$work/key" topic list
# Members here and there share the queues.
remote consume orders --group both --count 100 >/dev/null || wrong "a group"
"$builddir/leat" --server "$address" --key "$work/key" consume orders \
	--group both >"$work/there" 2>/dev/null &
there=$!
"$builddir/leat" consume orders --group both >"$work/here" 2>/dev/null &
here=$!
for _ in $(seq 300); do
	[ "$(leat --json group describe both | json lag)" = 0 ] && break
	sleep 0.1
done
is "lag of the group" "$(leat --json group describe both | json lag)" 0
seq 10001 14000 | remote produce orders || wrong "produce"
for _ in $(seq 300); do
	[ "$(cat "$work/here" "$work/there" | grep -cE '^1[0-9]{4}$')" -ge 4000 ] && break
	sleep 0.1
done
kill "$here" "$there"
wait "$here" "$there"
is "members here and there" "$(cat "$work/here" "$work/there" |
	grep -aE '^1[0-9]{4}$' | sort -n | uniq | cmp - <(seq 10001 14000) && echo all)" all
remote group seek both --to begin --yes >/dev/null || wrong "group seek"
is "sought" "$(remote consume orders --group both --count 3000 | wc -l)" 3000
remote group delete both --yes >/dev/null || wrong "group delete"
fails 5 'none' --server "$address" --key "$work/key" topic describe none

# --- each once ----------------------------------------------------------------

# storm TOPIC COMMAND: publish, with COMMAND again and again meanwhile.
storm() {
	local topic=$1 producer n=0
	shift
	leat topic create "$topic" --queues 3 >/dev/null || wrong "topic $topic"
	seq "$messages" | remote --timeout 100 produce "$topic" --rate 3000 \
		2>"$work/err" &
	producer=$!
	timeout 60 "$builddir/leat" consume "$topic" --from begin --count 1 >/dev/null
	while kill -0 "$producer" 2>/dev/null; do
		"$@" && n=$((n + 1))
		sleep "$((RANDOM % 2)).$((RANDOM % 10))"
	done
	wait "$producer" || wrong "produce $topic: $(cat "$work/err")"
	leat consume "$topic" --from begin --exit-at-end | sort -n >"$work/got"
	is "$topic: each once" "$(cmp "$work/got" <(seq "$messages") && echo yes)" yes
	echo "$topic: $(wc -l <"$work/got") messages," \
		"$(uniq -d "$work/got" | wc -l) twice, $n disturbances"
}

kill_gateway() {
	kill -9 "$(gateway)" 2>/dev/null
}
kill_store() {
	kill -9 "$(pgrep -P "$broker" -x leat-store)" 2>/dev/null
}
kill_any() {
	kill -9 "$(pgrep -P "$broker" -x \
		"$(shuf -n 1 -e leat-store leat-queue leat-gateway)")" 2>/dev/null
}
kill_all() {
	kill -9 "$broker" 2>/dev/null
	wait "$broker" 2>/dev/null
	exec 9<&-
	start_broker -c "$conf"
}

echo "--- the gateway is killed under load"
storm killed-gateway kill_gateway
echo "--- connections are cut under load"
straight=$address cutport=$(free_port)
"$builddir/tests/support/cut" "$cutport" "$port" 2000 >"$work/cuts" &
cutter=$!
address=leat://$(leat key show --broker)@127.0.0.1:$cutport
for _ in $(seq 100); do
	(exec 3<>"/dev/tcp/127.0.0.1/$cutport") 2>/dev/null && break
	sleep 0.05
done
storm cut-connections true
kill "$cutter"
wait "$cutter"
cat "$work/cuts"
address=$straight
echo "--- processes are killed under load"
storm killed-store kill_store
storm killed-any kill_any
echo "--- everything is killed under load"
storm killed-all kill_all
finish
