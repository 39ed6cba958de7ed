# SPDX-License-Identifier: Apache-2.0
"""`shardcapctl status`: what it says of processes is what /proc says; statuses 0 and 1."""
import json
import os
import signal
import unittest

import family
import need
import netns

IN_USER_NAMESPACE = True


class Status(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need.need("netns")

    def setUp(self):
        self.run_ = family.Family(self, "-interface=lo", "-shards=2", "-uuid.source=none", "-sigtermwait=60s",
                                  namespace=netns.Namespace(self).name).ready()

    def status(self, *args):
        code, out, err = family.run("-rundir", self.run_.rundir, "status", *args, program="shardcapctl")
        self.assertEqual(err, "")
        return code, out

    def processes(self):
        code, out = self.status("-json")
        self.assertIn(code, (0, 1))
        return {(p["process"], p.get("shard")): p for p in json.loads(out)["processes"]}

    def test_processes(self):
        children = self.run_.children()
        have = self.processes()
        self.assertEqual(have[("hub", None)]["pid"], children["shardcap-hub"][0])
        self.assertEqual(have[("dispatcher", None)]["pid"], children["shardcap-dispatcher"][0])
        self.assertEqual([have[("shard", i)]["pid"] for i in range(2)], children["shardcap-shard"])
        self.assertEqual({(p["up"], p["restarts"]) for p in have.values()}, {(True, 0)})
        self.assertTrue(all(p["ring_size"] > 0 for key, p in have.items() if key[0] == "shard"))
        code, out = self.status()
        self.assertEqual(code, 0)
        for p in have.values():
            self.assertRegex(out, rf"(?m)^{p['process']}\S* +{p['pid']} up +0 ")

    def test_after_a_kill(self):
        old = self.processes()[("shard", 1)]
        os.kill(old["pid"], signal.SIGKILL)
        self.run_.until(lambda: self.processes()[("shard", 1)]["pid"] not in (0, old["pid"]), "a successor")
        self.run_.until(lambda: self.status()[0] == 0, "all is up again")
        new = self.processes()[("shard", 1)]
        self.assertEqual((new["restarts"], new["generation"]), (1, old["generation"] + 1))

    def test_heartbeat_of_a_stopped_process(self):
        victim = self.processes()[("dispatcher", None)]["pid"]
        os.kill(victim, signal.SIGSTOP)
        self.run_.until(lambda: self.processes()[("dispatcher", None)]["heartbeat_age_ms"] > 1500, "its age grows")
        os.kill(victim, signal.SIGCONT)
        self.run_.until(lambda: self.processes()[("dispatcher", None)]["heartbeat_age_ms"] < 1500, "it beats again")

    def test_degraded_while_it_stops(self):
        os.kill(self.run_.supervisor(), signal.SIGTERM)
        self.run_.until(lambda: json.loads(self.status("-json")[1])["draining"], "it is stopping")
        for args in ((), ("-json",)):
            self.assertEqual(self.status(*args)[0], 1)
        self.assertIn("stopping", self.status()[1])
        self.assertEqual(self.run_.stop(), 0, self.run_.log)

    def test_nobody_there(self):
        for args in ((), ("-json",)):
            code, out, err = family.run("-rundir", self.run_.work / "none", "status", *args, program="shardcapctl")
            self.assertEqual((code, out), (1, ""))
            self.assertIn("no shardcap at", err)


if __name__ == "__main__":
    unittest.main()
