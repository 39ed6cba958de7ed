# SPDX-License-Identifier: Apache-2.0
"""What a person at a terminal sees: the status line, each file's path, the hint, the table, Ctrl-C once and twice."""
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import unittest

import family
import need
import netns
import traffic

IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns")


class Terminal:
    """shardcap on a pseudo-terminal of 100 columns, whose Ctrl-C is that of a terminal."""

    def __init__(self, test, namespace, *args):
        self.test, self.work = test, family.workdir(test)
        self.datadir = self.work / "data"
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        self.master, self.seen = master, b""
        self.command = [*netns.enter(namespace), str(family.BIN / "shardcap"), f"-datadir={self.datadir}",
                        f"-rundir={self.work}/run", f"-summary={self.work}/summary.json",
                        "-prometheusx.listen-address=127.0.0.1:0", *args]

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(self.command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal,
                                        env=family.clean_env(TERM="xterm"))
        os.close(slave)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        test.addCleanup(self.kill)

    def _read(self):
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.seen += data

    @property
    def text(self):
        return self.seen.decode("utf-8", "replace")

    def until(self, pattern, timeout=30, flags=0):
        return family.until(lambda: re.search(pattern, self.text, flags), f"the terminal shows {pattern!r}", timeout,
                            lambda: self.text)

    def ctrl_c(self):
        os.write(self.master, b"\x03")

    def wait(self, timeout=30):
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running\n{self.text}") from None
        self.reader.join(5)
        return status

    def kill(self):
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()


STATUS = (r"\d+:\d\d flows [\d,]+ \([\d,]+ unnamed\) files [\d,]+ packets [\d,]+ lost [\d,]+ mem [\d,]+ [KMG]B "
          r"http://127\.0\.0\.1:\d+")


class AtATerminal(unittest.TestCase):
    def start(self, *args):
        self.a, self.b = netns.pair(self)
        return Terminal(self, self.a.name, "-uuid.source=hash", "-flowtimeout=500ms", *args)

    def test_a_run_from_start_to_table(self):
        t = self.start("-interface=veth0")
        t.until(STATUS)
        server = traffic.Server(self, self.a)
        for _ in range(3):
            traffic.fetch(self.b, "10.77.0.1", server.port, 2000)
        t.until(r"hash_[0-9A-F]{16}\.pcap\.gz")
        t.until(r"files 3 packets [1-9]\d* lost 0")
        found = sorted(str(p) for p in t.datadir.rglob("*.pcap.gz"))
        self.assertEqual(len(found), 3)
        for path in found:
            t.until(re.escape(os.path.relpath(path, t.datadir)))
        before = len(t.seen)
        t.ctrl_c()
        self.assertEqual(t.wait(), 0, t.text)
        table = t.seen[before:].decode()
        for word in ("delivered", "saved", "lost", "flows", "files"):
            self.assertRegex(table, rf"(?i){word}")
        self.assertIn("lost 0", t.text)

    def test_the_hint_after_ten_seconds_of_silence(self):
        t = self.start("-interface=veth0")
        found = t.until(r"(?s)(veth0).*?(?i:loopback).*?(curl \S+)", 40)
        self.assertTrue(found)
        t.ctrl_c()
        self.assertEqual(t.wait(), 0, t.text)

    def test_a_second_ctrl_c_skips_the_grace(self):
        t = self.start("-interface=veth0", "-sigtermwait=100s")
        t.until(STATUS)
        server = traffic.Server(self, self.a)
        traffic.fetch(self.b, "10.77.0.1", server.port, 2000)
        t.until(r"packets [1-9]\d* lost 0")
        t.ctrl_c()
        t.until(r"(?i)stopping|ctrl-c again|once more|grace")
        t.ctrl_c()
        self.assertEqual(t.wait(), 0, t.text)
        self.assertEqual(len(list(t.datadir.rglob("*.pcap.gz"))), 1)
        self.assertFalse([p for p in t.work.rglob("*.part") if p.is_file()])

    def test_ctrl_s_stops_the_screen_and_nothing_else(self):
        """While nobody can see anything a shard dies, is replaced, and files are written."""
        t = self.start("-interface=veth0", "-log.level=debug")
        t.until(STATUS)
        os.write(t.master, b"\x13")
        server = traffic.Server(self, self.a)

        def shards():
            return [pid for pid, name in family.children_of(t.process.pid) if name == "shardcap-shard"]
        for round_ in range(3):
            victim = family.until(shards, "a shard is there")[0]
            os.kill(victim, signal.SIGKILL)
            family.until(lambda: shards() and victim not in shards(), "it is replaced while the screen stands still")
            traffic.fetch(self.b, "10.77.0.1", server.port, 2000)
        family.until(lambda: len(list(t.datadir.rglob("*.pcap.gz"))) == 3, "the files are there")
        os.write(t.master, b"\x11")
        t.until(r"files 3 packets")
        t.ctrl_c()
        self.assertEqual(t.wait(), 0, t.text)

    def test_lines_of_children_take_the_place_of_the_status_line(self):
        t = self.start("-interface=veth0")
        t.until(STATUS)
        self.a.ip("link", "set", "veth0", "down")
        t.until(r"\r\x1b\[K\S+Z (INFO|WARNING) dispatcher interface veth0")
        t.ctrl_c()
        self.assertEqual(t.wait(), 0, t.text)

    def test_sigusr1_prints_the_table_and_the_run_goes_on(self):
        a, b = netns.pair(self)
        run = family.Family(self, "-interface=veth0", "-flowtimeout=60s", namespace=a.name).ready()
        server = traffic.Server(self, a)
        traffic.fetch(b, "10.77.0.1", server.port, 5000)
        run.until(lambda: run.metric("shardcap_packets_consumed_total") > 8, "packets")
        for n in (1, 2):
            os.kill(run.supervisor(), signal.SIGUSR1)
            run.until(lambda: len(re.findall(r"(?m)^packets delivered +\d+$", run.log)) == n, "the table")
        memory = re.search(r"(?m)^  in memory +(\d+)", run.log)
        delivered = re.search(r"(?m)^packets delivered +(\d+)$", run.log)
        self.assertEqual(memory.group(1), delivered.group(1))
        self.assertEqual(run.stop(), 0, run.log)
        self.assertNotIn("in memory", run.log.rsplit("packets delivered", 1)[1])

    def test_no_control_bytes_where_there_is_no_terminal(self):
        a, _ = netns.pair(self)
        run = family.Family(self, "-interface=veth0", "-uuid.source=hash", namespace=a.name).ready()
        self.assertEqual(run.stop(), 0, run.log)
        self.assertNotRegex(run.log, r"[\x00-\x08\x0b-\x1f]")
        self.assertRegex(run.log, r"(?i)saved")


if __name__ == "__main__":
    unittest.main()
