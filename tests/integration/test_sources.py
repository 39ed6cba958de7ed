# SPDX-License-Identifier: Apache-2.0
"""Sources of names together: the kernel fills in what tcp-info misses, under tcp-info's prefix; hash comes last, and its
names depend on the flow alone."""
import os
import signal
import socket
import struct
import threading
import unittest

import eventserver
import family
import need
import netns
import pcapgen
import siphash
import traffic

PREFIX = "tcpinfo-host_1700000000"


class Sources(unittest.TestCase):
    timeout = 240

    def setUp(self):
        need.need("netns")
        self.a, self.b = netns.pair(self)

    def start(self, *flags, **how):
        return family.Family(self, "-interface=veth0", "-shards=2", "-flowtimeout=2s", *flags, namespace=self.a.name,
                             **how).ready()

    def with_tcpinfo(self, *flags):
        """A run beside a server in tcp-info's place, connected."""
        work = family.workdir(self)
        events = eventserver.EventServer(self, work / "events.sock")
        run = self.start(f"-tcpinfo.eventsocket={events.path}", *flags, work=work)
        run.until(lambda: run.metric("shardcap_eventsocket_up") == 1, "the event socket is connected")
        return run, events

    def names(self, run):
        self.assertEqual(run.stop(), 0, run.log)
        return sorted(n.split("/")[-1][:-len(".pcap.gz")] for n in run.files())

    def test_the_kernel_fills_in_what_tcpinfo_misses(self):
        """tcp-info tells of every third connection, some before, some after the kernel has named it: one file for each, all
        under tcp-info's prefix, which nobody gave."""
        run, events = self.with_tcpinfo()
        tell, turn = traffic.announce(events), iter(range(1000))

        def accepted(uuid, local, peer, cookie):
            if next(turn) % 3 == 0:
                tell(uuid, local, peer, cookie)
        server = traffic.Server(self, self.a, "10.77.0.1", prefix=PREFIX, on_accept=accepted)
        for _ in range(60):
            traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        self.assertEqual(self.names(run), sorted(server.uuids.values()))
        self.assertEqual(run.summary()["drops"], {})

    def test_names_wait_for_the_prefix(self):
        """The first connections come before tcp-info has said anything."""
        run, events = self.with_tcpinfo()
        server = traffic.Server(self, self.a, "10.77.0.1", prefix=PREFIX)
        for _ in range(10):
            traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        run.until(lambda: run.metric("shardcap_destroyed_sockets_total") >= 10, "their ends are told")
        self.assertEqual(run.metric("shardcap_files_total"), 0)
        events.emit(pcapgen.event_line(f"{PREFIX}_{0xabc:016X}", 0, "10.77.0.1", 1, "10.77.0.2", 2, 0xabc))
        run.until(lambda: run.metric("shardcap_files_total") == 10, "the files are there")
        self.assertEqual(self.names(run), sorted(server.uuids.values()))

    def test_no_prefix_no_file(self):
        """tcp-info never says anything: no file under a wrong name, and a line that tells why."""
        run, _ = self.with_tcpinfo("-uuidwaitduration=2s")
        server = traffic.Server(self, self.a, "10.77.0.1")
        traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        run.until(lambda: run.said("wait for the prefix"), "the log says so")
        run.until(lambda: run.metric("shardcap_flows") == 0, "the flow is given up")
        self.assertEqual(self.names(run), [])
        self.assertEqual(run.summary()["drops"].keys(), {"no_uuid"})

    def test_a_prefix_file_beside_tcpinfo(self):
        path = family.workdir(self) / "prefix"
        path.write_text(PREFIX)
        run, _ = self.with_tcpinfo(f"-uuid-prefix-file={path}")
        server = traffic.Server(self, self.a, "10.77.0.1", prefix=PREFIX)
        for _ in range(5):
            traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        self.assertEqual(self.names(run), sorted(server.uuids.values()))

    # ---- hash ----

    def forwarded(self):
        """A client behind the captured host: its connections to the far server pass through and have no socket there."""
        c = netns.Namespace(self)
        netns.join(self.b, c, "veth1", "veth0", net=79)
        self.b.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.a.ip("route", "add", "10.79.0.0/24", "via", "10.77.0.2")
        c.ip("route", "add", "10.77.0.0/24", "via", "10.79.0.1")
        return c

    def test_kernel_then_hash(self):
        """On a router: what passes through is named by hash, but no scan and no flood; its own sockets by the kernel."""
        c = self.forwarded()
        server = traffic.Server(self, self.a, "10.77.0.1")
        own = traffic.Server(self, self.b, "10.77.0.2", prefix=PREFIX)
        path = family.workdir(self) / "prefix"
        path.write_text(PREFIX)
        run = family.Family(self, "-interface=veth0", "-shards=3", "-uuid.source=kernel,hash", "-filter.raw=tcp", "-uuidwaitduration=1s",
                            f"-uuid-prefix-file={path}", "-flowtimeout=2s", namespace=self.b.name).ready()
        for _ in range(7):
            traffic.fetch(c, "10.77.0.1", server.port, 200)
        for _ in range(4):
            traffic.fetch(self.a, "10.77.0.2", own.port, 200)
        self.scan(c, "10.77.0.1", 300)
        run.until(lambda: run.metric("shardcap_files_total") == 11, "eleven files")
        self.assertEqual(run.stop(), 0, run.log)
        by_kernel = sorted(n.split("/")[-1][:-8] for n in run.files() if n.split("/")[-1][:-8] in own.uuids.values())
        self.assertEqual(by_kernel, sorted(own.uuids.values()))
        self.assertEqual(len(run.files()), 11)
        self.check_hash_names({n: f for n, f in run.files().items() if n.split("/")[-1][:-8] not in by_kernel}, PREFIX)
        self.assertEqual(set(run.summary()["drops"]), {"no_uuid"})

    def test_most_flows_without_a_name(self):
        """On a router the kernel knows no sockets: log, page and shardcapctl say why, and what to set."""
        c = self.forwarded()
        server = traffic.Server(self, self.a, "10.77.0.1")
        run = family.Family(self, "-interface=veth0", "-filter.raw=tcp", "-uuidwaitduration=500ms", "-flowtimeout=1s",
                            namespace=self.b.name).ready()
        self.scan(c, "10.77.0.1", 50)  # is not to blame
        run.until(lambda: run.metric("pcap_saver_errors_total") >= 50, "the scan is given up")
        self.assertEqual(run.metric("shardcap_most_flows_nameless"), 0)
        for _ in range(12):
            traffic.fetch(c, "10.77.0.1", server.port, 200)
        run.until(lambda: run.metric("shardcap_most_flows_nameless") == 1, "the metric says so")
        run.until(lambda: run.metric("shardcap_flows_nameless_total") == 12, "all of them are counted")
        why = r"most flows have no UUID: their sockets are in another namespace, or the traffic is forwarded: set " \
              r"-uuid.source=hash"
        self.assertRegex(run.get("/metrics")[1], rf"(?m)^# HELP shardcap_most_flows_nameless {why}")
        run.until(lambda: run.said(why), "the log says so")
        status, out, err = family.run("status", f"-rundir={run.work}/run", program="shardcapctl")
        self.assertEqual(status, 0, err)
        self.assertRegex(out, why)
        self.assertEqual(run.stop(), 0, run.log)

    def test_histograms_of_what_users_wait_for(self):
        run = self.start("-uuidwaitduration=1s")
        server = traffic.Server(self, self.a, "10.77.0.1")
        for _ in range(20):
            traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        run.until(lambda: run.metric("shardcap_files_total") == 20, "the files are there")
        named = {s: run.metrics()[f'shardcap_uuid_delay_seconds_count{{source="{s}"}}']
                 for s in ("lookup", "destroy", "event", "hash")}
        self.assertEqual(named["lookup"] + named["destroy"], 20)
        self.assertEqual(named["event"] + named["hash"], 0)
        metrics = run.metrics()
        self.assertEqual(metrics["shardcap_file_delay_seconds_count"], 20)
        self.assertEqual(metrics['shardcap_file_delay_seconds_bucket{le="+Inf"}'], 20)
        self.assertEqual(metrics['shardcap_file_delay_seconds_bucket{le="1.024"}'], 0)  # GC waits for two ticks of 2 s
        self.assertGreater(metrics["shardcap_file_delay_seconds_sum"], 20)
        source = "lookup" if named["lookup"] else "destroy"
        self.assertEqual(metrics[f'shardcap_uuid_delay_seconds_bucket{{source="{source}",le="131.072"}}'], named[source])
        self.assertEqual(run.stop(), 0, run.log)

    @staticmethod
    def scan(space, address, count):
        """SYNs to closed ports, each answered by RST."""
        def go():
            for port in range(1, count + 1):
                with socket.socket() as s:
                    assert s.connect_ex((address, port)) != 0
        space.inside(go)

    def test_hash_names_depend_on_the_flow_alone(self):
        """Mirrored traffic, named by hash alone: each name is that of the file's own first packet, whatever the number of
        shards, and also when a shard is killed in the middle of the flow."""
        for shards in (1, 3):
            with self.subTest(shards=shards):
                run = family.Family(self, "-interface=veth0", f"-shards={shards}", "-uuid.source=hash", "-flowtimeout=2s",
                                    namespace=self.a.name).ready()
                server = traffic.Server(self, self.a, "10.77.0.1")
                hold = threading.Event()
                clients = [self.slow(server.port, hold) for _ in range(6)]
                run.until(lambda: run.metric("shardcap_flows_started_total") == 6, "six flows")
                for pid in run.children()["shardcap-shard"]:
                    os.kill(pid, signal.SIGKILL)
                run.until(lambda: run.metric("shardcap_restarts_total") >= shards, "the shards are started again")
                hold.set()
                for client in clients:
                    client.join()
                self.assertEqual(run.stop(), 0, run.log)
                self.assertEqual(len(run.files()), 6)
                self.check_hash_names(run.files(), "hash")
                self.assertEqual(run.summary()["drops"], {})

    def slow(self, port, hold):
        """A client that pauses in the middle."""
        def go():
            with socket.create_connection(("10.77.0.1", port), timeout=30) as s:
                assert hold.wait(60)
                s.sendall(b"GET 5000\n")
                while s.recv(65536):
                    pass
        thread = threading.Thread(target=self.b.inside, args=(go,))
        thread.start()
        return thread

    def check_hash_names(self, files, prefix):
        """The name is a SipHash-2-4 with key 0 over: length and bytes of the addresses, the lower end first, the ports, and
        the first packet's time."""
        for name, file in files.items():
            first = file.records[0]
            (low, high), = traffic.headers([first]).keys()
            text = bytes([len(low[0])]) + low[0] + high[0] + struct.pack(">HH", low[1], high[1]) + struct.pack("<Q", first.ts)
            self.assertEqual(name.split("/")[-1], f"{prefix}_{siphash.siphash_2_4(bytes(16), text):016X}.pcap.gz")


if __name__ == "__main__":
    unittest.main()
