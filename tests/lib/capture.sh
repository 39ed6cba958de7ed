#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# capture.sh SHARDCAP ARGUMENT... : runs a capture, as root where needed.
#
# Reading packets off an interface needs CAP_NET_RAW. Root has it; everyone else is sent through sudo, for this one
# program only, and is told so. shardcap itself gives the files to the person who called sudo. Failure policy: without
# root and without sudo, says which commands would help, and exits 1.
set -u

if [ "$(id -u)" -eq 0 ]; then
    exec "$@"
fi
for argument; do
    case $argument in
    -read | --read | -read=* | --read=* | -check | --check | -version | --version | -help | --help) exec "$@" ;;
    esac
done
if ! command -v sudo >/dev/null; then
    echo "capturing packets needs CAP_NET_RAW: run as root, install sudo, or give the capability to the one program" >&2
    echo "that captures: setcap cap_net_raw+p ${1%/*}/shardcap-dispatcher, and start $1 yourself" >&2
    exit 1
fi
echo "capturing packets needs CAP_NET_RAW, so this one program is started by sudo; the files will be yours"
exec sudo "$@"
