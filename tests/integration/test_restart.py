# SPDX-License-Identifier: Apache-2.0
"""kill -9 of each process in turn: it is started again, the others do not notice, and flows go on in their files."""
import os
import signal
import threading
import unittest

import eventserver
import family
import need
import netns
import pcapgen as g
import traffic

IN_USER_NAMESPACE = True


class Live(unittest.TestCase):
    def setUp(self):
        need.need("netns")
        self.a, self.b = netns.pair(self)
        work = family.workdir(self)
        self.events = eventserver.EventServer(self, work / "e.sock")
        self.run_ = family.Family(self, "-interface=veth0", "-shards=2", f"-tcpinfo.eventsocket={self.events.path}",
                                  namespace=self.a.name, work=work).ready()
        self.run_.until(lambda: self.events.accepted, "the hub connects")
        self.server = traffic.Server(self, self.a, on_accept=traffic.announce(self.events))

    def fetch(self, size=3000):
        return traffic.fetch(self.b, "10.77.0.1", self.server.port, size)

    def kill(self, program, which=0):
        """Kills one child and waits until a successor is there and everything is ready again."""
        before = sorted(self.run_.children()[program])
        os.kill(before[which], signal.SIGKILL)
        self.run_.until(lambda: before[which] not in self.run_.children().get(program, []) and
                        len(self.run_.children().get(program, [])) == len(before), f"{program} is started again")
        self.run_.ready()

    def finish(self, files):
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        self.assertEqual(len(self.run_.files()), files, self.run_.log)
        self.assertEqual(self.run_.leftovers(), [])
        return self.run_.summary()

    def test_each_shard(self):
        for which in (0, 1, 0):
            for _ in range(6):
                self.fetch()
            self.kill("shardcap-shard", which)
        for _ in range(6):
            self.fetch()
        self.assertEqual(self.run_.metric("shardcap_restarts_total"), 3)
        self.assertEqual(self.finish(24)["drops"], {})

    def test_a_shard_in_the_middle_of_a_transfer(self):
        """The flow goes on in one file, and no packet is missing or doubled."""
        need.need("tcpdump")
        dump = traffic.Tcpdump(self, self.a, "veth0", self.run_.work / "dump.pcap")
        done = threading.Event()

        def pull():
            for _ in range(8):
                self.fetch(3_000_000)
            done.set()
        thread = threading.Thread(target=pull)
        thread.start()
        try:
            for i in range(4):
                if not done.is_set():
                    self.kill("shardcap-shard", i % 2)
        finally:
            thread.join()
        dumped = dump.stop()
        self.run_.until(lambda: self.run_.metric("shardcap_packets_delivered_total") >= len(dumped), "all is delivered")
        self.assertEqual(self.finish(8)["drops"], {})
        saved = traffic.headers([r for f in self.run_.files().values() for r in f.records])
        want = traffic.headers(dumped)
        self.assertEqual({k: sorted(r[1:] for r in v) for k, v in saved.items()},
                         {k: sorted(r[1:] for r in v) for k, v in want.items()})

    def test_the_hub(self):
        self.fetch()
        self.run_.until(lambda: self.run_.metric("pcap_demuxer_uuids_total") >= 1, "the name is there")
        self.kill("shardcap-hub")
        for _ in range(5):
            self.fetch()
        self.assertEqual(self.events.accepted, 1)  # it goes on with the same connection
        self.assertEqual(self.finish(6)["drops"], {})

    def test_the_dispatcher(self):
        self.fetch()
        self.run_.until(lambda: self.run_.metric("shardcap_packets_delivered_total") >= 8, "packets are delivered")
        self.kill("shardcap-dispatcher")
        self.run_.ready()
        # From the last moment that the old one vouched for until the new one captures.
        self.run_.until(lambda: self.run_.metric("shardcap_capture_gap_seconds") > 0, "the gap is told")
        self.assertLess(self.run_.metric("shardcap_capture_gap_seconds"), 60)
        self.assertIn('shardcap_capture_gap_received_packets_total{interface="veth0"}', self.run_.metrics())
        for _ in range(5):
            self.fetch()
        summary = self.finish(6)
        self.assertEqual(summary["drops"], {})

    def test_sigterm_to_a_child_means_leave_and_a_successor_goes_on(self):
        """Its status is 0, which must not be taken for the end of its work."""
        for program in ("shardcap-dispatcher", "shardcap-shard", "shardcap-hub"):
            self.fetch()
            self.run_.until(lambda: self.run_.metric("shardcap_eventsocket_up") == 1, "the event socket is up")
            before = sorted(self.run_.children()[program])
            os.kill(before[0], signal.SIGTERM)
            self.run_.until(lambda: before[0] not in self.run_.children().get(program, []) and
                            len(self.run_.children().get(program, [])) == len(before), f"{program} is started again")
            self.run_.ready()
        self.run_.until(lambda: self.run_.metric("shardcap_eventsocket_up") == 1, "the event socket is up")
        self.fetch()
        self.assertEqual(self.finish(4)["drops"], {})

    def test_sigterm_to_all_at_once(self):
        """What kill -TERM of a process group, killall and KillMode=control-group do."""
        for _ in range(6):
            self.fetch()
        self.run_.until(lambda: self.run_.metric("shardcap_packets_delivered_total") >= 48, "packets are delivered")
        self.run_.until(lambda: self.run_.metric("pcap_demuxer_uuids_total") >= 6, "the names are there")
        for pids in self.run_.children().values():
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
        self.assertEqual(self.finish(6)["drops"], {})

    def test_the_supervisor(self):
        """All flush and exit; nothing is left running, and what was named is published."""
        self.fetch()
        self.run_.until(lambda: self.run_.metric("shardcap_packets_delivered_total") >= 8, "packets are delivered")
        self.run_.until(lambda: self.run_.metric("pcap_demuxer_uuids_total") >= 1, "the name is there")
        pids = [p for pids in self.run_.children().values() for p in pids]
        self.assertEqual(len(pids), 4)
        self.run_.process.kill()
        self.run_.process.wait()
        family.until(lambda: not [p for p in pids if os.path.exists(f"/proc/{p}")], "all children are gone", 10,
                     lambda: self.run_.log)
        self.assertEqual(len(self.run_.files()), 1, self.run_.log)


