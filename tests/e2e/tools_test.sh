#!/bin/bash
# tools_test.sh - the program `leat` against a real broker: what each command
# prints, what it leaves behind, and its exit status.
set -u
. "${top_srcdir:-.}/tests/support/broker.sh"

echo "--- without a broker"
fails 3 'leatd --dir DIR.*LEAT_SOCKET' ping
fails 3 'leatd' produce orders --file /dev/null
fails 2 'no such command' frobnicate
fails 2 'no such command' topic frobnicate
fails 2 'needs a verb' topic
fails 2 'no such option' ping --frobnicate
fails 2 'TOPIC is missing' topic create
fails 2 'too much' topic list orders
fails 2 'needs a value' consume orders --from
fails 2 'letters, digits' topic create 'no good'
fails 2 'letters, digits' produce 'a/b'
fails 2 'later' produce orders --delay 5
fails 2 'BROKERKEY' --server leat://host:1 ping
fails 2 'number from' consume orders --count none
fails 2 'logged' produce orders --level everywhere
fails 2 'only one of' consume orders -f '%z'
fails 2 'begin, end' consume orders --from yesterday
fails 2 'one of --id' message get
fails 2 'TOPIC/QUEUE/OFFSET' message get --offset orders/0
LEAT_SERVER=leat://host:1 fails 2 'BROKERKEY' ping
fails 2 'rocketmq://HOST:PORT' --server http://host ping
fails 2 'say one' --server rocketmq://127.0.0.1:1 --socket x ping
fails 3 'name server' --server rocketmq://127.0.0.1:1 ping
"$builddir/leat" >/dev/null
is "exit of leat alone" $? 2
like "version" "$(leat --version)" '^leat [0-9]+\.[0-9]+'

start_broker

echo "--- ping, status"
like "ping" "$(leat ping)" '^ok, [0-9]+ us'
is "ping --json" "$(leat ping --json | json reachable)" true
leat status >"$work/out" || wrong "status: exit $?"
grep -q leat-store "$work/out" || grep -q store "$work/out" || wrong "status names no store"
like "status --json" "$(leat --json status)" '"processes":\[\{"name":"[a-z-]+","pid":[1-9]'
leat status --all | grep -q store_messages || wrong "status --all has no counters"

echo "--- topics"
leat topic create orders --queues 2 >/dev/null || wrong "topic create: $?"
fails 1 'already exists' topic create orders
fails 5 'not found|no topic|no such' topic describe nothing
fails 5 'not found|no topic|no such' topic delete nothing
fails 5 'not found|no topic|no such' consume nothing --from begin
is "queues" "$(leat --json topic describe orders | json write_queues)" 2
leat topic update orders --read 3 --write 3 --level logged >/dev/null || wrong "topic update"
is "queues after update" "$(leat topic describe orders --json | json read_queues)" 3
is "level after update" "$(leat topic describe orders --json | json level)" logged
fails 2 'force' topic update orders --read 1
leat topic create brief >/dev/null || wrong "topic create with defaults"
leat topic list | grep -q '^brief ' || wrong "topic list lacks a topic"
! leat topic list | grep -q rmq_sys_ || wrong "topic list shows system topics"
leat topic list --all | grep -q rmq_sys_ || wrong "topic list --all hides system topics"
leat topic delete brief || wrong "topic delete"
fails 5 'not found|no topic|no such' topic describe brief

echo "--- produce and consume"
is "quiet produce" "$(printf 'one\ntwo\n\nfour' | leat produce orders --queue 1 2>&1)" ""
is "consume" "$(leat consume orders --from begin --exit-at-end)" "$(printf 'one\ntwo\n\nfour')"
is "consume --queue 0" "$(leat consume orders --from begin -e --queue 0)" ""
is "the default is the end, or the beginning with -e" "$(leat consume orders -e | wc -l)" 4
is "-N" "$(leat consume orders -e --from -1 --queue 1)" four
is "offset" "$(leat consume orders -e --from 3 --queue 1)" four
is "end" "$(leat consume orders -e --from end)" ""
is "time ago" "$(leat consume orders -e --from 1h | wc -l)" 4
is "time to come" "$(leat consume orders -e --from 2099-01-01)" ""
is "--count" "$(leat consume orders --from begin --queue 1 --count 2)" "$(printf 'one\ntwo')"
is "format" "$(leat consume orders -e -f '%t/%q/%o %s %a%%\t%k%g\n' --queue 1 | head -n 2)" \
	"$(printf 'orders/1/0 one 1%%\t\norders/1/1 two 1%%\t')"

