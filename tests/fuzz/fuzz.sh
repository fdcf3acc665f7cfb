#!/bin/bash
# Fuzzes every target for a while. Prints TAP, a line for each with what it did; an input that fails is kept and named.
#
#   tests/fuzz/fuzz.sh [TARGET]...      default: all
#
# Environment:
#   NETPROV_FUZZ_SECONDS   processor time for each; default 30
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

seconds="${NETPROV_FUZZ_SECONDS:-30}"
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
  mapfile -t targets < <(sed -n 's/^    name = "\(.*_fuzz\)",$/\1/p' tests/fuzz/BUILD.bazel)
fi

bazel=(--symlink_prefix=/ --disk_cache="$(deploy/build-cache.sh)" --config=fuzz --noshow_progress)
bazel build "${bazel[@]}" "${targets[@]/#///tests/fuzz:}" </dev/null >&2
bin="$(bazel info --config=fuzz --noshow_progress bazel-bin 2>/dev/null)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# Fuzzes one target, its log in $work/TARGET.log.
fuzz() {
  local target="$1"
  mkdir -p "$work/$target"
  "$bin/tests/fuzz/$target" -max_total_time="$seconds" -print_final_stats=1 -rss_limit_mb=2048 -timeout=10 \
    -artifact_prefix="${TMPDIR:-/tmp}/$target-" "$work/$target" "tests/fuzz/corpus/${target%_fuzz}" >"$work/$target.log" 2>&1
}

echo "1..${#targets[@]}"
running=0
for target in "${targets[@]}"; do
  { fuzz "$target" && touch "$work/$target.ok"; } &
  running=$((running + 1))
  if ((running >= $(nproc))); then
    wait -n || true
    running=$((running - 1))
  fi
done
wait || true
status=0
for i in "${!targets[@]}"; do
  target="${targets[i]}"
  runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")"
  if [[ -e "$work/$target.ok" ]]; then
    echo "ok $((i + 1)) - fuzz: $target, $runs inputs in $seconds s"
  else
    tail -50 "$work/$target.log" | sed 's/^/# /'
    echo "not ok $((i + 1)) - fuzz: $target"
    status=1
  fi
done
exit "$status"
