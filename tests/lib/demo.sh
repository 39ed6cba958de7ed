#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh BIN : what shardcap does, shown in half a minute and without root.
#
# Makes a user namespace with two network namespaces joined by a veth pair: a file server on one side, captured by
# shardcap; curl on the other, which fetches 50 small files and a large one. Then shows the tree of files and one flow
# packet by packet. Ends by itself and leaves nothing behind but the files, in a directory of its own that it names.
# Failure policy: anything that is missing is named, exit 1.
set -eu

show() { # show WORK : the tree of files, and one flow packet by packet
    local work=$1 one
    echo
    echo "one file per flow, named by its UUID:"
    (cd "$work" && find data -name '*.pcap.gz' -printf '%p %s bytes\n' | sort | awk '
        { bytes += $2; if (NR <= 8) print "  " $0 } END { print "  .. " NR " files, " bytes " bytes in all" }')

    # The shortest conversation: the first file by size that holds more than a handful of packets.
    one=$(find "$work/data" -name '*.pcap.gz' -size +0 -printf '%s %p\n' | sort -n | awk 'NR == 2 { print $2 }')
    echo
    echo "and ${one#"$work/"}, packet by packet (headers only: the payload never reaches the disk):"
    if command -v tcpdump >/dev/null; then
        gzip -dc "$one" | tcpdump -n -r - 2>/dev/null
    elif command -v tshark >/dev/null; then
        tshark -n -r "$one" 2>/dev/null
    else
        echo "  (tcpdump is not installed: make deps-demo)"
    fi
    echo
    echo "the files are in $work/data"
}

bin=$(realpath "$1")
if [ "${2:-}" != inside ]; then
    for tool in unshare ip curl python3; do
        command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || {
            echo "the demo needs $tool: make deps-demo installs it" >&2
            exit 1
        }
    done
    unshare -Urnm true 2>/dev/null || {
        echo "user namespaces are not allowed here (sysctl kernel.unprivileged_userns_clone or a container's seccomp)" >&2
        exit 1
    }
    work=$(mktemp -d "${TMPDIR:-/tmp}/shardcap-demo.XXXXXX")
    unshare -Urnm --fork --kill-child bash "$0" "$bin" inside "$work"
    rmdir "$work/data.staging" # empty, as nothing is left unfinished
    show "$work" # out here: in there tcpdump takes itself for root and fails to become somebody else
    exit
fi
work=$3

PATH=$PATH:/usr/sbin:/sbin
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

# What only the demo needs is gone with its namespace.
mount -t tmpfs none /run
mkdir /run/www
head -c 2000 /dev/zero >/run/www/small
head -c 50000000 /dev/zero >/run/www/large
ip netns add client
ip link set lo up
ip link add veth0 type veth peer name veth0 netns client
ip addr add 10.9.8.1/24 dev veth0
ip link set veth0 up
ip -n client addr add 10.9.8.2/24 dev veth0
ip -n client link set veth0 up

python3 -m http.server --bind 10.9.8.1 --directory /run/www 8000 >/dev/null 2>&1 &
"$bin/shardcap" -interface=veth0 -datadir="$work/data" -rundir=/run/shardcap -flowtimeout=1s \
    -prometheusx.listen-address=127.0.0.1:9990 >/run/log 2>&1 &
capture=$!

wait_for() { # wait_for WHAT COMMAND...
    local what=$1
    shift
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return
        kill -0 $capture 2>/dev/null || break
        sleep 0.05
    done
    echo "the demo waited in vain for: $what" >&2
    cat /run/log >&2
    exit 1
}
captures() { curl -fs http://127.0.0.1:9990/metrics | grep -q '^pcap_muxer_interfaces_with_captures 1'; }
in_client() { ip netns exec client "$@"; }
fifty_one() { [ "$(find "$work/data" -name '*.pcap.gz' | wc -l)" -eq 51 ]; }

wait_for "the capture" captures
wait_for "the file server" curl -fs -o /dev/null --head http://10.9.8.1:8000/small # over loopback: not captured
echo "capturing on veth0, fetching 50 files of 2 kB and one of 50 MB over it .."
for _ in $(seq 50); do
    in_client curl -fs -o /dev/null http://10.9.8.1:8000/small
done
in_client curl -fs -o /dev/null http://10.9.8.1:8000/large
wait_for "51 files" fifty_one
kill -TERM $capture
wait $capture
cat /run/log
