# SPDX-License-Identifier: Apache-2.0
"""The hub dies, again and again, while names come from each guaranteed source, and shards stand still: none is lost."""
import os
import signal
import subprocess
import threading
import time
import unittest

import eventserver
import family
import need
import netns
import pcapgen as g
import sp
import traffic

IN_USER_NAMESPACE = True
PATIENT = ("-uuidwaitduration=60s", "-captureduration=60s", "-flowtimeout=30s")


def setUpModule():
    need.need("netns", "nanocat")


class Killer:
    """Kills the hub every 200 ms, as soon as there is one."""

    def __init__(self, test, run):
        self.run, self.kills, self.enough = run, 0, threading.Event()
        self.thread = threading.Thread(target=self._body, daemon=True)
        test.addCleanup(self.enough.set)
        self.thread.start()

    def _body(self):
        last = None
        while not self.enough.wait(0.2):
            for pid in self.run.children().get("shardcap-hub", []):
                if pid != last:
                    family._kill(pid)
                    last, self.kills = pid, self.kills + 1

    def stop(self):
        self.enough.set()
        self.thread.join()


class Deaths(unittest.TestCase):
    timeout = 240

    def setUp(self):
        self.a, self.b = netns.pair(self)
        self.work = family.workdir(self)

    def start(self, *flags):
        self.run_ = family.Family(self, "-interface=veth0", *flags, namespace=self.a.name, work=self.work).ready()
        return self.run_

    def start_silent(self, *flags):
        """With no source but injection: the event socket's server is not there."""
        return self.start("-uuid.source=eventsocket", f"-tcpinfo.eventsocket={self.work}/nobody", *flags)

    def flows(self, count):
        """Flows of one packet each that wait for their names."""
        flows = [g.Flow(i, client=f"10.77.{i >> 8 & 255}.{i & 255}", server="10.77.0.1", sport=1024 + i % 60000)
                 for i in range(1, count + 1)]
        self.b.send_frames([f.packet(0, flags=g.ACK).data for f in flows])
        self.run_.until(lambda: self.run_.metric("shardcap_packets_consumed_total") >= count, "all of them are known")
        return flows

    def line(self, flow):
        return g.event_line(flow.uuid, time.time_ns(), str(flow.server), flow.dport, str(flow.client), flow.sport, 7)

    def shards(self, sig):
        for pid in self.run_.children()["shardcap-shard"]:
            os.kill(pid, sig)

    def finish(self, uuids):
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        names = sorted(n.split("/")[-1].removesuffix(".pcap.gz") for n in self.run_.files())
        self.assertEqual(names, sorted(uuids), self.run_.log)
        self.assertEqual(self.run_.summary()["drops"], {})


class EveryFifthOfASecond(Deaths):
    def load(self, run, announce=None):
        """Connections until the hub has died ten times; their names as the server knows them."""
        names = []

        def accepted(uuid, *ends):
            names.append(uuid)
            if announce:
                announce(uuid, *ends)
        server = traffic.Server(self, self.a, on_accept=accepted)
        killer = Killer(self, run)
        while len(names) < 500 or killer.kills < 10:
            traffic.fetch(self.b, "10.77.0.1", server.port, 500)
        killer.stop()
        run.ready()
        return names

    def test_names_of_the_kernel(self):
        run = self.start("-shards=2", *PATIENT)
        cookies = sorted(u.rsplit("_", 1)[1] for u in self.load(run))
        self.assertEqual(run.stop(), 0, run.log)
        names = sorted(n.rsplit("_", 1)[1].removesuffix(".pcap.gz") for n in run.files())
        self.assertEqual(names, cookies, run.log)
        self.assertEqual(run.summary()["drops"], {})

    def test_names_of_the_event_socket(self):
        events = eventserver.EventServer(self, self.work / "e.sock")
        run = self.start("-shards=2", f"-tcpinfo.eventsocket={events.path}", "-uuid.source=eventsocket", *PATIENT)
        run.until(lambda: events.accepted, "the hub connects")
        names = self.load(run, traffic.announce(events))
        self.assertEqual(events.accepted, 1)
        self.finish(names)

    def test_what_ctl_has_answered_with_ok(self):
        run = self.start_silent("-shards=2", *PATIENT)
        flows = self.flows(1000)
        client = sp.Requester(run.rundir / "ctl.sock")
        self.addCleanup(client.close)
        killer = Killer(self, run)
        for flow in flows:
            self.assertRegex(client.ask("uuid.open " + self.line(flow)), r"^ok shard=[01] seq=\d+$")
        while killer.kills < 10:
            self.assertRegex(client.ask("uuid.open " + self.line(flows[0])), r"^ok shard=[01] seq=\d+$")
        killer.stop()
        run.ready()
        self.finish(f.uuid for f in flows)


