#!/bin/sh
# check.sh PROGRAMS ENDPOINT CALL.BACKEND LIMITS [CALLS]: one call, as a row of LIMITS
# names it, costs no more than that row says. PROGRAMS is where cost_workload and
# count_syscalls are.
set -eu
export LC_ALL=C
programs=$1 endpoint=$2 name=$3 limits=$4
call=${name%.*}
case $name in
*.mem) calls=${5:-20000} ;;
*) calls=${5:-500} ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "cost: $*" >&2
    exit 1
}

# run COMMAND...: the program itself comes last and its output into a file.
run() {
    "$@" "$programs/cost_workload" "$endpoint" "$call" --calls "$calls" >"$work/out" 2>&1 || {
        cat "$work/out" >&2
        fail "${1:-cost_workload} failed"
    }
}

# least WORD COMMAND...: the least of five runs. A packet more or a thread that went
# to sleep a moment sooner adds one; that is the machine's and not the library's.
least() {
    word=$1 best=
    shift
    for _ in 1 2 3 4 5; do
        run "$@"
        count=$(sed -n "s/^$word //p" "$work/out")
        [ -n "$count" ] || fail "no count of $word"
        if [ -z "$best" ] || awk "BEGIN { exit !($count < $best) }"; then
            best=$count
            cp "$work/out" "$work/$word"
        fi
    done
    echo "$best"
}

# shellcheck disable=SC2046 # the words of one row
set -- $(awk -v name="$name" '$1 == name { print $2, $3, $4 }' "$limits")
[ $# = 3 ] || fail "$limits has no row of three limits for $name"

# glibc copies large blocks by `rep movsb`, which is one instruction, but valgrind
# counts each byte of it. Without it glibc copies by vectors.
GLIBC_TUNABLES=glibc.cpu.hwcaps=-ERMS
export GLIBC_TUNABLES
command -v valgrind >/dev/null || fail "valgrind is needed"
run valgrind -q --tool=callgrind --fair-sched=yes --callgrind-out-file="$work/callgrind" \
    --zero-before=cost_begin --dump-before=cost_end
unset GLIBC_TUNABLES
total=$(sed -n 's/^totals: //p' "$work/callgrind.1")
[ -n "$total" ] || fail "no count of instructions"
instructions=$(awk "BEGIN { printf \"%.0f\", $total / $calls }")
syscalls=$(least syscalls "$programs/count_syscalls" "$calls")
switches=$(least switches)

bad=0
judge() { # WHAT COUNT LIMIT
    verdict=$(awk "BEGIN {
        if ($2 > $3) print \"  TOO MANY\"
        else if ($3 >= 1 && $2 < $3 / 2) print \"  improved: lower the limit\" }")
    printf '%-10s %-14s %12s %12s%s\n' "$name" "$1" "$2" "$3" "$verdict"
    [ "$verdict" != "  TOO MANY" ] || bad=1
}
printf '%-10s %-14s %12s %12s\n' "" "" "per call" limit
if [ "$(uname -m)" = x86_64 ]; then
    judge instructions "$instructions" "$1"
else
    echo "$name instructions: $instructions; the limit is one of x86_64"
fi
judge syscalls "$syscalls" "$2"
judge switches "$switches" "$3"
echo "system calls per call, by thread:"
grep '^  ' "$work/syscalls" || :
exit $bad
