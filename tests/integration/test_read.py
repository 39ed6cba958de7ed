# SPDX-License-Identifier: Apache-2.0
"""Savefiles in, files out: every kind of savefile, byte for byte what the model says."""
import gzip
import json
import pathlib
import subprocess
import unittest

import expected
import family
import need
import pcapgen as g
import strictpcap


def packets_of(flows, **how):
    """Interleaved conversations that start 10 ms apart."""
    return g.interleave(*[f.conversation(g.START + i * 10_000_000, **how) for i, f in enumerate(flows)])


def many_shapes(linktype=g.ETHERNET):
    """Flows of every shape that a linktype can carry."""
    flows = [g.Flow(1, linktype=linktype), g.Flow(2, v6=True, linktype=linktype),
             g.Flow(3, ip_options=b"\x01\x01\x01\x00", linktype=linktype),
             g.Flow(4, v6=True, ext=(0, 60, 43), linktype=linktype), g.Flow(5, v6=True, ext=(44,), linktype=linktype)]
    if linktype in (g.ETHERNET, g.SLL, g.SLL2):
        flows += [g.Flow(6, vlans=[(0x8100, 100)], linktype=linktype),
                  g.Flow(7, vlans=[(0x88A8, 7), (0x8100, 5)], linktype=linktype),
                  g.Flow(8, v6=True, vlans=[(0x8100, 0)], linktype=linktype)]
    return flows


class Base(unittest.TestCase):
    maxDiff = 2000

    def content(self, run):
        return {name: f.raw for name, f in run.files().items()}

    def check(self, packets, flows, savefile, *args, anonymize=False, drops=None, **how):
        """Reads the savefile with all flows named; files as the model says, drops exactly those with a cause."""
        work = family.workdir(self)
        path = g.write(work / "in.pcap", savefile)
        run = family.read_savefile(self, path, *args, flows=flows, work=work, **how)
        summary = run.summary()
        self.assertEqual(summary["drops"], expected.causes(packets) if drops is None else drops, run.log)
        suffix = ".pcap" if "-gzip=none" in args else ".pcap.gz"
        wanted = expected.files(packets, flows, anonymize=anonymize, suffix=suffix)
        found = self.content(run)
        self.assertEqual(sorted(found), sorted(wanted), run.log)
        for name, raw in wanted.items():
            if found[name] != raw:
                have, want = strictpcap.parse(found[name]), strictpcap.parse(raw)
                self.assertEqual(have[:2], want[:2], name)
                for i, (a, b) in enumerate(zip(have.records, want.records)):
                    self.assertEqual((i, a.ts, a.wire_len, a.data.hex()), (i, b.ts, b.wire_len, b.data.hex()), name)
                self.assertEqual(len(have.records), len(want.records), name)
        self.assertEqual(summary["packets"]["delivered"], len(packets))
        self.assertEqual(run.leftovers(), [])
        for raw in found.values():
            self.assertNotIn(g.CANARY, raw)
        return run, summary


