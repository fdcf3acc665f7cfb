#!/bin/bash
# Shows netprov at work on a fresh Debian 12: installs what is missing, builds, starts netprovd, makes two network namespaces
# and a veth pair between them, shows them, and removes all of it again.
#
#   deploy/quickstart.sh [--bin DIR]     --bin: take netprovd and contain from DIR instead of building them
#
# As root, the namespaces are the host's, with names that start with netprov-demo. Without root, all of it happens in a user
# namespace, and only installing packages would need root. The daemon's socket and state are in a temporary directory.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly CHILD="${NETPROV_QUICKSTART_CHILD:-}"
bin=""
if [[ "${1:-}" == --bin && -n "${2:-}" ]]; then
  bin="$(cd "$2" && pwd)"
  shift 2
fi
if [[ $# -gt 0 ]]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
fi

step() {
  printf '\n==> %s\n' "$*"
}

# Prints a command as one would type it, and runs it.
run() {
  printf '$ %s\n' "$*"
  "$@"
}

contain() {
  "$bin/contain" "$@"
}

prepare() {
  local groups=(runtime quickstart)
  if [[ -z "$bin" ]]; then groups+=(build); fi
  step "Installing Debian packages that are missing"
  "$root/deploy/install-deps.sh" "${groups[@]}"
  if [[ -n "$bin" ]]; then return; fi
  step "Building netprovd and contain (the first time takes a few minutes)"
  cd "$root"
  local options=(-c opt --symlink_prefix=/ "--disk_cache=${NETPROV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/netprov}/bazel")
  bazel build "${options[@]}" //server:netprovd //client/cli:contain
  local out
  out="$(bazel info "${options[@]}" bazel-bin 2>/dev/null)"
  bin="$work/bin"
  mkdir "$bin"
  cp "$out/server/netprovd" "$out/client/cli/contain" "$bin"
}

# Ends the daemon and removes what the demo made, also when a step before has failed.
clean_up() {
  local status=$? namespace
  trap - EXIT
  set +e
  if [[ -n "${daemon:-}" ]]; then
    for namespace in "${made[@]}"; do
      contain net delete "$namespace" >/dev/null 2>&1
    done
    kill -TERM "$daemon" 2>/dev/null
    wait "$daemon"
  fi
  if [[ $status -ne 0 ]]; then
    echo "quickstart failed (status $status)" >&2
    if [[ -s "$work/netprovd.log" ]]; then
      echo "What netprovd said:" >&2
      tail -20 "$work/netprovd.log" >&2
    fi
  fi
  rm -rf "$work"
  exit "$status"
}

start_daemon() {
  step "Starting netprovd with its socket and state in $work"
  export NETPROV_ENDPOINT="unix:$work/netprovd.sock"
  "$bin/netprovd" --socket "$work/netprovd.sock" --state-dir "$work/state" >"$work/netprovd.log" 2>&1 &
  daemon=$!
  local deadline=$((SECONDS + 30))
  until grep -q 'listening address=' "$work/netprovd.log"; do
    if ! kill -0 "$daemon" 2>/dev/null || ((SECONDS >= deadline)); then
      echo "netprovd does not serve" >&2
      exit 1
    fi
    sleep 0.05
  done
  grep 'listening address=' "$work/netprovd.log"
}

demonstrate() {
  local a="netprov-demo-$$-a" b="netprov-demo-$$-b"
  made=("$a" "$b")

  step "Two network namespaces"
  run contain net create "$a"
  run contain net create "$b"

  step "One veth pair between them: one call, one kernel operation"
  run contain net veth --from-ns "$a" --interface demo0 --ns "$b" --peer demo1

  step "What netprov knows"
  run contain net list
  run contain net show "$a"
  run contain net veth list

  step "What the kernel holds, by ip(8)"
  run ip netns list
  run ip -n "$a" -br link show dev demo0
  run ip -n "$b" -br link show dev demo1

  step "Removing it all"
  run contain net delete "$a"
  run contain net delete "$b"
  made=()
  if ip netns list | grep -q "^netprov-demo-$$-"; then
    echo "a namespace of the demo is still there" >&2
    exit 1
  fi

  step "Done: created, showed and removed $a, $b and the veth pair between them."
}

work="${NETPROV_QUICKSTART_WORK:-}"
if [[ -z "$CHILD" ]]; then
  work="$(mktemp -d -t netprov-demo.XXXXXX)"
  made=()
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  prepare
  if [[ "$(id -u)" -ne 0 ]]; then
    step "No root: going on in a user namespace, where nothing of the host can be touched"
    if ! unshare -Urnm true; then
      echo "this kernel lets no unprivileged user make a user namespace; run $0 as root" >&2
      exit 1
    fi
    NETPROV_QUICKSTART_CHILD=1 NETPROV_QUICKSTART_WORK="$work" \
      unshare -Urnm --propagation private --kill-child --fork "$0" --bin "$bin"
    exit 0
  fi
else
  made=()
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  mount -t tmpfs netprov-demo /run
  ip link set lo up
fi
start_daemon
demonstrate
