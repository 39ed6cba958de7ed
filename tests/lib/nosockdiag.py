# SPDX-License-Identifier: Apache-2.0
"""Runs a program as on a kernel without NETLINK_SOCK_DIAG: socket(AF_NETLINK, .., NETLINK_SOCK_DIAG) fails with
EPROTONOSUPPORT. WRAPPER stands before the command."""
import ctypes
import os
import platform
import struct
import sys

WRAPPER = (sys.executable, os.path.abspath(__file__))

SYS_SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
AF_NETLINK, NETLINK_SOCK_DIAG, EPROTONOSUPPORT = 16, 4, 93
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7fff0000, 0x00050000


def program():
    """struct sock_filter[]: nr, args[0] and args[2] must all fit, else the call is allowed."""
    steps = [(LOAD, 0, 0, 0), (JUMP_EQUAL, 0, 5, SYS_SOCKET), (LOAD, 0, 0, 16), (JUMP_EQUAL, 0, 3, AF_NETLINK),
             (LOAD, 0, 0, 32), (JUMP_EQUAL, 0, 1, NETLINK_SOCK_DIAG), (RETURN, 0, 0, ERRNO | EPROTONOSUPPORT),
             (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *s) for s in steps), len(steps)


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    code, count = program()
    buffer = ctypes.create_string_buffer(code)
    head = struct.pack("HxxxxxxQ", count, ctypes.addressof(buffer))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(head), 0, 0) != 0:
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
