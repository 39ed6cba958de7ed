# SPDX-License-Identifier: Apache-2.0
"""A UUID injected by one line of nanomsg's own tool, and by shardcapctl: answered, and the file is named by it."""
import subprocess
import time
import unittest

import family
import need
import netns
import pcapgen
import traffic

IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns", "nanocat")


class Inject(unittest.TestCase):
    def setUp(self):
        self.a, self.b = netns.pair(self)
        self.server = traffic.Server(self, self.a)
        # The only other source is one that stays silent.
        self.run_ = family.Family(self, "-interface=veth0", "-shards=3", "-uuid.source=eventsocket",
                                  f"-tcpinfo.eventsocket={family.workdir(self)}/nobody", "-flowtimeout=2s",
                                  namespace=self.a.name).ready()

    def nanocat(self, *args):
        done = subprocess.run(["nanocat", *args], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def request(self, text, form="-A"):
        return self.nanocat("--req", "--connect", f"ipc://{self.run_.rundir}/ctl.sock", form, "--recv-timeout", "5",
                            "--send-timeout", "5", "-D", text)

    def event_for(self, end, uuid):
        return pcapgen.event_line(uuid, time.time_ns(), "10.77.0.1", self.server.port, end[0], end[1], 7).strip()

    def finish(self, *uuids):
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        self.assertEqual(sorted(n.split("/")[-1] for n in self.run_.files()), sorted(f"{u}.pcap.gz" for u in uuids))
        return self.run_.summary()

    def test_one_nanocat_line(self):
        end = traffic.fetch(self.b, "10.77.0.1", self.server.port, 1000)
        self.assertRegex(self.request("uuid.open " + self.event_for(end, "hand-made_1")), r"^ok shard=[0-2] seq=\d+\s*$")
        self.assertEqual(self.finish("hand-made_1")["drops"], {})

    def test_bare_json_lines_are_answered_one_by_one(self):
        ends = [traffic.fetch(self.b, "10.77.0.1", self.server.port, 1000) for _ in range(3)]
        lines = [self.event_for(end, f"hand-made_{i}") for i, end in enumerate(ends)]
        answers = self.request("\n".join(lines[:2] + ['{"Event":0', lines[2]]), "--raw").splitlines()
        self.assertEqual([a.split()[0] for a in answers if a], ["ok", "ok", "error", "ok"])
        self.assertEqual(self.finish("hand-made_0", "hand-made_1", "hand-made_2")["drops"], {})

    def test_what_is_wrong_is_said(self):
        for text, reason in (("uuid.open {", "badjson"), ("uuid.open " + self.event_for(("10.77.0.2", 1), "../x"), "baduuid"),
                             ('uuid.open {"Event":0,"Timestamp":"2024-11-19T16:51:48Z","UUID":"a","ID":null}', "nilid"),
                             ("what is this", "")):
            self.assertRegex(self.request(text), rf"^error {reason}\S*: ", text)
        self.finish()

    def test_the_push_socket_for_long_lived_producers(self):
        end = traffic.fetch(self.b, "10.77.0.1", self.server.port, 1000)
        # A producer that closes at once takes its last message along: nanomsg drops what its peer has not read yet.
        producer = subprocess.Popen(["nanocat", "--push", "--connect", f"ipc://{self.run_.rundir}/inject.sock",
                                     "--interval", "0.2", "-D", self.event_for(end, "pushed_1")])
        self.addCleanup(producer.wait)
        self.addCleanup(producer.kill)
        self.run_.until(lambda: self.run_.metric("pcap_demuxer_uuids_total") >= 1, "the event arrives")
        self.assertEqual(self.finish("pushed_1")["drops"], {})

    def test_shardcapctl(self):
        end = traffic.fetch(self.b, "10.77.0.1", self.server.port, 1000)
        line = self.event_for(end, "by-ctl_1") + "\n"
        code, out, err = family.run("-rundir", self.run_.rundir, "inject", "-f", "-", program="shardcapctl",
                                    stdin=line.encode())
        self.assertEqual(code, 0, out + err)
        self.assertIn("ok shard=", out)
        code, out, err = family.run("-rundir", self.run_.rundir, "status", program="shardcapctl")
        self.assertEqual(code, 0, out + err)
        self.assertNotIn("10.77.0", out)
        self.finish("by-ctl_1")


if __name__ == "__main__":
    unittest.main()
