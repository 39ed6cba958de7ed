# SPDX-License-Identifier: Apache-2.0
"""Chaos: a workload with ground truth, a nemesis, and a checker, on the real family.

Every flow has a number in its addresses and ports and one in its name, every packet its number as TCP sequence number.
The nemesis kills, stops and replaces processes; shards, of a build with crash points, die by themselves in consume, commit, seal,
publish and adopt besides. The checker reads every file and holds it against what was sent.

CHAOS_SECONDS (120 in all), CHAOS_SEED (printed; gives the same flows and the same orders of the nemesis).
"""
import collections
import http.client
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import threading
import time
import unittest

import family
import need
import netns
import pcapgen

IN_USER_NAMESPACE = True
SECONDS = float(os.environ.get("CHAOS_SECONDS") or 120)
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1 << 32))
CRASH_SHARD = family.BIN.parent / "crash/bin/shardcap-shard"
CRASHES = ("consume.taken/20000,consume.applied/60000,commit.written/90000,commit.valid/90000,seal.packed/300,"
           "seal.flipped/300,seal.freed/300,publish.staged/300,publish.written/300,publish.whole/300,"
           "publish.renamed/300,publish.counted/300,adopt.redone/10,adopt.checked/10,adopt.attached/10")
ETHERNET = bytes.fromhex("020202020202040404040404") + b"\x08\x00"
SYN, ACK, RST = 2, 16, 4


def frame(ident, number, flags):
    """54 bytes: the flow's number in the client's address and port, the packet's in the sequence number."""
    client, server = struct.pack(">I", (10 << 24) + (1 << 23) + ident), bytes((192, 0, 2, 77))
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + client + server
    ip = ip[:10] + struct.pack(">H", pcapgen.checksum(ip)) + ip[12:]
    return ETHERNET + ip + struct.pack(">HHIIBBHHH", 1024 + ident % 60000, 443, number, 0, 0x50, flags, 1000, 0xab, 0)


class Flow:
    def __init__(self, ident, length, prefix):
        self.ident, self.length, self.sent, self.uuid = ident, length, 0, f"{prefix}_{ident:016X}"

    def event(self):
        client = socket.inet_ntoa(struct.pack(">I", (10 << 24) + (1 << 23) + self.ident))
        return pcapgen.event_line(self.uuid, time.time_ns(), "192.0.2.77", 443, client, 1024 + self.ident % 60000, 7)

    def next_frame(self):
        flags = SYN if self.sent == 0 else RST if self.sent + 1 == self.length and self.ident % 3 == 0 else ACK
        self.sent += 1
        return frame(self.ident, self.sent - 1, flags)

    def key_of(self, data):
        return struct.unpack(">I", data[26:30])[0] - (10 << 24) - (1 << 23)


class Workload(threading.Thread):
    """Names flows, then sends them, some at a time, until told to stop; all that are begun are finished."""

    def __init__(self, run, space, rng, active=60, rate=2500):
        super().__init__(daemon=True)
        self.run_, self.rng, self.active, self.rate = run, rng, active, rate
        self.socket = netns.inside(space, self.open)
        self.flows, self.stop_, self.failure = [], threading.Event(), None

    @staticmethod
    def open():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.bind(("veth0", 0))
        return s

    def name(self, flows):
        """Until each event is in the journal, through hubs that die."""
        left, deadline = {f.uuid: f for f in flows}, time.monotonic() + 60
        while left and time.monotonic() < deadline:
            asked = list(left.values())
            status, out, _ = family.run("-rundir", self.run_.rundir, "inject", "-f", "-", program="shardcapctl",
                                        stdin="".join(f.event() for f in asked).encode(), timeout=60)
            answers = out.splitlines()
            if len(answers) == len(asked):
                left = {f.uuid: f for f, answer in zip(asked, answers) if not answer.startswith("ok")}
            elif status == 0:
                raise AssertionError(f"{len(answers)} answers to {len(asked)} events")
            if left:
                time.sleep(0.05)
        if left:
            raise AssertionError(f"{len(left)} events were not taken in a minute")

    def run(self):
        try:
            self.send()
        except BaseException as e:  # noqa: shown by the test
            self.failure = e

    def send(self):
        named, active, began, count = [], [], time.monotonic(), 0
        while active or not self.stop_.is_set():
            while len(active) < self.active and not self.stop_.is_set():
                if not named:
                    named = [Flow(len(self.flows) + i, self.rng.choice((1, 5, 40, 300, 700)), f"chaos_{SEED}")
                             for i in range(50)]
                    self.flows += named
                    self.name(named)
                    began, count = time.monotonic(), 0
                active.append(named.pop())
            i = self.rng.randrange(len(active))
            self.socket.send(active[i].next_frame())
            if active[i].sent == active[i].length:
                active.pop(i)
            count += 1
            ahead = count / self.rate - (time.monotonic() - began)
            if ahead > 0.005:
                time.sleep(ahead)


