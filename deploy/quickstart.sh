#!/bin/bash
# Shows netprov at work on a fresh Debian 12: installs what is missing, builds, starts netprovd, makes two network namespaces
# on a bridge, with IPv4 and IPv6, and a router that lets them out under its own address, lets them talk, shows what is there,
# and removes all of it again.
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
  local options=(-c opt --symlink_prefix=/ "--disk_cache=$(deploy/build-cache.sh)")
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

# Shows that $1 reaches $2.
talk() {
  run contain net exec "$1" -- ping -n -c 1 -W 5 "$2"
}

demonstrate() {
  local a="netprov-demo-$$-a" b="netprov-demo-$$-b" router="netprov-demo-$$-router" outside="netprov-demo-$$-outside"
  made=("$a" "$b" "$router" "$outside")

  step "Four network namespaces: a and b, a router, and what is outside"
  local namespace
  for namespace in "${made[@]}"; do run contain net create "$namespace"; done

  step "A bridge in the router, with the addresses that are the gateways of a and b"
  run contain net bridge create "demo-$$" --ns "$router" --interface lan0 \
    --address 10.77.0.1/24 --address fd77::1/64

  step "One call for each of a and b: a veth pair to a port of the bridge, addresses, gateways, masquerading"
  local name number=2
  for name in a b; do
    run contain net veth --id "demo-$$-$name" --from-ns "$router" --interface "port-$name" --bridge "demo-$$" \
      --ns "netprov-demo-$$-$name" --peer eth0 --address "10.77.0.$number/24" --address "fd77::$number/64" \
      --gateway 10.77.0.1 --gateway fd77::1 --masquerade --ip-forwarding
    number=$((number + 1))
  done

  step "And one from the router to the outside, which knows nothing of 10.77.0.0/24 and fd77::/64"
  run contain net veth --id "demo-$$-out" --from-ns "$router" --interface wan0 --from-address 192.0.2.1/24 \
    --from-address 2001:db8::1/64 --ns "$outside" --peer eth0 --address 192.0.2.2/24 --address 2001:db8::2/64

  step "a talks to b, and by way of the router to the outside"
  talk "$a" 10.77.0.3
  talk "$a" fd77::3
  talk "$a" 192.0.2.2
  talk "$a" 2001:db8::2

  step "What netprov knows"
  run contain net list
  run contain net show "$a"
  run contain net veth list
  run contain net bridge show "demo-$$"

  step "What the kernel holds, by ip(8)"
  run ip netns list
  run ip -n "$router" -br link show master lan0
  run ip -n "$a" -br address show dev eth0
  run ip -n "$a" route

  step "Removing it all"
  for namespace in "${made[@]}"; do run contain net delete "$namespace"; done
  made=()
  if ip netns list | grep -q "^netprov-demo-$$-"; then
    echo "a namespace of the demo is still there" >&2
    exit 1
  fi

  step "Done: two namespaces on a bridge and a router, made, used, showed and removed."
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
