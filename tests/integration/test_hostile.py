# SPDX-License-Identifier: Apache-2.0
"""Hostile inputs that only the whole family can be asked about. Those that are one frame are rows of
tests/unit/shared/frame_rows.h; tests/guards/check_inputs.py knows where each of the forty is."""
import json
import pathlib
import re
import struct
import subprocess
import unittest

import expected
import family
import pcapgen as g


class Base(unittest.TestCase):
    def read(self, savefile, *args, flows=None, events=None, status=0, **how):
        work = family.workdir(self)
        path = g.write(work / "in.pcap", savefile)
        args = list(args)
        if flows is not None or events is not None:
            (work / "events").write_text(events if events is not None else "".join(f.event() for f in flows))
            args.append(f"-uuid.events={work}/events")
        run = family.Family(self, "-read", path, *args, work=work, **how)
        self.assertEqual(run.wait(), status, run.log)
        return run

    def content(self, run):
        return {pathlib.Path(name).name.removesuffix(".pcap.gz"): f.raw for name, f in run.files().items()}


def record(seconds, fraction, caplen, wire_len, data):
    return struct.pack("<IIII", seconds, fraction, caplen, wire_len) + data


class Connections(Base):
    def test_one_connection_on_two_vlans_and_two_interfaces(self):
        """Hostile input 6: one flow, one file."""
        flow = g.Flow(1)
        packets = []
        for i, vlans in enumerate(([(0x8100, 5)], [(0x8100, 6)], []) * 3):
            flow.vlans = vlans
            packets.append(flow.packet(g.START + i * 1000))
        body = g.pcapng(packets, simple_noise=False)
        # A second interface, and every other packet comes from it.
        description = struct.unpack_from("<I", body, 4)[0]
        length = struct.unpack_from("<I", body, description + 4)[0]
        parts, at, odd = [body[:description + length], body[description:description + length]], description + length, False
        while at < len(body):
            kind, size = struct.unpack_from("<II", body, at)
            self.assertEqual(kind, 6)
            parts.append(body[at:at + 8] + struct.pack("<I", odd) + body[at + 12:at + size])
            at, odd = at + size, not odd
        run = self.read(b"".join(parts), flows=[flow])
        self.assertEqual(run.summary()["drops"], {})
        self.assertEqual(self.content(run), {flow.uuid: expected.file_bytes(packets)})

    def test_a_name_before_after_late_and_twice(self):
        """Hostile input 37: named, named, named; told twice: once; two for one key: two files; one for two keys: two
        files, the second with a suffix."""
        half = 10**9
        flows = [g.Flow(i) for i in range(6)]
        packets = g.interleave(*[[f.packet(g.START + f.ident * 1000 + n * half // 2) for n in range(30)] for f in flows[:4]])
        again = [flows[4].packet(g.START + n * 1000, flags=flags) for n, flags in enumerate((g.SYN, g.ACK, g.RST))]
        flows[4].count = 0
        other = g.Flow(7, client=str(flows[4].client), sport=flows[4].sport)
        later = [other.packet(g.START + half + n * 1000, flags=flags) for n, flags in enumerate((g.SYN, g.ACK, g.ACK))]
        shared = [flows[5].packet(g.START + half), g.Flow(8).packet(g.START + half + 5)]
        events = (flows[0].event(g.START - half) + flows[1].event(g.START + 10**6) +
                  flows[2].event(g.START + int(4.9 * 10**9)) + flows[3].event() * 2 +
                  flows[4].event(g.START, "first") + other.event(g.START + half + 1, "second") +
                  flows[5].event(g.START + half, "both") + g.Flow(8).event(g.START + half, "both"))
        run = self.read(g.pcap(g.interleave(packets, again, later, shared)), events=events)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        wanted = {f.uuid: expected.file_bytes([p for p in packets if p.flow == f.ident]) for f in flows[:4]}
        wanted.update({"first": expected.file_bytes(again), "second": expected.file_bytes(later)})
        found = self.content(run)
        self.assertEqual(sorted(found.pop(name) for name in ("both", "both.1")),
                         sorted(expected.file_bytes([p]) for p in shared))
        self.assertEqual(found, wanted)


class Records(Base):
    """Hostile input 28: lengths that cannot be."""

    def setUp(self):
        self.flow = g.Flow(1)
        self.good = self.flow.conversation(g.START)

    def savefile(self, *wrong, snaplen=262144):
        packets = [record(p.ts // 10**9, p.ts % 10**9, len(p.data), p.wire_len, p.data) for p in self.good]
        return g.pcap([], linktype=g.ETHERNET, snaplen=snaplen) + packets[0] + b"".join(wrong) + b"".join(packets[1:])

    def test_more_captured_than_there_was(self):
        """Hostile input 28: caplen above the wire length, and a wire length of 0: bad_record."""
        data = self.flow.packet(g.START + 5, number=9).data
        for wire_len in (0, 1, len(data) - 1):
            with self.subTest(wire_len=wire_len):
                run = self.read(self.savefile(record(1700000000, 5, len(data), wire_len, data)), flows=[self.flow])
                self.assertEqual(run.summary()["drops"], {"bad_record": 1}, run.log)
                self.assertEqual(self.content(run), {self.flow.uuid: expected.file_bytes(self.good)})

    def test_nothing_captured(self):
        """Hostile input 28: an empty record is a short frame."""
        run = self.read(self.savefile(record(1700000000, 5, 0, 0, b"")), flows=[self.flow])
        self.assertEqual(run.summary()["drops"], {"short_frame": 1}, run.log)

    def test_a_wire_length_of_four_gigabytes(self):
        """Hostile input 28: a length is only a number: saved, and written down as it was."""
        data = self.flow.packet(g.START + 5, number=9).data
        run = self.read(self.savefile(record(1700000000, 5, len(data), 0xFFFFFFFF, data)), flows=[self.flow])
        self.assertEqual(run.summary()["drops"], {}, run.log)
        (saved,) = run.files().values()
        self.assertIn(0xFFFFFFFF, [r.wire_len for r in saved.records])

    def test_more_than_the_savefile_allows(self):
        """Hostile input 28: caplen above the snaplen, or 2 GB of it: the reader's error ends the file; what was whole is
        saved, and nobody has asked for that much memory."""
        for caplen in (0x7FFFFFFF, 0xFFFFFFFF, 300000):
            for snaplen in (262144, 0xFFFFFFFF, 0):
                with self.subTest(caplen=caplen, snaplen=snaplen):
                    run = self.read(self.savefile(record(1700000000, 5, caplen, caplen, b""), snaplen=snaplen),
                                    flows=[self.flow], status=1)
                    self.assertRegex(run.log, r"in\.pcap: .*(record|packet|truncated|bytes|length|snapshot)", run.log)
                    self.assertEqual(run.summary()["packets"]["saved"], 1, run.log)


class Times(Base):
    def test_any_time_is_saved(self):
        """Hostile input 29: back by 1 ns and 1 h, 0, more microseconds than a second has, beyond 2038: saved, whatever
        it does to the order; nothing hangs and no flow waits for a time that never comes."""
        flow = g.Flow(1)
        start = g.START // 10**9
        for nano, times in ((True, [(start, 1), (start, 0), (start - 3600, 7), (0, 0), (2**31 + 5, 0), (2**32 - 1, 999999999),
                                    (start, 2)]),
                            (False, [(start, 0), (start, 1000000), (start, 4294967295), (start + 1, 0)])):
            with self.subTest(nano=nano):
                packets = [flow.packet(0, number=n) for n in range(len(times))]
                head = bytearray(g.pcap([], linktype=g.ETHERNET, nano=nano))
                body = b"".join(record(s, f, len(p.data), p.wire_len, p.data) for (s, f), p in zip(times, packets))
                run = self.read(bytes(head) + body)
                summary = run.summary()
                self.assertEqual((summary["drops"], summary["packets"]["saved"]), ({}, len(times)), run.log)
                numbers = [r.data[38:42] for name in sorted(run.files()) for r in run.files()[name].records]
                self.assertEqual(sorted(numbers), [p.data[38:42] for p in packets])

    def test_beyond_2106(self):
        """Hostile input 29: a pcapng time that classic seconds cannot hold is saved all the same."""
        flow = g.Flow(1)
        packets = [flow.packet(g.START), flow.packet(4294967296 * 10**9 + 5)]
        run = self.read(g.pcapng(packets, simple_noise=False))
        summary = run.summary()
        self.assertEqual((summary["drops"], summary["packets"]["saved"]), ({}, 2), run.log)


class Kinds(Base):
    def test_the_modified_magic(self):
        """Hostile input 30: Kuznetsov's savefiles, whose records carry an interface index and more."""
        flow = g.Flow(1)
        packets = [flow.packet(g.START + n * 1000) for n in range(5)]
        body = b"".join(record(p.ts // 10**9, p.ts % 10**9 // 1000, len(p.data), p.wire_len, b"\x02\0\0\0\0\x08\0\0" + p.data)
                        for p in packets)
        run = self.read(struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 262144, g.ETHERNET) + body, flows=[flow])
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(self.content(run), {flow.uuid: expected.file_bytes(packets)})


class Floods(Base):
    def bounded(self, run, limit):
        """Waits for its end; (status, the largest resident memory of a shard that was seen)."""
        largest = 0
        while run.process.poll() is None:
            try:
                run.process.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
            for pid in run.children().get("shardcap-shard", []):
                try:
                    found = re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
                except (FileNotFoundError, ProcessLookupError):
                    continue
                largest = max(largest, int(found.group(1)) * 1024 if found else 0)
        self.assertLess(largest, limit)
        return run.wait()

    def test_floods_of_every_kind(self):
        """Hostile input 34: SYN, ACK and RST from ever new addresses: bounded memory, and the named flow keeps all."""
        for flags, options in ((g.SYN, g.OPT_SYN), (g.ACK, g.OPT_TS), (g.RST, b"")):
            with self.subTest(flags=flags):
                named = g.Flow(1)
                flood = [g.Flow(2 + i).packet(g.START + i * 1000, flags=flags, options=options) for i in range(40000)]
                mine = [named.packet(g.START + i * 10**6) for i in range(40)]
                work = family.workdir(self)
                path = g.write(work / "in.pcap", g.pcap(g.interleave(flood, mine)))
                (work / "events").write_text(named.event())
                run = family.Family(self, "-read", path, f"-uuid.events={work}/events", "-maxheap=4MB", "-shards=1",
                                    "-uuidwaitduration=29s", work=work)
                limit = (4 + 16 + 24) << 20  # budget, ring, and what a program has anyway
                self.assertEqual(self.bounded(run, limit if not family.SANITIZED else 1 << 40), 0, run.log)
                self.assertLessEqual(set(run.summary()["drops"]), {"halfopen_evicted", "no_uuid", "budget"})
                self.assertEqual(self.content(run), {named.uuid: expected.file_bytes(mine)})

    def test_one_flow_that_never_ends(self):
        """Hostile input 34: one flow of ten million packets: whole in stream mode, within its memory."""
        count = 100 if family.SANITIZED else 10000
        flow = g.Flow(1)
        packet = flow.packet(g.START, options=b"")
        block = record(1700000000, 0, len(packet.data), packet.wire_len, packet.data) * 1000
        work = family.workdir(self)
        (work / "events").write_text(flow.event())
        run = family.Family(self, "-read=-", "-stream", f"-uuid.events={work}/events", "-maxheap=4MB", "-shards=1",
                            "-gzip=fast", work=work, stdin=subprocess.PIPE)
        with run.process.stdin as pipe:
            pipe.write(g.pcap([], linktype=g.ETHERNET))
            for _ in range(count):
                pipe.write(block)
        limit = (4 + 16 + 24) << 20
        self.assertEqual(self.bounded(run, limit if not family.SANITIZED else 1 << 40), 0, run.log)
        summary = json.loads(run.summary_file.read_text())
        self.assertEqual((summary["drops"], summary["packets"]["saved"]), ({}, count * 1000), run.log)
        self.assertEqual(summary["files"], 1)


if __name__ == "__main__":
    unittest.main()
