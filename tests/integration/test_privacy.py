# SPDX-License-Identifier: Apache-2.0
"""What a privacy officer asks: no byte behind a header anywhere, and no masked bit given back by anything that is written
or said. Every search is also shown to find what is really there."""
import ipaddress
import json
import os
import pathlib
import re
import struct
import subprocess
import time
import unittest

import eventserver
import expected
import family
import leaks
import need
import netns
import pcapgen as g
import traffic
import watcher

IN_USER_NAMESPACE = True
NETBLOCK = "-anonymize.ip=netblock"
LINKTYPES = (g.ETHERNET, g.SLL, g.SLL2, g.RAW, g.NULL, g.LOOP, g.PPP, g.IPV4, g.IPV6)

# Sources that end in parts that nothing else has. The IPv6 ones: EUI-64 of a MAC, two that hold an IPv4 address.
MAC = bytes.fromhex("a2b1c3d4e5f6")
EUI64 = "2001:db8:77:beef:a0b1:c3ff:fed4:e5f6"
HIDDEN4 = ["198.51.100.203", "203.0.113.187", "192.0.2.171"]
HIDDEN6 = [EUI64, "2001:db8:77:abcd:9f8e:7d6c:5b4a:3928", "64:ff9b:1:fedc:ba98:7654:c633:64cb"]


def flows_of(linktype, **how):
    """Flows of every shape that the linktype can carry."""
    out = []
    for v6, ext, vlans in ((False, (), ()), (True, (), ()), (True, (0, 60, 43), ()), (True, (44,), ()),
                           (False, (), [(0x8100, 7)]), (True, (60,), [(0x88A8, 7), (0x8100, 5)])):
        if v6 and linktype == g.IPV4 or not v6 and linktype == g.IPV6:
            continue
        if vlans and linktype not in (g.ETHERNET, g.SLL, g.SLL2):
            continue
        out.append(g.Flow(len(out) + 1, v6=v6, ext=ext, vlans=vlans, linktype=linktype, **how))
    return out


class Base(unittest.TestCase):
    maxDiff = 4000

    def nothing(self, haystack, needles):
        found = leaks.find(haystack, needles)
        self.assertEqual(found, [], "\n".join(found))

    def read(self, packets, *args, **how):
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(packets))
        return family.read_savefile(self, path, *args, work=work, **how)

    def everything(self, run):
        """All that a run has left behind but what it was given."""
        out = leaks.written(run.datadir, f"{run.datadir}.staging", run.rundir)
        return out + [("log", run.log.encode()), ("summary", run.summary_file.read_bytes())]


