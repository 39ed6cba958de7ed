# SPDX-License-Identifier: Apache-2.0
"""`shardcapctl inject`: through hub deaths, before a hub is there, the flows of a capture file; refusals and statuses."""
import gzip
import json
import os
import re
import signal
import subprocess
import unittest

import family
import need
import netns
import pcapgen

IN_USER_NAMESPACE = True
CTL = str(family.BIN / "shardcapctl")


def ctl(*args, **how):
    return family.run(*args, program="shardcapctl", **how)


def lines(count, first=0):
    return [pcapgen.event_line(f"wait_{i:06d}", pcapgen.START, "10.0.0.1", 443, "10.0.0.2", 1024 + i)
            for i in range(first, first + count)]


class Hub(unittest.TestCase):
    """With a family whose other sources are silent."""

    def setUp(self):
        need.need("netns")
        self.work = family.workdir(self)
        self.namespace = netns.Namespace(self)

    def start(self):
        return family.Family(self, "-interface=lo", "-shards=2", "-uuid.source=none", namespace=self.namespace.name,
                             work=self.work).ready()

    def popen(self, *args):
        child = subprocess.Popen([CTL, "-rundir", str(self.work / "run"), "inject", *args], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=family.clean_env())
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.addCleanup(lambda: [f.close() for f in (child.stdin, child.stdout, child.stderr)])
        return child

    def accepted(self, f):
        code, out, err = ctl("-rundir", f.rundir, "status", "-json")
        self.assertEqual(code, 0, out + err)
        return json.loads(out)["events"]["accepted"]

    def test_waits_for_a_shardcap_that_is_not_there(self):
        child = self.popen("--wait", "-f", "-")
        child.stdin.write("".join(lines(3)).encode())
        child.stdin.flush()
        self.assertIn(b"waiting", child.stderr.readline())
        f = self.start()
        self.assertEqual([child.stdout.readline().split()[0] for _ in range(3)], [b"ok"] * 3)
        child.stdin.write("".join(lines(1, 3)).encode())
        child.stdin.close()
        self.assertEqual(child.wait(30), 0)
        self.assertEqual(self.accepted(f), 4)

    def test_hub_dies_again_and_again(self):
        """Every line gets its ok although the hub is killed after each batch of answers."""
        f = self.start()
        count, kills = 300, 5
        child = self.popen("--wait", "--rate", "2000")
        child.stdin.write("".join(lines(count)).encode())
        child.stdin.close()
        answers, killed = [], 0
        for line in child.stdout:
            answers.append(line.split()[0])
            if killed < kills and len(answers) > killed * count // (kills + 1):
                hubs = f.children().get("shardcap-hub")
                if hubs:
                    os.kill(hubs[0], signal.SIGKILL)
                    killed += 1
        self.assertEqual(child.wait(60), 0)
        self.assertEqual(killed, kills)
        self.assertEqual(answers, [b"ok"] * count)
        f.ready()
        # The counters outlive the hubs. A line whose answer died on its way was taken twice, none less than once.
        self.assertGreaterEqual(self.accepted(f), count)

    def test_a_refused_line_is_status_1(self):
        f = self.start()
        text = "".join(lines(1) + ['{"Event":0}\n', "\n"] + lines(1, 1))
        code, out, err = ctl("-rundir", f.rundir, "inject", "-f", "-", stdin=text.encode())
        self.assertEqual((code, [a.split()[0] for a in out.splitlines()]), (1, ["ok", "error", "ok"]), out + err)
        code, out, err = ctl("inject", "--json", "-rundir", f.rundir, stdin=text.encode())
        answers = [json.loads(a) for a in out.splitlines()]
        self.assertEqual((code, [a["ok"] for a in answers]), (1, [True, False, True]), out + err)
        self.assertEqual(answers[1]["reason"], "nilid")
        self.assertEqual(sorted(answers[0]), ["ok", "seq", "shard"])
        source = self.work / "events.jsonl"
        source.write_text("".join(lines(2)))
        code, out, err = ctl("-rundir", f.rundir, "inject", "-f", source)
        self.assertEqual((code, len(out.splitlines())), (0, 2), out + err)


