# SPDX-License-Identifier: Apache-2.0
"""Live capture between network namespaces: real TCP, names from an event server, held against a tcpdump of the same."""
import collections
import fcntl
import pathlib
import signal
import socket
import struct
import subprocess
import threading
import unittest

import eventserver
import family
import need
import netns
import pcapgen
import traffic

IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns")


class Base(unittest.TestCase):
    def saved_headers(self, run):
        return traffic.headers([r for f in run.files().values() for r in f.records])

    def same_as_tcpdump(self, saved, dumped):
        """The same packets per flow: wire lengths and header bytes exactly, as often; times within a second (two taps
        of one kernel stamp a sent packet twice)."""
        self.assertEqual(sorted(saved), sorted(dumped))
        for key in dumped:
            have, want = sorted(saved[key], key=lambda r: r[0]), sorted(dumped[key], key=lambda r: r[0])
            self.assertEqual(collections.Counter(r[1:] for r in have), collections.Counter(r[1:] for r in want), key)
            for a, b in zip(have, want):
                self.assertLess(abs(a[0] - b[0]), 10**9)

    def everything_came(self, run, wanted):
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= wanted, f"{wanted} packets are delivered")


class Named(Base):
    def test_a_file_server_and_a_bulk_transfer(self):
        """Names from the event server, packets as tcpdump saw them, nothing dropped."""
        need.need("tcpdump")
        a, b = netns.pair(self)
        work = family.workdir(self)
        events = eventserver.EventServer(self, work / "tcpevents.sock")
        run = family.Family(self, "-interface=veth0", "-shards=2", f"-tcpinfo.eventsocket={events.path}",
                            "-flowtimeout=1s", namespace=a.name, work=work).ready()
        run.until(lambda: events.accepted, "the hub connects to the event server")
        dump = traffic.Tcpdump(self, a, "veth0", work / "dump.pcap")
        servers = [traffic.Server(self, a, address, on_accept=traffic.announce(events)) for address in ("0.0.0.0", "::")]
        ends = []
        for i in range(30):
            server, address = ((servers[0], "10.77.0.1"), (servers[1], "fd77::1"))[i % 2]
            ends.append((server, traffic.fetch(b, address, server.port, 1000 * i)))
        ends.append((servers[0], traffic.fetch(b, "10.77.0.1", servers[0].port, 30_000_000)))
        dumped = dump.stop()
        self.everything_came(run, len(dumped))
        self.assertEqual(run.stop(), 0, run.log)
        summary = run.summary()
        self.assertEqual(summary["drops"], {}, run.log)
        self.assertEqual(summary["kernel"]["dropped"], 0)
        self.assertGreaterEqual(summary["kernel"]["received"], summary["packets"]["delivered"])
        self.assertEqual(sorted(pathlib.Path(n).name.removesuffix(".pcap.gz") for n in run.files()),
                         sorted(server.uuids[end] for server, end in ends))
        self.same_as_tcpdump(self.saved_headers(run), traffic.headers(dumped))
        self.assertEqual(run.leftovers(), [])
        for f in run.files().values():
            self.assertNotIn(pcapgen.CANARY, f.raw)

    def test_files_appear_while_it_runs(self):
        a, b = netns.pair(self)
        work = family.workdir(self)
        events = eventserver.EventServer(self, work / "tcpevents.sock")
        run = family.Family(self, "-interface=veth0", f"-tcpinfo.eventsocket={events.path}", "-flowtimeout=500ms",
                            namespace=a.name, work=work).ready()
        run.until(lambda: events.accepted, "the hub connects")
        server = traffic.Server(self, a, on_accept=traffic.announce(events))
        traffic.fetch(b, "10.77.0.1", server.port, 5000)
        run.until(lambda: len(run.files()) == 1, "the file appears")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})

    def test_the_event_server_comes_late_goes_and_says_nonsense(self):
        a, b = netns.pair(self)
        work = family.workdir(self)
        path = work / "tcpevents.sock"
        run = family.Family(self, "-interface=veth0", f"-tcpinfo.eventsocket={path}", namespace=a.name, work=work).ready()
        events = eventserver.EventServer(self, path)
        run.until(lambda: events.accepted == 1, "the hub connects")
        events.emit("\n{\n" + "x" * 70000 + '\n{"Event":0,"Timestamp":"2024-11-19T16:51:48Z","UUID":"../../etc/x",'
                    '"ID":{"SPort":1,"DPort":2,"SrcIP":"192.0.2.1","DstIP":"192.0.2.2","Interface":0,"Cookie":-1}}\n')
        run.until(lambda: run.metric("pcap_tcpinfohandler_bad_events_total") >= 3, "bad events are counted")
        events.hang_up()
        run.until(lambda: events.accepted == 2, "the hub connects again")
        server = traffic.Server(self, a, on_accept=traffic.announce(events))
        traffic.fetch(b, "10.77.0.1", server.port, 5000)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), 1)

    def test_stream_mode(self):
        a, b = netns.pair(self)
        work = family.workdir(self)
        events = eventserver.EventServer(self, work / "tcpevents.sock")
        run = family.Family(self, "-interface=veth0", f"-tcpinfo.eventsocket={events.path}", "-stream",
                            namespace=a.name, work=work).ready()
        run.until(lambda: events.accepted, "the hub connects")
        server = traffic.Server(self, a, on_accept=traffic.announce(events))
        traffic.fetch(b, "10.77.0.1", server.port, 10_000_000)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})

    def test_netblock_spares_the_local_address(self):
        a, b = netns.pair(self)
        run = family.Family(self, "-interface=veth0", "-anonymize.ip=netblock", "-uuid.source=hash",
                            namespace=a.name).ready()
        server = traffic.Server(self, a)
        traffic.fetch(b, "10.77.0.1", server.port, 5000)
        self.assertEqual(run.stop(), 0, run.log)
        ((low, _), (high, _)), = self.saved_headers(run)
        self.assertEqual({low, high}, {bytes([10, 77, 0, 1]), bytes([10, 77, 0, 0])})


