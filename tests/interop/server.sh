#!/bin/bash
# server.sh - a name server and a broker to test against, in a directory.
#
#   server.sh start DIR KIND          new ones on free loopback ports; waits until
#                                     they answer, then prints DIR's address file
#   server.sh up DIR PART             starts a part again (same ports, same store)
#   server.sh down DIR PART           ends it in good order, and waits for its end
#   server.sh kill DIR PART           the same with SIGKILL
#   server.sh stop DIR                ends all of it
#
# LEAT_INTEROP_FLUSH=async|sync at start: what an acknowledgement waits for; unset:
# each one's own default. LEAT_INTEROP_POLL: seconds between looks. DIR/started_ms:
# how long both took until they answered.
#
# KIND is apache or leat, or two of them: the name server's+the broker's; leat1 is
# one broker that is its own name server.
# PART is namesrv, broker, or front: what answers on the broker's port, which for
# Apache is the broker. DIR/address holds "NAMESRV BROKER", each host:port.
# Exit 77: this kind cannot run here, and why.
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/interop/common.sh
. "$here/common.sh"
usage() {
	sed -n '4,9s/^# \{0,1\}//p' "$0" >&2
	exit 2
}
[ $# -ge 2 ] || usage
verb=$1
mkdir -p "$2" && dir=$(cd "$2" && pwd) || exit 1

# ask PORT CODE TOPIC: the answer's header to one request, up to its code. By the
# shell itself: no program is started, so that a start can be timed.
ask() {
	local LC_ALL=C head hex headhex text
	head='{"code":'$2',"extFields":{"topic":"'$3'"},"flag":0,"language":"JAVA",'
	head+='"opaque":1,"serializeTypeCurrentRPC":"JSON","version":479}'
	printf -v headhex %x ${#head}
	printf -v hex %x $((4 + ${#head}))
	(
		exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
		# shellcheck disable=SC2059 # the format holds the bytes
		printf "\\0\\0\\0\\x$hex\\0\\0\\0\\x$headhex%s" "$head" >&3
		while IFS= read -r -t 2 -d '}' -u 3 text; do
			[[ $text != *'"code":'* ]] || break
		done
		printf '%s\n' "$text,"
	) 2>/dev/null
}

# Ready: the name server knows a route to the broker, and the broker answers.
ready() {
	[[ $(ask "$namesrv" 105 TBW102) == *'"code":0,'* ]] &&
		[[ $(ask "$broker" 351 TBW102) == *'"code":0,'* ]]
}

wait_until() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep "${LEAT_INTEROP_POLL:-0.1}"
	done
}

gone() { # PID
	! kill -0 "$1" 2>/dev/null
}

# --- Apache RocketMQ ------------------------------------------------------------

# Short waits: the levels from 3 on, which redeliveries use, are all a second,
# a silent transaction is asked about after two, names are registered anew each
# ten. A full disk or a slow machine does not matter. The rest are the defaults.
apache_config() {
	cat >"$dir/namesrv.conf" <<-END
		listenPort=$namesrv
		kvConfigPath=$dir/kvConfig.json
		configStorePath=$dir/namesrv.properties
	END
	cat >"$dir/broker.conf" <<-END
		brokerName=broker-a
		brokerClusterName=DefaultCluster
		brokerId=0
		brokerIP1=127.0.0.1
		listenPort=$broker
		haListenPort=$((broker + 1))
		namesrvAddr=127.0.0.1:$namesrv
		storePathRootDir=$dir/store
		storePathCommitLog=$dir/store/commitlog
		mappedFileSizeCommitLog=67108864
		maxHashSlotNum=100000
		maxIndexNum=400000
		autoCreateTopicEnable=true
		messageDelayLevel=1s 2s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s
		transactionTimeOut=1000
		transactionCheckInterval=2000
		registerNameServerPeriod=10000
		waitTimeMillsInSendQueue=10000
	END
	[ "${LEAT_INTEROP_FLUSH:-}" != sync ] ||
		echo flushDiskType=SYNC_FLUSH >>"$dir/broker.conf"
}

apache_up() { # namesrv|broker
	local main heap=-Xmx256m
	case $1 in
	namesrv) main=org.apache.rocketmq.namesrv.NamesrvStartup ;;
	broker) main=org.apache.rocketmq.broker.BrokerStartup heap=-Xmx1g ;;
	esac
	setsid java $heap -XX:+UseSerialGC -XX:MaxDirectMemorySize=1g \
		-XX:-UsePerfData -Duser.home="$dir" -Drocketmq.home.dir="$dir" \
		-Drocketmq.broker.diskSpaceWarningLevelRatio=0.99 \
		-Drocketmq.broker.diskSpaceCleanForciblyRatio=0.98 \
		--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED \
		--add-opens=java.base/java.nio=ALL-UNNAMED \
		--add-opens=java.base/sun.nio.ch=ALL-UNNAMED \
		-cp "$cache/five/*" $main -c "$dir/$1.conf" \
		>>"$dir/$1.log" 2>&1 </dev/null &
	echo $! >"$dir/$1.pid"
}

apache_check() {
	"$here/fetch.sh" five >"$dir/fetch.log" || return 1
	! grep SKIP "$dir/fetch.log"
}

# --- Leat -----------------------------------------------------------------------

# Everything about starting Leat is here. The name server is a broker that serves
# nothing else; what answers on the broker's port is leat-gateway, which leatd
# starts again when it is killed.
builddir=$(realpath -m "${top_builddir:-$here/../..}")

leat_check() {
	[ -x "$builddir/leatd" ] && [ -x "$builddir/leat-gateway" ] || {
		echo "SKIP leat: not built in $builddir"
		return 1
	}
}

leat_config() {
	cat >"$dir/namesrv.conf" <<-END
		[gateway]
		listen = none
		names = 127.0.0.1:$namesrv
	END
	cat >"$dir/broker.conf" <<-END
		[broker]
		name = broker-a
		port = $broker
		[store]
		segment_bytes = 64m
		level = $([ "${LEAT_INTEROP_FLUSH:-sync}" = sync ] && echo synced || echo logged)
		[gateway]
		listen = 127.0.0.1:$broker;127.0.0.1:$((broker - 2))
		names = none
		namesrv = 127.0.0.1:$namesrv
		[queue]
		delay_levels = 1s 2s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s
	END
}

leat_up() { # namesrv|broker|front
	[ "$1" != front ] || return 0
	LEAT_LIBEXEC=$builddir setsid "$builddir/leatd" --dir "$dir/leat-$1" \
		-c "$dir/$1.conf" >>"$dir/$1.log" 2>&1 </dev/null &
	echo $! >"$dir/$1.pid"
}


# --------------------------------------------------------------------------------

part_of() { # PART: the process that it is
	case $1 in
	namesrv | broker) echo "$1" ;;
	front) [ "$kind" = leat ] && echo front || echo broker ;;
	*) usage ;;
	esac
}