leat topic create blobs --queues 1 >/dev/null || wrong "topic create blobs"
head -c 300000 /dev/urandom >"$work/blob"
leat produce blobs --file "$work/blob" || wrong "produce --file"
leat consume blobs -e -f %s >"$work/blob.back"
cmp "$work/blob" "$work/blob.back" || wrong "a binary body was altered"
printf 'a\0b' | leat produce blobs --delim 'x' || wrong "a body with a zero"
is "a body with a zero" "$(leat consume blobs -e --from -1 -f %s | od -An -c | tr -s ' ')" ' a \0 b'
printf 'a--b--' | leat produce blobs --delim -- || wrong "--delim"
is "--delim" "$(leat consume blobs -e --from -2 -f '%s.')" a.b.
: | leat produce blobs || wrong "nothing to publish is no error"

leat topic create marked --queues 2 >/dev/null
printf 'paid\n' | leat produce marked -k k1 -k k2 -t billing -p region=north --group-key g
printf 'sent\n' | leat produce marked -t mail
is "keys and tag" "$(leat consume marked -e --tag billing -f '%k %g %s\n')" 'k1 k2 billing paid'
is "tags" "$(leat consume marked -e --tag 'mail || billing' | wc -l)" 2
line=$(leat --json consume marked -e --tag billing)
like "json" "$line" '"body":"paid"'
like "json" "$line" '"properties":\{"region":"north"\}'
is "json group key" "$(printf '%s' "$line" | json group_key)" g

echo "--- receipts"
receipt=$(printf 'x\n' | leat produce marked --receipts --level synced)
like "receipt" "$receipt" '^[0-9A-F]{32}	[01]	[0-9]+	synced$'
like "receipt as json" "$(printf 'x\n' | leat produce marked --receipts --json)" \
	'"id":"[0-9A-F]{32}".*"queue_offset":[0-9]+.*"level":"'
is "many receipts" "$(seq 5000 | leat produce marked --receipts --level logged | sort -u | wc -l)" 5000

echo "--- jsonl"
leat topic create copies --queues 4 >/dev/null
leat --json consume marked -e --tag billing | leat produce copies --jsonl || wrong "produce --jsonl"
is "copied" "$(leat consume copies -e -f '%k %g %s\n')" 'k1 k2 billing paid'
leat --json consume blobs -e --count 1 | leat produce copies --jsonl --queue 1 || wrong "--jsonl base 64"
is "copied bytes" "$(leat --json consume copies -e | json body_bytes | sort -n | tail -n 1)" \
	"$(leat --json consume copies -e | json body_bytes | sort -n | tail -n 1)"
leat consume copies -e --from -1 -f '%s' --tag '*' >"$work/out"
printf '{"body":"ok"}\n{"body":17}\n{"body":"never"}\n' >"$work/lines"
leat produce copies --jsonl <"$work/lines" 2>"$work/err"
is "exit of a bad line" $? 2
like "bad line" "$(cat "$work/err")" 'line 2.*body'
leat consume copies -e | grep -q never && wrong "went on after a bad line"
seq 3 | leat produce orders --queue 9 2>"$work/err"
is "exit of a missing queue" $? 5
like "first refused line" "$(cat "$work/err")" 'line 1:'

echo "--- made-up messages, rate"
leat topic create made --queues 1 >/dev/null
leat produce made --count 1000 </dev/null || wrong "produce --count"
is "made up" "$(leat consume made -e | tail -n 1)" "message 1000"
seq 10 | leat produce made --count 3
is "--count of lines" "$(leat consume made -e --from -4 | tr '\n' ' ')" "message 1000 1 2 3 "
before=$(date +%s%N)
leat produce made --count 20 --rate 100 </dev/null
took=$((($(date +%s%N) - before) / 1000000))
[ $took -ge 180 ] || wrong "20 messages at 100/s took only $took ms"

