#!/bin/sh
# packages_test.sh - bootstrap installs what configure looks for: the package
# that owns each module's .pc file is in its list; and so is each program that
# the interop tests get things with.
set -u
cd "${top_srcdir:-.}" || exit 1
command -v dpkg-query >/dev/null && command -v pkg-config >/dev/null || {
	echo "needs Debian's dpkg-query and pkg-config"
	exit 77
}
listed=$(sed -n '/^build_packages="/,/"$/p' bootstrap | tr -s '\n\t "' '    ')
modules=$(sed -n 's/.*PKG_CHECK_MODULES(\[[A-Z0-9_]*\], *\[\([a-z0-9_+.-]*\).*/\1/p' \
	configure.ac)
[ -n "$modules" ] && [ -n "$listed" ] || {
	echo "found no module in configure.ac or no list in bootstrap"
	exit 1
}
bad=0
for module in $modules; do
	dir=$(pkg-config --variable=pcfiledir "$module") || {
		echo "$module: not installed"
		bad=1
		continue
	}
	owner=$(dpkg-query -S "$dir/$module.pc" 2>/dev/null | sed 's/[:,].*//')
	case " $listed " in
	*" $owner "*) [ -n "$owner" ] || bad=1 ;;
	*)
		echo "$module: package ${owner:-unknown} is not in bootstrap's list"
		bad=1
		;;
	esac
done
wanted=$(sed -n '/^interop_programs="/,/"$/p' bootstrap | tr -s '\n\t "' '    ')
for pair in $(grep -o 'have "*[$a-z0-9]*"* [a-z0-9]* [a-z0-9-]*' \
	tests/interop/fetch.sh | awk '{ print $3 ":" $4 }' | sort -u); do
	case " $wanted " in
	*" $pair "*) ;;
	*)
		echo "$pair: not among bootstrap's interop_programs"
		bad=1
		;;
	esac
done
exit $bad