class Damage(unittest.TestCase):
    """Words in the head of an arena are written over while its shard stands still; then the shard dies."""
    LAYOUT, TWIN = 4, 28  # offsets in struct arena_head

    def setUp(self):
        need.need("netns")
        self.a, self.b = netns.pair(self)
        self.run_ = family.Family(self, "-interface=veth0", "-shards=1", "-uuid.source=hash", "-flowtimeout=30s",
                                  namespace=self.a.name).ready()
        self.server = traffic.Server(self, self.a)
        for _ in range(3):
            traffic.fetch(self.b, "10.77.0.1", self.server.port, 20000)
        self.run_.until(lambda: self.consumed() == self.delivered() > 0, "all is in the arena")

    def consumed(self):
        return self.run_.metric("shardcap_packets_consumed_total")

    def delivered(self):
        return self.run_.metric("shardcap_packets_delivered_total")

    def write_over(self, words):
        pid = self.run_.process.pid
        arena = [fd for fd in os.listdir(f"/proc/{pid}/fd")
                 if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("/memfd:arena")]
        self.assertEqual(len(arena), 1)
        shard = self.run_.children()["shardcap-shard"][0]
        os.kill(shard, signal.SIGSTOP)
        with open(f"/proc/{pid}/fd/{arena[0]}", "r+b", buffering=0) as f:
            for offset, value in words.items():
                os.pwrite(f.fileno(), value.to_bytes(4, "little"), offset)
        os.kill(shard, signal.SIGKILL)
        self.run_.until(lambda: self.run_.children().get("shardcap-shard", [shard]) != [shard], "a successor is there")

    def finish(self):
        self.run_.ready(timeout=60)
        traffic.fetch(self.b, "10.77.0.1", self.server.port, 20000)
        self.run_.until(lambda: self.consumed() == self.delivered(), "it takes packets")
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        return self.run_.summary()

    def test_a_single_word(self):
        """It is mended: same flows, same files."""
        self.write_over({self.LAYOUT: 1 << 20})
        self.assertEqual(self.finish()["drops"], {})
        self.assertIn("it is mended", self.run_.log)
        self.assertEqual(len(self.run_.files()), 4)

    def test_another_layout(self):
        """It is refused, and not for ever: what it held is counted, and capture goes on."""
        held = self.consumed()
        self.write_over({self.LAYOUT: 99, self.TWIN: 0xffffffff ^ 99})
        self.assertEqual(self.finish()["drops"], {"arena_lost": held})
        self.assertIn("it is given up", self.run_.log)
        self.assertEqual(self.run_.log.count("how=\"exit status 1\""), 2)
        self.assertEqual(len(self.run_.files()), 1)


class Read(unittest.TestCase):
    def start(self, flows=60, packets=20000):
        work = family.workdir(self)
        g.bulk(work / "in.pcap", work / "events", flows, packets)
        run = family.Family(self, "-read", work / "in.pcap", f"-uuid.events={work}/events", "-shards=2", work=work)
        return run

    def test_shards_killed_while_reading_lose_nothing(self):
        run = self.start()
        kills = 0
        while kills < 6 and run.process.poll() is None:
            shards = sorted(run.children().get("shardcap-shard", []))
            if len(shards) == 2:
                try:
                    os.kill(shards[kills % 2], signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    continue
                victim = shards[kills % 2 - 1]
                family.until(lambda: run.process.poll() is not None or
                             victim not in run.children().get("shardcap-shard", []), "it is reaped")
        self.assertEqual(run.wait(120), 0, run.log)
        self.assertGreater(kills, 0)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), 60)
        for name, f in run.files().items():
            ident = int(name[-14:-8])
            self.assertEqual([int.from_bytes(r.data[38:42], "big") for r in f.records],
                             [ident << 12 | n & 0xFFF for n in range(20000)], name)

    def test_a_dispatcher_that_dies_while_reading_ends_the_run(self):
        """It cannot know where to go on: what was read is written, exit 1."""
        run = self.start()
        run.until(lambda: run.children().get("shardcap-dispatcher"), "the dispatcher runs")
        os.kill(run.children()["shardcap-dispatcher"][0], signal.SIGKILL)
        self.assertEqual(run.wait(120), 1, run.log)
        run.summary(files=True)
        self.assertEqual(run.leftovers(), [])


if __name__ == "__main__":
    unittest.main()