echo "--- groups"
leat topic create work --queues 3 >/dev/null
seq 300 | leat produce work --level logged
is "group" "$(leat consume work --group team -e | sort -n | tail -n 1)" 300
is "once only" "$(leat consume work --group team -e)" ""
is "another group" "$(leat consume work --group other -e --count 100 | wc -l)" 100
leat group list | grep -qE '^team +work +clustering' || wrong "group list lacks team"
is "rows" "$(leat group describe team | tail -n +2 | wc -l)" 3
fails 5 'not found|no topic|no such' group describe nobody
fails 2 'say where' group seek team
leat group seek team --to begin >"$work/out" 2>"$work/err" || wrong "dry seek"
like "dry run" "$(cat "$work/err")" 'Nothing changed'
is "nothing changed" "$(leat consume work --group team -e)" ""
is "dry run says so" "$(leat --json group seek team --to begin | json applied)" false
leat group seek team --to begin --yes >/dev/null || wrong "seek --yes"
is "again" "$(leat consume work --group team -e | wc -l)" 300
leat group seek team --to -1 --topic work --yes >/dev/null || wrong "seek -1"
is "the last of each queue" "$(leat consume work --group team -e | wc -l)" 3
leat group delete team || wrong "group delete"
fails 5 'not found|no topic|no such' group describe team
is "broadcast" "$(leat consume work --group all --broadcast me -e --from begin | wc -l)" 300
fails 2 'needs --group' consume work --broadcast me

# An acknowledgement is given for what has left, not before.
leat topic create pipes --queues 1 >/dev/null
head -c 4000 /dev/zero | tr '\0' x >"$work/body"
leat produce pipes --file "$work/body" --count 500
leat consume pipes --group reader -e 2>/dev/null | head -c 100 >/dev/null
left=$(leat consume pipes --group reader -e | wc -l)
[ "$left" -ge 200 ] || wrong "only $left of 500 came again after a broken pipe"

echo "--- an interrupt ends it cleanly"
"$builddir/leat" consume work --group late >"$work/late" 2>"$work/err" &
late=$!
for i in $(seq 200); do
	[ "$(wc -l <"$work/late")" = 300 ] && break
	sleep 0.05
done
kill -INT $late
wait $late
is "exit after SIGINT" $? 0
is "before SIGINT" "$(wc -l <"$work/late")" 300
is "acknowledged before SIGINT" "$(leat consume work --group late -e)" ""

echo "--- messages"
id=${receipt%%	*}
is "get --id" "$(leat message get --id "$id" -f '%i %s')" "$id x"
like "get" "$(leat message get --offset work/0/0)" '^stored'
is "get --offset" "$(leat message get --offset orders/1/3 -f %s)" four
is "find --key" "$(leat message find --key k2 --topic marked -f '%s')" paid
leat message find --key k1 | grep -q '^marked ' || wrong "find --key in all topics"
like "json" "$(leat --json message get --key k1 --topic marked)" '"body":"paid"'
fails 5 'not found|no topic|no such' message get --key nokey
fails 5 'not found|no topic|no such' message get --id 00000000000000000000000000000000
fails 5 'not found|no topic|no such' message get --offset orders/1/99

echo "--- bench"
out=$(leat --json bench publish --count 20000 --producers 2 --level logged) || wrong "bench publish"
for name in msgs_per_s mb_per_s p50_us p99_us p999_us max_us; do
	like "bench publish" "$out" "\"$name\":[0-9]"
done
is "messages" "$(printf '%s' "$out" | json messages)" 20000
out=$(leat --json bench consume --count 40000 --producers 2 --consumers 2 --level logged) ||
	wrong "bench consume"
is "messages" "$(printf '%s' "$out" | json messages)" 40000
leat bench consume --count 20000 --consumers 2 --group --level logged >"$work/out" ||
	wrong "bench consume --group"
