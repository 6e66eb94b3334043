#!/bin/sh
# check.sh INCLUDE_DIR LIBRARY COMPILER OPTION...: the header with that compiler.
set -eu
include=$1
library=$2
shift 2
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for unit in alone twice main other; do
    "$@" -Wall -Wextra -Wpedantic -Werror -I "$include" -c "$here/$unit.c" -o "$work/$unit.o"
done

# Without the options: they name a language, which is not that of the objects.
"$1" "$work/main.o" "$work/other.o" "$library" -Wl,-rpath,"$(dirname "$library")" -o "$work/main"
"$work/main"
