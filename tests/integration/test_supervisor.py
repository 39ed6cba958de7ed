# SPDX-License-Identifier: Apache-2.0
"""The supervisor as a service manager sees it, and how it takes being asked to stop at any moment."""
import os
import pathlib
import signal
import socket
import time
import unittest

import family
import need
import netns
import traffic

IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns")


class Manager:
    """The other end of NOTIFY_SOCKET: takes datagrams as systemd does."""

    def __init__(self, test, path):
        self.path, self.seen = str(path), []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.socket.setblocking(False)
        test.addCleanup(self.socket.close)

    def lines(self):
        while True:
            try:
                self.seen += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.seen

    def count(self, prefix):
        return sum(line.startswith(prefix) for line in self.lines())


class Notify(unittest.TestCase):
    def start(self, *args, **env):
        self.a, self.b = netns.pair(self)
        work = family.workdir(self)
        self.manager = Manager(self, work / "notify")
        env["NOTIFY_SOCKET"] = self.manager.path
        return family.Family(self, "-interface=veth0", "-uuid.source=hash", *args, namespace=self.a.name, work=work,
                             env=env)

    def test_ready_status_stopping_in_this_order(self):
        run = self.start("-shards=3").ready()
        family.until(lambda: self.manager.count("READY=1"), "READY=1 comes")
        server = traffic.Server(self, self.a)
        traffic.fetch(self.b, "10.77.0.1", server.port, 2000)
        family.until(lambda: [s for s in self.manager.lines()
                              if s.startswith("STATUS=capturing: 5 of 5 processes up, flows 1")], "the status says so")
        self.assertEqual(run.stop(), 0, run.log)
        lines = self.manager.lines()
        self.assertEqual(lines.count("READY=1"), 1)
        self.assertEqual(lines.count("STOPPING=1"), 1)
        self.assertLess(lines.index("READY=1"), lines.index("STOPPING=1"))
        self.assertEqual(self.manager.count("WATCHDOG=1"), 0)  # nobody asked for it

    def test_what_is_sent_after_ready_is_captured(self):
        """From the first packet on."""
        self.a, self.b = netns.pair(self)
        server = traffic.Server(self, self.a)
        for i in range(4):
            work = family.workdir(self)
            self.manager = Manager(self, work / "notify")
            run = family.Family(self, "-interface=veth0", "-uuid.source=hash", namespace=self.a.name, work=work,
                                env={"NOTIFY_SOCKET": self.manager.path})
            while not self.manager.count("READY=1") and run.process.poll() is None:
                time.sleep(0.001)
            traffic.fetch(self.b, "10.77.0.1", server.port, 2000)
            self.assertEqual(run.stop(), 0, run.log)
            files = run.files()
            self.assertEqual(len(files), 1, run.log)
            first = next(iter(files.values())).records[0]
            self.assertEqual(first.data[47], 2, "its SYN")

    def test_watchdog_goes_on_while_children_die(self):
        run = self.start(WATCHDOG_USEC="200000").ready()
        for _ in range(3):
            before = self.manager.count("WATCHDOG=1")
            victim = run.children()["shardcap-shard"][0]
            os.kill(victim, signal.SIGKILL)
            run.until(lambda: self.manager.count("WATCHDOG=1") >= before + 5, "five more signs of life")
            run.ready()
        self.assertEqual(run.stop(), 0, run.log)

    def test_no_watchdog_for_somebody_else(self):
        run = self.start(WATCHDOG_USEC="1000", WATCHDOG_PID="1").ready()
        family.until(lambda: self.manager.count("STATUS=capturing") >= 2, "two status lines went by")
        self.assertEqual(self.manager.count("WATCHDOG=1"), 0)
        self.assertEqual(run.stop(), 0, run.log)


class Stopping(unittest.TestCase):
    def start(self, *args):
        self.a, self.b = netns.pair(self)
        return family.Family(self, "-interface=veth0", "-uuid.source=hash", "-shards=2", *args, namespace=self.a.name)

    def test_sigterm_twice_and_more(self):
        """The first is honoured, the second ends the grace, further ones change nothing: all is published."""
        run = self.start("-sigtermwait=100s").ready()
        server = traffic.Server(self, self.a)
        for _ in range(4):
            traffic.fetch(self.b, "10.77.0.1", server.port, 100_000)
        before = run.metric("shardcap_packets_delivered_total")
        os.kill(run.process.pid, signal.SIGTERM)
        run.until(lambda: run.said("stopping grace"), "it stops")
        traffic.fetch(self.b, "10.77.0.1", server.port, 3000)  # within the grace
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= before + 8, "the fifth flow is there")
        for _ in range(3):
            if run.process.poll() is None:
                os.kill(run.process.pid, signal.SIGTERM)
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), 5)
        self.assertEqual(run.leftovers(), [])

    def test_sigterm_at_every_stage_of_the_start(self):
        """After each line that a start says at debug level, and before the first; nothing is left running."""
        lines = ("", "listening on", "started child=hub", r"started child=shard\[0\]", r"started child=shard\[1\]",
                 "started child=dispatcher", "running shards", "is captured")
        for line in lines:
            for again in (1, 2):
                with self.subTest(after=line, times=again):
                    run = self.start("-log.level=debug")
                    # The exec must be over: before it the signal would meet Python.
                    run.until(lambda: pathlib.Path(f"/proc/{run.process.pid}/cmdline").read_bytes().split(b"\0")[0]
                              .endswith(b"/shardcap"), "it is executed")
                    run.until(lambda: run.said(line), line)
                    children = [p for pids in run.children().values() for p in pids]
                    for _ in range(again):
                        if run.process.poll() is None:
                            os.kill(run.process.pid, signal.SIGTERM)
                    status = run.wait()
                    if line or status != -signal.SIGTERM:  # in its first instructions a process has no handler yet
                        self.assertEqual(status, 0, run.log)
                        self.assertEqual(run.summary()["drops"], {})
                    self.assertEqual([p for p in children if os.path.exists(f"/proc/{p}")], [])

    def test_a_shard_that_stands_still_is_replaced(self):
        """SIGSTOP, with packets in its ring: found by the lack of progress, killed, and nothing is lost."""
        run = self.start().ready()
        server = traffic.Server(self, self.a)
        victims = sorted(run.children()["shardcap-shard"])
        for pid in victims:
            os.kill(pid, signal.SIGSTOP)
        for _ in range(6):
            traffic.fetch(self.b, "10.77.0.1", server.port, 3000)
        run.until(lambda: not set(victims) & set(run.children().get("shardcap-shard", [])), "both are replaced", 60)
        self.assertRegex(run.log, "killing a child that leaves its ring alone")
        run.ready()
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), 6)


class Interfaces(unittest.TestCase):
    def test_a_new_interface_is_captured_without_a_restart(self):
        a, b, c = (netns.Namespace(self) for _ in range(3))
        netns.join(a, b, "one", "veth0", 77)
        run = family.Family(self, "-uuid.source=hash", namespace=a.name).ready()
        before = run.children()
        netns.join(a, c, "two", "veth0", 78)
        run.ready(2)
        server = traffic.Server(self, a)
        traffic.fetch(b, "10.77.0.1", server.port, 3000)
        traffic.fetch(c, "10.78.0.1", server.port, 3000)
        self.assertEqual(run.children(), before)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), 2)


if __name__ == "__main__":
    unittest.main()