class Kinds(Base):
    def test_pcap_of_every_order_and_unit(self):
        """Hostile input 30."""
        flows = many_shapes()
        packets = packets_of(flows)
        for order in "<>":
            for nano in (True, False):
                with self.subTest(order=order, nano=nano):
                    self.check(packets, flows, g.pcap(packets, order, nano))

    def test_pcapng_of_every_order_and_unit(self):
        flows = many_shapes()
        packets = packets_of(flows)
        for order in "<>":
            for resolution in (9, 6):
                with self.subTest(order=order, resolution=resolution):
                    self.check(packets, flows, g.pcapng(packets, order, resolution))

    def test_pcapng_of_several_sections(self):
        """Hostile input 30."""
        flows = many_shapes()
        packets = packets_of(flows)
        self.check(packets, flows, g.pcapng(packets, sections=3))

    def test_nanoseconds_are_kept(self):
        flow = g.Flow(1)
        packets = [flow.packet(g.START + n * 1_000_003 + n) for n in range(50)]
        self.check(packets, [flow], g.pcap(packets, ">"))
        self.check(packets, [flow], g.pcapng(packets, ">"))

    def test_every_linktype(self):
        """Hostile input 32."""
        for linktype in (g.SLL, g.SLL2, g.RAW, g.NULL, g.LOOP, g.PPP):
            with self.subTest(linktype=linktype):
                flows = many_shapes(linktype)
                packets = packets_of(flows)
                self.check(packets, flows, g.pcap(packets))
        for linktype, v6 in ((g.IPV4, False), (g.IPV6, True)):
            with self.subTest(linktype=linktype):
                flows = [g.Flow(i, v6=v6, linktype=linktype) for i in range(3)]
                packets = packets_of(flows)
                self.check(packets, flows, g.pcap(packets))

    def test_null_and_loop_of_a_foreign_byte_order(self):
        """Hostile input 32."""
        flow = g.Flow(1, linktype=g.NULL)
        packets = packets_of([flow])
        for p in packets:
            p.data = p.data[3::-1] + p.data[4:]
        self.check(packets, [flow], g.pcap(packets))

    def test_an_unknown_linktype_is_refused_by_name(self):
        """Hostile input 30."""
        flow = g.Flow(1)
        path = g.write(family.workdir(self) / "in.pcap", g.pcap(packets_of([flow]), linktype=105))
        run = family.Family(self, "-read", path)
        self.assertEqual(run.wait(), 1)
        self.assertRegex(run.log.splitlines()[-1], r"105|802[._]11")

    def test_something_else_than_a_savefile(self):
        path = g.write(family.workdir(self) / "in.pcap", b"this is not a savefile, far from it\n" * 10)
        run = family.Family(self, "-read", path)
        self.assertEqual(run.wait(), 1)
        self.assertIn("in.pcap", run.log.splitlines()[-1])

    def test_a_compressed_savefile_is_told_what_to_do(self):
        work = family.workdir(self)
        path = g.write(work / "a.pcap.gz", gzip.compress(g.pcap(g.Flow(1).conversation(g.START))))
        run = family.Family(self, "-read", path, work=work)
        self.assertEqual(run.wait(), 1)
        self.assertIn(f"{path} is compressed; give what is in it: gzip -dc FILE | shardcap -read=-", run.log)
        self.assertFalse((work / "data").exists())

    def test_an_empty_savefile_is_no_error(self):
        path = g.write(family.workdir(self) / "in.pcap", g.pcap([], linktype=1))
        run = family.read_savefile(self, path)
        self.assertEqual(run.summary()["packets"], {"delivered": 0, "saved": 0, "lost": 0, "limits": 0})

    def test_standard_input(self):
        work = family.workdir(self)
        flows = many_shapes()
        packets = packets_of(flows)
        path = g.write(work / "in.pcap", g.pcap(packets))
        (work / "events").write_text("".join(f.event() for f in flows))
        with open(path, "rb") as stdin:
            run = family.Family(self, "-read", "-", f"-uuid.events={work}/events", stdin=stdin)
            self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(self.content(run), expected.files(packets, flows))
        cat = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
        self.addCleanup(cat.wait)
        with cat.stdout:
            run = family.Family(self, "-read", "-", f"-uuid.events={work}/events", stdin=cat.stdout)
            self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(self.content(run), expected.files(packets, flows))

    def test_several_savefiles_in_the_order_given(self):
        work = family.workdir(self)
        flows = [g.Flow(i) for i in range(4)]
        packets = packets_of(flows)
        (work / "events").write_text("".join(f.event() for f in flows))
        half = len(packets) // 2
        first = g.write(work / "z.pcap", g.pcap(packets[:half]))
        second = g.write(work / "a.pcapng", g.pcapng(packets[half:], ">"))
        run = family.Family(self, "-read", first, f"-read={second}", f"-uuid.events={work}/events")
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(self.content(run), expected.files(packets, flows))
        self.assertEqual(run.summary()["drops"], {})


