# SPDX-License-Identifier: Apache-2.0
"""`shardcapctl restart` and `drain` on a running family: what is replaced, what is refused, and when it is done."""
import fcntl
import json
import os
import signal
import subprocess
import unittest

import family
import need
import netns

IN_USER_NAMESPACE = True


class Restart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need.need("netns")

    def setUp(self):
        self.run_ = family.Family(self, "-interface=lo", "-shards=2", "-uuid.source=none",
                                  namespace=netns.Namespace(self).name).ready()

    def ctl(self, *args):
        return family.run("-rundir", self.run_.rundir, *args, program="shardcapctl")

    def pids(self):
        code, out, err = self.ctl("status", "-json")
        self.assertEqual(code, 0, err)
        return {p["process"] + str(p.get("shard", "")): p["pid"] for p in json.loads(out)["processes"]}

    def replaced(self, *args):
        """Names of the processes that have another pid once the command has returned."""
        before = self.pids()
        code, out, err = self.ctl(*args, "-within=60")
        self.assertEqual((code, err), (0, ""), out)
        self.assertTrue(out.startswith("ok "), out)
        after = self.pids()  # at once: -within has waited
        changed = [name for name in before if after[name] != before[name]]
        if args[1] != "all":  # and has said what is there now
            self.assertRegex(out, rf"^ok [^\n]* generation=(1\ndone pid=\d+ generation=2|2\ndone pid=\d+ generation=3)\n$")
        for name in changed:
            self.assertIn(f"done pid={after[name]} ", out)
        children = sorted(p for group in self.run_.children().values() for p in group)
        self.assertEqual(sorted(after.values()), children)
        return set(changed)

    def test_each(self):
        self.assertEqual(self.replaced("restart", "1"), {"shard1"})
        self.assertEqual(self.replaced("restart", "shard[0]"), {"shard0"})
        self.assertEqual(self.replaced("restart", "hub"), {"hub"})
        self.assertEqual(self.replaced("restart", "dispatcher"), {"dispatcher"})
        self.assertEqual(self.replaced("drain", "1"), {"shard1"})
        self.assertEqual(self.run_.ready().stop(), 0, self.run_.log)

    def test_all(self):
        self.assertEqual(self.replaced("restart", "all"), {"hub", "shard0", "shard1"})
        self.assertEqual(self.run_.ready().stop(), 0, self.run_.log)

    def test_refused(self):
        before = self.pids()
        for args in (("restart", "7"), ("restart", "nobody"), ("drain", "hub"), ("restart", "0 1")):
            code, out, err = self.ctl(*args)
            self.assertEqual((code, err), (1, ""), args)
            self.assertTrue(out.startswith("error "), out)
        code, out, _ = self.ctl("restart", "7", "--json")
        self.assertEqual((code, json.loads(out)["ok"]), (1, False))
        self.assertTrue(json.loads(out)["text"])
        for args in (("restart",), ("restart", "1", "2"), ("restart", "1\n2"), ("drain", "-within", "0"), ("drain", "1", "2")):
            self.assertEqual(self.ctl(*args)[0], 2, args)
        self.assertEqual(self.pids(), before)

    def test_drain_ends_it(self):
        code, out, err = self.ctl("drain", "--json", "-within", "60")
        self.assertEqual((code, json.loads(out)["ok"]), (0, True), err)
        self.assertEqual(self.run_.wait(30), 0, self.run_.log)
        for args in (("drain",), ("restart", "all"), ("restart", "1", "-within=5")):
            code, out, err = self.ctl(*args)
            self.assertEqual((code, out), (1, ""), args)
            self.assertTrue(err)


class Drain(unittest.TestCase):
    def test_drain_is_done_when_shardcap_is_gone(self):
        """The hub stands still while shardcap goes on capturing: that nobody answers does not mean that all is written."""
        self.run_ = family.Family(self, "-interface=lo", "-uuid.source=none", "-sigtermwait=7s",
                                  namespace=netns.Namespace(self).name).ready()
        (hub,) = self.run_.children()["shardcap-hub"]
        lock = os.open(self.run_.rundir / "lock", os.O_RDONLY)
        self.addCleanup(os.close, lock)
        child = subprocess.Popen([str(family.BIN / "shardcapctl"), "-rundir", str(self.run_.rundir), "drain", "-within=100"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=family.clean_env(), text=True)
        self.addCleanup(child.kill)
        self.run_.until(lambda: self.run_.said("stopping grace="), "it has begun")
        os.kill(hub, signal.SIGSTOP)
        out, err = child.communicate(timeout=110)
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self.assertEqual((child.returncode, err), (0, ""), out)
        self.run_.wait(30)


if __name__ == "__main__":
    unittest.main()
