# SPDX-License-Identifier: Apache-2.0
"""Every packet has one fate, and each fate that is not a file is raised alone here: a closed list, no `other`.

Causes that belong to settings (sampled: test_disk.py, duplicate: test_dedup.py) and to broken state (poison, arena_lost) are
raised where these are tested.
"""
import os
import pathlib
import re
import signal
import struct
import subprocess
import unittest

import expected
import family
import need
import netns
import pcapgen as g
import traffic

IN_USER_NAMESPACE = True


def ethernet(kind, body, wire_len=None):
    return g.Packet(g.START, g.link_header(g.ETHERNET, kind) + body, wire_len)


def ipv4(protocol, body, fragment=0x4000, **over):
    head = bytearray(struct.pack(">BBHHHBBH", over.get("first", 0x45), 0, over.get("total", 20 + len(body)), 1, fragment,
                                 64, protocol, 0) + bytes([198, 51, 100, 7, 192, 0, 2, 10]))
    head[10:12] = struct.pack(">H", g.checksum(bytes(head)))
    return ethernet(0x0800, bytes(head) + body)


def ipv6(following, body):
    return ethernet(0x86DD, struct.pack(">IHBB", 0x60000000, len(body), following, 64) + bytes([0x20, 1] + [1] * 14) +
                    bytes([0x20, 1] + [2] * 14) + body)


def tcp(offset=5, length=20):
    return (struct.pack(">HHIIBBHHH", 4000, 443, 7, 8, offset << 4, 16, 1000, 0, 0) + g.canary(60))[:length]


# cause -> frames that must all end there
FRAMES = {
    "short_frame": [g.Packet(g.START, b""[:n] or bytes(n), 60) for n in (1, 5, 13)] +
                   [ethernet(0x8100, b"\0"), ethernet(0x8100, b"\0\1\x08")],
    "bad_ip4": [ethernet(0x0800, b""), ethernet(0x0800, b"\x45" + bytes(18)), ipv4(6, tcp(), first=0x44),
                ipv4(6, tcp(), first=0x65), ipv4(6, tcp(), total=19)],
    "bad_ip6": [ethernet(0x86DD, b""), ethernet(0x86DD, b"\x60" + bytes(38)), ethernet(0x86DD, b"\x45" + bytes(60))],
    "ext_chain": [ipv6(0, g.ext_chain([60] * 17, 6)[:] + tcp()), ipv6(60, b"\x06\xff" + bytes(60)),
                  ipv6(51, b"\x06\x00" + bytes(60))],
    "tcp_short": [ipv4(6, tcp(length=n)) for n in (0, 1, 19)] + [ipv6(6, tcp(length=10))],
    "tcp_bad_offset": [ipv4(6, tcp(offset=n)) for n in (0, 4)] + [ipv4(6, tcp(offset=15, length=30))],
    "vlan_depth": [g.Flow(1, vlans=[(0x8100, i) for i in range(n)]).packet(g.START) for n in (5, 20)],
    "not_tcp": [ipv4(17, bytes(30)), ethernet(0x0806, bytes(28)), ipv6(58, bytes(20)), ipv6(59, bytes(20)),
                ipv6(50, bytes(40)), ethernet(0x88CC, bytes(40))],
    "tunnel": [ipv4(47, bytes([0, 0, 8, 0]) + ipv4(6, tcp()).data[14:]), ipv4(4, ipv4(6, tcp()).data[14:]),
               ipv4(41, ipv6(6, tcp()).data[14:]),
               ipv4(17, struct.pack(">HHHH", 5000, 4789, 80, 0) + bytes([8]) + bytes(7) + ipv4(6, tcp()).data)],
    "frag_noninitial": [ipv4(6, tcp(), fragment=0x2001), ipv4(6, tcp(), fragment=0x00B9),
                        ipv6(44, struct.pack(">BBHI", 6, 0, 0x0009, 1) + tcp())],
}


class Base(unittest.TestCase):
    def read(self, packets, *args, flows=None, savefile=None, **how):
        work = family.workdir(self)
        path = g.write(work / "in.pcap", savefile or g.pcap(packets, linktype=g.ETHERNET))
        return family.read_savefile(self, path, *args, flows=flows, work=work, **how)


class Frames(Base):
    """A good flow runs along and stays whole."""