class Scraper(threading.Thread):
    """Metrics never go back, and what has a fate was delivered before, at every scrape."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_, self.stop_, self.last, self.scrapes, self.wrong = run, threading.Event(), {}, 0, []

    def run(self):
        while not self.stop_.wait(0.25):
            try:
                now = self.run_.metrics()
            except (OSError, http.client.HTTPException, AssertionError):
                continue  # the hub is dead just now
            self.scrapes += 1
            for name, value in now.items():
                if name.split("{")[0].endswith(("_total", "_count", "_bucket")) and value < self.last.get(name, 0):
                    self.wrong.append(f"{name} went from {self.last[name]} to {value}")
            fates = sum(v for k, v in now.items() if k.startswith(("shardcap_packets_saved_total",
                                                                   "shardcap_dropped_packets_total")))
            if fates > now["shardcap_packets_delivered_total"]:
                self.wrong.append(f"{fates} fates of {now['shardcap_packets_delivered_total']} packets")
            self.last = now


class Nemesis:
    def __init__(self, run, rng, dispatcher):
        self.run_, self.rng, self.did, self.stopped = run, rng, collections.Counter(), []
        self.orders = [("kill", "shardcap-shard", 8), ("stop", "shardcap-shard", 2), ("freeze", "shardcap-shard", 0.4),
                       ("leave", "shardcap-shard", 1), ("kill", "shardcap-hub", 2), ("stop", "shardcap-hub", 1),
                       ("replace", "shardcap-dispatcher", 1)]
        if dispatcher:
            self.orders += [("kill", "shardcap-dispatcher", 3), ("stop", "shardcap-dispatcher", 1)]

    def act(self):
        what, program, _ = self.rng.choices(self.orders, [o[2] for o in self.orders])[0]
        which, pause = self.rng.random(), self.rng.uniform(0.05, 0.8)
        pids = self.run_.children().get(program, [])
        if pids:
            pid = sorted(pids)[int(which * len(pids))]
            try:
                self.hit(what, pid, pause)
                self.did[f"{what} {program.removeprefix('shardcap-')}"] += 1
            except ProcessLookupError:
                pass
        time.sleep(pause)

    def hit(self, what, pid, pause):
        if what == "stop":
            os.kill(pid, signal.SIGSTOP)
            time.sleep(pause)
            os.kill(pid, signal.SIGCONT)
        elif what == "freeze":
            os.kill(pid, signal.SIGSTOP)  # the supervisor has to find out
        elif what == "replace":
            status, _, _ = family.run("-rundir", self.run_.rundir, "restart", "dispatcher", program="shardcapctl")
            if status != 0:
                raise ProcessLookupError  # no hub, or something else is being replaced
        else:
            os.kill(pid, signal.SIGKILL if what == "kill" else signal.SIGTERM)


def programs(test, work):
    """A directory of the programs with the shard that has crash points."""
    if not CRASH_SHARD.exists():
        raise AssertionError(f"not built: {CRASH_SHARD} (make crashpoints)")
    where = work / "bin"
    where.mkdir()
    for name in family.PROGRAMS:
        shutil.copy2(CRASH_SHARD if name == "shardcap-shard" else family.BIN / name, where / name)
    return where


class Kit(unittest.TestCase):
    """Starts a family and checks what it leaves."""

    def start(self, crash, *args):
        need.need("netns")
        self.a, self.b = netns.pair(self)
        work = family.workdir(self)
        self.run_ = family.Family(
            self, "-interface=veth0", "-shards=2", "-uuid.source=none", "-uuidwaitduration=60s", "-flowtimeout=10s",
            "-captureduration=600s", "-filter.raw=tcp", "-syncinterval=200ms", *args, namespace=self.a.name, work=work,
            env={"SHARDCAP_CRASH": crash}, programs=programs(self, work))

    def check(self, flows, exact):
        """What lies on disk against what was sent. Returns the packets that are nowhere."""
        files, missing = self.run_.files(), 0
        by_name = {pathlib.Path(path).name: f for path, f in files.items()}
        self.assertEqual(len(by_name), len(files))
        for flow in flows:
            f = by_name.pop(f"{flow.uuid}.pcap.gz", None)
            got = [int.from_bytes(r.data[38:42], "big") for r in f.records] if f else []
            if f:
                self.assertEqual({flow.key_of(r.data) for r in f.records}, {flow.ident}, "foreign packets")
                self.assertTrue(all(x < y for x, y in zip(got, got[1:])), f"{flow.uuid}: {got}")
                times = [r.ts for r in f.records]
                self.assertEqual(times, sorted(times))
            missing += flow.sent - len(got)
        if exact:
            self.assertEqual(sorted(by_name), [], "files of nobody")
        return missing


class Chaos(Kit):
    timeout = int(SECONDS * 2 + 240)

    def chaos(self, seconds, dispatcher):
        print(f"NOTE CHAOS_SEED={SEED} seconds={seconds:.0f} dispatcher={dispatcher}", flush=True)
        rng = random.Random(f"{SEED} {dispatcher}")
        self.start(CRASHES)
        self.run_.ready()
        work = Workload(self.run_, self.b.name, random.Random(rng.random()))
        scraper, nemesis = Scraper(self.run_), Nemesis(self.run_, random.Random(rng.random()), dispatcher)
        work.start()
        scraper.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not work.failure and self.run_.process.poll() is None:
            nemesis.act()
        work.stop_.set()
        work.join(120)
        self.assertFalse(work.failure, f"{work.failure!r}\n{self.run_.log[-8000:]}")
        self.assertFalse(work.is_alive())
        scraper.stop_.set()
        scraper.join()
        self.run_.ready(timeout=90)
        self.assertEqual(self.run_.stop(timeout=120), 0, self.run_.log[-8000:])
        self.judge(work, scraper, nemesis, dispatcher)

    def judge(self, work, scraper, nemesis, dispatcher):
        log, sent = self.run_.log, sum(f.sent for f in work.flows)
        points = log.count("SIGTRAP") + log.count("Trace/breakpoint trap")
        summary = self.run_.summary()
        flows = [f for f in work.flows if f.sent]
        missing = self.check(flows, not dispatcher)
        delivered = summary["packets"]["delivered"]
        print(f"NOTE seed {SEED}: {len(flows)} flows, {sent} packets, {delivered} delivered, {missing} in no file; "
              f"{dict(nemesis.did)}, {points} deaths at crash points, {scraper.scrapes} scrapes", flush=True)
        self.assertEqual(summary["drops"], {}, log[-8000:])
        self.assertEqual(missing, sent - delivered, "delivered packets that are in no file")
        if not dispatcher:
            self.assertEqual(sent - delivered, summary["kernel"]["dropped"])
        self.assertEqual(scraper.wrong, [])
        self.assertGreater(scraper.scrapes, 0)
        self.assertGreater(points, 0)
        self.assertGreater(sum(nemesis.did.values()), 3)
        self.assertEqual(self.run_.leftovers(), [])

    def test_shards_and_hub(self):
        """Nothing is lost at all."""
        self.chaos(SECONDS * 0.6, False)

    def test_dispatcher_too(self):
        """What the dispatcher handed over is in the files; what it did not, nobody has counted."""
        self.chaos(SECONDS * 0.4, True)


class Hostile(Kit):
    """A shard that writes nonsense over all it can write and rings the doorbell without end."""
    timeout = 240

    def test_neither_the_dispatcher_nor_another_shard_notices(self):
        self.start("scribble=0")  # never ready as a whole
        self.run_.proves = False  # its counters are nonsense, too
        self.run_.until(lambda: "veth0 is captured" in self.run_.log, "the capture is open")
        dispatcher = self.run_.children()["shardcap-dispatcher"]
        work = Workload(self.run_, self.b.name, random.Random(2))
        work.start()
        self.run_.until(lambda: "impossible index" in self.run_.log, "the liar is caught", 60)

        def other(name):
            return self.run_.metrics()[f'shardcap_{name}_total{{shard="1"}}']
        enough = min(SECONDS, 600) * 100
        self.run_.until(lambda: other("packets_enqueued") > enough, "packets for the other shard", 120)
        work.stop_.set()
        work.join(120)
        self.assertFalse(work.failure, f"{work.failure!r}")
        self.run_.until(lambda: other("packets_enqueued") == other("packets_consumed"), "the other takes all", 60)
        self.assertEqual(other("ring_full_packets"), 0)
        self.assertNotIn("child died child=shard[1]", self.run_.log)
        self.assertEqual(self.run_.children()["shardcap-dispatcher"], dispatcher)
        print(f"NOTE a scribbling shard: put down {self.run_.log.count('impossible index')} times; the other took "
              f"{other('packets_consumed'):.0f} packets and lost none", flush=True)


class Poison(Kit):
    """One packet that kills whoever looks at it."""
    MARK = 0xDEAD0001
    timeout = 240

    def poison(self, how):
        self.start(f"consume.record={self.MARK}:{how}")
        self.run_.ready()
        work = Workload(self.run_, self.b.name, random.Random(1))
        flows = [Flow(i, 40, "poison") for i in range(30)]
        work.name(flows)
        for n in range(40):
            for flow in flows:
                data = flow.next_frame()
                if (flow.ident, n) == (7, 20):
                    data = frame(flow.ident, self.MARK, ACK)
                work.socket.send(data)
        self.run_.until(lambda: self.run_.metric("shardcap_packets_delivered_total") >= 1200, "all is delivered")
        self.run_.until(lambda: "is left out" in self.run_.log, "the packet is left out", 90)
        self.run_.ready(timeout=60)
        self.assertEqual(self.run_.metric("shardcap_restarts_total"), 3)
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        summary = self.run_.summary()
        self.assertEqual(summary["drops"], {"poison": 1}, self.run_.log)
        self.assertEqual(self.check(flows, True), 1)

    def test_a_fault(self):
        self.poison("fault")

    def test_an_endless_loop(self):
        self.poison("hang")


if __name__ == "__main__":
    unittest.main()
