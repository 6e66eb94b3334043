#!/bin/sh
# selftest.sh LIBRARY HEADER LIST: check.sh passes what is right and refuses each
# thing that it is there to refuse, for that reason.
set -eu
here=$(dirname "$0")
library=$1 header=$2 list=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() { sh "$here/check.sh" "$@" >"$work/out" 2>&1; }
refuses() { # REASON LIBRARY HEADER LIST
    reason=$1
    shift
    if check "$@" || ! grep -q -e "$reason" "$work/out"; then
        echo "abi selftest: not refused: $reason" >&2
        cat "$work/out" >&2
        exit 1
    fi
}

check "$library" "$header" "$list" || {
    cat "$work/out" >&2
    exit 1
}

grep -v '^hmkv_get$' "$list" >"$work/one-less"
refuses '^+hmkv_get$' "$library" "$header" "$work/one-less"

{ cat "$list"; echo hmkv_zzz; } >"$work/one-more"
refuses '^-hmkv_zzz$' "$library" "$header" "$work/one-more"

sed 's/hmkv_close(hmkv \*kv)/hmkv_retired(hmkv *kv)/' "$header" >"$work/renamed.h"
refuses '^-hmkv_close$' "$library" "$work/renamed.h" "$list"

sed 's/^\(#define HMKV_ABI\) .*/\1 999/' "$header" >"$work/other-abi.h"
refuses 'not libhmkv.so.999' "$library" "$work/other-abi.h" "$list"

# A library that exports one more name and needs one more library.
echo 'int hmkv_extra(void); int hmkv_extra(void) { return 0; }' >"$work/extra.c"
echo 'int other(void); int other(void) { return 0; }' >"$work/other.c"
"${CC:-cc}" -shared -fPIC "$work/other.c" -Wl,-soname,libother.so.1 -o "$work/libother.so"
"${CC:-cc}" -shared -fPIC "$work/extra.c" -Wl,--no-as-needed "$work/libother.so" -o "$work/libextra.so"
refuses '^+hmkv_extra$' "$work/libextra.so" "$header" "$list"
refuses 'needs libother.so.1' "$work/libextra.so" "$header" "$list"
echo "abi selftest: each fault was refused"
