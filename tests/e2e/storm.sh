#!/bin/bash
# Measures what storm_test only checks: 1,000 kills of the daemon under load, the last of them with 1,000 objects alive, and how
# soon the daemon serves again after each. Prints one line of figures for each part, and fails where something was lost, leaked,
# slower than 100 calls per second, or not serving within a second. Takes about ten minutes.
#
#   tests/e2e/storm.sh [KILLS [KILLS_WITH_1000_ALIVE]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly SLOWEST_RECOVERY_MS=1000
readonly FEWEST_CALLS_PER_SECOND=100

results="$(deploy/build-cache.sh)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
status=0

# One run of the test with $1 kills and $2 objects alive. $3 is the test's limit in seconds.
storm() {
  local line recovery rate
  if ! bazel test -c opt --symlink_prefix=/ --disk_cache="$results" --noshow_progress --nocache_test_results \
    --test_output=all --test_timeout="$3" --test_env=NETPROV_STORM_KILLS="$1" --test_env=NETPROV_STORM_ALIVE="$2" \
    //tests/e2e:storm_test </dev/null >"$work/log" 2>&1; then
    cat "$work/log"
    return 1
  fi
  line="$(grep -o 'kills=.*recovery_ms_max=.*' "$work/log")"
  echo "$line"
  recovery="${line##*recovery_ms_max=}"
  rate="$(grep -o 'calls_per_second=[0-9]*' <<<"$line" | cut -d= -f2)"
  if ((recovery >= SLOWEST_RECOVERY_MS)); then
    echo "a recovery took $recovery ms; less than $SLOWEST_RECOVERY_MS are wanted"
    return 1
  fi
  if ((rate < FEWEST_CALLS_PER_SECOND)); then
    echo "the load was $rate calls per second; at least $FEWEST_CALLS_PER_SECOND are wanted"
    return 1
  fi
}

storm "${1:-850}" 0 1800 || status=1
storm "${2:-150}" 1000 1800 || status=1
exit "$status"
