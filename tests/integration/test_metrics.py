# SPDX-License-Identifier: Apache-2.0
"""/metrics has every name and label of the reference from the start, adds up, and never shows an address or a UUID."""
import re
import unittest

import eventserver
import family
import need
import netns
import traffic

IN_USER_NAMESPACE = True

ERRORS = ["nopackets", "uuidtimedout", "uuidchanclosed", "mkdir", "fileopen", "writepartial", "streaming", "writefinal"]
STATES = ["notstarted", "readingcandidatepackets", "uuidwait", "uuidfound", "dircreation", "writepartial", "streaming",
          "writefinal", "discardingpackets", "draining", "skipped", "stopped"] + [e + "error" for e in ERRORS]
BAD = ["nilid", "badip", "badjson", "baduuid", "badport", "badtime", "toolong", "unknownevent"]


def setUpModule():
    need.need("netns")


class Metrics(unittest.TestCase):
    def setUp(self):
        self.a, self.b = netns.pair(self)
        work = family.workdir(self)
        self.events = eventserver.EventServer(self, work / "e.sock")
        self.run_ = family.Family(self, "-interface=veth0", "-shards=2", f"-tcpinfo.eventsocket={self.events.path}",
                                  "-flowtimeout=500ms", namespace=self.a.name, work=work).ready()
        self.run_.until(lambda: self.events.accepted, "the hub connects")

    def test_every_name_and_label_from_the_start(self):
        m = self.run_.metrics()
        wanted = [f'{name}{{saverstate="{s}"}}' for s in STATES
                  for name in ("pcap_missed_packets_total", "pcap_missed_uuids_total")]
        wanted += [f'pcap_saver_states{{state="{s}"}}' for s in STATES]
        wanted += [f'pcap_saver_errors_total{{reason="{e}"}}' for e in ERRORS]
        wanted += [f'pcap_tcpinfohandler_bad_events_total{{reason="{b}"}}' for b in BAD]
        wanted += ["pcap_saver_starts_total", "pcap_saver_stops_total", "pcap_saver_skipped_total",
                   "pcap_demuxer_bad_packets_total", "pcap_demuxer_uuids_total", "pcap_demuxer_ignored_total",
                   "pcap_demuxer_savers_garbage_collected_total", "pcap_demuxer_savers_active",
                   "pcap_demuxer_gc_latency_seconds_sum", "pcap_demuxer_gc_latency_seconds_count",
                   'pcap_demuxer_gc_latency_seconds_bucket{le="+Inf"}', 'pcap_demuxer_gc_latency_seconds_bucket{le="1e-06"}',
                   "pcap_muxer_interfaces_with_captures", "process_cpu_seconds_total", "process_resident_memory_bytes",
                   "process_open_fds", "process_start_time_seconds"]
        self.assertEqual([name for name in wanted if name not in m], [])
        self.assertEqual(sum(k.startswith("pcap_demuxer_gc_latency_seconds_bucket") for k in m), 21)
        commit = [k for k in m if k.startswith("git_short_commit{")]
        self.assertEqual(len(commit), 1)
        text = re.search(r'commit="(\w+)"', commit[0]).group(1)
        self.assertEqual(m[commit[0]], int(text, 16) if re.fullmatch("[0-9a-f]+", text) else 0)
        causes = {re.search(r'cause="(\w+)"', k).group(1) for k in m if k.startswith("shardcap_dropped_packets_total")}
        self.assertEqual(causes, family.TROUBLE | family.LIMITS)
        for shard in "01":
            for kind in ("limit", "used"):
                self.assertIn(f'shardcap_budget_bytes{{shard="{shard}",kind="{kind}"}}', m)

    def test_the_text_format(self):
        status, text = self.run_.get("/metrics")
        self.assertEqual(status, 200)
        typed, seen = {}, set()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                self.assertNotIn(name, typed)
                typed[name] = kind
            elif not line.startswith("#"):
                found = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-z_]+="[^"\\\n]*",?)*\})? [-+0-9.e]+', line)
                self.assertTrue(found, line)
                self.assertNotIn(line.rsplit(" ", 1)[0], seen)
                seen.add(line.rsplit(" ", 1)[0])
                base = re.sub(r"_(bucket|sum|count)$", "", found.group(1))
                self.assertTrue(found.group(1) in typed or typed.get(base) == "histogram", line)

    def test_numbers_move_balance_and_tell_no_names(self):
        server = traffic.Server(self, self.a, on_accept=traffic.announce(self.events))
        for _ in range(20):
            traffic.fetch(self.b, "10.77.0.1", server.port, 2000)
            m = self.run_.metrics()
            total = lambda name: sum(v for k, v in m.items() if k == name or k.startswith(name + "{"))
            # Read against the way of the packets: what is under way is never negative, nothing counts twice.
            self.assertGreaterEqual(total("shardcap_packets_delivered_total"),
                                    total("shardcap_packets_saved_total") + total("shardcap_dropped_packets_total"))
        self.run_.until(lambda: self.run_.metric("shardcap_files_total") == 20, "all files are there")
        m = self.run_.metrics()
        self.assertEqual(m["pcap_demuxer_uuids_total"], 20)
        self.assertGreaterEqual(m["pcap_saver_starts_total"], 20)
        texts = []
        for path in ("/metrics", "/", "/healthz", "/readyz"):
            status, text = self.run_.get(path)
            self.assertEqual(status, 200, path)
            texts.append(text)
        for text in texts:
            for secret in ("10.77.0", "fd77", "0a4d00", server.prefix, *server.uuids.values()):
                self.assertNotIn(secret, text)
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        self.assertEqual(self.run_.summary()["drops"], {})

    def test_http_is_read_only_and_small(self):
        self.assertEqual(self.run_.get("/nosuchpage")[0], 404)
        self.assertIn(self.run_.get("/metrics", "POST")[0], (400, 405, 501))
        self.assertIn(self.run_.get("/metrics", "DELETE")[0], (400, 405, 501))
        self.assertEqual(self.run_.get("/metrics")[0], 200)
        self.assertEqual(self.run_.get("/metrics", "HEAD"), (200, ""))


if __name__ == "__main__":
    unittest.main()
