# SPDX-License-Identifier: Apache-2.0
"""Network namespaces joined by a veth pair, and code run inside them. Needs root, if only that of a user namespace."""
import ctypes
import itertools
import os
import socket
import subprocess
import threading

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, timeout=30)


def enter(name):
    """Words to put before a command so that it runs in the namespace."""
    return ("ip", "netns", "exec", name) if name else ()


def inside(name, function, *args):
    """Calls function in the namespace (None: here) in a thread of its own and returns what it returns. Sockets made
    there stay there."""
    if name is None:
        return function(*args)
    result = []

    def body():
        try:
            with open(f"/run/netns/{name}") as f:
                if _libc.setns(f.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            result.append((function(*args), None))
        except BaseException as e:  # noqa: handed to the caller
            result.append((None, e))
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    value, error = result[0]
    if error is not None:
        raise error
    return value


class Namespace:
    """One namespace with loopback up; removed at the end of the test."""

    def __init__(self, test):
        self.name = f"sc{os.getpid()}x{next(_numbers)}"
        ip("netns", "add", self.name)
        test.addCleanup(subprocess.run, ["ip", "netns", "del", self.name], capture_output=True, check=False)
        self.ip("link", "set", "lo", "up")

    def ip(self, *args):
        ip("-n", self.name, *args)

    def run(self, *command, **how):
        return subprocess.run([*enter(self.name), *command], check=True, capture_output=True, timeout=60, **how)

    def inside(self, function, *args):
        return inside(self.name, function, *args)

    def send_frames(self, frames, interface="veth0"):
        """Puts whole frames on the wire, which no socket would send."""
        def go():
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
                s.bind((interface, 0))
                for frame in frames:
                    s.send(frame)
        self.inside(go)


def join(a, b, name_a="veth0", name_b="veth0", net=77, mtu=None):
    """Joins two Namespaces: 10.<net>.0.1 and fd<net>::1 at a, .2 at b; up and without duplicate address detection."""
    # Made under passing names: both ends may want the same one.
    first, second = f"t{next(_numbers)}a", f"t{next(_numbers)}b"
    a.ip("link", "add", first, "type", "veth", "peer", "name", second)
    a.ip("link", "set", second, "netns", b.name)
    for space, passing, name, host in ((a, first, name_a, 1), (b, second, name_b, 2)):
        space.ip("link", "set", passing, "name", name)
        space.ip("addr", "add", f"10.{net}.0.{host}/24", "dev", name)
        space.ip("addr", "add", f"fd{net:02d}::{host}/64", "dev", name, "nodad")
        if mtu:
            space.ip("link", "set", name, "mtu", str(mtu))
        space.ip("link", "set", name, "up")


def pair(test, **how):
    """(server namespace, client namespace), joined."""
    a, b = Namespace(test), Namespace(test)
    join(a, b, **how)
    return a, b
