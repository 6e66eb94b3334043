#!/bin/sh
# counts.sh BUILD_DIR: the tests of the process around the library and of its callbacks,
# as often as the table in docs/reliability.md says; ctest runs them less often. On `mem:`
# and on an etcd of its own, whose programs are those of ETCD and ETCDCTL.
set -eu
build=${1:?the directory of the C tests}
here=$(dirname "$0")
work=$(mktemp -d)
trap 'sh "$here/../etcd_fixture.sh" stop "$work/etcd"; rm -rf "$work"' EXIT
sh "$here/../etcd_fixture.sh" start "$work/etcd"
for endpoint in mem: "@$work/etcd/endpoint"; do
  "$build/test_fork" "$endpoint" many_forks_while_eight_threads_are_inside_calls --forks 1000
  "$build/test_failed_calls" "$endpoint" --points 0
  "$build/test_cancel_storm" "$endpoint" thousands_of_cancels_at_random_moments \
    --rounds "$([ "$endpoint" = mem: ] && echo 1000000 || echo 50000)"
done
