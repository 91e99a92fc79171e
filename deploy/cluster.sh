#!/bin/sh
# Three registries on this machine that replicate, found by a directory of their own; Ctrl-C ends all of them.
#
#   sh deploy/cluster.sh BINARY PORT PORT PORT
#
# A port 0 is any free one. What the registries log stands in the directory, which is removed at the end.
set -eu

binary=$1
shift
directory=$(mktemp -d)
pids=

finish() {
  trap - INT TERM EXIT
  # shellcheck disable=SC2086
  [ -z "$pids" ] || kill $pids 2>/dev/null || true
  wait
  rm -rf "$directory"
}
trap finish EXIT
trap 'exit 0' INT TERM

nth=0
for port in "$@"; do
  nth=$((nth + 1))
  "$binary" --api_port "$port" --log_level info --replication --replication_port 0 \
    --cluster_dir "$directory/members" --cluster_advertise "127.0.0.$nth" --cluster_size $# \
    2>"$directory/$nth.log" &
  pids="$pids $!"
done

# The port that the kernel chose stands in the log.
nth=0
for pid in $pids; do
  nth=$((nth + 1))
  tries=0
  until grep -q 'the registry is served on' "$directory/$nth.log"; do
    if ! kill -0 "$pid" 2>/dev/null || [ $((tries += 1)) -gt 200 ]; then
      cat "$directory/$nth.log" >&2
      exit 1
    fi
    sleep 0.05
  done
  port=$(sed -n 's/.*the registry is served on [^ ]*:\([0-9]*\)".*/\1/p' "$directory/$nth.log" | head -n 1)
  case $nth in
  1) echo "curl -H 'Content-Type: application/json' -d '{\"service_name\":\"web\",\"endpoint\":{\"type\":\"tcp\",\"value\":\"10.0.0.1:80\"},\"ttl\":60}' http://127.0.0.1:$port/api/v1/instances" ;;
  2) echo "curl http://127.0.0.1:$port/api/v1/services/web" ;;
  *) echo "curl http://127.0.0.1:$port/cluster" ;;
  esac
done
echo "three registries; their logs are $directory/*.log; Ctrl-C ends all"
wait
