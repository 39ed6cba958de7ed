# SPDX-License-Identifier: Apache-2.0
"""The kernel source with real sockets between namespaces: every connection, however short, gets a file named by the cookie
that the server reads with SO_COOKIE; none is named otherwise."""
import os
import signal
import socket
import struct
import threading
import unittest

import family
import need
import netns

SO_COOKIE = 57


def cookie(connection):
    return struct.unpack("Q", connection.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]


class Kernel(unittest.TestCase):
    timeout = 240

    def setUp(self):
        need.need("netns")
        self.a, self.b = netns.pair(self)

    def start(self, *flags):
        return family.Family(self, "-interface=veth0", "-shards=2", "-flowtimeout=2s", *flags,
                             namespace=self.a.name).ready()

    def connections(self, count, how, host="10.77.0.1", bind=None, client_port=None, peers=None):
        """`count` connections, one after the other, each closed as how(i) says, from the addresses `peers` in turn; the
        cookies of the server's sockets."""
        cookies, listener = [], []

        def listen():
            v6 = ":" in (bind or host)
            s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if v6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            s.bind((bind or host, 0))
            s.listen(256)
            return s
        listener = self.a.inside(listen)
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]

        def serve():
            for i in range(count):
                c, _ = listener.accept()
                with c:
                    cookies.append(cookie(c))
                    c.recv(16)
                    c.sendall(b"x" * 100)
                    if how(i) == "abort":
                        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    try:
                        while how(i) not in ("server", "abort") and c.recv(16):
                            pass
                    except ConnectionResetError:
                        pass

        def fetch():
            for i in range(count):
                s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
                with s:
                    if client_port:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        s.bind(("", client_port))
                    if peers:
                        s.bind((peers[i % len(peers)], 0))
                    s.connect((host, port))
                    s.sendall(b"GET")
                    got = 0
                    try:
                        while got < 100:
                            got += len(s.recv(200))
                        while how(i) in ("server", "abort") and s.recv(16):
                            pass
                    except ConnectionResetError:
                        self.assertEqual(how(i), "abort")
                    if how(i) == "reset":
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server = threading.Thread(target=self.a.inside, args=(serve,))
        server.start()
        self.b.inside(fetch)
        server.join()
        return cookies

    def peers(self, count):
        """So many addresses of the client, beside the one it has; also made known to the server."""
        out = [f"10.78.{n >> 8}.{n & 255}" for n in range(1, 1 + count)]
        self.a.ip("route", "add", "10.78.0.0/16", "via", "10.77.0.2")
        self.b.run("ip", "-batch", "-", input="".join(f"addr add {a}/32 dev veth0\n" for a in out).encode())
        return out

    def check(self, run, cookies, prefix=None):
        self.assertEqual(run.stop(), 0, run.log)
        names = sorted(n.split("/")[-1] for n in run.files())
        self.assertEqual(sorted(n.rsplit("_", 1)[1] for n in names), sorted(f"{c:016X}.pcap.gz" for c in cookies), run.log)
        self.assertEqual(run.summary()["drops"], {})
        if prefix:
            self.assertEqual({n.rsplit("_", 1)[0] for n in names}, {prefix})

    def test_two_thousand_short_connections(self):
        run = self.start()
        self.check(run, self.connections(2000, lambda i: ("client", "server")[i % 2]))

    def test_reset_by_the_client(self):
        run = self.start()
        self.check(run, self.connections(200, lambda i: "reset"))

    def test_aborted_by_the_server(self):
        """Its socket is told as destroyed without the peer's port, so only the peers' addresses tell them apart."""
        peers = self.peers(2000)
        run = self.start()
        self.check(run, self.connections(2000, lambda i: "abort", peers=peers))

    def test_aborts_that_cannot_be_told_apart(self):
        """Of connections that one peer has aborted at the same time, none is named wrongly, and all of them count."""
        run = self.start("-uuidwaitduration=2s", "-captureduration=5s")
        before = self.stopped_hub(run)
        cookies = self.connections(20, lambda i: "abort")
        os.kill(before, signal.SIGCONT)
        run.until(lambda: run.metric("shardcap_uuid_ambiguous_total") + run.metric("shardcap_files_total") == 20,
                  "all are named or counted")
        self.assertEqual(run.stop(), 0, run.log)
        named = {n.rsplit("_", 1)[1] for n in run.files()}
        self.assertLessEqual(named, {f"{c:016X}.pcap.gz" for c in cookies})
        self.assertEqual(run.summary()["drops"].get("no_uuid", 0), 8 * (20 - len(named)))

    def stopped_hub(self, run):
        """Stops the hub, so that it reads late; its pid."""
        pid = run.children()["shardcap-hub"][0]
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(self.carry_on, pid)
        return pid

    @staticmethod
    def carry_on(pid):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    def test_ipv6(self):
        for space, n in ((self.a, 1), (self.b, 2)):
            space.ip("addr", "add", f"fd00::{n}/64", "dev", "veth0", "nodad")
        run = self.start()
        self.check(run, self.connections(300, lambda i: ("client", "server")[i % 2], host="fd00::1"))

    def test_dual_stack(self):
        run = self.start()
        self.check(run, self.connections(300, lambda i: ("client", "server")[i % 2], bind="::"))

    def test_a_prefix_file(self):
        path = family.workdir(self) / "prefix"
        path.write_text("ndt-4c6fb_1625899199\n")
        run = self.start(f"-uuid-prefix-file={path}")
        self.check(run, self.connections(5, lambda i: "server"), prefix="ndt-4c6fb_1625899199")

    def test_a_tuple_reused_at_once(self):
        """The client closes by RST and takes the same port again: old news of the first socket comes after the second."""
        run = self.start()
        cookies = self.connections(300, lambda i: "reset", client_port=40000)
        self.check(run, cookies)

    def test_a_connection_from_before_the_capture(self):
        """First seen in mid-stream: named by its cookie all the same."""
        listener = self.a.inside(lambda: socket.create_server(("10.77.0.1", 0)))
        self.addCleanup(listener.close)
        client = self.b.inside(lambda: socket.create_connection(listener.getsockname()))
        self.addCleanup(client.close)
        server, _ = listener.accept()
        self.addCleanup(server.close)
        run = self.start()
        client.sendall(b"late")
        self.assertEqual(server.recv(16), b"late")
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= 1, "its packets are seen")
        self.check(run, [cookie(server)])


if __name__ == "__main__":
    unittest.main()