class FromPcap(unittest.TestCase):
    """Needs no hub: what would be sent is printed, and -read takes it."""

    def setUp(self):
        self.work = family.workdir(self)
        self.flows = [pcapgen.Flow(i, v6=i % 3 == 2) for i in range(40)]
        self.packets = pcapgen.interleave(*(f.conversation(pcapgen.START + f.ident * 700_000) for f in self.flows))
        self.path = pcapgen.write(self.work / "in.pcap", pcapgen.pcap(self.packets))

    def events(self, *args):
        code, out, err = ctl("inject", "-dry-run", "-from-pcap", *args)
        self.assertEqual(code, 0, err)
        return [json.loads(line) for line in out.splitlines()]

    def test_one_event_per_flow(self):
        events = self.events(self.path)
        have = {(e["ID"]["SrcIP"], e["ID"]["SPort"], e["ID"]["DstIP"], e["ID"]["DPort"]): e for e in events}
        self.assertEqual(len(events), len(self.flows))
        self.assertEqual(len({e["UUID"] for e in events}), len(events))
        for f in self.flows:
            event = have[(str(f.server), f.dport, str(f.client), f.sport)]
            self.assertRegex(event["UUID"], r"^pcap_[0-9A-F]{16}$")
            whole, _, fraction = event["Timestamp"].rstrip("Z").partition(".")
            self.assertEqual(f"{whole}.{fraction:0<9}Z", pcapgen.rfc3339(f.first_ts))
            self.assertEqual(event["Event"], 0)

    def test_other_forms_of_the_same_file(self):
        whole = self.events(self.path)
        zipped = pcapgen.write(self.work / "in.pcap.gz", gzip.compress(pcapgen.pcap(self.packets)))
        ng = pcapgen.write(self.work / "in.pcapng", pcapgen.pcapng(self.packets))
        halves = pcapgen.pcap(self.packets)
        two = pcapgen.write(self.work / "two.gz", gzip.compress(halves[:5000]) + gzip.compress(halves[5000:]))
        for path in (zipped, ng, two):
            self.assertEqual(self.events(path), whole, path)
        code, out, err = ctl("inject", "-dry-run", "-from-pcap", "-", stdin=gzip.compress(halves))
        self.assertEqual((code, [json.loads(e) for e in out.splitlines()]), (0, whole), err)

    def test_as_many_as_tshark_sees(self):
        need.need("tshark")
        again = pcapgen.Flow(3)  # the addresses and ports of flow 3, later
        start = self.packets[-1].ts + 10**9
        # Another initial sequence number: numbers go on where flow 3 has ended.
        again.count = 2000
        packets = self.packets + again.conversation(start)
        path = pcapgen.write(self.work / "again.pcap", pcapgen.pcap(packets))
        out = subprocess.run(["tshark", "-r", path, "-T", "fields", "-e", "tcp.stream"], capture_output=True, text=True,
                             check=True, timeout=60).stdout
        self.assertEqual(len(self.events(path)), len(set(out.split())))
        self.assertEqual(len(set(out.split())), len(self.flows) + 1)

    def test_read_takes_them(self):
        code, out, _ = ctl("inject", "-dry-run", "-from-pcap", self.path, "-prefix=mine")
        self.assertEqual(code, 0)
        (self.work / "events.jsonl").write_text(out)
        f = family.read_savefile(self, self.path, f"-uuid.events={self.work}/events.jsonl", work=self.work)
        names = sorted(name.split("/")[-1] for name in f.files())
        self.assertEqual(names, sorted(f"{json.loads(e)['UUID']}.pcap.gz" for e in out.splitlines()))
        self.assertTrue(all(name.startswith("mine_") for name in names))
        self.assertEqual(f.summary()["drops"], {})

    def test_what_is_wrong(self):
        junk = pcapgen.write(self.work / "junk", b"no capture file at all" * 10)
        whole = pcapgen.pcap(self.packets)
        cut = pcapgen.write(self.work / "cut.pcap", whole[:-3])
        cut_gz = pcapgen.write(self.work / "cut.gz", gzip.compress(whole)[:-20])
        no_trailer = pcapgen.write(self.work / "no_trailer.gz", gzip.compress(whole)[:-4])
        for path in (junk, cut, cut_gz, no_trailer, "/nonexistent"):
            code, out, err = ctl("inject", "-dry-run", "-from-pcap", path)
            self.assertEqual(code, 1, path)
            self.assertIn(str(path), err)
            if path == cut:
                self.assertEqual(len(out.splitlines()), len(self.flows))
        for args in (("-from-pcap", self.path, "-f", "x"), ("-rate", "0"), ("-rate", "x"), ("-f",), ("operand",), ("-no",)):
            code, _, err = ctl("inject", *args)
            self.assertEqual(code, 2, args)
            self.assertTrue(err)
        self.assertEqual(ctl("inject", "-dry-run", "-from-pcap", self.path, "-prefix=../x")[0], 1)
        code, _, err = ctl("-rundir", self.work / "none", "inject", stdin=lines(1)[0].encode())
        self.assertEqual(code, 1)
        self.assertTrue(re.search("no shardcap at", err), err)


if __name__ == "__main__":
    unittest.main()
