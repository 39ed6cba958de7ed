# SPDX-License-Identifier: Apache-2.0
"""Floods: what has a name keeps every packet, memory stays within what -check promises, and the counters tell the story.

Nothing here is timed: the buffers hold all that is sent, however slow the machine is. Rates are `make bench`'s business.
"""
import os
import re
import signal
import subprocess
import time
import unittest

import eventserver
import family
import memory
import need
import netns
import pcapgen as g
import traffic

IN_USER_NAMESPACE = True
SENDER = family.BIN.parent / "tests/bench/bench_send"
# Room for everything that a test sends, so that neither the kernel nor a ring drops for want of a processor.
BUFFERS = ("-capturebuffer=400MB", "-ringsize=64MB")


def rx_packets(namespace, interface):
    return int(namespace.run("cat", f"/sys/class/net/{interface}/statistics/rx_packets").stdout)


class Flood(unittest.TestCase):
    timeout = 400

    def setUp(self):
        need.need("netns")
        if not SENDER.exists():
            self.skipTest(f"{SENDER} was not built: make test-programs")
        self.a, self.b = netns.pair(self)
        self.work = family.workdir(self)
        self.events = eventserver.EventServer(self, self.work / "e.sock")

    def start(self, *args, datadir=None):
        self.args = ("-interface=veth0", f"-tcpinfo.eventsocket={self.events.path}", "-filter.raw=tcp", *BUFFERS, *args)
        self.run_ = family.Family(self, *self.args, namespace=self.a.name, work=self.work,
                                  datadir=datadir).ready()
        self.run_.until(lambda: self.events.accepted, "the hub connects")
        return self.run_

    def promised(self):
        """Bytes in the worst case, as -check adds them up, and of that the arenas."""
        _, out, err = family.run("-check", f"-datadir={self.work}/data", f"-rundir={self.work}/other", *self.args,
                                 wrapper=netns.enter(self.a.name))
        mib = {name: float(v) * 2**20 for name, v in re.findall(r"(?m)^  (\S.*?)\s+([0-9.]+) MiB$", out)}
        return mib["sum"], mib["arenas (-maxheap)"]

    def send(self, packets, rate, flows, *kind):
        return subprocess.Popen([*netns.enter(self.b.name), str(SENDER), "veth0", str(packets), str(rate), str(flows),
                                 *kind], stdout=subprocess.PIPE)

    def sent(self, *senders):
        for s in senders:
            out, _ = s.communicate(timeout=300)
            self.assertEqual(s.returncode, 0, out)

    def name(self, flows):
        """Tells the names of the generator's first flows, as often as it takes: events may come before packets."""
        for i in range(flows):
            self.events.emit(g.event_line(f"named_{i:06d}", time.time_ns(), "192.0.2.1", 443,
                                          f"10.0.{i // 50000 >> 8}.{1 + i // 50000}", 10000 + i % 50000, i + 1))

    def consumed(self, packets):
        run = self.run_

        def done():
            m = run.metrics()
            return m["shardcap_packets_delivered_total"] >= packets and \
                sum(v for k, v in m.items() if k.startswith("shardcap_packets_consumed_total")) + \
                m['shardcap_dropped_packets_total{cause="ring_full",class="lost"}'] >= packets
        run.until(done, f"{packets} packets are delivered and consumed", 300)

    def flood(self, *args, syns=300_000, named=1000, each=20):
        run = self.start(*args)
        before = rx_packets(self.a, "veth0")
        shards = run.children()["shardcap-shard"]
        fixed = max(memory.private(pid) for pid in shards)
        self.name(named)

        def flows():  # of the fullest shard: the arena, and what it allocated since its start
            return max(memory.mapped(pid, "memfd:arena") + memory.private(pid) for pid in shards)
        with memory.Peak(lambda: memory.of_family(run)) as peak, memory.Peak(flows) as arena:
            good = self.send(named * each, 4000, named)
            bad = self.send(syns, 60_000, named, "syn")
            self.sent(good, bad)
            self.assertGreaterEqual(rx_packets(self.a, "veth0") - before, named * each + syns)
            self.consumed(named * each + syns)
        most, budget = self.promised()
        budget /= len(shards)
        print(f"\nfamily {peak.bytes / 1e6:.0f} MB of {most / 1e6:.0f}; fullest shard {arena.bytes / 1e6:.0f} MB of "
              f"{budget / 1e6:.0f} and {fixed / 1e6:.0f} from the start; {arena.looks} looks")
        self.assertGreater(arena.looks, 5)
        self.assertLessEqual(peak.bytes, most)
        self.assertLessEqual(arena.bytes, budget + fixed + (4 << 20))
        metrics = run.metrics()
        self.assertEqual(run.stop(timeout=120), 0, run.log)
        summary = run.summary()
        self.assertEqual(summary["kernel"]["dropped"], 0)
        self.assertEqual({len(f.records) for f in run.files().values()}, {each})
        self.assertEqual(summary["files"], named)
        self.assertEqual(summary["packets"]["saved"], named * each)
        return summary, metrics

    def test_half_open_flows_stay_in_probation(self):
        """300,000 SYNs from as many sources beside 1,000 named flows, in 64 MB: all packets of the 1,000 are saved."""
        summary, metrics = self.flood("-maxheap=64MB", "-shards=2", "-uuidwaitduration=60s", "-captureduration=60s",
                                      "-flowtimeout=60s")
        self.assertEqual(set(summary["drops"]), {"halfopen_evicted", "no_uuid"})
        self.assertEqual(sum(summary["drops"].values()), 300_000)
        evicted = sum(v for k, v in metrics.items() if k.startswith("shardcap_flows_halfopen_evicted_total"))
        waiting = sum(v for k, v in metrics.items() if k.startswith("shardcap_flows{") and "halfopen" in k)
        # A quarter of the budget and no more, which leaves the rest to flows with packets to save.
        self.assertEqual(evicted + waiting, 300_000)
        self.assertLessEqual(waiting, 64_000_000 / 4 / 400)
        self.assertGreater(waiting, 64_000_000 / 4 / 600)

    def test_the_flags_of_a_real_deployment(self):
        """-maxflows=150 counts what has a name or a handshake: a flood of half-open flows keeps none of 100 out."""
        summary, _ = self.flood("-stream=false", "-anonymize.ip=netblock", "-maxidleram=1500MB", "-maxheap=2GB",
                                "-flowtimeout=5s", "-maxflows=150", syns=200_000, named=100, each=60)
        self.assertNotIn("maxflows", summary["drops"])
        self.assertEqual(sum(summary["drops"].values()), 200_000)

    def test_maxflows_counts_over_all_shards(self):
        """The first 100 are let in, however they fall among four shards, and go on; of 200 more none is, but for those
        that come before the sum is known."""
        run = self.start("-maxflows=100", "-shards=4", "-flowtimeout=10h", "-captureduration=10m", "-uuidwaitduration=60s")
        self.name(300)
        self.sent(self.send(500, 4000, 100))
        self.consumed(500)
        self.sent(self.send(1500, 4000, 300))
        self.consumed(2000)
        self.assertEqual(run.stop(timeout=120), 0, run.log)
        sizes = {name.rsplit("/", 1)[1].split(".")[0]: len(f.records) for name, f in run.files().items()}
        self.assertEqual({sizes.pop(f"named_{i:06d}") for i in range(100)}, {10})
        self.assertLess(len(sizes), 100)
        self.assertEqual(run.summary()["drops"], {"maxflows": 5 * (200 - len(sizes))})

    def per_shard(self, name):
        found = {k: v for k, v in self.run_.metrics().items() if k.startswith(name + "{")}
        return {int(re.search(r'shard="(\d+)"', k).group(1)): int(v) for k, v in found.items()}

    def test_one_shard_at_its_limit_refuses_while_the_other_takes_all(self):
        """An elephant that fills the budget of its shard: flows of the other shard are saved to the last packet."""
        run = self.start("-maxheap=4MB", "-shards=2", "-gzip=none", "-captureduration=10m", "-flowtimeout=10m",
                         "-uuidwaitduration=60s")
        self.name(401)
        self.sent(self.send(60_000, 30_000, 1))
        self.consumed(60_000)
        hot = max(self.per_shard("shardcap_packets_consumed_total").items(), key=lambda kv: kv[1])[0]
        limit, used = (self.run_.metrics()[f'shardcap_budget_bytes{{shard="{hot}",kind="{kind}"}}']
                       for kind in ("limit", "used"))
        self.assertGreater(used, limit * 0.8)
        before = self.per_shard("shardcap_packets_consumed_total")
        self.sent(self.send(401 * 5, 4000, 401))
        self.consumed(60_000 + 401 * 5)
        consumed, buffered = (self.per_shard(f"shardcap_packets_{what}") for what in ("consumed_total", "buffered"))
        other = 1 - hot
        self.assertGreater(consumed[other] - before[other], 401 * 5 * 0.3, "about half of the flows are the other's")
        self.assertEqual(buffered[other], consumed[other], "it keeps all of them")
        self.assertLess(buffered[hot], consumed[hot], "the hot one refuses")
        self.assertEqual(run.stop(timeout=120), 0, run.log)
        self.assertEqual(set(run.summary()["drops"]), {"budget"})

    def test_a_full_ring_costs_its_own_shard_only(self):
        """One shard is stopped: its ring fills and drops, the other takes every packet, and the dispatcher waits for
        nobody: the kernel drops none. Each burst fits the ring of the shard that runs, however slow it is."""
        run = self.start("-maxheap=64MB", "-shards=2", "-ringsize=1MB", "-uuid.source=none", "-uuidwaitduration=20s")
        self.sent(self.send(1000, 10_000, 100))
        self.consumed(1000)
        before = self.per_shard("shardcap_packets_consumed_total")
        pid = run.children()["shardcap-shard"][0]
        os.kill(pid, signal.SIGSTOP)
        self.sent(self.send(1000, 10_000, 100))

        def moved():
            return [s for s, n in self.per_shard("shardcap_packets_consumed_total").items() if n > before[s]]
        run.until(moved, "the other one goes on")
        self.assertEqual(len(moved()), 1, "one stands, one moves")
        total, other = 2000, moved()[0]
        stopped, known = 1 - other, set(run.children()["shardcap-shard"])
        for _ in range(60):
            shards = set(run.children()["shardcap-shard"])
            if pid not in shards:  # the supervisor has replaced the one that makes no progress
                pid = run.until(lambda: next(iter(set(run.children().get("shardcap-shard", [])) - known), 0), "a successor")
                os.kill(pid, signal.SIGSTOP)
            known |= shards | {pid}
            self.sent(self.send(6000, 100_000, 100))
            total += 6000
            run.until(lambda: run.metric("shardcap_packets_delivered_total") >= total, "delivered", 120)
            run.until(lambda: self.per_shard("shardcap_packets_consumed_total")[other] ==
                      self.per_shard("shardcap_packets_enqueued_total")[other], "the other one takes all", 120)
            if self.per_shard("shardcap_ring_full_packets_total")[stopped] > 0:
                break
        full = self.per_shard("shardcap_ring_full_packets_total")
        self.assertGreater(full[stopped], 0)
        self.assertEqual(full[other], 0)
        for pid in run.children()["shardcap-shard"]:
            os.kill(pid, signal.SIGCONT)
        self.assertEqual(run.stop(timeout=120), 0, run.log)
        summary = run.summary()
        self.assertEqual(summary["kernel"]["dropped"], 0)
        self.assertEqual(set(summary["drops"]), {"ring_full", "no_uuid"})

    def test_a_disk_that_stays_full(self):
        """Until long after memory is full: what the disk refuses makes room, oldest first, counted as disk_full; memory
        stays bounded, and once there is room the files of what is still in memory appear, and all later ones."""
        disk = self.work / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=777", "none", str(disk)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(disk)], check=False)
        run = self.start("-maxheap=4MB", "-shards=2", "-mindiskfree=0", "-flowtimeout=200ms", "-captureduration=10m",
                         "-uuidwaitduration=60s", "-syncinterval=50ms", "-gzip=none", datadir=disk / "data")
        with open(disk / "ballast", "wb") as ballast:
            st = os.statvfs(disk)
            os.posix_fallocate(ballast.fileno(), 0, st.f_bavail * st.f_frsize)
        shards = run.children()["shardcap-shard"]
        with memory.Peak(lambda: max(memory.mapped(pid, "memfd:arena") for pid in shards)) as peak:
            for rounds in range(1, 100):  # a flow that comes again after its end is another file
                self.name(1000)
                self.sent(self.send(8000, 20_000, 1000))
                self.consumed(8000 * rounds)
                run.until(lambda: run.metric("pcap_demuxer_savers_garbage_collected_total") + run.metric(
                    "shardcap_flows_halfopen_evicted_total") >= run.metric("pcap_saver_starts_total"), "they have ended")
                if run.metrics()['shardcap_dropped_packets_total{cause="disk_full",class="lost"}'] > 4000:
                    break
        if not family.SANITIZED:
            self.assertLessEqual(peak.bytes, 2_000_000 + (1 << 20))
        self.assertEqual(run.metric("shardcap_files_total"), 0)
        (disk / "ballast").unlink()
        run.until(lambda: run.metric("shardcap_packets_buffered") == 0, "what is in memory is written", 60)
        before = run.metric("shardcap_files_total")
        self.assertGreater(before, 500)
        server = traffic.Server(self, self.a, on_accept=traffic.announce(self.events))
        for _ in range(3):
            traffic.fetch(self.b, "10.77.0.1", server.port, 3000)
        run.until(lambda: run.metric("shardcap_files_total") == before + 3, "later ones are saved")
        self.assertEqual(run.stop(), 0, run.log)
        drops = run.summary()["drops"]
        self.assertIn("disk_full", drops)
        self.assertLessEqual(set(drops), {"disk_full", "budget", "no_uuid", "halfopen_evicted"})
        self.assertGreater(drops["disk_full"], sum(drops.values()) / 2)

    def test_idle_memory_goes_back(self):
        """Above -maxidleram what a flood took is given back to the system: blocks, slots and what belongs to them."""
        run = self.start("-maxheap=400MB", "-maxidleram=1MB", "-shards=1", "-flowtimeout=5s", "-captureduration=10s",
                         "-uuidwaitduration=10s")
        shard = run.children()["shardcap-shard"][0]
        start = memory.private(shard)

        def flows():
            return memory.mapped(shard, "memfd:arena") + memory.private(shard) - start
        with memory.Peak(flows) as peak:
            self.sent(self.send(150_000, 60_000, 1, "syn"))
            self.consumed(150_000)
        self.assertGreater(peak.bytes, 60_000_000)
        # All but 1 MB, the table of flows, and 8 bytes for each block.
        left = 1_000_000 + 150_000 * (32 + 8) + 3_000_000
        run.until(lambda: flows() < left, "idle memory is given back", 60)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(set(run.summary()["drops"]), {"no_uuid"})

    def test_names_without_packets(self):
        """300,000 UUIDs of connections that never show a packet: bounded memory, and a real one is still named."""
        if family.SANITIZED:
            self.skipTest("a sanitizer's memory and speed are not the program's")
        run = self.start("-maxheap=64MB", "-shards=1", "-flowtimeout=200ms", "-captureduration=10s",
                         "-uuidwaitduration=10s")
        shard = run.children()["shardcap-shard"][0]
        with memory.Peak(lambda: memory.private(shard)) as peak:
            for i in range(0, 300_000, 500):
                self.events.emit("".join(
                    g.event_line(f"ghost_{n:06d}", time.time_ns(), "192.0.2.9", 443, f"10.9.{n // 50000}.7",
                                 10000 + n % 50000, n + 1) for n in range(i, i + 500)))
                if i % 10_000 == 0:  # the journal holds some 50,000: no further ahead than that
                    run.until(lambda: run.metric("pcap_demuxer_uuids_total") >= i - 20_000, "events are taken", 60)
            run.until(lambda: run.metric("pcap_demuxer_uuids_total") >= 300_000, "all events are taken", 120)
        server = traffic.Server(self, self.a, on_accept=traffic.announce(self.events))
        traffic.fetch(self.b, "10.77.0.1", server.port, 3000)
        run.until(lambda: run.metric("shardcap_files_total") == 1, "the real one is saved")
        self.assertLess(peak.bytes, 24 << 20)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})


