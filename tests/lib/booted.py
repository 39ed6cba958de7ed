# SPDX-License-Identifier: Apache-2.0
"""A systemd of its own on an overlay of the machine, with what `make install` installs; see boot_systemd.sh.

Failure policy: a command inside that fails raises with what it and the journal said.
"""
import os
import pathlib
import re
import signal
import subprocess

from family import until

LIB = pathlib.Path(__file__).resolve().parent

# 20 connections, one after the other, from here to another namespace.
PEER = """
import socket
s = socket.create_server(("10.9.0.2", 7000))
print("ready", flush=True)
for i in range(20):
    c, _ = s.accept()
    c.recv(1)
    c.close()
"""
CLIENT = """
import socket
for i in range(20):
    c = socket.create_connection(("10.9.0.2", 7000))
    c.send(b"x")
    c.recv(1)
    c.close()
"""


class Booted:
    """installed: a tree to lay over the root; work: a directory of the test."""

    def __init__(self, test, installed, work):
        top = work / "top"
        top.mkdir()
        self.log_path = work / "boot.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(["bash", str(LIB / "boot_systemd.sh"), str(installed), str(top)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        test.addCleanup(self.kill)
        self.init = until(self._init, "systemd is pid 1 of its namespace", 60, self.log_path.read_text)
        until(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() == "running",
              "systemd is running", 60, self.log_path.read_text)

    def _init(self):
        """Host pid of the namespace's first process once it is systemd."""
        if self.process.poll() is not None:
            raise AssertionError(f"did not boot: {self.log_path.read_text()}")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                return int(pid)
        return None

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # the namespace's processes go with its first one
        except ProcessLookupError:
            pass
        self.process.wait()

    def run(self, *command, check=True, netns=None, text=None):
        """Runs a command in all its namespaces."""
        inner = ["ip", "netns", "exec", netns] if netns else []
        done = subprocess.run(["nsenter", "-t", str(self.init), "-m", "-p", "-n", "-u", "-i", "-C", *inner, *command],
                              input=text, stdin=None if text else subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.journal()}")
        return done

    def wire(self):
        """veth0, with a namespace called peer at its other end."""
        for command in ("mkdir -p /run/netns", "ip netns add peer", "ip link add veth0 type veth peer name veth1",
                        "ip link set veth1 netns peer", "ip addr add 10.9.0.1/24 dev veth0", "ip link set veth0 up",
                        "ip -n peer addr add 10.9.0.2/24 dev veth1", "ip -n peer link set veth1 up"):
            self.run(*command.split())

    def traffic(self):
        self.run("bash", "-c", f"""set -e
coproc server {{ ip netns exec peer python3 -c '{PEER}'; }}
read -r _ <&"${{server[0]}}"
python3 -c '{CLIENT}'
""")

    def files(self):
        return self.run("find", "/var/lib/shardcap/data", "-name", "*.pcap.gz").stdout.split()

    def metric(self, name):
        page = self.run("curl", "-sf", "http://127.0.0.1:9990/metrics").stdout
        return sum(float(v) for v in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.M))

    def journal(self):
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", "shardcap", check=False).stdout

    def show(self, name):
        return self.run("systemctl", "show", "-P", name, "shardcap").stdout.strip()
