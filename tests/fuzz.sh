#!/bin/sh
# Hostile registration bodies, query strings and token headers for a bounded time: every test in a
# module named `fuzz`, told by A8_FUZZ_SECONDS how long it may go on.
#
#   tests/fuzz.sh [SECONDS]
set -eu

cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

status=0
A8_FUZZ_SECONDS=${1:-60} cargo test --locked --release fuzz:: >"$log" 2>&1 || status=$?
cat "$log"
passed=$(awk '/^test result:/ { passed += $4 } END { print passed + 0 }' "$log")
if [ "$status" = 0 ] && [ "$passed" = 0 ]; then
  echo "FAILED  no test has fuzz:: in its name" >&2
  status=1
fi
exit "$status"
