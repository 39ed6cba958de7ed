#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# packages.sh PURPOSE PACKAGE... : sees to it that Debian packages are installed.
#
# Asks dpkg first and leaves apt alone if nothing is missing. Otherwise says what it is going to install, and uses sudo
# for apt only, and only if it is not root. Failure policy: if apt cannot be used or fails, prints the list to install
# by hand and exits 1. On a system without dpkg it prints the list and goes on: the build says what it misses.
set -u

purpose=$1
shift

if ! command -v dpkg-query >/dev/null; then
    echo "$purpose: this is not a Debian system; if the next step misses something, install what matches: $*" >&2
    exit 0
fi

missing=()
for package; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "$purpose: all $# packages are installed"
    exit 0
fi

give_up() {
    echo "$purpose: $1. Install these by hand, then call make again:" >&2
    echo "    apt-get install ${missing[*]}" >&2
    exit 1
}

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || give_up "installing needs root, and there is no sudo"
    as_root=(sudo)
    echo "$purpose: asking sudo, for apt-get only"
fi
echo "$purpose: installing ${missing[*]}"
"${as_root[@]}" apt-get -q update || echo "$purpose: apt-get update failed; trying with the lists there are" >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" ||
    give_up "apt-get failed"
