#!/bin/sh
# selftest.sh PROGRAMS ENDPOINT: check.sh passes under wide limits, and refuses each
# cost above its limit, for that reason, and what it cannot measure. ENDPOINT is an
# etcd, where a call has all three costs.
set -eu
here=$(dirname "$0")
programs=$1 endpoint=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() { # ENDPOINT ROW
    echo "$2" >"$work/limits"
    sh "$here/check.sh" "$programs" "$1" get.etcd "$work/limits" 50 >"$work/out" 2>&1
}
refuses() { # REASON ENDPOINT ROW
    if check "$2" "$3" || ! grep -q -e "$1" "$work/out" ||
        [ "$(grep -c 'TOO MANY' "$work/out")" -gt 1 ]; then
        echo "cost selftest: not refused: $1" >&2
        cat "$work/out" >&2
        exit 1
    fi
}

check "$endpoint" "get.etcd 9999999 9999 9999" || {
    cat "$work/out" >&2
    exit 1
}
"$programs/count_syscalls" 2000 "$programs/cost_workload" "$endpoint" get --calls 2000 >"$work/out"
grep -q 'hmkv-.*: .*futex\|hmkv-.*: .*epoll' "$work/out" || {
    echo "cost selftest: the library's threads are not counted" >&2
    cat "$work/out" >&2
    exit 1
}
[ "$(uname -m)" != x86_64 ] ||
    refuses 'instructions .*TOO MANY' "$endpoint" "get.etcd 0 9999 9999"
refuses 'syscalls .*TOO MANY' "$endpoint" "get.etcd 9999999 0 9999"
refuses 'switches .*TOO MANY' "$endpoint" "get.etcd 9999999 9999 0"
refuses 'no row' "$endpoint" "put.etcd 9999999 9999 9999"
refuses 'failed' "http://" "get.etcd 9999999 9999 9999"
echo "cost selftest: each fault was refused"
