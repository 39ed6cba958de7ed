# SPDX-License-Identifier: Apache-2.0
"""The event bus as people use it: events.sock with nanomsg's own tool, as the README prints it."""
import os
import signal
import stat
import subprocess
import time
import unittest

import family
import need
import netns
import pcapgen
import traffic
import watcher

IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns", "nanocat")


class Bus(unittest.TestCase):
    FLAGS = ()

    def setUp(self):
        self.a, self.b = netns.pair(self)
        self.server = traffic.Server(self, self.a)
        self.run_ = self.start()

    def start(self, *flags):
        # The only other source is one that stays silent.
        return family.Family(self, "-interface=veth0", "-shards=2", "-uuid.source=eventsocket", "-uuidwaitduration=1s",
                             f"-tcpinfo.eventsocket={family.workdir(self)}/nobody", "-flowtimeout=1s",
                             "-captureduration=1s", *self.FLAGS, *flags, namespace=self.a.name).ready()

    def watch(self, *topics):
        before = self.run_.metric("shardcap_watchers")
        w = watcher.Watcher(self, self.run_, *topics)
        self.run_.until(lambda: self.run_.metric("shardcap_watchers") == before + 1, "the watcher is connected")
        return w

    def inject(self, end, uuid, kind=0):
        line = pcapgen.event_line(uuid, time.time_ns(), "10.77.0.1", self.server.port, end[0], end[1], 7)
        if kind == 1:
            line = '{"Event":1,"Timestamp":"2024-11-19T16:51:48Z","UUID":"%s","ID":null}' % uuid
        done = subprocess.run(["nanocat", "--req", "--connect", f"ipc://{self.run_.rundir}/ctl.sock", "-A",
                               "--recv-timeout", "10", "--send-timeout", "10", "-D", line.strip()],
                              capture_output=True, text=True, timeout=30, check=False)
        self.assertRegex(done.stdout, "^ok", done.stderr)


