#!/bin/bash
# Prints the directory in which results of builds are kept, for Bazel's --disk_cache. It is that of the compiler and the
# libraries that are installed: what Bazel compares does not name Debian's headers, so that after an upgrade, or in a container
# with other versions, it would take what was built with those of before.
#
# Environment:
#   NETPROV_CACHE   where all that is kept; default ~/.cache/netprov
set -euo pipefail
export LC_ALL=C

# All that is installed of the packages that a build needs and of what these depend on, two steps far, with their versions.
list="$(dirname "${BASH_SOURCE[0]}")/debian-packages.txt"
mapfile -t names < <(awk '/^\[/ { on = ($1 == "[build]"); next } { sub(/#.*/, "") } on && NF && $1 !~ /^bazel/ { print $1 }' "$list")
for _ in 1 2; do
  mapfile -t names < <({
    printf '%s\n' "${names[@]}"
    # Some are names that other packages provide.
    dpkg-query -W -f '${Depends}\n' "${names[@]}" 2>/dev/null | grep -oE '(^|[,|] *)[a-z0-9][a-z0-9+.-]+' | tr -d ',| ' || true
    # All of Debian 12 have OpenSSL 3.0 and systemd 252, whose patches, of which there are many, keep their interfaces.
  } | grep -vE '^lib(ssl|systemd)' | sort -u)
done
versions="$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' "${names[@]}" 2>/dev/null | grep '^installed ' || true)"
echo "${NETPROV_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/netprov}/bazel/$(sha256sum <<<"$versions" | cut -c1-16)"