class Canary(Base):
    """A4. Behind every header stands a canary: as payload, as a trailer, behind a bad option, behind short padding."""
    timeout = 240
    NEEDLES = [("canary", piece) for piece in leaks.canaries(6)]
    SHORT = [("canary", piece) for piece in leaks.canaries(3)]

    def packets(self, flows):
        out = []
        for flow in flows:
            ts = g.START + flow.ident
            bad_option = b"\x01\x01\xfe\x40" + g.canary(8)
            for i, how in enumerate([dict(flags=g.SYN, options=g.OPT_SYN), dict(payload=1), dict(payload=60),
                                     dict(payload=1000), dict(payload=7, trailer=40), dict(trailer=6), dict(options=b""),
                                     dict(options=b"", trailer=46), dict(options=bad_option, payload=40),
                                     dict(options=b"\0" + g.canary(7), payload=9)] * 24):
                out.append(flow.packet(ts + i * 1000, **how))
        return sorted(out, key=lambda p: p.ts)

    def run_one(self, linktype, *args):
        """The savefile comes through a pipe that stays open, so that the family can be looked into while it waits."""
        flows = flows_of(linktype)
        packets = self.packets(flows)
        work = family.workdir(self)
        end, pipe = os.pipe()
        run = family.Family(self, "-read=-", "-shards=2", "-ringsize=1MB", "-maxheap=32MB", "-syncinterval=0s",
                            "-prometheusx.listen-address=127.0.0.1:0", *args, stdin=end, work=work)
        os.close(end)
        with open(pipe, "wb") as out:
            out.write(g.pcap(packets))
            out.flush()
            run.until(lambda: run.metric("shardcap_packets_consumed_total") >= len(packets) - 2 * 64, "packets arrive")
            inside = leaks.written(run.datadir, f"{run.datadir}.staging") + leaks.shared_memory(run.supervisor())
            for name, pids in run.children().items():
                if not name.endswith("dispatcher"):
                    for pid in pids:
                        inside += leaks.process_memory(pid, name)
        self.assertEqual(run.wait(), 0, run.log)
        self.nothing(inside, self.NEEDLES)
        # The search looks where packets are: ports and half a sequence number are found in a ring and in an arena.
        header = struct.pack(">HHH", flows[0].sport, flows[0].dport, 0)
        seen = " ".join(leaks.find(inside, [("header", header)]))
        self.assertIn("memory ring", seen)
        self.assertIn("memory arena", seen)
        self.assertTrue(any(where.startswith("shardcap-shard") for where, _ in inside))
        self.assertTrue(any(where.startswith("shardcap-hub") for where, _ in inside))
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.nothing([(name, f.raw) for name, f in run.files().items()], self.SHORT)
        self.nothing(self.everything(run), self.NEEDLES)

    def test_nowhere_for_any_linktype_in_any_mode(self):
        need.need("root")  # to look into other processes
        for linktype in LINKTYPES:
            for args in ((), ("-stream",), ("-gzip=none", "-stream", NETBLOCK)):
                with self.subTest(linktype=linktype, args=args):
                    if "-gzip=none" in args and linktype not in (g.ETHERNET, g.SLL):
                        continue
                    self.run_one(linktype, *args)


