#!/bin/bash
# signed.sh - Apache's Java client with its own signing hook before a Leat broker
# with accounts: who signs and has the right is served, others are refused; the
# file of accounts is checked; rules change at SIGHUP.
#
#   top_builddir=BUILD signed.sh          exit 77: Java or its jars are missing
set -u
here=$(cd "$(dirname "$0")" && pwd)
builddir=$(cd "${top_builddir:-$here/../..}" && pwd)
# shellcheck source=tests/interop/common.sh
. "$here/common.sh"
skips=$("$here/fetch.sh" five java) || {
	echo "$skips" >&2
	exit 1
}
[ -z "$skips" ] || {
	echo "$skips"
	exit 77
}
work=$(mktemp -d)
leatd=
end() {
	if [ -n "$leatd" ]; then
		kill "$leatd" 2>/dev/null
		wait "$leatd"
	fi
	rm -rf "$work"
}
trap end EXIT
trap 'exit 1' INT TERM
bad=0
take_ports || exit 1
names=$base broker=$((base + 5))

settings() { # RIGHT-OF-TILL
	cat >"$work/leat.conf" <<-END
		[broker]
		port = $broker
		[store]
		segment_bytes = 64m
		[queue]
		delay_levels = 1s 1s 1s
		[gateway]
		listen = 127.0.0.1:$broker;127.0.0.1:$((broker - 2))
		names = 127.0.0.1:$names
		accounts = $work/accounts
		[access]
		allow = ak:till topic orders $1
		allow = ak:billing topic orders subscribe
		allow = ak:billing group billing subscribe
		allow = ak:admin topic * manage
	END
}

printf '%s\n' '# who may come in' 'till till-secret' 'billing billing-secret' \
	'admin admin-secret' >"$work/accounts"
settings publish

# A file that others may read: it says how to mend that, and is not used.
chmod 0644 "$work/accounts"
{
	cat "$work/leat.conf"
	printf '[supervisor]\ngive_up_deaths = 1\n'
} >"$work/open.conf"
LEAT_LIBEXEC=$builddir timeout 60 "$builddir/leatd" --dir "$work/open" \
	-c "$work/open.conf" >"$work/open.log" 2>&1 </dev/null
if grep -q 'setting=gateway.accounts.*chmod 0640' "$work/open.log"; then
	echo "case signed.open-file ok refused"
else
	echo "case signed.open-file fail" && bad=1
	cat "$work/open.log"
fi

chmod 0600 "$work/accounts"
: >"$work/ready"
LEAT_LIBEXEC=$builddir "$builddir/leatd" --dir "$work/broker" \
	-c "$work/leat.conf" >"$work/ready" 2>"$work/log" </dev/null &
leatd=$!
until grep -q ^ready "$work/ready"; do
	kill -0 "$leatd" 2>/dev/null || {
		cat "$work/log"
		exit 1
	}
	sleep 0.1
done

client() { # before|after
	(cd "$work" && exec java -XX:-UsePerfData -XX:+UseSerialGC -Xmx256m \
		-Duser.home="$work" -Drocketmq.client.logRoot="$work" \
		-cp "$here/java:$cache/five/*" "$here/signed/Signed.java" \
		"127.0.0.1:$names" "$1") 2>"$work/client.log" || {
		bad=1
		tail -n 20 "$work/client.log" "$work/log"
	}
}
# A second broker registers with the first one's name server: as admin, else not.
second() { # NAME SIGN-AS
	cat >"$work/$1.conf" <<-END
		[broker]
		name = $1
		port = $((broker + 2))
		[store]
		segment_bytes = 64m
		[gateway]
		listen = 127.0.0.1:$((broker + 2))
		names = none
		namesrv = 127.0.0.1:$names
		accounts = $work/accounts
		sign_as = $2
	END
	: >"$work/$1.log"
	LEAT_LIBEXEC=$builddir "$builddir/leatd" --dir "$work/$1" \
		-c "$work/$1.conf" >>"$work/$1.log" 2>&1 </dev/null &
	other=$!
	trap 'kill "$other" 2>/dev/null' EXIT # of this subshell
	until grep -q "registered namesrv" "$work/$1.log"; do
		kill -0 "$other" 2>/dev/null || break
		sleep 0.1
	done
	grep -o 'leat-gateway \(not-\)\?registered.*code=16\|leat-gateway registered' \
		"$work/$1.log" | head -n 1
	kill "$other" 2>/dev/null
	wait "$other"
}
case "$(second two admin)" in
*" registered") echo "case signed.registered ok" ;;
*) echo "case signed.registered fail" && bad=1 && tail "$work/two.log" ;;
esac
case "$(second three till)" in
*not-registered*code=16) echo "case signed.not-registered ok" ;;
*) echo "case signed.not-registered fail" && bad=1 && tail "$work/three.log" ;;
esac
client before
settings subscribe
kill -HUP "$leatd"
until grep -q 'leat-gateway settings-changed' "$work/log"; do sleep 0.1; done
client after
grep -q 'secret' "$work/log" && {
	echo "case signed.log fail: it has a secret"
	bad=1
}
exit $bad