class Content(Base):
    def test_payload_and_trailers_become_zeros(self):
        flow, six = g.Flow(1), g.Flow(2, v6=True)
        packets = []
        for i, (payload, trailer) in enumerate([(0, 6), (1, 0), (3, 20), (1400, 4), (0, 0), (39, 1)]):
            for f in (flow, six):
                for options in (b"", g.OPT_TS, g.OPT_SYN):
                    packets.append(f.packet(g.START + len(packets) * 1000, payload=payload, trailer=trailer,
                                            options=options))
            del i
        self.check(packets, [flow, six], g.pcap(packets))

    def test_header_length_is_that_of_the_first_packet(self):
        """A later packet with a longer link or IP header is cut there; a first frame that is padded adds nothing."""
        padded, tagged = g.Flow(1), g.Flow(2)
        packets = [padded.packet(g.START, options=b"", trailer=6)]
        packets += [padded.packet(g.START + 1000, options=g.OPT_SYN, payload=300)]
        packets += [tagged.packet(g.START + 2000)]
        tagged.vlans = [(0x8100, 7)]
        packets += [tagged.packet(g.START + 3000, options=g.OPT_SYN + bytes([1] * 20), payload=50)]
        self.check(packets, [padded, tagged], g.pcap(packets))

    def test_short_captures_keep_what_there_is(self):
        flow = g.Flow(1)
        packets = [flow.packet(g.START + i * 1000, payload=500) for i in range(4)]
        packets[1].cut(66)
        packets[2].cut(70)
        packets[3].cut(94)
        self.check(packets, [flow], g.pcap(packets))

    def test_maxheadersize_cuts_like_a_snaplen(self):
        flow = g.Flow(1)
        packets = [flow.packet(g.START + i * 1000, payload=500) for i in range(4)]
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(packets))
        run = family.read_savefile(self, path, "-maxheadersize=80", flows=[flow], work=work)
        self.assertEqual(list(self.content(run).values()), [expected.file_bytes(packets, 80)])

    def test_big_tcp_and_segmentation_offload(self):
        """Hostile inputs 10, 14. IPv6 payload length 0 and IPv4 total length 0 on frames longer than 65,535 bytes."""
        four, six = g.Flow(1), g.Flow(2, v6=True)
        packets = [four.packet(g.START, payload=70000, total_length=0),
                   six.packet(g.START + 1000, payload=70000, payload_length=0)]
        for p in packets:
            p.cut(200)
        self.check(packets, [four, six], g.pcap(packets))

    def test_sizes_of_the_wire_up_to_the_largest(self):
        flow = g.Flow(1)
        packets = [flow.packet(g.START + i * 1000, payload=i * 1400) for i in range(40)]
        self.check(packets, [flow], g.pcap(packets))

    def test_netblock(self):
        flows = [g.Flow(i, v6=i % 2 == 1, client=None if i % 2 else f"198.51.100.{i + 1}") for i in range(6)]
        flows[0].ip_options = b"\x01\x01\x01\x00"
        packets = packets_of(flows)
        # An IPv4 checksum that does not hold must not become one that does: it goes to 0.
        run, _ = self.check(packets, flows, g.pcap(packets), "-anonymize.ip=netblock", anonymize=True)
        for f in flows[::2]:
            self.assertNotIn(str(f.client), run.log)

    def test_netblock_does_not_mend_a_bad_checksum(self):
        flow = g.Flow(1, client="198.51.100.77")
        packets = packets_of([flow])
        for p in packets:
            p.data = p.data[:24] + b"\xde\xad" + p.data[26:]
        self.check(packets, [flow], g.pcap(packets), "-anonymize.ip=netblock", anonymize=True)

    def test_gzip_none_writes_plain_savefiles(self):
        flows = many_shapes()
        packets = packets_of(flows)
        self.check(packets, flows, g.pcap(packets), "-gzip=none")

    def test_every_gzip_mode_says_the_same(self):
        flows = many_shapes()
        packets = packets_of(flows, exchanges=200)
        for mode in ("auto", "small", "fast", "zlib"):
            with self.subTest(mode=mode):
                self.check(packets, flows, g.pcap(packets), f"-gzip={mode}")

    def test_stream_mode_equals_buffered_mode(self):
        flows = many_shapes()
        packets = packets_of(flows, exchanges=300)
        buffered, _ = self.check(packets, flows, g.pcap(packets))
        stream, _ = self.check(packets, flows, g.pcap(packets), "-stream")
        self.assertEqual(self.content(buffered), self.content(stream))

    def test_both_directions_and_odd_keys_are_one_flow_each(self):
        """Hostile inputs 25, 26."""
        flows = [g.Flow(1, client="192.0.2.10", server="192.0.2.10", sport=80, dport=80),   # LAND
                 g.Flow(2, sport=0, dport=0), g.Flow(3, client="0.0.0.0"), g.Flow(4, client="224.0.0.1"),
                 g.Flow(5, sport=443, dport=443), g.Flow(6, v6=True, client="2001:db8::9", server="2001:db8::9")]
        packets = packets_of(flows)
        # No event can name address 0.0.0.0 or port 0 sensibly: names come from the hash.
        work = family.workdir(self)
        run = family.read_savefile(self, g.write(work / "in.pcap", g.pcap(packets)), work=work)
        by_flow = {}
        for p in packets:
            by_flow.setdefault(p.flow, []).append(p)
        self.assertEqual(sorted(self.content(run).values()), sorted(expected.file_bytes(p) for p in by_flow.values()))
        self.assertEqual(run.summary()["drops"], {})

    def test_ipv4_mapped_addresses_are_the_ipv4_flow(self):
        """Hostile input 20."""
        flow = g.Flow(1, client="10.0.0.9")
        mapped = g.Flow(1, v6=True, client="::ffff:10.0.0.9", server="::ffff:192.0.2.10")
        packets = [flow.packet(g.START), mapped.packet(g.START + 1000, number=1), flow.packet(g.START + 2000, number=2)]
        work = family.workdir(self)
        run = family.read_savefile(self, g.write(work / "in.pcap", g.pcap(packets)), flows=[flow], work=work)
        self.assertEqual(list(self.content(run).values()), [expected.file_bytes(packets)])


