# SPDX-License-Identifier: Apache-2.0
"""A router whose two interfaces are both captured sees each packet twice: -dedup saves it once."""
import subprocess
import unittest

import family
import netns
import traffic
from need import need

IN_USER_NAMESPACE = True


class Router(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("netns", "tcpdump")

    def setUp(self):
        self.client, self.router, self.server = (netns.Namespace(self) for _ in range(3))
        netns.join(self.router, self.client, name_a="veth1", net=71)
        netns.join(self.router, self.server, name_a="veth2", net=72)
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.client.ip("route", "add", "10.72.0.0/24", "via", "10.71.0.1")
        self.server.ip("route", "add", "10.71.0.0/24", "via", "10.72.0.1")

    def capture(self, *flags):
        """(summary, packets on the first interface) of twenty transfers through the router."""
        run = family.Family(self, "-interface=veth1,veth2", "-shards=2", "-uuid.source=hash", "-filter.raw=tcp",
                            "-flowtimeout=1s", *flags,
                            namespace=self.router.name).ready(2)
        dump = traffic.Tcpdump(self, self.router, "veth1", run.work / "dump.pcap")
        server = traffic.Server(self, self.server)
        for i in range(20):
            traffic.fetch(self.client, "10.72.0.2", server.port, 20_000 * i)
        dumped = dump.stop()
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= 2 * len(dumped), "both interfaces' packets")
        self.assertEqual(run.stop(), 0, run.log)
        return run.summary(), dumped, run

    def test_once_with_dedup(self):
        summary, dumped, run = self.capture("-dedup")
        self.assertEqual(summary["drops"], {"duplicate": len(dumped)})
        self.assertEqual(summary["packets"]["saved"], len(dumped))
        self.assertEqual(summary["packets"]["lost"], 0)
        self.assertEqual(len(run.files()), 20)

    def test_twice_without(self):
        summary, dumped, _ = self.capture()
        self.assertEqual(summary["drops"], {})
        self.assertEqual(summary["packets"]["saved"], 2 * len(dumped))

    def test_not_with_savefiles(self):
        done = subprocess.run([family.BIN / "shardcap", "-read=x.pcap", "-dedup"], capture_output=True, text=True,
                              timeout=60, check=False, env=family.clean_env())
        self.assertEqual(done.returncode, 2)
        self.assertIn("-dedup does not go together with", done.stderr)


if __name__ == "__main__":
    unittest.main()
