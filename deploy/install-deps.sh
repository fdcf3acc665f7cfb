#!/bin/bash
# Installs the Debian packages of the named groups, as far as they are missing. Needs neither root nor the network when
# nothing is missing.
#
#   deploy/install-deps.sh GROUP...      groups: see deploy/debian-packages.txt
set -euo pipefail

list="$(dirname "${BASH_SOURCE[0]}")/debian-packages.txt"
if [[ $# -eq 0 ]]; then
  echo "usage: $0 GROUP... (one of: $(sed -n 's/^\[\([a-z]*\)\].*/\1/p' "$list" | paste -sd' '))" >&2
  exit 2
fi

# Prints "package [command:NAME]" for each package of group $1.
packages_of() {
  awk -v group="[$1]" '{ sub(/#.*/, "") } /^\[/ { on = ($1 == group); found += on; next } on && NF { print }
                       END { exit !found }' "$list"
}

missing=()
for group in "$@"; do
  if ! packages="$(packages_of "$group")"; then
    echo "$0: no group '$group' in $list" >&2
    exit 2
  fi
  while read -r package alternative; do
    if [[ -n "$alternative" ]] && command -v "${alternative#command:}" >/dev/null; then
      continue
    fi
    status="$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null || true)"
    if ! grep -qx installed <<<"$status"; then
      missing+=("$package")
    fi
  done <<<"$packages"
done
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "Nothing is missing of: $*" >&2
  exit 0
fi
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if [[ "$(id -u)" -ne 0 ]]; then
  echo "$0: these Debian packages are missing, and only root can install them: ${missing[*]}" >&2
  exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt_get() {
  apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null >&2
}

# Mirrors fail now and then, so all of it is tried three times. A source that is none of ours may stay broken: what counts is
# whether the packages can be installed.
echo "Installing: ${missing[*]}" >&2
for pause in 5 20 0; do
  apt_get update || true
  if apt_get install -y --no-install-recommends "${missing[@]}"; then
    exit 0
  fi
  sleep "$pause"
done
echo "$0: cannot install ${missing[*]}; see apt-get's messages above" >&2
exit 1