class Savefiles(unittest.TestCase):
    """The same from savefiles, where nothing depends on when it happens."""
    timeout = 400

    def bulk(self, flows, packets, *args, named):
        work = family.workdir(self)
        g.bulk(work / "in.pcap", work / "events", flows, packets)
        if not named:
            (work / "events").write_text("")
        run = family.Family(self, "-read", work / "in.pcap", f"-uuid.events={work}/events", *args, work=work)
        until = time.monotonic() + 30
        while not run.children().get("shardcap-shard") and run.process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        shards = run.children().get("shardcap-shard", [])
        with memory.Peak(lambda: max((memory.mapped(pid, "memfd:arena") + memory.private(pid) for pid in shards),
                                     default=0)) as peak:
            self.assertEqual(run.wait(300), 0, run.log)
        self.assertGreater(peak.bytes, 0)
        return run, run.summary(), peak.bytes

    def test_one_packet_per_flow_for_ever(self):
        """Each flow shows one packet in mid-stream and never gets a name: the oldest make room, memory is bounded."""
        _, summary, peak = self.bulk(100_000, 1, "-maxheap=8MB", "-shards=1", "-uuidwaitduration=29s", named=False)
        self.assertEqual(set(summary["drops"]), {"budget", "no_uuid"})
        self.assertEqual(sum(summary["drops"].values()), 100_000)
        self.assertGreater(summary["drops"]["budget"], 50_000)
        self.assertLess(peak, 8_000_000 + (8 << 20))

    def test_after_an_elephant(self):
        """What one large flow had filled is there for many small ones when it has ended, but for what comes
        before its file is written, which takes as long as it takes."""
        work = family.workdir(self)
        elephant, small = g.Flow(0), [g.Flow(1 + i) for i in range(1500)]
        one = elephant.packet(g.START)
        packets = [g.Packet(g.START + i * 1000, one.data) for i in range(60_000)]
        for i in range(3):
            packets += [f.packet(g.START + (60 + i) * 10**9 + f.ident * 1000) for f in small]
        path = g.write(work / "in.pcap", g.pcap(packets))
        run = family.read_savefile(self, path, "-maxheap=4MB", "-shards=1", "-gzip=none", "-flowtimeout=5s",
                                   "-captureduration=1h", flows=[elephant, *small], work=work)
        summary = run.summary()
        self.assertEqual(set(summary["drops"]), {"budget"}, "the elephant filled the memory")
        sizes = {name.rsplit("/", 1)[1].split(".")[0]: len(f.records) for name, f in run.files().items()}
        self.assertLess(sizes.pop(elephant.uuid), 60_000)
        self.assertGreater(len(sizes), len(small) / 2)

    def test_one_elephant(self):
        """A flow many times as large as the memory, streamed: all of it is saved."""
        if family.SANITIZED:
            self.skipTest("a sanitizer's memory and speed are not the program's")
        run, summary, peak = self.bulk(1, 400_000, "-maxheap=2MB", "-shards=1", "-stream=true", "-captureduration=1h",
                                       named=True)
        self.assertEqual(summary["drops"], {})
        self.assertEqual(summary["files"], 1)
        self.assertGreater(summary["bytes"], 2_500_000)
        self.assertLess(peak, 2_000_000 + (8 << 20))


if __name__ == "__main__":
    unittest.main()
