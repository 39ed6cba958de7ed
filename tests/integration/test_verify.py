# SPDX-License-Identifier: Apache-2.0
"""`shardcapctl verify` and the law of the counters, during load and at rest; and that the judge does judge."""
import gzip
import json
import threading
import unittest

import eventserver
import family
import need
import netns
import pcapgen
import traffic

IN_USER_NAMESPACE = True

# Packets that a dispatcher may have given a fate before `delivered` says so: one publication to a ring.
IN_HAND = 64


def fates(m):
    """What one scrape says has become of the packets."""
    def total(name):
        return sum(v for k, v in m.items() if k.startswith(name + "{"))
    return total("shardcap_packets_saved_total") + total("shardcap_packets_buffered") + \
        total("shardcap_packets_enqueued_total") - total("shardcap_packets_consumed_total") + \
        total("shardcap_dropped_packets_total")


class Live(unittest.TestCase):
    def test_every_scrape_balances_under_load(self):
        """Each sum of fates lies between what was delivered one scrape before and what is delivered now; no timing is
        involved. Then, at rest, exactly; and the files say the same, before and after the end."""
        need.need("netns")
        a, b = netns.pair(self)
        work = family.workdir(self)
        events = eventserver.EventServer(self, work / "e.sock")
        # 20 named flows at once, more of them than -maxflows lets in, and some that no event names.
        run = family.Family(self, "-interface=veth0", "-shards=2", "-uuid.source=eventsocket",
                            f"-tcpinfo.eventsocket={events.path}", "-flowtimeout=200ms",
                            "-uuidwaitduration=300ms", "-captureduration=400ms", "-maxflows=12", "-syncinterval=50ms",
                            namespace=a.name, work=work).ready()
        run.until(lambda: events.accepted, "the hub connects")
        tell = traffic.announce(events)
        server = traffic.Server(self, a, on_accept=lambda uuid, local, peer, cookie:
                                tell(uuid, local, peer, cookie) if cookie % 3 else None)
        stop = threading.Event()

        def load():
            while not stop.is_set():
                traffic.fetch(b, "10.77.0.1", server.port, 2_000_000)
        threads = [threading.Thread(target=load) for _ in range(8)]
        for t in threads:
            t.start()
        try:
            before, moved, scrape = 0, 0, 0
            while scrape < 60 or moved <= 30:  # until packets have come between enough of them
                m = run.metrics()
                delivered, sum_ = m["shardcap_packets_delivered_total"], fates(m)
                self.assertLessEqual(before, sum_, f"scrape {scrape}")
                self.assertLessEqual(sum_, delivered + IN_HAND, f"scrape {scrape}")
                moved += delivered > before
                before = delivered
                if scrape % 20 == 10:
                    self.assertIn("ok: as far as packets in flight allow", run.verify())
                scrape += 1
        finally:
            stop.set()
            for t in threads:
                t.join()
        run.until(lambda: run.metric("shardcap_packets_buffered") == 0, "all is published or dropped")
        m = run.metrics()
        self.assertEqual(fates(m), m["shardcap_packets_delivered_total"])
        self.assertIn("ok: exactly", run.verify())
        self.assertEqual(run.stop(), 0, run.log)
        drops = run.summary()["drops"]
        self.assertGreater(drops.get("maxflows", 0) + drops.get("no_uuid", 0), 0, drops)


class Judge(unittest.TestCase):
    def setUp(self):
        flow = pcapgen.Flow(1)
        other = pcapgen.Flow(2)
        packets = pcapgen.interleave(flow.conversation(pcapgen.START), other.conversation(pcapgen.START))
        self.work = family.workdir(self)
        path = pcapgen.write(self.work / "in.pcap", pcapgen.pcap(packets))
        self.run_ = family.read_savefile(self, path, work=self.work)
        self.run_.summary()
        self.files = [self.run_.datadir / name for name in self.run_.files()]

    def verify(self):
        return family.run("verify", "-summary", self.run_.summary_file, self.run_.datadir, program="shardcapctl")

    def refused(self, words):
        status, out, err = self.verify()
        self.assertEqual(status, 1, out + err)
        self.assertIn(words, out + err)

    def test_a_file_is_missing(self):
        self.files[0].unlink()
        self.refused("are in no file")

    def test_a_file_is_cut(self):
        self.files[0].write_bytes(self.files[0].read_bytes()[:-1])
        self.refused("does not end")

    def test_a_packet_is_missing(self):
        raw = gzip.decompress(self.files[0].read_bytes())
        self.files[0].write_bytes(gzip.compress(raw[:24] + raw[24 + 16 + 74:]))  # without its SYN
        self.refused("are in no file")

    def test_two_connections_in_one_file(self):
        a, b = (gzip.decompress(f.read_bytes()) for f in self.files)
        self.files[0].write_bytes(gzip.compress(a + b[24:]))
        self.files[1].unlink()
        self.refused("another connection")

    def test_a_counter_is_wrong(self):
        summary = json.loads(self.run_.summary_file.read_text())
        summary["packets"]["delivered"] += 1
        self.run_.summary_file.write_text(json.dumps(summary))
        self.refused("do not balance")

    def test_files_of_another_run_are_told_apart(self):
        first = self.run_.summary_file.read_text()
        again = pcapgen.Flow(7)
        path = pcapgen.write(self.work / "again.pcap", pcapgen.pcap(again.conversation(pcapgen.START)))
        family.read_savefile(self, path, work=self.work)
        status, out, err = self.verify()
        self.assertEqual(status, 0, out + err)
        self.assertIn("of other runs: 2", out)
        self.run_.summary_file.write_text(first)
        status, out, err = self.verify()
        self.assertEqual(status, 0, out + err)
        self.assertIn("of other runs: 1", out)

    def test_json(self):
        for broken in (False, True):
            if broken:
                self.files[0].write_bytes(self.files[0].read_bytes()[:-4])
            status, out, err = family.run("verify", "-json", "-summary", self.run_.summary_file, self.run_.datadir,
                                          program="shardcapctl")
            got = json.loads(out)
            self.assertEqual((status, got["ok"], got["bad"], err), (int(broken), not broken, int(broken), ""))
            self.assertEqual(got["files"], 2 - int(broken))
            self.assertIn("is cut" if broken else "ok: exactly", got["text"])

    def test_usage(self):
        for args in ([], ["-summary"], ["a", "b"], ["-x", "a"]):
            with self.subTest(args=args):
                self.assertEqual(family.run("verify", *args, program="shardcapctl")[0], 2)
        status, _, err = family.run("-rundir", self.work / "none", "verify", self.run_.datadir, program="shardcapctl")
        self.assertEqual(status, 1)
        self.assertIn("is it running", err)
        status, _, err = family.run("verify", "-summary", "/nonexistent", self.run_.datadir, program="shardcapctl")
        self.assertEqual(status, 1)
        self.assertIn("No such file", err)


if __name__ == "__main__":
    unittest.main()
