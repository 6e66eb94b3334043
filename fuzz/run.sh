#!/bin/sh
# run.sh DIRECTORY SECONDS [TARGET...]: builds the targets in this directory and runs
# each for so long, beginning with its corpus. What is new goes to corpus/ there, what
# fails to findings/. A finding, a leak or a hang fails.
set -eu
work=$1
seconds=$2
shift 2
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- options answers stream srv calls

host=$(rustc -vV | sed -n 's/^host: //p')
# On a stable compiler. With --target, what the build itself runs stays as it is.
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Zsanitizer=address -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --release --locked --target "$host" --target-dir "$work"

for target; do
  echo "--- $target"
  mkdir -p "$work/corpus/$target" "$work/findings"
  kept=corpus/$target
  [ -d "$kept" ] || kept=
  "$work/$host/release/$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=60 \
    -max_len=4096 -print_final_stats=1 -artifact_prefix="$work/findings/$target-" \
    "$work/corpus/$target" ${kept:+"$kept"}
done
