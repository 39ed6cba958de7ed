# SPDX-License-Identifier: Apache-2.0
"""-dispatchers=2: both capture, every packet once, each flow in order and in one file, through the deaths of either
side."""
import os
import re
import signal
import threading
import unittest

import family
import need
import netns
import traffic

IN_USER_NAMESPACE = True


class Two(unittest.TestCase):
    def setUp(self):
        need.need("netns")
        self.a, self.b = netns.pair(self)
        self.run_ = family.Family(self, "-interface=veth0", "-shards=2", "-dispatchers=2", "-uuid.source=hash",
                                  namespace=self.a.name).ready()
        self.server = traffic.Server(self, self.a)

    def fetch(self, size=3000):
        return traffic.fetch(self.b, "10.77.0.1", self.server.port, size)

    def captured(self):
        _, text = self.run_.get("/metrics")
        return [int(n) for n in re.findall(r'^shardcap_dispatcher_packets_total\{dispatcher="\d"\} (\d+)$', text, re.M)]

    def replaced(self, program):
        before = self.run_.children()[program]
        os.kill(before[0], signal.SIGKILL)
        self.run_.until(lambda: before[0] not in self.run_.children().get(program, []) and
                        len(self.run_.children().get(program, [])) == len(before), f"{program} is started again")
        self.run_.ready()

    def finish(self, files):
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        found = self.run_.files()
        self.assertEqual(len(found), files, self.run_.log)
        for file in found.values():
            times = [r.ts for r in file.records]
            # The kernel stamps a packet before it has a place in the socket's ring: two CPUs, one for each direction,
            # can pass each other there by less than this.
            back = max([a - b for a, b in zip(times, times[1:])], default=0)
            self.assertLess(back, 1_000_000, "a flow's packets are in order")
        return self.run_.summary()

    def test_both_capture_each_packet_once(self):
        need.need("tcpdump")
        dump = traffic.Tcpdump(self, self.a, "veth0", self.run_.work / "dump.pcap")
        for _ in range(40):
            self.fetch()
        dumped = dump.stop()
        self.run_.until(lambda: self.run_.metric("shardcap_packets_delivered_total") >= len(dumped), "all is delivered")
        captured = self.captured()
        self.assertEqual(len(captured), 2)
        self.assertEqual(self.run_.status()["dispatchers"], 2)
        self.assertTrue(all(n > 0 for n in captured), captured)
        self.assertEqual(sum(captured), len(dumped))
        self.assertEqual(self.finish(40)["drops"], {})
        saved = traffic.headers([r for f in self.run_.files().values() for r in f.records])
        want = traffic.headers(dumped)
        self.assertEqual({k: sorted(r[1:] for r in v) for k, v in saved.items()},
                         {k: sorted(r[1:] for r in v) for k, v in want.items()})

    def test_a_shard_is_killed_in_the_middle(self):
        """Its successor goes on in both rings: nothing is lost or doubled."""
        done = threading.Event()

        def pull():
            for _ in range(8):
                self.fetch(2_000_000)
            done.set()
        thread = threading.Thread(target=pull)
        thread.start()
        try:
            for _ in range(3):
                if not done.is_set():
                    self.replaced("shardcap-shard")
        finally:
            thread.join()
        summary = self.finish(8)
        self.assertEqual(summary["drops"], {})

    def test_the_dispatcher_is_killed(self):
        self.fetch()
        self.run_.until(lambda: self.run_.metric("shardcap_packets_delivered_total") >= 8, "packets are delivered")
        self.replaced("shardcap-dispatcher")
        for _ in range(20):
            self.fetch()
        self.assertEqual(self.finish(21)["drops"], {})


if __name__ == "__main__":
    unittest.main()
