#!/bin/bash
# Builds the container image, runs it privileged with /run/netns shared, drives netprovd from outside of the container over
# its socket and over TCP, and lets `ip` say what the kernel holds. Prints TAP: one `ok` or `not ok` line per scenario.
#
# Nothing of the machine is touched: "outside" is a mount, PID and network namespace of the test's own, with a /run and a
# /dev/shm of its own, so that podman's state, every process and every link end with the test, however it ends. Only building
# uses the machine's network, to reach the Debian mirror.
#
# Environment:
#   NETPROV_TEST_SKIP_CONTAINER=1   skip
#   NETPROV_CACHE                   where the base image and build results are kept; default ~/.cache/netprov
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cache="${NETPROV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/netprov}"

readonly BASE=docker.io/library/debian:bookworm # as `FROM debian:bookworm` is resolved
readonly IMAGE=localhost/netprov:test

fail() {
  echo "$*" >&2
  exit 1
}

# --- The surroundings ---------------------------------------------------------------------------------------------------------

# Runs this script again in namespaces of its own.
enter_private_namespaces() {
  [[ "$(id -u)" -eq 0 ]] || fail "the container test needs root: podman must run privileged containers"
  "$root/deploy/install-deps.sh" container
  # --kill-child: whatever ends unshare ends every container. It ignores the polite signals itself.
  unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
    env NETPROV_CONTAINER_TEST_STAGE=inside "$root/tests/e2e/container_test.sh" &
  local child=$!
  trap 'kill -KILL "$child"; exit 143' HUP INT TERM
  wait "$child"
}