class Interfaces(Base):
    def test_all_that_are_up_without_loopback(self):
        a, b, c = (netns.Namespace(self) for _ in range(3))
        netns.join(a, b, "one", "veth0", 77)
        netns.join(a, c, "two", "veth0", 78)
        a.ip("link", "add", "down0", "type", "veth", "peer", "name", "down1")
        run = family.Family(self, "-uuid.source=hash", namespace=a.name).ready(2)
        self.assertEqual(run.metric("pcap_muxer_interfaces_with_captures"), 2)
        server = traffic.Server(self, a)
        traffic.fetch(b, "10.77.0.1", server.port, 3000)
        traffic.fetch(c, "10.78.0.1", server.port, 3000)
        traffic.fetch(a, "127.0.0.1", server.port, 3000)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})
        nets = {key[0][0][:2] for key in self.saved_headers(run)}
        self.assertEqual(nets, {bytes([10, 77]), bytes([10, 78])})

    def test_several_named(self):
        a, b, c = (netns.Namespace(self) for _ in range(3))
        netns.join(a, b, "one", "veth0", 77)
        netns.join(a, c, "two", "veth0", 78)
        for args in (["-interface=one,two"], ["-interface=one", "-interface", "two"]):
            run = family.Family(self, "-uuid.source=hash", *args, namespace=a.name).ready(2)
            server = traffic.Server(self, a)
            traffic.fetch(b, "10.77.0.1", server.port, 3000)
            traffic.fetch(c, "10.78.0.1", server.port, 3000)
            self.assertEqual(run.stop(), 0, run.log)
            self.assertEqual(run.summary()["files"], 2)
            self.assertEqual(run.summary()["drops"], {})

    def bridge(self):
        """A bridge br0 with the member veth0, over which b reaches a."""
        a, b = netns.Namespace(self), netns.Namespace(self)
        netns.join(a, b)
        a.ip("addr", "flush", "dev", "veth0")
        a.ip("link", "add", "br0", "type", "bridge")
        a.ip("link", "set", "veth0", "master", "br0")
        a.ip("addr", "add", "10.77.0.1/24", "dev", "br0")
        a.ip("link", "set", "br0", "up")
        return a, b

    def test_the_member_of_a_captured_bridge_is_left_out(self):
        a, b = self.bridge()
        work = family.workdir(self)
        run = family.Family(self, "-uuid.source=hash", namespace=a.name, work=work).ready()
        self.assertEqual(run.metric("pcap_muxer_interfaces_with_captures"), 1)
        dump = traffic.Tcpdump(self, a, "br0", work / "dump.pcap")
        server = traffic.Server(self, a)
        traffic.fetch(b, "10.77.0.1", server.port, 3000)
        dumped = dump.stop()
        self.everything_came(run, len(dumped))
        self.assertEqual(run.stop(), 0, run.log)
        self.same_as_tcpdump(self.saved_headers(run), traffic.headers(dumped))

    def test_a_named_member_is_obeyed(self):
        a, b = self.bridge()
        run = family.Family(self, "-interface=veth0", "-uuid.source=hash", namespace=a.name).ready()
        server = traffic.Server(self, a)
        traffic.fetch(b, "10.77.0.1", server.port, 3000)
        self.assertEqual(run.stop(), 0, run.log)
        # The bridge holds the addresses, so the filter of the member must not ask for its own.
        self.assertEqual(run.summary()["files"], 1)

    def test_vlan_interface(self):
        a, b = netns.pair(self)
        for space, host in ((a, 1), (b, 2)):
            try:
                space.ip("link", "add", "link", "veth0", "name", "v7", "type", "vlan", "id", "7")
            except subprocess.CalledProcessError:
                self.skipTest("this kernel has no vlan devices")
            space.ip("addr", "add", f"10.99.0.{host}/24", "dev", "v7")
            space.ip("link", "set", "v7", "up")
        run = family.Family(self, "-interface=v7", "-uuid.source=hash", namespace=a.name).ready()
        server = traffic.Server(self, a)
        traffic.fetch(b, "10.99.0.1", server.port, 3000)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["files"], 1)
        self.assertEqual(run.summary()["drops"], {})

    def test_an_interface_without_a_link_layer(self):
        """A tun device carries bare IP: the file has a raw linktype and whole packets."""
        a = netns.Namespace(self)
        if not pathlib.Path("/dev/net/tun").exists():
            self.skipTest("there is no /dev/net/tun")

        def make():
            tun = open("/dev/net/tun", "r+b", buffering=0)
            fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH14x", b"tun7", 0x1001))
            return tun
        tun = a.inside(make)
        self.addCleanup(tun.close)
        a.ip("addr", "add", "10.66.0.1/24", "dev", "tun7")
        a.ip("link", "set", "tun7", "up")
        run = family.Family(self, "-interface=tun7", "-uuid.source=hash", namespace=a.name).ready()
        flow = pcapgen.Flow(5, client="10.66.0.2", server="10.66.0.1", linktype=pcapgen.RAW)
        for _ in range(5):
            tun.write(flow.packet(0, payload=100).data)
        self.everything_came(run, 5)
        self.assertEqual(run.stop(), 0, run.log)
        found = [f for f in run.files().values() if any(r.data[20:22] == struct.pack(">H", flow.sport) for r in f.records)]
        self.assertEqual(len(found), 1, run.log)
        self.assertIn(found[0].linktype, (pcapgen.RAW, pcapgen.IPV4))

    def test_two_instances_side_by_side(self):
        a, b = netns.pair(self)
        runs = [family.Family(self, "-interface=veth0", "-uuid.source=hash", namespace=a.name).ready() for _ in range(2)]
        server = traffic.Server(self, a)
        for i in range(5):
            traffic.fetch(b, "10.77.0.1", server.port, 1000 * i)
        for run in runs:
            self.assertEqual(run.stop(), 0, run.log)
            self.assertEqual(run.summary()["drops"], {})
        one, two = (self.saved_headers(run) for run in runs)
        self.same_as_tcpdump(one, two)


