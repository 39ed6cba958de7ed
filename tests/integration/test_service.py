# SPDX-License-Identifier: Apache-2.0
"""shardcap.service as installed, under a systemd booted for the test, with all of the unit's confinement."""
import re
import unittest

import booted
import family
from installed import install
from need import need


class Service(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("root", "systemd", "netns")
        if family.SANITIZED:
            raise unittest.SkipTest("the unit is made for the plain build, which the plain run has tried in it")

    def setUp(self):
        self.work = family.workdir(self)
        tree = install(self.work / "installed")
        (tree / "etc/default/shardcap").write_text("INTERFACE=veth0\nFLOWTIMEOUT=1s\nSHARDCAP_SHARDS=2\n"
                                                   "PROMETHEUSX_LISTEN_ADDRESS=127.0.0.1:9990\n")
        self.system = booted.Booted(self, tree, self.work)
        for command in ("systemd-sysusers", "systemd-tmpfiles --create shardcap.conf"):
            self.system.run(*command.split())
        self.system.wire()

    def test_life_of_the_service(self):
        s = self.system
        s.run("systemctl", "start", "shardcap")  # returns once READY=1 has come
        self.assertEqual(s.show("ActiveState"), "active")
        s.traffic()
        family.until(lambda: len(s.files()) == 20, "20 files", 30, s.journal)
        owners = s.run("stat", "-c", "%U %a", *s.files()).stdout.split("\n")
        self.assertLessEqual(set(owners) - {""}, {"shardcap 640"})

        # Any child dies: the service stays, with the same main process.
        main = s.show("MainPID")
        for program in ("shardcap-shard", "shardcap-hub", "shardcap-dispatcher"):
            pids = s.run("pgrep", "-f", f"^{program}").stdout.split()
            s.run("kill", "-9", pids[0])
            family.until(lambda: pids[0] not in s.run("pgrep", "-f", f"^{program}", check=False).stdout.split() and
                         s.run("curl", "-sf", "http://127.0.0.1:9990/readyz", check=False).returncode == 0 and
                         s.metric("pcap_muxer_interfaces_with_captures") == 1,
                         f"{program} is back", 30, s.journal)
        self.assertEqual((s.show("MainPID"), s.show("ActiveState"), s.show("NRestarts")), (main, "active", "0"))
        s.traffic()
        family.until(lambda: len(s.files()) == 40, "40 files", 30, s.journal)

        s.run("systemctl", "stop", "shardcap")
        self.assertEqual((s.show("Result"), s.show("ExecMainStatus")), ("success", "0"), s.journal())
        self.assertEqual(s.run("pgrep", "-f", "^shardcap", check=False).stdout, "")
        for path in s.files():
            s.run("gzip", "-t", path)
        lost = re.search(r"^  lost +(\d+)", s.journal(), re.M)
        self.assertEqual(lost.group(1), "0", s.journal())

    def set(self, line):
        """Adds a line to the settings; the last one counts."""
        self.system.run("sh", "-c", f"echo {line} >> /etc/default/shardcap")

    def test_shards_as_services_of_their_own(self):
        """The drop-in and the unit as their heads tell to use them."""
        s = self.system
        self.set("SHARDCAP_SHARDS=4")
        shards = [f"shardcap-shard@{i}" for i in range(4)]
        s.run("install", "-D", "-m", "644", "/usr/share/doc/shardcap/examples/shardcap-external.conf",
              "/etc/systemd/system/shardcap.service.d/shardcap-external.conf")
        s.run("systemctl", "daemon-reload")
        s.run("systemctl", "enable", *shards)
        s.run("systemctl", "restart", "shardcap")  # returns once all are there
        main = s.show("MainPID")
        self.assertEqual(s.run("pgrep", "-P", main, "-f", "^shardcap-shard", check=False).stdout, "")
        s.traffic()
        s.run("systemctl", "restart", "shardcap-shard@2")
        s.run("systemctl", "kill", "-s", "KILL", "shardcap-shard@1")
        s.traffic()
        family.until(lambda: len(s.files()) == 40, "40 files", 30, s.journal)
        family.until(lambda: s.run("curl", "-sf", "http://127.0.0.1:9990/readyz", check=False).returncode == 0, "ready",
                     30, s.journal)
        self.assertEqual(s.show("MainPID"), main)
        s.run("systemctl", "stop", "shardcap")
        self.assertEqual((s.show("Result"), s.show("ExecMainStatus")), ("success", "0"), s.journal())
        self.assertEqual(re.search(r"^  lost +(\d+)", s.journal(), re.M).group(1), "0", s.journal())
        self.assertEqual(s.run("pgrep", "-f", "^shardcap", check=False).stdout, "")
        states = s.run("systemctl", "show", "-P", "ActiveState", "shardcap", *shards).stdout.split()
        self.assertEqual(states, ["inactive"] * 5)  # and none of them brings the others back
        s.run("systemctl", "start", "shardcap")
        s.traffic()
        family.until(lambda: len(s.files()) == 60, "60 files", 30, s.journal)
        s.run("systemctl", "restart", "shardcap")
        self.assertEqual(s.run("systemctl", "show", "-P", "ActiveState", *shards).stdout.split(), ["active"] * 4)
        s.run("kill", "-9", s.show("MainPID"))
        family.until(lambda: s.show("NRestarts") == "1" and s.show("ActiveState") == "active", "a new one", 60, s.journal)
        s.traffic()
        family.until(lambda: len(s.files()) == 80, "80 files", 30, s.journal)

    def test_a_killed_supervisor_is_started_again(self):
        """What it had in memory is written by its children, which the service manager leaves the time for."""
        s = self.system
        self.set("FLOWTIMEOUT=60s")
        s.run("systemctl", "start", "shardcap")
        s.traffic()
        family.until(lambda: s.metric("shardcap_packets_consumed_total") >= 20 * 8, "packets", 30, s.journal)
        self.set("FLOWTIMEOUT=1s")
        s.run("kill", "-9", s.show("MainPID"))
        family.until(lambda: s.show("NRestarts") == "1" and s.show("ActiveState") == "active", "a new one", 30,
                     s.journal)
        self.assertEqual(len(s.files()), 20, s.journal())
        s.traffic()
        family.until(lambda: len(s.files()) == 40, "40 files", 30, s.journal)
        s.run("systemctl", "stop", "shardcap")
        self.assertEqual(s.show("Result"), "success")

    def test_a_hung_supervisor_is_replaced(self):
        s = self.system
        s.run("systemctl", "start", "shardcap")
        main = s.show("MainPID")
        s.run("kill", "-STOP", main)
        family.until(lambda: s.show("NRestarts") == "1" and s.show("ActiveState") == "active", "a new one", 60,
                     s.journal)
        self.assertNotEqual(s.show("MainPID"), main)
        s.traffic()
        family.until(lambda: len(s.files()) == 20, "20 files", 30, s.journal)
        s.run("systemctl", "stop", "shardcap")
        self.assertEqual(s.show("Result"), "success")

    def test_a_wrong_setting_is_not_tried_again(self):
        s = self.system
        self.set("FLOWTIMEOUT=soon")
        self.assertNotEqual(s.run("systemctl", "start", "shardcap", check=False).returncode, 0)
        family.until(lambda: s.show("ActiveState") == "failed", "failed", 30, s.journal)
        self.assertEqual(s.show("NRestarts"), "0")
        self.assertIn("flowtimeout", s.journal().lower())


if __name__ == "__main__":
    unittest.main()