class Live(Base):
    """Frames that no socket would send, over a veth pair."""

    def setUp(self):
        need.need("netns")
        self.a, self.b = netns.pair(self)

    def start(self, *args, **how):
        return family.Family(self, "-interface=veth0", "-uuid.source=hash", *args, namespace=self.a.name, **how).ready()

    def delivered(self, run, wanted):
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= wanted, f"{wanted} packets are delivered")

    def flows(self):
        """TCP behind tags and extension headers, to this machine; each in a shape that plain `tcp` may miss."""
        shapes = [(v6, ext, vlans) for vlans in ([], [(0x8100, 5)], [(0x88A8, 7), (0x8100, 5)],
                                                [(0x8100, 1), (0x8100, 2), (0x8100, 3)])
                  for v6, ext in ((False, ()), (True, ()), (True, (0,)), (True, (60,)), (True, (43,)), (True, (44,)),
                                  (True, (0, 60, 43)), (True, (0, 60, 43, 44, 60)), (True, (60,) * 16))]
        return [g.Flow(i, v6=v6, ext=ext, vlans=vlans, client="fd77::2" if v6 else "10.77.0.2",
                       server="fd77::1" if v6 else "10.77.0.1") for i, (v6, ext, vlans) in enumerate(shapes, 1)]

    def udp(self, v6=False, ext=(), vlans=(), size=40):
        src, dst = (ipaddress.ip_address(x).packed for x in (("fd77::2", "fd77::1") if v6 else ("10.77.0.2", "10.77.0.1")))
        body = struct.pack(">HHHH", 5000, 6000, 8 + size, 0) + bytes(size)
        if v6:
            chain = g.ext_chain(ext, 17)
            ip = struct.pack(">IHBB", 0x60000000, len(chain) + len(body), ext[0] if ext else 17, 64) + src + dst + chain
        else:
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0x4000, 64, 17, 0) + src + dst
        return g.link_header(g.ETHERNET, 0x86DD if v6 else 0x0800, vlans) + ip + body

    def test_tags_and_extension_headers(self):
        run = self.start()
        flows = self.flows()
        packets = [flow.packet(0, payload=20, trailer=0) for flow in flows for _ in range(3)]
        self.b.send_frames([p.data for p in packets])
        self.delivered(run, len(packets))
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        saved = sorted(r.data for f in run.files().values() for r in f.records)
        wanted = [data for flow in flows for _, _, data in
                  expected.records([p for p in packets if p.flow == flow.ident])[1]]
        self.assertEqual(saved, sorted(wanted))

    def test_udp_wakes_nobody(self):
        """Not delivered at all: the kernel keeps it away, behind tags and up to three extension headers, too."""
        run = self.start()
        frames = [self.udp(), self.udp(vlans=[(0x8100, 5)]), self.udp(vlans=[(0x88A8, 7), (0x8100, 5)]), self.udp(True),
                  self.udp(True, vlans=[(0x8100, 5)]), self.udp(True, (0,)), self.udp(True, (60,)),
                  self.udp(True, (43,), [(0x8100, 5)]), self.udp(True, (0, 60)), self.udp(True, (60, 44)),
                  self.udp(True, (0, 43, 60)), self.udp(True, (0, 60), [(0x88A8, 7), (0x8100, 5)])]
        flow = g.Flow(1, client="10.77.0.2", server="10.77.0.1")
        self.b.send_frames(frames * 200 + [flow.packet(0).data])
        self.delivered(run, 1)
        self.assertEqual(run.stop(), 0, run.log)
        summary = run.summary()
        self.assertEqual((summary["packets"]["delivered"], summary["drops"]), (1, {}), run.log)
        # The kernel counts from the socket's bind on, the filter is there a moment later: a neighbour's greeting may be in it.
        self.assertLess(summary["kernel"]["received"], 20)

    def test_trailers_and_payload_stay_away(self):
        run = self.start("-stream")
        flow = g.Flow(1, client="10.77.0.2", server="10.77.0.1")
        packets = [flow.packet(0, payload=p, trailer=t, options=o) for p, t, o in
                   ((0, 6, b""), (0, 40, g.OPT_TS), (1, 5, b""), (300, 60, g.OPT_TS), (9, 9, b"\x01\x01\xfe\x40" + g.canary(4)))]
        self.b.send_frames([p.data for p in packets])
        self.delivered(run, len(packets))
        self.assertEqual(run.stop(), 0, run.log)
        self.nothing(self.everything(run), [("canary", c) for c in leaks.canaries(5)])
        (saved,) = run.files().values()
        self.assertEqual(len(saved.records), len(packets))
        self.nothing([("file", saved.raw)], Canary.SHORT)


# ---- netblock ----

def flow_pair(i, client, server=None, **how):
    v6 = ":" in client
    return g.Flow(i, v6=v6, client=client, server=server or ("2001:db8:1:2:3:4:5:6" if v6 else "192.0.2.10"), **how)


def hidden_conversations(linktype=g.ETHERNET):
    flows = [flow_pair(i, c, linktype=linktype) for i, c in enumerate(HIDDEN4 + HIDDEN6, 1)
             if not (linktype == g.IPV4 and ":" in c or linktype == g.IPV6 and ":" not in c)]
    return flows, [p for flow in flows for p in flow.conversation(g.START + flow.ident * 10**7)]


def put_mac(packets):
    """The client's MAC is the one that its EUI-64 address is made of."""
    for p in packets:
        if p.linktype == g.ETHERNET:
            p.data = MAC + MAC + p.data[12:]
        elif p.linktype in (g.SLL, g.SLL2):
            at = 6 if p.linktype == g.SLL else 12
            p.data = p.data[:at] + MAC + p.data[at + 6:]