def _frame_test(cause):
    def test(self):
        flow = g.Flow(1)
        good = flow.conversation(g.START)
        packets = [good[0], *FRAMES[cause], *good[1:]]
        run = self.read(packets, flows=[flow])
        self.assertEqual(run.summary()["drops"], {cause: len(FRAMES[cause])}, run.log)
        self.assertEqual([f.raw for f in run.files().values()], [expected.file_bytes(good)])
        self.assertNotIn(b"192.0.2.10", run.log.encode())
    return test


for _cause in FRAMES:
    setattr(Frames, f"test_{_cause}", _frame_test(_cause))


class Records(Base):
    def test_bad_record(self):
        """A record that says it captured more than there was."""
        flow = g.Flow(1)
        good = flow.conversation(g.START)
        wrong = flow.packet(g.START + 10**6)
        wrong.wire_len = len(wrong.data) - 20
        run = self.read([good[0], wrong, *good[1:]], flows=[flow])
        self.assertEqual(run.summary()["drops"], {"bad_record": 1}, run.log)
        self.assertEqual([f.raw for f in run.files().values()], [expected.file_bytes(good)])

    def test_linktype_changed(self):
        """A file has one linktype; the same connection from a savefile of another one cannot go on in it."""
        work = family.workdir(self)
        flow = g.Flow(1)
        first = flow.conversation(g.START)
        flow.linktype = g.RAW
        second = [flow.packet(g.START + 10**9 + i) for i in range(3)]
        a, b = g.write(work / "a.pcap", g.pcap(first[:6])), g.write(work / "b.pcap", g.pcap(second))
        (work / "events").write_text(flow.event(g.START))
        run = family.Family(self, "-read", a, "-read", b, f"-uuid.events={work}/events", work=work)
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {"linktype_changed": 3}, run.log)
        self.assertEqual([f.raw for f in run.files().values()], [expected.file_bytes(first[:6])])


class Asked(Base):
    def test_filtered(self):
        flows = [g.Flow(1), g.Flow(2, dport=80)]
        packets = g.interleave(*[f.conversation(g.START) for f in flows])
        run = self.read(packets, "-filter", "port 443", flows=flows)
        summary = run.summary()
        dropped = sum(p.flow == 2 for p in packets)
        self.assertIn(summary["drops"], ({"filtered": dropped}, {}))
        self.assertEqual(summary["packets"]["lost"], 0)
        self.assertEqual(summary["packets"]["saved"], len(packets) - dropped)

    def test_capture_limit(self):
        """After captureduration the file is finished and the rest of the flow is asked-for loss."""
        flow = g.Flow(1)
        packets = [flow.packet(g.START + i * 10**9) for i in range(20)]
        run = self.read(packets, "-captureduration=10s", "-uuidwaitduration=1s", flows=[flow])
        summary = run.summary()
        self.assertEqual(set(summary["drops"]), {"capture_limit"})
        self.assertIn(summary["packets"]["saved"], (10, 11))
        self.assertEqual(summary["packets"]["lost"], 0)

    def test_maxflows(self):
        flows = [g.Flow(i) for i in range(30)]
        packets = g.interleave(*[f.conversation(g.START + i * 10**8)[:6] for i, f in enumerate(flows)])
        run = self.read(packets, "-maxflows=10", "-shards=1", flows=flows)
        summary = run.summary()
        self.assertEqual(set(summary["drops"]), {"maxflows"}, run.log)
        self.assertEqual(summary["packets"]["lost"], 0)
        self.assertEqual(summary["files"], 10)


