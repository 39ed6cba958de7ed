# SPDX-License-Identifier: Apache-2.0
"""`shardcapctl watch`, `record`, `replay` on a running family, across deaths of the hub."""
import json
import os
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

IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns")


def line(uuid, port=2000):
    return pcapgen.event_line(uuid, time.time_ns(), "10.0.0.1", 443, "10.0.0.2", port)


class Watch(unittest.TestCase):
    def setUp(self):
        self.work = family.workdir(self)
        self.namespace = netns.Namespace(self)

    def start(self, work=None):
        return family.Family(self, "-interface=lo", "-shards=2", "-uuid.source=none", namespace=self.namespace.name,
                             work=work or self.work).ready()

    def ctl(self, *args, rundir=None, **how):
        return family.run("-rundir", rundir or self.work / "run", *args, program="shardcapctl", **how)

    def inject(self, f, *lines):
        code, out, err = self.ctl("inject", rundir=f.rundir, stdin="".join(lines).encode())
        self.assertEqual(code, 0, out + err)

    def background(self, *args):
        """A command whose output goes to a file; returns (process, path)."""
        path = self.work / f"out.{len(list(self.work.glob('out.*')))}"
        with open(path, "wb") as out:
            child = subprocess.Popen([str(family.BIN / "shardcapctl"), "-rundir", str(self.work / "run"), *args],
                                     stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE,
                                     env=family.clean_env())
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child, path

    def watching(self, f, *args):
        before = f.metric("shardcap_watchers")
        child, path = self.background(*args)
        f.until(lambda: f.metric("shardcap_watchers") == before + 1, "the watcher is connected")
        return child, path

    def test_for_people_and_as_json(self):
        f = self.start()
        people, people_out = self.watching(f, "watch", "-count=1", "uuid.")
        machine, machine_out = self.watching(f, "watch", "--json", "--count", "2", "uuid.open", "shard")
        self.inject(f, line("seen_1"), line("seen_2"))
        self.assertEqual((people.wait(30), machine.wait(30)), (0, 0))
        self.assertRegex(people_out.read_text(), r"^\d\d:\d\d:\d\d\.\d\d\d uuid.open  Event=0 Timestamp=\S+ UUID=seen_1 "
                                                 r"SPort=443 DPort=2000 SrcIP=10\.0\.0\.1 DstIP=10\.0\.0\.2 .*\n$")
        messages = [json.loads(m) for m in machine_out.read_text().splitlines()]
        self.assertEqual([(m["topic"], m["event"]["UUID"]) for m in messages],
                         [("uuid.open", "seen_1"), ("uuid.open", "seen_2")])
        self.assertEqual([sorted(m) for m in messages], [["event", "time", "topic"]] * 2)

    def test_goes_on_when_the_hub_dies(self):
        f = self.start()
        child, out = self.watching(f, "watch", "--json", "uuid.")
        for round_ in range(3):
            self.inject(f, line(f"round_{round_}"))
            f.until(lambda: f'"round_{round_}"' in out.read_text(), "the event is shown")
            old = f.children()["shardcap-hub"]
            os.kill(old[0], signal.SIGKILL)
            f.until(lambda: f.children().get("shardcap-hub", old) != old, "the hub is back")
            f.ready()
            f.until(lambda: f.metric("shardcap_watchers") == 1, "the watcher is connected again")
        self.assertIsNone(child.poll())

    def test_before_there_is_a_shardcap(self):
        child, out = self.background("watch", "--count=1", "stats")
        self.assertIn(b"waiting", child.stderr.readline())
        f = self.start()
        self.assertEqual(child.wait(30), 0)
        self.assertIn("Delivered=", out.read_text())
        self.assertEqual(f.stop(), 0, f.log)

    def test_record_and_replay(self):
        f = self.start()
        record, _ = self.watching(f, "record", "-o", str(self.work / "bus.jsonl"), "-count=4", "uuid.", "shard.")
        self.inject(f, line("again_1", 1), line("again_2", 2))
        os.kill(f.children()["shardcap-shard"][0], signal.SIGKILL)
        self.assertEqual(record.wait(30), 0)
        self.assertEqual(f.stop(), 0, f.log)
        recorded = [json.loads(m) for m in (self.work / "bus.jsonl").read_text().splitlines()]
        self.assertEqual(sorted(m["topic"] for m in recorded), ["shard.down", "shard.up", "uuid.open", "uuid.open"])

        other = self.work / "other"
        other.mkdir()
        g = self.start(other)
        code, out, err = self.ctl("replay", "-f", self.work / "bus.jsonl", rundir=g.rundir)
        self.assertEqual((code, [a.split()[0] for a in out.splitlines()]), (0, ["ok", "ok"]), out + err)
        # Bare events are taken, too; what is neither is told.
        text = line("bare_1") + "what is this\n\n" + (self.work / "bus.jsonl").read_text()
        code, out, err = self.ctl("replay", "-rate=1000", "--json", rundir=g.rundir, stdin=text.encode())
        self.assertEqual((code, len(out.splitlines())), (1, 3), out + err)
        self.assertIn("line 2 ", err)
        code, out, err = self.ctl("status", "-json", rundir=g.rundir)
        self.assertEqual((code, json.loads(out)["events"]["accepted"]), (0, 5), out + err)

    def test_replay_keeps_the_pace(self):
        """The third of three events lies an hour after the others: two are answered, the third is not."""
        f = self.start()
        times = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.01Z", "2026-01-01T01:00:00Z")
        path = self.work / "slow.jsonl"
        path.write_text("".join('{"time":"%s","topic":"uuid.open","event":%s}\n' % (t, line(f"pace_{i}").strip())
                                for i, t in enumerate(times)))
        child, out = self.background("replay", "-f", str(path))
        f.until(lambda: out.read_text().count("ok") == 2, "two are answered")
        self.assertIsNone(child.poll())
        code, out, err = self.ctl("replay", "-rate=1000", "-f", path)
        self.assertEqual((code, out.count("ok ")), (0, 3), err)

    def test_replay_of_times_that_lie_ages_apart_sleeps(self):
        f = self.start()
        path = self.work / "ages.jsonl"
        path.write_text("".join('{"time":"%s","topic":"uuid.open","event":%s}\n' % (t, line(f"age_{i}").strip())
                                for i, t in enumerate(("1700-01-01T00:00:00Z", "2200-01-01T00:00:00Z"))))
        child, out = self.background("replay", "-f", str(path))
        f.until(lambda: out.read_text().count("ok") == 1, "one is answered")
        states = []
        for _ in range(20):
            time.sleep(0.02)
            states.append(pathlib.Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[0])
        self.assertGreater(states.count("S"), 15, states)

    def test_wrong_usage(self):
        for args in (("watch", "-count=0"), ("record", "-x"), ("replay", "operand"), ("replay", "-rate=0")):
            self.assertEqual(self.ctl(*args)[0], 2, args)
        code, _, err = self.ctl("record", "-o", "/nonexistent/file")
        self.assertEqual(code, 1)
        self.assertIn("/nonexistent/file", err)
        code, _, err = self.ctl("replay", "-f", "/nonexistent/file")
        self.assertEqual(code, 1)
        self.assertTrue(re.search("/nonexistent/file", err))


if __name__ == "__main__":
    unittest.main()