class Shards(Base):
    def test_the_same_files_and_summary_for_any_number_of_shards(self):
        flows = [g.Flow(i, v6=i % 3 == 0) for i in range(200)]
        packets = packets_of(flows, exchanges=10)
        seen = []
        for shards in (1, 2, 7, 1, 7):
            run, summary = self.check(packets, flows, g.pcap(packets), f"-shards={shards}")
            for when in ("seconds", "started", "ended"):
                del summary[when]
            seen.append((self.content(run), summary))
        for other in seen[1:]:
            self.assertEqual(seen[0], other)

    def test_the_same_with_flows_that_end_come_back_and_stay_unnamed(self):
        """GC, captureduration and unnamed flows must not depend on the number of shards either."""
        flows = [g.Flow(i) for i in range(120)]
        packets = []
        for i, f in enumerate(flows):
            at = g.START + i * 37_000_000
            for pause in (0, 3, 3.5, 9, 9.1, 30, 31, 75, 200):
                packets.append(f.packet(at + int(pause * 10**9) + i, payload=10))
        packets = g.interleave(packets)
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(packets))
        for args in (["-uuid.source=hash"], []):
            seen = []
            for shards in (1, 2, 7, 2):
                run = family.read_savefile(self, path, "-flowtimeout=4s", "-captureduration=20s", f"-shards={shards}",
                                           *args, flows=None if args else flows[:60])
                summary = run.summary()
                for when in ("seconds", "started", "ended"):
                    del summary[when]
                seen.append((self.content(run), summary))
            for other in seen[1:]:
                self.assertEqual(seen[0], other)

    def test_very_many_flows_interleaved(self):
        """20,000 flows of 8 packets, the flow coded in each packet: nothing foreign, nothing twice, in order."""
        work = family.workdir(self)
        flows = g.bulk(work / "in.pcap", work / "events", 20000, 8)
        run = family.Family(self, "-read", work / "in.pcap", f"-uuid.events={work}/events", "-shards=2",
                            "-syncinterval=0")
        self.assertEqual(run.wait(120), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})
        found = run.files()
        self.assertEqual(len(found), len(flows))
        for name, f in found.items():
            ident = int(pathlib.Path(name).name[5:11])
            self.assertEqual([int.from_bytes(r.data[38:42], "big") for r in f.records],
                             [ident << 12 | n for n in range(8)], name)

    def test_a_ring_of_the_smallest_size_waits_and_drops_nothing(self):
        work = family.workdir(self)
        flows = g.bulk(work / "in.pcap", work / "events", 50, 2000)
        run = family.Family(self, "-read", work / "in.pcap", f"-uuid.events={work}/events", "-ringsize=64KB",
                            "-shards=2")
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})
        self.assertEqual(run.summary()["packets"]["saved"], 100000)
        self.assertEqual(len(run.files()), len(flows))


