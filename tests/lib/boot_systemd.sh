#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# boot_systemd.sh INSTALLED TOP : boots a systemd of its own, to see what is installed run as a service.
#
# The root is an overlay of the machine's root with the tree INSTALLED put over it; what is written goes into a tmpfs at
# TOP (an empty directory). All namespaces but the user's are new, so nothing of the machine can be changed: neither
# files (systemd empties /tmp when it boots) nor mounts, cgroup settings or the network. Ends when it is killed.
# Failure policy: any step that fails ends it before systemd runs.
set -euo pipefail
if [ "${3:-}" != inside ]; then
    exec unshare --mount --pid --fork --net --uts --ipc --cgroup --kill-child bash "$0" "$1" "$2" inside
fi
installed=$1
top=$2
mount --make-rprivate /
mount -t tmpfs none "$top"
mkdir "$top/up" "$top/work" "$top/root"
cp -a "$installed/." "$top/up/"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/up,workdir=$top/work" "$top/root"
cd "$top/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs none run
mount -t tmpfs none tmp
mkdir run/lock
mount -t tmpfs none dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mkdir dev/shm dev/pts
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
pivot_root . tmp
umount -l /tmp
mount -t tmpfs none /tmp
ip link set lo up
export container=shardcap-test
exec /lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=false
