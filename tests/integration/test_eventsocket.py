# SPDX-License-Identifier: Apache-2.0
"""The client of tcp-info's event socket in a running family: the server comes late, restarts, stalls, sends anything.
What is wrong is counted under its reason, the next good line names its flow, and the log stays quiet."""
import datetime
import os
import re
import socket
import time
import unittest

import eventserver
import family
import need
import netns
import pcapgen as g

IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns")


class EventSocket(unittest.TestCase):
    timeout = 180

    def setUp(self):
        self.a, self.b = netns.pair(self)
        self.work = family.workdir(self)
        self.path = self.work / "tcpevents.sock"
        self.run_ = family.Family(self, "-interface=veth0", "-shards=2", f"-tcpinfo.eventsocket={self.path}",
                                  "-uuid.source=eventsocket", "-flowtimeout=30s", "-uuidwaitduration=60s",
                                  "-captureduration=60s", namespace=self.a.name, work=self.work).ready()
        self.made = 0

    def serve(self):
        server = eventserver.EventServer(self, self.path)
        self.run_.until(lambda: server.accepted, "the hub connects")
        return server

    def flow(self):
        """A flow of one packet, and the line that names it."""
        self.made += 1
        flow = g.Flow(self.made, client="10.77.0.2", server="10.77.0.1")
        self.b.send_frames([flow.packet(0).data])
        return flow, g.event_line(flow.uuid, time.time_ns(), "10.77.0.1", flow.dport, "10.77.0.2", flow.sport, 7)

    def bad(self):
        return {k.split('"')[1]: v for k, v in self.run_.metrics().items()
                if k.startswith("pcap_tcpinfohandler_bad_events_total")}

    def taken(self, n):
        self.run_.until(lambda: self.run_.metric("shardcap_events_total") >= n, f"{n} events are accepted")

    def names(self):
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        self.assertEqual(self.run_.summary()["drops"], {}, self.run_.log)
        return sorted(n.split("/")[-1].removesuffix(".pcap.gz") for n in self.run_.files())

    def test_a_server_that_comes_late_restarts_and_is_killed_in_a_line(self):
        flows = []
        for cut in (0, 20, 5000):  # bytes of a line that the server still sends when it goes
            self.assertEqual(self.run_.metric("shardcap_eventsocket_up"), 0)
            server = self.serve()
            flow, line = self.flow()
            flows.append(flow.uuid)
            server.emit(line + ("x" * cut))
            self.taken(len(flows))
            server.close()
            self.run_.until(lambda: self.run_.metric("shardcap_eventsocket_up") == 0, "its end is seen")
        self.assertEqual({k: v for k, v in self.bad().items() if v}, {"badjson": 2})
        self.assertEqual(self.run_.metric("shardcap_eventsocket_connects_total"), 3)
        self.assertEqual(self.names(), sorted(flows))

    def test_one_that_hangs_up_at_once_is_asked_less_and_less_often(self):
        """The waits grow from 0.1 s: gaps are bounded from below, whatever the machine is doing."""
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(self.path))
        os.chmod(self.path, 0o666)
        listener.listen(8)
        listener.settimeout(30)
        times = []
        for _ in range(5):
            connection, _ = listener.accept()
            times.append(time.monotonic())
            connection.close()
        gaps = [b - a for a, b in zip(times, times[1:])]
        # An accept may be late by itself, which makes the gap behind it shorter: all of them together.
        self.assertGreaterEqual(sum(gaps), 0.9 * (0.1 + 0.2 + 0.4 + 0.8), gaps)
        said = re.findall(r"^(\S+) \w+ hub event socket (?:closed|connected)", self.run_.log, re.M)
        self.assertLessEqual(len(said), 2 * (2 + int(times[-1] - times[0])), self.run_.log)

    LINES = (  # robustness: what may come over the socket, and the reason under which it is counted (None: accepted)
        ("of 64 KiB and one byte", lambda l: l.rstrip("\n").ljust(65537) + "\n", "toolong"),
        ("of exactly 64 KiB", lambda l: l.rstrip("\n").ljust(65536) + "\n", None),
        ("of a megabyte of nothing", lambda l: "x" * 2**20 + "\n", "toolong"),
        ("empty", lambda l: "\n", "badjson"),
        ("blank", lambda l: "  \t\r\n", "badjson"),
        ("with CRLF", lambda l: l.rstrip("\n") + "\r\n", None),
        ("with a BOM", lambda l: "\ufeff" + l, "badjson"),
        ("with NUL behind", lambda l: l.rstrip("\n") + "\0\n", "badjson"),
        ("with NUL inside", lambda l: l.replace("test_", "te\0t_"), "badjson"),
        ("nested 8 deep", lambda l: l.replace('{"Event"', '{"more":' + "[" * 7 + "]" * 7 + ',"Event"'), None),
        ("nested 9 deep", lambda l: l.replace('{"Event"', '{"more":' + "[" * 8 + "]" * 8 + ',"Event"'), "badjson"),
        ("nested without end", lambda l: "[" * 60000 + "\n", "badjson"),
        ("with a key twice, the last good", lambda l: l.replace('"SPort":', '"SPort":-1,"SPort":'), None),
        ("with a key twice, the last bad", lambda l: l.replace('"DPort"', '"sport":-1,"DPort"'), "badport"),
        ("with SPort -1", lambda l: re.sub('"SPort":\\d+', '"SPort":-1', l), "badport"),
        ("with SPort 70000", lambda l: re.sub('"SPort":\\d+', '"SPort":70000', l), "badport"),
        ("with SPort 1e3", lambda l: re.sub('"SPort":\\d+', '"SPort":1e3', l), "badport"),
        ("with SPort \"80\"", lambda l: re.sub('"SPort":\\d+', '"SPort":"80"', l), "badport"),
        ("without SPort", lambda l: re.sub('"SPort":\\d+,', '', l), "badport"),
        ("without DstIP", lambda l: re.sub(',"DstIP":"[^"]*"', '', l), "badip"),
        ("with a bad address", lambda l: l.replace("10.77.0.2", "10.77.0.256"), "badip"),
        ("with mixed families", lambda l: l.replace("10.77.0.2", "fd00::1"), "badip"),
        ("with mapped addresses", lambda l: l.replace("10.77.0.", "::ffff:10.77.0."), None),
        ("without ID", lambda l: re.sub('"ID":.*', '"ID":null}', l), "nilid"),
        ("without UUID", lambda l: re.sub('"UUID":"[^"]*",', '', l), "baduuid"),
        ("with a path as UUID", lambda l: l.replace("test_", "../"), "baduuid"),
        ("without Event", lambda l: l.replace('"Event":0,', ''), "unknownevent"),
        ("with Event 2", lambda l: l.replace('"Event":0', '"Event":2'), "unknownevent"),
        ("without Cookie and Interface", lambda l: re.sub(',"Interface":.*?}', '}', l), None),
        ("with a negative Cookie", lambda l: l.replace('"Cookie":7', '"Cookie":-9223372036854775808'), None),
        ("with a Cookie of 65 bits", lambda l: l.replace('"Cookie":7', '"Cookie":18446744073709551616'), "badjson"),
        ("that is no object", lambda l: "[1,2]\n", "badjson"),
        ("that is cut", lambda l: l[:-9] + "\n", "badjson"),
        ("in bytes that are not UTF-8", lambda l: l.encode().replace(b"test_", b"te\xc0\xaft_"), "badjson"),
        ("of the year 0", lambda l: re.sub('"Timestamp":"[^"]*"', '"Timestamp":"0000-01-01T00:00:00Z"', l), "badtime"),
        ("without a zone", lambda l: re.sub('Z","UUID', '","UUID', l), "badtime"),
        ("of hour 24", lambda l: re.sub('T\\d\\d:', 'T24:', l), "badtime"),
    )

    def test_every_kind_of_line(self):
        server = self.serve()
        good, want = [], {}
        for what, change, reason in self.LINES:
            flow, line = self.flow()
            changed = change(line)
            self.assertNotEqual(changed, line, what)
            server.emit(changed)
            if reason:
                want[reason] = want.get(reason, 0) + 1
                server.emit(line)  # the next good line works
            good.append(flow.uuid)
            with self.subTest(what):
                self.taken(len(good))
                self.assertEqual({k: v for k, v in self.bad().items() if v}, want)
        self.assertEqual(self.run_.metric("shardcap_eventsocket_connects_total"), 1)
        self.assertEqual(self.names(), sorted(good))

    def test_dates(self):
        """The directory is the event's own date, in its own zone, if that is within a day of now; else the packet's."""
        server = self.serve()
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        ahead = now.astimezone(datetime.timezone(datetime.timedelta(hours=14)))
        cases = [("0001-01-01T00:00:00Z", None), ("9999-12-31T23:59:59.999999999Z", None),
                 (now.strftime("%Y-%m-%dT%H:%M:60Z"), (now.replace(second=59) + datetime.timedelta(seconds=1)).date()),
                 (ahead.strftime("%Y-%m-%dT%H:%M:%S+14:00"), ahead.date()),
                 (now.strftime("%Y-%m-%dT%H:%M:%S.1234567891Z"), now.date())]
        want = {}
        for stamp, date in cases:
            flow, line = self.flow()
            server.emit(re.sub('"Timestamp":"[^"]*"', f'"Timestamp":"{stamp}"', line))
            want[flow.uuid] = date
            self.taken(len(want))
        self.assertEqual(sum(self.bad().values()), 0)
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        days = {path.split("/")[-1].removesuffix(".pcap.gz"): datetime.date(*map(int, path.split("/")[:3]))
                for path in self.run_.files()}
        self.assertEqual(sorted(days), sorted(want))
        for uuid, day in days.items():
            # of a packet: today, or the day that has begun since
            self.assertIn(day, (want[uuid],) if want[uuid] else (now.date(), now.date() + datetime.timedelta(days=1)))

    def test_a_flood_of_garbage_is_a_line_a_second_in_the_log(self):
        server = self.serve()
        began = time.monotonic()
        for _ in range(50):
            server.emit("garbage\n" * 1000)
        flow, line = self.flow()
        server.emit(line)
        self.taken(1)
        self.assertEqual(self.bad()["badjson"], 50000)
        seconds = time.monotonic() - began
        self.assertLessEqual(len(re.findall("bad event refused", self.run_.log)), 2 + seconds)
        self.assertEqual(self.names(), [flow.uuid])

    def test_a_server_that_stalls(self):
        """Half a line, then nothing: capture and injection go on; the other half completes it."""
        server = self.serve()
        flow, line = self.flow()
        server.emit(line[:40])
        self.assertEqual(self.run_.get("/readyz")[0], 200)
        self.run_.until(lambda: self.run_.metric("shardcap_packets_consumed_total") >= 1, "packets are taken")
        server.emit(line[40:])
        self.taken(1)
        self.assertEqual(self.names(), [flow.uuid])


if __name__ == "__main__":
    unittest.main()