class Netblock(Base):
    """A6. Host parts that occur nowhere else, looked for in all that is written."""

    NEEDLES = [n for address in HIDDEN4 + HIDDEN6 for n in leaks.spellings(address)] + \
        [("MAC", MAC), ("MAC", MAC.hex().encode()), ("MAC", MAC.hex(":").encode())]

    def test_host_parts_are_nowhere(self):
        for linktype in LINKTYPES:
            flows, packets = hidden_conversations(linktype)
            put_mac(packets)
            for args in ((), ("-stream",)):
                with self.subTest(linktype=linktype, args=args):
                    run = self.read(packets, NETBLOCK, "-log.level=debug", *args)
                    self.assertEqual(run.summary()["drops"], {}, run.log)
                    self.nothing(self.everything(run), self.NEEDLES)
                    self.check_flows_in_the_log(run, "saved", flows)
            # The search finds them where they are.
            run = self.read(packets)
            found = leaks.find(self.everything(run), self.NEEDLES)
            for flow in flows:
                tail = flow.client.packed[8:] if flow.v6 else flow.client.packed
                self.assertTrue(any(repr(tail) in line for line in found), flow.client)

    def test_bad_events_and_flows_without_a_name_tell_nothing(self):
        flows, packets = hidden_conversations()
        work = family.workdir(self)
        lines = [flow.event().replace("test_", "../") for flow in flows] + [flow.event()[:-20] + "\n" for flow in flows] + \
            [flow.event().replace('"SPort":', '"SPort":7') for flow in flows]
        (work / "events").write_text("".join(lines))
        path = g.write(work / "in.pcap", g.pcap(packets))
        run = family.read_savefile(self, path, NETBLOCK, "-log.level=debug", f"-uuid.events={work}/events", work=work)
        self.assertEqual(set(run.summary()["drops"]), {"no_uuid"}, run.log)
        self.nothing(self.everything(run), self.NEEDLES)
        self.check_flows_in_the_log(run, "lost", flows)

    def check_flows_in_the_log(self, run, fate, flows):
        """At debug each flow's end is a line, with the addresses that its file shows."""
        said = sorted(re.findall(rf" DEBUG shard.* flow {fate} flow=(\S+) ", run.log))
        self.assertEqual(said, sorted(self.flow_text(flow) for flow in flows), run.log)

    @staticmethod
    def flow_text(flow):
        ends = sorted((expected.netblock(str(ip)), port) for ip, port in ((flow.client, flow.sport), (flow.server, flow.dport)))
        return "<->".join(f"{ipaddress.ip_address(ip)}:{port}" for ip, port in ends)

    # ---- the checksum ----

    def candidates(self, record):
        """Of a saved IPv4 record: which last octets of the source, sent with a right checksum, would leave these bytes?"""
        fit = 0
        for octet in range(256):
            ip = bytearray(record.data[14:34])
            ip[15] = octet
            ip[10:12] = b"\0\0"
            ip[10:12] = struct.pack(">H", g.checksum(bytes(ip)))
            sent = record.data[:14] + bytes(ip) + record.data[34:]
            fit += expected.anonymized(sent, 14, 34) == record.data
        return fit

    def octets_by_checksum(self, record):
        """The attack as one does it: put each octet in and see where the checksum that is there comes out right."""
        ip = bytearray(record.data[14:34])
        out = []
        for ip[15] in range(256):
            out += [ip[15]] if g.checksum(bytes(ip)) == 0 else []
        return out

    def test_checksum_attack(self):
        flows = [flow_pair(i, f"198.51.100.{i * 7}") for i in range(1, 30)]
        packets = [p for flow in flows for p in flow.conversation(g.START + flow.ident)]
        for p in packets[::3]:
            p.data = p.data[:24] + bytes([p.data[24] ^ 0x5A]) + p.data[25:]
        run = self.read(packets, NETBLOCK, flows=flows)
        records = [r for f in run.files().values() for r in f.records]
        self.assertEqual(len(records), len(packets))
        self.assertEqual({self.candidates(r) for r in records}, {0, 256})
        self.assertLessEqual({tuple(self.octets_by_checksum(r)) for r in records}, {(), (0,)})
        # On files that are not anonymized the attack works.
        plain = self.read([p for p in packets if p.data[29] != 10], flows=flows)
        for name, f in plain.files().items():
            secret = int(pathlib.Path(name).name.removeprefix("test_").split(".")[0]) * 7
            for r in f.records:
                octets = self.octets_by_checksum(r)
                self.assertIn(octets, ([secret], []))

    # ---- names ----

    def name_by_hash(self, a, a_port, b, b_port, first_ns):
        """The published rule: SipHash-2-4, key zero, over length, the two ends in order, ports, first time."""
        (a, a_port), (b, b_port) = sorted([(a, a_port), (b, b_port)])
        return "hash_%016X" % siphash(bytes([len(a)]) + a + b + struct.pack(">HH", a_port, b_port) + struct.pack("<q", first_ns))

    def names(self, client, server, **how):
        flow = flow_pair(1, client, server, **how)
        run = self.read(flow.conversation(g.START), NETBLOCK)
        return flow, [pathlib.Path(n).name.removesuffix(".pcap.gz") for n in run.files()]

    def test_names_do_not_give_the_octet(self):
        """Flows that differ in masked bits only have one name, be the other end of the same network or not."""
        for server, clients in (("192.0.2.10", ("198.51.100.1", "198.51.100.7", "198.51.100.255")),
                                ("192.0.2.10", ("192.0.2.9", "192.0.2.11", "192.0.2.200")),
                                ("2001:db8:1::9", ("2001:db8:1::8", "2001:db8:1:ffff::a", EUI64.replace("77", "1"))),
                                ("2001:db8:1::9", ("2002:c000:201::1", "2002:c000:2ff:7::1"))):
            with self.subTest(server=server, clients=clients):
                seen = {self.names(client, server)[1][0] for client in clients}
                self.assertEqual(len(seen), 1, seen)

    def test_all_candidates_of_an_octet_have_the_name(self):
        flow, (name,) = self.names("198.51.100.77", "192.0.2.10")
        network, server = flow.client.packed[:3], flow.server.packed
        masked = {self.name_by_hash(expected.netblock(str(ipaddress.ip_address(network + bytes([octet])))), flow.sport,
                                    expected.netblock(str(flow.server)), flow.dport, g.START) for octet in range(256)}
        self.assertEqual(masked, {name})
        # And no name is made of an octet: the 65,536 hashes over whole addresses leave but that of the masked ones.
        whole = [(a, b) for a in range(256) for b in range(256)
                 if self.name_by_hash(network + bytes([a]), flow.sport, server[:3] + bytes([b]), flow.dport, g.START) == name]
        self.assertEqual(whole, [(0, 0)])

    def test_exempt_addresses_stay(self):
        flows = [flow_pair(1, HIDDEN4[0]), flow_pair(2, HIDDEN4[1]), flow_pair(3, HIDDEN6[0]), flow_pair(4, HIDDEN6[1])]
        packets = [p for flow in flows for p in flow.conversation(g.START + flow.ident)]
        run = self.read(packets, NETBLOCK, f"-anonymize.exempt={HIDDEN4[0]},{HIDDEN6[0]}")
        everything = self.everything(run)
        self.nothing(everything, [n for a in (HIDDEN4[1], HIDDEN6[1]) for n in leaks.spellings(a)])
        for address in (HIDDEN4[0], HIDDEN6[0]):
            self.assertTrue(leaks.find(everything, leaks.spellings(address)))