class Names(Base):
    def test_hash_names_are_stable_and_one_per_flow(self):
        flows = [g.Flow(i) for i in range(30)]
        packets = packets_of(flows)
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(packets))
        one, two = family.read_savefile(self, path, "-shards=1"), family.read_savefile(self, path, "-shards=3")
        self.assertEqual(self.content(one), self.content(two))
        self.assertEqual(len(one.files()), 30)
        for name in one.files():
            self.assertRegex(name, r"^2023/11/14/hash_[0-9A-F]{16}\.pcap\.gz$")

    def test_a_prefix_file_gives_the_prefix(self):
        work = family.workdir(self)
        (work / "prefix").write_text("ndt-abc_1700000000\n")
        path = g.write(work / "in.pcap", g.pcap(packets_of([g.Flow(1)])))
        run = family.read_savefile(self, path, f"-uuid-prefix-file={work}/prefix")
        (name,) = run.files()
        self.assertRegex(name, r"^2023/11/14/ndt-abc_1700000000_[0-9A-F]{16}\.pcap\.gz$")

    def test_hash_names_do_not_give_the_masked_octet_away(self):
        """Two clients of one /24 at the same moment: the same name under netblock, so the second gets a suffix."""
        names = []
        for host in (1, 200):
            packets = packets_of([g.Flow(1, client=f"198.51.100.{host}")])
            path = g.write(family.workdir(self) / "in.pcap", g.pcap(packets))
            names.append(list(family.read_savefile(self, path, "-anonymize.ip=netblock").files()))
        self.assertEqual(names[0], names[1])

    def test_the_directory_is_the_date_of_the_event(self):
        flow = g.Flow(1)
        packets = packets_of([flow])
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(packets))
        (work / "events").write_text(flow.event(g.START - 3 * 86400 * 10**9))
        run = family.read_savefile(self, path, f"-uuid.events={work}/events")
        self.assertEqual(list(run.files()), [f"2023/11/11/{flow.uuid}.pcap.gz"])

    def test_an_event_that_comes_late_but_in_time(self):
        flow = g.Flow(1)
        packets = [flow.packet(g.START + i * 10**8) for i in range(100)]
        for late in (0, 1, 4.9):
            with self.subTest(late=late):
                work = family.workdir(self)
                path = g.write(work / "in.pcap", g.pcap(packets))
                (work / "events").write_text(flow.event(g.START + int(late * 10**9)))
                run = family.read_savefile(self, path, f"-uuid.events={work}/events")
                self.assertEqual(list(self.content(run).values()), [expected.file_bytes(packets)], run.log)

    def test_a_second_file_of_a_name_gets_a_suffix(self):
        """The same connection comes back after GC: nothing is overwritten, nothing is lost."""
        flow = g.Flow(1)
        first = [flow.packet(g.START + i * 10**6) for i in range(5)]
        second = [flow.packet(g.START + 100 * 10**9 + i * 10**6) for i in range(5)]
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(first + second))
        (work / "events").write_text(flow.event(g.START) + flow.event(g.START + 100 * 10**9))
        run = family.read_savefile(self, path, f"-uuid.events={work}/events", "-flowtimeout=5s")
        self.assertEqual(self.content(run), {
            f"2023/11/14/{flow.uuid}.pcap.gz": expected.file_bytes(first),
            f"2023/11/14/{flow.uuid}.1.pcap.gz": expected.file_bytes(second)})
        self.assertEqual(run.summary()["drops"], {})

    def test_a_flow_that_pauses_beyond_gc_gets_its_name_again(self):
        """One event names all of the connection; a new one on the same key (a SYN) is not meant by it."""
        flow = g.Flow(1)
        parts = [[flow.packet(g.START + at * 10**9 + i * 10**6) for i in range(5)] for at in (0, 100, 300)]
        syn = [flow.packet(g.START + 500 * 10**9, flags=g.SYN)]
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(sum(parts, []) + syn))
        (work / "events").write_text(flow.event(g.START))
        for shards in (1, 3):
            run = family.read_savefile(self, path, f"-uuid.events={work}/events", "-flowtimeout=5s", f"-shards={shards}")
            self.assertEqual(self.content(run), {
                f"2023/11/14/{flow.uuid}{suffix}.pcap.gz": expected.file_bytes(part)
                for suffix, part in zip(("", ".1", ".2"), parts)})
            self.assertEqual(run.summary()["drops"], {"no_uuid": 1})

    def test_bad_event_lines_are_passed_over(self):
        """Hostile input 38."""
        flow = g.Flow(1)
        packets = packets_of([flow])
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(packets))
        bad = ["", "{", '{"Event":0}', flow.event(uuid="../../etc/x"), flow.event(uuid="a/b"), "x" * 70000, "\x00",
               json.dumps({"Event": 9}), '{"Event":0,"UUID":"a","ID":null}']
        (work / "events").write_text("".join(line.rstrip("\n") + "\n" for line in bad) +
                                     flow.event().rstrip("\n") + "\r\n" + "not json without an end")
        run = family.read_savefile(self, path, f"-uuid.events={work}/events")
        self.assertEqual(self.content(run), expected.files(packets, [flow]))

    def test_a_reused_port_is_two_flows(self):
        """Hostile input 36. FIN both ways, then a SYN with a new sequence number on the same ports: two whole files."""
        one = g.Flow(1)
        two = g.Flow(2, client=str(one.client), sport=one.sport)
        first, second = one.conversation(g.START), two.conversation(g.START + 10**9)
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(first + second))
        run = family.read_savefile(self, path)
        self.assertEqual(sorted(self.content(run).values()),
                         sorted([expected.file_bytes(first), expected.file_bytes(second)]))


