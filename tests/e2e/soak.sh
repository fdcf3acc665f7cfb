#!/bin/bash
# The long form of soak_test: 10,000 rounds in which the same names are made and deleted, 100,000 calls in all. Prints one line of
# figures, and fails where a call failed, or where memory, descriptors or threads of the daemon grew. Takes about ten minutes.
#
#   tests/e2e/soak.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

results="$(deploy/build-cache.sh)"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! bazel test -c opt --symlink_prefix=/ --disk_cache="$results" --noshow_progress --nocache_test_results \
  --test_output=all --test_timeout=3600 --test_env=NETPROV_SOAK_ROUNDS="${1:-10000}" //tests/e2e:soak_test \
  </dev/null >"$log" 2>&1; then
  cat "$log"
  exit 1
fi
grep -o 'rounds=.*threads=.*' "$log"
