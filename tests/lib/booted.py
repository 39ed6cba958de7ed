# SPDX-License-Identifier: Apache-2.0
"""A systemd of its own on an overlay of the machine, with what `make install` installs; see boot_systemd.sh.

Failure policy: a command inside that fails raises with what it and the journal said.
"""
import os
import pathlib
import signal
import subprocess

from family import until

LIB = pathlib.Path(__file__).resolve().parent


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

    def journal(self):
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", "shardcap", check=False).stdout

    def show(self, name):
        return self.run("systemctl", "show", "-P", name, "shardcap").stdout.strip()
