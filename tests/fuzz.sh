#!/bin/sh
# Hostile registrations, queries, tokens, requests, Eureka's documents and members' frames for a bounded time:
# coverage-guided fuzzing of the targets in tests/fuzz, one after the other.
#
#   tests/fuzz.sh [SECONDS [TARGET...]]      SECONDS for each target (60); all targets unless some are named
#
# Installs cargo-fuzz below the target directory when there is none; needs a C++ compiler for libFuzzer.
# Binaries, corpora and findings are kept in fuzz/ below the target directory, nothing in the sources.
# The last lines say for each target how much was tried, or that it was left out, or how to play its
# finding again. Ends with 1 on a finding, with 2 when a target was left out.
set -eu

cd "$(dirname "$0")/.."
root=${CARGO_TARGET_DIR:-$PWD/target}
home=$root/fuzz
version=0.13.2
seconds=${1:-60}
[ $# = 0 ] || shift
[ $# -gt 0 ] || set -- registration query token request eureka_json eureka_xml cluster_frame

case $seconds in
  '' | *[!0-9]* | 0) echo "SECONDS is $seconds, wanted a whole number from 1" >&2 && exit 2 ;;
esac
for target; do
  [ -f "tests/fuzz/targets/$target.rs" ] || { echo "there is no fuzz target $target" >&2 && exit 2; }
done

left_out() { # left_out WHY
  printf '\nfuzz: LEFT OUT, nothing was fuzzed: %s\n' "$1" >&2
  exit 2
}

PATH=$root/tools/bin:$PATH
export PATH
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "installing cargo-fuzz $version into $root/tools"
  cargo install cargo-fuzz --locked --version "$version" --root "$root/tools" --target-dir "$root/tools/build" ||
    left_out "cargo-fuzz $version could not be installed"
  rm -rf "$root/tools/build"
fi
command -v c++ >/dev/null || left_out "there is no C++ compiler (c++), which libFuzzer needs"

if ! cargo metadata --locked --format-version 1 --manifest-path tests/fuzz/Cargo.toml >/dev/null; then
  left_out "tests/fuzz/Cargo.lock is behind; renew it by
  cp Cargo.lock tests/fuzz/ && cargo metadata --format-version 1 --manifest-path tests/fuzz/Cargo.toml >/dev/null"
fi

triple=$(rustc -vV | sed -n 's/^host: //p')
# Without cfg(fuzzing), under which some libraries leave out their cryptography. No sanitizer: the stable
# compiler has none, and the registry has no unsafe code of its own.
cargo fuzz build --sanitizer none --no-cfg-fuzzing --fuzz-dir tests/fuzz --target "$triple" --target-dir "$home" ||
  left_out "the targets could not be built"

# run TARGET: fuzzes it and adds a line to the summary.
run() {
  target=$1
  binary=$home/$triple/release/$target
  corpus=$home/corpus/$target findings=$home/findings/$target log=$home/$target.log
  mkdir -p "$corpus" "$findings"
  printf '\n=== %s, %s s ===\n' "$target" "$seconds"
  status=0
  "$binary" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 \
    -dict="tests/fuzz/words/$target.dict" -artifact_prefix="$findings/" \
    "$corpus" "tests/fuzz/seeds/$target" >"$log" 2>&1 || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
  coverage=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  line="fuzz: $target: ${runs:-0} runs, ${coverage:-0} edges covered"
  if [ "$status" = 0 ]; then
    summary="$summary$line, no finding
"
    return
  fi
  found=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
  # What was said of it, without libFuzzer's lists of words and bytes.
  grep -v '# Uses: ' "$log" | tail -n 40 | cut -c 1-400
  summary="$summary$line, FINDING (exit status $status)
  log:   $log
  again: $binary ${found:-(no input was kept; see the log)}
"
  failed=1
}

summary='' failed=0
trap 'exit 130' INT TERM
for target; do
  run "$target"
done
printf '\n%s' "$summary"
exit "$failed"
