#!/bin/sh
# run_example.sh ENDPOINT|@FILE PROGRAM [ARGUMENT...]
#
# Runs an example with the endpoint as its first argument, read from FILE where
# that is given, and shows its exit status as the last line: ctest looks at the
# output alone once it is told what to expect there.
case $1 in
@*) endpoint=$(cat "${1#@}") || exit ;;
*) endpoint=$1 ;;
esac
program=$2
shift 2
"$program" "$endpoint" "$@"
status=$?
echo "exit status $status"
exit $status
