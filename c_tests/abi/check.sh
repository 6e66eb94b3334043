#!/bin/sh
# check.sh LIBRARY HEADER LIST: the exported symbols, the header's prototypes and
# the list are the same; the library needs what it may need and is named right.
set -eu
export LC_ALL=C
library=$1 header=$2 list=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
complain() {
    echo "abi: $*" >&2
    bad=1
}

same() { # WHAT FILE: the same names as in the list
    diff -u --label "$list" --label "$1" "$list" "$2" >&2 || complain "$1 and $list differ"
}

nm -D --defined-only "$library" | awk '{ print $NF }' | sort >"$work/exports"
# Without comments, a name before a parenthesis is a prototype.
"${CC:-cc}" -E -P "$header" | grep -oE '\bhmkv_[a-z0-9_]+\(' | tr -d '(' | sort >"$work/prototypes"
sort -cu "$list" || complain "$list is not sorted"
same "exports of $library" "$work/exports"
same "prototypes of $header" "$work/prototypes"

readelf -d "$library" >"$work/dynamic"
for needed in $(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic"); do
    case $needed in
    libc.so.6 | libm.so.6 | libgcc_s.so.1 | ld-linux*.so.*) ;;
    *) complain "$library needs $needed" ;;
    esac
done

soname=$(sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p' "$work/dynamic")
expected=libhmkv.so.$(sed -n 's/^#define HMKV_ABI //p' "$header")
[ "$soname" = "$expected" ] || complain "SONAME is '$soname', not $expected"

strip -o "$work/stripped" "$library"
echo "abi: $(wc -l <"$list") symbols; stripped, libhmkv.so has $(wc -c <"$work/stripped") bytes"
exit $bad
