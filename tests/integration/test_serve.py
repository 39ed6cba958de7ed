# SPDX-License-Identifier: Apache-2.0
"""-events.serve: other clients of tcp-info get their UUIDs from shardcap. The most demanding client is another shardcap."""
import json
import os
import signal
import socket
import stat
import threading
import unittest

import eventserver
import family
import need
import netns
import pcapgen as g
import traffic
import watcher

IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns", "nanocat")


class Serve(unittest.TestCase):
    timeout = 180

    def setUp(self):
        self.a, self.b = netns.pair(self)
        self.work = family.workdir(self)
        (self.work / "serve").mkdir()
        os.chmod(self.work / "serve", 0o755)
        self.path = self.work / "serve" / "tcpevents.sock"

    def start(self, *flags):
        return family.Family(self, "-interface=veth0", "-shards=2", f"-events.serve={self.path}", *flags,
                             namespace=self.a.name).ready()

    def client(self, run):
        before = run.metric("shardcap_serve_clients")
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.settimeout(30)
        s.connect(str(self.path))
        run.until(lambda: run.metric("shardcap_serve_clients") == before + 1, "the client is known")
        return s.makefile("r")

    @staticmethod
    def names(run):
        return sorted(n.split("/")[-1] for n in run.files())

    def test_another_shardcap_names_its_flows(self):
        """The first one asks the kernel; the second one knows nothing but what it is told."""
        first = self.start()
        second = family.Family(self, "-interface=veth0", "-shards=3", f"-tcpinfo.eventsocket={self.path}",
                               "-uuid.source=eventsocket", namespace=self.a.name).ready()
        second.until(lambda: second.metric("shardcap_eventsocket_up") == 1, "it is connected")
        server = traffic.Server(self, self.a)
        for i in range(300):
            traffic.fetch(self.b, "10.77.0.1", server.port, (100, 200_000)[i % 50 == 0])
        first.until(lambda: first.metric("pcap_demuxer_uuids_total") >= 300, "the first one has all names")
        second.until(lambda: second.metric("pcap_demuxer_uuids_total") >= 300, "the second one has, too")
        for run in (second, first):
            self.assertEqual(run.stop(), 0, run.log)
            self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(self.names(first)), 300)
        self.assertEqual(self.names(second), self.names(first))
        self.assertFalse(self.path.exists())

    def test_lines_are_those_of_tcp_info(self):
        run = self.start()
        lines = self.client(run)
        server = traffic.Server(self, self.a)
        end = traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        cookie = int(server.uuids[end].rsplit("_", 1)[1], 16)
        opened, closed = json.loads(lines.readline()), json.loads(lines.readline())
        self.assertEqual(list(opened), ["Event", "Timestamp", "UUID", "ID"])
        self.assertEqual(opened["Event"], 0)
        self.assertTrue(opened["UUID"].endswith(f"_unsafe_{cookie:016X}"), opened)
        self.assertEqual(opened["ID"], {"SPort": server.port, "DPort": end[1], "SrcIP": "10.77.0.1", "DstIP": "10.77.0.2",
                                        "Interface": 0, "Cookie": cookie})
        self.assertEqual({**closed, "Timestamp": ""}, {"Event": 1, "Timestamp": "", "UUID": opened["UUID"], "ID": None})
        self.assertEqual(run.stop(), 0, run.log)

    def test_a_source_is_passed_on_to_all_and_a_client_that_sleeps_is_cut(self):
        events = eventserver.EventServer(self, self.work / "e.sock")
        run = self.start(f"-tcpinfo.eventsocket={events.path}", "-uuid.source=eventsocket")
        run.until(lambda: events.accepted, "the hub connects")
        one, two = self.client(run), self.client(run)
        asleep = socket.socket(socket.AF_UNIX)
        self.addCleanup(asleep.close)
        asleep.connect(str(self.path))
        run.until(lambda: run.metric("shardcap_serve_clients") == 3, "all are known")
        sent = []
        for i in range(40000):
            sent.append(g.event_line(f"passed_{i}", g.START + 123456789, "10.77.0.1", 443, "10.77.0.2", 1024 + i % 60000, i))
            if len(sent) % 1000 == 0:
                events.emit("".join(sent[-1000:]))
                for client in (one, two):
                    for line in sent[-1000:]:
                        self.assertEqual(client.readline(), line)
        run.until(lambda: run.metric("shardcap_serve_cut_total") == 1, "the one asleep is cut")
        self.assertEqual(run.metric("shardcap_serve_clients"), 2)
        self.assertEqual(run.metric("shardcap_restarts_total"), 0)
        self.assertEqual(run.stop(), 0, run.log)

    def test_a_cookie_without_a_prefix_is_no_name(self):
        """tcp-info shows the prefix; before it does, the end of a socket has nothing to be called by."""
        events = eventserver.EventServer(self, self.work / "e.sock")
        run = self.start(f"-tcpinfo.eventsocket={events.path}")
        run.until(lambda: events.accepted, "the hub connects")
        lines = self.client(run)
        server = traffic.Server(self, self.a)
        traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        run.until(lambda: run.metric("shardcap_destroyed_sockets_total") >= 1, "its end is told")
        events.emit(g.event_line("shown_1700000000_0000000000000007", g.START, "10.77.0.1", 443, "10.77.0.2", 1024, 7))
        self.assertEqual(json.loads(lines.readline())["UUID"], "shown_1700000000_0000000000000007")
        self.assertEqual(run.stop(), 0, run.log)

    def test_every_connection_once_under_the_name_of_its_file(self):
        """A server that never reads a cookie and closes first: what is left of its sockets in TIME_WAIT has other cookies
        than the sockets had. Files, -events.serve and uuid.* say the same of each connection, once."""
        run = self.start()
        lines, watch = self.client(run), watcher.Watcher(self, run, "uuid.")
        run.until(lambda: run.metric("shardcap_watchers") == 1, "the watcher is connected")
        listener = netns.inside(self.a.name, lambda: socket.create_server(("10.77.0.1", 0)))
        self.addCleanup(listener.close)

        def serve():
            for _ in range(200):
                connection, _ = listener.accept()
                connection.recv(100)
                connection.sendall(b"bye")
                connection.close()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]

        def fetch():
            with socket.create_connection(("10.77.0.1", port), timeout=30) as s:
                s.sendall(b"x")
                while s.recv(100):
                    pass
        for _ in range(200):
            netns.inside(self.b.name, fetch)
        thread.join(30)
        told = [json.loads(lines.readline()) for _ in range(400)]
        run.until(lambda: len(watch.of("uuid.close")) >= 200, "the watcher is told")
        self.assertEqual(run.stop(), 0, run.log)
        names = [n[:-len(".pcap.gz")] for n in self.names(run)]
        self.assertEqual(len(names), 200)
        for kind in (0, 1):
            self.assertEqual(sorted(e["UUID"] for e in told if e["Event"] == kind), names)
        # Whoever asks for metrics is told to watchers, too; the first of them was opened before there was a watcher.
        opened = [e["UUID"] for e in watch.of("uuid.open") if not e["ID"]["SrcIP"].startswith("127.")]
        self.assertEqual(sorted(opened), names)
        self.assertEqual(sorted(e["UUID"] for e in watch.of("uuid.close") if e["UUID"] in names), names)
        self.assertEqual(lines.readline(), "")

    def test_the_next_hub_knows_the_prefix_that_was_learned(self):
        """tcp-info has shown it to the one that dies, and says nothing more."""
        events = eventserver.EventServer(self, self.work / "e.sock")
        run = self.start(f"-tcpinfo.eventsocket={events.path}", "-uuid.kernel=destroy")
        run.until(lambda: events.accepted, "the hub connects")
        lines = self.client(run)
        events.emit(g.event_line("shown_1700000000_0000000000000007", g.START, "10.77.0.1", 443, "10.77.0.2", 1024, 7))
        self.assertEqual(json.loads(lines.readline())["UUID"], "shown_1700000000_0000000000000007")
        hub, = run.children()["shardcap-hub"]
        os.kill(hub, signal.SIGKILL)
        run.until(lambda: run.children().get("shardcap-hub", [hub]) != [hub], "another hub is there")
        lines = self.client(run.ready())
        server = traffic.Server(self, self.a, prefix="shown_1700000000")
        end = traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        told = [json.loads(lines.readline()) for _ in range(2)]
        self.assertEqual([(e["Event"], e["UUID"]) for e in told], [(0, server.uuids[end]), (1, server.uuids[end])])
        self.assertEqual(run.stop(), 0, run.log)

    def test_the_hub_dies_and_clients_come_again(self):
        run = self.start()
        lines = self.client(run)
        hub, = run.children()["shardcap-hub"]
        os.kill(hub, signal.SIGKILL)
        self.assertEqual(lines.readline(), "")
        run.until(lambda: run.children().get("shardcap-hub", [hub]) != [hub], "another hub is there")
        lines = self.client(run.ready())
        server = traffic.Server(self, self.a)
        traffic.fetch(self.b, "10.77.0.1", server.port, 100)
        self.assertEqual(json.loads(lines.readline())["Event"], 0)
        self.assertEqual(run.stop(), 0, run.log)

    def test_its_place(self):
        """0660 and the hub's; a leftover is replaced, a file or another server is not."""
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(self.path))
        run = self.start()
        now = self.path.stat()
        self.assertEqual(oct(stat.S_IMODE(now.st_mode)), "0o660")
        hub, = run.children()["shardcap-hub"]
        self.assertEqual(now.st_uid, os.stat(f"/proc/{hub}").st_uid if os.geteuid() else now.st_uid)
        code, _, err = family.run(f"-datadir={self.work}/d2", f"-rundir={self.work}/r2", "-interface=lo",
                                  "-prometheusx.listen-address=127.0.0.1:0", f"-events.serve={self.path}")
        self.assertEqual(code, 1)
        self.assertIn("somebody serves at", err.splitlines()[-1])
        self.assertEqual(run.stop(), 0, run.log)
        self.path.write_text("precious")
        code, _, err = family.run(f"-datadir={self.work}/d2", f"-rundir={self.work}/r2", "-interface=lo",
                                  "-prometheusx.listen-address=127.0.0.1:0", f"-events.serve={self.path}")
        self.assertEqual(code, 1)
        self.assertIn("is no socket", err.splitlines()[-1])
        self.assertEqual(self.path.read_text(), "precious")
        self.assertFalse((self.work / "d2").exists())


if __name__ == "__main__":
    unittest.main()