class Truncated(Base):
    def test_what_was_whole_is_saved(self):
        flows = [g.Flow(i) for i in range(3)]
        packets = packets_of(flows)
        for kind, whole in (("pcap", g.pcap(packets)), ("pcapng", g.pcapng(packets, simple_noise=False))):
            for cut in (5, len(packets[-1].data) + 9):
                with self.subTest(kind=kind, cut=cut):
                    work = family.workdir(self)
                    path = g.write(work / "cut.pcap", whole[:-cut])
                    (work / "events").write_text("".join(f.event() for f in flows))
                    run = family.Family(self, "-read", path, f"-uuid.events={work}/events")
                    self.assertEqual(run.wait(), 1, run.log)
                    self.assertIn("cut.pcap", run.log)
                    self.assertEqual(self.content(run), expected.files(packets[:-1], flows))
                    run.summary()


class Tshark(Base):
    def test_tshark_agrees_field_by_field(self):
        need.need("tshark")
        flows = many_shapes()
        packets = packets_of(flows, exchanges=5)
        run, _ = self.check(packets, flows, g.pcap(packets))
        fields = ["frame.time_epoch", "frame.len", "tcp.seq_raw", "tcp.flags", "tcp.srcport", "tcp.options"]

        def ask(path):
            command = ["tshark", "-r", str(path), "-T", "fields", *[w for f in fields for w in ("-e", f)]]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        saved = [line for name in run.files() for line in ask(run.datadir / name)]
        self.assertEqual(len(saved), len(packets))
        self.assertEqual(sorted(saved), sorted(ask(run.work / "in.pcap")))


if __name__ == "__main__":
    unittest.main()
