#!/bin/bash
# grants_test.sh - grants of a whole broker, with real processes: who may change
# them, that they survive whatever is killed, that what is taken back ends
# within a second, here and for remote clients that sign, and what the audit
# topic says of it all. Filters that kill are on.
set -u
. "${top_srcdir:-.}/tests/support/broker.sh"
export LEAT_SANDBOX_STRICT=1
tool=$(realpath "$builddir/leat")
chmod 755 "$work"
LEAT_SOCKET=$work/leat.sock # where others get at it

# A user that is nobody here, if we may become one.
other=65534
as_other() {
	timeout 60 setpriv --reuid=$other --regid=$other --clear-groups "$tool" "$@"
}
can_be_other=no
if [ "$(id -u)" = 0 ] && setpriv --reuid=$other --regid=$other --clear-groups \
	"$tool" --version >/dev/null 2>&1; then
	can_be_other=yes
fi

# child NAME: pid of that process of the broker.
child() {
	pgrep -P "$broker" -x "$1"
}

# killed NAME: with SIGKILL, and back again.
killed() {
	local old
	old=$(child "$1")
	kill -9 "$old"
	for _ in $(seq 500); do
		[ -n "$(child "$1")" ] && [ "$(child "$1")" != "$old" ] && break
		sleep 0.02
	done
	leat ping >/dev/null || wrong "no ping after the death of $1"
}

# audit PATTERN: how many lines of the audit topic match.
audit() {
	leat consume rmq_sys_leat_audit --from begin --exit-at-end | grep -cE "$1"
}

# becomes WHAT WANTED COMMAND...: within ten seconds.
becomes() {
	local what=$1 want=$2 got=
	shift 2
	for _ in $(seq 100); do
		got=$("$@")
		[ "$got" = "$want" ] && return
		sleep 0.1
	done
	wrong "$what: $got, not $want"
}

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
key=AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
printf '%s\n' 'shop 12345678' 'till 87654321' >"$work/accounts"
chmod 600 "$work/accounts"
conf=$work/leat.conf
printf '%s\n' '[broker]' "socket = $LEAT_SOCKET" "port = $port" '[gateway]' \
	"listen = 127.0.0.1:$port" "names = 127.0.0.1:$((port + 1))" \
	"accounts = $work/accounts" '[access]' 'allow = ak:till topic t* trace' \
	'[supervisor]' 'restart_ms = 10' >"$conf"
start_broker -c "$conf"

echo "--- granted, shown, tested, taken back"
is "list" "$(leat grant list | tail -n +2 | tr -s ' ')" \
	"ak:till topic t* trace leat.conf"
leat grant add ak:shop topic 'orders*' publish,subscribe || wrong "add"
leat grant add ak:shop topic 'orders*' trace || wrong "add more"
leat grant add "key:$key" group billing subscribe || wrong "add a key"
is "list" "$(leat grant list | tail -n +2 | tr -s ' ')" \
	"ak:till topic t* trace leat.conf
ak:shop topic orders* publish,subscribe,trace grant
key:$key group billing subscribe grant"
is "as JSON" "$(leat --json grant list | tr -d ' \n' | grep -o 'billing' | wc -l)" 1
is "yes" "$(leat grant test ak:shop topic orders1 publish)" \
	"yes: grant: ak:shop topic orders* publish,subscribe,trace"
is "by the file" "$(leat grant test ak:till topic t1 trace)" \
	"yes: leat.conf: ak:till topic t* trace"
is "no" "$(leat grant test ak:shop topic other publish; echo $?)" "no
4"
like "root" "$(leat grant test user:root topic x manage)" '^yes: root'
fails 5 'leat.conf' grant remove ak:till topic 't*' trace
fails 5 'no such grant' grant remove ak:shop topic orders publish
fails 2 'no public key' grant add key:short topic x publish
fails 2 'is nobody' grant add shop topic x publish
fails 2 'nobody here' grant add user:no-such-user-xyz topic x publish
fails 2 'is no right' grant add ak:shop topic x write
fails 2 'topic or group' grant add ak:shop queue x publish
leat grant remove ak:shop topic 'orders*' trace || wrong "remove"

echo "--- whatever is killed"
for process in leat-queue leat-store leat-gateway; do
	killed $process
	is "after the death of $process" "$(leat grant list | wc -l)" 4
done
kill -9 "$broker" $(child leat-queue) $(child leat-store) $(child leat-gateway)
wait "$broker" 2>/dev/null
start_broker -c "$conf"
is "after the death of all" \
	"$(leat grant test ak:shop topic orders1 publish)" \
	"yes: grant: ak:shop topic orders* publish,subscribe"
