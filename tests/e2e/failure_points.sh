#!/bin/bash
# Makes every system call of every call of the API, and of what the daemon does by itself, fail once with each errno that its man page
# allows, where CI has most of them fail in one way. Prints a line of figures for each, and fails where something was lost or leaked,
# or the daemon or its answer was not as it should be. Takes half an hour and more; on a busy
# machine calls may come to their deadlines, which fails too.
#
#   tests/e2e/failure_points.sh [GTEST_FILTER]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly TIMEOUT_SECONDS=7200

results="$(deploy/build-cache.sh)"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
status=0

bazel test -c opt --symlink_prefix=/ --disk_cache="$results" --noshow_progress --nocache_test_results --test_output=all \
  --test_timeout="$TIMEOUT_SECONDS" --test_env=NETPROV_EVERY_ERRNO=1 --test_filter="${1:-*}" \
  //tests/e2e:failure_point_test //tests/e2e:read_point_test </dev/null >"$log" 2>&1 || status=$?
grep -E '^[A-Za-z]+: [0-9]+ failures of ' "$log" || true
if ((status != 0)); then cat "$log"; fi
exit "$status"
