#!/bin/bash
# gateway_test.sh - leat-gateway under leatd, from outside: its ports, what it
# says when one is taken, its death, TLS beside plain text, and the tool as a
# remote client of it. Filters that kill are on.
set -u
. "${top_srcdir:-.}/tests/support/broker.sh"
export LEAT_SANDBOX_STRICT=1

# A port that is free, and the one behind it.
free_port() {
	local port
	for port in $(shuf -i 20000-31000 -n 50); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
		(exec 3<>"/dev/tcp/127.0.0.1/$((port + 1))") 2>/dev/null && continue
		echo "$port"
		return
	done
}

port=$(free_port)
names=$((port + 1))
conf=$work/leat.conf
settings() { # LINE...: of [gateway]
	printf '%s\n' '[broker]' "port = $port" '[gateway]' "$@" \
		'[supervisor]' 'restart_ms = 10' 'give_up_deaths = 3' >"$conf"
}
remote() {
	timeout 60 "$builddir/leat" --server "rocketmq://127.0.0.1:$names" "$@"
}
gateway() {
	pgrep -P "$broker" -x leat-gateway
}

echo "--- remote and local, one log"
settings "listen = 127.0.0.1:$port" "names = 127.0.0.1:$names"
start_broker -c "$conf"
remote topic create orders --queues 4 >/dev/null || wrong "topic create"
seq 2000 | remote produce orders || wrong "produce"
is "read on this host" "$(leat consume orders --from begin --exit-at-end |
	sort -n | cmp - <(seq 2000) && echo all)" all
seq 2001 3000 | leat produce orders || wrong "local produce"
is "read over the network" "$(remote consume orders --from begin --exit-at-end |
	sort -n | cmp - <(seq 3000) && echo all)" all
is "a group takes all" "$(remote consume orders --group far --count 3000 |
	sort -n | cmp - <(seq 3000) && echo all)" all
is "its lag, seen here" "$(leat --json group describe far | json lag)" 0
like "status" "$(leat status)" 'leat-gateway'

echo "--- killed: local clients do not notice, remote ones come back"
old=$(gateway)
kill -9 "$old"
echo local | leat produce orders || wrong "local produce while it is down"
for _ in $(seq 300); do
	[ -n "$(gateway)" ] && [ "$(gateway)" != "$old" ] && break
	sleep 0.02
done
echo remote | remote produce orders || wrong "produce after its death"
is "messages now" "$(leat consume orders --from begin --exit-at-end | wc -l)" 3002

echo "--- settings that come while it waits for the broker"
queue=$(pgrep -P "$broker" -x leat-queue)
old=$(gateway)
kill -STOP "$queue"
kill -9 "$old"
for _ in $(seq 300); do
	[ -n "$(gateway)" ] && [ "$(gateway)" != "$old" ] && break
	sleep 0.02
done
printf '%s\n' '[access]' 'allow = any topic orders* publish' >>"$conf"
kill -HUP "$broker"
for _ in $(seq 300); do
	heard=$(grep -c "leat-gateway.*settings-changed.*access_rules=1" "$work/log")
	[ "$heard" != 0 ] && break
	sleep 0.02
done
is "it took them before it served" "$heard" 1
kill -CONT "$queue"
echo waited | remote produce orders || wrong "produce after the wait"

echo "--- a port that is taken"
second=$work/second
mkdir "$second"
timeout 60 "$builddir/leatd" --dir "$second/run" -c "$conf" >"$second/out" 2>"$second/err"
is "leatd's exit status" $? 1
like "what it says" "$(cat "$second/err")" \
	"setting=gateway.listen.*LEAT_E_BUSY.*fix="
is "it was never ready" "$(cat "$second/out")" ""
stop_broker

echo "--- wrong settings"
for line in "listen = nowhere" "names = 127.0.0.1:0" "tls = either" \
	"namesrv = no.such.host.invalid:1"; do
	settings "listen = 127.0.0.1:$port" "names = none" "$line"
	case $line in listen*) settings "names = none" "$line" ;; names*)
		settings "listen = 127.0.0.1:$port" "$line" ;;
	esac
	timeout 60 "$builddir/leatd" --dir "$second/run" -c "$conf" \
		>"$second/out" 2>"$second/err"
	is "exit status with $line" $? 1
	like "$line" "$(cat "$second/err")" "setting=gateway\.${line%% *}.*fix="
done

echo "--- none: no gateway"
settings "listen = none" "names = none"
start_broker -c "$conf"
is "gateways" "$(gateway)" ""
leat ping >/dev/null || wrong "ping"
stop_broker

echo "--- TLS and plain text on one port"
if command -v openssl >/dev/null; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-keyout "$work/key.pem" -out "$work/cert.pem" -days 2 \
		-subj /CN=localhost 2>/dev/null || wrong "no certificate"
	settings "listen = 127.0.0.1:$port" "names = 127.0.0.1:$names" \
		"tls = either" "tls_cert = $work/cert.pem" "tls_key = $work/key.pem"
	start_broker -c "$conf"
	head='{"code":105,"extFields":{"topic":"TBW102"},"flag":0,"opaque":1,'
	head+='"language":"OTHER","serializeTypeCurrentRPC":"JSON","version":0}'
	frame() {
		# shellcheck disable=SC2059 # the format holds the bytes
		printf "\\0\\0\\0\\x$(printf %x $((4 + ${#head})))\\0\\0\\0\\x$(
			printf %x ${#head})%s" "$head"
	}
	like "an answer through TLS" "$( (
		frame
		sleep 1
	) | timeout 20 openssl s_client -connect "127.0.0.1:$names" -quiet \
		2>/dev/null | tr -d '\0')" '"code":0'
	like "and without" "$(
		exec 3<>"/dev/tcp/127.0.0.1/$names"
		frame >&3
		timeout 2 cat <&3 | tr -d '\0'
	)" '"code":0'
	stop_broker
else
	echo "SKIP: no openssl to speak TLS with"
fi
finish
