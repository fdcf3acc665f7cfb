#!/bin/bash
# Installs what is missing and runs every test. The last line is `N passed, N failed`, where a case is a gtest case, a Bazel
# test without cases of its own, or a scenario of a shell test; the status is 0 if and only if nothing failed.
#
#   tests/run.sh [--fast] [--also SCRIPT]...
#
#   --fast          no sanitizers, no fuzzing and no container
#   --also SCRIPT   runs one more script that prints TAP, and counts it
#
# Environment, besides what the tests say:
#   NETPROV_TEST_SKIP_KERNEL=1      the tests that change the kernel's state need not run
#   NETPROV_TEST_SKIP_CONTAINER=1   no container test
#   NETPROV_CACHE                   where results of builds are kept; default ~/.cache/netprov
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What each configuration runs. What ships is `-c opt`, so that is what is tested; tags say what a sanitizer can't run.
OPT_TARGETS=(//...)
# Of what is end to end, the tests that reach most of the daemon and of `contain`.
ASAN_TARGETS=(//server/... //client/... //tests/component/... //tests/contract/... //tests/fuzz/... //tests/kernel/...
  //tests/simulation/... //tests/e2e:daemon_test //tests/e2e:fields_test //tests/e2e:tutorial_test)
ASAN_TAGS=-no-asan
# Where threads meet: the rest of the tests have one.
TSAN_TARGETS=(//server:all //server/engine:registry_test //server/rpc/... //client:all //tests/component/...
  //tests/kernel:netns_pool_test)
TSAN_TAGS=-no-tsan
# Of these, at least one case each must really have run: they can only skip where the kernel can't be used at all.
KERNEL_TARGETS=(//tests/kernel //tests/e2e)
# Tests without Bazel. They print TAP.
SHELL_TESTS=(deploy/quickstart_test.sh)
LONG_TESTS=(tests/fuzz/fuzz.sh tests/e2e/container_test.sh)

fast=0
while [[ $# -gt 0 ]]; do
  case "$1" in
    --fast) fast=1 ;;
    --also)
      SHELL_TESTS+=("${2:?--also needs a script}")
      shift
      ;;
    *)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
      exit 2
      ;;
  esac
  shift
done

cache="${NETPROV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/netprov}"
export NETPROV_CACHE="$cache"
mkdir -p "$cache"
jobs=$(($(nproc) + 1))
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

passed=0
failed=0
skipped=0
failures=()

# Adds to the totals; $1 to $3 are numbers of passed, failed and skipped cases.
add() {
  passed=$((passed + $1))
  failed=$((failed + $2))
  skipped=$((skipped + $3))
}

# Runs `bazel test` as $1 (a name for people) with the rest as arguments, and adds its cases.
bazel_test() {
  local name="$1" status=0 started=$SECONDS counts
  shift
  echo
  echo "== $name: bazel test $*"
  # One more at a time than there are processors: tests that kill daemons wait half of the time.
  bazel test --symlink_prefix=/ --disk_cache="$results" --nocache_test_results --keep_going --noshow_progress \
    --jobs="$jobs" --local_cpu_resources="$jobs" --build_event_json_file="$work/$name.json" "$@" </dev/null || status=$?
  # 4: nothing to test was selected, which the requirements below judge.
  [[ $status -ne 4 ]] || status=0
  counts="$(/usr/bin/python3 tests/count_cases.py "$work/$name.json" --failures "$work/failures" \
    --executed "$work/$name.executed")"
  # shellcheck disable=SC2086 # three numbers
  set -- $counts
  if [[ $status -ne 0 && $2 -eq 0 ]]; then
    set -- "$1" 1 "$3"
    echo "$name: bazel ended with status $status" >"$work/failures"
  fi
  add "$@"
  while read -r line; do failures+=("$name: $line"); done <"$work/failures"
  echo "== $name: $1 passed, $2 failed, $3 skipped in $((SECONDS - started)) s"
}

# Runs script $1, which prints TAP, and adds its lines.
shell_test() {
  local script="$1" status=0 started=$SECONDS log="$work/tap" ok not_ok skips planned
  echo
  echo "== $script"
  "$script" </dev/null 2>&1 | tee "$log" || status=$?
  skips="$(grep -cE '^(ok .*|1\.\.0) # SKIP' "$log" || true)"
  ok="$(grep -E '^ok ' "$log" | grep -cv '# SKIP' || true)"
  not_ok="$(grep -cE '^not ok ' "$log" || true)"
  planned="$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$log" | tail -1)"
  while read -r line; do failures+=("$script: $line"); done < <(grep -E '^not ok ' "$log" || true)
  if [[ $not_ok -eq 0 && ($status -ne 0 || "$planned" != $((ok + (planned > 0 ? skips : 0)))) ]]; then
    not_ok=1
    failures+=("$script: ended with status $status after $ok of ${planned:-an unknown number of} scenarios")
  fi
  add "$ok" "$not_ok" "$skips"
  echo "== $script: $ok passed, $not_ok failed, $skips skipped in $((SECONDS - started)) s"
}

deploy/install-deps.sh build runtime quickstart test
results="$(deploy/build-cache.sh)"

bazel_test opt -c opt "${OPT_TARGETS[@]}"
if [[ "${NETPROV_TEST_SKIP_KERNEL:-}" != 1 ]]; then
  for target in "${KERNEL_TARGETS[@]}"; do
    if ! grep -q "^${target}[:/]" "$work/opt.executed"; then
      add 0 1 0
      failures+=("no test of $target really ran; NETPROV_TEST_SKIP_KERNEL=1 allows that")
    fi
  done
fi
if [[ $fast -eq 0 ]]; then
  bazel_test asan --config=asan --build_tests_only --test_tag_filters="$ASAN_TAGS" "${ASAN_TARGETS[@]}"
  bazel_test tsan --config=tsan --build_tests_only --test_tag_filters="$TSAN_TAGS" "${TSAN_TARGETS[@]}"
  SHELL_TESTS+=("${LONG_TESTS[@]}")
fi
for script in "${SHELL_TESTS[@]}"; do
  shell_test "$script"
done

echo
if [[ $skipped -gt 0 ]]; then
  echo "$skipped skipped; the tests' output says why"
fi
for failure in "${failures[@]}"; do
  echo "FAILED $failure"
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