grep -q '^msg/s' "$work/out" || wrong "bench prints no rate"
leat --json bench latency --count 500 >"$work/out" || wrong "bench latency"
is "all timed" "$(json timed <"$work/out")" 500
like "rate" "$(json msgs_per_s <"$work/out")" '^(9[0-9][0-9]|10[0-9][0-9])(\.|$)'
leat --json bench latency --count 500 --detail >"$work/out" || wrong "bench --detail"
sum='[.[].messages] | add'
is "histogram" "$(jq ".histogram | $sum" "$work/out")" 500
is "slices" "$(jq ".slices | $sum" "$work/out")" 500
leat --json bench latency --rate 20000 --count 20000 --level logged >/dev/null ||
	wrong "bench latency at 20,000/s"
leat bench publish --topic made --count 1000 >/dev/null || wrong "bench --topic"
fails 5 'not found|no topic|no such' bench publish --topic nothing --count 10
is "bench left topics behind" "$(leat topic list | grep -c leat_bench)" 0
is "bench left groups behind" "$(leat group list | grep -c leat_bench)" 0

echo "--- offline"
fails 1 'running broker' store verify "$dir"
fails 1 'running broker' store dump "$dir/store"
want=$(leat consume orders -e -f '%q/%o %s\n' | sort)
leat topic create twice --queues 1 >/dev/null || wrong "topic create twice"
seq 100 | leat produce twice || wrong "produce twice"
leat topic delete twice || wrong "topic delete twice"
leat topic create twice --queues 1 >/dev/null || wrong "topic create twice, again"
seq 201 205 | leat produce twice || wrong "produce twice, again"
second=$(seq 201 205)
is "a topic made again" "$(leat consume twice -e)" "$second"
stop_broker
leat store verify "$dir" >"$work/out" || wrong "verify: $(cat "$work/out")"
grep -q '^records' "$work/out" || wrong "verify prints no account"
is "verify --json" "$(leat --json store verify "$dir/store" | json damaged)" 0
is "dump" "$(leat store dump "$dir" --topic orders -f '%q/%o %s\n' | sort)" "$want"
is "dump --count" "$(leat store dump "$dir/store" --count 3 | wc -l)" 3
(cd "$dir/store/consumequeue" && find . -type f | sort | xargs sha256sum) >"$work/before"
rm -rf "$dir/store/consumequeue/orders"
leat store verify "$dir" >"$work/out" 2>"$work/err"
is "verify of a store without a queue" $? 1
leat store rebuild "$dir" >"$work/out" || wrong "rebuild: $(cat "$work/out")"
(cd "$dir/store/consumequeue" && find . -type f | sort | xargs sha256sum) >"$work/after"
cmp "$work/before" "$work/after" || wrong "rebuild is not bit-equal"
leat store verify "$dir" >/dev/null || wrong "verify after rebuild"
fails 5 'No such file' store verify "$work/nothing"
fails 5 'no commitlog' store dump "$work"

echo "--- damage"
at=$(leat store dump "$dir" --topic work --count 1 | cut -d ' ' -f 1)
segment=$(find "$dir/store/commitlog" -type f | sort | head -n 1)
printf '\377' | dd of="$segment" bs=1 seek=$((at + 100)) conv=notrunc 2>/dev/null
leat store verify "$dir" >"$work/out" 2>"$work/err"
is "verify of damage" $? 1
grep -q "$at" "$work/out" || wrong "the damaged offset $at is not named: $(cat "$work/out")"
leat store dump "$dir" >/dev/null 2>"$work/err"
is "dump of damage" $? 1
like "dump of damage" "$(cat "$work/err")" "damaged.* $at"
start_broker
is "only the damaged one is gone" "$(leat consume work -e | wc -l)" 299
is "a topic made again, after rebuild" "$(leat consume twice -e)" "$second"
stop_broker
rm "$dir/store/snapshot" || wrong "no snapshot"
start_broker
is "a topic made again, without a snapshot" "$(leat consume twice -e)" "$second"
finish
