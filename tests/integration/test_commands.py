# SPDX-License-Identifier: Apache-2.0
"""restart, drain and status of ctl.sock on the real programs, while packets flow."""
import os
import pathlib
import signal
import threading
import unittest

import family
import need
import netns
import traffic

IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns", "nanocat")


class Commands(unittest.TestCase):
    def start(self, *args):
        self.a, self.b = netns.pair(self)
        run = family.Family(self, "-interface=veth0", "-shards=2", *(args or ("-uuid.source=hash",)),
                            namespace=self.a.name).ready()
        self.server = traffic.Server(self, self.a)
        return run

    def fetch(self, size=3000):
        return traffic.fetch(self.b, "10.77.0.1", self.server.port, size)

    def generations(self, run):
        return {(p["process"], p.get("shard")): p["generation"] for p in run.status()["processes"]}

    def test_status_tells_what_there_is_to_know(self):
        run = self.start()
        for _ in range(3):
            self.fetch()
        status = run.status()
        self.assertEqual([p["process"] for p in status["processes"]], ["dispatcher", "hub", "shard", "shard"])
        pids = sorted(p for pids in run.children().values() for p in pids)
        self.assertEqual(sorted(p["pid"] for p in status["processes"]), pids)
        for p in status["processes"]:
            self.assertEqual((p["generation"], p["restarts"], p["up"]), (1, 0, True))
        for p in status["processes"][2:]:
            self.assertEqual(p["ring_size"], 16 << 20)
            self.assertLess(p["ring_used"], p["ring_size"])
        self.assertEqual(status["restarting"], 0)
        self.assertEqual(run.stop(), 0, run.log)
        run.summary()

    def test_a_stopped_process_shows_by_its_heartbeat(self):
        run = self.start()
        victim = run.children()["shardcap-shard"][0]
        os.kill(victim, signal.SIGSTOP)
        run.until(lambda: max(p["heartbeat_age_ms"] for p in run.status()["processes"]) > 1000, "its beat grows old")
        old = [p["pid"] for p in run.status()["processes"] if p["heartbeat_age_ms"] > 1000]
        os.kill(victim, signal.SIGCONT)
        self.assertEqual(old, [victim])
        self.assertEqual(run.stop(), 0, run.log)

    def test_restarts_in_the_middle_of_transfers_lose_nothing(self):
        """One by one and all together; every flow stays in its one file."""
        need.need("tcpdump")
        run = self.start()
        dump = traffic.Tcpdump(self, self.a, "veth0", run.work / "dump.pcap")
        stop = threading.Event()
        flows = []

        def pull():
            while not stop.is_set():
                flows.append(self.fetch(2_000_000))
        thread = threading.Thread(target=pull)
        thread.start()
        try:
            for command in ("restart 0", "restart 1", "restart hub", "restart all", "restart all"):
                self.assertRegex(run.ctl(command), "^ok restarting ")
                run.settled()
        finally:
            stop.set()
            thread.join()
        self.assertEqual(self.generations(run), {("dispatcher", None): 1, ("hub", None): 4, ("shard", 0): 4,
                                                 ("shard", 1): 4})
        dumped = dump.stop()
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= len(dumped), "all is delivered")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), len(flows))
        traffic.check_same_headers(self, run, dumped)

    def test_restart_of_the_dispatcher_keeps_flows_and_files(self):
        run = self.start()
        self.fetch()
        self.assertEqual(run.ctl("restart dispatcher"), "ok restarting dispatcher generation=1")
        run.settled().ready()
        self.fetch()
        self.assertEqual(self.generations(run)[("dispatcher", None)], 2)
        self.assertEqual(run.metric("shardcap_capture_gap_seconds"), 0)  # handed over
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), 2)

    def test_drain_of_a_shard_publishes_and_goes_on_in_second_files(self):
        """Names by the kernel, so that the flow that goes on has the name that it had."""
        run = self.start("-uuid.source=kernel", "-shards=1")
        with traffic.halved(self.b, "10.77.0.1", self.server.port, 200_000):
            run.until(lambda: run.status()["processes"][2]["unnamed"] == 0 and
                      run.status()["processes"][2]["flows"] == 1, "the flow is there and named")
            self.assertEqual(run.ctl("drain 0"), "ok draining shard[0] generation=1")
            run.settled()
            names = sorted(pathlib.Path(n).name for n in run.files())
            self.assertEqual(len(names), 1)
        run.until(lambda: run.status()["packets"]["in_ring"] == 0, "all is consumed")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(sorted(pathlib.Path(n).name for n in run.files()),
                         sorted(names + [names[0].replace(".pcap.gz", ".1.pcap.gz")]))

    def test_drain_ends_the_family_as_sigterm_does(self):
        run = self.start()
        for _ in range(3):
            self.fetch()
        self.assertEqual(run.ctl("drain"), "ok draining grace=1000ms")
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), 3)
        self.assertEqual(run.leftovers(), [])

    def test_what_is_refused(self):
        run = self.start("-uuid.source=hash", "-sigtermwait=100s")
        for command in ("restart", "restart 2", "restart x", "drain hub", "drain 2", "restart " + "9" * 100, "drain 0 1"):
            self.assertRegex(run.ctl(command), "^error usage: ", command)
        self.assertRegex(run.ctl("restart all"), "^ok ")
        self.assertRegex(run.ctl("restart 0"), "^error busy: ")
        run.settled()
        self.assertRegex(run.ctl("drain"), "^ok ")
        self.assertRegex(run.ctl("restart 0"), "^error not now: ")
        self.assertRegex(run.ctl("drain"), "^ok ")  # the second one ends the grace
        self.assertEqual(run.wait(), 0, run.log)


if __name__ == "__main__":
    unittest.main()