def siphash(data, key=(0, 0)):
    """SipHash-2-4 (Aumasson, Bernstein 2012)."""
    mask = (1 << 64) - 1
    v = [key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D, key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573]

    def left(x, n):
        return (x << n | x >> (64 - n)) & mask

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & mask
            v[2] = (v[2] + v[3]) & mask
            v[1], v[3] = left(v[1], 13) ^ v[0], left(v[3], 16) ^ v[2]
            v[0] = left(v[0], 32)
            v[2] = (v[2] + v[1]) & mask
            v[0] = (v[0] + v[3]) & mask
            v[1], v[3] = left(v[1], 17) ^ v[2], left(v[3], 21) ^ v[0]
            v[2] = left(v[2], 32)
    whole = len(data) // 8 * 8
    words = [int.from_bytes(data[i:i + 8], "little") for i in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:].ljust(7, b"\0") + bytes([len(data) & 255]), "little"))
    for word in words:
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


class NetblockLive(Live):
    """The same with the whole family at work: events, injection, metrics, pages, logs."""
    timeout = 180
    CLIENT4, CLIENT6 = "10.77.0.203", "fd77::9f8e:7d6c:5b4a:3928"
    NEEDLES = [n for address in (CLIENT4, CLIENT6) for n in leaks.spellings(address)]

    def setUp(self):
        super().setUp()
        self.b.ip("addr", "flush", "dev", "veth0")
        self.b.ip("addr", "add", f"{self.CLIENT4}/24", "dev", "veth0")
        self.b.ip("addr", "add", f"{self.CLIENT6}/64", "dev", "veth0", "nodad")

    def request(self, run, text):
        done = subprocess.run(["nanocat", "--req", "--connect", f"ipc://{run.rundir}/ctl.sock", "--raw", "--recv-timeout",
                               "5", "--send-timeout", "5", "-D", text], capture_output=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_nothing_that_is_written_or_said(self):
        need.need("nanocat")
        work = family.workdir(self)
        events = eventserver.EventServer(self, work / "tcpevents.sock")
        run = family.Family(self, "-interface=veth0", NETBLOCK, "-log.level=debug", "-shards=2", "-flowtimeout=1s",
                            f"-tcpinfo.eventsocket={events.path}", namespace=self.a.name, work=work).ready()
        run.until(lambda: events.accepted, "the hub connects")
        watch = watcher.Watcher(self, run, "")
        server4 = traffic.Server(self, self.a, on_accept=traffic.announce(events))
        server6 = traffic.Server(self, self.a, "::", on_accept=traffic.announce(events))
        said = []
        for _ in range(5):
            traffic.fetch(self.b, "10.77.0.1", server4.port, 3000)
            traffic.fetch(self.b, "fd77::1", server6.port, 3000)
        for address, local in ((self.CLIENT4, "10.77.0.1"), (self.CLIENT6, "fd77::1")):
            line = g.event_line("named-by-hand", time.time_ns(), local, 443, address, 4711)
            bad = [line.replace("named", "../"), line.replace("4711", "-4711"), line[:-9] + "\n", line.replace("Z", "!"),
                   line.replace(f'"{local}"', '"nonsense"'), line.replace('"Event":0', '"Event":9'), f"{address}\n"]
            events.emit("".join(bad))
            said += [self.request(run, "uuid.open " + line), self.request(run, address), self.request(run, "status " + address)]
            said += [self.request(run, text) for text in bad]
        run.until(lambda: run.metric("pcap_tcpinfohandler_bad_events_total") >= 14, "bad events are counted")
        self.b.send_frames([g.Flow(1, client=self.CLIENT4, server="10.77.0.1").packet(0).data])  # a flow that nobody names
        said += [self.request(run, "status"), self.request(run, "status table"), self.request(run, "restart nobody")]
        said += [self.request(run, f"replay {shard} 0 0") for shard in (0, 1)]  # that is the shards' own socket
        said += [run.get(page)[1].encode() for page in ("/", "/metrics", "/healthz", "/readyz", "/api/status")]
        run.until(lambda: all(watch.of(t) for t in ("uuid.open", "flow.saved", "flow.lost", "stats")), "events.sock tells")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertGreaterEqual(run.summary()["files"], 10)
        said.append(watch.path.read_bytes())
        self.assertTrue(any("10.77.0.0:" in o["Flow"] for o in watch.of("flow.saved")), said[-1])
        self.nothing(self.everything(run) + [(f"answer {i}", text) for i, text in enumerate(said)], self.NEEDLES)
        self.assertTrue(any(b"ok shard=" in text for text in said))

    def test_saved_records_are_masked_in_memory(self):
        """A ring holds headers as they came; what the arena keeps for the file is masked already. (Keys are whole.)"""
        need.need("root")
        run = self.start(NETBLOCK, "-flowtimeout=60s", "-ringsize=1MB", "-maxheap=32MB")
        server = traffic.Server(self, self.a)
        local, port = traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        run.until(lambda: run.metric("shardcap_packets_buffered") >= 8, "packets are in the arena")
        memory = leaks.shared_memory(run.supervisor())
        raw, host = ipaddress.ip_address(local).packed, ipaddress.ip_address("10.77.0.1").packed
        ports = struct.pack(">HH", port, server.port)
        found = leaks.find(memory, [("IP and TCP", raw + host + ports)])
        self.assertTrue(found)
        self.assertEqual([line for line in found if "memory ring" not in line], [])
        self.assertIn("memory arena", " ".join(leaks.find(memory, [("masked", raw[:3] + b"\0" + host + ports)])))
        self.assertEqual(run.stop(), 0, run.log)

    def ends(self, run):
        """{address bytes} of everything saved, IPv4."""
        return {end for key in traffic.headers([r for f in run.files().values() for r in f.records])
                for end, _ in key if len(end) == 4}

    def test_local_addresses_are_followed(self):
        """An address that this machine gets during the run stays; the peer's never does."""
        run = self.start(NETBLOCK)
        server = traffic.Server(self, self.a)
        traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        self.delivered(run, 8)
        self.a.ip("addr", "add", "10.77.0.88/24", "dev", "veth0")
        before = run.metric("shardcap_packets_delivered_total")

        def captured():
            traffic.fetch(self.b, "10.77.0.88", server.port, 100)
            return run.metric("shardcap_packets_delivered_total") > before
        run.until(captured, "the new address is captured")
        traffic.fetch(self.b, "10.77.0.88", server.port, 100)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(self.ends(run), {bytes([10, 77, 0, 1]), bytes([10, 77, 0, 88]), bytes([10, 77, 0, 0])})

    def test_an_address_that_is_given_up_is_masked_from_then_on(self):
        self.a.ip("addr", "add", "10.88.0.9/32", "dev", "lo")
        run = self.start(NETBLOCK)
        server = traffic.Server(self, self.a)
        before, after = (g.Flow(i, client="10.88.0.9", server="10.77.0.1") for i in (1, 2))
        self.b.send_frames([before.packet(0).data])
        self.delivered(run, 1)
        self.a.ip("addr", "del", "10.88.0.9/32", "dev", "lo")
        self.a.ip("addr", "add", "10.77.0.88/24", "dev", "veth0")  # seen captured: then the loss was noticed, too

        def captured():
            traffic.fetch(self.b, "10.77.0.88", server.port, 100)
            return run.metric("shardcap_packets_delivered_total") > 1
        run.until(captured, "the new address is captured")
        self.b.send_frames([after.packet(0).data])
        self.assertEqual(run.stop(), 0, run.log)
        records = [r for f in run.files().values() for r in f.records]
        sources = {(r.data[26:30], r.data[34:36]) for r in records if r.data[26:28] == bytes([10, 88])}
        self.assertEqual(sources, {(bytes([10, 88, 0, 9]), struct.pack(">H", before.sport)),
                                   (bytes([10, 88, 0, 0]), struct.pack(">H", after.sport))})

    def test_the_mac_of_this_machine_stays(self):
        run = self.start(NETBLOCK)
        server = traffic.Server(self, self.a)
        traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        mac = json.loads(self.a.run("ip", "-j", "link", "show", "veth0").stdout)[0]["address"]
        ours = bytes.fromhex(mac.replace(":", ""))
        self.assertEqual(run.stop(), 0, run.log)
        macs = {r.data[at:at + 6] for f in run.files().values() for r in f.records for at in (0, 6)}
        self.assertEqual(macs, {ours, bytes(6)})


class Dates(Base):
    """A7. The directory is the event's date where that can be true."""

    def test_with_events_of_a_file_the_date_is_the_events(self):
        for moved, day in ((0, "2023/11/14"), (-3 * 86400, "2023/11/11"), (-400 * 86400, "2022/10/10")):
            flow = g.Flow(1)
            packets = flow.conversation(g.START)
            work = family.workdir(self)
            (work / "events").write_text(flow.event(g.START + moved * 10**9))
            path = g.write(work / "in.pcap", g.pcap(packets))
            run = family.read_savefile(self, path, f"-uuid.events={work}/events", work=work)
            self.assertEqual(list(run.files()), [f"{day}/{flow.uuid}.pcap.gz"], run.log)

    def test_the_zone_of_the_event_counts(self):
        flow = g.Flow(1)
        packets = flow.conversation(g.START)  # 22:13:20Z
        for zone, stamp, day in (("+14:00", "2023-11-15T12:13:20", "2023/11/15"), ("-11:00", "2023-11-14T11:13:20", "2023/11/14"),
                                 ("+02:00", "2023-11-15T00:13:20", "2023/11/15")):
            work = family.workdir(self)
            line = re.sub(r'"Timestamp":"[^"]*"', f'"Timestamp":"{stamp}{zone}"', flow.event())
            (work / "events").write_text(line)
            path = g.write(work / "in.pcap", g.pcap(packets))
            run = family.read_savefile(self, path, f"-uuid.events={work}/events", work=work)
            self.assertEqual(list(run.files()), [f"{day}/{flow.uuid}.pcap.gz"], run.log)

    def test_live_an_impossible_date_is_replaced_and_counted(self):
        """Hostile input 39."""
        need.need("netns")
        a, b = netns.pair(self)
        work = family.workdir(self)
        events = eventserver.EventServer(self, work / "tcpevents.sock")
        run = family.Family(self, "-interface=veth0", f"-tcpinfo.eventsocket={events.path}", namespace=a.name,
                            work=work).ready()
        run.until(lambda: events.accepted, "the hub connects")
        now, days = time.time_ns(), {}
        for i, moved in enumerate((0, 86400, -86400, 5 * 86400, -5 * 86400, -1_700_000_000), 1):
            def accepted(uuid, local, peer, cookie, moved=moved):
                events.emit(g.event_line(uuid, now + moved * 10**9, local[0], local[1], peer[0], peer[1], cookie))
            server = traffic.Server(self, a, prefix=f"day{i}", on_accept=accepted)
            traffic.fetch(b, "10.77.0.1", server.port, 100)
            true = now + moved * 10**9 if abs(moved) <= 86400 else now
            days[f"day{i}"] = time.strftime("%Y/%m/%d", time.gmtime(true // 10**9))
        run.until(lambda: run.metric("pcap_demuxer_uuids_total") >= 6, "all are named")
        run.until(lambda: run.metric("shardcap_event_dates_replaced_total") >= 3, "three dates are replaced")
        self.assertEqual(run.metric("shardcap_event_dates_replaced_total"), 3)
        self.assertEqual(run.stop(), 0, run.log)
        found = {pathlib.Path(n).name.split("_")[0]: str(pathlib.Path(n).parent) for n in run.files()}
        self.assertEqual(found, days)


if __name__ == "__main__":
    unittest.main()
