#!/bin/bash
# Runs quickstart.sh as root and without root, away from the machine's own namespaces. Prints TAP.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
work="$(mktemp -d)"
# Bazel leaves directories that can't be written to.
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir "$work/root"
chmod 0755 "$work"
failures=0

# Whether the output on stdin tells the whole story, in order.
tells_the_story() {
  tr '\n' ' ' | grep -qE 'listening address=unix:.*Created network namespace: netprov-demo-[0-9]+-a.*Created network namespace: netprov-demo-[0-9]+-b.*Created bridge: .*Created veth pair: port-a.*eth0.*Created veth pair: port-b.*Created veth pair: wan0.*( 1 received,.*){4}==> Done'
}

# Reports scenario $1 with description $2 as passed if it ended with status $3 = 0 and its output tells the story.
report() {
  local number="$1" what="$2" status="$3"
  if [[ $status -eq 0 ]] && tells_the_story <"$work/output"; then
    echo "ok $number - quickstart: $what"
  else
    failures=$((failures + 1))
    echo "not ok $number - quickstart: $what (status $status)"
    sed 's/^/# /' "$work/output"
  fi
}

echo 1..3

# What the scenarios that don't build for themselves use.
cache="${NETPROV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/netprov}"
options=(-c opt --symlink_prefix=/ "--disk_cache=$("$root/deploy/build-cache.sh")")
status=0
(
  cd "$root"
  bazel build "${options[@]}" //server:netprovd //client/cli:contain
) >"$work/output" 2>&1 </dev/null || status=$?
if [[ $status -ne 0 ]]; then
  sed 's/^/# /' "$work/output"
  echo "Bail out! netprovd and contain do not build"
  exit 1
fi
out="$(cd "$root" && bazel info "${options[@]}" bazel-bin 2>/dev/null)"
mkdir "$work/bin" "$work/deploy"
cp "$out/server/netprovd" "$out/client/cli/contain" "$work/bin"
cp "$root"/deploy/{quickstart.sh,install-deps.sh,debian-packages.txt} "$work/deploy"
chmod -R a+rX "$work"

# Runs "$@" where /run is private and the network is loopback alone, and fails if something is left in /run/netns. Bazel's
# server can't be reached from another network namespace, so with a HOME of its own there is one for this; it ends with the
# PID namespace.
isolated() {
  unshare --net --mount --propagation private --pid --fork --kill-child --mount-proc /bin/bash -c '
    mount -t tmpfs private /run
    ip link set lo up
    "$@"
    status=$?
    left="$(ls -A /run/netns 2>/dev/null)"
    if [[ -n "$left" ]]; then echo "left in /run/netns: $left"; fi
    [[ $status -ne 0 || -z "$left" ]] || status=1
    exit "$status"' isolated "$@"
}

if [[ "$(id -u)" -eq 0 ]]; then
  status=0
  isolated env HOME="$work/root" NETPROV_CACHE="$cache" "$root/deploy/quickstart.sh" >"$work/output" 2>&1 </dev/null || status=$?
  report 1 "as root, building what it needs" "$status"
  as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$work/home")
  mkdir "$work/home"
  chown 65534:65534 "$work/home"
else
  echo "ok 1 - quickstart: as root # SKIP needs root"
  as_user=(env)
fi

status=0
(cd / && "${as_user[@]}" "$work/deploy/quickstart.sh" --bin "$work/bin") >"$work/output" 2>&1 </dev/null || status=$?
report 2 "without root, in a user namespace" "$status"

# A failure in the middle: the second namespace can't be made. All is removed, and the status says so.
mkdir "$work/broken"
cp "$work/bin/netprovd" "$work/broken"
cat >"$work/broken/contain" <<EOF
#!/bin/sh
case "\$*" in "net create "*-b) echo refused >&2; exit 71 ;; esac
exec "$work/bin/contain" "\$@"
EOF
chmod -R a+rX "$work/broken"
chmod a+x "$work/broken/contain"
status=0
if [[ "$(id -u)" -eq 0 ]]; then
  isolated "$work/deploy/quickstart.sh" --bin "$work/broken" >"$work/output" 2>&1 </dev/null || status=$?
else
  "$work/deploy/quickstart.sh" --bin "$work/broken" >"$work/output" 2>&1 </dev/null || status=$?
fi
if [[ $status -eq 71 ]] && ! grep -q 'left in' "$work/output"; then
  echo "ok 3 - quickstart: cleans up after a failure"
else
  failures=$((failures + 1))
  echo "not ok 3 - quickstart: cleans up after a failure (status $status, expected 71)"
  sed 's/^/# /' "$work/output"
fi
[[ $failures -eq 0 ]]
