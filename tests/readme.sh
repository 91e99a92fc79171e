#!/usr/bin/env bash
# Runs the commands of the README as they stand there and compares what they print with what it shows.
#
#   tests/readme.sh          builds and starts the server as the README says
#   tests/readme.sh BINARY   lets BINARY stand in for `make run` and `cargo run --release`
#
# Fenced blocks of README.md say what they are: `sh server` starts a fresh server (and ends the one
# before), `sh run` is run, and a `json shown` or `text shown` after it is what it prints. Times and
# entity tags may differ. Port 8080 becomes a free one, so a registry that is running is left alone.
set -euo pipefail
# Each server is a process group of its own, so that all that a block starts can be ended.
set -m

top=$(cd "$(dirname "$0")/.." && pwd)
binary=${1:-}
[ -z "$binary" ] || binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary")
passed=0 failed=0
server='' left_out=''
work=$(mktemp -d "${TMPDIR:-/tmp}/a8-readme.XXXXXX")

end_server() {
  [ -n "$server" ] || return 0
  kill -- "-$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=''
}

# shellcheck disable=SC2329 # called by the traps
clean_up() {
  local status=$?
  trap - EXIT
  end_server
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

finish() {
  [ -z "$left_out" ] || echo "left out: $left_out"
  echo "readme: $passed passed, $failed failed"
  [ "$failed" = 0 ] || exit 1
  exit 0
}

pass() { passed=$((passed + 1)); }
# fail LINE_AND_WHY
fail() { failed=$((failed + 1)) && echo "FAILED README.md line $1"; }

# Blocks into files NUMBER.KIND, the line of the README in NUMBER.line.
extract() {
  awk -v into="$work/" '
    /^```/ && inside { inside = 0; close(file); next }
    /^```(sh|json|text) (server|run|shown)$/ {
      inside = 1
      file = sprintf("%s%03d.%s", into, ++number, $2)
      printf "" > file
      line = sprintf("%s%03d.line", into, number)
      print NR > line
      close(line)
      next
    }
    /^```/ { inside = 1; file = "/dev/null"; next }
    inside { print > file }
  ' "$top/README.md"
}

# What may differ from run to run, in one form.
normal() {
  sed -E -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z/TIME/g' -e 's/W\/"[^"]*"/TAG/g' -e 's/\r$//' "$1"
}

answers() {
  curl -s -o "$work/answer" --max-time 2 "http://127.0.0.1:$A8_API_PORT/" 2>/dev/null ||
    curl -sk -o "$work/answer" --max-time 2 "https://127.0.0.1:$A8_API_PORT/" 2>/dev/null
}

# start_server FILE LINE: another port is tried when the server ends at once.
start_server() {
  local attempt until patience=10
  [ -n "$binary" ] || patience=1200
  for attempt in 1 2 3 4 5; do
    end_server
    export A8_API_PORT=$((20000 + (RANDOM + attempt) % 10000))
    # Somebody else may listen there already.
    ! answers || continue
    (cd "$work/here" && PATH=$work/bin:$PATH exec sh "$1") >"$work/server.log" 2>&1 </dev/null &
    server=$!
    until=$((SECONDS + patience))
    while kill -0 "$server" 2>/dev/null && [ $SECONDS -lt $until ]; do
      ! answers || return 0
      sleep 0.1
    done
  done
  fail "$2: the server does not start"
  tail -n 5 "$work/server.log"
  return 1
}

# run_block FILE LINE: in this shell, so that variables live on.
run_block() {
  local status=0 shown
  sed "s/8080/$A8_API_PORT/g" "$1" >"$work/block"
  set +e
  cd "$work/here" || exit 1
  # shellcheck source=/dev/null
  . "$work/block" >"$work/got" 2>&1 </dev/null
  status=$?
  set -e
  shown=$work/$(printf '%03d' $((10#$(basename "$1" .run) + 1))).shown
  if [ $status != 0 ]; then
    fail "$2: ended with status $status"
    cat "$work/got"
  elif [ -f "$shown" ]; then
    sed "s/8080/$A8_API_PORT/g" "$shown" >"$work/shown"
    # An answer of the server ends without a line feed.
    [ -z "$(tail -c 1 "$work/got")" ] || echo >>"$work/got"
    if diff -u --label shown --label got <(normal "$work/shown") <(normal "$work/got") >"$work/diff"; then
      pass
    else
      fail "$2"
      cat "$work/diff"
    fi
  else
    pass
  fi
}

command -v curl >/dev/null || { left_out="the README's commands, which need curl" && finish; }
mkdir "$work/bin" "$work/here"
if [ -n "$binary" ]; then
  # make run ARGS="a b"; cargo run --release -- a b
  cat >"$work/bin/make" <<EOF
#!/bin/sh
for argument in "\$@"; do
  case \$argument in ARGS=*) flags=\${argument#ARGS=} ;; esac
done
exec "$binary" \${flags:-}
EOF
  cat >"$work/bin/cargo" <<EOF
#!/bin/sh
while [ \$# -gt 0 ] && [ "\$1" != -- ]; do shift; done
[ \$# = 0 ] || shift
exec "$binary" "\$@"
EOF
else
  cat >"$work/bin/make" <<EOF
#!/bin/sh
exec "$(command -v make)" -C "$top" "\$@"
EOF
  cat >"$work/bin/cargo" <<EOF
#!/bin/sh
cd "$top" && exec "$(command -v cargo)" "\$@"
EOF
fi
chmod +x "$work/bin/make" "$work/bin/cargo"

extract
skipping=''
for block in "$work"/*.server "$work"/*.run; do echo "$block"; done | sort >"$work/order"
while read -r block <&3; do
  line=$(cat "${block%.*}.line")
  case $block in
    *.server)
      skipping=''
      if grep -q openssl "$block" && ! command -v openssl >/dev/null; then
        skipping=yes left_out="what the README does with openssl"
      else
        start_server "$block" "$line" || skipping=yes
      fi
      ;;
    *.run)
      if [ -n "$skipping" ]; then continue; fi
      if grep -q openssl "$block" && ! command -v openssl >/dev/null; then
        skipping=yes left_out="what the README does with openssl"
        continue
      fi
      run_block "$block" "$line"
      ;;
  esac
done 3<"$work/order"
finish