class Trouble(Base):
    def test_no_uuid(self):
        named, unnamed = g.Flow(1), g.Flow(2)
        packets = g.interleave(named.conversation(g.START), unnamed.conversation(g.START))
        run = self.read(packets, flows=[named])
        self.assertEqual(run.summary()["drops"], {"no_uuid": sum(p.flow == 2 for p in packets)}, run.log)

    def test_no_uuid_when_the_name_comes_too_late(self):
        flow = g.Flow(1)
        packets = [flow.packet(g.START + i * 10**8) for i in range(200)]
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(packets))
        (work / "events").write_text(flow.event(g.START + 12 * 10**9))
        run = family.read_savefile(self, path, f"-uuid.events={work}/events", work=work)
        self.assertEqual(set(run.summary()["drops"]), {"no_uuid"})

    def test_disk_error_where_a_file_stands_in_for_the_directory(self):
        flow = g.Flow(1)
        packets = flow.conversation(g.START)
        work = family.workdir(self)
        (work / "data").mkdir()
        (work / "data" / "2023").write_text("in the way")
        path = g.write(work / "in.pcap", g.pcap(packets))
        (work / "events").write_text(flow.event())
        run = family.Family(self, "-read", path, f"-uuid.events={work}/events", work=work)
        self.assertEqual(run.wait(), 1)
        self.assertEqual(run.summary(files=False)["drops"], {"disk_error": len(packets)}, run.log)

    def test_disk_full(self):
        need.need("netns")  # mounting needs as much as a namespace does
        work = family.workdir(self)
        data = work / "data"
        data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=777", "none", str(data)], check=True)
        self.addCleanup(subprocess.run, ["umount", str(data)], check=False)
        flows = g.bulk(work / "in.pcap", work / "events", 200, 200)
        run = family.Family(self, "-read", work / "in.pcap", f"-uuid.events={work}/events", work=work)
        self.assertEqual(run.wait(), 1)
        self.assertIn("could not be written", run.log)
        summary = run.summary()
        self.assertEqual(set(summary["drops"]), {"disk_full"}, run.log)
        self.assertLess(summary["files"], len(flows))
        self.assertIn("disk", run.log)

    def test_budget(self):
        """Named flows that fill the memory: new ones are refused, the old ones stay whole."""
        work = family.workdir(self)
        flows = g.bulk(work / "in.pcap", work / "events", 3000, 60)
        run = family.Family(self, "-read", work / "in.pcap", f"-uuid.events={work}/events", "-maxheap=2MB", "-shards=1",
                            work=work)
        self.assertEqual(run.wait(120), 0, run.log)
        summary = run.summary()
        self.assertEqual(set(summary["drops"]), {"budget"}, run.log)
        self.assertLess(summary["files"], len(flows))

    def test_halfopen_evicted(self):
        """Hostile input 34. A flood of SYNs from ever new addresses pushes out half-open flows, never the named one."""
        named = g.Flow(1)
        flood = [g.Flow(2 + i).packet(g.START + i * 1000, flags=g.SYN, options=g.OPT_SYN) for i in range(60000)]
        mine = [named.packet(g.START + i * 10**6) for i in range(60)]
        run = self.read(g.interleave(flood, mine), "-maxheap=4MB", "-shards=1", "-uuidwaitduration=29s", flows=[named],
                        timeout=120)
        summary = run.summary()
        self.assertEqual(set(summary["drops"]), {"halfopen_evicted", "no_uuid"}, run.log)
        self.assertEqual([f.raw for f in run.files().values()], [expected.file_bytes(mine)])

    def test_ring_full(self):
        """Live capture never waits: while its only shard is stopped, packets are dropped and counted."""
        need.need("netns")
        a, b = netns.pair(self)
        server = traffic.Server(self, a)
        run = family.Family(self, "-interface=veth0", "-shards=1", "-ringsize=64KB", "-uuid.source=hash",
                            "-flowtimeout=1s", namespace=a.name).ready()
        (shard,) = run.children()["shardcap-shard"]

        os.kill(shard, signal.SIGSTOP)
        try:
            for _ in range(200):  # packets, not bytes, fill a ring: a large transfer travels in few
                traffic.fetch(b, "10.77.0.1", server.port, 1000)
            run.until(lambda: run.metric("shardcap_ring_full_packets_total") > 0, "drops are counted")
        finally:
            try:
                os.kill(shard, signal.SIGCONT)
            except ProcessLookupError:
                pass
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(set(run.summary()["drops"]), {"ring_full"}, run.log)


class TheList(unittest.TestCase):
    def test_every_cause_of_the_product_is_known_here(self):
        source = (pathlib.Path(__file__).resolve().parents[2] / "shared/cause.h").read_text()

        rows = re.findall(r'X\(\w+, "(\w+)", (true|false)\)', source)
        self.assertEqual({name for name, trouble in rows if trouble == "true"}, family.TROUBLE)
        self.assertEqual({name for name, trouble in rows if trouble == "false"}, family.LIMITS)


if __name__ == "__main__":
    unittest.main()
