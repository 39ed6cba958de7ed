#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deb.sh VERSION COMMIT OUT : builds the Debian package of the tree as it stands into OUT.
#
# Failure policy: the first step that fails ends it; OUT keeps the build for a look.
set -euo pipefail
version=$1
commit=$2
out=$3
for tool in dpkg-buildpackage dh; do
    command -v "$tool" >/dev/null || { echo "make deb needs $tool: make deps-dev" >&2; exit 1; }
done
tree=$out/shardcap-$version
rm -rf "$out"
mkdir -p "$tree"
tar -c --exclude=./build --exclude=./.git --exclude=./data . | tar -x -C "$tree"
cp -r deploy/debian "$tree/debian"
# dh takes these from debian/; there is one source of each.
cp deploy/systemd/sysusers.conf "$tree/debian/shardcap.sysusers"
cp deploy/systemd/tmpfiles.conf "$tree/debian/shardcap.tmpfiles"
for unit in deploy/systemd/*.service; do
    name=$(basename "$unit")
    [ "$name" = shardcap.service ] && cp "$unit" "$tree/debian/$name" || cp "$unit" "$tree/debian/shardcap.$name"
done
cd "$tree"
COMMIT=$commit dpkg-buildpackage -b -us -uc >../build.log 2>&1 || { tail -n 40 ../build.log >&2; exit 1; }
cd - >/dev/null
ls "$out"/*.deb