class Watch(Bus):
    def test_flows_and_names(self):
        w = self.watch("flow.", "uuid.")
        end = traffic.fetch(self.b, "10.77.0.1", self.server.port, 1000)
        self.inject(end, "watched_1")
        unnamed = traffic.fetch(self.b, "10.77.0.1", self.server.port, 1000)
        self.inject(end, "watched_1", kind=1)
        self.run_.until(lambda: w.of("flow.saved") and w.of("flow.lost"), "both ends of a flow are told")
        self.assertEqual({t for t, _ in w.lines()}, {"uuid.open", "uuid.close", "flow.saved", "flow.lost"})
        (opened,), (closed,) = w.of("uuid.open"), w.of("uuid.close")
        self.assertEqual(opened["UUID"], "watched_1")
        self.assertEqual((opened["ID"]["DstIP"], opened["ID"]["DPort"]), end)
        self.assertEqual((closed["Event"], closed["UUID"], closed["ID"]), (1, "watched_1", None))
        (saved,), (lost,) = w.of("flow.saved"), w.of("flow.lost")
        self.assertEqual(saved["UUID"], "watched_1")
        self.assertIn(f"10.77.0.2:{end[1]}", saved["Flow"])
        self.assertEqual((lost["UUID"], lost["Cause"]), (None, "no_uuid"))
        self.assertIn(f"10.77.0.2:{unnamed[1]}", lost["Flow"])
        path = self.run_.datadir / saved["File"]
        self.assertEqual(path.stat().st_size, saved["Bytes"])
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        self.assertEqual(list(self.run_.files()), [saved["File"]])
        self.assertEqual(len(self.run_.files()[saved["File"]].records), saved["Packets"])
        self.assertEqual(self.run_.summary()["drops"], {"no_uuid": lost["Packets"]})

    def test_shards_and_sums(self):
        w = self.watch("shard.", "stats")
        victim = sorted(self.run_.children()["shardcap-shard"])[0]
        os.kill(victim, signal.SIGKILL)
        def back():  # that the first ones are up may be told to this watcher, too
            return [o for o in w.of("shard.up") if o["Restarts"] > 0]
        self.run_.until(back, "a shard comes back")
        (down,), (up,) = w.of("shard.down"), back()
        self.assertEqual((down["PID"], down["Shard"]), (victim, up["Shard"]))
        self.assertEqual(up["Restarts"], 1)
        self.assertIn(up["PID"], self.run_.children()["shardcap-shard"])
        traffic.fetch(self.b, "10.77.0.1", self.server.port, 1000)
        self.run_.until(lambda: any(s["Delivered"] >= 8 for s in w.of("stats")), "the sums move")
        self.assertEqual(self.run_.stop(), 0, self.run_.log)

    def test_a_burst_reaches_a_watcher_and_a_stopped_one_costs_nothing(self):
        """2,000 events at once: PUB would drop most of them if they were not sent one by one."""
        slow, quick = self.watch(""), self.watch("uuid.open")
        slow.process.send_signal(signal.SIGSTOP)
        lines = "".join(pcapgen.event_line(f"burst_{i}", time.time_ns(), "10.77.0.1", 443, "10.77.0.2", 1024 + i, i)
                        for i in range(2000))
        path = self.run_.work / "burst.jsonl"
        path.write_text(lines)
        done = subprocess.run(["nanocat", "--req", "--connect", f"ipc://{self.run_.rundir}/ctl.sock", "--raw",
                               "--recv-timeout", "20", "--send-timeout", "20", "--file", str(path)],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual([a.split()[0] for a in done.stdout.split("\n")], ["ok"] * 2000, done.stderr)
        # That is a connection that takes what comes; how much of a burst it misses is up to the scheduler.
        self.run_.until(lambda: self.run_.metric("shardcap_watch_messages_total") >= 2000, "all of it was sent")
        self.run_.until(lambda: len(quick.lines()) >= 1900, "nearly all of it has come")
        self.assertEqual(self.run_.metric("shardcap_watch_left_out_total"), 0)
        self.assertEqual(self.run_.get("/readyz")[0], 200)
        self.assertEqual(self.run_.metric("shardcap_restarts_total"), 0)
        slow.process.send_signal(signal.SIGCONT)
        self.run_.until(slow.lines, "the stopped one goes on")
        self.assertEqual(self.run_.stop(), 0, self.run_.log)

    def test_permissions(self):
        mode = lambda name: stat.S_IMODE((self.run_.rundir / name).lstat().st_mode)
        self.assertEqual(mode("."), 0o750 if os.geteuid() == 0 else 0o700)
        self.assertEqual(mode("bus") & 0o027, 0)
        self.assertEqual({n: oct(mode(n)) for n in ("events.sock", "ctl.sock", "inject.sock")},
                         {n: "0o660" for n in ("events.sock", "ctl.sock", "inject.sock")})
        self.assertEqual({oct(mode(f"bus/{n}")) for n in ("00.sock", "01.sock", "replay.sock")}, {"0o600"})
        self.assertEqual(self.run_.stop(), 0, self.run_.log)


class WatchMasked(Bus):
    FLAGS = ("-anonymize.ip=netblock",)

    def test_addresses_are_masked(self):
        w = self.watch("")
        end = traffic.fetch(self.b, "10.77.0.1", self.server.port, 1000)
        self.inject(end, "masked_1")
        traffic.fetch(self.b, "10.77.0.1", self.server.port, 1000)
        self.run_.until(lambda: w.of("flow.saved") and w.of("flow.lost"), "both ends of a flow are told")
        self.assertEqual(w.of("uuid.open")[0]["ID"]["DstIP"], "10.77.0.0")
        self.assertIn(f"10.77.0.0:{end[1]}", w.of("flow.saved")[0]["Flow"])
        self.assertIn("10.77.0.1:", w.of("flow.saved")[0]["Flow"])  # ours, as in the file
        self.assertNotIn("10.77.0.2", w.path.read_text())
        self.assertEqual(self.run_.stop(), 0, self.run_.log)


if __name__ == "__main__":
    unittest.main()
