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

# Fuzzes one target, its log in $work/TARGET.log and what it used in $work/TARGET.cpu. libFuzzer ends by the clock, of which a
# machine that does something else too gives it less: it goes on until it has had its time.
fuzz() {
  local target="$1" used=0 left times
  mkdir -p "$work/$target"
  while ((used < seconds)); do
    left=$((seconds - used))
    times="$work/$target.times"
    { TIMEFORMAT='%U %S' && time "$bin/tests/fuzz/$target" -max_total_time="$left" -print_final_stats=1 -rss_limit_mb=2048 \
      -timeout=10 -artifact_prefix="${TMPDIR:-/tmp}/$target-" "$work/$target" "tests/fuzz/corpus/${target%_fuzz}" \
      >>"$work/$target.log" 2>&1; } 2>"$times" || return 1
    # At least a second, so that it ends.
    used=$((used + $(awk 'END { s = int($1 + $2 + 0.5); print (s > 0 ? s : 1) }' "$times")))
    echo "$used" >"$work/$target.cpu"
  done
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
  runs="$(awk '/^stat::number_of_executed_units:/ { n += $2 } END { print n + 0 }' "$work/$target.log")"
  if [[ -e "$work/$target.ok" ]]; then
    echo "ok $((i + 1)) - fuzz: $target, $runs inputs in $(<"$work/$target.cpu") s of processor time"
  else
    tail -50 "$work/$target.log" | sed 's/^/# /'
    echo "not ok $((i + 1)) - fuzz: $target"
    status=1
  fi
done
exit "$status"