is "what was removed" "$(leat grant test ak:shop topic orders1 trace)" no
is "acts that are recorded" \
	"$(audit 'act=grant-(add|remove) object=grant-.* outcome=ok')" 4
is "those that failed" "$(audit 'act=grant-remove .* outcome=notfound')" 2

echo "--- a remote client that does not sign"
timeout 60 "$builddir/leat" --server "rocketmq://127.0.0.1:$((port + 1))" \
	topic describe orders1 >/dev/null 2>&1 && wrong "it was served"
sleep 0.5 # the clerk tells ten times a second
like "recorded" "$(leat consume rmq_sys_leat_audit --from begin --exit-at-end)" \
	'by=gateway principal=- peer=127.0.0.1:[0-9]* act=[A-Z_]+ object=- outcome=unsigned'

echo "--- another user of this host"
if [ $can_be_other = yes ]; then
	leat topic create work --queues 1 >/dev/null
	is "nothing" "$(as_other ping >/dev/null 2>&1; echo $?)" 4
	leat grant add user:$other topic work publish,subscribe
	leat grant add user:$other group crew subscribe
	leat grant add user:$other topic 'keep*' trace
	seq 10 | as_other produce work || wrong "it may publish"
	is "it may read" "$(as_other consume work --from begin --exit-at-end | wc -l)" 10
	is "not change grants" "$(as_other grant add any topic '*' publish >/dev/null 2>&1
		echo $?)" 4
	is "not read the audit" "$(as_other consume rmq_sys_leat_audit --from begin \
		--exit-at-end >/dev/null 2>&1; echo $?)" 4
	is "nor make topics" "$(as_other topic create mine >/dev/null 2>&1; echo $?)" 4
	like "whose" "$(leat consume rmq_sys_leat_audit --from begin --exit-at-end)" \
		"principal=user:$other peer=pid:[0-9]* act=topic-create object=topic:mine outcome=denied"

	# One publishes without end, one reads as a member.
	(while :; do echo x; sleep 0.01; done) 2>/dev/null |
		setpriv --reuid=$other --regid=$other --clear-groups \
			"$tool" produce work >/dev/null 2>"$work/producer" &
	producer=$!
	setpriv --reuid=$other --regid=$other --clear-groups \
		"$tool" consume work --group crew >"$work/taken" 2>"$work/member" &
	member=$!
	for _ in $(seq 200); do
		[ "$(wc -l <"$work/taken")" -ge 50 ] && break
		sleep 0.05
	done
	[ "$(wc -l <"$work/taken")" -ge 50 ] || wrong "the member gets nothing"
	leat grant remove user:$other topic work publish,subscribe
	end() {
		leat --json topic describe work | json messages
	}
	sleep 1
	at=$(end)
	taken=$(wc -l <"$work/taken")
	sleep 0.5
	is "nothing more comes in" "$(end)" "$at"
	is "nothing more goes out" "$(wc -l <"$work/taken")" "$taken"
	# When it was answered, and when the last of its sessions was cut.
	at() {
		date -d "$(grep -E "$1" "$work/log" | tail -n 1 | cut -d' ' -f1)" +%s%3N
	}
	took=$(($(at 'session-cut .*uid='$other) - $(at "grant-changed principal=user:$other .* rights=none")))
	echo "revoked under load: cut after $took ms"
	[ $took -lt 1000 ] || wrong "cut after $took ms"
	kill $member 2>/dev/null
	pkill -P $producer 2>/dev/null
	kill $producer 2>/dev/null
	wait $member $producer 2>/dev/null
	like "it was cut" "$(leat consume rmq_sys_leat_audit --from begin --exit-at-end)" \
		"principal=user:$other .* act=session object=- outcome=revoked"
	is "it may do the rest" "$(as_other ping >/dev/null 2>&1; echo $?)" 0
	# A group of that user counts as well.
	leat grant add os-group:$other topic work publish
	is "by its group" "$(leat grant test user:$other topic work publish | cut -c-10)" \
		"yes: grant"
	echo y | as_other produce work || wrong "it may publish by its group"
else
	echo "SKIP: not root, or no setpriv: no other user can be tried"
fi

echo "--- a reload is an act, too"
printf 'allow = ak:till group g* subscribe\n' >"$work/more"
sed -i '/^allow/r '"$work/more" "$conf"
kill -HUP "$broker"
becomes "the new rule" 'yes: leat.conf: ak:till group g* subscribe' \
	leat grant test ak:till group g1 subscribe
becomes "recorded" 1 audit 'act=settings object=leat.conf outcome=ok'

stop_broker
finish
