#!/bin/sh
# etcd_only.sh ETCD_ONLY.md PROGRAM,... PROGRAM...: the tables in ETCD_ONLY.md name
# exactly the tests that run on one backend alone, each with a reason; and a program
# is registered for etcd alone (second argument) when none of its tests is for `mem:`.
set -u
document=$1 registered=$2
shift 2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

for program; do
  "$program" --list >"$work/one" || exit 1
  cat "$work/one" >>"$work/all"
  name=$(basename "$program")
  case ",$registered," in
    *",$name,"*) on_mem=no ;;
    *) on_mem=yes ;;
  esac
  if grep -q -e ' mem$' -e ' both$' "$work/one"; then has_mem=yes; else has_mem=no; fi
  if [ $on_mem != $has_mem ]; then
    echo "$name: registered on mem: $on_mem, has tests for mem: $has_mem" >&2
    failed=1
  fi
done

# compare BACKEND HEADING: the section under HEADING lists the tests of BACKEND.
compare() {
  sed -n "s/ $1\$//p" "$work/all" | sort >"$work/found"
  sed -n "/^## $2/,/^## /s/^| \`\([a-z0-9_.]*\)\` | *[^| ][^|]*|\$/\1/p" "$document" |
    sort >"$work/listed"
  if ! cmp -s "$work/found" "$work/listed"; then
    echo "on $1 alone and not listed (<), or listed and not on $1 alone (>):" >&2
    diff "$work/found" "$work/listed" >&2
    failed=1
  fi
}

compare etcd 'On etcd alone'
compare mem 'On `mem:` alone'
exit $failed
