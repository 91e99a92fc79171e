#!/usr/bin/env bash
# The image, built and used as an operator would, by a docker daemon of this test's own.
#
# Nothing comes from an image registry: BASE and BUILDER are made by debootstrap from the mirror that apt
# is set to, BUILDER with this machine's Rust toolchain in it, and are imported under the names that the
# Dockerfile has for them. The crates are vendored first, so the build runs without a network, and so does
# the container: it has a loopback interface and nothing else, and is asked from inside its network
# namespace. Installs docker.io and debootstrap when they are missing.
# Ends, unmounts and deletes all that it made. Needs root on Debian; elsewhere it says what it left out.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
image=a8-registry:latest
container=a8-image-test
# What the registry may take to drain (20 s), and a little for docker.
drain_seconds=22
healthy_seconds=60
passed=0 failed=0
started=$SECONDS
work='' daemon=''
PATH=$PATH:/usr/sbin:/sbin

say() { printf '[%4ds] %s\n' $((SECONDS - started)) "$*"; }

leave_out() {
  echo "left out: the image test, $1"
  echo "image: 0 passed, 0 failed"
  exit 0
}

# check CLAIM COMMAND...: counts whether the command succeeds.
check() {
  local claim=$1
  shift
  if "$@"; then
    passed=$((passed + 1)) && say "ok      $claim"
  else
    failed=$((failed + 1)) && say "FAILED  $claim"
  fi
}

# wait_for SECONDS COMMAND...: until it succeeds, or the time is over.
wait_for() {
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || return 1
    sleep 0.2
  done
}

is_gone() { ! kill -0 "$1" 2>/dev/null; }

end_process() {
  [ -n "$1" ] || return 0
  kill "$1" 2>/dev/null || true
  wait_for 20 is_gone "$1" || kill -9 "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

clean_up() {
  local status=$?
  trap - EXIT
  set +e
  if [ -n "$daemon" ]; then
    docker ps -aq 2>/dev/null | while read -r id; do docker rm -f "$id" >/dev/null 2>&1; done
    end_process "$daemon"
  fi
  if [ -n "$work" ]; then
    # Deepest first; dockerd leaves its own network namespace mounted, an interrupted debootstrap its proc.
    awk -v under="$work/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mounted; do
      umount "$mounted" || umount -l "$mounted"
    done
    rm -rf --one-file-system "$work"
  fi
  exit "$status"
}

# === what is needed ===

[ "$(id -u)" = 0 ] || leave_out "which needs root"
ID='' VERSION_CODENAME=''
# shellcheck source=/dev/null
. /etc/os-release 2>/dev/null || true
[ "$ID" = debian ] || leave_out "which needs Debian and its packages"
command -v cargo >/dev/null || leave_out "which needs cargo"

missing=()
[ -x /usr/sbin/dockerd ] && [ -x /usr/bin/docker ] || missing+=(docker.io)
command -v debootstrap >/dev/null || missing+=(debootstrap)
command -v curl >/dev/null || missing+=(curl)
command -v nsenter >/dev/null || missing+=(util-linux)
# The lists of packages also say which mirror is in use.
apt-get update -qq || leave_out "apt-get update failed"
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    leave_out "${missing[*]} cannot be installed"
fi
# shellcheck disable=SC2016 # apt-get fills these in, not the shell
mirror=$(apt-get indextargets --format '$(CREATED_BY) $(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)' |
  awk -v suite="$VERSION_CODENAME" '$1 == "Packages" && $2 == "Debian" && $3 == suite && $4 == "main" { print $5; exit }')
[ -n "$mirror" ] || leave_out "apt knows no mirror of Debian $VERSION_CODENAME"

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d "${TMPDIR:-/tmp}/a8-image.XXXXXX")
# Debian's client fits Debian's daemon; another one may stand before it in PATH.
docker() { /usr/bin/docker -H "unix://$work/docker.sock" "$@"; }

# === the base images ===

