# SPDX-License-Identifier: Apache-2.0
"""`shardcapctl top` on a pseudo-terminal: it draws, goes on when the hub dies, gives the terminal back; -once, -json."""
import fcntl
import itertools
import json
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

IN_USER_NAMESPACE = True


class Terminal:
    """A command on a terminal; `text` is all that it has drawn so far, without what moves the cursor."""

    def __init__(self, test, *command, term="xterm", rows=40, columns=120):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.master, self.seen = master, b""
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env=family.clean_env(TERM=term))
        self.slave = slave
        threading.Thread(target=self._read, daemon=True).start()
        test.addCleanup(os.close, slave)
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)

    def _read(self):
        try:
            while data := os.read(self.master, 65536):
                self.seen += data
        except OSError:
            pass

    @property
    def text(self):
        return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78]", b" ", self.seen).decode(errors="replace")

    def resize(self, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 120, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def key(self, text):
        os.write(self.master, text)


class Top(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need.need("netns")

    def setUp(self):
        self.run_ = family.Family(self, "-interface=lo", "-shards=2", "-uuid.source=none",
                                  namespace=netns.Namespace(self).name).ready()
        self.command = [str(family.BIN / "shardcapctl"), "-rundir", str(self.run_.rundir), "top"]

    def test_draws_and_quits(self):
        pids = [p for group in self.run_.children().values() for p in group]
        t = Terminal(self, *self.command)
        family.until(lambda: all(str(p) in t.text for p in pids), "all processes are drawn", log=lambda: t.text)
        self.assertIn("shard[1]", t.text)
        self.assertIsNone(t.process.poll())
        t.key(b"q")
        self.assertEqual(t.process.wait(20), 0)
        self.assertEqual(termios.tcgetattr(t.slave), t.before)

    def test_goes_on_when_the_hub_dies(self):
        t = Terminal(self, *self.command)
        old = self.run_.children()["shardcap-hub"][0]
        family.until(lambda: str(old) in t.text, "the hub is drawn", log=lambda: t.text)
        os.kill(old, signal.SIGKILL)
        self.run_.until(lambda: self.run_.children().get("shardcap-hub", [old]) != [old], "the hub is back")
        new = self.run_.children()["shardcap-hub"][0]
        # Only what differs is drawn, unless the size of the terminal changes.
        rows = itertools.cycle((41, 40))

        def drawn():
            t.resize(next(rows))
            return str(new) in t.text
        family.until(drawn, "its successor is drawn", log=lambda: t.text)
        t.key(b"\x1b")
        self.assertEqual(t.process.wait(20), 0)

    def test_nobody_there_and_a_small_terminal(self):
        for rows, columns in ((24, 80), (5, 20), (1, 1), (2, 500)):
            t = Terminal(self, *self.command, rows=rows, columns=columns)
            family.until(lambda: "q quits"[:columns] in t.text, "the last line is drawn", log=lambda: t.text)
            t.key(b"q")
            self.assertEqual(t.process.wait(20), 0)
        t = Terminal(self, *self.command[:2], "/nonexistent", "top", rows=3)
        family.until(lambda: "no shardcap at" in t.text, "it says so", log=lambda: t.text)
        t.process.send_signal(signal.SIGTERM)
        t.process.wait(20)
        self.assertEqual(termios.tcgetattr(t.slave), t.before)

    def test_no_terminal(self):
        for term in ("no-such-terminal", "dumb"):
            t = Terminal(self, *self.command, term=term)
            self.assertEqual(t.process.wait(20), 1, term)
            family.until(lambda: "-once" in t.text, "it says what does without")
            self.assertEqual(termios.tcgetattr(t.slave), t.before)
        done = subprocess.run(self.command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30,
                              env=family.clean_env(), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("-once", done.stderr)

    def test_once(self):
        code, out, err = family.run(*self.command[1:], "-once", program="shardcapctl")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"^shardcap \S+: ready\n")
        for pid in (p for group in self.run_.children().values() for p in group):
            self.assertRegex(out, rf"(?m)^\S+ +{pid} up ")
        self.assertNotIn("\x1b", out)
        code, out, err = family.run(*self.command[1:], "-once", "--json", program="shardcapctl")
        self.assertEqual((code, err, len(out.splitlines())), (0, "", 1))
        self.assertTrue(json.loads(out)["ready"])
        code, out, err = family.run("-rundir", "/nonexistent", "top", "-once", program="shardcapctl")
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(family.run("top", "-interval=0", program="shardcapctl")[0], 2)


if __name__ == "__main__":
    unittest.main()
