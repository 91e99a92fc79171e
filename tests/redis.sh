#!/bin/sh
# Sees to it that the tests find a Redis.
#
#   tests/redis.sh DIRECTORY            makes DIRECTORY/redis-server where there is none, from a package if it must
#   tests/redis.sh left-out DIRECTORY   says in one line what was left out, if anything was
#
# Never fails, and never installs or starts a service: Debian's redis-tools has the server's program, which goes by the
# name that it is called by.
set -u

there() { PATH="$1:$PATH" command -v redis-server >/dev/null; }

if [ "${1:-}" = left-out ]; then
  there "$2" || echo "left out: what needs redis-server, which is neither here nor to be had through apt-get"
  exit 0
fi

there "$1" && exit 0
if ! command -v redis-check-rdb >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "installing redis-tools"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-tools; } \
    >/dev/null 2>&1 || echo "redis-tools cannot be installed"
fi
program=$(command -v redis-check-rdb) || exit 0
mkdir -p "$1" && ln -sf "$program" "$1/redis-server"
exit 0