# base_system FOLDER PACKAGES
base_system() {
  mkdir -p "$work/debs"
  debootstrap --variant=minbase --cache-dir="$work/debs" --include="$2" "$VERSION_CODENAME" "$work/$1" "$mirror" \
    >"$work/$1.log" 2>&1 || { tail -n 5 "$work/$1.log" && return 1; }
  # What published base images leave out as well.
  rm -rf "$work/$1"/var/cache/apt/archives/*.deb "$work/$1"/var/lib/apt/lists/* "$work/$1"/usr/share/{doc,locale,man}
}

say "making the base images"
base_system base ca-certificates
base_system builder ca-certificates,gcc,libc6-dev,make
sysroot=$(rustc --print sysroot)
target=$(rustc -vV | sed -n 's/^host: //p')
(cd "$sysroot" && cp -a --parents bin/cargo bin/rustc lib/*.so* "lib/rustlib/$target" "$work/builder/usr/local/")

say "copying the sources and vendoring the crates"
mkdir "$work/context"
tar -C "$top" --exclude=./.git --exclude=./target --exclude=./bin --exclude=./dist --exclude=./vendor -c . |
  tar -C "$work/context" -x
mkdir -p "$work/context/.cargo"
(cd "$work/context" && cargo vendor --locked vendor >>.cargo/config.toml 2>"$work/vendor.log") || {
  tail -n 5 "$work/vendor.log"
  exit 1
}

# === the daemon ===

start_daemon() {
  dockerd --config-file "$work/docker.json" --data-root "$work/data" --exec-root "$work/exec" \
    --pidfile "$work/docker.pid" --host "unix://$work/docker.sock" --iptables=false --bridge=none "$@" \
    >"$work/dockerd.log" 2>&1 &
  daemon=$!
  wait_for 30 docker version && return
  end_process "$daemon"
  daemon=''
  return 1
}

echo '{}' >"$work/docker.json"
start_daemon || start_daemon --storage-driver=vfs || {
  tail -n 20 "$work/dockerd.log"
  leave_out "dockerd does not start here"
}
say "docker $(docker version --format '{{.Server.Version}}'), $(docker info --format '{{.Driver}}')"

argument() { sed -n "s/^ARG $1=//p" "$top/Dockerfile"; }
tar -C "$work/base" -c . | docker import - "$(argument BASE)" >/dev/null
tar -C "$work/builder" -c . | docker import - "$(argument BUILDER)" >/dev/null
rm -rf --one-file-system "$work/base" "$work/builder" "$work/debs"

# === the image ===

say "building $image"
build() {
  make --no-print-directory -C "$work/context" docker \
    DOCKER="/usr/bin/docker -H unix://$work/docker.sock" DOCKER_FLAGS='--network none' >"$work/build.log" 2>&1
}
check "make docker builds the image without a network" build
if [ $failed -gt 0 ]; then
  tail -n 30 "$work/build.log"
  echo "image: $passed passed, $failed failed"
  exit 1
fi
size=$(docker image inspect --format '{{.Size}}' "$image")
base=$(docker image inspect --format '{{.Size}}' "$(argument BASE)")
say "image $((size / 1000000)) MB, of which $((base / 1000000)) MB are its base"

configured() { docker image inspect --format "$1" "$image" | grep -qE "$2"; }
check "the user is a number and not root" configured '{{.Config.User}}' '^[1-9][0-9]*(:[0-9]+)?$'
check "port 8080 is exposed" configured '{{json .Config.ExposedPorts}}' '"8080/tcp"'
check "the entry point is the program, without a shell" configured '{{json .Config.Entrypoint}}' '^\["/[^ ]*/a8registry"\]$'
check "the image adds at most 25 MB to its base" [ $((size - base)) -le 25000000 ]

# === a container ===

docker run -d --name "$container" --network none --read-only --cap-drop ALL --security-opt no-new-privileges \
  "$image" >/dev/null
pid=$(docker inspect --format '{{.State.Pid}}' "$container")
ask() { nsenter -t "$pid" -n curl -sS --max-time 5 "$@"; }
api=http://127.0.0.1:8080
id=38cfbfd62c071e3b

answers() { # answers WANTED CURL_ARGUMENTS...: the answer's body and status match a pattern.
  local wanted=$1 got
  shift
  got=$(ask -w '\n%{http_code}' "$@") || return 1
  grep -qzE "$wanted" <<<"$got" || { echo "$got" && return 1; }
}
state() { docker inspect --format '{{.State.Health.Status}}' "$container" | grep -qx "$1"; }
runs_as_user() { awk '/^(Uid|Gid):/ { for (i = 2; i <= NF; i++) if ($i == 0) bad = 1 } END { exit bad }' "/proc/$pid/status"; }

check "it answers" wait_for 10 ask -f "$api/"
check "it runs as another user than root" runs_as_user
check "an instance is registered" answers "\"id\" *: *\"$id\".*201" "$api/api/v1/instances" \
  -H 'Content-Type: application/json' \
  -d '{"service_name":"image-test","endpoint":{"type":"tcp","value":"192.0.2.1:1"},"ttl":60}'
check "it is renewed" answers '200' -X PUT "$api/api/v1/instances/$id/heartbeat"
check "it is listed" answers "\"$id\".*200" "$api/api/v1/services/image-test"
check "HEALTHCHECK turns healthy" wait_for $healthy_seconds state healthy

stop_began=$SECONDS
docker stop -t 60 "$container" >/dev/null
stop_took=$((SECONDS - stop_began))
check "SIGTERM ends it within the drain time ($stop_took s)" [ $stop_took -le $drain_seconds ]
status=$(docker inspect --format '{{.State.ExitCode}}' "$container")
check "it ends with status 0 (was $status)" [ "$status" = 0 ]
[ $failed = 0 ] || docker logs "$container" 2>&1 | tail -n 20

say "done"
echo "image: $passed passed, $failed failed"
[ $failed = 0 ]