class Stopping(Base):
    def test_sigterm_keeps_capturing_for_sigtermwait(self):
        a, b = netns.pair(self)
        run = family.Family(self, "-interface=veth0", "-uuid.source=hash", "-sigtermwait=30s", namespace=a.name).ready()
        server = traffic.Server(self, a)
        traffic.fetch(b, "10.77.0.1", server.port, 1000)
        run.process.send_signal(signal.SIGTERM)
        traffic.fetch(b, "10.77.0.1", server.port, 2000)
        self.everything_came(run, 12)
        run.process.send_signal(signal.SIGTERM)  # the second one skips the rest of the grace
        self.assertEqual(run.wait(20), 0, run.log)
        self.assertEqual(run.summary()["files"], 2)
        self.assertEqual(run.summary()["drops"], {})

    def test_sigterm_without_any_traffic(self):
        a = netns.Namespace(self)
        a.ip("link", "add", "d0", "type", "veth", "peer", "name", "d1")
        a.ip("link", "set", "d0", "up")
        run = family.Family(self, "-interface=d0", "-sigtermwait=0s", namespace=a.name).ready()
        self.assertEqual(run.stop(signal.SIGINT), 0, run.log)
        self.assertEqual(run.summary()["packets"], {"delivered": 0, "saved": 0, "lost": 0, "limits": 0})

    def test_sigterm_during_start_up(self):
        a = netns.Namespace(self)
        a.ip("link", "add", "d0", "type", "veth", "peer", "name", "d1")
        a.ip("link", "set", "d0", "up")
        for _ in range(5):
            run = family.Family(self, "-interface=d0", namespace=a.name)
            run.until(lambda: run.rundir.exists(), "the rundir is made")
            self.assertEqual(run.stop(), 0, run.log)

    def test_sigterm_in_the_middle_of_a_transfer(self):
        """Conservation holds and every file is whole while packets pour in."""
        a, b = netns.pair(self)
        run = family.Family(self, "-interface=veth0", "-uuid.source=hash", "-sigtermwait=0s", namespace=a.name).ready()
        server = traffic.Server(self, a)

        def pull():
            with socket.create_connection(("10.77.0.1", server.port), timeout=30) as s:
                s.sendall(b"GET 100000000000\n")
                while not stop.is_set():
                    s.recv(1 << 20)
        stop = threading.Event()
        thread = threading.Thread(target=b.inside, args=(pull,))
        thread.start()
        try:
            run.until(lambda: run.metric("shardcap_packets_delivered_total") > 1000, "packets flow")
            self.assertEqual(run.stop(), 0, run.log)
        finally:
            stop.set()
            thread.join()
        run.summary()
        self.assertEqual(run.leftovers(), [])

    def test_captureduration_ends_a_file_while_the_flow_goes_on(self):
        a, b = netns.pair(self)
        run = family.Family(self, "-interface=veth0", "-uuid.source=hash", "-captureduration=500ms",
                            "-uuidwaitduration=100ms", "-flowtimeout=60s", namespace=a.name).ready()
        server = traffic.Server(self, a)
        stop = threading.Event()

        def trickle():
            with socket.create_connection(("10.77.0.1", server.port), timeout=30) as s:
                s.sendall(b"GET 1\n")
                while not stop.wait(0.02):
                    try:
                        s.sendall(b"x")
                    except OSError:
                        return
        thread = threading.Thread(target=b.inside, args=(trickle,))
        thread.start()
        try:
            run.until(lambda: len(run.files()) == 1, "the file is finished")
            dropped = 'shardcap_dropped_packets_total{cause="capture_limit",class="limit"}'
            run.until(lambda: run.metrics()[dropped] > 0, "later packets are discarded")
        finally:
            stop.set()
            thread.join()
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(set(run.summary()["drops"]), {"capture_limit"})
        self.assertEqual(run.summary()["packets"]["lost"], 0)


if __name__ == "__main__":
    unittest.main()