class StandingStill(Deaths):
    def test_a_burst_of_20000_while_the_shard_is_stopped(self):
        run = self.start_silent("-shards=1", *PATIENT)
        path = self.work / "burst.jsonl"
        path.write_text("".join(g.event_line(f"burst_{i}", time.time_ns(), "10.77.0.1", 443,
                                             f"10.77.{i >> 8 & 255}.{i & 255}", 1024 + i % 60000, i)
                                for i in range(20000)))
        self.shards(signal.SIGSTOP)
        stopped = time.monotonic()
        done = subprocess.run(["nanocat", "--req", "--connect", f"ipc://{run.rundir}/ctl.sock", "--raw", "--recv-timeout",
                               "30", "--send-timeout", "30", "--file", str(path)], capture_output=True, text=True,
                              timeout=60, check=False)
        answers = done.stdout.split("\n")
        self.assertEqual({a.split()[0] for a in answers}, {"ok"}, done.stderr)
        self.assertEqual(len(answers), 20000)
        threading.Event().wait(max(0, 2 - (time.monotonic() - stopped)))  # the two seconds are what is tested
        self.shards(signal.SIGCONT)
        run.until(lambda: run.metric("pcap_demuxer_uuids_total") >= 20000, "all of them have come")
        self.assertEqual(run.metric("pcap_demuxer_uuids_total"), 20000)
        self.assertEqual(run.metric("shardcap_restarts_total"), 0)
        self.assertEqual(run.stop(), 0, run.log)

    def test_a_stopped_shard_and_a_killed_hub(self):
        """The same 1,000 in ten rounds: a shard that was stopped in the middle of a page was seen not to connect again."""
        run = self.start_silent("-shards=2", *PATIENT)
        flows = self.flows(1000)
        lines = "\n".join(self.line(f).strip() for f in flows)
        for n in range(1, 11):
            client = sp.Requester(run.rundir / "ctl.sock")
            self.addCleanup(client.close)
            hub, = run.children()["shardcap-hub"]
            self.shards(signal.SIGSTOP)
            self.assertEqual([a.split()[0] for a in client.ask(lines).split("\n")], ["ok"] * 1000)
            os.kill(hub, signal.SIGKILL)
            run.until(lambda: run.children().get("shardcap-hub", [hub]) != [hub], "another hub is there")
            self.shards(signal.SIGCONT)
            run.until(lambda: run.metric("pcap_demuxer_uuids_total") >= n * 1000, "all of them have come")
        self.finish(f.uuid for f in flows)


class PeersThatEndIt(Deaths):
    """nanomsg aborts the process of a bound socket when a peer breaks the protocol: one restart, and no name lost."""

    def ends(self, name, protocol, message):
        run = self.start_silent("-shards=2", *PATIENT)
        flows = self.flows(20)
        client = sp.Requester(run.rundir / "ctl.sock")
        self.addCleanup(client.close)
        for flow in flows[:10]:
            self.assertRegex(client.ask(self.line(flow).strip()), "^ok shard=")
        hub, = run.children()["shardcap-hub"]
        peer = sp.connect(run.rundir / name, protocol)
        self.addCleanup(peer.close)
        peer.sendall(message)
        run.until(lambda: run.children().get("shardcap-hub", [hub]) != [hub], "another hub is there")
        for flow in flows[10:]:
            self.assertRegex(client.ask(self.line(flow).strip()), "^ok shard=")
        run.ready()
        self.assertEqual(run.metrics()['shardcap_restarts_total{process="hub",shard=""}'], 1)
        self.finish(f.uuid for f in flows)

    def test_a_bad_type_byte(self):
        self.ends("ctl.sock", sp.REQ, sp.frame(b"\x80\0\0\1status", kind=7))

    def test_a_subscriber_that_sends(self):
        self.ends("events.sock", sp.SUB, sp.frame(b"hello"))


if __name__ == "__main__":
    unittest.main()
