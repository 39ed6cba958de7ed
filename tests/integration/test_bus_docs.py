# SPDX-License-Identifier: Apache-2.0
"""The nanocat lines of README and handbook, copied from there and given to a shell with nanomsg's own tool. Only the run
directory is another; an event that is to name a flow of this test takes its ends, and nothing else."""
import json
import pathlib
import re
import signal
import subprocess
import time
import unittest

import family
import need
import netns
import pcapgen
import traffic

ROOT = pathlib.Path(__file__).resolve().parents[2]
IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns", "nanocat")


def lines_of(name):
    """Commands in blocks of code that begin with nanocat."""
    blocks = re.findall(r"^```\n(.*?)^```$", (ROOT / name).read_text(), re.S | re.M)
    return [line for block in blocks for line in block.splitlines() if line.startswith("nanocat ")]


class Printed(unittest.TestCase):
    def setUp(self):
        self.a, self.b = netns.pair(self)
        self.server = traffic.Server(self, self.a)
        self.run_ = family.Family(self, "-interface=veth0", "-shards=3", "-uuid.source=none", "-flowtimeout=1s",
                                  "-captureduration=1s", "-uuidwaitduration=1s", namespace=self.a.name).ready()

    def the(self, name, word):
        """The one line with that word."""
        found = [line for line in lines_of(name) if word in line]
        self.assertEqual(len(found), 1, found)
        self.assertIn("ipc:///run/shardcap/", found[0])
        return found[0].replace("/run/shardcap", str(self.run_.rundir))

    def fetch(self):
        return traffic.fetch(self.b, "10.77.0.1", self.server.port, 1000)

    def of_ours(self, line, end):
        """The event in a line, about a connection of ours. Returns the line and the UUID."""
        event = re.search(r"\{.*\}", line).group()
        parsed = json.loads(event)
        parsed["ID"].update(SPort=self.server.port, DPort=end[1], SrcIP="10.77.0.1", DstIP=end[0])
        parsed["Timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return line.replace(event, json.dumps(parsed, separators=(",", ":"))), parsed["UUID"]

    def saved(self, *uuids):
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        self.assertEqual(sorted(n.split("/")[-1] for n in self.run_.files()), sorted(f"{u}.pcap.gz" for u in uuids))

    def shell(self, line, **how):
        return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False, **how)

    def test_all_of_them_are_tried_here(self):
        self.assertEqual(len(lines_of("README.md")), 3)
        self.assertEqual(len(lines_of("deploy/README.md")), 1)
        self.saved()

    def test_one_event(self):
        line = self.the("README.md", "--req")
        done = self.shell(line)  # as it stands: about nobody, and taken all the same
        self.assertRegex(done.stdout, r"^ok shard=[0-2] seq=1\s*$", done.stderr)
        line, uuid = self.of_ours(line, self.fetch())
        self.assertRegex(self.shell(line).stdout, r"^ok shard=[0-2] seq=\d+\s*$")
        done = self.shell(line.replace(uuid, "../" + uuid))
        self.assertRegex(done.stdout, r"^error baduuid: ")
        self.saved(uuid)

    def test_a_watcher(self):
        out = self.run_.work / "watched"
        with open(out, "wb") as to:
            watching = subprocess.Popen(["sh", "-c", "exec " + self.the("README.md", "--sub")], stdout=to)
        self.addCleanup(watching.wait)
        self.addCleanup(watching.kill)
        self.run_.until(lambda: self.run_.metric("shardcap_watchers") == 1, "it is connected")
        line, uuid = self.of_ours(self.the("README.md", "--req"), self.fetch())
        self.assertRegex(self.shell(line).stdout, "^ok ")
        self.fetch()  # nobody names it
        self.run_.until(lambda: out.read_text().count("\n") == 2, "both flows are told")
        told = dict(line.split(" ", 1) for line in out.read_text().splitlines())
        self.assertEqual(set(told), {"flow.saved", "flow.lost"})
        self.assertEqual(json.loads(told["flow.saved"])["UUID"], uuid)
        self.assertIsNone(json.loads(told["flow.lost"])["UUID"])
        self.saved(uuid)

    def test_a_producer(self):
        line, uuid = self.of_ours(self.the("README.md", "--push"), self.fetch())
        producer = subprocess.Popen(["sh", "-c", "exec " + line])
        self.addCleanup(producer.wait)
        self.addCleanup(producer.kill)
        self.run_.until(lambda: self.run_.metric("pcap_demuxer_uuids_total") == 1, "the event arrives")
        producer.send_signal(signal.SIGINT)
        self.saved(uuid)

    def test_a_file_of_events(self):
        ends = [self.fetch() for _ in range(3)]
        events = [pcapgen.event_line(f"of_a_file_{i}", time.time_ns(), "10.77.0.1", self.server.port, *end, i + 1)
                  for i, end in enumerate(ends)]
        (self.run_.work / "events.jsonl").write_text(events[0] + "nonsense\n" + "".join(events[1:]))
        answers = self.shell(self.the("deploy/README.md", "--file"), cwd=self.run_.work).stdout.splitlines()
        self.assertEqual([a.split()[0] for a in answers if a], ["ok", "error", "ok", "ok"])
        self.saved("of_a_file_0", "of_a_file_1", "of_a_file_2")


if __name__ == "__main__":
    unittest.main()