end() { # SIGNAL PART
	local pid
	if [ "$2" = front ]; then # leatd starts another
		pid=$(pgrep -P "$(cat "$dir/broker.pid")" -x leat-gateway)
	else
		pid=$(cat "$dir/$2.pid" 2>/dev/null)
	fi || return 0
	kill "-$1" "$pid" 2>/dev/null
	if ! wait_until 40 gone "$pid"; then
		kill -KILL "$pid"
		wait_until 10 gone "$pid"
	fi
	rm -f "$dir/$2.pid"
}

# leat1: one broker that is its own name server, as Leat is without configuration.
leat1_check() { leat_check; }

leat1_config() {
	leat_config
	sed -i "s/^names = none/names = 127.0.0.1:$namesrv/; /^namesrv =/d" \
		"$dir/broker.conf"
}

leat1_up() { # namesrv|broker
	[ "$1" = broker ] || return 0
	leat_up broker
	cp "$dir/broker.pid" "$dir/namesrv.pid"
}

# NAMESRV+BROKER: of different kinds. Each makes both configurations; the one of
# the part that runs is used.
kinds() { # KIND
	names_kind=${1%+*}
	kind=${1#*+}
}

config_of() { # PART KIND
	local other
	[ "$1" = namesrv ] && other=broker || other=namesrv
	[ ! -f "$dir/$other.conf" ] || mv "$dir/$other.conf" "$dir/$other.kept"
	"$2_config"
	[ ! -f "$dir/$other.kept" ] || mv "$dir/$other.kept" "$dir/$other.conf"
}

up() { # PART
	if [ "$1" = namesrv ]; then
		"${names_kind}_up" namesrv
	else
		"${kind}_up" "$1"
	fi
}

if [ "$verb" = start ]; then
	case ${3:-} in apache | leat | leat1 | apache+leat | leat+apache) ;; *) usage ;; esac
	kinds "$3"
	"${names_kind}_check" || exit 77
	"${kind}_check" || exit 77
	take_ports || exit 1
	namesrv=$base broker=$((base + 5)) # two below is "VIP", one above "ha"
	echo "$3" >"$dir/kind"
	echo "127.0.0.1:$namesrv 127.0.0.1:$broker" >"$dir/address"
	rm -f "$dir/namesrv.conf" "$dir/broker.conf"
	config_of namesrv "$names_kind"
	config_of broker "$kind"
	began=${EPOCHREALTIME/[.,]/}
	up namesrv
	up broker
	if ! wait_until 120 ready; then
		echo "server.sh: not ready after 120 s; see $dir/*.log" >&2
		end KILL broker
		end KILL namesrv
		exit 1
	fi
	echo $(((${EPOCHREALTIME/[.,]/} - began) / 1000)) >"$dir/started_ms"
	cat "$dir/address"
	exit 0
fi

[ -f "$dir/kind" ] || { echo "server.sh: nothing was started in $dir" >&2 && exit 1; }
kinds "$(cat "$dir/kind")"
read -r namesrv broker <"$dir/address"
namesrv=${namesrv#*:} broker=${broker#*:}
case $verb in
up)
	part=$(part_of "${3:-}") || exit
	up "$part"
	wait_until 120 ready
	;;
down)
	part=$(part_of "${3:-}") || exit
	end TERM "$part"
	;;
kill)
	part=$(part_of "${3:-}") || exit
	end KILL "$part"
	;;
stop)
	end TERM broker
	end TERM namesrv
	;;
*) usage ;;
esac
