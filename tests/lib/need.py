# SPDX-License-Identifier: Apache-2.0
"""What a test needs from the machine: skipped where it is missing, failed where it is REQUIREd.

REQUIRE is a comma list in the environment (REQUIRE=netns,tshark,nanocat). A skip always says its reason; the runner
prints them grouped.
"""
import functools
import os
import shutil
import subprocess
import unittest


def _quiet(*command):
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@functools.lru_cache(None)
def has_netns():
    """Can this process make network namespaces by `ip netns` and join them by a veth pair?"""
    a, b = f"scprobe{os.getpid()}a", f"scprobe{os.getpid()}b"
    if not _quiet("ip", "netns", "add", a):
        return False
    try:
        return _quiet("ip", "-n", a, "link", "add", "v0", "type", "veth", "peer", "name", "v1") and \
            _quiet("ip", "netns", "add", b) and _quiet("ip", "-n", a, "link", "set", "v1", "netns", b)
    finally:
        _quiet("ip", "netns", "del", a)
        _quiet("ip", "netns", "del", b)


def _program(name):
    return lambda: shutil.which(name) is not None


def real_root():
    """Root over more than one user: not the root of a user namespace that maps itself alone."""
    with open("/proc/self/uid_map") as f:
        return os.geteuid() == 0 and sum(int(line.split()[2]) for line in f) > 65000


PROBES = {
    "netns": (has_netns, "network namespaces cannot be made here"),
    "tshark": (_program("tshark"), "tshark is not installed"),
    "nanocat": (_program("nanocat"), "nanocat is not installed"),
    "tcpdump": (_program("tcpdump"), "tcpdump is not installed"),
    "curl": (_program("curl"), "curl is not installed"),
    "man": (_program("man"), "man-db is not installed"),
    "systemd-analyze": (_program("systemd-analyze"), "systemd is not installed"),
    "dh": (_program("dh"), "debhelper is not installed"),
    "lintian": (_program("lintian"), "lintian is not installed"),
    "chromium": (_program("chromium"), "chromium is not installed"),
    "promtool": (_program("promtool"), "promtool is not installed"),
    "systemd": (lambda: os.path.exists("/lib/systemd/systemd"), "systemd is not installed"),
    "runsv": (_program("runsv"), "runit is not installed"),
    "pidns": (lambda: _quiet("unshare", "--pid", "--fork", "true"), "PID namespaces cannot be made here"),
    "root": (real_root, "needs to be root over several users"),
    "userns": (lambda: _quiet("unshare", "-Urn", "true"), "user namespaces cannot be made here"),
}


def required():
    return {word for word in os.environ.get("REQUIRE", "").replace(" ", ",").split(",") if word}


def need(*names):
    """Skips the calling test (or class, from setUpClass) unless all of PROBES' names are there."""
    for name in names:
        probe, reason = PROBES[name]
        if not probe():
            if name in required():
                raise AssertionError(f"{reason}, and REQUIRE names {name}")
            raise unittest.SkipTest(reason)