# A /run and a /dev/shm (podman's locks) of the test's own; /run/netns is shared, as `ip netns` makes it.
make_private_run() {
  local resolv
  resolv="$(readlink -f /etc/resolv.conf || true)"
  local nameservers=""
  [[ -r "$resolv" ]] && nameservers="$(cat "$resolv")"
  mount -t tmpfs -o mode=755 netprov-run /run
  mount -t tmpfs -o mode=1777 netprov-shm /dev/shm
  if [[ "$resolv" == /run/* ]]; then
    mkdir -p "$(dirname "$resolv")"
    echo "$nameservers" >"$resolv"
  fi
  mkdir -p /run/lock /run/netns /run/netprov /run/scratch
  mount --bind /run/netns /run/netns
  mount --make-shared /run/netns
}

# Sets podman up with storage of the test's own.
configure_podman() {
  local driver=vfs probe
  mkdir -p "$cache"
  probe="$(mktemp -d "$cache/probe.XXXXXX")"
  mkdir "$probe/lower" "$probe/upper" "$probe/work" "$probe/merged"
  if mount -t overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" overlay "$probe/merged" \
    2>/dev/null; then
    umount "$probe/merged"
    driver=overlay
  fi
  rm -rf "$probe"

  # Podman asks for higher limits than an unprivileged root may set; the limits at hand are enough.
  local files processes ulimits
  files="$(ulimit -Hn)"
  processes="$(ulimit -Hu)"
  ulimits="\"nofile=$files:$files\""
  [[ "$processes" == unlimited ]] || ulimits+=", \"nproc=$processes:$processes\""
  cat >/run/scratch/containers.conf <<EOF
[containers]
default_ulimits = [$ulimits]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
EOF
  cat >/run/scratch/storage.conf <<EOF
[storage]
driver = "$driver"
graphroot = "$cache/podman-$driver"
runroot = "/run/containers/storage"
EOF
  # Health checks run when asked for, not by systemd's timers.
  export DISABLE_HC_SYSTEMD=true
  export CONTAINERS_CONF=/run/scratch/containers.conf CONTAINERS_STORAGE_CONF=/run/scratch/storage.conf
  # What a killed run left.
  podman rm --all --force --time 0 >/dev/null 2>&1 || true
}

# Prints the machine's apt sources for Debian 12 as "URI SUITE COMPONENT".
debian_sources() {
  # shellcheck disable=SC2016 # apt-get fills these in
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    grep -E ' bookworm(-updates|-security)? ' | sort -u
}

# Makes the image that the Dockerfile starts from, as no registry needs to be reachable.
make_base_image() {
  podman image exists "$BASE" && return
  local mirror tree
  mirror="$(debian_sources | awk '$2 == "bookworm" && $3 == "main" { print $1; exit }')"
  tree="$(mktemp -d "$cache/debootstrap.XXXXXX")"
  echo "# making the base image with debootstrap"
  # An empty mirror is debootstrap's default.
  debootstrap --variant=minbase --include=ca-certificates bookworm "$tree" ${mirror:+"$mirror"} \
    >"$cache/debootstrap.log" 2>&1 || {
    tail -20 "$cache/debootstrap.log" >&2
    fail "debootstrap failed; see $cache/debootstrap.log"
  }
  tar -C "$tree" --exclude='./var/cache/apt/archives/*.deb' --exclude='./dev/*' -cf /run/scratch/base.tar .
  podman import --quiet --change 'CMD=["/bin/bash"]' /run/scratch/base.tar "$BASE" >/dev/null
  rm -rf --one-file-system "$tree" /run/scratch/base.tar
}

# Builds the image with the machine's apt sources and proxies, which are lent to the build and stay out of the image.
build_image() {
  mkdir -p /run/scratch/apt "$cache/bazel"
  debian_sources | awk '{ print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $1, $2, $3 }' \
    >/run/scratch/apt/sources.list
  apt-config dump | grep -iE '^Acquire::(http|https)::.*Proxy' >/run/scratch/apt/proxy.conf || true
  # What was built on the machine with the same compiler and libraries is not built again.
  local volumes=(--volume "$cache/bazel:/var/cache/netprov/bazel"
    --volume /run/scratch/apt/proxy.conf:/etc/apt/apt.conf.d/99proxy:ro)
  if [[ -s /run/scratch/apt/sources.list ]]; then
    volumes+=(--volume /run/scratch/apt/sources.list:/etc/apt/sources.list:ro)
  fi
  echo "# building the image; log: $cache/container-build.log"
  # An interrupted podman build ends with 0, so what counts is that it names an image.
  podman build --pull=never --network host --format docker --tag "$IMAGE" --iidfile /run/scratch/iid "${volumes[@]}" \
    --file "$root/deploy/container/Dockerfile" "$root" >"$cache/container-build.log" 2>&1 || true
  if [[ ! -s /run/scratch/iid ]]; then
    tail -60 "$cache/container-build.log" >&2
    fail "podman build failed; see $cache/container-build.log"
  fi
  podman image prune --force >/dev/null
}

# --- Tools of the scenarios ---------------------------------------------------------------------------------------------------

# Runs $2... up to 30 s long, until it succeeds; $1 says what is awaited.
await() {
  local what="$1" deadline=$((SECONDS + 30))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || fail "waited 30 s in vain for: $what"
    sleep 0.05
  done
}

# Fails unless $2... succeeds; $1 says what is expected.
expect() {
  local what="$1"
  shift
  "$@" || fail "expected: $what (failed: $*)"
}

# Fails if $2... succeeds; $1 says what is expected.
expect_not() {
  local what="$1"
  shift
  if "$@"; then fail "expected: $what (succeeded: $*)"; fi
}

# The addresses that the daemon in container $1 says it listens on, one a line.
listening() {
  podman logs "$1" 2>&1 | sed -n 's/.*listening address=\([^ ]*\).*/\1/p'
}

has_listener() {
  listening "$1" | grep -q "^$2"
}

# Starts netprovd in a container named $1. Arguments up to `--` go to podman, the rest to netprovd.
start_daemon() {
  local name="$1" options=()
  shift
  while [[ $# -gt 0 && "$1" != -- ]]; do
    options+=("$1")
    shift
  done
  [[ $# -eq 0 ]] || shift
  mkdir -p "/run/scratch/state-$name"
  podman run --detach --name "$name" --privileged --volume /run/netns:/run/netns:rshared \
    --volume /run/netprov:/run/netprov --volume "/run/scratch/state-$name:/var/lib/netprov" \
    "${options[@]}" "$IMAGE" "$@" >/dev/null
  await "netprovd serves its socket" has_listener "$name" unix:
}

# Removes container $1; its log goes to stderr when the scenario fails.
drop() {
  podman rm --force --time 0 "$1" >/dev/null
}

# The image's own `contain`, run outside of any container.
contain() {
  "$image_root/usr/bin/contain" "$@"
}

namespace_exists() {
  ip netns list | awk '{ print $1 }' | grep -qxF "$1"
}

link_exists() {
  ip link show dev "$1" >/dev/null 2>&1
}

# Prints field $3 (a path for python's eval of one link object) of link $2 in namespace $1, "" meaning this one, as `ip` sees it.
link_field() {
  local in_namespace=()
  [[ -z "$1" ]] || in_namespace=(-n "$1")
  ip "${in_namespace[@]}" -j link show dev "$2" |
    /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)[0][sys.argv[1]])' "$3"
}

# --- The scenarios ------------------------------------------------------------------------------------------------------------

image_holds_what_runs_and_no_compiler() {
  expect "every library is there" podman run --rm --entrypoint /bin/sh "$IMAGE" -c \
    '! ldd /usr/sbin/netprovd /usr/bin/contain | grep "not found"'
  expect "no build tools" podman run --rm --entrypoint /bin/sh "$IMAGE" -c \
    'for tool in g++ cc bazel protoc java; do if command -v $tool; then exit 1; fi; done'
  expect "nothing of the machine's apt set-up" podman run --rm --entrypoint /bin/sh "$IMAGE" -c \
    'test ! -s /etc/apt/apt.conf.d/99proxy'
}

socket_drives_the_daemon_from_outside() {
  start_daemon netprov-socket --network host
  contain net create np-a
  contain net create np-b
  expect "ip netns lists np-a" namespace_exists np-a
  expect "the container sees it too" podman exec netprov-socket test -e /run/netns/np-a

  contain net veth --host np-host0 --ns np-a --peer np-peer0
  expect "the host end is outside" link_exists np-host0
  expect "the peer is in np-a" ip -n np-a link show dev np-peer0
  expect "the two are a pair" test "$(link_field "" np-host0 link_index)" = "$(link_field np-a np-peer0 ifindex)"
  contain net veth list | grep -q np-host0 || fail "contain net veth list does not show np-host0"

  contain net delete np-a
  expect_not "np-a is gone" namespace_exists np-a
  expect_not "its veth is gone" link_exists np-host0
  expect "np-b is still there" namespace_exists np-b
  contain net delete np-b
  expect "no namespace is left" test -z "$(ip netns list)"
  drop netprov-socket
}

tcp_drives_the_daemon_from_another_container() {
  # The client's container lives in a namespace of its own; a veth that `ip` made leads to the daemon.
  ip netns add np-client
  ip link add np-tcp0 type veth peer name np-tcp1 netns np-client
  ip address add 192.0.2.1/30 dev np-tcp0
  ip link set np-tcp0 up
  ip -n np-client address add 192.0.2.2/30 dev np-tcp1
  ip -n np-client link set np-tcp1 up

  podman run --rm --entrypoint /usr/bin/contain -v /run/scratch:/run/scratch "$IMAGE" \
    pki init --dir /run/scratch/pki --server 192.0.2.1 --client np
  echo '{version: 1, rules: [{who: ["cn:np"], role: admin}]}' >/run/scratch/policy.yaml
  start_daemon netprov-tcp --network host -v /run/scratch:/run/scratch -- --listen 192.0.2.1:0 \
    --policy /run/scratch/policy.yaml --tls-cert /run/scratch/pki/server.pem --tls-key /run/scratch/pki/server-key.pem \
    --tls-client-ca /run/scratch/pki/ca.pem --tls-crl /run/scratch/pki/crl.pem
  await "netprovd serves TCP" has_listener netprov-tcp 192.0.2.1:
  local endpoint
  endpoint="$(listening netprov-tcp | grep '^192\.0\.2\.1:')"
  remote() {
    podman run --rm --network ns:/run/netns/np-client -v /run/scratch:/run/scratch --entrypoint /usr/bin/contain "$IMAGE" \
      --endpoint "$endpoint" --tls-ca /run/scratch/pki/ca.pem --tls-cert /run/scratch/pki/np.pem \
      --tls-key /run/scratch/pki/np-key.pem "$@"
  }
  remote net create np-remote
  expect "ip netns lists np-remote" namespace_exists np-remote
  remote net veth --host np-host1 --ns np-remote
  expect "the host end is where the daemon is" link_exists np-host1
  remote net list -o name | grep -q np-remote || fail "the list over TCP lacks np-remote"
  remote net delete np-remote
  expect_not "np-remote is gone" namespace_exists np-remote
  expect_not "its veth is gone" link_exists np-host1
  expect "what ip made is untouched" link_exists np-tcp0
  drop netprov-tcp
  ip link delete np-tcp0
  ip netns delete np-client
}

foreign_namespaces_are_seen_and_left_alone() {
  ip netns add np-foreign
  start_daemon netprov-foreign --network host
  contain net list -o name | grep -q np-foreign || fail "contain net list lacks what ip netns made"
  expect_not "a foreign namespace is not deleted" contain net delete np-foreign
  expect "np-foreign is still there" namespace_exists np-foreign
  drop netprov-foreign
  ip netns delete np-foreign
}

objects_survive_a_killed_container() {
  start_daemon netprov-killed --network host
  contain net create np-kept
  contain net veth --host np-host2 --ns np-kept
  podman kill --signal KILL netprov-killed >/dev/null
  podman wait netprov-killed >/dev/null
  expect "np-kept outlives the container" namespace_exists np-kept
  expect "its veth too" link_exists np-host2
  podman rm netprov-killed >/dev/null

  start_daemon netprov-killed --network host
  contain net show np-kept >/dev/null || fail "the new daemon does not know np-kept"
  contain net delete np-kept
  expect_not "np-kept is gone" namespace_exists np-kept
  expect_not "its veth is gone" link_exists np-host2
  drop netprov-killed
}

image_is_healthy_and_stops_in_order() {
  start_daemon netprov-health --network host
  expect "the image's health check passes" podman healthcheck run netprov-health
  podman stop --time 20 netprov-health >/dev/null
  expect "SIGTERM ends netprovd with status 0" \
    test "$(podman inspect --format '{{.State.ExitCode}}' netprov-health)" -eq 0
  drop netprov-health
}

tcp_without_insecure_refuses_to_start() {
  local status=0
  timeout --kill-after 5 30 podman run --name netprov-refused --privileged --network host "$IMAGE" --listen 127.0.0.1:0 \
    >/run/scratch/refused.log 2>&1 || status=$?
  expect "a status of its own that says failure" test "$status" -ne 0 -a "$status" -lt 124
  expect "the message names the flag" grep -q -- --insecure /run/scratch/refused.log
  drop netprov-refused
}

# --- The run ------------------------------------------------------------------------------------------------------------------

SCENARIOS=(
  image_holds_what_runs_and_no_compiler
  socket_drives_the_daemon_from_outside
  tcp_drives_the_daemon_from_another_container
  foreign_namespaces_are_seen_and_left_alone
  objects_survive_a_killed_container
  image_is_healthy_and_stops_in_order
  tcp_without_insecure_refuses_to_start
)

run_scenarios() {
  local number=0 failures=0 status name leftover
  ip link set lo up
  image_root="$(podman image mount "$IMAGE")"
  echo "1..${#SCENARIOS[@]}"
  for name in "${SCENARIOS[@]}"; do
    number=$((number + 1))
    set +e
    (
      set -e
      "$name"
    ) >/run/scratch/scenario.log 2>&1
    status=$?
    set -e
    if [[ $status -eq 0 ]]; then
      echo "ok $number - $name"
      continue
    fi
    failures=$((failures + 1))
    echo "not ok $number - $name"
    sed 's/^/# /' /run/scratch/scenario.log
    for leftover in $(podman ps --all --quiet); do
      podman logs "$leftover" 2>&1 | tail -20 | sed 's/^/# daemon: /'
      podman rm --force --time 0 "$leftover" >/dev/null
    done
    for leftover in $(ip netns list | awk '{ print $1 }'); do ip netns delete "$leftover"; done
    ip -br link | awk '$1 != "lo" { sub(/@.*/, "", $1); print $1 }' | while read -r leftover; do
      ip link delete "$leftover" || true
    done
    rm -rf /run/netprov/* /run/scratch/state-*
  done
  podman image unmount "$IMAGE" >/dev/null
  [[ $failures -eq 0 ]]
}

# Cgroups are the one thing that no namespace of the test's own holds.
remove_cgroups() {
  find /sys/fs/cgroup -depth -type d -path '*/libpod_parent*' -exec rmdir {} + 2>/dev/null || true
}

case "${NETPROV_CONTAINER_TEST_STAGE:-}" in
  "")
    if [[ "${NETPROV_TEST_SKIP_CONTAINER:-}" == 1 ]]; then
      echo "1..0 # SKIP NETPROV_TEST_SKIP_CONTAINER=1"
      exit 0
    fi
    enter_private_namespaces
    ;;
  inside)
    mkdir -p "$cache"
    exec 9>"$cache/container-test.lock"
    flock 9
    make_private_run
    configure_podman
    make_base_image
    build_image
    status=0
    NETPROV_CONTAINER_TEST_STAGE=offline unshare --net "$0" 9>&- || status=$?
    remove_cgroups
    exit "$status"
    ;;
  offline)
    run_scenarios
    ;;
esac
